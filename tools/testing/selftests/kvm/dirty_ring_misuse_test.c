// SPDX-License-Identifier: GPL-2.0-only
/*
 * The dirty ring is mapped writable, so that userspace can mark entries as
 * harvested.  It can also write anything else there: KVM must not trust what it
 * reads.  Nor may userspace overflow the ring.
 *
 * Most can go wrong with shadow paging (kvm_intel ept=0, kvm_amd npt=0), where
 * KVM looks at the rmaps of the pages that entries name.
 */
#include <linux/atomic.h>
#include <linux/bits.h>
#include <linux/compiler.h>
#include <linux/sizes.h>

#include <asm/barrier.h>
#include "kvm_util.h"
#include "processor.h"
#include "test_util.h"
#include "ucall_common.h"

#define RING_ENTRIES	4096
#define RING_SIZE	(RING_ENTRIES * sizeof(struct kvm_dirty_gfn))

/* Its rmaps are large enough for vmalloc(), with a guard page before them. */
#define DATA_SLOT	1
#define DATA_GPA	SZ_4G
#define DATA_SIZE	SZ_256M

/* A memslot without dirty logging. */
#define OTHER_SLOT	2
#define OTHER_GPA	(DATA_GPA + DATA_SIZE)

/* Pages that the guest writes to, again and again. */
#define NR_PAGES	8

struct forged {
	const char *what;
	uint32_t slot;
	/* Of the first entry; the others follow, page by page. */
	uint64_t offset;
};

static size_t page_size;
static uint64_t data_pages;
/* Where KVM pushes the next entry. */
static uint32_t next;

static void guest_code(uint64_t gva, uint64_t size)
{
	int i;

	for (;;) {
		for (i = 0; i < NR_PAGES; i++)
			WRITE_ONCE(*(uint64_t *)(gva + i * size), i);
		GUEST_SYNC(0);
	}
}

static struct kvm_dirty_gfn *ring_entry(struct kvm_vcpu *vcpu, uint32_t index)
{
	struct kvm_dirty_gfn *ring = vcpu_map_dirty_ring(vcpu);

	return &ring[index % RING_ENTRIES];
}

static void run_guest(struct kvm_vcpu *vcpu)
{
	vcpu_run(vcpu);
	TEST_ASSERT(get_ucall(vcpu, NULL) == UCALL_SYNC,
		    "No sync, exit reason %s", exit_reason_str(vcpu->run->exit_reason));
}

/* Have the guest dirty all its pages; returns how many entries that makes. */
static int dirty_pages(struct kvm_vcpu *vcpu)
{
	int n;

	run_guest(vcpu);
	for (n = 0; n < RING_ENTRIES; n++) {
		/* Pairs with the barrier of KVM, which publishes an entry by its flags. */
		if (!(smp_load_acquire(&ring_entry(vcpu, next + n)->flags) &
		      KVM_DIRTY_GFN_F_DIRTY))
			break;
	}

	return n;
}

static void harvest(struct kvm_vcpu *vcpu, uint32_t index)
{
	/* Pairs with KVM's load, as the documentation of dirty rings demands. */
	smp_store_release(&ring_entry(vcpu, index)->flags, KVM_DIRTY_GFN_F_RESET);
}

static void reset(struct kvm_vcpu *vcpu, int n)
{
	uint32_t cleared;

	cleared = kvm_vm_reset_dirty_ring(vcpu->vm);
	TEST_ASSERT(cleared == n, "KVM has taken %u entries of %d back", cleared, n);
	next += n;
}

/* The ring must work as it always does. */
static void check_ring(struct kvm_vcpu *vcpu)
{
	uint64_t seen = 0;
	int i, n = dirty_pages(vcpu);

	for (i = 0; i < n; i++) {
		struct kvm_dirty_gfn *entry = ring_entry(vcpu, next + i);

		TEST_ASSERT(entry->slot == DATA_SLOT && entry->offset < NR_PAGES,
			    "Entry for page 0x%llx of slot 0x%x", entry->offset,
			    entry->slot);
		seen |= BIT_ULL(entry->offset);
		harvest(vcpu, next + i);
	}
	TEST_ASSERT(seen == GENMASK_ULL(NR_PAGES - 1, 0), "Pages dirtied: 0x%lx", seen);
	reset(vcpu, n);
}

