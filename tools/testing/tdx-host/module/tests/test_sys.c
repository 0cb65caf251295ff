// SPDX-License-Identifier: LGPL-2.1-or-later
/* Bring-up: SYS.*, TDMR and PAMT configuration, platform metadata. */
#include "tests/test.h"

static void bring_up(void **state)
{
	struct rig *r = *state;
	struct tdx_usage u;

	assert_true(rig_bring_up(r));
	rig_check(r);
	tdx_get_usage(r->m, &u);
	assert_true(u.ready);
	assert_int_equal(u.pamt_bytes, 0x403000);
	assert_int_equal(u.keyids, RIG_NR_TDX_KEYIDS - 1);
	assert_int_equal(u.keyids_in_use, 0);
	/* all of the PAMT is the module's now, and nothing else */
	assert_int_equal(r->nr_owned, 0x403000 / SZ_4K);
	for (uint64_t pa = RIG_PAMT; pa < RIG_PAMT + 0x403000; pa += SZ_4K)
		assert_true(r->owner[pa / SZ_4K].pt == 1 && !r->owner[pa / SZ_4K].tdr);
	assert_true(r->log_lines >= 1);
}

static void sys_init(void **state)
{
	struct rig *r = *state;

	expect(TDX_OPERAND_INVALID | 1, call(r, SYS_INIT, 1));
	ok(call(r, SYS_INIT));
	assert_int_equal(out(r, RCX) | out(r, RDX) | out(r, R8) | out(r, R9) |
			 out(r, R10), 0);
	expect(TDX_SYS_INIT_NOT_PENDING, call(r, SYS_INIT));
	/* the state goes before the operand */
	expect(TDX_SYS_INIT_NOT_PENDING, call_on(r, 1, SYS_INIT, 1));
}

static void lp_init(void **state)
{
	struct rig *r = *state;

	expect(TDX_SYS_LP_INIT_NOT_PENDING, call(r, SYS_LP_INIT));
	ok(call(r, SYS_INIT));
	ok(call_on(r, 1, SYS_LP_INIT));
	assert_int_equal(out(r, RCX) | out(r, RDX) | out(r, R8), 0);
	expect(TDX_SYS_LP_INIT_DONE, call_on(r, 1, SYS_LP_INIT));
	r->tsc_adjust[2] = 5;
	expect(TDX_INCONSISTENT_MSR | 0x3b, call_on(r, 2, SYS_LP_INIT));
	r->tsc_adjust[2] = 0;
	ok(call_on(r, 2, SYS_LP_INIT));
}

static void lp_init_after_config(void **state)
{
	expect(TDX_SYS_LP_INIT_NOT_PENDING, call_on(*state, 0, SYS_LP_INIT));
}

/* Sheet section 4: what runs before SYS_READY. */
static void not_ready(void **state)
{
	static const unsigned int leaves[] = {
		VP_ENTER, MNG_ADDCX, PAGE_ADD, SEPT_ADD, VP_ADDCX, PAGE_AUG,
		RANGE_BLOCK, KEY_CONFIG, MNG_CREATE, VP_CREATE, MNG_RD,
		MR_EXTEND, MR_FINALIZE, VP_FLUSH, VPFLUSHDONE, KEY_FREEID,
		MNG_INIT, VP_INIT, PAGE_RDMD, VP_RD, PAGE_RECLAIM, PAGE_REMOVE,
		TDMR_INIT, MEM_TRACK, RANGE_UNBLOCK, CACHE_WB, PAGE_WBINVD,
		VP_WR,
	};
	struct rig *r = *state;

	for (int configured = 0; configured < 2; configured++) {
		for (size_t i = 0; i < NR(leaves); i++)
			expect(TDX_SYS_NOT_READY,
			       call(r, leaves[i], RIG_TDMR_BASE));
		if (configured)
			break;
		assert_true(rig_lp_init_all(r));
		rig_tdmr_info(r, 0);
		ok(call(r, SYS_CONFIG, RIG_TDMR_ARRAY, 1, RIG_GLOBAL_KEYID));
	}
}

