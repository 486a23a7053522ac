%% Frames through real sockets. However the wire is cut, a socket delivers what the driver delivers for
%% the uncut stream: every packet type, passive and in each active mode, as lists and binaries, under
%% the options that shape a frame. A stream of up to 100 bytes is cut at each of its places, and comes
%% in single bytes; a long one is cut at random. Then the same for what is sent, and what a header that
%% promises two gibibytes costs.
%%
%% GEN_TCP_RS_FRAMING_SEED  an integer for the random cuts; the log tells the one in use
-module(framing_SUITE).

-include_lib("common_test/include/ct.hrl").

-export([suite/0, all/0, groups/0, init_per_suite/1, end_per_suite/1]).
-export([type_raw/1, type_1/1, type_2/1, type_4/1, type_sunrm/1, type_asn1/1, type_cdr/1, type_fcgi/1,
         type_tpkt/1, type_line/1, type_http/1, type_httph/1, type_http_bin/1, type_httph_bin/1,
         type_ssl_tls/1]).
-export([differing_streams_are_seen/1, records_of_the_specifications/1, passive_deliver_port/1,
         buffer_below_a_header/1, sending/1, sending_large/1, promised_bytes_cost_nothing/1]).

-import(rs_wire, [start/0, stop/1, run/4, cuts/1, bytes/1, slow/1]).

-define(DEADLINE, 15000).
-define(MODES, [passive, always, once, two]).
-define(IS_HTTP(Type), (Type =:= http orelse Type =:= httph orelse Type =:= http_bin orelse Type =:= httph_bin)).

suite() ->
    [{timetrap, {minutes, 10}}].

all() ->
    [differing_streams_are_seen, {group, types}, records_of_the_specifications, passive_deliver_port,
     buffer_below_a_header, sending, sending_large, promised_bytes_cost_nothing].

%% In parallel: most of the time is spent waiting for pieces to arrive.
groups() ->
    [{types, [parallel],
      [type_raw, type_1, type_2, type_4, type_sunrm, type_asn1, type_cdr, type_fcgi, type_tpkt, type_line,
       type_http, type_httph, type_http_bin, type_httph_bin, type_ssl_tls]}].

init_per_suite(Config) ->
    ok = rs_test:start(rs),
    Seed = case os:getenv("GEN_TCP_RS_FRAMING_SEED") of
               false -> erlang:system_time(second);
               Text -> list_to_integer(Text)
           end,
    ct:pal("GEN_TCP_RS_FRAMING_SEED=~w", [Seed]),
    [{seed, Seed} | Config].

end_per_suite(_Config) ->
    ok.

%% Any cut of a stream of this type gives the deliveries that the driver makes of it.
type_1(Config) -> type(1, Config).
type_2(Config) -> type(2, Config).
type_4(Config) -> type(4, Config).
type_sunrm(Config) -> type(sunrm, Config).
type_asn1(Config) -> type(asn1, Config).
type_cdr(Config) -> type(cdr, Config).
type_fcgi(Config) -> type(fcgi, Config).
type_tpkt(Config) -> type(tpkt, Config).
type_line(Config) -> type(line, Config).
type_http(Config) -> type(http, Config).
type_httph(Config) -> type(httph, Config).
type_http_bin(Config) -> type(http_bin, Config).
type_httph_bin(Config) -> type(httph_bin, Config).
type_ssl_tls(Config) -> type(ssl_tls, Config).

%% Raw bytes have no frames: any cut gives the same bytes, and to `recv(S, N)` the same N.
type_raw(_Config) ->
    Both = start(),
    Wire = <<"0123456789abcdefghijklm">>,
    Exact = [{ok, Part} || Part <- [<<"01234">>, <<"56789">>, <<"abcde">>, <<"fghij">>]]
        ++ [{error, closed}, {error, enotconn}],
    [Exact = run(Backend, {exactly, 5}, [], Pieces)
     || Backend <- tuple_to_list(Both), Pieces <- cuts(Wire)],
    [Wire = iolist_to_binary(run(Backend, joined, [Mode | Options], Pieces))
     || Backend <- tuple_to_list(Both), Mode <- [binary, list],
        Options <- [[], [{packet_size, 3}], [{buffer, 4}], [{deliver, port}]],
        Pieces <- cuts(Wire)],
    stop(Both).

