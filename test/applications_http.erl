%% What applications_SUITE does with inets: a server of files and of one function that
%% takes uploads, OTP's client, requests made by hand, and the programs curl, ab and wrk.
%% Each function returns what must be the same on every backend.
-module(applications_http).

%% On the node.
-export([start/1, stop/1, settled/1, keep_alive/2, pipeline/2, upload/2, aborted/2]).
-export([digest/3]).
%% Elsewhere.
-export([curl/3, ab/3, wrk/3]).

-define(LOOPBACK, {127, 0, 0, 1}).
-define(DEADLINE, 60000).
-define(LARGE, 20000000).

-spec start(file:filename()) -> {pid(), inet:port_number()}.
start(Root) ->
    ok = filelib:ensure_dir(filename:join(Root, "x")),
    ok = file:write_file(filename:join(Root, "small.txt"), "a small file\n"),
    ok = file:write_file(filename:join(Root, "large.bin"), large()),
    {ok, Server} = inets:start(httpd, [{port, 0}, {bind_address, ?LOOPBACK}, {server_name, "localhost"},
                                       {server_root, Root}, {document_root, Root},
                                       {modules, [mod_alias, mod_esi, mod_get, mod_head]},
                                       {erl_script_alias, {"/call", [?MODULE]}},
                                       {max_clients, 500}, {keep_alive_timeout, 30}]),
    [{port, Port}] = httpd:info(Server, [port]),
    ok = httpc:set_options([{max_sessions, 4}, {max_keep_alive_length, 1000000},
                            {max_pipeline_length, 20}, {pipeline_timeout, 0}]),
    {Server, Port}.

-spec stop(pid()) -> ok.
stop(Server) ->
    ok = inets:stop(httpd, Server),
    %% The client keeps its connections otherwise.
    ok = inets:stop(),
    inets:start().

%% Whether no connection is open any more: the server has noticed that the clients have gone.
-spec settled(inet:port_number()) -> ok.
settled(Port) ->
    rs_test:poll(fun() -> connections(Port) =:= 0 end, ?DEADLINE).

%% Of the kernel's table, so that it is no backend's opinion: established or half-closed.
%% Source: proc(5).
connections(Port) ->
    {ok, Table} = file:read_file("/proc/net/tcp"),
    Local = iolist_to_binary(io_lib:format(":~4.16.0B", [Port])),
    length([Line || Line <- binary:split(Table, <<"\n">>, [global]),
                    [_, Address, _, State | _] <- [binary:split(Line, <<" ">>, [global, trim_all])],
                    lists:member(State, [<<"01">>, <<"08">>]),
                    binary:longest_common_suffix([Address, Local]) =:= byte_size(Local)]).

%% mod_esi's function: says what has come.
-spec digest(term(), term(), string()) -> term().
digest(Session, _Environment, Input) ->
    Body = iolist_to_binary(Input),
    Answer = io_lib:format("~b ~ts", [byte_size(Body), hex(Body)]),
    mod_esi:deliver(Session, ["Content-Type: text/plain\r\n\r\n" | Answer]).

%%% OTP's client

-spec keep_alive(inet:port_number(), pos_integer()) -> term().
keep_alive(Port, Count) ->
    Url = url(Port, "small.txt"),
    One = [get_body(Url) || _ <- lists:seq(1, Count)],
    Several = [spawn_monitor(fun() -> exit({got, [get_body(Url) || _ <- lists:seq(1, Count div 10)]}) end)
               || _ <- lists:seq(1, 10)],
    Rest = [receive {'DOWN', Monitor, process, Pid, {got, Bodies}} -> Bodies end
            || {Pid, Monitor} <- Several],
    {lists:usort(One), lists:usort(lists:append(Rest)), hex(get_body(url(Port, "large.bin")))}.

-spec upload(inet:port_number(), pos_integer()) -> term().
upload(Port, Bytes) ->
    [begin
         Body = pattern(Size),
         Expected = iolist_to_binary(io_lib:format("~b ~ts", [Size, hex(Body)])),
         {ok, {{_, 200, _}, _, Expected}} =
             httpc:request(post, {url(Port, "call/applications_http:digest"), [], "application/octet-stream", Body},
                           http_options(), [{body_format, binary}]),
         Expected
     end || Size <- [0, 1, 1459, 1460, 1461, 65536, Bytes]].

get_body(Url) ->
    {ok, {{_, 200, _}, _Headers, Body}} =
        httpc:request(get, {Url, []}, http_options(), [{body_format, binary}]),
    Body.

