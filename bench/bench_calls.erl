%% System calls an operation, counted by strace in short runs of their own: under strace times mean nothing.
-module(bench_calls).

-export([skip/0, during/3, counts/3]).

%% Of the calls that are named in the results.
-define(NAMED, 6).

-spec skip() -> false | string().
skip() ->
    case os:find_executable("strace") of
        false -> "no strace on this machine";
        _ -> false
    end.

%% What the processes call while the function runs, which returns the operations that it did.
-spec during([OsPid :: string()], file:filename(), fun(() -> Ops :: pos_integer())) -> #{syscalls := float(), calls := string()}.
during(OsPids, File, Function) ->
    {Ops, Counts} = counts(OsPids, File, Function),
    Most = lists:sublist(lists:reverse(lists:keysort(2, maps:to_list(Counts))), ?NAMED),
    #{syscalls => lists:sum(maps:values(Counts)) / Ops,
      calls => lists:flatten(lists:join(" ", [io_lib:format("~ts:~.2f", [Name, Count / Ops]) || {Name, Count} <- Most]))}.

%% The same by the names of the calls, beside what the function returned.
-spec counts([OsPid :: string()], file:filename(), fun(() -> Result)) -> {Result, #{Name :: string() => pos_integer()}}.
counts(OsPids, File, Function) ->
    _ = file:delete(File),
    Arguments = ["-c", "-f", "-q", "-o", File | lists:append([["-p", Pid] || Pid <- OsPids])],
    Shell = os:find_executable("sh"),
    %% A line or the end of its input ends strace, which then writes its table.
    Script = "strace \"$@\" 2>/dev/null & pid=$!; read line; kill -INT $pid; wait $pid; echo done",
    Strace = open_port({spawn_executable, Shell}, [{args, ["-c", Script, "strace" | Arguments]}, {line, 200}, binary]),
    ok = attached(OsPids, 500),
    Result = Function(),
    true = port_command(Strace, "\n"),
    receive {Strace, {data, {eol, <<"done">>}}} -> ok end,
    _ = try port_close(Strace) catch error:badarg -> true end,
    {Result, table(File)}.

%% A traced process says by whom. Source: proc(5).
attached(_OsPids, 0) ->
    exit(strace_cannot_attach);
attached(OsPids, Left) ->
    case lists:all(fun is_traced/1, OsPids) of
        true -> ok;
        false -> receive after 10 -> attached(OsPids, Left - 1) end
    end.

is_traced(OsPid) ->
    lists:all(fun(Task) ->
                  case file:read_file(filename:join(Task, "status")) of
                      {ok, Status} -> re:run(Status, "TracerPid:\\s*[1-9]") =/= nomatch;
                      {error, _} -> true
                  end
              end, filelib:wildcard("/proc/" ++ OsPid ++ "/task/*")).

table(File) ->
    {ok, Text} = file:read_file(File),
    Line = "^\\s*[0-9.]+\\s+[0-9.]+\\s+[0-9]+\\s+([0-9]+)\\s+(?:[0-9]+\\s+)?([a-z_0-9]+)$",
    {match, Found} = re:run(Text, Line, [global, multiline, {capture, all_but_first, list}]),
    maps:from_list([{Name, list_to_integer(Count)} || [Count, Name] <- Found, Name =/= "total"]).
