/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A small platform for the model: 4 LPs in 2 packages, 16 MiB of RAM at 0 for
 * the host and 8 MiB at 1 GiB for TDs, KeyIDs 32 to 63 private.
 */
#ifndef RIG_H
#define RIG_H

#include "internal.h"

#define RIG_LPS			4
#define RIG_PACKAGES		2
#define RIG_KEYID_SHIFT		46
#define RIG_GLOBAL_KEYID	32
#define RIG_HKID		33	/* the first for TDs */
#define RIG_NR_TDX_KEYIDS	32

#define RIG_RAM_SIZE		(2 * SZ_1G)
#define RIG_HOST_SIZE		(16 * 1024 * 1024ULL)
#define RIG_TDMR_BASE		SZ_1G
#define RIG_TD_RAM		(8 * 1024 * 1024ULL)

/* Frames of the host's RAM. */
#define RIG_TDMR_ARRAY		0x1000ULL
#define RIG_TDMR_INFO		0x2000ULL
#define RIG_TD_PARAMS		0x4000ULL
#define RIG_SOURCE		0x5000ULL
#define RIG_PI_DESCRIPTOR	0x6040ULL
#define RIG_SHARED_EPTP		0x7000ULL
#define RIG_PAMT		0x800000ULL

enum rig_leaf {
	VP_ENTER, MNG_ADDCX, PAGE_ADD, SEPT_ADD, VP_ADDCX, PAGE_AUG = 6,
	RANGE_BLOCK, KEY_CONFIG, MNG_CREATE, VP_CREATE, MNG_RD,
	MR_EXTEND = 16, MR_FINALIZE, VP_FLUSH, VPFLUSHDONE, KEY_FREEID,
	MNG_INIT, VP_INIT_V0, VP_INIT = VP_INIT_V0 | 1 << 16,
	PAGE_RDMD = 24, VP_RD = 26, PAGE_RECLAIM = 28, PAGE_REMOVE,
	SYS_KEY_CONFIG = 31, SYS_INIT = 33, SYS_RD, SYS_LP_INIT, TDMR_INIT,
	MEM_TRACK = 38, RANGE_UNBLOCK, CACHE_WB, PAGE_WBINVD, VP_WR = 43,
	SYS_CONFIG = 45,
};

struct rig {
	struct tdx_platform p;
	struct tdx_module *m;
	uint8_t *ram;
	struct tdx_owner *owner;	/* of each frame, PT 0: the host */
	uint64_t nr_owned;
	uint64_t next_frame;
	uint64_t tsc;
	uint64_t now;			/* moved on by nobody but tests */
	uint64_t ticks;			/* that the last call takes */
	uint64_t tsc_adjust[RIG_LPS];
	uint64_t gpr[RIG_LPS][TDX_NR_GPRS];
	int interrupt[RIG_LPS];		/* pending vector, -1 if none */
	bool nmi[RIG_LPS];
	unsigned int acks[RIG_LPS];
	unsigned int eois[RIG_LPS];
	unsigned int lp;		/* of the calls that name none */
	const uint64_t *out;		/* registers after the last call */
	enum tdx_outcome outcome;
	bool check;			/* the invariants, after each call */
	uint64_t log_lines;
};

/* Called on a broken invariant; must not return. */
extern void (*rig_fail)(const char *why);

struct rig *rig_new(void);
struct rig *rig_new_with(const struct tdx_platform *changed);
void rig_free(struct rig *r);
void rig_platform(struct tdx_platform *p);

/* @in: RAX, RCX, RDX, R8, R9 */
uint64_t rig_call(struct rig *r, unsigned int lp, const uint64_t in[5]);
enum tdx_outcome rig_poll(struct rig *r, unsigned int lp);
void rig_check(struct rig *r);

/* A SEAMCALL: leaf, RCX, RDX, R8, R9; missing operands are 0. */
#define call(r, ...)		call_on(r, (r)->lp, __VA_ARGS__)
#define call_on(r, lp, ...) \
	rig_call(r, lp, (const uint64_t[5]){ __VA_ARGS__ })

/* Host memory at @pa. */
void *rig_mem(struct rig *r, uint64_t pa);
/* A frame for TDs that was not used before. */
uint64_t rig_frame(struct rig *r);

/* TDMR 0: 1 GiB at 1 GiB, of which all but the RAM is reserved. */
uint64_t *rig_tdmr_info(struct rig *r, unsigned int index);
bool rig_lp_init_all(struct rig *r);
bool rig_bring_up(struct rig *r);

/* A TD made step by step; each function does the steps before it. */
struct rig_td {
	uint64_t tdr;
	unsigned int hkid;
	uint64_t tdcx[TDCS_BASE_PAGES];
	uint64_t sept[3];		/* tables for levels 2, 1 and 0 */
	unsigned int nr_vcpus;
	uint64_t tdvpr[4];
	uint64_t tdvpx[4][TDVPS_PAGES - 1];
};

void *rig_td_params(struct rig *r);
bool rig_td_create(struct rig *r, struct rig_td *td, unsigned int hkid);
bool rig_td_keys(struct rig *r, struct rig_td *td, unsigned int hkid);
bool rig_td_tdcs(struct rig *r, struct rig_td *td, unsigned int hkid);
bool rig_td_init(struct rig *r, struct rig_td *td, unsigned int hkid);
bool rig_td_vcpu(struct rig *r, struct rig_td *td, unsigned int lp);
bool rig_td_sept(struct rig *r, struct rig_td *td);
bool rig_td_runnable(struct rig *r, struct rig_td *td, unsigned int hkid);
/* From KEYS_CONFIGURED, with no associated vCPU, to TEARDOWN. */
bool rig_td_free_hkid(struct rig *r, struct rig_td *td);

#endif /* RIG_H */
