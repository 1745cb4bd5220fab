#!/bin/sh
# Directory quotas through the mount: setfattr, df, EDQUOT for files and renames, a remount, who may set them.
# fallback: yes
. "$SRCDIR/tests/functions.sh"
need getfattr setfattr df python3

L2=$WORK/l2
MNT=$WORK/mnt
mkdir -p "$L2"
l2_mount "$L2" "$MNT" -o l1=64M

quota() { setfattr -n user.l2fs.quota -v "$2" -- "$MNT/$1"; }
# df_is DIR COLUMN BYTES
df_is() { assert_eq "$(df -B1 --output="$2" -- "$MNT/$1" | tail -n 1 | tr -d ' ')" "$3" "df $1: $2"; }
full() { assert_match "$(cat "$WORK/.err")" "*[Qq]uota*" "$1"; }
tenant() { python3 -c 'import json, sys
for t in json.load(open(sys.argv[1]))["tenants"]:
    if t["path"] == sys.argv[2]: print(t["quota"], t["used"], t["files"])' "$MNT/.l2fs/status" "$1"; }

say "set, shown, bounded"
mkdir "$MNT/alice" "$MNT/alice/sub" "$MNT/bob"
quota alice 1M
assert_eq "$(attr "$MNT/alice" user.l2fs.quota)" 1M
getfattr -d -- "$MNT/alice" | grep -q '^user.l2fs.quota="1M"' || fail "not listed"
assert_eq "$(attr "$MNT/bob" user.l2fs.quota)" none
head -c 400k /dev/urandom >"$WORK/data"
cp "$WORK/data" "$MNT/alice/a"
cp "$WORK/data" "$MNT/alice/sub/b"
for dir in alice alice/sub alice/sub/b; do
    df_is $dir size 1048576
    df_is $dir avail 229376
    df_is $dir used 819200
done
assert_eq "$(tenant alice)" "1048576 819200 2"
assert_ne "$(df -B1 --output=size -- "$MNT/bob" | tail -n 1 | tr -d ' ')" 1048576
assert_fails cp "$WORK/data" "$MNT/alice/c" # 400k are expected of it
full "a third file"
[ ! -e "$MNT/alice/c" ] || fail "a refused file is there"
cp "$WORK/data" "$MNT/bob/c"
assert_fails truncate -s 2M "$MNT/alice/a"
full truncate
assert_fails fallocate -l 2M "$MNT/alice/a"
full fallocate
assert_same "$WORK/data" "$MNT/alice/a"

say "renames and links"
assert_fails python3 -c 'import os, sys; os.rename(sys.argv[1], sys.argv[2])' "$MNT/bob/c" "$MNT/alice/c"
full rename
mv "$MNT/alice/a" "$MNT/alice/sub/a"
ln "$MNT/alice/sub/a" "$MNT/alice/again"
assert_eq "$(tenant alice)" "1048576 819200 2"
rm "$MNT/alice/again" "$MNT/alice/sub/b"
mv "$MNT/bob/c" "$MNT/alice/c"
assert_eq "$(tenant alice)" "1048576 819200 2"

say "nested"
quota alice/sub 500k
assert_eq "$(tenant alice/sub)" "512000 409600 1"
assert_eq "$(tenant alice)" "1048576 819200 2"
df_is alice/sub size 512000
df_is alice/sub avail 102400

say "it survives a remount"
l2_umount "$MNT"
l2_mount "$L2" "$MNT" -o l1=64M
assert_eq "$(attr "$MNT/alice" user.l2fs.quota)" 1M
assert_eq "$(tenant alice)" "1048576 819200 2"
assert_eq "$(tenant alice/sub)" "512000 409600 1"
cp "$WORK/data" "$MNT/alice/sub/more" # what files here need is not known yet
assert_fails cp "$WORK/data" "$MNT/alice/sub/third"
full "after the remount"
setfattr -x user.l2fs.quota "$MNT/alice/sub"
quota alice none
assert_eq "$(tenant alice)" ""
cp "$WORK/data" "$MNT/alice/sub/third"

say "a cache forgets the coldest"
C2=$WORK/cache
MN2=$WORK/mnt2
mkdir -p "$C2"
l2_mount none "$MN2" -o l1=64M -o 'l2={"type":"fs","base_path":"'"$C2"'","max_capacity_gb":1}'
mkdir "$MN2/alice" "$MN2/bob"
setfattr -n user.l2fs.quota -v 4M "$MN2/alice"
head -c 1M /dev/urandom >"$WORK/one"
cp "$WORK/one" "$MN2/bob/old"
for i in 01 02 03 04 05 06 07 08 09 10 11 12; do
    cp "$WORK/one" "$MN2/alice/$i" || fail "alice/$i is refused"
    sync "$MN2/alice/$i"
done
[ "$(find "$MN2/alice" -type f | wc -l)" -le 4 ] || fail "alice has more than her quota"
[ "$(du -sb --apparent-size "$C2/alice" | cut -f1)" -le 4300000 ] || fail "and in the tier too"
[ ! -e "$MN2/alice/01" ] || fail "the oldest is still there"
[ ! -e "$C2/alice/01" ] || fail "the oldest is still in the tier"
assert_same "$WORK/one" "$MN2/alice/12"
assert_same "$WORK/one" "$MN2/bob/old"
l2_umount "$MN2"

say "who may set it, and on what"
assert_fails quota . 1G
assert_fails quota alice/c 1G
assert_fails quota alice lots
if [ "$(id -u)" -eq 0 ] && command -v setpriv >/dev/null; then
    chmod 777 "$MNT/alice"
    assert_fails setpriv --reuid=65534 --clear-groups setfattr -n user.l2fs.quota -v 1G "$MNT/alice"
    assert_match "$(cat "$WORK/.err")" "*not permitted*"
fi
l2_umount "$MNT"
