// SPDX-License-Identifier: GPL-2.0-only
/*
 * Two vCPUs of different VMs must not have the same ASID on a CPU: each would use
 * TLB entries of the other.  The VMs are equal but for a value in memory, which
 * a vCPU reads from the other VM if that happens.
 */
#include <fcntl.h>
#include <getopt.h>
#include <sys/wait.h>
#include <unistd.h>

#include "kselftest.h"
#include "kvm_util.h"
#include "processor.h"
#include "svm_util.h"
#include "test_util.h"

#define L2_STACK_SIZE	64
#define PORT		0x80

/* CPUs on which vCPUs run. */
static int cpu0, cpu1;

static u8 value;

/* Inline, as L1 is set back to here and its stack is not. */
static __always_inline void tell_value(void)
{
	asm volatile("outb %0, %1" : : "a"(READ_ONCE(value)), "Nd"(PORT));
}

static void guest_code(void)
{
	for (;;)
		tell_value();
}

/* L1 doesn't intercept L2's I/O. */
static void l1_guest_code(struct svm_test_data *svm)
{
	unsigned long l2_stack[L2_STACK_SIZE];

	generic_svm_setup(svm, guest_code, &l2_stack[L2_STACK_SIZE]);
	tell_value();
	tell_value();
	run_guest(svm->vmcb, svm->vmcb_gpa);
}

static struct kvm_vm *create_vm(struct kvm_vcpu **vcpu, void *code, u8 v)
{
	struct kvm_vm *vm = vm_create_with_one_vcpu(vcpu, code);

	write_guest_global(vm, value, v);
	return vm;
}

static void expect_value(struct kvm_vcpu *vcpu, u8 v)
{
	struct kvm_run *run = vcpu->run;
	u8 told;

	vcpu_run(vcpu);
	TEST_ASSERT_KVM_EXIT_REASON(vcpu, KVM_EXIT_IO);
	TEST_ASSERT_EQ(run->io.port, PORT);
	told = *((u8 *)run + run->io.data_offset);
	TEST_ASSERT(told == v, "The guest with the value %u reads %u", v, told);
}

static bool set_online(int cpu, const char *online)
{
	char path[64];
	int fd, r;

	snprintf(path, sizeof(path), "/sys/devices/system/cpu/cpu%d/online", cpu);
	fd = open(path, O_WRONLY);
	if (fd < 0)
		return false;
	r = write(fd, online, 1);
	close(fd);
	return r == 1;
}

/* Put CPU 1 online when this process has ended, even if it was killed. */
static pid_t guard_cpu1(int *fd)
{
	int fds[2], i;
	pid_t pid;
	char c;

	TEST_ASSERT(!pipe(fds), "pipe() failed");
	fflush(stdout);
	pid = fork();
	TEST_ASSERT(pid >= 0, "fork() failed");
	if (!pid) {
		/* Signals for the test are not for this process. */
		setsid();
		close(fds[1]);
		while (read(fds[0], &c, 1) < 0 && errno == EINTR)
			;
		for (i = 0; i < 100; i++) {
			if (set_online(cpu1, "1"))
				_exit(KSFT_PASS);
			usleep(100000);
		}
		_exit(KSFT_FAIL);
	}
	close(fds[0]);
	*fd = fds[1];
	return pid;
}

/* The CPU has to give its ASIDs anew. */
static bool restart_cpu1(void)
{
	pin_self_to_cpu(cpu0);
	if (!set_online(cpu1, "0"))
		return false;
	TEST_ASSERT(set_online(cpu1, "1"), "CPU %d doesn't come back", cpu1);
	pin_self_to_cpu(cpu1);
	return true;
}

/* A vCPU that ran before the CPU was offline has lost its ASID. */
static void test_hotplug(void)
{
	struct kvm_vcpu *sleeper, *vcpu;
	struct kvm_vm *vm1, *vm2;
	int fd, status;
	pid_t guard;

	guard = guard_cpu1(&fd);
	if (!restart_cpu1()) {
		ksft_test_result_skip("CPU hotplug: CPU %d can't go offline, or not by this user\n",
				      cpu1);
		return;
	}

	vm1 = create_vm(&sleeper, guest_code, 1);
	vm2 = create_vm(&vcpu, guest_code, 2);

	expect_value(sleeper, 1);
	TEST_ASSERT(restart_cpu1(), "CPU %d can't go offline again", cpu1);
	expect_value(vcpu, 2);
	expect_value(sleeper, 1);
	expect_value(vcpu, 2);

	kvm_vm_free(vm1);
	kvm_vm_free(vm2);

	close(fd);
	TEST_ASSERT(waitpid(guard, &status, 0) == guard && !status,
		    "CPU %d does not come online again", cpu1);
	ksft_test_result_pass("CPU hotplug\n");
}

