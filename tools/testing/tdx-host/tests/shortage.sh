#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
# shortage.sh: with tdx_host=defer, memory is too fragmented for PAMTs when kvm_intel is
# loaded.  That is not final: TDX can be had as soon as there is memory.

. /lib.sh

ktap_print_header
expect "kvm_intel loads with tdx=0, and unloads" sh -c 'modprobe kvm_intel tdx=0 && modprobe -r kvm_intel'
expect "memory is fragmented" insmod /fragment.ko
expect "kvm_intel loads with tdx=1" modprobe kvm_intel tdx=1
expect "it runs without TDX" parameter kvm_intel tdx N
expect "memory was the reason" said 'tdx: the TDX module can not be used (-12)'
refuse "the TDX module was not initialized" said 'virt/tdx: module initialized'
refuse "no PAMT is lost" said 'PAMT are lost'
expect "an ordinary VM runs" /set_sregs_test
expect "memory is whole again" rmmod fragment
expect "kvm_intel reloads with tdx=1" reload kvm_intel tdx=1
expect "it runs with TDX" parameter kvm_intel tdx Y
expect "a TD is torn down" /tdx_teardown_bench --method terminate --mib 4
finish
