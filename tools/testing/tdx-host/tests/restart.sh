#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
# restart.sh reset|kexec|panic KVM: leave the kernel in a hurry, while VMs run (KVM
# is loaded) or after KVM was unloaded (unloaded).  The second boot must have all
# CPUs, and run VMs on them.  To be booted twice, kexec and panic with bzImage,
# panic with crashkernel=.

. /lib.sh

load_kernel()
{
	(cd / && find . -xdev ! -name bzImage | cpio -o -H newc) >/tmp/initrd 2>/tmp/cpio || return
	kexec "$1" /bzImage /tmp/initrd "$(sed 's/crashkernel=[^ ]*//' /proc/cmdline)"
}

first_boot()
{
	expect "$kvm loads" modprobe $kvm $tdx
	expect "an ordinary VM runs" start_vm
	if [ "$1" = unloaded ]; then
		expect "it goes" stop_vm
		expect "$kvm unloads" modprobe -r $kvm
	elif [ -n "$tdx" ]; then
		expect "a TD runs" start_td
	fi
	case $how in
	kexec)	expect "a kernel loads" load_kernel load ;;
	panic)	expect "a crash kernel loads" load_kernel panic ;;
	esac
	finish
}

# The second kernel would have to reset the boot CPU if another one crashed.
leave()
{
	case $how in
	reset)	echo b >/proc/sysrq-trigger ;;
	kexec)	kexec exec ;;
	panic)	taskset 1 sh -c 'echo c >/proc/sysrq-trigger' ;;
	esac
}

second_boot()
{
	local present

	present=$(ls -d $cpus/cpu[0-9]* | wc -l)
	expect "all $present CPUs are online" [ "$(nproc)" = "$present" ]
	[ "$how" != panic ] || expect "the memory of the first kernel is there" [ -e /proc/vmcore ]
	expect "$kvm loads" modprobe $kvm $tdx
	[ -z "$tdx" ] || refuse "the TDX module isn't initialized again" said 'virt/tdx: module initialized'
	[ "$how" != panic ] || [ -z "$tdx" ] ||
		expect "a crash kernel leaves it alone" said 'virt/tdx: module not initialized: this is a crash kernel'
	[ "$how" != panic ] || [ -z "$tdx" ] ||
		expect "sysfs says so" sysfs_says off '' '*crash kernel'
	expect "an ordinary VM runs on every CPU" vm_on_every_cpu
	expect "CPUs go offline and online" cycle_cpus
	expect "an ordinary VM runs on every CPU after that" vm_on_every_cpu
	expect "$kvm unloads" modprobe -r $kvm
	finish
}

how=$1

ktap_print_header
if [ "$boot" = 1 ]; then
	first_boot "$2" || exit
	leave
	echo "# $how did not restart the host"
	exit 1
fi
second_boot
