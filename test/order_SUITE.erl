%% The stream reaches its owner in order and complete, whoever re-arms and however the owner's mailbox
%% is built, and goes on doing so while the socket changes hands.
%%
%% Environment: RS_ORDER_MB, the megabytes of numbered frames in all (1024 on rs, 64 on inet, where this
%% only proves that the test asks nothing impossible); RS_HANDOVERS, how often the socket changes hands.
-module(order_SUITE).

-export([suite/0, all/0, groups/0, init_per_group/2, end_per_group/2]).
-export([owner_rearms_once/1, owner_rearms_count/1, others_rearm_once/1, others_rearm_count/1, everyone_rearms/1,
         handover_active/1, handover_once/1, handover_count/1, handover_mixed/1, a_gap_is_seen/1,
         buffers_misorder_two_senders/1]).

-define(DEADLINE, 60000).

%% Frames that may be under way before the reader has said that it saw them.
-define(WINDOW, 16000).
-define(CREDIT, 1000).

suite() ->
    [{timetrap, {minutes, 10}}].

all() ->
    [a_gap_is_seen, buffers_misorder_two_senders, {group, inet}, {group, rs}].

groups() ->
    rs_test:groups_of([owner_rearms_once, owner_rearms_count, others_rearm_once, others_rearm_count, everyone_rearms,
                       handover_active, handover_once, handover_count, handover_mixed]).

init_per_group(Group, Config) -> rs_test:init_group(Group, Config).
end_per_group(Group, Config) -> rs_test:end_group(Group, Config).

%% Frames arrive in order when the owner arms `once` several times before it looks into its mailbox.
owner_rearms_once(Config) -> under_fire(Config, owner, fun() -> once end).

%% Frames arrive in order when the owner adds to the count several times before it looks.
owner_rearms_count(Config) -> under_fire(Config, owner, fun() -> rand:uniform(20) end).

%% Frames arrive in order when other processes arm `once`, never knowing what has been read.
others_rearm_once(Config) -> under_fire(Config, others, fun() -> once end).

%% Frames arrive in order when other processes add to the count.
others_rearm_count(Config) -> under_fire(Config, others, fun() -> rand:uniform(20) end).

%% Frames arrive in order when the owner and others set every mode, each as it likes.
everyone_rearms(Config) ->
    Modes = {once, 1, 7, true, false, once},
    under_fire(Config, everyone, fun() -> element(rand:uniform(tuple_size(Modes)), Modes) end).

%% A frame missing, doubled or out of place is seen: else this suite proves nothing.
a_gap_is_seen(_Config) ->
    Check = fun(Numbers) -> rs_test:attempt(fun() -> lists:foldl(fun expect/2, 0, Numbers) end) end,
    3 = Check([0, 1, 2]),
    {raised, error, {expected, 1, got, 2}} = Check([0, 2]),
    {raised, error, {expected, 1, got, 0}} = Check([0, 0]),
    {raised, error, {expected, 0, got, 1}} = Check([1, 0]),
    ok.

%% The mailbox made for these cases does change the order of messages that two processes send in turn: a
%% socket that sent as two would be seen.
buffers_misorder_two_senders(_Config) ->
    Parent = self(),
    Count = 20000,
    {Owner, Monitor} =
        spawn_opt(fun() ->
                          [] = mailbox_under_fire(buffers),
                          Owner = self(),
                          First = spawn_link(fun() -> in_turn(Owner) end),
                          Second = spawn_link(fun() -> in_turn(Owner) end),
                          First ! {partner, Second},
                          Second ! {partner, First},
                          First ! {turn, 0},
                          Parent ! {self(), misplaced(0, Count, 0)}
                  end, [monitor, {message_queue_data, off_heap}]),
    Misplaced = receive
                    {Owner, Number} -> Number;
                    {'DOWN', Monitor, process, Owner, Reason} -> error(Reason)
                end,
    true = Misplaced > 0,
    {comment, io_lib:format("~w of ~w messages out of place", [Misplaced, Count])}.

in_turn(Owner) ->
    receive {partner, Partner} -> in_turn(Owner, Partner) end.

in_turn(Owner, Partner) ->
    receive
        {turn, Number} ->
            Owner ! {number, Number},
            Partner ! {turn, Number + 1},
            in_turn(Owner, Partner)
    end.

misplaced(Count, Count, Misplaced) ->
    Misplaced;
