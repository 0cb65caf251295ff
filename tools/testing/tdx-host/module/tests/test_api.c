// SPDX-License-Identifier: LGPL-2.1-or-later
/* What an emulator sees of the model besides the leaves. */
#include "tests/test.h"

static void no_module(void **state)
{
	uint64_t gpr[TDX_NR_GPRS], before[TDX_NR_GPRS];
	struct tdx_cpu cpu = { .gpr = gpr };

	(void)state;
	for (uint64_t i = 0; i < TDX_NR_GPRS; i++)
		before[i] = gpr[i] = 100 + i;
	assert_int_equal(tdx_seamcall(NULL, &cpu), TDX_VMFAIL_INVALID);
	assert_memory_equal(gpr, before, sizeof(gpr));
}

static void no_seamldr(void **state)
{
	struct rig *r = *state;

	call(r, 1ULL << 63 | SYS_INIT);
	assert_int_equal(r->outcome, TDX_VMFAIL_INVALID);
	call(r, 1ULL << 63);
	assert_int_equal(r->outcome, TDX_VMFAIL_INVALID);
}

static void bad_platforms(void **state)
{
	struct tdx_platform good, p;

	(void)state;
	rig_platform(&good);
#define REFUSED(change)						\
	do {							\
		p = good;					\
		p.change;					\
		assert_null(tdx_module_new(&p));		\
	} while (0)
	REFUSED(nr_lps = 0);
	REFUSED(nr_lps = TDX_MAX_LPS + 1);
	REFUSED(package[3] = TDX_MAX_PACKAGES);
	REFUSED(keyid_shift = 35);
	REFUSED(keyid_shift = 53);
	REFUSED(nr_tdx_keyids = 0);
	REFUSED(nr_tdx_keyids = 33);		/* 6 KeyID bits */
	REFUSED(keyid_shift = 47);
	REFUSED(nr_cmrs = TDX_MAX_CMRS + 1);
	REFUSED(cmrs[1].base = 0x8ff000);
	REFUSED(cmrs[1].size = 0);
	REFUSED(cmrs[2].size = 0x800);
	REFUSED(cmrs[2].size = UINT64_MAX & ~0xfffULL);
	REFUSED(tsc_hz = 0);
	REFUSED(page = NULL);
	REFUSED(nmi_ack = NULL);
}

static void optional_callbacks(void **state)
{
	struct tdx_platform p;
	struct rig_td td;
	struct rig *r;

	(void)state;
	rig_platform(&p);
	p.set_owned = NULL;
	p.log = NULL;
	p.random = NULL;
	p.interrupt_eoi = NULL;
	r = rig_new_with(&p);
	r->check = false;
	assert_true(rig_bring_up(r));
	assert_true(rig_td_runnable(r, &td, RIG_HKID));
	rig_free(r);
}

static void names(void **state)
{
	(void)state;
	assert_string_equal(tdx_leaf_name(0), "TDH.VP.ENTER");
	assert_string_equal(tdx_leaf_name(28), "TDH.PHYMEM.PAGE.RECLAIM");
	assert_string_equal(tdx_leaf_name(45), "TDH.SYS.CONFIG");
	assert_null(tdx_leaf_name(42));
	assert_null(tdx_leaf_name(1000));
}

/* Each spoils one thing that the oracle must see. */
static void oracle(void **state)
{
	struct rig *r = *state;
	struct rig_td td;
	struct td *t;
	char why[100];

	assert_true(rig_td_runnable(r, &td, RIG_HKID));
	t = r->m->tds;
	assert_true(tdx_check_invariants(r->m, why, sizeof(why)));
#define SEEN(spoil, mend)						\
	do {								\
		spoil;							\
		assert_false(tdx_check_invariants(r->m, why, sizeof(why))); \
		mend;							\
		assert_true(tdx_check_invariants(r->m, why, sizeof(why))); \
	} while (0)
	SEEN(t->chldcnt++, t->chldcnt--);
	SEEN(t->num_assoc = 0, t->num_assoc = 1);
	SEEN(t->refcount[0]++, t->refcount[0]--);
	SEEN(t->num_vcpus = 2, t->num_vcpus = 1);
	SEEN(t->lifecycle = TD_BLOCKED, t->lifecycle = TD_KEYS_CONFIGURED);
	SEEN(t->page->lock.shared = 1, t->page->lock.shared = 0);
	SEEN(t->page->lock.excl = true, t->page->lock.excl = false);
	SEEN(t->sept_lock.excl = true, t->sept_lock.excl = false);
	SEEN(t->epoch_lock.shared = 1, t->epoch_lock.shared = 0);
	SEEN(t->root.lock[5].shared = 1, t->root.lock[5].shared = 0);
	SEEN(r->m->tdmrs[0].lock.excl = true, r->m->tdmrs[0].lock.excl = false);
	SEEN(r->m->kot_lock.excl = true, r->m->kot_lock.excl = false);
	SEEN(r->m->lock.shared = 1, r->m->lock.shared = 0);
	SEEN(r->m->lps[1].nr_held = MAX_HELD + 1, r->m->lps[1].nr_held = 0);
	SEEN(t->root.entry[5] = td.tdr | SEPT_MAPPED, t->root.entry[5] = 0);
	SEEN(r->m->td_pages++, r->m->td_pages--);
	SEEN(r->m->td_private_pages++, r->m->td_private_pages--);
	SEEN(r->m->keyids_in_use++, r->m->keyids_in_use--);
	SEEN(r->m->kot[1].state = KOT_FREE, r->m->kot[1].state = KOT_ASSIGNED);
	SEEN(r->m->kot[7].state = KOT_ASSIGNED, r->m->kot[7].state = KOT_FREE);
	SEEN(r->m->tdmrs[0].pamt_4k[900].pt = PT_REG,
	     r->m->tdmrs[0].pamt_4k[900].pt = PT_NDA);
	SEEN(t->vcpus->state = VCPU_ACTIVE, t->vcpus->state = VCPU_READY);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(no_module), T(no_seamldr),
		cmocka_unit_test(bad_platforms),
		cmocka_unit_test(optional_callbacks),
		cmocka_unit_test(names), T(oracle),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
