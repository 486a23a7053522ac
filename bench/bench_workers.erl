%% Client processes that each hold one connection and work until a given time.
-module(bench_workers).

-export([start/2, tell/2, run/3, stop/1]).

-export_type([step/0]).

%% One operation; called again and again with what it returned. `false` ends the worker's run before its time.
-type step() :: fun((State :: term()) -> State :: term()).

-define(AT_ONCE, 64).

%% Starts Count processes, each with the state that Init makes, a limited number of them at a time: the listener's queue
%% must not overflow.
-spec start(non_neg_integer(), fun(() -> term())) -> [pid()].
start(Count, Init) ->
    start(Count, 0, Init, []).

start(0, 0, _Init, Pids) ->
    Pids;
start(Left, Waiting, Init, Pids) when Left > 0, Waiting < ?AT_ONCE ->
    Self = self(),
    Pid = spawn_link(fun() ->
                         State = Init(),
                         Self ! {started, self()},
                         worker(State)
                     end),
    start(Left - 1, Waiting + 1, Init, [Pid | Pids]);
start(Left, Waiting, Init, Pids) ->
    receive {started, _Pid} -> start(Left, Waiting - 1, Init, Pids) end.

worker(State) ->
    receive
        {do, From, Function} ->
            Next = Function(State),
            From ! {done, self()},
            worker(Next);
        {run, From, Step, Deadline, Latencies} ->
            {Next, Ops, End} = loop(Step, State, Deadline, Latencies, 0, erlang:monotonic_time(nanosecond)),
            From ! {ran, self(), Ops, End},
            worker(Next);
        stop ->
            ok
    end.

loop(Step, State, Deadline, Latencies, Ops, Start) ->
    Next = Step(State),
    Now = erlang:monotonic_time(nanosecond),
    ok = bench_latency:record(Latencies, Now - Start),
    case Now < Deadline of
        true -> loop(Step, Next, Deadline, Latencies, Ops + 1, Now);
        false -> {Next, Ops + 1, Now}
    end.

%% Has each worker change its state, and waits until all have.
-spec tell([pid()], fun((term()) -> term())) -> ok.
tell(Pids, Function) ->
    _ = [Pid ! {do, self(), Function} || Pid <- Pids],
    _ = [receive {done, Pid} -> ok end || Pid <- Pids],
    ok.

%% All workers at once, from now until the time is over and each has finished the operation that it was in.
-spec run([pid()], step(), pos_integer()) -> bench_workload:result().
run(Pids, Step, Milliseconds) ->
    Latencies = bench_latency:new(),
    Start = erlang:monotonic_time(nanosecond),
    _ = [Pid ! {run, self(), Step, Start + Milliseconds * 1000000, Latencies} || Pid <- Pids],
    Ran = [receive {ran, Pid, Ops, End} -> {Ops, End} end || Pid <- Pids],
    #{ops => lists:sum([Ops || {Ops, _} <- Ran]),
      ns => lists:max([End || {_, End} <- Ran]) - Start,
      latencies => Latencies}.

%% They end, and with them their connections.
-spec stop([pid()]) -> ok.
stop(Pids) ->
    Monitors = [monitor(process, Pid) || Pid <- Pids],
    _ = [Pid ! stop || Pid <- Pids],
    _ = [receive {'DOWN', Monitor, process, _, normal} -> ok end || Monitor <- Monitors],
    ok.
