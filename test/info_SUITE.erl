%% What is shown of the sockets and of the library.
-module(info_SUITE).

-export([all/0, suite/0, init_per_suite/1, end_per_suite/1]).
-export([every_socket_has_a_row/1, who_waits/1, queued_output/1, a_socket_that_drains/1, a_full_backlog/1,
         nobody_is_asked/1, idle_and_rtt/1, the_printed_table/1, sorted/1, hostile_names/1, info_of_one/1]).
-export([totals_of_reads_and_writes/1, totals_of_a_queue/1, totals_of_a_burst/1, sockets_by_state/1, lock_times/1]).

-import(rs_test, [async/1, await/1, blocked/1, client/2, listen/2, pair/3, pid_of/1, poll/1]).

-define(INET, #{backend => rs, family => inet}).

suite() ->
    [{timetrap, {minutes, 1}}].

all() ->
    [every_socket_has_a_row, who_waits, queued_output, a_socket_that_drains, a_full_backlog, nobody_is_asked, idle_and_rtt,
     the_printed_table, sorted, hostile_names, info_of_one,
     totals_of_reads_and_writes, totals_of_a_queue, totals_of_a_burst, sockets_by_state, lock_times].

init_per_suite(Config) ->
    ok = rs_test:start(rs),
    Config.

end_per_suite(_Config) ->
    ok.

row(Socket) ->
    case [Row || #{socket := Shown} = Row <- gen_tcp_rs_observe:rows(), Shown =:= Socket] of
        [Row] -> Row;
        [] -> none
    end.

%% Each open socket of each family has one row, which says what inet says of it; a closed one has none.
every_socket_has_a_row(_Config) ->
    Self = self(),
    [begin
         Context = ?INET#{family := Family},
         Listen = listen(Context, [{packet, 4}, list]),
         {Client, Server} = pair(Context, [{packet, 2}, binary, {active, once}], [{packet, 2}, binary, {active, 7}]),
         ok = gen_tcp:send(Client, "hello"),
         receive {tcp, Server, <<"hello">>} -> ok end,
         #{state := listening, owner := Self, family := Family, active := false, mode := list, packet := 4, recv_oct := 0,
           send_oct := 0, queued := 0, remote := undefined, local := Address} = row(Listen),
         {ok, Address} = inet:sockname(Listen),
         #{state := connected, owner := Self, active := once, mode := binary, packet := 2, recv_oct := 0, send_oct := 7,
           local := Here, remote := There} = row(Client),
         {{ok, Here}, {ok, There}} = {inet:sockname(Client), inet:peername(Client)},
         #{state := connected, active := 6, recv_oct := 7, send_oct := 0, local := There, remote := Here} = row(Server),
         [ok = gen_tcp:close(Socket) || Socket <- [Listen, Client, Server]],
         [none, none, none] = [row(Socket) || Socket <- [Listen, Client, Server]]
     end || Family <- [inet, inet6, local]],
    ok.

