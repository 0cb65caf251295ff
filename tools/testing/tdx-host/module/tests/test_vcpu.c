// SPDX-License-Identifier: LGPL-2.1-or-later
/* vCPUs: creation, association, fields, TDH.VP.ENTER, the locks it holds. */
#include "tests/test.h"

static const struct tdx_script stay = { .mode = TDX_SCRIPT_STAY };

static void script_exit(struct rig *r, uint64_t rax)
{
	struct tdx_script s = { .mode = TDX_SCRIPT_EXIT };

	for (int i = 0; i < TDX_NR_GPRS; i++)
		s.gpr[i] = 0x1000000 + 0x1111 * (uint64_t)i;
	s.gpr[TDX_RAX] = rax;
	tdx_set_script(r->m, &s);
}

static void create_and_init(void **state)
{
	struct rig *r = *state;
	uint64_t tdvpr, page;
	struct rig_td td;

	assert_true(rig_td_init(r, &td, RIG_HKID));
	tdvpr = rig_frame(r);
	expect(TDX_PAGE_METADATA_INCORRECT | 2, call(r, VP_CREATE, tdvpr, tdvpr));
	expect(TDX_OPERAND_BUSY | 1, call(r, VP_CREATE, td.tdr, td.tdr));
	expect(TDX_PAGE_METADATA_INCORRECT | 1,
	       call(r, VP_CREATE, td.tdcx[0], td.tdr));
	ok(call(r, VP_CREATE, tdvpr, td.tdr));

	expect(TDX_PAGE_METADATA_INCORRECT | 2, call(r, VP_ADDCX, 0, td.tdr));
	expect(TDX_OPERAND_BUSY | 1, call(r, VP_ADDCX, tdvpr, tdvpr));
	expect(TDX_OPERAND_BUSY | 1, call(r, VP_ADDCX, td.tdr, tdvpr));
	for (int i = 0; i < 5; i++) {
		expect(TDX_TDCX_NUM_INCORRECT, call(r, VP_INIT, tdvpr, 0, 7));
		expect(TDX_VCPU_STATE_INCORRECT, call(r, VP_RD, tdvpr, 0x2016));
		expect(TDX_VCPU_STATE_INCORRECT, call(r, VP_WR, tdvpr, 0x2016));
		page = rig_frame(r);
		ok(call(r, VP_ADDCX, page, tdvpr));
	}
	expect(TDX_TDCX_NUM_INCORRECT, call(r, VP_ADDCX, rig_frame(r), tdvpr));
	expect(TDX_VCPU_NOT_ASSOCIATED, call(r, VP_FLUSH, tdvpr));

	expect(TDX_OPERAND_INVALID | 8, call(r, VP_INIT, tdvpr, 0, 1ULL << 32));
	r->tsc_adjust[0] = 1;
	expect(TDX_INCONSISTENT_MSR | 0x3b, call(r, VP_INIT, tdvpr, 0, 7));
	r->tsc_adjust[0] = 0;
	ok(call(r, VP_INIT, tdvpr, 0x1234, 7));
	expect(TDX_VCPU_STATE_INCORRECT, call(r, VP_INIT, tdvpr, 0, 8));
	expect(TDX_VCPU_STATE_INCORRECT, call(r, VP_ADDCX, rig_frame(r), tdvpr));
}

static void x2apic_id_and_limit(void **state)
{
	struct rig *r = *state;
	struct rig_td td;

	assert_true(rig_td_tdcs(r, &td, RIG_HKID));
	((uint8_t *)rig_td_params(r))[16] = 2;		/* MAX_VCPUS */
	ok(call(r, MNG_INIT, td.tdr, RIG_TD_PARAMS));
	assert_true(rig_td_vcpu(r, &td, 0));
	/* the rig's second vCPU has id 1: make it fail first */
	for (int n = 1; n < 3; n++) {
		td.tdvpr[n] = rig_frame(r);
		ok(call(r, VP_CREATE, td.tdvpr[n], td.tdr));
		for (int i = 0; i < 5; i++)
			ok(call(r, VP_ADDCX, rig_frame(r), td.tdvpr[n]));
	}
	expect(TDX_X2APIC_ID_NOT_UNIQUE | 0, call(r, VP_INIT, td.tdvpr[1], 0, 0));
	ok(call(r, VP_INIT, td.tdvpr[1], 0, 0xffffffff));
	expect(TDX_MAX_VCPUS_EXCEEDED,
	       call(r, VP_INIT, td.tdvpr[2], 0, 1ULL << 40));
}

