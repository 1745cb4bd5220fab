#!/bin/sh
# Files that cannot live in memory: told by name (-o disk=), by their directory (user.l2fs.place), or refused.
# timeout: 180
# fallback: yes
# slow: yes
. "$SRCDIR/tests/functions.sh"
need fallocate truncate setfattr getfattr cmp dd

mnt=$WORK/mnt
dd if=/dev/urandom of="$WORK/slot" bs=1M count=8 status=none
size() { stat -c %s -- "$1"; }
# put FILE MIB [DDARG...], same FILE MIB: an 8 MiB slot at that offset
put() { dd if="$WORK/slot" of="$1" bs=1M seek="$2" conv=notrunc status=none ${3:+"$3"}; }
same() {
    dd if="$1" bs=1M skip="$2" count=8 status=none ${3:+"$3"} | cmp - "$WORK/slot" ||
        fail "$1 at $2 MiB differs"
}

mkdir "$WORK/l2"
l2_mount "$WORK/l2" "$mnt" -o l1=1G,max_object=512M

say "8 GiB preallocated with 1 GiB of memory"
file=$mnt/dynamo-kvbm-disk-cache-a1B2c3
fallocate -l 8G "$file"
assert_eq "$(size "$file")" 8589934592
for at in 0 511 1024 4090 8184; do put "$file" $at oflag=direct; done
for at in 0 511 1024 4090 8184; do same "$file" $at iflag=direct; same "$file" $at; done
assert_eq "$(state "$file")" disk
rss=$(awk '/^VmRSS/ { print int($2 / 1024) }' "/proc/$(l2_pid "$mnt")/status")
say "the daemon has $rss MiB resident"

say "1 TiB sparse"
sparse=$mnt/hicache.0.bin
truncate -s 1T "$sparse"
assert_eq "$(size "$sparse")" 1099511627776
for at in 0 300000 1048568; do put "$sparse" $at; done
for at in 0 300000 1048568; do same "$sparse" $at; done
[ "$(stat -c %b "$sparse")" -lt 200000 ] || fail "the sparse file has $(stat -c %b "$sparse") blocks"
assert_eq "$(state "$sparse")" disk

say "a directory whose files live on disk"
mkdir "$mnt/slots"
setfattr -n user.l2fs.place -v disk "$mnt/slots"
assert_eq "$(attr "$mnt/slots" user.l2fs.place)" disk
truncate -s 100G "$mnt/slots/anything.bin"
put "$mnt/slots/anything.bin" 90000
same "$mnt/slots/anything.bin" 90000
assert_eq "$(state "$mnt/slots/anything.bin")" disk
assert_fails setfattr -n user.l2fs.place -v nowhere "$mnt/slots"

say "any other name is refused beyond max_object, and stays usable"
assert_fails truncate -s 2T "$mnt/ordinary.bin"
assert_match "$(cat "$WORK/.err")" "*File too large*"
assert_fails fallocate -l 513M "$mnt/ordinary.bin"
put "$mnt/ordinary.bin" 0
same "$mnt/ordinary.bin" 0
# What passthrough writes the daemon cannot refuse, but it may not lose or cut it either.
if dd if=/dev/zero of="$mnt/stream.bin" bs=1M count=600 status=none 2>"$WORK/.err"; then
    assert_eq "$(size "$mnt/stream.bin")" 629145600
    head -c 629145600 /dev/zero | cmp - "$mnt/stream.bin" || fail "600 MiB written differ"
else
    assert_match "$(cat "$WORK/.err")" "*File too large*"
fi
rm -f "$mnt/stream.bin"

say "all of it is there after a new mount"
l2_umount "$mnt"
l2_mount "$WORK/l2" "$mnt" -o l1=1G,max_object=512M
assert_eq "$(size "$file")" 8589934592
assert_eq "$(size "$sparse")" 1099511627776
for at in 0 511 1024 4090 8184; do same "$file" $at; done
for at in 0 300000 1048568; do same "$sparse" $at; done
same "$mnt/slots/anything.bin" 90000
assert_eq "$(state "$sparse")" disk
assert_eq "$(attr "$mnt/slots" user.l2fs.place)" disk
put "$file" 2000
same "$file" 2000
rm "$file" "$sparse" "$mnt/slots/anything.bin"
if [ -e "$WORK/l2/hicache.0.bin" ]; then fail "the slot file is still on the disk"; fi
l2_umount "$mnt"

say "names of one's own"
mkdir "$WORK/l2b"
l2_mount "$WORK/l2b" "$mnt" -o "l1=256M,disk=*.slots:pool-?"
truncate -s 50G "$mnt/a.slots"
truncate -s 50G "$mnt/pool-7"
put "$mnt/a.slots" 40000
same "$mnt/a.slots" 40000
assert_fails truncate -s 50G "$mnt/hicache.0.bin"
l2_umount "$mnt"

say "no space on the disk is said when it is reserved"
if [ "$(id -u)" -eq 0 ]; then
    mkdir "$WORK/small"
    mount -t tmpfs -o size=64M none "$WORK/small"
    l2_mount "$WORK/small" "$mnt" -o l1=256M
    assert_fails fallocate -l 1G "$mnt/kv_cache.data"
    assert_match "$(cat "$WORK/.err")" "*No space left on device*"
    fallocate -l 32M "$mnt/kv_cache.data"
    put "$mnt/kv_cache.data" 16
    same "$mnt/kv_cache.data" 16
    l2_umount "$mnt"
    umount "$WORK/small"
fi
