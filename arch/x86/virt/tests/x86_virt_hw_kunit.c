// SPDX-License-Identifier: GPL-2.0-only
/*
 * KUnit tests for the reference-counted enabling of VMX and SVM.
 *
 * The code under test is included, i.e. the tests have a copy of their own. It
 * sees simulated CPUs wherever it would reach the hardware, so that each of its
 * steps can be told apart, and can be made to fail.
 */

/* Let the copy coexist with the real code, whose users go on as usual. */
#define virt_rebooting				kunit_virt_rebooting
#define virtualization_nr_users			kunit_virtualization_nr_users
#define root_vmcs				kunit_root_vmcs
#define x86_virt_init				kunit_x86_virt_init
#define x86_virt_get_ref			kunit_x86_virt_get_ref
#define x86_virt_put_ref			kunit_x86_virt_put_ref
#define x86_virt_register_emergency_callback	kunit_x86_virt_register_emergency_callback
#define x86_virt_unregister_emergency_callback	kunit_x86_virt_unregister_emergency_callback
#define x86_virt_emergency_disable_virtualization_cpu \
	kunit_x86_virt_emergency_disable_virtualization_cpu
#define x86_virt_begin_emergency		kunit_x86_virt_begin_emergency

#include <kunit/test.h>

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
#include <linux/sched.h>
#include <linux/smp.h>
#include <linux/sprintf.h>
#include <linux/string.h>
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

#include "../insns.h"

/* A CR4 and an EFER with more than the bit that matters. */
#define SIM_CR4		(X86_CR4_PAE | X86_CR4_MCE)
#define SIM_EFER	(EFER_LME | EFER_LMA | EFER_NX)

#define SIM_REVISION	0x11e57
#define SIM_VMX_BASIC(size)	(SIM_REVISION | (u64)(size) << 32)

/* Which accessors the code under test uses depends on the kernel. */
#define __sim			__maybe_unused

struct sim_cpu {
	bool		has_virt;
	unsigned long	cr4;
	unsigned long	cr4_shadow;
	u64		efer;
	bool		vmx_operation;
	bool		gif;
	/* Intel PT is out of the way of VMX. */
	bool		pt_off;
	u64		vmxon_pa;
};

static DEFINE_PER_CPU(struct sim_cpu, sim_cpu);

static struct {
	/* CPUID of the boot CPU. */
	bool		vmx;
	bool		svm;
	bool		cc_guest;

	/* Faults to inject. */
	bool		vmxon_faults;
	bool		vmxoff_fails;
	bool		stgi_faults;
	bool		msrs_fault;
	u64		vmx_basic;
	int		page_nr_to_fail;

	/* The CPU is going offline, and who is going to park it. */
	bool		dying;
	bool		tboot;

	/* Pages allocated so far, and not freed so far. */
	int		page_nr;
	int		pages;

	/* What was done to the hardware, and how often that was told to. */
	char		log[256];
	int		steps;

	/* Raise an NMI, with the emergency in it, before this step. */
	int		nmi_before_step;
	bool		nmi_raised;

	/* What the callback was told, the flag at its time and that of disabling. */
	bool		callback_orderly;
	bool		callback_saw_rebooting;
	bool		disable_saw_rebooting;

	/* IPIs reach one other CPU: when, and what that does right before. */
	int		other_cpu;
	int		answer_after_ms;
	void		(*before_ipi)(void *data);
	void		*before_ipi_data;
	smp_call_func_t	ipi;
	int		ms;

	struct syscore_ops *syscore_ops;

	/* Called in lieu of waiting. */
	void		(*during_grace_period)(void);
	int		nr_grace_periods;

	/* The code under test warned. */
	int		warnings;
	char		warning[128];

	/* The first thing that no CPU or no user would have put up with. */
	const char	*violation;
} sim;

static void sim_expect(bool ok, const char *what)
{
	if (!ok && !sim.violation)
		sim.violation = what;
}

static bool sim_virt_is_off(struct sim_cpu *cpu)
{
	return !cpu->vmx_operation && cpu->gif && !(cpu->efer & EFER_SVME);
}

static bool x86_virt_is_enabled(void);

static void sim_nmi(void)
{
	sim.nmi_raised = true;

	x86_virt_emergency_disable_virtualization_cpu();

	sim_expect(sim_virt_is_off(raw_cpu_ptr(&sim_cpu)),
		   "virtualization is on after the emergency");
}

/* The CPU is about to change state. */
static struct sim_cpu *sim_step(const char *what)
{
	sim_expect(irqs_disabled(), "IRQs are enabled between count and hardware");

	if (!virt_rebooting)
		sim_expect(x86_virt_is_enabled(),
			   "other CPUs would see virtualization as disabled");

	if (++sim.steps == sim.nmi_before_step)
		sim_nmi();

	if (sim.log[0])
		strlcat(sim.log, " ", sizeof(sim.log));
	strlcat(sim.log, what, sizeof(sim.log));

	return raw_cpu_ptr(&sim_cpu);
}

static __sim int sim_vmxon(u64 root_pa)
{
	struct sim_cpu *cpu = sim_step("vmxon");
	struct vmcs *vmcs = __va(root_pa);

	if (sim.vmxon_faults || !(cpu->cr4 & X86_CR4_VMXE) || cpu->vmx_operation)
		return -EFAULT;

	sim_expect(cpu->pt_off, "Intel PT traces VMX operation");
	sim_expect(vmcs->hdr.revision_id == SIM_REVISION && !vmcs->hdr.shadow_vmcs,
		   "VMXON of a page that isn't a root VMCS");

	cpu->vmxon_pa = root_pa;
	cpu->vmx_operation = true;
	return 0;
}

static __sim int sim_vmxoff(void)
{
	struct sim_cpu *cpu = sim_step("vmxoff");

	if (!cpu->vmx_operation)
		return -EFAULT;

	if (sim.vmxoff_fails)
		return -EIO;

	sim.disable_saw_rebooting = virt_rebooting;
	cpu->vmx_operation = false;
	return 0;
}

static __sim int sim_stgi(void)
{
	struct sim_cpu *cpu = sim_step("stgi");

	if (!(cpu->efer & EFER_SVME))
		return -EFAULT;

	cpu->gif = true;
	return sim.stgi_faults ? -EFAULT : 0;
}

static __sim unsigned long sim_cr4_read_shadow(void)
{
	return this_cpu_read(sim_cpu.cr4_shadow);
}

static __sim unsigned long sim_read_cr4(void)
{
	return this_cpu_read(sim_cpu.cr4);
}

static void sim_cr4_update(const char *what, unsigned long set, unsigned long clear)
{
	unsigned long cr4 = (sim_cr4_read_shadow() & ~clear) | set;
	struct sim_cpu *cpu;

	if (cr4 == sim_cr4_read_shadow())
		return;

	cpu = sim_step(what);
	cpu->cr4_shadow = cr4;

	sim_expect(!cpu->vmx_operation || (cr4 & X86_CR4_VMXE),
		   "CR4.VMXE is cleared in VMX operation");
	cpu->cr4 = cr4;
}

static __sim void sim_cr4_set_bits(unsigned long mask)
{
	sim_cr4_update("vmxe=1", mask, 0);
}

