%% Streams in pieces: writes them to a socket so that each piece has been read before the next one goes
%% out, and tells what the socket delivers.
-module(rs_wire).

-export([start/0, stop/1, run/4, cuts/1, bytes/1, slow/1]).

-export_type([under_test/0, mode/0]).

-opaque under_test() :: {rs_test:context(), inet:socket(), pid()}.
%% How the socket reads: by `recv`, always active, `{active, once}`, `{active, 2}`, by `recv` of N bytes,
%% or always active with the data joined.
-type mode() :: passive | always | once | two | {exactly, pos_integer()} | joined.

-define(DEADLINE, 15000).
%% Streams of up to this many bytes are cut at every place.
-define(SHORT, 100).
-define(RANDOM_CUTS, 10).

%%% ---- cuts ----

%% How to cut a stream: at every place and in single bytes, or at random where it is long.
-spec cuts(binary()) -> [[binary()]].
cuts(<<>>) ->
    [[]];
cuts(Wire) when byte_size(Wire) =< ?SHORT ->
    [[Wire], bytes(Wire)] ++ [tuple_to_list(split_binary(Wire, At)) || At <- lists:seq(1, byte_size(Wire) - 1)];
cuts(Wire) ->
    [random_pieces(Wire, byte_size(Wire) div rand:uniform(20)) || _ <- lists:seq(1, ?RANDOM_CUTS)].

%% Single bytes, or some pieces of a long stream.
-spec slow(binary()) -> [binary()].
slow(Wire) when byte_size(Wire) =< ?SHORT -> bytes(Wire);
slow(Wire) -> random_pieces(Wire, byte_size(Wire) div 20).

-spec bytes(binary()) -> [binary()].
bytes(Wire) ->
    [<<Byte>> || <<Byte>> <= Wire].

%% A third of the cuts leave a few bytes only.
random_pieces(<<>>, _Most) ->
    [];
random_pieces(Wire, Most) ->
    Piece = case rand:uniform(3) of
                1 -> rand:uniform(12);
                _ -> rand:uniform(max(Most, 1))
            end,
    {Before, After} = split_binary(Wire, min(Piece, byte_size(Wire))),
    [Before | random_pieces(After, Most)].

%%% ---- one stream through one socket ----

