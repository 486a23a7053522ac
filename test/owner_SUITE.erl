%% Ownership: who may hand a socket over, what moves with it, and what an owner's death does.
-module(owner_SUITE).

-export([suite/0, all/0, groups/0, init_per_group/2, end_per_group/2]).
-export([hand_over/1, death_closes/1, returns/1, messages_move/1, other_messages_stay/1, all_messages_move/1,
         modes_survive/1,
         closed_moves/1, death_flushes/1, death_with_linger_zero/1, death_wakes_everyone/1, old_owner_may_die/1,
         unreferenced_lives/1, listener_handed_over/1, info_names_the_owner/1, many_owners_die/1, monitors_fire/1,
         monitors_taken_back/1, dead_pid_changes_nothing/1, exit_reasons_reach_every_monitor/1,
         monitors_leave_nothing/1, monitors_without_the_reporter/1]).

-import(rs_test, [context/1, client/2, server/2, listen/2, next/0, mailbox/0, queued/1, async/1, blocked/1, await/1,
                  kill/1, poll/1, barrier/1]).

suite() -> [{timetrap, {minutes, 2}}].
all() -> [{group, inet}, {group, rs}].
groups() ->
    %% The driver leaves these messages behind, and makes a socket passive that it does not hand over.
    OnlyRs = [all_messages_move, dead_pid_changes_nothing, monitors_leave_nothing, monitors_without_the_reporter],
    rs_test:groups_of([returns, messages_move, other_messages_stay, modes_survive, closed_moves, death_flushes,
                       death_with_linger_zero, death_wakes_everyone, old_owner_may_die, unreferenced_lives,
                       listener_handed_over, info_names_the_owner, many_owners_die, monitors_fire, monitors_taken_back,
                       exit_reasons_reach_every_monitor],
                      [hand_over, death_closes],
                      OnlyRs).
init_per_group(Group, Config) -> rs_test:init_group(Group, Config).
end_per_group(Group, Config) -> rs_test:end_group(Group, Config).

%% After the hand-over the messages go to the new owner, and the old one's death does nothing.
hand_over(Config) ->
    {Socket, Peer} = client(context(Config), [{active, true}]),
    New = async(fun() -> next() end),
    ok = gen_tcp:controlling_process(Socket, rs_test:pid_of(New)),
    ok = gen_tcp:send(Peer, "to the new one"),
    {{tcp, Socket, <<"to the new one">>}, []} = await(New),
    {error, not_owner} = gen_tcp:controlling_process(Socket, self()),
    [] = mailbox(),
    ok.

%% When the owner dies, however it dies, the peer sees the end of the stream.
death_closes(Config) ->
    C = context(Config),
    Self = self(),
    [begin
         Owner = spawn(fun() ->
                               {Socket, Peer} = client(C, []),
                               ok = gen_tcp:send(Socket, "made"),
                               ok = gen_tcp:controlling_process(Peer, Self),
                               Self ! {peer, Peer},
                               receive Reason -> exit(Reason) end
                       end),
         Peer = receive {peer, Made} -> Made after 5000 -> error(nothing) end,
         case Reason of
             kill -> exit(Owner, kill);
             _ -> Owner ! Reason
         end,
         {<<"made">>, closed} = rs_test:read_all(Peer)
     end || Reason <- [normal, kill, shutdown, some_reason]],
    ok.

%% controlling_process says who may and who may not, in the driver's order of checks.
returns(Config) ->
    {Socket, _Peer} = client(context(Config), []),
    Self = self(),
    ok = gen_tcp:controlling_process(Socket, Self),
    {{error, not_owner}, []} = await(async(fun() -> gen_tcp:controlling_process(Socket, self()) end)),
    {ok, []} = await(async(fun() -> gen_tcp:controlling_process(Socket, Self) end)),
    {Dead, Monitor} = spawn_monitor(fun() -> ok end),
    receive {'DOWN', Monitor, process, Dead, _} -> ok end,
    {error, badarg} = gen_tcp:controlling_process(Socket, Dead),
    {raised, error, function_clause} = rs_test:attempt(fun() -> gen_tcp:controlling_process(Socket, foo) end),
    ok = gen_tcp:close(Socket),
    {error, closed} = gen_tcp:controlling_process(Socket, Self),
    {error, closed} = gen_tcp:controlling_process(Socket, Dead),
    ok.

