// SPDX-License-Identifier: GPL-2.0-only
/* fill MIB: write to each line of so much memory, and read all of it. */
#include <err.h>
#include <stdlib.h>
#include <sys/mman.h>

#define LINE	64

int main(int argc, char *argv[])
{
	volatile unsigned long *memory;
	unsigned long size, i;

	size = argc == 2 ? strtoul(argv[1], NULL, 10) << 20 : 0;
	if (!size)
		errx(2, "usage: fill MIB");

	memory = mmap(NULL, size, PROT_READ | PROT_WRITE,
		      MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
	if (memory == MAP_FAILED)
		err(1, "mmap");
	for (i = 0; i < size / sizeof(*memory); i += LINE / sizeof(*memory)) {
		if (memory[i])
			errx(1, "new memory is not clear at %#lx", i * sizeof(*memory));
		memory[i] = ~i;
	}
	for (i = 0; i < size / sizeof(*memory); i += LINE / sizeof(*memory)) {
		if (memory[i] != ~i)
			errx(1, "memory has not kept what was written at %#lx",
			     i * sizeof(*memory));
	}
	return 0;
}
