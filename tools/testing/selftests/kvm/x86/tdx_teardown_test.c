// SPDX-License-Identifier: GPL-2.0-only
/*
 * Tests of how KVM takes the memory of a TD back: by destroying the TD, by
 * KVM_TDX_TERMINATE_VM, and by punching holes into its guest_memfd.
 *
 * They run on any TDX host.  On an emulated one, whose TDX module is a software
 * model (see tdx_host_model.h), they also look at what the kernel did: counts
 * of SEAMCALLs, cleared cache lines, IPIs, and what the module still holds.
 */
#include <dirent.h>
#include <pthread.h>
#include <signal.h>
#include <sys/wait.h>

#include <linux/sizes.h>

#include "kselftest_harness.h"
#include "kvm_util.h"
#include "processor.h"
#include "tdx_host.h"
#include "tdx_util.h"

#define TEST_SIZE		SZ_4M
#define TEST_INIT_SIZE		SZ_512K
#define TEST_MAX_VCPUS		2
#define TEST_TIMEOUT		100	/* seconds, all tests together have 120 */
#define HALT_TIMEOUT		10	/* seconds, of the same */

#define LINES_PER_PAGE		64	/* 64-byte lines */
#define TASK_COMM_LEN		16

/* A failure that passes: after so many attempts, or after so long a time. */
#define STUCK_FAILURES		4
#define STUCK_MS		20

/* Tests that make the kernel warn run only if asked for. */
static bool expect_warnings;

/* What KVM supports. */
static bool can_terminate;
static int nr_vcpus;

FIXTURE(tdx) {
	bool model;
	bool leaks;		/* the test makes the kernel leak pages */
	struct tdx_gauges before;
	struct tdx_counts counts;
	struct tdx_vcpu_thread threads[TEST_MAX_VCPUS];
};

FIXTURE_SETUP(tdx)
{
	self->model = tdx_host_is_model();
	if (!self->model)
		return;

	TH_LOG("The TDX module is a software model");
	tdx_host_script_io();
	tdx_host_clear_faults();
	tdx_host_reset();
	self->before = tdx_gauges_read();
}

FIXTURE_TEARDOWN(tdx)
{
	struct tdx_gauges after;

	if (!self->model)
		return;

	tdx_host_script_io();

	if (!self->leaks) {
		tdx_host_wait_for_tds(self->before.tds);
		after = tdx_gauges_read();
		EXPECT_EQ(self->before.td_pages, after.td_pages);
		EXPECT_EQ(self->before.private_pages, after.private_pages);
		EXPECT_EQ(self->before.keyids_in_use, after.keyids_in_use);
		EXPECT_EQ(self->before.tds, after.tds);
	}
	EXPECT_EQ(0, tdx_host_read(TDX_HOST_OWNED_LOADS));
	EXPECT_EQ(0, tdx_host_read(TDX_HOST_OWNED_STORES));
	EXPECT_TRUE(tdx_host_check());
}

/* What a test needs. */
#define TERMINATE	BIT(0)	/* KVM_TDX_TERMINATE_VM */
#define MODEL		BIT(1)	/* an emulated TDX host */
#define WARNINGS	BIT(2)	/* permission to make the kernel warn */

static bool skip_unless(struct __test_metadata *_metadata,
			FIXTURE_DATA(tdx) * self, unsigned long needs)
{
	if (needs & TERMINATE && !can_terminate)
		SKIP(return true, "KVM_TDX_TERMINATE_VM is not supported");
	if (needs & MODEL && !self->model)
		SKIP(return true, "Needs an emulated TDX host");
	if (needs & WARNINGS && !expect_warnings)
		SKIP(return true, "Makes the kernel warn, see --help");

	return false;
}

/*
 * The test makes the kernel warn, once, in the function that @regex matches,
 * and leak pages.  Most warnings come only once a boot.
 */
static void expect_warning(FIXTURE_DATA(tdx) * self, const char *regex)
{
	ksft_print_msg("expect-warning: %s=1\n", regex);
	self->leaks = true;
}

#define TDX_TEST(name) TEST_F_TIMEOUT(tdx, name, TEST_TIMEOUT)

static struct tdx_td *create_td(void)
{
	return tdx_td_create(nr_vcpus, TEST_SIZE, TEST_INIT_SIZE);
}

static struct tdx_td *create_runnable_td(void)
{
	struct tdx_td *td = create_td();

	tdx_td_finalize(td);
	return td;
}

static void start_vcpus(FIXTURE_DATA(tdx) * self, struct tdx_td *td)
{
	int i;

	if (self->model)
		tdx_host_script_stay();
	for (i = 0; i < td->nr_vcpus; i++)
		tdx_vcpu_thread_start(&self->threads[i], td->vcpus[i]);
}

static void stop_vcpus(FIXTURE_DATA(tdx) * self, struct tdx_td *td)
{
	int i;

	for (i = 0; i < td->nr_vcpus; i++)
		TEST_ASSERT_EQ(tdx_vcpu_thread_stop(&self->threads[i]), EINTR);
	if (self->model)
		tdx_host_script_io();
}

/* The TD is alive if all its vCPUs can be in the guest. */
static void enter_vcpus(FIXTURE_DATA(tdx) * self, struct tdx_td *td)
{
	struct kvm_run *run;
	int i;

	start_vcpus(self, td);
	stop_vcpus(self, td);

	for (i = 0; self->model && i < td->nr_vcpus; i++) {
		run = td->vcpus[i]->run;
		vcpu_run(td->vcpus[i]);
		TEST_ASSERT_KVM_EXIT_REASON(td->vcpus[i], KVM_EXIT_IO);
		TEST_ASSERT_EQ(run->io.port, TDX_SCRIPT_IO_PORT);
	}
}

static int td_guest_memfd(struct tdx_td *td)
{
	return memslot2region(td->vm, TDX_MEMSLOT)->region.guest_memfd;
}

/* Punch holes into all memory but the page that vCPUs execute. */
static u64 punch_data(struct tdx_td *td)
{
	u64 code = td->gpa + td->init_size - PAGE_SIZE;

	if (td->init_size > PAGE_SIZE)
		vm_guest_mem_punch_hole(td->vm, td->gpa,
					td->init_size - PAGE_SIZE);
	if (td->size > td->init_size)
		vm_guest_mem_punch_hole(td->vm, code + PAGE_SIZE,
					td->size - td->init_size);
	return tdx_td_pages(td) - 1;
}

static void expect_pages(struct __test_metadata *_metadata, struct tdx_td *td,
			 u64 private_pages, u64 leaked_pages)
{
	EXPECT_EQ(private_pages, vm_get_stat(td->vm, tdx_private_pages));
	EXPECT_EQ(leaked_pages, vm_get_stat(td->vm, tdx_leaked_pages));
}

TDX_TEST(page_stats)
{
	struct tdx_td *td;
	u64 pages;

	if (skip_unless(_metadata, self, TERMINATE))
		return;

	td = create_td();
	pages = tdx_td_pages(td);
	expect_pages(_metadata, td, TEST_INIT_SIZE / PAGE_SIZE, 0);
	tdx_td_finalize(td);
	expect_pages(_metadata, td, pages, 0);

	vm_guest_mem_punch_hole(td->vm, td->gpa, 2 * PAGE_SIZE);
	expect_pages(_metadata, td, pages - 2, 0);
	tdx_pre_fault_memory(td->vcpus[0], td->gpa, PAGE_SIZE);
	expect_pages(_metadata, td, pages - 1, 0);

	/* That takes back the HKID only. */
	tdx_vm_terminate(td->vm);
	expect_pages(_metadata, td, pages - 1, 0);
	tdx_td_close_memory(td);
	expect_pages(_metadata, td, 0, 0);
	tdx_td_free(td);
}

