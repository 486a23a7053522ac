%% Erlang's distribution on `rs_tcp`: two nodes of this machine, driven through their standard input, so that nothing but
%% the connection under test joins them. Every common case on `inet_tcp`, which proves the expectation, on `rs_tcp`, on
%% `rs_tcp6` and between the two kinds. The nodes have an epmd of their own.
%%
%% The group `hosts` joins three nodes in three network namespaces. The group `long` moves a gigabyte each way, on one host
%% and between three; it is run by name: `rebar3 ct --suite test/dist_SUITE --group long`.
-module(dist_SUITE).

-export([all/0, groups/0, suite/0, init_per_suite/1, end_per_suite/1, init_per_group/2, end_per_group/2, init_per_testcase/2, end_per_testcase/2]).
-export([ping_and_rpc/1, messages_in_order/1, binaries/1, monitors_and_links/1, killed_node/1, stopped_node/1, disconnected/1,
         options/1, hidden_node/1, dynamic_name/1, started_later/1, port_range/1, suspended_senders/1, small_beside_bulk/1, garbage_for_a_handshake/1,
         application_stops/1, embedded/1, nothing_left/1, gigabyte/0, gigabyte/1]).
-export([hosts_find_each_other/1, hosts_exchange/1, killed_host/1, cut_link/1, gigabyte_between_hosts/0, gigabyte_between_hosts/1]).
-export([application_comes_and_goes/0, receive_numbers/3, send_numbers/3, receive_sums/3, send_binaries/3, linked/2, echo/0, count_messages/1, send_many/3, block/2, trips/2, send_same/3]).

-define(DEADLINE, 15000).
-define(MESSAGES, 100000).

suite() ->
    [{timetrap, {minutes, 2}}].

all() ->
    [{group, inet_tcp}, {group, rs_tcp}, {group, mixed}, {group, rs_tcp6}, {group, hosts}].

groups() ->
    Short = [ping_and_rpc, messages_in_order, binaries, monitors_and_links],
    Common = Short ++ [killed_node, stopped_node, disconnected, options, hidden_node, dynamic_name, started_later, port_range, suspended_senders,
                       small_beside_bulk],
    [{inet_tcp, [], Common},
     {rs_tcp, [], Common ++ [garbage_for_a_handshake, application_stops, embedded, nothing_left]},
     {mixed, [], Short},
     {rs_tcp6, [], [ping_and_rpc, binaries]},
     {hosts, [], [hosts_find_each_other, hosts_exchange, killed_host, cut_link]},
     {long, [], [gigabyte, {group, long_hosts}]},
     {long_hosts, [], [gigabyte_between_hosts]}].

init_per_suite(Config) ->
    [{epmd, integer_to_list(free_port())} | Config].

%% A port that nobody gets unless he asks for it: one that the kernel gives out may be another connection's by the time epmd starts.
free_port() ->
    case gen_tcp:listen(10000 + rand:uniform(20000), []) of
        {ok, Probe} ->
            {ok, Port} = inet:port(Probe),
            ok = gen_tcp:close(Probe),
            Port;
        {error, eaddrinuse} ->
            free_port()
    end.

end_per_suite(Config) ->
    os:cmd("ERL_EPMD_PORT=" ++ proplists:get_value(epmd, Config) ++ " epmd -kill").

init_per_group(Hosts, Config) when Hosts =:= hosts; Hosts =:= long_hosts ->
    case {os:find_executable("ip"), string:trim(os:cmd("id -u"))} of
        {false, _} -> {skip, "no iproute2 on this machine"};
        {_, User} when User =/= "0" -> {skip, "network namespaces need root"};
        {_, "0"} -> with_hosts(Config)
    end;
init_per_group(rs_tcp6, Config) ->
    case gen_tcp:listen(0, [{inet_backend, inet}, inet6, {ip, {0, 0, 0, 0, 0, 0, 0, 1}}]) of
        {ok, Probe} ->
            ok = gen_tcp:close(Probe),
            [{carriers, {"rs_tcp6", "rs_tcp6"}}, {host, "::1"} | Config];
        {error, Reason} ->
            {skip, "no IPv6 loopback on this machine: " ++ atom_to_list(Reason)}
    end;
