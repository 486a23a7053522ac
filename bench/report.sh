#!/bin/sh
# Results again, without measuring:
#
#   bench/report.sh goals FILE.csv...   what was reached in these runs of the same rows, and what was not
#   bench/report.sh pages FILE.csv      docs/benchmarks.md and its pictures from this run
set -eu

cd "$(dirname "$0")/.."
. bench/with-code.sh

what="$1"
shift
case "$what" in
    goals) exec erl -noinput -boot start_clean -pa "$code" -eval 'bench_goals:main(init:get_plain_arguments()).' -extra "$@" ;;
    pages)
        mkdir -p docs/benchmarks
        erl -noinput -boot start_clean -pa "$code" -eval 'bench_pages:main(init:get_plain_arguments()).' -extra "$@"
        exec python3 bench/charts.py docs/benchmarks/summary.csv docs/benchmarks
        ;;
    *) exit 2 ;;
esac
