%% A node of its own for a test, with its own limit of open files and nothing of the driver's between
%% it and the test: it is talked to over its standard input and output.
-module(rs_peer).

-export([start/0, start/1, stop/1, call/2, call/3, limit/1]).

-export_type([node_under_test/0]).

-opaque node_under_test() :: pid().

-define(DEADLINE, 120000).

-spec start() -> node_under_test().
start() ->
    start(20000).

%% With this soft limit of open files, or the hard limit where that is lower.
-spec start(pos_integer()) -> node_under_test().
start(Files) ->
    Shell = os:find_executable("sh"),
    Limit = integer_to_list(Files),
    Script = "ulimit -n " ++ Limit ++ " 2>/dev/null || ulimit -n $(ulimit -Hn); exec erl \"$@\"",
    {ok, Peer, _} =
        peer:start_link(#{connection => standard_io,
                          wait_boot => 60000,
                          exec => {Shell, ["-c", Script, "erl"]},
                          args => ["+P", "200000", "-kernel", "logger_level", "critical", "-pa" | code_path()]}),
    Peer.

%% Without what every node has: only where the project and its tests lie.
code_path() ->
    Library = code:lib_dir(),
    [Directory || Directory <- code:get_path(), not lists:prefix(Library, Directory), Directory =/= "."].

-spec stop(node_under_test()) -> ok.
stop(Peer) ->
    peer:stop(Peer).

%% Runs the function there.
-spec call(node_under_test(), fun(() -> Result)) -> Result.
call(Peer, Function) ->
    call(Peer, Function, ?DEADLINE).

-spec call(node_under_test(), fun(() -> Result), timeout()) -> Result.
call(Peer, Function, Timeout) ->
    peer:call(Peer, erlang, apply, [Function, []], Timeout).

%% The soft limit of open files of that node.
-spec limit(node_under_test()) -> non_neg_integer().
limit(Peer) ->
    call(Peer, fun() ->
                       {ok, Limits} = file:read_file("/proc/self/limits"),
                       {match, [Soft]} = re:run(Limits, "Max open files +([0-9]+)", [{capture, all_but_first, list}]),
                       list_to_integer(Soft)
               end).
