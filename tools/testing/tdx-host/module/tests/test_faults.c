// SPDX-License-Identifier: LGPL-2.1-or-later
/* The fault plan, and scenarios that fail call by call. */
#include "tests/test.h"

#define BUSY	(TDX_OPERAND_BUSY | OP_RCX)

static void plan(struct rig *r, unsigned int slot, struct tdx_fault f)
{
	if (!f.nth)
		f.nth = 1;
	if (!f.every)
		f.every = 1;
	if (!f.count)
		f.count = 1;
	assert_true(tdx_set_fault(r->m, slot, &f));
}

#define PLAN(r, slot, ...)	plan(r, slot, (struct tdx_fault){ __VA_ARGS__ })

static uint64_t rdmd(struct rig *r)
{
	return call(r, PAGE_RDMD, RIG_TDMR_BASE);
}

static void nth_and_count(void **state)
{
	struct rig *r = *state;

	PLAN(r, 0, TDX_FAULT_STATUS, PAGE_RDMD, .nth = 3, .count = 2, .value = BUSY);
	ok(rdmd(r));
	ok(rdmd(r));
	for (int i = 0; i < 2; i++) {
		expect(BUSY, rdmd(r));
		/* no other effect */
		assert_int_equal(out(r, RCX), RIG_TDMR_BASE);
		/* other leaves do not count */
		ok(call(r, PAGE_WBINVD, RIG_TDMR_BASE));
	}
	ok(rdmd(r));
}

static void every(void **state)
{
	struct rig *r = *state;

	PLAN(r, 0, TDX_FAULT_STATUS, PAGE_RDMD, .nth = 2, .every = 3,
	     .count = TDX_FOREVER, .value = BUSY);
	for (int i = 1; i < 30; i++)
		expect(i % 3 == 2 ? BUSY : 0, rdmd(r));
	PLAN(r, 0, TDX_FAULT_STATUS, PAGE_RDMD, .every = 2, .count = 3, .value = BUSY);
	for (int i = 0; i < 20; i++)
		expect(i % 2 == 0 && i < 6 ? BUSY : 0, rdmd(r));
}

static void read_and_clear(void **state)
{
	struct tdx_fault f, none = { .what = TDX_FAULT_NONE };
	struct rig *r = *state;
	struct tdx_usage usage;

	PLAN(r, 7, TDX_FAULT_STATUS, PAGE_RDMD, .nth = 2, .count = TDX_FOREVER,
	     .value = BUSY);
	rdmd(r);
	rdmd(r);
	rdmd(r);
	assert_true(tdx_get_fault(r->m, 7, &f));
	expect(TDX_FAULT_STATUS, f.what);
	expect(PAGE_RDMD, f.leaf);
	expect(2, f.nth);
	expect(1, f.every);
	expect(TDX_FOREVER, f.count);
	assert_true(f.value == BUSY);
	expect(3, f.calls);
	expect(2, f.injected);
	tdx_get_usage(r->m, &usage);
	expect(2, usage.injected);

	f.nth = 1;
	assert_true(tdx_set_fault(r->m, 7, &f));	/* replaces */
	assert_true(tdx_get_fault(r->m, 7, &f));
	expect(0, f.calls);
	expect(0, f.injected);
	expect(BUSY, rdmd(r));
	assert_true(tdx_set_fault(r->m, 7, &none));
	ok(rdmd(r));
	assert_true(tdx_get_fault(r->m, 7, &f));
	expect(TDX_FAULT_NONE, f.what);

	PLAN(r, 0, TDX_FAULT_STATUS, PAGE_RDMD, .value = BUSY);
	PLAN(r, 3, TDX_FAULT_STATUS, PAGE_RDMD, .value = BUSY);
	tdx_clear_faults(r->m);
	ok(rdmd(r));
}