static void leaf_and_version(void **state)
{
	static const uint64_t bad[] = {
		42, 63, 64, 0xffff,		/* no such leaf */
		5, 12, 13, 14, 15, 23, 25, 27, 30, 32, 37, 44, 53,
		1 << 16 | SYS_INIT, 2 << 16 | 22, 1 << 16 | MNG_CREATE,
		1 << 24 | SYS_INIT, 1ULL << 40 | SYS_INIT, 1ULL << 62,
	};
	struct rig *r = *state;

	for (size_t i = 0; i < NR(bad); i++) {
		struct tdx_cpu cpu = { .gpr = r->gpr[0] };

		r->gpr[0][TDX_RAX] = bad[i];
		assert_int_equal(tdx_seamcall(r->m, &cpu), TDX_DONE);
		assert_int_equal(r->gpr[0][TDX_RAX], TDX_OPERAND_INVALID);
	}
}

static void config_operands(void **state)
{
	struct rig *r = *state;
	uint64_t keyid = RIG_GLOBAL_KEYID;

	rig_tdmr_info(r, 0);
	expect(TDX_SYS_CONFIG_NOT_PENDING,
	       call(r, SYS_CONFIG, RIG_TDMR_ARRAY, 1, keyid));
	ok(call(r, SYS_INIT));
	for (unsigned int lp = 0; lp < RIG_LPS; lp++) {
		expect(TDX_SYS_CONFIG_NOT_PENDING,
		       call(r, SYS_CONFIG, RIG_TDMR_ARRAY, 1, keyid));
		ok(call_on(r, lp, SYS_LP_INIT));
	}

	/* in this order: RCX, RDX, R8 */
	expect(TDX_OPERAND_INVALID | 1, call(r, SYS_CONFIG, 0x1100, 0, 1));
	expect(TDX_OPERAND_INVALID | 1,
	       call(r, SYS_CONFIG, 32ULL << RIG_KEYID_SHIFT | 0x1000, 1, keyid));
	expect(TDX_OPERAND_INVALID | 1,
	       call(r, SYS_CONFIG, 1ULL << 52 | 0x1000, 1, keyid));
	expect(TDX_OPERAND_INVALID | 2, call(r, SYS_CONFIG, 0x1000, 0, 1));
	expect(TDX_OPERAND_INVALID | 2, call(r, SYS_CONFIG, 0x1000, 65, keyid));
	expect(TDX_OPERAND_INVALID | 8, call(r, SYS_CONFIG, 0x1000, 1, 31));
	expect(TDX_OPERAND_INVALID | 8, call(r, SYS_CONFIG, 0x1000, 1, 64));
	expect(TDX_OPERAND_INVALID | 8,
	       call(r, SYS_CONFIG, 0x1000, 1, 1ULL << 32 | keyid));
	*(uint64_t *)rig_mem(r, RIG_TDMR_ARRAY) = RIG_TDMR_INFO + 64;
	expect(TDX_OPERAND_INVALID | 1, call(r, SYS_CONFIG, 0x1000, 1, keyid));

	/* a shared KeyID in the address is fine; a failure may be retried */
	rig_tdmr_info(r, 0);
	ok(call(r, SYS_CONFIG, 3ULL << RIG_KEYID_SHIFT | 0x1000, 1, keyid));
	expect(TDX_SYS_CONFIG_NOT_PENDING,
	       call(r, SYS_CONFIG, RIG_TDMR_ARRAY, 1, keyid));
}

#define TDMR_1G		(RIG_PAMT + 0x402000)
#define TDMR_2M		(RIG_PAMT + 0x400000)

