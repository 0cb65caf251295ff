#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
# Trace events tell how a TD's HKID is released and its pages are given back, and why
# not.  To be run on a kernel with boot/trace.config, with tdx_teardown_test.

. /lib.sh

tracing=/sys/kernel/tracing
events=$tracing/events/kvm
mib=4
pages=$((mib * 256))

mount_tracefs()
{
	[ -d $events ] || mount -t tracefs tracefs $tracing
	[ -d $events ]
}

# record COMMAND...: the events of what it does are in /tmp/trace.
record()
{
	local status

	echo >$tracing/trace
	echo 1 >$tracing/tracing_on
	"$@" >/tmp/output 2>&1
	status=$?
	# The VM of a VMM that was killed goes with its last file descriptor.
	sleep 1
	echo 0 >$tracing/tracing_on
	grep kvm_tdx_ $tracing/trace >/tmp/trace
	[ $status = 0 ] || cat /tmp/output
	return $status
}

bench()
{
	record /tdx_teardown_bench --mib $mib --vcpus 1 --method "$1"
}

teardown_test()
{
	record /tdx_teardown_test --expect-warnings -t "$1"
}

# announce: the warnings that the test is going to cause, for the host's verdict.
announce()
{
	grep -o 'expect-warning: .*' /tmp/output
}

# count N|MIN- REGEX: as many, or at least as many, recorded events match.
count()
{
	local n

	n=$(grep -cE "$2" /tmp/trace)
	case $1 in
	*-)	[ "$n" -ge "${1%-}" ] ;;
	*)	[ "$n" = "$1" ] ;;
	esac || { echo "$n, not $1"; grep kvm_tdx_release /tmp/trace; return 1; }
}

# stages STAGE...: these are the steps of releasing, in this order.
stages()
{
	[ "$(sed -n 's/.*kvm_tdx_release_hkid:.* stage \([^ ]*\) .*/\1/p' /tmp/trace | xargs)" = "$*" ] ||
		{ cat /tmp/output; grep kvm_tdx_release /tmp/trace; return 1; }
}

# All events are those of one VM, whose VMM has vm_pid.
one_vm()
{
	[ "$(sed 's/.* vm_pid \([0-9]*\) .*/\1/' /tmp/trace | sort -u | grep -c '^[1-9]')" = 1 ]
}

released_before_pages()
{
	awk '/stage free_hkid status 0x0 /	{ released = 1 }
	     /kvm_tdx_page/ && !released	{ bad = 1 }
	     END				{ exit bad || !released }' /tmp/trace
}

if grep -q '^bugs.*tdx_pw_mce' /proc/cpuinfo; then
	cleared=$pages
else
	cleared=0
fi

ktap_print_header
expect "kvm_intel loads" modprobe kvm_intel tdx=1
expect "tracefs has KVM's events" mount_tracefs
for event in release_hkid release_skipped page; do
	expect "there is kvm_tdx_$event" [ -d $events/kvm_tdx_$event ]
	expect "kvm_tdx_$event has no host address" \
		sh -c "! grep -E ' (pfn|hpa|[a-z]*addr|ptr)|\*|%p' $events/kvm_tdx_$event/format"
	echo 1 >$events/kvm_tdx_$event/enable
done
for file in trace trace_pipe; do
	expect "only root reads $file" sh -c "ls -l $tracing/$file | grep -q -- '^-r[w-]-r----- *1 0 *0 '"
done

expect "a TD is terminated" bench terminate
expect "all steps are done once" stages flush_vps block write_back free_hkid
expect "all steps succeed" count 4 'stage .* status 0x0 ns [1-9]'
expect "the HKID is released before pages go" released_before_pages
expect "all pages are reclaimed" count $pages 'kvm_tdx_page:.* private gfn 0x[0-9a-f]+ level 1 reclaimed'
expect "no page is removed" count 0 'removed'
expect "no page is leaked" count 0 'leaked'
expect "pages are cleared on CPUs with the erratum" count $cleared ' private .* cleared$'
expect "S-EPT pages are reclaimed" count 3- ' sept gfn 0x[0-9a-f]+ level [2-4] reclaimed'
# Making memory private asks, too, whether the VMM is alive.
expect "nothing is skipped" count 0 'kvm_tdx_release_skipped:.* reason [^v ]'
expect "the events have the VMM's PID" one_vm

expect "a TD is closed" bench close
expect "all pages are removed" count $pages ' private .* removed'
expect "no private page is reclaimed" count 0 ' private .* reclaimed'
expect "that is since the VMM is alive" count 1- 'kvm_tdx_release_skipped:.* reason vmm_alive$'
expect "the HKID is released" stages flush_vps block write_back free_hkid

expect "a VMM is killed" bench killed
expect "the HKID is released before pages go" released_before_pages
expect "all pages are reclaimed" count $pages ' private .* reclaimed'
expect "no page is removed" count 0 'removed'

echo 0 >/sys/module/kvm_intel/parameters/tdx_release_on_exit
expect "a VMM is killed with tdx_release_on_exit=0" bench killed
expect "all pages are removed" count $pages ' private .* removed'
expect "that is since it is turned off" count 1- 'kvm_tdx_release_skipped:.* reason turned_off$'
echo 1 >/sys/module/kvm_intel/parameters/tdx_release_on_exit

# TDH.MNG.KEY.FREEID
fault 20 0xc000050000000000
expect "a TD is closed, freeing its HKID fails once" bench close
expect "the fault was injected" sh -c 'fault | grep -q "^injected 1"'
expect "the failed step is done again" \
	stages flush_vps block write_back free_hkid write_back free_hkid
expect "its status is there" count 1 'stage free_hkid status 0xc000050000000000 '
expect "it isn't given up" count 0 'reason gave_up'

expect "TDs with vCPUs in use are refused" teardown_test terminate_busy
expect "each attempt tells why" count 10- 'kvm_tdx_release_skipped:.* reason vcpu_busy$'

expect "a TD doesn't give a page back" teardown_test fault_private_page_reclaim
announce
expect "that page is leaked, and told" count 1 ' private gfn 0x[0-9a-f]+ level 1 leaked$'
expect "so are no others" count 1 'leaked'

expect "an HKID can't be freed" teardown_test fault_key_freeid
announce
expect "that is given up" count 1- 'kvm_tdx_release_skipped:.* reason gave_up$'
expect "the pages are leaked" count 1- ' private gfn 0x[0-9a-f]+ level 1 leaked$'

echo 0 >$events/enable
expect "a TD is terminated with the events disabled" bench terminate
expect "there are no events" count 0 kvm_tdx
finish
