#!/bin/sh
# Warm-ups, read-ahead, and what a program sees of a key that is loading: poll, epoll, SEEK_DATA, posix_fadvise, and
# with open=stream its bytes.
# fallback: yes
. "$SRCDIR/tests/functions.sh"
need getfattr setfattr python3

L2=$WORK/l2
MNT=$WORK/mnt
HOLD=$WORK/release
mkdir -p "$L2"

evict() { setfattr -n user.l2fs.evict -v 1 -- "$1" 2>/dev/null; }
warm() { setfattr -n user.l2fs.prefetch -v 1 -- "$1"; }
residents() { for f in "$@"; do state "$f"; echo; done | grep -c resident || true; }
all_resident() { [ "$(residents "$@")" -eq $# ]; }
evict_all() { for f in "$@"; do wait_for 20 evict "$f"; done; }

# Loads stand still until $HOLD is there.
RULES='[{"op":"load","key":"held*","action":"never"},{"op":"load","key":"bad*","action":"fail"}]'
cat >"$WORK/spec.json" <<JSON
{"l2": [{"type": "fault", "inner": {"type": "fs", "base_path": "$L2"}, "release": "$HOLD", "rules": $RULES}]}
JSON
l2_mount "$WORK/spec.json" "$MNT" -o l1=64M,load_timeout=40s
mkdir -p "$MNT/d/e" "$MNT/seq"
for i in 0 1 2 3 4 5 6 7 8 9; do
    head -c 200000 /dev/urandom >"$MNT/d/$i"
    head -c 100000 /dev/urandom >"$MNT/d/e/$i"
    head -c 50000 /dev/urandom >"$MNT/seq/chunk_$i.bin"
done
head -c 300000 /dev/urandom >"$WORK/data"
for k in held1 held2 held3 bad1; do cp "$WORK/data" "$MNT/$k"; done

say "a directory is warmed, and the events tell of each key and of the end"
evict_all "$MNT"/d/[0-9] "$MNT"/d/e/* "$MNT"/seq/* "$MNT"/held? "$MNT/bad1"
cat "$MNT/.l2fs/events" >"$WORK/events" &
events=$!
follows() { echo x >"$MNT/mark" && grep -q '"key":"mark"' "$WORK/events"; } # who follows sees what comes later
wait_for 10 follows
warm "$MNT/d"
wait_for 20 all_resident "$MNT"/d/[0-9] "$MNT"/d/e/*
wait_for 10 grep -q '"event":"warm-done","key":"d","loaded":20,"failed":0' "$WORK/events"
assert_eq "$(grep -c '"event":"warmed"' "$WORK/events")" 20
warm "$MNT/bad1"
wait_for 10 grep -q '"event":"warm-done","key":"bad1","loaded":0,"failed":1' "$WORK/events"
grep -q '"event":"load-failed","key":"bad1"' "$WORK/events" || fail "no event for the key that failed"
assert_match "$(attr "$MNT/bad1" user.l2fs.error)" "EIO*"
assert_eq "$(state "$MNT/bad1")" evicted
kill "$events" 2>/dev/null || true

say "opens in sequence have the next keys loaded"
cat "$MNT/seq/chunk_0.bin" >"$WORK/out"
assert_eq "$(residents "$MNT"/seq/*)" 1
cat "$MNT/seq/chunk_1.bin" >"$WORK/out"
wait_for 10 has_state "$MNT/seq/chunk_2.bin" resident
assert_eq "$(state "$MNT/seq/chunk_4.bin")" evicted
cat "$MNT/seq/chunk_2.bin" "$MNT/seq/chunk_3.bin" >"$WORK/out"
wait_for 10 has_state "$MNT/seq/chunk_7.bin" resident

say "a key that is loading"
cat >"$WORK/loading.py" <<'PY'
import errno, os, select, sys
held, other, bad, gone, release, data = sys.argv[1:]
want = open(data, "rb").read()

def fails(error, call, *args):
    try:
        call(*args)
    except OSError as e:
        assert e.errno == error, e
        return
    raise AssertionError("it should have failed")

def events(fd, seconds):
    with select.epoll() as ep:
        ep.register(fd, select.EPOLLIN)
        return [e for _, e in ep.poll(seconds)]

fd = os.open(held, os.O_RDONLY | os.O_NONBLOCK)
two = os.open(other, os.O_RDONLY | os.O_NONBLOCK)
lost = os.open(gone, os.O_RDONLY | os.O_NONBLOCK)
assert os.getxattr(held, "user.l2fs.state") == b"loading"
fails(errno.ENXIO, os.lseek, fd, 0, os.SEEK_DATA)
assert os.lseek(fd, 0, os.SEEK_HOLE) == 0
assert events(fd, 0.2) == []
assert events(two, 0) == []
# A key that fails while somebody waits in epoll.
f = os.open(bad, os.O_RDONLY | os.O_NONBLOCK)
assert events(f, 20) and events(f, 20)[0] & select.EPOLLERR
fails(errno.EIO, os.read, f, 1)
# One that is removed.
os.unlink(gone)
assert events(lost, 20)[0] & select.EPOLLERR
with select.epoll() as ep:
    ep.register(fd, select.EPOLLIN)
    ep.register(two, select.EPOLLIN)
    assert ep.poll(0) == []
    open(release, "w").close()
    seen = set()
    while len(seen) < 2:
        got = ep.poll(20)
        assert got, "epoll was never told"
        for which, what in got:
            assert what & select.EPOLLIN and not what & select.EPOLLERR, what
            seen.add(which)
            ep.unregister(which)
assert os.lseek(fd, 0, os.SEEK_DATA) == 0
assert os.lseek(fd, 0, os.SEEK_HOLE) == len(want)
assert os.pread(fd, len(want), 0) == want
# posix_fadvise works on what is open, so on what is loaded: it changes nothing, and breaks nothing.
os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_WILLNEED)
assert os.pread(two, 1000, 5000) == want[5000:6000]
PY
python3 "$WORK/loading.py" "$MNT/held1" "$MNT/held2" "$MNT/bad1" "$MNT/held3" "$HOLD" "$WORK/data" ||
    fail "a loading key is not as it should be"

say "posix_fadvise(WILLNEED) of an open key loads no others, and its bytes stay right"
before=$(residents "$MNT"/seq/*)
python3 - "$MNT/seq/chunk_0.bin" "$MNT/seq/chunk_0.bin" <<'PY'
import os, sys
fd = os.open(sys.argv[1], os.O_RDONLY)
os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_WILLNEED)
a = os.pread(fd, 50000, 0)
assert len(a) == 50000
PY
assert_eq "$(residents "$MNT"/seq/*)" "$before"

say "holes of a sparse file are where they are, or less"
python3 - "$MNT/sparse" <<'PY' || fail "a sparse file lost data"
import os, subprocess, sys, time
path = sys.argv[1]
with open(path, "wb") as f:
    f.write(b"begin")
    f.seek(4 << 20)
    f.write(b"end")
fd = os.open(path, os.O_RDONLY); os.fsync(fd); os.close(fd)
deadline = time.monotonic() + 20
while True:
    try:
        os.setxattr(path, "user.l2fs.evict", b"1")
        break
    except OSError:
        assert time.monotonic() < deadline
        time.sleep(0.05)
fd = os.open(path, os.O_RDONLY)
whole = os.pread(fd, 5 << 20, 0)
assert whole[:5] == b"begin" and whole[-3:] == b"end" and whole[5:-3].count(0) == len(whole) - 8
at = 0
seen = bytearray(len(whole))
while at < len(whole):
    try:
        data = os.lseek(fd, at, os.SEEK_DATA)
    except OSError:
        break
    hole = os.lseek(fd, data, os.SEEK_HOLE)
    seen[data:hole] = os.pread(fd, hole - data, data)
    at = hole
assert bytes(seen) == whole
PY

say "a warm-up of more than fits ends, and keeps what it loaded first"
mkdir "$MNT/big"
for i in 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25 26 27 28 29; do
    head -c 5M /dev/zero | tr '\0' "$i" >"$MNT/big/$i"
    sync "$MNT/big/$i"
done
for f in "$MNT"/big/*; do evict "$f" || true; done
wait_for 20 sh -c "[ \$(getfattr --absolute-names --only-values -n user.l2fs.state '$MNT'/big/* | grep -o evicted | wc -l) -ge 20 ]"
warm "$MNT/big"
wait_for 20 has_state "$MNT/big/10" resident
idle() { grep -q '"warm_ups": 0' "$MNT/.l2fs/status"; }
wait_for 20 idle
assert_eq "$(state "$MNT/big/10")" resident
[ "$(residents "$MNT"/big/*)" -lt 13 ] || fail "more is resident than fits"
[ "$(residents "$MNT"/big/*)" -ge 6 ] || fail "too little was loaded: $(residents "$MNT"/big/*)"
l2_umount "$MNT"

say "a tier that does not answer: opens fail in time, the status says so, and it comes back by itself"
rm -f "$HOLD"
RULES='[{"op":"lookup","action":"never"}]'
cat >"$WORK/spec.json" <<JSON
{"l2": [{"type": "fault", "inner": {"type": "fs", "base_path": "$L2"}, "release": "$HOLD", "rules": $RULES}]}
JSON
l2_mount "$WORK/spec.json" "$MNT" -o l1=64M,load_timeout=2s,readahead_keys=0
started=$(date +%s)
for i in 0 1 2 3 4 5 6 7; do assert_fails cat "$MNT/d/$i"; done
[ $(($(date +%s) - started)) -lt 15 ] || fail "opens of keys in a dead tier took too long"
grep -q '"is_healthy": false' "$MNT/.l2fs/status" || fail "the status calls a dead tier healthy"
grep -q 'it is passed over' "$MNT/.l2fs/status" || fail "the status does not say what is wrong"
assert_eq "$(state "$MNT/d/0")" evicted "a key that may be there"
touch "$HOLD"
reads() { cat "$MNT/d/0" >"$WORK/out"; }
wait_for 20 reads
healthy() { ! grep -q '"is_healthy": false' "$MNT/.l2fs/status"; }
wait_for 20 healthy
l2_umount "$MNT"

say "open=stream: what has landed is read while the key loads, its end when that is verified"
rm -f "$HOLD"
RULES='[{"op":"load","key":"held","action":"never"},{"op":"load","key":"bad","action":"corrupt"}]'
cat >"$WORK/spec.json" <<JSON
{"l2": [{"type": "fault", "inner": {"type": "fs", "base_path": "$L2"}, "release": "$HOLD", "rules": $RULES}]}
JSON
l2_mount "$WORK/spec.json" "$MNT" -o l1=64M,load_timeout=40s,open=stream
head -c 9000001 /dev/urandom >"$WORK/data"
cp "$WORK/data" "$MNT/held"
cp "$WORK/data" "$MNT/bad"
sync "$MNT/held" "$MNT/bad"
evict_all "$MNT/held" "$MNT/bad"
cat >"$WORK/stream.py" <<'PY'
import mmap, os, select, sys
key, release, data = sys.argv[1:]
want = open(data, "rb").read()
fd = os.open(key, os.O_RDONLY)
got = b""
# What a mapping shows goes through the page cache, which all who have it open share: only what is verified.
mapped, tell = os.pipe()
child = os.fork()
if child == 0:
    with mmap.mmap(fd, len(want), flags=mmap.MAP_PRIVATE, prot=mmap.PROT_READ) as m:
        os.write(tell, b"x")
        right = m[0] == want[0]
    os._exit(not right or os.getxattr(key, "user.l2fs.state") != b"resident")
os.read(mapped, 1)
while len(got) < 1 << 20:
    got += os.read(fd, (1 << 20) - len(got))
assert os.getxattr(key, "user.l2fs.state") == b"loading"
with select.epoll() as ep:
    ep.register(fd, select.EPOLLIN)
    assert ep.poll(0) == []
if os.fork() == 0: # the rest waits for it
    open(release, "w").close()
    os._exit(0)
while piece := os.read(fd, 1 << 20):
    got += piece
assert got == want
assert os.getxattr(key, "user.l2fs.state") == b"resident"
assert os.waitpid(child, 0)[1] == 0, "a mapping showed what was not verified"
PY
timeout 60 python3 "$WORK/stream.py" "$MNT/held" "$HOLD" "$WORK/data" || fail "a loading key is not streamed"
cmp "$WORK/data" "$MNT/held" || fail "what was streamed is not what stays"
assert_fails cat "$MNT/bad"
assert_match "$(cat "$WORK/.err")" "*Input/output error*"
l2_umount "$MNT"
