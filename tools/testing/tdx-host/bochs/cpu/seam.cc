// SPDX-License-Identifier: LGPL-2.1-or-later

#define NEED_CPU_REG_SHORTCUTS 1
#include "bochs.h"
#include "cpu.h"
#include "cpuid.h"
#include "msr.h"
#include "seam.h"
#include "probe.h"
#include "report.h"
#include "pc_system.h"
#include "param_names.h"
#include "gui/siminterface.h"
#include "iodev/iodev.h"
#include "memory/memory-bochs.h"
#include "memory/owned.h"

#include "decoder/ia_opcodes.h"

bx_seam_c bx_seam;

static const Bit64u LEGACY_HOLE = 0xa0000, LEGACY_HOLE_END = 0x100000;
static const Bit64u PCI_HOLE = 0xc0000000, PCI_HOLE_END = BX_CONST64(0x100000000);

static const unsigned MSR_KEYID_PARTITIONING = 0x87;

// CPUID leaf 1 of the CPUs with the partial-write erratum, without the stepping
static const Bit32u SAPPHIRE_RAPIDS = 0x806f0, EMERALD_RAPIDS = 0xc06f0;

/////////////////////////////////////////////////////////////////////////
// What the module asks of its platform
/////////////////////////////////////////////////////////////////////////

static void *platform_page(void *ctx, uint64_t pa)
{
  if (pa >= BX_MEM(0)->get_memory_len() ||
      (pa >= LEGACY_HOLE && pa < LEGACY_HOLE_END) ||
      (pa >= PCI_HOLE && pa < PCI_HOLE_END)) return NULL;

  // the module may write to a frame that code was decoded from
  pageWriteStampTable.decWriteStamp(pa);

  return BX_MEM(0)->get_vector(pa);
}

static void platform_set_owned(void *ctx, uint64_t pa, const struct tdx_owner *owner)
{
  bx_owned_pages.set_owned(pa, owner);
}

// splitmix64
static Bit64u random_state;

static uint64_t platform_random(void *ctx)
{
  Bit64u z = (random_state += BX_CONST64(0x9e3779b97f4a7c15));
  z = (z ^ (z >> 30)) * BX_CONST64(0xbf58476d1ce4e5b9);
  z = (z ^ (z >> 27)) * BX_CONST64(0x94d049bb133111eb);
  return z ^ (z >> 31);
}

static void platform_cpuid(void *ctx, uint32_t leaf, uint32_t subleaf, uint32_t regs[4])
{
  cpuid_function_t value;
  BX_CPU(0)->cpuid->get_cpuid_leaf(leaf, subleaf, &value);
  regs[0] = value.eax;
  regs[1] = value.ebx;
  regs[2] = value.ecx;
  regs[3] = value.edx;
}

// A TD exits for an interrupt whatever RFLAGS.IF of the host is.
static bool platform_interrupt_pending(void *ctx, unsigned int lp)
{
  return BX_CPU(lp)->is_pending(BX_EVENT_PENDING_INTR | BX_EVENT_PENDING_LAPIC_INTR);
}

static uint8_t platform_interrupt_ack(void *ctx, unsigned int lp)
{
  return BX_CPU(lp)->interrupt_acknowledge();
}

static bool platform_nmi_pending(void *ctx, unsigned int lp)
{
  return BX_CPU(lp)->is_unmasked_event_pending(BX_EVENT_NMI);
}

// The exit blocks further NMIs until IRET, as one of a VM does.
static void platform_nmi_ack(void *ctx, unsigned int lp)
{
  BX_CPU(lp)->clear_event(BX_EVENT_NMI);
  BX_CPU(lp)->mask_event(BX_EVENT_NMI);
}

#define LOG_THIS bx_seam.

static void platform_log(void *ctx, const char *line)
{
  BX_INFO(("%s", line));
}

#undef LOG_THIS

/////////////////////////////////////////////////////////////////////////
// The module
/////////////////////////////////////////////////////////////////////////

#define LOG_THIS this->

