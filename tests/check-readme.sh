#!/bin/sh
# Sees that every test named in tests/README.md exists: `FILE.c:TEST` is a Check test of FILE.c below tests/,
# `FILE.c` such a file, `NAME.sh` a script of tests/integration.
# usage: tests/check-readme.sh [TOP]; says each fault in one line, exit 1 when there is any.
set -u
LC_ALL=C
export LC_ALL
cd "${1:-$(dirname "$0")/..}/tests" || exit 1

check() {
    file=${1%%:*} test=${1#*:}
    case $file in
    *.sh) [ -f "integration/$file" ] || echo "there is no tests/integration/$file" ;;
    *)
        path=$(find unit conform lib -name "$file")
        if [ -z "$path" ]; then
            echo "there is no $file below tests/"
        elif [ "$test" != "$1" ] && ! grep -Eq "(START_TEST|CASE)\\($test\\)|\"$test\"" "$path"; then
            echo "tests/$path has no test $test"
        fi
        ;;
    esac
}

names=$(grep -o '`[A-Za-z0-9_-]*\.\(c\|sh\)\(:[A-Za-z0-9_-]*\)\{0,1\}`' README.md | tr -d '`' | sort -u)
[ -n "$names" ] || { echo "tests/README.md names no test" && exit 1; }
faults=$(for name in $names; do check "$name"; done)
[ -z "$faults" ] || { echo "$faults" | sed 's/$/ (named in tests\/README.md)/' && exit 1; }
