"""Faults between two pd mounts, injected while keys are on their way. Used by tests/integration/pd-faults.sh.

usage: pd_faults.py MOUNT.L2FS DIR NETNS VETH PEER ROUNDS SEED
DIR is a shared mount. VETH is the end here of a veth pair, the other one is l2f in NETNS and has the address PEER.

Every key says of itself how long it is and what its checksum is, so a reader knows a torn one without knowing what was
written. A process reads every key of the decode mount all the time. After each fault everything that was written must
arrive by itself, and nothing may be left of what was on its way.
"""

import errno, json, multiprocessing, os, random, signal, struct, subprocess, sys, threading, time, zlib

BIN, DIR, NETNS, VETH, PEER = sys.argv[1:6]
ROUNDS, SEED = int(sys.argv[6]), int(sys.argv[7])
HERE = os.stat(DIR).st_dev
HEAD = struct.Struct("<QI")
MIB = 1 << 20
FAULTS = ("kill sender", "kill receiver", "stop sender", "stop receiver", "cut", "restart both")
PHASES = ("hello", "alloc", "data", "commit")
# What a program may meet whose mount dies, or is mounted again, under it. EEXIST: makedirs(), then.
GONE = (errno.ENOTCONN, errno.ECONNABORTED, errno.ENOENT, errno.EIO, errno.ESTALE, errno.ENODEV, errno.EEXIST)
BOUND = 20.0  # seconds that any call of a program may take
ARRIVE = 30.0  # and until everything is there after the fault is over

NSENTER = "nsenter --net=/run/netns/%s unshare -m --propagation unchanged sh"
OWN_NS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "own-ns.sh")



def note(text):
    print("# %s" % text, flush=True)


class Failure(Exception):
    pass


def wait_for(what, seconds, test, nap=0.02):
    end = time.monotonic() + seconds
    while True:
        seen = test()
        if seen is True:
            return
        if time.monotonic() > end:
            raise Failure("after %g s: %s: %s" % (seconds, what, seen))
        time.sleep(nap)


class Mount:
    def __init__(self, name, netns, options):
        self.name, self.netns, self.options = name, netns, options
        self.dir = os.path.join(DIR, name)
        self.staging = os.path.join(DIR, "staging-" + name)
        self.pid = None
        self.fds = None
        os.makedirs(self.dir, exist_ok=True)
        os.makedirs(self.staging, exist_ok=True)

    def start(self, spec):
        log = os.path.join(os.path.dirname(DIR), self.name + ".log")
        command = [BIN, spec, self.dir, "-o", "staging=%s,log=%s,%s" % (self.staging, log, self.options)]
        if self.netns:
            command = (NSENTER % self.netns).split() + [OWN_NS, DIR] + command
        subprocess.run(command, check=True, timeout=30)
        self.pid = self.find_pid()
        self.connection = os.minor(os.stat(self.dir).st_dev)
        with open(os.environ["L2FS_MOUNTS"], "a") as f:
            f.write("%s %d\n" % (self.dir, self.pid))

    def find_pid(self):
        for name in os.listdir("/run/l2fs"):
            if not name.endswith(".lock"):
                continue
            try:
                with open(os.path.join("/run/l2fs", name)) as f:
                    pid, _, where = (f.readline().rstrip("\n").split(" ", 2) + ["", ""])[:3]
            except FileNotFoundError:  # of another test's daemon, which ended meanwhile
                continue
            if where == self.dir and os.path.exists("/proc/" + pid):
                return int(pid)
        raise Failure("no daemon serves " + self.dir)

    def json(self, name):
        with open(os.path.join(self.dir, ".l2fs", name)) as f:
            return json.load(f)

    def check(self):
        if is_gone(self.pid):
            raise Failure("the daemon of %s ended by itself" % self.name)

    def kill(self):
        self.check()
        os.kill(self.pid, signal.SIGKILL)
        wait_for("the end of a daemon", 10, lambda: is_gone(self.pid) or self.pid)
        subprocess.run(["umount", "-l", self.dir], check=True, timeout=20)

    def open_files(self):
        """What it has open, but for what is made at first use and kept."""
        links = []
        for fd in os.listdir("/proc/%d/fd" % self.pid):
            try:
                link = os.readlink("/proc/%d/fd/%s" % (self.pid, fd))
            except FileNotFoundError:
                continue
            if link != "/dev/fuse" and "io_uring" not in link:
                links.append(link.split(":")[0])
        return sorted(links)


