#!/bin/sh
# l2fsctl: every command on a real mount, as tables and as JSON, and what it says when it cannot.
. "$SRCDIR/tests/functions.sh"
need getfattr jq
C=$BUILDDIR/tools/l2fsctl
mkdir l2 mnt
MNT=$WORK/mnt

say "wrong use is 2, failure is 1"
rc=0; "$C" >.out 2>.err || rc=$?
assert_eq "$rc" 2 "no command"
rc=0; "$C" frobnicate >.out 2>.err || rc=$?
assert_eq "$rc" 2 "unknown command"
assert_match "$(cat .err)" '*frobnicate: no such command*'
rc=0; "$C" stat >.out 2>.err || rc=$?
assert_eq "$rc" 2 "stat without a path"
rc=0; "$C" pin x often >.out 2>.err || rc=$?
assert_eq "$rc" 2 "bad pin"
assert_match "$(cat .err)" '*"often" is not allowed, expected none, soft, soft=DURATION or hard*'
rc=0; "$C" -m "$WORK" status >.out 2>.err || rc=$?
assert_eq "$rc" 1 "not a mount"
assert_match "$(cat .err)" "*$WORK is not on an l2fs mount*"
touch plain
assert_fails "$C" stat plain
assert_match "$(cat .err)" '*plain is not a file of an l2fs mount*'
assert_match "$("$C" -V)" 'l2fsctl [0-9]*'

l2_mount "$WORK/l2" "$MNT" -o l1=64M
mkdir "$MNT/dir"
head -c 100000 /dev/urandom >"$MNT/dir/key"
echo two >"$MNT/two"
sync "$MNT/dir/key" "$MNT/two"

say "files below .l2fs"
assert_match "$("$C" -m "$MNT" status)" '*l1.capacity *64.0M*'
assert_eq "$("$C" -m "$MNT" --json status | jq -r .objects.files)" 2
assert_match "$("$C" -m "$MNT" adapters)" 'name *fs *'
assert_eq "$("$C" -m "$MNT" --json adapters | jq -r .fs.type)" fs
assert_match "$("$C" -m "$MNT" config)" '*l1 *64.0M*'
"$C" -m "$MNT" --json config | jq -e '.l2[0].base_path' >/dev/null || fail "config has no l2"
"$C" -m "$MNT" metrics | grep -q '^l2fs_files 2' || fail "metrics has no l2fs_files"
"$C" -m "$MNT" metrics --json | grep -q '^# EOF' || fail "metrics --json is not the whole text"
"$C" -m "$MNT" events --once >.out || fail "events --once"
(cd "$MNT/dir" && "$C" status) | grep -q "^name" || fail "the working directory does not find the mount"

say "keys"
assert_match "$("$C" ls "$MNT/dir" | tail -n 1)" 'resident *97.7K *key'
assert_eq "$("$C" -m "$MNT" --json ls dir | jq -r '.[0].path')" key
assert_match "$("$C" -m "$MNT" ls two | tail -n 1)" '*two'
assert_match "$("$C" stat "$MNT/two")" '*state *resident*'
assert_eq "$("$C" -m "$MNT" --json stat two | jq -r .size)" 4
assert_fails "$C" stat "$MNT/missing"
assert_match "$(cat .err)" '*missing: No such file or directory*'

say "pin, evict, warm"
"$C" -m "$MNT" pin two hard
assert_match "$(attr "$MNT/two" user.l2fs.pin)" 'hard*'
assert_fails rm -f "$MNT/two"
"$C" -m "$MNT" pin two none
"$C" -m "$MNT" evict two
wait_for 10 has_state "$MNT/two" evicted
"$C" -m "$MNT" warm two
wait_for 10 has_state "$MNT/two" resident
"$C" -m "$MNT" evict dir/key two
wait_for 10 has_state "$MNT/dir/key" evicted
assert_fails "$C" -m "$MNT" warm missing two
wait_for 10 has_state "$MNT/two" resident

say "a dead mount"
daemon=$(l2_pid "$MNT")
kill -9 "$daemon"
wait_for 10 l2_is_gone "$daemon"
assert_fails "$C" -m "$MNT" status
assert_match "$(cat .err)" '*'
