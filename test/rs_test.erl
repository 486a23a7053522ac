%% Helpers shared by the suites: which backend a case runs on, making connected sockets, waiting for
%% conditions instead of sleeping, and taking messages one by one.
%%
%% A `context()` says which backend (and family) the socket under test is made with. The other end,
%% called the peer, is always a passive socket of the driver: it plays the outside world.
-module(rs_test).

-export([groups_of/1, groups_of/2, groups_of/3, init_group/2, end_group/2, context/1, contexts/0, start/1]).
-export([options/2, listen/2, address_of/1, connect/3, connect/4, accept/1]).
-export([client/2, server/2, plain_client/2, plain_server/2, pair/3, unused_port/1]).
-export([reset/1, arrived/2, fin_arrived/1, reset_arrived/1, barrier/1]).
-export([next/0, next/1, next_n/1, until_closed/1, read_all/1, collect/2, mailbox/0, queued/1]).
-export([poll/1, poll/2, async/1, async_owner/2, blocked/1, await/1, kill/1, pid_of/1]).
-export([observe/2, attempt/1, log/0, kill_all/0]).
-export([fd_count/0, socket_fds/0, fill/1, stalled/1, drain/2]).

-export_type([context/0, async/0]).

-type backend() :: inet | rs.
-type family() :: inet | inet6 | local.
-type context() :: #{backend := backend(), family := family()}.
-opaque async() :: {pid(), reference()}.

%% Long enough for a busy machine; a case that works never waits for it.
-define(DEADLINE, 15000).

%%% ---- groups: every case on `inet`, which proves the expectation, and on `rs` ----

-spec groups_of([atom()]) -> [{atom(), list(), list()}].
groups_of(Cases) ->
    groups_of(Cases, []).

%% `FamilyCases` are run over IPv6 and Unix-domain sockets as well.
-spec groups_of([atom()], [atom()]) -> [{atom(), list(), list()}].
groups_of(Cases, FamilyCases) ->
    groups_of(Cases, FamilyCases, []).

%% `OnlyRs` are what gen_tcp_rs promises and the driver does not.
-spec groups_of([atom()], [atom()], [atom()]) -> [{atom(), list(), list()}].
groups_of(Cases, FamilyCases, OnlyRs) ->
    lists:append(
      [[{Backend, [], FamilyCases ++ Cases ++ More ++ family_groups(Backend, FamilyCases)},
        {name(Backend, inet6), [], FamilyCases},
        {name(Backend, local), [], FamilyCases}] || {Backend, More} <- [{inet, []}, {rs, OnlyRs}]]).

family_groups(_Backend, []) -> [];
family_groups(Backend, _) -> [{group, name(Backend, inet6)}, {group, name(Backend, local)}].

name(inet, inet6) -> inet_over_inet6;
name(inet, local) -> inet_over_local;
name(rs, inet6) -> rs_over_inet6;
name(rs, local) -> rs_over_local.