%% The harness tells two streams apart that differ in one byte, and a mode from another.
differing_streams_are_seen(_Config) ->
    {Driver, Rs} = Both = start(),
    One = run(Driver, passive, [{packet, 1}], [<<2, "ab">>]),
    [{ok, <<"ab">>}, {error, closed}, {error, enotconn}] = One,
    One = run(Rs, passive, [{packet, 1}], [<<2>>, <<"ab">>]),
    [{ok, <<"ac">>} | _] = run(Rs, passive, [{packet, 1}], [<<2>>, <<"ac">>]),
    [{tcp, socket, "ab"}, {tcp_closed, socket}] = run(Rs, always, [list, {packet, 1}], [<<2, "ab">>]),
    stop(Both).

%%% ---- streams ----

%% A row: what sets it apart, its options, its frames, and how many of them are delivered. The bytes
%% behind a bad frame are lost with it.
type(Type, Config) ->
    _ = rand:seed(exsss, {?config(seed, Config), erlang:phash2(Type), 0}),
    Both = start(),
    Runs = [row(Type, Row, Mode, Both) || Row <- rows(Type), Mode <- ?MODES, suits(Row, Mode)],
    ok = stop(Both),
    {comment, io_lib:format("~w streams", [lists:sum(Runs)])}.

%% A passive `recv` never returns from the driver under `{deliver, port}`.
suits({_, Options, _, _}, Mode) ->
    Mode =/= passive orelse not lists:member({deliver, port}, Options).

row(Type, {Name, Options0, Frames, Count}, Mode, {Driver, Rs}) ->
    Options = [{packet, Type} | Options0],
    Wire = iolist_to_binary(Frames),
    Expected = run(Driver, Mode, Options, [Wire]),
    Here = {Type, Name, Mode},
    %% The stream is what the row claims it is, whoever reads it.
    {Here, Count} = {Here, length([packet || Delivery <- Expected, is_packet(Delivery)])},
    case run(Driver, Mode, Options, slow(Wire)) of
        Expected -> ok;
        Slow -> ct:fail({Here, {options, Options}, {driver, Expected}, {driver_in_pieces, Slow}})
    end,
    Cuts = cuts(Wire),
    [case run(Rs, Mode, Options, Pieces) of
         Expected -> ok;
         Got -> ct:fail({Here, {options, Options}, {pieces, Pieces}, {expected, Expected}, {got, Got}})
     end || Pieces <- Cuts],
    2 + length(Cuts).

is_packet({error, _}) -> false;
is_packet({tcp_error, _, _}) -> false;
is_packet({tcp_closed, _}) -> false;
is_packet({tcp_passive, _}) -> false;
is_packet(_) -> true.

rows(Type) ->
    Good = good(Type),
    All = length(Good),
    Bad = bad(Type),
    Fitting = most(Type),
    Cut = cut_short(Good),
    [{"good, bad, good", [binary], Good ++ Bad ++ [Good || Bad =/= []], All},
     {"list", [list], Good, All},
     {"header", [binary, {header, 3}], Good, All},
     {"header of a list", [list, {header, 3}], Good, All},
     {"deliver port", [list, {deliver, port}], Good, unparsed(Type)},
     {"deliver port, header", [binary, {deliver, port}, {header, 2}], Good, unparsed(Type)},
     {"packet_size fits", [binary, {packet_size, Fitting}], Good, All},
     %% The last good frame is the largest but for those behind it.
     {"packet_size exceeded", [binary, {packet_size, Fitting - 1}], Good, before_largest(Type)},
     {"last frame cut short", [binary], Cut, All - lost_with_the_last(Type)},
     {"no frame at all", [binary], [], 0}]
        ++ [{"buffer of a header", [binary, {buffer, header_size(Type)}], Good, All} || not is_text(Type)]
        ++ own_rows(Type)
        ++ [{"large frames", [binary], Large, length(Large)} || Large <- [large(Type)]].

