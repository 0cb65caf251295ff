/* SPDX-License-Identifier: GPL-2.0-only OR LGPL-2.1-or-later */
/*
 * How a program talks to an emulated TDX host whose TDX module is a software
 * model: by CPUID, in a leaf of the range that the SDM leaves to software, so
 * that looking for the model is harmless on every other machine.
 *
 *	TDX_HOST_CPUID_ID	EAX: highest command, EBX:ECX:EDX: signature
 *	TDX_HOST_CPUID_CMD	in:  ECX: command, RBX, RDX, RSI: arguments
 *				out: EAX: 0 or a positive errno value,
 *				     ECX:EBX: 64-bit result, EDX: 0
 *
 * Both work at any privilege level of the host, outside VMX non-root
 * operation.  The module itself cannot be reached from here: a test can set
 * the stage and look, not act for the kernel.
 */
#ifndef SELFTEST_KVM_TDX_HOST_MODEL_H
#define SELFTEST_KVM_TDX_HOST_MODEL_H

#define TDX_HOST_CPUID_ID		0x4f000000
#define TDX_HOST_CPUID_CMD		0x4f000001

/* "SoftTDXModel" in EBX, ECX, EDX, first character in the lowest byte. */
#define TDX_HOST_SIG_EBX		0x74666f53
#define TDX_HOST_SIG_ECX		0x4d584454
#define TDX_HOST_SIG_EDX		0x6c65646f

/* Commands.  An unknown command or argument gives EINVAL (22). */
enum {
	/* RBX: a counter; the result is its value. */
	TDX_HOST_READ			= 0,
	/* Set all counters to 0, on all CPUs; gauges and watches stay. */
	TDX_HOST_RESET			= 1,
	/* TDH.VP.ENTER from now on: RBX is an enum below. */
	TDX_HOST_SCRIPT			= 2,
	/* RBX: GPR in encoding order, RDX: its value at a scripted exit. */
	TDX_HOST_SCRIPT_GPR		= 3,
	/* RBX: slot, RDX: linear address of a kernel function, 0: none. */
	TDX_HOST_WATCH			= 4,
	/* Set an entry of the fault plan, see below. */
	TDX_HOST_FAULT			= 5,
	/* RBX: slot, RDX: an enum below; the result is that part of the entry. */
	TDX_HOST_FAULT_READ		= 8,
	/* Remove all entries, and end the scenario. */
	TDX_HOST_FAULT_CLEAR		= 9,
	/*
	 * Begin a scenario, of which the n-th SEAMCALL fails, or end it.
	 * RBX: an enum below | n << 32, RDX: bit mask of leaves that neither
	 * count nor fail.
	 */
	TDX_HOST_SCENARIO		= 10,
	/*
	 * RBX: percentage of the modelled time that SEAMCALLs take from now on,
	 * see TDX_HOST_LEAF_NS; 0 as long as nobody has asked for another one.
	 */
	TDX_HOST_TIME			= 11,

	/*
	 * RBX: physical address.  The result is 0 for a page of the host's own,
	 * or page type [7:0] as TDH.PHYMEM.PAGE.RDMD gives it, with 1 for PAMT,
	 * physical address of the owner's TDR [51:12], 0 for the module, and the
	 * TD's KeyID [63:52].
	 */
	TDX_HOST_OWNER			= 16,
	/*
	 * RBX: slot of a watch.  Its function takes the queued rwlock at RDI for
	 * writing, and what counts as a call is the time from its return until
	 * the lock is free.  RDX, RSI: of locks that some caller in this range
	 * of addresses, its end excluded, has taken since this command, only;
	 * these count whoever takes them.
	 */
	TDX_HOST_WATCH_LOCK		= 17,
	/*
	 * RBX: a bit for each slot, of watches whose calls the host logs from
	 * now on: a line with the tick for each entry and for each return.
	 */
	TDX_HOST_TRACE			= 18,
	/*
	 * Recount the state of the model.  The result is 1 if it is consistent;
	 * else it is 0, and the host reports what is not.
	 */
	TDX_HOST_CHECK			= 19,
};

#define TDX_HOST_MAX_COMMAND		TDX_HOST_CHECK

/* Arguments of TDX_HOST_SCRIPT. */
enum {
	TDX_HOST_SCRIPT_EXIT		= 0,	/* exit at once */
	TDX_HOST_SCRIPT_STAY		= 1,	/* until an interrupt */
};

