// SPDX-License-Identifier: LGPL-2.1-or-later
/* Teardown: KeyID release, cache write-back, reclaim, page metadata. */
#include "tests/test.h"

static void rdmd(void **state)
{
	struct rig *r = *state;
	struct rig_td td;

	assert_true(rig_td_runnable(r, &td, RIG_HKID));
	expect(TDX_OPERAND_INVALID | 1, call(r, PAGE_RDMD, td.tdr + 8));
	assert_int_equal(out(r, RCX) | out(r, RDX) | out(r, R8) | out(r, R9) |
			 out(r, R10) | out(r, R11), 0);
	expect(TDX_OPERAND_INVALID | 1,
	       call(r, PAGE_RDMD, 1ULL << RIG_KEYID_SHIFT | td.tdr));
	expect(TDX_OPERAND_ADDR_RANGE_ERROR | 1, call(r, PAGE_RDMD, 0));
	ok(call(r, PAGE_RDMD, td.tdr));
	assert_int_equal(out(r, RCX), PT_TDR);
	assert_int_equal(out(r, RDX), 0);
	ok(call(r, PAGE_RDMD, td.tdcx[3]));
	assert_int_equal(out(r, RCX), PT_TDCX);
	assert_int_equal(out(r, RDX), td.tdr);
	ok(call(r, PAGE_RDMD, td.tdvpr[0]));
	assert_int_equal(out(r, RCX), PT_TDVPR);
	ok(call(r, PAGE_RDMD, RIG_TDMR_BASE + RIG_TD_RAM));
	assert_int_equal(out(r, RCX), PT_RSVD);
	ok(call(r, PAGE_RDMD, rig_frame(r)));
	assert_int_equal(out(r, RCX) | out(r, RDX), PT_NDA);
}

static void wbinvd(void **state)
{
	struct rig *r = *state;
	uint64_t page = rig_frame(r), hkid = RIG_HKID;
	struct rig_td td;

	assert_true(rig_td_create(r, &td, RIG_HKID));
	ok(call(r, PAGE_WBINVD, page));
	ok(call(r, PAGE_WBINVD, hkid << RIG_KEYID_SHIFT | page));
	ok(call(r, PAGE_WBINVD, 63ULL << RIG_KEYID_SHIFT | page));
	expect(TDX_OPERAND_INVALID | 1, call(r, PAGE_WBINVD, 1ULL << 52 | page));
	expect(TDX_OPERAND_INVALID | 1, call(r, PAGE_WBINVD, page + 64));
	expect(TDX_OPERAND_ADDR_RANGE_ERROR | 1, call(r, PAGE_WBINVD, 0x1000));
	expect(TDX_PAGE_METADATA_INCORRECT | 1,
	       call(r, PAGE_WBINVD, hkid << RIG_KEYID_SHIFT | td.tdr));
	expect(TDX_PAGE_METADATA_INCORRECT | 1,
	       call(r, PAGE_WBINVD, RIG_TDMR_BASE + RIG_TD_RAM));
}

static void reclaim_page(struct rig *r, uint64_t pa, unsigned int pt,
			 uint64_t owner)
{
	assert_int_equal(r->owner[pa / SZ_4K].pt, pt);
	assert_int_equal(r->owner[pa / SZ_4K].tdr, owner ? owner : pa);
	assert_int_equal(r->owner[pa / SZ_4K].keyid, RIG_HKID);
	ok(call(r, PAGE_RECLAIM, pa));
	assert_int_equal(out(r, RCX), pt);
	assert_int_equal(out(r, RDX), owner);
	assert_int_equal(out(r, R8) | out(r, R9) | out(r, R10) | out(r, R11), 0);
	assert_false(r->owner[pa / SZ_4K].pt);
	/* twice is an error */
	assert_true(call(r, PAGE_RECLAIM, pa) == 0xc000030000000001);
	assert_int_equal(out(r, RCX) | out(r, RDX) | out(r, R8), 0);
}

static void reclaim_control_pages(struct rig *r, struct rig_td *td)
{
	for (unsigned int n = 0; n < td->nr_vcpus; n++) {
		for (int i = 0; i < 5; i++)
			reclaim_page(r, td->tdvpx[n][i], PT_TDCX, td->tdr);
		reclaim_page(r, td->tdvpr[n], PT_TDVPR, td->tdr);
	}
	for (int i = 0; i < 3; i++)
		reclaim_page(r, td->sept[i], PT_EPT, td->tdr);
	for (int i = 0; i < 6; i++) {
		expect(TDX_TD_ASSOCIATED_PAGES_EXIST,
		       call(r, PAGE_RECLAIM, td->tdr));
		assert_int_equal(out(r, RCX), PT_TDR);
		reclaim_page(r, td->tdcx[i], PT_TDCX, td->tdr);
	}
	reclaim_page(r, td->tdr, PT_TDR, 0);
	ok(call(r, PAGE_WBINVD,
		(uint64_t)RIG_GLOBAL_KEYID << RIG_KEYID_SHIFT | td->tdr));
}

