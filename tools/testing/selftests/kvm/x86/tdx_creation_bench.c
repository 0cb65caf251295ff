// SPDX-License-Identifier: GPL-2.0-only
/*
 * How long does a TD that is being created wait for one that goes?
 *
 * KVM_TDX_INIT_VM is timed, again and again: on an idle host, while an empty TD
 * is terminated, and while a large TD is zapped and terminated at the same time.
 */
#include <fcntl.h>
#include <linux/falloc.h>
#include <getopt.h>
#include <pthread.h>
#include <sys/sysinfo.h>

#include <linux/sizes.h>

#include "kselftest.h"
#include "kvm_util.h"
#include "processor.h"
#include "tdx_stress.h"
#include "tdx_util.h"

#define SECOND_MEMSLOT	(TDX_MEMSLOT + 1)
#define SECOND_GPA	(8ull * SZ_1G)
#define NR_ROUNDS	20
#define SPIN_TICKS	1000000

/* TDX configures KeyIDs and writes caches back on the first CPU of a package. */
enum { CPU_CREATE, CPU_FIRST_ZAP, CPU_SECOND_ZAP, CPU_TERMINATE, NR_CPUS_NEEDED };

struct creations {
	u64 count;
	u64 longest;		/* ticks */
	u64 total;
};

static struct {
	struct kvm_vm *vm;
	struct creations creations;
	u64 flushed;		/* calls of TDH.VP.FLUSH before */
	bool stop;
} common;

static u64 flushes(void)
{
	return tdx_host_read(TDX_HOST_SEAMCALL_LEAF + TDH_VP_FLUSH);
}

static void create(struct creations *creations)
{
	struct kvm_vm *vm = tdx_vm_create();
	struct kvm_tdx_init_vm *params = tdx_vm_init_params(vm);
	u64 ticks = rdtsc();

	tdx_vm_ioctl(vm, KVM_TDX_INIT_VM, 0, params);
	ticks = rdtsc() - ticks;
	creations->count++;
	creations->total += ticks;
	creations->longest = max(creations->longest, ticks);
	free(params);
	kvm_vm_free(vm);
}

static void *create_until_stopped(void *arg)
{
	pin_self_to_cpu(CPU_CREATE);
	while (!READ_ONCE(common.stop))
		create(&common.creations);
	return NULL;
}

static pthread_t start_thread(void *(*fn)(void *))
{
	pthread_t thread;
	int r = pthread_create(&thread, NULL, fn, NULL);

	TEST_ASSERT(!r, "pthread_create() failed: %s", strerror(r));
	return thread;
}

static void start_creating(pthread_t *thread)
{
	common.creations = (struct creations) {};
	WRITE_ONCE(common.stop, false);
	*thread = start_thread(create_until_stopped);
	while (!READ_ONCE(common.creations.count))
		usleep(1000);
}

static struct creations stop_creating(pthread_t thread)
{
	WRITE_ONCE(common.stop, true);
	pthread_join(thread, NULL);
	return common.creations;
}

static struct creations create_on_idle_host(void)
{
	struct creations creations = {};
	int i;

	pin_self_to_cpu(CPU_CREATE);
	for (i = 0; i < NR_ROUNDS; i++)
		create(&creations);
	return creations;
}

static struct creations create_while_releasing(void)
{
	struct kvm_vm *vm;
	pthread_t thread;
	int i;

	start_creating(&thread);
	pin_self_to_cpu(CPU_TERMINATE);
	for (i = 0; i < NR_ROUNDS; i++) {
		vm = tdx_vm_create();
		tdx_vm_init(vm);
		tdx_vm_terminate(vm);
		kvm_vm_free(vm);
	}
	return stop_creating(thread);
}

static void punch(u32 slot)
{
	struct userspace_mem_region *region = memslot2region(common.vm, slot);
	int r = fallocate(region->region.guest_memfd,
			  FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE, 0,
			  region->region.memory_size);

	TEST_ASSERT(!r, __KVM_SYSCALL_ERROR("fallocate()", r));
}

