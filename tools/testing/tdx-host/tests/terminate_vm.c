// SPDX-License-Identifier: GPL-2.0-only
/*
 * To be preloaded into a VMM that doesn't know KVM_TDX_TERMINATE_VM: call it for the
 * VMM, once a vCPU has run, before the VMM reads the clock because it has stopped the
 * VM, deletes a memory slot, or closes the VM. Tell on stderr about TERMINATE, and
 * about each kind of ioctl of the dead TD that is called after it, once.
 *
 * It is linked with no library, to fit that of the VMM.
 */
#include <asm/unistd.h>
#include <errno.h>
#include <linux/kvm.h>
#include <stdarg.h>
#include <stddef.h>

#define MAX_VCPUS	8
#define MAX_SEEN	64

static int vm = -1;			/* the latest */
static int vcpus[MAX_VCPUS];
static int nr_vcpus;
static int has_run, terminated;
static unsigned long seen[MAX_SEEN];
static int nr_seen;

static long syscall3(long nr, long a, long b, long c)
{
	long r;

	asm volatile("syscall" : "=a"(r) : "a"(nr), "D"(a), "S"(b), "d"(c)
		     : "rcx", "r11", "memory");
	return r;
}

static char *append(char *to, const char *text)
{
	while (*text)
		*to++ = *text++;
	return to;
}

static char *append_hex(char *to, unsigned long value)
{
	int shift = 60;

	while (shift && !(value >> shift))
		shift -= 4;
	for (; shift >= 0; shift -= 4)
		*to++ = "0123456789abcdef"[value >> shift & 15];
	return to;
}

/* "terminate_vm: WHAT 0xNUMBER: 0xRESULT" */
static void tell(const char *what, unsigned long number, long result)
{
	char line[128], *end = line;

	end = append(end, "terminate_vm: ");
	end = append(end, what);
	end = append(end, " 0x");
	end = append_hex(end, number);
	end = append(end, result < 0 ? ": error 0x" : ": 0x");
	end = append_hex(end, result < 0 ? -result : result);
	*end++ = '\n';
	syscall3(__NR_write, 2, (long)line, end - line);
}

static int is_vcpu(int fd)
{
	int i;

	for (i = 0; i < nr_vcpus; i++) {
		if (vcpus[i] == fd)
			return 1;
	}
	return 0;
}

static void terminate(void)
{
	struct kvm_tdx_cmd cmd = { .id = KVM_TDX_TERMINATE_VM };
	long r;

	if (vm < 0 || !has_run || terminated)
		return;

	r = syscall3(__NR_ioctl, vm, KVM_MEMORY_ENCRYPT_OP, (long)&cmd);
	tell("TERMINATE, SEAMCALL status", cmd.hw_error, r);
	terminated = !r;
	nr_seen = 0;
}

static void tell_once(int fd, unsigned long request, long result)
{
	unsigned long key = request | (unsigned long)(fd != vm) << 32 |
			    (unsigned long)(result < 0) << 33;
	int i;

	for (i = 0; i < nr_seen; i++) {
		if (seen[i] == key)
			return;
	}
	if (nr_seen < MAX_SEEN)
		seen[nr_seen++] = key;
	tell(fd == vm ? "VM ioctl" : "vCPU ioctl", request, result);
}

int ioctl(int fd, unsigned long request, ...)
{
	const struct kvm_userspace_memory_region *region;
	int is_vm = fd >= 0 && fd == vm;
	va_list args;
	long arg, r;

	va_start(args, request);
	arg = va_arg(args, long);
	va_end(args);

	region = (const void *)arg;
	if (is_vm && (request == KVM_GET_CLOCK ||
		      ((request == KVM_SET_USER_MEMORY_REGION ||
			request == KVM_SET_USER_MEMORY_REGION2) &&
		       !region->memory_size)))
		terminate();
	if (request == KVM_RUN)
		has_run = 1;

	r = syscall3(__NR_ioctl, fd, request, arg);

	if (terminated && (is_vm || is_vcpu(fd)))
		tell_once(fd, request, r);
	if (request == KVM_CREATE_VM && r >= 0) {
		vm = r;
		nr_vcpus = has_run = terminated = 0;
	} else if (is_vm && request == KVM_CREATE_VCPU && r >= 0 && nr_vcpus < MAX_VCPUS) {
		vcpus[nr_vcpus++] = r;
	}

	if (r < 0) {
		errno = -r;
		return -1;
	}
	return r;
}

int close(int fd)
{
	long r;

	if (fd >= 0 && fd == vm) {
		terminate();
		vm = -1;
	}
	r = syscall3(__NR_close, fd, 0, 0);
	if (r < 0) {
		errno = -r;
		return -1;
	}
	return 0;
}
