// SPDX-License-Identifier: LGPL-2.1-or-later
/* vCPUs: creation, association with LPs, TDH.VP.ENTER and TD exits. */
#include "internal.h"

#include <stdlib.h>

#define OP_STATES_VCPU	(1u << OP_INITIALIZED | 1u << OP_RUNNABLE)

#define VP_ENTER_TDVPR		0x000ffffffffff000ULL
#define VP_ENTER_RECOVERED	(1ULL << 52)

#define EXIT_REASON_NMI		0
#define EXIT_REASON_INTERRUPT	1
#define EXIT_REASON_TDCALL	77

#define INTR_INFO_VALID		0x80000000ULL
#define INTR_INFO_NMI		(2ULL << 8 | 2)

#define PIN_BASE_CONTROLS	0x3f	/* exit on interrupts and NMIs */
#define PIN_POSTED_INTERRUPTS	(1u << 7)

/* Locks the TDVPR page that RCX (or RDX: @op) names, and its TDR. */
static uint64_t get_vcpu(struct call *c, uint64_t pa, enum operand_id op,
			 enum lock_mode mode, enum lock_mode tdr_mode,
			 struct vcpu **v)
{
	struct page_ref ref;

	TRY(tdm_page_get(c, pa, op, mode, PT_TDVPR, &ref));
	*v = ref.entry->vcpu;
	if (!tdm_lock(c, &(*v)->td->page->lock, tdr_mode))
		return TDX_OPERAND_BUSY | OP_TDR;
	return TDX_SUCCESS;
}

uint64_t tdm_vp_create(struct call *c)
{
	struct page_ref ref;
	struct vcpu *v;
	struct td *td;

	TRY(tdm_td_get(c, c->r[TDX_RDX], OP_RDX, SHARED, &td));
	TRY(tdm_td_check(td, 1 << OP_INITIALIZED));
	TRY(tdm_page_get(c, c->r[TDX_RCX], OP_RCX, EXCL, PT_NDA, &ref));

	v = calloc(1, sizeof(*v));
	if (!v)
		abort();
	v->td = td;
	v->page = ref.entry;
	v->pa = ref.pa;
	v->lp = -1;
	v->next = td->vcpus;
	td->vcpus = v;
	tdm_page_assign(c->m, &ref, PT_TDVPR, td, v);
	return TDX_SUCCESS;
}

void tdm_vcpu_free(struct vcpu *v)
{
	struct vcpu **link = &v->td->vcpus;

	while (*link != v)
		link = &(*link)->next;
	*link = v->next;
	free(v);
}

uint64_t tdm_vp_addcx(struct call *c)
{
	struct page_ref ref;
	struct vcpu *v;

	TRY(get_vcpu(c, c->r[TDX_RDX], OP_RDX, EXCL, SHARED, &v));
	TRY(tdm_td_check(v->td, 1 << OP_INITIALIZED));
	if (v->state != VCPU_UNINITIALIZED)
		return TDX_VCPU_STATE_INCORRECT;
	if (v->num_tdcx == TDVPS_PAGES - 1)
		return TDX_TDCX_NUM_INCORRECT;
	TRY(tdm_page_get(c, c->r[TDX_RCX], OP_RCX, EXCL, PT_NDA, &ref));

	v->num_tdcx++;
	tdm_page_assign(c->m, &ref, PT_TDCX, v->td, NULL);
	return TDX_SUCCESS;
}

/* A vCPU runs, and has its VMCS cached, on the LP that it is associated with. */
static uint64_t associate(struct call *c, struct vcpu *v)
{
	if (v->lp == (int)c->cpu->lp)
		return TDX_SUCCESS;
	if (v->lp >= 0)
		return TDX_VCPU_ASSOCIATED;
	v->lp = (int)c->cpu->lp;
	v->td->num_assoc++;
	return TDX_SUCCESS;
}

static bool x2apic_id_unique(const struct td *td, uint64_t id)
{
	for (const struct vcpu *v = td->vcpus; v; v = v->next)
		if (v->has_x2apic_id && v->x2apic_id == id)
			return false;
	return true;
}

