%% The same small measurements on `inet` and on the backend under test, in rounds that
%% alternate between the two: what disturbs the machine disturbs both. Each backend has
%% two nodes, a server and a client, and the code names no backend.
-module(demo_compare).

-export([run/2]).
%% On the nodes.
-export([serve/1, served/0, round_trips/2, bulk/2, idle_open/2, idle_close/0, memory/0]).

-export_type([row/0]).

-type row() :: {Name :: string(), Unit :: string(), [{demo_node:backend(), Median :: number(),
                                                      Lowest :: number(), Highest :: number()}]}.
-type pair() :: {demo_node:backend(), Server :: pid(), Client :: pid()}.

-define(ROUNDS, 5).
-define(ROUND_MS, 400).
-define(MESSAGE, 64).
-define(BLOCK, 65536).
-define(IDLE, 2000).
-define(IDLE_WARM_UP, 50).
-define(IDLE_ROUNDS, 2).

-spec run([pair()], file:filename()) -> [row()].
run(Pairs, Ebin) ->
    [measure("round trips, 64 bytes", "1/s", Pairs, fun measure_round_trips/3),
     measure("bulk, 64 KiB sends, default options", "MB/s", Pairs, fun measure_bulk/3)
     | measure_idle(Pairs, Ebin)].

%% The first round warms up: its numbers are dropped.
measure(Name, Unit, Pairs, Measure) ->
    [_ | Rounds] = [round_of(Name, Unit, Round, Pairs, Measure) || Round <- lists:seq(0, ?ROUNDS)],
    {Name, Unit, summary(Rounds)}.

round_of(Name, Unit, Round, Pairs, Measure) ->
    Results = [{Backend, Measure(Backend, Server, Client)}
               || {Backend, Server, Client} <- alternate(Round, Pairs)],
    io:format("      ~ts: ~ts~n", [Name, lists:join(", ", [told(Result, Unit) || Result <- lists:sort(Results)])]),
    Results.

told({Backend, {Value, _}}, Unit) -> told({Backend, Value}, Unit);
told({Backend, Value}, Unit) -> io_lib:format("~ts ~b ~ts", [Backend, round(Value), Unit]).

%% Neither backend is always the first.
alternate(Round, Pairs) when Round rem 2 =:= 0 -> Pairs;
alternate(_Round, Pairs) -> lists:reverse(Pairs).

summary(Rounds) ->
    Backends = lists:usort([Backend || {Backend, _} <- hd(Rounds)]),
    [begin
         Values = lists:sort([Value || Round <- Rounds, {B, Value} <- Round, B =:= Backend]),
         {Backend, lists:nth((length(Values) + 1) div 2, Values), hd(Values), lists:last(Values)}
     end || Backend <- Backends].

%%% The measurements

measure_round_trips(_Backend, Server, Client) ->
    against(echo, Server, Client, round_trips).

measure_bulk(_Backend, Server, Client) ->
    against(count, Server, Client, bulk).

against(Kind, Server, Client, Measurement) ->
    Port = demo_node:call(Server, ?MODULE, serve, [Kind]),
    Value = demo_node:call(Client, ?MODULE, Measurement, [Port, ?ROUND_MS]),
    ok = demo_node:call(Server, ?MODULE, served, []),
    Value.

%% Every round has new servers: what a node has once allocated it does not give back at
%% once, so that only the first connections show in the memory of its process.
measure_idle(Pairs, Ebin) ->
    Name = "memory of an idle connection",
    Rounds = [round_of(Name, "bytes", Round, Pairs,
                       fun(Backend, _Server, Client) -> measure_idle(Backend, Ebin, Client) end)
              || Round <- lists:seq(1, ?IDLE_ROUNDS)],
    [{Name ++ ", by erlang:memory/1", "bytes", summary(only(1, Rounds))},
     {Name ++ ", resident", "bytes", summary(only(2, Rounds))}].

only(Index, Rounds) ->
    [[{Backend, element(Index, Values)} || {Backend, Values} <- Round] || Round <- Rounds].

measure_idle(Backend, Ebin, Client) ->
    Server = demo_node:start_with_backend(Backend, Ebin),
    {_, _} = idle(Backend, Server, Client, ?IDLE_WARM_UP),
    Bytes = idle(Backend, Server, Client, ?IDLE),
    demo_node:stop(Server),
    Bytes.

%% Bytes a connection, of the VM and of the operating system's process.
idle(Backend, Server, Client, Count) ->
    Port = demo_node:call(Server, ?MODULE, serve, [{keep, Count}]),
    {Vm0, Resident0} = demo_node:call(Server, ?MODULE, memory, []),
    ok = demo_node:call(Client, ?MODULE, idle_open, [Port, Count]),
    ok = check_sockets(Backend, Server, Count),
    ok = check_sockets(Backend, Client, Count),
    {Vm1, Resident1} = demo_node:call(Server, ?MODULE, memory, []),
    ok = demo_node:call(Client, ?MODULE, idle_close, []),
    ok = demo_node:call(Server, ?MODULE, served, []),
    {(Vm1 - Vm0) / Count, (Resident1 - Resident0) / Count}.

