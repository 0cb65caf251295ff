// SPDX-License-Identifier: GPL-2.0-only
/*
 * Let VMMs die in the ways in which VMMs die, and count the SEAMCALLs that taking
 * the memory of their TDs back costs.  Without KVM_TDX_TERMINATE_VM, it must cost
 * no more than with it, unless somebody who lives can still use the TD, who must
 * not notice anything then.
 */
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysinfo.h>
#include <sys/wait.h>

#include <linux/close_range.h>
#include <linux/sizes.h>
#include <linux/stddef.h>
#include <linux/vhost.h>

#include "kselftest_harness.h"
#include "kvm_util.h"
#include "processor.h"
#include "tdx_stress.h"
#include "tdx_util.h"

#define TD_SIZE			SZ_2M
#define TD_INIT_SIZE		SZ_64K
#define TD_PAGES		(TD_SIZE / PAGE_SIZE)
#define SECOND_MEMSLOT		(TDX_MEMSLOT + 1)
#define SECOND_GPA		SZ_1G
#define NR_TDS			4
#define MAX_VCPUS		2

#define TEST_TIMEOUT		100	/* seconds, all tests together have 120 */
#define WAIT_MS			10000
#define STARVE_MS		400	/* less than a second, see sched_rt_runtime_us */
#define STACK_SIZE		SZ_64K

#define CGROUP_ROOT		"/tmp/tdx_vmm_death_test"
#define CGROUP			CGROUP_ROOT "/vmm"
#define IGNORE_LOGLEVEL		"/sys/module/printk/parameters/ignore_loglevel"

static int nr_vcpus;

/* What a VMM, its relatives and its killer have in common. */
static struct shared {
	bool ready;
	bool go;
	bool relative_done;
	pid_t vmm;
	pid_t relative;
	int guest_memfd;		/* as the VMM has it */
	int run_errno;
	u64 runs;
} *shared;

/* Of the process that is a VMM. */
static struct tdx_td *td;
static struct tdx_vcpu_thread threads[MAX_VCPUS];

enum vhost {
	NO_VHOST,
	VHOST_BEFORE,
	VHOST_AFTER,
};