/*
 * The fault plan.  An entry has the SEAMCALLs of a leaf fail before they have had
 * any effect: the n-th one after the entry was set, and every k-th that follows.
 * If several entries are due, the one in the lowest slot wins, and the others
 * wait for their next turn.
 *
 *	RBX	slot | TDX_HOST_FAULT_* << 8 | leaf << 16 | how often << 32
 *	RDX	n | k << 32, both at least 1
 *	RSI	value
 */
#define TDX_HOST_MAX_FAULTS		8
#define TDX_HOST_ANY_LEAF		0xffff
#define TDX_HOST_FOREVER		0xffffffff

enum {
	TDX_HOST_FAULT_NONE		= 0,	/* remove the entry */
	TDX_HOST_FAULT_STATUS		= 1,	/* RAX: value */
	TDX_HOST_FAULT_UD		= 2,	/* #UD */
	TDX_HOST_FAULT_VMFAIL		= 3,	/* VMfailInvalid */
	/*
	 * Another LP has a lock that the leaf needs: TDX_OPERAND_BUSY with the
	 * operand of the leaf, from that call on, for a number of ticks: value.
	 */
	TDX_HOST_FAULT_LOCKED		= 4,
	/* TDH.PHYMEM.CACHE.WB is interrupted, and has to be resumed. */
	TDX_HOST_FAULT_INTERRUPTED	= 5,
};

/* Arguments of TDX_HOST_FAULT_READ: registers of TDX_HOST_FAULT, and counters. */
enum {
	TDX_HOST_FAULT_RBX		= 0,	/* 0 if the slot is empty */
	TDX_HOST_FAULT_RDX		= 1,
	TDX_HOST_FAULT_RSI		= 2,
	TDX_HOST_FAULT_CALLS		= 3,	/* that the entry has seen */
	TDX_HOST_FAULT_INJECTED		= 4,	/* of these, made to fail */
};

/*
 * Arguments of TDX_HOST_SCENARIO.  A call that fails does so with a status that is
 * plausible for its leaf.  If n is 0 none does, the calls are only counted.
 */
enum {
	TDX_HOST_SCENARIO_END		= 0,
	TDX_HOST_SCENARIO_BUSY		= 1,	/* TDX_OPERAND_BUSY, TDX_SYS_BUSY */
	TDX_HOST_SCENARIO_ERROR		= 2,	/* what trying again can't help */
	TDX_HOST_SCENARIO_STICKY	= 0x100,/* | one of these: all from n on */
};

/* Arguments of TDX_HOST_READ. */
enum {
	/* Counters, since boot or the last TDX_HOST_RESET. */
	TDX_HOST_SEAMCALL_LEAF		= 0x000, /* + leaf, 0 to 0xff */
	TDX_HOST_SEAMCALL_ERRORS	= 0x100, /* + leaf: RAX bit 63 set */
	TDX_HOST_SEAMCALLS		= 0x200,
	TDX_HOST_MOVDIR64B		= 0x201, /* 64-byte lines stored */
	TDX_HOST_IPIS			= 0x202, /* fixed delivery, per target */
	TDX_HOST_TICKS			= 0x203,
	TDX_HOST_WBINVD			= 0x204, /* executed by the host */
	/* Accesses of the host to pages that a TD or the module owns. */
	TDX_HOST_OWNED_LOADS		= 0x205,
	TDX_HOST_OWNED_STORES		= 0x206, /* MOVDIR64B not included */
	TDX_HOST_CLFLUSH		= 0x207, /* CLFLUSHOPT, CLWB, too */

	/* Gauges. */
	TDX_HOST_TICKS_PER_SECOND	= 0x300,
	TDX_HOST_TD_PAGES		= 0x301, /* owned by TDs */
	TDX_HOST_TD_PRIVATE_PAGES	= 0x302, /* of these guest memory */
	TDX_HOST_KEYIDS_IN_USE		= 0x303, /* guest KeyIDs not free */
	TDX_HOST_KEYIDS			= 0x304, /* all guest KeyIDs */
	TDX_HOST_TDS			= 0x305,
	TDX_HOST_PAMT_BYTES		= 0x306,
	TDX_HOST_MODULE_READY		= 0x307,
	TDX_HOST_WANTS_CLFLUSH		= 0x308, /* of pages given to it */

	/* Watches: + slot * 4.  Ticks and IPIs are those from entry to return. */
	TDX_HOST_WATCH_CALLS		= 0x400,
	TDX_HOST_WATCH_IPIS		= 0x401,
	TDX_HOST_WATCH_TICKS		= 0x402,

