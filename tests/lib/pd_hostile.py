#!/usr/bin/python3
"""Peers of PD that send garbage or lie. Used by tests/integration/pd-python.sh.

usage: pd_hostile.py flood SECONDS CORPUS HOST INIT ALLOC PID...   garbage on all that the PIDs listen on
       pd_hostile.py garbage PORT SECONDS       garbage to whoever connects, as a broken proxy
       pd_hostile.py liar ADDRESS               an l2fs receiver that lies, as the last part of the key
                                                says; prints its init and alloc ports; the address of
                                                who says Hello goes to a file
       pd_hostile.py rogue HOST INIT ALLOC ADDRESS   an l2fs sender that lies, with that address
"""
import glob
import os
import random
import socket
import sys
import threading
import time

import msgpack
import zmq

from pd_peers import Peer, alloc_request, expect, keys_of

def spoil(rnd, data):
    """A message with a few bytes changed, cut, or repeated."""
    data = bytearray(data)
    for _ in range(rnd.randint(1, 4)):
        at = rnd.randrange(len(data))
        what = rnd.randrange(4)
        if what == 0:
            data[at] ^= 1 << rnd.randrange(8)
        elif what == 1:
            data[at:at + 1] = rnd.randbytes(rnd.randint(1, 40))
        elif what == 2 and len(data) > 1:
            del data[max(at, 1):]
        else:
            data += data[:at]
    return bytes(data)


def hello(rnd, address):
    return msgpack.packb({"type": "L2fsHello", "version": rnd.choice([0, 1, 1, 1, 99]),
                          "epoch": time.time_ns(), "sender": "flood%d" % rnd.randrange(8),
                          "rank": rnd.randrange(3), "address": address, "seq": rnd.getrandbits(32)})


def address_of(host, init):
    """The address that the receiver itself has, to be spoiled and sent back to it."""
    p = Peer(zmq.REQ, host, init)
    got = p.ask({"type": "L2fsHello", "version": 1, "epoch": 1, "sender": "flood0", "rank": 0,
                 "address": b"x", "seq": 1})
    p.close()
    return got.get("address") or bytes(range(200))


def strange(rnd, ours):
    """What no generation sends."""
    return rnd.choice([
        lambda: rnd.randbytes(rnd.randint(0, 2000)),
        lambda: b"\x91" * rnd.randint(1, 100000),
        lambda: b"\xdd\xff\xff\xff\xff" + rnd.randbytes(50),
        lambda: b"\xdf\x00\x10\x00\x00" + b"\xa1a\xa1b" * 1000,
        lambda: msgpack.packb({"type": "AllocRequest", "keys": ["k"] * 70000}),
        lambda: msgpack.packb(alloc_request(["k" * 70000])),
        lambda: msgpack.packb({"type": rnd.choice(["L2fsCommit", "L2fsDone"]), "seq": 1,
                               "alloc_id": rnd.getrandbits(60), "sender": "flood1", "req_id": "",
                               "rank": -1, "crcs": [0] * 10}),
        lambda: msgpack.packb({"type": "L2fsCommit", "seq": 1, "sender": "nobody",
                               "alloc_id": rnd.getrandbits(60), "crcs": []}),
        lambda: msgpack.packb({"type": "CancelNotif", "req_id": "r", "keys": ["k"],
                               "l2fs_sender": "nobody", "l2fs_alloc_id": rnd.getrandbits(60)}),
        lambda: hello(rnd, spoil(rnd, ours)),
        lambda: hello(rnd, rnd.randbytes(rnd.randint(0, 300))),
        lambda: hello(rnd, ours[:rnd.randrange(len(ours))]),
    ])()


