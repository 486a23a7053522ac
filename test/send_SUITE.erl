%% Sending: headers, the queue and its watermarks, timeouts, many senders, and what a send finds broken.
-module(send_SUITE).

-export([suite/0, all/0, groups/0, init_per_group/2, end_per_group/2]).
-export([iodata/1, first_send_never_waits/1, high_watermark_makes_wait/1, headers/1, oversize_headers/1, no_iodata/1,
         senders_keep_their_order/1, waiting_senders_are_served/1, timeout_keeps_the_data/1, timeout_zero/1,
         timeout_is_kept/1, timeout_close/1, killed_sender_is_sent/1, delayed/1, receiving_goes_on/1, after_fin/1,
         after_reset/1, after_shutdown/1, waiting_sender_is_told/1, counters/1, memory_of_a_queue/1, huge_and_small/1,
         binaries_are_freed/1, every_sender_has_its_timeout/1, senders_wait_in_turn/1, the_kernels_work_is_charged/1]).

-import(rs_test, [context/1, client/2, server/2, mailbox/0, async/1, blocked/1, await/1, kill/1, poll/1, fill/1,
                  drain/2, next/0]).

suite() -> [{timetrap, {minutes, 2}}].
all() -> [{group, inet}, {group, rs}].
groups() ->
    %% The driver's suspended senders have neither a timeout nor an order.
    OnlyRs = [every_sender_has_its_timeout, senders_wait_in_turn, the_kernels_work_is_charged],
    rs_test:groups_of([headers, oversize_headers, no_iodata, senders_keep_their_order, waiting_senders_are_served,
                       timeout_keeps_the_data, timeout_zero, timeout_is_kept, timeout_close, killed_sender_is_sent,
                       delayed,
                       receiving_goes_on, after_fin, after_reset, after_shutdown, waiting_sender_is_told, counters,
                       memory_of_a_queue, huge_and_small, binaries_are_freed],
                      [iodata, first_send_never_waits, high_watermark_makes_wait],
                      OnlyRs).
init_per_group(Group, Config) -> rs_test:init_group(Group, Config).
end_per_group(Group, Config) -> rs_test:end_group(Group, Config).

%% Any iodata is sent as the bytes it stands for.
iodata(Config) ->
    {Socket, Peer} = client(context(Config), []),
    Datas = [<<"binary">>, "list", ["deep", [<<"er">>, [$!]] | <<"tail">>], [], <<>>,
             [<<"part of ", (binary:copy(<<"x">>, 100))/binary>>],
             lists:duplicate(50, [binary:copy(<<"y">>, 1000), $z]), binary:part(<<"a sub binary of one">>, 2, 10)],
    [ok = gen_tcp:send(Socket, Data) || Data <- Datas],
    ok = gen_tcp:close(Socket),
    Expected = iolist_to_binary(Datas),
    {Expected, closed} = rs_test:read_all(Peer),
    ok.

%% With an empty queue any amount is taken at once, and all of it arrives.
first_send_never_waits(Config) ->
    {Socket, Peer} = client(context(Config), []),
    Data = << <<Number:32>> || Number <- lists:seq(1, 2000000) >>,
    ok = gen_tcp:send(Socket, Data),
    true = send_pend(Socket) > 0,
    Reader = rs_test:async_owner(Peer, fun() -> erlang:md5(element(1, rs_test:read_all(Peer))) end),
    ok = gen_tcp:close(Socket),
    Sum = erlang:md5(Data),
    {Sum, []} = await(Reader),
    ok.

send_pend(Socket) ->
    {ok, [{send_pend, Count}]} = inet:getstat(Socket, [send_pend]),
    Count.

%% A send that finds the queue above the high watermark waits until it is below the low one.
high_watermark_makes_wait(Config) ->
    {Socket, Peer} = client(context(Config), [{high_watermark, 20000}, {low_watermark, 5000}]),
    Count = fill(Socket),
    Sender = async(fun() -> {gen_tcp:send(Socket, "waited"), send_pend(Socket)} end),
    _ = blocked(Sender),
    ok = drain(Peer, Count),
    {{ok, Pending}, []} = await(Sender),
    true = Pending =< 5000,
    {ok, <<"waited">>} = gen_tcp:recv(Peer, 6, 5000),
    ok.

