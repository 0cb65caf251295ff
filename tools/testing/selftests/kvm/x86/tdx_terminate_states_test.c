// SPDX-License-Identifier: GPL-2.0-only
/*
 * KVM_TDX_TERMINATE_VM in every state that a TD can be in, what can be done to
 * the TD afterwards, and that nothing of it is left in the end.
 */
#include <linux/sizes.h>

#include "kselftest_harness.h"
#include "kvm_util.h"
#include "processor.h"
#include "tdx_stress.h"
#include "tdx_util.h"

#define NR_VCPUS	2
#define TD_SIZE		SZ_256K
#define TD_INIT_SIZE	SZ_64K
#define TD_GPA		(SZ_4G - TD_INIT_SIZE)

/* Each has everything that those before it have. */
enum td_state {
	CREATED,		/* before KVM_TDX_INIT_VM */
	INITIALIZED,
	VCPUS_CREATED,		/* before KVM_TDX_INIT_VCPU */
	VCPUS_INITIALIZED,
	SLOT_ADDED,		/* private memory, not populated */
	PREMAPPED,		/* mapped by KVM, not added to the TD */
	HALF_POPULATED,		/* KVM_TDX_INIT_MEM_REGION failed half-way */
	POPULATED,
	FINALIZED,
	PRE_FAULTED,
	HAS_RUN,
};

FIXTURE(td) {
	struct tdx_baseline baseline;
	struct kvm_vm *vm;
	struct kvm_vcpu *vcpus[NR_VCPUS];
	enum td_state state;
};

FIXTURE_VARIANT(td) {
	enum td_state state;
};

FIXTURE_VARIANT_ADD(td, created) { .state = CREATED };
FIXTURE_VARIANT_ADD(td, initialized) { .state = INITIALIZED };
FIXTURE_VARIANT_ADD(td, vcpus_created) { .state = VCPUS_CREATED };
FIXTURE_VARIANT_ADD(td, vcpus_initialized) { .state = VCPUS_INITIALIZED };
FIXTURE_VARIANT_ADD(td, slot_added) { .state = SLOT_ADDED };
FIXTURE_VARIANT_ADD(td, premapped) { .state = PREMAPPED };
FIXTURE_VARIANT_ADD(td, half_populated) { .state = HALF_POPULATED };
FIXTURE_VARIANT_ADD(td, populated) { .state = POPULATED };
FIXTURE_VARIANT_ADD(td, finalized) { .state = FINALIZED };
FIXTURE_VARIANT_ADD(td, pre_faulted) { .state = PRE_FAULTED };
FIXTURE_VARIANT_ADD(td, has_run) { .state = HAS_RUN };

static char source_page[SZ_4K] __aligned(SZ_4K);

static int init_mem_region(FIXTURE_DATA(td) * self, void *source, u64 gpa,
			   u64 *nr_pages)
{
	struct kvm_tdx_init_mem_region region = {
		.source_addr = (uintptr_t)source,
		.gpa = gpa,
		.nr_pages = *nr_pages,
	};
	int r;

	do {
		r = __tdx_vcpu_ioctl(self->vcpus[0], KVM_TDX_INIT_MEM_REGION, 0,
				     &region, NULL);
	} while (r == EINTR || r == EAGAIN);

	*nr_pages = region.nr_pages;
	return r;
}

static void premap(struct __test_metadata *_metadata, FIXTURE_DATA(td) * self)
{
	u64 gpa = TD_GPA + TD_INIT_SIZE, nr_pages = 1;

	tdx_host_inject_status(TDH_MEM_PAGE_ADD, 1, TDX_STATUS_PAGE_METADATA_INCORRECT);
	ASSERT_EQ(EIO, init_mem_region(self, addr_gpa2hva(self->vm, gpa), gpa,
				       &nr_pages));
	ASSERT_EQ(1, nr_pages);
}

/* The source of the second half is not there. */
static void populate_half(struct __test_metadata *_metadata,
			  FIXTURE_DATA(td) * self)
{
	u64 nr_pages = TD_INIT_SIZE / PAGE_SIZE, half = nr_pages / 2;
	char *source;

	source = kvm_mmap(TD_INIT_SIZE, PROT_READ | PROT_WRITE,
			  MAP_PRIVATE | MAP_ANONYMOUS, -1);
	kvm_munmap(source + TD_INIT_SIZE / 2, TD_INIT_SIZE / 2);
	ASSERT_EQ(EFAULT, init_mem_region(self, source, TD_GPA, &nr_pages));
	ASSERT_EQ(half, nr_pages);
	kvm_munmap(source, TD_INIT_SIZE / 2);
}

