%% Observations on passive reading: lengths, timeouts, waiting readers, ends, unrecv and the counters.
-module(diff_recv).

-export([observations/0]).

-import(rs_test, [client/2, server/2, next/0, until_closed/1, reset/1, arrived/2, fin_arrived/1, reset_arrived/1,
                  barrier/1, mailbox/0, async/1, async_owner/2, blocked/1, await/1, kill/1]).

-spec observations() -> [{string(), fun((rs_test:context()) -> term())}].
observations() ->
    lengths() ++ timeouts() ++ waiting() ++ ends() ++ pushed_back() ++ counters().

lengths() ->
    [{"recv 0 takes what is there",
      fun(C) ->
              {Socket, Peer} = client(C, []),
              ok = gen_tcp:send(Peer, "hello"),
              ok = arrived(Socket, 5),
              gen_tcp:recv(Socket, 0)
      end},
     {"recv N takes exactly N",
      fun(C) ->
              {Socket, Peer} = client(C, []),
              ok = gen_tcp:send(Peer, "hello world"),
              [gen_tcp:recv(Socket, Length) || Length <- [1, 4, 6]]
      end},
     {"recv N waits for all of it",
      fun(C) ->
              {Socket, Peer} = client(C, []),
              ok = gen_tcp:send(Peer, "abc"),
              Reader = blocked(async(fun() -> gen_tcp:recv(Socket, 5) end)),
              ok = gen_tcp:send(Peer, "defg"),
              {await(Reader), gen_tcp:recv(Socket, 0)}
      end},
     {"recv N, then the rest by recv 0",
      fun(C) ->
              {Socket, Peer} = server(C, []),
              ok = gen_tcp:send(Peer, "abcdef"),
              ok = arrived(Socket, 6),
              {gen_tcp:recv(Socket, 2), gen_tcp:recv(Socket, 0)}
      end},
     {"recv 0 returns at most the buffer",
      fun(C) ->
              {Socket, Peer} = client(C, [{buffer, 100}]),
              ok = gen_tcp:send(Peer, binary:copy(<<"x">>, 250)),
              ok = arrived(Socket, 250),
              [byte_size(Data) || {ok, Data} <- [gen_tcp:recv(Socket, 0) || _ <- [1, 2, 3]]]
      end},
     {"recv N beyond the buffer",
      fun(C) ->
              {Socket, Peer} = client(C, [{buffer, 100}]),
              ok = gen_tcp:send(Peer, binary:copy(<<"x">>, 5000)),
              {ok, Data} = gen_tcp:recv(Socket, 5000),
              byte_size(Data)
      end},
     {"recv a megabyte",
      fun(C) ->
              {Socket, Peer} = client(C, []),
              Data = binary:copy(<<"0123456789abcdef">>, 65536),
              ok = gen_tcp:send(Peer, Data),
              gen_tcp:recv(Socket, byte_size(Data)) =:= {ok, Data}
      end},
     {"recv in list mode",
      fun(C) ->
              {Socket, Peer} = client(C, [list]),
              ok = gen_tcp:send(Peer, <<0, 1, 255, "abc">>),
              {gen_tcp:recv(Socket, 3), gen_tcp:recv(Socket, 3)}
      end},
     {"recv with header, raw",
      fun(C) ->
              {Socket, Peer} = client(C, [{header, 3}]),
              ok = gen_tcp:send(Peer, "abcdefghij"),
              {gen_tcp:recv(Socket, 5), gen_tcp:recv(Socket, 3), gen_tcp:recv(Socket, 2)}
      end},
     {"mode changed between two reads of the buffer",
      fun(C) ->
              {Socket, Peer} = client(C, [{packet, 1}]),
              ok = gen_tcp:send(Peer, <<1, "a", 1, "b">>),
              First = gen_tcp:recv(Socket, 0),
              ok = inet:setopts(Socket, [list]),
              {First, gen_tcp:recv(Socket, 0), inet:getopts(Socket, [mode])}
      end}].

