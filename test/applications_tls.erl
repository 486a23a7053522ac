%% What applications_SUITE has a node do over TLS. Each function returns what must be the
%% same on every backend; the sockets are the node's default, or whatever Door says.
-module(applications_tls).

-export([takes_option/0, transfer/3, renegotiate/2, closes/2, active_modes/2, upgrade/1]).

%% default   what the node's default is
%% option    {inet_backend, rs} in the options of ssl
%% module    {tcp_module, inet_tcp_rs} in them
%% callback  gen_tcp_rs as the transport, by cb_info
-type door() :: default | option | module | callback.

-define(LOOPBACK, {127, 0, 0, 1}).
-define(DEADLINE, 60000).
-define(BLOCK, 65536).

%% Whether this release's ssl hands {inet_backend, _} on.
-spec takes_option() -> boolean().
takes_option() ->
    try ssl:listen(0, [{inet_backend, inet}, {ip, ?LOOPBACK}]) of
        {ok, Listener} -> ok =:= ssl:close(Listener);
        {error, _Reason} -> false
    catch
        exit:badarg -> false
    end.

%% Bytes each way at once, in pieces of every size, with a running hash at each of the
%% four ends; the client reads with {active, 10}, the server with recv.
-spec transfer(door(), ssl:tls_version(), pos_integer()) -> term().
transfer(Door, Version, Bytes) ->
    {Client, Server} = pair(Door, Version),
    Results = both_ways(Client, Server, Bytes, fun() -> ok end),
    ok = ssl:close(Client),
    {Results, wait_closed(Server)}.

%% The same with the keys changed meanwhile. (A server of TLS 1.2 takes part in a second
%% renegotiation only after twelve seconds.)
-spec renegotiate(ssl:tls_version(), pos_integer()) -> term().
renegotiate(Version, Bytes) ->
    {Client, Server} = pair(default, Version),
    Change = fun() ->
        case Version of
            'tlsv1.2' -> ok = ssl:renegotiate(Client);
            'tlsv1.3' -> [ok = ssl:update_keys(Socket, write) || _ <- [1, 2, 3], Socket <- [Client, Server]]
        end
    end,
    Results = both_ways(Client, Server, Bytes, Change),
    ok = ssl:close(Server),
    {Results, wait_closed(Client)}.

%% Who closes, and how: the other side gets all that was sent, then the end.
-spec closes(door(), ssl:tls_version()) -> term().
closes(Door, Version) ->
    Data = binary:copy(<<"last words ">>, 100000),
    [{Who, Mode, How, close_after(Door, Version, Data, Who, Mode, How)}
     || Who <- [client, server], Mode <- [passive, active, once], How <- [close, shutdown]].

close_after(Door, Version, Data, Who, Mode, How) ->
    {Client, Server} = pair(Door, Version),
    {From, To} = case Who of
        client -> {Client, Server};
        server -> {Server, Client}
    end,
    Sender = spawn_monitor(fun() ->
        ok = ssl:send(From, Data),
        exit(case How of
                 close -> ssl:close(From);
                 shutdown -> ssl:shutdown(From, write)
             end)
    end),
    {Read, End} = read_to_end(To, Mode, []),
    Read = Data,
    Result = {End, result(Sender)},
    %% What a send finds now is a race inside ssl, on every backend.
    _ = ssl:send(To, "too late or not"),
    ok = ssl:close(To),
    _ = ssl:close(From),
    Result.

read_to_end(Socket, passive, Data) ->
    case ssl:recv(Socket, 0, ?DEADLINE) of
        {ok, More} -> read_to_end(Socket, passive, [Data, More]);
        {error, Reason} -> {iolist_to_binary(Data), Reason}
    end;
read_to_end(Socket, Mode, Data) ->
    ok = case Mode of
        active when Data =:= [] -> ssl:setopts(Socket, [{active, true}]);
        active -> ok;
        once -> ok_or_closed(ssl:setopts(Socket, [{active, once}]))
    end,
    receive
        {ssl, Socket, More} -> read_to_end(Socket, Mode, [Data, More]);
        {ssl_closed, Socket} -> {iolist_to_binary(Data), ssl_closed};
        {ssl_error, Socket, Reason} -> {iolist_to_binary(Data), Reason}
    after ?DEADLINE ->
        error(deadline)
    end.

