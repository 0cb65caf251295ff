// SPDX-License-Identifier: LGPL-2.1-or-later
/* TD life cycle, KeyIDs, TD_PARAMS, TD-scope metadata, measurement. */
#include "tests/test.h"

static void create(void **state)
{
	struct rig *r = *state;
	uint64_t page = rig_frame(r), used = rig_frame(r);
	struct tdx_usage u;

	ok(call(r, MNG_CREATE, used, RIG_HKID + 1));
	/* KeyID, then page, then KOT */
	expect(TDX_OPERAND_INVALID | 2, call(r, MNG_CREATE, 1, 31));
	expect(TDX_OPERAND_INVALID | 2, call(r, MNG_CREATE, 1, 64));
	expect(TDX_OPERAND_INVALID | 2, call(r, MNG_CREATE, 1, 1 << 16 | RIG_HKID));
	expect(TDX_OPERAND_INVALID | 1, call(r, MNG_CREATE, page + 1, RIG_HKID));
	expect(TDX_OPERAND_INVALID | 1,
	       call(r, MNG_CREATE, 1ULL << RIG_KEYID_SHIFT | page, RIG_HKID));
	expect(TDX_OPERAND_INVALID | 1,
	       call(r, MNG_CREATE, 1ULL << 52 | page, RIG_HKID));
	expect(TDX_OPERAND_ADDR_RANGE_ERROR | 1,
	       call(r, MNG_CREATE, 0x1000, RIG_HKID));
	expect(TDX_OPERAND_ADDR_RANGE_ERROR | 1,
	       call(r, MNG_CREATE, 2 * SZ_1G, RIG_HKID));
	expect(TDX_PAGE_METADATA_INCORRECT | 1,
	       call(r, MNG_CREATE, used, RIG_GLOBAL_KEYID));
	/* a reserved area */
	expect(TDX_PAGE_METADATA_INCORRECT | 1,
	       call(r, MNG_CREATE, RIG_TDMR_BASE + RIG_TD_RAM, RIG_HKID));
	expect(TDX_HKID_NOT_FREE, call(r, MNG_CREATE, page, RIG_GLOBAL_KEYID));
	expect(TDX_HKID_NOT_FREE, call(r, MNG_CREATE, page, RIG_HKID + 1));
	ok(call(r, MNG_CREATE, page, RIG_HKID));

	tdx_get_usage(r->m, &u);
	assert_int_equal(u.tds, 2);
	assert_int_equal(u.keyids_in_use, 2);
	assert_int_equal(u.td_pages, 2);
	assert_true(r->owner[page / SZ_4K].pt);
}

static void key_config(void **state)
{
	struct rig *r = *state;
	struct rig_td td;

	assert_true(rig_td_create(r, &td, RIG_HKID));
	expect(TDX_PAGE_METADATA_INCORRECT | 1,
	       call(r, KEY_CONFIG, rig_frame(r)));
	ok(call_on(r, 1, KEY_CONFIG, td.tdr));
	expect(TDX_KEY_CONFIGURED, call_on(r, 0, KEY_CONFIG, td.tdr));
	expect(TDX_TD_KEYS_NOT_CONFIGURED,
	       call(r, MNG_ADDCX, rig_frame(r), td.tdr));
	ok(call_on(r, 3, KEY_CONFIG, td.tdr));
	expect(TDX_LIFECYCLE_STATE_INCORRECT, call(r, KEY_CONFIG, td.tdr));
	ok(call(r, MNG_ADDCX, rig_frame(r), td.tdr));
}

static void addcx(void **state)
{
	struct rig *r = *state;
	struct rig_td td, other;
	uint64_t page;

	assert_true(rig_td_keys(r, &td, RIG_HKID));
	page = rig_frame(r);
	expect(TDX_PAGE_METADATA_INCORRECT | 2, call(r, MNG_ADDCX, page, page));
	expect(TDX_OPERAND_BUSY | 1, call(r, MNG_ADDCX, td.tdr, td.tdr));
	for (int i = 0; i < 6; i++) {
		rig_td_params(r);
		expect(TDX_TDCS_NOT_ALLOCATED,
		       call(r, MNG_INIT, td.tdr, RIG_TD_PARAMS));
		ok(call(r, MNG_ADDCX, rig_frame(r), td.tdr));
	}
	/* optional ones, up to 8, before MNG.INIT only */
	ok(call(r, MNG_ADDCX, page, td.tdr));
	expect(TDX_PAGE_METADATA_INCORRECT | 1,
	       call(r, MNG_ADDCX, page, td.tdr));
	ok(call(r, MNG_ADDCX, rig_frame(r), td.tdr));
	expect(TDX_TDCX_NUM_INCORRECT, call(r, MNG_ADDCX, page, td.tdr));

	assert_true(rig_td_init(r, &other, RIG_HKID + 1));
	expect(TDX_OP_STATE_INCORRECT,
	       call(r, MNG_ADDCX, rig_frame(r), other.tdr));
}

