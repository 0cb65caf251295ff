// SPDX-License-Identifier: LGPL-2.1-or-later
/* Dispatcher, identity, gauges and what all leaves share. */
#include "internal.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A leaf with no function is known to the specification but not modelled. */
struct leaf {
	const char *name;
	uint64_t (*function)(struct call *c);
	bool before_ready;
	unsigned int max_version;
};

static const struct leaf leaves[TDX_NR_LEAVES] = {
	[0]  = { .name = "TDH.VP.ENTER", tdm_vp_enter },
	[1]  = { .name = "TDH.MNG.ADDCX", tdm_mng_addcx },
	[2]  = { .name = "TDH.MEM.PAGE.ADD", tdm_mem_page_add },
	[3]  = { .name = "TDH.MEM.SEPT.ADD", tdm_mem_sept_add },
	[4]  = { .name = "TDH.VP.ADDCX", tdm_vp_addcx },
	[5]  = { .name = "TDH.MEM.PAGE.RELOCATE" },
	[6]  = { .name = "TDH.MEM.PAGE.AUG", tdm_mem_page_aug },
	[7]  = { .name = "TDH.MEM.RANGE.BLOCK", tdm_mem_range_block },
	[8]  = { .name = "TDH.MNG.KEY.CONFIG", tdm_mng_key_config },
	[9]  = { .name = "TDH.MNG.CREATE", tdm_mng_create },
	[10] = { .name = "TDH.VP.CREATE", tdm_vp_create },
	[11] = { .name = "TDH.MNG.RD", tdm_mng_rd },
	[12] = { .name = "TDH.MEM.RD" },
	[13] = { .name = "TDH.MNG.WR" },
	[14] = { .name = "TDH.MEM.WR" },
	[15] = { .name = "TDH.MEM.PAGE.DEMOTE" },
	[16] = { .name = "TDH.MR.EXTEND", tdm_mr_extend },
	[17] = { .name = "TDH.MR.FINALIZE", tdm_mr_finalize },
	[18] = { .name = "TDH.VP.FLUSH", tdm_vp_flush },
	[19] = { .name = "TDH.MNG.VPFLUSHDONE", tdm_mng_vpflushdone },
	[20] = { .name = "TDH.MNG.KEY.FREEID", tdm_mng_key_freeid },
	[21] = { .name = "TDH.MNG.INIT", tdm_mng_init },
	[22] = { .name = "TDH.VP.INIT", tdm_vp_init, .max_version = 1 },
	[23] = { .name = "TDH.MEM.PAGE.PROMOTE" },
	[24] = { .name = "TDH.PHYMEM.PAGE.RDMD", tdm_phymem_page_rdmd },
	[25] = { .name = "TDH.MEM.SEPT.RD" },
	[26] = { .name = "TDH.VP.RD", tdm_vp_rd },
	[27] = { .name = "TDH.MNG.KEY.RECLAIMID" },
	[28] = { .name = "TDH.PHYMEM.PAGE.RECLAIM", tdm_phymem_page_reclaim },
	[29] = { .name = "TDH.MEM.PAGE.REMOVE", tdm_mem_page_remove },
	[30] = { .name = "TDH.MEM.SEPT.REMOVE" },
	[31] = { .name = "TDH.SYS.KEY.CONFIG", tdm_sys_key_config, true },
	[32] = { .name = "TDH.SYS.INFO" },
	[33] = { .name = "TDH.SYS.INIT", tdm_sys_init, true },
	[34] = { .name = "TDH.SYS.RD", tdm_sys_rd, true },
	[35] = { .name = "TDH.SYS.LP.INIT", tdm_sys_lp_init, true },
	[36] = { .name = "TDH.SYS.TDMR.INIT", tdm_sys_tdmr_init },
	[37] = { .name = "TDH.SYS.RDALL" },
	[38] = { .name = "TDH.MEM.TRACK", tdm_mem_track },
	[39] = { .name = "TDH.MEM.RANGE.UNBLOCK", tdm_mem_range_unblock },
	[40] = { .name = "TDH.PHYMEM.CACHE.WB", tdm_phymem_cache_wb },
	[41] = { .name = "TDH.PHYMEM.PAGE.WBINVD", tdm_phymem_page_wbinvd },
	[43] = { .name = "TDH.VP.WR", tdm_vp_wr },
	[44] = { .name = "TDH.SYS.LP.SHUTDOWN" },
	[45] = { .name = "TDH.SYS.CONFIG", tdm_sys_config, true },
	[53] = { .name = "TDH.SYS.UPDATE" },
};