%% What was measured was this backend: OTP counts the sockets of its own kinds.
check_sockets(Backend, Node, Count) ->
    case {Backend, demo_node:call(Node, demo_node, sockets, [])} of
        {inet, #{inet := Ports}} when Ports >= Count -> ok;
        {rs, #{inet := 0, socket := 0}} -> ok;
        {_, Sockets} -> {wrong_sockets, Backend, Sockets}
    end.

%%% Servers

%% A server for one measurement on any free port; it ends with its connections.
-spec serve(echo | count | {keep, pos_integer()}) -> inet:port_number().
serve(Kind) ->
    Self = self(),
    Server = spawn(fun() ->
                       {ok, Listener} = gen_tcp:listen(0, options(Kind)),
                       {ok, Port} = inet:port(Listener),
                       Self ! {self(), Port},
                       serve(Kind, Listener)
                   end),
    Monitor = monitor(process, Server),
    receive
        {Server, Port} ->
            demonitor(Monitor, [flush]),
            true = register(demo_server, Server),
            Port;
        {'DOWN', Monitor, process, Server, Reason} ->
            error(Reason)
    end.

%% Waits until the server has seen all its connections close.
-spec served() -> ok.
served() ->
    Monitor = monitor(process, demo_server),
    receive {'DOWN', Monitor, process, _, Reason} when Reason =:= normal; Reason =:= noproc -> ok end.

options(echo) -> [binary, {active, false}];
options(count) -> [binary];
options({keep, Count}) -> [binary, {active, once}, {backlog, Count}].

serve(echo, Listener) ->
    {ok, Socket} = gen_tcp:accept(Listener),
    echo(Socket);
serve(count, Listener) ->
    {ok, Socket} = gen_tcp:accept(Listener),
    count(Socket);
serve({keep, Count}, Listener) ->
    Sockets = [begin {ok, Socket} = gen_tcp:accept(Listener), Socket end
               || _ <- lists:seq(1, Count)],
    _ = [receive {tcp, Socket, Data} ->
             ok = inet:setopts(Socket, [{active, once}]),
             ok = gen_tcp:send(Socket, Data)
         end || Socket <- Sockets],
    _ = [receive {tcp_closed, Socket} -> ok end || Socket <- Sockets],
    ok.

echo(Socket) ->
    case gen_tcp:recv(Socket, 0) of
        {ok, Data} -> ok = gen_tcp:send(Socket, Data), echo(Socket);
        {error, closed} -> ok
    end.

%% The stream is zeros up to its last byte.
count(Socket) ->
    receive
        {tcp, Socket, Data} ->
            case binary:last(Data) of
                0 -> count(Socket);
                1 -> ok = gen_tcp:send(Socket, "done"), count(Socket)
            end;
        {tcp_closed, Socket} ->
            ok
    end.

%%% Clients

%% Round trips a second.
-spec round_trips(inet:port_number(), pos_integer()) -> float().
round_trips(Port, Milliseconds) ->
    {ok, Socket} = gen_tcp:connect({127, 0, 0, 1}, Port, [binary, {active, false}]),
    Start = erlang:monotonic_time(microsecond),
    {Count, End} = round_trips(Socket, binary:copy(<<1>>, ?MESSAGE), Start + Milliseconds * 1000, 0),
    ok = gen_tcp:close(Socket),
    Count * 1.0e6 / (End - Start).

round_trips(Socket, Message, Deadline, Count) ->
    ok = gen_tcp:send(Socket, Message),
    {ok, Message} = gen_tcp:recv(Socket, ?MESSAGE),
    case erlang:monotonic_time(microsecond) of
        Now when Now < Deadline -> round_trips(Socket, Message, Deadline, Count + 1);
        Now -> {Count + 1, Now}
    end.

%% Megabytes a second, from the first send until the receiver has said that it has all.
-spec bulk(inet:port_number(), pos_integer()) -> float().
bulk(Port, Milliseconds) ->
    {ok, Socket} = gen_tcp:connect({127, 0, 0, 1}, Port, [binary]),
    Start = erlang:monotonic_time(microsecond),
    Bytes = send_until(Socket, binary:copy(<<0>>, ?BLOCK), Start + Milliseconds * 1000, 0),
    ok = gen_tcp:send(Socket, <<1>>),
    receive {tcp, Socket, <<"done">>} -> ok end,
    End = erlang:monotonic_time(microsecond),
    ok = gen_tcp:close(Socket),
    Bytes / (End - Start).

send_until(Socket, Block, Deadline, Bytes) ->
    ok = gen_tcp:send(Socket, Block),
    case erlang:monotonic_time(microsecond) < Deadline of
        true -> send_until(Socket, Block, Deadline, Bytes + byte_size(Block));
        false -> Bytes + byte_size(Block)
    end.

%% Opens connections and has one message answered on each.
-spec idle_open(inet:port_number(), pos_integer()) -> ok.
idle_open(Port, Count) ->
    Self = self(),
    Owner = spawn_link(fun() ->
                           Sockets = [begin
                                          {ok, Socket} = gen_tcp:connect({127, 0, 0, 1}, Port,
                                                                         [binary, {active, false}]),
                                          Socket
                                      end || _ <- lists:seq(1, Count)],
                           Message = binary:copy(<<1>>, 100),
                           _ = [ok = gen_tcp:send(Socket, Message) || Socket <- Sockets],
                           _ = [{ok, Message} = gen_tcp:recv(Socket, 100) || Socket <- Sockets],
                           unlink(Self),
                           Self ! {self(), open},
                           receive close -> ok end
                       end),
    true = register(demo_idle, Owner),
    receive {Owner, open} -> ok end.

%% The owner's end closes them.
-spec idle_close() -> ok.
idle_close() ->
    Monitor = monitor(process, demo_idle),
    demo_idle ! close,
    receive {'DOWN', Monitor, process, _, normal} -> ok end.

%% Bytes in use: what the VM has allocated, and what the process has resident, which counts
%% the native library too. Source: proc(5).
-spec memory() -> {pos_integer(), pos_integer()}.
memory() ->
    _ = [garbage_collect(Pid) || Pid <- processes()],
    {ok, Statm} = file:read_file("/proc/self/statm"),
    [_, Resident | _] = binary:split(Statm, <<" ">>, [global]),
    {erlang:memory(total), binary_to_integer(Resident) * 4096}.
