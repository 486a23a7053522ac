%% A live view of the sockets in the terminal: gen_tcp_rs_top:start() in a shell of the
%% node, also a remote one (erl -remsh).
%%
%% Once a second the busiest sockets by one column, and what the library did
%% meanwhile. In and Out are bytes a second. A letter and Enter choose the column,
%% q and Enter end.
-module(gen_tcp_rs_top).

-export([start/0, start/1]).

-define(INTERVAL, 1000).
-define(KEYS, [{"i", recv_oct}, {"o", send_oct}, {"u", queued}, {"w", waiting}, {"d", idle},
               {"t", rtt}, {"p", owner}, {"l", local}, {"r", remote}, {"s", state}]).

-record(look, {rows :: #{gen_tcp_rs:socket() => gen_tcp_rs_observe:row()},
               stats :: gen_tcp_rs_observe:stats(),
               time :: integer()}).

-spec start() -> ok.
start() -> start(recv_oct).

-spec start(gen_tcp_rs_observe:column()) -> ok.
start(Column) ->
    true = lists:member(Column, gen_tcp_rs_observe:columns()),
    Viewer = self(),
    Reader = spawn_link(fun() -> read(Viewer) end),
    loop(Reader, Column, look()).

-spec loop(pid(), gen_tcp_rs_observe:column(), #look{}) -> ok.
loop(Reader, Column, Before) ->
    receive
        {Reader, quit} -> ok;
        {Reader, {sort, Chosen}} -> loop(Reader, Chosen, Before)
    after ?INTERVAL ->
            Now = look(),
            io:put_chars(screen(Column, Before, Now)),
            loop(Reader, Column, Now)
    end.

%% Lines, because a terminal gives no more without its modes being changed.
-spec read(pid()) -> ok.
read(Viewer) ->
    case io:get_line("") of
        Line when is_list(Line) ->
            case {string:trim(Line), lists:keyfind(string:trim(Line), 1, ?KEYS)} of
                {"q", _} -> tell(Viewer, quit);
                {_, {_Key, Column}} -> tell(Viewer, {sort, Column}), read(Viewer);
                {_, false} -> read(Viewer)
            end;
        _EndOfInput ->
            tell(Viewer, quit)
    end.

-spec tell(pid(), quit | {sort, gen_tcp_rs_observe:column()}) -> ok.
tell(Viewer, What) ->
    Viewer ! {self(), What},
    ok.

-spec look() -> #look{}.
look() ->
    Rows = maps:from_list([{Socket, Row} || #{socket := Socket} = Row <- gen_tcp_rs_observe:rows()]),
    #look{rows = Rows, stats = gen_tcp_rs:stats(), time = erlang:monotonic_time(microsecond)}.

%%% One screen

-spec screen(gen_tcp_rs_observe:column(), #look{}, #look{}) -> iolist().
screen(Column, #look{time = Then} = Before, #look{time = Time} = Now) ->
    Seconds = max(1, Time - Then) / 1000000,
    Head = totals(Before#look.stats, Now#look.stats, Seconds),
    Room = max(1, size_of(fun io:rows/0, 24) - length(Head) - 3),
    Rows = [rate(Socket, Row, Before#look.rows, Seconds) || {Socket, Row} <- maps:to_list(Now#look.rows)],
    Shown = lists:sublist(gen_tcp_rs_observe:sorted(Column, Rows), Room),
    Table = gen_tcp_rs_observe:table(Column, Shown),
    Width = size_of(fun io:columns/0, 80),
    Keys = lists:join(" ", [[Key, $=, name(Name)] || {Key, Name} <- ?KEYS]),
    Lines = Head ++ [["sort, with Enter: ", Keys, " q=quit"]] ++ Table,
    ["\e[H\e[J" | [[string:slice(Line, 0, Width - 1), "\e[K\n"] || Line <- Lines]].

-spec name(gen_tcp_rs_observe:column()) -> string().
name(recv_oct) -> "in";
name(send_oct) -> "out";
name(Column) -> atom_to_list(Column).

%% Where the output is no terminal it has no size.
-spec size_of(fun(() -> {ok, pos_integer()} | {error, term()}), pos_integer()) -> pos_integer().
size_of(Ask, Otherwise) ->
    case Ask() of
        {ok, Size} -> Size;
        {error, _} -> Otherwise
    end.

-spec rate(gen_tcp_rs:socket(), gen_tcp_rs_observe:row(), map(), float()) ->
          gen_tcp_rs_observe:row().
rate(Socket, #{recv_oct := In, send_oct := Out} = Row, Before, Seconds) ->
    {InBefore, OutBefore} = case Before of
                                #{Socket := #{recv_oct := I, send_oct := O}} -> {I, O};
                                #{} -> {0, 0}
                            end,
    Row#{recv_oct := round((In - InBefore) / Seconds),
         send_oct := round((Out - OutBefore) / Seconds)}.

-spec totals(gen_tcp_rs_observe:stats(), gen_tcp_rs_observe:stats(), float()) -> [iolist()].
totals(Before, Now, Seconds) ->
    #{sockets := Sockets, queued := Queued, pollers := Pollers} = Now,
    Grown = fun(Name) -> maps:get(Name, Now) - maps:get(Name, Before) end,
    Rate = fun(Name) -> round(Grown(Name) / Seconds) end,
    Mean = Grown(read_bytes) div max(1, Grown(reads)),
    States = lists:join(", ", [io_lib:format("~w ~w", [Count, State])
                               || {State, Count} <- maps:to_list(Sockets), Count > 0]),
    [io_lib:format("gen_tcp_rs on ~w: ~ts; ~w bytes queued", [node(), States, Queued]),
     io_lib:format("a second: ~w reads of ~w bytes, ~w sends direct, ~w coalesced, ~w queued, ~w refused",
                   [Rate(reads), Mean, Rate(sends_direct), Rate(sends_coalesced),
                    Rate(sends_queued), Rate(sends_refused)]),
     io_lib:format("          ~w wake-ups of ~w pollers, ~w events, spins ~w hit, ~w missed, ~w opened",
                   [Rate(wakeups), Pollers, Rate(events), Rate(spins_hit), Rate(spins_missed),
                    Rate(opened)])].
