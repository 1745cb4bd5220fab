#!/bin/sh
# kill -9 of the daemon at random moments under load; after umount -l and a new mount every key that was closed
# is there and whole, what was removed stays away, nothing is torn, temporaries are swept. Then the same with the
# memory lost as by a reboot: every key whose fsync returned. L2FS_KILLS=N kills (10, a fourth of them with the
# memory lost), L2FS_SEED=N.
# timeout: 1800
# slow: yes
. "$SRCDIR/tests/functions.sh"
need_root
need umount readlink mountpoint

mnt=$WORK/mnt
log=$WORK/log
kills=${L2FS_KILLS:-10}
seed=${L2FS_SEED:-$(date +%s)}
crashload=$BUILDDIR/tests/crashload
say "seed $seed"

# random MAX: a number below it that follows from the seed and the round
random() { awk -v s="$seed" -v r="$round" -v m="$1" 'BEGIN { srand(s + r); print int(rand() * m) }'; }

# The tmpfs with the objects, told by what the daemon has open there.
staging() {
    for link in "/proc/$1"/fd/* "/proc/$1/cwd"; do
        readlink "$link" 2>/dev/null
    done | sed -n 's|^\(/run/l2fs/[^/]*\)/o$|\1|p' | head -n 1
}

round=0 wipes=0
mounted_with=
mount_it() {
    mounted_with=l1=512M
    if [ $((round % 3)) -eq 2 ]; then mounted_with=$mounted_with,nopassthrough; fi
    l2_mount "$WORK/l2" "$mnt" -o "$mounted_with" || fail "mount in round $round"
}

mkdir "$WORK/l2"
mount_it
while [ $round -lt "$kills" ]; do
    round=$((round + 1))
    pid=$(l2_pid "$mnt")
    dir=$(staging "$pid")
    "$crashload" write -w 4 -s $((seed + round)) -t $((50 + $(random 1500))) -k "$pid" "$mnt" "$log" ||
        fail "round $round ($mounted_with): the load failed before the kill"
    wait_for 10 l2_is_gone "$pid"
    l2_lazy "$mnt"
    wiped=
    if [ $((round % 4)) -eq 0 ]; then
        [ -n "$dir" ] || fail "the daemon has nothing open in /run/l2fs"
        wiped=--wiped
        wipes=$((wipes + 1))
        mountpoint -q "$dir" || fail "$dir is no mount"
        umount -l "$dir"
    fi
    mount_it
    # shellcheck disable=SC2086
    "$crashload" verify $wiped "$mnt" "$log" >"$WORK/verify" || {
        cat "$WORK/verify"
        fail "round $round of seed $seed ($mounted_with) $wiped"
    }
    say "round $round $wiped $(tail -n 1 "$WORK/verify")"
done

say "and after an orderly end"
round=0
l2_umount "$mnt"
mount_it
"$crashload" verify "$mnt" "$log" || fail "after an orderly end"
"$crashload" write -w 4 -s "$seed" -t 500 "$mnt" "$log" || fail "the load after it"
l2_umount "$mnt"
mount_it
"$crashload" verify "$mnt" "$log" || fail "after a second one"
l2_umount "$mnt"
left=$(find "$WORK/l2" -name '*.tmp*' | head -n 5)
[ -z "$left" ] || fail "temporaries on the disk: $left"
say "$kills kills, $wipes of them with the memory lost"
