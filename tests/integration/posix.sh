#!/bin/sh
# Every numbered point of the list of operations that engines need (tests/lib/iocheck*.c), on a mount.
# timeout: 300
# fallback: yes
. "$SRCDIR/tests/functions.sh"

scale=${L2FS_SCALE:-4} # 1: all of it, 100,000 files in one directory among others
case ${L2FS_VARIANT:-} in asan | tsan) scale=20 ;; esac

mkdir "$WORK/l2"
l2_mount "$WORK/l2" "$WORK/mnt" -o l1=1G
mkdir "$WORK/mnt/posix"
"$BUILDDIR/tests/iocheck" --l2fs --scale $scale "$WORK/mnt/posix" || fail "iocheck"
rmdir "$WORK/mnt/posix" || fail "something is left: $(ls -a "$WORK/mnt/posix")"
l2_umount "$WORK/mnt"
