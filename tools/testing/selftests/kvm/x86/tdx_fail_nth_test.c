// SPDX-License-Identifier: GPL-2.0-only
/*
 * Let the life of a TD fail at its first SEAMCALL, at its second one, and so on.
 *
 * Whatever fails, KVM must not give a page back to the kernel that the TDX module
 * still owns, must lose pages only because of the failure, must warn only where
 * it is known to, and must be able to run another TD.
 *
 * Needs an emulated TDX host, see tdx_host_model.h.  A page that is given back is
 * seen when it is written, which init_on_free=1 does at once.
 */
#include <fcntl.h>
#include <regex.h>

#include <linux/sizes.h>

#include "kselftest_harness.h"
#include "kvm_util.h"
#include "processor.h"
#include "tdx_host.h"
#include "tdx_util.h"

#define TEST_INIT_PAGES		3
#define TEST_PAGES		6
#define TEST_TIMEOUT		600	/* seconds */
#define TEST_RETRIES		3

#define MAX_SEAMCALLS		300
#define MAX_SITES		16

/* Functions that warn; static ones may be inlined into their callers. */
#define INIT_VM		"(__tdx_td_init|tdx_td_init|tdx_vm_ioctl)"
#define INIT_VCPU	"(tdx_td_vcpu_init|tdx_vcpu_init|tdx_vcpu_ioctl)"
#define WRITE_VCPU	"tdh_vp_wr_failed"
#define LINK_SEPT	"tdx_sept_link_private_spt"
#define FINALIZE	"(tdx_td_finalize|tdx_vm_ioctl)"
#define MAP_PAGE	"(tdx_mem_page_aug|tdx_sept_set_private_spte)"
#define REMOVE_PAGE	"tdx_sept_remove_private_spte"
#define RELEASE_HKID	"(tdx_warn_hkid_leaked|tdx_mmu_release_hkid|__tdx_td_init|tdx_td_init|tdx_vm_ioctl)"
#define RECLAIM_PAGE	"__tdx_reclaim_page"
#define RECLAIM_TDR	"(tdx_reclaim_td_control_pages|tdx_vm_destroy)"

#define BUSY		BIT(0)
#define ERROR		BIT(1)
#define STICKY		BIT(2)
#define ONCE		(BUSY | ERROR)
#define ALWAYS		(ONCE | STICKY)

/*
 * What comes of it if a call of a leaf fails.  The first entry that fits counts.
 *
 * @sites: where KVM warns, once each; the first KVM_BUG_ON() of a VM keeps the
 *	others from warning
 * @first: only the first so many calls of the leaf in the life of a TD; 0: all
 * @kept: pages that the TDX module keeps at most, unless all that follows fails
 * @leaked: pages that KVM can't use any more although the TDX module doesn't own them
 */
