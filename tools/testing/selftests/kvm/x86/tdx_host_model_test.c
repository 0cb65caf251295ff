// SPDX-License-Identifier: GPL-2.0-only
/*
 * Tests that an emulated TDX host injects the faults, and takes the time, that
 * tdx_host_model.h says, and that KVM gets along with it.
 */
#include <sys/sysinfo.h>

#include <linux/sizes.h>

#include "kselftest_harness.h"
#include "kvm_util.h"
#include "processor.h"
#include "tdx_host.h"
#include "tdx_util.h"

#define TEST_SIZE		SZ_64K
#define TEST_INIT_SIZE		SZ_16K
#define TEST_TIMEOUT		100	/* seconds */

#define TDX_INTERRUPTED_RESUMABLE	0x8000000300000000ull
/* What the kernel makes of a SEAMCALL that doesn't get to the TDX module. */
#define TDX_SEAMCALL_VMFAILINVALID	0x8000ff00ffff0000ull
#define TDX_SEAMCALL_UD			0x8000ff0000000006ull

/* KVM gives up if TDH.PHYMEM.CACHE.WB is interrupted this often. */
#define CACHE_WB_RETRIES		10000

FIXTURE(host) {
	struct tdx_counts counts;
	struct tdx_gauges before;
};

FIXTURE_SETUP(host)
{
	tdx_host_clear_faults();
	tdx_host_script_io();
	tdx_host_reset();
	self->before = tdx_gauges_read();
}

FIXTURE_TEARDOWN(host)
{
	struct tdx_gauges after;

	tdx_host_set_time(0);
	tdx_host_clear_faults();

	tdx_host_wait_for_tds(self->before.tds);
	after = tdx_gauges_read();
	EXPECT_EQ(self->before.td_pages, after.td_pages);
	EXPECT_EQ(self->before.keyids_in_use, after.keyids_in_use);
	EXPECT_EQ(0, tdx_host_read(TDX_HOST_OWNED_LOADS));
	EXPECT_EQ(0, tdx_host_read(TDX_HOST_OWNED_STORES));
	EXPECT_TRUE(tdx_host_check());
}

#define HOST_TEST(name) TEST_F_TIMEOUT(host, name, TEST_TIMEOUT)

static struct tdx_td *create_runnable_td(void)
{
	struct tdx_td *td = tdx_td_create(1, TEST_SIZE, TEST_INIT_SIZE);

	tdx_td_finalize(td);
	return td;
}

static u64 read_fault(unsigned int slot, u64 part)
{
	u64 value;
	int r = __tdx_host_read_fault(slot, part, &value);

	TEST_ASSERT(!r, "Reading slot %u: %s", slot, strerror(r));
	return value;
}

HOST_TEST(plan)
{
	const struct tdx_fault fault = {
		.what = TDX_HOST_FAULT_LOCKED,
		.leaf = TDH_MEM_PAGE_AUG,
		.nth = 7,
		.every = 3,
		.count = TDX_HOST_FOREVER,
		.value = 0x123456789abc,
	};
	struct tdx_fault bad;
	u64 value;

	tdx_host_set_fault(TDX_HOST_MAX_FAULTS - 1, &fault);
	EXPECT_EQ((TDX_HOST_MAX_FAULTS - 1) | TDX_HOST_FAULT_LOCKED << 8 |
		  TDH_MEM_PAGE_AUG << 16 | (u64)TDX_HOST_FOREVER << 32,
		  read_fault(TDX_HOST_MAX_FAULTS - 1, TDX_HOST_FAULT_RBX));
	EXPECT_EQ(7 | 3ull << 32,
		  read_fault(TDX_HOST_MAX_FAULTS - 1, TDX_HOST_FAULT_RDX));
	EXPECT_EQ(fault.value,
		  read_fault(TDX_HOST_MAX_FAULTS - 1, TDX_HOST_FAULT_RSI));
	EXPECT_EQ(0, read_fault(0, TDX_HOST_FAULT_RBX));

	tdx_host_clear_faults();
	EXPECT_EQ(0, read_fault(TDX_HOST_MAX_FAULTS - 1, TDX_HOST_FAULT_RBX));

	EXPECT_EQ(EINVAL, __tdx_host_set_fault(TDX_HOST_MAX_FAULTS, &fault));
	EXPECT_EQ(EINVAL, __tdx_host_read_fault(TDX_HOST_MAX_FAULTS, 0, &value));
	EXPECT_EQ(EINVAL, __tdx_host_read_fault(0, TDX_HOST_FAULT_INJECTED + 1, &value));
	bad = fault;
	bad.leaf = 63;
	EXPECT_EQ(EINVAL, __tdx_host_set_fault(0, &bad));
	bad = fault;
	bad.what = TDX_HOST_FAULT_INTERRUPTED;
	EXPECT_EQ(EINVAL, __tdx_host_set_fault(0, &bad));
	EXPECT_EQ(EINVAL, __tdx_host_set_time(-1ull));
}