timeouts() ->
    [{"timeout with nothing there",
      fun(C) -> {Socket, _} = client(C, []), {gen_tcp:recv(Socket, 0, 20), gen_tcp:recv(Socket, 5, 0), mailbox()} end},
     {"timeout 0 finds what is in the kernel",
      fun(C) ->
              {Socket, Peer} = client(C, []),
              ok = gen_tcp:send(Peer, "abc"),
              ok = arrived(Socket, 3),
              gen_tcp:recv(Socket, 0, 0)
      end},
     {"timeout 0 finds FIN",
      fun(C) ->
              {Socket, Peer} = client(C, []),
              ok = gen_tcp:shutdown(Peer, write),
              ok = fin_arrived(Socket),
              gen_tcp:recv(Socket, 0, 0)
      end},
     {"timeout keeps the bytes for a longer recv",
      fun(C) ->
              {Socket, Peer} = client(C, []),
              ok = gen_tcp:send(Peer, "abc"),
              Early = gen_tcp:recv(Socket, 5, 20),
              ok = gen_tcp:send(Peer, "de"),
              {Early, gen_tcp:recv(Socket, 5, 5000)}
      end},
     {"timeout keeps the bytes for recv 0",
      fun(C) ->
              {Socket, Peer} = client(C, []),
              ok = gen_tcp:send(Peer, "abc"),
              {gen_tcp:recv(Socket, 5, 20), gen_tcp:recv(Socket, 0, 5000)}
      end},
     {"timeout keeps the bytes for active mode",
      fun(C) ->
              {Socket, Peer} = client(C, []),
              ok = gen_tcp:send(Peer, "abc"),
              Early = gen_tcp:recv(Socket, 5, 20),
              ok = inet:setopts(Socket, [{active, once}]),
              {Early, next()}
      end},
     {"timeout inside a frame keeps it",
      fun(C) ->
              {Socket, Peer} = client(C, [{packet, 2}]),
              ok = gen_tcp:send(Peer, <<0, 4, "ab">>),
              Early = gen_tcp:recv(Socket, 0, 20),
              ok = gen_tcp:send(Peer, <<"cd">>),
              {Early, gen_tcp:recv(Socket, 0, 5000)}
      end},
     {"many timeouts leave no message",
      fun(C) ->
              {Socket, _} = client(C, []),
              Results = [gen_tcp:recv(Socket, 0, Timeout) || Timeout <- [0, 1, 2, 0, 1, 3]],
              ok = barrier(C),
              {Results, mailbox()}
      end},
     {"negative timeout waits",
      fun(C) ->
              {Socket, Peer} = client(C, []),
              Reader = blocked(async(fun() -> gen_tcp:recv(Socket, 0, -5) end)),
              ok = gen_tcp:send(Peer, "x"),
              await(Reader)
      end},
     {"recv does not touch other messages",
      fun(C) ->
              {Socket, Peer} = client(C, []),
              self() ! one, self() ! {tcp, foo, two},
              ok = gen_tcp:send(Peer, "x"),
              {gen_tcp:recv(Socket, 1), mailbox()}
      end}].

