/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Input of the fuzz target: a byte (bit 0: bring the module up first), then
 * steps of 4 bytes { what, a, b, c }.
 */
#ifndef FUZZ_H
#define FUZZ_H

enum fuzz_step {
	/* SEAMCALLs; a: LP [1:0] and operand bits, b, c: operands */
	F_VP_ENTER, F_MNG_ADDCX, F_PAGE_ADD, F_SEPT_ADD, F_VP_ADDCX,
	F_PAGE_AUG, F_RANGE_BLOCK, F_KEY_CONFIG, F_MNG_CREATE, F_VP_CREATE,
	F_MNG_RD, F_MR_EXTEND, F_MR_FINALIZE, F_VP_FLUSH, F_VPFLUSHDONE,
	F_KEY_FREEID, F_MNG_INIT, F_VP_INIT, F_VP_INIT_V0, F_PAGE_RDMD,
	F_VP_RD, F_PAGE_RECLAIM, F_PAGE_REMOVE, F_SYS_KEY_CONFIG, F_SYS_INIT,
	F_SYS_RD, F_SYS_LP_INIT, F_TDMR_INIT, F_MEM_TRACK, F_RANGE_UNBLOCK,
	F_CACHE_WB, F_PAGE_WBINVD, F_VP_WR, F_SYS_CONFIG,
	/* the platform and the test controls */
	F_POLL,			/* a: LP */
	F_INTERRUPT,		/* a: LP, b: vector */
	F_NMI,			/* a: LP */
	F_SCRIPT,		/* a: one of several */
	F_FAULT,		/* a: leaf, slot, b: nth, every, c: what, count */
	F_SCENARIO,		/* a: how, b: nth */
	F_TIME,			/* a: percent */
	F_WAIT,			/* b, c: ticks */
	F_TSC_ADJUST,		/* a: LP, b: value */
	F_POKE_PARAMS,		/* a, b: offset, c: byte */
	F_POKE_TDMR,		/* a: word, b, c: value */
	/* several calls at once */
	F_MAKE_TD,		/* a: how far, b: KeyID, c: LP */
	F_FREE_HKID,		/* b: TDR */
	F_NR_STEPS
};

/* Operand byte that stands for the lowest free page. */
#define F_FRESH		0x80

#endif /* FUZZ_H */
