%% Observations on the active modes: counting, re-arming, what comes before what.
-module(diff_active).

-export([observations/0]).

-import(rs_test, [client/2, server/2, plain_client/2, next/0, next_n/1, until_closed/1, collect/2, reset/1,
                  arrived/2, fin_arrived/1, reset_arrived/1, barrier/1, mailbox/0, async/1, await/1]).

-spec observations() -> [{string(), fun((rs_test:context()) -> term())}].
observations() ->
    arithmetic() ++ delivery() ++ endings() ++ after_the_end().

active_of(Socket) ->
    inet:getopts(Socket, [active]).

%% Each value set in turn; what setopts says and what reads back after it.
set_each(Socket, Values) ->
    [{Value, inet:setopts(Socket, [{active, Value}]), active_of(Socket)} || Value <- Values].

arithmetic() ->
    [{"active sums: " ++ Name, fun(C) -> {Socket, _} = client(C, []), set_each(Socket, Values) end}
     || {Name, Values} <- sums()]
    ++ [{"active sums on a listening socket: " ++ Name,
         fun(C) -> set_each(rs_test:listen(C, []), Values) end} || {Name, Values} <- sums()]
    ++ [{"active at connect: " ++ lists:flatten(io_lib:format("~0p", [Value])),
         fun(C) -> {Socket, _} = client(C, [{active, Value}]), active_of(Socket) end}
        || Value <- [true, false, once, 1, 32767, 0, -1, -32768]]
    ++ [{"active at listen: " ++ lists:flatten(io_lib:format("~0p", [Value])),
         fun(C) ->
                 Listen = rs_test:listen(C, [{active, Value}]),
                 Before = active_of(Listen),
                 {ok, _Peer} = rs_test:connect(C#{backend := inet}, Listen, []),
                 Socket = rs_test:accept(Listen),
                 {Before, active_of(Socket), active_of(Listen)}
         end}
        || Value <- [true, false, once, 1, 32767, 0, -1]]
    ++ [{"active is true by default", fun(C) -> {Socket, _} = plain_client(C, []), active_of(Socket) end}].

sums() ->
    [{"add and take away", [3, -1, -2]},
     {"zero on a passive socket", [0, 0, -5]},
     {"to the limit", [32767, 1, -32767, 5]},
     {"out of range", [32768, -32769, 100000, 32767]},
     {"below zero", [5, -32768, 1]},
     {"leaving the count", [5, true, 3, once, 2, false, 4]},
     {"not a mode", [7, foo, -1, "once"]}].

delivery() ->
    [{"once gives one message and no more",
      fun(C) ->
              {Socket, Peer} = client(C, [{packet, 1}, {active, once}]),
              ok = gen_tcp:send(Peer, <<1, "a", 1, "b">>),
              First = next(),
              ok = barrier(C),
              {First, active_of(Socket), mailbox(), gen_tcp:recv(Socket, 0)}
      end},
     {"the count runs out in the middle of the buffer",
      fun(C) ->
              {Socket, Peer} = client(C, [{packet, 1}, {active, 3}]),
              ok = gen_tcp:send(Peer, <<1, "a", 1, "b", 1, "c", 1, "d", 1, "e">>),
              Four = next_n(4),
              ok = barrier(C),
              {Four, mailbox(), active_of(Socket), gen_tcp:recv(Socket, 0), gen_tcp:recv(Socket, 0)}
      end},
     {"re-arming with once delivers from the buffer before it returns",
      fun(C) ->
              {Socket, Peer} = client(C, [{packet, 1}]),
              ok = gen_tcp:send(Peer, <<1, "a", 1, "b">>),
              {ok, <<"a">>} = gen_tcp:recv(Socket, 0),
              ok = inet:setopts(Socket, [{active, once}]),
              {mailbox(), active_of(Socket)}
      end},
     {"re-arming with once reads the kernel before it returns",
      fun(C) ->
              {Socket, Peer} = client(C, [{packet, 1}]),
              ok = gen_tcp:send(Peer, <<1, "a", 1, "b">>),
              ok = arrived(Socket, 4),
              ok = inet:setopts(Socket, [{active, once}]),
              {mailbox(), active_of(Socket)}
      end},
     {"re-arming with N delivers N before it returns",
      fun(C) ->
              {Socket, Peer} = client(C, [{packet, 1}]),
              ok = gen_tcp:send(Peer, <<1, "a", 1, "b", 1, "c">>),
              ok = arrived(Socket, 6),
              ok = inet:setopts(Socket, [{active, 2}]),
              {mailbox(), active_of(Socket)}
      end},
     {"re-arming with once finds the end before it returns",
      fun(C) ->
              {Socket, Peer} = client(C, []),
              ok = gen_tcp:shutdown(Peer, write),
              ok = fin_arrived(Socket),
              ok = inet:setopts(Socket, [{active, once}]),
              mailbox()
      end},
     {"re-arming with true delivers the frames of the buffer before it returns",
      fun(C) ->
              {Socket, Peer} = client(C, [{packet, 1}]),
              ok = gen_tcp:send(Peer, <<1, "a", 1, "b", 1, "c", 5, "d">>),
              {ok, <<"a">>} = gen_tcp:recv(Socket, 0),
              ok = inet:setopts(Socket, [{active, true}]),
              mailbox()
      end},
     {"true, then false: nothing comes, recv gets it",
      fun(C) ->
              {Socket, Peer} = client(C, [{active, true}, {packet, 1}]),
              ok = gen_tcp:send(Peer, <<1, "a">>),
              First = next(),
              ok = inet:setopts(Socket, [{active, false}]),
              ok = gen_tcp:send(Peer, <<1, "b">>),
              ok = barrier(C),
              {First, mailbox(), gen_tcp:recv(Socket, 0)}
      end},
     {"messages go to the owner, whoever arms",
      fun(C) ->
              {Socket, Peer} = client(C, [{packet, 1}]),
              Other = async(fun() -> inet:setopts(Socket, [{active, once}]) end),
              Armed = await(Other),
              ok = gen_tcp:send(Peer, <<1, "a">>),
              {Armed, next()}
      end},
     {"an unread tcp_passive does not stop a re-arm",
      fun(C) ->
              {Socket, Peer} = client(C, [{packet, 1}, {active, 1}]),
              ok = gen_tcp:send(Peer, <<1, "a", 1, "b", 1, "c">>),
              ok = arrived(Socket, 6),
              Two = next_n(2),
              ok = inet:setopts(Socket, [{active, 1}]),
              ok = inet:setopts(Socket, [{active, 1}]),
              {Two, next_n(4)}
      end},
     {"raw data of several sends is complete",
      fun(C) ->
              {Socket, Peer} = client(C, [{active, true}]),
              [ok = gen_tcp:send(Peer, <<Number:16>>) || Number <- lists:seq(1, 500)],
              Data = collect(Socket, 1000),
              {byte_size(Data), erlang:md5(Data)}
      end},
     {"raw data is cut at the buffer's size",
      fun(C) ->
              {Socket, Peer} = client(C, [{buffer, 1000}]),
              ok = gen_tcp:send(Peer, binary:copy(<<"x">>, 2500)),
              ok = arrived(Socket, 2500),
              ok = inet:setopts(Socket, [{active, true}]),
              [byte_size(Data) || {tcp, _, Data} <- next_n(3)]
      end},
     {"raw once takes one read of the buffer's size",
      fun(C) ->
              {Socket, Peer} = client(C, [{buffer, 1000}]),
              ok = gen_tcp:send(Peer, binary:copy(<<"x">>, 1500)),
              ok = arrived(Socket, 1500),
              ok = inet:setopts(Socket, [{active, once}]),
              Sizes = [byte_size(Data) || {tcp, _, Data} <- mailbox()],
              {Sizes, gen_tcp:recv(Socket, 500)}
      end},
     {"an accepted socket takes the mode over",
      fun(C) ->
              {Socket, Peer} = server(C, [{active, 2}, {packet, 1}]),
              ok = gen_tcp:send(Peer, <<1, "a", 1, "b", 1, "c">>),
              {next_n(3), active_of(Socket)}
      end},
     {"unrecv on an active socket is delivered",
      fun(C) ->
              {Socket, _} = client(C, [{active, true}, {packet, 1}]),
              {gen_tcp:unrecv(Socket, <<2, "ab", 1, "c">>), next_n(2)}
      end}]
    ++ [{"a waiting packet is delivered on a change of type, " ++ Name,
         fun(C) ->
                 {Socket, Peer} = client(C, [{packet, 4}]),
                 ok = gen_tcp:send(Peer, <<1:32, "a", "line\n">>),
                 {ok, <<"a">>} = gen_tcp:recv(Socket, 0),
                 ok = inet:setopts(Socket, [{packet, line}]),
                 ok = inet:setopts(Socket, [{active, Mode}]),
                 next()
         end} || {Name, Mode} <- [{"true", true}, {"once", once}, {"N", 1}]].

endings() ->
    lists:append(
      [[{"data, then FIN, " ++ Name,
         fun(C) ->
                 {Socket, Peer} = client(C, [{packet, 1}, {active, Mode}]),
                 ok = gen_tcp:send(Peer, <<1, "a", 1, "b">>),
                 ok = gen_tcp:close(Peer),
                 until_closed(Socket)
         end},
        {"reset, " ++ Name,
         fun(C) ->
                 {Socket, Peer} = client(C, [{packet, 1}, {active, Mode}]),
                 ok = reset(Peer),
                 until_closed(Socket)
         end},
        {"reset shown, " ++ Name,
         fun(C) ->
                 {Socket, Peer} = client(C, [{packet, 1}, {active, Mode}, {show_econnreset, true}]),
                 ok = reset(Peer),
                 until_closed(Socket)
         end},
        {"reset shown, exit_on_close false, " ++ Name,
         fun(C) ->
                 {Socket, Peer} = server(C, [{active, Mode}, {show_econnreset, true}, {exit_on_close, false}]),
                 ok = reset(Peer),
                 {until_closed(Socket), active_of(Socket)}
         end},
        {"bad frame, exit_on_close false, " ++ Name,
         fun(C) ->
                 {Socket, Peer} = client(C, [{packet, 4}, {active, Mode}, {exit_on_close, false}]),
                 ok = gen_tcp:send(Peer, <<16#ffffffff:32>>),
                 Messages = until_closed(Socket),
                 {Messages, active_of(Socket), gen_tcp:send(Socket, "x"),
                  gen_tcp:recv(Peer, 5), inet:setopts(Socket, [{active, true}])}
         end}] || {Name, Mode} <- [{"true", true}, {"N", 5}]])
    ++ [{"three frames and FIN in once mode",
         fun(C) ->
                 {Socket, Peer} = client(C, [{packet, 1}, {active, once}]),
                 ok = gen_tcp:send(Peer, <<1, "a", 1, "b", 1, "c">>),
                 ok = gen_tcp:close(Peer),
                 First = next(),
                 ok = fin_arrived(Socket),
                 ok = inet:setopts(Socket, [{active, once}]),
                 Second = next(),
                 ok = inet:setopts(Socket, [{active, true}]),
                 {First, Second, until_closed(Socket)}
         end},
        {"FIN waits while passive",
         fun(C) ->
                 {Socket, Peer} = client(C, [{packet, 1}, {active, 1}]),
                 ok = gen_tcp:send(Peer, <<1, "a">>),
                 ok = gen_tcp:close(Peer),
                 Two = next_n(2),
                 ok = fin_arrived(Socket),
                 ok = barrier(C),
                 {Two, mailbox(), inet:setopts(Socket, [{active, 1}]), mailbox()}
         end},
        {"reset while passive, then armed",
         fun(C) ->
                 {Socket, Peer} = client(C, [{show_econnreset, true}]),
                 ok = reset(Peer),
                 ok = reset_arrived(Socket),
                 ok = barrier(C),
                 {mailbox(), inet:setopts(Socket, [{active, once}]), until_closed(Socket)}
         end},
        {"FIN in count mode leaves the count",
         fun(C) ->
                 {Socket, Peer} = client(C, [{active, 5}, {exit_on_close, false}]),
                 ok = gen_tcp:close(Peer),
                 {until_closed(Socket), active_of(Socket)}
         end},
        {"FIN in once mode leaves once",
         fun(C) ->
                 {Socket, Peer} = client(C, [{active, once}, {exit_on_close, false}]),
                 ok = gen_tcp:close(Peer),
                 {until_closed(Socket), active_of(Socket)}
         end},
        {"a good frame, then a bad one",
         fun(C) ->
                 {Socket, Peer} = client(C, [{packet, 4}, {active, true}]),
                 ok = gen_tcp:send(Peer, <<2:32, "ok">>),
                 First = next(),
                 ok = gen_tcp:send(Peer, <<16#ffffffff:32>>),
                 {First, until_closed(Socket)}
         end}].

after_the_end() ->
    [{"active after FIN: " ++ Name,
      fun(C) ->
              {Socket, Peer} = client(C, [{active, true}]),
              ok = gen_tcp:shutdown(Peer, write),
              Messages = until_closed(Socket),
              {Messages, Call(Socket)}
      end} || {Name, Call} <- diff_errors:calls()]
    ++ [{"tcp_closed comes once with exit_on_close false",
         fun(C) ->
                 {Socket, Peer} = client(C, [{active, true}, {exit_on_close, false}]),
                 ok = gen_tcp:shutdown(Peer, write),
                 Messages = until_closed(Socket),
                 Set = [inet:setopts(Socket, [{active, Mode}]) || Mode <- [once, true, 3, false, true]],
                 ok = barrier(C),
                 {Messages, Set, mailbox(), active_of(Socket)}
         end},
        {"half-closed with exit_on_close false still sends",
         fun(C) ->
                 {Socket, Peer} = client(C, [{active, true}, {exit_on_close, false}]),
                 ok = gen_tcp:shutdown(Peer, write),
                 Messages = until_closed(Socket),
                 Sent = gen_tcp:send(Socket, "answer"),
                 {Messages, Sent, gen_tcp:recv(Peer, 6), gen_tcp:close(Socket), gen_tcp:recv(Peer, 0)}
         end},
        {"half-closed, made passive, recv says closed every time",
         fun(C) ->
                 {Socket, Peer} = client(C, [{active, true}, {exit_on_close, false}]),
                 ok = gen_tcp:shutdown(Peer, write),
                 Messages = until_closed(Socket),
                 Set = inet:setopts(Socket, [{active, false}]),
                 {Messages, Set, [gen_tcp:recv(Socket, 0, 1000) || _ <- [1, 2, 3]]}
         end},
        {"closed while passive by recv, then armed",
         fun(C) ->
                 {Socket, Peer} = client(C, []),
                 ok = gen_tcp:close(Peer),
                 Closed = gen_tcp:recv(Socket, 0),
                 False = inet:setopts(Socket, [{active, false}]),
                 Nothing = mailbox(),
                 Once = inet:setopts(Socket, [{active, once}]),
                 {Closed, False, Nothing, Once, next(), inet:setopts(Socket, [{active, once}])}
         end},
        {"exit_on_close set after the close",
         fun(C) ->
                 {Socket, Peer} = client(C, [{exit_on_close, false}]),
                 ok = gen_tcp:close(Peer),
                 First = gen_tcp:recv(Socket, 0),
                 Set = inet:setopts(Socket, [{exit_on_close, true}]),
                 {First, Set, gen_tcp:recv(Socket, 0), gen_tcp:recv(Socket, 0)}
         end},
        {"own close leaves no tcp_closed",
         fun(C) ->
                 {Socket, _} = client(C, [{active, true}]),
                 ok = gen_tcp:close(Socket),
                 ok = barrier(C),
                 mailbox()
         end},
        {"own close removes a tcp_closed that was there",
         fun(C) ->
                 {Socket, Peer} = client(C, [{active, true}, {exit_on_close, false}]),
                 ok = gen_tcp:close(Peer),
                 ok = rs_test:queued(1),
                 {gen_tcp:close(Socket), mailbox()}
         end}].
