%% Connections come and go: each is opened by the client, accepted and closed by the server, and closed by the client.
-module(bench_connect).

-behaviour(bench_workload).

-export([serve/2, open/4, prepare/2, run/3, shut/1]).

-record(client, {workers}).

%% Arguments: acceptors, clients.
-spec serve(bench_socket:backend(), bench_workload:arguments()) -> {inet:port_number(), fun(() -> ok | {error, term()})}.
serve(Backend, #{acceptors := Acceptors}) ->
    bench_server:start_accepting(Backend, [], Acceptors, fun(Socket) -> bench_socket:close(Backend, Socket) end).

-spec open(bench_socket:backend(), inet:ip4_address(), inet:port_number(), bench_workload:arguments()) -> #client{}.
open(Backend, Address, Port, #{clients := Clients}) ->
    #client{workers = bench_workers:start(Clients, fun() -> {Backend, Address, Port} end)}.

-spec prepare(bench_workload:arguments(), #client{}) -> #client{}.
prepare(_Row, Client) ->
    Client.

-spec run(bench_workload:arguments(), pos_integer(), #client{}) -> {bench_workload:result(), #client{}}.
run(_Row, Milliseconds, #client{workers = Workers} = Client) ->
    Step = fun({Backend, Address, Port} = State) ->
               Socket = bench_socket:connect(Backend, Address, Port, []),
               %% The server has accepted it, and closed.
               {error, closed} = bench_socket:recv(Backend, Socket, 0),
               ok = bench_socket:close(Backend, Socket),
               State
           end,
    {bench_workers:run(Workers, Step, Milliseconds), Client}.

-spec shut(#client{}) -> ok.
shut(#client{workers = Workers}) ->
    bench_workers:stop(Workers).
