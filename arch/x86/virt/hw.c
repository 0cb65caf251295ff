// SPDX-License-Identifier: GPL-2.0-only
/*
 * Hardware virtualization (VMX and SVM) as a service of the kernel.
 */
#define pr_fmt(fmt)	"virt: " fmt

#include <linux/atomic.h>
#include <linux/bug.h>
#include <linux/cc_platform.h>
#include <linux/cleanup.h>
#include <linux/compiler.h>
#include <linux/cpufeature.h>
#include <linux/cpumask.h>
#include <linux/delay.h>
#include <linux/errno.h>
#include <linux/gfp.h>
#include <linux/init.h>
#include <linux/irqflags.h>
#include <linux/kvm_types.h>
#include <linux/lockdep.h>
#include <linux/mm.h>
#include <linux/percpu.h>
#include <linux/preempt.h>
#include <linux/printk.h>
#include <linux/rcupdate.h>
#include <linux/smp.h>
#include <linux/syscore_ops.h>
#include <linux/tboot.h>
#include <linux/topology.h>

#include <asm/msr.h>
#include <asm/page.h>
#include <asm/perf_event.h>
#include <asm/tdx.h>
#include <asm/tlbflush.h>
#include <asm/virt.h>
#include <asm/vmx.h>

#include "insns.h"

/*
 * Set when the system goes down.  Virtualization may be disabled at any time
 * from then on, so faults on VMX and SVM instructions are ignored.  Never
 * cleared.
 *
 * Also accessed by assembly code, as a byte.
 */
__visible bool virt_rebooting;
EXPORT_SYMBOL_FOR_KVM(virt_rebooting);

/**
 * struct x86_virt_ops - A flavor of hardware virtualization
 * @feature:	The X86_FEATURE_* flag of the flavor.
 * @enable_virtualization_cpu: Enable virtualization on this CPU, where it is
 *		disabled. Returns 0 or an error, in which case the CPU's state is
 *		unchanged.
 * @disable_virtualization_cpu: Disable virtualization on this CPU. Returns -EIO
 *		if the CPU refuses, i.e. virtualization stays enabled.  After any
 *		other error, e.g. because VMX was disabled already, it is disabled.
 * @emergency_disable_virtualization_cpu: Disable virtualization on this CPU, if
 *		it is enabled. May be called in NMI context, i.e. may interrupt the
 *		others.
 * @is_enabled_cpu: Tell whether this CPU has virtualization enabled, no matter by
 *		whom. May be called in any context.
 *
 * All of them but the last are called with IRQs disabled.
 */
struct x86_virt_ops {
	int	feature;
	int	(*enable_virtualization_cpu)(void);
	int	(*disable_virtualization_cpu)(void);
	void	(*emergency_disable_virtualization_cpu)(void);
	bool	(*is_enabled_cpu)(void);
};

/* NULL if there is nothing to enable. */
static const struct x86_virt_ops *virt_ops __ro_after_init;

/* Non-zero from before the CPU enables virtualization until it has disabled it. */
static DEFINE_PER_CPU(int, virtualization_nr_users);

#if IS_ENABLED(CONFIG_KVM_INTEL)
/* The VMXON regions.  Allocated during boot, never freed. */
static DEFINE_PER_CPU(struct vmcs *, root_vmcs);

static __init void x86_vmx_exit(void)
{
	int cpu;

	for_each_possible_cpu(cpu) {
		free_page((unsigned long)per_cpu(root_vmcs, cpu));
		per_cpu(root_vmcs, cpu) = NULL;
	}
}

static __init int x86_vmx_alloc_root_vmcses(void)
{
	u64 basic;
	int cpu;

	if (rdmsrq_safe(MSR_IA32_VMX_BASIC, &basic))
		return -EIO;

	/* The SDM guarantees that a VMCS isn't larger than 4 KiB. */
	if (vmx_basic_vmcs_size(basic) > PAGE_SIZE)
		return -EIO;

	for_each_possible_cpu(cpu) {
		struct vmcs *vmcs;
		struct page *page;

		page = alloc_pages_node(cpu_to_node(cpu), GFP_KERNEL | __GFP_ZERO, 0);
		if (!page) {
			x86_vmx_exit();
			return -ENOMEM;
		}

		/*
		 * VMXON wants the revision that the CPU reports, also when
		 * running on Hyper-V with enlightened VMCSes, which have a
		 * revision of their own.
		 */
		vmcs = page_address(page);
		vmcs->hdr.revision_id = vmx_basic_vmcs_revision_id(basic);
		per_cpu(root_vmcs, cpu) = vmcs;
	}

	return 0;
}