static void expect_empty(struct rig *r)
{
	struct tdx_usage u;

	tdx_get_usage(r->m, &u);
	assert_int_equal(u.td_pages | u.td_private_pages | u.keyids_in_use |
			 u.tds, 0);
}

/* As KVM does today: every private page is removed while the TD can run. */
static void teardown_by_remove(void **state)
{
	struct rig *r = *state;
	struct rig_td td;

	assert_true(rig_td_runnable(r, &td, RIG_HKID));
	for (uint64_t gpa = 0; gpa < 0x4000; gpa += SZ_4K)
		ok(call(r, PAGE_AUG, gpa, td.tdr, rig_frame(r)));
	for (uint64_t gpa = 0; gpa < 0x4000; gpa += SZ_4K) {
		ok(call(r, RANGE_BLOCK, gpa, td.tdr));
		ok(call(r, MEM_TRACK, td.tdr));
		ok(call(r, PAGE_REMOVE, gpa, td.tdr));
		ok(call(r, PAGE_WBINVD, (uint64_t)RIG_HKID << RIG_KEYID_SHIFT |
			out(r, RCX)));
	}
	ok(call(r, VP_FLUSH, td.tdvpr[0]));
	assert_true(rig_td_free_hkid(r, &td));
	reclaim_control_pages(r, &td);
	expect_empty(r);
}

/* The KeyID goes first, private memory is reclaimed in TEARDOWN. */
static void teardown_by_reclaim(void **state)
{
	struct rig *r = *state;
	uint64_t page[4];
	struct tdx_usage u;
	struct rig_td td;

	assert_true(rig_td_runnable(r, &td, RIG_HKID));
	for (int i = 0; i < 4; i++) {
		page[i] = rig_frame(r);
		ok(call(r, PAGE_AUG, i * SZ_4K, td.tdr, page[i]));
	}
	ok(call(r, RANGE_BLOCK, 0, td.tdr));
	expect(TDX_LIFECYCLE_STATE_INCORRECT, call(r, PAGE_RECLAIM, page[0]));
	assert_int_equal(out(r, RCX), PT_REG);	/* filled even so */
	assert_int_equal(out(r, RDX), td.tdr);
	ok(call(r, VP_FLUSH, td.tdvpr[0]));
	assert_true(rig_td_free_hkid(r, &td));
	tdx_get_usage(r->m, &u);
	assert_int_equal(u.keyids_in_use, 0);
	assert_int_equal(u.td_private_pages, 4);
	expect(TDX_TD_KEYS_NOT_CONFIGURED, call(r, PAGE_REMOVE, 0, td.tdr));
	expect(TDX_TD_ASSOCIATED_PAGES_EXIST, call(r, PAGE_RECLAIM, td.tdr));
	for (int i = 3; i >= 0; i--)
		reclaim_page(r, page[i], PT_REG, td.tdr);
	reclaim_control_pages(r, &td);
	expect_empty(r);
}

static void teardown_without_keys(void **state)
{
	struct rig *r = *state;
	struct rig_td td;

	assert_true(rig_td_create(r, &td, RIG_HKID));
	assert_true(rig_td_free_hkid(r, &td));
	reclaim_page(r, td.tdr, PT_TDR, 0);
	expect_empty(r);
}

static void reclaim_errors(void **state)
{
	struct rig *r = *state;
	struct rig_td td;

	assert_true(rig_td_create(r, &td, RIG_HKID));
	expect(TDX_OPERAND_INVALID | 1, call(r, PAGE_RECLAIM, td.tdr + 1));
	expect(TDX_OPERAND_INVALID | 1, call(r, PAGE_RECLAIM,
	       (uint64_t)RIG_HKID << RIG_KEYID_SHIFT | td.tdr));
	expect(TDX_OPERAND_ADDR_RANGE_ERROR | 1, call(r, PAGE_RECLAIM, 0x1000));
	expect(TDX_PAGE_METADATA_INCORRECT | 1,
	       call(r, PAGE_RECLAIM, RIG_TDMR_BASE + RIG_TD_RAM));
	expect(TDX_PAGE_METADATA_INCORRECT | 1,
	       call(r, PAGE_RECLAIM, rig_frame(r)));
	expect(TDX_LIFECYCLE_STATE_INCORRECT, call(r, PAGE_RECLAIM, td.tdr));
	assert_int_equal(out(r, RCX), PT_TDR);
}

