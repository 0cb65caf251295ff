// SPDX-License-Identifier: LGPL-2.1-or-later
/* Secure EPT, MEM.* leaves, epochs and TLB tracking. */
#include "tests/test.h"

static const struct tdx_script stay = { .mode = TDX_SCRIPT_STAY };

/* RCX and RDX that a failed leaf reports */
static void expect_entry(struct rig *r, uint64_t rcx, unsigned int level,
			 enum sept_state state)
{
	assert_true(out(r, RCX) == rcx);
	assert_int_equal(out(r, RDX), level | state << 8);
}

#define FREE_ENTRY	(1ULL << 63)
#define LEAF_BITS	(1ULL << 63 | 0xf0)	/* SVE, WB, IPAT, PS */

static void gpa_operands(void **state)
{
	static const unsigned int leaves[] = {
		SEPT_ADD, PAGE_ADD, PAGE_AUG, RANGE_BLOCK, RANGE_UNBLOCK,
		PAGE_REMOVE,
	};
	/* by leaf: lowest and highest level, for a 4-level TD */
	static const unsigned int levels[NR(leaves)][2] = {
		{ 1, 3 }, { 0, 0 }, { 0, 1 }, { 0, 3 }, { 0, 3 }, { 0, 2 },
	};
	struct rig *r = *state;
	struct rig_td td;

	assert_true(rig_td_init(r, &td, RIG_HKID));
	for (size_t i = 0; i < NR(leaves); i++) {
		unsigned int low = levels[i][0], high = levels[i][1];
		static const uint64_t bad[] = {
			0x8, 0x800, 1ULL << 47, 1ULL << 48, 1ULL << 63,
		};

		for (unsigned int level = 0; level < 8; level++) {
			bool fits = level >= low && level <= high;
			uint64_t got = call(r, leaves[i], level, td.tdr);

			assert_int_equal(got == (TDX_OPERAND_INVALID | 1), !fits);
			assert_true(fits || !(out(r, RCX) | out(r, RDX)));
			if (fits && level)
				expect(TDX_OPERAND_INVALID | 1,
				       call(r, leaves[i], 0x1000 | level, td.tdr));
		}
		for (size_t j = 0; j < NR(bad); j++)
			expect(TDX_OPERAND_INVALID | 1,
			       call(r, leaves[i], bad[j] | low, td.tdr));
		/* the TDR goes first */
		expect(TDX_PAGE_METADATA_INCORRECT | 2,
		       call(r, leaves[i], 8, td.tdcx[0]));
		expect(TDX_OPERAND_INVALID | 2,
		       call(r, leaves[i], 8, td.tdr | 2));
	}
}

static void five_levels(void **state)
{
	struct rig *r = *state;
	struct rig_td td;
	uint8_t *params;

	assert_true(rig_td_tdcs(r, &td, RIG_HKID));
	params = rig_td_params(r);
	params[24] = 6 | 4 << 3;
	params[32] = 5;
	ok(call(r, MNG_INIT, td.tdr, RIG_TD_PARAMS));
	expect(TDX_EPT_WALK_FAILED | 1,
	       call(r, SEPT_ADD, 3, td.tdr, rig_frame(r)));
	expect_entry(r, FREE_ENTRY, 4, SEPT_FREE);
	ok(call(r, SEPT_ADD, 1ULL << 50 | 4, td.tdr, rig_frame(r)));
	ok(call(r, SEPT_ADD, 1ULL << 50 | 3, td.tdr, rig_frame(r)));
	expect(TDX_OPERAND_INVALID | 1, call(r, SEPT_ADD, 1ULL << 51 | 4, td.tdr));
}

static void sept_add(void **state)
{
	struct rig *r = *state;
	struct rig_td td;
	uint64_t page, table;

	assert_true(rig_td_init(r, &td, RIG_HKID));
	page = rig_frame(r);
	expect(TDX_EPT_WALK_FAILED | 1, call(r, SEPT_ADD, 1, td.tdr, page));
	expect_entry(r, FREE_ENTRY, 3, SEPT_FREE);
	expect(TDX_OPERAND_INVALID | 8, call(r, SEPT_ADD, 3, td.tdr, page + 1));
	expect(TDX_PAGE_METADATA_INCORRECT | 8,
	       call(r, SEPT_ADD, 3, td.tdr, td.tdcx[0]));
	expect(TDX_OPERAND_BUSY | 8, call(r, SEPT_ADD, 3, td.tdr, td.tdr));
	table = page;
	ok(call(r, SEPT_ADD, 3, td.tdr, table));
	assert_int_equal(out(r, RCX) | out(r, RDX), 0);

	/* there already: the state goes before the page */
	expect(TDX_EPT_ENTRY_STATE_INCORRECT | 1,
	       call(r, SEPT_ADD, 3, td.tdr, 1));
	expect_entry(r, table | 7, 3, SEPT_NL_MAPPED);
	page = rig_frame(r);
	ok(call(r, SEPT_ADD, 3, td.tdr | 1, page));
	ok(call(r, PAGE_RDMD, page));
	assert_int_equal(out(r, RCX), PT_NDA);

	ok(call(r, SEPT_ADD, 2, td.tdr, page));
	ok(call(r, PAGE_RDMD, page));
	assert_int_equal(out(r, RCX), PT_EPT);
	assert_int_equal(out(r, RDX), td.tdr);
	expect(TDX_EPT_WALK_FAILED | 1, call(r, PAGE_AUG, 0, td.tdr, 0));
	expect_entry(r, FREE_ENTRY, 1, SEPT_FREE);
}