%% The end may overtake the next {active, once}; its message comes all the same.
ok_or_closed({error, _Closed}) -> ok;
ok_or_closed(ok) -> ok.

%% {active, N} counts down to ssl_passive, and nothing comes until it is armed again.
-spec active_modes(door(), ssl:tls_version()) -> term().
active_modes(Door, Version) ->
    {Client, Server} = pair(Door, Version, [{packet, 2}]),
    Messages = [integer_to_binary(N) || N <- lists:seq(1, 12)],
    [ok = ssl:send(Server, Message) || Message <- Messages],
    ok = ssl:setopts(Client, [{active, 3}]),
    First = messages(Client, 4),
    {ok, [{active, false}]} = ssl:getopts(Client, [active]),
    {ok, Fourth} = ssl:recv(Client, 0, ?DEADLINE),
    ok = ssl:setopts(Client, [{active, once}]),
    Fifth = messages(Client, 1),
    ok = ssl:setopts(Client, [{active, 5}]),
    Next = messages(Client, 6),
    ok = ssl:setopts(Client, [{active, true}]),
    Last = messages(Client, 2),
    {error, einval} = ssl:recv(Client, 0, 0),
    ok = ssl:close(Server),
    Result = {First, Fourth, Fifth, Next, Last, messages(Client, 1)},
    nothing = receive Any -> Any after 0 -> nothing end,
    Result.

messages(_Socket, 0) ->
    [];
messages(Socket, Count) ->
    receive
        {ssl, Socket, Data} -> [Data | messages(Socket, Count - 1)];
        {Name, Socket} -> [Name | messages(Socket, Count - 1)]
    after ?DEADLINE ->
        [deadline]
    end.

%% A connection that began without TLS goes on with it, as after STARTTLS.
-spec upgrade(ssl:tls_version()) -> term().
upgrade(Version) ->
    {ServerOptions, ClientOptions} = credentials(Version),
    {ok, Listener} = gen_tcp:listen(0, [binary, {ip, ?LOOPBACK}, {active, false}, {packet, line}]),
    {ok, Port} = inet:port(Listener),
    Accept = spawn_monitor(fun() ->
        {ok, Plain} = gen_tcp:accept(Listener, ?DEADLINE),
        {ok, <<"STARTTLS\n">>} = gen_tcp:recv(Plain, 0, ?DEADLINE),
        ok = inet:setopts(Plain, [{packet, raw}]),
        ok = gen_tcp:send(Plain, "go on\n"),
        {ok, Secured} = ssl:handshake(Plain, ServerOptions, ?DEADLINE),
        {ok, Request} = ssl:recv(Secured, 7, ?DEADLINE),
        ok = ssl:send(Secured, ["answer to ", Request]),
        exit(ssl:recv(Secured, 0, ?DEADLINE))
    end),
    {ok, Socket} = gen_tcp:connect(?LOOPBACK, Port, [binary, {active, false}, {packet, line}]),
    ok = gen_tcp:send(Socket, "STARTTLS\n"),
    {ok, <<"go on\n">>} = gen_tcp:recv(Socket, 0, ?DEADLINE),
    ok = inet:setopts(Socket, [{packet, raw}]),
    {ok, Secured} = ssl:connect(Socket, ClientOptions, ?DEADLINE),
    ok = ssl:send(Secured, "request"),
    {ok, Answer} = ssl:recv(Secured, 17, ?DEADLINE),
    ok = ssl:close(Secured),
    Result = {Answer, result(Accept)},
    ok = gen_tcp:close(Listener),
    Result.

%%% Connections

pair(Door, Version) ->
    pair(Door, Version, []).

