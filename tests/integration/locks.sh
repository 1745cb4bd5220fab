#!/bin/sh
# Clients that die: kill -9 of 50 of them while they open, read, write, pin, or wait for a load. Afterwards no
# reader, writer, pin or lock in a tier is left, and no descriptor or staging file more than before.
# timeout: 180
# slow: yes
# fallback: yes
. "$SRCDIR/tests/functions.sh"
need python3 getfattr setfattr

L2=$WORK/l2
MNT=$WORK/mnt
mkdir -p "$L2" "$MNT"
cat >"$WORK/spec.json" <<EOF
{"l1": "128M", "l2": [{"type": "fault", "inner": {"type": "fs", "base_path": "$L2"},
  "rules": [{"op": "load", "action": "delay", "delay": "200ms"},
            {"op": "lookup", "action": "delay", "delay": "50ms"}]}]}
EOF
l2_mount "$WORK/spec.json" "$MNT"
pid=$(l2_pid "$MNT")

cat >"$WORK/clients.py" <<'EOF'
import json, os, random, signal, sys, time
mnt, rounds, kill = sys.argv[1], int(sys.argv[2]), sys.argv[3] == "kill"
KEYS, SIZE, CLIENTS = 40, 1 << 20, 50
def key(i): return "%s/k%02d" % (mnt, i)
def data(i): return bytes([i + 1]) * SIZE
def order(path, name, value=b"1"):
    try: os.setxattr(path, "user.l2fs." + name, value)
    except OSError: pass
def read_one(i):
    fd = os.open(key(i), os.O_RDONLY)
    while os.read(fd, 1 << 16): pass
    os.close(fd)
def client(n, rnd):
    while True:
        i, what = rnd.randrange(KEYS), n % 5
        if what == 0: read_one(i)
        elif what == 1: order(key(i), "evict"); read_one(i)  # waits for the load
        elif what == 2:
            fd = os.open("%s/w%02d-%d" % (mnt, n, rnd.randrange(3)), os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
            for _ in range(16): os.write(fd, b"x" * 65536)
            os.close(fd)
        elif what == 3: order(key(i), "pin", b"soft=1s"); read_one(i)
        else:
            fds = [os.open(key(rnd.randrange(KEYS)), os.O_RDONLY) for _ in range(4)]
            for fd in fds: os.pread(fd, 4096, 0)
            for fd in fds: os.close(fd)
def one_round(rnd):
    order(mnt, "evict")
    pids = []
    for n in range(CLIENTS):
        pid = os.fork()
        if pid == 0:
            signal.alarm(0 if kill else 2)
            try: client(n, random.Random(rnd.random()))
            finally: os._exit(1)
        pids.append(pid)
    deadline = time.monotonic() + 2
    rnd.shuffle(pids)
    for pid in pids:
        if kill:
            time.sleep(rnd.random() * max(0, deadline - time.monotonic()) / 10)
            os.kill(pid, signal.SIGKILL)
        status = os.waitpid(pid, 0)[1]
        want = signal.SIGKILL if kill else signal.SIGALRM
        assert os.WIFSIGNALED(status) and os.WTERMSIG(status) == want, "client: %d" % status
def locks_left():
    with open(mnt + "/.l2fs/status") as f: status = json.load(f)
    locks, left = status["locks"], []
    # the status file itself is no key
    if locks["readers"] or locks["writers"] or any(locks["l2"].values()): left.append(locks)
    if any(locks["pins"][k]["files"] for k in ("soft", "hard")): left.append(locks["pins"])
    if status["waiters"]: left.append({"waiters": status["waiters"]})
    for name in sorted(os.listdir(mnt)):
        lock = json.loads(os.getxattr(mnt + "/" + name, "user.l2fs.lock"))
        if lock["readers"] or lock["writer"] or lock["reader_pids"] or lock["writer_pids"] \
                or lock["l2"] or lock["storing"] or lock["pin"] != "none":
            left.append((name, lock))
    return left
def wait_quiet():
    deadline = time.monotonic() + 30
    while True:
        left = locks_left()
        if not left: return
        assert time.monotonic() < deadline, "left: %s" % left
        time.sleep(0.05)
rnd = random.Random(7)
if rounds == 0:
    for i in range(KEYS):
        with open(key(i), "wb") as f: f.write(data(i))
    os.sync()
for _ in range(rounds):
    one_round(rnd)
    wait_quiet()
for name in os.listdir(mnt):
    if name.startswith("w"): os.unlink(mnt + "/" + name)
for i in range(KEYS):
    with open(key(i), "rb") as f: assert f.read() == data(i), key(i)
wait_quiet()
EOF

stored() { [ "$(attr "$1" user.l2fs.store)" = fault=stored ]; }
staging=$(python3 -c 'import json, sys; print(json.load(open(sys.argv[1]))["l1"]["staging"])' "$MNT/.l2fs/status")
fds() { l2_fds "$MNT" | wc -l; }
staged() { find "$staging" -type f | wc -l; }
# at_rest: everything is evicted; L1 holds nothing
at_rest() {
    setfattr -n user.l2fs.evict -v 1 "$MNT" || return
    [ "$(staged)" -eq 0 ]
}
kinds() { find "/proc/$pid/fd" -mindepth 1 -exec readlink {} + | sed 's/[0-9a-f]*$//' | sort | uniq -c; }
no_more_fds() { [ "$(fds)" -le "$1" ]; }

say "the same load without a kill, for the numbers before"
python3 "$WORK/clients.py" "$MNT" 0 live
for i in 00 13 39; do wait_for 20 stored "$MNT/k$i"; done
python3 "$WORK/clients.py" "$MNT" 2 live
wait_for 30 at_rest
before=$(fds)
kinds

say "kill -9, three times 50"
python3 "$WORK/clients.py" "$MNT" 3 kill
wait_for 30 at_rest
kinds
wait_for 10 no_more_fds "$before"
say "descriptors of the daemon: $before before, $(fds) after; staging files: $(staged)"
l2_umount "$MNT"
