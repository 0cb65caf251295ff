#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
# Boot with nr_cpus=1 or nosmt=force: the other CPUs can't ever be brought online.

. /lib.sh

reason="virt/tdx: [0-9]* CPUs can't be brought online"
why="some CPUs can't be brought online"
! grep -q nosmt /proc/cmdline || {
	why='some CPUs have never been online'
	reason='virt/tdx: CPUs [0-9,-]* are offline, .* Boot with SMT enabled to use TDX'
}

all_online()
{
	local cpu

	echo on 2>/dev/null >$cpus/smt/control
	for cpu in $cpus/cpu[1-9]*/online; do
		echo 1 >"$cpu" || return
	done
}

ktap_print_header
expect "the reason is given" said "$reason"
refuse "no PAMT was allocated" said 'allocated for PAMT'
refuse "they can't be brought online" all_online
expect "kvm_intel loads with tdx=1" modprobe kvm_intel tdx=1
expect "it runs without TDX" parameter kvm_intel tdx N
expect "KVM tells why" said "can not be used (-6): $why"
expect "an ordinary VM runs" /set_sregs_test
finish
