// SPDX-License-Identifier: GPL-2.0-only
/*
 * Random sequences of ioctls of VMs, vCPUs, guest_memfds and devices, most of
 * them about a TD and some of them nonsense.  Whatever they are told, nothing may
 * be left once the files are closed, and the kernel must neither warn nor hang.
 *
 * A sequence doesn't depend on what its calls return: the seed and its number are
 * all it takes to make it again.  It can be printed, edited and replayed, too.
 */
#include <fcntl.h>
#include <getopt.h>
#include <pthread.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/wait.h>

#include <linux/falloc.h>
#include <linux/sizes.h>

#include "kselftest.h"
#include "kvm_util.h"
#include "processor.h"
#include "tdx_stress.h"
#include "tdx_util.h"

#define TD_SIZE		SZ_1M
#define TD_GPA		(SZ_4G - SZ_512K)
#define NR_FILES	3	/* of each kind */
#define NR_KINDS	4	/* P_VM to P_DEVICE */
#define MAX_CPUID	256
#define SHARED_BIT	BIT_ULL(47)

#define SEPARATORS	"\n "
#define MAX_CALLS	2000
#define MAX_THREADS	4
#define KICK_US		2000	/* KVM_RUN may block */
#define MILESTONE_CALLS	10000	/* in which TDs come to everything */
#define CHECK_CALLS	10	/* the model is checked after every tenth */

#define FUZZ_MAX_PARAMS		7

/* Kinds of parameters. */
enum fuzz_param {
	P_VM, P_VCPU, P_GMEM, P_DEVICE,	/* which of the files, or none */
	P_FILE,		/* any of these */
	P_POINTER,	/* where the argument is: enum fuzz_pointer */
	P_GPA, P_SIZE,	/* of a range of guest memory */
	P_OFFSET,	/* in a guest_memfd */
	P_SLOT,
	P_FLAGS,	/* few bits, mostly none */
	P_SMALL,	/* a small number */
	P_COMMAND,	/* an ioctl */
	P_BYTES,	/* seed of random bytes, 0: all zero */
	P_ANY,
};

enum fuzz_pointer {
	AT_END,		/* ends where the mapped memory does */
	TRUNCATED,	/* one half is mapped */
	READ_ONLY,
	AT_NULL,
	IN_KERNEL,
	NOT_CANONICAL,
	NR_POINTERS,
};

struct fuzz_op {
	const char *name;
	void (*fn)(const u64 *p);
	int weight;
	int nr_params;
	enum fuzz_param params[FUZZ_MAX_PARAMS];
};

/*
 * Operations.  They are system calls that may fail, so hardly any of them looks at
 * the result.
 */
static int files[NR_KINDS][NR_FILES];
static struct kvm_run *runs[NR_FILES];
static struct kvm_tdx_init_vm *init_vm_params;
static char *source;

/* An argument ends with, or lies across, the end of the first page. */
static __thread char *argument_page;
static __thread char *data_page;	/* of what the argument points to */
static __thread char *read_only_page;

static int file(enum fuzz_param kind, u64 index)
{
	return index < NR_FILES ? READ_ONCE(files[kind][index]) : -1;
}

static void set_file(enum fuzz_param kind, u64 index, int fd)
{
	int old;

	if (fd < 0)
		return;
	old = __atomic_exchange_n(&files[kind][index % NR_FILES], fd,
				  __ATOMIC_RELAXED);
	if (old >= 0)
		close(old);
}

static char *map_pages(int prot)
{
	char *pages = kvm_mmap(2 * SZ_64K, PROT_READ | PROT_WRITE,
			       MAP_PRIVATE | MAP_ANONYMOUS, -1);

	TEST_ASSERT(!mprotect(pages + SZ_64K, SZ_64K, PROT_NONE), "mprotect()");
	TEST_ASSERT(!mprotect(pages, SZ_64K, prot), "mprotect()");
	return pages;
}

static void fill(void *data, size_t size, u64 seed)
{
	struct tdx_rng rng = { .state = seed };
	size_t i;

	memset(data, 0, size);
	for (i = 0; seed && i < size; i++)
		((u8 *)data)[i] = tdx_rand_percent(&rng, 40) ? tdx_rand(&rng) : 0;
}

static void *place_in(char *page, const void *data, size_t size, u64 where)
{
	char *at = page + SZ_64K - size;

	switch (where) {
	case TRUNCATED:
		at += size - size / 2;
		memcpy(at, data, size / 2);
		return at;
	case READ_ONLY:
		return read_only_page;
	case AT_NULL:
		return NULL;
	case IN_KERNEL:
		return (void *)0xffff888000000000ul;
	case NOT_CANONICAL:
		return (void *)0x8000000000000000ul;
	default:
		memcpy(at, data, size);
		return at;
	}
}

static void *place(const void *data, size_t size, u64 where)
{
	return place_in(argument_page, data, size, where);
}

