// SPDX-License-Identifier: GPL-2.0-only
/*
 * What does it cost to take the memory of a TD back?
 *
 * On an emulated TDX host (see tdx_host_model.h) this counts what the kernel
 * does: SEAMCALLs, vCPU requests, IPIs, cleared cache lines, simulated ticks.
 * On any other TDX host it can measure no more than wall time.
 */
#include <ctype.h>
#include <getopt.h>
#include <sched.h>
#include <signal.h>
#include <sys/wait.h>

#include <linux/align.h>
#include <linux/sizes.h>

#include "kvm_util.h"
#include "processor.h"
#include "tdx_host.h"
#include "tdx_util.h"

enum teardown_method {
	METHOD_CLOSE,
	METHOD_TERMINATE,
	METHOD_PUNCH,
	METHOD_KILLED,
	NR_METHODS,
};

static const char * const method_names[NR_METHODS] = {
	[METHOD_CLOSE]		= "close",
	[METHOD_TERMINATE]	= "terminate",
	[METHOD_PUNCH]		= "punch",
	[METHOD_KILLED]		= "killed",
};

/* What is timed, each by a watch of the emulated host. */
enum {
	WATCH_MMU_LOCK = 1,
	WATCH_PHASES,

	/* Only while memory is pre-faulted, before all others. */
	WATCH_CLEAR_PAGE = WATCH_MMU_LOCK,
};

/* A phase is the time in the function that has the TDX module do it. */
static const struct {
	const char *name;
	const char *function;
} phases[] = {
	{ "flush_vcpus",	"tdh_vp_flush" },
	{ "flush_done",		"tdh_mng_vpflushdone" },
	{ "write_back",		"tdh_phymem_cache_wb" },
	{ "free_keyid",		"tdh_mng_key_freeid" },
	{ "block",		"tdh_mem_range_block" },
	{ "track",		"tdh_mem_track" },
	{ "remove",		"tdh_mem_page_remove" },
	{ "flush_page",		"tdh_phymem_page_wbinvd_hkid" },
	{ "reclaim",		"tdh_phymem_page_reclaim" },
	{ "clear",		"tdx_quirk_reset_page" },
};

static struct {
	enum teardown_method method;
	int cpus;		/* to run on */
	int vcpus;
	u64 size;		/* bytes */
	u64 init_size;		/* bytes */
	u64 punch_size;		/* bytes */
	bool hold;
	bool trace;
	const char *json;	/* file name, or NULL for stdout */
} options = {
	.vcpus = 2,
	.size = 64 * SZ_1M,
	.punch_size = SZ_2M,
};

/* What KVM_PRE_FAULT_MEMORY has cost, not known of another process. */
struct populate {
	u64 pages;
	bool has_cleared;
	struct tdx_watch cleared;
	u64 ticks;
};

struct result {
	u64 private_pages;
	struct populate populate;
	u64 wall_ns;
	u64 memory_wall_ns;		/* until all private memory was back */
	u64 memory_ticks;		/* only on the model, like the rest */
	struct tdx_counts counts;
	bool has_vcpu_requests;
	bool has_mmu_lock;
	struct tdx_watch mmu_lock;		/* held for write */
	bool has_phase[ARRAY_SIZE(phases)];
	struct tdx_watch phase[ARRAY_SIZE(phases)];
	u64 ticks_per_second;
	struct tdx_gauges left;
};

