// SPDX-License-Identifier: LGPL-2.1-or-later
//
// The platform under the software model of the TDX module: loads it, hands it
// the CPUs' SEAMCALLs, and answers the guest OS that asks how the host fares.

#ifndef BX_SEAM_H
#define BX_SEAM_H

#include "tdx_module.h"

class BX_CPU_C;

class bx_seam_c : public logfunctions {
public:
  bx_seam_c();
  ~bx_seam_c() { tdx_module_free(module); }

  // Reset of the platform.  One of the hardware loads the module afresh.
  void reset(unsigned type);

  bool is_enabled(void) const { return enabled; }

  // SEAMCALL that passed the checks of the instruction
  tdx_outcome call(BX_CPU_C *cpu);

  // For a CPU in a TD: TDX_IN_GUEST if it stays there
  tdx_outcome poll(BX_CPU_C *cpu);

  // For a CPU whose SEAMCALL is through: false if its modelled time has not passed
  bool is_over(unsigned cpu) const;

  // CPUID leaves of tdx_host_model.h.  Returns false if it is another leaf.
  bool cpuid(BX_CPU_C *cpu);

private:
  void load_module(void);
  void init_owned_pages(void);
  tdx_outcome account(BX_CPU_C *cpu, const tdx_cpu &c, tdx_outcome outcome);
  static void stall_timer_handler(void *) {}

  unsigned command(BX_CPU_C *cpu, Bit32u cmd, Bit64u rbx, Bit64u rdx, Bit64u rsi, Bit64u *result);
  bool read_counter(Bit64u index, Bit64u *value) const;
  unsigned set_fault(Bit64u rbx, Bit64u rdx, Bit64u rsi);
  unsigned read_fault(Bit64u slot, Bit64u part, Bit64u *result) const;
  unsigned scenario(Bit64u rbx, Bit64u rdx);
  bool check(BX_CPU_C *cpu) const;
  void reset_counters(void);

  bool enabled;
  struct tdx_module *module;  // NULL: not loaded
  Bit64u tsc_hz;

  Bit64u nr_calls;
  Bit64u nr_leaf_calls[0x100], nr_leaf_errors[0x100];
  Bit64u reset_ticks;         // when the counters were reset

  Bit64u leaf[TDX_MAX_LPS];   // of the SEAMCALL in progress
  Bit64u stall_end[TDX_MAX_LPS];
  int stall_timer[TDX_MAX_LPS];
};

extern bx_seam_c bx_seam;

#endif