static void x2apic_id_value(void **state)
{
	struct rig *r = *state;
	struct rig_td td;

	assert_true(rig_td_init(r, &td, RIG_HKID));
	for (int n = 0; n < 2; n++) {
		td.tdvpr[n] = rig_frame(r);
		ok(call(r, VP_CREATE, td.tdvpr[n], td.tdr));
		for (int i = 0; i < 5; i++)
			ok(call(r, VP_ADDCX, rig_frame(r), td.tdvpr[n]));
	}
	ok(call(r, VP_INIT, td.tdvpr[0], 0, 0x55));
	expect(TDX_X2APIC_ID_NOT_UNIQUE | 0x55,
	       call(r, VP_INIT, td.tdvpr[1], 0, 0x55));
	/* v0 has no id, and R8 is no operand */
	ok(call(r, VP_INIT_V0, td.tdvpr[1], 0, 0x55));
}

static void association(void **state)
{
	struct rig *r = *state;
	struct rig_td td;
	uint64_t vp;

	assert_true(rig_td_runnable(r, &td, RIG_HKID));
	vp = td.tdvpr[0];
	/* VP.INIT ran on LP 0 */
	expect(TDX_VCPU_ASSOCIATED, call_on(r, 1, VP_ENTER, vp));
	expect(TDX_VCPU_ASSOCIATED, call_on(r, 1, VP_RD, vp, 0x2016));
	expect(TDX_VCPU_ASSOCIATED,
	       call_on(r, 1, VP_WR, vp, 0x200000000000000b, 1, 1));
	expect(TDX_VCPU_NOT_ASSOCIATED, call_on(r, 1, VP_FLUSH, vp));
	ok(call_on(r, 0, VP_FLUSH, vp));
	expect(TDX_VCPU_NOT_ASSOCIATED, call_on(r, 0, VP_FLUSH, vp));

	/* each of these associates */
	expect(77, call_on(r, 1, VP_ENTER, vp));
	expect(TDX_VCPU_ASSOCIATED, call_on(r, 0, VP_ENTER, vp));
	expect(TDX_FLUSHVP_NOT_DONE, call(r, VPFLUSHDONE, td.tdr));
	ok(call_on(r, 1, VP_FLUSH, vp));
	ok(call_on(r, 2, VP_RD, vp, 0x2016));
	expect(TDX_VCPU_ASSOCIATED, call_on(r, 1, VP_ENTER, vp));
	ok(call_on(r, 2, VP_FLUSH, vp));
	ok(call_on(r, 3, VP_WR, vp, 0x200000000000000b, 1, 1));
	expect(TDX_VCPU_ASSOCIATED, call_on(r, 2, VP_ENTER, vp));
	ok(call_on(r, 3, VP_FLUSH, vp));

	/* a failed entry past the association leaves the vCPU associated */
	r->tsc_adjust[1] = 1;
	expect(TDX_INCONSISTENT_MSR | 0x3b, call_on(r, 1, VP_ENTER, vp));
	expect(TDX_FLUSHVP_NOT_DONE, call(r, VPFLUSHDONE, td.tdr));
	ok(call_on(r, 1, VP_FLUSH, vp));
	ok(call(r, VPFLUSHDONE, td.tdr));
}

