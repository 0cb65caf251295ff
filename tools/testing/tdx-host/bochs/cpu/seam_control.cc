// SPDX-License-Identifier: LGPL-2.1-or-later
//
// The CPUID leaves by which the guest OS reads counters, watches functions and
// directs the scripted TD; see tdx_host_model.h.

#include "bochs.h"
#include "cpu.h"
#include "seam.h"
#include "probe.h"
#include "report.h"
#include "pc_system.h"
#include "gui/siminterface.h"
#include "param_names.h"
#include "memory/owned.h"
#include "x86/tdx_host_model.h"
#define LOG_THIS this->

static_assert(TDX_HOST_MAX_FAULTS == TDX_MAX_FAULTS, "one slot for each");
static_assert(TDX_HOST_ANY_LEAF == TDX_ANY_LEAF && TDX_HOST_FOREVER == TDX_FOREVER, "one value for each");
static_assert((unsigned) TDX_HOST_FAULT_INTERRUPTED == (unsigned) TDX_FAULT_INTERRUPTED, "one number for each");
static_assert((unsigned) TDX_HOST_SCENARIO_ERROR == (unsigned) TDX_SCENARIO_ERROR, "one number for each");

#if TDX_HOST_MAX_WATCHES != BX_PROBE_WATCHES
  #error "one probe for each watch"
#endif

static_assert((unsigned) TDX_HOST_REPORT_KINDS == (unsigned) BX_REPORT_KINDS, "one number for each kind");

static const Bit64u MAX_PERCENT = 100000;

// errno values of Linux
enum { CONTROL_OK = 0, CONTROL_ENODEV = 19, CONTROL_EINVAL = 22 };

void bx_seam_c::reset_counters(void)
{
  nr_calls = 0;
  memset(nr_leaf_calls, 0, sizeof(nr_leaf_calls));
  memset(nr_leaf_errors, 0, sizeof(nr_leaf_errors));
  reset_ticks = bx_pc_system.time_ticks();
  bx_owned_pages.loads = bx_owned_pages.stores = 0;
  bx_probe.reset();
}

bool bx_seam_c::read_counter(Bit64u index, Bit64u *value) const
{
  if (index < TDX_HOST_SEAMCALL_LEAF + 0x100) {
    *value = nr_leaf_calls[index - TDX_HOST_SEAMCALL_LEAF];
    return true;
  }
  if (index < TDX_HOST_SEAMCALL_ERRORS + 0x100) {
    *value = nr_leaf_errors[index - TDX_HOST_SEAMCALL_ERRORS];
    return true;
  }
  if (index >= TDX_HOST_WATCH_CALLS && index < TDX_HOST_WATCH_CALLS + 4 * TDX_HOST_MAX_WATCHES) {
    unsigned slot = (index - TDX_HOST_WATCH_CALLS) / 4;

    switch(index - 4 * slot) {
    case TDX_HOST_WATCH_CALLS: *value = bx_probe.watch[slot].calls; return true;
    case TDX_HOST_WATCH_IPIS:  *value = bx_probe.watch[slot].ipis;  return true;
    case TDX_HOST_WATCH_TICKS: *value = bx_probe.watch[slot].ticks; return true;
    default: return false;
    }
  }

  if (index >= TDX_HOST_WATCH_LONGEST && index < TDX_HOST_WATCH_LONGEST + 4 * TDX_HOST_MAX_WATCHES) {
    unsigned slot = (index - TDX_HOST_WATCH_LONGEST) / 4;
    const bx_probe_c::watch_t *w = &bx_probe.watch[slot];

    switch(index - 4 * slot) {
    case TDX_HOST_WATCH_LONGEST: *value = w->max_ticks; return true;
    case TDX_HOST_WATCH_FIRST:   *value = w->last ? w->first - reset_ticks : 0; return true;
    case TDX_HOST_WATCH_LAST:    *value = w->last ? w->last - reset_ticks : 0; return true;
    default: return false;
    }
  }

  if (index >= TDX_HOST_REPORTS && index < TDX_HOST_REPORTS + TDX_HOST_REPORT_KINDS) {
    *value = bx_report.count[index - TDX_HOST_REPORTS];
    return true;
  }

  if (index >= TDX_HOST_LEAF_NS && index < TDX_HOST_LEAF_NS + 0x40) {
    *value = tdx_leaf_ns(index - TDX_HOST_LEAF_NS);
    return true;
  }

  struct tdx_usage usage;
  struct tdx_scenario scenario;
  memset(&usage, 0, sizeof(usage));
  memset(&scenario, 0, sizeof(scenario));
  scenario.leaf = TDX_ANY_LEAF;
  if (module) {
    tdx_get_usage(module, &usage);
    tdx_get_scenario(module, &scenario);
  }

  switch(index) {
  case TDX_HOST_SEAMCALLS:         *value = nr_calls; break;
  case TDX_HOST_MOVDIR64B:         *value = bx_probe.nr_movdir64b; break;
  case TDX_HOST_IPIS:              *value = bx_probe.nr_ipis; break;
  case TDX_HOST_TICKS:             *value = bx_pc_system.time_ticks() - reset_ticks; break;
  case TDX_HOST_WBINVD:            *value = bx_probe.nr_wbinvd; break;
  case TDX_HOST_CLFLUSH:           *value = bx_probe.nr_clflush; break;
  case TDX_HOST_OWNED_LOADS:       *value = bx_owned_pages.loads; break;
  case TDX_HOST_OWNED_STORES:      *value = bx_owned_pages.stores; break;
  case TDX_HOST_TICKS_PER_SECOND:  *value = tsc_hz; break;
  case TDX_HOST_TD_PAGES:          *value = usage.td_pages; break;
  case TDX_HOST_TD_PRIVATE_PAGES:  *value = usage.td_private_pages; break;
  case TDX_HOST_KEYIDS_IN_USE:     *value = usage.keyids_in_use; break;
  case TDX_HOST_KEYIDS:            *value = usage.keyids; break;
  case TDX_HOST_TDS:               *value = usage.tds; break;
  case TDX_HOST_PAMT_BYTES:        *value = usage.pamt_bytes; break;
  case TDX_HOST_MODULE_READY:      *value = usage.ready; break;
  case TDX_HOST_WANTS_CLFLUSH:     *value = SIM->get_param_bool(BXPN_TDX_CLFLUSH)->get(); break;
  case TDX_HOST_INJECTED:          *value = usage.injected; break;
  case TDX_HOST_LOCKS_BUSY:        *value = usage.locks_busy; break;
  case TDX_HOST_STALL_TICKS:       *value = usage.ticks_taken; break;
  case TDX_HOST_SCENARIO_CALLS:    *value = scenario.calls; break;
  case TDX_HOST_SCENARIO_FAILED:   *value = scenario.failed; break;
  case TDX_HOST_SCENARIO_LEAF:     *value = scenario.leaf; break;
  case TDX_HOST_SCENARIO_STATUS:   *value = scenario.status; break;
  default: return false;
  }
  return true;
}