TDX_TEST(life_cycle)
{
	struct tdx_td *td = create_td();
	struct tdx_gauges now;

	if (self->model) {
		now = tdx_gauges_read();
		EXPECT_EQ(TEST_INIT_SIZE / PAGE_SIZE,
			  now.private_pages - self->before.private_pages);
	}

	tdx_td_finalize(td);

	if (self->model) {
		now = tdx_gauges_read();
		EXPECT_EQ(tdx_td_pages(td),
			  now.private_pages - self->before.private_pages);
		EXPECT_EQ(1, now.keyids_in_use - self->before.keyids_in_use);
		EXPECT_EQ(1, now.tds - self->before.tds);
	}

	enter_vcpus(self, td);
	tdx_td_free(td);
}

TDX_TEST(close_not_finalized)
{
	tdx_td_free(create_td());
}

/* Mapped by KVM, but not added to the TD because TDH.MEM.PAGE.ADD failed. */
static struct tdx_td *create_premapped_td(struct __test_metadata *_metadata,
					  FIXTURE_DATA(tdx) * self)
{
	struct kvm_tdx_init_mem_region region = { .nr_pages = 1 };
	struct tdx_td *td = create_td();
	u64 hw_error;

	region.gpa = td->gpa + td->init_size;
	region.source_addr = (uintptr_t)addr_gpa2hva(td->vm, region.gpa);

	tdx_host_inject_status(TDH_MEM_PAGE_ADD, 1,
			       TDX_STATUS_PAGE_METADATA_INCORRECT);
	EXPECT_EQ(EIO, __tdx_vcpu_ioctl(td->vcpus[0], KVM_TDX_INIT_MEM_REGION,
					0, &region, &hw_error));
	EXPECT_EQ(1, region.nr_pages);
	return td;
}

TDX_TEST(close_premapped)
{
	if (skip_unless(_metadata, self, MODEL))
		return;

	tdx_td_free(create_premapped_td(_metadata, self));
}

/* A vCPU that can't be created after all must leave nothing behind. */
TDX_TEST(vcpu_creation_fails)
{
	struct tdx_td *td;
	int i;

	if (nr_vcpus == 1)
		SKIP(return, "Needs two CPUs");

	td = tdx_td_create(1, TEST_SIZE, TEST_INIT_SIZE);
	for (i = 0; i < 4; i++) {
		EXPECT_EQ(-1, __vm_ioctl(td->vm, KVM_CREATE_VCPU, (void *)0ul));
		EXPECT_EQ(EEXIST, errno);
	}

	tdx_td_finalize(td);
	enter_vcpus(self, td);
	if (can_terminate)
		tdx_vm_terminate(td->vm);
	tdx_td_free(td);
}

/* A page table that KVM didn't get to link is freed, the TD never had it. */
TDX_TEST(sept_add_busy)
{
	const struct tdx_fault fault = {
		.what = TDX_HOST_FAULT_STATUS,
		.leaf = TDH_MEM_SEPT_ADD,
		.count = 2,
		.value = TDX_STATUS_OPERAND_BUSY | TDX_STATUS_OPERAND_ID_TDR,
	};
	struct tdx_td *td;

	if (skip_unless(_metadata, self, MODEL))
		return;

	tdx_host_set_fault(0, &fault);
	td = create_runnable_td();
	EXPECT_EQ(2, tdx_host_read(TDX_HOST_SEAMCALL_ERRORS + TDH_MEM_SEPT_ADD));
	enter_vcpus(self, td);
	tdx_td_free(td);
}

/* Pages are flushed before the module gets them if it wants that, and only then. */
TDX_TEST(clflush_counts)
{
	u64 pages, lines, wanted;
	struct tdx_td *td;

	if (skip_unless(_metadata, self, MODEL))
		return;

	td = create_runnable_td();
	pages = tdx_gauges_read().td_pages - self->before.td_pages;
	lines = tdx_host_read(TDX_HOST_CLFLUSH);
	TH_LOG("%lu lines of %lu pages flushed", lines, pages);

	wanted = tdx_host_read(TDX_HOST_WANTS_CLFLUSH);
	EXPECT_LE(wanted * pages * LINES_PER_PAGE, lines);
	EXPECT_EQ(!wanted, !lines);
	tdx_td_free(td);
}

/* A guest_memfd keeps the VM alive, and with it the memory private. */
TDX_TEST(close_guest_memfd_last)
{
	struct tdx_td *td = create_runnable_td();
	u64 pages = tdx_td_pages(td);
	int fd = dup(td_guest_memfd(td));

	ASSERT_LE(0, fd);
	enter_vcpus(self, td);
	tdx_td_free(td);

	if (self->model) {
		EXPECT_EQ(pages, tdx_gauges_read().private_pages -
				 self->before.private_pages);
	}
	EXPECT_EQ(0, close(fd));
}

TDX_TEST(punch_while_running)
{
	struct tdx_td *td = create_runnable_td();
	u64 pages;

	start_vcpus(self, td);
	if (self->model)
		tdx_counts_start(&self->counts);

	pages = punch_data(td);

	if (self->model) {
		tdx_counts_stop(&self->counts);
		tdx_counts_print(stdout, &self->counts, pages);
		EXPECT_EQ(tdx_td_pages(td) - pages,
			  tdx_gauges_read().private_pages -
			  self->before.private_pages);
		EXPECT_EQ(pages, self->counts.leaf[TDH_MEM_PAGE_REMOVE]);
		EXPECT_EQ(0, self->counts.errors[TDH_MEM_PAGE_REMOVE]);
		EXPECT_LE(nr_vcpus > 1, self->counts.kick_ipis);
	}

	stop_vcpus(self, td);
	enter_vcpus(self, td);
	tdx_td_free(td);
}

TDX_TEST(terminate)
{
	struct tdx_td *td;

	if (skip_unless(_metadata, self, TERMINATE))
		return;

	td = create_runnable_td();
	enter_vcpus(self, td);
	tdx_vm_terminate(td->vm);

	if (self->model) {
		EXPECT_EQ(0, tdx_gauges_read().keyids_in_use -
			     self->before.keyids_in_use);
		EXPECT_EQ(tdx_td_pages(td), tdx_gauges_read().private_pages -
					    self->before.private_pages);
	}
	tdx_td_free(td);
}

TDX_TEST(terminate_without_entering)
{
	struct tdx_td *td;

	if (skip_unless(_metadata, self, TERMINATE))
		return;

	td = create_runnable_td();
	tdx_vm_terminate(td->vm);
	tdx_td_free(td);
}

TDX_TEST(terminate_before_init)
{
	struct kvm_vm *vm;

	if (skip_unless(_metadata, self, TERMINATE))
		return;

	vm = tdx_vm_create();
	EXPECT_EQ(EINVAL, __tdx_vm_terminate(vm, NULL));

	/* Nothing has changed. */
	tdx_vm_init(vm);
	tdx_vm_terminate(vm);
	kvm_vm_free(vm);
}

TDX_TEST(terminate_before_finalize)
{
	struct tdx_td *td;
	struct kvm_vm *vm;

	if (skip_unless(_metadata, self, TERMINATE))
		return;

	vm = tdx_vm_create();
	tdx_vm_init(vm);
	tdx_vcpu_add(vm, 0);
	tdx_vm_terminate(vm);
	kvm_vm_free(vm);

	td = create_td();
	tdx_vm_terminate(td->vm);
	tdx_td_free(td);
}

TDX_TEST(terminate_premapped)
{
	struct tdx_td *td;

	if (skip_unless(_metadata, self, TERMINATE | MODEL))
		return;

	td = create_premapped_td(_metadata, self);
	tdx_vm_terminate(td->vm);
	tdx_td_free(td);
}

