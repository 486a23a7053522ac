%% max_mailbox: an owner with {active, true} that does not read stops its socket from reading, and nothing is lost by it.
-module(mailbox_SUITE).

-export([all/0, groups/0, suite/0, init_per_group/2, end_per_group/2]).
-export([unlimited_by_default/1, memory_is_bounded/1, every_byte_in_order/1, every_message_counts/1, inherited/1, changed_meanwhile/1,
         moves_with_the_owner/1, ends_while_paused/1, without_the_watcher/1, without_the_application/1, many_at_once/1]).

-import(rs_test, [async/1, await/1, client/2, context/1, poll/1]).

-define(DEADLINE, 15000).
-define(MIB, (1024 * 1024)).

suite() ->
    [{timetrap, {minutes, 1}}].

all() ->
    [{group, rs}, {group, rs_over_local}].

groups() ->
    Cases = [unlimited_by_default, memory_is_bounded, every_byte_in_order, every_message_counts, inherited, changed_meanwhile,
             moves_with_the_owner, ends_while_paused, without_the_watcher, without_the_application, many_at_once],
    [{rs, [], Cases}, {rs_over_local, [], Cases}].

init_per_group(Group, Config) -> rs_test:init_group(Group, Config).

end_per_group(Group, Config) -> rs_test:end_group(Group, Config).

%% A process sees its own messages only when it has looked for one.
length_of_mailbox() ->
    receive never -> ok after 0 -> ok end,
    {message_queue_len, Length} = process_info(self(), message_queue_len),
    Length.

%% Sends Count numbered frames in a process of its own, which keeps the result to itself.
flood(Peer, Count) ->
    Sender = spawn_link(fun() ->
                     receive owner -> ok end,
                     _ = flood(Peer, 0, Count),
                     receive never -> ok end
             end),
    ok = gen_tcp:controlling_process(Peer, Sender),
    Sender ! owner,
    Sender.

flood(_Peer, Count, Count) -> sent;
flood(Peer, First, Count) ->
    Last = min(First + 100, Count),
    case gen_tcp:send(Peer, [<<4:32, Number:32>> || Number <- lists:seq(First, Last - 1)]) of
        ok -> flood(Peer, Last, Count);
        Error -> Error
    end.

numbers(_Socket, Count, Count) -> ok;
numbers(Socket, Number, Count) ->
    receive
        {tcp, Socket, <<Number:32>>} -> numbers(Socket, Number + 1, Count)
    after ?DEADLINE -> {no, Number}
    end.

handle({'$inet', gen_tcp_rs, Handle}) -> Handle.

is_paused(Socket) -> gen_tcp_rs_nif:paused(handle(Socket)) =/= false.

%% Waits until the socket waits for its owner, whose mailbox is more than half full: not for the look.
paused(Socket) ->
    poll(fun() ->
        case gen_tcp_rs_nif:paused(handle(Socket)) of
            {Owner, Room, _} -> process_info(Owner, message_queue_len) > {message_queue_len, Room};
            false -> false
        end
    end).

%% An active socket that has filled its owner's mailbox, with 10,000 frames on their way.
flooded(Config, Options) ->
    {Socket, Peer} = client(context(Config), [{packet, 4}, {active, true} | Options]),
    _ = flood(Peer, 10000),
    ok = paused(Socket),
    Socket.

%% The processes that look at mailboxes.
looks() ->
    {links, Links} = process_info(whereis(gen_tcp_rs_mailboxes), links),
    length(Links) - 1.

%% Without the option everything comes, as with the driver.
unlimited_by_default(Config) ->
    {Socket, Peer} = client(context(Config), [{packet, 4}, {active, true}]),
    {ok, [{max_mailbox, infinity}]} = inet:getopts(Socket, [max_mailbox]),
    _ = flood(Peer, 10000),
    ok = poll(fun() -> length_of_mailbox() >= 10000 end),
    false = is_paused(Socket),
    numbers(Socket, 0, 10000).

