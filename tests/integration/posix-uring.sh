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
l2_mount "$WORK/l2" "$WORK/mnt" -o l1=1G,io_uring,writer_wait=10s 2>said || fail "$(cat said)"
if [ $how = over ]; then
    cat "/proc/$(l2_pid "$WORK/mnt")"/task/*/comm | grep -q '^fuse-ring' || fail "no ring serves the mount: $(cat said)"
else
    grep -q 'io_uring: .*going on without' said || fail "it does not say that it goes on without io_uring"
fi
say "requests go $how io_uring"
mkdir "$WORK/mnt/posix"
"$BUILDDIR/tests/iocheck" --l2fs --scale 20 "$WORK/mnt/posix" || fail "iocheck"
rmdir "$WORK/mnt/posix" || fail "something is left: $(ls -a "$WORK/mnt/posix")"

say "opens that wait for a writer leave it room to close"
# openat is 257 on x86-64, 56 on arm64
opening() { case $(cat "/proc/$1/syscall") in "257 "* | "56 "*) return 0 ;; esac; return 1; }
readers=
exec 3>"$WORK/mnt/half"
printf half >&3
for i in $(seq 40); do
    cat "$WORK/mnt/half" >"$WORK/read.$i" 3>&- &
    readers="$readers $!"
done
for reader in $readers; do wait_for 10 opening "$reader"; done
exec 3>&-
for reader in $readers; do wait "$reader" || fail "a reader has missed the key, whose writer has closed it"; done
assert_eq "$(cat "$WORK"/read.* | wc -c)" 160
l2_umount "$WORK/mnt"