static uint64_t init_with(struct rig *r, uint64_t tdr, unsigned int offset,
			  unsigned int size, uint64_t value)
{
	memcpy((uint8_t *)rig_td_params(r) + offset, &value, size);
	return call(r, MNG_INIT, tdr, RIG_TD_PARAMS);
}

static void td_params(void **state)
{
	static const struct {
		unsigned int offset, size;
		uint64_t value, operand, rcx;
	} bad[] = {
		{ 0, 8, 1ULL << 1, 0x40 }, { 0, 8, 1ULL << 29, 0x40 },
		{ 8, 8, 0, 0x41 }, { 8, 8, 1, 0x41 },
		{ 8, 8, 0x10e7, 0x41 },		/* half of CET */
		{ 8, 8, 0x67, 0x41 },		/* two thirds of AVX-512 */
		{ 8, 8, 0xe3, 0x41 },		/* AVX-512 without AVX */
		{ 8, 8, 0x200e7, 0x41 },	/* half of AMX */
		{ 8, 8, 1ULL << 10 | 0xe7, 0x41 },
		{ 16, 2, 0, 0x44 }, { 16, 2, 577, 0x44 },
		{ 18, 1, 1, 0x47 }, { 19, 1, 1, 0x48 },
		{ 20, 1, 1, 2 }, { 23, 1, 1, 2 },
		{ 24, 8, 0, 0x43 }, { 24, 8, 6, 0x43 },
		{ 24, 8, 6 | 2 << 3, 0x43 }, { 24, 8, 6 | 5 << 3, 0x43 },
		{ 24, 8, 6 | 3 << 3 | 1 << 6, 0x43 },
		{ 32, 8, 8, 0x42 },
		{ 32, 8, 1, 0x43 },		/* GPAW without 5-level */
		{ 40, 2, 3, 0x46 }, { 40, 2, 401, 0x46 },
		{ 42, 1, 1, 2 }, { 79, 1, 1, 2 },
		{ 224, 8, 1, 0x48 }, { 232, 1, 1, 2 }, { 255, 1, 1, 2 },
		{ 256, 4, 0x000806f0, 0x45, 0xffffffff00000001 },
		{ 260, 4, 1, 0x45, 0xffffffff00000001 },
		{ 256 + 16 * 5 + 4, 4, 1 << 11, 0x45, 7 },
		{ 256 + 16 * 5, 4, 1, 0x45, 7 },
		{ 256 + 16 * 9, 4, 52 << 16, 0x45, 0xffffffff80000008 },
		{ 256 + 16 * 18, 1, 1, 2 }, { 1023, 1, 1, 2 },
	};
	struct rig *r = *state;
	struct rig_td td;

	assert_true(rig_td_tdcs(r, &td, RIG_HKID));
	expect(TDX_OPERAND_INVALID | 2, call(r, MNG_INIT, td.tdr, 0x4200));
	expect(TDX_OPERAND_INVALID | 2, call(r, MNG_INIT, td.tdr,
	       (uint64_t)RIG_HKID << RIG_KEYID_SHIFT | RIG_TD_PARAMS));
	expect(TDX_OPERAND_INVALID | 2, call(r, MNG_INIT, td.tdr, 0x30000000));
	for (size_t i = 0; i < NR(bad); i++) {
		uint64_t got = init_with(r, td.tdr, bad[i].offset, bad[i].size,
					 bad[i].value);

		if (got != (TDX_OPERAND_INVALID | bad[i].operand) ||
		    out(r, RCX) != bad[i].rcx)
			fail_msg("case %zu: %016llx, RCX %016llx", i,
				 (unsigned long long)got,
				 (unsigned long long)out(r, RCX));
	}
	/* a level of type 0 with a shift; a chain that starts late */
	expect(TDX_CPUID_LEAF_1F_FORMAT_UNRECOGNIZED,
	       init_with(r, td.tdr, 256 + 16 * 12, 4, 1));
	expect(TDX_CPUID_LEAF_1F_FORMAT_UNRECOGNIZED,
	       init_with(r, td.tdr, 256 + 16 * 13 + 8, 4, 0x201));
	assert_int_equal(out(r, RCX), 0);
	rig_td_params(r);
	r->tsc_adjust[0] = 1;
	expect(TDX_INCONSISTENT_MSR | 0x3b,
	       call(r, MNG_INIT, td.tdr, RIG_TD_PARAMS));
	r->tsc_adjust[0] = 0;
	/* op_state stayed: a retry works, once */
	ok(init_with(r, td.tdr, 256, 4, 0x000806f8));
	assert_int_equal(out(r, RCX), 0);
	expect(TDX_OP_STATE_INCORRECT, call(r, MNG_INIT, td.tdr, RIG_TD_PARAMS));
}