#define FIELD_PI_VECTOR		0x0002
#define FIELD_PI_DESC		0x2016
#define FIELD_EPTP		0x203c
#define FIELD_PIN		0x4000
#define FIELD_PEND_NMI		0x200000000000000bULL
#define FIELD_DETAILS		0x9100000000000100ULL

static void fields(void **state)
{
	struct rig *r = *state;
	struct rig_td td;
	uint64_t vp, pin;

	assert_true(rig_td_runnable(r, &td, RIG_HKID));
	vp = td.tdvpr[0];
	expect(TDX_METADATA_FIELD_ID_INCORRECT, call(r, VP_RD, vp, 0x6000));
	assert_int_equal(out(r, R8), 0);
	expect(TDX_METADATA_FIELD_ID_INCORRECT,
	       call(r, VP_WR, vp, 0x6000, 0, UINT64_MAX));
	ok(call(r, VP_RD, vp, FIELD_DETAILS));
	assert_int_equal(out(r, R8), 0);
	expect(TDX_METADATA_FIELD_NOT_WRITABLE,
	       call(r, VP_WR, vp, FIELD_DETAILS, 1, 1));

	/* posted interrupts want vector and descriptor first */
	ok(call(r, VP_RD, vp, FIELD_PIN));
	pin = out(r, R8);
	expect(TDX_TD_VMCS_FIELD_NOT_INITIALIZED | FIELD_PI_VECTOR,
	       call(r, VP_WR, vp, FIELD_PIN, 0x80, 0x80));
	expect(TDX_METADATA_FIELD_VALUE_NOT_VALID,
	       call(r, VP_WR, vp, FIELD_PI_VECTOR, 256, 0xffff));
	ok(call(r, VP_WR, vp, FIELD_PI_VECTOR, 0xf2, 0xffff));
	assert_int_equal(out(r, R8), 0xffff);
	expect(TDX_TD_VMCS_FIELD_NOT_INITIALIZED | FIELD_PI_DESC,
	       call(r, VP_WR, vp, FIELD_PIN, 0x80, 0x80));
	expect(TDX_METADATA_FIELD_VALUE_NOT_VALID,
	       call(r, VP_WR, vp, FIELD_PI_DESC, 0x6020, UINT64_MAX));
	expect(TDX_METADATA_FIELD_VALUE_NOT_VALID,
	       call(r, VP_WR, vp, FIELD_PI_DESC,
		    (uint64_t)RIG_HKID << RIG_KEYID_SHIFT, UINT64_MAX));
	ok(call(r, VP_WR, vp, FIELD_PI_DESC, RIG_PI_DESCRIPTOR, UINT64_MAX));
	assert_true(out(r, R8) == UINT64_MAX);
	expect(TDX_METADATA_FIELD_NOT_WRITABLE,
	       call(r, VP_WR, vp, FIELD_PIN, 0, 1));
	expect(TDX_METADATA_FIELD_VALUE_NOT_VALID,
	       call(r, VP_WR, vp, FIELD_PIN, 0x80, 0xff));
	ok(call(r, VP_WR, vp, FIELD_PIN, 0x80, 0x80));
	assert_int_equal(out(r, R8), pin);
	ok(call(r, VP_RD, vp, FIELD_PIN));
	assert_int_equal(out(r, R8), pin | 0x80);

	expect(TDX_METADATA_FIELD_VALUE_NOT_VALID,
	       call(r, VP_WR, vp, FIELD_EPTP,
		    (uint64_t)RIG_HKID << RIG_KEYID_SHIFT, UINT64_MAX));
	ok(call(r, VP_WR, vp, FIELD_EPTP, RIG_SHARED_EPTP, UINT64_MAX << 12));
	ok(call(r, VP_RD, vp, FIELD_EPTP));
	assert_int_equal(out(r, R8), RIG_SHARED_EPTP);

	expect(TDX_METADATA_FIELD_VALUE_NOT_VALID,
	       call(r, VP_WR, vp, FIELD_PEND_NMI, 2, 0xff));
	ok(call(r, VP_WR, vp, FIELD_PEND_NMI, 1, 0xff));
	ok(call(r, VP_RD, vp, FIELD_PEND_NMI));
	assert_int_equal(out(r, R8), 1);
	expect(77, call(r, VP_ENTER, vp));
	ok(call(r, VP_RD, vp, FIELD_PEND_NMI));
	assert_int_equal(out(r, R8), 0);
}

