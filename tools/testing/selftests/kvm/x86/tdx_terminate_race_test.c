// SPDX-License-Identifier: GPL-2.0-only
/*
 * KVM_TDX_TERMINATE_VM while others do something to the same TD, or to other TDs
 * that share the TDX module, the CPUs and the KeyIDs with it.
 */
#include <fcntl.h>
#include <linux/falloc.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/sysinfo.h>
#include <sys/wait.h>

#include <linux/sizes.h>

#include "kselftest_harness.h"
#include "kvm_util.h"
#include "processor.h"
#include "tdx_stress.h"
#include "tdx_util.h"

#define TD_SIZE		SZ_1M
#define TD_INIT_SIZE	SZ_64K
#define POPULATED_GPA	SZ_4G
#define POPULATED_SIZE	SZ_4M
#define PUNCHED_GPA	SZ_1G
#define PUNCHED_SIZE	SZ_1M
#define NR_CPUID_ENTRIES	256	/* more than there are */
#define NR_ROUNDS	5
#define NR_TIGHT_ROUNDS	100	/* a window of a few instructions */
#define MAX_ROUNDS	100	/* to see something that takes luck */
#define MAX_BUSY	1000000	/* whoever is told to try again gets through some time */
#define NR_PARALLEL	16
#define TEST_TIMEOUT	100	/* seconds, all tests together have 120 */

/* What KVM allows a TD to have. */
static int max_vcpus;

/* A CPU goes offline only if asked for. */
static bool cpu_hotplug;

FIXTURE(race) {
	struct tdx_baseline baseline;
	struct tdx_rng rng;
};

FIXTURE_SETUP(race)
{
	tdx_baseline_init(&self->baseline);
	self->rng = tdx_rng_init(1, 0);
	/* SEAMCALLs that take no time hardly ever get in each other's way. */
	if (self->baseline.model)
		tdx_host_set_time(100);
}

FIXTURE_TEARDOWN(race)
{
	if (self->baseline.model)
		tdx_host_set_time(0);
	EXPECT_TRUE(tdx_baseline_check(&self->baseline));
}

#define RACE_TEST(name) TEST_F_TIMEOUT(race, name, TEST_TIMEOUT)

static struct tdx_td *create_td(int nr_vcpus, u64 size)
{
	struct tdx_td *td = tdx_td_create(nr_vcpus, size, min_t(u64, size, TD_INIT_SIZE));

	tdx_td_finalize(td);
	return td;
}

static int td_guest_memfd(struct tdx_td *td)
{
	return memslot2region(td->vm, TDX_MEMSLOT)->region.guest_memfd;
}

static pthread_t start_thread(void *(*fn)(void *), void *arg)
{
	pthread_t thread;
	int r = pthread_create(&thread, NULL, fn, arg);

	TEST_ASSERT(!r, "pthread_create() failed: %s", strerror(r));
	return thread;
}

static void join_thread(pthread_t thread)
{
	int r = pthread_join(thread, NULL);

	TEST_ASSERT(!r, "pthread_join() failed: %s", strerror(r));
}

/* Returns how often it was told to try again. */
static int terminate_retrying(struct kvm_vm *vm)
{
	int busy = 0, r;

	while ((r = __tdx_vm_terminate(vm, NULL)) == EBUSY)
		TEST_ASSERT(++busy < MAX_BUSY, "KVM_TDX_TERMINATE_VM is always busy");
	TEST_ASSERT(!r, "KVM_TDX_TERMINATE_VM failed: %s", strerror(r));
	return busy;
}

struct creator {
	struct kvm_vm *vm;
	unsigned long id;
	int attempts;
	int error;
};

/* With an ID that is in use it fails late, when most work is done. */
static void *create_vcpus(void *arg)
{
	struct creator *creator = arg;
	int fd;

	do {
		WRITE_ONCE(creator->attempts, creator->attempts + 1);
		fd = __vm_ioctl(creator->vm, KVM_CREATE_VCPU, (void *)creator->id);
		creator->error = fd < 0 ? errno : 0;
		if (fd >= 0)
			close(fd);
	} while (creator->error == EEXIST);
	return NULL;
}

