#!/bin/sh
# l2bench --report writes a table and JSON with each row measured or the reason why not, judges the targets by them, and
# leaves nothing behind, also when it is stopped. No figure is held against a limit here.
# slow: yes
. "$SRCDIR/tests/functions.sh"
need jq
need_root

report() { "$SRCDIR/tools/l2bench" --report --quick --disk "$WORK/disk" "$@"; }
nothing_left() {
    assert_eq "$(grep -c " $WORK/disk/" /proc/self/mountinfo || true)" 0 "mounts"
    assert_eq "$(ls "$WORK/disk")" "" "files"
    for l2_left in /run/l2fs/l2bench-*/; do
        l2_id=${l2_left#*/l2bench-}
        # The number is that of the process; another's may run at this moment.
        [ ! -d "$l2_left" ] || [ -d "/proc/${l2_id%%-*}" ] || fail "left behind: $l2_left"
    done
}

say "all but the data"
report --only bcef "$WORK/out" 2>said || fail "$(tail -n 5 said)"
json=$WORK/out/report.json
jq -e '.rows | all(.not_measured or (.ratio > 0 and .l2fs > 0 and .beside > 0 and .pairs == 2))' "$json" >/dev/null ||
    fail "rows without figures: $(jq -c '.rows[] | select(.ratio == null)' "$json")"
measured() { jq -r --arg s "$1" '[.rows[] | select(.section == $s and .ratio) | .name] | unique | join(" ")' "$json"; }
reasons=$(jq -r '.rows[] | select(.not_measured) | "\(.name): \(.not_measured)"' "$json")
assert_match "$(measured b)" "*readdir-1000*scan*small-open*small-read*small-trip*stat-1000*"
assert_match "$(measured c)" "*stream*"
assert_match "$(measured e)" "*directory-read directory-write*"
assert_eq "$(measured f)" "cpu-load cpu-read cpu-write"
assert_eq "$(measured a)$(measured d)" "" "sections that were not asked for"
# Where a program is missing, its rows say so; nothing else may be missing.
for peer in fio:load redis-server:redis; do
    if ! command -v "${peer%:*}" >/dev/null; then
        assert_match "$reasons" "*${peer#*:}: ${peer%:*} is not installed*"
    fi
done
rest=$(echo "$reasons" | grep -v "is not installed\|enable_uring\|no pd adapter" || true)
assert_eq "$rest" "" "rows that could not be measured"

say "targets"
assert_eq "$(jq -r '[.targets[] | select(.measured == null) | .verdict] | unique | join(" ")' "$json")" "not measured"
jq -e '.targets | all(.measured == null or .verdict ==
    (if (if .must_be == "at least" then .measured >= .limit else .measured <= .limit end) then "met" else "missed" end))' \
    "$json" >/dev/null || fail "verdicts: $(jq -c '.targets' "$json")"
assert_eq "$(grep -cE '\*\*(met|missed|not measured)\*\* \|$' "$WORK/out/report.md")" "$(jq '.targets | length' "$json")"
assert_eq "$(grep -cE '^\| .* \| \*\*[0-9.]+\*\* \| ' "$WORK/out/report.md")" "$(jq '[.rows[] | select(.ratio)] | length' "$json")"
jq -e '.targets[] | select(.row == "small-read-uring") | (.verdict == "missed") == (.reason != null)' "$json" >/dev/null ||
    ! jq -e '.rows[] | select(.name == "small-trip-uring")' "$json" >/dev/null || fail "the small keys are missed without a reason"
assert_match "$(cat "$WORK/out/report.md")" "*memory of the daemon*"
nothing_left

say "stopped half way"
"$SRCDIR/tools/l2bench" --report --quick --disk "$WORK/disk" --only a "$WORK/stopped" 2>said &
pid=$!
begun() { grep -q "a read" said; }
wait_for 60 begun
kill -TERM $pid
rc=0
wait $pid || rc=$?
assert_eq $rc 130 "exit code after a signal"
assert_eq "$(ls "$WORK/stopped")" ""
nothing_left

say "wrong usage, and other arguments"
for bad in "--only x" "--nonsense" "one two"; do
    rc=0
    # shellcheck disable=SC2086
    report $bad >out.txt 2>&1 || rc=$?
    assert_eq $rc 2 "exit code of $bad"
done
assert_eq "$("$SRCDIR/tools/l2bench" -V)" "$("$BUILDDIR/tools/l2bench" -V)"
