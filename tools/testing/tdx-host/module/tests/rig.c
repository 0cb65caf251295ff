// SPDX-License-Identifier: LGPL-2.1-or-later
#define _DEFAULT_SOURCE		/* MAP_ANONYMOUS */
#include "tests/rig.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

static void die(const char *why)
{
	fprintf(stderr, "%s\n", why);
	abort();
}

void (*rig_fail)(const char *why) = die;

static bool is_ram(uint64_t pa)
{
	return pa < RIG_HOST_SIZE || pa - RIG_TDMR_BASE < RIG_TD_RAM;
}

static void *cb_page(void *ctx, uint64_t pa)
{
	struct rig *r = ctx;

	if (pa % SZ_4K)
		rig_fail("page() of a misaligned address");
	return is_ram(pa) ? r->ram + pa : NULL;
}

static void cb_set_owned(void *ctx, uint64_t pa, const struct tdx_owner *owner)
{
	static const struct tdx_owner host;
	struct rig *r = ctx;

	if (pa % SZ_4K || !is_ram(pa))
		rig_fail("set_owned() of something that is no frame");
	if (owner && !owner->pt)
		rig_fail("set_owned() tells no page type");
	if (!!r->owner[pa / SZ_4K].pt == !!owner)
		rig_fail("set_owned() does not change the owner");
	r->owner[pa / SZ_4K] = owner ? *owner : host;
	r->nr_owned += owner ? 1 : (uint64_t)-1;
}

static uint64_t cb_random(void *ctx)
{
	(void)ctx;
	return 4;
}

static void cb_cpuid(void *ctx, uint32_t leaf, uint32_t subleaf,
		     uint32_t regs[4])
{
	static const struct { uint32_t leaf, subleaf, regs[4]; } cpuid[] = {
		{ 0x0, 0, { 0x20, 0x756e6547, 0x6c65746e, 0x49656e69 } },
		{ 0x1, 0, { 0x000806f8, 0x00100800, 0x7ffefbff, 0xbfebfbff } },
		{ 0x4, 0, { 0x04004121, 0x02c0003f, 0x3f, 0 } },
		{ 0x7, 0, { 0x2, 0xf3bfbffb, 0xfb417fee, 0xffdd4432 } },
		{ 0x7, 1, { 0x1c30, 0, 0, 0 } },
		{ 0x7, 2, { 0, 0, 0, 0x17 } },
		{ 0xd, 0, { 0x602e7, 0xa80, 0x2b00, 0 } },
		{ 0xd, 1, { 0x1f, 0, 0x1900, 0 } },
		{ 0x80000000, 0, { 0x80000008, 0, 0, 0 } },
		{ 0x80000008, 0, { 0x3934, 0x200, 0, 0 } },
	};

	(void)ctx;
	memset(regs, 0, 16);
	for (size_t i = 0; i < sizeof(cpuid) / sizeof(cpuid[0]); i++)
		if (cpuid[i].leaf == leaf && cpuid[i].subleaf == subleaf)
			memcpy(regs, cpuid[i].regs, 16);
}

static bool cb_interrupt_pending(void *ctx, unsigned int lp)
{
	struct rig *r = ctx;

	return r->interrupt[lp] >= 0;
}

static uint8_t cb_interrupt_ack(void *ctx, unsigned int lp)
{
	struct rig *r = ctx;
	int vector = r->interrupt[lp];

	if (vector < 0)
		rig_fail("interrupt_ack() with nothing pending");
	r->interrupt[lp] = -1;
	r->acks[lp]++;
	return (uint8_t)vector;
}

static void cb_interrupt_eoi(void *ctx, unsigned int lp)
{
	struct rig *r = ctx;

	r->eois[lp]++;
}

static bool cb_nmi_pending(void *ctx, unsigned int lp)
{
	struct rig *r = ctx;

	return r->nmi[lp];
}

static void cb_nmi_ack(void *ctx, unsigned int lp)
{
	struct rig *r = ctx;

	r->nmi[lp] = false;
}

