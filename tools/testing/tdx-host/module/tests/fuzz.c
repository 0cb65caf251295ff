// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * libFuzzer target: sequences of SEAMCALLs on a few LPs.  Oracles: the
 * invariants of the model, ownership as the platform was told it, preserved
 * registers, and that any state can be torn down to nothing.
 */
#include "tests/fuzz.h"
#include "tests/rig.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define POOL		128	/* frames that operands name */
#define CHECK_EVERY	16

static const unsigned int leaf_of[] = {
	[F_VP_ENTER] = VP_ENTER, [F_MNG_ADDCX] = MNG_ADDCX,
	[F_PAGE_ADD] = PAGE_ADD, [F_SEPT_ADD] = SEPT_ADD,
	[F_VP_ADDCX] = VP_ADDCX, [F_PAGE_AUG] = PAGE_AUG,
	[F_RANGE_BLOCK] = RANGE_BLOCK, [F_KEY_CONFIG] = KEY_CONFIG,
	[F_MNG_CREATE] = MNG_CREATE, [F_VP_CREATE] = VP_CREATE,
	[F_MNG_RD] = MNG_RD, [F_MR_EXTEND] = MR_EXTEND,
	[F_MR_FINALIZE] = MR_FINALIZE, [F_VP_FLUSH] = VP_FLUSH,
	[F_VPFLUSHDONE] = VPFLUSHDONE, [F_KEY_FREEID] = KEY_FREEID,
	[F_MNG_INIT] = MNG_INIT, [F_VP_INIT] = VP_INIT,
	[F_VP_INIT_V0] = VP_INIT_V0, [F_PAGE_RDMD] = PAGE_RDMD,
	[F_VP_RD] = VP_RD, [F_PAGE_RECLAIM] = PAGE_RECLAIM,
	[F_PAGE_REMOVE] = PAGE_REMOVE, [F_SYS_KEY_CONFIG] = SYS_KEY_CONFIG,
	[F_SYS_INIT] = SYS_INIT, [F_SYS_RD] = SYS_RD,
	[F_SYS_LP_INIT] = SYS_LP_INIT, [F_TDMR_INIT] = TDMR_INIT,
	[F_MEM_TRACK] = MEM_TRACK, [F_RANGE_UNBLOCK] = RANGE_UNBLOCK,
	[F_CACHE_WB] = CACHE_WB, [F_PAGE_WBINVD] = PAGE_WBINVD,
	[F_VP_WR] = VP_WR, [F_SYS_CONFIG] = SYS_CONFIG,
};

static const uint64_t fields[] = {
	0x0002, 0x2016, 0x203c, 0x4000, 0x200000000000000b, 0x9100000000000100,
	0x110000000000000a, 0x110000000000000b, 0x94100003000001fe,
	0x94100003000003fe, 0x9410000300000e00, 0x9410000300001a04,
	0x9100000100000008, 0x9900000300000500, 0x0a00000300000008, UINT64_MAX,
};

static uint64_t fresh(struct rig *r)
{
	struct page_ref ref;

	for (uint64_t i = 0; i < POOL; i++)
		if (tdm_page_find(r->m, RIG_TDMR_BASE + i * SZ_4K, &ref) &&
		    ref.entry->pt == PT_NDA)
			return ref.pa;
	return RIG_TDMR_BASE;
}

/* The @n-th page of type @pt, as far as there are so many. */
static uint64_t page_of_type(struct rig *r, unsigned int pt, unsigned int n)
{
	uint64_t found = RIG_TDMR_BASE;
	struct page_ref ref;

	for (uint64_t i = 0; i < POOL; i++)
		if (tdm_page_find(r->m, RIG_TDMR_BASE + i * SZ_4K, &ref) &&
		    ref.entry->pt == pt) {
			found = ref.pa;
			if (!n--)
				break;
		}
	return found;
}

