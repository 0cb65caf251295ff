// SPDX-License-Identifier: LGPL-2.1-or-later
/* Modelled time: the locks of a call stay taken while it passes. */
#include "tests/test.h"

#define NS(ns)		((uint64_t)(ns) * 2)	/* ticks of a rig */

static void set_up_td(struct rig *r, struct rig_td *td)
{
	assert_true(rig_td_runnable(r, td, RIG_HKID));
	tdx_set_time(r->m, 100);
	r->now = 1000000;
}

static void off(void **state)
{
	struct rig *r = *state;
	struct rig_td td;

	set_up_td(r, &td);
	tdx_set_time(r->m, 0);
	ok(call_on(r, 0, MEM_TRACK, td.tdr));
	expect(0, r->ticks);
	ok(call_on(r, 1, MEM_TRACK, td.tdr));
}

static void ticks(void **state)
{
	struct tdx_usage usage;
	struct rig *r = *state;
	struct rig_td td;

	set_up_td(r, &td);
	ok(call(r, PAGE_AUG, 0, td.tdr, rig_frame(r)));
	expect(NS(tdx_leaf_ns(PAGE_AUG)), r->ticks);
	tdx_get_usage(r->m, &usage);
	expect(r->ticks, usage.ticks_taken);

	/* A call that fails is back soon. */
	assert_true(call(r, PAGE_AUG, 0, td.tdr, rig_frame(r)) != 0);
	assert_true(r->ticks && r->ticks < NS(tdx_leaf_ns(PAGE_AUG)));
	assert_true(call(r, 0xffff) != 0);
	assert_true(r->ticks != 0);

	tdx_set_time(r->m, 250);
	ok(call(r, PAGE_AUG, SZ_4K, td.tdr, rig_frame(r)));
	expect(NS(tdx_leaf_ns(PAGE_AUG)) * 5 / 2, r->ticks);
	expect(0, tdx_leaf_ns(12));
	expect(0, tdx_leaf_ns(1000));
}

/* All leaves that are modelled take time. */
static void all_leaves(void **state)
{
	(void)state;
	for (unsigned int leaf = 0; leaf < TDX_NR_LEAVES; leaf++) {
		struct tdx_fault f = {
			.what = TDX_FAULT_UD, .leaf = (uint16_t)leaf,
			.nth = 1, .every = 1, .count = 1,
		};
		struct rig *r = rig_new();

		assert_true(tdx_set_fault(r->m, 0, &f) == (tdx_leaf_ns(leaf) != 0));
		rig_free(r);
	}
}

/* Two LPs, the second of which finds a lock of the first one taken. */
static void collide(struct rig *r, uint64_t busy, const uint64_t first[5],
		    const uint64_t second[5])
{
	struct tdx_usage before, after;
	uint64_t until;

	tdx_get_usage(r->m, &before);
	ok(rig_call(r, 0, first));
	until = r->now + r->ticks;
	assert_true(until > r->now + 1);
	expect(TDX_OPERAND_BUSY | busy, rig_call(r, 1, second));
	r->now = until - 1;
	expect(TDX_OPERAND_BUSY | busy, rig_call(r, 3, second));
	tdx_get_usage(r->m, &after);
	expect(2, after.locks_busy - before.locks_busy);
	/* The calls that failed hold locks, too, e.g. the TDR shared. */
	r->now += NS(1000000);
	assert_true((rig_call(r, 1, second) & TDX_STATUS_MASK) != TDX_OPERAND_BUSY);
	r->now += NS(1000000);
}

#define COLLIDE(r, busy, first, second)					\
	collide(r, busy, (const uint64_t[5])FIRST first,		\
		(const uint64_t[5])FIRST second)
#define FIRST(...)	{ __VA_ARGS__ }

static void collisions(void **state)
{
	struct rig *r = *state;
	struct rig_td td;
	uint64_t frame;

	set_up_td(r, &td);
	/* the S-EPT, exclusively and shared */
	ok(call(r, PAGE_AUG, 0, td.tdr, rig_frame(r)));
	r->now += NS(1000000);
	COLLIDE(r, OP_SEPT_TREE, (RANGE_BLOCK, 0, td.tdr),
		(PAGE_AUG, SZ_4K, td.tdr, rig_frame(r)));
	/* one entry of it */
	COLLIDE(r, OP_RCX, (PAGE_AUG, 2 * SZ_4K, td.tdr, rig_frame(r)),
		(PAGE_AUG, 2 * SZ_4K, td.tdr, rig_frame(r)));
	/* one page */
	frame = rig_frame(r);
	COLLIDE(r, OP_R8, (PAGE_AUG, 3 * SZ_4K, td.tdr, frame),
		(PAGE_AUG, 4 * SZ_4K, td.tdr, frame));
	/* the epoch */
	COLLIDE(r, OP_TD_EPOCH, (MEM_TRACK, td.tdr), (MEM_TRACK, td.tdr));
	/* the TDR, shared and exclusively */
	COLLIDE(r, OP_RCX, (MEM_TRACK, td.tdr), (VPFLUSHDONE, td.tdr));
}

