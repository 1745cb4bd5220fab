# shellcheck shell=sh
# Helpers for the scripts in tests/integration. Source it first: . "$SRCDIR/tests/functions.sh"
# run-tests gives BUILDDIR (where mount.l2fs is), SRCDIR (absolute), and an empty working directory that is
# deleted afterwards. A script ends 0 = passed, 77 = skipped, anything else = failed. Header lines it may have:
#   # timeout: SECONDS   more than the usual 120
#   # fallback: yes      also run against the distribution's libfuse, without passthrough
#   # alone: yes         not beside other scripts (it compares speeds, or takes most of the memory)
#   # network: own       in a network namespace with nothing but lo
#   # slow: yes          left out by run-tests --quick, and of the sanitizer builds
# What is mounted with l2_mount is unmounted at exit, however the script ends.
set -eu

BUILDDIR=${BUILDDIR:?run this with tools/run-tests}
SRCDIR=${SRCDIR:?run this with tools/run-tests}
WORK=$(pwd -P)
l2_mounts=$WORK/.mounts
: >"$l2_mounts"

say() { echo "# $*"; }
fail() { echo "FAIL: $*" >&2; exit 1; }
skip() { echo "SKIP: $*" >&2; exit 77; }

# need CMD...: the script makes no sense without these commands.
need() { for l2_cmd in "$@"; do command -v "$l2_cmd" >/dev/null || skip "no $l2_cmd here"; done; }
need_root() { [ "$(id -u)" -eq 0 ] || skip "needs root"; }

assert_eq() { [ "$1" = "$2" ] || fail "${3:-values differ}: got '$1', expected '$2'"; }
assert_ne() { [ "$1" != "$2" ] || fail "${3:-values are the same}: '$1'"; }
assert_match() {
    # shellcheck disable=SC2254
    case $1 in $2) ;; *) fail "${3:-no match}: got '$1', expected '$2'" ;; esac
}
assert_same() { cmp -- "$1" "$2" || fail "${3:-$1 and $2 differ}"; }
# assert_fails COMMAND...: the command must fail; what it says is left in $WORK/.err
assert_fails() { if "$@" >"$WORK/.out" 2>"$WORK/.err"; then fail "this should have failed: $*"; fi; }

# wait_for SECONDS COMMAND...: until the command succeeds. The only place that naps.
wait_for() {
    l2_left=$(($1 * 20))
    shift
    until "$@" >/dev/null 2>&1; do
        [ "$l2_left" -gt 0 ] || fail "timed out waiting for: $*"
        l2_left=$((l2_left - 1))
        sleep 0.05
    done
}

is_mounted() { grep -q " $1 fuse" /proc/self/mounts; }
not_mounted() { ! is_mounted "$1"; }

# l2_pid DIR: the daemon that l2_mount started last for DIR.
l2_pid() { awk -v d="$1" '$1 == d { pid = $2 } END { if (pid) print pid }' "$l2_mounts"; }
# l2_fds DIR: what its daemon has open, sorted, but for what is made at first use and kept: each FUSE worker has
# a connection of its own, each thread of the fs adapter an io_uring.
l2_fds() {
    find "/proc/$(l2_pid "$1")/fd" -mindepth 1 ! -lname /dev/fuse ! -lname '*io_uring*' -printf '%l\n' | sort
}
# l2_daemons DIR: the running daemons that serve DIR: who has a lock file open that says so. (What ended leaves its
# file, and its number to others. Neither ps nor pgrep is used here: both hang when any process of the machine is stuck.)
l2_daemons() {
    for l2_lock in /run/l2fs/*.lock /dev/shm/l2fs-*/*.lock; do
        if [ -f "$l2_lock" ] && read -r l2_id _ l2_serves <"$l2_lock" && [ "$l2_serves" = "$1" ] &&
            find "/proc/$l2_id/fd" -printf '%l\n' 2>/dev/null | grep -qxF "$l2_lock"; then
            echo "$l2_id"
        fi
    done | sort -u
}
# l2_connection DIR: the number of its FUSE connection, for l2_abort, which fails all that is waiting in it.
l2_connection() { awk -v d="$1" '$5 == d { sub(/.*:/, "", $3); n = $3 } END { print n }' /proc/self/mountinfo; }
l2_abort() { echo 1 2>/dev/null >"/sys/fs/fuse/connections/$1/abort" || true; }

