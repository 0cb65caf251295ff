// SPDX-License-Identifier: LGPL-2.1-or-later

#include "bochs.h"
#include "cpu/cpu.h"
#include "gui/siminterface.h"
#include "param_names.h"
#include "granite_rapids.h"

#if BX_SUPPORT_X86_64 && BX_SUPPORT_AVX

void granite_rapids_t::get_cpuid_leaf(Bit32u function, Bit32u subfunction, cpuid_function_t *leaf) const
{
  static const char brand_string[48] = "Intel(R) Xeon(R) 6980P";

  sapphire_rapids_t::get_cpuid_leaf(function, subfunction, leaf);

  switch(function) {
  case 0x00000001:
    leaf->eax = 0x000a06d1; // family 6, model 0xad
    break;
  case 0x80000002:
  case 0x80000003:
  case 0x80000004:
    get_ext_cpuid_brand_string_leaf(brand_string, function, leaf);
    break;
  }
}

bx_cpuid_t *create_granite_rapids_cpuid(BX_CPU_C *cpu) { return new granite_rapids_t(cpu); }

#endif
