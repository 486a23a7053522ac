%% connect: every family, every failure, and what timeouts and killed callers leave behind.
-module(connect_SUITE).

-export([suite/0, all/0, groups/0, init_per_group/2, end_per_group/2]).
-export([talks/1, names_of_both_ends/1, nobody_listens/1, socket_term_is_one/1, data_before_connect_returns/1,
         every_address_is_tried/1, last_error_counts/1, unknown_host/1, wrong_family/1, bind_first/1, self_connect/1,
         timeout_is_kept/1, timeout_leaves_nothing/1, timeouts_racing_arrivals/1, killed_connector/1, bad_arguments/1,
         bad_options/1, map_address/1, many_at_once/1]).

-import(rs_test, [context/1, options/2, listen/2, address_of/1, connect/3, accept/1, attempt/1, poll/1, mailbox/0]).

suite() -> [{timetrap, {minutes, 2}}].
all() -> [{group, inet}, {group, rs}].
groups() ->
    rs_test:groups_of([data_before_connect_returns, every_address_is_tried, last_error_counts, unknown_host,
                       wrong_family,
                       bind_first, self_connect, timeout_is_kept, timeout_leaves_nothing, timeouts_racing_arrivals,
                       killed_connector, bad_arguments, bad_options, map_address, many_at_once],
                      [talks, names_of_both_ends, nobody_listens, socket_term_is_one]).
init_per_group(Group, Config) -> rs_test:init_group(Group, Config).
end_per_group(Group, Config) -> rs_test:end_group(Group, Config).

%% A connection carries bytes both ways and ends with closed.
talks(Config) ->
    {Client, Server} = rs_test:pair(context(Config), [], []),
    ok = gen_tcp:send(Client, "question"),
    {ok, <<"question">>} = gen_tcp:recv(Server, 8, 5000),
    ok = gen_tcp:send(Server, ["ans", <<"wer">>]),
    {ok, <<"answer">>} = gen_tcp:recv(Client, 6, 5000),
    ok = gen_tcp:close(Client),
    {error, closed} = gen_tcp:recv(Server, 0, 5000),
    ok.

%% Each end names the other as the other names itself.
names_of_both_ends(Config) ->
    {Client, Server} = rs_test:pair(context(Config), [], []),
    {ok, ClientName} = inet:sockname(Client),
    {ok, ServerName} = inet:sockname(Server),
    {ok, ServerName} = inet:peername(Client),
    {ok, ClientName} = inet:peername(Server),
    ok.