static void refused(void **state)
{
	const struct tdx_fault good = {
		.what = TDX_FAULT_STATUS, .leaf = PAGE_RDMD,
		.nth = 1, .every = 1, .count = 1, .value = BUSY,
	};
	struct rig *r = *state;
	struct tdx_fault f;

#define REFUSED(slot, change)					\
	do {							\
		f = good;					\
		f.change;					\
		assert_false(tdx_set_fault(r->m, slot, &f));	\
	} while (0)
	REFUSED(0, nth = 0);
	REFUSED(0, every = 0);
	REFUSED(0, count = 0);
	REFUSED(0, leaf = 12);		/* not modelled */
	REFUSED(0, leaf = 64);
	REFUSED(0, what = TDX_FAULT_INTERRUPTED);
	REFUSED(0, what = (enum tdx_fault_what)(TDX_FAULT_INTERRUPTED + 1));
	REFUSED(TDX_MAX_FAULTS, leaf = PAGE_RDMD);
	f = good;
	f.what = TDX_FAULT_LOCKED;
	f.value = 0;
	assert_false(tdx_set_fault(r->m, 0, &f));
	assert_false(tdx_get_fault(r->m, TDX_MAX_FAULTS, &f));
	assert_true(tdx_get_fault(r->m, 0, &f));
	expect(TDX_FAULT_NONE, f.what);
}

static void any_leaf(void **state)
{
	struct rig *r = *state;

	PLAN(r, 0, TDX_FAULT_STATUS, TDX_ANY_LEAF, .nth = 2, .count = 2, .value = BUSY);
	ok(rdmd(r));
	expect(BUSY, call(r, PAGE_WBINVD, RIG_TDMR_BASE));
	/* No leaf at all. */
	expect(TDX_OPERAND_INVALID, call(r, 12));
	expect(BUSY, rdmd(r));
	ok(rdmd(r));
}

static void first_entry_wins(void **state)
{
	struct rig *r = *state;

	PLAN(r, 5, TDX_FAULT_STATUS, PAGE_RDMD, .nth = 2, .value = TDX_SYS_BUSY);
	PLAN(r, 2, TDX_FAULT_STATUS, TDX_ANY_LEAF, .nth = 2, .value = BUSY);
	ok(rdmd(r));
	expect(BUSY, rdmd(r));
	expect(TDX_SYS_BUSY, rdmd(r));
	ok(rdmd(r));
	PLAN(r, 5, TDX_FAULT_STATUS, PAGE_RDMD, .every = 2,
	     .count = TDX_FOREVER, .value = TDX_SYS_BUSY);
	expect(TDX_SYS_BUSY, rdmd(r));
	ok(rdmd(r));
	PLAN(r, 2, TDX_FAULT_STATUS, PAGE_RDMD, .value = BUSY);
	expect(BUSY, rdmd(r));
	ok(rdmd(r));
	expect(TDX_SYS_BUSY, rdmd(r));
}

/* They end as the instruction does without a module, or without VMX. */
static void not_a_status(void **state)
{
	struct rig *r = *state;

	PLAN(r, 0, TDX_FAULT_UD, PAGE_RDMD);
	PLAN(r, 1, TDX_FAULT_VMFAIL, PAGE_RDMD, .nth = 2);
	rdmd(r);
	expect(TDX_UD, r->outcome);
	rdmd(r);
	expect(TDX_VMFAIL_INVALID, r->outcome);
	ok(rdmd(r));
	expect(TDX_DONE, r->outcome);
}

static void locked(void **state)
{
	struct rig *r = *state;
	struct tdx_fault f;
	struct rig_td td;

	assert_true(rig_td_runnable(r, &td, RIG_HKID));
	PLAN(r, 0, TDX_FAULT_LOCKED, PAGE_AUG, .nth = 2, .value = 1000);
	r->now = 5000;
	ok(call(r, PAGE_AUG, 0, td.tdr, rig_frame(r)));
	for (uint64_t t = 0; t < 1000; t += 250) {
		r->now = 6000 + t;
		expect(TDX_OPERAND_BUSY | OP_SEPT_TREE,
		       call_on(r, t / 250, PAGE_AUG, SZ_4K, td.tdr, r->next_frame));
	}
	r->now = 7000;
	ok(call(r, PAGE_AUG, SZ_4K, td.tdr, rig_frame(r)));
	assert_true(tdx_get_fault(r->m, 0, &f));
	expect(6, f.calls);
	expect(4, f.injected);
}

static void locked_again(void **state)
{
	struct rig *r = *state;

	PLAN(r, 0, TDX_FAULT_LOCKED, PAGE_RDMD, .every = 4, .count = 2, .value = 10);
	for (int i = 0; i < 20; i++, r->now += 5)
		expect((i < 8 && i % 4 < 2) ? BUSY : 0, rdmd(r));
}

