%% A tour of the bad: every call where it does not belong, and arguments that nobody should pass.
%% `expected/1` says in one place what every call answers in every state.
-module(misuse_SUITE).

-export([suite/0, all/0, groups/0, init_per_group/2, end_per_group/2]).
-export([closed_socket/1, listening_socket/1, connected_socket/1, end_seen_by_recv/1, reset_seen_by_send/1,
         bad_frame_seen/1,
         bad_option_values/1, not_sockets/1, bad_terms_to_the_library/1, errors_leave_nothing_behind/1,
         many_bad_calls_at_once/1]).

-import(rs_test, [context/1, client/2, listen/2, attempt/1, mailbox/0, async/1, await/1, poll/1, barrier/1]).

suite() -> [{timetrap, {minutes, 2}}].
all() -> [{group, inet}, {group, rs}].
groups() ->
    OnlyRs = [bad_terms_to_the_library],
    rs_test:groups_of([end_seen_by_recv, reset_seen_by_send, bad_frame_seen, bad_option_values, not_sockets,
                       errors_leave_nothing_behind, many_bad_calls_at_once],
                      [closed_socket, listening_socket, connected_socket],
                      OnlyRs).
init_per_group(Group, Config) -> rs_test:init_group(Group, Config).
end_per_group(Group, Config) -> rs_test:end_group(Group, Config).

%% Every call, in the order of the answers below.
calls() ->
    [{send, fun(S) -> gen_tcp:send(S, "x") end},
     {recv, fun(S) -> gen_tcp:recv(S, 0, 0) end},
     {unrecv, fun(S) -> gen_tcp:unrecv(S, "x") end},
     {accept, fun(S) -> gen_tcp:accept(S, 0) end},
     {shutdown, fun(S) -> gen_tcp:shutdown(S, write) end},
     {controlling_process, fun(S) -> gen_tcp:controlling_process(S, self()) end},
     {setopts, fun(S) -> inet:setopts(S, [{header, 0}]) end},
     {setopts_unknown, fun(S) -> inet:setopts(S, [{nonsense, 1}]) end},
     {getopts, fun(S) -> inet:getopts(S, [packet]) end},
     {getopts_unknown, fun(S) -> inet:getopts(S, [nonsense]) end},
     {getstat, fun(S) -> inet:getstat(S, [recv_cnt]) end},
     {sockname, fun(S) -> is_ok(inet:sockname(S)) end},
     {peername, fun(S) -> is_ok(inet:peername(S)) end},
     {port, fun(S) -> is_ok(inet:port(S)) end},
     {close, fun(S) -> gen_tcp:close(S) end}].

is_ok({ok, _}) -> ok;
is_ok(Other) -> Other.

expected(closed) ->
    [{error, closed}, {error, closed}, {error, closed}, {error, closed}, {error, closed}, {error, closed},
     {error, einval}, {error, einval}, {error, einval}, {error, einval}, {error, einval}, {error, einval},
     {error, einval},
     {error, einval}, ok];
expected(listening) ->
    [{error, enotconn}, {error, enotconn}, {error, enotconn}, {error, timeout}, {error, enotconn}, ok,
     ok, {error, einval}, {ok, [{packet, 0}]}, {error, einval}, {ok, [{recv_cnt, 0}]}, ok, {error, enotconn}, ok, ok];
expected(connected) ->
    [ok, {error, timeout}, ok, {error, einval}, ok, ok,
     ok, {error, einval}, {ok, [{packet, 0}]}, {error, einval}, {ok, [{recv_cnt, 0}]}, ok, ok, ok, ok];
expected(husk) ->
    [{error, closed}, {error, enotconn}, {error, enotconn}, {error, einval}, {error, enotconn}, ok,
     ok, {error, einval}, {ok, [{packet, 0}]}, {error, einval}, {ok, [{recv_cnt, 0}]}, {error, ebadf},
     {error, enotconn},
     {error, ebadf}, ok];
expected(husk_by_send) ->
    [{error, enotconn}, {error, closed} | tl(tl(expected(husk)))];
expected(husk_by_frame) ->
    [{error, enotconn}, {error, enotconn} | tl(tl(expected(husk)))].

answers(Socket, State) ->
    Given = [{Name, attempt(fun() -> Call(Socket) end)} || {Name, Call} <- calls()],
    Expected = lists:zip([Name || {Name, _} <- calls()], expected(State)),
    [] = [{Name, is, Is, should_be, Should} || {{Name, Is}, {Name, Should}} <- lists:zip(Given, Expected),
          Is =/= Should],
    ok.

%% On a closed socket gen_tcp says closed and inet says einval.
closed_socket(Config) ->
    {Socket, _Peer} = client(context(Config), []),
    ok = gen_tcp:close(Socket),
    answers(Socket, closed).

%% A listening socket is not connected.
listening_socket(Config) ->
    answers(listen(context(Config), []), listening).

%% A connected socket does not accept, and has no unknown options.
connected_socket(Config) ->
    {Socket, _Peer} = client(context(Config), []),
    answers(Socket, connected).

%% After a recv has seen the end.
end_seen_by_recv(Config) ->
    {Socket, Peer} = client(context(Config), []),
    ok = gen_tcp:close(Peer),
    {error, closed} = gen_tcp:recv(Socket, 0, 5000),
    answers(Socket, husk).

%% After a send has found the connection reset.
reset_seen_by_send(Config) ->
    {Socket, Peer} = client(context(Config), []),
    ok = rs_test:reset(Peer),
    ok = rs_test:reset_arrived(Socket),
    {error, closed} = gen_tcp:send(Socket, "x"),
    answers(Socket, husk_by_send).

