#!/bin/sh
# Several adapters at once, added to and removed from a running mount: the lowest index is read first and its loss
# survived; keys of a newcomer; drain under load; a stuck adapter; force; nothing left after many rounds.
# timeout: 240
# fallback: yes
. "$SRCDIR/tests/functions.sh"
need python3 getfattr setfattr

MNT=$WORK/mnt
FAST='{"type":"mock","max_size_gb":1,"mock_bandwidth_gb":8}'
mkdir -p "$WORK/a" "$WORK/b" "$WORK/c"

json() { python3 -c 'import json, sys; v = json.load(open(sys.argv[1]))
for k in sys.argv[2:]: v = v[int(k)] if isinstance(v, list) else v[k]
print(v)' "$@"; }
adapters() { ls "$MNT/.l2fs/adapters" | tr '\n' ' '; }
add() { setfattr -n user.l2fs.adapter_add -v "$1" "$MNT/.l2fs/adapters"; }
add_dir() { add "{\"type\":\"fs\",\"base_path\":\"$1\"}"; }
drop() { setfattr -n user.l2fs.adapter_remove -v "$1" "$MNT/.l2fs/adapters"; }
refusal() { getfattr --only-values -n user.l2fs.error "$MNT/.l2fs/adapters" 2>/dev/null; }
is_stored() { [ "$(attr "$1" user.l2fs.store)" = "$2" ]; }
# How many keys of the counter were loaded from an adapter.
loads() { awk -v a="l2fs_tier_completed_total{adapter=\"$1\",op=\"load\"}" '$1 == a { print $2 }' "$MNT/.l2fs/metrics"; }
evicted() { setfattr -n user.l2fs.evict -v 1 "$1" 2>/dev/null && [ "$(attr "$1" user.l2fs.state)" = evicted ]; }
millis() { date +%s%3N; }

say "fast memory before a slow directory"
l2_mount "$WORK/a" "$MNT" -o l1=256M -o "l2=$FAST"
FS=$(adapters | tr ' ' '\n' | grep '^fs')
MOCK=$(adapters | tr ' ' '\n' | grep '^mock')
head -c 1M /dev/urandom >"$WORK/k1"
cp "$WORK/k1" "$MNT/k1"
wait_for 10 is_stored "$MNT/k1" "$(printf '%s\n' "$FS=stored" "$MOCK=stored" | sort -t. -k2 | paste -sd,)"
first=$(json "$MNT/.l2fs/status" tiers 0 name)
second=$(json "$MNT/.l2fs/status" tiers 1 name)
wait_for 10 evicted "$MNT/k1"
assert_same "$MNT/k1" "$WORK/k1"
assert_eq "$(loads "$first")" 1
assert_eq "$(loads "$second")" 0

say "the first one goes, the key is read from the second"
drop "$first"
assert_eq "$(adapters)" "$second "
wait_for 10 evicted "$MNT/k1"
assert_same "$MNT/k1" "$WORK/k1"
l2_umount "$MNT"

say "keys of a directory that joins"
l2_mount "$WORK/b" "$WORK/other" -o l1=64M
mkdir "$WORK/other/d"
head -c 300000 /dev/urandom >"$WORK/theirs"
cp "$WORK/theirs" "$WORK/other/d/theirs"
l2_umount "$WORK/other"
l2_mount "$WORK/a" "$MNT" -o l1=256M
ls "$MNT/.l2fs/adapters" >/dev/null
[ ! -e "$MNT/d/theirs" ] || fail "it is here already"
[ ! -e "$MNT/.l2fs/adapters/fs.1" ] || fail "there is a fs.1 already"
add_dir "$WORK/b"
assert_eq "$(adapters)" "fs fs.1 "
assert_same "$MNT/d/theirs" "$WORK/theirs"
assert_eq "$(attr "$MNT/d/theirs" user.l2fs.tiers)" "l1,fs.1"
assert_eq "$(json "$MNT/.l2fs/adapters/fs.1/status" state)" active
cp "$WORK/k1" "$MNT/k2"
wait_for 10 is_stored "$MNT/k2" fs=stored,fs.1=stored
assert_same "$WORK/a/k2" "$WORK/k1"
assert_same "$WORK/b/k2" "$WORK/k1"

say "what is refused, and why"
assert_fails add_dir "$WORK/nowhere"
assert_match "$(refusal)" "*cannot be opened*"
assert_fails add '{"type":"tape"}'
assert_match "$(refusal)" "*tape*known*"
assert_fails drop fs.7
assert_match "$(refusal)" "there is no adapter fs.7"
assert_fails drop "fs.1 gently"
assert_match "$(refusal)" "*allowed: NAME*"
wait_for 10 evicted "$MNT/d/theirs"
assert_fails drop fs.1
assert_match "$(cat "$WORK/.err")" "*busy*"
assert_match "$(refusal)" "1 key is on fs.1 only*force*"
assert_eq "$(json "$MNT/.l2fs/adapters/fs.1/status" state)" active

say "force: what is nowhere else goes, what is in memory is stored in what remains"
wait_for 10 evicted "$MNT/k1"
drop "fs force"
[ ! -e "$MNT/k1" ] || fail "k1 was only in fs"
assert_same "$MNT/k2" "$WORK/k1"
assert_same "$MNT/d/theirs" "$WORK/theirs"
assert_eq "$(adapters)" "fs.1 "
assert_same "$WORK/a/k1" "$WORK/k1" "the files of a removed adapter stay"

say "drain under load"
(
    i=0
    while [ ! -e "$WORK/enough" ]; do
        cp "$WORK/k1" "$MNT/load$((i % 20))" || { touch "$WORK/load-failed"; break; }
        i=$((i + 1))
    done
) &
loader=$!
for i in 2 3 4 5; do
    add_dir "$WORK/c"
    wait_for 10 [ -e "$WORK/c/load1" ]
    drop "fs.$i timeout=20s"
    rm -rf "$WORK/c"
    mkdir "$WORK/c"
done
touch "$WORK/enough"
wait "$loader"
[ ! -e "$WORK/load-failed" ] || fail "a write failed while adapters came and went"
for i in 0 5 19; do
    wait_for 20 is_stored "$MNT/load$i" fs.1=stored
    wait_for 10 evicted "$MNT/load$i"
    assert_same "$MNT/load$i" "$WORK/k1"
done

say "a stuck adapter goes when its time is over"
add "{\"type\":\"fault\",\"inner\":$FAST,\"rules\":[{\"op\":\"store\",\"action\":\"never\"}]}"
cp "$WORK/k1" "$MNT/stuck1"
cp "$WORK/k1" "$MNT/stuck2"
began=$(millis)
drop "fault.6 timeout=1s"
took=$(($(millis) - began))
[ "$took" -lt 6000 ] || fail "that took $took ms"
assert_eq "$(adapters)" "fs.1 "
for key in stuck1 stuck2; do
    wait_for 20 is_stored "$MNT/$key" fs.1=stored
    wait_for 10 evicted "$MNT/$key"
    assert_same "$MNT/$key" "$WORK/k1"
done

say "many rounds leave nothing behind"
pid=$(l2_pid "$MNT")
rounds() {
    n=$1
    while [ "$n" -gt 0 ]; do
        add_dir "$WORK/c"
        drop "$(adapters | tr ' ' '\n' | grep -v '^fs.1$' | head -n 1)"
        n=$((n - 1))
    done
}
rounds 5
fds=$(l2_fds "$MNT" | wc -l)
threads=$(ls "/proc/$pid/task" | wc -l)
memory=$(awk '/^RssAnon/ { print $2 }' "/proc/$pid/status")
rounds 100
assert_eq "$(l2_fds "$MNT" | wc -l)" "$fds" "descriptors"
more=$(($(ls "/proc/$pid/task" | wc -l) - threads))
[ "$more" -lt 10 ] || fail "$more more threads" # FUSE workers come and go
grown=$(($(awk '/^RssAnon/ { print $2 }' "/proc/$pid/status") - memory))
say "anonymous memory grew by $grown KiB in 100 rounds"
case ${L2FS_VARIANT:-} in
asan | tsan) ;; # they keep what is freed for a while, and see leaks themselves
*) [ "$grown" -lt 8192 ] || fail "memory grew by $grown KiB" ;;
esac
assert_eq "$(grep -c 'adapter="fs.1"' "$MNT/.l2fs/metrics")" "$(grep -c 'adapter=' "$MNT/.l2fs/metrics")"
assert_same "$MNT/k2" "$WORK/k1"

say "a remount as configured"
l2_umount "$MNT"
l2_mount "$WORK/b" "$MNT" -o l1=64M
assert_same "$MNT/stuck1" "$WORK/k1"
assert_same "$MNT/d/theirs" "$WORK/theirs"
l2_umount "$MNT"
