// SPDX-License-Identifier: LGPL-2.1-or-later
/* Injected failures: the plan, and the scenario that fails call by call. */
#include "internal.h"

#include <string.h>

/*
 * How a leaf can fail though the host did nothing wrong.  Busy: an operand that
 * another LP holds locked.  Error: what lasts, for the reason given.
 */
static const struct failure {
	uint64_t busy;
	uint64_t error;
} failures[TDX_NR_LEAVES] = {
#define BUSY(operand)	(TDX_OPERAND_BUSY | (operand))
	/* A machine check in a TD makes it fatal, for all but its teardown. */
	[0]  = { BUSY(OP_TD_EPOCH), TDX_TD_FATAL },	/* VP.ENTER */
	[1]  = { BUSY(OP_RDX), TDX_TD_FATAL },		/* MNG.ADDCX */
	[2]  = { BUSY(OP_RDX), TDX_TD_FATAL },		/* MEM.PAGE.ADD */
	[3]  = { BUSY(OP_SEPT_TREE), TDX_TD_FATAL },	/* MEM.SEPT.ADD */
	[4]  = { BUSY(OP_TDR), TDX_TD_FATAL },		/* VP.ADDCX */
	[6]  = { BUSY(OP_SEPT_TREE), TDX_TD_FATAL },	/* MEM.PAGE.AUG */
	[7]  = { BUSY(OP_SEPT_TREE), TDX_TD_FATAL },	/* MEM.RANGE.BLOCK */
	[10] = { BUSY(OP_RDX), TDX_TD_FATAL },		/* VP.CREATE */
	[11] = { BUSY(OP_RCX), TDX_TD_FATAL },		/* MNG.RD */
	[16] = { BUSY(OP_RDX), TDX_TD_FATAL },		/* MR.EXTEND */
	[17] = { BUSY(OP_RCX), TDX_TD_FATAL },		/* MR.FINALIZE */
	[26] = { BUSY(OP_TDR), TDX_TD_FATAL },		/* VP.RD */
	[29] = { BUSY(OP_SEPT_TREE), TDX_TD_FATAL },	/* MEM.PAGE.REMOVE */
	[38] = { BUSY(OP_TD_EPOCH), TDX_TD_FATAL },	/* MEM.TRACK */
	[39] = { BUSY(OP_SEPT_TREE), TDX_TD_FATAL },	/* MEM.RANGE.UNBLOCK */
	[43] = { BUSY(OP_TDR), TDX_TD_FATAL },		/* VP.WR */
	/* No entropy for a key. */
	[8]  = { BUSY(OP_KET), TDX_KEY_GENERATION_FAILED },	/* MNG.KEY.CONFIG */
	[31] = { TDX_SYS_BUSY, TDX_KEY_GENERATION_FAILED },	/* SYS.KEY.CONFIG */
	/* Someone has kept the KeyID. */
	[9]  = { BUSY(OP_KOT), TDX_HKID_NOT_FREE },	/* MNG.CREATE */
	/* Someone has changed the TSC of this LP. */
	[21] = { BUSY(OP_RCX), TDX_INCONSISTENT_MSR | MSR_TSC_ADJUST }, /* MNG.INIT */
	[22] = { BUSY(OP_TDR), TDX_INCONSISTENT_MSR | MSR_TSC_ADJUST }, /* VP.INIT */
	[35] = { TDX_SYS_BUSY, TDX_INCONSISTENT_MSR | MSR_TSC_ADJUST }, /* SYS.LP.INIT */
	/* Module and host do not agree on the step of the teardown. */
	[18] = { BUSY(OP_TDR), TDX_TD_KEYS_NOT_CONFIGURED },	/* VP.FLUSH */
	[19] = { BUSY(OP_RCX), TDX_FLUSHVP_NOT_DONE },	/* MNG.VPFLUSHDONE */
	[20] = { BUSY(OP_KOT), TDX_WBCACHE_NOT_COMPLETE },	/* MNG.KEY.FREEID */
	[28] = { BUSY(OP_TDR), TDX_LIFECYCLE_STATE_INCORRECT },	/* PHYMEM.PAGE.RECLAIM */
	[40] = { BUSY(OP_WBCACHE), TDX_WBCACHE_RESUME_ERROR },	/* PHYMEM.CACHE.WB */
	/* Module and host do not agree on what a page is. */
	[24] = { BUSY(OP_RCX), TDX_OPERAND_ADDR_RANGE_ERROR | OP_RCX }, /* PHYMEM.PAGE.RDMD */
	[41] = { BUSY(OP_RCX), TDX_PAGE_METADATA_INCORRECT | OP_RCX }, /* PHYMEM.PAGE.WBINVD */
	/* Module and host do not agree on the state of the module. */
	[33] = { TDX_SYS_BUSY, TDX_SYS_INIT_NOT_PENDING },	/* SYS.INIT */
	[34] = { TDX_SYS_BUSY, TDX_SYS_LP_INIT_NOT_DONE },	/* SYS.RD */
	[36] = { BUSY(OP_RCX), TDX_OPERAND_INVALID | OP_RCX },	/* SYS.TDMR.INIT */
	[45] = { TDX_SYS_BUSY, TDX_SYS_CONFIG_NOT_PENDING },	/* SYS.CONFIG */
#undef BUSY
};