waiting() ->
    [{"a second recv is refused",
      fun(C) ->
              {Socket, Peer} = client(C, []),
              Reader = blocked(async(fun() -> gen_tcp:recv(Socket, 0) end)),
              Second = [gen_tcp:recv(Socket, 0, 0), gen_tcp:recv(Socket, 3, 100), gen_tcp:recv(Socket, 0)],
              ok = gen_tcp:send(Peer, "x"),
              {Second, await(Reader)}
      end},
     {"any process may recv",
      fun(C) ->
              {Socket, Peer} = client(C, []),
              ok = gen_tcp:send(Peer, "abc"),
              {await(async(fun() -> gen_tcp:recv(Socket, 2) end)), gen_tcp:recv(Socket, 1)}
      end},
     {"close wakes the reader",
      fun(C) ->
              {Socket, _} = client(C, []),
              Reader = blocked(async(fun() -> gen_tcp:recv(Socket, 0) end)),
              {gen_tcp:close(Socket), await(Reader)}
      end},
     {"close wakes a reader with half its bytes",
      fun(C) ->
              {Socket, Peer} = client(C, []),
              ok = gen_tcp:send(Peer, "abc"),
              Reader = blocked(async(fun() -> gen_tcp:recv(Socket, 5, 9000) end)),
              {gen_tcp:close(Socket), await(Reader)}
      end},
     {"the owner's death wakes the reader",
      fun(C) ->
              Parent = self(),
              Owner = async(fun() ->
                                    {Socket, Peer} = client(C, []),
                                    ok = gen_tcp:controlling_process(Peer, Parent),
                                    Parent ! {rs_test, made, Socket},
                                    receive never -> ok end
                            end),
              Socket = receive {rs_test, made, Made} -> Made end,
              Reader = blocked(async(fun() -> gen_tcp:recv(Socket, 0) end)),
              ok = kill(Owner),
              await(Reader)
      end},
     {"FIN wakes the reader",
      fun(C) ->
              {Socket, Peer} = client(C, []),
              Reader = blocked(async(fun() -> gen_tcp:recv(Socket, 0) end)),
              ok = gen_tcp:close(Peer),
              {await(Reader), gen_tcp:recv(Socket, 0)}
      end},
     {"FIN wakes a reader with half its bytes",
      fun(C) ->
              {Socket, Peer} = client(C, []),
              Reader = blocked(async(fun() -> gen_tcp:recv(Socket, 5) end)),
              ok = gen_tcp:send(Peer, "abc"),
              ok = gen_tcp:close(Peer),
              {await(Reader), gen_tcp:recv(Socket, 0)}
      end},
     {"reset wakes the reader",
      fun(C) ->
              {Socket, Peer} = client(C, []),
              Reader = blocked(async(fun() -> gen_tcp:recv(Socket, 0) end)),
              ok = reset(Peer),
              {await(Reader), gen_tcp:recv(Socket, 0)}
      end},
     {"reset shown wakes the reader",
      fun(C) ->
              {Socket, Peer} = client(C, [{show_econnreset, true}]),
              Reader = blocked(async(fun() -> gen_tcp:recv(Socket, 0) end)),
              ok = reset(Peer),
              {await(Reader), gen_tcp:recv(Socket, 0)}
      end},
     {"own close with econnreset shown is closed to the reader",
      fun(C) ->
              {Socket, _} = client(C, [{show_econnreset, true}]),
              Reader = blocked(async(fun() -> gen_tcp:recv(Socket, 0) end)),
              {gen_tcp:close(Socket), await(Reader)}
      end},
     {"shutdown read wakes the reader",
      fun(C) ->
              {Socket, _} = client(C, []),
              Reader = blocked(async(fun() -> gen_tcp:recv(Socket, 0) end)),
              {gen_tcp:shutdown(Socket, read), await(Reader)}
      end},
     {"the new owner reads",
      fun(C) ->
              {Socket, Peer} = client(C, []),
              Reader = async_owner(Socket, fun() -> gen_tcp:recv(Socket, 3) end),
              ok = gen_tcp:send(Peer, "abc"),
              await(Reader)
      end},
     {"send while a reader waits",
      fun(C) ->
              {Socket, Peer} = client(C, []),
              Reader = blocked(async(fun() -> gen_tcp:recv(Socket, 3) end)),
              ok = gen_tcp:send(Socket, "xyz"),
              {ok, Data} = gen_tcp:recv(Peer, 3),
              ok = gen_tcp:send(Peer, Data),
              await(Reader)
      end},
     {"options while a reader waits",
      fun(C) ->
              {Socket, Peer} = client(C, []),
              Reader = blocked(async(fun() -> gen_tcp:recv(Socket, 3) end)),
              Set = inet:setopts(Socket, [{nodelay, true}, {send_timeout, 5000}]),
              Names = inet:getopts(Socket, [active, nodelay]),
              ok = gen_tcp:send(Peer, "abc"),
              {Set, Names, await(Reader)}
      end},
     {"a reader of a length waits while the packet type changes",
      fun(C) ->
              {Socket, Peer} = client(C, []),
              Reader = blocked(async(fun() -> gen_tcp:recv(Socket, 3) end)),
              Set = inet:setopts(Socket, [{packet, 1}]),
              ok = gen_tcp:send(Peer, <<2, "ab">>),
              {Set, await(Reader), gen_tcp:recv(Socket, 3, 0)}
      end}].

