#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
# key-config.sh STATUS NTH COUNT: with tdx_host=defer, the NTH TDH.SYS.KEY.CONFIG and
# those after it, COUNT in all, end with STATUS while kvm_intel has the TDX module
# initialized, which the kernel gets over.

. /lib.sh

ktap_print_header
expect "a fault is set" fault 31 "$1" "$2" "$3"
expect "kvm_intel loads with tdx=1" modprobe kvm_intel tdx=1
expect "the SEAMCALL has failed $3 times" sh -c "fault | grep -qx 'injected $3'"
refuse "the kernel log is silent about that" said 'virt/tdx: SEAMCALL'
expect "the TDX module is initialized" said 'virt/tdx: module initialized'
expect "kvm_intel runs with TDX" parameter kvm_intel tdx Y
expect "a TD is torn down" /tdx_teardown_bench --method terminate --mib 4
finish
