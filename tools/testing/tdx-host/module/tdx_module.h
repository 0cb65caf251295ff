/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A software model of the Intel TDX module: the SEAMCALL interface (TDH.*) as
 * a host sees it.  It is not Intel's TDX module and runs no guest code.
 *
 * The model depends on no emulator.  The emulator supplies struct tdx_platform
 * and a struct tdx_cpu for each logical processor (LP), and calls
 * tdx_seamcall() when a SEAMCALL has passed the architectural checks of the
 * instruction (VMX root operation, CPL 0, 64-bit mode).
 *
 * Field names and semantics follow the "Intel TDX Module ABI Specification"
 * and the "Base Architecture Specification" of TDX module 1.5.
 */
#ifndef TDX_MODULE_H
#define TDX_MODULE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define TDX_MAX_LPS		64
#define TDX_MAX_PACKAGES	8
#define TDX_MAX_CMRS		32

/* Encoding order of the 64-bit general-purpose registers. */
enum tdx_gpr {
	TDX_RAX, TDX_RCX, TDX_RDX, TDX_RBX, TDX_RSP, TDX_RBP, TDX_RSI, TDX_RDI,
	TDX_R8, TDX_R9, TDX_R10, TDX_R11, TDX_R12, TDX_R13, TDX_R14, TDX_R15,
	TDX_NR_GPRS
};

/* A convertible memory range; both members are 4 KiB aligned, in bytes. */
struct tdx_cmr {
	uint64_t base;
	uint64_t size;
};

/**
 * struct tdx_cpu - the LP that executes a SEAMCALL
 * @gpr: its general-purpose registers, in encoding order; the model reads the
 *	operands from and writes the results to them.  RSP and RBP are never
 *	changed, nor is any register that the leaf does not return.
 * @lp: index of the LP, 0 to tdx_platform.nr_lps - 1
 * @tsc: host TSC at the time of the call
 * @tsc_adjust: IA32_TSC_ADJUST
 * @now: time of the call in periods of the TSC, by a clock that all LPs share
 *	and nobody sets
 * @ticks: set by a call that is TDX_DONE: the LP executes nothing and takes no
 *	interrupt until @now + @ticks; 0 unless tdx_set_time() says otherwise
 */
struct tdx_cpu {
	uint64_t *gpr;
	unsigned int lp;
	uint64_t tsc;
	uint64_t tsc_adjust;
	uint64_t now;
	uint64_t ticks;
};

/**
 * struct tdx_owner - whose a 4 KiB frame is
 * @tdr: physical address of the TD's TDR page; 0 for the module itself
 * @keyid: the TD's KeyID when it got the frame; 0 for the module itself
 * @pt: page type as TDH.PHYMEM.PAGE.RDMD reports it; 1 (PT_RSVD) for PAMT
 */
struct tdx_owner {
	uint64_t tdr;
	uint16_t keyid;
	uint8_t pt;
};

/**
 * struct tdx_platform - what the model needs to know of, and do to, its host
 * @ctx: passed to every callback
 * @nr_lps: all LPs of the platform, present in the kernel or not; 1 to
 *	TDX_MAX_LPS
 * @package: package number of each LP, 0 to TDX_MAX_PACKAGES - 1
 * @keyid_shift: position of the KeyID in a physical address (host MAXPHYADDR
 *	less the KeyID bits), 36 to 52
 * @nr_mktme_keyids: KeyIDs 1 to this are shared
 * @nr_tdx_keyids: this many KeyIDs follow, and are private
 * @tsc_hz: nominal frequency of the TSC, in Hz
 * @nr_cmrs: number of entries in @cmrs
 * @cmrs: convertible memory, ascending and disjoint
 * @clflush_before_alloc: the module asks its host to CLFLUSH a page before it
 *	gets it, in TDX_FEATURES0; nothing else depends on it
 * @page: host pointer to the 4 KiB frame at @pa (4 KiB aligned, no KeyID), or
 *	NULL where there is no RAM
 * @set_owned: the 4 KiB frame at @pa is handed to @owner, or is given back
 *	(NULL); optional
 * @random: a 64-bit number from the platform's seeded generator
 * @cpuid: native CPUID of the platform
 * @interrupt_pending: an unmasked external interrupt is deliverable on @lp
 * @interrupt_ack: acknowledge it as on a VM exit with acknowledge-on-exit:
 *	returns the vector, moved from the IRR to the ISR of the local APIC
 * @nmi_pending: an NMI is pending on @lp; @nmi_ack consumes it
 * @interrupt_eoi: EOI to the local APIC of @lp, for an acknowledged
 *	posted-interrupt notification, which the CPU consumes in the guest;
 *	optional, but without it the vector stays in the ISR
 * @log: a line for the emulator's log, without newline; optional
 */