%% Messages of the socket that are in the old owner's mailbox move, in order, before any later one.
messages_move(Config) ->
    {Socket, Peer} = client(context(Config), [{packet, 1}, {active, true}]),
    ok = gen_tcp:send(Peer, <<1, "a", 1, "b", 1, "c">>),
    ok = queued(3),
    New = async(fun() -> rs_test:next_n(5) end),
    ok = gen_tcp:controlling_process(Socket, rs_test:pid_of(New)),
    ok = gen_tcp:send(Peer, <<1, "d", 1, "e">>),
    {[{tcp, Socket, <<"a">>}, {tcp, Socket, <<"b">>}, {tcp, Socket, <<"c">>}, {tcp, Socket, <<"d">>},
      {tcp, Socket, <<"e">>}], []} = await(New),
    [] = mailbox(),
    ok.

%% Messages of other sockets and of other processes stay.
other_messages_stay(Config) ->
    C = context(Config),
    {Socket, _} = client(C, [{active, true}]),
    {Other, OtherPeer} = client(C, [{active, true}]),
    self() ! before,
    ok = queued(1),
    ok = gen_tcp:send(OtherPeer, "mine"),
    ok = queued(2),
    New = async(fun() -> receive never -> ok end end),
    ok = gen_tcp:controlling_process(Socket, rs_test:pid_of(New)),
    [before, {tcp, Other, <<"mine">>}] = mailbox(),
    ok.

%% Every kind of message of the socket moves: errors, counts that ended and parsed packets too.
all_messages_move(Config) ->
    C = context(Config),
    [begin
         {Socket, Peer} = client(C, [{exit_on_close, false}, {show_econnreset, true} | Options]),
         ok = Act(Peer),
         {messages, Messages} = waited_for(Count),
         New = async(fun() -> rs_test:next_n(Count) end),
         ok = gen_tcp:controlling_process(Socket, rs_test:pid_of(New)),
         {Messages, []} = await(New),
         [] = mailbox()
     end || {Options, Count, Act} <-
                [{[{active, 1}, {packet, 1}], 2, fun(P) -> gen_tcp:send(P, <<1, "a">>) end},
                 {[{active, true}, {packet, http}], 3, fun(P) -> gen_tcp:send(P, "GET / HTTP/1.1\r\nA: b\r\n\r\n") end},
                 {[{active, true}], 2, fun rs_test:reset/1},
                 {[{active, true}, {packet, ssl_tls}], 1, fun(P) -> gen_tcp:send(P, <<22, 3, 1, 0, 1, "x">>) end}]],
    ok.

waited_for(Count) ->
    ok = queued(Count),
    process_info(self(), messages).

%% The mode survives the hand-over: true, once and what is left of a count.
modes_survive(Config) ->
    C = context(Config),
    [begin
         {Socket, Peer} = client(C, [{packet, 1}, {active, Mode}]),
         New = async(fun() -> rs_test:next_n(length(Messages)) end),
         ok = gen_tcp:controlling_process(Socket, rs_test:pid_of(New)),
         {ok, [{active, Mode}]} = inet:getopts(Socket, [active]),
         ok = gen_tcp:send(Peer, <<1, "a", 1, "b">>),
         {Seen, []} = await(New),
         Messages = [setelement(2, Message, s) || Message <- Seen]
     end || {Mode, Messages} <- [{true, [{tcp, s, <<"a">>}, {tcp, s, <<"b">>}]}, {once, [{tcp, s, <<"a">>}]},
                                 {2, [{tcp, s, <<"a">>}, {tcp, s, <<"b">>}, {tcp_passive, s}]}]],
    ok.

%% tcp_closed moves like the data before it.
closed_moves(Config) ->
    {Socket, Peer} = client(context(Config), [{packet, 1}, {active, true}, {exit_on_close, false}]),
    ok = gen_tcp:send(Peer, <<1, "a">>),
    ok = gen_tcp:close(Peer),
    ok = queued(2),
    New = async(fun() -> rs_test:next_n(2) end),
    ok = gen_tcp:controlling_process(Socket, rs_test:pid_of(New)),
    {[{tcp, Socket, <<"a">>}, {tcp_closed, Socket}], []} = await(New),
    [] = mailbox(),
    ok.

