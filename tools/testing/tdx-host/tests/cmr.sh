#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
# cmr.sh used|excluded: 16 MiB at 512 MiB are not convertible memory. The kernel uses
# them, or is told by memmap= not to.

. /lib.sh

named="virt/tdx: memory \\[0x20000000-0x20ffffff\\] is not convertible"

ktap_print_header
case $1 in
used)
	expect "the memory is named" said "$named"
	expect "and the parameter that excludes it" \
		said 'Boot with memmap=16384K%0x20000000-1+2 to use TDX without it'
	refuse "the TDX module was not initialized" said 'virt/tdx: module initialized'
	refuse "no SEAMCALL has failed" said 'virt/tdx: SEAMCALL'
	expect "kvm_intel loads with tdx=1" modprobe kvm_intel tdx=1
	expect "it runs without TDX" parameter kvm_intel tdx N
	expect "KVM tells why" said 'can not be used (-22): some memory is not convertible'
	expect "an ordinary VM runs" /set_sregs_test
	;;
excluded)
	refuse "no memory is named" said "$named"
	expect "the TDX module is initialized" said 'virt/tdx: module initialized'
	expect "kvm_intel loads with tdx=1" modprobe kvm_intel tdx=1
	expect "it runs with TDX" parameter kvm_intel tdx Y
	expect "a TD is torn down" /tdx_teardown_bench --method terminate --mib 4
	;;
esac
finish