init_per_group(mixed, Config) -> [{carriers, {"inet_tcp", "rs_tcp"}}, {host, "127.0.0.1"} | Config];
init_per_group(inet_tcp, Config) -> [{carriers, {"inet_tcp", "inet_tcp"}}, {host, "127.0.0.1"} | Config];
init_per_group(_RsTcp, Config) -> [{carriers, {"rs_tcp", "rs_tcp"}}, {host, "127.0.0.1"} | Config].

end_per_group(Hosts, Config) when Hosts =:= hosts; Hosts =:= long_hosts ->
    [begin os:cmd("ip netns pids " ++ Host ++ " | xargs -r kill -9"), os:cmd("ip netns del " ++ Host) end || Host <- proplists:get_value(hosts, Config)],
    ok;
end_per_group(_Group, _Config) -> ok.

init_per_testcase(_Case, Config) -> Config.

%% Nodes end with the process that started them, the case's. No connection of theirs is awaited here.
end_per_testcase(_Case, _Config) -> ok.

%%% Nodes

%% {Peer, Node}: the handle to drive it, and its name.
node(Which, More, Config) ->
    Carriers = proplists:get_value(carriers, Config),
    start(element(Which, Carriers), name(), proplists:get_value(host, Config), More, [], Config).

name() -> "dist_" ++ os:getpid() ++ "_" ++ integer_to_list(erlang:unique_integer([positive])).

start(Carrier, Name, Host, More, Exec, Config) ->
    Arguments = ["-proto_dist", Carrier, "-setcookie", "dist_suite", "-kernel", "prevent_overlapping_partitions", "false",
                 "-pa", filename:dirname(code:which(gen_tcp_rs_nif)), filename:dirname(code:which(?MODULE)) | More],
    Names = case Name of
                none -> #{};
                _ -> #{name => Name, host => Host, longnames => true}
            end,
    {ok, Peer, _} = peer:start_link(maps:merge(Names#{connection => standard_io, args => Arguments, wait_boot => 60000,
                                                      env => [{"ERL_EPMD_PORT", proplists:get_value(epmd, Config)}]}, maps:from_list(Exec))),
    {Peer, call(Peer, erlang, node, [])}.

call(Peer, Module, Function, Arguments) -> peer:call(Peer, Module, Function, Arguments, 60000).

two_nodes(Config) ->
    {A, NodeA} = node(1, [], Config),
    {B, NodeB} = node(2, [], Config),
    pong = call(A, net_adm, ping, [NodeB]),
    {A, NodeA, B, NodeB}.

until(Condition) -> ok = rs_test:poll(Condition).

%% For what takes long on a machine that does much else.
until_moved(Condition) -> ok = rs_test:poll(Condition, 160000).

%%% Cases

%% Nodes find each other, call each other in both directions, and see each other.
ping_and_rpc(Config) ->
    {A, NodeA} = node(1, [], Config),
    {B, NodeB} = node(2, [], Config),
    pang = call(A, net_adm, ping, ['nobody@127.0.0.1']),
    pong = call(A, net_adm, ping, [NodeB]),
    NodeB = call(A, rpc, call, [NodeB, erlang, node, []]),
    NodeA = call(B, erpc, call, [NodeA, erlang, node, []]),
    [NodeB] = call(A, erlang, nodes, []),
    until(fun() -> call(B, erlang, nodes, []) =:= [NodeA] end),
    ok.

%% 100,000 messages each way at the same time arrive once and in order, of several sizes.
messages_in_order(Config) ->
    {A, NodeA, B, NodeB} = two_nodes(Config),
    numbers(A, NodeB, B, NodeA, ?MESSAGES).

numbers(A, NodeB, B, NodeA, Count) -> exchange_numbers([{A, NodeA}, {B, NodeB}], Count).

%% From each of the nodes to each other one, all at the same time.
exchange_numbers(Nodes, Count) ->
    Pairs = [{From, To} || From <- Nodes, To <- Nodes, From =/= To],
    Receivers = [{From, call(From, erlang, spawn, [NodeTo, ?MODULE, receive_numbers, [1, Count, NodeFrom]])}
                 || {{From, NodeFrom}, {_To, NodeTo}} <- Pairs],
    [call(From, erlang, spawn, [?MODULE, send_numbers, [Receiver, 1, Count]]) || {From, Receiver} <- Receivers],
    Result = fun(To, NodeFrom) -> call(To, persistent_term, get, [{numbers, NodeFrom}, none]) end,
    [until_moved(fun() -> Result(To, NodeFrom) =/= none end) || {{_From, NodeFrom}, {To, _NodeTo}} <- Pairs],
    [{ok, Count} = Result(To, NodeFrom) || {{_From, NodeFrom}, {To, _NodeTo}} <- Pairs],
    ok.

