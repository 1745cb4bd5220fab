#!/bin/sh
# l2fsctl: every verb on a real mount, as text and as JSON, its help, its exit status, and what it says when it
# cannot.
. "$SRCDIR/tests/functions.sh"
need getfattr jq
C=$BUILDDIR/tools/l2fsctl
mkdir l2 mnt
MNT=$WORK/mnt

# ends STATUS ARG...: l2fsctl ends with STATUS; what it says is left in .out and .err.
ends() {
    ends_want=$1
    shift
    ends_rc=0
    timeout 60 "$C" "$@" >.out 2>.err || ends_rc=$?
    assert_eq "$ends_rc" "$ends_want" "l2fsctl $*: $(cat .out .err)"
}
verbs() { "$C" -h | sed -n '/^Commands:/,/^$/s/^  \([a-z][a-z]*\) .*/\1/p'; }

say "help"
ends 0 -h
ends 0 --help
verbs >verb.names
[ "$(wc -l <verb.names)" -ge 13 ] || fail "l2fsctl -h lists only: $(cat verb.names)"
while read -r verb; do
    ends 0 "$verb" --help
    assert_match "$(cat .out)" "usage: l2fsctl $verb*--json*"
    ends 2 "$verb" --no-such-option
    assert_match "$(cat .err)" "*try l2fsctl $verb -h*"
done <verb.names
ends 0 -V
assert_match "$(cat .out)" 'l2fsctl [0-9]*'

say "wrong use is 2"
ends 2
ends 2 frobnicate
assert_match "$(cat .err)" '*frobnicate: no such command*'
ends 2 statsu
assert_match "$(cat .err)" '*did you mean status?*'
for verb in info pin unpin warm evict retry unlock quota; do
    ends 2 $verb
    assert_match "$(cat .err)" '*needs a *'
done
ends 2 status x
ends 2 pin x --for often
assert_match "$(cat .err)" '*--for often is not a time such as *'
ends 2 pin x --hard --for 5m
ends 2 top -d never
ends 2 top -n 0

say "what is not there is 3"
ends 3 -m "$WORK" status
assert_match "$(cat .err)" "*$WORK is not on an l2fs mount*"
ends 3 -m "$WORK/nowhere" top -n 1
touch plain
ends 3 info plain
assert_match "$(cat .err)" '*plain is not on an l2fs mount*'
for verb in evict pin warm ls; do ends 3 $verb plain; done
assert_eq "$(getfattr -d plain)" ""

l2_mount "$WORK/l2" "$MNT" -o l1=64M
mkdir "$MNT/dir"
head -c 100000 /dev/urandom >"$MNT/dir/key"
echo two >"$MNT/two"
sync "$MNT/dir/key" "$MNT/two"

say "the mount"
ends 0 -m "$MNT" status
assert_match "$(cat .out)" "$MNT: healthy (*of 64.0M used*2 files in 1 directories*tiers*fs  *ok*"
if grep -n '^[a-z0-9]* *,' .out; then fail "status has no words for a section"; fi
assert_eq "$("$C" -m "$MNT" --json status | jq -r .objects.files)" 2
sed -n '/^\.SH STATUS/,/^\.SH EVENTS/p' "$SRCDIR/tools/man/l2fs.5" >man.status
jq -r 'keys[], (.l1, .store, .objects, .locks | keys[]?)' "$MNT/.l2fs/status" | while read -r name; do
    grep -qw -- "$name" man.status || fail "l2fs.5 does not tell of $name in .l2fs/status"
done
assert_eq "$(cd "$MNT/dir" && "$C" status --json | jq -r .objects.files)" 2 "the working directory"
assert_match "$("$C" -m "$MNT" adapters)" 'name *fs *'
assert_eq "$("$C" -m "$MNT" --json adapters | jq -r .fs.type)" fs
assert_match "$("$C" -m "$MNT" config)" '*l1 *64.0M*'
"$C" -m "$MNT" --json config | jq -e '.l2[0].base_path' >/dev/null || fail "config has no l2"
"$C" -m "$MNT" metrics | grep -q '^l2fs_files 2' || fail "metrics has no l2fs_files"
"$C" -m "$MNT" metrics --json | grep -q '^# EOF' || fail "metrics --json is not the whole text"

