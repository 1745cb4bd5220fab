#!/bin/sh
# One prefill and one decode mount on this machine, over tcp: what is written at one appears at the other, whole,
# with its attributes; the request opens there, and the proxy is told once, when all of it has landed.
# timeout: 180
# fallback: yes
# network: own
. "$SRCDIR/tests/functions.sh"
need getfattr setfattr
. "$SRCDIR/tests/pd.sh"

P=$WORK/prefill
D=$WORK/decode
ctl=$BUILDDIR/tools/l2fsctl

pd_proxy 'sorted(m.items())'
trap 'pd_proxy_end; l2_cleanup' EXIT
wait_for 10 test -s proxy.out
told() { sed 1d proxy.out | grep -q "'req_id', '$1'"; }

say "two mounts"
l2_mount pd-recv://127.0.0.1:0,ttl=0 "$D" -o l1=512M
alloc=$(json "$D/.l2fs/adapters/pd/status" 's["alloc_ports"][0]')
init=$(json "$D/.l2fs/adapters/pd/status" 's["init_ports"][0]')
l2_mount "pd-send://127.0.0.1:$alloc,$init,proxy_host=127.0.0.1,proxy_port=$(head -n 1 proxy.out)" "$P" -o l1=512M

cat >work.py <<'EOF'
import hashlib, os, random, sys, threading, time

prefill, decode, req = sys.argv[1:4]
os.umask(0)
rnd = random.Random(req)
SIZES = [4096, 4097, 1, 65536, 1 << 20, (1 << 20) + 13, 8 << 20, 64 << 20] + [rnd.randrange(1, 300000) for _ in range(60)]
names = ["%s/d%d/k%03d" % (req, i % 3, i) for i in range(len(SIZES))]
sums = {n: hashlib.md5(rnd.randbytes(1)).digest() for n in names}
sizes, seen, errors = {}, {}, []
done = threading.Event()

# Reads every key as soon as its name is there: then all of it is.
def reader():
    left = set(names)
    while left and not done.is_set():
        for n in sorted(left):
            try:
                with open(os.path.join(decode, n), "rb") as f:
                    data = f.read()
            except FileNotFoundError:
                continue
            seen[n] = hashlib.md5(data).digest()
            left.discard(n)
        time.sleep(0.001)

def attr(fd, name, value): os.setxattr(fd, "user." + name, value)

def write(i, n, last):
    data = rnd.randbytes(SIZES[i])
    sums[n] = hashlib.md5(data).digest()
    path = os.path.join(prefill, n)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    name = path + ".tmp" if i % 2 else path
    fd = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o640)
    attr(fd, "l2fs.req_id", req.encode())
    attr(fd, "engine", b"\0\xffvalue")
    if last: attr(fd, "l2fs.last_prefill", b"1")
    at = 0
    while at < len(data): at += os.write(fd, data[at:])
    os.utime(fd, ns=(10**18 + 1, 10**18 + 123456789))
    os.close(fd)
    if name != path: os.rename(name, path)

t = threading.Thread(target=reader)
t.start()
begun = time.monotonic()
for i, n in enumerate(names):
    write(i, n, i == len(names) - 1)
t.join(60)
took = time.monotonic() - begun
done.set()
bad = [n for n in names if seen.get(n) != sums[n]]
assert not bad, "missing or different: %s" % [(n, n in seen) for n in bad]
for i, n in enumerate(names):
    path = os.path.join(decode, n)
    st = os.stat(path)
    assert st.st_size == SIZES[i] and st.st_mode & 0o7777 == 0o640, (n, st)
    assert st.st_mtime_ns == 10**18 + 123456789, (n, st.st_mtime_ns)
left = [f for _, _, files in os.walk(os.path.join(decode, req)) for f in files if f.endswith(".tmp")]
assert not left, left
print("%d keys, %d MiB in %.2f s" % (len(names), sum(SIZES) >> 20, took))
EOF

say "keys of 1 byte to 64 MiB, half of them by rename"
"$PYTHON" work.py "$P" "$D" first || fail "the keys did not come over"
assert_eq "$(attr "$D/first/d0/k000" user.l2fs.tiers)" l1 "where a key is that came"

say "the request is ready, and the proxy was told once"
timeout 30 cat "$D/.l2fs/ready/first" >/dev/null || fail ".l2fs/ready/first does not open"
wait_for 30 told first
assert_eq "$(sed 1d proxy.out)" "[('req_id', 'first'), ('type', 'ProxyNotif')]"

say "a second request over the same connection; new bytes replace old ones"
"$PYTHON" work.py "$P" "$D" second || fail "the second request did not come over"
timeout 30 cat "$D/.l2fs/ready/second" >/dev/null || fail ".l2fs/ready/second does not open"
echo new >"$P/first/d0/k000"
sync "$P/first/d0/k000"
assert_eq "$(cat "$D/first/d0/k000")" new "a key that was written again"

say "fsync returns when the receiver has it"
head -c 1000000 /dev/urandom >"$P/synced"
sync "$P/synced"
assert_eq "$(attr "$P/synced" user.l2fs.store)" pd=sent
assert_same "$P/synced" "$D/synced"

say "both are healthy, and say with whom they talk"
"$ctl" -m "$P" status >out || fail "the sender is not healthy: $(cat out)"
"$ctl" -m "$D" status >out || fail "the receiver is not healthy: $(cat out)"
[ "$(json "$P/.l2fs/adapters/pd/status" 's["role"]')" = sender ] || fail "the role of the sender"

assert_eq "$(cat "$P/.l2fs/peers/127.0.0.1/state")" up "the peer of the sender"

say "both come and go while a mount runs"
l2_mount null: "$WORK/d2" -o l1=64M
l2_mount null: "$WORK/p2" -o l1=64M
add() { setfattr -n user.l2fs.adapter_add -v "{\"type\": \"pd\", \"peer_host\": \"127.0.0.1\", $2}" "$1/.l2fs/adapters"; }
port() { json "$WORK/d2/.l2fs/adapters/pd.1/status" "s[\"$1\"][0]"; }
add "$WORK/d2" '"role": "receiver", "peer_init_port": 0, "peer_alloc_port": 0'
add "$WORK/p2" "\"role\": \"sender\", \"peer_init_port\": $(port init_ports), \"peer_alloc_port\": $(port alloc_ports)"
echo added >"$WORK/p2/key"
sync "$WORK/p2/key"
assert_eq "$(cat "$WORK/d2/key")" added "a key pushed by a tier that was added"
for dir in "$WORK/p2" "$WORK/d2"; do
    setfattr -n user.l2fs.adapter_remove -v pd.1 "$dir/.l2fs/adapters"
    assert_eq "$(ls "$dir/.l2fs/adapters")" null
done
assert_eq "$(cat "$WORK/d2/key")" added "a key that came stays when its tier goes"

say "an unmount sends what is left"
head -c 20M /dev/urandom >"$WORK/last"
cp "$WORK/last" "$P/last"
l2_umount "$P"
assert_same "$WORK/last" "$D/last"
l2_umount "$D"