static void td_params_order(void **state)
{
	/* Each one is made good after it has been reported. */
	static const struct { unsigned int offset; uint64_t operand; } order[] = {
		{ 1, 0x40 }, { 15, 0x41 }, { 17, 0x44 }, { 18, 0x47 },
		{ 20, 2 }, { 39, 0x42 }, { 31, 0x43 }, { 41, 0x46 },
		{ 42, 2 }, { 19, 0x48 }, { 232, 2 }, { 260, 0x45 },
		{ 1000, 2 }, { 224, 0x48 },
	};
	uint8_t good[1024], *params;
	struct rig *r = *state;
	struct rig_td td;

	assert_true(rig_td_tdcs(r, &td, RIG_HKID));
	params = rig_td_params(r);
	memcpy(good, params, sizeof(good));
	for (size_t i = 0; i < NR(order); i++)
		params[order[i].offset] = 0x0f;
	for (size_t i = 0; i < NR(order); i++) {
		expect(TDX_OPERAND_INVALID | order[i].operand,
		       call(r, MNG_INIT, td.tdr, RIG_TD_PARAMS));
		params[order[i].offset] = good[order[i].offset];
	}
	ok(call(r, MNG_INIT, td.tdr, RIG_TD_PARAMS));
}

static void td_params_accepted(void **state)
{
	struct rig *r = *state;
	unsigned int hkid = RIG_HKID;
	struct rig_td td;
	uint8_t *params;

	for (int i = 0; i < 3; i++) {
		assert_true(rig_td_tdcs(r, &td, hkid++));
		params = rig_td_params(r);
		switch (i) {
		case 0:		/* 5-level, 52-bit GPAs */
			params[24] = 6 | 4 << 3;
			params[32] = 5;
			break;
		case 1:		/* SMT and core levels in leaf 1F */
			params[256 + 16 * 12] = 1;
			params[256 + 16 * 12 + 4] = 2;
			params[256 + 16 * 12 + 9] = 1;
			params[256 + 16 * 13] = 4;
			params[256 + 16 * 13 + 8] = 1;
			params[256 + 16 * 13 + 9] = 2;
			params[256 + 16 * 14 + 8] = 2;
			break;
		case 2:		/* HLE with RTM, shared KeyID */
			params[256 + 16 * 5 + 4] = 0x10;
			params[256 + 16 * 5 + 5] = 0x08;
			break;
		}
		ok(call(r, MNG_INIT, td.tdr,
			(uint64_t)i << RIG_KEYID_SHIFT | RIG_TD_PARAMS));
	}
}

static uint64_t mng_rd(struct rig *r, const struct rig_td *td, uint64_t id)
{
	ok(call(r, MNG_RD, td->tdr, id));
	return out(r, R8);
}

#define CPUID_FIELD(leaf, sub) \
	(0x9410000300000000ULL | ((leaf) >> 31 & 1ULL) << 16 | \
	 ((leaf) & 0x7full) << 9 | (uint64_t)(sub) << 1)

