%% The controller of a connection between nodes: the process that owns the socket, takes
%% what this node sends from the VM and hands the VM what comes in.
%%
%% One process for both directions: it never waits inside a call, so that neither
%% direction holds up the other, and it can look for the answer right after it has sent.
%% What the VM has is taken in batches of bounded size and only while the kernel takes
%% them. The rest stays with the VM, which suspends its senders (`+zdbbl`): no queue
%% grows here, and what is ahead of a small message is short.
-module(gen_tcp_rs_dist_ctrl).

-export([start_link/1, connected/2]).
-export([init/2]).

%% So many bytes are written together at most, but for the last message among them, and
%% so many messages.
-define(BATCH_BYTES, 131072).
-define(BATCH_MESSAGES, 128).
%% After so many batches in a row other processes have their turn.
-define(BATCHES, 16).
%% After so many bytes the heap may hold on to large binaries of others.
-define(COLLECT_BYTES, 262144).
%% The VM ends a connection by exit signals. For one that is delayed it is waited.
-define(END_MILLISECONDS, 5000).

-record(state, {handle :: gen_tcp_rs_nif:handle(),
                connection :: erlang:dist_handle(),
                %% The references of the two waits, one of each at a time.
                read :: reference(),
                write :: reference(),
                input = ready :: ready | waiting,
                %% idle: the VM tells when there is something. blocked: the kernel does.
                output = ready :: ready | idle | blocked,
                %% Moved since the last garbage collection.
                bytes = 0 :: non_neg_integer()}).

-spec start_link(gen_tcp_rs_nif:handle()) -> pid().
start_link(Handle) ->
    spawn_opt(?MODULE, init, [Handle, self()], [link, {fullsweep_after, 0}, {priority, high}]).

%% The handshake is done: the data is the controller's from now on.
-spec connected(pid(), erlang:dist_handle()) -> ok.
connected(Controller, Connection) ->
    Monitor = monitor(process, Controller),
    Controller ! {Monitor, self(), Connection},
    receive
        {Monitor, ok} ->
            true = demonitor(Monitor, [flush]),
            ok;
        {'DOWN', Monitor, process, Controller, Reason} ->
            exit({dist_controller_exit, Reason})
    end.

-spec init(gen_tcp_rs_nif:handle(), pid()) -> no_return().
init(Handle, Supervisor) ->
    receive
        {Monitor, Supervisor, Connection} ->
            _ = erlang:dist_ctrl_set_opt(Connection, get_size, true),
            Supervisor ! {Monitor, ok},
            State = #state{handle = Handle, connection = Connection,
                           read = make_ref(), write = make_ref()},
            try loop(State, false, 0)
            catch
                error:badarg -> await_end();
                error:notsup -> await_end()
            end
    end.

%% The VM has given the connection up.
-spec await_end() -> no_return().
await_end() ->
    receive after ?END_MILLISECONDS -> exit(connection_closed) end.

