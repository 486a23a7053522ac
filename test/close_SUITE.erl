%% Closing: queued output, linger, shutdown, who is told, and what is given back.
-module(close_SUITE).

-export([suite/0, all/0, groups/0, init_per_group/2, end_per_group/2]).
-export([peer_sees_the_end/1, close_twice/1, queue_is_sent/1, shutdown_write/1, wakes_every_waiter/1,
         descriptor_is_freed/1,
         linger_zero/1, linger_zero_drops_the_queue/1, linger_gives_up/1, linger_waits_for_the_peer/1, gives_up_without_progress/1,
         works_while_closing/1,
         other_process_closes/1, shutdown_is_postponed/1, shutdown_read/1, shutdown_both/1, shutdown_errors/1,
         half_close_by_the_peer/1, husk/1, gone/1, own_mailbox/1, port_is_free_again/1, races/1,
         peer_closes_and_resets_at_once/1]).

-import(rs_test, [context/1, client/2, server/2, listen/2, next/0, mailbox/0, until_closed/1, async/1, blocked/1,
                  await/1,
                  poll/1, barrier/1, fill/1, drain/2, read_all/1]).

suite() -> [{timetrap, {minutes, 2}}].
all() -> [{group, inet}, {group, rs}].
groups() ->
    rs_test:groups_of([wakes_every_waiter, descriptor_is_freed, linger_zero, linger_zero_drops_the_queue,
                       linger_gives_up, linger_waits_for_the_peer,
                       gives_up_without_progress, works_while_closing, other_process_closes, shutdown_is_postponed,
                       shutdown_read, shutdown_both, shutdown_errors, half_close_by_the_peer, husk, gone, own_mailbox,
                       port_is_free_again, races, peer_closes_and_resets_at_once],
                      [peer_sees_the_end, close_twice, queue_is_sent, shutdown_write]).
init_per_group(Group, Config) -> rs_test:init_group(Group, Config).
end_per_group(Group, Config) -> rs_test:end_group(Group, Config).

%% After close the peer reads what was sent, then closed.
peer_sees_the_end(Config) ->
    {Socket, Peer} = client(context(Config), []),
    ok = gen_tcp:send(Socket, "good bye"),
    ok = gen_tcp:close(Socket),
    {<<"good bye">>, closed} = read_all(Peer),
    ok.

%% close is always ok, also the second time, and for a listener.
close_twice(Config) ->
    C = context(Config),
    {Socket, _Peer} = client(C, []),
    Listen = listen(C, []),
    [ok = gen_tcp:close(Each) || Each <- [Socket, Socket, Listen, Listen]],
    ok.

%% close waits until queued output is out: the peer gets all of it.
queue_is_sent(Config) ->
    {Socket, Peer} = client(context(Config), []),
    Count = fill(Socket),
    Closer = blocked(async(fun() -> gen_tcp:close(Socket) end)),
    ok = drain(Peer, Count),
    {error, closed} = gen_tcp:recv(Peer, 0, 5000),
    {ok, []} = await(Closer),
    ok.

%% After shutdown of the sending side the peer sees the end, and its answer still arrives.
shutdown_write(Config) ->
    {Socket, Peer} = client(context(Config), []),
    ok = inet:setopts(Peer, [{exit_on_close, false}]),
    ok = gen_tcp:send(Socket, "question"),
    ok = gen_tcp:shutdown(Socket, write),
    {<<"question">>, closed} = read_all(Peer),
    ok = gen_tcp:send(Peer, "answer"),
    {ok, <<"answer">>} = gen_tcp:recv(Socket, 6, 5000),
    ok.

%% Closing ends every call that waits on the socket with closed: recv, send and accept.
wakes_every_waiter(Config) ->
    C = context(Config),
    %% One socket each: the driver can forget a reader when a sender waits on the same one.
    {Full, _} = client(C, [{linger, {true, 0}}]),
    {Empty, _} = client(C, []),
    Listen = listen(C, []),
    _ = fill(Full),
    Sender = blocked(async(fun() -> gen_tcp:send(Full, "x") end)),
    Reader = blocked(async(fun() -> gen_tcp:recv(Empty, 0) end)),
    Acceptors = [blocked(async(fun() -> gen_tcp:accept(Listen, Time) end)) || Time <- [infinity, 60000, infinity]],
    [ok = gen_tcp:close(Each) || Each <- [Full, Empty, Listen]],
    [{{error, closed}, []} = await(Waiter) || Waiter <- [Sender, Reader | Acceptors]],
    ok.

