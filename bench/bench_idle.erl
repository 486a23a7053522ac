%% What an idle connection costs the node that has accepted it, and how long it takes to close all. Each measurement has a
%% new node: what a node has once allocated it does not give back at once.
-module(bench_idle).

-export([measure/3]).
%% On the nodes.
-export([listen/2, accepted/2, process/0, close/0, connect/3, disconnect/0]).

-define(WARM_UP, 100).
-define(SIZE, 100).

-spec measure(bench_socket:backend(), bench_rows:scene(), bench_run:nodes()) -> [{string(), bench_run:figures()}].
measure(Backend, #{arguments := #{connections := Count, owners := Owners}, rows := Rows}, _Nodes) ->
    {Server, Client} = {bench_node:start(none), bench_node:start(none)},
    try
        Port = bench_node:call(Server, ?MODULE, listen, [Backend, Owners]),
        ok = open(Server, Client, Port, Owners, ?WARM_UP, ?WARM_UP),
        {Beam0, Resident0} = bench_node:call(Server, bench_node, memory, []),
        ok = open(Server, Client, Port, Owners, Count, ?WARM_UP + Count),
        {Beam1, Resident1} = bench_node:call(Server, bench_node, memory, []),
        Process = bench_node:call(Server, ?MODULE, process, []),
        Microseconds = bench_node:call(Server, ?MODULE, close, []),
        ok = bench_node:call(Client, ?MODULE, disconnect, []),
        Beam = (Beam1 - Beam0) / Count,
        Values = #{"beam" => Beam, "beyond-process" => Beam - Process, "rss" => (Resident1 - Resident0) / Count,
                   "close" => Microseconds / 1000},
        [{Name, #{value => maps:get(What, Values)}} || #{name := Name, arguments := #{what := What}} <- Rows]
    after
        ok = bench_node:stop(Server),
        ok = bench_node:stop(Client)
    end.

open(Server, Client, Port, Owners, Count, Total) ->
    ok = bench_node:call(Client, ?MODULE, connect, [Port, Owners, Count]),
    bench_node:call(Server, ?MODULE, accepted, [Total, 60000]).

%%% The server's node

%% One process for all connections, passive, or one for each, which has got one message by {active, once} and waits for more.
-spec listen(bench_socket:backend(), one | each) -> inet:port_number().
listen(Backend, Owners) ->
    Self = self(),
    spawn(fun() ->
              true = register(bench_idle_server, self()),
              Listener = bench_socket:listen(Backend, []),
              Self ! {port, bench_socket:port(Backend, Listener)},
              Manager = self(),
              spawn_link(fun() -> accept_all(Backend, Listener, Owners, Manager) end),
              manage(Owners, [])
          end),
    receive {port, Port} -> Port end.

accept_all(Backend, Listener, Owners, Manager) ->
    case bench_socket:accept(Backend, Listener) of
        {ok, Socket} ->
            ok = give(Socket, Owners, Manager),
            accept_all(Backend, Listener, Owners, Manager);
        {error, closed} ->
            ok
    end.

give(Socket, Owners, Manager) ->
    case Owners of
        one ->
            ok = gen_tcp:controlling_process(Socket, Manager),
            Manager ! {holds, Socket},
            ok;
        each ->
            Owner = spawn(fun() ->
                              receive go -> ok end,
                              ok = inet:setopts(Socket, [{active, once}]),
                              receive {tcp, Socket, <<_:?SIZE/binary>>} -> ok end,
                              ok = inet:setopts(Socket, [{active, once}]),
                              Manager ! {holds, self()},
                              own(Socket)
                          end),
            ok = gen_tcp:controlling_process(Socket, Owner),
            Owner ! go,
            ok
    end.

own(Socket) ->
    receive
        {close, From} -> ok = gen_tcp:close(Socket), From ! {closed, self()};
        {tcp, Socket, Data} -> exit({unexpected, Data})
    end.

%% Holds the sockets themselves, or their owners.
manage(Owners, Held) ->
    receive
        {holds, SocketOrPid} ->
            manage(Owners, [SocketOrPid | Held]);
        {count, From} ->
            From ! {count, length(Held)},
            manage(Owners, Held);
        {process, From} ->
            From ! {process, case Owners of one -> 0; each -> element(2, process_info(hd(Held), memory)) end},
            manage(Owners, Held);
        {close, From} ->
            Start = erlang:monotonic_time(microsecond),
            ok = close_all(Owners, Held),
            From ! {took, erlang:monotonic_time(microsecond) - Start}
    end.

close_all(one, Sockets) ->
    lists:foreach(fun(Socket) -> ok = gen_tcp:close(Socket) end, Sockets);
close_all(each, Pids) ->
    _ = [Pid ! {close, self()} || Pid <- Pids],
    lists:foreach(fun(Pid) -> receive {closed, Pid} -> ok end end, Pids).

%% Waits until so many are there.
-spec accepted(pos_integer(), Milliseconds :: non_neg_integer()) -> ok.
accepted(Total, Left) when Left > 0 ->
    bench_idle_server ! {count, self()},
    receive
        {count, Total} -> ok;
        {count, _} -> receive after 10 -> accepted(Total, Left - 10) end
    end.

%% The bytes of one of the owners.
-spec process() -> non_neg_integer().
process() ->
    bench_idle_server ! {process, self()},
    receive {process, Bytes} -> Bytes end.

-spec close() -> Microseconds :: pos_integer().
close() ->
    bench_idle_server ! {close, self()},
    receive {took, Microseconds} -> Microseconds end.

%%% The client's node, on OTP's own backend

-spec connect(inet:port_number(), one | each, pos_integer()) -> ok.
connect(Port, Owners, Count) ->
    Self = self(),
    spawn(fun() ->
              _ = whereis(bench_idle_client) =:= undefined andalso register(bench_idle_client, self()),
              Sockets = [bench_socket:connect(inet, {127, 0, 0, 1}, Port, []) || _ <- lists:seq(1, Count)],
              _ = [ok = gen_tcp:send(Socket, binary:copy(<<"m">>, ?SIZE)) || Owners =:= each, Socket <- Sockets],
              Self ! {connected, self()},
              receive disconnect -> ok end
          end),
    receive {connected, _} -> ok end.

-spec disconnect() -> ok.
disconnect() ->
    bench_idle_client ! disconnect,
    ok.