def flood_zmq(until, host, port, seeds, ours):
    """Messages by DEALER sockets that come and go, and that do not read what is answered."""
    rnd, sent = random.Random(port), 0
    while time.monotonic() < until:
        sock = zmq.Context.instance().socket(rnd.choice([zmq.DEALER, zmq.DEALER, zmq.PUSH, zmq.SUB]))
        sock.linger = 0
        sock.sndtimeo = 200
        sock.connect("tcp://%s:%s" % (host, port))
        for _ in range(rnd.randint(1, 200)):
            data = spoil(rnd, rnd.choice(seeds)) if rnd.random() < .5 else strange(rnd, ours)
            frames = [b""] if rnd.random() < .7 else [rnd.randbytes(3)] * rnd.randint(0, 20)
            try:
                sock.send_multipart(frames + [data])
                sent += 1
            except zmq.ZMQError:
                break
            if time.monotonic() > until:
                break
        if rnd.random() < .1 and sock.type == zmq.DEALER:
            try:
                sock.send(bytes(5 << 20))
            except zmq.ZMQError:
                pass
        sock.close()
    return sent


def flood_tcp(until, host, port):
    """Connections that are not ZMQ's, or stop within its greeting."""
    rnd, sent = random.Random(-port), 0
    greeting = bytes.fromhex("ff00000000000000017f0300") + b"NULL" + bytes(48)
    held = []
    while time.monotonic() < until:
        try:
            s = socket.create_connection((host, port), 1)
        except OSError:
            time.sleep(0.01)
            continue
        s.settimeout(0.2)
        try:
            s.sendall(rnd.choice([rnd.randbytes(rnd.randint(1, 5000)), greeting[:rnd.randint(1, 64)],
                                  greeting + b"\x04\xff" * 100, b"GET / HTTP/1.1\r\n\r\n", b""]))
            sent += 1
        except OSError:
            pass
        held.append(s)
        if len(held) > 20:
            held.pop(rnd.randrange(len(held))).close()
    return sent


def listening(pid):
    """Where the process listens for TCP: (address, port)."""
    inodes = set()
    for fd in glob.glob("/proc/%s/fd/*" % pid):
        try:
            link = os.readlink(fd)
        except OSError:
            continue
        if link.startswith("socket:["):
            inodes.add(link[8:-1])
    places = set()
    for line in open("/proc/%s/net/tcp" % pid).readlines()[1:]:
        field = line.split()
        if field[3] == "0A" and field[9] in inodes:
            address, port = field[1].split(":")
            address = socket.inet_ntoa(bytes.fromhex(address)[::-1])
            places.add(("127.0.0.1" if address == "0.0.0.0" else address, int(port, 16)))
    return sorted(places)


def flood(seconds, corpus, host, init, alloc, *pids):
    seeds = [open(f, "rb").read() for f in sorted(glob.glob(corpus + "/*"))
             if "alloc_request" not in f]
    expect(len(seeds) > 20, "no messages in", corpus)
    ours = address_of(host, init)
    until = time.monotonic() + float(seconds)
    counts = {}

    def run(name, fn, *args):
        sent = fn(*args)
        counts[name] = counts.get(name, 0) + sent  # a port of the transfers may be gone by now

    threads = []
    for name, port in (("init", int(init)), ("alloc", int(alloc))):
        threads.append(threading.Thread(target=run, args=(name, flood_zmq, until, host, port, seeds,
                                                          ours)))
    for place in (place for pid in pids for place in listening(pid)):
        threads.append(threading.Thread(target=run, args=(place, flood_tcp, until, *place)))
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    expect(len(threads) >= 4, "found no ports that", pids, "listen on")
    expect(all(n > 0 for n in counts.values()), "nothing was sent:", counts)
    print("%d messages to init, %d to alloc, %d ports" %
          (counts["init"], counts["alloc"], len(threads) - 2))


def garbage(port, seconds):
    """Answers every connection with bytes that are not ZMQ's."""
    rnd, until, met = random.Random(5), time.monotonic() + float(seconds), 0
    server = socket.create_server(("127.0.0.1", int(port)))
    server.settimeout(0.1)
    print("ready", flush=True)
    while time.monotonic() < until:
        try:
            s, _ = server.accept()
        except OSError:
            continue
        met += 1
        try:
            s.sendall(rnd.choice([rnd.randbytes(3000), b"\xff" + bytes(8) + b"\x7f\x03", b"\0" * 64]))
        except OSError:
            pass
        s.close()
    expect(met, "nobody connected")



