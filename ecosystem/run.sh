#!/bin/sh
# Runs applications that no one here wrote on inet and on rs, node-wide, under the same
# load from independent clients, and compares what was counted: any difference, and any
# error on either, fails. `make ecosystem` calls it after it has built the library.
#
#   APPLICATIONS="cowboy redis"   only these
#   ROOT=/path                    the root of another Debian system, for its Erlang/OTP and
#                                 its packages: what debootstrap makes, with erlang-base
#
# Root, apt and overlayfs are needed: the packages go into a layer above ROOT, which is
# kept in _build/ecosystem, and nothing is installed on the machine (layer.sh).
set -eu

cd "$(dirname "$0")/.."

root="${ROOT:-/}"
all="$(cd ecosystem/applications && ls | sed 's/\.sh$//')"
applications="${APPLICATIONS:-$all}"
seconds=600

say() { echo "ecosystem: $*"; }
refuse() {
    say "$*" >&2
    exit 1
}
[ "$(id -u)" = 0 ] || refuse "root is needed, for the layer that the packages go into."
command -v apt-get >/dev/null && command -v unshare >/dev/null || refuse "a Debian system is needed."

base="${REBAR_BASE_DIR:-_build}"
name="$(. "$root/etc/os-release" && echo "${VERSION_CODENAME:-debian}")"
mkdir -p "$base/ecosystem/$name"
work="$(cd "$base/ecosystem/$name" && pwd)"
exchange="$work/exchange"
layer() { sh ecosystem/layer.sh "$work" "$root" "$@"; }

exec 9>"$work/lock"
flock -n 9 || refuse "another run works in $work."

# --- the packages ---------------------------------------------------------------------

# Of alternatives, a|b, the first that this release has.
known="$(chroot "$root" apt-cache pkgnames)"
available() { echo "$known" | grep -qxF "$1"; }
packages="iproute2 procps erlang-base erlang-crypto erlang-ssl erlang-inets"
for application in $all; do
    for choice in $(sed -n 's/^# Packages: //p' "ecosystem/applications/$application.sh"); do
        for package in $(echo "$choice" | tr '|' ' '); do
            if available "$package"; then
                packages="$packages $package"
                break
            fi
        done
    done
done
packages="$(echo "$packages" | tr ' ' '\n' | sort -u | tr '\n' ' ')"
if [ "$(cat "$work/packages" 2>/dev/null)" != "$packages" ]; then
    say "installing into a layer above $root: $packages"
    # shellcheck disable=SC2086
    layer install $packages >"$work/install.log" 2>&1 || {
        tail -n 20 "$work/install.log" >&2
        refuse "the packages could not be installed, see $work/install.log."
    }
    echo "$packages" >"$work/packages"
fi

# --- the library, for the Erlang/OTP of the layer -------------------------------------

rm -rf "$exchange"
mkdir -p "$exchange/gen_tcp_rs" "$exchange/modules"
cp -RL "$base/default/lib/gen_tcp_rs/ebin" priv "$exchange/gen_tcp_rs/"
layer run sh -c '
    set -e
    erl -noinput -pa /exchange/gen_tcp_rs/ebin -eval "
        {ok, _} = gen_tcp_rs_backend:prepare(code:priv_dir(gen_tcp_rs)), halt(0)."
    erlc -Werror -o /exchange/modules /ecosystem/src/*.erl'
chmod -R a+rX "$exchange"
release="$(layer run erl -noinput -boot start_clean -eval '
    io:format("~ts", [erlang:system_info(otp_release)]), halt(0).')"

# --- both backends --------------------------------------------------------------------

# run BACKEND APPLICATION
run() {
    mkdir -p "$exchange/$1/$2"
    start="$(date +%s)"
    status=0
    BACKEND="$1" RESULTS="/exchange/$1/$2" timeout --kill-after=30 "$seconds" \
        sh ecosystem/layer.sh "$work" "$root" run sh "/ecosystem/applications/$2.sh" \
        >"$exchange/$1/$2/log" 2>&1 </dev/null || status=$?
    [ "$status" = 0 ] || printf 'FAILED\t%s\n' "status $status, $(tail -n 1 "$exchange/$1/$2/log")" >>"$exchange/$1/$2/counts"
    say "OTP $release, $2 on $1: status $status, $(($(date +%s) - start)) s"
}
for application in $applications; do
    run inet "$application"
    run rs "$application"
done

# --- the comparison -------------------------------------------------------------------

say "logs are in $exchange"
# shellcheck disable=SC2086
mixed="$(cd ecosystem/applications && grep -l '^# Mixed:' * | sed 's/\.sh$//')"
awk -f ecosystem/compare.awk -v directory="$exchange" -v release="$release" -v applications="$(echo $applications)" \
    -v mixed="$(echo $mixed)"
