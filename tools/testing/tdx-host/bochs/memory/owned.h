// SPDX-License-Identifier: LGPL-2.1-or-later
//
// Who owns each 4K frame: the host, a TD, or the TDX module.  The host has no
// business in a frame that is not its own; each first load from one and each
// first store to one is reported.
//
// A line that a TD or the module wrote stays private (hardware: TD bit in the
// line's metadata) until the host writes to it.  Until then the host reads
// zeros.  With the partial-write erratum, a store of less than the line poisons
// it instead: the next load raises a machine check, and only MOVDIR64B of the
// whole line makes it good.
//
// There are no caches here, so every store counts as a partial write, apart from
// the full lines of MOVDIR64B.  On hardware the cache makes a full line of most
// stores, and only non-temporal ones, uncached memory and DMA do harm.  But a
// kernel that hands out a private line cannot know which of them comes next.

#ifndef BX_OWNED_H
#define BX_OWNED_H

class BX_CPU_C;
struct tdx_owner;

class bx_owned_pages_c : public logfunctions {
public:
  bx_owned_pages_c();
  ~bx_owned_pages_c() { forget(); }

  // memory_len: in bytes, a multiple of 4K.  All frames become the host's.
  void init(Bit64u memory_len, bool has_erratum);
  void forget(void);  // and see nothing from now on

  // A CPU may keep no host pointer to such a frame, so that each access is seen.
  bool is_watched(bx_phy_address addr) const {
    return watched != NULL && (addr >> 12) < nr_frames && watched[addr >> 12];
  }

  // NULL: the host
  void set_owned(bx_phy_address addr, const struct tdx_owner *owner);
  bool get_owner(bx_phy_address addr, struct tdx_owner *owner) const;

  // Another kernel takes the host over, to which all memory is its own.
  void host_restarts(void);

  // An access to a watched frame; cpu is NULL for DMA.  load() and fetch() do
  // not return if there is poison.
  bool load(BX_CPU_C *cpu, bx_phy_address addr, unsigned len); // are there zeros to be read?
  void store(BX_CPU_C *cpu, bx_phy_address addr, unsigned len);
  void fetch(BX_CPU_C *cpu, bx_phy_address addr);

  // Accesses of the host to frames of others
  Bit64u loads;   // instruction fetches included
  Bit64u stores;  // without the full lines of MOVDIR64B

private:
  struct frame_t {
    Bit64u private_lines, poisoned_lines; // a bit for each line
    Bit32u tdr;                           // frame number, 0: the module's
    Bit16u keyid;
    Bit8u pt;                             // of the owner, or of the last one
    bool owned, loaded, stored;           // the latter two: reported
  };

  frame_t *frame(bx_phy_address addr) { return &frames[addr >> 12]; }
  void access(BX_CPU_C *cpu, bool write, const char *what, bx_phy_address addr, unsigned len);
  void consume_poison(BX_CPU_C *cpu, bx_phy_address addr, Bit64u lines);

  Bit8u *watched;  // not 0: owned, or some line is private
  frame_t *frames;
  Bit64u nr_frames;
  bool erratum;
};

extern bx_owned_pages_c bx_owned_pages;

#endif
