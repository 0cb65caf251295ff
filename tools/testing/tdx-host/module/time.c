// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Modelled time: how long a leaf takes, and how long it holds its locks.
 *
 * Nobody has published latencies leaf by leaf.  What is known of hardware:
 *
 * A. "TDX host kernel support" (the cover letters of the series that brought TDX
 *    to arch/x86/virt): TDH.SYS.TDMR.INIT takes about 7 us a call.
 * B. A. Hunter, "KVM: TDX: Decrease TDX VM shutdown time" (March 2025): a TD of
 *    400 GB goes in 467 s after its HKID is released, which is 4.5 us a page, for
 *    TDH.PHYMEM.PAGE.RECLAIM, clearing the page and KVM; one of 18 GB in 72 s
 *    while it is runnable, which is 15 us a page, for BLOCK, TRACK, REMOVE,
 *    PAGE.WBINVD, clearing and KVM.
 * C. "x86/tdx: Skip clearing reclaimed pages unless X86_BUG_TDX_PW_MCE" (August
 *    2025): up to 40 % of that is for clearing, i.e. 1.8 us of the 4.5 us.
 *
 * The others are estimates (E): 1 us for the way into SEAM root and back, which is
 * a VM exit and a VM entry with the state of two VMCSs; 1 us to initialize or copy
 * a page with MOVDIR64B; 1 us to hash 128 bytes; WBINVD of a package 2 ms.
 */
#include "internal.h"

/* Of a call that fails: E */
#define ROUND_TRIP_NS	1000

static const uint32_t leaf_ns[TDX_NR_LEAVES] = {
	[0]  = 2000,	/* VP.ENTER and the exit: E */
	[1]  = 2000,	/* MNG.ADDCX: E */
	[2]  = 4000,	/* MEM.PAGE.ADD, hashes its GPA: E */
	[3]  = 2500,	/* MEM.SEPT.ADD: E */
	[4]  = 2000,	/* VP.ADDCX: E */
	[6]  = 2500,	/* MEM.PAGE.AUG: E */
	[7]  = 2500,	/* MEM.RANGE.BLOCK: its share of B */
	[8]  = 50000,	/* MNG.KEY.CONFIG, PCONFIG: E */
	[9]  = 2000,	/* MNG.CREATE: E */
	[10] = 2000,	/* VP.CREATE: E */
	[11] = 1500,	/* MNG.RD: E */
	[16] = 4000,	/* MR.EXTEND, hashes 384 bytes: E */
	[17] = 2000,	/* MR.FINALIZE: E */
	[18] = 2000,	/* VP.FLUSH: E */
	[19] = 1500,	/* MNG.VPFLUSHDONE: E */
	[20] = 1500,	/* MNG.KEY.FREEID: E */
	[21] = 5000,	/* MNG.INIT: E */
	[22] = 5000,	/* VP.INIT: E */
	[24] = 1500,	/* PHYMEM.PAGE.RDMD: E */
	[26] = 1500,	/* VP.RD: E */
	[28] = 2500,	/* PHYMEM.PAGE.RECLAIM: B less C and KVM */
	[29] = 3000,	/* MEM.PAGE.REMOVE: its share of B */
	[31] = 50000,	/* SYS.KEY.CONFIG, PCONFIG: E */
	[33] = 10000,	/* SYS.INIT: E */
	[34] = 1500,	/* SYS.RD: E */
	[35] = 10000,	/* SYS.LP.INIT: E */
	[36] = 7000,	/* SYS.TDMR.INIT: A */
	[38] = 1500,	/* MEM.TRACK: its share of B */
	[39] = 2500,	/* MEM.RANGE.UNBLOCK: as BLOCK */
	[40] = 2000000 / CACHE_BLOCKS,	/* PHYMEM.CACHE.WB, a block: E */
	[41] = 2500,	/* PHYMEM.PAGE.WBINVD: its share of B */
	[43] = 1500,	/* VP.WR: E */
	[45] = 20000,	/* SYS.CONFIG: E */
};

uint64_t tdx_leaf_ns(unsigned int leaf)
{
	if (leaf >= TDX_NR_LEAVES)
		return 0;
	return (uint64_t)leaf_ns[leaf] *
	       (leaf == LEAF_CACHE_WB ? CACHE_BLOCKS : 1);
}

void tdx_set_time(struct tdx_module *m, unsigned int percent)
{
	m->time_percent = percent;
}

/* CACHE.WB tells the number of blocks that it wrote, even if interrupted. */
static uint64_t duration(const struct tdx_module *m, unsigned int leaf,
			 uint64_t status, unsigned int blocks)
{
	uint64_t ns = leaf_ns[leaf];

	if (blocks)
		ns *= blocks;
	else if (status & TDX_STATUS_ERROR)
		ns = ROUND_TRIP_NS;
	return (uint64_t)((unsigned __int128)ns * m->time_percent *
			  m->p.tsc_hz / 100 / 1000000000);
}

void tdm_release_locks(struct lp *lp)
{
	while (lp->nr_held) {
		struct held *h = &lp->held[--lp->nr_held];

		tdm_unlock(h->lock, h->mode);
	}
}

/* Of the calls whose time has passed. */
void tdm_release_expired(struct tdx_module *m, uint64_t now)
{
	for (unsigned int i = 0; i < m->p.nr_lps; i++)
		if (!m->lps[i].in_guest && m->lps[i].busy_until <= now)
			tdm_release_locks(&m->lps[i]);
}

/* A call of @leaf on @cpu has had its effect. */
void tdm_take_time(struct tdx_module *m, struct tdx_cpu *cpu,
		   unsigned int leaf, unsigned int blocks)
{
	struct lp *lp = &m->lps[cpu->lp];

	cpu->ticks = duration(m, leaf, cpu->gpr[TDX_RAX], blocks);
	lp->busy_until = cpu->now + cpu->ticks;
	m->ticks_taken += cpu->ticks;
	if (!cpu->ticks)
		tdm_release_locks(lp);
}
