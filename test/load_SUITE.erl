%% Ten thousand connections at once on one node, the other ends in another process of the system: every one
%% answers, all close, and what they cost is given back.
%%
%% Environment: RS_CONNECTIONS, how many (10000). A process may have at most as many descriptors as its
%% hard limit says; where that is too low for them the cases say so and are skipped.
-module(load_SUITE).

-export([suite/0, all/0, groups/0, init_per_group/2, end_per_group/2]).
-export([accepted/1, connected/1, idle_passive/1]).

%% Run in the peer nodes.
-export([keeper/1, echo_server/2, crowd/4, measure/0]).

-define(DEADLINE, 120000).

suite() ->
    [{timetrap, {minutes, 10}}].

all() ->
    [{group, inet}, {group, rs}].

groups() ->
    rs_test:groups_of([accepted, connected, idle_passive]).

init_per_group(Group, Config) -> rs_test:init_group(Group, Config).
end_per_group(Group, Config) -> rs_test:end_group(Group, Config).

%% Ten thousand accepted, active connections answer, close and leave nothing behind.
accepted(Config) -> load(Config, accepted, [{packet, 2}, {active, once}]).

%% Ten thousand connections of our own making answer, close and leave nothing behind.
connected(Config) -> load(Config, connected, [{packet, 2}, {active, once}]).

%% Ten thousand readers that wait in recv answer, close and leave nothing behind.
idle_passive(Config) -> load(Config, accepted, [{packet, 2}, {active, false}]).

load(Config, Side, Options) ->
    Count = case os:getenv("RS_CONNECTIONS") of
                false -> 10000;
                Text -> list_to_integer(Text)
            end,
    Context = rs_test:context(Config),
    Tested = rs_peer:start(),
    Other = rs_peer:start(),
    try
        case lists:min([rs_peer:limit(Tested), rs_peer:limit(Other)]) of
            Limit when Limit < Count + 200 ->
                {skip, io_lib:format("~w descriptors a process are too few for ~w connections", [Limit, Count])};
            _ ->
                rounds(Context, Side, Options, Count, Tested, Other)
        end
    after
        rs_peer:stop(Other),
        rs_peer:stop(Tested)
    end.

rounds(Context, Side, Options, Count, Tested, Other) ->
    %% A few connections first: what is loaded and started with the first socket stays.
    ok = rs_peer:call(Tested, fun() -> rs_test:start(maps:get(backend, Context)) end),
    {_, Before} = round(Context, Side, Options, 100, Tested, Other),
    {Open, Closed} = round(Context, Side, Options, Count, Tested, Other),
    ct:pal("before ~p~nopen ~p~nclosed ~p", [Before, Open, Closed]),
    ok = same_counts(Before, Closed),
    %% What the allocators of the VM keep of ten thousand processes; the driver's sockets leave as much.
    true = maps:get(rss, Closed) - maps:get(rss, Before) < 96 * 1024 * 1024,
    true = again(Closed, 12, fun() -> round(Context, Side, Options, Count, Tested, Other) end),
    {comment, io_lib:format("bytes a connection: BEAM ~w, RSS ~w",
                            [(maps:get(memory, Open) - maps:get(memory, Closed)) div Count,
                             (maps:get(rss, Open) - maps:get(rss, Before)) div Count])}.

%% Descriptors, processes and threads to the last one; the memory of the VM but for its caches.
same_counts(Before, After) ->
    [{Key, Same, Same} = {Key, maps:get(Key, Before), maps:get(Key, After)}
     || Key <- [fds, sockets, processes, threads, ports]],
    true = maps:get(memory, After) - maps:get(memory, Before) < 4 * 1024 * 1024,
    ok.

%% A further round fits into what an earlier one left behind. Fragments of the VM's allocators make the
%% resident size go up and down; what is lost with each connection would make it go up each time.
again(_Closed, 0, _Round) ->
    false;
again(Closed, Tries, Round) ->
    {_, After} = Round(),
    ct:pal("closed ~p", [After]),
    ok = same_counts(Closed, After),
    maps:get(rss, After) - maps:get(rss, Closed) < 1024 * 1024 orelse again(After, Tries - 1, Round).