%% A connect to where nobody listens is refused.
nobody_listens(Config) ->
    C = context(Config),
    Listen = listen(C#{backend := inet}, []),
    {Address, Port} = address_of(Listen),
    ok = gen_tcp:close(Listen),
    {error, econnrefused} = gen_tcp:connect(Address, Port, options(C, []), 5000),
    ok.

%% The socket in a message is the very term that connect returned.
socket_term_is_one(Config) ->
    {Client, Peer} = rs_test:client(context(Config), [{active, true}]),
    ok = gen_tcp:send(Peer, "x"),
    receive {tcp, Client, <<"x">>} -> ok after 5000 -> error(mailbox()) end,
    ok = gen_tcp:close(Peer),
    receive {tcp_closed, Client} -> ok after 5000 -> error(mailbox()) end.

%% What the peer sends at once reaches an active connector whole, even before connect has returned.
data_before_connect_returns(Config) ->
    C = context(Config),
    Listen = listen(C#{backend := inet}, []),
    Server = rs_test:async(fun() ->
                                   [begin
                                        Socket = accept(Listen),
                                        ok = gen_tcp:send(Socket, <<3, "abc", 3, "def">>),
                                        ok = gen_tcp:close(Socket)
                                    end || _ <- lists:seq(1, 100)],
                                   done
                           end),
    [begin
         {ok, Socket} = connect(C, Listen, [{active, true}, {packet, 1}]),
         [{tcp, Socket, <<"abc">>}, {tcp, Socket, <<"def">>}, {tcp_closed, Socket}] = rs_test:until_closed(Socket)
     end || _ <- lists:seq(1, 100)],
    {done, []} = rs_test:await(Server),
    ok.

%% A host with two addresses is reached at the second when the first refuses, with a fresh socket.
every_address_is_tried(Config) ->
    C = context(Config),
    with_host("two.homes.test", [{127, 0, 0, 2}, {127, 0, 0, 1}],
              fun() ->
                      Listen = listen(C#{backend := inet}, []),
                      {_, Port} = address_of(Listen),
                      {ok, Socket} = gen_tcp:connect("two.homes.test", Port, options(C, []), 5000),
                      {ok, {{127, 0, 0, 1}, Port}} = inet:peername(Socket)
              end),
    ok.

%% When every address fails the last failure is told.
last_error_counts(Config) ->
    C = context(Config),
    with_host("no.homes.test", [{127, 0, 0, 2}, {127, 0, 0, 3}],
              fun() ->
                      Port = rs_test:unused_port(C),
                      {error, econnrefused} = gen_tcp:connect("no.homes.test", Port, options(C, []), 5000)
              end),
    ok.

with_host(Name, Addresses, Function) ->
    Lookup = inet_db:res_option(lookup),
    [ok = inet_db:add_host(Address, [Name]) || Address <- Addresses],
    ok = inet_db:set_lookup([file, native]),
    try
        {ok, Found} = inet:getaddrs(Name, inet),
        Addresses = [Address || Address <- Addresses, lists:member(Address, Found)],
        Function()
    after
        ok = inet_db:set_lookup(Lookup),
        [inet_db:del_host(Address) || Address <- Addresses]
    end.

%% A name that does not exist is an error, not an exit.
unknown_host(Config) ->
    {error, nxdomain} = gen_tcp:connect("no.such.host.invalid", 80, options(context(Config), []), 5000),
    ok.

%% An address of another family than the socket's is refused with eafnosupport.
wrong_family(Config) ->
    C = context(Config),
    {error, eafnosupport} = gen_tcp:connect({0, 0, 0, 0, 0, 0, 0, 1}, 80, options(C, [inet])),
    {error, eafnosupport} = gen_tcp:connect({127, 0, 0, 1}, 80, options(C, [inet6])),
    ok.

%% ip and port bind the own end; an address that is not ours and a port in use are refused.
bind_first(Config) ->
    C = context(Config),
    Listen = listen(C#{backend := inet}, []),
    {Address, Port} = address_of(Listen),
    Own = rs_test:unused_port(C),
    {ok, Socket} = gen_tcp:connect(Address, Port, options(C, [{ip, {127, 0, 0, 9}}, {port, Own}])),
    {ok, {{127, 0, 0, 9}, Own}} = inet:sockname(Socket),
    {error, eaddrnotavail} = gen_tcp:connect(Address, Port, options(C, [{ip, {192, 0, 2, 1}}])),
    {error, eaddrinuse} = gen_tcp:connect(Address, Port, options(C, [{ip, Address}, {port, Port}])),
    ok.

%% A socket bound to the port it connects to is connected to itself.
self_connect(Config) ->
    C = context(Config),
    Port = rs_test:unused_port(C),
    {ok, Socket} = gen_tcp:connect({127, 0, 0, 1}, Port,
                                   options(C, [binary, {active, false}, {ip, {127, 0, 0, 1}}, {port, Port}])),
    ok = gen_tcp:send(Socket, "myself"),
    {ok, <<"myself">>} = gen_tcp:recv(Socket, 6, 5000),
    ok.

%% An address and port whose backlog is full: the kernel does not answer.
deaf() ->
    {ok, Listen} = gen_tcp:listen(0, [{inet_backend, inet}, {ip, {127, 0, 0, 1}}, {backlog, 0}]),
    {ok, {Address, Port}} = inet:sockname(Listen),
    _ = [gen_tcp:connect(Address, Port, [{inet_backend, inet}], 200) || _ <- [1, 2]],
    {Address, Port}.

%% A connect that nobody answers ends with timeout, not before its time.
timeout_is_kept(Config) ->
    C = context(Config),
    {Address, Port} = deaf(),
    Start = erlang:monotonic_time(millisecond),
    {error, timeout} = gen_tcp:connect(Address, Port, options(C, []), 150),
    Took = erlang:monotonic_time(millisecond) - Start,
    true = Took >= 150 andalso Took < 5000,
    ok.

%% A connect that timed out leaves no descriptor and no message.
timeout_leaves_nothing(Config) ->
    C = context(Config),
    {Address, Port} = deaf(),
    %% The first socket may start the pollers.
    {error, timeout} = gen_tcp:connect(Address, Port, options(C, []), 10),
    Before = rs_test:fd_count(),
    [{error, timeout} = gen_tcp:connect(Address, Port, options(C, [{active, true}]), Time) || Time <- [0, 1, 5, 20]],
    ok = poll(fun() -> rs_test:fd_count() =< Before end),
    ok = rs_test:barrier(C),
    [] = mailbox(),
    ok.

%% However a timeout and the peer's answer race, connect returns a socket that works or leaves nothing.
timeouts_racing_arrivals(Config) ->
    C = context(Config),
    Listen = listen(C#{backend := inet}, [{backlog, 1024}, {active, false}]),
    {Address, Port} = address_of(Listen),
    ok = rs_test:barrier(C),
    Before = rs_test:fd_count(),
    Results = [gen_tcp:connect(Address, Port, options(C, [binary, {active, true}]), Time)
               || Time <- lists:append(lists:duplicate(100, [0, 1, 2]))],
    Connected = [Socket || {ok, Socket} <- Results],
    [] = [Other || Other <- Results, element(1, Other) =:= error, Other =/= {error, timeout}],
    %% Every accepted peer is either one of ours, or one given up, which sees the end.
    Peers = accept_all(Listen),
    [ok = gen_tcp:send(Peer, "x") || Peer <- Peers, is_known(Peer, Connected)],
    [receive {tcp, Socket, <<"x">>} -> ok after 5000 -> error({silent, Socket}) end || Socket <- Connected],
    [{error, closed} = gen_tcp:recv(Peer, 0, 5000) || Peer <- Peers, not is_known(Peer, Connected)],
    [ok = gen_tcp:close(Socket) || Socket <- Connected ++ Peers],
    ok = poll(fun() -> rs_test:fd_count() =< Before end),
    ok = rs_test:barrier(C),
    [] = mailbox(),
    {comment, io_lib:format("~w of ~w connected", [length(Connected), length(Results)])}.

accept_all(Listen) ->
    case gen_tcp:accept(Listen, 200) of
        {ok, Socket} -> [Socket | accept_all(Listen)];
        {error, timeout} -> []
    end.

is_known(Peer, Sockets) ->
    case inet:peername(Peer) of
        {ok, Name} -> lists:any(fun(Socket) -> inet:sockname(Socket) =:= {ok, Name} end, Sockets);
        {error, _} -> false
    end.

%% A caller killed while it connects leaves no descriptor.
killed_connector(Config) ->
    C = context(Config),
    {Address, Port} = deaf(),
    ok = rs_test:barrier(C),
    Before = rs_test:fd_count(),
    Connectors = [rs_test:blocked(rs_test:async(fun() -> gen_tcp:connect(Address, Port, options(C, [])) end))
                  || _ <- lists:seq(1, 20)],
    true = rs_test:fd_count() >= Before + 20,
    [ok = rs_test:kill(Connector) || Connector <- Connectors],
    poll(fun() -> rs_test:fd_count() =< Before end).

%% Bad addresses, ports and timeouts raise what they raise with the driver.
bad_arguments(Config) ->
    C = context(Config),
    Connect = fun(Address, Port, Timeout) ->
        attempt(fun() -> gen_tcp:connect(Address, Port, options(C, []), Timeout) end) end,
    [{raised, exit, badarg} = Connect(Address, 80, 1000)
     || Address <- [{1, 2, 3}, {256, 0, 0, 1}, <<"localhost">>, 42]],
    [{raised, exit, function_clause} = Connect({127, 0, 0, 1}, Port, 1000) || Port <- [-1, 65536, "80"]],
    {raised, exit, badarg} = Connect({127, 0, 0, 1}, no_such_service, 1000),
    [{raised, error, badarg} = Connect({127, 0, 0, 1}, 1, Timeout) || Timeout <- [-1, foo, 1.5]],
    ok.

%% A bad option is exit(badarg) before anything is connected.
bad_options(Config) ->
    C = context(Config),
    Listen = listen(C#{backend := inet}, []),
    {Address, Port} = address_of(Listen),
    [{raised, exit, badarg} = attempt(fun() -> gen_tcp:connect(Address, Port, options(C, [Option]), 5000) end)
     || Option <- [foo, {foo, 1}, {packet, 3}, {active, 32768}, {nodelay, 1}, {backlog, 5}, {ip, {1, 2, 3}},
                   {port, 65536}, {high_msgq_watermark, 0}]],
    {error, timeout} = gen_tcp:accept(Listen, 0),
    ok.

%% An address may be given as a map.
map_address(Config) ->
    C = context(Config),
    Listen = listen(C#{backend := inet}, []),
    {Address, Port} = address_of(Listen),
    {ok, Socket} = gen_tcp:connect(#{family => inet, addr => Address, port => Port},
                                   options(C, [binary, {active, false}]), 5000),
    ok = gen_tcp:send(accept(Listen), "hello"),
    {ok, <<"hello">>} = gen_tcp:recv(Socket, 5, 5000),
    ok.

%% Two hundred processes that connect at once all get a connection of their own.
many_at_once(Config) ->
    C = context(Config),
    Listen = listen(C, [{backlog, 1024}]),
    Connectors = [rs_test:async(fun() ->
                                        {ok, Socket} = connect(C, Listen, []),
                                        {ok, Name} = inet:sockname(Socket),
                                        ok = gen_tcp:send(Socket, term_to_binary(Name)),
                                        {Name, gen_tcp:recv(Socket, 2, 10000)}
                                end) || _ <- lists:seq(1, 200)],
    Names = [begin
                 Server = accept(Listen),
                 {ok, Name} = inet:peername(Server),
                 {ok, Text} = gen_tcp:recv(Server, 0, 5000),
                 Name = binary_to_term(Text),
                 ok = gen_tcp:send(Server, "ok"),
                 Name
             end || _ <- Connectors],
    Seen = [begin {{Name, {ok, <<"ok">>}}, []} = rs_test:await(Connector), Name end || Connector <- Connectors],
    true = lists:sort(Names) =:= lists:usort(Seen),
    ok.