def is_gone(pid):
    try:
        with open("/proc/%d/status" % pid) as f:
            return "State:\tZ" in f.read()
    except FileNotFoundError:
        return True


# --- keys ---


def make_bytes(rnd, size):
    body = rnd.randbytes(min(size, 65536)) * (size // 65536 + 1)
    body = body[: max(size - HEAD.size, 0)]
    return HEAD.pack(HEAD.size + len(body), zlib.crc32(body)) + body


def is_whole(data):
    if len(data) < HEAD.size:
        return False
    size, crc = HEAD.unpack_from(data)
    return size == len(data) and crc == zlib.crc32(memoryview(data)[HEAD.size :])


def read_key(path):
    with open(path, "rb", buffering=0) as f:
        return f.read()


def read_all(root, stats, stop):
    """The process that reads. stats: keys read, torn ones, errors, longest call in ms."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    while not stop.is_set():
        try:
            names = [os.path.join(d, f) for d, _, files in os.walk(root) for f in files]
        except OSError:
            names = []
        for path in names or [""]:
            begun = time.monotonic()
            try:
                data = read_key(path) if path else b""
                if path:
                    stats[0] += 1
                    if not is_whole(data):
                        stats[1] += 1
                        print("TORN: %s: %d bytes" % (path, len(data)), flush=True)
            except OSError as e:
                if e.errno not in (errno.ENOENT, errno.ESTALE, errno.ENOTCONN, errno.ECONNABORTED):
                    stats[2] += 1
                    print("# reader: %s: %s" % (path, e), flush=True)
            stats[3] = max(stats[3], int((time.monotonic() - begun) * 1000))
        time.sleep(0.005)


# --- one round ---


class Faults:
    def __init__(self):
        self.sender = Mount("prefill", None, "l1=256M,store_timeout=8s,store_retries=0,drain_timeout=5s")
        self.receiver = Mount("decode", NETNS, "l1=256M,drain_timeout=5s")
        self.rnd = random.Random(SEED)
        self.ports = (0, 0)
        self.longest = 0.0
        self.hits = {}
        self.slowest = 0.0
        self.progress = time.monotonic()
        self.refused = 0

    def start_receiver(self):
        options = "buffer_size=16M,lease=3s,ttl=0,alloc_timeout=2s,close_timeout=1s,devices=l2f"
        self.receiver.start("pd-recv://%s:%d,%d,%s" % (PEER, *self.ports, options))
        if not self.ports[0]:
            status = self.receiver.json("adapters/pd/status")
            self.ports = (status["alloc_ports"][0], status["init_ports"][0])

    def start_sender(self):
        options = "alloc_timeout=2s,transfer_timeout=2s,connect_timeout=1s,close_timeout=1s,devices=" + VETH
        self.sender.start("pd-send://%s:%d,%d,%s" % (PEER, *self.ports, options))

    def call(self, fn, *args):
        begun = time.monotonic()
        try:
            return fn(*args)
        finally:
            self.longest = max(self.longest, time.monotonic() - begun)

    def put(self, where, name, data):
        """True when the key was accepted; an error leaves it unknown."""
        path = os.path.join(where, name)
        temporary = "%s.%d.tmp" % (path, threading.get_ident())
        try:
            fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
            try:
                if os.fstat(fd).st_dev == HERE:  # nothing is mounted at this moment
                    os.unlink(temporary)
                    return False
                at = 0
                while at < len(data):
                    at += os.write(fd, memoryview(data)[at:])
            finally:
                os.close(fd)
            os.rename(temporary, path)
            return True
        except OSError as e:
            if e.errno not in GONE:
                raise
            return False

    def write(self, plan, accepted):
        for name, data in plan:
            self.call(os.makedirs, os.path.dirname(os.path.join(self.sender.dir, name)), 0o755, True)
            accepted[name] = data if self.call(self.put, self.sender.dir, name, data) else None

    def writer(self, plan, accepted):
        try:
            self.write(plan, accepted)
        except OSError as e:
            if e.errno not in GONE:
                accepted["error"] = e

    def peers_inflight(self):
        try:
            return sum(p.get("inflight", 0) for p in self.sender.json("status")["peers"].values())
        except (OSError, ValueError):
            return 0

    def reached(self, phase):
        try:
            if phase == "alloc":
                return self.receiver.json("adapters/pd/status")["waiting"] > 0
            return self.peers_inflight() > 0
        except (OSError, ValueError, KeyError):
            return False

    def wait_phase(self, phase):
        end = time.monotonic() + 3
        if phase == "hello":
            time.sleep(self.rnd.uniform(0, 0.02))
            return
        while not self.reached(phase):
            if time.monotonic() > end:
                self.hits["missed " + phase] = self.hits.get("missed " + phase, 0) + 1
                return
            time.sleep(0.002)
        if phase == "data":
            time.sleep(self.rnd.uniform(0, 0.2))
        while phase == "commit" and self.peers_inflight() and time.monotonic() < end:
            time.sleep(0.001)

    def inject(self, fault):
        pause = self.rnd.choice((0.2, 0.7, 1.2, 2.5))
        if fault == "kill sender":
            self.sender.kill()
            self.start_sender()
        elif fault == "kill receiver":
            self.receiver.kill()
            time.sleep(pause / 2)
            self.start_receiver()
        elif fault == "restart both":
            self.sender.kill()
            self.receiver.kill()
            self.start_receiver()
            self.start_sender()
        elif fault == "cut":
            subprocess.run(["ip", "link", "set", VETH, "down"], check=True)
            time.sleep(pause)
            subprocess.run(["ip", "link", "set", VETH, "up"], check=True)
        else:
            pid = (self.sender if fault == "stop sender" else self.receiver).pid
            os.kill(pid, signal.SIGSTOP)
            time.sleep(pause)
            os.kill(pid, signal.SIGCONT)

    def has_arrived(self, want):
        for name, data in want.items():
            try:
                if self.call(read_key, os.path.join(self.receiver.dir, name)) != data:
                    return name + " is another version"
            except OSError as e:
                return "%s: %s" % (name, e.strerror)
        return True

    def describe(self, name):
        """For a failure: what both sides know of a key."""
        lines = []
        for mount in (self.sender, self.receiver):
            mount.check()
            path = os.path.join(mount.dir, name)
            for attribute in ("state", "store", "tiers", "error"):
                try:
                    lines.append("%s %s=%s" % (mount.name, attribute, os.getxattr(path, "user.l2fs." + attribute).decode()))
                except OSError as e:
                    lines.append("%s %s: %s" % (mount.name, attribute, e.strerror))
            status = mount.json("status")
            status["tiers"] = [{k: v for k, v in t.items() if k not in ("usage", "flags")} for t in status["tiers"]]
            lines += ["%s %s" % (mount.name, json.dumps({k: status[k] for k in ("store", "objects", "peers", "tiers", "health")}))]
            with open(os.path.join(mount.dir, ".l2fs/history")) as f:
                lines += [mount.name + " " + line.strip() for line in f if '"key":"%s"' % name in line]
        return "\n  ".join(lines)

    def at_rest(self):
        s, r = self.sender.json("status"), self.receiver.json("status")
        store = s["store"]
        tier, other = s["tiers"][0], r["tiers"][0]
        left = {
            "stores": store["queued"] + store["in_flight"] + store["retrying"] + store["given_up"],
            "unstored": s["objects"]["unstored"],
            "inflight": sum(p["inflight"] for p in s["peers"].values()),
            "batches": tier["batches_under_way"] + tier["keys_under_way"],
            "waiters": s["waiters"] + r["waiters"],
            "buffer": other["buffer_used"],
            "waiting": other["waiting"],
            "promised": r["l1"]["promised"] + s["l1"]["promised"],
            "arriving": r["l1"]["arriving"],
            "locks": s["locks"]["writers"] + r["locks"]["writers"],
        }
        return {k: v for k, v in left.items() if v} or True

    def is_empty(self):
        left = {m.name: (m.json("status")["l1"]["used"], m.json("status")["objects"]["files"]) for m in (self.sender, self.receiver)}
        return left if any(used > 64 * 1024 or files for used, files in left.values()) else True

    def same_files(self, mount):
        now = mount.open_files()
        if mount.fds is None:
            mount.fds = now
        more = [f for f in now if now.count(f) > mount.fds.count(f)]
        return True if len(now) <= len(mount.fds) else "%s has more descriptors: %s" % (mount.name, more)

    def remove_all(self):
        for mount in (self.sender, self.receiver):
            for top, _, files in os.walk(mount.dir):
                for name in files:
                    try:
                        self.call(os.unlink, os.path.join(top, name))
                    except FileNotFoundError:
                        pass

    def plan(self, n, phase):
        big = {"hello": 1, "alloc": 10, "data": 6, "commit": 1}[phase]
        sizes = [self.rnd.randrange(16, 200000) for _ in range(12)] + [4 * MIB] * big
        self.rnd.shuffle(sizes)
        keys = [("r%d/k%d" % (n, i), make_bytes(self.rnd, size)) for i, size in enumerate(sizes)]
        return keys[0::2], keys[1::2] + [("hot", make_bytes(self.rnd, 30000))]

    def round(self, n, fault, phase):
        accepted = {}
        if phase == "hello":  # no connection yet
            self.sender.kill()
            self.start_sender()
        writers = [threading.Thread(target=self.writer, args=(part, accepted)) for part in self.plan(n, phase)]
        for t in writers:
            t.start()
        self.wait_phase(phase)
        self.inject(fault)
        for t in writers:
            t.join(BOUND)
            if t.is_alive():
                raise Failure("a writer hangs")
        over = time.monotonic()
        if "error" in accepted:
            raise Failure("a writer met %s" % accepted["error"])
        self.refused += sum(v is None for v in accepted.values())
        # What was cut short is written again: the mount is usable.
        again = [(k, make_bytes(self.rnd, 5000)) for k, v in accepted.items() if v is None]
        self.write(again + [("r%d/after" % n, make_bytes(self.rnd, 5000))], accepted)
        try:
            wait_for("not everything has arrived", ARRIVE, lambda: self.has_arrived(accepted), 0.05)
        except Failure:
            lacking = [name for name in accepted if self.has_arrived({name: accepted[name]}) is not True]
            note("lacking: %s" % " ".join(lacking))
            note(self.describe(lacking[0]) if lacking else "they have come now")
            raise
        took = time.monotonic() - over
        self.slowest = max(self.slowest, took)
        wait_for("something is still on its way", 15, self.at_rest, 0.05)
        for mount in (self.sender, self.receiver):
            wait_for("descriptors", 10, lambda m=mount: self.same_files(m), 0.1)
        self.remove_all()
        wait_for("memory is not given back", 10, self.is_empty, 0.05)
        self.hits[fault + " / " + phase] = self.hits.get(fault + " / " + phase, 0) + 1

    def watch(self):
        """Nothing may hang: then the connections are aborted, so that this program can end."""
        while time.monotonic() - self.progress < 120:
            time.sleep(1)
        print("FAIL: no progress for 120 s", flush=True)
        for mount in (self.sender, self.receiver):
            os.kill(mount.pid, signal.SIGCONT)
            with open("/sys/fs/fuse/connections/%d/abort" % mount.connection, "w") as f:
                f.write("1")
        os._exit(1)

    def run(self):
        self.start_receiver()
        self.start_sender()
        threading.Thread(target=self.watch, daemon=True).start()
        stats, stop = multiprocessing.Array("q", 4), multiprocessing.Event()
        reader = multiprocessing.Process(target=read_all, args=(self.receiver.dir, stats, stop))
        reader.start()
        self.write([("warm", make_bytes(self.rnd, 100000))], warm := {})
        wait_for("the first key does not arrive", 20, lambda: self.has_arrived(warm))
        wait_for("something is still on its way", 10, self.at_rest, 0.05)
        self.remove_all()
        n = 0
        try:
            for i in range(ROUNDS):
                for j, fault in enumerate(FAULTS):
                    phase = PHASES[(i + j) % len(PHASES)]
                    begun = time.monotonic()
                    self.progress = begun
                    n += 1
                    try:
                        self.round(n, fault, phase)
                    except Failure as e:
                        raise Failure("round %d, %s / %s: %s" % (n, fault, phase, e))
                    if ROUNDS <= 5:
                        note("%s / %s: %.1f s" % (fault, phase, time.monotonic() - begun))
        finally:
            stop.set()
            reader.join(10)
            if reader.is_alive():
                reader.terminate()
        for what in sorted(self.hits):
            note("%s: %d" % (what, self.hits[what]))
        note("%d faults, %d writes cut short" % (n, self.refused))
        note("%d keys read meanwhile, %d torn, %d errors" % (stats[0], stats[1], stats[2]))
        longest = (self.longest, stats[3] / 1000, self.slowest)
        note("longest call of a writer %.1f s, of the reader %.1f s; all arrived after at most %.1f s" % longest)
        if stats[1] or stats[2]:
            raise Failure("torn keys or errors at the reader")
        if max(self.longest, stats[3] / 1000) > BOUND:
            raise Failure("a call took too long")


try:
    Faults().run()
except Failure as e:
    print("FAIL: %s" % e, flush=True)
    sys.exit(1)
