%% Tables of results, in Markdown.
-module(bench_report).

-export([markdown/2, line/1]).

-spec markdown(bench_csv:about(), [bench_statistics:row_summary()]) -> iodata().
markdown(About, Rows) ->
    [[["- ", Key, ": ", Value, "\n"] || {Key, Value} <- About],
     "\nMedians of the rounds. The ratio says how many times better rs is, with its quartiles. Latencies in us; cpu is\n"
     "us an operation, of both ends together; calls are system calls an operation.\n\n",
     "| row | unit | ", lists:join(" | ", [atom_to_list(Backend) || Backend <- columns(Rows)]),
     " | rs / inet | rs / socket | p50 inet, socket, rs | p99 inet, socket, rs | cpu inet, socket, rs | calls inet, socket, rs |\n",
     "|---|---|", lists:duplicate(length(columns(Rows)), "---|"), "---|---|---|---|---|---|\n",
     [table_line(Row, columns(Rows)) || Row <- Rows],
     long_schedules(Rows)].

columns(Rows) ->
    [Backend || Backend <- [inet, socket, rs, raw, c],
                lists:any(fun(#{backends := Backends}) -> is_map_key(Backend, Backends) end, Rows)].

table_line(#{row := Name, unit := Unit, backends := Backends, ratios := Ratios}, Columns) ->
    ["| ", Name, " | ", Unit, " | ",
     lists:join(" | ", [value(Backend, Backends) || Backend <- Columns]), " | ",
     lists:join(" | ", [ratio(Backend, Ratios) || Backend <- [inet, socket]]), " | ",
     lists:join(" | ", [three(Key, Backends) || Key <- [p50, p99, cpu, syscalls]]), " |\n"].

value(Backend, Backends) ->
    case Backends of
        #{Backend := #{value := {_, Median, _}}} -> number(Median);
        _ -> ""
    end.

ratio(Backend, Ratios) ->
    case Ratios of
        #{Backend := {Low, Median, High}} -> io_lib:format("~.2f (~.2f–~.2f)", [Median, Low, High]);
        _ -> ""
    end.

three(Key, Backends) ->
    case [number(Value) || Backend <- [inet, socket, rs], #{Backend := #{Key := Value}} <- [Backends]] of
        [] -> "";
        Values -> lists:join(", ", Values)
    end.

number(Value) when abs(Value) >= 1.0e5 -> io_lib:format("~bk", [round(Value / 1000)]);
number(Value) when abs(Value) >= 100 -> integer_to_list(round(Value));
number(Value) when abs(Value) >= 10 -> io_lib:format("~.1f", [Value]);
number(Value) -> io_lib:format("~.2f", [Value]).

long_schedules(Rows) ->
    ["\nTimes at which a process or port held a scheduler for 2 ms or more (also when the system took the processor away):\n\n",
     [io_lib:format("- ~ts ~ts: ~b, the longest ~b ms~n", [Name, Backend, round(Long), round(Longest)])
      || #{row := Name, backends := Backends} <- Rows,
         {Backend, #{long := Long, longest := Longest}} <- maps:to_list(Backends), Long > 0]].

%% One row in short, for a terminal.
-spec line(bench_statistics:row_summary()) -> iodata().
line(#{row := Name, unit := Unit, backends := Backends, ratios := Ratios}) ->
    io_lib:format("~-28ts ~-6ts ~ts~ts~ts~ts",
                  [Name, Unit,
                   [io_lib:format(" ~ts ~7ts", [Backend, number(Median)])
                    || Backend <- [inet, socket, rs, raw, c], #{Backend := #{value := {_, Median, _}}} <- [Backends]],
                   [io_lib:format("  /~ts ~.2f (~.2f-~.2f)", [Backend, Median, Low, High])
                    || Backend <- [inet, socket], #{Backend := {Low, Median, High}} <- [Ratios]],
                   [["  p99 ", P99] || P99 <- [three(p99, Backends)], P99 =/= ""],
                   [["  cpu ", Cpu] || Cpu <- [three(cpu, Backends)], Cpu =/= ""]]).
