%% Runs the calls of stateful_model on real sockets, in real processes, and holds what happens against it.
%%
%% After each call everything that it must cause is waited for, so that the next one finds what the model
%% expects; the pieces of the library run beside each other all the same, and so do other sequences.
-module(stateful_run).

-export([start/1, call/1, stop/0, taken_away/2]).

-define(DEADLINE, 15000).
%% A recv that is given time to find what is there.
-define(PATIENCE, 2000).

-record(run, {backend, model, workers = #{}, sockets = #{}, waiting = #{}}).

-spec start(rs | inet) -> ok.
start(Backend) ->
    put(?MODULE, #run{backend = Backend, model = stateful_model:new(Backend),
                      workers = maps:from_list([{P, worker()} || P <- [1, 2, 3]])}),
    ok.

%% Makes the call; ok, or what is otherwise than the model says.
-spec call(stateful_model:call()) -> ok | {otherwise, term()}.
call(Call) ->
    #run{model = Model0} = Run0 = get(?MODULE),
    {Expected, Model} = stateful_model:step(Model0, Call),
    try
        Run = made(Call, Expected, Run0),
        After = compared(Run#run{model = Model}),
        put(?MODULE, After),
        ok
    catch
        throw:Reason -> {otherwise, Reason}
    end.

%% Ends the sequence: nothing of it is open afterwards.
-spec stop() -> ok | {otherwise, term()}.
stop() ->
    #run{workers = Workers, sockets = Sockets} = erase(?MODULE),
    [begin
         Monitor = erlang:monitor(process, Pid),
         exit(Pid, kill),
         receive {'DOWN', Monitor, process, Pid, _} -> ok end
     end || Pid <- maps:values(Workers)],
    try
        [ok = closed(Socket) || Socket <- maps:values(Sockets)],
        ok
    catch
        throw:Reason -> {otherwise, Reason}
    end.

%% Reads from a passive end behind the model's back.
-spec taken_away(stateful_model:finish(), pos_integer()) -> ok.
taken_away(Finish, Length) ->
    #run{sockets = #{Finish := Socket}} = get(?MODULE),
    {ok, _} = gen_tcp:recv(Socket, Length, ?DEADLINE),
    ok.

%%% ---- making a call ----

made({open, P, Q, Options}, ok, #run{backend = Backend, sockets = Sockets} = Run) ->
    Common = [{inet_backend, Backend}, binary | Options],
    Listen = answer(in(P, fun() ->
                                  {ok, L} = gen_tcp:listen(0, Common ++ [{ip, {127, 0, 0, 1}}]),
                                  L
                          end, Run)),
    {ok, Port} = inet:port(Listen),
    Accepting = in(Q, fun() -> {ok, S} = gen_tcp:accept(Listen, ?DEADLINE), S end, Run),
    Client = answer(in(P, fun() -> {ok, S} = gen_tcp:connect({127, 0, 0, 1}, Port, Common), S end, Run)),
    Server = answer(Accepting),
    ok = answer(in(P, fun() -> gen_tcp:close(Listen) end, Run)),
    Generation = 1 + map_size(Sockets) div 2,
    Run#run{sockets = Sockets#{{c, Generation} => Client, {s, Generation} => Server}};
made({kill, P}, ok, #run{workers = Workers, sockets = Sockets, waiting = Waiting, model = Model} = Run) ->
    #{P := Pid} = Workers,
    Monitor = erlang:monitor(process, Pid),
    exit(Pid, kill),
    receive {'DOWN', Monitor, process, Pid, _} -> ok end,
    [ok = closed(maps:get(Finish, Sockets)) || Finish <- stateful_model:owned(Model, P)],
    Run#run{workers = Workers#{P := worker()}, waiting = maps:remove(P, Waiting)};
made(Call, Expected, #run{sockets = Sockets} = Run) ->
    P = element(2, Call),
    Generation = map_size(Sockets) div 2,
    #{{element(3, Call), Generation} := Socket} = Sockets,
    Making = in(P, fun() -> make(Call, Socket, Expected, Run) end, Run),
    case Expected of
        none ->
            ok = blocked(maps:get(P, Run#run.workers)),
            Run#run{waiting = (Run#run.waiting)#{P => Making}};
        _ ->
            case answer(Making) of
                Result when Expected =:= any; Result =:= Expected -> Run;
                Result -> throw({result, Result, expected, Expected})
            end
    end.

make({send, _, _, Count}, Socket, _, #run{model = Model} = Run) ->
    %% The place in the stream is what the other end has been written before.
    gen_tcp:send(Socket, stateful_model:bytes(place(Socket, Model, Run), Count));
make({recv, P, Name, Length, Timeout}, Socket, Expected, #run{backend = Backend} = Run)
  when Timeout < ?PATIENCE, Backend =:= inet, element(1, Expected) =:= ok;
       Timeout < ?PATIENCE, Expected =:= {error, closed} ->
    %% The driver may need a second look at what is there, and both at an end behind a part of a frame.
    make({recv, P, Name, Length, ?PATIENCE}, Socket, Expected, Run);
make({recv, _, _, 0, Timeout}, Socket, {ok, Data}, _) ->
    all(Socket, byte_size(Data), Timeout, gen_tcp:recv(Socket, 0, Timeout));
make({recv, _, _, Length, Timeout}, Socket, _, _) -> gen_tcp:recv(Socket, Length, Timeout);
make({active, _, _, Mode}, Socket, _, _) -> inet:setopts(Socket, [{active, Mode}]);
make({packet, _, _, Packet}, Socket, _, _) -> inet:setopts(Socket, [{packet, Packet}]);
make({control, _, _, Q}, Socket, _, #run{workers = Workers}) ->
    gen_tcp:controlling_process(Socket, maps:get(Q, Workers));
make({close, _, _}, Socket, _, _) -> gen_tcp:close(Socket);
make({shutdown, _, _}, Socket, _, _) -> gen_tcp:shutdown(Socket, write);
make({getopts, _, _}, Socket, _, _) -> inet:getopts(Socket, [active, packet]);
make({monitor, _, _}, Socket, _, _) -> put({monitor, inet:monitor(Socket)}, Socket), ok.

%% Raw data may have been read in part by a call before: the rest comes with the next read.
all(Socket, Size, Timeout, {ok, Data}) when byte_size(Data) < Size ->
    case gen_tcp:recv(Socket, 0, Timeout) of
        {ok, More} -> all(Socket, Size, Timeout, {ok, <<Data/binary, More/binary>>});
        Error -> Error
    end;
all(_Socket, _Size, _Timeout, Result) -> Result.

place(Socket, Model, #run{sockets = Sockets}) ->
    [{Name, Generation}] = [Finish || {Finish, S} <- maps:to_list(Sockets), S =:= Socket],
    Other = {case Name of c -> s; s -> c end, Generation},
    case lists:keyfind(Other, 1, stateful_model:open(Model)) of
        {_, Written, _} -> Written;
        false -> 0
    end.

%%% ---- holding it against the model ----

compared(#run{model = Model, sockets = Sockets, workers = Workers, waiting = Waiting} = Run) ->
    [ok = arrived(maps:get(Finish, Sockets), Written, Fin, Finish, Model)
     || {Finish, Written, Fin} <- stateful_model:open(Model)],
    Names = maps:from_list([{Socket, Finish} || {Finish, Socket} <- maps:to_list(Sockets)]),
    Free = [P || P <- maps:keys(Workers), stateful_model:is_free(Model, P)],
    Replied = [P || P <- Free, is_map_key(P, Waiting)],
    [case {answer(maps:get(P, Waiting)), lists:last([R || {reply, R} <- stateful_model:events(Model, P)])} of
         {Same, Same} -> ok;
         {_, any} -> ok;
         {Result, Expected} -> throw({late, P, Result, expected, Expected})
     end || P <- Replied],
    [ok = messages(P, maps:get(P, Workers), [E || E <- stateful_model:events(Model, P), element(1, E) =/= reply],
                   Names, Model) || P <- Free],
    Run#run{waiting = maps:without(Replied, Waiting)}.

messages(P, Pid, Expected, Names, Model) ->
    Reference = make_ref(),
    Wild = fun(Finish) -> stateful_model:is_wild(Model, Finish) end,
    Pid ! {expect, self(), Reference, Expected, Names, Wild},
    receive
        {Reference, ok} -> ok;
        {Reference, Log} -> throw({messages, P, Log, expected, Expected})
    after 2 * ?DEADLINE ->
            throw({no_answer, P, process_info(Pid, current_stacktrace)})
    end.

%% Waits until what was written to a passive end, and its end, are with the kernel there.
arrived(Socket, Written, Fin, Finish, _Model) ->
    wait(fun() ->
                 case inet:getopts(Socket, [{raw, 6, 11, 200}]) of
                     {ok, [{raw, 6, 11, <<State, _:127/binary, Received:64/native, _/binary>>}]} ->
                         Received >= Written andalso (not Fin orelse lists:member(State, [7, 8, 9, 11]));
                     _ ->
                         throw({closed, Finish})
                 end
         end, {not_arrived, Finish}).

closed(Socket) ->
    wait(fun() -> inet:getopts(Socket, [active]) =:= {error, einval} end, {still_open, Socket}).

blocked(Pid) ->
    wait(fun() ->
                 case process_info(Pid, [status, current_stacktrace]) of
                     [{status, waiting}, {current_stacktrace, Stack}] -> not lists:keymember(serve, 2, [hd(
                         [{M, F} || {M, F, _, _} <- Stack])]);
                     _ -> false
                 end
         end, not_blocked).

wait(Condition, What) ->
    wait(Condition, What, erlang:monotonic_time(millisecond) + ?DEADLINE).

wait(Condition, What, Deadline) ->
    case Condition() of
        true -> ok;
        false ->
            erlang:monotonic_time(millisecond) < Deadline orelse throw(What),
            erlang:yield(),
            wait(Condition, What, Deadline)
    end.

%%% ---- the processes ----

worker() ->
    Parent = self(),
    spawn(fun() -> serve(erlang:monitor(process, Parent), []) end).

in(P, Function, #run{workers = Workers}) ->
    Reference = make_ref(),
    maps:get(P, Workers) ! {do, self(), Reference, Function},
    Reference.

answer(Reference) ->
    receive {Reference, done, Result} -> Result after ?DEADLINE -> throw(no_answer) end.

serve(Monitor, Log) ->
    receive
        {do, From, Reference, Function} ->
            Result = rs_test:attempt(Function),
            From ! {Reference, done, Result},
            serve(Monitor, Log);
        {expect, From, Reference, Expected, Names, Wild} ->
            Deadline = erlang:monotonic_time(millisecond) + ?DEADLINE,
            {Verdict, After} = expect(Log, Expected, Names, Wild, Deadline),
            From ! {Reference, Verdict},
            serve(Monitor, After);
        {'DOWN', Monitor, process, _, _} ->
            ok
    end.

%% The log is all that has come, latest first.
expect(Log0, Expected, Names, Wild, Deadline) ->
    Log = drained(Log0, Names),
    case lists:all(fun(Finish) -> Wild(Finish) orelse same(of_end(Finish, lists:reverse(Log)), of_end(Finish, Expected)) end,
                   lists:usort([element(2, E) || E <- Log ++ Expected])) of
        true -> {ok, Log};
        false ->
            case erlang:monotonic_time(millisecond) < Deadline of
                true ->
                    receive
                        Message when element(1, Message) =/= do, element(1, Message) =/= expect ->
                            expect([named(Message, Names) | Log], Expected, Names, Wild, Deadline)
                    after 10 ->
                            expect(Log, Expected, Names, Wild, Deadline)
                    end;
                false ->
                    {lists:reverse(Log), Log}
            end
    end.

drained(Log, Names) ->
    receive
        Message when element(1, Message) =/= do, element(1, Message) =/= expect ->
            drained([named(Message, Names) | Log], Names)
    after 0 -> Log
    end.

named({tcp, Socket, Data}, Names) -> {data, maps:get(Socket, Names), Data};
named({tcp_passive, Socket}, Names) -> {passive, maps:get(Socket, Names)};
named({tcp_closed, Socket}, Names) -> {closed, maps:get(Socket, Names)};
named({tcp_error, Socket, Reason}, Names) -> {failed, maps:get(Socket, Names), Reason};
named({'DOWN', Reference, _, Socket, Reason}, Names) when is_map_key(Socket, Names) ->
    Socket = erase({monitor, Reference}),
    {down, maps:get(Socket, Names), Reason};
named(Other, _Names) -> {unknown, none, Other}.

of_end(Finish, Events) ->
    [E || E <- Events, element(2, E) =:= Finish].

%% Raw data may come in any pieces, all else is message by message.
same([], []) -> true;
same([{data, _, Data} | Log], [{frame, _, Data} | Expected]) -> same(Log, Expected);
same(Log, [{data, _, <<>>} | Expected]) -> same(Log, Expected);
same([{data, Finish, Data} | Log], [{data, Finish, Bytes} | Expected]) ->
    Size = byte_size(Data),
    case Bytes of
        <<Data:Size/binary, Rest/binary>> -> same(Log, [{data, Finish, Rest} | Expected]);
        _ ->
            Left = byte_size(Bytes),
            case Data of
                <<Bytes:Left/binary, More/binary>> -> same([{data, Finish, More} | Log], Expected);
                _ -> false
            end
    end;
same([Event | Log], [Event | Expected]) -> same(Log, Expected);
same(_, _) -> false.
