// SPDX-License-Identifier: LGPL-2.1-or-later
/* PAMT: what each physical page is used for, by whom, and its lock. */
#include "internal.h"

#include <stdlib.h>

struct tdmr *tdm_tdmr(struct tdx_module *m, uint64_t pa)
{
	for (unsigned int i = 0; i < m->nr_tdmrs; i++)
		if (pa - m->tdmrs[i].base < m->tdmrs[i].size)
			return &m->tdmrs[i];
	return NULL;
}

/* Pages are usable once the PAMT of their whole 1 GiB block is initialized. */
bool tdm_page_find(struct tdx_module *m, uint64_t pa, struct page_ref *ref)
{
	struct tdmr *t = tdm_tdmr(m, pa);
	uint64_t offset;

	if (!t || pa >= (t->init_next & ~(SZ_1G - 1)))
		return false;
	offset = pa - t->base;
	ref->pa = pa;
	ref->level = t->pamt_2m[offset / SZ_2M].pt != PT_NDA;
	ref->entry = ref->level ? &t->pamt_2m[offset / SZ_2M] :
				  &t->pamt_4k[offset / SZ_4K];
	return true;
}

uint64_t tdm_page_lock(struct call *c, uint64_t pa, enum operand_id op,
		       enum lock_mode mode, struct page_ref *ref)
{
	if (!is_aligned(pa, SZ_4K) || pa >> c->m->p.keyid_shift)
		return TDX_OPERAND_INVALID | op;
	if (!tdm_page_find(c->m, pa, ref))
		return TDX_OPERAND_ADDR_RANGE_ERROR | op;
	if (!tdm_lock(c, &ref->entry->lock, mode))
		return TDX_OPERAND_BUSY | op;
	return TDX_SUCCESS;
}

/* An explicit operand that names a 4K page of type @pt. */
uint64_t tdm_page_get(struct call *c, uint64_t pa, enum operand_id op,
		      enum lock_mode mode, enum page_type pt,
		      struct page_ref *ref)
{
	TRY(tdm_page_lock(c, pa, op, mode, ref));
	if (ref->level != 0 || ref->entry->pt != pt)
		return TDX_PAGE_METADATA_INCORRECT | op;
	return TDX_SUCCESS;
}

/* A free page of 4K (@level 0) or 2M (1); a 2M one has 512 free children. */
uint64_t tdm_page_get_free(struct call *c, uint64_t pa, enum operand_id op,
			   unsigned int level, struct page_ref *ref)
{
	struct pamt_entry *children;
	struct tdmr *t;

	if (level == 0)
		return tdm_page_get(c, pa, op, EXCL, PT_NDA, ref);
	if (!is_aligned(pa, SZ_2M))
		return TDX_OPERAND_INVALID | op;
	TRY(tdm_page_lock(c, pa, op, EXCL, ref));
	if (ref->level != 0)
		return TDX_PAGE_METADATA_INCORRECT | op;

	/* A locked 4K page holds its 2M entry shared. */
	children = ref->entry;
	for (unsigned int i = 1; i < 512; i++)
		if (children[i].lock.excl || children[i].lock.shared)
			return TDX_OPERAND_BUSY | op;
	for (unsigned int i = 0; i < 512; i++)
		if (children[i].pt != PT_NDA)
			return TDX_PAGE_METADATA_INCORRECT | op;

	t = tdm_tdmr(c->m, pa);
	ref->level = 1;
	ref->entry = &t->pamt_2m[(pa - t->base) / SZ_2M];
	return TDX_SUCCESS;
}

static void set_owned(struct tdx_module *m, const struct page_ref *ref,
		      const struct tdx_owner *owner)
{
	uint64_t size = level_size(ref->level);

	if (!m->p.set_owned)
		return;
	for (uint64_t offset = 0; offset < size; offset += SZ_4K)
		m->p.set_owned(m->p.ctx, ref->pa + offset, owner);
}

void tdm_page_assign(struct tdx_module *m, const struct page_ref *ref,
		     enum page_type pt, struct td *td, void *object)
{
	uint64_t pages = level_size(ref->level) / SZ_4K;
	struct tdx_owner owner = { td->pa, (uint16_t)td->hkid, (uint8_t)pt };
	struct pamt_entry *e = ref->entry;

	e->pt = (uint8_t)pt;
	e->td = td;
	e->object = object;
	e->bepoch = 0;
	if (pt != PT_TDR)
		td->chldcnt += pages;
	m->td_pages += pages;
	if (pt == PT_REG)
		m->td_private_pages += pages;
	set_owned(m, ref, &owner);
}

void tdm_page_release(struct tdx_module *m, const struct page_ref *ref)
{
	uint64_t pages = level_size(ref->level) / SZ_4K;
	struct pamt_entry *e = ref->entry;

	if (e->pt != PT_TDR)
		e->td->chldcnt -= pages;
	m->td_pages -= pages;
	if (e->pt == PT_REG)
		m->td_private_pages -= pages;
	e->pt = PT_NDA;
	e->td = NULL;
	e->object = NULL;
	e->bepoch = 0;
	set_owned(m, ref, NULL);
}

void tdm_pamt_free(struct tdmr *t)
{
	for (uint64_t i = 0; i < t->size / SZ_4K; i++)
		if (t->pamt_4k[i].pt == PT_EPT)
			free(t->pamt_4k[i].table);
	free(t->pamt_4k);
	free(t->pamt_2m);
}
