%% Sends that never wait, and the limit of what may be queued.
-module(nowait_SUITE).

-export([all/0, groups/0, suite/0, init_per_group/2, end_per_group/2, init_per_suite/1, end_per_suite/1]).
-export([never_waits/1, one_notice_each/1, nothing_refused_is_sent/1, closed_meanwhile/1, dead_callers/1, beside_waiting_senders/1,
         through_the_modules/1]).
-export([limit_refuses/1, limit_closes/1, limit_bounds_a_timed_out_send/1, a_broker/1]).

-import(rs_test, [async/1, await/1, blocked/1, client/2, context/1, drain/2, fill/1, pid_of/1, poll/1, stalled/1]).

-define(DEADLINE, 15000).

suite() ->
    [{timetrap, {minutes, 1}}].

all() ->
    [{group, rs}, {group, rs_over_local}].

groups() ->
    Cases = [never_waits, one_notice_each, nothing_refused_is_sent, closed_meanwhile, dead_callers, beside_waiting_senders,
             through_the_modules, limit_refuses, limit_closes, limit_bounds_a_timed_out_send, a_broker],
    [{rs, [], Cases}, {rs_over_local, [], Cases}].

init_per_suite(Config) ->
    Config.

end_per_suite(_Config) ->
    ok.

init_per_group(Group, Config) -> rs_test:init_group(Group, Config).

end_per_group(Group, Config) -> rs_test:end_group(Group, Config).

%% A socket that takes no more, and the number of bytes on their way.
full(Config, Options) ->
    {Socket, Peer} = client(context(Config), Options),
    Count = fill(Socket),
    ok = stalled(Socket),
    {Socket, Peer, Count}.

writable(Socket) ->
    receive {tcp_writable, Socket} -> ok
    after ?DEADLINE -> no_notice
    end.

no_more(Socket) ->
    receive {tcp_writable, Socket} -> one_more
    after 0 -> ok
    end.

%% What fits is taken; what does not is refused at once, with the bytes that are queued.
never_waits(Config) ->
    {Socket, Peer} = client(context(Config), []),
    ok = gen_tcp_rs:send(Socket, ["he", <<"llo">>], [nowait]),
    {ok, <<"hello">>} = gen_tcp:recv(Peer, 5),
    Count = fill(Socket),
    {error, {busy, Queued}} = gen_tcp_rs:send(Socket, "no", [nowait]),
    true = Queued > 8192 andalso Queued =< Count,
    {error, einval} = gen_tcp_rs:send(Socket, [foo], [nowait]),
    {'EXIT', {function_clause, _}} = catch gen_tcp_rs:send(Socket, "no", [later]),
    ok = drain(Peer, Count),
    ok = writable(Socket),
    ok = gen_tcp_rs:send(Socket, "yes", [nowait]),
    {ok, <<"yes">>} = gen_tcp:recv(Peer, 3),
    ok = gen_tcp_rs:send(Socket, "too", []),
    {ok, <<"too">>} = gen_tcp:recv(Peer, 3).

%% Every caller that was refused gets one message, however often it was, when the queue is at the low watermark.
one_notice_each(Config) ->
    {Socket, Peer, Count} = full(Config, []),
    Try = fun() -> {error, {busy, _}} = gen_tcp_rs:send(Socket, "no", [nowait]) end,
    Others = [blocked(async(fun() -> _ = Try(), _ = Try(), ok = writable(Socket), receive after 50 -> no_more(Socket) end end))
              || _ <- [1, 2, 3]],
    [_ = Try() || _ <- lists:seq(1, 100)],
    ok = no_more(Socket),
    ok = drain(Peer, Count),
    ok = writable(Socket),
    {ok, [{send_pend, 0}]} = inet:getstat(Socket, [send_pend]),
    [{ok, []} = await(Other) || Other <- Others],
    ok = no_more(Socket).

%% The stream holds what was taken and nothing else, in order, whichever way it was sent.
nothing_refused_is_sent(Config) ->
    {Socket, Peer} = client(context(Config), [{packet, 4}, {sndbuf, 16384}]),
    ok = inet:setopts(Peer, [{packet, 4}, {recbuf, 16384}]),
    %% It reads from the first refusal on, so that there is one.
    Reader = async(fun() -> receive refused -> ok end,
                            [begin {ok, Data} = gen_tcp:recv(Peer, 0), erlang:md5(Data) end || _ <- lists:seq(1, 3000)] end),
    ok = gen_tcp:controlling_process(Peer, pid_of(Reader)),
    {Sent, Refused} = offer(Socket, 1, 3000, [], fun() -> pid_of(Reader) ! refused end, 0),
    {Sent, []} = await(Reader),
    true = Refused > 0,
    ok = no_more(Socket).

