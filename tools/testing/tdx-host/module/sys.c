// SPDX-License-Identifier: LGPL-2.1-or-later
/* Global life cycle: SYS.* leaves, TDMR and PAMT configuration. */
#include "internal.h"

#include <stdlib.h>
#include <string.h>

#define TDMR_INFO_ALIGN		512
#define TDMR_INFO_WORDS		(8 + 2 * MAX_RESERVED)
#define TDMR_INIT_STEP		(1024 * SZ_4K)

uint64_t tdm_sys_init(struct call *c)
{
	struct tdx_module *m = c->m;
	uint64_t attributes = c->r[TDX_RCX];

	c->r[TDX_RCX] = c->r[TDX_RDX] = 0;
	c->r[TDX_R8] = c->r[TDX_R9] = c->r[TDX_R10] = 0;
	if (!tdm_lock(c, &m->lock, EXCL))
		return TDX_SYS_BUSY;
	if (m->state != SYSINIT_PENDING)
		return TDX_SYS_INIT_NOT_PENDING;
	if (attributes)
		return TDX_OPERAND_INVALID | OP_RCX;

	m->tsc_adjust = c->cpu->tsc_adjust;
	tdm_metadata_init(m);
	m->state = SYSINIT_DONE;
	tdm_log(m, "%s", tdx_module_identity());
	return TDX_SUCCESS;
}

uint64_t tdm_sys_lp_init(struct call *c)
{
	struct tdx_module *m = c->m;
	struct lp *lp = &m->lps[c->cpu->lp];

	c->r[TDX_RCX] = c->r[TDX_RDX] = c->r[TDX_R8] = 0;
	if (!tdm_lock(c, &m->lock, SHARED))
		return TDX_SYS_BUSY;
	if (m->state != SYSINIT_DONE)
		return TDX_SYS_LP_INIT_NOT_PENDING;
	if (lp->initialized)
		return TDX_SYS_LP_INIT_DONE;
	if (c->cpu->tsc_adjust != m->tsc_adjust)
		return TDX_INCONSISTENT_MSR | MSR_TSC_ADJUST;

	lp->initialized = true;
	m->nr_lps_initialized++;
	if (m->nr_lps_initialized == m->p.nr_lps)
		tdm_log(m, "all LPs initialized");
	return TDX_SUCCESS;
}

static bool overlap(const struct range *a, const struct range *b)
{
	return a->base < b->base + b->size && b->base < a->base + a->size;
}

static bool in_cmrs(const struct tdx_module *m, uint64_t base, uint64_t end)
{
	for (unsigned int i = 0; i < m->nr_cmrs; i++)
		if (base >= m->cmrs[i].base &&
		    end <= m->cmrs[i].base + m->cmrs[i].size)
			return true;
	return false;
}

/* The @i-th part of a TDMR between its reserved areas; it may be empty. */
static struct range usable_part(const struct tdmr *t, unsigned int i)
{
	uint64_t start = t->base, end = t->base + t->size;

	if (i)
		start += t->reserved[i - 1].base + t->reserved[i - 1].size;
	if (i < t->nr_reserved)
		end = t->base + t->reserved[i].base;
	return (struct range){ start, end - start };
}

static bool overlaps_usable(const struct tdmr *t, const struct range *r)
{
	for (unsigned int i = 0; i <= t->nr_reserved; i++) {
		struct range part = usable_part(t, i);

		if (part.size && overlap(&part, r))
			return true;
	}
	return false;
}

static uint64_t check_reserved(struct tdmr *t, unsigned int index)
{
	uint64_t end = 0;

	for (unsigned int i = 0; i < MAX_RESERVED; i++) {
		const struct range *r = &t->reserved[i];
		uint64_t detail = index | i << 8;

		if (!r->size)
			break;
		if (!is_aligned(r->base | r->size, SZ_4K) ||
		    r->base >= t->size || r->size > t->size - r->base)
			return TDX_INVALID_RESERVED_IN_TDMR | detail;
		if (r->base < end)
			return TDX_NON_ORDERED_RESERVED_IN_TDMR | detail;
		end = r->base + r->size;
		t->nr_reserved = i + 1;
	}
	return TDX_SUCCESS;
}

