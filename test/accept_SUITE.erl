%% accept: the order of acceptors, timeouts, killed acceptors, and what an accepted socket takes over.
-module(accept_SUITE).

-export([suite/0, all/0, groups/0, init_per_group/2, end_per_group/2]).
-export([accepts/1, close_wakes_everyone/1, timeout_loses_nothing/1, first_come_first_served/1, timeouts_in_order/1,
         killed_acceptors_are_forgotten/1, waiting_is_told_by_info/1, timeouts_racing_arrivals/1,
         a_thousand_acceptors/1,
         accepting_process_owns/1, options_are_taken_over/1, listener_stays_usable/1, closed_before_accept/1,
         bad_listen/1, out_of_descriptors/1, owner_of_the_listener_dies/1]).

-import(rs_test, [context/1, options/2, listen/2, connect/3, accept/1, attempt/1, poll/1, mailbox/0, async/1,
                  blocked/1, await/1, kill/1]).

suite() -> [{timetrap, {minutes, 2}}].
all() -> [{group, inet}, {group, rs}].
groups() ->
    rs_test:groups_of([timeouts_in_order, killed_acceptors_are_forgotten, waiting_is_told_by_info,
                       timeouts_racing_arrivals,
                       a_thousand_acceptors, accepting_process_owns, options_are_taken_over, listener_stays_usable,
                       closed_before_accept, bad_listen, out_of_descriptors, owner_of_the_listener_dies],
                      [accepts, close_wakes_everyone, timeout_loses_nothing, first_come_first_served]).
init_per_group(Group, Config) -> rs_test:init_group(Group, Config).
end_per_group(Group, Config) -> rs_test:end_group(Group, Config).

