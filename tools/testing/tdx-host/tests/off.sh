#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
# tdx_host=off: the module is there and must be left alone, and nothing is refused
# for the sake of private memory.

. /lib.sh

ktap_print_header
refuse "the TDX module was not initialized" said 'virt/tdx: module initialized'
refuse "no PAMT was allocated" said 'PAMT'
expect "sysfs says so" sysfs_says off '' '*tdx_host=off'
expect "the erratum is still known" grep -q tdx_pw_mce /proc/cpuinfo
expect "kvm_intel loads with tdx=1" modprobe kvm_intel tdx=1
expect "it runs without TDX" parameter kvm_intel tdx N
expect "KVM tells why" said 'can not be used (-19): it is disabled by tdx_host=off'
expect "the module is left alone" sysfs_says off '' '*tdx_host=off'
expect "an ordinary VM runs" /set_sregs_test
expect "a selftest that needs TDX is skipped" \
	sh -c '/tdx_teardown_bench --method terminate --mib 4; [ $? = 4 ]'
expect "memory is added" add_memory
expect "memory goes online" online_memory
sleep 2
refuse "nothing is said about it" said 'virt/tdx: memory'
expect "a kernel can be loaded in spite of the erratum" kexec load /bzImage /init ''
expect "a crash kernel can be loaded, too" kexec panic /bzImage /init ''
finish
