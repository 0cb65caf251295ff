// SPDX-License-Identifier: LGPL-2.1-or-later
/* Metadata fields: platform (SYS.RD), TD (MNG.RD), vCPU (VP.RD, VP.WR). */
#include "internal.h"

#include <string.h>

/* Field id: code [23:0], class [61:56]; these must be zero: */
#define FIELD_RESERVED	(1ULL << 62 | 1ULL << 55 | 7ULL << 47 | \
			 0x1ffULL << 38 | 0xfULL << 34 | 0xffULL << 24)
#define FIELD_KEY(id)	((id) & (0x3fULL << 56 | 0xffffff))
#define FIELD_NONE	UINT64_MAX

/* "SWTM" in place of Intel's PCI vendor id 8086. */
#define MODEL_VENDOR_ID		0x4d545753
#define MODEL_BUILD_DATE	0x20261120
#define MODEL_BUILD_NUM		1

#define SUBLEAF_NA	0xffffffffu
#define CPUID_CONFIG_1F	12

/*
 * What a VMM may configure of a CPUID leaf: @direct bits as it likes, @allow
 * bits only where the CPU has them.
 */
static const struct cpuid_slot {
	uint32_t leaf;
	uint32_t subleaf;
	uint32_t direct[4];
	uint32_t allow[4];
} cpuid_slots[NUM_CPUID_CONFIG] = {
	{ 0x1, SUBLEAF_NA, { 0x0fff3fff, 0x00ff0000 },
			   { 0, 0, 0x31044d88, 0xb8440000 } },
	{ 0x4, 0, { 0xffffc3ff, 0xfffff000, 0xffffffff, 0xfffffffb }, { 0 } },
	{ 0x4, 1, { 0xffffc3ff, 0xfffff000, 0xffffffff, 0xfffffffb }, { 0 } },
	{ 0x4, 2, { 0xffffc3ff, 0xfffff000, 0xffffffff, 0xfffffffb }, { 0 } },
	{ 0x4, 3, { 0xffffc3ff, 0xfffff000, 0xffffffff, 0x7 }, { 0 } },
	{ 0x7, 0, { 0 }, { 0, 0xdc2b9b18, 0x02417f65, 0x0005411c } },
	{ 0x7, 1, { 0 }, { 0x04001d30, 0, 0, 0x430 } },
	{ 0xa, SUBLEAF_NA, { 0 }, { 0 } },
	{ 0x1c, SUBLEAF_NA, { 0 }, { 0xff } },
	{ 0x80000008, SUBLEAF_NA, { 0 }, { 0, 0x200 } },
	{ 0x7, 2, { 0 }, { 0, 0, 0, 0x28 } },
	{ 0x23, 0, { 0 }, { 0xf } },
	{ 0x1f, 0, { 0x1f, 0xffff, 0xffff }, { 0 } },
	{ 0x1f, 1, { 0x1f, 0xffff, 0xffff }, { 0 } },
	{ 0x1f, 2, { 0x1f, 0xffff, 0xffff }, { 0 } },
	{ 0x1f, 3, { 0x1f, 0xffff, 0xffff }, { 0 } },
	{ 0x1f, 4, { 0x1f, 0xffff, 0xffff }, { 0 } },
	{ 0x1f, 5, { 0x1f, 0xffff, 0xffff }, { 0 } },
};

static void native_cpuid(const struct tdx_module *m, uint32_t leaf,
			 uint32_t subleaf, uint32_t regs[4])
{
	memset(regs, 0, 4 * sizeof(*regs));
	m->p.cpuid(m->p.ctx, leaf, subleaf == SUBLEAF_NA ? 0 : subleaf, regs);
}

static void add_field(struct tdx_module *m, uint64_t id, uint64_t value)
{
	struct sys_field *f = &m->sys_fields[m->nr_sys_fields++];

	f->id = id;
	f->value = value;
}

static void add_cmr_fields(struct tdx_module *m)
{
	add_field(m, 0x9000000100000000, TDX_MAX_CMRS);
	for (unsigned int i = 0; i < TDX_MAX_CMRS; i++)
		add_field(m, 0x9000000300000080 + i,
			  i < m->p.nr_cmrs ? m->p.cmrs[i].base : 0);
	for (unsigned int i = 0; i < TDX_MAX_CMRS; i++)
		add_field(m, 0x9000000300000100 + i,
			  i < m->p.nr_cmrs ? m->p.cmrs[i].size : 0);
}

