#!/bin/sh
# slow: yes
# What tools/examples shows for two nodes is mounted as it stands, but for hosts, ports, key files, sizes and places;
# the demo runs.
# timeout: 120
. "$SRCDIR/tests/functions.sh"
need_root
need ip nsenter python3
"$BUILDDIR/mount.l2fs" --help pd >/dev/null 2>&1 || skip "built without the pd adapter"
export UCX_LOG_LEVEL=error
examples=$SRCDIR/tools/examples

# Ports that are free now.
free_ports() {
    python3 -c 'import socket, sys
s = [socket.create_server(("127.0.0.1", 0)) for _ in range(4)]
print(*[x.getsockname()[1] for x in s])'
}
# shellcheck disable=SC2046
set -- $(free_ports)
here() {
    sed "s/decode-[12]\\|proxy-1/127.0.0.1/g; s/7400/$1/g; s/7300/$2/g; s/7401/$3/g; s/7301/$4/g; s|/mnt/kv|$5|g
        s|/srv/kv|$WORK/l2|g; s|/etc/l2fs|$WORK|g; s/l1=[0-9]*G/l1=256M/; s/\"l1\": \"[0-9]*G\"/\"l1\": \"256M\"/" "$6"
}
for role in decode prefill; do
    here "$1" "$2" "$3" "$4" "$WORK/$role" "$examples/$role.fstab" | grep -v '^#' >$role.fstab
    here "$1" "$2" "$3" "$4" "$WORK/$role" "$examples/$role.mount" >$role.mount
    here "$1" "$2" "$3" "$4" "$WORK/$role" "$examples/$role.json" >$role.json
    mkdir -p $role l2
done

# sends NAME: what is written at one is there at the other.
sends() {
    head -c 1M /dev/urandom >"$WORK/prefill/$1"
    sync "$WORK/prefill/$1"
    assert_same "$WORK/prefill/$1" "$WORK/decode/$1"
    l2_umount "$WORK/prefill"
    l2_umount "$WORK/decode"
}

say "lines of fstab"
for role in decode prefill; do
    read -r spec dir _ options _ <$role.fstab
    l2_mount "$spec" "$dir" -o "$options"
done
sends from-fstab

say "systemd units"
unit() { sed -n "s/^$2=//p" "$1.mount"; }
for role in decode prefill; do
    assert_eq "$(unit $role Type)" l2fs
    l2_mount "$(unit $role What)" "$(unit $role Where)" -o "$(unit $role Options)"
    if command -v systemd-analyze >/dev/null; then
        cp "$examples/$role.mount" mnt-kv.mount
        systemd-analyze verify --man=no ./mnt-kv.mount 2>&1 | grep mnt-kv >said && fail "$role.mount: $(cat said)"
    fi
done
sends from-units

say "JSON files, with keys for two ranks"
/usr/bin/python3 - <<'EOF' || skip "no python3-zmq here"
import os, zmq
os.umask(0o077)
pairs = {n: zmq.curve_keypair() for n in ("decode", "prefill")}
for n, (public, secret) in pairs.items():
    open(n + ".key", "wb").write(secret + b"\n")
    open(n + ".pub", "wb").write(public + b"\n")
open("prefill-nodes.pub", "wb").write(pairs["prefill"][0] + b"\n")
EOF
for role in decode prefill; do l2_mount "$WORK/$role.json" "$WORK/$role"; done
sends from-json
[ -s l2/from-json ] || fail "the fs tier of prefill.json has nothing"

say "the demo"
"$SRCDIR/tools/demo-pd" 16 512 >demo.out 2>&1 || fail "demo-pd: $(cat demo.out)"
cat demo.out
say "a push beside ucx_perftest, over a link of 10 Gbit/s"
"$SRCDIR/tools/demo-pd" --rate 10gbit --bench --size 1M --files 8 --rounds 1 >bench.out 2>&1 || fail "demo-pd --bench: $(cat bench.out)"
cat bench.out
awk '/^push/ { good = $2 > 0 && $4 > 0 } END { exit !good }' bench.out || fail "no figures"
ip netns | grep l2fs-demo && fail "demo-pd leaves a network namespace"
! is_mounted "$(sed -n 's/.* \(\/tmp\/l2fs-demo[^ ]*\/prefill\) .*/\1/p' demo.out | head -n 1)" || fail "demo-pd leaves a mount"
