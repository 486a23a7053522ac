%% A node whose default is rs, among other nodes: it stays known to epmd whatever happens
%% to epmd and to the application, and starts peers and slaves over every kind of
%% connection, which may have the same default.
-module(nodes_SUITE).

-export([all/0, init_per_suite/1, end_per_suite/1, init_per_testcase/2, end_per_testcase/2]).
-export([registration_outlives_epmd_and_the_application/1, boot_server_serves_a_node/1,
         peer_over_tcp/1, peer_over_tcp_at_an_address/1, peer_over_standard_io/1,
         peer_over_distribution/1, peer_over_tcp_outlives_the_application/1,
         peer_of_a_stock_node/1, stock_peer/1, many_peers_at_once/1, slave_node/1]).

-define(HOST, "127.0.0.1").
-define(LOOPBACK, {127, 0, 0, 1}).
%% For whatever may start a node. A case that works never waits for it.
-define(DEADLINE, 120000).

all() ->
    [registration_outlives_epmd_and_the_application, boot_server_serves_a_node,
     peer_over_tcp, peer_over_tcp_at_an_address, peer_over_standard_io,
     peer_over_distribution, peer_over_tcp_outlives_the_application,
     peer_of_a_stock_node, stock_peer, many_peers_at_once, slave_node].

init_per_suite(Config) ->
    [{boot, boot_script(proplists:get_value(priv_dir, Config))} | Config].

end_per_suite(_Config) ->
    ok.

%% Each case has an epmd of its own, which no other node knows.
init_per_testcase(_Case, Config) ->
    Port = unused_port(),
    ok = start_epmd(Port),
    [{epmd, Port} | Config].

end_per_testcase(_Case, Config) ->
    stop_epmd(proplists:get_value(epmd, Config)).

%%% epmd and the boot server

%% A node stays registered when the application stops and starts, registers again with
%% an epmd that was started anew, and is found by another node each time.
registration_outlives_epmd_and_the_application(Config) ->
    Epmd = proplists:get_value(epmd, Config),
    with_node(Config, "registered", [rs], fun(Node) ->
        Name = call(Node, erlang, node, []),
        with_node(Config, "other", [], fun(Other) ->
            Found = fun() ->
                true = lists:member("registered", registered_names(Epmd)),
                _ = call(Other, erlang, disconnect_node, [Name]),
                pong = call(Other, net_adm, ping, [Name])
            end,
            Restart = fun() ->
                ok = call(Node, application, stop, [gen_tcp_rs]),
                Found(),
                ok = call(Node, application, start, [gen_tcp_rs]),
                rs = call(Node, gen_tcp_rs_backend, default, []),
                Found()
            end,
            Found(),
            Restart(),
            Restart(),
            ok = stop_epmd(Epmd),
            ok = start_epmd(Epmd),
            ok = rs_test:poll(fun() -> lists:member("registered", registered_names(Epmd)) end, ?DEADLINE),
            ok = rs_test:poll(fun() -> lists:member("other", registered_names(Epmd)) end, ?DEADLINE),
            Found(),
            Restart(),
            [] = call(Node, gen_tcp_rs, which_sockets, [])
        end)
    end).

%% A node that has no files of its own loads its code from one whose default is rs.
boot_server_serves_a_node(Config) ->
    with_node(Config, "server", [rs], fun(Server) ->
        {ok, _Pid} = call(Server, erl_boot_server, start, [[?HOST]]),
        with_node(Config, "diskless", [{args, ["-loader", "inet", "-hosts", ?HOST, "-id", "diskless"]}],
                  fun(Diskless) ->
            {ok, [["inet"]]} = call(Diskless, init, get_argument, [loader]),
            %% Nothing that a node loads by itself.
            {module, xref} = call(Diskless, code, ensure_loaded, [xref]),
            [] = call(Server, gen_tcp_rs, which_sockets, [])
        end)
    end).

%%% Peers and slaves