TDX_TEST(terminate_invalid_arguments)
{
	struct kvm_tdx_cmd invalid[] = {
		{ .id = KVM_TDX_TERMINATE_VM, .flags = 1 },
		{ .id = KVM_TDX_TERMINATE_VM, .flags = 1u << 31 },
		{ .id = KVM_TDX_TERMINATE_VM, .data = 1 },
		{ .id = KVM_TDX_TERMINATE_VM, .data = 1ull << 63 },
		{ .id = KVM_TDX_TERMINATE_VM, .hw_error = 1 },
	};
	struct tdx_td *td;
	int i;

	if (skip_unless(_metadata, self, TERMINATE))
		return;

	td = create_runnable_td();
	for (i = 0; i < ARRAY_SIZE(invalid); i++) {
		EXPECT_EQ(EINVAL, __tdx_vm_cmd(td->vm, &invalid[i]))
			TH_LOG("Command %d", i);
	}

	/* It is for VMs, not for vCPUs. */
	EXPECT_EQ(EINVAL, __tdx_vcpu_ioctl(td->vcpus[0], KVM_TDX_TERMINATE_VM,
					   0, NULL, NULL));

	enter_vcpus(self, td);
	tdx_vm_terminate(td->vm);
	tdx_td_free(td);
}

/*
 * A VMM that was built for another kernel may take a number or a field that
 * upstream assigns, or has reserved, for something else.
 */
TDX_TEST(terminate_numbers)
{
	struct kvm_tdx_capabilities *caps;
	struct tdx_td *td;
	int i;

	if (skip_unless(_metadata, self, TERMINATE))
		return;

	td = create_runnable_td();

	caps = tdx_vm_get_capabilities(td->vm);
	for (i = 0; i < ARRAY_SIZE(caps->reserved); i++)
		EXPECT_EQ(0, caps->reserved[i]) TH_LOG("Reserved field %d", i);
	/* Where a VMM that has upstream's header finds it. */
	EXPECT_EQ(KVM_TDX_CAP_TERMINATE_VM, ((u64 *)&caps->cpuid)[-1]);
	free(caps);

	for (i = KVM_TDX_CMD_NR_MAX; i < 256; i++) {
		ASSERT_EQ(EINVAL, __tdx_vm_ioctl(td->vm, i, 0, NULL, NULL))
			TH_LOG("Sub-ioctl %d", i);
		ASSERT_EQ(EINVAL, __tdx_vcpu_ioctl(td->vcpus[0], i, 0, NULL, NULL))
			TH_LOG("Sub-ioctl %d of a vCPU", i);
	}

	enter_vcpus(self, td);
	tdx_vm_terminate(td->vm);
	tdx_td_free(td);
}

/* That hw_error can't be written doesn't hide that the TD is gone. */
TDX_TEST(terminate_read_only_argument)
{
	struct kvm_tdx_cmd *cmd;
	struct tdx_td *td;

	if (skip_unless(_metadata, self, TERMINATE))
		return;

	td = create_runnable_td();
	cmd = kvm_mmap(PAGE_SIZE, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS, -1);
	cmd->id = KVM_TDX_TERMINATE_VM;

	ASSERT_EQ(0, mprotect(cmd, PAGE_SIZE, PROT_NONE));
	EXPECT_EQ(-1, ioctl(td->vm->fd, KVM_MEMORY_ENCRYPT_OP, cmd));
	EXPECT_EQ(EFAULT, errno);
	enter_vcpus(self, td);

	ASSERT_EQ(0, mprotect(cmd, PAGE_SIZE, PROT_READ));
	EXPECT_EQ(0, ioctl(td->vm->fd, KVM_MEMORY_ENCRYPT_OP, cmd));
	EXPECT_EQ(-1, __vcpu_run(td->vcpus[0]));
	EXPECT_EQ(EIO, errno);
	kvm_munmap(cmd, PAGE_SIZE);
	tdx_td_free(td);
}

TDX_TEST(terminate_busy)
{
	struct tdx_td *td;
	u64 hw_error;
	int i;

	if (skip_unless(_metadata, self, TERMINATE))
		return;

	td = create_runnable_td();
	start_vcpus(self, td);
	if (self->model)
		tdx_counts_start(&self->counts);

	for (i = 0; i < 10; i++) {
		EXPECT_EQ(EBUSY, __tdx_vm_terminate(td->vm, &hw_error));
		EXPECT_EQ(0, hw_error);
	}

	if (self->model) {
		tdx_counts_stop(&self->counts);
		EXPECT_EQ(0, self->counts.leaf[TDH_VP_FLUSH]);
		EXPECT_EQ(0, self->counts.leaf[TDH_MNG_VPFLUSHDONE]);
		EXPECT_EQ(1, tdx_gauges_read().keyids_in_use -
			     self->before.keyids_in_use);
	}

	/* All vCPUs can still run, and one running vCPU is enough. */
	stop_vcpus(self, td);
	enter_vcpus(self, td);

	if (self->model)
		tdx_host_script_stay();
	tdx_vcpu_thread_start(&self->threads[0], td->vcpus[td->nr_vcpus - 1]);
	EXPECT_EQ(EBUSY, __tdx_vm_terminate(td->vm, NULL));
	EXPECT_EQ(EINTR, tdx_vcpu_thread_stop(&self->threads[0]));

	tdx_vm_terminate(td->vm);
	tdx_td_free(td);
}

TDX_TEST(terminate_twice)
{
	struct tdx_td *td;

	if (skip_unless(_metadata, self, TERMINATE))
		return;

	td = create_runnable_td();
	tdx_vm_terminate(td->vm);
	EXPECT_EQ(0, __tdx_vm_terminate(td->vm, NULL));
	EXPECT_EQ(0, __tdx_vm_terminate(td->vm, NULL));
	tdx_td_free(td);
}

/* A VM that is bugged doesn't accept any ioctl. */
static void check_bugged(struct tdx_td *td)
{
	struct kvm_userspace_memory_region2 slot = { .slot = TDX_MEMSLOT };
	struct kvm_memory_attributes attributes = {
		.address = td->gpa,
		.size = PAGE_SIZE,
	};
	struct kvm_irqfd irqfd = { .flags = KVM_IRQFD_FLAG_DEASSIGN };
	struct kvm_ioeventfd ioeventfd = { .flags = KVM_IOEVENTFD_FLAG_DEASSIGN };
	const struct {
		unsigned long cmd;
		void *arg;
	} ioctls[] = {
		{ KVM_SET_USER_MEMORY_REGION2, &slot },
		{ KVM_SET_MEMORY_ATTRIBUTES, &attributes },
		{ KVM_IRQFD, &irqfd },
		{ KVM_IOEVENTFD, &ioeventfd },
		{ KVM_CHECK_EXTENSION, (void *)(unsigned long)KVM_CAP_MAX_VCPUS },
	};
	int i, r;

	for (i = 0; i < ARRAY_SIZE(ioctls); i++) {
		r = ioctl(td->vm->fd, ioctls[i].cmd, ioctls[i].arg);
		TEST_ASSERT(r < 0 && errno == EIO, "Ioctl %d of a bugged VM: %s", i,
			    r < 0 ? strerror(errno) : "success");
	}
	TEST_ASSERT_EQ(__tdx_vm_terminate(td->vm, NULL), EIO);
}

/* KVM gives up a VM whose guest accesses private memory before accepting it. */
static struct tdx_td *create_dead_td(struct __test_metadata *_metadata,
				     FIXTURE_DATA(tdx) * self)
{
	struct tdx_td *td = create_runnable_td();

	enter_vcpus(self, td);

	tdx_host_script_unaccepted(td->gpa);
	EXPECT_EQ(-1, __vcpu_run(td->vcpus[0]));
	EXPECT_EQ(EIO, errno);
	tdx_host_script_io();

	EXPECT_EQ(-1, __vcpu_run(td->vcpus[0]));
	EXPECT_EQ(EIO, errno);
	EXPECT_EQ(1, tdx_gauges_read().keyids_in_use - self->before.keyids_in_use);
	return td;
}