static void print_usage(const char *name)
{
	printf("usage: %s [options]\n"
	       "\n"
	       "Creates a TD, enters its vCPUs, takes its memory back by one of these methods,\n"
	       "and reports what that cost, as a JSON object.\n"
	       "\n"
	       " --method METHOD   close:     close all its file descriptors (default)\n"
	       "                   terminate: KVM_TDX_TERMINATE_VM, then close\n"
	       "                   punch:     punch holes into the guest_memfd while all vCPUs\n"
	       "                              are in TDH.VP.ENTER, then close\n"
	       "                   killed:    kill the process while all vCPUs are in\n"
	       "                              TDH.VP.ENTER\n"
	       " --cpus N|auto     Run on the first N of the allowed CPUs, or on all of them\n"
	       "                   (default: auto).\n"
	       " --vcpus N         vCPUs of the TD (default: 2).\n"
	       " --mib N           Private memory in MiB (default: 64).\n"
	       " --init-mib N      Part of it that is added by KVM_TDX_INIT_MEM_REGION, the rest\n"
	       "                   is mapped by KVM_PRE_FAULT_MEMORY (default: 1/8).  0 stands\n"
	       "                   for one page, that with the reset vector.\n"
	       " --punch-kib N     Size of a hole in KiB (default: 2048).\n"
	       " --hold            Tell when the vCPUs are in the guest, and leave them there until\n"
	       "                   the end of the standard input.\n"
	       " --trace           Have the emulated host log when mmu_lock is taken and released, and\n"
	       "                   when each phase begins and ends.\n"
	       " --json FILE       Write the JSON object to FILE (default: standard output).\n"
	       " --help            Show this.\n",
	       name);
}

static void __printf(1, 2) __noreturn usage_error(const char *fmt, ...)
{
	va_list args;

	fprintf(stderr, "%s: ", program_invocation_short_name);
	va_start(args, fmt);
	vfprintf(stderr, fmt, args);
	va_end(args);
	fprintf(stderr, ", see --help\n");

	exit(KSFT_FAIL);
}

static u64 parse_number(const char *option, const char *arg, u64 min, u64 max)
{
	unsigned long long value;
	char *end;

	errno = 0;
	value = strtoull(arg, &end, 10);
	if (!isdigit(arg[0]) || *end || errno || value < min || value > max)
		usage_error("--%s wants a number from %lu to %lu, not '%s'",
			    option, min, max, arg);
	return value;
}

static void parse_options(int argc, char *argv[])
{
	enum { METHOD = 1, CPUS, VCPUS, MIB, INIT_MIB, PUNCH_KIB, HOLD, TRACE,
	       JSON, HELP };
	static const struct option long_options[] = {
		{ "method",	required_argument, NULL, METHOD },
		{ "cpus",	required_argument, NULL, CPUS },
		{ "vcpus",	required_argument, NULL, VCPUS },
		{ "mib",	required_argument, NULL, MIB },
		{ "init-mib",	required_argument, NULL, INIT_MIB },
		{ "punch-kib",	required_argument, NULL, PUNCH_KIB },
		{ "hold",	no_argument, NULL, HOLD },
		{ "trace",	no_argument, NULL, TRACE },
		{ "json",	required_argument, NULL, JSON },
		{ "help",	no_argument, NULL, HELP },
		{ },
	};
	bool has_init_size = false;
	int i, opt;

	while ((opt = getopt_long(argc, argv, "h", long_options, &i)) != -1) {
		switch (opt) {
		case METHOD:
			for (i = 0; i < NR_METHODS; i++) {
				if (!strcmp(optarg, method_names[i]))
					break;
			}
			if (i == NR_METHODS)
				usage_error("no such method: '%s'", optarg);
			options.method = i;
			break;
		case CPUS:
			options.cpus = 0;
			if (strcmp(optarg, "auto"))
				options.cpus = parse_number("cpus", optarg, 1,
							    CPU_SETSIZE);
			break;
		case VCPUS:
			options.vcpus = parse_number("vcpus", optarg, 1,
						     KVM_MAX_VCPUS);
			break;
		case MIB:
			options.size = parse_number("mib", optarg, 1,
						    SZ_1G) * SZ_1M;
			break;
		case INIT_MIB:
			/* The initial part ends at 4 GiB. */
			options.init_size = parse_number("init-mib", optarg, 0,
							 4095) * SZ_1M;
			has_init_size = true;
			break;
		case PUNCH_KIB:
			options.punch_size = parse_number("punch-kib", optarg,
							  4, SZ_1G) * SZ_1K;
			break;
		case HOLD:
			options.hold = true;
			break;
		case TRACE:
			options.trace = true;
			break;
		case JSON:
			options.json = optarg;
			break;
		case HELP:
		case 'h':
			print_usage(argv[0]);
			exit(KSFT_PASS);
		default:
			usage_error("unknown or incomplete option");
		}
	}

	if (optind < argc)
		usage_error("unexpected argument '%s'", argv[optind]);
	if (!IS_ALIGNED(options.punch_size, PAGE_SIZE))
		usage_error("the size of a hole must be a multiple of 4 KiB");

	if (!has_init_size)
		options.init_size = min_t(u64, options.size / 8, SZ_2G);
	options.init_size = max_t(u64, options.init_size, PAGE_SIZE);
	if (options.init_size > options.size)
		usage_error("the initial part is larger than the memory");
}

