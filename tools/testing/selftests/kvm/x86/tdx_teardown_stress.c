// SPDX-License-Identifier: GPL-2.0-only
/*
 * Let two or three threads do to a TD what they can, at the same time, and tear
 * it down.  Every pair of actions has its turn; what they do exactly, and to a TD
 * in which state, is random and can be repeated with the same seed.
 *
 * A round is a process of its own, so that it can be killed, or found to hang.
 */
#include <fcntl.h>
#include <getopt.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include <linux/falloc.h>
#include <linux/sizes.h>

#include "kselftest.h"
#include "kvm_util.h"
#include "processor.h"
#include "tdx_stress.h"
#include "tdx_util.h"

#define MAX_VCPUS	2
#define TD_SIZE		SZ_128K
#define TD_INIT_SIZE	SZ_64K
#define TD_GPA		(SZ_4G - TD_INIT_SIZE)
#define NR_PAGES	(TD_SIZE / PAGE_SIZE)

#define MAX_ACTORS	3
#define NR_OPS		16	/* by each actor in a round */
#define MAX_DELAY	4	/* cheap ioctls' time between two of them */

enum td_state {
	CREATED, INITIALIZED, HAS_VCPUS, HALF_POPULATED, POPULATED, FINALIZED,
	NR_STATES,
};

static const char * const state_names[NR_STATES] = {
	"created", "initialized", "has vCPUs", "half populated", "populated",
	"finalized",
};

/* What an action was told. */
enum result { DONE, BUSY, DEAD, REFUSED, NR_RESULTS };

/* In memory that the processes share. */
static struct shared {
	u64 progress[MAX_ACTORS];	/* actions begun */
	int state;
	u64 results[32][NR_RESULTS];	/* by action */
} *shared;

static struct options {
	u64 seed;
	u64 rounds;
	u64 first;
	u64 seconds;
	u64 timeout;
	u64 time;
	int pair[2];
	bool cpu_hotplug;
	bool verbose;
} options = {
	.seed = 1,
	.rounds = 40,
	.timeout = 60,
	.pair = { -1, -1 },
};

/* The TD of a round. */
static struct kvm_vm *vm;
static struct kvm_vcpu *vcpus[MAX_VCPUS];
static int nr_vcpus;
static int gmem_fd = -1;
static struct kvm_tdx_init_vm *init_vm_params;
static bool has_hkid;		/* since KVM_TDX_INIT_VM */
static bool terminating;	/* somebody has begun to */
static bool terminated;		/* somebody has succeeded */
static bool model;
static struct tdx_hotplug hotplug;
static char source[TD_SIZE] __aligned(SZ_4K);
static pthread_t actor_threads[MAX_ACTORS];
static pid_t actor_tids[MAX_ACTORS];
static int nr_actors;

static int vm_ioctl_errno(unsigned long cmd, void *arg)
{
	return ioctl(vm->fd, cmd, arg) < 0 ? -errno : 0;
}

struct range {
	u64 gpa;
	u64 size;
};

static struct range random_range(struct tdx_rng *rng)
{
	u64 first = tdx_rand_below(rng, NR_PAGES);

	return (struct range) {
		.gpa = TD_GPA + first * PAGE_SIZE,
		.size = (1 + tdx_rand_below(rng, NR_PAGES - first)) * PAGE_SIZE,
	};
}

static struct kvm_vcpu *random_vcpu(struct tdx_rng *rng)
{
	return nr_vcpus ? vcpus[tdx_rand_below(rng, nr_vcpus)] : NULL;
}

/* Actions return 0 or a negative errno value. */

static int do_terminate(struct tdx_rng *rng)
{
	u64 hw_error = 0;
	int r;

	/* It ends what others can do, so leave them some time. */
	if (!tdx_rand_percent(rng, 25))
		return -EAGAIN;
	WRITE_ONCE(terminating, true);
	r = -__tdx_vm_terminate(vm, &hw_error);
	TEST_ASSERT(!hw_error, "KVM_TDX_TERMINATE_VM: SEAMCALL status 0x%lx",
		    hw_error);
	if (!r)
		WRITE_ONCE(terminated, true);
	return r;
}

