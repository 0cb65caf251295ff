#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
# hotplug.sh COUNT SEED: random CPUs go COUNT times offline and COUNT times online, on
# average, while an ordinary VM runs and, on Intel, a TD exists, whose vCPUs are in the
# guest; and a quarter of that without KVM.

. /lib.sh

last_of_package()
{
	local package n=0 cpu

	package=$(cat "$cpus/cpu$1/topology/physical_package_id")
	for cpu in $cpus/cpu[0-9]*/topology/physical_package_id; do
		[ "$(cat "$cpu")" != "$package" ] || n=$((n + 1))
	done
	[ $n = 1 ]
}

# The last CPU of a package must stay while there is a TD.
toggle()
{
	local online=$cpus/cpu$1/online old new

	old=$(cat "$online")
	new=$((1 - old))
	if [ "$old" = 1 ] && [ -n "$td" ] && last_of_package "$1"; then
		new=1
		! echo 0 >"$online" || return
	else
		echo $new >"$online" || return
	fi
	[ "$(cat "$online")" = $new ]
}

toggle_random_cpus()
{
	local n

	for n in $(seq $((2 * $1))); do
		random "$possible"
		toggle $((1 + random)) || { echo "CPU $((1 + random)) at $n"; return 1; }
	done
}

all_online()
{
	local cpu

	for cpu in $cpus/cpu[1-9]*/online; do
		[ "$(cat "$cpu")" = 1 ] || echo 1 >"$cpu" || return
	done
}

count=${1:-10} seed=${2:-1} td=
possible=$(($(nproc) - 1))

ktap_print_header
ktap_print_msg "seed $seed"
expect "$kvm loads" modprobe $kvm $tdx
expect "an ordinary VM runs" start_vm
[ -z "$tdx" ] || expect "a TD runs" start_td
expect "random CPUs go offline and online $count times" toggle_random_cpus "$count"
expect "all CPUs come online" all_online
expect "the ordinary VM still runs" stop_vm
[ -z "$tdx" ] || expect "the TD still runs" stop_td
expect "an ordinary VM runs on every CPU" vm_on_every_cpu
expect "$kvm unloads" modprobe -r $kvm
count=$(((count + 3) / 4))
expect "random CPUs go offline and online $count times without KVM" toggle_random_cpus "$count"
expect "all CPUs come online" all_online
expect "$kvm loads" modprobe $kvm $tdx
if [ -n "$tdx" ]; then
	expect "a TD runs" start_td
	expect "it goes" stop_td
fi
expect "an ordinary VM runs on every CPU" vm_on_every_cpu
finish