say "keys"
assert_match "$("$C" ls "$MNT/dir" | tail -n 1)" 'resident *97.7K *key'
assert_eq "$("$C" -m "$MNT" --json ls dir | jq -r '.[0].path')" key
assert_match "$("$C" -m "$MNT" ls two dir | tail -n 2)" '*two*key'
assert_match "$("$C" info "$MNT/two")" '*state *resident*'
assert_eq "$("$C" -m "$MNT" --json stat two | jq -r .size)" 4 "stat is info"
assert_eq "$("$C" -m "$MNT" --json info two dir | jq -r '.[1].place')" l1
ends 3 info "$MNT/missing"
assert_match "$(cat .err)" '*missing: there is no such key or directory*'
ends 3 -m "$MNT" ls missing two
assert_match "$(cat .out)" '*two*'

say "pin, unpin"
ends 0 -m "$MNT" pin two --hard
assert_eq "$(attr "$MNT/two" user.l2fs.pin)" hard
assert_fails rm -f "$MNT/two"
ends 1 -m "$MNT" evict two
assert_match "$(cat .err)" '*two: stays: it is pinned (hard)*'
ends 0 -m "$MNT" pin two --for 90m
assert_match "$(attr "$MNT/two" user.l2fs.pin)" 'soft=1.[45]*h'
ends 0 -m "$MNT" unpin two
assert_eq "$(attr "$MNT/two" user.l2fs.pin)" none
ends 1 -m "$MNT" pin dir
assert_match "$(cat .err)" '*only keys are pinned*'

say "evict, warm"
ends 0 -m "$MNT" evict two
has_state "$MNT/two" evicted || fail "two is not evicted"
ends 0 -m "$MNT" warm two
assert_match "$(cat .out)" '*two: loaded 4*1 loaded (4 in*'
has_state "$MNT/two" resident || fail "two is not resident"
ends 0 -m "$MNT" evict dir two
warmed() { "$C" -m "$MNT" warm --json "$@" | jq -r '[.[].outcome] | join(",")'; }
assert_eq "$(warmed dir)" "loaded"
assert_eq "$(warmed dir two)" "was in memory,loaded"
ends 3 -m "$MNT" warm missing two
assert_match "$(cat .out)" '*missing: no such key*two: was in memory*'
ends 0 -m "$MNT" evict dir two
printf 'dir/key\nmissing\n\ntwo\n' >list
ends 0 -m "$MNT" warm --prefix --from list
assert_match "$(cat .out)" '*dir/key: loaded *missing: no such key*1 loaded *'
ends 0 -m "$MNT" evict dir two
"$C" -m "$MNT" warm --from - <list >.out || assert_eq $? 3
assert_match "$(cat .out)" '*2 loaded *1 no such key*'
ends 0 -m "$MNT" warm --timeout 30s .
ends 1 warm --from "$WORK/no-list"

say "evict --dry-run"
ends 0 -m "$MNT" pin two --hard
ends 0 -m "$MNT" warm dir
exec 5<"$MNT/dir/key"
ends 0 -m "$MNT" evict --dry-run two dir
assert_match "$(cat .out)" '*two: stays: it is pinned (hard)*dir/key: stays: it is open (readers: 1)*0 would leave (0), 2 not*'
ends 0 -m "$MNT" evict --dry-run
assert_match "$(cat .out)" 'l1: *of 64.0M used*stay: open 1 (*pinned 1 (*nothing would leave*'
exec 5<&-
ends 0 -m "$MNT" unpin two
in_victims() { "$C" -m "$MNT" evict --dry-run | grep -q "^dir/key  "; }
wait_for 10 in_victims
"$C" -m "$MNT" evict --dry-run --json | jq -e '.places[0].next | length == 2' >/dev/null || fail "two would leave"
assert_eq "$("$C" -m "$MNT" evict --dry-run --json dir | jq -r '.[0].leaves')" true
has_state "$MNT/dir/key" resident || fail "a dry run evicts"
ends 3 -m "$MNT" evict --dry-run missing