/* Entries that KVM has pushed, with another slot and offset. */
static void test_forged(struct kvm_vcpu *vcpu, const struct forged *forged)
{
	uint64_t seen = 0;
	int i, n = dirty_pages(vcpu);

	TEST_ASSERT(n == NR_PAGES, "%s: %d entries", forged->what, n);

	for (i = 0; i < n; i++) {
		struct kvm_dirty_gfn *entry = ring_entry(vcpu, next + i);

		seen |= BIT_ULL(entry->offset);
		entry->slot = forged->slot;
		entry->offset = forged->offset + i;
		harvest(vcpu, next + i);
	}
	TEST_ASSERT(seen == GENMASK_ULL(NR_PAGES - 1, 0), "Pages dirtied: 0x%lx", seen);
	reset(vcpu, n);

	/* Dirty logging of these pages hasn't been re-enabled: do that now. */
	vm_mem_region_set_flags(vcpu->vm, DATA_SLOT, 0);
	vm_mem_region_set_flags(vcpu->vm, DATA_SLOT, KVM_MEM_LOG_DIRTY_PAGES);

	check_ring(vcpu);
}

/* Entries that KVM has never pushed. */
static void test_never_pushed(struct kvm_vcpu *vcpu, int n)
{
	int i;

	for (i = 0; i < n; i++) {
		struct kvm_dirty_gfn *entry = ring_entry(vcpu, next + i);

		entry->slot = DATA_SLOT;
		entry->offset = i;
		harvest(vcpu, next + i);
	}
	reset(vcpu, 0);

	for (i = 0; i < n; i++)
		/* As above. */
		smp_store_release(&ring_entry(vcpu, next + i)->flags, 0);

	check_ring(vcpu);
}

#ifdef __x86_64__
/* Write to guest memory by an ioctl, until the ring must be full. */
static void test_full(struct kvm_vcpu *vcpu)
{
	int i;

	for (i = 0; i < RING_ENTRIES + 10; i++)
		vcpu_set_msr(vcpu, MSR_KVM_WALL_CLOCK_NEW, DATA_GPA);

	for (i = 0; i < RING_ENTRIES; i++) {
		struct kvm_dirty_gfn *entry = ring_entry(vcpu, next + i);

		TEST_ASSERT(entry->flags == KVM_DIRTY_GFN_F_DIRTY &&
			    entry->slot == DATA_SLOT && !entry->offset,
			    "Entry %d: page 0x%llx of slot 0x%x, flags 0x%x", i,
			    entry->offset, entry->slot, entry->flags);
		harvest(vcpu, next + i);
	}
	reset(vcpu, RING_ENTRIES);

	check_ring(vcpu);
}

