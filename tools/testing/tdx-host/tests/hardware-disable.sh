#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
# hardware-disable.sh COUNT: hardware_disable_test, with virtualization enabled only
# while there are VMs.  It makes 512 of them and has no shorter form, so it is cut
# off after about COUNT VMs.

. /lib.sh

TASKS_OF_A_VM=70

forks()
{
	sed -n 's/^processes //p' /proc/stat
}

run()
{
	local start vms=0 told=0 test

	start=$(forks)
	/hardware_disable_test &
	test=$!
	while kill -0 $test && [ $vms -lt "$1" ]; do
		usleep 10000
		vms=$((($(forks) - start) / TASKS_OF_A_VM))
		# A host that says nothing for long is taken to hang.
		if [ $vms -ge $((told + 10)) ]; then
			told=$vms
			echo "about $vms VMs" >/dev/kmsg
		fi
	done
	if kill $test; then
		killall hardware_disable_test
		wait $test || return 0
	fi
	wait $test
}

ktap_print_header
expect "KVM enables virtualization on demand" modprobe kvm enable_virt_at_load=0
expect "$kvm loads" modprobe $kvm $tdx
expect "hardware_disable_test" run "${1:-10}"
expect "an ordinary VM runs on every CPU" vm_on_every_cpu
expect "$kvm unloads" modprobe -r $kvm
finish
