// SPDX-License-Identifier: LGPL-2.1-or-later
/* Secure EPT: the walk, the MEM.* leaves and TLB tracking. */
#include "internal.h"

#include <stdlib.h>
#include <string.h>

#define GPA_LEVEL	7ULL
#define GPA_RESERVED	(0xfffULL & ~GPA_LEVEL)

#define EPT_RWX			7ULL
#define EPT_MEMTYPE_WB_IPAT	(6ULL << 3 | 1ULL << 6)
#define EPT_LEAF		(1ULL << 7)
#define EPT_SUPPRESS_VE		(1ULL << 63)

bool tdm_is_private_gpa(const struct td *td, uint64_t gpa)
{
	return gpa >> (td->gpaw - 1) == 0;
}

/* RCX and RDX of a failed leaf: the entry as the CPU would see it, its state */
void tdm_sept_report(struct call *c, uint64_t entry, unsigned int level)
{
	enum sept_state state = sept_state(entry);
	uint64_t ept = sept_hpa(entry);

	switch (state) {
	case SEPT_NL_MAPPED:
		ept |= EPT_RWX;
		break;
	case SEPT_NL_BLOCKED:
		break;
	case SEPT_FREE:
		ept = EPT_SUPPRESS_VE;
		break;
	case SEPT_MAPPED:
		ept |= EPT_RWX;
		/* fall through */
	default:
		ept |= EPT_MEMTYPE_WB_IPAT | EPT_LEAF | EPT_SUPPRESS_VE;
		break;
	}
	c->r[TDX_RCX] = ept;
	c->r[TDX_RDX] = level | (uint64_t)state << 8;
}

/*
 * Finds the entry for @gpa at *@level, in *@table.  Where the walk ends above,
 * *@level and *@entry say where, and it returns EPT_WALK_FAILED.
 */
uint64_t tdm_sept_walk(struct call *c, struct td *td, uint64_t gpa,
		       unsigned int *level, struct sept_table **table,
		       uint64_t **entry)
{
	unsigned int at = td->pwl;

	*table = &td->root;

	for (;;) {
		struct page_ref ref;

		*entry = &(*table)->entry[gpa >> (12 + 9 * at) & 511];
		if (at == *level)
			return TDX_SUCCESS;
		if (sept_state(**entry) != SEPT_NL_MAPPED) {
			*level = at;
			tdm_sept_report(c, **entry, at);
			return TDX_EPT_WALK_FAILED | OP_RCX;
		}
		tdm_page_find(c->m, sept_hpa(**entry), &ref);
		*table = ref.entry->table;
		at--;
	}
}

/* The operands that the MEM.* leaves with a GPA share. */
struct target {
	struct td *td;
	uint64_t gpa;
	unsigned int level;
	struct sept_table *table;
	uint64_t *entry;
};

static uint64_t get_target(struct call *c, enum lock_mode mode,
			   unsigned int op_states, unsigned int min_level,
			   unsigned int max_level, struct target *t)
{
	uint64_t gpa = c->r[TDX_RCX], tdr = c->r[TDX_RDX];

	c->r[TDX_RCX] = c->r[TDX_RDX] = 0;
	TRY(tdm_td_get(c, tdr, OP_RDX, mode, &t->td));
	TRY(tdm_td_check(t->td, op_states));

	t->level = gpa & GPA_LEVEL;
	t->gpa = gpa & ~GPA_LEVEL;
	if (max_level > t->td->pwl)
		max_level = t->td->pwl;
	if (gpa & GPA_RESERVED || t->level < min_level ||
	    t->level > max_level || !is_aligned(t->gpa, level_size(t->level)) ||
	    !tdm_is_private_gpa(t->td, t->gpa))
		return TDX_OPERAND_INVALID | OP_RCX;
	return TDX_SUCCESS;
}

static uint64_t walk(struct call *c, struct target *t)
{
	return tdm_sept_walk(c, t->td, t->gpa, &t->level, &t->table, &t->entry);
}

