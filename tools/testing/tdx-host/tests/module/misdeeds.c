// SPDX-License-Identifier: GPL-2.0-only
/*
 * misdeeds do=WHAT: do on CPUs 0 and 1, where TDX holds VMX or nobody uses SVM,
 * what no correct kernel does, for the host to report it. Then reset the machine
 * (not for "kexec"), or fail with -ENODEV if the counters of the host do not say
 * that it did.
 */
#include <linux/delay.h>
#include <linux/io.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/percpu.h>
#include <linux/smp.h>

#include <asm/apicdef.h>
#include <asm/fixmap.h>
#include <asm/msr.h>
#include <asm/mwait.h>
#include <asm/special_insns.h>
#include <asm/tlbflush.h>

#include "x86/tdx_host_model.h"

static char *do_what = "";
module_param_named(do, do_what, charp, 0);

/* Address of cache_state_incoherent, from /proc/kallsyms. */
static ulong incoherent;
module_param(incoherent, ulong, 0);

static u64 vmcs_pa, root_pa;
static int stage;

static u64 reports(unsigned int kind)
{
	u32 eax = TDX_HOST_CPUID_CMD, ebx = TDX_HOST_REPORTS + kind;
	u32 ecx = TDX_HOST_READ, edx = 0;

	asm volatile("cpuid" : "+a" (eax), "+b" (ebx), "+c" (ecx), "+d" (edx));
	return (u64)ecx << 32 | ebx;
}

static int expect(unsigned int kind, u64 count)
{
	u64 seen = reports(kind);

	pr_info("misdeeds: %llu report(s) of kind %u, expected %llu\n", seen, kind, count);
	return seen == count ? 0 : -ENODEV;
}

static u64 alloc_vmcs(void)
{
	u32 *vmcs = (u32 *)get_zeroed_page(GFP_KERNEL);

	if (!vmcs)
		return 0;
	vmcs[0] = (u32)native_rdmsrq(MSR_IA32_VMX_BASIC) & 0x7fffffff;
	return __pa(vmcs);
}

static void vmptrld(void *unused)
{
	asm volatile("vmptrld %0" : : "m" (vmcs_pa) : "cc", "memory");
}

static void vmclear(void *unused)
{
	asm volatile("vmclear %0" : : "m" (vmcs_pa) : "cc", "memory");
}

static void vmxoff_vmxon(void *unused)
{
	asm volatile("vmxoff" : : : "cc", "memory");
	asm volatile("vmxon %0" : : "m" (root_pa) : "cc", "memory");
}

/* A leaf that does not exist, behind the back of the kernel. */
static void seamcall(void *unused)
{
	u64 rax = 0xff;

	asm volatile(".byte 0x66, 0x0f, 0x01, 0xcf" : "+a" (rax)
		     : : "cc", "memory", "rcx", "rdx", "r8", "r9", "r10", "r11");
}

static void send_init(int cpu)
{
	u32 icr = APIC_DM_INIT | APIC_INT_ASSERT;
	u32 dest = per_cpu(x86_cpu_to_apicid, cpu);
	void __iomem *apic = (void __iomem *)APIC_BASE;

	if (native_rdmsrq(MSR_IA32_APICBASE) & X2APIC_ENABLE) {
		native_wrmsrq(APIC_BASE_MSR + (APIC_ICR >> 4), (u64)dest << 32 | icr);
		return;
	}
	writel(dest << 24, apic + APIC_ICR2);
	writel(icr, apic + APIC_ICR);
}

static void reach(int n)
{
	smp_store_release(&stage, n);
}

static void await(int n)
{
	while (smp_load_acquire(&stage) < n)
		cpu_relax();
}

/* Sleep until the other CPU writes to stage. */
static void park(void *unused)
{
	while (!READ_ONCE(stage)) {
		__monitor(&stage, 0, 0);
		if (!READ_ONCE(stage))
			__mwait(0, 0);
	}
}

static void park_for_good(void *unused)
{
	reach(2);
	for (;;)
		native_halt();
}