static void enter_errors(void **state)
{
	struct rig *r = *state;
	struct rig_td td, fresh;
	uint64_t vp;

	assert_true(rig_td_runnable(r, &td, RIG_HKID));
	vp = td.tdvpr[0];
	expect(TDX_OPERAND_INVALID | 1, call(r, VP_ENTER, vp | 1));
	expect(TDX_OPERAND_INVALID | 1, call(r, VP_ENTER, vp | 1ULL << 53));
	expect(TDX_OPERAND_INVALID | 1, call(r, VP_ENTER, vp | 1ULL << 54));
	expect(TDX_OPERAND_INVALID | 1,
	       call(r, VP_ENTER, vp | 1ULL << RIG_KEYID_SHIFT));
	expect(TDX_OPERAND_ADDR_RANGE_ERROR | 1, call(r, VP_ENTER, 0x1000));
	expect(TDX_PAGE_METADATA_INCORRECT | 1, call(r, VP_ENTER, td.tdr));
	/* the hint is for an exit that was a trap */
	expect(TDX_OPERAND_INVALID | 1, call(r, VP_ENTER, vp | 1ULL << 52));
	script_exit(r, TDX_CROSS_TD_TRAP);
	expect(TDX_CROSS_TD_TRAP, call(r, VP_ENTER, vp));
	expect(TDX_CROSS_TD_TRAP, call(r, VP_ENTER, vp | 1ULL << 52));

	r->tsc -= 100000;
	expect(TDX_TSC_ROLLBACK, call(r, VP_ENTER, vp));
	r->tsc += 100000;

	assert_true(rig_td_init(r, &fresh, RIG_HKID + 1));
	ok(call(r, VP_CREATE, fresh.tdvpr[0] = rig_frame(r), fresh.tdr));
	expect(TDX_OP_STATE_INCORRECT, call(r, VP_ENTER, fresh.tdvpr[0]));
}

static void enter_uninitialized(void **state)
{
	struct rig *r = *state;
	struct rig_td td;
	uint64_t vp;

	assert_true(rig_td_init(r, &td, RIG_HKID));
	assert_true(rig_td_vcpu(r, &td, 0));
	ok(call(r, VP_CREATE, vp = rig_frame(r), td.tdr));
	ok(call(r, MR_FINALIZE, td.tdr));
	expect(TDX_VCPU_STATE_INCORRECT, call(r, VP_ENTER, vp));
	expect(TDX_VCPU_NOT_ASSOCIATED, call(r, VP_FLUSH, vp));
}

static void tdvmcall_exit(void **state)
{
	struct rig *r = *state;
	struct tdx_script s;
	struct rig_td td;

	assert_true(rig_td_runnable(r, &td, RIG_HKID));
	/* the default: OUT of a byte, which KVM gives to userspace */
	expect(77, call(r, VP_ENTER, td.tdvpr[0]));
	assert_int_equal(out(r, RCX), 0xfc00);
	assert_int_equal(out(r, R10), 0);
	assert_int_equal(out(r, R11), 30);
	assert_int_equal(out(r, R12), 1);
	assert_int_equal(out(r, R13), 1);
	assert_int_equal(out(r, RDX) | out(r, RBX) | out(r, RSI) | out(r, RDI) |
			 out(r, R8) | out(r, R9), 0);

	script_exit(r, 77);
	tdx_get_script(r->m, &s);
	s.gpr[TDX_RCX] = 1ULL << 40 | 1 << TDX_RBX | 1 << TDX_R15 |
			 1 << TDX_RBP | 1 << TDX_RSP;
	tdx_set_script(r->m, &s);
	expect(77, call(r, VP_ENTER, td.tdvpr[0]));
	for (int i = TDX_RDX; i < TDX_NR_GPRS; i++) {
		if (i == TDX_RBP || i == TDX_RSP)
			assert_int_equal(r->out[i], 0xdead0000 + i);
		else
			assert_int_equal(r->out[i], i == TDX_RBX || i == TDX_R15 ?
					 s.gpr[i] : 0);
	}
	assert_int_equal(out(r, RCX), s.gpr[TDX_RCX] & 0xffffffff);
}

