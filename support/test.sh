#!/bin/sh
# Every check and every test, cheapest first. All stages run even after a failure,
# except those that need a build which failed. The last line says how many tests ran:
# "N passed, N failed, N skipped".
#
# `make test` calls it after it has set up the machine.
set -u

# Every stage goes through a pipe: nobody wants colours there.
TERM=dumb
export TERM

cd "$(dirname "$0")/.."

logs=_build/test-logs
mkdir -p "$logs"
rm -f "$logs"/*.log

passed=0
failed=0
skipped=0
broken=

# stage NAME COMMAND...: runs one stage and shows its output, which goes to a log too.
# Its exit status is that of the command.
stage() {
    stage_name="$1"
    shift
    stage_log="$logs/$stage_name.log"
    echo
    echo "== $stage_name: $*"
    stage_start=$(date +%s)
    # A pipe gives the status of its last command: the first one's goes by a file.
    { "$@" 2>&1; echo $? >"$stage_log.status"; } | tee "$stage_log"
    stage_status=$(cat "$stage_log.status")
    rm -f "$stage_log.status"
    stage_seconds=$(($(date +%s) - stage_start))
    if [ "$stage_status" = 0 ]; then
        echo "== $stage_name: ok ($stage_seconds s)"
    else
        echo "== $stage_name: FAILED with status $stage_status ($stage_seconds s)"
        broken="$broken $stage_name"
    fi
    return "$stage_status"
}

# sum PATTERN: adds up the number that PATTERN captures, over all lines of the last log.
sum() {
    sed 's/\x1b\[[0-9;]*m//g' "$stage_log" | sed -n "s/$1/\\1/p" | awk '{ total += $1 } END { print total + 0 }'
}

# count PASSED FAILED SKIPPED: adds a stage's numbers to the totals. A stage that failed
# without a failed test (it did not compile, a node died) counts as one.
count() {
    echo "== $stage_name: $1 passed, $2 failed, $3 skipped"
    passed=$((passed + $1))
    failed=$((failed + $2))
    skipped=$((skipped + $3))
    if [ "$stage_status" != 0 ] && [ "$2" = 0 ]; then
        failed=$((failed + 1))
    fi
}

# A check has no tests to count; it shows in the totals only when it fails.
check() {
    stage "$@" || failed=$((failed + 1))
}

check rustfmt cargo fmt --all --check
check clippy cargo clippy --workspace --all-targets --locked -- -D warnings

stage cargo-test cargo test --workspace --locked --no-fail-fast
count "$(sum '.*test result:.* \([0-9]*\) passed;.*')" \
    "$(sum '.*test result:.* \([0-9]*\) failed;.*')" \
    "$(sum '.*test result:.* \([0-9]*\) ignored;.*')"

check c-programs make --no-print-directory -C c_src_compat

if stage compile rebar3 compile; then
    check xref rebar3 xref
    mkdir -p _build/demo
    check demo-code erlc -Werror +warn_missing_spec -o _build/demo demo/*.erl
    # A node that hangs must not hang the whole run.
    stage common-test timeout --kill-after=30 2400 rebar3 ct
    # "All 12 tests passed." or "Failed 1 tests. Skipped 2 (1, 1) tests. Passed 9 tests."
    # A case skipped by the framework (the second number: a failed init) did fail.
    lost=$(sum '.*Skipped [0-9]* ([0-9]*, \([0-9]*\)) tests.*')
    count "$(($(sum '.*All \([0-9]*\) tests passed.*') + $(sum '.*Passed \([0-9]*\) tests.*')))" \
        "$(($(sum '.*Failed \([0-9]*\) tests.*') + lost))" \
        "$(sum '.*Skipped [0-9]* (\([0-9]*\), [0-9]*) tests.*')"
else
    failed=$((failed + 1))
fi

# Again at the end, where one looks first: each case that failed, and why.
if [ -f "$logs/common-test.log" ]; then
    sed 's/\x1b\[[0-9;]*m//g' "$logs/common-test.log" |
        grep -A 12 '^%%% .*: FAILED' | cut -c 1-300 | head -n 120
fi
if [ -f "$logs/cargo-test.log" ]; then
    grep -E '^(test .* \.\.\. FAILED|thread .* panicked at)' "$logs/cargo-test.log" | head -n 40
fi

echo
[ -z "$broken" ] || echo "These stages failed:$broken"
echo "$passed passed, $failed failed, $skipped skipped"
[ -z "$broken" ] && [ "$failed" = 0 ]