# ---- an l2fs receiver that lies ----

def granted(request, **more):
    m = {"type": "AllocResponse", "remote_indexes": [0], "already_sent_indexes": [],
         "l2fs_seq": request["l2fs_seq"], "l2fs_alloc_id": 7, "l2fs_tags": [99], "l2fs_lease_ms": 60000}
    m.update(more)
    return m


# What is answered to an AllocRequest of one key; None: nothing.
LIES = {
    "truth": lambda r: granted(r, already_sent_indexes=[0], remote_indexes=[], l2fs_tags=[]),
    "silence": lambda r: None,
    "no-message": lambda r: b"\xc1",
    "wrong-seq": lambda r: granted(r, l2fs_seq=r["l2fs_seq"] + 1),
    "no-tags": lambda r: granted(r, l2fs_tags=[]),
    "many-tags": lambda r: granted(r, l2fs_tags=[1, 2, 3]),
    "there-too": lambda r: granted(r, already_sent_indexes=[0]),
    "there-twice": lambda r: granted(r, already_sent_indexes=[0, 0], l2fs_tags=[]),
    "out-of-range": lambda r: granted(r, already_sent_indexes=[1], l2fs_tags=[]),
    "negative": lambda r: granted(r, already_sent_indexes=[-1], l2fs_tags=[]),
    "error": lambda r: granted(r, l2fs_error=22, l2fs_reason="no\n" * 10000, l2fs_tags=[]),
    "no-data": granted,  # nobody receives it, and the Commit is never answered
}


def liar(address):
    poller, ports = zmq.Poller(), []
    for _ in ("init", "alloc"):
        sock = zmq.Context.instance().socket(zmq.ROUTER)
        ports.append(sock.bind_to_random_port("tcp://127.0.0.1"))
        poller.register(sock, zmq.POLLIN)
    print(*ports, flush=True)
    while True:
        for sock, _ in poller.poll():
            frames = sock.recv_multipart()
            m, answer = msgpack.unpackb(frames[-1]), None
            if m["type"] == "L2fsHello":
                with open(address, "wb") as f:
                    f.write(m["address"])
                answer = {"type": "L2fsHelloReply", "version": 1, "epoch": m["epoch"],
                          "address": m["address"], "limit": 64 << 20, "seq": m.get("seq", 0)}
            elif m["type"] == "AllocRequest":
                print(m["keys"][0], len(m["keys"]), flush=True)
                answer = LIES[m["keys"][0].rpartition("/")[2]](m)
            if answer is not None:
                data = answer if isinstance(answer, bytes) else msgpack.packb(answer)
                sock.send_multipart(frames[:-1] + [data])


# ---- an l2fs sender that lies ----

class Rogue:
    """Its connection is one to the worker of `address`, which knows nothing of it."""

    def __init__(self, host, init, alloc, address):
        self.init, self.alloc = Peer(zmq.DEALER, host, init), Peer(zmq.DEALER, host, alloc)
        self.address, self.seq, self.epoch = address, 0, 0

    def hello(self, **more):
        self.seq += 1
        self.epoch += 1
        m = {"type": "L2fsHello", "version": 1, "epoch": self.epoch, "sender": "rogue", "rank": 0,
             "address": self.address, "seq": self.seq}
        m.update(more)
        got = self.init.ask(m)
        expect(got["type"] == "L2fsHelloReply" and got.get("seq") == self.seq, got)
        return got

    def ask(self, m):
        self.seq += 1
        self.alloc.send(dict(m, l2fs_seq=self.seq) if m["type"][:4] != "L2fs" else dict(m, seq=self.seq))
        got = msgpack.unpackb(self.alloc.answer())
        expect(got.get("l2fs_seq", got.get("seq")) == self.seq, "not our answer:", got)
        return got

    def request(self, keys, **more):
        n = len(keys)
        m = alloc_request(keys, l2fs_sizes=[4096] * n, l2fs_crcs=[1] * n, l2fs_modes=[0o644] * n,
                          l2fs_uids=[0] * n, l2fs_gids=[0] * n, l2fs_mtimes=[0] * n,
                          l2fs_sender="rogue", l2fs_epoch=self.epoch)
        m.update(more)
        return self.ask(m)

    def commit(self, alloc_id, **more):
        return self.ask(dict({"type": "L2fsCommit", "alloc_id": alloc_id, "sender": "rogue"}, **more))


