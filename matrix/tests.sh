#!/bin/sh
# The project's tests on the Erlang/OTP of this folder; enter.sh is where it runs.
set -eu

# The library and the modules as they were built, on another release.
ERL_LIBS=oldest erl -noinput -eval '
    {ok, _} = application:ensure_all_started(gen_tcp_rs),
    {ok, Listener} = gen_tcp:listen(0, [{inet_backend, rs}, {active, false}]),
    {ok, Port} = inet:port(Listener),
    {ok, Client} = gen_tcp:connect({127, 0, 0, 1}, Port, [{inet_backend, rs}, {active, false}]),
    {ok, Server} = gen_tcp:accept(Listener),
    ok = gen_tcp:send(Client, "built elsewhere"),
    {ok, "built elsewhere"} = gen_tcp:recv(Server, 0, 10000),
    io:format("matrix: the library as built runs on OTP ~s, NIF ~s, ~s~n",
              [erlang:system_info(otp_release), erlang:system_info(nif_version),
               erlang:system_info(system_architecture)]),
    halt(0).'

rm -rf compiled logs
mkdir -p compiled logs
erlc -Werror -o compiled matrix/matrix_tests.erl
cp -R test/*_data compiled/

# The modules and the tests as this release compiles them. Tests look for the tree from
# their own place, and for the application's folder by its name.
library=$PWD/_build/default/lib/gen_tcp_rs/ebin
# shellcheck disable=SC3045
ulimit -n 20000 2>/dev/null || true
erl -noinput -pa compiled -run matrix_tests compile -extra erl_src "$library" test compiled
# As a build here would: the extended inet of this release, for nodes without a compiler.
erl -noinput -pa "$library" -eval '{ok, _} = gen_tcp_rs_backend:prepare(code:priv_dir(gen_tcp_rs)), halt(0).'
# shellcheck disable=SC2086
erl -noinput -pa "$library" "$PWD/compiled" -run matrix_tests run -extra "$PWD/compiled" logs $MATRIX_PARTS
