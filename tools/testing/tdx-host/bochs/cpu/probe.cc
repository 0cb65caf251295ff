// SPDX-License-Identifier: LGPL-2.1-or-later

#include "bochs.h"
#include "cpu.h"
#include "probe.h"
#include "pc_system.h"
#include "memory/memory-bochs.h"
#define LOG_THIS this->

bx_probe_c bx_probe;

static const bx_address KERNEL_STACK_SIZE = 16 * 1024;

bx_probe_c::bx_probe_c()
  : active(false), nr_calls(0), nr_held(0), nr_locks(0), addresses(0), traced(0)
{
  put("probe", "PROBE");
  memset(watch, 0, sizeof(watch));
  reset();
}

void bx_probe_c::reset(void)
{
  nr_movdir64b = nr_wbinvd = nr_clflush = nr_ipis = 0;

  for (unsigned slot = 0; slot < BX_PROBE_WATCHES; slot++) {
    watch_t *w = &watch[slot];
    w->calls = w->ipis = w->ticks = w->max_ticks = w->first = w->last = 0;
  }

  for (unsigned n = 0; n < nr_calls; n++)
    call[n].start = bx_pc_system.time_ticks();
  for (unsigned n = 0; n < nr_held; n++)
    held[n].start = bx_pc_system.time_ticks();
}

static unsigned hash(bx_address addr)
{
  return (addr ^ addr >> 6 ^ addr >> 12) & 63;
}

void bx_probe_c::set_watch(unsigned slot, bx_address addr)
{
  for (unsigned n = nr_calls; n-- > 0; )
    if (call[n].slot == slot) drop_call(n);
  for (unsigned n = nr_held; n-- > 0; )
    if (held[n].slot == slot) held[n] = held[--nr_held];
  if (watch[slot].lock) nr_locks = 0;

  memset(&watch[slot], 0, sizeof(watch[slot]));
  watch[slot].addr = addr;

  addresses = 0;
  for (unsigned n = 0; n < BX_PROBE_WATCHES; n++)
    if (watch[n].addr) addresses |= BX_CONST64(1) << hash(watch[n].addr);
  update_active();
}

void bx_probe_c::set_lock_watch(unsigned slot, bx_address from, bx_address to)
{
  watch[slot].lock = true;
  watch[slot].from = from;
  watch[slot].to = to;
  nr_locks = 0;
}

void bx_probe_c::update_active(void)
{
  active = nr_calls || nr_held || addresses;
}

bool bx_peek(BX_CPU_C *cpu, bx_address laddr, Bit64u *value)
{
  bx_phy_address paddr;
  Bit8u bytes[8];

  if (! cpu->dbg_xlate_linear2phy(laddr, &paddr) ||
      ! BX_MEM(0)->dbg_fetch_mem(cpu, paddr, 8, bytes)) return false;
  *value = ReadHostQWordFromLittleEndian((Bit64u *) bytes);
  return true;
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
  if (nr_held) look_at_locks(cpu);
  if (! in_kernel(cpu)) return;

  bx_address rip = cpu->gen_reg[BX_64BIT_REG_RIP].rrx;
  bx_address rsp = cpu->gen_reg[BX_64BIT_REG_RSP].rrx;

  // RET ends a trace.  After a tail call several calls return at once.
  for (unsigned n = nr_calls; n-- > 0; ) {
    if (call[n].return_addr == rip && call[n].rsp + 8 == rsp) {
      call_t c = call[n];
      drop_call(n);
      leave(cpu, c);
    }
  }

  // CALL ends a trace, so the entry of a function is the start of one.
  if (addresses >> hash(rip) & 1) {
    for (unsigned slot = 0; slot < BX_PROBE_WATCHES; slot++) {
      if (watch[slot].addr != rip) continue;

      Bit64u return_addr = 0;

      bx_peek(cpu, rsp, &return_addr);
      enter(cpu, slot, rsp, return_addr);
    }
  }

  update_active();
}

