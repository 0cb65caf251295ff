// SPDX-License-Identifier: LGPL-2.1-or-later

#define NEED_CPU_REG_SHORTCUTS 1
#include "bochs.h"
#include "cpu.h"
#include "probe.h"
#include "report.h"
#include "pc_system.h"
#include "tdx_module.h"
#define LOG_THIS this->

bx_report_c bx_report;

static const char *kind_name[BX_REPORT_KINDS] = {
  "vmxoff-active-vmcs",
  "reset-active-vmcs",
  "vmcs-on-two-cpus",
  "parked-unflushed",
  "kexec-unflushed",
  "blocked-init",
  "reset-blocked-init",
  "svme-off-gif-0",
  "owned-load",
  "owned-store",
  "poison-load",
  "model-invariant",
  "asid-shared",
};

bx_report_c::bx_report_c() : nr_leaving(0)
{
  put("report", "REPORT");
  memset(count, 0, sizeof(count));
  memset(state, 0, sizeof(state));
}

bx_report_c::~bx_report_c()
{
  for (unsigned n = 0; n < BX_MAX_SMP_THREADS_SUPPORTED; n++) {
    free(state[n].vmcs);
    free(state[n].asid_vmcb);
  }
}

void bx_report_c::report(BX_CPU_C *cpu, bx_report_kind kind, const char *fmt, ...)
{
  char what[256];
  va_list ap;

  va_start(ap, fmt);
  vsnprintf(what, sizeof(what), fmt, ap);
  va_end(ap);

  count[kind]++;
  if (! cpu) {
    BX_ERROR(("%s: DMA: %s", kind_name[kind], what));
    return;
  }
  BX_ERROR(("%s: CPU %u, RIP " FMT_ADDRX64 ": %s", kind_name[kind],
            cpu->which_cpu(), (Bit64u) cpu->prev_rip, what));
}

/////////////////////////////////////////////////////////////////////////
// Active VMCSs
/////////////////////////////////////////////////////////////////////////

bool bx_report_c::cpu_state::contains(bx_phy_address addr) const
{
  for (unsigned n = 0; n < nr_vmcs; n++)
    if (vmcs[n] == addr) return true;
  return false;
}

bool bx_report_c::cpu_state::remove(bx_phy_address addr)
{
  for (unsigned n = 0; n < nr_vmcs; n++) {
    if (vmcs[n] == addr) {
      vmcs[n] = vmcs[--nr_vmcs];
      return true;
    }
  }
  return false;
}

void bx_report_c::vmptrld(BX_CPU_C *cpu, bx_phy_address vmcs)
{
  cpu_state *s = &state[cpu->which_cpu()];
  if (s->contains(vmcs)) return;

  for (unsigned n = 0; n < BX_SMP_PROCESSORS; n++)
    if (state[n].contains(vmcs))
      report(cpu, BX_REPORT_VMCS_ON_TWO_CPUS,
             "VMPTRLD of VMCS 0x" FMT_PHY_ADDRX ", which is active on CPU %u", vmcs, n);

  if (s->nr_vmcs == s->max_vmcs) {
    s->max_vmcs = 2 * s->max_vmcs + 16;
    s->vmcs = (bx_phy_address *) realloc(s->vmcs, s->max_vmcs * sizeof(*s->vmcs));
  }
  s->vmcs[s->nr_vmcs++] = vmcs;
}

void bx_report_c::vmclear(BX_CPU_C *cpu, bx_phy_address vmcs)
{
  state[cpu->which_cpu()].remove(vmcs);
}

void bx_report_c::active_vmcs(BX_CPU_C *cpu, bx_report_kind kind, const char *event)
{
  const cpu_state *s = &state[cpu->which_cpu()];

  if (s->nr_vmcs)
    report(cpu, kind, "%s while %u VMCSs are active, the first at 0x" FMT_PHY_ADDRX,
           event, s->nr_vmcs, s->vmcs[0]);
}

void bx_report_c::vmxoff(BX_CPU_C *cpu)
{
  active_vmcs(cpu, BX_REPORT_VMXOFF_ACTIVE_VMCS, "VMXOFF");
}

/////////////////////////////////////////////////////////////////////////
// ASIDs
/////////////////////////////////////////////////////////////////////////

