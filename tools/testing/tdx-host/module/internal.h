/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * State of the model.  All of it lives in host memory: TDR, TDCS, TDVPS, S-EPT
 * and PAMT are encrypted pages on hardware, which the host cannot read.
 */
#ifndef TDM_INTERNAL_H
#define TDM_INTERNAL_H

#include "sha384.h"
#include "status.h"
#include "tdx_module.h"

#define SZ_4K			0x1000ULL
#define SZ_2M			0x200000ULL
#define SZ_1G			0x40000000ULL

#define MAX_TDMRS		64
#define MAX_RESERVED		16
#define PAMT_ENTRY_SIZE		16
#define TDCS_BASE_PAGES		6
#define TDCS_MAX_PAGES		8
#define TDVPS_PAGES		6
#define MAX_VCPUS_PER_TD	576
#define NUM_CPUID_CONFIG	18
#define MAX_SYS_FIELDS		192

#define TDX_ATTR_DEBUG		(1ULL << 0)
#define TDX_ATTR_LASS		(1ULL << 27)
#define TDX_ATTR_SEPT_VE_DISABLE (1ULL << 28)
#define TDX_ATTR_PKS		(1ULL << 30)
#define TDX_ATTR_PERFMON	(1ULL << 63)

#define TDX_FEATURES0_PENDING_EPT_VIOLATION_V2	(1ULL << 16)
#define TDX_FEATURES0_NO_RBP_MOD		(1ULL << 18)
#define TDX_FEATURES0_TOPOLOGY_ENUM		(1ULL << 20)
#define TDX_FEATURES0_CLFLUSH_BEFORE_ALLOC	(1ULL << 23)

enum sys_state { SYSINIT_PENDING, SYSINIT_DONE, SYSCONFIG_DONE, SYS_READY };

enum page_type {
	PT_NDA = 0, PT_RSVD = 1, PT_REG = 3, PT_TDR = 4, PT_TDCX = 5,
	PT_TDVPR = 6, PT_EPT = 8,
};

enum kot_state { KOT_FREE, KOT_ASSIGNED, KOT_FLUSHED, KOT_RESERVED };

enum lifecycle { TD_HKID_ASSIGNED, TD_KEYS_CONFIGURED, TD_BLOCKED, TD_TEARDOWN };

/* Migration is not modelled: the op_states from LIVE_EXPORT on are not reached. */
enum op_state { OP_UNINITIALIZED, OP_INITIALIZED, OP_RUNNABLE };

enum vcpu_state {
	VCPU_UNINITIALIZED = 0, VCPU_READY = 2, VCPU_ACTIVE = 4,
	VCPU_DISABLED = 8,
};

enum last_exit { ASYNC_FAULT, ASYNC_TRAP, TDVMCALL };

/* Codes that MEM.* leaves report in RDX[15:8]. */
enum sept_state {
	SEPT_FREE = 0x00, SEPT_BLOCKED = 0x01, SEPT_PENDING = 0x02,
	SEPT_PENDING_BLOCKED = 0x03, SEPT_MAPPED = 0x04,
	SEPT_NL_BLOCKED = 0x81, SEPT_NL_MAPPED = 0x84,
};

/*
 * Locks are only tried, never waited for.  The calls being serialized, one is held
 * from one call to the next by a vCPU that is in the TD, and for the time that a
 * call takes (time.c); within a call, it is found taken when two operands name the
 * same page.
 */
struct lock {
	uint16_t shared;
	bool excl;
};

enum lock_mode { SHARED, EXCL };

struct held {
	struct lock *lock;
	enum lock_mode mode;
};

#define MAX_HELD	8

/* @td is the owner, or for a TDR the TD itself. */
struct pamt_entry {
	struct td *td;
	union {
		void *object;
		struct vcpu *vcpu;
		struct sept_table *table;
	};
	uint64_t bepoch;
	struct lock lock;
	uint8_t pt;
};

struct range {
	uint64_t base;
	uint64_t size;
};

/* @init_next: memory below it has its PAMT entries initialized. */
struct tdmr {
	uint64_t base;
	uint64_t size;
	struct range pamt[3];
	unsigned int nr_reserved;
	struct range reserved[MAX_RESERVED];
	uint64_t init_next;
	struct lock lock;
	struct pamt_entry *pamt_4k;
	struct pamt_entry *pamt_2m;
};

/* The PAMT entry that describes a page: a 2M leaf, or the 4K one. */
struct page_ref {
	uint64_t pa;
	unsigned int level;
	struct pamt_entry *entry;
};

struct kot_entry {
	enum kot_state state;
	uint32_t wbinvd_packages;
};

/* One 64-bit word an entry: HPA [51:12] | enum sept_state [7:0]. */
struct sept_table {
	uint64_t entry[512];
	struct lock lock[512];
};