uint64_t tdm_vp_init(struct call *c)
{
	uint64_t id = c->r[TDX_R8];
	bool with_id = c->version >= 1;
	struct vcpu *v;
	struct td *td;

	TRY(get_vcpu(c, c->r[TDX_RCX], OP_RCX, EXCL, with_id ? EXCL : SHARED,
		     &v));
	td = v->td;
	TRY(tdm_td_check(td, 1 << OP_INITIALIZED));
	if (v->num_tdcx < TDVPS_PAGES - 1)
		return TDX_TDCX_NUM_INCORRECT;
	if (v->state != VCPU_UNINITIALIZED)
		return TDX_VCPU_STATE_INCORRECT;
	if (td->num_vcpus >= td->max_vcpus)
		return TDX_MAX_VCPUS_EXCEEDED;
	if (with_id && id >> 32)
		return TDX_OPERAND_INVALID | OP_R8;
	if (with_id && !x2apic_id_unique(td, id))
		return TDX_X2APIC_ID_NOT_UNIQUE | id;
	if (c->cpu->tsc_adjust != c->m->tsc_adjust)
		return TDX_INCONSISTENT_MSR | MSR_TSC_ADJUST;

	v->index = td->num_vcpus++;
	v->state = VCPU_READY;
	v->has_x2apic_id = with_id;
	v->x2apic_id = (uint32_t)id;
	v->initial_rcx = c->r[TDX_RDX];
	v->pi_vector = 0xffff;
	v->pi_descriptor = UINT64_MAX;
	v->pin_controls = PIN_BASE_CONTROLS;
	return associate(c, v);
}

uint64_t tdm_vp_flush(struct call *c)
{
	struct vcpu *v;

	TRY(get_vcpu(c, c->r[TDX_RCX], OP_RCX, EXCL, SHARED, &v));
	if (v->td->lifecycle != TD_KEYS_CONFIGURED)
		return TDX_TD_KEYS_NOT_CONFIGURED;
	if (v->lp != (int)c->cpu->lp)
		return TDX_VCPU_NOT_ASSOCIATED;
	v->lp = -1;
	v->td->num_assoc--;
	return TDX_SUCCESS;
}

static uint64_t get_vcpu_for_fields(struct call *c, struct vcpu **v)
{
	TRY(get_vcpu(c, c->r[TDX_RCX], OP_RCX, SHARED, SHARED, v));
	TRY(tdm_td_check((*v)->td, OP_STATES_VCPU));
	if ((*v)->state == VCPU_UNINITIALIZED)
		return TDX_VCPU_STATE_INCORRECT;
	return TDX_SUCCESS;
}

uint64_t tdm_vp_rd(struct call *c)
{
	uint64_t value;
	struct vcpu *v;

	c->r[TDX_R8] = 0;
	TRY(get_vcpu_for_fields(c, &v));
	TRY(tdm_vcpu_field_read(v, c->r[TDX_RDX], &value));
	TRY(associate(c, v));
	c->r[TDX_R8] = value;
	return TDX_SUCCESS;
}

uint64_t tdm_vp_wr(struct call *c)
{
	uint64_t id = c->r[TDX_RDX], value = c->r[TDX_R8], old;
	struct vcpu *v;

	c->r[TDX_R8] = 0;
	TRY(get_vcpu_for_fields(c, &v));
	TRY(tdm_vcpu_field_read(v, id, &old));
	TRY(associate(c, v));
	TRY(tdm_vcpu_field_write(c->m, v, id, value, c->r[TDX_R9], &old));
	c->r[TDX_R8] = old;
	return TDX_SUCCESS;
}

static void enter_guest(struct call *c, struct vcpu *v)
{
	v->epoch = v->td->epoch;
	v->td->refcount[v->epoch & 1]++;
	v->state = VCPU_ACTIVE;
	v->pend_nmi = 0;	/* the guest takes it */
	c->m->lps[c->cpu->lp].in_guest = v;
}

/* What the exit does to vCPU and TD; @status is RAX. */
static void leave_guest(struct tdx_module *m, struct tdx_cpu *cpu,
			uint64_t status)
{
	struct vcpu *v = m->lps[cpu->lp].in_guest;
	struct td *td = v->td;

	m->lps[cpu->lp].in_guest = NULL;
	v->state = VCPU_READY;
	v->exit_tsc = cpu->tsc;
	if (status == EXIT_REASON_TDCALL)
		v->last_exit = TDVMCALL;
	else if (status & TDX_STATUS_HOST_RECOVERABLE)
		v->last_exit = ASYNC_TRAP;
	else
		v->last_exit = ASYNC_FAULT;

	if ((status & TDX_STATUS_MASK) == TDX_NON_RECOVERABLE_TD_NON_ACCESSIBLE)
		td->refcount_leaked[v->epoch & 1]++;
	else
		td->refcount[v->epoch & 1]--;
	if (status & TDX_STATUS_FATAL) {
		td->fatal = true;
		tdm_log(m, "TD %#llx: fatal exit, status %016llx",
			(unsigned long long)td->pa, (unsigned long long)status);
	} else if (status & TDX_STATUS_NON_RECOVERABLE) {
		v->state = VCPU_DISABLED;
	}
}

/* Registers of a TDVMCALL: those that the guest exposes by its mask in RCX. */
static void write_tdvmcall(uint64_t *r, const uint64_t *guest)
{
	uint64_t mask = guest[TDX_RCX] & 0xffffffff;

	r[TDX_RAX] = guest[TDX_RAX];
	r[TDX_RCX] = mask;
	for (unsigned int i = TDX_RDX; i < TDX_NR_GPRS; i++)
		if (i != TDX_RSP && i != TDX_RBP)
			r[i] = mask & 1u << i ? guest[i] : 0;
}