static const struct outcome {
	enum tdh_leaf leaf;
	u32 when;
	const char *sites[2];
	u32 first;
	u64 kept;
	u64 leaked;
} outcomes[] = {
	{ TDH_MNG_CREATE,	ALWAYS,	{ INIT_VM } },
	/* KVM tries again, and userspace is to do so if that doesn't help. */
	{ TDH_MNG_KEY_CONFIG,	STICKY,	{ RELEASE_HKID } },
	{ TDH_MNG_ADDCX,	ONCE,	{ INIT_VM } },
	{ TDH_MNG_ADDCX,	STICKY,	{ INIT_VM, RELEASE_HKID } },
	{ TDH_MNG_INIT,		ONCE,	{ INIT_VM } },
	{ TDH_MNG_INIT,		STICKY,	{ INIT_VM, RELEASE_HKID } },
	/* The next thing to fail is TDH.VP.CREATE. */
	{ TDH_MNG_RD,		STICKY,	{ INIT_VCPU } },
	{ TDH_VP_CREATE,	ALWAYS,	{ INIT_VCPU } },
	{ TDH_VP_ADDCX,		ALWAYS,	{ INIT_VCPU } },
	/* KVM tries again if the TDR is busy. */
	{ TDH_VP_INIT,		ERROR | STICKY, { INIT_VCPU } },
	{ TDH_VP_WR,		ALWAYS,	{ WRITE_VCPU } },
	/* A fault is tried again if the S-EPT is busy. */
	{ TDH_MEM_SEPT_ADD,	ERROR | STICKY, { LINK_SEPT } },
	{ TDH_MEM_PAGE_AUG,	ERROR | STICKY, { MAP_PAGE } },
	/* Userspace is to try again if the TDR is busy. */
	{ TDH_MR_FINALIZE,	ERROR | STICKY, { FINALIZE } },
	/*
	 * Userspace is told, but memory can't be removed, either, nor be known not to
	 * have been added.
	 */
	{ TDH_MEM_PAGE_ADD,	STICKY,	{ REMOVE_PAGE }, .leaked = 1 },
	{ TDH_VP_ENTER,		STICKY,	{ REMOVE_PAGE } },
	{ TDH_VP_FLUSH,		STICKY,	{ REMOVE_PAGE } },
	{ TDH_MNG_VPFLUSHDONE,	STICKY,	{ REMOVE_PAGE } },
	/* The page stays with the TD, and the TDR can't be reclaimed without it. */
	{ TDH_MEM_RANGE_BLOCK,	ERROR,	{ REMOVE_PAGE, RECLAIM_PAGE }, .kept = 2 },
	{ TDH_MEM_RANGE_BLOCK,	STICKY,	{ REMOVE_PAGE } },
	{ TDH_MEM_TRACK,	ERROR,	{ REMOVE_PAGE, RECLAIM_PAGE }, .kept = 2 },
	{ TDH_MEM_TRACK,	STICKY,	{ REMOVE_PAGE } },
	{ TDH_MEM_PAGE_REMOVE,	ERROR,	{ REMOVE_PAGE, RECLAIM_PAGE }, .kept = 2 },
	{ TDH_MEM_PAGE_REMOVE,	STICKY,	{ REMOVE_PAGE } },
	/* Memory is leaked quietly from here on. */
	{ TDH_PHYMEM_CACHE_WB,	STICKY,	{ RELEASE_HKID } },
	{ TDH_MNG_KEY_FREEID,	STICKY,	{ RELEASE_HKID } },
	/* First comes guest memory, but for the page that has gone before. */
	{ TDH_PHYMEM_PAGE_RECLAIM, ALWAYS, { REMOVE_PAGE, RECLAIM_PAGE },
	  .first = TEST_PAGES - 1, .kept = 2 },
	{ TDH_PHYMEM_PAGE_RECLAIM, ALWAYS, { RECLAIM_PAGE }, .kept = 2 },
	/* Of a page that goes while the TD may run, and of the TDR. */
	{ TDH_PHYMEM_PAGE_WBINVD, ALWAYS, { REMOVE_PAGE }, .first = 1, .leaked = 1 },
	{ TDH_PHYMEM_PAGE_WBINVD, ALWAYS, { RECLAIM_TDR }, .leaked = 1 },
};

/* A function that warns, with its number of warnings. */
struct site {
	char name[64];
	u64 count;
};

/* The warnings of the whole run that were expected. */
static struct site announced[MAX_SITES];

/* What KVM_TDX_GET_CPUID says, which takes too many SEAMCALLs. */
static struct kvm_cpuid2 *td_cpuid;

static void add_warnings(struct site *sites, const char *name, u64 count)
{
	int i;

	for (i = 0; i < MAX_SITES && sites[i].count; i++) {
		if (!strcmp(sites[i].name, name))
			break;
	}
	TEST_ASSERT(i < MAX_SITES, "Too many functions warn");
	strncpy(sites[i].name, name, sizeof(sites[i].name) - 1);
	sites[i].count += count;
}

/* The warnings in the kernel's log since the last call. */
static void read_warnings(int kmsg, struct site *sites)
{
	char record[8192], name[64], *at;
	ssize_t n;

	for (;;) {
		n = read(kmsg, record, sizeof(record) - 1);
		if (n < 0 && errno == EPIPE)
			continue;
		if (n <= 0)
			break;
		record[n] = 0;
		at = strstr(record, ";WARNING: ");
		if (!at)
			continue;
		/* ... at FILE:LINE FUNCTION[.part.0]+OFFSET/SIZE [MODULE] */
		at = strstr(at, " at ");
		if (at && sscanf(at, " at %*s %63[^+.]", name) == 1)
			add_warnings(sites, name, 1);
		else
			add_warnings(sites, "unknown", 1);
	}
}

static void write_file(const char *path, const char *value)
{
	int fd = open(path, O_WRONLY);

	TEST_ASSERT(fd >= 0 && write(fd, value, strlen(value)) > 0,
		    "Writing %s: %s", path, strerror(errno));
	close(fd);
}