void bx_report_c::cpu_state::flush_asids(void)
{
  if (max_asids) memset(asid_vmcb, 0, max_asids * sizeof(*asid_vmcb));
}

void bx_report_c::vmrun(BX_CPU_C *cpu, bx_phy_address vmcb, Bit32u asid, Bit32u tlb_control)
{
  cpu_state *s = &state[cpu->which_cpu()];

  if (asid >= s->max_asids) {
    unsigned max = 2 * asid + 16;
    s->asid_vmcb = (bx_phy_address *) realloc(s->asid_vmcb, max * sizeof(*s->asid_vmcb));
    memset(s->asid_vmcb + s->max_asids, 0, (max - s->max_asids) * sizeof(*s->asid_vmcb));
    s->max_asids = max;
  }

  if (tlb_control == 1)
    s->flush_asids();
  else if (! tlb_control && s->asid_vmcb[asid] && s->asid_vmcb[asid] != vmcb)
    report(cpu, BX_REPORT_ASID_SHARED,
           "VMRUN of VMCB 0x" FMT_PHY_ADDRX " with ASID %u, which VMCB 0x" FMT_PHY_ADDRX
           " has used, without a flush", vmcb, asid, s->asid_vmcb[asid]);
  s->asid_vmcb[asid] = vmcb;
}

/////////////////////////////////////////////////////////////////////////
// Caches
/////////////////////////////////////////////////////////////////////////

void bx_report_c::seamcall(BX_CPU_C *cpu)
{
  state[cpu->which_cpu()].caches = cpu_state::UNFLUSHED;
}

void bx_report_c::wbinvd(BX_CPU_C *cpu)
{
  state[cpu->which_cpu()].caches = cpu_state::CLEAN;
}

void bx_report_c::unflushed(BX_CPU_C *cpu, bx_report_kind kind, const char *event)
{
  cpu_state *s = &state[cpu->which_cpu()];

  if (s->caches != cpu_state::UNFLUSHED) return;
  s->caches = cpu_state::REPORTED;
  report(cpu, kind, "%s without WBINVD since its last SEAMCALL", event);
}

void bx_report_c::sleep(BX_CPU_C *cpu)
{
  if (! cpu->is_masked_event(BX_EVENT_NMI))
    unflushed(cpu, BX_REPORT_PARKED_UNFLUSHED, "the CPU is parked");
}

void bx_report_c::cr4_osfxsr_cleared(BX_CPU_C *cpu)
{
  cpu_state *s = &state[cpu->which_cpu()];

  if (! s->leaving) nr_leaving++;
  s->leaving = true;
  s->leaving_from = cpu->pAddrFetchPage;
}

void bx_report_c::leave(BX_CPU_C *cpu)
{
  cpu_state *s = &state[cpu->which_cpu()];

  if (! s->leaving || s->leaving_from == cpu->pAddrFetchPage) return;
  s->leaving = false;
  nr_leaving--;
  BX_INFO(("CPU %u starts another kernel at 0x" FMT_PHY_ADDRX,
           cpu->which_cpu(), cpu->pAddrFetchPage));
  unflushed(cpu, BX_REPORT_KEXEC_UNFLUSHED, "another kernel starts");
}

/////////////////////////////////////////////////////////////////////////
// INIT and reset
/////////////////////////////////////////////////////////////////////////

static bool gif_is_0(BX_CPU_C *cpu)
{
#if BX_SUPPORT_SVM
  return ! cpu->svm_gif;
#else
  return false;
#endif
}

void bx_report_c::init_arrives(BX_CPU_C *cpu)
{
  cpu_state *s = &state[cpu->which_cpu()];

  if (s->init_blocked) return;

  if (cpu->in_vmx_guest)
    report(cpu, BX_REPORT_BLOCKED_INIT, "INIT in VMX non-root operation causes a VM exit");
  else if (cpu->in_vmx) {
    s->init_blocked = true;
    report(cpu, BX_REPORT_BLOCKED_INIT, "INIT is blocked, the CPU is in VMX operation");
  }
  else if (gif_is_0(cpu)) {
    s->init_blocked = true;
    report(cpu, BX_REPORT_BLOCKED_INIT, "INIT is blocked, GIF is 0");
  }
}