/* KVM maps memory though the S-EPT is busy now and then. */
HOST_TEST(every)
{
	const struct tdx_fault fault = {
		.what = TDX_HOST_FAULT_STATUS,
		.leaf = TDH_MEM_PAGE_AUG,
		.every = 2,
		.count = TDX_HOST_FOREVER,
		.value = TDX_STATUS_OPERAND_BUSY | 0x92,
	};
	const u64 pages = (TEST_SIZE - TEST_INIT_SIZE) / PAGE_SIZE;

	tdx_host_set_fault(3, &fault);
	tdx_td_free(create_runnable_td());
	EXPECT_EQ(pages, tdx_host_fault_injected(3));
	EXPECT_EQ(2 * pages, read_fault(3, TDX_HOST_FAULT_CALLS));
	EXPECT_EQ(pages, tdx_host_read(TDX_HOST_SEAMCALL_ERRORS + TDH_MEM_PAGE_AUG));
}

/* The same if another CPU has it for a while. */
HOST_TEST(locked)
{
	const struct tdx_fault fault = {
		.what = TDX_HOST_FAULT_LOCKED,
		.leaf = TDH_MEM_PAGE_AUG,
		.value = 200000,
	};
	struct tdx_td *td = tdx_td_create(1, TEST_SIZE, TEST_INIT_SIZE);
	u64 ticks;

	tdx_host_set_fault(0, &fault);
	ticks = tdx_host_read(TDX_HOST_TICKS);
	tdx_td_finalize(td);
	EXPECT_LE(fault.value, tdx_host_read(TDX_HOST_TICKS) - ticks);
	EXPECT_LE(10, tdx_host_fault_injected(0));
	tdx_td_free(td);
}

HOST_TEST(cache_wb_interrupted)
{
	struct tdx_fault fault = {
		.what = TDX_HOST_FAULT_INTERRUPTED,
		.leaf = TDH_PHYMEM_CACHE_WB,
		.count = 100,
	};
	struct tdx_td *td = create_runnable_td();

	tdx_host_set_fault(0, &fault);
	EXPECT_EQ(0, __tdx_vm_terminate(td->vm, NULL));
	EXPECT_EQ(100, tdx_host_fault_injected(0));
	EXPECT_EQ(101, tdx_host_read(TDX_HOST_SEAMCALL_LEAF + TDH_PHYMEM_CACHE_WB));
	tdx_td_free(td);
}

HOST_TEST(cache_wb_interrupted_forever)
{
	struct tdx_fault fault = {
		.what = TDX_HOST_FAULT_INTERRUPTED,
		.leaf = TDH_PHYMEM_CACHE_WB,
		.count = TDX_HOST_FOREVER,
	};
	struct tdx_td *td = create_runnable_td();
	u64 hw_error;

	tdx_host_set_fault(0, &fault);
	EXPECT_EQ(EIO, __tdx_vm_terminate(td->vm, &hw_error));
	EXPECT_EQ(TDX_INTERRUPTED_RESUMABLE, hw_error);
	EXPECT_EQ(CACHE_WB_RETRIES, tdx_host_fault_injected(0));

	tdx_host_clear_faults();
	EXPECT_EQ(0, __tdx_vm_terminate(td->vm, NULL));
	tdx_td_free(td);
}

/* SEAMCALLs that don't get to the TDX module. */
HOST_TEST(no_module)
{
	static const struct {
		u8 what;
		u64 status;
	} faults[] = {
		{ TDX_HOST_FAULT_UD, TDX_SEAMCALL_UD },
		{ TDX_HOST_FAULT_VMFAIL, TDX_SEAMCALL_VMFAILINVALID },
	};
	struct tdx_fault fault = { .leaf = TDH_ANY_LEAF };
	struct tdx_td *td = create_runnable_td();
	u64 hw_error;
	int i;

	for (i = 0; i < ARRAY_SIZE(faults); i++) {
		fault.what = faults[i].what;
		tdx_host_set_fault(i, &fault);
		EXPECT_EQ(EIO, __tdx_vm_terminate(td->vm, &hw_error));
		EXPECT_EQ(faults[i].status, hw_error);
		EXPECT_EQ(1, tdx_host_fault_injected(i));
	}
	EXPECT_EQ(0, __tdx_vm_terminate(td->vm, NULL));
	tdx_td_free(td);
}

HOST_TEST(scenario)
{
	struct tdx_td *td = create_runnable_td();
	struct tdx_scenario s;
	u64 hw_error, calls;

	tdx_host_reset();
	tdx_host_scenario_begin(TDX_HOST_SCENARIO_BUSY, 2, BIT(TDH_VP_FLUSH));
	EXPECT_EQ(EIO, __tdx_vm_terminate(td->vm, &hw_error));
	EXPECT_EQ(0, __tdx_vm_terminate(td->vm, NULL));
	tdx_td_free(td);
	s = tdx_host_scenario_end();

	calls = tdx_host_read(TDX_HOST_SEAMCALLS);
	EXPECT_EQ(calls, s.calls + tdx_host_read(TDX_HOST_SEAMCALL_LEAF + TDH_VP_FLUSH));
	EXPECT_EQ(1, s.failed);
	EXPECT_EQ(TDH_PHYMEM_CACHE_WB, s.leaf);
	EXPECT_EQ(hw_error, s.status);
	EXPECT_EQ(TDX_STATUS_OPERAND_BUSY, s.status & GENMASK_ULL(63, 32));
}