%% Processes that wait in accept, recv and send are counted.
who_waits(_Config) ->
    Listen = listen(?INET, []),
    Acceptors = [blocked(async(fun() -> gen_tcp:accept(Listen) end)) || _ <- [1, 2]],
    #{num_acceptors := 2, num_readers := 0, num_writers := 0} = row(Listen),
    {Socket, Peer} = client(?INET, []),
    Reader = blocked(async(fun() -> gen_tcp:recv(Socket, 0) end)),
    #{num_acceptors := 0, num_readers := 1, num_writers := 0} = row(Socket),
    _ = rs_test:fill(Socket),
    Writers = [blocked(async(fun() -> gen_tcp:send(Socket, <<0:8000/unit:8>>) end)) || _ <- [1, 2, 3]],
    #{num_readers := 1, num_writers := 3} = row(Socket),
    [ok = rs_test:kill(Pid) || Pid <- [Reader | Acceptors ++ Writers]],
    ok = poll(fun() -> #{num_readers := Readers} = row(Socket), Readers =:= 0 end),
    ok = poll(fun() -> #{num_writers := Count} = row(Socket), Count =:= 0 end),
    ok = gen_tcp:close(Peer).

%% Bytes that the kernel does not take are shown as queued.
queued_output(_Config) ->
    {Socket, Peer} = client(?INET, []),
    Count = rs_test:fill(Socket),
    ok = rs_test:stalled(Socket),
    #{queued := Queued, send_oct := Count} = row(Socket),
    true = Queued > 1000000 andalso Queued < Count,
    {ok, [{send_pend, Queued}]} = inet:getstat(Socket, [send_pend]),
    ok = rs_test:drain(Peer, Count),
    ok = poll(fun() -> #{queued := Left} = row(Socket), Left =:= 0 end),
    ok = gen_tcp:close(Socket).

%% A socket that is closed for everybody but still writes is seen until it has written all.
a_socket_that_drains(_Config) ->
    Test = self(),
    Owner = spawn(fun() ->
                      {Socket, Peer} = client(?INET, []),
                      Count = rs_test:fill(Socket),
                      ok = gen_tcp:controlling_process(Peer, Test),
                      Test ! {self(), Socket, Peer, Count}
                  end),
    {Socket, Peer, Count} = receive {Owner, S, P, C} -> {S, P, C} end,
    ok = poll(fun() -> maps:get(state, row(Socket)) =:= draining end),
    #{owner := Owner, queued := Queued} = row(Socket),
    #{sockets := #{draining := 1}, queued := All} = gen_tcp_rs:stats(),
    true = Queued > 0 andalso All > 0,
    ok = rs_test:drain(Peer, Count),
    ok = poll(fun() -> row(Socket) =:= none end),
    ok = gen_tcp:close(Peer).

%% A listener tells how many connections wait for an accept.
a_full_backlog(_Config) ->
    Listen = listen(?INET, [{backlog, 10}]),
    #{backlog := 0} = row(Listen),
    {Address, Port} = rs_test:address_of(Listen),
    Clients = [element(2, {ok, _} = gen_tcp:connect(Address, Port, [{inet_backend, inet}])) || _ <- [1, 2, 3]],
    ok = poll(fun() -> #{backlog := Backlog} = row(Listen), Backlog =:= 3 end),
    [ok = gen_tcp:close(Socket) || Socket <- [Listen | Clients]],
    ok.

%% An owner that does not run is shown like any other, and gets no message.
nobody_is_asked(_Config) ->
    {Socket, Peer} = client(?INET, []),
    Owner = async(fun() -> receive go -> process_info(self(), messages) end end),
    Pid = pid_of(Owner),
    ok = gen_tcp:controlling_process(Socket, Pid),
    true = erlang:suspend_process(Pid),
    #{owner := Pid, state := connected} = row(Socket),
    ok = printed(fun() -> gen_tcp_rs:i() end, pid_to_list(Pid)),
    _ = gen_tcp_rs:stats(),
    true = erlang:resume_process(Pid),
    Pid ! go,
    {{messages, []}, []} = await(Owner),
    ok = gen_tcp:close(Peer).

%% The kernel's round trip and the time since the last byte, in either direction, are shown of connections.
idle_and_rtt(_Config) ->
    {Client, Server} = pair(?INET, [], []),
    ok = gen_tcp:send(Client, "x"),
    {ok, <<"x">>} = gen_tcp:recv(Server, 0),
    ok = poll(fun() -> #{idle := Idle} = row(Server), Idle >= 200 end),
    ok = gen_tcp:send(Client, "y"),
    [begin
         #{idle := Idle, rtt := Rtt} = row(Socket),
         {true, _} = {Idle < 200 andalso Rtt > 0, Idle}
     end || Socket <- [Client, Server]],
    #{idle := undefined, rtt := undefined} = row(listen(?INET, [])),
    {Local, _} = pair(?INET#{family := local}, [], []),
    #{idle := undefined, rtt := undefined} = row(Local),
    ok.

%% The table has a heading and a line of each socket, in columns.
the_printed_table(_Config) ->
    {Client, Server} = pair(?INET, [{packet, 4}], []),
    {ok, {_, Port}} = inet:sockname(Client),
    Text = output(fun() -> gen_tcp_rs:i(send_oct) end),
    [Heading | Lines] = string:split(string:trim(Text), "\n", all),
    true = length(Lines) =:= length(gen_tcp_rs:which_sockets()),
    ["Owner", "Local", "Remote", "State", "Active", "Mode", "Packet", "In", "Out*" | _] = string:lexemes(Heading, " "),
    Here = "127.0.0.1:" ++ integer_to_list(Port),
    [Line] = [Line || Line <- Lines, lists:nth(2, string:lexemes(Line, " ")) =:= Here],
    [Owner, Here, _There, "connected", "false", "binary", "4", "0", "0", "0" | _] = string:lexemes(Line, " "),
    Owner = pid_to_list(self()),
    %% Every column starts where its heading does.
    [true = lists:nth(string:str(Heading, Title) - 1, Shown) =:= $\s || Shown <- Lines, Title <- ["Local", "State", "In", "Queued"]],
    {'EXIT', _} = catch gen_tcp_rs:i(no_such_column),
    [ok = gen_tcp:close(Socket) || Socket <- [Client, Server]],
    ok.

%% By bytes the greatest come first, by idle time the busiest; what has no number comes last.
sorted(_Config) ->
    {Client, Server} = pair(?INET, [], []),
    {Busy, _} = pair(?INET, [], []),
    ok = gen_tcp:send(Client, "12345"),
    ok = gen_tcp:send(Busy, "1234567"),
    Listen = listen(?INET, []),
    Mine = [Listen, Server, Client, Busy],
    By = fun(Column) ->
             [Socket || #{socket := Socket} <- gen_tcp_rs_observe:sorted(Column, gen_tcp_rs_observe:rows()), lists:member(Socket, Mine)]
         end,
    [Busy, Client | _] = By(send_oct),
    Listen = lists:last(By(idle)),
    Listen = lists:last(By(rtt)),
    [4 = length(By(Column)) || Column <- gen_tcp_rs_observe:columns()],
    ok.

%% What the name of a local socket holds does not reach the terminal.
hostile_names(_Config) ->
    {ok, Listen} = gen_tcp:listen(0, [{inet_backend, rs}, {ifaddr, {local, <<0, "a\e[31mb">>}}]),
    ok = printed(fun() -> gen_tcp_rs:i() end, "@a?[31mb"),
    nomatch = string:find(output(fun() -> gen_tcp_rs:i() end), "\e"),
    ok = gen_tcp:close(Listen).

%% info/1, through inet too, has the addresses, the mode, the packet type and the kernel's times.
info_of_one(_Config) ->
    {Client, _Server} = pair(?INET, [{packet, line}], []),
    {{ok, Here}, {ok, There}} = {inet:sockname(Client), inet:peername(Client)},
    #{local := Here, remote := There, mode := binary, packet := line, idle := Idle, rtt := Rtt, states := [connected, open],
      output := 0} = inet:info(Client),
    true = is_integer(Idle) andalso is_integer(Rtt),
    false = maps:is_key(remote, inet:info(listen(?INET, []))),
    ok = gen_tcp:close(Client),
    [] = maps:keys(gen_tcp_rs:info(Client)) -- [states, rstates, wstates],
    ok.

%%% The totals

%% What the totals grow by while the function runs.
growth(Function) ->
    Before = gen_tcp_rs:stats(),
    ok = Function(),
    maps:map(fun(Name, Count) when is_integer(Count) -> Count - maps:get(Name, Before, 0);
                (_Name, Other) -> Other
             end, gen_tcp_rs:stats()).

%% Each send and each read counts once, with its bytes; a delivery by the poller is at least one event.
totals_of_reads_and_writes(_Config) ->
    {Client, Server} = pair(?INET, [], [{active, true}]),
    #{sends_direct := 100, written_bytes := 1000, writes := 100, read_bytes := 1000, reads := Reads, events := Events,
      wakeups := Wakeups, sends_queued := 0, opened := 0, bytes_per_read := Mean} =
        growth(fun() ->
                   [begin
                        ok = gen_tcp:send(Client, <<"0123456789">>),
                        receive {tcp, Server, <<"0123456789">>} -> ok end
                    end || _ <- lists:seq(1, 100)],
                   ok
               end),
    100 = Reads,
    true = Events >= 100 andalso Wakeups >= 1 andalso is_float(Mean) andalso Mean > 0,
    #{opened := 3} = growth(fun() -> {_, _} = pair(?INET, [], []), ok end),
    ok.

%% A send that the kernel does not take whole counts as queued, as do those behind it.
totals_of_a_queue(_Config) ->
    {Socket, Peer} = client(?INET, [{high_watermark, 1 bsl 30}]),
    #{sends_queued := 2, sends_direct := 0, queued := Queued} =
        growth(fun() -> _ = rs_test:fill(Socket), ok = gen_tcp:send(Socket, "more") end),
    true = Queued > 1000000,
    ok = gen_tcp:close(Peer).

%% Sends that are written together count as such.
totals_of_a_burst(_Config) ->
    {Socket, Peer} = client(?INET, [{delay_send, true}]),
    #{sends_coalesced := 20, sends_direct := 0, written_bytes := 2000} =
        growth(fun() ->
                   [ok = gen_tcp:send(Socket, <<0:100/unit:8>>) || _ <- lists:seq(1, 20)],
                   rs_test:drain(Peer, 2000)
               end),
    ok = gen_tcp:close(Socket).

%% Open sockets are counted by state.
sockets_by_state(_Config) ->
    #{sockets := #{listening := Listening, connected := Connected, disconnected := Disconnected}} = gen_tcp_rs:stats(),
    _Listen = listen(?INET, []),
    {Client, Peer} = client(?INET, []),
    {_, _} = client(?INET, []),
    #{sockets := #{listening := Listening1, connected := Connected2}} = gen_tcp_rs:stats(),
    {1, 2} = {Listening1 - Listening, Connected2 - Connected},
    ok = gen_tcp:close(Peer),
    {error, closed} = gen_tcp:recv(Client, 0),
    #{sockets := #{connected := Connected1, disconnected := Disconnected1}} = gen_tcp_rs:stats(),
    {1, 1} = {Connected1 - Connected, Disconnected1 - Disconnected},
    #{state := disconnected, remote := undefined} = row(Client),
    ok.

%% The longest lock is measured only where that was switched on.
lock_times(_Config) ->
    #{longest_lock := undefined} = gen_tcp_rs:stats(),
    ok = gen_tcp_rs:time_locks(true),
    {Client, Server} = pair(?INET, [], []),
    ok = gen_tcp:send(Client, <<0:1000000/unit:8>>),
    ok = rs_test:drain(Server, 1000000),
    #{longest_lock := Nanoseconds} = gen_tcp_rs:stats(),
    {true, _} = {Nanoseconds > 100 andalso Nanoseconds < 15 * 1000000000, Nanoseconds},
    ok = gen_tcp_rs:time_locks(false),
    #{longest_lock := undefined} = gen_tcp_rs:stats(),
    ok.

%%% What is printed

printed(Function, Text) ->
    case string:find(output(Function), Text) of
        nomatch -> {not_printed, Text};
        _Found -> ok
    end.

%% What the function prints, read from a group leader of its own.
output(Function) ->
    Leader = spawn_link(fun() -> leader([]) end),
    Former = group_leader(),
    true = group_leader(Leader, self()),
    try ok = Function()
    after group_leader(Former, self())
    end,
    Leader ! {stop, self()},
    receive {Leader, Text} -> Text end.

leader(Text) ->
    receive
        {io_request, From, Ref, {put_chars, _Encoding, Characters}} ->
            From ! {io_reply, Ref, ok},
            leader([Text, Characters]);
        {stop, From} ->
            From ! {self(), unicode:characters_to_list(Text)}
    end.