static uint64_t check_pamt(const struct tdx_module *m, struct tdmr *tdmrs,
			   unsigned int index)
{
	const struct tdmr *t = &tdmrs[index];
	uint64_t limit = 1ULL << m->p.keyid_shift;

	for (unsigned int ps = 0; ps < 3; ps++) {
		const struct range *r = &t->pamt[ps];
		uint64_t detail = index | ps << 8;
		uint64_t needed = t->size / level_size(ps) * PAMT_ENTRY_SIZE;

		if (!is_aligned(r->base | r->size, SZ_4K) || r->size < needed ||
		    r->base >= limit || r->size > limit - r->base)
			return TDX_INVALID_PAMT | detail;

		for (unsigned int i = 0; i <= index; i++) {
			uint64_t other = (uint64_t)i << 16;

			for (unsigned int j = 0; j < 3; j++) {
				if (i == index && j >= ps)
					break;
				if (overlap(r, &tdmrs[i].pamt[j]))
					return TDX_PAMT_OVERLAP | detail | other;
			}
			if (overlaps_usable(&tdmrs[i], r))
				return TDX_PAMT_OVERLAP | detail | other;
		}
		if (!in_cmrs(m, r->base, r->base + r->size))
			return TDX_PAMT_OUTSIDE_CMRS | detail;
	}

	for (unsigned int i = 0; i < index; i++)
		for (unsigned int ps = 0; ps < 3; ps++)
			if (overlaps_usable(t, &tdmrs[i].pamt[ps]))
				return TDX_PAMT_OVERLAP | i | ps << 8 |
				       (uint64_t)index << 16;
	return TDX_SUCCESS;
}

static uint64_t check_tdmr(const struct tdx_module *m, struct tdmr *tdmrs,
			   unsigned int index)
{
	uint64_t limit = 1ULL << m->p.keyid_shift;
	struct tdmr *t = &tdmrs[index];

	if (t->base >= limit || t->size > limit - t->base)
		return TDX_INVALID_TDMR | index;
	if (index && t->base < tdmrs[index - 1].base + tdmrs[index - 1].size)
		return TDX_NON_ORDERED_TDMR | index;
	if (!is_aligned(t->base | t->size, SZ_1G) || !t->size)
		return TDX_INVALID_TDMR | index;
	TRY(check_reserved(t, index));
	TRY(check_pamt(m, tdmrs, index));
	for (unsigned int i = 0; i <= t->nr_reserved; i++) {
		struct range part = usable_part(t, i);

		if (part.size && !in_cmrs(m, part.base, part.base + part.size))
			return TDX_TDMR_OUTSIDE_CMRS | index;
	}
	return TDX_SUCCESS;
}

static void read_tdmr_info(struct tdmr *t, const uint64_t *info)
{
	memset(t, 0, sizeof(*t));
	t->base = info[0];
	t->size = info[1];
	/* TDMR_INFO lists the PAMT for 1G pages first. */
	for (unsigned int ps = 0; ps < 3; ps++) {
		t->pamt[ps].base = info[6 - 2 * ps];
		t->pamt[ps].size = info[7 - 2 * ps];
	}
	for (unsigned int i = 0; i < MAX_RESERVED; i++) {
		t->reserved[i].base = info[8 + 2 * i];
		t->reserved[i].size = info[9 + 2 * i];
	}
	t->init_next = t->base;
}

static bool allocate_pamt(struct tdx_module *m, struct tdmr *t)
{
	t->pamt_4k = calloc(t->size / SZ_4K, sizeof(*t->pamt_4k));
	t->pamt_2m = calloc(t->size / SZ_2M, sizeof(*t->pamt_2m));
	for (unsigned int ps = 0; ps < 3; ps++)
		m->pamt_bytes += t->pamt[ps].size;
	return t->pamt_4k && t->pamt_2m;
}