static void page_add(void **state)
{
	struct rig *r = *state;
	struct rig_td td;
	uint64_t page;

	assert_true(rig_td_init(r, &td, RIG_HKID));
	page = rig_frame(r);
	/* page, source, walk, state */
	expect(TDX_PAGE_METADATA_INCORRECT | 8,
	       call(r, PAGE_ADD, 0, td.tdr, td.tdcx[0], 1));
	expect(TDX_OPERAND_INVALID | 9, call(r, PAGE_ADD, 0, td.tdr, page, 1));
	expect(TDX_OPERAND_INVALID | 9, call(r, PAGE_ADD, 0, td.tdr, page,
	       (uint64_t)RIG_HKID << RIG_KEYID_SHIFT | RIG_SOURCE));
	expect(TDX_OPERAND_INVALID | 9,
	       call(r, PAGE_ADD, 0, td.tdr, page, RIG_HOST_SIZE));
	expect(TDX_EPT_WALK_FAILED | 1,
	       call(r, PAGE_ADD, 0, td.tdr, page, RIG_SOURCE));
	assert_true(rig_td_sept(r, &td));
	ok(call(r, PAGE_ADD, 0, td.tdr, page, RIG_SOURCE));
	expect(TDX_EPT_ENTRY_STATE_INCORRECT | 1,
	       call(r, PAGE_ADD, 0, td.tdr, rig_frame(r), RIG_SOURCE));
	expect_entry(r, page | LEAF_BITS | 7, 0, SEPT_MAPPED);
	assert_true(r->owner[page / SZ_4K].pt);
	/* a shared KeyID in the source; a page is added to one TD only */
	ok(call(r, PAGE_ADD, 0x1000, td.tdr, rig_frame(r),
		2ULL << RIG_KEYID_SHIFT | RIG_SOURCE));
	expect(TDX_PAGE_METADATA_INCORRECT | 8,
	       call(r, PAGE_ADD, 0x2000, td.tdr, page, RIG_SOURCE));
}

static void page_aug(void **state)
{
	struct rig *r = *state;
	uint8_t before[4096];
	struct rig_td td;
	uint64_t page;

	assert_true(rig_td_runnable(r, &td, RIG_HKID));
	page = rig_frame(r);
	memset(rig_mem(r, page), 0x5a, 4096);
	memset(before, 0x5a, 4096);
	expect(TDX_OPERAND_ADDR_RANGE_ERROR | 8,
	       call(r, PAGE_AUG, 0, td.tdr, 0x5000));
	ok(call(r, PAGE_AUG, 0, td.tdr, page));
	assert_memory_equal(rig_mem(r, page), before, 4096);
	expect(TDX_EPT_ENTRY_STATE_INCORRECT | 1,
	       call(r, PAGE_AUG, 0, td.tdr, 1));
	expect_entry(r, page | LEAF_BITS, 0, SEPT_PENDING);
	expect(TDX_PAGE_METADATA_INCORRECT | 8,
	       call(r, PAGE_AUG, 0x1000, td.tdr, page));
	ok(call(r, PAGE_RDMD, page));
	assert_int_equal(out(r, RCX), PT_REG);
	assert_int_equal(out(r, R8), 0);
}