def got_nothing(answer, what):
    """Refused as a whole, or every key of it."""
    errors = answer.get("l2fs_errors") or answer.get("errors") or []
    refused = answer.get("l2fs_error") or answer.get("error") or (errors and all(errors))
    expect(refused and not answer.get("l2fs_tags"), what, "was not refused:", answer)


def rogue(host, init, alloc, address):
    with open(address, "rb") as f:
        r = Rogue(host, init, alloc, f.read())
    got_nothing(r.request(["rogue/a"]), "a request without a Hello")
    for more in ({"version": 99}, {"rank": 5}, {"address": b""}, {"address": r.address[:-1]},
                 {"sender": ""}, {"sender": "../x"}, {"sender": "s" * 5000}):
        got_nothing(r.hello(**more), more)
    got = r.hello()
    expect(not got.get("error") and got["version"] == 1 and got["epoch"] == r.epoch, got)
    # Who cannot be connected takes nobody's place, and no connection away.
    epoch = r.epoch
    for i in range(300):
        got_nothing(r.hello(sender="nobody%d" % i, address=b"x"), "a name without an address")
    got_nothing(r.hello(address=b"x"), "the name of another without an address")
    r.epoch = epoch
    bad_keys = ["", "/", "a//b", "../x", "a/../b", ".l2fs/status", "/abs", "dir/", "n" * 300,
                "/".join(["d" * 200] * 40)]
    for key in bad_keys:
        got_nothing(r.request([key]), key)
    got_nothing(r.request(["rogue/big"], l2fs_sizes=[1 << 62]), "a huge object")
    got_nothing(r.request(["rogue/e"], l2fs_epoch=r.epoch + 1), "another epoch")
    got_nothing(r.request(["rogue/%d" % i for i in range(1025)]), "too many keys")
    got_nothing(r.commit(12345), "a commit of nothing")
    # Given room, sends nothing: what it says of it is not believed.
    one = r.request(["rogue/one", "rogue/two"])
    expect(len(one.get("l2fs_tags", [])) == 2 and len(set(one["l2fs_tags"])) == 2, one)
    got_nothing(r.commit(one["l2fs_alloc_id"], crcs=[1]), "a commit of other keys")
    many = [r.request(["rogue/many%d" % i])["l2fs_alloc_id"] for i in range(50)]
    expect(len(set(many)) == 50, "an id was given twice:", many)
    m = {"type": "CancelNotif", "req_id": "", "keys": ["rogue/one", "rogue/two"],
         "l2fs_alloc_id": one["l2fs_alloc_id"], "l2fs_sender": "rogue"}
    for _ in range(3):
        cancelled = r.ask(m)
        expect(cancelled["type"] == "AllocResponse", cancelled)
    # Another run of it: nothing of the one before is left.
    r.hello()
    got_nothing(r.commit(many[0]), "a commit of the connection before")
    r.request(["rogue/left"])
    r.ask({"type": "L2fsDone", "req_id": "rogue request", "rank": 0, "sender": "rogue"})


COMMANDS = {"flood": flood, "garbage": garbage, "liar": liar, "rogue": rogue}

if __name__ == "__main__":
    if len(sys.argv) < 2 or sys.argv[1] not in COMMANDS:
        sys.exit(__doc__)
    COMMANDS[sys.argv[1]](*sys.argv[2:])
