#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
# reuse.sh: memory of a TD that is gone keeps what the host writes to it.

. /lib.sh

fill()
{
	head -c 1048576 /dev/urandom >/tmp/pattern
	for i in $(seq 16); do
		cat /tmp/pattern >"/tmp/fill.$i" || return
	done
	[ "$(md5sum /tmp/fill.* | cut -c -32 | sort -u)" = "$(md5sum </tmp/pattern | cut -c -32)" ]
}

ktap_print_header
# shellcheck disable=SC2086 # none or one
expect "KVM is loaded" modprobe $kvm $tdx
for method in close terminate; do
	expect "a TD is torn down by $method" tdx_teardown_bench --method $method --mib 8
done
expect "its memory can be used" fill
finish
