#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
# Booted with maxcpus=1 or nosmt: KVM works on the CPUs that come online later, and
# TDX once all of them have.

. /lib.sh

online_the_rest()
{
	local cpu

	echo on 2>/dev/null >$cpus/smt/control
	for cpu in $cpus/cpu[1-9]*/online; do
		[ "$(cat "$cpu")" = 1 ] || echo 1 >"$cpu" || return
	done
}

present=$(ls -d $cpus/cpu[0-9]* | wc -l)

ktap_print_header
expect "only a part of the $present CPUs is online" [ "$(nproc)" -lt "$present" ]
if said 'virt/tdx: BIOS enabled'; then
	expect "the CPUs that are missing are named" said 'virt/tdx: CPUs [0-9,-]* are offline'
	refuse "no PAMT was allocated" said 'allocated for PAMT'
	expect "the version is known nevertheless" said 'virt/tdx: Module version: 1\.5\.05$'
	expect "sysfs says why" sysfs_says failed 1.5.05 'some CPUs have never been online'
fi
expect "$kvm loads" modprobe $kvm $tdx
if [ -n "$tdx" ]; then
	expect "it runs without TDX" parameter $kvm tdx N
	expect "KVM tells why" said 'can not be used (-6): some CPUs have never been online'
fi
expect "an ordinary VM runs on every CPU" vm_on_every_cpu
expect "the other CPUs come online" online_the_rest
expect "all CPUs are online" [ "$(nproc)" = "$present" ]
expect "an ordinary VM runs on every CPU" vm_on_every_cpu
expect "$kvm reloads" reload $kvm $tdx
if [ -n "$tdx" ]; then
	expect "it runs with TDX" parameter $kvm tdx Y
	expect "sysfs says so" sysfs_says initialized 1.5.05 ''
	expect "a TD is torn down" /tdx_teardown_bench --method terminate --mib 4
fi
expect "an ordinary VM runs on every CPU after that" vm_on_every_cpu
expect "CPUs go offline and online" cycle_cpus
expect "$kvm unloads" modprobe -r $kvm
finish
