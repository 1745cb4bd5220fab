#!/bin/sh
# l2bench measures every row, says when a limit is missed, checks contents, and leaves nothing behind. No figure is
# held against a limit here: machines that run tests are too noisy for that.
# fallback: yes
# slow: yes
. "$SRCDIR/tests/functions.sh"

mnt=$WORK/mnt
bench=$BUILDDIR/tools/l2bench
mkdir "$WORK/l2" "$WORK/tmp"
l2_mount "$WORK/l2" "$mnt" -o l1=256M
# rows FILE NAME...: the table has these rows, each with two figures and ratios
rows() {
    l2_table=$1
    shift
    for l2_row in "$@"; do
        grep -Eq "^$l2_row +[0-9.]+ (GB/s|us) +[0-9.]+ (GB/s|us) +[0-9.]+ +[0-9.]+ - [0-9.]+ +[0-9.]+" "$l2_table" ||
            fail "no row $l2_row: $(cat "$l2_table")"
    done
    assert_eq "$(grep -vc '^[# ]' "$l2_table")" $# "rows of $l2_table"
}

say "the default rows"
"$bench" "$mnt" --size 1M --files 2 --rounds 3 >basic
cat basic
rows basic read mmap touch direct write open stat
assert_match "$(cat basic)" "*# mount $mnt: l2fs, *l1 256M, tiers: fs*"

say "the others"
"$bench" "$mnt" --bench load --files 4 --rounds 1 >load
rows load load-64K-1 load-64K-16 load-1.07M-1 load-1.07M-16 load-2M-1 load-2M-16 load-32M-1 load-32M-16
"$bench" "$mnt" --bench store-burst --size 100000 --files 20 --rounds 2 >store
rows store store-97.65K-1 store-97.65K-16
"$bench" "$mnt" --bench lookup --threads 4 --rounds 2 >lookup
rows lookup lookup lookup-stored
"$bench" "$mnt" --bench cold --size 1124352 --threads 3 --files 5 --rounds 2 >cold
rows cold cold-1.07M-3
assert_match "$(cat cold)" "*p50/p99 us*"

"$bench" "$mnt" --bench stream --size 5M --rounds 2 >stream
rows stream stream-5M
assert_match "$(cat stream)" "*the load alone*"

say "any two directories"
"$bench" "$WORK/tmp" --size 64K --files 1 --rounds 1 >plain
rows plain read mmap touch direct write open stat
assert_match "$(cat plain)" "*not l2fs*"
assert_fails "$bench" "$WORK/tmp" --bench cold --rounds 1

say "JSON and limits"
"$bench" "$mnt" --size 64K --files 1 --rounds 2 --json >json
if command -v jq >/dev/null; then
    assert_eq "$(jq -r '[.rows[].name] | join(" ")' json)" "read mmap touch direct write open stat"
    assert_eq "$(jq '[.rows[] | select(.mount > 0 and .tmpfs > 0 and .ratio >= .ratio_low and
        .ratio_high >= .ratio)] | length' json)" 7
fi
"$bench" "$mnt" --size 64K --files 1 --rounds 1 --check read=0.000001,write=0.000001 >out
rc=0
"$bench" "$mnt" --size 64K --files 1 --rounds 1 --check read=0.000001,open=1000000 >out 2>err || rc=$?
assert_eq $rc 1 "exit code below a limit"
assert_match "$(cat err)" "*open: *below the limit*"
for bad in "--check read" "--check read=x" "--check nothing=1" "--rounds 0" "--size 0" "--bench sideways" "--nonsense"; do
    rc=0
    # shellcheck disable=SC2086
    "$bench" "$mnt" --size 64K --files 1 --rounds 1 $bad >out 2>err || rc=$?
    assert_eq $rc 2 "exit code of $bad"
    [ -s err ] || fail "$bad: nothing said"