bool tdx_set_fault(struct tdx_module *m, unsigned int slot,
		   const struct tdx_fault *fault)
{
	const struct tdx_fault *f = fault;

	if (slot >= TDX_MAX_FAULTS)
		return false;
	if (f->what == TDX_FAULT_NONE) {
		memset(&m->plan[slot], 0, sizeof(m->plan[slot]));
		return true;
	}
	if (f->what > TDX_FAULT_INTERRUPTED || !f->nth || !f->every ||
	    !f->count || (f->what == TDX_FAULT_LOCKED && !f->value))
		return false;
	if (f->leaf != TDX_ANY_LEAF &&
	    (f->leaf >= TDX_NR_LEAVES || !failures[f->leaf].error))
		return false;
	if (f->what == TDX_FAULT_INTERRUPTED && f->leaf != LEAF_CACHE_WB)
		return false;

	m->plan[slot] = (struct planned){ .fault = *f, .left = f->count };
	m->plan[slot].fault.calls = 0;
	m->plan[slot].fault.injected = 0;
	return true;
}

bool tdx_get_fault(const struct tdx_module *m, unsigned int slot,
		   struct tdx_fault *fault)
{
	if (slot >= TDX_MAX_FAULTS)
		return false;
	*fault = m->plan[slot].fault;
	return true;
}

void tdx_clear_faults(struct tdx_module *m)
{
	memset(m->plan, 0, sizeof(m->plan));
	m->scenario.how = TDX_SCENARIO_END;
}

void tdx_begin_scenario(struct tdx_module *m,
			const struct tdx_scenario *scenario)
{
	m->scenario = *scenario;
	m->scenario.calls = m->scenario.failed = m->scenario.status = 0;
	m->scenario.leaf = TDX_ANY_LEAF;
}

void tdx_end_scenario(struct tdx_module *m)
{
	m->scenario.how = TDX_SCENARIO_END;
}

void tdx_get_scenario(const struct tdx_module *m, struct tdx_scenario *scenario)
{
	*scenario = m->scenario;
}

/* Is it the turn of this entry to fail a call that it has counted? */
static bool is_due(struct planned *p, uint64_t now)
{
	const struct tdx_fault *f = &p->fault;

	if (f->what == TDX_FAULT_LOCKED && now < p->locked_until)
		return true;
	if (!p->left || f->calls < f->nth || (f->calls - f->nth) % f->every)
		return false;
	if (f->count != TDX_FOREVER)
		p->left--;
	p->locked_until = now + f->value;
	return true;
}

static struct planned *due_entry(struct call *c, unsigned int leaf)
{
	struct planned *due = NULL;

	for (unsigned int i = 0; i < TDX_MAX_FAULTS; i++) {
		struct planned *p = &c->m->plan[i];

		if (p->fault.what == TDX_FAULT_NONE ||
		    (p->fault.leaf != TDX_ANY_LEAF && p->fault.leaf != leaf))
			continue;
		p->fault.calls++;
		if (!due && is_due(p, c->cpu->now))
			due = p;
	}
	return due;
}

static bool scenario_fails(struct call *c, unsigned int leaf, uint64_t *status)
{
	struct tdx_scenario *s = &c->m->scenario;

	if (s->how == TDX_SCENARIO_END || s->exempt >> leaf & 1)
		return false;
	s->calls++;
	if (!s->nth || (s->sticky ? s->calls < s->nth : s->calls != s->nth))
		return false;
	*status = s->how == TDX_SCENARIO_BUSY ? failures[leaf].busy :
						failures[leaf].error;
	if (!s->failed++) {
		s->leaf = leaf;
		s->status = *status;
		tdm_log(c->m, "%s: call %llu of the scenario fails, status %016llx",
			tdx_leaf_name(leaf), (unsigned long long)s->calls,
			(unsigned long long)*status);
	}
	return true;
}

/* Returns true if the call is to end here, with c->outcome and *@status. */
bool tdm_inject(struct call *c, unsigned int leaf, uint64_t *status)
{
	struct planned *p = due_entry(c, leaf);
	bool fails = scenario_fails(c, leaf, status);

	if (!p) {
		c->m->injected += fails;
		return fails;
	}
	c->m->injected++;
	if (!p->fault.injected++)
		tdm_log(c->m, "%s: fault injected", tdx_leaf_name(leaf));
	switch (p->fault.what) {
	case TDX_FAULT_STATUS:
		*status = p->fault.value;
		return true;
	case TDX_FAULT_LOCKED:
		*status = failures[leaf].busy;
		return true;
	case TDX_FAULT_UD:
		c->outcome = TDX_UD;
		return true;
	case TDX_FAULT_VMFAIL:
		c->outcome = TDX_VMFAIL_INVALID;
		return true;
	case TDX_FAULT_INTERRUPTED:
		c->interrupted = true;
		return false;
	case TDX_FAULT_NONE:
		break;
	}
	return false;
}
