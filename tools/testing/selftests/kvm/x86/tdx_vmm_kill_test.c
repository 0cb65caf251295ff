// SPDX-License-Identifier: GPL-2.0-only
/*
 * Kill a VMM at random points of a TD's life, and see that nothing of the TD is
 * left.
 */
#include <getopt.h>
#include <pthread.h>
#include <signal.h>
#include <sys/wait.h>

#include <linux/sizes.h>

#include "kselftest.h"
#include "kvm_util.h"
#include "processor.h"
#include "tdx_stress.h"
#include "tdx_util.h"

#define NR_VCPUS	2
#define TD_SIZE		SZ_1M
#define TD_INIT_SIZE	SZ_256K

enum step {
	CREATE, POPULATE, FINALIZE, RUN, TERMINATE, CLEAN_UP, DONE, NR_STEPS,
	NEVER = NR_STEPS,
};

static const char * const step_names[NR_STEPS] = {
	"create", "populate", "finalize", "run", "terminate", "clean up", "done",
};

/* How far the VMM has come, in memory that it shares with its killer. */
static struct life {
	enum step step;
	u64 began_us[NR_STEPS];
	enum { NO_HELPER, HELPER_WAITS, HELPER_DONE } helper;
} *life;

static bool model;
static bool can_terminate;