done
rc=0
"$bench" "$WORK/none" --rounds 1 >out 2>err || rc=$?
assert_eq $rc 3 "exit code of a directory that is not there"

say "key files, as engines write them"
for style in plain lmcache sglang vllm; do
    "$bench" --fill 17989632 --as $style "$mnt/keys/$style/key.bin"
    "$bench" --fill 1124353 --as $style "$mnt/keys/$style/odd.bin"
    "$bench" --fill 1 --as $style "$mnt/keys/$style/one.bin"
done
assert_eq "$(find "$mnt/keys" -type f | wc -l)" 12 "no temporary name is left"
"$bench" --verify "$mnt"/keys/*/*.bin
setfattr -n user.l2fs.evict -v 1 "$mnt/keys/vllm/odd.bin" 2>/dev/null || sync "$mnt/keys/vllm/odd.bin"
"$bench" --verify "$mnt"/keys/*/*.bin
cmp "$mnt/keys/plain/odd.bin" "$mnt/keys/vllm/odd.bin"
printf x | dd of="$mnt/keys/plain/odd.bin" bs=1 seek=1124000 conv=notrunc status=none
assert_fails "$bench" --verify "$mnt/keys/plain/odd.bin"
assert_match "$(cat "$WORK/.err")" "*not what was written*"
truncate -s 1M "$mnt/keys/lmcache/odd.bin"
assert_fails "$bench" --verify "$mnt/keys/lmcache/odd.bin" "$mnt/keys/vllm/odd.bin"
assert_eq "$(wc -l <"$WORK/.err")" 1

say "cost of a key, without a mount"
"$bench" --cost 10000 --json >cost
# pass-over is a difference of two costs, and may be below zero on a busy machine.
assert_eq "$(jq '[length, ([.[0] | to_entries[] | select(.key != "pass-over") | .value > 0] | all)] | join(" ")' cost)" \
    '"1 true"'

say "a signal ends it, and nothing is left"
"$bench" "$mnt" --size 64K --files 1 --rounds 1000000 >out 2>err &
pid=$!
here() { ls -d "$mnt"/l2bench.*/read-0; }
wait_for 20 here
kill -TERM $pid
rc=0
wait $pid || rc=$?
assert_eq $rc 3 "exit code after a signal"
assert_match "$(cat err)" "*stopped by a signal*"
assert_eq "$(find "$mnt" "$WORK/tmp" -name 'l2bench.*')" ""
for left in /dev/shm/l2bench.*/; do
    # Another's that runs at this moment has a process that holds it.
    [ -d "$left" ] || continue
    find /proc/[0-9]*/fd -lname "${left%/}*" 2>/dev/null | grep -q . || fail "left behind: $left"
done

# Two mounts, where the adapter and ucx_perftest are there.
if "$BUILDDIR/mount.l2fs" --help pd >/dev/null 2>&1 && command -v ucx_perftest >/dev/null && [ "$(id -u)" -eq 0 ]; then
    say "what is written on one mount until it is on the other"
    # shellcheck disable=SC2046
    set -- $(python3 -c 'import socket
s = [socket.create_server(("127.0.0.1", 0)) for _ in range(2)]
print(*[x.getsockname()[1] for x in s])')
    mkdir prefill decode
    l2_mount "pd-recv://127.0.0.1:$1,$2" "$WORK/decode" -o l1=128M
    l2_mount "pd-send://127.0.0.1:$1,$2" "$WORK/prefill" -o l1=128M
    "$bench" --pd prefill decode --size 1M --files 8 --rounds 2 >pd
    cat pd
    grep -Eq '^push +[0-9.]+ GB/s +[0-9.]+ GB/s +[0-9.]+ +[0-9.]+ - [0-9.]+ +-?[0-9]+ us$' pd || fail "no row"
    assert_eq "$(grep -c 'of processor time for each GB: .*l2fs-pd' pd)" 2
    assert_eq "$(find prefill decode -name 'l2bench.*')" ""
fi
