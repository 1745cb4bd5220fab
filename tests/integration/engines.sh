#!/bin/sh
# The file I/O of every system of the survey, replayed on a mount (tests/lib/engines*.c).
# timeout: 300
# fallback: yes
. "$SRCDIR/tests/functions.sh"

mkdir "$WORK/l2"
l2_mount "$WORK/l2" "$WORK/mnt" -o l1=1G
"$BUILDDIR/tests/engines" --l2fs "$WORK/mnt" || fail "engines"
l2_umount "$WORK/mnt"