static void add_cpuid_fields(struct tdx_module *m)
{
	for (unsigned int i = 0; i < NUM_CPUID_CONFIG; i++)
		add_field(m, 0x9900000300000400 + i, cpuid_slots[i].leaf |
			  (uint64_t)cpuid_slots[i].subleaf << 32);
	for (unsigned int i = 0; i < 2 * NUM_CPUID_CONFIG; i++) {
		const uint32_t *pair = &m->cpuid_config[i / 2][2 * (i % 2)];

		add_field(m, 0x9900000300000500 + i,
			  pair[0] | (uint64_t)pair[1] << 32);
	}
}

static void init_cpu_dependent(struct tdx_module *m)
{
	uint32_t r[4];

	for (unsigned int i = 0; i < NUM_CPUID_CONFIG; i++) {
		const struct cpuid_slot *slot = &cpuid_slots[i];

		native_cpuid(m, slot->leaf, slot->subleaf, r);
		for (unsigned int j = 0; j < 4; j++)
			m->cpuid_config[i][j] = slot->direct[j] |
						(slot->allow[j] & r[j]);
	}

	m->attributes_fixed0 = TDX_ATTR_DEBUG | TDX_ATTR_SEPT_VE_DISABLE |
			       TDX_ATTR_PERFMON;
	native_cpuid(m, 7, 0, r);
	if (r[2] & 1u << 31)
		m->attributes_fixed0 |= TDX_ATTR_PKS;
	native_cpuid(m, 7, 1, r);
	if (r[0] & 1u << 6)
		m->attributes_fixed0 |= TDX_ATTR_LASS;

	native_cpuid(m, 0xd, 0, r);
	m->xfam_fixed0 = r[0] | (uint64_t)r[3] << 32;
	native_cpuid(m, 0xd, 1, r);
	m->xfam_fixed0 |= r[2] | (uint64_t)r[3] << 32;
	m->xfam_fixed0 &= 0x6dbe7;

	native_cpuid(m, 0x80000008, SUBLEAF_NA, r);
	m->ept_5_level = (r[0] & 0xff) > 48;
}

#define XFAM_FIXED1	3ULL

void tdm_metadata_init(struct tdx_module *m)
{
	init_cpu_dependent(m);
	add_field(m, 0x0800000200000000, MODEL_VENDOR_ID);
	add_field(m, 0x8800000200000001, MODEL_BUILD_DATE);
	add_field(m, 0x8800000100000002, MODEL_BUILD_NUM);
	add_field(m, 0x0800000100000003, 5);		/* minor version */
	add_field(m, 0x0800000100000004, 1);		/* major version */
	add_field(m, 0x0800000100000005, 5);		/* update version */
	add_field(m, 0x0a00000300000008,
		  TDX_FEATURES0_PENDING_EPT_VIOLATION_V2 |
		  TDX_FEATURES0_NO_RBP_MOD | TDX_FEATURES0_TOPOLOGY_ENUM |
		  (m->p.clflush_before_alloc ?
		   TDX_FEATURES0_CLFLUSH_BEFORE_ALLOC : 0));
	add_cmr_fields(m);
	add_field(m, 0x9100000100000008, MAX_TDMRS);
	add_field(m, 0x9100000100000009, MAX_RESERVED);
	add_field(m, 0x9100000100000010, PAMT_ENTRY_SIZE);	/* 4K */
	add_field(m, 0x9100000100000011, PAMT_ENTRY_SIZE);	/* 2M */
	add_field(m, 0x9100000100000012, PAMT_ENTRY_SIZE);	/* 1G */
	add_field(m, 0x9800000100000000, SZ_4K);		/* TDR */
	add_field(m, 0x9800000100000100, TDCS_BASE_PAGES * SZ_4K);
	add_field(m, 0x9800000100000200, TDVPS_PAGES * SZ_4K);
	add_field(m, 0x1900000300000000, m->attributes_fixed0);
	add_field(m, 0x1900000300000001, 0);
	add_field(m, 0x1900000300000002, m->xfam_fixed0);
	add_field(m, 0x1900000300000003, XFAM_FIXED1);
	add_field(m, 0x9900000100000004, NUM_CPUID_CONFIG);
	add_field(m, 0x9900000100000008, MAX_VCPUS_PER_TD);
	add_cpuid_fields(m);
}

