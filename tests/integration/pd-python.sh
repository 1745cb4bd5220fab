#!/bin/sh
# slow: yes
# PD against Python: LMCache's senders of both generations at an l2fs receiver, an l2fs sender at a proxy, and
# garbage on every port while two mounts transfer.
# L2FS_FLOOD=SECONDS of garbage (6).
# network: own
. "$SRCDIR/tests/functions.sh"
need jq getfattr setfattr
"$BUILDDIR/mount.l2fs" --help pd >/dev/null 2>&1 || skip "built without the pd adapter"
PYTHON=/usr/bin/python3
$PYTHON -c 'import msgpack, zmq' 2>/dev/null || skip "no python3-msgpack and python3-zmq here"
export UCX_LOG_LEVEL=error PYTHONDONTWRITEBYTECODE=1

LIB=$SRCDIR/tests/lib
CORPUS=$SRCDIR/tests/fuzz/corpus/fuzz_pd_proto
HOST=127.0.0.1
DEC=$WORK/decode PRE=$WORK/prefill

# background COMMAND...: runs beside the script, and not longer. Its output: $WORK/said
children=
background() {
    "$@" >"$WORK/said" &
    child=$!
    children="$children $child"
    wait_for 10 test -s "$WORK/said"
}
end() {
    rc=$?
    set +e
    for p in $children; do kill "$p" 2>/dev/null; done
    return $rc
}
trap 'end; l2_cleanup' EXIT

status() { jq -r "$2" "$1/.l2fs/adapters/pd/status"; }
at_rest() { [ "$(status "$1" '.buffer_used + .waiting')" = 0 ]; }
# receiver OPTIONS: mounts one at $DEC, and notes its ports.
receiver() {
    l2_mount "pd-recv://$HOST:0,$1" "$DEC" -o l1=128M
    init=$(status "$DEC" '.init_ports[0]')
    alloc=$(status "$DEC" '.alloc_ports[0]')
}

# prefill KEY REQ_ID LAST: a file as an engine's prefill writes it.
prefill() {
    $PYTHON - "$WORK/data" "$PRE/$1" "$2" "$3" <<'PY'
import os, sys
source, path, req_id, last = sys.argv[1:]
os.makedirs(os.path.dirname(path), exist_ok=True)
with open(path, "xb") as f:
    os.setxattr(f.fileno(), "user.l2fs.req_id", req_id.encode())
    if last == "last":
        os.setxattr(f.fileno(), "user.l2fs.last_prefill", b"1")
    f.write(open(source, "rb").read())
PY
}
arrived() { cmp -s "$WORK/data" "$DEC/$1"; }

say "the messages, packed by Python"
$PYTHON "$LIB/pd_peers.py" bytes "$CORPUS"

say "a sender of the sync generation; what nobody cancels goes when its lease ends"
receiver buffer_size=128K,lease=1s
echo here >"$DEC/present@bfloat16"
timeout 30 $PYTHON "$LIB/pd_peers.py" sync $HOST "$init" "$alloc" present@bfloat16
assert_ne "$(status "$DEC" .garbage)" 0 "garbage"
wait_for 10 at_rest "$DEC"
l2_umount "$DEC"

say "a sender of the async generation"
receiver buffer_size=128K,alloc_timeout=1s
echo here >"$DEC/present@bfloat16"
timeout 30 $PYTHON "$LIB/pd_peers.py" async $HOST "$alloc" present@bfloat16
l2_umount "$DEC"

say "a proxy"
receiver buffer_size=64M
background $PYTHON "$LIB/pd_peers.py" proxy 0 2
proxy=$(cat "$WORK/said")
l2_mount "pd-send://$HOST:$alloc,$init,proxy_host=$HOST,proxy_port=$proxy,notify_timeout=10m" "$PRE" -o l1=128M
head -c 1000000 /dev/urandom >"$WORK/data"
prefill r7/a 7 no
prefill r7/b 7 no
wait_for 10 arrived r7/a
wait_for 10 arrived r7/b
prefill r7/c 7 last
wait_for 10 arrived r7/c
prefill r8/a "request 8" last
wait $child || fail "the proxy was not told as it should be"
assert_eq "$(sed 1d "$WORK/said" | sort | tr '\n' ' ')" "82a474797065aa50726f78794e6f746966a67265715f6964a137 \
82a474797065aa50726f78794e6f746966a67265715f6964a9726571756573742038 "

say "garbage on every port, and a proxy that speaks it, while keys are transferred"
l2_fds "$DEC" >"$WORK/before"
rss() { awk '/^VmRSS/ { print $2 }' "/proc/$(l2_pid "$1")/status"; }
before=$(rss "$DEC")
seconds=${L2FS_FLOOD:-6}
background $PYTHON "$LIB/pd_hostile.py" garbage "$proxy" "$seconds"
speaks=$child
$PYTHON "$LIB/pd_hostile.py" flood "$seconds" "$CORPUS" $HOST "$init" "$alloc" "$(l2_pid "$DEC")" "$(l2_pid "$PRE")" \
    >"$WORK/flooded" &
floods=$!
children="$children $floods"
n=0
while kill -0 $floods 2>/dev/null && [ $n -lt 60 ]; do
    prefill "flood/$n" "f$((n / 10))" "$([ $((n % 10)) -eq 9 ] && echo last)"
    wait_for 10 arrived "flood/$n"
    n=$((n + 1))
done
wait $floods || fail "the flood"
wait $speaks || fail "the broken proxy"
say "$(cat "$WORK/flooded"); $n keys meanwhile"
[ $n -ge 1 ] || fail "no key was transferred during the flood"
say "nothing has changed but counters"
for i in $(seq 0 $((n - 1))); do arrived "flood/$i" || fail "flood/$i differs"; done
assert_eq "$(status "$DEC" .landed_keys)" $((n + 4))
assert_eq "$(status "$DEC" '.failed_keys + .corrupt_keys + .reset_keys')" 0
assert_ne "$(status "$DEC" .garbage)" 0
assert_eq "$(jq -r .is_healthy "$DEC/.l2fs/status")" true
wait_for 10 at_rest "$DEC"
no_more_fds() { l2_fds "$DEC" >"$WORK/after" && [ -z "$(comm -13 "$WORK/before" "$WORK/after")" ]; }
wait_for 20 no_more_fds
say "resident: $before KiB before, $(rss "$DEC") KiB after"
case ${L2FS_VARIANT:-} in
asan | tsan) ;; # they keep what is freed for a while
*) [ "$(rss "$DEC")" -lt $((before + 65536)) ] || fail "the daemon has grown" ;;
esac

say "the proxy is told of what it missed, once"
timeout 40 $PYTHON "$LIB/pd_peers.py" proxy "$proxy" $((n / 10)) >"$WORK/said" || fail "the proxy was not told"
assert_eq "$(sort -u "$WORK/said" | wc -l)" $((n / 10 + 1))
prefill last/a end last
wait_for 10 arrived last/a
