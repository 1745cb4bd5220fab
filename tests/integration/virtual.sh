#!/bin/sh
# The .l2fs directory through the mount: JSON, metrics, events that follow, and what cannot be done there.
# fallback: yes
. "$SRCDIR/tests/functions.sh"
need python3 getfattr

L2=$WORK/l2
MNT=$WORK/mnt
mkdir -p "$L2"
l2_mount "$L2" "$MNT" -o l1=64M,load_timeout=1s

json() { python3 -c 'import json, sys; v = json.load(open(sys.argv[1]))
for k in sys.argv[2:]: v = v[int(k)] if isinstance(v, list) else v[k]
print(v)' "$@"; }
stored() { [ "$(attr "$1" user.l2fs.store)" = fs=stored ]; }

say "it is there, but not listed"
assert_eq "$(ls -A "$MNT")" ""
[ -d "$MNT/.l2fs" ] || fail "no .l2fs"
assert_eq "$(ls "$MNT/.l2fs" | tr '\n' ' ')" "adapters config events history metrics peers ready status victims "
assert_eq "$(ls "$MNT/.l2fs/adapters/fs" | tr '\n' ' ')" "status usage "
assert_eq "$(find "$MNT" -mindepth 1)" ""

say "JSON"
for file in status config adapters/fs/status adapters/fs/usage; do
    python3 -m json.tool "$MNT/.l2fs/$file" >/dev/null || fail "$file is not JSON"
done
printf hello >"$MNT/key"
wait_for 10 stored "$MNT/key"
assert_eq "$(json "$MNT/.l2fs/status" is_healthy)" True
assert_eq "$(json "$MNT/.l2fs/status" objects files)" 1
assert_eq "$(json "$MNT/.l2fs/status" l1 capacity)" 67108864
assert_eq "$(json "$MNT/.l2fs/status" tiers 0 name)" fs
assert_match "$(json "$MNT/.l2fs/status" mode)" "[pd][ai]*"
assert_eq "$(json "$MNT/.l2fs/config" l2 0 type)" fs
assert_eq "$(json "$MNT/.l2fs/adapters/fs/usage" objects)" 1

say "metrics"
python3 - "$MNT/.l2fs/metrics" <<'EOF'
import re, sys
text = open(sys.argv[1]).read()
assert text.endswith("# EOF\n"), "no # EOF at the end"
types, seen = {}, {}
for line in text.splitlines()[:-1]:
    if line.startswith("# TYPE "):
        _, _, name, kind = line.split()
        assert name not in types, "two families " + name
        types[name] = kind
    elif not line.startswith("# HELP "):
        m = re.fullmatch(r'([a-z0-9_]+)(\{(?:[a-z_]+="(?:[^"\\]|\\.)*",?)*\})? ([0-9.e+-]+)', line)
        assert m, "not a sample: " + line
        base = re.sub(r"_(total|bucket|sum|count)$", "", m[1])
        assert m[1] in types or base in types, "no type for " + line
        seen[m[1] + (m[2] or "")] = float(m[3])
assert seen["l2fs_files"] == 1, seen
assert seen["l2fs_l1_capacity_bytes"] == 64 << 20
assert seen['l2fs_tier_healthy{adapter="fs"}'] == 1
EOF

say "events follow"
exec 5<"$MNT/.l2fs/events"
printf world >"$MNT/second"
# A read that waits: the stream must bring the store without being asked again.
timeout 20 sh -c 'while read -r line; do
    case $line in *\"stored\"*\"second\"*) exit 0 ;; esac
done; exit 1' <&5 || fail "no event tells of the store"
exec 5<&-
timeout 20 python3 - "$MNT" <<'EOF'
import json, os, select, sys
mnt = sys.argv[1]
fd = os.open(mnt + "/.l2fs/events", os.O_RDONLY | os.O_NONBLOCK)
try:
    os.read(fd, 4096)
    raise SystemExit("an empty stream gave something")
except BlockingIOError:
    pass
with open(os.path.join(os.fsencode(mnt), b'odd\xff"\\name'), "w") as f:
    f.write("x")
data, poll = b"", select.poll()
poll.register(fd, select.POLLIN)
while b'"stored"' not in data:
    assert poll.poll(15000), "no event"
    data += os.read(fd, 65536)
for line in data.decode().splitlines():
    event = json.loads(line)
    assert {"seq", "time", "event"} <= set(event), event
assert json.loads(data.decode().splitlines()[-1])["key"] == 'odd\u00ff"\\name'
os.close(fd)
EOF

say "a request that is not ready"
timeout 20 python3 - "$MNT/.l2fs/ready" <<'EOF'
import errno, os, select, sys, time
ready = sys.argv[1]
assert os.listdir(ready) == []
began = time.monotonic()
try:
    os.open(ready + "/req-1", os.O_RDONLY)
    raise SystemExit("it opened")
except FileNotFoundError:
    assert 0.8 < time.monotonic() - began < 10
fd = os.open(ready + "/req-1", os.O_RDONLY | os.O_NONBLOCK)
poll = select.poll()
poll.register(fd, select.POLLIN)
assert poll.poll(100) == []
try:
    os.read(fd, 100)
    raise SystemExit("it gave something")
except BlockingIOError:
    pass
os.close(fd)
assert os.listdir(ready) == []
EOF

say "nothing can be changed there"
assert_fails rm -f "$MNT/.l2fs/ready/req-1"
assert_fails touch "$MNT/.l2fs/ready/req-2"
assert_fails touch "$MNT/.l2fs/new"
assert_fails mkdir "$MNT/.l2fs/new"
assert_fails rm -f "$MNT/.l2fs/status"
assert_fails rmdir "$MNT/.l2fs/adapters/fs"
assert_fails mv "$MNT/.l2fs/status" "$MNT/status"
assert_fails mv "$MNT/key" "$MNT/.l2fs/key"
assert_fails ln "$MNT/.l2fs/status" "$MNT/status"
assert_fails sh -c 'echo x >"$1"' sh "$MNT/.l2fs/status"
assert_eq "$(json "$MNT/.l2fs/status" objects files)" 3

l2_umount "$MNT"
[ -e "$L2/.l2fs" ] && [ -e "$L2/.l2fs/status" ] && fail ".l2fs was stored"
exit 0