static int do_run(struct tdx_rng *rng)
{
	struct kvm_vcpu *vcpu = random_vcpu(rng);
	int r;

	if (!vcpu)
		return -ENOENT;
	/* A handler can't tell its signal came before KVM_RUN did. */
	WRITE_ONCE(vcpu->run->immediate_exit, tdx_rand_percent(rng, 10));
	r = __vcpu_run(vcpu);
	return r && errno != EINTR ? -errno : 0;
}

static int do_pre_fault(struct tdx_rng *rng)
{
	struct kvm_vcpu *vcpu = random_vcpu(rng);
	struct range r = random_range(rng);
	struct kvm_pre_fault_memory range = { .gpa = r.gpa, .size = r.size };

	if (!vcpu)
		return -ENOENT;
	return __vcpu_ioctl(vcpu, KVM_PRE_FAULT_MEMORY, &range) ? -errno : 0;
}

static int do_populate(struct tdx_rng *rng)
{
	struct kvm_vcpu *vcpu = random_vcpu(rng);
	struct range r = random_range(rng);
	struct kvm_tdx_init_mem_region region = {
		.source_addr = (uintptr_t)source + r.gpa - TD_GPA,
		.gpa = r.gpa,
		.nr_pages = r.size / PAGE_SIZE,
	};

	if (!vcpu)
		return -ENOENT;
	return -__tdx_vcpu_ioctl(vcpu, KVM_TDX_INIT_MEM_REGION, 0, &region, NULL);
}

static int do_get_cpuid(struct tdx_rng *rng)
{
	struct kvm_vcpu *vcpu = random_vcpu(rng);
	struct kvm_cpuid2 *cpuid;
	int r;

	if (!vcpu)
		return -ENOENT;
	cpuid = allocate_kvm_cpuid2(256);
	r = -__tdx_vcpu_ioctl(vcpu, KVM_TDX_GET_CPUID, 0, cpuid, NULL);
	free(cpuid);
	return r;
}

/* Any ioctl loads the vCPU, and thereby associates it with a CPU. */
static int do_load_vcpu(struct tdx_rng *rng)
{
	struct kvm_vcpu *vcpu = random_vcpu(rng);
	struct kvm_mp_state state;

	if (!vcpu)
		return -ENOENT;
	return __vcpu_ioctl(vcpu, KVM_GET_MP_STATE, &state) ? -errno : 0;
}

static int do_create_vcpu(struct tdx_rng *rng)
{
	unsigned long id = tdx_rand_below(rng, MAX_VCPUS);
	struct kvm_tdx_cmd cmd = { .id = KVM_TDX_INIT_VCPU };
	int fd = __vm_ioctl(vm, KVM_CREATE_VCPU, (void *)id);

	if (fd < 0)
		return -errno;
	if (tdx_rand_percent(rng, 50))
		ioctl(fd, KVM_MEMORY_ENCRYPT_OP, &cmd);
	close(fd);
	return 0;
}

static int do_init_vm(struct tdx_rng *rng)
{
	int r = -__tdx_vm_ioctl(vm, KVM_TDX_INIT_VM, 0, init_vm_params, NULL);

	if (!r)
		WRITE_ONCE(has_hkid, true);
	return r;
}

static int do_finalize(struct tdx_rng *rng)
{
	return -__tdx_vm_ioctl(vm, KVM_TDX_FINALIZE_VM, 0, NULL, NULL);
}

static int do_delete_slot(struct tdx_rng *rng)
{
	struct kvm_userspace_memory_region2 region = {
		.slot = TDX_MEMSLOT,
		.flags = KVM_MEM_GUEST_MEMFD,
		.guest_phys_addr = TD_GPA,
		.userspace_addr = (uintptr_t)source,
		.guest_memfd = gmem_fd,
	};
	int r = vm_ioctl_errno(KVM_SET_USER_MEMORY_REGION2, &region);

	if (READ_ONCE(terminating) || tdx_rand_percent(rng, 20))
		return r;
	region.memory_size = TD_SIZE;
	return vm_ioctl_errno(KVM_SET_USER_MEMORY_REGION2, &region);
}