%% When close returns the descriptor is free.
descriptor_is_freed(Config) ->
    C = context(Config),
    ok = barrier(C),
    {First, _} = client(C, []),
    ok = gen_tcp:close(First),
    Before = rs_test:fd_count(),
    [begin
         {Socket, Peer} = client(C, [{active, lists:nth(1 + Number rem 2, [true, false])}]),
         ok = gen_tcp:close(Peer),
         ok = gen_tcp:close(Socket),
         Before = rs_test:fd_count()
     end || Number <- lists:seq(1, 100)],
    ok.

%% With linger 0 close resets.
linger_zero(Config) ->
    {Socket, Peer} = client(context(Config), [{linger, {true, 0}}]),
    ok = inet:setopts(Peer, [{show_econnreset, true}]),
    ok = gen_tcp:close(Socket),
    {error, econnreset} = gen_tcp:recv(Peer, 0, 5000),
    ok.

%% With linger 0 close returns at once though output is queued, and drops it.
linger_zero_drops_the_queue(Config) ->
    {Socket, Peer} = client(context(Config), []),
    Count = fill(Socket),
    ok = inet:setopts(Peer, [{show_econnreset, true}]),
    ok = inet:setopts(Socket, [{linger, {true, 0}}]),
    {Microseconds, ok} = timer:tc(fun() -> gen_tcp:close(Socket) end),
    true = Microseconds < 1000000,
    ok = rs_test:reset_arrived(Peer),
    {Received, econnreset} = read_all(Peer),
    true = byte_size(Received) < Count,
    ok.

%% With linger 1 close gives up after a second; what is queued is still sent when the peer reads.
linger_gives_up(Config) ->
    {Socket, Peer} = client(context(Config), [{linger, {true, 1}}]),
    Count = fill(Socket),
    {Microseconds, ok} = timer:tc(fun() -> gen_tcp:close(Socket) end),
    true = Microseconds >= 990000 andalso Microseconds < 3000000,
    ok = drain(Peer, Count),
    {error, closed} = gen_tcp:recv(Peer, 0, 5000),
    ok.

%% With linger close waits for what the kernel has, too, until the peer has taken it or the time is over; without, it does not.
linger_waits_for_the_peer(Config) ->
    [begin
         {Socket, Peer} = client(context(Config), [{sndbuf, 1000000}, {linger, Linger}]),
         %% The kernel takes it here, and there but for its window.
         ok = gen_tcp:send(Socket, <<0:300000/unit:8>>),
         {ok, [{send_pend, 0}]} = inet:getstat(Socket, [send_pend]),
         _ = [ok = drain(Peer, 300000) || Reads],
         {Microseconds, ok} = timer:tc(fun() -> gen_tcp:close(Socket) end),
         {true, _} = {Microseconds >= Least * 1000 andalso Microseconds < Most * 1000, {Linger, Reads, Microseconds}},
         _ = [ok = drain(Peer, 300000) || not Reads],
         {error, closed} = gen_tcp:recv(Peer, 0, 5000)
     end || {Linger, Reads, Least, Most} <- [{{true, 1}, false, 990, 4000}, {{true, 30}, true, 0, 4000}, {{false, 0}, false, 0, 900}]],
    ok.

%% Without linger close gives up when nothing has moved for five seconds; the rest is sent later.
gives_up_without_progress(Config) ->
    {Socket, Peer} = client(context(Config), []),
    Count = fill(Socket),
    ok = rs_test:stalled(Socket),
    {Microseconds, ok} = timer:tc(fun() -> gen_tcp:close(Socket) end),
    true = Microseconds >= 4900000 andalso Microseconds < 9000000,
    ok = drain(Peer, Count),
    {error, closed} = gen_tcp:recv(Peer, 0, 5000),
    ok.

%% While close waits for the queue, others can still use the socket.
works_while_closing(Config) ->
    {Socket, Peer} = client(context(Config), [{high_watermark, 100000000}]),
    Count = fill(Socket),
    Closer = blocked(async(fun() -> gen_tcp:close(Socket) end)),
    ok = gen_tcp:send(Socket, "more"),
    ok = gen_tcp:send(Peer, "input"),
    {ok, <<"input">>} = gen_tcp:recv(Socket, 5, 5000),
    ok = drain(Peer, Count),
    {<<"more">>, closed} = read_all(Peer),
    {ok, []} = await(Closer),
    ok.

