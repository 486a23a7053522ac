%% Processes that are killed at random points of their work on sockets, the application stopped under
%% traffic, a peer node killed, a listener's owner dying with a full backlog: afterwards nothing is left.
%%
%% Environment: RS_KILLS, how many processes are killed on rs; without it as many as fit into 20 seconds.
-module(kill_SUITE).

-export([suite/0, all/0, groups/0, init_per_group/2, end_per_group/2]).
-export([processes_killed/1, application_stopped/1, peer_killed/1, listener_killed_with_a_backlog/1]).

-define(DEADLINE, 60000).

suite() -> [{timetrap, {minutes, 30}}].
all() -> [{group, inet}, {group, rs}].
groups() ->
    rs_test:groups_of([processes_killed, peer_killed, listener_killed_with_a_backlog], [], [application_stopped]).
init_per_group(Group, Config) -> rs_test:init_group(Group, Config).
end_per_group(Group, Config) -> rs_test:end_group(Group, Config).

%% Owners, acceptors, receivers, senders and those who connect are killed while they work: what remains
%% answers, no frame of a killed sender is lost or cut, and nothing is left of the dead.
processes_killed(Config) ->
    #{backend := Backend} = C = rs_test:context(Config),
    Until = case {Backend, os:getenv("RS_KILLS")} of
                {inet, _} -> {milliseconds, 4000};
                {rs, false} -> {milliseconds, 20000};
                {rs, Text} -> {kills, list_to_integer(Text)}
            end,
    _ = killed(C, {kills, 300}),
    Before = measure(),
    {Microseconds, {Kills, Frames}} = timer:tc(fun() -> killed(C, Until) end),
    ok = returned(Before),
    Comment = io_lib:format("~w processes killed, ~w a second; ~w frames of killed senders",
                            [Kills, Kills * 1000000 div Microseconds, Frames]),
    io:format(user, "~s: ~s~n", [Backend, Comment]),
    {comment, Comment}.