#define wait_until(condition)							\
do {										\
	int __i;								\
										\
	for (__i = 0; !(condition); __i++) {					\
		TEST_ASSERT(__i < WAIT_MS, "Timed out: %s", #condition);	\
		usleep(1000);							\
	}									\
} while (0)

/* A vhost device keeps the address space of its owner until it is closed. */
static int open_vhost(void)
{
	int fd = open("/dev/vhost-net", O_RDWR | O_CLOEXEC);

	TEST_ASSERT(fd >= 0, __KVM_SYSCALL_ERROR("open(/dev/vhost-net)", fd));
	TEST_ASSERT(!ioctl(fd, VHOST_SET_OWNER), "VHOST_SET_OWNER failed");
	return fd;
}

static int td_guest_memfd(void)
{
	return memslot2region(td->vm, TDX_MEMSLOT)->region.guest_memfd;
}

static void create_td(void)
{
	td = tdx_td_create(nr_vcpus, TD_SIZE, TD_INIT_SIZE);
	tdx_td_finalize(td);
	WRITE_ONCE(shared->guest_memfd, td_guest_memfd());
}

static void start_vcpus(void)
{
	int i;

	for (i = 0; i < nr_vcpus; i++)
		tdx_vcpu_thread_start(&threads[i], td->vcpus[i]);
}

static void stop_vcpus(void)
{
	int i;

	for (i = 0; i < nr_vcpus; i++)
		TEST_ASSERT_EQ(tdx_vcpu_thread_stop(&threads[i]), EINTR);
}

/* The process that this is becomes a VMM. */
static void be_vmm(enum vhost vhost)
{
	/* Whoever is killed is killed with all relatives. */
	setpgid(0, 0);
	WRITE_ONCE(shared->vmm, getpid());
	if (vhost == VHOST_BEFORE)
		open_vhost();
	create_td();
	if (vhost == VHOST_AFTER)
		open_vhost();
	start_vcpus();
}

static void ready(void)
{
	WRITE_ONCE(shared->ready, true);
}

static void __noreturn wait_for_death(void)
{
	ready();
	for (;;)
		pause();
}

static void wait_for_go(void)
{
	ready();
	while (!READ_ONCE(shared->go))
		usleep(1000);
}

/*
 * A process with the caller's address space and with copies of its file
 * descriptors, as vfork() makes them.  It uses the caller's thread-local storage,
 * so the caller must do nothing but wait.
 */
static pid_t clone_relative(int (*fn)(void *))
{
	char *stack = malloc(STACK_SIZE);
	pid_t pid;

	TEST_ASSERT(stack, "No memory for a stack");
	pid = clone(fn, stack + STACK_SIZE, CLONE_VM | SIGCHLD, NULL);
	TEST_ASSERT(pid >= 0, __KVM_SYSCALL_ERROR("clone()", pid));
	WRITE_ONCE(shared->relative, pid);
	return pid;
}

static void close_all(void)
{
	syscall(SYS_close_range, 0, ~0U, 0);
}

FIXTURE(death) {
	struct tdx_baseline baseline;
	struct tdx_counts counts;
	u64 keyids_left;		/* when the VMM was gone */
};

FIXTURE_VARIANT(death) {
	enum vhost vhost;
};

FIXTURE_VARIANT_ADD(death, no_vhost) {
	.vhost = NO_VHOST,
};

/* Closed after the guest_memfd, files are released in the reverse order. */
FIXTURE_VARIANT_ADD(death, vhost_below) {
	.vhost = VHOST_BEFORE,
};

FIXTURE_VARIANT_ADD(death, vhost_above) {
	.vhost = VHOST_AFTER,
};

static void setup(struct tdx_baseline *baseline)
{
	tdx_baseline_init(baseline);
	if (baseline->model)
		tdx_host_script_stay();

	shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE,
		      MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	TEST_ASSERT(shared != MAP_FAILED, "mmap() failed");
	/* Who isn't the test's child, but that of a VMM, becomes it. */
	TEST_ASSERT(!prctl(PR_SET_CHILD_SUBREAPER, 1), "prctl() failed");
}

static bool teardown(struct tdx_baseline *baseline)
{
	if (baseline->model)
		tdx_host_script_io();
	return tdx_baseline_check(baseline);
}

FIXTURE_SETUP(death)
{
	setup(&self->baseline);
	if (!self->baseline.model)
		SKIP(return, "Needs an emulated TDX host");
	if (variant->vhost != NO_VHOST && access("/dev/vhost-net", R_OK | W_OK))
		SKIP(return, "Needs /dev/vhost-net");
}

FIXTURE_TEARDOWN(death)
{
	EXPECT_TRUE(teardown(&self->baseline));
}

#define DEATH_TEST(name) TEST_F_TIMEOUT(death, name, TEST_TIMEOUT)

static u64 td_pages(const struct tdx_baseline *baseline)
{
	return tdx_gauges_read().td_pages - baseline->gauges.td_pages;
}

static u64 private_pages(const struct tdx_baseline *baseline)
{
	return tdx_gauges_read().private_pages - baseline->gauges.private_pages;
}

static u64 keyids(const struct tdx_baseline *baseline)
{
	return tdx_gauges_read().keyids_in_use - baseline->gauges.keyids_in_use;
}

static pid_t fork_vmm(enum vhost vhost, void (*live)(void))
{
	pid_t pid;

	fflush(stdout);
	pid = fork();
	TEST_ASSERT(pid >= 0, __KVM_SYSCALL_ERROR("fork()", pid));
	if (!pid) {
		be_vmm(vhost);
		live();
		_exit(KSFT_FAIL);
	}
	wait_until(READ_ONCE(shared->ready) || waitpid(pid, NULL, WNOHANG) == pid);
	TEST_ASSERT(READ_ONCE(shared->ready), "The VMM died early");
	return pid;
}

static int reap(pid_t pid)
{
	int status;

	TEST_ASSERT_EQ(waitpid(pid, &status, 0), pid);
	return status;
}

/* The last reference to a VM may be dropped a bit after the VMM has ended. */
static void finish_counting(struct __test_metadata *_metadata,
			    FIXTURE_DATA(death) * self, u64 tds)
{
	int i;

	self->keyids_left = keyids(&self->baseline);
	for (i = 0; i < WAIT_MS && td_pages(&self->baseline); i++)
		usleep(1000);
	tdx_counts_stop(&self->counts);

	TH_LOG("%.2f a page; RECLAIM %lu, BLOCK %lu, TRACK %lu, REMOVE %lu, WB %lu, FREEID %lu",
	       (double)self->counts.seamcalls / (tds * TD_PAGES),
	       self->counts.leaf[TDH_PHYMEM_PAGE_RECLAIM],
	       self->counts.leaf[TDH_MEM_RANGE_BLOCK],
	       self->counts.leaf[TDH_MEM_TRACK],
	       self->counts.leaf[TDH_MEM_PAGE_REMOVE],
	       self->counts.leaf[TDH_PHYMEM_CACHE_WB],
	       self->counts.leaf[TDH_MNG_KEY_FREEID]);
}

static void check_fast(struct __test_metadata *_metadata,
		       FIXTURE_DATA(death) * self, u64 tds)
{
	const struct tdx_counts *counts = &self->counts;

	EXPECT_EQ(0, counts->leaf[TDH_MEM_RANGE_BLOCK]);
	EXPECT_EQ(0, counts->leaf[TDH_MEM_TRACK]);
	EXPECT_EQ(0, counts->leaf[TDH_MEM_PAGE_REMOVE]);
	EXPECT_LE(tds * TD_PAGES, counts->leaf[TDH_PHYMEM_PAGE_RECLAIM]);
	EXPECT_LE(counts->leaf[TDH_PHYMEM_PAGE_RECLAIM] * 10, tds * TD_PAGES * 11);
	EXPECT_EQ(tds, counts->leaf[TDH_MNG_KEY_FREEID] -
		       counts->errors[TDH_MNG_KEY_FREEID]);
	EXPECT_EQ(0, self->keyids_left);
}

static void kill_fast(struct __test_metadata *_metadata,
		      FIXTURE_DATA(death) * self, pid_t pid)
{
	int status;

	tdx_counts_start(&self->counts);
	EXPECT_EQ(0, kill(pid, SIGKILL));
	status = reap(pid);
	finish_counting(_metadata, self, 1);
	EXPECT_TRUE(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
	check_fast(_metadata, self, 1);
}

/* Its vCPUs are in the guest. */
DEATH_TEST(killed)
{
	kill_fast(_metadata, self, fork_vmm(variant->vhost, wait_for_death));
}

static void end_leader(void)
{
	ready();
	syscall(SYS_exit, 0);
}

/* The thread that has created the TD is gone, others run the vCPUs. */
DEATH_TEST(killed_without_leader)
{
	kill_fast(_metadata, self, fork_vmm(variant->vhost, end_leader));
}

static void exit_on_go(void)
{
	wait_for_go();
	_exit(0);
}

/* Count what a VMM does that waits to be told to exit. */
static void let_exit(struct __test_metadata *_metadata,
		     FIXTURE_DATA(death) * self, pid_t pid)
{
	tdx_counts_start(&self->counts);
	WRITE_ONCE(shared->go, true);
	EXPECT_EQ(0, reap(pid));
	finish_counting(_metadata, self, 1);
}

DEATH_TEST(exits)
{
	let_exit(_metadata, self, fork_vmm(variant->vhost, exit_on_go));
	check_fast(_metadata, self, 1);
}

static void exec_on_go(void)
{
	TEST_ASSERT(!fcntl(td_guest_memfd(), F_SETFD, FD_CLOEXEC), "F_SETFD failed");
	wait_for_go();
	execl("/proc/self/exe", "vmm", "--pause", NULL);
}

/* KVM's files are closed, and the process goes on. */
DEATH_TEST(executes)
{
	pid_t pid = fork_vmm(variant->vhost, exec_on_go);

	tdx_counts_start(&self->counts);
	WRITE_ONCE(shared->go, true);
	wait_until(!td_pages(&self->baseline));
	finish_counting(_metadata, self, 1);
	EXPECT_EQ(0, kill(pid, SIGKILL));
	EXPECT_TRUE(WIFSIGNALED(reap(pid)));
	/* Nothing tells that it's going to close the vhost device as well. */
	if (variant->vhost != VHOST_BEFORE)
		check_fast(_metadata, self, 1);
}

static void write_file(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY);

	TEST_ASSERT(fd >= 0, "Can't open %s: %s", path, strerror(errno));
	TEST_ASSERT(write(fd, text, strlen(text)) == strlen(text),
		    "Can't write %s: %s", path, strerror(errno));
	close(fd);
}

static void read_file(const char *path, char *text, size_t size)
{
	int fd = open(path, O_RDONLY), r;

	TEST_ASSERT(fd >= 0, "Can't open %s: %s", path, strerror(errno));
	r = read(fd, text, size - 1);
	TEST_ASSERT(r >= 0, "Can't read %s: %s", path, strerror(errno));
	text[r] = 0;
	close(fd);
}

static u64 read_number(const char *path)
{
	char text[32];

	read_file(path, text, sizeof(text));
	return strtoull(text, NULL, 10);
}

static void run_out_of_memory(void)
{
	char text[32];
	size_t i;
	char *mem;

	wait_for_go();
	snprintf(text, sizeof(text), "%lu",
		 read_number(CGROUP "/memory.current") + SZ_1M);
	write_file(CGROUP "/memory.max", text);
	mem = kvm_mmap(SZ_16M, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1);
	for (i = 0; i < SZ_16M; i += PAGE_SIZE)
		WRITE_ONCE(mem[i], 1);
}

/* The memory of the TD counts as the VMM's, the VMM is all there is to kill. */
DEATH_TEST(out_of_memory)
{
	char controllers[256], level[64], ignore[64];
	int status;
	pid_t pid;

	if (!tdx_host_is_model())
		SKIP(return, "Mutes the console, for emulated TDX hosts only");

	mkdir(CGROUP_ROOT, 0755);
	if (mount("none", CGROUP_ROOT, "cgroup2", 0, NULL))
		SKIP(return, "Needs cgroup2");
	read_file(CGROUP_ROOT "/cgroup.controllers", controllers, sizeof(controllers));
	if (!strstr(controllers, "memory")) {
		umount(CGROUP_ROOT);
		SKIP(return, "Needs the memory controller in cgroup2");
	}
	write_file(CGROUP_ROOT "/cgroup.subtree_control", "+memory");
	TEST_ASSERT(!mkdir(CGROUP, 0755), "Can't make " CGROUP);

	fflush(stdout);
	pid = fork();
	ASSERT_LE(0, pid);
	if (!pid) {
		write_file(CGROUP "/cgroup.procs", "0");
		be_vmm(variant->vhost);
		run_out_of_memory();
		_exit(KSFT_FAIL);
	}
	wait_until(READ_ONCE(shared->ready));

	/* That the VMM is killed is no news, and neither is from where. */
	read_file("/proc/sys/kernel/printk", level, sizeof(level));
	read_file(IGNORE_LOGLEVEL, ignore, sizeof(ignore));
	write_file("/proc/sys/kernel/printk", "1");
	write_file(IGNORE_LOGLEVEL, "N");

	tdx_counts_start(&self->counts);
	WRITE_ONCE(shared->go, true);
	status = reap(pid);
	finish_counting(_metadata, self, 1);

	write_file("/proc/sys/kernel/printk", level);
	write_file(IGNORE_LOGLEVEL, ignore);
	EXPECT_TRUE(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
	check_fast(_metadata, self, 1);
	wait_until(!rmdir(CGROUP));
	umount(CGROUP_ROOT);
}

/* The init process of a container ends, and takes the VMM along. */
DEATH_TEST(container)
{
	pid_t init, pid;

	fflush(stdout);
	init = syscall(SYS_clone, CLONE_NEWPID | SIGCHLD, 0, NULL, NULL, 0);
	if (init < 0)
		SKIP(return, "Needs PID namespaces");
	if (!init) {
		pid = fork();
		TEST_ASSERT(pid >= 0, __KVM_SYSCALL_ERROR("fork()", pid));
		if (!pid) {
			be_vmm(variant->vhost);
			wait_for_death();
		}
		for (;;)
			pause();
	}
	wait_until(READ_ONCE(shared->ready));
	kill_fast(_metadata, self, init);
}

/* The VMM has closed everything in a way that isn't the fast one. */
static void close_and_exit(void)
{
	wait_for_go();
	stop_vcpus();
	tdx_td_close_memory(td);
	tdx_td_free(td);
	_exit(0);
}

DEATH_TEST(closes_then_exits)
{
	let_exit(_metadata, self, fork_vmm(variant->vhost, close_and_exit));
	EXPECT_EQ(1, self->counts.leaf[TDH_MNG_KEY_FREEID]);
	EXPECT_EQ(0, td_pages(&self->baseline));
}

/* Another process has the guest_memfd, but nothing else of the VMM. */
DEATH_TEST(guest_memfd_elsewhere)
{
	pid_t pid = fork_vmm(variant->vhost, wait_for_death);
	int pidfd, fd;

	pidfd = syscall(SYS_pidfd_open, pid, 0);
	ASSERT_LE(0, pidfd);
	fd = syscall(SYS_pidfd_getfd, pidfd, READ_ONCE(shared->guest_memfd), 0);
	ASSERT_LE(0, fd);

	tdx_counts_start(&self->counts);
	EXPECT_EQ(0, kill(pid, SIGKILL));
	EXPECT_TRUE(WIFSIGNALED(reap(pid)));
	wait_until(!keyids(&self->baseline));
	EXPECT_EQ(TD_PAGES, private_pages(&self->baseline));
	close(fd);
	close(pidfd);
	finish_counting(_metadata, self, 1);
	check_fast(_metadata, self, 1);
}

/* Not where the VMM ends, so that another task can keep it from running. */
static int pause_without_files(void *arg)
{
	cpu_set_t last;

	CPU_ZERO(&last);
	CPU_SET(get_nprocs() - 1, &last);
	sched_setaffinity(0, sizeof(last), &last);
	close_all();
	WRITE_ONCE(shared->ready, true);
	for (;;)
		pause();
	return 0;
}

static void live_with_relative(void)
{
	clone_relative(pause_without_files);
	for (;;)
		pause();
}

/* Take a CPU away from all others, for as long as it takes the VMM to end. */
static void starve_until_gone(FIXTURE_DATA(death) * self)
{
	const struct sched_param first = { .sched_priority = 1 }, normal = {};
	struct timespec start;

	clock_gettime(CLOCK_MONOTONIC, &start);
	TEST_ASSERT(!sched_setscheduler(0, SCHED_FIFO, &first), "No SCHED_FIFO");
	while (private_pages(&self->baseline) &&
	       timespec_to_ns(timespec_elapsed(start)) < STARVE_MS * 1000000ll)
		cpu_relax();
	TEST_ASSERT(!sched_setscheduler(0, SCHED_OTHER, &normal),
		    "sched_setscheduler() failed");
}

/*
 * A helper that was about to execute something is killed along with the VMM, but
 * takes longer to end.
 */
DEATH_TEST(killed_with_relative)
{
	int last = get_nprocs() - 1;
	pid_t pid, relative;
	cpu_set_t cpus, others;
	bool waited;

	if (!last)
		SKIP(return, "Needs two CPUs");
	ASSERT_EQ(0, sched_getaffinity(0, sizeof(cpus), &cpus));
	others = cpus;
	CPU_CLR(last, &others);
	ASSERT_EQ(0, sched_setaffinity(0, sizeof(others), &others));
	pid = fork_vmm(variant->vhost, live_with_relative);
	pin_self_to_cpu(last);
	wait_until(READ_ONCE(shared->relative));
	relative = READ_ONCE(shared->relative);

	tdx_counts_start(&self->counts);
	EXPECT_EQ(0, kill(-pid, SIGKILL));
	starve_until_gone(self);
	waited = !private_pages(&self->baseline);
	EXPECT_TRUE(WIFSIGNALED(reap(pid)));
	EXPECT_TRUE(WIFSIGNALED(reap(relative)));
	finish_counting(_metadata, self, 1);
	TH_LOG("the relative was%s the last one to end", waited ? "" : "n't");
	check_fast(_metadata, self, 1);
	ASSERT_EQ(0, sched_setaffinity(0, sizeof(cpus), &cpus));
}

/* The relative lives on, but has nothing to use the TD with. */
DEATH_TEST(relative_lives_on)
{
	pid_t pid = fork_vmm(variant->vhost, live_with_relative), relative;

	wait_until(READ_ONCE(shared->relative));
	relative = READ_ONCE(shared->relative);
	tdx_counts_start(&self->counts);
	EXPECT_EQ(0, kill(pid, SIGKILL));
	EXPECT_TRUE(WIFSIGNALED(reap(pid)));
	wait_until(!private_pages(&self->baseline));
	/* Mapped kvm_run structures keep the rest. */
	EXPECT_EQ(0, kill(relative, SIGKILL));
	EXPECT_TRUE(WIFSIGNALED(reap(relative)));
	finish_counting(_metadata, self, 1);
	EXPECT_EQ(1, self->counts.leaf[TDH_MNG_KEY_FREEID]);
	EXPECT_EQ(0, td_pages(&self->baseline));
}

static int run_when_alone(void *arg)
{
	struct kvm_vcpu *vcpu = td->vcpus[0];
	int r;

	/* The VMM's guest_memfd is the last one, and goes with it. */
	close(td_guest_memfd());
	WRITE_ONCE(shared->ready, true);
	while (!READ_ONCE(shared->go))
		usleep(1000);
	vcpu->run->immediate_exit = 0;
	r = syscall(SYS_ioctl, vcpu->fd, KVM_RUN, NULL);
	WRITE_ONCE(shared->run_errno, r ? errno : 0);
	WRITE_ONCE(shared->runs, 1);
	while (!READ_ONCE(shared->relative_done))
		usleep(1000);
	close_all();
	_exit(0);
}

static void leave_to_relative(void)
{
	clone_relative(run_when_alone);
	for (;;)
		pause();
}

/* The relative lives on, and runs a vCPU: the TD is its. */
DEATH_TEST(relative_runs_vcpu)
{
	pid_t pid = fork_vmm(variant->vhost, leave_to_relative), relative;

	wait_until(READ_ONCE(shared->relative));
	relative = READ_ONCE(shared->relative);
	tdx_counts_start(&self->counts);
	EXPECT_EQ(0, kill(pid, SIGKILL));
	EXPECT_TRUE(WIFSIGNALED(reap(pid)));
	EXPECT_EQ(1, keyids(&self->baseline));
	EXPECT_EQ(0, private_pages(&self->baseline));

	tdx_host_script_io();
	WRITE_ONCE(shared->go, true);
	wait_until(READ_ONCE(shared->runs));
	EXPECT_EQ(0, READ_ONCE(shared->run_errno));
	EXPECT_EQ(1, keyids(&self->baseline));
	WRITE_ONCE(shared->relative_done, true);
	EXPECT_EQ(0, reap(relative));
	finish_counting(_metadata, self, 1);
	EXPECT_EQ(1, self->counts.leaf[TDH_MNG_KEY_FREEID]);
}

/* One write-back serves all KeyIDs whose TDs have been flushed by then. */
static void check_write_backs(struct __test_metadata *_metadata,
			      FIXTURE_DATA(death) * self)
{
	u64 write_backs = self->counts.leaf[TDH_PHYMEM_CACHE_WB] -
			  self->counts.errors[TDH_PHYMEM_CACHE_WB];

	TH_LOG("%lu write-backs for %d TDs on %d packages", write_backs, NR_TDS,
	       nr_cpu_packages());
	EXPECT_LT(write_backs, NR_TDS * nr_cpu_packages());
}

static void create_other_tds(void)
{
	int i;

	for (i = 1; i < NR_TDS; i++)
		create_td();
	wait_for_death();
}

DEATH_TEST(several_tds)
{
	pid_t pid = fork_vmm(variant->vhost, create_other_tds);

	tdx_host_set_time(100);
	tdx_counts_start(&self->counts);
	EXPECT_EQ(0, kill(pid, SIGKILL));
	EXPECT_TRUE(WIFSIGNALED(reap(pid)));
	finish_counting(_metadata, self, NR_TDS);
	tdx_host_set_time(0);
	check_fast(_metadata, self, NR_TDS);
	check_write_backs(_metadata, self);
}

DEATH_TEST(several_vmms)
{
	pid_t pids[NR_TDS];
	int i;

	for (i = 0; i < NR_TDS; i++) {
		WRITE_ONCE(shared->ready, false);
		pids[i] = fork_vmm(variant->vhost, wait_for_death);
	}
	tdx_host_set_time(100);
	tdx_counts_start(&self->counts);
	for (i = 0; i < NR_TDS; i++)
		EXPECT_EQ(0, kill(pids[i], SIGKILL));
	for (i = 0; i < NR_TDS; i++)
		EXPECT_TRUE(WIFSIGNALED(reap(pids[i])));
	finish_counting(_metadata, self, NR_TDS);
	tdx_host_set_time(0);
	check_fast(_metadata, self, NR_TDS);
	/* How many are flushed when the first one writes back is up to the scheduler. */
	TH_LOG("%lu write-backs for %d TDs on %d packages",
	       self->counts.leaf[TDH_PHYMEM_CACHE_WB], NR_TDS, nr_cpu_packages());
}

/* Somebody ends, or closes something, but not the VMM. */
FIXTURE(life) {
	struct tdx_baseline baseline;
};

FIXTURE_SETUP(life)
{
	setup(&self->baseline);
	create_td();
}

FIXTURE_TEARDOWN(life)
{
	tdx_td_free(td);
	EXPECT_TRUE(teardown(&self->baseline));
}

#define LIFE_TEST(name) TEST_F_TIMEOUT(life, name, TEST_TIMEOUT)

static void check_alive(struct __test_metadata *_metadata, FIXTURE_DATA(life) * self)
{
	if (self->baseline.model)
		EXPECT_EQ(1, keyids(&self->baseline));
	/* All of them can be in the guest. */
	start_vcpus();
	stop_vcpus();
}

LIFE_TEST(one_of_two_guest_memfds)
{
	struct userspace_mem_region *region;

	vm_userspace_mem_region_add(td->vm, VM_MEM_SRC_ANONYMOUS, SECOND_GPA,
				    SECOND_MEMSLOT, TD_PAGES, KVM_MEM_GUEST_MEMFD);
	vm_mem_set_private(td->vm, SECOND_GPA, TD_SIZE);
	tdx_pre_fault_memory(td->vcpus[0], SECOND_GPA, TD_SIZE);
	region = memslot2region(td->vm, SECOND_MEMSLOT);
	EXPECT_EQ(0, close(region->region.guest_memfd));
	region->region.guest_memfd = -1;

	if (self->baseline.model)
		EXPECT_EQ(TD_PAGES, private_pages(&self->baseline));
	check_alive(_metadata, self);
}

LIFE_TEST(child_ends)
{
	pid_t pid = fork();

	ASSERT_LE(0, pid);
	if (!pid)
		_exit(0);
	EXPECT_EQ(0, reap(pid));
	check_alive(_metadata, self);
}

/* The rest is about who ends having the last reference to the guest_memfd. */
static void check_without_memory(struct __test_metadata *_metadata,
				 FIXTURE_DATA(life) * self)
{
	if (self->baseline.model) {
		EXPECT_EQ(0, private_pages(&self->baseline));
		/* There is nothing to execute on any other machine. */
		check_alive(_metadata, self);
	}
}

LIFE_TEST(child_has_last_guest_memfd)
{
	pid_t pid = fork();

	ASSERT_LE(0, pid);
	if (!pid) {
		while (!READ_ONCE(shared->go))
			usleep(1000);
		_exit(0);
	}
	tdx_td_close_memory(td);
	if (self->baseline.model)
		EXPECT_EQ(TD_PAGES, private_pages(&self->baseline));
	WRITE_ONCE(shared->go, true);
	EXPECT_EQ(0, reap(pid));
	check_without_memory(_metadata, self);
}

LIFE_TEST(child_is_killed_with_last_guest_memfd)
{
	pid_t pid = fork();

	ASSERT_LE(0, pid);
	if (!pid) {
		for (;;)
			pause();
	}
	tdx_td_close_memory(td);
	EXPECT_EQ(0, kill(pid, SIGKILL));
	EXPECT_TRUE(WIFSIGNALED(reap(pid)));
	check_without_memory(_metadata, self);
}

static int exit_on_go_fn(void *arg)
{
	while (!READ_ONCE(shared->go))
		usleep(1000);
	syscall(SYS_exit, 0);
	return 0;
}

/* It ends with the address space of a VMM that lives. */
LIFE_TEST(relative_has_last_guest_memfd)
{
	pid_t pid = clone_relative(exit_on_go_fn);

	tdx_td_close_memory(td);
	if (self->baseline.model)
		EXPECT_EQ(TD_PAGES, private_pages(&self->baseline));
	WRITE_ONCE(shared->go, true);
	EXPECT_EQ(0, reap(pid));
	check_without_memory(_metadata, self);
}

static int pause_fn(void *arg)
{
	for (;;)
		syscall(SYS_pause);
	return 0;
}

LIFE_TEST(relative_is_killed_with_last_guest_memfd)
{
	pid_t pid = clone_relative(pause_fn);

	tdx_td_close_memory(td);
	EXPECT_EQ(0, kill(pid, SIGKILL));
	EXPECT_TRUE(WIFSIGNALED(reap(pid)));
	check_without_memory(_metadata, self);
}

static void *unshare_files(void *arg)
{
	TEST_ASSERT(!unshare(CLONE_FILES), "unshare(CLONE_FILES) failed");
	WRITE_ONCE(shared->ready, true);
	while (!READ_ONCE(shared->go))
		usleep(1000);
	return NULL;
}

/* Of the VMM's threads, one has files of its own. */
LIFE_TEST(thread_has_last_guest_memfd)
{
	pthread_t thread;

	ASSERT_EQ(0, pthread_create(&thread, NULL, unshare_files, NULL));
	wait_until(READ_ONCE(shared->ready));
	tdx_td_close_memory(td);
	if (self->baseline.model)
		EXPECT_EQ(TD_PAGES, private_pages(&self->baseline));
	WRITE_ONCE(shared->go, true);
	ASSERT_EQ(0, pthread_join(thread, NULL));
	/* It is joined before it has closed its files. */
	if (self->baseline.model)
		wait_until(!private_pages(&self->baseline));
	check_without_memory(_metadata, self);
}

int main(int argc, char *argv[])
{
	struct tdx_features features;

	/* What a VMM executes. */
	if (argc == 2 && !strcmp(argv[1], "--pause")) {
		for (;;)
			pause();
	}

	tdx_take_help(argc, argv,
		      "Let VMMs die in different ways, and others live on.  What the death of a VMM\n"
		      "costs is counted by an emulated TDX host only.\n");
	features = tdx_require_terminate();
	nr_vcpus = min(features.max_vcpus, MAX_VCPUS);
	kvm_get_supported_cpuid();

	return test_harness_run(argc, argv);
}
