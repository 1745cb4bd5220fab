#!/bin/sh
# PD with keys: two mounts that have them transfer. Who comes without, with a wrong one, or is not listed is refused,
# with one line in each log that says what to do, and those who belong go on.
# network: own
. "$SRCDIR/tests/functions.sh"
need jq
"$BUILDDIR/mount.l2fs" --help pd >/dev/null 2>&1 || skip "built without the pd adapter"
export UCX_LOG_LEVEL=error

D=$WORK/decode
G=$WORK/good
keygen=$BUILDDIR/tools/l2fs-keygen

say "keys"
for name in decode good stranger; do "$keygen" "$WORK/$name" >/dev/null; done
mkdir keys
mv decode decode.pub good good.pub stranger stranger.pub keys
assert_eq "$(stat -c %a keys/decode)" 600
assert_eq "$(wc -c <keys/decode.pub)" 41
assert_fails "$keygen" "$WORK/keys/decode"
assert_match "$(cat .err)" "*File exists*"
assert_fails "$keygen"
{ echo "# prefill nodes"; cat keys/good.pub; } >keys/clients

# lines LOG TEXT: how many lines of it have the text.
lines() { grep -cF -- "$2" "$1" || true; }
says() { [ "$(lines "$1" "$2")" -gt 0 ]; }
says_twice() { [ "$(lines "$1" "$2")" -eq 2 ]; }
# sender NAME OPTIONS: a mount that sends, at $WORK/NAME, with its log in NAME.log.
sender() {
    l2_mount "pd-send://127.0.0.1:$alloc,$init,connect_timeout=500ms$2" "$WORK/$1" \
        -o "l1=64M,store_retries=0,log=$WORK/$1.log"
}
# sends FILE: the good sender does.
sends() {
    head -c 1M /dev/urandom >"$G/$1"
    timeout 20 sync "$G/$1" || fail "$1 was not taken"
    assert_same "$G/$1" "$D/$1"
}

say "a secret that others can read"
chmod 644 keys/decode
assert_fails l2_mount "pd-recv://127.0.0.1:0,curve_server_key=$WORK/keys/decode" "$D" -o l1=64M
assert_match "$(cat .err)" "*$WORK/keys/decode*chmod 600*"
chmod 600 keys/decode

say "two mounts with keys"
l2_mount "pd-recv://127.0.0.1:0,curve_server_key=$WORK/keys/decode,curve_clients=$WORK/keys/clients" "$D" \
    -o "l1=256M,log=$WORK/decode.log"
status() { jq -r "$1" "$D/.l2fs/adapters/pd/status"; }
alloc=$(status '.alloc_ports[0]') init=$(status '.init_ports[0]')
sender good ",curve_server_key=$WORK/keys/decode.pub,curve_client_key=$WORK/keys/good"
sends first
assert_eq "$(status .messages_refused)" 0

# refused NAME OPTIONS AT_THE_RECEIVER AT_THE_SENDER: such a sender is, and both logs say why, once.
refused() {
    sender "$1" "$2"
    echo secret >"$WORK/$1/key"
    assert_fails timeout 20 sync "$WORK/$1/key"
    wait_for 20 says decode.log "$3"
    wait_for 20 says_twice "$1.log" "$4" # one for each of the two ports
    echo secret >"$WORK/$1/key2"
    assert_fails timeout 20 sync "$WORK/$1/key2"
    assert_eq "$(lines decode.log "$3")" 1 "$1: lines of the receiver"
    assert_eq "$(lines "$1.log" "$4")" 2 "$1: lines of the sender"
    assert_eq "$(find "$D" -name 'key*')" ""
    sends "after-$1"
    l2_lazy "$WORK/$1"
}
say "without keys"
refused plain "" "without keys: set curve_server_key and curve_client_key there" "wants keys (set curve_server_key"
say "with the key of another receiver"
refused wrong ",curve_server_key=$WORK/keys/stranger.pub,curve_client_key=$WORK/keys/good" \
    "has a wrong key for this side" "whose public key is curve_server_key here"
say "with a key that is not listed"
refused unlisted ",curve_server_key=$WORK/keys/decode.pub,curve_client_key=$WORK/keys/stranger" \
    "add the line $(cat keys/stranger.pub)" "add the public key of curve_client_key"
[ "$(status .messages_refused)" -ge 3 ] || fail "they were not counted: $(status .)"