say "retry, unlock"
ends 0 -m "$MNT" retry two dir
ends 2 -m "$MNT" unlock two
assert_match "$(cat .err)" '*say --force*'
ends 0 -m "$MNT" pin two --hard
if [ "$(id -u)" -eq 0 ]; then
    ends 0 -m "$MNT" unlock --force two
    assert_eq "$(attr "$MNT/two" user.l2fs.pin)" none
fi

say "quota"
assert_match "$("$C" -m "$MNT" quota dir)" '*quota *none*'
ends 0 -m "$MNT" quota dir 10M
assert_eq "$("$C" -m "$MNT" quota dir --json | jq -r '.quota, .available > 0' | tr '\n' ' ')" "10M true "
ends 1 -m "$MNT" quota dir much
assert_match "$(cat .err)" '*a quota is none or a size*'
ends 0 -m "$MNT" quota dir none
ends 3 -m "$MNT" quota missing

say "events"
"$C" -m "$MNT" events -f >followed 2>&1 &
follower=$!
"$C" -m "$MNT" events --once --type loaded --json 'n*w' >once 2>&1 &
once=$!
seen() { grep -q "$1" followed; }
# They follow when this one is seen.
begun() { echo begin >"$MNT/begin"; grep -q begin followed; }
wait_for 20 begun
echo three >"$MNT/new"
sync "$MNT/new"
wait_for 20 seen ' stored  *new'
ends 0 -m "$MNT" evict new
cat "$MNT/new" >/dev/null
ends 0 -m "$MNT" pin new
ends 0 -m "$MNT" unpin new
setfattr -n user.l2fs.expire -v 10ms "$MNT/new"
wait_for 20 seen ' expired  *new'
kill $follower
wait $follower || true
awk '$3 == "new" { printf "%s ", $2 }' followed >names
assert_match "$(cat names)" 'published stored evicted loaded pinned unpinned expired '
wait $once || fail "events --once: $(cat once)"
assert_eq "$(jq -r '.event + " " + .key' once)" "loaded new"
assert_eq "$("$C" -m "$MNT" events --type expired,pinned --json 'new' | jq -r .event | tr '\n' ' ')" "pinned expired "
assert_eq "$("$C" -m "$MNT" events --type expired 'dir/*')" ""

say "top"
wait_for 30 sh -c "'$C' -m '$MNT' --json status | jq -e .is_healthy"
ends 0 -m "$MNT" top -n 2 -d 200ms
assert_match "$(cat .out)" "*$MNT  healthy*per second*since the mount*tiers, per second*fs *per second*"
assert_eq "$("$C" -m "$MNT" top --json -n 2 -d 100ms | jq -s '[.[].status.is_healthy] | all')" true
"$C" -m "$MNT" top --json -n 1 | jq -e '.rates[1].opens > 0 and .tiers[0].name == "fs"' >/dev/null ||
    fail "top --json has no rates"
if command -v script >/dev/null; then
    # On a terminal: the screen is entered and left again, at q, at the count, and at Ctrl-C.
    # on_screen KEYS ARG...: types KEYS when the screen is there.
    on_screen() {
        keys=$1
        shift
        rm -f typescript
        (wait_for 30 grep -q 'since the mount' typescript && printf '%b' "$keys" && wait_for 30 test -e ended) |
            (timeout 60 script -qefc "$C -m $MNT top -d 100ms $*" typescript >/dev/null || true; : >ended)
        rm -f ended
        grep -q "$(printf '\033\\[?1049h')" typescript || fail "top $*: no screen"
        tail -c 200 typescript | grep -q "$(printf '\033\\[?1049l')" || fail "top $*: the terminal is not put back"
    }
    on_screen q
    on_screen '\003'
    on_screen '' -n 2
