%% `make demo`: unchanged OTP applications do real work on the backend, then the same
%% small measurements on `inet` and on the backend. It ends with a table; its exit
%% status is not zero if a byte differed or if anything failed.
-module(demo).

-export([main/1]).

%% main([Backend, Ebin]): Ebin is the folder of this application's compiled code.
-spec main([string()]) -> no_return().
main([Backend, Ebin]) ->
    {_, Monitor} = spawn_monitor(fun() -> exit({verdict, show(list_to_existing_atom(Backend), Ebin)}) end),
    receive
        {'DOWN', Monitor, process, _, {verdict, ok}} ->
            halt(0);
        {'DOWN', Monitor, process, _, {verdict, {failed, Failures}}} ->
            io:format("~nFAILED:~n"),
            [io:format("  ~0tp~n", [Failure]) || Failure <- lists:sublist(Failures, 20)],
            io:format("~b failures~n", [length(Failures)]),
            halt(1);
        {'DOWN', Monitor, process, _, Reason} ->
            io:format("~nFAILED:~n  ~tp~n", [Reason]),
            halt(1)
    end.

show(Backend, Ebin) ->
    Start = erlang:monotonic_time(millisecond),
    io:format("gen_tcp_rs at work: Erlang/OTP ~ts, ~b schedulers, nodes with -kernel inet_backend ~ts~n",
              [erlang:system_info(otp_release), erlang:system_info(schedulers_online), Backend]),
    {Http, Manual, Left} = applications(Backend, Ebin),
    io:format("[3/3] inet and ~ts compared, round by round, two nodes each~n", [Backend]),
    Rows = compare(Backend, Ebin),
    Seconds = (erlang:monotonic_time(millisecond) - Start) / 1000,
    table(Backend, Http, Manual, Rows, Seconds),
    verdict(maps:get(failures, Http) ++ maps:get(failures, Manual)
            ++ wrong_sockets(Backend, Http, Left)).

%%% OTP's applications

applications(Backend, Ebin) ->
    Node = demo_node:start_with_backend(Backend, Ebin),
    io:format("[1/3] OTP's httpd serves the installed OTP; OTP's httpc and curl fetch all of it~n"),
    Http = with_scratch(fun(Scratch) -> demo_http:run(Node, Scratch) end),
    io:format("      every file compared with the disk by SHA-256: ~b differences~n",
              [length(maps:get(failures, Http))]),
    io:format("[2/3] the worker pool of gen_tcp's manual, {active,once} and {packet,2}, and its client~n"),
    Manual = demo_manual:run(Node),
    io:format("      ~b calls, ~b wrong~n", [maps:get(calls, Manual), length(maps:get(failures, Manual))]),
    Left = demo_node:call(Node, demo_node, sockets, []),
    demo_node:stop(Node),
    {Http, Manual, Left}.

with_scratch(Fun) ->
    Scratch = filename:join(os:getenv("TMPDIR", "/tmp"), "gen_tcp_rs_demo." ++ os:getpid()),
    ok = file:make_dir(Scratch),
    try
        Fun(Scratch)
    after
        ok = file:del_dir_r(Scratch)
    end.

%% On a node with the backend rs every connection that the kernel knows must be a socket of
%% this project: OTP has none of its own kinds there, and httpd holds terms of ours.
wrong_sockets(rs, Http, Left) ->
    [{httpd_holds, Socket} || #{socket := Socket} <- [Http], not is_ours(Socket)]
        ++ [{no_connection_was_seen, Http} || #{connections := 0} <- [Http]]
        ++ [{sockets_of_otp, Kinds} || Kinds <- [maps:get(others, Http), Left],
                                       Kinds =/= #{inet => 0, socket => 0}];
wrong_sockets(inet, _Http, _Left) ->
    [].

is_ours({'$inet', gen_tcp_rs, _Handle}) -> true;
is_ours(_Other) -> false.

%%% The comparison

compare(Backend, Ebin) ->
    Pairs = [{Each, demo_node:start_with_backend(Each, Ebin), demo_node:start_with_backend(Each, Ebin)}
             || Each <- lists:usort([inet, Backend])],
    Rows = demo_compare:run(Pairs, Ebin),
    _ = [demo_node:stop(Node) || {_, Server, Client} <- Pairs, Node <- [Server, Client]],
    Rows.

%%% What is shown at the end

table(Backend, Http, Manual, Rows, Seconds) ->
    #{files := Files, bytes := Bytes, largest := Largest, connections := Connections,
      others := #{inet := Ports, socket := Sockets}} = Http,
    io:format("~n~ts~n", [lists:duplicate(78, $-)]),
    io:format("files served by httpd          ~b files, ~.1f MB, the largest ~.1f MB~n",
              [Files, Bytes / 1.0e6, Largest / 1.0e6]),
    [io:format("  fetched by ~-5ts               ~.1f s, ~b of ~b files equal to the disk~n",
               [Client, maps:get(Seconds1, Http), Files - wrong(Client, Http), Files])
     || {Client, Seconds1} <- [{httpc, httpc_seconds}, {curl, curl_seconds}]],
    io:format("  sockets of the server        ~ts~n", [socket_shape(maps:get(socket, Http))]),
    io:format("                               ~b connections seen in the kernel; of OTP's own there were~n"
              "                               ~b of inet, ~b of socket~n", [Connections, Ports, Sockets]),
    io:format("the manual's worker pool       ~b calls, ~b right~n",
              [maps:get(calls, Manual), maps:get(calls, Manual) - length(maps:get(failures, Manual))]),
    io:format("~n~-48ts ~15ts ~15ts ~6ts~n", ["median, and lowest and highest below it",
                                              "inet", atom_to_list(Backend), "ratio"]),
    _ = [row(Backend, Row) || Row <- Rows],
    io:format("resident: what the process grew by; room that its allocators had left does not show~n"),
    io:format("~ts~n~.1f s in all~n", [lists:duplicate(78, $-), Seconds]).

wrong(Client, #{failures := Failures}) ->
    length([Failure || Failure <- Failures, element(1, Failure) =:= Client]).

socket_shape({'$inet', Module, _}) -> io_lib:format("{'$inet', ~ts, _}", [Module]);
socket_shape(Port) when is_port(Port) -> "#Port<_>";
socket_shape(none) -> "none was seen".

row(Backend, {Name, Unit, Values}) ->
    {inet, Inet, InetLow, InetHigh} = lists:keyfind(inet, 1, Values),
    {Backend, Ours, OursLow, OursHigh} = lists:keyfind(Backend, 1, Values),
    Ratio = case Inet == 0 of
                true -> "-";
                false -> io_lib:format("~.2f", [Ours / Inet])
            end,
    io:format("~-48ts ~15b ~15b ~6ts~n", [Name ++ ", " ++ Unit, round(Inet), round(Ours), Ratio]),
    io:format("~-48ts ~15ts ~15ts~n", ["", range(InetLow, InetHigh), range(OursLow, OursHigh)]).

range(Low, High) ->
    io_lib:format("~b-~b", [round(Low), round(High)]).

verdict([]) ->
    io:format("every byte was right~n");
verdict(Failures) ->
    {failed, Failures}.