%% The types 1, 2 and 4 put the length before the data, the others nothing.
headers(Config) ->
    C = context(Config),
    [begin
         {Socket, Peer} = client(C, [{packet, Type}]),
         ok = gen_tcp:send(Socket, ["ab", <<"c">>]),
         ok = gen_tcp:send(Socket, ""),
         ok = gen_tcp:close(Socket),
         {Wire, closed} = rs_test:read_all(Peer)
     end || {Type, Wire} <- [{1, <<3, "abc", 0>>}, {2, <<3:16, "abc", 0:16>>}, {4, <<3:32, "abc", 0:32>>} |
                             [{Type, <<"abc">>} || Type <- [raw, 0, sunrm, asn1, cdr, fcgi, line, tpkt, http, httph]]]],
    ok.

%% A length that does not fit is cut, as the driver does; packet_size is of no account.
oversize_headers(Config) ->
    {Socket, Peer} = client(context(Config), [{packet, 1}, {packet_size, 3}]),
    ok = gen_tcp:send(Socket, binary:copy(<<"x">>, 257)),
    {ok, <<1, "xx">>} = gen_tcp:recv(Peer, 3, 5000),
    ok.

%% What is not iodata is einval and sends nothing.
no_iodata(Config) ->
    {Socket, Peer} = client(context(Config), []),
    [{error, einval} = gen_tcp:send(Socket, Data)
     || Data <- [foo, [256], ["ok", foo], [-1], <<1:3>>, {a}, [1 | 2], [<<1:1>>]] ++ lone_byte(Config)],
    ok = gen_tcp:close(Socket),
    {<<>>, closed} = rs_test:read_all(Peer),
    ok.

