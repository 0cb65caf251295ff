// SPDX-License-Identifier: LGPL-2.1-or-later
//
// Intel Xeon 6 (Granite Rapids): the features of sapphire_rapids under another
// signature.  Software finds no partial-write machine check erratum on it.

#ifndef BX_XEON_GRANITE_RAPIDS_CPUID_DEFINITIONS_H
#define BX_XEON_GRANITE_RAPIDS_CPUID_DEFINITIONS_H

#if BX_SUPPORT_X86_64 && BX_SUPPORT_AVX

#include "sapphire_rapids.h"

class granite_rapids_t : public sapphire_rapids_t {
public:
  granite_rapids_t(BX_CPU_C *cpu) : sapphire_rapids_t(cpu) {}
  virtual ~granite_rapids_t() {}

  virtual const char *get_name(void) const { return "granite_rapids"; }

  virtual void get_cpuid_leaf(Bit32u function, Bit32u subfunction, cpuid_function_t *leaf) const;
};

extern bx_cpuid_t *create_granite_rapids_cpuid(BX_CPU_C *cpu);

#endif

#endif
