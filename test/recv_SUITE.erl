%% Passive reading: lengths, timeouts, one reader at a time, killed readers, ends, and pushed back bytes.
-module(recv_SUITE).

-export([suite/0, all/0, groups/0, init_per_group/2, end_per_group/2]).
-export([exact_lengths/1, data_then_closed/1, waits_for_all/1, close_wakes_the_reader/1, timeout_keeps_the_bytes/1,
         timeouts_racing_arrivals/1, timeouts_racing_frames/1, one_reader_at_a_time/1, any_process_reads/1,
         a_reader_is_not_robbed/1,
         killed_reader_swallows_nothing/1, short_read_at_the_end/1, resets/1, frames/1, limits/1, active_refuses/1,
         pushed_back/1, back_pressure/1, big_mailbox/1, counters/1, many_readers/1]).

-import(rs_test, [context/1, client/2, server/2, mailbox/0, async/1, blocked/1, await/1, kill/1, poll/1, barrier/1]).

suite() -> [{timetrap, {minutes, 2}}].
all() -> [{group, inet}, {group, rs}].
groups() ->
    %% With the driver a killed reader takes the next bytes with it, and a recv searches the mailbox.
    OnlyRs = [killed_reader_swallows_nothing, big_mailbox],
    rs_test:groups_of([timeouts_racing_arrivals, timeouts_racing_frames, one_reader_at_a_time, any_process_reads,
                       a_reader_is_not_robbed, short_read_at_the_end, resets, frames, limits, active_refuses,
                       pushed_back, back_pressure, counters, many_readers],
                      [exact_lengths, data_then_closed, waits_for_all, close_wakes_the_reader, timeout_keeps_the_bytes],
                      OnlyRs).
init_per_group(Group, Config) -> rs_test:init_group(Group, Config).
end_per_group(Group, Config) -> rs_test:end_group(Group, Config).

%% recv of N bytes gives exactly N; recv of 0 gives what is left.
exact_lengths(Config) ->
    {Socket, Peer} = client(context(Config), []),
    ok = gen_tcp:send(Peer, "hello wonderful world"),
    {ok, <<"hello">>} = gen_tcp:recv(Socket, 5, 5000),
    {ok, <<" wonderful">>} = gen_tcp:recv(Socket, 10, 5000),
    {ok, <<" world">>} = gen_tcp:recv(Socket, 0, 5000),
    {error, timeout} = gen_tcp:recv(Socket, 0, 0),
    ok.

%% What the peer sent before it closed is read first, then closed.
data_then_closed(Config) ->
    {Socket, Peer} = server(context(Config), []),
    Data = binary:copy(<<"0123456789abcdef">>, 8192),
    ok = gen_tcp:send(Peer, Data),
    ok = gen_tcp:close(Peer),
    {Data, closed} = rs_test:read_all(Socket),
    ok.

%% recv of N waits until N bytes are there, however they come.
waits_for_all(Config) ->
    {Socket, Peer} = client(context(Config), []),
    Reader = async(fun() -> gen_tcp:recv(Socket, 100) end),
    [begin _ = blocked(Reader), ok = gen_tcp:send(Peer, binary:copy(<<Byte>>, 10)) end || Byte <- lists:seq(1, 10)],
    Data = << <<(binary:copy(<<Byte>>, 10))/binary>> || Byte <- lists:seq(1, 10) >>,
    {{ok, Data}, []} = await(Reader),
    ok.

%% Closing the socket ends a waiting recv with closed.
close_wakes_the_reader(Config) ->
    {Socket, _Peer} = client(context(Config), []),
    Reader = blocked(async(fun() -> gen_tcp:recv(Socket, 10) end)),
    ok = gen_tcp:close(Socket),
    {{error, closed}, []} = await(Reader),
    {error, closed} = gen_tcp:recv(Socket, 0),
    ok.

%% A recv that timed out has taken nothing: a later one of any length finds the bytes, and no message is left.
timeout_keeps_the_bytes(Config) ->
    {Socket, Peer} = client(context(Config), []),
    ok = gen_tcp:send(Peer, "abc"),
    Start = erlang:monotonic_time(millisecond),
    {error, timeout} = gen_tcp:recv(Socket, 5, 50),
    true = erlang:monotonic_time(millisecond) - Start >= 50,
    {ok, <<"ab">>} = gen_tcp:recv(Socket, 2, 5000),
    {error, timeout} = gen_tcp:recv(Socket, 2, 10),
    {ok, <<"c">>} = gen_tcp:recv(Socket, 0, 5000),
    [] = mailbox(),
    ok.