send_numbers(_Receiver, Number, Last) when Number > Last -> ok;
send_numbers(Receiver, Number, Last) ->
    Receiver ! {Number, binary:copy(<<Number:32>>, Number rem 50)},
    send_numbers(Receiver, Number + 1, Last).

receive_numbers(Number, Last, From) when Number > Last -> persistent_term:put({numbers, From}, {ok, Last});
receive_numbers(Number, Last, From) ->
    receive
        {Got, Data} ->
            case {Got, binary:copy(<<Number:32>>, Number rem 50)} of
                {Number, Data} -> receive_numbers(Number + 1, Last, From);
                _ -> persistent_term:put({numbers, From}, {expected, Number, got, Got})
            end
    end.

%% Binaries of all sizes around those where something changes, and of some megabytes, arrive as they were, both ways at once.
binaries(Config) ->
    {A, NodeA, B, NodeB} = two_nodes(Config),
    Around = [Size + Add || Size <- [64, 8192, 65536, 131072, 262144, 1048576], Add <- [-60, -20, -4, -1, 0, 1, 7]],
    sums(A, NodeA, B, NodeB, [0, 1, 16000000] ++ Around ++ lists:seq(65300, 65600, 10)).

sums(A, NodeA, B, NodeB, Sizes) -> exchange_sums([{A, NodeA}, {B, NodeB}], Sizes).

exchange_sums(Nodes, Sizes) ->
    Pairs = [{From, To} || From <- Nodes, To <- Nodes, From =/= To],
    [begin
         Receiver = call(From, erlang, spawn, [NodeTo, ?MODULE, receive_sums, [Sizes, 0, NodeFrom]]),
         call(From, erlang, spawn, [?MODULE, send_binaries, [Receiver, Sizes, NodeFrom]])
     end || {{From, NodeFrom}, {_To, NodeTo}} <- Pairs],
    Result = fun(To, NodeFrom) -> call(To, persistent_term, get, [{sums, NodeFrom}, none]) end,
    [until_moved(fun() -> Result(To, NodeFrom) =/= none end) || {{_From, NodeFrom}, {To, _NodeTo}} <- Pairs],
    Expected = {ok, length(Sizes)},
    [Expected = Result(To, NodeFrom) || {{_From, NodeFrom}, {To, _NodeTo}} <- Pairs],
    [call(To, persistent_term, erase, [{sums, NodeFrom}]) || {{_From, NodeFrom}, {To, _NodeTo}} <- Pairs],
    ok.

send_binaries(Receiver, Sizes, _From) ->
    [begin
         Data = iolist_to_binary([binary:copy(rand:bytes(1021), Size div 1021), rand:bytes(Size rem 1021)]),
         Receiver ! {erlang:md5(Data), Data}
     end || Size <- Sizes],
    ok.

receive_sums([], Count, From) -> persistent_term:put({sums, From}, {ok, Count});
receive_sums([Size | Sizes], Count, From) ->
    receive
        {Sum, Data} ->
            case {byte_size(Data), erlang:md5(Data)} of
                {Size, Sum} -> receive_sums(Sizes, Count + 1, From);
                Wrong -> persistent_term:put({sums, From}, {expected, {Size, Sum}, got, Wrong})
            end
    end.

%% The death of a process reaches who monitors it and who is linked to it at the other node, with its reason.
monitors_and_links(Config) ->
    {A, _NodeA, _B, NodeB} = two_nodes(Config),
    {'DOWN', process, reason_of_its_own} = call(A, ?MODULE, linked, [NodeB, monitor]),
    {'EXIT', reason_of_its_own} = call(A, ?MODULE, linked, [NodeB, link]),
    {'DOWN', process, noproc} = call(A, ?MODULE, linked, [NodeB, noproc]),
    ok.

