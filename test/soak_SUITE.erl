%% Mixed traffic on twenty thousand connections between four nodes, both ends on the backend: every byte is
%% checked by a running hash, connections come and go meanwhile, and afterwards everything is given back.
%%
%% Environment: RS_SOAK_SECONDS, how long (8); RS_SOAK_CONNECTIONS, how many (20000); RS_SOAK_BACKEND (rs).
-module(soak_SUITE).

-export([suite/0, all/0]).
-export([traffic/1]).

-define(NODES, 4).
%% Callers of each node that connect, exchange once and close, over and over.
-define(GUESTS, 20).
-define(ROUNDS, 10).
-define(MEGABYTE, 1048576).
%% For a node where ten thousand processes want to run before the one that was asked for.
-define(DEADLINE, 300000).

suite() ->
    [{timetrap, {seconds, 600 + 2 * seconds()}}].

all() ->
    [traffic].

seconds() ->
    list_to_integer(os:getenv("RS_SOAK_SECONDS", "8")).

%% Everything that is sent comes back; descriptors, processes, monitors, threads and memory return to where
%% they were, and ten more rounds of connections do not make the memory grow.
traffic(_Config) ->
    Connections = list_to_integer(os:getenv("RS_SOAK_CONNECTIONS", "20000")),
    Nodes = [rs_peer:start() || _ <- lists:seq(1, ?NODES)],
    try
        Limit = lists:min([rs_peer:limit(Node) || Node <- Nodes]),
        case Connections div ?NODES * 2 + 200 of
            Needed when Needed > Limit ->
                {skip, io_lib:format("~w descriptors a process are too few for ~w", [Limit, Needed])};
            _ ->
                soak(list_to_atom(os:getenv("RS_SOAK_BACKEND", "rs")), Connections div ?NODES, Nodes)
        end
    after
        lists:foreach(fun rs_peer:stop/1, Nodes)
    end.

soak(Backend, Each, Nodes) ->
    Addresses = everywhere(Nodes, fun() -> soak_node:start(Backend) end),
    %% Each node calls the next one.
    Calling = lists:zip(Nodes, tl(Addresses) ++ [hd(Addresses)]),
    Quiet = everywhere(Nodes, fun() -> soak_node:measure() end),
    %% What the code and the allocators of the VM need for that many processes stays.
    {_, _, Warm} = round(Backend, Calling, Each, 0, Quiet),
    Start = rounds(Backend, Calling, max(1, Each div 10), Warm),
    {Open, Talk, After} = round(Backend, Calling, Each, seconds(), Warm),
    End = rounds_until(fun(Rounds) -> returned(Start, Rounds) end, Backend, Calling, max(1, Each div 10), After, 4),
    Comment = report(Each, Talk, Open, Warm, After, Start, End),
    io:format(user, "~s: ~s~n", [Backend, Comment]),
    io:format("~s~nquiet ~p~nwarm ~p~nstart ~p~nopen ~p~nafter ~p~nend ~p~n",
              [Comment, Quiet, Warm, Start, Open, After, End]),
    lists:foreach(fun same_counts/1, lists:zip(Warm, After)),
    lists:foreach(fun same_memory/1, lists:zip(Start, End)),
    {malloc, true, _, _} = {malloc, malloc(End) - malloc(Start) < 2 * ?MEGABYTE, Start, End},
    lists:foreach(fun flat/1, End),
    {comment, Comment}.

%% Opens, talks for so long, closes: what was measured while all were open, what was said, and what is left.
round(Backend, Calling, Each, Seconds, Quiet) ->
    Nodes = [Node || {Node, _} <- Calling],
    Open = fun({Node, Addresses}) ->
                   rs_peer:call(Node, fun() -> soak_node:open(Backend, Addresses, Each, ?GUESTS) end, ?DEADLINE)
           end,
    Crowds = parallel(Calling, Open),
    Talking = lists:zip(Nodes, Crowds),
    ok = lists:foreach(fun({Node, Crowd}) -> rs_peer:call(Node, fun() -> soak_node:talk(Crowd) end, ?DEADLINE) end, Talking),
    %% This is the test's time, not a wait for something.
    receive after Seconds * 1000 -> ok end,
    Opened = everywhere(Nodes, fun() -> soak_node:measure() end),
    Talk = parallel(Talking, fun({Node, Crowd}) ->
                                     rs_peer:call(Node, fun() -> soak_node:finish(Crowd) end, ?DEADLINE)
                             end),
    [[] = maps:get(failed, Said) || Said <- Talk],
    After = parallel(lists:zip(Nodes, Quiet),
                     fun({Node, Was}) -> rs_peer:call(Node, fun() -> soak_node:settled(Was) end, ?DEADLINE) end),
    [0 = Failures || Failures <- everywhere(Nodes, fun() -> soak_node:failures() end)],
    {Opened, Talk, After}.

everywhere(Nodes, Function) ->
    parallel(Nodes, fun(Node) -> rs_peer:call(Node, Function, ?DEADLINE) end).

parallel(Items, Function) ->
    Asyncs = [rs_test:async(fun() -> Function(Item) end) || Item <- Items],
    [parallel_result(Async) || Async <- Asyncs].

