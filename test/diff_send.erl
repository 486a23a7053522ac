%% Observations on sending: headers, the queue, watermarks, timeouts, and what a send finds broken.
-module(diff_send).

-export([observations/0]).

-import(rs_test, [client/2, server/2, next/0, until_closed/1, read_all/1, reset/1, fin_arrived/1, reset_arrived/1,
                  mailbox/0, async/1, blocked/1, await/1, kill/1, fill/1, drain/2]).

-spec observations() -> [{string(), fun((rs_test:context()) -> term())}].
observations() ->
    headers() ++ data() ++ queue() ++ timeouts() ++ broken() ++ counters().

%% What a peer gets of these sends; the socket is closed after them.
sent(C, Options, Datas) ->
    {Socket, Peer} = client(C, Options),
    Results = [gen_tcp:send(Socket, Data) || Data <- Datas],
    ok = gen_tcp:close(Socket),
    {Bytes, End} = read_all(Peer),
    {Results, case byte_size(Bytes) of Size when Size > 100 -> {Size, erlang:md5(Bytes)}; _ -> Bytes end, End}.

headers() ->
    [{"send with packet " ++ lists:flatten(io_lib:format("~0p", [Type])),
      fun(C) -> sent(C, [{packet, Type}], ["abc", "", <<"de">>, ["f", [$g | <<"h">>]]]) end}
     || Type <- [raw, 0, 1, 2, 4, sunrm, asn1, cdr, fcgi, line, tpkt, http, httph, http_bin, httph_bin]]
    ++ [{"send " ++ integer_to_list(Size) ++ " bytes with packet " ++ integer_to_list(Type),
         fun(C) -> sent(C, [{packet, Type}], [binary:copy(<<"x">>, Size)]) end}
        || {Type, Size} <- [{1, 255}, {1, 256}, {1, 257}, {1, 600}, {2, 65535}, {2, 65536}, {2, 70000}, {4, 100000}]]
    ++ [{"packet_size does not limit a send", fun(C) -> sent(C, [{packet, 2}, {packet_size, 2}], ["abcdef"]) end},
        {"the type of the moment is used",
         fun(C) ->
                 {Socket, Peer} = client(C, [{packet, 1}]),
                 [begin ok = inet:setopts(Socket, [{packet, Type}]), ok = gen_tcp:send(Socket, "a") end
                  || Type <- [1, 2, 4, 0]],
                 ok = gen_tcp:close(Socket),
                 read_all(Peer)
         end}].

data() ->
    [{"send an iolist of many parts",
      fun(C) -> sent(C, [], [[integer_to_list(Number), $,, <<Number:32>>] || Number <- lists:seq(1, 300)]) end},
     {"send one deep iolist",
      fun(C) ->
              sent(C, [{packet, 4}],
                   [lists:foldl(fun(Number, Deep) -> [Deep, <<Number:16>>] end, [], lists:seq(1, 5000))])
      end},
     {"send big binaries in a list",
      fun(C) -> sent(C, [], [[binary:copy(<<Byte>>, 100000) || Byte <- lists:seq(1, 3)]]) end},
     {"send 1, then many",
      fun(C) -> sent(C, [{packet, 2}], [<<Number:24>> || Number <- lists:seq(1, 1000)]) end},
     {"send from other processes",
      fun(C) ->
              {Socket, Peer} = client(C, []),
              Results = [await(async(fun() -> gen_tcp:send(Socket, [Byte]) end)) || Byte <- "abc"],
              {Results, gen_tcp:recv(Peer, 3)}
      end},
     {"delay_send",
      fun(C) -> sent(C, [{delay_send, true}, {packet, 1}], ["one", "two", "three"]) end},
     {"inet send",
      fun(C) ->
              {Socket, Peer} = client(C, []),
              {gen_tcp:send(Socket, <<>>), gen_tcp:send(Socket, []), gen_tcp:send(Socket, "x"), gen_tcp:recv(Peer, 0)}
      end}].