static __sim void sim_cr4_clear_bits(unsigned long mask)
{
	sim_cr4_update("vmxe=0", 0, mask);
}

static __sim u64 sim_rdmsrq(u32 msr)
{
	sim_expect(msr == MSR_EFER, "RDMSR may fault");

	return this_cpu_read(sim_cpu.efer);
}

static __sim int sim_rdmsrq_safe(u32 msr, u64 *val)
{
	switch (msr) {
	case MSR_IA32_VMX_BASIC:
		*val = sim.vmx_basic;
		break;
	case MSR_IA32_FEAT_CTL:
		*val = FEAT_CTL_LOCKED;
		break;
	default:
		sim_expect(false, "RDMSR of an MSR that isn't simulated");
		return -EIO;
	}

	return sim.msrs_fault ? -EIO : 0;
}

static __sim void sim_wrmsrq(u32 msr, u64 efer)
{
	struct sim_cpu *cpu = sim_step(efer & EFER_SVME ? "svme=1" : "svme=0");

	sim_expect(msr == MSR_EFER, "WRMSR of an MSR that isn't simulated");
	sim_expect((efer & ~EFER_SVME) == SIM_EFER, "EFER loses or gains bits");

	if (!(efer & EFER_SVME)) {
		sim_expect(cpu->gif, "SVM is disabled while GIF is 0");
		sim.disable_saw_rebooting = virt_rebooting;
	}

	cpu->efer = efer;
}

static __sim void sim_intel_pt_handle_vmx(int on)
{
	struct sim_cpu *cpu = sim_step(on ? "pt=0" : "pt=1");

	sim_expect(on || !cpu->vmx_operation, "Intel PT resumes in VMX operation");
	cpu->pt_off = on;
}

static __sim void sim_flush_cache(void)
{
	struct sim_cpu *cpu = sim_step("flush");

	sim_expect(!cpu->vmx_operation, "the cache is flushed before the last SEAMCALL");
}

static __sim bool sim_cpu_dying(unsigned int cpu)
{
	return sim.dying;
}

static __sim bool sim_tboot_enabled(void)
{
	return sim.tboot;
}

static __sim bool sim_this_cpu_has(int feature)
{
	return this_cpu_read(sim_cpu.has_virt) &&
	       (feature == X86_FEATURE_VMX ? sim.vmx : sim.svm);
}

static __sim bool sim_boot_cpu_has(int feature)
{
	return feature == X86_FEATURE_VMX ? sim.vmx : sim.svm;
}

static __sim bool sim_cc_platform_has(enum cc_attr attr)
{
	return attr == CC_ATTR_GUEST_MEM_ENCRYPT && sim.cc_guest;
}

static __sim void sim_clear_cpu_cap(int feature)
{
	sim_expect(feature == X86_FEATURE_VMX, "a feature is cleared for no reason");
	sim.vmx = false;
}

static __sim struct page *sim_alloc_page(int nid, gfp_t gfp, unsigned int order)
{
	struct page *page;

	if (++sim.page_nr == sim.page_nr_to_fail)
		return NULL;

	page = alloc_pages_node(nid, gfp, order);
	if (!page)
		return NULL;

	/* Who doesn't ask for zeroes can't rely on them. */
	if (!(gfp & __GFP_ZERO))
		memset(page_address(page), 0xa5, PAGE_SIZE << order);

	sim.pages++;
	return page;
}

static __sim void sim_free_page(unsigned long addr)
{
	sim.pages -= !!addr;
	free_page(addr);
}

static __sim void sim_synchronize_rcu(void)
{
	sim.nr_grace_periods++;

	if (sim.during_grace_period)
		sim.during_grace_period();
}

static void sim_deliver_ipi(void)
{
	if (sim.before_ipi)
		smp_call_function_single(sim.other_cpu, sim.before_ipi,
					 sim.before_ipi_data, true);
	smp_call_function_single(sim.other_cpu, sim.ipi, NULL, true);
}

static __sim void sim_smp_call_function(smp_call_func_t func, void *info, int wait)
{
	sim_expect(!wait, "waits for a CPU, whether or not that answers");

	sim.ipi = func;
	if (!sim.answer_after_ms)
		sim_deliver_ipi();
}

static __sim void sim_mdelay(unsigned long ms)
{
	sim.ms += ms;
	if (sim.ms == sim.answer_after_ms)
		sim_deliver_ipi();
}

static __sim unsigned int sim_num_online_cpus(void)
{
	return 2;
}

static __sim void sim_register_syscore_ops(struct syscore_ops *ops)
{
	sim.syscore_ops = ops;
}

static __printf(1, 2) void sim_warn(const char *fmt, ...)
{
	va_list args;

	sim.warnings++;

	va_start(args, fmt);
	vscnprintf(sim.warning, sizeof(sim.warning), fmt, args);
	va_end(args);
}

/* Warnings are results here, and so are messages. */
#undef WARN_ONCE
#define WARN_ONCE(cond, fmt...) ({		\
	bool __cond = !!(cond);			\
						\
	if (__cond)				\
		sim_warn(fmt);			\
	__cond;					\
})
#undef WARN_ON_ONCE
#define WARN_ON_ONCE(cond)			WARN_ONCE(cond, "%s", #cond)
#undef lockdep_assert_irqs_disabled
#define lockdep_assert_irqs_disabled()		WARN_ON_ONCE(!irqs_disabled())
#undef pr_err
#define pr_err					no_printk
#undef pr_warn
#define pr_warn					sim_warn

#undef EXPORT_SYMBOL_FOR_MODULES
#define EXPORT_SYMBOL_FOR_MODULES(symbol, modules)
#undef EXPORT_SYMBOL_FOR_KVM
#define EXPORT_SYMBOL_FOR_KVM(symbol)
#undef EXPORT_SYMBOL_FOR_KVM_INTERNAL
#define EXPORT_SYMBOL_FOR_KVM_INTERNAL(symbol)

#undef boot_cpu_has
#define boot_cpu_has				sim_boot_cpu_has
#undef this_cpu_has
#define this_cpu_has				sim_this_cpu_has
#undef setup_clear_cpu_cap
#define setup_clear_cpu_cap			sim_clear_cpu_cap
#define cc_platform_has				sim_cc_platform_has
#define cpu_dying				sim_cpu_dying
#undef tboot_enabled
#define tboot_enabled				sim_tboot_enabled

#undef alloc_pages_node
#define alloc_pages_node			sim_alloc_page
#undef free_page
#define free_page				sim_free_page
#undef synchronize_rcu
#define synchronize_rcu				sim_synchronize_rcu

#define smp_call_function			sim_smp_call_function
#undef mdelay
#define mdelay					sim_mdelay
#undef num_online_cpus
#define num_online_cpus				sim_num_online_cpus
#define register_syscore_ops			sim_register_syscore_ops

#undef rdmsrq
#define rdmsrq(msr, val)			((val) = sim_rdmsrq(msr))
#define rdmsrq_safe				sim_rdmsrq_safe
#define wrmsrq					sim_wrmsrq
#define __read_cr4				sim_read_cr4
#define cr4_read_shadow				sim_cr4_read_shadow
#define cr4_set_bits				sim_cr4_set_bits
#define cr4_clear_bits				sim_cr4_clear_bits
#define __vmxon					sim_vmxon
#define __vmxoff					sim_vmxoff
#define __stgi					sim_stgi
#define intel_pt_handle_vmx			sim_intel_pt_handle_vmx
#define tdx_cpu_flush_cache_for_kexec		sim_flush_cache