#define CALL(fd, cmd, data, where) \
	ioctl(fd, cmd, place(&(data), sizeof(data), where))

/* p: VM, type */
static void op_create_vm(const u64 *p)
{
	int kvm = open("/dev/kvm", O_RDWR);

	set_file(P_VM, p[0], ioctl(kvm, KVM_CREATE_VM, p[1] ? p[1] - 1 : KVM_X86_TDX_VM));
	close(kvm);
}

/* VM, pointer, capability, flags, first argument */
static void op_enable_cap(const u64 *p)
{
	struct kvm_enable_cap cap = {
		.cap = p[2] ?: KVM_CAP_SPLIT_IRQCHIP,
		.flags = p[3],
		.args[0] = p[4] ?: 24,
	};

	CALL(file(P_VM, p[0]), KVM_ENABLE_CAP, cap, p[1]);
}

static void memory_encrypt_op(int fd, u64 id, u64 flags, void *data,
			      u64 hw_error, u64 where)
{
	struct kvm_tdx_cmd cmd = {
		.id = id,
		.flags = flags,
		.data = (uintptr_t)data,
		.hw_error = hw_error,
	};

	CALL(fd, KVM_MEMORY_ENCRYPT_OP, cmd, where);
}

/* File, pointer, sub-command, flags, its data, their bytes, hw_error */
static void op_tdx_vm(const u64 *p)
{
	char data[1024];

	fill(data, sizeof(data), p[5]);
	memory_encrypt_op(file(P_VM, p[0]), p[2], p[3],
			  place_in(data_page, data, sizeof(data), p[4]), p[6], p[1]);
}

static void op_tdx_vcpu(const u64 *p)
{
	char data[1024];

	fill(data, sizeof(data), p[5]);
	memory_encrypt_op(file(P_VCPU, p[0]), p[2], p[3],
			  place_in(data_page, data, sizeof(data), p[4]), p[6], p[1]);
}

/* VM, bytes: overwrite what is needed for a TD */
static void op_init_vm(const u64 *p)
{
	struct kvm_tdx_init_vm *params;
	size_t size = sizeof(*params) +
		      init_vm_params->cpuid.nent * sizeof(params->cpuid.entries[0]);
	struct tdx_rng rng = { .state = p[1] };
	int i, nr = p[1] ? 1 + tdx_rand_below(&rng, 4) : 0;

	params = malloc(size);
	memcpy(params, init_vm_params, size);
	for (i = 0; i < nr; i++)
		((u8 *)params)[tdx_rand_below(&rng, size)] = tdx_rand(&rng);
	memory_encrypt_op(file(P_VM, p[0]), KVM_TDX_INIT_VM, 0, params, 0, AT_END);
	free(params);
}

static void op_finalize(const u64 *p)
{
	memory_encrypt_op(file(P_VM, p[0]), KVM_TDX_FINALIZE_VM, 0, NULL, 0, AT_END);
}

static void op_terminate(const u64 *p)
{
	memory_encrypt_op(file(P_VM, p[0]), KVM_TDX_TERMINATE_VM, 0, NULL, 0, AT_END);
}