%% After a recv has seen a malformed frame.
bad_frame_seen(Config) ->
    {Socket, Peer} = client(context(Config), [{packet, 4}]),
    ok = gen_tcp:send(Peer, <<16#ffffffff:32>>),
    {error, emsgsize} = gen_tcp:recv(Socket, 0, 5000),
    ok = inet:setopts(Socket, [{packet, 0}]),
    answers(Socket, husk_by_frame).

%% A bad value is refused by setopts with einval and changes nothing; connect and listen exit with badarg.
bad_option_values(Config) ->
    C = context(Config),
    {Socket, _Peer} = client(C, [{packet, 2}]),
    Listen = listen(C#{backend := inet}, []),
    [begin
         {error, einval} = inet:setopts(Socket, [{packet, 4}, Option]),
         {ok, [{packet, 2}]} = inet:getopts(Socket, [packet]),
         {raised, exit, badarg} = attempt(fun() -> rs_test:connect(C, Listen, [Option]) end),
         {raised, exit, badarg} = attempt(fun() -> gen_tcp:listen(0, rs_test:options(C, [Option])) end)
     end || Option <- [foo, {foo, bar}, {packet, 3}, {packet, -1}, {mode, foo}, {active, foo}, {active, 32768},
                       {header, -1}, {nodelay, 1},
                       {linger, 5}, {linger, {true, true}}, {send_timeout, -1}, {exit_on_close, yes}, {deliver, foo},
                       {buffer, 1.5},
                       {packet_size, -1}, {raw, 1, 2, 3}, {raw, 1, 2}, {recbuf, big}, {tos, <<>>}, {1, 2},
                       {packet, 1, 2}, {}, 17]],
    ok.

%% What is not a socket is a function_clause, as for the driver.
not_sockets(_Config) ->
    [{raised, error, function_clause} = attempt(fun() -> Call(Term) end)
     || Term <- [foo, 17, make_ref(), self(), {}, {'$inet', 1, 2}, "socket"],
        Call <- [fun gen_tcp:close/1, fun(S) -> gen_tcp:send(S, "x") end, fun(S) -> gen_tcp:recv(S, 0) end,
                 fun gen_tcp:accept/1,
                 fun(S) -> gen_tcp:controlling_process(S, self()) end, fun(S) -> gen_tcp:shutdown(S, write) end]],
    ok.

%% A forged handle is refused by an exception, and the node lives.
bad_terms_to_the_library(Config) ->
    {{'$inet', Module, _} = Socket, Peer} = client(context(Config), []),
    [{raised, error, _} = attempt(fun() -> Call({'$inet', Module, Handle}) end)
     || Handle <- [foo, 17, make_ref(), self(), <<"handle">>, [], {Socket}],
        {Name, Call} <- calls(), Name =/= close],
    %% A list without a proper end is no panic.
    {raised, error, badarg} = attempt(fun() -> gen_tcp_rs_nif:getstat(element(3, Socket), [recv_cnt | foo]) end),
    [{{raised, error, Reason}, true} = {{raised, error, Reason}, Reason =/= nif_panicked}
     || {Function, Name} <- [{getstat, recv_cnt}, {getopts, active}, {setopts, {active, false}}],
        {raised, error, Reason} <- [attempt(fun() -> inet:Function(Socket, [Name | foo]) end)]],
    ok = gen_tcp:send(Socket, "alive"),
    {ok, <<"alive">>} = gen_tcp:recv(Peer, 5, 5000),
    ok.

%% A thousand failing calls leave no message, no process and no descriptor.
errors_leave_nothing_behind(Config) ->
    C = context(Config),
    {Socket, _Peer} = client(C, []),
    Closed = element(1, client(C, [])),
    ok = gen_tcp:close(Closed),
    Port = rs_test:unused_port(C),
    ok = barrier(C),
    Fail = fun() ->
                   {error, econnrefused} = gen_tcp:connect({127, 0, 0, 1}, Port, rs_test:options(C, [{active, true}])),
                   {raised, exit, badarg} = attempt(fun() -> gen_tcp:listen(0, rs_test:options(C, [foo])) end),
                   {error, einval} = gen_tcp:send(Socket, foo),
                   {error, timeout} = gen_tcp:recv(Socket, 1, 0),
                   {error, einval} = inet:setopts(Socket, [{packet, foo}]),
                   {error, closed} = gen_tcp:recv(Closed, 0),
                   {error, closed} = gen_tcp:accept(Closed, 10)
           end,
    _ = Fail(),
    {Descriptors, Processes} = {rs_test:fd_count(), erlang:system_info(process_count)},
    _ = [Fail() || _ <- lists:seq(1, 200)],
    ok = poll(fun() -> rs_test:fd_count() =< Descriptors andalso erlang:system_info(process_count) =< Processes end),
    ok = barrier(C),
    [] = mailbox(),
    ok.

%% Bad and good calls of many processes at once on one socket: each is answered, and the good ones work.
many_bad_calls_at_once(Config) ->
    {Socket, Peer} = client(context(Config), [{packet, 2}]),
    ok = inet:setopts(Peer, [{packet, 2}]),
    Bad = [async(fun() ->
                         [begin
                              {error, einval} = gen_tcp:send(Socket, foo),
                              {error, einval} = inet:setopts(Socket, [{packet, foo}]),
                              {error, einval} = gen_tcp:accept(Socket, 0),
                              {error, einval} = inet:getopts(Socket, [foo])
                          end || _ <- lists:seq(1, 200)],
                         done
                 end) || _ <- lists:seq(1, 8)],
    [begin ok = gen_tcp:send(Socket, <<Number:32>>), {ok, <<Number:32>>} = gen_tcp:recv(Peer, 0, 5000) end
     || Number <- lists:seq(1, 500)],
    [{done, []} = await(Each) || Each <- Bad],
    ok.
