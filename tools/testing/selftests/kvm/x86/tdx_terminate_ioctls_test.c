// SPDX-License-Identifier: GPL-2.0-only
/*
 * What the ioctls of a VM, of its vCPUs and of its devices do once a TD is dead,
 * by KVM_TDX_TERMINATE_VM or because of its guest: those that clean up, or read
 * what KVM itself keeps, work, all others fail with EIO.
 */
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <linux/sizes.h>

#include "kselftest_harness.h"
#include "kvm_util.h"
#include "processor.h"
#include "tdx_host.h"
#include "tdx_util.h"

#define TD_SIZE			SZ_1M
#define TD_INIT_SIZE		SZ_64K

#define SHARED_SLOT		5
#define SHARED_GPA		SZ_1M
#define OTHER_GPA		SZ_2M
#define COALESCED_GPA		SZ_4M
#define IRQFD_GSI		5
#define IOEVENTFD_ADDR		0x500

enum state {
	TERMINATED,
	STUCK,		/* terminated, vCPUs are flushed, but it still has its HKID */
	BLOCKED,	/* the same, and its pages can't be taken back */
	DEAD,		/* because of its guest */
};

FIXTURE(terminated) {
	struct tdx_td *td;
	void *shared;
	int eventfd;
	int vfio_fd;		/* -1 if KVM has no VFIO device */
};

FIXTURE_VARIANT(terminated) {
	enum state state;
};

FIXTURE_VARIANT_ADD(terminated, done) {
	.state = TERMINATED,
};

/* All others need an emulated TDX host. */
FIXTURE_VARIANT_ADD(terminated, stuck) {
	.state = STUCK,
};

FIXTURE_VARIANT_ADD(terminated, blocked) {
	.state = BLOCKED,
};

FIXTURE_VARIANT_ADD(terminated, dead) {
	.state = DEAD,
};

/* Returns 0 or an errno value. */
static int do_ioctl(int fd, unsigned long cmd, void *arg)
{
	return ioctl(fd, cmd, arg) < 0 ? errno : 0;
}

static int __set_slot(FIXTURE_DATA(terminated) * self, u32 slot, u32 flags,
		      u64 gpa, u64 size)
{
	struct kvm_userspace_memory_region2 region = {
		.slot = slot,
		.flags = flags,
		.guest_phys_addr = gpa,
		.memory_size = size,
		.userspace_addr = (uintptr_t)self->shared,
	};

	return do_ioctl(self->td->vm->fd, KVM_SET_USER_MEMORY_REGION2, &region);
}

static int set_slot(FIXTURE_DATA(terminated) * self, u32 slot, u64 gpa,
		    u64 size)
{
	return __set_slot(self, slot, 0, gpa, size);
}

static int set_coalesced(FIXTURE_DATA(terminated) * self, unsigned long cmd)
{
	struct kvm_coalesced_mmio_zone zone = {
		.addr = COALESCED_GPA,
		.size = PAGE_SIZE,
	};

	return do_ioctl(self->td->vm->fd, cmd, &zone);
}

static int set_irqfd(FIXTURE_DATA(terminated) * self, u32 flags)
{
	struct kvm_irqfd irqfd = {
		.fd = self->eventfd,
		.gsi = IRQFD_GSI,
		.flags = flags,
	};

	return do_ioctl(self->td->vm->fd, KVM_IRQFD, &irqfd);
}

static int set_ioeventfd(FIXTURE_DATA(terminated) * self, u32 flags)
{
	struct kvm_ioeventfd ioeventfd = {
		.fd = self->eventfd,
		.addr = IOEVENTFD_ADDR,
		.len = 4,
		.flags = KVM_IOEVENTFD_FLAG_PIO | flags,
	};

	return do_ioctl(self->td->vm->fd, KVM_IOEVENTFD, &ioeventfd);
}

static int set_attributes(FIXTURE_DATA(terminated) * self, u64 gpa, u64 size,
			  u64 attributes)
{
	struct kvm_memory_attributes attr = {
		.address = gpa,
		.size = size,
		.attributes = attributes,
	};

	return do_ioctl(self->td->vm->fd, KVM_SET_MEMORY_ATTRIBUTES, &attr);
}

/* There is no VFIO file here, only something that isn't one. */
static int set_vfio_file(FIXTURE_DATA(terminated) * self, u64 attr)
{
	s32 fd = self->eventfd;
	struct kvm_device_attr device_attr = {
		.group = KVM_DEV_VFIO_FILE,
		.attr = attr,
		.addr = (uintptr_t)&fd,
	};

	return do_ioctl(self->vfio_fd, KVM_SET_DEVICE_ATTR, &device_attr);
}

