// SPDX-License-Identifier: GPL-2.0-only
/*
 * How long does a TD that is being created wait for one that goes?
 *
 * KVM_TDX_INIT_VM is timed, again and again, up to the SEAMCALL that creates the TD:
 * on an idle host, while empty TDs are terminated, and while a large TD is zapped and
 * terminated at the same time.
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

#define SECOND_MEMSLOT		(TDX_MEMSLOT + 1)
#define SECOND_GPA		(8ull * SZ_1G)
#define NR_ROUNDS		8
#define INTERVAL_US		50
#define RELEASE_INTERVAL_US	5000	/* more than it takes to write caches back */
#define QUIET_US		500000
#define SPIN_TICKS		100000
#define TDX_STATUS_RND_NO_ENTROPY	0x8000020300000000ull

/* TDX configures KeyIDs and writes caches back on the first CPU of a package. */
enum { CPU_OF_PACKAGE, CPU_CREATE, CPU_FIRST_ZAP, CPU_SECOND_ZAP, CPU_TERMINATE, NR_CPUS_NEEDED };

struct creations {
	u64 count;
	u64 longest;		/* ticks */
	u64 total;
};

static struct {
	struct kvm_vm *vm;
	struct kvm_vm *empty[NR_ROUNDS];
	u64 flushed;		/* calls of TDH.VP.FLUSH before */
	u64 pages;		/* private pages before */
	bool go;
	/* Ticks */
	struct span {
		u64 begin;
		u64 end;
	} first_zap, second_zap, terminate;
} common;

static struct {
	struct kvm_vm *vm;
	struct kvm_tdx_init_vm *params;
	struct creations creations;
	pthread_t thread;
	bool stop;
} creator;

static u64 flushes(void)
{
	return tdx_host_read(TDX_HOST_SEAMCALL_LEAF + TDH_VP_FLUSH);
}

/*
 * TDH.MNG.CREATE, the one SEAMCALL for which tdx_lock is taken, says that there is
 * no entropy, so that the same VM can be used again and again.
 */
static void *create(void *arg)
{
	u64 ticks;
	int r;

	pin_self_to_cpu(CPU_CREATE);
	while (!READ_ONCE(creator.stop)) {
		ticks = rdtsc();
		r = __tdx_vm_ioctl(creator.vm, KVM_TDX_INIT_VM, 0, creator.params, NULL);
		ticks = rdtsc() - ticks;
		TEST_ASSERT(r == EAGAIN, "KVM_TDX_INIT_VM: %s", strerror(r));
		creator.creations.total += ticks;
		creator.creations.longest = max(creator.creations.longest, ticks);
		WRITE_ONCE(creator.creations.count, creator.creations.count + 1);
		usleep(INTERVAL_US);
	}
	return NULL;
}

static pthread_t start_thread(void *(*fn)(void *))
{
	pthread_t thread;
	int r = pthread_create(&thread, NULL, fn, NULL);

	TEST_ASSERT(!r, "pthread_create() failed: %s", strerror(r));
	return thread;
}

static void start_creating(void)
{
	creator.vm = tdx_vm_create();
	creator.params = tdx_vm_init_params(creator.vm);
	creator.creations = (struct creations) {};
	creator.stop = false;
	tdx_host_set_fault(0, &(struct tdx_fault) {
		.what = TDX_HOST_FAULT_STATUS,
		.leaf = TDH_MNG_CREATE,
		.count = TDX_HOST_FOREVER,
		.value = TDX_STATUS_RND_NO_ENTROPY,
	});
	creator.thread = start_thread(create);
	while (!READ_ONCE(creator.creations.count))
		usleep(INTERVAL_US);
}

static struct creations stop_creating(void)
{
	WRITE_ONCE(creator.stop, true);
	pthread_join(creator.thread, NULL);
	tdx_host_clear_faults();
	free(creator.params);
	kvm_vm_free(creator.vm);
	return creator.creations;
}

static struct creations create_on_idle_host(void)
{
	start_creating();
	usleep(NR_ROUNDS * RELEASE_INTERVAL_US);
	return stop_creating();
}

static struct creations create_while_releasing(void)
{
	struct creations creations;
	int i;

	for (i = 0; i < NR_ROUNDS; i++) {
		common.empty[i] = tdx_vm_create();
		tdx_vm_init(common.empty[i]);
	}
	start_creating();
	for (i = 0; i < NR_ROUNDS; i++) {
		tdx_vm_terminate(common.empty[i]);
		usleep(RELEASE_INTERVAL_US);
	}
	creations = stop_creating();
	for (i = 0; i < NR_ROUNDS; i++)
		kvm_vm_free(common.empty[i]);
	return creations;
}

static void punch(u32 slot)
{
	struct userspace_mem_region *region = memslot2region(common.vm, slot);
	int r = fallocate(region->region.guest_memfd,
			  FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE, 0,
			  region->region.memory_size);

	TEST_ASSERT(!r, __KVM_SYSCALL_ERROR("fallocate()", r));
}

