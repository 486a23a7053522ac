%% Every option on the driver and on gen_tcp_rs: what each call answers, what is read back, what is inherited.
%%
%% The walk (options_walk, options_walk_table) is compared cell by cell; `exceptions/0` lists what may differ,
%% each with its reason, which docs/differences.md must give in the same words. What this release's driver
%% does not know is compared with what the kernel says instead.
-module(options_SUITE).

-export([all/0, groups/0, suite/0]).
-export([walk_inet/1, walk_inet6/1, walk_local/1, a_difference_is_seen/1, reasons_are_documented/1, no_reason_is_stale/1]).
-export([newer_options_say_what_the_kernel_says/1, newer_behaviour/1, protocol/1, default_of_buffer/1]).
-export([lists_are_applied_alike/1, raw_among_named/1, packet_options/1, type_of_service_and_priority/1,
         buffer_and_recbuf/1, linger_at_close/1, line_delimiter/1, counters/1]).
-import(options_walk, [same/2, driver/0, rs/1]).

-define(DEADLINE, 15000).
-define(NEWER, [exclusiveaddruse, keepcnt, keepidle, keepintvl, read_ahead, reuseport, reuseport_lb, user_timeout]).

suite() ->
    [{timetrap, {minutes, 3}}].

all() ->
    [{group, walk}, {group, newer}, {group, together}].

groups() ->
    [{walk, [], [walk_inet, walk_inet6, walk_local, a_difference_is_seen, reasons_are_documented, no_reason_is_stale]},
     {newer, [], [newer_options_say_what_the_kernel_says, newer_behaviour, protocol, default_of_buffer]},
     {together, [], [lists_are_applied_alike, raw_among_named, packet_options, type_of_service_and_priority,
                     buffer_and_recbuf, linger_at_close, line_delimiter, counters]}].

