# Compiles the benchmark with the Erlang/OTP that is on the path and says where it lies, in $code. To be sourced by a POSIX
# shell in the root of the tree.

release="$(erl -noinput -boot start_clean -eval 'io:format("~ts", [erlang:system_info(otp_release)]), halt(0).')"
code="_build/bench/otp-$release"
mkdir -p "$code"
# The behaviour first.
erlc -Werror +warn_missing_spec -o "$code" bench/bench_workload.erl
erlc -Werror +warn_missing_spec -pa "$code" -o "$code" bench/*.erl