static void mng_rd_fields(void **state)
{
	struct rig *r = *state;
	struct rig_td td;
	uint64_t offset, init_tsc;

	assert_true(rig_td_tdcs(r, &td, RIG_HKID));
	expect(TDX_OP_STATE_INCORRECT,
	       call(r, MNG_RD, td.tdr, 0x110000000000000a));
	ok(init_with(r, td.tdr, 40, 2, 40));		/* 1 GHz on 2 GHz */
	init_tsc = r->tsc;
	offset = mng_rd(r, &td, 0x110000000000000a);
	assert_int_equal(mng_rd(r, &td, 0x110000000000000b), 1ULL << 47);
	assert_int_equal(init_tsc / 2 + offset, 0);
	assert_int_equal(mng_rd(r, &td, 0x1110000300000000),
			 TDX_ATTR_SEPT_VE_DISABLE);
	assert_int_equal(mng_rd(r, &td, 0x1110000300000001), 0x602e7);

	/* what KVM_TDX_GET_CPUID starts with */
	assert_int_equal((uint32_t)mng_rd(r, &td, CPUID_FIELD(0, 0xff)), 0x23);
	assert_int_equal((uint32_t)mng_rd(r, &td, CPUID_FIELD(0x80000000, 0xff)),
			 0x80000008);
	/* native signature, VMX hidden, hypervisor bit set */
	assert_int_equal((uint32_t)mng_rd(r, &td, CPUID_FIELD(1, 0xff)), 0x806f8);
	assert_int_equal(mng_rd(r, &td, CPUID_FIELD(1, 0xff) | 1) & 0x80000020,
			 0x80000000);
	mng_rd(r, &td, CPUID_FIELD(7, 2));
	expect(TDX_METADATA_FIELD_ID_INCORRECT,
	       call(r, MNG_RD, td.tdr, CPUID_FIELD(7, 3)));
	assert_int_equal(out(r, R8), 0);
	expect(TDX_METADATA_FIELD_ID_INCORRECT,
	       call(r, MNG_RD, td.tdr, CPUID_FIELD(7, 0xff)));
	expect(TDX_METADATA_FIELD_ID_INCORRECT,
	       call(r, MNG_RD, td.tdr, CPUID_FIELD(1, 0)));
	expect(TDX_METADATA_FIELD_ID_INCORRECT,
	       call(r, MNG_RD, td.tdr, CPUID_FIELD(0x40, 0xff)));
	expect(TDX_METADATA_FIELD_ID_INCORRECT,
	       call(r, MNG_RD, td.tdr, CPUID_FIELD(0, 0xff) | 1 << 17));
	expect(TDX_METADATA_FIELD_ID_INCORRECT,
	       call(r, MNG_RD, td.tdr, 0x1110000300000020));
	expect(TDX_METADATA_FIELD_ID_INCORRECT,
	       call(r, MNG_RD, td.tdr, 1ULL << 55 | 0x110000000000000a));
	expect(TDX_PAGE_METADATA_INCORRECT | 1,
	       call(r, MNG_RD, td.tdcx[0], 0x110000000000000a));
}

/* Every subleaf enumeration by KVM comes to an end below its limit of 256. */
static void mng_rd_enumeration(void **state)
{
	struct rig *r = *state;
	struct rig_td td;
	int entries = 0;

	r->check = false;
	assert_true(rig_td_init(r, &td, RIG_HKID));
	for (uint64_t leaf = 0; leaf <= 0x80000008; leaf++) {
		if (leaf == 0x24)
			leaf = 0x80000000;
		if (!call(r, MNG_RD, td.tdr, CPUID_FIELD(leaf, 0xff))) {
			entries++;
			continue;
		}
		for (int sub = 0; !call(r, MNG_RD, td.tdr,
					CPUID_FIELD(leaf, sub)); sub++)
			entries++;
	}
	assert_in_range(entries, 30, 100);
}

static void finalize(void **state)
{
	struct rig *r = *state;
	struct rig_td td;

	assert_true(rig_td_tdcs(r, &td, RIG_HKID));
	expect(TDX_OP_STATE_INCORRECT, call(r, MR_FINALIZE, td.tdr));
	rig_td_params(r);
	ok(call(r, MNG_INIT, td.tdr, RIG_TD_PARAMS));
	expect(TDX_NO_VCPUS, call(r, MR_FINALIZE, td.tdr));
	assert_true(rig_td_vcpu(r, &td, 0));
	ok(call(r, MR_FINALIZE, td.tdr));
	expect(TDX_OP_STATE_INCORRECT, call(r, MR_FINALIZE, td.tdr));
}

