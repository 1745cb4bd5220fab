#!/bin/sh
# slow: yes
# PD with peers that speak the protocol and lie: an l2fs receiver to which an l2fs sender stores, and an l2fs
# sender at an l2fs receiver. Nothing of what they say is believed, and the honest are served meanwhile.
# network: own
. "$SRCDIR/tests/functions.sh"
need jq getfattr
"$BUILDDIR/mount.l2fs" --help pd >/dev/null 2>&1 || skip "built without the pd adapter"
PYTHON=/usr/bin/python3
$PYTHON -c 'import msgpack, zmq' 2>/dev/null || skip "no python3-msgpack and python3-zmq here"
export UCX_LOG_LEVEL=error PYTHONDONTWRITEBYTECODE=1

LIB=$SRCDIR/tests/lib
DEC=$WORK/decode PRE=$WORK/prefill
liar=
end() {
    rc=$?
    set +e
    [ -z "$liar" ] || kill "$liar" 2>/dev/null
    return $rc
}
trap 'end; l2_cleanup' EXIT

status() { jq -r "$2" "$1/.l2fs/adapters/pd/status"; }
# sender ALLOC INIT OPTIONS: mounts one at $PRE.
sender() { l2_mount "pd-send://127.0.0.1:$1,$2$3" "$PRE" -o l1=64M,store_retries=0; }
# stored KEY: fsync tells whether the receiver has it.
stored() { timeout 10 sync "$PRE/$1" 2>"$WORK/why"; }

say "a receiver that lies"
$PYTHON "$LIB/pd_hostile.py" liar "$WORK/address" >"$WORK/liar" &
liar=$!
wait_for 10 test -s "$WORK/liar"
read -r init alloc <"$WORK/liar"
sender "$alloc" "$init" ,alloc_timeout=300ms,transfer_timeout=1s,connect_timeout=500ms
mkdir -p "$PRE/lie"
able() { [ "$(status "$PRE" .peers_down)" = 0 ]; }
# told LIE: whether a key that is answered like that counts as stored.
told() {
    wait_for 10 able
    echo "$1" >"$PRE/lie/$1"
    rc=0
    stored "lie/$1" || rc=$?
    grep -q "^lie/$1 1" "$WORK/liar" || fail "$1: it was not asked: $(cat "$WORK/liar")"
    assert_eq "$(cat "$PRE/lie/$1")" "$1"
    rm "$PRE/lie/$1" # or the next one is asked for together with it
    return $rc
}
for lie in no-message wrong-seq no-tags many-tags there-too there-twice out-of-range negative error silence no-data; do
    told truth || fail "truth: $(cat "$WORK/why")"
    if told $lie; then fail "$lie: it counts as stored"; fi
    assert_match "$(cat "$WORK/why")" "*Input/output error*" "$lie"
done
told truth || fail "truth: $(cat "$WORK/why")" # and the address is that of a connection

say "a sender that lies"
l2_mount "pd-recv://127.0.0.1:0,lease=2s,alloc_timeout=1s" "$DEC" -o l1=64M
init=$(status "$DEC" '.init_ports[0]')
alloc=$(status "$DEC" '.alloc_ports[0]')
timeout 30 $PYTHON "$LIB/pd_hostile.py" rogue 127.0.0.1 "$init" "$alloc" "$WORK/address"
[ "$(status "$DEC" .peers)" -lt 10 ] || fail "who was refused is remembered"
at_rest() { [ "$(status "$DEC" '.buffer_used + .waiting + .allocations + .buffers')" = 0 ]; }
wait_for 10 at_rest
assert_eq "$(find "$DEC" -mindepth 1)" ""
assert_eq "$(status "$DEC" .landed_keys)" 0

say "the honest one"
l2_umount "$PRE"
kill $liar
sender "$alloc" "$init" ""
echo true >"$PRE/key"
stored key || fail "$(cat "$WORK/why")"
assert_eq "$(cat "$DEC/key")" true
