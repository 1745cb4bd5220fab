#!/usr/bin/python3
"""The other ends of the PD control plane, as LMCache's PD backend is one: its messages are msgpack maps
over ZMQ. Used by tests/integration/pd-python.sh.

usage: pd_peers.py sync HOST INIT ALLOC PRESENT    a sender of the sync generation (REQ)
       pd_peers.py async HOST ALLOC PRESENT        a sender of the async generation (DEALER)
       pd_peers.py proxy PORT COUNT                a proxy (PULL) on a port (0: any); prints the port,
                                                   then what comes in hexadecimal
       pd_peers.py bytes CORPUS                    reads one file per message, and packs it again
PRESENT is a key that the receiver has. The receiver's buffer is 16 pages, its alloc_timeout a second.
"""
import glob
import sys
import time

import msgpack
import zmq

WAIT = 10000  # ms: every answer comes in less
SHAPE = [2, 4, 16, 32]
PAGE = 2 * 4 * 16 * 32 * 2
PAGES = 16


def fail(*what):
    print("FAIL:", *what, file=sys.stderr)
    sys.exit(1)


def expect(cond, *what):
    if not cond:
        fail(*what)


def alloc_request(keys, **more):
    m = {"type": "AllocRequest", "keys": keys, "fmt": 1, "shape": SHAPE, "dtype": "bfloat16",
         "last_chunk_toks": 7}
    m.update(more)
    return m


def keys_of(name, n):
    return ["model@1@0@%s%x@bfloat16" % (name, i) for i in range(n)]


def check_indexes(indexes, n):
    expect(len(indexes) == n, "expected", n, "pages, got", indexes)
    expect(all(type(i) is int and i >= 0 for i in indexes), "no page numbers:", indexes)
    expect(len(set(indexes)) == n, "a page was given twice:", indexes)


def repack(data):
    """The same message, as Python packs it."""
    return msgpack.packb(msgpack.unpackb(data))


class Peer:
    def __init__(self, kind, host, port, identity=None, empty=True):
        self.sock = zmq.Context.instance().socket(kind)
        self.sock.linger = 0
        self.kind, self.empty = kind, empty
        if identity:
            self.sock.setsockopt(zmq.IDENTITY, identity)
        self.sock.connect("tcp://%s:%s" % (host, port))

    def send_bytes(self, data):
        if self.kind == zmq.DEALER and self.empty:
            self.sock.send_multipart([b"", data])
        else:
            self.sock.send(data)

    def send(self, message):
        self.send_bytes(msgpack.packb(message))

    def answer(self, wait=WAIT):
        expect(self.sock.poll(wait), "no answer")
        frames = self.sock.recv_multipart()
        if self.kind == zmq.DEALER and self.empty:
            expect(len(frames) == 2 and frames[0] == b"", "frames of the answer:", frames)
        else:
            expect(len(frames) == 1, "frames of the answer:", frames)
        expect(repack(frames[-1]) == frames[-1], "not the smallest form:", frames[-1])
        return frames[-1]

    def silent(self, wait):
        expect(not self.sock.poll(wait), "an answer that should not come")

    def ask(self, message):
        self.send(message)
        return msgpack.unpackb(self.answer())

    def close(self):
        self.sock.close()


def allocated(answer, n, already):
    """An AllocResponse as LMCache reads it, and nothing in it that it would not expect."""
    expect(answer.get("type") == "AllocResponse", "not an AllocResponse:", answer)
    expect(answer["already_sent_indexes"] == already, "already_sent_indexes:", answer)
    check_indexes(answer["remote_indexes"], n)
    expect(set(answer) == {"type", "already_sent_indexes", "remote_indexes"}, "fields:", answer)
    return answer["remote_indexes"]


def refused(answer, n):
    expect(answer.get("type") == "AllocResponse", "not an AllocResponse:", answer)
    expect(answer["remote_indexes"] == [-1] * n, "expected a refusal of", n, "got", answer)
    expect(answer["already_sent_indexes"] == [], "expected a refusal:", answer)


def cancelled(answer):
    expect(answer.get("type") == "AllocResponse", "not an AllocResponse:", answer)
    expect(answer["remote_indexes"] == [] and answer["already_sent_indexes"] == [],
           "expected two empty lists:", answer)


def sync(host, init, alloc, present):
    """The sync generation: REQ, no request id, knows what is already there."""
    p = Peer(zmq.REQ, host, alloc)
    keys = keys_of("s", 3)
    allocated(p.ask(alloc_request(keys)), 3, [])
    both = [keys_of("t", 1)[0], present, keys_of("u", 1)[0]]
    allocated(p.ask(alloc_request(both)), 2, [1])
    cancelled(p.ask(alloc_request([])))
    refused(p.ask(alloc_request(keys_of("v", PAGES + 1))), PAGES + 1)
    refused(p.ask(alloc_request(keys_of("w", 2), dtype="float17")), 2)
    for bad in BAD:
        p.send_bytes(bad)
        refused(msgpack.unpackb(p.answer()), 1)
    got = p.ask({"type": "CacheQueryRequest", "keys": ["nothing", present]})
    expect(got["type"] == "CacheQueryResponse" and got["cached_keys"] == [present], got)
    expect(len(got["cached_indexes"]) == 1 and got["cached_indexes"][0] >= 0, got)
    p.close()
    p = Peer(zmq.REQ, host, init)
    for m in HANDSHAKES + [{"type": "ProxyNotif", "req_id": "1"}]:
        p.send(m)
        got = msgpack.unpackb(p.answer())
        expect(got.get("error", 0) > 0 and got.get("reason"), "a handshake nobody speaks here:", got)
    p.close()


