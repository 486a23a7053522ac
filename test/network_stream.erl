%% Streams both ways over connections of every mode at once, between two hosts, each byte and each frame's length in a hash.
-module(network_stream).

-export([exchange/3, exchange/4, connections/0, data/2]).

-export_type([disturbance/0]).

%% Runs when every sender is half through and waits; it is given what lets them go on, and what counts the bytes received.
-type disturbance() :: fun((Go :: fun(() -> ok), Received :: fun(() -> non_neg_integer())) -> term()).

-define(DEADLINE, 60000).
%% The largest frame. Lines are as long at most, with their encoding.
-define(LARGEST, 20000).

modes() ->
    [{raw, true}, {raw, once}, {raw, 10}, {raw, {recv, 0}}, {raw, {recv, 5000}},
     {4, once}, {2, true}, {4, {recv, 0}}, {line, 3}].

%% How many connections an exchange makes.
-spec connections() -> pos_integer().
connections() -> length(modes()).

%% So many bytes each way over each connection; milliseconds. Every stream arrives as it was sent, and ends.
-spec exchange(inet | rs, network_hosts:hosts(), pos_integer()) -> non_neg_integer().
exchange(Backend, Hosts, Bytes) ->
    exchange(Backend, Hosts, Bytes, fun(Go, _Received) -> Go() end).

-spec exchange(inet | rs, network_hosts:hosts(), pos_integer(), disturbance()) -> non_neg_integer().
exchange(Backend, Hosts, Bytes, Disturbance) ->
    Start = erlang:monotonic_time(millisecond),
    Received = counters:new(1, []),
    Parent = self(),
    Runs = [spawn_monitor(fun() -> connection(Backend, Hosts, Mode, Bytes, Received, Parent) end) || Mode <- modes()],
    Senders = [receive {half, Sender} -> Sender; {'DOWN', _, process, _, Reason} when Reason =/= normal -> error(Reason)
               after ?DEADLINE -> error(deadline) end || _ <- Runs, _ <- [a, b]],
    _ = Disturbance(fun() -> lists:foreach(fun(Sender) -> Sender ! go end, Senders) end,
                    fun() -> counters:get(Received, 1) end),
    [receive {'DOWN', Monitor, process, _, Reason} -> normal = Reason after ?DEADLINE -> error(deadline) end || {_, Monitor} <- Runs],
    erlang:monotonic_time(millisecond) - Start.

%% One connection, in a process of its own.
connection(Backend, Hosts, {Packet, How} = Mode, Bytes, Received, Parent) ->
    Options = fun(Which) ->
                      [{inet_backend, Backend}, {netns, network_hosts:file(Which, Hosts)}, binary, {active, false}, {packet, Packet},
                       {exit_on_close, false}, {buffer, 65536}, {nodelay, true}]
              end,
    {ok, Listen} = gen_tcp:listen(0, Options(a)),
    {ok, Port} = inet:port(Listen),
    {ok, Client} = gen_tcp:connect(network_hosts:address(a), Port, Options(b), ?DEADLINE),
    {ok, Server} = gen_tcp:accept(Listen, ?DEADLINE),
    ok = gen_tcp:close(Listen),
    Own = counters:new(1, []),
    Total = lists:sum([iolist_size(pieces(Packet, data({Mode, Which}, Bytes))) || Which <- [a, b]]),
    %% Where the end of one direction comes while a send waits in the other, the driver drops what is queued there.
    Until = fun() -> Backend =/= inet orelse counters:get(Own, 1) =:= Total end,
    Ends = [spawn_end(Socket, Seed, Other, Packet, How, Bytes, Until, {Received, Own}, Parent)
            || {Socket, Seed, Other} <- [{Client, {Mode, b}, {Mode, a}}, {Server, {Mode, a}, {Mode, b}}]],
    [receive {'DOWN', Monitor, process, _, Reason} -> {normal, Mode} = {Reason, Mode} end || Monitor <- Ends],
    ok.

