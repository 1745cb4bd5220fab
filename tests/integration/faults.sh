#!/bin/sh
# Every rule of the fault adapter under load: a mount over a tier that fails, refuses, delays past the deadline,
# drops, never answers, corrupts, cuts or reorders. Nothing hangs, no key is half, and afterwards there is no
# lock, no task and no descriptor more than before.
# timeout: 180
. "$SRCDIR/tests/functions.sh"
need getfattr

burst=$BUILDDIR/tests/burst
mnt=$WORK/mnt

# Files and directories; rings, eventfds and channels to the kernel come and go with the threads.
fds() { find "/proc/$(l2_pid "$mnt")/fd" -mindepth 1 -printf '%l\n' 2>/dev/null | grep -c '^/[^d]'; }
usage() { sed -n "s/.*\"$1\": *\([0-9]*\).*/\1/p" "$mnt/.l2fs/adapters/fault/usage"; }
no_locks() { [ "$(usage locked)" = 0 ]; }
few_fds() { [ "$(fds)" -le "$((before))" ]; }

# try NAME RULES
try() {
    mkdir "$WORK/l2-$1"
    cat >"$WORK/spec.json" <<EOF
{"l2": {"type": "fault", "seed": 1, "drop_timeout": "1s", "release": "$WORK/$1.release",
        "inner": {"type": "fs", "base_path": "$WORK/l2-$1"}, "rules": [$2]}}
EOF
    l2_mount "$WORK/spec.json" "$mnt" -o l1=48M,space_wait=5s,store_timeout=1s,load_timeout=2s,drain_timeout=5s
    before=$(fds)
    said=$("$burst" write -w 4 -b 96 -t 3 "$mnt" "$WORK/$1.log") || fail "$1: a writer: $said"
    say "$1: $said"
    : >"$WORK/$1.release"
    said=$("$burst" verify -e "$mnt" "$WORK/$1.log") || fail "$1: $said"
    say "$1: $said"
    wait_for 20 no_locks || fail "$1: locks are left"
    wait_for 20 few_fds || fail "$1: $(fds) descriptors, $before before"
    l2_umount "$mnt"
}

some='"rate": 0.1, "errno": "EIO"'
try fail "{\"action\": \"fail\", $some}"
try refuse "{\"action\": \"refuse\", $some}"
try delay "{\"action\": \"delay\", \"rate\": 0.1, \"delay\": \"3s\"}"
try drop "{\"action\": \"drop\", \"rate\": 0.05}"
try never '{"action": "never", "rate": 0.02, "count": 20}'
try corrupt '{"op": "load", "action": "corrupt", "rate": 0.1}, {"op": "store", "action": "corrupt", "rate": 0.1}'
try short '{"op": "load", "action": "short", "rate": 0.1}, {"op": "store", "action": "short", "rate": 0.1}'
try reorder '{"action": "reorder", "rate": 0.5}'
