%% A request of 500 bytes like a browser's, with ten headers, which the server takes line by line or parsed by the socket;
%% the answer has 100 bytes. Every message is asked for by {active, once}.
-module(bench_request).

-behaviour(bench_workload).

-export([serve/2, open/4, prepare/2, run/3, shut/1]).

-record(client, {workers}).

-define(REQUEST_SIZE, 500).
-define(HEADERS, 10).
-define(ANSWER_SIZE, 100).

%% Arguments: packet (line or http_bin), connections.
-spec serve(bench_socket:backend(), bench_workload:arguments()) -> {inet:port_number(), fun(() -> ok | {error, term()})}.
serve(Backend, #{packet := Packet}) ->
    Answer = answer(),
    bench_server:start(Backend, [{packet, Packet}], 1, fun(Socket) -> serve_requests(Socket, Answer, -1) end).

%% Counts what comes before the empty line: the request line is number 0.
serve_requests(Socket, Answer, Number) ->
    ok = inet:setopts(Socket, [{active, once}]),
    receive
        {tcp, Socket, <<"GET ", _/binary>>} when Number =:= -1 ->
            serve_requests(Socket, Answer, 0);
        {http, Socket, {http_request, 'GET', {abs_path, _}, {1, 1}}} when Number =:= -1 ->
            serve_requests(Socket, Answer, 0);
        {Tag, Socket, End} when Number =:= ?HEADERS, Tag =:= tcp, End =:= <<"\r\n">>;
                                Number =:= ?HEADERS, Tag =:= http, End =:= http_eoh ->
            ok = gen_tcp:send(Socket, Answer),
            serve_requests(Socket, Answer, -1);
        {tcp, Socket, Line} when Number >= 0, byte_size(Line) > 2 ->
            serve_requests(Socket, Answer, Number + 1);
        {http, Socket, {http_header, _, _, _, _}} when Number >= 0 ->
            serve_requests(Socket, Answer, Number + 1);
        {tcp_closed, Socket} when Number =:= -1 ->
            ok
    end.

request() ->
    Headers = ["Host: localhost:8080", "User-Agent: bench/1.0 (a client that is not in a hurry)", "Accept: text/html",
               "Accept-Language: en-GB,en;q=0.8", "Accept-Encoding: gzip, deflate", "Connection: keep-alive",
               "Cache-Control: max-age=0", "Referer: http://localhost:8080/from/here", "Cookie: id=0123456789abcdef"],
    padded("GET /the/page/that/is/asked/for.html HTTP/1.1", Headers, "X-Padding: ", "", ?REQUEST_SIZE).

answer() ->
    padded("HTTP/1.1 200 OK", ["Content-Type: text/plain"], "X-Padding: ", "", ?ANSWER_SIZE).

padded(First, Headers, Padding, Body, Size) ->
    Before = [[Line, "\r\n"] || Line <- [First | Headers]],
    Fill = Size - iolist_size([Before, Padding, "\r\n\r\n", Body]),
    iolist_to_binary([Before, Padding, lists:duplicate(Fill, $x), "\r\n\r\n", Body]).

-spec open(bench_socket:backend(), inet:ip4_address(), inet:port_number(), bench_workload:arguments()) -> #client{}.
open(Backend, Address, Port, #{connections := Connections}) ->
    #client{workers = bench_workers:start(Connections,
                                          fun() -> {Backend, bench_socket:connect(Backend, Address, Port, [])} end)}.

-spec prepare(bench_workload:arguments(), #client{}) -> #client{}.
prepare(_Row, Client) ->
    Client.

-spec run(bench_workload:arguments(), pos_integer(), #client{}) -> {bench_workload:result(), #client{}}.
run(_Row, Milliseconds, #client{workers = Workers} = Client) ->
    {Request, Answer} = {request(), answer()},
    Step = fun({Backend, Socket} = State) ->
               ok = bench_socket:send(Backend, Socket, Request),
               {ok, Answer} = bench_socket:recv(Backend, Socket, ?ANSWER_SIZE),
               State
           end,
    {bench_workers:run(Workers, Step, Milliseconds), Client}.

-spec shut(#client{}) -> ok.
shut(#client{workers = Workers}) ->
    bench_workers:stop(Workers).