static int do_convert(struct tdx_rng *rng)
{
	struct range r = random_range(rng);
	struct kvm_memory_attributes attributes = {
		.address = r.gpa,
		.size = r.size,
	};

	if (tdx_rand_percent(rng, 50))
		attributes.attributes = KVM_MEMORY_ATTRIBUTE_PRIVATE;
	return vm_ioctl_errno(KVM_SET_MEMORY_ATTRIBUTES, &attributes);
}

static int do_punch(struct tdx_rng *rng)
{
	struct range r = random_range(rng);

	return fallocate(gmem_fd, FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE,
			 r.gpa - TD_GPA, r.size) ? -errno : 0;
}

/* A process of its own has the files for a while. */
static int do_other_process(struct tdx_rng *rng)
{
	pid_t pid = fork();

	if (pid < 0)
		return -errno;
	if (!pid) {
		do_punch(rng);
		_exit(0);
	}
	/* If it outlives this one, its memory goes later than the VM's. */
	if (tdx_rand_percent(rng, 70))
		waitpid(pid, NULL, 0);
	return 0;
}

static int do_close_memory(struct tdx_rng *rng)
{
	int fd;

	if (!tdx_rand_percent(rng, 30))
		return -EAGAIN;
	/* The next file that is opened gets its number. */
	fd = __atomic_exchange_n(&gmem_fd, -1, __ATOMIC_RELAXED);
	return close(fd) ? -errno : 0;
}

static int do_hotplug(struct tdx_rng *rng)
{
	if (!hotplug.cpu)
		return -ENOENT;
	if (!tdx_rand_percent(rng, 25))
		return -EAGAIN;
	tdx_set_cpu_online(hotplug.cpu, false);
	return -tdx_set_cpu_online(hotplug.cpu, true);
}

/* vCPUs move to other CPUs with the threads that use them. */
static int do_migrate(struct tdx_rng *rng)
{
	cpu_set_t set;
	pid_t tid = READ_ONCE(actor_tids[tdx_rand_below(rng, nr_actors)]);

	CPU_ZERO(&set);
	CPU_SET(tdx_rand_below(rng, sysconf(_SC_NPROCESSORS_CONF)), &set);
	return tid && sched_setaffinity(tid, sizeof(set), &set) ? -errno : 0;
}

static int do_exit(struct tdx_rng *rng)
{
	if (tdx_rand_percent(rng, 20))
		_exit(KSFT_PASS);
	return -EAGAIN;
}

#define ANY		(BIT(NR_STATES) - 1)
#define FROM(state)	(ANY & ~(BIT(state) - 1))
#define UNTIL(state)	(BIT((state) + 1) - 1)

static const struct action {
	const char *name;
	int (*fn)(struct tdx_rng *rng);
	/* In which it does something. */
	unsigned int states;
	/* What a TD that is gone, or going, does not refuse. */
	bool cleans_up;
} actions[] = {
	{ "terminate", do_terminate, FROM(INITIALIZED), true },
	{ "run", do_run, BIT(FINALIZED) },
	{ "pre-fault", do_pre_fault, BIT(FINALIZED) },
	{ "populate", do_populate, FROM(HAS_VCPUS) & UNTIL(POPULATED) },
	{ "get-cpuid", do_get_cpuid, FROM(HAS_VCPUS) & UNTIL(POPULATED) },
	{ "load-vcpu", do_load_vcpu, FROM(HAS_VCPUS) },
	{ "create-vcpu", do_create_vcpu, FROM(INITIALIZED) & UNTIL(POPULATED) },
	{ "init-vm", do_init_vm, BIT(CREATED) },
	{ "finalize", do_finalize, FROM(HAS_VCPUS) & UNTIL(POPULATED) },
	{ "delete-slot", do_delete_slot, FROM(HAS_VCPUS), true },
	{ "convert", do_convert, FROM(HAS_VCPUS), true },
	{ "punch", do_punch, FROM(HALF_POPULATED), true },
	{ "other-process", do_other_process, FROM(HALF_POPULATED), true },
	{ "close-memory", do_close_memory, FROM(HALF_POPULATED), true },
	{ "hotplug", do_hotplug, FROM(INITIALIZED), true },
	{ "migrate", do_migrate, FROM(HAS_VCPUS), true },
	{ "exit", do_exit, FROM(INITIALIZED), true },
	{ "kill", NULL, ANY, true },
};