#undef pr_fmt
#include "../hw.c"

#undef __vmxon
#undef __vmxoff
#undef __stgi

/* What has to be the same for both flavors, and what tells them apart. */
struct flavor {
	const char	*name;
	int		feature;
	int		other_feature;

	/* The steps, in their order. */
	const char	*enable;
	const char	*disable;
	const char	*emergency;

	/* When somebody else has disabled it already. */
	const char	*disable_again;
	int		disable_again_warnings;
};

static const struct flavor flavors[] = {
#if IS_ENABLED(CONFIG_KVM_INTEL)
	{
		.name		= "VMX",
		.feature	= X86_FEATURE_VMX,
		.other_feature	= X86_FEATURE_SVM,
		.enable		= "pt=0 vmxe=1 vmxon",
		.disable	= "vmxoff vmxe=0 pt=1 flush",
		.emergency	= "vmxoff vmxe=0",
		.disable_again	= "vmxoff pt=1 flush",
		.disable_again_warnings = 1,
	},
#endif
#if IS_ENABLED(CONFIG_KVM_AMD)
	{
		.name		= "SVM",
		.feature	= X86_FEATURE_SVM,
		.other_feature	= X86_FEATURE_VMX,
		.enable		= "svme=1",
		.disable	= "stgi svme=0",
		.emergency	= "stgi svme=0",
		.disable_again	= "",
	},
#endif
};

KUNIT_ARRAY_PARAM_DESC(flavor, flavors, name);

static void __init boot(bool vmx, bool svm)
{
	sim.vmx = vmx;
	sim.svm = svm;

	x86_virt_init();
}

static int __init x86_virt_hw_init(struct kunit *test)
{
	const struct flavor *flavor = test->param_value;
	int cpu;

	memset(&sim, 0, sizeof(sim));
	sim.vmx_basic = SIM_VMX_BASIC(PAGE_SIZE);

	for_each_possible_cpu(cpu) {
		per_cpu(sim_cpu, cpu) = (struct sim_cpu) {
			.has_virt	= true,
			.cr4		= SIM_CR4,
			.cr4_shadow	= SIM_CR4,
			.efer		= SIM_EFER,
			.gif		= true,
		};
		per_cpu(virtualization_nr_users, cpu) = 0;
	}

	virt_ops = NULL;
	virt_rebooting = false;
	RCU_INIT_POINTER(kvm_emergency_callback, NULL);

	/* References are bound to a CPU, which is up to their users. */
	KUNIT_ASSERT_EQ(test, 0, set_cpus_allowed_ptr(current,
						      cpumask_of(raw_smp_processor_id())));

	if (flavor)
		boot(flavor->feature == X86_FEATURE_VMX,
		     flavor->feature == X86_FEATURE_SVM);

	return 0;
}

static void __init x86_virt_hw_exit(struct kunit *test)
{
#if IS_ENABLED(CONFIG_KVM_INTEL)
	x86_vmx_exit();
#endif
	KUNIT_EXPECT_EQ_MSG(test, 0, sim.pages, "root VMCSes are lost");
	KUNIT_EXPECT_STREQ(test, "none", sim.violation ?: "none");
}

static void __init forget(void)
{
	sim.log[0] = '\0';
	sim.steps = 0;
	sim.warnings = 0;
}

/* These are the steps since last time, and this is how many warnings came. */
static void __init expect_steps(struct kunit *test, const char *steps, int warnings)
{
	KUNIT_EXPECT_STREQ(test, steps, sim.log);
	KUNIT_EXPECT_EQ_MSG(test, warnings, sim.warnings, "last warning: %s", sim.warning);
	forget();
}

static void __init expect_untouched(struct kunit *test, const struct sim_cpu *before)
{
	expect_steps(test, "", 0);
	KUNIT_EXPECT_MEMEQ(test, before, raw_cpu_ptr(&sim_cpu), sizeof(*before));
}

static bool __init virt_is_off(void)
{
	return sim_virt_is_off(raw_cpu_ptr(&sim_cpu));
}

static void __init emergency(void)
{
	guard(irqsave)();

	x86_virt_emergency_disable_virtualization_cpu();
}

/* Somebody else enables virtualization, or disables it. */
static void __init meddle(const struct flavor *flavor, bool enable)
{
	struct sim_cpu *cpu = raw_cpu_ptr(&sim_cpu);

	if (flavor->feature == X86_FEATURE_SVM) {
		cpu->efer = SIM_EFER | (enable ? EFER_SVME : 0);
		return;
	}

	cpu->vmx_operation = enable;
	cpu->cr4 = SIM_CR4 | (enable ? X86_CR4_VMXE : 0);
	cpu->cr4_shadow = cpu->cr4;
}

/* References */

static void __init x86_virt_counts(struct kunit *test)
{
	const struct flavor *flavor = test->param_value;
	struct sim_cpu before = *raw_cpu_ptr(&sim_cpu);
	int i;

	for (i = 0; i < 2; i++) {
		KUNIT_EXPECT_EQ(test, 0, x86_virt_get_ref(flavor->feature));
		expect_steps(test, flavor->enable, 0);
		KUNIT_EXPECT_FALSE(test, virt_is_off());

		KUNIT_EXPECT_EQ(test, 0, x86_virt_get_ref(flavor->feature));
		expect_steps(test, "", 0);

		x86_virt_put_ref(flavor->feature);
		expect_steps(test, "", 0);
		KUNIT_EXPECT_FALSE(test, virt_is_off());

		x86_virt_put_ref(flavor->feature);
		expect_steps(test, flavor->disable, 0);
		KUNIT_EXPECT_TRUE(test, virt_is_off());

		before.vmxon_pa = this_cpu_read(sim_cpu.vmxon_pa);
		expect_untouched(test, &before);
	}
}

static void __init x86_virt_irqs(struct kunit *test)
{
	const struct flavor *flavor = test->param_value;
	int count = preempt_count();
	unsigned long flags;
	int i;

	/* sim_step() looks at IRQs in between. */
	for (i = 0; i < 2; i++) {
		KUNIT_EXPECT_EQ(test, 0, x86_virt_get_ref(flavor->feature));
		KUNIT_EXPECT_FALSE(test, irqs_disabled());
		KUNIT_EXPECT_EQ(test, count, preempt_count());
	}

	for (i = 0; i < 2; i++) {
		x86_virt_put_ref(flavor->feature);
		KUNIT_EXPECT_FALSE(test, irqs_disabled());
		KUNIT_EXPECT_EQ(test, count, preempt_count());
	}

	for (i = 0; i < 2; i++) {
		bool get_disabled, put_disabled;

		local_irq_save(flags);
		x86_virt_get_ref(flavor->feature);
		get_disabled = irqs_disabled();
		x86_virt_put_ref(flavor->feature);
		put_disabled = irqs_disabled();
		local_irq_restore(flags);

		KUNIT_EXPECT_TRUE(test, get_disabled);
		KUNIT_EXPECT_TRUE(test, put_disabled);
	}
}