const char *tdx_leaf_name(unsigned int leaf)
{
	return leaf < TDX_NR_LEAVES ? leaves[leaf].name : NULL;
}

const char *tdx_module_identity(void)
{
	return "tdx-host: software model of the TDX 1.5 module interface, "
	       "not Intel's TDX module";
}

void tdm_log(const struct tdx_module *m, const char *format, ...)
{
	char line[160];
	va_list args;

	if (!m->p.log)
		return;
	va_start(args, format);
	vsnprintf(line, sizeof(line), format, args);
	va_end(args);
	m->p.log(m->p.ctx, line);
}

bool tdm_lock(struct call *c, struct lock *lock, enum lock_mode mode)
{
	struct lp *lp = &c->m->lps[c->cpu->lp];

	if (lock->excl || (mode == EXCL && lock->shared)) {
		c->m->locks_busy++;
		return false;
	}
	if (mode == EXCL)
		lock->excl = true;
	else
		lock->shared++;
	lp->held[lp->nr_held++] = (struct held){ lock, mode };
	return true;
}

void tdm_unlock(struct lock *lock, enum lock_mode mode)
{
	if (mode == EXCL)
		lock->excl = false;
	else
		lock->shared--;
}

bool tdm_is_private_keyid(const struct tdx_module *m, uint64_t keyid)
{
	return keyid > m->p.nr_mktme_keyids &&
	       keyid <= m->p.nr_mktme_keyids + m->p.nr_tdx_keyids;
}

struct kot_entry *tdm_kot(struct tdx_module *m, unsigned int keyid)
{
	return &m->kot[keyid - m->p.nr_mktme_keyids - 1];
}

bool tdm_is_shared_hpa(const struct tdx_module *m, uint64_t hpa, uint64_t align)
{
	return is_aligned(hpa, align) && hpa >> 52 == 0 &&
	       hpa >> m->p.keyid_shift <= m->p.nr_mktme_keyids;
}

/* Memory of at most @align bytes at @hpa, or NULL if it is no shared memory. */
const void *tdm_shared_hpa(const struct tdx_module *m, uint64_t hpa,
			   uint64_t align)
{
	uint64_t pa = hpa & ((1ULL << m->p.keyid_shift) - 1);
	const uint8_t *page;

	if (!tdm_is_shared_hpa(m, hpa, align))
		return NULL;
	page = m->p.page(m->p.ctx, pa & ~(SZ_4K - 1));
	return page ? page + pa % SZ_4K : NULL;
}

unsigned int tdm_package(const struct call *c)
{
	return c->m->p.package[c->cpu->lp];
}

static uint64_t dispatch(struct call *c)
{
	uint64_t rax = c->r[TDX_RAX];
	unsigned int number = rax & 0xffff;
	const struct leaf *leaf = &leaves[number % TDX_NR_LEAVES];
	uint64_t status;

	c->version = rax >> 16 & 0xff;
	if (rax >> 24 || number >= TDX_NR_LEAVES || !leaf->function ||
	    c->version > leaf->max_version)
		return TDX_OPERAND_INVALID | OP_RAX;
	if (tdm_inject(c, number, &status))
		return status;
	if (c->m->state != SYS_READY && !leaf->before_ready)
		return TDX_SYS_NOT_READY;
	return leaf->function(c);
}

enum tdx_outcome tdx_seamcall(struct tdx_module *m, struct tdx_cpu *cpu)
{
	struct call c = { .m = m, .cpu = cpu, .r = cpu->gpr };
	unsigned int leaf = cpu->gpr[TDX_RAX] % TDX_NR_LEAVES;
	uint64_t status;

	cpu->ticks = 0;
	/* RAX[63] addresses the P-SEAMLDR, which no platform of ours has. */
	if (!m || cpu->lp >= m->p.nr_lps || c.r[TDX_RAX] >> 63)
		return TDX_VMFAIL_INVALID;
	if (m->lps[cpu->lp].in_guest)
		return TDX_IN_GUEST;

	tdm_release_locks(&m->lps[cpu->lp]);
	tdm_release_expired(m, cpu->now);
	status = dispatch(&c);
	if (c.outcome != TDX_DONE)
		return c.outcome;
	c.r[TDX_RAX] = status;
	tdm_take_time(m, cpu, leaf, c.blocks);
	return TDX_DONE;
}

void tdx_set_script(struct tdx_module *m, const struct tdx_script *script)
{
	m->script = *script;
}

