%% Framing in native/proto compared with the VM's own parser,
%% erlang:decode_packet/3, on random streams: valid, cut, mutated and with
%% limits that refuse them. No sockets: the examples/framing_port.rs of
%% native/proto answers behind a port, and feeds each stream in pieces, too.
%%
%% GEN_TCP_RS_PROPERTY_CASES  streams a type (100000)
%% GEN_TCP_RS_PROPERTY_SEED   an integer; the log tells the one in use
-module(packet_property_SUITE).

-include_lib("common_test/include/ct.hrl").
-include_lib("stdlib/include/assert.hrl").

-export([all/0, groups/0, suite/0, init_per_suite/1, end_per_suite/1]).
-export([
    type_raw/1,
    type_1/1,
    type_2/1,
    type_4/1,
    type_sunrm/1,
    type_asn1/1,
    type_cdr/1,
    type_fcgi/1,
    type_tpkt/1,
    type_line/1,
    type_http/1,
    type_httph/1,
    type_http_bin/1,
    type_httph_bin/1,
    type_ssl_tls/1
]).
-export([written_down/1, known_headers/1, every_byte/1, long_streams/1, speed/1]).

%% In the order of PacketType::ALL.
-define(TYPES, [
    raw, 1, 2, 4, sunrm, asn1, cdr, fcgi, tpkt, line, http, httph, http_bin, httph_bin, ssl_tls
]).
-define(BATCH, 500).
-define(IS_HTTP(Type),
    (Type =:= http orelse Type =:= httph orelse Type =:= http_bin orelse Type =:= httph_bin)
).

suite() -> [{timetrap, {minutes, 30}}].

all() -> [written_down, known_headers, every_byte, long_streams, {group, types}, speed].

groups() ->
    [
        {types, [parallel], [
            type_raw,
            type_1,
            type_2,
            type_4,
            type_sunrm,
            type_asn1,
            type_cdr,
            type_fcgi,
            type_tpkt,
            type_line,
            type_http,
            type_httph,
            type_http_bin,
            type_httph_bin,
            type_ssl_tls
        ]}
    ].

init_per_suite(Config) ->
    Binary = framing_port(?config(data_dir, Config)),
    Seed = integer_from("GEN_TCP_RS_PROPERTY_SEED", erlang:system_time(second)),
    ct:log("GEN_TCP_RS_PROPERTY_SEED=~w", [Seed]),
    [{binary, Binary}, {seed, Seed} | Config].

end_per_suite(_Config) -> ok.

%% Any stream gives the packets, the remainder and the error of decode_packet/3.
type_raw(Config) -> compare(raw, Config).
type_1(Config) -> compare(1, Config).
type_2(Config) -> compare(2, Config).
type_4(Config) -> compare(4, Config).
type_sunrm(Config) -> compare(sunrm, Config).
type_asn1(Config) -> compare(asn1, Config).
type_cdr(Config) -> compare(cdr, Config).
type_fcgi(Config) -> compare(fcgi, Config).
type_tpkt(Config) -> compare(tpkt, Config).
type_line(Config) -> compare(line, Config).
type_http(Config) -> compare(http, Config).
type_httph(Config) -> compare(httph, Config).
type_http_bin(Config) -> compare(http_bin, Config).
type_httph_bin(Config) -> compare(httph_bin, Config).
type_ssl_tls(Config) -> compare(ssl_tls, Config).

