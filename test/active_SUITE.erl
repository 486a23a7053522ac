%% The active modes: what is delivered, in which order, when, and what comes at the end.
-module(active_SUITE).

-export([suite/0, all/0, groups/0, init_per_group/2, end_per_group/2]).
-export([all_of_a_stream/1, one_at_a_time/1, so_many_and_passive/1, closed_after_data/1, rearm_delivers_at_once/1,
         nothing_after_passive/1, any_process_arms/1, mode_changes_lose_nothing/1, counts_add_up/1, reset_is_told/1,
         closed_comes_once/1, half_closed/1, bad_frame/1, closed_while_passive/1, frames_and_lists/1, http_items/1,
         deliver_port/1, burst_then_close/1, slow_bytes/1]).

-import(rs_test, [context/1, client/2, server/2, next/0, next_n/1, until_closed/1, collect/2, mailbox/0, barrier/1,
                  poll/1]).

suite() -> [{timetrap, {minutes, 2}}].
all() -> [{group, inet}, {group, rs}].
groups() ->
    rs_test:groups_of([rearm_delivers_at_once, nothing_after_passive, any_process_arms, mode_changes_lose_nothing,
                       counts_add_up,
                       reset_is_told, closed_comes_once, half_closed, bad_frame, closed_while_passive, frames_and_lists,
                       http_items, deliver_port, burst_then_close, slow_bytes],
                      [all_of_a_stream, one_at_a_time, so_many_and_passive, closed_after_data]).
init_per_group(Group, Config) -> rs_test:init_group(Group, Config).
end_per_group(Group, Config) -> rs_test:end_group(Group, Config).

%% With true, a stream of a megabyte arrives whole and in order, then tcp_closed, and nothing else.
all_of_a_stream(Config) ->
    {Socket, Peer} = server(context(Config), [{active, true}]),
    Data = << <<Number:32>> || Number <- lists:seq(1, 262144) >>,
    Sender = rs_test:async_owner(Peer, fun() -> ok = gen_tcp:send(Peer, Data), gen_tcp:close(Peer) end),
    true = collect(Socket, byte_size(Data)) =:= Data,
    {tcp_closed, Socket} = next(),
    {ok, []} = rs_test:await(Sender),
    [] = mailbox(),
    ok.

%% With once, one message comes for each arming and the mode reads back as false after it.
one_at_a_time(Config) ->
    C = context(Config),
    {Socket, Peer} = client(C, [{packet, 2}, {active, once}]),
    [ok = gen_tcp:send(Peer, <<4:16, Number:32>>) || Number <- lists:seq(1, 50)],
    [begin
         {tcp, Socket, <<Number:32>>} = next(),
         {ok, [{active, false}]} = inet:getopts(Socket, [active]),
         [] = mailbox(),
         ok = inet:setopts(Socket, [{active, once}])
     end || Number <- lists:seq(1, 50)],
    ok = barrier(C),
    [] = mailbox(),
    ok.

%% With N, exactly N messages come, then tcp_passive, then nothing until it is armed again.
so_many_and_passive(Config) ->
    C = context(Config),
    {Socket, Peer} = client(C, [{packet, 1}]),
    [ok = gen_tcp:send(Peer, [1, Byte]) || Byte <- lists:seq(1, 30)],
    [begin
         ok = inet:setopts(Socket, [{active, 10}]),
         [{tcp, Socket, <<Byte>>} = next() || Byte <- lists:seq(First, First + 9)],
         {tcp_passive, Socket} = next(),
         ok = barrier(C),
         [] = mailbox()
     end || First <- [1, 11, 21]],
    ok.

%% tcp_closed comes after all the data, in every mode.
closed_after_data(Config) ->
    C = context(Config),
    [begin
         {Socket, Peer} = client(C, [{packet, 1}, {active, Mode}]),
         ok = gen_tcp:send(Peer, <<1, "a", 1, "b", 1, "c">>),
         ok = gen_tcp:close(Peer),
         [{tcp, Socket, <<"a">>}, {tcp, Socket, <<"b">>}, {tcp, Socket, <<"c">>},
          {tcp_closed, Socket}] = rearmed(Socket, Mode)
     end || Mode <- [true, once, 1, 2, 3, 10]],
    ok.

%% All messages but tcp_passive, armed again after each.
rearmed(Socket, Mode) ->
    case next() of
        {tcp_closed, Socket} = Closed -> [Closed];
        {tcp_passive, Socket} -> ok = inet:setopts(Socket, [{active, Mode}]), rearmed(Socket, Mode);
        Message when Mode =:= once -> ok = inet:setopts(Socket, [{active, Mode}]), [Message | rearmed(Socket, Mode)];
        Message -> [Message | rearmed(Socket, Mode)]
    end.