static void measurement(void **state)
{
	struct rig *r = *state;
	uint8_t header[128] = "MEM.PAGE.ADD", want[SHA384_DIGEST];
	uint64_t gpa = 0x5000, chunk = gpa + 0x300;
	uint8_t *source = rig_mem(r, RIG_SOURCE);
	struct sha384 sha;
	struct rig_td td;
	uint64_t page;

	for (int i = 0; i < 4096; i++)
		source[i] = (uint8_t)(i * 7);
	assert_true(rig_td_init(r, &td, RIG_HKID));
	assert_true(rig_td_sept(r, &td));
	page = rig_frame(r);
	ok(call(r, PAGE_ADD, gpa, td.tdr, page, RIG_SOURCE));
	assert_memory_equal(rig_mem(r, page), source, 4096);
	memset(source, 0, 4096);	/* the TD's copy is what counts */
	ok(call(r, MR_EXTEND, chunk, td.tdr));
	assert_int_equal(out(r, RCX) | out(r, RDX), 0);
	assert_true(rig_td_vcpu(r, &td, 0));
	ok(call(r, MR_FINALIZE, td.tdr));

	tdm_sha384_init(&sha);
	memcpy(header + 16, &gpa, 8);
	tdm_sha384_update(&sha, header, 128);
	memset(header, 0, 128);
	memcpy(header, "MR.EXTEND", 9);
	memcpy(header + 16, &chunk, 8);
	tdm_sha384_update(&sha, header, 128);
	tdm_sha384_update(&sha, (uint8_t *)rig_mem(r, page) + 0x300, 256);
	tdm_sha384_final(&sha, want);
	assert_memory_equal(r->m->tds->mrtd, want, sizeof(want));
}

static void mr_extend_errors(void **state)
{
	struct rig *r = *state;
	struct rig_td td;

	assert_true(rig_td_init(r, &td, RIG_HKID));
	expect(TDX_OPERAND_INVALID | 1, call(r, MR_EXTEND, 0x80, td.tdr));
	expect(TDX_OPERAND_INVALID | 1, call(r, MR_EXTEND, 1ULL << 47, td.tdr));
	expect(TDX_EPT_ENTRY_NOT_PRESENT | 1, call(r, MR_EXTEND, 0, td.tdr));
	assert_int_equal(out(r, RDX), 3);
	assert_true(rig_td_sept(r, &td));
	expect(TDX_EPT_ENTRY_NOT_PRESENT, call(r, MR_EXTEND, 0, td.tdr));
	ok(call(r, PAGE_AUG, 0, td.tdr, rig_frame(r)));
	expect(TDX_EPT_ENTRY_NOT_PRESENT, call(r, MR_EXTEND, 0, td.tdr));
	assert_int_equal(out(r, RDX), SEPT_PENDING << 8);
	expect(TDX_PAGE_METADATA_INCORRECT | 2, call(r, MR_EXTEND, 0, td.sept[0]));
	assert_true(rig_td_vcpu(r, &td, 0));
	ok(call(r, MR_FINALIZE, td.tdr));
	expect(TDX_OP_STATE_INCORRECT, call(r, MR_EXTEND, 0, td.tdr));
}

static void sha384_vectors(void **state)
{
	static const uint8_t abc[SHA384_DIGEST] = {
		0xcb, 0x00, 0x75, 0x3f, 0x45, 0xa3, 0x5e, 0x8b, 0xb5, 0xa0,
		0x3d, 0x69, 0x9a, 0xc6, 0x50, 0x07, 0x27, 0x2c, 0x32, 0xab,
		0x0e, 0xde, 0xd1, 0x63, 0x1a, 0x8b, 0x60, 0x5a, 0x43, 0xff,
		0x5b, 0xed, 0x80, 0x86, 0x07, 0x2b, 0xa1, 0xe7, 0xcc, 0x23,
		0x58, 0xba, 0xec, 0xa1, 0x34, 0xc8, 0x25, 0xa7,
	};
	static const uint8_t empty[] = { 0x38, 0xb0, 0x60, 0xa7, 0x51, 0xac };
	uint8_t digest[SHA384_DIGEST];
	struct sha384 s;

	(void)state;
	tdm_sha384_init(&s);
	tdm_sha384_update(&s, "abc", 3);
	tdm_sha384_final(&s, digest);
	assert_memory_equal(digest, abc, sizeof(abc));
	tdm_sha384_init(&s);
	tdm_sha384_final(&s, digest);
	assert_memory_equal(digest, empty, sizeof(empty));
}