void bx_report_c::init_delivered(BX_CPU_C *cpu)
{
  cpu_state *s = &state[cpu->which_cpu()];

  if (s->init_blocked)
    BX_INFO(("CPU %u: the INIT that was blocked %s", cpu->which_cpu(),
             cpu->in_vmx_guest ? "causes a VM exit" : "resets it"));
  s->init_blocked = false;

  if (! cpu->in_vmx_guest) {
    active_vmcs(cpu, BX_REPORT_RESET_ACTIVE_VMCS, "INIT");
    s->nr_vmcs = 0;
    s->flush_asids();
    if (! cpu->is_masked_event(BX_EVENT_NMI))
      unflushed(cpu, BX_REPORT_PARKED_UNFLUSHED, "INIT");
  }
}

void bx_report_c::platform_reset(void)
{
  if (bx_pc_system.time_ticks() == 0) return; // power-on

  for (unsigned n = 0; n < BX_SMP_PROCESSORS; n++) {
    BX_CPU_C *cpu = BX_CPU(n);

    if (cpu->in_vmx)
      report(cpu, BX_REPORT_RESET_BLOCKED_INIT, "reset while the CPU is in VMX operation");
    else if (gif_is_0(cpu))
      report(cpu, BX_REPORT_RESET_BLOCKED_INIT, "reset while GIF is 0");
    active_vmcs(cpu, BX_REPORT_RESET_ACTIVE_VMCS, "reset");

    cpu_state *s = &state[n];
    s->nr_vmcs = 0;
    s->flush_asids();
    s->caches = cpu_state::CLEAN;
    s->leaving = s->init_blocked = false;
  }
  nr_leaving = 0;
}

/////////////////////////////////////////////////////////////////////////
// Memory of TDs
/////////////////////////////////////////////////////////////////////////

// The functions that called this one, if the kernel keeps frame pointers
static const char *callers(BX_CPU_C *cpu)
{
  static char text[128];
  unsigned len = 0;

  text[0] = 0;
  if (! cpu || ! cpu->long64_mode() || cpu->user_pl || cpu->in_vmx_guest) return text;

  bx_address frame = cpu->gen_reg[BX_64BIT_REG_RBP].rrx;
  for (unsigned n = 0; n < 5; n++) {
    Bit64u next, return_addr;

    if (! bx_peek(cpu, frame, &next) || ! bx_peek(cpu, frame + 8, &return_addr) ||
        next <= frame) break;
    len += snprintf(text + len, sizeof(text) - len, "%s" FMT_ADDRX64,
                    n ? " < " : ", called by ", return_addr);
    frame = next;
  }
  return text;
}

static const char *page_type(unsigned pt)
{
  switch(pt) {
    case 1: return "PAMT";
    case 3: return "private memory";
    case 4: return "TDR";
    case 5: return "TDCX";
    case 6: return "TDVPR";
    case 8: return "S-EPT";
    default: return "memory";
  }
}

void bx_report_c::owned_access(BX_CPU_C *cpu, bool write, const char *what, bx_phy_address addr,
                               unsigned len, const tdx_owner &owner)
{
  char of[64] = "the TDX module";

  if (owner.tdr)
    snprintf(of, sizeof(of), "the TD with TDR 0x" FMT_LL "x, KeyID %u", (Bit64u) owner.tdr, owner.keyid);
  report(cpu, write ? BX_REPORT_OWNED_STORE : BX_REPORT_OWNED_LOAD,
         "%s of %u bytes at 0x" FMT_PHY_ADDRX ": %s of %s%s", what, len, addr,
         page_type(owner.pt), of, callers(cpu));
}

void bx_report_c::poison_consumed(BX_CPU_C *cpu, bx_phy_address line)
{
  report(cpu, BX_REPORT_POISON_LOAD, "load from the poisoned line at 0x" FMT_PHY_ADDRX "%s",
         line, callers(cpu));
}

/////////////////////////////////////////////////////////////////////////
// Others
/////////////////////////////////////////////////////////////////////////

void bx_report_c::model_invariant(BX_CPU_C *cpu, const char *why)
{
  report(cpu, BX_REPORT_MODEL_INVARIANT, "%s", why);
}

void bx_report_c::svme_cleared(BX_CPU_C *cpu)
{
  if (gif_is_0(cpu))
    report(cpu, BX_REPORT_SVME_OFF_GIF_0,
           "EFER.SVME is cleared while GIF is 0, so STGI cannot set it again");
}
