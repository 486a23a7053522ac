#!/bin/sh
# Runs OTP's own test suites on inet and on this backend, and compares: what passes on
# inet has to pass on rs, but for the cases listed in conformance/exceptions.
# `make conformance` calls it after it has built the library.
#
#   TIER=kernel                     the suites for gen_tcp itself; or
#   TIER=applications               those of the applications above it: ssl, inets, ssh
#   SUITES="gen_tcp_api sendfile"   only these suites
#   CASES=REGEX                     only cases whose group/case matches
#   BASELINE=new                    run inet again, also where its results are there
#   CASE_SECONDS=330                the limit of one case
#   OTP_SOURCE=/path                an unpacked source tree of the installed OTP
#   CONFINED=no                     as root: no network of its own for each suite
#
# Everything is written to _build/conformance. inet's results, the baseline, are kept
# from one run to the next if they are those of all cases.
set -eu

cd "$(dirname "$0")/.."
root="$PWD"

tier="${TIER:-kernel}"
case "$tier" in
    kernel) all_suites="gen_tcp_api gen_tcp_echo gen_tcp_misc inet_sockopt sendfile inet" ;;
    applications)
        all_suites="ssl_basic ssl_api ssl_packet ssl_payload ssl_socket
            httpc httpd ssh_basic ssh_connection ssh_sftp"
        ;;
    *)
        echo "conformance: TIER=$tier is neither kernel nor applications." >&2
        exit 2
        ;;
esac
suites="${SUITES:-$all_suites}"
cases="${CASES:-.}"
case_seconds="${CASE_SECONDS:-330}"

base="${REBAR_BASE_DIR:-_build}"
mkdir -p "$base/conformance"
work="$(cd "$base/conformance" && pwd)"
# What belongs to one tier: its suites and their results.
results="$work"
[ "$tier" = kernel ] || results="$work/$tier"
mkdir -p "$results"
say() { echo "conformance: $*"; }
# erlang MODULE FUNCTION ARGUMENT...
erlang() {
    module="$1"
    function="$2"
    shift 2
    erl -noinput -pa "$work/modules" -run "$module" "$function" -extra "$@"
}

# --- the library, the suites ----------------------------------------------------------

# A copy, so that a build beside this run does not change what is tested.
library="$work/lib/gen_tcp_rs"
rm -rf "$work/lib" "$work/modules"
mkdir -p "$library" "$work/modules"
cp -RL "$base/default/lib/gen_tcp_rs/ebin" priv "$library/"
ERL_LIBS="$work/lib" erl -noinput -eval '
    {ok, _} = gen_tcp_rs_backend:prepare(code:priv_dir(gen_tcp_rs)), halt(0).'

erlc -Werror -o "$work/modules" conformance/src/*.erl
erlang conformance_node write_boot_script "$work/modules/conformance"

tree="$(sh conformance/source.sh "$work")"
compiled="$results/suites"
# shellcheck disable=SC2086
compile() {
    rm -rf "$compiled"
    mkdir -p "$compiled"
    erlang conformance_suite compile "$tree" "$compiled" $all_suites
    for suite in $all_suites; do
        for data in "$tree"/lib/*/test/"${suite}_SUITE_data"; do
            [ ! -d "$data" ] || cp -R "$data" "$compiled/"
        done
    done
    include="$(erl -noinput -boot start_clean -eval '
        io:format("~ts/usr/include", [code:root_dir()]), halt(0).')"
    compile_c gen_tcp_api_SUITE_data/gen_tcp_api_SUITE .so -shared -fPIC -I"$include"
    compile_c inet_sockopt_SUITE_data/sockopt_helper "" -DHAVE_LINUX_TCP_H -DHAVE_SANE_LINUX_TCP_H
    compile_c httpd_SUITE_data/cgi_echo ""
    compile_c httpc_SUITE_data/cgi_echo ""
}
# compile_c FILE ENDING FLAG...: a C program of a suite, if the suite is of this tier.
compile_c() {
    data="$compiled/$1"
    ending="$2"
    shift 2
    [ ! -f "$data.c" ] || cc -w "$@" -o "$data$ending" "$data.c"
}
say "compiling the suites of $tree"
compile
# Some cases want to be told which machines have an IPv6 address: this one, see confined.sh.
echo "{ipv6_hosts, ['$(uname -n)']}." >"$compiled/suites.config"

# --- one suite ------------------------------------------------------------------------

# The most that a suite may take, should even its node not keep the limit of a case.
suite_seconds=3600

