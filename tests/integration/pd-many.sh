#!/bin/sh
# Two prefill and two decode mounts: p1 and p2 send to d1 (2P1D), p2 sends to d1 and d2 (1P2D), by directory and by
# user.l2fs.peer. First in one machine, then each in a network namespace of its own, on a bridge. A reader on each
# decode side reads every key as soon as its name is there, again and again: it sees each only whole, also those
# that are written again meanwhile. When a request is ready, all its keys are there.
# L2FS_PD_FULL=1: 10,000 keys of 4 KiB to 256 MiB instead of some 2,500 up to 64 MiB.
# timeout: 180
# slow: yes
. "$SRCDIR/tests/functions.sh"
need_root
need ip nsenter unshare getfattr
"$BUILDDIR/mount.l2fs" --help pd >/dev/null 2>&1 || skip "built without the pd adapter"
PYTHON=/usr/bin/python3
export UCX_LOG_LEVEL=error
L1=1G BUFFER=192M
if [ -n "${L2FS_PD_FULL:-}" ]; then L1=1536M BUFFER=300M; fi

# ---- the network: p1, p2, d1, d2 on a bridge that is in a namespace of its own too ----
net=l2pd$$
net_up() {
    ip netns add "$net-sw"
    ip -n "$net-sw" link add br0 type bridge
    ip -n "$net-sw" link set br0 up
    for host in p1 p2 d1 d2; do
        ip netns add "$net-$host"
        ip -n "$net-$host" link add eth0 type veth peer name "$host" netns "$net-sw"
        ip -n "$net-sw" link set "$host" master br0 up
        ip -n "$net-$host" addr add "$(address $host)/24" dev eth0
        ip -n "$net-$host" link set eth0 up
        ip -n "$net-$host" link set lo up
        case $host in p*) # a network that leads to no receiver
            ip -n "$net-$host" link add dead0 type veth peer name dead1
            ip -n "$net-$host" addr add "10.215.0.1/24" dev dead0
            ip -n "$net-$host" link set dead0 up
            ip -n "$net-$host" link set dead1 up
            ;;
        esac
    done
}
net_down() { for host in p1 p2 d1 d2 sw; do ip netns del "$net-$host" 2>/dev/null; done; }
address() { case $1 in p1) echo 10.214.0.1 ;; p2) echo 10.214.0.2 ;; d1) echo 10.214.0.11 ;; d2) echo 10.214.0.12 ;; esac; }

mount --bind "$WORK" "$WORK"
mount --make-shared "$WORK"
cd "$WORK" || exit
trap 'l2_rc=$?; trap - EXIT; set +e; (exit $l2_rc); (l2_cleanup); l2_rc=$?; net_down; cd /; umount -l "$WORK"; exit $l2_rc' EXIT

# mount_at PLACE HOST SPEC
mount_at() {
    case $1 in
    local) l2_mount "$3" "$WORK/$2" ;;
    net)
        mkdir -p "$WORK/$2"
        nsenter --net="/run/netns/$net-$2" unshare -m --propagation unchanged \
            sh "$SRCDIR/tests/lib/own-ns.sh" "$WORK" "$BUILDDIR/mount.l2fs" "$3" "$WORK/$2" ${L2_OPTS:+-o "$L2_OPTS"}
        echo "$WORK/$2 $(l2_daemons "$WORK/$2" | tail -n 1)" >>"$l2_mounts"
        ;;
    esac
}
port() { "$PYTHON" -c 'import json, sys; print(json.load(open(sys.argv[1]))[sys.argv[2]][0])' "$WORK/$1/.l2fs/adapters/pd/status" "$2"; }

# receiver HOST ADDRESS, sender HOST ADDRESS [MORE]: their configurations.
receiver() {
    cat >"$1.json" <<EOF
{"l1": "$L1", "name": "$net-$1", "l2": [{"type": "pd", "role": "receiver", "peer_host": "$2", "peer_init_port": 0,
  "peer_alloc_port": 0, "buffer_size": "$BUFFER", "ttl": 0}]}
EOF
}
target() { echo "\"peer_host\": \"$2\", \"peer_init_port\": $(port "$1" init_ports), \"peer_alloc_port\": $(port "$1" alloc_ports)"; }
sender() {
    cat >"$1.json" <<EOF
{"l1": "$L1", "name": "$net-$1", "l2": [{"type": "pd", "role": "sender", $(target d1 "$2"), "alloc_timeout": "60s"${3:-}}]}
EOF
}