%% Without TLS options some releases look for the machine's certificates, for http too.
http_options() ->
    [{timeout, ?DEADLINE}, {ssl, [{verify, verify_none}]}].

%%% By hand

%% All requests in one send, the answers one behind the other; and httpc's own pipeline.
-spec pipeline(inet:port_number(), pos_integer()) -> term().
pipeline(Port, Count) ->
    {ok, Socket} = gen_tcp:connect(?LOOPBACK, Port, [binary, {active, false}, {packet, http_bin}]),
    ok = gen_tcp:send(Socket, [request("GET", if N rem 2 =:= 0 -> "small.txt"; true -> "none" end)
                               || N <- lists:seq(1, Count)]),
    Answers = [answer(Socket) || _ <- lists:seq(1, Count)],
    ok = gen_tcp:close(Socket),
    References = [begin
                      {ok, Reference} = httpc:request(get, {url(Port, "small.txt"), []}, http_options(), [{sync, false}]),
                      Reference
                  end || _ <- lists:seq(1, Count)],
    Bodies = [receive {http, {Reference, {{_, 200, _}, _, Body}}} -> Body after ?DEADLINE -> error(deadline) end
              || Reference <- References],
    {[Status || {Status, _Body} <- Answers], lists:usort(Answers), lists:usort(Bodies)}.

answer(Socket) ->
    {ok, {http_response, _Version, Status, _Phrase}} = gen_tcp:recv(Socket, 0, ?DEADLINE),
    Length = header_length(Socket, 0),
    ok = inet:setopts(Socket, [{packet, raw}]),
    {ok, Body} = gen_tcp:recv(Socket, Length, ?DEADLINE),
    ok = inet:setopts(Socket, [{packet, http_bin}]),
    {Status, Body}.

header_length(Socket, Length) ->
    case gen_tcp:recv(Socket, 0, ?DEADLINE) of
        {ok, http_eoh} -> Length;
        {ok, {http_header, _, 'Content-Length', _, Value}} -> header_length(Socket, binary_to_integer(Value));
        {ok, {http_header, _, _, _, _}} -> header_length(Socket, Length)
    end.

%% In turn: reset in a download, closed in a download, reset in an upload, closed in one.
-spec aborted(inet:port_number(), pos_integer()) -> term().
aborted(Port, Count) ->
    [abort(Port, N rem 4) || N <- lists:seq(1, Count)],
    ok = settled(Port),
    get_body(url(Port, "small.txt")).

abort(Port, Kind) ->
    {ok, Socket} = gen_tcp:connect(?LOOPBACK, Port, [binary, {active, false}]),
    case Kind < 2 of
        true ->
            ok = gen_tcp:send(Socket, request("GET", "large.bin")),
            {ok, _} = gen_tcp:recv(Socket, 100000, ?DEADLINE);
        false ->
            ok = gen_tcp:send(Socket, ["POST /call/applications_http:digest HTTP/1.1\r\nHost: localhost\r\n"
                                       "Content-Length: 1000000\r\n\r\n", pattern(300000)])
    end,
    ok = inet:setopts(Socket, [{linger, {Kind rem 2 =:= 0, 0}}]),
    ok = gen_tcp:close(Socket).

request(Method, Path) ->
    [Method, " /", Path, " HTTP/1.1\r\nHost: localhost\r\n\r\n"].

%%% Programs

-spec curl(file:filename(), inet:port_number(), fun((inet:port_number()) -> ok)) -> term().
curl(Curl, Port, Settled) ->
    Large = hex(large()),
    Large = hex(run(Curl, ["-sS", "--fail", url(Port, "large.bin")])),
    %% Three transfers, one connection.
    Kept = run(Curl, ["-sS", "--fail", "-w", "%{num_connects} ", url(Port, "small.txt"),
                      url(Port, "small.txt"), url(Port, "small.txt")]),
    File = scratch("upload", large()),
    Uploaded = run(Curl, ["-sS", "--fail", "--data-binary", "@" ++ File,
                          url(Port, "call/applications_http:digest")]),
    Uploaded = iolist_to_binary(io_lib:format("~b ~ts", [?LARGE, Large])),
    %% Leaves when it has seen the header of more than it wants.
    63 = exit_status(Curl, ["-sS", "--max-filesize", "1000000", url(Port, "large.bin")]),
    Range = hex(run(Curl, ["-sS", "--fail", "-r", "1000-1000999", url(Port, "large.bin")])),
    %% Are cut off in the middle, of a body that comes and of one that goes.
    [28, 28] = [exit_status(Curl, ["-sS", "-m", "0.5", "--limit-rate", "2M" | Arguments])
                || Arguments <- [[url(Port, "large.bin")],
                                 ["--data-binary", "@" ++ File, url(Port, "call/applications_http:digest")]]],
    ok = file:delete(File),
    ok = Settled(Port),
    {Kept, Range}.

