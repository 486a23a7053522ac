%% Runs one of OTP's suites, or compiles them all; run.sh calls it, each time on a node
%% of its own.
-module(conformance_suite).

-export([compile/0, run/0]).

%% Plain arguments: the source tree, the directory to compile to, the suites.
compile() ->
    [Tree, To | Suites] = init:get_plain_arguments(),
    Applications = lists:usort([application_of(Suite) || Suite <- Suites]),
    Files = lists:append([helpers(Application) || Application <- Applications])
        ++ [{application_of(Suite), Suite ++ "_SUITE"} || Suite <- Suites],
    Failures = [{Module, Result} || {Application, Module} <- Files,
                                    Result <- [compile(Tree, To, Application, Module)],
                                    not is_tuple(Result) orelse element(1, Result) =/= ok],
    [io:format("~ts does not compile: ~tp~n", [Module, Result]) || {Module, Result} <- Failures],
    halt(length(Failures)).

compile(Tree, To, Application, Module) ->
    Directory = fun(Parts) -> filename:join([Tree, "lib", Application | Parts]) end,
    %% include_lib of a header that no release installs finds it from lib.
    Includes = [Directory(["test"]), Directory(["src"]) | filelib:wildcard(Directory(["src", "*", ""]))]
        %% Headers that are made when OTP is built.
        ++ [filename:join(Tree, "lib"), filename:join(code:lib_dir(public_key), "include")],
    compile:file(Directory(["test", Module]),
                 [debug_info, nowarn_deprecated_function, return_errors, {outdir, To},
                  {parse_transform, conformance_transform} | [{i, Include} || Include <- Includes]]).

application_of("ssl_" ++ _) -> "ssl";
application_of("http" ++ _) -> "inets";
application_of("ssh_" ++ _) -> "ssh";
application_of(_Suite) -> "kernel".

%% The modules that the suites of an application call, and where these are.
helpers("kernel") ->
    [{"kernel", Name} || Name <- ["kernel_test_lib", "kernel_test_sys_monitor",
                                  "kernel_test_global_sys_monitor"]];
helpers("ssl") ->
    [{"ssl", Name} || Name <- ["ssl_test_lib", "x509_test"]];
helpers("inets") ->
    [{"inets", Name} || Name <- ["inets_test_lib", "http_test_lib", "httpd_test_lib", "httpd_1_0",
                                 "httpd_1_1", "httpd_load"]];
helpers("ssh") ->
    [{"ssh", Name} || Name <- ["ssh_test_lib", "ssh_trpt_test_lib", "ssh_test_cli", "ssh_key_cb",
                               "ssh_key_cb_options", "ssh_echo_server", "ssh_log_h",
                               "ssh_peername_sockname_server"]].

%% Plain arguments: suite, its directory, the file of rows, the directory of the logs,
%% backend, seconds for a case, the regular expression that selects cases.
run() ->
    [Suite, Directory, Rows, Logs, Backend, Seconds, Cases] = init:get_plain_arguments(),
    ets:new(conformance, [named_table, public]),
    {ok, _} = application:ensure_all_started(common_test),
    Current = filename:join(Logs, "current"),
    Done = done(Rows),
    Hook = #{backend => list_to_atom(Backend), cases => Cases, done => Done,
             current => Current, case_seconds => list_to_integer(Seconds)},
    Events = #{rows => Rows, current => Current, done => Done},
    open_a_socket(),
    Result = ct:run_test([{dir, Directory}, {suite, list_to_atom(Suite ++ "_SUITE")}, {logdir, Logs},
                          {config, filename:join(Directory, "suites.config")}, {auto_compile, false}, {create_priv_dir, auto_per_run},
                          {ct_hooks, [{conformance_hook, Hook}]},
                          {event_handler, {[conformance_events], Events}}]),
    io:format("~n~tp~n", [Result]),
    %% Without flush: the node would wait for a peer that doesn't read.
    halt(case Result of {error, _Reason} -> 1; _Numbers -> 0 end, [{flush, false}]).

%% The first socket of this backend starts the threads that serve all, which have file
%% descriptors of their own and stay. sendfile_SUITE counts descriptors around each case.
open_a_socket() ->
    {ok, Socket} = gen_tcp:listen(0, []),
    ok = gen_tcp:close(Socket).

%% The rows that are there already, of an earlier node.
done(Rows) ->
    case file:read_file(Rows) of
        {ok, Text} ->
            [{binary_to_list(Suite), binary_to_list(Path)}
             || Row <- binary:split(Text, <<"\n">>, [global]),
                [Suite, Path | _] <- [binary:split(Row, <<"\t">>, [global])]];
        {error, enoent} ->
            []
    end.
