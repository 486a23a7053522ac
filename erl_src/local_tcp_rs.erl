%% The {tcp_module, local_tcp_rs} door: Unix-domain stream sockets of gen_tcp_rs.
%% What inet_tcp_rs says about itself holds here as well. An address is
%% {local, Path}, the port 0; no name is ever looked up.
-module(local_tcp_rs).

-export([family/0, translate_ip/1]).
-export([getserv/1, getaddr/1, getaddr/2, getaddrs/1, getaddrs/2]).
-export([connect/3, connect/4, listen/2, fdopen/2]).
-export([accept/1, accept/2, send/2, send/3, recv/2, recv/3, unrecv/2]).
-export([shutdown/2, close/1, controlling_process/2]).

%%% Addresses and services

-spec family() -> local.
family() -> local.

-spec translate_ip(any | loopback | term()) -> term().
translate_ip(any) -> undefined;
translate_ip(loopback) -> {local, <<>>};
translate_ip(Address) -> Address.

-spec getserv(0) -> {ok, 0}.
getserv(0) -> {ok, 0}.

-spec getaddr(inet:local_address()) -> {ok, inet:local_address()}.
getaddr({local, _Path} = Address) -> {ok, Address}.

-spec getaddr(inet:local_address(), false | reference()) -> {ok, inet:local_address()}.
getaddr(Address, _Timer) -> getaddr(Address).

-spec getaddrs(inet:local_address()) -> {ok, [inet:local_address()]}.
getaddrs({local, _Path} = Address) -> {ok, [Address]}.

-spec getaddrs(inet:local_address(), false | reference()) -> {ok, [inet:local_address()]}.
getaddrs(Address, _Timer) -> getaddrs(Address).

%%% Making sockets

-spec connect(inet:local_address(), 0, list()) -> {ok, inet:socket()} | {error, term()}.
connect(Address, Port, Options) -> connect(Address, Port, Options, infinity).

-spec connect(inet:local_address(), 0, list(), timeout()) ->
          {ok, inet:socket()} | {error, term()}.
connect({local, _Path} = Address, 0, Options, Timeout) ->
    gen_tcp_rs_open:connect_address(local, Address, 0, Options, Timeout).

-spec listen(0, list()) -> {ok, inet:socket()} | {error, term()}.
listen(0, Options) -> gen_tcp_rs_open:listen_family(local, 0, Options).

-spec fdopen(non_neg_integer(), list()) -> {ok, inet:socket()} | {error, term()}.
fdopen(Fd, Options) -> gen_tcp_rs_open:fdopen_family(local, Fd, Options).

%%% Using them

-spec accept(inet:socket()) -> {ok, inet:socket()} | {error, term()}.
accept(Socket) -> gen_tcp_rs:accept(Socket, infinity).

-spec accept(inet:socket(), timeout()) -> {ok, inet:socket()} | {error, term()}.
accept(Socket, Timeout) -> gen_tcp_rs:accept(Socket, Timeout).

-spec send(inet:socket(), iodata()) -> ok | {error, term()}.
send(Socket, Data) -> gen_tcp_rs:send(Socket, Data).

%% As in inet_tcp_rs, no busy port: nothing to force; nowait is ours.
-spec send(inet:socket(), iodata(), list()) -> ok | {error, term()}.
send(Socket, Data, Options) ->
    gen_tcp_rs:send(Socket, Data, [nowait || lists:member(nowait, Options)]).

-spec recv(inet:socket(), non_neg_integer()) -> {ok, term()} | {error, term()}.
recv(Socket, Length) -> gen_tcp_rs:recv(Socket, Length, infinity).

-spec recv(inet:socket(), non_neg_integer(), timeout()) -> {ok, term()} | {error, term()}.
recv(Socket, Length, Timeout) -> gen_tcp_rs:recv(Socket, Length, Timeout).

-spec unrecv(inet:socket(), iodata()) -> ok | {error, term()}.
unrecv(Socket, Data) -> gen_tcp_rs:unrecv(Socket, Data).

-spec shutdown(inet:socket(), read | write | read_write) -> ok | {error, term()}.
shutdown(Socket, How) -> gen_tcp_rs:shutdown(Socket, How).

-spec close(inet:socket()) -> ok.
close(Socket) -> gen_tcp_rs:close(Socket).

-spec controlling_process(inet:socket(), pid()) -> ok | {error, term()}.
controlling_process(Socket, Owner) -> gen_tcp_rs:controlling_process(Socket, Owner).
