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

#ifndef BX_PROBE_H
#define BX_PROBE_H

class BX_CPU_C;

#define BX_PROBE_WATCHES 8

class bx_probe_c : public logfunctions {
public:
  bx_probe_c();

  // Counters go back to 0.  Watches stay, and a watched call that is in
  // progress counts its time from now on.
  void reset(void);

  // addr: linear address of the first instruction, 0 for none
  void set_watch(unsigned slot, bx_address addr);

  // CPU events, outside VMX non-root operation
  void movdir64b(void) { nr_movdir64b++; }
  void wbinvd(void) { nr_wbinvd++; }
  void ipi(BX_CPU_C *sender);
  void trace(BX_CPU_C *cpu); // about to execute the first instruction of a trace

  bool active;               // is there something that trace() has to look for?

  Bit64u nr_movdir64b, nr_wbinvd, nr_ipis;

  struct {
    bx_address addr;
    Bit64u calls, ipis, ticks;
  } watch[BX_PROBE_WATCHES];

private:
  void enter(unsigned slot, bx_address rsp, bx_address return_addr);
  void drop_call(unsigned n) { call[n] = call[--nr_calls]; }
  void update_active(void);

  // Watched calls that have not returned
  struct {
    unsigned slot;
    bx_address rsp;          // at the entry: points to the return address
    bx_address return_addr;
    Bit64u start;            // ticks
  } call[64];
  unsigned nr_calls;
};

extern bx_probe_c bx_probe;

#endif