%% Sent: output has left since the last input, and an answer may be on its way. Batches:
%% how many turns in a row have brought no input.
%%
%% Output has priority over the processes that send. The VM wakes those that it has suspended
%% all at the same time and in the order in which they were; if the first one filled the queue
%% again before this process made room, the same first one would be first each time, and
%% a second one, with a small message, would wait until it has nothing more to send. Input is
%% not bounded by anything here, and waits for its turn as the processes do that get it.
-spec loop(#state{}, boolean(), non_neg_integer()) -> no_return().
loop(State0, Sent0, Batches) ->
    {State1, SentNow} = output(await(State0, 0)),
    Sent = Sent0 orelse SentNow,
    case input(State1, Sent) of
        {State2, true} ->
            %% Who got something may have an answer at once.
            ok = others_turn(),
            loop(State2, false, 0);
        {#state{output = ready} = State2, false} when Batches < ?BATCHES ->
            loop(State2, Sent, Batches + 1);
        {#state{output = ready} = State2, false} ->
            ok = others_turn(),
            loop(State2, Sent, 0);
        {State2, false} ->
            loop(await(collected(State2), infinity), false, 0)
    end.

-spec others_turn() -> ok.
others_turn() ->
    high = process_flag(priority, normal),
    true = erlang:yield(),
    normal = process_flag(priority, high),
    ok.

-spec await(#state{}, timeout()) -> #state{}.
await(#state{read = Read, write = Write} = State, Timeout) ->
    receive
        dist_data -> State#state{output = unblocked(State)};
        {Read, _Answer} -> State#state{input = ready};
        {Write, ok} -> State#state{output = ready};
        {Write, ready} -> State#state{output = ready};
        {Write, {error, _Reason}} -> exit(connection_closed);
        {tcp_closed, _Socket} -> exit(connection_closed);
        _Other -> State
    after Timeout -> State
    end.

-spec unblocked(#state{}) -> ready | blocked.
unblocked(#state{output = blocked}) -> blocked;
unblocked(_State) -> ready.

%%% Input

%% True: something came. After output that has no more behind it, the call may look for
%% the answer for some microseconds if nobody else wants this scheduler.
-spec input(#state{}, boolean()) -> {#state{}, boolean()}.
input(#state{input = waiting, output = Output} = State, Sent) when not Sent; Output =/= idle ->
    {State, false};
input(#state{handle = Handle, read = Read, connection = Connection, output = Output,
             bytes = Bytes} = State, Sent) ->
    Spin = Sent andalso Output =:= idle andalso statistics(total_run_queue_lengths) =:= 0,
    case gen_tcp_rs_nif:recv_frames(Handle, Read, Spin) of
        {ok, Frames} ->
            {State#state{input = ready, bytes = put_frames(Connection, Frames, Bytes)}, true};
        wait -> {State#state{input = waiting}, false};
        {error, _Reason} -> exit(connection_closed)
    end.

-spec put_frames(erlang:dist_handle(), [binary()], non_neg_integer()) -> non_neg_integer().
put_frames(Connection, [Frame | Frames], Bytes) ->
    _ = erlang:dist_ctrl_put_data(Connection, Frame),
    put_frames(Connection, Frames, Bytes + byte_size(Frame));
put_frames(_Connection, [], Bytes) ->
    Bytes.

%%% Output

%% True: something left.
-spec output(#state{}) -> {#state{}, boolean()}.
output(#state{output = ready, handle = Handle, write = Write, connection = Connection,
              bytes = Bytes} = State) ->
    case batch(Connection, 0, 0, []) of
        {0, _Nothing} ->
            _ = erlang:dist_ctrl_get_data_notification(Connection),
            {State#state{output = idle}, false};
        {Size, Batch} ->
            State1 = State#state{bytes = Bytes + Size},
            case gen_tcp_rs_nif:send_frames(Handle, Batch) of
                ok -> {State1, true};
                {wait, IsQueued, _Timeout, _Close} ->
                    true = IsQueued,
                    case gen_tcp_rs_nif:await_send(Handle, Write, true) of
                        ok -> {State1, true};
                        wait -> {State1#state{output = blocked}, true};
                        {error, _Reason} -> exit(connection_closed)
                    end;
                {error, _Reason} -> exit(connection_closed)
            end
    end;
output(State) ->
    {State, false}.

%% Messages of the VM's, each behind its length.
-spec batch(erlang:dist_handle(), non_neg_integer(), non_neg_integer(), iolist()) ->
          {non_neg_integer(), iolist()}.
batch(_Connection, Size, Count, Batch) when Size >= ?BATCH_BYTES; Count >= ?BATCH_MESSAGES ->
    {Size, Batch};
batch(Connection, Size, Count, Batch) ->
    case erlang:dist_ctrl_get_data(Connection) of
        none -> {Size, Batch};
        {Length, Data} -> batch(Connection, Size + Length, Count + 1, [Batch, <<Length:32>> | Data])
    end.

%%% Memory

%% A process that has nothing to do collects no garbage, and would keep what it has
%% moved from being freed.
-spec collected(#state{}) -> #state{}.
collected(#state{bytes = Bytes} = State) when Bytes >= ?COLLECT_BYTES ->
    true = garbage_collect(),
    State#state{bytes = 0};
collected(State) ->
    State.