static void wait_for_go(void)
{
	while (!READ_ONCE(common.go))
		usleep(INTERVAL_US);
}

static void *zap_first(void *arg)
{
	pin_self_to_cpu(CPU_FIRST_ZAP);
	wait_for_go();
	common.first_zap.begin = rdtsc();
	punch(TDX_MEMSLOT);
	common.first_zap.end = rdtsc();
	return NULL;
}

/* It is in the queue for mmu_lock behind who terminates the TD. */
static void *zap_second(void *arg)
{
	u64 start;

	pin_self_to_cpu(CPU_SECOND_ZAP);
	wait_for_go();
	while (flushes() == common.flushed)
		cpu_relax();
	for (start = rdtsc(); rdtsc() - start < SPIN_TICKS; )
		cpu_relax();
	common.second_zap.begin = rdtsc();
	punch(SECOND_MEMSLOT);
	common.second_zap.end = rdtsc();
	return NULL;
}

static void *terminate(void *arg)
{
	pin_self_to_cpu(CPU_TERMINATE);
	wait_for_go();
	while (tdx_gauges_read().private_pages == common.pages)
		cpu_relax();
	common.terminate.begin = rdtsc();
	tdx_vm_terminate(common.vm);
	common.terminate.end = rdtsc();
	return NULL;
}

static struct creations create_while_zapping(u64 size)
{
	u64 init_size = min_t(u64, size / 8, SZ_1M);
	struct tdx_td *td = tdx_td_create(1, size / 2, init_size);
	struct creations creations;
	pthread_t threads[3];
	int i;

	tdx_td_finalize(td);
	vm_userspace_mem_region_add(td->vm, VM_MEM_SRC_ANONYMOUS, SECOND_GPA,
				    SECOND_MEMSLOT, size / 2 / PAGE_SIZE,
				    KVM_MEM_GUEST_MEMFD);
	vm_mem_set_private(td->vm, SECOND_GPA, size / 2);
	tdx_pre_fault_memory(td->vcpus[0], SECOND_GPA, size / 2);

	common.vm = td->vm;
	common.pages = tdx_gauges_read().private_pages;
	common.flushed = flushes();
	threads[0] = start_thread(zap_first);
	threads[1] = start_thread(zap_second);
	threads[2] = start_thread(terminate);
	start_creating();
	/* Whoever zaps yields mmu_lock if RCU wants the CPU, which it does now. */
	usleep(QUIET_US);
	WRITE_ONCE(common.go, true);
	for (i = 0; i < ARRAY_SIZE(threads); i++)
		pthread_join(threads[i], NULL);
	creations = stop_creating();
	tdx_td_free(td);
	return creations;
}

static void print_creations(const char *name, const struct creations *creations)
{
	printf(", \"%s\": {\"count\": %lu, \"ticks\": %lu, \"longest\": %lu}", name,
	       creations->count, creations->total, creations->longest);
}

static void print_span(const char *name, const struct span *span)
{
	printf(", \"%s\": {\"begin\": %lu, \"end\": %lu}", name,
	       span->begin - common.first_zap.begin, span->end - common.first_zap.begin);
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

	while ((opt = getopt_long(argc, argv, "h", long_options, NULL)) != -1) {
		switch (opt) {
		case 'm':
			mib = tdx_parse_number("mib", optarg, 8, SZ_1M);
			break;
		case 'h':
			printf("usage: %s [--mib N] [--help]\n\n"
			       "Times KVM_TDX_INIT_VM while another TD of N MiB (default 64) is zapped and\n"
			       "terminated at the same time, and reports, as a JSON object, the longest time\n"
			       "in ticks of the TSC.  Needs an emulated TDX host with 5 CPUs.\n",
			       argv[0]);
			return KSFT_PASS;
		default:
			return KSFT_FAIL;
		}
	}
	if (optind < argc)
		ksft_exit_fail_msg("Unexpected argument '%s', see --help\n", argv[optind]);

	tdx_require_terminate();
	__TEST_REQUIRE(tdx_host_is_model(), "Needs an emulated TDX host");
	__TEST_REQUIRE(get_nprocs() >= NR_CPUS_NEEDED, "Needs %d CPUs", NR_CPUS_NEEDED);
	kvm_get_supported_cpuid();

	/* The other CPUs are for threads. */
	pin_self_to_cpu(CPU_OF_PACKAGE);
	idle = create_on_idle_host();
	releasing = create_while_releasing();
	zapping = create_while_zapping(mib * SZ_1M);
	printf("{\"mib\": %lu, \"ticks_per_second\": %lu", mib,
	       tdx_host_read(TDX_HOST_TICKS_PER_SECOND));
	print_creations("idle", &idle);
	print_creations("releasing", &releasing);
	print_creations("zapping", &zapping);
	print_span("first_zap", &common.first_zap);
	print_span("second_zap", &common.second_zap);
	print_span("terminate", &common.terminate);
	printf("}\n");
	return KSFT_PASS;
}
