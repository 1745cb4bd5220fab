#!/bin/sh
# Runs every command of README.md: the blocks marked sh, in order, in one shell, and the fstab lines. They run in
# a mount namespace of their own in which /usr, /srv and /mnt are scratch, so that they may install and mount.
# timeout: 400
# slow: yes
. "$SRCDIR/tests/functions.sh"
need_root
need unshare getfattr setfattr fallocate

say "the options table is that of --help"
"$BUILDDIR/mount.l2fs" --help |
    sed -n '/^Options of -o/,/^$/s/^  \([^ ]*\)  *\(.*\)$/| `\1` @ \2 |/p' |
    sed 's/|\([^ ]\)/\\|\1/g; s/ @ / | /' >options.help
sed -n '/^<!-- The lines of/,/^$/p' "$SRCDIR/README.md" | grep "^| \`" >options.readme || true
[ -s options.help ] || fail "--help lists no options"
diff options.readme options.help || fail "README.md: replace its option lines by those marked > above"

say "every attribute, file and command is told"
for name in state tiers store lock crc32c error peer pin expire req_id last_prefill prefetch evict place; do
    grep -q "^|.*\`$name\`.*|" "$SRCDIR/README.md" || fail "README.md does not tell of user.l2fs.$name"
done
"$BUILDDIR/tools/l2fsctl" -h | sed -n 's/^  \([a-z][a-z]*\) .*/\1/p' | while read -r name; do
    grep -q "\`$name\`" "$SRCDIR/README.md" || fail "README.md does not tell of l2fsctl $name"
done

awk '/^```sh$/ { on = 1; print "# --- block at line " NR; next } /^```/ { on = 0 } on' "$SRCDIR/README.md" >blocks
awk '/^```fstab$/ { on = 1; next } /^```/ { on = 0 } on' "$SRCDIR/README.md" >fstab
grep -q quickstart blocks || fail "no commands found"
# It is run-tests that runs this.
sed -i 's|^sudo ./tools/run-tests$|./tools/run-tests --help|' blocks
grep -q '^./tools/run-tests --help$' blocks || fail "README.md does not name run-tests"

mkdir -p usr.upper usr.work srv mnt
if ! unshare -m sh -c 'mount -t overlay overlay -o lowerdir=/usr,upperdir=usr.upper,workdir=usr.work /usr' 2>/dev/null; then
    skip "no overlay file system here"
fi

cat >inside <<'END'
set -eu
# A mount lives as long as a namespace has a copy of it: what other tests unmount meanwhile must go.
awk '$3 ~ /^fuse/ || $2 ~ /^\/run\/l2fs\// { print $2 }' /proc/self/mounts | while read -r dir; do
    umount -l "$(printf %b "$dir")"
done
# The daemons must be gone before the namespace goes.
finish() {
    rc=$?
    set +x
    trap - EXIT
    cd /
    for dir in /mnt/kv /mnt/decode; do
        while mountpoint -q $dir; do umount $dir || umount -l $dir; done
    done
    for file in /run/l2fs/*.lock; do
        if read -r pid _ dir <"$file" && [ "${dir%/*}" = /mnt ] && find "/proc/$pid/fd" -printf '%l\n' | grep -qxF "$file"; then
            timeout 60 tail --pid="$pid" -f /dev/null
        fi
    done 2>/dev/null
    exit $rc
}
trap finish EXIT
sudo() { "$@"; }
mount -t overlay overlay -o "lowerdir=/usr,upperdir=$WORK/usr.upper,workdir=$WORK/usr.work" /usr
mount --bind "$WORK/srv" /srv
mount --bind "$WORK/mnt" /mnt
PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
hash -r
cd "$SRCDIR"
set -x
. "$WORK/blocks"
set +x
echo "# fstab"
while read -r what where type options _; do
    case $what in '' | '#'*) continue ;; esac
    echo "$what $where $type $options 0 0" >"$WORK/one"
    mount -T "$WORK/one" "$where"
    echo "$what" >"$where/key"
    [ "$(cat "$where/key")" = "$what" ]
    umount "$where"
done <"$WORK/fstab"
END
export WORK
unshare -m sh inside || fail "README.md: the command that is last above failed"