static void fail_terminate(struct __test_metadata *_metadata, struct kvm_vm *vm,
			   enum tdh_leaf leaf)
{
	u64 status = TDX_STATUS_OPERAND_BUSY | TDX_STATUS_OPERAND_ID_TDR;
	u64 hw_error;

	tdx_host_inject_status(leaf, 1, status);
	ASSERT_EQ(EIO, __tdx_vm_terminate(vm, &hw_error));
	ASSERT_EQ(status, hw_error);
}

/* KVM gives up a VM whose guest accesses private memory before accepting it. */
static void die(struct __test_metadata *_metadata, struct tdx_td *td)
{
	tdx_host_script_unaccepted(td->gpa);
	ASSERT_EQ(-1, __vcpu_run(td->vcpus[0]));
	ASSERT_EQ(EIO, errno);
	tdx_host_script_io();
}

FIXTURE_SETUP(terminated)
{
	struct kvm_create_device vfio = { .type = KVM_DEV_TYPE_VFIO };

	self->td = NULL;
	if (variant->state != TERMINATED && !tdx_host_is_model())
		SKIP(return, "Needs an emulated TDX host");

	self->td = tdx_td_create(1, TD_SIZE, TD_INIT_SIZE);
	tdx_td_finalize(self->td);

	self->shared = kvm_mmap(SZ_64K, PROT_READ | PROT_WRITE,
				MAP_PRIVATE | MAP_ANONYMOUS, -1);
	self->eventfd = eventfd(0, EFD_CLOEXEC);
	ASSERT_LE(0, self->eventfd);
	self->vfio_fd = -1;
	if (!do_ioctl(self->td->vm->fd, KVM_CREATE_DEVICE, &vfio))
		self->vfio_fd = vfio.fd;

	ASSERT_EQ(0, __set_slot(self, SHARED_SLOT, KVM_MEM_LOG_DIRTY_PAGES,
				SHARED_GPA, SZ_64K));
	ASSERT_EQ(0, set_coalesced(self, KVM_REGISTER_COALESCED_MMIO));
	ASSERT_EQ(0, set_irqfd(self, 0));
	ASSERT_EQ(0, set_ioeventfd(self, 0));

	switch (variant->state) {
	case TERMINATED:
		tdx_vm_terminate(self->td->vm);
		break;
	case STUCK:
		fail_terminate(_metadata, self->td->vm, TDH_MNG_VPFLUSHDONE);
		break;
	case BLOCKED:
		fail_terminate(_metadata, self->td->vm, TDH_MNG_KEY_FREEID);
		break;
	case DEAD:
		die(_metadata, self->td);
		break;
	}
}

FIXTURE_TEARDOWN(terminated)
{
	if (!self->td)
		return;

	/* Whatever the test has done, terminating it goes on. */
	EXPECT_EQ(0, __tdx_vm_terminate(self->td->vm, NULL));

	if (self->vfio_fd >= 0)
		close(self->vfio_fd);
	close(self->eventfd);
	tdx_td_free(self->td);
	kvm_munmap(self->shared, SZ_64K);
}

/* Arguments that the ioctls would accept, as far as they look at them. */
static char buffer[SZ_64K];

struct ioctl_case {
	const char *name;
	unsigned long cmd;
	void *arg;
};

#define IOCTL(_cmd, _arg) { .name = #_cmd, .cmd = _cmd, .arg = _arg }

