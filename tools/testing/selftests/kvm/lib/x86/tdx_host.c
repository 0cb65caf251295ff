// SPDX-License-Identifier: GPL-2.0-only
/*
 * Access to an emulated TDX host, see tdx_host_model.h.
 */
#include "processor.h"
#include "tdx_host.h"

#define WATCH_VCPU_REQUESTS	0
#define VCPU_REQUEST_FUNCTION	"kvm_make_all_cpus_request"

#define TDX_DESTROY_TIMEOUT	10	/* seconds */

#define TDX_EXIT_REASON_EPT_VIOLATION	48
#define TDX_EXT_EXIT_QUAL_PENDING	6

/* TDVMCALL as TDH.VP.ENTER returns it, and the I/O instruction it asks for. */
#define TDX_EXIT_REASON_TDCALL	77
#define TDVMCALL_GPR_MASK	0xfc00
#define TDVMCALL_HLT		12
#define TDVMCALL_IO		30
#define TDVMCALL_RDMSR		31

static const char * const leaf_names[TDH_NR_LEAVES] = {
	[TDH_VP_ENTER]			= "TDH.VP.ENTER",
	[TDH_MNG_ADDCX]			= "TDH.MNG.ADDCX",
	[TDH_MEM_PAGE_ADD]		= "TDH.MEM.PAGE.ADD",
	[TDH_MEM_SEPT_ADD]		= "TDH.MEM.SEPT.ADD",
	[TDH_VP_ADDCX]			= "TDH.VP.ADDCX",
	[TDH_MEM_PAGE_AUG]		= "TDH.MEM.PAGE.AUG",
	[TDH_MEM_RANGE_BLOCK]		= "TDH.MEM.RANGE.BLOCK",
	[TDH_MNG_KEY_CONFIG]		= "TDH.MNG.KEY.CONFIG",
	[TDH_MNG_CREATE]		= "TDH.MNG.CREATE",
	[TDH_VP_CREATE]			= "TDH.VP.CREATE",
	[TDH_MNG_RD]			= "TDH.MNG.RD",
	[TDH_MR_EXTEND]			= "TDH.MR.EXTEND",
	[TDH_MR_FINALIZE]		= "TDH.MR.FINALIZE",
	[TDH_VP_FLUSH]			= "TDH.VP.FLUSH",
	[TDH_MNG_VPFLUSHDONE]		= "TDH.MNG.VPFLUSHDONE",
	[TDH_MNG_KEY_FREEID]		= "TDH.MNG.KEY.FREEID",
	[TDH_MNG_INIT]			= "TDH.MNG.INIT",
	[TDH_VP_INIT]			= "TDH.VP.INIT",
	[TDH_PHYMEM_PAGE_RDMD]		= "TDH.PHYMEM.PAGE.RDMD",
	[TDH_VP_RD]			= "TDH.VP.RD",
	[TDH_PHYMEM_PAGE_RECLAIM]	= "TDH.PHYMEM.PAGE.RECLAIM",
	[TDH_MEM_PAGE_REMOVE]		= "TDH.MEM.PAGE.REMOVE",
	[TDH_SYS_KEY_CONFIG]		= "TDH.SYS.KEY.CONFIG",
	[TDH_SYS_INIT]			= "TDH.SYS.INIT",
	[TDH_SYS_RD]			= "TDH.SYS.RD",
	[TDH_SYS_LP_INIT]		= "TDH.SYS.LP.INIT",
	[TDH_SYS_TDMR_INIT]		= "TDH.SYS.TDMR.INIT",
	[TDH_MEM_TRACK]			= "TDH.MEM.TRACK",
	[TDH_MEM_RANGE_UNBLOCK]		= "TDH.MEM.RANGE.UNBLOCK",
	[TDH_PHYMEM_CACHE_WB]		= "TDH.PHYMEM.CACHE.WB",
	[TDH_PHYMEM_PAGE_WBINVD]	= "TDH.PHYMEM.PAGE.WBINVD",
	[TDH_VP_WR]			= "TDH.VP.WR",
	[TDH_SYS_CONFIG]		= "TDH.SYS.CONFIG",
};

