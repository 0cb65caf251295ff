// SPDX-License-Identifier: GPL-2.0-only
/* Load a kernel, for a reboot or for a panic, and reboot into it. */
#include <err.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <linux/kexec.h>
#include <linux/reboot.h>

static int open_file(const char *name)
{
	int fd = open(name, O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		err(1, "%s", name);
	return fd;
}

static void load(char *argv[], unsigned long flags)
{
	if (syscall(SYS_kexec_file_load, open_file(argv[0]), open_file(argv[1]),
		    strlen(argv[2]) + 1, argv[2], flags))
		err(1, "kexec_file_load");
}

int main(int argc, char *argv[])
{
	if (argc == 5 && !strcmp(argv[1], "load"))
		load(argv + 2, 0);
	else if (argc == 5 && !strcmp(argv[1], "panic"))
		load(argv + 2, KEXEC_FILE_ON_CRASH);
	else if (argc == 2 && !strcmp(argv[1], "exec"))
		err(1, "reboot: %ld", syscall(SYS_reboot, LINUX_REBOOT_MAGIC1,
					      LINUX_REBOOT_MAGIC2,
					      LINUX_REBOOT_CMD_KEXEC, NULL));
	else
		errx(2, "usage: kexec load|panic KERNEL INITRD PARAMETERS\n"
			"       kexec exec");
	return 0;
}
