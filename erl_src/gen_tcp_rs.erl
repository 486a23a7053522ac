%% gen_tcp over the native library: the callback module of {'$inet', gen_tcp_rs, _}.
%%
%% OTP's gen_tcp and inet send every call on such a socket here. What needs a
%% mailbox, a clock or a name lookup is done in this module, the rest in the library
%% (gen_tcp_rs_nif). The functions take and return what gen_tcp's and inet's take
%% and return: see the manual of gen_tcp.
-module(gen_tcp_rs).

-export([connect/3, connect/4, listen/2, accept/1, accept/2, fdopen/2]).
-export([send/2, send/3, recv/2, recv/3, unrecv/2, sendfile/4, shutdown/2, close/1]).
-export([controlling_process/2, setopts/2, getopts/2, getstat/2]).
-export([sockname/1, peername/1, port/1, socknames/1, peernames/1, getfd/1]).
-export([info/1, i/0, i/1, stats/0, time_locks/1, monitor/1, cancel_monitor/1]).
-export([socket_to_list/1, which_packet_type/1, which_sockets/0]).
-export([stop_all/1, failed/2]).

-export_type([socket/0, failure/0]).

-include_lib("kernel/include/file.hrl").

-type socket() :: {'$inet', ?MODULE, gen_tcp_rs_nif:handle()}.
-type failure() :: {error, closed | timeout | badarg | not_owner | system_limit | inet:posix()}.

