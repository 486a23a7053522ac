%% What the nodes of soak_SUITE do: serve echoes of four kinds, and keep up conversations with another node
%% whose every byte goes through a running hash.
-module(soak_node).

-export([start/1, open/4, talk/1, finish/1, measure/0, settled/1, failures/0]).

-export_type([crowd/0]).

-type kind() :: frames | stream | passive | lines.
-type address() :: {inet:ip_address(), inet:port_number()}.
-opaque crowd() :: [{pid(), reference()}].

-define(KINDS, [frames, stream, passive, lines]).
-define(DEADLINE, 120000).
-define(BLOCK, 262144).

%% Listens for each kind of conversation, for the rest of the node's life.
-spec start(inet | rs) -> [{kind(), address()}].
start(Backend) ->
    ok = rs_test:start(Backend),
    persistent_term:put({?MODULE, bytes}, rand:bytes(?BLOCK)),
    persistent_term:put({?MODULE, letters}, << <<($a + Byte rem 26)>> || <<Byte>> <= rand:bytes(?BLOCK) >>),
    persistent_term:put({?MODULE, failures}, counters:new(1, [])),
    Parent = self(),
    Reference = make_ref(),
    _ = spawn(fun() ->
                      Parent ! {Reference, [{Kind, listen(Backend, Kind)} || Kind <- ?KINDS]},
                      receive never -> ok end
              end),
    receive {Reference, Addresses} -> Addresses after ?DEADLINE -> error(start) end.

listen(Backend, Kind) ->
    Listen = rs_test:listen(#{backend => Backend, family => inet}, [{backlog, 4096} | options(Kind)]),
    [spawn(fun() -> acceptor(Listen, Kind) end) || _ <- lists:seq(1, 4)],
    rs_test:address_of(Listen).

options(frames) -> [{packet, 4}, {active, once}];
options(stream) -> [{packet, raw}, {active, 5}];
options(passive) -> [{packet, raw}, {active, false}];
options(lines) -> [{packet, line}, {active, true}, {buffer, 65536}].

acceptor(Listen, Kind) ->
    {ok, Socket} = gen_tcp:accept(Listen),
    _ = spawn(fun() -> acceptor(Listen, Kind) end),
    try echo(Socket, Kind)
    catch _:_ -> counters:add(persistent_term:get({?MODULE, failures}), 1, 1)
    end.

echo(Socket, Kind) ->
    case next(Socket, Kind, infinity) of
        closed ->
            ok = gen_tcp:close(Socket);
        Data ->
            ok = gen_tcp:send(Socket, Data),
            echo(Socket, Kind)
    end.

%% The next data of the socket, as its kind receives it.
next(Socket, passive, Timeout) ->
    case gen_tcp:recv(Socket, 0, Timeout) of
        {ok, Data} -> Data;
        {error, closed} -> closed
    end;
next(Socket, Kind, Timeout) ->
    receive
        {tcp, Socket, Data} ->
            _ = [ok = inet:setopts(Socket, [{active, once}]) || Kind =:= frames],
            Data;
        {tcp_passive, Socket} when Kind =:= stream ->
            ok = inet:setopts(Socket, [{active, 5}]),
            next(Socket, Kind, Timeout);
        {tcp_closed, Socket} -> closed;
        {tcp_error, Socket, Reason} -> error(Reason)
    after Timeout ->
            error(silence)
    end.

%% How many conversations failed on the serving side.
-spec failures() -> non_neg_integer().
failures() ->
    counters:get(persistent_term:get({?MODULE, failures}), 1).

%% So many connections, all kinds alike, and some callers who come and go; each begins to talk on talk/1.
-spec open(inet | rs, [{kind(), address()}], non_neg_integer(), non_neg_integer()) -> crowd().
open(Backend, Addresses, Connections, Guests) ->
    Self = self(),
    %% The caller of this function does not stay.
    {Pid, Monitor} =
        spawn_monitor(fun() ->
                              Callers = lists:append([callers(Backend, Addresses, min(200, Connections - Done))
                                                      || Done <- lists:seq(0, Connections - 1, 200)]),
                              Visitors = [spawn_monitor(fun() -> guest(Backend, Addresses) end)
                                          || _ <- lists:seq(1, Guests)],
                              Self ! {opened, self()},
                              holding(Callers ++ Visitors)
                      end),
    receive
        {opened, Pid} -> demonitor(Monitor, [flush]), [{Pid, Monitor}];
        {'DOWN', Monitor, process, Pid, Reason} -> error(Reason)
    end.

callers(Backend, Addresses, Count) ->
    Self = self(),
    Callers = [spawn_monitor(fun() ->
                                     {Kind, _} = Address = lists:nth(1 + Number rem 4, Addresses),
                                     Socket = connect(Backend, Address),
                                     Self ! {connected, self()},
                                     receive talk -> ok end,
                                     converse(Socket, Kind, new())
                             end) || Number <- lists:seq(1, Count)],
    [receive
         {connected, Pid} -> ok;
         {'DOWN', Monitor, process, Pid, Reason} -> error(Reason)
     after ?DEADLINE -> error(connect)
     end || {Pid, Monitor} <- Callers],
    Callers.

connect(Backend, {Kind, {Address, Port}}) ->
    Options = [{inet_backend, Backend}, binary | options(Kind)],
    {ok, Socket} = gen_tcp:connect(Address, Port, Options, ?DEADLINE),
    Socket.

holding(Callers) ->
    receive
        {talk, _} ->
            [Pid ! talk || {Pid, _} <- Callers],
            holding(Callers);
        {finish, From} ->
            [Pid ! finish || {Pid, _} <- Callers],
            Done = [receive {'DOWN', Monitor, process, Pid, Reason} -> Reason
                    after ?DEADLINE -> {stuck, process_info(Pid, current_stacktrace)}
                    end || {Pid, Monitor} <- Callers],
            Failed = [Reason || Reason <- Done, element(1, Reason) =/= done],
            From ! {finished, self(),
                    #{exchanges => lists:sum([Exchanges || {done, Exchanges, _} <- Done]),
                      bytes => lists:sum([Bytes || {done, _, Bytes} <- Done]),
                      failed => lists:sublist(Failed, 3)}}
    end.

