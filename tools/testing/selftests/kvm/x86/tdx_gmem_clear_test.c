// SPDX-License-Identifier: GPL-2.0-only
/*
 * Which pages of a guest_memfd does KVM clear?  Not those that only a TD can ever
 * see, because the TDX module initializes them, but all others.
 *
 * Pages are taken from memory that was written to just before, so that a page
 * that was not cleared has something to tell.  That takes a kernel without
 * init_on_free=1 and init_on_alloc=1.  On an emulated TDX host (see
 * tdx_host_model.h) the tests also count the pages that the kernel clears.
 */
#include <setjmp.h>
#include <signal.h>

#include <linux/sizes.h>

#include "kselftest_harness.h"
#include "kvm_util.h"
#include "processor.h"
#include "tdx_host.h"
#include "tdx_util.h"

#define TEST_SIZE		SZ_4M
#define TEST_PAGES		(TEST_SIZE / PAGE_SIZE)
#define TEST_TIMEOUT		100	/* seconds, all tests together have 120 */
#define TEST_GPA		SZ_4G
#define TEST_SLOT		10

/* Page tables, structures of KVM and of the test; the count is that of all tasks. */
#define OTHER_PAGES		(TEST_PAGES / 2)

#define DIRTY_SIZE		SZ_32M
#define DIRTY_PATTERN		0xa5

#define WATCH_CLEAR_PAGE	1

FIXTURE(gmem) {
	bool model;
};

/* Leave memory behind that is not zero, where the kernel takes pages from next. */
static void dirty_free_memory(void)
{
	void *memory = kvm_mmap(DIRTY_SIZE, PROT_READ | PROT_WRITE,
				MAP_PRIVATE | MAP_ANONYMOUS, -1);

	memset(memory, DIRTY_PATTERN, DIRTY_SIZE);
	kvm_munmap(memory, DIRTY_SIZE);
}

FIXTURE_SETUP(gmem)
{
	self->model = tdx_host_is_model() && tdx_watch_clear_page(WATCH_CLEAR_PAGE);
	if (self->model) {
		TH_LOG("The TDX module is a software model");
		tdx_host_script_io();
	}
	dirty_free_memory();
}

FIXTURE_TEARDOWN(gmem)
{
	int i;

	for (i = 0; self->model && i < TDX_CLEAR_PAGE_SLOTS; i++)
		__tdx_host_watch(WATCH_CLEAR_PAGE + i, 0);
}

#define GMEM_TEST(name) TEST_F_TIMEOUT(gmem, name, TEST_TIMEOUT)

static void start_count(FIXTURE_DATA(gmem) * self)
{
	if (self->model)
		tdx_host_reset();
}

static u64 pages_cleared(void)
{
	return tdx_clear_page_read(WATCH_CLEAR_PAGE).calls;
}

static u64 nonzero_pages(const void *memory, u64 size)
{
	static const u8 zeros[PAGE_SIZE];
	u64 count = 0, i;

	for (i = 0; i < size; i += PAGE_SIZE)
		count += !!memcmp(memory + i, zeros, PAGE_SIZE);
	return count;
}

/* A TD with one vCPU, initialized, without memory. */
static struct kvm_vm *create_td(struct kvm_vcpu **vcpu)
{
	struct kvm_vm *vm = tdx_vm_create();

	tdx_vm_init(vm);
	*vcpu = tdx_vcpu_add(vm, 0);
	return vm;
}

static void add_memory(struct kvm_vm *vm, int guest_memfd)
{
	vm_mem_add(vm, VM_MEM_SRC_ANONYMOUS, TEST_GPA, TEST_SLOT, TEST_PAGES,
		   KVM_MEM_GUEST_MEMFD, guest_memfd, 0);
	close(guest_memfd);
}

GMEM_TEST(td_initial_memory)
{
	struct kvm_vcpu *vcpu;
	struct kvm_vm *vm = create_td(&vcpu);

	add_memory(vm, vm_create_guest_memfd(vm, TEST_SIZE, 0));
	vm_mem_set_private(vm, TEST_GPA, TEST_SIZE);
	memset(addr_gpa2hva(vm, TEST_GPA), 1, TEST_SIZE);

	start_count(self);
	tdx_init_mem_region(vcpu, TEST_GPA, TEST_SIZE, 0);
	if (self->model) {
		TH_LOG("%lu pages added, %lu cleared", (u64)TEST_PAGES, pages_cleared());
		EXPECT_LT(pages_cleared(), OTHER_PAGES);
	}
	kvm_vm_free(vm);
}