static void async_exit(void **state)
{
	struct rig *r = *state;
	struct tdx_script s;
	struct rig_td td;

	assert_true(rig_td_runnable(r, &td, RIG_HKID));
	script_exit(r, 0x30);
	tdx_get_script(r->m, &s);
	s.gpr[TDX_R8] = 0x12345678;
	tdx_set_script(r->m, &s);
	expect(0x30, call(r, VP_ENTER, td.tdvpr[0]));
	for (int i = TDX_RCX; i < TDX_NR_GPRS; i++) {
		uint64_t want = 0;

		if (i == TDX_RCX || i == TDX_RDX || i == TDX_R9)
			want = s.gpr[i];
		else if (i == TDX_R8)
			want = 0x12345000;
		else if (i == TDX_RBP || i == TDX_RSP)
			want = 0xdead0000 + (uint64_t)i;
		assert_int_equal(r->out[i], want);
	}
}

static void dead_vcpu(void **state)
{
	struct rig *r = *state;
	struct rig_td td;

	assert_true(rig_td_runnable(r, &td, RIG_HKID));
	script_exit(r, TDX_NON_RECOVERABLE_VCPU | 2);
	expect(TDX_NON_RECOVERABLE_VCPU | 2, call(r, VP_ENTER, td.tdvpr[0]));
	expect(TDX_VCPU_STATE_INCORRECT, call(r, VP_ENTER, td.tdvpr[0]));
	ok(call(r, MEM_TRACK, td.tdr));		/* the TD lives */
	ok(call(r, VP_FLUSH, td.tdvpr[0]));
	assert_true(rig_td_free_hkid(r, &td));
}

/* Sheet section 10: what a fatal TD refuses, and that its teardown works. */
static void dead_td(void **state)
{
	static const uint64_t deaths[] = {
		TDX_NON_RECOVERABLE_TD, TDX_NON_RECOVERABLE_TD_NON_ACCESSIBLE,
	};
	struct rig *r = *state;

	for (size_t i = 0; i < NR(deaths); i++) {
		struct rig_td td;
		uint64_t vp;

		assert_true(rig_td_runnable(r, &td, RIG_HKID + i));
		vp = td.tdvpr[0];
		ok(call(r, PAGE_AUG, 0, td.tdr, rig_frame(r)));
		script_exit(r, deaths[i]);
		expect(deaths[i], call(r, VP_ENTER, vp));
		expect(TDX_TD_FATAL, call(r, VP_ENTER, vp));
		expect(TDX_TD_FATAL, call(r, RANGE_BLOCK, 0, td.tdr));
		expect(TDX_TD_FATAL, call(r, MEM_TRACK, td.tdr));
		expect(TDX_TD_FATAL, call(r, PAGE_REMOVE, 0, td.tdr));
		expect(TDX_TD_FATAL, call(r, KEY_CONFIG, td.tdr));
		expect(TDX_TD_FATAL, call(r, MNG_ADDCX, 0, td.tdr));
		expect(TDX_TD_FATAL, call(r, MNG_RD, td.tdr, 0x110000000000000a));
		expect(TDX_TD_FATAL, call(r, VP_RD, vp, 0x2016));
		ok(call(r, VP_FLUSH, vp));
		assert_true(rig_td_free_hkid(r, &td));
		ok(call(r, PAGE_RECLAIM, vp));
	}
}