/* Sum of the numbers in lines of @path that begin with one of @keys. */
static u64 sum_lines(const char *path, const char * const *keys)
{
	char line[256], key[64];
	u64 value, sum = 0;
	int i;
	FILE *f = fopen(path, "r");

	TEST_ASSERT(f, "Opening %s: %s", path, strerror(errno));
	while (fgets(line, sizeof(line), f)) {
		if (sscanf(line, " %63[^: ]: %lu", key, &value) != 2)
			continue;
		for (i = 0; keys[i]; i++) {
			if (!strcmp(keys[i], key))
				sum += value;
		}
	}
	fclose(f);
	return sum;
}

/* "Node N, zone NAME", and the number of free blocks of each order. */
static u64 read_free_pages(void)
{
	FILE *f = fopen("/proc/buddyinfo", "r");
	char line[256], name[32], *at, *end;
	u64 blocks, sum = 0;
	int order, skip;

	TEST_ASSERT(f, "Opening /proc/buddyinfo: %s", strerror(errno));
	while (fgets(line, sizeof(line), f)) {
		if (sscanf(line, "Node %*d, zone %31s%n", name, &skip) != 1)
			continue;
		at = line + skip;
		for (order = 0; ; order++, at = end) {
			blocks = strtoull(at, &end, 10);
			if (end == at)
				break;
			sum += blocks << order;
		}
	}
	fclose(f);
	return sum;
}

/* MemFree is not exact: stat_refresh makes CPUs free pages, and doesn't count them. */
static u64 read_unknown_pages(void)
{
	static const char * const total[] = { "MemTotal", NULL };
	static const char * const known[] = {
		"Buffers", "Cached", "AnonPages", "Slab", "PageTables",
		"SecPageTables", "VmallocUsed", "Percpu", NULL
	};
	static const char * const per_cpu_lists[] = { "count", NULL };
	u64 free, per_cpu;

	write_file("/proc/sys/vm/stat_refresh", "1");
	do {
		per_cpu = sum_lines("/proc/zoneinfo", per_cpu_lists);
		free = read_free_pages();
	} while (sum_lines("/proc/zoneinfo", per_cpu_lists) != per_cpu);

	return (sum_lines("/proc/meminfo", total) -
		sum_lines("/proc/meminfo", known)) / 4 - per_cpu - free;
}

/*
 * Pages that the kernel does not know the use of, leaked ones among them.  Wait,
 * but not forever, until it is @expected, as pages may be on their way to be freed.
 */
static u64 unknown_pages(u64 expected)
{
	u64 now;
	int i;

	for (i = 0; i < 50; i++) {
		/* Take what CPUs keep for kvfree_rcu() and the LRU lists from them. */
		write_file("/proc/sys/vm/drop_caches", "3");
		now = read_unknown_pages();
		if (now == expected)
			break;
		usleep(100000);
	}
	return now;
}

FIXTURE(fail_nth) {
	int kmsg;
	struct site sites[MAX_SITES];
};

FIXTURE_VARIANT(fail_nth) {
	u32 how;
	u32 when;
};

/* A lock that the leaf needs is taken. */
FIXTURE_VARIANT_ADD(fail_nth, busy) {
	.how = TDX_HOST_SCENARIO_BUSY,
	.when = BUSY,
};

FIXTURE_VARIANT_ADD(fail_nth, error) {
	.how = TDX_HOST_SCENARIO_ERROR,
	.when = ERROR,
};

/* No SEAMCALL works any more. */
FIXTURE_VARIANT_ADD(fail_nth, sticky_error) {
	.how = TDX_HOST_SCENARIO_ERROR | TDX_HOST_SCENARIO_STICKY,
	.when = STICKY,
};

FIXTURE_SETUP(fail_nth)
{
	tdx_host_clear_faults();
	tdx_host_script_io();
	write_file("/sys/kernel/debug/clear_warn_once", "1");

	self->kmsg = open("/dev/kmsg", O_RDONLY | O_NONBLOCK);
	ASSERT_LE(0, self->kmsg);
	ASSERT_LE(0, lseek(self->kmsg, 0, SEEK_END));
}

FIXTURE_TEARDOWN(fail_nth)
{
	tdx_host_clear_faults();
	close(self->kmsg);
}