bx_seam_c::bx_seam_c() : enabled(false), module(NULL), tsc_hz(0)
{
  put("seam", "SEAM");
  for (unsigned lp = 0; lp < TDX_MAX_LPS; lp++)
    stall_timer[lp] = BX_NULL_TIMER_HANDLE;
}

void bx_seam_c::reset(unsigned type)
{
  if (enabled && ! SIM->get_param_bool(BXPN_TDX_REBOOT)->get())
    BX_FATAL(("the guest reset the machine"));
  if (type != BX_RESET_HARDWARE) return;

  enabled = SIM->get_param_bool(BXPN_TDX_ENABLED)->get();
  if (! enabled) return;

  Bit64u seed = SIM->get_param_num(BXPN_TDX_SEED)->get64();
  random_state = seed;
  reset_counters();
  init_owned_pages();

  cpuid_function_t tsc;
  BX_CPU(0)->cpuid->get_cpuid_leaf(0x15, 0, &tsc);
  if (tsc.eax) tsc_hz = (Bit64u) tsc.ecx * tsc.ebx / tsc.eax;

  tdx_module_free(module);
  module = NULL;
  if (SIM->get_param_bool(BXPN_TDX_MODULE)->get()) {
    load_module();
    BX_INFO(("%s, seed " FMT_LL "u", tdx_module_identity(), seed));
  }
  else
    BX_INFO(("no TDX module loaded, seed " FMT_LL "u", seed));
}

void bx_seam_c::init_owned_pages(void)
{
  bx_owned_pages.forget();
  if (! SIM->get_param_bool(BXPN_TDX_OWNERSHIP)->get()) return;

  cpuid_function_t version;
  BX_CPU(0)->cpuid->get_cpuid_leaf(1, 0, &version);
  Bit32u model = version.eax & 0x0fff0ff0;
  bool has_erratum = model == SAPPHIRE_RAPIDS || model == EMERALD_RAPIDS;

  if (has_erratum && ! BX_CPU(0)->has_machine_check_bank())
    BX_FATAL(("tdx: the configurable MSRs lack a machine check bank (0x17a, 0x401 to 0x403)"));
  bx_owned_pages.init(BX_MEM(0)->get_memory_len(), has_erratum);
}

void bx_seam_c::load_module(void)
{
  Bit64u memory = BX_MEM(0)->get_memory_len();
  tdx_platform p;

  if (SIM->get_param_num(BXPN_HOST_MEM_SIZE)->get64() < SIM->get_param_num(BXPN_MEM_SIZE)->get64())
    BX_FATAL(("tdx: give the host as much memory as the guest (memory: host=, guest=)"));
  if (! BX_CPU(0)->msrs[MSR_KEYID_PARTITIONING] || ! BX_CPU(0)->msrs[BX_MSR_TME_ACTIVATE])
    BX_FATAL(("tdx: the configurable MSRs lack MSR 0x%x or 0x%x", MSR_KEYID_PARTITIONING, BX_MSR_TME_ACTIVATE));

  memset(&p, 0, sizeof(p));
  p.nr_lps = BX_SMP_PROCESSORS;

  cpuid_function_t core;
  BX_CPU(0)->cpuid->get_cpuid_leaf(0xb, 1, &core);
  for (unsigned lp = 0; lp < p.nr_lps && lp < TDX_MAX_LPS; lp++)
    p.package[lp] = BX_CPU(lp)->get_apic_id() >> (core.eax & 0x1f);

  Bit64u keyids = BX_CPU(0)->msrs[MSR_KEYID_PARTITIONING]->get64();
  p.nr_mktme_keyids = GET32L(keyids);
  p.nr_tdx_keyids = GET32H(keyids);
  // the upper bits of a physical address, as many as TME says
  p.keyid_shift = BX_PHY_ADDRESS_WIDTH - (GET32H(BX_CPU(0)->msrs[BX_MSR_TME_ACTIVATE]->get64()) & 0xf);

  p.tsc_hz = tsc_hz;

  p.cmrs[0].base = 0;
  p.cmrs[0].size = memory < PCI_HOLE ? memory : PCI_HOLE;
  p.nr_cmrs = 1;
  if (memory > PCI_HOLE_END) {
    p.cmrs[1].base = PCI_HOLE_END;
    p.cmrs[1].size = memory - PCI_HOLE_END;
    p.nr_cmrs = 2;
  }

  Bit64u hole = (Bit64u) SIM->get_param_num(BXPN_TDX_NOCMR)->get() << 20;
  Bit64u hole_end = hole + (16 << 20);
  if (hole) {
    if (hole_end >= p.cmrs[0].size)
      BX_FATAL(("tdx: nocmr is not within the first convertible memory"));
    memmove(&p.cmrs[2], &p.cmrs[1], sizeof(p.cmrs[1]));
    p.cmrs[1].base = hole_end;
    p.cmrs[1].size = p.cmrs[0].size - hole_end;
    p.cmrs[0].size = hole;
    p.nr_cmrs++;
  }

  p.clflush_before_alloc = SIM->get_param_bool(BXPN_TDX_CLFLUSH)->get();

  p.page = platform_page;
  p.set_owned = platform_set_owned;
  p.random = platform_random;
  p.cpuid = platform_cpuid;
  p.interrupt_pending = platform_interrupt_pending;
  p.interrupt_ack = platform_interrupt_ack;
  p.nmi_pending = platform_nmi_pending;
  p.nmi_ack = platform_nmi_ack;
  p.log = platform_log;

  module = tdx_module_new(&p);
  if (! module)
    BX_FATAL(("tdx: the TDX module model refuses this platform"));
  tdx_set_time(module, SIM->get_param_num(BXPN_TDX_TIME)->get());
}

