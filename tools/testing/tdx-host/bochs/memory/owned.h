// SPDX-License-Identifier: LGPL-2.1-or-later
//
// 4K frames that belong to a TD or to the TDX module.  The host has no business
// there, except that it clears a frame with MOVDIR64B; this counts each access.

#ifndef BX_OWNED_H
#define BX_OWNED_H

class BX_CPU_C;

class bx_owned_pages_c : public logfunctions {
public:
  bx_owned_pages_c();
  ~bx_owned_pages_c() { delete [] frames; }

  // memory_len: in bytes, a multiple of 4K.  All frames become the host's.
  void init(Bit64u memory_len);

  bool is_owned(bx_phy_address addr) const {
    return frames != NULL && (addr >> 12) < nr_frames && frames[addr >> 12];
  }

  // No CPU may keep a host pointer to an owned frame; this drops them.
  void set_owned(bx_phy_address addr, bool owned);

  // An access to an owned frame; cpu is NULL for DMA.
  void load(BX_CPU_C *cpu, bx_phy_address addr, unsigned len);
  void store(BX_CPU_C *cpu, bx_phy_address addr, unsigned len);
  void fetch(BX_CPU_C *cpu, bx_phy_address addr);

  Bit64u loads;   // instruction fetches included
  Bit64u stores;  // without the full lines of MOVDIR64B

private:
  void report(BX_CPU_C *cpu, const char *kind, bx_phy_address addr, unsigned len);

  Bit8u *frames;  // not 0: owned
  Bit64u nr_frames;
  unsigned reported;
};

extern bx_owned_pages_c bx_owned_pages;

#endif
