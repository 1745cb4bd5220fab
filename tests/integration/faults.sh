#!/bin/sh
# The fault adapter around mock and around fs, with each of its rules, under clients that do everything at
# once: no call lasts longer than its deadlines allow, no key is torn, and afterwards no lock, descriptor,
# staging file or waiting request is left, and the tier is used again by itself.
# L2FS_SOAK=SECONDS of each of the 16 combinations (1); L2FS_SOAK_MIXED=SECONDS of all rules at once (8), during
# which the daemon's memory must come to rest. The ten-minute run: L2FS_SOAK_MIXED=600.
# timeout: 300
# slow: yes
. "$SRCDIR/tests/functions.sh"
need jq getfattr
need_root

soak=$BUILDDIR/tests/soak
mnt=$WORK/mnt
timeouts=store_timeout=1s,load_timeout=1s,space_wait=2s,writer_wait=1s,drain_timeout=10s
retries=3
seconds=${L2FS_SOAK:-1}
mixed=${L2FS_SOAK_MIXED:-8}

inner() {
    case $1 in
    mock) echo '{"type": "mock", "max_size_gb": 0.25, "mock_bandwidth_gb": 4}' ;;
    fs) echo "{\"type\": \"fs\", \"base_path\": \"$WORK/base\", \"max_capacity_gb\": 0.25}" ;;
    esac
}

status() { jq -r "$1" "$mnt/.l2fs/status"; }
rss_kb() { awk '/^VmRSS/ { print $2 }' "/proc/$(l2_pid "$mnt")/status"; }
staging_files() { find "$(status .l1.staging)/o" -type f | wc -l; }

# Nothing is under way and nothing is held. What was given up stays in L1.
at_rest() {
    # shellcheck disable=SC2154 # jq's
    [ "$(jq -r '[.locks.readers, .locks.writers, (.locks.l2 | add), .store.in_flight, .load.active, .waiters,
        ([.tiers[].stores.overdue // 0] | add)] | map(. // 0) | add' "$mnt/.l2fs/status")" = 0 ]
}
# Each resident object has its staging file. One that was removed keeps it while the kernel remembers the
# inode, so it is told to forget.
no_file_left() { echo 2 >/proc/sys/vm/drop_caches; [ "$(staging_files)" -le "$(status '.l1.residents')" ]; }

no_more_fds() {
    l2_fds "$mnt" >"$WORK/after"
    comm -13 "$WORK/before" "$WORK/after" >"$WORK/more"
    [ ! -s "$WORK/more" ]
}

# begin INNER RULES: mounts and notes how it was before.
begin() {
    mkdir -p "$WORK/base"
    rm -f "$WORK/release"
    printf '{"l2": [{"type": "fault", "drop_timeout": "3s", "release": "%s", "inner": %s, "rules": [%s]}]}\n' \
        "$WORK/release" "$(inner "$1")" "$2" >"$WORK/spec.json"
    l2_mount "$WORK/spec.json" "$mnt" -o "l1=24M,$timeouts,store_retries=$retries"
    echo warm >"$mnt/warm"
    cat "$mnt/warm" >/dev/null
    status .uptime_s >/dev/null
    l2_fds "$mnt" >"$WORK/before"
}

# settle NAME: lets what never completes go, and sees that nothing is left.
settle() {
    : >"$WORK/release"
    wait_for 40 at_rest
    wait_for 10 no_file_left
    for tier in $(status '.tiers[].name'); do
        assert_eq "$(jq -r .locked "$mnt/.l2fs/adapters/$tier/usage")" 0 "$1: keys locked in $tier"
    done
    wait_for 20 no_more_fds # a store that is tried again has its staging file open
    "$soak" -c -l 20 "$mnt" >"$WORK/.said" || fail "$1: $(cat "$WORK/.said")"
    l2_umount "$mnt"
    rm -rf "$WORK/base"
}

rule() {
    case $1 in
    delay) echo '{"op": "any", "rate": 0.3, "action": "delay", "delay": "1500ms"}' ;;
    drop) echo '{"op": "any", "rate": 0.1, "action": "drop"}' ;;
    never) echo '{"op": "any", "rate": 0.05, "action": "never"}' ;;
    corrupt) echo '{"op": "load", "rate": 0.3, "action": "corrupt"}' ;;
    short) echo '{"op": "load", "rate": 0.3, "action": "short"}' ;;
    *) echo "{\"op\": \"any\", \"rate\": 0.3, \"action\": \"$1\"}" ;;
    esac
}

for kind in mock fs; do
    for action in fail refuse delay drop never short corrupt reorder; do
        begin $kind "$(rule $action)"
        said=$("$soak" -w 4 -t "$seconds" -l 15 -s "$seconds" "$mnt") || fail "$kind, $action: $said"
        say "$kind, $action: $said"
        settle "$kind, $action"
    done
done

# All at once, what never completes let go every second, or the only tier would soon be left alone, and tried
# without end, or L1 would fill with what was given up; memory is looked at when the first third is over and at the end.
rules=$(for action in fail refuse delay drop never short corrupt reorder; do rule $action; done |
    sed 's/"rate": 0.[13]/"rate": 0.03/; s/"rate": 0.05/"rate": 0.002/' | paste -sd, -)
retries=0
begin fs "$rules"
let_go() {
    while [ -d "$WORK" ] && sleep 1; do
        : >"$WORK/release"
        sleep 0.1
        rm -f "$WORK/release"
    done
}
let_go &
letting_go=$!
third=$(((mixed + 2) / 3))
"$soak" -w 4 -t "$third" -l 15 "$mnt" >"$WORK/.said" || fail "mixed: $(cat "$WORK/.said")"
first=$(rss_kb)
said=$("$soak" -w 4 -t $((mixed - third)) -l 15 -s 2 "$mnt") || fail "mixed: $said"
last=$(rss_kb)
kill $letting_go
wait $letting_go || true
say "mixed: $said; daemon $first KiB, then $last KiB"
[ "$last" -le $((first + first / 4 + 8192)) ] || fail "the daemon grew from $first to $last KiB"
settle mixed