struct tdx_platform {
	void *ctx;
	unsigned int nr_lps;
	uint8_t package[TDX_MAX_LPS];
	unsigned int keyid_shift;
	unsigned int nr_mktme_keyids;
	unsigned int nr_tdx_keyids;
	uint64_t tsc_hz;
	unsigned int nr_cmrs;
	struct tdx_cmr cmrs[TDX_MAX_CMRS];
	bool clflush_before_alloc;

	void *(*page)(void *ctx, uint64_t pa);
	void (*set_owned)(void *ctx, uint64_t pa,
			  const struct tdx_owner *owner);
	uint64_t (*random)(void *ctx);
	void (*cpuid)(void *ctx, uint32_t leaf, uint32_t subleaf,
		      uint32_t regs[4]);
	bool (*interrupt_pending)(void *ctx, unsigned int lp);
	uint8_t (*interrupt_ack)(void *ctx, unsigned int lp);
	bool (*nmi_pending)(void *ctx, unsigned int lp);
	void (*nmi_ack)(void *ctx, unsigned int lp);
	void (*interrupt_eoi)(void *ctx, unsigned int lp);
	void (*log)(void *ctx, const char *line);
};

enum tdx_outcome {
	/* Completed: CF, PF, AF, ZF, SF and OF are 0, RAX holds the status. */
	TDX_DONE,
	/* VMfailInvalid: CF is 1, no register has changed. */
	TDX_VMFAIL_INVALID,
	/*
	 * The LP is in a TD (TDH.VP.ENTER with a script that stays there) and
	 * executes nothing of the host.  The emulator calls tdx_guest_poll()
	 * when an interrupt or an NMI may have become pending on the LP.
	 */
	TDX_IN_GUEST,
	/* An injected fault: #UD at the SEAMCALL, no register has changed. */
	TDX_UD,
};

struct tdx_module;

/**
 * tdx_module_new() - load the model on a platform
 * @platform: copied
 *
 * Return: the model, or NULL if @platform is out of range or memory is short.
 */
struct tdx_module *tdx_module_new(const struct tdx_platform *platform);
void tdx_module_free(struct tdx_module *m);

/**
 * tdx_seamcall() - execute one SEAMCALL
 * @m: the model; NULL stands for a platform with no module loaded
 * @cpu: the calling LP; RAX holds leaf and version
 *
 * The model is not reentrant: the emulator serializes the calls.  A SEAMCALL
 * on one LP while another one is TDX_IN_GUEST is the normal case, and finds
 * the locks that the vCPU holds taken.
 */
enum tdx_outcome tdx_seamcall(struct tdx_module *m, struct tdx_cpu *cpu);

/**
 * tdx_guest_poll() - let a TD exit if there is a reason to
 * @m: the model
 * @cpu: an LP whose last outcome was TDX_IN_GUEST
 *
 * Return: TDX_IN_GUEST while there is nothing to exit for, TDX_DONE when
 * TDH.VP.ENTER has completed and the registers hold its results.
 */
enum tdx_outcome tdx_guest_poll(struct tdx_module *m, struct tdx_cpu *cpu);

/* What TDH.VP.ENTER does, for every vCPU, until it is set again. */
enum tdx_script_mode {
	/* Exit at once with the registers of struct tdx_script. */
	TDX_SCRIPT_EXIT,
	/* Stay in the TD until an interrupt or NMI is pending on the LP. */
	TDX_SCRIPT_STAY,
};

/**
 * struct tdx_script - the scripted guest
 * @mode: see enum tdx_script_mode
 * @gpr: registers of the exit; @gpr[TDX_RAX] is status and exit reason.  Only
 *	those that TDH.VP.ENTER returns for that exit reason are used.
 *
 * The default is TDX_SCRIPT_EXIT with a TDG.VP.VMCALL <Instruction.IO>: write
 * of one byte to a port, which KVM hands to userspace.
 */
struct tdx_script {
	enum tdx_script_mode mode;
	uint64_t gpr[TDX_NR_GPRS];
};

void tdx_set_script(struct tdx_module *m, const struct tdx_script *script);
void tdx_get_script(const struct tdx_module *m, struct tdx_script *script);

/* What an entry of the fault plan does to a call. */
enum tdx_fault_what {
	TDX_FAULT_NONE,		/* no entry */
	TDX_FAULT_STATUS,	/* RAX is @value, no other effect */
	TDX_FAULT_UD,		/* #UD, as when the CPU has left VMX operation */
	TDX_FAULT_VMFAIL,	/* VMfailInvalid, as when the module is gone */
	/*
	 * Another LP has taken a lock that the leaf needs, and keeps it for @value
	 * ticks: all calls until then are told so.
	 */
	TDX_FAULT_LOCKED,
	/* TDH.PHYMEM.CACHE.WB only: interrupted, to be resumed. */
	TDX_FAULT_INTERRUPTED,
};

