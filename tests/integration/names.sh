#!/bin/sh
# A tier that fails while names change: what the caller is told is an error, but the names are those that
# the mount has, at once, and no writer reaches a file by a name that it has lost.
. "$SRCDIR/tests/functions.sh"
need_root

mnt=$WORK/mnt
mkdir "$WORK/base"
printf '{"l2": [{"type": "fault", "inner": {"type": "fs", "base_path": "%s"}, "rules": [%s]}]}\n' "$WORK/base" \
    '{"op": "store", "rate": 1, "action": "fail"}, {"op": "remove", "rate": 1, "action": "fail"}' >"$WORK/spec.json"
l2_mount "$WORK/spec.json" "$mnt" -o l1=24M,store_timeout=1s,drain_timeout=1s,store_retries=1

# publish KEY TEXT: as engines do, with fsync, which the rename answers for.
publish() {
    printf %s "$2" | dd of="$mnt/$1.tmp" conv=fsync status=none
    assert_fails mv "$mnt/$1.tmp" "$mnt/$1"
}

# The old name is another file from now on, also for who comes at once.
for i in 1 2 3 4 5 6 7 8; do
    publish "k$i" first
    exec 3<"$mnt/k$i"
    printf '' >"$mnt/k$i.tmp"
    assert_eq "$(cat <&3)" first "k$i, open while its temporary name is made again"
    exec 3<&-
    assert_eq "$(cat "$mnt/k$i")" first "k$i"
done

# A new file over an older one: the name is the new one's.
publish k1 second
wait_for 5 grep -q second "$mnt/k1"

# What could not be removed in the tier is gone here, and what is written again stays.
for i in 1 2 3 4 5 6 7 8; do
    assert_fails rm "$mnt/k$i"
    printf third >"$mnt/k$i"
    assert_eq "$(cat "$mnt/k$i")" third "k$i"
    echo 2 >/proc/sys/vm/drop_caches
    assert_eq "$(cat "$mnt/k$i")" third "k$i, looked up again"
done
