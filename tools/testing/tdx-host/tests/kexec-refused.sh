#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
# The base refuses kexec on CPUs with the partial-write erratum.

. /lib.sh

ktap_print_header
for what in load panic; do
	refuse "kexec $what is refused" kexec $what /bzImage /init ''
done
expect "the erratum is why" said 'kexec: Not allowed on platform with tdx_pw_mce bug'
finish