uint64_t tdm_sys_rd(struct call *c)
{
	struct tdx_module *m = c->m;
	uint64_t id = c->r[TDX_RDX];

	c->r[TDX_RCX] = 0;
	c->r[TDX_RDX] = FIELD_NONE;
	c->r[TDX_R8] = 0;
	if (!m->lps[c->cpu->lp].initialized)
		return TDX_SYS_LP_INIT_NOT_DONE;
	if (id & FIELD_RESERVED)
		return TDX_METADATA_FIELD_ID_INCORRECT;
	for (unsigned int i = 0; i < m->nr_sys_fields; i++) {
		if (FIELD_KEY(m->sys_fields[i].id) != FIELD_KEY(id))
			continue;
		c->r[TDX_R8] = m->sys_fields[i].value;
		if (i + 1 < m->nr_sys_fields)
			c->r[TDX_RDX] = m->sys_fields[i + 1].id;
		return TDX_SUCCESS;
	}
	return TDX_METADATA_FIELD_ID_INCORRECT;
}

static int cpuid_slot_of(uint32_t leaf, uint32_t subleaf)
{
	for (int i = 0; i < NUM_CPUID_CONFIG; i++)
		if (cpuid_slots[i].leaf == leaf &&
		    cpuid_slots[i].subleaf == subleaf)
			return i;
	return -1;
}

/* Domain types ascend from level to level, as do the shifts of the APIC id. */
static bool topology_valid(const uint32_t levels[][4])
{
	unsigned int type = 0, shift = 0;
	bool ended = false;

	for (unsigned int i = 0; i < 6; i++) {
		unsigned int next_type = levels[i][2] >> 8 & 0xff;
		unsigned int next_shift = levels[i][0] & 0x1f;

		if (!next_type) {
			if (levels[i][0] || levels[i][1])
				return false;
			ended = true;
			continue;
		}
		if (ended || next_type <= type || next_shift < shift)
			return false;
		type = next_type;
		shift = next_shift;
	}
	return true;
}

/**
 * tdm_cpuid_config_check() - check the CPUID values of TD_PARAMS
 * @m: the module
 * @td: its cpuid[] is checked
 * @bad: receives leaf | subleaf << 32 if the operand is invalid, else 0
 *
 * Returns the status of TDH.MNG.INIT.
 */
uint64_t tdm_cpuid_config_check(const struct tdx_module *m, const struct td *td,
				uint64_t *bad)
{
	for (unsigned int i = 0; i < NUM_CPUID_CONFIG; i++) {
		const struct cpuid_slot *slot = &cpuid_slots[i];
		const uint32_t *value = td->cpuid[i];
		uint32_t native[4];

		*bad = slot->leaf | (uint64_t)slot->subleaf << 32;
		for (unsigned int j = 0; j < 4; j++)
			if (value[j] & ~m->cpuid_config[i][j])
				return TDX_OPERAND_INVALID | OP_CPUID_CONFIG;
		if (slot->leaf == 1 && value[0]) {
			native_cpuid(m, 1, 0, native);
			if (value[0] != (native[0] & m->cpuid_config[i][0]))
				return TDX_OPERAND_INVALID | OP_CPUID_CONFIG;
		}
		/* HLE and RTM come together. */
		if (slot->leaf == 7 && slot->subleaf == 0 &&
		    (value[1] >> 4 & 1) != (value[1] >> 11 & 1))
			return TDX_OPERAND_INVALID | OP_CPUID_CONFIG;
	}
	*bad = 0;
	if (!topology_valid((const uint32_t (*)[4])&td->cpuid[CPUID_CONFIG_1F]))
		return TDX_CPUID_LEAF_1F_FORMAT_UNRECOGNIZED;
	return TDX_SUCCESS;
}

/* CPUID leaves that a TD sees; without subleaves where @nr is 0. */
static const struct { uint32_t leaf, nr; } td_cpuid_leaves[] = {
	{ 0x0, 0 }, { 0x1, 0 }, { 0x2, 0 }, { 0x3, 0 }, { 0x4, 5 }, { 0x5, 0 },
	{ 0x6, 0 }, { 0x7, 3 }, { 0x8, 0 }, { 0xa, 0 }, { 0xd, 19 },
	{ 0xe, 0 }, { 0x11, 0 }, { 0x12, 0 }, { 0x13, 0 }, { 0x14, 2 },
	{ 0x15, 0 }, { 0x19, 0 }, { 0x1c, 0 }, { 0x1d, 2 }, { 0x1e, 1 },
	{ 0x1f, 6 }, { 0x20, 1 }, { 0x22, 0 }, { 0x23, 4 },
	{ 0x80000000, 0 }, { 0x80000001, 0 }, { 0x80000002, 0 },
	{ 0x80000003, 0 }, { 0x80000004, 0 }, { 0x80000005, 0 },
	{ 0x80000006, 0 }, { 0x80000007, 0 }, { 0x80000008, 0 },
};

