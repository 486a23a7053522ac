%% Measures one scene with one backend once.
-module(bench_run).

-export([scene/3, calls/4]).

-export_type([nodes/0, figures/0]).

%% The two ends of a link, and the address of the server there.
-type nodes() :: #{server := bench_node:bench_node(), client := bench_node:bench_node(), address := inet:ip4_address(),
                   relay => port()}.

%% What one measurement of a row gave. Latencies in microseconds; cpu is that of both nodes, microseconds an operation;
%% `long` are the times at which a scheduler was held.
-type figures() :: #{value := float(), ops => non_neg_integer(), seconds => float(), p50 => float(), p99 => float(),
                     cpu => float(), long => [bench_node:long_schedule()]}.

-define(WARM_UP, 60).
-define(MILLISECONDS, 250).
%% Under strace.
-define(TRACED, 100).

-spec scene(bench_socket:backend(), bench_rows:scene(), nodes()) -> [{Row :: string(), figures()}].
scene(c, Scene, _Nodes) ->
    bench_limit:measure(Scene);
scene(Backend, #{custom := true, measure := Module} = Scene, Nodes) ->
    Module:measure(Backend, Scene, Nodes);
scene(Backend, Scene, Nodes) ->
    rows(Backend, Scene, Nodes, fun row/3).

%% System calls an operation, instead. File is for strace to write to.
-spec calls(bench_socket:backend(), bench_rows:scene(), nodes(), file:filename()) -> [{Row :: string(), map()}].
calls(c, _Scene, _Nodes, _File) ->
    [];
calls(_Backend, #{custom := true}, _Nodes, _File) ->
    [];
calls(Backend, Scene, Nodes, File) ->
    rows(Backend, Scene, Nodes, fun(Row, Server, Client) -> row_calls(Row, Server, Client, File) end).

rows(Backend, #{measure := Module, arguments := Arguments, rows := Rows}, Nodes, Measure) ->
    #{server := Server, client := Client, address := Address} = Nodes,
    Port = bench_node:call(Server, bench_workload, start_server, [Module, Backend, Arguments]),
    ok = bench_node:call(Client, bench_workload, start_client, [Module, Backend, Address, Port, Arguments]),
    Figures = [{Name, Measure(Row, Server, Client)} || #{name := Name, backends := Backends} = Row <- Rows,
                                                       lists:member(Backend, Backends)],
    ok = bench_node:call(Client, bench_workload, stop_client, []),
    ok = bench_node:call(Server, bench_workload, stop_server, []),
    Figures.

row_calls(Row, Server, Client, File) ->
    Arguments = maps:get(arguments, Row, #{}),
    ok = bench_node:call(Client, bench_workload, prepare, [Arguments]),
    _ = bench_node:call(Client, bench_workload, run, [Arguments, ?WARM_UP]),
    bench_calls:during([bench_node:os_pid(Node) || Node <- lists:usort([Server, Client])], File,
                       fun() ->
                           #{ops := Ops} = bench_node:call(Client, bench_workload, run, [Arguments, ?TRACED]),
                           Ops
                       end).

row(Row, Server, Client) ->
    Arguments = maps:get(arguments, Row, #{}),
    ok = bench_node:call(Client, bench_workload, prepare, [Arguments]),
    _ = bench_node:call(Client, bench_workload, run, [Arguments, ?WARM_UP]),
    Nodes = lists:usort([Server, Client]),
    _ = on_all(Nodes, long_schedules),
    Before = cpu(Nodes),
    #{ops := Ops, ns := Nanoseconds} =
        bench_node:call(Client, bench_workload, run, [Arguments, maps:get(milliseconds, Row, ?MILLISECONDS)]),
    Runtime = cpu(Nodes) - Before,
    Long = lists:append(on_all(Nodes, long_schedules)),
    maps:merge(bench_node:call(Client, bench_workload, latencies, []),
               #{value => Ops * maps:get(factor, Row, 1.0) * 1.0e9 / Nanoseconds,
                 ops => Ops,
                 seconds => Nanoseconds / 1.0e9,
                 cpu => Runtime * 1000 / Ops,
                 long => Long}).

on_all(Nodes, Function) ->
    [bench_node:call(Node, bench_node, Function, []) || Node <- Nodes].

cpu(Nodes) ->
    lists:sum([bench_node:cpu(Node) || Node <- Nodes]).
