// SPDX-License-Identifier: GPL-2.0-only
/*
 * Helpers for tests that leave to chance what is done to TDs.
 */
#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <linux/log2.h>

#include "processor.h"
#include "tdx_stress.h"

#define HOTPLUG_TIMEOUT	60	/* seconds */

/* SplitMix64, any seed will do. */
u64 tdx_rand(struct tdx_rng *rng)
{
	u64 z;

	rng->state += 0x9e3779b97f4a7c15ull;
	z = rng->state;
	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
	return z ^ (z >> 31);
}

/* An emulator's TSC may be out of proportion to its speed, so measure. */
static u64 ioctl_cycles(void)
{
	static u64 cycles;
	u64 start;
	int i;

	if (!READ_ONCE(cycles)) {
		start = rdtsc();
		for (i = 0; i < 16; i++)
			kvm_check_cap(KVM_CAP_USER_MEMORY);
		WRITE_ONCE(cycles, (rdtsc() - start) / 16);
	}
	return READ_ONCE(cycles);
}

void tdx_spin(struct tdx_rng *rng, u64 n)
{
	u64 end = rdtsc() + tdx_rand_below(rng, n * ioctl_cycles());

	while (rdtsc() < end)
		cpu_relax();
}

static u64 read_warnings(void)
{
	FILE *f = fopen("/sys/kernel/warn_count", "r");
	unsigned long count = 0;

	if (f) {
		if (fscanf(f, "%lu", &count) != 1)
			count = 0;
		fclose(f);
	}
	return count;
}

static u64 read_owned_accesses(void)
{
	return tdx_host_read(TDX_HOST_OWNED_LOADS) +
	       tdx_host_read(TDX_HOST_OWNED_STORES);
}

void tdx_baseline_init(struct tdx_baseline *baseline)
{
	*baseline = (struct tdx_baseline) {
		.model = tdx_host_is_model(),
		.warnings = read_warnings(),
	};
	if (baseline->model) {
		baseline->gauges = tdx_gauges_read();
		baseline->owned_accesses = read_owned_accesses();
	}
}

static bool same(const char *what, u64 before, u64 now)
{
	if (before != now)
		pr_info("# %s: %lu before, %lu now\n", what, before, now);
	return before == now;
}

bool tdx_baseline_check(const struct tdx_baseline *baseline)
{
	const struct tdx_gauges *before = &baseline->gauges;
	struct tdx_gauges now;
	bool good;

	good = same("Warnings of the kernel", baseline->warnings, read_warnings());
	if (!baseline->model)
		return good;

	tdx_host_wait_for_tds(before->tds);
	now = tdx_gauges_read();
	good &= same("TDs", before->tds, now.tds);
	good &= same("Pages of TDs", before->td_pages, now.td_pages);
	good &= same("Private pages", before->private_pages, now.private_pages);
	good &= same("KeyIDs in use", before->keyids_in_use, now.keyids_in_use);
	good &= same("Accesses to pages of TDs", baseline->owned_accesses,
		     read_owned_accesses());
	if (!tdx_host_check()) {
		pr_info("# The model of the TDX module contradicts itself\n");
		good = false;
	}
	return good;
}

bool tdx_patience_is_over(struct tdx_patience *patience, u64 progress)
{
	if (patience->progress != progress)
		*patience = (struct tdx_patience) { .progress = progress };
	return is_power_of_2(++patience->looked);
}

int tdx_set_cpu_online(int cpu, bool online)
{
	char path[64];
	int fd, r = 0;

	snprintf(path, sizeof(path), "/sys/devices/system/cpu/cpu%d/online", cpu);
	fd = open(path, O_WRONLY);
	if (fd < 0)
		return errno;
	if (write(fd, online ? "1" : "0", 1) != 1)
		r = errno;
	close(fd);
	return r;
}

/* The last CPU that is online, and may go offline, 0 if there is none. */
static int last_hotplug_cpu(void)
{
	char path[64], online;
	int cpu, fd;

	for (cpu = sysconf(_SC_NPROCESSORS_CONF) - 1; cpu > 0; cpu--) {
		snprintf(path, sizeof(path),
			 "/sys/devices/system/cpu/cpu%d/online", cpu);
		fd = open(path, O_RDWR);
		if (fd < 0)
			continue;
		if (read(fd, &online, 1) != 1)
			online = '0';
		close(fd);
		if (online == '1')
			return cpu;
	}
	return 0;
}

/* Nothing but the end of the test is to end this process. */
static void __noreturn guard_cpu(int cpu, int fd)
{
	int i, r = EBUSY;
	char c;

	setsid();
	while (read(fd, &c, 1) < 0 && errno == EINTR)
		;
	for (i = 0; r && i < HOTPLUG_TIMEOUT * 100; i++) {
		r = tdx_set_cpu_online(cpu, true);
		if (r)
			usleep(10000);
	}
	_exit(r ? KSFT_FAIL : KSFT_PASS);
}

bool tdx_hotplug_begin(struct tdx_hotplug *hotplug)
{
	int fds[2], r;

	hotplug->cpu = last_hotplug_cpu();
	if (!hotplug->cpu)
		return false;

	r = pipe(fds);
	TEST_ASSERT(!r, __KVM_SYSCALL_ERROR("pipe()", r));

	/* What is buffered is not to be written twice. */
	fflush(stdout);
	hotplug->guard = fork();
	TEST_ASSERT(hotplug->guard >= 0, __KVM_SYSCALL_ERROR("fork()", hotplug->guard));
	if (!hotplug->guard) {
		close(fds[1]);
		guard_cpu(hotplug->cpu, fds[0]);
	}
	close(fds[0]);
	hotplug->fd = fds[1];
	return true;
}

void tdx_hotplug_end(struct tdx_hotplug *hotplug)
{
	int status;

	close(hotplug->fd);
	TEST_ASSERT_EQ(waitpid(hotplug->guard, &status, 0), hotplug->guard);
	TEST_ASSERT(!status, "CPU %d does not come online again", hotplug->cpu);
}

u64 tdx_parse_number(const char *option, const char *value, u64 min, u64 max)
{
	char *end;
	u64 number;

	errno = 0;
	number = strtoull(value, &end, 0);
	if (errno || !*value || *end || number < min || number > max)
		ksft_exit_fail_msg("--%s %s: not a number from %lu to %lu\n",
				   option, value, min, max);
	return number;
}