/* Sheet section 8.2.  Indices into TDMR_INFO, in words. */
static void tdmr_rules(void **state)
{
	enum { BASE, SIZE, G_BASE, G_SIZE, M_BASE, M_SIZE, K_BASE, K_SIZE,
	       RSVD0, RSVD0_SIZE, RSVD1, RSVD1_SIZE };
	static const struct {
		uint64_t want;
		struct { unsigned int word; uint64_t value; } change[4];
	} cases[] = {
		{ TDX_INVALID_TDMR, { { SIZE, 0 } } },
		{ TDX_INVALID_TDMR, { { SIZE, SZ_1G + SZ_2M } } },
		{ TDX_INVALID_TDMR, { { BASE, SZ_1G + SZ_4K } } },
		{ TDX_INVALID_TDMR, { { SIZE, -SZ_1G } } },
		{ TDX_INVALID_TDMR, { { BASE, 1ULL << RIG_KEYID_SHIFT } } },
		{ TDX_INVALID_TDMR, { { SIZE, 1ULL << RIG_KEYID_SHIFT } } },
		{ TDX_INVALID_RESERVED_IN_TDMR, { { RSVD0, 0x800 } } },
		{ TDX_INVALID_RESERVED_IN_TDMR, { { RSVD0_SIZE, 0x800 } } },
		{ TDX_INVALID_RESERVED_IN_TDMR, { { RSVD0_SIZE, SZ_1G } } },
		{ TDX_INVALID_RESERVED_IN_TDMR, { { RSVD0, SZ_1G } } },
		{ TDX_INVALID_RESERVED_IN_TDMR | 1 << 8,
		  { { RSVD1, SZ_1G }, { RSVD1_SIZE, SZ_4K } } },
		{ TDX_NON_ORDERED_RESERVED_IN_TDMR | 1 << 8,
		  { { RSVD1, 0 }, { RSVD1_SIZE, SZ_4K } } },
		{ TDX_NON_ORDERED_RESERVED_IN_TDMR | 1 << 8,
		  { { RSVD1, SZ_1G - SZ_4K }, { RSVD1_SIZE, SZ_4K } } },
		{ TDX_INVALID_PAMT, { { K_BASE, RIG_PAMT + 16 } } },
		{ TDX_INVALID_PAMT, { { K_SIZE, 0x3ff000 } } },
		{ TDX_INVALID_PAMT, { { K_BASE, 1ULL << 51 } } },
		{ TDX_INVALID_PAMT | 1 << 8, { { M_SIZE, 0x1000 } } },
		{ TDX_INVALID_PAMT | 2 << 8, { { G_SIZE, 0 } } },
		{ TDX_PAMT_OVERLAP | 1 << 8, { { M_BASE, RIG_PAMT } } },
		{ TDX_PAMT_OVERLAP | 2 << 8, { { G_BASE, TDMR_2M + 0x1000 } } },
		/* in the part of a TDMR that is not reserved */
		{ TDX_PAMT_OVERLAP, { { K_BASE, RIG_TDMR_BASE } } },
		{ TDX_PAMT_OVERLAP | 1 << 8,
		  { { M_BASE, RIG_TDMR_BASE + RIG_TD_RAM - 0x1000 } } },
		{ TDX_PAMT_OUTSIDE_CMRS, { { K_BASE, 0x20000000 } } },
		{ TDX_PAMT_OUTSIDE_CMRS | 2 << 8,
		  { { G_BASE, RIG_HOST_SIZE } } },
		{ TDX_TDMR_OUTSIDE_CMRS, { { RSVD0, RIG_TD_RAM + SZ_4K },
		  { RSVD0_SIZE, SZ_1G - RIG_TD_RAM - SZ_4K } } },
		{ TDX_TDMR_OUTSIDE_CMRS, { { RSVD0_SIZE, 0 } } },
		/* order: range, alignment, reserved areas, PAMT, CMRs */
		{ TDX_INVALID_TDMR,
		  { { SIZE, SZ_1G + SZ_4K }, { RSVD0, 1 }, { K_BASE, 1 } } },
		{ TDX_INVALID_RESERVED_IN_TDMR,
		  { { RSVD0, 1 }, { K_BASE, 1 } } },
		{ TDX_INVALID_PAMT, { { K_BASE, 1 }, { RSVD0_SIZE, 0 } } },
		/* overlap goes before CMRs */
		{ TDX_PAMT_OVERLAP | 1 << 8,
		  { { M_BASE, RIG_PAMT + 0x3ff000 } } },
		{ TDX_SUCCESS, { { RSVD0, RIG_TD_RAM - SZ_4K },
		  { RSVD0_SIZE, SZ_1G - RIG_TD_RAM + SZ_4K },
		  { G_BASE, RIG_TDMR_BASE + RIG_TD_RAM - SZ_4K } } },
	};
	struct rig *r = *state;

	assert_true(rig_lp_init_all(r));
	for (size_t i = 0; i < NR(cases); i++) {
		uint64_t *info = rig_tdmr_info(r, 0);
		uint64_t got;

		for (size_t j = 0; j < 4; j++) {
			if (!cases[i].change[j].word && !cases[i].change[j].value)
				break;
			info[cases[i].change[j].word] = cases[i].change[j].value;
		}
		got = call(r, SYS_CONFIG, RIG_TDMR_ARRAY, 1, RIG_GLOBAL_KEYID);
		if (got != cases[i].want)
			fail_msg("case %zu: %016llx, not %016llx", i,
				 (unsigned long long)got,
				 (unsigned long long)cases[i].want);
	}
}