%% When setopts with once or N returns, what was there already is in the mailbox.
rearm_delivers_at_once(Config) ->
    C = context(Config),
    {Socket, Peer} = client(C, [{packet, 1}]),
    ok = gen_tcp:send(Peer, <<1, "a", 1, "b", 1, "c", 1, "d">>),
    ok = rs_test:arrived(Socket, 8),
    ok = inet:setopts(Socket, [{active, once}]),
    [{tcp, Socket, <<"a">>}] = mailbox(),
    ok = inet:setopts(Socket, [{active, 2}]),
    [{tcp, Socket, <<"b">>}, {tcp, Socket, <<"c">>}, {tcp_passive, Socket}] = mailbox(),
    ok = gen_tcp:close(Peer),
    ok = rs_test:fin_arrived(Socket),
    ok = inet:setopts(Socket, [{active, once}]),
    [{tcp, Socket, <<"d">>}] = mailbox(),
    ok = inet:setopts(Socket, [{active, once}]),
    [{tcp_closed, Socket}] = mailbox(),
    ok.

%% When setopts with false has returned no message comes any more, though the peer goes on sending.
nothing_after_passive(Config) ->
    C = context(Config),
    {Socket, Peer} = client(C, [{packet, 4}]),
    Sender = streaming(Peer),
    Last = lists:foldl(fun(_, Expected) ->
                               ok = inet:setopts(Socket, [{active, true}]),
                               Seen = in_order(Socket, Expected, rand:uniform(20)),
                               ok = inet:setopts(Socket, [{active, false}]),
                               After = in_order_there(Socket, Seen),
                               %% Time for a late one: the next frame is read by hand and must be the next.
                               {ok, <<After:32>>} = gen_tcp:recv(Socket, 0, 10000),
                               [] = mailbox(),
                               seen(After)
                       end, 1, lists:seq(1, 300)),
    Sender ! enough,
    ok = rest_in_order(Socket, Last),
    ok.

%% A process that sends numbered frames until it is told to stop, a few hundred ahead of the reader.
streaming(Peer) ->
    Sender = rs_test:pid_of(rs_test:async_owner(Peer, fun() -> stream(Peer, 1, 300), gen_tcp:close(Peer) end)),
    put(sender, Sender),
    Sender.

stream(Peer, Number, Credit) ->
    receive
        enough -> ok;
        credit -> stream(Peer, Number, Credit + 100)
    after case Credit of 0 -> infinity; _ -> 0 end ->
            ok = gen_tcp:send(Peer, <<4:32, Number:32>>),
            stream(Peer, Number + 1, Credit - 1)
    end.

%% The number that must come after this one.
seen(Number) ->
    case Number rem 100 of
        0 -> get(sender) ! credit;
        _ -> ok
    end,
    Number + 1.

in_order(_Socket, Expected, 0) ->
    Expected;
in_order(Socket, Expected, Count) ->
    receive
        {tcp, Socket, <<Number:32>>} when Number =:= Expected -> in_order(Socket, seen(Number), Count - 1)
    after 10000 -> error({missing, Expected, rs_test:mailbox()})
    end.

in_order_there(Socket, Expected) ->
    in_order_there(Socket, Expected, infinity).

%% While more comes it needs an end: a sender may be as fast as its reader for ever.
in_order_there(_Socket, End, End) ->
    End;
in_order_there(Socket, Expected, End) ->
    receive
        {tcp, Socket, <<Number:32>>} when Number =:= Expected -> in_order_there(Socket, seen(Number), End)
    after 0 -> Expected
    end.

rest_in_order(Socket, Expected) ->
    case gen_tcp:recv(Socket, 0, 10000) of
        {ok, <<Expected:32>>} -> rest_in_order(Socket, seen(Expected));
        {error, closed} -> ok
    end.

%% Any process may arm; the messages go to the owner.
any_process_arms(Config) ->
    {Socket, Peer} = client(context(Config), [{packet, 1}]),
    {ok, []} = rs_test:await(rs_test:async(fun() -> inet:setopts(Socket, [{active, once}]) end)),
    ok = gen_tcp:send(Peer, <<1, "a">>),
    {tcp, Socket, <<"a">>} = next(),
    ok.

