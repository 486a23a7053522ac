%% How sockets are opened: addresses, services, the node's defaults and adopted descriptors, on the driver and
%% on gen_tcp_rs.
%%
%% Each case compares scripts by name; `exceptions/0` says what may differ, each with its reason, which
%% docs/differences.md must give in the same words.
-module(options_open_SUITE).

-export([all/0, suite/0, end_per_testcase/2]).
-export([reasons_are_documented/1, destinations_as_maps/1, maps_to_bind_to/1, maps_with_connect_of_an_address/1, services/1,
         node_defaults/1, defaults_stand_before_options/1]).
-export([descriptor_to_listen/1, descriptor_to_connect/1, descriptor_of_a_connection/1, bad_descriptors/1,
         descriptor_and_port/1, descriptor_to_listen_again/1, descriptor_of_its_own/1]).

-import(options_walk, [rs/1, compare/2]).

-define(LOOPBACK, {127, 0, 0, 1}).
-define(LOOPBACK6, {0, 0, 0, 0, 0, 0, 0, 1}).
-define(DEADLINE, 15000).

suite() ->
    [{timetrap, {minutes, 2}}].

all() ->
    [reasons_are_documented, destinations_as_maps, maps_to_bind_to, maps_with_connect_of_an_address, services,
     node_defaults, defaults_stand_before_options,
     descriptor_to_listen, descriptor_to_connect, descriptor_of_a_connection, bad_descriptors, descriptor_and_port,
     descriptor_to_listen_again, descriptor_of_its_own].

end_per_testcase(_Case, _Config) ->
    forget_defaults().