static void two_tdmrs(void **state)
{
	struct rig *r = *state;
	uint64_t *second, *first;

	assert_true(rig_lp_init_all(r));
	for (int i = 0; i < 5; i++) {
		uint64_t want = TDX_SUCCESS;

		first = rig_tdmr_info(r, 0);
		second = rig_tdmr_info(r, 1);
		memcpy(second, first, 128);
		/* all of the second is reserved, all its PAMTs are elsewhere */
		second[0] = 2 * SZ_1G;
		second[8] = 0;
		second[9] = SZ_1G;
		second[2] = 0x400000 + 0x8000;
		second[4] = 0x400000 + 0x4000;
		second[6] = 0x4000;
		switch (i) {
		case 0:
			second[0] = RIG_TDMR_BASE;
			want = TDX_NON_ORDERED_TDMR | 1;
			break;
		case 1:
			second[0] = 0;
			want = TDX_NON_ORDERED_TDMR | 1;
			break;
		case 2:
			second[2] = TDMR_2M;
			want = TDX_PAMT_OVERLAP | 1 | 2 << 8;
			break;
		case 3:
			second[6] = RIG_TDMR_BASE;
			want = TDX_PAMT_OVERLAP | 1;
			break;
		}
		expect(want, call(r, SYS_CONFIG, RIG_TDMR_ARRAY, 2,
				  RIG_GLOBAL_KEYID));
	}
}

/* The PAMT of an earlier TDMR lies in a later one. */
static void pamt_in_later_tdmr(void **state)
{
	struct rig *r = *state;
	uint64_t *first, *second;

	assert_true(rig_lp_init_all(r));
	first = rig_tdmr_info(r, 0);
	second = rig_tdmr_info(r, 1);
	memcpy(second, first, 128);
	first[0] = 0;
	first[8] = 0;
	first[9] = SZ_1G;
	first[2] = RIG_TDMR_BASE + 0x3000;
	first[4] = 0x400000 + 0x4000;
	first[6] = 0x4000;
	expect(TDX_PAMT_OVERLAP | 2 << 8 | 1 << 16,
	       call(r, SYS_CONFIG, RIG_TDMR_ARRAY, 2, RIG_GLOBAL_KEYID));
}

