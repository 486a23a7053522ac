#!/bin/sh
# Two hosts of their own, as network namespaces, and a relay between them that makes each packet wait: where one is, the
# other is US microseconds away, and a round trip takes twice that. Needs root, iproute2 and /dev/net/tun.
#
#   bench/far.sh PREFIX US [options of c_src_compat/bin/relay]
#
# PREFIX-a has the address 10.91.8.1, PREFIX-b has 10.91.8.2. It says `ready` when both can talk, and lasts until its
# standard input ends; then nothing is left of it. Where it cannot be done it says why and ends with status 77.
set -eu

cd "$(dirname "$0")/.."

prefix="$1"
delay="$2"
shift 2

cannot() { echo "cannot: $*"; exit 77; }
[ "$(id -u)" = 0 ] || cannot "network namespaces need root"
command -v ip >/dev/null 2>&1 || cannot "no iproute2 on this machine"
[ -c /dev/net/tun ] || cannot "no /dev/net/tun on this machine"
[ -x c_src_compat/bin/relay ] || cannot "c_src_compat/bin/relay was not compiled"

clean() {
    ip netns del "$prefix-a" 2>/dev/null || true
    ip netns del "$prefix-b" 2>/dev/null || true
}
clean
trap clean EXIT
trap 'exit 1' INT TERM
ip netns add "$prefix-a" 2>/dev/null && ip netns add "$prefix-b" || cannot "no network namespaces here"

# The relay makes the devices; they can be configured as soon as they are there.
configure() {
    ip -n "$1" link set lo up
    until ip -n "$1" link show cable >/dev/null 2>&1; do sleep 0.05; done
    ip -n "$1" addr add "$2" dev cable
    ip -n "$1" link set cable txqueuelen 20000 up
}
{ configure "$prefix-a" 10.91.8.1/24 && configure "$prefix-b" 10.91.8.2/24 && echo ready; } &
c_src_compat/bin/relay cable "$prefix-a" cable "$prefix-b" -d "$delay" "$@" | grep -v '^ready$' || true
