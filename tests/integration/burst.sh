#!/bin/sh
# Ten times the capacity of an fs tier, and many times that of L1, written at full speed by 8 processes: the
# tier never holds more than max_capacity_gb, nothing fails but for want of space, and afterwards every key
# is whole or absent. Once with a tier that refuses when it is full, once with one that evicts.
# timeout: 180
# slow: yes
. "$SRCDIR/tests/functions.sh"
need getfattr
need_root

burst=$BUILDDIR/tests/burst
mnt=$WORK/mnt
max=$((128 * 1024 * 1024))
base=

# The tier's directory is a disk of its own where that can be had, since statvfs is exact at any moment: du
# meets files twice that are renamed while it walks.
new_base() {
    base=$WORK/$1
    mkdir "$base"
    truncate -s 768M "$WORK/$1.img"
    if mkfs.ext4 -q -b 4096 "$WORK/$1.img" 2>"$WORK/.err" && mount -o loop "$WORK/$1.img" "$base" 2>>"$WORK/.err"; then
        disk=$base
        rmdir "$base/lost+found"
    else
        say "no disk of its own: $(tail -n 1 "$WORK/.err")"
        disk=-
    fi
}

drop_base() {
    if [ "$disk" != - ]; then umount "$disk"; fi
    rm -f "$WORK"/*.img
}
cleanup() {
    rc=$?
    set +e
    if [ -n "$base" ]; then umount -l "$base" 2>/dev/null; fi
    (exit "$rc")
    l2_cleanup
}
trap cleanup EXIT

mount_it() {
    echo "{\"l2\": {\"type\": \"fs\", \"base_path\": \"$base\", \"max_capacity_gb\": 0.125$1}}" >"$WORK/spec.json"
    l2_mount "$WORK/spec.json" "$mnt" -o l1=64M,space_wait="$2"
}

# run NAME EXTRA SPACE_WAIT MIB: mounts, watches, writes; leaves what the writers said in $said
run() {
    new_base "$1"
    before=0
    [ "$disk" = - ] || before=$(df -B1 --output=used "$disk" | tail -n 1)
    "$burst" watch "$disk" "$max" "$mnt/.l2fs/adapters/fs/usage" "$WORK/$1.end" >"$WORK/$1.watch" 2>&1 &
    watch=$!
    mount_it "$2" "$3"
    said=$("$burst" write -w 8 -b "$4" -t 40 "$mnt" "$WORK/$1.log") || fail "$1: a writer: $said"
    say "$1: $said"
}

# settled NAME: the watch is over, and what du counts is below the limit too.
settled() {
    : >"$WORK/$1.end"
    wait "$watch" || fail "$1: $(cat "$WORK/$1.watch")"
    say "$1: $(cat "$WORK/$1.watch")"
    taken=$(du -s -B1 "$base" | cut -f1)
    [ "$taken" -le "$max" ] || fail "$1: du counts $taken bytes, $max allowed"
    if [ "$disk" != - ]; then
        now=$(($(df -B1 --output=used "$disk" | tail -n 1) - before))
        [ "$now" -le "$max" ] || fail "$1: $now bytes on the disk, $max allowed"
    fi
}

# A tier that evicts nothing: writers wait for space_wait, then ENOSPC, and every key that was closed stays.
run refuses ', "eviction": {"eviction_policy": "noop"}' 1s 1280
assert_match "$said" '*refused=[1-9]*' "a full tier and a full L1 refuse"
said=$("$burst" verify -d "$base" "$mnt" "$WORK/refuses.log") || fail "refuses: $said"
say "refuses: $said"
settled refuses
# Once there is room, what was refused is stored.
rm -rf "$mnt"/w[0-5]
l2_umount "$mnt"
for file in "$base"/w[67]/d0/k0; do [ -s "$file" ] || fail "$file was not stored"; done
drop_base

# A tier that evicts: no refusal at all, 10 times its capacity goes through.
run evicts ', "eviction": {"eviction_policy": "LRU"}' 30s 1280
assert_match "$said" '*refused=0' "a tier that evicts refuses nothing"
said=$("$burst" verify -e "$mnt" "$WORK/evicts.log") || fail "evicts: $said"
say "evicts: $said"
settled evicts
l2_umount "$mnt"
mount_it ', "eviction": {"eviction_policy": "LRU"}' 30s
said=$("$burst" verify -e "$mnt" "$WORK/evicts.log") || fail "evicts, after a remount: $said"
say "evicts, after a remount: $said"
l2_umount "$mnt"
drop_base
