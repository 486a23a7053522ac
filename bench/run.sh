#!/bin/sh
# The benchmark with the Erlang/OTP that is on the path. `make bench` calls it after it has built everything; it needs no
# more than the compiled application, so that it also runs where rebar3 and cargo are not.
#
# Settings, all from the environment:
#   ROWS      words: rows whose names contain one of them between hyphens: bulk, pingpong-once-1, 1000 (all)
#   ROUNDS    how often each row is measured with each backend (9)
#   BACKENDS  of inet, socket, rs, raw, c (all)
#   CALLS     yes or no: count system calls, too (yes)
#   OUTPUT    the results' name, without its ending (bench/results/latest)
#   EBIN      where the compiled application is (_build/default/lib/gen_tcp_rs/ebin)
set -eu

cd "$(dirname "$0")/.."

. bench/with-code.sh

commit="$(git describe --always --dirty 2>/dev/null || echo unknown)"
exec erl -noinput -boot start_clean -pa "$code" "${EBIN:-$PWD/_build/default/lib/gen_tcp_rs/ebin}" \
    -eval 'bench:main(init:get_plain_arguments()).' -extra \
    ${ROWS:+"rows=$ROWS"} ${ROUNDS:+"rounds=$ROUNDS"} ${BACKENDS:+"backends=$BACKENDS"} ${CALLS:+"calls=$CALLS"} ${OUTPUT:+"output=$OUTPUT"} \
    "about=commit=$commit" "about=date=$(date -u +%Y-%m-%d)"
