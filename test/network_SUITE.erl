%% Networks that lose, delay, repeat and reorder packets, that are slow, that end, and peers that vanish in them: two hosts of
%% their own (network_hosts), both ends on `inet`, which proves the expectation, and on `rs`. Every stream is compared by
%% a hash, and each case leaves sockets, processes, ports, threads and memory as they were.
%%
%% RS_NETWORK_TIMES says how many times as many bytes go over each connection as usual (1).
-module(network_SUITE).

-export([all/0, groups/0, suite/0, init_per_suite/1, end_per_suite/1, init_per_group/2, end_per_group/2, init_per_testcase/2, end_per_testcase/2]).
-export([delay/1, loss/1, reordering/1, duplication/1, everything_at_once/1]).
-export([loss_by_filter/1, slow_link/1, blackhole_and_back/1, link_down_and_up/1, timeouts_lose_nothing/1, connect_into_nothing/1]).
-export([half_open/1, forgotten_by_the_peer/1, reset_in_a_stream/1]).

-define(DEADLINE, 15000).
-define(BYTES, 200000).
%% What the allocators of a busy VM move up and down.
-define(SLACK, 8 * 1024 * 1024).

suite() ->
    [{timetrap, {minutes, 5}}].

all() ->
    [{group, inet}, {group, rs}].

groups() ->
    Cases = [delay, loss, reordering, duplication, everything_at_once,
             loss_by_filter, slow_link, blackhole_and_back, link_down_and_up, timeouts_lose_nothing, connect_into_nothing,
             half_open, forgotten_by_the_peer, reset_in_a_stream],
    [{Backend, [], Cases} || Backend <- [inet, rs]].

init_per_suite(Config) ->
    {ok, _} = application:ensure_all_started(crypto),
    case network_hosts:cannot() of
        false -> Config;
        Reason -> {skip, Reason}
    end.

end_per_suite(_Config) -> ok.