static void *zap_first(void *arg)
{
	pin_self_to_cpu(CPU_FIRST_ZAP);
	punch(TDX_MEMSLOT);
	return NULL;
}

/* It is in the queue for mmu_lock behind who terminates the TD. */
static void *zap_second(void *arg)
{
	u64 start;

	pin_self_to_cpu(CPU_SECOND_ZAP);
	while (flushes() == common.flushed)
		cpu_relax();
	for (start = rdtsc(); rdtsc() - start < SPIN_TICKS; )
		cpu_relax();
	punch(SECOND_MEMSLOT);
	return NULL;
}

static void *terminate(void *arg)
{
	pin_self_to_cpu(CPU_TERMINATE);
	tdx_vm_terminate(common.vm);
	return NULL;
}

static struct creations create_while_zapping(u64 size)
{
	u64 init_size = min_t(u64, size / 8, SZ_1M), pages;
	struct tdx_td *td = tdx_td_create(1, size / 2, init_size);
	struct creations creations;
	pthread_t creator, threads[3];
	int i;

	tdx_td_finalize(td);
	vm_userspace_mem_region_add(td->vm, VM_MEM_SRC_ANONYMOUS, SECOND_GPA,
				    SECOND_MEMSLOT, size / 2 / PAGE_SIZE,
				    KVM_MEM_GUEST_MEMFD);
	vm_mem_set_private(td->vm, SECOND_GPA, size / 2);
	tdx_pre_fault_memory(td->vcpus[0], SECOND_GPA, size / 2);

	common.vm = td->vm;
	pages = tdx_gauges_read().private_pages;
	start_creating(&creator);
	common.flushed = flushes();
	threads[0] = start_thread(zap_first);
	threads[1] = start_thread(zap_second);
	while (tdx_gauges_read().private_pages == pages)
		cpu_relax();
	threads[2] = start_thread(terminate);
	for (i = 0; i < ARRAY_SIZE(threads); i++)
		pthread_join(threads[i], NULL);
	creations = stop_creating(creator);
	tdx_td_free(td);
	return creations;
}

static void print_creations(const char *name, const struct creations *creations)
{
	printf(", \"%s\": {\"count\": %lu, \"ticks\": %lu, \"longest\": %lu}", name,
	       creations->count, creations->total, creations->longest);
}

int main(int argc, char *argv[])
{
	static const struct option long_options[] = {
		{ "mib", required_argument, NULL, 'm' },
		{ "help", no_argument, NULL, 'h' },
		{}
	};
	struct creations idle, releasing, zapping;
	u64 mib = 64;
	int opt;

	while ((opt = getopt_long(argc, argv, "", long_options, NULL)) != -1) {
		switch (opt) {
		case 'm':
			mib = tdx_parse_number("mib", optarg, 8, SZ_1M);
			break;
		case 'h':
			printf("usage: %s [--mib N] [--help]\n\n"
			       "Times KVM_TDX_INIT_VM while another TD of N MiB (default 64) is zapped and\n"
			       "terminated at the same time, and reports, as a JSON object, the longest time\n"
			       "in ticks of the TSC.  Needs an emulated TDX host with 4 CPUs.\n",
			       argv[0]);
			return KSFT_PASS;
		default:
			return KSFT_FAIL;
		}
	}

	tdx_require_terminate();
	__TEST_REQUIRE(tdx_host_is_model(), "Needs an emulated TDX host");
	__TEST_REQUIRE(get_nprocs() >= NR_CPUS_NEEDED, "Needs %d CPUs", NR_CPUS_NEEDED);
	kvm_get_supported_cpuid();

	idle = create_on_idle_host();
	releasing = create_while_releasing();
	zapping = create_while_zapping(mib * SZ_1M);
	printf("{\"mib\": %lu, \"ticks_per_second\": %lu", mib,
	       tdx_host_read(TDX_HOST_TICKS_PER_SECOND));
	print_creations("idle", &idle);
	print_creations("releasing", &releasing);
	print_creations("zapping", &zapping);
	printf("}\n");
	return KSFT_PASS;
}