struct vcpu {
	struct vcpu *next;
	struct td *td;
	struct pamt_entry *page;
	uint64_t pa;
	unsigned int num_tdcx;
	enum vcpu_state state;
	int lp;				/* associated LP, -1 if none */
	uint32_t index;
	bool has_x2apic_id;
	uint32_t x2apic_id;
	uint64_t initial_rcx;
	uint64_t epoch;
	uint64_t exit_tsc;
	enum last_exit last_exit;
	uint16_t pi_vector;
	uint64_t pi_descriptor;
	uint32_t pin_controls;
	uint64_t shared_eptp;
	uint8_t pend_nmi;
};

struct td {
	struct td *next;
	struct pamt_entry *page;
	uint64_t pa;
	/* TDR */
	uint64_t chldcnt;
	unsigned int hkid;
	enum lifecycle lifecycle;
	bool fatal;
	uint32_t key_packages;
	unsigned int num_tdcx;
	/* TDCS */
	enum op_state op_state;
	uint64_t attributes;
	uint64_t xfam;
	unsigned int max_vcpus;
	unsigned int gpaw;
	unsigned int pwl;
	unsigned int num_vcpus;
	unsigned int num_assoc;
	uint64_t epoch;
	uint64_t refcount[2];
	uint64_t refcount_leaked[2];	/* by exits that made the TD inaccessible */
	uint64_t tsc_offset;
	uint64_t tsc_multiplier;
	uint32_t cpuid[NUM_CPUID_CONFIG][4];
	struct sha384 measurement;
	uint8_t mrtd[SHA384_DIGEST];
	struct sept_table root;
	struct lock sept_lock;
	struct lock epoch_lock;
	struct vcpu *vcpus;
};

/* @held: by the vCPU in @in_guest, or by a call until @busy_until. */
struct lp {
	bool initialized;
	struct vcpu *in_guest;
	unsigned int nr_held;
	struct held held[MAX_HELD];
	uint64_t busy_until;
};

/* CACHE.WB looks for a pending interrupt after each of these parts. */
#define CACHE_BLOCKS	8

/* @wb_keyid: KeyIDs that were FLUSHED when the running CACHE.WB started. */
struct package {
	bool present;
	bool key_configured;
	unsigned int wb_blocks_done;
	bool *wb_keyid;
	struct lock ket_lock;
	struct lock wb_lock;
};

struct sys_field {
	uint64_t id;
	uint64_t value;
};

#define TDX_NR_LEAVES	64
#define LEAF_VP_ENTER	0
#define LEAF_CACHE_WB	40

/* @left: how often it may still start, unless that is TDX_FOREVER. */
struct planned {
	struct tdx_fault fault;
	uint32_t left;
	uint64_t locked_until;
};

struct tdx_module {
	struct tdx_platform p;
	struct tdx_script script;
	struct planned plan[TDX_MAX_FAULTS];
	struct tdx_scenario scenario;
	unsigned int time_percent;
	uint64_t injected;
	uint64_t locks_busy;
	uint64_t ticks_taken;

	enum sys_state state;
	struct lock lock;
	uint64_t tsc_adjust;
	unsigned int nr_lps_initialized;
	struct lp lps[TDX_MAX_LPS];
	struct package packages[TDX_MAX_PACKAGES];
	uint32_t package_mask;
	unsigned int nr_cmrs;			/* merged */
	struct range cmrs[TDX_MAX_CMRS];

	uint64_t attributes_fixed0;
	uint64_t xfam_fixed0;
	bool ept_5_level;
	uint32_t cpuid_config[NUM_CPUID_CONFIG][4];
	unsigned int nr_sys_fields;
	struct sys_field sys_fields[MAX_SYS_FIELDS];

	unsigned int nr_tdmrs;
	struct tdmr tdmrs[MAX_TDMRS];
	struct kot_entry *kot;			/* of the private KeyIDs */
	struct lock kot_lock;

	struct td *tds;
	uint64_t nr_tds;
	uint64_t td_pages;
	uint64_t td_private_pages;
	uint64_t keyids_in_use;
	uint64_t pamt_bytes;
};

/*
 * One SEAMCALL.  @outcome: TDX_IN_GUEST, or what a fault makes of it.  @interrupted:
 * by a fault.  @blocks: that CACHE.WB wrote.
 */
struct call {
	struct tdx_module *m;
	struct tdx_cpu *cpu;
	uint64_t *r;
	unsigned int version;
	enum tdx_outcome outcome;
	bool interrupted;
	unsigned int blocks;
};

#define TRY(status)						\
	do {							\
		uint64_t try_status_ = (status);		\
								\
		if (try_status_ != TDX_SUCCESS)			\
			return try_status_;			\
	} while (0)

static inline bool is_aligned(uint64_t value, uint64_t size)
{
	return (value & (size - 1)) == 0;
}

static inline uint64_t level_size(unsigned int level)
{
	return SZ_4K << 9 * level;
}

/* module.c */
void tdm_log(const struct tdx_module *m, const char *format, ...)
	__attribute__((format(printf, 2, 3)));
bool tdm_lock(struct call *c, struct lock *lock, enum lock_mode mode);
void tdm_unlock(struct lock *lock, enum lock_mode mode);
bool tdm_is_private_keyid(const struct tdx_module *m, uint64_t keyid);
struct kot_entry *tdm_kot(struct tdx_module *m, unsigned int keyid);
const void *tdm_shared_hpa(const struct tdx_module *m, uint64_t hpa,
			   uint64_t align);
