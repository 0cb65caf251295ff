/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What tdx_ioctl_fuzz makes its sequences of: operations, each of which is one
 * system call, and takes numbers as parameters.
 */
#ifndef SELFTEST_KVM_TDX_IOCTL_FUZZ_H
#define SELFTEST_KVM_TDX_IOCTL_FUZZ_H

#include "tdx_stress.h"

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

/* Once in a program, and once in each of the threads that make calls. */
void fuzz_init(void);
void fuzz_thread_init(void);

/* The i-th step of creating a TD and its parameters, NULL after the last. */
const struct fuzz_op *fuzz_prologue(int i, u64 *p);
const struct fuzz_op *fuzz_random_op(struct tdx_rng *rng);
const struct fuzz_op *fuzz_find_op(const char *name);
u64 fuzz_random_param(struct tdx_rng *rng, enum fuzz_param param);

#endif /* SELFTEST_KVM_TDX_IOCTL_FUZZ_H */
