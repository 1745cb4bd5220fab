#!/bin/sh
# As engines.sh, with the daemon in the way of every read and write.
# timeout: 300
# slow: yes
. "$SRCDIR/tests/functions.sh"

mkdir "$WORK/l2"
l2_mount "$WORK/l2" "$WORK/mnt" -o l1=1G,nopassthrough
"$BUILDDIR/tests/engines" --l2fs "$WORK/mnt" || fail "engines"
l2_umount "$WORK/mnt"