-define(SOCKET(Handle), {'$inet', ?MODULE, Handle}).
%% The longest that `receive ... after` takes.
-define(MAX_TIMEOUT, 16#ffffffff).
%% How long close waits for queued output, and how long for the first sign of progress.
-define(CLOSE_MILLISECONDS, 180000).
-define(PROGRESS_MILLISECONDS, 5000).
%% The longest time between two looks whether the peer has everything.
-define(RECEIPT_MILLISECONDS, 20).
%% The most of a file that one call sends.
-define(FILE_BYTES, 524288).

%%% Making sockets

-spec connect(Address :: term(), Port :: term(), [gen_tcp_rs_opts:connect_option()]) ->
          {ok, socket()} | failure();
             (SockAddr :: map(), [gen_tcp_rs_opts:connect_option()], timeout()) ->
          {ok, socket()} | failure().
connect(AddressOrSockAddr, PortOrOptions, OptionsOrTimeout) ->
    gen_tcp_rs_open:connect(AddressOrSockAddr, PortOrOptions, OptionsOrTimeout).

-spec connect(Address :: term(), Port :: term(), [gen_tcp_rs_opts:connect_option()], timeout()) ->
          {ok, socket()} | failure().
connect(Address, Port, Options, Timeout) ->
    gen_tcp_rs_open:connect(Address, Port, Options, Timeout).

-spec listen(Port :: term(), [gen_tcp_rs_opts:listen_option()]) -> {ok, socket()} | failure().
listen(Port, Options) -> gen_tcp_rs_open:listen(Port, Options).

-spec fdopen(Fd :: non_neg_integer(), [gen_tcp_rs_opts:option() | gen_tcp_rs_opts:family()]) ->
          {ok, socket()} | failure().
fdopen(Fd, Options) -> gen_tcp_rs_open:fdopen(Fd, Options).

-spec accept(socket()) -> {ok, socket()} | failure().
accept(Socket) -> accept(Socket, infinity).

%% A connection stays in the kernel's backlog until an acceptor that is still there
%% takes it. A negative time is infinite, as it is with the port driver.
-spec accept(socket(), timeout()) -> {ok, socket()} | failure().
accept(?SOCKET(Handle), infinity) -> accept_until(Handle, infinity);
accept(?SOCKET(Handle), Timeout) when is_integer(Timeout) ->
    accept_until(Handle, deadline(Timeout));
accept(?SOCKET(Handle), _NoTimeout) ->
    closed_or_clause(Handle).

-spec accept_until(gen_tcp_rs_nif:handle(), infinity | integer()) -> {ok, socket()} | failure().
accept_until(Handle, Deadline) ->
    Ref = make_ref(),
    case gen_tcp_rs_nif:accept(Handle, Ref) of
        {ok, Accepted} ->
            {ok, ?SOCKET(Accepted)};
        wait ->
            receive
                {Ref, ready} -> accept_until(Handle, Deadline);
                {Ref, Error} -> Error
            after remaining(Deadline) ->
                    case gen_tcp_rs_nif:cancel(Handle, Ref) of
                        true -> {error, timeout};
                        false ->
                            receive
                                {Ref, ready} -> accept_until(Handle, Deadline);
                                {Ref, Error} -> Error
                            end
                    end
            end;
        Error ->
            failed(accept, Error)
    end.

%% @private
%% An error of the system's that the operator may have to know of.
-spec failed(accept | connect | listen, failure()) -> failure().
failed(Call, {error, Reason} = Error) ->
    %% Where the application has not started the module may not be loaded, and without a
    %% file descriptor it can't be: then there is nobody to tell.
    _ = erlang:function_exported(gen_tcp_rs_event, opening_failed, 2)
        andalso gen_tcp_rs_event:opening_failed(Call, Reason),
    Error.

%%% The data

%% Nothing is received while the data or what it is queued behind fits: the cost of
%% a send does not depend on the mailbox.
-spec send(socket(), iodata()) -> ok | failure().
send(?SOCKET(Handle), Data) ->
    case gen_tcp_rs_nif:send(Handle, Data, false) of
        ok -> ok;
        {wait, IsQueued, Timeout, Close} ->
            await_send(Handle, Data, IsQueued, deadline(Timeout), Close);
        Error -> Error
    end.

%% With nowait: never waits. Where send/2 would, nothing is taken, and this process
%% gets one {tcp_writable, Socket} when it is worth trying again, or the socket has
%% closed: the next send tells which.
-spec send(socket(), iodata(), [nowait]) ->
          ok | {error, {busy, Queued :: non_neg_integer()}} | failure().
send(?SOCKET(Handle), Data, [nowait]) -> gen_tcp_rs_nif:send_now(Handle, Data);
send(Socket, Data, []) -> send(Socket, Data).

-spec await_send(gen_tcp_rs_nif:handle(), iodata(), boolean(), infinity | integer(),
                 boolean()) -> ok | failure().
await_send(Handle, Data, IsQueued, Deadline, Close) ->
    Ref = make_ref(),
    case gen_tcp_rs_nif:await_send(Handle, Ref, IsQueued) of
        wait ->
            receive
                {Ref, ok} -> ok;
                {Ref, ready} -> send_again(Handle, Data, Deadline, Close);
                {Ref, Error} -> Error
            after remaining(Deadline) ->
                    case gen_tcp_rs_nif:send_timed_out(Handle, Ref, Close) of
                        true ->
                            send_timed_out(Handle, Data, IsQueued, Close);
                        false ->
                            receive
                                {Ref, ok} -> ok;
                                {Ref, ready} -> send_again(Handle, Data, Deadline, Close);
                                {Ref, Error} -> Error
                            end
                    end
            end;
        ok when IsQueued -> ok;
        ok -> send_again(Handle, Data, Deadline, Close);
        Error -> Error
    end.

%% The turn of data that is not queued has come.
-spec send_again(gen_tcp_rs_nif:handle(), iodata(), infinity | integer(), boolean()) ->
          ok | failure().
send_again(Handle, Data, Deadline, Close) ->
    case gen_tcp_rs_nif:send(Handle, Data, false) of
        ok -> ok;
        {wait, IsQueued, _Timeout, _Close} ->
            await_send(Handle, Data, IsQueued, Deadline, Close);
        Error -> Error
    end.

%% A send that timed out is delivered later, all of it: also the one whose turn had
%% not come.
-spec send_timed_out(gen_tcp_rs_nif:handle(), iodata(), boolean(), boolean()) ->
          {error, timeout | enobufs}.
send_timed_out(Handle, Data, false, false) ->
    case gen_tcp_rs_nif:send(Handle, Data, true) of
        %% More than max_queue: not this one.
        {error, enobufs} = Error -> Error;
        _Queued -> {error, timeout}
    end;
send_timed_out(_Handle, _Data, _IsQueued, _Close) ->
    {error, timeout}.

-spec recv(socket(), non_neg_integer()) -> {ok, term()} | failure().
recv(Socket, Length) -> recv(Socket, Length, infinity).

%% The bytes stay in the socket until a recv that is still there takes them. A
%% negative time is infinite.
-spec recv(socket(), non_neg_integer(), timeout()) -> {ok, term()} | failure().
recv(?SOCKET(Handle), Length, infinity) when is_integer(Length), Length >= 0 ->
    recv_until(Handle, Length, infinity);
recv(?SOCKET(Handle), Length, Timeout) when is_integer(Length), Length >= 0,
                                            is_integer(Timeout) ->
    recv_until(Handle, Length, deadline(Timeout));
recv(?SOCKET(Handle), _Length, _Timeout) ->
    closed_or_clause(Handle).

-spec recv_until(gen_tcp_rs_nif:handle(), non_neg_integer(), infinity | integer()) ->
          {ok, term()} | failure().
recv_until(Handle, Length, Deadline) ->
    Ref = make_ref(),
    case gen_tcp_rs_nif:recv(Handle, min(Length, ?MAX_TIMEOUT), Ref) of
        wait ->
            receive
                {Ref, ready} -> recv_until(Handle, Length, Deadline);
                {Ref, Error} -> Error
            after remaining(Deadline) ->
                    case gen_tcp_rs_nif:cancel(Handle, Ref) of
                        true -> {error, timeout};
                        false ->
                            receive
                                {Ref, ready} -> recv_until(Handle, Length, Deadline);
                                {Ref, Error} -> Error
                            end
                    end
            end;
        Result ->
            Result
    end.

%% As with the port driver an argument is looked at only where there is a socket.
-spec closed_or_clause(gen_tcp_rs_nif:handle()) -> {error, closed} | no_return().
closed_or_clause(Handle) ->
    case gen_tcp_rs_nif:getopts(Handle, []) of
        {ok, []} -> error(function_clause);
        {error, _} -> {error, closed}
    end.

-spec unrecv(socket(), iodata()) -> ok | failure().
unrecv(?SOCKET(Handle), Data) -> gen_tcp_rs_nif:unrecv(Handle, Data).

%% A file of the system's goes out by sendfile(2), from this process alone as with
%% the port driver; for others file:sendfile/5 reads and sends by itself.
-spec sendfile(socket(), file:fd(), non_neg_integer(), non_neg_integer()) ->
          {ok, non_neg_integer()} | failure() | {error, enotsup}.
sendfile(?SOCKET(Handle), #file_descriptor{module = prim_file} = File, Offset, Bytes)
  when Offset >= 0, Bytes >= 0 ->
    try prim_file:get_handle(File) of
        <<Descriptor:32/native>> ->
            Left = case Bytes of 0 -> infinity; _ -> Bytes end,
            Sent = send_file(Handle, Descriptor, Offset, Left, none),
            ok = gen_tcp_rs_nif:file_sent(Handle),
            Sent
    catch
        error:_ -> {error, einval}
    end;
sendfile(?SOCKET(_Handle), #file_descriptor{module = prim_file}, _Offset, _Bytes) ->
    {error, einval};
sendfile(?SOCKET(_Handle), _File, _Offset, _Bytes) ->
    {error, enotsup}.

%% Sent is `none` until the socket has taken part in it: closed before is einval,
%% closed meanwhile is closed.
-spec send_file(gen_tcp_rs_nif:handle(), non_neg_integer(), non_neg_integer(),
                non_neg_integer() | infinity, none | non_neg_integer()) ->
          {ok, non_neg_integer()} | failure().
send_file(_Handle, _File, _Offset, 0, Sent) ->
    {ok, sent(Sent)};
send_file(Handle, File, Offset, Left, Sent) ->
    case gen_tcp_rs_nif:sendfile(Handle, File, Offset, min(Left, ?FILE_BYTES)) of
        {ok, 0} ->
            {ok, sent(Sent)};
        {ok, Count} when Left =:= infinity ->
            send_file(Handle, File, Offset + Count, infinity, sent(Sent) + Count);
        {ok, Count} ->
            send_file(Handle, File, Offset + Count, Left - Count, sent(Sent) + Count);
        wait ->
            Ref = make_ref(),
            case gen_tcp_rs_nif:await_writable(Handle, Ref) of
                wait -> receive {Ref, _} -> ok end;
                ok -> ok
            end,
            send_file(Handle, File, Offset, Left, sent(Sent));
        {error, einval} when Sent =/= none ->
            {error, closed};
        Error ->
            Error
    end.

-spec sent(none | non_neg_integer()) -> non_neg_integer().
sent(none) -> 0;
sent(Sent) -> Sent.

%%% The end

-spec shutdown(socket(), read | write | read_write) -> ok | failure().
shutdown(?SOCKET(Handle), How) when How =:= read; How =:= write; How =:= read_write ->
    gen_tcp_rs_nif:shutdown(Handle, How);
shutdown(?SOCKET(Handle), _How) ->
    closed_or_clause(Handle).

%% Waits for queued output as the port driver does: as long as there is progress, for
%% at most three minutes or the time of `linger`. What is left is written later. With
%% `linger` also for what the kernel has, which could only wait by blocking a scheduler.
-spec close(socket()) -> ok.
close(?SOCKET(Handle) = Socket) ->
    case gen_tcp_rs_nif:close(Handle) of
        ok ->
            ok;
        {linger, infinity} ->
            ok = drain(Handle, deadline(?CLOSE_MILLISECONDS)),
            ok = gen_tcp_rs_nif:abandon(Handle);
        {linger, Seconds} ->
            Deadline = deadline(Seconds * 1000),
            ok = drain(Handle, Deadline),
            ok = await_receipt(Handle, Deadline, 1),
            ok = gen_tcp_rs_nif:abandon(Handle)
    end,
    %% A close that the owner did not see before its own.
    receive {tcp_closed, Socket} -> ok after 0 -> ok end.

-spec drain(gen_tcp_rs_nif:handle(), integer()) -> ok.
drain(Handle, Deadline) ->
    Queued = gen_tcp_rs_nif:queued(Handle),
    Ref = make_ref(),
    case gen_tcp_rs_nif:await_drained(Handle, Ref) of
        ok -> ok;
        wait -> await_drained(Handle, Ref, Queued, Deadline)
    end.

%% Nobody is told when the peer has everything.
-spec await_receipt(gen_tcp_rs_nif:handle(), integer(), pos_integer()) -> ok.
await_receipt(Handle, Deadline, Milliseconds) ->
    case gen_tcp_rs_nif:owes(Handle) andalso remaining(Deadline) of
        Left when is_integer(Left), Left > 0 ->
            receive after min(Left, Milliseconds) -> ok end,
            await_receipt(Handle, Deadline, min(2 * Milliseconds, ?RECEIPT_MILLISECONDS));
        _ ->
            ok
    end.

-spec await_drained(gen_tcp_rs_nif:handle(), reference(), non_neg_integer(), integer()) -> ok.
await_drained(Handle, Ref, Queued, Deadline) ->
    Time = min(remaining(Deadline), ?PROGRESS_MILLISECONDS),
    receive
        {Ref, _} -> ok
    after Time ->
            case gen_tcp_rs_nif:queued(Handle) of
                Less when Less =/= Queued, Time =:= ?PROGRESS_MILLISECONDS ->
                    await_drained(Handle, Ref, Queued, Deadline);
                _ ->
                    case gen_tcp_rs_nif:cancel(Handle, Ref) of
                        true -> ok;
                        false -> receive {Ref, _} -> ok end
                    end
            end
    end.

%% @private
%% Closes every socket but those of the node's distribution as the death of its owner
%% would, waits for queued output, and ends the poller threads.
-spec stop_all(non_neg_integer()) -> ok.
stop_all(Milliseconds) ->
    lists:foreach(fun gen_tcp_rs_nif:abandon/1, gen_tcp_rs_nif:sockets()),
    Ref = make_ref(),
    await_all_closed(Ref, gen_tcp_rs_nif:await_all_closed(Ref), deadline(Milliseconds)),
    gen_tcp_rs_nif:stop().

-spec await_all_closed(reference(), non_neg_integer(), integer()) -> ok.
await_all_closed(_Ref, 0, _Deadline) -> ok;
await_all_closed(Ref, Pollers, Deadline) ->
    receive
        {Ref, ready} -> await_all_closed(Ref, Pollers - 1, Deadline)
    after remaining(Deadline) -> ok
    end.

%%% The owner

%% All messages of the socket that the old owner has move to the new one, in order.
%% They are sent as the socket's own are, so that those can't overtake them.
-spec controlling_process(socket(), pid()) -> ok | failure().
controlling_process(?SOCKET(_Handle) = Socket, NewOwner) when node(NewOwner) =/= node() ->
    %% Who is no owner is told so first.
    case controlling_process(Socket, self()) of
        ok -> {error, badarg};
        Error -> Error
    end;
controlling_process(?SOCKET(Handle) = Socket, NewOwner) when is_pid(NewOwner) ->
    case gen_tcp_rs_nif:begin_transfer(Handle, NewOwner) of
        {ok, Active} ->
            case is_process_alive(NewOwner) of
                true ->
                    ok = forward(Socket, NewOwner),
                    transfer(Handle, NewOwner, Active);
                false ->
                    _ = gen_tcp_rs_nif:finish_transfer(Handle, self(), Active),
                    {error, badarg}
            end;
        owner -> ok;
        Error -> Error
    end;
controlling_process(?SOCKET(Handle), _NoProcess) ->
    closed_or_clause(Handle).

-spec transfer(gen_tcp_rs_nif:handle(), pid(), false | gen_tcp_rs_nif:active()) ->
          ok | failure().
transfer(Handle, NewOwner, Active) ->
    case gen_tcp_rs_nif:finish_transfer(Handle, NewOwner, Active) of
        ok -> ok;
        %% Its tcp_closed has moved with the rest.
        {error, closed} -> ok;
        monitored -> gen_tcp_rs_monitors:look(Handle);
        {error, badarg} ->
            _ = gen_tcp_rs_nif:finish_transfer(Handle, self(), Active),
            {error, badarg}
    end.

-spec forward(socket(), pid()) -> ok.
forward(Socket, NewOwner) ->
    receive
        {tcp, Socket, _} = Message -> forward(Socket, NewOwner, Message);
        {http, Socket, _} = Message -> forward(Socket, NewOwner, Message);
        {Socket, {data, _}} = Message -> forward(Socket, NewOwner, Message);
        {ssl_tls, Socket, _, _, _} = Message -> forward(Socket, NewOwner, Message);
        {tcp_passive, Socket} = Message -> forward(Socket, NewOwner, Message);
        {tcp_error, Socket, _} = Message -> forward(Socket, NewOwner, Message);
        {tcp_closed, Socket} = Message -> forward(Socket, NewOwner, Message)
    after 0 -> ok
    end.

-spec forward(socket(), pid(), tuple()) -> ok.
forward(Socket, NewOwner, Message) ->
    _ = gen_tcp_rs_nif:forward(NewOwner, Message),
    forward(Socket, NewOwner).

%%% Options and information

-spec setopts(socket(), [gen_tcp_rs_opts:option()]) -> ok | failure().
setopts(?SOCKET(Handle), [{active, _}] = Options) ->
    gen_tcp_rs_nif:setopts(Handle, Options);
setopts(?SOCKET(Handle), Options) ->
    gen_tcp_rs_nif:setopts(Handle, gen_tcp_rs_opts:setopts(Options)).

-spec getopts(socket(), [gen_tcp_rs_opts:option_name()]) -> {ok, list()} | failure().
getopts(?SOCKET(Handle), Names) when is_list(Names) ->
    case gen_tcp_rs_nif:getopts(Handle, gen_tcp_rs_opts:getopts(Names)) of
        {ok, Options} -> {ok, gen_tcp_rs_opts:getopts_result(Options)};
        Error -> Error
    end.

-spec getstat(socket(), [inet:stat_option()]) ->
          {ok, [{inet:stat_option(), non_neg_integer()}]} | failure().
getstat(?SOCKET(Handle), Names) when is_list(Names) ->
    case are_counters(Names) of
        true -> gen_tcp_rs_nif:getstat(Handle, Names);
        false -> {error, einval}
    end.

-spec are_counters([term()]) -> boolean().
are_counters([Name | Names]) -> lists:member(Name, inet:stats()) andalso are_counters(Names);
are_counters([]) -> true.

-spec sockname(socket()) -> {ok, term()} | failure().
sockname(?SOCKET(Handle)) -> gen_tcp_rs_nif:sockname(Handle).

-spec peername(socket()) -> {ok, term()} | failure().
peername(?SOCKET(Handle)) -> gen_tcp_rs_nif:peername(Handle).

%% For ssl, which asks the transport module that cb_info names. A path if the socket has one.
-spec port(socket()) -> {ok, inet:port_number() | binary()} | failure().
port(Socket) ->
    case sockname(Socket) of
        {ok, {_Address, Port}} -> {ok, Port};
        {error, _Reason} = Error -> Error
    end.

-spec socknames(socket()) -> {ok, [term()]} | failure().
socknames(Socket) -> one_name(sockname(Socket)).

-spec peernames(socket()) -> {ok, [term()]} | failure().
peernames(Socket) -> one_name(peername(Socket)).

-spec one_name({ok, term()} | failure()) -> {ok, [term()]} | failure().
one_name({ok, Name}) -> {ok, [Name]};
one_name(Error) -> Error.

-spec getfd(socket()) -> {ok, non_neg_integer()} | failure().
getfd(?SOCKET(Handle)) -> gen_tcp_rs_nif:getfd(Handle).

-spec info(socket()) -> map().
info(Socket) -> gen_tcp_rs_observe:info(Socket).

%% Prints a table of all sockets, sorted by a column.
-spec i() -> ok.
i() -> i(owner).

-spec i(gen_tcp_rs_observe:column()) -> ok.
i(Column) -> gen_tcp_rs_observe:i(Column).

%% What the library has done since it was loaded: docs/observing.md.
-spec stats() -> gen_tcp_rs_observe:stats().
stats() -> gen_tcp_rs_observe:stats().

%% Switches the measuring of `longest_lock` on, from nothing, or off.
-spec time_locks(boolean()) -> ok.
time_locks(On) -> gen_tcp_rs_nif:time_locks(On).

-spec monitor(socket()) -> reference().
monitor(?SOCKET(Handle) = Socket) ->
    Ref = make_ref(),
    ok = case gen_tcp_rs_nif:monitor(Handle, Ref) of
             true ->
                 gen_tcp_rs_monitors:look(Handle);
             false ->
                 self() ! {'DOWN', Ref, port, Socket, noproc},
                 ok
         end,
    Ref.

-spec cancel_monitor(reference()) -> boolean().
cancel_monitor(Ref) when is_reference(Ref) -> gen_tcp_rs_nif:cancel_monitor(Ref).

-spec socket_to_list(socket()) -> string().
socket_to_list(?SOCKET(Handle)) ->
    "#Ref" ++ Numbers = erlang:ref_to_list(Handle),
    "#Socket" ++ Numbers.

%% What inet:i/0 shows.
-spec which_packet_type(socket()) -> {ok, atom()} | failure().
which_packet_type(Socket) ->
    case getopts(Socket, [packet]) of
        {ok, [{packet, Type}]} when is_atom(Type) -> {ok, Type};
        {ok, [{packet, Size}]} -> {ok, list_to_atom(integer_to_list(Size))};
        Error -> Error
    end.

-spec which_sockets() -> [socket()].
which_sockets() ->
    [?SOCKET(Handle) || Handle <- gen_tcp_rs_nif:sockets() ++ gen_tcp_rs_nif:node_sockets()].

%%% Time

%% A negative time is infinite.
-spec deadline(timeout() | neg_integer()) -> infinity | integer().
deadline(infinity) -> infinity;
deadline(Timeout) when Timeout < 0 -> infinity;
deadline(Timeout) -> erlang:monotonic_time(millisecond) + Timeout.

-spec remaining(infinity | integer()) -> timeout().
remaining(infinity) -> infinity;
remaining(Deadline) -> min(max(0, Deadline - erlang:monotonic_time(millisecond)), ?MAX_TIMEOUT).