ends() ->
    [{"end " ++ Name, fun(C) -> {Socket, Peer} = client(C, Options), Act(Socket, Peer) end}
     || {Name, Options, Act} <-
            [{"after data", [],
              fun(Socket, Peer) ->
                      ok = gen_tcp:send(Peer, "abc"), ok = gen_tcp:close(Peer),
                      [gen_tcp:recv(Socket, 3) | [gen_tcp:recv(Socket, 0) || _ <- [1, 2, 3]]]
              end},
             {"with too few bytes", [],
              fun(Socket, Peer) ->
                      ok = gen_tcp:send(Peer, "abc"), ok = gen_tcp:close(Peer),
                      [gen_tcp:recv(Socket, 4), gen_tcp:recv(Socket, 0), gen_tcp:recv(Socket, 0)]
              end},
             {"with too few bytes, exit_on_close false", [{exit_on_close, false}],
              fun(Socket, Peer) ->
                      ok = gen_tcp:send(Peer, "abc"), ok = gen_tcp:close(Peer),
                      [gen_tcp:recv(Socket, 4), gen_tcp:recv(Socket, 3, 0), gen_tcp:recv(Socket, 0)]
              end},
             {"every time with exit_on_close false", [{exit_on_close, false}],
              fun(Socket, Peer) ->
                      ok = gen_tcp:shutdown(Peer, write),
                      Three = [gen_tcp:recv(Socket, 0) || _ <- [1, 2, 3]],
                      {Three, gen_tcp:send(Socket, "still"), gen_tcp:recv(Peer, 5)}
              end},
             {"inside a line", [{packet, line}],
              fun(Socket, Peer) ->
                      ok = gen_tcp:send(Peer, "one\nrest"), ok = gen_tcp:close(Peer),
                      [gen_tcp:recv(Socket, 0) || _ <- [1, 2, 3]]
              end},
             {"inside a line, then raw", [{packet, line}, {exit_on_close, false}],
              fun(Socket, Peer) ->
                      ok = gen_tcp:send(Peer, "one\nrest"), ok = gen_tcp:close(Peer),
                      Two = [gen_tcp:recv(Socket, 0) || _ <- [1, 2]],
                      ok = inet:setopts(Socket, [{packet, raw}]),
                      {Two, gen_tcp:recv(Socket, 0, 1000)}
              end},
             {"by reset, hidden", [],
              fun(Socket, Peer) -> ok = reset(Peer), [gen_tcp:recv(Socket, 0) || _ <- [1, 2]] end},
             {"by reset, shown", [{show_econnreset, true}],
              fun(Socket, Peer) -> ok = reset(Peer), [gen_tcp:recv(Socket, 0) || _ <- [1, 2]] end},
             {"by reset, shown, exit_on_close false", [{show_econnreset, true}, {exit_on_close, false}],
              fun(Socket, Peer) -> ok = reset(Peer), [gen_tcp:recv(Socket, 0) || _ <- [1, 2, 3]] end},
             {"by reset with data in the buffer", [{packet, 1}],
              fun(Socket, Peer) ->
                      ok = gen_tcp:send(Peer, <<1, "a", 1, "b">>),
                      First = gen_tcp:recv(Socket, 0),
                      ok = reset(Peer), ok = reset_arrived(Socket),
                      [First | [gen_tcp:recv(Socket, 0) || _ <- [1, 2, 3]]]
              end},
             {"FIN with econnreset shown", [{show_econnreset, true}],
              fun(Socket, Peer) -> ok = gen_tcp:close(Peer), [gen_tcp:recv(Socket, 0) || _ <- [1, 2]] end},
             {"of a bad frame, then active", [{packet, 4}],
              fun(Socket, Peer) ->
                      ok = gen_tcp:send(Peer, <<16#ffffffff:32>>),
                      Two = [gen_tcp:recv(Socket, 0) || _ <- [1, 2]],
                      {Two, inet:setopts(Socket, [{active, true}]), until_closed(Socket)}
              end},
             {"of a bad frame, exit_on_close false, goes on", [{packet, 4}, {exit_on_close, false}],
              fun(Socket, Peer) ->
                      ok = gen_tcp:send(Peer, <<16#ffffffff:32>>),
                      First = gen_tcp:recv(Socket, 0),
                      ok = gen_tcp:send(Peer, <<2:32, "ok">>),
                      {First, gen_tcp:recv(Socket, 0), gen_tcp:send(Socket, "x"), gen_tcp:recv(Peer, 5)}
              end}]].

pushed_back() ->
    [{"unrecv comes first",
      fun(C) ->
              {Socket, Peer} = client(C, []),
              ok = gen_tcp:send(Peer, "def"),
              ok = arrived(Socket, 3),
              {gen_tcp:unrecv(Socket, "abc"), gen_tcp:recv(Socket, 6)}
      end},
     {"unrecv alone is enough",
      fun(C) -> {Socket, _} = client(C, []), {gen_tcp:unrecv(Socket, <<"abc">>), gen_tcp:recv(Socket, 0, 0)} end},
     {"unrecv before what is buffered",
      fun(C) ->
              {Socket, Peer} = client(C, []),
              ok = gen_tcp:send(Peer, "cdef"),
              Two = gen_tcp:recv(Socket, 5, 20),
              {Two, gen_tcp:unrecv(Socket, "ab"), gen_tcp:recv(Socket, 6)}
      end},
     {"unrecv with a packet header",
      fun(C) ->
              {Socket, _} = client(C, [{packet, 2}]),
              {gen_tcp:unrecv(Socket, <<0, 3, "abc">>), gen_tcp:recv(Socket, 0)}
      end},
     {"unrecv twice",
      fun(C) ->
              {Socket, _} = client(C, []),
              {gen_tcp:unrecv(Socket, "c"), gen_tcp:unrecv(Socket, "ab"), gen_tcp:recv(Socket, 3)}
      end}].

counters() ->
    Names = [recv_cnt, recv_oct, recv_max, recv_avg, recv_dvi],
    [{"counters of received " ++ Name,
      fun(C) ->
              {Socket, Peer} = client(C, Options),
              [ok = gen_tcp:send(Peer, Data) || Data <- Wire],
              _ = [gen_tcp:recv(Socket, Length) || Length <- Lengths],
              inet:getstat(Socket, Names)
      end}
     || {Name, Options, Wire, Lengths} <-
            [{"raw pieces", [], ["hello world"], [1, 4, 6]},
             {"frames", [{packet, 2}], [<<90:16>>, binary:copy(<<"x">>, 90), <<5:16, "12345">>], [0, 0]},
             {"lines", [{packet, line}], ["one\n", "three\n"], [0, 0]},
             {"http items", [{packet, http}], ["GET / HTTP/1.1\r\nA: b\r\n\r\n"], [0, 0, 0]},
             {"nothing", [], [], []}]]
        ++ [{"counters of an incomplete frame",
             fun(C) ->
                     {Socket, Peer} = client(C, [{packet, 2}]),
                     ok = gen_tcp:send(Peer, <<10:16, "abc">>),
                     {gen_tcp:recv(Socket, 0, 20), inet:getstat(Socket, Names)}
             end},
            {"counters of active frames",
             fun(C) ->
                     {Socket, Peer} = client(C, [{packet, 1}, {active, true}]),
                     ok = gen_tcp:send(Peer, <<3, "abc", 0, 1, "x">>),
                     Three = rs_test:next_n(3),
                     {Three, inet:getstat(Socket, Names)}
             end},
            {"counters in the order asked",
             fun(C) ->
                     {Socket, _} = client(C, []),
                     {inet:getstat(Socket), inet:getstat(Socket, [send_pend, recv_oct]), inet:getstat(Socket, [])}
             end}].
