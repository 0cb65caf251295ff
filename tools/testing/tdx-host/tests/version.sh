#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
# version.sh: with tdx_host=defer, the TDX module doesn't tell its version when kvm_intel
# has it initialized, which is no reason to do without it.

. /lib.sh

ktap_print_header
expect "a fault is set" fault 34 0xc000050200000000
expect "kvm_intel loads with tdx=1" modprobe kvm_intel tdx=1
expect "the SEAMCALL has failed" sh -c "fault | grep -qx 'injected 1'"
expect "the kernel log says that the version is unknown" said 'virt/tdx: module version is unknown'
expect "kvm_intel runs with TDX" parameter kvm_intel tdx Y
expect "sysfs has no version" sysfs_says initialized '' ''
expect "a TD is torn down" /tdx_teardown_bench --method terminate --mib 4
finish