/* VM, vCPU, ID */
static void op_create_vcpu(const u64 *p)
{
	int fd = ioctl(file(P_VM, p[0]), KVM_CREATE_VCPU, p[2]);
	struct kvm_run *run;

	if (fd < 0)
		return;
	run = mmap(NULL, PAGE_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	set_file(P_VCPU, p[1], fd);
	if (run != MAP_FAILED)
		WRITE_ONCE(runs[p[1] % NR_FILES], run);
}

/* vCPU */
static void op_set_cpuid(const u64 *p)
{
	struct kvm_cpuid2 *cpuid = allocate_kvm_cpuid2(MAX_CPUID);

	memory_encrypt_op(file(P_VCPU, p[0]), KVM_TDX_GET_CPUID, 0, cpuid, 0, AT_END);
	ioctl(file(P_VCPU, p[0]), KVM_SET_CPUID2, cpuid);
	free(cpuid);
}

static void op_init_vcpu(const u64 *p)
{
	memory_encrypt_op(file(P_VCPU, p[0]), KVM_TDX_INIT_VCPU, 0, NULL, 0, AT_END);
}

/* vCPU, pointer, GPA, size, flags, where the source is */
static void op_init_mem_region(const u64 *p)
{
	struct kvm_tdx_init_mem_region region = {
		.source_addr = p[5] == AT_END ? (uintptr_t)source :
			       (uintptr_t)place(source, SZ_16K, p[5]) & PAGE_MASK,
		.gpa = p[2],
		.nr_pages = p[3] / PAGE_SIZE,
	};

	memory_encrypt_op(file(P_VCPU, p[0]), KVM_TDX_INIT_MEM_REGION, p[4],
			  place_in(data_page, &region, sizeof(region), p[1]),
			  0, AT_END);
}

/* vCPU, exit at once? */
static void op_run(const u64 *p)
{
	struct kvm_run *run = p[0] < NR_FILES ? READ_ONCE(runs[p[0]]) : NULL;

	if (run)
		WRITE_ONCE(run->immediate_exit, p[1] & 1);
	ioctl(file(P_VCPU, p[0]), KVM_RUN, NULL);
}

/* vCPU, pointer, GPA, size, flags */
static void op_pre_fault(const u64 *p)
{
	struct kvm_pre_fault_memory range = {
		.gpa = p[2],
		.size = p[3],
		.flags = p[4],
	};

	CALL(file(P_VCPU, p[0]), KVM_PRE_FAULT_MEMORY, range, p[1]);
}

/* VM, guest_memfd, size, flags */
static void op_create_gmem(const u64 *p)
{
	struct kvm_create_guest_memfd gmem = {
		/* Don't let fallocate() use up all memory. */
		.size = (s64)p[2] > TD_SIZE ? TD_SIZE : p[2],
		.flags = p[3],
	};

	set_file(P_GMEM, p[1], ioctl(file(P_VM, p[0]), KVM_CREATE_GUEST_MEMFD, &gmem));
}

/* VM, pointer, slot, flags, GPA, size, guest_memfd */
static void op_set_slot(const u64 *p)
{
	struct kvm_userspace_memory_region2 region = {
		.slot = p[2],
		.flags = p[3] ? p[3] - 1 : KVM_MEM_GUEST_MEMFD,
		.guest_phys_addr = p[4],
		.memory_size = p[5],
		.userspace_addr = (uintptr_t)source,
		.guest_memfd = file(P_GMEM, p[6]),
	};

	CALL(file(P_VM, p[0]), KVM_SET_USER_MEMORY_REGION2, region, p[1]);
}

/* VM, pointer, GPA, size, attributes: private, shared or nonsense; flags */
static void op_set_attributes(const u64 *p)
{
	/* KVM goes through any range that doesn't wrap, for hours if need be. */
	u64 size = p[3] > TD_SIZE && p[2] + p[3] > p[2] ? TD_SIZE : p[3];
	struct kvm_memory_attributes attributes = {
		.address = p[2],
		.size = size,
		.attributes = p[4] ? p[4] - 1 : KVM_MEMORY_ATTRIBUTE_PRIVATE,
		.flags = p[5],
	};

	CALL(file(P_VM, p[0]), KVM_SET_MEMORY_ATTRIBUTES, attributes, p[1]);
}

/* guest_memfd, offset, size, mode */
static void op_fallocate(const u64 *p)
{
	int mode = p[3] ? p[3] - 1 : FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE;

	fallocate(file(P_GMEM, p[0]), mode, p[1], p[2]);
}

/* VM, pointer, GSI, flags */
static void op_irqfd(const u64 *p)
{
	struct kvm_irqfd irqfd = {
		.fd = eventfd(0, EFD_CLOEXEC),
		.gsi = p[2],
		.flags = p[3],
	};
	int fd = irqfd.fd;

	CALL(file(P_VM, p[0]), KVM_IRQFD, irqfd, p[1]);
	irqfd.flags ^= KVM_IRQFD_FLAG_DEASSIGN;
	CALL(file(P_VM, p[0]), KVM_IRQFD, irqfd, AT_END);
	close(fd);
}

/* VM, pointer, address, flags */
static void op_ioeventfd(const u64 *p)
{
	struct kvm_ioeventfd ioeventfd = {
		.fd = eventfd(0, EFD_CLOEXEC),
		.addr = p[2],
		.len = 4,
		.flags = p[3],
	};
	int fd = ioeventfd.fd;

	CALL(file(P_VM, p[0]), KVM_IOEVENTFD, ioeventfd, p[1]);
	ioeventfd.flags ^= KVM_IOEVENTFD_FLAG_DEASSIGN;
	CALL(file(P_VM, p[0]), KVM_IOEVENTFD, ioeventfd, AT_END);
	close(fd);
}

/* VM, device, type, flags */
static void op_create_device(const u64 *p)
{
	struct kvm_create_device device = {
		.type = p[2] ?: KVM_DEV_TYPE_VFIO,
		.flags = p[3],
	};

	if (!ioctl(file(P_VM, p[0]), KVM_CREATE_DEVICE, &device) &&
	    !(p[3] & KVM_CREATE_DEVICE_TEST))
		set_file(P_DEVICE, p[1], device.fd);
}

/* Device, pointer, command, group, attribute */
static void op_device_attr(const u64 *p)
{
	static const unsigned long commands[] = {
		KVM_SET_DEVICE_ATTR, KVM_GET_DEVICE_ATTR, KVM_HAS_DEVICE_ATTR,
	};
	s32 fd = file(P_VM, 0);
	struct kvm_device_attr attr = {
		.group = p[3] ?: KVM_DEV_VFIO_FILE,
		.attr = p[4],
		.addr = (uintptr_t)&fd,
	};

	CALL(file(P_DEVICE, p[0]), commands[p[2] % ARRAY_SIZE(commands)], attr, p[1]);
}

/* File, pointer, command, bytes: any ioctl on any file */
static void op_ioctl(const u64 *p)
{
	char data[SZ_4K];
	size_t size = _IOC_SIZE(p[2]) ?: sizeof(u64);

	fill(data, size, p[3]);
	ioctl(file(p[0] / NR_FILES % NR_KINDS, p[0] % NR_FILES), p[2],
	      _IOC_SIZE(p[2]) ? place(data, size, p[1]) : (void *)p[3]);
}

/* File */
static void op_close(const u64 *p)
{
	int fd = __atomic_exchange_n(&files[p[0] / NR_FILES % NR_KINDS][p[0] % NR_FILES],
				     -1, __ATOMIC_RELAXED);

	if (fd >= 0)
		close(fd);
}

#define OP(_name, _weight, ...) {					\
	.name = #_name,							\
	.fn = op_##_name,						\
	.weight = _weight,						\
	.nr_params = sizeof((enum fuzz_param[]){ __VA_ARGS__ }) /	\
		     sizeof(enum fuzz_param),				\
	.params = { __VA_ARGS__ },					\
}

