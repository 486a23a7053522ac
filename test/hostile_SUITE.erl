%% Peers that mean harm, or are broken: they never read, send a byte a millisecond, announce frames of 2 GB, hold an HTTP server
%% with slow requests. On a node of its own, on `inet` and on `rs`: its memory stays bounded, everybody else on it is served
%% as before, and when the peers have gone nothing of them is left.
%%
%% RS_NETWORK_TIMES says how many times as long slowhttptest attacks as usual (1).
-module(hostile_SUITE).

-export([all/0, groups/0, suite/0, init_per_suite/1, end_per_suite/1, init_per_group/2, end_per_group/2]).
-export([never_reads/1, byte_a_millisecond/1, announces_two_gigabytes/1, announces_more_than_is_taken/1, slow_http/1]).

-define(DEADLINE, 30000).
-define(MIB, (1024 * 1024)).

suite() ->
    [{timetrap, {minutes, 5}}].

all() ->
    [{group, inet}, {group, rs}].

groups() ->
    Cases = [never_reads, byte_a_millisecond, announces_two_gigabytes, announces_more_than_is_taken, slow_http],
    [{Backend, [], Cases} || Backend <- [inet, rs]].

init_per_suite(Config) -> Config.
end_per_suite(_Config) -> ok.

%% The node under attack.
init_per_group(Backend, Config) ->
    Paths = [filename:dirname(code:which(Module)) || Module <- [gen_tcp_rs, ?MODULE]],
    {ok, Node, _} = peer:start(#{connection => standard_io, wait_boot => 60000,
                                 args => ["-kernel", "inet_backend", atom_to_list(Backend), "-kernel", "logger_level", "critical", "-pa" | Paths],
                                 env => [{"HOME", proplists:get_value(priv_dir, Config)}]}),
    ok = rs_peer:call(Node, fun() -> rs_test:start(Backend) end),
    [{ok, _} = rs_peer:call(Node, fun() -> application:ensure_all_started(Application) end) || Application <- [crypto, inets]],
    Attacked = [{context, #{backend => Backend, family => inet}}, {node, Node} | Config],
    %% What is loaded and started with the first use stays.
    ok = rs_peer:call(Node, fun() ->
        {Socket, Peer} = rs_test:pair(#{backend => Backend, family => inet}, [], []),
        lists:foreach(fun(End) -> ok = gen_tcp:close(End) end, [Socket, Peer])
    end),
    _ = attack(Attacked, [{packet, 4}], receive_frames(false), fun(#{measure := Measure}) -> Measure() end),
    Attacked.

end_per_group(_Backend, Config) ->
    peer:stop(proplists:get_value(node, Config)).

call(Config, Function) ->
    rs_peer:call(proplists:get_value(node, Config), Function).

%%% ---- cases ----

%% Fifty peers that never read hold no more of a sender's data than its watermark and the one send that waits.
never_reads(Config) ->
    {Grown, _} = attack(Config, [], fun send_until_error/1, fun(#{port := Port, measure := Measure, handlers := Handlers}) ->
        Peer = peer_tool:connect("never-read", Port, ["-n", "50", "-r", "4096"]),
        ok = rs_test:poll(fun() -> length(Handlers()) =:= 50 end, ?DEADLINE),
        ok = rs_test:poll(fun() -> call(Config, fun() -> lists:all(fun waits/1, handler_sockets()) end) end, ?DEADLINE),
        Grown = Measure(),
        _ = peer_tool:stop(Peer),
        [{error, closed}] = lists:usort(results(Config, 50)),
        Grown
    end),
    %% What is resident includes what the allocators of the release keep ready: most with the driver.
    bounded(Grown, 16, 32).

%% Frames of every kind, in bytes one after the other, are what they are in one piece; no one is slower for it.
byte_a_millisecond(Config) ->
    File = filename:join(proplists:get_value(priv_dir, Config), "trickle"),
    Frames = [iolist_to_binary(lists:duplicate(Length, $x)) || Length <- [1, 0, 30, 2, 200]],
    [begin
         ok = file:write_file(File, [[Head(byte_size(Frame)), Frame, Tail] || Frame <- Frames]),
         Expected = {crypto:hash(sha256, term_to_binary([<<Frame/binary, Tail/binary>> || Frame <- Frames])), {error, closed}},
         {Grown, _} = attack(Config, [{packet, Packet}], receive_frames(false), fun(#{port := Port, measure := Measure, handlers := Handlers}) ->
             Start = erlang:monotonic_time(millisecond),
             Peer = peer_tool:connect("trickle", Port, ["-n", "20", "-f", File]),
             ok = rs_test:poll(fun() -> length(Handlers()) =:= 20 end, ?DEADLINE),
             Grown = Measure(),
             [Expected] = lists:usort(results(Config, 20)),
             true = erlang:monotonic_time(millisecond) - Start >= 200,
             _ = peer_tool:stop(Peer),
             Grown
         end),
         bounded(Grown, 4, 8)
     end || {Packet, Head, Tail} <- [{4, fun(Length) -> <<Length:32>> end, <<>>}, {2, fun(Length) -> <<Length:16>> end, <<>>},
                                     {line, fun(_) -> <<>> end, <<"\n">>}]],
    ok.

%% A header that announces 2 GB takes what has come after it, and no more. (The driver reserves what was announced.)
announces_two_gigabytes(Config) ->
    Count = case backend(Config) of inet -> 2; rs -> 40 end,
    Told = [begin
                {Grown, _} = attack(Config, [{packet, Packet}], receive_frames(Active), fun(#{port := Port, measure := Measure, handlers := Handlers}) ->
                    Peers = announce(Port, [Header, <<0:1000/unit:8>>], Count),
                    ok = rs_test:poll(fun() -> length(Handlers()) =:= Count end, ?DEADLINE),
                    ok = arrived(Config),
                    Grown = Measure(),
                    [ok = gen_tcp:close(Peer) || Peer <- Peers],
                    Results = lists:usort([Result || {_, Result} <- results(Config, Count)]),
                    ct:log("~p ~p: ~p ~p", [Packet, Active, Results, Grown]),
                    _ = [[{error, closed}] = Results || backend(Config) =:= rs],
                    Grown
                end),
                _ = [bounded(Grown, 4, 8) || backend(Config) =:= rs],
                {Packet, maps:get(memory, Grown) div Count}
            end || {Packet, Header} <- [{4, <<16#7FFFFFF0:32>>}, {sunrm, <<16#FFFFFFF0:32>>}, {asn1, <<16#30, 16#84, 16#7FFFFF00:32>>},
                                        {cdr, <<"GIOP", 1, 0, 0, 0, 16#7FFFFF00:32>>}],
                   Active <- [false, once]],
    {comment, lists:flatten(io_lib:format("bytes of the VM's memory for each connection: ~0p", [Told]))}.

%% With `packet_size` a header that announces more is an error at once.
announces_more_than_is_taken(Config) ->
    {Grown, _} = attack(Config, [{packet, 4}, {packet_size, 65536}], receive_frames(false), fun(#{port := Port, measure := Measure}) ->
        Peers = announce(Port, <<16#7FFFFFFF:32>>, 40),
        [{error, emsgsize}] = lists:usort([Result || {_, Result} <- results(Config, 40)]),
        Grown = Measure(),
        [ok = gen_tcp:close(Peer) || Peer <- Peers],
        Grown
    end),
    bounded(Grown, 4, 8).

announce(Port, Data, Count) ->
    [begin
         {ok, Peer} = gen_tcp:connect({127, 0, 0, 1}, Port, [{inet_backend, inet}, binary, {active, false}], ?DEADLINE),
         ok = gen_tcp:send(Peer, Data),
         Peer
     end || _ <- lists:seq(1, Count)].

%% slowhttptest: headers, bodies and ranges that never end, and answers that are hardly read, all at once against inets' httpd.
slow_http(Config) ->
    case os:find_executable("slowhttptest") of
        false -> {skip, "slowhttptest is not installed"};
        Program -> slow_http(Config, Program)
    end.

slow_http(Config, Program) ->
    Root = filename:join(proplists:get_value(priv_dir, Config), "slow_http_" ++ atom_to_list(backend(Config))),
    {Server, Port} = call(Config, fun() -> applications_http:start(Root) end),
    Quiet = call(Config, fun() -> {rs_test:socket_fds(), erlang:system_info(process_count)} end),
    Before = call(Config, fun measure/0),
    Url = fun(Path) -> lists:flatten(io_lib:format("http://127.0.0.1:~w/~s", [Port, Path])) end,
    Seconds = integer_to_list(4 * times()),
    Common = ["-c", "60", "-r", "100", "-l", Seconds, "-i", "1", "-p", "5"],
    Attacks = [spawn_monitor(fun() -> exit({ended, run(Program, Arguments ++ Common)}) end)
               || Arguments <- [["-H", "-u", Url("small.txt")], ["-B", "-s", "100000", "-u", Url("call/applications_http:digest")],
                                ["-R", "-u", Url("small.txt"), "-a", "1", "-b", "300"],
                                ["-X", "-u", Url("large.bin"), "-w", "1", "-y", "512", "-z", "32", "-n", "1"]]],
    {Most, Requests, Slowest} = while_attacked(Config, Port, Attacks, Before, {0, 0}, 0, 0),
    true = Requests > 0,
    ok = call(Config, fun() -> applications_http:settled(Port) end),
    After = call(Config, fun() -> settled(Quiet) end),
    ok = same_counts(Before, After),
    ok = call(Config, fun() -> applications_http:stop(Server) end),
    {Connections, Grown} = Most,
    %% They were there at once.
    true = Connections >= 120,
    %% An answer of 20 MB that is hardly read is a file's 60 parts.
    true = Grown < 64 * ?MIB,
    true = Slowest < 2000,
    {comment, lists:flatten(io_lib:format("~w connections held, ~w KiB more resident; ~w requests beside them, the slowest ~w ms",
                                          [Connections, Grown div 1024, Requests, Slowest]))}.

%% Others are served: small files, one connection each, until every attack has ended.
while_attacked(_Config, _Port, [], _Before, Most, Requests, Slowest) ->
    {Most, Requests, Slowest};
while_attacked(Config, Port, Attacks, Before, {Connections, Grown}, Requests, Slowest) ->
    Start = erlang:monotonic_time(millisecond),
    {ok, Socket} = gen_tcp:connect({127, 0, 0, 1}, Port, [{inet_backend, inet}, binary, {active, false}], ?DEADLINE),
    ok = gen_tcp:send(Socket, "GET /small.txt HTTP/1.0\r\n\r\n"),
    {Answer, closed} = rs_test:read_all(Socket),
    [<<"HTTP/1.", _, " 200 OK", _/binary>>, <<"a small file\n">>] = binary:split(Answer, <<"\r\n\r\n">>),
    ok = gen_tcp:close(Socket),
    Time = erlang:monotonic_time(millisecond) - Start,
    Now = call(Config, fun() -> {rs_test:socket_fds(), resident()} end),
    Most = {max(Connections, element(1, Now)), max(Grown, element(2, Now) - maps:get(rss, Before))},
    Left = receive
               {'DOWN', _, process, Pid, Reason} ->
                   {ended, 0} = Reason,
                   lists:keydelete(Pid, 1, Attacks)
           after 10 ->
               Attacks
           end,
    while_attacked(Config, Port, Left, Before, Most, Requests + 1, max(Slowest, Time)).

run(Program, Arguments) ->
    Port = open_port({spawn_executable, Program}, [{args, Arguments}, binary, exit_status, stderr_to_stdout, in]),
    status(Port).

status(Port) ->
    receive
        {Port, {data, _}} -> status(Port);
        {Port, {exit_status, Status}} -> Status
    end.

times() ->
    case os:getenv("RS_NETWORK_TIMES") of
        false -> 1;
        Times -> list_to_integer(Times)
    end.

%%% ---- an attack on a server of the node ----

backend(Config) -> maps:get(backend, rs_test:context(Config)).

%% A server with these options, with a process for each connection that runs Handle, is attacked; beside it another one
%% echoes. When it is over, nothing is left.
attack(Config, Options, Handle, Attack) ->
    Context = rs_test:context(Config),
    Quiet = call(Config, fun() -> {rs_test:socket_fds(), erlang:system_info(process_count)} end),
    Before = call(Config, fun measure/0),
    {Server, Port} = call(Config, fun() -> serve(Context, Options, Handle) end),
    {Others, OtherPort} = call(Config, fun() -> serve(Context, [{packet, 4}], fun echo/1) end),
    Measure = fun() ->
                      Slowest = talk(OtherPort),
                      Now = call(Config, fun measure/0),
                      #{slowest => Slowest, memory => maps:get(memory, Now) - maps:get(memory, Before), rss => maps:get(rss, Now) - maps:get(rss, Before),
                        virtual => maps:get(virtual, Now) - maps:get(virtual, Before)}
              end,
    Result = Attack(#{port => Port, measure => Measure, handlers => fun() -> call(Config, fun handler_sockets/0) end}),
    [ok = call(Config, fun() -> stop(One) end) || One <- [Server, Others]],
    After = call(Config, fun() -> settled(Quiet) end),
    ok = same_counts(Before, After),
    {Result, After}.

%% In MiB: what the VM counts, and what is resident. Whoever else talked to the node was answered in time.
bounded(#{memory := Memory, rss := Resident, virtual := Virtual, slowest := Slowest} = Grown, Most, MostResident) ->
    {true, _} = {Memory < Most * ?MIB, Grown},
    {true, _} = {Resident < MostResident * ?MIB, Grown},
    {true, _} = {Virtual < 256 * ?MIB, Grown},
    {true, _} = {Slowest < 1000000, Grown},
    {comment, lists:flatten(io_lib:format("~w KiB more in the VM, ~w KiB resident; the slowest of 1000 round trips beside it ~w us",
                                          [Memory div 1024, Resident div 1024, Slowest]))}.

%% A thousand round trips of every length, each byte compared; the slowest in microseconds.
talk(Port) ->
    {ok, Socket} = gen_tcp:connect({127, 0, 0, 1}, Port, [{inet_backend, inet}, binary, {active, false}, {packet, 4}], ?DEADLINE),
    Slowest = lists:max([begin
                             Data = crypto:strong_rand_bytes(Length),
                             {Time, {ok, Data}} = timer:tc(fun() -> ok = gen_tcp:send(Socket, Data), gen_tcp:recv(Socket, 0, ?DEADLINE) end),
                             Time
                         end || Length <- lists:seq(1, 10000, 10)]),
    ok = gen_tcp:close(Socket),
    Slowest.

%%% ---- on the node ----

%% A process that accepts, and one for each connection, which is found by its socket in its dictionary.
serve(Context, Options, Handle) ->
    Parent = self(),
    Acceptor = spawn(fun() ->
                             Listen = rs_test:listen(Context, Options),
                             Parent ! {self(), element(2, rs_test:address_of(Listen)), Listen},
                             accept(Listen, Handle)
                     end),
    receive {Acceptor, Port, Listen} -> {Listen, Port} after ?DEADLINE -> error(deadline) end.

accept(Listen, Handle) ->
    case gen_tcp:accept(Listen) of
        {ok, Socket} ->
            Handler = spawn(fun() ->
                                    receive owner -> ok end,
                                    put(hostile, Socket),
                                    Result = Handle(Socket),
                                    %% Until it is asked for.
                                    _ = Result =/= echoed andalso receive {result, From} -> From ! {result, self(), Result} end,
                                    gen_tcp:close(Socket)
                            end),
            ok = gen_tcp:controlling_process(Socket, Handler),
            Handler ! owner,
            accept(Listen, Handle);
        {error, closed} ->
            ok
    end.

stop(Listen) -> gen_tcp:close(Listen).

handlers() ->
    [{Process, Socket} || Process <- processes(), {dictionary, Dictionary} <- [process_info(Process, dictionary)],
                          {hostile, Socket} <- Dictionary].

handler_sockets() -> [Socket || {_, Socket} <- handlers()].

%% What the handlers returned, all of them.
results(Config, Count) ->
    call(Config, fun() ->
        ok = rs_test:poll(fun() -> length(handlers()) =:= Count end, ?DEADLINE),
        Handlers = [Process || {Process, _} <- handlers()],
        [Process ! {result, self()} || Process <- Handlers],
        [receive {result, Process, Result} -> Result after ?DEADLINE -> error({no_result, process_info(Process)}) end || Process <- Handlers]
    end).

%% Every connection has brought its 1000 bytes, or has failed. (Whoever waits for them takes them at once.)
arrived(Config) ->
    call(Config, fun() -> [rs_test:attempt(fun() -> rs_test:arrived(Socket, 1000) end) || Socket <- handler_sockets()], ok end).

%% Data is queued that the kernel doesn't take.
waits(Socket) ->
    case inet:getstat(Socket, [send_pend]) of
        {ok, [{send_pend, Pending}]} -> Pending > 0;
        _ -> false
    end.

send_until_error(Socket) ->
    case gen_tcp:send(Socket, <<0:65536/unit:8>>) of
        ok -> send_until_error(Socket);
        Error -> Error
    end.

%% A handler whose result is `{Hash of the frames, what ended them}`.
receive_frames(Active) ->
    fun(Socket) ->
        _ = inet:setopts(Socket, [{active, Active}]),
        {Frames, End} = frames(Socket, Active, []),
        {crypto:hash(sha256, term_to_binary(lists:reverse(Frames))), End}
    end.

frames(Socket, false, Frames) ->
    case gen_tcp:recv(Socket, 0) of
        {ok, Frame} -> frames(Socket, false, [Frame | Frames]);
        {error, _} = Error -> {Frames, Error}
    end;
frames(Socket, once, Frames) ->
    receive
        {tcp, Socket, Frame} ->
            _ = inet:setopts(Socket, [{active, once}]),
            frames(Socket, once, [Frame | Frames]);
        {tcp_closed, Socket} ->
            {Frames, {error, closed}};
        {tcp_error, Socket, Reason} ->
            {Frames, {error, Reason}}
    end.

echo(Socket) ->
    _ = erase(hostile),
    case gen_tcp:recv(Socket, 0) of
        {ok, Data} ->
            ok = gen_tcp:send(Socket, Data),
            echo(Socket);
        {error, closed} ->
            echoed
    end.

settled(Quiet) ->
    {Sockets, Processes} = Quiet,
    _ = rs_test:attempt(fun() ->
            rs_test:poll(fun() -> rs_test:socket_fds() =< Sockets andalso erlang:system_info(process_count) =< Processes end, ?DEADLINE)
        end),
    measure().

same_counts(Before, After) ->
    [{Key, Same, Same} = {Key, maps:get(Key, Before), maps:get(Key, After)} || Key <- [fds, sockets, processes, threads, ports]],
    {true, _, _} = {maps:get(memory, After) - maps:get(memory, Before) < 4 * ?MIB, Before, After},
    ok.

measure() ->
    (load_SUITE:measure())#{virtual => status_of("VmSize")}.

resident() -> status_of("VmRSS").

status_of(Key) ->
    {ok, Status} = file:read_file("/proc/self/status"),
    {match, [Text]} = re:run(Status, Key ++ ":\\s+([0-9]+) kB", [{capture, all_but_first, list}]),
    list_to_integer(Text) * 1024.
