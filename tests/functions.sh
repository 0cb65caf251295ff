# SPDX-License-Identifier: GPL-2.0-only
# Sourced after common.sh by what runs tests: what the commands in meson.build consist of.

. "$top/scripts/lib/queue.sh"

host=$top/tools/testing/tdx-host
tests=$host/tests
tree=$build/linux-6.18
selftests=$build/selftests
helpers=$tree/tools/testing/selftests/kselftest/ktap_helpers.sh
# The same one each time: a test that fails does so because of what changed.
seed=${SEED:-1}
out=$results/${TEST:-host}	# of the test that runs
limit=$((${LIMIT:-900} * ${SLOWER:-1}))	# seconds that a boot may take
vmm=${QEMU:-$build/qemu}	# from scripts/fetch-qemu

# boot OPTION... FILE... -- COMMAND...: tools/testing/tdx-host/run, for this test.
boot()
{
	"$host/run" --results "$out" --timeout "$limit" --hang $((180 * ${SLOWER:-1})) "$@"
}

# host_script 'SCRIPT ARG...' OPTION... FILE...: a script of $tests on the host.
host_script()
{
	local command=$1

	shift
	# shellcheck disable=SC2086 # words
	boot --no-kvm "$@" "$tests/${command%% *}" "$tests/lib.sh" "$helpers" \
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
	boot --keyids 200 --expect-announced "${options[@]}" \
		"$selftests/x86/tdx_fail_nth_test" -- sh -c '/tdx_fail_nth_test "$@" &&
			modprobe -r kvm_intel && modprobe kvm_intel tdx=1 &&
			echo 0 >/sys/devices/system/cpu/cpu1/online' \
		sh "${@:2}"
}

# host_tdmrs OPTION...: a hole leaves 128 MiB in the first TDMR, a TD takes the second.
host_tdmrs()
{
	boot --mem 2048 --append memmap=896M#128M "$@" \
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
# other TDMR is initialized: its PAMT is the TDX module's, and any access is reported.
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

# script and what host_script takes.
script()
{
	host_script "$@"
}

# report TEST OPTION...: tests/report.
report()
{
	"$tests/report" "$1" "$build/host-tests" "$build/kernel" \
		--results "$out" --timeout "$limit" "${@:2}"
}

# kernel_at NAME COMMIT: the kernel at a commit of the series, with its headers,
# in build/NAME/kernel.
kernel_at()
{
	step "$1-tree" "kernel tree of $1" '' tree_at "$build/$1/linux-6.18" "$2" &&
	step "$1-kernel" "kernel of $1" '' \
		"$top/scripts/lib/kernel" "$build/$1/linux-6.18" "$build/$1/kernel"
}

# The unpatched kernel.
base_kernel()
{
	kernel_at base "$(base_commit "$tree")"
}

# topic_kernel TOPIC: the kernel of a topic and what it needs, in build/topic/kernel.
topic_kernel()
{
	kernel_at topic "$(topic_commits "$1")"
}

# model TARGET...: of the TDX module model, natively.
model()
{
	mkdir -p "$build/module-test"
	make -s -C "$host/module" O="$build/module-test" "$@"
}

# The example in README.md, with the headers of the patched kernel.
example()
{
	local source=$results/example.c

	{
		printf '#include <%s>\n' errno.h stdio.h stdlib.h string.h sys/ioctl.h linux/kvm.h
		sed -n '/^```c$/,/^```$/{/^```/!p}' "$top/README.md"
		echo 'int main(void) { release_hkid(-1, NULL); return 0; }'
	} >"$source"
	gcc -Wall -Werror -I"$build/kernel/usr/include" -o "${source%.c}" "$source"
}

# Two boots with the same seed.
same_twice()
{
	local n number=0 failed=0 log

	for n in 1 2; do
		boot --results "$out/$n" --seed 7 "$selftests/x86/tdx_teardown_bench" -- \
			/tdx_teardown_bench --method terminate --mib 4 || return
		# A line tells an address of the emulator's own memory.
		sed -i '/allocated memory at/d' "$out/$n/bochs.log"
	done
	# The emulator's log starts each line with the tick.
	for log in console output bochs; do
		number=$((number + 1))
		if cmp "$out"/{1,2}/$log.log; then
			echo "ok $number two boots give the same $log log"
		else
			echo "not ok $number two boots give the same $log log"
			failed=1
		fi
	done
	return $failed
}

# sweep PLATFORM VCPUS: TDs of several sizes are torn down in four ways, on the same CPUs.
sweep()
{
	local mibs=${MIBS:-64 128 256}

	# shellcheck disable=SC2016 # expands on the host
	boot --platform "$1" --cpus 4 --time 100 --append init_on_free=0 \
		"$selftests/x86/tdx_teardown_bench" -- sh -c 'for mib in '"$mibs"'; do
			for method in close terminate punch killed; do
				/tdx_teardown_bench --method $method --vcpus $1 --mib $mib || exit
			done
		done' sh "$2"
}

# compare selftests|unit-tests PLATFORM DIR...: by the kernels of the base and of the series.
compare()
{
	"$top/scripts/compare-$1" "$2" "$build/base/kernel" "$build/kernel" "${@:3}"
}

# Some of upstream's own selftests, which take little time.
some_of_upstream()
{
	local programs=(cr4_cpuid_sync_test feature_msrs_test set_boot_cpu_id svm_vmcall_test)

	"$top/scripts/lib/selftests" "$build/base/linux-6.18" "$build/base/kernel" \
		"$build/base/sample" "${programs[@]/#/x86/}" &&
		JOBS=1 compare selftests epyc "$build/base/sample" "${programs[@]}"
}

# sanitize kcsan|kasan TEST ARG...: a selftest on the kernel with this sanitizer.
sanitize()
{
	local before=''

	# mmu_invalidate_retry_gfn_unsafe() says that it reads what may change.
	[[ $1 != kcsan ]] || before='echo "!kvm_mmu_faultin_pfn" >/sys/kernel/debug/kcsan && '
	boot --kernel "$build/$1-kernel" --mips 50 --hang 600 \
		"$selftests/x86/$2" -- sh -c "$before/${*:2}"
}

# qemu OPTION... -- CASE...: QEMU as the VMM.
qemu()
{
	local options=()

	while [[ $1 != -- ]]; do
		options+=("$1")
		shift
	done
	shift
	# It looks at much memory, clearing what is freed takes most of the time.
	boot --append init_on_free=0 "${options[@]}" \
		"$vmm" "$build"/host-tests/{qemu,terminate_vm.so} -- \
		/qemu "$@" -- /usr/bin/qemu-system-x86_64 -accel kvm -nodefaults -display none \
		-machine q35,confidential-guest-support=tdx0,kernel-irqchip=split \
		-object tdx-guest,id=tdx0 -cpu host -m 256M -smp 2 -bios /OVMF.inteltdx.ms.fd
}
