# SPDX-License-Identifier: GPL-2.0-only
# 'make help' tells what there is.  ./run and ./check install what is missing
# and come here.

STEP := scripts/lib/step
ifndef TDX_T0
export TDX_T0 := $(shell date +%s)
endif
NETWORK := is the network up? LINUX= and BOCHS= take a tarball or a tree instead
SPACE := df -h build; 'make clean' removes what has been built

.PHONY: help
help:
	@echo 'run      tear TDs down on the emulated host and compare (./run)'
	@echo 'sweep    the same for TDs of several sizes (./run --sweep)'
	@echo 'check    every test (./check)'
	@echo 'tree     build/linux-6.18: the base and one commit a patch, to work in'
	@echo 'refresh  write the commits of build/linux-6.18 and build/bochs-3.0 back'
	@echo 'series   build/series: the mails of each topic; TOPIC=, V=, SIGNOFF=1'
	@echo 'patches  build/patches: a directory for quilt of each topic; TOPIC='
	@echo 'kernel   build/kernel: the patched test kernel'
	@echo 'debug-kernel  build/debug-kernel: the same with lockdep and other checks'
	@echo 'trace-kernel  build/trace-kernel: the same with trace events'
	@echo 'kcsan-kernel  build/kcsan-kernel: the same, looking for data races in KVM'
	@echo 'kasan-kernel  build/kasan-kernel: the same with KASAN'
	@echo 'host     the emulated TDX host: TDX module model, Bochs with SEAM'
	@echo 'kunit    the KUnit suite of the virt core, in QEMU'
	@echo 'mutations  show that the tests notice deliberate defects (hours)'
	@echo 'clean    remove what has been built, but not the fetched sources'
	@echo
	@echo 'LINUX= and BOCHS= give another source tarball or tree, BUILD= another'
	@echo 'place for build/.'

BUILD ?= build
export BUILD := $(abspath $(BUILD))

.PHONY: fetch
fetch:
	@$(STEP) fetch 'sources of Linux 6.18 and Bochs 3.0' "$(NETWORK)" \
		sh -c 'scripts/fetch linux && scripts/fetch bochs'

.PHONY: tree
tree: fetch
	@$(STEP) tree 'base and series in build/linux-6.18' "$(SPACE)" scripts/lib/tree linux

.PHONY: refresh
refresh:
	@scripts/refresh linux
	@[ ! -d $(BUILD)/bochs-3.0 ] || scripts/refresh bochs

.PHONY: series
series: tree
	@scripts/lib/series

.PHONY: patches
patches: tree
	@scripts/lib/patches

.PHONY: kernel
kernel: tree
	@$(STEP) kernel 'patched kernel, some minutes when cold' "$(SPACE)" \
		scripts/lib/kernel $(BUILD)/linux-6.18 $(BUILD)/kernel

.PHONY: debug-kernel
debug-kernel: tree
	@$(STEP) debug-kernel 'the same with lockdep and other checks' "$(SPACE)" \
		env FRAGMENT=tools/testing/tdx-host/boot/debug.config \
		scripts/lib/kernel $(BUILD)/linux-6.18 $(BUILD)/debug-kernel

.PHONY: kasan-kernel
kasan-kernel: tree
	@$(STEP) kasan-kernel 'the same with KASAN' "$(SPACE)" \
		env FRAGMENT=tools/testing/tdx-host/boot/kasan.config \
		scripts/lib/kernel $(BUILD)/linux-6.18 $(BUILD)/kasan-kernel

.PHONY: trace-kernel
trace-kernel: tree
	@$(STEP) trace-kernel 'the same with trace events' "$(SPACE)" \
		env FRAGMENT=tools/testing/tdx-host/boot/trace.config \
		scripts/lib/kernel $(BUILD)/linux-6.18 $(BUILD)/trace-kernel

.PHONY: kcsan-kernel
kcsan-kernel: tree
	@$(STEP) kcsan-kernel 'the same with KCSAN in KVM' "$(SPACE)" \
		scripts/lib/kcsan-kernel $(BUILD)/linux-6.18 $(BUILD)/kcsan-kernel

SELFTESTS := x86/tdx_teardown_test x86/tdx_terminate_ioctls_test \
	x86/tdx_terminate_states_test x86/tdx_terminate_race_test \
	x86/tdx_vmm_kill_test x86/tdx_vmm_death_test x86/tdx_teardown_stress x86/tdx_ioctl_fuzz \
	x86/tdx_fail_nth_test x86/tdx_host_model_test x86/tdx_teardown_bench x86/tdx_creation_bench \
	x86/tdx_dirty_ring_test dirty_ring_misuse_test guest_memfd_test \
	x86/tdx_msrs_test x86/ioeventfd_split_test x86/svm_asid_test \
	x86/tdx_gmem_clear_test \
	x86/state_test x86/set_sregs_test pre_fault_memory_test hardware_disable_test

.PHONY: selftests
selftests: kernel
	@$(STEP) selftests 'KVM selftests' '' scripts/lib/selftests \
		$(BUILD)/linux-6.18 $(BUILD)/kernel $(BUILD)/selftests $(SELFTESTS)

.PHONY: host-tests
host-tests: selftests
	@$(STEP) host-tests 'programs and module of the boot tests' '' \
		$(MAKE) -C tools/testing/tdx-host/tests O=$(BUILD)/host-tests \
		TREE=$(BUILD)/linux-6.18 KERNEL=$(BUILD)/kernel

.PHONY: host
host: fetch
	@$(STEP) host 'TDX module model and Bochs, minutes when cold' "$(SPACE)" scripts/lib/host

.PHONY: run
run: host selftests
	@scripts/lib/teardown

.PHONY: sweep
sweep: host selftests
	@scripts/lib/sweep

# What only some tests need.
.PHONY: base-kernel
base-kernel: tree
	@scripts/lib/base-kernel

.PHONY: base-selftests
base-selftests: base-kernel
	@$(STEP) base-selftests 'all KVM selftests of the base' '' scripts/lib/selftests \
		$(BUILD)/base/linux-6.18 $(BUILD)/base/kernel $(BUILD)/base/selftests

.PHONY: qemu
qemu:
	@$(STEP) qemu 'QEMU and TDX firmware from the archive' '' scripts/fetch-qemu

.PHONY: unit-tests
unit-tests:
	@$(STEP) unit-tests 'kvm-unit-tests' 'KVM_UNIT_TESTS=TARBALL' scripts/lib/unit-tests

.PHONY: check
check:
	@./check

.PHONY: kunit
kunit: tree
	@scripts/lib/kunit $(BUILD)/linux-6.18 $(BUILD)/kunit

.PHONY: mutations
mutations: host host-tests
	@scripts/mutations

.PHONY: mutations-kunit
mutations-kunit: tree
	@scripts/mutations --by kunit

.PHONY: clean
clean:
	find $(BUILD) -mindepth 1 -maxdepth 1 ! -name sources -exec rm -rf {} +