static void page_aug_2m(void **state)
{
	const uint64_t big = RIG_TDMR_BASE + 2 * SZ_2M;
	struct rig *r = *state;
	struct tdx_usage u;
	struct rig_td td;

	assert_true(rig_td_runnable(r, &td, RIG_HKID));
	expect(TDX_EPT_ENTRY_STATE_INCORRECT | 1,
	       call(r, PAGE_AUG, 1, td.tdr, big));
	expect(TDX_OPERAND_INVALID | 8,
	       call(r, PAGE_AUG, SZ_2M | 1, td.tdr, big + SZ_4K));
	/* the TD's own pages are in here; a running vCPU keeps them locked */
	tdx_set_script(r->m, &stay);
	call_on(r, 0, VP_ENTER, td.tdvpr[0]);
	r->lp = 1;
	expect(TDX_OPERAND_BUSY | 8,
	       call(r, PAGE_AUG, SZ_2M | 1, td.tdr, RIG_TDMR_BASE));
	r->interrupt[0] = 0x20;
	assert_int_equal(rig_poll(r, 0), TDX_DONE);
	ok(call(r, PAGE_AUG, 0, td.tdr, big + SZ_2M - SZ_4K));
	expect(TDX_PAGE_METADATA_INCORRECT | 8,
	       call(r, PAGE_AUG, SZ_2M | 1, td.tdr, big));
	ok(call(r, RANGE_BLOCK, 0, td.tdr));
	ok(call(r, MEM_TRACK, td.tdr));
	ok(call(r, PAGE_REMOVE, 0, td.tdr));

	ok(call(r, PAGE_AUG, SZ_2M | 1, td.tdr, big));
	tdx_get_usage(r->m, &u);
	assert_int_equal(u.td_private_pages, 512);
	ok(call(r, PAGE_RDMD, big + 5 * SZ_4K));
	assert_int_equal(out(r, RCX), PT_REG);
	assert_int_equal(out(r, R8), 1);
	expect(TDX_PAGE_METADATA_INCORRECT | 1,
	       call(r, MNG_CREATE, big + SZ_4K, RIG_HKID + 1));
	expect(TDX_PAGE_METADATA_INCORRECT | 8,
	       call(r, PAGE_AUG, 2 * SZ_2M | 1, td.tdr, big));
	/* a leaf at level 1 ends the walk to level 0 */
	expect(TDX_EPT_WALK_FAILED | 1, call(r, RANGE_BLOCK, SZ_2M, td.tdr));
	expect_entry(r, big | LEAF_BITS, 1, SEPT_PENDING);
	ok(call(r, RANGE_BLOCK, SZ_2M | 1, td.tdr));
	ok(call(r, MEM_TRACK, td.tdr));
	ok(call(r, PAGE_REMOVE, SZ_2M | 1, td.tdr));
	assert_int_equal(out(r, RCX), big);
	tdx_get_usage(r->m, &u);
	assert_int_equal(u.td_private_pages, 0);
	assert_false(r->owner[(big + 5 * SZ_4K) / SZ_4K].pt);

	/* reclaimed as a whole, by its first address */
	ok(call(r, PAGE_AUG, SZ_2M | 1, td.tdr, big));
	ok(call_on(r, 0, VP_FLUSH, td.tdvpr[0]));
	assert_true(rig_td_free_hkid(r, &td));
	expect(TDX_OPERAND_INVALID | 1, call(r, PAGE_RECLAIM, big + SZ_4K));
	ok(call(r, PAGE_RECLAIM, big));
	assert_int_equal(out(r, R8), 1);
	ok(call(r, MNG_CREATE, big + SZ_4K, RIG_HKID));
}

