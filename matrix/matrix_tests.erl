%% Compiles the project and its tests on the release at hand and runs them, where
%% neither rebar3 nor a Rust compiler is. A CT hook too: it says what failed, and why.
-module(matrix_tests).

-export([compile/0, run/0]).
%% About the Rust code and its crates: they need cargo, and no release of OTP changes what they find.
-define(ABOUT_RUST, ["abi_SUITE", "library_SUITE"]).

-export([init/2, on_tc_fail/4, on_tc_skip/4]).

%% Plain arguments: pairs of a folder of sources and one for modules, those of the
%% application first; its options are the ones in rebar.config.
-spec compile() -> no_return().
compile() ->
    {ok, Settings} = file:consult("rebar.config"),
    Options = proplists:get_value(erl_opts, Settings),
    case init:get_plain_arguments() of
        [From, To] ->
            compile_all(From, To, Options);
        [From, To, FromTests, ToTests] ->
            compile_all(From, To, Options),
            compile_all(FromTests, ToTests, [debug_info])
    end,
    halt(0).

compile_all(From, To, Options) ->
    [case compile:file(File, [{outdir, To}, report | Options]) of
         {ok, _Module} -> ok;
         error -> io:format("matrix: ~ts does not compile~n", [File]), halt(1)
     end || File <- filelib:wildcard(filename:join(From, "*.erl"))].

%% Plain arguments: the folder of modules, that of logs, the names of suites, all if none.
-spec run() -> no_return().
run() ->
    [Directory, Logs | Names] = init:get_plain_arguments(),
    Suites = case Names of
                 [] -> [filename:basename(File, ".beam")
                        || File <- filelib:wildcard(filename:join(Directory, "*_SUITE.beam"))] -- ?ABOUT_RUST;
                 _ -> [Name ++ "_SUITE" || Name <- Names]
             end,
    {ok, _} = application:ensure_all_started(common_test),
    Results = [suite(Directory, Logs, list_to_atom(Suite)) || Suite <- Suites],
    {Passed, Failed, Skipped} =
        lists:foldl(fun({Ok, Bad, {User, Auto}}, {P, F, S}) -> {P + Ok, F + Bad + Auto, S + User};
                       ({error, _}, {P, F, S}) -> {P, F + 1, S}
                    end, {0, 0, 0}, Results),
    io:format("matrix: OTP ~ts: ~w passed, ~w failed, ~w skipped~n", [version(), Passed, Failed, Skipped]),
    halt(min(Failed, 1), [{flush, false}]).

suite(Directory, Logs, Suite) ->
    Start = erlang:monotonic_time(second),
    Result = silently(fun() ->
        ct:run_test([{dir, Directory}, {suite, Suite}, {logdir, Logs}, {auto_compile, false},
                     {ct_hooks, [?MODULE]}, {verbosity, 0}, {basic_html, true}])
    end),
    io:format("matrix: ~ts: ~0p (~w s)~n", [Suite, Result, erlang:monotonic_time(second) - Start]),
    Result.

%% common_test writes to the group leader of its caller, at length.
silently(Function) ->
    {Pid, Monitor} = spawn_monitor(fun() ->
        group_leader(spawn(fun silence/0), self()),
        exit({result, Function()})
    end),
    receive
        {'DOWN', Monitor, process, Pid, {result, Result}} -> Result;
        {'DOWN', Monitor, process, Pid, Reason} -> {error, Reason}
    end.

silence() ->
    receive
        {io_request, From, As, {put_chars, _, _}} -> From ! {io_reply, As, ok};
        {io_request, From, As, {put_chars, _, _, _, _}} -> From ! {io_reply, As, ok};
        {io_request, From, As, _} -> From ! {io_reply, As, {error, request}};
        _ -> ok
    end,
    silence().

version() ->
    Release = erlang:system_info(otp_release),
    {ok, Version} = file:read_file(filename:join([code:root_dir(), "releases", Release, "OTP_VERSION"])),
    string:trim(Version).

%%% The hook

init(_Id, _Options) ->
    {ok, none}.

on_tc_fail(Suite, Case, Reason, State) ->
    say("FAILED ~ts:~tp~n    ~tP~n", [Suite, Case, Reason, 40]),
    State.

on_tc_skip(Suite, Case, {Kind, Reason}, State) ->
    say("~ts ~ts:~0tp: ~0tP~n", [Kind, Suite, Case, Reason, 12]),
    State.

say(Format, Arguments) ->
    io:format(user, "matrix: " ++ Format, Arguments).