struct remote_get {
	int feature;
	int r;
};

static void remote_get(void *data)
{
	struct remote_get *get = data;

	get->r = x86_virt_get_ref(get->feature);
}

static void remote_put(void *data)
{
	struct remote_get *get = data;

	x86_virt_put_ref(get->feature);
}

static void __init x86_virt_cpus(struct kunit *test)
{
	const struct flavor *flavor = test->param_value;
	int cpu = cpumask_any_but(cpu_online_mask, raw_smp_processor_id());
	struct remote_get get = { .feature = flavor->feature, .r = -1 };

	if (cpu >= nr_cpu_ids)
		kunit_skip(test, "needs two CPUs");

	KUNIT_EXPECT_EQ(test, 0, x86_virt_get_ref(flavor->feature));
	KUNIT_EXPECT_TRUE(test, sim_virt_is_off(per_cpu_ptr(&sim_cpu, cpu)));
	forget();

	/* Function call IPIs are a context to get and to put references in. */
	smp_call_function_single(cpu, remote_get, &get, true);
	KUNIT_EXPECT_EQ(test, 0, get.r);
	expect_steps(test, flavor->enable, 0);
	KUNIT_EXPECT_FALSE(test, sim_virt_is_off(per_cpu_ptr(&sim_cpu, cpu)));
	if (flavor->feature == X86_FEATURE_VMX)
		KUNIT_EXPECT_NE(test, this_cpu_read(sim_cpu.vmxon_pa),
				per_cpu(sim_cpu.vmxon_pa, cpu));

	x86_virt_put_ref(flavor->feature);
	expect_steps(test, flavor->disable, 0);
	KUNIT_EXPECT_TRUE(test, virt_is_off());
	KUNIT_EXPECT_FALSE(test, sim_virt_is_off(per_cpu_ptr(&sim_cpu, cpu)));
	KUNIT_EXPECT_TRUE(test, x86_virt_is_enabled());

	smp_call_function_single(cpu, remote_put, &get, true);
	expect_steps(test, flavor->disable, 0);
	KUNIT_EXPECT_TRUE(test, sim_virt_is_off(per_cpu_ptr(&sim_cpu, cpu)));
	KUNIT_EXPECT_FALSE(test, x86_virt_is_enabled());
}

static void __init x86_virt_is_enabled_test(struct kunit *test)
{
	const struct flavor *flavor = test->param_value;

	/* sim_step() looks at it while virtualization is enabled and disabled. */
	KUNIT_EXPECT_FALSE(test, x86_virt_is_enabled());
	x86_virt_get_ref(flavor->feature);
	KUNIT_EXPECT_TRUE(test, x86_virt_is_enabled());
	x86_virt_get_ref(flavor->feature);
	x86_virt_put_ref(flavor->feature);
	KUNIT_EXPECT_TRUE(test, x86_virt_is_enabled());
	x86_virt_put_ref(flavor->feature);
	KUNIT_EXPECT_FALSE(test, x86_virt_is_enabled());
}

/* From 0 to 1, and what can go wrong */

static void __init x86_virt_conflict(struct kunit *test)
{
	const struct flavor *flavor = test->param_value;
	struct sim_cpu before;

	meddle(flavor, true);
	before = *raw_cpu_ptr(&sim_cpu);
	KUNIT_EXPECT_EQ(test, -EBUSY, x86_virt_get_ref(flavor->feature));
	expect_untouched(test, &before);
	KUNIT_EXPECT_FALSE(test, x86_virt_is_enabled());

	meddle(flavor, false);
	KUNIT_EXPECT_EQ(test, 0, x86_virt_get_ref(flavor->feature));
	expect_steps(test, flavor->enable, 0);
}

static void __init x86_virt_cpu_without_feature(struct kunit *test)
{
	const struct flavor *flavor = test->param_value;
	struct sim_cpu before;

	this_cpu_write(sim_cpu.has_virt, false);
	before = *raw_cpu_ptr(&sim_cpu);
	KUNIT_EXPECT_EQ(test, -EOPNOTSUPP, x86_virt_get_ref(flavor->feature));
	expect_untouched(test, &before);
	KUNIT_EXPECT_FALSE(test, x86_virt_is_enabled());

	/* Who has a reference needs no feature anymore. */
	this_cpu_write(sim_cpu.has_virt, true);
	KUNIT_EXPECT_EQ(test, 0, x86_virt_get_ref(flavor->feature));
	this_cpu_write(sim_cpu.has_virt, false);
	KUNIT_EXPECT_EQ(test, 0, x86_virt_get_ref(flavor->feature));
	expect_steps(test, flavor->enable, 0);
	x86_virt_put_ref(flavor->feature);
	x86_virt_put_ref(flavor->feature);
	expect_steps(test, flavor->disable, 0);
}

static void __init x86_virt_wrong_feature(struct kunit *test)
{
	const struct flavor *flavor = test->param_value;
	struct sim_cpu before = *raw_cpu_ptr(&sim_cpu);

	KUNIT_EXPECT_EQ(test, -EOPNOTSUPP, x86_virt_get_ref(flavor->other_feature));
	expect_untouched(test, &before);
	KUNIT_EXPECT_FALSE(test, x86_virt_is_enabled());

	KUNIT_EXPECT_EQ(test, 0, x86_virt_get_ref(flavor->feature));
	forget();

	x86_virt_put_ref(flavor->other_feature);
	expect_steps(test, "", 1);

	x86_virt_put_ref(flavor->feature);
	expect_steps(test, flavor->disable, 0);
}

static void __init x86_virt_underflow(struct kunit *test)
{
	const struct flavor *flavor = test->param_value;

	/* Not even virtualization that somebody else has enabled is disabled. */
	meddle(flavor, true);
	x86_virt_put_ref(flavor->feature);
	expect_steps(test, "", 1);
	KUNIT_EXPECT_FALSE(test, virt_is_off());
	meddle(flavor, false);

	KUNIT_EXPECT_EQ(test, 0, x86_virt_get_ref(flavor->feature));
	expect_steps(test, flavor->enable, 0);
	x86_virt_put_ref(flavor->feature);
	expect_steps(test, flavor->disable, 0);
}

static void __init x86_virt_disabled_by_others(struct kunit *test)
{
	const struct flavor *flavor = test->param_value;

	KUNIT_EXPECT_EQ(test, 0, x86_virt_get_ref(flavor->feature));
	meddle(flavor, false);
	forget();

	x86_virt_put_ref(flavor->feature);
	expect_steps(test, flavor->disable_again, flavor->disable_again_warnings);
	KUNIT_EXPECT_FALSE(test, x86_virt_is_enabled());

	KUNIT_EXPECT_EQ(test, 0, x86_virt_get_ref(flavor->feature));
	meddle(flavor, false);
	virt_rebooting = true;
	forget();

	x86_virt_put_ref(flavor->feature);
	expect_steps(test, flavor->disable_again, 0);
	KUNIT_EXPECT_FALSE(test, x86_virt_is_enabled());
}

/* Emergencies */

static void callback(bool orderly)
{
	sim_step("callback");
	sim.callback_orderly = orderly;
	sim.callback_saw_rebooting = virt_rebooting;
}