static const struct fuzz_op ops[] = {
	OP(create_vm, 1, P_VM, P_FLAGS),
	OP(enable_cap, 2, P_VM, P_POINTER, P_SMALL, P_FLAGS, P_FLAGS),
	OP(tdx_vm, 8, P_VM, P_POINTER, P_SMALL, P_FLAGS, P_POINTER, P_BYTES, P_FLAGS),
	OP(tdx_vcpu, 8, P_VCPU, P_POINTER, P_SMALL, P_FLAGS, P_POINTER, P_BYTES, P_FLAGS),
	OP(init_vm, 2, P_VM, P_BYTES),
	OP(finalize, 1, P_VM),
	OP(terminate, 1, P_VM),
	OP(create_vcpu, 4, P_VM, P_VCPU, P_SMALL),
	OP(set_cpuid, 1, P_VCPU),
	OP(init_vcpu, 3, P_VCPU),
	OP(init_mem_region, 8, P_VCPU, P_POINTER, P_GPA, P_SIZE, P_FLAGS, P_POINTER),
	OP(run, 8, P_VCPU, P_FLAGS),
	OP(pre_fault, 8, P_VCPU, P_POINTER, P_GPA, P_SIZE, P_FLAGS),
	OP(create_gmem, 2, P_VM, P_GMEM, P_SIZE, P_FLAGS),
	OP(set_slot, 6, P_VM, P_POINTER, P_SLOT, P_FLAGS, P_GPA, P_SIZE, P_GMEM),
	OP(set_attributes, 8, P_VM, P_POINTER, P_GPA, P_SIZE, P_FLAGS, P_FLAGS),
	OP(fallocate, 8, P_GMEM, P_OFFSET, P_SIZE, P_FLAGS),
	OP(irqfd, 3, P_VM, P_POINTER, P_SMALL, P_FLAGS),
	OP(ioeventfd, 3, P_VM, P_POINTER, P_ANY, P_FLAGS),
	OP(create_device, 2, P_VM, P_DEVICE, P_FLAGS, P_FLAGS),
	OP(device_attr, 3, P_DEVICE, P_POINTER, P_SMALL, P_FLAGS, P_SMALL),
	OP(ioctl, 30, P_FILE, P_POINTER, P_COMMAND, P_BYTES),
	OP(close, 2, P_FILE),
};

