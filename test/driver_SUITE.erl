%% The schedulers wait for the sockets: while a port of the library's driver is open, and the
%% poller's thread where there is none.
-module(driver_SUITE).

-export([all/0, suite/0, init_per_testcase/2, end_per_testcase/2]).
-export([a_poller_has_a_port/1, traffic_goes_on_without_the_port/1, traffic_goes_on_without_the_process/1,
         the_switch_leaves_it_to_the_thread/1, a_stop_takes_the_ports/1,
         the_thread_rests/1, a_command_that_names_no_poller_is_refused/1, the_header_says_the_same/1]).

suite() ->
    [{timetrap, {minutes, 1}}].

all() ->
    [a_poller_has_a_port, traffic_goes_on_without_the_port, traffic_goes_on_without_the_process,
     the_switch_leaves_it_to_the_thread, a_stop_takes_the_ports, the_thread_rests,
     a_command_that_names_no_poller_is_refused, the_header_says_the_same].

init_per_testcase(_Case, Config) ->
    {ok, _} = application:ensure_all_started(gen_tcp_rs),
    Config.

end_per_testcase(_Case, _Config) ->
    ok = application:unset_env(gen_tcp_rs, scheduler_poll),
    ok = application:stop(gen_tcp_rs),
    {ok, _} = application:ensure_all_started(gen_tcp_rs),
    ok.

%% Each poller has one port, owned by the supervised process, from its first socket on.
a_poller_has_a_port(_Config) ->
    Pair = pair(),
    [Port] = until(fun ports/0, fun(Ports) -> Ports =/= [] end),
    {connected, Owner} = erlang:port_info(Port, connected),
    Owner = whereis(gen_tcp_rs_driver),
    echo(Pair, 100),
    close(Pair).

%% A port that somebody closes loses nothing of what is under way, and comes back.
traffic_goes_on_without_the_port(_Config) ->
    Pair = pair(),
    [Port] = until(fun ports/0, fun(Ports) -> Ports =/= [] end),
    Driver = whereis(gen_tcp_rs_driver),
    Talker = talk(Pair),
    true = exit(Port, kill),
    _ = until(fun ports/0, fun(Ports) -> length(Ports) =:= 1 andalso Ports =/= [Port] end),
    true = whereis(gen_tcp_rs_driver) =/= Driver,
    hang_up(Talker),
    close(Pair).

%% The same if the process that owns it is killed, many times.
traffic_goes_on_without_the_process(_Config) ->
    Pair = pair(),
    Talker = talk(Pair),
    lists:foreach(fun(_) ->
                      Driver = until(fun() -> whereis(gen_tcp_rs_driver) end, fun is_pid/1),
                      true = exit(Driver, kill),
                      _ = until(fun() -> whereis(gen_tcp_rs_driver) end,
                                fun(New) -> is_pid(New) andalso New =/= Driver end),
                      _ = until(fun ports/0, fun(Ports) -> length(Ports) =:= 1 end)
                  end, lists:seq(1, 5)),
    hang_up(Talker),
    close(Pair).

%% `{scheduler_poll, false}`: no port, and everything works.
the_switch_leaves_it_to_the_thread(_Config) ->
    ok = application:stop(gen_tcp_rs),
    ok = application:set_env(gen_tcp_rs, scheduler_poll, false),
    {ok, _} = application:ensure_all_started(gen_tcp_rs),
    Pair = pair(),
    echo(Pair, 100),
    undefined = whereis(gen_tcp_rs_driver),
    [] = ports(),
    close(Pair).

%% A stopped application leaves no port, however often it is started and stopped.
a_stop_takes_the_ports(_Config) ->
    lists:foreach(fun(_) ->
                      Pair = pair(),
                      _ = until(fun ports/0, fun(Ports) -> length(Ports) =:= 1 end),
                      echo(Pair, 10),
                      ok = application:stop(gen_tcp_rs),
                      [] = ports(),
                      {ok, _} = application:ensure_all_started(gen_tcp_rs)
                  end, lists:seq(1, 10)).

%% While the schedulers serve, the poller's thread uses no processor time.
the_thread_rests(_Config) ->
    Pair = pair(),
    _ = until(fun ports/0, fun(Ports) -> length(Ports) =:= 1 end),
    %% It may have waited when the port was opened, and then takes one event more.
    echo(Pair, 100),
    Before = switches(),
    echo(Pair, 1000),
    Before = switches(),
    close(Pair).

%% Whoever opens a port of this driver by hand gets badarg, and disturbs nobody.
a_command_that_names_no_poller_is_refused(_Config) ->
    Pair = pair(),
    [Port] = until(fun ports/0, fun(Ports) -> Ports =/= [] end),
    {name, Taken} = erlang:port_info(Port, name),
    _ = [{'EXIT', {badarg, _}} = (catch open_port({spawn_driver, Command}, []))
         || Command <- ["gen_tcp_rs", "gen_tcp_rs ", "gen_tcp_rs x", "gen_tcp_rs -1", "gen_tcp_rs 1",
                        "gen_tcp_rs 99999999999999999999", Taken]],
    [Port] = ports(),
    echo(Pair, 100),
    close(Pair).

