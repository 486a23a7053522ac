%% The constants and structure layouts that the library was compiled with are those of
%% this machine's C headers.
-module(abi_SUITE).

-include_lib("common_test/include/ct.hrl").

-export([all/0, suite/0, init_per_suite/1, end_per_suite/1]).
-export([every_fact_of_c_is_known_here/1, every_fact_here_is_known_to_c/1, values_agree/1]).

suite() ->
    %% The first run compiles an example program.
    [{timetrap, {minutes, 5}}].

all() ->
    [every_fact_of_c_is_known_here, every_fact_here_is_known_to_c, values_agree].

init_per_suite(Config) ->
    Root = peer_tool:project_root(),
    C = facts(run(peer_tool:program("abi_probe"), [], Root)),
    Rust = facts(run(os:find_executable("cargo"),
                     ["run", "--quiet", "--locked", "--package", "gen_tcp_rs_net",
                      "--example", "constants"], Root)),
    [{c, C}, {rust, Rust} | Config].

end_per_suite(_Config) ->
    ok.

%% Whatever the C probe prints, the Rust side prints too: no fact goes unchecked.
every_fact_of_c_is_known_here(Config) ->
    [] = maps:keys(?config(c, Config)) -- maps:keys(?config(rust, Config)),
    ok.

%% Whatever the library was compiled with is checked against C: a new row of the option
%% table needs its line in the C probe. Only statistics may be newer than the headers.
every_fact_here_is_known_to_c(Config) ->
    Unknown = maps:keys(?config(rust, Config)) -- maps:keys(?config(c, Config)),
    [] = [Name || Name <- Unknown, string:prefix(Name, "tcp_info(") =:= nomatch],
    ok.

%% Both sides say the same of every fact.
values_agree(Config) ->
    #{rust := Rust, c := C} = maps:from_list(Config),
    true = map_size(C) > 200,
    [] = [{Name, {c, Value}, {rust, Other}}
          || {Name, Value} <- maps:to_list(C), {ok, Other} <- [maps:find(Name, Rust)],
             Other =/= Value],
    ok.

facts(Output) ->
    Lines = string:lexemes(Output, "\n"),
    Facts = [list_to_tuple(string:lexemes(Line, " ")) || Line <- Lines],
    Map = maps:from_list(Facts),
    %% No name twice: one of the two would be lost.
    true = map_size(Map) =:= length(Facts),
    Map.

run(Program, Arguments, Folder) ->
    Port = open_port({spawn_executable, Program},
                     [{args, Arguments}, {cd, Folder}, exit_status, hide]),
    run_result(Program, Port, []).

run_result(Program, Port, Output) ->
    receive
        {Port, {data, Data}} -> run_result(Program, Port, [Output, Data]);
        {Port, {exit_status, 0}} -> lists:flatten(Output);
        {Port, {exit_status, Status}} -> ct:fail({Program, Status, lists:flatten(Output)})
    end.