-spec init_group(atom(), list()) -> list() | {skip, string()}.
init_group(inet, Config) -> with_context(#{backend => inet, family => inet}, Config);
init_group(rs, Config) -> with_context(#{backend => rs, family => inet}, Config);
init_group(inet_over_inet6, Config) -> with_context(#{backend => inet, family => inet6}, Config);
init_group(inet_over_local, Config) -> with_context(#{backend => inet, family => local}, Config);
init_group(rs_over_inet6, Config) -> with_context(#{backend => rs, family => inet6}, Config);
init_group(rs_over_local, Config) -> with_context(#{backend => rs, family => local}, Config).

with_context(#{family := inet6} = Context, Config) ->
    case gen_tcp:listen(0, [{inet_backend, inet}, inet6, {ip, {0, 0, 0, 0, 0, 0, 0, 1}}]) of
        {ok, Probe} ->
            ok = gen_tcp:close(Probe),
            added_context(Context, Config);
        {error, Reason} ->
            {skip, "no IPv6 loopback on this machine: " ++ atom_to_list(Reason)}
    end;
with_context(Context, Config) ->
    added_context(Context, Config).

added_context(#{backend := Backend} = Context, Config) ->
    ok = start(Backend),
    [{context, Context} | Config].

-spec end_group(atom(), list()) -> ok.
end_group(_Group, _Config) -> ok.

-spec context(list()) -> context().
context(Config) ->
    {context, Context} = lists:keyfind(context, 1, Config),
    Context.

-spec contexts() -> {context(), context()}.
contexts() ->
    {#{backend => inet, family => inet}, #{backend => rs, family => inet}}.

-spec start(backend()) -> ok.
start(inet) ->
    ok;
start(rs) ->
    {ok, _} = application:ensure_all_started(gen_tcp_rs),
    ok.

%%% ---- making sockets ----

%% The options that put a socket of this context on the loopback, before the caller's own.
-spec options(context(), list()) -> list().
options(#{backend := Backend, family := inet6}, Options) ->
    [{inet_backend, Backend}, inet6 | Options];
options(#{backend := Backend}, Options) ->
    [{inet_backend, Backend} | Options].

-spec listen(context(), list()) -> inet:socket().
listen(#{family := inet} = Context, Options) ->
    listen_on(Context, [{ip, {127, 0, 0, 1}} | Options]);
listen(#{family := inet6} = Context, Options) ->
    listen_on(Context, [{ip, {0, 0, 0, 0, 0, 0, 0, 1}} | Options]);
listen(#{family := local} = Context, Options) ->
    %% An abstract name: nothing to remove afterwards.
    Name = integer_to_binary(erlang:unique_integer([positive])),
    Path = <<0, "gen_tcp_rs-", (list_to_binary(os:getpid()))/binary, "-", Name/binary>>,
    listen_on(Context, [{ifaddr, {local, Path}} | Options]).

listen_on(Context, Options) ->
    {ok, Listen} = gen_tcp:listen(0, options(Context, [binary, {active, false}, {backlog, 128} | Options])),
    Listen.

-spec address_of(inet:socket()) -> {inet:ip_address() | {local, binary()}, inet:port_number()}.
address_of(Listen) ->
    case inet:sockname(Listen) of
        {ok, {local, _} = Address} -> {Address, 0};
        {ok, {Address, Port}} -> {Address, Port}
    end.

-spec connect(context(), inet:socket(), list()) -> {ok, inet:socket()} | {error, term()}.
connect(Context, Listen, Options) ->
    connect(Context, Listen, Options, ?DEADLINE).

-spec connect(context(), inet:socket(), list(), timeout()) -> {ok, inet:socket()} | {error, term()}.
connect(Context, Listen, Options, Timeout) ->
    {Address, Port} = address_of(Listen),
    gen_tcp:connect(Address, Port, options(Context, [binary, {active, false} | Options]), Timeout).

-spec accept(inet:socket()) -> inet:socket().
accept(Listen) ->
    {ok, Socket} = gen_tcp:accept(Listen, ?DEADLINE),
    Socket.

%% A connected socket under test and its peer. Passive and binary unless the options say otherwise.
-spec client(context(), list()) -> {inet:socket(), inet:socket()}.
client(Context, Options) ->
    plain_client(Context, [binary, {active, false} | Options]).

%% The same, made by accept: the options are the listening socket's.
-spec server(context(), list()) -> {inet:socket(), inet:socket()}.
server(Context, Options) ->
    plain_server(Context, [binary, {active, false} | Options]).

%% With the defaults that gen_tcp itself gives.
-spec plain_client(context(), list()) -> {inet:socket(), inet:socket()}.
plain_client(Context, Options) ->
    Listen = listen(Context#{backend := inet}, []),
    {Address, Port} = address_of(Listen),
    {ok, Socket} = gen_tcp:connect(Address, Port, options(Context, Options), ?DEADLINE),
    Peer = accept(Listen),
    ok = gen_tcp:close(Listen),
    {Socket, Peer}.

-spec plain_server(context(), list()) -> {inet:socket(), inet:socket()}.
plain_server(Context, Options) ->
    %% `listen/2` adds its own defaults first: only what the caller does not set stays theirs.
    Listen = listen(Context, Options),
    {ok, Peer} = connect(Context#{backend := inet}, Listen, []),
    Socket = accept(Listen),
    ok = gen_tcp:close(Listen),
    {Socket, Peer}.

%% Both ends on the backend of the context.
-spec pair(context(), list(), list()) -> {inet:socket(), inet:socket()}.
pair(Context, ConnectOptions, ListenOptions) ->
    Listen = listen(Context, ListenOptions),
    {ok, Client} = connect(Context, Listen, ConnectOptions),
    Server = accept(Listen),
    ok = gen_tcp:close(Listen),
    {Client, Server}.

%% A port of the loopback on which nobody listens.
-spec unused_port(context()) -> inet:port_number().
unused_port(Context) ->
    Listen = listen(Context#{backend := inet}, []),
    {_, Port} = address_of(Listen),
    ok = gen_tcp:close(Listen),
    Port.

%%% ---- what the kernel has seen ----

%% Closes with a reset.
-spec reset(inet:socket()) -> ok.
reset(Socket) ->
    ok = inet:setopts(Socket, [{linger, {true, 0}}]),
    gen_tcp:close(Socket).

%% Waits until the kernel has received this many bytes of the stream in all, read or not.
-spec arrived(inet:socket(), non_neg_integer()) -> ok.
arrived(Socket, Count) ->
    poll(fun() -> received_bytes(Socket) >= Count end).

%% Waits until the peer's FIN is there.
-spec fin_arrived(inet:socket()) -> ok.
fin_arrived(Socket) ->
    poll(fun() -> lists:member(tcp_state(Socket), [8, 9, 11]) end).

%% Waits until the peer's reset is there.
-spec reset_arrived(inet:socket()) -> ok.
reset_arrived(Socket) ->
    poll(fun() -> tcp_state(Socket) =:= 7 end).

tcp_state(Socket) ->
    <<State, _/binary>> = tcp_info(Socket),
    State.

received_bytes(Socket) ->
    <<_:128/binary, Count:64/native, _/binary>> = tcp_info(Socket),
    Count.

%% struct tcp_info of linux/tcp.h by IPPROTO_TCP (6), TCP_INFO (11).
tcp_info(Socket) ->
    {ok, [{raw, 6, 11, Info}]} = inet:getopts(Socket, [{raw, 6, 11, 200}]),
    Info.

%% After this, whatever the backend had noticed on any socket has been delivered: messages that
%% travelled through the same poller, started later, have arrived.
-spec barrier(context()) -> ok.
barrier(Context) ->
    {Left, Right} = case get(rs_test_barrier) of
                        {_, _} = Known -> Known;
                        undefined -> new_barrier(Context)
                    end,
    Pid = pid_of(Right),
    [begin
         Pid ! {cross, self(), Left},
         receive {rs_test, crossed, Pid} -> ok after ?DEADLINE -> error(barrier) end
     end || _ <- [1, 2]],
    ok.

new_barrier(Context) ->
    Parent = self(),
    Async = {Pid, _} =
        async(fun() ->
                      {Socket, Peer} = client(Context#{family := inet}, [{active, true}]),
                      Parent ! {rs_test, crossing, self(), Peer},
                      barrier_loop(Socket, erlang:monitor(process, Parent))
              end),
    {_, Reference} = Async,
    Peer = receive
               {rs_test, crossing, Pid, Socket} -> Socket;
               {rs_test, Reference, Failure, _} -> error({barrier, Failure})
           after ?DEADLINE -> error(barrier)
           end,
    put(rs_test_barrier, {Peer, Async}),
    {Peer, Async}.

barrier_loop(Socket, Monitor) ->
    receive
        {cross, From, Peer} ->
            ok = gen_tcp:send(Peer, <<1>>),
            receive {tcp, Socket, _} -> ok end,
            From ! {rs_test, crossed, self()},
            barrier_loop(Socket, Monitor);
        {'DOWN', Monitor, process, _, _} ->
            ok
    end.

%%% ---- messages ----

%% The first message of the mailbox, whatever it is; recorded for rs_observe:observe/2.
-spec next() -> term().
next() ->
    next(?DEADLINE).

-spec next(timeout()) -> term() | nothing.
next(Timeout) ->
    receive
        Message when not (is_tuple(Message) andalso tuple_size(Message) > 0
                          andalso element(1, Message) =:= rs_test) ->
            put(rs_test_log, [Message | log()]),
            Message
    after Timeout ->
            nothing
    end.

-spec next_n(non_neg_integer()) -> [term()].
next_n(Count) ->
    [next() || _ <- lists:seq(1, Count)].

%% Every message up to and including tcp_closed of this socket.
-spec until_closed(inet:socket()) -> [term()].
until_closed(Socket) ->
    case next() of
        nothing -> [nothing];
        {tcp_closed, Socket} = Message -> [Message];
        Message -> [Message | until_closed(Socket)]
    end.

%% Waits for raw data until there are `Count` bytes; how they were cut is not told.
-spec collect(inet:socket(), non_neg_integer()) -> binary().
collect(Socket, Count) ->
    collect(Socket, Count, <<>>).

collect(_Socket, Count, Data) when byte_size(Data) >= Count ->
    Data;
collect(Socket, Count, Data) ->
    receive
        {tcp, Socket, More} ->
            collect(Socket, Count, <<Data/binary, (iolist_to_binary(More))/binary>>)
    after ?DEADLINE ->
            {incomplete, Data}
    end.

%% Reads a passive peer until it is closed.
-spec read_all(inet:socket()) -> {binary(), term()}.
read_all(Socket) ->
    read_all(Socket, []).

read_all(Socket, Data) ->
    case gen_tcp:recv(Socket, 0, ?DEADLINE) of
        {ok, More} -> read_all(Socket, [Data, More]);
        {error, Reason} -> {iolist_to_binary(Data), Reason}
    end.

%% What lies in the mailbox now, oldest first.
-spec mailbox() -> [term()].
mailbox() ->
    case next(0) of
        nothing -> [];
        Message -> [Message | mailbox()]
    end.

%% Waits until this process has so many messages, and leaves them there. (They are taken and put back:
%% the driver can be very late with a message to a process that only looks now and then.)
-spec queued(non_neg_integer()) -> ok.
queued(Count) ->
    Log = log(),
    Messages = next_n(Count),
    put(rs_test_log, Log),
    lists:foreach(fun(Message) -> self() ! Message end, Messages).

%% What next/0 has taken from the mailbox so far, newest first.
-spec log() -> [term()].
log() ->
    case get(rs_test_log) of
        undefined -> [];
        Log -> Log
    end.

%%% ---- waiting ----

-spec poll(fun(() -> boolean())) -> ok.
poll(Condition) ->
    poll(Condition, ?DEADLINE).

%% Waits until the condition holds; an error after the given time.
-spec poll(fun(() -> boolean()), non_neg_integer()) -> ok.
poll(Condition, Timeout) ->
    poll_until(Condition, erlang:monotonic_time(millisecond) + Timeout).

poll_until(Condition, Deadline) ->
    case Condition() of
        true ->
            ok;
        false ->
            case erlang:monotonic_time(millisecond) < Deadline of
                true ->
                    %% Between two looks, not in place of them.
                    receive after 1 -> ok end,
                    poll_until(Condition, Deadline);
                false ->
                    error(deadline)
            end
    end.

%%% ---- other processes ----

%% Runs the function in a process of its own, which then keeps living.
-spec async(fun(() -> term())) -> async().
async(Function) ->
    Parent = self(),
    Reference = make_ref(),
    Pid = spawn(fun() ->
                        Result = attempt(Function),
                        Parent ! {rs_test, Reference, Result, mailbox()},
                        parked(erlang:monitor(process, Parent))
                end),
    put(rs_test_processes, [Pid | processes_made()]),
    {Pid, Reference}.

%% Done; what it owns stays open.
parked(Monitor) ->
    receive {'DOWN', Monitor, process, _, _} -> ok end.

%% The same, once this process owns the socket; to be called by its present owner.
-spec async_owner(inet:socket(), fun(() -> term())) -> async().
async_owner(Socket, Function) ->
    Async = {Pid, _} = async(fun() -> receive owner -> Function() end end),
    ok = gen_tcp:controlling_process(Socket, Pid),
    Pid ! owner,
    Async.

-spec pid_of(async()) -> pid().
pid_of({Pid, _}) -> Pid.

%% Waits until the process is in a call that waits, or has already returned from it.
-spec blocked(async()) -> async().
blocked({Pid, _} = Async) ->
    poll(fun() ->
                 case process_info(Pid, [status, current_stacktrace]) of
                     [{status, Status}, {current_stacktrace, Stack}]
                       when Status =:= waiting; Status =:= suspended ->
                         %% Not in the mere beginning of async_owner/2.
                         lists:any(fun({Module, Function, _, _}) -> Module =/= rs_test orelse Function =:= parked end,
                                   Stack);
                     _ ->
                         false
                 end
         end),
    Async.

%% What the function returned, and what was in its mailbox then.
-spec await(async()) -> {term(), [term()]} | still_waiting.
await({_Pid, Reference}) ->
    receive
        {rs_test, Reference, Result, Mailbox} -> {Result, Mailbox}
    after ?DEADLINE ->
            still_waiting
    end.

-spec kill(async()) -> ok.
kill({Pid, _}) ->
    Monitor = erlang:monitor(process, Pid),
    exit(Pid, kill),
    receive {'DOWN', Monitor, process, Pid, _} -> ok after ?DEADLINE -> error(immortal) end.

%% Every process that this one has made.
-spec kill_all() -> ok.
kill_all() ->
    lists:foreach(fun(Pid) -> exit(Pid, kill) end, processes_made()).

processes_made() ->
    case get(rs_test_processes) of
        undefined -> [];
        Pids -> Pids
    end.

%% See rs_observe.
-spec observe(fun((context()) -> term()), context()) -> term().
observe(Script, Context) ->
    rs_observe:observe(Script, Context).

%% What the function returns or raises, as a term.
-spec attempt(fun(() -> term())) -> term().
attempt(Function) ->
    try
        Function()
    catch
        Class:Reason -> {raised, Class, without_stack(Reason)}
    end.

%% `exit({function_clause, Stack})`: where it happened is not part of the contract.
without_stack({Reason, [{Module, Function, _, _} | _]}) when is_atom(Module), is_atom(Function) ->
    Reason;
without_stack(Reason) ->
    Reason.

%%% ---- resources ----

-spec fd_count() -> non_neg_integer().
fd_count() ->
    {ok, Names} = file:list_dir("/proc/self/fd"),
    length(Names).

%% How many descriptors of this VM are sockets.
-spec socket_fds() -> non_neg_integer().
socket_fds() ->
    {ok, Names} = file:list_dir("/proc/self/fd"),
    length([Name || Name <- Names,
                    {ok, "socket:" ++ _} <- [file:read_link("/proc/self/fd/" ++ Name)]]).

%% Sends until data stays queued in the backend; the number of bytes it has taken.
-spec fill(inet:socket()) -> pos_integer().
fill(Socket) ->
    %% More than any kernel buffer takes; one send with an empty queue never waits.
    Count = 16 * 1024 * 1024,
    ok = gen_tcp:send(Socket, <<0:Count/unit:8>>),
    true = pending(Socket) > 0,
    Count.

%% Waits until the output queue of the backend no longer moves: the peer's window is shut.
-spec stalled(inet:socket()) -> ok.
stalled(Socket) ->
    stalled(Socket, pending(Socket), 100).

stalled(_Socket, _Pending, 0) ->
    ok;
stalled(Socket, Pending, Looks) ->
    receive after 1 -> ok end,
    case pending(Socket) of
        Pending -> stalled(Socket, Pending, Looks - 1);
        Other -> stalled(Socket, Other, 100)
    end.

pending(Socket) ->
    {ok, [{send_pend, Pending}]} = inet:getstat(Socket, [send_pend]),
    Pending.

%% Reads exactly this many bytes from a passive raw socket, without keeping them.
-spec drain(inet:socket(), non_neg_integer()) -> ok.
drain(_Socket, 0) ->
    ok;
drain(Socket, Count) ->
    {ok, Data} = gen_tcp:recv(Socket, min(Count, 1024 * 1024), ?DEADLINE),
    drain(Socket, Count - byte_size(Data)).
