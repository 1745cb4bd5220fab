#!/bin/sh
# Very many keys that an engine's own file backend left in a directory: mount, list, stat, find.
# L2FS_KEYS=N of them (100000); half in one flat directory, half in a hundred.
# timeout: 900
# slow: yes
. "$SRCDIR/tests/functions.sh"
need find xargs stat seq

keys=${L2FS_KEYS:-100000}
mnt=$WORK/mnt
half=$((keys / 2))
per=$((half / 100))
now_ms() { date +%s%3N; }
timed() { # WHAT COMMAND...
    what=$1
    shift
    begin=$(now_ms)
    "$@" || fail "$what"
    say "$what: $(($(now_ms) - begin)) ms"
}
rss() { awk '/^VmRSS/ { print int($2 / 1024) }' "/proc/$(l2_pid "$mnt")/status"; }
count() { find "$1" -type f | wc -l; }

mkdir -p "$WORK/l2/flat"
fill() {
    (cd "$WORK/l2/flat" && seq -f 'key%08.0f.bin' 1 $half | xargs truncate -s 4096)
    for d in $(seq -w 0 99); do
        mkdir "$WORK/l2/d$d"
        (cd "$WORK/l2/d$d" && seq -f 'key%08.0f.bin' 1 $per | xargs truncate -s 8192)
    done
}
timed "making $keys files" fill
total=$((half + per * 100))
assert_eq "$(count "$WORK/l2")" $total

say "a mount answers while it lists what is there, finds all of it, and ends at once"
scan() { python3 -c 'import json, sys; print(json.load(open(sys.argv[1]))["scan"][sys.argv[2]])' "$mnt/.l2fs/status" "$1"; }
timed "mount" l2_mount "$WORK/l2" "$mnt" -o l1=256M
say "$(scan found) keys are known, running: $(scan running)"
timed "umount amid the scan" l2_umount "$mnt"
timed "mount" l2_mount "$WORK/l2" "$mnt" -o l1=256M
assert_eq "$(stat -c %s "$mnt/d99/key00000001.bin")" 8192
head -c 100 /dev/urandom >"$WORK/early"
cp "$WORK/early" "$mnt/d98/early.bin"
rm "$mnt/d98/key00000002.bin"
mv "$mnt/d98/key00000003.bin" "$mnt/d98/moved.bin"
[ ! -e "$mnt/d98/none" ] || fail "a name that is nowhere"
say "$(scan found) keys are known, running: $(scan running)"
assert_eq "$(count "$mnt")" $total
[ ! -e "$mnt/d98/key00000002.bin" ] || fail "a removed key is back"
[ ! -e "$mnt/d98/key00000003.bin" ] || fail "a moved key is back"
assert_same "$mnt/d98/early.bin" "$WORK/early"
rm "$mnt/d98/early.bin"
cp "$WORK/l2/d97/key00000002.bin" "$mnt/d98/key00000002.bin"
mv "$mnt/d98/moved.bin" "$mnt/d98/key00000003.bin"
say "the daemon has $(rss) MiB resident after the mount"
list_flat() { assert_eq "$(ls -U "$mnt/flat" | wc -l)" $half; }
list_sorted() { assert_eq "$(ls "$mnt/flat" | wc -l)" $half; }
timed "ls -U | wc -l of $half" list_flat
timed "ls | wc -l of $half" list_sorted
stat_each() {
    (cd "$mnt/flat" && seq -f 'key%08.0f.bin' 1 $half | xargs stat -c %s) | sort | uniq -c >"$WORK/sizes"
    assert_eq "$(tr -s ' ' <"$WORK/sizes")" " $half 4096" "sizes"
}
timed "stat of each of $half" stat_each
find_all() { assert_eq "$(find "$mnt" -type f -printf '%s\n' | sort | uniq -c | tr -s ' ' | tr '\n' ,)" \
    " $half 4096, $((per * 100)) 8192,"; }
timed "find with size over $total" find_all
timed "find again" find_all
assert_eq "$(ls "$mnt/d42" | wc -l)" $per

say "the daemon has $(rss) MiB resident after that"
resident=$(rss)
[ "$resident" -lt $((200 + total * 3 / 2048)) ] || fail "$resident MiB for $total keys"
fds=$(find "/proc/$(l2_pid "$mnt")/fd" -mindepth 1 | wc -l)
say "the daemon holds $fds descriptors"
[ "$fds" -lt 500 ] || fail "$fds descriptors for idle keys"

say "and they can be read, written, renamed and removed among the others"
head -c 8192 /dev/zero >"$WORK/zeros"
assert_same "$mnt/d07/key00000001.bin" "$WORK/zeros"
head -c 70000 /dev/urandom >"$WORK/one"
cp "$WORK/one" "$mnt/flat/new.bin"
assert_same "$mnt/flat/new.bin" "$WORK/one"
mv "$mnt/flat/new.bin" "$mnt/flat/key00000007.bin"
assert_same "$mnt/flat/key00000007.bin" "$WORK/one"
remove() { (cd "$mnt/flat" && seq -f 'key%08.0f.bin' 8 2007 | xargs rm); }
timed "rm of 2000" remove
assert_eq "$(ls -U "$mnt/flat" | wc -l)" $((half - 2000))
assert_eq "$(ls -U "$WORK/l2/flat" | wc -l)" $((half - 2000)) "on the disk"

timed "umount" l2_umount "$mnt"
timed "mount again" l2_mount "$WORK/l2" "$mnt" -o l1=256M
assert_eq "$(count "$mnt")" $((total - 2000))
assert_same "$mnt/flat/key00000007.bin" "$WORK/one"
timed "umount" l2_umount "$mnt"