/* A vCPU in the TD holds TDVPR and TDR shared. */
static void locks_while_running(void **state)
{
	struct rig *r = *state;
	struct rig_td td;
	uint64_t vp, other;

	assert_true(rig_td_init(r, &td, RIG_HKID));
	assert_true(rig_td_sept(r, &td));
	assert_true(rig_td_vcpu(r, &td, 0));
	assert_true(rig_td_vcpu(r, &td, 1));
	ok(call(r, MR_FINALIZE, td.tdr));
	vp = td.tdvpr[0];
	other = td.tdvpr[1];
	tdx_set_script(r->m, &stay);
	call_on(r, 0, VP_ENTER, vp);
	assert_int_equal(r->outcome, TDX_IN_GUEST);
	/* the LP is busy: nothing of the host runs there */
	call_on(r, 0, VP_FLUSH, vp);
	assert_int_equal(r->outcome, TDX_IN_GUEST);

	r->lp = 1;
	expect(TDX_OPERAND_BUSY | 1, call(r, VPFLUSHDONE, td.tdr));
	expect(TDX_OPERAND_BUSY | 1, call(r, KEY_FREEID, td.tdr));
	expect(TDX_OPERAND_BUSY | 1, call(r, KEY_CONFIG, td.tdr));
	expect(TDX_OPERAND_BUSY | 1, call(r, MR_FINALIZE, td.tdr));
	expect(TDX_OPERAND_BUSY | 2, call(r, MR_EXTEND, 0, td.tdr));
	expect(TDX_OPERAND_BUSY | 2, call(r, MNG_ADDCX, 0, td.tdr));
	expect(TDX_OPERAND_BUSY | 2,
	       call(r, PAGE_ADD, 0, td.tdr, rig_frame(r), RIG_SOURCE));
	expect(TDX_OPERAND_BUSY | 1, call(r, MNG_INIT, td.tdr, RIG_TD_PARAMS));
	expect(TDX_OPERAND_BUSY | 1, call(r, VP_FLUSH, vp));
	expect(TDX_OPERAND_BUSY | 1, call(r, VP_INIT, vp));
	expect(TDX_OPERAND_BUSY | 0x80, call(r, VP_INIT, other));
	expect(TDX_OP_STATE_INCORRECT, call(r, VP_INIT_V0, other));
	expect(TDX_OPERAND_BUSY | 2, call(r, VP_ADDCX, 0, vp));
	expect(TDX_OPERAND_BUSY | 1, call(r, PAGE_RECLAIM, vp));
	expect(TDX_OPERAND_BUSY | 1, call(r, PAGE_RECLAIM, td.tdr));
	expect(TDX_OPERAND_BUSY | 1, call(r, MNG_CREATE, td.tdr, RIG_HKID + 1));
	/* running elsewhere is a matter of state before one of association */
	expect(TDX_VCPU_STATE_INCORRECT, call(r, VP_ENTER, vp));
	expect(TDX_VCPU_ASSOCIATED, call(r, VP_RD, vp, 0x2016));

	/* shared users go on */
	ok(call(r, PAGE_AUG, 0, td.tdr, rig_frame(r)));
	ok(call(r, RANGE_BLOCK, 0, td.tdr));
	ok(call(r, MNG_RD, td.tdr, 0x110000000000000a));
	ok(call(r, PAGE_RDMD, vp));
	call_on(r, 2, VP_FLUSH, other);
	ok(call_on(r, 1, VP_FLUSH, other));
	call_on(r, 3, VP_ENTER, other);
	assert_int_equal(r->outcome, TDX_IN_GUEST);

	r->interrupt[0] = 0x31;
	assert_int_equal(rig_poll(r, 0), TDX_DONE);
	assert_int_equal(out(r, RAX), 1);
	expect(TDX_OPERAND_BUSY | 1, call(r, VPFLUSHDONE, td.tdr));
	r->interrupt[3] = 0x31;
	assert_int_equal(rig_poll(r, 3), TDX_DONE);
	expect(TDX_FLUSHVP_NOT_DONE, call(r, VPFLUSHDONE, td.tdr));
	ok(call_on(r, 0, VP_FLUSH, vp));
	ok(call_on(r, 3, VP_FLUSH, other));
	ok(call(r, VPFLUSHDONE, td.tdr));
}

