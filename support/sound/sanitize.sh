#!/bin/sh
# The tests of native/proto and native/net under AddressSanitizer and its leak check, as the
# installed compiler has them: RUSTC_BOOTSTRAP lets a stable one take the flag. The standard
# library is as it was delivered, without instrumentation.
set -eu
cd "$(dirname "$0")/../.."

host="$(rustc -vV | sed -n 's/^host: //p')"
runtime="$(rustc --print sysroot)/lib/rustlib/$host/lib"
if [ -z "$(ls "$runtime"/librustc*_rt.asan.a 2>/dev/null)" ]; then
    echo "sanitize: left out: the installed compiler comes without AddressSanitizer"
    exit 0
fi

# One test defines the C library's functions again, as the sanitizer does.
tests="$(cd native/net/tests && ls ./*.rs | sed 's/^\.\//--test /; s/\.rs$//' | grep -v faults)"
# A backtrace of a panic that a test asks for would take longer than the test waits.
export RUST_BACKTRACE=0
export RUSTC_BOOTSTRAP=1
export RUSTFLAGS="-Zsanitizer=address"
export ASAN_OPTIONS="detect_leaks=1"
target_dir="${CARGO_TARGET_DIR:-target}/sanitizer"
# shellcheck disable=SC2086
cargo test --locked --no-fail-fast --package gen_tcp_rs_net --lib $tests \
    --target "$host" --target-dir "$target_dir"
cargo test --locked --no-fail-fast --package gen_tcp_rs_proto --lib --tests \
    --target "$host" --target-dir "$target_dir"
