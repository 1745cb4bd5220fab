#!/bin/sh
# Keys on their way to a decode mount that does not answer: removing one waits for nothing, l2fsctl cancel takes those of
# a request back, nobody is told of it, and the room at the receiver is free again. Then .l2fs/peers and user.l2fs.peer.
# fallback: yes
# network: own
. "$SRCDIR/tests/functions.sh"
need getfattr setfattr timeout
. "$SRCDIR/tests/pd.sh"

P=$WORK/prefill
D=$WORK/decode
ctl=$BUILDDIR/tools/l2fsctl
awake() {
    pd_proxy_end || rc=$?
    kill -CONT "$(l2_pid "$D")" 2>/dev/null || true
    return "${rc:-0}"
}

pd_proxy 'sorted(m.items())'
trap 'awake; l2_cleanup' EXIT
wait_for 10 test -s proxy.out
# put KEY REQ_ID [LAST]
put() {
    : >"$P/$1"
    setfattr -n user.l2fs.req_id -v "$2" "$P/$1"
    if [ -n "${3:-}" ]; then setfattr -n user.l2fs.last_prefill -v 1 "$P/$1"; fi
    cat "$WORK/data" >"$P/$1"
}
is() { [ "$(attr "$P/$1" user.l2fs.store)" = "pd=$2" ]; }
event() { grep -q "\"event\":\"$1\",\"key\":\"$2\"" "$P/.l2fs/history"; }
peer_is() { [ "$(cat "$P/.l2fs/peers/127.0.0.1/state")" = "$1" ]; }
at_rest() { [ "$(json "$D/.l2fs/adapters/pd/status" 's["buffer_used"] + s["waiting"]')" = 0 ]; }
# told REQ_ID N: so often by now.
told() { [ "$(sed 1d proxy.out | grep -c "$1")" = "$2" ]; }

say "two mounts"
l2_mount pd-recv://127.0.0.1:0,ttl=0,lease=3s "$D" -o l1=128M
alloc=$(json "$D/.l2fs/adapters/pd/status" 's["alloc_ports"][0]')
init=$(json "$D/.l2fs/adapters/pd/status" 's["init_ports"][0]')
l2_mount "pd-send://127.0.0.1:$alloc,$init,alloc_timeout=60s,transfer_timeout=60s,proxy_host=127.0.0.1,proxy_port=$(head -n 1 proxy.out)" \
    "$P" -o l1=128M
head -c 3M /dev/urandom >data
put first one last
wait_for 20 cmp data "$D/first"
wait_for 20 told one 1
event request-done one || fail "no event request-done"
wait_for 10 is first sent
assert_eq "$(attr "$D/first" user.l2fs.store)" "" "a receiver sends nothing"

say ".l2fs/peers"
assert_eq "$(ls "$P/.l2fs/peers")" 127.0.0.1
peer_is up || fail "the receiver is $(cat "$P/.l2fs/peers/127.0.0.1/state")"
[ "$(cat "$P/.l2fs/peers/127.0.0.1/bytes")" -ge 3145728 ] || fail "bytes: $(cat "$P/.l2fs/peers/127.0.0.1/bytes")"
assert_eq "$(cat "$P/.l2fs/peers/127.0.0.1/inflight")" 0
"$ctl" -m "$P" status | grep -q '^127.0.0.1 .*up' || fail "l2fsctl status does not show the peer"
"$ctl" -m "$P" metrics | grep -q 'l2fs_peer_up{adapter="pd",peer="127.0.0.1"} 1' || fail "no metric of the peer"
[ -n "$(ls "$D/.l2fs/peers")" ] || fail "the receiver knows no peer"

say "the receiver does not answer"
l2_stop "$D"
put a two
put b two last
put c three
for key in a b c; do
    wait_for 10 is $key storing
done
timeout 3 rm "$P/c" || fail "removing a key waits for the network"
timeout 5 "$ctl" -m "$P" cancel two nobody >out || fail "l2fsctl cancel: $(cat out)"
assert_eq "$(cat out)" "two: cancelled
nobody: cancelled"
event request-cancelled two || fail "no event request-cancelled"
wait_for 10 grep -q '"given_up": 2' "$P/.l2fs/status"
is b failed || fail "a key that was cancelled is $(attr "$P/b" user.l2fs.store)"
kill -CONT "$(l2_pid "$D")"

say "what was cancelled does not arrive, its room is free, and the next ones do"
put d four last
wait_for 20 cmp data "$D/d"
wait_for 20 told four 1
wait_for 20 at_rest
for key in a b c; do
    [ ! -e "$D/$key" ] || fail "$key arrived all the same"
done
if ! told two 0 || ! told three 0; then fail "the proxy was told of what was cancelled"; fi
"$ctl" -m "$P" retry a >/dev/null
wait_for 20 cmp data "$D/a"

say "a peer that is not known"
mkdir "$P/far"
setfattr -n user.l2fs.peer -v nowhere "$P/far"
echo x >"$P/far/key"
assert_eq "$(attr "$P/far/key" user.l2fs.peer)" nowhere
[ ! -e "$D/far/key" ] || fail "it went somewhere"
setfattr -n user.l2fs.peer -v 127.0.0.1 "$P/far/key"
wait_for 40 test -s "$D/far/key"

say "an unmount waits for peers that do not answer as long as it says, not once for each, and names what they did not get"
pd_silent
wait_for 10 test -s silent.out
mute=$(cat silent.out)
tier() { echo "{\"type\": \"pd\", \"role\": \"sender\", \"peer_host\": \"127.0.0.1\", \"peer_init_port\": $1, \"peer_alloc_port\": $2, \"connect_timeout\": 60, \"close_timeout\": 2}"; }
echo "{\"l2\": [$(tier "$init" "$alloc"), $(tier "$mute" "$alloc"), $(tier "$init" "$mute")]}" >three.json
l2_mount "$WORK/three.json" "$WORK/p3" -o "l1=64M,drain_timeout=1s,log=$WORK/end.log"
echo here >"$WORK/p3/up"
wait_for 20 test -s "$D/up"
l2_stop "$D"
echo unsent >"$WORK/p3/left"
begun=$(date +%s%N)
l2_umount "$WORK/p3"
took=$((($(date +%s%N) - begun) / 1000000))
[ $took -lt 6800 ] || fail "it took $took ms: $(cat end.log)"
grep -q 'objects are not in L2 (.*"left"' end.log || fail "the log does not name it: $(cat end.log)"
awake