static uint64_t page(struct rig *r, uint8_t x)
{
	static const uint64_t odd[] = {
		0, RIG_TDMR_BASE + 1, RIG_TDMR_BASE + RIG_TD_RAM, 2 * SZ_1G,
		33ULL << RIG_KEYID_SHIFT | RIG_TDMR_BASE, UINT64_MAX,
		RIG_TDMR_BASE + SZ_2M, RIG_TDMR_BASE + 2 * SZ_2M,
	};

	if (x < POOL)
		return RIG_TDMR_BASE + x * SZ_4K;
	if (x < 0xf0)
		return fresh(r);
	return odd[x & 7];
}

static uint64_t gpa(uint8_t x)
{
	static const uint64_t base[] = {
		0, SZ_4K, 2 * SZ_4K, SZ_2M, 2 * SZ_2M, SZ_1G, 1ULL << 39,
		1ULL << 47,
	};

	return base[x & 7] | (x >> 3 & 7);
}

static uint64_t tdr(struct rig *r, uint8_t x)
{
	return x < 0xe0 ? page_of_type(r, PT_TDR, x & 3) : page(r, x << 3);
}

static uint64_t tdvpr(struct rig *r, uint8_t x)
{
	return x < 0xe0 ? page_of_type(r, PT_TDVPR, x & 7) : page(r, x << 3);
}

static void seamcall(struct rig *r, const uint8_t *s)
{
	uint64_t in[5] = { leaf_of[s[0]] };
	uint8_t a = s[1] >> 2, b = s[2], c = s[3];

	switch (s[0]) {
	case F_VP_ENTER:
		in[1] = tdvpr(r, b) | (a == 63 ? 1ULL << 52 : 0);
		break;
	case F_VP_FLUSH:
		in[1] = tdvpr(r, b);
		break;
	case F_VP_INIT:
	case F_VP_INIT_V0:
		in[1] = tdvpr(r, b);
		in[3] = c;
		break;
	case F_VP_RD:
	case F_VP_WR:
		in[1] = tdvpr(r, b);
		in[2] = fields[c & 15];
		in[3] = a & 1 ? 0x80 : RIG_PI_DESCRIPTOR;
		in[4] = a & 2 ? 0xff : UINT64_MAX;
		break;
	case F_VP_ADDCX:
		in[1] = page(r, c);
		in[2] = tdvpr(r, b);
		break;
	case F_MNG_ADDCX:
	case F_VP_CREATE:
		in[1] = page(r, c);
		in[2] = tdr(r, b);
		break;
	case F_MNG_CREATE:
		in[1] = page(r, c);
		in[2] = RIG_GLOBAL_KEYID + b % 8;
		break;
	case F_MNG_INIT:
		in[1] = tdr(r, b);
		in[2] = RIG_TD_PARAMS;
		break;
	case F_MNG_RD:
	case F_SYS_RD:
		in[1] = tdr(r, b);
		in[2] = fields[c & 15];
		break;
	case F_KEY_CONFIG:
	case F_MR_FINALIZE:
	case F_VPFLUSHDONE:
	case F_KEY_FREEID:
	case F_MEM_TRACK:
		in[1] = tdr(r, b);
		break;
	case F_PAGE_ADD:
	case F_SEPT_ADD:
	case F_PAGE_AUG:
	case F_RANGE_BLOCK:
	case F_RANGE_UNBLOCK:
	case F_PAGE_REMOVE:
		in[1] = gpa(c);
		in[2] = tdr(r, b) | (s[0] == F_SEPT_ADD && a & 1);
		in[3] = page(r, a < 32 ? F_FRESH : (a - 32) << 3);
		in[4] = RIG_SOURCE;
		break;
	case F_MR_EXTEND:
		in[1] = gpa(c) + a * 0x100;
		in[2] = tdr(r, b);
		break;
	case F_PAGE_RDMD:
	case F_PAGE_RECLAIM:
	case F_PAGE_WBINVD:
		in[1] = page(r, c);
		break;
	case F_CACHE_WB:
	case F_SYS_INIT:
		in[1] = b % 3;
		break;
	case F_TDMR_INIT:
		in[1] = b ? RIG_TDMR_BASE : 0;
		break;
	case F_SYS_CONFIG:
		in[1] = RIG_TDMR_ARRAY;
		in[2] = b % 3;
		in[3] = RIG_GLOBAL_KEYID + c % 2;
		break;
	}
	rig_call(r, s[1] & 3, in);
}

