%% The {tcp_module, inet_tcp_rs} door: gen_tcp asks this module, instead of
%% inet_tcp, for names, services and IPv4 sockets. It needs no overlay.
%%
%% The sockets it makes are {'$inet', gen_tcp_rs, _}; gen_tcp and inet send every
%% later call on them straight to gen_tcp_rs. The socket functions below are
%% there for callers that, as OTP's distribution code does, stay with the module.
-module(inet_tcp_rs).

-export([family/0, mask/2, parse_address/1, translate_ip/1]).
-export([getserv/1, getaddr/1, getaddr/2, getaddrs/1, getaddrs/2]).
-export([connect/3, connect/4, listen/2, fdopen/2]).
-export([accept/1, accept/2, send/2, send/3, recv/2, recv/3, unrecv/2]).
-export([shutdown/2, close/1, controlling_process/2]).

-define(IS_PORT_NUMBER(Port), is_integer(Port), Port >= 0, Port =< 65535).

%%% Addresses and services

-spec family() -> inet.
family() -> inet.

-spec mask(inet:ip4_address(), inet:ip4_address()) -> inet:ip4_address().
mask({MaskA, MaskB, MaskC, MaskD}, {A, B, C, D}) ->
    {MaskA band A, MaskB band B, MaskC band C, MaskD band D}.

-spec parse_address(string()) -> {ok, inet:ip4_address()} | {error, einval}.
parse_address(Host) -> inet:parse_ipv4strict_address(Host).

-spec translate_ip(any | loopback | term()) -> term().
translate_ip(Address) -> inet:translate_ip(Address, inet).

-spec getserv(inet:port_number() | atom()) -> {ok, inet:port_number()} | {error, inet:posix()}.
getserv(Port) when is_integer(Port) -> {ok, Port};
getserv(Service) when is_atom(Service) -> inet:getservbyname(Service, tcp).

-spec getaddr(inet:ip_address() | inet:hostname()) ->
          {ok, inet:ip_address()} | {error, inet:posix()}.
getaddr(Address) -> inet:getaddr(Address, family_of(Address)).

-spec getaddr(inet:ip_address() | inet:hostname(), false | reference()) ->
          {ok, inet:ip_address()} | {error, inet:posix()}.
getaddr(Address, Timer) -> inet:getaddr_tm(Address, family_of(Address), Timer).

-spec getaddrs(inet:ip_address() | inet:hostname()) ->
          {ok, [inet:ip_address()]} | {error, inet:posix()}.
getaddrs(Address) -> inet:getaddrs(Address, family_of(Address)).

-spec getaddrs(inet:ip_address() | inet:hostname(), false | reference()) ->
          {ok, [inet:ip_address()]} | {error, inet:posix()}.
getaddrs(Address, Timer) -> inet:getaddrs_tm(Address, family_of(Address), Timer).

%%% Making sockets

-spec connect(inet:ip_address(), inet:port_number(), list()) ->
          {ok, inet:socket()} | {error, term()};
             (map(), list(), timeout()) -> {ok, inet:socket()} | {error, term()}.
connect(#{family := Family} = SockAddr, Options, Timeout) when is_list(Options) ->
    gen_tcp_rs_open:connect_address(family_of_sockaddr(Family), SockAddr, Options, Timeout);
connect(Address, Port, Options) when is_list(Options) ->
    connect(Address, Port, Options, infinity).

-spec connect(inet:ip_address(), inet:port_number(), list(), timeout()) ->
          {ok, inet:socket()} | {error, term()}.
connect(Address, Port, Options, Timeout) when ?IS_PORT_NUMBER(Port) ->
    Family = family_of(Address),
    case gen_tcp_rs_backend:serves_caller() of
        true -> gen_tcp_rs_open:connect_address(Family, Address, Port, Options, Timeout);
        false -> (stock_module(Family)):connect(Address, Port, Options, Timeout)
    end.

%% As the default of a node this module is asked by `peer` too, which can't use it.
-spec listen(inet:port_number(), list()) -> {ok, inet:socket()} | {error, term()}.
listen(Port, Options) ->
    Family = family_of(bound_address(Options)),
    case gen_tcp_rs_backend:serves_caller() of
        true -> gen_tcp_rs_open:listen_family(Family, Port, Options);
        false -> (stock_module(Family)):listen(Port, Options)
    end.

-spec fdopen(non_neg_integer(), list()) -> {ok, inet:socket()} | {error, term()}.
fdopen(Fd, Options) -> gen_tcp_rs_open:fdopen_family(inet, Fd, Options).

%%% Using them

-spec accept(inet:socket()) -> {ok, inet:socket()} | {error, term()}.
accept(Socket) -> gen_tcp_rs:accept(Socket, infinity).

-spec accept(inet:socket(), timeout()) -> {ok, inet:socket()} | {error, term()}.
accept(Socket, Timeout) -> gen_tcp_rs:accept(Socket, Timeout).

-spec send(inet:socket(), iodata()) -> ok | {error, term()}.
send(Socket, Data) -> gen_tcp_rs:send(Socket, Data).

%% `force` speaks of a port's busy flag, which these sockets lack; nowait is ours.
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

%%% The family

%% OTP hands IPv6 addresses to inet6_tcp only while the node's default module is
%% inet_tcp itself. As the default of a node (`{tcp, inet_tcp_rs}` in the inetrc
%% file) this module must therefore do as much; merely named in `{tcp_module, _}`
%% it refuses them, as inet_tcp would.
-spec family_of(term()) -> inet | inet6.
family_of(Address) when tuple_size(Address) =:= 8 -> family_of_sockaddr(inet6);
family_of(#{family := Family}) -> family_of_sockaddr(Family);
family_of(_Address) -> inet.

-spec family_of_sockaddr(term()) -> inet | inet6.
family_of_sockaddr(inet6) ->
    case inet_db:tcp_module() of
        ?MODULE -> inet6;
        _Other -> inet
    end;
family_of_sockaddr(_Family) ->
    inet.

-spec bound_address(list()) -> term().
bound_address(Options) ->
    lists:foldl(fun({Name, Address}, _Previous) when Name =:= ip; Name =:= ifaddr -> Address;
                   (_Option, Previous) -> Previous
                end, any, Options).

-spec stock_module(inet | inet6) -> module().
stock_module(inet) -> inet_tcp;
stock_module(inet6) -> inet6_tcp.