TEST_F(terminated, vm)
{
	struct kvm_userspace_memory_region region = {
		.slot = SHARED_SLOT + 1,
		.guest_phys_addr = OTHER_GPA,
		.memory_size = PAGE_SIZE,
	};
	struct ioctl_case rejected[] = {
		IOCTL(KVM_CREATE_VCPU, (void *)1),
		IOCTL(KVM_ENABLE_CAP, buffer),
		IOCTL(KVM_SET_USER_MEMORY_REGION, &region),
		IOCTL(KVM_SET_NR_MMU_PAGES, (void *)64),
		IOCTL(KVM_REGISTER_COALESCED_MMIO, buffer),
		IOCTL(KVM_SET_BOOT_CPU_ID, NULL),
		IOCTL(KVM_CREATE_DEVICE, buffer),
		IOCTL(KVM_CREATE_GUEST_MEMFD, buffer),
		IOCTL(KVM_CREATE_IRQCHIP, NULL),
		IOCTL(KVM_CREATE_PIT, NULL),
		IOCTL(KVM_GET_PIT, buffer),
		IOCTL(KVM_SET_PIT, buffer),
		IOCTL(KVM_CREATE_PIT2, buffer),
		IOCTL(KVM_GET_PIT2, buffer),
		IOCTL(KVM_SET_PIT2, buffer),
		IOCTL(KVM_REINJECT_CONTROL, buffer),
		IOCTL(KVM_SIGNAL_MSI, buffer),
		IOCTL(KVM_SET_GSI_ROUTING, buffer),
		IOCTL(KVM_IRQ_LINE, buffer),
		IOCTL(KVM_IRQ_LINE_STATUS, buffer),
		IOCTL(KVM_SET_CLOCK, buffer),
		IOCTL(KVM_SET_TSS_ADDR, (void *)0xfffbd000ul),
		IOCTL(KVM_SET_IDENTITY_MAP_ADDR, buffer),
		IOCTL(KVM_GET_IRQCHIP, buffer),
		IOCTL(KVM_SET_IRQCHIP, buffer),
		IOCTL(KVM_SET_TSC_KHZ, NULL),
		IOCTL(KVM_GET_TSC_KHZ, NULL),
		IOCTL(KVM_X86_SET_MSR_FILTER, buffer),
		IOCTL(KVM_SET_PMU_EVENT_FILTER, buffer),
		IOCTL(KVM_HAS_DEVICE_ATTR, buffer),
		IOCTL(KVM_HYPERV_EVENTFD, buffer),
		IOCTL(KVM_XEN_HVM_CONFIG, buffer),
		IOCTL(KVM_XEN_HVM_GET_ATTR, buffer),
		IOCTL(KVM_XEN_HVM_SET_ATTR, buffer),
		IOCTL(KVM_XEN_HVM_EVTCHN_SEND, buffer),
		IOCTL(KVM_MEMORY_ENCRYPT_REG_REGION, buffer),
		IOCTL(KVM_MEMORY_ENCRYPT_UNREG_REGION, buffer),
	};
	int i;

	for (i = 0; i < ARRAY_SIZE(rejected); i++) {
		EXPECT_EQ(EIO, do_ioctl(self->td->vm->fd, rejected[i].cmd,
					rejected[i].arg))
			TH_LOG("%s", rejected[i].name);
	}

	EXPECT_LE(0, ioctl(self->td->vm->fd, KVM_CHECK_EXTENSION,
			   KVM_CAP_MAX_VCPUS));
}

/* A VMM reads the clock when it stops a VM. */
TEST_F(terminated, clock)
{
	struct kvm_clock_data clock = {};

	EXPECT_EQ(0, do_ioctl(self->td->vm->fd, KVM_GET_CLOCK, &clock));
	EXPECT_NE(0, clock.clock);
	EXPECT_EQ(EIO, do_ioctl(self->td->vm->fd, KVM_SET_CLOCK, &clock));
}

static void check_stats(struct __test_metadata *_metadata, int fd)
{
	struct kvm_stats_header header = {};
	int stats = ioctl(fd, KVM_GET_STATS_FD, NULL);

	ASSERT_LE(0, stats);
	EXPECT_EQ(sizeof(header), read(stats, &header, sizeof(header)));
	EXPECT_NE(0, header.num_desc);
	EXPECT_EQ(0, close(stats));
}

TEST_F(terminated, stats)
{
	check_stats(_metadata, self->td->vm->fd);
	check_stats(_metadata, self->td->vcpus[0]->fd);
}

TEST_F(terminated, coalesced_mmio)
{
	EXPECT_EQ(EIO, set_coalesced(self, KVM_REGISTER_COALESCED_MMIO));
	EXPECT_EQ(0, set_coalesced(self, KVM_UNREGISTER_COALESCED_MMIO));
}

