%% One process sends the same message to many sockets, each of which has its receiver in {active, true}. An operation is a
%% message delivered.
-module(bench_fanout).

-behaviour(bench_workload).

-export([serve/2, open/4, prepare/2, run/3, shut/1]).

-record(client, {backend, sockets, pieces, last}).

-define(SIZE, 100).
-define(MESSAGES, #{shape => binary, size => ?SIZE}).

-spec serve(bench_socket:backend(), bench_workload:arguments()) -> {inet:port_number(), fun(() -> ok | {error, term()})}.
serve(Backend, _Arguments) ->
    bench_server:start(Backend, [{packet, 4}], 4,
                       fun(Socket) -> bench_stream:receive_all(Backend, Socket, true, {messages, ?SIZE}) end).

-spec open(bench_socket:backend(), inet:ip4_address(), inet:port_number(), bench_workload:arguments()) -> #client{}.
open(Backend, Address, Port, #{connections := Connections}) ->
    {Pieces, Last} = bench_stream:pieces(messages, ?MESSAGES),
    #client{backend = Backend, pieces = Pieces, last = Last,
            sockets = [bench_socket:connect(Backend, Address, Port, [{packet, 4}]) || _ <- lists:seq(1, Connections)]}.

-spec prepare(bench_workload:arguments(), #client{}) -> #client{}.
prepare(_Row, Client) ->
    Client.

%% A latency is that of sending one message to all.
-spec run(bench_workload:arguments(), pos_integer(), #client{}) -> {bench_workload:result(), #client{}}.
run(_Row, Milliseconds, #client{backend = Backend, sockets = Sockets, pieces = Pieces, last = Last} = Client) ->
    Latencies = bench_latency:new(),
    Start = erlang:monotonic_time(nanosecond),
    Times = fan_out(Backend, Sockets, Pieces, Start + Milliseconds * 1000000, Latencies, 0, Start),
    ok = to_all(Backend, Sockets, Last),
    _ = [begin {ok, <<Arrived:64>>} = bench_socket:recv(Backend, Socket, 0), Arrived = Times + 1 end || Socket <- Sockets],
    End = erlang:monotonic_time(nanosecond),
    {#{ops => (Times + 1) * length(Sockets), ns => End - Start, latencies => Latencies}, Client}.

fan_out(Backend, Sockets, Pieces, Deadline, Latencies, Times, Start) ->
    ok = to_all(Backend, Sockets, element(1 + Times rem tuple_size(Pieces), Pieces)),
    Now = erlang:monotonic_time(nanosecond),
    ok = bench_latency:record(Latencies, Now - Start),
    case Now < Deadline of
        true -> fan_out(Backend, Sockets, Pieces, Deadline, Latencies, Times + 1, Now);
        false -> Times + 1
    end.

to_all(Backend, Sockets, Message) ->
    lists:foreach(fun(Socket) -> ok = bench_socket:send(Backend, Socket, Message) end, Sockets).

-spec shut(#client{}) -> ok.
shut(#client{backend = Backend, sockets = Sockets}) ->
    lists:foreach(fun(Socket) -> ok = bench_socket:close(Backend, Socket) end, Sockets).
