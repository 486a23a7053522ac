%% Observations on close, shutdown, linger and monitors.
-module(diff_close).

-export([observations/0]).

-import(rs_test, [client/2, server/2, listen/2, next/0, next/1, until_closed/1, read_all/1, reset/1, arrived/2,
                  fin_arrived/1, reset_arrived/1, barrier/1, mailbox/0, async/1, blocked/1, await/1, kill/1, fill/1, drain/2]).

-spec observations() -> [{string(), fun((rs_test:context()) -> term())}].
observations() ->
    closing() ++ queued() ++ shutdowns() ++ monitors().

%% What the peer sees of the end.
end_of(Peer) ->
    {Bytes, Reason} = read_all(Peer),
    {byte_size(Bytes), Reason, gen_tcp:recv(Peer, 0)}.

closing() ->
    [{"close with nothing queued", fun(C) -> {S, P} = client(C, []), {gen_tcp:close(S), end_of(P)} end},
     {"close after a send",
      fun(C) ->
              {S, P} = client(C, []),
              ok = gen_tcp:send(S, "abc"),
              {gen_tcp:close(S), end_of(P)}
      end},
     {"close with unread input resets",
      fun(C) ->
              {Socket, Peer} = client(C, []),
              ok = inet:setopts(Peer, [{show_econnreset, true}]),
              ok = gen_tcp:send(Peer, "unread"),
              ok = arrived(Socket, 6),
              {gen_tcp:close(Socket), gen_tcp:recv(Peer, 0)}
      end},
     {"close of an active socket that has read all of it does not reset",
      fun(C) ->
              {Socket, Peer} = client(C, [{active, true}]),
              ok = inet:setopts(Peer, [{show_econnreset, true}]),
              ok = gen_tcp:send(Peer, "read"),
              <<"read">> = rs_test:collect(Socket, 4),
              {gen_tcp:close(Socket), gen_tcp:recv(Peer, 0)}
      end},
     {"linger 0 resets",
      fun(C) ->
              {Socket, Peer} = client(C, [{linger, {true, 0}}]),
              ok = inet:setopts(Peer, [{show_econnreset, true}]),
              {inet:getopts(Socket, [linger]), gen_tcp:close(Socket), gen_tcp:recv(Peer, 0)}
      end},
     {"linger 0 taken over by accept resets",
      fun(C) ->
              {Socket, Peer} = server(C, [{linger, {true, 0}}]),
              ok = inet:setopts(Peer, [{show_econnreset, true}]),
              {inet:getopts(Socket, [linger]), gen_tcp:close(Socket), gen_tcp:recv(Peer, 0)}
      end},
     {"linger 0, taken back",
      fun(C) ->
              {Socket, Peer} = client(C, [{linger, {true, 0}}]),
              ok = inet:setopts(Peer, [{show_econnreset, true}]),
              ok = inet:setopts(Socket, [{linger, {false, 0}}]),
              {gen_tcp:close(Socket), gen_tcp:recv(Peer, 0)}
      end},
     {"linger with a time and nothing queued",
      fun(C) -> {S, P} = client(C, [{linger, {true, 9}}]), {gen_tcp:close(S), end_of(P)} end},
     {"close by another process tells the owner nothing",
      fun(C) ->
              {Socket, Peer} = client(C, [{active, true}]),
              Closed = await(async(fun() -> gen_tcp:close(Socket) end)),
              End = end_of(Peer),
              ok = barrier(C),
              {Closed, End, mailbox()}
      end},
     {"close leaves data messages where they are",
      fun(C) ->
              {Socket, Peer} = client(C, [{active, true}, {packet, 1}]),
              ok = gen_tcp:send(Peer, <<1, "a">>),
              ok = rs_test:queued(1),
              {gen_tcp:close(Socket), mailbox()}
      end},
     {"close of a listener resets who waits in its backlog",
      fun(C) ->
              Listen = listen(C, []),
              {ok, Peer} = rs_test:connect(C#{backend := inet}, Listen, [{active, true}]),
              {gen_tcp:close(Listen), until_closed(Peer)}
      end},
     {"close of a listener leaves accepted sockets",
      fun(C) ->
              Listen = listen(C, []),
              {ok, Peer} = rs_test:connect(C#{backend := inet}, Listen, []),
              Socket = rs_test:accept(Listen),
              ok = gen_tcp:close(Listen),
              {gen_tcp:send(Socket, "x"), gen_tcp:recv(Peer, 1)}
      end},
     {"close frees the port",
      fun(C) ->
              Listen = listen(C, []),
              {_, Port} = rs_test:address_of(Listen),
              ok = gen_tcp:close(Listen),
              {ok, Again} = gen_tcp:listen(Port, rs_test:options(C, [{ip, {127, 0, 0, 1}}])),
              gen_tcp:close(Again)
      end}].

queued() ->
    [{"close waits for the queue",
      fun(C) ->
              {Socket, Peer} = client(C, []),
              Count = fill(Socket),
              Closer = blocked(async(fun() -> gen_tcp:close(Socket) end)),
              ok = drain(Peer, Count),
              {await(Closer), end_of(Peer)}
      end},
     {"while close waits the socket works",
      fun(C) ->
              {Socket, Peer} = client(C, [{high_watermark, 64 * 1024 * 1024}]),
              Count = fill(Socket),
              Closer = blocked(async(fun() -> gen_tcp:close(Socket) end)),
              Sent = gen_tcp:send(Socket, "more"),
              ok = gen_tcp:send(Peer, "input"),
              Received = gen_tcp:recv(Socket, 5, 5000),
              ok = drain(Peer, Count),
              {Sent, Received, gen_tcp:recv(Peer, 4), await(Closer), end_of(Peer)}
      end},
     {"linger 0 drops the queue",
      fun(C) ->
              {Socket, Peer} = client(C, [{linger, {true, 0}}]),
              ok = inet:setopts(Peer, [{show_econnreset, true}]),
              _ = fill(Socket),
              Closed = gen_tcp:close(Socket),
              %% What the kernel of the peer holds is dropped with the reset.
              ok = reset_arrived(Peer),
              {Closed, reason_of(read_all(Peer))}
      end},
     {"linger 1 gives up after its second and goes on in the background",
      fun(C) ->
              {Socket, Peer} = client(C, [{linger, {true, 1}}]),
              Count = fill(Socket),
              Closed = gen_tcp:close(Socket),
              ok = drain(Peer, Count),
              {Closed, end_of(Peer), gen_tcp:send(Socket, "x")}
      end},
     {"close gives up after 5 s without progress and goes on in the background",
      fun(C) ->
              {Socket, Peer} = client(C, []),
              Count = fill(Socket),
              ok = rs_test:stalled(Socket),
              Start = erlang:monotonic_time(millisecond),
              Closed = gen_tcp:close(Socket),
              Took = erlang:monotonic_time(millisecond) - Start,
              ok = drain(Peer, Count),
              {Closed, Took >= 4900, Took < 8000, end_of(Peer)}
      end},
     {"the owner's death sends what is queued",
      fun(C) ->
              Parent = self(),
              Owner = async(fun() ->
                                    {Socket, Peer} = client(C, []),
                                    ok = gen_tcp:controlling_process(Peer, Parent),
                                    Parent ! {rs_test, made, Peer, fill(Socket)}
                            end),
              {Peer, Count} = receive {rs_test, made, Socket, Size} -> {Socket, Size} end,
              ok = kill(Owner),
              ok = drain(Peer, Count),
              end_of(Peer)
      end},
     {"the owner's death with linger 0 resets",
      fun(C) ->
              Parent = self(),
              Owner = async(fun() ->
                                    {Socket, Peer} = client(C, [{linger, {true, 0}}]),
                                    ok = gen_tcp:controlling_process(Peer, Parent),
                                    Parent ! {rs_test, made, Peer, fill(Socket)}
                            end),
              Peer = receive {rs_test, made, Socket, _} -> Socket end,
              ok = inet:setopts(Peer, [{show_econnreset, true}]),
              ok = kill(Owner),
              ok = reset_arrived(Peer),
              reason_of(read_all(Peer))
      end},
     {"a reset ends a waiting close",
      fun(C) ->
              {Socket, Peer} = client(C, []),
              _ = fill(Socket),
              Closer = blocked(async(fun() -> gen_tcp:close(Socket) end)),
              ok = reset(Peer),
              await(Closer)
      end}].

reason_of({_, Reason}) -> Reason.

shutdowns() ->
    [{"shutdown " ++ atom_to_list(How) ++ ", " ++ Name,
      fun(C) ->
              {Socket, Peer} = client(C, Options),
              ok = gen_tcp:send(Socket, "before"),
              First = gen_tcp:shutdown(Socket, How),
              {ok, <<"before">>} = gen_tcp:recv(Peer, 6),
              {First, gen_tcp:shutdown(Socket, How), gen_tcp:recv(Socket, 0, 20), gen_tcp:recv(Peer, 0, 20),
               inet:peername(Socket)}
      end}
     || How <- [read, write, read_write],
     {Name, Options} <- [{"default", []}, {"exit_on_close false", [{exit_on_close, false}]}]]
    ++ [{"active shutdown " ++ atom_to_list(How),
         fun(C) ->
                 {Socket, _} = client(C, [{active, true}]),
                 First = gen_tcp:shutdown(Socket, How),
                 {First, until_closed(Socket)}
         end} || How <- [read, read_write]]
    ++ [{"shutdown write, the answer still comes",
         fun(C) ->
                 {Socket, Peer} = client(C, []),
                 ok = gen_tcp:send(Socket, "question"),
                 ok = gen_tcp:shutdown(Socket, write),
                 ok = inet:setopts(Peer, [{exit_on_close, false}]),
                 {Question, closed} = read_all(Peer),
                 ok = gen_tcp:send(Peer, "answer"),
                 {Question, gen_tcp:recv(Socket, 6)}
         end},
        {"shutdown write is postponed until the queue is out",
         fun(C) ->
                 {Socket, Peer} = client(C, []),
                 ok = inet:setopts(Peer, [{exit_on_close, false}]),
                 Count = fill(Socket),
                 Shut = gen_tcp:shutdown(Socket, write),
                 ok = drain(Peer, Count),
                 End = gen_tcp:recv(Peer, 0),
                 ok = gen_tcp:send(Peer, "answer"),
                 {Shut, End, gen_tcp:recv(Socket, 6)}
         end},
        {"shutdown write postponed, then close",
         fun(C) ->
                 {Socket, Peer} = client(C, []),
                 Count = fill(Socket),
                 Shut = gen_tcp:shutdown(Socket, write),
                 Closer = blocked(async(fun() -> gen_tcp:close(Socket) end)),
                 ok = drain(Peer, Count),
                 {Shut, await(Closer), end_of(Peer)}
         end},
        {"send while a shutdown is postponed",
         fun(C) ->
                 {Socket, _} = client(C, []),
                 _ = fill(Socket),
                 Shut = gen_tcp:shutdown(Socket, write),
                 {Shut, gen_tcp:send(Socket, "x")}
         end},
        {"shutdown read leaves what has arrived",
         fun(C) ->
                 {Socket, Peer} = client(C, []),
                 ok = gen_tcp:send(Peer, "abc"),
                 ok = arrived(Socket, 3),
                 {gen_tcp:shutdown(Socket, read), gen_tcp:recv(Socket, 3, 1000), gen_tcp:recv(Socket, 0, 1000),
                  gen_tcp:recv(Socket, 0, 1000)}
         end},
        {"shutdown after the peer's reset",
         fun(C) ->
                 {Socket, Peer} = client(C, []),
                 ok = reset(Peer),
                 ok = reset_arrived(Socket),
                 [gen_tcp:shutdown(Socket, How) || How <- [read, write, read_write]]
         end},
        {"shutdown after both FINs",
         fun(C) ->
                 {Socket, Peer} = client(C, [{exit_on_close, false}]),
                 ok = gen_tcp:shutdown(Peer, write),
                 ok = fin_arrived(Socket),
                 {gen_tcp:shutdown(Socket, write), gen_tcp:recv(Socket, 0), gen_tcp:close(Socket)}
         end},
        {"shutdown by another process",
         fun(C) ->
                 {Socket, Peer} = client(C, []),
                 {await(async(fun() -> gen_tcp:shutdown(Socket, write) end)), gen_tcp:recv(Peer, 0)}
         end}].

down() ->
    next().

%% A process that owns a socket and then does as it is told.
owned(C, Make) ->
    Parent = self(),
    Owner = spawn(fun() ->
                          Monitor = erlang:monitor(process, Parent),
                          {Socket, _Peer} = Make(C, []),
                          Parent ! {rs_test, made, self(), Socket},
                          receive
                              {'DOWN', Monitor, process, Parent, _} -> ok;
                              End -> End()
                          end
                  end),
    receive {rs_test, made, Owner, Socket} -> {Owner, Socket} end.

monitors() ->
    [{"monitor, " ++ Name,
      fun(C) ->
              {Socket, Peer} = client(C, Options),
              Reference = inet:monitor(Socket),
              Result = Act(Socket, Peer),
              {Result, down(), inet:cancel_monitor(Reference)}
      end}
     || {Name, Options, Act} <-
            [{"own close", [], fun(S, _) -> gen_tcp:close(S) end},
             {"close by another process", [], fun(S, _) -> await(async(fun() -> gen_tcp:close(S) end)) end},
             {"reader saw FIN, then close", [], fun(S, P) -> ok = gen_tcp:close(P),
              [gen_tcp:recv(S, 0), gen_tcp:close(S)] end}]]
    ++ [{"monitor of an active socket, " ++ Name,
         fun(C) ->
                 {Socket, Peer} = client(C, Options),
                 Parent = self(),
                 Monitoring = async(fun() -> inet:monitor(Socket), Parent ! {rs_test, monitored}, down() end),
                 receive {rs_test, monitored} -> ok end,
                 ok = Act(Peer),
                 {until_closed(Socket), await(Monitoring)}
         end}
        || {Name, Options, Act} <-
               [{"FIN", [{active, true}], fun gen_tcp:close/1},
                {"reset", [{active, true}], fun rs_test:reset/1},
                {"reset shown", [{active, true}, {show_econnreset, true}], fun rs_test:reset/1},
                {"bad frame", [{active, true}, {packet, 4}], fun(P) -> gen_tcp:send(P, <<16#ffffffff:32>>) end}]]
    ++ [{"monitor, the owner " ++ Name,
         fun(C) ->
                 {Owner, Socket} = owned(C, Make),
                 _ = inet:monitor(Socket),
                 Owner ! End,
                 down()
         end}
        || {Name, Make, End} <-
               [{"is killed", fun rs_test:client/2, fun() -> exit(self(), kill) end},
                {"exits", fun rs_test:client/2, fun() -> exit(some_reason) end},
                {"exits with a large reason", fun rs_test:client/2, fun() -> exit({lists:seq(1, 1000), self()}) end},
                {"exits normally", fun rs_test:client/2, fun() -> exit(normal) end},
                {"returns", fun rs_test:client/2, fun() -> ok end},
                {"throws", fun rs_test:client/2, fun() -> throw(ball) end},
                {"is shut down", fun rs_test:client/2, fun() -> exit(shutdown) end},
                {"of an accepted socket exits", fun rs_test:server/2, fun() -> exit(some_reason) end},
                {"of a listening socket exits", fun(C1, Options) -> {listen(C1, Options), none} end,
                 fun() -> exit(some_reason) end}]]
    ++ [{"monitor, then a new owner that exits",
         fun(C) ->
                 {Old, Socket} = owned(C, fun rs_test:client/2),
                 {New, _} = owned(C, fun rs_test:client/2),
                 Parent = self(),
                 _ = inet:monitor(Socket),
                 Old ! fun() -> Parent ! {rs_test, handed, gen_tcp:controlling_process(Socket, New)}, exit(old_reason) end,
                 ok = receive {rs_test, handed, Handed} -> Handed end,
                 New ! fun() -> exit(new_reason) end,
                 down()
         end},
        {"two monitors, the owner exits",
         fun(C) ->
                 {Owner, Socket} = owned(C, fun rs_test:client/2),
                 References = [inet:monitor(Socket), inet:monitor(Socket)],
                 true = inet:cancel_monitor(hd(References)),
                 Owner ! fun() -> exit(some_reason) end,
                 {down(), next(50)}
         end},
        {"monitor, the owner exits with output queued",
         fun(C) ->
                 {Owner, Socket} = owned(C, fun rs_test:client/2),
                 _ = inet:monitor(Socket),
                 Owner ! fun() -> rs_test:fill(Socket), exit(some_reason) end,
                 down()
         end}]
    ++ [{"monitor of a listening socket",
         fun(C) -> Listen = listen(C, []), _ = inet:monitor(Listen), {gen_tcp:close(Listen), down()} end},
        {"monitor of a closed socket",
         fun(C) -> {Socket, _} = client(C, []), ok = gen_tcp:close(Socket), _ = inet:monitor(Socket), down() end},
        {"a monitor taken back does not fire",
         fun(C) ->
                 {Socket, _} = client(C, []),
                 Reference = inet:monitor(Socket),
                 Results = [inet:cancel_monitor(Reference), inet:cancel_monitor(Reference)],
                 ok = gen_tcp:close(Socket),
                 ok = barrier(C),
                 {Results, mailbox()}
         end},
        {"two monitors of one process both fire",
         fun(C) ->
                 {Socket, _} = client(C, []),
                 _ = inet:monitor(Socket),
                 _ = inet:monitor(Socket),
                 ok = gen_tcp:close(Socket),
                 lists:sort([setelement(2, down(), reference) || _ <- [1, 2]])
         end},
        {"a monitor of another process is not mine to cancel",
         fun(C) ->
                 {Socket, _} = client(C, []),
                 Reference = inet:monitor(Socket),
                 await(async(fun() -> inet:cancel_monitor(Reference) end))
         end}].