#define NR_ACTIONS	ARRAY_SIZE(actions)
#define NR_PAIRS	(NR_ACTIONS * (NR_ACTIONS + 1) / 2)

/* The numbers of all pairs, in the order of their turns. */
static int pairs[NR_PAIRS];

struct actor {
	const struct action *action;
	struct tdx_rng rng;
	int index;
	pthread_barrier_t *barrier;
};

static void act(struct actor *actor)
{
	const struct action *action = actor->action;
	bool gone = READ_ONCE(terminated);
	enum result result = REFUSED;
	int r = action->fn(&actor->rng);

	if (!r)
		result = DONE;
	else if (r == -EBUSY)
		result = BUSY;
	else if (r == -EIO)
		result = DEAD;

	/*
	 * A VM is alive until it is terminated, but not a moment longer.  Adding
	 * a vCPU to a TD that was finalized fails with EIO, too.
	 */
	TEST_ASSERT(r != -EIO || READ_ONCE(terminating) || action->fn == do_create_vcpu,
		    "%s: EIO, but nobody has terminated the TD", action->name);
	TEST_ASSERT(!gone || (action->cleans_up ? r != -EIO : r == -EIO || r == -ENOENT),
		    "%s: %s, though the TD was terminated", action->name,
		    r ? strerror(-r) : "success");
	__atomic_add_fetch(&shared->results[action - actions][result], 1,
			   __ATOMIC_RELAXED);
}

static void *actor_fn(void *arg)
{
	struct actor *actor = arg;
	int i;

	WRITE_ONCE(actor_tids[actor->index], syscall(SYS_gettid));
	pthread_barrier_wait(actor->barrier);
	for (i = 0; i < NR_OPS; i++) {
		tdx_spin(&actor->rng, MAX_DELAY);
		WRITE_ONCE(shared->progress[actor->index], i + 1);
		act(actor);
	}
	WRITE_ONCE(shared->progress[actor->index], NR_OPS + 1);
	return NULL;
}

static void build_td(enum td_state state, int nr)
{
	int i;

	vm = tdx_vm_create();
	if (state >= INITIALIZED) {
		tdx_vm_init(vm);
		has_hkid = true;
	}
	if (state < HAS_VCPUS)
		return;

	for (i = 0; i < nr; i++)
		vcpus[i] = tdx_vcpu_add(vm, i);
	nr_vcpus = nr;
	tdx_mem_add(vm, TD_GPA, TD_SIZE);
	/* The only one, so that closing it is final. */
	gmem_fd = memslot2region(vm, TDX_MEMSLOT)->region.guest_memfd;
	memslot2region(vm, TDX_MEMSLOT)->region.guest_memfd = -1;
	if (state >= HALF_POPULATED)
		tdx_init_mem_region(vcpus[0], TD_GPA, TD_INIT_SIZE / 2, 0);
	if (state >= POPULATED)
		tdx_init_mem_region(vcpus[0], TD_GPA + TD_INIT_SIZE / 2,
				    TD_INIT_SIZE / 2, 0);
	if (state >= FINALIZED) {
		tdx_vm_finalize(vm);
		tdx_pre_fault_memory(vcpus[0], TD_GPA + TD_INIT_SIZE,
				     TD_SIZE - TD_INIT_SIZE);
	}
}

static void ignore_signal(int signal)
{
}

static bool all_done(void)
{
	int i;

	for (i = 0; i < nr_actors; i++) {
		if (READ_ONCE(shared->progress[i]) <= NR_OPS)
			return false;
	}
	return true;
}

