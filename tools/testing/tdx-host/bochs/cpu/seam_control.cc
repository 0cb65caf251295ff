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

#if TDX_HOST_MAX_WATCHES != BX_PROBE_WATCHES
  #error "one probe for each watch"
#endif

static_assert((unsigned) TDX_HOST_REPORT_KINDS == (unsigned) BX_REPORT_KINDS, "one number for each kind");

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

  struct tdx_usage usage;
  memset(&usage, 0, sizeof(usage));
  if (module) tdx_get_usage(module, &usage);

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
  default: return false;
  }
  return true;
}

unsigned bx_seam_c::command(Bit32u cmd, Bit64u rbx, Bit64u rdx, Bit64u rsi, Bit64u *result)
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

  case TDX_HOST_FAULT: {
    if (! module) return CONTROL_ENODEV;

    struct tdx_fault fault;
    fault.leaf = GET32L(rbx);
    fault.count = GET32H(rbx);
    fault.nth = rdx;
    fault.status = rsi;
    if (fault.leaf != GET32L(rbx) || (fault.count && ! fault.nth)) return CONTROL_EINVAL;
    tdx_set_fault(module, &fault);
    return CONTROL_OK;
  }

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
      command(gpr[BX_64BIT_REG_RCX].dword.erx, gpr[BX_64BIT_REG_RBX].rrx,
              gpr[BX_64BIT_REG_RDX].rrx, gpr[BX_64BIT_REG_RSI].rrx, &result);
    gpr[BX_64BIT_REG_RBX].rrx = GET32L(result);
    gpr[BX_64BIT_REG_RCX].rrx = GET32H(result);
    gpr[BX_64BIT_REG_RDX].rrx = 0;
    return true;

  default:
    return false;
  }
}
