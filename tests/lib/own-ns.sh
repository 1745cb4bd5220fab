#!/bin/sh
# usage: unshare -m --propagation unchanged sh own-ns.sh DIR COMMAND...
# Runs a command in its own mount namespace. UCX finds network devices in /sys/class/net, so a daemon in another network
# namespace needs the /sys of that. Only what is mounted below DIR, a shared mount, comes back from there; nothing of others
# is kept alive there, and nothing that is unmounted there goes elsewhere.
work=$1
shift
path() { printf %b "$(printf %s "$1" | sed 's/\\/\\0/g')"; }
while read -r _ _ _ _ dir _; do
    dir=$(path "$dir")
    case $dir in
    "$work" | "$work"/*) ;;
    *) mount --make-private "$dir" 2>/dev/null ;; # an unmount is passed on by the mount that it is in
    esac
done </proc/self/mountinfo
while read -r _ dir type _; do
    dir=$(path "$dir")
    case $type:$dir in
    fuse*:"$work"/*) ;;
    fuse*:* | tmpfs:/run/l2fs/*) umount -l "$dir" ;;
    esac
done </proc/self/mounts
mount -t sysfs sysfs /sys
exec "$@"
