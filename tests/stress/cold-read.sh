#!/bin/sh
# Cold sequential read through a mount, one reader and read-ahead, against fio reading the tier's own files with
# O_DIRECT, 8 files at a time. Caches are dropped before each pass, so run it as root and on a quiet machine.
# usage: BUILDDIR=build/normal DIR=/dir/on/the/disk tests/stress/cold-read.sh [FILES [MIB [ROUNDS [RATIO]]]]
# Exit 1 when the median of the ratios of the rounds is below RATIO (default 0.9).
set -eu
: "${BUILDDIR:?where mount.l2fs is}" "${DIR:?a directory on the disk to measure; its l2fs-cold is removed}"
exec python3 - "$BUILDDIR/mount.l2fs" "$DIR/l2fs-cold" "${1:-64}" "${2:-64}" "${3:-5}" "${4:-0.9}" <<'PY'
import json, os, shutil, statistics, subprocess, sys, time

mount, top = sys.argv[1:3]
files, mib, rounds = map(int, sys.argv[3:6])
limit = float(sys.argv[6])
tier, mnt = top + "/l2", top + "/mnt"
keys = ["key-%03d" % i for i in range(files)]


def drop_caches():
    os.sync()
    with open("/proc/sys/vm/drop_caches", "w") as f:
        f.write("3")


def evict(key):
    deadline = time.monotonic() + 60
    while True:
        try:
            return os.setxattr(mnt + "/" + key, "user.l2fs.evict", b"1")
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)


def make():
    block = os.urandom(1 << 20)
    for key in keys:
        with open(mnt + "/" + key, "wb") as f:
            for i in range(mib):
                f.write(bytes([i & 255]) + block[1:])
    for key in keys:
        fd = os.open(mnt + "/" + key, os.O_RDONLY)
        os.fsync(fd)
        os.close(fd)


def read_l2fs():
    for key in keys:
        evict(key)
    drop_caches()
    buf = bytearray(1 << 20)
    start = time.monotonic()
    for key in keys:
        fd = os.open(mnt + "/" + key, os.O_RDONLY)
        while os.readv(fd, [buf]):
            pass
        os.close(fd)
    return files * mib / (time.monotonic() - start)


def read_fio(jobs=8):
    drop_caches()
    cmd = ["fio", "--rw=read", "--bs=1M", "--direct=1", "--ioengine=io_uring", "--iodepth=4", "--readonly",
           "--output-format=json", "--file_service_type=sequential"]
    for j in range(jobs):
        part = [tier + "/" + key for key in keys[j::jobs]]
        if part:
            cmd += ["--name=j%d" % j, "--filename=" + ":".join(part)]
    reads = [j["read"] for j in json.loads(subprocess.check_output(cmd))["jobs"]]
    return sum(r["io_bytes"] for r in reads) / (1 << 20) / (max(r["runtime"] for r in reads) / 1000)


os.makedirs(tier)
os.makedirs(mnt)
l1 = max(files * mib * 3 // 2, 1024)
subprocess.check_call([mount, tier, mnt, "-o", "l1=%dM,prefetch_bytes=1G" % l1])
try:
    make()
    ratios = []
    for _ in range(rounds):
        ours, theirs = read_l2fs(), read_fio()
        ratios.append(ours / theirs)
        print("l2fs %5.0f MiB/s   fio %5.0f MiB/s   ratio %.2f" % (ours, theirs, ratios[-1]), flush=True)
finally:
    subprocess.call(["umount", mnt])
    shutil.rmtree(top)
median = statistics.median(ratios)
print("median ratio %.2f" % median)
sys.exit(median < limit)
PY