/* The number of pages cleared while all of a TD's memory is pre-faulted. */
static u64 cleared_by_pre_fault(struct __test_metadata *_metadata,
				FIXTURE_DATA(gmem) * self, u64 flags, bool private)
{
	struct kvm_vcpu *vcpu;
	struct kvm_vm *vm = create_td(&vcpu);
	u64 cleared = 0;

	add_memory(vm, vm_create_guest_memfd(vm, TEST_SIZE, flags));
	if (private)
		vm_mem_set_private(vm, TEST_GPA, TEST_SIZE);
	tdx_vm_finalize(vm);

	start_count(self);
	tdx_pre_fault_memory(vcpu, TEST_GPA, TEST_SIZE);
	if (self->model) {
		cleared = pages_cleared();
		TH_LOG("%lu pages mapped, %lu cleared", (u64)TEST_PAGES, cleared);
	}
	kvm_vm_free(vm);
	return cleared;
}

/* Pages that the guest has yet to accept. */
GMEM_TEST(td_pending_memory)
{
	EXPECT_LT(cleared_by_pre_fault(_metadata, self, 0, true), OTHER_PAGES);
}

/*
 * With GUEST_MEMFD_FLAG_MMAP the same pages are the shared memory of the TD, which
 * the TDX module doesn't initialize.
 */
static void test_td_mmap(struct __test_metadata *_metadata,
			 FIXTURE_DATA(gmem) * self, bool private)
{
	u64 cleared = cleared_by_pre_fault(_metadata, self, GUEST_MEMFD_FLAG_MMAP,
					   private);

	if (self->model)
		EXPECT_GE(cleared, TEST_PAGES);
}

GMEM_TEST(td_mmap_shared)
{
	test_td_mmap(_metadata, self, false);
}

GMEM_TEST(td_mmap_private)
{
	test_td_mmap(_metadata, self, true);
}

static sigjmp_buf fault_return;

static void fault_handler(int signal)
{
	siglongjmp(fault_return, 1);
}

static bool can_read(const u8 *memory)
{
	const struct sigaction action = { .sa_handler = fault_handler };
	struct sigaction old;
	bool read = false;

	sigaction(SIGBUS, &action, &old);
	if (!sigsetjmp(fault_return, 1)) {
		READ_ONCE(*memory);
		read = true;
	}
	sigaction(SIGBUS, &old, NULL);
	return read;
}