pending(Socket) ->
    {ok, [{send_pend, Count}]} = inet:getstat(Socket, [send_pend]),
    Count.

queue() ->
    [{"the first send never waits, all of it arrives",
      fun(C) ->
              {Socket, Peer} = client(C, []),
              Count = fill(Socket),
              ok = drain(Peer, Count),
              rs_test:poll(fun() -> pending(Socket) =:= 0 end),
              {gen_tcp:recv(Peer, 0, 0), gen_tcp:send(Socket, "x"), gen_tcp:recv(Peer, 0)}
      end},
     {"a send after a long one that the kernel has taken never waits",
      fun(C) ->
              {Socket, Peer} = client(C, []),
              Long = 1024 * 1024,
              ok = gen_tcp:send(Socket, <<0:Long/unit:8>>),
              Count = fill(Socket),
              drain(Peer, Long + Count)
      end},
     {"above the high watermark a send waits until the low one",
      fun(C) ->
              {Socket, Peer} = client(C, []),
              Count = fill(Socket),
              Sender = blocked(async(fun() -> gen_tcp:send(Socket, "after") end)),
              ok = drain(Peer, Count),
              {await(Sender), gen_tcp:recv(Peer, 5)}
      end},
     {"two senders wait, both are served in turn",
      fun(C) ->
              {Socket, Peer} = client(C, []),
              Count = fill(Socket),
              First = blocked(async(fun() -> gen_tcp:send(Socket, "one") end)),
              Second = blocked(async(fun() -> gen_tcp:send(Socket, "two") end)),
              ok = drain(Peer, Count),
              {await(First), await(Second), gen_tcp:recv(Peer, 6)}
      end},
     {"below the high watermark a send is queued",
      fun(C) ->
              {Socket, Peer} = client(C, [{high_watermark, 64 * 1024 * 1024}]),
              Count = fill(Socket),
              Results = [gen_tcp:send(Socket, "more") || _ <- [1, 2, 3]],
              ok = drain(Peer, Count),
              {Results, gen_tcp:recv(Peer, 12)}
      end},
     {"a killed sender's data is sent",
      fun(C) ->
              {Socket, Peer} = client(C, []),
              Count = fill(Socket),
              Sender = blocked(async(fun() -> gen_tcp:send(Socket, "last words") end)),
              ok = kill(Sender),
              ok = drain(Peer, Count),
              {gen_tcp:recv(Peer, 10), gen_tcp:send(Socket, "x"), gen_tcp:recv(Peer, 1)}
      end},
     {"receiving goes on while output is queued",
      fun(C) ->
              {Socket, Peer} = client(C, [{packet, 1}, {active, 2}]),
              _ = fill(Socket),
              ok = gen_tcp:send(Peer, <<1, "a", 1, "b">>),
              rs_test:next_n(3)
      end},
     {"a packet change does not touch what is queued",
      fun(C) ->
              {Socket, Peer} = client(C, [{high_watermark, 64 * 1024 * 1024}, {packet, 0}]),
              Count = fill(Socket),
              ok = inet:setopts(Socket, [{packet, 1}]),
              ok = gen_tcp:send(Socket, "a"),
              ok = inet:setopts(Socket, [{packet, 4}]),
              ok = gen_tcp:send(Socket, "b"),
              ok = drain(Peer, Count),
              gen_tcp:recv(Peer, 7)
      end}].

