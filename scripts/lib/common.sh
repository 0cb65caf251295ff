# SPDX-License-Identifier: GPL-2.0-only
# Sourced by the commands of this repository: paths, progress, errors.

set -euo pipefail
shopt -s inherit_errexit

top=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
build=$(realpath -m "${BUILD:-$top/build}")
logs=$build/logs
results=$build/results
jobs=${JOBS:-$(nproc)}

export LC_ALL=C
export TDX_T0=${TDX_T0:-$(date +%s)}

# die SENTENCE: the only way to give up on bad input, with a status of its own.
died=64
die()
{
	echo "${0##*/}: $*" >&2
	exit "$died"
}

# arguments MIN MAX "$@": print the usage if that is asked for, or if their number is
# not from MIN to MAX.
arguments()
{
	local min=$1 max=$2

	shift 2
	case ${1:-} in
	-h|--help)	usage; exit 0 ;;
	esac
	(($# >= min && $# <= max)) || { usage >&2; exit "$died"; }
}

clock()
{
	printf '%d:%02d' $(($1 / 60)) $(($1 % 60))
}

# step NAME WHAT HINT COMMAND...: one progress line, the output in a log.
# On failure: the step, the end of its log, where the log is, what to try.
step()
{
	local name=$1 what=$2 hint=$3 start status=0
	local log=$logs/$name.log

	shift 3
	mkdir -p "$logs"
	start=$(date +%s)
	# A long name takes from the room of what it is.
	printf '[%6s] %-10s %-*s ' "$(clock $((start - TDX_T0)))" "$name" \
		$((${#name} > 10 ? 62 - ${#name} : 52)) "$what"
	"$@" >"$log" 2>&1 </dev/null || status=$?
	if ((status == 0)); then
		printf 'ok    %6s\n' "$(clock $(($(date +%s) - start)))"
		return 0
	fi
	printf 'FAILED %5s\n' "$(clock $(($(date +%s) - start)))"
	{
		if ((status == died)); then
			tail -n 1 "$log"
		else
			echo "The step '$name' ($what) failed with status $status. Its errors, and last lines:"
			{ grep -E -m 5 '(error|Error):' "$log"; tail -n 15 "$log"; } | sed 's/^/    /'
		fi
		echo "Log: ${log#"$PWD"/}"
		[[ -z $hint ]] || echo "Try: $hint"
	} >&2
	return "$status"
}

# need COMMAND...: die if one is missing.
need()
{
	local command missing=()

	for command; do
		command -v "$command" >/dev/null || missing+=("$command")
	done
	((${#missing[@]} == 0)) ||
		die "there is no ${missing[*]}; './run' and './check' install what they need on Debian"
}

# number NAME VALUE MIN MAX: a decimal number in a range, or die.
number()
{
	[[ $2 =~ ^[0-9]{1,9}$ ]] && ((10#$2 >= $3 && 10#$2 <= $4)) ||
		die "$1=$2: not a number from $3 to $4"
}

# need_space DIR GIB: die if the file system of DIR has less than GIB free.
need_space()
{
	local free

	mkdir -p "$1"
	free=$(df --output=avail -k "$1" | tail -n 1)
	((free >= $2 * 1048576)) ||
		die "${1#"$PWD"/} needs $2 GiB of disk space, $((free / 1048576)) GiB are free; BUILD=DIR puts it elsewhere"
}

# install_missing run|check|full: Debian packages, after saying which, or not at all if
# NO_INSTALL isn't empty.
install_missing()
{
	local missing

	missing=$("$top/scripts/lib/install-deps" "$1" --list 2>/dev/null)
	[[ -n $missing ]] || return 0
	if [[ -n ${NO_INSTALL:-} ]]; then
		echo "Not installed, because of --no-install: $missing"
		return 0
	fi
	echo "These Debian packages are installed now, --no-install goes on without: $missing"
	step install 'missing Debian packages' 'apt-get update' "$top/scripts/lib/install-deps" "$1"
}

# sudo only where it is needed.
as_root()
{
	if ((EUID == 0)); then
		"$@"
	elif command -v sudo >/dev/null; then
		sudo "$@"
	else
		die "'$*' needs root, and there is no sudo"
	fi
}

# check_sources: die early if LINUX= or BOCHS= cannot be right.
check_sources()
{
	local version

	[[ -z ${LINUX:-} || -e $LINUX ]] || die "LINUX=$LINUX: there is no such file or directory"
	[[ -z ${BOCHS:-} || -e $BOCHS ]] || die "BOCHS=$BOCHS: there is no such file or directory"
	if [[ -d ${LINUX:-} ]]; then
		version=$(linux_version "$LINUX")
		[[ $version == 6.18.* ]] ||
			die "LINUX=$LINUX is no Linux 6.18 source${version:+, it says $version}"
	fi
}

linux_version()
{
	sed -n -e 's/^VERSION = //p' -e 's/^PATCHLEVEL = //p' \
		-e 's/^SUBLEVEL = //p' "$1/Makefile" 2>/dev/null | paste -sd. || true
}