static void write_async_exit(uint64_t *r, uint64_t status, uint64_t rcx,
			     uint64_t rdx, uint64_t gpa, uint64_t intr_info)
{
	for (unsigned int i = 0; i < TDX_NR_GPRS; i++)
		if (i != TDX_RSP && i != TDX_RBP)
			r[i] = 0;
	r[TDX_RAX] = status;
	r[TDX_RCX] = rcx;
	r[TDX_RDX] = rdx;
	r[TDX_R8] = gpa & ~(SZ_4K - 1);
	r[TDX_R9] = intr_info;
}

static void scripted_exit(struct tdx_module *m, struct tdx_cpu *cpu)
{
	const uint64_t *guest = m->script.gpr;

	leave_guest(m, cpu, guest[TDX_RAX]);
	if (guest[TDX_RAX] == EXIT_REASON_TDCALL)
		write_tdvmcall(cpu->gpr, guest);
	else
		write_async_exit(cpu->gpr, guest[TDX_RAX], guest[TDX_RCX],
				 guest[TDX_RDX], guest[TDX_R8], guest[TDX_R9]);
}

/*
 * The CPU consumes an interrupt with the notification vector itself: it posts
 * the PIR to the guest and does the EOI, without an exit.
 */
static bool is_notification(const struct vcpu *v, uint8_t vector)
{
	return v->pin_controls & PIN_POSTED_INTERRUPTS &&
	       v->pi_vector == vector;
}

/* Returns true if the TD has exited for an NMI or an interrupt. */
static bool event_exit(struct tdx_module *m, struct tdx_cpu *cpu)
{
	const struct vcpu *v = m->lps[cpu->lp].in_guest;
	uint64_t status, info;

	for (;;) {
		uint8_t vector;

		if (m->p.nmi_pending(m->p.ctx, cpu->lp)) {
			m->p.nmi_ack(m->p.ctx, cpu->lp);
			status = EXIT_REASON_NMI;
			info = INTR_INFO_VALID | INTR_INFO_NMI;
			break;
		}
		if (!m->p.interrupt_pending(m->p.ctx, cpu->lp))
			return false;
		vector = m->p.interrupt_ack(m->p.ctx, cpu->lp);
		if (!is_notification(v, vector)) {
			status = EXIT_REASON_INTERRUPT;
			info = INTR_INFO_VALID | vector;
			break;
		}
		if (m->p.interrupt_eoi)
			m->p.interrupt_eoi(m->p.ctx, cpu->lp);
	}
	leave_guest(m, cpu, status);
	write_async_exit(cpu->gpr, status, 0, 0, 0, info);
	return true;
}

uint64_t tdm_vp_enter(struct call *c)
{
	uint64_t rcx = c->r[TDX_RCX];
	struct vcpu *v;

	/* Bit 53 resumes an L1 VMM, and there are no L2 VMs. */
	if (rcx & ~(VP_ENTER_TDVPR | VP_ENTER_RECOVERED))
		return TDX_OPERAND_INVALID | OP_RCX;
	TRY(get_vcpu(c, rcx & VP_ENTER_TDVPR, OP_RCX, SHARED, SHARED, &v));
	TRY(tdm_td_check(v->td, 1 << OP_RUNNABLE));
	if (v->state != VCPU_READY)
		return TDX_VCPU_STATE_INCORRECT;
	TRY(associate(c, v));
	if (rcx & VP_ENTER_RECOVERED && v->last_exit != ASYNC_TRAP)
		return TDX_OPERAND_INVALID | OP_RCX;
	if (c->cpu->tsc_adjust != c->m->tsc_adjust)
		return TDX_INCONSISTENT_MSR | MSR_TSC_ADJUST;
	if ((int64_t)(c->cpu->tsc - v->exit_tsc) < 0)
		return TDX_TSC_ROLLBACK;

	/* Nobody else needs it once the vCPU is in the epoch. */
	if (v->td->epoch_lock.excl) {
		c->m->locks_busy++;
		return TDX_OPERAND_BUSY | OP_TD_EPOCH;
	}
	enter_guest(c, v);
	if (c->m->script.mode == TDX_SCRIPT_EXIT)
		scripted_exit(c->m, c->cpu);
	else if (!event_exit(c->m, c->cpu))
		c->outcome = TDX_IN_GUEST;
	return c->r[TDX_RAX];
}

enum tdx_outcome tdx_guest_poll(struct tdx_module *m, struct tdx_cpu *cpu)
{
	cpu->ticks = 0;
	if (!m->lps[cpu->lp].in_guest)
		return TDX_DONE;
	if (!event_exit(m, cpu))
		return TDX_IN_GUEST;
	tdm_take_time(m, cpu, LEAF_VP_ENTER, 0);
	return TDX_DONE;
}
