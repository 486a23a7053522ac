%% The {tcp_module, inet6_tcp_rs} door: IPv6 as inet6_tcp does it, on sockets of
%% gen_tcp_rs. What inet_tcp_rs says about itself holds here as well.
-module(inet6_tcp_rs).

-export([family/0, mask/2, parse_address/1, translate_ip/1]).
-export([getserv/1, getaddr/1, getaddr/2, getaddrs/1, getaddrs/2]).
-export([connect/3, connect/4, listen/2, fdopen/2]).
-export([accept/1, accept/2, send/2, send/3, recv/2, recv/3, unrecv/2]).
-export([shutdown/2, close/1, controlling_process/2]).

-define(IS_PORT_NUMBER(Port), is_integer(Port), Port >= 0, Port =< 65535).

%%% Addresses and services

-spec family() -> inet6.
family() -> inet6.

-spec mask(inet:ip6_address(), inet:ip6_address()) -> inet:ip6_address().
mask({MaskA, MaskB, MaskC, MaskD, MaskE, MaskF, MaskG, MaskH}, {A, B, C, D, E, F, G, H}) ->
    {MaskA band A, MaskB band B, MaskC band C, MaskD band D,
     MaskE band E, MaskF band F, MaskG band G, MaskH band H}.

-spec parse_address(string()) -> {ok, inet:ip6_address()} | {error, einval}.
parse_address(Host) -> inet:parse_ipv6strict_address(Host).

-spec translate_ip(any | loopback | term()) -> term().
translate_ip(Address) -> inet:translate_ip(Address, inet6).

-spec getserv(inet:port_number() | atom()) -> {ok, inet:port_number()} | {error, inet:posix()}.
getserv(Port) when is_integer(Port) -> {ok, Port};
getserv(Service) when is_atom(Service) -> inet:getservbyname(Service, tcp).

-spec getaddr(inet:ip_address() | inet:hostname()) ->
          {ok, inet:ip_address()} | {error, inet:posix()}.
getaddr(Address) -> inet:getaddr(Address, inet6).

-spec getaddr(inet:ip_address() | inet:hostname(), false | reference()) ->
          {ok, inet:ip_address()} | {error, inet:posix()}.
getaddr(Address, Timer) -> inet:getaddr_tm(Address, inet6, Timer).

-spec getaddrs(inet:ip_address() | inet:hostname()) ->
          {ok, [inet:ip_address()]} | {error, inet:posix()}.
getaddrs(Address) -> inet:getaddrs(Address, inet6).

-spec getaddrs(inet:ip_address() | inet:hostname(), false | reference()) ->
          {ok, [inet:ip_address()]} | {error, inet:posix()}.
getaddrs(Address, Timer) -> inet:getaddrs_tm(Address, inet6, Timer).

%%% Making sockets

-spec connect(inet:ip_address(), inet:port_number(), list()) ->
          {ok, inet:socket()} | {error, term()};
             (map(), list(), timeout()) -> {ok, inet:socket()} | {error, term()}.
connect(SockAddr, Options, Timeout) when is_map(SockAddr), is_list(Options) ->
    gen_tcp_rs_open:connect_address(inet6, SockAddr, Options, Timeout);
connect(Address, Port, Options) when is_list(Options) ->
    connect(Address, Port, Options, infinity).

-spec connect(inet:ip_address(), inet:port_number(), list(), timeout()) ->
          {ok, inet:socket()} | {error, term()}.
connect(Address, Port, Options, Timeout) when ?IS_PORT_NUMBER(Port) ->
    gen_tcp_rs_open:connect_address(inet6, Address, Port, Options, Timeout).

-spec listen(inet:port_number(), list()) -> {ok, inet:socket()} | {error, term()}.
listen(Port, Options) -> gen_tcp_rs_open:listen_family(inet6, Port, Options).

-spec fdopen(non_neg_integer(), list()) -> {ok, inet:socket()} | {error, term()}.
fdopen(Fd, Options) -> gen_tcp_rs_open:fdopen_family(inet6, Fd, Options).

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