static void cb_log(void *ctx, const char *line)
{
	struct rig *r = ctx;

	r->log_lines++;
	if (strchr(line, '\n'))
		rig_fail("log() of a newline");
}

void rig_platform(struct tdx_platform *p)
{
	*p = (struct tdx_platform) {
		.nr_lps = RIG_LPS,
		.package = { 0, 0, 1, 1 },
		.keyid_shift = RIG_KEYID_SHIFT,
		.nr_mktme_keyids = 31,
		.nr_tdx_keyids = RIG_NR_TDX_KEYIDS,
		.tsc_hz = 2000000000,
		.nr_cmrs = 3,
		/* The first two are adjacent. */
		.cmrs = { { 0, 0x900000 },
			  { 0x900000, RIG_HOST_SIZE - 0x900000 },
			  { RIG_TDMR_BASE, RIG_TD_RAM } },
		.page = cb_page,
		.set_owned = cb_set_owned,
		.random = cb_random,
		.cpuid = cb_cpuid,
		.interrupt_pending = cb_interrupt_pending,
		.interrupt_ack = cb_interrupt_ack,
		.nmi_pending = cb_nmi_pending,
		.nmi_ack = cb_nmi_ack,
		.interrupt_eoi = cb_interrupt_eoi,
		.log = cb_log,
	};
}

struct rig *rig_new_with(const struct tdx_platform *platform)
{
	struct rig *r = calloc(1, sizeof(*r));

	if (!r)
		abort();
	r->ram = mmap(NULL, RIG_RAM_SIZE, PROT_READ | PROT_WRITE,
		      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	r->owner = calloc(RIG_RAM_SIZE / SZ_4K, sizeof(*r->owner));
	if (r->ram == MAP_FAILED || !r->owner)
		abort();
	for (unsigned int lp = 0; lp < RIG_LPS; lp++)
		r->interrupt[lp] = -1;
	r->next_frame = RIG_TDMR_BASE;
	r->tsc = 1000000;
	r->check = true;
	r->p = *platform;
	r->p.ctx = r;
	r->m = tdx_module_new(&r->p);
	if (!r->m)
		abort();
	return r;
}

struct rig *rig_new(void)
{
	struct tdx_platform p;

