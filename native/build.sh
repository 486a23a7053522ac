#!/bin/sh
# Builds the NIF library and puts it into priv/. rebar3 runs this before it
# compiles the Erlang code; it can be run by hand as well, from anywhere.
#
# The library is put in place by a rename, never written over: a running node has
# the old file mapped, and writing into a mapped library crashes that node.
set -eu

cd "$(dirname "$0")/.."

platform="$(uname -s) $(uname -m)"
case "$platform" in
    "Linux x86_64" | "Linux aarch64") ;;
    *)
        echo "gen_tcp_rs: this library runs on Linux on x86_64 and aarch64; this machine is $platform." >&2
        echo "gen_tcp_rs: nothing was built." >&2
        exit 1
        ;;
esac

. support/rust.sh
if ! has_rust; then
    found="$(rust_version)"
    echo "gen_tcp_rs: the build needs Rust $RUST_MINIMUM or later; found: ${found:-none}." >&2
    echo "gen_tcp_rs: 'make setup' installs it on Debian 12; elsewhere see https://rustup.rs" >&2
    exit 1
fi

# Cargo reports a missing or outdated lock file by itself; the network is used only
# for crates that are not in cargo's cache yet.
target_dir="${CARGO_TARGET_DIR:-$PWD/target}"
cargo build --release --locked --package gen_tcp_rs_nif --target-dir "$target_dir"

built="$target_dir/${CARGO_BUILD_TARGET:+$CARGO_BUILD_TARGET/}release/libgen_tcp_rs.so"
installed=priv/gen_tcp_rs.so
mkdir -p priv
if ! cmp -s "$built" "$installed"; then
    cp "$built" "$installed.new"
    mv -f "$installed.new" "$installed"
fi

# mix has rebar3 compile into a folder of its own, and links priv into it only later than
# rebar3 looks for the library there.
output="${REBAR_BARE_COMPILER_OUTPUT_DIR:-}"
if [ -n "$output" ] && [ ! -e "$output/priv" ]; then
    mkdir -p "$output"
    ln -s "$PWD/priv" "$output/priv"
fi