/* Walks and locks the tree, as far as @mode says, and the entry. */
static uint64_t walk_locked(struct call *c, struct target *t,
			    enum lock_mode mode)
{
	if (!tdm_lock(c, &t->td->sept_lock, mode))
		return TDX_OPERAND_BUSY | OP_SEPT_TREE;
	TRY(walk(c, t));
	if (!tdm_lock(c, &t->table->lock[t->entry - t->table->entry], EXCL))
		return TDX_OPERAND_BUSY | OP_RCX;
	return TDX_SUCCESS;
}

static uint64_t entry_error(struct call *c, const struct target *t,
			    uint64_t status)
{
	tdm_sept_report(c, *t->entry, t->level);
	return status | OP_RCX;
}

static void map(struct call *c, const struct target *t,
		const struct page_ref *ref, enum page_type pt,
		enum sept_state state, void *object)
{
	*t->entry = ref->pa | state;
	tdm_page_assign(c->m, ref, pt, t->td, object);
}

#define OP_STATES_MEM	(1u << OP_INITIALIZED | 1u << OP_RUNNABLE)

uint64_t tdm_mem_sept_add(struct call *c)
{
	bool allow_existing = c->r[TDX_RDX] & 1;
	struct sept_table *table;
	struct page_ref ref;
	struct target t;

	c->r[TDX_RDX] &= ~1ULL;
	TRY(get_target(c, SHARED, OP_STATES_MEM, 1, 4, &t));
	TRY(walk_locked(c, &t, SHARED));
	if (sept_state(*t.entry) != SEPT_FREE &&
	    !(allow_existing && sept_state(*t.entry) == SEPT_NL_MAPPED))
		return entry_error(c, &t, TDX_EPT_ENTRY_STATE_INCORRECT);
	TRY(tdm_page_get(c, c->r[TDX_R8], OP_R8, EXCL, PT_NDA, &ref));
	if (sept_state(*t.entry) == SEPT_NL_MAPPED)
		return TDX_SUCCESS;	/* the page stays free */

	table = calloc(1, sizeof(*table));
	if (!table)
		abort();
	map(c, &t, &ref, PT_EPT, SEPT_NL_MAPPED, table);
	return TDX_SUCCESS;
}

uint64_t tdm_mem_page_add(struct call *c)
{
	const void *source;
	struct page_ref ref;
	struct target t;
	void *page;

	TRY(get_target(c, EXCL, 1 << OP_INITIALIZED, 0, 0, &t));
	TRY(tdm_page_get(c, c->r[TDX_R8], OP_R8, EXCL, PT_NDA, &ref));
	page = c->m->p.page(c->m->p.ctx, ref.pa);
	if (!page)
		return TDX_OPERAND_INVALID | OP_R8;
	source = tdm_shared_hpa(c->m, c->r[TDX_R9], SZ_4K);
	if (!source)
		return TDX_OPERAND_INVALID | OP_R9;
	TRY(walk(c, &t));
	if (sept_state(*t.entry) != SEPT_FREE)
		return entry_error(c, &t, TDX_EPT_ENTRY_STATE_INCORRECT);

	memmove(page, source, SZ_4K);
	map(c, &t, &ref, PT_REG, SEPT_MAPPED, NULL);
	tdm_measure_page_add(t.td, t.gpa);
	return TDX_SUCCESS;
}

uint64_t tdm_mem_page_aug(struct call *c)
{
	struct page_ref ref;
	struct target t;

	TRY(get_target(c, SHARED, OP_STATES_MEM, 0, 1, &t));
	TRY(walk_locked(c, &t, SHARED));
	if (sept_state(*t.entry) != SEPT_FREE)
		return entry_error(c, &t, TDX_EPT_ENTRY_STATE_INCORRECT);
	TRY(tdm_page_get_free(c, c->r[TDX_R8], OP_R8, t.level, &ref));
	map(c, &t, &ref, PT_REG, SEPT_PENDING, NULL);
	return TDX_SUCCESS;
}

static bool is_blocked(uint64_t entry)
{
	return sept_state(entry) == SEPT_BLOCKED ||
	       sept_state(entry) == SEPT_PENDING_BLOCKED ||
	       sept_state(entry) == SEPT_NL_BLOCKED;
}

/* No vCPU can still use a translation that was blocked in epoch @bepoch. */
static bool is_tracked(const struct td *td, uint64_t bepoch)
{
	if (bepoch + 1 < td->epoch)
		return true;
	return bepoch + 1 == td->epoch && !td->refcount[bepoch & 1];
}

