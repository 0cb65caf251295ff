# SPDX-License-Identifier: GPL-2.0-only
# reboot.sh: reboot by force while another CPU takes the memory of a TD back.  Its
# SEAMCALLs fail as soon as VMX is disabled, which the kernel must not warn of.
# To be booted with --expect-reset.

. /lib.sh

modprobe $kvm $tdx || exit
mkfifo /tmp/hold
taskset 2 tdx_teardown_bench --hold --method close --vcpus 1 --mib 256 </tmp/hold >/tmp/td 2>&1 &
td=$!
exec 3>/tmp/hold
wait_for holding /tmp/td $td || exit
exec 3>&-
wait_for 'let go' /tmp/td $td || exit
taskset 1 reboot -f
