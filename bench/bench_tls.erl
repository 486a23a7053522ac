%% TLS by OTP's ssl over a connection of each backend: blocks of 64 KiB one way, and handshakes.
-module(bench_tls).

-behaviour(bench_workload).

-export([serve/2, open/4, prepare/2, run/3, shut/1]).

-record(client, {backend, address, port, kind, socket}).

-define(BLOCK, 65536).
-define(KEY, {key, {namedCurve, secp256r1}}).
-define(DIGEST, {digest, sha256}).

%% Arguments: kind (bulk or handshakes).
-spec serve(bench_socket:backend(), bench_workload:arguments()) -> {inet:port_number(), fun(() -> ok | {error, term()})}.
serve(Backend, #{kind := Kind}) ->
    {ok, _} = application:ensure_all_started(ssl),
    Chain = #{root => [?KEY, ?DIGEST], intermediates => [], peer => [?KEY, ?DIGEST]},
    #{server_config := Config} = public_key:pkix_test_data(#{server_chain => Chain, client_chain => Chain}),
    bench_server:start(Backend, [], 2,
                       fun(Socket) ->
                           {ok, Tls} = ssl:handshake(Socket, [{verify, verify_none} | Config]),
                           serve_tls(Kind, Tls)
                       end).

serve_tls(handshakes, Tls) ->
    %% The client checks it; it may close before this call returns.
    _ = ssl:send(Tls, <<"done">>),
    {error, closed} = ssl:recv(Tls, 0),
    ok;
serve_tls(bulk, Tls) ->
    ok = ssl:setopts(Tls, [{active, true}]),
    count(Tls, 0).

%% A stream of zeros ends with a one.
count(Tls, Bytes) ->
    receive
        {ssl, Tls, Data} ->
            case binary:last(Data) of
                0 -> count(Tls, Bytes + byte_size(Data));
                1 -> ok = ssl:send(Tls, <<(Bytes + byte_size(Data)):64>>), count(Tls, 0)
            end;
        {ssl_closed, Tls} ->
            ok
    end.

-spec open(bench_socket:backend(), inet:ip4_address(), inet:port_number(), bench_workload:arguments()) -> #client{}.
open(Backend, Address, Port, #{kind := Kind}) ->
    {ok, _} = application:ensure_all_started(ssl),
    Client = #client{backend = Backend, address = Address, port = Port, kind = Kind},
    case Kind of
        bulk -> Client#client{socket = connect(Client)};
        handshakes -> Client
    end.

connect(#client{backend = Backend, address = Address, port = Port}) ->
    Socket = bench_socket:connect(Backend, Address, Port, []),
    {ok, Tls} = ssl:connect(Socket, [{verify, verify_none}, {active, false}, {mode, binary}]),
    Tls.

-spec prepare(bench_workload:arguments(), #client{}) -> #client{}.
prepare(_Row, Client) ->
    Client.

-spec run(bench_workload:arguments(), pos_integer(), #client{}) -> {bench_workload:result(), #client{}}.
run(_Row, Milliseconds, #client{kind = Kind} = Client) ->
    Latencies = bench_latency:new(),
    Start = erlang:monotonic_time(nanosecond),
    Step = case Kind of
               bulk ->
                   Block = <<0:(?BLOCK * 8)>>,
                   fun() -> ok = ssl:send(Client#client.socket, Block) end;
               handshakes ->
                   fun() ->
                       Tls = connect(Client),
                       %% Both ends are through.
                       {ok, <<"done">>} = ssl:recv(Tls, 4),
                       ok = ssl:close(Tls)
                   end
           end,
    Done = repeat(Step, Start + Milliseconds * 1000000, Latencies, 0, Start),
    ok = arrived(Kind, Client, Done),
    {#{ops => Done, ns => erlang:monotonic_time(nanosecond) - Start, latencies => Latencies}, Client}.

repeat(Step, Deadline, Latencies, Done, Start) ->
    _ = Step(),
    Now = erlang:monotonic_time(nanosecond),
    ok = bench_latency:record(Latencies, Now - Start),
    case Now < Deadline of
        true -> repeat(Step, Deadline, Latencies, Done + 1, Now);
        false -> Done + 1
    end.

arrived(handshakes, _Client, _Done) ->
    ok;
arrived(bulk, #client{socket = Tls}, Done) ->
    ok = ssl:send(Tls, <<1>>),
    {ok, <<Bytes:64>>} = ssl:recv(Tls, 8),
    Bytes = Done * ?BLOCK + 1,
    ok.

-spec shut(#client{}) -> ok.
shut(#client{socket = undefined}) -> ok;
shut(#client{socket = Tls}) -> ssl:close(Tls).
