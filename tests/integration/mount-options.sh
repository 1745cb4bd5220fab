#!/bin/sh
# mount.l2fs from outside: exit codes, what it refuses and why, --check, -V, -h, locks, dead mounts, mount(8).
. "$SRCDIR/tests/functions.sh"
M=$BUILDDIR/mount.l2fs
mkdir l2 l2b mnt mnt2
L2=$WORK/l2 MNT=$WORK/mnt

# expect CODE PATTERN ARG...: mount.l2fs ARG... ends with CODE and says PATTERN on stderr.
expect() {
    code=$1 pattern=$2
    shift 2
    rc=0
    "$M" "$@" >"$WORK/.out" 2>"$WORK/.err" || rc=$?
    assert_eq "$rc" "$code" "exit code of mount.l2fs $*, which said $(cat "$WORK/.err")"
    assert_match "$(cat "$WORK/.err")" "$pattern" "mount.l2fs $*"
}

say "texts"
expect 0 '' -V
assert_match "$(cat .out)" 'mount.l2fs [0-9]*, libfuse 3.*'
expect 0 '' -h
assert_match "$(cat .out)" 'usage: mount.l2fs SPEC DIR*'
expect 0 '' --help adapters
assert_match "$(cat .out)" '* fs *'
expect 0 '' --help fs
assert_match "$(cat .out)" '*base_path=TEXT*'
expect 1 '*no such adapter; did you mean mock?' --help mok

say "wrong use is 1"
expect 1 '*SPEC, what to mount, is missing*'
expect 1 '*mount point DIR is missing*' "$L2"
expect 1 '*too many arguments*' "$L2" "$MNT" more
expect 1 '*unknown option -x*' -x
expect 1 '*unknown option "l11"; did you mean "l1"?' "$L2" "$MNT" -o l11=8G
expect 1 '*option l1: "8X" is not allowed, expected a size*' "$L2" "$MNT" -o l1=8X
expect 1 '*l2 #1 (fs): option base_path is required*' "$L2" "$MNT" -o 'l2={"type":"fs"}'
expect 1 '*option log: cannot write /nonexistent/log: No such file*' "$L2" "$MNT" -o log=/nonexistent/log
echo '{"l1": "64M", "l2": [' >bad.json
expect 1 '*bad.json: line 2 column *' bad.json "$MNT"
printf '{"l1": "64M",\n "l2": [{"type": "nul"}]}' >bad.json
expect 1 '*bad.json: line 2 column 9: l2 #0 (nul): type: "nul" is not an adapter, known:*null*' bad.json "$MNT"

say "what cannot be mounted is 32"
expect 32 '*No such file or directory; make the directory first*' "$WORK/nowhere" "$MNT"
expect 32 "*mount point $WORK/nowhere does not exist*" "$L2" "$WORK/nowhere"
touch file
expect 32 '*is not a directory*' "$L2" "$WORK/file"
expect 1 '*lie within each other*' "$L2" "$L2"
if [ "$(id -u)" -ne 0 ]; then
    chmod 555 l2b
    expect 32 '*cannot be written: Permission denied*' "$WORK/l2b" "$MNT"
    chmod 755 l2b
fi

say "mount(8)'s own options are taken, unknown ones with -s"
l2_mount "$L2" "$MNT" -s -n -v -o rw,_netdev,nofail,noauto,x-systemd.automount,X-m,comment=c,nodev \
    -o frobnicate=1,l1=64M >.out 2>.err
assert_match "$(cat .out)" "*mounted $L2 on $MNT, instance *tiers: fs $L2; files: *"
assert_match "$(cat .err)" '*unknown option "frobnicate"*(ignored because of -s)*'
assert_match "$(grep " $MNT " /proc/self/mounts)" "$L2 $MNT fuse.l2fs rw,*nodev*"

say "a second daemon is refused"
daemon=$(l2_pid "$MNT")
expect 32 "*$MNT is already an l2fs mount of $L2*" "$WORK/l2b" "$MNT"
expect 32 "*process $daemon already serves $L2 on $MNT*" "$L2" "$WORK/mnt2"
expect 32 "*process $daemon already serves $L2 on $MNT*" "$L2" "$WORK/mnt2" -o name=other
expect 0 '' --check "$L2" "$MNT"

say "an unmount and a mount right after it"
echo one >"$MNT/key"
if [ "$(id -u)" -eq 0 ]; then umount "$MNT"; else fusermount3 -u "$MNT"; fi
l2_mount "$L2" "$MNT" -o l1=64M
assert_eq "$(cat "$MNT/key")" one