	rig_platform(&p);
	return rig_new_with(&p);
}

void rig_free(struct rig *r)
{
	tdx_module_free(r->m);
	munmap(r->ram, RIG_RAM_SIZE);
	free(r->owner);
	free(r);
}

#define BIT(reg)	(1u << TDX_##reg)
#define MEM_OUT		(BIT(RCX) | BIT(RDX))
#define PAGE_OUT	(MEM_OUT | BIT(R8) | BIT(R9) | BIT(R10) | BIT(R11))

/* Registers besides RAX that a leaf may change. */
static unsigned int outputs(unsigned int leaf)
{
	switch (leaf & 0xffff) {
	case VP_ENTER:
		return 0xffff & ~(BIT(RSP) | BIT(RBP));
	case PAGE_ADD: case SEPT_ADD: case PAGE_AUG: case RANGE_BLOCK:
	case RANGE_UNBLOCK: case PAGE_REMOVE: case MR_EXTEND:
		return MEM_OUT;
	case PAGE_RDMD: case PAGE_RECLAIM:
		return PAGE_OUT;
	case MNG_INIT:
		return BIT(RCX);
	case MNG_RD: case VP_RD: case VP_WR:
		return BIT(R8);
	case TDMR_INIT:
		return BIT(RDX);
	case SYS_RD: case SYS_LP_INIT:
		return MEM_OUT | BIT(R8);
	case SYS_INIT:
		return MEM_OUT | BIT(R8) | BIT(R9) | BIT(R10);
	}
	return 0;
}

static void check_preserved(unsigned int leaf, const uint64_t *before,
			    const uint64_t *after)
{
	for (unsigned int i = TDX_RCX; i < TDX_NR_GPRS; i++)
		if (!(outputs(leaf) & 1u << i) && before[i] != after[i])
			rig_fail("a register that is no output has changed");
}

/* What the platform was told must agree with what the model says. */
void rig_check(struct rig *r)
{
	struct tdx_usage usage;
	uint64_t pamt = 0;
	char why[200];

	if (!tdx_check_invariants(r->m, why, sizeof(why)))
		rig_fail(why);
	for (uint64_t f = RIG_PAMT / SZ_4K; f < RIG_HOST_SIZE / SZ_4K; f++)
		pamt += r->owner[f].pt != 0;
	tdx_get_usage(r->m, &usage);
	if (r->nr_owned != pamt + usage.td_pages)
		rig_fail("owned frames are not the PAMT and the pages of TDs");
}

static struct tdx_cpu cpu_of(struct rig *r, unsigned int lp)
{
	return (struct tdx_cpu) {
		.gpr = r->gpr[lp],
		.lp = lp,
		.tsc = r->tsc += 1000,
		.tsc_adjust = r->tsc_adjust[lp],
		.now = r->now,
	};
}

uint64_t rig_call(struct rig *r, unsigned int lp, const uint64_t in[5])
{
	struct tdx_cpu cpu = cpu_of(r, lp);
	uint64_t *gpr = r->gpr[lp], before[TDX_NR_GPRS];

	/* What the registers hold while the LP is in a TD stays there. */
	if (!r->m->lps[lp].in_guest) {
		for (unsigned int i = 0; i < TDX_NR_GPRS; i++)
			gpr[i] = 0xdead0000 + i;
		gpr[TDX_RAX] = in[0];
		gpr[TDX_RCX] = in[1];
		gpr[TDX_RDX] = in[2];
		gpr[TDX_R8] = in[3];
		gpr[TDX_R9] = in[4];
	}
	memcpy(before, gpr, sizeof(before));
	r->outcome = tdx_seamcall(r->m, &cpu);
	r->ticks = cpu.ticks;
	r->out = gpr;
	if (r->outcome != TDX_DONE && memcmp(before, gpr, sizeof(before)))
		rig_fail("a call that has not completed changed a register");
	check_preserved((unsigned int)in[0], before, gpr);
	if (r->check)
		rig_check(r);
	return gpr[TDX_RAX];
}

enum tdx_outcome rig_poll(struct rig *r, unsigned int lp)
{
	struct tdx_cpu cpu = cpu_of(r, lp);
	uint64_t before[TDX_NR_GPRS];