# l2_mount SPEC DIR [ARG...]: mounts, e.g. l2_mount "$WORK/l2" "$WORK/mnt" -o l1=64M
l2_mount() {
    l2_spec=$1
    l2_dir=$2
    shift 2
    mkdir -p "$l2_dir"
    # L2_OPTS: options of the whole run, e.g. nopassthrough.
    if [ -n "${L2_OPTS:-}" ]; then set -- "$@" -o "$L2_OPTS"; fi
    # A daemon must not keep a script's files, least of all those of another mount.
    "$BUILDDIR/mount.l2fs" "$l2_spec" "$l2_dir" "$@" 3>&- 4>&- 5>&- 6>&- 7>&- 8>&- 9>&- || return
    echo "$l2_dir $(l2_daemons "$l2_dir" | tail -n 1)" >>"$l2_mounts"
}

# l2_umount DIR: unmounts and waits until the daemon is gone, i.e. until it has stored everything.
l2_umount() {
    l2_gone=$(l2_pid "$1")
    if [ "$(id -u)" -eq 0 ]; then umount "$1"; else fusermount3 -u "$1"; fi
    if [ -n "$l2_gone" ] && ! (wait_for 60 l2_is_gone "$l2_gone") 2>/dev/null; then
        l2_where "$l2_gone"
        (wait_for 15 l2_is_gone "$l2_gone") 2>/dev/null && say "a wait of the daemon has ended by itself"
        fail "the daemon $l2_gone of $1 does not end"
    fi
}
# l2_where PID: where its threads stand. Of the FUSE connection nothing is left that could hold this up.
l2_where() {
    for l2_task in "/proc/$1/task"/*; do
        say "$(cat "$l2_task/comm" "$l2_task/wchan" 2>/dev/null | tr '\n' ' ')"
    done
    if command -v gdb >/dev/null; then timeout 30 gdb -p "$1" -batch -ex 'thread apply all bt 20' 2>/dev/null || true; fi
}
l2_is_gone() { ! [ -d "/proc/$1" ] || grep -q '^State:.Z' "/proc/$1/status"; }

# l2_crash DIR: kill -9 of the daemon, then what an administrator would do.
l2_crash() {
    l2_gone=$(l2_pid "$1")
    [ -n "$l2_gone" ] || fail "no daemon serves $1"
    kill -9 "$l2_gone"
    wait_for 10 l2_is_gone "$l2_gone"
    l2_lazy "$1"
}

# l2_stop DIR: its daemon stands still when this returns. (SIGSTOP alone lets all threads go on until one has taken it.)
l2_stop() {
    l2_stopped=$(l2_pid "$1")
    kill -STOP "$l2_stopped"
    wait_for 10 l2_stands "$l2_stopped"
}
l2_stands() { ! cat "/proc/$1/task"/*/status | grep '^State:' | grep -qv 'T (stopped)'; }

l2_lazy() { if [ "$(id -u)" -eq 0 ]; then umount -l "$1"; else fusermount3 -u -z "$1"; fi 2>/dev/null || true; }

l2_cleanup() {
    l2_rc=$?
    trap - EXIT INT TERM HUP
    for l2_dir in $(awk '{ print $1 }' "$l2_mounts" | sort -u); do
        l2_conn=$(l2_connection "$l2_dir")
        l2_alive=$(l2_daemons "$l2_dir") # the numbers of those that ended may be others' by now
        if is_mounted "$l2_dir"; then l2_lazy "$l2_dir"; fi
        for l2_gone in $l2_alive; do
            if kill -TERM "$l2_gone" 2>/dev/null && ! (wait_for 10 l2_is_gone "$l2_gone") 2>/dev/null; then
                say "the daemon $l2_gone of $l2_dir does not end; killed"
                if [ -n "$l2_conn" ]; then l2_abort "$l2_conn"; fi
                kill -9 "$l2_gone" 2>/dev/null || true
                if [ "$l2_rc" -eq 0 ]; then l2_rc=1; fi
            fi
        done
    done
    exit "$l2_rc"
}
trap l2_cleanup EXIT
trap 'exit 130' INT TERM HUP

# state FILE, attr FILE NAME: what the daemon says of a key.
attr() { getfattr --only-values -n "$2" -- "$1" 2>/dev/null; }
state() { attr "$1" user.l2fs.state; }
has_state() { [ "$(state "$1")" = "$2" ]; }