static tdx_cpu module_cpu(BX_CPU_C *cpu)
{
  tdx_cpu c;
  c.gpr = &cpu->gen_reg[0].rrx; // in encoding order
  c.lp = cpu->which_cpu();
  c.tsc = cpu->get_TSC();
  c.tsc_adjust = cpu->tsc_adjust;
  c.now = bx_pc_system.time_ticks();
  c.ticks = 0;
  return c;
}

// The status is in RAX once the leaf is through.  A timer ends the stall, so that
// time does not go beyond its end when all CPUs are idle.
tdx_outcome bx_seam_c::account(BX_CPU_C *cpu, const tdx_cpu &c, tdx_outcome outcome)
{
  if (outcome != TDX_DONE) return outcome;

  if ((c.gpr[TDX_RAX] >> 63) && leaf[c.lp] <= 0xff)
    nr_leaf_errors[leaf[c.lp]]++;

  stall_end[c.lp] = c.now + c.ticks;
  if (c.ticks) {
    if (stall_timer[c.lp] == BX_NULL_TIMER_HANDLE)
      stall_timer[c.lp] = bx_pc_system.register_timer_ticks(this, stall_timer_handler, c.ticks, 0, 1, "seam.stall");
    else
      bx_pc_system.activate_timer_ticks(stall_timer[c.lp], c.ticks, 0);
  }
  return outcome;
}

bool bx_seam_c::is_over(unsigned cpu) const
{
  return bx_pc_system.time_ticks() >= stall_end[cpu];
}

tdx_outcome bx_seam_c::call(BX_CPU_C *cpu)
{
  tdx_cpu c = module_cpu(cpu);
  Bit64u rax = c.gpr[TDX_RAX];

  leaf[c.lp] = rax & 0xffff;

  tdx_outcome outcome = tdx_seamcall(module, &c);
  if (outcome == TDX_UD) return outcome;

  nr_calls++;
  // to the P-SEAMLDR, of which there is none
  if (rax >> 63) return outcome;

  if (leaf[c.lp] <= 0xff) nr_leaf_calls[leaf[c.lp]]++;
  if (outcome != TDX_VMFAIL_INVALID) bx_report.seamcall(cpu);
  return account(cpu, c, outcome);
}

