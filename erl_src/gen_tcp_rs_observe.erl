%% What the sockets and the library do, for people and for programs. Everything is
%% read from memory and from the kernel; no process is asked, so that a node in
%% trouble can be looked at. gen_tcp_rs:info/1, i/0,1, stats/0 and gen_tcp_rs_top show it.
-module(gen_tcp_rs_observe).

-export([rows/0, rows/1, i/1, stats/0, info/1]).
-export([sorted/2, columns/0, table/2]).

-export_type([row/0, column/0, stats/0]).

%% Bytes are those since the socket was opened; idle is in milliseconds since the
%% kernel sent or received data last, rtt in microseconds. What does not apply is
%% `undefined`.
-type row() ::
        #{socket := gen_tcp_rs:socket(),
          state := connecting | connected | listening | disconnected | draining | closed,
          owner := pid(), family := inet | inet6 | local,
          local := address() | undefined, remote := address() | undefined,
          active := boolean() | once | 1..32767, mode := list | binary, packet := 0..4 | atom(),
          recv_oct := non_neg_integer(), send_oct := non_neg_integer(),
          queued := non_neg_integer(),
          num_acceptors := non_neg_integer(), num_readers := non_neg_integer(),
          num_writers := non_neg_integer(),
          rtt := non_neg_integer() | undefined, idle := non_neg_integer() | undefined,
          backlog := non_neg_integer() | undefined}.
-type address() :: {inet:ip_address(), inet:port_number()} | {local, binary()} |
                   {unspec, binary()}.
-type column() :: owner | local | remote | state | active | mode | packet | recv_oct |
                  send_oct | queued | waiting | idle | rtt.
%% Counts since the library was loaded; docs/observing.md says what each means.
-type stats() :: #{atom() => non_neg_integer() | float() | undefined |
                             #{atom() => non_neg_integer()}}.

%%% Reading

%% Every open socket. One that closes meanwhile is left out.
-spec rows() -> [row()].
rows() ->
    rows(gen_tcp_rs:which_sockets()).

-spec rows([gen_tcp_rs:socket()]) -> [row()].
rows(Sockets) ->
    [Row || Socket <- Sockets, #{state := State} = Row <- [row(Socket)], State =/= closed].

-spec row(gen_tcp_rs:socket()) -> row().
row({'$inet', gen_tcp_rs, Handle} = Socket) ->
    (gen_tcp_rs_nif:snapshot(Handle))#{socket => Socket}.

%% The keys of both of OTP's backends, as far as there is something to say, and the
%% addresses, mode, packet, idle time and rtt.
-spec info(gen_tcp_rs:socket()) -> map().
info({'$inet', gen_tcp_rs, Handle} = Socket) ->
    #{state := State, num_acceptors := Acceptors, num_readers := Readers,
      num_writers := Writers, family := Family} = Info = gen_tcp_rs_nif:info(Handle),
    Busy = [accepting || Acceptors > 0] ++ [reading || Readers > 0],
    case State of
        closed ->
            #{states => [closed], rstates => [closed], wstates => [closed]};
        _ ->
            States = states(State),
            Known = maps:with([owner, active, counters, num_acceptors, num_readers, num_writers],
                              Info),
            maps:merge(
              maps:merge(Known, details(Socket)),
              #{states => States ++ Busy,
                rstates => rstates(State) ++ Busy,
                wstates => wstates(State) ++ [writing || Writers > 0],
                domain => Family, type => stream, protocol => protocol(Family),
                output => maps:get(num_queued, Info)})
    end.

-spec states(atom()) -> [atom()].
states(connecting) -> [connecting, open];
states(connected) -> [connected, open];
states(listening) -> [listen, open];
states(disconnected) -> [].

-spec rstates(atom()) -> [atom()].
rstates(listening) -> [bound, listening];
rstates(connected) -> [connected];
rstates(connecting) -> [connecting];
rstates(disconnected) -> [closed].

-spec wstates(atom()) -> [atom()].
wstates(listening) -> [];
wstates(State) -> rstates(State).

-spec protocol(inet | inet6 | local) -> ip | tcp.
protocol(local) -> ip;
protocol(_Family) -> tcp.

%% What info/1 has beyond OTP's keys.
-spec details(gen_tcp_rs:socket()) -> map().
details(Socket) ->
    Row = maps:with([local, remote, mode, packet, idle, rtt, backlog], row(Socket)),
    maps:filter(fun(_Key, Value) -> Value =/= undefined end, Row).

-spec stats() -> stats().
stats() ->
    #{reads := Reads, read_bytes := Bytes} = Totals = gen_tcp_rs_nif:totals(),
    Mean = case Reads of
               0 -> 0.0;
               _ -> Bytes / Reads
           end,
    Totals#{bytes_per_read => Mean}.

%%% The table

-spec i(column()) -> ok.
i(Column) ->
    Lines = table(Column, sorted(Column, rows())),
    lists:foreach(fun(Line) -> io:put_chars([Line, $\n]) end, Lines).

%% The lines of a table, the first one the heading.
-spec table(column(), [row()]) -> [iolist()].
table(Column, Rows) ->
    Lines = [heading(Column) | [cells(Row) || Row <- Rows]],
    Widths = widths(Lines),
    [line(Line, Widths) || Line <- Lines].

