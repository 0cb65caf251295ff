/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Helpers for tests that leave to chance what is done to TDs, and in which
 * order: reproducible random numbers, and what must be true of any host after
 * any test.
 */
#ifndef SELFTEST_KVM_TDX_STRESS_H
#define SELFTEST_KVM_TDX_STRESS_H

#include <stdbool.h>
#include <stdint.h>

#include "tdx_host.h"

struct tdx_rng {
	u64 state;
};

u64 tdx_rand(struct tdx_rng *rng);

/* 0 to @n - 1 */
static inline u64 tdx_rand_below(struct tdx_rng *rng, u64 n)
{
	return tdx_rand(rng) % n;
}

static inline bool tdx_rand_percent(struct tdx_rng *rng, unsigned int percent)
{
	return tdx_rand_below(rng, 100) < percent;
}

/* A generator of its own for each of several things that have the same seed. */
static inline struct tdx_rng tdx_rng_init(u64 seed, u64 index)
{
	struct tdx_rng rng = { .state = seed };

	rng.state = tdx_rand(&rng) + index;
	return rng;
}

/* Burn up to the time of @n cheap ioctls, without making any. */
void tdx_spin(struct tdx_rng *rng, u64 n);

/*
 * The host as it was before a test.  TDs must leave nothing behind: an emulated
 * host tells what its TDX module still holds.  And the kernel must not have
 * warned, which it tells by its count on any host.
 */
struct tdx_baseline {
	bool model;
	struct tdx_gauges gauges;
	u64 owned_accesses;
	u64 warnings;
};

void tdx_baseline_init(struct tdx_baseline *baseline);
/* Wait for TDs to be destroyed.  Says what is wrong, and returns false then. */
bool tdx_baseline_check(const struct tdx_baseline *baseline);

/*
 * Who waits in KVM_RUN comes back for a signal only, but who gets signals all the
 * time may not even get there: creating KVM's recovery thread is started over
 * again.  So be patient: true when looking for the 1st, 2nd, 4th, 8th, ... time
 * at the same @progress.
 */
struct tdx_patience {
	u64 progress;
	u64 looked;
};

bool tdx_patience_is_over(struct tdx_patience *patience, u64 progress);

/*
 * A CPU that a test takes offline and online.  A process that the test forks puts it
 * online when nobody has the write end of a pipe any more, i.e. even if the test is
 * killed.  All processes that the test forks after tdx_hotplug_begin() have it.
 */
struct tdx_hotplug {
	int cpu;
	int fd;
	pid_t guard;
};

/* Choose a CPU, false if none can go offline.  To be called before others run. */
bool tdx_hotplug_begin(struct tdx_hotplug *hotplug);
/* Put the CPU online, and see that it is. */
void tdx_hotplug_end(struct tdx_hotplug *hotplug);
/* Returns 0 or an errno value. */
int tdx_set_cpu_online(int cpu, bool online);

/* An option's value, or the end of the test. */
u64 tdx_parse_number(const char *option, const char *value, u64 min, u64 max);

#endif /* SELFTEST_KVM_TDX_STRESS_H */