static void block_and_remove(void **state)
{
	struct rig *r = *state;
	struct rig_td td;
	uint64_t page;

	assert_true(rig_td_runnable(r, &td, RIG_HKID));
	/* premapped by KVM but never added: Linux compares the full value */
	assert_true(call(r, RANGE_BLOCK, 0, td.tdr) == 0xc0000b0d00000001);
	expect_entry(r, FREE_ENTRY, 0, SEPT_FREE);
	expect(TDX_EPT_ENTRY_STATE_INCORRECT | 1,
	       call(r, PAGE_REMOVE, 0, td.tdr));
	expect(TDX_GPA_RANGE_NOT_BLOCKED | 1, call(r, RANGE_UNBLOCK, 0, td.tdr));

	ok(call(r, PAGE_AUG, 0, td.tdr, page = rig_frame(r)));
	expect(TDX_GPA_RANGE_NOT_BLOCKED | 1, call(r, PAGE_REMOVE, 0, td.tdr));
	expect_entry(r, page | LEAF_BITS, 0, SEPT_PENDING);
	ok(call(r, RANGE_BLOCK, 0, td.tdr));
	assert_int_equal(out(r, RCX) | out(r, RDX), 0);
	assert_true(call(r, RANGE_BLOCK, 0, td.tdr) ==
		    (TDX_GPA_RANGE_ALREADY_BLOCKED | 1));
	expect_entry(r, page | LEAF_BITS, 0, SEPT_PENDING_BLOCKED);
	expect(TDX_TLB_TRACKING_NOT_DONE | 1, call(r, PAGE_REMOVE, 0, td.tdr));
	expect(TDX_TLB_TRACKING_NOT_DONE | 1, call(r, RANGE_UNBLOCK, 0, td.tdr));
	ok(call(r, PAGE_RDMD, page));
	assert_int_equal(out(r, R9), 1);
	ok(call(r, MEM_TRACK, td.tdr));
	ok(call(r, RANGE_UNBLOCK, 0, td.tdr));
	expect(TDX_GPA_RANGE_NOT_BLOCKED | 1, call(r, RANGE_UNBLOCK, 0, td.tdr));
	ok(call(r, RANGE_BLOCK, 0, td.tdr));
	ok(call(r, PAGE_RDMD, page));
	assert_int_equal(out(r, R9), 2);
	ok(call(r, MEM_TRACK, td.tdr));
	assert_true(r->owner[page / SZ_4K].pt);
	ok(call(r, PAGE_REMOVE, 0, td.tdr));
	assert_int_equal(out(r, RCX), page);
	assert_false(r->owner[page / SZ_4K].pt);
	ok(call(r, PAGE_WBINVD, (uint64_t)RIG_HKID << RIG_KEYID_SHIFT | page));
	expect(TDX_EPT_ENTRY_STATE_INCORRECT | 1,
	       call(r, PAGE_REMOVE, 0, td.tdr));
	ok(call(r, PAGE_AUG, 0, td.tdr, page));
}

/* Before MR.FINALIZE no vCPU can have run: nothing needs tracking. */
static void remove_before_finalize(void **state)
{
	struct rig *r = *state;
	struct rig_td td;

	assert_true(rig_td_init(r, &td, RIG_HKID));
	assert_true(rig_td_sept(r, &td));
	ok(call(r, PAGE_ADD, 0, td.tdr, rig_frame(r), RIG_SOURCE));
	ok(call(r, RANGE_BLOCK, 0, td.tdr));
	ok(call(r, PAGE_REMOVE, 0, td.tdr));
	ok(call(r, PAGE_ADD, 0x1000, td.tdr, rig_frame(r), RIG_SOURCE));
	ok(call(r, PAGE_REMOVE, 0x1000, td.tdr));
}

static void block_table(void **state)
{
	struct rig *r = *state;
	struct rig_td td;
	uint64_t page;

	assert_true(rig_td_runnable(r, &td, RIG_HKID));
	ok(call(r, PAGE_AUG, 0, td.tdr, page = rig_frame(r)));
	expect(TDX_EPT_ENTRY_STATE_INCORRECT | 1,
	       call(r, PAGE_REMOVE, 1, td.tdr));
	ok(call(r, RANGE_BLOCK, 1, td.tdr));
	/* the epoch is in the entry of the table's page */
	ok(call(r, PAGE_RDMD, td.sept[0]));
	assert_int_equal(out(r, R9), 1);
	expect(TDX_GPA_RANGE_ALREADY_BLOCKED | 1,
	       call(r, RANGE_BLOCK, 1, td.tdr));
	expect_entry(r, td.sept[0], 1, SEPT_NL_BLOCKED);
	expect(TDX_EPT_WALK_FAILED | 1, call(r, RANGE_BLOCK, 0, td.tdr));
	expect_entry(r, td.sept[0], 1, SEPT_NL_BLOCKED);
	expect(TDX_EPT_WALK_FAILED | 1, call(r, PAGE_REMOVE, 0, td.tdr));
	expect(TDX_EPT_ENTRY_STATE_INCORRECT | 1,
	       call(r, SEPT_ADD, 1, td.tdr | 1, rig_frame(r)));
	expect(TDX_TLB_TRACKING_NOT_DONE | 1, call(r, RANGE_UNBLOCK, 1, td.tdr));
	ok(call(r, MEM_TRACK, td.tdr));
	ok(call(r, RANGE_UNBLOCK, 1, td.tdr));
	ok(call(r, RANGE_BLOCK, 0, td.tdr));
	ok(call(r, MEM_TRACK, td.tdr));
	ok(call(r, PAGE_REMOVE, 0, td.tdr));
	assert_int_equal(out(r, RCX), page);
}