static int delete_slot(struct tdx_td *td)
{
	struct kvm_userspace_memory_region2 slot = { .slot = TDX_MEMSLOT };

	return __vm_ioctl(td->vm, KVM_SET_USER_MEMORY_REGION2, &slot) ? errno : 0;
}

/* The guest can't keep the VMM from taking memory back the fast way. */
TDX_TEST(terminate_dead)
{
	struct tdx_td *td;
	u64 pages;

	if (skip_unless(_metadata, self, TERMINATE | MODEL))
		return;

	td = create_dead_td(_metadata, self);
	pages = tdx_td_pages(td);

	tdx_counts_start(&self->counts);
	EXPECT_EQ(0, __tdx_vm_terminate(td->vm, NULL));
	EXPECT_EQ(0, tdx_gauges_read().keyids_in_use - self->before.keyids_in_use);
	EXPECT_EQ(0, __tdx_vm_terminate(td->vm, NULL));
	EXPECT_EQ(0, delete_slot(td));
	tdx_counts_stop(&self->counts);

	EXPECT_EQ(0, self->counts.leaf[TDH_MEM_RANGE_BLOCK]);
	EXPECT_EQ(pages, self->counts.leaf[TDH_PHYMEM_PAGE_RECLAIM]);
	EXPECT_EQ(0, tdx_gauges_read().private_pages - self->before.private_pages);
	tdx_td_free(td);
}

TDX_TEST(terminate_dead_resumes)
{
	struct tdx_td *td;
	u64 hw_error;

	if (skip_unless(_metadata, self, TERMINATE | MODEL))
		return;

	td = create_dead_td(_metadata, self);
	tdx_host_inject_status(TDH_MNG_KEY_FREEID, 1,
			       TDX_STATUS_OPERAND_BUSY | TDX_STATUS_OPERAND_ID_TDR);
	EXPECT_EQ(EIO, __tdx_vm_terminate(td->vm, &hw_error));
	EXPECT_EQ(TDX_STATUS_OPERAND_BUSY | TDX_STATUS_OPERAND_ID_TDR, hw_error);
	EXPECT_EQ(1, tdx_gauges_read().keyids_in_use - self->before.keyids_in_use);

	EXPECT_EQ(0, __tdx_vm_terminate(td->vm, NULL));
	EXPECT_EQ(0, tdx_gauges_read().keyids_in_use - self->before.keyids_in_use);
	tdx_td_free(td);
}

/* Without having been terminated, its memory comes back as if it had been. */
static void delete_slot_of_dead(struct __test_metadata *_metadata,
				FIXTURE_DATA(tdx) * self, struct tdx_td *td)
{
	tdx_counts_start(&self->counts);
	EXPECT_EQ(0, delete_slot(td));
	tdx_counts_stop(&self->counts);

	EXPECT_EQ(tdx_td_pages(td), self->counts.leaf[TDH_PHYMEM_PAGE_RECLAIM]);
	EXPECT_EQ(0, self->counts.leaf[TDH_MEM_RANGE_BLOCK]);
	EXPECT_EQ(0, tdx_gauges_read().private_pages - self->before.private_pages);
	tdx_td_free(td);
}

TDX_TEST(delete_slot_of_dead)
{
	if (skip_unless(_metadata, self, MODEL))
		return;

	delete_slot_of_dead(_metadata, self, create_dead_td(_metadata, self));
}

/* A vCPU that is halted doesn't keep its task in KVM_RUN. */
TDX_TEST(delete_slot_of_dead_and_halted)
{
	struct timespec start;
	struct tdx_td *td;

	if (skip_unless(_metadata, self, MODEL))
		return;
	if (nr_vcpus == 1)
		SKIP(return, "Needs two CPUs");

	td = create_runnable_td();
	tdx_host_script_halt();
	tdx_vcpu_thread_start(&self->threads[0], td->vcpus[0]);
	clock_gettime(CLOCK_MONOTONIC, &start);
	while (!vcpu_get_stat(td->vcpus[0], blocking)) {
		ASSERT_GT(HALT_TIMEOUT, timespec_elapsed(start).tv_sec);
		usleep(1000);
	}

	tdx_host_script_unaccepted(td->gpa);
	EXPECT_EQ(-1, __vcpu_run(td->vcpus[1]));
	EXPECT_EQ(EIO, errno);
	tdx_host_script_io();

	clock_gettime(CLOCK_MONOTONIC, &start);
	while (!READ_ONCE(self->threads[0].done) &&
	       timespec_elapsed(start).tv_sec < HALT_TIMEOUT)
		usleep(1000);
	EXPECT_EQ(EIO, tdx_vcpu_thread_stop(&self->threads[0]));

	delete_slot_of_dead(_metadata, self, td);
}

/* The TDX module refuses to remove pages of a TD that suffered a fatal error. */
TDX_TEST(delete_slot_of_fatal)
{
	static const u64 statuses[] = {
		TDX_STATUS_NON_RECOVERABLE_TD,
		TDX_STATUS_NON_RECOVERABLE_TD_NON_ACCESSIBLE,
		TDX_STATUS_NON_RECOVERABLE_TD_WRONG_APIC_MODE,
	};
	struct kvm_vcpu *vcpu;
	struct tdx_td *td;
	int i;

	if (skip_unless(_metadata, self, MODEL))
		return;

	for (i = 0; i < ARRAY_SIZE(statuses); i++) {
		td = create_runnable_td();
		vcpu = td->vcpus[0];
		tdx_host_script_status(statuses[i]);
		vcpu_run(vcpu);
		TEST_ASSERT_KVM_EXIT_REASON(vcpu, KVM_EXIT_INTERNAL_ERROR);
		EXPECT_EQ(statuses[i], vcpu->run->internal.data[0]);
		tdx_host_script_io();

		EXPECT_EQ(-1, __vcpu_run(td->vcpus[td->nr_vcpus - 1]));
		EXPECT_EQ(EIO, errno);
		EXPECT_EQ(1, tdx_gauges_read().keyids_in_use -
			     self->before.keyids_in_use);
		delete_slot_of_dead(_metadata, self, td);
	}
}

TDX_TEST(punch_after_terminate)
{
	struct tdx_td *td;
	u64 pages;

	if (skip_unless(_metadata, self, TERMINATE))
		return;

	td = create_runnable_td();
	enter_vcpus(self, td);
	tdx_vm_terminate(td->vm);

	if (self->model)
		tdx_counts_start(&self->counts);
	pages = punch_data(td);
	if (self->model) {
		tdx_counts_stop(&self->counts);
		EXPECT_EQ(tdx_td_pages(td) - pages,
			  tdx_gauges_read().private_pages -
			  self->before.private_pages);
		EXPECT_EQ(pages, self->counts.leaf[TDH_PHYMEM_PAGE_RECLAIM]);
		EXPECT_EQ(pages, self->counts.seamcalls);
		EXPECT_EQ(0, self->counts.kick_ipis);
	}
	tdx_td_free(td);
}

TDX_TEST(terminate_close_guest_memfd_last)
{
	struct tdx_td *td;
	u64 pages;
	int fd;

	if (skip_unless(_metadata, self, TERMINATE))
		return;

	td = create_runnable_td();
	pages = tdx_td_pages(td);
	fd = dup(td_guest_memfd(td));
	ASSERT_LE(0, fd);

	tdx_vm_terminate(td->vm);
	tdx_td_free(td);

	if (self->model) {
		EXPECT_EQ(pages, tdx_gauges_read().private_pages -
				 self->before.private_pages);
	}
	EXPECT_EQ(0, close(fd));
}