/* Userspace gets at no page of a TD, cleared or not. */
GMEM_TEST(td_memory_unreachable)
{
	struct kvm_vm *vm = tdx_vm_create(), *other = vm_create_barebones();
	u64 flags;
	int fd, r;
	u8 *memory;

	for (flags = GUEST_MEMFD_FLAG_INIT_SHARED;
	     flags <= (GUEST_MEMFD_FLAG_INIT_SHARED | GUEST_MEMFD_FLAG_MMAP); flags++) {
		EXPECT_EQ(-1, __vm_create_guest_memfd(vm, TEST_SIZE, flags));
		EXPECT_EQ(EINVAL, errno);
	}

	fd = vm_create_guest_memfd(vm, TEST_SIZE, 0);
	memory = mmap(NULL, TEST_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	EXPECT_EQ(MAP_FAILED, memory);
	EXPECT_EQ(ENODEV, errno);
	memory = mmap(NULL, TEST_SIZE, PROT_READ, MAP_PRIVATE, fd, 0);
	EXPECT_EQ(MAP_FAILED, memory);
	EXPECT_EQ(-1, pread(fd, &flags, sizeof(flags), 0));

	/* Nor does another VM. */
	r = __vm_set_user_memory_region2(other, TEST_SLOT, KVM_MEM_GUEST_MEMFD, TEST_GPA,
					 TEST_SIZE, NULL, fd, 0);
	EXPECT_EQ(-1, r);
	EXPECT_EQ(EINVAL, errno);
	close(fd);

	fd = vm_create_guest_memfd(vm, TEST_SIZE, GUEST_MEMFD_FLAG_MMAP);
	memory = kvm_mmap(TEST_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd);
	EXPECT_FALSE(can_read(memory));
	kvm_munmap(memory, TEST_SIZE);
	close(fd);

	kvm_vm_free(other);
	kvm_vm_free(vm);
}

static void test_user_mapping(struct __test_metadata *_metadata,
			      FIXTURE_DATA(gmem) * self)
{
	struct kvm_vm *vm = vm_create_barebones();
	void *memory;
	int fd;

	fd = vm_create_guest_memfd(vm, TEST_SIZE, GUEST_MEMFD_FLAG_MMAP |
						  GUEST_MEMFD_FLAG_INIT_SHARED);
	memory = kvm_mmap(TEST_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd);

	start_count(self);
	EXPECT_EQ(0, nonzero_pages(memory, TEST_SIZE));
	if (self->model)
		EXPECT_GE(pages_cleared(), TEST_PAGES);

	kvm_munmap(memory, TEST_SIZE);
	close(fd);
	kvm_vm_free(vm);
}

/* Pages that userspace faults in. */
GMEM_TEST(user_mapping)
{
	test_user_mapping(_metadata, self);
}

/* What a TD has left, pages that it was never given included, is nobody's to read. */
GMEM_TEST(freed_by_td)
{
	struct kvm_vcpu *vcpu;
	struct kvm_vm *vm = create_td(&vcpu);
	void *memory;
	int fd;

	fd = vm_create_guest_memfd(vm, DIRTY_SIZE / 2, 0);
	vm_mem_add(vm, VM_MEM_SRC_ANONYMOUS, TEST_GPA, TEST_SLOT,
		   DIRTY_SIZE / 2 / PAGE_SIZE, KVM_MEM_GUEST_MEMFD, fd, 0);
	vm_mem_set_private(vm, TEST_GPA, DIRTY_SIZE / 2);
	ASSERT_EQ(0, fallocate(fd, FALLOC_FL_KEEP_SIZE, 0, DIRTY_SIZE / 2));
	tdx_vm_finalize(vm);
	tdx_pre_fault_memory(vcpu, TEST_GPA, TEST_SIZE);
	close(fd);
	kvm_vm_free(vm);

	test_user_mapping(_metadata, self);

	memory = kvm_mmap(DIRTY_SIZE, PROT_READ | PROT_WRITE,
			  MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1);
	EXPECT_EQ(0, nonzero_pages(memory, DIRTY_SIZE));
	kvm_munmap(memory, DIRTY_SIZE);
}

static void guest_count_nonzero(u64 gva, u64 size)
{
	u64 count = 0, i;

	for (i = 0; i < size; i += sizeof(u64))
		count += !!*(u64 *)(gva + i);
	GUEST_SYNC(count);
}

/* A VM whose guest reads all of a guest_memfd. */
static void test_guest(struct __test_metadata *_metadata, FIXTURE_DATA(gmem) * self,
		       unsigned int type, u64 flags)
{
	const struct vm_shape shape = {
		.mode = VM_MODE_DEFAULT,
		.type = type,
	};
	struct kvm_vcpu *vcpu;
	struct kvm_vm *vm;
	struct ucall uc;

	if (!(kvm_check_cap(KVM_CAP_VM_TYPES) & BIT(type)))
		SKIP(return, "VM type %u is not supported", type);

	vm = vm_create_shape_with_one_vcpu(shape, &vcpu, guest_count_nonzero);
	add_memory(vm, vm_create_guest_memfd(vm, TEST_SIZE, flags));
	virt_map(vm, TEST_GPA, TEST_GPA, TEST_PAGES);
	if (type == KVM_X86_SW_PROTECTED_VM)
		vm_mem_set_private(vm, TEST_GPA, TEST_SIZE);
	vcpu_args_set(vcpu, 2, (u64)TEST_GPA, (u64)TEST_SIZE);

	start_count(self);
	vcpu_run(vcpu);
	ASSERT_EQ(UCALL_SYNC, get_ucall(vcpu, &uc));
	EXPECT_EQ(0, uc.args[1]);
	if (self->model)
		EXPECT_GE(pages_cleared(), TEST_PAGES);
	kvm_vm_free(vm);
}

GMEM_TEST(sw_protected_guest)
{
	test_guest(_metadata, self, KVM_X86_SW_PROTECTED_VM, 0);
}

GMEM_TEST(sw_protected_guest_mmap)
{
	test_guest(_metadata, self, KVM_X86_SW_PROTECTED_VM, GUEST_MEMFD_FLAG_MMAP);
}

GMEM_TEST(default_guest_mmap)
{
	test_guest(_metadata, self, KVM_X86_DEFAULT_VM,
		   GUEST_MEMFD_FLAG_MMAP | GUEST_MEMFD_FLAG_INIT_SHARED);
}

int main(int argc, char *argv[])
{
	tdx_take_help(argc, argv, "Test which pages of a guest_memfd KVM clears.\n");
	tdx_require();
	TEST_REQUIRE(kvm_has_cap(KVM_CAP_GUEST_MEMFD_FLAGS));

	return test_harness_run(argc, argv);
}