	memcpy(before, r->gpr[lp], sizeof(before));
	r->outcome = tdx_guest_poll(r->m, &cpu);
	r->ticks = cpu.ticks;
	r->out = r->gpr[lp];
	check_preserved(VP_ENTER, before, r->out);
	if (r->check)
		rig_check(r);
	return r->outcome;
}

void *rig_mem(struct rig *r, uint64_t pa)
{
	return r->ram + pa;
}

uint64_t rig_frame(struct rig *r)
{
	uint64_t pa = r->next_frame;

	r->next_frame += SZ_4K;
	if (!is_ram(pa))
		rig_fail("the rig is out of frames");
	return pa;
}

uint64_t *rig_tdmr_info(struct rig *r, unsigned int index)
{
	static const uint64_t first[] = {
		RIG_TDMR_BASE, SZ_1G,
		RIG_PAMT + 0x402000, 0x1000,		/* 1G */
		RIG_PAMT + 0x400000, 0x2000,		/* 2M */
		RIG_PAMT, 0x400000,			/* 4K */
		RIG_TD_RAM, SZ_1G - RIG_TD_RAM,		/* reserved */
	};
	uint64_t pa = RIG_TDMR_INFO + 512 * index;

	((uint64_t *)rig_mem(r, RIG_TDMR_ARRAY))[index] = pa;
	memset(rig_mem(r, pa), 0, 512);
	if (index == 0)
		memcpy(rig_mem(r, pa), first, sizeof(first));
	return rig_mem(r, pa);
}

bool rig_lp_init_all(struct rig *r)
{
	if (call_on(r, 0, SYS_INIT))
		return false;
	for (unsigned int lp = 0; lp < r->p.nr_lps; lp++)
		if (call_on(r, lp, SYS_LP_INIT))
			return false;
	return true;
}

bool rig_bring_up(struct rig *r)
{
	bool check = r->check;
	uint64_t status = 0;

	r->check = false;
	if (!rig_lp_init_all(r))
		return false;
	rig_tdmr_info(r, 0);
	if (call(r, SYS_CONFIG, RIG_TDMR_ARRAY, 1, RIG_GLOBAL_KEYID) ||
	    call_on(r, 0, SYS_KEY_CONFIG) || call_on(r, 2, SYS_KEY_CONFIG))
		return false;
	do
		status = call(r, TDMR_INIT, RIG_TDMR_BASE);
	while (!status && r->out[TDX_RDX] < RIG_TDMR_BASE + SZ_1G);
	r->check = check;
	return !status;
}

bool rig_td_create(struct rig *r, struct rig_td *td, unsigned int hkid)
{
	memset(td, 0, sizeof(*td));
	td->hkid = hkid;
	td->tdr = rig_frame(r);
	return !call(r, MNG_CREATE, td->tdr, hkid);
}

bool rig_td_keys(struct rig *r, struct rig_td *td, unsigned int hkid)
{
	return rig_td_create(r, td, hkid) &&
	       !call_on(r, 0, KEY_CONFIG, td->tdr) &&
	       !call_on(r, 2, KEY_CONFIG, td->tdr);
}

bool rig_td_tdcs(struct rig *r, struct rig_td *td, unsigned int hkid)
{
	if (!rig_td_keys(r, td, hkid))
		return false;
	for (int i = 0; i < TDCS_BASE_PAGES; i++) {
		td->tdcx[i] = rig_frame(r);
		if (call(r, MNG_ADDCX, td->tdcx[i], td->tdr))
			return false;
	}
	return true;
}

void *rig_td_params(struct rig *r)
{
	uint8_t *params = rig_mem(r, RIG_TD_PARAMS);
	uint64_t *q = (uint64_t *)params;

	memset(params, 0, 1024);
	q[0] = TDX_ATTR_SEPT_VE_DISABLE;
	q[1] = 0x602e7;
	params[16] = 4;			/* MAX_VCPUS */
	q[3] = 6 | 3 << 3;		/* 4-level */
	q[4] = 4;			/* NO_RBP_MOD */
	params[40] = 80;		/* 2 GHz */
	return params;
}

bool rig_td_init(struct rig *r, struct rig_td *td, unsigned int hkid)
{
	rig_td_params(r);
	return rig_td_tdcs(r, td, hkid) &&
	       !call(r, MNG_INIT, td->tdr, RIG_TD_PARAMS);
}

bool rig_td_vcpu(struct rig *r, struct rig_td *td, unsigned int lp)
{
	unsigned int n = td->nr_vcpus++;

	td->tdvpr[n] = rig_frame(r);
	if (call(r, VP_CREATE, td->tdvpr[n], td->tdr))
		return false;
	for (int i = 0; i < TDVPS_PAGES - 1; i++) {
		td->tdvpx[n][i] = rig_frame(r);
		if (call(r, VP_ADDCX, td->tdvpx[n][i], td->tdvpr[n]))
			return false;
	}
	return !call_on(r, lp, VP_INIT, td->tdvpr[n], 0, n);
}

bool rig_td_sept(struct rig *r, struct rig_td *td)
{
	for (unsigned int level = 3; level >= 1; level--) {
		uint64_t page = rig_frame(r);

		td->sept[level - 1] = page;
		if (call(r, SEPT_ADD, level, td->tdr, page))
			return false;
	}
	return true;
}

bool rig_td_runnable(struct rig *r, struct rig_td *td, unsigned int hkid)
{
	return rig_td_init(r, td, hkid) && rig_td_sept(r, td) &&
	       rig_td_vcpu(r, td, 0) && !call(r, MR_FINALIZE, td->tdr);
}

bool rig_td_free_hkid(struct rig *r, struct rig_td *td)
{
	return !call(r, VPFLUSHDONE, td->tdr) && !call_on(r, 0, CACHE_WB) &&
	       !call_on(r, 2, CACHE_WB) && !call(r, KEY_FREEID, td->tdr);
}
