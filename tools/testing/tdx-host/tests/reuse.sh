#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
# reuse.sh: memory of a TD that is gone keeps what the host writes to it.

. /lib.sh

fill()
{
	yes | head -c 67108864 >/tmp/fill &&
	[ "$(tr -d 'y\n' </tmp/fill | wc -c)" = 0 ]
}

ktap_print_header
# shellcheck disable=SC2086 # none or one
expect "KVM is loaded" modprobe $kvm $tdx
for method in close terminate; do
	expect "a TD is torn down by $method" tdx_teardown_bench --method $method --mib 8
done
expect "its memory can be used" fill
finish