%% The driver and gen_tcp_rs, each with the listening socket of the peers and a process that feeds them.
-spec start() -> {under_test(), under_test()}.
start() ->
    list_to_tuple([{Context, rs_test:listen(Context#{backend := inet}, []), feeder(Context)}
                   || Context <- tuple_to_list(rs_test:contexts())]).

-spec stop({under_test(), under_test()}) -> ok.
stop(Both) ->
    [begin
         Feeder ! stop,
         ok = gen_tcp:close(Listen)
     end || {_, Listen, Feeder} <- tuple_to_list(Both)],
    ok.

%% What the socket delivers while the pieces arrive one after the other; it is called `socket` there.
-spec run(under_test(), mode(), list(), [binary()]) -> term().
run({Context, Listen, Feeder}, Mode, Options, Pieces) ->
    %% Ends by a reset once all is read: some ten thousand ports in TIME_WAIT would be all there are.
    {ok, Socket} = rs_test:connect(Context, Listen, [{linger, {true, 0}} | initially(Mode)] ++ Options),
    Peer = rs_test:accept(Listen),
    Feeder ! {feed, self(), Socket, Peer, Pieces},
    Deliveries = deliveries(Mode, Socket),
    receive
        {fed, Feeder} -> ok
    after ?DEADLINE ->
            error({feeder, process_info(Feeder, [current_stacktrace, messages])})
    end,
    ok = gen_tcp:close(Socket),
    ok = gen_tcp:close(Peer),
    [named(Socket, Delivery) || Delivery <- Deliveries].

%% The socket has a different name each time.
named(Socket, Socket) -> socket;
named(Socket, Tuple) when is_tuple(Tuple) -> list_to_tuple([named(Socket, Element) || Element <- tuple_to_list(Tuple)]);
named(_Socket, Other) -> Other.

initially(always) -> [{active, true}];
initially(joined) -> [{active, true}];
initially(two) -> [{active, 2}];
initially(_) -> [].

deliveries(passive, Socket) ->
    received(Socket, 0);
deliveries({exactly, Count}, Socket) ->
    received(Socket, Count);
deliveries(always, Socket) ->
    messages(Socket);
deliveries(joined, Socket) ->
    [case Message of
         {tcp, Socket, Data} -> Data;
         {Socket, {data, Data}} -> Data;
         {tcp_closed, Socket} -> []
     end || Message <- messages(Socket)];
deliveries(once, Socket) ->
    _ = inet:setopts(Socket, [{active, once}]),
    case message(Socket) of
        {tcp_error, _, _} = Message -> [Message | messages(Socket)];
        {tcp_closed, _} = Message -> [Message];
        nothing -> [nothing];
        Message -> [Message | deliveries(once, Socket)]
    end;
deliveries(two, Socket) ->
    case message(Socket) of
        {tcp_passive, _} = Message ->
            _ = inet:setopts(Socket, [{active, 2}]),
            [Message | deliveries(two, Socket)];
        {tcp_closed, _} = Message -> [Message];
        nothing -> [nothing];
        Message -> [Message | deliveries(two, Socket)]
    end.

%% Up to the first error, and what the call after that says.
received(Socket, Count) ->
    case gen_tcp:recv(Socket, Count, ?DEADLINE) of
        {ok, Packet} -> [{ok, Packet} | received(Socket, Count)];
        {error, _} = Error -> [Error, gen_tcp:recv(Socket, Count, ?DEADLINE)]
    end.

messages(Socket) ->
    case message(Socket) of
        {tcp_closed, _} = Message -> [Message];
        nothing -> [nothing];
        Message -> [Message | messages(Socket)]
    end.

message(Socket) ->
    receive
        Message when element(1, Message) =:= Socket; element(2, Message) =:= Socket -> Message
    after ?DEADLINE ->
            nothing
    end.

%%% ---- the feeder ----

feeder(Context) ->
    spawn_link(fun() -> feeder_loop(Context) end).

feeder_loop(Context) ->
    receive
        {feed, Receiver, Socket, Peer, Pieces} ->
            ok = inet:setopts(Peer, [{nodelay, true}]),
            ok = feed(Context, Receiver, Socket, Peer, Pieces, 0),
            _ = gen_tcp:shutdown(Peer, write),
            Receiver ! {fed, self()},
            feeder_loop(Context);
        stop ->
            ok
    end.

%% A piece goes out when the one before has been read: it is in the kernel, the poller has gone round
%% since, and the receiver has taken its messages and waits. A bad frame ends it.
feed(_Context, _Receiver, _Socket, _Peer, [], _Sent) ->
    ok;
feed(Context, Receiver, Socket, Peer, [Piece | Pieces], Sent0) ->
    Sent = Sent0 + byte_size(Piece),
    case gen_tcp:send(Peer, Piece) of
        ok when Pieces =:= [] ->
            ok;
        ok ->
            rs_test:poll(fun() -> arrived(Socket, Sent) end),
            ok = rs_test:barrier(Context),
            rs_test:poll(fun() -> waits(Receiver) end),
            feed(Context, Receiver, Socket, Peer, Pieces, Sent);
        {error, _} ->
            ok
    end.

%% struct tcp_info of linux/tcp.h; nothing comes to a socket that is closed.
arrived(Socket, Count) ->
    case inet:getopts(Socket, [{raw, 6, 11, 200}]) of
        {ok, [{raw, 6, 11, <<_:128/binary, Received:64/native, _/binary>>}]} -> Received >= Count;
        _ -> true
    end.

waits(Receiver) ->
    case process_info(Receiver, [status, message_queue_len]) of
        [{status, waiting}, {message_queue_len, 0}] -> true;
        _ -> false
    end.
