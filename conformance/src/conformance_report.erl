%% Compares the rows of rs with those of inet: what passes on inet has to pass on rs,
%% but for the exceptions.
-module(conformance_report).

-export([main/0]).

-record(row, {suite, path, result, reason}).

%% Plain arguments: the exceptions, inet's rows, rs's rows, rs's rows of cases that did
%% not pass at once, the regular expression that selects cases, the suites.
main() ->
    [ExceptionsFile, InetFile, RsFile, FirstFile, Cases | Names] = init:get_plain_arguments(),
    Suites = [Name ++ "_SUITE" || Name <- Names],
    {ok, Exceptions} = file:consult(ExceptionsFile),
    Inet = [Row || Row <- rows(InetFile), lists:member(Row#row.suite, Suites), is_selected(Row, Cases)],
    Rs = [Row || Row <- rows(RsFile), Row#row.result =:= "failed" orelse is_selected(Row, Cases)],
    Judged = judge(Inet, Rs, Exceptions),
    table(Inet, Rs, Judged),
    repeated(rows(FirstFile), Rs),
    details(Judged),
    superfluous(Exceptions, Rs),
    Failed = length([Row || {failed, Row} <- Judged]),
    Passed = length([Row || {passed, Row} <- Judged]),
    io:format("~n~w passed, ~w failed, ~w skipped~n", [Passed, Failed, length(Judged) - Passed - Failed]),
    halt(if Failed > 0; Passed =:= 0 -> 1; true -> 0 end).

%% Of what is not selected only a failure counts, as that of a whole group.
is_selected(#row{path = Path}, Cases) ->
    re:run(Path, Cases, [{capture, none}]) =:= match.

rows(File) ->
    {ok, Text} = file:read_file(File),
    [#row{suite = Suite, path = Path, result = Result, reason = Reason}
     || Line <- string:split(unicode:characters_to_list(Text), "\n", all),
        [Suite, Path, Result, _Seconds, Reason] <- [string:split(Line, "\t", all)]].

%% The rows of rs, and of inet where rs has none, each with its verdict.
judge(Inet, Rs, Exceptions) ->
    Missing = [Row#row{result = "failed", reason = "the case was not run"}
               || Row <- Inet, find(Row, Rs) =:= false, Row#row.result =/= "failed"],
    [{verdict(Row, find(Row, Inet), exception(Row, Exceptions)), Row} || Row <- Rs ++ Missing].

verdict(#row{result = "ok"}, _Inet, _Exception) -> passed;
verdict(_Row, _Inet, {exception, Reason}) -> {excepted, Reason};
verdict(#row{result = "skipped"}, #row{result = "ok"}, none) -> failed;
verdict(#row{result = "skipped"}, _Inet, none) -> skipped;
verdict(#row{result = "failed"}, #row{result = "failed"}, none) -> failed_on_both;
verdict(#row{result = "failed"}, _Inet, none) -> failed.

find(#row{suite = Suite, path = Path}, Rows) ->
    case [Row || Row = #row{suite = S, path = P} <- Rows, S =:= Suite, P =:= Path] of
        [Row | _] -> Row;
        [] -> false
    end.

exception(Row, Exceptions) ->
    case [Reason || {Suite, Case, Reason} <- Exceptions, is_case(Row, Suite, Case)] of
        [Reason | _] -> {exception, Reason};
        [] -> none
    end.

is_case(#row{suite = Suite, path = Path}, ExceptionSuite, Case) ->
    Suite =:= atom_to_list(ExceptionSuite)
        andalso lists:last(string:split(Path, "/", all)) =:= atom_to_list(Case).

table(Inet, Rs, Judged) ->
    io:format("~n~-22s ~20s ~20s~n", ["", "inet", "rs"]),
    Line = "~-22s ~6s ~6s ~6s ~6s ~6s ~6s ~11s~n",
    io:format(Line, ["suite", "ok", "failed", "skip", "ok", "failed", "skip", "unexpected"]),
    Suites = lists:uniq([Row#row.suite || Row <- Inet ++ Rs]),
    [io:format(Line, [Name | [integer_to_list(N) || N <- numbers(Is, Inet, Rs, Judged)]])
     || {Name, Is} <- [{Suite, fun(Row) -> Row#row.suite =:= Suite end} || Suite <- Suites]
            ++ [{"total", fun(_Row) -> true end}]],
    ok.

numbers(Is, Inet, Rs, Judged) ->
    [length([Row || Row <- Rows, Is(Row), Row#row.result =:= Result])
     || Rows <- [Inet, Rs], Result <- ["ok", "failed", "skipped"]]
        ++ [length([Row || {failed, Row} <- Judged, Is(Row)])].

repeated(First, Rs) ->
    [io:format("~nDid not fail when repeated, ~ts ~ts. At first:~n    ~ts~n", [S, P, Reason])
     || Row = #row{suite = S, path = P, reason = Reason} <- First,
        case find(Row, Rs) of false -> true; #row{result = Result} -> Result =/= "failed" end],
    ok.

details(Judged) ->
    [io:format("~nFAILED ~ts ~ts: ~ts~n    ~ts~n", [S, P, Result, Reason])
     || {failed, #row{suite = S, path = P, result = Result, reason = Reason}} <- Judged],
    [io:format("~nException, ~ts ~ts: ~ts~n", [S, P, Reason])
     || {{excepted, Reason}, #row{suite = S, path = P}} <- Judged],
    [io:format("~nFailed on inet too, ~ts ~ts~n", [S, P])
     || {failed_on_both, #row{suite = S, path = P}} <- Judged],
    ok.

superfluous(Exceptions, Rs) ->
    [io:format("~nThe exception ~w:~w is not needed: the case passes.~n", [Suite, Case])
     || {Suite, Case, _Reason} <- Exceptions, #row{result = "ok"} = Row <- Rs, is_case(Row, Suite, Case)],
    ok.
