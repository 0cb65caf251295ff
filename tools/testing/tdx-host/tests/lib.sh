# SPDX-License-Identifier: GPL-2.0-only
# Sourced by the boot tests, which run under busybox on the emulated host with
# the kernel's ktap_helpers.sh beside them.

. /ktap_helpers.sh

# This vendor's KVM, and the parameter that makes it use TDX.
if grep -q GenuineIntel /proc/cpuinfo; then
	kvm=kvm_intel
	tdx=tdx=1
else
	kvm=kvm_amd
	tdx=
fi
cpus=/sys/devices/system/cpu

# expect WHAT COMMAND...: a test that passes if COMMAND does.
expect()
{
	local what=$1

	shift
	if "$@" >/tmp/expect 2>&1; then
		ktap_test_pass "$what"
	else
		sed 's/^/# /' /tmp/expect | tail -n 20
		ktap_test_fail "$what"
	fi
}

# refuse WHAT COMMAND...: a test that passes if COMMAND fails.
refuse()
{
	local what=$1

	shift
	if "$@" >/dev/null 2>&1; then
		ktap_test_fail "$what"
	else
		ktap_test_pass "$what"
	fi
}

parameter()
{
	[ "$(cat "/sys/module/$1/parameters/$2")" = "$3" ]
}

said()
{
	dmesg | grep -q "$1"
}

# sysfs_says STATE VERSION REASON: files of the device tdx_host; REASON is a pattern.
sysfs_says()
{
	local device=/sys/devices/faux/tdx_host state version reason

	state=$(cat $device/state) && reason=$(cat $device/reason) || return
	version=$(cat $device/version 2>/dev/null)
	echo "state '$state', version '$version', reason '$reason'"
	[ "$state" = "$1" ] && [ "$version" = "$2" ] || return
	# shellcheck disable=SC2254 # a pattern
	case $reason in
	$3)	;;
	*)	return 1 ;;
	esac
}

cycle_cpus()
{
	local cpu n

	for n in 1 2 3; do
		for cpu in $cpus/cpu[1-9]*; do
			echo 0 >"$cpu/online" || return
			[ "$(cat "$cpu/online")" = 0 ] || return
		done
		for cpu in $cpus/cpu[1-9]*; do
			echo 1 >"$cpu/online" || return
			[ "$(cat "$cpu/online")" = 1 ] || return
		done
	done
}

# vm_on_every_cpu: an ordinary VM runs on each CPU that is online.
vm_on_every_cpu()
{
	local cpu n

	for cpu in $cpus/cpu[0-9]*; do
		[ "$(cat "$cpu/online" 2>/dev/null)" != 0 ] || continue
		n=${cpu##*/cpu}
		taskset "$(printf '%x' $((1 << n)))" /set_sregs_test || return
	done
}

# Memory that the kernel doesn't know at boot, to be booted with mem=768M.
memory=$((0x30000000))
block=/sys/devices/system/memory/memory$((memory / (128 << 20)))

add_memory()
{
	echo $memory >/sys/devices/system/memory/probe
}

# online_memory, offline_memory: they fail if it doesn't get there.
online_memory()
{
	echo online_movable >$block/state && grep -q '^online$' $block/state
}

offline_memory()
{
	echo offline >$block/state && grep -q '^offline$' $block/state
}

reload()
{
	modprobe -r "$1" && modprobe "$@"
}

# random N: a number from 0 to N - 1 in $random, the same ones for each $seed.
random()
{
	seed=$(((seed * 1103515245 + 12345) & 0x7fffffff))
	random=$(((seed >> 8) % $1))
}

# wait_for TEXT FILE PID: until the program PID has printed TEXT to FILE.
wait_for()
{
	while ! grep -q "$1" "$2"; do
		kill -0 "$3" || { cat "$2"; return 1; }
		usleep 10000
	done
}

# An ordinary VM with a vCPU for each CPU, in the background.
start_vm()
{
	spin "$(nproc)" >/tmp/vm 2>&1 &
	vm=$!
	wait_for running /tmp/vm $vm
}

# It fails if the vCPUs do not run any more.
stop_vm()
{
	kill $vm && wait $vm || { cat /tmp/vm; return 1; }
}

# A TD whose vCPUs are in the guest, in the background.
start_td()
{
	mkfifo /tmp/hold
	tdx_teardown_bench --hold --mib 4 --vcpus "$(nproc)" </tmp/hold >/tmp/td 2>&1 &
	td=$!
	exec 3>/tmp/hold
	wait_for holding /tmp/td $td
}

# It fails if the vCPUs cannot enter the guest any more.
stop_td()
{
	exec 3>&-
	rm /tmp/hold
	wait $td || { cat /tmp/td; return 1; }
	td=
}

finish()
{
	ktap_set_plan $((KTAP_TESTNO - 1))
	[ "$KTAP_CNT_FAIL" = 0 ]
}