killed(C, Until) ->
    Listen = rs_test:listen(C, [{backlog, 1024}]),
    Shared = {Sender, Receiver} = rs_test:pair(C, [{packet, 4}], [{packet, 4}]),
    {Taker, TakerMonitor} = spawn_monitor(fun() -> sink(Listen, []) end),
    {Checker, CheckerMonitor} = spawn_monitor(fun() -> exit({checked, checked(Receiver, #{}, 0)}) end),
    %% Those at work leave no processor idle: whoever kills goes first.
    Priority = process_flag(priority, high),
    End = case Until of
              {kills, Count} -> fun(Kills) -> Kills >= Count end;
              {milliseconds, Time} ->
                  Stop = erlang:monotonic_time(millisecond) + Time,
                  fun(_) -> erlang:monotonic_time(millisecond) >= Stop end
          end,
    Kills = killing(fun() -> work(C, Listen, Shared, rand:uniform(8)) end, End, 0, queue:new(), #{}),
    high = process_flag(priority, Priority),
    true = exit(Taker, kill),
    receive {'DOWN', TakerMonitor, process, Taker, killed} -> ok end,
    %% Who is left is served.
    {ok, Client} = rs_test:connect(C, Listen, []),
    Server = served(Listen, Client),
    ok = gen_tcp:send(Client, "alive"),
    {ok, <<"alive">>} = gen_tcp:recv(Server, 5, ?DEADLINE),
    ok = gen_tcp:send(Sender, term_to_binary(last)),
    Frames = receive {'DOWN', CheckerMonitor, process, Checker, {checked, Checked}} -> Checked
             after ?DEADLINE -> error(not_checked)
             end,
    [ok = gen_tcp:close(Socket) || Socket <- [Client, Server, Listen, Sender, Receiver]],
    {Kills, Frames}.

%% Connections of killed clients are in the backlog before the living one's.
served(Listen, Client) ->
    {ok, Name} = inet:sockname(Client),
    Server = rs_test:accept(Listen),
    case inet:peername(Server) of
        {ok, Name} -> Server;
        _ ->
            ok = gen_tcp:close(Server),
            served(Listen, Client)
    end.

%% Takes what no other acceptor takes, so that the backlog never fills, and holds some for a while.
sink(Listen, Held) when length(Held) < 10 ->
    {ok, Socket} = gen_tcp:accept(Listen),
    sink(Listen, [Socket | Held]);
sink(Listen, Held) ->
    lists:foreach(fun gen_tcp:close/1, Held),
    sink(Listen, []).

%% Every frame is whole, and each sender's are there from the first on without a gap.
checked(Socket, Last, Count) ->
    {ok, Frame} = gen_tcp:recv(Socket, 0, infinity),
    case binary_to_term(Frame) of
        last -> Count;
        {Pid, Number, _} ->
            Number = maps:get(Pid, Last, 0) + 1,
            %% Late now and then, so that senders wait.
            _ = [receive after 2 -> ok end || Count rem 500 =:= 0],
            checked(Socket, Last#{Pid => Number}, Count + 1)
    end.

%% Forty at work at any time, the oldest is killed; some deaths are under way.
killing(Work, End, Kills, Working, Dying) ->
    Over = End(Kills),
    case {queue:len(Working), maps:size(Dying)} of
        {0, 0} when Over ->
            Kills;
        {Few, _} when Few < 40, not Over ->
            {Pid, _} = spawn_monitor(Work),
            killing(Work, End, Kills, queue:in(Pid, Working), Dying);
        {Some, Few} when Few < 10, Some > 0 ->
            {{value, Oldest}, Rest} = queue:out(Working),
            pause(rand:uniform(8)),
            true = exit(Oldest, kill),
            killing(Work, End, Kills + 1, Rest, Dying#{Oldest => dying});
        _ ->
            killing(Work, End, Kills, Working, died(Dying))
    end.

died(Dying) ->
    receive
        {'DOWN', _, process, Pid, killed} when is_map_key(Pid, Dying) -> maps:remove(Pid, Dying);
        {'DOWN', _, process, _, Reason} -> error({not_killed, Reason})
    after ?DEADLINE -> error({immortal, [process_info(Pid, current_stacktrace) || Pid <- maps:keys(Dying)]})
    end.

%% Some microseconds, so that no two are killed at the same point.
pause(1) -> receive after 1 -> ok end;
pause(Count) when Count < 5 -> _ = [erlang:phash2(Number) || Number <- lists:seq(1, rand:uniform(300))], ok;
pause(_) -> ok.

%% What the processes do over and over; each has a socket of its own or one that its friend shares.
work(C, Listen, {Sender, _}, Kind) ->
    case Kind of
        1 -> forever(fun() -> closed_after(gen_tcp:accept(Listen, rand:uniform(20))) end);
        2 -> forever(fun() -> closed_after(rs_test:connect(C, Listen, [{active, true}, {linger, {true, 0}}])) end);
        3 -> with_friend(C, Listen, fun(S) -> gen_tcp:recv(S, rand:uniform(100), rand:uniform(20)) end,
                         fun(S) -> gen_tcp:send(S, <<0:100/unit:8>>) end);
        4 -> with_friend(C, Listen, fun(S) -> inet:setopts(S, [{active, once}]), receive _ -> ok after 1 -> ok end end,
                         fun(S) -> gen_tcp:send(S, <<0:100/unit:8>>) end);
        %% Senders that wait: nobody reads.
        5 -> with_friend(C, Listen, fun(S) -> gen_tcp:send(S, <<0:1000000/unit:8>>) end,
                         fun(S) -> gen_tcp:send(S, <<0:1000000/unit:8>>) end);
        6 -> with_friend(C, Listen, fun(S) -> inet:monitor(S), pause(1), gen_tcp:shutdown(S, write), pause(1) end,
                         fun(S) -> gen_tcp:recv(S, 0) end);
        7 -> with_friend(C, Listen, fun(S) -> gen_tcp:controlling_process(S, self()), inet:getopts(S, [active]) end,
                         fun(S) -> inet:monitor(S), gen_tcp:close(S), pause(1) end);
        8 -> send_frames(Sender, 1)
    end.

%% Of up to 100 kB, so that the queue becomes long.
send_frames(Socket, Number) ->
    ok = gen_tcp:send(Socket, term_to_binary({self(), Number, <<0:(rand:uniform(100000))/unit:8>>})),
    send_frames(Socket, Number + 1).

%% The two die together: the friend is not killed, but sees it.
with_friend(C, Listen, Act, FriendActs) ->
    case rs_test:connect(C, Listen, [{linger, {true, 0}}]) of
        {ok, Socket} ->
            Self = self(),
            _ = spawn(fun() ->
                              Monitor = erlang:monitor(process, Self),
                              befriended(Monitor, Socket, FriendActs)
                      end),
            forever(fun() -> Act(Socket) end);
        {error, _} ->
            with_friend(C, Listen, Act, FriendActs)
    end.

befriended(Monitor, Socket, Act) ->
    receive {'DOWN', Monitor, process, _, _} -> ok
    after 0 ->
            case Act(Socket) of
                {error, _} -> receive {'DOWN', Monitor, process, _, _} -> ok end;
                _ -> befriended(Monitor, Socket, Act)
            end
    end.

forever(Act) ->
    _ = Act(),
    erlang:yield(),
    forever(Act).

closed_after({ok, Socket}) -> gen_tcp:close(Socket);
closed_after({error, _}) -> ok.

%% The application stops with traffic on ten connections and starts again, several times: callers get
%% errors, not crashes, and new sockets work at once.
application_stopped(Config) ->
    C = rs_test:context(Config),
    Round = fun() ->
                    Talking = [spawn_monitor(fun() -> talk(C) end) || _ <- lists:seq(1, 10)],
                    receive after 30 -> ok end,
                    ok = application:stop(gen_tcp_rs),
                    [] = gen_tcp_rs:which_sockets(),
                    [receive {'DOWN', Monitor, process, Pid, Reason} -> normal = Reason
                     after ?DEADLINE -> error({stuck, process_info(Pid, current_stacktrace)})
                     end || {Pid, Monitor} <- Talking],
                    ok = rs_test:start(rs)
            end,
    Round(),
    ok = rs_test:barrier(C#{backend := inet}),
    Before = measure(),
    [Round() || _ <- lists:seq(1, 8)],
    ok = returned(Before),
    ok.

%% Sends and receives until an error says that it is over.
talk(C) ->
    try
        {Client, Server} = rs_test:pair(C, [{send_timeout, 1000}], []),
        Self = self(),
        {Reader, Monitor} = spawn_monitor(fun() -> read_to_the_end(Server) end),
        _ = gen_tcp:controlling_process(Server, Reader),
        Self = write_to_the_end(Client, Self),
        receive {'DOWN', Monitor, process, Reader, Reason} -> exit(Reason) end
    catch
        %% The helpers of the suite insist on a socket, which there is none of any more.
        error:{badmatch, {error, _}} -> ok;
        error:{case_clause, {error, _}} -> ok;
        exit:badarg -> ok
    end.

write_to_the_end(Socket, Self) ->
    case gen_tcp:send(Socket, <<0:10000/unit:8>>) of
        ok -> write_to_the_end(Socket, Self);
        {error, _} -> Self
    end.

read_to_the_end(Socket) ->
    case gen_tcp:recv(Socket, 0) of
        {ok, _} -> read_to_the_end(Socket);
        {error, _} -> ok
    end.

%% A peer node is killed under traffic in both directions: each socket is told once, and none is left.
peer_killed(Config) ->
    C = rs_test:context(Config),
    Round = fun() ->
                    Listen = rs_test:listen(C, [{active, true}, {backlog, 256}]),
                    {Address, Port} = rs_test:address_of(Listen),
                    Peer = rs_peer:start(),
                    unlink(Peer),
                    Pid = rs_peer:call(Peer, fun() -> talkers(Address, Port, 100), os:getpid() end),
                    Sockets = [rs_test:accept(Listen) || _ <- lists:seq(1, 100)],
                    [receive {tcp, Socket, _} -> ok after ?DEADLINE -> error(silence) end || Socket <- Sockets],
                    _ = os:cmd("kill -9 " ++ Pid),
                    [ok = told_once(Socket) || Socket <- Sockets],
                    ok = gen_tcp:close(Listen),
                    Monitor = erlang:monitor(process, Peer),
                    receive {'DOWN', Monitor, process, Peer, _} -> ok after ?DEADLINE -> error(peer) end
            end,
    Round(),
    Before = measure(),
    [Round() || _ <- [1, 2, 3]],
    ok = returned(Before),
    [] = rs_test:mailbox(),
    ok.

talkers(Address, Port, Count) ->
    [spawn(fun() ->
                   {ok, Socket} = gen_tcp:connect(Address, Port, [{inet_backend, inet}, binary, {active, true}]),
                   forever(fun() -> gen_tcp:send(Socket, <<0:1000/unit:8>>), receive after 1 -> ok end end)
           end) || _ <- lists:seq(1, Count)].

told_once(Socket) ->
    receive
        {tcp_closed, Socket} -> ok;
        {tcp, Socket, _} -> told_once(Socket)
    after ?DEADLINE -> error({not_told, Socket})
    end.

%% The owner of a listener dies with its backlog full and acceptors gone: every client sees the end.
listener_killed_with_a_backlog(Config) ->
    C = rs_test:context(Config),
    Self = self(),
    Round = fun() ->
                    Owner = spawn(fun() ->
                                          Listen = rs_test:listen(C, [{backlog, 100}]),
                                          Self ! {listening, rs_test:address_of(Listen)},
                                          receive never -> Listen end
                                  end),
                    {Address, Port} = receive {listening, Where} -> Where after ?DEADLINE -> error(nothing) end,
                    Clients = [begin
                                   {ok, Socket} = gen_tcp:connect(Address, Port, rs_test:options(C, [{active, false}]),
                                                                  ?DEADLINE),
                                   Socket
                               end || _ <- lists:seq(1, 100)],
                    exit(Owner, kill),
                    [{error, closed} = gen_tcp:recv(Client, 0, ?DEADLINE) || Client <- Clients],
                    [ok = gen_tcp:close(Client) || Client <- Clients]
            end,
    Round(),
    Before = measure(),
    [Round() || _ <- lists:seq(1, 5)],
    ok = returned(Before),
    ok.

%%% ---- counting ----

measure() ->
    {ok, Tasks} = file:list_dir("/proc/self/task"),
    _ = [erlang:garbage_collect(Pid) || Pid <- processes()],
    #{sockets => rs_test:socket_fds(), processes => erlang:system_info(process_count),
      ports => erlang:system_info(port_count), threads => length(Tasks),
      monitors => length(monitors()), memory => erlang:memory(total) div (4 * 1024 * 1024)}.

%% Who is watched by the process that explains exits.
monitors() ->
    case whereis(gen_tcp_rs_monitors) of
        undefined -> [];
        Pid -> element(2, process_info(Pid, monitors))
    end.

returned(Before) ->
    Above = fun() -> Now = measure(), [{Key, Was, maps:get(Key, Now)} || {Key, Was} <- maps:to_list(Before),
                                                                   maps:get(Key, Now) > Was + slack(Key)] end,
    try rs_test:poll(fun() -> Above() =:= [] end, ?DEADLINE)
    catch error:deadline -> {left, Above()}
    end.

%% What the allocators keep.
slack(memory) -> 1;
slack(_) -> 0.
