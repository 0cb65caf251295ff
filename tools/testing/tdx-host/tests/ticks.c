// SPDX-License-Identifier: GPL-2.0-only
/*
 * ticks SYMBOL... -- COMMAND ARG...: run COMMAND, and print how often it had the
 * kernel call each function SYMBOL, and how many ticks of the emulated host that
 * took, from the entry to the return of the outermost call.
 *
 * ticks: print how many ticks have passed since the machine was switched on.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "host.h"

static unsigned long address_of(const char *symbol)
{
	unsigned long address, found = 0;
	char line[512], name[256];
	FILE *f = fopen("/proc/kallsyms", "r");

	while (f && fgets(line, sizeof(line), f)) {
		if (sscanf(line, "%lx %*c %255s", &address, name) == 2 &&
		    !strcmp(name, symbol))
			found = address;
	}
	if (!found) {
		fprintf(stderr, "ticks: the kernel has no %s\n", symbol);
		exit(1);
	}
	return found;
}

int main(int argc, char *argv[])
{
	int i, slots, status;
	pid_t pid;

	need_host();
	if (argc == 1) {
		printf("%lu\n", command(TDX_HOST_READ, TDX_HOST_TICKS, 0, 0));
		return 0;
	}

	for (slots = 0; slots + 1 < argc && strcmp(argv[slots + 1], "--"); slots++)
		;
	if (slots + 2 >= argc || slots > TDX_HOST_MAX_WATCHES) {
		fprintf(stderr, "usage: ticks SYMBOL... -- COMMAND ARG..., up to %d symbols\n",
			TDX_HOST_MAX_WATCHES);
		return 2;
	}
	for (i = 0; i < slots; i++)
		command(TDX_HOST_WATCH, i, address_of(argv[i + 1]), 0);
	command(TDX_HOST_RESET, 0, 0, 0);

	pid = fork();
	if (!pid) {
		execvp(argv[slots + 2], argv + slots + 2);
		_exit(127);
	}
	if (pid < 0 || waitpid(pid, &status, 0) != pid || status) {
		fprintf(stderr, "ticks: %s failed\n", argv[slots + 2]);
		return 1;
	}
	for (i = 0; i < slots; i++)
		printf("%s %lu %lu\n", argv[i + 1],
		       command(TDX_HOST_READ, TDX_HOST_WATCH_CALLS + i * 4, 0, 0),
		       command(TDX_HOST_READ, TDX_HOST_WATCH_TICKS + i * 4, 0, 0));
	return 0;
}
