%% Erlang's distribution on inet_tcp and on rs_tcp, beside each other: two nodes on this
%% machine, a new pair for each round and carrier, interleaved. `make bench-dist`.
%%
%% messages   one process sends 200,000 messages of 100 bytes to one at the other node;
%%            the time until the last one is acknowledged. A second.
%% bulk       1 GB in messages of 1 MB. MB/s.
%% idle       a message of a few bytes and its answer, nothing else going on. µs.
%% loaded     the same while other processes send 1 GB of messages of 1 MB. µs.
-module(dist_bench).

-export([main/1, driver/1, peer/0, echo/0, sink/2]).

-define(CARRIERS, ["inet_tcp", "rs_tcp"]).
-define(MESSAGES, 200000).
-define(BULK_MESSAGES, 1024).
-define(BULK_BYTES, 1048576).
-define(IDLE_TRIPS, 5000).
-define(FIGURES, [messages, bulk, idle_p50, idle_p99, loaded_p50, loaded_p99]).

%% Arguments: the number of rounds.
-spec main([string()]) -> no_return().
main(Arguments) ->
    Rounds = case Arguments of
                 [Number | _] -> list_to_integer(Number);
                 [] -> 5
             end,
    Results = [{Carrier, round_of(Carrier, Round)} || Round <- lists:seq(1, Rounds), Carrier <- ?CARRIERS],
    io:format("~nmedians of ~b rounds~n~-12s~12s~12s~8s~n", [Rounds, "", "inet_tcp", "rs_tcp", "ratio"]),
    [begin
         [Inet, Rs] = [median([maps:get(Figure, Result) || {Of, Result} <- Results, Of =:= Carrier]) || Carrier <- ?CARRIERS],
         io:format("~-12s~12.1f~12.1f~8.2f~n", [Figure, Inet, Rs, Rs / Inet])
     end || Figure <- ?FIGURES],
    halt(0).

median(Values) -> lists:nth((length(Values) + 1) div 2, lists:sort(Values)).

round_of(Carrier, Round) ->
    Name = lists:flatten(io_lib:format("bench_~s_~b_~s", [os:getpid(), Round, Carrier])),
    Port = start(Name ++ "_a", Carrier, ["-s", "dist_bench", "driver", Carrier]),
    Result = result(Port, <<>>),
    io:format("~-9s ~p~n", [Carrier, [{Figure, round(maps:get(Figure, Result))} || Figure <- ?FIGURES]]),
    Result.

start(Name, Carrier, More) ->
    Ebin = filename:dirname(code:which(gen_tcp_rs_nif)),
    open_port({spawn_executable, os:find_executable("erl")},
              [{args, ["-noshell", "-sname", Name, "-setcookie", "bench", "-proto_dist", Carrier, "-kernel", "prevent_overlapping_partitions", "false",
                       "-pa", Ebin, filename:dirname(code:which(?MODULE))] ++ More},
               binary, exit_status, stderr_to_stdout]).

result(Port, Output) ->
    receive
        {Port, {data, Data}} -> result(Port, <<Output/binary, Data/binary>>);
        {Port, {exit_status, 0}} ->
            {ok, Tokens, _} = erl_scan:string(binary_to_list(Output)),
            {ok, Result} = erl_parse:parse_term(Tokens),
            Result;
        {Port, {exit_status, Status}} -> exit({status, Status, Output})
    end.

%%% In the first node

-spec driver([atom()]) -> no_return().
driver([Carrier]) ->
    {Name, Host} = lists:splitwith(fun(Char) -> Char =/= $@ end, atom_to_list(node())),
    PeerName = Name ++ "_peer",
    Peer = list_to_atom(PeerName ++ Host),
    _Port = start(PeerName, atom_to_list(Carrier), ["-s", "dist_bench", "peer"]),
    ok = connected(Peer, 200),
    _ = idle(Peer, 500),
    Messages = messages(Peer),
    Bulk = bulk(Peer),
    Idle = idle(Peer, ?IDLE_TRIPS),
    Loaded = loaded(Peer),
    io:format("~p.~n", [#{messages => Messages, bulk => Bulk, idle_p50 => quantile(0.5, Idle), idle_p99 => quantile(0.99, Idle),
                          loaded_p50 => quantile(0.5, Loaded), loaded_p99 => quantile(0.99, Loaded)}]),
    erpc:cast(Peer, erlang, halt, [0]),
    receive after 200 -> halt(0) end.

-spec peer() -> ok.
peer() -> ok.

connected(_Peer, 0) -> not_connected;
connected(Peer, Tries) ->
    case net_kernel:connect_node(Peer) of
        true -> ok;
        false -> receive after 50 -> connected(Peer, Tries - 1) end
    end.

quantile(Which, Times) -> lists:nth(max(1, round(Which * length(Times))), lists:sort(Times)) / 1000.

messages(Peer) ->
    Sink = spawn_link(Peer, ?MODULE, sink, [self(), ?MESSAGES]),
    Data = <<0:800>>,
    {Time, ok} = timer:tc(fun() -> send(Sink, Data, ?MESSAGES), receive {Sink, done} -> ok end end),
    ?MESSAGES * 1.0e6 / Time.

bulk(Peer) ->
    Sink = spawn_link(Peer, ?MODULE, sink, [self(), ?BULK_MESSAGES]),
    Data = <<0:(?BULK_BYTES * 8)>>,
    {Time, ok} = timer:tc(fun() -> send(Sink, Data, ?BULK_MESSAGES), receive {Sink, done} -> ok end end),
    ?BULK_MESSAGES * ?BULK_BYTES / Time.

send(_Sink, _Data, 0) -> ok;
send(Sink, Data, Count) -> Sink ! Data, send(Sink, Data, Count - 1).

-spec sink(pid(), non_neg_integer()) -> ok.
sink(From, 0) -> From ! {self(), done}, ok;
sink(From, Count) -> receive Data when is_binary(Data) -> sink(From, Count - 1) end.

idle(Peer, Trips) ->
    Echo = spawn_link(Peer, ?MODULE, echo, []),
    [trip(Echo) || _ <- lists:seq(1, Trips)].

%% From here until all of it has arrived.
loaded(Peer) ->
    Echo = spawn_link(Peer, ?MODULE, echo, []),
    Self = self(),
    Sink = spawn_link(Peer, ?MODULE, sink, [Self, ?BULK_MESSAGES]),
    _ = spawn_link(fun() -> send(Sink, <<0:(?BULK_BYTES * 8)>>, ?BULK_MESSAGES) end),
    trips_until(Sink, Echo, []).

trips_until(Sink, Echo, Times) ->
    receive
        {Sink, done} when Times =/= [] -> Times
    after 0 -> trips_until(Sink, Echo, [trip(Echo) | Times])
    end.

trip(Echo) ->
    Start = erlang:monotonic_time(nanosecond),
    Echo ! {self(), Start},
    receive {Echo, Start} -> erlang:monotonic_time(nanosecond) - Start end.

-spec echo() -> no_return().
echo() ->
    receive {From, What} -> From ! {self(), What} end,
    echo().
