// SPDX-License-Identifier: LGPL-2.1-or-later
/* TD life cycle: TDR, TDCS, KeyIDs, TD_PARAMS and measurement. */
#include "internal.h"

#include <stdlib.h>
#include <string.h>

/* Locks the TDR page that register @op names. */
uint64_t tdm_td_get(struct call *c, uint64_t pa, enum operand_id op,
		    enum lock_mode mode, struct td **td)
{
	struct page_ref ref;

	TRY(tdm_page_get(c, pa, op, mode, PT_TDR, &ref));
	*td = ref.entry->td;
	return TDX_SUCCESS;
}

/* @op_states: bit mask of enum op_state in which the leaf may run. */
uint64_t tdm_td_check(const struct td *td, unsigned int op_states)
{
	if (td->fatal)
		return TDX_TD_FATAL;
	if (td->lifecycle != TD_KEYS_CONFIGURED)
		return TDX_TD_KEYS_NOT_CONFIGURED;
	if (td->num_tdcx < TDCS_BASE_PAGES)
		return TDX_TDCS_NOT_ALLOCATED;
	if (!(op_states & 1u << td->op_state))
		return TDX_OP_STATE_INCORRECT;
	return TDX_SUCCESS;
}

uint64_t tdm_mng_create(struct call *c)
{
	struct tdx_module *m = c->m;
	uint64_t hkid = c->r[TDX_RDX];
	struct page_ref ref;
	struct kot_entry *kot;
	struct td *td;

	if (!tdm_is_private_keyid(m, hkid))
		return TDX_OPERAND_INVALID | OP_RDX;
	TRY(tdm_page_get(c, c->r[TDX_RCX], OP_RCX, EXCL, PT_NDA, &ref));
	if (!tdm_lock(c, &m->kot_lock, EXCL))
		return TDX_OPERAND_BUSY | OP_KOT;
	kot = tdm_kot(m, (unsigned int)hkid);
	if (kot->state != KOT_FREE)
		return TDX_HKID_NOT_FREE;

	td = calloc(1, sizeof(*td));
	if (!td)
		abort();
	td->page = ref.entry;
	td->pa = ref.pa;
	td->hkid = (unsigned int)hkid;
	td->next = m->tds;
	m->tds = td;
	m->nr_tds++;
	kot->state = KOT_ASSIGNED;
	m->keyids_in_use++;
	tdm_page_assign(m, &ref, PT_TDR, td, NULL);
	return TDX_SUCCESS;
}

void tdm_td_free(struct tdx_module *m, struct td *td)
{
	struct td **link = &m->tds;

	while (*link != td)
		link = &(*link)->next;
	*link = td->next;
	m->nr_tds--;
	while (td->vcpus)
		tdm_vcpu_free(td->vcpus);
	free(td);
}

uint64_t tdm_mng_key_config(struct call *c)
{
	uint32_t package = 1u << tdm_package(c);
	struct td *td;

	TRY(tdm_td_get(c, c->r[TDX_RCX], OP_RCX, EXCL, &td));
	if (td->fatal)
		return TDX_TD_FATAL;
	if (td->lifecycle != TD_HKID_ASSIGNED)
		return TDX_LIFECYCLE_STATE_INCORRECT;
	if (td->key_packages & package)
		return TDX_KEY_CONFIGURED;
	if (!tdm_lock(c, &c->m->packages[tdm_package(c)].ket_lock, EXCL))
		return TDX_OPERAND_BUSY | OP_KET;

	td->key_packages |= package;
	if (td->key_packages == c->m->package_mask)
		td->lifecycle = TD_KEYS_CONFIGURED;
	return TDX_SUCCESS;
}

uint64_t tdm_mng_addcx(struct call *c)
{
	struct page_ref ref;
	struct td *td;

	TRY(tdm_td_get(c, c->r[TDX_RDX], OP_RDX, EXCL, &td));
	if (td->fatal)
		return TDX_TD_FATAL;
	if (td->lifecycle != TD_KEYS_CONFIGURED)
		return TDX_TD_KEYS_NOT_CONFIGURED;
	if (td->num_tdcx == TDCS_MAX_PAGES)
		return TDX_TDCX_NUM_INCORRECT;
	TRY(tdm_page_get(c, c->r[TDX_RCX], OP_RCX, EXCL, PT_NDA, &ref));
	if (td->num_tdcx >= TDCS_BASE_PAGES && td->op_state != OP_UNINITIALIZED)
		return TDX_OP_STATE_INCORRECT;

	td->num_tdcx++;
	tdm_page_assign(c->m, &ref, PT_TDCX, td, NULL);
	return TDX_SUCCESS;
}

struct td_params {
	uint64_t attributes;
	uint64_t xfam;
	uint16_t max_vcpus;
	uint8_t num_l2_vms;
	uint8_t msr_config_controls;
	uint8_t reserved0[4];
	uint64_t eptp_controls;
	uint64_t config_flags;
	uint16_t tsc_frequency;
	uint8_t reserved1[38];
	uint8_t mrconfigid[48];
	uint8_t mrowner[48];
	uint8_t mrownerconfig[48];
	uint64_t arch_capabilities;
	uint8_t reserved2[24];
	uint32_t cpuid[NUM_CPUID_CONFIG][4];
	uint8_t reserved3[768 - 16 * NUM_CPUID_CONFIG];
};