void tdx_get_script(const struct tdx_module *m, struct tdx_script *script)
{
	*script = m->script;
}

void tdx_get_usage(const struct tdx_module *m, struct tdx_usage *usage)
{
	*usage = (struct tdx_usage) {
		.td_pages = m->td_pages,
		.td_private_pages = m->td_private_pages,
		.keyids_in_use = m->keyids_in_use,
		.keyids = m->p.nr_tdx_keyids - 1,
		.tds = m->nr_tds,
		.pamt_bytes = m->pamt_bytes,
		.ready = m->state == SYS_READY,
		.injected = m->injected,
		.locks_busy = m->locks_busy,
		.ticks_taken = m->ticks_taken,
	};
}

/* TDG.VP.VMCALL <Instruction.IO>: OUT of one byte, 'T', to port 0x500. */
static const struct tdx_script default_script = {
	.mode = TDX_SCRIPT_EXIT,
	.gpr = {
		[TDX_RAX] = 77,
		[TDX_RCX] = 0xfc00,
		[TDX_R11] = 30,
		[TDX_R12] = 1,
		[TDX_R13] = 1,
		[TDX_R14] = 0x500,
		[TDX_R15] = 'T',
	},
};

static bool platform_ok(const struct tdx_platform *p)
{
	uint64_t end = 0, limit;

	if (!p->page || !p->cpuid || !p->interrupt_pending ||
	    !p->interrupt_ack || !p->nmi_pending || !p->nmi_ack || !p->tsc_hz)
		return false;
	if (p->nr_lps < 1 || p->nr_lps > TDX_MAX_LPS ||
	    p->keyid_shift < 36 || p->keyid_shift > 52 ||
	    p->nr_cmrs > TDX_MAX_CMRS || p->nr_tdx_keyids < 1)
		return false;
	for (unsigned int i = 0; i < p->nr_lps; i++)
		if (p->package[i] >= TDX_MAX_PACKAGES)
			return false;

	limit = 1ULL << p->keyid_shift;
	if ((uint64_t)p->nr_mktme_keyids + p->nr_tdx_keyids >=
	    1ULL << (52 - p->keyid_shift))
		return false;
	for (unsigned int i = 0; i < p->nr_cmrs; i++) {
		const struct tdx_cmr *cmr = &p->cmrs[i];

		if (!is_aligned(cmr->base | cmr->size, SZ_4K) || !cmr->size ||
		    cmr->base < end || cmr->base > limit ||
		    cmr->size > limit - cmr->base)
			return false;
		end = cmr->base + cmr->size;
	}
	return true;
}

static void merge_cmrs(struct tdx_module *m)
{
	for (unsigned int i = 0; i < m->p.nr_cmrs; i++) {
		const struct tdx_cmr *cmr = &m->p.cmrs[i];
		struct range *last = &m->cmrs[m->nr_cmrs ? m->nr_cmrs - 1 : 0];

		if (m->nr_cmrs && last->base + last->size == cmr->base)
			last->size += cmr->size;
		else
			m->cmrs[m->nr_cmrs++] =
				(struct range){ cmr->base, cmr->size };
	}
}

struct tdx_module *tdx_module_new(const struct tdx_platform *platform)
{
	struct tdx_module *m;

	if (!platform_ok(platform))
		return NULL;
	m = calloc(1, sizeof(*m));
	if (!m)
		return NULL;
	m->p = *platform;
	m->script = default_script;
	merge_cmrs(m);
	m->kot = calloc(m->p.nr_tdx_keyids, sizeof(*m->kot));
	if (!m->kot)
		goto fail;
	for (unsigned int i = 0; i < m->p.nr_lps; i++) {
		struct package *package = &m->packages[m->p.package[i]];

		if (package->present)
			continue;
		package->present = true;
		package->wb_keyid = calloc(m->p.nr_tdx_keyids, sizeof(bool));
		if (!package->wb_keyid)
			goto fail;
		m->package_mask |= 1u << m->p.package[i];
	}
	return m;
fail:
	tdx_module_free(m);
	return NULL;
}

void tdx_module_free(struct tdx_module *m)
{
	if (!m)
		return;
	while (m->tds)
		tdm_td_free(m, m->tds);
	for (unsigned int i = 0; i < m->nr_tdmrs; i++)
		tdm_pamt_free(&m->tdmrs[i]);
	for (unsigned int i = 0; i < TDX_MAX_PACKAGES; i++)
		free(m->packages[i].wb_keyid);
	free(m->kot);
	free(m);
}
