/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Access to an emulated TDX host, see tdx_host_model.h.  On any other machine
 * tdx_host_is_model() is false and none of the rest may be used.
 */
#ifndef SELFTEST_KVM_TDX_HOST_H
#define SELFTEST_KVM_TDX_HOST_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "kvm_util.h"
#include "tdx_host_model.h"

/* SEAMCALL leaf functions of the host (SEAMCALL RAX[15:0]). */
enum tdh_leaf {
	TDH_VP_ENTER		= 0,
	TDH_MNG_ADDCX		= 1,
	TDH_MEM_PAGE_ADD	= 2,
	TDH_MEM_SEPT_ADD	= 3,
	TDH_VP_ADDCX		= 4,
	TDH_MEM_PAGE_AUG	= 6,
	TDH_MEM_RANGE_BLOCK	= 7,
	TDH_MNG_KEY_CONFIG	= 8,
	TDH_MNG_CREATE		= 9,
	TDH_VP_CREATE		= 10,
	TDH_MNG_RD		= 11,
	TDH_MR_EXTEND		= 16,
	TDH_MR_FINALIZE		= 17,
	TDH_VP_FLUSH		= 18,
	TDH_MNG_VPFLUSHDONE	= 19,
	TDH_MNG_KEY_FREEID	= 20,
	TDH_MNG_INIT		= 21,
	TDH_VP_INIT		= 22,
	TDH_PHYMEM_PAGE_RDMD	= 24,
	TDH_VP_RD		= 26,
	TDH_PHYMEM_PAGE_RECLAIM	= 28,
	TDH_MEM_PAGE_REMOVE	= 29,
	TDH_SYS_KEY_CONFIG	= 31,
	TDH_SYS_INIT		= 33,
	TDH_SYS_RD		= 34,
	TDH_SYS_LP_INIT		= 35,
	TDH_SYS_TDMR_INIT	= 36,
	TDH_MEM_TRACK		= 38,
	TDH_MEM_RANGE_UNBLOCK	= 39,
	TDH_PHYMEM_CACHE_WB	= 40,
	TDH_PHYMEM_PAGE_WBINVD	= 41,
	TDH_VP_WR		= 43,
	TDH_SYS_CONFIG		= 45,
	TDH_NR_LEAVES		= 256,
	TDH_ANY_LEAF		= TDX_HOST_ANY_LEAF,
};

/* Completion status in SEAMCALL RAX, the ones that tests inject. */
#define TDX_STATUS_NON_RECOVERABLE_TD		0x6000000200000000ull
#define TDX_STATUS_NON_RECOVERABLE_TD_NON_ACCESSIBLE	0x6000000500000000ull
#define TDX_STATUS_NON_RECOVERABLE_TD_WRONG_APIC_MODE	0xe000000700000000ull
#define TDX_STATUS_OPERAND_BUSY			0x8000020000000000ull
#define TDX_STATUS_KEY_GENERATION_FAILED	0x8000080000000000ull
#define TDX_STATUS_FLUSHVP_NOT_DONE		0x8000082400000000ull
#define TDX_STATUS_OPERAND_INVALID		0xc000010000000000ull
#define TDX_STATUS_PAGE_METADATA_INCORRECT	0xc000030000000000ull
#define TDX_STATUS_CPUID_LEAF_1F_FORMAT_UNRECOGNIZED	0xc000090400000000ull
#define TDX_STATUS_OPERAND_ID_RCX		0x01ull
#define TDX_STATUS_OPERAND_ID_TDR		0x80ull

/* What happened on the host between tdx_counts_start() and tdx_counts_stop(). */
struct tdx_counts {
	u64 leaf[TDH_NR_LEAVES];	/* SEAMCALLs by leaf */
	u64 errors[TDH_NR_LEAVES];	/* of these with RAX[63] set */
	u64 seamcalls;			/* all SEAMCALLs */
	u64 movdir64b_lines;		/* 64-byte lines */
	u64 ipis;
	u64 ticks;
	u64 owned_loads;		/* by the host, from TDX private pages */
	u64 owned_stores;		/* by the host, to TDX private pages */
	u64 vcpu_requests;		/* calls of kvm_make_all_cpus_request() */
	u64 kick_ipis;			/* IPIs sent by these calls */
};

/* What the TDX module holds now. */
struct tdx_gauges {
	u64 td_pages;			/* 4 KiB pages that TDs own */
	u64 private_pages;		/* of these guest memory */
	u64 keyids_in_use;
	u64 tds;
};

bool tdx_host_is_model(void);
const char *tdh_leaf_name(unsigned int leaf);

u64 tdx_host_read(u64 what);
void tdx_host_reset(void);
int __tdx_host_watch(unsigned int slot, u64 address);

/*
 * Watches: the host counts and times the calls of a function of the kernel, or
 * how long a lock is held.  Ticks of one that is called by another one count
 * for both.  Slot 0 is taken by tdx_counts_init().
 */
