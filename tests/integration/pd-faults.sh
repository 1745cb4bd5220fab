#!/bin/bash
# Two pd mounts in two network namespaces while one of them, or the network, fails in every phase of a transfer:
# nobody reads a torn key, nothing hangs or leaks, and all that was written arrives by itself.
# L2FS_PD_FAULTS=N: so many rounds of each fault (3 unless given; 50 take some 10 minutes).
# timeout: 180
# slow: yes
. "$SRCDIR/tests/functions.sh"
need_root
need ip nsenter unshare
"$BUILDDIR/mount.l2fs" --help pd >/dev/null 2>&1 || skip "built without the pd adapter"
PYTHON=/usr/bin/python3
export UCX_LOG_LEVEL=error L2FS_MOUNTS=$WORK/.mounts

ns=l2fs-faults-$$
veth=l2f$$
net=10.214.$(($$ % 256))
top=$WORK/m
end() {
    rc=$?
    set +e
    # a stopped daemon cannot end
    for pid in $(l2_daemons "$top/prefill") $(l2_daemons "$top/decode"); do kill -CONT "$pid"; done 2>/dev/null
    (exit $rc)
}
leave() {
    rc=$?
    set +e
    for dir in "$top"/staging-* "$top"; do
        while mountpoint -q "$dir"; do umount -l "$dir" || break; done
    done
    ip netns del "$ns" 2>/dev/null
    ip link del "$veth" 2>/dev/null
    exit $rc
}
trap 'end; (l2_cleanup); leave' EXIT

ip netns add "$ns" 2>/dev/null || skip "no network namespace can be made here"
ip link add "$veth" type veth peer name l2f netns "$ns" || skip "no veth pair can be made here"
ip addr add "$net.1/24" dev "$veth"
ip link set "$veth" up
ip -n "$ns" addr add "$net.2/24" dev l2f
ip -n "$ns" link set l2f up
ip -n "$ns" link set lo up
# slow enough that data is on its way for a while
tc qdisc add dev "$veth" root tbf rate 800mbit burst 256kb latency 50ms 2>/dev/null || say "the network is not slowed down"
mkdir "$top"
mount --bind "$top" "$top"
mount --make-shared "$top"

say "faults in a network of two"
rounds=${L2FS_PD_FAULTS:-3}
timeout $((60 * rounds)) "$PYTHON" "$SRCDIR/tests/lib/pd_faults.py" "$BUILDDIR/mount.l2fs" "$top" "$ns" "$veth" "$net.2" \
    "$rounds" "${L2FS_SEED:-1}" || fail "see above"