/* Each is made with what makes sense where, for a VM of its own. */
static const unsigned long commands[] = {
	KVM_CHECK_EXTENSION, KVM_CREATE_VCPU, KVM_GET_DIRTY_LOG,
	KVM_SET_NR_MMU_PAGES, KVM_SET_TSS_ADDR, KVM_SET_IDENTITY_MAP_ADDR,
	KVM_CREATE_IRQCHIP, KVM_IRQ_LINE, KVM_GET_IRQCHIP, KVM_SET_IRQCHIP,
	KVM_CREATE_PIT2, KVM_GET_PIT2, KVM_SET_GSI_ROUTING, KVM_SIGNAL_MSI,
	KVM_SET_BOOT_CPU_ID, KVM_GET_CLOCK, KVM_SET_CLOCK,
	KVM_MEMORY_ENCRYPT_OP, KVM_MEMORY_ENCRYPT_REG_REGION,
	KVM_MEMORY_ENCRYPT_UNREG_REGION, KVM_SET_PMU_EVENT_FILTER,
	KVM_CLEAR_DIRTY_LOG, KVM_RESET_DIRTY_RINGS, KVM_X86_SET_MSR_FILTER,
	KVM_SET_USER_MEMORY_REGION, KVM_REGISTER_COALESCED_MMIO,
	KVM_UNREGISTER_COALESCED_MMIO, KVM_GET_STATS_FD,
	KVM_GET_REGS, KVM_SET_REGS, KVM_GET_SREGS, KVM_SET_SREGS,
	KVM_GET_SREGS2, KVM_SET_SREGS2, KVM_TRANSLATE, KVM_INTERRUPT,
	KVM_GET_MSRS, KVM_SET_MSRS, KVM_SET_CPUID2, KVM_GET_CPUID2,
	KVM_GET_FPU, KVM_SET_FPU, KVM_GET_LAPIC, KVM_SET_LAPIC,
	KVM_GET_MP_STATE, KVM_SET_MP_STATE, KVM_NMI, KVM_SMI,
	KVM_GET_VCPU_EVENTS, KVM_SET_VCPU_EVENTS, KVM_GET_DEBUGREGS,
	KVM_SET_DEBUGREGS, KVM_GET_XSAVE, KVM_SET_XSAVE, KVM_GET_XCRS,
	KVM_SET_XCRS, KVM_SET_TSC_KHZ, KVM_GET_TSC_KHZ, KVM_KVMCLOCK_CTRL,
	KVM_SET_GUEST_DEBUG, KVM_TPR_ACCESS_REPORTING, KVM_SET_VAPIC_ADDR,
	KVM_X86_SETUP_MCE, KVM_X86_SET_MCE, KVM_GET_NESTED_STATE,
	KVM_SET_NESTED_STATE, KVM_SET_SIGNAL_MASK, KVM_ENABLE_CAP,
};

static u64 fuzz_random_param(struct tdx_rng *rng, enum fuzz_param param)
{
	static const u64 odd[] = { 1, 0x800, BIT_ULL(31), BIT_ULL(63), -1ull,
				   -4096ull, TD_GPA | SHARED_BIT, 0xffffffff };
	u64 pages = TD_SIZE / PAGE_SIZE;

	switch (param) {
	case P_VM:
		return tdx_rand_percent(rng, 95) ? 0 : tdx_rand_below(rng, NR_FILES + 1);
	case P_VCPU:
	case P_GMEM:
	case P_DEVICE:
		return tdx_rand_percent(rng, 70) ? 0 : tdx_rand_below(rng, NR_FILES + 1);
	case P_FILE:
		return tdx_rand_percent(rng, 70) ?
		       tdx_rand_below(rng, 2) * NR_FILES :
		       tdx_rand_below(rng, NR_KINDS * NR_FILES);
	case P_POINTER:
		return tdx_rand_percent(rng, 90) ? AT_END : tdx_rand_below(rng, NR_POINTERS);
	case P_GPA:
		if (tdx_rand_percent(rng, 8))
			return odd[tdx_rand_below(rng, ARRAY_SIZE(odd))];
		return TD_GPA + tdx_rand_below(rng, pages) * PAGE_SIZE;
	case P_OFFSET:
		if (tdx_rand_percent(rng, 8))
			return odd[tdx_rand_below(rng, ARRAY_SIZE(odd))];
		return tdx_rand_below(rng, pages) * PAGE_SIZE;
	case P_SIZE:
		if (tdx_rand_percent(rng, 8))
			return odd[tdx_rand_below(rng, ARRAY_SIZE(odd))];
		return tdx_rand_below(rng, tdx_rand_percent(rng, 20) ? pages + 1 : 9) * PAGE_SIZE;
	case P_SLOT:
		return tdx_rand_percent(rng, 60) ? 0 : tdx_rand(rng) & 0x1ffff;
	case P_FLAGS:
		return tdx_rand_percent(rng, 75) ? 0 : tdx_rand_percent(rng, 80) ?
		       tdx_rand_below(rng, 8) : tdx_rand(rng);
	case P_SMALL:
		return tdx_rand_below(rng, tdx_rand_percent(rng, 90) ? 9 : 256);
	case P_COMMAND:
		return commands[tdx_rand_below(rng, ARRAY_SIZE(commands))];
	case P_BYTES:
		return tdx_rand_percent(rng, 30) ? 0 : tdx_rand(rng) & 0xffffffff;
	case P_ANY:
	default:
		return tdx_rand(rng);
	}
}

static const struct {
	const char *op;
	u64 p[FUZZ_MAX_PARAMS];
} prologue[] = {
	{ "create_vm" },
	{ "enable_cap" },
	{ "init_vm" },
	{ "create_vcpu" },
	{ "set_cpuid" },
	{ "init_vcpu" },
	{ "create_gmem", { 0, 0, TD_SIZE } },
	{ "set_slot", { 0, AT_END, 0, 0, TD_GPA, TD_SIZE } },
	{ "set_attributes", { 0, AT_END, TD_GPA, TD_SIZE } },
	{ "init_mem_region", { 0, AT_END, TD_GPA, SZ_32K } },
	{ "create_device" },
};

