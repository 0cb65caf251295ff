/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef _X86_VIRT_INSNS_H
#define _X86_VIRT_INSNS_H

#include <linux/errno.h>
#include <linux/types.h>

#include <asm/asm.h>

/*
 * Instructions that may fault although the kernel did nothing wrong.  All of
 * them return 0, or -EFAULT if the instruction faulted.
 */
/* Also -EFAULT if VMXON fails without a fault: VMX operation isn't entered either. */
static inline int __vmxon(u64 root_pa)
{
	asm goto("1: vmxon %[root_pa]\n\t"
		 "jbe %l[fault]\n\t"
		 _ASM_EXTABLE(1b, %l[fault])
		 : : [root_pa] "m" (root_pa) : "cc", "memory" : fault);
	return 0;

fault:
	return -EFAULT;
}

/* -EIO if VMXOFF fails without a fault: the CPU is still in VMX operation. */
static inline int __vmxoff(void)
{
	asm goto("1: vmxoff\n\t"
		 "jbe %l[fail]\n\t"
		 _ASM_EXTABLE(1b, %l[fault])
		 : : : "cc", "memory" : fail, fault);
	return 0;

fail:
	return -EIO;

fault:
	return -EFAULT;
}

static inline int __stgi(void)
{
	asm goto("1: stgi\n\t"
		 _ASM_EXTABLE(1b, %l[fault])
		 : : : "memory" : fault);
	return 0;

fault:
	return -EFAULT;
}

#endif /* _X86_VIRT_INSNS_H */