linked(Node, How) ->
    process_flag(trap_exit, true),
    Remote = spawn(Node, ?MODULE, echo, []),
    case How of
        monitor -> monitor(process, Remote), exit(Remote, reason_of_its_own);
        link -> link(Remote), exit(Remote, reason_of_its_own);
        noproc -> monitor(process, {nobody_of_this_name, Node})
    end,
    receive
        {'DOWN', _, Type, Object, Reason} when How =:= noproc; Object =:= Remote -> {'DOWN', Type, Reason};
        {'EXIT', Remote, Reason} -> {'EXIT', Reason}
    after ?DEADLINE -> nothing
    end.

echo() -> receive {From, What} -> From ! {self(), What} end, echo().

%% A node that is killed is down at once, for whoever monitors it or a process of it.
killed_node(Config) ->
    {A, _NodeA, B, NodeB} = two_nodes(Config),
    down(A, NodeB, fun() -> os:cmd("kill -9 " ++ call(B, os, getpid, [])) end).

%% As is one that stops in an orderly way.
stopped_node(Config) ->
    {A, _NodeA, B, NodeB} = two_nodes(Config),
    down(A, NodeB, fun() -> call(B, init, stop, []) end).

down(A, NodeB, Act) ->
    Watcher = call(A, erlang, spawn, [?MODULE, block, [NodeB, self()]]),
    until(fun() -> call(A, persistent_term, get, [watching, none]) =:= Watcher end),
    process_flag(trap_exit, true),
    _ = Act(),
    until(fun() -> call(A, persistent_term, get, [seen, none]) =/= none end),
    [{nodedown, NodeB, connection_closed}, {'DOWN', noconnection}] = call(A, persistent_term, get, [seen, none]),
    [] = call(A, erlang, nodes, []),
    ok.

block(Node, _From) ->
    ok = net_kernel:monitor_nodes(true, [nodedown_reason]),
    Remote = spawn(Node, ?MODULE, echo, []),
    _ = monitor(process, Remote),
    Remote ! {self(), hello},
    receive {Remote, hello} -> ok end,
    persistent_term:put(watching, self()),
    Reason = receive {nodedown, Node, [{nodedown_reason, Why}]} -> Why end,
    Down = receive {'DOWN', _, process, Remote, DownReason} -> DownReason end,
    persistent_term:put(seen, [{nodedown, Node, Reason}, {'DOWN', Down}]).

%% A connection that is taken down comes back with the next message; again and again.
disconnected(Config) ->
    {A, _NodeA, _B, NodeB} = two_nodes(Config),
    [begin
         true = call(A, erlang, disconnect_node, [NodeB]),
         until(fun() -> call(A, erlang, nodes, []) =:= [] end),
         NodeB = call(A, rpc, call, [NodeB, erlang, node, []])
     end || _ <- lists:seq(1, 20)],
    ok.

%% Options of the connection are read and set, but for those that the carrier needs.
options(Config) ->
    {A, _NodeA, _B, NodeB} = two_nodes(Config),
    {ok, [{nodelay, true}]} = call(A, net_kernel, getopts, [NodeB, [nodelay]]),
    ok = call(A, net_kernel, setopts, [NodeB, [{nodelay, false}, {priority, 3}]]),
    {ok, [{nodelay, false}, {priority, 3}]} = call(A, net_kernel, getopts, [NodeB, [nodelay, priority]]),
    {error, {badopts, [{active, true}]}} = call(A, net_kernel, setopts, [NodeB, [{active, true}]]),
    %% Those of new connections, and of the listening socket.
    {C, NodeC} = node(1, ["-kernel", "inet_dist_connect_options", "[{priority,4},{packet,1},{active,true}]", "-kernel", "inet_dist_listen_options",
                          "[{priority,5}]"], Config),
    pong = call(C, net_adm, ping, [NodeB]),
    {ok, [{priority, 4}]} = call(C, net_kernel, getopts, [NodeB, [priority]]),
    pong = call(A, net_adm, ping, [NodeC]),
    {ok, _} = call(C, net_kernel, getopts, [element(2, two_names(A)), [priority]]),
    {ok, [{priority, 5}]} = call(C, net_kernel, getopts, [element(2, two_names(A)), [priority]]),
    ok.

two_names(Peer) -> {Peer, call(Peer, erlang, node, [])}.

