%% common_test event handler: appends one row for each case to a file as soon as the
%% case has ended, so that nothing is lost with a node that dies. A row is
%% suite, group/case, ok | failed | skipped, seconds and reason, separated by tabs.
-module(conformance_events).
-behaviour(gen_event).

-export([init/1, handle_event/2, handle_call/2]).

-include_lib("common_test/include/ct_event.hrl").

%% rows: the file to append to; current: the file that names the case at work.
%% done: what has a row already.
init(#{rows := _, current := _, done := _} = Options) -> {ok, Options#{started => #{}}}.

handle_event(#event{name = tc_start, data = {_Suite, Case}}, #{started := Started} = State) ->
    {ok, State#{started := Started#{Case => erlang:monotonic_time(millisecond)}}};
handle_event(#event{name = tc_done, data = {Suite, Case, Result}}, #{started := Started} = State) ->
    Now = erlang:monotonic_time(millisecond),
    Seconds = (Now - maps:get(Case, Started, Now)) / 1000,
    row(Suite, Case, result(Result), Seconds, State),
    _ = file:delete(maps:get(current, State)),
    {ok, State#{started := maps:remove(Case, Started)}};
handle_event(#event{name = Skip, data = {Suite, Case, Reason}}, State)
  when Skip =:= tc_auto_skip; Skip =:= tc_user_skip ->
    row(Suite, Case, {skipped, Reason}, 0.0, State),
    {ok, State};
handle_event(_Event, State) ->
    {ok, State}.

handle_call(_Request, State) -> {ok, ok, State}.

result(ok) -> {ok, ""};
result({skipped, Reason}) -> {skipped, Reason};
result({auto_skipped, Reason}) -> {skipped, Reason};
result({failed, Reason}) -> {failed, Reason};
result(Other) -> {failed, Other}.

%% Of the functions around the cases only a failure is of interest. A case that needs
%% what this machine hasn't is skipped before the hook could say that it is done.
row(Suite, Case, {Result, Reason}, Seconds, #{rows := Rows, done := Done}) ->
    Path = lists:flatten(path(Case)),
    Text = text(Reason),
    IsSelected = re:run(Text, "not_selected", [{capture, none}]) =:= nomatch
        andalso not lists:member({atom_to_list(Suite), Path}, Done),
    case IsSelected andalso (is_case(Case) orelse Result =:= failed) of
        true ->
            Row = io_lib:format("~s\t~s\t~s\t~.1f\t~ts~n",
                                [Suite, Path, Result, Seconds, limited(Case, Text)]),
            ok = file:write_file(Rows, unicode:characters_to_binary(Row), [append]);
        false -> ok
    end.

is_case({init_per_group, _}) -> false;
is_case({end_per_group, _}) -> false;
is_case({_, _, _}) -> false;
is_case(init_per_suite) -> false;
is_case(end_per_suite) -> false;
is_case(_Case) -> true.

path(Case) when is_atom(Case) ->
    case ets:lookup(conformance, {path, Case}) of
        [{_, Path}] -> Path;
        [] -> atom_to_list(Case)
    end;
path({Function, Group}) -> io_lib:format("~w/~w", [Group, Function]);
path({Function, Group, _Properties}) -> io_lib:format("~w/~w", [Group, Function]).

limited(Case, Text) ->
    case ets:lookup(conformance, {limit, Case}) of
        [{_, Seconds}] -> io_lib:format("took more than ~w s: ~ts", [Seconds, Text]);
        [] -> Text
    end.

text(Reason) ->
    Text = case io_lib:printable_unicode_list(Reason) of
               true -> Reason;
               false -> io_lib:format("~0tp", [Reason])
           end,
    OneLine = re:replace(Text, "\\s+", " ", [global, unicode, {return, list}]),
    string:slice(OneLine, 0, 1000).
