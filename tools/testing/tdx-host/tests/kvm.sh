#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
# Any host and kernel: ordinary VMs, CPU hotplug, reload.

. /lib.sh

ktap_print_header
expect "$kvm $tdx loads" modprobe $kvm $tdx
expect "an ordinary VM runs on every CPU" vm_on_every_cpu
expect "CPUs go offline and online with KVM loaded" cycle_cpus
expect "an ordinary VM runs on every CPU after that" vm_on_every_cpu
for n in 1 2 3; do
	expect "$kvm reloads ($n)" reload $kvm $tdx
	expect "an ordinary VM runs after reload $n" /set_sregs_test
done
expect "state_test" /state_test
expect "$kvm unloads" modprobe -r $kvm
expect "CPUs go offline and online without KVM" cycle_cpus
finish