	/* Faults of the plan and of scenarios, since power-on. */
	TDX_HOST_INJECTED		= 0x600, /* SEAMCALLs made to fail */
	/* The scenario, until another one begins. */
	TDX_HOST_SCENARIO_CALLS		= 0x601,
	TDX_HOST_SCENARIO_FAILED	= 0x602, /* of these, made to fail */
	TDX_HOST_SCENARIO_LEAF		= 0x603, /* TDX_HOST_ANY_LEAF: none */
	TDX_HOST_SCENARIO_STATUS	= 0x604, /* of the first one */
	/* Modelled time and locks of the TDX module, since power-on. */
	TDX_HOST_STALL_TICKS		= 0x605, /* summed over the CPUs */
	TDX_HOST_LOCKS_BUSY		= 0x606, /* locks found taken */
	/* + leaf: nanoseconds that a successful call takes at 100 percent. */
	TDX_HOST_LEAF_NS		= 0x640,

	/* Reports since power-on: + an enum below.  TDX_HOST_RESET leaves them. */
	TDX_HOST_REPORTS		= 0x500,

	/*
	 * Watches, + slot * 4: ticks of the longest call; TDX_HOST_TICKS when the
	 * first call began and when the last one ended, of those that ended.
	 */
	TDX_HOST_WATCH_LONGEST		= 0x700,
	TDX_HOST_WATCH_FIRST		= 0x701,
	TDX_HOST_WATCH_LAST		= 0x702,
};

/*
 * What a correct kernel never does.  The host goes on; its log has a line with
 * the kind's name (given here), the CPU and the RIP for each.
 */
enum {
	/*
	 * vmxoff-active-vmcs: VMXOFF while a VMCS is active on the CPU, i.e.
	 * VMPTRLD has named it and VMCLEAR has not since, on this CPU.
	 */
	TDX_HOST_REPORT_VMXOFF_ACTIVE_VMCS	= 0,
	/* reset-active-vmcs: the same at INIT, or at reset of the platform. */
	TDX_HOST_REPORT_RESET_ACTIVE_VMCS	= 1,
	/* vmcs-on-two-cpus: VMPTRLD while it is active on another CPU. */
	TDX_HOST_REPORT_VMCS_ON_TWO_CPUS	= 2,
	/*
	 * parked-unflushed: no WBINVD since the CPU's last SEAMCALL, and now the
	 * CPU sleeps with interrupts blocked, or INIT sends it to wait-for-SIPI.
	 * Not in an NMI handler: so do CPUs end that crash.
	 */
	TDX_HOST_REPORT_PARKED_UNFLUSHED	= 3,
	/* kexec-unflushed: the same when kexec starts a kernel on the CPU. */
	TDX_HOST_REPORT_KEXEC_UNFLUSHED		= 4,
	/* blocked-init: INIT arrives in VMX operation, or while GIF is 0. */
	TDX_HOST_REPORT_BLOCKED_INIT		= 5,
	/*
	 * reset-blocked-init: a CPU is in VMX operation, or its GIF is 0, at
	 * reset of the platform (port CF9, keyboard controller, triple fault).
	 */
	TDX_HOST_REPORT_RESET_BLOCKED_INIT	= 6,
	/*
	 * svme-off-gif-0: EFER.SVME is cleared while GIF is 0, so that nothing
	 * can set GIF again: no NMI and no INIT will reach the CPU.
	 */
	TDX_HOST_REPORT_SVME_OFF_GIF_0		= 7,

	/*
	 * owned-load, owned-store: the host accesses a page that a TD or the TDX
	 * module owns, with MOVDIR64B as well.  Once for each page and owner.  A
	 * store is also what happens if such a page is handed to the page
	 * allocator, with init_on_free=1.
	 */
	TDX_HOST_REPORT_OWNED_LOAD		= 8,
	TDX_HOST_REPORT_OWNED_STORE		= 9,
	/*
	 * poison-load: the host loads from a line that it has stored to while it
	 * was private to a TD or to the module, and not cleared with MOVDIR64B.
	 * A machine check follows.  Only on CPUs with the partial-write erratum.
	 */
	TDX_HOST_REPORT_POISON_LOAD		= 10,

	/*
	 * model-invariant: no error of the kernel, but of the model, which
	 * TDX_HOST_CHECK has found.
	 */
	TDX_HOST_REPORT_MODEL_INVARIANT		= 11,

	/*
	 * asid-shared: VMRUN, without a TLB flush, with an ASID that another VMCB
	 * has used on the CPU since the ASID was flushed.
	 */
	TDX_HOST_REPORT_ASID_SHARED		= 12,

	TDX_HOST_REPORT_KINDS			= 13,
};

#define TDX_HOST_MAX_WATCHES		16

#endif /* SELFTEST_KVM_TDX_HOST_MODEL_H */