offer(_Socket, Number, Last, Sent, _Tell, Refused) when Number > Last ->
    {lists:reverse(Sent), Refused};
offer(Socket, Number, Last, Sent, Tell, Refused) ->
    Data = binary:copy(<<Number:32>>, Number rem 3000),
    case gen_tcp_rs:send(Socket, Data, [nowait]) of
        ok ->
            offer(Socket, Number + 1, Last, [erlang:md5(Data) | Sent], Tell, Refused);
        {error, {busy, _}} ->
            Refused > 0 orelse Tell(),
            ok = writable(Socket),
            offer(Socket, Number, Last, Sent, Tell, Refused + 1)
    end.

%% The end of the socket is a notice too, and the next send says what it was.
closed_meanwhile(Config) ->
    {Closed, _, _} = full(Config, [{linger, {true, 0}}]),
    {error, {busy, _}} = gen_tcp_rs:send(Closed, "no", [nowait]),
    ok = gen_tcp:close(Closed),
    ok = writable(Closed),
    {error, closed} = gen_tcp_rs:send(Closed, "no", [nowait]),
    {Active, Peer, _} = full(Config, [{active, true}]),
    {error, {busy, _}} = gen_tcp_rs:send(Active, "no", [nowait]),
    ok = rs_test:reset(Peer),
    ok = writable(Active),
    receive {tcp_closed, Active} -> ok after ?DEADLINE -> error(not_closed) end,
    {error, closed} = gen_tcp_rs:send(Active, "no", [nowait]),
    [] = rs_test:mailbox(),
    ok.

%% Processes that were refused and died leave nothing behind and hold up nobody.
dead_callers(Config) ->
    {Socket, Peer, Count} = full(Config, []),
    [begin
         {Pid, Monitor} = spawn_monitor(fun() -> {error, {busy, _}} = gen_tcp_rs:send(Socket, "no", [nowait]) end),
         receive {'DOWN', Monitor, process, Pid, normal} -> ok end
     end || _ <- lists:seq(1, 500)],
    {error, {busy, _}} = gen_tcp_rs:send(Socket, "no", [nowait]),
    ok = drain(Peer, Count),
    ok = writable(Socket),
    #{num_writers := 0} = inet:info(Socket),
    ok.

%% Senders that wait come first, and are not refused; who was refused is told after them.
beside_waiting_senders(Config) ->
    {Socket, Peer, Count} = full(Config, []),
    {error, {busy, _}} = gen_tcp_rs:send(Socket, "no", [nowait]),
    Senders = [blocked(async(fun() -> gen_tcp:send(Socket, [Letter]) end)) || Letter <- "abc"],
    #{num_writers := 3} = inet:info(Socket),
    ok = drain(Peer, Count),
    [{ok, []} = await(Sender) || Sender <- Senders],
    ok = writable(Socket),
    ok = gen_tcp_rs:send(Socket, "d", [nowait]),
    {ok, <<"abcd">>} = gen_tcp:recv(Peer, 4),
    ok.

%% The modules of the {tcp_module, _} option take nowait, and the options of a port.
through_the_modules(Config) ->
    {Socket, _Peer, _Count} = full(Config, []),
    [{error, {busy, _}} = Module:send(Socket, "no", [nowait]) || Module <- [inet_tcp_rs, inet6_tcp_rs, local_tcp_rs]],
    {Free, Other} = client(context(Config), []),
    [ok = Module:send(Free, "x", Options) || Module <- [inet_tcp_rs, inet6_tcp_rs, local_tcp_rs], Options <- [[], [force], [nowait]]],
    {ok, <<"xxxxxxxxx">>} = gen_tcp:recv(Other, 9),
    ok.