static void key_config(void **state)
{
	struct rig *r = *state;

	expect(TDX_SYS_KEY_CONFIG_NOT_PENDING, call(r, SYS_KEY_CONFIG));
	assert_true(rig_lp_init_all(r));
	expect(TDX_SYS_KEY_CONFIG_NOT_PENDING, call(r, SYS_KEY_CONFIG));
	rig_tdmr_info(r, 0);
	ok(call(r, SYS_CONFIG, RIG_TDMR_ARRAY, 1, RIG_GLOBAL_KEYID));
	ok(call_on(r, 0, SYS_KEY_CONFIG));
	expect(TDX_KEY_CONFIGURED, call_on(r, 1, SYS_KEY_CONFIG));
	expect(TDX_SYS_NOT_READY, call(r, TDMR_INIT, RIG_TDMR_BASE));
	ok(call_on(r, 3, SYS_KEY_CONFIG));
	expect(TDX_SYS_KEY_CONFIG_NOT_PENDING, call_on(r, 0, SYS_KEY_CONFIG));
	ok(call(r, TDMR_INIT, RIG_TDMR_BASE));
}

static void tdmr_init(void **state)
{
	struct rig *r = *state;

	assert_true(rig_lp_init_all(r));
	rig_tdmr_info(r, 0);
	ok(call(r, SYS_CONFIG, RIG_TDMR_ARRAY, 1, RIG_GLOBAL_KEYID));
	ok(call_on(r, 0, SYS_KEY_CONFIG));
	ok(call_on(r, 2, SYS_KEY_CONFIG));
	expect(TDX_OPERAND_INVALID | 1, call(r, TDMR_INIT, 0));
	assert_int_equal(out(r, RDX), 0);
	expect(TDX_OPERAND_INVALID | 1, call(r, TDMR_INIT, RIG_TDMR_BASE + SZ_4K));
	expect(TDX_OPERAND_INVALID | 1, call(r, TDMR_INIT,
	       5ULL << RIG_KEYID_SHIFT | RIG_TDMR_BASE));
	assert_int_equal(r->nr_owned, 0);

	r->check = false;
	for (int i = 0; i < 255; i++) {
		ok(call(r, TDMR_INIT, RIG_TDMR_BASE));
		assert_int_equal(out(r, RDX), RIG_TDMR_BASE);
		/* not usable before the whole GiB is done */
		expect(TDX_OPERAND_ADDR_RANGE_ERROR | 1,
		       call(r, PAGE_RDMD, RIG_TDMR_BASE));
		expect(TDX_OPERAND_ADDR_RANGE_ERROR | 1,
		       call(r, MNG_CREATE, RIG_TDMR_BASE, RIG_HKID));
	}
	r->check = true;
	ok(call(r, TDMR_INIT, RIG_TDMR_BASE));
	assert_int_equal(out(r, RDX), RIG_TDMR_BASE + SZ_1G);
	ok(call(r, PAGE_RDMD, RIG_TDMR_BASE));
	expect(TDX_TDMR_ALREADY_INITIALIZED, call(r, TDMR_INIT, RIG_TDMR_BASE));
	assert_int_equal(out(r, RDX), 0);
}

static uint64_t sys_rd(struct rig *r, uint64_t id)
{
	ok(call(r, SYS_RD, 0, id));
	assert_int_equal(out(r, RCX), 0);
	return out(r, R8);
}

static void sys_rd_clflush_before_alloc(void **state)
{
	struct tdx_platform platform;
	struct rig *r;

	(void)state;
	rig_platform(&platform);
	platform.clflush_before_alloc = true;
	r = rig_new_with(&platform);
	r->check = false;
	ok(call(r, SYS_INIT));
	ok(call(r, SYS_LP_INIT));
	assert_int_equal(sys_rd(r, 0x0a00000300000008), 0x950000);
	rig_free(r);
}