static int pre_fault(struct kvm_vcpu *vcpu, u64 gpa, u64 size)
{
	struct kvm_pre_fault_memory range = { .gpa = gpa, .size = size };
	int r;

	do {
		r = __vcpu_ioctl(vcpu, KVM_PRE_FAULT_MEMORY, &range);
	} while (r ? errno == EINTR || errno == EAGAIN : range.size);
	return r ? errno : 0;
}

static int init_mem(struct kvm_vcpu *vcpu, u64 gpa, u64 nr_pages)
{
	struct kvm_tdx_init_mem_region region = {
		.source_addr = (uintptr_t)addr_gpa2hva(vcpu->vm, gpa),
		.gpa = gpa,
		.nr_pages = nr_pages,
	};

	return __tdx_vcpu_ioctl(vcpu, KVM_TDX_INIT_MEM_REGION, 0, &region, NULL);
}

/* What a VMM does, up to the first error that it gets. */
static const char *populate(struct kvm_vm *vm)
{
	const u64 gpa = SZ_4G - TEST_INIT_PAGES * PAGE_SIZE;
	struct kvm_vcpu *vcpu;

	if (__tdx_vm_init(vm, NULL))
		return "KVM_TDX_INIT_VM";

	/* A dead VM would refuse it. */
	tdx_mem_add(vm, gpa, TEST_PAGES * PAGE_SIZE);

	vcpu = __vm_vcpu_add(vm, 0);
	if (td_cpuid && __vcpu_ioctl(vcpu, KVM_SET_CPUID2, td_cpuid))
		return "KVM_SET_CPUID2";
	if (!td_cpuid) {
		td_cpuid = allocate_kvm_cpuid2(256);
		tdx_vcpu_ioctl(vcpu, KVM_TDX_GET_CPUID, 0, td_cpuid);
		vcpu_ioctl(vcpu, KVM_SET_CPUID2, td_cpuid);
	}
	if (__tdx_vcpu_ioctl(vcpu, KVM_TDX_INIT_VCPU, 0, NULL, NULL))
		return "KVM_TDX_INIT_VCPU";

	if (init_mem(vcpu, gpa, TEST_INIT_PAGES))
		return "KVM_TDX_INIT_MEM_REGION";
	if (__tdx_vm_ioctl(vm, KVM_TDX_FINALIZE_VM, 0, NULL, NULL))
		return "KVM_TDX_FINALIZE_VM";
	if (pre_fault(vcpu, SZ_4G, (TEST_PAGES - TEST_INIT_PAGES) * PAGE_SIZE))
		return "KVM_PRE_FAULT_MEMORY";
	if (__vcpu_run(vcpu))
		return "KVM_RUN";
	/* A page goes while the TD might still run. */
	vm_guest_mem_punch_hole(vm, SZ_4G, PAGE_SIZE);
	return NULL;
}

/* Returns the first step that failed, or NULL. */
static const char *life(void)
{
	struct kvm_vm *vm = tdx_vm_create();
	const char *failed = populate(vm);
	int i, r = EIO;

	/* A VMM that wants its memory back tries again. */
	for (i = 0; i < TEST_RETRIES && r == EIO; i++) {
		r = __tdx_vm_terminate(vm, NULL);
		if (r && !failed)
			failed = "KVM_TDX_TERMINATE_VM";
	}
	kvm_vm_free(vm);
	return failed;
}

static bool matches(const char *name, const char *regex)
{
	char whole[128];
	regex_t compiled;
	bool match;

	snprintf(whole, sizeof(whole), "^%s$", regex);
	TEST_ASSERT(!regcomp(&compiled, whole, REG_EXTENDED | REG_NOSUB),
		    "Bad regular expression %s", whole);
	match = !regexec(&compiled, name, 0, NULL, 0);
	regfree(&compiled);
	return match;
}

/* If the @nth call of @leaf fails. */
static const struct outcome *find_outcome(u64 leaf, u32 when, u32 nth)
{
	static const struct outcome nothing;
	const struct outcome *o;
	int i;

	for (i = 0; i < ARRAY_SIZE(outcomes); i++) {
		o = &outcomes[i];
		if (o->leaf == leaf && o->when & when && (!o->first || nth <= o->first))
			return o;
	}
	return &nothing;
}