/*
 * Sheet section 10: every leaf in every life-cycle state that it may not run
 * in.  Columns: HKID_ASSIGNED, KEYS_CONFIGURED, BLOCKED, TEARDOWN.
 */
#define LIFE	TDX_LIFECYCLE_STATE_INCORRECT
#define KEYS	TDX_TD_KEYS_NOT_CONFIGURED
#define OK	1	/* not tried here */

static void lifecycle_matrix(void **state)
{
	enum { TDR_RCX, TDR_RDX, VCPU_RCX, VCPU_RDX };
	static const struct {
		unsigned int leaf;
		int operand;
		uint64_t want[4];
	} matrix[] = {
		{ KEY_CONFIG, TDR_RCX, { OK, LIFE, LIFE, LIFE } },
		{ MNG_ADDCX, TDR_RDX, { KEYS, OK, KEYS, KEYS } },
		{ MNG_INIT, TDR_RCX, { KEYS, OK, KEYS, KEYS } },
		{ MNG_RD, TDR_RCX, { KEYS, OK, KEYS, KEYS } },
		{ VP_CREATE, TDR_RDX, { KEYS, OK, KEYS, KEYS } },
		{ VP_ADDCX, VCPU_RDX, { OK, OK, KEYS, KEYS } },
		{ VP_INIT, VCPU_RCX, { OK, OK, KEYS, KEYS } },
		{ VP_INIT_V0, VCPU_RCX, { OK, OK, KEYS, KEYS } },
		{ VP_RD, VCPU_RCX, { OK, OK, KEYS, KEYS } },
		{ VP_WR, VCPU_RCX, { OK, OK, KEYS, KEYS } },
		{ VP_FLUSH, VCPU_RCX, { OK, OK, KEYS, KEYS } },
		{ VP_ENTER, VCPU_RCX, { OK, OK, KEYS, KEYS } },
		{ SEPT_ADD, TDR_RDX, { KEYS, OK, KEYS, KEYS } },
		{ PAGE_ADD, TDR_RDX, { KEYS, OK, KEYS, KEYS } },
		{ PAGE_AUG, TDR_RDX, { KEYS, OK, KEYS, KEYS } },
		{ RANGE_BLOCK, TDR_RDX, { KEYS, OK, KEYS, KEYS } },
		{ RANGE_UNBLOCK, TDR_RDX, { KEYS, OK, KEYS, KEYS } },
		{ PAGE_REMOVE, TDR_RDX, { KEYS, OK, KEYS, KEYS } },
		{ MEM_TRACK, TDR_RCX, { KEYS, OK, KEYS, KEYS } },
		{ MR_EXTEND, TDR_RDX, { KEYS, OK, KEYS, KEYS } },
		{ MR_FINALIZE, TDR_RCX, { KEYS, OK, KEYS, KEYS } },
		{ VPFLUSHDONE, TDR_RCX, { OK, OK, LIFE, LIFE } },
		{ KEY_FREEID, TDR_RCX, { LIFE, LIFE, OK, LIFE } },
		{ PAGE_RECLAIM, TDR_RCX, { LIFE, LIFE, LIFE, OK } },
		{ PAGE_RECLAIM, VCPU_RCX, { OK, LIFE, LIFE, OK } },
	};
	struct rig *r = *state;

	for (unsigned int life = 0; life < 4; life++) {
		struct rig_td td;

		if (life == 0) {
			assert_true(rig_td_create(r, &td, RIG_HKID));
		} else {
			assert_true(rig_td_runnable(r, &td, RIG_HKID + life));
			ok(call(r, VP_FLUSH, td.tdvpr[0]));
		}
		if (life == 2)
			ok(call(r, VPFLUSHDONE, td.tdr));
		if (life == 3)
			assert_true(rig_td_free_hkid(r, &td));
		for (size_t i = 0; i < NR(matrix); i++) {
			bool rdx = matrix[i].operand == TDR_RDX ||
				   matrix[i].operand == VCPU_RDX;
			bool vcpu = matrix[i].operand >= VCPU_RCX;
			uint64_t target = vcpu ? td.tdvpr[0] : td.tdr;

			if (matrix[i].want[life] == OK)
				continue;
			expect(matrix[i].want[life],
			       call(r, matrix[i].leaf, rdx ? 0 : target,
				    rdx ? target : 0));
		}
		if (life == 2) {	/* make room for the next TD */
			ok(call_on(r, 0, CACHE_WB));
			ok(call_on(r, 2, CACHE_WB));
			ok(call(r, KEY_FREEID, td.tdr));
		}
	}
}

