#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
# The misc cgroup limits the number of TDs: each takes a KeyID.  With two packages of
# a CPU each, neither may go offline while there is a TD.

. /lib.sh

cgroup=/sys/fs/cgroup/test

current()
{
	[ "$(sed -n 's/^tdx //p' $cgroup/misc.current)" = "$1" ]
}

# in_cgroup COMMAND...: run it as a member.
in_cgroup()
{
	sh -c 'echo 0 >'$cgroup'/cgroup.procs && exec "$@"' sh "$@"
}

bench()
{
	in_cgroup /tdx_teardown_bench --mib 1 --vcpus 1 "$@"
}

offline()
{
	echo 0 >$cpus/cpu1/online
}

limit()
{
	echo "tdx $1" >$cgroup/misc.max
}

ktap_print_header
expect "kvm_intel loads" modprobe kvm_intel tdx=1
mkdir -p /sys/fs/cgroup
mount -t cgroup2 none /sys/fs/cgroup && echo +misc >/sys/fs/cgroup/cgroup.subtree_control
mkdir $cgroup
expect "KeyIDs can be limited" limit 0
for attempt in first second; do
	refuse "a TD above the limit, $attempt attempt" bench
	expect "it isn't charged" current 0
done
expect "the limit is raised" limit 1
for method in close terminate killed; do
	expect "a TD within the limit, method $method" bench --method $method
	expect "it isn't charged any more" current 0
done
echo 0 >$cgroup/cgroup.procs
expect "a TD is running" start_td
expect "it is charged" current 1
expect "CPU 1 is in another package" [ "$(cat $cpus/cpu1/topology/physical_package_id)" = 1 ]
refuse "that package goes offline" offline
refuse "a second TD" bench
expect "the second isn't charged" current 1
expect "the first is stopped" stop_td
expect "no TD is charged" current 0
finish
