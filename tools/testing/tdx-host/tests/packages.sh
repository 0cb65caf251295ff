#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
# packages.sh: with tdx_host=defer and two packages of two CPUs, the TDX module isn't
# initialized while a package has no online CPU, though all CPUs are known to it.

. /lib.sh

# online 0|1 CPU...
online()
{
	local state=$1 cpu

	shift
	for cpu; do
		echo "$state" >"$cpus/cpu$cpu/online" || return
	done
}

ktap_print_header
expect "all CPUs but one of each package go offline" online 0 1 2
expect "kvm_intel loads" modprobe kvm_intel tdx=1
expect "it runs without TDX" parameter kvm_intel tdx N
expect "the CPUs that are missing are named" said 'virt/tdx: CPUs 1-2 are offline'
expect "the other one of the second package is online" online 1 2
expect "and the first one offline" online 0 3
expect "kvm_intel reloads" reload kvm_intel tdx=1
expect "the CPU that is missing is named" said 'virt/tdx: CPUs 1 are offline'
expect "all CPUs of the first package are online" online 1 1
expect "and none of the second one" online 0 2
expect "kvm_intel reloads with that" reload kvm_intel tdx=1
expect "it still runs without TDX" parameter kvm_intel tdx N
expect "the package is named" said 'virt/tdx: packages 1 have no online CPU'
expect "KVM tells why" said 'can not be used (-6): a package has no online CPU'
refuse "no PAMT was allocated" said 'allocated for PAMT'
expect "one CPU of the second package is online" online 1 2
expect "kvm_intel reloads once more" reload kvm_intel tdx=1
expect "it runs with TDX, though a CPU that the module knows is offline" \
	parameter kvm_intel tdx Y
expect "a TD is torn down" /tdx_teardown_bench --method terminate --mib 4
expect "that CPU goes online" online 1 3
expect "a TD is torn down with all CPUs" \
	/tdx_teardown_bench --method terminate --mib 4 --vcpus 4
finish
