%% Observations on listen and accept: order, timeouts, what is taken over, failures.
-module(diff_accept).

-export([observations/0]).

-import(rs_test, [options/2, listen/2, connect/3, accept/1, address_of/1, unused_port/1, attempt/1, barrier/1,
                  mailbox/0, until_closed/1, read_all/1, async/1, blocked/1, await/1, kill/1, next/0]).

-spec observations() -> [{string(), fun((rs_test:context()) -> term())}].
observations() ->
    order() ++ ends() ++ inherited() ++ listening().

peer(C, Listen) ->
    {ok, Peer} = connect(C#{backend := inet}, Listen, []),
    Peer.

%% A waiting acceptor that says which connection it got by the first byte of it.
acceptor(Listen) ->
    acceptor(Listen, infinity).

acceptor(Listen, Timeout) ->
    blocked(async(fun() -> first_byte(gen_tcp:accept(Listen, Timeout)) end)).

first_byte({ok, Socket}) -> gen_tcp:recv(Socket, 1);
first_byte(Other) -> Other.

order() ->
    [{"waiting acceptors are served in order",
      fun(C) ->
              Listen = listen(C, []),
              Acceptors = [acceptor(Listen) || _ <- lists:seq(1, 8)],
              [ok = gen_tcp:send(peer_kept(C, Listen), [Byte]) || Byte <- lists:seq($a, $h)],
              [await(Acceptor) || Acceptor <- Acceptors]
      end},
     {"connections in the backlog come in order",
      fun(C) ->
              Listen = listen(C, []),
              [ok = gen_tcp:send(peer_kept(C, Listen), [Byte]) || Byte <- "abcd"],
              [first_byte(gen_tcp:accept(Listen)) || _ <- [1, 2, 3, 4]]
      end},
     {"an acceptor that timed out is passed over",
      fun(C) ->
              Listen = listen(C, []),
              First = acceptor(Listen, 30),
              Second = acceptor(Listen),
              Timeout = await(First),
              ok = gen_tcp:send(peer_kept(C, Listen), "a"),
              {Timeout, await(Second)}
      end},
     {"a killed acceptor is passed over",
      fun(C) ->
              Listen = listen(C, []),
              First = acceptor(Listen),
              Second = acceptor(Listen),
              ok = kill(First),
              ok = gen_tcp:send(peer_kept(C, Listen), "a"),
              await(Second)
      end},
     {"all acceptors killed, the next one gets the connection",
      fun(C) ->
              Listen = listen(C, []),
              Acceptors = [acceptor(Listen) || _ <- [1, 2, 3]],
              [ok = kill(Acceptor) || Acceptor <- Acceptors],
              ok = gen_tcp:send(peer_kept(C, Listen), "a"),
              first_byte(gen_tcp:accept(Listen, 5000))
      end},
     {"timeouts come in order of their time",
      fun(C) ->
              Listen = listen(C, []),
              Self = self(),
              Acceptors = [async(fun() ->
                                         receive go -> ok end,
                                         Self ! {Time, gen_tcp:accept(Listen, Time)}
                                 end) || Time <- [900, 300, 600]],
              [rs_test:pid_of(Acceptor) ! go || Acceptor <- Acceptors],
              rs_test:next_n(3)
      end},
     {"timeout 0 with a connection there",
      fun(C) ->
              Listen = listen(C, []),
              _ = peer(C, Listen),
              {ok, _} = gen_tcp:accept(Listen, 0),
              gen_tcp:accept(Listen, 0)
      end},
     {"timeout 0 while another waits",
      fun(C) -> Listen = listen(C, []), _ = acceptor(Listen), gen_tcp:accept(Listen, 0) end},
     {"timeouts leave no message and no connection behind",
      fun(C) ->
              Listen = listen(C, []),
              Timeouts = [gen_tcp:accept(Listen, Time) || Time <- [0, 1, 5, 0]],
              ok = gen_tcp:send(peer_kept(C, Listen), "a"),
              {Timeouts, first_byte(gen_tcp:accept(Listen, 5000)), mailbox()}
      end},
     {"a negative timeout waits",
      fun(C) ->
              Listen = listen(C, []),
              Acceptor = acceptor(Listen, -1),
              ok = gen_tcp:send(peer_kept(C, Listen), "a"),
              await(Acceptor)
      end},
     {"accept on what is no listener",
      fun(C) -> {Socket, _} = rs_test:client(C, []), {gen_tcp:accept(Socket), gen_tcp:accept(Socket, 10)} end}].

%% The peer of this connection; it lives as long as this process.
peer_kept(C, Listen) ->
    peer(C, Listen).

ends() ->
    [{"close wakes every acceptor",
      fun(C) ->
              Listen = listen(C, []),
              Acceptors = [acceptor(Listen, Time) || Time <- [infinity, 9000, infinity, 9000]],
              {gen_tcp:close(Listen), [await(Acceptor) || Acceptor <- Acceptors]}
      end},
     {"close by another process wakes the acceptor",
      fun(C) ->
              Listen = listen(C, []),
              Acceptor = acceptor(Listen),
              {await(async(fun() -> gen_tcp:close(Listen) end)), await(Acceptor)}
      end},
     {"data and FIN before accept",
      fun(C) ->
              Listen = listen(C, [{active, true}]),
              Peer = peer(C, Listen),
              ok = gen_tcp:send(Peer, "abc"),
              ok = gen_tcp:close(Peer),
              until_closed(accept(Listen))
      end},
     {"reset before accept",
      fun(C) ->
              Listen = listen(C, []),
              ok = rs_test:reset(peer(C, Listen)),
              Socket = accept(Listen),
              {gen_tcp:recv(Socket, 0), gen_tcp:recv(Socket, 0)}
      end},
     {"reset before accept, active",
      fun(C) ->
              Listen = listen(C, [{active, once}]),
              ok = rs_test:reset(peer(C, Listen)),
              until_closed(accept(Listen))
      end},
     {"reset before accept, shown",
      fun(C) ->
              Listen = listen(C, [{show_econnreset, true}]),
              ok = rs_test:reset(peer(C, Listen)),
              {gen_tcp:recv(accept(Listen), 0)}
      end},
     {"names of an accepted socket",
      fun(C) ->
              Listen = listen(C, []),
              Peer = peer(C, Listen),
              Socket = accept(Listen),
              {inet:sockname(Socket) =:= inet:peername(Peer), inet:peername(Socket) =:= inet:sockname(Peer),
               inet:sockname(Listen) =:= inet:sockname(Socket), inet:peername(Listen)}
      end}].

taken_over() ->
    [{mode, list}, {packet, 2}, {packet_size, 77}, {header, 3}, {buffer, 3000}, {deliver, port}, {exit_on_close, false},
     {high_watermark, 30000}, {low_watermark, 20000}, {high_msgq_watermark, 30000}, {low_msgq_watermark, 20000},
     {send_timeout, 4321}, {send_timeout_close, true}, {show_econnreset, true}, {delay_send, true}, {nodelay, true},
     {keepalive, true}, {linger, {true, 7}}, {priority, 4}, {tos, 16}, {ttl, 33}, {recvtos, true}, {recvttl, true},
     {active, once}, {active, 7}, {active, true}, {reuseaddr, true}].

inherited() ->
    [{"taken over by accept: " ++ lists:flatten(io_lib:format("~0p", [Option])),
      fun(C) ->
              Listen = listen(C, [Option]),
              _ = peer(C, Listen),
              Names = [Name],
              {inet:getopts(Listen, Names), inet:getopts(accept(Listen), Names)}
      end} || {Name, _} = Option <- taken_over()]
    ++ [{"taken over after setopts: " ++ lists:flatten(io_lib:format("~0p", [Option])),
         fun(C) ->
                 Listen = listen(C, []),
                 Set = inet:setopts(Listen, [Option]),
                 _ = peer(C, Listen),
                 {Set, inet:getopts(accept(Listen), [Name])}
         end} || {Name, _} = Option <- taken_over()]
    ++ [{"an option set while the acceptor waits is taken over",
         fun(C) ->
                 Listen = listen(C, []),
                 Acceptor = blocked(async(fun() -> inet:getopts(accept(Listen),
                                                                [packet, nodelay, priority, exit_on_close]) end)),
                 ok = inet:setopts(Listen, [{packet, 4}, {nodelay, true}, {priority, 3}, {exit_on_close, false}]),
                 _ = peer(C, Listen),
                 await(Acceptor)
         end},
        {"what an accepted socket sets is its own",
         fun(C) ->
                 Listen = listen(C, []),
                 _ = peer(C, Listen),
                 _ = peer(C, Listen),
                 First = accept(Listen),
                 ok = inet:setopts(First, [{packet, 4}, {nodelay, true}]),
                 [inet:getopts(Socket, [packet, nodelay]) || Socket <- [Listen, First, accept(Listen)]]
         end}].

listening() ->
    [{"listen with the bad option " ++ lists:flatten(io_lib:format("~0p", [Option])),
      fun(C) -> attempt(fun() -> listened(gen_tcp:listen(0, options(C, [Option]))) end) end}
     || Option <- [foo, {foo, 1}, {packet, 3}, {active, foo}, {active, -32769}, {nodelay, 1}, {line_delimiter, $x},
                   {dontroute, true},
                   {nopush, true}, {mode, foo}, {header, -1}, {send_timeout, -1}, {linger, true}, {ip, {1, 2, 3}},
                   {ip, "127.0.0.1"},
                   {port, 65536}, {port, -1}, {raw, 6, 1, foo}, {buffer, foo}, {high_msgq_watermark, 0}, {ttl, 0},
                   {reuseaddr, 1},
                   {ip, {192, 0, 2, 1}}, {ipv6_v6only, 3}, 17]]
    ++ [{"listen on the bad port " ++ lists:flatten(io_lib:format("~0p", [Port])),
         fun(C) -> attempt(fun() -> listened(gen_tcp:listen(Port, options(C, []))) end) end}
        || Port <- [-1, 65536, "80", foo_no_service, 80.0]]
    ++ [{"listen with backlog " ++ lists:flatten(io_lib:format("~0p", [Backlog])),
         fun(C) -> attempt(fun() -> listened(gen_tcp:listen(0, options(C, [{backlog, Backlog}]))) end) end}
        || Backlog <- [0, 1, -1, 65539, 100000, foo]]
    ++ [{"listen with odd but good options",
         fun(C) ->
                 {ok, Listen} = gen_tcp:listen(0, options(C, [{buffer, -5}, {priority, 6}, {low_watermark, 90000}])),
                 inet:getopts(Listen, [buffer, priority, high_watermark, low_watermark])
         end},
        {"listen with options that are no list",
         fun(C) ->
                 attempt(fun() -> gen_tcp:listen(0, options(C, foo)) end)
         end},
        {"listen where somebody listens",
         fun(C) ->
                 {_, Port} = address_of(listen(C, [])),
                 [gen_tcp:listen(Port, options(C, [{ip, {127, 0, 0, 1}} | Options]))
                  || Options <- [[], [{reuseaddr, true}]]]
         end},
        {"listen on the port of the options",
         fun(C) ->
                 Port = unused_port(C),
                 {ok, Listen} = gen_tcp:listen(0, options(C, [{ip, {127, 0, 0, 1}}, {port, Port}])),
                 inet:port(Listen) =:= {ok, Port}
         end},
        {"listen on all addresses",
         fun(C) ->
                 {ok, Listen} = gen_tcp:listen(0, options(C, [])),
                 {inet:sockname(Listen), inet:socknames(Listen)}
         end},
        {"listen on all IPv6 addresses",
         fun(C) -> {ok, Listen} = gen_tcp:listen(0, options(C, [inet6])), inet:sockname(Listen) end},
        {"listen on an IPv6 address",
         fun(C) ->
                 {ok, Listen} = gen_tcp:listen(0, options(C, [{ip, {0, 0, 0, 0, 0, 0, 0, 1}}])),
                 inet:sockname(Listen)
         end},
        {"listen on local without an address", fun(C) -> gen_tcp:listen(0, options(C, [local])) end},
        {"listen on a local path, which stays after close",
         fun(C) ->
                 Unique = integer_to_list(erlang:unique_integer([positive])),
                 Path = filename:join("/tmp", "gen_tcp_rs-" ++ os:getpid() ++ "-" ++ Unique),
                 {ok, Listen} = gen_tcp:listen(0, options(C, [{ifaddr, {local, Path}}])),
                 Names = {inet:sockname(Listen) =:= {ok, {local, list_to_binary(Path)}},
                          inet:port(Listen) =:= {ok, list_to_binary(Path)}},
                 ok = gen_tcp:close(Listen),
                 Again = gen_tcp:listen(0, options(C, [{ifaddr, {local, Path}}])),
                 Refused = gen_tcp:connect({local, Path}, 0, options(C, [])),
                 ok = file:delete(Path),
                 {Names, Again, Refused}
         end},
        {"a listener's counters and names",
         fun(C) ->
                 Listen = listen(C, []),
                 {inet:getstat(Listen), inet:peername(Listen), inet:getopts(Listen, [active, mode, packet])}
         end}].

listened({ok, Listen}) -> gen_tcp:close(Listen);
listened(Other) -> Other.