say "the dead mount of a killed daemon is replaced"
daemon=$(l2_pid "$MNT")
kill -9 "$daemon"
wait_for 10 l2_is_gone "$daemon"
assert_fails ls "$MNT"
l2_mount "$L2" "$MNT" -o l1=64M 2>.err
assert_match "$(cat .err)" "*detached the dead l2fs mount that a killed daemon left on $MNT*"
assert_eq "$(cat "$MNT/key")" one

say "SIGTERM unmounts"
daemon=$(l2_pid "$MNT")
kill -TERM "$daemon"
wait_for 30 l2_is_gone "$daemon"
not_mounted "$MNT" || fail "still mounted after SIGTERM"

say "in the foreground, with a log"
"$M" "$L2" "$MNT" -f -o "l1=64M,log=$WORK/log" &
daemon=$!
echo "$MNT $daemon" >>"$l2_mounts"
wait_for 30 is_mounted "$MNT"
wait_for 10 grep -q "mounted $L2 on $MNT" log
l2_umount "$MNT"
wait "$daemon" || fail "the foreground daemon ended with $?"
grep -q "$MNT is unmounted" log || fail "the log does not tell of the end: $(cat log)"

say "JSON file, repeated l2, read-only"
printf '{"l1": "64M", "l2": [{"type": "null"}]}' >good.json
l2_mount "$WORK/good.json" "$MNT" -o 'ro,l2={"type":"mock","max_size_gb":1,"mock_bandwidth_gb":10}'
for tier in null mock.1; do [ -d "$MNT/.l2fs/adapters/$tier" ] || fail "no tier $tier"; done
assert_match "$(grep " $MNT " /proc/self/mounts)" '* ro,*'
assert_fails touch "$MNT/x"
l2_umount "$MNT"

say "--check"
"$M" --check mock: "$MNT" -o l1=64M >.out || fail "--check failed: $(cat .out)"
for word in kernel /dev/fuse libfuse passthrough io_uring CAP_SYS_ADMIN 'memlock limit' 'open files' \
    'huge pages' CUDA UCX memory 'SPEC and options'; do
    grep -q -E "^(ok|warn) +$word " .out || fail "--check says nothing of $word: $(cat .out)"
done
expect 1 '' --check moc: "$MNT"
grep -q '^FAIL *SPEC and options' .out || fail "--check does not fail on a bad SPEC"

[ "$(id -u)" -eq 0 ] || exit 0
say "mount(8) and fstab"
cat >in-namespace <<'SCRIPT'
set -eu
m=$1 l2=$2 mnt=$3
mount --make-rprivate /
mkdir "$PWD/sbin"
mount -t tmpfs none "$PWD/sbin"
mkdir "$PWD/sbin/up" "$PWD/sbin/work"
mount -t overlay none -o "lowerdir=/sbin,upperdir=$PWD/sbin/up,workdir=$PWD/sbin/work" "$(readlink -f /sbin)" || exit 77
cp "$m" /sbin/mount.l2fs
ln -s mount.l2fs /sbin/mount.fuse.l2fs
mount -t l2fs "$l2" "$mnt" -o l1=64M,nofail,_netdev,noatime
grep -q " $mnt fuse.l2fs .*noatime" /proc/self/mounts
[ "$(cat "$mnt/key")" = one ]
umount "$mnt"
mount -t fuse.l2fs "$l2" "$mnt" -o l1=64M
umount "$mnt"
printf 'none %s l2fs l1=64M,l2={"type":"fs","base_path":"%s"},x-systemd.automount 0 0\n' "$mnt" "$l2" >fstab
mount -T fstab "$mnt"
[ "$(cat "$mnt/key")" = one ]
umount "$mnt"
rc=0
mount -t l2fs "$l2" "$mnt" -o l11=1 2>err || rc=$?
[ "$rc" -eq 1 ] && grep -q 'did you mean "l1"' err
SCRIPT
rc=0
unshare -m sh in-namespace "$M" "$L2" "$MNT" || rc=$?
[ "$rc" -eq 77 ] && say "mount(8) not tried: no overlay file system here"
[ "$rc" -eq 77 ] || assert_eq "$rc" 0 "mount(8) in a namespace of its own"
no_daemon() { [ -z "$(l2_daemons "$MNT")" ]; }
wait_for 30 no_daemon