static const struct fuzz_op *fuzz_find_op(const char *name)
{
	int i;

	for (i = 0; i < ARRAY_SIZE(ops); i++) {
		if (!strcmp(ops[i].name, name))
			return &ops[i];
	}
	return NULL;
}

/* The i-th step of creating a TD and its parameters, NULL after the last. */
static const struct fuzz_op *fuzz_prologue(int i, u64 *p)
{
	if (i >= ARRAY_SIZE(prologue))
		return NULL;
	memcpy(p, prologue[i].p, sizeof(prologue[i].p));
	return fuzz_find_op(prologue[i].op);
}

static const struct fuzz_op *fuzz_random_op(struct tdx_rng *rng)
{
	int i, sum = 0, at;

	for (i = 0; i < ARRAY_SIZE(ops); i++)
		sum += ops[i].weight;
	at = tdx_rand_below(rng, sum);
	for (i = 0; at >= ops[i].weight; i++)
		at -= ops[i].weight;
	return &ops[i];
}

static void fuzz_init(void)
{
	struct kvm_vm *vm = tdx_vm_create();

	source = kvm_mmap(TD_SIZE, PROT_READ | PROT_WRITE,
			  MAP_PRIVATE | MAP_ANONYMOUS, -1);
	memset(files, 0xff, sizeof(files));
	init_vm_params = tdx_vm_init_params(vm);
	kvm_vm_free(vm);
}

/* In each of the threads that make calls. */
static void fuzz_thread_init(void)
{
	argument_page = map_pages(PROT_READ | PROT_WRITE);
	data_page = map_pages(PROT_READ | PROT_WRITE);
	read_only_page = map_pages(PROT_READ);
}

struct call {
	int thread;
	const struct fuzz_op *op;
	u64 p[FUZZ_MAX_PARAMS];
};

struct sequence {
	struct call calls[MAX_CALLS];
	int nr_calls;
	int nr_threads;
};

static struct options {
	u64 seed;
	u64 calls;
	u64 first;
	u64 length;
	u64 threads;
	u64 timeout;
	const char *replay;
	const char *output;
	bool print;
} options = {
	.calls = 5000,
	.length = 120,
	.threads = 1,
	.timeout = 60,
};

static bool model;

/* How far the process that plays a sequence has come. */
static struct progress {
	u64 calls;			/* in all sequences */
	int at[MAX_THREADS];		/* call that each thread makes */
} *progress;

static void generate(struct sequence *seq, u64 index)
{
	struct tdx_rng rng = tdx_rng_init(options.seed, index);
	const struct fuzz_op *op;
	struct call *call;
	int i, j;

	memset(seq, 0, sizeof(*seq));
	seq->nr_threads = options.threads;
	/* How a TD comes about, most of the time. */
	for (i = 0; (op = fuzz_prologue(i, seq->calls[seq->nr_calls].p)); i++) {
		if (tdx_rand_percent(&rng, 96))
			seq->calls[seq->nr_calls++].op = op;
	}
	while (seq->nr_calls < options.length) {
		call = &seq->calls[seq->nr_calls++];
		call->op = fuzz_random_op(&rng);
		call->thread = tdx_rand_below(&rng, options.threads);
		for (j = 0; j < call->op->nr_params; j++)
			call->p[j] = fuzz_random_param(&rng, call->op->params[j]);
	}
}

static void print_sequence(FILE *f, const struct sequence *seq)
{
	const struct call *call;
	int i, j;

	for (i = 0; i < seq->nr_calls; i++) {
		call = &seq->calls[i];
		fprintf(f, "call %d %s", call->thread, call->op->name);
		for (j = 0; j < call->op->nr_params; j++)
			fprintf(f, " 0x%lx", call->p[j]);
		fprintf(f, "\n");
	}
	fflush(f);
}

static void read_sequence(struct sequence *seq, const char *path)
{
	FILE *f = fopen(path, "r");
	char line[512], *word;
	struct call *call;
	int j;

	if (!f)
		ksft_exit_fail_msg("%s: %s\n", path, strerror(errno));
	memset(seq, 0, sizeof(*seq));
	while (fgets(line, sizeof(line), f) && seq->nr_calls < MAX_CALLS) {
		word = strtok(line, SEPARATORS);
		if (!word || strcmp(word, "call"))
			continue;
		call = &seq->calls[seq->nr_calls++];
		word = strtok(NULL, SEPARATORS);
		call->thread = word ? atoi(word) % MAX_THREADS : 0;
		seq->nr_threads = max(seq->nr_threads, call->thread + 1);
		word = strtok(NULL, SEPARATORS);
		call->op = fuzz_find_op(word ?: "");
		if (!call->op)
			ksft_exit_fail_msg("%s: call %d: no operation '%s'\n",
					   path, seq->nr_calls, word ?: "");
		for (j = 0; j < call->op->nr_params; j++) {
			word = strtok(NULL, SEPARATORS);
			call->p[j] = word ? strtoull(word, NULL, 0) : 0;
		}
	}
	fclose(f);
}

