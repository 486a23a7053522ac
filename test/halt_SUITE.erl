%% The end of a node with output queued: an orderly one writes it, one that does not flush ends at once.
-module(halt_SUITE).

-export([suite/0, all/0, groups/0, init_per_group/2, end_per_group/2]).
-export([halt_writes_the_queue/1, stop_writes_the_queue/1, halt_without_flush/1, halt_of_many_writes_all/1,
         crash_ends_at_once/1, signal_ends_at_once/1, halt_with_a_deaf_peer/1, halt_with_a_slow_peer/1]).

%% Run in the node that ends.
-export([child/1]).

%% More than any kernel buffer takes.
-define(BYTES, 8000000).
%% A node that does not wait ends within this.
-define(AT_ONCE, 4000).

suite() -> [{timetrap, {minutes, 2}}].
all() -> [{group, inet}, {group, rs}].
groups() ->
    %% The driver waits without limit for a peer that takes nothing.
    rs_test:groups_of([halt_writes_the_queue, stop_writes_the_queue, halt_without_flush, halt_of_many_writes_all,
                       crash_ends_at_once, signal_ends_at_once],
                      [], [halt_with_a_deaf_peer, halt_with_a_slow_peer]).
init_per_group(Group, Config) -> rs_test:init_group(Group, Config).
end_per_group(Group, Config) -> rs_test:end_group(Group, Config).

%% halt/0 loses nothing that was sent, and the status is the one that was asked for.
halt_writes_the_queue(Config) ->
    {Node, [Peer]} = node_with_queue(Config, 1, halt),
    {?BYTES, closed} = slowly(Peer, 0),
    7 = status(Node),
    ok.

%% init:stop/1 loses nothing that was sent.
stop_writes_the_queue(Config) ->
    {Node, [Peer]} = node_with_queue(Config, 1, stop),
    {?BYTES, closed} = slowly(Peer, 0),
    7 = status(Node),
    ok.

%% The queues of twenty sockets are all written.
halt_of_many_writes_all(Config) ->
    {Node, Peers} = node_with_queue(Config, 20, halt),
    Whole = [{?BYTES, closed} || _ <- Peers],
    Whole = [slowly(Peer, 0) || Peer <- Peers],
    7 = status(Node),
    ok.

%% halt(_, [{flush, false}]) ends at once and loses what is queued.
halt_without_flush(Config) ->
    ends_at_once(Config, halt_without_flush).

%% A halt with a crash dump is no orderly one.
crash_ends_at_once(Config) ->
    ends_at_once(Config, crash).

%% SIGKILL and its like wait for nothing.
signal_ends_at_once(Config) ->
    ends_at_once(Config, kill).

ends_at_once(Config, How) ->
    {Node, [Peer]} = node_with_queue(Config, 1, How),
    {Microseconds, Status} = timer:tc(fun() -> status(Node) end),
    true = Status =/= running,
    true = Microseconds < ?AT_ONCE * 1000,
    {Received, _} = slowly(Peer, 0),
    true = Received < ?BYTES,
    ok.

%% A peer that takes nothing keeps the node for five seconds and no longer.
halt_with_a_deaf_peer(Config) ->
    {Node, [Peer]} = node_with_queue(Config, 1, halt),
    {Microseconds, 7} = timer:tc(fun() -> status(Node) end),
    true = Microseconds > 4000000 andalso Microseconds < 15000000,
    {Received, _} = slowly(Peer, 0),
    true = Received < ?BYTES,
    ok.

%% A peer that takes a little at a time is no deaf one: for eight seconds nothing leaves the queue, and all is written.
halt_with_a_slow_peer(Config) ->
    {Node, [Peer]} = node_with_queue(Config, 1, halt),
    Count = lists:sum([begin
                           {ok, Data} = gen_tcp:recv(Peer, 65536),
                           receive after 1000 -> byte_size(Data) end
                       end || _ <- lists:seq(1, 8)]),
    {?BYTES, closed} = slowly(Peer, Count),
    7 = status(Node),
    ok.

%%% ---- the node that ends ----

%% A node with this many connections to us, output queued on each, that ends in the way named.
node_with_queue(Config, Count, How) ->
    #{backend := Backend} = Context = rs_test:context(Config),
    Listen = rs_test:listen(Context#{backend := inet}, [{recbuf, 16384}]),
    {_, Port} = rs_test:address_of(Listen),
    Arguments = ["-noinput", "-pa", filename:dirname(code:which(gen_tcp_rs)), filename:dirname(code:which(?MODULE)),
                 "-s", atom_to_list(?MODULE), "child", atom_to_list(Backend), integer_to_list(Port),
                 integer_to_list(Count), atom_to_list(How)],
    Erl = filename:join([code:root_dir(), "bin", "erl"]),
    Node = open_port({spawn_executable, Erl},
                     [{args, Arguments}, {env, [{"ERL_CRASH_DUMP_SECONDS", "0"}]}, exit_status, stderr_to_stdout,
                      binary]),
    Peers = [rs_test:accept(Listen) || _ <- lists:seq(1, Count)],
    ok = gen_tcp:close(Listen),
    {Node, Peers}.

-spec child([atom()]) -> no_return().
child([Backend, Port, Count, How]) ->
    {ok, _} = application:ensure_all_started(gen_tcp_rs),
    Number = list_to_integer(atom_to_list(Port)),
    Data = binary:copy(<<"x">>, ?BYTES),
    _ = [begin
             {ok, Socket} = gen_tcp:connect({127, 0, 0, 1}, Number, [{inet_backend, Backend}, binary, {active, false}]),
             ok = gen_tcp:send(Socket, Data)
         end || _ <- lists:seq(1, list_to_integer(atom_to_list(Count)))],
    case How of
        halt -> erlang:halt(7);
        stop -> init:stop(7), receive never -> ok end;
        halt_without_flush -> erlang:halt(7, [{flush, false}]);
        crash -> erlang:halt("on purpose");
        kill -> os:cmd("kill -9 " ++ os:getpid()), receive never -> ok end
    end.

status(Node) ->
    receive {Node, {exit_status, Status}} -> Status after 30000 -> running end.

%% Reads in pieces with pauses, so that the window is nearly always shut.
slowly(Peer, Count) ->
    case gen_tcp:recv(Peer, 0, 30000) of
        {ok, Data} ->
            Count rem 64 =:= 0 andalso receive after 1 -> ok end,
            slowly(Peer, Count + byte_size(Data));
        {error, Reason} ->
            {Count, Reason}
    end.
