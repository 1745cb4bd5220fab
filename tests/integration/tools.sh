#!/bin/sh
# Ordinary programs on the mount: git, tar, rsync, sqlite3, fio with verification, dd of 4 GiB.
# timeout: 400
# slow: yes
. "$SRCDIR/tests/functions.sh"
need git tar rsync sqlite3 fio dd cmp

mnt=$WORK/mnt
free_mib=$(awk '/^MemAvailable/ { print int($2 / 1024) }' /proc/meminfo)
if [ "$free_mib" -gt 12000 ]; then l1=5G; else l1=1G; fi
mkdir "$WORK/l2"
l2_mount "$WORK/l2" "$mnt" -o l1=$l1
export HOME="$WORK" GIT_CONFIG_NOSYSTEM=1 GIT_AUTHOR_NAME=t GIT_AUTHOR_EMAIL=t@example.org
export GIT_COMMITTER_NAME=t GIT_COMMITTER_EMAIL=t@example.org

say "a tree of many sizes, modes and times"
tree=$WORK/tree
mkdir -p "$tree/a/b/c" "$tree/empty dir"
(cd "$SRCDIR" && tar cf - --exclude=./build --exclude=./.git .) | tar xf - -C "$tree/a"
for n in 0 1 4095 4096 4097 100000 1124352 5000000; do
    head -c $n /dev/urandom >"$tree/a/b/c/f$n.bin"
done
chmod 600 "$tree/a/b/c/f1.bin"
chmod 755 "$tree/a/b/c/f4096.bin"
touch -d '2001-02-03 04:05:06.789' "$tree/a/b/c/f4097.bin"
find "$tree" -type l -delete

say "git"
git init -q "$WORK/origin"
cp -r "$tree/." "$WORK/origin"
git -C "$WORK/origin" add -A
git -C "$WORK/origin" commit -qm one
git clone -q --no-local "$WORK/origin" "$mnt/clone" || fail "git clone"
git -C "$mnt/clone" fsck --full --strict || fail "git fsck"
[ -z "$(git -C "$mnt/clone" status --porcelain)" ] || fail "the clone is not clean"
git clone -q --no-local "$WORK/origin" "$WORK/plain"
diff -r --exclude=.git "$WORK/plain" "$mnt/clone" || fail "the clone differs"
echo more >>"$mnt/clone/a/README.test"
git -C "$mnt/clone" add -A
git -C "$mnt/clone" commit -qm two
git -C "$mnt/clone" repack -qad
git -C "$mnt/clone" gc -q --prune=now
git -C "$mnt/clone" fsck --full --strict || fail "git fsck after gc"
git -C "$WORK/origin" fetch -q "$mnt/clone" HEAD || fail "git fetch from the mount"
assert_eq "$(git -C "$WORK/origin" rev-parse FETCH_HEAD)" "$(git -C "$mnt/clone" rev-parse HEAD)"

say "tar"
tar cf "$WORK/tree.tar" -C "$tree" .
mkdir "$mnt/untar"
tar xpf "$WORK/tree.tar" -C "$mnt/untar"
tar df "$WORK/tree.tar" -C "$mnt/untar" || fail "tar --diff: content, mode, owner or time"
tar cf "$mnt/again.tar" -C "$mnt/untar" .
tar df "$mnt/again.tar" -C "$tree" || fail "the archive written on the mount"

say "rsync"
rsync -a "$tree/" "$mnt/rsynced/" || fail "rsync"
assert_eq "$(rsync -acni --delete "$tree/" "$mnt/rsynced/")" "" "rsync would copy again"
head -c 3000000 /dev/urandom >"$tree/a/b/c/f5000000.bin"
rsync -a --no-whole-file --inplace "$tree/" "$mnt/rsynced/" || fail "rsync --inplace"
rsync -a --no-whole-file --delete "$tree/a/" "$mnt/rsynced/a/" || fail "rsync with deltas"
diff -r "$tree" "$mnt/rsynced" || fail "rsync made something else"

