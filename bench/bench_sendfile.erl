%% file:sendfile/5 of a gigabyte to one connection, whose receiver takes it by recv(S, 65536). An operation is one file.
-module(bench_sendfile).

-behaviour(bench_workload).

-export([serve/2, open/4, prepare/2, run/3, shut/1]).

-record(client, {backend, socket, file}).

-define(NAME, "_build/bench/gigabyte").
-define(SIZE, 1073741824).
%% To warm up.
-define(PART, 67108864).

-spec serve(bench_socket:backend(), bench_workload:arguments()) -> {inet:port_number(), fun(() -> ok | {error, term()})}.
serve(Backend, _Arguments) ->
    bench_server:start(Backend, [], 1, fun(Socket) -> bench_stream:receive_all(Backend, Socket, {recv, 65536}, blocks) end).

%% The file stays for the next time.
-spec open(bench_socket:backend(), inet:ip4_address(), inet:port_number(), bench_workload:arguments()) -> #client{}.
open(Backend, Address, Port, _Arguments) ->
    case filelib:file_size(?NAME) of
        ?SIZE -> ok;
        _ -> write()
    end,
    {ok, File} = file:open(?NAME, [read, raw, binary]),
    #client{backend = Backend, socket = bench_socket:connect(Backend, Address, Port, []), file = File}.

write() ->
    {{Block}, Last} = bench_stream:pieces(blocks, #{shape => binary}),
    Blocks = ?SIZE div byte_size(Block),
    {ok, File} = file:open(?NAME, [write, raw, binary]),
    _ = [ok = file:write(File, Block) || _ <- lists:seq(2, Blocks)],
    ok = file:write(File, Last),
    file:close(File).

-spec prepare(bench_workload:arguments(), #client{}) -> #client{}.
prepare(_Row, Client) ->
    Client.

%% A short time asks for a part only. The factor of the row is a gigabyte.
-spec run(bench_workload:arguments(), pos_integer(), #client{}) -> {bench_workload:result(), #client{}}.
run(_Row, Milliseconds, #client{backend = Backend, socket = Socket, file = File} = Client) ->
    Bytes = case Milliseconds < 200 of true -> ?PART; false -> ?SIZE end,
    Start = erlang:monotonic_time(nanosecond),
    {ok, Bytes} = file:sendfile(File, Socket, ?SIZE - Bytes, Bytes, []),
    {ok, <<Bytes:64>>} = bench_socket:recv(Backend, Socket, 8),
    {#{ops => 1, ns => erlang:monotonic_time(nanosecond) - Start}, Client}.

-spec shut(#client{}) -> ok.
shut(#client{backend = Backend, socket = Socket, file = File}) ->
    ok = file:close(File),
    bench_socket:close(Backend, Socket).
