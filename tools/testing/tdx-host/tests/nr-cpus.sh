#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
# Boot with nr_cpus=1: the other CPUs can't ever be brought online.

. /lib.sh

ktap_print_header
expect "the reason is given" said "virt/tdx: [0-9]* CPUs can't be brought online"
refuse "no PAMT was allocated" said 'allocated for PAMT'
expect "kvm_intel loads with tdx=1" modprobe kvm_intel tdx=1
expect "it runs without TDX" parameter kvm_intel tdx N
expect "an ordinary VM runs" /set_sregs_test
finish