static void another_callback(bool orderly)
{
	sim_step("another callback");
}

static void __init x86_virt_emergency(struct kunit *test)
{
	const struct flavor *flavor = test->param_value;

	x86_virt_get_ref(flavor->feature);
	x86_virt_get_ref(flavor->feature);
	forget();

	emergency();
	expect_steps(test, flavor->emergency, 0);
	KUNIT_EXPECT_TRUE(test, virt_is_off());
	KUNIT_EXPECT_TRUE(test, virt_rebooting);
	KUNIT_EXPECT_TRUE(test, sim.disable_saw_rebooting);

	/* Both references are still there. */
	KUNIT_EXPECT_TRUE(test, x86_virt_is_enabled());
	x86_virt_put_ref(flavor->feature);
	expect_steps(test, "", 0);
	x86_virt_put_ref(flavor->feature);
	expect_steps(test, flavor->disable_again, 0);
	KUNIT_EXPECT_FALSE(test, x86_virt_is_enabled());
}

/* From its beginning on, CPUs that have virtualization disabled stay that way. */
static void __init x86_virt_begin_emergency_test(struct kunit *test)
{
	const struct flavor *flavor = test->param_value;
	struct sim_cpu before = *raw_cpu_ptr(&sim_cpu);

	KUNIT_EXPECT_FALSE(test, x86_virt_begin_emergency());
	KUNIT_EXPECT_TRUE(test, virt_rebooting);
	KUNIT_EXPECT_EQ(test, -EBUSY, x86_virt_get_ref(flavor->feature));
	expect_untouched(test, &before);
	KUNIT_EXPECT_FALSE(test, x86_virt_is_enabled());

	/* Other CPUs must be stopped, too, if somebody else uses this one. */
	meddle(flavor, true);
	KUNIT_EXPECT_TRUE(test, x86_virt_begin_emergency());
	KUNIT_EXPECT_FALSE(test, x86_virt_is_enabled());
	expect_steps(test, "", 0);
	meddle(flavor, false);

	virt_rebooting = false;
	x86_virt_get_ref(flavor->feature);
	forget();
	KUNIT_EXPECT_TRUE(test, x86_virt_begin_emergency());
	KUNIT_EXPECT_EQ(test, -EBUSY, x86_virt_get_ref(flavor->feature));
	KUNIT_EXPECT_TRUE(test, x86_virt_is_enabled());
	x86_virt_put_ref(flavor->feature);
	expect_steps(test, flavor->disable, 0);
}

static void __init x86_virt_emergency_callback_test(struct kunit *test)
{
	const struct flavor *flavor = test->param_value;
	char steps[64];

	x86_virt_register_emergency_callback(callback);
	x86_virt_get_ref(flavor->feature);
	forget();

	emergency();
	snprintf(steps, sizeof(steps), "callback %s", flavor->emergency);
	expect_steps(test, steps, 0);
	KUNIT_EXPECT_TRUE(test, virt_is_off());
	KUNIT_EXPECT_FALSE(test, sim.callback_orderly);
	KUNIT_EXPECT_TRUE(test, sim.callback_saw_rebooting);
	KUNIT_EXPECT_TRUE(test, sim.disable_saw_rebooting);
}

static void __init x86_virt_emergency_while_off(struct kunit *test)
{
	const struct flavor *flavor = test->param_value;
	struct sim_cpu before = *raw_cpu_ptr(&sim_cpu);

	emergency();
	expect_untouched(test, &before);

	x86_virt_register_emergency_callback(callback);
	emergency();
	expect_steps(test, "callback", 0);

	/* Again, with virtualization disabled by the first one. */
	x86_virt_get_ref(flavor->feature);
	emergency();
	forget();
	emergency();
	expect_steps(test, "callback", 0);
	KUNIT_EXPECT_TRUE(test, virt_is_off());
}

static void __init x86_virt_emergency_without_reference(struct kunit *test)
{
	const struct flavor *flavor = test->param_value;

	/* INIT is blocked no matter who has enabled virtualization. */
	meddle(flavor, true);
	emergency();
	expect_steps(test, flavor->emergency, 0);
	KUNIT_EXPECT_TRUE(test, virt_is_off());
	KUNIT_EXPECT_FALSE(test, x86_virt_is_enabled());
}

static void __init x86_virt_emergency_with_irqs(struct kunit *test)
{
	/* There is nothing to disable, only the assertion is of interest. */
	x86_virt_emergency_disable_virtualization_cpu();
	expect_steps(test, "", 1);
}

/*
 * Interrupt a get and a put before each of their steps.  The NMI returns here,
 * which it doesn't in real life: what get and put do afterwards is of no
 * interest, sim_nmi() has looked at what matters.
 */
static void __init x86_virt_emergency_anywhere(struct kunit *test)
{
	const struct flavor *flavor = test->param_value;
	int step;

	for (step = 1; ; step++) {
		x86_virt_hw_exit(test);
		x86_virt_hw_init(test);

		sim.nmi_before_step = step;
		x86_virt_get_ref(flavor->feature);
		if (!sim.nmi_raised)
			x86_virt_put_ref(flavor->feature);
		if (!sim.nmi_raised)
			break;
	}

	/* One NMI for each step of get and of put. */
	KUNIT_EXPECT_EQ(test, step - 1, sim.steps);
	KUNIT_EXPECT_GT(test, step, 1);
}

static void __init x86_virt_callback_registration(struct kunit *test)
{
	boot(IS_ENABLED(CONFIG_KVM_INTEL), !IS_ENABLED(CONFIG_KVM_INTEL));

	x86_virt_register_emergency_callback(callback);
	expect_steps(test, "", 0);

	/* There can be only one, and it's the first one. */
	x86_virt_register_emergency_callback(another_callback);
	expect_steps(test, "", 1);
	emergency();
	expect_steps(test, "callback", 0);

	x86_virt_unregister_emergency_callback(another_callback);
	expect_steps(test, "", 1);
	KUNIT_EXPECT_EQ(test, 0, sim.nr_grace_periods);
	emergency();
	expect_steps(test, "callback", 0);

	/* CPUs may still call it until there was a grace period, but not after. */
	sim.during_grace_period = emergency;
	x86_virt_unregister_emergency_callback(callback);
	KUNIT_EXPECT_EQ(test, 1, sim.nr_grace_periods);
	expect_steps(test, "", 0);

	x86_virt_unregister_emergency_callback(callback);
	expect_steps(test, "", 1);

	x86_virt_register_emergency_callback(another_callback);
	emergency();
	expect_steps(test, "another callback", 0);
}

/* Reboot, power-off and kexec */

/* The CPU that carries on is the last one to have virtualization enabled. */
static void shutdown_callback(bool orderly)
{
	callback(orderly);
	if (in_task())
		sim_expect(sim_virt_is_off(per_cpu_ptr(&sim_cpu, sim.other_cpu)),
			   "the CPU that carries on isn't the last one");
}

static int __init on_other_cpu(smp_call_func_t func, const struct flavor *flavor)
{
	struct remote_get get = { .feature = flavor->feature, .r = -1 };

	smp_call_function_single(sim.other_cpu, func, &get, true);
	return get.r;
}

static bool __init other_virt_is_off(void)
{
	return sim_virt_is_off(per_cpu_ptr(&sim_cpu, sim.other_cpu));
}