static u64 now_us(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

static void begin(enum step next)
{
	life->began_us[next] = now_us();
	WRITE_ONCE(life->step, next);
}

static void run(struct kvm_vcpu **vcpus)
{
	struct tdx_vcpu_thread threads[NR_VCPUS];
	int i;

	if (model)
		tdx_host_script_stay();
	for (i = 0; i < NR_VCPUS; i++)
		tdx_vcpu_thread_start(&threads[i], vcpus[i]);
	for (i = 0; i < NR_VCPUS; i++)
		tdx_vcpu_thread_stop(&threads[i]);
}

/* With a helper, another process has all files, and outlives the VMM. */
static void vmm(bool helper, int helper_fd)
{
	u64 gpa = SZ_4G - TD_INIT_SIZE;
	struct kvm_vcpu *vcpus[NR_VCPUS];
	struct kvm_vm *vm;
	char c;
	int i;

	begin(CREATE);
	vm = tdx_vm_create();
	tdx_vm_init(vm);
	for (i = 0; i < NR_VCPUS; i++)
		vcpus[i] = tdx_vcpu_add(vm, i);
	tdx_mem_add(vm, gpa, TD_SIZE);

	if (helper && !fork()) {
		WRITE_ONCE(life->helper, HELPER_WAITS);
		/* End of file: the killer has closed its end, too. */
		while (read(helper_fd, &c, 1) > 0)
			;
		vm_guest_mem_punch_hole(vm, gpa, TD_SIZE / 2);
		WRITE_ONCE(life->helper, HELPER_DONE);
		_exit(0);
	}

	begin(POPULATE);
	tdx_init_mem_region(vcpus[0], gpa, TD_INIT_SIZE, 0);
	begin(FINALIZE);
	tdx_vm_finalize(vm);
	tdx_pre_fault_memory(vcpus[0], gpa + TD_INIT_SIZE, TD_SIZE - TD_INIT_SIZE);
	begin(RUN);
	run(vcpus);
	begin(TERMINATE);
	if (can_terminate)
		tdx_vm_terminate(vm);
	begin(CLEAN_UP);
	vm_guest_mem_punch_hole(vm, gpa, TD_SIZE / 2);
	vm_mem_region_delete(vm, TDX_MEMSLOT);
	kvm_vm_free(vm);
	begin(DONE);
	_exit(0);
}

static bool is_dead(pid_t pid)
{
	siginfo_t info = {};

	TEST_ASSERT(!waitid(P_PID, pid, &info, WEXITED | WNOHANG | WNOWAIT),
		    "waitid() failed");
	return info.si_pid;
}

/* Returns its status, and how many KeyIDs are in use when it is gone. */
static int let_live(bool helper, enum step kill_in, u64 kill_after_us,
		    u64 *keyids_in_use)
{
	int status, helper_pipe[2];
	pid_t pid;
	u64 end;

	TEST_ASSERT(!pipe(helper_pipe), "pipe() failed");
	fflush(stdout);
	WRITE_ONCE(life->step, CREATE);
	WRITE_ONCE(life->helper, NO_HELPER);
	pid = fork();
	TEST_ASSERT(pid >= 0, __KVM_SYSCALL_ERROR("fork()", pid));
	if (!pid) {
		close(helper_pipe[1]);
		vmm(helper, helper_pipe[0]);
	}
	close(helper_pipe[0]);

	if (kill_in != NEVER) {
		while (READ_ONCE(life->step) < kill_in && !is_dead(pid))
			;
		for (end = now_us() + kill_after_us; now_us() < end; )
			;
		kill(pid, SIGKILL);
	}
	TEST_ASSERT_EQ(waitpid(pid, &status, 0), pid);
	*keyids_in_use = model ? tdx_gauges_read().keyids_in_use : 0;
	close(helper_pipe[1]);
	return status;
}

/* It is nobody's child when the VMM is gone. */
static bool helper_succeeded(void)
{
	int i;

	for (i = 0; READ_ONCE(life->helper) == HELPER_WAITS && i < 1000; i++)
		usleep(1000);
	return READ_ONCE(life->helper) != HELPER_WAITS;
}

static void print_usage(const char *name)
{
	printf("usage: %s [--count N] [--seed N] [--help]\n\n"
	       "Kill a VMM at random points of a TD's life, and see that nothing is left.\n\n"
	       " --count N   Kill so many VMMs (default: 20).\n"
	       " --seed N    Choose the points by this number (default: from the clock).\n"
	       " --help      Show this.\n", name);
}

int main(int argc, char *argv[])
{
	static const struct option long_options[] = {
		{ "count", required_argument, NULL, 'c' },
		{ "seed", required_argument, NULL, 's' },
		{ "help", no_argument, NULL, 'h' },
		{}
	};
	u64 count = 20, seed = time(NULL) % 1000000, after, i;
	u64 duration_us[NR_STEPS], killed_in[NR_STEPS] = {}, nr_killed = 0;
	u64 keyids_in_use;
	enum step in;
	struct tdx_features features;
	struct tdx_baseline baseline;
	struct tdx_rng rng;
	int opt, status;
	const char *what;
	bool helper;

	while ((opt = getopt_long(argc, argv, "h", long_options, NULL)) != -1) {
		switch (opt) {
		case 'c':
			count = tdx_parse_number("count", optarg, 1, 1000000);
			break;
		case 's':
			seed = tdx_parse_number("seed", optarg, 0, UINT64_MAX);
			break;
		case 'h':
			print_usage(argv[0]);
			return KSFT_PASS;
		default:
			return KSFT_FAIL;
		}
	}
	if (optind < argc)
		ksft_exit_fail_msg("Unexpected argument '%s', see --help\n", argv[optind]);

	ksft_print_header();
	features = tdx_require();
	__TEST_REQUIRE(features.max_vcpus >= NR_VCPUS, "A TD can't have %d vCPUs", NR_VCPUS);
	can_terminate = features.terminate;
	kvm_get_supported_cpuid();
	model = tdx_host_is_model();

	ksft_set_plan(1);
	printf("# seed %lu\n", seed);
	rng = tdx_rng_init(seed, 0);
	tdx_baseline_init(&baseline);
	life = mmap(NULL, sizeof(*life), PROT_READ | PROT_WRITE,
		    MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	TEST_ASSERT(life != MAP_FAILED, "mmap() failed");

	/* How long does each step take if nobody is killed? */
	status = let_live(false, NEVER, 0, &keyids_in_use);
	TEST_ASSERT(!status, "The VMM failed without being killed");
	for (i = 0; i < DONE; i++)
		duration_us[i] = life->began_us[i + 1] - life->began_us[i] + 1;

	for (i = 0; i < count; i++) {
		helper = tdx_rand_percent(&rng, 30);
		in = tdx_rand_below(&rng, DONE);
		after = tdx_rand_below(&rng, duration_us[in]);
		status = let_live(helper, in, after, &keyids_in_use);
		if (status && !(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL))
			ksft_exit_fail_msg("VMM %lu: status 0x%x in '%s'\n", i,
					   status, step_names[life->step]);
		killed_in[life->step]++;
		nr_killed += !!status;
		what = NULL;
		/* The address space is gone, whoever still has the files. */
		if (keyids_in_use > baseline.gauges.keyids_in_use)
			what = "its KeyID isn't free";
		if (!helper_succeeded())
			what = "the other process can't punch a hole";
		if (!tdx_baseline_check(&baseline))
			what = "the host isn't as it was before";
		if (what) {
			printf("# seed %lu, killed %lu us into '%s', i.e. in '%s'%s\n",
			       seed, after, step_names[in], step_names[life->step],
			       helper ? ", with another process" : "");
			ksft_exit_fail_msg("VMM %lu: %s\n", i, what);
		}
		if (i % 20 == 19)
			printf("# %lu VMMs\n", i + 1);
	}

	if (model)
		tdx_host_script_io();
	for (i = 0; i < NR_STEPS; i++)
		printf("# %-10s %lu\n", step_names[i], killed_in[i]);
	if (count >= 10 && !nr_killed)
		ksft_exit_fail_msg("All VMMs were done before they were killed\n");
	ksft_test_result_pass("%lu killed VMMs leave nothing behind\n", count);
	ksft_finished();
}