pair(Door, Version, Options) ->
    {ServerOptions, ClientOptions} = credentials(Version),
    Common = [binary, {active, false} | Options],
    {ok, Listener} = ssl:listen(0, door(Door) ++ Common ++ [{ip, ?LOOPBACK}, {reuseaddr, true} | ServerOptions]),
    {ok, {_Address, Port}} = ssl:sockname(Listener),
    Owner = self(),
    Accept = spawn_monitor(fun() ->
        {ok, Transport} = ssl:transport_accept(Listener, ?DEADLINE),
        {ok, Socket} = ssl:handshake(Transport, ?DEADLINE),
        ok = ssl:controlling_process(Socket, Owner),
        exit({socket, Socket})
    end),
    {ok, Client} = ssl:connect(?LOOPBACK, Port, door(Door) ++ Common ++ ClientOptions, ?DEADLINE),
    {socket, Server} = result(Accept),
    true = Door =:= default orelse length(gen_tcp_rs:which_sockets()) >= 3,
    ok = ssl:close(Listener),
    {Client, Server}.

door(default) -> [];
door(option) -> [{inet_backend, rs}];
door(module) -> [{tcp_module, inet_tcp_rs}];
door(callback) -> [{cb_info, {gen_tcp_rs, tcp, tcp_closed, tcp_error, tcp_passive}}].

credentials(Version) ->
    %% Later releases refuse the digest that is the default.
    Certificate = [{key, {namedCurve, secp256r1}}, {digest, sha256}],
    Chain = #{root => Certificate, intermediates => [], peer => Certificate},
    #{server_config := Server, client_config := Client} =
        public_key:pkix_test_data(#{server_chain => Chain, client_chain => Chain}),
    {[{versions, [Version]} | Server],
     [{versions, [Version]}, {verify, verify_peer}, {server_name_indication, disable} | Client]}.

wait_closed(Socket) ->
    ssl:recv(Socket, 0, ?DEADLINE).

%%% Data

both_ways(Client, Server, Bytes, Meanwhile) ->
    Senders = [spawn_monitor(fun() -> exit(send_all(Socket, Seed, Bytes, 0, crypto:hash_init(sha256))) end)
               || {Socket, Seed} <- [{Client, 1}, {Server, 2}]],
    Reader = spawn_monitor(fun() ->
        receive go -> exit(recv_all(Server, Bytes, crypto:hash_init(sha256))) end
    end),
    {Pid, _Monitor} = Reader,
    Pid ! go,
    Changes = spawn_monitor(fun() -> exit({changed, Meanwhile()}) end),
    ok = ssl:setopts(Client, [{active, 10}]),
    FromServer = receive_all(Client, Bytes, crypto:hash_init(sha256)),
    FromClient = result(Reader),
    {changed, _} = result(Changes),
    [FromClient, FromServer] = [result(Sender) || Sender <- Senders],
    ok = ssl:setopts(Client, [{active, false}]),
    receive {ssl_passive, Client} -> ok after 0 -> ok end,
    {Bytes, FromClient, FromServer}.

send_all(_Socket, _Seed, 0, _Number, Hash) ->
    crypto:hash_final(Hash);
send_all(Socket, Seed, Left, Number, Hash) ->
    Size = min(Left, Number * 7919 rem ?BLOCK + 1),
    Data = crypto:crypto_one_time(aes_128_ctr, <<Seed:128>>, <<Number:64, 0:64>>, <<0:Size/unit:8>>, true),
    ok = ssl:send(Socket, Data),
    send_all(Socket, Seed, Left - Size, Number + 1, crypto:hash_update(Hash, Data)).

recv_all(_Socket, 0, Hash) ->
    crypto:hash_final(Hash);
recv_all(Socket, Left, Hash) ->
    {ok, Data} = ssl:recv(Socket, 0, ?DEADLINE),
    recv_all(Socket, Left - byte_size(Data), crypto:hash_update(Hash, Data)).

receive_all(_Socket, 0, Hash) ->
    crypto:hash_final(Hash);
receive_all(Socket, Left, Hash) ->
    receive
        {ssl, Socket, Data} -> receive_all(Socket, Left - byte_size(Data), crypto:hash_update(Hash, Data));
        {ssl_passive, Socket} -> ok = ssl:setopts(Socket, [{active, 10}]), receive_all(Socket, Left, Hash)
    after ?DEADLINE ->
        error({missing, Left})
    end.

result({Pid, Monitor}) ->
    receive {'DOWN', Monitor, process, Pid, Result} -> Result end.