%% {connection, 0}: the origin listens on any port, and the peer calls.
peer_over_tcp(Config) ->
    with_node(Config, "origin", [rs], fun(Origin) ->
        call(Origin, fun() -> with_peer(Config, #{connection => 0}, fun both_are_rs/1) end)
    end).

%% {connection, {Address, Port}}: the same on an address and port of one's choice.
peer_over_tcp_at_an_address(Config) ->
    Port = unused_port(),
    with_node(Config, "origin", [rs], fun(Origin) ->
        call(Origin, fun() ->
            with_peer(Config, #{connection => {?LOOPBACK, Port}}, fun both_are_rs/1)
        end)
    end).

%% {connection, standard_io}: through the peer's standard input and output.
peer_over_standard_io(Config) ->
    with_node(Config, "origin", [rs], fun(Origin) ->
        call(Origin, fun() -> with_peer(Config, #{connection => standard_io}, fun both_are_rs/1) end)
    end).

%% Without a connection of its own a peer is controlled over the distribution.
peer_over_distribution(Config) ->
    with_node(Config, "origin", [rs], fun(Origin) ->
        call(Origin, fun() ->
            with_peer(Config, #{name => "peer", host => ?HOST}, fun(Peer) ->
                [Node] = nodes(),
                rs = erpc:call(Node, gen_tcp_rs_backend, default, []),
                both_are_rs({node, Node}),
                true = is_pid(Peer)
            end)
        end)
    end).

%% The connection to a peer is not the application's: it carries on when the application
%% stops on either side.
peer_over_tcp_outlives_the_application(Config) ->
    with_node(Config, "origin", [rs], fun(Origin) ->
        call(Origin, fun() ->
            with_peer(Config, #{connection => 0}, fun(Peer) ->
                ok = application:stop(gen_tcp_rs),
                ok = call(Peer, application, stop, [gen_tcp_rs]),
                inet = call(Peer, gen_tcp_rs_backend, default, []),
                ok = call(Peer, application, start, [gen_tcp_rs]),
                ok = application:start(gen_tcp_rs),
                both_are_rs(Peer)
            end)
        end)
    end).

%% A node on inet starts a peer whose default is rs.
peer_of_a_stock_node(Config) ->
    with_node(Config, "origin", [], fun(Origin) ->
        call(Origin, fun() ->
            with_peer(Config, #{connection => 0}, fun(Peer) ->
                rs = call(Peer, gen_tcp_rs_backend, default, []),
                stays_open_and_carries(Peer)
            end)
        end)
    end).

%% A node whose default is rs starts a peer that knows nothing of it.
stock_peer(Config) ->
    with_node(Config, "origin", [rs], fun(Origin) ->
        call(Origin, fun() ->
            {ok, Peer, _Node} = peer:start_link(#{connection => 0, wait_boot => ?DEADLINE}),
            stays_open_and_carries(Peer),
            ok = peer:stop(Peer)
        end)
    end).

%% Peers that start at the same time do not take one another's connections.
many_peers_at_once(Config) ->
    with_node(Config, "origin", [rs], fun(Origin) ->
        call(Origin, fun() ->
            Start = fun(Number) ->
                with_peer(Config, #{connection => 0, env => [{"NUMBER", Number}]}, fun(Peer) ->
                    Number = call(Peer, os, getenv, ["NUMBER"]),
                    rs = call(Peer, gen_tcp_rs_backend, default, [])
                end)
            end,
            Starts = [spawn_monitor(fun() -> exit({ended, Start(integer_to_list(N))}) end)
                      || N <- lists:seq(1, 4)],
            [receive {'DOWN', Monitor, process, Pid, Reason} -> {ended, rs} = Reason end
             || {Pid, Monitor} <- Starts],
            ok
        end)
    end).

%% The same for slave, which waits for its nodes over the distribution.
slave_node(Config) ->
    case code:which(slave) of
        non_existing ->
            {skip, "this release has no module slave"};
        _File ->
            with_node(Config, "master", [rs], fun(Master) ->
                call(Master, fun() ->
                    Arguments = lists:join($\s, arguments(Config, [rs])),
                    {ok, Node} = apply(slave, start_link, [list_to_atom(?HOST), slave, Arguments]),
                    rs = erpc:call(Node, gen_tcp_rs_backend, default, []),
                    both_are_rs({node, Node}),
                    ok = apply(slave, stop, [Node]),
                    pang = net_adm:ping(Node)
                end)
            end)
    end.

%%% Inside the nodes

%% Sockets of both nodes are of this backend, but those that connect the nodes.
both_are_rs(Peer) ->
    rs = gen_tcp_rs_backend:default(),
    rs = call(Peer, gen_tcp_rs_backend, default, []),
    [] = gen_tcp_rs:which_sockets(),
    [] = call(Peer, gen_tcp_rs, which_sockets, []),
    {Server, Port} = call(Peer, fun start_echo/0),
    {ok, Socket} = gen_tcp:connect(?LOOPBACK, Port, [binary, {packet, 4}, {active, false}]),
    ok = gen_tcp:send(Socket, "there and back"),
    {ok, <<"there and back">>} = gen_tcp:recv(Socket, 0, ?DEADLINE),
    [Socket] = gen_tcp_rs:which_sockets(),
    2 = length(call(Peer, gen_tcp_rs, which_sockets, [])),
    ok = gen_tcp:close(Socket),
    Monitor = erlang:monitor(process, Server),
    receive {'DOWN', Monitor, process, Server, _} -> ok after ?DEADLINE -> error(deadline) end,
    stays_open_and_carries(Peer).

%% The connection between the nodes carries more than any buffer takes, both ways.
stays_open_and_carries(Peer) ->
    Data = binary:copy(<<"0123456789abcdef">>, 300000),
    Data = call(Peer, erlang, hd, [[Data]]),
    ok.

%% Runs on the peer.
start_echo() ->
    Caller = self(),
    Server = spawn(fun() ->
        {ok, Listener} = gen_tcp:listen(0, [binary, {ip, ?LOOPBACK}, {packet, 4}, {active, false}]),
        {ok, Port} = inet:port(Listener),
        Caller ! {self(), Port},
        {ok, Socket} = gen_tcp:accept(Listener, ?DEADLINE),
        {ok, Data} = gen_tcp:recv(Socket, 0, ?DEADLINE),
        ok = gen_tcp:send(Socket, Data),
        {error, closed} = gen_tcp:recv(Socket, 0, ?DEADLINE)
    end),
    receive {Server, Port} -> {Server, Port} after ?DEADLINE -> error(deadline) end.

%% A peer with a default of rs, of the node where this runs.
with_peer(Config, Options, Fun) ->
    Arguments = arguments(Config, [rs]),
    {ok, Peer, _Node} = peer:start(Options#{args => Arguments, wait_boot => ?DEADLINE}),
    try
        Fun(Peer)
    after
        peer:stop(Peer)
    end.

%%% Nodes

call(Node, Function) ->
    call(Node, erlang, apply, [Function, []]).

call({node, Node}, Module, Function, Arguments) ->
    erpc:call(Node, Module, Function, Arguments, ?DEADLINE);
call(Peer, Module, Function, Arguments) ->
    peer:call(Peer, Module, Function, Arguments, ?DEADLINE).

%% A distributed node that this one controls through its standard input and output.
%% rs             its default is rs, by its boot script
%% {args, _}      more arguments
with_node(Config, Name, Options, Fun) ->
    Distribution = ["-name", Name ++ "@" ++ ?HOST],
    More = proplists:get_value(args, Options, []),
    {ok, Peer, _Node} =
        peer:start_link(#{connection => standard_io,
                          args => Distribution ++ arguments(Config, Options) ++ More,
                          env => [{"ERL_EPMD_PORT", integer_to_list(proplists:get_value(epmd, Config))}],
                          wait_boot => ?DEADLINE}),
    try
        Fun(Peer)
    after
        peer:stop(Peer)
    end.

arguments(Config, Options) ->
    Default = case lists:member(rs, Options) of
        true -> ["-kernel", "inet_backend", "rs", "-boot", proplists:get_value(boot, Config)];
        false -> []
    end,
    Modules = [filename:dirname(code:which(Module)) || Module <- [gen_tcp_rs, ?MODULE]],
    Default ++ ["-setcookie", ?MODULE_STRING, "-pa" | Modules].

boot_script(Directory) ->
    Name = filename:join(Directory, "with_gen_tcp_rs"),
    Version = fun(Application) ->
        _ = application:load(Application),
        {ok, Key} = application:get_key(Application, vsn),
        Key
    end,
    Release = {release, {"nodes", "1"}, {erts, erlang:system_info(version)},
               [{Application, Version(Application)} || Application <- [kernel, stdlib, gen_tcp_rs]]},
    ok = file:write_file(Name ++ ".rel", io_lib:format("~p.~n", [Release])),
    Path = filename:dirname(code:which(gen_tcp_rs)),
    ok = systools:make_script(Name, [{path, [Path]}, {outdir, Directory}, local, no_warn_sasl]),
    Name.

%%% epmd

start_epmd(Port) ->
    "" = os:cmd(epmd(Port) ++ " -relaxed_command_check -daemon"),
    rs_test:poll(fun() -> registered_names(Port) =/= not_running end, ?DEADLINE).

stop_epmd(Port) ->
    _ = os:cmd(epmd(Port) ++ " -kill"),
    rs_test:poll(fun() -> registered_names(Port) =:= not_running end, ?DEADLINE).

registered_names(Port) ->
    Output = os:cmd(epmd(Port) ++ " -names"),
    case string:find(Output, "up and running") of
        nomatch -> not_running;
        _Running ->
            {match, Names} = case re:run(Output, "^name (\\S+) at", [global, multiline, {capture, [1], list}]) of
                nomatch -> {match, []};
                Match -> Match
            end,
            lists:append(Names)
    end.

epmd(Port) ->
    os:find_executable("epmd") ++ " -port " ++ integer_to_list(Port).

unused_port() ->
    {ok, Socket} = gen_tcp:listen(0, [{inet_backend, inet}, {ip, ?LOOPBACK}]),
    {ok, Port} = inet:port(Socket),
    ok = gen_tcp:close(Socket),
    Port.
