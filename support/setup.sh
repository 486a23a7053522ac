#!/bin/sh
# Checks that this machine has what the build, the tests or the demo need, and installs
# what is missing with apt where root or sudo is there. Where it cannot, it says
# exactly what to install and fails.
#
#   support/setup.sh build | test | sound | conformance | matrix | bench | demo | docs | dialyzer
set -eu

cd "$(dirname "$0")/.."
. support/env.sh

purpose="${1:-build}"
case "$purpose" in
    test | conformance) applications="compiler crypto common_test tools inets ssl public_key ssh ftp" ;;
    build | sound | matrix) applications="compiler crypto" ;;
    docs) applications="compiler edoc" ;;
    demo) applications="compiler crypto inets ssl public_key" ;;
    bench) applications="compiler crypto inets ssl public_key" ;;
    dialyzer) applications="compiler crypto dialyzer" ;;
    *)
        echo "usage: support/setup.sh build|test|sound|conformance|matrix|bench|demo|docs|dialyzer" >&2
        exit 2
        ;;
esac

say() { echo "setup: $*"; }
refuse() {
    printf '%s\n' "$@" | sed 's/^/setup: /' >&2
    exit 1
}
have() { command -v "$1" >/dev/null 2>&1; }

rust_packages="rustc-web cargo-web"
[ "$purpose" != test ] || rust_packages="$rust_packages rust-web-clippy rustfmt-web"

how_to_get_rust() {
    echo "Install Rust $RUST_MINIMUM or later, in one of these ways:"
    echo "    Debian 12, with its security suite in apt's sources:  apt-get install $rust_packages"
    echo "    any system: rustup, https://rustup.rs"
}

case "$(uname -s) $(uname -m)" in
    "Linux x86_64" | "Linux aarch64") ;;
    *) refuse "gen_tcp_rs runs on Linux on x86_64 and aarch64; this machine is $(uname -s) $(uname -m)." ;;
esac

# --- apt ------------------------------------------------------------------------------

log=_build/setup.log
mkdir -p _build
: >"$log"

apt_get=
if have apt-get; then
    if [ "$(id -u)" = 0 ]; then
        apt_get="env DEBIAN_FRONTEND=noninteractive apt-get"
    elif have sudo && { sudo -n true 2>/dev/null || [ -t 0 ]; }; then
        apt_get="sudo env DEBIAN_FRONTEND=noninteractive apt-get"
    fi
fi

lists_are_fresh=no
refresh_lists() {
    [ "$lists_are_fresh" = no ] || return 0
    say "reading the package lists"
    $apt_get update -qq >>"$log" 2>&1 || say "apt-get update failed; going on with the lists that are there"
    lists_are_fresh=yes
}

# install PACKAGE...: installs them, or says what to do and fails.
install() {
    if [ -z "$apt_get" ]; then
        has_rust || rust="$(how_to_get_rust)"
        refuse "missing here: $*" \
            "Neither root nor sudo with apt is available. As root on Debian 12:" \
            "    apt-get update && apt-get install --no-install-recommends $*" \
            ${rust:+"$rust"}
    fi
    refresh_lists
    say "installing $*"
    if ! $apt_get install -y -qq --no-install-recommends "$@" >>"$log" 2>&1; then
        tail -n 20 "$log" >&2
        refuse "apt-get could not install: $*"
    fi
}

# --- a C compiler and small tools -----------------------------------------------------

packages=
have cc || packages="$packages gcc"
[ -e /usr/include/stdio.h ] || packages="$packages libc6-dev"
# cargo fetches the crates over https.
[ -e /etc/ssl/certs/ca-certificates.crt ] || [ -n "${SSL_CERT_FILE:-}" ] || ! have apt-get ||
    packages="$packages ca-certificates"
case "$purpose" in
    # libFuzzer is C++; the tests send requests with curl and python.
    test)
        have c++ || packages="$packages g++"
        have curl || packages="$packages curl"
        python3 -c 'import http.client' 2>/dev/null || packages="$packages python3"
        # Cases that need these are skipped without them.
        if have apt-get; then
            have wrk || packages="$packages wrk"
            have ip || packages="$packages iproute2"
            have strace || packages="$packages strace"
            have iptables || [ -x /usr/sbin/iptables ] || packages="$packages iptables"
            have slowhttptest || packages="$packages slowhttptest"
            # PropEr is made for Debian's own Erlang.
            { have erl && [ ! -d /usr/lib/erlang ]; } || [ -n "$(ls -d /usr/lib/erlang/lib/proper-* 2>/dev/null)" ] ||
                packages="$packages erlang-proper"
            have ab || packages="$packages apache2-utils"
            have sftp || packages="$packages openssh-client"
            # Where something runs services the packages would start them.
            if [ ! -d /run/systemd/system ]; then
                have vsftpd || [ -x /usr/sbin/vsftpd ] || packages="$packages vsftpd"
                have sshd || [ -x /usr/sbin/sshd ] || packages="$packages openssh-server"
            fi
            have git || packages="$packages git"
            case "$(command -v erl)" in "" | /usr/bin/erl) have mix || packages="$packages elixir" ;; esac
        fi
        ;;
    # Rows, columns and pictures that need these are left out without them.
    bench)
        if have apt-get; then
            have wrk || packages="$packages wrk"
            have ip || packages="$packages iproute2"
            have strace || packages="$packages strace"
            python3 -c 'import matplotlib' 2>/dev/null || /usr/bin/python3 -c 'import matplotlib' 2>/dev/null || packages="$packages python3-matplotlib"
        fi
        ;;
    demo) have curl || packages="$packages curl" ;;
    # Without it that part says so and is left out.
    sound) have valgrind || ! have apt-get || packages="$packages valgrind" ;;
    matrix) have debootstrap || packages="$packages debootstrap" ;;
