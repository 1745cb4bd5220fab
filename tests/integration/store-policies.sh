#!/bin/sh
# Ten times L1 at full speed with 8 writers, under each store policy: no error, L1 within its capacity, every
# key whole in the tier afterwards. What the policies leave in L1, what a crash leaves, what retry does.
# fallback: yes
. "$SRCDIR/tests/functions.sh"
need jq sha256sum getfattr setfattr

L1=16
FILES=20
MNT=$WORK/mnt

figure() { jq -r "$1" "$MNT/.l2fs/status"; }
figure_is() { [ "$(figure "$1")" = "$2" ]; }
store_is() { [ "$(attr "$1" user.l2fs.store)" = "$2" ]; }

write_some() {
    mkdir -p "$MNT/w$1"
    i=0
    while [ $i -lt $FILES ]; do
        cat "$WORK/data.$((($1 + i) % 4))" >"$MNT/w$1/k$i" || return 1
        i=$((i + 1))
    done
}

# ten_times L2: 8 writers beside a look at the use of L1; all of it must go well
ten_times() {
    pids=
    for w in 0 1 2 3 4 5 6 7; do
        write_some $w &
        pids="$pids $!"
    done
    most=0
    for pid in $pids; do
        while kill -0 "$pid" 2>/dev/null; do
            used=$(figure .l1.used)
            unstored=$(figure .objects.unstored_bytes)
            if [ "$used" -gt $most ]; then most=$used; fi
            [ "$unstored" -le $((L1 << 20)) ] || fail "$unstored bytes are not stored, more than L1 holds"
            sleep 0.1
        done
        wait "$pid" || fail "a writer failed"
    done
    [ "$most" -le $((L1 << 20)) ] || fail "L1 held $most bytes"
}

# check_all DIR: every key is there, whole
check_all() {
    for w in 0 1 2 3 4 5 6 7; do
        i=0
        while [ $i -lt $FILES ]; do
            cmp -s "$WORK/data.$(((w + i) % 4))" "$1/w$w/k$i" || fail "$1/w$w/k$i is not what was written"
            i=$((i + 1))
        done
    done
}

for i in 0 1 2 3; do head -c 1M /dev/urandom >"$WORK/data.$i"; done

for policy in default skip_l1 demote; do
    say "ten times L1 with store_policy=$policy"
    mkdir "$WORK/$policy"
    l2_mount "$WORK/$policy" "$MNT" -o l1=${L1}M,store_policy=$policy
    ten_times
    check_all "$MNT"
    l2_umount "$MNT"
    check_all "$WORK/$policy"
    rm -rf "${WORK:?}/$policy"
done

say "skip_l1 keeps nothing that is idle"
mkdir "$WORK/l2"
l2_mount "$WORK/l2" "$MNT" -o l1=64M,store_policy=skip_l1
cat "$WORK/data.0" >"$MNT/idle"
wait_for 10 has_state "$MNT/idle" evicted
dd if="$WORK/data.0" of="$MNT/synced" bs=1M conv=fsync status=none
assert_eq "$(state "$MNT/synced")" resident
assert_same "$WORK/data.0" "$MNT/idle"
l2_umount "$MNT"

say "demote stores when it must, and a crash loses nothing"
l2_mount "$WORK/l2" "$MNT" -o l1=64M,store_policy=demote
cat "$WORK/data.1" >"$MNT/cold"
cat "$WORK/data.2" >"$MNT/wanted"
sync "$MNT/wanted"
store_is "$MNT/wanted" fs=stored || fail "fsync did not store"
[ ! -e "$WORK/l2/cold" ] || fail "demote stored what nobody asked for"
l2_crash "$MNT"
l2_mount "$WORK/l2" "$MNT" -o l1=64M,store_policy=demote
assert_same "$WORK/data.1" "$MNT/cold"
assert_same "$WORK/data.2" "$MNT/wanted"
[ ! -e "$WORK/l2/cold" ] || fail "the crash made it stored"
l2_umount "$MNT"
assert_same "$WORK/data.1" "$WORK/l2/cold"

say "a tier that fails is given up, and tried again when asked"
cat >"$WORK/spec.json" <<EOT
{"l1": "64M", "store_retries": 1, "l2": [{"type": "fault", "inner": {"type": "fs", "base_path": "$WORK/l2"},
 "rules": [{"op": "store", "key": "bad", "action": "fail", "errno": "EIO", "count": 1}]}]}
EOT
l2_mount "$WORK/spec.json" "$MNT"
cat "$WORK/data.3" >"$MNT/bad"
wait_for 10 figure_is .store.given_up 1
store_is "$MNT/bad" fault=failed || fail "store says $(attr "$MNT/bad" user.l2fs.store)"
assert_same "$WORK/data.3" "$MNT/bad"
setfattr -n user.l2fs.retry -v 1 "$MNT"
wait_for 10 store_is "$MNT/bad" fault=stored
figure_is .store.given_up 0 || fail "it still counts as given up"
l2_umount "$MNT"
assert_same "$WORK/data.3" "$WORK/l2/bad"