static void run_vcpus(FIXTURE_DATA(td) * self)
{
	struct tdx_vcpu_thread threads[NR_VCPUS];
	int i;

	if (self->baseline.model)
		tdx_host_script_stay();
	for (i = 0; i < NR_VCPUS; i++)
		tdx_vcpu_thread_start(&threads[i], self->vcpus[i]);
	for (i = 0; i < NR_VCPUS; i++)
		TEST_ASSERT_EQ(tdx_vcpu_thread_stop(&threads[i]), EINTR);
}

static void go_to_state(struct __test_metadata *_metadata,
			FIXTURE_DATA(td) * self, enum td_state state)
{
	u64 half = TD_INIT_SIZE / 2;
	int i;

	self->vm = tdx_vm_create();
	if (state >= INITIALIZED)
		tdx_vm_init(self->vm);
	for (i = 0; i < NR_VCPUS && state == VCPUS_CREATED; i++)
		self->vcpus[i] = __vm_vcpu_add(self->vm, i);
	for (i = 0; i < NR_VCPUS && state > VCPUS_CREATED; i++)
		self->vcpus[i] = tdx_vcpu_add(self->vm, i);
	if (state >= SLOT_ADDED)
		tdx_mem_add(self->vm, TD_GPA, TD_SIZE);
	if (state == PREMAPPED)
		premap(_metadata, self);
	if (state >= HALF_POPULATED)
		populate_half(_metadata, self);
	if (state >= POPULATED)
		tdx_init_mem_region(self->vcpus[0], TD_GPA + half, half, 0);
	if (state >= FINALIZED)
		tdx_vm_finalize(self->vm);
	if (state >= PRE_FAULTED)
		tdx_pre_fault_memory(self->vcpus[0], TD_GPA + TD_INIT_SIZE,
				     TD_SIZE - TD_INIT_SIZE);
	if (state >= HAS_RUN)
		run_vcpus(self);
}

FIXTURE_SETUP(td)
{
	tdx_baseline_init(&self->baseline);
	if (variant->state == PREMAPPED && !self->baseline.model)
		SKIP(return, "Needs an emulated TDX host");

	self->state = variant->state;
	go_to_state(_metadata, self, variant->state);
}

FIXTURE_TEARDOWN(td)
{
	if (self->vm)
		kvm_vm_free(self->vm);
	if (self->baseline.model)
		tdx_host_script_io();
	EXPECT_TRUE(tdx_baseline_check(&self->baseline));
}

static u64 keyids_in_use(FIXTURE_DATA(td) * self)
{
	return tdx_host_read(TDX_HOST_KEYIDS_IN_USE) -
	       self->baseline.gauges.keyids_in_use;
}

/* Returns whether there is a terminated TD now. */
static bool terminate(struct __test_metadata *_metadata,
		      FIXTURE_DATA(td) * self)
{
	u64 hw_error;

	if (self->state == CREATED) {
		EXPECT_EQ(EINVAL, __tdx_vm_terminate(self->vm, &hw_error));
		return false;
	}

	if (self->baseline.model)
		EXPECT_EQ(1, keyids_in_use(self));
	EXPECT_EQ(0, __tdx_vm_terminate(self->vm, &hw_error));
	EXPECT_EQ(0, hw_error);
	if (self->baseline.model)
		EXPECT_EQ(0, keyids_in_use(self));
	return true;
}

/* Without it. */
TEST_F(td, close)
{
}

TEST_F(td, terminate)
{
	terminate(_metadata, self);
}

TEST_F(td, terminate_again)
{
	if (!terminate(_metadata, self)) {
		/* Nothing has changed. */
		tdx_vm_init(self->vm);
		self->state = INITIALIZED;
		terminate(_metadata, self);
	}
	EXPECT_EQ(0, __tdx_vm_terminate(self->vm, NULL));
	EXPECT_EQ(0, __tdx_vm_terminate(self->vm, NULL));
}