%% `{Reason, Which cells}`: the reason as docs/differences.md gives it; the cell with both results.
-spec exceptions() -> [{string(), fun((options_walk:key(), term(), term()) -> boolean())}].
exceptions() ->
    [{"`{linger, {true, Seconds}}` is `einval` when the seconds are negative modulo 2^32.",
      fun({_, _, range, {linger, {true, Seconds}}}, Driver, _) ->
              <<Low:32/signed>> = <<Seconds:32>>,
              Low < 0 andalso element(1, Driver) =:= ok;
         (_, _, _) -> false
      end},
     {"`{active, multi}`, which the driver's Erlang code knows for itself, is `badarg`.",
      fun({_, _, type, {active, multi}}, Driver, _) -> element(1, Driver) =:= ok; (_, _, _) -> false end},
     {"`send_timeout` from 2^31 on reads back as it was set.",
      fun({_, _, edge, {send_timeout, 16#80000000}}, _, _) -> true; (_, _, _) -> false end},
     {"A map in `ifaddr` also works with `connect/3,4`.",
      fun({_, connect, _, {ifaddr, #{}}}, Driver, _) -> Driver =:= {{raised, exit, badarg}, []}; (_, _, _) -> false end},
     {"A map in `ifaddr` of which a value has the wrong type is `{error, einval}` to `listen`.",
      fun({_, listen, type, {ifaddr, #{}}}, {{raised, error, _}, []}, Rs) -> Rs =:= {{error, einval}, []}; (_, _, _) -> false end},
     {"`inet_backend` and `tcp_module` may stand anywhere in a list for `connect` and `listen`, and are ignored there.",
      fun({_, Call, edge, {inet_backend, _}}, Driver, _) -> Call =/= setopts andalso Driver =:= {{raised, exit, badarg}, []};
         (_, _, _) -> false
      end},
     {"`{tcp_module, inet6_tcp}` and its like say the family; of these and the family atoms the first counts, on every release.",
      fun({_, Call, edge, {tcp_module, _}}, _, _) -> Call =/= setopts; (_, _, _) -> false end},
     {"`{fd, String}` counts as no descriptor.",
      fun({_, _, type, {fd, "string"}}, Driver, _) -> element(1, Driver) =/= ok; (_, _, _) -> false end},
     {"`fd` can be read.",
      fun({_, getopts, _, Names}, _, _) -> lists:member(fd, Names); (_, _, _) -> false end},
     {"The options of other protocols do not exist, such as `broadcast`, which `inet` takes for TCP too.",
      fun({_, getopts, _, Names}, _, _) -> lists:member(broadcast, Names);
         ({_, Call, _, {broadcast, true}}, _, Rs) -> lists:member(Call, [setopts, accept_later]) andalso element(1, element(2, Rs)) =:= {error, einval};
         (_, _, _) -> false
      end},
     {"The size in `{raw, Level, Option, Size}` does not count modulo 2^32: above 65522 it is `einval`.",
      fun({_, getopts, _, [active, {raw, 6, 1, Size}]}, _, _) -> is_integer(Size) andalso Size > 16#ffffffff; (_, _, _) -> false end},
     {"An accepted local socket has its listener's `reuseaddr` on every release.",
      fun({local, Call, good, {reuseaddr, true}}, _, _) -> lists:member(Call, [accept, accept_later]); (_, _, _) -> false end}].

%%% The walk

walk_inet(_Config) -> walk(inet).
walk_inet6(_Config) -> walk(inet6).
walk_local(_Config) -> walk(local).

%% In every cell both backends answer the same, or the difference is a documented one.
walk(Family) ->
    Driver = options_walk:walk(inet, Family),
    Unknown = unknown_to_the_driver(),
    Found = [Difference || {Key, _, _} = Difference <- options_walk:differences(Driver, options_walk:walk(rs, Family)),
                           not is_about(Key, Unknown)],
    Wrong = [Difference || Difference <- Found, reasons(Difference) =:= []],
    [ct:pal("~0p~n    inet ~0p~n    rs   ~0p", [Key, Left, Right]) || {Key, Left, Right} <- Wrong],
    ct:comment("~w cells, ~w differ as documented, ~w otherwise", [map_size(Driver), length(Found) - length(Wrong), length(Wrong)]),
    [] = [Key || {Key, _, _} <- Wrong],
    true = map_size(Driver) > 5000,
    ok.

reasons({Key, Driver, Rs}) ->
    [Reason || {Reason, Matches} <- exceptions(), Matches(Key, Driver, Rs)].

%% A cell that differs without a reason is found, and one with a reason for another value is not excused.
a_difference_is_seen(_Config) ->
    Driver = #{{inet, setopts, good, {nodelay, true}} => ok, {inet, setopts, type, {nodelay, foo}} => {error, einval}},
    [] = options_walk:differences(Driver, Driver),
    [Difference] = options_walk:differences(Driver, Driver#{{inet, setopts, good, {nodelay, true}} := {error, einval}}),
    [] = reasons(Difference),
    [] = reasons({{inet, setopts, range, {linger, {true, 5}}}, {ok, ok}, {ok, {error, einval}}}),
    [_] = reasons({{inet, setopts, range, {linger, {true, -1}}}, {ok, ok}, {ok, {error, einval}}}).

%% docs/differences.md gives every reason in the words of this suite.
reasons_are_documented(_Config) ->
    [] = options_walk:undocumented([Reason || {Reason, _} <- exceptions()]),
    ok.

%% Every reason excuses something, on this release or on another.
no_reason_is_stale(_Config) ->
    Used = lists:usort([Reason || Family <- [inet, local],
                                  Difference <- options_walk:differences(options_walk:walk(inet, Family), options_walk:walk(rs, Family)),
                                  Reason <- reasons(Difference)]),
    ReleaseMatters = ["`{tcp_module,", "An accepted local socket"],
    [] = [Reason || {Reason, _} <- exceptions(), not lists:member(Reason, Used),
                    not lists:any(fun(Start) -> lists:prefix(Start, Reason) end, ReleaseMatters)],
    ok.

%% Options that came with a later release.
unknown_to_the_driver() ->
    Listen = options_walk:listener(driver(), []),
    Unknown = [Name || Name <- ?NEWER, inet:getopts(Listen, [Name]) =:= {error, einval}],
    ok = gen_tcp:close(Listen),
    case rs_test:attempt(fun() -> gen_tcp:listen(0, [{inet_backend, inet}, {protocol, tcp}]) end) of
        {ok, Other} -> ok = gen_tcp:close(Other), Unknown;
        {raised, exit, badarg} -> [protocol | Unknown]
    end.

is_about({_, getopts, _, Names}, Unknown) -> lists:any(fun(Name) -> lists:member(Name, Unknown) end, Names);
is_about({_, _, _, {Name, _}}, Unknown) -> lists:member(Name, Unknown);
is_about(_Key, _Unknown) -> false.

%%% Options that not every release's driver knows

%% On every release they are set, refused, inherited and read back, and what is read is the kernel's own value.
newer_options_say_what_the_kernel_says(_Config) ->
    Rows = [{keepcnt, {6, 6}, {1, 127, 9}}, {keepidle, {6, 4}, {1, 32767, 7200}}, {keepintvl, {6, 5}, {1, 32767, 75}},
            {user_timeout, {6, 18}, {0, 16#7fffffff, 0}}, {reuseport, {1, 15}, boolean}, {reuseport_lb, {1, 15}, boolean}],
    [newer_option(Family, Row) || Family <- [inet, inet6, local], Row <- Rows],
    ok.

newer_option(Family, {Name, {Level, Option}, Range}) ->
    Context = #{backend => rs, family => Family},
    {Name, _, Values} = lists:keyfind(Name, 1, options_walk_table:settable()),
    options_walk:with(Context, fun(Driver) ->
        [begin
             Answer = options_walk:call(Call, {Context, Driver}, {[{Name, Value}], [Name, {raw, Level, Option, 4}]}),
             Seen = {Family, Call, Class, {Name, Value}, Answer},
             {_, true} = {Seen, is_as_the_kernel_says(Call, Class, Answer, expected(Family, Name, Range, Value))}
         end || {Class, Value} <- Values, Call <- [listen, accept, accept_later, connect, setopts]]
    end).

%% TCP's options are not there for local sockets; their refusal is ignored, and they are not read.
expected(local, _Name, _Range, _Value) -> any;
expected(_Family, _Name, boolean, Value) -> Value;
expected(_Family, _Name, {Least, Most, Default}, Value) when is_integer(Value) ->
    case <<Value:32>> of
        <<Low:32/signed>> when Low >= Least, Low =< Most -> Low;
        _ -> Default
    end;
expected(_Family, _Name, {_, _, Default}, _BadType) -> Default.

is_as_the_kernel_says(Call, type, Answer, _Expected) ->
    case {Call, Answer} of
        {setopts, {ok, {{error, einval}, {ok, _}}, []}} -> true;
        {accept_later, {ok, {{error, einval}, {ok, _}, {ok, _}}, []}} -> true;
        {_, {{raised, exit, badarg}, []}} -> Call =/= setopts andalso Call =/= accept_later;
        _ -> false
    end;
is_as_the_kernel_says(_Call, _Class, {ok, {ok, Read}, []}, Expected) -> is_read(Read, Expected);
is_as_the_kernel_says(accept_later, _Class, {ok, {ok, {ok, Read}, {ok, Accepted}}, []}, Expected) ->
    is_read(Read, Expected) andalso is_read(Accepted, Expected);
is_as_the_kernel_says(setopts, _Class, {ok, {ok, Read}, []}, Expected) -> is_read(Read, Expected);
is_as_the_kernel_says(_Call, _Class, _Answer, _Expected) -> false.

is_read({ok, Read}, Expected) -> is_read(Read, Expected);
is_read([], any) -> true;
is_read([{_Name, Value}, {raw, _, _, <<Kernel:32/native>>}], any) -> Value =:= Kernel orelse Value =:= (Kernel =/= 0);
is_read([{_Name, Value}, {raw, _, _, <<Kernel:32/native>>}], Expected) ->
    Value =:= Expected andalso (Value =:= Kernel orelse Value =:= (Kernel =/= 0)).

%% read_ahead is kept, inherited and read back on every release, exclusiveaddruse is taken and reads false.
newer_behaviour(_Config) ->
    Context = rs(inet),
    options_walk:with(Context, fun(Driver) ->
        Call = fun(Call, Option, Name) -> options_walk:call(Call, {Context, Driver}, {[Option], [Name]}) end,
        [begin
             {ok, {ok, [{read_ahead, Value}]}, []} = Call(How, {read_ahead, Value}, read_ahead),
             {ok, {ok, [{exclusiveaddruse, false}]}, []} = Call(How, {exclusiveaddruse, Value}, exclusiveaddruse),
             {{raised, exit, badarg}, []} = Call(How, {read_ahead, 1}, read_ahead),
             {{raised, exit, badarg}, []} = Call(How, {exclusiveaddruse, foo}, exclusiveaddruse)
         end || How <- [listen, accept, connect], Value <- [true, false]],
        {ok, {ok, {ok, [{read_ahead, false}]}, {ok, [{read_ahead, false}]}}, []} = Call(accept_later, {read_ahead, false}, read_ahead),
        {ok, {ok, {ok, [{read_ahead, false}]}}, []} = Call(setopts, {read_ahead, false}, read_ahead),
        {ok, {{error, einval}, {ok, [{read_ahead, true}]}}, []} = Call(setopts, {read_ahead, foo}, read_ahead)
    end),
    ok.

%% {protocol, mptcp} opens a socket of that protocol, or is the kernel's refusal; local sockets have no choice.
protocol(_Config) ->
    IsThere = file:read_file("/proc/sys/net/mptcp/enabled") =:= {ok, <<"1\n">>},
    Protocol = fun(Socket) ->
                       {ok, [{raw, 1, 38, <<Number:32/native>>}]} = inet:getopts(Socket, [{raw, 1, 38, 4}]),
                       ok = gen_tcp:close(Socket),
                       Number
               end,
    [begin
         Context = rs(Family),
         6 = Protocol(options_walk:listener(Context, [{protocol, tcp}])),
         case gen_tcp:listen(0, rs_test:options(Context, [{protocol, mptcp}])) of
             {ok, Listen} -> {true, 262} = {IsThere, Protocol(Listen)};
             Refused -> {false, {error, eprotonosupport}} = {IsThere, Refused}
         end
     end || Family <- [inet, inet6]],
    0 = Protocol(options_walk:listener(rs(local), [{protocol, mptcp}])),
    ok.

%% A buffer that nobody set has 9216 bytes on every release.
default_of_buffer(_Config) ->
    [9216, 9216, 9216] = [options_walk:default_buffer(rs(Family)) || Family <- [inet, inet6, local]],
    ok.

%%% Options together

%% A list of several options has the same effect, and the same answer, on both.
lists_are_applied_alike(_Config) ->
    Read = [active, packet, header, mode, nodelay, keepalive, high_watermark, low_watermark, ttl, tos, priority, linger, send_timeout],
    Lists = [[{nodelay, true}, {ttl, 0}, {keepalive, true}],
             [{nodelay, true}, {nodelay, false}], [{nodelay, false}, {nodelay, true}, {keepalive, true}, {nodelay, false}],
             [{keepalive, true}, {nodelay, foo}], [{keepalive, true}, foo], [{keepalive, true}, {foo, 1}], [{packet, 4} | {nodelay, true}],
             [{high_watermark, 50}, {low_watermark, 100}], [{low_watermark, 100}, {high_watermark, 50}],
             [{active, 5}, {active, 3}], [{active, 3}, {active, -3}], [{active, once}, {active, 7}, {active, true}],
             [{active, 3}, {ttl, 256}], [{ttl, 256}, {active, 3}], [{active, 30000}, {active, 30000}], [{active, 32767}, {active, 1}],
             [list, {mode, binary}], [{mode, binary}, list], [binary, list, binary], [{header, 2}, binary, {packet, 2}],
             [{priority, 3}, {tos, 16}, {priority, 5}], [{tos, 16}, {ttl, 7}, {tos, 8}, {ttl, 9}],
             [{linger, {true, 0}}, {linger, {false, 0}}], [{send_timeout, 5}, {send_timeout, infinity}], [{high_msgq_watermark, 0}, {packet, 1}],
             [{packet, 1}, {high_msgq_watermark, 0}], [{packet, 1}, {fd, 19000}], [{packet, 1}, {ip, any}], [{packet, 1}, inet], [], foo, {nodelay, true}],
    [same(Family, fun(Context) ->
              options_walk:with(Context, fun(Driver) ->
                  [{List, [options_walk:call(Call, {Context, Driver}, {List, Read}) || Call <- calls(List)]} || List <- Lists]
              end)
          end) || Family <- [inet, inet6, local]],
    ok.

%% The helper prepends options to those of connect and listen.
calls(List) when is_list(List), length(List) >= 0 -> [setopts, connect, listen, accept, accept_later];
calls(_Other) -> [setopts].

%% Raw options take effect in their place among named ones, in both spellings, and are answered in their place.
raw_among_named(_Config) ->
    [On, Off] = [<<1:32/native>>, <<0:32/native>>],
    Nodelay = fun(Value) -> {raw, 6, 1, Value} end,
    Keepalive = fun(Value) -> {raw, {1, 9, Value}} end,
    Lists = [[Nodelay(On)], [Nodelay(On), Nodelay(Off)], [Nodelay(Off), Nodelay(On)], [Nodelay(On), {nodelay, false}], [{nodelay, false}, Nodelay(On)],
             [{nodelay, true}, Nodelay(Off), Keepalive(On), {keepalive, false}], [Keepalive(On), Nodelay(On), {raw, 0, 1, <<16:32/native>>}],
             [{priority, 4}, {raw, 0, 1, <<16:32/native>>}], [{raw, 0, 1, <<16:32/native>>}, {priority, 4}],
             [{raw, 6, 9999, On}, Nodelay(On), {raw, 6, 9999, On}]],
    Read = [keepalive, {raw, 6, 1, 4}, nodelay, {raw, {1, 9, <<7:32>>}}, {raw, 6, 9999, 4}, tos, {raw, 0, 1, 1}, priority, {raw, 6, 1, 4}],
    [same(Family, fun(Context) ->
              options_walk:with(Context, fun(Driver) ->
                  [{List, [options_walk:call(Call, {Context, Driver}, {List, Read}) || Call <- [setopts, connect, listen, accept]]} || List <- Lists]
              end)
          end) || Family <- [inet, inet6, local]],
    %% The rule itself, without the driver: the first of a list is applied last.
    {Socket, _} = rs_test:client(rs(inet), [Nodelay(On), Nodelay(Off)]),
    {ok, [{keepalive, false}, {raw, 6, 1, <<Set:32/native>>}, {nodelay, true}]} = inet:getopts(Socket, [keepalive, {raw, {6, 1, 4}}, nodelay]),
    true = Set =/= 0,
    ok.

%% pktoptions tells of the handshake what recvtos, recvttl and recvtclass ask for, when it is asked for at listen or later.
packet_options(_Config) ->
    [same(Family, fun(Context) ->
              [begin
                   Listen = options_walk:listener(Context, AtListen),
                   {Address, Port} = rs_test:address_of(Listen),
                   {ok, Peer} = gen_tcp:connect(Address, Port, rs_test:options(Context#{backend := inet}, AtConnect)),
                   Socket = rs_test:accept(Listen),
                   First = inet:getopts(Socket, [pktoptions, recvtos, recvttl, recvtclass]),
                   Later = inet:setopts(Socket, [{recvtos, true}]),
                   {AtListen, First, Later, inet:getopts(Socket, [pktoptions]), inet:getopts(Listen, [pktoptions]), gen_tcp:close(Peer)}
               end || AtListen <- [[], [{recvtos, true}], [{recvttl, true}], [{recvtos, true}, {recvttl, true}]] ++ [[{recvtclass, true}] || Family =:= inet6],
                      AtConnect <- [[], [{tos, 16}, {ttl, 77}]] ++ [[{tclass, 32}] || Family =:= inet6]]
          end) || Family <- [inet, inet6]],
    same(local, fun(Context) -> inet:getopts(options_walk:listener(Context, []), [pktoptions]) end),
    Listen = options_walk:listener(rs(inet), [{recvtos, true}, {recvttl, true}]),
    {ok, _} = rs_test:connect(driver(), Listen, [{tos, 16}, {ttl, 77}]),
    {ok, [{pktoptions, [{ttl, 77}, {tos, 16}]}]} = inet:getopts(rs_test:accept(Listen), [pktoptions]),
    ok.

%% Setting the type of service leaves the priority as it is, in any order and however it is set.
type_of_service_and_priority(_Config) ->
    [begin
         {Socket, _} = rs_test:client(rs(Family), First),
         {ok, [{tos, 16}, {priority, 3}]} = inet:getopts(Socket, [tos, priority]),
         ok = inet:setopts(Socket, [{raw, 0, 1, <<8:32/native>>}]),
         {ok, [{tos, 8}, {priority, 3}]} = inet:getopts(Socket, [tos, priority]),
         ok = inet:setopts(Socket, [{priority, 6}]),
         {ok, [{tos, 8}, {priority, 6}, {raw, 1, 12, <<6:32/native>>}]} = inet:getopts(Socket, [tos, priority, {raw, 1, 12, 4}])
     end || Family <- [inet, inet6], First <- [[{tos, 16}, {priority, 3}], [{priority, 3}, {tos, 16}]]],
    ok.

%% recbuf enlarges a buffer that was not set, to the size asked for, and never one that was set; both are inherited.
buffer_and_recbuf(_Config) ->
    Read = [buffer],
    Large = 300000,
    Lists = [[{recbuf, Large}], [{buffer, 100}, {recbuf, Large}], [{recbuf, Large}, {buffer, 100}], [{recbuf, 16384}, {recbuf, Large}],
             [{buffer, Large}, {recbuf, 16384}], [{sndbuf, Large}], [{buffer, 100}]],
    same(inet, fun(Context) ->
                  options_walk:with(Context, fun(Driver) ->
                      [{List, [options_walk:call(Call, {Context, Driver}, {List, Read}) || Call <- [setopts, connect, listen, accept, accept_later],
                                                                                          List =/= [{sndbuf, Large}]]} || List <- Lists]
                  end)
              end),
    same(inet, fun(Context) ->
                  Listen = options_walk:listener(Context, [{buffer, 100}]),
                  {ok, _} = rs_test:connect(Context#{backend := inet}, Listen, []),
                  Socket = rs_test:accept(Listen),
                  [{inet:setopts(Socket, [Option]), inet:getopts(Socket, [buffer])}
                   || Option <- [{recbuf, 50}, {recbuf, 40000}, {recbuf, 20000}, {buffer, 300}, {recbuf, 40000}]]
              end),
    ok.

%% linger {true, 0} resets at close and {false, 0} does not; an accepted socket does as its listener says.
linger_at_close(_Config) ->
    Peers = fun(Linger, Make) ->
                    {Socket, Peer} = rs_test:Make(rs(inet), [{linger, Linger}]),
                    {ok, [{linger, Linger}, {raw, 1, 13, <<On:32/native, Seconds:32/native>>}]} = inet:getopts(Socket, [linger, {raw, 1, 13, 8}]),
                    Linger = {On =/= 0, Seconds},
                    ok = inet:setopts(Peer, [{show_econnreset, true}]),
                    ok = gen_tcp:close(Socket),
                    gen_tcp:recv(Peer, 0, ?DEADLINE)
            end,
    [{error, econnreset} = Peers({true, 0}, Make) || Make <- [client, server]],
    [{error, closed} = Peers(Linger, Make) || Make <- [client, server], Linger <- [{false, 0}, {true, 3}]],
    ok.

%% line_delimiter, which nothing reads back, ends lines where connect or setopts has set it, and not where the listener has.
line_delimiter(_Config) ->
    [same(inet, fun(Context) ->
              {Socket, Peer} = rs_test:Make(Context, [{packet, line} | Options]),
              Set = case Later of
                        nothing -> nothing;
                        Delimiter -> inet:setopts(Socket, [{line_delimiter, Delimiter}])
                    end,
              ok = gen_tcp:send(Peer, "one\ntwoxthree\nx"),
              {Set, [gen_tcp:recv(Socket, 0, ?DEADLINE) || _ <- [1, 2]]}
          end) || {Make, Options} <- [{client, []}, {client, [{line_delimiter, $x}]}, {server, []}], Later <- [nothing, $x, $\n, 256 + $x]],
    same(inet, fun(Context) ->
                  Listen = options_walk:listener(Context, [{packet, line}]),
                  ok = inet:setopts(Listen, [{line_delimiter, $x}]),
                  {ok, Peer} = rs_test:connect(Context#{backend := inet}, Listen, []),
                  Socket = rs_test:accept(Listen),
                  ok = gen_tcp:send(Peer, "one\ntwox\n"),
                  [gen_tcp:recv(Socket, 0, ?DEADLINE) || _ <- [1, 2]]
              end),
    ok.

%% The ten counters count as the driver's do, in the order asked for, duplicates and all; an unknown one is einval.
counters(_Config) ->
    Compared = inet:stats(),
    10 = length(Compared),
    [same(Family, fun(Context) ->
              {Socket, Peer} = rs_test:client(Context, [{packet, 2}, {mode, binary}]),
              ok = inet:setopts(Peer, [{packet, 2}]),
              Fresh = inet:getstat(Socket),
              Sizes = [1, 1000, 10, 300, 77],
              [begin
                   ok = gen_tcp:send(Socket, binary:copy(<<"x">>, Size)),
                   {ok, _} = gen_tcp:recv(Peer, 0, ?DEADLINE),
                   ok = gen_tcp:send(Peer, binary:copy(<<"y">>, Size * 2)),
                   {ok, _} = gen_tcp:recv(Socket, 0, ?DEADLINE)
               end || Size <- Sizes],
              {Fresh, inet:getstat(Socket), inet:getstat(Socket, [send_cnt, recv_oct, send_cnt]), inet:getstat(Socket, []),
               inet:getstat(Socket, [foo]), inet:getstat(Socket, [send_cnt, foo])}
          end) || Family <- [inet, inet6, local]],
    same(inet, fun(Context) ->
                  {Socket, _Peer} = rs_test:client(Context, []),
                  Count = rs_test:fill(Socket),
                  ok = rs_test:stalled(Socket),
                  {ok, [{send_pend, Pending}, {send_oct, Sent}, {send_cnt, Number}]} = inet:getstat(Socket, [send_pend, send_oct, send_cnt]),
                  ok = inet:setopts(Socket, [{linger, {true, 0}}]),
                  {Pending > 0, Sent =:= Count, Number}
              end),
    ok.
