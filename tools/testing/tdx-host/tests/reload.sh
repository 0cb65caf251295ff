#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
# reload.sh COUNT: KVM is loaded, used and unloaded COUNT times; on Intel with
# and without TDX in turn.

. /lib.sh

use()
{
	# shellcheck disable=SC2086 # none or one
	modprobe $kvm $1 && vm_on_every_cpu || return
	[ -z "$1" ] || parameter kvm_intel tdx "$([ "$1" = tdx=1 ] && echo Y || echo N)" || return
	modprobe -r $kvm
}

ktap_print_header
for n in $(seq "${1:-3}"); do
	parameter=${tdx:+tdx=$((n % 2))}
	expect "load $n of $kvm${parameter:+, $parameter}" use "$parameter"
done
finish
