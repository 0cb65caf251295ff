// SPDX-License-Identifier: GPL-2.0-only
/*
 * misdeeds do=WHAT: do on CPUs 0 and 1, where TDX holds VMX or nobody uses SVM,
 * what no correct kernel does, for the host to report it; "watch": hold locks, for
 * it to time them; or "reset": nothing, for it to report CPUs with VMX on. Then
 * reset the machine (not for "kexec"), or fail with -ENODEV if the counters of the
 * host do not say that it did.
 *
 * misdeeds do=late known=ADDRESS: make CPU 1, which is offline, one that the TDX module
 * doesn't know, as far as the kernel can tell, and fail with -ECANCELED.
 *
 * misdeeds do=deaf: have CPU 1 keep IRQs disabled from the first syscore callback of
 * a reboot on, which the host does not report.
 *
 * misdeeds do=mce dump=ADDRESS: have tdx_dump_mce_info() look at a memory error, as a
 * fatal machine check does, and fail with -ECANCELED if it has no message for that.
 */
#include <linux/delay.h>
#include <linux/io.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/percpu.h>
#include <linux/sizes.h>
#include <linux/smp.h>
#include <linux/syscore_ops.h>

#include <asm/apicdef.h>
#include <asm/fixmap.h>
#include <asm/mce.h>
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

/* Address of tdx_dump_mce_info(), from there as well. */
static ulong dump;
module_param(dump, ulong, 0);

/* Address of tdx_lp_initialized, from System.map. */
static ulong known;
module_param(known, ulong, 0);

#define TDH_PHYMEM_PAGE_RDMD	24
#define PT_REG			3
#define PT_EPT			8

static u64 vmcs_pa, root_pa;
static int stage;

static u64 command(u64 number, u64 rbx, u64 rdx, u64 rsi)
{
	u64 rax = TDX_HOST_CPUID_CMD;

	asm volatile("cpuid" : "+a" (rax), "+b" (rbx), "+c" (number), "+d" (rdx) : "S" (rsi));
	return rax ? ~0ull : number << 32 | (u32)rbx;
}

