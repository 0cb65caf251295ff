// SPDX-License-Identifier: LGPL-2.1-or-later
/* tdx_check_invariants(): recounts the state, as an oracle for tests. */
#include "internal.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

/* Pages of one TD, in units of 4K. */
struct census {
	uint64_t reg, tdcx, tdvpr, ept, tdr;
};

/* @pages: what the PAMT says, in the order of m->tds */
struct check {
	const struct tdx_module *m;
	char *why;
	size_t len;
	struct census *pages;
};

__attribute__((format(printf, 2, 3)))
static bool violated(struct check *k, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vsnprintf(k->why, k->len, format, args);
	va_end(args);
	return false;
}

#define REQUIRE(k, condition)						\
	do {								\
		if (!(condition))					\
			return violated(k, "%s: !(%s)", __func__, #condition); \
	} while (0)

static bool find_page(const struct tdx_module *m, uint64_t pa,
		      struct page_ref *ref)
{
	/* Only the entry it finds is writable. */
	return tdm_page_find((struct tdx_module *)(uintptr_t)m, pa, ref);
}

static struct census *census_of(struct check *k, const struct td *td)
{
	size_t i = 0;

	for (const struct td *t = k->m->tds; t; t = t->next, i++)
		if (t == td)
			return &k->pages[i];
	return NULL;
}

static unsigned int nr_held(const struct tdx_module *m, const struct lock *lock,
			    enum lock_mode mode)
{
	unsigned int n = 0;

	for (unsigned int i = 0; i < m->p.nr_lps; i++)
		for (unsigned int j = 0; j < m->lps[i].nr_held; j++)
			n += m->lps[i].held[j].lock == lock &&
			     m->lps[i].held[j].mode == mode;
	return n;
}

/* Whoever took the lock, somebody will drop it. */
static bool lock_is_held(const struct tdx_module *m, const struct lock *lock)
{
	if (!lock->shared && !lock->excl)
		return true;
	return nr_held(m, lock, SHARED) == lock->shared &&
	       nr_held(m, lock, EXCL) == lock->excl;
}

static bool check_locks(struct check *k)
{
	const struct tdx_module *m = k->m;

	for (unsigned int i = 0; i < m->p.nr_lps; i++) {
		const struct lp *lp = &m->lps[i];

		REQUIRE(k, lp->nr_held <= MAX_HELD);
		for (unsigned int j = 0; j < lp->nr_held; j++) {
			const struct held *h = &lp->held[j];

			REQUIRE(k, h->mode == EXCL ? h->lock->excl :
						     h->lock->shared);
			REQUIRE(k, lock_is_held(m, h->lock));
		}
	}
	REQUIRE(k, lock_is_held(m, &m->lock));
	REQUIRE(k, lock_is_held(m, &m->kot_lock));
	for (unsigned int i = 0; i < TDX_MAX_PACKAGES; i++) {
		REQUIRE(k, lock_is_held(m, &m->packages[i].ket_lock));
		REQUIRE(k, lock_is_held(m, &m->packages[i].wb_lock));
	}
	for (unsigned int i = 0; i < m->nr_tdmrs; i++)
		REQUIRE(k, lock_is_held(m, &m->tdmrs[i].lock));
	return true;
}

static bool count_page(struct check *k, const struct pamt_entry *e,
		       unsigned int level, bool initialized)
{
	uint64_t pages = level_size(level) / SZ_4K;
	struct census *census;

	REQUIRE(k, lock_is_held(k->m, &e->lock));
	if (e->pt == PT_NDA || e->pt == PT_RSVD) {
		REQUIRE(k, !e->td && !e->object);
		REQUIRE(k, e->pt == PT_NDA || level == 0);
		return true;
	}
	REQUIRE(k, initialized);
	REQUIRE(k, level == 0 || e->pt == PT_REG);
	REQUIRE(k, (e->object != NULL) == (e->pt == PT_TDVPR || e->pt == PT_EPT));
	census = census_of(k, e->td);
	REQUIRE(k, census != NULL);
	switch (e->pt) {
	case PT_REG:
		census->reg += pages;
		break;
	case PT_TDR:
		census->tdr += pages;
		break;
	case PT_TDCX:
		census->tdcx += pages;
		break;
	case PT_TDVPR:
		census->tdvpr += pages;
		break;
	case PT_EPT:
		census->ept += pages;
		break;
	default:
		return violated(k, "page type %u", e->pt);
	}
	return true;
}

static bool take_census(struct check *k)
{
	if (k->m->state < SYSCONFIG_DONE)
		return true;
	for (unsigned int i = 0; i < k->m->nr_tdmrs; i++) {
		const struct tdmr *t = &k->m->tdmrs[i];
		uint64_t usable = (t->init_next & ~(SZ_1G - 1)) - t->base;

		for (uint64_t j = 0; j < t->size / SZ_4K; j++)
			if (!count_page(k, &t->pamt_4k[j], 0, j * SZ_4K < usable))
				return false;
		for (uint64_t j = 0; j < t->size / SZ_2M; j++) {
			const struct pamt_entry *e = &t->pamt_2m[j];

			if (!count_page(k, e, 1, j * SZ_2M < usable))
				return false;
			for (uint64_t n = 0; e->pt != PT_NDA && n < 512; n++)
				REQUIRE(k, t->pamt_4k[512 * j + n].pt == PT_NDA);
		}
	}
	return true;
}

static bool check_sept(struct check *k, const struct td *td,
		       const struct sept_table *table, unsigned int level,
		       struct census *found)
{
	for (unsigned int i = 0; i < 512; i++) {
		uint64_t entry = table->entry[i];
		enum sept_state state = sept_state(entry);
		struct page_ref ref;

		REQUIRE(k, lock_is_held(k->m, &table->lock[i]));
		if (state == SEPT_FREE) {
			REQUIRE(k, entry == 0);
			continue;
		}
		REQUIRE(k, find_page(k->m, sept_hpa(entry), &ref));
		REQUIRE(k, ref.entry->td == td);
		REQUIRE(k, ref.entry->bepoch <= td->epoch);
		if (state == SEPT_NL_MAPPED || state == SEPT_NL_BLOCKED) {
			REQUIRE(k, level > 0 && ref.level == 0);
			REQUIRE(k, ref.entry->pt == PT_EPT);
			found->ept++;
			if (!check_sept(k, td, ref.entry->table, level - 1, found))
				return false;
		} else {
			REQUIRE(k, ref.entry->pt == PT_REG);
			REQUIRE(k, ref.level == level && level <= 1);
			REQUIRE(k, is_aligned(ref.pa, level_size(level)));
			found->reg += level_size(level) / SZ_4K;
		}
		if (state != SEPT_MAPPED && state != SEPT_PENDING &&
		    state != SEPT_NL_MAPPED)
			REQUIRE(k, ref.entry->bepoch >= 1);
	}
	return true;
}

static bool check_vcpu(struct check *k, const struct td *td,
		       const struct vcpu *v)
{
	bool running = false;

	for (unsigned int lp = 0; lp < k->m->p.nr_lps; lp++)
		if (k->m->lps[lp].in_guest == v) {
			REQUIRE(k, !running);
			running = true;
			REQUIRE(k, v->lp == (int)lp);
			REQUIRE(k, v->page->lock.shared && td->page->lock.shared);
			REQUIRE(k, k->m->lps[lp].nr_held == 2);
		}
	REQUIRE(k, v->td == td && v->page->vcpu == v);
	REQUIRE(k, v->page->pt == PT_TDVPR && v->page->td == td);
	REQUIRE(k, running == (v->state == VCPU_ACTIVE));
	REQUIRE(k, v->lp < (int)k->m->p.nr_lps);
	REQUIRE(k, v->num_tdcx <= TDVPS_PAGES - 1);
	if (v->state == VCPU_UNINITIALIZED)
		REQUIRE(k, v->lp < 0);
	else
		REQUIRE(k, v->num_tdcx == TDVPS_PAGES - 1);
	if (running)
		REQUIRE(k, td->op_state == OP_RUNNABLE &&
			   td->lifecycle == TD_KEYS_CONFIGURED);
	for (const struct vcpu *o = v->next; o; o = o->next) {
		if (v->state == VCPU_UNINITIALIZED ||
		    o->state == VCPU_UNINITIALIZED)
			continue;
		REQUIRE(k, o->index != v->index);
		REQUIRE(k, !o->has_x2apic_id || !v->has_x2apic_id ||
			   o->x2apic_id != v->x2apic_id);
	}
	return true;
}

static bool check_vcpus(struct check *k, const struct td *td,
			struct census *found)
{
	uint64_t initialized = 0, associated = 0;
	uint64_t in_epoch[2] = { 0, 0 };

	for (const struct vcpu *v = td->vcpus; v; v = v->next) {
		if (!check_vcpu(k, td, v))
			return false;
		found->tdvpr++;
		found->tdcx += v->num_tdcx;
		initialized += v->state != VCPU_UNINITIALIZED;
		associated += v->lp >= 0;
		if (v->state == VCPU_ACTIVE) {
			in_epoch[v->epoch & 1]++;
			REQUIRE(k, v->epoch <= td->epoch);
			REQUIRE(k, v->epoch + 1 >= td->epoch);
		}
	}
	REQUIRE(k, associated == td->num_assoc);
	REQUIRE(k, lock_is_held(k->m, &td->sept_lock));
	REQUIRE(k, lock_is_held(k->m, &td->epoch_lock));
	for (int i = 0; i < 2; i++)
		REQUIRE(k, td->refcount[i] ==
			   in_epoch[i] + td->refcount_leaked[i]);
	if (td->lifecycle < TD_TEARDOWN)
		REQUIRE(k, initialized == td->num_vcpus);
	REQUIRE(k, td->num_vcpus <= td->max_vcpus);
	return true;
}

static bool check_td(struct check *k, const struct td *td)
{
	const struct kot_entry *kot =
		&k->m->kot[td->hkid - k->m->p.nr_mktme_keyids - 1];
	struct census pages = *census_of(k, td), found = { 0 };

	REQUIRE(k, td->page->pt == PT_TDR && td->page->td == td);
	REQUIRE(k, !(td->key_packages & ~k->m->package_mask));
	switch (td->lifecycle) {
	case TD_HKID_ASSIGNED:
		REQUIRE(k, td->key_packages != k->m->package_mask);
		REQUIRE(k, td->num_tdcx == 0);
		/* fall through */
	case TD_KEYS_CONFIGURED:
		REQUIRE(k, kot->state == KOT_ASSIGNED);
		break;
	case TD_BLOCKED:
		REQUIRE(k, kot->state == KOT_FLUSHED);
		/* fall through */
	case TD_TEARDOWN:
		REQUIRE(k, td->num_assoc == 0);
		break;
	}
	if (td->op_state != OP_UNINITIALIZED) {
		REQUIRE(k, td->num_tdcx >= TDCS_BASE_PAGES);
		REQUIRE(k, td->epoch >= 1);
	} else {
		REQUIRE(k, !td->vcpus);
	}
	if (td->op_state == OP_RUNNABLE)
		REQUIRE(k, td->num_vcpus > 0);
	if (!check_vcpus(k, td, &found))
		return false;

	/* What has not been reclaimed yet in TEARDOWN is known to the PAMT only. */
	REQUIRE(k, pages.tdr == 1);
	REQUIRE(k, td->chldcnt ==
		   pages.reg + pages.tdcx + pages.tdvpr + pages.ept);
	REQUIRE(k, pages.tdvpr == found.tdvpr);
	if (td->lifecycle == TD_TEARDOWN)
		return true;
	if (td->op_state != OP_UNINITIALIZED &&
	    !check_sept(k, td, &td->root, td->pwl, &found))
		return false;
	REQUIRE(k, pages.tdcx == found.tdcx + td->num_tdcx);
	REQUIRE(k, pages.ept == found.ept);
	REQUIRE(k, pages.reg == found.reg);
	return true;
}

static bool check_kot(struct check *k)
{
	uint64_t in_use = 0, reserved = 0;

	for (unsigned int i = 0; i < k->m->p.nr_tdx_keyids; i++) {
		const struct kot_entry *kot = &k->m->kot[i];
		unsigned int holders = 0;

		for (const struct td *td = k->m->tds; td; td = td->next)
			holders += td->lifecycle != TD_TEARDOWN && td->hkid ==
				   i + k->m->p.nr_mktme_keyids + 1;
		REQUIRE(k, holders == (kot->state == KOT_ASSIGNED ||
				       kot->state == KOT_FLUSHED));
		REQUIRE(k, kot->state == KOT_FLUSHED || !kot->wbinvd_packages);
		in_use += holders;
		reserved += kot->state == KOT_RESERVED;
	}
	REQUIRE(k, in_use == k->m->keyids_in_use);
	REQUIRE(k, k->m->state < SYSCONFIG_DONE || reserved >= 1);
	return true;
}

static bool check_system(struct check *k)
{
	unsigned int initialized = 0;

	for (unsigned int i = 0; i < k->m->p.nr_lps; i++)
		initialized += k->m->lps[i].initialized;
	REQUIRE(k, initialized == k->m->nr_lps_initialized);
	REQUIRE(k, k->m->state < SYSCONFIG_DONE ||
		   initialized == k->m->p.nr_lps);
	REQUIRE(k, k->m->state == SYS_READY || !k->m->tds);
	for (unsigned int i = 0; i < k->m->nr_tdmrs; i++) {
		const struct tdmr *t = &k->m->tdmrs[i];

		REQUIRE(k, k->m->state == SYS_READY || t->init_next == t->base);
		REQUIRE(k, t->init_next - t->base <= t->size);
	}
	return true;
}

static bool check_all(struct check *k)
{
	struct census all = { 0 };
	uint64_t tds = 0;

	if (!check_system(k) || !check_kot(k) || !check_locks(k) ||
	    !take_census(k))
		return false;
	for (const struct td *td = k->m->tds; td; td = td->next, tds++) {
		const struct census *pages = census_of(k, td);

		if (!check_td(k, td))
			return false;
		all.reg += pages->reg;
		all.tdr += pages->tdr;
		all.tdcx += pages->tdcx + pages->tdvpr + pages->ept;
	}
	for (unsigned int i = 0; i < k->m->p.nr_lps; i++)
		REQUIRE(k, !k->m->lps[i].in_guest ||
			   census_of(k, k->m->lps[i].in_guest->td));
	REQUIRE(k, tds == k->m->nr_tds && tds == all.tdr);
	REQUIRE(k, k->m->td_private_pages == all.reg);
	REQUIRE(k, k->m->td_pages == all.reg + all.tdr + all.tdcx);
	return true;
}

bool tdx_check_invariants(const struct tdx_module *m, char *why, size_t len)
{
	struct check k = { .m = m, .why = why, .len = len };
	size_t tds = 0;
	bool good;

	for (const struct td *td = m->tds; td; td = td->next)
		tds++;
	k.pages = calloc(tds + 1, sizeof(*k.pages));
	if (!k.pages)
		abort();
	good = check_all(&k);
	free(k.pages);
	return good;
}
