# SPDX-License-Identifier: GPL-2.0-only
# Sourced after common.sh: the two patch queues and the format that they share.
#
# A queue is a base (a release tarball), a directory of patches with a series
# file, and an overlay of whole new files.  A line of the series file is a
# patch and the overlay files that are complete with it:
#
#	[TOPIC/]NNNN-NAME.patch [FILE...]
#
# A patch is a mail: author, date, subject, message, then the edits to files
# that exist at that point.

# queue linux|bochs: sets the variables below.
queue()
{
	case $1 in
	linux)
		package=linux
		releases='6.18.15 6.18.12 6.18.9 6.18.5'
		override=${LINUX:-}
		patches=$top/patches/linux-6.18
		overlay=$top
		tree=$build/linux-6.18
		gib=4
		;;
	bochs)
		package=bochs
		releases='3.0+dfsg'
		override=${BOCHS:-}
		patches=$top/tools/testing/tdx-host/bochs/patches
		overlay=$top/tools/testing/tdx-host/bochs
		tree=$build/bochs-3.0
		gib=1
		;;
	*)
		die "no patch queue '$1'; there are linux and bochs"
		;;
	esac
}

# Lines of the series file, without comments.
series_lines()
{
	sed -e 's/[[:space:]]*#.*//' -e '/^[[:space:]]*$/d' "$patches/series"
}

# What the tree is made of: changes whenever the tree would.
queue_id()
{
	local name files

	{
		cat "$patches/series"
		series_lines | while read -r name files; do
			cat "$patches/$name"
			for name in $files; do
				stat -c '%a' "$overlay/$name"
				cat "$overlay/$name"
			done
		done
		if [[ -d $override ]]; then
			echo "tree $(realpath "$override")"
		elif [[ -n $override ]]; then
			sha256sum <"$override"
		fi
	} | sha256sum | cut -c1-40
}

# apply_line TREE PATCH [FILE...]: commit one series line on top of $tip in the
# index of the git tree TREE, and make that $tip. Offsets are allowed, fuzz is
# not: git apply knows none.
apply_line()
{
	local dir=$1 patch=$2 mail file mode
	local -A info

	shift 2
	mail=$(mktemp -d)
	git mailinfo "$mail/msg" "$mail/diff" <"$patches/$patch" >"$mail/info" ||
		die "$patch is not a mail that git understands"
	while IFS=': ' read -r key value; do
		[[ -z $key ]] || info[$key]=$value
	done <"$mail/info"
	if grep -q '^diff --git ' "$mail/diff" &&
	   ! git -C "$dir" apply --cached --whitespace=nowarn "$mail/diff"; then
		rm -rf "$mail"
		die "$patch does not apply to $(git -C "$dir" log -1 --format=%s "$tip")"
	fi
	for file in "$@"; do
		[[ -f $overlay/$file ]] || die "series names $file, which is not there"
		[[ -x $overlay/$file ]] && mode=100755 || mode=100644
		git -C "$dir" update-index --add --cacheinfo \
			"$mode,$(git -C "$dir" hash-object -w "$overlay/$file"),$file"
	done
	{
		echo "${info[Subject]}"
		echo
		cat "$mail/msg"
	} >"$mail/commit"
	tip=$(
		GIT_AUTHOR_NAME=${info[Author]} GIT_AUTHOR_EMAIL=${info[Email]} \
		GIT_AUTHOR_DATE=${info[Date]} GIT_COMMITTER_NAME=${info[Author]} \
		GIT_COMMITTER_EMAIL=${info[Email]} GIT_COMMITTER_DATE=${info[Date]} \
			git -C "$dir" commit-tree "$(git -C "$dir" write-tree)" \
				-p "$tip" -F "$mail/commit"
	)
	rm -rf "$mail"
}

# Apply the whole queue to the base of the git tree DIR, and check the result out.
# Files that don't change keep their mtime.
apply_queue()
{
	local patch files tip index

	tip=$(base_commit "$1")
	index=$(mktemp -u)
	export GIT_INDEX_FILE=$index
	git -C "$1" read-tree "$tip"
	while read -r patch files; do
		echo "applying $patch"
		# shellcheck disable=SC2086 # a list
		apply_line "$1" "$patch" $files
	done < <(series_lines)
	unset GIT_INDEX_FILE
	rm -f "$index"
	git -C "$1" reset -q --hard "$tip"
}

# base_commit TREE: the commit below the series.
base_commit()
{
	git -C "$1" rev-list --max-parents=0 HEAD
}

# The kernel series, oldest first.
commits()
{
	git -C "$build/linux-6.18" rev-list --reverse \
		"$(base_commit "$build/linux-6.18")..HEAD"
}

# What names a patch in its topic, by its subject: as long as git makes it.
slug_of_commit()
{
	git -C "$tree" log -1 --format=%f "$1" | cut -c1-52 | sed 's/[.-]*$//'
}

slug_of_name()
{
	sed -E 's,^(.*/)?[0-9]{4}-(.*)\.patch$,\2,' <<<"$1"
}

# name_of COMMIT: the name of the patch that it is.
name_of()
{
	git -C "$build/linux-6.18" log -1 --format=%f "$1"
}

# topic_commits TOPIC...: the commits at which each topic is alone on the base, with
# what it needs.
topic_commits()
{
	local topic said

	said=$("$top/scripts/topics" --branches) || die "$(grep -A 9 '^not ok' <<<"$said")"
	for topic; do
		[[ $topic == tip ]] && topic=HEAD || topic=refs/heads/topic/$topic
		git -C "$build/linux-6.18" rev-parse --verify -q "$topic" ||
			die "no topic '${topic##*/}'; scripts/topics lists them"
	done
}

# tree_at DIR COMMIT: DIR is a tree of its own at a commit of the kernel tree.
tree_at()
{
	[[ ! -d $1/.git ]] || ! git -C "$1" checkout -q --detach "$2" || return 0
	rm -rf "$1"
	git clone -q --shared --no-checkout "$build/linux-6.18" "$1" &&
		git -C "$1" checkout -q --detach "$2"
}

# commit_base DIR NAME: make DIR a git tree with one commit, the same bytes
# and the same commit on every machine.
commit_base()
{
	git -C "$1" init -q -b base
	git -C "$1" config core.compression 0
	git -C "$1" config gc.auto 0
	git -C "$1" config core.fileMode true
	git -C "$1" add -A -f .
	GIT_AUTHOR_NAME=base GIT_AUTHOR_EMAIL=base@localhost \
	GIT_COMMITTER_NAME=base GIT_COMMITTER_EMAIL=base@localhost \
	GIT_AUTHOR_DATE='2000-01-01T00:00:00Z' \
	GIT_COMMITTER_DATE='2000-01-01T00:00:00Z' \
		git -C "$1" commit -q --no-verify -m "$2"
}
