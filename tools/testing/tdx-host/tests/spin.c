// SPDX-License-Identifier: GPL-2.0-only
/*
 * spin N: an ordinary VM whose N vCPUs count in an endless loop.  Prints
 * "running" once all of them do, and goes on until SIGTERM comes; then exits
 * with 0 if all of them still count.
 */
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include <linux/kvm.h>

#define MAX_VCPUS	16
#define CODE		0x1000
#define COUNTERS	0x2000		/* 4 bytes a vCPU, at its BX */
#define MEMORY		0x4000
#define PATIENCE	60		/* seconds, emulation is slow */

static volatile uint8_t *memory;
static int run_size;

static const uint8_t code[] = {
	0x66, 0xff, 0x07,		/* incl (%bx) */
	0xeb, 0xfb,			/* jmp to it */
};

static uint32_t counter(int i)
{
	return ((volatile uint32_t *)(memory + COUNTERS))[i];
}

static void *run_vcpu(void *arg)
{
	int fd = (intptr_t)arg;
	struct kvm_run *run;

	run = mmap(NULL, run_size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (run == MAP_FAILED)
		err(1, "mmap of a vCPU");
	/* The freezer of suspend interrupts it. */
	while (ioctl(fd, KVM_RUN, 0) && errno == EINTR)
		;
	if (run->exit_reason == KVM_EXIT_MMIO)
		warnx("%s of %u bytes at 0x%llx", run->mmio.is_write ? "store" : "load",
		      run->mmio.len, (unsigned long long)run->mmio.phys_addr);
	errx(1, "KVM_RUN: %s, exit reason %d", strerror(errno), run->exit_reason);
}

static void start_vcpu(int vm, int i)
{
	struct kvm_regs regs = { .rip = CODE, .rbx = COUNTERS + 4 * i, .rflags = 2 };
	struct kvm_sregs sregs;
	pthread_t thread;
	int fd;

	fd = ioctl(vm, KVM_CREATE_VCPU, i);
	if (fd < 0)
		err(1, "KVM_CREATE_VCPU");
	if (ioctl(fd, KVM_GET_SREGS, &sregs))
		err(1, "KVM_GET_SREGS");
	sregs.cs.selector = 0;
	sregs.cs.base = 0;
	if (ioctl(fd, KVM_SET_SREGS, &sregs))
		err(1, "KVM_SET_SREGS");
	if (ioctl(fd, KVM_SET_REGS, &regs))
		err(1, "KVM_SET_REGS");
	errno = pthread_create(&thread, NULL, run_vcpu, (void *)(intptr_t)fd);
	if (errno)
		err(1, "pthread_create");
}

static void wait_for_progress(int i)
{
	uint32_t start = counter(i);
	time_t end = time(NULL) + PATIENCE;

	while (counter(i) == start) {
		if (time(NULL) > end)
			errx(1, "vCPU %d does not run", i);
		usleep(1000);
	}
}

int main(int argc, char *argv[])
{
	struct kvm_userspace_memory_region region = { .memory_size = MEMORY };
	int i, n, kvm, vm, signal;
	sigset_t term;

	n = argc == 2 ? atoi(argv[1]) : 0;
	if (n < 1 || n > MAX_VCPUS)
		errx(2, "usage: spin N, N from 1 to %d", MAX_VCPUS);

	sigemptyset(&term);
	sigaddset(&term, SIGTERM);
	pthread_sigmask(SIG_BLOCK, &term, NULL);

	kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC);
	if (kvm < 0)
		err(1, "/dev/kvm");
	vm = ioctl(kvm, KVM_CREATE_VM, 0);
	if (vm < 0)
		err(1, "KVM_CREATE_VM");
	run_size = ioctl(kvm, KVM_GET_VCPU_MMAP_SIZE, 0);

	memory = mmap(NULL, MEMORY, PROT_READ | PROT_WRITE,
		      MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (memory == MAP_FAILED)
		err(1, "mmap");
	memcpy((void *)(memory + CODE), code, sizeof(code));
	region.userspace_addr = (uintptr_t)memory;
	if (ioctl(vm, KVM_SET_USER_MEMORY_REGION, &region))
		err(1, "KVM_SET_USER_MEMORY_REGION");

	for (i = 0; i < n; i++)
		start_vcpu(vm, i);
	for (i = 0; i < n; i++)
		wait_for_progress(i);
	puts("running");
	fflush(stdout);

	sigwait(&term, &signal);
	for (i = 0; i < n; i++)
		wait_for_progress(i);
	return 0;
}
