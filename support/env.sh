# The environment that the build, the tests and the demo run in. To be sourced by a
# POSIX shell in the root of the tree; changes nothing outside the calling process.

. support/rust.sh

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