/* A CPU that makes a SEAMCALL executes nothing until its time has passed. */
HOST_TEST(time_passes)
{
	u64 ns = 0, stall = tdx_host_read(TDX_HOST_STALL_TICKS), ticks;
	struct tdx_td *td = create_runnable_td();
	int leaf;

	EXPECT_EQ(stall, tdx_host_read(TDX_HOST_STALL_TICKS));

	tdx_host_set_time(100);
	tdx_counts_start(&self->counts);
	ticks = tdx_host_read(TDX_HOST_TICKS);
	tdx_vm_terminate(td->vm);
	tdx_td_close_memory(td);
	ticks = tdx_host_read(TDX_HOST_TICKS) - ticks;
	tdx_counts_stop(&self->counts);
	stall = tdx_host_read(TDX_HOST_STALL_TICKS) - stall;

	for (leaf = 0; leaf < 64; leaf++) {
		EXPECT_EQ(0, self->counts.errors[leaf]);
		ns += self->counts.leaf[leaf] *
		      tdx_host_read(TDX_HOST_LEAF_NS + leaf);
	}
	TH_LOG("%lu SEAMCALLs take %lu ns, %lu of %lu ticks",
	       self->counts.seamcalls, ns, stall, ticks);

	/* Each call is rounded down to ticks. */
	ns = ns * tdx_host_read(TDX_HOST_TICKS_PER_SECOND) / 1000000000;
	EXPECT_LE(stall, ns);
	EXPECT_LE(ns, stall + self->counts.seamcalls);
	/* The SEAMCALLs of a teardown by one task follow each other. */
	EXPECT_LE(stall, ticks);

	tdx_td_free(td);
}

/* One CPU enters the TD while another one changes the epoch, again and again. */
HOST_TEST(time_contention)
{
	struct tdx_vcpu_thread thread;
	struct tdx_td *td;
	u64 busy;

	if (get_nprocs() < 2)
		SKIP(return, "Needs two CPUs");

	td = create_runnable_td();
	busy = tdx_host_read(TDX_HOST_LOCKS_BUSY);
	tdx_vcpu_thread_start(&thread, td->vcpus[0]);
	tdx_host_set_time(1000);
	tdx_counts_start(&self->counts);
	vm_guest_mem_punch_hole(td->vm, td->gpa + td->init_size,
				td->size - td->init_size);
	tdx_counts_stop(&self->counts);
	tdx_host_set_time(0);
	EXPECT_EQ(EINTR, tdx_vcpu_thread_stop(&thread));

	busy = tdx_host_read(TDX_HOST_LOCKS_BUSY) - busy;
	TH_LOG("%lu locks were found taken, %lu times by TDH.VP.ENTER", busy,
	       self->counts.errors[TDH_VP_ENTER]);
	EXPECT_LT(0, self->counts.errors[TDH_VP_ENTER]);

	/* The TD has survived. */
	vcpu_run(td->vcpus[0]);
	TEST_ASSERT_KVM_EXIT_REASON(td->vcpus[0], KVM_EXIT_IO);
	tdx_td_free(td);
}

/* The locks of a vCPU that is in the TD, or of a SEAMCALL, are no contradiction. */
HOST_TEST(check)
{
	struct tdx_vcpu_thread thread;
	struct tdx_td *td;
	int i;

	EXPECT_TRUE(tdx_host_check());
	td = create_runnable_td();
	EXPECT_TRUE(tdx_host_check());

	tdx_host_script_stay();
	tdx_vcpu_thread_start(&thread, td->vcpus[0]);
	EXPECT_TRUE(tdx_host_check());
	EXPECT_EQ(EINTR, tdx_vcpu_thread_stop(&thread));
	tdx_host_script_io();

	/* All the time in TDH.VP.ENTER, if there is another CPU. */
	tdx_host_set_time(1000);
	tdx_vcpu_thread_start(&thread, td->vcpus[0]);
	for (i = 0; i < 100; i++)
		EXPECT_TRUE(tdx_host_check());
	tdx_host_set_time(0);
	EXPECT_EQ(EINTR, tdx_vcpu_thread_stop(&thread));

	tdx_vm_terminate(td->vm);
	EXPECT_TRUE(tdx_host_check());
	tdx_td_free(td);
	EXPECT_EQ(0, tdx_host_read(TDX_HOST_REPORTS + TDX_HOST_REPORT_MODEL_INVARIANT));
}

int main(int argc, char *argv[])
{
	tdx_take_help(argc, argv,
		      "Test the faults that an emulated TDX host injects, and the time that it takes.\n");
	tdx_require();
	__TEST_REQUIRE(tdx_host_is_model(), "Needs an emulated TDX host");

	return test_harness_run(argc, argv);
}
