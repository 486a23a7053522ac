%% A short life of sockets, for valgrind to look at: each call of the library a few times,
%% then the application is stopped.
-module(memcheck_run).

-export([main/0]).

-define(TIMES, 5).

-spec main() -> no_return().
main() ->
    {ok, _} = application:ensure_all_started(gen_tcp_rs),
    lists:foreach(fun round/1, lists:seq(1, ?TIMES)),
    ok = application:stop(gen_tcp_rs),
    io:format("done~n"),
    halt(0).

round(Number) ->
    {ok, Listener} = gen_tcp_rs:listen(0, [binary, {active, false}, {packet, 4}, {backlog, 5}]),
    {ok, Port} = inet:port(Listener),
    {Client, Server} = pair(Listener, Port),
    echo(Client, Server, binary:copy(<<Number>>, 10)),
    echo(Client, Server, binary:copy(<<Number>>, 300000)),
    options(Client),
    active(Client, Server),
    http(Client, Server),
    killed(Listener, Port),
    ok = gen_tcp:shutdown(Client, write),
    {error, closed} = gen_tcp:recv(Server, 0),
    {error, timeout} = gen_tcp:accept(Listener, 10),
    {error, econnrefused} = gen_tcp_rs:connect({127, 0, 0, 1}, 1, []),
    lists:foreach(fun gen_tcp:close/1, [Client, Server, Listener]).

pair(Listener, Port) ->
    {ok, Client} = gen_tcp_rs:connect({127, 0, 0, 1}, Port, [binary, {active, false}, {packet, 4}]),
    {ok, Server} = gen_tcp:accept(Listener),
    {Client, Server}.

echo(Client, Server, Data) ->
    Self = self(),
    Receiver = spawn_link(fun() -> Self ! {self(), gen_tcp:recv(Server, 0)} end),
    ok = gen_tcp:send(Client, [Data, "tail"]),
    Expected = <<Data/binary, "tail">>,
    receive {Receiver, {ok, Expected}} -> ok end.

options(Socket) ->
    ok = inet:setopts(Socket, [{nodelay, true}, {recbuf, 20000}, {raw, 6, 1, <<1:32/native>>}]),
    {ok, [_, _, _, _]} = inet:getopts(Socket, [nodelay, recbuf, active, {raw, 6, 1, 4}]),
    {ok, _} = inet:sockname(Socket),
    {ok, _} = inet:peername(Socket),
    {ok, _} = inet:getstat(Socket),
    #{} = inet:info(Socket),
    ok.

active(Client, Server) ->
    ok = inet:setopts(Server, [{active, once}]),
    ok = gen_tcp:send(Client, "once"),
    receive {tcp, Server, <<"once">>} -> ok end,
    {error, timeout} = gen_tcp:recv(Client, 0, 10).

http(Client, Server) ->
    ok = inet:setopts(Client, [{packet, raw}]),
    ok = inet:setopts(Server, [{packet, http_bin}]),
    ok = gen_tcp:send(Client, "GET / HTTP/1.1\r\nHost: here\r\n\r\n"),
    {ok, {http_request, 'GET', _, _}} = gen_tcp:recv(Server, 0),
    {ok, {http_header, _, 'Host', _, <<"here">>}} = gen_tcp:recv(Server, 0),
    {ok, http_eoh} = gen_tcp:recv(Server, 0).

%% Owners that are killed, one while it waits.
killed(Listener, Port) ->
    Owner = spawn(fun() ->
                          {ok, Socket} = gen_tcp_rs:connect({127, 0, 0, 1}, Port, [{active, false}]),
                          gen_tcp:recv(Socket, 0)
                  end),
    {ok, Server} = gen_tcp:accept(Listener),
    Monitor = inet:monitor(Server),
    exit(Owner, kill),
    {error, closed} = gen_tcp:recv(Server, 0),
    ok = gen_tcp:close(Server),
    receive {'DOWN', Monitor, _, _, _} -> ok end.