%% However timeouts and bytes race, every byte is read once and in order, and no message is left.
timeouts_racing_arrivals(Config) ->
    C = context(Config),
    {Socket, Peer} = client(C, []),
    Count = 3000,
    Sender = rs_test:async_owner(Peer, fun() ->
                                               ok = inet:setopts(Peer, [{nodelay, true}]),
                                               [ok = gen_tcp:send(Peer, <<Number:32>>)
                                                || Number <- lists:seq(1, Count)],
                                               gen_tcp:close(Peer)
                                       end),
    {Timeouts, Data} = read_hastily(Socket, 0, <<>>, 4 * Count),
    true = Data =:= << <<Number:32>> || Number <- lists:seq(1, Count) >>,
    {ok, []} = await(Sender),
    ok = barrier(C),
    [] = mailbox(),
    {comment, io_lib:format("~w timeouts", [Timeouts])}.

%% Never more than is still to come: the end of the stream would take the rest away.
read_hastily(Socket, Timeouts, Data, All) ->
    Length = min(rand:uniform(5) - 1, All - byte_size(Data)),
    case gen_tcp:recv(Socket, Length, rand:uniform(3) - 1) of
        {ok, More} -> read_hastily(Socket, Timeouts, <<Data/binary, More/binary>>, All);
        {error, timeout} -> read_hastily(Socket, Timeouts + 1, Data, All);
        {error, closed} -> {Timeouts, Data}
    end.

%% The same for frames: each is read once and in order.
timeouts_racing_frames(Config) ->
    C = context(Config),
    {Socket, Peer} = client(C, [{packet, 2}]),
    Count = 3000,
    Sender = rs_test:async_owner(Peer, fun() ->
                                               ok = inet:setopts(Peer, [{nodelay, true}]),
                                               [begin ok = gen_tcp:send(Peer, <<0>>),
                                                ok = gen_tcp:send(Peer, <<4, Number:32>>) end
                                                || Number <- lists:seq(1, Count)],
                                               gen_tcp:close(Peer)
                                       end),
    true = frames_hastily(Socket) =:= lists:seq(1, Count),
    {ok, []} = await(Sender),
    ok = barrier(C),
    [] = mailbox(),
    ok.

frames_hastily(Socket) ->
    case gen_tcp:recv(Socket, 0, rand:uniform(3) - 1) of
        {ok, <<Number:32>>} -> [Number | frames_hastily(Socket)];
        {error, timeout} -> frames_hastily(Socket);
        {error, closed} -> []
    end.

%% While one process waits in recv another one's is refused at once, and the first still gets its bytes.
one_reader_at_a_time(Config) ->
    {Socket, Peer} = client(context(Config), []),
    Reader = blocked(async(fun() -> gen_tcp:recv(Socket, 3) end)),
    {error, ealready} = gen_tcp:recv(Socket, 0),
    {error, ealready} = gen_tcp:recv(Socket, 5, 60000),
    ok = gen_tcp:send(Peer, "abc"),
    {{ok, <<"abc">>}, []} = await(Reader),
    ok.

%% A reader that waits gets the bytes that come, however often others try meanwhile.
a_reader_is_not_robbed(Config) ->
    {Socket, Peer} = client(context(Config), []),
    [begin
         Reader = blocked(async(fun() -> gen_tcp:recv(Socket, 4) end)),
         Thieves = [async(fun() -> steal(Socket) end) || _ <- [1, 2]],
         ok = gen_tcp:send(Peer, <<Number:16>>),
         ok = gen_tcp:send(Peer, <<Number:16>>),
         {{ok, <<Number:16, Number:16>>}, []} = await(Reader),
         [{{error, timeout}, []} = await(Thief) || Thief <- Thieves]
     end || Number <- lists:seq(1, 200)],
    ok.

%% Tries until nobody else waits: then there must be nothing left.
steal(Socket) ->
    case gen_tcp:recv(Socket, 0, 0) of
        {error, ealready} -> steal(Socket);
        Other -> Other
    end.

%% Any process may read, one after the other.
any_process_reads(Config) ->
    {Socket, Peer} = client(context(Config), []),
    ok = gen_tcp:send(Peer, "abcdef"),
    Read = fun() -> await(async(fun() -> gen_tcp:recv(Socket, 2, 5000) end)) end,
    [{{ok, <<"ab">>}, []}, {{ok, <<"cd">>}, []}, {{ok, <<"ef">>}, []}] = [Read() || _ <- [1, 2, 3]],
    ok.