/* A TD that was terminated has no KeyID, whatever memory it still holds. */
TDX_TEST(keyid_reuse)
{
	struct tdx_td *old, *new;
	struct kvm_vm **vms;
	u64 keyids;
	int i, r, nr_vms = 0;

	if (skip_unless(_metadata, self, TERMINATE))
		return;

	old = create_runnable_td();

	if (self->model) {
		/* Take all KeyIDs, so that the new TD needs that of the old. */
		keyids = tdx_host_read(TDX_HOST_KEYIDS);
		vms = calloc(keyids, sizeof(*vms));
		ASSERT_NE(NULL, vms);
		kvm_set_files_rlimit(2 * keyids);
		for (i = 0; i < keyids; i++) {
			vms[i] = tdx_vm_create();
			nr_vms = i + 1;
			r = __tdx_vm_init(vms[i], NULL);
			if (r)
				break;
		}
		EXPECT_EQ(ENOSPC, r);
		EXPECT_EQ(keyids, tdx_gauges_read().keyids_in_use);
	}

	tdx_vm_terminate(old->vm);
	new = create_runnable_td();
	enter_vcpus(self, new);

	for (i = 0; i < nr_vms; i++)
		kvm_vm_free(vms[i]);
	tdx_td_free(old);

	/* Taking the old TD's memory back doesn't touch the new TD. */
	enter_vcpus(self, new);
	tdx_vm_terminate(new->vm);
	tdx_td_free(new);
}

static void check_counts(struct __test_metadata *_metadata,
			 const struct tdx_counts *counts, u64 td_pages)
{
	EXPECT_EQ(1, counts->leaf[TDH_MNG_VPFLUSHDONE]);

	/*
	 * The module refuses to free the KeyID if a package has dirty lines of
	 * it, thus one successful call is the proof that the flush came first.
	 */
	EXPECT_LE(nr_cpu_packages(), counts->leaf[TDH_PHYMEM_CACHE_WB]);
	EXPECT_EQ(1, counts->leaf[TDH_MNG_KEY_FREEID]);
	EXPECT_EQ(0, counts->errors[TDH_MNG_KEY_FREEID]);

	EXPECT_EQ(0, counts->owned_loads);
	EXPECT_EQ(0, counts->owned_stores);

	/* Each page that the TD had is cleared exactly once, or none is. */
	if (!cpu_has_bug("tdx_pw_mce"))
		td_pages = 0;
	EXPECT_EQ(td_pages * LINES_PER_PAGE, counts->movdir64b_lines);
}

TDX_TEST(close_counts)
{
	struct tdx_td *td;
	u64 td_pages;

	if (skip_unless(_metadata, self, MODEL))
		return;

	td = create_runnable_td();
	enter_vcpus(self, td);

	td_pages = tdx_gauges_read().td_pages - self->before.td_pages;
	tdx_counts_start(&self->counts);
	tdx_td_free(td);
	EXPECT_TRUE(tdx_host_wait_for_tds(self->before.tds));
	tdx_counts_stop(&self->counts);

	tdx_counts_print(stdout, &self->counts, TEST_SIZE / PAGE_SIZE);
	check_counts(_metadata, &self->counts, td_pages);
}

TDX_TEST(terminate_counts)
{
	const u64 pages = TEST_SIZE / PAGE_SIZE;
	struct tdx_td *td;
	u64 td_pages;

	if (skip_unless(_metadata, self, TERMINATE | MODEL))
		return;

	td = create_runnable_td();
	enter_vcpus(self, td);

	td_pages = tdx_gauges_read().td_pages - self->before.td_pages;
	tdx_counts_start(&self->counts);
	tdx_vm_terminate(td->vm);
	tdx_td_free(td);
	EXPECT_TRUE(tdx_host_wait_for_tds(self->before.tds));
	tdx_counts_stop(&self->counts);

	tdx_counts_print(stdout, &self->counts, pages);
	check_counts(_metadata, &self->counts, td_pages);

	EXPECT_EQ(td_pages, self->counts.leaf[TDH_PHYMEM_PAGE_RECLAIM]);
	EXPECT_EQ(0, self->counts.leaf[TDH_MEM_RANGE_BLOCK]);
	EXPECT_EQ(0, self->counts.leaf[TDH_MEM_TRACK]);
	EXPECT_EQ(0, self->counts.leaf[TDH_MEM_PAGE_REMOVE]);

	/* 1.1 SEAMCALLs a page, and a few vCPU requests for the whole TD. */
	EXPECT_LE(self->counts.seamcalls * 10, pages * 11);
	EXPECT_LE(self->counts.vcpu_requests * 100, pages);
}

/* Kill a VMM after it has done @run, and count what that makes of its TD. */
static void kill_vmm(struct __test_metadata *_metadata, FIXTURE_DATA(tdx) * self,
		     void (*run)(FIXTURE_DATA(tdx) * self), u64 pages_left)
{
	int ready[2], status, i;
	char byte = 0;
	pid_t vmm;

	ASSERT_EQ(0, pipe(ready));
	vmm = fork();
	ASSERT_LE(0, vmm);
	if (!vmm) {
		run(self);
		TEST_ASSERT_EQ(write(ready[1], &byte, 1), 1);
		pause();
		_exit(KSFT_FAIL);
	}
	close(ready[1]);
	ASSERT_EQ(1, read(ready[0], &byte, 1));
	close(ready[0]);

	tdx_counts_start(&self->counts);
	EXPECT_EQ(0, kill(vmm, SIGKILL));
	EXPECT_EQ(vmm, waitpid(vmm, &status, 0));
	EXPECT_TRUE(WIFSIGNALED(status));
	/* The last reference to the VM may be dropped a bit later. */
	for (i = 0; i < 1000; i++) {
		if (tdx_gauges_read().td_pages - self->before.td_pages ==
		    pages_left)
			break;
		usleep(1000);
	}
	EXPECT_EQ(pages_left,
		  tdx_gauges_read().td_pages - self->before.td_pages);
	tdx_counts_stop(&self->counts);
}

static void run_vcpus(FIXTURE_DATA(tdx) * self)
{
	start_vcpus(self, create_runnable_td());
}

/* Threads of this process by which KVM recovers huge pages. */
static int nr_recovery_threads(void)
{
	DIR *tasks = opendir("/proc/self/task");
	char path[64], comm[TASK_COMM_LEN];
	struct dirent *task;
	int nr = 0;
	FILE *file;

	TEST_ASSERT(tasks, "Can't read /proc/self/task");
	while ((task = readdir(tasks))) {
		snprintf(path, sizeof(path), "/proc/self/task/%.16s/comm", task->d_name);
		file = fopen(path, "r");
		if (!file)
			continue;
		if (fgets(comm, sizeof(comm), file) && !strncmp(comm, "kvm-nx-lpage", 12))
			nr++;
		fclose(file);
	}
	closedir(tasks);
	return nr;
}

static void guest_done(void)
{
	GUEST_DONE();
}

/*
 * It has the VMM's address space, but not its files. If it were the last one of
 * a killed VMM to exit, the files would be closed while the TD has its HKID.
 */
TDX_TEST(no_recovery_thread)
{
	struct kvm_vcpu *vcpu;
	struct tdx_td *td;
	struct kvm_vm *vm;
	int nr;

	vm = vm_create_with_one_vcpu(&vcpu, guest_done);
	vcpu_run(vcpu);
	nr = nr_recovery_threads();
	if (!nr)
		SKIP(goto free, "No VM has one, kvm.nx_huge_pages=never");

	td = create_runnable_td();
	enter_vcpus(self, td);
	EXPECT_EQ(nr, nr_recovery_threads());
	tdx_td_free(td);
free:
	kvm_vm_free(vm);
}

/* A VMM that dies with its vCPUs in the guest doesn't have to terminate the TD. */
TDX_TEST(killed_counts)
{
	const u64 pages = TEST_SIZE / PAGE_SIZE;

	if (skip_unless(_metadata, self, TERMINATE | MODEL))
		return;

	kill_vmm(_metadata, self, run_vcpus, 0);

	tdx_counts_print(stdout, &self->counts, pages);
	EXPECT_EQ(1, self->counts.leaf[TDH_MNG_KEY_FREEID]);
	EXPECT_LE(pages, self->counts.leaf[TDH_PHYMEM_PAGE_RECLAIM]);
	EXPECT_EQ(0, self->counts.leaf[TDH_MEM_RANGE_BLOCK]);
	EXPECT_EQ(0, self->counts.leaf[TDH_MEM_PAGE_REMOVE]);
}

