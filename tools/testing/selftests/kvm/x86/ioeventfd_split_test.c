// SPDX-License-Identifier: GPL-2.0-only
/*
 * Stores that cross a page, with an ioeventfd at the start of the second page
 * that compares 8 bytes.  KVM emulates the part in each page on its own, so that
 * these 8 bytes may be at any address of its buffer.
 */
#include <sys/eventfd.h>
#include <unistd.h>

#include "kvm_util.h"
#include "processor.h"

#define MMIO_GPA	0xc0000000ul
#define SECOND_PAGE	(MMIO_GPA + PAGE_SIZE)
#define MATCH_LEN	8
#define STORE_LEN	16
/* All of MATCH_LEN is in the second page if up to this many bytes are in the first. */
#define MAX_IN_FIRST	(STORE_LEN - MATCH_LEN)

static u8 stored[STORE_LEN] __aligned(STORE_LEN);

static void guest_code(u64 in_first)
{
	asm volatile("movaps %0, %%xmm0\n\t"
		     "movups %%xmm0, (%1)"
		     : : "m"(stored), "r"(SECOND_PAGE - in_first)
		     : "xmm0", "memory");
	GUEST_DONE();
}

static void expect_mmio(struct kvm_vcpu *vcpu, u64 gpa, const u8 *data, u32 len)
{
	struct kvm_run *run = vcpu->run;

	vcpu_run(vcpu);
	TEST_ASSERT_KVM_EXIT_REASON(vcpu, KVM_EXIT_MMIO);
	TEST_ASSERT_EQ(run->mmio.is_write, 1);
	TEST_ASSERT_EQ(run->mmio.phys_addr, gpa);
	TEST_ASSERT_EQ(run->mmio.len, len);
	TEST_ASSERT(!memcmp(run->mmio.data, data, len),
		    "Unexpected data at 0x%lx", gpa);
}

static void test_store(u64 in_first, bool match)
{
	struct kvm_ioeventfd ioeventfd = {
		.addr = SECOND_PAGE,
		.len = MATCH_LEN,
		.flags = KVM_IOEVENTFD_FLAG_DATAMATCH,
		.fd = eventfd(0, EFD_NONBLOCK),
	};
	u32 rest = MAX_IN_FIRST - in_first;
	struct kvm_vcpu *vcpu;
	struct kvm_vm *vm;
	u8 data[STORE_LEN];
	u64 count = 0;
	int i;

	pr_info("%lu bytes in the first page, the rest %s\n", in_first,
		match ? "matches" : "does not match");
	TEST_ASSERT(ioeventfd.fd >= 0, "eventfd() failed");

	for (i = 0; i < STORE_LEN; i++)
		data[i] = 0x11 + i;
	memcpy(&ioeventfd.datamatch, data + in_first, MATCH_LEN);
	if (!match)
		data[in_first + MATCH_LEN - 1] ^= 1;

	vm = vm_create_with_one_vcpu(&vcpu, guest_code);
	vcpu_args_set(vcpu, 1, in_first);
	virt_map(vm, MMIO_GPA, MMIO_GPA, 2);
	memcpy(addr_gva2hva(vm, (vm_vaddr_t)stored), data, STORE_LEN);
	vm_ioctl(vm, KVM_IOEVENTFD, &ioeventfd);

	if (in_first)
		expect_mmio(vcpu, SECOND_PAGE - in_first, data, in_first);
	if (!match)
		expect_mmio(vcpu, SECOND_PAGE, data + in_first, MATCH_LEN);
	if (rest)
		expect_mmio(vcpu, SECOND_PAGE + MATCH_LEN,
			    data + STORE_LEN - rest, rest);

	vcpu_run(vcpu);
	TEST_ASSERT_EQ(get_ucall(vcpu, NULL), UCALL_DONE);

	if (read(ioeventfd.fd, &count, sizeof(count)) < 0)
		TEST_ASSERT_EQ(errno, EAGAIN);
	TEST_ASSERT_EQ(count, match);

	kvm_vm_free(vm);
	close(ioeventfd.fd);
}

int main(void)
{
	u64 in_first;

	TEST_REQUIRE(kvm_has_cap(KVM_CAP_IOEVENTFD));

	for (in_first = 0; in_first <= MAX_IN_FIRST; in_first++) {
		test_store(in_first, true);
		test_store(in_first, false);
	}

	return 0;
}