/* The operand is one that the leaf locks. */
static void busy_operands(void **state)
{
	static const struct { unsigned int leaf, operand; } of[] = {
		{ MNG_CREATE, OP_KOT }, { KEY_CONFIG, OP_KET },
		{ VPFLUSHDONE, OP_RCX }, { KEY_FREEID, OP_KOT },
		{ CACHE_WB, OP_WBCACHE }, { PAGE_RECLAIM, OP_TDR },
		{ VP_ENTER, OP_TD_EPOCH }, { MEM_TRACK, OP_TD_EPOCH },
		{ RANGE_BLOCK, OP_SEPT_TREE }, { PAGE_ADD, OP_RDX },
		{ VP_CREATE, OP_RDX }, { VP_FLUSH, OP_TDR },
	};
	struct rig *r = *state;

	for (size_t i = 0; i < NR(of); i++) {
		PLAN(r, 0, TDX_FAULT_LOCKED, (uint16_t)of[i].leaf, .value = 1);
		expect(TDX_OPERAND_BUSY | of[i].operand, call(r, of[i].leaf));
	}
}

static void start_write_back(struct rig *r, struct rig_td *td)
{
	assert_true(rig_td_runnable(r, td, RIG_HKID));
	ok(call(r, VP_FLUSH, td->tdvpr[0]));
	ok(call(r, VPFLUSHDONE, td->tdr));
	ok(call_on(r, 2, CACHE_WB));
}

static void interrupted(void **state)
{
	struct rig *r = *state;
	struct rig_td td;

	start_write_back(r, &td);
	PLAN(r, 0, TDX_FAULT_INTERRUPTED, CACHE_WB, .count = 50);
	expect(TDX_INTERRUPTED_RESUMABLE, call(r, CACHE_WB, 0));
	for (int i = 1; i < 50; i++) {
		expect(TDX_INTERRUPTED_RESUMABLE, call(r, CACHE_WB, 1));
		expect(TDX_WBCACHE_NOT_COMPLETE, call(r, KEY_FREEID, td.tdr));
	}
	ok(call(r, CACHE_WB, 1));
	ok(call(r, KEY_FREEID, td.tdr));
}

/* What is interrupted has begun: nothing to do, or to resume, is told first. */
static void interrupted_is_no_error(void **state)
{
	struct rig *r = *state;

	PLAN(r, 0, TDX_FAULT_INTERRUPTED, CACHE_WB, .count = TDX_FOREVER);
	expect(TDX_NO_HKID_READY_TO_WBCACHE, call(r, CACHE_WB, 0));
	expect(TDX_WBCACHE_RESUME_ERROR, call(r, CACHE_WB, 1));
}

static void leaves_no_trace(void **state)
{
	struct rig *r = *state;
	struct rig_td td;

	assert_true(rig_td_runnable(r, &td, RIG_HKID));
	PLAN(r, 0, TDX_FAULT_STATUS, PAGE_AUG, .value = BUSY);
	PLAN(r, 1, TDX_FAULT_VMFAIL, PAGE_AUG, .nth = 2);
	expect(BUSY, call(r, PAGE_AUG, 0, td.tdr, r->next_frame));
	call(r, PAGE_AUG, 0, td.tdr, r->next_frame);
	ok(call(r, PAGE_AUG, 0, td.tdr, rig_frame(r)));
	PLAN(r, 0, TDX_FAULT_STATUS, VP_ENTER, .value = BUSY);
	expect(BUSY, call(r, VP_ENTER, td.tdvpr[0]));
	expect(77, call(r, VP_ENTER, td.tdvpr[0]));
}

static void begin(struct rig *r, enum tdx_scenario_how how, uint64_t nth,
		  bool sticky, uint64_t exempt)
{
	struct tdx_scenario s = {
		.how = how, .nth = nth, .sticky = sticky, .exempt = exempt,
	};

	tdx_begin_scenario(r->m, &s);
}

static struct tdx_scenario results(struct rig *r)
{
	struct tdx_scenario s;

	tdx_get_scenario(r->m, &s);
	return s;
}