static void mapped_states(void **state)
{
	struct rig *r = *state;
	struct rig_td td;
	uint64_t page;

	assert_true(rig_td_init(r, &td, RIG_HKID));
	assert_true(rig_td_sept(r, &td));
	ok(call(r, PAGE_ADD, 0, td.tdr, page = rig_frame(r), RIG_SOURCE));
	ok(call(r, RANGE_BLOCK, 0, td.tdr));
	expect(TDX_GPA_RANGE_ALREADY_BLOCKED | 1, call(r, RANGE_BLOCK, 0, td.tdr));
	expect_entry(r, page | LEAF_BITS, 0, SEPT_BLOCKED);
	expect(TDX_EPT_ENTRY_NOT_PRESENT, call(r, MR_EXTEND, 0, td.tdr));
	ok(call(r, RANGE_UNBLOCK, 0, td.tdr));
	ok(call(r, MR_EXTEND, 0, td.tdr));
}

static void kick(struct rig *r, unsigned int lp)
{
	r->interrupt[lp] = 0xfd;
	assert_int_equal(rig_poll(r, lp), TDX_DONE);
	assert_int_equal(r->gpr[lp][TDX_RAX], 1);
}

/* Sheet section 14, with a vCPU that stays in the TD. */
static void tracking(void **state)
{
	struct rig *r = *state;
	struct rig_td td;

	assert_true(rig_td_runnable(r, &td, RIG_HKID));
	ok(call(r, PAGE_AUG, 0, td.tdr, rig_frame(r)));
	ok(call(r, PAGE_AUG, 0x1000, td.tdr, rig_frame(r)));
	tdx_set_script(r->m, &stay);
	call_on(r, 0, VP_ENTER, td.tdvpr[0]);
	assert_int_equal(r->outcome, TDX_IN_GUEST);
	r->lp = 1;

	ok(call(r, RANGE_BLOCK, 0, td.tdr));
	ok(call(r, MEM_TRACK, td.tdr));
	/* the vCPU is still in the epoch of the block */
	expect(TDX_TLB_TRACKING_NOT_DONE | 1, call(r, PAGE_REMOVE, 0, td.tdr));
	assert_true(call(r, MEM_TRACK, td.tdr) == 0x8000020100000000);
	kick(r, 0);
	ok(call(r, PAGE_REMOVE, 0, td.tdr));

	/* a vCPU that entered after the TRACK does not matter */
	ok(call(r, RANGE_BLOCK, 0x1000, td.tdr));
	ok(call(r, MEM_TRACK, td.tdr));
	call_on(r, 0, VP_ENTER, td.tdvpr[0]);
	ok(call(r, PAGE_REMOVE, 0x1000, td.tdr));

	/* blocked two epochs ago: tracked, wherever the vCPU is */
	ok(call(r, PAGE_AUG, 0, td.tdr, rig_frame(r)));
	ok(call(r, RANGE_BLOCK, 0, td.tdr));
	ok(call(r, MEM_TRACK, td.tdr));
	kick(r, 0);
	ok(call(r, MEM_TRACK, td.tdr));
	call_on(r, 0, VP_ENTER, td.tdvpr[0]);
	ok(call(r, MEM_TRACK, td.tdr));
	ok(call(r, PAGE_REMOVE, 0, td.tdr));
	kick(r, 0);
}

static void tracking_two_vcpus(void **state)
{
	struct rig *r = *state;
	struct rig_td td;

	assert_true(rig_td_init(r, &td, RIG_HKID));
	assert_true(rig_td_sept(r, &td));
	assert_true(rig_td_vcpu(r, &td, 0));
	assert_true(rig_td_vcpu(r, &td, 2));
	ok(call(r, MR_FINALIZE, td.tdr));
	ok(call(r, PAGE_AUG, 0, td.tdr, rig_frame(r)));
	tdx_set_script(r->m, &stay);
	call_on(r, 0, VP_ENTER, td.tdvpr[0]);
	call_on(r, 2, VP_ENTER, td.tdvpr[1]);
	r->lp = 1;
	ok(call(r, RANGE_BLOCK, 0, td.tdr));
	ok(call(r, MEM_TRACK, td.tdr));
	kick(r, 0);
	call_on(r, 0, VP_ENTER, td.tdvpr[0]);	/* now in the new epoch */
	expect(TDX_TLB_TRACKING_NOT_DONE | 1, call(r, PAGE_REMOVE, 0, td.tdr));
	expect(TDX_PREVIOUS_TLB_EPOCH_BUSY, call(r, MEM_TRACK, td.tdr));
	kick(r, 2);
	ok(call(r, PAGE_REMOVE, 0, td.tdr));
	ok(call(r, MEM_TRACK, td.tdr));
	kick(r, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(gpa_operands), T(five_levels), T(sept_add), T(page_add),
		T(page_aug), T(page_aug_2m), T(block_and_remove),
		T(remove_before_finalize), T(block_table), T(mapped_states),
		T(tracking), T(tracking_two_vcpus),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
