#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
# memory.sh on|defer: memory that the kernel doesn't know at boot (mem=640M) is onlined
# later: it can't be used for TDs, so that it and KVM with tdx=1 exclude each other.

. /lib.sh

# Two memory blocks in a row: each_block COMMAND...
each_block()
{
	for memory in $((0x28000000)) $((0x30000000)); do
		block=/sys/devices/system/memory/memory$((memory / (128 << 20)))
		"$@" || return
	done
}

# What isn't next to any memory that the kernel has known at boot.
apart()
{
	memory=$((0x30000000))
	block=/sys/devices/system/memory/memory$((memory / (128 << 20)))
	"$@"
}

# lines N RE: the kernel log has N lines that match.
lines()
{
	dmesg | grep "$2"
	[ "$(dmesg | grep -c "$2")" = "$1" ]
}

range='virt/tdx: memory \[0x28000000-0x37ffffff\] was onlined after boot'
soon="can't be used for TDs. KVM can't use TDX unless"

ktap_print_header
case $1 in
on)	expect "the TDX module is initialized" said 'virt/tdx: module initialized' ;;
defer)	refuse "the TDX module was not initialized" said 'virt/tdx: module initialized' ;;
esac
expect "memory is added" each_block add_memory
expect "memory goes online without KVM" each_block online_memory
sleep 2
expect "what that means is said once, for both blocks" lines 1 "$range and $soon"
expect "and for nothing else" lines 1 "$soon"
expect "kvm_intel loads with tdx=1" modprobe kvm_intel tdx=1
expect "it runs without TDX" parameter kvm_intel tdx N
expect "the memory in the way is named" said "$range and can't be used for TDs. Offline it"
expect "KVM tells why" said 'can not be used (-16): memory that was onlined after boot'
case $1 in
on)	expect "sysfs tells of memory" sysfs_says initialized 1.5.05 'memory *' ;;
defer)	expect "sysfs tells of memory" sysfs_says failed '' 'memory *' ;;
esac
[ "$1" = on ] || refuse "the TDX module is not initialized for that" said 'virt/tdx: module initialized'
expect "an ordinary VM runs" /set_sregs_test
expect "memory goes offline" each_block offline_memory
expect "kvm_intel reloads with tdx=1" reload kvm_intel tdx=1
expect "it runs with TDX" parameter kvm_intel tdx Y
expect "sysfs says so" sysfs_says initialized 1.5.05 ''
for n in 1 2 3; do
	refuse "memory does not go online" each_block online_memory
done
refuse "nor does memory that isn't next to any that TDX has" apart online_memory
expect "the memory that is refused is named once" \
	lines 1 "virt/tdx: memory \[0x28000000-0x2fffffff\] didn't exist"
sleep 2
expect "a TD is torn down" /tdx_teardown_bench --method terminate --mib 4
expect "kvm_intel reloads with tdx=0" reload kvm_intel tdx=0
expect "memory goes online with tdx=0" each_block online_memory
sleep 2
expect "what that means is said again" lines 2 "$range and $soon"
finish