/* Creates a TD and takes it down; returns the number of failed calls. */
static unsigned int life(struct rig *r)
{
	unsigned int failed = 0;
	struct rig_td td;

	rig_td_runnable(r, &td, RIG_HKID);
	failed += call(r, PAGE_AUG, 0, td.tdr, rig_frame(r)) != 0;
	failed += call(r, VP_FLUSH, td.tdvpr[0]) != 0;
	failed += call(r, VPFLUSHDONE, td.tdr) != 0;
	failed += call(r, CACHE_WB) >> 63;
	failed += call_on(r, 2, CACHE_WB) >> 63;
	failed += call(r, KEY_FREEID, td.tdr) != 0;
	return failed;
}

static void scenario_counts(void **state)
{
	struct rig *r = *state;
	struct tdx_scenario s;

	rdmd(r);
	begin(r, TDX_SCENARIO_BUSY, 0, true, 0);
	expect(0, life(r));
	s = results(r);
	assert_true(s.calls > 20);
	expect(0, s.failed);
	expect(TDX_ANY_LEAF, s.leaf);
	tdx_end_scenario(r->m);
	rdmd(r);
	expect(s.calls, results(r).calls);

	begin(r, TDX_SCENARIO_BUSY, 0, false, 1ULL << PAGE_RDMD);
	rdmd(r);
	call(r, PAGE_WBINVD, RIG_TDMR_BASE);
	expect(1, results(r).calls);
}

static void scenario_fails_once(void **state)
{
	struct rig *r = *state;
	struct tdx_usage usage;

	begin(r, TDX_SCENARIO_BUSY, 2, false, 1ULL << PAGE_WBINVD);
	ok(rdmd(r));
	ok(call(r, PAGE_WBINVD, RIG_TDMR_BASE));
	expect(BUSY, rdmd(r));
	ok(rdmd(r));
	expect(3, results(r).calls);
	expect(1, results(r).failed);
	expect(PAGE_RDMD, results(r).leaf);
	assert_true(results(r).status == BUSY);
	tdx_get_usage(r->m, &usage);
	expect(1, usage.injected);
}

static void scenario_fails_on(void **state)
{
	struct rig *r = *state;

	begin(r, TDX_SCENARIO_ERROR, 2, true, 0);
	ok(rdmd(r));
	expect(TDX_PAGE_METADATA_INCORRECT | OP_RCX,
	       call(r, PAGE_WBINVD, RIG_TDMR_BASE));
	expect(TDX_OPERAND_ADDR_RANGE_ERROR | OP_RCX, rdmd(r));
	expect(PAGE_WBINVD, results(r).leaf);
	expect(2, results(r).failed);
	tdx_end_scenario(r->m);
	ok(rdmd(r));
	begin(r, TDX_SCENARIO_ERROR, 1, true, 0);
	tdx_clear_faults(r->m);
	ok(rdmd(r));
}

/* Every call of a TD's life can fail, and the next TD does not notice. */
static void fail_each(void **state)
{
	static const enum tdx_scenario_how how[] = {
		TDX_SCENARIO_BUSY, TDX_SCENARIO_ERROR,
	};
	struct rig *r = *state;
	uint64_t calls;

	r->check = false;
	for (size_t i = 0; i < NR(how); i++) {
		struct rig *one = rig_new();

		assert_true(rig_bring_up(one));
		begin(one, how[i], 0, false, 0);
		expect(0, life(one));
		calls = results(one).calls;
		rig_free(one);
		for (uint64_t nth = 1; nth <= calls; nth++) {
			one = rig_new();
			one->check = false;
			assert_true(rig_bring_up(one));
			begin(one, how[i], nth, false, 0);
			life(one);
			expect(1, results(one).failed);
			assert_true(results(one).status >> 63);
			tdx_end_scenario(one->m);
			rig_check(one);
			rig_free(one);
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(nth_and_count), T(every), T(read_and_clear), T(refused),
		T(any_leaf), T(first_entry_wins), T(not_a_status), T(locked),
		T(locked_again), T(busy_operands), T(interrupted),
		T(interrupted_is_no_error), T(leaves_no_trace),
		T(scenario_counts), T(scenario_fails_once),
		T(scenario_fails_on), T(fail_each),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