%% Downloads and uploads, on kept connections and on new ones.
-spec ab(file:filename(), inet:port_number(), fun((inet:port_number()) -> ok)) -> term().
ab(Ab, Port, Settled) ->
    File = scratch("posted", pattern(20000)),
    Loads = [["-n", "2000", url(Port, "small.txt")],
             ["-n", "40", url(Port, "large.bin")],
             ["-n", "1000", "-p", File, "-T", "application/octet-stream", url(Port, "call/applications_http:digest")]],
    Counts = [begin
                  Report = run(Ab, Connections ++ ["-q", "-c", "16" | Load]),
                  ok = Settled(Port),
                  {number("Complete requests: +([0-9]+)", Report), number("Failed requests: +([0-9]+)", Report),
                   number("HTML transferred: +([0-9]+)", Report), re:run(Report, "Non-2xx", [{capture, none}])}
              end || Load <- Loads, Connections <- [["-k"], []]],
    ok = file:delete(File),
    Counts.

%% What goes into a second: downloads one by one and eight at a time, uploads, and large files, which end in the middle
%% as all connections do when the second is over.
-spec wrk(file:filename(), inet:port_number(), fun((inet:port_number()) -> ok)) -> term().
wrk(Wrk, Port, Settled) ->
    [begin
         Script = scratch("wrk.lua", Lua),
         Report = run(Wrk, ["-t2", "-c32", "-d1s", "-s", Script, url(Port, Path)]),
         ok = file:delete(Script),
         ok = Settled(Port),
         %% A machine under load may make a request wait too long; that is no error of a socket.
         Errors = case re:run(Report, "Socket errors: connect ([0-9]+), read ([0-9]+), write ([0-9]+)",
                              [{capture, all_but_first, list}]) of
                      nomatch -> none;
                      {match, ["0", "0", "0"]} -> none;
                      {match, Counts} -> Counts
                  end,
         Served = Path =:= "large.bin" orelse number("([0-9]+) requests in", Report) > 0,
         {Path, Served, re:run(Report, "Non-2xx", [{capture, none}]), Errors}
     end || {Path, Lua} <- [{"small.txt", ""},
                            {"small.txt", "init = function(args) local r = {}\n"
                                          "  for i = 1, 8 do r[i] = wrk.format('GET') end\n"
                                          "  all = table.concat(r) end\n"
                                          "request = function() return all end\n"},
                            {"call/applications_http:digest", "wrk.method = 'POST' wrk.body = string.rep('upload', 4000)"},
                            {"large.bin", ""}]].

number(Pattern, Report) ->
    {match, [Number]} = re:run(Report, Pattern, [{capture, all_but_first, list}]),
    list_to_integer(Number).

run(Program, Arguments) ->
    Port = open_port({spawn_executable, Program}, [{args, Arguments}, binary, exit_status, stderr_to_stdout]),
    output(Port, []).

exit_status(Program, Arguments) ->
    try run(Program, Arguments) of
        _Output -> 0
    catch
        exit:{exit_status, {Status, _Output}} -> Status
    end.

output(Port, Data) ->
    receive
        {Port, {data, More}} -> output(Port, [Data, More]);
        {Port, {exit_status, 0}} -> iolist_to_binary(Data);
        {Port, {exit_status, Status}} -> exit({exit_status, {Status, iolist_to_binary(Data)}})
    after ?DEADLINE ->
        error(deadline)
    end.

%%% Data

%% A file for a program.
scratch(Name, Content) ->
    File = filename:join(filename:basedir(user_cache, "applications_http"), Name),
    ok = filelib:ensure_dir(File),
    ok = file:write_file(File, Content),
    File.

url(Port, Path) ->
    lists:flatten(io_lib:format("http://127.0.0.1:~b/~ts", [Port, Path])).

large() ->
    pattern(?LARGE).

pattern(Size) ->
    crypto:crypto_one_time(aes_128_ctr, <<7:128>>, <<0:128>>, <<0:Size/unit:8>>, true).

hex(Data) ->
    string:lowercase(binary:encode_hex(crypto:hash(sha256, Data))).