%% Another process may close; the owner gets no tcp_closed for it.
other_process_closes(Config) ->
    C = context(Config),
    {Socket, Peer} = client(C, [{active, true}]),
    {ok, []} = await(async(fun() -> gen_tcp:close(Socket) end)),
    {error, closed} = gen_tcp:recv(Peer, 0, 5000),
    ok = barrier(C),
    [] = mailbox(),
    {error, closed} = gen_tcp:send(Socket, "x"),
    ok.

%% shutdown returns at once and is done when the queue is out: all bytes, then the end.
shutdown_is_postponed(Config) ->
    {Socket, Peer} = client(context(Config), []),
    ok = inet:setopts(Peer, [{exit_on_close, false}]),
    Count = fill(Socket),
    {Microseconds, ok} = timer:tc(fun() -> gen_tcp:shutdown(Socket, write) end),
    true = Microseconds < 1000000,
    ok = drain(Peer, Count),
    {error, closed} = gen_tcp:recv(Peer, 0, 5000),
    ok = gen_tcp:send(Peer, "answer"),
    {ok, <<"answer">>} = gen_tcp:recv(Socket, 6, 5000),
    ok.

%% After shutdown of the receiving side what was there is read, then closed.
shutdown_read(Config) ->
    {Socket, Peer} = client(context(Config), []),
    ok = gen_tcp:send(Peer, "abc"),
    ok = rs_test:arrived(Socket, 3),
    ok = gen_tcp:shutdown(Socket, read),
    {ok, <<"abc">>} = gen_tcp:recv(Socket, 3, 5000),
    {error, closed} = gen_tcp:recv(Socket, 0, 5000),
    ok.

%% After shutdown of both, an active owner is told, and the peer sees the end.
shutdown_both(Config) ->
    {Socket, Peer} = client(context(Config), [{active, true}]),
    ok = gen_tcp:send(Socket, "last"),
    ok = gen_tcp:shutdown(Socket, read_write),
    [{tcp_closed, Socket}] = until_closed(Socket),
    {<<"last">>, closed} = read_all(Peer),
    ok.

%% shutdown of what is not connected says so.
shutdown_errors(Config) ->
    C = context(Config),
    Listen = listen(C, []),
    {error, enotconn} = gen_tcp:shutdown(Listen, read_write),
    ok = gen_tcp:close(Listen),
    {error, closed} = gen_tcp:shutdown(Listen, write),
    {Socket, _Peer} = client(C, []),
    {raised, error, function_clause} = rs_test:attempt(fun() -> gen_tcp:shutdown(Socket, foo) end),
    ok.

%% The peer's half-close closes by default; with exit_on_close false we can go on sending.
half_close_by_the_peer(Config) ->
    C = context(Config),
    {Closing, ClosingPeer} = client(C, []),
    ok = gen_tcp:shutdown(ClosingPeer, write),
    {error, closed} = gen_tcp:recv(Closing, 0, 5000),
    {error, closed} = gen_tcp:recv(ClosingPeer, 0, 5000),
    {Staying, StayingPeer} = client(C, [{exit_on_close, false}]),
    ok = gen_tcp:shutdown(StayingPeer, write),
    [{error, closed} = gen_tcp:recv(Staying, 0, 5000) || _ <- [1, 2, 3]],
    ok = gen_tcp:send(Staying, "still open"),
    {ok, <<"still open">>} = gen_tcp:recv(StayingPeer, 10, 5000),
    ok.

%% What every call answers once a reader has seen the end, and that arming then tells and ends it.
husk(Config) ->
    {Socket, Peer} = client(context(Config), []),
    ok = gen_tcp:close(Peer),
    {error, closed} = gen_tcp:recv(Socket, 0, 5000),
    {error, enotconn} = gen_tcp:recv(Socket, 0, 5000),
    {error, closed} = gen_tcp:send(Socket, "x"),
    {error, enotconn} = gen_tcp:send(Socket, "x"),
    {error, enotconn} = gen_tcp:shutdown(Socket, write),
    {error, enotconn} = inet:peername(Socket),
    {error, ebadf} = inet:sockname(Socket),
    {ok, [{packet, 0}]} = inet:getopts(Socket, [packet, nodelay]),
    {ok, [{recv_cnt, 0}]} = inet:getstat(Socket, [recv_cnt]),
    ok = inet:setopts(Socket, [{active, once}]),
    [{tcp_closed, Socket}] = until_closed(Socket),
    {error, einval} = inet:setopts(Socket, [{active, once}]),
    ok = gen_tcp:close(Socket),
    ok.

