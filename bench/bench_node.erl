%% The nodes of the benchmark: BEAM processes of their own, without distribution, controlled over their standard input and
%% output. The first half runs where they are started, the second half on them.
-module(bench_node).

-export([start/1, start/2, stop/1, call/4, os_pid/1, cpu/1]).
-export([prepare/0, runtime/0, memory/0, long_schedules/0]).

-export_type([bench_node/0, long_schedule/0]).

-opaque bench_node() :: pid().
%% A process or port that held a scheduler, where it was put in and out, and for how many milliseconds.
-type long_schedule() :: {Where :: term(), Milliseconds :: pos_integer()}.

%% How long a scheduler may be held, in milliseconds.
-define(LONG, 2).
-define(TIMEOUT, 180000).
-define(PAGE, 4096).

%% In the network namespace of that name, or in this one.
-spec start(Namespace :: string() | none) -> bench_node().
start(Namespace) ->
    start(Namespace, []).

-spec start(Namespace :: string() | none, [string()]) -> bench_node().
start(Namespace, Arguments) ->
    Enter = case Namespace of
                none -> "";
                _ -> "ip netns exec " ++ Namespace ++ " "
            end,
    Script = "ulimit -n $(ulimit -H -n) && exec " ++ Enter ++ "erl \"$@\"",
    {ok, Node, _} =
        peer:start_link(#{connection => standard_io,
                          wait_boot => 60000,
                          exec => {os:find_executable("sh"), ["-c", Script, "erl"]},
                          args => ["-boot", "start_clean", "+P", "1000000", "-kernel", "logger_level", "error",
                                   "-pa" | code_path()] ++ Arguments}),
    ok = call(Node, ?MODULE, prepare, []),
    Node.

code_path() ->
    Library = code:lib_dir(),
    [Directory || Directory <- code:get_path(), not lists:prefix(Library, Directory), Directory =/= "."].

-spec stop(bench_node()) -> ok.
stop(Node) ->
    peer:stop(Node).

-spec call(bench_node(), module(), atom(), [term()]) -> term().
call(Node, Module, Function, Arguments) ->
    peer:call(Node, Module, Function, Arguments, ?TIMEOUT).

-spec os_pid(bench_node()) -> string().
os_pid(Node) ->
    call(Node, os, getpid, []).

%% Milliseconds of processor time of all threads, in user and system mode. The scheduler's own account where the kernel shows
%% it: getrusage(2) counts ticks on some kernels, and can be wrong by a factor for threads that wait often. Source: proc(5).
-spec cpu(bench_node()) -> float().
cpu(Node) ->
    Files = filelib:wildcard("/proc/" ++ os_pid(Node) ++ "/task/*/sched"),
    case [Time || File <- Files, {ok, Text} <- [file:read_file(File)], Time <- executed(Text)] of
        [] -> float(call(Node, ?MODULE, runtime, []));
        Times -> lists:sum(Times)
    end.

executed(Text) ->
    case re:run(Text, "sum_exec_runtime\\s*:\\s*([0-9]+[.][0-9]+)", [{capture, all_but_first, list}]) of
        {match, [Milliseconds]} -> [list_to_float(Milliseconds)];
        nomatch -> []
    end.

%%% On the node

-spec prepare() -> ok.
prepare() ->
    {ok, _} = application:ensure_all_started(gen_tcp_rs),
    Self = self(),
    Watcher = spawn(fun() ->
                        true = register(bench_watcher, self()),
                        _ = erlang:system_monitor(self(), [{long_schedule, ?LONG}]),
                        Self ! {self(), ready},
                        watch([])
                    end),
    receive {Watcher, ready} -> ok end.

watch(Seen) ->
    receive
        {monitor, PidOrPort, long_schedule, Info} ->
            watch([{where(PidOrPort, Info), proplists:get_value(timeout, Info)} | Seen]);
        {take, From} ->
            From ! {self(), Seen},
            watch([])
    end.

where(Pid, Info) when is_pid(Pid) ->
    {proplists:get_value(in, Info), proplists:get_value(out, Info)};
where(Port, Info) ->
    {port, erlang:port_info(Port, name), proplists:get_value(port_op, Info)}.

%% Those since the last call.
-spec long_schedules() -> [long_schedule()].
long_schedules() ->
    Watcher = whereis(bench_watcher),
    Watcher ! {take, self()},
    receive {Watcher, Seen} -> Seen end.

%% The same by getrusage(2).
-spec runtime() -> non_neg_integer().
runtime() ->
    {Total, _} = erlang:statistics(runtime),
    Total.

%% Bytes that the VM has allocated, and bytes that the operating system's process has resident, which counts the native
%% library too. Source: proc(5).
-spec memory() -> {Beam :: pos_integer(), Resident :: pos_integer()}.
memory() ->
    _ = [garbage_collect(Pid) || Pid <- processes()],
    {ok, Statm} = file:read_file("/proc/self/statm"),
    [_, Resident | _] = binary:split(Statm, <<" ">>, [global]),
    {erlang:memory(total), binary_to_integer(Resident) * ?PAGE}.