static void set_script(struct rig *r, uint8_t n)
{
	static const uint64_t rax[] = {
		77, 0x30, 1, TDX_NON_RECOVERABLE_VCPU | 2,
		TDX_NON_RECOVERABLE_TD, TDX_NON_RECOVERABLE_TD_NON_ACCESSIBLE,
		TDX_CROSS_TD_TRAP,
	};
	struct tdx_script s = { .mode = TDX_SCRIPT_STAY };

	/* a TD that is dead tells little: that is rare */
	if (n >= 64)
		s = (struct tdx_script){
			.mode = TDX_SCRIPT_EXIT,
			.gpr = { [TDX_RAX] = rax[n < 240 ? n % 3 : n % 7],
				 [TDX_RCX] = 0xfc00 },
		};
	tdx_set_script(r->m, &s);
}

static void set_fault(struct rig *r, const uint8_t *s)
{
	struct tdx_fault f = {
		.what = s[3] & 7,
		.leaf = s[1] & 0x80 ? TDX_ANY_LEAF : s[1] & 63,
		.nth = s[2] & 7, .every = s[2] >> 3 & 3,
		.count = s[3] & 0x80 ? TDX_FOREVER : s[3] >> 3 & 3,
		.value = TDX_OPERAND_BUSY | s[3],
	};

	if (f.what == TDX_FAULT_LOCKED)
		f.value &= 0xffff;
	tdx_set_fault(r->m, s[2] >> 5, &f);
}

static void begin_scenario(struct rig *r, const uint8_t *s)
{
	struct tdx_scenario scenario = {
		.how = s[1] % 3, .sticky = s[1] & 0x80, .nth = s[2],
		.exempt = s[3] & 1 ? 1ULL << (s[3] >> 1 & 63) : 0,
	};

	tdx_begin_scenario(r->m, &scenario);
}

static void poke_tdmr(struct rig *r, const uint8_t *s)
{
	uint64_t *info = rig_mem(r, RIG_TDMR_INFO + 512 * (s[1] >> 6 & 1));

	info[(s[1] & 63) % 40] = (uint64_t)s[2] << (s[3] % 48);
}

static void make_td(struct rig *r, const uint8_t *s)
{
	unsigned int hkid = RIG_HKID + s[2] % 8;
	struct rig_td td;

	if (r->m->state != SYS_READY || r->m->lps[0].in_guest ||
	    r->m->lps[2].in_guest)
		return;
	r->lp = 0;
	switch (s[1] % 8) {
	case 0:
		rig_td_create(r, &td, hkid);
		break;
	case 1:
		rig_td_keys(r, &td, hkid);
		break;
	case 2:
		rig_td_tdcs(r, &td, hkid);
		break;
	case 3:
		rig_td_init(r, &td, hkid);
		break;
	case 4:
		if (rig_td_init(r, &td, hkid) && rig_td_sept(r, &td))
			rig_td_vcpu(r, &td, s[3] % 4);
		break;
	default:
		rig_td_runnable(r, &td, hkid);
		break;
	}
}