timeouts() ->
    [{"send_timeout keeps the data",
      fun(C) ->
              {Socket, Peer} = client(C, [{send_timeout, 30}]),
              Count = fill(Socket),
              Results = [gen_tcp:send(Socket, "one"), gen_tcp:send(Socket, "two")],
              ok = drain(Peer, Count),
              {Results, gen_tcp:recv(Peer, 6), mailbox()}
      end},
     {"send_timeout 0",
      fun(C) ->
              {Socket, Peer} = client(C, [{send_timeout, 0}]),
              Count = fill(Socket),
              Results = [gen_tcp:send(Socket, "one"), gen_tcp:send(Socket, "two")],
              ok = drain(Peer, Count),
              {Results, gen_tcp:recv(Peer, 6), mailbox()}
      end},
     {"send_timeout_close ends the socket",
      fun(C) ->
              {Socket, _} = client(C, [{send_timeout, 30}, {send_timeout_close, true}]),
              _ = fill(Socket),
              {gen_tcp:send(Socket, "x"), gen_tcp:send(Socket, "y"), gen_tcp:recv(Socket, 0, 1000),
               inet:setopts(Socket, [{active, true}]), until_closed(Socket), gen_tcp:close(Socket)}
      end},
     {"send_timeout is for the waiting, not the sending",
      fun(C) ->
              {Socket, Peer} = client(C, [{send_timeout, 1}]),
              Data = binary:copy(<<"x">>, 3000000),
              Sent = gen_tcp:send(Socket, Data),
              ok = drain(Peer, 3000000),
              Sent
      end},
     {"send_timeout set while nobody waits",
      fun(C) ->
              {Socket, _} = client(C, []),
              _ = fill(Socket),
              {inet:setopts(Socket, [{send_timeout, 20}]), gen_tcp:send(Socket, "x"), gen_tcp:send(Socket, "")}
      end}].