/* Pre-fault more pages than the ring has entries. */
static void test_pre_fault(struct kvm_vcpu *vcpu)
{
	const uint64_t size = 2 * RING_ENTRIES * page_size;
	struct kvm_pre_fault_memory range = {
		.gpa = DATA_GPA + NR_PAGES * page_size,
		.size = size,
	};
	uint64_t expected = NR_PAGES;
	int i, r;

	/* KVM maps writable what is mapped writable by userspace. */
	memset(addr_gpa2hva(vcpu->vm, range.gpa), 1, range.size);

	while (range.size) {
		r = __vcpu_ioctl(vcpu, KVM_PRE_FAULT_MEMORY, &range);
		TEST_ASSERT(!r || errno == ENOSPC || errno == EINTR,
			    KVM_IOCTL_ERROR(KVM_PRE_FAULT_MEMORY, r));
		if (!r || errno == EINTR)
			continue;

		for (i = 0; i < RING_ENTRIES; i++) {
			struct kvm_dirty_gfn *entry = ring_entry(vcpu, next + i);

			if (!(entry->flags & KVM_DIRTY_GFN_F_DIRTY))
				break;
			TEST_ASSERT(entry->offset == expected,
				    "Page 0x%llx, 0x%lx is next", entry->offset, expected);
			expected++;
			harvest(vcpu, next + i);
		}
		TEST_ASSERT(i, "The ring is full, but empty");
		reset(vcpu, i);
	}
	TEST_ASSERT(expected > NR_PAGES, "The ring was never full");

	/* The rest. */
	for (i = 0; ring_entry(vcpu, next + i)->flags; i++) {
		expected++;
		harvest(vcpu, next + i);
	}
	reset(vcpu, i);
	TEST_ASSERT(expected == NR_PAGES + size / page_size,
		    "Pages up to 0x%lx are logged", expected);

	check_ring(vcpu);
}
#endif

int main(int argc, char *argv[])
{
	struct kvm_vcpu *vcpu;
	struct kvm_vm *vm;
	vm_vaddr_t gva;
	int i;

	TEST_REQUIRE(kvm_has_cap(KVM_CAP_DIRTY_LOG_RING) ||
		     kvm_has_cap(KVM_CAP_DIRTY_LOG_RING_ACQ_REL));

	page_size = getpagesize();
	data_pages = DATA_SIZE / page_size;

	vm = vm_create(1);
	TEST_REQUIRE(vm->page_size == page_size);
	vm_enable_dirty_ring(vm, RING_SIZE);
	vcpu = vm_vcpu_add(vm, 0, guest_code);

	vm_userspace_mem_region_add(vm, VM_MEM_SRC_ANONYMOUS, DATA_GPA, DATA_SLOT,
				    data_pages, KVM_MEM_LOG_DIRTY_PAGES);
	vm_userspace_mem_region_add(vm, VM_MEM_SRC_ANONYMOUS, OTHER_GPA, OTHER_SLOT,
				    NR_PAGES, 0);
	gva = DATA_GPA;
	virt_map(vm, gva, DATA_GPA, NR_PAGES);
	vcpu_args_set(vcpu, 2, gva, page_size);

	const struct forged forged[] = {
		{ "wraps, first page before", DATA_SLOT, -1 },
		{ "wraps, one page after", DATA_SLOT, -(NR_PAGES - 1) },
		{ "ends at 2^64", DATA_SLOT, -NR_PAGES },
		{ "around 2^63", DATA_SLOT, BIT_ULL(63) - 1 },
		{ "at the end", DATA_SLOT, data_pages },
		{ "across the end", DATA_SLOT, data_pages - 1 },
		{ "no dirty logging", OTHER_SLOT, 0 },
		{ "slot doesn't exist", OTHER_SLOT + 1, 0 },
		{ "slot out of range", 0xffff, 0 },
		{ "address space out of range", 0xffffu << 16 | DATA_SLOT, 0 },
	};

	check_ring(vcpu);
	for (i = 0; i < ARRAY_SIZE(forged); i++) {
		pr_info("Forged entries: %s\n", forged[i].what);
		test_forged(vcpu, &forged[i]);
	}

	pr_info("Entries that were never pushed\n");
	test_never_pushed(vcpu, 1);
	test_never_pushed(vcpu, NR_PAGES);
	test_never_pushed(vcpu, RING_ENTRIES);

#ifdef __x86_64__
	pr_info("Writes that fill the ring\n");
	test_full(vcpu);

	/* Not with shadow paging. */
	if (kvm_has_cap(KVM_CAP_PRE_FAULT_MEMORY)) {
		pr_info("Pre-faults that fill the ring\n");
		test_pre_fault(vcpu);
	}
#endif

	kvm_vm_free(vm);
	return 0;
}