%% A flood of 200 MB at an owner that never reads takes no more memory than the messages it may have; the peer waits, and others are
%% served as before.
memory_is_bounded(Config) ->
    C = context(Config),
    {Socket, Peer} = client(C, [{max_mailbox, 100}]),
    Sender = rs_test:async_owner(Peer, fun() -> [ok = gen_tcp:send(Peer, <<0:?MIB/unit:8>>) || _ <- lists:seq(1, 200)], sent end),
    true = erlang:garbage_collect(),
    Before = erlang:memory(total),
    #{pauses := Pauses} = gen_tcp_rs:stats(),
    ok = inet:setopts(Socket, [{active, true}]),
    ok = paused(Socket),
    {Other, OtherPeer} = client(C, []),
    [begin
         ok = gen_tcp:send(Other, <<Number:32>>),
         {ok, <<Number:32>>} = gen_tcp:recv(OtherPeer, 4, ?DEADLINE),
         true = length_of_mailbox() =< 100
     end || Number <- lists:seq(1, 1000)],
    true = is_paused(Socket),
    [true] = [Paused || #{socket := Shown, paused := Paused} <- gen_tcp_rs_observe:rows(), Shown =:= Socket],
    {true, _} = {erlang:memory(total) - Before < 16 * ?MIB, erlang:memory(total) - Before},
    true = maps:get(pauses, gen_tcp_rs:stats()) > Pauses,
    ok = take(Socket, 200 * ?MIB),
    {sent, []} = await(Sender),
    ok.

take(_Socket, 0) -> ok;
take(Socket, Left) ->
    receive
        {tcp, Socket, Data} ->
            true = length_of_mailbox() =< 100,
            take(Socket, Left - byte_size(Data))
    after ?DEADLINE -> {missing, Left}
    end.

%% Whatever the limit, frames come in order when the owner reads, never more than the limit wait, and the end is last.
every_byte_in_order(Config) ->
    [begin
         {Socket, Peer} = client(context(Config), [{packet, 4}, {active, true}, {max_mailbox, Limit}]),
         Sender = flood(Peer, 2000),
         ok = paused(Socket),
         {true, Limit} = {length_of_mailbox() =< Limit, Limit},
         ok = numbers(Socket, 0, 1000),
         {true, Limit} = {length_of_mailbox() =< Limit, Limit},
         true = unlink(Sender),
         true = exit(Sender, kill),
         ok = numbers(Socket, 1000, length_until_closed(Socket, 1000)),
         receive {tcp_closed, Socket} -> ok after ?DEADLINE -> error(no_end) end,
         [] = rs_test:mailbox()
     end || Limit <- [1, 2, 3, 10, 1000]],
    ok.

%% How many frames come in all: the sender was killed, perhaps in its work.
length_until_closed(Socket, Count) ->
    receive
        {tcp, Socket, <<Count:32>>} = Message ->
            Length = length_until_closed(Socket, Count + 1),
            self() ! Message,
            Length;
        {tcp_closed, Socket} = Message ->
            self() ! Message,
            Count
    after ?DEADLINE -> error({no_end, Count})
    end.

%% What others have sent is in the mailbox, too, but keeps nobody waiting who reads what the socket sends.
every_message_counts(Config) ->
    [self() ! {other, Number} || Number <- lists:seq(1, 100)],
    Socket = flooded(Config, [{max_mailbox, 100}]),
    Reads = fun(Number) -> numbers(Socket, Number, Number + 50) end,
    true = length_of_mailbox() =< 200,
    %% With the others unread.
    ok = lists:foreach(fun(Number) -> ok = Reads(Number) end, lists:seq(0, 450, 50)),
    true = length_of_mailbox() =< 200,
    [receive {other, Number} -> ok end || Number <- lists:seq(1, 100)],
    numbers(Socket, 500, 10000).

%% An accepted socket has its listener's limit.
inherited(Config) ->
    {Socket, Peer} = rs_test:server(context(Config), [{packet, 4}, {active, true}, {max_mailbox, 10}]),
    {ok, [{max_mailbox, 10}]} = inet:getopts(Socket, [max_mailbox]),
    _ = flood(Peer, 1000),
    ok = paused(Socket),
    true = length_of_mailbox() =< 10,
    numbers(Socket, 0, 1000).

%% A limit that goes lets everything come, a mode that the owner chooses has its own rules, and data is found by recv.
changed_meanwhile(Config) ->
    Socket = flooded(Config, [{max_mailbox, 10}]),
    ok = inet:setopts(Socket, [{max_mailbox, 1000}]),
    ok = poll(fun() -> length_of_mailbox() > 100 end),
    ok = paused(Socket),
    First = length_of_mailbox(),
    ok = inet:setopts(Socket, [{active, once}]),
    Second = First + 1,
    ok = poll(fun() -> length_of_mailbox() =:= Second end),
    {ok, <<Second:32>>} = gen_tcp:recv(Socket, 0, ?DEADLINE),
    ok = numbers(Socket, 0, Second),
    ok = inet:setopts(Socket, [{active, true}]),
    ok = paused(Socket),
    ok = inet:setopts(Socket, [{max_mailbox, infinity}]),
    ok = numbers(Socket, Second + 1, 10000),
    ok = poll(fun() -> looks() =:= 0 end).

%% A new owner gets what the old one had, then the rest.
moves_with_the_owner(Config) ->
    Socket = flooded(Config, [{max_mailbox, 100}]),
    Owner = rs_test:async_owner(Socket, fun() ->
        ok = poll(fun() -> length_of_mailbox() >= 100 end),
        receive after 20 -> ok end,
        true = length_of_mailbox() =< 200,
        numbers(Socket, 0, 10000)
    end),
    {ok, []} = await(Owner),
    ok.

%% Whatever ends a socket ends its pause: close, the owner's death, a peer that has gone.
ends_while_paused(Config) ->
    Closed = flooded(Config, [{max_mailbox, 10}]),
    ok = gen_tcp:close(Closed),
    Length = length_of_mailbox(),
    Self = self(),
    Owner = async(fun() ->
        {Socket, Peer} = client(context(Config), [{packet, 4}, {active, true}, {max_mailbox, 10}]),
        ok = gen_tcp:controlling_process(Peer, Self),
        ok = gen_tcp:send(Peer, [<<4:32, Number:32>> || Number <- lists:seq(1, 100)]),
        ok = paused(Socket),
        Self ! {paused, Socket, Peer},
        receive never -> ok end
    end),
    {Socket, Peer} = receive {paused, S, P} -> {S, P} end,
    Monitor = inet:monitor(Socket),
    ok = rs_test:kill(Owner),
    receive {'DOWN', Monitor, port, Socket, killed} -> ok after ?DEADLINE -> error(no_down) end,
    ok = gen_tcp:close(Peer),
    ok = poll(fun() -> looks() =:= 0 end),
    Length = length_of_mailbox(),
    ok.

%% When the process that looks has died its successor finds the sockets that wait.
without_the_watcher(Config) ->
    Socket = flooded(Config, [{max_mailbox, 10}]),
    Watcher = whereis(gen_tcp_rs_mailboxes),
    exit(Watcher, kill),
    ok = poll(fun() -> not lists:member(whereis(gen_tcp_rs_mailboxes), [undefined, Watcher]) end),
    ok = numbers(Socket, 0, 5000),
    %% None: nobody would look.
    ok = supervisor:terminate_child(gen_tcp_rs_sup, gen_tcp_rs_mailboxes),
    {Free, Peer} = client(context(Config), [{packet, 4}, {active, true}, {max_mailbox, 10}]),
    _ = flood(Peer, 1000),
    ok = poll(fun() -> length_of_mailbox() >= 1000 end),
    ok = numbers(Free, 0, 1000),
    {ok, _} = supervisor:restart_child(gen_tcp_rs_sup, gen_tcp_rs_mailboxes),
    numbers(Socket, 5000, 10000).

%% The application stops and starts again with a socket that waits: it closes, and what comes after it is as ever.
without_the_application(Config) ->
    Socket = flooded(Config, [{max_mailbox, 10}]),
    ok = application:stop(gen_tcp_rs),
    {error, closed} = gen_tcp:recv(Socket, 0),
    ok = application:start(gen_tcp_rs),
    _ = rs_test:mailbox(),
    New = flooded(Config, [{max_mailbox, 10}]),
    numbers(New, 0, 10000).

%% A hundred sockets wait, each for its owner, while one reads as fast as it can.
many_at_once(Config) ->
    C = context(Config),
    Self = self(),
    Owners = [async(fun() ->
                  {Socket, Peer} = client(C, [{packet, 4}, {active, true}, {max_mailbox, 10}]),
                  ok = gen_tcp:send(Peer, [<<4:32, Number:32>> || Number <- lists:seq(0, 99)]),
                  ok = paused(Socket),
                  Self ! paused,
                  receive go -> ok end,
                  true = length_of_mailbox() =< 10,
                  numbers(Socket, 0, 100)
              end) || _ <- lists:seq(1, 100)],
    [receive paused -> ok after ?DEADLINE -> error(goes_on) end || _ <- Owners],
    Socket = flooded(Config, [{max_mailbox, 1000}]),
    ok = numbers(Socket, 0, 10000),
    [rs_test:pid_of(Owner) ! go || Owner <- Owners],
    [{ok, []} = await(Owner) || Owner <- Owners],
    ok = poll(fun() -> looks() =:= 0 end).
