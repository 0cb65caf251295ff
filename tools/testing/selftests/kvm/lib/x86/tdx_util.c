// SPDX-License-Identifier: GPL-2.0-only
/*
 * Helpers for Intel TDX guests (TDs).
 */
#include <pthread.h>
#include <signal.h>

#include <linux/align.h>
#include <linux/sizes.h>

#include "tdx_util.h"

/* Arbitrary, the I/O APIC of userspace would need as many routes. */
#define TDX_NR_IRQ_ROUTES	24

/* As many as KVM may return for a TD, see KVM_MAX_CPUID_ENTRIES. */
#define TDX_MAX_CPUID_ENTRIES	256

#define TDX_GPA_WIDTH		48
#define TDX_RESET_VECTOR	0xfffffff0ull

#define TDX_VCPU_ENTRY_TIMEOUT	10	/* seconds */

bool is_tdx_supported(void)
{
	return kvm_check_cap(KVM_CAP_VM_TYPES) & BIT(KVM_X86_TDX_VM);
}

bool tdx_take_option(int *argc, char *argv[], const char *option)
{
	int i, nr_left = 1;
	bool found = false;

	for (i = 1; i < *argc; i++) {
		if (!strcmp(argv[i], option))
			found = true;
		else
			argv[nr_left++] = argv[i];
	}
	argv[nr_left] = NULL;
	*argc = nr_left;

	return found;
}

void tdx_take_help(int argc, char *argv[], const char *usage)
{
	bool is_short = tdx_take_option(&argc, argv, "-h");

	if (!tdx_take_option(&argc, argv, "--help") && !is_short)
		return;

	printf("usage: %s [OPTION...]\n\n%s\n"
	       " -l             List the tests.\n"
	       " -r NAME        Run this test; may be repeated.\n"
	       " -t, -T NAME    Include, exclude this test.\n"
	       " -v, -V NAME    Include, exclude a variant, -f, -F a fixture.\n"
	       " -h, --help     Show this.\n",
	       argv[0], usage);
	exit(KSFT_PASS);
}

/* KVM_MEMORY_ENCRYPT_OP is defined as taking an "unsigned long". */
union tdx_cmd {
	struct kvm_tdx_cmd cmd;
	unsigned long raw;
};

int __tdx_vm_cmd(struct kvm_vm *vm, struct kvm_tdx_cmd *cmd)
{
	union tdx_cmd *op = (void *)cmd;

	return __vm_ioctl(vm, KVM_MEMORY_ENCRYPT_OP, &op->raw) ? errno : 0;
}

int __tdx_vcpu_cmd(struct kvm_vcpu *vcpu, struct kvm_tdx_cmd *cmd)
{
	union tdx_cmd *op = (void *)cmd;

	return __vcpu_ioctl(vcpu, KVM_MEMORY_ENCRYPT_OP, &op->raw) ? errno : 0;
}

int __tdx_vm_ioctl(struct kvm_vm *vm, enum kvm_tdx_cmd_id id, u32 flags,
		   void *data, u64 *hw_error)
{
	struct kvm_tdx_cmd cmd = {
		.id = id,
		.flags = flags,
		.data = (uintptr_t)data,
	};
	int r = __tdx_vm_cmd(vm, &cmd);

	if (hw_error)
		*hw_error = cmd.hw_error;
	return r;
}

int __tdx_vcpu_ioctl(struct kvm_vcpu *vcpu, enum kvm_tdx_cmd_id id, u32 flags,
		     void *data, u64 *hw_error)
{
	struct kvm_tdx_cmd cmd = {
		.id = id,
		.flags = flags,
		.data = (uintptr_t)data,
	};
	int r = __tdx_vcpu_cmd(vcpu, &cmd);

	if (hw_error)
		*hw_error = cmd.hw_error;
	return r;
}

static void tdx_assert_success(struct kvm_vm *vm, enum kvm_tdx_cmd_id id,
			       int error, u64 hw_error)
{
	static const char * const names[KVM_TDX_CMD_NR_MAX] = {
		[KVM_TDX_CAPABILITIES]		= "KVM_TDX_CAPABILITIES",
		[KVM_TDX_INIT_VM]		= "KVM_TDX_INIT_VM",
		[KVM_TDX_INIT_VCPU]		= "KVM_TDX_INIT_VCPU",
		[KVM_TDX_INIT_MEM_REGION]	= "KVM_TDX_INIT_MEM_REGION",
		[KVM_TDX_FINALIZE_VM]		= "KVM_TDX_FINALIZE_VM",
		[KVM_TDX_GET_CPUID]		= "KVM_TDX_GET_CPUID",
	};
	const char *name = id == KVM_TDX_TERMINATE_VM ? "KVM_TDX_TERMINATE_VM" : names[id];

	if (error && hw_error)
		pr_info("%s: SEAMCALL status 0x%lx\n", name, hw_error);

	errno = error;
	__TEST_ASSERT_VM_VCPU_IOCTL(!error, name, -1, vm);
}

