# SPDX-License-Identifier: GPL-2.0-only
# Sourced after lib.sh by what runs tests: $tap/GROUP/NN-NAME.log and .status are
# the results, for scripts/ktap.

. "$top/scripts/queue.sh"

host=$top/tools/testing/tdx-host
tests=$host/tests
tree=$build/linux-6.18
selftests=$build/selftests
helpers=$tree/tools/testing/selftests/kselftest/ktap_helpers.sh
tap=$results/tap
count=0
parallel=1		# tests at a time
# The same one each time: a shard that fails does so because of what changed.
seed=${SEED:-1}

# run_test GROUP NAME COMMAND...: a failure is recorded, and the next test runs.
run_test()
{
	local group=$1 name=$2 file

	shift 2
	count=$((count + 1))
	printf -v file '%s/%s/%02d-%s' "$tap" "$group" "$count" "$name"
	mkdir -p "${file%/*}"
	: >"$file.log"
	echo unfinished >"$file.status"
	if ((parallel == 1)); then
		one_test "$group" "$name" "$file" "$@"
		return
	fi
	while (($(jobs -pr | wc -l) >= parallel)); do
		wait -n || true
	done
	one_test "$group" "$name" "$file" "$@" &
}

one_test()
{
	local group=$1 name=$2 file=$3 status=0 start line

	shift 3
	start=$(date +%s)
	printf -v line '[%6s] %-7s %-55s ' "$(clock $((start - TDX_T0)))" "$group" "$name"
	# Lines of tests that run at the same time must not mix.
	((parallel > 1)) || { printf '%s' "$line"; line=; }
	"$@" >"$file.log" 2>&1 </dev/null || status=$?
	echo "$status" >"$file.status"
	cp "$file.log" "$logs/$group-$name.log"
	case $status in
	0)	line+='ok   ' ;;
	4)	line+='skip ' ;;
	*)	line+='FAIL ' ;;
	esac
	printf '%s%6s\n' "$line" "$(clock $(($(date +%s) - start)))"
	if ((status != 0 && status != 4)); then
		{ grep -a -E '^(not ok|tdx-host:)' "$file.log" || tail -n 5 "$file.log"; } |
			head -n 12 | sed 's/^/         /'
		echo "         log: ${logs#"$PWD"/}/$group-$name.log"
	fi
}

# boot GROUP NAME OPTION... FILE... -- COMMAND...
boot()
{
	local group=$1 name=$2

	shift 2
	run_test "$group" "$name" "$host/run" --results "$results/$group-$name" "$@"
}

# host_script 'SCRIPT ARG...' OPTION... FILE...: a script of $tests on the host.
host_script()
{
	local command=$1

	shift
	# shellcheck disable=SC2086 # words
	"$host/run" --no-kvm "$@" "$tests/${command%% *}" "$tests/lib.sh" "$helpers" \
		"$build"/host-tests/{spin,kexec,fault,fill,module/{fragment,misdeeds}.ko} \
		"$selftests"/x86/{state_test,set_sregs_test} \
		"$selftests"/x86/tdx_teardown_{bench,test} "$selftests/pre_fault_memory_test" \
		-- sh /$command
}

# host_fail_nth OPTION... [-- ARG...]: each SEAMCALL in the life of a TD fails in turn.
# KeyIDs that it has cost don't keep the last CPU of a package from going offline once
# KVM is unloaded, nor when it is loaded again.
host_fail_nth()
{
	local options=()

	while [[ $# -gt 0 && $1 != -- ]]; do
		options+=("$1")
		shift
	done
	# A failure can cost a KeyID.
	"$host/run" --keyids 200 --expect-announced "${options[@]}" \
		"$selftests/x86/tdx_fail_nth_test" -- sh -c '/tdx_fail_nth_test "$@" &&
			modprobe -r kvm_intel && modprobe kvm_intel tdx=1 &&
			echo 0 >/sys/devices/system/cpu/cpu1/online' \
		sh "${@:2}"
}

# host_tdmrs OPTION...: a hole leaves 128 MiB in the first TDMR, a TD takes the second.
host_tdmrs()
{
	"$host/run" --mem 2048 --append memmap=896M#128M "$@" \
		"$selftests/x86/tdx_teardown_bench" -- \
		/tdx_teardown_bench --method terminate --mib 100
}

# host_init_fault 'LEAF...' OPTION...: tests/init-fault.sh.
host_init_fault()
{
	host_script "init-fault.sh $1" --mem 256 --append tdx_host=defer "${@:2}"
}

# host_tdmr_fault NTH[:RCX] OPTION...: the same for TDH.SYS.TDMR.INIT with two TDMRs. On
# one CPU it is done 256 times for the first one before the kworker does the second. The
# other TDMR is initialised: its PAMT is the TDX module's, and any access is reported.
host_tdmr_fault()
{
	host_script "init-fault.sh SYS.TDMR.INIT:$1" --mem 1280 --cpus 1 \
		--append 'tdx_host=defer memmap=896M#128M' "${@:2}"
}

# host_key_config STATUS NTH COUNT OPTION...: tests/key-config.sh.
host_key_config()
{
	host_script "key-config.sh $1 $2 $3" --mem 256 --append tdx_host=defer "${@:4}"
}

# host_off KERNEL OPTION...: tests/off.sh.
host_off()
{
	local kernel=$1

	shift
	host_script off.sh --kernel "$kernel" --mem 1024 \
		--append 'tdx_host=off mem=768M crashkernel=128M' "$@" \
		"$kernel/arch/x86/boot/bzImage"
}

# host_late_cpu KERNEL OPTION...: tests/late-cpu.sh.
host_late_cpu()
{
	local kernel=$1 known

	shift
	known=$(awk '$3 == "tdx_lp_initialized" { print $1 }' "$kernel/System.map")
	host_script "late-cpu.sh $known" --kernel "$kernel" --append nokaslr "$@"
}

# host_restart reset|kexec|panic loaded|unloaded KERNEL OPTION...: tests/restart.sh.
host_restart()
{
	local how=$1 state=$2 kernel=$3 expect=() boots=(--boots 2)

	shift 3
	# The BIOS of Bochs does not find its CD again.
	[[ $how != reset || " $* " == *' epyc '* ]] || boots=(--expect-reset)
	[[ $how != panic ]] ||
		expect=(--expect 'Kernel panic - not syncing: sysrq triggered crash=1')
	host_script "restart.sh $how $state" "${boots[@]}" "${expect[@]}" "$@" \
		--kernel "$kernel" --append crashkernel=256M "$kernel/arch/x86/boot/bzImage"
}

# script GROUP NAME and what host_script takes.
script()
{
	local group=$1 name=$2 command=$3

	shift 3
	run_test "$group" "$name" host_script "$command" --results "$results/$group-$name" "$@"
}

# restart GROUP NAME and what host_restart takes.
restart()
{
	local group=$1 name=$2 what=("${@:3:3}")

	shift 5
	run_test "$group" "$name" host_restart "${what[@]}" --results "$results/$group-$name" "$@"
}

# kernel_at NAME COMMIT: the kernel at a commit of the series, with its headers,
# in build/NAME/kernel.
kernel_at()
{
	step "$1-tree" "kernel tree of $1" '' tree_at "$build/$1/linux-6.18" "$2" &&
	step "$1-kernel" "kernel of $1" '' \
		"$top/scripts/kernel" "$build/$1/linux-6.18" "$build/$1/kernel"
}

# The unpatched kernel.
base_kernel()
{
	kernel_at base "$(base_commit "$tree")"
}
