%% HTTP as real clients write it: curl, python's http.client and wrk send requests to a small server, which
%% reads them with each of the http types. What it is given must be the same on the driver and on
%% gen_tcp_rs, and be what the client was told to send. A client that is not installed skips its case.
-module(http_stream_SUITE).

-include_lib("common_test/include/ct.hrl").

-export([suite/0, all/0, init_per_suite/1, end_per_suite/1]).
-export([curl/1, python/1, wrk/1]).

-define(DEADLINE, 20000).
%% The longest header here; the driver's limit is its buffer otherwise.
-define(OPTIONS, [{packet_size, 16384}]).
-define(LONG, 8192).

suite() ->
    [{timetrap, {minutes, 5}}].

all() ->
    [curl, python, wrk].

init_per_suite(Config) ->
    ok = rs_test:start(rs),
    Config.

end_per_suite(_Config) ->
    ok.

%% Two requests on a connection, bodies behind `Expect: 100-continue` and in chunks, 8 KiB of a header, a folded line.
curl(Config) ->
    Curl = program("curl"),
    Body = filename:join(?config(priv_dir, Config), "body"),
    ok = file:write_file(Body, body()),
    Common = ["--silent", "--show-error", "--noproxy", "*", "--header", "Host: www.example.org"],
    Url = fun(Port, Path) -> "http://127.0.0.1:" ++ integer_to_list(Port) ++ Path end,
    Cases = [{"two", fun(Port) -> [Url(Port, "/path?query=a%20b"), Url(Port, "/*")] end,
              [{"GET", "/path?query=a%20b", <<>>}, {"GET", "/*", <<>>}], {'Host', "www.example.org"}},
             {"head", fun(Port) -> ["--head", Url(Port, "/")] end, [{"HEAD", "/", <<>>}], {'Accept', "*/*"}},
             {"own method", fun(Port) -> ["--request", "PURGE", "--http1.0", Url(Port, "/x")] end, [{"PURGE", "/x", <<>>}],
              {'Host', "www.example.org"}},
             {"expect", fun(Port) -> ["--header", "Expect: 100-continue", "--data-binary", "@" ++ Body, Url(Port, "/e")] end,
              [{"POST", "/e", body()}], {'Expect', "100-continue"}},
             {"chunked", fun(Port) -> ["--header", "Transfer-Encoding: chunked", "--data-binary", "@" ++ Body, Url(Port, "/c")] end,
              [{"POST", "/c", body()}], {'Transfer-Encoding', "chunked"}},
             {"upload", fun(Port) -> ["--upload-file", Body, Url(Port, "/u")] end, [{"PUT", "/u", body()}],
              {'Content-Length', integer_to_list(byte_size(body()))}},
             {"long header", fun(Port) -> ["--header", "X-Long: " ++ lists:duplicate(?LONG, $l), Url(Port, "/l")] end,
              [{"GET", "/l", <<>>}], {'X-Long', lists:duplicate(?LONG, $l)}},
             {"folded", fun(Port) -> ["--header", "X-Folded: one\r\n\ttwo\r\n three", Url(Port, "/f")] end,
              [{"GET", "/f", <<>>}], {'X-Folded', "one\r\n\ttwo\r\n three"}}],
    [begin
         {Name, Expected} = {Name, essences(Requests)},
         {Name, []} = {Name, [Headers || {[_ | Headers], _} <- Requests, header(Field, Headers) =/= Value]}
     end
     || {Name, Arguments, Expected, {Field, Value}} <- Cases,
        Requests <- same(Name, fun(Port) -> client(Curl, Common ++ Arguments(Port)) end)],
    ok.

%% The same from http.client: a body of known length and in chunks, three values as one folded header, and
%% five requests in one piece.
python(Config) ->
    Python = program("python3"),
    Script = filename:join(?config(data_dir, Config), "requests.py"),
    Pieces = <<"first", (binary:copy(<<"x">>, 5000))/binary, "\r\n">>,
    Get = {"GET", "/path?query=a%20b", <<>>},
    Post = {"POST", "/form", binary:copy(<<"b">>, 3000)},
    Chunked = {"POST", "/stream", Pieces},
    Folded = {"GET", "/folded", <<>>},
    Long = {"GET", "/long/" ++ lists:duplicate(1000, $p), <<>>},
    Host = {'Host', "www.example.org"},
    Cases = [{"get", [Get, Get], Host},
             {"post", [Post, Post], {'Content-Length', "3000"}},
             {"chunked", [Chunked, Chunked], {'Transfer-Encoding', "chunked"}},
             {"folded", [Folded, Folded], {'X-Folded', "one\r\n\ttwo\r\n\tthree"}},
             {"long", [Long, Long], {'Cookie', "c=" ++ lists:append(lists:duplicate(512, "0123456789abcdef"))}},
             {"pipelined", [Get, Post, Folded, Chunked, Get], Host}],
    [begin
         {Kind, Expected} = {Kind, essences(Requests)},
         {Kind, []} = {Kind, [Headers || {[_ | Headers], _} <- Requests, header(Field, Headers) =/= Value]}
     end
     || {Kind, Expected, {Field, Value}} <- Cases,
        Requests <- same(Kind, fun(Port) -> client(Python, [Script, integer_to_list(Port), Kind]) end)],
    ok.

