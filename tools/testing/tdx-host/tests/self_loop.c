// SPDX-License-Identifier: GPL-2.0-only
/*
 * A vCPU that executes a jump to itself must not hold its CPU: a signal has to
 * bring KVM_RUN back.  If it does not, the host hangs.
 *
 * "self_loop forever" is such a vCPU that runs until it is killed, and prints a
 * line now and then.
 */
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/time.h>

#define GUEST_PA	0x1000
#define RFLAGS_IF	(1 << 9)

static const struct {
	const char *name;
	unsigned long rflags;
	unsigned char code[4];
} guests[] = {
	{ "jmp . with interrupts blocked",	0x2,		 { 0xeb, 0xfe } },
	{ "jmp . with interrupts enabled",	0x2 | RFLAGS_IF, { 0xeb, 0xfe } },
	{ "nop and jmp with interrupts blocked", 0x2,		 { 0x90, 0xeb, 0xfd } },
};

static volatile sig_atomic_t alarms;

static void on_alarm(int signal)
{
	alarms++;
}

static int must(int r, const char *what)
{
	if (r < 0)
		err(1, "%s", what);
	return r;
}

/* Returns a vCPU that is about to execute guest n. */
static int create(int kvm, unsigned int n)
{
	struct kvm_userspace_memory_region region = {};
	struct kvm_sregs sregs;
	struct kvm_regs regs;
	int vm, vcpu;
	void *page;

	vm = must(ioctl(kvm, KVM_CREATE_VM, 0), "KVM_CREATE_VM");
	page = mmap(NULL, 4096, PROT_READ | PROT_WRITE,
		    MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (page == MAP_FAILED)
		err(1, "mmap");
	memcpy(page, guests[n].code, sizeof(guests[n].code));
	region.guest_phys_addr = GUEST_PA;
	region.memory_size = 4096;
	region.userspace_addr = (unsigned long)page;
	must(ioctl(vm, KVM_SET_USER_MEMORY_REGION, &region),
	     "KVM_SET_USER_MEMORY_REGION");

	vcpu = must(ioctl(vm, KVM_CREATE_VCPU, 0), "KVM_CREATE_VCPU");
	must(ioctl(vcpu, KVM_GET_SREGS, &sregs), "KVM_GET_SREGS");
	sregs.cs.base = 0;
	sregs.cs.selector = 0;
	must(ioctl(vcpu, KVM_SET_SREGS, &sregs), "KVM_SET_SREGS");
	memset(&regs, 0, sizeof(regs));
	regs.rip = GUEST_PA;
	regs.rflags = guests[n].rflags;
	must(ioctl(vcpu, KVM_SET_REGS, &regs), "KVM_SET_REGS");
	return vcpu;
}

/* Returns true if three alarms have brought KVM_RUN back. */
static bool interrupt(int vcpu)
{
	struct itimerval every_10ms = { .it_interval.tv_usec = 10000,
					.it_value.tv_usec = 10000 };
	struct itimerval never = {};
	int interrupted = 0;

	alarms = 0;
	setitimer(ITIMER_REAL, &every_10ms, NULL);
	while (interrupted < 3 && ioctl(vcpu, KVM_RUN, 0) < 0 && errno == EINTR)
		interrupted++;
	setitimer(ITIMER_REAL, &never, NULL);

	printf("# %d alarms, KVM_RUN interrupted %d times\n", (int)alarms,
	       interrupted);
	return interrupted == 3;
}

int main(int argc, char **argv)
{
	struct sigaction alarm_action = { .sa_handler = on_alarm };
	struct kvm_regs regs;
	unsigned int n, count = sizeof(guests) / sizeof(guests[0]);
	bool ok, all = true;
	int kvm, vcpu;

	setlinebuf(stdout);
	kvm = must(open("/dev/kvm", O_RDWR), "/dev/kvm");
	sigaction(SIGALRM, &alarm_action, NULL);
	if (argc == 2 && !strcmp(argv[1], "forever")) {
		vcpu = create(kvm, 0);
		while (interrupt(vcpu))
			;
		err(1, "KVM_RUN");
	}

	printf("TAP version 13\n1..%u\n", count);
	for (n = 0; n < count; n++) {
		vcpu = create(kvm, n);
		ok = interrupt(vcpu);
		must(ioctl(vcpu, KVM_GET_REGS, &regs), "KVM_GET_REGS");
		ok &= regs.rip - GUEST_PA < sizeof(guests[n].code);
		all &= ok;
		printf("%s %u a signal interrupts %s\n", ok ? "ok" : "not ok",
		       n + 1, guests[n].name);
	}
	return !all;
}