TEST_F(terminated, dirty_log)
{
	struct kvm_dirty_log log = {
		.slot = SHARED_SLOT,
		.dirty_bitmap = buffer,
	};
	struct kvm_clear_dirty_log clear = {
		.slot = SHARED_SLOT,
		.num_pages = SZ_64K / PAGE_SIZE,
		.dirty_bitmap = buffer,
	};
	int fd = self->td->vm->fd;

	EXPECT_EQ(0, do_ioctl(fd, KVM_GET_DIRTY_LOG, &log));
	EXPECT_EQ(0, do_ioctl(fd, KVM_CLEAR_DIRTY_LOG, &clear));
	/* There is no ring. */
	EXPECT_EQ(EINVAL, do_ioctl(fd, KVM_RESET_DIRTY_RINGS, NULL));

	/* Logging can be stopped, but not started. */
	EXPECT_EQ(0, __set_slot(self, SHARED_SLOT, KVM_MEM_LOG_DIRTY_PAGES,
				SHARED_GPA, SZ_64K));
	EXPECT_EQ(0, set_slot(self, SHARED_SLOT, SHARED_GPA, SZ_64K));
	EXPECT_EQ(ENOENT, do_ioctl(fd, KVM_GET_DIRTY_LOG, &log));
	EXPECT_EQ(EIO, __set_slot(self, SHARED_SLOT, KVM_MEM_LOG_DIRTY_PAGES,
				  SHARED_GPA, SZ_64K));
	EXPECT_EQ(0, set_slot(self, SHARED_SLOT, 0, 0));
}

/* Nobody but the process that created the VM cleans up. */
TEST_F(terminated, forked_child)
{
	int fd = self->td->vm->fd, status;
	struct kvm_clock_data clock;
	pid_t child;

	child = fork();
	ASSERT_LE(0, child);
	if (!child) {
		TEST_ASSERT_EQ(set_slot(self, SHARED_SLOT, 0, 0), EIO);
		TEST_ASSERT_EQ(set_slot(self, TDX_MEMSLOT, 0, 0), EIO);
		TEST_ASSERT_EQ(set_attributes(self, self->td->gpa, SZ_64K, 0), EIO);
		TEST_ASSERT_EQ(set_irqfd(self, KVM_IRQFD_FLAG_DEASSIGN), EIO);
		TEST_ASSERT_EQ(set_ioeventfd(self, KVM_IOEVENTFD_FLAG_DEASSIGN), EIO);
		TEST_ASSERT_EQ(set_coalesced(self, KVM_UNREGISTER_COALESCED_MMIO), EIO);
		TEST_ASSERT_EQ(do_ioctl(fd, KVM_GET_CLOCK, &clock), EIO);
		TEST_ASSERT_EQ(do_ioctl(fd, KVM_GET_STATS_FD, NULL), EIO);
		TEST_ASSERT_EQ(do_ioctl(self->td->vcpus[0]->fd, KVM_GET_STATS_FD, NULL), EIO);
		TEST_ASSERT_EQ(__tdx_vm_terminate(self->td->vm, NULL), EIO);
		if (self->vfio_fd >= 0)
			TEST_ASSERT_EQ(set_vfio_file(self, KVM_DEV_VFIO_FILE_DEL), EIO);
		_exit(0);
	}
	ASSERT_EQ(child, waitpid(child, &status, 0));
	EXPECT_EQ(0, status);

	EXPECT_EQ(0, set_slot(self, SHARED_SLOT, 0, 0));
}

TEST_F(terminated, sub_ioctls)
{
	struct kvm_vm *vm = self->td->vm;

	free(tdx_vm_get_capabilities(vm));
	EXPECT_EQ(EIO, __tdx_vm_ioctl(vm, KVM_TDX_INIT_VM, 0, buffer, NULL));
	EXPECT_EQ(EIO, __tdx_vm_ioctl(vm, KVM_TDX_FINALIZE_VM, 0, NULL, NULL));
	EXPECT_EQ(EINVAL, __tdx_vm_ioctl(vm, KVM_TDX_TERMINATE_VM, 1, NULL, NULL));
	EXPECT_EQ(0, __tdx_vm_ioctl(vm, KVM_TDX_TERMINATE_VM, 0, NULL, NULL));
	EXPECT_EQ(EINVAL, __tdx_vm_ioctl(vm, KVM_TDX_TERMINATE_VM, 1, NULL, NULL));
	EXPECT_EQ(EIO, __tdx_vm_ioctl(vm, KVM_TDX_FINALIZE_VM, 0, NULL, NULL));
}