%% However the mode changes while frames come, by setopts and by recv, each frame is seen once and in order.
mode_changes_lose_nothing(Config) ->
    C = context(Config),
    {Socket, Peer} = client(C, [{packet, 4}]),
    Sender = streaming(Peer),
    Modes = {true, false, once, 1, 5, 30},
    Last = lists:foldl(fun(_, Expected) ->
                               ok = inet:setopts(Socket, [{active, element(rand:uniform(6), Modes)}]),
                               There = in_order_there(Socket, Expected, Expected + rand:uniform(200)),
                               case gen_tcp:recv(Socket, 0, rand:uniform(2) - 1) of
                                   %% Passive: all that was delivered before is in the mailbox.
                                   {ok, <<Number:32>>} -> Number = in_order_there(Socket, There), seen(Number);
                                   {error, timeout} -> There;
                                   {error, einval} -> There
                               end
                       end, 1, lists:seq(1, 3000)),
    Sender ! enough,
    ok = inet:setopts(Socket, [{active, true}]),
    ok = rest_by_message(Socket, Last),
    {comment, io_lib:format("~w frames", [Last])}.

rest_by_message(Socket, Expected) ->
    receive
        {tcp, Socket, <<Number:32>>} when Number =:= Expected -> rest_by_message(Socket, seen(Number));
        {tcp_closed, Socket} -> ok
    after 10000 -> error({missing, Expected})
    end.

%% The count is added to, ends with tcp_passive at zero or below, and is refused beyond its limits.
counts_add_up(Config) ->
    {Socket, _Peer} = client(context(Config), []),
    Set = fun(Value) -> {inet:setopts(Socket, [{active, Value}]), inet:getopts(Socket, [active]), mailbox()} end,
    {ok, {ok, [{active, 3}]}, []} = Set(3),
    {ok, {ok, [{active, 8}]}, []} = Set(5),
    {ok, {ok, [{active, 1}]}, []} = Set(-7),
    {ok, {ok, [{active, false}]}, [{tcp_passive, Socket}]} = Set(-1),
    {ok, {ok, [{active, false}]}, [{tcp_passive, Socket}]} = Set(0),
    {ok, {ok, [{active, 32767}]}, []} = Set(32767),
    {{error, einval}, {ok, [{active, 32767}]}, []} = Set(1),
    {{error, einval}, {ok, [{active, 32767}]}, []} = Set(32768),
    {{error, einval}, {ok, [{active, 32767}]}, []} = Set(-32769),
    {ok, {ok, [{active, false}]}, [{tcp_passive, Socket}]} = Set(-32768),
    {ok, {ok, [{active, 4}]}, []} = Set(4),
    {ok, {ok, [{active, false}]}, []} = Set(false),
    {ok, {ok, [{active, 2}]}, []} = Set(2),
    {ok, {ok, [{active, true}]}, []} = Set(true),
    {ok, {ok, [{active, once}]}, []} = Set(once),
    ok.

%% A reset is tcp_closed alone, or after tcp_error with show_econnreset.
reset_is_told(Config) ->
    C = context(Config),
    {One, PeerOne} = client(C, [{active, true}]),
    ok = rs_test:reset(PeerOne),
    [{tcp_closed, One}] = until_closed(One),
    {Two, PeerTwo} = client(C, [{active, once}, {show_econnreset, true}]),
    ok = rs_test:reset(PeerTwo),
    [{tcp_error, Two, econnreset}, {tcp_closed, Two}] = until_closed(Two),
    ok.

%% tcp_closed is sent once; after it the socket is gone, or with exit_on_close false stays silent.
closed_comes_once(Config) ->
    C = context(Config),
    {One, PeerOne} = client(C, [{active, true}]),
    ok = gen_tcp:close(PeerOne),
    [{tcp_closed, One}] = until_closed(One),
    ok = poll(fun() -> inet:setopts(One, [{active, once}]) =:= {error, einval} end),
    {error, closed} = gen_tcp:send(One, "x"),
    {error, closed} = gen_tcp:recv(One, 0),
    {Two, PeerTwo} = client(C, [{active, true}, {exit_on_close, false}]),
    ok = gen_tcp:close(PeerTwo),
    [{tcp_closed, Two}] = until_closed(Two),
    [ok = inet:setopts(Two, [{active, Mode}]) || Mode <- [once, true, 5, true]],
    ok = barrier(C),
    [] = mailbox(),
    ok.

%% With exit_on_close false the end of the peer's stream leaves our own direction open.
half_closed(Config) ->
    {Socket, Peer} = client(context(Config), [{active, true}, {exit_on_close, false}]),
    ok = gen_tcp:send(Peer, "last words"),
    ok = gen_tcp:shutdown(Peer, write),
    <<"last words">> = collect(Socket, 10),
    {tcp_closed, Socket} = next(),
    ok = gen_tcp:send(Socket, "answer"),
    {ok, <<"answer">>} = gen_tcp:recv(Peer, 6, 5000),
    ok = gen_tcp:close(Socket),
    {error, closed} = gen_tcp:recv(Peer, 0, 5000),
    ok.

