%% Acceptors, and a process for each connection.
-module(bench_server).

-export([start/4, start_accepting/4]).

-define(DEADLINE, 30000).

%% Serves each connection in a process of its own. The stop waits until all have ended by themselves, which they do when
%% the client has closed.
-spec start(bench_socket:backend(), [gen_tcp:listen_option()], pos_integer(), fun((bench_socket:socket()) -> term())) ->
    {inet:port_number(), fun(() -> ok | {error, term()})}.
start(Backend, Options, Acceptors, Handler) ->
    %% Begun, ended, failed.
    Counts = counters:new(3, [atomics]),
    Handle =
        fun(Socket) ->
            Pid = spawn(fun() -> handle(Backend, Handler, Counts) end),
            counters:add(Counts, 1, 1),
            ok = bench_socket:hand_over(Backend, Socket, Pid),
            Pid ! {serve, Socket}
        end,
    {Port, Stop} = start_accepting(Backend, Options, Acceptors, Handle),
    {Port, fun() -> Result = all_ended(Counts, deadline()), ok = Stop(), Result end}.

handle(Backend, Handler, Counts) ->
    receive {serve, Socket} -> ok end,
    try
        _ = Handler(Socket),
        ok = bench_socket:close(Backend, Socket)
    catch
        Class:Reason:Stack ->
            counters:add(Counts, 3, 1),
            erlang:raise(Class, Reason, Stack)
    after
        counters:add(Counts, 2, 1)
    end.

all_ended(Counts, Deadline) ->
    case [counters:get(Counts, Index) || Index <- [1, 2, 3]] of
        [Begun, Begun, 0] -> ok;
        [Begun, Begun, Failed] -> {error, {failed, Failed}};
        _ -> wait_for(fun() -> all_ended(Counts, Deadline) end, Deadline)
    end.

wait_for(Function, Deadline) ->
    case erlang:monotonic_time(millisecond) < Deadline of
        true -> receive after 1 -> Function() end;
        false -> {error, connections_left}
    end.

deadline() ->
    erlang:monotonic_time(millisecond) + ?DEADLINE.

%% Calls the function in the acceptor's own process for each connection.
-spec start_accepting(bench_socket:backend(), [gen_tcp:listen_option()], pos_integer(),
                      fun((bench_socket:socket()) -> term())) ->
    {inet:port_number(), fun(() -> ok)}.
start_accepting(Backend, Options, Acceptors, Handle) ->
    Listener = bench_socket:listen(Backend, Options),
    Pids = [spawn_monitor(fun() -> accept(Backend, Listener, Handle) end) || _ <- lists:seq(1, Acceptors)],
    {bench_socket:port(Backend, Listener),
     fun() ->
         ok = bench_socket:close(Backend, Listener),
         _ = [receive {'DOWN', Monitor, process, Pid, normal} -> ok end || {Pid, Monitor} <- Pids],
         ok
     end}.

accept(Backend, Listener, Handle) ->
    case bench_socket:accept(Backend, Listener) of
        {ok, Socket} -> _ = Handle(Socket), accept(Backend, Listener, Handle);
        {error, closed} -> ok
    end.
