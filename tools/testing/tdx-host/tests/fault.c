// SPDX-License-Identifier: GPL-2.0-only
/*
 * fault LEAF STATUS [NTH [COUNT]]: have the NTH SEAMCALL of a leaf from now on, the
 * next one if there is no NTH, and those after it, COUNT in all, one if there is no
 * COUNT, end with STATUS, before they have had any effect, and set the counters of the
 * emulated host to 0.
 *
 * fault: print how many SEAMCALLs have failed by that, and what the host has counted
 * since then.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "host.h"

#define SLOT	0

static const struct {
	const char *name;
	unsigned int what;
} counters[] = {
	{ "seamcalls", TDX_HOST_SEAMCALLS },
	{ "movdir64b", TDX_HOST_MOVDIR64B },
	{ "wbinvd", TDX_HOST_WBINVD },
	{ "pamt_bytes", TDX_HOST_PAMT_BYTES },
};

static unsigned long number(const char *what, const char *text, unsigned long max)
{
	unsigned long value;
	char *end;

	errno = 0;
	value = strtoul(text, &end, 0);
	if (*text < '0' || *text > '9' || *end || errno || value > max)
		errx(2, "%s '%s' is not a number from 0 to %#lx", what, text, max);
	return value;
}

int main(int argc, char *argv[])
{
	unsigned long leaf, status, unused, nth = 1, count = 1;
	unsigned int i;
	int err;

	if (argc == 2 || argc > 5)
		errx(2, "usage: fault [LEAF STATUS [NTH [COUNT]]]");
	if (argc == 1) {
		need_host();
		printf("injected %lu\n",
		       command(TDX_HOST_FAULT_READ, SLOT, TDX_HOST_FAULT_INJECTED, 0));
		for (i = 0; i < sizeof(counters) / sizeof(counters[0]); i++)
			printf("%s %lu\n", counters[i].name,
			       command(TDX_HOST_READ, counters[i].what, 0, 0));
		return 0;
	}

	leaf = number("leaf", argv[1], 0xff);
	status = number("status", argv[2], ~0ul);
	if (!status)
		errx(2, "status 0 is success");
	if (argc >= 4)
		nth = number("count", argv[3], 0xffffffff);
	if (argc == 5)
		count = number("count", argv[4], 0xffffffff);
	if (!nth || !count)
		errx(2, "SEAMCALLs are counted from 1");

	need_host();
	err = try_command(TDX_HOST_FAULT,
			  SLOT | TDX_HOST_FAULT_STATUS << 8 | leaf << 16 | count << 32,
			  nth | 1ul << 32, status, &unused);
	if (err == EINVAL)
		errx(2, "the TDX module has no leaf %lu", leaf);
	if (err)
		errx(1, "no fault can be set: %s", strerror(err));
	command(TDX_HOST_RESET, 0, 0, 0);
	return 0;
}