/* Both CPUs have a reference of KVM, and one of TDX. */
static void __init begin_shutdown(struct kunit *test)
{
	const struct flavor *flavor = test->param_value;
	int i;

	sim.other_cpu = cpumask_any_but(cpu_online_mask, raw_smp_processor_id());
	if (sim.other_cpu >= nr_cpu_ids)
		kunit_skip(test, "needs two CPUs");
	KUNIT_ASSERT_NOT_NULL(test, sim.syscore_ops);

	x86_virt_register_emergency_callback(shutdown_callback);
	for (i = 0; i < 2; i++) {
		KUNIT_EXPECT_EQ(test, 0, x86_virt_get_ref(flavor->feature));
		KUNIT_EXPECT_EQ(test, 0, on_other_cpu(remote_get, flavor));
	}
	forget();
}

static void __init x86_virt_shutdown_test(struct kunit *test)
{
	const struct flavor *flavor = test->param_value;
	char steps[128];

	begin_shutdown(test);
	sim.syscore_ops->shutdown();
	snprintf(steps, sizeof(steps), "callback %s callback %s",
		 flavor->disable, flavor->disable);
	expect_steps(test, steps, 0);
	KUNIT_EXPECT_TRUE(test, virt_is_off());
	KUNIT_EXPECT_TRUE(test, other_virt_is_off());
	KUNIT_EXPECT_TRUE(test, sim.callback_orderly);
	KUNIT_EXPECT_TRUE(test, sim.callback_saw_rebooting);
	KUNIT_EXPECT_EQ(test, 0, sim.ms);

	/* References are still there, and are put as usual. */
	x86_virt_put_ref(flavor->feature);
	expect_steps(test, "", 0);
	x86_virt_put_ref(flavor->feature);
	expect_steps(test, flavor->disable_again, 0);

	sim.syscore_ops->shutdown();
	expect_steps(test, "callback callback", 0);
}

/* KVM is being enabled on another CPU, with and without a reference of TDX. */
static void __init x86_virt_shutdown_and_get(struct kunit *test)
{
	const struct flavor *flavor = test->param_value;
	struct remote_get get = { .feature = flavor->feature };
	char steps[64];
	int refs;

	for (refs = 2; refs >= 0; refs -= 2) {
		x86_virt_hw_exit(test);
		x86_virt_hw_init(test);
		begin_shutdown(test);
		if (!refs) {
			on_other_cpu(remote_put, flavor);
			on_other_cpu(remote_put, flavor);
		}
		forget();

		get.r = 1;
		sim.before_ipi = remote_get;
		sim.before_ipi_data = &get;
		sim.syscore_ops->shutdown();
		KUNIT_EXPECT_EQ(test, -EBUSY, get.r);
		KUNIT_EXPECT_TRUE(test, other_virt_is_off());

		if (refs)
			forget();
		snprintf(steps, sizeof(steps), "callback callback %s", flavor->disable);
		expect_steps(test, refs ? "" : steps, 0);

		KUNIT_EXPECT_EQ(test, -EBUSY, on_other_cpu(remote_get, flavor));
		KUNIT_EXPECT_EQ(test, -EBUSY, x86_virt_get_ref(flavor->feature));
		expect_steps(test, "", 0);
		KUNIT_EXPECT_EQ(test, refs, per_cpu(virtualization_nr_users, sim.other_cpu));
	}
}

/* Nobody is waited for on a machine on which there are no references. */
static void __init x86_virt_shutdown_unused(struct kunit *test)
{
	const struct flavor *flavor = test->param_value;
	int i;

	begin_shutdown(test);
	for (i = 0; i < 2; i++) {
		x86_virt_put_ref(flavor->feature);
		on_other_cpu(remote_put, flavor);
	}
	forget();

	sim.answer_after_ms = 100 * MSEC_PER_SEC;
	sim.syscore_ops->shutdown();
	expect_steps(test, "", 0);
	KUNIT_EXPECT_EQ(test, 0, sim.ms);
	KUNIT_EXPECT_EQ(test, -EBUSY, x86_virt_get_ref(flavor->feature));
}

/* A foreign hypervisor keeps what it has until the CPU is stopped. */
static void __init x86_virt_shutdown_foreign(struct kunit *test)
{
	const struct flavor *flavor = test->param_value;
	char steps[64];

	begin_shutdown(test);
	/* This CPU isn't going to be the last one. */
	rcu_assign_pointer(kvm_emergency_callback, callback);
	x86_virt_put_ref(flavor->feature);
	x86_virt_put_ref(flavor->feature);
	forget();
	meddle(flavor, true);

	sim.syscore_ops->shutdown();
	snprintf(steps, sizeof(steps), "callback %s callback", flavor->disable);
	expect_steps(test, steps, 0);
	KUNIT_EXPECT_FALSE(test, virt_is_off());
	KUNIT_EXPECT_TRUE(test, other_virt_is_off());
	meddle(flavor, false);
}

static void __init x86_virt_shutdown_slow_cpu(struct kunit *test)
{
	begin_shutdown(test);
	sim.answer_after_ms = 500;
	sim.syscore_ops->shutdown();
	KUNIT_EXPECT_EQ(test, 500, sim.ms);
	KUNIT_EXPECT_EQ(test, 0, sim.warnings);
	KUNIT_EXPECT_TRUE(test, virt_is_off());
	KUNIT_EXPECT_TRUE(test, other_virt_is_off());
}

static void __init x86_virt_shutdown_deaf_cpu(struct kunit *test)
{
	const struct flavor *flavor = test->param_value;
	char steps[64];

	begin_shutdown(test);
	/* The CPU that carries on isn't going to be the last one. */
	rcu_assign_pointer(kvm_emergency_callback, callback);
	sim.answer_after_ms = 100 * MSEC_PER_SEC;
	sim.syscore_ops->shutdown();
	KUNIT_EXPECT_GE(test, sim.ms, MSEC_PER_SEC);
	KUNIT_EXPECT_LE(test, sim.ms, 10 * MSEC_PER_SEC);
	snprintf(steps, sizeof(steps), "callback %s", flavor->disable);
	expect_steps(test, steps, 1);
	KUNIT_EXPECT_TRUE(test, virt_is_off());
	KUNIT_EXPECT_FALSE(test, other_virt_is_off());

	/* It comes to its senses. */
	sim_deliver_ipi();
	expect_steps(test, steps, 0);
	KUNIT_EXPECT_TRUE(test, other_virt_is_off());
}

/* Boot */

static void __init expect_no_virt(struct kunit *test)
{
	struct sim_cpu before = *raw_cpu_ptr(&sim_cpu);

	KUNIT_EXPECT_EQ(test, 0, sim.pages);
	KUNIT_EXPECT_NULL(test, sim.syscore_ops);

	KUNIT_EXPECT_EQ(test, -EOPNOTSUPP, x86_virt_get_ref(X86_FEATURE_VMX));
	KUNIT_EXPECT_EQ(test, -EOPNOTSUPP, x86_virt_get_ref(X86_FEATURE_SVM));
	expect_untouched(test, &before);

	x86_virt_put_ref(X86_FEATURE_VMX);
	x86_virt_put_ref(X86_FEATURE_SVM);
	expect_steps(test, "", 2);

	emergency();
	expect_untouched(test, &before);
	KUNIT_EXPECT_FALSE(test, x86_virt_is_enabled());
}

