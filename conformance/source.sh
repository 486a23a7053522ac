#!/bin/sh
# Prints the directory that holds the source tree of the installed Erlang/OTP.
#
#   conformance/source.sh DIRECTORY
#
# OTP_SOURCE=/path names a tree that is there already. Otherwise the tree comes from
# Debian's source package of the installed release, of which DIRECTORY keeps what the
# suites need. Neither root nor deb-src lines in apt's configuration are needed: apt
# works on a state of its own here.
set -eu

directory="$1"
applications="kernel ssl inets ssh public_key"
refuse() {
    for line in "$@"; do echo "conformance: $line" >&2; done
    exit 1
}

if [ -n "${OTP_SOURCE:-}" ]; then
    for application in $applications; do
        [ -d "$OTP_SOURCE/lib/$application/test" ] ||
            refuse "OTP_SOURCE=$OTP_SOURCE has no lib/$application/test."
    done
    (cd "$OTP_SOURCE" && pwd)
    exit 0
fi

otp_version="$(erl -noinput -boot start_clean -eval '
    Release = erlang:system_info(otp_release),
    {ok, Version} = file:read_file(filename:join([code:root_dir(), "releases", Release, "OTP_VERSION"])),
    io:format("~ts", [string:trim(Version)]), halt(0).')"
tree="$directory/otp-$otp_version"
# The last of them: an older tree may have the kernel's alone.
if [ -d "$tree/lib/public_key/test" ]; then
    echo "$tree"
    exit 0
fi

otherwise="Unpack the sources of OTP $otp_version and name the directory: OTP_SOURCE=/path make conformance"
command -v apt-get >/dev/null 2>&1 ||
    refuse "OTP's suites come from Debian's source package, and there is no apt-get." "$otherwise"
package_version="$(dpkg-query -W -f='${source:Version}' erlang-base 2>/dev/null)" ||
    refuse "The installed Erlang/OTP is not Debian's, whose source package has the suites." "$otherwise"

apt="$directory/apt"
rm -rf "$apt"
mkdir -p "$apt/parts" "$apt/lists/partial" "$apt/cache/archives/partial" "$apt/download"
# The system's own entries for Debian, asked for sources instead of packages.
for list in /etc/apt/sources.list /etc/apt/sources.list.d/*; do
    if [ -f "$list" ] && grep -Eq '^(URIs:|deb) .*/debian(-security)?/?( |$)' "$list"; then
        sed -e 's/^deb /deb-src /' -e 's/^Types: .*/Types: deb-src/' "$list" >"$apt/parts/${list##*/}"
    fi
done
apt_get() {
    (cd "$apt/download" && apt-get -q -o Dir::State::Lists="$apt/lists" -o Dir::Cache="$apt/cache" \
        -o Dir::Etc::SourceList=- -o Dir::Etc::SourceParts="$apt/parts" \
        -o APT::Sandbox::User= "$@") >>"$apt/log" 2>&1
}
echo "conformance: fetching the source package of OTP $otp_version" >&2
# An installed package may be older than what the mirror still has: then the newest.
apt_get update && { apt_get source --download-only "erlang=$package_version" ||
    apt_get source --download-only erlang; } || {
    tail -n 5 "$apt/log" >&2
    refuse "The source package erlang $package_version was not fetched, see $apt/log." "$otherwise"
}
archive="$(find "$apt/download" -name 'erlang_*.orig.tar.*' | head -n 1)"
case "${archive##*/}" in
    "erlang_${otp_version%%.*}."*) ;;
    *)
        refuse "The mirror has ${archive##*/}, which is of another release than the installed $otp_version." \
            "$otherwise"
        ;;
esac
rm -rf "$tree.new"
mkdir "$tree.new"
# Not every application has all of these; tar fails on a name that it does not find.
tar -tf "$archive" >"$tree.new/names"
for application in $applications; do
    grep -oE "^[^/]*/lib/$application/(test|src|include)/" "$tree.new/names" | sort -u
done >"$tree.new/wanted"
tar -C "$tree.new" --strip-components=1 -xf "$archive" --files-from="$tree.new/wanted"
rm -rf "$tree" "$tree.new/wanted" "$tree.new/names"
mv "$tree.new" "$tree"
rm -rf "$apt"
echo "$tree"
