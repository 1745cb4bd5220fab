#!/bin/sh
# Enforces the levels of fs/DESIGN.md: a file includes headers of its own level or lower, and each outside
# library is named only where it belongs. A file in fs/ must be in the table below.
# usage: tests/check-layers.sh [TOP]; says each fault in one line, exit 1 when there is any.
set -u
LC_ALL=C
export LC_ALL
cd "${1:-$(dirname "$0")/..}" || exit 1

# The level of fs/NAME.c and fs/NAME.h; nothing when it is not known.
level() {
    case $1 in
    base | bitmap | checksum | clock | conf | conf_* | hash | instance | instance_lock | list | lock | log | loop | machine) echo 0 ;;
    daemonize | mailbox | metrics | mountpoint | netdev | process | states | text | thread | units | wheel) echo 0 ;;
    health | key | l1 | locks | object | order | pin | rank | record | staging | store_rest | touches) echo 1 ;;
    adapter | arrival | job | keylocks | l2 | spec | taskq | tier | tier_* | tiers | workers) echo 2 ;;
    keyguard | plan | policy | prefetch_ctl | prefetch_impl | prefetch_request | prefetch_task | store_ctl | store_lane | store_queue) echo 3 ;;
    adopt | arrive | arrive_* | attr | core | create | data | events | evict | evict_* | expire | file | file_* | gate | handle | hotplug | hotplug_* | l2fs | l2fs_*) echo 4 ;;
    load | names | prefetch | readahead | ready | namespace | namespace_* | publish | remove | rename | requests | scan | scan_start | status | status_* | store | store_impl | store_job | store_send) echo 4 ;;
    tenant | tenant_* | turn | unread | vfs | vfs_* | virtual | wait | warm | xattr | xattr_*) echo 4 ;;
    front | front_* | main | options | options_* | preflight | preflight_* | signals) echo 5 ;;
    esac
}

name_of() {
    name=${1##*/}
    name=${name%.[ch]}
}

# Where an outside header may be included: a pattern of file paths.
allowed() {
    case $1 in
    fuse*.h | fuse3/*) echo 'fs/front*.[ch] fs/main.c' ;;
    zmq.h) echo 'adapters/pd_ctl*.c' ;;
    ucp/* | ucs/* | uct/*) echo 'adapters/ucx*.[ch]' ;;
    cuda*.h) echo 'fs/pin.c' ;;
    *) echo '*' ;;
    esac
}

faults=0
fault() {
    echo "check-layers: $*"
    faults=$((faults + 1))
}

# check_outside FILE HEADER
check_outside() {
    set -f
    for pattern in $(allowed "$2"); do
        # shellcheck disable=SC2254
        case $1 in $pattern) set +f; return ;; esac
    done
    set +f
    fault "$1 includes <$2>, which belongs to: $(allowed "$2")"
}

# check_own FILE LEVEL HEADER, for what is included as "HEADER"
check_own() {
    header=${3##*/}
    if [ -f "fs/$header" ]; then
        name_of "$header"
        other=$(level "$name")
        if [ -n "$other" ] && [ "$other" -gt "$2" ]; then
            fault "$1 (level $2) includes $header (level $other)"
        fi
    elif [ "$header" != config.h ] && ! [ -f "${1%/*}/$header" ]; then
        case $1 in
        fs/*) fault "$1 includes \"$3\", which is not in fs/" ;;
        *) fault "$1 includes \"$3\", which is neither in fs/ nor in ${1%/*}/" ;;
        esac
    fi
}

check_file() {
    file=$1 mine=$2
    quoted=$(sed -n 's/^[[:space:]]*#[[:space:]]*include[[:space:]]*"\([^"]*\)".*/\1/p' "$file")
    angled=$(sed -n 's/^[[:space:]]*#[[:space:]]*include[[:space:]]*<\([^>]*\)>.*/\1/p' "$file")
    for h in $quoted; do
        check_own "$file" "$mine" "$h"
        check_outside "$file" "${h##*/}"
    done
    for h in $angled; do
        check_outside "$file" "$h"
    done
}

for f in fs/*.[ch]; do
    [ -f "$f" ] || continue
    name_of "$f"
    mine=$(level "$name")
    if [ -z "$mine" ]; then
        fault "$f has no level: add it to the table in tests/check-layers.sh"
        continue
    fi
    check_file "$f" "$mine"
done
# Adapters see the contract and what is below it, nothing of the controllers or the front end.
for f in adapters/*.[ch]; do
    if [ -f "$f" ]; then check_file "$f" 2; fi
done

[ $faults -eq 0 ]
