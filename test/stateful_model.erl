%% What a pair of connected sockets must do, as a pure function of the calls made so far: the model that
%% stateful_SUITE holds the real sockets against. It follows the manual and the driver.
%%
%% Three processes, 1 to 3, make calls on two ends, c and s. Every call has one predicted result. What the
%% processes are sent is predicted too, message by message; raw data by its bytes alone, as it may come in
%% any pieces. An end whose peer may have reset it is *loose*: the kernel decides what can still be read, and
%% nothing is predicted for it any more.
-module(stateful_model).

-export([new/1, enabled/2, step/2, is_free/2, bytes/2, events/2, is_wild/2, open/1, owned/2]).
-export_type([state/0, call/0, event/0, result/0, finish/0]).

-type worker() :: 1..3.
-type name() :: c | s.
-type finish() :: {name(), pos_integer()}.
-type mode() :: boolean() | once | pos_integer().
-type call() :: {open, worker(), worker(), list()}
              | {send, worker(), name(), pos_integer()}
              | {recv, worker(), name(), non_neg_integer(), timeout()}
              | {active, worker(), name(), mode()}
              | {packet, worker(), name(), 0 | 1 | 2 | 4 | line}
              | {control, worker(), name(), worker()}
              | {close | shutdown | monitor | getopts, worker(), name()}
              | {kill, worker()}.
-type event() :: {data, finish(), binary()} | {frame, finish(), binary()} | {passive | closed, finish()}
               | {down, finish(), atom()} | {reply, result()}.
-type result() :: term().

-record(finish, {owner :: worker(),
              active = false :: mode(),
              packet = 0,
              %% How much has been written to it, and what of that has not been delivered.
              written = 0 :: non_neg_integer(),
              pending = <<>> :: binary(),
              %% Whether its peer has sent the end of its stream.
              fin = false :: boolean(),
              shut = false :: boolean(),
              reader = none :: none | {worker(), non_neg_integer()},
              monitors = [] :: [worker()],
              loose = false :: boolean()}).

