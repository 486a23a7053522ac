%% The same few operations on every backend: those of gen_tcp, and `raw`, OTP's module socket
%% used directly, for rows that need neither framing nor active mode.
-module(bench_socket).

-export([listen/2, port/2, accept/2, connect/4, hand_over/3, send/3, recv/3, setopts/3, close/2]).

-export_type([backend/0, listener/0, socket/0]).

-type backend() :: inet | socket | rs | raw.
-type socket() :: gen_tcp:socket() | socket:socket().
-type listener() :: socket().

-define(BACKLOG, 4096).

%% Binary and passive, on any free port of all addresses.
-spec listen(backend(), [gen_tcp:listen_option()]) -> listener().
listen(raw, []) ->
    {ok, Listener} = socket:open(inet, stream, tcp),
    ok = socket:setopt(Listener, {socket, reuseaddr}, true),
    ok = socket:bind(Listener, #{family => inet, addr => any, port => 0}),
    ok = socket:listen(Listener, ?BACKLOG),
    Listener;
listen(Backend, Options) ->
    {ok, Listener} = gen_tcp:listen(0, options(Backend, [{reuseaddr, true}, {backlog, ?BACKLOG} | Options])),
    Listener.

-spec port(backend(), listener()) -> inet:port_number().
port(raw, Listener) ->
    {ok, #{port := Port}} = socket:sockname(Listener),
    Port;
port(_Backend, Listener) ->
    {ok, Port} = inet:port(Listener),
    Port.

-spec accept(backend(), listener()) -> {ok, socket()} | {error, term()}.
accept(raw, Listener) -> socket:accept(Listener);
accept(_Backend, Listener) -> gen_tcp:accept(Listener).

-spec connect(backend(), inet:ip4_address(), inet:port_number(), [gen_tcp:connect_option()]) -> socket().
connect(raw, Address, Port, []) ->
    {ok, Socket} = socket:open(inet, stream, tcp),
    ok = socket:connect(Socket, #{family => inet, addr => Address, port => Port}),
    Socket;
connect(Backend, Address, Port, Options) ->
    {ok, Socket} = gen_tcp:connect(Address, Port, options(Backend, Options)),
    Socket.

options(Backend, Options) ->
    [{inet_backend, Backend}, binary, {active, false} | Options].

-spec hand_over(backend(), socket(), pid()) -> ok.
hand_over(raw, Socket, Pid) -> ok = socket:setopt(Socket, {otp, controlling_process}, Pid);
hand_over(_Backend, Socket, Pid) -> ok = gen_tcp:controlling_process(Socket, Pid).

-spec send(backend(), socket(), iodata()) -> ok | {error, term()}.
send(raw, Socket, Data) -> socket:send(Socket, Data);
send(_Backend, Socket, Data) -> gen_tcp:send(Socket, Data).

-spec recv(backend(), socket(), non_neg_integer()) -> {ok, term()} | {error, term()}.
recv(raw, Socket, Length) -> socket:recv(Socket, Length);
recv(_Backend, Socket, Length) -> gen_tcp:recv(Socket, Length).

%% Nothing on a raw one.
-spec setopts(backend(), socket(), [gen_tcp:option()]) -> ok.
setopts(raw, _Socket, _Options) -> ok;
setopts(_Backend, Socket, Options) -> ok = inet:setopts(Socket, Options).

-spec close(backend(), socket()) -> ok.
close(raw, Socket) -> _ = socket:close(Socket), ok;
close(_Backend, Socket) -> gen_tcp:close(Socket).
