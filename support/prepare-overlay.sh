#!/bin/sh
# Prepares the overlay of the module `inet` for the Erlang/OTP that compiles this
# application, so that a node which has no compiler can load it. rebar3 runs this
# after it has compiled the Erlang code.
#
# It is an optimisation only: where it cannot be done, the application compiles the
# overlay when it starts, or says why it cannot. So a failure here is a warning.
set -eu

cd "$(dirname "$0")/.."

ebin=
# What mix asks rebar3 for is the application's own folder.
mix="${REBAR_BARE_COMPILER_OUTPUT_DIR:-}"
for lib_dir in "${mix%/*}" "${REBAR_DEPS_DIR:-}" "${REBAR_BUILD_DIR:+$REBAR_BUILD_DIR/lib}" _build/default/lib; do
    if [ -n "$lib_dir" ] && [ -f "$lib_dir/gen_tcp_rs/ebin/gen_tcp_rs_backend.beam" ]; then
        ebin="$lib_dir/gen_tcp_rs/ebin"
        break
    fi
done
[ -n "$ebin" ] || exit 0

erl -noinput -boot start_clean -pa "$ebin" -eval '
    case catch gen_tcp_rs_backend:prepare("priv") of
        ok -> halt(0);
        {ok, _} -> halt(0);
        Other ->
            io:format(standard_error, "gen_tcp_rs: the overlay was not prepared: ~0p~n", [Other]),
            halt(0)
    end.'