static int x86_vmx_enable_virtualization_cpu(void)
{
	u64 msr;
	int r;

	/* Cleared by FEAT_CTL initialization, CPU by CPU. */
	if (!this_cpu_has(X86_FEATURE_VMX))
		return -EOPNOTSUPP;

	/* Somebody else, e.g. an out-of-tree hypervisor, is using VMX. */
	if (cr4_read_shadow() & X86_CR4_VMXE)
		return -EBUSY;

	intel_pt_handle_vmx(1);

	cr4_set_bits(X86_CR4_VMXE);

	r = __vmxon(__pa(__this_cpu_read(root_vmcs)));
	if (r) {
		WARN_ONCE(1, "VMXON failed, MSR_IA32_FEAT_CTL (0x3a) = 0x%llx\n",
			  rdmsrq_safe(MSR_IA32_FEAT_CTL, &msr) ? 0xdeadbeef : msr);

		cr4_clear_bits(X86_CR4_VMXE);
		intel_pt_handle_vmx(0);
	}

	return r;
}

/*
 * Leave VMX operation and clear CR4.VMXE, even if VMXOFF faults.
 *
 * VMXOFF faults if the CPU isn't in VMX operation, which can't be tracked
 * atomically, e.g. with regard to NMIs.  The other reasons for a fault have to
 * do with the CPU's mode, i.e. don't exist in the kernel.
 *
 * VMXOFF fails without a fault if an SMM monitor is active.  The CPU stays in
 * VMX operation, where clearing CR4.VMXE faults.
 */
static int x86_vmxoff(void)
{
	int r = __vmxoff();

	if (r != -EIO)
		cr4_clear_bits(X86_CR4_VMXE);

	return r;
}

static int x86_vmx_disable_virtualization_cpu(void)
{
	int r = x86_vmxoff();

	if (r == -EIO)
		return r;

	intel_pt_handle_vmx(0);

	/*
	 * A CPU that goes offline executes WBINVD when it parks itself, don't do
	 * that twice.  tboot parks CPUs on its own.
	 */
	if (!cpu_dying(smp_processor_id()) || tboot_enabled())
		tdx_cpu_flush_cache_for_kexec();

	return r;
}

static bool x86_vmx_is_enabled_cpu(void)
{
	/*
	 * Read the register: its shadow may be wrong in an NMI that comes in the
	 * middle of an update.
	 */
	return __read_cr4() & X86_CR4_VMXE;
}

static void x86_vmx_emergency_disable_virtualization_cpu(void)
{
	/*
	 * CR4.VMXE may be set while the CPU isn't in VMX operation, in which
	 * case VMXOFF faults.
	 */
	if (!x86_vmx_is_enabled_cpu())
		return;

	/*
	 * Leave Intel PT alone: resuming a trace touches perf's state, which an
	 * NMI may have interrupted in the middle of an update, for the benefit
	 * of a CPU that is about to stop.
	 */
	x86_vmxoff();
}

static const struct x86_virt_ops x86_vmx_ops = {
	.feature = X86_FEATURE_VMX,
	.enable_virtualization_cpu = x86_vmx_enable_virtualization_cpu,
	.disable_virtualization_cpu = x86_vmx_disable_virtualization_cpu,
	.emergency_disable_virtualization_cpu = x86_vmx_emergency_disable_virtualization_cpu,
	.is_enabled_cpu = x86_vmx_is_enabled_cpu,
};

static __init void x86_vmx_init(void)
{
	int r;

	if (!boot_cpu_has(X86_FEATURE_VMX))
		return;

	r = x86_vmx_alloc_root_vmcses();
	if (r) {
		pr_err("Failed to set up root VMCSes (%d), disabling VMX\n", r);
		setup_clear_cpu_cap(X86_FEATURE_VMX);
		return;
	}

	virt_ops = &x86_vmx_ops;
}
#else
static __init void x86_vmx_init(void) { }
#endif /* CONFIG_KVM_INTEL */