static bool td_has_cpuid(uint32_t leaf, uint32_t subleaf)
{
	size_t nr = sizeof(td_cpuid_leaves) / sizeof(td_cpuid_leaves[0]);

	for (size_t i = 0; i < nr; i++)
		if (td_cpuid_leaves[i].leaf == leaf)
			return td_cpuid_leaves[i].nr ?
			       subleaf < td_cpuid_leaves[i].nr :
			       subleaf == SUBLEAF_NA;
	return false;
}

static void td_cpuid(const struct tdx_module *m, const struct td *td,
		     uint32_t leaf, uint32_t subleaf, uint32_t r[4])
{
	int slot = cpuid_slot_of(leaf, subleaf);

	native_cpuid(m, leaf, subleaf, r);
	for (int j = 0; slot >= 0 && j < 4; j++) {
		uint32_t config = m->cpuid_config[slot][j];

		/* A signature of 0 stands for the native one. */
		if (leaf == 1 && j == 0 && !td->cpuid[slot][0])
			continue;
		r[j] = (r[j] & ~config) | (td->cpuid[slot][j] & config);
	}

	switch (leaf) {
	case 0x0:
		r[0] = 0x23;
		break;
	case 0x1:
		r[2] &= ~(1u << 5 | 1u << 6);		/* VMX, SMX */
		r[2] |= 1u << 21 | 1u << 31;		/* x2APIC, hypervisor */
		break;
	case 0x7:
		if (subleaf == 0) {
			r[1] &= ~(1u << 2);		/* SGX */
			r[2] &= ~(1u << 30);		/* SGX_LC */
		}
		break;
	case 0xa:
	case 0x23:
		if (!(td->attributes & TDX_ATTR_PERFMON))
			memset(r, 0, 4 * sizeof(*r));
		break;
	case 0xd:
		if (subleaf == 0) {
			r[0] &= (uint32_t)td->xfam;
			r[3] = 0;
		} else if (subleaf > 1 && !(td->xfam >> subleaf & 1)) {
			memset(r, 0, 4 * sizeof(*r));
		}
		break;
	case 0x80000000:
		r[0] = 0x80000008;
		break;
	}
}

static uint64_t td_field_read(const struct tdx_module *m, const struct td *td,
			      uint64_t id, uint64_t *value)
{
	uint32_t leaf, subleaf, r[4];

	if (id & FIELD_RESERVED)
		return TDX_METADATA_FIELD_ID_INCORRECT;
	switch (FIELD_KEY(id)) {
	case 0x11ULL << 56 | 0x0:
		*value = td->attributes;
		return TDX_SUCCESS;
	case 0x11ULL << 56 | 0x1:
		*value = td->xfam;
		return TDX_SUCCESS;
	case 0x11ULL << 56 | 0xa:
		*value = td->tsc_offset;
		return TDX_SUCCESS;
	case 0x11ULL << 56 | 0xb:
		*value = td->tsc_multiplier;
		return TDX_SUCCESS;
	}

	/* Class 14h: leaf[31] [16], leaf[6:0] [15:9], subleaf [8:1], pair [0] */
	if ((id >> 56 & 0x3f) != 0x14 || id & 0xfe0000)
		return TDX_METADATA_FIELD_ID_INCORRECT;
	leaf = (uint32_t)((id >> 16 & 1) << 31 | (id >> 9 & 0x7f));
	subleaf = id >> 1 & 0xff;
	if (subleaf == 0xff)
		subleaf = SUBLEAF_NA;
	if (!td_has_cpuid(leaf, subleaf))
		return TDX_METADATA_FIELD_ID_INCORRECT;
	td_cpuid(m, td, leaf, subleaf, r);
	*value = id & 1 ? r[2] | (uint64_t)r[3] << 32 :
			  r[0] | (uint64_t)r[1] << 32;
	return TDX_SUCCESS;
}

uint64_t tdm_mng_rd(struct call *c)
{
	uint64_t id = c->r[TDX_RDX];
	struct td *td;

	c->r[TDX_R8] = 0;
	TRY(tdm_td_get(c, c->r[TDX_RCX], OP_RCX, SHARED, &td));
	TRY(tdm_td_check(td, 1 << OP_INITIALIZED | 1 << OP_RUNNABLE));
	return td_field_read(c->m, td, id, &c->r[TDX_R8]);
}

