#!/bin/sh
# slow: yes
# As posix.sh, with requests over io_uring where the kernel can be told to; where it cannot, the mount goes on without.
# timeout: 300
. "$SRCDIR/tests/functions.sh"

setting=/sys/module/fuse/parameters/enable_uring
was=$(cat $setting 2>/dev/null)
restore() {
    [ "$was" != N ] || echo N >$setting
    l2_cleanup
}
trap restore EXIT
case $was in
Y) how=over ;;
N) if echo Y 2>/dev/null >$setting; then how=over; else how=without; fi ;;
*) how=without ;;
esac

mkdir "$WORK/l2"
l2_mount "$WORK/l2" "$WORK/mnt" -o l1=1G,io_uring 2>said || fail "$(cat said)"
if [ $how = over ]; then
    cat "/proc/$(l2_pid "$WORK/mnt")"/task/*/comm | grep -q '^fuse-ring' || fail "no ring serves the mount: $(cat said)"
else
    grep -q 'io_uring: .*going on without' said || fail "it does not say that it goes on without io_uring"
fi
say "requests go $how io_uring"
mkdir "$WORK/mnt/posix"
"$BUILDDIR/tests/iocheck" --l2fs --scale 20 "$WORK/mnt/posix" || fail "iocheck"
rmdir "$WORK/mnt/posix" || fail "something is left: $(ls -a "$WORK/mnt/posix")"
l2_umount "$WORK/mnt"