misplaced(Position, Count, Misplaced) ->
    receive
        {number, Position} -> misplaced(Position + 1, Count, Misplaced);
        {number, _} -> misplaced(Position + 1, Count, Misplaced + 1)
    end.

expect(Number, Number) -> Number + 1;
expect(Number, Expected) -> error({expected, Expected, got, Number}).

%%% ---- under fire ----

under_fire(Config, Who, Mode) ->
    Context = rs_test:context(Config),
    %% Five cases, two mailboxes each.
    Frames = megabytes(Context) * 1024 * 1024 div 10 div average_size(),
    Rates = [{Mailbox, fire(Context, Mailbox, Who, Mode, Frames)} || Mailbox <- [buffers, flooded]],
    {comment, io_lib:format("~w frames each: ~w", [Frames, Rates])}.

megabytes(#{backend := Backend}) ->
    number_from("RS_ORDER_MB", case Backend of rs -> 1024; inet -> 64 end).

number_from(Variable, Default) ->
    case os:getenv(Variable) of
        false -> Default;
        Text -> list_to_integer(Text)
    end.

%% Frames a second.
fire(Context, Mailbox, Who, Mode, Frames) ->
    Parent = self(),
    {Owner, Monitor} =
        spawn_opt(fun() -> own(Parent, Context, Mailbox, Who, Mode, Frames) end,
                  [monitor, {message_queue_data, off_heap}]),
    receive
        {Owner, Microseconds} ->
            receive {'DOWN', Monitor, process, Owner, _} -> ok end,
            Frames * 1000000 div max(1, Microseconds);
        {'DOWN', Monitor, process, Owner, Reason} ->
            error(Reason)
    end.

own(Parent, Context, Mailbox, Who, Mode, Frames) ->
    {Socket, Peer} = rs_test:client(Context, [{packet, 4}]),
    Sender = start_sender(Peer, Frames),
    Helpers = mailbox_under_fire(Mailbox) ++ rearmers(Who, Socket, Mode),
    Start = erlang:monotonic_time(microsecond),
    Arm = case Who of
              others -> fun() -> ok end;
              owner -> fun() -> arm(Socket, Mode(), 1 + rand:uniform(7)) end;
              everyone -> fun() -> arm(Socket, Mode(), 1) end
          end,
    Frames = read(Socket, Sender, Arm, 0, Frames),
    Time = erlang:monotonic_time(microsecond) - Start,
    [begin unlink(Helper), exit(Helper, kill) end || Helper <- Helpers],
    ok = nothing_more(Socket),
    Parent ! {self(), Time}.

%% Armed blindly, more than once: the mailbox has not been looked into.
arm(_Socket, _Mode, 0) ->
    ok;
arm(Socket, Mode, Times) ->
    %% einval: the count is at its limit.
    case inet:setopts(Socket, [{active, Mode}]) of
        ok -> ok;
        {error, einval} when is_integer(Mode) -> ok
    end,
    arm(Socket, Mode, Times - 1).

%% Reads all that is there, then arms again and waits.
read(_Socket, _Sender, _Arm, Frames, Frames) ->
    Frames;
read(Socket, Sender, Arm, Expected, Frames) ->
    Arm(),
    case drain(Socket, Sender, Expected, 0, Frames) of
        Expected ->
            %% A helper's `false` may have come last: wait a little, then arm again.
            receive
                {tcp, Socket, Frame} -> read(Socket, Sender, Arm, seen(Sender, Frame, Expected), Frames)
            after 5 ->
                    stalled(Socket, Sender, Arm, Expected, Frames)
            end;
        Seen ->
            read(Socket, Sender, Arm, Seen, Frames)
    end.

%% Nothing for a while: time is up when this lasts.
stalled(Socket, Sender, Arm, Expected, Frames) ->
    case get(stalled) of
        {Expected, Since} ->
            case erlang:monotonic_time(millisecond) - Since > ?DEADLINE of
                true -> error({stopped_after, Expected, of_frames, Frames, inet:getopts(Socket, [active])});
                false -> ok
            end;
        _ ->
            put(stalled, {Expected, erlang:monotonic_time(millisecond)})
    end,
    read(Socket, Sender, Arm, Expected, Frames).

drain(Socket, Sender, Expected, Timeout, Frames) when Expected < Frames ->
    receive
        {tcp, Socket, Frame} -> drain(Socket, Sender, seen(Sender, Frame, Expected), Timeout, Frames);
        {tcp_passive, Socket} -> drain(Socket, Sender, Expected, Timeout, Frames);
        {flood, _} -> drain(Socket, Sender, Expected, Timeout, Frames);
        {flood_ends, Flooder} -> Flooder ! more, drain(Socket, Sender, Expected, Timeout, Frames);
        {tcp_closed, Socket} -> error({closed_after, Expected});
        {tcp_error, Socket, Reason} -> error({Reason, after_frames, Expected})
    after Timeout ->
            Expected
    end;
drain(_Socket, _Sender, Expected, _Timeout, _Frames) ->
    Expected.

seen(Sender, <<Number:64, _/binary>>, Expected) ->
    Next = expect(Number, Expected),
    case Next rem ?CREDIT of
        0 -> Sender ! {credit, ?CREDIT}, Next;
        _ -> Next
    end.

%% After the last frame nothing of the socket is in the mailbox but the end of a count.
nothing_more(Socket) ->
    receive
        {tcp, Socket, <<Number:64, _/binary>>} -> error({once_more, Number})
    after 0 ->
            ok
    end.

mailbox_under_fire(buffers) ->
    %% The parallel signal buffers, which contention would bring sooner or later.
    _ = erts_debug:set_internal_state(available_internal_state, true),
    _ = erts_debug:set_internal_state(proc_sig_buffers, true),
    [];
mailbox_under_fire(flooded) ->
    Owner = self(),
    [spawn_link(fun() -> flood(Owner) end) || _ <- lists:seq(1, 8)].

%% As fast as it can, but never far ahead of the reader.
flood(Owner) ->
    [Owner ! {flood, Number} || Number <- lists:seq(1, 100)],
    Owner ! {flood_ends, self()},
    receive more -> flood(Owner) end.

rearmers(owner, _Socket, _Mode) -> [];
rearmers(_Who, Socket, Mode) -> [spawn_link(fun() -> rearm(Socket, Mode) end) || _ <- [1, 2, 3]].

rearm(Socket, Mode) ->
    ok = arm(Socket, Mode(), 1),
    erlang:yield(),
    rearm(Socket, Mode).

%%% ---- the numbered stream ----

start_sender(Peer, Frames) ->
    Sender = spawn_link(fun() -> receive go -> send(Peer, 0, Frames, ?WINDOW) end end),
    ok = gen_tcp:controlling_process(Peer, Sender),
    Sender ! go,
    Sender.

%% Bytes, by the sizes of frame/1.
average_size() -> 992.

send(_Peer, Frames, Frames, _Credit) ->
    %% Owns the peer: it stays open until the reader is done.
    receive never -> ok end;
send(Peer, Number, Frames, Credit) when Credit > 0 ->
    Last = lists:min([Number + 64, Number + Credit, Frames]),
    ok = gen_tcp:send(Peer, [frame(Each) || Each <- lists:seq(Number, Last - 1)]),
    send(Peer, Last, Frames, more_credit(Credit - (Last - Number)));
send(Peer, Number, Frames, 0) ->
    receive
        {credit, More} -> send(Peer, Number, Frames, More);
        stop -> ok
    end.

more_credit(Credit) ->
    receive {credit, More} -> more_credit(Credit + More) after 0 -> Credit end.

%% `[Length:32 | Number:64 | padding]`, from tiny ones to some that need more than one read.
frame(Number) ->
    Size = case Number rem 16 of
               0 -> 8;
               15 -> 8192;
               Other -> 8 + Other * 72
           end,
    [<<Size:32, Number:64>>, binary:part(padding(), 0, Size - 8)].

padding() ->
    case persistent_term:get({?MODULE, padding}, none) of
        none ->
            Padding = binary:copy(<<"0123456789abcdef">>, 512),
            persistent_term:put({?MODULE, padding}, Padding),
            Padding;
        Padding ->
            Padding
    end.

%%% ---- changing hands ----

%% An active socket is handed round under full load: nothing is lost, left behind, doubled or out of order.
handover_active(Config) -> handover(Config, true).

%% The same in once mode.
handover_once(Config) -> handover(Config, once).

%% The same with a count.
handover_count(Config) -> handover(Config, 20).

%% The same where each owner sets every mode, passive among them.
handover_mixed(Config) -> handover(Config, mixed).

handover(Config, Mode) ->
    Context = rs_test:context(Config),
    Times = number_from("RS_HANDOVERS", 1000),
    Owner = self(),
    {Socket, Peer} = rs_test:client(Context, [{packet, 4}]),
    Sender = start_endless(Peer),
    Ring = [spawn_opt(fun() -> holder(Owner, Socket, Sender, Mode) end, [link, {message_queue_data, Data}])
            || Data <- [on_heap, off_heap, off_heap, on_heap]],
    First = hd(Ring),
    ok = gen_tcp:controlling_process(Socket, First),
    First ! {token, 0, Times, tl(Ring) ++ [First]},
    {Last, Expected} = receive {last, Pid, Number} -> {Pid, Number} after 10 * ?DEADLINE -> error(lost) end,
    Sender ! {stop, self()},
    Sent = receive {sent, Count} -> Count after ?DEADLINE -> error(sender) end,
    Last ! {finish, Expected, Sent},
    receive {complete, Sent} -> ok after ?DEADLINE -> error({incomplete, Expected, Sent}) end,
    %% Nobody keeps a frame that was another's.
    [begin
         Holder ! {leftover, self()},
         receive {leftover, Holder, Data} -> [] = Data after ?DEADLINE -> error(holder) end
     end || Holder <- Ring],
    [begin unlink(Pid), exit(Pid, kill) end || Pid <- [Sender | Ring]],
    {comment, io_lib:format("~w times, ~w frames", [Times, Sent])}.

holder(Owner, Socket, Sender, Mode) ->
    receive
        {token, Expected, 0, _Ring} ->
            Owner ! {last, self(), Expected},
            receive {finish, Expected, Sent} -> ok end,
            Owner ! {complete, hold(Socket, Sender, Mode, Expected, Sent - Expected)},
            holder(Owner, Socket, Sender, Mode);
        {token, Expected, Times, [Next | Ring]} ->
            Seen = hold(Socket, Sender, Mode, Expected, rand:uniform(30)),
            ok = gen_tcp:controlling_process(Socket, Next),
            Next ! {token, Seen, Times - 1, Ring ++ [Next]},
            holder(Owner, Socket, Sender, Mode);
        {leftover, From} ->
            {messages, Messages} = process_info(self(), messages),
            From ! {leftover, self(), [Message || {Tag, _, _} = Message <- Messages, Tag =:= tcp]},
            holder(Owner, Socket, Sender, Mode)
    end.

%% Reads this many frames, arming before each wait.
hold(_Socket, _Sender, _Mode, Expected, 0) ->
    Expected;
hold(Socket, Sender, Mode, Expected, Count) ->
    receive
        {tcp, Socket, Frame} -> hold(Socket, Sender, Mode, seen(Sender, Frame, Expected), Count - 1);
        {tcp_passive, Socket} -> hold(Socket, Sender, Mode, Expected, Count);
        {tcp_closed, Socket} -> error({closed_after, Expected})
    after 0 ->
            Now = case Mode of
                      mixed -> element(rand:uniform(5), {true, once, 1, 7, false});
                      _ -> Mode
                  end,
            Frame = next_frame(Socket, Now, Expected),
            hold(Socket, Sender, Mode, seen(Sender, Frame, Expected), Count - 1)
    end.

%% What has come before the socket was made passive is there first.
next_frame(Socket, false, _Expected) ->
    ok = inet:setopts(Socket, [{active, false}]),
    receive
        {tcp, Socket, Frame} ->
            Frame
    after 0 ->
            {ok, Frame} = gen_tcp:recv(Socket, 0, ?DEADLINE),
            Frame
    end;
next_frame(Socket, Mode, Expected) ->
    ok = arm(Socket, Mode, 1),
    receive
        {tcp, Socket, Frame} -> Frame
    after ?DEADLINE -> error({stopped_after, Expected, inet:getopts(Socket, [active])})
    end.

%% Sends until it is told to stop, and then says how many frames there were.
start_endless(Peer) ->
    Sender = spawn_link(fun() -> receive go -> endless(Peer, 0, 2000) end end),
    ok = gen_tcp:controlling_process(Peer, Sender),
    Sender ! go,
    Sender.

endless(Peer, Number, Credit) ->
    receive
        {stop, From} ->
            From ! {sent, Number},
            receive never -> ok end;
        {credit, More} ->
            endless(Peer, Number, Credit + More)
    after case Credit > 0 of true -> 0; false -> infinity end ->
            Last = Number + min(32, Credit),
            ok = gen_tcp:send(Peer, [frame(Each) || Each <- lists:seq(Number, Last - 1)]),
            endless(Peer, Last, Credit - (Last - Number))
    end.
