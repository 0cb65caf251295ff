// SPDX-License-Identifier: GPL-2.0-only
/*
 * vm_types [STATUS]: print which types of VMs KVM offers, and return STATUS, or 1 if it
 * offers none.  Built with the headers of any distribution, as a program that knows
 * nothing of the emulated host would be.
 */

#include <fcntl.h>
#include <linux/kvm.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>

#ifndef KVM_CAP_VM_TYPES
#define KVM_CAP_VM_TYPES 235
#endif

int main(int argc, char **argv)
{
	int kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC);
	int types;

	if (kvm < 0) {
		perror("/dev/kvm");
		return 1;
	}
	types = ioctl(kvm, KVM_CHECK_EXTENSION, KVM_CAP_VM_TYPES);
	printf("VM types: 0x%x\n", types);
	if (types <= 0)
		return 1;
	return argc > 1 ? atoi(argv[1]) : 0;
}
