#!/bin/sh
# Makes a folder with a Debian release and its Erlang/OTP, unless it is there already.
#
#   matrix/root.sh RELEASE FOLDER
#
# A minute each; as root. DEBIAN_MIRROR=URL names a mirror, else it is debootstrap's.
# A folder that someone else has made does as well: it needs an Erlang with common_test
# and ssl, and iproute2.
set -eu

release="$1"
root="$2"
[ ! -x "$root/usr/bin/erl" ] || exit 0

log="$root.log"
mkdir -p "${root%/*}"
rm -rf --one-file-system "$root" "$root.new"
echo "matrix: debootstrap $release $root" >&2

# What is mounted meanwhile goes with the namespace.
make_root() {
    # shellcheck disable=SC2086
    unshare --mount debootstrap --variant=minbase "$release" "$root.new" ${DEBIAN_MIRROR:-} || return
    cat >"$root.new/etc/hosts" <<'HOSTS'
127.0.0.1 localhost matrix
::1 localhost ip6-localhost matrix
HOSTS
    # debootstrap copies the machine's, which may be a link.
    [ ! -e /etc/resolv.conf ] || cat /etc/resolv.conf >"$root.new/etc/resolv.conf"
    chroot "$root.new" sh -eu <<'CHROOT' || return
export DEBIAN_FRONTEND=noninteractive LC_ALL=C.UTF-8
# A mirror of sid that is some days behind will do. What it has is signed all the same.
echo 'Acquire::Check-Valid-Until "false";' >/etc/apt/apt.conf.d/10matrix
apt-get -q install -y --no-install-recommends erlang-base erlang-inets erlang-ssl \
    curl iproute2 libjs-jquery libjs-jquery-tablesorter netbase python3 wrk </dev/null
# By their packages these depend on a graphical toolkit, of which no test makes use.
mkdir /var/cache/unpacked
cd /var/cache/unpacked
apt-get -q -o APT::Sandbox::User= download erlang-common-test erlang-dev erlang-ftp erlang-parsetools \
    erlang-runtime-tools erlang-ssh erlang-syntax-tools erlang-tools erlang-xmerl
for package in *.deb; do dpkg-deb -x "$package" /; done
rm -rf /var/cache/unpacked
apt-get clean
CHROOT
}

if ! make_root >"$log" 2>&1; then
    tail -n 20 "$log" >&2
    echo "matrix: $release was not made, see $log" >&2
    exit 1
fi
mv "$root.new" "$root"