/* Restrict this process to options.cpus CPUs, or count those allowed. */
static void set_cpus(void)
{
	cpu_set_t allowed, use;
	int cpu, r;

	r = sched_getaffinity(0, sizeof(allowed), &allowed);
	TEST_ASSERT(!r, __KVM_SYSCALL_ERROR("sched_getaffinity()", r));

	if (!options.cpus)
		options.cpus = CPU_COUNT(&allowed);
	if (options.cpus > CPU_COUNT(&allowed))
		usage_error("%d CPUs wanted, %d may be used", options.cpus,
			    CPU_COUNT(&allowed));

	CPU_ZERO(&use);
	for (cpu = 0; CPU_COUNT(&use) < options.cpus; cpu++) {
		if (CPU_ISSET(cpu, &allowed))
			CPU_SET(cpu, &use);
	}

	r = sched_setaffinity(0, sizeof(use), &use);
	TEST_ASSERT(!r, __KVM_SYSCALL_ERROR("sched_setaffinity()", r));
}

static void start_vcpus(struct tdx_td *td, struct tdx_vcpu_thread *threads)
{
	int i;

	for (i = 0; i < td->nr_vcpus; i++)
		tdx_vcpu_thread_start(&threads[i], td->vcpus[i]);
}

static void stop_vcpus(struct tdx_td *td, struct tdx_vcpu_thread *threads)
{
	int i, r;

	for (i = 0; i < td->nr_vcpus; i++) {
		r = tdx_vcpu_thread_stop(&threads[i]);
		TEST_ASSERT(r == EINTR, "KVM_RUN of vCPU %d failed: %s", i,
			    strerror(r));
	}
}

/*
 * The vCPUs have to be able to enter the guest again, on whatever CPUs.  Those of
 * another process, i.e. without @td, are out of reach.
 */
static void hold(struct tdx_td *td, struct tdx_vcpu_thread *threads)
{
	printf("holding\n");
	fflush(stdout);
	while (getchar() != EOF)
		;

	if (!td)
		return;
	stop_vcpus(td, threads);
	start_vcpus(td, threads);
}

static void punch_range(struct tdx_td *td, u64 start, u64 end)
{
	u64 gpa, size;

	for (gpa = start; gpa < end; gpa += size) {
		size = min(options.punch_size, end - gpa);
		vm_guest_mem_punch_hole(td->vm, gpa, size);
	}
}

/* All but the page with the reset vector, which the vCPUs execute. */
static void punch(struct tdx_td *td)
{
	u64 end_of_init = td->gpa + td->init_size;

	punch_range(td, td->gpa, end_of_init - PAGE_SIZE);
	punch_range(td, end_of_init, td->gpa + td->size);
}

static void take_memory(struct tdx_td *td, struct tdx_vcpu_thread *threads)
{
	switch (options.method) {
	case METHOD_CLOSE:
		break;
	case METHOD_TERMINATE:
		tdx_vm_terminate(td->vm);
		break;
	case METHOD_PUNCH:
		punch(td);
		stop_vcpus(td, threads);
		break;
	default:
		TEST_FAIL("Unknown method %d", options.method);
	}

	tdx_td_close_memory(td);
}