void tdx_vm_ioctl(struct kvm_vm *vm, enum kvm_tdx_cmd_id id, u32 flags,
		  void *data)
{
	u64 hw_error;
	int r = __tdx_vm_ioctl(vm, id, flags, data, &hw_error);

	tdx_assert_success(vm, id, r, hw_error);
}

void tdx_vcpu_ioctl(struct kvm_vcpu *vcpu, enum kvm_tdx_cmd_id id, u32 flags,
		    void *data)
{
	u64 hw_error;
	int r = __tdx_vcpu_ioctl(vcpu, id, flags, data, &hw_error);

	tdx_assert_success(vcpu->vm, id, r, hw_error);
}

struct kvm_vm *tdx_vm_create(void)
{
	const struct vm_shape shape = {
		.mode = VM_MODE_DEFAULT,
		.type = KVM_X86_TDX_VM,
	};
	struct kvm_vm *vm = ____vm_create(shape);

	vm_enable_cap(vm, KVM_CAP_SPLIT_IRQCHIP, TDX_NR_IRQ_ROUTES);
	return vm;
}

struct kvm_tdx_capabilities *tdx_vm_get_capabilities(struct kvm_vm *vm)
{
	struct kvm_tdx_capabilities *caps;

	caps = calloc(1, sizeof(*caps) + TDX_MAX_CPUID_ENTRIES *
			 sizeof(caps->cpuid.entries[0]));
	TEST_ASSERT(caps, "No memory for struct kvm_tdx_capabilities");

	caps->cpuid.nent = TDX_MAX_CPUID_ENTRIES;
	tdx_vm_ioctl(vm, KVM_TDX_CAPABILITIES, 0, caps);
	return caps;
}

struct tdx_features tdx_require(void)
{
	struct kvm_tdx_capabilities *caps;
	struct tdx_features features;
	struct kvm_vm *vm;

	__TEST_REQUIRE(is_tdx_supported(),
		       "KVM has no TDX, see CONFIG_KVM_INTEL_TDX and tdx=1 of kvm_intel");
	TEST_REQUIRE(kvm_has_cap(KVM_CAP_GUEST_MEMFD));
	TEST_REQUIRE(kvm_has_cap(KVM_CAP_MEMORY_ATTRIBUTES));
	TEST_REQUIRE(kvm_has_cap(KVM_CAP_PRE_FAULT_MEMORY));
	TEST_REQUIRE(kvm_has_cap(KVM_CAP_BINARY_STATS_FD));

	vm = tdx_vm_create();
	caps = tdx_vm_get_capabilities(vm);
	features.terminate = caps->downstream_caps & KVM_TDX_CAP_TERMINATE_VM;
	features.max_vcpus = vm_check_cap(vm, KVM_CAP_MAX_VCPUS);
	free(caps);
	kvm_vm_free(vm);

	return features;
}

struct tdx_features tdx_require_terminate(void)
{
	struct tdx_features features = tdx_require();

	__TEST_REQUIRE(features.terminate,
		       "KVM_TDX_TERMINATE_VM is not supported");
	return features;
}

/* Of the bits that may be configured, set those that KVM supports. */
static void tdx_init_cpuid_entry(struct kvm_cpuid_entry2 *entry)
{
	const struct kvm_cpuid2 *supported = kvm_get_supported_cpuid();
	const struct kvm_cpuid_entry2 *e, *found = NULL;
	int i;

	for (i = 0; i < supported->nent; i++) {
		e = &supported->entries[i];
		if (e->function == entry->function && e->index == entry->index)
			found = e;
	}

	entry->eax &= found ? found->eax : 0;
	entry->ebx &= found ? found->ebx : 0;
	entry->ecx &= found ? found->ecx : 0;
	entry->edx &= found ? found->edx : 0;

	if (entry->function == 0x80000008) {
		entry->eax &= ~GENMASK(23, 16);
		entry->eax |= TDX_GPA_WIDTH << 16;
	}

	/* Each entry is for one sub-leaf, don't match it for the others. */
	entry->flags = KVM_CPUID_FLAG_SIGNIFCANT_INDEX;
	memset(entry->padding, 0, sizeof(entry->padding));
}

struct kvm_tdx_init_vm *tdx_vm_init_params(struct kvm_vm *vm)
{
	struct kvm_tdx_capabilities *caps = tdx_vm_get_capabilities(vm);
	size_t cpuid_size = caps->cpuid.nent * sizeof(caps->cpuid.entries[0]);
	struct kvm_tdx_init_vm *init_vm;
	int i;