%% `{While open, After the close}`.
round(Context, Side, Options, Count, Tested, Other) ->
    {Serving, Calling} = case Side of
                             accepted -> {Tested, Other};
                             connected -> {Other, Tested}
                         end,
    Driver = Context#{backend := inet},
    {ServerContext, ServerOptions, ClientContext, ClientOptions} =
        case Side of
            accepted -> {Context, Options, Driver, [{packet, 2}, {active, once}]};
            connected -> {Driver, [{packet, 2}, {active, once}], Context, Options}
        end,
    Quiet = rs_peer:call(Tested, fun() -> {rs_test:socket_fds(), erlang:system_info(process_count)} end),
    Serve = fun() -> ?MODULE:echo_server(ServerContext, ServerOptions) end,
    {Keeper, Address} = rs_peer:call(Serving, fun() -> keep(Serve) end),
    Call = fun() -> ?MODULE:crowd(ClientContext, ClientOptions, Address, Count) end,
    {Callers, Count} = rs_peer:call(Calling, fun() -> keep(Call) end),
    %% Once all have answered, all are accepted.
    Count = rs_peer:call(Calling, fun() -> ask(Callers, talk) end),
    Open = rs_peer:call(Tested, fun() -> ?MODULE:measure() end),
    true = maps:get(sockets, Open) >= Count,
    Count = rs_peer:call(Calling, fun() -> ask(Callers, talk) end),
    ok = rs_peer:call(Calling, fun() -> ask(Callers, stop) end),
    ok = rs_peer:call(Serving, fun() -> ask(Keeper, stop) end),
    {Open, rs_peer:call(Tested, fun() -> settled(Quiet) end)}.

%%% ---- in the peer nodes ----

%% Runs the function in a process that outlives the call; it answers first, then serves `ask/2`.
keep(Function) ->
    Parent = self(),
    Reference = make_ref(),
    Keeper = spawn(fun() ->
                           {Answer, Serve} = Function(),
                           Parent ! {Reference, Answer},
                           keeper(Serve)
                   end),
    receive {Reference, Answer} -> {Keeper, Answer} after ?DEADLINE -> error(keep) end.

-spec keeper(fun((term()) -> term())) -> ok.
keeper(Serve) ->
    receive
        {ask, From, Reference, Question} ->
            Answer = Serve(Question),
            From ! {Reference, Answer},
            case Question of
                stop -> ok;
                _ -> keeper(Serve)
            end
    end.

ask(Keeper, Question) ->
    Reference = make_ref(),
    Keeper ! {ask, self(), Reference, Question},
    receive {Reference, Answer} -> Answer after ?DEADLINE -> error({no_answer, Question}) end.

%% A process a connection, each of which sends back what it gets.
-spec echo_server(rs_test:context(), list()) -> {term(), fun((term()) -> term())}.
echo_server(Context, Options) ->
    Listen = rs_test:listen(Context, [{backlog, 4096} | Options]),
    {active, Active} = lists:keyfind(active, 1, Options),
    [spawn(fun() -> acceptor(Listen, Active) end) || _ <- lists:seq(1, 16)],
    {rs_test:address_of(Listen), fun(stop) -> gen_tcp:close(Listen) end}.

acceptor(Listen, Active) ->
    case gen_tcp:accept(Listen) of
        {ok, Socket} ->
            _ = spawn(fun() -> acceptor(Listen, Active) end),
            echo(Socket, Active);
        {error, closed} ->
            ok
    end.

echo(Socket, false) ->
    case gen_tcp:recv(Socket, 0) of
        {ok, Data} ->
            ok = gen_tcp:send(Socket, Data),
            echo(Socket, false);
        {error, closed} ->
            gen_tcp:close(Socket)
    end;
echo(Socket, once) ->
    receive
        {tcp, Socket, Data} ->
            ok = gen_tcp:send(Socket, Data),
            ok = inet:setopts(Socket, [{active, once}]),
            echo(Socket, once);
        {tcp_closed, Socket} ->
            gen_tcp:close(Socket)
    end.