const char *tdh_leaf_name(unsigned int leaf)
{
	static char unknown[32];

	if (leaf < TDH_NR_LEAVES && leaf_names[leaf])
		return leaf_names[leaf];

	snprintf(unknown, sizeof(unknown), "SEAMCALL.%u", leaf);
	return unknown;
}

bool tdx_host_is_model(void)
{
	u32 eax, ebx, ecx, edx;

	/* Beyond the maximum leaf Intel CPUs return the data of another leaf. */
	cpuid(TDX_HOST_CPUID_ID, &eax, &ebx, &ecx, &edx);

	return ebx == TDX_HOST_SIG_EBX && ecx == TDX_HOST_SIG_ECX &&
	       edx == TDX_HOST_SIG_EDX;
}

static int tdx_host_command(u64 command, u64 rbx, u64 rdx, u64 rsi, u64 *result)
{
	u64 rax = TDX_HOST_CPUID_CMD, rcx = command;

	TEST_ASSERT(tdx_host_is_model(), "Not on an emulated TDX host");

	asm volatile("cpuid"
		     : "+a" (rax), "+b" (rbx), "+c" (rcx), "+d" (rdx)
		     : "S" (rsi)
		     : "memory");

	if (result)
		*result = rcx << 32 | (u32)rbx;
	return (u32)rax;
}

u64 tdx_host_read(u64 what)
{
	u64 value;
	int r;

	r = tdx_host_command(TDX_HOST_READ, what, 0, 0, &value);
	TEST_ASSERT(!r, "The TDX host has no counter 0x%lx, error %d (%s)",
		    what, r, strerror(r));
	return value;
}

void tdx_host_reset(void)
{
	int r = tdx_host_command(TDX_HOST_RESET, 0, 0, 0, NULL);

	TEST_ASSERT(!r, "Resetting the TDX host's counters: %s", strerror(r));
}

int __tdx_host_watch(unsigned int slot, u64 address)
{
	return tdx_host_command(TDX_HOST_WATCH, slot, address, 0, NULL);
}

bool tdx_watch_function(unsigned int slot, const char *function)
{
	u64 address = kallsyms_lookup(function);

	return address && !__tdx_host_watch(slot, address);
}

/* The range of the addresses of all functions of modules "[@modules*]". */
static bool kallsyms_module_range(const char *modules, u64 *start, u64 *end)
{
	char line[512], type, module[256];
	u64 address;
	FILE *f;

	*start = ~0ul;
	*end = 0;

	f = fopen("/proc/kallsyms", "r");
	if (!f)
		return false;

	while (fgets(line, sizeof(line), f)) {
		if (sscanf(line, "%lx %c %*s [%255[^]]]", &address, &type,
			   module) != 3 ||
		    (type != 't' && type != 'T') || !address ||
		    strncmp(module, modules, strlen(modules)))
			continue;
		*start = min(*start, address);
		*end = max(*end, address);
	}
	fclose(f);

	/* The last function ends in the page that it begins in, or the next. */
	*end = (*end & ~(PAGE_SIZE - 1)) + 2 * PAGE_SIZE;
	return *start < *end;
}

bool tdx_watch_write_locks(unsigned int slot, const char *modules)
{
	u64 start, end;

	return kallsyms_module_range(modules, &start, &end) &&
	       tdx_watch_function(slot, "_raw_write_lock") &&
	       !tdx_host_command(TDX_HOST_WATCH_LOCK, slot, start, end, NULL);
}

struct tdx_watch tdx_watch_read(unsigned int slot)
{
	return (struct tdx_watch) {
		.calls = tdx_host_read(TDX_HOST_WATCH_CALLS + slot * 4),
		.ticks = tdx_host_read(TDX_HOST_WATCH_TICKS + slot * 4),
		.longest = tdx_host_read(TDX_HOST_WATCH_LONGEST + slot * 4),
		.first = tdx_host_read(TDX_HOST_WATCH_FIRST + slot * 4),
		.last = tdx_host_read(TDX_HOST_WATCH_LAST + slot * 4),
	};
}

bool tdx_watch_clear_page(unsigned int slot)
{
	return tdx_watch_function(slot, "clear_page_orig") &&
	       tdx_watch_function(slot + 1, "clear_page_rep") &&
	       tdx_watch_function(slot + 2, "clear_page_erms");
}