%% Waits as long as the function's own deadlines let it.
parallel_result(Async) ->
    case rs_test:await(Async) of
        still_waiting -> parallel_result(Async);
        {{raised, _, Reason}, _} -> error(Reason);
        {Result, _} -> Result
    end.

%%% ---- the gates ----

same_counts({Before, After}) ->
    [{Key, Same, Same} = {Key, maps:get(Key, Before), maps:get(Key, After)}
     || Key <- [fds, sockets, processes, threads, ports, monitors]],
    {memory, true} = {memory, maps:get(memory, After) - maps:get(memory, Before) < 4 * ?MEGABYTE}.

%% Of each node what ten rounds of connections leave, one by one. The allocators of the VM give back the
%% fragments of a great round only then, whichever the backend.
rounds(Backend, Calling, Each, Before) ->
    Rounds = [Closed || _ <- lists:seq(1, ?ROUNDS), {_, _, Closed} <- [round(Backend, Calling, Each, 0, Before)]],
    [[lists:nth(Index, Round) || Round <- Rounds] || Index <- lists:seq(1, ?NODES)].

%% Ten rounds, and ten more while fragments are still being given back; what is lost never comes back.
rounds_until(Enough, Backend, Calling, Each, Before, Tries) ->
    Rounds = rounds(Backend, Calling, Each, Before),
    case Tries =:= 1 orelse Enough(Rounds) of
        true -> Rounds;
        false -> rounds_until(Enough, Backend, Calling, Each, Before, Tries - 1)
    end.

returned(Start, Rounds) ->
    [] =:= [Key || Pair <- lists:zip(Start, Rounds), {Key, _, false} <- more(Pair)]
        andalso [] =:= [Key || Node <- Rounds, {Key, _, false} <- slopes(Node)].

%% The VM counts what it has given to anybody, and malloc is where the library itself has its memory: a leak is in one of the two.
%% What is resident beyond are fragments, more of them the longer the traffic was.
%% Of a node: the memory after the rounds that came before the traffic and those that came after it.
same_memory(Pair) ->
    [{Key, More, true} = Gate || {Key, More, _} = Gate <- more(Pair)].

%% Fragments of malloc keep some megabytes of one node or the other resident; what is lost is lost on all.
malloc(Nodes) ->
    lists:min([last(malloc, Rounds) || Rounds <- Nodes]).

more({Before, After}) ->
    [{Key, More, More < Most}
     || {Key, Most} <- [{memory, ?MEGABYTE}, {rss, 32 * ?MEGABYTE}, {data, 32 * ?MEGABYTE}],
        More <- [last(Key, After) - last(Key, Before)]].

%% A kilobyte lost with each of a thousand sockets would add a megabyte in each of ten rounds. The VM takes
%% and gives back some megabytes at a time.
flat(Rounds) ->
    [{Key, Slope, true} = Gate || {Key, Slope, _} = Gate <- slopes(Rounds)],
    [{fds, [_]} = {fds, lists:usort([maps:get(fds, Round) || Round <- Rounds])}].

slopes(Rounds) ->
    [{Key, Slope, Slope < Most}
     || {Key, Most} <- [{memory, 2 * ?MEGABYTE}, {malloc, ?MEGABYTE}, {rss, 4 * ?MEGABYTE}, {data, 4 * ?MEGABYTE}],
        Slope <- [slope(Key, Rounds)]].

%% The least of five rounds: fragments make steps up that the next round takes back.
least(Key, Rounds) ->
    lists:min([maps:get(Key, Round) || Round <- Rounds]).

last(Key, Rounds) ->
    least(Key, lists:nthtail(?ROUNDS div 2, Rounds)).

slope(Key, Rounds) ->
    last(Key, Rounds) - least(Key, lists:sublist(Rounds, ?ROUNDS div 2)).

report(Each, Talk, Open, Warm, After, Start, End) ->
    Sum = fun(Key) -> lists:sum([maps:get(Key, Said) || Said <- Talk]) end,
    Left = fun(Key) -> lists:max([last(Key, Now) - last(Key, Was) || {Was, Now} <- lists:zip(Start, End)]) div 1024 end,
    Slope = fun(Key) -> lists:max([slope(Key, Rounds) || Rounds <- End]) div 1024 end,
    Atop = lists:max([maps:get(memory, Now) - maps:get(memory, Was) || {Was, Now} <- lists:zip(Warm, After)]) div 1024,
    io_lib:format("~w connections, ~w s: ~w exchanges, ~w MB and back, no byte wrong; most sockets of a node ~w; "
                  "BEAM memory right after ~w kB more; after rounds of ~w BEAM ~w, malloc ~w, RSS ~w, VmData ~w kB "
                  "more, slopes ~w, ~w, ~w, ~w kB",
                  [Each * ?NODES, seconds(), Sum(exchanges), Sum(bytes) div ?MEGABYTE,
                   lists:max([maps:get(sockets, Now) || Now <- Open]), Atop, max(1, Each div 10) * ?NODES,
                   Left(memory), (malloc(End) - malloc(Start)) div 1024, Left(rss), Left(data),
                   Slope(memory), Slope(malloc), Slope(rss), Slope(data)]).
