%% A message of 64 bytes goes out and comes back, on any number of connections, each with its process at both ends. The
%% modes take turns on the same connections: a message whose first byte is not 0 asks the server to change.
-module(bench_pingpong).

-behaviour(bench_workload).

-export([serve/2, open/4, prepare/2, run/3, shut/1]).

-record(client, {backend, address, port, workers = []}).
%% One connection of the client.
-record(connection, {backend, socket, mode = passive}).

-define(SIZE, 64).
-define(ACCEPTORS, 4).

-spec serve(bench_socket:backend(), bench_workload:arguments()) -> {inet:port_number(), fun(() -> ok | {error, term()})}.
serve(Backend, _Arguments) ->
    bench_server:start(Backend, [], ?ACCEPTORS, fun(Socket) -> echo(passive, Backend, Socket) end).

%%% The server's end of a connection

echo(Mode, Backend, Socket) ->
    ok = arm(Mode, Backend, Socket),
    case take(Mode, Backend, Socket) of
        {ok, <<0, _/binary>> = Message} ->
            ok = bench_socket:send(Backend, Socket, Message),
            echo(Mode, Backend, Socket);
        {ok, <<Code, _/binary>> = Message} ->
            %% The answer tells the client that it may change too: nothing may be in flight.
            ok = bench_socket:setopts(Backend, Socket, [{active, false}]),
            ok = bench_socket:send(Backend, Socket, Message),
            ok = bench_socket:setopts(Backend, Socket, settings(mode(Code))),
            echo(mode(Code), Backend, Socket);
        {error, closed} ->
            ok
    end.

%%% Both ends

mode(1) -> passive;
mode(2) -> once;
mode(3) -> true;
mode(4) -> packet4.

code(passive) -> 1;
code(once) -> 2;
code(true) -> 3;
code(packet4) -> 4.

settings(passive) -> [{packet, raw}];
settings(once) -> [{packet, raw}];
settings(true) -> [{packet, raw}, {active, true}];
settings(packet4) -> [{packet, 4}].

arm(once, Backend, Socket) -> bench_socket:setopts(Backend, Socket, [{active, once}]);
arm(_Mode, _Backend, _Socket) -> ok.

take(Mode, _Backend, Socket) when Mode =:= once; Mode =:= true ->
    receive
        {tcp, Socket, Message} -> {ok, Message};
        {tcp_closed, Socket} -> {error, closed};
        {tcp_error, Socket, Reason} -> {error, Reason}
    end;
take(_Passive, Backend, Socket) ->
    bench_socket:recv(Backend, Socket, 0).

%%% The client

-spec open(bench_socket:backend(), inet:ip4_address(), inet:port_number(), bench_workload:arguments()) -> #client{}.
open(Backend, Address, Port, _Arguments) ->
    #client{backend = Backend, address = Address, port = Port}.

%% `connections` are open, of which `busy` ones are in the row's mode.
-spec prepare(bench_workload:arguments(), #client{}) -> #client{}.
prepare(#{mode := Mode, connections := Connections, busy := Busy}, #client{workers = Old} = Client) ->
    #client{backend = Backend, address = Address, port = Port} = Client,
    New = bench_workers:start(Connections - length(Old),
                              fun() ->
                                  #connection{backend = Backend, socket = bench_socket:connect(Backend, Address, Port, [])}
                              end),
    Workers = Old ++ New,
    ok = bench_workers:tell(lists:sublist(Workers, Busy), fun(Connection) -> change(Mode, Connection) end),
    Client#client{workers = Workers}.

change(Mode, #connection{mode = Mode} = Connection) ->
    Connection;
change(Mode, #connection{backend = Backend, socket = Socket, mode = Old} = Connection) ->
    Message = <<(code(Mode)), 0:((?SIZE - 1) * 8)>>,
    ok = arm(Old, Backend, Socket),
    ok = bench_socket:send(Backend, Socket, Message),
    {ok, Message} = take(Old, Backend, Socket),
    ok = bench_socket:setopts(Backend, Socket, [{active, false}]),
    ok = bench_socket:setopts(Backend, Socket, settings(Mode)),
    Connection#connection{mode = Mode}.

-spec run(bench_workload:arguments(), pos_integer(), #client{}) -> {bench_workload:result(), #client{}}.
run(#{busy := Busy}, Milliseconds, #client{workers = Workers} = Client) ->
    Message = <<0, (binary:copy(<<"ping">>, ?SIZE div 4 - 1))/binary, "end">>,
    Step = fun(#connection{backend = Backend, socket = Socket, mode = Mode} = Connection) ->
               ok = arm(Mode, Backend, Socket),
               ok = bench_socket:send(Backend, Socket, Message),
               {ok, Message} = take(Mode, Backend, Socket),
               Connection
           end,
    {bench_workers:run(lists:sublist(Workers, Busy), Step, Milliseconds), Client}.

-spec shut(#client{}) -> ok.
shut(#client{workers = Workers}) ->
    bench_workers:stop(Workers).