fi

say "settings"
assert_match "$("$C" -m "$MNT" info .l2fs/config)" '*log_level *info*'
ends 0 -m "$MNT" config l1_watermark=0.7 l1_policy=FIFO
assert_eq "$("$C" -m "$MNT" --json config | jq -r '.l1_policy, .l1_watermark' | tr '\n' ' ')" "FIFO 0.7 "
ends 1 -m "$MNT" config l1_policy=MRU
assert_match "$(cat .err)" '*l1_policy: *"MRU" is not allowed, expected one of LRU, FIFO*'
ends 1 -m "$MNT" config l1=1G
assert_match "$(cat .err)" '*l1 cannot be set while mounted*'
ends 2 -m "$MNT" config l1_policy

say "adapters come and go"
mkdir "$WORK/l2b"
ends 0 -m "$MNT" adapters add "{\"type\":\"fs\",\"base_path\":\"$WORK/l2b\"}"
assert_eq "$(cat .out)" "fs.1: added"
assert_eq "$("$C" -m "$MNT" adapters --json | jq -r 'keys | join(",")')" "fs,fs.1"
ends 0 -m "$MNT" adapters remove fs.1 --timeout 20s
assert_eq "$("$C" -m "$MNT" adapters --json | jq -r 'keys | join(",")')" "fs"
ends 1 -m "$MNT" adapters remove nobody
assert_match "$(cat .err)" '*adapter_remove: *nobody*'
ends 1 -m "$MNT" adapters add '{"type":"floppy"}'
assert_match "$(cat .err)" '*adapter_add: *floppy*'
ends 2 -m "$MNT" adapters remove
ends 3 -m "$MNT" adapters set nobody watermark=0.5
ends 1 -m "$MNT" adapters set fs watermark=0.5
assert_match "$(cat .err)" '*watermark: this tier has no capacity*'
ends 0 -m "$MNT" adapters add '{"type":"mock","max_size_gb":0.1,"mock_bandwidth_gb":4}'
mock=$(sed 's/: added//' .out)
ends 0 -m "$MNT" adapters set "$mock" watermark=0.5 policy=FIFO
assert_eq "$(attr "$MNT/.l2fs/adapters/$mock" user.l2fs.policy)" FIFO
assert_match "$("$C" -m "$MNT" evict --dry-run)" "*$mock: *evicts above 0.5, FIFO*"
ends 0 -m "$MNT" adapters remove "$mock" --timeout 20s
setfattr -n user.l2fs.log_level -v debug "$MNT/.l2fs/config"
assert_eq "$("$C" -m "$MNT" --json config | jq -r .log_level)" debug
assert_fails setfattr -n user.l2fs.log_level -v loud "$MNT/.l2fs/config"
assert_match "$(attr "$MNT/.l2fs/config" user.l2fs.error)" '*loud*error, warn, info, debug*'
if [ "$(id -u)" -eq 0 ] && command -v setpriv >/dev/null; then
    assert_fails setpriv --reuid 65534 --clear-groups setfattr -n user.l2fs.log_level -v info "$MNT/.l2fs/config"
fi

say "bench"
ends 0 -m "$MNT" bench --json -- --rounds 1 --size 1M --files 1
jq -e . .out >/dev/null || fail "bench --json is not JSON"

say "a dead mount is 3"
daemon=$(l2_pid "$MNT")
kill -9 "$daemon"
wait_for 10 l2_is_gone "$daemon"
ends 3 -m "$MNT" status
assert_match "$(cat .err)" '*the daemon of this mount is gone; mount again*'
ends 3 -m "$MNT" top -n 1
ends 3 -m "$MNT" events