esac
if [ "$purpose" = conformance ]; then
    # To unpack OTP's sources, to give the suites a network of their own, to compile their NIF.
    have xz || packages="$packages xz-utils"
    have ip || packages="$packages iproute2"
    [ "$(command -v erl)" != /usr/bin/erl ] || [ -e /usr/lib/erlang/usr/include/erl_nif.h ] ||
        packages="$packages erlang-dev"
fi
# Names of services and protocols, which `inet:getservbyname/2` reads.
[ -e /etc/services ] || ! have apt-get || packages="$packages netbase"

# --- Erlang/OTP and rebar3 ------------------------------------------------------------

# lacking_applications: those of $applications that the installed Erlang does not have.
lacking_applications() {
    erl -noinput -boot start_clean -eval '
        Lacks = [Name || Name <- init:get_plain_arguments(),
                         code:lib_dir(list_to_atom(Name)) =:= {error, bad_name}],
        io:format("~ts", [lists:join($\s, Lacks)]),
        halt(0).' -extra $applications
}
erlang_root() { erl -noinput -boot start_clean -eval 'io:format("~ts", [code:root_dir()]), halt(0).'; }
erlang_release() { erl -noinput -boot start_clean -eval 'io:format("~ts", [erlang:system_info(otp_release)]), halt(0).'; }

if ! have erl; then
    # Every application without a graphical interface, as most installations have them.
    packages="$packages erlang-nox"
    have rebar3 || packages="$packages rebar3"
    case "$purpose" in
        test | conformance) packages="$packages erlang-common-test erlang-dev" ;;
        # The demo serves the installed libraries: with their sources it has more to serve.
        demo) packages="$packages erlang-src" ;;
    esac
else
    if [ "$(erlang_release)" -lt 25 ]; then
        refuse "Erlang/OTP 25 or later is needed; $(command -v erl) is $(erlang_release)."
    fi
    lacking="$(lacking_applications)"
    if [ -n "$lacking" ]; then
        if [ "$(erlang_root)" != /usr/lib/erlang ]; then
            refuse "The Erlang in $(erlang_root) lacks: $lacking" \
                "Install an Erlang/OTP 25 or later that has these applications."
        fi
        for application in $lacking; do
            packages="$packages erlang-$(echo "$application" | tr _ -)"
        done
    fi
    if ! have rebar3; then
        if [ "$(erlang_root)" != /usr/lib/erlang ]; then
            refuse "rebar3 is missing. Install it from https://rebar3.org (one file, to be put on the path)."
        fi
        packages="$packages rebar3"
    fi
fi

# shellcheck disable=SC2086
[ -z "$packages" ] || install $packages

# --- Rust -----------------------------------------------------------------------------

# Debian's rustc-web replaces the packages rustc and cargo: taken only where apt's
# simulation shows a version that suffices and nothing removed.
install_rust_from_debian() {
    [ -n "$apt_get" ] || refuse "$1" "$(how_to_get_rust)"
    refresh_lists
    # shellcheck disable=SC2086
    if ! plan="$(LC_ALL=C apt-get -s -qq --no-install-recommends install $rust_packages 2>&1)"; then
        refuse "$1" "apt does not offer $rust_packages:" "$plan" "$(how_to_get_rust)"
    fi
    offered="$(echo "$plan" | sed -n 's/^Inst rustc-web .*(\([0-9][0-9.]*\).*/\1/p' | head -n 1)"
    if echo "$plan" | grep -q '^Remv '; then
        refuse "$1" "Installing $rust_packages would remove packages:" \
            "$(echo "$plan" | grep '^Remv ')" "$(how_to_get_rust)"
    fi
    if [ -z "$offered" ] || ! version_at_least "$offered" "$RUST_MINIMUM"; then
        refuse "$1" "apt offers rustc-web ${offered:-(no version)}, which is too old; is Debian's security suite in apt's sources?" \
            "$(how_to_get_rust)"
    fi
    # shellcheck disable=SC2086
    install $rust_packages
    . support/env.sh
}

if ! have cargo; then
    install_rust_from_debian "Rust is missing."
elif ! has_rust; then
    found="$(rust_version)"
    install_rust_from_debian "The Rust on the path is ${found:-broken}; $RUST_MINIMUM or later is needed."
fi
has_rust || refuse "Rust is still missing or too old." "$(how_to_get_rust)"

if [ "$purpose" = test ] && ! { cargo clippy --version && cargo fmt --version; } >/dev/null 2>&1; then
    if have rustup; then
        say "adding clippy and rustfmt to the Rust installation"
        rustup component add clippy rustfmt ||
            refuse "Install them by hand:  rustup component add clippy rustfmt"
    elif [ "$(command -v cargo)" = /usr/bin/cargo ] && [ -n "$apt_get" ]; then
        install rust-web-clippy rustfmt-web
    else
        refuse "cargo clippy and cargo fmt are needed (rustup: clippy, rustfmt; Debian: rust-web-clippy, rustfmt-web)."
    fi
fi

say "Erlang/OTP $(erlang_release), $(rebar3 --version | sed 's/ on .*//'), Rust $(rust_version), $(cc --version 2>/dev/null | head -n 1)"
