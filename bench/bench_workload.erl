%% What is measured: a module with a server half and a client half.
%%
%% A scene is one server and one client; its rows are measured on it one after another, in each round and for each backend
%% anew. On the server's node `serve` opens a listener, and the function that it returns ends everything and returns `ok` only
%% if nothing went wrong. On the client's node one process calls the other functions in the order open, then for each row
%% prepare and run (twice: to warm up, and measured), then shut.
-module(bench_workload).

-export([start_server/3, stop_server/0, start_client/5, prepare/1, run/2, latencies/0, stop_client/0]).

-export_type([arguments/0, result/0, state/0]).

-type arguments() :: #{atom() => term()}.
-type state() :: term().
%% Operations and the time that they took. `ns` is from the first start to the last end.
-type result() :: #{ops := non_neg_integer(), ns := pos_integer(), latencies => bench_latency:latencies()}.

-callback serve(bench_socket:backend(), arguments()) -> {inet:port_number(), Stop :: fun(() -> ok | {error, term()})}.
-callback open(bench_socket:backend(), inet:ip4_address(), inet:port_number(), arguments()) -> state().
-callback prepare(Row :: arguments(), state()) -> state().
-callback run(Row :: arguments(), Milliseconds :: pos_integer(), state()) -> {result(), state()}.
-callback shut(state()) -> ok.

-define(SETUP, 60000).
-define(FRACTIONS, [0.5, 0.99]).

%%% On the server's node

-spec start_server(module(), bench_socket:backend(), arguments()) -> inet:port_number().
start_server(Module, Backend, Arguments) ->
    Self = self(),
    {Pid, Monitor} =
        spawn_monitor(fun() ->
                          true = register(bench_server, self()),
                          {Port, Stop} = Module:serve(Backend, Arguments),
                          Self ! {self(), Port},
                          receive {stop, From} -> From ! {self(), Stop()} end
                      end),
    answer(Pid, Monitor).

-spec stop_server() -> ok | {error, term()}.
stop_server() ->
    ask(bench_server, stop).

%%% On the client's node

-spec start_client(module(), bench_socket:backend(), inet:ip4_address(), inet:port_number(), arguments()) -> ok.
start_client(Module, Backend, Address, Port, Arguments) ->
    Self = self(),
    {Pid, Monitor} =
        spawn_monitor(fun() ->
                          true = register(bench_client, self()),
                          State = Module:open(Backend, Address, Port, Arguments),
                          Self ! {self(), ok},
                          client(Module, State, none)
                      end),
    answer(Pid, Monitor).

client(Module, State, Latencies) ->
    receive
        {{prepare, Row}, From} ->
            Prepared = Module:prepare(Row, State),
            From ! {self(), ok},
            client(Module, Prepared, none);
        {{run, Row, Milliseconds}, From} ->
            {Result, Next} = Module:run(Row, Milliseconds, State),
            From ! {self(), maps:remove(latencies, Result)},
            client(Module, Next, maps:get(latencies, Result, none));
        {latencies, From} ->
            From ! {self(), Latencies},
            client(Module, State, Latencies);
        {stop, From} ->
            From ! {self(), Module:shut(State)}
    end.

-spec prepare(arguments()) -> ok.
prepare(Row) ->
    ask(bench_client, {prepare, Row}).

-spec run(arguments(), pos_integer()) -> #{ops := non_neg_integer(), ns := pos_integer()}.
run(Row, Milliseconds) ->
    ask(bench_client, {run, Row, Milliseconds}).

%% Percentiles of the last run in microseconds. A call of its own, so that its work does not count as the row's.
-spec latencies() -> #{p50 => float(), p99 => float()}.
latencies() ->
    case ask(bench_client, latencies) of
        none ->
            #{};
        Latencies ->
            [P50, P99] = bench_latency:percentiles(Latencies, ?FRACTIONS),
            #{p50 => P50, p99 => P99}
    end.

-spec stop_client() -> ok.
stop_client() ->
    ask(bench_client, stop).

%%% Both

ask(Name, Question) ->
    Pid = whereis(Name),
    Monitor = monitor(process, Pid),
    Pid ! {Question, self()},
    answer(Pid, Monitor).

answer(Pid, Monitor) ->
    receive
        {Pid, Answer} -> demonitor(Monitor, [flush]), Answer;
        {'DOWN', Monitor, process, Pid, Reason} -> exit(Reason)
    after ?SETUP ->
        Where = process_info(Pid, current_stacktrace),
        exit(Pid, kill),
        exit({no_answer, Where})
    end.
