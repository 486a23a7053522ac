%% System calls an operation, which stay the same where times do not: a call that somebody adds to a hot path fails here.
%% strace counts them in a node whose sockets have the C peer as their other end. What the VM calls for itself, to wait and
%% to wake its threads, does not count.
-module(cost_SUITE).

-export([all/0, suite/0, init_per_suite/1, end_per_suite/1, init_per_testcase/2, end_per_testcase/2]).
-export([send/1, recv_what_is_there/1, bulk_recv/1, messages_once/1, round_trip/1, awaited_recv/1, connection/1]).

-define(COUNTED, ["socket", "connect", "accept", "accept4", "sendto", "sendmsg", "writev", "recvfrom", "recvmsg", "readv", "epoll_ctl",
                  "getsockopt", "setsockopt", "getsockname", "getpeername", "shutdown", "close", "ioctl", "fcntl", "bind", "dup"]).
-define(TIMES, 500).
-define(BLOCK, 65536).

suite() ->
    [{timetrap, {minutes, 1}}].

all() ->
    [send, recv_what_is_there, bulk_recv, messages_once, round_trip, awaited_recv, connection].

init_per_suite(Config) ->
    File = filename:join([peer_tool:project_root(), "bench", "bench_calls.erl"]),
    {ok, bench_calls, Code} = compile:file(File, [binary]),
    {module, bench_calls} = code:load_binary(bench_calls, File, Code),
    case bench_calls:skip() of
        false ->
            Node = rs_peer:start(),
            May = may_trace(Node, Config),
            ok = rs_peer:stop(Node),
            case May of
                true -> Config;
                false -> {skip, "strace may not trace here"}
            end;
        Reason ->
            {skip, Reason}
    end.

end_per_suite(_Config) ->
    ok.

init_per_testcase(Case, Config) ->
    Node = rs_peer:start(),
    ok = rs_peer:call(Node, fun() ->
                                ok = application:load(gen_tcp_rs),
                                ok = application:set_env(gen_tcp_rs, spin, Case =/= awaited_recv),
                                ok = rs_test:start(rs),
                                hold()
                            end),
    [{node, Node} | Config].

end_per_testcase(_Case, Config) ->
    rs_peer:stop(proplists:get_value(node, Config)).

