%% Compares the results of one or several runs with what the library wants to reach, and names what falls short. A row falls
%% short when it does in most of the runs.
-module(bench_goals).

-export([main/1, check/1]).

-export_type([verdict/0]).

-type verdict() :: {Goal :: string(), Figure :: string(), reached | short | unknown}.
-type rows() :: #{string() => bench_statistics:row_summary()}.

%% How many times better than the better one of inet and socket.
-define(AT_LEAST,
        [{"pingpong-passive-1", 5.0}, {"pingpong-once-1", 5.0}, {"pingpong-true-1", 5.0}, {"pingpong-packet4-1", 5.0},
         {"pingpong-passive-50", 1.2}, {"pingpong-once-50", 1.2}, {"pingpong-true-50", 1.2}, {"pingpong-packet4-50", 1.2},
         {"pingpong-passive-1000", 1.3}, {"pingpong-once-1000", 1.3}, {"pingpong-true-1000", 1.3}, {"pingpong-packet4-1000", 1.3},
         {"bulk-true", 1.5}, {"bulk-once", 1.5}, {"bulk-active100", 1.5}, {"bulk-recv0", 2.0}, {"bulk-recv65536", 1.2},
         {"bulk-true-buffer", 1.2}, {"bulk-once-buffer", 1.2}, {"bulk-active100-buffer", 1.2}, {"bulk-recv0-buffer", 1.2},
         {"bulk-recv65536-buffer", 1.2},
         {"messages-true-100", 4.0}, {"messages-once-100", 4.0}, {"messages-active100-100", 4.0}, {"messages-passive-100", 4.0},
         {"messages-true-1024", 4.0}, {"messages-once-1024", 4.0}, {"messages-active100-1024", 4.0}, {"messages-passive-1024", 4.0},
         {"iolist-16-parts", 4.0}, {"iolist-3-large", 4.0}, {"connect-close", 2.5}, {"request-line", 1.5}, {"request-http", 1.5}]).
%% Figures of rs that must not be larger.
-define(AT_MOST, [{"idle-one-owner-beam", 0.8 * 1024}, {"idle-one-owner-rss", 1.2 * 1024}, {"idle-owner-each-beyond-process", 0.3 * 1024}]).
%% Share of what C with epoll reaches.
-define(OF_C, [{"bulk-recv65536", 0.9}, {"pingpong-passive-50", 0.7}]).
-define(P99, 1.2).
-define(CPU, 1.1).
-define(IDLE_MAY_COST, 1.05).
-define(MEAN_AGAINST_EACH, 4.0).
-define(MEAN_AGAINST_BEST, 3.0).

%% Files of results, of runs of the same rows.
-spec main([file:filename()]) -> no_return().
main(Files) ->
    Verdicts = check([element(2, bench_csv:read(File)) || File <- Files]),
    _ = [io:format("~-8ts ~-58ts ~ts~n", [string:uppercase(atom_to_list(Verdict)), Goal, Figure])
         || Which <- [short, unknown, reached], {Goal, Figure, Verdict} <- Verdicts, Verdict =:= Which],
    Short = length([short || {_, _, short} <- Verdicts]),
    io:format("~n~b of ~b goals reached, ~b short~n",
              [length([reached || {_, _, reached} <- Verdicts]), length(Verdicts), Short]),
    halt(min(Short, 1)).

