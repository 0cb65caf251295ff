#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
# tdx_host=defer: the module is initialized when kvm_intel asks for it.

. /lib.sh

ktap_print_header
expect "a tdx_host without a value is complained about" said 'tdx_host=: there are'
refuse "the TDX module was not initialized during boot" said 'virt/tdx: module initialized'
refuse "no PAMT was allocated" said 'allocated for PAMT'
expect "sysfs says so" sysfs_says deferred '' '*tdx_host=defer*'
expect "kvm_intel loads with tdx=0" modprobe kvm_intel tdx=0
refuse "that does not initialize the TDX module" said 'virt/tdx: module initialized'
expect "sysfs still says so" sysfs_says deferred '' '*tdx_host=defer*'
expect "kvm_intel reloads with tdx=1" reload kvm_intel tdx=1
expect "it runs with TDX" parameter kvm_intel tdx Y
expect "the TDX module was initialized by that" said 'virt/tdx: module initialized'
expect "sysfs says that" sysfs_says initialized 1.5.05 ''
expect "an ordinary VM runs on every CPU" vm_on_every_cpu
expect "a TD is torn down" /tdx_teardown_bench --method terminate --mib 4
expect "CPUs go offline and online" cycle_cpus
expect "kvm_intel reloads again" reload kvm_intel tdx=1
expect "a TD is torn down after that" /tdx_teardown_bench --method close --mib 4
finish