uint64_t tdm_sys_config(struct call *c)
{
	struct tdx_module *m = c->m;
	uint64_t nr = c->r[TDX_RDX], keyid = c->r[TDX_R8];
	const uint64_t *array;

	if (!tdm_lock(c, &m->lock, EXCL))
		return TDX_SYS_BUSY;
	if (m->state != SYSINIT_DONE || m->nr_lps_initialized != m->p.nr_lps)
		return TDX_SYS_CONFIG_NOT_PENDING;
	array = tdm_shared_hpa(m, c->r[TDX_RCX], TDMR_INFO_ALIGN);
	if (!array)
		return TDX_OPERAND_INVALID | OP_RCX;
	if (nr < 1 || nr > MAX_TDMRS)
		return TDX_OPERAND_INVALID | OP_RDX;
	if (!tdm_is_private_keyid(m, keyid))
		return TDX_OPERAND_INVALID | OP_R8;
	/* As in the module, this stays when a later check fails. */
	tdm_kot(m, (unsigned int)keyid)->state = KOT_RESERVED;

	for (unsigned int i = 0; i < nr; i++) {
		const uint64_t *info = tdm_shared_hpa(m, array[i],
						      TDMR_INFO_ALIGN);

		if (!info)
			return TDX_OPERAND_INVALID | OP_RCX;
		read_tdmr_info(&m->tdmrs[i], info);
		TRY(check_tdmr(m, m->tdmrs, i));
	}

	m->nr_tdmrs = (unsigned int)nr;
	for (unsigned int i = 0; i < nr; i++)
		if (!allocate_pamt(m, &m->tdmrs[i]))
			abort();
	m->state = SYSCONFIG_DONE;
	tdm_log(m, "configured, %u TDMRs", m->nr_tdmrs);
	return TDX_SUCCESS;
}

uint64_t tdm_sys_key_config(struct call *c)
{
	struct tdx_module *m = c->m;
	struct package *package = &m->packages[tdm_package(c)];

	if (!tdm_lock(c, &m->lock, EXCL))
		return TDX_SYS_BUSY;
	if (m->state != SYSCONFIG_DONE)
		return TDX_SYS_KEY_CONFIG_NOT_PENDING;
	if (package->key_configured)
		return TDX_KEY_CONFIGURED;
	package->key_configured = true;
	for (unsigned int i = 0; i < TDX_MAX_PACKAGES; i++)
		if (m->packages[i].present && !m->packages[i].key_configured)
			return TDX_SUCCESS;
	m->state = SYS_READY;
	tdm_log(m, "global KeyID configured");
	return TDX_SUCCESS;
}

/*
 * The module writes PAMT memory with its own KeyID: hand over each frame as
 * the first of its entries, that of page number @first, is written.
 */
static void own_pamt(struct tdx_module *m, const struct range *pamt,
		     uint64_t first, uint64_t nr)
{
	static const struct tdx_owner module = { .pt = PT_RSVD };
	uint64_t offset = first * PAMT_ENTRY_SIZE;
	uint64_t end = offset + nr * PAMT_ENTRY_SIZE;

	if (!m->p.set_owned)
		return;
	for (offset = (offset + SZ_4K - 1) & ~(SZ_4K - 1); offset < end;
	     offset += SZ_4K)
		m->p.set_owned(m->p.ctx, pamt->base + offset, &module);
}

/* Entries start out as PT_NDA. */
static void mark_reserved(struct tdmr *t, uint64_t start, uint64_t end)
{
	for (unsigned int i = 0; i < t->nr_reserved; i++) {
		const struct range *r = &t->reserved[i];
		uint64_t from = r->base > start ? r->base : start;
		uint64_t to = r->base + r->size < end ? r->base + r->size : end;

		for (; from < to; from += SZ_4K)
			t->pamt_4k[from / SZ_4K].pt = PT_RSVD;
	}
}

uint64_t tdm_sys_tdmr_init(struct call *c)
{
	struct tdx_module *m = c->m;
	uint64_t base = c->r[TDX_RCX], offset;
	struct tdmr *t = tdm_tdmr(m, base);

	c->r[TDX_RDX] = 0;
	if (!is_aligned(base, SZ_1G) || !t || t->base != base)
		return TDX_OPERAND_INVALID | OP_RCX;
	if (!tdm_lock(c, &t->lock, EXCL))
		return TDX_OPERAND_BUSY | OP_RCX;
	if (t->init_next == t->base + t->size)
		return TDX_TDMR_ALREADY_INITIALIZED;

	offset = t->init_next - t->base;
	own_pamt(m, &t->pamt[0], offset / SZ_4K, TDMR_INIT_STEP / SZ_4K);
	own_pamt(m, &t->pamt[1], offset / SZ_2M, TDMR_INIT_STEP / SZ_2M);
	if (is_aligned(offset, SZ_1G))
		own_pamt(m, &t->pamt[2], offset / SZ_1G, 1);
	mark_reserved(t, offset, offset + TDMR_INIT_STEP);
	t->init_next += TDMR_INIT_STEP;
	if (t->init_next == t->base + t->size)
		tdm_log(m, "TDMR %#llx initialized", (unsigned long long)base);
	c->r[TDX_RDX] = t->init_next & ~(SZ_1G - 1);
	return TDX_SUCCESS;
}