%% `{Reason, Which}`, of the name and both answers.
-spec exceptions() -> [{string(), fun((term(), term(), term()) -> boolean())}].
exceptions() ->
    [{"What is wrong in a destination given as a map is `exit(badarg)`.",
      fun({connect, #{}, _}, {{_, [{raised, _, Reason} | _]}, []}, _) -> lists:member(Reason, [function_clause, badarith, badarg]);
         (_, _, _) -> false
      end},
     {"A bad option in `inet_default_listen_options` is `exit(badarg)`, as in `inet_default_connect_options`.",
      fun({bad_to_listen, _}, {{error, einval}, []}, Rs) -> Rs =:= {{raised, exit, badarg}, []}; (_, _, _) -> false end},
     {"`{fd, N}` with a port and no address is `exit(badarg)`.",
      fun(fd_and_port, {{{raised, Class, {badmatch, 4711}}, _}, []}, Rs) ->
              lists:member(Class, [exit, error]) andalso Rs =:= {{{raised, exit, badarg}, true}, []};
         (_, _, _) -> false
      end}].

%% docs/differences.md gives every reason in the words of this suite.
reasons_are_documented(_Config) ->
    [] = options_walk:undocumented([Reason || {Reason, _} <- exceptions()]),
    ok.

%% The number of those that differ for a reason.
alike(Family, Scripts) ->
    Found = compare(Family, Scripts),
    Wrong = [Difference || {Name, Driver, Rs} = Difference <- Found,
                           not lists:any(fun({_, Matches}) -> Matches(Name, Driver, Rs) end, exceptions())],
    [ct:pal("~0p~n    inet ~0p~n    rs   ~0p", [Name, Driver, Rs]) || {Name, Driver, Rs} <- Wrong],
    ct:comment("~w scripts, ~w differ as documented", [length(Scripts), length(Found) - length(Wrong)]),
    [] = [Name || {Name, _, _} <- Wrong],
    length(Found).

%%% Addresses

%% A socket address as a map says where to connect to; what it lacks is filled in, what is wrong in it is raised.
destinations_as_maps(_Config) ->
    Map = #{family => inet, addr => ?LOOPBACK, port => port},
    _ = alike(inet, [connect_to(To, Options) ||
                        To <- [Map, Map#{addr => {127, 0, 0, 2}}, maps:remove(port, Map), Map#{port => 65536}, Map#{port => -1}, Map#{port => http},
                           Map#{addr => "127.0.0.1"}, Map#{addr => ?LOOPBACK6}, Map#{addr => {1, 2, 3}}, Map#{addr => {256, 0, 0, 1}},
                           Map#{addr => foo}, Map#{foo => 1}, Map#{flowinfo => 0}, Map#{family => inet6}, Map#{family => foo},
                           maps:remove(family, Map), #{}],
                    Options <- [[], [inet], [inet6], [{ip, ?LOOPBACK}], [{ip, ?LOOPBACK6}], [{ifaddr, #{family => inet, addr => ?LOOPBACK}}],
                                [{ifaddr, #{family => inet6, addr => ?LOOPBACK6}}]]]),
    Map6 = #{family => inet6, addr => ?LOOPBACK6, port => port, flowinfo => 0, scope_id => 0},
    _ = alike(inet6, [connect_to(To, Options) ||
                     To <- [Map6, maps:with([family, addr, port], Map6), Map6#{flowinfo => 16#12345}, Map6#{flowinfo => -1}, Map6#{flowinfo => 1 bsl 32},
                            Map6#{flowinfo => foo}, Map6#{scope_id => 1}, Map6#{scope_id => foo}, Map6#{addr => ?LOOPBACK}, Map6#{port => 1.0},
                            Map6#{addr => {16#fe80, 0, 0, 0, 0, 0, 0, 1}, scope_id => 99999}],
                     Options <- [[], [inet6], [{ifaddr, #{family => inet6, addr => ?LOOPBACK6}}]]]),
    %% Without a driver that knows: loopback and any.
    ok = rs_test:start(rs),
    Listen = options_walk:listener(options_walk:driver(), []),
    {ok, Port} = inet:port(Listen),
    [{ok, {?LOOPBACK, Port}} = inet:peername(connected(Map#{addr => Address, port => Port})) || Address <- [loopback, any]],
    ok.

connected(To) ->
    {ok, Socket} = gen_tcp:connect(To, [{inet_backend, rs}], ?DEADLINE),
    Socket.

%% The driver's listener is on the loopback; `port` stands for its port.
connect_to(To, Options) ->
    {{connect, To, Options},
     fun(#{backend := Backend, family := Family} = Context) ->
             Listen = options_walk:listener(Context#{backend := inet}, []),
             {ok, Port} = inet:port(Listen),
             Map = case To of
                       #{port := port} -> To#{port := Port};
                       _ -> To
                   end,
             Connected = [rs_test:attempt(fun() -> peer(Connect()) end)
                          || Connect <- [fun() -> gen_tcp:connect(Map, [{inet_backend, Backend} | Options]) end,
                                         fun() -> gen_tcp:connect(Map, [{inet_backend, Backend} | Options], ?DEADLINE) end]],
             {Family, replaced(Port, Connected)}
     end}.

peer({ok, Socket}) -> {inet:peername(Socket), element(1, element(2, inet:sockname(Socket)))};
peer(Error) -> Error.

%% The port of this run is not to be compared.
replaced(Port, Port) -> port;
replaced(Port, Tuple) when is_tuple(Tuple) -> list_to_tuple([replaced(Port, Element) || Element <- tuple_to_list(Tuple)]);
replaced(Port, [Head | Tail]) -> [replaced(Port, Head) | replaced(Port, Tail)];
replaced(Port, #{} = Map) -> maps:map(fun(_, Value) -> replaced(Port, Value) end, Map);
replaced(_Port, Other) -> Other.

%% A map in ifaddr is where a listener is bound; a later ip or port changes it, an earlier one does not.
maps_to_bind_to(_Config) ->
    Map = #{family => inet, addr => ?LOOPBACK, port => 0},
    Map6 = #{family => inet6, addr => ?LOOPBACK6, port => 0},
    Bound = fun(Options) ->
                    {{listen, Options},
                     fun(#{backend := Backend}) ->
                             case gen_tcp:listen(0, [{inet_backend, Backend} | Options]) of
                                 {ok, Listen} -> {ok, {Address, Port}} = inet:sockname(Listen), {Address, Port > 0};
                                 Error -> Error
                             end
                     end}
            end,
    _ = alike(inet, [Bound(Options) || Options <- [[{ifaddr, Map}], [inet, {ifaddr, Map}], [inet6, {ifaddr, Map}], [{ifaddr, Map6}], [inet6, {ifaddr, Map6}],
                                               [inet, {ifaddr, Map6}], [{ifaddr, Map}, {ip, {127, 0, 0, 2}}], [{ip, {127, 0, 0, 2}}, {ifaddr, Map}],
                                               [{ifaddr, Map}, {ifaddr, ?LOOPBACK}], [{ifaddr, Map}, {port, 0}], [{ifaddr, Map}, {port, 70000}],
                                               [{port, 70000}, {ifaddr, Map}], [{ifaddr, Map}, {ip, any}], [{ifaddr, Map}, {ip, loopback}],
                                               [{ifaddr, Map}, {ip, ?LOOPBACK6}], [{ifaddr, Map6#{scope_id => 1}}], [{ifaddr, Map6#{flowinfo => 7}}]]]),
    %% The port of the map counts, not the argument.
    ok = rs_test:start(rs),
    Unused = rs_test:unused_port(options_walk:driver()),
    {ok, Listen} = gen_tcp:listen(1, [{inet_backend, rs}, {ifaddr, Map#{port => Unused}}]),
    {ok, Unused} = inet:port(Listen),
    ok.

%% With connect/3,4 such a map says the local end just as with connect/2,3.
maps_with_connect_of_an_address(_Config) ->
    ok = rs_test:start(rs),
    [begin
         Listen = options_walk:listener(rs(Family), []),
         {ok, Port} = inet:port(Listen),
         Unused = rs_test:unused_port(#{backend => inet, family => Family}),
         {ok, Socket} = gen_tcp:connect(Address, Port, [{inet_backend, rs}, {ifaddr, Map#{port => Unused}}]),
         {ok, {Local, Unused}} = inet:sockname(Socket)
     end || {Family, Address, Local, Map} <- [{inet, ?LOOPBACK, {127, 0, 0, 3}, #{family => inet, addr => {127, 0, 0, 3}}},
                                              {inet6, ?LOOPBACK6, ?LOOPBACK6, #{family => inet6, addr => loopback}}]],
    ok.

%% A service stands for its port in connect and listen; one that nobody knows is exit(badarg).
services(_Config) ->
    Known = [{Name, Port} || Name <- ['http-alt', postgresql, mysql, amqp, nfs, xmpp, 'xmpp-client', ircd],
                             {ok, Port} <- [inet:getservbyname(Name, tcp)], Port > 1024],
    case Known of
        [] ->
            {skip, "no service of a port above 1024 is known here"};
        [{Name, Port} | _] ->
            %% An address of its own, where nobody else listens.
            Address = {127, 83, 14, 99},
            _ = alike(inet, [{listen_and_connect,
                          fun(#{backend := Backend}) ->
                                  {ok, Listen} = gen_tcp:listen(Name, [{inet_backend, Backend}, {ip, Address}, {reuseaddr, true}]),
                                  {ok, Socket} = gen_tcp:connect(Address, Name, [{inet_backend, Backend}]),
                                  %% The listener's side closes last, so that the port stays free for the next.
                                  Answer = {inet:port(Listen) =:= {ok, Port}, element(2, element(2, inet:peername(Socket))) =:= Port},
                                  ok = gen_tcp:close(Socket),
                                  ok = gen_tcp:close(Listen),
                                  Answer
                          end}]
                  ++ [{{Call, Bad}, fun(#{backend := Backend}) ->
                                            [rs_test:attempt(
                                               fun() ->
                                                       case Call of
                                                           listen -> gen_tcp:listen(Bad, [{inet_backend, Backend}, {ip, Address}]);
                                                           connect -> gen_tcp:connect(Address, Bad, [{inet_backend, Backend}])
                                                       end
                                               end)]
                                    end} || Call <- [listen, connect], Bad <- ['no-such-service', '', "http-alt", <<"http-alt">>, 1.0, {1}]])
    end.

%%% The node's defaults

%% What stands in the node's defaults has the same effect on both backends, and so has what is wrong there.
node_defaults(_Config) ->
    Defaults = [{delay_send, true}, {active, false}, {raw, 6, 1, <<1:32/native>>}, [{delay_send, true}], [{active, false}, {nodelay, true}],
                [{active, once}], [binary, {packet, 4}], [list], [{raw, 6, 1, <<1:32/native>>}], [{raw, {6, 1, <<1:32/native>>}}],
                [{priority, 3}, {tos, 16}], [], [{linger, {true, 5}}, {keepalive, true}]],
    Bad = [[{nonsense, 1}], [{nodelay, foo}], [foo], foo, [{ip, ?LOOPBACK}], [{fd, 19000}], [{backlog, 5}], [inet6], [{port, 0}], [{ttl, 0}]],
    _ = alike(inet, [defaulted(Key, Default) || Key <- [inet_default_connect_options, inet_default_listen_options], Default <- Defaults]
              ++ [defaulted(inet_default_connect_options, Default) || Default <- Bad]),
    BadToListen = fun(Default) ->
                          {{bad_to_listen, Default},
                           fun(#{backend := Backend}) ->
                                   ok = application:set_env(kernel, inet_default_listen_options, Default),
                                   try rs_test:attempt(fun() -> gen_tcp:listen(0, [{inet_backend, Backend}, {ip, ?LOOPBACK}]) end)
                                   after forget_defaults()
                                   end
                           end}
                  end,
    Count = length(Bad) - 1,
    Count = alike(inet, [BadToListen(Default) || Default <- Bad]),
    ok.

defaulted(Key, Default) ->
    {{Key, Default},
     fun(#{backend := Backend}) ->
             Read = [active, packet, nodelay, mode, delay_send, keepalive, priority, tos, linger],
             {ok, Driver} = gen_tcp:listen(0, [{inet_backend, inet}, {ip, ?LOOPBACK}]),
             {ok, Port} = inet:port(Driver),
             ok = application:set_env(kernel, Key, Default),
             try
                 [rs_test:attempt(fun() ->
                                          {ok, Socket} = Open(),
                                          Options = inet:getopts(Socket, Read),
                                          ok = gen_tcp:close(Socket),
                                          Options
                                  end)
                  || Open <- [fun() -> gen_tcp:connect(?LOOPBACK, Port, [{inet_backend, Backend}]) end,
                              fun() -> gen_tcp:connect(?LOOPBACK, Port, [{inet_backend, Backend}, {packet, 1}, {active, false}]) end,
                              fun() -> gen_tcp:listen(0, [{inet_backend, Backend}, {packet, 1}, {ip, ?LOOPBACK}]) end,
                              fun() -> gen_tcp:listen(0, [{inet_backend, Backend}, {active, 5}, {ip, ?LOOPBACK}]) end]]
             after
                 forget_defaults()
             end
     end}.

%% The caller's options override the node's by name, and a bad one of the node's is refused all the same.
defaults_stand_before_options(_Config) ->
    ok = rs_test:start(rs),
    Listen = options_walk:listener(options_walk:driver(), []),
    {ok, Port} = inet:port(Listen),
    Connect = fun(Options) -> gen_tcp:connect(?LOOPBACK, Port, [{inet_backend, rs} | Options]) end,
    ok = application:set_env(kernel, inet_default_connect_options, [{nodelay, true}, {packet, 4}]),
    {ok, Socket} = Connect([{nodelay, false}]),
    {ok, [{nodelay, false}, {packet, 4}, {active, true}]} = inet:getopts(Socket, [nodelay, packet, active]),
    %% Of a name that is there twice the last one counts.
    ok = application:set_env(kernel, inet_default_connect_options, [{packet, 1}, {packet, 2}, {mode, list}, binary]),
    {ok, Last} = Connect([]),
    {ok, [{packet, 2}, {mode, binary}]} = inet:getopts(Last, [packet, mode]),
    {ok, Overridden} = Connect([{packet, 4}]),
    {ok, [{packet, 4}, {mode, binary}]} = inet:getopts(Overridden, [packet, mode]),
    ok = application:set_env(kernel, inet_default_connect_options, [{packet, foo}, {packet, 2}]),
    {raised, exit, badarg} = rs_test:attempt(fun() -> Connect([]) end),
    ok = application:set_env(kernel, inet_default_connect_options, [{nodelay, foo}]),
    {raised, exit, badarg} = rs_test:attempt(fun() -> Connect([{nodelay, false}]) end),
    ok.

forget_defaults() ->
    ok = application:unset_env(kernel, inet_default_connect_options),
    ok = application:unset_env(kernel, inet_default_listen_options).

%%% Descriptors

%% An adopted descriptor listens where it is bound, where ip says, or anywhere; it belongs to the socket then.
descriptor_to_listen(_Config) ->
    _ = alike(inet, [{{fd, State, Options}, fun(Context) ->
                                            Fd = descriptor(inet, State),
                                            Result = listened(Context, [{fd, Fd} | Options]),
                                            {Result, is_open(Fd)}
                                    end}
                 || State <- [unbound, bound, listening],
                    Options <- [[], [{ip, ?LOOPBACK}], [{ip, any}], [{ifaddr, {127, 0, 0, 2}}], [{nodelay, true}], [{ip, {192, 0, 2, 1}}], [{fd, -1}],
                                [{nodelay, foo}], [{ttl, 0}]]]),
    _ = alike(inet6, [{{fd, State, Options}, fun(Context) ->
                                             Fd = descriptor(inet6, State),
                                             {listened(Context, [inet6, {fd, Fd} | Options]), is_open(Fd)}
                                     end} || State <- [unbound, bound], Options <- [[], [{ip, ?LOOPBACK6}]]]),
    ok.

%% A listener that accepts: what it is bound to, and whether its descriptor is closed with it.
listened(#{backend := Backend}, Options) ->
    case rs_test:attempt(fun() -> gen_tcp:listen(0, [{inet_backend, Backend} | Options]) end) of
        {ok, Listen} ->
            {ok, {Address, Port}} = inet:sockname(Listen),
            {ok, Client} = gen_tcp:connect(local(Address), Port, [{inet_backend, inet}, {active, false}]),
            {ok, Server} = gen_tcp:accept(Listen, ?DEADLINE),
            Read = inet:getopts(Server, [nodelay, active]),
            ok = gen_tcp:close(Server),
            {error, closed} = gen_tcp:recv(Client, 0, ?DEADLINE),
            ok = gen_tcp:close(Listen),
            {ok, Address, Read};
        Error -> Error
    end.

local({0, 0, 0, 0}) -> ?LOOPBACK;
local({0, 0, 0, 0, 0, 0, 0, 0}) -> ?LOOPBACK6;
local(Address) -> Address.

%% An adopted descriptor connects from where it is bound or ip says.
descriptor_to_connect(_Config) ->
    _ = alike(inet, [{{fd, State, Options},
                  fun(#{backend := Backend}) ->
                          {ok, Listen} = gen_tcp:listen(0, [{inet_backend, inet}, {ip, ?LOOPBACK}, {active, false}]),
                          {ok, Port} = inet:port(Listen),
                          Fd = descriptor(inet, State),
                          Result = rs_test:attempt(fun() ->
                                                           {ok, Socket} = gen_tcp:connect(?LOOPBACK, Port, [{inet_backend, Backend}, {fd, Fd} | Options]),
                                                           {ok, {Address, _}} = inet:sockname(Socket),
                                                           {ok, Peer} = gen_tcp:accept(Listen, ?DEADLINE),
                                                           ok = gen_tcp:send(Peer, "hello"),
                                                           Message = receive {tcp, Socket, Data} -> Data after ?DEADLINE -> nothing end,
                                                           ok = gen_tcp:close(Socket),
                                                           {Address, Message}
                                                   end),
                          {Result, is_open(Fd)}
                  end}
                 || State <- [unbound, bound], Options <- [[], [{ip, ?LOOPBACK}], [{ip, {127, 0, 0, 4}}], [{ip, {192, 0, 2, 1}}], [{packet, 0}, {nodelay, true}]]]),
    _ = alike(inet, [{{fd, connected, []}, fun(#{backend := Backend}) ->
                                     {Fd, Peer} = connected_descriptor(),
                                     {ok, {Address, Port}} = inet:sockname(Peer),
                                     case gen_tcp:connect(Address, Port, [{inet_backend, Backend}, {fd, Fd}]) of
                                         {ok, Socket} -> ok = gen_tcp:close(Socket), {connected, is_open(Fd)};
                                         Error -> {Error, is_open(Fd)}
                                     end
                             end}]),
    ok.

%% fdopen takes a connected descriptor over, passive, with the options given, and leaves it open in the end.
descriptor_of_a_connection(_Config) ->
    _ = alike(inet, [{{fd, fdopen, Options}, fun(#{backend := Backend}) ->
                                   {Fd, Peer} = connected_descriptor(),
                                   Result = rs_test:attempt(fun() ->
                                       {ok, Socket} = gen_tcp:fdopen(Fd, [{inet_backend, Backend} | Options]),
                                       Read = inet:getopts(Socket, [active, mode, packet, nodelay]),
                                       {ok, Name} = inet:peername(Socket),
                                       {ok, Name} = inet:sockname(Peer),
                                       ok = gen_tcp:send(Socket, "out"),
                                       {ok, Out} = gen_tcp:recv(Peer, 0, ?DEADLINE),
                                       ok = gen_tcp:send(Peer, Out),
                                       ok = inet:setopts(Socket, [{active, false}]),
                                       {ok, In} = gen_tcp:recv(Socket, 0, ?DEADLINE),
                                       ok = gen_tcp:close(Socket),
                                       %% The connection is still there.
                                       ok = gen_tcp:send(Peer, "more"),
                                       {Read, In}
                                   end),
                                   {Result, is_open(Fd)}
                           end} || Options <- [[], [binary], [{packet, 2}], [binary, {packet, 1}, {nodelay, true}], [inet], [list, {mode, binary}]]]
              ++ [{{fd, fdopen, Options}, fun(#{backend := Backend}) ->
                                    {Fd, _Peer} = connected_descriptor(),
                                    Result = rs_test:attempt(fun() -> gen_tcp:fdopen(Fd, [{inet_backend, Backend} | Options]) end),
                                    {Result, is_open(Fd)}
                            end} || Options <- [[{nodelay, foo}], [foo], [{foo, 1}], [{ttl, 0}], [{ip, any}]]]),
    ok.

%% What is no descriptor, or no stream socket, is told so.
bad_descriptors(_Config) ->
    _ = alike(inet, [{{fd, Call, What},
                  fun(#{backend := Backend}) ->
                          Fd = case What of
                                   closed -> 19000;
                                   datagram -> datagram_descriptor()
                               end,
                          Result = rs_test:attempt(
                                     fun() ->
                                             case Call of
                                                 listen -> gen_tcp:listen(0, [{inet_backend, Backend}, {fd, Fd}]);
                                                 fdopen -> gen_tcp:fdopen(Fd, [{inet_backend, Backend}]);
                                                 connect -> gen_tcp:connect(?LOOPBACK, 1, [{inet_backend, Backend}, {fd, Fd}])
                                             end
                                     end),
                          {Result, is_open(Fd)}
                  end} || {What, Call} <- [{closed, listen}, {closed, connect}, {closed, fdopen}, {datagram, listen}]]),
    ok.

%% A port among the options of an adopted descriptor makes no sense without an address to bind it to, and leaves
%% the descriptor the caller's.
descriptor_and_port(_Config) ->
    Count = 3,
    Count = alike(inet, [{fd_and_port, fun(#{backend := Backend}) ->
                                               Fd = descriptor(inet, unbound),
                                               {rs_test:attempt(fun() -> Open([{inet_backend, Backend}, {fd, Fd}]) end), is_open(Fd)}
                                       end}
                         || Open <- [fun(Options) -> gen_tcp:listen(4711, Options) end,
                                     fun(Options) -> gen_tcp:listen(0, Options ++ [{port, 4711}]) end,
                                     fun(Options) -> gen_tcp:connect(?LOOPBACK, 1, Options ++ [{port, 4711}]) end]]),
    ok.

%% Who has opened a descriptor can listen on it again, after a close, a death or a failure: it is what a node was started with.
descriptor_to_listen_again(_Config) ->
    _ = alike(inet, [{again, fun(Context) ->
                                 Fd = descriptor(inet, bound),
                                 First = listened(Context, [{fd, Fd}]),
                                 Owner = rs_test:async(fun() -> gen_tcp:listen(0, rs_test:options(Context, [{fd, Fd}])) end),
                                 {{ok, _}, []} = rs_test:await(Owner),
                                 ok = rs_test:kill(Owner),
                                 Failed = rs_test:attempt(fun() -> gen_tcp:listen(0, rs_test:options(Context, [{fd, Fd}, {ip, ?LOOPBACK}])) end),
                                 {First, Failed, listened(Context, [{fd, Fd}]), is_open(Fd)}
                         end}]),
    ok.

%% The socket has a descriptor of its own, which getfd tells and which is closed with it.
descriptor_of_its_own(_Config) ->
    ok = rs_test:start(rs),
    [] = options_walk:undocumented(["An adopted descriptor is duplicated: `getfd` tells another number."]),
    Fd = descriptor(inet, bound),
    {ok, Listen} = gen_tcp:listen(0, [{inet_backend, rs}, {fd, Fd}]),
    {ok, Own} = inet:getfd(Listen),
    true = Own =/= Fd andalso is_open(Own),
    ok = gen_tcp:close(Listen),
    ok = rs_test:poll(fun() -> not is_open(Own) end),
    true = is_open(Fd),
    ok.

%%% Descriptors that belong to nobody, and that nobody closes before the VM ends

descriptor(Family, State) ->
    {ok, Socket} = socket:open(Family, stream, tcp),
    Address = #{family => Family, addr => loopback, port => 0},
    case State of
        unbound -> ok;
        bound -> ok = socket:bind(Socket, Address);
        listening -> ok = socket:bind(Socket, Address), ok = socket:listen(Socket)
    end,
    owned_by_nobody(Socket).

%% Connected to the peer.
connected_descriptor() ->
    Listen = options_walk:listener(options_walk:driver(), []),
    {ok, Port} = inet:port(Listen),
    {ok, Socket} = socket:open(inet, stream, tcp),
    ok = socket:connect(Socket, #{family => inet, addr => loopback, port => Port}),
    Peer = rs_test:accept(Listen),
    {owned_by_nobody(Socket), Peer}.

datagram_descriptor() ->
    {ok, Socket} = socket:open(inet, dgram, udp),
    owned_by_nobody(Socket).

%% Through a local connection: what arrives there is a new descriptor that no socket of this node knows.
owned_by_nobody(Socket) ->
    {ok, Fd} = socket:getopt(Socket, otp, fd),
    Name = #{family => local, path => <<0, "gen_tcp_rs-", (integer_to_binary(erlang:unique_integer([positive])))/binary>>},
    {ok, Listen} = socket:open(local, stream),
    ok = socket:bind(Listen, Name),
    ok = socket:listen(Listen),
    {ok, Out} = socket:open(local, stream),
    ok = socket:connect(Out, Name),
    {ok, In} = socket:accept(Listen),
    ok = socket:sendmsg(Out, #{iov => [<<0>>], ctrl => [#{level => socket, type => rights, data => <<Fd:32/native>>}]}),
    {ok, #{ctrl := [#{type := rights, data := <<Sent:32/native>>}]}} = socket:recvmsg(In),
    [ok = socket:close(Each) || Each <- [Listen, Out, In, Socket]],
    true = is_open(Sent),
    Sent.

is_open(Fd) ->
    case file:read_link("/proc/self/fd/" ++ integer_to_list(Fd)) of
        {ok, "socket:" ++ _} -> true;
        _ -> false
    end.