/* Returns whether that was told to try again. */
static bool terminate_while_creating(struct __test_metadata *_metadata,
				     FIXTURE_DATA(race) * self, unsigned long id)
{
	struct creator creator = { .vm = tdx_vm_create(), .id = id };
	pthread_t thread;
	int busy;

	tdx_vm_init(creator.vm);
	tdx_vcpu_add(creator.vm, 0);
	thread = start_thread(create_vcpus, &creator);
	while (!READ_ONCE(creator.attempts))
		cpu_relax();
	tdx_spin(&self->rng, 10);

	busy = terminate_retrying(creator.vm);
	join_thread(thread);
	if (!id || creator.error)
		EXPECT_EQ(EIO, creator.error);
	EXPECT_EQ(-1, __vm_ioctl(creator.vm, KVM_CREATE_VCPU, (void *)1ul));
	EXPECT_EQ(EIO, errno);
	kvm_vm_free(creator.vm);
	return busy;
}

/* The vCPU is new in half of the rounds, unless there may be no other one. */
RACE_TEST(vcpu_creation)
{
	int i, busy = 0;

	for (i = 0; i < NR_ROUNDS || (!busy && i < MAX_ROUNDS); i++) {
		busy += terminate_while_creating(_metadata, self,
						 max_vcpus > 1 ? i % 2 : 0);
	}
	TH_LOG("busy in %d of %d rounds", busy, i);
	EXPECT_LT(0, busy);
}

/* Return without having been told to stop only if the TD is gone. */
static void *run_vcpu(void *arg)
{
	struct kvm_vcpu *vcpu = arg;
	int r;

	do {
		r = __vcpu_run(vcpu);
	} while (!r || errno == EINTR);
	TEST_ASSERT_EQ(errno, EIO);
	return NULL;
}

/* Each KVM_RUN is short, so that there are gaps. */
RACE_TEST(vcpus_exiting_to_userspace)
{
	pthread_t threads[2];
	struct tdx_td *td;
	int i, j;

	if (!self->baseline.model)
		SKIP(return, "Needs an emulated TDX host");

	tdx_host_script_io();
	for (i = 0; i < NR_ROUNDS; i++) {
		td = create_td(2, SZ_64K);
		for (j = 0; j < 2; j++)
			threads[j] = start_thread(run_vcpu, td->vcpus[j]);
		tdx_spin(&self->rng, 200);
		terminate_retrying(td->vm);
		for (j = 0; j < 2; j++)
			join_thread(threads[j]);
		tdx_td_free(td);
	}
}

struct initializer {
	struct kvm_vcpu *vcpu;
	struct tdx_rng rng;
	int arrived;
	int error;
};

/* Both start at the same time, without having slept. */
static void meet(struct initializer *initializer)
{
	__atomic_add_fetch(&initializer->arrived, 1, __ATOMIC_SEQ_CST);
	while (READ_ONCE(initializer->arrived) < 2)
		cpu_relax();
}

static void *init_vcpu(void *arg)
{
	struct initializer *initializer = arg;

	meet(initializer);
	tdx_spin(&initializer->rng, 1);
	initializer->error = __tdx_vcpu_ioctl(initializer->vcpu, KVM_TDX_INIT_VCPU,
					      0, NULL, NULL);
	return NULL;
}

/* Whoever waits for the vCPU's mutex meanwhile finds the VM dead. */
RACE_TEST(vcpu_initialization)
{
	struct initializer initializer = { .rng = tdx_rng_init(1, 1) };
	struct kvm_vm *vm;
	pthread_t thread;
	int i, dead = 0;

	for (i = 0; i < NR_TIGHT_ROUNDS; i++) {
		vm = tdx_vm_create();
		tdx_vm_init(vm);
		initializer.vcpu = __vm_vcpu_add(vm, 0);
		vcpu_init_cpuid(initializer.vcpu, kvm_get_supported_cpuid());
		if (max_vcpus > 1)
			__vm_vcpu_add(vm, 1);
		initializer.arrived = 0;
		thread = start_thread(init_vcpu, &initializer);
		meet(&initializer);
		tdx_spin(&self->rng, 1);
		terminate_retrying(vm);
		join_thread(thread);
		if (initializer.error) {
			EXPECT_EQ(EIO, initializer.error);
			dead++;
		}
		kvm_vm_free(vm);
	}
	TH_LOG("the VM was dead in %d of %d rounds", dead, i);
	/* Hardware may always have the same one win. */
	if (self->baseline.model) {
		EXPECT_LT(0, dead);
		EXPECT_LT(dead, i);
	}
}

struct user {
	struct kvm_vcpu *vcpu;
	int attempts;
	int error;
};

