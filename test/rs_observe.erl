%% Runs one small script and tells all that its process saw: what the script returned or raised, and every
%% message in order, in terms that can be compared between backends.
-module(rs_observe).

-export([observe/2, normalise/1]).

%% Runs the script in a fresh process; its result and its messages in order, with stable names.
-spec observe(fun((rs_test:context()) -> term()), rs_test:context()) -> term().
observe(Script, Context) ->
    Parent = self(),
    Reference = make_ref(),
    {Pid, Monitor} =
        spawn_monitor(
          fun() ->
                  Result = rs_test:attempt(fun() -> Script(Context) end),
                  ok = rs_test:barrier(Context),
                  _ = rs_test:mailbox(),
                  Parent ! {Reference, normalise({Result, lists:reverse(rs_test:log())})},
                  rs_test:kill_all()
          end),
    receive
        {Reference, Observation} ->
            receive {'DOWN', Monitor, process, Pid, _} -> Observation end;
        {'DOWN', Monitor, process, Pid, Reason} ->
            {died, Reason}
    after 60000 ->
            Where = process_info(Pid, [current_stacktrace, messages]),
            exit(Pid, kill),
            receive {'DOWN', Monitor, process, Pid, _} -> {hung, Where} end
    end.

%% Sockets, pids, references and port numbers by order of their first appearance.
-spec normalise(term()) -> term().
normalise(Term) ->
    {Normal, _} = normalise(Term, #{}),
    Normal.

normalise({'$inet', _, _} = Socket, Names) -> named(socket, Socket, Names);
normalise(Socket, Names) when is_port(Socket) -> named(socket, Socket, Names);
normalise(Pid, Names) when is_pid(Pid) -> named(pid, Pid, Names);
normalise(Reference, Names) when is_reference(Reference) -> named(reference, Reference, Names);
normalise({Address, Port}, Names) when is_tuple(Address), tuple_size(Address) >= 4, is_integer(Port), Port > 0 ->
    {Name, Names1} = named(port, Port, Names),
    {{Address, Name}, Names1};
normalise(Tuple, Names) when is_tuple(Tuple) ->
    {List, Names1} = normalise_list(tuple_to_list(Tuple), Names),
    {list_to_tuple(List), Names1};
normalise(List, Names) when is_list(List) ->
    normalise_list(List, Names);
normalise(Map, Names) when is_map(Map) ->
    {List, Names1} = normalise_list(lists:sort(maps:to_list(Map)), Names),
    {maps:from_list(List), Names1};
normalise(Other, Names) ->
    {Other, Names}.

%% Improper lists are data here: `{header, N}` makes them.
normalise_list([Head | Tail], Names) ->
    {Head1, Names1} = normalise(Head, Names),
    {Tail1, Names2} = normalise_list(Tail, Names1),
    {[Head1 | Tail1], Names2};
normalise_list(Tail, Names) ->
    {Tail, Names}.

named(Kind, Value, Names) ->
    case Names of
        #{{Kind, Value} := Name} ->
            {Name, Names};
        #{} ->
            Count = maps:get({count, Kind}, Names, 0) + 1,
            Name = {Kind, Count},
            {Name, Names#{{Kind, Value} => Name, {count, Kind} => Count}}
    end.
