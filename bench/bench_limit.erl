%% What C with epoll reaches, as the backend `c` of rows that it can do: c_src_compat/bin/limit against bin/peer.
-module(bench_limit).

-export([measure/1, is_there/0]).

-define(PROGRAMS, "c_src_compat/bin/").
-define(MILLISECONDS, 250).

-spec is_there() -> boolean().
is_there() ->
    lists:all(fun(Name) -> filelib:is_regular(?PROGRAMS ++ Name) end, ["limit", "peer"]).

-spec measure(bench_rows:scene()) -> [{string(), bench_run:figures()}].
measure(#{rows := Rows} = Scene) ->
    [{Name, row(Row, Scene)} || #{name := Name, backends := Backends} = Row <- Rows, lists:member(c, Backends)].

row(Row, #{measure := bench_pingpong}) ->
    #{arguments := #{connections := Connections}} = Row,
    against("echo", "pingpong", Row, integer_to_list(Connections));
row(Row, #{measure := bench_stream, arguments := #{framing := blocks}}) ->
    against("sink", "stream", Row, "65536");
row(Row, #{measure := bench_stream, arguments := #{framing := messages, size := Size}}) ->
    against("sink", "stream", Row, integer_to_list(4 + Size));
row(Row, #{measure := bench_connect}) ->
    against("sink", "connect", Row, "1").

%% The peer ends when its input does.
against(Mode, Work, Row, Amount) ->
    Peer = open_port({spawn_executable, ?PROGRAMS ++ "peer"}, [{args, [Mode]}, {line, 200}, binary]),
    try
        Number = receive {Peer, {data, {eol, <<"port ", Digits/binary>>}}} -> binary_to_list(Digits) end,
        Milliseconds = integer_to_list(maps:get(milliseconds, Row, ?MILLISECONDS)),
        Output = os:cmd(lists:join(" ", [?PROGRAMS ++ "limit", Work, Number, Milliseconds, Amount])),
        {ok, [Ops, Nanoseconds, P50, P99, _Cpu], _} = io_lib:fread("~d ~d ~d ~d ~d", Output),
        #{value => Ops * maps:get(factor, Row, 1.0) * 1.0e9 / Nanoseconds, ops => Ops, seconds => Nanoseconds / 1.0e9,
          p50 => P50 / 1000, p99 => P99 / 1000}
    after
        true = port_close(Peer)
    end.
