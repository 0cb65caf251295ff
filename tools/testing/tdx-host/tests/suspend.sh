#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
# suspend.sh COUNT [no-tdx]: suspend COUNT times down to the syscore level and resume,
# with and without KVM.  S3 is chosen for its way there: TDX refuses only its end.
# no-tdx: the host cannot have TDX.

. /lib.sh

reached()
{
	dmesg | grep -c 'suspend debug: Waiting'
}

suspend()
{
	local before n

	for n in $(seq "$1"); do
		before=$(reached)
		echo mem >/sys/power/state || return
		[ "$(reached)" = $((before + 1)) ] || return
	done
}

count=${1:-1}

ktap_print_header
expect "pm_test stops after the syscore level" sh -c 'echo core >/sys/power/pm_test &&
	echo deep >/sys/power/mem_sleep && echo 0 >/sys/module/suspend/parameters/pm_test_delay'
expect "suspend and resume $count times without KVM" suspend "$count"
expect "$kvm loads" modprobe $kvm $tdx
if [ "$2" = no-tdx ]; then
	tdx=
	expect "it runs without TDX" parameter kvm_intel tdx N
elif [ -n "$tdx" ]; then
	expect "it runs with TDX" parameter kvm_intel tdx Y
fi
expect "an ordinary VM runs" start_vm
[ -z "$tdx" ] || expect "a TD runs" start_td
expect "suspend and resume $count times with VMs" suspend "$count"
expect "the ordinary VM still runs" stop_vm
[ -z "$tdx" ] || expect "the TD still runs" stop_td
expect "an ordinary VM runs on every CPU" vm_on_every_cpu
expect "$kvm unloads" modprobe -r $kvm
finish