static void no_collision(void **state)
{
	struct rig *r = *state;
	struct rig_td td;

	set_up_td(r, &td);
	for (unsigned int lp = 0; lp < RIG_LPS; lp++)
		ok(call_on(r, lp, PAGE_AUG, lp * SZ_4K, td.tdr, rig_frame(r)));
	/* An LP that did not wait drops its own locks, and no others. */
	expect(TDX_OPERAND_BUSY | OP_SEPT_TREE,
	       call_on(r, 0, RANGE_BLOCK, 0, td.tdr));
}

static void teardown(void **state)
{
	struct rig_td td, other;
	struct rig *r = *state;

	assert_true(rig_td_runnable(r, &td, RIG_HKID));
	assert_true(rig_td_runnable(r, &other, RIG_HKID + 1));
	ok(call(r, VP_FLUSH, td.tdvpr[0]));
	ok(call(r, VP_FLUSH, other.tdvpr[0]));
	tdx_set_time(r->m, 100);
	ok(call_on(r, 0, VPFLUSHDONE, td.tdr));
	/* the table of KeyIDs */
	expect(TDX_OPERAND_BUSY | OP_KOT, call_on(r, 1, VPFLUSHDONE, other.tdr));
	r->now += NS(100000);
	ok(call_on(r, 0, CACHE_WB));
	expect(NS(tdx_leaf_ns(CACHE_WB)), r->ticks);
	/* the write-back of a package, not of the other one */
	expect(TDX_OPERAND_BUSY | OP_WBCACHE, call_on(r, 1, CACHE_WB));
	ok(call_on(r, 2, CACHE_WB));
	r->now += NS(100000);
	expect(TDX_OPERAND_BUSY | OP_KOT, call_on(r, 3, KEY_FREEID, td.tdr));
	r->now += NS(10000000);
	ok(call_on(r, 3, KEY_FREEID, td.tdr));
	r->now += NS(10000000);
	ok(call_on(r, 0, PAGE_RECLAIM, td.tdcx[0]));
	ok(call_on(r, 1, PAGE_RECLAIM, td.tdcx[1]));
	/* The page is free, but not yet for others. */
	expect(TDX_OPERAND_BUSY | OP_RCX, call_on(r, 2, PAGE_WBINVD, td.tdcx[0]));
	r->now += NS(10000000);
	ok(call_on(r, 2, PAGE_WBINVD, td.tdcx[0]));
}

static void interrupted_write_back(void **state)
{
	struct rig *r = *state;
	struct rig_td td;

	set_up_td(r, &td);
	ok(call(r, VP_FLUSH, td.tdvpr[0]));
	r->now += NS(1000000);
	ok(call(r, VPFLUSHDONE, td.tdr));
	r->now += NS(1000000);
	r->interrupt[0] = 0x40;
	expect(TDX_INTERRUPTED_RESUMABLE, call(r, CACHE_WB, 0));
	expect(NS(tdx_leaf_ns(CACHE_WB)) / 8, r->ticks);
	r->interrupt[0] = -1;
	r->now += r->ticks;
	ok(call(r, CACHE_WB, 1));
	expect(NS(tdx_leaf_ns(CACHE_WB)) * 7 / 8, r->ticks);
}

static void guest(void **state)
{
	struct rig *r = *state;
	struct tdx_script stay = { .mode = TDX_SCRIPT_STAY };
	struct rig_td td;

	set_up_td(r, &td);
	tdx_set_script(r->m, &stay);
	call(r, VP_ENTER, td.tdvpr[0]);
	expect(TDX_IN_GUEST, r->outcome);
	expect(0, r->ticks);
	/* For ever, not for the time of an entry. */
	r->now += NS(100000000);
	expect(TDX_OPERAND_BUSY | OP_RCX, call_on(r, 1, VPFLUSHDONE, td.tdr));
	r->now += NS(1000000);
	r->nmi[0] = true;
	expect(TDX_DONE, rig_poll(r, 0));
	expect(NS(tdx_leaf_ns(VP_ENTER)), r->ticks);
	expect(TDX_OPERAND_BUSY | OP_RCX, call_on(r, 1, VPFLUSHDONE, td.tdr));
	r->now += NS(1000000);
	expect(TDX_FLUSHVP_NOT_DONE, call_on(r, 1, VPFLUSHDONE, td.tdr));
	r->now += NS(1000000);

	/* It cannot enter while the epoch changes. */
	ok(call_on(r, 1, MEM_TRACK, td.tdr));
	expect(TDX_OPERAND_BUSY | OP_TD_EPOCH, call(r, VP_ENTER, td.tdvpr[0]));
}

static void bring_up(void **state)
{
	struct rig *r = *state;

	tdx_set_time(r->m, 100);
	ok(call_on(r, 0, SYS_INIT));
	expect(TDX_SYS_BUSY, call_on(r, 1, SYS_LP_INIT));
	r->now += NS(1000000);
	for (unsigned int lp = 0; lp < RIG_LPS; lp++)
		ok(call_on(r, lp, SYS_LP_INIT));
	rig_tdmr_info(r, 0);
	expect(TDX_SYS_BUSY,
	       call_on(r, 0, SYS_CONFIG, RIG_TDMR_ARRAY, 1, RIG_GLOBAL_KEYID));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(off), T(ticks), cmocka_unit_test(all_leaves), T(collisions),
		T(no_collision), T(teardown), T(interrupted_write_back),
		T(guest), T_BARE(bring_up),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
