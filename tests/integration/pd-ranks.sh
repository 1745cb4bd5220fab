#!/bin/sh
# Two TP ranks and two receivers: each rank has its ports, a request is ready when every rank has said so, the proxy
# hears of it once from each; keys go where their directory or user.l2fs.peer says. A receiver that is killed or
# unmounted between the ranks of a request either is ready when the last has said so, or says that it will not be.
# timeout: 120
# network: own
. "$SRCDIR/tests/functions.sh"
need getfattr setfattr
. "$SRCDIR/tests/pd.sh"

pd_proxy 'm["req_id"]'
trap 'pd_proxy_end; l2_cleanup' EXIT
wait_for 10 test -s proxy.out
# told REQ_ID N: so often by now.
told() { [ "$(sed 1d proxy.out | grep -cx "$1")" = "$2" ]; }

say "decode: one mount with two ranks, another beside it"
ranks='"role": "receiver", "peer_host": "127.0.0.1", "peer_init_port": [0, 0], "peer_alloc_port": [0, 0]'
for d in d1 d2; do
    echo "{\"l1\": \"128M\", \"l2\": [{\"type\": \"pd\", $ranks}]}" >$d.json
    l2_mount "$WORK/$d.json" "$WORK/$d"
done
ports() {
    "$PYTHON" -c 'import json, sys
s = json.load(open(sys.argv[1]))
print("\"peer_init_port\": %s, \"peer_alloc_port\": %s" % (s["init_ports"], s["alloc_ports"]))' "$WORK/$1/.l2fs/adapters/pd/status"
}

say "prefill: a mount for each rank"
for rank in 0 1; do
    cat >p$rank.json <<EOF
{"l1": "128M", "l2": [{"type": "pd", "role": "sender", "peer_host": "127.0.0.1", $(ports d1), "tp_rank": $rank,
  "peers": {"second": {"peer_host": "127.0.0.1", $(ports d2), "dir": "long"}},
  "proxy_host": "127.0.0.1", "proxy_port": $(head -n 1 proxy.out)}]}
EOF
    l2_mount "$WORK/p$rank.json" "$WORK/p$rank"
    mkdir "$WORK/p$rank/long"
done

# put RANK KEY REQ_ID LAST [PEER]: a key of its own for each rank, as an engine names them.
put() {
    exec 5>"$WORK/p$1/$2@$1"
    setfattr -n user.l2fs.req_id -v "$3" "$WORK/p$1/$2@$1"
    setfattr -n user.l2fs.last_prefill -v "$4" "$WORK/p$1/$2@$1"
    if [ -n "${5:-}" ]; then setfattr -n user.l2fs.peer -v "$5" "$WORK/p$1/$2@$1"; fi
    head -c 300000 /dev/urandom >&5
    exec 5>&-
}
listed() { find "$WORK/$1/.l2fs/ready" -name "$2" | grep -q .; }
same() { wait_for 20 cmp "$WORK/p$1/$2@$1" "$WORK/$3/$2@$1"; }

say "a request is ready when both ranks have said so"
put 0 a req-1 0
put 0 b req-1 1
same 0 a d1
same 0 b d1
wait_for 20 told req-1 1
if listed d1 req-1; then fail "ready before the second rank was done"; fi
put 1 a req-1 1
timeout 20 cat "$WORK/d1/.l2fs/ready/req-1" >/dev/null || fail ".l2fs/ready/req-1 does not open"
same 1 a d1
wait_for 20 told req-1 2

say "a directory and an attribute choose the receiver"
put 0 long/c req-2 0
put 0 d req-2 1 second
put 1 long/c req-2 1
for key in "0 long/c" "0 d" "1 long/c"; do
    # shellcheck disable=SC2086
    same $key d2
done
timeout 20 cat "$WORK/d2/.l2fs/ready/req-2" >/dev/null || fail ".l2fs/ready/req-2 does not open"
if [ -e "$WORK/d1/d@0" ] || [ -e "$WORK/d1/long" ]; then fail "the first receiver has keys of the second"; fi
wait_for 20 told req-2 2
if listed d1 req-2; then fail "ready where no key of it went"; fi

# Between the ranks of request $1 with the key $2, $3 ends decode, which is mounted again.
between() {
    put 0 "$2" "$1" 1
    wait_for 20 told "$1" 1
    echo "{\"l1\": \"128M\", \"l2\": [{\"type\": \"pd\", \"role\": \"receiver\", \"peer_host\": \"127.0.0.1\", $(ports d1)}]}" >d1.json
    "$3" "$WORK/d1"
    l2_mount "$WORK/d1.json" "$WORK/d1"
    put 1 "$2" "$1" 1
    wait_for 20 told "$1" 2
}

say "decode is killed between the ranks: what had come is there, and the request is ready"
between req-3 e l2_crash
timeout 20 cat "$WORK/d1/.l2fs/ready/req-3" >/dev/null || fail ".l2fs/ready/req-3 does not open"
same 0 e d1
same 1 e d1

say "decode is unmounted between the ranks: what had come is gone, and who waits is told so"
between req-4 f l2_umount
assert_fails timeout 20 cat "$WORK/d1/.l2fs/ready/req-4"
assert_match "$(cat .err)" "*Input/output error*"
same 1 f d1

for m in p0 p1 d1 d2; do l2_umount "$WORK/$m"; done
assert_eq "$(sed 1d proxy.out | sort | uniq -c | awk '{ print $1, $2 }' | tr '\n' ' ')" "2 req-1 2 req-2 2 req-3 2 req-4 "
