%% OTP's own web server on the node under test, and two clients that know nothing of it:
%% OTP's httpc on a node of its own, and curl. Each fetches every file of the installed
%% OTP libraries, several at a time, and what came is compared with the disk by SHA-256.
-module(demo_http).

-include_lib("kernel/include/file.hrl").

-export([run/2]).
%% On the server's node.
-export([serve/1, a_connection/0]).
%% On the client's node.
-export([client_start/0, client_fetch/2, client_progress/0]).

-type digest() :: binary().
%% A file by its path below the document root.
-type file() :: {Path :: string(), Size :: non_neg_integer(), digest()}.
-type result() :: #{files := pos_integer(), bytes := pos_integer(), largest := non_neg_integer(),
                    httpc_seconds := float(), curl_seconds := float(),
                    %% the most seen at once, by the kernel and by OTP
                    connections := non_neg_integer(), others := demo_node:sockets(),
                    %% a socket that httpd held
                    socket := term(),
                    failures := [term()]}.

%% How many files a client fetches at a time.
-define(PARALLEL, 16).
%% How often the server is looked at, and how many looks come between two lines of progress.
-define(LOOK_MS, 200).
-define(LOOKS_A_LINE, 5).

%% Node is to run the server; Scratch is an empty folder.
-spec run(pid(), file:filename()) -> result().
run(Node, Scratch) ->
    Root = code:lib_dir(),
    Files = installed(Root),
    Bytes = lists:sum([Size || {_, Size, _} <- Files]),
    Largest = lists:max([Size || {_, Size, _} <- Files]),
    io:format("      ~b files, ~.1f MB, the largest ~.1f MB~n",
              [length(Files), Bytes / 1.0e6, Largest / 1.0e6]),

    Port = demo_node:call(Node, ?MODULE, serve, [Root]),
    Client = demo_node:start_plain(),
    ok = demo_node:call(Client, ?MODULE, client_start, []),
    Paths = [Path || {Path, _, _} <- Files],
    Self = self(),
    Httpc = spawn_link(fun() -> Self ! {self(), timed(fun() -> fetch_httpc(Client, Port, Paths) end)} end),
    Curl = spawn_link(fun() -> Self ! {self(), timed(fun() -> fetch_curl(Port, Paths, Scratch) end)} end),
    Seen = watch(#{looks => 1, node => Node, client => Client, port => Port, total => length(Files),
                   httpc => Httpc, curl => Curl, connections => 0, socket => none,
                   others => #{inet => 0, socket => 0}}),
    demo_node:stop(Client),

    #{httpc_result := {HttpcSeconds, HttpcGot}, curl_result := {CurlSeconds, CurlGot}} = Seen,
    #{files => length(Files), bytes => Bytes, largest => Largest,
      httpc_seconds => HttpcSeconds, curl_seconds => CurlSeconds,
      connections => maps:get(connections, Seen), others => maps:get(others, Seen),
      socket => maps:get(socket, Seen),
      failures => compare(httpc, Files, HttpcGot) ++ compare(curl, Files, CurlGot)}.

%%% What there is on the disk

-spec installed(file:filename()) -> [file()].
installed(Root) ->
    parallel_map(fun(Path) ->
                     {ok, Content} = file:read_file(filename:join(Root, Path)),
                     {Path, byte_size(Content), crypto:hash(sha256, Content)}
                 end, regular_files(Root, "")).

%% Paths below Root of the files in its folder Below, which is "" or ends with a slash.
regular_files(Root, Below) ->
    {ok, Names} = file:list_dir(filename:join(Root, Below)),
    lists:append([below(Root, Below ++ Name) || Name <- lists:sort(Names)]).

