%% Runs in the node of an application that no one here wrote. Before the application
%% starts it puts the backend in place and makes sure of it; then it writes, ten times a
%% second, how many sockets the node has by what implements them.
-module(ecosystem_probe).

-export([start/0]).

-define(MILLISECONDS, 100).

%% From the command line, `-run ecosystem_probe start': what follows there waits for it.
-spec start() -> ok.
start() ->
    try
        ok = backend(os:getenv("ECOSYSTEM_BACKEND"))
    catch
        Class:Reason:Stack ->
            %% A node on the wrong backend would only seem to pass.
            erlang:display({?MODULE, Class, Reason, Stack}),
            halt(77)
    end,
    File = os:getenv("ECOSYSTEM_PROBE"),
    _ = spawn(fun() -> watch(File, {0, 0}) end),
    ok.

-spec backend(string() | false) -> ok.
backend("rs") ->
    {ok, _} = application:ensure_all_started(gen_tcp_rs),
    rs = gen_tcp_rs_backend:default(),
    ok;
backend("inet") ->
    ok.

-spec watch(file:filename(), {non_neg_integer(), non_neg_integer()}) -> no_return().
watch(File, {PeakRs0, PeakInet0}) ->
    Rs = rs_sockets(),
    Inet = length([Port || Port <- erlang:ports(), is_application_socket(Port)]),
    {PeakRs, PeakInet} = Peaks = {max(PeakRs0, Rs), max(PeakInet0, Inet)},
    Line = io_lib:format("rs ~b inet ~b peak_rs ~b peak_inet ~b~n", [Rs, Inet, PeakRs, PeakInet]),
    ok = file:write_file(File ++ ".new", Line, [raw]),
    ok = file:rename(File ++ ".new", File),
    ok = describe(filename:dirname(File)),
    timer:sleep(?MILLISECONDS),
    watch(File, Peaks).

%% On demand, what the sockets are and where their owners are.
-spec describe(file:filename()) -> ok.
describe(Directory) ->
    case file:delete(filename:join(Directory, "describe")) of
        ok ->
            Sockets = [{Socket, catch inet:peername(Socket), catch inet:getopts(Socket, [active]),
                        catch inet:info(Socket)}
                       || Socket <- [Port || Port <- erlang:ports(), is_application_socket(Port)]
                              ++ try gen_tcp_rs:which_sockets() catch error:undef -> [] end],
            Owners = [{Pid, erlang:process_info(Pid, [current_stacktrace, message_queue_len])}
                      || {_, _, _, #{owner := Pid}} <- Sockets],
            file:write_file(filename:join(Directory, "left.sockets"),
                            io_lib:format("~p~n~p~n", [Sockets, Owners]));
        {error, _NotAsked} ->
            ok
    end.

-spec rs_sockets() -> non_neg_integer().
rs_sockets() ->
    case erlang:module_loaded(gen_tcp_rs_nif) of
        true -> length(gen_tcp_rs:which_sockets());
        false -> 0
    end.

%% A TCP port of the C driver that is neither Erlang's distribution nor its name service.
-spec is_application_socket(port()) -> boolean().
is_application_socket(Port) ->
    case {erlang:port_info(Port, name), erlang:port_info(Port, connected)} of
        {{name, "tcp_inet"}, {connected, Owner}} ->
            not lists:member(Owner, [whereis(net_kernel), whereis(erl_epmd)])
                andalso not lists:keymember(Port, 2, erlang:system_info(dist_ctrl));
        _OtherOrGone ->
            false
    end.
