%% Observations on misuse: every call in every state it does not belong to, and bad arguments.
-module(diff_errors).

-export([observations/0, calls/0]).

-import(rs_test, [client/2, server/2, listen/2, reset/1, fin_arrived/1, reset_arrived/1, barrier/1, attempt/1, async/1,
                  await/1]).

-spec observations() -> [{string(), fun((rs_test:context()) -> term())}].
observations() ->
    [{State ++ ": " ++ Name,
      fun(C) ->
              Socket = Make(C),
              First = Call(Socket),
              %% What the call set off has happened before the second one.
              ok = barrier(C),
              {First, Call(Socket)}
      end}
     || {State, Make} <- states(), {Name, Call} <- calls()]
    ++ [{"bad argument: " ++ Name, fun(C) -> {Socket, _} = client(C, []), attempt(fun() -> Call(Socket) end) end}
        || {Name, Call} <- bad_arguments()]
    ++ [{"bad argument, closed: " ++ Name,
         fun(C) ->
                 {Socket, _} = client(C, []),
                 ok = gen_tcp:close(Socket),
                 attempt(fun() -> Call(Socket) end)
         end}
        || {Name, Call} <- bad_arguments()]
    ++ [{"not a socket: " ++ Name,
         fun(_) ->
                 [attempt(fun() -> Call(Term) end) || Term <- [foo, 1, make_ref(), self()]]
         end}
        || {Name, Call} <- [{"close", fun gen_tcp:close/1}, {"recv", fun(S) -> gen_tcp:recv(S, 0) end},
                            {"send", fun(S) -> gen_tcp:send(S, "x") end}, {"accept", fun gen_tcp:accept/1},
                            {"controlling_process", fun(S) -> gen_tcp:controlling_process(S, self()) end}]]
    ++ sequences().

%% One call each; every result is a plain term.
-spec calls() -> [{string(), fun((inet:socket()) -> term())}].
calls() ->
    [{"send", fun(S) -> gen_tcp:send(S, "x") end},
     {"send nothing", fun(S) -> gen_tcp:send(S, "") end},
     {"recv", fun(S) -> gen_tcp:recv(S, 0, 1000) end},
     {"recv 1", fun(S) -> gen_tcp:recv(S, 1, 1000) end},
     {"unrecv", fun(S) -> gen_tcp:unrecv(S, "x") end},
     {"accept", fun(S) -> accepted(gen_tcp:accept(S, 0)) end},
     {"shutdown read", fun(S) -> gen_tcp:shutdown(S, read) end},
     {"shutdown write", fun(S) -> gen_tcp:shutdown(S, write) end},
     {"shutdown both", fun(S) -> gen_tcp:shutdown(S, read_write) end},
     {"close", fun(S) -> gen_tcp:close(S) end},
     {"inet close", fun(S) -> inet:close(S) end},
     {"controlling_process, self", fun(S) -> gen_tcp:controlling_process(S, self()) end},
     {"controlling_process, dead", fun(S) -> gen_tcp:controlling_process(S, dead()) end},
     {"setopts nothing", fun(S) -> inet:setopts(S, []) end},
     {"setopts packet", fun(S) -> inet:setopts(S, [{packet, 4}]) end},
     {"setopts nodelay", fun(S) -> inet:setopts(S, [{nodelay, true}]) end},
     {"setopts active", fun(S) -> inet:setopts(S, [{active, once}]) end},
     {"setopts passive", fun(S) -> inet:setopts(S, [{active, false}]) end},
     {"setopts unknown", fun(S) -> inet:setopts(S, [{nonsense, 1}]) end},
     {"getopts nothing", fun(S) -> inet:getopts(S, []) end},
     {"getopts", fun(S) -> inet:getopts(S, [active, packet, mode, nodelay, keepalive, linger, send_timeout]) end},
     {"getopts unknown", fun(S) -> inet:getopts(S, [nonsense]) end},
     {"getstat", fun(S) -> inet:getstat(S, [recv_cnt, recv_oct, send_pend]) end},
     {"getstat unknown", fun(S) -> inet:getstat(S, [nonsense]) end},
     {"sockname", fun(S) -> inet:sockname(S) end},
     {"peername", fun(S) -> inet:peername(S) end},
     {"port", fun(S) -> known(inet:port(S)) end},
     {"monitor", fun(S) -> monitored(S) end}].

accepted({ok, Socket}) -> ok = gen_tcp:close(Socket), accepted;
accepted(Other) -> Other.

known({ok, Port}) when is_integer(Port), Port > 0 -> a_port;
known(Other) -> Other.