may_trace(Node, Config) ->
    try bench_calls:counts([os_pid(Node)], table(Config), fun() -> rs_peer:call(Node, fun() -> ok end) end) of
        {ok, #{}} -> true
    catch
        exit:strace_cannot_attach -> false
    end.

os_pid(Node) -> rs_peer:call(Node, fun os:getpid/0).

table(Config) -> filename:join(proplists:get_value(priv_dir, Config), "strace").

%%% On the node: a process that holds the socket of a case

hold() ->
    Self = self(),
    Pid = spawn(fun() -> true = register(cost_holder, self()), Self ! ready, holder() end),
    receive ready -> ok end,
    true = is_process_alive(Pid),
    ok.

holder() ->
    receive {From, Function} -> From ! {self(), Function()}, holder() end.

in_holder(Node, Function) ->
    rs_peer:call(Node, fun() ->
                           Holder = whereis(cost_holder),
                           Monitor = monitor(process, Holder),
                           Holder ! {self(), Function},
                           receive
                               {Holder, Result} -> demonitor(Monitor, [flush]), Result;
                               {'DOWN', Monitor, process, Holder, Reason} -> exit(Reason)
                           end
                       end).

%% Runs the function so many times, with what Prepare returned, and gives the calls of one time.
cost(Times, Prepare, Function, Config) ->
    Node = proplists:get_value(node, Config),
    ok = in_holder(Node, fun() -> put(prepared, Prepare()), ok end),
    {ok, Counts} = bench_calls:counts([os_pid(Node)], table(Config),
                                      fun() ->
                                          in_holder(Node, fun() ->
                                                              Prepared = get(prepared),
                                                              lists:foreach(fun(_) -> Function(Prepared) end, lists:seq(1, Times))
                                                          end)
                                      end),
    Counted = maps:with(?COUNTED, Counts),
    ct:pal("~b times: ~0p, all: ~0p", [Times, Counted, Counts]),
    maps:map(fun(_Name, Count) -> Count / Times end, Counted).

total(Costs) -> lists:sum(maps:values(Costs)).

connected(Mode, Arguments, Options) ->
    {Peer, Port} = peer_tool:listen(Mode, Arguments),
    {Peer, Port, fun() ->
                     {ok, Socket} = gen_tcp:connect({127, 0, 0, 1}, Port, [{inet_backend, rs}, binary, {active, false} | Options]),
                     Socket
                 end}.

%%% The cases. The bounds leave room for what happens once in a run, none for one more call an operation.

%% A send that the kernel takes is one call.
send(Config) ->
    {Peer, _, Connect} = connected("sink", [], []),
    Message = binary:copy(<<"m">>, 3000),
    Costs = cost(?TIMES, Connect, fun(Socket) -> ok = gen_tcp:send(Socket, Message) end, Config),
    true = total(Costs) >= 0.95,
    true = total(Costs) =< 1.1,
    _ = peer_tool:stop(Peer).

%% A recv of bytes that have arrived is one call.
recv_what_is_there(Config) ->
    {Peer, _, Connect} = connected("source", ["-s", integer_to_list(64 * ?TIMES)], []),
    Costs = cost(?TIMES, Connect, fun(Socket) -> {ok, <<_:64/binary>>} = gen_tcp:recv(Socket, 64) end, Config),
    true = total(Costs) =< 1.1,
    _ = peer_tool:stop(Peer).

%% 64 KiB are read in few pieces, and waited for seldom.
bulk_recv(Config) ->
    {Peer, _, Connect} = connected("source", ["-s", integer_to_list(?BLOCK * ?TIMES)], []),
    Costs = cost(?TIMES, Connect, fun(Socket) -> {ok, <<_:?BLOCK/binary>>} = gen_tcp:recv(Socket, ?BLOCK) end, Config),
    true = total(Costs) =< 2.5,
    _ = peer_tool:stop(Peer).

%% Messages that arrive together are read together, also when each is asked for.
messages_once(Config) ->
    File = filename:join(proplists:get_value(priv_dir, Config), "messages"),
    ok = file:write_file(File, lists:duplicate(?TIMES, <<100:32, 0:800>>)),
    {Peer, _, Connect} = connected("source", ["-f", File], [{packet, 4}]),
    Costs = cost(?TIMES, Connect,
                 fun(Socket) ->
                     ok = inet:setopts(Socket, [{active, once}]),
                     receive {tcp, Socket, <<_:100/binary>>} -> ok end
                 end, Config),
    true = total(Costs) =< 0.1,
    _ = peer_tool:stop(Peer).

%% There and back: one send, and what it takes to wait for the answer.
round_trip(Config) ->
    {Peer, _, Connect} = connected("echo", [], []),
    Message = binary:copy(<<"m">>, 64),
    Costs = cost(?TIMES, Connect,
                 fun(Socket) ->
                     ok = gen_tcp:send(Socket, Message),
                     {ok, Message} = gen_tcp:recv(Socket, 64)
                 end, Config),
    {Waiting, Rest} = {maps:with(["recvfrom", "recvmsg", "epoll_ctl"], Costs), maps:without(["recvfrom", "recvmsg", "epoll_ctl"], Costs)},
    true = total(Rest) =< 1.1,
    true = total(Waiting) =< 3.5,
    _ = peer_tool:stop(Peer).

%% A byte that is not there yet when it is looked for, again and again: the kernel is not told of each wait.
awaited_recv(Config) ->
    {Peer, _, Connect} = connected("trickle", ["-s", integer_to_list(4 * ?TIMES), "-i", "1000"], []),
    Costs = cost(?TIMES, Connect, fun(Socket) -> {ok, <<_>>} = gen_tcp:recv(Socket, 1) end, Config),
    Reads = total(maps:with(["recvfrom"], Costs)),
    %% Those of the bytes that came before strace did need no wait.
    true = Reads >= 1.2,
    true = Reads =< 2.1,
    true = total(maps:without(["recvfrom"], Costs)) =< 0.1,
    _ = peer_tool:stop(Peer).

%% A connection opened and closed.
connection(Config) ->
    {Peer, _, Connect} = connected("sink", [], []),
    Costs = cost(?TIMES, fun() -> none end, fun(none) -> ok = gen_tcp:close(Connect()) end, Config),
    true = total(Costs) =< 4.9,
    _ = peer_tool:stop(Peer).
