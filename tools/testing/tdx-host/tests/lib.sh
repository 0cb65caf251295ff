# SPDX-License-Identifier: GPL-2.0-only
# Sourced by the boot tests, which run under busybox on the emulated host with
# the kernel's ktap_helpers.sh beside them.

. /ktap_helpers.sh

# expect WHAT COMMAND...: a test that passes if COMMAND does.
expect()
{
	local what=$1 output

	shift
	if output=$("$@" 2>&1); then
		ktap_test_pass "$what"
	else
		echo "$output" | sed 's/^/# /' | tail -n 20
		ktap_test_fail "$what"
	fi
}

# refuse WHAT COMMAND...: a test that passes if COMMAND fails.
refuse()
{
	local what=$1

	shift
	if "$@" >/dev/null 2>&1; then
		ktap_test_fail "$what"
	else
		ktap_test_pass "$what"
	fi
}

parameter()
{
	[ "$(cat "/sys/module/$1/parameters/$2")" = "$3" ]
}

said()
{
	dmesg | grep -q "$1"
}

# A KVM selftest that ran and was not skipped.
selftest()
{
	local program=$1

	shift
	"/$program" "$@"
}

cycle_cpus()
{
	local cpu n

	for n in 1 2 3; do
		for cpu in /sys/devices/system/cpu/cpu[1-9]*; do
			echo 0 >"$cpu/online" || return
			[ "$(cat "$cpu/online")" = 0 ] || return
		done
		for cpu in /sys/devices/system/cpu/cpu[1-9]*; do
			echo 1 >"$cpu/online" || return
			[ "$(cat "$cpu/online")" = 1 ] || return
		done
	done
}

# vm_on_every_cpu: an ordinary VM runs on each CPU.
vm_on_every_cpu()
{
	local cpu

	for cpu in $(seq 0 $(($(nproc) - 1))); do
		taskset "$(printf '%x' $((1 << cpu)))" /set_sregs_test || return
	done
}

reload()
{
	modprobe -r "$1" && modprobe "$@"
}

finish()
{
	ktap_set_plan $((KTAP_TESTNO - 1))
	[ "$KTAP_CNT_FAIL" = 0 ]
}