/*
 * L1 and L2 run on CPU 0, L2 goes to CPU 1, and L1 comes back to CPU 0.  What L2
 * had as ASID on CPU 1 is that of another vCPU on CPU 0, if KVM has been loaded
 * for this test: ASIDs are given in order.
 */
static void test_nested(void)
{
	struct kvm_vcpu *nested, *other, *on_cpu1[2];
	struct kvm_vm *vm1, *vm2, *vm3[2];
	struct kvm_x86_state *l1_state;
	vm_vaddr_t svm_gva;
	int i;

	vm1 = create_vm(&nested, l1_guest_code, 1);
	vcpu_alloc_svm(vm1, &svm_gva);
	vcpu_args_set(nested, 1, svm_gva);
	vm2 = create_vm(&other, guest_code, 2);

	pin_self_to_cpu(cpu0);
	expect_value(nested, 1);
	l1_state = vcpu_save_state(nested);
	expect_value(nested, 1);
	expect_value(nested, 1);	/* L2 */
	expect_value(other, 2);

	pin_self_to_cpu(cpu1);
	for (i = 0; i < ARRAY_SIZE(on_cpu1); i++) {
		vm3[i] = create_vm(&on_cpu1[i], guest_code, 3);
		expect_value(on_cpu1[i], 3);
	}
	expect_value(nested, 1);	/* L2 */
	vcpu_load_state(nested, l1_state);

	pin_self_to_cpu(cpu0);
	expect_value(nested, 1);
	expect_value(other, 2);
	expect_value(nested, 1);
	expect_value(other, 2);

	kvm_x86_state_cleanup(l1_state);
	kvm_vm_free(vm1);
	kvm_vm_free(vm2);
	for (i = 0; i < ARRAY_SIZE(vm3); i++)
		kvm_vm_free(vm3[i]);

	ksft_test_result_pass("Nested guest that moves between CPUs\n");
}

static void print_usage(const char *name)
{
	printf("usage: %s [--cpu-hotplug] [--help]\n\n"
	       "Test that vCPUs of two VMs don't share an ASID.\n\n"
	       " --cpu-hotplug  Test it also for a CPU that goes offline and comes back.  It\n"
	       "                comes back, even if the test is killed.\n"
	       " --help         Show this.\n", name);
}

int main(int argc, char *argv[])
{
	static const struct option long_options[] = {
		{ "cpu-hotplug", no_argument, NULL, 'c' },
		{ "help", no_argument, NULL, 'h' },
		{}
	};
	bool cpu_hotplug = false;
	cpu_set_t cpus;
	int cpu, opt;

	while ((opt = getopt_long(argc, argv, "h", long_options, NULL)) != -1) {
		switch (opt) {
		case 'c':
			cpu_hotplug = true;
			break;
		case 'h':
			print_usage(argv[0]);
			return KSFT_PASS;
		default:
			return KSFT_FAIL;
		}
	}

	ksft_print_header();
	TEST_REQUIRE(kvm_cpu_has(X86_FEATURE_SVM));

	TEST_ASSERT(!sched_getaffinity(0, sizeof(cpus), &cpus),
		    "sched_getaffinity() failed");
	TEST_REQUIRE(CPU_COUNT(&cpus) >= 2);
	for (cpu = CPU_SETSIZE - 1, cpu1 = -1; cpu >= 0; cpu--) {
		if (!CPU_ISSET(cpu, &cpus))
			continue;
		if (cpu1 < 0)
			cpu1 = cpu;
		else
			cpu0 = cpu;
	}

	ksft_set_plan(2);
	test_nested();
	if (cpu_hotplug)
		test_hotplug();
	else
		ksft_test_result_skip("CPU hotplug: takes CPU %d offline, see --cpu-hotplug\n",
				      cpu1);
	ksft_finished();
}
