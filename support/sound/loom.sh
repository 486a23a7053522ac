#!/bin/sh
# What the poller's thread and who serves in its place agree on, in every order: native/loom.
set -eu
cd "$(dirname "$0")/../../native/loom"
cargo test --locked --target-dir "${CARGO_TARGET_DIR:-../../target}/loom"
