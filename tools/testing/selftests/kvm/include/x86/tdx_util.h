/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Helpers for Intel TDX guests (TDs).
 *
 * A TD refuses what vm_vcpu_add() and its relatives do, i.e. touching the
 * registers of a vCPU, and has no page tables, stack or code that the library
 * could set up.  So use only the functions below, and those of kvm_util.h that
 * deal with memslots, guest_memfd, ioctls and kvm_vm_free().
 */
#ifndef SELFTEST_KVM_TDX_UTIL_H
#define SELFTEST_KVM_TDX_UTIL_H

#include <stdbool.h>
#include <stdint.h>

#include "kvm_util.h"
#include "processor.h"

#define TDX_TD_ATTR_SEPT_VE_DISABLE	BIT_ULL(28)

/* Private memory is in this memslot. */
#define TDX_MEMSLOT			0

bool is_tdx_supported(void);

/*
 * The command line of a test that leaves its options to kselftest_harness.h, which
 * knows no long ones.  Take @option away, and return whether it was there.
 */
bool tdx_take_option(int *argc, char *argv[], const char *option);
/* Print @usage and end, if -h or --help is asked for.  Needs no TDX. */
void tdx_take_help(int argc, char *argv[], const char *usage);

/* What not every KVM that supports TDX can do. */
struct tdx_features {
	bool terminate;
	int max_vcpus;
};

/* Skip the test unless KVM has what tests of TDs need. */
struct tdx_features tdx_require(void);
struct tdx_features tdx_require_terminate(void);

/*
 * Raw sub-ioctls: return 0 or an errno value, with the status of the failing
 * SEAMCALL (or 0) in *hw_error, if that isn't NULL.
 */
int __tdx_vm_cmd(struct kvm_vm *vm, struct kvm_tdx_cmd *cmd);
int __tdx_vcpu_cmd(struct kvm_vcpu *vcpu, struct kvm_tdx_cmd *cmd);
int __tdx_vm_ioctl(struct kvm_vm *vm, enum kvm_tdx_cmd_id id, u32 flags,
		   void *data, u64 *hw_error);
int __tdx_vcpu_ioctl(struct kvm_vcpu *vcpu, enum kvm_tdx_cmd_id id, u32 flags,
		     void *data, u64 *hw_error);

/* Sub-ioctls that have to succeed. */
void tdx_vm_ioctl(struct kvm_vm *vm, enum kvm_tdx_cmd_id id, u32 flags,
		  void *data);
void tdx_vcpu_ioctl(struct kvm_vcpu *vcpu, enum kvm_tdx_cmd_id id, u32 flags,
		    void *data);

static inline int __tdx_vm_terminate(struct kvm_vm *vm, u64 *hw_error)
{
	return __tdx_vm_ioctl(vm, KVM_TDX_TERMINATE_VM, 0, NULL, hw_error);
}

static inline void tdx_vm_terminate(struct kvm_vm *vm)
{
	tdx_vm_ioctl(vm, KVM_TDX_TERMINATE_VM, 0, NULL);
}

/* Step by step; tdx_td_create() and tdx_td_finalize() do it all. */
struct kvm_vm *tdx_vm_create(void);
/* To be freed by the caller. */
struct kvm_tdx_capabilities *tdx_vm_get_capabilities(struct kvm_vm *vm);
/* What tdx_vm_init() uses, to be freed by the caller. */
struct kvm_tdx_init_vm *tdx_vm_init_params(struct kvm_vm *vm);
int __tdx_vm_init(struct kvm_vm *vm, u64 *hw_error);
void tdx_vm_init(struct kvm_vm *vm);
struct kvm_vcpu *tdx_vcpu_add(struct kvm_vm *vm, u32 vcpu_id);
void tdx_mem_add(struct kvm_vm *vm, u64 gpa, u64 size);
void tdx_init_mem_region(struct kvm_vcpu *vcpu, u64 gpa, u64 size, u32 flags);
void tdx_vm_finalize(struct kvm_vm *vm);
void tdx_pre_fault_memory(struct kvm_vcpu *vcpu, u64 gpa, u64 size);

/*
 * A TD whose private memory is one memslot.  Its first part, init_size bytes,
 * is added by KVM_TDX_INIT_MEM_REGION and ends at 4 GiB, so that it contains
 * the reset vector, where vCPUs find an endless loop.  The rest is mapped by
 * KVM_PRE_FAULT_MEMORY and never accessed.
 */
struct tdx_td {
	struct kvm_vm *vm;
	struct kvm_vcpu **vcpus;
	int nr_vcpus;
	u64 gpa;
	u64 size;
	u64 init_size;
};

/* Sizes in bytes, multiples of 4 KiB; 0 < init_size <= size. */
struct tdx_td *tdx_td_create(int nr_vcpus, u64 size, u64 init_size);
void tdx_td_finalize(struct tdx_td *td);
/* Close the guest_memfd, i.e. free the private memory. */
void tdx_td_close_memory(struct tdx_td *td);
/* Release every reference to the VM, i.e. destroy it. */
void tdx_td_free(struct tdx_td *td);

static inline u64 tdx_td_pages(struct tdx_td *td)
{
	return td->size / PAGE_SIZE;
}

/* A thread that stays in KVM_RUN, i.e. with the vCPU's mutex held. */
struct tdx_vcpu_thread {
	pthread_t thread;
	struct kvm_vcpu *vcpu;
	int run_errno;		/* why KVM_RUN failed, EINTR if stopped */
	bool done;
};

/* Returns once the vCPU has entered the guest. */
void tdx_vcpu_thread_start(struct tdx_vcpu_thread *thread,
			   struct kvm_vcpu *vcpu);
/* Returns the errno value of the last KVM_RUN. */
int tdx_vcpu_thread_stop(struct tdx_vcpu_thread *thread);

#endif /* SELFTEST_KVM_TDX_UTIL_H */