-spec talk(crowd()) -> ok.
talk([{Pid, _}]) ->
    Pid ! {talk, self()},
    ok.

%% Lets everybody come to the end of an exchange and of the connection. What they sent is what they got.
-spec finish(crowd()) -> #{exchanges := non_neg_integer(), bytes := non_neg_integer(), failed := [term()]}.
finish([{Pid, _}]) ->
    Monitor = erlang:monitor(process, Pid),
    Pid ! {finish, self()},
    receive
        {finished, Pid, Result} -> demonitor(Monitor, [flush]), Result;
        {'DOWN', Monitor, process, Pid, Reason} -> error(Reason)
    end.

%%% ---- a conversation ----

new() ->
    {erlang:md5_init(), erlang:md5_init(), 0, 0}.

converse(Socket, Kind, State) ->
    Said = exchange(Socket, Kind, State),
    receive
        finish -> exit(ended(Socket, Kind, Said))
    after rand:uniform(4000) ->
            converse(Socket, Kind, Said)
    end.

%% One data after another, on a connection each.
guest(Backend, Addresses) ->
    receive talk -> ok end,
    guest(Backend, Addresses, 0, 0).

guest(Backend, Addresses, Exchanges, Bytes) ->
    {Kind, _} = Address = lists:nth(rand:uniform(4), Addresses),
    Socket = connect(Backend, Address),
    {done, 1, More} = ended(Socket, Kind, exchange(Socket, Kind, new())),
    receive
        finish -> exit({done, Exchanges + 1, Bytes + More})
    after rand:uniform(400) ->
            guest(Backend, Addresses, Exchanges + 1, Bytes + More)
    end.

