// SPDX-License-Identifier: LGPL-2.1-or-later
//
// Machine checks by poisoned memory, which the rest of Bochs has not.  The banks
// are configurable MSRs (IA32_MCG_CAP 179H ff.), each CPU has its own bank 0.
// As on a platform without local machine checks, every CPU takes one.

#define NEED_CPU_REG_SHORTCUTS 1
#include "bochs.h"
#include "cpu.h"
#include "crregs.h"
#include "pc_system.h"
#define LOG_THIS BX_CPU_THIS_PTR

enum { MSR_MCG_STATUS = 0x17a, MSR_MC0_STATUS = 0x401, MSR_MC0_ADDR = 0x402, MSR_MC0_MISC = 0x403 };

static const Bit64u MCG_RIPV = 1 << 0, MCG_EIPV = 1 << 1, MCG_MCIP = 1 << 2;

// Valid, uncorrected, enabled, with MISC and ADDR; signaled, action required: a
// load of data.  MISC: a physical address, of a line of 64 bytes.
static const Bit64u MC_STATUS_LOAD_OF_POISON = BX_CONST64(0xbd80000000000134);
static const Bit64u MC_MISC_LINE = 2 << 6 | 6;

bool BX_CPU_C::has_machine_check_bank(void)
{
  return BX_CPU_THIS_PTR msrs[MSR_MCG_STATUS] && BX_CPU_THIS_PTR msrs[MSR_MC0_STATUS] &&
         BX_CPU_THIS_PTR msrs[MSR_MC0_ADDR] && BX_CPU_THIS_PTR msrs[MSR_MC0_MISC];
}

void BX_CPU_C::machine_check(bx_phy_address addr)
{
  BX_CPU_THIS_PTR msrs[MSR_MC0_STATUS]->set64(MC_STATUS_LOAD_OF_POISON);
  BX_CPU_THIS_PTR msrs[MSR_MC0_ADDR]->set64(addr);
  BX_CPU_THIS_PTR msrs[MSR_MC0_MISC]->set64(MC_MISC_LINE);

  for (unsigned n = 0; n < BX_SMP_PROCESSORS; n++)
    if (BX_CPU(n) != BX_CPU_THIS && BX_CPU(n)->activity_state != BX_ACTIVITY_STATE_WAIT_FOR_SIPI)
      BX_CPU(n)->signal_event(BX_EVENT_MACHINE_CHECK);

  // exception() leaves them alone for an abort, but the load can be restarted
  RIP = BX_CPU_THIS_PTR prev_rip;
  if (BX_CPU_THIS_PTR speculative_rsp) RSP = BX_CPU_THIS_PTR prev_rsp;
  BX_CPU_THIS_PTR speculative_rsp = false;

  deliver_machine_check(MCG_RIPV | MCG_EIPV | MCG_MCIP);
}

// One that another CPU has raised
void BX_CPU_C::handle_machine_check(void)
{
  deliver_machine_check(MCG_RIPV | MCG_MCIP);
}

void BX_CPU_C::deliver_machine_check(Bit64u mcg_status)
{
  clear_event(BX_EVENT_MACHINE_CHECK);

  if (! BX_CPU_THIS_PTR cr4.get_MCE())
    BX_FATAL(("machine check while CR4.MCE is 0, RIP " FMT_ADDRX64, (Bit64u) RIP));
  if (BX_CPU_THIS_PTR msrs[MSR_MCG_STATUS]->get64() & MCG_MCIP)
    BX_FATAL(("machine check during a machine check, RIP " FMT_ADDRX64, (Bit64u) RIP));

  BX_CPU_THIS_PTR msrs[MSR_MCG_STATUS]->set64(mcg_status);
  exception(BX_MC_EXCEPTION, 0);
}