#if IS_ENABLED(CONFIG_KVM_AMD)
static int x86_svm_enable_virtualization_cpu(void)
{
	u64 efer;

	if (!this_cpu_has(X86_FEATURE_SVM))
		return -EOPNOTSUPP;

	rdmsrq(MSR_EFER, efer);

	/* Somebody else, e.g. an out-of-tree hypervisor, is using SVM. */
	if (efer & EFER_SVME)
		return -EBUSY;

	wrmsrq(MSR_EFER, efer | EFER_SVME);
	return 0;
}

static int x86_svm_disable_virtualization_cpu(void)
{
	u64 efer;
	int r;

	/* Not an error: nothing is left to do, and KVM has never complained. */
	rdmsrq(MSR_EFER, efer);
	if (!(efer & EFER_SVME))
		return 0;

	/*
	 * Force GIF=1 prior to disabling SVM, e.g. to ensure INIT and NMI
	 * aren't blocked.  STGI has no reason to fault while EFER.SVME is set.
	 * If it does, e.g. under a hypervisor, disable SVM nevertheless.
	 */
	r = __stgi();

	wrmsrq(MSR_EFER, efer & ~EFER_SVME);

	return r;
}

static bool x86_svm_is_enabled_cpu(void)
{
	u64 efer;

	rdmsrq(MSR_EFER, efer);
	return efer & EFER_SVME;
}

static void x86_svm_emergency_disable_virtualization_cpu(void)
{
	x86_svm_disable_virtualization_cpu();
}

static const struct x86_virt_ops x86_svm_ops = {
	.feature = X86_FEATURE_SVM,
	.enable_virtualization_cpu = x86_svm_enable_virtualization_cpu,
	.disable_virtualization_cpu = x86_svm_disable_virtualization_cpu,
	.emergency_disable_virtualization_cpu = x86_svm_emergency_disable_virtualization_cpu,
	.is_enabled_cpu = x86_svm_is_enabled_cpu,
};

static __init void x86_svm_init(void)
{
	/* SEV guests don't get to use SVM, whatever CPUID says. */
	if (!boot_cpu_has(X86_FEATURE_SVM) ||
	    cc_platform_has(CC_ATTR_GUEST_MEM_ENCRYPT))
		return;

	virt_ops = &x86_svm_ops;
}
#else
static __init void x86_svm_init(void) { }
#endif /* CONFIG_KVM_AMD */

/**
 * x86_virt_get_ref - Enable virtualization on this CPU
 * @feature: X86_FEATURE_VMX or X86_FEATURE_SVM
 *
 * Enable virtualization on the current CPU if it isn't, and keep it enabled
 * until a matching x86_virt_put_ref() on the same CPU, or an emergency.
 *
 * A reference doesn't survive suspend, nor does it keep the CPU from being
 * offlined: users are expected to put and get their references in CPU hotplug
 * and syscore callbacks.
 *
 * Context: Any but NMI, on a CPU that the caller is pinned to, once arch initcalls
 *	    are done: Intel PT must know whether it can trace VMX operation.
 * Return:
 * * 0		- virtualization is enabled.
 * * -EOPNOTSUPP - the machine or this CPU doesn't support @feature.
 * * -EBUSY	- virtualization is enabled, but not by the kernel, or the system is
 *		  going down.
 * * -EFAULT	- VMXON failed.
 */
int x86_virt_get_ref(int feature)
{
	bool first;
	int r = 0;

	if (!virt_ops || virt_ops->feature != feature)
		return -EOPNOTSUPP;

	/*
	 * The count must not be seen before virtualization is enabled, nor may
	 * the IPI of x86_virt_shutdown() come after a look at the flag and before
	 * virtualization is enabled.
	 */
	guard(irqsave)();

	first = __this_cpu_inc_return(virtualization_nr_users) == 1;

	/* Pairs with x86_virt_begin_emergency(). */
	smp_mb();

	if (READ_ONCE(virt_rebooting))
		r = -EBUSY;
	else if (first)
		r = virt_ops->enable_virtualization_cpu();
	if (r)
		__this_cpu_dec(virtualization_nr_users);

	return r;
}
EXPORT_SYMBOL_FOR_KVM_INTERNAL(x86_virt_get_ref);