%% A reader killed while it waits is forgotten: no byte goes with it, and the next recv works at once.
killed_reader_swallows_nothing(Config) ->
    {Socket, Peer} = client(context(Config), []),
    [begin
         Reader = blocked(async(fun() -> gen_tcp:recv(Socket, 4) end)),
         #{num_readers := 1} = inet:info(Socket),
         ok = kill(Reader),
         ok = poll(fun() -> maps:get(num_readers, inet:info(Socket)) =:= 0 end),
         ok = gen_tcp:send(Peer, <<Number:32>>),
         {ok, <<Number:32>>} = gen_tcp:recv(Socket, 4, 5000)
     end || Number <- lists:seq(1, 50)],
    ok.

%% When the stream ends with fewer bytes than were asked for, recv says closed.
short_read_at_the_end(Config) ->
    C = context(Config),
    {Socket, Peer} = client(C, []),
    ok = gen_tcp:send(Peer, "abc"),
    ok = gen_tcp:close(Peer),
    {error, closed} = gen_tcp:recv(Socket, 4, 5000),
    {Waiting, WaitingPeer} = client(C, []),
    Reader = blocked(async(fun() -> gen_tcp:recv(Waiting, 4) end)),
    ok = gen_tcp:send(WaitingPeer, "abc"),
    ok = gen_tcp:close(WaitingPeer),
    {{error, closed}, []} = await(Reader),
    ok.

%% A reset is closed, or econnreset with show_econnreset, to a waiting and to a later recv.
resets(Config) ->
    C = context(Config),
    [begin
         {Socket, Peer} = client(C, Options),
         Reader = blocked(async(fun() -> gen_tcp:recv(Socket, 0) end)),
         ok = rs_test:reset(Peer),
         {{error, Reason}, []} = await(Reader),
         {Later, LaterPeer} = client(C, Options),
         ok = rs_test:reset(LaterPeer),
         ok = rs_test:reset_arrived(Later),
         {error, Reason} = gen_tcp:recv(Later, 0, 5000),
         {error, enotconn} = gen_tcp:recv(Later, 0, 5000)
     end || {Options, Reason} <- [{[], closed}, {[{show_econnreset, true}], econnreset}]],
    ok.

%% Every packet type is read frame by frame, and a malformed frame is emsgsize.
frames(Config) ->
    C = context(Config),
    [begin
         {Socket, Peer} = client(C, [{packet, Type}]),
         ok = gen_tcp:send(Peer, Wire),
         [{ok, Packet} = gen_tcp:recv(Socket, 0, 5000) || Packet <- Packets]
     end || {Type, Wire, Packets} <-
                [{1, <<3, "abc", 0>>, [<<"abc">>, <<>>]}, {2, <<0, 3, "abc", 0, 0>>, [<<"abc">>, <<>>]},
                 {4, <<3:32, "abc", 0:32>>, [<<"abc">>, <<>>]}, {line, "one\ntwo\r\n", [<<"one\n">>, <<"two\r\n">>]},
                 {sunrm, <<1:1, 2:31, "ab">>, [<<1:1, 2:31, "ab">>]}, {asn1, <<48, 2, "ab">>, [<<48, 2, "ab">>]},
                 {tpkt, <<3, 0, 6:16, "ab">>, [<<3, 0, 6:16, "ab">>]},
                 {fcgi, <<1, 1, 0:16, 2:16, 1, 0, "ab", 0>>, [<<1, 1, 0:16, 2:16, 1, 0, "ab">>]},
                 {cdr, <<"GIOP", 1, 0, 0, 0, 2:32, "ab">>, [<<"GIOP", 1, 0, 0, 0, 2:32, "ab">>]},
                 {http, "GET / HTTP/1.0\r\n\r\n", [{http_request, 'GET', {abs_path, "/"}, {1, 0}}, http_eoh]}]],
    {Socket, Peer} = client(C, [{packet, 2}, {packet_size, 4}]),
    ok = gen_tcp:send(Peer, <<4:16, "good", 5:16>>),
    {ok, <<"good">>} = gen_tcp:recv(Socket, 0, 5000),
    {error, emsgsize} = gen_tcp:recv(Socket, 0, 5000),
    {error, enotconn} = gen_tcp:recv(Socket, 0, 5000),
    ok.

