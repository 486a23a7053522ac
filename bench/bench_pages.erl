%% The committed pages of a run: docs/benchmarks.md and docs/scale.md from their templates here, and the summary that the pictures are drawn
%% from: a line for each row and backend. Of runs on other releases, if there are any: a page each with the table.
-module(bench_pages).

-export([main/1]).

-define(COLUMNS, ["row", "unit", "backend", "value", "value_low", "value_high", "ratio", "ratio_low", "ratio_high",
                  "p50", "p99", "cpu", "syscalls", "long"]).
-define(TEMPLATE, "bench/benchmarks.md.in").
-define(PAGE, "docs/benchmarks.md").
-define(SCALE_TEMPLATE, "bench/scale.md.in").
-define(SCALE, "docs/scale.md").
-define(FOLDER, "docs/benchmarks").
-define(SUMMARY, ?FOLDER "/summary.csv").

-spec main([file:filename()]) -> no_return().
main([File | Others]) ->
    {About, Measurements} = bench_csv:read(File),
    Rows = bench_statistics:summary(Measurements),
    {ok, Template} = file:read_file(?TEMPLATE),
    [Before, After] = string:split(unicode:characters_to_list(Template), "@results@"),
    Table = bench_report:markdown(About, Rows),
    ok = file:write_file(?PAGE, unicode:characters_to_binary([Before, lists:map(fun other/1, Others), Table, After])),
    ok = file:write_file(?SUMMARY, [[lists:join(",", ?COLUMNS), "\n"] | [line(Row, Backend) || #{backends := Backends} = Row <- Rows,
                                                                                           Backend <- maps:keys(Backends)]]),
    {ok, ScaleTemplate} = file:read_file(?SCALE_TEMPLATE),
    Scale = bench_scale:page(unicode:characters_to_list(ScaleTemplate), Rows),
    ok = file:write_file(?SCALE, unicode:characters_to_binary(Scale)),
    halt(0).

%% Writes the page of a run on another release; the line that leads there.
other(File) ->
    {About, Measurements} = bench_csv:read(File),
    {_, Version} = lists:keyfind("OTP", 1, About),
    [Release | _] = string:split(Version, "."),
    Name = "otp-" ++ Release ++ ".md",
    Title = ["# Benchmarks on OTP ", Release, "\n\nThe rows of [benchmarks.md](../benchmarks.md), where they are explained, on this release.\n\n"],
    Text = [Title, bench_report:markdown(About, bench_statistics:summary(Measurements))],
    ok = file:write_file(filename:join(?FOLDER, Name), unicode:characters_to_binary(Text)),
    ["The same on [OTP ", Release, "](benchmarks/", Name, ").\n\n"].

line(#{row := Name, unit := Unit, backends := Backends, ratios := Ratios}, Backend) ->
    Figures = maps:get(Backend, Backends),
    Known = [Name, Unit, atom_to_list(Backend)] ++ three(maps:find(value, Figures)) ++ three(maps:find(Backend, Ratios))
        ++ [case Figures of #{Key := Value} -> number(Value); _ -> "" end || Key <- [p50, p99, cpu, syscalls, long]],
    [lists:join(",", Known), "\n"].

three({ok, {Low, Median, High}}) -> [number(Median), number(Low), number(High)];
three(error) -> ["", "", ""].

number(Value) -> float_to_list(float(Value), [{decimals, 4}, compact]).
