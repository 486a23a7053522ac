#!/bin/sh
# OTP's own suites on the Erlang/OTP of this folder; enter.sh is where it runs.
set -eu

mkdir -p _build/conformance
for tool in cc xz; do
    command -v "$tool" >/dev/null || {
        apt-get -qq update || true
        DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends gcc libc6-dev xz-utils >_build/apt.log 2>&1
        break
    }
done

erlc -Werror -o /tmp matrix/matrix_tests.erl
erl -noinput -pa /tmp -run matrix_tests compile -extra erl_src _build/default/lib/gen_tcp_rs/ebin

if ! sh conformance/source.sh "$PWD/_build/conformance" >/dev/null 2>_build/source.log; then
    cat _build/source.log >&2
    [ -d otherwise ] || exit 1
    echo "matrix: the suites of $(cat otherwise/OTP_VERSION 2>/dev/null || echo the release before) instead" >&2
    export OTP_SOURCE="$PWD/otherwise"
fi
sh conformance/run.sh
