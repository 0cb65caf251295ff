#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
# killed.sh race|stress|asid|failslab [COUNT]: a selftest changes the host only if it is
# asked to, and what it has changed comes back when it is killed meanwhile, COUNT times.

. /lib.sh

failslab=/sys/kernel/debug/failslab

# What must be as before.
state()
{
	case $what in
	failslab)	(cd $failslab && grep '' ./*) ;;
	*)		cat $cpus/online ;;
	esac
}

times_offline()
{
	dmesg | grep -c 'is now offline'
}

processes()
{
	pidof "${program#/}" | wc -w
}

# The processes of the test end by themselves, those that restore are the last.
all_gone()
{
	local n

	for n in $(seq 1000); do
		[ "$(processes)" != 0 ] || return 0
		usleep 10000
	done
	ps | grep "$program"
	return 1
}

plain()
{
	local status=0 offline

	offline=$(times_offline)
	"$@" >/tmp/test 2>&1 || status=$?
	cat /tmp/test
	[ $status = 0 ] && [ "$(times_offline)" = "$offline" ]
}

skipped()
{
	grep '^ok .*SKIP.*--cpu-hotplug' /tmp/test || grep '^# .*--cpu-hotplug' /tmp/test
}

signal_all()
{
	# shellcheck disable=SC2046 # a list
	kill -"$1" $(pidof "${program#/}") 2>/dev/null
}

differs()
{
	state >/tmp/now
	! cmp -s /tmp/before /tmp/now
}

# Stop the test at a time at which something is not as before.
stop()
{
	while kill -0 "$1" 2>/dev/null; do
		signal_all STOP
		usleep 20000
		if differs; then
			# A write that was being made has ended by then.
			usleep 500000
			! differs || return 0
		fi
		signal_all CONT
		random 20000
		usleep "$random"
	done
	return 1
}

# killed SIGNAL COMMAND...
killed()
{
	local signal=$1 n=0 attempts=0 test

	shift
	while [ $n -lt "$count" ]; do
		attempts=$((attempts + 1))
		[ $attempts -le $((count * 10)) ] || { echo "never stopped in time"; return 1; }
		"$@" >/tmp/test 2>&1 &
		test=$!
		if stop $test; then
			n=$((n + 1))
			kill -"$signal" $test
			signal_all CONT
		fi
		wait $test
		all_gone || return
		state >/tmp/now
		cmp /tmp/before /tmp/now || { cat /tmp/before /tmp/now; return 1; }
	done
}

what=$1 count=${2:-4} seed=1
case $what in
race)		program=/tdx_terminate_race_test hotplug='-t cpu_hotplug' plain='-t cpu_hotplug' ;;
stress)		program=/tdx_teardown_stress hotplug='--action hotplug' plain='--rounds 1' ;;
asid)		program=/svm_asid_test hotplug='' plain='' ;;
failslab)	program=/guest_memfd_test hotplug='' plain='' ;;
esac
[ "$what" = failslab ] || hotplug="--cpu-hotplug $hotplug"

ktap_print_header
expect "$kvm loads" modprobe $kvm $tdx
state >/tmp/before
# shellcheck disable=SC2086 # words
if [ "$what" != failslab ]; then
	expect "$program leaves all CPUs online" plain $program $plain
	expect "it tells how to test CPU hotplug" skipped
	expect "it ends with success with --cpu-hotplug" $program $hotplug
fi
# shellcheck disable=SC2086 # words
for signal in KILL TERM; do
	expect "what it changed comes back after SIG$signal" killed $signal $program $hotplug
done
expect "it is as before in the end" eval 'state | cmp /tmp/before'
expect "$kvm unloads" modprobe -r $kvm
finish