static void sys_rd_values(void **state)
{
	static const struct { uint64_t id, value; } fields[] = {
		{ 0x9100000100000008, 64 }, { 0x9100000100000009, 16 },
		{ 0x9100000100000010, 16 }, { 0x9100000100000011, 16 },
		{ 0x9100000100000012, 16 }, { 0x9800000100000000, 4096 },
		{ 0x9800000100000100, 24576 }, { 0x9800000100000200, 24576 },
		{ 0x1900000300000001, 0 }, { 0x1900000300000003, 3 },
		{ 0x9900000100000004, 18 }, { 0x9900000100000008, 576 },
		{ 0x0a00000300000008, 0x150000 },
		{ 0x1900000300000002, 0x61be7 },	/* 6dbe7 & CPU */
		{ 0x9000000100000000, 32 },
		{ 0x9000000300000081, 0x900000 },
		{ 0x9000000300000102, RIG_TD_RAM },
		{ 0x9000000300000103, 0 },
		{ 0x9900000300000400, 0xffffffff00000001 },
		{ 0x9900000300000409, 0xffffffff80000008 },
		{ 0x9900000300000411, 0x50000001f },
		{ 0x9900000300000500, 0x00ff00000fff3fff },
		{ 0x9900000300000512, 0x20000000000 },
		/* 7.0 ECX, EDX: allowed bits that the CPU has */
		{ 0x990000030000050b, 0x0005401002417f64 },
	};
	struct rig *r = *state;

	for (size_t i = 0; i < NR(fields); i++)
		assert_int_equal(sys_rd(r, fields[i].id), fields[i].value);
	assert_true(sys_rd(r, 0x1900000300000000) & 1 << 28);
	/* nobody takes this for Intel's module */
	assert_int_not_equal(sys_rd(r, 0x0800000200000000), 0x8086);
	assert_non_null(strstr(tdx_module_identity(), "not Intel"));
}

/* RDX chains the fields; the number that Linux reads is among them. */
static void sys_rd_chain(void **state)
{
	uint64_t id = 0x0800000200000000, seen = 0;
	struct rig *r = *state;

	r->check = false;
	while (id != UINT64_MAX) {
		ok(call(r, SYS_RD, 0, id));
		assert_int_not_equal(out(r, RDX), id);
		id = out(r, RDX);
		seen++;
	}
	assert_int_equal(seen, 7 + 1 + 64 + 14 + 3 * 18);
}

static void sys_rd_errors(void **state)
{
	static const uint64_t bad[] = {
		0, UINT64_MAX, 0x9100000100000020, 0x9900000300000412,
		0x9900000300000524, 0x9100000101000008, 0x9100800100000008,
		0x9180000100000008, 0xd100000100000008,
	};
	struct rig *r = *state;

	expect(TDX_SYS_LP_INIT_NOT_DONE, call(r, SYS_RD, 0, 0x9100000100000008));
	ok(call(r, SYS_INIT));
	ok(call_on(r, 1, SYS_LP_INIT));
	expect(TDX_SYS_LP_INIT_NOT_DONE,
	       call_on(r, 0, SYS_RD, 0, 0x9100000100000008));
	ok(call_on(r, 1, SYS_RD, 0, 0x9100000100000008));
	/* size, context, inc, write mask and non-arch bits do not matter */
	ok(call_on(r, 1, SYS_RD, 0, 0x117c000000000008 & ~(1ULL << 55) &
		   ~(7ULL << 47)));
	for (size_t i = 0; i < NR(bad); i++) {
		expect(TDX_METADATA_FIELD_ID_INCORRECT,
		       call_on(r, 1, SYS_RD, 0, bad[i]));
		assert_int_equal(out(r, R8), 0);
		assert_true(out(r, RDX) == UINT64_MAX);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		T_BARE(bring_up), T_BARE(sys_init), T_BARE(lp_init),
		T(lp_init_after_config), T_BARE(not_ready),
		T(leaf_and_version), T_BARE(config_operands),
		T_BARE(tdmr_rules), T_BARE(two_tdmrs),
		T_BARE(pamt_in_later_tdmr), T_BARE(key_config),
		T_BARE(tdmr_init), T(sys_rd_values), T(sys_rd_chain),
		T_BARE(sys_rd_errors), T_BARE(sys_rd_clflush_before_alloc),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