/*
 * Write much free memory, so that a page that was freed although a TD owns it shows
 * up in the count of stores to owned pages.
 */
static void write_free_memory(void)
{
	size_t size = SZ_256M, half = sysconf(_SC_AVPHYS_PAGES) / 2 * PAGE_SIZE;
	size_t offset;
	char *mem;

	size = min(size, half);
	mem = kvm_mmap(size, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1);
	for (offset = 0; offset < size; offset += PAGE_SIZE)
		WRITE_ONCE(mem[offset], 1);
	kvm_munmap(mem, size);
}

/* Make releasing the KeyID fail at the given SEAMCALL. */
static struct tdx_td *fail_terminate(struct __test_metadata *_metadata,
				     FIXTURE_DATA(tdx) * self,
				     enum tdh_leaf leaf, u64 status)
{
	struct tdx_td *td = create_runnable_td();
	u64 hw_error = 0;

	enter_vcpus(self, td);

	tdx_host_inject_status(leaf, 1, status);
	EXPECT_EQ(EIO, __tdx_vm_terminate(td->vm, &hw_error));
	EXPECT_EQ(status, hw_error);
	EXPECT_EQ(1, tdx_gauges_read().keyids_in_use -
		     self->before.keyids_in_use);

	/* The TD is dead nevertheless. */
	EXPECT_EQ(-1, __vcpu_run(td->vcpus[0]));
	EXPECT_EQ(EIO, errno);
	return td;
}

/* In the order in which releasing the KeyID gets there. */
static const struct {
	enum tdh_leaf leaf;
	u64 status;
} release_faults[] = {
	{ TDH_VP_FLUSH, TDX_STATUS_OPERAND_BUSY | TDX_STATUS_OPERAND_ID_TDR },
	{ TDH_MNG_VPFLUSHDONE, TDX_STATUS_OPERAND_BUSY | TDX_STATUS_OPERAND_ID_TDR },
	{ TDH_MNG_VPFLUSHDONE, TDX_STATUS_FLUSHVP_NOT_DONE },
	{ TDH_PHYMEM_CACHE_WB, TDX_STATUS_OPERAND_BUSY },
	{ TDH_MNG_KEY_FREEID, TDX_STATUS_OPERAND_BUSY | TDX_STATUS_OPERAND_ID_TDR },
};

/* Whatever has failed, asking again goes on from there, and nothing is lost. */
TDX_TEST(fault_terminate_resumes)
{
	struct tdx_td *td;
	int i;

	if (skip_unless(_metadata, self, TERMINATE | MODEL))
		return;

	for (i = 0; i < ARRAY_SIZE(release_faults); i++) {
		td = fail_terminate(_metadata, self, release_faults[i].leaf,
				    release_faults[i].status);
		EXPECT_EQ(0, __tdx_vm_terminate(td->vm, NULL));
		EXPECT_EQ(self->before.keyids_in_use,
			  tdx_gauges_read().keyids_in_use);
		EXPECT_EQ(0, __tdx_vm_terminate(td->vm, NULL));
		tdx_td_free(td);
	}
}

/* The same if it fails again and again. */
TDX_TEST(fault_terminate_resumes_late)
{
	u64 status = TDX_STATUS_OPERAND_BUSY | TDX_STATUS_OPERAND_ID_TDR;
	struct tdx_td *td;
	u64 hw_error;
	int i;

	if (skip_unless(_metadata, self, TERMINATE | MODEL))
		return;

	td = fail_terminate(_metadata, self, TDH_VP_FLUSH, status);
	for (i = 0; i < ARRAY_SIZE(release_faults); i++) {
		tdx_host_inject_status(release_faults[i].leaf, 1,
				       release_faults[i].status);
		EXPECT_EQ(EIO, __tdx_vm_terminate(td->vm, &hw_error));
		EXPECT_EQ(release_faults[i].status, hw_error);
	}
	EXPECT_EQ(0, __tdx_vm_terminate(td->vm, NULL));
	tdx_td_free(td);
}

/* A TD that couldn't be initialized leaves nothing to the next one of the VM. */
TDX_TEST(fault_init_vm)
{
	struct kvm_vm *vm;
	u64 hw_error;

	if (skip_unless(_metadata, self, TERMINATE | MODEL))
		return;

	vm = tdx_vm_create();
	tdx_host_inject_status(TDH_MNG_INIT, 1, TDX_STATUS_OPERAND_INVALID);
	EXPECT_EQ(EINVAL, __tdx_vm_init(vm, &hw_error));
	EXPECT_EQ(TDX_STATUS_OPERAND_INVALID, hw_error);
	EXPECT_EQ(self->before.keyids_in_use, tdx_gauges_read().keyids_in_use);
	EXPECT_EQ(self->before.td_pages, tdx_gauges_read().td_pages);

	tdx_vm_init(vm);
	tdx_vcpu_add(vm, 0);
	EXPECT_EQ(0, __tdx_vm_terminate(vm, NULL));
	EXPECT_EQ(self->before.keyids_in_use, tdx_gauges_read().keyids_in_use);
	kvm_vm_free(vm);
}

/* A lack of entropy for the key of a TD passes, and is nobody's fault. */
TDX_TEST(key_config)
{
	struct tdx_fault fault = {
		.what = TDX_HOST_FAULT_STATUS,
		.leaf = TDH_MNG_KEY_CONFIG,
		.value = TDX_STATUS_KEY_GENERATION_FAILED,
	};
	struct kvm_vm *vm;

	if (skip_unless(_metadata, self, TERMINATE | MODEL))
		return;

	/* KVM tries eleven times. */
	vm = tdx_vm_create();
	fault.count = 11;
	tdx_host_set_fault(0, &fault);
	EXPECT_EQ(EAGAIN, __tdx_vm_init(vm, NULL));
	EXPECT_EQ(11, tdx_host_fault_injected(0));
	EXPECT_EQ(self->before.keyids_in_use, tdx_gauges_read().keyids_in_use);
	EXPECT_EQ(self->before.td_pages, tdx_gauges_read().td_pages);

	fault.count = 10;
	tdx_host_set_fault(0, &fault);
	tdx_vm_init(vm);
	EXPECT_EQ(10, tdx_host_fault_injected(0));
	tdx_vcpu_add(vm, 0);
	EXPECT_EQ(0, __tdx_vm_terminate(vm, NULL));
	kvm_vm_free(vm);
}

/* Whatever the TDX module doesn't accept is the fault of who gave it. */
TDX_TEST(init_vm_invalid_topology)
{
	struct kvm_vm *vm = tdx_vm_create();
	struct kvm_tdx_init_vm *init_vm = tdx_vm_init_params(vm);
	struct kvm_cpuid_entry2 *entry = init_vm->cpuid.entries;
	u64 hw_error;
	int i;

	for (i = 0; i < init_vm->cpuid.nent; i++, entry++) {
		if (entry->function != 0x1f)
			continue;
		/* A level of cores, but none below. */
		entry->eax = entry->index == 1;
		entry->ebx = entry->index == 1;
		entry->ecx = entry->index == 1 ? 0x201 : entry->index;
		entry->edx = 0;
	}
	EXPECT_EQ(EINVAL, __tdx_vm_ioctl(vm, KVM_TDX_INIT_VM, 0, init_vm, &hw_error));
	EXPECT_NE(0, hw_error);
	if (self->model)
		EXPECT_EQ(TDX_STATUS_CPUID_LEAF_1F_FORMAT_UNRECOGNIZED, hw_error);
	free(init_vm);

	tdx_vm_init(vm);
	kvm_vm_free(vm);
}