/* Sheet section 6: op_states, as far as they are reached. */
static void op_state_matrix(void **state)
{
	enum { TDR_RCX, TDR_RDX, VCPU_RCX, VCPU_RDX };
	static const struct {
		unsigned int leaf;
		int operand;
		bool in[3];	/* UNINITIALIZED, INITIALIZED, RUNNABLE */
	} matrix[] = {
		{ VP_ENTER, VCPU_RCX, { 0, 0, 1 } },
		{ MNG_INIT, TDR_RCX, { 1, 0, 0 } },
		{ PAGE_ADD, TDR_RDX, { 0, 1, 0 } },
		{ MR_EXTEND, TDR_RDX, { 0, 1, 0 } },
		{ MR_FINALIZE, TDR_RCX, { 0, 1, 0 } },
		{ VP_INIT, VCPU_RCX, { 0, 1, 0 } },
		{ VP_ADDCX, VCPU_RDX, { 0, 1, 0 } },
		{ VP_CREATE, TDR_RDX, { 0, 1, 0 } },
		{ SEPT_ADD, TDR_RDX, { 0, 1, 1 } },
		{ PAGE_AUG, TDR_RDX, { 0, 1, 1 } },
		{ RANGE_BLOCK, TDR_RDX, { 0, 1, 1 } },
		{ PAGE_REMOVE, TDR_RDX, { 0, 1, 1 } },
		{ MEM_TRACK, TDR_RCX, { 0, 1, 1 } },
		{ MNG_RD, TDR_RCX, { 0, 1, 1 } },
		{ VP_RD, VCPU_RCX, { 0, 1, 1 } },
		{ VP_WR, VCPU_RCX, { 0, 1, 1 } },
	};
	struct rig *r = *state;
	struct rig_td td[3];

	assert_true(rig_td_tdcs(r, &td[0], RIG_HKID));
	assert_true(rig_td_init(r, &td[1], RIG_HKID + 1));
	assert_true(rig_td_vcpu(r, &td[1], 0));
	assert_true(rig_td_runnable(r, &td[2], RIG_HKID + 2));
	for (unsigned int op_state = 0; op_state < 3; op_state++) {
		for (size_t i = 0; i < NR(matrix); i++) {
			bool rdx = matrix[i].operand == TDR_RDX ||
				   matrix[i].operand == VCPU_RDX;
			bool vcpu = matrix[i].operand >= VCPU_RCX;
			uint64_t target, got;

			if (vcpu && op_state == 0)
				continue;
			/* this one would change the state */
			if (matrix[i].leaf == MR_FINALIZE && op_state == 1)
				continue;
			target = vcpu ? td[op_state].tdvpr[0] : td[op_state].tdr;
			/* operands that fail any later check, if there is one */
			got = call(r, matrix[i].leaf, rdx ? 0x40 : target,
				   rdx ? target : 0x40, 0x40);
			if ((got == TDX_OP_STATE_INCORRECT) ==
			    matrix[i].in[op_state])
				fail_msg("leaf %u in op_state %u: %016llx",
					 matrix[i].leaf, op_state,
					 (unsigned long long)got);
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(create), T(key_config), T(addcx), T(td_params),
		T(td_params_order), T(td_params_accepted), T(mng_rd_fields),
		T(mng_rd_enumeration), T(finalize), T(measurement),
		T(mr_extend_errors), cmocka_unit_test(sha384_vectors),
		T(lifecycle_matrix), T(op_state_matrix),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
