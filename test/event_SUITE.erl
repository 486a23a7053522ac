%% What the operator is told: the handler's calls and the log.
-module(event_SUITE).

-export([all/0, suite/0, init_per_suite/1, end_per_suite/1, init_per_testcase/2, end_per_testcase/2]).
-export([limit_at_accept/1, limit_at_connect_and_listen/1, limit_without_the_application/1, refused_accept/0, overlay_refused/1, reports_of_the_library/1, the_log_is_limited/1, a_bad_handler/1]).
-export([top_shows_the_sockets/1]).
-export([log/2, handle/3]).

-define(INET, #{backend => rs, family => inet}).
-define(LIMIT, [gen_tcp_rs, limit, reached]).

suite() ->
    [{timetrap, {minutes, 1}}].

all() ->
    [limit_at_accept, limit_at_connect_and_listen, limit_without_the_application, overlay_refused, reports_of_the_library, the_log_is_limited, a_bad_handler, top_shows_the_sockets].

init_per_suite(Config) ->
    ok = rs_test:start(rs),
    Config.

end_per_suite(_Config) ->
    ok.

init_per_testcase(_Case, Config) ->
    %% As if nothing had been logged before.
    Limits = persistent_term:get({gen_tcp_rs_event, limits}),
    [ok = atomics:put(Limits, Place, 0) || Place <- lists:seq(1, maps:get(size, atomics:info(Limits)))],
    true = register(event_test, self()),
    ok = logger:add_handler(event_test, ?MODULE, #{config => self()}),
    ok = application:set_env(gen_tcp_rs, event_handler, fun ?MODULE:handle/3),
    Config.

end_per_testcase(_Case, _Config) ->
    ok = logger:remove_handler(event_test),
    ok = application:unset_env(gen_tcp_rs, event_handler).

log(#{meta := #{event := Event}, level := Level, msg := Message}, #{config := Pid}) ->
    Pid ! {logged, Event, Level, lists:flatten(format(Message))};
log(_Other, _Config) ->
    ok.

format({Format, Arguments}) -> io_lib:format(Format, Arguments).

handle(Name, Measurements, Metadata) -> event_test ! {handled, Name, Measurements, Metadata}.

%% Runs the function while no new descriptor is to be had; those that are open stay.
without_descriptors(Function) ->
    {Soft, Hard} = descriptor_limit(),
    ok = limit_descriptors(3, Hard),
    try Function()
    after ok = limit_descriptors(Soft, Hard)
    end.

descriptor_limit() ->
    {match, [Soft, Hard]} = re:run(os:cmd("prlimit --raw --noheadings --nofile -p " ++ os:getpid() ++ " -o SOFT,HARD"), "(\\d+)\\s+(\\d+)",
                                   [{capture, all_but_first, list}]),
    {list_to_integer(Soft), list_to_integer(Hard)}.

%% Set by a child that is there already: none can be made where no descriptor is left.
limit_descriptors(Soft, Hard) ->
    Command = io_lib:format("prlimit --nofile=~w:~w -p ~s", [Soft, Hard, os:getpid()]),
    case get(shell) of
        undefined ->
            put(shell, open_port({spawn, "/bin/sh"}, [binary, stream])),
            limit_descriptors(Soft, Hard);
        Shell ->
            true = port_command(Shell, [Command, " && echo done\n"]),
            receive {Shell, {data, <<"done\n">>}} -> ok after 15000 -> error(not_limited) end
    end.

%% A connection that cannot be accepted for want of a descriptor is told, stays in the backlog, and is accepted later.
limit_at_accept(_Config) ->
    Listen = rs_test:listen(?INET, []),
    {Address, Port} = rs_test:address_of(Listen),
    {ok, Client} = gen_tcp:connect(Address, Port, [{inet_backend, inet}, {active, false}]),
    {error, emfile} = without_descriptors(fun() -> gen_tcp:accept(Listen) end),
    receive {handled, ?LIMIT, #{count := 1}, #{call := accept, reason := emfile}} -> ok after 0 -> error(not_told) end,
    receive {logged, ?LIMIT, warning, "gen_tcp_rs: accept found the system's limit: emfile"} -> ok after 0 -> error(not_logged) end,
    {ok, Server} = gen_tcp:accept(Listen),
    ok = gen_tcp:send(Server, "hello"),
    {ok, "hello"} = gen_tcp:recv(Client, 5).

%% So are connect and listen; other errors are no event.
limit_at_connect_and_listen(_Config) ->
    Port = rs_test:unused_port(?INET),
    {error, econnrefused} = gen_tcp:connect("127.0.0.1", Port, [{inet_backend, rs}]),
    {{error, emfile}, {error, emfile}} =
        without_descriptors(fun() -> {gen_tcp:connect({127, 0, 0, 1}, Port, [{inet_backend, rs}]), gen_tcp:listen(0, [{inet_backend, rs}])} end),
    [connect, listen] = [receive {handled, ?LIMIT, _, #{call := Call, reason := emfile}} -> Call after 0 -> none end || _ <- [1, 2]],
    receive {handled, _, _, _} = More -> error(More) after 0 -> ok end.

%% Where the application has not started nothing is told, and the caller gets the error, although the module of events can't be
%% loaded without a descriptor.
limit_without_the_application(_Config) ->
    Peer = rs_peer:start(),
    try {false, {error, emfile}} = rs_peer:call(Peer, fun ?MODULE:refused_accept/0)
    after rs_peer:stop(Peer)
    end.

refused_accept() ->
    {ok, Listen} = gen_tcp_rs:listen(0, []),
    {ok, {_, Port}} = gen_tcp_rs:sockname(Listen),
    {ok, _Client} = gen_tcp:connect({127, 0, 0, 1}, Port, []),
    {code:is_loaded(gen_tcp_rs_event), without_descriptors(fun() -> gen_tcp_rs:accept(Listen, 5000) end)}.

%% An overlay that is refused is told with its reason and its sentence.
overlay_refused(_Config) ->
    Refusal = {no_compiler, "Sentence."},
    Event = [gen_tcp_rs, overlay, refused],
    ok = gen_tcp_rs_event:emit(Event, #{count => 1}, #{reason => element(1, Refusal), sentence => element(2, Refusal)}),
    receive {handled, Event, #{count := 1}, #{reason := no_compiler, sentence := "Sentence."}} -> ok after 0 -> error(not_told) end,
    receive {logged, Event, error, "Sentence."} -> ok after 0 -> error(not_logged) end.

%% What the library's threads report comes to the handler and the log.
reports_of_the_library(_Config) ->
    gen_tcp_rs_event ! {gen_tcp_rs, poller_error, enomem},
    gen_tcp_rs_event ! {gen_tcp_rs, panic, eio},
    receive {handled, [gen_tcp_rs, poller, error], #{count := 1}, #{reason := enomem}} -> ok after 15000 -> error(not_told) end,
    receive {handled, [gen_tcp_rs, socket, panic], #{count := 1}, _} -> ok after 15000 -> error(not_told) end,
    receive {logged, [gen_tcp_rs, poller, error], error, "gen_tcp_rs: a poller cannot wait for events: enomem"} -> ok after 15000 -> error(not_logged) end,
    receive {logged, [gen_tcp_rs, socket, panic], error, _} -> ok after 15000 -> error(not_logged) end.

%% A thousand at once, from several processes, are a thousand calls of the handler and one line in the log.
the_log_is_limited(_Config) ->
    Emit = fun() -> [ok = gen_tcp_rs_event:opening_failed(accept, emfile) || _ <- lists:seq(1, 250)] end,
    Pids = [spawn_monitor(Emit) || _ <- [1, 2, 3, 4]],
    [receive {'DOWN', Monitor, process, Pid, normal} -> ok end || {Pid, Monitor} <- Pids],
    {messages, Messages} = process_info(self(), messages),
    1000 = length([1 || {handled, ?LIMIT, _, _} <- Messages]),
    [_] = [Text || {logged, ?LIMIT, warning, Text} <- Messages],
    ok.

%% A handler that fails, or is none, harms nobody but is logged.
a_bad_handler(_Config) ->
    [begin
         ok = application:set_env(gen_tcp_rs, event_handler, Bad),
         ok = gen_tcp_rs_event:opening_failed(accept, emfile)
     end || Bad <- [fun(_, _, _) -> error(oops) end, fun(_, _, _) -> throw(oops) end, {no_such, module}, 17]],
    ok = application:set_env(gen_tcp_rs, event_handler, {?MODULE, handle}),
    ok = gen_tcp_rs_event:opening_failed(accept, emfile),
    receive {handled, ?LIMIT, _, _} -> ok after 0 -> error(not_told) end.

%% The live view draws the sockets, sorts by what is typed, and ends at q.
top_shows_the_sockets(_Config) ->
    {Client, _Server} = rs_test:pair(?INET, [], []),
    {ok, {_, Port}} = inet:sockname(Client),
    Test = self(),
    Terminal = spawn_link(fun() -> terminal(Test, ["u\n"]) end),
    {Top, Monitor} = spawn_monitor(fun() -> true = group_leader(Terminal, self()), ok = gen_tcp_rs_top:start() end),
    ok = screen_with("127.0.0.1:" ++ integer_to_list(Port)),
    ok = screen_with("Queued*"),
    Terminal ! {type, "q\n"},
    receive {'DOWN', Monitor, process, Top, Reason} -> normal = Reason after 15000 -> error(still_there) end.

screen_with(Text) ->
    receive
        {screen, Screen} ->
            case string:find(Screen, Text) of
                nomatch -> screen_with(Text);
                _ -> ok
            end
    after 15000 -> error({not_shown, Text})
    end.

%% An io server that hands on what is printed, and types lines.
terminal(Test, Lines) ->
    receive
        {type, Line} ->
            terminal(Test, Lines ++ [Line]);
        {io_request, From, Ref, {put_chars, unicode, Screen}} ->
            Test ! {screen, unicode:characters_to_list(Screen)},
            From ! {io_reply, Ref, ok},
            terminal(Test, Lines);
        {io_request, From, Ref, {get_geometry, _}} ->
            From ! {io_reply, Ref, 200},
            terminal(Test, Lines);
        {io_request, From, Ref, _GetLine} when Lines =/= [] ->
            From ! {io_reply, Ref, hd(Lines)},
            terminal(Test, tl(Lines))
    end.
