#!/bin/sh
# PD with peers that speak the protocol and lie: an l2fs receiver to which an l2fs sender stores, and an l2fs
# sender at an l2fs receiver. Nothing of what they say is believed, and the honest are served meanwhile.
. "$SRCDIR/tests/functions.sh"
PYTHON=/usr/bin/python3
need jq getfattr $PYTHON
$PYTHON -c 'import msgpack, zmq' 2>/dev/null || skip "no python3-msgpack and python3-zmq here"
"$BUILDDIR/mount.l2fs" --help 2>&1 | grep -qw pd || skip "built without the pd adapter"

export PYTHONDONTWRITEBYTECODE=1
hostile() { $PYTHON "$SRCDIR/tests/lib/pd_hostile.py" "$@"; }
# shellcheck disable=SC2046
set -- $($PYTHON "$SRCDIR/tests/lib/pd_peers.py" ports 4)
init=$1 alloc=$2 init2=$3 alloc2=$4
DEC=$WORK/decode PRE=$WORK/prefill

sender() { # INIT ALLOC
    echo "{\"l2\": [{\"type\": \"pd\", \"role\": \"sender\", \"peer_host\": \"127.0.0.1\", \"peer_init_port\": [$1],
        \"peer_alloc_port\": [$2], \"alloc_timeout\": \"200ms\", \"transfer_timeout\": \"500ms\",
        \"connect_timeout\": \"300ms\"}]}" >"$WORK/sender.json"
    l2_mount "$WORK/sender.json" "$PRE" -o l1=64M,store_retries=0
}
# stored KEY: fsync tells whether the receiver has it.
stored() { timeout 10 sync "$PRE/$1" 2>"$WORK/why"; }
status() { jq -r "$2" "$1/.l2fs/adapters/pd/status"; }

say "a receiver that lies"
hostile liar "$init" "$alloc" "$WORK/address" >"$WORK/liar" &
liar=$!
wait_for 10 grep -q ready "$WORK/liar"
sender "$init" "$alloc"
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
echo "{\"l2\": [{\"type\": \"pd\", \"role\": \"receiver\", \"peer_host\": \"127.0.0.1\", \"peer_init_port\": [$init2],
    \"peer_alloc_port\": [$alloc2], \"lease\": \"2s\", \"alloc_timeout\": \"1s\"}]}" >"$WORK/receiver.json"
l2_mount "$WORK/receiver.json" "$DEC" -o l1=64M
timeout 30 "$PYTHON" "$SRCDIR/tests/lib/pd_hostile.py" rogue 127.0.0.1 "$init2" "$alloc2" "$WORK/address"
at_rest() { [ "$(status "$DEC" '.buffer_used + .waiting + .allocations + .buffers')" = 0 ]; }
wait_for 10 at_rest
assert_eq "$(find "$DEC" -mindepth 1)" ""
assert_eq "$(status "$DEC" .landed_keys)" 0

say "the honest one"
l2_umount "$PRE"
kill $liar
sender "$init2" "$alloc2"
echo true >"$PRE/key"
stored key || fail "$(cat "$WORK/why")"
assert_eq "$(cat "$DEC/key")" true