/* Fail early with the mutex held, to be on the way to it as often as possible. */
static void *fail_vcpu_ioctls(void *arg)
{
	struct user *user = arg;

	do {
		TEST_ASSERT_EQ(ioctl(user->vcpu->fd, KVM_MEMORY_ENCRYPT_OP, NULL), -1);
		user->error = errno;
		WRITE_ONCE(user->attempts, user->attempts + 1);
	} while (user->error == EFAULT);
	return NULL;
}

/* Nobody gets as far as to be told that the TD has no HKID, which is EINVAL. */
RACE_TEST(vcpu_ioctls)
{
	struct user user;
	struct kvm_vm *vm;
	pthread_t thread;
	int i, busy = 0;

	for (i = 0; i < NR_TIGHT_ROUNDS; i++) {
		vm = tdx_vm_create();
		tdx_vm_init(vm);
		user = (struct user) { .vcpu = __vm_vcpu_add(vm, 0) };
		thread = start_thread(fail_vcpu_ioctls, &user);
		while (READ_ONCE(user.attempts) < 2)
			cpu_relax();
		tdx_spin(&self->rng, 10);
		busy += !!terminate_retrying(vm);
		join_thread(thread);
		EXPECT_EQ(EIO, user.error);
		kvm_vm_free(vm);
	}
	TH_LOG("busy in %d of %d rounds", busy, i);
}

struct puncher {
	int fd;
	u64 start;
	u64 end;
};

static void punch(int fd, u64 start, u64 size)
{
	int r = fallocate(fd, FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE, start,
			  size);

	TEST_ASSERT(!r, __KVM_SYSCALL_ERROR("fallocate()", r));
}

static void *punch_pages(void *arg)
{
	struct puncher *puncher = arg;
	u64 offset;

	for (offset = puncher->start; offset < puncher->end; offset += PAGE_SIZE)
		punch(puncher->fd, offset, PAGE_SIZE);
	return NULL;
}

static void *close_fd(void *arg)
{
	close(*(int *)arg);
	return NULL;
}

static void *terminate_vm(void *arg)
{
	terminate_retrying(arg);
	return NULL;
}

/* Two threads punch, two terminate, and one closes. */
RACE_TEST(punch_and_close)
{
	pthread_t threads[5];
	struct tdx_td *td;
	int i, j, fd;

	for (i = 0; i < NR_ROUNDS; i++) {
		td = create_td(1, TD_SIZE);
		fd = dup(td_guest_memfd(td));
		ASSERT_LE(0, fd);
		struct puncher punchers[] = {
			{ fd, 0, TD_SIZE / 2 },
			{ fd, TD_SIZE / 2, TD_SIZE / 4 * 3 },
		};

		threads[0] = start_thread(punch_pages, &punchers[0]);
		threads[1] = start_thread(punch_pages, &punchers[1]);
		tdx_spin(&self->rng, 200);
		threads[2] = start_thread(terminate_vm, td->vm);
		threads[3] = start_thread(terminate_vm, td->vm);
		threads[4] = start_thread(close_fd, &(int){ td_guest_memfd(td) });
		for (j = 0; j < ARRAY_SIZE(threads); j++)
			join_thread(threads[j]);

		if (self->baseline.model) {
			EXPECT_EQ(TD_SIZE / 4 / PAGE_SIZE,
				  tdx_gauges_read().private_pages -
				  self->baseline.gauges.private_pages);
		}
		/* The last reference, and thus what is left of the memory. */
		close(fd);
		memslot2region(td->vm, TDX_MEMSLOT)->region.guest_memfd = -1;
		tdx_td_free(td);
	}
}

/* TDs that are terminated one after the other, and a hole in the second one. */
struct queue {
	struct tdx_td *td;
	pthread_t second;
	u64 written_back;	/* write-backs that had begun before */
	u64 released;		/* KeyIDs that had been */
	bool queued;
	bool overlapped;
};

static u64 calls_of(enum tdh_leaf leaf)
{
	return tdx_host_read(TDX_HOST_SEAMCALL_LEAF + leaf);
}

static void *terminate_second(void *arg)
{
	struct queue *queue = arg;

	/* The first one has tdx_lock from here on. */
	while (calls_of(TDH_PHYMEM_CACHE_WB) == queue->written_back)
		sched_yield();
	WRITE_ONCE(queue->queued, true);
	terminate_retrying(queue->td->vm);
	return NULL;
}