%% The layout and the numbers that the library was compiled with are those of erl_driver.h.
the_header_says_the_same(Config) ->
    Include = filename:join([code:root_dir(), "usr", "include"]),
    case {filelib:is_regular(filename:join(Include, "erl_driver.h")), os:find_executable("cc")} of
        {true, Compiler} when is_list(Compiler) ->
            File = filename:join(proplists:get_value(priv_dir, Config), "layout.c"),
            ok = file:write_file(File, layout()),
            "" = os:cmd(lists:join(" ", [Compiler, "-fsyntax-only", "-I", Include, File]));
        _ ->
            {skip, "no erl_driver.h or no C compiler here"}
    end.

%% native/nif/src/driver.rs
layout() ->
    Facts = ["sizeof(ErlDrvEntry) == 176", "offsetof(ErlDrvEntry, start) == 8", "offsetof(ErlDrvEntry, stop) == 16",
             "offsetof(ErlDrvEntry, ready_input) == 32", "offsetof(ErlDrvEntry, driver_name) == 48",
             "offsetof(ErlDrvEntry, extended_marker) == 128", "offsetof(ErlDrvEntry, driver_flags) == 140",
             "offsetof(ErlDrvEntry, stop_select) == 160", "ERL_DRV_EXTENDED_MARKER == 0xfeeeeeed",
             "ERL_DRV_EXTENDED_MAJOR_VERSION == 3", "ERL_DRV_EXTENDED_MINOR_VERSION == 3",
             "ERL_DRV_FLAG_USE_PORT_LOCKING == 1", "ERL_DRV_READ == 1", "ERL_DRV_USE == 4",
             "(long)ERL_DRV_ERROR_BADARG == -3"],
    ["#include <stddef.h>\n#include <erl_driver.h>\n",
     [["_Static_assert(", Fact, ", \"", Fact, "\");\n"] || Fact <- Facts]].

%%% Tools

ports() ->
    [Port || Port <- erlang:ports(), {name, "gen_tcp_rs" ++ _} <- [erlang:port_info(Port, name)]].

%% How often the threads of the pollers have waited.
switches() ->
    [Line || Task <- filelib:wildcard("/proc/self/task/*"),
             {ok, <<"gen_tcp_rs\n">>} <- [file:read_file(filename:join(Task, "comm"))],
             {ok, Status} <- [file:read_file(filename:join(Task, "status"))],
             {match, [Line]} <- [re:run(Status, "\nvoluntary_ctxt_switches:\\s*([0-9]+)", [{capture, all_but_first, list}])]].

pair() ->
    {ok, Listener} = gen_tcp:listen(0, [{inet_backend, rs}, binary, {active, false}]),
    {ok, Number} = inet:port(Listener),
    {ok, Client} = gen_tcp:connect("localhost", Number, [{inet_backend, rs}, binary, {active, false}]),
    {ok, Server} = gen_tcp:accept(Listener),
    ok = gen_tcp:close(Listener),
    {Client, Server}.

close({Client, Server}) ->
    ok = gen_tcp:close(Client),
    ok = gen_tcp:close(Server).

%% Numbers there and back; the other end is active, so that its messages come from a poller.
echo({Client, Server}, Times) ->
    ok = inet:setopts(Server, [{active, true}]),
    lists:foreach(fun(Number) -> there_and_back(Client, Server, Number) end, lists:seq(1, Times)),
    ok = inet:setopts(Server, [{active, false}]).

there_and_back(Client, Server, Number) ->
    ok = gen_tcp:send(Client, <<Number:64>>),
    receive {tcp, Server, <<Number:64>>} -> ok after 5000 -> error({lost, Number}) end,
    ok = gen_tcp:send(Server, <<Number:64>>),
    {ok, <<Number:64>>} = gen_tcp:recv(Client, 8, 5000).

%% Another process echoes until it is told to stop.
talk({Client, Server}) ->
    Self = self(),
    {Pid, Monitor} =
        spawn_monitor(fun() ->
                          receive go -> ok end,
                          ok = inet:setopts(Server, [{active, true}]),
                          talking(Client, Server, 1),
                          ok = inet:setopts(Server, [{active, false}]),
                          ok = gen_tcp:controlling_process(Server, Self),
                          ok = gen_tcp:controlling_process(Client, Self)
                      end),
    ok = gen_tcp:controlling_process(Client, Pid),
    ok = gen_tcp:controlling_process(Server, Pid),
    Pid ! go,
    {Pid, Monitor}.

talking(Client, Server, Number) ->
    there_and_back(Client, Server, Number),
    receive
        hang_up when Number > 1000 -> ok
    after 0 ->
        talking(Client, Server, Number + 1)
    end.

hang_up({Pid, Monitor}) ->
    Pid ! hang_up,
    receive {'DOWN', Monitor, process, Pid, Reason} -> normal = Reason end.

%% What the function returns when it is what is wanted.
until(Function, Wanted) ->
    ok = rs_test:poll(fun() -> Wanted(Function()) end, 10000),
    Function().