%% The driver of later releases takes an integer that is not in a list for a byte.
lone_byte(Config) ->
    case {context(Config), erlang:system_info(otp_release)} of
        {#{backend := inet}, Release} when Release > "25" -> [];
        _ -> [1]
    end.

%% Frames of eight processes that send at once arrive whole, and each sender's in its order.
senders_keep_their_order(Config) ->
    {Socket, Peer} = client(context(Config), [{packet, 2}]),
    ok = inet:setopts(Peer, [{packet, 2}]),
    Count = 500,
    Senders = [async(fun() ->
                             [ok = gen_tcp:send(Socket, [<<Sender:8, Number:32>>, binary:copy(<<Sender>>, Number)])
                              || Number <- lists:seq(1, Count)],
                             done
                     end) || Sender <- lists:seq(1, 8)],
    Last = lists:foldl(fun(_, Seen) ->
                               {ok, <<Sender:8, Number:32, Rest/binary>>} = gen_tcp:recv(Peer, 0, 10000),
                               Rest = binary:copy(<<Sender>>, Number),
                               Number = maps:get(Sender, Seen, 0) + 1,
                               Seen#{Sender => Number}
                       end, #{}, lists:seq(1, 8 * Count)),
    true = lists:all(fun(Number) -> Number =:= Count end, maps:values(Last)),
    [{done, []} = await(Sender) || Sender <- Senders],
    ok.

%% Twenty senders that wait are all served when the peer reads. (The driver wakes them in no order.)
waiting_senders_are_served(Config) ->
    {Socket, Peer} = client(context(Config), []),
    Count = fill(Socket),
    Senders = [blocked(async(fun() -> gen_tcp:send(Socket, [Byte]) end)) || Byte <- lists:seq($a, $t)],
    ok = drain(Peer, Count),
    [{ok, []} = await(Sender) || Sender <- Senders],
    {ok, Bytes} = gen_tcp:recv(Peer, 20, 5000),
    "abcdefghijklmnopqrst" = lists:sort(binary_to_list(Bytes)),
    ok.

%% A send that timed out has queued its data: all of it arrives, in order, and no message is left.
timeout_keeps_the_data(Config) ->
    C = context(Config),
    {Socket, Peer} = client(C, [{send_timeout, 50}]),
    Count = fill(Socket),
    [{error, timeout} = gen_tcp:send(Socket, [Byte]) || Byte <- "abc"],
    ok = drain(Peer, Count),
    {ok, <<"abc">>} = gen_tcp:recv(Peer, 3, 5000),
    ok = poll(fun() -> send_pend(Socket) =:= 0 end),
    ok = gen_tcp:send(Socket, "d"),
    {ok, <<"d">>} = gen_tcp:recv(Peer, 1, 5000),
    ok = rs_test:barrier(C),
    [] = mailbox(),
    ok.

%% With a send timeout of 0 a send never waits.
timeout_zero(Config) ->
    {Socket, Peer} = client(context(Config), [{send_timeout, 0}]),
    Count = fill(Socket),
    {error, timeout} = gen_tcp:send(Socket, "late"),
    ok = drain(Peer, Count),
    {ok, <<"late">>} = gen_tcp:recv(Peer, 4, 5000),
    ok.

%% The send timeout is kept: not earlier, and not much later.
timeout_is_kept(Config) ->
    {Socket, _Peer} = client(context(Config), [{send_timeout, 300}]),
    _ = fill(Socket),
    {Microseconds, {error, timeout}} = timer:tc(fun() -> gen_tcp:send(Socket, "x") end),
    true = Microseconds >= 299000 andalso Microseconds < 5000000,
    ok.

%% With send_timeout_close a timeout ends the socket and drops its queue.
timeout_close(Config) ->
    {Socket, Peer} = client(context(Config), [{send_timeout, 50}, {send_timeout_close, true}]),
    Count = fill(Socket),
    {error, timeout} = gen_tcp:send(Socket, "x"),
    {error, enotconn} = gen_tcp:send(Socket, "y"),
    {error, enotconn} = gen_tcp:recv(Socket, 0, 1000),
    {Received, closed} = rs_test:read_all(Peer),
    true = byte_size(Received) < Count,
    ok = gen_tcp:close(Socket),
    ok.

%% The data of a sender killed while it waits is sent, and others go on.
killed_sender_is_sent(Config) ->
    {Socket, Peer} = client(context(Config), []),
    Count = fill(Socket),
    Sender = blocked(async(fun() -> gen_tcp:send(Socket, "last words") end)),
    ok = kill(Sender),
    ok = drain(Peer, Count),
    {ok, <<"last words">>} = gen_tcp:recv(Peer, 10, 5000),
    ok = gen_tcp:send(Socket, "next"),
    {ok, <<"next">>} = gen_tcp:recv(Peer, 4, 5000),
    ok.

%% With delay_send everything arrives, in order, also what was sent just before the close.
delayed(Config) ->
    {Socket, Peer} = client(context(Config), [{delay_send, true}, {packet, 2}]),
    [ok = gen_tcp:send(Socket, <<Number:32>>) || Number <- lists:seq(1, 1000)],
    ok = gen_tcp:close(Socket),
    {Wire, closed} = rs_test:read_all(Peer),
    Wire = << <<4:16, Number:32>> || Number <- lists:seq(1, 1000) >>,
    ok.

%% While output is queued and a sender waits, input is received.
receiving_goes_on(Config) ->
    {Socket, Peer} = client(context(Config), [{packet, 1}]),
    _ = fill(Socket),
    _Sender = blocked(async(fun() -> gen_tcp:send(Socket, "x") end)),
    ok = gen_tcp:send(Peer, <<1, "a", 1, "b", 1, "c">>),
    {ok, <<"a">>} = gen_tcp:recv(Socket, 0, 5000),
    ok = inet:setopts(Socket, [{active, once}]),
    {tcp, Socket, <<"b">>} = next(),
    ok.

%% A send after the peer's FIN is ok; once the peer has answered it with a reset, sends are closed.
after_fin(Config) ->
    C = context(Config),
    [begin
         {Socket, Peer} = client(C, Options),
         ok = gen_tcp:close(Peer),
         ok = rs_test:fin_arrived(Socket),
         ok = gen_tcp:send(Socket, "into the void"),
         ok = rs_test:reset_arrived(Socket),
         {error, Reason} = gen_tcp:send(Socket, "again"),
         {error, enotconn} = gen_tcp:send(Socket, "and again")
     end || {Options, Reason} <- [{[], closed}, {[{show_econnreset, true}], econnreset}]],
    ok.

%% A send after a reset is closed, or econnreset with show_econnreset; an active owner is told too.
after_reset(Config) ->
    C = context(Config),
    [begin
         {Socket, Peer} = client(C, Options),
         ok = rs_test:reset(Peer),
         ok = rs_test:reset_arrived(Socket),
         {error, Reason} = gen_tcp:send(Socket, "x"),
         {error, Reason} = gen_tcp:recv(Socket, 0, 5000),
         {error, enotconn} = gen_tcp:recv(Socket, 0, 5000)
     end || {Options, Reason} <- [{[], closed}, {[{show_econnreset, true}], econnreset}]],
    ok.

%% A send after the own shutdown is closed, and closes.
after_shutdown(Config) ->
    {Socket, Peer} = client(context(Config), []),
    ok = gen_tcp:send(Peer, "unread"),
    ok = gen_tcp:shutdown(Socket, write),
    {error, closed} = gen_tcp:send(Socket, "x"),
    {error, closed} = gen_tcp:recv(Socket, 0, 5000),
    ok.

%% A sender that waits is told when the peer resets, and when the socket is closed with linger 0.
waiting_sender_is_told(Config) ->
    C = context(Config),
    {Socket, Peer} = client(C, []),
    _ = fill(Socket),
    Senders = [blocked(async(fun() -> gen_tcp:send(Socket, "x") end)) || _ <- [1, 2, 3]],
    ok = rs_test:reset(Peer),
    {{error, closed}, []} = await(hd(Senders)),
    %% The others may only now enter, and find the socket as it is.
    [{{error, _}, []} = await(Sender) || Sender <- tl(Senders)],
    {Closed, _Peer} = client(C, [{linger, {true, 0}}]),
    _ = fill(Closed),
    Sender = blocked(async(fun() -> gen_tcp:send(Closed, "x") end)),
    ok = gen_tcp:close(Closed),
    {{error, closed}, []} = await(Sender),
    ok.

%% Senders that wait behind another one have the send timeout too, each from its own call on.
every_sender_has_its_timeout(Config) ->
    {Socket, Peer} = client(context(Config), [{send_timeout, 300}]),
    Count = fill(Socket),
    Senders = [blocked(async(fun() -> timer:tc(fun() -> gen_tcp:send(Socket, [Byte]) end) end)) || Byte <- "abcdef"],
    [begin
         {{Microseconds, {error, timeout}}, []} = await(Sender),
         true = Microseconds >= 299000 andalso Microseconds < 5000000
     end || Sender <- Senders],
    ok = drain(Peer, Count),
    {ok, Bytes} = gen_tcp:recv(Peer, 6, 5000),
    "abcdef" = lists:sort(binary_to_list(Bytes)),
    ok.

%% Senders that wait are served in the order in which they came.
senders_wait_in_turn(Config) ->
    {Socket, Peer} = client(context(Config), []),
    Count = fill(Socket),
    Senders = [blocked(async(fun() -> gen_tcp:send(Socket, [Byte]) end)) || Byte <- lists:seq($a, $z)],
    ok = drain(Peer, Count),
    [{ok, []} = await(Sender) || Sender <- Senders],
    {ok, <<"abcdefghijklmnopqrstuvwxyz">>} = gen_tcp:recv(Peer, 26, 5000),
    ok.

%% The counters count calls and bytes with their headers; send_pend falls to nothing.
counters(Config) ->
    {Socket, Peer} = client(context(Config), [{packet, 2}]),
    [ok = gen_tcp:send(Socket, Data) || Data <- ["hello", "", "0123456789"]],
    {ok, _} = gen_tcp:recv(Peer, 21, 5000),
    {ok, [{send_cnt, 3}, {send_oct, 21}, {send_max, 12}, {send_avg, 7}, {send_pend, 0}]} =
        inet:getstat(Socket, [send_cnt, send_oct, send_max, send_avg, send_pend]),
    ok.

%% Five megabytes for a peer that does not read cost little more than the binary itself.
memory_of_a_queue(Config) ->
    {Socket, _Peer} = client(context(Config), []),
    Data = binary:copy(<<"0123456789abcdef">>, 327680),
    Before = resident(),
    ok = gen_tcp:send(Socket, Data),
    true = send_pend(Socket) > 1000000,
    true = resident() - Before < 2 * 1024 * 1024,
    %% The queue holds the very binary.
    5242880 = byte_size(Data),
    ok.

resident() ->
    {ok, Status} = file:read_file("/proc/self/status"),
    {match, [Kilobytes]} = re:run(Status, "VmRSS:\\s+([0-9]+) kB", [{capture, all_but_first, list}]),
    list_to_integer(Kilobytes) * 1024.

%% Sends of every size in turn, to a reader that keeps up or does not, arrive as one stream in order.
huge_and_small(Config) ->
    {Socket, Peer} = server(context(Config), [{packet, 4}]),
    ok = inet:setopts(Peer, [{packet, 4}]),
    Sizes = [1 bsl (Number rem 21) + Number rem 7 || Number <- lists:seq(1, 400)],
    Sender = async(fun() ->
                           [ok = gen_tcp:send(Socket, [<<Size:32>>, binary:copy(<<(Size rem 251)>>, Size)])
                            || Size <- Sizes],
                           done
                   end),
    [begin
         {ok, <<Size:32, Rest/binary>>} = gen_tcp:recv(Peer, 0, 10000),
         true = Rest =:= binary:copy(<<(Size rem 251)>>, Size)
     end || Size <- Sizes],
    {done, []} = await(Sender),
    ok.

%% A queued binary is given back once it is written.
binaries_are_freed(Config) ->
    {Socket, Peer} = client(context(Config), []),
    true = erlang:garbage_collect(),
    Before = erlang:memory(binary),
    Count = fill(Socket),
    true = erlang:memory(binary) - Before >= Count div 2,
    %% Read elsewhere: this process keeps nothing of it.
    Reader = rs_test:async_owner(Peer, fun() -> drain(Peer, Count), erlang:garbage_collect() end),
    {true, []} = await(Reader),
    ok = poll(fun() ->
                      true = erlang:garbage_collect(),
                      erlang:memory(binary) - Before < 4 * 1024 * 1024
              end).

%% A process that sends or receives in a loop is charged for what the kernel does meanwhile, so that it yields like others: 64 KiB are
%% about 17 us, of the millisecond that 4000 reductions stand for.
the_kernels_work_is_charged(Config) ->
    {Socket, Peer} = client(context(Config), []),
    Exchange = fun(From, To, Data) ->
        Length = byte_size(Data),
        {reductions, Before} = process_info(self(), reductions),
        [begin
             ok = gen_tcp:send(From, Data),
             {ok, Data} = gen_tcp:recv(To, Length)
         end || _ <- lists:seq(1, 200)],
        {reductions, After} = process_info(self(), reductions),
        (After - Before) div 200
    end,
    [begin
         Small = Exchange(From, To, <<1>>),
         Large = Exchange(From, To, binary:copy(<<1>>, 65536)),
         {true, Small, Large} = {Large > Small + 40, Small, Large}
     end || {From, To} <- [{Socket, Peer}, {Peer, Socket}]],
    ok.