%% Output that was queued when the owner died is still sent, all of it.
death_flushes(Config) ->
    C = context(Config),
    Self = self(),
    Owner = async(fun() ->
                          {Socket, Peer} = client(C, []),
                          ok = gen_tcp:controlling_process(Peer, Self),
                          Self ! {rs_test, made, Peer, rs_test:fill(Socket)}
                  end),
    {Peer, Count} = receive {rs_test, made, Made, Size} -> {Made, Size} after 10000 -> error(nothing) end,
    ok = kill(Owner),
    ok = rs_test:drain(Peer, Count),
    {error, closed} = gen_tcp:recv(Peer, 0, 5000),
    ok.

%% With linger 0 the owner's death resets and drops what was queued.
death_with_linger_zero(Config) ->
    C = context(Config),
    Self = self(),
    Owner = async(fun() ->
                          {Socket, Peer} = client(C, [{linger, {true, 0}}]),
                          ok = gen_tcp:controlling_process(Peer, Self),
                          Self ! {rs_test, made, Peer, rs_test:fill(Socket)}
                  end),
    Peer = receive {rs_test, made, Made, _} -> Made after 10000 -> error(nothing) end,
    ok = inet:setopts(Peer, [{show_econnreset, true}]),
    ok = kill(Owner),
    ok = rs_test:reset_arrived(Peer),
    {_, econnreset} = rs_test:read_all(Peer),
    ok.

%% The owner's death ends other processes' recv and accept with closed, and every later call.
death_wakes_everyone(Config) ->
    C = context(Config),
    Self = self(),
    Owner = async(fun() ->
                          {Socket, Peer} = client(C, []),
                          Listen = listen(C, []),
                          Self ! {rs_test, made, Socket, Listen, Peer},
                          receive never -> ok end
                  end),
    {Socket, Listen} = receive {rs_test, made, One, Two, _} -> {One, Two} after 5000 -> error(nothing) end,
    Reader = blocked(async(fun() -> gen_tcp:recv(Socket, 5) end)),
    Acceptor = blocked(async(fun() -> gen_tcp:accept(Listen) end)),
    ok = kill(Owner),
    {{error, closed}, []} = await(Reader),
    {{error, closed}, []} = await(Acceptor),
    {error, closed} = gen_tcp:send(Socket, "x"),
    {error, closed} = gen_tcp:recv(Socket, 0),
    {error, einval} = inet:port(Socket),
    ok.

%% The death of the process that made the socket does nothing once it has handed it over.
old_owner_may_die(Config) ->
    C = context(Config),
    Self = self(),
    Old = async(fun() ->
                        {Socket, Peer} = client(C, []),
                        ok = gen_tcp:controlling_process(Socket, Self),
                        ok = gen_tcp:controlling_process(Peer, Self),
                        Self ! {rs_test, made, Socket, Peer}
                end),
    {Socket, Peer} = receive {rs_test, made, One, Two} -> {One, Two} after 5000 -> error(nothing) end,
    ok = kill(Old),
    ok = gen_tcp:send(Socket, "alive"),
    {ok, <<"alive">>} = gen_tcp:recv(Peer, 5, 5000),
    ok.

%% A socket whose term nobody holds stays open while its owner lives, and delivers.
unreferenced_lives(Config) ->
    C = context(Config),
    Self = self(),
    Owner = async(fun() ->
                          ok = made_and_forgotten(C, Self),
                          true = erlang:garbage_collect(),
                          Self ! {rs_test, forgotten},
                          receive {tcp, Socket, Data} -> {Data, gen_tcp:send(Socket, "and you")} end
                  end),
    Peer = receive {rs_test, peer, Made} -> Made after 5000 -> error(nothing) end,
    receive {rs_test, forgotten} -> ok after 5000 -> error(nothing) end,
    ok = gen_tcp:send(Peer, "I found you"),
    {{<<"I found you">>, ok}, []} = await(Owner),
    {ok, <<"and you">>} = gen_tcp:recv(Peer, 7, 5000),
    ok.

%% Only the peer leaves this function.
made_and_forgotten(C, Parent) ->
    {_Socket, Peer} = client(C, [{active, true}]),
    ok = gen_tcp:controlling_process(Peer, Parent),
    Parent ! {rs_test, peer, Peer},
    ok.