static void __init x86_virt_init_no_vendor(struct kunit *test)
{
	boot(false, false);
	expect_no_virt(test);
}

static void __init x86_virt_init_both_vendors(struct kunit *test)
{
	boot(true, true);
	expect_steps(test, "", 1);
	expect_no_virt(test);
}

static void __init x86_virt_init_svm_in_cc_guest(struct kunit *test)
{
	sim.cc_guest = true;
	boot(false, true);
	expect_no_virt(test);
}

#if IS_ENABLED(CONFIG_KVM_INTEL)
static void __init x86_virt_vmxon_faults(struct kunit *test)
{
	struct sim_cpu before;

	boot(true, false);
	before = *raw_cpu_ptr(&sim_cpu);

	sim.vmxon_faults = true;
	KUNIT_EXPECT_EQ(test, -EFAULT, x86_virt_get_ref(X86_FEATURE_VMX));
	KUNIT_EXPECT_STREQ(test, sim.warning,
			   "VMXON failed, MSR_IA32_FEAT_CTL (0x3a) = 0x1\n");
	expect_steps(test, "pt=0 vmxe=1 vmxon vmxe=0 pt=1", 1);
	expect_untouched(test, &before);
	KUNIT_EXPECT_FALSE(test, x86_virt_is_enabled());

	/* No more may go wrong when the CPU is so odd that it has no such MSR. */
	sim.msrs_fault = true;
	KUNIT_EXPECT_EQ(test, -EFAULT, x86_virt_get_ref(X86_FEATURE_VMX));
	KUNIT_EXPECT_STREQ(test, sim.warning,
			   "VMXON failed, MSR_IA32_FEAT_CTL (0x3a) = 0xdeadbeef\n");
	expect_steps(test, "pt=0 vmxe=1 vmxon vmxe=0 pt=1", 1);
	expect_untouched(test, &before);

	sim.vmxon_faults = false;
	KUNIT_EXPECT_EQ(test, 0, x86_virt_get_ref(X86_FEATURE_VMX));
	expect_steps(test, "pt=0 vmxe=1 vmxon", 0);
}

/* Somebody else has left VMX operation, but hasn't cleared CR4.VMXE. */
static void __init x86_virt_vmxoff_faults(struct kunit *test)
{
	boot(true, false);

	x86_virt_get_ref(X86_FEATURE_VMX);
	this_cpu_write(sim_cpu.vmx_operation, false);
	forget();
	x86_virt_put_ref(X86_FEATURE_VMX);
	expect_steps(test, "vmxoff vmxe=0 pt=1 flush", 1);
	KUNIT_EXPECT_EQ(test, SIM_CR4, this_cpu_read(sim_cpu.cr4));

	KUNIT_EXPECT_EQ(test, 0, x86_virt_get_ref(X86_FEATURE_VMX));
	expect_steps(test, "pt=0 vmxe=1 vmxon", 0);

	this_cpu_write(sim_cpu.vmx_operation, false);
	emergency();
	expect_steps(test, "vmxoff vmxe=0", 0);
	KUNIT_EXPECT_EQ(test, SIM_CR4, this_cpu_read(sim_cpu.cr4));
}

/* sim_cr4_update() and sim_intel_pt_handle_vmx() know what faults then. */
static void __init x86_virt_vmxoff_fails(struct kunit *test)
{
	boot(true, false);

	x86_virt_get_ref(X86_FEATURE_VMX);
	forget();
	sim.vmxoff_fails = true;
	x86_virt_put_ref(X86_FEATURE_VMX);
	expect_steps(test, "vmxoff", 1);
	KUNIT_EXPECT_FALSE(test, virt_is_off());
	KUNIT_EXPECT_FALSE(test, x86_virt_is_enabled());

	/* As if somebody else had enabled it. */
	KUNIT_EXPECT_EQ(test, -EBUSY, x86_virt_get_ref(X86_FEATURE_VMX));
	KUNIT_EXPECT_TRUE(test, x86_virt_begin_emergency());
	emergency();
	expect_steps(test, "vmxoff", 0);

	sim.vmxoff_fails = false;
	emergency();
	expect_steps(test, "vmxoff vmxe=0", 0);
	KUNIT_EXPECT_TRUE(test, virt_is_off());
}

/* The kernel parks an offline CPU with clean caches. */
static void __init x86_virt_cpu_going_offline(struct kunit *test)
{
	boot(true, false);

	sim.dying = true;
	x86_virt_get_ref(X86_FEATURE_VMX);
	forget();
	x86_virt_put_ref(X86_FEATURE_VMX);
	expect_steps(test, "vmxoff vmxe=0 pt=1", 0);

	sim.tboot = true;
	x86_virt_get_ref(X86_FEATURE_VMX);
	forget();
	x86_virt_put_ref(X86_FEATURE_VMX);
	expect_steps(test, "vmxoff vmxe=0 pt=1 flush", 0);
}

/* cr4_set_bits() and cr4_clear_bits() write the shadow first. */
static void __init x86_virt_emergency_in_cr4_update(struct kunit *test)
{
	boot(true, false);

	this_cpu_write(sim_cpu.cr4_shadow, SIM_CR4 | X86_CR4_VMXE);
	emergency();
	expect_steps(test, "", 0);
	KUNIT_EXPECT_TRUE(test, virt_is_off());

	/* It takes VMXOFF to find out that the CPU isn't in VMX operation. */
	this_cpu_write(sim_cpu.cr4_shadow, SIM_CR4);
	this_cpu_write(sim_cpu.cr4, SIM_CR4 | X86_CR4_VMXE);
	emergency();
	expect_steps(test, "vmxoff", 0);
	KUNIT_EXPECT_TRUE(test, virt_is_off());

	/* It is if the update is about another bit. */
	meddle(&flavors[0], true);
	this_cpu_write(sim_cpu.cr4_shadow, SIM_CR4 | X86_CR4_VMXE | X86_CR4_PCE);
	emergency();
	expect_steps(test, "vmxoff vmxe=0", 0);
	KUNIT_EXPECT_TRUE(test, virt_is_off());
}

static void __init x86_virt_init_root_vmcses(struct kunit *test)
{
	static const struct vmcs_hdr hdr = { .revision_id = SIM_REVISION };
	int cpu;

	boot(true, false);
	expect_steps(test, "", 0);
	KUNIT_EXPECT_EQ(test, num_possible_cpus(), sim.pages);

	for_each_possible_cpu(cpu) {
		struct vmcs *vmcs = per_cpu(root_vmcs, cpu);

		KUNIT_ASSERT_NOT_NULL(test, vmcs);
		KUNIT_EXPECT_TRUE(test, IS_ALIGNED((unsigned long)vmcs, PAGE_SIZE));
		KUNIT_EXPECT_MEMEQ(test, &vmcs->hdr, &hdr, sizeof(hdr));
		KUNIT_EXPECT_NULL(test, memchr_inv((void *)vmcs + sizeof(hdr), 0,
						   PAGE_SIZE - sizeof(hdr)));
	}
}