/*
 * The second one has to wait, and is to go on where the first one was: whoever
 * punches may be interrupted between two pages, but not within one.
 */
static void *punch_second(void *arg)
{
	struct queue *queue = arg;
	bool early;

	while (!READ_ONCE(queue->queued))
		usleep(100);
	pin_task_to_cpu(queue->second, 0);
	early = calls_of(TDH_MNG_KEY_FREEID) == queue->released;
	punch(td_guest_memfd(queue->td), 0, TD_SIZE);
	queue->overlapped = early && calls_of(TDH_MNG_KEY_FREEID) != queue->released;
	return NULL;
}

/*
 * A TD whose turn it is once the caches of another one are written back: a hole
 * that is being punched then had not been begun when it began to wait.
 */
RACE_TEST(punch_while_queued)
{
	int i, other = get_nprocs() - 1, overlapped = 0;
	struct kvm_vm *first;
	struct queue queue;
	pthread_t puncher;

	if (!self->baseline.model)
		SKIP(return, "Needs an emulated TDX host");
	if (other < nr_cpu_packages())
		SKIP(return, "All CPUs write back caches");

	tdx_host_set_time(1000);
	for (i = 0; i < NR_ROUNDS; i++) {
		/* CPU 0 won't answer, so have the vCPU on the other one. */
		pin_self_to_cpu(other);
		first = tdx_vm_create();
		tdx_vm_init(first);
		queue = (struct queue) {
			.td = create_td(1, TD_SIZE),
			.written_back = calls_of(TDH_PHYMEM_CACHE_WB),
			.released = calls_of(TDH_MNG_KEY_FREEID),
		};
		queue.second = start_thread(terminate_second, &queue);
		puncher = start_thread(punch_second, &queue);

		pin_self_to_cpu(0);
		tdx_vm_terminate(first);
		join_thread(queue.second);
		join_thread(puncher);
		overlapped += queue.overlapped;
		kvm_vm_free(first);
		tdx_td_free(queue.td);
	}
	TH_LOG("a hole overlapped in %d of %d rounds", overlapped, i);
	EXPECT_LT(0, overlapped);
}

/*
 * Another process has the guest_memfd, punches holes into it while the TD is
 * terminated, and goes on doing so when the VMM doesn't know of it anymore.
 */
RACE_TEST(other_process)
{
	struct tdx_td *td;
	int i, status, fd;
	pid_t pid;

	for (i = 0; i < NR_ROUNDS; i++) {
		td = create_td(1, TD_SIZE);
		fd = td_guest_memfd(td);
		pid = fork();
		ASSERT_LE(0, pid);
		if (!pid) {
			punch_pages(&(struct puncher) { fd, 0, TD_SIZE / 2 });
			/* Closes the rest. */
			_exit(0);
		}
		tdx_spin(&self->rng, 200);
		terminate_retrying(td->vm);
		if (i % 2)
			punch(fd, TD_SIZE / 2, TD_SIZE / 4);
		tdx_td_free(td);
		ASSERT_EQ(pid, waitpid(pid, &status, 0));
		EXPECT_EQ(0, status);
		EXPECT_TRUE(tdx_baseline_check(&self->baseline));
	}
}

/* The KeyID serves another TD while the memory of the old one is reclaimed. */
RACE_TEST(keyid_reuse)
{
	struct tdx_td *old = create_td(1, TD_SIZE), *new;
	struct kvm_vm **vms = NULL;
	struct puncher puncher;
	pthread_t thread;
	int nr_vms = 0, i;
	u64 keyids = 0;

	if (self->baseline.model) {
		/* Leave no other KeyID. */
		keyids = tdx_host_read(TDX_HOST_KEYIDS);
		vms = calloc(keyids, sizeof(*vms));
		ASSERT_NE(NULL, vms);
		kvm_set_files_rlimit(2 * keyids);
		for (i = tdx_gauges_read().keyids_in_use; i < keyids; i++) {
			vms[nr_vms] = tdx_vm_create();
			tdx_vm_init(vms[nr_vms++]);
		}
	}

	for (i = 0; i < NR_ROUNDS; i++) {
		tdx_vm_terminate(old->vm);
		puncher = (struct puncher) { td_guest_memfd(old), 0, TD_SIZE / 2 };
		thread = start_thread(punch_pages, &puncher);
		new = create_td(1, TD_SIZE);
		join_thread(thread);
		if (self->baseline.model) {
			EXPECT_EQ(TD_SIZE / PAGE_SIZE * 3 / 2,
				  tdx_gauges_read().private_pages -
				  self->baseline.gauges.private_pages);
			EXPECT_EQ(keyids, tdx_gauges_read().keyids_in_use);
		}
		tdx_td_free(old);
		old = new;
	}
	tdx_td_free(old);
	while (nr_vms)
		kvm_vm_free(vms[--nr_vms]);
	free(vms);
}

