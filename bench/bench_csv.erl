%% The results of a run as a file: lines `# key: value` about the run, the names of the columns, and a line for each
%% measurement of a row with a backend. A figure that a row does not have is empty.
-module(bench_csv).

-export([create/2, append/5, read/1]).

-export_type([about/0, measurement/0, results/0]).

-type about() :: [{Key :: string(), Value :: string()}].
-type measurement() :: #{row := string(), unit := string(), better := more | less, backend := atom(), round := pos_integer(),
                         value := float(), p50 => float(), p99 => float(), cpu => float(), syscalls => float(),
                         long => float(), longest => float(), holders => string(), calls => string()}.
-type results() :: {about(), [measurement()]}.

-define(COLUMNS, [row, unit, better, backend, round, value, ops, seconds, p50, p99, cpu, long, longest, holders, syscalls, calls]).
-define(TEXTS, [row, unit, holders, calls]).
-define(ATOMS, [better, backend]).

-spec create(file:filename(), about()) -> ok.
create(File, About) ->
    ok = filelib:ensure_dir(File),
    file:write_file(File, [[["# ", Key, ": ", Value, "\n"] || {Key, Value} <- About],
                           lists:join(",", [atom_to_list(Column) || Column <- ?COLUMNS]), "\n"]).

-spec append(file:filename(), bench_rows:row(), bench_socket:backend(), pos_integer(), map()) -> ok.
append(File, Row, Backend, Round, Figures) ->
    #{name := Name, unit := Unit, better := Better} = Row,
    Values = maps:merge(long(Figures), #{row => Name, unit => Unit, better => Better, backend => Backend, round => Round}),
    Line = [text(maps:get(Column, Values, "")) || Column <- ?COLUMNS],
    file:write_file(File, [lists:join(",", Line), "\n"], [append]).

%% How often, for how long at most, and who.
long(#{long := Long} = Figures) ->
    Figures#{long => length(Long),
             longest => lists:max([0 | [Milliseconds || {_Where, Milliseconds} <- Long]]),
             holders => [Char || Char <- lists:append(lists:join("; ", lists:usort([holder(Where) || {Where, _} <- Long]))),
                                Char =/= $,]};
long(Figures) ->
    Figures.

holder({In, Out}) -> lists:flatten(io_lib:format("~ts to ~ts", [place(In), place(Out)]));
holder({port, Name, Operation}) -> lists:flatten(io_lib:format("port ~0p ~0p", [Name, Operation])).

place({Module, Function, Arity}) -> io_lib:format("~ts:~ts/~b", [Module, Function, Arity]);
place(Other) -> io_lib:format("~0p", [Other]).

text(Value) when is_float(Value) -> float_to_list(Value, [{decimals, 4}, compact]);
text(Value) when is_integer(Value) -> integer_to_list(Value);
text(Value) when is_atom(Value) -> atom_to_list(Value);
text(Value) -> Value.

-spec read(file:filename()) -> results().
read(File) ->
    {ok, Bytes} = file:read_file(File),
    {About, [Header | Lines]} = lists:splitwith(fun(Line) -> lists:prefix("#", Line) end, lines(Bytes)),
    Columns = [list_to_atom(Name) || Name <- string:split(Header, ",", all)],
    {[about(Line) || Line <- About], [measurement(Columns, Line) || Line <- Lines]}.

lines(Bytes) ->
    string:split(string:trim(unicode:characters_to_list(Bytes)), "\n", all).

about("# " ++ Line) ->
    [Key, Value] = string:split(Line, ": "),
    {Key, Value}.

measurement(Columns, Line) ->
    maps:from_list([{Column, value(Column, Text)}
                    || {Column, Text} <- lists:zip(Columns, string:split(Line, ",", all)), Text =/= ""]).

value(Column, Text) ->
    case {lists:member(Column, ?TEXTS), lists:member(Column, ?ATOMS)} of
        {true, _} -> Text;
        {_, true} -> list_to_atom(Text);
        _ -> number(Text)
    end.

number(Text) ->
    case string:to_float(Text) of
        {error, no_float} -> float(list_to_integer(Text));
        {Value, ""} -> Value
    end.
