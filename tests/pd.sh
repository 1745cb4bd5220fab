# shellcheck shell=sh
# What mount scripts of the pd adapter share; after tests/functions.sh: . "$SRCDIR/tests/pd.sh"
"$BUILDDIR/mount.l2fs" --help pd >/dev/null 2>&1 || skip "built without the pd adapter"
PYTHON=/usr/bin/python3
"$PYTHON" -c 'import zmq, msgpack' 2>/dev/null || skip "no python3-zmq or python3-msgpack here"
export UCX_LOG_LEVEL=error

# pd_proxy EXPRESSION: a proxy whose proxy.out has its port, then EXPRESSION of every message m, one line each.
# It ends with $proxy being killed, which the script's trap must do.
pd_proxy() {
    cat >proxy.py <<'END'
import sys, msgpack, zmq
s = zmq.Context().socket(zmq.PULL)
print(s.bind_to_random_port("tcp://127.0.0.1"), flush=True)
while True:
    print(eval(sys.argv[1], {"m": msgpack.unpackb(s.recv())}), flush=True)
END
    "$PYTHON" proxy.py "$1" >proxy.out &
    proxy=$!
}
pd_proxy_end() {
    l2_rc=$?
    set +e
    kill "$proxy" ${silent:+"$silent"} 2>/dev/null
    return $l2_rc
}

# pd_silent: a port in silent.out whose connections are taken and never answered; pd_proxy_end ends it.
pd_silent() {
    "$PYTHON" -c 'import socket
s = socket.create_server(("127.0.0.1", 0))
print(s.getsockname()[1], flush=True)
kept = []
while True: kept.append(s.accept())' >silent.out &
    silent=$!
}

# json FILE EXPRESSION: a part of a JSON file, s.
json() { "$PYTHON" -c 'import json, sys; s = json.load(open(sys.argv[1])); print(eval(sys.argv[2]))' "$1" "$2"; }
