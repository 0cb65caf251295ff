#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
# no-module.sh [patched]: Intel host with no TDX module loaded: KVM must load without
# TDX.  The same script runs on the unpatched base kernel, as a control of the platform.

. /lib.sh

ktap_print_header
expect "the BIOS has enabled TDX" said 'virt/tdx: BIOS enabled'
[ "$1" != patched ] || expect "sysfs says why there is no TDX" sysfs_says failed '' "*isn't loaded"
expect "kvm_intel loads with tdx=1" modprobe kvm_intel tdx=1
expect "it runs without TDX" parameter kvm_intel tdx N
# The base doesn't.
! said 'virt/tdx: module initialization failed: CPU setup failed' ||
	expect "KVM tells why" said "can not be used (-19): it isn't loaded"
refuse "the TDX module was not initialized" said 'virt/tdx: module initialized'
expect "an ordinary VM runs" /set_sregs_test
expect "kvm_intel unloads" modprobe -r kvm_intel
finish