/* Interrupts that CPUs have taken for IPIs, in user-visible statistics. */
static u64 nr_ipis_taken(void)
{
	char line[256], row[8];
	u64 total = 0, n;
	char *p, *end;
	FILE *f;

	f = fopen("/proc/interrupts", "r");
	TEST_ASSERT(f, "Can't open /proc/interrupts");
	while (fgets(line, sizeof(line), f)) {
		if (sscanf(line, " %7[A-Z]:", row) != 1 ||
		    (strcmp(row, "RES") && strcmp(row, "CAL")))
			continue;
		for (p = strchr(line, ':') + 1;; p = end) {
			n = strtoull(p, &end, 10);
			if (end == p)
				break;
			total += n;
		}
	}
	fclose(f);
	return total;
}

/*
 * A vCPU that waits for a zap to be retried doesn't enter the TD.  The interrupt
 * that made it leave the TD before must not be handled again.
 */
TDX_TEST(fault_zap_no_old_exit)
{
	const struct tdx_fault busy = {
		.what = TDX_HOST_FAULT_STATUS,
		.leaf = TDH_MEM_RANGE_BLOCK,
		.count = 1000,
		.value = TDX_STATUS_OPERAND_BUSY,
	};
	struct tdx_td *td;
	u64 taken;

	if (skip_unless(_metadata, self, MODEL))
		return;

	td = create_runnable_td();
	start_vcpus(self, td);
	tdx_host_set_fault(0, &busy);

	taken = nr_ipis_taken();
	tdx_counts_start(&self->counts);
	vm_guest_mem_punch_hole(td->vm, td->gpa, PAGE_SIZE);
	tdx_counts_stop(&self->counts);
	taken = nr_ipis_taken() - taken;

	printf("# %lu IPIs sent, %lu interrupts taken\n", self->counts.ipis, taken);
	EXPECT_EQ(1000, tdx_host_fault_injected(0));
	EXPECT_LE(1, self->counts.kick_ipis);
	/* Some may have been on their way before. */
	EXPECT_LE(taken, self->counts.ipis + 5);

	tdx_host_clear_faults();
	stop_vcpus(self, td);
	tdx_td_free(td);
}

/* KVM tries again when it destroys the VM, so that nothing is lost. */
TDX_TEST(fault_before_blocked)
{
	int i;

	if (skip_unless(_metadata, self, TERMINATE | MODEL))
		return;

	for (i = 0; i < ARRAY_SIZE(release_faults); i++) {
		if (release_faults[i].leaf == TDH_PHYMEM_CACHE_WB)
			break;
		tdx_td_free(fail_terminate(_metadata, self,
					   release_faults[i].leaf,
					   release_faults[i].status));
	}
}

/*
 * From TDH.MNG.VPFLUSHDONE to TDH.MNG.KEY.FREEID there is no way to take a page
 * back.  Whoever frees guest memory in this state has to get the release over.
 */
static const enum tdh_leaf stuck_leaves[] = {
	TDH_PHYMEM_CACHE_WB,
	TDH_MNG_KEY_FREEID,
};

static void fail_times(enum tdh_leaf leaf, u32 count)
{
	tdx_host_set_fault(0, &(struct tdx_fault) {
		.what = TDX_HOST_FAULT_STATUS,
		.leaf = leaf,
		.count = count,
		.value = TDX_STATUS_OPERAND_BUSY,
	});
}

enum freeing {
	FREE_CLOSE, FREE_PUNCH, FREE_SLOT, FREE_VM, NR_FREEINGS,
};

static const char * const freeing_names[NR_FREEINGS] = {
	"close", "punch", "delete the slot", "close all",
};

static void free_memory(struct tdx_td *td, enum freeing how)
{
	switch (how) {
	case FREE_CLOSE:
		tdx_td_close_memory(td);
		break;
	case FREE_PUNCH:
		vm_guest_mem_punch_hole(td->vm, td->gpa, td->size);
		break;
	case FREE_SLOT:
		vm_mem_region_delete(td->vm, TDX_MEMSLOT);
		break;
	default:
		break;
	}
}

/* A failure that has passed costs nothing, though nobody terminates again. */
static void check_stuck(struct __test_metadata *_metadata, FIXTURE_DATA(tdx) * self,
			enum tdh_leaf leaf, u32 failures, enum freeing how)
{
	const struct tdx_gauges before = tdx_gauges_read();
	struct tdx_td *td = create_runnable_td();
	struct tdx_gauges after;
	int r;

	enter_vcpus(self, td);
	fail_times(leaf, failures);
	r = __tdx_vm_terminate(td->vm, NULL);
	EXPECT_TRUE(!r || r == EIO);

	free_memory(td, how);
	after = tdx_gauges_read();
	if (how != FREE_VM) {
		EXPECT_EQ(before.private_pages, after.private_pages);
		EXPECT_EQ(before.keyids_in_use, after.keyids_in_use);
	}
	tdx_td_free(td);
	after = tdx_gauges_read();
	EXPECT_EQ(before.keyids_in_use, after.keyids_in_use);
	EXPECT_EQ(before.td_pages, after.td_pages)
		TH_LOG("%s fails %u times, then %s: %lu pages lost", tdh_leaf_name(leaf),
		       failures, freeing_names[how], after.td_pages - before.td_pages);
	tdx_host_clear_faults();
}

TDX_TEST(stuck_once)
{
	int i, how;

	if (skip_unless(_metadata, self, TERMINATE | MODEL))
		return;

	for (i = 0; i < ARRAY_SIZE(stuck_leaves); i++) {
		for (how = 0; how < NR_FREEINGS; how++)
			check_stuck(_metadata, self, stuck_leaves[i], 1, how);
	}
}

TDX_TEST(stuck_repeatedly)
{
	int i, how;

	if (skip_unless(_metadata, self, TERMINATE | MODEL))
		return;

	for (i = 0; i < ARRAY_SIZE(stuck_leaves); i++) {
		for (how = 0; how < NR_FREEINGS; how++)
			check_stuck(_metadata, self, stuck_leaves[i], STUCK_FAILURES, how);
	}
}

/* The same for a VMM that is killed, with nobody to try again. */
static void kill_stuck(struct __test_metadata *_metadata, FIXTURE_DATA(tdx) * self,
		       enum tdh_leaf leaf)
{
	kill_vmm(_metadata, self, run_vcpus, 0);
	EXPECT_EQ(0, tdx_gauges_read().keyids_in_use - self->before.keyids_in_use);
	EXPECT_EQ(0, self->counts.leaf[TDH_MEM_RANGE_BLOCK]);
	TH_LOG("%s: %lu of %lu calls failed, %lu pages lost", tdh_leaf_name(leaf),
	       self->counts.errors[leaf], self->counts.leaf[leaf],
	       tdx_gauges_read().td_pages - self->before.td_pages);
	tdx_host_clear_faults();
}

TDX_TEST(stuck_killed)
{
	int i;

	if (skip_unless(_metadata, self, TERMINATE | MODEL))
		return;

	for (i = 0; i < ARRAY_SIZE(stuck_leaves); i++) {
		fail_times(stuck_leaves[i], STUCK_FAILURES);
		kill_stuck(_metadata, self, stuck_leaves[i]);
	}
}

/* What the leaf needs is locked for some time, however often it is tried. */
TDX_TEST(stuck_killed_for_a_while)
{
	int i;

	if (skip_unless(_metadata, self, TERMINATE | MODEL))
		return;

	for (i = 0; i < ARRAY_SIZE(stuck_leaves); i++) {
		tdx_host_set_fault(0, &(struct tdx_fault) {
			.what = TDX_HOST_FAULT_LOCKED,
			.leaf = stuck_leaves[i],
			.value = tdx_host_read(TDX_HOST_TICKS_PER_SECOND) / 1000 *
				 STUCK_MS,
		});
		kill_stuck(_metadata, self, stuck_leaves[i]);
	}
}

