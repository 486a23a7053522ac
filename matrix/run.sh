#!/bin/sh
# The tests on other releases of Erlang/OTP than this machine's: those of Debian
# bookworm (25), trixie (27) and sid (29), each in a folder that debootstrap fills.
# `make matrix` calls it, after it has built the library once, here.
#
#   WHAT=tests | quick | conformance   every suite of test/; a minute of them; OTP's own
#   DEBIAN="trixie sid"                only these
#   MATRIX_DIR=/path                   where the folders are: ~/.cache/gen_tcp_rs/matrix.
#                                      A folder or link there by a release's name is used.
#   UNAVAILABLE=skip                a release whose folder can't be made here (no mirror,
#                                   or one in disorder) is left out, and said so
#   SUITES, CASES, BASELINE            as for `make conformance`; tests: SUITES="recv send"
#
# Needs root and Linux namespaces. Nothing stays mounted.
set -eu

cd "$(dirname "$0")/.."

what="${WHAT:-tests}"
releases="${DEBIAN:-bookworm trixie sid}"
base="${REBAR_BASE_DIR:-_build}"
directory="${MATRIX_DIR:-${XDG_CACHE_HOME:-${HOME:-/root}/.cache}/gen_tcp_rs/matrix}"
# About loading, selecting and waking: what depends on the release.
quick_suites="select recv send active"

case "$what" in
    tests) MATRIX_PARTS="${SUITES:-}" ;;
    quick) MATRIX_PARTS="${SUITES:-$quick_suites}" ;;
    conformance) MATRIX_PARTS= ;;
    *)
        echo "matrix: WHAT is tests, quick or conformance" >&2
        exit 2
        ;;
esac
export MATRIX_PARTS

refuse() {
    echo "matrix: $*" >&2
    exit 1
}
[ "$(id -u)" = 0 ] || refuse "it makes folders with a Debian release in them and enters them: as root only."
unshare --mount --pid --uts --ipc --net --fork true 2>/dev/null || refuse "this machine allows no namespaces."

mkdir -p "$directory"
directory="$(cd "$directory" && pwd)"

# --- what every release gets ----------------------------------------------------------

# prepare WORK: a copy of the sources, and the library as it was built here.
prepare() {
    mkdir -p "$1/project"
    # The folder stays from run to run: OTP's suites and inet's results are kept there.
    for part in docs erl_src test bench conformance matrix native c_src_compat priv oldest; do rm -rf "$1/project/$part"; done
    cp -R docs erl_src test bench conformance matrix native c_src_compat rebar.config "$1/project/"
    mkdir -p "$1/project/priv" "$1/project/oldest/gen_tcp_rs" "$1/project/_build/default/lib/gen_tcp_rs" \
        "$1/project/target/release/examples"
    cp priv/gen_tcp_rs.so "$1/project/priv/"
    cp -RL "$base/default/lib/gen_tcp_rs/ebin" priv "$1/project/oldest/gen_tcp_rs/"
    application="$1/project/_build/default/lib/gen_tcp_rs"
    mkdir -p "$application/ebin"
    cp "$base/default/lib/gen_tcp_rs/ebin/gen_tcp_rs.app" "$application/ebin/"
    ln -sfn ../../../../priv "$application/priv"
    # There is no Rust over there.
    cp "${CARGO_TARGET_DIR:-target}/release/examples/framing_port" "$1/project/target/release/examples/"
}

# --- one release ----------------------------------------------------------------------

# enter RELEASE OPTION... -- COMMAND...
enter() {
    release="$1"
    shift
    options=
    while [ "$1" != -- ]; do
        options="$options $1"
        shift
    done
    shift
    # shellcheck disable=SC2086
    unshare --mount --pid --uts --ipc $options --fork --kill-child=KILL \
        sh matrix/enter.sh "$directory/$release" "$directory/work/$release/project" "$@" 9>&-
}

run_tests() {
    enter "$1" --net -- sh matrix/tests.sh
}

# On the machine's network, as the sources of OTP are fetched; each suite then has its own.
run_conformance() {
    enter "$1" -- sh matrix/conformance.sh
}

make -s -C c_src_compat
cargo build -q --release --locked --package gen_tcp_rs_proto --example framing_port

made=
for release in $releases; do
    sh matrix/root.sh "$release" "$directory/$release" &
    made="$made $release:$!"
done
releases=
for one in $made; do
    if wait "${one#*:}"; then
        releases="$releases ${one%:*}"
    elif [ "${UNAVAILABLE:-fail}" = skip ]; then
        echo "== matrix: ${one%:*} left out: its folder can't be made here, see above"
    else
        refuse "see above"
    fi
done

failed=
for release in $releases; do
    start="$(date +%s)"
    work="$directory/work/$release"
    mkdir -p "$work"
    exec 9>"$work/lock"
    flock -n 9 || refuse "another run is at work in $work."
    prepare "$work"
    # 27's suites where Debian has no sources of a newer release.
    rm -rf "$work/project/otherwise"
    if [ "$what" = conformance ]; then
        for tree in "$directory"/work/trixie/project/_build/conformance/otp-*; do
            [ ! -d "$tree" ] || [ "$release" != sid ] || cp -R "$tree" "$work/project/otherwise"
        done
        run="run_conformance"
    else
        run="run_tests"
    fi
    echo "== matrix: $release, $what"
    status=0
    $run "$release" || status=$?
    echo "== matrix: $release, $what: $([ "$status" = 0 ] && echo ok || echo FAILED) ($(($(date +%s) - start)) s)"
    [ "$status" = 0 ] || failed="$failed $release"
done
[ -z "$failed" ] || refuse "failed on$failed; logs are in $directory/work"