static void populate(struct tdx_td *td, struct populate *result)
{
	bool model = tdx_host_is_model();
	int i;

	if (model) {
		result->has_cleared = tdx_watch_clear_page(WATCH_CLEAR_PAGE);
		tdx_host_reset();
		result->ticks = tdx_host_read(TDX_HOST_TICKS);
	}

	tdx_td_finalize(td);

	result->pages = (td->size - td->init_size) / PAGE_SIZE;
	if (model) {
		result->ticks = tdx_host_read(TDX_HOST_TICKS) - result->ticks;
		result->cleared = tdx_clear_page_read(WATCH_CLEAR_PAGE);
		for (i = 0; i < TDX_CLEAR_PAGE_SLOTS; i++)
			__tdx_host_watch(WATCH_CLEAR_PAGE + i, 0);
	}
}

static struct tdx_td *create_running_td(struct tdx_vcpu_thread *threads,
					struct populate *result)
{
	struct tdx_td *td;

	td = tdx_td_create(options.vcpus, options.size, options.init_size);
	populate(td, result);
	start_vcpus(td, threads);
	return td;
}

/* A process that has the TD, and does nothing. */
static pid_t fork_vmm(struct tdx_vcpu_thread *threads)
{
	struct populate unknown;
	int ready[2], r;
	pid_t pid;
	char c = 0;

	r = pipe(ready);
	TEST_ASSERT(!r, __KVM_SYSCALL_ERROR("pipe()", r));

	pid = fork();
	TEST_ASSERT(pid >= 0, __KVM_SYSCALL_ERROR("fork()", pid));
	if (!pid) {
		create_running_td(threads, &unknown);
		TEST_ASSERT_EQ(write(ready[1], &c, 1), 1);
		for (;;)
			pause();
	}

	close(ready[1]);
	TEST_ASSERT(read(ready[0], &c, 1) == 1, "The process with the TD died");
	close(ready[0]);
	return pid;
}

static void kill_vmm(pid_t pid)
{
	int status;

	TEST_ASSERT(!kill(pid, SIGKILL), "Can't kill the process with the TD");
	TEST_ASSERT_EQ(waitpid(pid, &status, 0), pid);
	TEST_ASSERT(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL,
		    "The process with the TD ended by itself");
}

static void start_watches(struct result *result)
{
	u64 slots = BIT(WATCH_MMU_LOCK);
	int i;

	kvm_static_assert(WATCH_PHASES + ARRAY_SIZE(phases) <= TDX_HOST_MAX_WATCHES);

	result->has_mmu_lock = tdx_watch_write_locks(WATCH_MMU_LOCK, "kvm");
	for (i = 0; i < ARRAY_SIZE(phases); i++) {
		result->has_phase[i] = tdx_watch_function(WATCH_PHASES + i,
							  phases[i].function);
		slots |= BIT(WATCH_PHASES + i);
	}
	if (options.trace)
		tdx_watch_trace(slots);
}

static void stop_watches(struct result *result)
{
	int i;

	tdx_watch_trace(0);
	result->mmu_lock = tdx_watch_read(WATCH_MMU_LOCK);
	__tdx_host_watch(WATCH_MMU_LOCK, 0);
	for (i = 0; i < ARRAY_SIZE(phases); i++) {
		result->phase[i] = tdx_watch_read(WATCH_PHASES + i);
		__tdx_host_watch(WATCH_PHASES + i, 0);
	}
}

