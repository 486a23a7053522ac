%% The carrier `-proto_dist rs_tcp`: Erlang's distribution over IPv4 on sockets of
%% gen_tcp_rs. It speaks the protocol of inet_tcp_dist: nodes of both kinds form one
%% cluster. docs/distribution.md says how to use it; gen_tcp_rs_dist does it.
-module(rs_tcp_dist).

-export([listen/1, listen/2, accept/1, accept_connection/5, setup/5, close/1]).
-export([select/1, address/0, is_node_name/1, setopts/2, getopts/2]).

-include_lib("kernel/include/net_address.hrl").

-spec listen(atom()) -> {ok, {gen_tcp_rs:socket(), #net_address{}, integer()}} | {error, term()}.
listen(Name) ->
    {ok, Host} = inet:gethostname(),
    listen(Name, Host).

-spec listen(atom(), string()) ->
          {ok, {gen_tcp_rs:socket(), #net_address{}, integer()}} | {error, term()}.
listen(Name, Host) -> gen_tcp_rs_dist:listen(inet, Name, Host).

-spec accept(gen_tcp_rs:socket()) -> pid().
accept(Listen) -> gen_tcp_rs_dist:accept(inet, Listen).

-spec accept_connection(pid(), gen_tcp_rs:socket(), node(), list(), non_neg_integer()) -> pid().
accept_connection(Acceptor, Socket, MyNode, Allowed, SetupTime) ->
    gen_tcp_rs_dist:accept_connection(inet, Acceptor, Socket, MyNode, Allowed, SetupTime).

-spec setup(node(), term(), node(), longnames | shortnames, non_neg_integer()) -> pid().
setup(Node, Type, MyNode, Names, SetupTime) ->
    gen_tcp_rs_dist:setup(inet, Node, Type, MyNode, Names, SetupTime).

-spec close(gen_tcp_rs:socket()) -> ok.
close(Listen) -> gen_tcp_rs:close(Listen).

-spec select(node()) -> boolean().
select(Node) -> gen_tcp_rs_dist:select(inet, Node).

-spec address() -> #net_address{}.
address() -> gen_tcp_rs_dist:address(inet).

-spec is_node_name(term()) -> boolean().
is_node_name(Node) -> gen_tcp_rs_dist:is_node_name(Node).

-spec setopts(gen_tcp_rs:socket(), list()) -> ok | {error, term()}.
setopts(Socket, Options) -> gen_tcp_rs_dist:setopts(Socket, Options).

-spec getopts(gen_tcp_rs:socket(), list()) -> {ok, list()} | {error, term()}.
getopts(Socket, Names) -> gen_tcp_rs:getopts(Socket, Names).