static void interrupt_exits(void **state)
{
	struct rig *r = *state;
	struct rig_td td;

	assert_true(rig_td_runnable(r, &td, RIG_HKID));
	tdx_set_script(r->m, &stay);
	call(r, VP_ENTER, td.tdvpr[0]);
	assert_int_equal(r->outcome, TDX_IN_GUEST);
	r->interrupt[1] = 0x20;				/* not ours */
	assert_int_equal(rig_poll(r, 0), TDX_IN_GUEST);
	r->interrupt[0] = 0xec;
	assert_int_equal(rig_poll(r, 0), TDX_DONE);
	assert_int_equal(out(r, RAX), 1);
	assert_int_equal(out(r, R9), 0x800000ec);
	assert_int_equal(out(r, RCX) | out(r, RDX) | out(r, R8) | out(r, R10) |
			 out(r, RBX), 0);
	assert_int_equal(out(r, RBP), 0xdead0000 + TDX_RBP);
	assert_int_equal(r->acks[0], 1);
	assert_int_equal(r->acks[1], 0);
	assert_int_equal(rig_poll(r, 0), TDX_DONE);	/* harmless */

	/* pending at entry: out again at once */
	r->interrupt[0] = 0x40;
	expect(1, call(r, VP_ENTER, td.tdvpr[0]));
	assert_int_equal(r->outcome, TDX_DONE);
	assert_int_equal(out(r, R9), 0x80000040);

	/* the NMI goes first */
	r->interrupt[0] = 0x40;
	r->nmi[0] = true;
	expect(0, call(r, VP_ENTER, td.tdvpr[0]));
	assert_int_equal(out(r, R9), 0x80000202);
	assert_false(r->nmi[0]);
	assert_int_equal(r->interrupt[0], 0x40);
	ok(call(r, VP_FLUSH, td.tdvpr[0]));
}

static void posted_interrupts(void **state)
{
	struct rig *r = *state;
	struct rig_td td;
	uint64_t vp;

	assert_true(rig_td_runnable(r, &td, RIG_HKID));
	vp = td.tdvpr[0];
	tdx_set_script(r->m, &stay);
	/* not enabled: the notification vector is an interrupt like any other */
	r->interrupt[0] = 0xf2;
	expect(1, call(r, VP_ENTER, vp));
	assert_int_equal(r->eois[0], 0);

	ok(call(r, VP_WR, vp, FIELD_PI_VECTOR, 0xf2, 0xffff));
	ok(call(r, VP_WR, vp, FIELD_PI_DESC, RIG_PI_DESCRIPTOR, UINT64_MAX));
	ok(call(r, VP_WR, vp, FIELD_PIN, 0x80, 0x80));
	r->interrupt[0] = 0xf2;
	call(r, VP_ENTER, vp);
	assert_int_equal(r->outcome, TDX_IN_GUEST);
	assert_int_equal(r->interrupt[0], -1);
	assert_int_equal(r->eois[0], 1);
	r->interrupt[0] = 0xf2;
	assert_int_equal(rig_poll(r, 0), TDX_IN_GUEST);
	assert_int_equal(r->eois[0], 2);
	r->interrupt[0] = 0xf3;
	assert_int_equal(rig_poll(r, 0), TDX_DONE);
	assert_int_equal(out(r, R9), 0x800000f3);
	assert_int_equal(r->eois[0], 2);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(create_and_init), T(x2apic_id_and_limit), T(x2apic_id_value),
		T(association), T(fields), T(enter_errors),
		T(enter_uninitialized), T(tdvmcall_exit), T(async_exit),
		T(dead_vcpu), T(dead_td), T(locks_while_running),
		T(interrupt_exits), T(posted_interrupts),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