static int expect(unsigned int kind, u64 count)
{
	u64 seen = command(TDX_HOST_READ, TDX_HOST_REPORTS + kind, 0, 0);

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

static void be_deaf(void *unused)
{
	reach(1);
	for (;;)
		cpu_relax();
}

static void deafen(void)
{
	smp_call_function_single(1, be_deaf, NULL, 0);
	await(1);
}

static struct syscore_ops deafen_ops = {
	.shutdown = deafen,
};

static void forget_seamcalls(void *unused)
{
	seamcall(NULL);
	*(bool *)(incoherent + per_cpu_offset(smp_processor_id())) = false;
}

/* A page of a TD, of which the host and the TDX module say the same. */
static u64 *td_page(u8 pt)
{
	u64 pa, owner, rax, rcx, rdx;

	for (pa = 0; pa < SZ_2G; pa += PAGE_SIZE) {
		owner = command(TDX_HOST_OWNER, pa, 0, 0);
		if ((u8)owner != pt)
			continue;

		rax = TDH_PHYMEM_PAGE_RDMD;
		rcx = pa;
		asm volatile(".byte 0x66, 0x0f, 0x01, 0xcf"
			     : "+a" (rax), "+c" (rcx), "=d" (rdx)
			     : : "cc", "memory", "r8", "r9", "r10", "r11");
		pr_info("misdeeds: page 0x%llx, owner 0x%llx, by the module: %llu of 0x%llx\n",
			pa, owner, rcx, rdx);
		if (rax || rcx != pt || !rdx || rdx != (owner & GENMASK_ULL(51, 12)))
			return NULL;
		return __va(pa);
	}
	return NULL;
}

static int trespass(void)
{
	static u64 line[8] __aligned(64) = { 2 };
	u64 *page = td_page(PT_REG), *table = td_page(PT_EPT);
	int r = 0;

	if (!page || !table)
		return -ENXIO;
	r |= READ_ONCE(*page) == 0 ? 0 : -EIO;
	r |= expect(TDX_HOST_REPORT_OWNED_LOAD, 1);
	WRITE_ONCE(*page, 1);
	r |= expect(TDX_HOST_REPORT_OWNED_STORE, 1);
	if (!boot_cpu_has_bug(X86_BUG_TDX_PW_MCE))
		r |= READ_ONCE(*page) == 1 ? 0 : -EIO;

	/* The line is the host's now, and the next one is not. */
	movdir64b(page, line);
	mb();
	r |= READ_ONCE(*page) == 2 ? 0 : -EIO;
	r |= READ_ONCE(page[8]) == 0 ? 0 : -EIO;
	r |= expect(TDX_HOST_REPORT_OWNED_STORE, 1);

	free_page((unsigned long)table);
	r |= expect(TDX_HOST_REPORT_OWNED_STORE, 2);
	r |= expect(TDX_HOST_REPORT_POISON_LOAD, 0);
	return r;
}

static int poison(void)
{
	u64 *page = td_page(PT_REG);

	if (!page)
		return -ENXIO;
	WRITE_ONCE(*page, 1);
	pr_info("misdeeds: still alive\n");
	/* The machine check is fatal. */
	READ_ONCE(*page);
	return -ENODEV;
}

static int mce(void)
{
	const char *(*dump_mce_info)(struct mce *m) = (void *)dump;
	struct mce m = {
		.cpuvendor = X86_VENDOR_INTEL,
		/* Read by the memory controller, an address of a line. */
		.status = MCI_STATUS_VAL | MCI_STATUS_UC | MCI_STATUS_MISCV |
			  MCI_STATUS_ADDRV | BIT(7),
		.misc = MCI_MISC_ADDR_PHYS << 6 | 6,
		.addr = SZ_16M,
	};
	const char *message;

	if (!dump || !mce_is_memory_error(&m) || !mce_usable_address(&m))
		return -ENXIO;
	local_irq_disable();
	message = dump_mce_info(&m);
	local_irq_enable();
	pr_info("misdeeds: %s\n", message ?: "no message");
	return message ? 0 : -ECANCELED;
}

static int late(void)
{
	bool *flag = (bool *)(known + per_cpu_offset(1));

	if (!known || cpu_online(1) || !*flag)
		return -ENXIO;
	*flag = false;
	pr_info("misdeeds: CPU 1 is late\n");
	return -ECANCELED;
}

static void hold_lock(u64 ticks)
{
	static DEFINE_RWLOCK(lock);
	u64 start;

	local_irq_disable();
	write_lock(&lock);
	start = rdtsc();
	while (rdtsc() - start < ticks)
		cpu_relax();
	write_unlock(&lock);
	local_irq_enable();
}

static int expect_watch(unsigned int what, u64 min, u64 max)
{
	u64 seen = command(TDX_HOST_READ, what + 4, 0, 0);

	pr_info("misdeeds: watch has 0x%x: %llu, expected %llu to %llu\n", what, seen, min, max);
	return seen >= min && seen <= max ? 0 : -ENODEV;
}

static int watch(void)
{
	u64 here = _THIS_IP_, from = here - SZ_64K, to = here + SZ_64K;
	int r = 0;

	/* Slot 1; no lock without a function, none of other callers. */
	r |= command(TDX_HOST_WATCH_LOCK, 1, from, to) == ~0ull ? 0 : -EIO;
	r |= command(TDX_HOST_WATCH, 1, (u64)_raw_write_lock, 0) ? -EIO : 0;
	r |= command(TDX_HOST_WATCH_LOCK, 1, to, to + SZ_64K) ? -EIO : 0;
	hold_lock(1000);
	r |= expect_watch(TDX_HOST_WATCH_CALLS, 0, 0);
	r |= expect_watch(TDX_HOST_WATCH_LAST, 0, 0);

	r |= command(TDX_HOST_WATCH_LOCK, 1, from, to) ? -EIO : 0;
	r |= command(TDX_HOST_TRACE, BIT(1), 0, 0) ? -EIO : 0;
	hold_lock(100000);
	hold_lock(20000);
	r |= expect_watch(TDX_HOST_WATCH_CALLS, 2, 2);
	r |= expect_watch(TDX_HOST_WATCH_TICKS, 120000, 120500);
	r |= expect_watch(TDX_HOST_WATCH_LONGEST, 100000, 100300);
	r |= command(TDX_HOST_READ, TDX_HOST_WATCH_LAST + 4, 0, 0) -
	     command(TDX_HOST_READ, TDX_HOST_WATCH_FIRST + 4, 0, 0) >= 120000 ? 0 : -EIO;
	return r;
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
	} else if (!strcmp(do_what, "owned")) {
		r = trespass();
	} else if (!strcmp(do_what, "watch")) {
		r = watch();
	} else if (!strcmp(do_what, "poison")) {
		r = poison();
	} else if (!strcmp(do_what, "mce")) {
		return mce();
	} else if (!strcmp(do_what, "late")) {
		return late();
	} else if (!strcmp(do_what, "deaf")) {
		register_syscore_ops(&deafen_ops);
		return 0;
	} else if (!strcmp(do_what, "kexec")) {
		on_each_cpu(forget_seamcalls, NULL, 1);
		return 0;
	} else if (strcmp(do_what, "reset")) {
		return -EINVAL;
	}
	if (!r)
		reset();
	return r;
}
module_init(misdeeds_init);

MODULE_DESCRIPTION("Misuse of VMX and SVM, for the emulated host to report");
MODULE_LICENSE("GPL");
