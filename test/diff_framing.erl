%% Observations on framing: every packet type, well-formed, at its limits and malformed.
%%
%% A row is `{Name, Options, Wire}`. Each is read five ways: by recv, in the three active modes, and
%% with the bytes arriving one at a time. The peer then closes its sending side, so that every way ends.
-module(diff_framing).

-export([observations/0]).

-import(rs_test, [client/2, server/2, next/0, until_closed/1]).

-spec observations() -> [{string(), fun((rs_test:context()) -> term())}].
observations() ->
    lists:append([ways(Row) || Row <- rows()]) ++ changes().

ways({Name, Options, Wire}) ->
    [{Name ++ ", by recv", fun(C) -> by_recv(C, Options, [Wire]) end},
     {Name ++ ", active", fun(C) -> active(C, [{active, true} | Options], [Wire]) end},
     {Name ++ ", once", fun(C) -> once(C, Options, [Wire]) end},
     {Name ++ ", by twos", fun(C) -> by_twos(C, Options, [Wire]) end},
     {Name ++ ", a byte at a time", fun(C) -> active(C, [{active, true} | Options], bytes(Wire)) end}].

bytes(Wire) ->
    [<<Byte>> || <<Byte>> <= iolist_to_binary(Wire)].

%% A malformed frame makes the other side close before all of it is sent.
feed(Peer, Wire) ->
    ok = inet:setopts(Peer, [{nodelay, true}]),
    _ = [gen_tcp:send(Peer, Bytes) || Bytes <- Wire],
    _ = gen_tcp:shutdown(Peer, write),
    ok.

%% Everything up to the first error, and what the call after that says.
by_recv(C, Options, Wire) ->
    {Socket, Peer} = client(C, Options),
    feed(Peer, Wire),
    received(Socket).

received(Socket) ->
    case gen_tcp:recv(Socket, 0, 10000) of
        {ok, Packet} -> [Packet | received(Socket)];
        {error, _} = Error -> [Error, gen_tcp:recv(Socket, 0, 10000)]
    end.

active(C, Options, Wire) ->
    {Socket, Peer} = server(C, Options),
    feed(Peer, Wire),
    until_closed(Socket).

once(C, Options, Wire) ->
    {Socket, Peer} = client(C, Options),
    feed(Peer, Wire),
    rearmed(Socket).

rearmed(Socket) ->
    Armed = inet:setopts(Socket, [{active, once}]),
    case next() of
        nothing -> [nothing];
        {tcp_closed, Socket} = Message -> [Armed, Message];
        {tcp_error, Socket, _} = Message -> [Armed, Message, next()];
        Message -> [Armed, Message | rearmed(Socket)]
    end.

by_twos(C, Options, Wire) ->
    {Socket, Peer} = client(C, [{active, 2} | Options]),
    feed(Peer, Wire),
    twos(Socket).

twos(Socket) ->
    case next() of
        nothing -> [nothing];
        {tcp_closed, Socket} = Message -> [Message];
        {tcp_passive, Socket} = Message ->
            Left = inet:getopts(Socket, [active]),
            [Message, Left, inet:setopts(Socket, [{active, 2}]) | twos(Socket)];
        Message -> [Message | twos(Socket)]
    end.

rows() ->
    lengths() ++ formats() ++ lines() ++ shapes() ++ http() ++ http_limits().

