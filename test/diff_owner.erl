%% Observations on ownership: handing a socket over, and what its messages do then.
-module(diff_owner).

-export([observations/0]).

-import(rs_test, [client/2, server/2, plain_client/2, listen/2, next/0, next_n/1, until_closed/1, arrived/2,
                  fin_arrived/1,
                  barrier/1, mailbox/0, queued/1, async/1, blocked/1, await/1, kill/1, poll/1]).

-spec observations() -> [{string(), fun((rs_test:context()) -> term())}].
observations() ->
    returns() ++ messages() ++ deaths().

%% A process that tells its first messages, up to `enough`.
collector() ->
    async(fun collected/0).

collected() ->
    case next() of
        enough -> [];
        nothing -> [nothing];
        Message -> [Message | collected()]
    end.

returns() ->
    [{"to oneself",
      fun(C) -> {Socket, _} = client(C, []), [gen_tcp:controlling_process(Socket, self()) || _ <- [1, 2]] end},
     {"by a stranger",
      fun(C) ->
              {Socket, _} = client(C, []),
              Self = self(),
              {await(async(fun() -> gen_tcp:controlling_process(Socket, Self) end)),
               await(async(fun() -> gen_tcp:controlling_process(Socket, self()) end))}
      end},
     {"to another, who may pass it on",
      fun(C) ->
              {Socket, _} = client(C, []),
              Self = self(),
              Other = async(fun() -> receive go -> gen_tcp:controlling_process(Socket, Self) end end),
              First = gen_tcp:controlling_process(Socket, rs_test:pid_of(Other)),
              Again = gen_tcp:controlling_process(Socket, rs_test:pid_of(Other)),
              Stolen = gen_tcp:controlling_process(Socket, Self),
              rs_test:pid_of(Other) ! go,
              {First, Again, Stolen, await(Other), gen_tcp:controlling_process(Socket, Self)}
      end},
     {"of a closed socket keeps the messages",
      fun(C) ->
              {Socket, Peer} = client(C, [{active, true}, {packet, 1}]),
              ok = gen_tcp:send(Peer, <<1, "a">>),
              ok = queued(1),
              ok = gen_tcp:close(Socket),
              {gen_tcp:controlling_process(Socket, rs_test:pid_of(collector())), mailbox()}
      end},
     {"to a dead process",
      fun(C) ->
              {Socket, _} = client(C, []),
              {Pid, Monitor} = spawn_monitor(fun() -> ok end),
              receive {'DOWN', Monitor, process, Pid, _} -> ok end,
              {gen_tcp:controlling_process(Socket, Pid), gen_tcp:controlling_process(Socket, self())}
      end},
     {"of a listening socket",
      fun(C) ->
              Listen = listen(C, []),
              Other = collector(),
              Given = gen_tcp:controlling_process(Listen, rs_test:pid_of(Other)),
              {ok, _Peer} = rs_test:connect(C#{backend := inet}, Listen, []),
              Socket = rs_test:accept(Listen),
              Sent = gen_tcp:send(Socket, "x"),
              ok = kill(Other),
              poll(fun() -> inet:port(Listen) =:= {error, einval} end),
              {Given, Sent, gen_tcp:accept(Listen, 0), gen_tcp:send(Socket, "y")}
      end},
     {"the accepting process owns",
      fun(C) ->
              Listen = listen(C, [{active, true}, {packet, 1}]),
              {ok, Peer} = rs_test:connect(C#{backend := inet}, Listen, []),
              Acceptor = async(fun() ->
                                       Socket = rs_test:accept(Listen),
                                       Message = next(),
                                       {Message, gen_tcp:controlling_process(Socket, self())}
                               end),
              ok = gen_tcp:send(Peer, <<1, "a">>),
              await(Acceptor)
      end},
     {"inet info names the owner",
      fun(C) ->
              {Socket, _} = client(C, []),
              Listen = listen(C, []),
              #{owner := Owner} = inet:info(Socket),
              #{owner := Other} = inet:info(Listen),
              {Owner =:= self(), Other =:= self()}
      end}].

messages() ->
    [{"messages move, in order, mode " ++ lists:flatten(io_lib:format("~0p", [Mode])),
      fun(C) ->
              {Socket, Peer} = client(C, [{packet, 1}, {active, Mode}]),
              ok = gen_tcp:send(Peer, <<1, "a", 1, "b", 1, "c">>),
              ok = queued(3),
              Other = collector(),
              Given = gen_tcp:controlling_process(Socket, rs_test:pid_of(Other)),
              Active = inet:getopts(Socket, [active]),
              ok = gen_tcp:send(Peer, <<1, "d">>),
              ok = barrier(C),
              rs_test:pid_of(Other) ! enough,
              {Given, Active, await(Other), mailbox()}
      end} || Mode <- [true, 5]]
    ++ [{"only this socket's messages move",
         fun(C) ->
                 {One, PeerOne} = client(C, [{packet, 1}, {active, true}]),
                 {_Two, PeerTwo} = client(C, [{packet, 1}, {active, true}]),
                 self() ! first,
                 ok = gen_tcp:send(PeerTwo, <<1, "x">>),
                 ok = queued(2),
                 ok = gen_tcp:send(PeerOne, <<1, "a">>),
                 ok = queued(3),
                 self() ! last,
                 Other = collector(),
                 Given = gen_tcp:controlling_process(One, rs_test:pid_of(Other)),
                 rs_test:pid_of(Other) ! enough,
                 {Given, await(Other), mailbox()}
         end},
        {"a once message moves",
         fun(C) ->
                 {Socket, Peer} = client(C, [{packet, 1}, {active, once}]),
                 ok = gen_tcp:send(Peer, <<1, "a", 1, "b">>),
                 ok = queued(1),
                 Other = collector(),
                 Given = gen_tcp:controlling_process(Socket, rs_test:pid_of(Other)),
                 ok = barrier(C),
                 rs_test:pid_of(Other) ! enough,
                 {Given, await(Other), gen_tcp:recv(Socket, 0)}
         end},
        {"deliver port messages move",
         fun(C) ->
                 {Socket, Peer} = client(C, [{packet, 1}, {active, true}, {deliver, port}]),
                 ok = gen_tcp:send(Peer, <<1, "a">>),
                 ok = queued(1),
                 Other = collector(),
                 Given = gen_tcp:controlling_process(Socket, rs_test:pid_of(Other)),
                 rs_test:pid_of(Other) ! enough,
                 {Given, await(Other)}
         end},
        {"data and tcp_closed in the mailbox, exit_on_close false",
         fun(C) ->
                 {Socket, Peer} = client(C, [{packet, 1}, {active, true}, {exit_on_close, false}]),
                 ok = gen_tcp:send(Peer, <<1, "a">>),
                 ok = gen_tcp:close(Peer),
                 ok = queued(2),
                 Other = collector(),
                 Given = gen_tcp:controlling_process(Socket, rs_test:pid_of(Other)),
                 rs_test:pid_of(Other) ! enough,
                 {Given, await(Other), inet:getopts(Socket, [active])}
         end},
        {"tcp_closed in the mailbox of the owner of a gone socket stays",
         fun(C) ->
                 {Socket, Peer} = client(C, [{packet, 1}, {active, true}]),
                 ok = gen_tcp:send(Peer, <<1, "a">>),
                 ok = gen_tcp:close(Peer),
                 ok = queued(2),
                 poll(fun() -> inet:port(Socket) =:= {error, einval} end),
                 {gen_tcp:controlling_process(Socket, rs_test:pid_of(collector())), mailbox()}
         end},
        {"what the kernel holds goes to the new owner",
         fun(C) ->
                 {Socket, Peer} = client(C, [{packet, 1}]),
                 ok = gen_tcp:send(Peer, <<1, "a">>),
                 ok = arrived(Socket, 2),
                 Other = collector(),
                 Given = gen_tcp:controlling_process(Socket, rs_test:pid_of(Other)),
                 ok = inet:setopts(Socket, [{active, once}]),
                 rs_test:pid_of(Other) ! enough,
                 {Given, await(Other), mailbox()}
         end},
        {"passive stays passive",
         fun(C) ->
                 {Socket, Peer} = client(C, []),
                 Other = collector(),
                 Given = gen_tcp:controlling_process(Socket, rs_test:pid_of(Other)),
                 ok = gen_tcp:send(Peer, "abc"),
                 {Given, inet:getopts(Socket, [active]), gen_tcp:recv(Socket, 3)}
         end},
        {"the husk may be handed over",
         fun(C) ->
                 {Socket, Peer} = client(C, []),
                 ok = gen_tcp:close(Peer),
                 {error, closed} = gen_tcp:recv(Socket, 0),
                 Other = collector(),
                 Given = gen_tcp:controlling_process(Socket, rs_test:pid_of(Other)),
                 Armed = inet:setopts(Socket, [{active, true}]),
                 rs_test:pid_of(Other) ! enough,
                 {Given, Armed, await(Other), mailbox()}
         end},
        {"handed over while a reader waits",
         fun(C) ->
                 {Socket, Peer} = client(C, []),
                 Reader = blocked(async(fun() -> gen_tcp:recv(Socket, 3) end)),
                 Other = collector(),
                 Given = gen_tcp:controlling_process(Socket, rs_test:pid_of(Other)),
                 ok = gen_tcp:send(Peer, "abc"),
                 {Given, await(Reader)}
         end}].

deaths() ->
    [{"the new owner's death closes, the old owner's does not",
      fun(C) ->
              Parent = self(),
              First = async(fun() ->
                                    {Socket, Peer} = client(C, []),
                                    ok = gen_tcp:controlling_process(Peer, Parent),
                                    ok = gen_tcp:controlling_process(Socket, Parent),
                                    Parent ! {rs_test, made, Socket, Peer}
                            end),
              {Socket, Peer} = receive {rs_test, made, One, Two} -> {One, Two} end,
              ok = kill(First),
              Alive = [gen_tcp:send(Socket, "x"), gen_tcp:recv(Peer, 1)],
              Second = collector(),
              ok = gen_tcp:controlling_process(Socket, rs_test:pid_of(Second)),
              ok = kill(Second),
              {Alive, gen_tcp:recv(Peer, 0)}
      end},
     {"the owner ends normally",
      fun(C) ->
              Parent = self(),
              {_, Monitor} = spawn_monitor(fun() ->
                                                   {Socket, Peer} = client(C, []),
                                                   ok = gen_tcp:send(Socket, "bye"),
                                                   ok = gen_tcp:controlling_process(Peer, Parent),
                                                   Parent ! {rs_test, made, Peer}
                                           end),
              Peer = receive {rs_test, made, Made} -> Made end,
              receive {'DOWN', Monitor, process, _, _} -> ok end,
              rs_test:read_all(Peer)
      end},
     {"the listener's owner dies, acceptors are told",
      fun(C) ->
              Parent = self(),
              Owner = async(fun() -> Parent ! {rs_test, made, listen(C, [])}, receive never -> ok end end),
              Listen = receive {rs_test, made, Made} -> Made end,
              Acceptors = [blocked(async(fun() -> gen_tcp:accept(Listen) end)) || _ <- [1, 2, 3]],
              ok = kill(Owner),
              {[await(Acceptor) || Acceptor <- Acceptors], gen_tcp:accept(Listen, 0)}
      end},
     {"a sender is told of the owner's death",
      fun(C) ->
              Parent = self(),
              Owner = async(fun() ->
                                    {Socket, Peer} = client(C, [{linger, {true, 0}}]),
                                    ok = gen_tcp:controlling_process(Peer, Parent),
                                    _ = rs_test:fill(Socket),
                                    Parent ! {rs_test, made, Socket},
                                    receive never -> ok end
                            end),
              Socket = receive {rs_test, made, Made} -> Made end,
              Sender = blocked(async(fun() -> gen_tcp:send(Socket, "x") end)),
              ok = kill(Owner),
              await(Sender)
      end}].