/**
 * x86_virt_put_ref - Drop a reference taken with x86_virt_get_ref()
 * @feature: X86_FEATURE_VMX or X86_FEATURE_SVM
 *
 * Disable virtualization on the current CPU if this was its last user. All
 * state that the CPU may still write back, e.g. active VMCSes, must have been
 * flushed by its owner.
 *
 * Context: Any but NMI, on a CPU that the caller is pinned to.
 */
void x86_virt_put_ref(int feature)
{
	guard(irqsave)();

	if (WARN_ON_ONCE(!virt_ops || virt_ops->feature != feature) ||
	    WARN_ON_ONCE(!__this_cpu_read(virtualization_nr_users)))
		return;

	/*
	 * If disabling fails then either the CPU refuses, or somebody has
	 * disabled VMX behind the back of all users, which is fine only when
	 * going down.
	 */
	if (__this_cpu_read(virtualization_nr_users) == 1)
		WARN_ON_ONCE(virt_ops->disable_virtualization_cpu() && !virt_rebooting);

	__this_cpu_dec(virtualization_nr_users);
}
EXPORT_SYMBOL_FOR_KVM_INTERNAL(x86_virt_put_ref);

/* RCU-protected callback to prepare for disabling virtualization against the counts. */
static cpu_emergency_virt_cb __rcu *kvm_emergency_callback;

/**
 * x86_virt_register_emergency_callback - Get called when the system goes down
 * @callback: Called on each CPU, before virtualization is disabled there, to
 *	      flush state that the CPU may still write back, e.g. VMCSes.
 *
 * @callback is called with IRQs disabled, while virtualization may be disabled
 * already. virt_rebooting is set.  If its argument is %true, this isn't an
 * emergency: the call doesn't come in NMI context, nor out of a crash.
 *
 * There can be only one callback, which is KVM's.
 *
 * Context: Any.
 */
void x86_virt_register_emergency_callback(cpu_emergency_virt_cb *callback)
{
	if (WARN_ON_ONCE(rcu_access_pointer(kvm_emergency_callback)))
		return;

	rcu_assign_pointer(kvm_emergency_callback, callback);
}
EXPORT_SYMBOL_FOR_MODULES(x86_virt_register_emergency_callback, "kvm");

/**
 * x86_virt_unregister_emergency_callback - Undo registration of the callback
 * @callback: The callback that was registered.
 *
 * @callback isn't running on any CPU anymore when this returns, i.e. the module
 * that it is part of may be unloaded.
 *
 * Context: Task context, may sleep.
 */
void x86_virt_unregister_emergency_callback(cpu_emergency_virt_cb *callback)
{
	if (WARN_ON_ONCE(rcu_access_pointer(kvm_emergency_callback) != callback))
		return;

	rcu_assign_pointer(kvm_emergency_callback, NULL);
	synchronize_rcu();
}
EXPORT_SYMBOL_FOR_MODULES(x86_virt_unregister_emergency_callback, "kvm");

/* Precedes disabling virtualization on this CPU, whatever references are left. */
static void x86_virt_prepare_disable(bool orderly)
{
	cpu_emergency_virt_cb *callback;

	/*
	 * Set the flag before the callback makes use of virtualization, which may
	 * be disabled already.  The order is that of this CPU: each CPU sets the
	 * flag for itself before it disables virtualization.
	 */
	WRITE_ONCE(virt_rebooting, true);

	/*
	 * Unregistering waits for CPUs that have IRQs disabled, provided that RCU
	 * is watching them.  Don't insist on the latter: it would take a crash on
	 * the way to or from idle, while KVM is being unloaded, for the callback
	 * to vanish, and complaining about it wouldn't help.
	 */
	callback = rcu_dereference_raw(kvm_emergency_callback);
	if (callback)
		callback(orderly);
}

/**
 * x86_virt_emergency_disable_virtualization_cpu - Disable VMX or SVM on a CPU that stops
 *
 * Disable virtualization, i.e. VMX or SVM, to ensure INIT is recognized during
 * reboot.  VMX blocks INIT if the CPU is post-VMXON, and SVM blocks INIT if
 * GIF=0, i.e. if the crash occurred between CLGI and STGI.
 *
 * References are ignored, and are still held afterwards.  Users don't take part,
 * except for KVM's callback, if KVM is loaded at all.
 *
 * Context: Any, including NMI. IRQs must be disabled.
 */