/* VMCS fields, class 0: the code is the encoding of the field. */
#define VMCS_PI_VECTOR		0x0002ULL
#define VMCS_PI_DESCRIPTOR	0x2016ULL
#define VMCS_SHARED_EPTP	0x203cULL
#define VMCS_PIN_CONTROLS	0x4000ULL
#define VCPU_PEND_NMI		(0x20ULL << 56 | 0xb)
#define VCPU_STATE_DETAILS	(0x11ULL << 56 | 0x100)

#define PIN_POSTED_INTERRUPTS	(1ULL << 7)
#define EPTP_ADDRESS		0x000ffffffffff000ULL

uint64_t tdm_vcpu_field_read(const struct vcpu *v, uint64_t id,
			     uint64_t *value)
{
	if (id & FIELD_RESERVED)
		return TDX_METADATA_FIELD_ID_INCORRECT;
	switch (FIELD_KEY(id)) {
	case VMCS_PI_VECTOR:
		*value = v->pi_vector;
		return TDX_SUCCESS;
	case VMCS_PI_DESCRIPTOR:
		*value = v->pi_descriptor;
		return TDX_SUCCESS;
	case VMCS_SHARED_EPTP:
		*value = v->shared_eptp;
		return TDX_SUCCESS;
	case VMCS_PIN_CONTROLS:
		*value = v->pin_controls;
		return TDX_SUCCESS;
	case VCPU_PEND_NMI:
		*value = v->pend_nmi;
		return TDX_SUCCESS;
	case VCPU_STATE_DETAILS:
		*value = 0;		/* no virtual interrupt is deliverable */
		return TDX_SUCCESS;
	}
	return TDX_METADATA_FIELD_ID_INCORRECT;
}

/* Bits of the field that the host may write. */
static uint64_t writable_bits(uint64_t id)
{
	switch (FIELD_KEY(id)) {
	case VMCS_PI_VECTOR:
		return 0xffff;
	case VMCS_PI_DESCRIPTOR:
		return UINT64_MAX;
	case VMCS_SHARED_EPTP:
		return EPTP_ADDRESS;
	case VMCS_PIN_CONTROLS:
		return PIN_POSTED_INTERRUPTS;
	case VCPU_PEND_NMI:
		return 0xff;
	}
	return 0;
}

static uint64_t vcpu_field_set(const struct tdx_module *m, struct vcpu *v,
			       uint64_t id, uint64_t value)
{
	switch (FIELD_KEY(id)) {
	case VMCS_PI_VECTOR:
		if (value > 0xff)
			break;
		v->pi_vector = (uint16_t)value;
		return TDX_SUCCESS;
	case VMCS_PI_DESCRIPTOR:
		if (!tdm_is_shared_hpa(m, value, 64))
			break;
		v->pi_descriptor = value;
		return TDX_SUCCESS;
	case VMCS_SHARED_EPTP:
		if (!tdm_is_shared_hpa(m, value & EPTP_ADDRESS, SZ_4K))
			break;
		v->shared_eptp = value;
		return TDX_SUCCESS;
	case VMCS_PIN_CONTROLS:
		if (value & PIN_POSTED_INTERRUPTS) {
			if (v->pi_vector > 0xff)
				return TDX_TD_VMCS_FIELD_NOT_INITIALIZED |
				       VMCS_PI_VECTOR;
			if (v->pi_descriptor == UINT64_MAX)
				return TDX_TD_VMCS_FIELD_NOT_INITIALIZED |
				       VMCS_PI_DESCRIPTOR;
		}
		v->pin_controls = (uint32_t)value;
		return TDX_SUCCESS;
	case VCPU_PEND_NMI:
		if (value > 1)
			break;
		v->pend_nmi = (uint8_t)value;
		return TDX_SUCCESS;
	}
	return TDX_METADATA_FIELD_VALUE_NOT_VALID;
}

uint64_t tdm_vcpu_field_write(const struct tdx_module *m, struct vcpu *v,
			      uint64_t id, uint64_t value, uint64_t mask,
			      uint64_t *old)
{
	uint64_t writable = writable_bits(id), was, now;

	TRY(tdm_vcpu_field_read(v, id, &was));
	if (!(mask & writable))
		return TDX_METADATA_FIELD_NOT_WRITABLE;
	now = (was & ~mask) | (value & mask);
	if ((now ^ was) & ~writable)
		return TDX_METADATA_FIELD_VALUE_NOT_VALID;
	TRY(vcpu_field_set(m, v, id, now));
	*old = was;
	return TDX_SUCCESS;
}