	init_vm = calloc(1, sizeof(*init_vm) + cpuid_size);
	TEST_ASSERT(init_vm, "No memory for struct kvm_tdx_init_vm");

	/* XFAM: KVM adds the features that a TD can't do without. */
	init_vm->attributes = caps->supported_attrs & TDX_TD_ATTR_SEPT_VE_DISABLE;
	init_vm->cpuid.nent = caps->cpuid.nent;
	memcpy(init_vm->cpuid.entries, caps->cpuid.entries, cpuid_size);
	for (i = 0; i < init_vm->cpuid.nent; i++)
		tdx_init_cpuid_entry(&init_vm->cpuid.entries[i]);

	free(caps);
	return init_vm;
}

int __tdx_vm_init(struct kvm_vm *vm, u64 *hw_error)
{
	struct kvm_tdx_init_vm *init_vm = tdx_vm_init_params(vm);
	int r = __tdx_vm_ioctl(vm, KVM_TDX_INIT_VM, 0, init_vm, hw_error);

	free(init_vm);
	return r;
}

void tdx_vm_init(struct kvm_vm *vm)
{
	u64 hw_error;
	int r = __tdx_vm_init(vm, &hw_error);

	tdx_assert_success(vm, KVM_TDX_INIT_VM, r, hw_error);
}

struct kvm_vcpu *tdx_vcpu_add(struct kvm_vm *vm, u32 vcpu_id)
{
	struct kvm_vcpu *vcpu = __vm_vcpu_add(vm, vcpu_id);

	vcpu->cpuid = allocate_kvm_cpuid2(TDX_MAX_CPUID_ENTRIES);
	tdx_vcpu_ioctl(vcpu, KVM_TDX_GET_CPUID, 0, vcpu->cpuid);
	vcpu_ioctl(vcpu, KVM_SET_CPUID2, vcpu->cpuid);
	tdx_vcpu_ioctl(vcpu, KVM_TDX_INIT_VCPU, 0, NULL);

	return vcpu;
}

/* Add a memslot, all private, whose memory is not allocated yet. */
void tdx_mem_add(struct kvm_vm *vm, u64 gpa, u64 size)
{
	vm_userspace_mem_region_add(vm, VM_MEM_SRC_ANONYMOUS, gpa, TDX_MEMSLOT,
				    size / PAGE_SIZE, KVM_MEM_GUEST_MEMFD);
	vm_mem_set_private(vm, gpa, size);
}

/* The source is the memory that the memslot has for the time it is shared. */
void tdx_init_mem_region(struct kvm_vcpu *vcpu, u64 gpa, u64 size, u32 flags)
{
	struct kvm_tdx_init_mem_region region = {
		.source_addr = (uintptr_t)addr_gpa2hva(vcpu->vm, gpa),
		.gpa = gpa,
		.nr_pages = size / PAGE_SIZE,
	};
	u64 hw_error;
	int r;

	/* KVM updates the region, to be called again. */
	do {
		r = __tdx_vcpu_ioctl(vcpu, KVM_TDX_INIT_MEM_REGION, flags,
				     &region, &hw_error);
	} while (r == EINTR || r == EAGAIN);

	tdx_assert_success(vcpu->vm, KVM_TDX_INIT_MEM_REGION, r, hw_error);
	TEST_ASSERT_EQ(region.nr_pages, 0);
}

void tdx_vm_finalize(struct kvm_vm *vm)
{
	tdx_vm_ioctl(vm, KVM_TDX_FINALIZE_VM, 0, NULL);
}

void tdx_pre_fault_memory(struct kvm_vcpu *vcpu, u64 gpa, u64 size)
{
	struct kvm_pre_fault_memory range = {
		.gpa = gpa,
		.size = size,
	};
	int r;

	while (range.size) {
		r = __vcpu_ioctl(vcpu, KVM_PRE_FAULT_MEMORY, &range);
		TEST_ASSERT_VM_VCPU_IOCTL(!r || errno == EINTR || errno == EAGAIN,
					  KVM_PRE_FAULT_MEMORY, r, vcpu->vm);
	}
}

struct tdx_td *tdx_td_create(int nr_vcpus, u64 size, u64 init_size)
{
	static const u8 endless_loop[] = { 0xeb, 0xfe };	/* jmp . */
	struct tdx_td *td;
	int i;

	TEST_ASSERT(init_size && init_size <= size && init_size < SZ_4G &&
		    IS_ALIGNED(size | init_size, PAGE_SIZE),
		    "Invalid sizes of a TD's memory: 0x%lx, initially 0x%lx",
		    size, init_size);

	td = calloc(1, sizeof(*td));
	TEST_ASSERT(td, "No memory for struct tdx_td");

	td->nr_vcpus = nr_vcpus;
	td->gpa = SZ_4G - init_size;
	td->size = size;
	td->init_size = init_size;

