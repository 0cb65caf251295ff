// SPDX-License-Identifier: GPL-2.0-only
/*
 * Which x2APIC registers of a TD KVM emulates: those for which the guest needs it.
 * All others the CPU virtualizes, in an APIC page that KVM can't access.
 */
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/time.h>

#include <linux/sizes.h>

#include "apic.h"
#include "kselftest_harness.h"
#include "kvm_util.h"
#include "processor.h"
#include "tdx_host.h"
#include "tdx_util.h"

#define TD_SIZE			SZ_64K

#define NR_X2APIC_MSRS		0x100
#define X2APIC_MSR(reg)		(APIC_BASE_MSR + ((reg) >> 4))

/* What the guest gets from the CPU, without a #VE. */
static bool is_virtualized(u32 msr)
{
	switch (msr) {
	case X2APIC_MSR(0x080):				/* TPR */
	case X2APIC_MSR(0x0a0):				/* PPR */
	case X2APIC_MSR(0x0b0):				/* EOI */
	case X2APIC_MSR(0x100) ... X2APIC_MSR(0x170):	/* ISR */
	case X2APIC_MSR(0x180) ... X2APIC_MSR(0x1f0):	/* TMR */
	case X2APIC_MSR(0x200) ... X2APIC_MSR(0x270):	/* IRR */
	case X2APIC_MSR(0x3f0):				/* SELF_IPI */
		return true;
	default:
		return false;
	}
}

/* KVM can't do without these, and they can be read. */
static bool is_emulated(u32 msr)
{
	switch (msr) {
	case X2APIC_MSR(0x020):				/* ID */
	case X2APIC_MSR(0x030):				/* version */
	case X2APIC_MSR(0x0d0):				/* LDR */
	case X2APIC_MSR(0x0f0):				/* SPIV */
	case X2APIC_MSR(0x280):				/* ESR */
	case X2APIC_MSR(0x300):				/* ICR */
	case X2APIC_MSR(0x320) ... X2APIC_MSR(0x390):	/* LVT, timer */
	case X2APIC_MSR(0x3e0):				/* TDCR */
		return true;
	default:
		return false;
	}
}

/* Returns 1 if the MSR was read or written, 0 if it could not be. */
static int access_msr(struct kvm_vcpu *vcpu, unsigned long cmd, u32 msr, u64 data)
{
	struct {
		struct kvm_msrs header;
		struct kvm_msr_entry entry;
	} msrs = {
		.header.nmsrs = 1,
		.entry = { .index = msr, .data = data },
	};

	return ioctl(vcpu->fd, cmd, &msrs);
}

FIXTURE(td) {
	struct tdx_td *td;
	struct kvm_vcpu *vcpu;
};

FIXTURE_SETUP(td)
{
	self->td = tdx_td_create(1, TD_SIZE, TD_SIZE);
	tdx_td_finalize(self->td);
	self->vcpu = self->td->vcpus[0];
}

FIXTURE_TEARDOWN(td)
{
	tdx_td_free(self->td);
}

TEST_F(td, get_msrs)
{
	u32 msr;

	for (msr = APIC_BASE_MSR; msr < APIC_BASE_MSR + NR_X2APIC_MSRS; msr++) {
		int r = access_msr(self->vcpu, KVM_GET_MSRS, msr, 0);

		if (is_virtualized(msr))
			EXPECT_EQ(0, r) TH_LOG("MSR 0x%x is the guest's", msr);
		if (is_emulated(msr))
			EXPECT_EQ(1, r) TH_LOG("MSR 0x%x is KVM's", msr);
	}
}

TEST_F(td, set_msrs)
{
	u32 msr;

	for (msr = APIC_BASE_MSR; msr < APIC_BASE_MSR + NR_X2APIC_MSRS; msr++) {
		if (is_virtualized(msr))
			EXPECT_EQ(0, access_msr(self->vcpu, KVM_SET_MSRS, msr, 0x20))
				TH_LOG("MSR 0x%x is the guest's", msr);
	}

	EXPECT_EQ(1, access_msr(self->vcpu, KVM_SET_MSRS, X2APIC_MSR(APIC_TMICT), 0));
}

static void sigalrm_handler(int sig)
{
}

/*
 * Run a vCPU, and stop it after a while.  Returns true if it has left KVM_RUN of
 * its own accord before.
 */
static bool run_for_a_while(struct kvm_vcpu *vcpu)
{
	const struct itimerval on = {
		.it_value.tv_usec = 20000,
		.it_interval.tv_usec = 20000,
	}, off = { };
	int r, run_errno;

	setitimer(ITIMER_REAL, &on, NULL);
	r = __vcpu_run(vcpu);
	run_errno = errno;
	setitimer(ITIMER_REAL, &off, NULL);

	TEST_ASSERT(!r || run_errno == EINTR, "KVM_RUN: %s", strerror(run_errno));
	return !r;
}

/*
 * The same for a guest that asks KVM, though there is no #VE.  KVM_RUN returns if
 * KVM can't read the MSR; else the model of the TDX module asks again at once.
 */
TEST_F(td, tdvmcall_rdmsr)
{
	const struct sigaction sigalrm = { .sa_handler = sigalrm_handler };
	struct kvm_run *run = self->vcpu->run;
	u32 msr;

	if (!tdx_host_is_model())
		SKIP(return, "Only an emulated TDX host can make the guest ask");

	ASSERT_EQ(0, sigaction(SIGALRM, &sigalrm, NULL));
	vm_enable_cap(self->td->vm, KVM_CAP_X86_USER_SPACE_MSR,
		      KVM_MSR_EXIT_REASON_INVAL | KVM_MSR_EXIT_REASON_UNKNOWN);

	for (msr = APIC_BASE_MSR; msr < APIC_BASE_MSR + NR_X2APIC_MSRS; msr++) {
		bool left;

		if (!is_virtualized(msr) && !is_emulated(msr))
			continue;

		tdx_host_script_rdmsr(msr);
		left = run_for_a_while(self->vcpu);
		EXPECT_EQ(is_virtualized(msr), left) TH_LOG("MSR 0x%x", msr);
		if (left) {
			EXPECT_EQ(KVM_EXIT_X86_RDMSR, run->exit_reason);
			EXPECT_EQ(msr, run->msr.index);
			run->msr.error = 1;
		}
	}

	tdx_host_script_io();
}

int main(int argc, char *argv[])
{
	tdx_take_help(argc, argv, "Test which x2APIC MSRs of a TD KVM emulates.\n");
	tdx_require();

	return test_harness_run(argc, argv);
}