struct teardown {
	struct tdx_td *td;
	pthread_barrier_t *barrier;
	int method;
};

static void *tear_down(void *arg)
{
	struct teardown *teardown = arg;

	pthread_barrier_wait(teardown->barrier);
	if (teardown->method)
		tdx_vm_terminate(teardown->td->vm);
	if (teardown->method == 2)
		tdx_td_close_memory(teardown->td);
	tdx_td_free(teardown->td);
	return NULL;
}

/* As many as there are KeyIDs, until it was NR_PARALLEL. */
RACE_TEST(many_at_once)
{
	struct teardown teardowns[NR_PARALLEL] = {};
	int keyids = 4, wave = NR_PARALLEL, left, i;
	pthread_t threads[NR_PARALLEL];
	pthread_barrier_t barrier;

	if (self->baseline.model)
		keyids = tdx_host_read(TDX_HOST_KEYIDS);
	kvm_set_files_rlimit(2 * NR_PARALLEL);

	for (left = NR_PARALLEL; left; left -= wave) {
		wave = min(left, keyids);
		TH_LOG("%d TDs", wave);
		pthread_barrier_init(&barrier, NULL, wave);
		for (i = 0; i < wave; i++) {
			teardowns[i] = (struct teardown) {
				.td = create_td(1, SZ_256K),
				.barrier = &barrier,
				.method = i % 3,
			};
		}
		for (i = 0; i < wave; i++)
			threads[i] = start_thread(tear_down, &teardowns[i]);
		for (i = 0; i < wave; i++)
			join_thread(threads[i]);
		pthread_barrier_destroy(&barrier);
		EXPECT_TRUE(tdx_baseline_check(&self->baseline));
	}
}

struct toggler {
	struct tdx_hotplug hotplug;
	bool stop;
	int count;
};

static void *toggle_cpu(void *arg)
{
	struct toggler *toggler = arg;
	int r;

	do {
		r = tdx_set_cpu_online(toggler->hotplug.cpu, toggler->count % 2);
		TEST_ASSERT(!r || r == EBUSY, "CPU %d can't be toggled: %s",
			    toggler->hotplug.cpu, strerror(r));
		if (!r)
			WRITE_ONCE(toggler->count, toggler->count + 1);
	} while (toggler->count % 2 || !READ_ONCE(toggler->stop));
	return NULL;
}

/* The vCPUs have been on the CPU that goes, and on the one that stays. */
RACE_TEST(cpu_hotplug)
{
	struct toggler toggler = {};
	struct tdx_vcpu_thread runners[2];
	struct tdx_td *td;
	pthread_t thread;
	int i, j;

	if (!cpu_hotplug)
		SKIP(return, "Takes a CPU offline, see --cpu-hotplug");
	if (max_vcpus < 2)
		SKIP(return, "A TD can't have two vCPUs");
	/* Don't go on when the test is killed, but let the CPU come back. */
	ASSERT_EQ(0, prctl(PR_SET_PDEATHSIG, SIGKILL));
	if (!tdx_hotplug_begin(&toggler.hotplug))
		SKIP(return, "No CPU can be taken offline, or not by this user");

	thread = start_thread(toggle_cpu, &toggler);
	for (i = 0; i < 2 * NR_ROUNDS || READ_ONCE(toggler.count) < 2; i++) {
		td = create_td(2, SZ_256K);
		if (self->baseline.model)
			tdx_host_script_stay();
		for (j = 0; j < 2; j++)
			tdx_vcpu_thread_start(&runners[j], td->vcpus[j]);
		for (j = 0; j < 2; j++)
			TEST_ASSERT_EQ(tdx_vcpu_thread_stop(&runners[j]), EINTR);
		if (i % 3)
			tdx_vm_terminate(td->vm);
		tdx_td_free(td);
	}
	WRITE_ONCE(toggler.stop, true);
	join_thread(thread);
	tdx_hotplug_end(&toggler.hotplug);
	TH_LOG("%d times offline or online, %d TDs", toggler.count, i);
	if (self->baseline.model)
		tdx_host_script_io();
}