_Static_assert(sizeof(struct td_params) == 1024, "TD_PARAMS is 1024 bytes");
_Static_assert(offsetof(struct td_params, cpuid) == 256, "CPUID at 256");

#define CONFIG_GPAW		(1ULL << 0)
#define CONFIG_FLAGS_ALLOWED	7ULL	/* GPAW, pending #VE, NO_RBP_MOD */
#define TSC_UNIT_HZ		25000000ULL

static bool is_zero(const uint8_t *p, size_t len)
{
	while (len--)
		if (*p++)
			return false;
	return true;
}

static bool xfam_valid(const struct tdx_module *m, uint64_t xfam)
{
	uint64_t avx512 = xfam >> 5 & 7, cet = xfam >> 11 & 3;
	uint64_t amx = xfam >> 17 & 3;

	if (xfam & ~m->xfam_fixed0 || (xfam & 3) != 3)
		return false;
	if (avx512 && (avx512 != 7 || !(xfam & 1 << 2)))
		return false;
	return (!cet || cet == 3) && (!amx || amx == 3);
}

static bool eptp_valid(const struct tdx_module *m, uint64_t eptp, bool gpaw_52)
{
	unsigned int pwl = eptp >> 3 & 7;

	if ((eptp & 7) != 6 || eptp >> 6)
		return false;
	return pwl == 4 ? m->ept_5_level : pwl == 3 && !gpaw_52;
}

static uint64_t apply_params(struct call *c, struct td *td,
			     const struct td_params *p)
{
	const struct tdx_module *m = c->m;
	bool gpaw_52 = p->config_flags & CONFIG_GPAW;
	uint64_t status, bad;

	if (p->attributes & ~m->attributes_fixed0)
		return TDX_OPERAND_INVALID | OP_ATTRIBUTES;
	if (!xfam_valid(m, p->xfam))
		return TDX_OPERAND_INVALID | OP_XFAM;
	if (p->max_vcpus < 1 || p->max_vcpus > MAX_VCPUS_PER_TD)
		return TDX_OPERAND_INVALID | OP_MAX_VCPUS;
	/* TDX_FEATURES0 offers neither TD partitioning ... */
	if (p->num_l2_vms)
		return TDX_OPERAND_INVALID | OP_NUM_L2_VMS;
	if (!is_zero(p->reserved0, sizeof(p->reserved0)))
		return TDX_OPERAND_INVALID | OP_RDX;
	if (p->config_flags & ~CONFIG_FLAGS_ALLOWED)
		return TDX_OPERAND_INVALID | OP_CONFIG_FLAGS;
	if (!eptp_valid(m, p->eptp_controls, gpaw_52))
		return TDX_OPERAND_INVALID | OP_EPTP_CONTROLS;
	if (p->tsc_frequency < 4 || p->tsc_frequency > 400)
		return TDX_OPERAND_INVALID | OP_TSC_FREQUENCY;
	if (c->cpu->tsc_adjust != m->tsc_adjust)
		return TDX_INCONSISTENT_MSR | MSR_TSC_ADJUST;
	if (!is_zero(p->reserved1, sizeof(p->reserved1)))
		return TDX_OPERAND_INVALID | OP_RDX;
	/* ... nor configuration of IA32_ARCH_CAPABILITIES. */
	if (p->msr_config_controls)
		return TDX_OPERAND_INVALID | OP_IA32_ARCH_CAP;
	if (!is_zero(p->reserved2, sizeof(p->reserved2)))
		return TDX_OPERAND_INVALID | OP_RDX;
	memcpy(td->cpuid, p->cpuid, sizeof(td->cpuid));
	status = tdm_cpuid_config_check(m, td, &bad);
	if (status) {
		c->r[TDX_RCX] = bad;
		return status;
	}
	if (!is_zero(p->reserved3, sizeof(p->reserved3)))
		return TDX_OPERAND_INVALID | OP_RDX;
	if (p->arch_capabilities)
		return TDX_OPERAND_INVALID | OP_IA32_ARCH_CAP;

	td->attributes = p->attributes;
	td->xfam = p->xfam;
	td->max_vcpus = p->max_vcpus;
	td->pwl = p->eptp_controls >> 3 & 7;
	td->gpaw = gpaw_52 ? 52 : 48;
	td->tsc_multiplier = (uint64_t)
		(((unsigned __int128)p->tsc_frequency * TSC_UNIT_HZ << 48) /
		 m->p.tsc_hz);
	/* The virtual TSC starts from 0 here. */
	td->tsc_offset = -(uint64_t)
		((unsigned __int128)c->cpu->tsc * td->tsc_multiplier >> 48);
	return TDX_SUCCESS;
}