/* The process of a round. */
static void play_round(struct tdx_rng rng, enum td_state state,
		       const struct action *const *chosen, int nr)
{
	const struct sigaction kick = { .sa_handler = ignore_signal };
	struct tdx_patience patience[MAX_ACTORS] = {};
	struct actor actors[MAX_ACTORS];
	pthread_barrier_t barrier;
	u64 progress;
	int i, r;

	/* Whoever is left of a test that was killed would use the CPU that comes back. */
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	sigaction(SIGUSR1, &kick, NULL);
	/* By default there may be as many as there are CPUs. */
	build_td(state, 1 + tdx_rand_below(&rng, MAX_VCPUS));
	if (model) {
		if (tdx_rand_percent(&rng, 50))
			tdx_host_script_stay();
		else
			tdx_host_script_io();
	}

	nr_actors = nr;
	pthread_barrier_init(&barrier, NULL, nr);
	for (i = 0; i < nr; i++) {
		actors[i] = (struct actor) {
			.action = chosen[i],
			.rng = tdx_rng_init(tdx_rand(&rng), i),
			.index = i,
			.barrier = &barrier,
		};
		r = pthread_create(&actor_threads[i], NULL, actor_fn, &actors[i]);
		TEST_ASSERT(!r, "pthread_create() failed: %s", strerror(r));
	}
	/* Whoever stays in KVM_RUN is to come back. */
	while (!all_done()) {
		usleep(2000);
		for (i = 0; i < nr; i++) {
			progress = READ_ONCE(shared->progress[i]);
			if (progress <= NR_OPS &&
			    tdx_patience_is_over(&patience[i], progress))
				pthread_kill(actor_threads[i], SIGUSR1);
		}
	}
	for (i = 0; i < nr; i++)
		pthread_join(actor_threads[i], NULL);

	/* Nobody else is left, so it must succeed at once. */
	if (tdx_rand_percent(&rng, 50)) {
		r = __tdx_vm_terminate(vm, NULL);
		TEST_ASSERT(has_hkid ? !r : r == EINVAL,
			    "KVM_TDX_TERMINATE_VM in the end: %s", strerror(r));
	}
	/* Else the process ends with the TD alive. */
	if (tdx_rand_percent(&rng, 50))
		kvm_vm_free(vm);
	_exit(KSFT_PASS);
}

static void fail_round(u64 round, const struct action *const *chosen, int nr,
		       const char *what)
{
	int i;

	printf("# round %lu, seed %lu, TD %s: %s\n", round, options.seed,
	       state_names[shared->state], what);
	for (i = 0; i < nr; i++)
		printf("#   %s: %lu of %d done\n", chosen[i]->name,
		       shared->progress[i] ? shared->progress[i] - 1 : 0, NR_OPS);
	printf("# to repeat: --seed %lu --first %lu --rounds 1\n", options.seed,
	       round);
	ksft_exit_fail_msg("Round %lu failed\n", round);
}

/* Wait for the process of a round, which may be meant to be killed. */
static void watch_round(u64 round, pid_t pid, const struct action *const *chosen,
			int nr, s64 kill_after)
{
	struct timespec start;
	u64 elapsed;
	int status;

	clock_gettime(CLOCK_MONOTONIC, &start);
	while (!waitpid(pid, &status, WNOHANG)) {
		elapsed = timespec_elapsed(start).tv_sec * 1000000ull +
			  timespec_elapsed(start).tv_nsec / 1000;
		if (kill_after >= 0 && elapsed >= kill_after) {
			kill(pid, SIGKILL);
			kill_after = INT64_MAX;
		}
		if (elapsed >= options.timeout * 1000000) {
			kill(pid, SIGKILL);
			fail_round(round, chosen, nr, "no progress");
		}
		usleep(500);
	}
	if (!(WIFEXITED(status) && WEXITSTATUS(status) == KSFT_PASS) &&
	    !(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL &&
	      kill_after == INT64_MAX))
		fail_round(round, chosen, nr, "the process failed");
}

/* A few rounds are to see all sorts of pairs. */
static void shuffle_pairs(void)
{
	struct tdx_rng rng = tdx_rng_init(options.seed, UINT64_MAX);
	int i, j;

	for (i = 0; i < NR_PAIRS; i++) {
		j = tdx_rand_below(&rng, i + 1);
		pairs[i] = pairs[j];
		pairs[j] = i;
	}
}

/* Number 0 is the pair (0,0), then come (0,1), ..., (1,1), ... */
static void choose_pair(u64 round, int pair[2])
{
	int n = pairs[round % NR_PAIRS], i = 0;

	if (options.pair[0] >= 0) {
		pair[0] = options.pair[0];
		pair[1] = options.pair[1] >= 0 ? options.pair[1] : round % NR_ACTIONS;
		return;
	}
	while (n >= NR_ACTIONS - i)
		n -= NR_ACTIONS - i++;
	pair[0] = i;
	pair[1] = i + n;
}

