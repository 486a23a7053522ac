%% Observations on options: every one set by connect, by setopts, read back; order, refusals, effects on each other.
-module(diff_options).

-export([observations/0]).

-import(rs_test, [client/2, plain_client/2, listen/2, attempt/1]).

-spec observations() -> [{string(), fun((rs_test:context()) -> term())}].
observations() ->
    single() ++ together() ++ raw() ++ reading() ++ kernel_defaults().

text(Term) ->
    lists:flatten(io_lib:format("~0p", [Term])).

%% Name, the values to try one after the other. (`{debug, true}` would fill the log of the driver.)
values() ->
    [{packet, [0, 1, 2, 4, raw, sunrm, asn1, cdr, fcgi, line, tpkt, http, httph, http_bin, httph_bin, ssl_tls, 3, 8,
               foo, "raw"]},
     {mode, [list, binary, foo]}, {header, [0, 3, 1000, -1, foo]}, {packet_size, [0, 100, 16#ffffffff, -1, foo]},
     {buffer, [100, 1, 0, -5, 70000, foo]}, {deliver, [port, term, foo]}, {exit_on_close, [false, true, 1]},
     {send_timeout, [0, 10, infinity, -1, foo]}, {send_timeout_close, [true, false, foo]},
     {delay_send, [true, false, 1]},
     {show_econnreset, [true, false, foo]}, {high_watermark, [100, 0, -1, 100000, foo]},
     {low_watermark, [100, 50000, -1, foo]},
     {high_msgq_watermark, [100, 100000, 0, -1, foo]}, {low_msgq_watermark, [100, 100000, 0, foo]},
     {nodelay, [true, false, 1, foo]}, {keepalive, [true, false, 0]},
     {linger, [{true, 5}, {false, 7}, {true, 0}, {false, 0}, {true}, true, {1, 2}]},
     {reuseaddr, [true, false, foo]}, {dontroute, [true, false, foo]}, {nopush, [true, false]}, {debug, [false, foo]},
     {recbuf, [4096, 100, 200000, foo]}, {sndbuf, [5000, 100, 200000, foo]}, {priority, [3, 6, 0, foo]},
     {tos, [16, 255, -1, 256, 0, foo]}, {ttl, [1, 255, -1, 0, 256, foo]}, {recvtos, [true, false, foo]},
     {recvttl, [true, false, 1]},
     {tclass, [3]}, {recvtclass, [true]}, {ipv6_v6only, [true]}, {pktoptions, [[]]},
     {bind_to_device, [<<"lo">>, <<>>, "lo", <<"nosuch">>]},
     {line_delimiter, [$x, 300, -1, foo]}, {nonsense, [1]}, {ip, [{127, 0, 0, 1}]}, {port, [0]}, {fd, [3]},
     {backlog, [5]},
     {inet_backend, [inet]}, {ifaddr, [{127, 0, 0, 1}]}].

%% Not read at the driver's default for these: a kernel's or a release's own value.
single() ->
    [{"setopts " ++ atom_to_list(Name),
      fun(C) ->
              {Socket, _} = client(C, []),
              [{Value, inet:setopts(Socket, [{Name, Value}]), inet:getopts(Socket, [Name])} || Value <- Values]
      end} || {Name, Values} <- values()]
    ++ [{"connect with " ++ text({Name, Value}),
         fun(C) ->
                 attempt(fun() ->
                                 {Socket, _} = client(C, [{Name, Value}]),
                                 inet:getopts(Socket, [Name])
                         end)
         end} || {Name, Values} <- values(), Name =/= inet_backend, Name =/= fd, Name =/= port, Value <- Values]
    ++ [{"the default of " ++ atom_to_list(Name),
         fun(C) -> {Socket, _} = plain_client(C, []), inet:getopts(Socket, [Name]) end}
        || {Name, _} <- values()].

together() ->
    [{"setopts in one list " ++ text(List),
      fun(C) ->
              {Socket, _} = client(C, []),
              {inet:setopts(Socket, List),
               inet:getopts(Socket,
                            [active, packet, header, mode, nodelay, keepalive, high_watermark, low_watermark, ttl, tos,
                             priority])}
      end}
     || List <- [[], [{active, 3}, {active, false}], [{active, once}, {active, false}],
                 [{nodelay, true}, {nodelay, false}],
                 [{packet, 4}, {high_msgq_watermark, 0}, {header, 3}], [{nodelay, true}, {ttl, 0}, {keepalive, true}],
                 [{low_watermark, 100}, {high_watermark, 50}], [{high_watermark, 50}, {low_watermark, 100}],
                 [{priority, 3}, {tos, 16}], [{tos, 16}, {priority, 3}], [list, binary], [binary, list],
                 [list, {packet, 2}, foo],
                 [{packet, 2}, {nonsense, 1}], [{mode, list}, {header, 2}, {packet, 1}, {active, 2}]]]
    ++ [{"high and low watermark, " ++ text(Steps),
         fun(C) ->
                 {Socket, _} = client(C, []),
                 [{inet:setopts(Socket, [Step]),
                   inet:getopts(Socket, [low_watermark, high_watermark, low_msgq_watermark, high_msgq_watermark])}
                   || Step <- Steps]
         end}
        || Steps <- [[{high_watermark, 100}, {low_watermark, 5000}, {high_watermark, -1}],
                     [{high_msgq_watermark, 100}, {low_msgq_watermark, 5000}, {low_msgq_watermark, 1},
                      {high_msgq_watermark, 16#80000000}]]]
    ++ [{"recbuf raises the buffer, " ++ text(List),
         fun(C) ->
                 {Socket, _} = client(C, List),
                 inet:getopts(Socket, [buffer])
         end}
        || List <- [[{recbuf, 50000}], [{buffer, 100}, {recbuf, 50000}], [{recbuf, 50000}, {buffer, 100}]]]
    ++ [{"recbuf by setopts, the buffer after it",
         fun(C) ->
                 {Socket, _} = client(C, []),
                 [{inet:setopts(Socket, [Option]), inet:getopts(Socket, [buffer])}
                  || Option <- [{recbuf, 60000}, {recbuf, 30000}, {buffer, 500}, {recbuf, 60000}]]
         end},
        {"tos and priority do not disturb each other",
         fun(C) ->
                 {Socket, _} = client(C, [{priority, 5}]),
                 [{inet:setopts(Socket, [Option]), inet:getopts(Socket, [tos, priority])}
                  || Option <- [{tos, 8}, {priority, 2}, {tos, 32}, {priority, 6}]]
         end},
        {"active and options in one setopts",
         fun(C) ->
                 {Socket, Peer} = client(C, []),
                 ok = gen_tcp:send(Peer, <<2, "ab">>),
                 ok = rs_test:arrived(Socket, 3),
                 Set = inet:setopts(Socket, [{active, once}, {packet, 1}, list]),
                 {Set, rs_test:next()}
         end},
        {"pktoptions of an accepted socket",
         fun(C) ->
                 Listen = listen(C, [{recvtos, true}, {recvttl, true}]),
                 {ok, _Peer} = rs_test:connect(C#{backend := inet}, Listen, [{tos, 16}, {ttl, 77}]),
                 inet:getopts(rs_test:accept(Listen), [pktoptions, recvtos, recvttl])
         end},
        {"options of an IPv6 socket",
         fun(C) ->
                 {Socket, _} = client(C#{family := inet6}, [{tclass, 32}]),
                 [{inet:setopts(Socket, [Option]), inet:getopts(Socket, [tclass, recvtclass, tos, ttl])}
                  || Option <- [{tclass, 255}, {tclass, 256}, {tclass, -1}, {recvtclass, true}, {tos, 8}, {ttl, 9},
                                {ipv6_v6only, true}]]
         end},
        {"an IPv6 listener alone",
         fun(C) ->
                 {ok, Listen} = gen_tcp:listen(0, rs_test:options(C#{family := inet6}, [{ipv6_v6only, true}])),
                 inet:getopts(Listen, [ipv6_v6only])
         end}].

raw() ->
    [{"raw options, " ++ text(List),
      fun(C) ->
              {Socket, _} = client(C, []),
              {inet:setopts(Socket, List),
               inet:getopts(Socket, [nodelay, {raw, 6, 1, 4}, keepalive, {raw, 1, 9, <<0:32>>}])}
      end}
     || List <- [[{raw, 6, 1, <<1:32/native>>}], [{raw, {6, 1, <<1:32/native>>}}],
                 [{raw, 6, 1, <<1:32/native>>}, {raw, 1, 9, <<1:32/native>>}],
                 [{raw, 6, 9999, <<1:32/native>>}], [{raw, 6, 1, foo}], [{raw, foo, 1, <<>>}]]]
    ++ [{"raw options of connect",
         fun(C) ->
                 {Socket, _} = client(C, [{raw, 6, 1, <<1:32/native>>}, {raw, 1, 9, <<1:32/native>>}]),
                 inet:getopts(Socket, [nodelay, keepalive])
         end}]
    ++ [{"raw reading, " ++ text(Name),
         fun(C) -> {Socket, _} = client(C, []), inet:getopts(Socket, [active, Name, mode]) end}
        || Name <- [{raw, 6, 1, 0}, {raw, 6, 1, 8}, {raw, {6, 1, 4}}, {raw, 6, 9999, 4}, {raw, 6, 1, -1},
                    {raw, 6, 1, 65536}, {raw, 6, 1, 65537},
                    {raw, 6, 1, foo}, {raw, 6, 1}, {raw, 6, 1, <<>>}]].

reading() ->
    [{"getopts " ++ text(Names),
      fun(C) ->
              {Socket, _} = client(C, []),
              attempt(fun() -> inet:getopts(Socket, Names) end)
      end}
     || Names <- [[], [active], [active, packet, active], [packet, foo], [list], [binary], [fd], [ip],
                  [line_delimiter], [backlog],
                  [nodelay, tclass, active], [nodelay, ipv6_v6only], foo, [active | packet], [pktoptions]]]
    ++ [{"listener getopts " ++ text(Names), fun(C) -> inet:getopts(listen(C, []), Names) end}
        || Names <- [[active, mode, packet, exit_on_close], [nodelay, keepalive, linger, reuseaddr],
                     [send_timeout, high_watermark]]].

%% Set for the whole node: these run alone, as every observation does.
kernel_defaults() ->
    [{"kernel defaults of " ++ atom_to_list(Key) ++ " " ++ text(Value),
      fun(C) ->
              ok = application:set_env(kernel, Key, Value),
              try
                  attempt(fun() ->
                                  Listen = rs_test:listen(C, []),
                                  {ok, Client} = gen_tcp:connect({127, 0, 0, 1},
                                                                 element(2, rs_test:address_of(Listen)),
                                                                 rs_test:options(C, [{packet, 1}])),
                                  Names = [delay_send, packet, active, nodelay, mode],
                                  {inet:getopts(Client, Names), inet:getopts(Listen, Names)}
                          end)
              after
                  application:unset_env(kernel, Key)
              end
      end}
     || Key <- [inet_default_connect_options, inet_default_listen_options],
        Value <- [[{delay_send, true}], {delay_send, true}, [{active, false}, {nodelay, true}], [binary, {packet, 4}],
                  [{nonsense, 1}]]].