tdx_outcome bx_seam_c::poll(BX_CPU_C *cpu)
{
  tdx_cpu c = module_cpu(cpu);

  if (! platform_interrupt_pending(NULL, c.lp) && ! platform_nmi_pending(NULL, c.lp))
    return TDX_IN_GUEST;

  return account(cpu, c, tdx_guest_poll(module, &c));
}

#undef LOG_THIS

/////////////////////////////////////////////////////////////////////////
// The instruction
/////////////////////////////////////////////////////////////////////////

#define LOG_THIS BX_CPU_THIS_PTR

void BX_CPU_C::seamcall_outcome(unsigned outcome)
{
  switch(outcome) {
  case TDX_DONE:
    VMsucceed();
    if (bx_seam.is_over(BX_CPU_ID))
      BX_CPU_THIS_PTR activity_state = BX_ACTIVITY_STATE_ACTIVE;
    else {
      BX_CPU_THIS_PTR activity_state = BX_ACTIVITY_STATE_SEAM;
      BX_CPU_THIS_PTR async_event = 1;
    }
    break;
  case TDX_VMFAIL_INVALID:
    BX_CPU_THIS_PTR activity_state = BX_ACTIVITY_STATE_ACTIVE;
    VMfailInvalid();
    break;
  case TDX_IN_GUEST:
    BX_CPU_THIS_PTR activity_state = BX_ACTIVITY_STATE_TD;
    BX_CPU_THIS_PTR async_event = 1;
    break;
  }
}

// The CPU executes a TD: time passes, and an interrupt or NMI brings it back to
// the host.  SMI and INIT wait until then.  Returns true to let others go on.
bool BX_CPU_C::handleTD(void)
{
  while (1) {
    unsigned outcome = bx_seam.poll(BX_CPU_THIS);
    if (outcome != TDX_IN_GUEST) {
      seamcall_outcome(outcome);
      return BX_CPU_THIS_PTR activity_state == BX_ACTIVITY_STATE_SEAM ? handleSEAM() : false;
    }

    if (BX_HRQ && BX_DBG_ASYNC_DMA) DEV_dma_raise_hlda();

    if (BX_SMP_PROCESSORS > 1 || bx_pc_system.kill_bochs_request) return true;

    BX_TICKN(bx_pc_system.getIdleTicks(10));
  }
}

// A SEAMCALL has returned, but its modelled time has not passed: as in SEAM root
// operation, everything stays pending.  Returns true to let others go on.
bool BX_CPU_C::handleSEAM(void)
{
  while (! bx_seam.is_over(BX_CPU_ID)) {
    if (BX_HRQ && BX_DBG_ASYNC_DMA) DEV_dma_raise_hlda();

    if (BX_SMP_PROCESSORS > 1 || bx_pc_system.kill_bochs_request) return true;

    BX_TICKN(bx_pc_system.getIdleTicks(10));
  }

  BX_CPU_THIS_PTR activity_state = BX_ACTIVITY_STATE_ACTIVE;
  return false;
}

void BX_CPP_AttrRegparmN(1) BX_CPU_C::SEAMCALL(bxInstruction_c *i)
{
#if BX_SUPPORT_VMX && BX_SUPPORT_X86_64
  if (! bx_seam.is_enabled() || ! BX_CPU_THIS_PTR in_vmx || BX_CPU_THIS_PTR in_smm || ! long64_mode())
    exception(BX_UD_EXCEPTION, 0);

  if (BX_CPU_THIS_PTR in_vmx_guest)
    VMexit(VMX_VMEXIT_SEAMCALL, 0);

  if (CPL != 0 || interrupts_inhibited(BX_INHIBIT_INTERRUPTS_BY_MOVSS)) {
    BX_ERROR(("%s: CPL %u, generate #GP(0)", i->getIaOpcodeNameShort(), CPL));
    exception(BX_GP_EXCEPTION, 0);
  }

  unsigned outcome = bx_seam.call(BX_CPU_THIS);
  if (outcome == TDX_UD) exception(BX_UD_EXCEPTION, 0);
  seamcall_outcome(outcome);
#endif

  BX_NEXT_TRACE(i);
}
