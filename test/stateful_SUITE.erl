%% Random sequences of calls from several processes on pairs of connected sockets, held against a model
%% (stateful_model), and shrunk when one fails. The same on the driver says that the model is right.
%%
%% Environment: RS_SEQUENCES, how many on gen_tcp_rs (10000). Sequences that once failed are in
%% stateful_SUITE_data/regressions, one Erlang term a line, and are run first.
-module(stateful_SUITE).

-export([suite/0, all/0, groups/0, init_per_group/2, end_per_group/2]).
-export([regressions/1, sequences/1, a_wrong_model_is_seen/1]).
%% proper_statem's.
-export([initial_state/0, command/1, precondition/2, next_state/3, postcondition/3]).
-export([run/1, replay/2]).

%% Sequences that run beside each other.
-define(LANES, 4).

suite() -> [{timetrap, {minutes, 20}}].
all() -> [{group, inet}, {group, rs}].
groups() -> [{Backend, [], [regressions, a_wrong_model_is_seen, sequences]} || Backend <- [inet, rs]].

init_per_group(Group, Config) ->
    case code:ensure_loaded(proper) of
        {module, proper} -> rs_test:init_group(Group, Config);
        _ -> {skip, "PropEr is not installed (Debian: erlang-proper)"}
    end.
end_per_group(Group, Config) -> rs_test:end_group(Group, Config).

backend(Config) -> maps:get(backend, rs_test:context(Config)).

%% Every sequence that ever failed does what the model says.
regressions(Config) ->
    Backend = backend(Config),
    {ok, Sequences} = file:consult(filename:join(proplists:get_value(data_dir, Config), "regressions")),
    Results = [{Sequence, in_lane(fun() -> replay(Backend, Sequence) end)} || Sequence <- Sequences],
    [] = [Failure || {_, Result} = Failure <- Results, Result =/= ok],
    {comment, io_lib:format("~w sequences", [length(Sequences)])}.

%% A prediction that is wrong fails: the sequences do compare.
a_wrong_model_is_seen(Config) ->
    Backend = backend(Config),
    Open = {open, 1, 2, [{active, false}, {packet, 0}]},
    ok = in_lane(fun() -> replay(Backend, [Open, {send, 1, c, 3}, {recv, 2, s, 3, 0}]) end),
    {otherwise, {result, _, expected, _}} =
        in_lane(fun() ->
                        ok = stateful_run:start(Backend),
                        ok = stateful_run:call(Open),
                        ok = stateful_run:call({send, 1, c, 3}),
                        ok = stateful_run:taken_away({s, 1}, 2),
                        stateful_run:call({recv, 2, s, 3, 0})
                end),
    ok.

%% So many random sequences do what the model says, and leave nothing.
sequences(Config) ->
    Backend = backend(Config),
    Count = case {Backend, os:getenv("RS_SEQUENCES")} of
                {inet, _} -> 1000;
                {rs, false} -> 10000;
                {rs, Text} -> list_to_integer(Text)
            end,
    Before = {rs_test:socket_fds(), erlang:system_info(process_count)},
    Lanes = [spawn_monitor(fun() -> exit(lane(Backend, Count div ?LANES)) end) || _ <- lists:seq(1, ?LANES)],
    Results = [receive {'DOWN', Monitor, process, Pid, Result} -> Result end || {Pid, Monitor} <- Lanes],
    [] = [Result || Result <- Results, Result =/= true],
    rs_test:poll(fun() -> {rs_test:socket_fds(), erlang:system_info(process_count)} =< Before end),
    {comment, io_lib:format("~w sequences", [Count])}.

lane(Backend, Count) ->
    put(backend, Backend),
    Property =
        proper:forall(
          proper_statem:commands(?MODULE),
          fun(Commands) ->
                  ok = stateful_run:start(Backend),
                  {History, _, Result} = proper_statem:run_commands(?MODULE, Commands),
                  Stopped = stateful_run:stop(),
                  case {Result, Stopped} of
                      {ok, ok} -> true;
                      _ ->
                          put(failure, {Stopped, Result, [R || {_, R} <- History, R =/= ok]}),
                          false
                  end
          end),
    case proper:quickcheck(Property, [quiet, long_result, {numtests, Count}, {max_size, 30}, {constraint_tries, 500}]) of
        true -> true;
        [Commands] -> {failed, [Call || {set, _, {call, ?MODULE, run, [Call]}} <- Commands], get(failure)};
        Other -> {failed, Other}
    end.

in_lane(Function) ->
    {Pid, Monitor} = spawn_monitor(fun() -> exit(Function()) end),
    receive {'DOWN', Monitor, process, Pid, Result} -> Result end.

replay(Backend, Sequence) ->
    ok = stateful_run:start(Backend),
    Results = replayed(stateful_model:new(Backend), Sequence),
    case {Results, stateful_run:stop()} of
        {ok, Stopped} -> Stopped;
        {Failure, _} -> Failure
    end.

%% What the driver is not asked ends the sequence there.
replayed(_Model, []) -> ok;
replayed(Model, [Call | Calls]) ->
    case stateful_model:enabled(Model, Call) of
        true ->
            case stateful_run:call(Call) of
                ok -> replayed(element(2, stateful_model:step(Model, Call)), Calls);
                Failure -> {Call, Failure}
            end;
        false -> ok
    end.

%%% ---- proper_statem ----

initial_state() -> stateful_model:new(get(backend)).

command(_Model) ->
    {call, ?MODULE, run,
     [proper_types:frequency(
        [{20, {open, worker(), worker(), [{active, mode()}, {packet, packet()}]}},
         {20, {send, worker(), name(), count()}},
         {20, {recv, worker(), name(), proper_types:oneof([0, 0, 0, 1, 2, 5, 100]),
               proper_types:oneof([0, 0, 1, infinity, infinity])}},
         {12, {active, worker(), name(), mode()}},
         {4, {packet, worker(), name(), packet()}},
         {6, {control, worker(), name(), worker()}},
         {3, {close, worker(), name()}},
         {2, {shutdown, worker(), name()}},
         {5, {monitor, worker(), name()}},
         {3, {getopts, worker(), name()}},
         {3, {kill, worker()}}])]}.

worker() -> proper_types:range(1, 3).
name() -> proper_types:oneof([c, s]).
count() -> proper_types:oneof([1, 2, 3, 7, 20, proper_types:range(1, 700)]).
mode() -> proper_types:oneof([false, true, once, 1, 2, 5]).
packet() -> proper_types:oneof([0, 0, 1, 2, 4, line]).

precondition(Model, {call, _, run, [Call]}) -> stateful_model:enabled(Model, Call).
next_state(Model, _Result, {call, _, run, [Call]}) -> element(2, stateful_model:step(Model, Call)).
postcondition(_Model, {call, _, run, _}, Result) -> Result =:= ok.

run(Call) -> stateful_run:call(Call).
