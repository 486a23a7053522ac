#!/bin/sh
# The demo: unchanged OTP applications at work on this backend, then a comparison with
# `inet`. `make demo` calls it after it has set up the machine. A non-zero status means
# that a byte differed or that something failed.
set -eu

cd "$(dirname "$0")/.."

rebar3 compile

mkdir -p _build/demo
erlc -Werror +warn_missing_spec -o _build/demo demo/*.erl

# Thousands of connections need as many descriptors; the usual soft limit is 1024.
hard_limit="$(ulimit -H -n)"
if [ "$hard_limit" = unlimited ] || [ "$hard_limit" -gt 16384 ]; then
    hard_limit=16384
fi
ulimit -S -n "$hard_limit"

# DEMO_BACKEND=inet shows the same work on OTP's own backend.
exec erl -noinput -boot start_clean -pa _build/demo \
    -run demo main "${DEMO_BACKEND:-rs}" "$PWD/_build/default/lib/gen_tcp_rs/ebin"