/* A TD that is being set up, while a thread does something else to it. */
struct setup {
	struct kvm_vm *vm;
	struct kvm_vcpu *vcpus[2];
	pthread_t thread;
	bool stop;
	int count;
};

static void setup_begin(struct setup *setup, int nr_vcpus, void *(*fn)(void *))
{
	int i;

	*setup = (struct setup) { .vm = tdx_vm_create() };
	tdx_vm_init(setup->vm);
	for (i = 0; i < nr_vcpus; i++)
		setup->vcpus[i] = tdx_vcpu_add(setup->vm, i);
	vm_userspace_mem_region_add(setup->vm, VM_MEM_SRC_ANONYMOUS, PUNCHED_GPA,
				    TDX_MEMSLOT + 1, PUNCHED_SIZE / PAGE_SIZE,
				    KVM_MEM_GUEST_MEMFD);
	vm_mem_set_private(setup->vm, PUNCHED_GPA, PUNCHED_SIZE);
	tdx_init_mem_region(setup->vcpus[0], PUNCHED_GPA, PUNCHED_SIZE, 0);
	tdx_mem_add(setup->vm, POPULATED_GPA, POPULATED_SIZE);

	setup->thread = start_thread(fn, setup);
	while (!READ_ONCE(setup->count))
		cpu_relax();
}

static void setup_stop(struct setup *setup)
{
	WRITE_ONCE(setup->stop, true);
	join_thread(setup->thread);
	printf("# %d times\n", setup->count);
}

static void setup_free(struct setup *setup)
{
	tdx_vm_terminate(setup->vm);
	kvm_vm_free(setup->vm);
}

static void setup_end(struct setup *setup)
{
	setup_stop(setup);
	tdx_vm_finalize(setup->vm);
	setup_free(setup);
}

static void populate_page_by_page(struct setup *setup, u64 size)
{
	u64 gpa;

	for (gpa = POPULATED_GPA; gpa < POPULATED_GPA + size; gpa += PAGE_SIZE)
		tdx_init_mem_region(setup->vcpus[0], gpa, PAGE_SIZE,
				    KVM_TDX_MEASURE_MEMORY_REGION);
}

static void *read_cpuid(void *arg)
{
	struct kvm_cpuid2 *cpuid = allocate_kvm_cpuid2(NR_CPUID_ENTRIES);
	struct setup *setup = arg;

	do {
		cpuid->nent = NR_CPUID_ENTRIES;
		tdx_vcpu_ioctl(setup->vcpus[1], KVM_TDX_GET_CPUID, 0, cpuid);
		WRITE_ONCE(setup->count, setup->count + 1);
	} while (!READ_ONCE(setup->stop));
	free(cpuid);
	return NULL;
}

/* While memory is added or measured, the TDX module does nothing else for a TD. */
RACE_TEST(populate)
{
	struct setup setup;

	if (max_vcpus < 2)
		SKIP(return, "A TD can't have two vCPUs");

	setup_begin(&setup, 2, read_cpuid);
	populate_page_by_page(&setup, SZ_64K);
	setup_end(&setup);
}

/* A vCPU that is loaded on another CPU than before is flushed first. */
static void *load_on_every_cpu(void *arg)
{
	struct setup *setup = arg;
	struct kvm_mp_state state;
	int nr = get_nprocs();

	do {
		pin_self_to_cpu(setup->count % nr);
		vcpu_ioctl(setup->vcpus[1], KVM_GET_MP_STATE, &state);
		WRITE_ONCE(setup->count, setup->count + 1);
	} while (!READ_ONCE(setup->stop));
	return NULL;
}

RACE_TEST(populate_while_migrating)
{
	struct setup setup;

	if (max_vcpus < 2)
		SKIP(return, "A TD can't have two vCPUs");
	if (get_nprocs() < 3)
		SKIP(return, "With two CPUs, the one that flushes is the one that populates");

	setup_begin(&setup, 2, load_on_every_cpu);
	populate_page_by_page(&setup, POPULATED_SIZE);
	setup_end(&setup);
}