init_per_group(Backend, Config) ->
    ok = rs_test:start(Backend),
    %% What starts with the first socket stays.
    {Socket, Peer} = rs_test:pair(#{backend => Backend, family => inet}, [], []),
    [ok = gen_tcp:close(End) || End <- [Socket, Peer]],
    [{backend, Backend} | Config].

end_per_group(_Backend, _Config) -> ok.

init_per_testcase(Case, Config) ->
    NeedFilter = [loss_by_filter, blackhole_and_back, timeouts_lose_nothing, connect_into_nothing, half_open, forgotten_by_the_peer,
                  reset_in_a_stream],
    case lists:member(Case, NeedFilter) andalso not network_hosts:with_filter() of
        true -> {skip, "no iptables on this machine"};
        false -> Config
    end.

end_per_testcase(_Case, _Config) -> ok.

backend(Config) -> proplists:get_value(backend, Config).

bytes() ->
    ?BYTES * case os:getenv("RS_NETWORK_TIMES") of
                 false -> 1;
                 Times -> list_to_integer(Times)
             end.

%%% ---- the relay ----

%% What is far away arrives: ten milliseconds each way.
delay(Config) ->
    over_relay(Config, 10000, [], fun(Hosts) ->
        {Client, Server} = connected(Config, Hosts, []),
        Start = erlang:monotonic_time(millisecond),
        ok = talk(Client, Server),
        true = erlang:monotonic_time(millisecond) - Start >= 20
    end, []).

%% Two packets of a hundred are lost.
loss(Config) -> over_relay(Config, 200, ["-l", "0.02"], fun(_) -> ok end, [lost]).

%% One packet of ten is overtaken by those of the next two milliseconds.
reordering(Config) -> over_relay(Config, 200, ["-o", "0.1", "-h", "2000"], fun(_) -> ok end, [reordered]).

%% One packet of ten comes twice.
duplication(Config) -> over_relay(Config, 200, ["-u", "0.1"], fun(_) -> ok end, [duplicated]).

%% All of that.
everything_at_once(Config) ->
    over_relay(Config, 2000, ["-l", "0.01", "-o", "0.05", "-h", "5000", "-u", "0.05"], fun(_) -> ok end, [lost, reordered, duplicated]).

%% The relay has done to the packets what it was asked for.
over_relay(Config, Microseconds, Options, Before, Done) ->
    watched(fun() ->
        Hosts = network_hosts:relay(Microseconds, Options),
        _ = Before(Hosts),
        Time = network_stream:exchange(backend(Config), Hosts, bytes()),
        Counts = network_hosts:remove(Hosts),
        [true = maps:get(Key, Counts) > 0 || Key <- [relayed | Done]],
        told(Time, io_lib:format("; packets ~0p", [Counts]))
    end).

told(Time, More) ->
    lists:flatten(io_lib:format("~w connections, ~w bytes each way in ~w ms~ts", [network_stream:connections(), bytes(), Time, More])).

%%% ---- the cable ----

%% Two packets of a hundred are lost in the kernel, which may carry 64 KiB in one.
loss_by_filter(Config) ->
    over_cable(fun(Hosts) ->
        ok = network_hosts:lose(0.02, Hosts),
        told(network_stream:exchange(backend(Config), Hosts, bytes()), "")
    end).

%% Senders wait for a link that carries 40 Mbit/s.
slow_link(Config) ->
    over_cable(fun(Hosts) ->
        Rate = 40000000,
        ok = network_hosts:slow(Rate, Hosts),
        Time = network_stream:exchange(backend(Config), Hosts, bytes()),
        %% No faster than the link, but for what a full bucket lets through.
        true = Time >= 0.9 * network_stream:connections() * bytes() * 8 * 1000 / Rate,
        told(Time, "")
    end).

%% In the middle of all streams nothing arrives any more, and later it does again.
blackhole_and_back(Config) ->
    interrupted(Config, fun network_hosts:blackhole/1, fun network_hosts:heal/1).

%% The cable is out in the middle of all streams, and in again.
link_down_and_up(Config) ->
    interrupted(Config, fun(Hosts) -> network_hosts:link(down, b, Hosts) end, fun(Hosts) -> network_hosts:link(up, b, Hosts) end).

interrupted(Config, Cut, Join) ->
    over_cable(fun(Hosts) ->
        Time = network_stream:exchange(backend(Config), Hosts, bytes(), fun(Go, Received) ->
            ok = Cut(Hosts),
            %% What had come is read.
            Then = steady(Received),
            ok = Go(),
            %% The senders fill what there is, and wait.
            Then = steady(Received),
            ok = Join(Hosts)
        end),
        told(Time, "")
    end).

%% The count when it has not moved for a fifth of a second.
steady(Count) -> steady(Count, Count(), 200).

steady(_Count, Value, 0) -> Value;
steady(Count, Value, Looks) ->
    receive after 1 -> ok end,
    case Count() of
        Value -> steady(Count, Value, Looks - 1);
        Other -> steady(Count, Other, 200)
    end.

%% A send and a recv whose time is over in a blackhole have neither lost nor doubled a byte when it ends.
timeouts_lose_nothing(Config) ->
    over_cable(fun(Hosts) ->
        {Client, Server} = connected(Config, Hosts, [{send_timeout, 300}]),
        Data = iolist_to_binary(network_stream:data(?FUNCTION_NAME, 8000000)),
        ok = network_hosts:blackhole(Hosts),
        Receiver = rs_test:async_owner(Server, fun() ->
            [{error, timeout} = gen_tcp:recv(Server, 1000, 100) || _ <- [1, 2, 3]],
            {ok, All} = gen_tcp:recv(Server, byte_size(Data), 2 * ?DEADLINE),
            crypto:hash(sha256, All)
        end),
        <<Head:4000000/binary, Tail/binary>> = Data,
        %% The first one finds an empty queue; the next has to wait for it.
        Results = [gen_tcp:send(Client, Part) || Part <- [Head, Tail]],
        true = lists:member({error, timeout}, Results),
        ok = network_hosts:heal(Hosts),
        Hash = crypto:hash(sha256, Data),
        {Hash, []} = rs_test:await(Receiver),
        ok = rs_test:kill_all()
    end).

%% A connect that nobody answers ends when its time is over, when the kernel gives up, or when its caller is killed; a link
%% that is down is no route.
connect_into_nothing(Config) ->
    over_cable(fun(Hosts) ->
        Connect = fun(Options, Time) -> gen_tcp:connect(network_hosts:address(a), 1, options(Config, b, Hosts, Options), Time) end,
        {error, econnrefused} = Connect([], ?DEADLINE),
        ok = network_hosts:blackhole(Hosts),
        {error, timeout} = Connect([], 200),
        %% TCP_USER_TIMEOUT (18) of TCP (6): gives up with the first repetition after a second.
        {error, etimedout} = Connect([{raw, 6, 18, <<500:32/native>>}], ?DEADLINE),
        Fds = rs_test:socket_fds(),
        Waiting = rs_test:async(fun() -> Connect([], infinity) end),
        ok = rs_test:poll(fun() -> rs_test:socket_fds() =:= Fds + 1 end),
        ok = rs_test:kill(Waiting),
        ok = rs_test:poll(fun() -> rs_test:socket_fds() =:= Fds end),
        ok = network_hosts:link(down, b, Hosts),
        {error, enetunreach} = Connect([], ?DEADLINE)
    end).

%%% ---- peers that vanish ----

%% A peer that vanished without a word is found by keepalive where nothing is sent, and by user_timeout where something is.
half_open(Config) ->
    over_cable(fun(Hosts) ->
        %% TCP_KEEPIDLE (4), TCP_KEEPINTVL (5): seconds; TCP_KEEPCNT (6).
        Keepalive = [{keepalive, true}, {raw, 6, 4, <<1:32/native>>}, {raw, 6, 5, <<1:32/native>>}, {raw, 6, 6, <<2:32/native>>}],
        %% Milliseconds.
        UserTimeout = [{raw, 6, 18, <<1000:32/native>>}],
        Messages = fun(Socket) -> [{tcp_error, Socket, etimedout}, {tcp_closed, Socket}] = [rs_test:next(), rs_test:next()], messages end,
        Roles = [{idle_active, Keepalive ++ [{active, true}], Messages, messages},
                 {idle_once, Keepalive ++ [{active, once}], Messages, messages},
                 {idle_recv, Keepalive, fun(Socket) -> gen_tcp:recv(Socket, 0, ?DEADLINE) end, {error, etimedout}},
                 {idle_later, Keepalive, fun(Socket) -> ok = rs_test:reset_arrived(Socket), gen_tcp:recv(Socket, 0, 0) end, {error, etimedout}},
                 {unanswered_active, UserTimeout ++ [{active, true}], fun(Socket) -> ok = gen_tcp:send(Socket, "?"), Messages(Socket) end, messages},
                 {unanswered_recv, UserTimeout, fun(Socket) -> ok = gen_tcp:send(Socket, "?"), gen_tcp:recv(Socket, 0, ?DEADLINE) end,
                  {error, etimedout}},
                 {full_sender, UserTimeout, fun send_until_error/1, {error, closed}}],
        Runs = [begin
                    {Client, Server} = connected(Config, Hosts, Options),
                    Run = rs_test:async_owner(Client, fun() ->
                        receive vanished -> ok end,
                        Outcome = Do(Client),
                        {Name, Outcome, erlang:monotonic_time(millisecond)}
                    end),
                    {Name, Expected, Run, Server}
                end || {Name, Options, Do, Expected} <- Roles],
        ok = network_hosts:blackhole(Hosts),
        Start = erlang:monotonic_time(millisecond),
        [rs_test:pid_of(Run) ! vanished || {_, _, Run, _} <- Runs],
        Times = [begin
                     {{Name, Expected, End}, []} = rs_test:await(Run),
                     {Name, End - Start}
                 end || {Name, Expected, Run, _} <- Runs],
        %% Neither before its time nor much later.
        [true = Time >= 900 andalso Time < ?DEADLINE || {_, Time} <- Times],
        ok = rs_test:kill_all(),
        ok = network_hosts:heal(Hosts),
        lists:flatten(io_lib:format("found after, in ms: ~0p", [Times]))
    end).

send_until_error(Socket) ->
    case gen_tcp:send(Socket, <<0:65536/unit:8>>) of
        ok -> send_until_error(Socket);
        Error -> Error
    end.

%% A peer that has lost its memory answers with a reset, which is told as any other.
forgotten_by_the_peer(Config) ->
    over_cable(fun(Hosts) ->
        Roles = [{[{active, true}], fun(Socket) -> {tcp_closed, Socket} = rs_test:next(), nothing = rs_test:next(0), closed end, closed},
                 {[{active, true}, {show_econnreset, true}],
                  fun(Socket) -> [{tcp_error, Socket, econnreset}, {tcp_closed, Socket}] = [rs_test:next(), rs_test:next()], reset end, reset},
                 {[], fun(Socket) -> gen_tcp:recv(Socket, 0, ?DEADLINE) end, {error, closed}},
                 {[{show_econnreset, true}], fun(Socket) -> gen_tcp:recv(Socket, 0, ?DEADLINE) end, {error, econnreset}}],
        Ends = [{connected(Config, Hosts, Options), Do, Expected} || {Options, Do, Expected} <- Roles],
        ok = network_hosts:blackhole(Hosts),
        [ok = rs_test:reset(Server) || {{_, Server}, _, _} <- Ends],
        ok = network_hosts:heal(Hosts),
        [begin
             ok = gen_tcp:send(Client, "are you there?"),
             Expected = Do(Client),
             ok = gen_tcp:close(Client)
         end || {{Client, _}, Do, Expected} <- Ends],
        ok
    end).

%% What had come before a reset in the middle of a stream is read, a clean beginning of what was sent; the sender is told.
reset_in_a_stream(Config) ->
    over_cable(fun(Hosts) ->
        {Client, Server} = connected(Config, Hosts, []),
        Data = iolist_to_binary(network_stream:data(?FUNCTION_NAME, 1000000)),
        Sender = rs_test:async_owner(Client, fun() -> send_for_ever(Client, Data) end),
        {ok, Begin} = gen_tcp:recv(Server, 3000000, ?DEADLINE),
        ok = network_hosts:reset_what_comes(a, Hosts),
        %% The sender waits for room, which the reader doesn't make: its next packet asks for it.
        {{error, closed}, []} = rs_test:await(Sender),
        {Rest, timeout} = read_rest(Server, []),
        Whole = <<Begin/binary, Rest/binary>>,
        Hash = hash_of_repeated(Data, byte_size(Whole)),
        Hash = crypto:hash(sha256, Whole),
        %% The reader is half-open; the other host knows nothing of its connection any more.
        ok = network_hosts:heal(Hosts),
        ok = gen_tcp:send(Server, "?"),
        {error, closed} = gen_tcp:recv(Server, 0, ?DEADLINE),
        ok = rs_test:kill_all(),
        lists:flatten(io_lib:format("~w bytes before the reset", [byte_size(Whole)]))
    end).

send_for_ever(Socket, Data) ->
    case gen_tcp:send(Socket, Data) of
        ok -> send_for_ever(Socket, Data);
        Error -> Error
    end.

read_rest(Socket, Data) ->
    case gen_tcp:recv(Socket, 0, 0) of
        {ok, More} -> read_rest(Socket, [Data, More]);
        {error, Reason} -> {iolist_to_binary(Data), Reason}
    end.

hash_of_repeated(Data, Length) ->
    Copies = Length div byte_size(Data) + 1,
    crypto:hash(sha256, binary:part(binary:copy(Data, Copies), 0, Length)).

%%% ---- making connections, and looking at what is left ----

over_cable(Function) ->
    watched(fun() ->
        Hosts = network_hosts:cable(),
        try Function(Hosts) after network_hosts:remove(Hosts) end
    end).

options(Config, Which, Hosts, Options) ->
    [{inet_backend, backend(Config)}, {netns, network_hosts:file(Which, Hosts)}, binary, {active, false} | Options].

%% A client on b with these options, and a server on a.
connected(Config, Hosts, Options) ->
    {ok, Listen} = gen_tcp:listen(0, options(Config, a, Hosts, [])),
    {ok, Port} = inet:port(Listen),
    {ok, Client} = gen_tcp:connect(network_hosts:address(a), Port, options(Config, b, Hosts, Options), ?DEADLINE),
    {ok, Server} = gen_tcp:accept(Listen, ?DEADLINE),
    ok = gen_tcp:close(Listen),
    {Client, Server}.

talk(Client, Server) ->
    ok = gen_tcp:send(Client, "there"),
    {ok, <<"there">>} = gen_tcp:recv(Server, 5, ?DEADLINE),
    ok = gen_tcp:send(Server, "and back"),
    {ok, <<"and back">>} = gen_tcp:recv(Client, 8, ?DEADLINE),
    ok.

%% Runs the case in a process of its own; when that has ended, everything is as it was before.
watched(Function) ->
    Before = counts(),
    Memory = memory(),
    {Pid, Monitor} = spawn_monitor(fun() -> exit({result, Function()}) end),
    Result = receive {'DOWN', Monitor, process, Pid, Reason} -> Reason end,
    case Result of
        {result, Told} ->
            _ = rs_test:attempt(fun() -> rs_test:poll(fun() -> counts() =:= Before end) end),
            Before = counts(),
            Left = memory() - Memory,
            true = Left < ?SLACK,
            case Told of
                [_ | _] -> {comment, Told};
                _ -> ok
            end;
        Other ->
            error(Other)
    end.

counts() ->
    {ok, Names} = file:list_dir("/proc/self/task"),
    #{sockets => rs_test:socket_fds(), fds => rs_test:fd_count(), processes => length(processes()), ports => length(erlang:ports()),
      threads => length(Names),
      %% The VM starts programs through one of its own; and the namespaces.
      programs => os:cmd("pgrep -c -P $(pgrep -d , -P " ++ os:getpid() ++ ")"),
      namespaces => os:cmd("ip netns list | grep -c '^gen_tcp_rs-net-" ++ os:getpid() ++ "-'")}.

memory() ->
    [erlang:garbage_collect(Process) || Process <- processes()],
    erlang:memory(total).