uint64_t tdm_mng_init(struct call *c)
{
	uint64_t tdr = c->r[TDX_RCX];
	struct td_params params;
	const void *source;
	struct td *td;

	c->r[TDX_RCX] = 0;
	TRY(tdm_td_get(c, tdr, OP_RCX, EXCL, &td));
	TRY(tdm_td_check(td, 1 << OP_UNINITIALIZED));
	source = tdm_shared_hpa(c->m, c->r[TDX_RDX], sizeof(params));
	if (!source)
		return TDX_OPERAND_INVALID | OP_RDX;
	memcpy(&params, source, sizeof(params));
	TRY(apply_params(c, td, &params));

	td->epoch = 1;
	tdm_sha384_init(&td->measurement);
	td->op_state = OP_INITIALIZED;
	return TDX_SUCCESS;
}

uint64_t tdm_mng_vpflushdone(struct call *c)
{
	struct kot_entry *kot;
	struct td *td;

	TRY(tdm_td_get(c, c->r[TDX_RCX], OP_RCX, EXCL, &td));
	if (!tdm_lock(c, &c->m->kot_lock, EXCL))
		return TDX_OPERAND_BUSY | OP_KOT;
	if (td->lifecycle != TD_HKID_ASSIGNED &&
	    td->lifecycle != TD_KEYS_CONFIGURED)
		return TDX_LIFECYCLE_STATE_INCORRECT;
	if (td->num_assoc)
		return TDX_FLUSHVP_NOT_DONE;

	kot = tdm_kot(c->m, td->hkid);
	kot->state = KOT_FLUSHED;
	kot->wbinvd_packages = c->m->package_mask;
	td->lifecycle = TD_BLOCKED;
	return TDX_SUCCESS;
}

uint64_t tdm_mng_key_freeid(struct call *c)
{
	struct kot_entry *kot;
	struct td *td;

	TRY(tdm_td_get(c, c->r[TDX_RCX], OP_RCX, EXCL, &td));
	if (!tdm_lock(c, &c->m->kot_lock, EXCL))
		return TDX_OPERAND_BUSY | OP_KOT;
	if (td->lifecycle != TD_BLOCKED)
		return TDX_LIFECYCLE_STATE_INCORRECT;
	kot = tdm_kot(c->m, td->hkid);
	if (kot->wbinvd_packages)
		return TDX_WBCACHE_NOT_COMPLETE;

	kot->state = KOT_FREE;
	c->m->keyids_in_use--;
	td->lifecycle = TD_TEARDOWN;
	return TDX_SUCCESS;
}

#define MEASURE_BLOCK	128

/* A 128-byte header: what was done, and at offset 16 to which GPA. */
static void measure(struct td *td, const char *what, uint64_t gpa)
{
	uint8_t header[MEASURE_BLOCK] = { 0 };

	memcpy(header, what, strlen(what));
	memcpy(header + 16, &gpa, sizeof(gpa));
	tdm_sha384_update(&td->measurement, header, sizeof(header));
}

void tdm_measure_page_add(struct td *td, uint64_t gpa)
{
	measure(td, "MEM.PAGE.ADD", gpa);
}

uint64_t tdm_mr_extend(struct call *c)
{
	uint64_t gpa = c->r[TDX_RCX], *entry;
	struct sept_table *table;
	unsigned int level = 0;
	const uint8_t *page;
	struct td *td;

	c->r[TDX_RCX] = 0;
	TRY(tdm_td_get(c, c->r[TDX_RDX], OP_RDX, EXCL, &td));
	c->r[TDX_RDX] = 0;
	TRY(tdm_td_check(td, 1 << OP_INITIALIZED));
	if (!is_aligned(gpa, 2 * MEASURE_BLOCK) || !tdm_is_private_gpa(td, gpa))
		return TDX_OPERAND_INVALID | OP_RCX;
	if (tdm_sept_walk(c, td, gpa, &level, &table, &entry) != TDX_SUCCESS)
		return TDX_EPT_ENTRY_NOT_PRESENT | OP_RCX;
	if (sept_state(*entry) != SEPT_MAPPED) {
		tdm_sept_report(c, *entry, level);
		return TDX_EPT_ENTRY_NOT_PRESENT;
	}

	page = c->m->p.page(c->m->p.ctx, sept_hpa(*entry));
	measure(td, "MR.EXTEND", gpa);
	tdm_sha384_update(&td->measurement, page + gpa % SZ_4K,
			  2 * MEASURE_BLOCK);
	return TDX_SUCCESS;
}

uint64_t tdm_mr_finalize(struct call *c)
{
	struct td *td;

	TRY(tdm_td_get(c, c->r[TDX_RCX], OP_RCX, EXCL, &td));
	TRY(tdm_td_check(td, 1 << OP_INITIALIZED));
	if (!td->num_vcpus)
		return TDX_NO_VCPUS;
	tdm_sha384_final(&td->measurement, td->mrtd);
	td->op_state = OP_RUNNABLE;
	return TDX_SUCCESS;
}