-record(state, {backend :: rs | inet,
                generation = 0 :: non_neg_integer(),
                ends = #{} :: #{name() => #finish{}},
                %% Every end that has ever been loose.
                wild = #{} :: #{finish() => []},
                %% What each process has been sent, latest first.
                events = #{} :: #{worker() => [event()]}}).
-opaque state() :: #state{}.

-spec new(rs | inet) -> state().
new(Backend) ->
    #state{backend = Backend}.

%% Whether the call can be made: its process is not waiting, and the result can be predicted. A process that
%% waits can't be asked for its messages: it owns no active end.
-spec enabled(state(), call()) -> boolean().
enabled(State, Call) ->
    allowed(State, Call) andalso
        begin
            {_, #state{ends = Ends} = After} = step(State, Call),
            lists:all(fun(#finish{active = Active, owner = Owner, loose = Loose}) ->
                              Active =:= false orelse Loose orelse is_free(After, Owner)
                      end, maps:values(Ends))
        end.

allowed(#state{ends = Ends} = State, {open, P, Q, _}) ->
    P =/= Q andalso map_size(Ends) =:= 0 andalso is_free(State, P) andalso is_free(State, Q);
allowed(#state{ends = Ends, backend = Backend} = State, {kill, P}) ->
    %% The driver gives the next data to a reader that was killed.
    map_size(Ends) > 0 andalso (Backend =:= rs orelse is_free(State, P));
allowed(#state{backend = inet, ends = Ends}, {recv, _, Name, Length, Timeout})
  when Length > 0, Timeout =/= infinity, is_map_key(Name, Ends) ->
    %% The driver waits for the rest of the length in the next call.
    false;
allowed(#state{ends = Ends} = State, Call) ->
    [Kind, P, Name | Arguments] = tuple_to_list(Call),
    case Ends of
        #{Name := End} -> is_free(State, P) andalso possible(Kind, Arguments, End, maps:get(other(Name), Ends, none));
        #{} -> map_size(Ends) > 0 andalso is_free(State, P)
    end.

possible(send, [Count], #finish{packet = Packet}, Peer) ->
    %% Little enough for one read of either backend, and never queued. A header has no high byte, which
    %% would make an invalid length where the other end frames otherwise.
    (lists:member(Packet, [0, line]) orelse Count < 128) andalso (Peer =:= none orelse byte_size(Peer#finish.pending) + Count =< 1400);
possible(recv, [Length, _], #finish{packet = Packet, loose = Loose, reader = Reader}, _Peer) ->
    not Loose andalso Reader =:= none andalso (Packet =:= 0 orelse Length =:= 0);
possible(active, [Mode], #finish{loose = Loose, reader = Reader, packet = Packet, pending = Pending}, _) ->
    %% A part of what is pending may have been read: how much one delivery holds is not known.
    not Loose andalso Reader =:= none andalso (is_boolean(Mode) orelse Packet =/= 0 orelse Pending =:= <<>>);
possible(packet, [_], #finish{pending = Pending, reader = Reader, loose = Loose}, _Peer) ->
    %% With bytes buffered the driver may go on with a length that it has read.
    not Loose andalso Reader =:= none andalso Pending =:= <<>>;
possible(control, [_], #finish{loose = Loose, reader = Reader}, _Peer) ->
    not Loose andalso Reader =:= none;
possible(monitor, [], #finish{loose = Loose}, _Peer) ->
    not Loose;
possible(getopts, [], #finish{loose = Loose}, _Peer) ->
    not Loose;
possible(shutdown, [], #finish{loose = Loose, shut = Shut}, _Peer) ->
    not Loose andalso not Shut;
possible(close, [], _End, _Peer) ->
    true.

%% What a process has been sent and answered late since it began, oldest first.
-spec events(state(), worker()) -> [event()].
events(#state{events = Events}, P) ->
    lists:reverse(maps:get(P, Events, [])).

%% Whether the end is or was loose.
-spec is_wild(state(), finish()) -> boolean().
is_wild(#state{wild = Wild}, Finish) ->
    is_map_key(Finish, Wild).

%% The open ends that are not loose: how much has been written to each, and whether the stream has ended.
-spec open(state()) -> [{finish(), non_neg_integer(), boolean()}].
open(#state{ends = Ends, generation = Generation}) ->
    [{{Name, Generation}, Written, Fin}
     || {Name, #finish{written = Written, fin = Fin, loose = false}} <- maps:to_list(Ends)].

-spec owned(state(), worker()) -> [finish()].
owned(#state{ends = Ends, generation = Generation}, P) ->
    [{Name, Generation} || {Name, #finish{owner = Q}} <- maps:to_list(Ends), P =:= Q].

%% Whether the process is in no call that waits.
-spec is_free(state(), worker()) -> boolean().
is_free(#state{ends = Ends}, P) ->
    [] =:= [E || #finish{reader = {Q, _}} = E <- maps:values(Ends), P =:= Q].

%% The result of the call (`any`: not predicted, `none`: it waits) and the state after it.
-spec step(state(), call()) -> {result(), state()}.
step(#state{generation = Generation, ends = Ends} = State, {open, P, Q, Options}) when map_size(Ends) =:= 0 ->
    Packet = proplists:get_value(packet, Options, 0),
    Active = proplists:get_value(active, Options, false),
    End = #finish{packet = Packet, active = Active},
    {ok, State#state{generation = Generation + 1,
                     ends = #{c => End#finish{owner = P}, s => End#finish{owner = Q}}}};
step(State, {kill, P}) ->
    Killed1 = on_ends(State, fun(End) -> End#finish{monitors = End#finish.monitors -- copies(P, End)} end),
    Killed2 = on_ends(Killed1, fun(#finish{reader = {Q, _}} = End) when Q =:= P -> End#finish{reader = none};
                                  (End) -> End
                               end),
    Owned = [Name || {Name, #finish{owner = Q}} <- maps:to_list(Killed2#state.ends), P =:= Q],
    %% Of two that die together the second may see the end of the first one's stream before.
    Killed3 = case Owned of
                  [_, _] -> lists:foldl(fun loosened/2, Killed2, Owned);
                  _ -> Killed2
              end,
    Closed = lists:foldl(fun(Name, S) -> closed(Name, killed, S) end, Killed3, Owned),
    {ok, Closed#state{events = maps:remove(P, Closed#state.events)}};
step(#state{ends = Ends} = State, Call) ->
    [Kind, P, Name | Arguments] = tuple_to_list(Call),
    case Ends of
        #{Name := End} ->
            {Result, After} = call(Kind, Arguments, P, Name, End, State),
            {Result, settled(Name, settled(other(Name), After))};
        #{} ->
            gone(Kind, P, Name, State)
    end.

copies(P, #finish{monitors = Monitors}) ->
    [Q || Q <- Monitors, Q =:= P].

%% Calls on what is closed.
gone(close, _P, _Name, State) -> {ok, State};
gone(Kind, _P, _Name, State) when Kind =:= active; Kind =:= packet; Kind =:= getopts -> {{error, einval}, State};
gone(monitor, P, Name, #state{generation = Generation} = State) ->
    {ok, sent(P, {down, {Name, Generation}, noproc}, State)};
gone(_Kind, _P, _Name, State) -> {{error, closed}, State}.

call(send, [_Count], _P, _Name, #finish{loose = true}, State) ->
    {any, State};
call(send, [_Count], _P, Name, #finish{shut = true}, State) ->
    %% This ends the other half, too.
    {{error, closed}, loosened(Name, loosened(other(Name), State))};
call(send, [Count], _P, Name, #finish{packet = Packet}, #state{ends = Ends} = State) ->
    case Ends of
        #{s := _, c := _} ->
            Write = fun(#finish{written = Written, pending = Pending} = Peer) ->
                            Wire = <<(header(Packet, Count))/binary, (bytes(Written, Count))/binary>>,
                            Peer#finish{written = Written + byte_size(Wire),
                                        pending = <<Pending/binary, Wire/binary>>}
                    end,
            {ok, on_end(other(Name), Write, State)};
        #{} ->
            %% The peer is gone: this provokes a reset.
            {any, loosened(Name, State)}
    end;
call(recv, [_Length, _], _P, _Name, #finish{active = Active}, State) when Active =/= false ->
    {{error, einval}, State};
call(recv, [Length, Timeout], P, Name, #finish{fin = Fin} = End, State) ->
    case {taken(End, Length), Fin, Timeout} of
        {{Data, Rest}, _, _} ->
            {{ok, Data}, on_end(Name, fun(E) -> E#finish{pending = Rest} end, State)};
        {none, true, _} ->
            %% A read that has seen the end closes the other half, too.
            {{error, closed}, loosened(Name, loosened(other(Name), State))};
        {none, false, infinity} ->
            {none, on_end(Name, fun(E) -> E#finish{reader = {P, Length}} end, State)};
        {none, false, _} ->
            {{error, timeout}, State}
    end;
call(active, [Mode], _P, Name, #finish{active = Before} = End, State) ->
    case {Mode, Before} of
        {Count, Old} when is_integer(Count), is_integer(Old) ->
            {ok, on_end(Name, fun(E) -> E#finish{active = Old + Count} end, State)};
        {Other, _} ->
            {ok, on_end(Name, fun(_) -> End#finish{active = Other} end, State)}
    end;
call(packet, [Packet], _P, Name, _End, State) ->
    {ok, on_end(Name, fun(E) -> E#finish{packet = Packet} end, State)};
call(control, [New], P, Name, #finish{owner = Owner}, State) ->
    case {New, Owner} of
        {Owner, _} -> {ok, State};
        {_, P} -> {ok, on_end(Name, fun(E) -> E#finish{owner = New} end, State)};
        _ -> {{error, not_owner}, State}
    end;
call(close, [], _P, Name, _End, State) ->
    {ok, closed(Name, normal, State)};
call(shutdown, [], _P, Name, _End, State0) ->
    State = on_end(Name, fun(E) -> E#finish{shut = true} end, State0),
    case is_map_key(other(Name), State#state.ends) of
        true -> {ok, on_end(other(Name), fun(E) -> E#finish{fin = true} end, State)};
        false -> {any, State}
    end;
call(monitor, [], P, Name, _End, State) ->
    {ok, on_end(Name, fun(E) -> E#finish{monitors = [P | E#finish.monitors]} end, State)};
call(getopts, [], _P, _Name, #finish{active = Active, packet = Packet}, State) ->
    {{ok, [{active, Active}, {packet, Packet}]}, State}.

%% Of a length that the header can't hold the lowest bits count, as with the driver.
header(Packet, Count) when is_integer(Packet) -> <<Count:Packet/unit:8>>;
header(line, _Count) -> <<>>.

%% What a read takes: the user's data and what stays.
taken(#finish{pending = <<>>}, _Length) ->
    none;
taken(#finish{packet = 0, pending = Pending}, 0) ->
    {Pending, <<>>};
taken(#finish{packet = 0, pending = Pending}, Length) ->
    case Pending of
        <<Data:Length/binary, Rest/binary>> -> {Data, Rest};
        _ -> none
    end;
taken(#finish{packet = Packet, pending = Pending}, _Length) ->
    case erlang:decode_packet(Packet, Pending, []) of
        {ok, Data, Rest} -> {Data, Rest};
        {more, _} -> none
    end.

%% Delivers what an end can deliver: to its reader, or to its owner while it is active.
settled(Name, #state{ends = Ends} = State) ->
    case Ends of
        #{Name := #finish{loose = false} = End} -> delivered(Name, End, State);
        #{} -> State
    end.

delivered(Name, #finish{reader = {P, Length}, fin = Fin} = End, State) ->
    case taken(End, Length) of
        {Data, Rest} ->
            Read = End#finish{reader = none, pending = Rest},
            sent(P, {reply, {ok, Data}}, on_end(Name, fun(_) -> Read end, State));
        none when Fin ->
            Told = sent(P, {reply, {error, closed}}, on_end(Name, fun(E) -> E#finish{reader = none} end, State)),
            loosened(Name, loosened(other(Name), Told));
        none ->
            State
    end;
delivered(_Name, #finish{active = false}, State) ->
    State;
delivered(Name, #finish{active = 0, owner = Owner} = End, #state{generation = Generation} = State) ->
    sent(Owner, {passive, {Name, Generation}}, on_end(Name, fun(_) -> End#finish{active = false} end, State));
delivered(Name, #finish{active = Active, owner = Owner, packet = Packet, fin = Fin} = End,
          #state{generation = Generation} = State) ->
    case taken(End, 0) of
        {Data, Rest} ->
            Kind = case Packet of 0 -> data; _ -> frame end,
            Next = case Active of true -> true; once -> false; Count -> Count - 1 end,
            settled(Name, sent(Owner, {Kind, {Name, Generation}, Data},
                               on_end(Name, fun(_) -> End#finish{active = Next, pending = Rest} end,
                                      State)));
        none when Fin ->
            closed(Name, normal, sent(Owner, {closed, {Name, Generation}}, State));
        none ->
            State
    end.

%% The end is no more. Its peer sees the end of the stream, or a reset if something had not been read.
closed(Name, _Reason, #state{ends = Ends} = State) when not is_map_key(Name, Ends) ->
    State;
closed(Name, Reason, #state{ends = Ends, generation = Generation} = State0) ->
    #{Name := #finish{reader = Reader, monitors = Monitors, pending = Pending, loose = Loose}} = Ends,
    State1 = case Reader of
                 {P, _} -> sent(P, {reply, case Loose of true -> any; false -> {error, closed} end}, State0);
                 none -> State0
             end,
    State2 = case Loose of
                 true -> State1;
                 false -> lists:foldl(fun(P, S) -> sent(P, {down, {Name, Generation}, Reason}, S) end, State1, Monitors)
             end,
    State3 = State2#state{ends = maps:remove(Name, Ends)},
    Peer = other(Name),
    case is_map_key(Peer, Ends) of
        false -> State3;
        true when Pending =/= <<>>; Loose -> loosened(Peer, State3);
        true -> settled(Peer, on_end(Peer, fun(E) -> E#finish{fin = true} end, State3))
    end.

loosened(Name, #state{ends = Ends, generation = Generation, wild = Wild} = State) ->
    case Ends of
        #{Name := #finish{reader = {P, _}} = End} ->
            loosened(Name, sent(P, {reply, any}, State#state{ends = Ends#{Name := End#finish{reader = none}}}));
        #{Name := End} ->
            State#state{ends = Ends#{Name := End#finish{loose = true, monitors = []}},
                        wild = Wild#{{Name, Generation} => []}};
        #{} ->
            State
    end.

sent(P, Event, #state{events = Events} = State) ->
    State#state{events = maps:update_with(P, fun(Before) -> [Event | Before] end, [Event], Events)}.

on_end(Name, Change, #state{ends = Ends} = State) ->
    State#state{ends = maps:update_with(Name, Change, Ends)}.

on_ends(#state{ends = Ends} = State, Change) ->
    State#state{ends = maps:map(fun(_, End) -> Change(End) end, Ends)}.

other(c) -> s;
other(s) -> c.

%% The bytes of every stream, from the place given: small numbers and newlines, so that they make frames of
%% every packet type, and no period that a loss could hide in.
-spec bytes(non_neg_integer(), non_neg_integer()) -> binary().
bytes(From, Count) ->
    << <<(element(1 + erlang:phash2(Place, 8), {0, 1, 2, 3, 10, 5, 0, 7}))>> || Place <- lists:seq(From, From + Count - 1) >>.
