#!/bin/sh
# slow: yes
# As posix.sh, with the daemon in the way of every read and write.
# timeout: 300
. "$SRCDIR/tests/functions.sh"

scale=${L2FS_SCALE:-8}
case ${L2FS_VARIANT:-} in asan | tsan) scale=20 ;; esac

mkdir "$WORK/l2"
l2_mount "$WORK/l2" "$WORK/mnt" -o l1=1G,nopassthrough
mkdir "$WORK/mnt/posix"
"$BUILDDIR/tests/iocheck" --l2fs --scale $scale "$WORK/mnt/posix" || fail "iocheck"
rmdir "$WORK/mnt/posix" || fail "something is left: $(ls -a "$WORK/mnt/posix")"
l2_umount "$WORK/mnt"