%% So many callers, connected; a few at a time, so that no backlog overflows.
-spec crowd(rs_test:context(), list(), term(), pos_integer()) -> {term(), fun((term()) -> term())}.
crowd(Context, Options, {Address, Port}, Count) ->
    Self = self(),
    Callers = lists:append([connect_some(Self, Context, Options, Address, Port, min(200, Count - Done))
                            || Done <- lists:seq(0, Count - 1, 200)]),
    {length(Callers),
     fun(talk) ->
             [Caller ! {talk, Self} || Caller <- Callers],
             length([ok || Caller <- Callers, ok =:= answer_of(Caller)]);
        (stop) ->
             Monitors = [erlang:monitor(process, Caller) || Caller <- Callers],
             [Caller ! stop || Caller <- Callers],
             [receive {'DOWN', Monitor, process, _, _} -> ok end || Monitor <- Monitors],
             ok
     end}.

connect_some(Parent, Context, Options, Address, Port, Count) ->
    Callers = [spawn(fun() ->
                             {ok, Socket} = gen_tcp:connect(Address, Port,
                                                            rs_test:options(Context, [binary | Options]), ?DEADLINE),
                             Parent ! {connected, self()},
                             caller(Socket)
                     end) || _ <- lists:seq(1, Count)],
    [receive {connected, Caller} -> ok after ?DEADLINE -> error(connect) end || Caller <- Callers],
    Callers.

answer_of(Caller) ->
    receive {answered, Caller, Answer} -> Answer after ?DEADLINE -> none end.

caller(Socket) ->
    receive
        {talk, From} ->
            %% Its own words, to be told from everybody else's.
            Words = term_to_binary({self(), make_ref()}),
            ok = gen_tcp:send(Socket, Words),
            From ! {answered, self(), heard(Socket, Words)},
            caller(Socket);
        stop ->
            gen_tcp:close(Socket)
    end.

heard(Socket, Words) ->
    receive
        {tcp, Socket, Words} -> inet:setopts(Socket, [{active, once}]);
        {tcp, Socket, Other} -> {wrong, Other};
        {tcp_closed, Socket} -> closed
    after ?DEADLINE ->
            silence
    end.

%%% ---- counting ----

%% Waits until there are no more sockets and processes than before, or until it is plain that some stay.
settled({Sockets, Processes}) ->
    Settled = fun() -> rs_test:socket_fds() =< Sockets andalso erlang:system_info(process_count) =< Processes end,
    _ = rs_test:attempt(fun() -> rs_test:poll(Settled, 30000) end),
    smallest(measure(), 50).

%% What was freed by another thread than its allocator's comes back when that one has time:
%% measures until nothing more comes.
smallest(Measured, 0) -> Measured;
smallest(Measured, Tries) ->
    receive after 100 -> ok end,
    case measure() of
        Again = #{memory := Memory} when Memory < map_get(memory, Measured) - 65536 -> smallest(Again, Tries - 1);
        Again when Tries > 45 -> smallest(Again, Tries - 1);
        Again -> Again
    end.

%% All at the same time: where thousands of processes want to run each one's turn is far away.
collect_garbage() ->
    Reference = make_ref(),
    Requests = [async = erlang:garbage_collect(Pid, [{async, Reference}]) || Pid <- processes()],
    [receive {garbage_collect, Reference, _Done} -> ok end || async <- Requests],
    ok.

-spec measure() -> #{atom() => integer()}.
measure() ->
    ok = collect_garbage(),
    {ok, Tasks} = file:list_dir("/proc/self/task"),
    {ok, Status} = file:read_file("/proc/self/status"),
    {match, [Resident]} = re:run(Status, "VmRSS:\\s+([0-9]+) kB", [{capture, all_but_first, list}]),
    #{fds => rs_test:fd_count(), sockets => rs_test:socket_fds(), processes => erlang:system_info(process_count),
      ports => erlang:system_info(port_count), threads => length(Tasks), memory => erlang:memory(total),
      rss => list_to_integer(Resident) * 1024}.