void bx_probe_c::enter(BX_CPU_C *cpu, unsigned slot, bx_address rsp, bx_address return_addr)
{
  watch_t *w = &watch[slot];
  bx_address rdi = cpu->gen_reg[BX_64BIT_REG_RDI].rrx;

  for (unsigned n = nr_calls; n-- > 0; ) {
    if (call[n].rsp == rsp && call[n].return_addr == return_addr) {
      // Its first instruction faulted, and is executed again.
      if (call[n].slot == slot) return;
    }
    // The stack was unwound past a call that never returned.
    else if (rsp - call[n].rsp < KERNEL_STACK_SIZE)
      drop_call(n);
  }

  if (w->lock) {
    if (! is_known_lock(rdi, return_addr >= w->from && return_addr < w->to)) return;
  }
  else {
    w->calls++;
    if (traced >> slot & 1)
      BX_INFO(("CPU %u: watch %u, 0x" FMT_ADDRX64 " is called by 0x" FMT_ADDRX64,
               cpu->which_cpu(), slot, (Bit64u) w->addr, (Bit64u) return_addr));
  }

  if (nr_calls == MAX_CALLS) {
    BX_ERROR(("too many watched calls in progress, RIP 0x" FMT_ADDRX64 " not timed",
              (Bit64u) w->addr));
    return;
  }
  call_t *c = &call[nr_calls++];
  c->slot = slot;
  c->rsp = rsp;
  c->return_addr = return_addr;
  c->lock = rdi;
  c->start = bx_pc_system.time_ticks();
}

void bx_probe_c::leave(BX_CPU_C *cpu, const call_t &c)
{
  if (watch[c.slot].lock)
    hold(cpu, c);
  else
    end(cpu, c.slot, 0, c.start);
}

void bx_probe_c::end(BX_CPU_C *cpu, unsigned slot, bx_address lock, Bit64u start)
{
  watch_t *w = &watch[slot];
  Bit64u now = bx_pc_system.time_ticks(), ticks = now - start;

  // "first" of a lock that was held at reset() is then
  if (w->last == 0 || start < w->first) w->first = start;
  w->last = now;
  w->ticks += ticks;
  if (ticks > w->max_ticks) w->max_ticks = ticks;

  if (traced >> slot & 1) {
    if (w->lock)
      BX_INFO(("CPU %u: watch %u, lock 0x" FMT_ADDRX64 " is free after " FMT_LL "u ticks",
               cpu->which_cpu(), slot, (Bit64u) lock, ticks));
    else
      BX_INFO(("CPU %u: watch %u, 0x" FMT_ADDRX64 " returns after " FMT_LL "u ticks",
               cpu->which_cpu(), slot, (Bit64u) w->addr, ticks));
  }
}

/////////////////////////////////////////////////////////////////////////
// Locks
/////////////////////////////////////////////////////////////////////////

bool bx_probe_c::is_known_lock(bx_address addr, bool learn)
{
  for (unsigned n = 0; n < nr_locks; n++)
    if (lock[n] == addr) return true;

  if (! learn) return false;
  if (nr_locks == MAX_LOCKS) {
    BX_ERROR(("too many locks, 0x" FMT_ADDRX64 " not watched", (Bit64u) addr));
    return false;
  }
  lock[nr_locks++] = addr;
  return true;
}

void bx_probe_c::hold(BX_CPU_C *cpu, const call_t &c)
{
  bx_phy_address paddr;

  if (nr_held == MAX_HOLDS || ! cpu->dbg_xlate_linear2phy(c.lock, &paddr) ||
      paddr >= BX_MEM(0)->get_memory_len()) {
    BX_ERROR(("lock 0x" FMT_ADDRX64 " cannot be watched", (Bit64u) c.lock));
    return;
  }

  hold_t *h = &held[nr_held];
  h->slot = c.slot;
  h->lock = c.lock;
  h->byte = BX_MEM(0)->get_vector(paddr);
  h->start = bx_pc_system.time_ticks();
  if (*h->byte == 0) {
    BX_ERROR(("lock 0x" FMT_ADDRX64 " is free, though it was just taken", (Bit64u) c.lock));
    return;
  }
  nr_held++;
  watch[c.slot].calls++;
  if (traced >> c.slot & 1)
    BX_INFO(("CPU %u: watch %u, lock 0x" FMT_ADDRX64 " is taken by 0x" FMT_ADDRX64,
             cpu->which_cpu(), c.slot, (Bit64u) c.lock, (Bit64u) c.return_addr));
}

// One that is free was released since the last look, at most a trace ago: no CPU
// begins to take it before it has come here.
void bx_probe_c::look_at_locks(BX_CPU_C *cpu)
{
  for (unsigned n = nr_held; n-- > 0; ) {
    if (*held[n].byte) continue;

    hold_t h = held[n];
    held[n] = held[--nr_held];
    end(cpu, h.slot, h.lock, h.start);
  }
  update_active();
}
