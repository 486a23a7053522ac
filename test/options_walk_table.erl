%% What the walk over the options tries: every option that a call may be given, each with values of four
%% classes: `good`, `edge` (the limits, and what is taken but becomes something else), `range` (the right
%% type, out of range) and `type` (the wrong type).
-module(options_walk_table).

-export([settable/0, opening/1, terms/0, readable/0]).

-export_type([class/0]).

-type class() :: good | edge | range | type.

-define(NUMBERS, [0, 1, 2, -1, -2, 16#7fffffff, 16#80000000, 16#ffffffff, 16#100000000, 16#100000005, -16#80000000,
                  -16#80000001, 1 bsl 63, 1 bsl 64, (1 bsl 64) + 7, -(1 bsl 64)]).

%% `{Name, What to read back, Values}`: options that an open socket takes too.
-spec settable() -> [{atom(), [term()], [{class(), term()}]}].
settable() ->
    behaviour() ++ kernel() ++ raw().

behaviour() ->
    [{active, [active], good([true, false, once, 1, 5, 32767]) ++ edge([0, -1, -32768])
      ++ range([32768, -32769, 16#100000000, 1 bsl 64]) ++ type([yes, multi, 1.0, "once", <<"once">>, [], {}, {active, once}, undefined])},
     {buffer, [buffer, recbuf], good([100, 1400, 65536]) ++ numbers()},
     %% `{debug, true}` makes the driver print.
     {debug, [debug], [{good, false} | type(bad_booleans())]},
     {delay_send, [delay_send], booleans()},
     {deliver, [deliver], good([port, term]) ++ type([foo, 1, true, "term", <<"port">>, []])},
     {exclusiveaddruse, [exclusiveaddruse], booleans()},
     {exit_on_close, [exit_on_close], booleans()},
     {header, [header], good([3]) ++ unsigned()},
     {high_msgq_watermark, [high_msgq_watermark, low_msgq_watermark], good([100, 20000]) ++ numbers()},
     {low_msgq_watermark, [high_msgq_watermark, low_msgq_watermark], good([100, 20000]) ++ numbers()},
     {high_watermark, [high_watermark, low_watermark], good([100, 20000]) ++ numbers()},
     {low_watermark, [high_watermark, low_watermark], good([100, 20000]) ++ numbers()},
     {line_delimiter, [], good([$\n, $x]) ++ numbers()},
     {mode, [mode], good([list, binary]) ++ type([foo, 0, "list", <<"binary">>, [], true])},
     {packet, [packet], good([0, 1, 2, 4, raw, sunrm, asn1, cdr, fcgi, line, tpkt, http, httph, http_bin, httph_bin])
      ++ edge([ssl, ssl_tls]) ++ range([3, 8, -1, 5, 16#100000001]) ++ type([foo, "raw", <<"4">>, 1.0, [], {}, {packet, 1}])},
     {packet_size, [packet_size], good([100]) ++ unsigned()},
     {read_ahead, [read_ahead], booleans()},
     {send_timeout, [send_timeout], good([infinity, 100]) ++ unsigned() -- [{type, infinity}]},
     {send_timeout_close, [send_timeout_close], booleans()},
     {show_econnreset, [show_econnreset], booleans()}].

kernel() ->
    [{bind_to_device, [bind_to_device], good([<<"lo">>]) ++ edge([<<>>, <<"lo", 0>>])
      ++ range([<<"nosuch">>, <<"fifteen-letters">>, <<"sixteen--letters">>, binary:copy(<<"x">>, 17), binary:copy(<<"x">>, 300)])
      ++ type(["lo", lo, 1, [], <<1:1>>, {<<"lo">>}])},
     {broadcast, [], [{good, true}]},
     {dontroute, [dontroute], booleans()},
     {ipv6_v6only, [ipv6_v6only], booleans()},
     {keepalive, [keepalive], booleans()},
     {keepcnt, [keepcnt], good([5]) ++ edge([127]) ++ range([128]) ++ numbers()},
     {keepidle, [keepidle], good([60]) ++ edge([32767]) ++ range([32768]) ++ numbers()},
     {keepintvl, [keepintvl], good([60]) ++ edge([32767]) ++ range([32768]) ++ numbers()},
     {linger, [linger], good([{true, 5}, {true, 0}, {false, 0}]) ++ edge([{false, 7}, {false, -1}, {true, 65536}])
      ++ range([{true, Seconds} || Seconds <- [-1, 16#7fffffff, 16#80000000, 16#ffffffff, 16#100000003, -(1 bsl 64)]])
      ++ type([{true}, true, 5, {1, 2}, {true, foo}, {true, 1.0}, {true, 1, 2}, [true, 1], {5, true}, infinity])},
     {nodelay, [nodelay], booleans()},
     {nopush, [nopush], booleans()},
     {pktoptions, [pktoptions], type([[], [{tos, 1}], 1])},
     {priority, [priority, tos], good([3, 6]) ++ range([7, 100]) ++ numbers()},
     {recbuf, [recbuf, buffer], good([16384, 65536]) ++ edge([1, 1000]) ++ numbers()},
     {recvtclass, [recvtclass], booleans()},
     {recvtos, [recvtos], booleans()},
     {recvttl, [recvttl], booleans()},
     {reuseaddr, [reuseaddr], booleans()},
     {reuseport, [reuseport, reuseport_lb], booleans()},
     {reuseport_lb, [reuseport, reuseport_lb], booleans()},
     {sndbuf, [sndbuf], good([5000, 65536]) ++ edge([1, 1000]) ++ numbers()},
     {tclass, [tclass], good([32]) ++ edge([255, 3]) ++ range([256]) ++ numbers()},
     {tos, [tos, priority], good([16]) ++ edge([255, 256, 3]) ++ range([257]) ++ numbers()},
     {ttl, [ttl], good([7, 255]) ++ range([256]) ++ numbers()},
     {user_timeout, [user_timeout], good([30000]) ++ unsigned()}].

%% Not `{Name, Value}`: these values are whole options.
raw() ->
    One = <<1:32/native>>,
    [{term, [nodelay, keepalive],
      good([{raw, 6, 1, One}, {raw, {6, 1, One}}, {raw, 1, 9, One}])
      ++ edge([{raw, 6, 1, <<1:64/native>>}, {raw, 16#100000006, 1, One}])
      ++ range([{raw, 6, 9999, One}, {raw, 6, 1, <<>>}, {raw, 6, 1, <<1>>}, {raw, -1, -1, One}, {raw, 1 bsl 64, 1, One}])
      ++ type([{raw, 6, 1, 1}, {raw, 6, 1, "1"}, {raw, foo, 1, One}, {raw, 6, 1.0, One}, {raw, 6, 1}, {raw, {6, 1}}, {raw, 6, 1, foo},
               {raw, 6, 1, <<1:1>>}, {raw, []}, {raw, {6, 1, One, One}}, {raw, 6, 1, One, One}])}].

%% Options that say how to open a socket. For setopts they are unknown.
-spec opening(inet | inet6 | local) -> [{atom(), [{class(), term()}]}].
opening(Family) ->
    Ours = own_address(Family),
    Types = type([foo, "127.0.0.1", <<"::1">>, 1, {}, {1, 2, 3}, {1, 2, 3, 4, 5}, {256, 0, 0, 1}, {-1, 0, 0, 1}, {1.0, 0, 0, 1},
                  {0, 0, 0, 0, 0, 0, 0, 65536}, {a, b, c, d}, [], {inet, {127, 0, 0, 1}}, {local, foo}, {local, 1}, {{127, 0, 0, 1}, 0}]),
    Others = [{edge, Address} || Address <- [{127, 0, 0, 1}, {0, 0, 0, 0, 0, 0, 0, 1}, {local, <<0, "gen_tcp_rs-unused">>}], Address =/= Ours],
    NotLocal = range([{192, 0, 2, 1}, {16#2001, 16#db8, 0, 0, 0, 0, 0, 1}, {local, "/nonexistent/folder/name"},
                      {local, lists:duplicate(108, $x)}, {local, lists:duplicate(200, $x)}]),
    Addresses = good([Ours, undefined, any, loopback]) ++ Others ++ NotLocal ++ Types,
    [{ip, Addresses},
     {ifaddr, Addresses ++ maps(Family)},
     {port, good([0]) ++ range([65536, -1, 1 bsl 64]) ++ type([foo, http, 1.0, "80", <<"80">>, undefined, []])},
     {backlog, good([1, 5, 128]) ++ edge([0, -1, 65536, 70000, 1 bsl 64]) ++ type([foo, 1.0, "5", infinity]) ++ edge([true, false])},
     {fd, range([-1, -5, 19000]) ++ type([foo, "string", 1.0, <<"3">>, [], undefined])},
     {netns, good(["/proc/self/ns/net", <<"/proc/self/ns/net">>]) ++ range(["/nonexistent/namespace", "/", "/etc/passwd", "", <<>>])
      ++ type([foo, 1, {}, [foo]])},
     {protocol, good([tcp]) ++ range([udp, sctp]) ++ type([6, "tcp", <<"tcp">>, []])}].

%% Socket addresses as maps.
maps(inet) ->
    Map = #{family => inet, addr => {127, 0, 0, 1}, port => 0},
    good([Map, maps:remove(port, Map), Map#{addr => any}, maps:remove(addr, Map)])
        ++ edge([Map#{addr => loopback}])
        ++ range([Map#{addr => {192, 0, 2, 1}}, Map#{port => 65536}, Map#{port => -1}])
        ++ type([#{}, #{family => inet, foo => 1}, #{family => foo}, #{addr => {127, 0, 0, 1}}, Map#{family => inet6}, Map#{addr => "127.0.0.1"},
                 Map#{addr => {0, 0, 0, 0, 0, 0, 0, 1}}, Map#{port => foo}, #{family => local, path => "x"}]);
maps(inet6) ->
    Map = #{family => inet6, addr => {0, 0, 0, 0, 0, 0, 0, 1}, port => 0, flowinfo => 0, scope_id => 0},
    good([Map, maps:with([family, addr], Map), Map#{addr => any}, Map#{flowinfo => 5}])
        ++ edge([Map#{addr => loopback}, Map#{scope_id => -1}, Map#{flowinfo => 1 bsl 32}])
        ++ range([Map#{scope_id => 99999, addr => {16#fe80, 0, 0, 0, 0, 0, 0, 1}}, Map#{addr => {16#fe80, 0, 0, 0, 0, 0, 0, 1}}])
        ++ type([Map#{foo => 1}, Map#{family => inet}, Map#{scope_id => foo}, Map#{flowinfo => 1.0}, Map#{addr => {127, 0, 0, 1}}]);
maps(local) ->
    type([#{family => local, path => <<0, "x">>}]).

own_address(inet) -> {127, 0, 0, 1};
own_address(inet6) -> {0, 0, 0, 0, 0, 0, 0, 1};
own_address(local) -> {local, <<0, "gen_tcp_rs-unused">>}.

%% Terms that are no options, and the options without a value.
-spec terms() -> [{class(), term()}].
terms() ->
    good([list, binary, inet, inet6, local])
        ++ edge([{inet_backend, inet}, {inet_backend, rs}, {tcp_module, inet_tcp}, {tcp_module, inet6_tcp}])
        ++ type([foo, {foo, 1}, {nodelay}, {nodelay, true, true}, nodelay, "nodelay", <<"nodelay">>, [], {}, 1, {"nodelay", true}, {1, 2},
                 {cork, true}, {list, true}, {binary, true}, {inet6, true}, [{nodelay, true}], {packet_type, raw}, {stats, 1}]).

%% What getopts is asked for: alone and beside others.
-spec readable() -> [[term()]].
readable() ->
    Names = [Name || {Name, _, _} <- settable(), Name =/= term] ++ [Name || {Name, _} <- opening(inet)]
        ++ [list, binary, inet, inet6, local, foo, inet_backend, tcp_module, line_delimiter, cork, buf, {active, true}, {nodelay}, "nodelay", 1, {},
            []],
    [[Name] || Name <- Names]
        ++ [[active, Name, mode] || Name <- Names]
        ++ [[], [active, active], [mode, packet, active], [nodelay, tclass, active], [nodelay, foo]]
        ++ [[active, {raw, 6, 1, Size}] || Size <- [0, 1, 4, 8, 65000, -1, 65536, 65537, 1 bsl 40, foo, <<>>, <<0:32>>, <<1:1>>, 1.0]]
        ++ [[{raw, {6, 1, 4}}], [{raw, 6, 9999, 4}, active], [{raw, -1, -1, 4}, active], [{raw, foo, 1, 4}], [{raw, 6, 1}],
            [{raw, 6, 1, 4, 4}], [{raw, 16#100000006, 1, 4}], [raw], [{raw, {6, 1}}], [{raw, 1, 9, 4}, nodelay, {raw, 6, 1, 4}]].

numbers() ->
    edge(?NUMBERS) ++ type(bad_numbers()).

%% -1 and below are of the wrong type.
unsigned() ->
    edge([Number || Number <- ?NUMBERS, Number >= 0]) ++ type([Number || Number <- ?NUMBERS, Number < 0] ++ bad_numbers()).

bad_numbers() ->
    [foo, infinity, 1.0, "1", <<"1">>, <<1:1>>, [], {}, {1}, {1, 2}, true, undefined].

booleans() ->
    good([true, false]) ++ type(bad_booleans()).

bad_booleans() ->
    [1, 0, foo, "true", <<"true">>, [], {}, {true}, undefined, 1.0].

good(Values) -> [{good, Value} || Value <- Values].
edge(Values) -> [{edge, Value} || Value <- Values].
range(Values) -> [{range, Value} || Value <- Values].
type(Values) -> [{type, Value} || Value <- Values].
