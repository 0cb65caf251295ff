// SPDX-License-Identifier: LGPL-2.1-or-later

#include "bochs.h"
#include "cpu.h"
#include "probe.h"
#include "pc_system.h"
#include "memory/memory-bochs.h"
#define LOG_THIS this->

bx_probe_c bx_probe;

static const bx_address KERNEL_STACK_SIZE = 16 * 1024;

bx_probe_c::bx_probe_c() : active(false), nr_calls(0)
{
  put("probe", "PROBE");
  memset(watch, 0, sizeof(watch));
  reset();
}

void bx_probe_c::reset(void)
{
  nr_movdir64b = nr_wbinvd = nr_ipis = 0;

  for (unsigned slot = 0; slot < BX_PROBE_WATCHES; slot++)
    watch[slot].calls = watch[slot].ipis = watch[slot].ticks = 0;

  for (unsigned n = 0; n < nr_calls; n++)
    call[n].start = bx_pc_system.time_ticks();
}

void bx_probe_c::set_watch(unsigned slot, bx_address addr)
{
  for (unsigned n = nr_calls; n-- > 0; )
    if (call[n].slot == slot) drop_call(n);

  memset(&watch[slot], 0, sizeof(watch[slot]));
  watch[slot].addr = addr;
  update_active();
}

void bx_probe_c::update_active(void)
{
  active = nr_calls > 0;
  for (unsigned slot = 0; slot < BX_PROBE_WATCHES; slot++)
    active |= watch[slot].addr != 0;
}

static bool in_kernel(BX_CPU_C *cpu)
{
  return cpu->long64_mode() && ! cpu->user_pl && ! cpu->in_vmx_guest;
}

void bx_probe_c::ipi(BX_CPU_C *sender)
{
  nr_ipis++;

  if (nr_calls == 0 || ! in_kernel(sender)) return;

  bx_address rsp = sender->gen_reg[BX_64BIT_REG_RSP].rrx;
  unsigned slots = 0; // a recursive function sends an IPI but once

  for (unsigned n = 0; n < nr_calls; n++)
    if (call[n].rsp - rsp < KERNEL_STACK_SIZE) slots |= 1 << call[n].slot;

  for (unsigned slot = 0; slot < BX_PROBE_WATCHES; slot++)
    if (slots & (1 << slot)) watch[slot].ipis++;
}

void bx_probe_c::trace(BX_CPU_C *cpu)
{
  if (! in_kernel(cpu)) return;

  bx_address rip = cpu->gen_reg[BX_64BIT_REG_RIP].rrx;
  bx_address rsp = cpu->gen_reg[BX_64BIT_REG_RSP].rrx;

  // RET ends a trace.  After a tail call several calls return at once.
  for (unsigned n = nr_calls; n-- > 0; ) {
    if (call[n].return_addr == rip && call[n].rsp + 8 == rsp) {
      watch[call[n].slot].ticks += bx_pc_system.time_ticks() - call[n].start;
      drop_call(n);
    }
  }

  // CALL ends a trace, so the entry of a function is the start of one.
  for (unsigned slot = 0; slot < BX_PROBE_WATCHES; slot++) {
    if (watch[slot].addr != rip) continue;

    bx_phy_address paddr;
    Bit8u bytes[8];
    bx_address return_addr = 0;

    if (cpu->dbg_xlate_linear2phy(rsp, &paddr) &&
        BX_MEM(0)->dbg_fetch_mem(cpu, paddr, 8, bytes))
      return_addr = ReadHostQWordFromLittleEndian((Bit64u *) bytes);
    enter(slot, rsp, return_addr);
  }

  update_active();
}

void bx_probe_c::enter(unsigned slot, bx_address rsp, bx_address return_addr)
{
  for (unsigned n = nr_calls; n-- > 0; ) {
    if (call[n].rsp == rsp && call[n].return_addr == return_addr) {
      // Its first instruction faulted, and is executed again.
      if (call[n].slot == slot) return;
    }
    // The stack was unwound past a call that never returned.
    else if (rsp - call[n].rsp < KERNEL_STACK_SIZE)
      drop_call(n);
  }

  watch[slot].calls++;

  if (nr_calls == sizeof(call) / sizeof(call[0])) {
    BX_ERROR(("too many watched calls in progress, RIP 0x" FMT_ADDRX64 " not timed",
              (Bit64u) watch[slot].addr));
    return;
  }
  call[nr_calls].slot = slot;
  call[nr_calls].rsp = rsp;
  call[nr_calls].return_addr = return_addr;
  call[nr_calls].start = bx_pc_system.time_ticks();
  nr_calls++;
}