%% Lengths and timeouts outside the limits are refused as by the driver.
limits(Config) ->
    {Socket, _Peer} = client(context(Config), []),
    {error, enomem} = gen_tcp:recv(Socket, 16#4000001, 0),
    {error, timeout} = gen_tcp:recv(Socket, 16#4000000, 0),
    [{raised, error, function_clause} = rs_test:attempt(fun() -> gen_tcp:recv(Socket, Length, Timeout) end)
     || {Length, Timeout} <- [{-1, 0}, {foo, 0}, {0, foo}, {0, 1.0}]],
    ok = inet:setopts(Socket, [{packet, 4}]),
    {error, einval} = gen_tcp:recv(Socket, 1, 0),
    ok.

%% recv on a socket that is active in any way is refused.
active_refuses(Config) ->
    {Socket, _Peer} = client(context(Config), []),
    [begin
         ok = inet:setopts(Socket, [{active, Mode}]),
         {error, einval} = gen_tcp:recv(Socket, 0, 0)
     end || Mode <- [true, once, 3]],
    ok.

%% Bytes that were pushed back are read again before all others.
pushed_back(Config) ->
    {Socket, Peer} = client(context(Config), []),
    ok = gen_tcp:send(Peer, "cdef"),
    {ok, <<"cd">>} = gen_tcp:recv(Socket, 2, 5000),
    ok = gen_tcp:unrecv(Socket, "cd"),
    ok = gen_tcp:unrecv(Socket, <<"ab">>),
    {ok, <<"abcdef">>} = gen_tcp:recv(Socket, 6, 5000),
    ok.

%% A passive socket that nobody reads is not read: the peer's sends end up waiting.
back_pressure(Config) ->
    {Socket, Peer} = client(context(Config), []),
    ok = inet:setopts(Peer, [{send_timeout, 200}]),
    Count = rs_test:fill(Peer),
    {error, timeout} = gen_tcp:send(Peer, "more"),
    ok = rs_test:drain(Socket, Count),
    {ok, <<"more">>} = gen_tcp:recv(Socket, 4, 5000),
    ok.

%% Sending, receiving, options, connecting and accepting cost the same with a hundred thousand messages in the
%% mailbox.
big_mailbox(Config) ->
    Listen = rs_test:listen(context(Config), []),
    {Socket, Peer} = client(context(Config), []),
    _Echo = rs_test:async_owner(Peer, fun() -> echo(Peer) end),
    Time = fun() ->
                   {Microseconds, ok} =
                       timer:tc(fun() ->
                                        lists:foreach(fun(_) ->
                                                              ok = gen_tcp:send(Socket, "x"),
                                                              {ok, <<"x">>} = gen_tcp:recv(Socket, 1, 5000),
                                                              ok = inet:setopts(Socket, [{active, once}]),
                                                              ok = inet:setopts(Socket, [{active, false}])
                                                      end, lists:seq(1, 300)),
                                        lists:foreach(fun(_) ->
                                                              {ok, _} = rs_test:connect(context(Config), Listen, []),
                                                              _ = rs_test:accept(Listen)
                                                      end, lists:seq(1, 100))
                                end),
                   Microseconds
           end,
    _ = Time(),
    Empty = Time(),
    [self() ! {unread, Number} || Number <- lists:seq(1, 100000)],
    true = erlang:garbage_collect(),
    Full = Time(),
    ct:pal("~w us with an empty mailbox, ~w us with a full one", [Empty, Full]),
    %% To search the mailbox once a call would take half a second more.
    true = Full < 3 * Empty + 150000,
    ok.

echo(Peer) ->
    case gen_tcp:recv(Peer, 0) of
        {ok, Data} -> ok = gen_tcp:send(Peer, Data), echo(Peer);
        {error, closed} -> ok
    end.

%% The counters count deliveries and their bytes on the wire.
counters(Config) ->
    {Socket, Peer} = client(context(Config), [{packet, 2}]),
    ok = gen_tcp:send(Peer, <<90:16, 0:720, 5:16, "12345">>),
    [{ok, _} = gen_tcp:recv(Socket, 0, 5000) || _ <- [1, 2]],
    {ok, [{recv_cnt, 2}, {recv_oct, 99}, {recv_max, 92}, {recv_avg, 49}]} = inet:getstat(Socket,
                                                                                         [recv_cnt, recv_oct, recv_max,
                                                                                          recv_avg]),
    ok.

%% Two hundred readers of two hundred sockets each get what is theirs.
many_readers(Config) ->
    C = context(Config),
    Pairs = [begin
                 {Socket, Peer} = client(C, []),
                 {Peer, async(fun() -> gen_tcp:recv(Socket, 4) end)}
             end || _ <- lists:seq(1, 200)],
    Numbered = lists:zip(lists:seq(1, 200), Pairs),
    [ok = gen_tcp:send(Peer, <<Number:32>>) || {Number, {Peer, _}} <- lists:reverse(Numbered)],
    [{{ok, <<Number:32>>}, []} = await(Reader) || {Number, {_, Reader}} <- Numbered],
    ok.