bool tdm_is_shared_hpa(const struct tdx_module *m, uint64_t hpa,
		       uint64_t align);
unsigned int tdm_package(const struct call *c);

/* faults.c */
bool tdm_inject(struct call *c, unsigned int leaf, uint64_t *status);

/* time.c */
void tdm_release_locks(struct lp *lp);
void tdm_release_expired(struct tdx_module *m, uint64_t now);
void tdm_take_time(struct tdx_module *m, struct tdx_cpu *cpu,
		   unsigned int leaf, unsigned int blocks);

/* sys.c */
uint64_t tdm_sys_init(struct call *c);
uint64_t tdm_sys_lp_init(struct call *c);
uint64_t tdm_sys_config(struct call *c);
uint64_t tdm_sys_key_config(struct call *c);
uint64_t tdm_sys_tdmr_init(struct call *c);

/* metadata.c */
void tdm_metadata_init(struct tdx_module *m);
uint64_t tdm_cpuid_config_check(const struct tdx_module *m, const struct td *td,
				uint64_t *bad);
uint64_t tdm_sys_rd(struct call *c);
uint64_t tdm_mng_rd(struct call *c);
uint64_t tdm_vcpu_field_read(const struct vcpu *v, uint64_t field,
			     uint64_t *value);
uint64_t tdm_vcpu_field_write(const struct tdx_module *m, struct vcpu *v,
			      uint64_t field, uint64_t value, uint64_t mask,
			      uint64_t *old);

/* pamt.c */
struct tdmr *tdm_tdmr(struct tdx_module *m, uint64_t pa);
bool tdm_page_find(struct tdx_module *m, uint64_t pa, struct page_ref *ref);
uint64_t tdm_page_lock(struct call *c, uint64_t pa, enum operand_id op,
		       enum lock_mode mode, struct page_ref *ref);
uint64_t tdm_page_get(struct call *c, uint64_t pa, enum operand_id op,
		      enum lock_mode mode, enum page_type pt,
		      struct page_ref *ref);
uint64_t tdm_page_get_free(struct call *c, uint64_t pa, enum operand_id op,
			   unsigned int level, struct page_ref *ref);
void tdm_page_assign(struct tdx_module *m, const struct page_ref *ref,
		     enum page_type pt, struct td *td, void *object);
void tdm_page_release(struct tdx_module *m, const struct page_ref *ref);
void tdm_pamt_free(struct tdmr *t);

/* td.c */
uint64_t tdm_td_get(struct call *c, uint64_t pa, enum operand_id op,
		    enum lock_mode mode, struct td **td);
uint64_t tdm_td_check(const struct td *td, unsigned int op_states);
uint64_t tdm_mng_create(struct call *c);
uint64_t tdm_mng_key_config(struct call *c);
uint64_t tdm_mng_addcx(struct call *c);
uint64_t tdm_mng_init(struct call *c);
uint64_t tdm_mng_vpflushdone(struct call *c);
uint64_t tdm_mng_key_freeid(struct call *c);
uint64_t tdm_mr_extend(struct call *c);
uint64_t tdm_mr_finalize(struct call *c);
void tdm_measure_page_add(struct td *td, uint64_t gpa);
void tdm_td_free(struct tdx_module *m, struct td *td);

/* vcpu.c */
uint64_t tdm_vp_create(struct call *c);
uint64_t tdm_vp_addcx(struct call *c);
uint64_t tdm_vp_init(struct call *c);
uint64_t tdm_vp_flush(struct call *c);
uint64_t tdm_vp_rd(struct call *c);
uint64_t tdm_vp_wr(struct call *c);
uint64_t tdm_vp_enter(struct call *c);
void tdm_vcpu_free(struct vcpu *v);

/* sept.c */
uint64_t tdm_sept_walk(struct call *c, struct td *td, uint64_t gpa,
		       unsigned int *level, struct sept_table **table,
		       uint64_t **entry);
void tdm_sept_report(struct call *c, uint64_t entry, unsigned int level);
bool tdm_is_private_gpa(const struct td *td, uint64_t gpa);
uint64_t tdm_mem_sept_add(struct call *c);
uint64_t tdm_mem_page_add(struct call *c);
uint64_t tdm_mem_page_aug(struct call *c);
uint64_t tdm_mem_range_block(struct call *c);
uint64_t tdm_mem_range_unblock(struct call *c);
uint64_t tdm_mem_page_remove(struct call *c);
uint64_t tdm_mem_track(struct call *c);

static inline enum sept_state sept_state(uint64_t entry)
{
	return (enum sept_state)(entry & 0xff);
}

static inline uint64_t sept_hpa(uint64_t entry)
{
	return entry & ~0xfffULL;
}

/* phymem.c */
uint64_t tdm_phymem_page_reclaim(struct call *c);
uint64_t tdm_phymem_page_wbinvd(struct call *c);
uint64_t tdm_phymem_page_rdmd(struct call *c);
uint64_t tdm_phymem_cache_wb(struct call *c);

#endif /* TDM_INTERNAL_H */