is_root() { [ "$(id -u)" = 0 ]; }
if is_root && [ "${CONFINED:-yes}" = yes ] && command -v ip >/dev/null &&
    unshare --mount --net --pid --fork true 2>/dev/null; then
    confine="unshare --mount --net --pid --fork --kill-child=KILL sh $root/conformance/confined.sh $work"
else
    confine=
    say "no namespaces here: the suites run on the machine's own network"
fi

# iter_max_socks opens as many sockets as it may.
# shellcheck disable=SC3045
ulimit -n 4096 2>/dev/null || true

# run_node BACKEND SUITE: one node that runs the cases of the suite that have no row yet.
run_node() {
    # so_priority wants a priority refused that the kernel refuses only to those without
    # this capability.
    drop=
    if [ "$2" = gen_tcp_misc ] && is_root && command -v setpriv >/dev/null; then
        drop="setpriv --bounding-set=-net_admin,-net_raw"
    fi
    # The peers that a case starts inherit the environment. In the foreground it all ends
    # when this script is interrupted. ssh wants to know who calls.
    # shellcheck disable=SC2086
    CONFORMANCE_BACKEND="$1" LOGNAME="${LOGNAME:-$(id -un)}" ERL_LIBS="$work/lib" \
        ERL_AFLAGS="-pa $work/modules -boot $work/modules/conformance" \
        timeout --foreground --kill-after=30 "$suite_seconds" $confine $drop \
        erl -sname "conformance_$$" -noinput -pa "$compiled" -run conformance_suite run \
        -extra "$2" "$compiled" "$rows" "$logs" "$1" "$case_seconds" "$cases" \
        >"$logs/$2.output" 2>&1 </dev/null
}

# run_suite BACKEND SUITE: as many nodes as it takes; a case that its node did not
# survive has failed.
run_suite() {
    start="$(date +%s)"
    for node in 1 2 3 4 5 6; do
        rows_before="$(wc -l <"$rows")"
        node_status=0
        run_node "$1" "$2" || node_status=$?
        [ "$node_status" != 0 ] || break
        lost="$(cat "$logs/current" 2>/dev/null || printf '%s_SUITE\t(between cases)' "$2")"
        rows_after="$(wc -l <"$rows")"
        printf '%s\tfailed\t0.0\t%s\n' "$lost" \
            "the node ended with status $node_status, see $logs/$2.output.$node" >>"$rows"
        mv "$logs/$2.output" "$logs/$2.output.$node"
        # A suite that doesn't get anywhere is given up.
        [ -f "$logs/current" ] || [ "$rows_after" != "$rows_before" ] || break
        rm -f "$logs/current"
    done
    numbers="$(awk -F'\t' -v suite="${2}_SUITE" '$1 == suite { n[$3]++ }
        END { printf "%d ok, %d failed, %d skipped", n["ok"], n["failed"], n["skipped"] }' "$rows")"
    say "$1 $2: $numbers ($(($(date +%s) - start)) s)"
}

# run_backend BACKEND: all suites. A case that fails may have been disturbed by the rest
# of the machine, as many of them measure time. So it is run a second time, on a node
# where it is the only one; the report names it even if it passes then. That holds for
# no case that has hung or taken its node down.
run_backend() {
    logs="$results/logs/$1"
    rows="$results/$1.rows"
    rm -rf "$logs"
    mkdir -p "$logs"
    : >"$rows"
    for suite in $suites; do run_suite "$1" "$suite"; done
    awk -F'\t' -v first="$rows.first" -v rest="$rows.rest" '
        BEGIN { printf "" >first; printf "" >rest }
        { print >($3 == "failed" && $5 !~ /^(the node ended|took more than)/ ? first : rest) }' "$rows"
    mv "$rows.rest" "$rows"
    for suite in $(cut -f 1 "$rows.first" | sort -u); do
        run_suite "$1" "${suite%_SUITE}"
    done
}

# --- both backends --------------------------------------------------------------------

# A baseline of all cases serves parts of them too, until the rules or the suites change.
rules="$(cat conformance/src/*.erl conformance/confined.sh | cksum) $tree"
if [ "${BASELINE:-}" != new ] && [ "$(cat "$results/baseline" 2>/dev/null)" = "$rules" ]; then
    say "inet's results are those of $(date -r "$results/inet.rows" '+%F %T'); BASELINE=new renews them"
else
    rm -f "$results/baseline"
    run_backend inet
    { [ "$suites $cases" != "$all_suites ." ] || ! [ -s "$results/inet.rows" ]; } || echo "$rules" >"$results/baseline"
fi
run_backend rs

say "logs are in $results/logs"
# shellcheck disable=SC2086
erlang conformance_report main conformance/exceptions \
    "$results/inet.rows" "$results/rs.rows" "$results/rs.rows.first" "$cases" $suites
