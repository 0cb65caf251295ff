#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
# killed.sh race|stress|asid|failslab [COUNT]: a selftest changes the host only if it is
# asked to, and what it has changed comes back when it is killed, COUNT times.

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

# Whether the test has changed it at any time.
changed()
{
	case $what in
	failslab)	[ "$(cat $failslab/task-filter)" = Y ] ;;
	*)		[ "$(dmesg | grep -c 'is now offline')" != "$offline" ] ;;
	esac
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
	local status=0

	offline=$(dmesg | grep -c 'is now offline')
	"$@" >/tmp/test 2>&1 || status=$?
	cat /tmp/test
	[ $status = 0 ] && ! changed
}

skipped()
{
	grep '^ok .*SKIP.*--cpu-hotplug' /tmp/test || grep '^# .*--cpu-hotplug' /tmp/test
}

# killed SIGNAL COMMAND...: at different times after it has begun to change something.
killed()
{
	local signal=$1 n test late=0

	shift
	for n in $(seq "$count"); do
		offline=$(dmesg | grep -c 'is now offline')
		"$@" >/tmp/test 2>&1 &
		test=$!
		# The process that restores is there before anything is changed.
		while [ "$(processes)" -lt "$all" ] && kill -0 $test 2>/dev/null; do
			:
		done
		random "$delay"
		usleep "$random"
		kill -"$signal" $test || { echo "it has ended"; cat /tmp/test; return 1; }
		! changed || late=$((late + 1))
		wait $test
		all_gone || return
		state >/tmp/after
		cmp /tmp/before /tmp/after || { cat /tmp/before /tmp/after; return 1; }
	done
	echo "# changed before $late of $count kills" >/dev/kmsg
	[ $late != 0 ]
}

what=$1 count=${2:-4} seed=1
case $what in
race)		program=/tdx_terminate_race_test hotplug='-t cpu_hotplug' plain='-t cpu_hotplug' all=3 delay=300000 ;;
stress)		program=/tdx_teardown_stress hotplug='--action hotplug' plain='--rounds 1' all=2 delay=300000 ;;
asid)		program=/svm_asid_test hotplug='' plain='' all=2 delay=60000 ;;
failslab)	program=/guest_memfd_test hotplug='' plain='' all=2 delay=20000 ;;
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
