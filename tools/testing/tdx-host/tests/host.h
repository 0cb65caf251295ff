/* SPDX-License-Identifier: GPL-2.0-only */
/* Commands to the emulated TDX host, see tdx_host_model.h. */
#ifndef HOST_H
#define HOST_H

#include <cpuid.h>
#include <err.h>
#include <string.h>

#include "tdx_host_model.h"

static inline void need_host(void)
{
	unsigned int a, b, c, d;

	__cpuid(TDX_HOST_CPUID_ID, a, b, c, d);
	if (b != TDX_HOST_SIG_EBX || c != TDX_HOST_SIG_ECX || d != TDX_HOST_SIG_EDX)
		errx(4, "this is no emulated TDX host");
}

/* Returns 0 or a positive errno value. */
static inline int try_command(unsigned int number, unsigned long arg1, unsigned long arg2,
			      unsigned long arg3, unsigned long *result)
{
	unsigned long a = TDX_HOST_CPUID_CMD, b = arg1, c = number, d = arg2;

	asm volatile("cpuid" : "+a"(a), "+b"(b), "+c"(c), "+d"(d) : "S"(arg3));
	*result = c << 32 | (unsigned int)b;
	return a;
}

static inline unsigned long command(unsigned int number, unsigned long arg1,
				    unsigned long arg2, unsigned long arg3)
{
	unsigned long result;
	int err = try_command(number, arg1, arg2, arg3, &result);

	if (err)
		errx(1, "command %u failed: %s", number, strerror(err));
	return result;
}

#endif /* HOST_H */