HANDSHAKES = [
    {"type": "NixlInitRequest", "local_meta_bytes": b"nixlSerDes|"},
    {"type": "NixlMemRegRequest", "remote_agent_name": b"a", "local_id": "h7300",
     "local_xfer_dlist_bytes": b"\x80\x04."},
    {"type": "P2PInitSideMsg"},
    {"type": "PySocketInitRequest", "peer_init_url": "h:1"},
    {"type": "MooncakeInitRequest", "local_id": "l", "session_id": "h:1",
     "buffer_base_addr": 0x7F0000001000, "buffer_len": 1 << 30},
]

# Not messages, or not for the alloc port: each is answered by a refusal.
BAD = [
    b"\xc1",
    b"\x80",
    b"\x91" * 5000,
    b"\xdf\xff\xff\xff\xff",
    b"not msgpack at all",
    msgpack.packb(["AllocRequest", ["k"], 1, [1], "half", 1]),
    msgpack.packb({"type": "AllocRequest"}),
    msgpack.packb({"type": "AllocRespons", "remote_indexes": []}),
    msgpack.packb(alloc_request("a key")),
    msgpack.packb(alloc_request([b"bytes"])),
    msgpack.packb(alloc_request(["a\0b"])),
    msgpack.packb(alloc_request(["k"], fmt=1.0)),
    msgpack.packb(alloc_request(["k"], l2fs_sizes=[1, 2])),
    msgpack.packb({"type": "ProxyNotif", "req_id": "7"}),
    msgpack.packb({b"type": "ProxyNotif", "req_id": "7"}),
    msgpack.packb(alloc_request(["k"])) + b"\0",
    msgpack.packb(alloc_request(["k"]))[:-1],
]


def async_request(req_id, keys, last=False, total=PAGES):
    return alloc_request(keys, req_id=req_id, is_last_batch=last, total_chunks=total)


def cancel(req_id, keys):
    return {"type": "CancelNotif", "req_id": req_id, "keys": keys}


def async_sender(host, alloc, present):
    """The async generation: DEALER with an identity, batches of a request, CancelNotif."""
    who = b"sender-pid1-0a1b2c3d-to-%s%s" % (host.encode(), alloc.encode())
    p = Peer(zmq.DEALER, host, alloc, who)
    one, two, rest = keys_of("a", 4), keys_of("b", 4), keys_of("c", 8)
    first = allocated(p.ask(async_request("r1", one)), 4, [])
    second = allocated(p.ask(async_request("r1", two)), 4, [])
    third = allocated(p.ask(async_request("r2", rest[:7] + [present])), 8, [])
    check_indexes(first + second + third, PAGES)
    # Full: the next one waits, a cancel passes it, and what that gives back is its room.
    p.send(async_request("r3", keys_of("d", 4)))
    p.silent(100)
    p.send(cancel("r1", one + two))
    got = [msgpack.unpackb(p.answer()) for _ in range(2)]
    got.sort(key=lambda m: len(m["remote_indexes"]))
    cancelled(got[0])
    allocated(got[1], 4, [])
    expect(not set(got[1]["remote_indexes"]) & set(third), "pages in use were given:", got[1])
    # Again, and what never was.
    cancelled(p.ask(cancel("r1", one + two)))
    cancelled(p.ask(cancel("nobody", ["no such key"])))
    # Nobody gives anything back: refused when its time is over, not before.
    begin = time.monotonic()
    refused(p.ask(async_request("r4", keys_of("e", 8))), 8)
    took = time.monotonic() - begin
    expect(0.5 < took < 5, "refused after", took, "seconds")
    # More than it said it would be: all of that request goes.
    cancelled(p.ask(cancel("r2", rest[:7] + [present])))
    allocated(p.ask(async_request("r5", keys_of("f", 2), total=3)), 2, [])
    refused(p.ask(async_request("r5", keys_of("g", 2), total=3)), 2)
    refused(p.ask(async_request("r6", keys_of("h", 1), total=PAGES + 1)), 1)
    p.close()
    # The same identity again, as after a crash; then without the empty frame.
    p = Peer(zmq.DEALER, host, alloc, who)
    cancelled(p.ask(cancel("r3", keys_of("d", 4))))
    p.close()
    p = Peer(zmq.DEALER, host, alloc, empty=False)
    whole = keys_of("i", PAGES)
    allocated(p.ask(async_request("r7", whole)), PAGES, [])
    cancelled(p.ask(cancel("r7", whole)))
    p.close()


def proxy(port, count):
    """A proxy that believes only what msgspec would."""
    sock = zmq.Context.instance().socket(zmq.PULL)
    sock.bind("tcp://127.0.0.1:%s" % port)
    print(sock.last_endpoint.decode().rpartition(":")[2], flush=True)
    for _ in range(int(count)):
        expect(sock.poll(3 * WAIT), "no notification")
        data = sock.recv()
        m = msgpack.unpackb(data)
        expect(list(m) == ["type", "req_id"] and m["type"] == "ProxyNotif", "not a ProxyNotif:", m)
        expect(data == msgpack.packb(m), "not the smallest form:", data)
        print(data.hex(), flush=True)
    expect(not sock.poll(300), "one notification too many")


def check_bytes(corpus):
    files = glob.glob(corpus + "/*")
    expect(len(files) > 20, "no messages in", corpus)
    for name in files:
        data = open(name, "rb").read()
        expect(repack(data) == data, name)


COMMANDS = {"bytes": check_bytes, "sync": sync, "async": async_sender, "proxy": proxy,}

if __name__ == "__main__":
    if len(sys.argv) < 2 or sys.argv[1] not in COMMANDS:
        sys.exit(__doc__)
    COMMANDS[sys.argv[1]](*sys.argv[2:])
