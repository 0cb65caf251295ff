# SPDX-License-Identifier: GPL-2.0-only
# Sourced by the commands that fetch from Debian's archive: a private apt with its own
# state and lists in $apt_dir, but with the machine's keyring and mirror. Files are kept
# in $sources.

# apt_private COMMAND ARG...: apt-get, apt-cache
apt_private()
{
	local cmd=$1

	shift
	"$cmd" -o Dir::State="$apt_dir" -o Dir::State::lists="$apt_dir/lists" \
		-o Dir::State::status="$apt_dir/status" -o Dir::Cache="$apt_dir/cache" \
		-o Dir::Etc::sourcelist="$apt_dir/debian.sources" \
		-o Dir::Etc::sourceparts=/dev/null -o Debug::NoLocking=true "$@"
}

# apt_prepare TYPES SUITE...: TYPES is "deb", "deb-src" or both
apt_prepare()
{
	local types=$1 mirror keyring said

	shift
	command -v apt-get >/dev/null ||
		die "this fetches from Debian's archive by apt-get, which is not here; --help tells what can be given instead"
	mirror=$(apt-get indextargets --format '$(REPO_URI) $(ORIGIN) $(SUITE)' \
			'Created-By: Packages' 2>/dev/null |
		awk '$2 == "Debian" && $3 !~ /security/ { print $1; exit }')
	[[ -n $mirror ]] || die "apt knows no mirror of Debian; run 'apt-get update' with a Debian source first"
	keyring=/usr/share/keyrings/debian-archive-keyring.gpg
	[[ -f $keyring ]] || die "no $keyring; install debian-archive-keyring"
	mkdir -p "$apt_dir/lists/partial" "$apt_dir/cache/archives/partial"
	: >"$apt_dir/status"
	cat >"$apt_dir/debian.sources.new" <<-EOF
	Types: $types
	URIs: $mirror
	Suites: $*
	Components: main
	Signed-By: $keyring
	EOF
	cmp -s "$apt_dir/debian.sources.new" "$apt_dir/debian.sources" || rm -f "$apt_dir/updated"
	mv "$apt_dir/debian.sources.new" "$apt_dir/debian.sources"
	# Indexes do not change under a release: a day is often enough.
	if [[ ! -f $apt_dir/updated || -n $(find "$apt_dir/updated" -mtime +0) ]]; then
		# apt says the reason somewhere in its output: print all of it.
		if ! said=$(apt_private apt-get -qq -o Acquire::Retries=3 update 2>&1); then
			echo "$said" >&2
			die "cannot read the package index: $(grep -m 1 . <<<"$said")"
		fi
		touch "$apt_dir/updated"
	fi
}

# download URI FILE HASH: get $sources/FILE; fails if the archive doesn't have it.
download()
{
	local uri=$1 file=$2 hash=$3 status=0

	if [[ ! -f $sources/$file ]]; then
		curl -sSfL --retry 2 -o "$sources/$file.part" "$uri" || status=$?
		if ((status)); then
			rm -f "$sources/$file.part"
			# 22: the server answers that it's gone.
			((status == 22)) || die "cannot fetch $file; is the network up?"
			return 1
		fi
		mv "$sources/$file.part" "$sources/$file"
	fi
	if ! echo "$hash  $sources/$file" | sha256sum --quiet -c - >&2; then
		rm -f "$sources/$file"
		die "$file: SHA256 differs from apt's index; the file has been removed, run again"
	fi
}
