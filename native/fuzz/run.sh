#!/bin/sh
# Builds the fuzz targets and runs them all at once, from the committed corpora; any
# finding is a failure.
#
#   native/fuzz/run.sh [SECONDS]      how long each target runs (60)
#
# Neither cargo-fuzz nor a nightly compiler is needed: the flags below are those with
# which cargo-fuzz makes rustc count coverage, without AddressSanitizer. That one would
# have nothing to find in a crate that forbids unsafe code, and not every distribution's
# compiler has it; what memory an input takes the targets count themselves.
set -eu

seconds="${1:-60}"
cd "$(dirname "$0")"

flags="-Cpasses=sancov-module --cfg fuzzing"
for feature in level=4 inline-8bit-counters pc-table trace-compares stack-depth; do
    flags="$flags -Cllvm-args=-sanitizer-coverage-$feature"
done

work="${CARGO_TARGET_DIR:-../../target}/fuzz"
mkdir -p "$work"
work="$(cd "$work" && pwd)"
host="$(rustc -vV | sed -n 's/^host: //p')"

# With --target the flags are not for build scripts, which could not be linked with them.
RUSTFLAGS="$flags" cargo build --release --locked --target "$host" --target-dir "$work"

targets="$(cd fuzz_targets && ls ./*.rs | sed 's/^\.\///; s/\.rs$//')"

# Streams of 1 MiB without an end. In pieces of one byte, as the targets feed them, they
# would take minutes if each byte cost a look at all before it; they take a fraction of a second.
long="$work/long"
mkdir -p "$long"
# endless FILE HEAD: the head as printf takes it, then the stream.
endless() {
    { printf "$2" && head -c 1048576 /dev/zero | tr '\000' x; } >"$long/$1"
}
# type, packet_size, line_limit, delimiter, piece
endless framer-line '\011\000\000\000\000\012\000'
endless framer-http '\012\000\000\000\000\012\000'
endless framer-header '\013\000\000\000\000\012\000a: '
endless framer-length4 '\003\000\000\000\000\012\000\000\020\000\001'
# type, packet_size, line_limit, seed, flags
endless reader-line '\011\000\000\000\000\000'
endless reader-http '\012\000\000\000\000\000'
endless reader-header '\013\000\000\000\000\000a: '
endless reader-length4 '\003\000\000\000\000\000\000\020\000\001'
# type
endless http-line '\000'
endless http-header '\001a: '
# call, then a list of as many terms as there can be
endless options-list '\000\011\177'
for target in $targets; do
    timeout 60 "$work/$host/release/$target" -timeout=5 "$long/$target"-* >"$work/$target.log" 2>&1 || {
        tail -n 20 "$work/$target.log"
        echo "fuzz: $target: FAILED on a stream of 1 MiB"
        exit 1
    }
done

processes=
# shellcheck disable=SC2086
trap '[ -z "$processes" ] || kill $processes 2>/dev/null || true' EXIT
trap 'exit 130' INT TERM
for target in $targets; do
    mkdir -p "$work/corpus/$target" "$work/findings/$target"
    # New inputs go to the first folder.
    "$work/$host/release/$target" "$work/corpus/$target" "corpus/$target" \
        -max_total_time="$seconds" -max_len=16384 -timeout=10 -rss_limit_mb=1024 \
        -artifact_prefix="$work/findings/$target/" -print_final_stats=1 >"$work/$target.log" 2>&1 &
    processes="$processes $!"
done

failed=0
set -- $processes
for target in $targets; do
    status=0
    wait "$1" || status=$?
    shift
    if [ "$status" = 0 ]; then
        runs="$(sed -n 's/^stat::number_of_executed_units: *//p' "$work/$target.log")"
        covered="$(sed -n 's/.* cov: \([0-9]*\) .*/\1/p' "$work/$target.log" | tail -n 1)"
        echo "fuzz: $target: nothing found in $runs inputs, $covered edges reached"
    else
        failed=1
        tail -n 40 "$work/$target.log"
        echo "fuzz: $target: FAILED with status $status; again with:"
        echo "    $work/$host/release/$target $(sed -n 's/.*Test unit written to //p' "$work/$target.log" | tail -n 1)"
    fi
done
processes=
exit "$failed"