static void wait_for_init_in_vmx(void *unused)
{
	wbinvd();
	reach(1);
	await(2);
	/* Unblocks INIT. */
	asm volatile("vmxoff" : : : "cc", "memory");
	for (;;)
		cpu_relax();
}

static void wait_for_init_in_svm(void *stgi)
{
	u64 efer = native_rdmsrq(MSR_EFER);

	native_wrmsrq(MSR_EFER, efer | EFER_SVME);
	asm volatile("clgi" : : : "memory");
	reach(1);
	await(2);
	if (stgi)
		asm volatile("stgi" : : : "memory");
	native_wrmsrq(MSR_EFER, efer);
	reach(3);
	for (;;)
		cpu_relax();
}

static void forget_seamcalls(void *unused)
{
	seamcall(NULL);
	*(bool *)(incoherent + per_cpu_offset(smp_processor_id())) = false;
}

static void reset(void)
{
	outb(0x2, 0xcf9);
	outb(0x6, 0xcf9);
	for (;;)
		cpu_relax();
}

static int __init misdeeds_init(void)
{
	int r = 0;

	if (!strcmp(do_what, "vmcs")) {
		vmcs_pa = alloc_vmcs();
		root_pa = alloc_vmcs();
		r |= smp_call_function_single(0, vmptrld, NULL, 1);
		r |= smp_call_function_single(1, vmptrld, NULL, 1);
		r |= expect(TDX_HOST_REPORT_VMCS_ON_TWO_CPUS, 1);
		r |= smp_call_function_single(1, vmxoff_vmxon, NULL, 1);
		r |= expect(TDX_HOST_REPORT_VMXOFF_ACTIVE_VMCS, 1);
		r |= smp_call_function_single(1, vmclear, NULL, 1);
		r |= smp_call_function_single(0, vmclear, NULL, 1);
		r |= smp_call_function_single(0, vmptrld, NULL, 1);
		r |= smp_call_function_single(1, vmxoff_vmxon, NULL, 1);
		r |= expect(TDX_HOST_REPORT_VMXOFF_ACTIVE_VMCS, 1);
		r |= expect(TDX_HOST_REPORT_VMCS_ON_TWO_CPUS, 1);
	} else if (!strcmp(do_what, "park")) {
		smp_call_function_single(1, seamcall, NULL, 1);
		smp_call_function_single(1, park, NULL, 0);
		mdelay(20);
		r |= expect(TDX_HOST_REPORT_PARKED_UNFLUSHED, 1);
		reach(1);
		mdelay(20);
		smp_call_function_single(1, seamcall, NULL, 1);
		smp_call_function_single(1, park_for_good, NULL, 0);
		await(2);
		mdelay(20);
		r |= expect(TDX_HOST_REPORT_PARKED_UNFLUSHED, 2);
	} else if (!strcmp(do_what, "init")) {
		smp_call_function_single(1, wait_for_init_in_vmx, NULL, 0);
		await(1);
		send_init(1);
		r |= expect(TDX_HOST_REPORT_BLOCKED_INIT, 1);
		reach(2);
		mdelay(20);
	} else if (!strcmp(do_what, "gif") || !strcmp(do_what, "stgi")) {
		smp_call_function_single(1, wait_for_init_in_svm,
					 do_what[0] == 's' ? do_what : NULL, 0);
		await(1);
		send_init(1);
		r |= expect(TDX_HOST_REPORT_BLOCKED_INIT, 1);
		reach(2);
		if (do_what[0] == 'g') {
			await(3);
			r |= expect(TDX_HOST_REPORT_SVME_OFF_GIF_0, 1);
		} else {
			mdelay(20);
			r |= stage == 2 ? 0 : -EIO;
		}
	} else if (!strcmp(do_what, "kexec")) {
		on_each_cpu(forget_seamcalls, NULL, 1);
		return 0;
	} else {
		return -EINVAL;
	}
	if (!r)
		reset();
	return r;
}
module_init(misdeeds_init);

MODULE_DESCRIPTION("Misuse of VMX and SVM, for the emulated host to report");
MODULE_LICENSE("GPL");
