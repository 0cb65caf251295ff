// SPDX-License-Identifier: LGPL-2.1-or-later

#include "bochs.h"
#include "cpu/cpu.h"
#include "pc_system.h"
#include "memory/owned.h"
#define LOG_THIS this->

bx_owned_pages_c bx_owned_pages;

static const unsigned BX_OWNED_MAX_REPORTS = 32;

bx_owned_pages_c::bx_owned_pages_c()
  : loads(0), stores(0), frames(NULL), nr_frames(0), reported(0)
{
  put("owned_pages", "OWNED");
}

void bx_owned_pages_c::init(Bit64u memory_len)
{
  delete [] frames;
  nr_frames = memory_len >> 12;
  frames = new Bit8u[nr_frames]();
}

void bx_owned_pages_c::set_owned(bx_phy_address addr, bool owned)
{
  if ((addr >> 12) >= nr_frames) return;

  frames[addr >> 12] = owned;

  bx_pc_system.forget_frame(addr);
}

void bx_owned_pages_c::report(BX_CPU_C *cpu, const char *kind, bx_phy_address addr, unsigned len)
{
  if (reported >= BX_OWNED_MAX_REPORTS) return;
  reported++;

  if (cpu)
    BX_ERROR(("CPU %u, RIP " FMT_ADDRX64 ": %s of %u bytes at 0x" FMT_PHY_ADDRX,
              cpu->which_cpu(), (Bit64u) cpu->prev_rip, kind, len, addr));
  else
    BX_ERROR(("DMA: %s of %u bytes at 0x" FMT_PHY_ADDRX, kind, len, addr));

  if (reported == BX_OWNED_MAX_REPORTS)
    BX_ERROR(("further accesses are counted only"));
}

void bx_owned_pages_c::load(BX_CPU_C *cpu, bx_phy_address addr, unsigned len)
{
  loads++;
  report(cpu, "load", addr, len);
}

void bx_owned_pages_c::store(BX_CPU_C *cpu, bx_phy_address addr, unsigned len)
{
  // 64 bytes alone do not tell: a vector store may be torn
  if (cpu && len == 64 && cpu->in_movdir64b()) return;

  stores++;
  report(cpu, "store", addr, len);
}

void bx_owned_pages_c::fetch(BX_CPU_C *cpu, bx_phy_address addr)
{
  loads++;
  report(cpu, "instruction fetch", addr, 4096 - (addr & 0xfff));
}