struct tdx_watch {
	u64 calls;
	u64 ticks;			/* in all calls that have returned */
	u64 longest;			/* ticks of one of them */
	u64 first;			/* tick when the first one began */
	u64 last;			/* tick when the last one ended */
};

/* Both return false if /proc/kallsyms doesn't tell the address. */
bool tdx_watch_function(unsigned int slot, const char *function);
/*
 * Watch rwlocks that are held for writing: those that are taken, from now on,
 * by a module whose name begins with @modules.  Interrupt-safe variants of
 * write_lock() don't count.  In KVM that is mmu_lock, and, when a task runs a
 * vCPU for the first time, the lock of the vCPU's PID.
 */
bool tdx_watch_write_locks(unsigned int slot, const char *modules);
struct tdx_watch tdx_watch_read(unsigned int slot);
/*
 * Count the pages that the kernel clears, whoever wants them, by watches in
 * TDX_CLEAR_PAGE_SLOTS slots: the kernel has a function for each kind of CPU.
 * Of the result, only calls and ticks make sense.
 */
#define TDX_CLEAR_PAGE_SLOTS	3
bool tdx_watch_clear_page(unsigned int slot);
struct tdx_watch tdx_clear_page_read(unsigned int slot);
/* Have the calls of watches logged by the host, BIT(slot) for each. */
void tdx_watch_trace(u64 slots);

/* An entry of the host's fault plan; nth, every and count are 1 if they are 0. */
struct tdx_fault {
	u8 what;			/* TDX_HOST_FAULT_* */
	enum tdh_leaf leaf;
	u32 nth;
	u32 every;
	u32 count;
	u64 value;
};

/* Return 0 or an errno value. */
int __tdx_host_set_fault(unsigned int slot, const struct tdx_fault *fault);
int __tdx_host_read_fault(unsigned int slot, u64 part, u64 *value);

void tdx_host_set_fault(unsigned int slot, const struct tdx_fault *fault);
/* Have the n-th SEAMCALL from now with this leaf fail, once; replaces slot 0. */
void tdx_host_inject_status(enum tdh_leaf leaf, u32 nth, u64 status);
/* SEAMCALLs that the entry has made fail. */
u64 tdx_host_fault_injected(unsigned int slot);
void tdx_host_clear_faults(void);

/* A sequence of SEAMCALLs of which the n-th fails; if n is 0 none does. */
struct tdx_scenario {
	u64 calls;
	u64 failed;			/* of these, made to fail */
	u64 leaf;			/* of the first one that was */
	u64 status;
};

/* @how: TDX_HOST_SCENARIO_*, @exempt: leaves that neither count nor fail */
void tdx_host_scenario_begin(u32 how, u32 nth, u64 exempt);
struct tdx_scenario tdx_host_scenario_end(void);

/* Have SEAMCALLs take modelled time, 100 is as the host thinks of hardware. */
int __tdx_host_set_time(u64 percent);
void tdx_host_set_time(u64 percent);

/*
 * TDH.VP.ENTER runs no guest code on the model, it follows a script: leave at
 * once by a TDVMCALL that makes KVM_RUN return KVM_EXIT_IO, that halts the vCPU, or
 * that asks KVM to read @msr, leave at once as if the guest had accessed a private
 * page at @gpa before accepting it, or when it was not mapped yet, or with @status, or
 * stay until an interrupt comes for the CPU.
 */
#define TDX_SCRIPT_IO_PORT	0x80

void tdx_host_script_io(void);
void tdx_host_script_halt(void);
void tdx_host_script_rdmsr(u32 msr);
void tdx_host_script_unaccepted(u64 gpa);
void tdx_host_script_violation(u64 gpa);
void tdx_host_script_status(u64 status);
void tdx_host_script_stay(void);

/*
 * Find the kernel function that kicks all vCPUs, so that the counts include
 * vCPU requests.  Returns false if /proc/kallsyms doesn't tell its address.
 */
bool tdx_counts_init(void);
void tdx_counts_start(struct tdx_counts *counts);
void tdx_counts_stop(struct tdx_counts *counts);
void tdx_counts_print(FILE *stream, const struct tdx_counts *counts, u64 pages);

struct tdx_gauges tdx_gauges_read(void);
/*
 * Destroying a VM can lag behind the last close(), e.g. in a work item.  Wait,
 * but not forever, until no more than @tds TDs are left.
 */
bool tdx_host_wait_for_tds(u64 tds);
/*
 * Have the model of the TDX module look for contradictions in its state: what the
 * gauges count, page by page, locks, the states of KeyIDs, TDs and vCPUs.  False
 * if there are any; the host then reports one, see its log.
 */
bool tdx_host_check(void);

u64 kallsyms_lookup(const char *name);
int nr_cpu_packages(void);
bool cpu_has_bug(const char *bug);

#endif /* SELFTEST_KVM_TDX_HOST_H */