struct tdx_watch tdx_clear_page_read(unsigned int slot)
{
	struct tdx_watch sum = {}, watch;
	int i;

	for (i = 0; i < TDX_CLEAR_PAGE_SLOTS; i++) {
		watch = tdx_watch_read(slot + i);
		sum.calls += watch.calls;
		sum.ticks += watch.ticks;
	}
	return sum;
}

void tdx_watch_trace(u64 slots)
{
	int r = tdx_host_command(TDX_HOST_TRACE, slots, 0, 0, NULL);

	TEST_ASSERT(!r, "Tracing the watches 0x%lx: %s", slots, strerror(r));
}

int __tdx_host_set_fault(unsigned int slot, const struct tdx_fault *fault)
{
	u64 nth = fault->nth ?: 1, every = fault->every ?: 1;
	u64 count = fault->count ?: 1, leaf = fault->leaf;

	return tdx_host_command(TDX_HOST_FAULT,
				slot | fault->what << 8 | leaf << 16 | count << 32,
				nth | every << 32, fault->value, NULL);
}

int __tdx_host_read_fault(unsigned int slot, u64 part, u64 *value)
{
	return tdx_host_command(TDX_HOST_FAULT_READ, slot, part, 0, value);
}

void tdx_host_set_fault(unsigned int slot, const struct tdx_fault *fault)
{
	int r = __tdx_host_set_fault(slot, fault);

	TEST_ASSERT(!r, "Setting a fault for %s in slot %u: %s",
		    tdh_leaf_name(fault->leaf), slot, strerror(r));
}

void tdx_host_inject_status(enum tdh_leaf leaf, u32 nth, u64 status)
{
	const struct tdx_fault fault = {
		.what = TDX_HOST_FAULT_STATUS,
		.leaf = leaf,
		.nth = nth,
		.value = status,
	};

	tdx_host_set_fault(0, &fault);
}

u64 tdx_host_fault_injected(unsigned int slot)
{
	u64 injected;
	int r = __tdx_host_read_fault(slot, TDX_HOST_FAULT_INJECTED, &injected);

	TEST_ASSERT(!r, "Reading the fault in slot %u: %s", slot, strerror(r));
	return injected;
}

void tdx_host_clear_faults(void)
{
	int r = tdx_host_command(TDX_HOST_FAULT_CLEAR, 0, 0, 0, NULL);

	TEST_ASSERT(!r, "Clearing the fault plan: %s", strerror(r));
}

void tdx_host_scenario_begin(u32 how, u32 nth, u64 exempt)
{
	int r = tdx_host_command(TDX_HOST_SCENARIO, how | (u64)nth << 32,
				 exempt, 0, NULL);

	TEST_ASSERT(!r, "Beginning a scenario: %s", strerror(r));
}

struct tdx_scenario tdx_host_scenario_end(void)
{
	int r = tdx_host_command(TDX_HOST_SCENARIO, TDX_HOST_SCENARIO_END, 0, 0,
				 NULL);

	TEST_ASSERT(!r, "Ending a scenario: %s", strerror(r));

	return (struct tdx_scenario) {
		.calls = tdx_host_read(TDX_HOST_SCENARIO_CALLS),
		.failed = tdx_host_read(TDX_HOST_SCENARIO_FAILED),
		.leaf = tdx_host_read(TDX_HOST_SCENARIO_LEAF),
		.status = tdx_host_read(TDX_HOST_SCENARIO_STATUS),
	};
}

int __tdx_host_set_time(u64 percent)
{
	return tdx_host_command(TDX_HOST_TIME, percent, 0, 0, NULL);
}

void tdx_host_set_time(u64 percent)
{
	int r = __tdx_host_set_time(percent);

	TEST_ASSERT(!r, "Setting the modelled time to %lu %%: %s", percent,
		    strerror(r));
}

static void tdx_host_script(u64 script)
{
	int r = tdx_host_command(TDX_HOST_SCRIPT, script, 0, 0, NULL);

	TEST_ASSERT(!r, "Setting script %lu: %s", script, strerror(r));
}

void tdx_host_script_stay(void)
{
	tdx_host_script(TDX_HOST_SCRIPT_STAY);
}

struct script_gpr {
	u64 gpr;			/* in encoding order */
	u64 value;
};

