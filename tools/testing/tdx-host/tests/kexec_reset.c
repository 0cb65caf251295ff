// SPDX-License-Identifier: GPL-2.0-only
/*
 * kexec into a "kernel" that does nothing but reset the machine, at once, i.e.
 * like 'kexec -e'.
 */
#include <err.h>
#include <linux/kexec.h>
#include <linux/reboot.h>
#include <sys/syscall.h>
#include <unistd.h>

#define LOAD_PA	0x1000000

/* 64-bit: mov $0xcf9, %dx; mov $2, %al; out; mov $6, %al; out; 1: hlt; jmp 1b */
static unsigned char code[4096] = {
	0x66, 0xba, 0xf9, 0x0c, 0xb0, 0x02, 0xee, 0xb0, 0x06, 0xee, 0xf4, 0xeb, 0xfd,
};

int main(void)
{
	struct kexec_segment segment = {
		.buf = code, .bufsz = sizeof(code),
		.mem = (void *)LOAD_PA, .memsz = sizeof(code),
	};

	if (syscall(SYS_kexec_load, LOAD_PA, 1, &segment, KEXEC_ARCH_DEFAULT))
		err(1, "kexec_load");
	syscall(SYS_reboot, LINUX_REBOOT_MAGIC1, LINUX_REBOOT_MAGIC2,
		LINUX_REBOOT_CMD_KEXEC, NULL);
	err(1, "reboot");
}