%% Pipelined by wrk for a second on four connections: nothing but its three requests, in their order.
wrk(Config) ->
    Wrk = program("wrk"),
    Script = filename:join(?config(data_dir, Config), "pipeline.lua"),
    Three = [{"GET", "/one", <<>>}, {"POST", "/two", binary:copy(<<"w">>, 300)}, {"GET", "/three?x=y", <<>>}],
    Distinct =
        [begin
             {_, Connections} =
                 serve(Context, Type, Mode,
                       fun(Port) ->
                               client(Wrk, ["--threads", "1", "--connections", "4", "--duration", "1s", "--script", Script,
                                            "--header", "Host: www.example.org", "http://127.0.0.1:" ++ integer_to_list(Port)])
                       end),
             Most = lists:max([length(Requests) || Requests <- Connections]),
             true = Most > 30,
             [in_turn(essences(Requests), Three, Three) || Requests <- Connections],
             {Type, lists:usort([[Line | lists:sort(Headers)] || Requests <- Connections, {[Line | Headers], _} <- Requests])}
         end || Context <- tuple_to_list(rs_test:contexts()), {Type, Mode} <- [{http_bin, passive}, {http, once}]],
    %% The same on both backends.
    {OnDriver, OnRs} = lists:split(2, Distinct),
    OnDriver = OnRs,
    [3, 3] = [length(Requests) || {_, Requests} <- OnRs],
    ok.

in_turn([], _, _) -> ok;
in_turn(Requests, [], Three) -> in_turn(Requests, Three, Three);
in_turn([Request | Requests], [Request | Next], Three) -> in_turn(Requests, Next, Three).

%%% ---- the comparison ----

%% Reads what the client sends with every http type, on both backends: each must be given the same.
%% Returns the requests of each run.
same(Name, Client) ->
    [begin
         [{_, OnDriver} = Driver, Rs] =
             [serve(Context, Type, Mode, Client) || Context <- tuple_to_list(rs_test:contexts())],
         case Rs of
             Driver -> lists:append(OnDriver);
             _ -> ct:fail({Name, Type, Mode, {inet, Driver}, {rs, Rs}})
         end
     end || Type <- [http, http_bin, httph, httph_bin], Mode <- [passive, once]].

%% Method, path and body of each request, whichever type has read it.
essences(Requests) ->
    [essence(Line, Body) || {[Line | _], Body} <- Requests].

essence({http_request, Method, {abs_path, Path}, _}, Body) ->
    {text(Method), text(Path), Body};
essence(Line, Body) ->
    [Method, Path, <<"HTTP/1.", _, "\r\n">>] = binary:split(Line, <<" ">>, [global]),
    {text(Method), text(Path), Body}.

text(Atom) when is_atom(Atom) -> atom_to_list(Atom);
text(Binary) when is_binary(Binary) -> binary_to_list(Binary);
text(List) -> List.

body() ->
    binary:copy(<<"0123456789abcdef\r\n\r\n\n">>, 400).

%%% ---- the clients ----

program(Name) ->
    case os:find_executable(Name) of
        false -> throw({skip, Name ++ " is not installed"});
        Path -> Path
    end.

%% What it writes; it must end well.
client(Program, Arguments) ->
    Port = open_port({spawn_executable, Program}, [{args, Arguments}, exit_status, stderr_to_stdout, binary]),
    client_output(Port, []).

client_output(Port, Output) ->
    receive
        {Port, {data, Data}} -> client_output(Port, [Output, Data]);
        {Port, {exit_status, 0}} -> iolist_to_binary(Output);
        {Port, {exit_status, Status}} -> ct:fail({client, Status, iolist_to_binary(Output)})
    after ?DEADLINE ->
            ct:fail({client, timeout, iolist_to_binary(Output)})
    end.