	td->vcpus = calloc(nr_vcpus, sizeof(*td->vcpus));
	TEST_ASSERT(td->vcpus, "No memory for %d vCPU pointers", nr_vcpus);

	kvm_set_files_rlimit(nr_vcpus);

	td->vm = tdx_vm_create();
	tdx_vm_init(td->vm);
	for (i = 0; i < nr_vcpus; i++)
		td->vcpus[i] = tdx_vcpu_add(td->vm, i);

	tdx_mem_add(td->vm, td->gpa, td->size);
	memcpy(addr_gpa2hva(td->vm, TDX_RESET_VECTOR), endless_loop,
	       sizeof(endless_loop));

	/* Measuring takes 16 more SEAMCALLs a page, do it for the code only. */
	if (td->init_size > PAGE_SIZE)
		tdx_init_mem_region(td->vcpus[0], td->gpa,
				    td->init_size - PAGE_SIZE, 0);
	tdx_init_mem_region(td->vcpus[0], SZ_4G - PAGE_SIZE, PAGE_SIZE,
			    KVM_TDX_MEASURE_MEMORY_REGION);
	return td;
}

void tdx_td_finalize(struct tdx_td *td)
{
	tdx_vm_finalize(td->vm);

	if (td->size > td->init_size)
		tdx_pre_fault_memory(td->vcpus[0], td->gpa + td->init_size,
				     td->size - td->init_size);
}

void tdx_td_close_memory(struct tdx_td *td)
{
	struct userspace_mem_region *region = memslot2region(td->vm, TDX_MEMSLOT);
	int r = close(region->region.guest_memfd);

	TEST_ASSERT(!r, __KVM_SYSCALL_ERROR("close()", r));
	region->region.guest_memfd = -1;
}

void tdx_td_free(struct tdx_td *td)
{
	kvm_vm_free(td->vm);
	free(td->vcpus);
	free(td);
}

static void tdx_vcpu_kick_handler(int signal)
{
}

static void *tdx_vcpu_thread_fn(void *arg)
{
	struct tdx_vcpu_thread *thread = arg;
	struct kvm_vcpu *vcpu = thread->vcpu;
	int r;

	/* On the model a script may exit to userspace all the time. */
	do {
		r = __vcpu_run(vcpu);
	} while (!r && vcpu->run->exit_reason == KVM_EXIT_IO);

	thread->run_errno = r ? errno : 0;
	WRITE_ONCE(thread->done, true);
	return NULL;
}

void tdx_vcpu_thread_start(struct tdx_vcpu_thread *thread,
			   struct kvm_vcpu *vcpu)
{
	const struct sigaction kick = { .sa_handler = tdx_vcpu_kick_handler };
	u64 exits = vcpu_get_stat(vcpu, exits);
	struct timespec start;
	int r;

	/* No SA_RESTART, the signal is to make KVM_RUN return EINTR. */
	r = sigaction(SIGUSR1, &kick, NULL);
	TEST_ASSERT(!r, __KVM_SYSCALL_ERROR("sigaction()", r));

	*thread = (struct tdx_vcpu_thread) { .vcpu = vcpu };
	vcpu->run->immediate_exit = 0;

	r = pthread_create(&thread->thread, NULL, tdx_vcpu_thread_fn, thread);
	TEST_ASSERT(!r, "pthread_create() failed: %s", strerror(r));

	/* KVM re-enters the guest after an exit for an interrupt of the host. */
	clock_gettime(CLOCK_MONOTONIC, &start);
	while (vcpu_get_stat(vcpu, exits) == exits) {
		TEST_ASSERT(!READ_ONCE(thread->done),
			    "vCPU %u left KVM_RUN: errno %d (%s), exit reason %s",
			    vcpu->id, thread->run_errno,
			    strerror(thread->run_errno),
			    exit_reason_str(vcpu->run->exit_reason));
		TEST_ASSERT(timespec_elapsed(start).tv_sec < TDX_VCPU_ENTRY_TIMEOUT,
			    "vCPU %u has not been in the guest within %d s",
			    vcpu->id, TDX_VCPU_ENTRY_TIMEOUT);
		usleep(1000);
	}
}

int tdx_vcpu_thread_stop(struct tdx_vcpu_thread *thread)
{
	int r;

	/* The flag is for a signal that comes before KVM_RUN is called. */
	WRITE_ONCE(thread->vcpu->run->immediate_exit, 1);
	r = pthread_kill(thread->thread, SIGUSR1);
	TEST_ASSERT(!r || r == ESRCH, "pthread_kill() failed: %s", strerror(r));

	r = pthread_join(thread->thread, NULL);
	TEST_ASSERT(!r, "pthread_join() failed: %s", strerror(r));

	thread->vcpu->run->immediate_exit = 0;
	return thread->run_errno;
}
