%% The example of gen_tcp's manual, with its calls: a pool of workers that accept on one
%% listening socket, {active,once} and {packet,2}, and a simple client. Below it, what
%% runs the two and checks them.
-module(demo_manual).

-export([run/1]).
%% The manual's functions.
-export([start/2, server/1, client/2]).
%% On the nodes.
-export([pool_start/0, pool_end/1, clients/1]).

-define(WORKERS, 10).
%% Calls of the client a node, and how many of its processes share them. The manual's server
%% listens with the default backlog of 5: with more clients at once it overflows, and a kernel
%% that answers by SYN cookies then resets a connection now and then, on every backend.
-define(CALLS, 500).
-define(CLIENTS, 5).

%%% The server

-spec start(pos_integer(), inet:port_number()) -> inet:port_number() | {error, term()}.
start(Num, LPort) ->
    case gen_tcp:listen(LPort, [{active, false}, {packet, 2}]) of
        {ok, ListenSock} ->
            start_servers(Num, ListenSock),
            {ok, Port} = inet:port(ListenSock),
            Port;
        {error, Reason} ->
            {error, Reason}
    end.

start_servers(0, _) ->
    ok;
start_servers(Num, LS) ->
    spawn(?MODULE, server, [LS]),
    start_servers(Num - 1, LS).

-spec server(gen_tcp:socket()) -> ok.
server(LS) ->
    case gen_tcp:accept(LS) of
        {ok, S} ->
            loop(S),
            server(LS);
        Other ->
            io:format("accept returned ~w - goodbye!~n", [Other]),
            ok
    end.

loop(S) ->
    inet:setopts(S, [{active, once}]),
    receive
        {tcp, S, Data} ->
            Answer = process(Data),
            gen_tcp:send(S, Answer),
            loop(S);
        {tcp_closed, S} ->
            io:format("Socket ~w closed [~w]~n", [S, self()]),
            ok
    end.

%% The manual leaves this one to the reader.
process(Data) ->
    lists:reverse(Data).

%%% The client

-spec client(inet:port_number(), iodata()) -> {ok, string()} | {error, term()}.
client(PortNo, Message) ->
    {ok, Sock} = gen_tcp:connect("localhost", PortNo, [{active, false}, {packet, 2}]),
    gen_tcp:send(Sock, Message),
    A = gen_tcp:recv(Sock, 0),
    gen_tcp:close(Sock),
    A.

%%% Running them

%% Clients on the node under test, and on a node that knows nothing of it.
-spec run(pid()) -> #{calls := pos_integer(), failures := [term()]}.
run(Node) ->
    Port = demo_node:call(Node, ?MODULE, pool_start, []),
    Plain = demo_node:start_plain(),
    Wrong = [demo_node:call(Client, ?MODULE, clients, [Port]) || Client <- [Node, Plain]],
    demo_node:stop(Plain),
    Printed = demo_node:call(Node, ?MODULE, pool_end, [2 * ?CALLS]),
    #{calls => 2 * ?CALLS, failures => lists:append(Wrong) ++ Printed}.

%% The process that calls start/2 owns the listening socket; what the workers print goes to
%% a process that keeps it.
-spec pool_start() -> inet:port_number().
pool_start() ->
    Printer = spawn(fun() -> printer([]) end),
    true = register(demo_printer, Printer),
    Self = self(),
    Pool = spawn(fun() ->
                     true = group_leader(Printer, self()),
                     Self ! {self(), start(?WORKERS, 0)},
                     receive stop -> ok end
                 end),
    true = register(demo_pool, Pool),
    receive {Pool, Port} when is_integer(Port) -> Port end.

%% The owner of the listening socket ends: every worker must see that and say goodbye, after
%% it has told of every connection that it was closed. Anything missing is returned.
-spec pool_end(pos_integer()) -> [term()].
pool_end(Connections) ->
    demo_pool ! stop,
    Deadline = erlang:monotonic_time(millisecond) + 10000,
    wait_for([{"Socket ", Connections}, {"accept returned {error,closed}", ?WORKERS}], Deadline).

wait_for(Expected, Deadline) ->
    demo_printer ! {printed, self()},
    Lines = receive {printed, All} -> All end,
    Missing = [{Start, {expected, Count}, {printed, Printed}}
               || {Start, Count} <- Expected,
                  Printed <- [length([Line || Line <- Lines, lists:prefix(Start, Line)])],
                  Printed =/= Count],
    case Missing =:= [] orelse erlang:monotonic_time(millisecond) > Deadline of
        true -> Missing;
        false -> timer:sleep(20), wait_for(Expected, Deadline)
    end.

%% An output device that remembers. Source: stdlib's manual, "The Erlang I/O Protocol".
printer(Lines) ->
    receive
        {io_request, From, Reference, {put_chars, _, Module, Function, Arguments}} ->
            From ! {io_reply, Reference, ok},
            printer([lists:flatten(apply(Module, Function, Arguments)) | Lines]);
        {io_request, From, Reference, {put_chars, _, Text}} ->
            From ! {io_reply, Reference, ok},
            printer([unicode:characters_to_list(Text) | Lines]);
        {io_request, From, Reference, _} ->
            From ! {io_reply, Reference, {error, request}},
            printer(Lines);
        {printed, From} ->
            From ! {printed, Lines},
            printer(Lines)
    end.

%% Calls client/2 from several processes at once; returns the answers that were wrong.
-spec clients(inet:port_number()) -> [term()].
clients(Port) ->
    Self = self(),
    Share = ?CALLS div ?CLIENTS,
    Clients = [spawn_link(fun() -> Self ! {self(), [ask(Port) || _ <- lists:seq(1, Share)]} end)
               || _ <- lists:seq(1, ?CLIENTS)],
    lists:append([receive {Client, Answers} -> [A || A <- Answers, A =/= right] end
                  || Client <- Clients]).

%% {packet, 2} carries up to 65535 bytes; most messages are short.
ask(Port) ->
    Length = case rand:uniform(10) of
                 10 -> rand:uniform(65535);
                 _ -> rand:uniform(200)
             end,
    Message = binary_to_list(rand:bytes(Length)),
    case {client(Port, Message), lists:reverse(Message)} of
        {{ok, Answer}, Answer} -> right;
        {{ok, Other}, _} -> {wrong_answer, {sent, Length}, {received, length(Other)}};
        {Error, _} -> Error
    end.
