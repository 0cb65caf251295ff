#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
# Intel host with a TDX module: bring-up at boot, KVM with and without TDX,
# ordinary VMs, CPU hotplug, reload.

. /lib.sh

ktap_print_header
ktap_print_msg "the TDX module of this host is a software model"
expect "TDX module is initialized before KVM is loaded" said 'virt/tdx: module initialized'
# Other tests look for the same words to tell that it isn't so.
expect "PAMTs were allocated for it" said 'allocated for PAMT'
expect "the kernel log names tdx_host=" said 'virt/tdx: module initialized.*tdx_host=off'
expect "and the module's version" said 'virt/tdx: Module version: 1\.5\.05$'
expect "sysfs says that, too" sysfs_says initialized 1.5.05 ''
expect "kvm is not loaded yet" [ ! -d /sys/module/kvm ]
expect "CPUs go offline and online while only TDX uses VMX" cycle_cpus

for tdx in 1 0; do
	expect "kvm_intel loads with tdx=$tdx" modprobe kvm_intel tdx=$tdx
	expect "tdx=$tdx is what it runs with" parameter kvm_intel tdx "$([ $tdx = 1 ] && echo Y || echo N)"
	expect "APICv is on" parameter kvm_intel enable_apicv Y
	expect "an ordinary VM runs on every CPU" vm_on_every_cpu
	expect "CPUs go offline and online with KVM loaded" cycle_cpus
	expect "an ordinary VM runs on every CPU after that" vm_on_every_cpu
	expect "kvm_intel unloads" modprobe -r kvm_intel
done
expect "kvm_intel reloads with tdx=1" modprobe kvm_intel tdx=1
for test in state_test set_sregs_test pre_fault_memory_test; do
	expect "$test" /$test
done
finish