unsigned bx_seam_c::set_fault(Bit64u rbx, Bit64u rdx, Bit64u rsi)
{
  struct tdx_fault fault;
  memset(&fault, 0, sizeof(fault));
  fault.what = (enum tdx_fault_what) (rbx >> 8 & 0xff);
  fault.leaf = rbx >> 16 & 0xffff;
  fault.count = GET32H(rbx);
  fault.nth = GET32L(rdx);
  fault.every = GET32H(rdx);
  fault.value = rsi;
  return tdx_set_fault(module, rbx & 0xff, &fault) ? CONTROL_OK : CONTROL_EINVAL;
}

unsigned bx_seam_c::read_fault(Bit64u slot, Bit64u part, Bit64u *result) const
{
  struct tdx_fault fault;
  if (slot >= TDX_HOST_MAX_FAULTS || ! tdx_get_fault(module, slot, &fault)) return CONTROL_EINVAL;

  switch(part) {
  case TDX_HOST_FAULT_RBX:
    *result = fault.what ? slot | (Bit64u) fault.what << 8 | (Bit64u) fault.leaf << 16 | (Bit64u) fault.count << 32 : 0;
    break;
  case TDX_HOST_FAULT_RDX:      *result = fault.nth | (Bit64u) fault.every << 32; break;
  case TDX_HOST_FAULT_RSI:      *result = fault.value; break;
  case TDX_HOST_FAULT_CALLS:    *result = fault.calls; break;
  case TDX_HOST_FAULT_INJECTED: *result = fault.injected; break;
  default: return CONTROL_EINVAL;
  }
  return CONTROL_OK;
}

unsigned bx_seam_c::scenario(Bit64u rbx, Bit64u rdx)
{
  struct tdx_scenario scenario;
  memset(&scenario, 0, sizeof(scenario));
  scenario.sticky = rbx & TDX_HOST_SCENARIO_STICKY;
  scenario.nth = GET32H(rbx);
  scenario.exempt = rdx;

  switch(GET32L(rbx) & ~TDX_HOST_SCENARIO_STICKY) {
  case TDX_HOST_SCENARIO_END:
    tdx_end_scenario(module);
    return CONTROL_OK;
  case TDX_HOST_SCENARIO_BUSY:
    scenario.how = TDX_SCENARIO_BUSY;
    break;
  case TDX_HOST_SCENARIO_ERROR:
    scenario.how = TDX_SCENARIO_ERROR;
    break;
  default:
    return CONTROL_EINVAL;
  }
  tdx_begin_scenario(module, &scenario);
  return CONTROL_OK;
}