%% What every call answers once the socket is gone.
gone(Config) ->
    {Socket, _Peer} = client(context(Config), []),
    ok = gen_tcp:close(Socket),
    [{error, closed} = Call(Socket)
     || Call <- [fun(S) -> gen_tcp:send(S, "x") end, fun(S) -> gen_tcp:recv(S, 0) end,
                 fun(S) -> gen_tcp:shutdown(S, write) end, fun gen_tcp:accept/1,
                 fun(S) -> gen_tcp:controlling_process(S, self()) end, fun(S) -> gen_tcp:unrecv(S, "x") end]],
    [{error, einval} = Call(Socket)
     || Call <- [fun(S) -> inet:setopts(S, []) end, fun(S) -> inet:getopts(S, []) end, fun inet:getstat/1,
                 fun inet:sockname/1,
                 fun inet:peername/1, fun inet:port/1]],
    ok.

%% The closer finds no tcp_closed afterwards; its data messages stay.
own_mailbox(Config) ->
    C = context(Config),
    {Socket, Peer} = client(C, [{active, true}, {packet, 1}, {exit_on_close, false}]),
    ok = gen_tcp:send(Peer, <<1, "a">>),
    ok = gen_tcp:close(Peer),
    ok = rs_test:queued(2),
    ok = gen_tcp:close(Socket),
    [{tcp, Socket, <<"a">>}] = mailbox(),
    ok.

%% A listener's port can be listened on again as soon as it is closed.
port_is_free_again(Config) ->
    C = context(Config),
    {_, Port} = rs_test:address_of(First = listen(C, [])),
    ok = gen_tcp:close(First),
    [begin
         {ok, Listen} = gen_tcp:listen(Port, rs_test:options(C, [{ip, {127, 0, 0, 1}}])),
         ok = gen_tcp:close(Listen)
     end || _ <- lists:seq(1, 50)],
    ok.

%% A hundred sockets closed by several processes at once, while others read, send and arm: each call returns.
races(Config) ->
    C = context(Config),
    ok = barrier(C),
    Before = rs_test:socket_fds(),
    [begin
         {Socket, Peer} = client(C, []),
         Calls = [fun() -> gen_tcp:recv(Socket, 0) end, fun() -> gen_tcp:send(Socket, "x") end,
                  fun() -> gen_tcp:close(Socket) end,
                  fun() -> inet:setopts(Socket, [{active, once}]) end, fun() -> gen_tcp:close(Socket) end,
                  fun() -> gen_tcp:shutdown(Socket, read_write) end, fun() -> gen_tcp:recv(Socket, 5, 100) end],
         Running = [async(Call) || Call <- Calls],
         ok = gen_tcp:close(Peer),
         Results = [element(1, await(Each)) || Each <- Running],
         [] = [Result || Result <- Results, Result =/= ok, element(1, Result) =/= error],
         ok = gen_tcp:close(Socket)
     end || _ <- lists:seq(1, 100)],
    poll(fun() -> rs_test:socket_fds() =< Before end).

%% Data, then close or reset by the peer at once, many times: the owner is told once each, and nothing leaks.
peer_closes_and_resets_at_once(Config) ->
    C = context(Config),
    ok = barrier(C),
    Before = rs_test:socket_fds(),
    [begin
         {Socket, Peer} = client(C, [{active, true}, {packet, 1}]),
         ok = gen_tcp:send(Peer, <<1, "a">>),
         case Number rem 2 of
             0 -> ok = gen_tcp:close(Peer);
             1 -> ok = rs_test:reset(Peer)
         end,
         {tcp_closed, Socket} = lists:last(until_closed(Socket))
     end || Number <- lists:seq(1, 200)],
    ok = barrier(C),
    [] = mailbox(),
    poll(fun() -> rs_test:socket_fds() =< Before end).
