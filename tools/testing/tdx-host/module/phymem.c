// SPDX-License-Identifier: LGPL-2.1-or-later
/* Physical memory leaves: page reclaim, metadata, cache write-back. */
#include "internal.h"

#include <stdlib.h>

static void report_page(struct call *c, const struct page_ref *ref)
{
	const struct pamt_entry *e = ref->entry;

	c->r[TDX_RCX] = e->pt;
	c->r[TDX_RDX] = e->td && e->pt != PT_TDR ? e->td->pa : 0;
	c->r[TDX_R8] = ref->level;
}

static void clear_report(struct call *c)
{
	c->r[TDX_RCX] = c->r[TDX_RDX] = 0;
	c->r[TDX_R8] = c->r[TDX_R9] = c->r[TDX_R10] = c->r[TDX_R11] = 0;
}

uint64_t tdm_phymem_page_reclaim(struct call *c)
{
	uint64_t pa = c->r[TDX_RCX];
	struct page_ref ref;
	struct td *td;

	clear_report(c);
	TRY(tdm_page_lock(c, pa, OP_RCX, EXCL, &ref));
	if (ref.entry->pt == PT_NDA || ref.entry->pt == PT_RSVD)
		return TDX_PAGE_METADATA_INCORRECT | OP_RCX;
	report_page(c, &ref);
	if (!is_aligned(pa, level_size(ref.level)))
		return TDX_OPERAND_INVALID | OP_RCX;

	td = ref.entry->td;
	if (ref.entry->pt != PT_TDR && !tdm_lock(c, &td->page->lock, SHARED))
		return TDX_OPERAND_BUSY | OP_TDR;
	if (td->lifecycle != TD_TEARDOWN)
		return TDX_LIFECYCLE_STATE_INCORRECT;
	switch (ref.entry->pt) {
	case PT_TDR:
		if (td->chldcnt)
			return TDX_TD_ASSOCIATED_PAGES_EXIST;
		tdm_td_free(c->m, td);
		break;
	case PT_TDVPR:
		tdm_vcpu_free(ref.entry->vcpu);
		break;
	case PT_EPT:
		free(ref.entry->table);
		break;
	}
	tdm_page_release(c->m, &ref);
	return TDX_SUCCESS;
}

uint64_t tdm_phymem_page_rdmd(struct call *c)
{
	uint64_t pa = c->r[TDX_RCX];
	struct page_ref ref;

	clear_report(c);
	TRY(tdm_page_lock(c, pa, OP_RCX, SHARED, &ref));
	report_page(c, &ref);
	if (ref.entry->pt == PT_REG || ref.entry->pt == PT_EPT)
		c->r[TDX_R9] = ref.entry->bepoch;
	return TDX_SUCCESS;
}

/* RCX carries a KeyID, which is not checked. */
uint64_t tdm_phymem_page_wbinvd(struct call *c)
{
	uint64_t hpa = c->r[TDX_RCX];
	uint64_t pa = hpa & ((1ULL << c->m->p.keyid_shift) - 1);
	struct page_ref ref;

	if (hpa >> 52)
		return TDX_OPERAND_INVALID | OP_RCX;
	return tdm_page_get(c, pa, OP_RCX, SHARED, PT_NDA, &ref);
}

static bool snapshot_flushed(struct tdx_module *m, struct package *package)
{
	bool any = false;

	for (unsigned int i = 0; i < m->p.nr_tdx_keyids; i++) {
		package->wb_keyid[i] = m->kot[i].state == KOT_FLUSHED;
		any |= package->wb_keyid[i];
	}
	return any;
}

uint64_t tdm_phymem_cache_wb(struct call *c)
{
	struct tdx_module *m = c->m;
	struct package *package = &m->packages[tdm_package(c)];
	uint64_t resume = c->r[TDX_RCX];

	if (resume > 1)
		return TDX_OPERAND_INVALID | OP_RCX;
	if (!tdm_lock(c, &package->wb_lock, EXCL))
		return TDX_OPERAND_BUSY | OP_WBCACHE;
	if (!tdm_lock(c, &m->kot_lock, SHARED))
		return TDX_OPERAND_BUSY | OP_KOT;
	if (resume && !package->wb_blocks_done)
		return TDX_WBCACHE_RESUME_ERROR;
	if (!resume) {
		package->wb_blocks_done = 0;
		if (!snapshot_flushed(m, package))
			return TDX_NO_HKID_READY_TO_WBCACHE;
	}

	/* An injected interrupt lets it write the first block only. */
	if (c->interrupted && package->wb_blocks_done)
		return TDX_INTERRUPTED_RESUMABLE;
	do {
		c->blocks++;
		if (++package->wb_blocks_done < CACHE_BLOCKS &&
		    (c->interrupted ||
		     m->p.interrupt_pending(m->p.ctx, c->cpu->lp)))
			return TDX_INTERRUPTED_RESUMABLE;
	} while (package->wb_blocks_done < CACHE_BLOCKS);
	package->wb_blocks_done = 0;
	for (unsigned int i = 0; i < m->p.nr_tdx_keyids; i++)
		if (package->wb_keyid[i])
			m->kot[i].wbinvd_packages &= ~(1u << tdm_package(c));
	return TDX_SUCCESS;
}