// All CPUs are between two instructions, and no SEAMCALL is halfway through.
bool bx_seam_c::check(BX_CPU_C *cpu) const
{
  char why[200];
  bool good = tdx_check_invariants(module, why, sizeof(why));

  if (! good) bx_report.model_invariant(cpu, why);
  return good;
}

unsigned bx_seam_c::command(BX_CPU_C *cpu, Bit32u cmd, Bit64u rbx, Bit64u rdx, Bit64u rsi,
                            Bit64u *result)
{
  switch(cmd) {
  case TDX_HOST_READ:
    return read_counter(rbx, result) ? CONTROL_OK : CONTROL_EINVAL;

  case TDX_HOST_RESET:
    reset_counters();
    return CONTROL_OK;

  case TDX_HOST_WATCH:
    if (rbx >= TDX_HOST_MAX_WATCHES) return CONTROL_EINVAL;
    bx_probe.set_watch(rbx, rdx);
    return CONTROL_OK;

  case TDX_HOST_SCRIPT:
  case TDX_HOST_SCRIPT_GPR: {
    if (! module) return CONTROL_ENODEV;

    struct tdx_script script;
    tdx_get_script(module, &script);
    if (cmd == TDX_HOST_SCRIPT_GPR) {
      if (rbx >= TDX_NR_GPRS) return CONTROL_EINVAL;
      script.gpr[rbx] = rdx;
    }
    else if (rbx == TDX_HOST_SCRIPT_EXIT)
      script.mode = TDX_SCRIPT_EXIT;
    else if (rbx == TDX_HOST_SCRIPT_STAY)
      script.mode = TDX_SCRIPT_STAY;
    else
      return CONTROL_EINVAL;
    tdx_set_script(module, &script);
    return CONTROL_OK;
  }

  case TDX_HOST_FAULT:
    return module ? set_fault(rbx, rdx, rsi) : CONTROL_ENODEV;

  case TDX_HOST_FAULT_READ:
    return module ? read_fault(rbx, rdx, result) : CONTROL_ENODEV;

  case TDX_HOST_FAULT_CLEAR:
    if (! module) return CONTROL_ENODEV;
    tdx_clear_faults(module);
    return CONTROL_OK;

  case TDX_HOST_SCENARIO:
    return module ? scenario(rbx, rdx) : CONTROL_ENODEV;

  case TDX_HOST_TIME:
    if (! module) return CONTROL_ENODEV;
    if (rbx > MAX_PERCENT) return CONTROL_EINVAL;
    tdx_set_time(module, rbx);
    return CONTROL_OK;

  case TDX_HOST_WATCH_LOCK:
    if (rbx >= TDX_HOST_MAX_WATCHES || ! bx_probe.watch[rbx].addr || rdx >= rsi) return CONTROL_EINVAL;
    bx_probe.set_lock_watch(rbx, rdx, rsi);
    return CONTROL_OK;

  case TDX_HOST_TRACE:
    if (rbx >> TDX_HOST_MAX_WATCHES) return CONTROL_EINVAL;
    bx_probe.set_trace(rbx);
    return CONTROL_OK;

  case TDX_HOST_OWNER: {
    struct tdx_owner owner;
    *result = bx_owned_pages.get_owner(rbx, &owner) ?
      (Bit64u) owner.keyid << 52 | owner.tdr | owner.pt : 0;
    return CONTROL_OK;
  }

  case TDX_HOST_CHECK:
    if (! module) return CONTROL_ENODEV;
    *result = check(cpu);
    return CONTROL_OK;

  default:
    return CONTROL_EINVAL;
  }
}

bool bx_seam_c::cpuid(BX_CPU_C *cpu)
{
  if (! enabled) return false;

  bx_gen_reg_t *gpr = cpu->gen_reg;
  Bit64u result = 0;

  switch(gpr[BX_64BIT_REG_RAX].dword.erx) {
  case TDX_HOST_CPUID_ID:
    gpr[BX_64BIT_REG_RAX].rrx = TDX_HOST_MAX_COMMAND;
    gpr[BX_64BIT_REG_RBX].rrx = TDX_HOST_SIG_EBX;
    gpr[BX_64BIT_REG_RCX].rrx = TDX_HOST_SIG_ECX;
    gpr[BX_64BIT_REG_RDX].rrx = TDX_HOST_SIG_EDX;
    return true;

  case TDX_HOST_CPUID_CMD:
    gpr[BX_64BIT_REG_RAX].rrx =
      command(cpu, gpr[BX_64BIT_REG_RCX].dword.erx, gpr[BX_64BIT_REG_RBX].rrx,
              gpr[BX_64BIT_REG_RDX].rrx, gpr[BX_64BIT_REG_RSI].rrx, &result);
    gpr[BX_64BIT_REG_RBX].rrx = GET32L(result);
    gpr[BX_64BIT_REG_RCX].rrx = GET32H(result);
    gpr[BX_64BIT_REG_RDX].rrx = 0;
    return true;

  default:
    return false;
  }
}