%% Above the limit every send, gen_tcp's too, is refused whole; below it goes on, and the peer gets what was taken.
limit_refuses(Config) ->
    {Socket, Peer} = client(context(Config), [{max_queue, 100000}, {high_watermark, 1 bsl 30}, {packet, 4}]),
    {error, enobufs} = gen_tcp:send(Socket, <<0:99997/unit:8>>),
    Taken = until_refused(Socket, 0),
    {ok, [{send_pend, Pending}]} = inet:getstat(Socket, [send_pend]),
    true = Pending =< 100000 andalso Pending > 100000 - 1004,
    {error, enobufs} = gen_tcp_rs:send(Socket, <<0:1000/unit:8>>, [nowait]),
    ok = drain(Peer, Taken * 1004),
    ok = gen_tcp:send(Socket, "after"),
    {ok, <<5:32, "after">>} = gen_tcp:recv(Peer, 9),
    ok.

until_refused(Socket, Taken) ->
    case gen_tcp:send(Socket, <<0:1000/unit:8>>) of
        ok -> until_refused(Socket, Taken + 1);
        {error, enobufs} -> Taken
    end.

%% With the other policy the send that is too much closes the socket, and its owner is told.
limit_closes(Config) ->
    {Socket, _Peer} = client(context(Config), [{max_queue, {100000, close}}, {high_watermark, 1 bsl 30}, {active, true}]),
    true = until_refused(Socket, 0) > 0,
    receive {tcp_closed, Socket} -> ok after ?DEADLINE -> error(not_closed) end,
    {error, closed} = gen_tcp:send(Socket, "x"),
    {Passive, _} = client(context(Config), [{max_queue, {100000, close}}, {high_watermark, 1 bsl 30}]),
    true = until_refused(Passive, 0) > 0,
    {error, enotconn} = gen_tcp:send(Passive, "x"),
    ok = gen_tcp:close(Passive).

%% A send whose time is over is delivered later, unless that were more than the limit: then it says so.
limit_bounds_a_timed_out_send(Config) ->
    {Socket, Peer} = client(context(Config), [{high_watermark, 1000}, {low_watermark, 500}]),
    Count = fill(Socket),
    ok = stalled(Socket),
    ok = inet:setopts(Socket, [{send_timeout, 50}, {max_queue, 1000}]),
    {error, enobufs} = gen_tcp:send(Socket, <<0:600/unit:8>>),
    ok = inet:setopts(Socket, [{max_queue, 32000000}]),
    {error, timeout} = gen_tcp:send(Socket, <<1:600/unit:8>>),
    ok = drain(Peer, Count),
    {ok, <<1:600/unit:8>>} = gen_tcp:recv(Peer, 600),
    ok.

%% One process serves a hundred connections of which half do not read: the others get everything, and memory is bounded.
a_broker(Config) ->
    Pairs = [client(context(Config), [{packet, 4}]) || _ <- lists:seq(1, 100)],
    {Reading, Stuck} = lists:split(50, Pairs),
    Readers = [begin
                   ok = inet:setopts(Peer, [{packet, 4}]),
                   Reader = async(fun() -> [begin {ok, <<Number:32, _/binary>>} = gen_tcp:recv(Peer, 0), Number end || Number <- lists:seq(1, 200)] end),
                   ok = gen_tcp:controlling_process(Peer, pid_of(Reader)),
                   Reader
               end || {_, Peer} <- Reading],
    Body = binary:copy(<<7>>, 10000),
    Publish = fun(Socket, Number) -> gen_tcp_rs:send(Socket, [<<Number:32>>, Body], [nowait]) end,
    [begin
         [_ = Publish(Socket, Number) || {Socket, _} <- Stuck],
         [ok = publish(Publish, Socket, Number) || {Socket, _} <- Reading]
     end || Number <- lists:seq(1, 200)],
    Numbers = lists:seq(1, 200),
    [{Numbers, []} = await(Reader) || Reader <- Readers],
    Queued = [begin {ok, [{send_pend, Pending}]} = inet:getstat(Socket, [send_pend]), Pending end || {Socket, _} <- Stuck],
    true = lists:max(Queued) =< 8192 + 10008,
    [ok = gen_tcp:close(Peer) || {_, Peer} <- Stuck],
    ok.

publish(Publish, Socket, Number) ->
    case Publish(Socket, Number) of
        ok -> ok;
        {error, {busy, _}} -> ok = writable(Socket), publish(Publish, Socket, Number)
    end.