%% A link to a file is served as that file; a link to a folder may lead anywhere.
below(Root, Path) ->
    Absolute = filename:join(Root, Path),
    case {file:read_file_info(Absolute), file:read_link(Absolute)} of
        {{ok, #file_info{type = regular, access = Access}}, _}
          when Access =:= read; Access =:= read_write ->
            [Path];
        {{ok, #file_info{type = directory}}, {error, einval}} ->
            regular_files(Root, Path ++ "/");
        _ ->
            []
    end.

%%% The server

%% Starts httpd with the modules it needs for files, and nothing that names a backend.
-spec serve(file:filename()) -> inet:port_number().
serve(Root) ->
    {ok, _} = application:ensure_all_started(inets),
    {ok, Server} = inets:start(httpd, [{port, 0},
                                       {bind_address, {127, 0, 0, 1}},
                                       {server_name, "localhost"},
                                       {server_root, Root},
                                       {document_root, Root},
                                       {modules, [mod_alias, mod_get, mod_head]},
                                       {max_clients, 4 * ?PARALLEL}]),
    [{port, Port}] = httpd:info(Server, [port]),
    Port.

%% The socket of a connection, as a process of httpd holds it in its state at this moment.
-spec a_connection() -> term().
a_connection() ->
    Handlers = [Pid || Pid <- processes(),
                       {dictionary, Dictionary} <- [process_info(Pid, dictionary)],
                       lists:keyfind('$initial_call', 1, Dictionary)
                           =:= {'$initial_call', {httpd_request_handler, init, 1}}],
    first_socket(Handlers).

first_socket([]) ->
    none;
first_socket([Handler | Handlers]) ->
    %% It may end before it answers.
    case find_socket(catch sys:get_state(Handler, 500)) of
        none -> first_socket(Handlers);
        Socket -> Socket
    end.

find_socket(Port) when is_port(Port) -> Port;
find_socket({'$inet', _, _} = Socket) -> Socket;
find_socket(Tuple) when is_tuple(Tuple) -> find_socket(tuple_to_list(Tuple));
find_socket([Head | Tail]) ->
    case find_socket(Head) of
        none -> find_socket(Tail);
        Socket -> Socket
    end;
find_socket(_) -> none.

%%% The clients

-spec client_start() -> ok.
client_start() ->
    {ok, _} = application:ensure_all_started(inets),
    ok = httpc:set_options([{max_sessions, ?PARALLEL}, {max_keep_alive_length, 1000000}]),
    persistent_term:put(?MODULE, counters:new(1, [])).

%% What came for each path: its size and digest, or why nothing came.
-spec client_fetch(inet:port_number(), [string()]) -> [{string(), term()}].
client_fetch(Port, Paths) ->
    Done = persistent_term:get(?MODULE),
    parallel_map(fun(Path) ->
                     Got = fetch(url(Port, Path)),
                     ok = counters:add(Done, 1, 1),
                     {Path, Got}
                 end, Paths).

fetch(Url) ->
    case httpc:request(get, {Url, []}, [{timeout, 30000}], [{body_format, binary}]) of
        {ok, {{_, 200, _}, _, Body}} -> {byte_size(Body), crypto:hash(sha256, Body)};
        {ok, {Status, _, _}} -> Status;
        {error, Reason} -> Reason
    end.

-spec client_progress() -> non_neg_integer().
client_progress() ->
    counters:get(persistent_term:get(?MODULE), 1).

fetch_httpc(Client, Port, Paths) ->
    demo_node:call(Client, ?MODULE, client_fetch, [Port, Paths], 120000).

%% curl takes a list of addresses and files, and tells of each as it is done.
fetch_curl(Port, Paths, Scratch) ->
    Numbered = lists:zip(lists:seq(1, length(Paths)), Paths),
    Output = fun(Number) -> filename:join(Scratch, integer_to_list(Number)) end,
    List = filename:join(Scratch, "list"),
    ok = file:write_file(List, [["url = \"", url(Port, Path), "\"\noutput = \"", Output(Number), "\"\n"]
                                || {Number, Path} <- Numbered]),
    Curl = open_port({spawn_executable, os:find_executable("curl")},
                     [{args, ["--parallel", "--parallel-max", integer_to_list(?PARALLEL),
                              "--no-progress-meter", "--noproxy", "*", "--max-time", "100",
                              "--write-out", "%{stderr}%{http_code}\n", "--config", List]},
                      {line, 4096}, exit_status, stderr_to_stdout, hide]),
    ok = curl_lines(Curl, 0),
    parallel_map(fun({Number, Path}) ->
                     case file:read_file(Output(Number)) of
                         {ok, Body} -> {Path, {byte_size(Body), crypto:hash(sha256, Body)}};
                         %% curl makes no file of an empty body.
                         {error, enoent} -> {Path, {0, crypto:hash(sha256, <<>>)}}
                     end
                 end, Numbered).

curl_lines(Curl, Done) ->
    receive
        {Curl, {data, {eol, "200"}}} ->
            put(curl_done, Done + 1),
            curl_lines(Curl, Done + 1);
        {Curl, {data, {_, Line}}} ->
            error({curl, Line});
        {Curl, {exit_status, 0}} ->
            ok;
        {Curl, {exit_status, Status}} ->
            error({curl_status, Status})
    end.

url(Port, Path) ->
    Quoted = lists:join($/, [uri_string:quote(Segment) || Segment <- filename:split(Path)]),
    lists:flatten(["http://127.0.0.1:", integer_to_list(Port), "/", Quoted]).

%%% While they work

%% Shows how far the clients are and looks at the server's sockets until both are done.
watch(#{httpc := Httpc, curl := Curl} = Seen0) ->
    receive
        {Httpc, Result} -> watch_on(Seen0#{httpc_result => Result});
        {Curl, Result} -> watch_on(Seen0#{curl_result => Result})
    after ?LOOK_MS ->
        watch(look(Seen0))
    end.

watch_on(#{httpc_result := _, curl_result := _} = Seen) -> Seen;
watch_on(Seen) -> watch(Seen).

look(#{looks := Looks, node := Node, client := Client, port := Port, total := Total, curl := Curl,
       connections := Connections, others := Others, socket := Socket} = Seen) ->
    Httpc = demo_node:call(Client, ?MODULE, client_progress, []),
    CurlDone = case process_info(Curl, dictionary) of
                   {dictionary, Dictionary} -> proplists:get_value(curl_done, Dictionary, 0);
                   undefined -> Total
               end,
    Looks rem ?LOOKS_A_LINE =:= 0 andalso
        io:format("      httpc ~b of ~b, curl ~b of ~b~n", [Httpc, Total, CurlDone, Total]),
    Now = demo_node:call(Node, demo_node, sockets, []),
    Seen#{looks => Looks + 1,
          connections => max(Connections, demo_node:established(Port)),
          others => maps:map(fun(Kind, Most) -> max(Most, maps:get(Kind, Now)) end, Others),
          socket => case Socket of
                        none -> demo_node:call(Node, ?MODULE, a_connection, []);
                        _ -> Socket
                    end}.

%%% Comparing

compare(Client, Files, Got) ->
    Expected = [{Path, {Size, Digest}} || {Path, Size, Digest} <- Files],
    [{Client, Path, Other} || {{Path, Want}, {Path, Other}} <- lists:zip(Expected, Got),
                              Other =/= Want].

timed(Fun) ->
    Start = erlang:monotonic_time(microsecond),
    Result = Fun(),
    {(erlang:monotonic_time(microsecond) - Start) / 1.0e6, Result}.

%% lists:map/2 by ?PARALLEL processes, each taking the next element as it becomes free.
parallel_map(Fun, List) ->
    Self = self(),
    Next = atomics:new(1, []),
    Elements = list_to_tuple(List),
    Workers = [spawn_link(fun() -> Self ! {self(), take(Fun, Elements, Next)} end)
               || _ <- lists:seq(1, ?PARALLEL)],
    Done = [receive {Worker, Results} -> Results end || Worker <- Workers],
    [Result || {_, Result} <- lists:keysort(1, lists:append(Done))].

take(Fun, Elements, Next) ->
    case atomics:add_get(Next, 1, 1) of
        Index when Index =< tuple_size(Elements) ->
            [{Index, Fun(element(Index, Elements))} | take(Fun, Elements, Next)];
        _ ->
            []
    end.