peer(C, Listen) ->
    {ok, Peer} = connect(C#{backend := inet}, Listen, []),
    Peer.

%% A connection whose first byte names it.
named(C, Listen, Name) ->
    Peer = peer(C, Listen),
    ok = gen_tcp:send(Peer, <<Name:32>>),
    Peer.

acceptor(Listen, Timeout) ->
    blocked(async(fun() -> name_of(gen_tcp:accept(Listen, Timeout)) end)).

name_of({ok, Socket}) ->
    {ok, <<Name:32>>} = gen_tcp:recv(Socket, 4, 10000),
    Name;
name_of(Error) ->
    Error.

%% accept gives a connection that was there before the call, and one that comes during it.
accepts(Config) ->
    C = context(Config),
    Listen = listen(C, []),
    _First = named(C, Listen, 1),
    1 = name_of(gen_tcp:accept(Listen)),
    Acceptor = acceptor(Listen, infinity),
    _Second = named(C, Listen, 2),
    {2, []} = await(Acceptor),
    ok.

%% Closing the listener ends every waiting accept with closed, and every later one.
close_wakes_everyone(Config) ->
    Listen = listen(context(Config), []),
    Acceptors = [acceptor(Listen, Timeout) || Timeout <- [infinity, 60000, infinity, 60000]],
    ok = gen_tcp:close(Listen),
    [{{error, closed}, []} = await(Acceptor) || Acceptor <- Acceptors],
    {error, closed} = gen_tcp:accept(Listen),
    ok.

%% An accept that timed out has taken no connection and leaves no message.
timeout_loses_nothing(Config) ->
    C = context(Config),
    Listen = listen(C, []),
    Start = erlang:monotonic_time(millisecond),
    {error, timeout} = gen_tcp:accept(Listen, 50),
    true = erlang:monotonic_time(millisecond) - Start >= 50,
    {error, timeout} = gen_tcp:accept(Listen, 0),
    _Peer = named(C, Listen, 7),
    7 = name_of(gen_tcp:accept(Listen, 0)),
    [] = mailbox(),
    ok.

%% Connections go to the acceptors in the order in which these came, past the dead and the timed out.
first_come_first_served(Config) ->
    C = context(Config),
    Listen = listen(C, []),
    Hasty = acceptor(Listen, 20),
    [First, Dead, Second, Third] = [acceptor(Listen, infinity) || _ <- [1, 2, 3, 4]],
    ok = kill(Dead),
    {{error, timeout}, []} = await(Hasty),
    Peers = [named(C, Listen, Name) || Name <- [1, 2, 3]],
    [{1, []}, {2, []}, {3, []}] = [await(Acceptor) || Acceptor <- [First, Second, Third]],
    3 = length(Peers),
    ok.

%% Timeouts end in the order of their times, not in that of the calls.
timeouts_in_order(Config) ->
    Listen = listen(context(Config), []),
    Self = self(),
    Acceptors = [async(fun() ->
                               receive go -> ok end,
                               Self ! {Time, gen_tcp:accept(Listen, Time)}
                       end) || Time <- [900, 300, 1200, 600]],
    [rs_test:pid_of(Acceptor) ! go || Acceptor <- Acceptors],
    [{300, {error, timeout}}, {600, {error, timeout}}, {900, {error, timeout}}, {1200, {error, timeout}}] =
        rs_test:next_n(4),
    ok.

%% A killed acceptor costs nothing: it is no longer counted, and the next one gets the connection.
killed_acceptors_are_forgotten(Config) ->
    C = context(Config),
    Listen = listen(C, []),
    Acceptors = [acceptor(Listen, infinity) || _ <- lists:seq(1, 50)],
    Monitors = monitors(C, Listen),
    [ok = kill(Acceptor) || Acceptor <- Acceptors],
    ok = poll(fun() -> waiting(C, Listen) =:= 0 end),
    true = monitors(C, Listen) =< Monitors,
    _Peer = named(C, Listen, 3),
    3 = name_of(gen_tcp:accept(Listen, 5000)),
    ok.

%% How many wait in accept, as inet:info tells it; the driver tells only whether anybody does.
waiting(#{backend := inet}, Listen) ->
    #{states := States} = inet:info(Listen),
    case lists:member(accepting, States) of true -> some; false -> 0 end;
waiting(#{backend := rs}, Listen) ->
    #{num_acceptors := Count} = inet:info(Listen),
    Count.

monitors(_Context, Listen) ->
    maps:get(monitors, inet:info(Listen), 0).

%% inet:info tells who waits.
waiting_is_told_by_info(Config) ->
    C = context(Config),
    Listen = listen(C, []),
    0 = waiting(C, Listen),
    First = acceptor(Listen, infinity),
    Second = acceptor(Listen, infinity),
    true = lists:member(waiting(C, Listen), [2, some]),
    ok = kill(First),
    ok = poll(fun() -> lists:member(waiting(C, Listen), [1, some]) end),
    ok = kill(Second),
    poll(fun() -> waiting(C, Listen) =:= 0 end).

%% However timeouts and connections race, each connection is accepted once, and no message is left.
timeouts_racing_arrivals(Config) ->
    C = context(Config),
    Listen = listen(C, [{backlog, 1024}]),
    Count = 300,
    Connector = async(fun() -> [named(C, Listen, Name) || Name <- lists:seq(1, Count)], done end),
    Names = collect_names(Listen, Count, []),
    true = lists:sort(Names) =:= lists:seq(1, Count),
    {done, []} = await(Connector),
    {error, timeout} = gen_tcp:accept(Listen, 0),
    ok = rs_test:barrier(C),
    [] = mailbox(),
    ok.

collect_names(_Listen, Count, Names) when length(Names) =:= Count ->
    Names;
collect_names(Listen, Count, Names) ->
    case gen_tcp:accept(Listen, rand:uniform(3) - 1) of
        {ok, Socket} ->
            Name = name_of({ok, Socket}),
            ok = gen_tcp:close(Socket),
            collect_names(Listen, Count, [Name | Names]);
        {error, timeout} ->
            collect_names(Listen, Count, Names)
    end.

%% A thousand acceptors wait at once and each gets one of a thousand connections.
a_thousand_acceptors(Config) ->
    C = context(Config),
    Listen = listen(C, [{backlog, 1024}]),
    Acceptors = [async(fun() -> name_of(gen_tcp:accept(Listen)) end) || _ <- lists:seq(1, 1000)],
    _Peers = [named(C, Listen, Name) || Name <- lists:seq(1, 1000)],
    Names = [begin {Name, []} = await(Acceptor), Name end || Acceptor <- Acceptors],
    true = lists:sort(Names) =:= lists:seq(1, 1000),
    ok.

%% The accepting process owns what it accepted, and its death closes only that.
accepting_process_owns(Config) ->
    C = context(Config),
    Listen = listen(C, [{active, true}]),
    Self = self(),
    Acceptor = async(fun() ->
                             Socket = accept(Listen),
                             receive {tcp, Socket, <<"to you">>} -> ok end,
                             Self ! {rs_test, accepted, Socket},
                             receive never -> ok end
                     end),
    Peer = peer(C, Listen),
    ok = gen_tcp:send(Peer, "to you"),
    Socket = receive {rs_test, accepted, Accepted} -> Accepted after 5000 -> error(nothing) end,
    {error, not_owner} = gen_tcp:controlling_process(Socket, self()),
    ok = kill(Acceptor),
    {error, closed} = gen_tcp:recv(Peer, 0, 5000),
    _Other = named(C, Listen, 1),
    {ok, _} = gen_tcp:accept(Listen, 5000),
    ok.

%% An accepted socket has the listener's present options, and keeps its own afterwards.
options_are_taken_over(Config) ->
    C = context(Config),
    Options = [{active, 5}, {packet, 2}, {header, 1}, {mode, list}, {packet_size, 99}, {exit_on_close, false},
               {send_timeout, 123},
               {send_timeout_close, true}, {high_watermark, 20000}, {low_watermark, 10000}, {nodelay, true},
               {keepalive, true},
               {linger, {true, 3}}, {delay_send, true}, {priority, 5}, {tos, 32}, {show_econnreset, true},
               {buffer, 2345}],
    Names = [Name || {Name, _} <- Options],
    Listen = listen(C, Options),
    _First = peer(C, Listen),
    Socket = accept(Listen),
    {ok, Options} = inet:getopts(Socket, Names),
    ok = inet:setopts(Listen, [{packet, 4}, {nodelay, false}]),
    {ok, [{packet, 2}, {nodelay, true}]} = inet:getopts(Socket, [packet, nodelay]),
    _Second = peer(C, Listen),
    {ok, [{packet, 4}, {nodelay, false}, {tos, 32}]} = inet:getopts(accept(Listen), [packet, nodelay, tos]),
    ok.

%% A listener neither sends nor receives, and goes on accepting after that was tried.
listener_stays_usable(Config) ->
    C = context(Config),
    Listen = listen(C, []),
    {error, enotconn} = gen_tcp:send(Listen, "x"),
    {error, enotconn} = gen_tcp:recv(Listen, 0, 0),
    {error, enotconn} = gen_tcp:shutdown(Listen, read_write),
    {error, enotconn} = inet:peername(Listen),
    _Peer = named(C, Listen, 1),
    1 = name_of(gen_tcp:accept(Listen, 5000)),
    ok.

%% What a peer sent before it closed or reset is told after accept.
closed_before_accept(Config) ->
    C = context(Config),
    Listen = listen(C, []),
    Peer = named(C, Listen, 9),
    ok = gen_tcp:close(Peer),
    Socket = accept(Listen),
    9 = name_of({ok, Socket}),
    {error, closed} = gen_tcp:recv(Socket, 0, 5000),
    ok = rs_test:reset(peer(C, Listen)),
    {error, closed} = gen_tcp:recv(accept(Listen), 0, 5000),
    ok.

%% Bad options and ports raise; an address that is not ours and one in use are errors.
bad_listen(Config) ->
    C = context(Config),
    Listen = fun(Port, Options) -> attempt(fun() -> gen_tcp:listen(Port, options(C, Options)) end) end,
    [{raised, exit, badarg} = Listen(0, [Option])
     || Option <- [foo, {packet, 3}, {active, -32769}, {line_delimiter, $x}, {ip, {1, 2, 3}}, {port, 65536}]],
    {raised, exit, badarg} = Listen(65536, []),
    {raised, error, function_clause} = Listen("80", []),
    {error, eaddrnotavail} = Listen(0, [{ip, {192, 0, 2, 1}}]),
    {_, Taken} = rs_test:address_of(listen(C, [])),
    {error, eaddrinuse} = Listen(Taken, [{ip, {127, 0, 0, 1}}]),
    ok.

%% Without descriptors accept says emfile, the connection stays in the backlog, and a later accept gets it.
out_of_descriptors(Config) ->
    C = context(Config),
    Node = rs_peer:start(128),
    try
        rs_peer:call(Node, fun() -> without_descriptors(C) end)
    after
        rs_peer:stop(Node)
    end.

without_descriptors(#{backend := Backend} = C) ->
    ok = rs_test:start(Backend),
    Listen = listen(C, []),
    %% The connection is made by hand, before the last descriptor is gone.
    _Peer = named(C, Listen, 5),
    Files = use_up(),
    {error, emfile} = gen_tcp:accept(Listen, 5000),
    [ok = file:close(File) || File <- Files],
    5 = name_of(gen_tcp:accept(Listen, 5000)),
    ok.

use_up() ->
    case file:open("/dev/null", [read, raw]) of
        {ok, File} -> [File | use_up()];
        {error, emfile} -> []
    end.

%% The death of the listener's owner ends every waiting accept with closed.
owner_of_the_listener_dies(Config) ->
    C = context(Config),
    Self = self(),
    Owner = async(fun() -> Self ! {rs_test, made, listen(C, [])}, receive never -> ok end end),
    Listen = receive {rs_test, made, Made} -> Made after 5000 -> error(nothing) end,
    Acceptors = [acceptor(Listen, infinity) || _ <- [1, 2, 3]],
    ok = kill(Owner),
    [{{error, closed}, []} = await(Acceptor) || Acceptor <- Acceptors],
    {error, closed} = gen_tcp:accept(Listen, 0),
    ok.