%% The driver takes no frame whose header is larger than the buffer.
header_size(asn1) -> 2;
header_size(cdr) -> 12;
header_size(fcgi) -> 8;
header_size(ssl_tls) -> 5;
header_size(Type) when is_integer(Type) -> Type;
header_size(_) -> 4.

is_text(Type) -> Type =:= line orelse ?IS_HTTP(Type).

own_rows(line) ->
    Stream = ["0123456789;\n", ";;", "abc;"],
    [{"delimiter", [binary, {line_delimiter, $;}], Stream, 4},
     {"lines longer than the buffer", [binary, {buffer, 4}], Stream, 4},
     {"lines longer than the buffer, as lists", [list, {buffer, 4}, {line_delimiter, $;}], Stream, 6},
     {"packet_size beyond the buffer", [binary, {buffer, 4}, {packet_size, 6}], ["0123456789\n", "\n"], 4}];
own_rows(Type) when ?IS_HTTP(Type) ->
    Response = ["HTTP/1.1 204\r\n", "Server: \r\n", "x-Long-name-of-Our-own:\t y \r\n", "ETAG: \"1\"\r\n", "\r\n"],
    Errors = ["\r\n", "BODY\n", "GET / HTTP/1.1\n", "No Colon\r\n", ": empty\n", "\n"],
    [{"response", [binary], Response, 5},
     {"errors", [list], Errors, 6},
     {"line beyond the buffer", [binary, {buffer, 20}], [lists:duplicate(30, $x), "\r\n"], 0},
     {"packet_size beyond the buffer", [binary, {buffer, 8}, {packet_size, 50}],
      [[lists:duplicate(30, $x), "\r\n"], "x\r\n", "\r\n"], 3}];