%% A hidden node is connected and not listed.
hidden_node(Config) ->
    {A, _NodeA} = node(1, [], Config),
    {_B, NodeB} = node(2, ["-hidden"], Config),
    pong = call(A, net_adm, ping, [NodeB]),
    [] = call(A, erlang, nodes, []),
    [NodeB] = call(A, erlang, nodes, [hidden]),
    ok.

%% A node without a name gets one from the node that it connects to.
dynamic_name(Config) ->
    {_A, NodeA} = node(1, [], Config),
    {B, nonode@nohost} = start(element(2, proplists:get_value(carriers, Config)), none, none, ["-name", "undefined@127.0.0.1"], [], Config),
    true = call(B, net_kernel, connect_node, [NodeA]),
    NodeB = call(B, erlang, node, []),
    true = NodeB =/= nonode@nohost,
    NodeB = call(B, rpc, call, [NodeA, rpc, call, [NodeB, erlang, node, []]]),
    ok.

%% Distribution is started in a running node, stopped, and started again.
started_later(Config) ->
    {_A, NodeA} = node(1, [], Config),
    {B, nonode@nohost} = start(element(2, proplists:get_value(carriers, Config)), none, none, [], [], Config),
    _ = call(B, os, cmd, ["epmd -daemon"]),
    [begin
         Name = list_to_atom(name() ++ "@127.0.0.1"),
         {ok, _} = call(B, net_kernel, start, [Name, #{name_domain => longnames}]),
         true = call(B, erlang, set_cookie, [dist_suite]),
         pong = call(B, net_adm, ping, [NodeA]),
         ok = call(B, net_kernel, stop, []),
         until(fun() -> call(B, erlang, node, []) =:= nonode@nohost end)
     end || _ <- [1, 2]],
    ok.

%% A node listens within the range it is given, on the address it is given, and does not start where there is no port left.
port_range(Config) ->
    {ok, Probe} = gen_tcp:listen(0, [{inet_backend, inet}, {ip, {127, 0, 0, 1}}]),
    {ok, Taken} = inet:port(Probe),
    Range = fun(Min, Max) -> ["-kernel", "inet_dist_use_interface", "{127,0,0,1}", "-kernel", "inet_dist_listen_min", integer_to_list(Min),
                              "inet_dist_listen_max", integer_to_list(Max)] end,
    {A, NodeA} = node(1, Range(Taken, Taken + 20), Config),
    [Name, _] = string:split(atom_to_list(NodeA), "@"),
    {port, Port, _} = call(A, erl_epmd, port_please, [Name, {127, 0, 0, 1}]),
    true = Port > Taken andalso Port =< Taken + 20,
    {error, econnrefused} = gen_tcp:connect({127, 0, 0, 2}, Port, [{inet_backend, inet}]),
    {'EXIT', _} = catch node(1, Range(Taken, Taken), Config),
    ok.

%% While the other node takes nothing, senders are suspended before much is queued; then everything arrives.
suspended_senders(Config) ->
    {A, NodeA, B, NodeB} = two_nodes(Config),
    Receiver = call(A, erlang, spawn, [NodeB, ?MODULE, count_messages, [0]]),
    Pid = call(B, os, getpid, []),
    "" = os:cmd("kill -STOP " ++ Pid),
    Before = call(A, erlang, memory, [binary]),
    Sender = call(A, erlang, spawn, [?MODULE, send_many, [Receiver, 1048576, 200]]),
    until(fun() -> call(A, erlang, process_info, [Sender, status]) =:= {status, suspended} end),
    true = call(A, erlang, memory, [binary]) - Before < 32000000,
    "" = os:cmd("kill -CONT " ++ Pid),
    until_moved(fun() -> call(B, persistent_term, get, [counted, 0]) =:= 200 end),
    pong = call(B, net_adm, ping, [NodeA]),
    ok.

%% A process whose small messages are answered is not kept waiting until another one has sent all that it had: not even where both
%% and the connection share one scheduler.
small_beside_bulk(Config) ->
    {A, _NodeA} = node(1, ["+S", "1"], Config),
    {_B, NodeB} = node(2, [], Config),
    pong = call(A, net_adm, ping, [NodeB]),
    Trips = call(A, ?MODULE, trips, [NodeB, 256]),
    ct:comment("~w answers during 256 MB", [Trips]),
    true = Trips >= 15,
    ok.

%% How many answers a process gets while another one sends so many megabytes, and they are counted over there.
trips(Node, Megabytes) ->
    Echo = spawn(Node, ?MODULE, echo, []),
    Receiver = spawn(Node, ?MODULE, count_messages, [0]),
    {Bulk, Monitor} = spawn_monitor(?MODULE, send_same, [Receiver, <<0:1048576/unit:8>>, Megabytes]),
    trips(Echo, Bulk, Monitor, 0).

trips(Echo, Bulk, Monitor, Count) ->
    Echo ! {self(), Count},
    receive {Echo, Count} -> ok end,
    receive {'DOWN', Monitor, process, Bulk, normal} -> Count
    after 0 -> trips(Echo, Bulk, Monitor, Count + 1)
    end.

send_same(_Receiver, _Data, 0) -> ok;
send_same(Receiver, Data, Count) -> Receiver ! {message, Data}, send_same(Receiver, Data, Count - 1).

send_many(_Receiver, _Size, 0) -> ok;
send_many(Receiver, Size, Count) -> Receiver ! {message, binary:copy(<<Count>>, Size)}, send_many(Receiver, Size, Count - 1).

count_messages(Count) ->
    persistent_term:put(counted, Count),
    receive {message, _Data} -> count_messages(Count + 1) end.

%% Strangers on the listening port: garbage, silence and an early end harm nobody.
garbage_for_a_handshake(Config) ->
    {A, NodeA, _B, NodeB} = two_nodes(Config),
    [Name, _] = string:split(atom_to_list(NodeA), "@"),
    {port, Port, _} = call(A, erl_epmd, port_please, [Name, {127, 0, 0, 1}]),
    Silent = [begin {ok, Socket} = gen_tcp:connect({127, 0, 0, 1}, Port, [{inet_backend, inet}, binary, {active, false}]), Socket end || _ <- lists:seq(1, 5)],
    [begin
         {ok, Socket} = gen_tcp:connect({127, 0, 0, 1}, Port, [{inet_backend, inet}, binary, {active, false}]),
         ok = gen_tcp:send(Socket, Garbage),
         ok = gen_tcp:shutdown(Socket, write),
         {error, closed} = gen_tcp:recv(Socket, 0, ?DEADLINE)
     end || Garbage <- [<<>>, <<0, 1>>, <<0, 5, "hello">>, <<255, 255, 0>>, rand:bytes(1000)]],
    pong = call(A, net_adm, ping, [NodeB]),
    [ok = gen_tcp:close(Socket) || Socket <- Silent],
    ok.

%% A stop of the application takes its users' sockets, and leaves the connections of the node.
application_stops(Config) ->
    {A, _NodeA, _B, NodeB} = two_nodes(Config),
    [begin
         {error, einval} = call(A, ?MODULE, application_comes_and_goes, []),
         [NodeB] = call(A, erlang, nodes, []),
         NodeB = call(A, rpc, call, [NodeB, erlang, node, []])
     end || _ <- [1, 2]],
    {_C, NodeC} = node(1, [], Config),
    pong = call(A, net_adm, ping, [NodeC]),
    ok.

application_comes_and_goes() ->
    {ok, _} = application:ensure_all_started(gen_tcp_rs),
    {ok, Listen} = gen_tcp_rs:listen(0, []),
    ok = application:stop(gen_tcp_rs),
    gen_tcp_rs:sockname(Listen).

%% In an embedded system, where all code is loaded before kernel starts.
embedded(Config) ->
    Directory = proplists:get_value(priv_dir, Config),
    Version = fun(Application) -> _ = application:load(Application), {ok, Key} = application:get_key(Application, vsn), Key end,
    ok = file:write_file(filename:join(Directory, "small.rel"),
                         io_lib:format("~p.~n", [{release, {"small", "1"}, {erts, erlang:system_info(version)},
                                                  [{Name, Version(Name)} || Name <- [kernel, stdlib, gen_tcp_rs]]}])),
    {ok, _, _} = systools:make_script(filename:join(Directory, "small"), [{path, [filename:dirname(code:which(gen_tcp_rs_nif))]}, {outdir, Directory}, silent, no_warn_sasl]),
    Boot = ["-mode", "embedded", "-boot", filename:join(Directory, "small")],
    {A, _NodeA} = node(1, Boot, Config),
    {_B, NodeB} = node(2, Boot, Config),
    pong = call(A, net_adm, ping, [NodeB]),
    NodeB = call(A, rpc, call, [NodeB, erlang, node, []]),
    ok.

%% Connections that have come and gone leave no process, no socket and no memory of what they have moved.
nothing_left(Config) ->
    {A, NodeA, B, NodeB} = two_nodes(Config),
    State = fun() -> {call(A, erlang, system_info, [process_count]), length(call(A, gen_tcp_rs_nif, node_sockets, [])), call(A, rs_test, socket_fds, [])} end,
    true = call(A, erlang, disconnect_node, [NodeB]),
    until(fun() -> length(call(A, gen_tcp_rs_nif, node_sockets, [])) =:= 1 end),
    Before = State(),
    [begin
         ok = sums(A, NodeA, B, NodeB, [1000000]),
         %% What the connection has moved is free while it is still there.
         until(fun() -> call(A, erlang, memory, [binary]) < 4000000 end),
         true = call(A, erlang, disconnect_node, [NodeB]),
         until(fun() -> State() =:= Before end)
     end || _ <- lists:seq(1, 5)],
    ok.

%% A gigabyte each way, as it was.
gigabyte() -> [{timetrap, {minutes, 6}}].

gigabyte(Config) ->
    {A, NodeA, B, NodeB} = two_nodes(Config),
    sums(A, NodeA, B, NodeB, lists:duplicate(256, 4194304)),
    numbers(A, NodeB, B, NodeA, 1000000).

%%% Three hosts

with_hosts(Config) ->
    Hosts = ["gen_tcp_rs-dist-" ++ os:getpid() ++ Name || Name <- ["-a", "-b", "-c"]],
    Bridge = hd(Hosts),
    try
        [ip(["netns add ", Host]) || Host <- Hosts],
        ip(["-n ", Bridge, " link add bridge type bridge"]),
        ip(["-n ", Bridge, " link set bridge up"]),
        ip(["-n ", Bridge, " addr add 10.92.7.1/24 dev bridge"]),
        [begin
             ip(["link add cable netns ", Host, " type veth peer name to", Number, " netns ", Bridge]),
             ip(["-n ", Host, " addr add 10.92.7.", Number, "/24 dev cable"]),
             ip(["-n ", Host, " link set cable up"]),
             ip(["-n ", Bridge, " link set to", Number, " master bridge up"])
         end || {Host, Number} <- lists:zip(tl(Hosts), ["2", "3"])],
        [ip(["-n ", Host, " link set lo up"]) || Host <- Hosts],
        [{hosts, Hosts} | Config]
    catch
        throw:{Command, Output} ->
            [os:cmd("ip netns del " ++ Host) || Host <- Hosts],
            {skip, "no network namespaces here: " ++ Command ++ ": " ++ Output}
    end.

ip(Arguments) ->
    Command = lists:flatten(["ip ", Arguments]),
    case string:split(os:cmd(Command ++ " 2>&1; echo \"status $?\""), "status ", trailing) of
        [Output, "0\n"] -> Output;
        [Output, _] -> throw({Command, Output})
    end.

%% A node on each of the hosts, connected to the others.
three_nodes(More, Config) ->
    Ip = os:find_executable("ip"),
    Nodes = [start("rs_tcp", name(), "10.92.7." ++ Number, More, [{exec, {Ip, ["netns", "exec", Host, os:find_executable("erl")]}}], Config)
             || {Host, Number} <- lists:zip(proplists:get_value(hosts, Config), ["1", "2", "3"])],
    [pong = call(From, net_adm, ping, [To]) || {From, _} <- Nodes, {_, To} <- Nodes],
    Nodes.

%% Nodes on three hosts find each other, call each other in every direction, and see each other.
hosts_find_each_other(Config) ->
    Nodes = three_nodes([], Config),
    Names = [Name || {_, Name} <- Nodes],
    [To = call(From, rpc, call, [To, erlang, node, []]) || {From, _} <- Nodes, To <- Names],
    [true = lists:sort(call(From, erlang, nodes, [])) =:= lists:sort(Names -- [Name]) || {From, Name} <- Nodes],
    %% The address is the one of the host, so the connections are not the loopback's.
    [{A, _}, {_, NodeB} | _] = Nodes,
    {ok, {net_address, {{10, 92, 7, 2}, _Port}, _, _, _}} = call(A, net_kernel, node_info, [NodeB, address]),
    ok.

%% 100,000 messages each way between each two of three hosts, all at the same time, in order; and binaries of every kind of size.
hosts_exchange(Config) ->
    Nodes = three_nodes([], Config),
    exchange_numbers(Nodes, ?MESSAGES),
    exchange_sums(Nodes, [0, 1, 16000000, 65000, 262144, 1048577]).

%% A gigabyte each way between two hosts, while the third exchanges messages with both.
gigabyte_between_hosts() -> [{timetrap, {minutes, 6}}].

gigabyte_between_hosts(Config) ->
    [A, B, C] = three_nodes([], Config),
    Self = self(),
    Talk = spawn_link(fun() -> [ok = exchange_numbers([C, Node], ?MESSAGES) || Node <- [A, B]], Self ! {self(), talked} end),
    exchange_sums([A, B], lists:duplicate(256, 4194304)),
    receive {Talk, talked} -> ok end.

%% A node of one host that is killed is down at once for the others, which go on.
killed_host(Config) ->
    [{A, _}, {B, NodeB}, {C, NodeC}] = three_nodes([], Config),
    Pid = call(C, os, getpid, []),
    Watched = [begin call(Peer, erlang, spawn, [?MODULE, block, [NodeC, self()]]), Peer end || Peer <- [A, B]],
    [until(fun() -> call(Peer, persistent_term, get, [watching, none]) =/= none end) || Peer <- Watched],
    process_flag(trap_exit, true),
    "" = os:cmd("kill -9 " ++ Pid),
    [until(fun() -> call(Peer, persistent_term, get, [seen, none]) =/= none end) || Peer <- Watched],
    [[{nodedown, NodeC, connection_closed}, {'DOWN', noconnection}] = call(Peer, persistent_term, get, [seen, none]) || Peer <- Watched],
    [NodeB] = call(A, erlang, nodes, []),
    NodeB = call(A, rpc, call, [NodeB, erlang, node, []]),
    pang = call(A, net_adm, ping, [NodeC]),
    ok.

%% A node whose cable is cut is down after net_ticktime at the latest, a quarter more or less, also while bulk output is
%% queued for it; the others go on; it comes back with the cable.
cut_link(Config) ->
    [HostA | _] = proplists:get_value(hosts, Config),
    [{A, _}, {B, NodeB}, {C, NodeC}] = three_nodes(["-kernel", "net_ticktime", "4"], Config),
    %% Ticks keep idle connections: longer than net_ticktime.
    ToC = call(A, erlang, spawn, [NodeC, ?MODULE, count_messages, [0]]),
    Watched = [begin call(Peer, erlang, spawn, [?MODULE, block, [NodeC, self()]]), Peer end || Peer <- [A, B]],
    [until(fun() -> call(Peer, persistent_term, get, [watching, none]) =/= none end) || Peer <- Watched],
    receive after 6000 -> ok end,
    [none = call(Peer, persistent_term, get, [seen, none]) || Peer <- Watched],
    ip(["-n ", HostA, " link set to3 down"]),
    Cut = erlang:monotonic_time(millisecond),
    _ = call(A, erlang, spawn, [?MODULE, send_many, [ToC, 1048576, 50]]),
    [until(fun() -> call(Peer, persistent_term, get, [seen, none]) =/= none end) || Peer <- Watched],
    Time = erlang:monotonic_time(millisecond) - Cut,
    [[{nodedown, NodeC, net_tick_timeout}, {'DOWN', noconnection}] = call(Peer, persistent_term, get, [seen, none]) || Peer <- Watched],
    true = Time > 2000 andalso Time < 8000,
    pong = call(A, net_adm, ping, [NodeB]),
    until(fun() -> call(C, erlang, nodes, []) =:= [] end),
    ip(["-n ", HostA, " link set to3 up"]),
    until(fun() -> call(A, net_adm, ping, [NodeC]) =:= pong end),
    NodeC = call(B, rpc, call, [NodeC, erlang, node, []]),
    ok.