-spec columns() -> [column()].
columns() ->
    [owner, local, remote, state, active, mode, packet, recv_oct, send_oct, queued, waiting,
     idle, rtt].

%% The greatest numbers first, the least idle first, all else in the order of terms.
-spec sorted(column(), [row()]) -> [row()].
sorted(Column, Rows) ->
    Keyed = lists:keysort(1, [{key(Column, Row), Row} || Row <- Rows]),
    [Row || {_Key, Row} <- Keyed].

-spec key(column(), row()) -> term().
key(Column, Row) when Column =:= recv_oct; Column =:= send_oct; Column =:= queued ->
    -maps:get(Column, Row);
key(waiting, Row) ->
    -waiting(Row);
key(rtt, #{rtt := Rtt}) when is_integer(Rtt) ->
    -Rtt;
key(rtt, _Row) ->
    1;
key(Column, Row) ->
    maps:get(Column, Row).

-spec waiting(row()) -> non_neg_integer().
waiting(#{num_acceptors := Acceptors, num_readers := Readers, num_writers := Writers}) ->
    Acceptors + Readers + Writers.

%% The sorting column is marked.
-spec heading(column()) -> [string()].
heading(Marked) ->
    [case Column of
         Marked -> title(Column) ++ "*";
         _Other -> title(Column)
     end || Column <- columns()].

-spec title(column()) -> string().
title(owner) -> "Owner";
title(local) -> "Local";
title(remote) -> "Remote";
title(state) -> "State";
title(active) -> "Active";
title(mode) -> "Mode";
title(packet) -> "Packet";
title(recv_oct) -> "In";
title(send_oct) -> "Out";
title(queued) -> "Queued";
title(waiting) -> "Waiting";
title(idle) -> "Idle";
title(rtt) -> "Rtt".

-spec cells(row()) -> [string()].
cells(Row) ->
    [cell(Column, Row) || Column <- columns()].

-spec cell(column(), row()) -> string().
cell(owner, #{owner := Owner}) -> pid_to_list(Owner);
cell(active, #{paused := true}) -> "paused";
cell(waiting, #{num_acceptors := Acceptors, num_readers := Readers, num_writers := Writers}) ->
    Counts = [integer_to_list(Count) ++ Letter
              || {Count, Letter} <- [{Acceptors, "a"}, {Readers, "r"}, {Writers, "w"}], Count > 0],
    lists:append(Counts);
cell(idle, #{idle := Idle}) when is_integer(Idle) -> duration(Idle);
cell(rtt, #{rtt := Rtt}) when is_integer(Rtt) -> io_lib:format("~wus", [Rtt]);
%% What a listener has instead: connections that wait for an accept.
cell(queued, #{state := listening, backlog := Backlog}) when is_integer(Backlog), Backlog > 0 ->
    io_lib:format("~w conn", [Backlog]);
cell(Column, Row) ->
    case maps:get(Column, Row) of
        undefined -> "";
        Address when Column =:= local; Column =:= remote -> address(Address);
        Number when is_integer(Number) -> integer_to_list(Number);
        Atom -> atom_to_list(Atom)
    end.

-spec duration(non_neg_integer()) -> string().
duration(Milliseconds) when Milliseconds < 10000 -> io_lib:format("~wms", [Milliseconds]);
duration(Milliseconds) when Milliseconds < 600000 ->
    io_lib:format("~ws", [Milliseconds div 1000]);
duration(Milliseconds) -> io_lib:format("~wmin", [Milliseconds div 60000]).

-spec address(address()) -> string().
address({local, <<>>}) -> "local";
%% A name in the abstract namespace begins with a zero.
address({local, <<0, Name/binary>>}) -> io_lib:format("@~ts", [printable(Name)]);
address({local, Name}) -> printable(Name);
address({unspec, _}) -> "";
address({IP, Port}) when tuple_size(IP) =:= 4 ->
    io_lib:format("~s:~w", [inet:ntoa(IP), Port]);
address({IP, Port}) ->
    io_lib:format("[~s]:~w", [inet:ntoa(IP), Port]).

%% A path may hold anything, also what steers a terminal.
-spec printable(binary()) -> string().
printable(Name) ->
    [case Byte of
         _ when Byte >= 32, Byte < 127 -> Byte;
         _ -> $?
     end || <<Byte>> <= Name].

-spec widths([[string()]]) -> [non_neg_integer()].
widths([First | _] = Lines) ->
    lists:foldl(fun(Line, Widths) -> lists:zipwith(fun widest/2, Line, Widths) end,
                [0 || _ <- First], Lines).

-spec widest(string(), non_neg_integer()) -> non_neg_integer().
widest(Cell, Width) -> max(string:length(Cell), Width).

-spec line([string()], [non_neg_integer()]) -> iolist().
line(Cells, Widths) ->
    Padded = lists:zipwith(fun(Cell, Width) -> string:pad(Cell, Width) end, Cells, Widths),
    string:trim(lists:flatten(lists:join($\s, Padded)), trailing).