/* In a guest_memfd that nobody populates at that time: its own lock doesn't help. */
static void *punch_page_by_page(void *arg)
{
	struct setup *setup = arg;
	u64 gpa;

	for (gpa = PUNCHED_GPA; gpa < PUNCHED_GPA + PUNCHED_SIZE; gpa += PAGE_SIZE) {
		vm_guest_mem_punch_hole(setup->vm, gpa, PAGE_SIZE);
		WRITE_ONCE(setup->count, setup->count + 1);
		if (READ_ONCE(setup->stop))
			break;
	}
	return NULL;
}

RACE_TEST(populate_while_punching)
{
	struct setup setup;

	setup_begin(&setup, 1, punch_page_by_page);
	populate_page_by_page(&setup, SZ_256K);
	setup_end(&setup);
}

RACE_TEST(init_vcpu_while_punching)
{
	struct setup setup;
	int i, j;

	if (max_vcpus < 2)
		SKIP(return, "A TD can't have two vCPUs");

	/* Else what KVM does between two SEAMCALLs takes most of the time. */
	if (self->baseline.model)
		tdx_host_set_time(1000);
	for (i = 0; i < 2 * NR_ROUNDS; i++) {
		setup_begin(&setup, 1, punch_page_by_page);
		for (j = 1; j < max_vcpus; j++)
			tdx_vcpu_add(setup.vm, j);
		setup_end(&setup);
	}
}

struct migration {
	pid_t tid;
	bool wanted;
	bool stop;
	int count;
};

static void *migrate(void *arg)
{
	struct migration *migration = arg;
	cpu_set_t all, one;
	int nr = get_nprocs(), r;

	r = sched_getaffinity(migration->tid, sizeof(all), &all);
	do {
		/* A host that is idle is emulated in no time. */
		if (!READ_ONCE(migration->wanted)) {
			usleep(100);
			continue;
		}
		CPU_ZERO(&one);
		CPU_SET(migration->count % nr, &one);
		r = r ?: sched_setaffinity(migration->tid, sizeof(one), &one);
		WRITE_ONCE(migration->count, migration->count + 1);
	} while (!READ_ONCE(migration->stop));
	r = r ?: sched_setaffinity(migration->tid, sizeof(all), &all);
	TEST_ASSERT(!r, __KVM_SYSCALL_ERROR("sched_setaffinity()", r));
	return NULL;
}

/*
 * Initializing a vCPU associates it with a CPU. With a preemptible kernel, the task
 * can move to another one at once.
 */
RACE_TEST(init_vcpu_while_migrating)
{
	struct migration migration = { .tid = syscall(SYS_gettid) };
	struct kvm_vm *vm;
	pthread_t thread;
	int i, j;

	if (get_nprocs() < 2)
		SKIP(return, "There is no other CPU");

	if (self->baseline.model)
		tdx_host_set_time(1000);
	thread = start_thread(migrate, &migration);
	for (i = 0; i < NR_TIGHT_ROUNDS; i++) {
		vm = tdx_vm_create();
		tdx_vm_init(vm);
		WRITE_ONCE(migration.wanted, true);
		for (j = 0; j < min(max_vcpus, 2); j++)
			tdx_vcpu_add(vm, j);
		WRITE_ONCE(migration.wanted, false);
		tdx_vm_terminate(vm);
		kvm_vm_free(vm);
	}
	WRITE_ONCE(migration.stop, true);
	join_thread(thread);
	TH_LOG("moved %d times", migration.count);
}

/* From then on, TLBs have to be flushed before a page can be removed. */
RACE_TEST(finalize_while_punching)
{
	struct setup setup;
	int i;

	if (self->baseline.model)
		tdx_host_set_time(1000);
	for (i = 0; i < 4 * NR_ROUNDS; i++) {
		setup_begin(&setup, 1, punch_page_by_page);
		tdx_spin(&self->rng, 16);
		tdx_vm_finalize(setup.vm);
		setup_stop(&setup);
		setup_free(&setup);
	}
}

static const char usage[] =
	"Call KVM_TDX_TERMINATE_VM while others use the same TD, or other TDs.\n"
	"\n"
	" --cpu-hotplug  Take the last CPU offline and online, again and again, while TDs\n"
	"                come and go.  It comes back, even if the test is killed.";

int main(int argc, char *argv[])
{
	tdx_take_help(argc, argv, usage);
	cpu_hotplug = tdx_take_option(&argc, argv, "--cpu-hotplug");
	max_vcpus = tdx_require_terminate().max_vcpus;

	return test_harness_run(argc, argv);
}
