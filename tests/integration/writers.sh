#!/bin/sh
# A writer that stops half way, seen from other processes; publication by rename; what O_NONBLOCK and signals do.
# timeout: 120
# fallback: yes
. "$SRCDIR/tests/functions.sh"
need env dd cmp

mnt=$WORK/mnt
head -c 3000000 /dev/urandom >"$WORK/whole"
now_ms() { date +%s%3N; }
# reading PID: is it in the middle of an open (openat is 257 on x86-64, 56 on arm64)?
opening() { case $(cat "/proc/$1/syscall") in "257 "* | "56 "*) return 0 ;; esac; return 1; }

say "readers wait for the writer, then miss"
mkdir "$WORK/l2"
l2_mount "$WORK/l2" "$mnt" -o writer_wait=1s
exec 3>"$mnt/half.bin"
head -c 1000000 "$WORK/whole" >&3
start=$(now_ms)
assert_fails cat "$mnt/half.bin"
took=$(($(now_ms) - start))
assert_match "$(cat "$WORK/.err")" "*No such file or directory*"
[ ! -s "$WORK/.out" ] || fail "a part was read: $(wc -c <"$WORK/.out") bytes"
[ $took -ge 900 ] || fail "the reader did not wait: $took ms"
[ $took -lt 10000 ] || fail "the reader waited too long: $took ms"
assert_eq "$(stat -c %F "$mnt/half.bin")" "regular file" # stat does not wait
assert_fails dd if="$mnt/half.bin" of=/dev/null iflag=nonblock status=none
assert_match "$(cat "$WORK/.err")" "*Resource temporarily unavailable*" "O_NONBLOCK"
tail -c +1000001 "$WORK/whole" >&3
exec 3>&-
assert_same "$mnt/half.bin" "$WORK/whole"
l2_umount "$mnt"

say "a reader that waits gets the whole file when the writer is done"
l2_mount "$WORK/l2" "$mnt" -o writer_wait=60s
exec 3>"$mnt/slow.bin"
head -c 1000000 "$WORK/whole" >&3
cat "$mnt/slow.bin" 3>&- >"$WORK/read" &
reader=$!
wait_for 10 opening $reader
tail -c +1000001 "$WORK/whole" >&3
exec 3>&-
wait $reader || fail "the reader failed"
assert_same "$WORK/read" "$WORK/whole"

say "after a rename with the writer still open, others read at once"
start=$(now_ms)
exec 3>"$mnt/key.bin_77.tmp"
cat "$WORK/whole" >&3
mv "$mnt/key.bin_77.tmp" "$mnt/key.bin"
cmp "$mnt/key.bin" "$WORK/whole" 3>&- || fail "read after rename"
[ $(($(now_ms) - start)) -lt 10000 ] || fail "a reader waited after the rename"
exec 3>&-
assert_same "$mnt/key.bin" "$WORK/whole"

say "the same over an existing key: readers see the old one until the rename"
head -c 2000000 /dev/urandom >"$WORK/new"
exec 3>"$mnt/key.bin_78.tmp"
cat "$WORK/new" >&3
assert_same "$mnt/key.bin" "$WORK/whole"
mv "$mnt/key.bin_78.tmp" "$mnt/key.bin"
cmp "$mnt/key.bin" "$WORK/new" 3>&- || fail "read after the second rename"
exec 3>&-

say "a hard link publishes too"
exec 3>"$mnt/linked.bin.tmp.4"
cat "$WORK/whole" >&3
ln "$mnt/linked.bin.tmp.4" "$mnt/linked.bin"
rm "$mnt/linked.bin.tmp.4"
cmp "$mnt/linked.bin" "$WORK/whole" 3>&- || fail "read after link"
exec 3>&-

say "a writer that is killed half way leaves nothing"
(exec dd if=/dev/zero of="$mnt/killed.bin" bs=1k status=none) &
writer=$!
wait_for 10 [ -s "$mnt/killed.bin" ]
kill -KILL $writer
wait $writer && fail "the writer was not killed"
assert_fails cat "$mnt/killed.bin"
assert_match "$(cat "$WORK/.err")" "*No such file or directory*"
say "nor does one that is killed over an existing key lose that"
(exec dd if=/dev/zero of="$mnt/key.bin_79.tmp" bs=1k status=none) &
writer=$!
wait_for 10 [ -s "$mnt/key.bin_79.tmp" ]
kill -KILL $writer
wait $writer && fail "the writer was not killed"
assert_same "$mnt/key.bin" "$WORK/new"

say "a signal ends a waiting open at once"
exec 3>"$mnt/never.bin"
head -c 1000 "$WORK/whole" >&3
for sig in INT TERM KILL; do
    # a shell without job control has its background jobs ignore SIGINT
    env --default-signal=INT cat "$mnt/never.bin" 3>&- >"$WORK/read" 2>&1 &
    reader=$!
    wait_for 10 opening $reader
    start=$(now_ms)
    kill -$sig $reader
    wait $reader && fail "the reader succeeded"
    took=$(($(now_ms) - start))
    [ $took -lt 3000 ] || fail "SIG$sig took $took ms"
    [ ! -s "$WORK/read" ] || fail "the reader got something: $(head -c 200 "$WORK/read")"
done
exec 3>&-
assert_eq "$(stat -c %s "$mnt/never.bin")" 1000
l2_umount "$mnt"