%% Whether a monitor fires at once; one that does not is taken back.
monitored(Socket) ->
    Reference = inet:monitor(Socket),
    receive
        {'DOWN', Reference, Type, Socket, Reason} -> {Type, Reason}
    after 0 ->
            {still_there, inet:cancel_monitor(Reference), inet:cancel_monitor(Reference)}
    end.

dead() ->
    {Pid, Monitor} = spawn_monitor(fun() -> ok end),
    receive {'DOWN', Monitor, process, Pid, _} -> Pid end.

states() ->
    [{"closed", fun(C) -> {Socket, _} = client(C, []), ok = gen_tcp:close(Socket), Socket end},
     {"closed listener", fun(C) -> Socket = listen(C, []), ok = gen_tcp:close(Socket), Socket end},
     {"listening", fun(C) -> listen(C, []) end},
     {"active", fun(C) -> {Socket, _} = kept(client(C, [{active, true}])), Socket end},
     {"owner gone",
      fun(C) ->
              Parent = self(),
              Owner = async(fun() ->
                                    {Socket, _} = client(C, []),
                                    Parent ! {rs_test, made, Socket},
                                    Socket
                            end),
              Socket = receive {rs_test, made, Made} -> Made end,
              _ = await(Owner),
              ok = rs_test:kill(Owner),
              rs_test:poll(fun() -> inet:sockname(Socket) =:= {error, einval} end),
              Socket
      end},
     {"FIN seen by recv",
      fun(C) ->
              {Socket, Peer} = kept(client(C, [])),
              ok = gen_tcp:shutdown(Peer, write),
              {error, closed} = gen_tcp:recv(Socket, 0),
              Socket
      end},
     {"FIN seen by recv, exit_on_close false",
      fun(C) ->
              {Socket, Peer} = kept(client(C, [{exit_on_close, false}])),
              ok = gen_tcp:shutdown(Peer, write),
              {error, closed} = gen_tcp:recv(Socket, 0),
              Socket
      end},
     {"reset seen by recv",
      fun(C) ->
              {Socket, Peer} = client(C, []),
              ok = reset(Peer),
              {error, closed} = gen_tcp:recv(Socket, 0),
              Socket
      end},
     {"reset shown to recv",
      fun(C) ->
              {Socket, Peer} = client(C, [{show_econnreset, true}]),
              ok = reset(Peer),
              {error, econnreset} = gen_tcp:recv(Socket, 0),
              Socket
      end},
     {"reset seen by send",
      fun(C) ->
              {Socket, Peer} = client(C, []),
              ok = reset(Peer),
              ok = reset_arrived(Socket),
              {error, closed} = gen_tcp:send(Socket, "x"),
              Socket
      end},
     {"reset shown to send",
      fun(C) ->
              {Socket, Peer} = client(C, [{show_econnreset, true}]),
              ok = reset(Peer),
              ok = reset_arrived(Socket),
              {error, econnreset} = gen_tcp:send(Socket, "x"),
              Socket
      end},
     {"FIN not yet seen",
      fun(C) ->
              {Socket, Peer} = kept(client(C, [])),
              ok = gen_tcp:shutdown(Peer, write),
              ok = fin_arrived(Socket),
              Socket
      end},
     {"reset not yet seen",
      fun(C) ->
              {Socket, Peer} = client(C, []),
              ok = reset(Peer),
              ok = reset_arrived(Socket),
              Socket
      end},
     {"bad frame seen by recv",
      fun(C) ->
              {Socket, Peer} = kept(client(C, [{packet, 4}])),
              ok = gen_tcp:send(Peer, <<16#ffffffff:32>>),
              {error, emsgsize} = gen_tcp:recv(Socket, 0),
              Socket
      end},
     {"bad frame seen by recv, exit_on_close false",
      fun(C) ->
              {Socket, Peer} = kept(client(C, [{packet, 4}, {exit_on_close, false}])),
              ok = gen_tcp:send(Peer, <<16#ffffffff:32, 1:32, "a", 1:32, "b">>),
              {error, emsgsize} = gen_tcp:recv(Socket, 0),
              ok = gen_tcp:send(Peer, <<1:32, "c", 1:32, "d">>),
              Socket
      end}].

%% The peer lives as long as the process: it owns it.
kept(Sockets) -> Sockets.

bad_arguments() ->
    [{"send atom", fun(S) -> gen_tcp:send(S, foo) end},
     {"send list with 256", fun(S) -> gen_tcp:send(S, [256]) end},
     {"send list with an atom", fun(S) -> gen_tcp:send(S, ["ok", foo]) end},
     {"send bits", fun(S) -> gen_tcp:send(S, <<1:3>>) end},
     {"send improper list", fun(S) -> gen_tcp:send(S, [1 | 2]) end},
     {"send improper list that is iodata", fun(S) -> gen_tcp:send(S, ["ab" | <<"cd">>]) end},
     {"send number", fun(S) -> gen_tcp:send(S, 1) end},
     {"recv negative length", fun(S) -> gen_tcp:recv(S, -1, 0) end},
     {"recv atom length", fun(S) -> gen_tcp:recv(S, foo, 0) end},
     {"recv too long", fun(S) -> gen_tcp:recv(S, 16#4000001, 0) end},
     {"recv longest", fun(S) -> gen_tcp:recv(S, 16#4000000, 0) end},
     {"recv atom timeout", fun(S) -> gen_tcp:recv(S, 0, foo) end},
     {"recv float timeout", fun(S) -> gen_tcp:recv(S, 0, 1.0) end},
     {"accept atom timeout", fun(S) -> gen_tcp:accept(S, foo) end},
     {"accept on connected", fun(S) -> gen_tcp:accept(S, 0) end},
     {"shutdown how", fun(S) -> gen_tcp:shutdown(S, foo) end},
     {"controlling_process to an atom", fun(S) -> gen_tcp:controlling_process(S, foo) end},
     {"controlling_process to a dead process", fun(S) -> gen_tcp:controlling_process(S, dead()) end},
     {"setopts no list", fun(S) -> inet:setopts(S, foo) end},
     {"setopts improper list", fun(S) -> inet:setopts(S, [{packet, 0} | foo]) end},
     {"setopts not an option", fun(S) -> inet:setopts(S, [foo]) end},
     {"getopts no list", fun(S) -> inet:getopts(S, foo) end},
     {"getopts a pair", fun(S) -> inet:getopts(S, [{active, true}]) end},
     {"getstat no list", fun(S) -> inet:getstat(S, foo) end},
     {"getstat unknown", fun(S) -> inet:getstat(S, [recv_oct, nonsense]) end},
     {"getstat twice the same", fun(S) -> inet:getstat(S, [send_cnt, recv_cnt, send_cnt]) end},
     {"unrecv atom", fun(S) -> gen_tcp:unrecv(S, foo) end},
     {"getstat improper list", fun(S) -> inet:getstat(S, [recv_cnt | recv_oct]) end},
     {"getstat of no atoms", fun(S) -> [inet:getstat(S, [Name]) || Name <- [1, "recv_cnt", <<"recv_cnt">>]] end},
     {"getopts improper list", fun(S) -> inet:getopts(S, [packet | mode]) end},
     {"sendfile from a negative place", fun(S) -> sent_from(S, -1) end},
     {"cancel_monitor of a foreign reference", fun(_) -> inet:cancel_monitor(make_ref()) end},
     {"cancel_monitor of no reference", fun(_) -> inet:cancel_monitor(foo) end}].

sent_from(Socket, Offset) ->
    {ok, File} = file:open("/etc/hostname", [read, raw, binary]),
    Sent = file:sendfile(File, Socket, Offset, 1, []),
    ok = file:close(File),
    Sent.

sequences() ->
    [{"closing twice", fun(C) -> {Socket, _} = client(C, []), {gen_tcp:close(Socket), gen_tcp:close(Socket)} end},
     {"recv on an active socket, every mode",
      fun(C) ->
              {Socket, _} = client(C, []),
              [begin ok = inet:setopts(Socket, [{active, Mode}]), {Mode, gen_tcp:recv(Socket, 0, 0)} end
               || Mode <- [true, once, 5]]
      end},
     {"recv of a length in packet mode",
      fun(C) ->
              {Socket, _} = client(C, [{packet, 2}]),
              [gen_tcp:recv(Socket, Length, 0) || Length <- [0, 1, 100]]
      end},
     {"refused options leave the socket as it was",
      fun(C) ->
              {Socket, Peer} = client(C, [{packet, 2}]),
              Set = inet:setopts(Socket, [{packet, 4}, {active, foo}]),
              ok = gen_tcp:send(Peer, <<1:16, "a">>),
              {Set, inet:getopts(Socket, [packet, active]), gen_tcp:recv(Socket, 0)}
      end},
     {"send of non-iodata sends nothing",
      fun(C) ->
              {Socket, Peer} = server(C, []),
              Results = [gen_tcp:send(Socket, Bad) || Bad <- [foo, ["a", 256], 1, {}]],
              ok = gen_tcp:send(Socket, "good"),
              ok = gen_tcp:close(Socket),
              {Results, rs_test:read_all(Peer)}
      end}].