%% The owner of one end, who receives, and a sender beside it.
spawn_end(Socket, Seed, Other, Packet, How, Bytes, Until, Received, Parent) ->
    {Pid, Monitor} =
        spawn_monitor(fun() ->
                              receive owner -> ok end,
                              {_, Sender} = spawn_monitor(fun() -> send(Socket, Packet, data(Seed, Bytes), Until, Parent) end),
                              Expected = hash(Packet, data(Other, Bytes)),
                              Found = take(Socket, How, Packet, iolist_size(pieces(Packet, data(Other, Bytes))), Received),
                              {Expected, Seed} = {Found, Seed},
                              receive {'DOWN', Sender, process, _, Reason} -> normal = Reason after ?DEADLINE -> error(deadline) end,
                              ok = gen_tcp:close(Socket)
                      end),
    ok = gen_tcp:controlling_process(Socket, Pid),
    Pid ! owner,
    Monitor.

send(Socket, Packet, Data, Until, Parent) ->
    Pieces = pieces(Packet, Data),
    {First, Second} = lists:split(length(Pieces) div 2, Pieces),
    [ok = gen_tcp:send(Socket, Piece) || Piece <- First],
    Parent ! {half, self()},
    receive go -> ok after ?DEADLINE -> error(deadline) end,
    [ok = gen_tcp:send(Socket, Piece) || Piece <- Second],
    ok = rs_test:poll(Until, ?DEADLINE),
    ok = gen_tcp:shutdown(Socket, write).

%%% ---- what is sent ----

%% The same bytes for the same seed, in pieces of any length up to the largest.
-spec data(term(), pos_integer()) -> [binary()].
data(Seed, Bytes) ->
    Key = binary:part(crypto:hash(sha256, term_to_binary(Seed)), 0, 16),
    <<All:Bytes/binary>> = crypto:crypto_one_time(aes_128_ctr, Key, <<0:128>>, <<0:Bytes/unit:8>>, true),
    cut(All, rand:seed_s(exsss, erlang:phash2(Seed))).

cut(<<>>, _Random) ->
    [];
cut(Data, Random0) ->
    %% Small ones as often as large ones.
    {Power, Random1} = rand:uniform_s(Random0),
    Length = min(byte_size(Data), trunc(math:pow(?LARGEST, Power))),
    <<Piece:Length/binary, Rest/binary>> = Data,
    [Piece | cut(Rest, Random1)].

pieces(line, Data) -> [<<(base64:encode(Piece))/binary, $\n>> || Piece <- Data];
pieces(_Packet, Data) -> Data.

hash(Packet, Data) ->
    crypto:hash_final(lists:foldl(fun(Piece, Hash) -> add(Packet, Piece, Hash) end, crypto:hash_init(sha256), pieces(Packet, Data))).

%% Where there are frames, where each begins is part of it.
add(raw, Piece, Hash) -> crypto:hash_update(Hash, Piece);
add(_Packet, Piece, Hash) -> crypto:hash_update(Hash, <<(byte_size(Piece)):32, Piece/binary>>).

%%% ---- how it is received ----

take(Socket, {recv, Most}, Packet, Left, Received) ->
    receive_all(Socket, Most, Packet, Left, Received, crypto:hash_init(sha256));
take(Socket, Active, Packet, _Left, Received) ->
    ok = inet:setopts(Socket, [{active, Active}]),
    messages(Socket, Active, Packet, Received, crypto:hash_init(sha256)).

receive_all(Socket, Most, Packet, Left, Received, Hash) ->
    case gen_tcp:recv(Socket, min(Most, Left), ?DEADLINE) of
        {ok, Data} ->
            ok = count(Received, Data),
            receive_all(Socket, Most, Packet, Left - byte_size(Data), Received, add(Packet, Data, Hash));
        {error, closed} when Left =:= 0 ->
            crypto:hash_final(Hash);
        {error, Reason} ->
            {Reason, Left}
    end.

count({All, Own}, Data) ->
    [ok = counters:add(Counter, 1, byte_size(Data)) || Counter <- [All, Own]],
    ok.

messages(Socket, Active, Packet, Received, Hash) ->
    receive
        {tcp, Socket, Data} ->
            ok = count(Received, Data),
            _ = [ok = inet:setopts(Socket, [{active, once}]) || Active =:= once],
            messages(Socket, Active, Packet, Received, add(Packet, Data, Hash));
        {tcp_passive, Socket} ->
            ok = inet:setopts(Socket, [{active, Active}]),
            messages(Socket, Active, Packet, Received, Hash);
        {tcp_closed, Socket} ->
            crypto:hash_final(Hash);
        {tcp_error, Socket, Reason} ->
            Reason
    after ?DEADLINE ->
            deadline
    end.
