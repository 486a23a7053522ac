%% Observations on connect: addresses, ports, options that belong to it, failures and names.
-module(diff_connect).

-export([observations/0]).

-import(rs_test, [options/2, listen/2, address_of/1, unused_port/1, attempt/1, barrier/1, mailbox/0, async/1, await/1,
                  kill/1]).

-spec observations() -> [{string(), fun((rs_test:context()) -> term())}].
observations() ->
    good() ++ bad() ++ bad_options() ++ names() ++ other_families().

%% The result of connect without the socket, which is closed; addresses it shows instead.
shown({ok, Socket}) ->
    Names = {inet:sockname(Socket), inet:peername(Socket)},
    ok = gen_tcp:close(Socket),
    {connected, Names};
shown(Other) ->
    Other.

%% Somebody of the driver who listens on the loopback, and the port.
listener(C) ->
    Listen = listen(C#{backend := inet}, []),
    {_, Port} = address_of(Listen),
    Port.

good() ->
    [{"connect to " ++ Name, fun(C) -> shown(gen_tcp:connect(Address, listener(C), options(C, []), 5000)) end}
     || {Name, Address} <- [{"a tuple", {127, 0, 0, 1}}, {"a string", "127.0.0.1"}, {"an atom", '127.0.0.1'},
                            {"a name", "localhost"}, {"a name as an atom", localhost}, {"a short form", "127.1"}]]
    ++ [{"connect/3", fun(C) -> shown(gen_tcp:connect({127, 0, 0, 1}, listener(C), options(C, []))) end},
        {"connect with infinity",
         fun(C) ->
                 shown(gen_tcp:connect({127, 0, 0, 1}, listener(C), options(C, []), infinity))
         end},
        {"connect to a map",
         fun(C) ->
                 shown(gen_tcp:connect(#{family => inet, addr => {127, 0, 0, 1}, port => listener(C)}, options(C, []),
                                       5000))
         end},
        {"connect to a map without timeout",
         fun(C) ->
                 shown(gen_tcp:connect(#{family => inet, addr => {127, 0, 0, 1}, port => listener(C)}, options(C, [])))
         end},
        {"connect from an address",
         fun(C) ->
                 {connected, {{ok, {From, _}}, _}} = shown(gen_tcp:connect({127, 0, 0, 1}, listener(C),
                                                                           options(C, [{ip, {127, 0, 0, 2}}]))),
                 From
         end},
        {"connect from a port",
         fun(C) ->
                 Port = unused_port(C),
                 {ok, Socket} = gen_tcp:connect({127, 0, 0, 1}, listener(C),
                                                options(C, [{port, Port}, {reuseaddr, true}])),
                 inet:port(Socket) =:= {ok, Port}
         end},
        {"connect from an address and a port",
         fun(C) ->
                 Port = unused_port(C),
                 {ok, Socket} = gen_tcp:connect({127, 0, 0, 1}, listener(C),
                                                options(C, [{ifaddr, {127, 0, 0, 3}}, {port, Port}])),
                 inet:sockname(Socket) =:= {ok, {{127, 0, 0, 3}, Port}}
         end},
        {"connect to oneself",
         fun(C) ->
                 Port = unused_port(C),
                 {ok, Socket} = gen_tcp:connect({127, 0, 0, 1}, Port,
                                                options(C, [{ip, {127, 0, 0, 1}}, {port, Port}, {active, false}])),
                 ok = gen_tcp:send(Socket, "echo"),
                 {gen_tcp:recv(Socket, 4), inet:sockname(Socket) =:= inet:peername(Socket)}
         end},
        {"default mode and options",
         fun(C) ->
                 {ok, Socket} = gen_tcp:connect({127, 0, 0, 1}, listener(C), options(C, [])),
                 inet:getopts(Socket,
                              [mode, active, packet, header, deliver, nodelay, keepalive, delay_send, exit_on_close])
         end},
        {"the last duplicate counts",
         fun(C) ->
                 {ok, Socket} = gen_tcp:connect({127, 0, 0, 1}, listener(C),
                                                options(C, [list, binary, {active, 3}, {active, 5}, {packet, 1},
                                                            {packet, 2}, {nodelay, true}, {nodelay, false}])),
                 inet:getopts(Socket, [mode, active, packet, nodelay])
         end}].

bad() ->
    [{"connect to a port nobody listens on",
      fun(C) ->
              Port = unused_port(C),
              {gen_tcp:connect({127, 0, 0, 1}, Port, options(C, [])),
               gen_tcp:connect("localhost", Port, options(C, []), 2000), mailbox()}
      end},
     {"connect to port 0", fun(C) -> gen_tcp:connect({127, 0, 0, 1}, 0, options(C, [])) end},
     {"connect to an unknown host", fun(C) -> gen_tcp:connect("no.such.host.invalid", 80, options(C, []), 3000) end},
     {"connect to an IPv6 tuple with inet",
      fun(C) ->
              gen_tcp:connect({0, 0, 0, 0, 0, 0, 0, 1}, 80, options(C, [inet]))
      end},
     {"connect to an IPv4 tuple with inet6", fun(C) -> gen_tcp:connect({127, 0, 0, 1}, 80, options(C, [inet6])) end},
     {"connect from an address that is not ours",
      fun(C) -> gen_tcp:connect({127, 0, 0, 1}, listener(C), options(C, [{ip, {192, 0, 2, 1}}]), 2000) end},
     {"connect from a port in use",
      fun(C) ->
              Port = listener(C),
              gen_tcp:connect({127, 0, 0, 1}, listener(C), options(C, [{ip, {127, 0, 0, 1}}, {port, Port}]))
      end},
     {"connect with the timeout over",
      fun(C) ->
              %% A full backlog drops the SYN: nobody answers.
              {Address, Port} = rs_deaf(),
              Result = gen_tcp:connect(Address, Port, options(C, []), 50),
              ok = barrier(C),
              {Result, mailbox()}
      end},
     {"a killed connector leaves nothing",
      fun(C) ->
              Before = rs_test:socket_fds(),
              {Address, Port} = rs_deaf(),
              Connector = rs_test:blocked(async(fun() -> gen_tcp:connect(Address, Port, options(C, [])) end)),
              ok = kill(Connector),
              %% What is left belongs to the deaf listener.
              rs_test:poll(fun() -> rs_test:socket_fds() =< Before + deaf_fds() end)
      end}]
    ++ [{"connect to the bad address " ++ lists:flatten(io_lib:format("~0p", [Address])),
         fun(C) -> attempt(fun() -> gen_tcp:connect(Address, 80, options(C, []), 2000) end) end}
        || Address <- [{1, 2, 3}, {256, 0, 0, 1}, {1, 2, 3, 4, 5}, <<"localhost">>, 42, {undefined, foo}, any,
                       loopback]]
    ++ [{"connect to the bad port " ++ lists:flatten(io_lib:format("~0p", [Port])),
         fun(C) -> attempt(fun() -> gen_tcp:connect({127, 0, 0, 1}, Port, options(C, []), 2000) end) end}
        || Port <- [-1, 65536, 70000, "80", foo_no_service, 80.0]]
    ++ [{"connect with the bad timeout " ++ lists:flatten(io_lib:format("~0p", [Timeout])),
         fun(C) ->
                 Port = unused_port(C),
                 attempt(fun() -> gen_tcp:connect({127, 0, 0, 1}, Port, options(C, []), Timeout) end)
         end}
        || Timeout <- [-1, foo, 1.5]].

%% A listener whose backlog is full: the kernel answers no further SYN. The sockets belong to the process.
rs_deaf() ->
    {ok, Listen} = gen_tcp:listen(0, [{inet_backend, inet}, {ip, {127, 0, 0, 1}}, {backlog, 0}]),
    {ok, {Address, Port}} = inet:sockname(Listen),
    _ = [gen_tcp:connect(Address, Port, [{inet_backend, inet}], 200) || _ <- [1, 2]],
    {Address, Port}.

deaf_fds() ->
    3.

bad_options() ->
    [{"connect with the bad option " ++ lists:flatten(io_lib:format("~0p", [Option])),
      fun(C) ->
              Port = listener(C),
              attempt(fun() -> shown(gen_tcp:connect({127, 0, 0, 1}, Port, options(C, [Option]), 2000)) end)
      end}
     || Option <- [foo, {foo, 1}, {packet, 3}, {packet, foo}, {active, foo}, {active, 32768}, {nodelay, 1},
                   {backlog, 5},
                   {ipv6_v6only, true}, {dontroute, true}, {nopush, true}, {mode, foo}, {deliver, foo}, {header, -1},
                   {send_timeout, -1}, {linger, true}, {linger, {true, foo}}, {ip, {1, 2, 3}}, {ip, "127.0.0.1"},
                   {port, 65536},
                   {port, -1}, {port, foo}, {raw, 6, 1, foo}, {buffer, foo}, {high_msgq_watermark, 0}, {tos, foo},
                   {ttl, 0},
                   {exit_on_close, 1}, {show_econnreset, foo}, {packet_size, -1}, {tclass, 3}, {pktoptions, []}, 17,
                   "list"]]
    ++ [{"connect with options that are no list",
         fun(C) ->
                 Port = listener(C),
                 attempt(fun() -> gen_tcp:connect({127, 0, 0, 1}, Port, options(C, foo), 2000) end)
         end},
        {"connect with odd but good options",
         fun(C) ->
                 {ok, Socket} = gen_tcp:connect({127, 0, 0, 1}, listener(C),
                                                options(C, [{buffer, -5}, {line_delimiter, 300}, {high_watermark, -1},
                                                            {reuseaddr, true}, {debug, false}])),
                 inet:getopts(Socket, [buffer, high_watermark, low_watermark, reuseaddr, debug])
         end}].

names() ->
    [{"names of both ends",
      fun(C) ->
              {Socket, Peer} = rs_test:client(C, []),
              {inet:sockname(Socket) =:= inet:peername(Peer), inet:peername(Socket) =:= inet:sockname(Peer),
               inet:port(Socket) =:= inet:port(Socket), inet:socknames(Socket), inet:peername(Socket)}
      end},
     {"names after the peer has gone",
      fun(C) ->
              {Socket, Peer} = rs_test:client(C, []),
              ok = rs_test:reset(Peer),
              ok = rs_test:reset_arrived(Socket),
              {inet:sockname(Socket), inet:peername(Socket)}
      end}].

other_families() ->
    [{"IPv6, " ++ Name,
      fun(C) ->
              Listen = listen(C#{backend := inet, family := inet6}, []),
              {_, Port} = address_of(Listen),
              shown(gen_tcp:connect(Address, Port, options(C, Options), 5000))
      end}
     || {Name, Address, Options} <- [{"tuple", {0, 0, 0, 0, 0, 0, 0, 1}, []},
                                     {"tuple and atom", {0, 0, 0, 0, 0, 0, 0, 1}, [inet6]},
                                     {"string", "::1", [inet6]}, {"string without the atom", "::1", []}]]
    ++ [{"local, connected",
         fun(C) ->
                 Local = C#{family := local},
                 {Socket, Peer} = rs_test:client(Local, []),
                 {ok, {local, Path}} = inet:peername(Socket),
                 ok = gen_tcp:send(Socket, "over there"),
                 {byte_size(Path) > 0, inet:sockname(Socket), inet:port(Socket), inet:peername(Peer),
                  gen_tcp:recv(Peer, 10)}
         end},
        {"local, nobody there", fun(C) -> gen_tcp:connect({local, <<0, "nobody-is-there">>}, 0, options(C, [])) end},
        {"local, no file", fun(C) -> gen_tcp:connect({local, "/no/such/file"}, 0, options(C, [])) end},
        {"local, path too long",
         fun(C) ->
                 attempt(fun() -> gen_tcp:connect({local, lists:duplicate(200, $x)}, 0, options(C, [])) end)
         end},
        {"local, a port",
         fun(C) ->
                 attempt(fun() -> gen_tcp:connect({local, "/no/such/file"}, 80, options(C, [])) end)
         end},
        {"local, options of TCP are ignored",
         fun(C) ->
                 {Socket, _} = rs_test:client(C#{family := local}, [{nodelay, true}]),
                 {inet:setopts(Socket, [{nodelay, true}]), inet:getopts(Socket, [nodelay, active, keepalive])}
         end},
        {"local, closed with unread data",
         fun(C) ->
                 {Socket, Peer} = rs_test:client(C#{family := local}, [{show_econnreset, true}]),
                 ok = gen_tcp:send(Socket, "unread"),
                 ok = gen_tcp:close(Peer),
                 gen_tcp:recv(Socket, 0)
         end},
        {"local, a listening name taken",
         fun(C) ->
                 Listen = listen(C#{family := local}, []),
                 {{local, _} = Address, 0} = address_of(Listen),
                 {gen_tcp:listen(0, options(C, [{ifaddr, Address}])), inet:sockname(Listen) =:= {ok, Address},
                  inet:peername(Listen)}
         end}].