struct player {
	const struct sequence *seq;
	int thread;
	pthread_t id;
	bool done;
};

static void *play_thread(void *arg)
{
	struct player *player = arg;
	const struct call *call;
	int i;

	fuzz_thread_init();
	for (i = 0; i < player->seq->nr_calls; i++) {
		call = &player->seq->calls[i];
		if (call->thread != player->thread)
			continue;
		WRITE_ONCE(progress->at[player->thread], i);
		call->op->fn(call->p);
		__atomic_add_fetch(&progress->calls, 1, __ATOMIC_RELAXED);
		if (model && !(i % CHECK_CALLS))
			TEST_ASSERT(tdx_host_check(),
				    "The model of the TDX module contradicts itself");
	}
	WRITE_ONCE(progress->at[player->thread], i);
	WRITE_ONCE(player->done, true);
	return NULL;
}

static void ignore_signal(int signal)
{
}

static void play(const struct sequence *seq)
{
	const struct sigaction kick = { .sa_handler = ignore_signal };
	struct tdx_patience patience[MAX_THREADS] = {};
	struct player players[MAX_THREADS];
	int i, r, left;

	sigaction(SIGUSR1, &kick, NULL);
	for (i = 0; i < seq->nr_threads; i++) {
		players[i] = (struct player) { .seq = seq, .thread = i };
		r = pthread_create(&players[i].id, NULL, play_thread, &players[i]);
		TEST_ASSERT(!r, "pthread_create() failed: %s", strerror(r));
	}
	do {
		usleep(KICK_US);
		for (i = left = 0; i < seq->nr_threads; i++) {
			if (READ_ONCE(players[i].done))
				continue;
			left++;
			if (tdx_patience_is_over(&patience[i], READ_ONCE(progress->at[i])))
				pthread_kill(players[i].id, SIGUSR1);
		}
	} while (left);
	_exit(0);
}

/* Returns what went wrong, or NULL. */
static const char *run_sequence(const struct sequence *seq,
				const struct tdx_baseline *baseline)
{
	struct timespec start;
	int status;
	pid_t pid;

	fflush(stdout);
	pid = fork();
	TEST_ASSERT(pid >= 0, __KVM_SYSCALL_ERROR("fork()", pid));
	if (!pid)
		play(seq);

	clock_gettime(CLOCK_MONOTONIC, &start);
	while (!waitpid(pid, &status, WNOHANG)) {
		if (timespec_elapsed(start).tv_sec >= options.timeout) {
			kill(pid, SIGKILL);
			return "hang";
		}
		usleep(500);
	}
	if (status)
		return "the process failed";
	if (!tdx_baseline_check(baseline))
		return "the host isn't as it was before";
	return NULL;
}

static void fail_sequence(const struct sequence *seq, u64 index,
			  const char *what)
{
	FILE *f;
	int i;

	printf("# %s, after %lu calls in all\n", what, progress->calls);
	for (i = 0; i < seq->nr_threads; i++) {
		if (progress->at[i] < seq->nr_calls)
			printf("# thread %d was in call %d, %s\n", i,
			       progress->at[i], seq->calls[progress->at[i]].op->name);
	}
	if (options.replay)
		ksft_exit_fail_msg("%s: %s\n", options.replay, what);
	print_sequence(stdout, seq);
	if (options.output) {
		f = fopen(options.output, "w");
		TEST_ASSERT(f, "Can't write %s", options.output);
		print_sequence(f, seq);
		fclose(f);
	}
	printf("# to repeat: --seed %lu --first %lu --length %lu --threads %lu --calls 1, or\n"
	       "# --replay a file with the lines above\n",
	       options.seed, index, options.length, options.threads);
	ksft_exit_fail_msg("Sequence %lu: %s\n", index, what);
}

/* What TDs that live come to, if there are enough of them. */
static const enum tdh_leaf milestones[] = {
	TDH_MNG_INIT, TDH_VP_INIT, TDH_MEM_PAGE_ADD, TDH_MR_FINALIZE, TDH_MEM_PAGE_AUG,
	TDH_VP_ENTER, TDH_MEM_PAGE_REMOVE, TDH_MNG_KEY_FREEID, TDH_PHYMEM_PAGE_RECLAIM,
};

static u64 nr_successes(enum tdh_leaf leaf)
{
	return tdx_host_read(TDX_HOST_SEAMCALL_LEAF + leaf) -
	       tdx_host_read(TDX_HOST_SEAMCALL_ERRORS + leaf);
}

