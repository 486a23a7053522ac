%% What is measured: scenes, each with its rows. Rows that share a scene share its connections.
-module(bench_rows).

-export([scenes/0, select/2]).

-export_type([scene/0, row/0, link/0]).

%% Where the two ends are: in two nodes on this machine, in two nodes with a relay between them, in one node.
-type link() :: near | far | same.

%% The factor makes units of operations.
-type row() :: #{name := string(), unit := string(), better := more | less, factor => float(),
                 arguments => bench_workload:arguments(), milliseconds => pos_integer(), backends := [bench_socket:backend()]}.

-type scene() :: #{measure := module(), link := link(), arguments := bench_workload:arguments(), rows := [row()],
                   %% At most so many rounds: what does not vary needs no more.
                   rounds => pos_integer(),
                   %% Not over connections of the workload's own protocol.
                   custom => true}.

-define(GEN_TCP, [inet, socket, rs]).
-define(WITH_RAW, [inet, socket, rs, raw]).
-define(WITH_C, [inet, socket, rs, raw, c]).
-define(BLOCK, 65536).
-define(MEGA, 1.0e6).

-spec scenes() -> [scene()].
scenes() ->
    lists:append([pingpong(near, [1, 8, 50, 1000, 10000]), same_node(), bulk(), messages(), iolists(), requests(),
                  connections(), fan_out(), mailbox(), tls(), sendfile(), http(), idle(),
                  pingpong(far, [1, 8, 50, 1000, 10000])]).

%% The scenes and rows whose names contain one of the words, as a whole part between hyphens; all without words. Only rows that one of the backends has.
-spec select([string()], [bench_socket:backend()]) -> [scene()].
select(Words, Backends) ->
    [Scene#{rows := Rows}
     || #{rows := All} = Scene <- scenes(),
        Rows <- [[Row#{backends := Chosen} || #{name := Name, backends := Has} = Row <- All,
                                              is_wanted(Name, Words),
                                              Chosen <- [[Backend || Backend <- Has, lists:member(Backend, Backends)]],
                                              Chosen =/= []]],
        Rows =/= []].

is_wanted(_Name, []) -> true;
is_wanted(Name, Words) -> lists:any(fun(Word) -> string:find("-" ++ Name ++ "-", "-" ++ Word ++ "-") =/= nomatch end, Words).

pingpong(Link, Counts) ->
    [#{measure => bench_pingpong, link => Link, arguments => #{}, rows => beside(Link, Count) ++ pingpong_rows(Link, Count)}
     || Count <- Counts].

pingpong_rows(Link, Count) ->
    [#{name => text("~ts-~ts-~b", [case Link of near -> "pingpong"; far -> "far"; same -> "same-node" end, Mode, Count]),
       unit => "op/s", better => more,
       arguments => #{mode => Mode, connections => Count, busy => Count},
       milliseconds => if Count >= 10000 -> 600; Count >= 1000 -> 350; true -> 250 end,
       backends => case Mode of passive when Link =:= near -> ?WITH_C; passive -> ?WITH_RAW; _ -> ?GEN_TCP end}
     || Mode <- [passive, once, packet4, true]].

%% One busy connection, before and after the others are opened.
beside(near, 10000) ->
    [#{name => text("busy-beside-~b", [Connections - 1]), unit => "op/s", better => more,
       arguments => #{mode => passive, connections => Connections, busy => 1}, milliseconds => 250, backends => ?GEN_TCP}
     || Connections <- [1, 10000]];
beside(_Link, _Count) ->
    [].

