#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
# Boot with maxcpus=1: the TDX module can't be initialised before the other CPUs
# have been online.

. /lib.sh

cpus_online()
{
	local cpu

	for cpu in /sys/devices/system/cpu/cpu[1-9]*; do
		echo "$1" >"$cpu/online" || return
	done
}

ktap_print_header
refuse "the TDX module was not initialised" said 'virt/tdx: module initialized'
expect "the CPUs that are missing are named" said 'virt/tdx: CPUs 1\(-[0-9]\)* are offline'
refuse "no PAMT was allocated" said 'allocated for PAMT'
expect "kvm_intel loads with tdx=1" modprobe kvm_intel tdx=1
expect "it runs without TDX" parameter kvm_intel tdx N
expect "an ordinary VM runs" selftest set_sregs_test
expect "CPUs go online" cpus_online 1
expect "kvm_intel reloads with tdx=1" reload kvm_intel tdx=1
expect "it runs with TDX" parameter kvm_intel tdx Y
expect "the TDX module was initialised by that" said 'virt/tdx: module initialized'
expect "a TD is torn down" selftest tdx_teardown_bench --method terminate --mib 4
expect "CPUs go offline" cpus_online 0
expect "kvm_intel reloads with one CPU" reload kvm_intel tdx=1
expect "it runs with TDX again" parameter kvm_intel tdx Y
expect "CPUs go online again" cpus_online 1
finish