/* A failure that doesn't pass costs all of the TD's pages, and the KeyID. */
static void check_blocked(struct __test_metadata *_metadata,
			  FIXTURE_DATA(tdx) * self, enum tdh_leaf leaf)
{
	struct tdx_td *td = create_runnable_td();
	u64 td_pages = tdx_gauges_read().td_pages;
	u64 pages = tdx_td_pages(td), hw_error;
	struct tdx_gauges after;

	enter_vcpus(self, td);
	fail_times(leaf, TDX_HOST_FOREVER);
	EXPECT_EQ(EIO, __tdx_vm_terminate(td->vm, &hw_error));
	EXPECT_EQ(TDX_STATUS_OPERAND_BUSY, hw_error);
	/* A page that is freed now is lost at once. */
	vm_guest_mem_punch_hole(td->vm, td->gpa, PAGE_SIZE);
	expect_pages(_metadata, td, pages - 1, 1);
	tdx_td_free(td);
	tdx_host_clear_faults();

	after = tdx_gauges_read();
	EXPECT_EQ(pages, after.private_pages - self->before.private_pages);
	EXPECT_EQ(td_pages, after.td_pages);
	EXPECT_EQ(1, after.keyids_in_use - self->before.keyids_in_use);

	/* FIXTURE_TEARDOWN() looks whether the host stored to owned pages. */
	write_free_memory();
}

/* Failing SEAMCALLs are errors, and what they cost is told once. */
static void expect_blocked(FIXTURE_DATA(tdx) * self)
{
	expect_warning(self, "(tdx_warn_hkid_leaked|tdx_mmu_release_hkid)");
}

TDX_TEST(fault_cache_wb)
{
	if (skip_unless(_metadata, self, TERMINATE | MODEL | WARNINGS))
		return;

	expect_blocked(self);
	check_blocked(_metadata, self, TDH_PHYMEM_CACHE_WB);
}

TDX_TEST(fault_key_freeid)
{
	if (skip_unless(_metadata, self, TERMINATE | MODEL | WARNINGS))
		return;

	expect_blocked(self);
	check_blocked(_metadata, self, TDH_MNG_KEY_FREEID);
}

/*
 * Make the module refuse to give one page back.  KVM must not free that page,
 * and can't get the TDR as long as the TD has another page.
 */
static void fail_reclaim(FIXTURE_DATA(tdx) * self, u64 nth)
{
	tdx_host_inject_status(TDH_PHYMEM_PAGE_RECLAIM, nth,
			       TDX_STATUS_PAGE_METADATA_INCORRECT |
			       TDX_STATUS_OPERAND_ID_RCX);
	tdx_counts_start(&self->counts);
}

static void check_failed_reclaim(struct __test_metadata *_metadata,
				 FIXTURE_DATA(tdx) * self, struct tdx_td *td)
{
	struct tdx_gauges after;

	tdx_td_free(td);
	tdx_counts_stop(&self->counts);

	after = tdx_gauges_read();
	EXPECT_EQ(2, after.td_pages - self->before.td_pages);
	EXPECT_EQ(0, after.keyids_in_use - self->before.keyids_in_use);
	EXPECT_EQ(2, self->counts.errors[TDH_PHYMEM_PAGE_RECLAIM]);

	/* FIXTURE_TEARDOWN() looks whether the host stored to owned pages. */
	write_free_memory();
}

TDX_TEST(fault_sept_page_reclaim)
{
	struct tdx_td *td;
	u64 vcpu_pages;

	if (skip_unless(_metadata, self, TERMINATE | MODEL | WARNINGS))
		return;

	expect_warning(self, "__tdx_reclaim_page");

	tdx_counts_start(&self->counts);
	td = create_runnable_td();
	tdx_counts_stop(&self->counts);
	vcpu_pages = self->counts.leaf[TDH_VP_CREATE] +
		     self->counts.leaf[TDH_VP_ADDCX];

	tdx_vm_terminate(td->vm);
	vm_guest_mem_punch_hole(td->vm, td->gpa, td->size);

	/* KVM reclaims vCPUs, then the S-EPT, then TDCS and TDR. */
	fail_reclaim(self, vcpu_pages + 1);
	check_failed_reclaim(_metadata, self, td);
	EXPECT_EQ(0, tdx_gauges_read().private_pages -
		     self->before.private_pages);
}

TDX_TEST(fault_private_page_reclaim)
{
	struct tdx_td *td;

	if (skip_unless(_metadata, self, TERMINATE | MODEL | WARNINGS))
		return;

	expect_warning(self, "tdx_sept_(remove|reclaim)_private_spte");
	expect_warning(self, "__tdx_reclaim_page");

	td = create_runnable_td();
	tdx_vm_terminate(td->vm);
	fail_reclaim(self, 1);
	vm_guest_mem_punch_hole(td->vm, td->gpa, td->size);
	expect_pages(_metadata, td, 0, 1);

	/* That is one page less, and doesn't keep userspace from cleaning up. */
	EXPECT_EQ(0, __tdx_vm_terminate(td->vm, NULL));
	check_failed_reclaim(_metadata, self, td);
	EXPECT_EQ(1, tdx_gauges_read().private_pages -
		     self->before.private_pages);
}

static void lose_page(FIXTURE_DATA(tdx) * self)
{
	struct tdx_td *td = create_runnable_td();

	tdx_host_inject_status(TDH_MEM_RANGE_BLOCK, 1,
			       TDX_STATUS_PAGE_METADATA_INCORRECT |
			       TDX_STATUS_OPERAND_ID_RCX);
	vm_guest_mem_punch_hole(td->vm, td->gpa, PAGE_SIZE);
	TEST_ASSERT_EQ(vm_get_stat(td->vm, tdx_private_pages), tdx_td_pages(td) - 1);
	TEST_ASSERT_EQ(vm_get_stat(td->vm, tdx_leaked_pages), 1);
	check_bugged(td);
}

/* The same for a TD of which KVM has lost a page, i.e. whose VM is bugged. */
TDX_TEST(fault_killed)
{
	if (skip_unless(_metadata, self, TERMINATE | MODEL | WARNINGS))
		return;

	expect_warning(self, "tdx_sept_(zap|remove)_private_spte");
	expect_warning(self, "__tdx_reclaim_page");

	/* That page, and the TDR. */
	kill_vmm(_metadata, self, lose_page, 2);
	EXPECT_EQ(1, self->counts.leaf[TDH_MNG_KEY_FREEID]);
	EXPECT_EQ(0, self->counts.leaf[TDH_MEM_RANGE_BLOCK]);

	/* FIXTURE_TEARDOWN() looks whether the host stored to owned pages. */
	write_free_memory();
}

static const char usage[] =
	"Test how KVM takes the memory of a TD back.\n"
	"\n"
	" --expect-warnings\n"
	"                Run also tests that make the kernel warn and leak pages.  Each\n"
	"                prints \"expect-warning: REGEX=1\", with a regular expression for\n"
	"                the function that warns, which most do only once a boot.  These\n"
	"                tests need an emulated TDX host.";

int main(int argc, char *argv[])
{
	struct tdx_features features;

	tdx_take_help(argc, argv, usage);
	expect_warnings = tdx_take_option(&argc, argv, "--expect-warnings");

	features = tdx_require();
	can_terminate = features.terminate;
	nr_vcpus = min(features.max_vcpus, TEST_MAX_VCPUS);

	/* The tests share the watch, reading /proc/kallsyms is slow. */
	if (tdx_host_is_model() && !tdx_counts_init())
		ksft_exit_fail_msg("No address of kvm_make_all_cpus_request() in /proc/kallsyms\n");

	return test_harness_run(argc, argv);
}