static void tdx_host_script_exit(const struct script_gpr *gprs, int nr)
{
	int i, r;

	for (i = 0; i < nr; i++) {
		r = tdx_host_command(TDX_HOST_SCRIPT_GPR, gprs[i].gpr,
				     gprs[i].value, 0, NULL);
		TEST_ASSERT(!r, "Setting GPR %lu of the script: %s",
			    gprs[i].gpr, strerror(r));
	}
	tdx_host_script(TDX_HOST_SCRIPT_EXIT);
}

static void tdx_host_script_tdvmcall(u64 function, u64 r12, u64 r13, u64 r14)
{
	const struct script_gpr tdvmcall[] = {
		{ 0, TDX_EXIT_REASON_TDCALL },
		{ 1, TDVMCALL_GPR_MASK },
		{ 2, 0 },
		{ 8, 0 },
		{ 9, 0 },
		{ 10, 0 },
		{ 11, function },
		{ 12, r12 },
		{ 13, r13 },
		{ 14, r14 },
		{ 15, 0 },
	};

	tdx_host_script_exit(tdvmcall, ARRAY_SIZE(tdvmcall));
}

/* An OUT of one byte. */
void tdx_host_script_io(void)
{
	tdx_host_script_tdvmcall(TDVMCALL_IO, 1, 1, TDX_SCRIPT_IO_PORT);
}

/* With interrupts blocked, so that none that is pending ends it. */
void tdx_host_script_halt(void)
{
	tdx_host_script_tdvmcall(TDVMCALL_HLT, 1, 0, 0);
}

void tdx_host_script_rdmsr(u32 msr)
{
	tdx_host_script_tdvmcall(TDVMCALL_RDMSR, msr, 0, 0);
}

void tdx_host_script_status(u64 status)
{
	const struct script_gpr exit[] = {
		{ 0, status },
		{ 1, 0 },
		{ 2, 0 },
		{ 8, 0 },
		{ 9, 0 },
	};

	tdx_host_script_exit(exit, ARRAY_SIZE(exit));
}

static void tdx_host_script_ept_violation(u64 gpa, u64 ext_exit_qual)
{
	const struct script_gpr violation[] = {
		{ 0, TDX_EXIT_REASON_EPT_VIOLATION },
		{ 1, 0 },			/* exit qualification */
		{ 2, ext_exit_qual },
		{ 8, gpa },
		{ 9, 0 },
	};

	tdx_host_script_exit(violation, ARRAY_SIZE(violation));
}

void tdx_host_script_unaccepted(u64 gpa)
{
	tdx_host_script_ept_violation(gpa, TDX_EXT_EXIT_QUAL_PENDING);
}

void tdx_host_script_violation(u64 gpa)
{
	tdx_host_script_ept_violation(gpa, 0);
}

/* Returns 0 if the symbol is unknown or its address is hidden. */
u64 kallsyms_lookup(const char *name)
{
	char line[512], symbol[256];
	u64 address, found = 0;
	FILE *f;

	f = fopen("/proc/kallsyms", "r");
	if (!f)
		return 0;

	while (!found && fgets(line, sizeof(line), f)) {
		if (sscanf(line, "%lx %*c %255s", &address, symbol) == 2 &&
		    !strcmp(symbol, name))
			found = address;
	}

	fclose(f);
	return found;
}

bool tdx_counts_init(void)
{
	return tdx_watch_function(WATCH_VCPU_REQUESTS, VCPU_REQUEST_FUNCTION);
}

static void tdx_counts_read(struct tdx_counts *counts)
{
	int i;

	for (i = 0; i < TDH_NR_LEAVES; i++) {
		counts->leaf[i] = tdx_host_read(TDX_HOST_SEAMCALL_LEAF + i);
		counts->errors[i] = tdx_host_read(TDX_HOST_SEAMCALL_ERRORS + i);
	}
	counts->seamcalls = tdx_host_read(TDX_HOST_SEAMCALLS);
	counts->movdir64b_lines = tdx_host_read(TDX_HOST_MOVDIR64B);
	counts->ipis = tdx_host_read(TDX_HOST_IPIS);
	counts->owned_loads = tdx_host_read(TDX_HOST_OWNED_LOADS);
	counts->owned_stores = tdx_host_read(TDX_HOST_OWNED_STORES);
	counts->vcpu_requests = tdx_host_read(TDX_HOST_WATCH_CALLS + WATCH_VCPU_REQUESTS * 4);
	counts->kick_ipis = tdx_host_read(TDX_HOST_WATCH_IPIS + WATCH_VCPU_REQUESTS * 4);
}

