#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
# memory.sh on|defer: memory that the kernel doesn't know at boot (mem=) is onlined
# later: it can't be used for TDs, so that it and KVM with tdx=1 exclude each other.

. /lib.sh

ktap_print_header
case $1 in
on)	expect "the TDX module is initialised" said 'virt/tdx: module initialized' ;;
defer)	refuse "the TDX module was not initialised" said 'virt/tdx: module initialized' ;;
esac
expect "memory is added" add_memory
expect "memory goes online without KVM" online_memory
expect "kvm_intel loads with tdx=1" modprobe kvm_intel tdx=1
expect "it runs without TDX" parameter kvm_intel tdx N
expect "the memory in the way is named" said 'virt/tdx: memory \[0x30000000-0x37ffffff\] was onlined'
[ "$1" = on ] || refuse "the TDX module is not initialised for that" said 'virt/tdx: module initialized'
expect "an ordinary VM runs" /set_sregs_test
expect "memory goes offline" offline_memory
expect "kvm_intel reloads with tdx=1" reload kvm_intel tdx=1
expect "it runs with TDX" parameter kvm_intel tdx Y
refuse "memory does not go online" online_memory
expect "the memory that is refused is named" said "virt/tdx: memory \[0x30000000-0x37ffffff\] didn't exist"
expect "a TD is torn down" /tdx_teardown_bench --method terminate --mib 4
expect "kvm_intel reloads with tdx=0" reload kvm_intel tdx=0
expect "memory goes online with tdx=0" online_memory
finish