%% A malformed frame is tcp_error emsgsize and then tcp_closed, after the good ones.
bad_frame(Config) ->
    {Socket, Peer} = client(context(Config), [{packet, 4}, {packet_size, 10}, {active, true}]),
    ok = gen_tcp:send(Peer, <<2:32, "ok">>),
    {tcp, Socket, <<"ok">>} = next(),
    ok = gen_tcp:send(Peer, <<11:32>>),
    [{tcp_error, Socket, emsgsize}, {tcp_closed, Socket}] = until_closed(Socket),
    ok.

%% A socket whose peer closed while it was passive says so when it is armed, and only then.
closed_while_passive(Config) ->
    C = context(Config),
    {Socket, Peer} = client(C, []),
    ok = gen_tcp:close(Peer),
    ok = rs_test:fin_arrived(Socket),
    ok = inet:setopts(Socket, [{active, false}]),
    ok = barrier(C),
    [] = mailbox(),
    ok = inet:setopts(Socket, [{active, once}]),
    {tcp_closed, Socket} = next(),
    {error, einval} = inet:setopts(Socket, [{active, once}]),
    [] = mailbox(),
    ok.

%% Frames of every length type arrive without their headers; list mode makes lists.
frames_and_lists(Config) ->
    C = context(Config),
    [begin
         {Socket, Peer} = client(C, [{packet, Type}, {active, true}]),
         Payloads = [<<>>, <<"a">>, binary:copy(<<"b">>, 200)],
         [ok = gen_tcp:send(Peer, [<<(byte_size(Payload)):Type/unit:8>>, Payload]) || Payload <- Payloads],
         [{tcp, Socket, Payload} = next() || Payload <- Payloads],
         ok = inet:setopts(Socket, [list]),
         ok = gen_tcp:send(Peer, <<3:Type/unit:8, 1, 2, 255>>),
         {tcp, Socket, [1, 2, 255]} = next()
     end || Type <- [1, 2, 4]],
    ok.

%% http packets come parsed, the body raw after a change of type.
http_items(Config) ->
    {Socket, Peer} = client(context(Config), [{packet, http_bin}, {active, once}]),
    ok = gen_tcp:send(Peer, "PUT /x HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\n\r\nbody"),
    {http, Socket, {http_request, 'PUT', {abs_path, <<"/x">>}, {1, 1}}} = next(),
    ok = inet:setopts(Socket, [{active, 3}]),
    [{http, Socket, {http_header, 14, 'Host', _, <<"h">>}},
     {http, Socket, {http_header, 38, 'Content-Length', _, <<"4">>}},
     {http, Socket, http_eoh}, {tcp_passive, Socket}] = next_n(4),
    ok = inet:setopts(Socket, [{packet, raw}, {active, once}]),
    {tcp, Socket, <<"body">>} = next(),
    ok.

%% deliver port gives the form a port program has.
deliver_port(Config) ->
    {Socket, Peer} = client(context(Config), [{packet, line}, {deliver, port}, {active, 2}]),
    ok = gen_tcp:send(Peer, "one\ntwo\n"),
    [{Socket, {data, <<"one\n">>}}, {Socket, {data, <<"two\n">>}}, {tcp_passive, Socket}] = next_n(3),
    ok.

%% A peer that sends a burst and closes at once, a hundred times: nothing is lost in any mode.
burst_then_close(Config) ->
    C = context(Config),
    Data = binary:copy(<<"0123456789">>, 3000),
    [begin
         {Socket, Peer} = client(C, [{active, Mode}]),
         ok = gen_tcp:send(Peer, Data),
         ok = gen_tcp:close(Peer),
         Messages = rearmed(Socket, Mode),
         Data = iolist_to_binary([Part || {tcp, _, Part} <- Messages]),
         {tcp_closed, Socket} = lists:last(Messages)
     end || _ <- lists:seq(1, 25), Mode <- [true, once, 1, 4]],
    ok.

%% A frame that comes a byte at a time is delivered once it is whole.
slow_bytes(Config) ->
    {Socket, Peer} = client(context(Config), [{packet, 4}, {active, once}]),
    ok = inet:setopts(Peer, [{nodelay, true}]),
    [begin ok = gen_tcp:send(Peer, [Byte]), ok = rs_test:arrived(Socket, Position), [] = mailbox() end
     || {Position, Byte} <- lists:zip(lists:seq(1, 8), [0, 0, 0, 5 | "abcd"])],
    ok = gen_tcp:send(Peer, "e"),
    {tcp, Socket, <<"abcde">>} = next(),
    ok.
