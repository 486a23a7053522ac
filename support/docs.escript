#!/usr/bin/env escript
%% Writes the reference of the modules that users call to _build/docs, with edoc. Any
%% warning is a failure.
-mode(compile).

main([]) ->
    Modules = ["gen_tcp_rs", "gen_tcp_rs_backend", "inet_tcp_rs", "inet6_tcp_rs", "local_tcp_rs"],
    Files = [filename:join("erl_src", Module ++ ".erl") || Module <- Modules],
    Directory = filename:join(os:getenv("REBAR_BASE_DIR", "_build"), "docs"),
    %% edoc warns on its standard output: its group leader is a process that counts.
    Collector = spawn_link(fun() -> collect(group_leader(), 0) end),
    Leader = group_leader(),
    group_leader(Collector, self()),
    Result = try edoc:files(Files, [{dir, Directory}, {private, false}, {preprocess, true},
                                    {report_missing_types, false}, {sort_functions, false}])
             catch Class:Reason -> {Class, Reason}
             end,
    group_leader(Leader, self()),
    Collector ! {written, self()},
    receive
        {written, 0} when Result =:= ok ->
            io:format("~ts~n", [filename:join(Directory, "gen_tcp_rs.html")]);
        {written, _Warnings} ->
            io:format(standard_error, "edoc: ~tp~n", [Result]),
            halt(1)
    end.

%% Passes everything on.
collect(Leader, Count) ->
    receive
        {io_request, _From, _As, _Request} = Message ->
            Leader ! Message,
            collect(Leader, Count + 1);
        {written, From} ->
            From ! {written, Count}
    end.
