#!/bin/sh
# Runs a command in a folder with a Debian release, with /mnt as its working directory:
#
#   unshare --mount --pid --uts --ipc [--net] --fork --kill-child=KILL \
#       sh matrix/enter.sh ROOT WORK COMMAND...
#
# WORK is /mnt there. When the command ends, all that it started and mounted is gone.
set -eu

root="$1"
work="$2"
shift 2

mount --make-rprivate /
hostname matrix
# The root of a chroot is a mount point here, as the suites may change its propagation.
mount --bind "$root" "$root"
mount -t proc proc "$root/proc"
mount -t sysfs sysfs "$root/sys"
mount --rbind /dev "$root/dev"
mount -t tmpfs tmpfs "$root/tmp"
mount -t tmpfs tmpfs "$root/run"
mount --bind "$work" "$root/mnt"

# Not exec: the first process of the namespace has to stay until the command has ended.
chroot "$root" env -i PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
    HOME=/root LC_ALL=C.UTF-8 TERM=dumb "MATRIX_PARTS=${MATRIX_PARTS:-}" \
    "SUITES=${SUITES:-}" "CASES=${CASES:-.}" "BASELINE=${BASELINE:-}" \
    sh -euc 'ip link set lo up 2>/dev/null || true; cd /mnt; "$@"' sh "$@"