say "sqlite3"
for mode in delete truncate wal memory; do
    cat >"$WORK/sql" <<SQL
PRAGMA journal_mode=$mode;
CREATE TABLE kv (k INTEGER PRIMARY KEY, v BLOB, t TEXT);
BEGIN;
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 20000)
    INSERT INTO kv SELECT i, zeroblob(i % 900), printf('text %d', i * 7919) FROM n;
COMMIT;
CREATE INDEX t ON kv (t);
DELETE FROM kv WHERE k % 3 = 0;
UPDATE kv SET t = t || ' changed' WHERE k % 5 = 0;
BEGIN; DELETE FROM kv; ROLLBACK;
VACUUM;
SQL
    sqlite3 "$mnt/$mode.db" <"$WORK/sql" >/dev/null || fail "sqlite3 in journal mode $mode"
    sqlite3 "$WORK/$mode.db" <"$WORK/sql" >/dev/null
    assert_eq "$(sqlite3 "$mnt/$mode.db" 'PRAGMA integrity_check; SELECT count(*) FROM kv;')" \
        "$(printf 'ok\n13334')"
    assert_eq "$(sqlite3 "$mnt/$mode.db" .dump | cksum)" "$(sqlite3 "$WORK/$mode.db" .dump | cksum)"
done

say "fio, all that it wrote verified"
mkdir "$mnt/fio"
run_fio() {
    fio --minimal --directory="$mnt/fio" --size=48M --verify=crc32c --do_verify=1 \
        --verify_fatal=1 --verify_state_save=0 --randrepeat=1 "$@" >"$WORK/fio.out" 2>&1 ||
        { cat "$WORK/fio.out"; fail "fio $*"; }
    rm -f "$mnt"/fio/*
}
run() { name=$1; shift; run_fio --name="$name" "$@"; }
run psync --ioengine=psync --rw=randwrite --bsrange=512-128k --bs_unaligned=1
run vectors --ioengine=pvsync --rw=randrw --bs=64k --numjobs=2
run libaio --ioengine=libaio --iodepth=32 --direct=1 --rw=randwrite --bs=64k
run io_uring --ioengine=io_uring --iodepth=64 --direct=1 --rw=randrw --bs=4k --size=16M
run mmap --ioengine=mmap --rw=randwrite --bs=4k --size=16M
run fsync --ioengine=psync --rw=write --bs=1M --fsync=8
run append --ioengine=sync --rw=write --bs=37k --size=20M

say "4 GiB with dd"
big=$mnt/big.bin
if [ $l1 = 1G ]; then
    mkdir "$mnt/disk"
    setfattr -n user.l2fs.place -v disk "$mnt/disk"
    big=$mnt/disk/big.bin
fi
dd if=/dev/urandom of="$WORK/part" bs=1M count=64 status=none
parts() { i=0; while [ $i -lt 64 ]; do cat "$WORK/part"; i=$((i + 1)); done; }
parts | dd of="$big" bs=4M iflag=fullblock status=none || fail "dd to the mount"
assert_eq "$(stat -c %s "$big")" 4294967296
parts | cmp - "$big" || fail "the 4 GiB differ"
dd if="$big" bs=4M iflag=direct status=none | cmp -n 1073741824 - "$big" || fail "O_DIRECT differs"
rm "$big"

say "all of it again after a new mount"
l2_umount "$mnt"
l2_mount "$WORK/l2" "$mnt" -o l1=$l1
diff -r "$tree" "$mnt/rsynced" || fail "the copy changed over the mount"
tar df "$WORK/tree.tar" -C "$mnt/untar" || fail "tar --diff after the mount"
git -C "$mnt/clone" fsck --full --strict || fail "git fsck after the mount"
assert_eq "$(sqlite3 "$mnt/wal.db" 'PRAGMA integrity_check; SELECT count(*) FROM kv;')" \
    "$(printf 'ok\n13334')"
l2_umount "$mnt"