/* Nothing gets the TD on with its life. */
TEST_F(td, terminate_rejects)
{
	struct kvm_pre_fault_memory range = { .gpa = TD_GPA, .size = PAGE_SIZE };
	struct kvm_vcpu *vcpu = self->vcpus[0];
	u64 nr_pages = 1;

	if (self->state < INITIALIZED)
		SKIP(return, "There is no TD");

	terminate(_metadata, self);
	EXPECT_EQ(EIO, __tdx_vm_ioctl(self->vm, KVM_TDX_INIT_VM, 0, source_page, NULL));
	EXPECT_EQ(EIO, __tdx_vm_ioctl(self->vm, KVM_TDX_FINALIZE_VM, 0, NULL, NULL));
	EXPECT_EQ(-1, __vm_ioctl(self->vm, KVM_CREATE_VCPU, (void *)NR_VCPUS));
	EXPECT_EQ(EIO, errno);
	if (!vcpu)
		return;

	EXPECT_EQ(EIO, __tdx_vcpu_ioctl(vcpu, KVM_TDX_INIT_VCPU, 0, NULL, NULL));
	EXPECT_EQ(EIO, init_mem_region(self, source_page, TD_GPA, &nr_pages));
	EXPECT_EQ(-1, __vcpu_run(vcpu));
	EXPECT_EQ(EIO, errno);
	EXPECT_EQ(-1, __vcpu_ioctl(vcpu, KVM_PRE_FAULT_MEMORY, &range));
	EXPECT_EQ(EIO, errno);
}

/* A VMM that goes on cleans up in whatever order. */
TEST_F(td, terminate_converts_memory)
{
	if (self->state < SLOT_ADDED)
		SKIP(return, "The TD has no memory");

	terminate(_metadata, self);
	vm_mem_set_shared(self->vm, TD_GPA, TD_SIZE);
	if (self->baseline.model)
		EXPECT_EQ(0, tdx_gauges_read().private_pages -
			     self->baseline.gauges.private_pages);
}

TEST_F(td, terminate_punches_memory)
{
	if (self->state < SLOT_ADDED)
		SKIP(return, "The TD has no memory");

	terminate(_metadata, self);
	vm_guest_mem_punch_hole(self->vm, TD_GPA, TD_SIZE / 2);
	vm_guest_mem_punch_hole(self->vm, TD_GPA + TD_SIZE / 2, TD_SIZE / 2);
	if (self->baseline.model)
		EXPECT_EQ(0, tdx_gauges_read().private_pages -
			     self->baseline.gauges.private_pages);
}

TEST_F(td, terminate_deletes_slot)
{
	if (self->state < SLOT_ADDED)
		SKIP(return, "The TD has no memory");

	terminate(_metadata, self);
	vm_mem_region_delete(self->vm, TDX_MEMSLOT);
	if (self->baseline.model)
		EXPECT_EQ(0, tdx_gauges_read().private_pages -
			     self->baseline.gauges.private_pages);
}

/* A VMM that forgets to initialize a vCPU first is told so, and can terminate. */
TEST(finalize_without_vcpus)
{
	struct tdx_baseline baseline;
	struct kvm_vm *vm;
	u64 hw_error;
	int i;

	tdx_baseline_init(&baseline);
	vm = tdx_vm_create();
	tdx_vm_init(vm);
	for (i = 0; i < 2; i++) {
		EXPECT_EQ(EINVAL, __tdx_vm_ioctl(vm, KVM_TDX_FINALIZE_VM, 0, NULL,
						 &hw_error));
		EXPECT_NE(0, hw_error);
		/* Not initialized. */
		if (!i)
			__vm_vcpu_add(vm, 0);
	}
	EXPECT_EQ(0, __tdx_vm_terminate(vm, NULL));
	kvm_vm_free(vm);
	EXPECT_TRUE(tdx_baseline_check(&baseline));
}

/* A vCPU that was forgotten can still pre-fault memory for the others. */
TEST(pre_fault_by_uninitialized_vcpu)
{
	struct kvm_pre_fault_memory range = {
		.gpa = TD_GPA + TD_INIT_SIZE,
		.size = PAGE_SIZE,
	};
	struct tdx_baseline baseline;
	struct kvm_vcpu *vcpus[2];
	struct kvm_vm *vm;

	tdx_baseline_init(&baseline);
	vm = tdx_vm_create();
	tdx_vm_init(vm);
	vcpus[0] = tdx_vcpu_add(vm, 0);
	vcpus[1] = __vm_vcpu_add(vm, 1);
	tdx_mem_add(vm, TD_GPA, TD_SIZE);
	tdx_init_mem_region(vcpus[0], TD_GPA, TD_INIT_SIZE, 0);
	tdx_vm_finalize(vm);
	EXPECT_EQ(0, __vcpu_ioctl(vcpus[1], KVM_PRE_FAULT_MEMORY, &range));
	EXPECT_EQ(0, __tdx_vm_terminate(vm, NULL));
	kvm_vm_free(vm);
	EXPECT_TRUE(tdx_baseline_check(&baseline));
}