static enum td_state choose_state(struct tdx_rng *rng, unsigned int states)
{
	enum td_state state;

	do {
		state = tdx_rand_below(rng, NR_STATES);
	} while (!(states & BIT(state)));
	return state;
}

static void do_round(u64 round, const struct tdx_baseline *baseline)
{
	struct tdx_rng rng = tdx_rng_init(options.seed, round);
	const struct action *chosen[MAX_ACTORS];
	unsigned int states = ANY;
	s64 kill_after = -1;
	int pair[2], nr = 0, i;
	pid_t pid;

	choose_pair(round, pair);
	for (i = 0; i < 2; i++) {
		states = states & actions[pair[i]].states ?: states;
		if (actions[pair[i]].fn)
			chosen[nr++] = &actions[pair[i]];
		else
			kill_after = tdx_rand_below(&rng, 200000);
	}
	/* What isn't about terminating becomes so now and then. */
	if (pair[0] && (!nr || tdx_rand_percent(&rng, 60)))
		chosen[nr++] = &actions[0];

	memset(shared->progress, 0, sizeof(shared->progress));
	shared->state = choose_state(&rng, states);
	if (options.verbose)
		printf("# round %lu: TD %s, %s and %s, %d actors\n", round,
		       state_names[shared->state], actions[pair[0]].name,
		       actions[pair[1]].name, nr);
	fflush(stdout);

	pid = fork();
	TEST_ASSERT(pid >= 0, __KVM_SYSCALL_ERROR("fork()", pid));
	if (!pid)
		play_round(rng, shared->state, chosen, nr);
	watch_round(round, pid, chosen, nr, kill_after);

	if (hotplug.cpu)
		tdx_set_cpu_online(hotplug.cpu, true);
	if (!tdx_baseline_check(baseline))
		fail_round(round, chosen, nr, "the host isn't as it was before");
}

/* Returns an action that never succeeded, i.e. shows nothing, or NULL. */
static const struct action *print_results(void)
{
	const struct action *useless = NULL;
	const u64 *r;
	int i;

	for (i = 0; i < NR_ACTIONS; i++) {
		if (!actions[i].fn)
			continue;
		r = shared->results[i];
		printf("# %-14s %6lu done, %6lu busy, %6lu dead, %6lu refused\n",
		       actions[i].name, r[DONE], r[BUSY], r[DEAD], r[REFUSED]);
		if (!r[DONE] && !(actions[i].fn == do_hotplug && !hotplug.cpu) &&
		    actions[i].fn != do_exit)
			useless = &actions[i];
	}
	return useless;
}

static int parse_action(const char *name)
{
	int i;

	for (i = 0; i < NR_ACTIONS; i++) {
		if (!strcmp(name, actions[i].name))
			return i;
	}
	ksft_exit_fail_msg("There is no action '%s', --help lists them\n", name);
}

static void print_usage(const char *name)
{
	int i;

	printf("usage: %s [OPTION...]\n\n"
	       "Let threads do to a TD what they can, at the same time, and tear it down.\n\n"
	       " --rounds N    TDs (default 40; %zu have all pairs of actions)\n"
	       " --seconds N   end after this time at the latest\n"
	       " --seed N      (default: from the clock)\n"
	       " --first N     begin with this round, e.g. to repeat it\n"
	       " --action A    only pairs with this action; twice: only this pair\n"
	       " --timeout N   a round must take no longer, in seconds (default 60)\n"
	       " --time N      SEAMCALLs take N %% of their time on hardware, on an emulated\n"
	       "               host (default 0)\n"
	       " --cpu-hotplug take the last CPU offline, too; it comes back, even if the test\n"
	       "               is killed. Without it, the action 'hotplug' does nothing.\n"
	       " --verbose     tell what each round does\n"
	       " --help        show this\n\n"
	       "Actions:", name, NR_PAIRS);
	for (i = 0; i < NR_ACTIONS; i++)
		printf(" %s", actions[i].name);
	printf("\n");
}

