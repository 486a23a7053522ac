%% OTP's web server on a node whose default is the backend, asked by wrk over 50 connections for a file of 1 KiB.
-module(bench_http).

-export([measure/3, skip/0]).
%% On the node.
-export([start/1]).

-define(SIZE, 1024).
-define(SECONDS, "1").

-spec skip() -> false | string().
skip() ->
    case {os:find_executable("wrk"), code:lib_dir(inets)} of
        {false, _} -> "no wrk on this machine";
        {_, {error, bad_name}} -> "this Erlang/OTP has no inets";
        _ -> false
    end.

-spec measure(bench_socket:backend(), bench_rows:scene(), bench_run:nodes()) -> [{string(), bench_run:figures()}].
measure(Backend, #{rows := [#{name := Name}]}, _Nodes) ->
    Node = bench_node:start(none, ["-kernel", "inet_backend", atom_to_list(Backend)]),
    try
        Root = filename:absname("_build/bench/www"),
        Port = bench_node:call(Node, ?MODULE, start, [Root]),
        Url = io_lib:format("http://127.0.0.1:~b/page", [Port]),
        _ = os:cmd(["wrk -t1 -c50 -d0.2s ", Url]),
        Before = bench_node:cpu(Node),
        Output = os:cmd(["wrk -t1 -c50 -d", ?SECONDS, "s --latency ", Url]),
        Runtime = bench_node:cpu(Node) - Before,
        nomatch = re:run(Output, "Non-2xx|Socket errors"),
        [Requests] = find(Output, "([0-9]+) requests in"),
        [Rate] = find(Output, "Requests/sec:\\s+([0-9.]+)"),
        [{Name, #{value => list_to_float(Rate), ops => list_to_integer(Requests), p50 => percentile(Output, "50%"),
                  p99 => percentile(Output, "99%"), cpu => Runtime * 1000 / list_to_integer(Requests)}}]
    after
        bench_node:stop(Node)
    end.

find(Output, Pattern) ->
    {match, Found} = re:run(Output, Pattern, [{capture, all_but_first, list}]),
    Found.

percentile(Output, Percent) ->
    [Number, Unit] = find(Output, "\\s" ++ Percent ++ "\\s+([0-9.]+)(us|ms|s)"),
    list_to_float(Number) * case Unit of "us" -> 1; "ms" -> 1000; "s" -> 1000000 end.

-spec start(file:filename()) -> inet:port_number().
start(Root) ->
    File = filename:join(Root, "page"),
    ok = filelib:ensure_dir(File),
    ok = file:write_file(File, binary:copy(<<"x">>, ?SIZE)),
    {ok, _} = application:ensure_all_started(inets),
    %% Head and body of an answer are two sends: with Nagle's algorithm the second waits 40 ms for the client's delayed
    %% acknowledgement of the first, whatever the backend.
    {ok, Server} = inets:start(httpd, [{port, 0}, {bind_address, {127, 0, 0, 1}}, {server_name, "bench"}, {server_root, Root},
                                       {document_root, Root}, {max_clients, 200}, {keep_alive, true},
                                       {socket_type, {ip_comm, [{nodelay, true}]}},
                                       {max_keep_alive_request, 100000000}, {modules, [mod_get]}]),
    [{port, Port}] = httpd:info(Server, [port]),
    Port.