/* Each expected site has warned once, and no other one. */
static bool check_warnings(struct site *sites, const char * const *expect)
{
	bool good = true;
	int i, j, n;

	for (j = 0; j < 2 && expect[j]; j++) {
		n = 0;
		for (i = 0; i < MAX_SITES && sites[i].count; i++) {
			if (matches(sites[i].name, expect[j])) {
				n += sites[i].count;
				add_warnings(announced, sites[i].name, sites[i].count);
				sites[i].name[0] = 0;
			}
		}
		if (n != 1) {
			ksft_print_msg("%d warnings from %s\n", n, expect[j]);
			good = false;
		}
	}
	for (i = 0; i < MAX_SITES && sites[i].count; i++) {
		if (sites[i].name[0]) {
			ksft_print_msg("%lu warnings from %s\n", sites[i].count,
				       sites[i].name);
			good = false;
		}
	}
	memset(sites, 0, MAX_SITES * sizeof(*sites));
	return good;
}

static const char * const no_sites[2];

TEST_F_TIMEOUT(fail_nth, life, TEST_TIMEOUT)
{
	u64 keyids = tdx_host_read(TDX_HOST_KEYIDS);
	u32 nth, calls[TDH_NR_LEAVES] = {};
	struct tdx_gauges before, after;
	const struct outcome *expected;
	struct tdx_scenario s;
	u64 unknown, now, pages, lost;
	const char *step;
	int i;

	/* The first TD gets the kernel to fill its caches. */
	EXPECT_EQ(NULL, life());
	/* Whatever it is, when all is quiet. */
	unknown = unknown_pages(0);

	for (nth = 1; ; nth++) {
		before = tdx_gauges_read();
		/* Only what lasts may cost a KeyID. */
		ASSERT_LT(before.keyids_in_use, keyids);

		write_file("/sys/kernel/debug/clear_warn_once", "1");
		tdx_host_reset();
		tdx_host_scenario_begin(variant->how, nth, 0);
		step = life();
		s = tdx_host_scenario_end();
		after = tdx_gauges_read();
		ASSERT_LE(s.calls, MAX_SEAMCALLS);
		EXPECT_EQ(0, tdx_host_read(TDX_HOST_OWNED_LOADS));
		EXPECT_EQ(0, tdx_host_read(TDX_HOST_OWNED_STORES));
		EXPECT_TRUE(tdx_host_check());

		expected = find_outcome(s.leaf, variant->when,
					++calls[s.leaf % TDH_NR_LEAVES]);
		pages = after.td_pages - before.td_pages;
		lost = pages + expected->leaked;
		ksft_print_msg("%u: %s fails%s, %s fails, %lu pages and %lu KeyIDs are lost\n",
			       nth, s.failed ? tdh_leaf_name(s.leaf) : "nothing",
			       variant->when & STICKY ? " and all that follows" : "",
			       step ?: "no ioctl", lost,
			       after.keyids_in_use - before.keyids_in_use);

		read_warnings(self->kmsg, self->sites);
		EXPECT_TRUE(check_warnings(self->sites, expected->sites));

		if (!(variant->when & STICKY)) {
			EXPECT_EQ(before.keyids_in_use, after.keyids_in_use);
			EXPECT_LE(pages, expected->kept);
		}

		/* The host can start another TD. */
		write_file("/sys/kernel/debug/clear_warn_once", "1");
		EXPECT_TRUE(after.keyids_in_use == keyids || !life());
		read_warnings(self->kmsg, self->sites);
		EXPECT_TRUE(check_warnings(self->sites, no_sites));
		EXPECT_EQ(after.td_pages, tdx_gauges_read().td_pages);

		now = unknown_pages(unknown + lost);
		EXPECT_EQ(lost, now - unknown);
		unknown = now;

		if (!s.failed) {
			EXPECT_EQ(0, pages);
			EXPECT_EQ(NULL, step);
			break;
		}
	}
	EXPECT_LT(1, nth);

	for (i = 0; i < MAX_SITES && announced[i].count; i++)
		ksft_print_msg("expect-warning: %s=%lu\n", announced[i].name,
			       announced[i].count);
}

int main(int argc, char *argv[])
{
	tdx_take_help(argc, argv,
		      "Let each SEAMCALL in the life of a TD fail.  Needs an emulated TDX host, and\n"
		      "makes the kernel warn; lines \"expect-warning: FUNCTION=N\" tell how often.\n");
	tdx_require();
	__TEST_REQUIRE(tdx_host_is_model(), "Needs an emulated TDX host");
	write_file("/proc/sys/vm/drop_caches", "4");	/* quietly, from now on */

	return test_harness_run(argc, argv);
}
