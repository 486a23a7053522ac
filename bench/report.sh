#!/bin/sh
# Results again, without measuring:
#
#   bench/report.sh goals FILE.csv...   what was reached in these runs of the same rows, and what was not
#   bench/report.sh pages FILE.csv      docs/benchmarks.md with its pictures and docs/scale.md from this run
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
        # The system's Python has the system's packages, wherever the first one on the path comes from.
        for python in python3 /usr/bin/python3; do
            if "$python" -c 'import matplotlib' 2>/dev/null; then
                exec "$python" bench/charts.py docs/benchmarks/summary.csv docs/benchmarks
            fi
        done
        echo "no matplotlib for python3 here: the pictures were not drawn" >&2
        exit 1
        ;;
    *) exit 2 ;;
esac
