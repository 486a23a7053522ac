# The environment that the build, the tests and the demo run in. To be sourced by a
# POSIX shell in the root of the tree; changes nothing outside the calling process.

# The oldest Rust that compiles this library (rustler's own minimum).
RUST_MINIMUM=1.91
export RUST_MINIMUM

# version_at_least HAVE WANT: compares two versions such as 1.96.0 and 1.91.
version_at_least() {
    [ "$(printf '%s\n%s\n' "$2" "$1" | sort -V | head -n 1)" = "$2" ]
}

# rust_version [DIR]: the version of DIR/rustc (of the rustc on the path), or nothing.
rust_version() {
    "${1:+$1/}rustc" --version 2>/dev/null | sed -n 's/^rustc \([0-9][0-9.]*\).*/\1/p'
}

# The Rust on the path comes first. Where it is absent or too old, one of the two usual
# places may have a newer one: rustup's folder, which is often on the path of login
# shells only, or the distribution's.
if ! { command -v cargo && version_at_least "$(rust_version)" "$RUST_MINIMUM"; } >/dev/null 2>&1; then
    for candidate in "${CARGO_HOME:-${HOME:-/root}/.cargo}/bin" /usr/bin; do
        if [ -x "$candidate/cargo" ] && version_at_least "$(rust_version "$candidate")" "$RUST_MINIMUM"; then
            PATH="$candidate:$PATH"
            export PATH
            break
        fi
    done
    unset candidate
fi

# File names and output are UTF-8 on every machine, also where no locale is set.
case "${LC_ALL:-${LC_CTYPE:-${LANG:-}}}" in
    *[Uu][Tt][Ff]*) ;;
    *)
        LC_ALL=C.UTF-8
        export LC_ALL
        ;;
esac

# A bare container may be unable to resolve "localhost" or its own name, which test
# nodes need. Erlang then reads both from a file of its own.
if [ -z "${ERL_INETRC:-}" ] && command -v getent >/dev/null 2>&1; then
    host_name="$(uname -n)"
    if ! { getent hosts localhost && getent hosts "$host_name"; } >/dev/null 2>&1; then
        mkdir -p _build
        cat >_build/inetrc <<INETRC
{host, {127,0,0,1}, ["localhost", "$host_name", "${host_name%%.*}"]}.
{host, {0,0,0,0,0,0,0,1}, ["localhost", "ip6-localhost"]}.
{lookup, [file, native]}.
INETRC
        ERL_INETRC="$PWD/_build/inetrc"
        export ERL_INETRC
    fi
    unset host_name
fi