same_node() ->
    [#{measure => bench_pingpong, link => same, arguments => #{}, rows => pingpong_rows(same, 1)}].

bulk() ->
    [stream(text("bulk-~ts~ts", [Name, Suffix]), "MB/s", ?BLOCK / ?MEGA, Backends,
            #{mode => Mode, framing => blocks, shape => binary, options => Options})
     || {Suffix, Options} <- [{"", []}, {"-buffer", [{buffer, ?BLOCK}]}],
        {Name, Mode, Backends} <- [{"true", true, ?GEN_TCP}, {"once", once, ?GEN_TCP}, {"active100", {active, 100}, ?GEN_TCP}]
            ++ [{"recv0", {recv, 0}, with_raw(Options)}, {"recv65536", {recv, ?BLOCK}, with_raw(Options)}]].

with_raw([]) -> ?WITH_C;
with_raw(_Options) -> ?GEN_TCP.

messages() ->
    [stream(text("messages-~ts-~b", [Name, Size]), "msg/s", 1.0, case Mode of true -> [c | ?GEN_TCP]; _ -> ?GEN_TCP end,
            #{mode => Mode, framing => messages, shape => binary, size => Size, options => []})
     || Size <- [100, 1024],
        {Name, Mode} <- [{"true", true}, {"once", once}, {"active100", {active, 100}}, {"passive", {recv, 0}}]].

iolists() ->
    [stream("iolist-16-parts", "msg/s", 1.0, ?GEN_TCP,
            #{mode => true, framing => messages, shape => {parts, 16}, size => 1024, options => []}),
     stream("iolist-3-large", "MB/s", 3 * ?BLOCK / ?MEGA, ?GEN_TCP,
            #{mode => true, framing => blocks, shape => {parts, 3}, options => []})].

mailbox() ->
    [stream("mailbox-million", "msg/s", 1.0, ?GEN_TCP,
            #{mode => true, framing => messages, shape => binary, size => 100, options => [], mailbox => 1000000})].

stream(Name, Unit, Factor, Backends, Arguments) ->
    #{measure => bench_stream, link => near, arguments => Arguments,
      rows => [#{name => Name, unit => Unit, better => more, factor => Factor, backends => Backends}]}.

requests() ->
    [#{measure => bench_request, link => near, arguments => #{packet => Packet, connections => 8},
       rows => [#{name => Name, unit => "req/s", better => more, backends => ?GEN_TCP}]}
     || {Name, Packet} <- [{"request-line", line}, {"request-http", http_bin}]].

connections() ->
    [#{measure => bench_connect, link => near, arguments => #{acceptors => Acceptors, clients => Clients},
       rows => [#{name => Name, unit => "conn/s", better => more, backends => Backends}]}
     || {Name, Acceptors, Clients, Backends} <- [{"connect-close", 1, 1, ?WITH_C}]
            ++ [{text("accept-~b", [Count]), Count, 32, ?GEN_TCP} || Count <- [1, 8, 64]]].

fan_out() ->
    [#{measure => bench_fanout, link => near, arguments => #{connections => 1000},
       rows => [#{name => "fan-out-1000", unit => "msg/s", better => more, backends => ?GEN_TCP}]}].

tls() ->
    [#{measure => bench_tls, link => near, arguments => #{kind => Kind},
       rows => [#{name => Name, unit => Unit, better => more, factor => Factor, backends => ?GEN_TCP}]}
     || {Name, Kind, Unit, Factor} <- [{"tls-bulk", bulk, "MB/s", ?BLOCK / ?MEGA}, {"tls-handshakes", handshakes, "1/s", 1.0}]].

sendfile() ->
    [#{measure => bench_sendfile, link => near, arguments => #{},
       rows => [#{name => "sendfile-1-gb", unit => "MB/s", better => more, factor => 1073741824 / ?MEGA, backends => ?GEN_TCP}]}].

http() ->
    [#{measure => bench_http, custom => true, link => near, arguments => #{},
       rows => [#{name => "httpd-wrk", unit => "req/s", better => more, backends => ?GEN_TCP}]}].

idle() ->
    [#{measure => bench_idle, custom => true, link => near, rounds => 3, arguments => #{connections => 10000, owners => Owners},
       rows => [#{name => text("~ts-~ts", [Prefix, What]), unit => Unit, better => less, arguments => #{what => What},
                  backends => ?GEN_TCP}
                || {What, Unit} <- [{"beam", "bytes"}, {"rss", "bytes"}, {"close", "ms"} | More]]}
     || {Owners, Prefix, More} <- [{one, "idle-one-owner", []}, {each, "idle-owner-each", [{"beyond-process", "bytes"}]}]].

text(Format, Arguments) ->
    lists:flatten(io_lib:format(Format, Arguments)).