static void step(struct rig *r, const uint8_t *s)
{
	unsigned int lp = s[1] & 3;

	switch (s[0]) {
	case F_POLL:
		rig_poll(r, lp);
		break;
	case F_INTERRUPT:
		r->interrupt[lp] = s[2];
		break;
	case F_NMI:
		r->nmi[lp] = true;
		break;
	case F_SCRIPT:
		set_script(r, s[1]);
		break;
	case F_FAULT:
		set_fault(r, s);
		break;
	case F_SCENARIO:
		begin_scenario(r, s);
		break;
	case F_TIME:
		tdx_set_time(r->m, s[1]);
		break;
	case F_WAIT:
		r->now += s[2] << 8 | s[3];
		break;
	case F_TSC_ADJUST:
		r->tsc_adjust[lp] = s[2] & 1;
		break;
	case F_POKE_PARAMS:
		((uint8_t *)rig_mem(r, RIG_TD_PARAMS))[(s[1] << 8 | s[2]) % 1024] =
			s[3];
		break;
	case F_POKE_TDMR:
		poke_tdmr(r, s);
		break;
	case F_MAKE_TD:
		make_td(r, s);
		break;
	case F_FREE_HKID:
		if (!r->m->lps[r->lp].in_guest) {
			struct rig_td td = { .tdr = tdr(r, s[2]) };

			rig_td_free_hkid(r, &td);
		}
		break;
	default:
		seamcall(r, s);
		break;
	}
}

static void must(uint64_t status)
{
	if (status != TDX_SUCCESS)
		rig_fail("teardown of a TD fails");
}

static void reclaim_all(struct rig *r, bool tdrs)
{
	struct page_ref ref;

	for (uint64_t pa = RIG_TDMR_BASE; pa < RIG_TDMR_BASE + RIG_TD_RAM;
	     pa += level_size(ref.level)) {
		if (!tdm_page_find(r->m, pa, &ref))
			return;
		if (ref.entry->pt > PT_RSVD && (ref.entry->pt == PT_TDR) == tdrs) {
			unsigned int level = ref.level;

			must(call_on(r, 0, PAGE_RECLAIM, pa));
			ref.level = level;
		}
	}
}

/* Whatever has happened, the host gets all of its memory and KeyIDs back. */
static void tear_down_all(struct rig *r)
{
	tdx_clear_faults(r->m);
	tdx_set_time(r->m, 0);
	r->now += 1ULL << 40;
	for (unsigned int lp = 0; lp < RIG_LPS; lp++) {
		r->interrupt[lp] = 0x20;	/* no TD waits for this one */
		r->nmi[lp] = true;
		if (r->m->lps[lp].in_guest && rig_poll(r, lp) != TDX_DONE)
			rig_fail("an NMI does not end a stay in the TD");
		r->interrupt[lp] = -1;
	}
	for (struct td *td = r->m->tds; td; td = td->next) {
		for (struct vcpu *v = td->vcpus; v; v = v->next)
			if (v->lp >= 0)
				must(call_on(r, (unsigned int)v->lp, VP_FLUSH,
					     v->pa));
		if (td->lifecycle <= TD_KEYS_CONFIGURED)
			must(call_on(r, 0, VPFLUSHDONE, td->pa));
	}
	call_on(r, 0, CACHE_WB);
	call_on(r, 2, CACHE_WB);
	for (struct td *td = r->m->tds; td; td = td->next)
		if (td->lifecycle == TD_BLOCKED)
			must(call_on(r, 0, KEY_FREEID, td->pa));
	reclaim_all(r, false);
	reclaim_all(r, true);
	rig_check(r);
	if (r->m->tds || r->m->td_pages || r->m->keyids_in_use)
		rig_fail("something is left of a TD");
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct rig *r;

	if (size < 1)
		return 0;
	r = rig_new();
	r->check = false;
	rig_td_params(r);
	rig_tdmr_info(r, 0);
	memcpy(rig_tdmr_info(r, 1), rig_mem(r, RIG_TDMR_INFO), 512);
	if (data[0] & 1 && !rig_bring_up(r))
		rig_fail("bring-up fails");
	data++;
	size--;
	for (size_t n = 1; size >= 4; n++, data += 4, size -= 4) {
		uint8_t s[4] = { data[0] % F_NR_STEPS, data[1], data[2], data[3] };

		r->next_frame = fresh(r);
		step(r, s);
		if (n % CHECK_EVERY == 0)
			rig_check(r);
	}
	rig_check(r);
	if (r->m->state == SYS_READY)
		tear_down_all(r);
	rig_free(r);
	return 0;
}