static uint64_t check_tracked(struct call *c, const struct target *t)
{
	struct page_ref ref;

	tdm_page_find(c->m, sept_hpa(*t->entry), &ref);
	if (t->td->op_state == OP_RUNNABLE &&
	    !is_tracked(t->td, ref.entry->bepoch))
		return entry_error(c, t, TDX_TLB_TRACKING_NOT_DONE);
	return TDX_SUCCESS;
}

uint64_t tdm_mem_range_block(struct call *c)
{
	enum sept_state blocked;
	struct page_ref ref;
	struct target t;

	TRY(get_target(c, SHARED, OP_STATES_MEM, 0, 4, &t));
	TRY(walk_locked(c, &t, EXCL));
	switch (sept_state(*t.entry)) {
	case SEPT_MAPPED:
		blocked = SEPT_BLOCKED;
		break;
	case SEPT_PENDING:
		blocked = SEPT_PENDING_BLOCKED;
		break;
	case SEPT_NL_MAPPED:
		blocked = SEPT_NL_BLOCKED;
		break;
	case SEPT_FREE:
		return entry_error(c, &t, TDX_EPT_ENTRY_STATE_INCORRECT);
	default:
		return entry_error(c, &t, TDX_GPA_RANGE_ALREADY_BLOCKED);
	}

	*t.entry = sept_hpa(*t.entry) | blocked;
	tdm_page_find(c->m, sept_hpa(*t.entry), &ref);
	ref.entry->bepoch = t.td->epoch;
	return TDX_SUCCESS;
}

uint64_t tdm_mem_range_unblock(struct call *c)
{
	enum sept_state state;
	struct target t;

	TRY(get_target(c, SHARED, OP_STATES_MEM, 0, 4, &t));
	TRY(walk_locked(c, &t, EXCL));
	switch (sept_state(*t.entry)) {
	case SEPT_BLOCKED:
		state = SEPT_MAPPED;
		break;
	case SEPT_PENDING_BLOCKED:
		state = SEPT_PENDING;
		break;
	case SEPT_NL_BLOCKED:
		state = SEPT_NL_MAPPED;
		break;
	default:
		return entry_error(c, &t, TDX_GPA_RANGE_NOT_BLOCKED);
	}
	TRY(check_tracked(c, &t));
	*t.entry = sept_hpa(*t.entry) | state;
	return TDX_SUCCESS;
}

uint64_t tdm_mem_page_remove(struct call *c)
{
	struct page_ref ref;
	struct target t;

	TRY(get_target(c, SHARED, OP_STATES_MEM, 0, 2, &t));
	TRY(walk_locked(c, &t, SHARED));
	switch (sept_state(*t.entry)) {
	case SEPT_MAPPED:
	case SEPT_PENDING:
	case SEPT_BLOCKED:
	case SEPT_PENDING_BLOCKED:
		break;
	default:
		return entry_error(c, &t, TDX_EPT_ENTRY_STATE_INCORRECT);
	}
	if (t.td->op_state == OP_RUNNABLE && !is_blocked(*t.entry))
		return entry_error(c, &t, TDX_GPA_RANGE_NOT_BLOCKED);
	TRY(check_tracked(c, &t));

	tdm_page_find(c->m, sept_hpa(*t.entry), &ref);
	if (!tdm_lock(c, &ref.entry->lock, EXCL))
		return TDX_OPERAND_BUSY | OP_RCX;
	c->r[TDX_RCX] = ref.pa;
	*t.entry = SEPT_FREE;
	tdm_page_release(c->m, &ref);
	return TDX_SUCCESS;
}

uint64_t tdm_mem_track(struct call *c)
{
	struct td *td;

	TRY(tdm_td_get(c, c->r[TDX_RCX], OP_RCX, SHARED, &td));
	TRY(tdm_td_check(td, OP_STATES_MEM));
	if (!tdm_lock(c, &td->epoch_lock, EXCL))
		return TDX_OPERAND_BUSY | OP_TD_EPOCH;
	if (td->refcount[~td->epoch & 1])
		return TDX_PREVIOUS_TLB_EPOCH_BUSY;
	td->epoch++;
	return TDX_SUCCESS;
}