/* Calls that all fail early show nothing. */
static void check_milestones(const u64 *before)
{
	u64 reached;
	int i;

	for (i = 0; i < ARRAY_SIZE(milestones); i++) {
		reached = nr_successes(milestones[i]) - before[i];
		printf("# %s: %lu\n", tdh_leaf_name(milestones[i]), reached);
		if (!reached && progress->calls >= MILESTONE_CALLS)
			ksft_exit_fail_msg("No TD got as far as %s\n",
					   tdh_leaf_name(milestones[i]));
	}
}

static void print_usage(const char *name)
{
	printf("usage: %s [OPTION...]\n\n"
	       "Random ioctls on TDs.\n\n"
	       " --calls N      so many at least (default 5000)\n"
	       " --seed N       (default: from the clock)\n"
	       " --first N      begin with this sequence\n"
	       " --length N     calls of a sequence (default 120)\n"
	       " --threads N    that make these calls (default 1)\n"
	       " --timeout N    a sequence must take no longer, in seconds (default 60)\n"
	       " --print        print the first sequence, don't run any\n"
	       " --output FILE  write a sequence that fails there, besides printing it\n"
	       " --replay FILE  run the sequence that is in this file\n"
	       " --help         show this\n", name);
}

static void parse_options(int argc, char *argv[])
{
	static const struct option long_options[] = {
		{ "calls", required_argument, NULL, 'c' },
		{ "seed", required_argument, NULL, 's' },
		{ "first", required_argument, NULL, 'f' },
		{ "length", required_argument, NULL, 'l' },
		{ "threads", required_argument, NULL, 't' },
		{ "timeout", required_argument, NULL, 'w' },
		{ "print", no_argument, NULL, 'p' },
		{ "output", required_argument, NULL, 'o' },
		{ "replay", required_argument, NULL, 'r' },
		{ "help", no_argument, NULL, 'h' },
		{}
	};
	int opt;

	options.seed = time(NULL) % 1000000;
	while ((opt = getopt_long(argc, argv, "h", long_options, NULL)) != -1) {
		switch (opt) {
		case 'c':
			options.calls = tdx_parse_number("calls", optarg, 1, UINT32_MAX);
			break;
		case 's':
			options.seed = tdx_parse_number("seed", optarg, 0, UINT64_MAX);
			break;
		case 'f':
			options.first = tdx_parse_number("first", optarg, 0, UINT32_MAX);
			break;
		case 'l':
			options.length = tdx_parse_number("length", optarg, 1, MAX_CALLS);
			break;
		case 't':
			options.threads = tdx_parse_number("threads", optarg, 1, MAX_THREADS);
			break;
		case 'w':
			options.timeout = tdx_parse_number("timeout", optarg, 1, 86400);
			break;
		case 'p':
			options.print = true;
			break;
		case 'o':
			options.output = optarg;
			break;
		case 'r':
			options.replay = optarg;
			break;
		case 'h':
			print_usage(argv[0]);
			exit(KSFT_PASS);
		default:
			exit(KSFT_FAIL);
		}
	}
	if (optind < argc)
		ksft_exit_fail_msg("Unexpected argument '%s', see --help\n", argv[optind]);
}

int main(int argc, char *argv[])
{
	static struct sequence seq;
	u64 index, before[ARRAY_SIZE(milestones)];
	struct tdx_baseline baseline;
	const char *what;
	int i;

	parse_options(argc, argv);
	if (options.print) {
		generate(&seq, options.first);
		print_sequence(stdout, &seq);
		return KSFT_PASS;
	}

	ksft_print_header();
	tdx_require();
	ksft_set_plan(1);
	fuzz_init();
	progress = mmap(NULL, sizeof(*progress), PROT_READ | PROT_WRITE,
			MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	TEST_ASSERT(progress != MAP_FAILED, "mmap() failed");
	tdx_baseline_init(&baseline);
	model = tdx_host_is_model();
	for (i = 0; model && i < ARRAY_SIZE(milestones); i++)
		before[i] = nr_successes(milestones[i]);
	printf("# seed %lu\n", options.seed);

	for (index = options.first; progress->calls < options.calls; index++) {
		if (options.replay)
			read_sequence(&seq, options.replay);
		else
			generate(&seq, index);
		what = run_sequence(&seq, &baseline);
		if (what)
			fail_sequence(&seq, index, what);
		if (options.replay)
			break;
		/* Should the kernel take the host down: it was after this one. */
		if (index % 10 == 9)
			printf("# sequence %lu, %lu calls\n", index, progress->calls);
	}

	printf("# %lu calls\n", progress->calls);
	if (model && !options.replay)
		check_milestones(before);
	ksft_test_result_pass("%lu sequences of calls leave nothing behind\n",
			      index - options.first + !!options.replay);
	ksft_finished();
}