static void __init x86_virt_init_no_vmx_basic(struct kunit *test)
{
	sim.msrs_fault = true;
	boot(true, false);
	KUNIT_EXPECT_FALSE(test, sim.vmx);
	expect_no_virt(test);
}

static void __init x86_virt_init_large_vmcs(struct kunit *test)
{
	sim.vmx_basic = SIM_VMX_BASIC(PAGE_SIZE + 1);
	boot(true, false);
	KUNIT_EXPECT_FALSE(test, sim.vmx);
	expect_no_virt(test);
}

static void __init x86_virt_init_no_memory(struct kunit *test)
{
	int nr;

	for (nr = 1; nr <= num_possible_cpus(); nr++) {
		sim.page_nr = 0;
		sim.page_nr_to_fail = nr;
		boot(true, false);
		KUNIT_EXPECT_EQ(test, nr, sim.page_nr);
		KUNIT_EXPECT_FALSE(test, sim.vmx);
		expect_no_virt(test);
	}
}
#endif /* CONFIG_KVM_INTEL */

#if IS_ENABLED(CONFIG_KVM_AMD)
static void __init x86_virt_svm_sets_gif(struct kunit *test)
{
	boot(false, true);

	x86_virt_get_ref(X86_FEATURE_SVM);
	this_cpu_write(sim_cpu.gif, false);
	x86_virt_put_ref(X86_FEATURE_SVM);
	KUNIT_EXPECT_TRUE(test, virt_is_off());

	x86_virt_get_ref(X86_FEATURE_SVM);
	this_cpu_write(sim_cpu.gif, false);
	emergency();
	KUNIT_EXPECT_TRUE(test, virt_is_off());
}

static void __init x86_virt_stgi_faults(struct kunit *test)
{
	boot(false, true);

	sim.stgi_faults = true;
	x86_virt_get_ref(X86_FEATURE_SVM);
	forget();
	x86_virt_put_ref(X86_FEATURE_SVM);
	expect_steps(test, "stgi svme=0", 1);
	KUNIT_EXPECT_TRUE(test, virt_is_off());

	x86_virt_get_ref(X86_FEATURE_SVM);
	forget();
	emergency();
	expect_steps(test, "stgi svme=0", 0);
	KUNIT_EXPECT_TRUE(test, virt_is_off());
}
#endif /* CONFIG_KVM_AMD */

/* The real instructions, on a CPU on which all of them are bound to fault. */
static void __init x86_virt_insns_report_faults(struct kunit *test)
{
	int r_vmxon = 0, r_vmxoff = 0, r_stgi = 0;
	bool in_use;

	scoped_guard(irqsave) {
		in_use = (native_read_cr4() & X86_CR4_VMXE) ||
			 (native_rdmsrq(MSR_EFER) & EFER_SVME);
		if (!in_use) {
			r_vmxon = __vmxon(0);
			r_vmxoff = __vmxoff();
			r_stgi = __stgi();
		}
	}

	if (in_use)
		kunit_skip(test, "virtualization is in use");

	KUNIT_EXPECT_EQ(test, -EFAULT, r_vmxon);
	KUNIT_EXPECT_EQ(test, -EFAULT, r_vmxoff);
	/* With either of them, STGI doesn't need EFER.SVME. */
	if (!boot_cpu_has(X86_FEATURE_SKINIT) && !boot_cpu_has(X86_FEATURE_SVML))
		KUNIT_EXPECT_EQ(test, -EFAULT, r_stgi);
}

static struct kunit_case __refdata x86_virt_hw_cases[] = {
	KUNIT_CASE_PARAM(x86_virt_counts, flavor_gen_params),
	KUNIT_CASE_PARAM(x86_virt_irqs, flavor_gen_params),
	KUNIT_CASE_PARAM(x86_virt_cpus, flavor_gen_params),
	KUNIT_CASE_PARAM(x86_virt_is_enabled_test, flavor_gen_params),
	KUNIT_CASE_PARAM(x86_virt_begin_emergency_test, flavor_gen_params),
	KUNIT_CASE_PARAM(x86_virt_conflict, flavor_gen_params),
	KUNIT_CASE_PARAM(x86_virt_cpu_without_feature, flavor_gen_params),
	KUNIT_CASE_PARAM(x86_virt_wrong_feature, flavor_gen_params),
	KUNIT_CASE_PARAM(x86_virt_underflow, flavor_gen_params),
	KUNIT_CASE_PARAM(x86_virt_disabled_by_others, flavor_gen_params),
	KUNIT_CASE_PARAM(x86_virt_emergency, flavor_gen_params),
	KUNIT_CASE_PARAM(x86_virt_emergency_callback_test, flavor_gen_params),
	KUNIT_CASE_PARAM(x86_virt_emergency_while_off, flavor_gen_params),
	KUNIT_CASE_PARAM(x86_virt_emergency_without_reference, flavor_gen_params),
	KUNIT_CASE_PARAM(x86_virt_emergency_with_irqs, flavor_gen_params),
	KUNIT_CASE_PARAM(x86_virt_emergency_anywhere, flavor_gen_params),
	KUNIT_CASE(x86_virt_callback_registration),
	KUNIT_CASE_PARAM(x86_virt_shutdown_test, flavor_gen_params),
	KUNIT_CASE_PARAM(x86_virt_shutdown_and_get, flavor_gen_params),
	KUNIT_CASE_PARAM(x86_virt_shutdown_unused, flavor_gen_params),
	KUNIT_CASE_PARAM(x86_virt_shutdown_foreign, flavor_gen_params),
	KUNIT_CASE_PARAM(x86_virt_shutdown_slow_cpu, flavor_gen_params),
	KUNIT_CASE_PARAM(x86_virt_shutdown_deaf_cpu, flavor_gen_params),
	KUNIT_CASE(x86_virt_init_no_vendor),
	KUNIT_CASE(x86_virt_init_both_vendors),
	KUNIT_CASE(x86_virt_init_svm_in_cc_guest),
#if IS_ENABLED(CONFIG_KVM_INTEL)
	KUNIT_CASE(x86_virt_vmxon_faults),
	KUNIT_CASE(x86_virt_vmxoff_faults),
	KUNIT_CASE(x86_virt_vmxoff_fails),
	KUNIT_CASE(x86_virt_cpu_going_offline),
	KUNIT_CASE(x86_virt_emergency_in_cr4_update),
	KUNIT_CASE(x86_virt_init_root_vmcses),
	KUNIT_CASE(x86_virt_init_no_vmx_basic),
	KUNIT_CASE(x86_virt_init_large_vmcs),
	KUNIT_CASE(x86_virt_init_no_memory),
#endif
#if IS_ENABLED(CONFIG_KVM_AMD)
	KUNIT_CASE(x86_virt_svm_sets_gif),
	KUNIT_CASE(x86_virt_stgi_faults),
#endif
	KUNIT_CASE(x86_virt_insns_report_faults),
	{}
};

static struct kunit_suite __refdata x86_virt_hw_suite = {
	.name		= "x86_virt_hw",
	.init		= x86_virt_hw_init,
	.exit		= x86_virt_hw_exit,
	.test_cases	= x86_virt_hw_cases,
};

kunit_test_init_section_suite(x86_virt_hw_suite);