static void cache_wb(void **state)
{
	struct rig *r = *state;
	struct rig_td a, b;

	assert_true(rig_td_create(r, &a, RIG_HKID));
	assert_true(rig_td_create(r, &b, RIG_HKID + 1));
	expect(TDX_OPERAND_INVALID | 1, call(r, CACHE_WB, 2));
	assert_true(call(r, CACHE_WB) == 0x0000082100000000);
	expect(TDX_WBCACHE_RESUME_ERROR, call(r, CACHE_WB, 1));
	expect(TDX_LIFECYCLE_STATE_INCORRECT, call(r, KEY_FREEID, a.tdr));
	ok(call(r, VPFLUSHDONE, a.tdr));
	expect(TDX_HKID_NOT_FREE,
	       call(r, MNG_CREATE, rig_frame(r), RIG_HKID));
	expect(TDX_WBCACHE_NOT_COMPLETE, call(r, KEY_FREEID, a.tdr));
	ok(call_on(r, 1, CACHE_WB));
	expect(TDX_WBCACHE_NOT_COMPLETE, call(r, KEY_FREEID, a.tdr));
	ok(call_on(r, 0, CACHE_WB));		/* same package again */
	expect(TDX_WBCACHE_NOT_COMPLETE, call(r, KEY_FREEID, a.tdr));
	ok(call(r, VPFLUSHDONE, b.tdr));
	ok(call_on(r, 3, CACHE_WB));
	ok(call(r, KEY_FREEID, a.tdr));
	/* b was flushed too late for package 0 */
	expect(TDX_WBCACHE_NOT_COMPLETE, call(r, KEY_FREEID, b.tdr));
	ok(call_on(r, 0, CACHE_WB));
	ok(call(r, KEY_FREEID, b.tdr));
	expect(TDX_NO_HKID_READY_TO_WBCACHE, call(r, CACHE_WB));
	/* the KeyIDs are free while the TDs still have pages */
	ok(call(r, MNG_CREATE, rig_frame(r), RIG_HKID));
}

static void cache_wb_interrupted(void **state)
{
	struct rig *r = *state;
	struct rig_td a, b;
	int calls = 1;
	uint64_t got;

	assert_true(rig_td_create(r, &a, RIG_HKID));
	assert_true(rig_td_create(r, &b, RIG_HKID + 1));
	ok(call(r, VPFLUSHDONE, a.tdr));
	r->interrupt[0] = 0x20;
	assert_true(call(r, CACHE_WB) == 0x8000000300000000);
	assert_int_equal(r->interrupt[0], 0x20);	/* the host's to take */
	/* b is flushed after the start and does not profit */
	ok(call(r, VPFLUSHDONE, b.tdr));
	while ((got = call(r, CACHE_WB, 1)) == TDX_INTERRUPTED_RESUMABLE)
		assert_in_range(++calls, 1, 100);
	ok(got);
	assert_true(calls > 1);
	expect(TDX_WBCACHE_RESUME_ERROR, call(r, CACHE_WB, 1));
	ok(call_on(r, 2, CACHE_WB));
	ok(call(r, KEY_FREEID, a.tdr));
	expect(TDX_WBCACHE_NOT_COMPLETE, call(r, KEY_FREEID, b.tdr));

	/* a fresh start drops the resume point; so does its end */
	expect(TDX_INTERRUPTED_RESUMABLE, call(r, CACHE_WB));
	r->interrupt[0] = -1;
	ok(call(r, CACHE_WB));
	expect(TDX_WBCACHE_RESUME_ERROR, call(r, CACHE_WB, 1));
	ok(call(r, KEY_FREEID, b.tdr));
}

/* One KeyID serves TD after TD, and no page gets lost on the way. */
static void keyid_reuse(void **state)
{
	struct rig *r = *state;
	uint64_t first = r->next_frame;

	r->check = false;
	for (int i = 0; i < 20; i++) {
		struct rig_td td;

		r->next_frame = first;
		assert_true(rig_td_runnable(r, &td, RIG_HKID));
		expect(77, call(r, VP_ENTER, td.tdvpr[0]));
		ok(call(r, VP_FLUSH, td.tdvpr[0]));
		assert_true(rig_td_free_hkid(r, &td));
		reclaim_control_pages(r, &td);
		expect_empty(r);
		rig_check(r);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(rdmd), T(wbinvd), T(teardown_by_remove),
		T(teardown_by_reclaim), T(teardown_without_keys),
		T(reclaim_errors), T(cache_wb), T(cache_wb_interrupted),
		T(keyid_reuse),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
