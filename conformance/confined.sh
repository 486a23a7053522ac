#!/bin/sh
# Runs a command on a network of its own, so that what else goes on in the machine and
# around it cannot disturb the suites, nor they it. To be called as root with
#
#   unshare --mount --net --pid --fork --kill-child=KILL sh confined.sh DIRECTORY COMMAND...
#
# The network is a loopback and one address of each family on a link that leads nowhere:
# the suites look for an address that is not the loopback's. Names are resolved from the
# hosts file alone. When the command ends, all that it started ends.
set -eu

directory="$1"
shift

mount --make-rprivate /
# sendfile_SUITE counts its own files in there.
mount -t proc proc /proc
ip link set lo up
if ip link add conformance0 type veth peer name conformance1 2>/dev/null; then
    ip link set conformance0 up
    ip link set conformance1 up
    # Addresses that are reserved for documentation.
    ip address add 198.51.100.2/24 brd + dev conformance0
    ip address add 2001:db8:1::2/64 dev conformance0 nodad
fi
host_name="$(uname -n)"
{
    echo "127.0.0.1 localhost"
    echo "::1 localhost ip6-localhost"
    echo "198.51.100.2 $host_name"
    echo "2001:db8:1::2 $host_name"
} >"$directory/hosts"
: >"$directory/resolv.conf"
mount --bind "$directory/hosts" /etc/hosts
[ ! -e /etc/resolv.conf ] || mount --bind "$directory/resolv.conf" /etc/resolv.conf
# The hosts file knows more than a file made for a machine without names would.
unset ERL_INETRC

# Not exec: the first process of the namespace has to stay until the command has ended.
"$@"
