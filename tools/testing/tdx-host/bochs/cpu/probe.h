// SPDX-License-Identifier: LGPL-2.1-or-later
//
// Counts what the guest OS does and cannot count itself, and watches functions
// of its kernel: how often they are called, how long they take, and how many
// IPIs they send.
//
// A watched call lasts from its entry to its return, in whichever CPU that
// happens.  It sends an IPI if that is sent with RSP at most 16 KiB (the size of
// a kernel stack) below that of the entry: what interrupts do on a stack of
// their own, or other tasks while the call sleeps, is not its doing.
//
// If the function takes a lock, what counts is how long that is held instead.

#ifndef BX_PROBE_H
#define BX_PROBE_H

class BX_CPU_C;

#define BX_PROBE_WATCHES 16

class bx_probe_c : public logfunctions {
public:
  bx_probe_c();

  // Counters go back to 0.  Watches stay, and a watched call that is in
  // progress counts its time from now on.
  void reset(void);

  // addr: linear address of the first instruction, 0 for none
  void set_watch(unsigned slot, bx_address addr);

  // The function takes the lock at RDI, which is held from its return until the
  // byte there is 0, however it is released.  Locks that a caller in [from, to)
  // has taken once count, whoever takes them from then on.
  void set_lock_watch(unsigned slot, bx_address from, bx_address to);

  // Log the calls of these watches, a bit for each
  void set_trace(Bit32u slots) { traced = slots; }

  // CPU events, outside VMX non-root operation
  void movdir64b(void) { nr_movdir64b++; }
  void wbinvd(void) { nr_wbinvd++; }
  void clflush(void) { nr_clflush++; }
  void ipi(BX_CPU_C *sender);
  void trace(BX_CPU_C *cpu); // about to execute the first instruction of a trace

  bool active;               // is there something that trace() has to look for?

  Bit64u nr_movdir64b, nr_wbinvd, nr_clflush, nr_ipis;

  struct watch_t {
    bx_address addr;
    bool lock;
    bx_address from, to;      // callers that tell which locks
    Bit64u calls, ipis;
    Bit64u ticks, max_ticks;  // all, of the longest
    Bit64u first, last;       // when the first call began, and the last one ended
  } watch[BX_PROBE_WATCHES];

private:
  struct call_t {
    unsigned slot;
    bx_address rsp;          // at the entry: points to the return address
    bx_address return_addr;
    bx_address lock;
    Bit64u start;            // ticks
  };
  struct hold_t {
    unsigned slot;
    bx_address lock;
    const Bit8u *byte;
    Bit64u start;
  };
  enum { MAX_CALLS = 64, MAX_HOLDS = 16, MAX_LOCKS = 16 };

  void enter(BX_CPU_C *cpu, unsigned slot, bx_address rsp, bx_address return_addr);
  void leave(BX_CPU_C *cpu, const call_t &c);
  void end(BX_CPU_C *cpu, unsigned slot, bx_address lock, Bit64u start);
  bool is_known_lock(bx_address lock, bool learn);
  void hold(BX_CPU_C *cpu, const call_t &c);
  void look_at_locks(BX_CPU_C *cpu);
  void drop_call(unsigned n) { call[n] = call[--nr_calls]; }
  void update_active(void);

  call_t call[MAX_CALLS];    // watched calls that have not returned
  unsigned nr_calls;
  hold_t held[MAX_HOLDS];
  unsigned nr_held;
  bx_address lock[MAX_LOCKS];
  unsigned nr_locks;

  Bit64u addresses;          // a hash of each watched one sets a bit
  Bit32u traced;
};

extern bx_probe_c bx_probe;

// What is at a linear address, with no side effect; false: nothing is mapped
bool bx_peek(BX_CPU_C *cpu, bx_address laddr, Bit64u *value);

#endif
