#!/usr/bin/env escript
%% How fast frames are found, in gigabytes (10^9) a second, and an http request of 500
%% bytes is parsed: by this library, by erlang:decode_packet/3 and by httparse, in one
%% run. The figures of Rust are criterion's medians (framing.rs), those of Erlang medians
%% of rounds of the same bytes. decode_packet/3 also makes the terms; a socket of this
%% library makes them elsewhere.
%%
%% Fails below 5 GB/s for a type with a length, or above 1 us for the request.
-mode(compile).

-define(ROUNDS, 21).
-define(ROUND_NS, 20000000).

main(_) ->
    Root = filename:dirname(filename:dirname(filename:dirname(filename:dirname(filename:absname(escript:script_name()))))),
    ok = file:set_cwd(Root),
    Target = os:getenv("CARGO_TARGET_DIR", "target"),
    Arguments = ["bench", "--quiet", "--locked", "-p", "gen_tcp_rs_proto", "--bench", "framing", "--",
                 "--noplot", "--warm-up-time", "1", "--measurement-time", "2"],
    ok = run(os:find_executable("cargo"), Arguments),
    Median = fun(Name) -> median_of(filename:join([Target, "criterion", Name, "new", "estimates.json"])) end,
    io:format("~n~-10s ~14s ~16s ~8s~n", ["GB/s", "gen_tcp_rs", "decode_packet/3", "ratio"]),
    Slow = [Name || {Name, Type, Frame} <- types(), not frames(Name, Type, Frame, Median)],
    Fast = http(Median),
    case {Slow, Fast} of
        {[], true} ->
            ok;
        _ ->
            io:format("~nbelow the mark: ~p~n", [Slow ++ ["http" || not Fast]]),
            halt(1)
    end.

%% As framing.rs makes them: 100 bytes on the wire.
types() ->
    [{"1", 1, <<99>>}, {"2", 2, <<98:16>>}, {"4", 4, <<96:32>>}, {"sunrm", sunrm, <<1:1, 96:31>>},
     {"asn1", asn1, <<16#30, 98>>}, {"cdr", cdr, <<"GIOP", 1, 2, 0, 0, 88:32>>},
     {"fcgi", fcgi, <<1, 6, 1:16, 90:16, 2, 0>>}, {"tpkt", tpkt, <<3, 0, 100:16>>},
     {"ssl_tls", ssl_tls, <<23, 3, 3, 95:16>>}, {"line", line, <<>>}].

frames(Name, Type, Head, Median) ->
    Frame = <<Head/binary, (binary:copy(<<"a">>, 99 - byte_size(Head)))/binary, "\n">>,
    Buffer = binary:copy(Frame, 655),
    Ours = byte_size(Buffer) / Median("frames/" ++ Name),
    Theirs = byte_size(Buffer) / median(fun() -> walk(Type, Buffer) end),
    io:format("~-10s ~14.2f ~16.2f ~8.1f~n", [Name, Ours, Theirs, Ours / Theirs]),
    Ours >= 5 orelse Name =:= "line".

http(Median) ->
    {ok, Request} = file:read_file("native/proto/benches/request.http"),
    500 = byte_size(Request),
    Ours = Median("http/proto"),
    Httparse = Median("http/httparse"),
    Theirs = median(fun() -> request(http_bin, Request) end),
    io:format("~nhttp request of 500 bytes: gen_tcp_rs ~w ns, httparse ~w ns (ratio ~.2f), decode_packet/3 ~w ns (ratio ~.1f)~n",
              [round(Ours), round(Httparse), Ours / Httparse, round(Theirs), Theirs / Ours]),
    Ours < 1000.

walk(Type, Bytes) ->
    case erlang:decode_packet(Type, Bytes, []) of
        {ok, _, Rest} -> walk(Type, Rest);
        {more, _} -> ok
    end.

request(_, <<>>) ->
    ok;
request(Type, Bytes) ->
    {ok, _, Rest} = erlang:decode_packet(Type, Bytes, []),
    request(httph_bin, Rest).

%% Nanoseconds a call.
median(Call) ->
    Calls = max(1, round(?ROUND_NS / time(10, Call))),
    lists:nth(?ROUNDS div 2 + 1, lists:sort([time(Calls, Call) || _ <- lists:seq(1, ?ROUNDS)])).

time(Calls, Call) ->
    Start = erlang:monotonic_time(nanosecond),
    repeat(Calls, Call),
    (erlang:monotonic_time(nanosecond) - Start) / Calls.

repeat(0, _) ->
    ok;
repeat(Calls, Call) ->
    ok = Call(),
    repeat(Calls - 1, Call).

median_of(File) ->
    {ok, Json} = file:read_file(File),
    {match, [Number]} = re:run(Json, "\"median\":\\{.*?\"point_estimate\":([0-9.]+)", [{capture, all_but_first, list}]),
    case string:find(Number, ".") of
        nomatch -> list_to_integer(Number) / 1;
        _ -> list_to_float(Number)
    end.

run(false, _) ->
    io:format("cargo is missing~n"),
    halt(1);
run(Cargo, Arguments) ->
    Port = open_port({spawn_executable, Cargo}, [{args, Arguments}, exit_status, stderr_to_stdout, binary]),
    wait(Port, []).

wait(Port, Output) ->
    receive
        {Port, {data, Data}} ->
            wait(Port, [Output, Data]);
        {Port, {exit_status, 0}} ->
            ok;
        {Port, {exit_status, _}} ->
            io:format("~ts~n", [Output]),
            halt(1)
    end.