#define TDX_MAX_FAULTS	8
#define TDX_ANY_LEAF	0xffff
#define TDX_FOREVER	UINT32_MAX

/**
 * struct tdx_fault - an entry of the fault plan
 * @what: see enum tdx_fault_what
 * @leaf: leaf number, or TDX_ANY_LEAF
 * @nth: the first call to fail, counted from tdx_set_fault(); 1 is the next one
 * @every: from then on each such call; 1 is all
 * @count: how often, or TDX_FOREVER
 * @value: see enum tdx_fault_what
 * @calls: out: calls seen
 * @injected: out: of these, calls it made fail
 *
 * A fault comes before the leaf has had any effect.  If several entries are due
 * at the same call, the first one wins and the others wait for their next turn.
 */
struct tdx_fault {
	enum tdx_fault_what what;
	uint16_t leaf;
	uint32_t nth;
	uint32_t every;
	uint32_t count;
	uint64_t value;
	uint64_t calls;
	uint64_t injected;
};

/* Replaces the entry; both return false if there is no such entry. */
bool tdx_set_fault(struct tdx_module *m, unsigned int slot,
		   const struct tdx_fault *fault);
bool tdx_get_fault(const struct tdx_module *m, unsigned int slot,
		   struct tdx_fault *fault);
/* Removes all entries, and ends a scenario. */
void tdx_clear_faults(struct tdx_module *m);

enum tdx_scenario_how {
	TDX_SCENARIO_END,
	TDX_SCENARIO_BUSY,	/* a lock that the leaf needs is taken */
	TDX_SCENARIO_ERROR,	/* what does not go away by trying again */
};

/**
 * struct tdx_scenario - calls of which one fails
 * @how: the status of the call that fails, which is one of its leaf
 * @nth: this call fails, 1 is the first; 0: only count
 * @sticky: so do all that follow
 * @exempt: bit mask of leaves that neither fail nor count
 * @calls: out: calls seen
 * @failed: out: of these, calls made to fail
 * @leaf: out: leaf of the first of them, or TDX_ANY_LEAF
 * @status: out: its status
 */
struct tdx_scenario {
	enum tdx_scenario_how how;
	uint64_t nth;
	bool sticky;
	uint64_t exempt;
	uint64_t calls;
	uint64_t failed;
	unsigned int leaf;
	uint64_t status;
};

void tdx_begin_scenario(struct tdx_module *m,
			const struct tdx_scenario *scenario);
/* The results stay until another one begins. */
void tdx_end_scenario(struct tdx_module *m);
void tdx_get_scenario(const struct tdx_module *m,
		      struct tdx_scenario *scenario);

/**
 * tdx_set_time() - have leaves take time
 * @m: the model
 * @percent: of what the model knows or supposes of hardware; 0 (default): none
 *
 * A leaf has its effect at once, but its locks stay taken for that time.
 */
void tdx_set_time(struct tdx_module *m, unsigned int percent);

/* How long a successful call takes, at 100 percent; 0 if it is not modelled. */
uint64_t tdx_leaf_ns(unsigned int leaf);

/* Gauges, in pages, KeyIDs and TDs. */
struct tdx_usage {
	uint64_t td_pages;		/* owned by a TD, control pages included */
	uint64_t td_private_pages;	/* of these PT_REG, in 4 KiB pages */
	uint64_t keyids_in_use;		/* guest KeyIDs whose KOT entry is not FREE */
	uint64_t keyids;		/* all guest KeyIDs */
	uint64_t tds;			/* TDRs that exist */
	uint64_t pamt_bytes;		/* as configured by TDH.SYS.CONFIG */
	bool ready;			/* SYS_READY */
	/* Events so far. */
	uint64_t injected;		/* calls that a fault was injected into */
	uint64_t locks_busy;		/* locks that a call found taken */
	uint64_t ticks_taken;		/* by all calls, see tdx_set_time() */
};

void tdx_get_usage(const struct tdx_module *m, struct tdx_usage *usage);

/**
 * tdx_check_invariants() - oracle for tests
 * @m: the model
 * @why: receives a sentence on the first violation
 * @len: size of @why, in bytes
 *
 * Recounts everything that the model counts incrementally and checks the
 * relations between PAMT, KOT, TDRs, S-EPT and vCPUs.
 *
 * Return: true if all hold.
 */
bool tdx_check_invariants(const struct tdx_module *m, char *why, size_t len);

/* Name of a leaf as in the ABI specification, "TDH.VP.ENTER"; NULL if none. */
const char *tdx_leaf_name(unsigned int leaf);

/* Identification: a line that says that this is a software model. */
const char *tdx_module_identity(void);

#ifdef __cplusplus
}
#endif

#endif /* TDX_MODULE_H */