%% Each difference from decode_packet/3 that docs/differences.md allows is there as written.
written_down(Config) ->
    Port = open(Config),
    Uri = fun(Text) ->
        Line = <<"GET ", Text/binary, " HTTP/1.1\r\n">>,
        {[{http_request, 'GET', Parsed, {1, 1}}], _} = ask_one(Port, http_bin, {0, 0, $\n}, Line),
        Parsed
    end,
    %% IPv6 literals are hosts on every release.
    [
        ?assertEqual({absoluteURI, http, Host, Number, Path}, Uri(Text))
     || {Text, Host, Number, Path} <- [
            {<<"http://[::1]:80/p">>, <<"[::1]">>, 80, <<"/p">>},
            {<<"HTTP://[::1]">>, <<"[::1]">>, undefined, <<"/">>},
            {<<"http://[::1]:">>, <<"[::1]">>, undefined, <<"/">>},
            {<<"http://[::1]:0/">>, <<"[::1]">>, undefined, <<"/">>},
            {<<"http://[::1]:8x/">>, <<"[::1]">>, undefined, <<"/">>},
            {<<"http://[::1]x:80/">>, <<"[::1]">>, undefined, <<"/">>},
            {<<"http://[fe80::1%25eth0]:8080">>, <<"[fe80::1%25eth0]">>, 8080, <<"/">>},
            {<<"http://[v]/">>, <<"[v]">>, undefined, <<"/">>},
            {<<"http://[v]x/">>, <<"[v]x">>, undefined, <<"/">>},
            {<<"http://[::1/">>, <<"[">>, undefined, <<"/">>}
        ]
    ],
    %% Numbers stop at 2^31-1.
    ?assertMatch(
        {[{http_response, {2147483647, 2147483647}, 2147483647, <<"OK">>}], _},
        ask_one(Port, http_bin, {0, 0, $\n}, <<"HTTP/2147483648.99999999999 4294967297 OK\r\n">>)
    ),
    ?assertEqual(
        {absoluteURI, http, <<"h">>, 2147483647, <<"/">>}, Uri(<<"http://h:4294967296">>)
    ),
    %% Lines are cut first when packet_size is not below the buffer.
    Long = binary:copy(<<"0123456789">>, 5),
    Pieces = lists:duplicate(5, <<"0123456789">>),
    [
        ?assertEqual(
            {Pieces, {incomplete, 50, 1}}, ask_one(Port, line, {PacketSize, 10, $\n}, Long)
        )
     || PacketSize <- [0, 10, 20, 49]
    ],
    ?assertEqual({[], {bad, 0}}, ask_one(Port, line, {9, 10, $\n}, Long)),
    %% An empty line of two bytes obeys a limit of one.
    ?assertEqual({[], {bad, 0}}, ask_one(Port, http_bin, {1, 0, $\n}, <<"\r\n">>)),
    %% A frame never exceeds 2^31-1 bytes, whatever packet_size says.
    ?assertEqual(
        {[], {bad, 0}}, ask_one(Port, 4, {16#ffffffff, 0, $\n}, <<16#ffffffff:32, "abc">>)
    ),
    ?assertEqual(
        {[], {incomplete, 0, 16#7fffffff}},
        ask_one(Port, 4, {16#ffffffff, 0, $\n}, <<16#7ffffffb:32, "abc">>)
    ),
    %% An asn1 tag has at most 9216 octets.
    Tag = fun(Octets) -> <<16#1f, (binary:copy(<<16#ff>>, Octets - 2))/binary, 1>> end,
    ?assertEqual(
        {[<<(Tag(9216))/binary, 1, 2>>], {incomplete, 9218, 2}},
        ask_one(Port, asn1, {0, 0, $\n}, <<(Tag(9216))/binary, 1, 2>>)
    ),
    ?assertEqual({[], {bad, 0}}, ask_one(Port, asn1, {0, 0, $\n}, <<(Tag(9217))/binary, 1, 2>>)),
    close(Port).

%% Every known header has the VM's index and atom, in any case of letters.
known_headers(Config) ->
    Port = open(Config),
    Names = [Name || {Name, _} <- header_names()],
    [
        begin
            Line = <<Written/binary, ": v\r\n\r\n">>,
            Theirs = expected(Type, {0, 0, $\n}, Line),
            Ours = ask_one(Port, Type, {0, 0, $\n}, Line),
            ?assert(same(Theirs, Ours), {Theirs, Ours})
        end
     || Name <- Names,
        Written <- [
            Name,
            string:lowercase(Name),
            string:uppercase(Name),
            <<Name/binary, "x">>,
            binary:part(Name, 0, byte_size(Name) - 1)
        ],
        Type <- [httph, httph_bin]
    ],
    Indices = [
        Index
     || Name <- Names,
        {[{http_header, Index, Atom, _, _}], _} <- [
            ask_one(Port, httph_bin, {0, 0, $\n}, <<Name/binary, ":\r\nx">>)
        ],
        is_atom(Atom)
    ],
    ?assertEqual(lists:seq(1, 52), lists:sort(Indices)),
    close(Port).

%% Any byte, in any place that has a meaning, is judged as decode_packet/3 judges it.
every_byte(Config) ->
    Port = open(Config),
    Streams =
        [
            {Type, <<Before/binary, Byte, After/binary>>}
         || Byte <- lists:seq(0, 255),
            {Type, Before, After} <- [
                {http_bin, <<>>, <<"ET / HTTP/1.1\r\n">>},
                {http_bin, <<"G">>, <<"T / HTTP/1.1\r\n">>},
                {http_bin, <<"GET">>, <<"/ HTTP/1.1\r\n">>},
                {http_bin, <<"GET ">>, <<>>},
                {http_bin, <<"GET ">>, <<" HTTP/1.1\r\n">>},
                {http_bin, <<"GET ">>, <<"/ HTTP/1.1\r\n">>},
                {http_bin, <<"GET /">>, <<"HTTP/1.1\r\n">>},
                {http_bin, <<"GET / HTTP/">>, <<"1.1\r\n">>},
                {http_bin, <<"GET / HTTP/1">>, <<"1\r\n">>},
                {http_bin, <<"GET / HTTP/1.1">>, <<"\r\n">>},
                {http_bin, <<"GET / HTTP/1.1">>, <<"\n">>},
                {http_bin, <<"HTTP/1.1">>, <<"200 OK\r\n">>},
                {http_bin, <<"HTTP/1.1 2">>, <<"0 OK\r\n">>},
                {http_bin, <<"HTTP/1.1 200">>, <<"OK\r\n">>},
                {httph_bin, <<>>, <<"ame: value\r\nx">>},
                {httph_bin, <<"n">>, <<"me: value\r\nx">>},
                {httph_bin, <<"name">>, <<" value\r\nx">>},
                {httph_bin, <<"name:">>, <<"value\r\nx">>},
                {httph_bin, <<"name: value\r\n">>, <<"x\r\nx">>},
                {httph_bin, <<"a\n">>, <<"x\r\nx">>},
                {asn1, <<>>, <<2, "abcdef">>},
                {asn1, <<16#30>>, <<0, 0, 2, 1, "abcdef">>},
                {asn1, <<16#1f>>, <<2, "abcdef">>},
                {cdr, <<"GIO">>, <<1, 0, 0, 0, 0, 0, 0, 2, "abcdef">>},
                {cdr, <<"GIOP", 1, 2>>, <<0, 2, 0, 0, 2, "ab", 0:(2 * 65536)>>},
                {fcgi, <<>>, <<1, 0, 0, 0, 2, 0, 0, "abcdef">>},
                {fcgi, <<1, 1, 0, 0, 0, 2>>, <<0, "ab", 0:2040>>},
                {tpkt, <<>>, <<0, 0, 6, "abcdef">>},
                {tpkt, <<3, 0, 0>>, <<"ab", 0:2048>>},
                {ssl_tls, <<>>, <<0, 1, 0, 2, "abcdef", 0:2048>>},
                {ssl_tls, <<16#80, 9>>, <<3, 1, "abcdef", 0:2048>>}
            ]
        ],
    [
        begin
            Theirs = expected(Type, {0, 0, $\n}, Stream),
            Ours = ask_one(Port, Type, {0, 0, $\n}, Stream),
            ?assert(same(Theirs, Ours), {Type, Stream, Theirs, Ours})
        end
     || {Type, Stream} <- Streams
    ],
    close(Port).

%% A mebibyte without an end takes linear time when it comes in small pieces.
long_streams(Config) ->
    Port = open(Config),
    Size = 1 bsl 20,
    Text = binary:copy(<<"x">>, Size),
    [
        begin
            {Time, Answer} = timer:tc(fun() ->
                %% Seed 0: the pieces have one byte.
                ask_one(Port, Type, {0, 0, $\n}, Stream, 0)
            end),
            ct:log("~w: ~w us, ~w", [Type, Time, element(2, Answer)]),
            ?assertMatch({_, {incomplete, _, _}}, Answer),
            %% A quadratic search would look at 5 * 10^11 bytes.
            ?assert(Time < 5000000)
        end
     || {Type, Stream} <- [
            {line, Text},
            {http, Text},
            {httph, Text},
            {httph, <<"a: b", (binary:copy(<<"\n c">>, Size div 3))/binary>>},
            {4, <<Size:32, Text/binary>>}
        ]
    ],
    close(Port).

%% What decode_packet/3 and this parser take for the same request, for the record.
speed(Config) ->
    Port = open(Config),
    Head = request_of_500_bytes(),
    Rounds = 20000,
    Stream = binary:copy(Head, Rounds),
    {Native, _} = timer:tc(fun() -> erlang_rounds(Rounds, Head) end),
    {Ours, {Packets, _}} = timer:tc(fun() -> ask_one(Port, http_bin, {0, 0, $\n}, Stream, 3) end),
    ct:log(
        "request of ~w bytes, ~w times: decode_packet ~w ns each; framing_port, twice "
        "parsed and with its terms sent and decoded, ~w ns each (~w packets)",
        [byte_size(Head), Rounds, Native * 1000 div Rounds, Ours * 1000 div Rounds, length(Packets)]
    ),
    close(Port).

erlang_rounds(0, _) -> ok;
erlang_rounds(Rounds, Head) ->
    _ = oracle(http_bin, {0, 0, $\n}, Head, 0, []),
    erlang_rounds(Rounds - 1, Head).

request_of_500_bytes() ->
    Head = <<
        "GET /some/path/of/a/resource?with=a&query=string HTTP/1.1\r\n"
        "Host: www.example.com\r\n"
        "User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0\r\n"
        "Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8\r\n"
        "Accept-Language: en-US,en;q=0.5\r\n"
        "Accept-Encoding: gzip, deflate, br\r\n"
        "Connection: keep-alive\r\n"
        "Cookie: session=0123456789abcdef0123456789abcdef\r\n"
        "Cache-Control: max-age=0\r\n"
        "X-Request-Id: "
    >>,
    <<Head/binary, (binary:copy(<<"7">>, 496 - byte_size(Head)))/binary, "\r\n\r\n">>.

%%% Comparing

compare(Type, Config) ->
    Port = open(Config),
    Cases = integer_from("GEN_TCP_RS_PROPERTY_CASES", 100000),
    Start = erlang:monotonic_time(millisecond),
    Figures = batches(Port, Type, ?config(seed, Config), Cases, #{}),
    Time = erlang:monotonic_time(millisecond) - Start,
    ct:log("~w: ~w streams in ~w ms: ~p", [Type, Cases, Time, Figures]),
    close(Port),
    %% The generator must not have become one that tests nothing.
    Wanted = [packets, more] ++ [invalid || Type =/= raw] ++ [known_length || has_length(Type)],
    [?assert(maps:get(Key, Figures, 0) * 100 > Cases, {Key, Figures}) || Key <- Wanted],
    ok.

has_length(Type) -> not (Type =:= raw orelse Type =:= line orelse ?IS_HTTP(Type)).

batches(_Port, _Type, _Seed, Left, Figures) when Left =< 0 -> Figures;
batches(Port, Type, Seed, Left, Figures0) ->
    _ = rand:seed(exsss, {Seed, Left, index(Type)}),
    Cases = [random_case(Type) || _ <- lists:seq(1, min(Left, ?BATCH))],
    send(Port, Type, Cases),
    %% The port works meanwhile.
    Expected = [expected(Type, Options, Stream) || {Options, Stream, _} <- Cases],
    Answers = answer(Port),
    Figures = check(Type, Cases, Expected, Answers, Figures0),
    batches(Port, Type, Seed, Left - ?BATCH, Figures).

check(_Type, [], [], [], Figures) -> Figures;
check(Type, [Case | Cases], [Theirs | Expected], [Ours | Answers], Figures) ->
    case same(Theirs, Ours) of
        true -> check(Type, Cases, Expected, Answers, count(Theirs, Figures));
        false -> ct:fail({Type, {'case', Case}, {expected, Theirs}, {answer, Ours}})
    end.

count({Packets, End}, Figures0) ->
    Figures1 = add(packets, length(Packets), Figures0),
    case End of
        {bad, _} -> add(invalid, 1, Figures1);
        {incomplete, _, undefined} -> add(more, 1, Figures1);
        {incomplete, _, _} -> add(known_length, 1, add(more, 1, Figures1))
    end.

add(Key, N, Figures) -> maps:update_with(Key, fun(M) -> M + N end, N, Figures).

same({Theirs, End}, {Ours, End1}) -> same_end(End, End1) andalso same_packets(Theirs, Ours);
same(_, _) -> false.

%% Where decode_packet/3 knows no length, ours is a lower bound.
same_end({incomplete, At, undefined}, {incomplete, At, _}) -> true;
same_end(End, End1) -> End =:= End1.

same_packets(Same, Same) -> true;
same_packets([A | As], [B | Bs]) -> same_packet(A, B) andalso same_packets(As, Bs);
same_packets(_, _) -> false.

same_packet(Same, Same) -> true;
%% OTP 25 takes the first colon of an IPv6 literal for the port's.
same_packet(
    {http_request, Method, {absoluteURI, Scheme, Host, _, Path}, Version},
    {http_request, Method, {absoluteURI, Scheme, _, _, Path}, Version}
) ->
    is_bracket(Host) andalso not ipv6_literals();
same_packet(_, _) -> false.

is_bracket([$[ | _]) -> true;
is_bracket(<<$[, _/binary>>) -> true;
is_bracket(_) -> false.

ipv6_literals() ->
    {ok, {http_request, _, Uri, _}, _} =
        erlang:decode_packet(http_bin, <<"GET http://[::1]/ HTTP/1.1\r\n">>, []),
    Uri =:= {absoluteURI, http, <<"[::1]">>, undefined, <<"/">>}.

%%% The oracle

expected(Type, Options, Stream) -> oracle(Type, Options, Stream, 0, []).

%% decode_packet/3 has no state; a socket expects headers after a start line.
oracle(Type, Options, Stream, At, Packets) ->
    case decode(Type, Options, Stream) of
        {ok, Packet, Rest} ->
            Next = next_type(Type, Packet),
            oracle(Next, Options, Rest, At + byte_size(Stream) - byte_size(Rest), [
                Packet | Packets
            ]);
        {more, Length} ->
            {lists:reverse(Packets), {incomplete, At, Length}};
        {error, invalid} ->
            {lists:reverse(Packets), {bad, At}}
    end.

next_type(http, Packet) when element(1, Packet) =:= http_request -> {headers, http, httph};
next_type(http, Packet) when element(1, Packet) =:= http_response -> {headers, http, httph};
next_type(http_bin, Packet) when element(1, Packet) =:= http_request ->
    {headers, http_bin, httph_bin};
next_type(http_bin, Packet) when element(1, Packet) =:= http_response ->
    {headers, http_bin, httph_bin};
next_type({headers, Type, _}, http_eoh) -> Type;
next_type(Type, _) -> Type.

decode({headers, _, Type}, Options, Stream) -> decode(Type, Options, Stream);
decode(line, {PacketSize, LineLimit, Delimiter}, Stream) when
    LineLimit > 0, PacketSize >= LineLimit
->
    %% A socket's buffer never holds more than this.
    Held = binary:part(Stream, 0, min(LineLimit, byte_size(Stream))),
    case decode_packet(line, {PacketSize, LineLimit, Delimiter}, Held) of
        {ok, Line, _} ->
            <<_:(byte_size(Line))/binary, Rest/binary>> = Stream,
            {ok, Line, Rest};
        Other ->
            Other
    end;
decode(Type, Options, Stream) -> decode_packet(Type, Options, Stream).

decode_packet(Type, {PacketSize, LineLimit, Delimiter}, Stream) ->
    Options = [{line_delimiter, Delimiter} || Type =:= line],
    erlang:decode_packet(Type, Stream, [
        {packet_size, PacketSize}, {line_length, LineLimit} | Options
    ]).

%%% Streams

random_case(Type) ->
    Delimiter = one_of([$\n, $\n, $;, 0, 255]),
    {Frames, Sizes} = lists:unzip([frame(Type, Delimiter) || _ <- lists:seq(1, rand:uniform(4))]),
    Options = {packet_size(Type, Sizes), line_limit(Type, Sizes), Delimiter},
    {Options, disturb(iolist_to_binary(Frames), Type), rand:uniform(1 bsl 32) - 1}.

packet_size(Type, Sizes) ->
    case rand:uniform(10) of
        N when N =< 6 -> 0;
        7 -> 1 + rand:uniform(100);
        8 -> 16#7fffffff;
        %% Just fits, or just does not.
        _ -> max(least_limit(Type), one_of(Sizes) + rand:uniform(3) - 2)
    end.

line_limit(Type, Sizes) ->
    case rand:uniform(10) of
        N when N =< 4 -> 0;
        N when N =< 6 -> 9216;
        N when N =< 8 -> max(least_limit(Type), rand:uniform(60));
        _ -> max(least_limit(Type), one_of(Sizes) + rand:uniform(3) - 2)
    end.

least_limit(Type) when ?IS_HTTP(Type) -> 2;
least_limit(_) -> 1.

disturb(Stream, Type) ->
    case rand:uniform(100) of
        N when N =< 40 -> Stream;
        N when N =< 65 -> binary:part(Stream, 0, rand:uniform(byte_size(Stream) + 1) - 1);
        N when N =< 80 -> mutate(Stream, Type);
        N when N =< 95 -> mutate(mutate(Stream, Type), Type);
        _ -> garbage(Type)
    end.

mutate(<<>>, _) -> <<>>;
mutate(Stream, Type) ->
    %% The front holds what matters for a length.
    Near = min(byte_size(Stream), one_of([4, 16, byte_size(Stream)])),
    At = rand:uniform(Near) - 1,
    <<Before:At/binary, Byte, After/binary>> = Stream,
    case rand:uniform(5) of
        1 -> <<Before/binary, After/binary>>;
        2 -> <<Before/binary, (a_byte(Type)), Byte, After/binary>>;
        3 -> <<Before/binary, Byte, Byte, After/binary>>;
        4 -> <<Before/binary, (Byte bxor (1 bsl (rand:uniform(8) - 1))), After/binary>>;
        5 -> <<Before/binary, (a_byte(Type)), After/binary>>
    end.

garbage(Type) -> <<<<(a_byte(Type))>> || _ <- lists:seq(1, rand:uniform(30))>>.

a_byte(Type) when ?IS_HTTP(Type) ->
    one_of({$\r, $\n, $\s, $\t, $:, $/, $., $-, $a, $Z, $1, $[, $], $*, $", $}, 0, 127, 128, 255, any()});
a_byte(line) ->
    one_of({$\n, $\r, $;, 0, 255, any()});
a_byte(_) ->
    one_of({0, 1, 2, 3, 16#1f, 16#7f, 16#80, 16#84, 16#ff, any()}).

any() -> rand:uniform(256) - 1.

%% A frame and the size that packet_size counts.
frame(raw, _) ->
    Body = body(),
    {Body, byte_size(Body)};
frame(1, _) ->
    Body = body(255),
    {<<(byte_size(Body)), Body/binary>>, byte_size(Body)};
frame(2, _) ->
    Body = body(65535),
    {<<(byte_size(Body)):16, Body/binary>>, byte_size(Body)};
frame(4, _) ->
    Body = body(),
    case rand:uniform(30) of
        1 -> {<<(one_of([1 bsl 31 - 5, 1 bsl 31 - 4, 1 bsl 31, 1 bsl 32 - 1])):32, Body/binary>>, 1};
        _ -> {<<(byte_size(Body)):32, Body/binary>>, byte_size(Body)}
    end;
frame(sunrm, _) ->
    Body = body(),
    case rand:uniform(30) of
        1 -> {<<(one_of([1 bsl 31 - 5, 1 bsl 31 - 4, 1 bsl 32 - 5, 1 bsl 32 - 4])):32>>, 1};
        _ -> {<<(rand:uniform(2) - 1):1, (byte_size(Body)):31, Body/binary>>, byte_size(Body)}
    end;
frame(asn1, _) ->
    Body = body(),
    {[asn1_tag(), asn1_length(byte_size(Body)), Body], byte_size(Body)};
frame(cdr, _) ->
    Body = body(),
    Flags = any(),
    Size = byte_size(Body),
    Length =
        case Flags band 1 of
            1 -> <<Size:32/little>>;
            0 -> <<Size:32>>
        end,
    {<<"GIOP", 1, 2, Flags, (any()), Length/binary, Body/binary>>, Size};
frame(fcgi, _) ->
    Body = body(65535),
    Padding = rand:uniform(9) - 1,
    Size = byte_size(Body),
    {
        <<1, (any()), (any()):16, Size:16, Padding, 0, Body/binary, 0:Padding/unit:8>>,
        Size + Padding
    };
frame(tpkt, _) ->
    Body = body(65531),
    {<<3, (any()), (byte_size(Body) + 4):16, Body/binary>>, byte_size(Body)};
frame(ssl_tls, _) ->
    Body = body(32767 - 3),
    Size = byte_size(Body),
    case rand:uniform(4) of
        1 -> {<<1:1, (Size + 3):15, 1, 3, 1, Body/binary>>, Size};
        _ -> {<<(one_of([20, 21, 22, 23, any()])), 3, (any()), Size:16, Body/binary>>, Size}
    end;
frame(line, Delimiter) ->
    Text = body(),
    {[Text, Delimiter], byte_size(Text) + 1};
frame(Type, _) when ?IS_HTTP(Type) ->
    Line = iolist_to_binary(http_line(Type)),
    {Line, byte_size(Line)}.

body() -> body(70000).

body(Most) ->
    Size =
        case rand:uniform(1000) of
            1 -> rand:uniform(70000);
            N when N < 100 -> rand:uniform(300);
            _ -> rand:uniform(40) - 1
        end,
    case min(Size, Most) of
        Small when Small < 300 -> <<<<(a_byte(line))>> || _ <- lists:seq(1, Small)>>;
        Big -> binary:copy(<<"b">>, Big)
    end.

asn1_tag() ->
    case rand:uniform(3) of
        1 ->
            More = <<<<(any() bor 16#80)>> || _ <- lists:seq(1, rand:uniform(4) - 1)>>,
            [any() bor 16#1f, More, any() band 16#7f];
        _ ->
            16#30
    end.

asn1_length(Size) ->
    Octets = rand:uniform(6) - 1,
    if
        Size < 128, Octets < 2 -> Size;
        Octets > 4 -> [16#80 bor Octets, <<Size:Octets/unit:8>>];
        Octets > 0, Size < 1 bsl (8 * Octets) -> [16#80 bor Octets, <<Size:Octets/unit:8>>];
        true -> [16#84, <<Size:32>>]
    end.

http_line(Type) ->
    case rand:uniform(20) of
        N when N =< 5, (Type =:= http orelse Type =:= http_bin) -> [request(), eol()];
        N when N =< 8, (Type =:= http orelse Type =:= http_bin) -> [status_line(), eol()];
        N when N =< 9 -> [request(), eol()];
        N when N =< 10 -> [status_line(), eol()];
        N when N =< 17 -> [header(), eol()];
        N when N =< 19 -> eol();
        _ -> [garbage(http), eol()]
    end.

eol() -> one_of({"\r\n", "\r\n", "\r\n", "\n"}).

request() ->
    Method = one_of({
        "GET", "GET", "HEAD", "POST", "PUT", "DELETE", "TRACE", "OPTIONS", "PATCH", "get", "M(", ""
    }),
    [Method, blanks(), uri(), one_of({[], blanks(), [blanks(), protocol()], [blanks(), protocol()]})].

protocol() ->
    [
        one_of({"HTTP/", "HTTP/", "HTTP/", "http/", "HTTP"}),
        one_of({"1", "0", "12", ""}),
        one_of({".", ".", ".", ""}),
        one_of({"0", "1", "1", "10", ""}),
        one_of({"", "", "", " junk", "\rX"})
    ].

status_line() ->
    [
        one_of({"HTTP/1.1", "HTTP/1.0", "HTTP/1.", "HTTP/.1", "HTTP/"}),
        one_of({" ", " ", blanks(), ""}),
        one_of({"200", "404", "9999", "", "2x"}),
        one_of({" OK", " Not Found", " ", ""})
    ].

uri() ->
    one_of({
        "*",
        "/",
        ["/", path()],
        path(),
        [scheme(), host(), one_of({"", ":80", ":0", ":65536", ":", ":8x", ":80:90"})],
        [scheme(), host(), one_of({"", ":80", ":080"}), "/", path()],
        "host:443",
        "x",
        ""
    }).

scheme() -> one_of({"http://", "https://", "HTTP://", "hTTps://", "ftp://", "http:/"}).

host() -> one_of({"h", "www.example.com", "127.0.0.1", "[::1]", "[fe80::1]", "[", "[]", "[a]b", ""}).

path() -> one_of({"a", "a/b", "a?b=c&d", "%20", "a:b", "\"", [128]}).

blanks() -> one_of({" ", " ", " ", "  ", "\t", " \t "}).

header() ->
    {Name, _} = one_of(header_names()),
    [
        one_of({
            Name,
            string:lowercase(Name),
            string:uppercase(Name),
            "x-own-header",
            "-a--b-",
            "",
            binary:copy(<<"Ab-">>, 15 + rand:uniform(4)),
            binary:copy(<<"a">>, 48 + rand:uniform(4)),
            [" ", Name],
            [Name, " "],
            "n@me"
        }),
        one_of({":", ":", ":", ": ", ": ", ":\t ", ""}),
        one_of({"v", "value of it ", "", [0, 255], "a: b", fold(), fold()})
    ].

fold() -> ["b", eol(), one_of({"  c", "\td", " "}), one_of({"", [eol(), " e"]})].

header_names() ->
    [
        {Name, Index}
     || {Index, Name} <- lists:enumerate(
            binary:split(
                <<
                    "Cache-Control Connection Date Pragma Transfer-Encoding Upgrade Via Accept "
                    "Accept-Charset Accept-Encoding Accept-Language Authorization From Host "
                    "If-Modified-Since If-Match If-None-Match If-Range If-Unmodified-Since "
                    "Max-Forwards Proxy-Authorization Range Referer User-Agent Age Location "
                    "Proxy-Authenticate Public Retry-After Server Vary Warning Www-Authenticate "
                    "Allow Content-Base Content-Encoding Content-Language Content-Length "
                    "Content-Location Content-Md5 Content-Range Content-Type Etag Expires "
                    "Last-Modified Accept-Ranges Set-Cookie Set-Cookie2 X-Forwarded-For Cookie "
                    "Keep-Alive Proxy-Connection"
                >>,
                <<" ">>,
                [global]
            )
        )
    ].

one_of(Choices) when is_tuple(Choices) -> element(rand:uniform(tuple_size(Choices)), Choices);
one_of(Choices) -> lists:nth(rand:uniform(length(Choices)), Choices).

%%% The port

%% Builds the program, always: a stale one would answer for code that is gone.
framing_port(DataDir) ->
    Source = proplists:get_value(source, ?MODULE:module_info(compile)),
    Root = root([DataDir, filename:dirname(Source), os:getenv("PWD", ".")]),
    Target = filename:absname(os:getenv("CARGO_TARGET_DIR", "target"), Root),
    Binary = filename:join([Target, "release", "examples", "framing_port"]),
    case os:find_executable("cargo", os:getenv("PATH") ++ ":" ++ os:getenv("HOME") ++ "/.cargo/bin") of
        false ->
            filelib:is_regular(Binary) orelse ct:fail("neither cargo nor ~s", [Binary]);
        Cargo ->
            Build = open_port({spawn_executable, Cargo}, [
                {args, [
                    "build", "--release", "--package", "gen_tcp_rs_proto", "--example", "framing_port"
                ]},
                {cd, Root},
                exit_status,
                stderr_to_stdout,
                binary
            ]),
            {Status, Output} = output(Build, []),
            ct:log("~ts", [Output]),
            Status =:= 0 orelse ct:fail("cargo build: ~w~n~ts", [Status, Output])
    end,
    Binary.

root([]) -> ct:fail("no native/proto above");
root([Start | Starts]) ->
    case above(filename:absname(Start)) of
        none -> root(Starts);
        Root -> Root
    end.

above(Dir) ->
    case {filelib:is_regular(filename:join(Dir, "native/proto/Cargo.toml")), filename:dirname(Dir)} of
        {true, _} -> Dir;
        {false, Dir} -> none;
        {false, Parent} -> above(Parent)
    end.

output(Port, Output) ->
    receive
        {Port, {data, Data}} -> output(Port, [Output, Data]);
        {Port, {exit_status, Status}} -> {Status, iolist_to_binary(Output)}
    end.

open(Config) ->
    open_port({spawn_executable, ?config(binary, Config)}, [{packet, 4}, binary, exit_status]).

close(Port) ->
    true = port_close(Port),
    ok.

ask_one(Port, Type, Options, Stream) -> ask_one(Port, Type, Options, Stream, 1).

ask_one(Port, Type, Options, Stream, Cuts) ->
    send(Port, Type, [{Options, Stream, Cuts}]),
    [Answer] = answer(Port),
    Answer.

send(Port, Type, Cases) ->
    Index = index(Type),
    true = port_command(Port, [
        [<<Index, PacketSize:32, LineLimit:32, Delimiter, Cuts:32, (byte_size(Stream)):32>>, Stream]
     || {{PacketSize, LineLimit, Delimiter}, Stream, Cuts} <- Cases
    ]).

answer(Port) ->
    receive
        {Port, {data, Data}} -> binary_to_term(Data);
        {Port, {exit_status, Status}} -> ct:fail("framing_port has ended: ~w", [Status])
    end.

index(Type) -> index(Type, ?TYPES, 0).

index(Type, [Type | _], Index) -> Index;
index(Type, [_ | Types], Index) -> index(Type, Types, Index + 1).

integer_from(Name, Default) ->
    case os:getenv(Name) of
        false -> Default;
        Text -> list_to_integer(Text)
    end.