static void run(struct result *result)
{
	struct tdx_vcpu_thread *threads;
	struct tdx_gauges before = {};
	bool model = tdx_host_is_model();
	struct timespec start;
	struct tdx_td *td = NULL;
	pid_t vmm = 0;

	if (model) {
		before = tdx_gauges_read();
		result->has_vcpu_requests = tdx_counts_init();
		result->ticks_per_second =
			tdx_host_read(TDX_HOST_TICKS_PER_SECOND);
		tdx_host_script_stay();
	}

	threads = calloc(options.vcpus, sizeof(*threads));
	TEST_ASSERT(threads, "No memory for %d threads", options.vcpus);

	if (options.method == METHOD_KILLED)
		vmm = fork_vmm(threads);
	else
		td = create_running_td(threads, &result->populate);

	result->private_pages = options.size / PAGE_SIZE;
	if (model)
		TEST_ASSERT_EQ(tdx_gauges_read().private_pages -
			       before.private_pages, result->private_pages);

	if (options.hold)
		hold(td, threads);
	if (td && options.method != METHOD_PUNCH)
		stop_vcpus(td, threads);

	if (model) {
		start_watches(result);
		tdx_host_reset();
		tdx_counts_start(&result->counts);
	}

	if (options.hold) {
		printf("let go\n");
		fflush(stdout);
	}

	/* Destroying the rest mostly means waiting for RCU grace periods. */
	clock_gettime(CLOCK_MONOTONIC, &start);
	if (td)
		take_memory(td, threads);
	else
		kill_vmm(vmm);
	result->memory_wall_ns = timespec_to_ns(timespec_elapsed(start));
	if (model)
		result->memory_ticks = tdx_host_read(TDX_HOST_TICKS) -
				       result->counts.ticks;
	if (td)
		tdx_td_free(td);
	result->wall_ns = timespec_to_ns(timespec_elapsed(start));

	if (model) {
		TEST_ASSERT(tdx_host_wait_for_tds(before.tds),
			    "The TD still exists");
		tdx_counts_stop(&result->counts);
		stop_watches(result);
		result->left = tdx_gauges_read();
		tdx_host_script_io();
	}

	free(threads);
}

static void write_watch(FILE *f, const char *name, const struct tdx_watch *watch)
{
	fprintf(f, "\"%s\": {\"count\": %lu, \"ticks\": %lu, \"longest\": %lu",
		name, watch->calls, watch->ticks, watch->longest);
	fprintf(f, ", \"first\": %lu, \"last\": %lu}", watch->first, watch->last);
}

static void write_populate(FILE *f, const struct populate *populate)
{
	if (!populate->pages || !populate->has_cleared)
		return;

	fprintf(f, ", \"populate\": {\"pages\": %lu, \"ticks\": %lu",
		populate->pages, populate->ticks);
	fprintf(f, ", \"cleared\": %lu, \"clear_ticks\": %lu}",
		populate->cleared.calls, populate->cleared.ticks);
}

static void write_json(FILE *f, const struct result *result, bool model)
{
	const struct tdx_counts *counts = &result->counts;
	const char *separator = "";
	int i;

	fprintf(f, "{\"method\": \"%s\", \"cpus\": %d, \"vcpus\": %d, \"mib\": %lu",
		method_names[options.method], options.cpus, options.vcpus,
		options.size / SZ_1M);
	fprintf(f, ", \"private_pages\": %lu, \"model\": %s",
		result->private_pages, model ? "true" : "false");
	fprintf(f, ", \"wall_ns\": %lu, \"memory_wall_ns\": %lu",
		result->wall_ns, result->memory_wall_ns);
	if (!model)
		goto out;

	fprintf(f, ", \"seamcalls\": {\"total\": %lu, \"by_leaf\": {",
		counts->seamcalls);
	for (i = 0; i < TDH_NR_LEAVES; i++) {
		if (!counts->leaf[i])
			continue;
		fprintf(f, "%s\"%s\": %lu", separator, tdh_leaf_name(i),
			counts->leaf[i]);
		separator = ", ";
	}
	fprintf(f, "}}");

	if (result->has_vcpu_requests)
		fprintf(f, ", \"vcpu_requests\": %lu, \"kick_ipis\": %lu",
			counts->vcpu_requests, counts->kick_ipis);

	fprintf(f, ", \"movdir64b_lines\": %lu", counts->movdir64b_lines);
	fprintf(f, ", \"ticks\": %lu, \"memory_ticks\": %lu, \"ticks_per_second\": %lu",
		counts->ticks, result->memory_ticks, result->ticks_per_second);

	if (result->has_mmu_lock) {
		fprintf(f, ", ");
		write_watch(f, "mmu_lock", &result->mmu_lock);
	}

	fprintf(f, ", \"phases\": {");
	separator = "";
	for (i = 0; i < ARRAY_SIZE(phases); i++) {
		if (!result->has_phase[i] || !result->phase[i].calls)
			continue;
		fprintf(f, "%s", separator);
		write_watch(f, phases[i].name, &result->phase[i]);
		separator = ", ";
	}
	fprintf(f, "}");

	write_populate(f, &result->populate);

	fprintf(f, ", \"owned_loads\": %lu, \"owned_stores\": %lu",
		counts->owned_loads, counts->owned_stores);
	fprintf(f, ", \"owned_pages_left\": %lu, \"keyids_in_use\": %lu",
		result->left.td_pages, result->left.keyids_in_use);
out:
	fprintf(f, "}\n");
}