%% A listener that was handed over lives and dies with its new owner.
listener_handed_over(Config) ->
    C = context(Config),
    Listen = listen(C, []),
    New = async(fun() -> receive never -> ok end end),
    ok = gen_tcp:controlling_process(Listen, rs_test:pid_of(New)),
    {ok, _Peer} = rs_test:connect(C, Listen, []),
    Socket = rs_test:accept(Listen),
    ok = kill(New),
    ok = poll(fun() -> gen_tcp:accept(Listen, 0) =:= {error, closed} end),
    ok = gen_tcp:send(Socket, "the accepted one lives"),
    ok.

%% inet:info names the present owner.
info_names_the_owner(Config) ->
    {Socket, _Peer} = client(context(Config), []),
    Self = self(),
    #{owner := Self} = inet:info(Socket),
    New = async(fun() -> receive never -> ok end end),
    Pid = rs_test:pid_of(New),
    ok = gen_tcp:controlling_process(Socket, Pid),
    #{owner := Pid} = inet:info(Socket),
    ok.

%% Five hundred owners that die together give all their descriptors back.
many_owners_die(Config) ->
    C = context(Config),
    ok = barrier(C),
    Listen = listen(C#{backend := inet}, [{backlog, 1024}]),
    Before = rs_test:fd_count(),
    Owners = [async(fun() ->
                            {ok, Socket} = rs_test:connect(C, Listen, [{active, true}]),
                            receive {tcp_closed, Socket} -> ok end
                    end) || _ <- lists:seq(1, 500)],
    Peers = [rs_test:accept(Listen) || _ <- Owners],
    [ok = kill(Owner) || Owner <- Owners],
    [{error, closed} = gen_tcp:recv(Peer, 0, 5000) || Peer <- Peers],
    [ok = gen_tcp:close(Peer) || Peer <- Peers],
    poll(fun() -> rs_test:fd_count() =< Before end).

%% Every monitor of a socket fires once when it is closed, with the socket's own term.
monitors_fire(Config) ->
    C = context(Config),
    {Socket, _Peer} = client(C, []),
    Self = self(),
    Watchers = [async(fun() -> Reference = inet:monitor(Socket), Self ! {rs_test, watching}, {Reference, next()} end)
                || _ <- lists:seq(1, 5)],
    [receive {rs_test, watching} -> ok after 5000 -> error(nothing) end || _ <- Watchers],
    ok = gen_tcp:close(Socket),
    [begin {{Reference, {'DOWN', Reference, port, Socket, normal}}, []} = await(Watcher) end || Watcher <- Watchers],
    Late = inet:monitor(Socket),
    {'DOWN', Late, port, Socket, noproc} = next(),
    ok.

%% A monitor that was taken back does not fire.
monitors_taken_back(Config) ->
    C = context(Config),
    {Socket, _Peer} = client(C, []),
    Reference = inet:monitor(Socket),
    true = inet:cancel_monitor(Reference),
    false = inet:cancel_monitor(Reference),
    ok = gen_tcp:close(Socket),
    ok = barrier(C),
    [] = mailbox(),
    ok.

%% A hand-over to a dead process changes nothing: the socket stays active.
dead_pid_changes_nothing(Config) ->
    {Socket, Peer} = client(context(Config), [{active, true}]),
    {Dead, Monitor} = spawn_monitor(fun() -> ok end),
    receive {'DOWN', Monitor, process, Dead, _} -> ok end,
    {error, badarg} = gen_tcp:controlling_process(Socket, Dead),
    {ok, [{active, true}]} = inet:getopts(Socket, [active]),
    ok = gen_tcp:send(Peer, "still here"),
    {tcp, Socket, <<"still here">>} = next(),
    ok.

%% Three hundred owners that exit at once, each with a reason of its own: each monitor of theirs fires once
%% and names that reason, also where the socket was handed over just before.
exit_reasons_reach_every_monitor(Config) ->
    C = context(Config),
    Listen = listen(C#{backend := inet}, [{backlog, 1024}]),
    Made = [begin
                {Owner, Socket} = exiting_owner(C, Listen, Number rem 3),
                {Owner, list_to_atom("reason_" ++ integer_to_list(Number rem 50)),
                 Socket, [inet:monitor(Socket), inet:monitor(Socket)]}
            end || Number <- lists:seq(1, 300)],
    [Owner ! Reason || {Owner, Reason, _, _} <- Made],
    [receive {'DOWN', Reference, port, Socket, Reason} -> ok after 15000 -> error({no_down, Reason}) end
     || {_, Reason, Socket, References} <- Made, Reference <- References],
    ok = barrier(C),
    [] = mailbox(),
    ok.

%% The owner: who made it, or who was given it before or after somebody asked to monitor.
exiting_owner(C, Listen, HandedOver) ->
    Self = self(),
    Waiting = fun() -> receive Reason -> exit(Reason) end end,
    case HandedOver of
        0 ->
            Owner = spawn(fun() ->
                                  {ok, Socket} = rs_test:connect(C, Listen, []),
                                  Self ! {made, self(), Socket},
                                  Waiting()
                          end),
            receive {made, Owner, Socket} -> {Owner, Socket} after 15000 -> error(nothing) end;
        _ ->
            {ok, Socket} = rs_test:connect(C, Listen, []),
            Owner = spawn(Waiting),
            Early = [inet:monitor(Socket) || HandedOver =:= 2],
            ok = gen_tcp:controlling_process(Socket, Owner),
            [true = inet:cancel_monitor(Reference) || Reference <- Early],
            {Owner, Socket}
    end.

%% However a monitor ends, nobody watches the owner any more.
monitors_leave_nothing(Config) ->
    C = context(Config),
    Server = whereis(gen_tcp_rs_monitors),
    Before = process_info(self(), monitored_by),
    Watched = fun() -> {monitored_by, By} = process_info(self(), monitored_by), lists:member(Server, By) end,
    [begin
         {Socket, Peer} = client(C, []),
         Reference = inet:monitor(Socket),
         true = Watched(),
         ok = End(Socket, Reference),
         ok = poll(fun() -> not Watched() end),
         _ = mailbox(),
         ok = gen_tcp:close(Socket),
         ok = gen_tcp:close(Peer)
     end || End <- [fun(Socket, _) -> gen_tcp:close(Socket) end,
                    fun(_, Reference) -> true = inet:cancel_monitor(Reference), ok end,
                    fun(Socket, _) ->
                            New = async(fun() -> receive never -> ok end end),
                            gen_tcp:controlling_process(Socket, rs_test:pid_of(New))
                    end]],
    Before = process_info(self(), monitored_by),
    ok.

%% While the process that explains exits is gone monitors fire all the same, with normal; one that was set
%% before it came back has the reason again.
monitors_without_the_reporter(Config) ->
    C = context(Config),
    Listen = listen(C#{backend := inet}, [{backlog, 1024}]),
    ok = supervisor:terminate_child(gen_tcp_rs_sup, gen_tcp_rs_monitors),
    {Owner1, Socket1} = exiting_owner(C, Listen, 0),
    {Owner2, Socket2} = exiting_owner(C, Listen, 0),
    [Reference1, Reference2] = [inet:monitor(Socket) || Socket <- [Socket1, Socket2]],
    Owner1 ! some_reason,
    {'DOWN', Reference1, port, Socket1, normal} = next(),
    {ok, _} = supervisor:restart_child(gen_tcp_rs_sup, gen_tcp_rs_monitors),
    %% It restarts by itself, too, and then sees what it had seen.
    Server = whereis(gen_tcp_rs_monitors),
    exit(Server, kill),
    ok = poll(fun() -> not lists:member(whereis(gen_tcp_rs_monitors), [undefined, Server]) end),
    pong = gen_server_answers(),
    Owner2 ! other_reason,
    {'DOWN', Reference2, port, Socket2, other_reason} = next(),
    %% Killed while owners exit: one message each, with the reason or without.
    Owners = [exiting_owner(C, Listen, 0) || _ <- lists:seq(1, 100)],
    Monitored = [{Owner, Socket, inet:monitor(Socket)} || {Owner, Socket} <- Owners],
    [begin
         Owner ! late_reason,
         Number rem 40 =:= 0 andalso exit(whereis(gen_tcp_rs_monitors), kill)
     end || {Number, {Owner, _, _}} <- lists:zip(lists:seq(1, 100), Monitored)],
    [receive
         {'DOWN', Reference, port, Socket, Reason} when Reason =:= normal; Reason =:= late_reason -> ok
     after 15000 -> error(no_down)
     end || {_, Socket, Reference} <- Monitored],
    ok = barrier(C),
    [] = mailbox(),
    ok.

%% It has done what it does when it starts.
gen_server_answers() ->
    _ = sys:get_state(gen_tcp_rs_monitors),
    pong.
