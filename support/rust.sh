# Finds a Rust that is new enough. To be sourced by a POSIX shell in the root of the tree;
# may put a folder in front of the path, and changes nothing outside the calling process.

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

# has_rust: cargo is there, and both it and the compiler are new enough.
has_rust() { command -v cargo >/dev/null 2>&1 && version_at_least "$(rust_version)" "$RUST_MINIMUM"; }

# The Rust on the path comes first. Where it is absent or too old, one of the two usual
# places may have a newer one: rustup's folder, which is often on the path of login
# shells only, or the distribution's.
if ! has_rust; then
    for candidate in "${CARGO_HOME:-${HOME:-/root}/.cargo}/bin" /usr/bin; do
        if [ -x "$candidate/cargo" ] && version_at_least "$(rust_version "$candidate")" "$RUST_MINIMUM"; then
            PATH="$candidate:$PATH"
            export PATH
            break
        fi
    done
    unset candidate
fi