void tdx_counts_start(struct tdx_counts *counts)
{
	tdx_counts_read(counts);
	counts->ticks = tdx_host_read(TDX_HOST_TICKS);
}

void tdx_counts_stop(struct tdx_counts *counts)
{
	struct tdx_counts stop = { .ticks = tdx_host_read(TDX_HOST_TICKS) };
	u64 *difference = (u64 *)counts, *end = (u64 *)&stop;
	int i;

	kvm_static_assert(sizeof(*counts) % sizeof(u64) == 0);

	tdx_counts_read(&stop);
	for (i = 0; i < sizeof(*counts) / sizeof(u64); i++)
		difference[i] = end[i] - difference[i];
}

void tdx_counts_print(FILE *stream, const struct tdx_counts *counts, u64 pages)
{
	int i;

	fprintf(stream, "# %lu SEAMCALLs for %lu pages, %lu vCPU requests, %lu kick IPIs\n",
		counts->seamcalls, pages, counts->vcpu_requests,
		counts->kick_ipis);
	fprintf(stream, "# %lu MOVDIR64B lines, %lu ticks\n",
		counts->movdir64b_lines, counts->ticks);

	for (i = 0; i < TDH_NR_LEAVES; i++) {
		if (counts->leaf[i])
			fprintf(stream, "#   %-24s %8lu, %lu failed\n",
				tdh_leaf_name(i), counts->leaf[i],
				counts->errors[i]);
	}
}

struct tdx_gauges tdx_gauges_read(void)
{
	return (struct tdx_gauges) {
		.td_pages = tdx_host_read(TDX_HOST_TD_PAGES),
		.private_pages = tdx_host_read(TDX_HOST_TD_PRIVATE_PAGES),
		.keyids_in_use = tdx_host_read(TDX_HOST_KEYIDS_IN_USE),
		.tds = tdx_host_read(TDX_HOST_TDS),
	};
}

bool tdx_host_wait_for_tds(u64 tds)
{
	struct timespec start;

	clock_gettime(CLOCK_MONOTONIC, &start);
	while (tdx_host_read(TDX_HOST_TDS) > tds) {
		if (timespec_elapsed(start).tv_sec >= TDX_DESTROY_TIMEOUT)
			return false;
		usleep(1000);
	}
	return true;
}

bool tdx_host_check(void)
{
	u64 good;
	int r = tdx_host_command(TDX_HOST_CHECK, 0, 0, 0, &good);

	TEST_ASSERT(!r, "Checking the model of the TDX module: %s", strerror(r));
	return good;
}

int nr_cpu_packages(void)
{
	unsigned long seen = 0;
	int cpu, package;
	char path[128];
	FILE *f;

	for (cpu = 0; cpu < sysconf(_SC_NPROCESSORS_CONF); cpu++) {
		snprintf(path, sizeof(path),
			 "/sys/devices/system/cpu/cpu%d/topology/physical_package_id",
			 cpu);

		/* Offline CPUs have no topology. */
		f = fopen(path, "r");
		if (!f)
			continue;
		if (fscanf(f, "%d", &package) == 1 && package >= 0 &&
		    package < BITS_PER_LONG)
			seen |= BIT(package);
		fclose(f);
	}

	return seen ? __builtin_popcountl(seen) : 1;
}

/* Is it in the "bugs" line of /proc/cpuinfo? */
bool cpu_has_bug(const char *bug)
{
	char line[4096], *word;
	bool found = false;
	FILE *f;

	f = fopen("/proc/cpuinfo", "r");
	TEST_ASSERT(f, "Can't read /proc/cpuinfo: %s", strerror(errno));

	while (!found && fgets(line, sizeof(line), f)) {
		if (strncmp(line, "bugs", 4))
			continue;
		for (word = strtok(line, " \t\n"); word && !found;
		     word = strtok(NULL, " \t\n"))
			found = !strcmp(word, bug);
	}

	fclose(f);
	return found;
}