broken() ->
    [{"send after FIN only: ok",
      fun(C) ->
              {Socket, Peer} = client(C, []),
              ok = gen_tcp:shutdown(Peer, write),
              ok = fin_arrived(Socket),
              {gen_tcp:send(Socket, "x"), gen_tcp:recv(Peer, 1), gen_tcp:recv(Socket, 0)}
      end}]
    ++ [{"send to a closed peer, " ++ Name,
         fun(C) ->
                 {Socket, Peer} = client(C, Options),
                 ok = gen_tcp:close(Peer),
                 ok = fin_arrived(Socket),
                 First = gen_tcp:send(Socket, "x"),
                 ok = reset_arrived(Socket),
                 {First, gen_tcp:send(Socket, "y"), gen_tcp:send(Socket, "z"), gen_tcp:recv(Socket, 0),
                  gen_tcp:recv(Socket, 0)}
         end} || {Name, Options} <- [{"hidden", []}, {"shown", [{show_econnreset, true}]}]]
    ++ [{"send after a reset, " ++ Name,
         fun(C) ->
                 {Socket, Peer} = client(C, Options),
                 ok = reset(Peer),
                 ok = reset_arrived(Socket),
                 {gen_tcp:send(Socket, "y"), gen_tcp:send(Socket, "z"), gen_tcp:recv(Socket, 0),
                  gen_tcp:recv(Socket, 0),
                  inet:setopts(Socket, [{active, once}]), until_closed(Socket)}
         end} || {Name, Options} <- [{"hidden", []}, {"shown", [{show_econnreset, true}]},
                                     {"exit_on_close false", [{exit_on_close, false}]},
                                     {"shown, exit_on_close false", [{show_econnreset, true}, {exit_on_close, false}]}]]
    ++ [{"send after own shutdown, " ++ Name,
         fun(C) ->
                 {Socket, Peer} = client(C, Options),
                 ok = gen_tcp:send(Peer, "unread"),
                 ok = gen_tcp:shutdown(Socket, write),
                 {gen_tcp:send(Socket, "y"), gen_tcp:send(Socket, "z"), gen_tcp:recv(Socket, 0),
                  gen_tcp:recv(Socket, 0)}
         end} || {Name, Options} <- [{"hidden", []}, {"shown", [{show_econnreset, true}]},
                                     {"exit_on_close false", [{exit_on_close, false}]}]]
    ++ [{"active send after own shutdown",
         fun(C) ->
                 {Socket, _} = client(C, [{active, true}]),
                 ok = gen_tcp:shutdown(Socket, write),
                 {gen_tcp:send(Socket, "y"), until_closed(Socket), gen_tcp:send(Socket, "z")}
         end},
        {"a waiting sender is told of a reset",
         fun(C) ->
                 {Socket, Peer} = client(C, []),
                 _ = fill(Socket),
                 Sender = blocked(async(fun() -> gen_tcp:send(Socket, "x") end)),
                 ok = reset(Peer),
                 await(Sender)
         end},
        {"a waiting sender is told of a reset, shown",
         fun(C) ->
                 {Socket, Peer} = client(C, [{show_econnreset, true}]),
                 _ = fill(Socket),
                 Sender = blocked(async(fun() -> gen_tcp:send(Socket, "x") end)),
                 ok = reset(Peer),
                 await(Sender)
         end},
        {"a waiting sender of an active socket is told of a reset",
         fun(C) ->
                 {Socket, Peer} = client(C, [{active, true}]),
                 _ = fill(Socket),
                 Sender = blocked(async(fun() -> gen_tcp:send(Socket, "x") end)),
                 ok = reset(Peer),
                 {await(Sender), until_closed(Socket)}
         end},
        {"queued output of an active socket meets a reset, shown",
         fun(C) ->
                 {Socket, Peer} = client(C, [{active, true}, {show_econnreset, true}]),
                 _ = fill(Socket),
                 ok = reset(Peer),
                 until_closed(Socket)
         end},
        {"a waiting sender of an active socket is told of a half-close",
         fun(C) ->
                 {Socket, Peer} = client(C, [{active, true}]),
                 _ = fill(Socket),
                 Sender = blocked(async(fun() -> gen_tcp:send(Socket, "x") end)),
                 ok = gen_tcp:shutdown(Peer, write),
                 {await(Sender), until_closed(Socket)}
         end},
        {"waiting sender and reader are both told of the end",
         fun(C) ->
                 {Socket, Peer} = client(C, []),
                 _ = fill(Socket),
                 Sender = blocked(async(fun() -> gen_tcp:send(Socket, "x") end)),
                 Reader = blocked(async(fun() -> gen_tcp:recv(Socket, 0) end)),
                 ok = reset(Peer),
                 {await(Sender), await(Reader)}
         end},
        {"a waiting sender is told of own close with linger 0",
         fun(C) ->
                 {Socket, _} = client(C, [{linger, {true, 0}}]),
                 _ = fill(Socket),
                 Sender = blocked(async(fun() -> gen_tcp:send(Socket, "x") end)),
                 {gen_tcp:close(Socket), await(Sender)}
         end},
        {"active, send finds the reset",
         fun(C) ->
                 {Socket, Peer} = server(C, [{active, false}]),
                 ok = reset(Peer),
                 ok = reset_arrived(Socket),
                 Sent = gen_tcp:send(Socket, "y"),
                 {Sent, mailbox(), inet:setopts(Socket, [{active, true}]), next()}
         end}].

counters() ->
    Names = [send_cnt, send_oct, send_max, send_avg, send_pend],
    [{"counters of sends with packet " ++ integer_to_list(Type),
      fun(C) ->
              {Socket, Peer} = client(C, [{packet, Type}]),
              [ok = gen_tcp:send(Socket, Data) || Data <- ["hello", "", "0123456789"]],
              {ok, _} = gen_tcp:recv(Peer, 15 + 3 * Type),
              inet:getstat(Socket, Names)
      end} || Type <- [0, 1, 4]]
    ++ [{"counters of refused sends",
         fun(C) ->
                 {Socket, _} = client(C, []),
                 {gen_tcp:send(Socket, foo), inet:getstat(Socket, Names)}
         end},
        {"counters of a queued send",
         fun(C) ->
                 {Socket, _} = client(C, []),
                 Count = fill(Socket),
                 {ok, [{send_cnt, Times}, {send_oct, Octets}, {send_max, Longest}]} =
                     inet:getstat(Socket, [send_cnt, send_oct, send_max]),
                 {Times, Octets =:= Count, Longest =:= Count}
         end}].