static void print_watches(const struct result *result)
{
	const struct tdx_watch *watch = &result->mmu_lock;
	int i;

	if (result->has_mmu_lock)
		printf("# mmu_lock is held for write %lu times, %lu ticks, %lu ticks at most\n",
		       watch->calls, watch->ticks, watch->longest);
	else
		printf("# mmu_lock can't be watched, is kptr_restrict set?\n");

	for (i = 0; i < ARRAY_SIZE(phases); i++) {
		watch = &result->phase[i];
		if (result->has_phase[i] && watch->calls)
			printf("#   %-12s %8lu calls, %10lu ticks, from tick %lu to %lu\n",
			       phases[i].name, watch->calls, watch->ticks,
			       watch->first, watch->last);
	}
}

static void print_populate(const struct populate *populate)
{
	if (populate->pages && populate->has_cleared)
		printf("# %lu pages pre-faulted: %lu cleared, %lu ticks, %lu of these to clear\n",
		       populate->pages, populate->cleared.calls,
		       populate->ticks, populate->cleared.ticks);
}

static void report(const struct result *result)
{
	bool model = tdx_host_is_model();
	FILE *f = stdout;

	if (model) {
		printf("# The TDX module is a software model: exact counts, simulated time\n");
		tdx_counts_print(stdout, &result->counts,
				 result->private_pages);
		if (!result->has_vcpu_requests)
			printf("# vCPU requests can't be counted, is kptr_restrict set?\n");
		print_watches(result);
		print_populate(&result->populate);
	} else {
		printf("# No emulated TDX host, wall time only\n");
	}
	printf("# %s: %lu private pages in %lu us, TD destroyed after %lu us\n",
	       method_names[options.method], result->private_pages,
	       result->memory_wall_ns / 1000, result->wall_ns / 1000);

	if (options.json) {
		f = fopen(options.json, "w");
		TEST_ASSERT(f, "Can't write %s: %s", options.json,
			    strerror(errno));
	}
	write_json(f, result, model);
	if (f != stdout)
		TEST_ASSERT(!fclose(f), "Can't write %s: %s", options.json,
			    strerror(errno));
}

static void require_method(void)
{
	struct tdx_features features = tdx_require();

	if (options.vcpus > features.max_vcpus)
		usage_error("%d vCPUs wanted, %d are possible", options.vcpus,
			    features.max_vcpus);
	__TEST_REQUIRE(options.method != METHOD_TERMINATE || features.terminate,
		       "KVM_TDX_TERMINATE_VM is not supported");
}

int main(int argc, char *argv[])
{
	struct result result = {};

	parse_options(argc, argv);

	require_method();
	set_cpus();
	run(&result);
	report(&result);

	return KSFT_PASS;
}