/* A TD can't have nested guests, whatever its CPUID says. */
TEST(nested_state)
{
	struct kvm_enable_cap evmcs = { .cap = KVM_CAP_HYPERV_ENLIGHTENED_VMCS };
	struct kvm_vcpu_events leave_smm = { .flags = KVM_VCPUEVENT_VALID_SMM };
	struct kvm_vcpu_events enter_smm = leave_smm;
	struct tdx_baseline baseline;
	struct kvm_vcpu *vcpu;
	struct kvm_vm *vm;
	union {
		struct kvm_nested_state state;
		char data[SZ_16K];
	} nested = { .state.size = sizeof(nested) };

	enter_smm.smi.smm = 1;
	tdx_baseline_init(&baseline);
	vm = tdx_vm_create();
	tdx_vm_init(vm);
	vcpu = tdx_vcpu_add(vm, 0);
	/* VMX included, unless kvm_intel has nested=0. */
	vcpu_init_cpuid(vcpu, kvm_get_supported_cpuid());

	EXPECT_EQ(-1, __vcpu_ioctl(vcpu, KVM_GET_NESTED_STATE, &nested.state));
	EXPECT_EQ(EINVAL, errno);
	nested.state.format = KVM_STATE_NESTED_FORMAT_VMX;
	nested.state.size = sizeof(nested.state);
	nested.state.hdr.vmx.vmxon_pa = -1ull;
	nested.state.hdr.vmx.vmcs12_pa = -1ull;
	EXPECT_EQ(-1, __vcpu_ioctl(vcpu, KVM_SET_NESTED_STATE, &nested.state));
	EXPECT_EQ(EINVAL, errno);
	EXPECT_EQ(-1, __vcpu_ioctl(vcpu, KVM_ENABLE_CAP, &evmcs));
	EXPECT_EQ(EINVAL, errno);

	/* Whether or not a TD can be made to believe that. */
	__vcpu_ioctl(vcpu, KVM_SET_VCPU_EVENTS, &enter_smm);
	__vcpu_ioctl(vcpu, KVM_SET_VCPU_EVENTS, &leave_smm);

	EXPECT_EQ(0, __tdx_vm_terminate(vm, NULL));
	kvm_vm_free(vm);
	EXPECT_TRUE(tdx_baseline_check(&baseline));
}

/* KVM can't inject what userspace queues, and the vCPU runs nevertheless. */
TEST(queued_events)
{
	struct kvm_vcpu_events events = {
		.flags = KVM_VCPUEVENT_VALID_NMI_PENDING,
		.interrupt = { .injected = 1, .nr = 32 },
		.nmi.pending = 1,
	};
	struct tdx_vcpu_thread thread;
	struct tdx_baseline baseline;
	struct kvm_vcpu *vcpu;
	struct kvm_vm *vm;

	tdx_baseline_init(&baseline);
	vm = tdx_vm_create();
	tdx_vm_init(vm);
	vcpu = tdx_vcpu_add(vm, 0);
	tdx_mem_add(vm, TD_GPA, TD_SIZE);
	tdx_init_mem_region(vcpu, TD_GPA, TD_INIT_SIZE, 0);
	tdx_vm_finalize(vm);
	vcpu_events_set(vcpu, &events);
	tdx_vcpu_thread_start(&thread, vcpu);
	EXPECT_EQ(EINTR, tdx_vcpu_thread_stop(&thread));
	EXPECT_EQ(0, __tdx_vm_terminate(vm, NULL));
	kvm_vm_free(vm);
	EXPECT_TRUE(tdx_baseline_check(&baseline));
}

int main(int argc, char *argv[])
{
	struct tdx_features features;

	tdx_take_help(argc, argv, "Terminate TDs in every state.\n");
	features = tdx_require_terminate();
	__TEST_REQUIRE(features.max_vcpus >= NR_VCPUS, "A TD can't have %d vCPUs", NR_VCPUS);

	return test_harness_run(argc, argv);
}
