#!/bin/sh
# Works in a layer above the root of a Debian system: packages installed there, and all
# files written there, exist in the layer only; the system below stays as it is. Needs
# root and the kernel's overlayfs.
#
#   layer.sh DIRECTORY ROOT install PACKAGE...   with the machine's network
#   layer.sh DIRECTORY ROOT run COMMAND...       with a network and processes of its own
#
# DIRECTORY keeps the layer; ROOT is / or the directory of another Debian system. What
# `run` starts finds the tree's ecosystem/ at /ecosystem, and what the caller put into
# DIRECTORY/exchange at /exchange; when COMMAND ends, all that it started ends.
set -eu

here="$(cd "$(dirname "$0")" && pwd)"

# The first process of the new namespaces: `layer.sh inside MODE DIRECTORY ROOT ...`.
inside() {
    mode="$1"
    directory="$2"
    lower="$3"
    shift 3
    root="$directory/root"
    mount --make-rprivate /
    mount -t overlay overlay \
        -o "lowerdir=$lower,upperdir=$directory/upper,workdir=$directory/work" "$root"
    mount -t proc proc "$root/proc"
    mount --rbind /dev "$root/dev"
    mount -t tmpfs tmpfs "$root/run"
    mount -t tmpfs tmpfs "$root/tmp"
    case "$mode" in
        install)
            # Nothing is started because it was installed.
            printf '#!/bin/sh\nexit 101\n' >"$root/usr/sbin/policy-rc.d"
            chmod +x "$root/usr/sbin/policy-rc.d"
            cat /etc/resolv.conf >"$directory/resolv.conf" 2>/dev/null || : >"$directory/resolv.conf"
            ;;
        run)
            mount -t sysfs sysfs "$root/sys"
            ip link set lo up
            hostname ecosystem
            mkdir -p "$root/ecosystem" "$root/exchange"
            mount --bind "$here" "$root/ecosystem"
            mount -o remount,bind,ro "$root/ecosystem"
            mount --bind "$directory/exchange" "$root/exchange"
            printf '127.0.0.1 localhost ecosystem\n::1 localhost ip6-localhost\n' >"$directory/hosts"
            : >"$directory/resolv.conf"
            mount --bind "$directory/hosts" "$root/etc/hosts"
            # Names come from the file of hosts alone, also for Erlang.
            unset ERL_INETRC
            ;;
    esac
    rm -f "$root/etc/resolv.conf"
    cp "$directory/resolv.conf" "$root/etc/resolv.conf"
    PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
    export PATH
    # Not exec: the first process of a namespace has to stay until the command has ended.
    chroot "$root" "$@"
}

if [ "$1" = inside ]; then
    shift
    inside "$@"
    exit
fi

directory="$1"
lower="$2"
mode="$3"
shift 3
mkdir -p "$directory/upper" "$directory/work" "$directory/root" "$directory/exchange"
case "$mode" in
    install)
        # shellcheck disable=SC2016
        exec unshare --mount sh "$here/layer.sh" inside install "$directory" "$lower" \
            env DEBIAN_FRONTEND=noninteractive sh -c '
                install() { apt-get install -y -q --no-install-recommends -o Dpkg::Options::=--force-unsafe-io "$@"; }
                install "$@" || { apt-get update -q && install "$@"; }' sh "$@"
        ;;
    run)
        exec unshare --mount --net --pid --uts --ipc --fork --kill-child=KILL \
            sh "$here/layer.sh" inside run "$directory" "$lower" "$@"
        ;;
esac
