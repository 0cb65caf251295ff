#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
# late-cpu.sh ADDRESS: CPU 1 turns up after the TDX module was initialized. It and KVM
# with tdx=1 exclude each other. The emulated host has no CPU that can be plugged in: the
# kernel is made to believe so, by tdx_lp_initialized at ADDRESS.

. /lib.sh

make_late()
{
	insmod /misdeeds.ko do=late "known=0x$known"
	said 'misdeeds: CPU 1 is late'
}

# online 0|1: it fails if the CPU doesn't get there.
online()
{
	echo "$1" >$cpus/cpu1/online && [ "$(cat $cpus/cpu1/online)" = "$1" ]
}

machine_check()
{
	local dump

	dump=$(awk '$3 == "tdx_dump_mce_info" { print $1 }' /proc/kallsyms)
	taskset 2 insmod /misdeeds.ko do=mce "dump=0x$dump"
	said 'misdeeds: no message'
}

known=$1
late='virt/tdx: CPU 1 was absent when the module was initialized'

ktap_print_header
expect "the TDX module is initialized" said 'virt/tdx: module initialized'
expect "CPU 1 goes offline" online 0
expect "it is late from now on" make_late
expect "it comes online while nobody uses TDX" online 1
expect "what that means is said" said "$late. KVM can't use TDX unless it is offlined"
expect "a machine check on it is survived" machine_check
expect "kvm_intel loads with tdx=1" modprobe kvm_intel tdx=1
expect "it runs without TDX" parameter kvm_intel tdx N
expect "the CPU in the way is named" said "$late. Offline it or reboot"
expect "KVM tells why" said 'can not be used (-6): a CPU that was absent'
expect "an ordinary VM runs on every CPU" vm_on_every_cpu
expect "CPUs go offline and online" cycle_cpus
expect "CPU 1 goes offline again" online 0
expect "kvm_intel reloads with tdx=1" reload kvm_intel tdx=1
expect "it runs with TDX" parameter kvm_intel tdx Y
refuse "CPU 1 does not come online" online 1
expect "the reason is given" said "$late and can't be onlined while KVM uses TDX"
expect "a TD is torn down" /tdx_teardown_bench --method terminate --mib 4
expect "kvm_intel reloads with tdx=0" reload kvm_intel tdx=0
expect "CPU 1 comes online with tdx=0" online 1
expect "an ordinary VM runs on every CPU after that" vm_on_every_cpu
finish
