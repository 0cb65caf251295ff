// SPDX-License-Identifier: GPL-2.0-only
/*
 * The dirty ring of a TD, whose entries userspace can forge.  Entries that name
 * private memory must not change anything: KVM's mirror page tables must stay
 * in sync with those of the TDX module.
 */
#include <signal.h>
#include <sys/time.h>

#include <linux/atomic.h>
#include <linux/bits.h>
#include <linux/sizes.h>

#include <asm/barrier.h>
#include "kvm_util.h"
#include "processor.h"
#include "test_util.h"
#include "tdx_util.h"
#include "tdx_host.h"

#define RING_ENTRIES	4096
#define RING_SIZE	(RING_ENTRIES * sizeof(struct kvm_dirty_gfn))

/* Private memory ends where the reset vector is, as in tdx_td_create(). */
#define PRIVATE_PAGES	64
#define PRIVATE_SIZE	(PRIVATE_PAGES * PAGE_SIZE)
#define PRIVATE_GPA	(SZ_4G - PRIVATE_SIZE)

/* Shared memory, with dirty logging. */
#define SHARED_SLOT	1
#define SHARED_GPA	SZ_4G

static void no_handler(int signal)
{
}

/*
 * Fault on a private page that is mapped already, as if two vCPUs had faulted on
 * it.  The model repeats the fault whenever the guest is entered, until a signal
 * arrives.
 */
static void check_spurious_fault(struct kvm_vcpu *vcpu, u64 gpa)
{
	const struct sigaction action = { .sa_handler = no_handler };
	const struct itimerval timer = { .it_value.tv_usec = 20000 };
	int r;

	r = sigaction(SIGALRM, &action, NULL);
	TEST_ASSERT(!r, __KVM_SYSCALL_ERROR("sigaction()", r));

	tdx_host_script_violation(gpa);
	r = setitimer(ITIMER_REAL, &timer, NULL);
	TEST_ASSERT(!r, __KVM_SYSCALL_ERROR("setitimer()", r));

	r = __vcpu_run(vcpu);
	TEST_ASSERT(r < 0 && errno == EINTR,
		    "A fault on the mapped page 0x%lx: %s, exit reason %s", gpa,
		    r ? strerror(errno) : "success",
		    exit_reason_str(vcpu->run->exit_reason));
	tdx_host_script_io();
}

int main(int argc, char *argv[])
{
	struct kvm_dirty_gfn *ring;
	struct kvm_vcpu *vcpu;
	struct kvm_vm *vm;
	uint32_t cleared;
	void *shared;
	int i, n;

	tdx_require();
	TEST_REQUIRE(kvm_has_cap(KVM_CAP_DIRTY_LOG_RING) ||
		     kvm_has_cap(KVM_CAP_DIRTY_LOG_RING_ACQ_REL));

	vm = tdx_vm_create();
	vm_enable_dirty_ring(vm, RING_SIZE);
	tdx_vm_init(vm);
	vcpu = tdx_vcpu_add(vm, 0);
	tdx_mem_add(vm, PRIVATE_GPA, PRIVATE_SIZE);
	tdx_init_mem_region(vcpu, PRIVATE_GPA, PRIVATE_SIZE, 0);
	tdx_vm_finalize(vm);

	vm_userspace_mem_region_add(vm, VM_MEM_SRC_ANONYMOUS, SHARED_GPA, SHARED_SLOT,
				    PRIVATE_PAGES, KVM_MEM_LOG_DIRTY_PAGES);
	shared = addr_gpa2hva(vm, SHARED_GPA);
	memset(shared, 1, PRIVATE_SIZE);

	/* Mapping a page writable pushes an entry. */
	ring = vcpu_map_dirty_ring(vcpu);
	tdx_pre_fault_memory(vcpu, SHARED_GPA, PRIVATE_SIZE);
	for (n = 0; n < RING_ENTRIES; n++) {
		/* Pairs with the barrier of KVM, which publishes an entry by its flags. */
		if (!(smp_load_acquire(&ring[n].flags) & KVM_DIRTY_GFN_F_DIRTY))
			break;
		TEST_ASSERT_EQ(ring[n].slot, SHARED_SLOT);
	}
	TEST_ASSERT_EQ(n, PRIVATE_PAGES);

	for (i = 0; i < n; i++) {
		ring[i].slot = TDX_MEMSLOT;
		ring[i].offset = i;
		/* Pairs with KVM's load, as the documentation of dirty rings demands. */
		smp_store_release(&ring[i].flags, KVM_DIRTY_GFN_F_RESET);
	}
	cleared = kvm_vm_reset_dirty_ring(vm);
	TEST_ASSERT_EQ(cleared, n);

	if (tdx_host_is_model()) {
		check_spurious_fault(vcpu, PRIVATE_GPA);
		check_spurious_fault(vcpu, PRIVATE_GPA + PRIVATE_SIZE / 2);
		check_spurious_fault(vcpu, SZ_4G - PAGE_SIZE);
		TEST_ASSERT(tdx_host_check(), "The TDX module's state is inconsistent");
	} else {
		pr_info("No emulated TDX host, skipping faults on private pages\n");
	}

	kvm_vm_free(vm);
	return 0;
}