lengths() ->
    [{"packet 1", [{packet, 1}], [<<1, "a">>, <<0>>, <<3, "abc">>]},
     {"packet 1, longest", [{packet, 1}], [<<255>>, binary:copy(<<"x">>, 255), <<2, "yz">>]},
     {"packet 2", [{packet, 2}], [<<1:16, "a">>, <<0:16>>, <<300:16>>, binary:copy(<<"b">>, 300)]},
     {"packet 4", [{packet, 4}], [<<1:32, "a">>, <<0:32>>, <<5000:32>>, binary:copy(<<"c">>, 5000)]},
     {"packet 4, cut short", [{packet, 4}], [<<2:32, "ok">>, <<10:32, "only">>]},
     {"packet 2, half a header", [{packet, 2}], [<<2:16, "ok">>, <<0>>]},
     {"packet 4, largest length", [{packet, 4}], [<<2:32, "ok">>, <<16#7ffffffb:32, "x">>]},
     {"packet 4, length too large", [{packet, 4}], [<<16#7ffffffc:32, "x">>]},
     {"packet 4, negative length", [{packet, 4}], [<<16#80000000:32, "x">>]},
     {"packet 4, all ones", [{packet, 4}], [<<16#ffffffff:32, "x">>]},
     {"packet 4, bad after good", [{packet, 4}], [<<2:32, "ok">>, <<16#ffffffff:32, "x">>]},
     {"packet_size, just fits", [{packet, 2}, {packet_size, 5}], [<<5:16, "12345">>, <<1:16, "a">>]},
     {"packet_size, one too long", [{packet, 2}, {packet_size, 5}], [<<2:16, "ok">>, <<6:16, "123456">>]},
     {"packet_size 1, first frame too long", [{packet, 1}, {packet_size, 1}], [<<2, "ab">>]}].

formats() ->
    [{"sunrm", [{packet, sunrm}], [<<1:1, 3:31, "abc">>, <<0:1, 2:31, "de">>, <<1:1, 0:31>>]},
     {"sunrm, packet_size", [{packet, sunrm}, {packet_size, 3}], [<<1:1, 3:31, "abc">>, <<1:1, 4:31, "abcd">>]},
     {"asn1, short", [{packet, asn1}], [<<16#30, 3, "abc">>, <<16#02, 0>>]},
     {"asn1, long length", [{packet, asn1}],
      [<<16#30, 16#82, 300:16>>, binary:copy(<<"a">>, 300), <<16#30, 16#81, 2, "ab">>]},
     {"asn1, long tag", [{packet, asn1}], [<<16#1f, 16#81, 16#01, 2, "ab">>, <<16#04, 1, "c">>]},
     {"asn1, indefinite", [{packet, asn1}], [<<16#30, 16#80>>, <<16#04, 1, "c">>]},
     {"asn1, five length bytes", [{packet, asn1}], [<<16#30, 16#85, 0, 0, 0, 0, 1, "x">>]},
     {"asn1, packet_size", [{packet, asn1}, {packet_size, 3}], [<<16#30, 3, "abc">>, <<16#30, 4, "abcd">>]},
     {"cdr, big-endian", [{packet, cdr}], [<<"GIOP", 1, 2, 0, 0, 3:32, "abc">>]},
     {"cdr, little-endian", [{packet, cdr}],
      [<<"GIOP", 1, 2, 1, 0, 3:32/little, "abc">>, <<"GIOP", 1, 0, 0, 0, 0:32>>]},
     {"cdr, wrong magic", [{packet, cdr}], [<<"GIOQ", 1, 2, 0, 0, 3:32, "abc">>]},
     {"cdr, negative size", [{packet, cdr}], [<<"GIOP", 1, 2, 0, 0, 16#ffffffff:32, "abc">>]},
     {"fcgi", [{packet, fcgi}], [<<1, 1, 7:16, 3:16, 5, 0, "abc", 0:40>>, <<1, 2, 7:16, 0:16, 0, 0>>]},
     {"fcgi, wrong version", [{packet, fcgi}], [<<2, 1, 7:16, 3:16, 5, 0, "abc", 0:40>>]},
     {"fcgi, packet_size counts padding", [{packet, fcgi}, {packet_size, 7}],
      [<<1, 1, 7:16, 3:16, 5, 0, "abc", 0:40>>]},
     {"tpkt", [{packet, tpkt}], [<<3, 0, 7:16, "abc">>, <<3, 0, 4:16>>, <<3, 9, 5:16, "x">>]},
     {"tpkt, wrong version", [{packet, tpkt}], [<<3, 0, 5:16, "x">>, <<4, 0, 7:16, "abc">>]},
     {"tpkt, length below the header", [{packet, tpkt}], [<<3, 0, 3:16, "abc">>]},
     {"ssl_tls", [{packet, ssl_tls}], [<<22, 3, 1, 4:16, "abcd">>, <<23, 3, 3, 0:16>>, <<21, 3, 3, 2:16, 1, 0>>]}].

lines() ->
    [{"line", [{packet, line}], ["one\n", "two\r\n", "\n", "three\n"]},
     {"line, no end", [{packet, line}], ["one\n", "rest"]},
     {"line, longer than the buffer", [{packet, line}, {buffer, 10}], ["0123456789abcdefghij0123\n", "next\n"]},
     {"line, exactly the buffer", [{packet, line}, {buffer, 10}], ["012345678\n", "0123456789\n"]},
     {"line, packet_size fits", [{packet, line}, {packet_size, 6}], ["12345\n", "1\n"]},
     {"line, packet_size too small", [{packet, line}, {packet_size, 5}], ["1\n", "12345\n"]},
     {"line, packet_size beyond the buffer", [{packet, line}, {buffer, 8}, {packet_size, 12}],
      ["0123456789ab\n", "x\n"]},
     {"line, list mode", [list, {packet, line}], ["one\n", "two\n"]}].

shapes() ->
    [{"header 2", [{packet, 1}, {header, 2}], [<<4, "abcd">>, <<2, "ab">>, <<1, "a">>, <<0>>, <<3, "abc">>]},
     {"header in list mode", [list, {packet, 1}, {header, 2}], [<<4, "abcd">>, <<1, "a">>]},
     {"header with line", [{packet, line}, {header, 1}], ["abc\n", "\n"]},
     {"list mode", [list, {packet, 2}], [<<3:16, 0, 128, 255>>, <<0:16>>]},
     {"mode option", [{mode, list}, {packet, 2}], [<<3:16, "abc">>]}].

http() ->
    [{Name ++ Suffix, [{packet, Type} | Options], Wire}
     || {Type, Suffix} <- [{http, ""}, {http_bin, ", binary"}],
        {Name, Options, Wire} <-
            [{"http request", [],
              ["GET /index.html?a=b HTTP/1.1\r\nHost: example.org\r\ncontent-length:  7 \r\n"
               "x-odd-Name:\r\nSet-Cookie2: a\r\n\r\nBODY\n"]},
             {"http response", [],
              ["HTTP/1.1 200 OK\r\nServer: x\r\n\r\n", "HTTP/1.0 404\r\n\r\n", "HTTP/1.1 99999 \r\n\n"]},
             {"http methods and forms", [],
              ["OPTIONS * HTTP/1.1\r\n\r\n", "PATCH /x HTTP/2.10 junk\r\n\r\n", "get / HTTP/1.0\rX\n\n",
               "CONNECT host:443 HTTP/1.1\r\n\r\n", "HEAD http://a.b:8080/p?q HTTP/1.1\r\n\r\n",
               "PUT HTTPS://a.b HTTP/1.1\r\n\r\n", "DELETE z HTTP/1.1\r\n\r\n", "TRACE ab HTTP/1.1\r\n\r\n",
               "POST\t /two   HTTP/0.9\n\n", "GET /none\r\n\r\n"]},
             {"http errors", [],
              ["\r\n", "bad line\r\n", "GE(T / HTTP/1.1\r\n", "HTTP/1.1 OK\r\n", "HTTP/1 200 OK\r\n",
               "GET / HTTP/1.1\r\n", "Bad Header: x\r\n", ": empty name\r\n", "nocolon\r\n", "Fine: yes\r\n", "\r\n"]},
             {"http folding", [],
              ["GET / HTTP/1.1\r\nA: b\r\n  c\r\n\td\r\nE: f\r\n\r\n"]},
             {"http fold first", [], ["GET / HTTP/1.1\r\n folded: x\r\nB: c\r\n\r\n"]},
             {"http header names", [],
              [["HTTP/1.1 200 OK\r\n", name(50), ": fifty\r\n", name(51), ": more\r\n",
                "CONTENT-md5: x\r\nwww-authenticate: y\r\nETAG: z\r\nkeep-alive: w\r\n"
                "X-FORWARDED-FOR: v\r\nProxy-connection: u\r\ntE: t\r\na-b-c: s\r\nbytes: ", 0, 255, "\r\n\r\n"]]},
             {"http, header cut short", [], ["GET / HTTP/1.1\r\nHost: a\r\nAccept: b"]},
             {"http in list mode with header", [list, {header, 3}], ["GET / HTTP/1.1\r\nHost: a\r\n\r\n"]}]]
    ++ [{"httph", [{packet, httph}], ["Host: a\r\nX: y\r\n\r\nA: b\r\n\r\n"]},
        {"httph_bin", [{packet, httph_bin}], ["Host: a\r\nX: y\r\n\r\nGET / HTTP/1.1\r\nA: b\r\n\r\n"]}].

name(Length) ->
    lists:duplicate(Length - 2, $a) ++ "-b".

http_limits() ->
    Line = fun(Length) -> ["GET /", lists:duplicate(Length - 16, $u), " HTTP/1.1\r\n"] end,
    [{"http, line of packet_size", [{packet, http}, {packet_size, 100}], [Line(100), "\r\n"]},
     {"http, line beyond packet_size", [{packet, http}, {packet_size, 100}], [Line(101), "\r\n"]},
     {"http, line beyond the buffer", [{packet, http_bin}, {buffer, 100}], [Line(101), "\r\n"]},
     {"http, line of the buffer", [{packet, http_bin}, {buffer, 100}], [Line(100), "\r\n"]},
     {"http, packet_size beyond the buffer", [{packet, http}, {buffer, 50}, {packet_size, 200}], [Line(200), "\r\n"]},
     {"http, header beyond packet_size", [{packet, http}, {packet_size, 40}],
      ["GET / HTTP/1.1\r\n", "A: ", lists:duplicate(60, $x), "\r\n\r\n"]},
     {"http, endless line", [{packet, http}, {packet_size, 64}], [lists:duplicate(200, $x)]}].

%% ---- the packet type changes with bytes already there ----

changes() ->
    [{"change line to raw in the buffer",
      fun(C) ->
              {Socket, Peer} = client(C, [{packet, line}]),
              ok = gen_tcp:send(Peer, "first\nrest"),
              First = gen_tcp:recv(Socket, 0),
              Set = inet:setopts(Socket, [{packet, raw}]),
              {First, Set, gen_tcp:recv(Socket, 4)}
      end},
     {"change raw to packet 2 in the buffer",
      fun(C) ->
              {Socket, Peer} = client(C, []),
              ok = gen_tcp:send(Peer, <<"x", 3:16, "abc", 1:16, "d">>),
              First = gen_tcp:recv(Socket, 1),
              Set = inet:setopts(Socket, [{packet, 2}]),
              {First, Set, gen_tcp:recv(Socket, 0), gen_tcp:recv(Socket, 0)}
      end},
     {"http, then raw for the body",
      fun(C) ->
              {Socket, Peer} = client(C, [{packet, http_bin}]),
              ok = gen_tcp:send(Peer, "POST / HTTP/1.1\r\nContent-Length: 4\r\n\r\nbody"),
              Packets = [gen_tcp:recv(Socket, 0) || _ <- [1, 2, 3]],
              Set = inet:setopts(Socket, [{packet, raw}]),
              {Packets, Set, gen_tcp:recv(Socket, 4)}
      end},
     {"http state outlives a change to raw and back",
      fun(C) ->
              {Socket, Peer} = client(C, [{packet, http}]),
              ok = gen_tcp:send(Peer, "GET / HTTP/1.1\r\nA: b\r\nC: d\r\n\r\n"),
              First = gen_tcp:recv(Socket, 0),
              ok = inet:setopts(Socket, [{packet, raw}]),
              Raw = gen_tcp:recv(Socket, 6),
              ok = inet:setopts(Socket, [{packet, http}]),
              {First, Raw, gen_tcp:recv(Socket, 0), gen_tcp:recv(Socket, 0)}
      end},
     {"httph, then http stays among the headers",
      fun(C) ->
              {Socket, Peer} = client(C, [{packet, httph}]),
              ok = gen_tcp:send(Peer, "A: b\r\nGET / HTTP/1.1\r\n\r\n\r\n"),
              First = gen_tcp:recv(Socket, 0),
              ok = inet:setopts(Socket, [{packet, http}]),
              {First, gen_tcp:recv(Socket, 0), gen_tcp:recv(Socket, 0)}
      end},
     {"switch to passive inside a frame, recv completes it",
      fun(C) ->
              {Socket, Peer} = client(C, [{packet, 2}, {active, true}]),
              ok = gen_tcp:send(Peer, <<2:16, "ok", 5:16, "ab">>),
              First = next(),
              ok = inet:setopts(Socket, [{active, false}]),
              ok = gen_tcp:send(Peer, <<"cde">>),
              {First, gen_tcp:recv(Socket, 0)}
      end},
     {"deliver port",
      fun(C) ->
              {Socket, Peer} = client(C, [{packet, line}, {deliver, port}, {active, 2}]),
              ok = gen_tcp:send(Peer, "one\ntwo\nthree\n"),
              Three = [next(), next(), next()],
              ok = inet:setopts(Socket, [{deliver, term}, {active, once}]),
              {Three, next(), gen_tcp:close(Socket)}
      end},
     {"deliver port leaves http unparsed",
      fun(C) ->
              {Socket, Peer} = client(C, [list, {packet, http}, {deliver, port}, {active, true}]),
              ok = gen_tcp:send(Peer, "GET / HTTP/1.1\r\n"),
              First = next(),
              ok = gen_tcp:shutdown(Peer, write),
              {First, until_closed(Socket)}
      end},
     {"line_delimiter by connect and setopts",
      fun(C) ->
              {Socket, Peer} = client(C, [{packet, line}, {line_delimiter, $X}]),
              ok = gen_tcp:send(Peer, "abcXdef\nX12Y3X"),
              Two = [gen_tcp:recv(Socket, 0), gen_tcp:recv(Socket, 0)],
              Set = inet:setopts(Socket, [{line_delimiter, $Y}]),
              Third = gen_tcp:recv(Socket, 0),
              Wrapped = inet:setopts(Socket, [{line_delimiter, 256 + $X}]),
              {Two, Set, Third, Wrapped, gen_tcp:recv(Socket, 0), inet:getopts(Socket, [line_delimiter])}
      end}].