-spec check([[bench_csv:measurement()], ...]) -> [verdict()].
check(Runs) ->
    Summaries = [bench_statistics:summary(Run) || Run <- Runs],
    Maps = [maps:from_list([{Name, Row} || #{row := Name} = Row <- Summary]) || Summary <- Summaries],
    Names = [Name || #{row := Name, best := _} <- hd(Summaries)],
    [goal("geometric mean against inet", at_least, ?MEAN_AGAINST_EACH, Maps, fun(Rows) -> mean(inet, Rows) end),
     goal("geometric mean against socket", at_least, ?MEAN_AGAINST_EACH, Maps, fun(Rows) -> mean(socket, Rows) end),
     goal("geometric mean against the better one", at_least, ?MEAN_AGAINST_BEST, Maps, fun(Rows) -> mean(best, Rows) end)]
    ++ [goal(Name ++ ": not under the better one", at_least, 1.0, Maps, fun(Rows) -> upper(best_ratio(Name, Rows)) end)
        || Name <- Names]
    ++ [goal(Name ++ ": against the better one", at_least, Least, Maps, fun(Rows) -> middle(best_ratio(Name, Rows)) end)
        || {Name, Least} <- ?AT_LEAST]
    ++ [goal(Name ++ ": p99 against the lower one", at_most, ?P99, Maps, fun(Rows) -> lower(of_row(best_p99, Name, Rows)) end)
        || Name <- Names, has(best_p99, Name, Maps)]
    ++ [goal(Name ++ ": cpu against the lower one", at_most, ?CPU, Maps, fun(Rows) -> lower(of_row(best_cpu, Name, Rows)) end)
        || Name <- Names, has(best_cpu, Name, Maps)]
    ++ [goal(Name ++ ": bytes", at_most, Most, Maps, fun(Rows) -> figure(Name, rs, value, Rows) end) || {Name, Most} <- ?AT_MOST]
    ++ [goal(Name ++ ": against C", at_least, Least, Maps, fun(Rows) -> middle(ratio(c, Name, Rows)) end) || {Name, Least} <- ?OF_C]
    ++ [goal("9999 idle connections beside a busy one: round trip", at_most, ?IDLE_MAY_COST, Maps,
             fun(Rows) -> quotient(figure("busy-beside-0", rs, value, Rows), figure("busy-beside-9999", rs, value, Rows)) end)]
    ++ [goal("cpu of " ++ Mode ++ " with 1000 connections against 50", at_most, 1.0, Maps,
             fun(Rows) -> quotient(figure("pingpong-" ++ Mode ++ "-1000", rs, cpu, Rows),
                                   figure("pingpong-" ++ Mode ++ "-50", rs, cpu, Rows)) end)
        || Mode <- ["passive", "once", "true", "packet4"]]
    ++ [goal("times that rs held a scheduler for 2 ms", at_most, 0.0, Maps, fun held/1)].

goal(Goal, Kind, Bound, Runs, Figure) ->
    Figures = [Value || Rows <- Runs, Value <- [Figure(Rows)], Value =/= unknown],
    Good = [Value || Value <- Figures, case Kind of at_least -> Value >= Bound; at_most -> Value =< Bound end],
    Word = case Kind of at_least -> "at least"; at_most -> "at most" end,
    {Goal,
     io_lib:format("~ts (~ts ~.2f)", [lists:join(", ", [io_lib:format("~.2f", [Value]) || Value <- Figures]), Word, Bound]),
     if Figures =:= [] -> unknown; 2 * length(Good) > length(Figures) -> reached; true -> short end}.

%% Memory in use and times to close are rows like others.
mean(Against, Rows) ->
    case [Middle || Name <- maps:keys(Rows),
                    Middle <- [middle(case Against of best -> best_ratio(Name, Rows); _ -> ratio(Against, Name, Rows) end)],
                    Middle =/= unknown, Middle > 0] of
        [] -> unknown;
        Values -> bench_statistics:geometric_mean(Values)
    end.

-spec best_ratio(string(), rows()) -> bench_statistics:spread() | unknown.
best_ratio(Name, Rows) ->
    case Rows of
        #{Name := #{best := Best}} -> ratio(Best, Name, Rows);
        _ -> unknown
    end.

ratio(Backend, Name, Rows) ->
    case Rows of
        #{Name := #{ratios := #{Backend := Spread}}} -> Spread;
        _ -> unknown
    end.

has(Key, Name, Runs) ->
    lists:any(fun(Rows) -> of_row(Key, Name, Rows) =/= unknown end, Runs).

of_row(Key, Name, Rows) ->
    case Rows of
        #{Name := #{Key := Spread}} -> Spread;
        _ -> unknown
    end.

figure(Name, Backend, Key, Rows) ->
    case Rows of
        #{Name := #{backends := #{Backend := #{Key := {_, Median, _}}}}} -> Median;
        #{Name := #{backends := #{Backend := #{Key := Value}}}} -> Value;
        _ -> unknown
    end.

held(Rows) ->
    lists:sum([Long || #{backends := #{rs := #{long := Long}}} <- maps:values(Rows)]).

quotient(unknown, _) -> unknown;
quotient(_, unknown) -> unknown;
quotient(Above, Below) -> Above / max(Below, 1.0e-9).

lower(unknown) -> unknown;
lower({Lower, _, _}) -> Lower.

middle(unknown) -> unknown;
middle({_, Middle, _}) -> Middle.

upper(unknown) -> unknown;
upper({_, _, Upper}) -> Upper.
