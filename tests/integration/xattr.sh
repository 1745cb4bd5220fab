#!/bin/sh
# Extended attributes through the mount: listing, setting, engine ones over a remount, pin, evict, expire.
# fallback: yes
. "$SRCDIR/tests/functions.sh"
need getfattr setfattr

L2=$WORK/l2
MNT=$WORK/mnt
mkdir -p "$L2"

set_attr() { setfattr -n "$2" -v "$3" -- "$1"; }
order() { setfattr -n "user.l2fs.$2" -v 1 -- "$1" 2>/dev/null; }
attr_is() { [ "$(attr "$1" "user.l2fs.$2")" = "$3" ]; }
is_gone() { ! [ -e "$1" ]; }
# refused FILE NAME VALUE MESSAGE: setfattr fails and says so
refused() {
    assert_fails setfattr -n "$2" -v "$3" -- "$1"
    assert_match "$(cat "$WORK/.err")" "*$4*" "$2=$3"
}

l2_mount "$L2" "$MNT" -o l1=64M
mkdir "$MNT/dir"
head -c 300000 /dev/urandom >"$WORK/data"
cp "$WORK/data" "$MNT/dir/key"
wait_for 10 attr_is "$MNT/dir/key" store fs=stored

say "listing"
getfattr -d -- "$MNT/dir/key" >"$WORK/list" 2>/dev/null
for name in state lock tiers store crc32c pin; do
    grep -q "^user.l2fs.$name=" "$WORK/list" || fail "getfattr -d does not list $name"
done
grep -q '^user.l2fs.evict' "$WORK/list" && fail "a write-only attribute is listed"
assert_eq "$(attr "$MNT/dir/key" user.l2fs.state)" resident
assert_eq "$(attr "$MNT/dir/key" user.l2fs.tiers)" l1,fs
assert_match "$(attr "$MNT/dir/key" user.l2fs.lock)" '{"readers":0,"reader_pids":[[]],"writer":false,*}'
assert_match "$(attr "$MNT/dir/key" user.l2fs.crc32c)" '[0-9a-f][0-9a-f][0-9a-f][0-9a-f][0-9a-f][0-9a-f][0-9a-f][0-9a-f]'
assert_eq "$(attr "$MNT/dir" user.l2fs.place)" l1
exec 4<"$MNT/dir/key"
assert_match "$(attr "$MNT/dir/key" user.l2fs.lock)" "{\"readers\":1,\"reader_pids\":[[]$$],*"
exec 4<&-

say "values that are refused"
refused "$MNT/dir/key" user.l2fs.pin hardly "Invalid argument"
refused "$MNT/dir/key" user.l2fs.expire soon "Invalid argument"
refused "$MNT/dir/key" user.l2fs.pni hard "Invalid argument"
refused "$MNT/dir/key" user.l2fs.state resident "not permitted"
refused "$MNT/dir/key" user.l2fs.last_prefill 2 "Invalid argument"
refused "$MNT/dir" user.l2fs.pin hard "Invalid argument"

say "engine attributes survive eviction and a remount"
set_attr "$MNT/dir/key" user.engine.model llama
set_attr "$MNT/dir/key" user.engine.other gone
setfattr -x user.engine.other "$MNT/dir/key"
set_attr "$MNT/dir" user.engine.kind kv
set_attr "$MNT/dir/key" user.l2fs.req_id chatcmpl-1
set_attr "$MNT/dir/key" user.l2fs.last_prefill 1
attr_is "$MNT/dir/key" req_id chatcmpl-1 || fail "req_id is lost"
mkdir "$MNT/slots"
set_attr "$MNT/slots" user.l2fs.place disk
mkdir "$MNT/slots/below"
printf x >"$MNT/slots/below/slot"
assert_eq "$(attr "$MNT/slots/below/slot" user.l2fs.state)" disk
printf x >"$MNT/dir/early" # set before it is stored
set_attr "$MNT/dir/early" user.engine.early yes
l2_umount "$MNT"
l2_mount "$L2" "$MNT" -o l1=64M
assert_eq "$(attr "$MNT/dir/key" user.l2fs.state)" evicted
assert_eq "$(attr "$MNT/dir/key" user.engine.model)" llama
assert_eq "$(attr "$MNT/dir/early" user.engine.early)" yes
assert_eq "$(attr "$MNT/dir" user.engine.kind)" kv
assert_eq "$(attr "$MNT/slots" user.l2fs.place)" disk
assert_eq "$(attr "$MNT/slots/below" user.l2fs.place)" disk
assert_eq "$(attr "$MNT/slots/below/slot" user.l2fs.state)" disk
assert_fails getfattr -n user.engine.other -- "$MNT/dir/key"
assert_same "$WORK/data" "$MNT/dir/key"
assert_eq "$(attr "$MNT/dir/key" user.engine.model)" llama "after the load"

say "evict and prefetch"
wait_for 10 order "$MNT/dir/key" evict
assert_eq "$(attr "$MNT/dir/key" user.l2fs.state)" evicted
assert_eq "$(attr "$MNT/dir/key" user.l2fs.tiers)" fs
assert_same "$WORK/data" "$MNT/dir/key"
assert_eq "$(attr "$MNT/dir/key" user.l2fs.state)" resident "after a read"
wait_for 10 order "$MNT/dir/key" evict
order "$MNT/dir/key" prefetch || fail "prefetch is refused"
wait_for 10 has_state "$MNT/dir/key" resident
wait_for 10 order "$MNT/dir/key" evict
order "$MNT/dir" prefetch || fail "prefetch of a directory is refused"
wait_for 10 has_state "$MNT/dir/key" resident
wait_for 10 has_state "$MNT/dir/early" resident

say "pin"
set_attr "$MNT/dir/key" user.l2fs.pin hard
refused "$MNT/dir/key" user.l2fs.evict 1 "busy"
assert_fails rm -f "$MNT/dir/key"
assert_match "$(cat "$WORK/.err")" "*busy*"
set_attr "$MNT/dir/key" user.l2fs.pin soft=1h
assert_match "$(attr "$MNT/dir/key" user.l2fs.pin)" "soft=*"
refused "$MNT/dir/key" user.l2fs.evict 1 "busy"
setfattr -x user.l2fs.pin "$MNT/dir/key"
assert_eq "$(attr "$MNT/dir/key" user.l2fs.pin)" none
wait_for 10 order "$MNT/dir/key" evict
set_attr "$MNT/dir/key" user.l2fs.pin soft # brings it in
wait_for 10 has_state "$MNT/dir/key" resident
set_attr "$MNT/dir/key" user.l2fs.pin none

say "expire"
printf y >"$MNT/dir/short"
wait_for 10 attr_is "$MNT/dir/short" store fs=stored
set_attr "$MNT/dir/short" user.l2fs.expire 300ms
wait_for 10 is_gone "$MNT/dir/short"
wait_for 10 is_gone "$L2/dir/short"
[ -e "$MNT/dir/key" ] || fail "the wrong file expired"
assert_fails cat "$MNT/dir/short"

rm -r "$MNT/dir" "$MNT/slots"
l2_umount "$MNT"
