%% Makes the backend under test the default of a node, and of every node that this
%% one starts: OTP's suites talk to peers at once, so the backend has to be there
%% before a peer says that it has started. A boot script of our own sees to that; it
%% reaches the peers by the environment variable ERL_AFLAGS.
-module(conformance_node).

-export([write_boot_script/0, install/0]).

%% Writes the script, given by its name without extension as a plain argument.
write_boot_script() ->
    [Name] = init:get_plain_arguments(),
    {ok, Stock} = file:read_file(filename:join([code:root_dir(), "bin", "start.boot"])),
    {script, Id, Instructions} = binary_to_term(Stock),
    {Before, Started} = lists:splitwith(fun(Step) -> Step =/= {progress, started} end, Instructions),
    Script = {script, Id, Before ++ [{apply, {?MODULE, install, []}} | Started]},
    ok = file:write_file(Name ++ ".boot", term_to_binary(Script)),
    halt(0).

install() ->
    case os:getenv("CONFORMANCE_BACKEND") of
        "rs" ->
            try
                ok = gen_tcp_rs_backend:set_default(rs)
            catch
                Class:Reason:Stack ->
                    %% A node on the wrong backend would only seem to pass.
                    erlang:display({?MODULE, node(), Class, Reason, Stack}),
                    halt(77)
            end;
        _Inet -> ok
    end.
