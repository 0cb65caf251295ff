#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
# unsuited.sh FEATURE: the CPU lacks a feature that TDX needs: nothing is spent on TDX.

. /lib.sh

ktap_print_header
expect "the feature is named" \
	said "virt/tdx: module initialization failed: the CPU doesn't support $1"
refuse "the TDX module was not initialized" said 'virt/tdx: module initialized'
refuse "no PAMT was allocated" said 'allocated for PAMT'
expect "kvm_intel loads with tdx=1" modprobe kvm_intel tdx=1
expect "it runs without TDX" parameter kvm_intel tdx N
expect "KVM tells why" said "can not be used (-19): the CPU doesn't support $1"
expect "an ordinary VM runs" /set_sregs_test
finish