static void parse_options(int argc, char *argv[])
{
	static const struct option long_options[] = {
		{ "rounds", required_argument, NULL, 'r' },
		{ "seconds", required_argument, NULL, 't' },
		{ "seed", required_argument, NULL, 's' },
		{ "first", required_argument, NULL, 'f' },
		{ "action", required_argument, NULL, 'a' },
		{ "timeout", required_argument, NULL, 'w' },
		{ "time", required_argument, NULL, 'm' },
		{ "cpu-hotplug", no_argument, NULL, 'c' },
		{ "verbose", no_argument, NULL, 'v' },
		{ "help", no_argument, NULL, 'h' },
		{}
	};
	int opt, i;

	options.seed = time(NULL) % 1000000;
	while ((opt = getopt_long(argc, argv, "h", long_options, NULL)) != -1) {
		switch (opt) {
		case 'r':
			options.rounds = tdx_parse_number("rounds", optarg, 1, UINT32_MAX);
			break;
		case 't':
			options.seconds = tdx_parse_number("seconds", optarg, 1, UINT32_MAX);
			break;
		case 's':
			options.seed = tdx_parse_number("seed", optarg, 0, UINT64_MAX);
			break;
		case 'f':
			options.first = tdx_parse_number("first", optarg, 0, UINT32_MAX);
			break;
		case 'a':
			options.pair[options.pair[0] >= 0] = parse_action(optarg);
			break;
		case 'w':
			options.timeout = tdx_parse_number("timeout", optarg, 1, 86400);
			break;
		case 'm':
			options.time = tdx_parse_number("time", optarg, 0, 1000);
			break;
		case 'c':
			options.cpu_hotplug = true;
			break;
		case 'v':
			options.verbose = true;
			break;
		case 'h':
			print_usage(argv[0]);
			exit(KSFT_PASS);
		default:
			exit(KSFT_FAIL);
		}
	}
	if (optind < argc)
		ksft_exit_fail_msg("Unexpected argument '%s', see --help\n", argv[optind]);
	for (i = 0; i < 2 && options.pair[i] >= 0; i++) {
		if (actions[options.pair[i]].fn == do_hotplug && !options.cpu_hotplug)
			ksft_exit_fail_msg("--action hotplug needs --cpu-hotplug\n");
	}
}

int main(int argc, char *argv[])
{
	const struct action *useless;
	struct tdx_baseline baseline;
	struct timespec start;
	u64 round;

	parse_options(argc, argv);
	ksft_print_header();
	tdx_require_terminate();
	vm = tdx_vm_create();
	init_vm_params = tdx_vm_init_params(vm);
	kvm_vm_free(vm);

	ksft_set_plan(1);
	printf("# seed %lu\n", options.seed);
	shuffle_pairs();
	model = tdx_host_is_model();
	if (!options.cpu_hotplug)
		printf("# CPU hotplug is not tested, see --cpu-hotplug\n");
	else if (!tdx_hotplug_begin(&hotplug))
		ksft_exit_skip("No CPU can be taken offline, or not by this user\n");
	shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE,
		      MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	TEST_ASSERT(shared != MAP_FAILED, "mmap() failed");
	tdx_baseline_init(&baseline);
	if (model)
		tdx_host_set_time(options.time);

	clock_gettime(CLOCK_MONOTONIC, &start);
	for (round = 0; round < options.rounds; round++) {
		if (options.seconds &&
		    timespec_elapsed(start).tv_sec >= options.seconds)
			break;
		do_round(options.first + round, &baseline);
		if (round % 20 == 19) {
			printf("# %lu rounds\n", round + 1);
			fflush(stdout);
		}
	}
	if (options.cpu_hotplug)
		tdx_hotplug_end(&hotplug);
	if (model) {
		tdx_host_script_io();
		tdx_host_set_time(0);
	}
	useless = print_results();
	printf("# %lu rounds, %ld s\n", round, timespec_elapsed(start).tv_sec);
	if (useless && options.pair[0] < 0 && round >= 2 * NR_PAIRS)
		ksft_exit_fail_msg("%s has never succeeded\n", useless->name);
	ksft_test_result_pass("TDs are torn down whatever else is done to them\n");
	ksft_finished();
}