TEST_F(terminated, vcpu)
{
	struct kvm_pre_fault_memory range = {
		.gpa = self->td->gpa,
		.size = PAGE_SIZE,
	};
	struct kvm_vcpu *vcpu = self->td->vcpus[0];
	struct ioctl_case rejected[] = {
		IOCTL(KVM_RUN, NULL),
		IOCTL(KVM_GET_REGS, buffer),
		IOCTL(KVM_SET_REGS, buffer),
		IOCTL(KVM_GET_SREGS, buffer),
		IOCTL(KVM_SET_SREGS, buffer),
		IOCTL(KVM_GET_SREGS2, buffer),
		IOCTL(KVM_SET_SREGS2, buffer),
		IOCTL(KVM_GET_DEBUGREGS, buffer),
		IOCTL(KVM_SET_DEBUGREGS, buffer),
		IOCTL(KVM_GET_XSAVE, buffer),
		IOCTL(KVM_GET_XSAVE2, buffer),
		IOCTL(KVM_SET_XSAVE, buffer),
		IOCTL(KVM_GET_XCRS, buffer),
		IOCTL(KVM_SET_XCRS, buffer),
		IOCTL(KVM_GET_MP_STATE, buffer),
		IOCTL(KVM_SET_MP_STATE, buffer),
		IOCTL(KVM_GET_FPU, buffer),
		IOCTL(KVM_SET_FPU, buffer),
		IOCTL(KVM_GET_LAPIC, buffer),
		IOCTL(KVM_SET_LAPIC, buffer),
		IOCTL(KVM_GET_MSRS, buffer),
		IOCTL(KVM_SET_MSRS, buffer),
		IOCTL(KVM_GET_CPUID2, buffer),
		IOCTL(KVM_SET_CPUID, buffer),
		IOCTL(KVM_SET_CPUID2, buffer),
		IOCTL(KVM_GET_VCPU_EVENTS, buffer),
		IOCTL(KVM_SET_VCPU_EVENTS, buffer),
		IOCTL(KVM_GET_NESTED_STATE, buffer),
		IOCTL(KVM_SET_NESTED_STATE, buffer),
		IOCTL(KVM_GET_TSC_KHZ, NULL),
		IOCTL(KVM_SET_TSC_KHZ, NULL),
		IOCTL(KVM_TRANSLATE, buffer),
		IOCTL(KVM_SET_GUEST_DEBUG, buffer),
		IOCTL(KVM_SET_SIGNAL_MASK, NULL),
		IOCTL(KVM_TPR_ACCESS_REPORTING, buffer),
		IOCTL(KVM_SET_VAPIC_ADDR, buffer),
		IOCTL(KVM_X86_SETUP_MCE, buffer),
		IOCTL(KVM_X86_SET_MCE, buffer),
		IOCTL(KVM_KVMCLOCK_CTRL, NULL),
		IOCTL(KVM_ENABLE_CAP, buffer),
		IOCTL(KVM_HAS_DEVICE_ATTR, buffer),
		IOCTL(KVM_GET_DEVICE_ATTR, buffer),
		IOCTL(KVM_SET_DEVICE_ATTR, buffer),
		IOCTL(KVM_GET_ONE_REG, buffer),
		IOCTL(KVM_SET_ONE_REG, buffer),
		IOCTL(KVM_GET_REG_LIST, buffer),
		IOCTL(KVM_GET_SUPPORTED_HV_CPUID, buffer),
		IOCTL(KVM_XEN_VCPU_GET_ATTR, buffer),
		IOCTL(KVM_XEN_VCPU_SET_ATTR, buffer),
		IOCTL(KVM_INTERRUPT, buffer),
		IOCTL(KVM_SMI, NULL),
		IOCTL(KVM_NMI, NULL),
		IOCTL(KVM_PRE_FAULT_MEMORY, &range),
	};
	int i;

	for (i = 0; i < ARRAY_SIZE(rejected); i++) {
		EXPECT_EQ(EIO, do_ioctl(vcpu->fd, rejected[i].cmd,
					rejected[i].arg))
			TH_LOG("%s", rejected[i].name);
	}

	EXPECT_EQ(EIO, __tdx_vcpu_ioctl(vcpu, KVM_TDX_INIT_VCPU, 0, NULL, NULL));
	EXPECT_EQ(EIO, __tdx_vcpu_ioctl(vcpu, KVM_TDX_INIT_MEM_REGION, 0,
					buffer, NULL));
	EXPECT_EQ(EIO, __tdx_vcpu_ioctl(vcpu, KVM_TDX_GET_CPUID, 0, buffer,
					NULL));
}

