%% Fills in what bench/scale.md.in asks for: `@BACKEND WHAT ROW@` is a figure of a row, or what follows from it.
-module(bench_scale).

-export([page/2]).

-define(MILLION, 1.0e6).
-define(BLOCK, 65536).
%% 40 Gbit/s in bytes.
-define(FORTY, 5.0e9).
%% How many connections the rows of idle ones have.
-define(IDLE, 10000).

-spec page(string(), [bench_statistics:row_summary()]) -> iodata().
page(Template, Rows) ->
    fill(string:split(Template, "@", all), Rows).

%% Every second part is a question.
fill([Text, Question | Parts], Rows) ->
    [Backend, What, Row] = string:lexemes(Question, " "),
    [Text, answer(What, list_to_atom(Backend), Row, Rows) | fill(Parts, Rows)];
fill([Text], _Rows) ->
    [Text].

answer(What, Backend, Name, Rows) ->
    case [Figures || #{row := Row, backends := #{Backend := Figures}} <- Rows, Row =:= Name] of
        [#{value := {_, Value, _}} = Figures] -> shown(figure(What, Value, maps:get(cpu, Figures, none)));
        [] -> "not measured"
    end.

figure("value", Value, _Cpu) -> Value;
figure("gib", Bytes, _Cpu) -> Bytes * ?MILLION / (1 bsl 30);
figure("closing", Milliseconds, _Cpu) -> Milliseconds / 1000 * ?MILLION / ?IDLE;
figure(_What, _Value, none) -> none;
%% Microseconds an operation from here on.
figure("cpu", _Value, Cpu) -> Cpu;
figure("minute", _Value, Cpu) -> Cpu / ?MILLION * ?MILLION / 60;
figure("ten", _Value, Cpu) -> 10 * Cpu;
figure("gigabits", _Value, Cpu) -> ?FORTY / ?BLOCK * Cpu / ?MILLION.

shown(none) -> "not measured";
shown(Figure) when Figure >= 100 -> integer_to_list(round(Figure));
shown(Figure) -> io_lib:format("~.1f", [Figure]).