void x86_virt_emergency_disable_virtualization_cpu(void)
{
	/*
	 * IRQs must stay disabled until the CPU stops, to guarantee that no
	 * task gets to run on it and to enable virtualization again.
	 */
	lockdep_assert_irqs_disabled();

	if (!virt_ops)
		return;

	x86_virt_prepare_disable(false);
	virt_ops->emergency_disable_virtualization_cpu();
}

static bool x86_virt_is_enabled(void)
{
	int cpu;

	for_each_possible_cpu(cpu) {
		if (READ_ONCE(per_cpu(virtualization_nr_users, cpu)))
			return true;
	}

	return false;
}

/**
 * x86_virt_begin_emergency - Keep CPUs from enabling virtualization anymore
 *
 * Context: Any, on a CPU that the caller is pinned to.
 * Return: %true if at least one CPU may have virtualization enabled.
 */
bool x86_virt_begin_emergency(void)
{
	if (!virt_ops)
		return false;

	virt_rebooting = true;

	/* Pairs with x86_virt_get_ref(): see its count, or let it see the flag. */
	smp_mb();

	/*
	 * A foreign hypervisor holds no reference.  If it uses this CPU, expect
	 * it to use others, too.
	 */
	return x86_virt_is_enabled() || virt_ops->is_enabled_cpu();
}

/* CPUs on which x86_virt_shutdown() has yet to disable virtualization. */
static atomic_t virt_nr_cpus_pending;

/* What a foreign hypervisor has enabled is disabled when the CPU is stopped. */
static void x86_virt_disable_cpu(void)
{
	if (__this_cpu_read(virtualization_nr_users) && virt_ops->is_enabled_cpu())
		virt_ops->disable_virtualization_cpu();
}

static void x86_virt_shutdown_cpu(void *unused)
{
	x86_virt_prepare_disable(true);
	x86_virt_disable_cpu();
	atomic_dec(&virt_nr_cpus_pending);
}

/*
 * Disable virtualization on all CPUs, whatever references are left: on reboot,
 * power-off and kexec.  Nobody stops the other CPUs with reboot=force.
 *
 * Tasks may be running vCPUs until the very end, and load VMCSes whenever they
 * find VMX enabled.  Thus each CPU has VMCSes cleared and VMX disabled in one go.
 * A CPU on which an IRQ-off section gets in first, and enables virtualization, has
 * it disabled after that.
 *
 * A CPU that doesn't answer in time is left to the NMI that stops it.
 */
static void x86_virt_shutdown(void)
{
	/* It takes time to write caches back, on all CPUs at once. */
	int msecs = 3 * MSEC_PER_SEC, nr;

	guard(preempt)();

	WRITE_ONCE(virt_rebooting, true);

	/* Pairs with x86_virt_get_ref(): it sees the flag, or its count is seen. */
	smp_mb();

	if (!x86_virt_is_enabled())
		return;

	atomic_set(&virt_nr_cpus_pending, num_online_cpus() - 1);
	smp_call_function(x86_virt_shutdown_cpu, NULL, 0);

	while ((nr = atomic_read(&virt_nr_cpus_pending)) && msecs--)
		mdelay(1);
	if (nr)
		pr_warn("%d CPUs don't answer, going on without them\n", nr);

	guard(irqsave)();

	x86_virt_prepare_disable(true);

	/*
	 * KVM has stopped on all CPUs, unless some don't answer, and this one still
	 * has virtualization enabled if it has references: the place for a last
	 * SEAMCALL, i.e. TDH.SYS.DISABLE.
	 */

	x86_virt_disable_cpu();
}

static struct syscore_ops x86_virt_syscore_ops = {
	.shutdown = x86_virt_shutdown,
};

/**
 * x86_virt_init - Prepare for enabling hardware virtualization
 *
 * Virtualization isn't enabled on any CPU until somebody asks for it.
 *
 * Context: Boot CPU, after it was identified, before APs are brought up and
 *	    before alternatives are patched, as failure clears the CPU feature.
 */
void __init x86_virt_init(void)
{
	/* No such CPU exists, don't guess what it wants. */
	if (WARN_ON_ONCE(boot_cpu_has(X86_FEATURE_VMX) &&
			 boot_cpu_has(X86_FEATURE_SVM)))
		return;

	x86_vmx_init();
	x86_svm_init();

	if (virt_ops)
		register_syscore_ops(&x86_virt_syscore_ops);
}
