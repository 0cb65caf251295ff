// SPDX-License-Identifier: LGPL-2.1-or-later

#include "bochs.h"
#include "cpu/cpu.h"
#include "cpu/report.h"
#include "pc_system.h"
#include "memory/owned.h"
#include "tdx_module.h"
#define LOG_THIS this->

bx_owned_pages_c bx_owned_pages;

static const Bit64u ALL_LINES = ~BX_CONST64(0);

bx_owned_pages_c::bx_owned_pages_c()
  : loads(0), stores(0), watched(NULL), frames(NULL), nr_frames(0), erratum(false)
{
  put("owned_pages", "OWNED");
}

void bx_owned_pages_c::forget(void)
{
  free(watched);
  free(frames);
  watched = NULL;
  frames = NULL;
}

void bx_owned_pages_c::init(Bit64u memory_len, bool has_erratum)
{
  forget();
  erratum = has_erratum;
  nr_frames = memory_len >> 12;
  // calloc() takes no memory for what is never touched
  watched = (Bit8u *) calloc(nr_frames, sizeof(*watched));
  frames = (frame_t *) calloc(nr_frames, sizeof(*frames));
  if (! watched || ! frames)
    BX_FATAL(("no memory for the owners of " FMT_LL "u frames", nr_frames));
}

void bx_owned_pages_c::set_owned(bx_phy_address addr, const tdx_owner *owner)
{
  if (! watched || (addr >> 12) >= nr_frames) return;

  frame_t *f = frame(addr);
  f->owned = owner != NULL;
  f->loaded = f->stored = false;
  if (owner) {
    f->tdr = (Bit32u)(owner->tdr >> 12);
    f->keyid = owner->keyid;
    f->pt = owner->pt;
    f->private_lines = ALL_LINES;
    f->poisoned_lines = 0;
  }
  else if (! erratum)
    f->private_lines = 0;

  watched[addr >> 12] = f->private_lines != 0;
  bx_pc_system.forget_frame(addr);
}

bool bx_owned_pages_c::get_owner(bx_phy_address addr, tdx_owner *owner) const
{
  if (! is_watched(addr) || ! frames[addr >> 12].owned) return false;

  const frame_t *f = &frames[addr >> 12];
  owner->tdr = (Bit64u) f->tdr << 12;
  owner->keyid = f->keyid;
  owner->pt = f->pt;
  return true;
}

void bx_owned_pages_c::host_restarts(void)
{
  if (! watched) return;

  for (Bit64u n = 0; n < nr_frames; n++) {
    frames[n].owned = false;
    if (! erratum) frames[n].private_lines = 0;
    watched[n] = frames[n].private_lines != 0;
  }
}

static Bit64u lines_of(bx_phy_address addr, unsigned len)
{
  unsigned first = (addr & 0xfff) >> 6, last = ((addr & 0xfff) + len - 1) >> 6;

  return (ALL_LINES >> (63 - last)) & (ALL_LINES << first);
}

void bx_owned_pages_c::access(BX_CPU_C *cpu, bool write, const char *what,
                              bx_phy_address addr, unsigned len)
{
  frame_t *f = frame(addr);

  // clearing a page would fill the log
  if (write ? f->stored : f->loaded) return;
  (write ? f->stored : f->loaded) = true;

  tdx_owner owner;
  get_owner(addr, &owner);
  bx_report.owned_access(cpu, write, what, addr, len, owner);
}

void bx_owned_pages_c::consume_poison(BX_CPU_C *cpu, bx_phy_address addr, Bit64u lines)
{
  lines &= frame(addr)->poisoned_lines;
  if (! lines || ! cpu) return; // a device gets an error that is its own

  bx_phy_address line = addr & ~(bx_phy_address) 0xfff;
  for (; ! (lines & 1); lines >>= 1) line += 64;
  bx_report.poison_consumed(cpu, line);
  cpu->machine_check(line);
}

bool bx_owned_pages_c::load(BX_CPU_C *cpu, bx_phy_address addr, unsigned len)
{
  Bit64u lines = lines_of(addr, len);

  if (frame(addr)->owned) {
    loads++;
    access(cpu, false, "load", addr, len);
  }
  consume_poison(cpu, addr, lines);
  return (frame(addr)->private_lines & lines) != 0;
}

void bx_owned_pages_c::fetch(BX_CPU_C *cpu, bx_phy_address addr)
{
  unsigned len = 4096 - (addr & 0xfff);

  if (frame(addr)->owned) {
    loads++;
    access(cpu, false, "instruction fetch", addr, len);
  }
  consume_poison(cpu, addr, lines_of(addr, 1));
}

void bx_owned_pages_c::store(BX_CPU_C *cpu, bx_phy_address addr, unsigned len)
{
  frame_t *f = frame(addr);
  Bit64u lines = lines_of(addr, len);
  // 64 bytes alone do not tell: a vector store may be torn
  bool movdir64b = cpu && len == 64 && cpu->in_movdir64b();

  if (f->owned) {
    if (! movdir64b) stores++;
    access(cpu, true, movdir64b ? "MOVDIR64B" : "store", addr, len);
  }

  if (erratum && ! movdir64b) {
    f->poisoned_lines |= f->private_lines & lines;
    return;
  }

  f->private_lines &= ~lines;
  f->poisoned_lines &= ~lines;
  if (! f->private_lines && ! f->owned) {
    watched[addr >> 12] = 0;
    bx_pc_system.forget_frame(addr);
  }
}