cat >many.py <<'EOF'
import os, random, struct, sys, time, zlib

HEAD = struct.Struct("<8sQQI")  # magic, size of the file, version, crc of what follows
BLOCK = random.Random(1).randbytes(1 << 20)
FULL = bool(os.environ.get("L2FS_PD_FULL"))
MIB = 1 << 20

def sizes(n, rnd):
    out = [rnd.choice((4096, 4096, 4096, 8192, rnd.randrange(4096, 65536))) for _ in range(n)]
    large = [MIB, 2 * MIB, 3 * MIB + 1, 8 * MIB] * (n // 400 if not FULL else n // 80) + [64 * MIB]
    if FULL: large += [16 * MIB] * (n // 100) + [256 * MIB] * 3
    for i, size in zip(rnd.sample(range(n), len(large)), large): out[i] = size
    return out

def plan(sender):
    """What a sender writes: (name, size, receiver's peer attribute, receiver), in requests."""
    rnd = random.Random(sender)
    n = (2500 if FULL else 600)
    routes = [("", "d1"), (None, "d1")] if sender == "p1" else [(None, "d1"), (None, "d2"), ("two", "d2")]
    count = 2 if sender == "p1" else 3
    todo = []
    for r, (peer, to) in enumerate(routes):
        top = "two-by-dir" if sender == "p2" and r == 1 else "%s-%d" % (sender, r)
        many = n if sender == "p1" else n * 2 // count + 1
        for i, size in enumerate(sizes(many // (1 if FULL else 2), rnd)):
            todo.append(("%s/d%d/k%05d" % (top, i % 7, i), size, peer or None, to))
    rnd.shuffle(todo)
    return [todo[i:i + 100] for i in range(0, len(todo), 100)]

def expected(receiver):
    return {k[0]: k[1] for s in ("p1", "p2") for req in plan(s) for k in req if k[3] == receiver}

def content(size, version, seed):
    at = seed % (MIB - 4096)
    body = (BLOCK[at:] + BLOCK * (size // MIB + 1))[:size - HEAD.size]
    return HEAD.pack(b"l2fs-key", size, version, zlib.crc32(body)) + body

def whole(data, name, size):
    if len(data) < HEAD.size: raise SystemExit("TORN: %s has %d bytes" % (name, len(data)))
    magic, total, version, crc = HEAD.unpack_from(data)
    if magic != b"l2fs-key" or total != len(data) or total != size or zlib.crc32(memoryview(data)[HEAD.size:]) != crc:
        raise SystemExit("TORN: %s, version %d, %d of %d bytes" % (name, version, len(data), size))
    return version

def put(top, key, version, req, last):
    name, size, peer, _ = key
    path = os.path.join(top, name)
    data = content(size, version, hash(name))
    via = path + ".tmp" if version or size % 2 else path
    fd = os.open(via, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
    os.setxattr(fd, "user.l2fs.req_id", req.encode())
    if peer: os.setxattr(fd, "user.l2fs.peer", peer.encode())
    if last: os.setxattr(fd, "user.l2fs.last_prefill", b"1")
    view = memoryview(data)
    while view: view = view[os.write(fd, view):]
    os.close(fd)
    if via != path: os.rename(via, path)

def write(top, sender):
    rnd, total, keys, begun = random.Random(7), 0, 0, time.monotonic()
    for r, todo in enumerate(plan(sender)):
        for d in {os.path.dirname(k[0]) for k in todo}: os.makedirs(os.path.join(top, d), exist_ok=True)
        req = "%s-%d" % (sender, r)
        again = [k for k in todo if k[1] < MIB and rnd.random() < 0.05]
        for k in todo: put(top, k, 0, req, False)
        for k in again: put(top, k, 1, req, False)
        put(top, todo[0], 2, req, True)
        total += sum(k[1] for k in todo)
        keys += len(todo)
    print("%s wrote %d keys, %d MiB in %.2f s" % (sender, keys, total >> 20, time.monotonic() - begun), flush=True)

def read(top, receiver):
    want, seen, begun = expected(receiver), {}, time.monotonic()
    left, pending, looks = set(want), {}, 0
    for s in ("p1", "p2"):
        for r, todo in enumerate(plan(s)): pending["%s-%d" % (s, r)] = [k for k in todo if k[3] == receiver]
    pending = {r: keys for r, keys in pending.items() if keys}
    rnd = random.Random(receiver)

    def look(name):
        nonlocal looks
        try:
            with open(os.path.join(top, name), "rb", buffering=0) as f: data = f.read()
        except FileNotFoundError:
            return False
        version = whole(data, name, want[name])
        looks += 1
        if version < seen.get(name, 0): raise SystemExit("%s: version %d after %d" % (name, version, seen[name]))
        seen[name] = version
        left.discard(name)
        return True

    limit = time.monotonic() + (1500 if FULL else 100)
    while left or pending:
        if time.monotonic() > limit: raise SystemExit("%s: %d keys did not come: %s; not ready: %s" % (
            receiver, len(left), sorted(left)[:5], sorted(pending)[:5]))
        for r in [r for r in os.listdir(os.path.join(top, ".l2fs/ready")) if r in pending]:
            for k in pending.pop(r):  # evicted since it was read, where L1 is small
                if not look(k[0]) and k[0] not in seen: raise SystemExit("%s is ready, %s is not there" % (r, k[0]))
        for d in list({os.path.dirname(n) for n in left}):
            try: names = os.listdir(os.path.join(top, d))
            except FileNotFoundError: continue
            for n in names:
                name = d + "/" + n
                if name not in want: raise SystemExit("%s: %s was not sent here" % (receiver, name))
                if name in left and not look(name): raise SystemExit("%s is listed and not there" % name)
        for name in rnd.sample(sorted(seen), min(50, len(seen))):
            if want[name] < MIB: look(name)
    print("%s read %d keys, %d MiB in %.2f s, %d looks, each whole" % (receiver, len(want), sum(want.values()) >> 20,
        time.monotonic() - begun, looks), flush=True)

def fresh(top, decode):
    """What fsync says is there is what the next open finds, whatever the kernel knew of the name before."""
    os.makedirs(top + "/fresh", exist_ok=True)
    os.makedirs(decode + "/fresh", exist_ok=True)
    for i in range(100):
        name, size = "fresh/k%d" % i, 5000 + i
        path, there = os.path.join(top, name), os.path.join(decode, name)
        assert not os.path.exists(there), there
        before = []
        for version in range(3):
            via = path + ".tmp" if version else path
            fd = os.open(via, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
            os.write(fd, content(size, version, i))
            os.fsync(fd)
            os.close(fd)
            if version: os.rename(via, path)
            with open(path, "rb") as f: os.fsync(f.fileno())
            f = open(there, "rb", buffering=0)
            got = whole(f.read(), name, size)
            assert got == version, "%s: version %d when %d was there" % (name, got, version)
            before.append(f)
        for version, f in enumerate(before):
            f.seek(0)
            got = whole(f.read(), name, size)
            assert got == version, "%s, open since version %d, is version %d" % (name, version, got)
            f.close()
    print("300 writes were seen at once", flush=True)

{"write": write, "read": read, "fresh": fresh}[sys.argv[1]](sys.argv[2], sys.argv[3])
EOF

# all PLACE ADDRESS-OF-D1 ADDRESS-OF-D2
all() {
    receiver d1 "$2"
    receiver d2 "$3"
    for host in d1 d2; do mount_at "$1" $host "$WORK/$host.json"; done
    sender p1 "$2"
    sender p2 "$2" ", \"peers\": {\"two\": {$(target d2 "$3"), \"dir\": \"two-by-dir\"}}"
    for host in p1 p2; do mount_at "$1" $host "$WORK/$host.json"; done
    "$PYTHON" many.py fresh "$WORK/p1" "$WORK/d1" || fail "an old version was seen after fsync of a new one"
    export PYTHONHASHSEED=1
    running=
    for host in d1 d2; do
        "$PYTHON" many.py read "$WORK/$host" $host &
        running="$running $!"
    done
    for host in p1 p2; do
        "$PYTHON" many.py write "$WORK/$host" $host &
        running="$running $!"
    done
    failed=
    for job in $running; do wait "$job" || failed=yes; done
    [ -z "$failed" ] || fail "not every key was seen whole"
    for host in p1 p2 d1 d2; do
        assert_eq "$("$PYTHON" -c 'import json, sys; s = json.load(open(sys.argv[1])); print(s["is_healthy"], s["objects"]["unstored"])' \
            "$WORK/$host/.l2fs/status")" "True 0" "the status of $host"
    done
    for host in p1 p2 d1 d2; do l2_umount "$WORK/$host"; done
}

say "on one machine"
all local 127.0.0.1 127.0.0.1
say "between network namespaces"
net_up
all net "$(address d1)" "$(address d2)"