exchange(Socket, Kind, {Sent, Received, Exchanges, Bytes}) ->
    Data = data(Kind, rand:uniform(100)),
    ok = gen_tcp:send(Socket, Data),
    Size = iolist_size(Data),
    {erlang:md5_update(Sent, Data), heard(Socket, Kind, Size, Received), Exchanges + 1, Bytes + Size}.

data(lines, _) -> [part(letters, 4000), $\n];
data(_, 1) -> part(bytes, 200000);
data(_, Few) when Few < 10 -> part(bytes, 10000);
data(_, _) -> part(bytes, 1000).

part(Which, Most) ->
    Size = rand:uniform(Most),
    binary:part(persistent_term:get({?MODULE, Which}), rand:uniform(?BLOCK - Size) - 1, Size).

heard(_Socket, _Kind, 0, Received) ->
    Received;
heard(Socket, Kind, Size, Received) when Size > 0 ->
    Data = next(Socket, Kind, ?DEADLINE),
    heard(Socket, Kind, Size - byte_size(Data), erlang:md5_update(Received, Data)).

%% The server closes when it has seen the end, and everything that was sent has come back.
ended(Socket, Kind, {Sent, Received, Exchanges, Bytes}) ->
    ok = gen_tcp:shutdown(Socket, write),
    closed = next(Socket, Kind, ?DEADLINE),
    ok = gen_tcp:close(Socket),
    case {erlang:md5_final(Sent), erlang:md5_final(Received)} of
        {Same, Same} -> {done, Exchanges, Bytes};
        _ -> {other_bytes, Kind, Exchanges}
    end.

%%% ---- counting ----

-spec measure() -> #{atom() => integer()}.
measure() ->
    Measured = load_SUITE:measure(),
    {ok, Status} = file:read_file("/proc/self/status"),
    {match, [Data]} = re:run(Status, "VmData:\\s+([0-9]+) kB", [{capture, all_but_first, list}]),
    Measured#{data => list_to_integer(Data) * 1024, malloc => malloc(), monitors => monitors()}.

%% What is resident of the heaps of malloc, which are the library's and the drivers'; the VM maps its own. Of malloc are the
%% segment of that name, and of its arenas the anonymous ones, which begin at multiples of 64 MB.
malloc() ->
    {ok, Maps} = file:read_file("/proc/self/smaps"),
    malloc(binary:split(Maps, <<"\n">>, [global]), false, 0).

malloc([], _IsHeap, Sum) ->
    Sum;
malloc([Line | Lines], IsHeap, Sum) ->
    case binary:split(Line, <<" ">>, [global, trim_all]) of
        [<<"Rss:">>, Kilobytes, <<"kB">>] when IsHeap ->
            malloc(Lines, IsHeap, Sum + binary_to_integer(Kilobytes) * 1024);
        [Range, _, _, _, _ | Name] ->
            case binary:split(Range, <<"-">>) of
                [Start, _End] ->
                    IsArena = Name =:= [] andalso binary_to_integer(Start, 16) rem (64 * 1024 * 1024) =:= 0,
                    malloc(Lines, IsArena orelse Name =:= [<<"[heap]">>], Sum);
                _ ->
                    malloc(Lines, IsHeap, Sum)
            end;
        _ ->
            malloc(Lines, IsHeap, Sum)
    end.

%% Processes that the application watches.
monitors() ->
    case whereis(gen_tcp_rs_monitors) of
        undefined -> 0;
        Pid -> length(element(2, process_info(Pid, monitors)))
    end.

%% Once there are no more sockets and processes than then, or it is plain that some stay.
-spec settled(#{atom() => integer()}) -> #{atom() => integer()}.
settled(#{sockets := Sockets, processes := Processes}) ->
    Settled = fun() -> rs_test:socket_fds() =< Sockets andalso erlang:system_info(process_count) =< Processes end,
    _ = rs_test:attempt(fun() -> rs_test:poll(Settled, 30000) end),
    measure().
