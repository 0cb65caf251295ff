# SPDX-License-Identifier: GPL-2.0-only
# Sourced by the checks of the series: results in TAP, and a cache of those that
# passed.

failed=0
number=0

report()
{
	number=$((number + 1))
	if (($1)); then
		failed=1
		echo "not ok $number $2"
	else
		echo "ok $number $2"
	fi
}

# attempt WHAT COMMAND...: one result.
attempt()
{
	local title=$1 status=0

	shift
	"$@" || status=$?
	report "$status" "$title"
}

# cached WHAT KEY COMMAND...: not again while KEY stays the same, unless FRESH is set.
cached()
{
	local title=$1 stamp status=0

	stamp=$results/cache/$(echo "$2" | sha256sum | cut -c1-40)
	shift 2
	if [[ -n ${FRESH:-} || ! -f $stamp ]]; then
		rm -f "$stamp"
		"$@" || status=$?
		((status)) || { mkdir -p "${stamp%/*}"; touch "$stamp"; }
	fi
	report "$status" "$title"
}