TEST_F(terminated, memory_slots)
{
	/* Neither create, nor move. */
	EXPECT_EQ(EIO, set_slot(self, SHARED_SLOT + 1, OTHER_GPA, SZ_64K));
	EXPECT_EQ(EIO, set_slot(self, SHARED_SLOT, OTHER_GPA, SZ_64K));

	EXPECT_EQ(0, set_slot(self, SHARED_SLOT, 0, 0));
	EXPECT_EQ(EIO, set_slot(self, SHARED_SLOT, SHARED_GPA, SZ_64K));
	/* Gone is gone. */
	EXPECT_EQ(EINVAL, set_slot(self, SHARED_SLOT, 0, 0));
}

TEST_F(terminated, private_memory_slot)
{
	if (variant->state == BLOCKED)
		SKIP(return, "It would be lost");

	EXPECT_EQ(0, set_slot(self, TDX_MEMSLOT, 0, 0));
}

TEST_F(terminated, memory_attributes)
{
	u64 gpa = self->td->gpa;

	if (variant->state == BLOCKED)
		SKIP(return, "Private memory would be lost");

	EXPECT_EQ(0, set_attributes(self, gpa, SZ_64K, 0));
	EXPECT_EQ(0, set_attributes(self, gpa, SZ_64K,
				    KVM_MEMORY_ATTRIBUTE_PRIVATE));
	EXPECT_EQ(0, set_attributes(self, gpa, TD_SIZE, 0));
}

TEST_F(terminated, irqfd)
{
	EXPECT_EQ(EIO, set_irqfd(self, 0));
	EXPECT_EQ(0, set_irqfd(self, KVM_IRQFD_FLAG_DEASSIGN));
}

TEST_F(terminated, ioeventfd)
{
	EXPECT_EQ(EIO, set_ioeventfd(self, 0));
	EXPECT_EQ(0, set_ioeventfd(self, KVM_IOEVENTFD_FLAG_DEASSIGN));
	EXPECT_EQ(ENOENT, set_ioeventfd(self, KVM_IOEVENTFD_FLAG_DEASSIGN));
}

TEST_F(terminated, vfio_device)
{
	struct kvm_device_attr attr = {
		.group = KVM_DEV_VFIO_FILE,
		.attr = KVM_DEV_VFIO_FILE_DEL,
	};

	if (self->vfio_fd < 0)
		SKIP(return, "KVM has no VFIO device");

	EXPECT_EQ(EIO, set_vfio_file(self, KVM_DEV_VFIO_FILE_ADD));
	EXPECT_EQ(ENOENT, set_vfio_file(self, KVM_DEV_VFIO_FILE_DEL));
	EXPECT_EQ(EIO, do_ioctl(self->vfio_fd, KVM_HAS_DEVICE_ATTR, &attr));
	EXPECT_EQ(EIO, do_ioctl(self->vfio_fd, KVM_GET_DEVICE_ATTR, &attr));
}

/* A dead VM of another type, whose vCPU can't enter SMM, accepts nothing. */
TEST(other_type)
{
	struct kvm_userspace_memory_region2 slot = { .slot = SHARED_SLOT };
	struct kvm_clock_data clock;
	struct kvm_vcpu *vcpu;
	struct kvm_vm *vm;

	if (!kvm_has_cap(KVM_CAP_X86_SMM))
		SKIP(return, "KVM has no SMM");

	vm = vm_create_barebones();
	vcpu = __vm_vcpu_add(vm, 0);
	EXPECT_EQ(0, do_ioctl(vm->fd, KVM_GET_CLOCK, &clock));

	/* There is no memory to save its state to. */
	EXPECT_EQ(0, do_ioctl(vcpu->fd, KVM_SMI, NULL));
	EXPECT_EQ(EIO, do_ioctl(vcpu->fd, KVM_RUN, NULL));

	EXPECT_EQ(EIO, do_ioctl(vm->fd, KVM_GET_CLOCK, &clock));
	EXPECT_EQ(EIO, do_ioctl(vm->fd, KVM_GET_STATS_FD, NULL));
	EXPECT_EQ(EIO, do_ioctl(vm->fd, KVM_SET_USER_MEMORY_REGION2, &slot));
	EXPECT_EQ(EIO, do_ioctl(vcpu->fd, KVM_GET_STATS_FD, NULL));
	kvm_vm_free(vm);
}

int main(int argc, char *argv[])
{
	tdx_take_help(argc, argv,
		      "Test what the ioctls of a TD do once the TD is dead.\n");
	tdx_require_terminate();
	if (tdx_host_is_model())
		tdx_host_clear_faults();

	return test_harness_run(argc, argv);
}
