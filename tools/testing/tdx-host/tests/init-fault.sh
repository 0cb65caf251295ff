#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
# init-fault.sh LEAF[:NTH[:RCX]]...: with tdx_host=defer, the NTH SEAMCALL of each LEAF
# in turn fails while kvm_intel has the TDX module initialized; it must be the one with
# RCX. LEAF is a name from below. If it leaves no other attempt, it has to be the last.
# TDH.SYS.KEY.CONFIG fails from then on, as the kernel retries it ten times.

. /lib.sh

# status_of LEAF: its number, and a status that it can end with.
status_of()
{
	case $1 in
	SYS.INIT)	echo 33 0xc000050000000000 ;;
	SYS.LP.INIT)	echo 35 0xc00009200000003b ;;
	SYS.RD)		echo 34 0xc000050200000000 ;;
	SYS.CONFIG)	echo 45 0xc000050c00000000 ;;
	SYS.KEY.CONFIG)	echo 31 0x8000080000000000 ;;
	SYS.TDMR.INIT)	echo 36 0xc000010000000001 ;;
	*)		return 1 ;;
	esac
}

# reason_of LEAF: what KVM says if it has failed.
reason_of()
{
	case $1 in
	SYS.INIT|SYS.LP.INIT)	echo 'a CPU could not be set up' ;;
	SYS.RD)			echo "its metadata can't be read" ;;
	*)			echo "its initialization failed, and can't be repeated" ;;
	esac
}

# counted NAME: what the host has counted since the fault was set.
counted()
{
	fault | sed -n "s/^$1 //p"
}

# is NAME NUMBER: the host has counted so many.
is()
{
	local got

	got=$(counted "$1")
	echo "$1: $got, and not $2"
	[ "$got" = "$2" ]
}

# The kernel looks at a machine check, in VMX operation.
machine_check()
{
	local dump

	dump=$(awk '$3 == "tdx_dump_mce_info" { print $1 }' /proc/kallsyms)
	insmod /misdeeds.ko do=mce "dump=0x$dump"
	said 'misdeeds: no message'
}

# version_after LEAF: the version is read once all CPUs have done SYS.LP.INIT.
version_after()
{
	case $1 in
	SYS.INIT|SYS.LP.INIT) ;;
	*)	echo 1.5.05 ;;
	esac
}

forget_messages()
{
	dmesg -c >/dev/null
}

# Pages that wait in lists of a CPU are free, too.
free_kib()
{
	usleep 500000
	echo 3 >/proc/sys/vm/drop_caches
	echo 1 >/proc/sys/vm/stat_refresh
	awk '$1 == "nr_free_pages" || $1 == "count:" { n += $2 } END { print 4 * n }' /proc/zoneinfo
}

# Free memory varies by some 60 KiB. PAMTs have more than 4 MiB.
memory_is_back()
{
	local now lost

	now=$(free_kib)
	echo "$now KiB are free, $free KiB were, and PAMTs have $((pamt / 1024)) KiB"
	lost=$((free - now - pamt / 1024))
	[ $lost -lt 128 ] && [ $lost -gt -1024 ]
}

# Nearly all that is free, i.e. PAMTs too if they were given back.
use_memory()
{
	fill $(($(free_kib) / 1024 - 16))
}

# What the failure of $leaf leaves; $pamt: the size of the PAMTs that the TDX module has.
expect_undone()
{
	local cpus

	cpus=$(nproc)
	pamt=0
	case $leaf in
	SYS.KEY.CONFIG|SYS.TDMR.INIT)
		pamt=$(counted pamt_bytes)
		expect "the TDX module has PAMTs" [ "$pamt" -gt $((4 << 20)) ]
		expect "the kernel log says that they are lost" \
			said "virt/tdx: $((pamt / 1024)) KB of PAMT are lost"
		# When PAMTs are handed over, and with VMXOFF.
		expect "caches are written back twice" is wbinvd $((2 * cpus))
		;;
	*)
		refuse "no PAMT is lost" said 'PAMT are lost'
		;;
	esac
	expect "no PAMT is reset" is movdir64b 0
}

ktap_print_header
expect "kvm_intel loads with tdx=0" modprobe kvm_intel tdx=0
expect "an ordinary VM runs on every CPU" vm_on_every_cpu
[ "$(nproc)" = 1 ] || expect "CPUs go offline and online" cycle_cpus
expect "kvm_intel unloads" modprobe -r kvm_intel
for arg; do
	IFS=: read -r leaf nth rcx <<-EOT
		$arg
	EOT
	status=$(status_of "$leaf") || { echo "init-fault.sh: no leaf $leaf"; exit 2; }
	ktap_print_msg "$arg"
	forget_messages
	free=$(free_kib)
	count=1
	[ "$leaf" != SYS.KEY.CONFIG ] || count=11
	# shellcheck disable=SC2086 # two words
	expect "a fault is set" fault $status "${nth:-1}" $count
	expect "kvm_intel loads with tdx=1" modprobe kvm_intel tdx=1
	expect "the SEAMCALL has failed" is injected $count
	expect "the kernel log has its status" \
		said "virt/tdx: SEAMCALL (0x$(printf %016x "${status% *}")) failed: ${status#* }"
	[ -z "$rcx" ] || expect "and the operand" said "virt/tdx: RCX 0x$(printf %016x "$rcx")"
	expect "and says that this was it" said 'virt/tdx: module initialization failed'
	expect "KVM tells, too" said "tdx: the TDX module can not be used (-5): $(reason_of "$leaf")"
	refuse "the TDX module was not initialized" said 'virt/tdx: module initialized'
	expect "kvm_intel runs without TDX" parameter kvm_intel tdx N
	expect_undone
	expect "sysfs tells of it" sysfs_says failed "$(version_after "$leaf")" "$(reason_of "$leaf")*"
	seamcalls=$(counted seamcalls)
	expect "the kernel looks at a machine check" machine_check
	expect "an ordinary VM runs on every CPU" vm_on_every_cpu
	[ "$(nproc)" = 1 ] || expect "CPUs go offline and online" cycle_cpus
	expect "kvm_intel unloads" modprobe -r kvm_intel
	expect "memory is given back, but for what the TDX module has" memory_is_back
	expect "what is free can be used" use_memory
	expect "nobody has called the TDX module" is seamcalls "$seamcalls"
done

forget_messages
expect "kvm_intel reloads with tdx=1" modprobe kvm_intel tdx=1
case $leaf in
SYS.LP.INIT|SYS.RD)
	expect "the TDX module is initialized" said 'virt/tdx: module initialized'
	expect "sysfs says so" sysfs_says initialized 1.5.05 ''
	expect "kvm_intel runs with TDX" parameter kvm_intel tdx Y
	expect "a TD is torn down" /tdx_teardown_bench --method terminate --mib 4
	[ "$(nproc)" = 1 ] || expect "CPUs go offline and online" cycle_cpus
	expect "a TD is torn down after that" /tdx_teardown_bench --method close --mib 4
	;;
*)
	refuse "the TDX module is not initialized" said 'virt/tdx: module initialized'
	expect "KVM says so" said "tdx: the TDX module can not be used (-5): $(reason_of "$leaf")"
	expect "sysfs says so" sysfs_says failed "$(version_after "$leaf")" "$(reason_of "$leaf")*"
	expect "kvm_intel runs without TDX" parameter kvm_intel tdx N
	expect "nobody has called the TDX module" is seamcalls "$seamcalls"
	expect "an ordinary VM runs on every CPU" vm_on_every_cpu
	;;
esac
finish