%%% ---- the server ----

%% How many answers the client shows, and every request of each connection as `{Packets, Body}`.
serve(Context, Type, Mode, Client) ->
    Listen = rs_test:listen(Context, ?OPTIONS),
    {_, Port} = rs_test:address_of(Listen),
    Acceptors = [rs_test:async(fun() -> accepted(Listen, Type, Mode) end) || _ <- [1, 2, 3, 4, 5]],
    Output = Client(Port),
    ok = gen_tcp:close(Listen),
    Connections = lists:append([begin
                                    {Requests, []} = rs_test:await(Acceptor),
                                    Requests
                                end || Acceptor <- Acceptors]),
    {length(binary:matches(Output, <<"ok">>)),
     [Requests || Requests <- Connections, Requests =/= []]}.

accepted(Listen, Type, Mode) ->
    case gen_tcp:accept(Listen) of
        {ok, Socket} ->
            Requests = requests(Socket, Type, Mode),
            ok = gen_tcp:close(Socket),
            [Requests | accepted(Listen, Type, Mode)];
        {error, closed} ->
            []
    end.

requests(Socket, Type, Mode) ->
    case start_line(Socket, Type, Mode) of
        {ok, Line} ->
            Headers = headers(Socket, Type, Mode),
            Body = body(Socket, Headers),
            case gen_tcp:send(Socket, "HTTP/1.1 200 OK\r\nContent-Length: " ++ answer(Line)) of
                ok -> [{[Line | Headers], Body} | requests(Socket, Type, Mode)];
                {error, closed} -> [{[Line | Headers], Body}]
            end;
        {error, closed} ->
            []
    end.

answer({http_request, 'HEAD', _, _}) -> "0\r\n\r\n";
answer(<<"HEAD", _/binary>>) -> "0\r\n\r\n";
answer({http_request, _, _, {1, 0}}) -> "3\r\nConnection: close\r\n\r\nok\n";
answer(_) -> "3\r\n\r\nok\n".

%% httph expects headers from the start: the first line is read as one.
start_line(Socket, Type, Mode) when Type =:= httph; Type =:= httph_bin -> packet(Socket, line, Mode);
start_line(Socket, Type, Mode) -> packet(Socket, Type, Mode).

headers(Socket, Type, Mode) ->
    case packet(Socket, Type, Mode) of
        {ok, http_eoh} -> [http_eoh];
        {ok, {http_header, _, _, _, _} = Header} -> [Header | headers(Socket, Type, Mode)]
    end.

packet(Socket, Type, passive) ->
    ok = inet:setopts(Socket, [{packet, Type}]),
    gen_tcp:recv(Socket, 0, ?DEADLINE);
packet(Socket, Type, once) ->
    ok = inet:setopts(Socket, [{packet, Type}]),
    case inet:setopts(Socket, [{active, once}]) of
        ok ->
            receive
                {http, Socket, Packet} -> {ok, Packet};
                {tcp, Socket, Line} -> {ok, Line};
                {tcp_closed, Socket} -> {error, closed}
            after ?DEADLINE ->
                    {error, timeout}
            end;
        {error, einval} ->
            {error, closed}
    end.

body(Socket, Headers) ->
    ok = case header('Expect', Headers) of
             "100-continue" -> gen_tcp:send(Socket, "HTTP/1.1 100 Continue\r\n\r\n");
             none -> ok
         end,
    case {header('Transfer-Encoding', Headers), header('Content-Length', Headers)} of
        {"chunked", none} -> iolist_to_binary(chunks(Socket));
        {none, none} -> <<>>;
        {none, Length} -> exactly(Socket, list_to_integer(Length))
    end.

header(Name, Headers) ->
    case [text(Value) || {http_header, _, Field, _, Value} <- Headers, text(Field) =:= atom_to_list(Name)] of
        [Value] -> Value;
        [] -> none
    end.

chunks(Socket) ->
    {ok, Line} = packet(Socket, line, passive),
    case binary_to_integer(string:trim(Line), 16) of
        0 ->
            {ok, http_eoh} = packet(Socket, httph, passive),
            [];
        Size ->
            Chunk = exactly(Socket, Size),
            <<"\r\n">> = exactly(Socket, 2),
            [Chunk | chunks(Socket)]
    end.

exactly(_Socket, 0) ->
    <<>>;
exactly(Socket, Count) ->
    ok = inet:setopts(Socket, [{packet, raw}]),
    {ok, Bytes} = gen_tcp:recv(Socket, Count, ?DEADLINE),
    Bytes.