own_rows(asn1) ->
    [{"long tags and lengths", [binary],
      [<<16#1f, 16#81, 1, 2, "ab">>, <<16#30, 16#81, 3, "abc">>, <<16#30, 16#84, 1:32, "x">>, <<16#30, 16#80>>], 4}];
own_rows(4) ->
    %% (Behind another frame OTP 29's driver takes this one only if it comes in a piece of its own.)
    [{"largest length", [binary], [<<16#7ffffffb:32, "never ends">>], 0},
     {"length just too large", [binary], [<<2:32, "ok">>, <<16#7ffffffc:32, "bad">>], 1}];
own_rows(cdr) ->
    [{"both byte orders", [binary],
      [<<"GIOP", 1, 0, 0, 0, 3:32, "big">>, <<"GIOP", 1, 2, 1, 1, 6:32/little, "little">>], 2}];
own_rows(tpkt) ->
    [{"length below the header", [binary], [<<3, 0, 5:16, "x">>, <<3, 0, 3:16, "abc">>], 1}];
own_rows(_) ->
    [].

%% Four frames: the third is empty where a frame can be, the last is not.
good(ssl_tls) -> [<<22, 3, 1, 4:16, "abcd">>, <<23, 3, 3, 1:16, "x">>, <<23, 3, 3, 0:16>>, <<21, 3, 3, 2:16, 1, 0>>];
good(line) -> ["one\n", "three\r\n", "\n", "four\n"];
good(Type) when Type =:= http; Type =:= http_bin -> ["GET / HTTP/1.1\r\n", "Host: x\r\n", "a: b\r\n c\n\td\r\n", "\r\n"];
good(Type) when Type =:= httph; Type =:= httph_bin -> ["Host: example\r\n", "a: b\r\n c\r\n", "\r\n", "X-y:\n", "\n"];
good(Type) -> [frame(Type, Body) || Body <- [<<"a">>, <<"bcdef">>, <<>>, <<"ghi">>]].

%% The largest of these as packet_size counts it, and the frames before it.
most(line) -> 7;
most(Type) when Type =:= http; Type =:= http_bin -> 16;
most(Type) when ?IS_HTTP(Type) -> 15;
most(ssl_tls) -> 4;
most(fcgi) -> 5 + 3;
most(_) -> 5.

before_largest(Type) when Type =:= ssl_tls; ?IS_HTTP(Type) -> 0;
before_largest(_) -> 1.

%% Under `{deliver, port}` http reads no line as a header, so that none goes on in the next.
unparsed(Type) when Type =:= http; Type =:= http_bin -> 6;
unparsed(Type) -> length(good(Type)).

%% A header is whole when the line behind it has begun.
lost_with_the_last(Type) when Type =:= httph; Type =:= httph_bin -> 2;
lost_with_the_last(_) -> 1.

cut_short(Frames) ->
    Last = iolist_to_binary(lists:last(Frames)),
    lists:droplast(Frames) ++ [binary:part(Last, 0, byte_size(Last) - 1)].

frame(1, Body) -> <<(byte_size(Body)), Body/binary>>;
frame(2, Body) -> <<(byte_size(Body)):16, Body/binary>>;
frame(4, Body) -> <<(byte_size(Body)):32, Body/binary>>;
frame(sunrm, Body) -> <<1:1, (byte_size(Body)):31, Body/binary>>;
frame(asn1, Body) when byte_size(Body) < 128 -> <<16#30, (byte_size(Body)), Body/binary>>;
frame(asn1, Body) -> <<16#30, 16#83, (byte_size(Body)):24, Body/binary>>;
frame(cdr, Body) -> <<"GIOP", 1, 2, 1, 0, (byte_size(Body)):32/little, Body/binary>>;
frame(fcgi, Body) -> <<1, 5, 7:16, (byte_size(Body)):16, 3, 0, Body/binary, 0:24>>;
frame(tpkt, Body) -> <<3, 0, (4 + byte_size(Body)):16, Body/binary>>;
frame(ssl_tls, Body) -> <<23, 3, 3, (byte_size(Body)):16, Body/binary>>;
frame(line, Body) -> <<Body/binary, "\n">>;
frame(Type, Body) when ?IS_HTTP(Type) -> <<"x-large: ", Body/binary, "\r\n">>.

bad(4) -> [<<16#ffffffff:32, "bad">>];
bad(sunrm) -> [<<16#7fffffff:32, "bad">>];
bad(asn1) -> [<<16#30, 16#85, 0, 0, 0, 0, 1, "x">>];
bad(cdr) -> [<<"GIOQ", 1, 2, 0, 0, 3:32, "bad">>];
bad(fcgi) -> [<<2, 5, 7:16, 3:16, 0, 0, "bad">>];
bad(tpkt) -> [<<4, 0, 7:16, "bad">>];
bad(_) -> [].

%% Small frames between large ones; a line and an http line as long as the driver's buffer allows.
large(Type) when ?IS_HTTP(Type) ->
    [frame(httph, binary:copy(<<"h">>, Size)) || Size <- [1, 1400, 0, 700, 1440]] ++ ["\r\n"];
large(line) ->
    [frame(line, binary:copy(<<"l">>, Size)) || Size <- [1, 1459, 0, 700, 3, 1000, 1458]];
large(Type) ->
    [frame(Type, binary:copy(<<"f">>, min(Size, longest(Type)))) || Size <- [1, 300, 0, 70000, 20, 9217, 150000, 2]].

longest(1) -> 255;
longest(Type) when Type =:= 2; Type =:= fcgi; Type =:= tpkt -> 65000;
longest(ssl_tls) -> 16384;
longest(_) -> 150000.

%%% ---- records built by hand ----

%% A record as its specification draws it is one frame, whole, with the padding of FastCGI cut.
records_of_the_specifications(_Config) ->
    {_, Rs} = Both = start(),
    [begin
         Wire = <<Record/binary, Record/binary>>,
         [Twice = run(Rs, passive, [{packet, Type}], Pieces)
          || Twice <- [[{ok, Delivered}, {ok, Delivered}, {error, closed}, {error, enotconn}]],
             Pieces <- cuts(Wire)]
     end || {Type, Record, Delivered} <- [giop(0), giop(1), tpkt(), fast_cgi()]],
    stop(Both).

%% CORBA 3.3 part 2, 9.4.1 and 9.4.2.1: GIOP 1.0 Request. Header: magic, version, byte order (0 big,
%% 1 little), message type 0 (Request), size of what follows. Body: no service contexts, request_id,
%% response_expected, object_key, operation, no principal; each sequence and string padded to 4 bytes.
giop(0) ->
    Body = <<0:32, 5:32, 1, 0:24, 3:32, "key", 0, 6:32, "hello", 0, 0:16, 0:32>>,
    Record = <<"GIOP", 1, 0, 0, 0, (byte_size(Body)):32/big, Body/binary>>,
    {cdr, Record, Record};
giop(1) ->
    Body = <<0:32/little, 5:32/little, 1, 0:24, 3:32/little, "key", 0, 6:32/little, "hello", 0, 0:16, 0:32/little>>,
    Record = <<"GIOP", 1, 0, 1, 0, (byte_size(Body)):32/little, Body/binary>>,
    {cdr, Record, Record}.

%% RFC 1006 6 (RFC 2126 4.3): version 3, reserved, length of the whole packet; within it the connection
%% request of ISO 8073 13.3: length indicator, code 1110 with credit 0, no destination reference, source
%% reference 1, class 0, TPDU size 1024 (parameter 1100 0000, 2^10), called selector (1100 0010).
tpkt() ->
    Tpdu = <<16#e0, 0:16, 1:16, 0, 16#c0, 1, 10, 16#c2, 2, 1, 0>>,
    Record = <<3, 0, (4 + 1 + byte_size(Tpdu)):16, (byte_size(Tpdu)), Tpdu/binary>>,
    {tpkt, Record, Record}.

%% FastCGI Specification 1.0, 3.3 (record) and 3.4 (name-value pairs): version 1, type 4 (FCGI_PARAMS),
%% request id 1, contentLength, paddingLength up to the next multiple of 8, reserved, content, padding.
fast_cgi() ->
    Content = <<14, 3, "REQUEST_METHOD", "GET", 12, 16#80, 0, 0, 5, "QUERY_STRING", "a=b&c">>,
    Padding = (8 - byte_size(Content) rem 8) rem 8,
    true = Padding > 0,
    Header = <<1, 4, 1:16, (byte_size(Content)):16, Padding, 0>>,
    {fcgi, <<Header/binary, Content/binary, 0:Padding/unit:8>>, <<Header/binary, Content/binary>>}.

%% Under `{deliver, port}` a passive recv is answered, with what it returns without. (The driver's never is.)
passive_deliver_port(_Config) ->
    {_, Rs} = Both = start(),
    [begin
         Options = [Shape, {packet, Type}, {header, 2}],
         Expected = run(Rs, passive, Options, [Wire]),
         true = length(Expected) > 4,
         [Expected = run(Rs, passive, [{deliver, port} | Options], Pieces) || Pieces <- [[Wire], bytes(Wire)]]
     end || Type <- [1, 2, 4, sunrm, asn1, cdr, fcgi, tpkt, line],
            Shape <- [list, binary],
            Wire <- [iolist_to_binary(good(Type))]],
    stop(Both).

%% A buffer smaller than the header does not matter to a type with a length. (The driver takes no frame then.)
buffer_below_a_header(_Config) ->
    {Driver, Rs} = Both = start(),
    [begin
         Wire = iolist_to_binary(good(Type)),
         Small = [{packet, Type}, {buffer, header_size(Type) - 1}],
         [{error, emsgsize} | _] = run(Driver, passive, Small, [Wire]),
         Expected = run(Driver, passive, [{packet, Type}], [Wire]),
         [Expected = run(Rs, passive, Small, Pieces) || Pieces <- [[Wire], bytes(Wire)]]
     end || Type <- [2, 4, sunrm, asn1, cdr, fcgi, tpkt, ssl_tls]],
    stop(Both).

%%% ---- sending ----

%% What is sent comes out behind the header of its type, of 1, 2 or 4 bytes and cut to that size, and
%% as it is for every other type; whatever packet_size, header and deliver say.
sending(_Config) ->
    Data = [<<"abc">>, [], <<>>, "list", [$a, [<<"b">>, "c"], [[]] | <<"d">>], binary:copy(<<"x">>, 255),
            binary:copy(<<"y">>, 256), binary:copy(<<"z">>, 600), binary:copy(<<"w">>, 65536), not_iodata, [256], <<"end">>],
    [begin
         Expected = {[case iodata_size(Each) of
                          none -> {error, einval};
                          _ -> ok
                      end || Each <- Data],
                     iolist_to_binary([[header(Type, Size), Each] || Each <- Data, Size <- [iodata_size(Each)], Size =/= none])},
         {Type, Options, Expected} = {Type, Options, sent(Context, [{packet, Type} | Options], Data)}
     end || Context <- tuple_to_list(rs_test:contexts()),
            Type <- [raw, 1, 2, 4, sunrm, asn1, cdr, fcgi, tpkt, line, http, httph, http_bin, httph_bin, ssl_tls],
            Options <- [[binary], [list, {packet_size, 2}, {header, 1}, {deliver, port}, {delay_send, true}]]],
    %% The type in force at the call counts.
    [{ok, <<"raw", 3, "one", 0, 3, "two", 0, 0, 0, 4, "four">>} =
         begin
             {Socket, Peer} = rs_test:client(Context, []),
             [begin
                  ok = inet:setopts(Socket, [{packet, Type}]),
                  ok = gen_tcp:send(Socket, Text)
              end || {Type, Text} <- [{raw, "raw"}, {1, "one"}, {2, "two"}, {4, "four"}]],
             Read = gen_tcp:recv(Peer, 20, ?DEADLINE),
             ok = gen_tcp:close(Socket),
             ok = gen_tcp:close(Peer),
             Read
         end || Context <- tuple_to_list(rs_test:contexts())],
    ok.

iodata_size(Data) ->
    try iolist_size(Data) catch error:badarg -> none end.

header(1, Size) -> <<Size:8>>;
header(2, Size) -> <<Size:16>>;
header(4, Size) -> <<Size:32>>;
header(_, _) -> <<>>.

sent(Context, Options, Data) ->
    {Socket, Peer} = rs_test:client(Context, Options),
    Results = [gen_tcp:send(Socket, Each) || Each <- Data],
    ok = gen_tcp:shutdown(Socket, write),
    {Wire, closed} = rs_test:read_all(Peer),
    ok = gen_tcp:close(Socket),
    ok = gen_tcp:close(Peer),
    {Results, Wire}.

%% Frames larger than any buffer of the kernel, sent behind each other, arrive whole on both backends.
sending_large(_Config) ->
    Frames = [binary:copy(<<Size:32>>, Size div 4) || Size <- [4, 8000000, 0, 64, 12000000, 8]],
    [begin
         {Client, Server} = rs_test:pair(Context, [{packet, 4}], [{packet, 4}]),
         Sender = rs_test:async(fun() -> [gen_tcp:send(Client, Frame) || Frame <- Frames] end),
         Frames = [begin {ok, Packet} = gen_tcp:recv(Server, 0, ?DEADLINE), Packet end || _ <- Frames],
         {[ok, ok, ok, ok, ok, ok], []} = rs_test:await(Sender),
         ok = gen_tcp:close(Client),
         ok = gen_tcp:close(Server)
     end || Context <- tuple_to_list(rs_test:contexts())],
    ok.

%%% ---- memory ----

%% A header that promises two gibibytes costs no memory, neither in the VM nor of the process, resident
%% or reserved; what then comes costs its own size, and a length that no frame can have is refused.
promised_bytes_cost_nothing(_Config) ->
    Node = rs_peer:start(),
    try
        {Before, Promised, Arrived, Given, Refused} = rs_peer:call(Node, fun promises/0),
        ct:pal("before ~p~n~w promises ~p~na MiB arrived for each ~p~nclosed ~p", [Before, 50, Promised, Arrived, Given]),
        MiB = 1024 * 1024,
        Grown = fun(Key, From, To) -> (maps:get(Key, To) - maps:get(Key, From)) / MiB end,
        true = Grown(vm, Before, Promised) < 2,
        true = Grown(resident, Before, Promised) < 8,
        %% A single promise kept would be 2048.
        true = Grown(reserved, Before, Promised) < 512,
        true = Grown(reserved, Promised, Arrived) < 512,
        %% A vector grows by doubling at most.
        true = Grown(resident, Promised, Arrived) < 50 * 3,
        true = Grown(resident, Promised, Arrived) > 50 * 0.9,
        true = Grown(resident, Before, Given) < 50,
        [{tcp_error, emsgsize}, tcp_closed, {error, emsgsize}] = Refused,
        ok
    after
        rs_peer:stop(Node)
    end.

promises() ->
    {_, Context} = rs_test:contexts(),
    ok = rs_test:start(rs),
    Pairs = [{Mode, rs_test:client(Context, [{packet, 4}, {active, Mode =:= active}])}
             || _ <- lists:seq(1, 25), Mode <- [active, passive]],
    %% Every piece of code has run once before anything is measured.
    [ok = gen_tcp:send(Peer, <<1:32, "x">>) || {_, {_, Peer}} <- Pairs],
    [case Mode of
         active -> receive {tcp, Socket, <<"x">>} -> ok end;
         passive -> {ok, <<"x">>} = gen_tcp:recv(Socket, 0)
     end || {Mode, {Socket, _}} <- Pairs],
    Readers = [rs_test:async_owner(Socket, fun() -> gen_tcp:recv(Socket, 0) end) || {passive, {Socket, _}} <- Pairs],
    [rs_test:blocked(Reader) || Reader <- Readers],
    Before = memory(),
    %% The length is known when the beginning of the body comes.
    send_all(Pairs, <<16#7ffffffb:32>>, 5 + 4, Context),
    send_all(Pairs, <<"beginning">>, 5 + 13, Context),
    Promised = memory(),
    send_all(Pairs, binary:copy(<<"m">>, 1024 * 1024), 5 + 13 + 1024 * 1024, Context),
    Arrived = memory(),
    [begin ok = gen_tcp:close(Peer), ok = gen_tcp:close(Socket) end || {_, {Socket, Peer}} <- Pairs],
    [{{error, closed}, _} = rs_test:await(Reader) || Reader <- Readers],
    Given = memory(),
    {Before, Promised, Arrived, Given, refused(Context)}.

refused(Context) ->
    {Active, Peer} = rs_test:client(Context, [{packet, 4}, {active, true}]),
    {Passive, Peer1} = rs_test:client(Context, [{packet, 4}]),
    [ok = gen_tcp:send(To, <<16#7fffffff:32>>) || To <- [Peer, Peer1]],
    [receive {tcp_error, Active, Reason} -> {tcp_error, Reason} end,
     receive {tcp_closed, Active} -> tcp_closed end,
     gen_tcp:recv(Passive, 0)].

send_all(Pairs, Data, Total, Context) ->
    [begin
         ok = gen_tcp:send(Peer, Data),
         rs_test:arrived(Socket, Total)
     end || {_, {Socket, Peer}} <- Pairs],
    rs_test:barrier(Context).

memory() ->
    [erlang:garbage_collect(Pid) || Pid <- processes()],
    {ok, Status} = file:read_file("/proc/self/status"),
    KiB = fun(Field) ->
                  {match, [Value]} = re:run(Status, Field ++ ":\\s+([0-9]+) kB", [{capture, all_but_first, list}]),
                  list_to_integer(Value) * 1024
          end,
    #{vm => erlang:memory(total), resident => KiB("VmRSS"), reserved => KiB("VmSize")}.
