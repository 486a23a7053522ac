%% The options that no backend of OTP has: their values, their effects and their errors.
-module(options_beyond_SUITE).

-export([all/0, suite/0, init_per_suite/1, end_per_suite/1]).
-export([set_and_read/1, inherited/1, refused_with_the_kernels_error/1, wrong_types/1, not_of_a_local_socket/1,
         read_only/1, unknown_to_the_driver/1]).
-export([max_mailbox/1, max_queue/1, tcp_info_of_a_connection/1, tcp_info_tells_the_state/1, queue/1, descriptor/1, defer_accept/1, fast_open/1, congestion_of_the_kernel/1]).

-import(options_walk, [driver/0, rs/1]).

-define(DEADLINE, 15000).

suite() ->
    [{timetrap, {minutes, 1}}].

all() ->
    [set_and_read, inherited, refused_with_the_kernels_error, wrong_types, not_of_a_local_socket, read_only, unknown_to_the_driver,
     max_mailbox, max_queue, tcp_info_of_a_connection, tcp_info_tells_the_state, queue, descriptor, defer_accept, fast_open, congestion_of_the_kernel].

init_per_suite(Config) ->
    ok = rs_test:start(rs),
    Config.

end_per_suite(_Config) ->
    ok.

%% `{Name, {Level, Option}, Values}`: what each value reads back as, `kernel` for what the kernel makes of it.
rows() ->
    [{busy_poll, {1, 46}, [{0, 0}, {50, 50}]},
     {congestion, {6, 13}, [{"reno", <<"reno">>}, {<<"reno">>, <<"reno">>}]},
     {defer_accept, {6, 9}, [{0, 0}, {5, kernel}, {-1, 0}, {100000, kernel}]},
     {incoming_cpu, {1, 49}, [{0, 0}]},
     {notsent_lowat, {6, 25}, [{16384, 16384}, {0, 0}, {16#ffffffff, 16#ffffffff}, {16#100000007, 7}]},
     {quickack, {6, 12}, [{true, true}, {false, false}]}].

%% Every call that sets them has the kernel's own value in the kernel, and getopts reads that.
set_and_read(_Config) ->
    [options_walk:with(rs(Family), fun(Driver) ->
         [begin
              Answer = options_walk:call(Call, {rs(Family), Driver}, {[{Name, Value}], [Name, raw(Number)]}),
              {_, true} = {{Family, Call, Name, Value, Answer}, is_read(Call, Name, Answer, Expected)}
          end || {Name, Number, Values} <- rows(), {Value, Expected} <- Values, Call <- [setopts, connect, listen]]
     end) || Family <- [inet, inet6]],
    ok.

raw({Level, Option}) -> {raw, Level, Option, 16}.

%% On a connection the kernel changes some by itself: then only the two readings must agree.
is_read(setopts, Name, {ok, {ok, Read}, []}, Expected) -> agree(Name, Read, Expected);
is_read(connect, Name, {ok, Read, []}, _) when Name =:= quickack; Name =:= incoming_cpu -> agree(Name, Read, kernel);
is_read(listen, quickack, {ok, Read, []}, _) -> agree(quickack, Read, kernel);
is_read(_Call, Name, {ok, Read, []}, Expected) -> agree(Name, Read, Expected);
is_read(_Call, _Name, _Answer, _Expected) -> false.

agree(Name, {ok, [{Name, Value}, {raw, _, _, Kernel}]}, Expected) ->
    Read = case {Value, Kernel} of
               {Text, _} when is_binary(Text) -> hd(binary:split(Kernel, <<0>>));
               {Boolean, <<Number:32/native>>} when is_boolean(Boolean) -> Number =/= 0;
               {Integer, <<Number:32/native>>} when Name =:= notsent_lowat, is_integer(Integer) -> Number;
               {_, <<Number:32/signed-native>>} -> Number
           end,
    Value =:= Read andalso lists:member(Expected, [kernel, Value]);
agree(_Name, _Read, _Expected) ->
    false.

%% An accepted socket has those that the kernel gives it, also when they were set after listen.
inherited(_Config) ->
    options_walk:with(rs(inet), fun(Driver) ->
        [begin
             {ok, {ok, [{Name, Read}]}, []} = options_walk:call(accept, {rs(inet), Driver}, {[{Name, Value}], [Name]}),
             {ok, {ok, {ok, [{Name, Read}]}, {ok, [{Name, Read}]}}, []} =
                 options_walk:call(accept_later, {rs(inet), Driver}, {[{Name, Value}], [Name]})
         end || {Name, Value, Read} <- [{congestion, "reno", <<"reno">>}, {notsent_lowat, 5000, 5000}, {busy_poll, 40, 40}]]
    end),
    ok.

%% What the kernel refuses is its own error: from setopts and listen returned, from connect too unless it is einval.
refused_with_the_kernels_error(_Config) ->
    options_walk:with(rs(inet), fun(Driver) ->
        Call = fun(Call, Option) -> options_walk:call(Call, {rs(inet), Driver}, {[Option], []}) end,
        [begin
             {ok, {{error, Error}, []}, []} = Call(setopts, Option),
             {{error, Error}, []} = Call(listen, Option),
             Expected = case Error of
                            einval -> {{raised, exit, badarg}, []};
                            _ -> {{error, Error}, []}
                        end,
             Expected = Call(connect, Option)
         end || {Option, Error} <- [{{congestion, <<"no-such-thing">>}, enoent}, {{congestion, ""}, einval}, {{busy_poll, -1}, einval},
                                    {{fastopen, -1}, einval}, {{congestion, binary:copy(<<"x">>, 17)}, einval}]],
        %% Fast open is for sockets that are not connected yet.
        {ok, {{error, einval}, []}, []} = Call(setopts, {fastopen, true}),
        {ok, {{error, einval}, []}, []} = Call(setopts, {fastopen, 5})
    end),
    ok.

%% A value of the wrong type is as everywhere: exit(badarg) from connect and listen, einval from setopts.
wrong_types(_Config) ->
    Bad = [{busy_poll, [foo, true, 1.0, "5"]}, {congestion, [reno, 5, [foo], [300], <<1:1>>]}, {defer_accept, [foo, infinity]}, {incoming_cpu, [foo, []]},
           {notsent_lowat, [-1, foo, 1.0]}, {quickack, [1, 0, foo]}, {fastopen, [foo, "5", 1.0]}],
    options_walk:with(rs(inet), fun(Driver) ->
        [begin
             {Option, Expected} = {Option, options_walk:call(Call, {rs(inet), Driver}, {[Option], []})}
         end || {Name, Values} <- Bad, Value <- Values, Option <- [{Name, Value}],
                {Call, Expected} <- [{connect, {{raised, exit, badarg}, []}}, {listen, {{raised, exit, badarg}, []}},
                                     {setopts, {ok, {{error, einval}, []}, []}}]]
    end),
    ok.

%% A local socket has none of TCP's: they are enotsup, as from a kernel that lacks them, and left out when read.
not_of_a_local_socket(_Config) ->
    Options = [{congestion, "reno"}, {defer_accept, 1}, {fastopen, true}, {fastopen, 5}, {notsent_lowat, 1}, {quickack, true}],
    options_walk:with(rs(local), fun(Driver) ->
        [begin
             {ok, {{error, enotsup}, {ok, []}}, []} = options_walk:call(setopts, {rs(local), Driver}, {[Option], [Name]}),
             {{error, enotsup}, []} = options_walk:call(connect, {rs(local), Driver}, {[Option], []}),
             {{error, enotsup}, []} = options_walk:call(listen, {rs(local), Driver}, {[Option], []})
         end || {Name, _} = Option <- Options],
        {ok, {ok, {ok, [{busy_poll, 7}]}}, []} = options_walk:call(setopts, {rs(local), Driver}, {[{busy_poll, 7}], [tcp_info, busy_poll]})
    end),
    ok.

%% tcp_info, queue and fd tell something and cannot be set.
read_only(_Config) ->
    options_walk:with(rs(inet), fun(Driver) ->
        [begin
             {ok, {{error, einval}, []}, []} = options_walk:call(setopts, {rs(inet), Driver}, {[{Name, 1}], []}),
             {{raised, exit, badarg}, []} = options_walk:call(Call, {rs(inet), Driver}, {[{Name, 1}], []})
         end || {Call, Name} <- [{listen, tcp_info}, {connect, tcp_info}, {listen, queue}, {connect, queue}]]
    end),
    {Socket, _} = rs_test:client(rs(inet), []),
    {error, einval} = inet:setopts(Socket, [{fd, 1}]),
    ok.

%% OTP's own backend has none of them, on any release: the case that says when one stops being an extension.
unknown_to_the_driver(_Config) ->
    {Socket, _} = rs_test:client(driver(), []),
    [{Name, {error, einval}} = {Name, inet:getopts(Socket, [Name])}
     || Name <- [busy_poll, congestion, defer_accept, fastopen, fd, incoming_cpu, max_mailbox, max_queue, notsent_lowat, queue, quickack, tcp_info]],
    ok.

%% The limit of the mailbox reads back, in every call and inherited; a wrong value is refused.
max_mailbox(_Config) ->
    options_walk:with(rs(inet), fun(Driver) ->
        [begin
             Answer = options_walk:call(Call, {rs(inet), Driver}, {[{max_mailbox, Value}], [max_mailbox]}),
             {_, true} = {{Call, Answer}, lists:member(Answer, [{ok, {ok, {ok, [{max_mailbox, Value}]}}, []}, {ok, {ok, [{max_mailbox, Value}]}, []}])}
         end || Value <- [infinity, 1, 1000, 16#ffffffff], Call <- [setopts, connect, listen, accept]],
        [begin
             {ok, {{error, einval}, []}, []} = options_walk:call(setopts, {rs(inet), Driver}, {[{max_mailbox, Bad}], []}),
             [{{raised, exit, badarg}, []} = options_walk:call(Call, {rs(inet), Driver}, {[{max_mailbox, Bad}], []}) || Call <- [connect, listen]]
         end || Bad <- [0, -1, 16#100000000, 1 bsl 70, foo, 1.0, {1000, close}, []]]
    end),
    ok.

%% The limit of the queue reads back with its policy, in every call and inherited; a wrong value is refused.
max_queue(_Config) ->
    Values = [{infinity, infinity}, {0, {0, refuse}}, {1000, {1000, refuse}}, {{1000, refuse}, {1000, refuse}},
              {{16#ffffffff, close}, {16#ffffffff, close}}],
    options_walk:with(rs(inet), fun(Driver) ->
        [begin
             Answer = options_walk:call(Call, {rs(inet), Driver}, {[{max_queue, Value}], [max_queue]}),
             {_, true} = {{Call, Answer}, lists:member(Answer, [{ok, {ok, {ok, [{max_queue, Read}]}}, []}, {ok, {ok, [{max_queue, Read}]}, []}])}
         end || {Value, Read} <- Values, Call <- [setopts, connect, listen, accept]],
        [begin
             {ok, {{error, einval}, []}, []} = options_walk:call(setopts, {rs(inet), Driver}, {[{max_queue, Bad}], []}),
             [{{raised, exit, badarg}, []} = options_walk:call(Call, {rs(inet), Driver}, {[{max_queue, Bad}], []}) || Call <- [connect, listen]]
         end || Bad <- [-1, 16#100000000, foo, 1.0, {1000}, {1000, drop}, {close, 1000}, {-1, refuse}, {infinity, close}, [], {1, refuse, 1}]]
    end),
    ok.

%% tcp_info agrees with the kernel's structure and with what was sent and received.
tcp_info_of_a_connection(_Config) ->
    [begin
         {Socket, Peer} = rs_test:client(rs(Family), []),
         ok = gen_tcp:send(Socket, binary:copy(<<1>>, 5000)),
         {ok, _} = gen_tcp:recv(Peer, 5000, ?DEADLINE),
         ok = gen_tcp:send(Peer, binary:copy(<<1>>, 300)),
         {ok, _} = gen_tcp:recv(Socket, 300, ?DEADLINE),
         %% Until everything is acknowledged.
         ok = rs_test:poll(fun() -> maps:get(unacked, tcp_info(Socket)) =:= 0 end),
         #{state := established, bytes_sent := 5000, bytes_received := 300, notsent := 0, retransmits := 0, total_retrans := 0,
           rtt := Rtt, rttvar := Variance, cwnd := Window, delivery_rate := Rate} = tcp_info(Socket),
         %% Microseconds on the loopback.
         true = Rtt > 0 andalso Rtt < 10000000,
         true = Variance >= 0 andalso Window > 0 andalso Rate > 0,
         {ok, [{raw, 6, 11, <<1, _:31/binary, Mss:32/native, _/binary>>}]} = inet:getopts(Socket, [{raw, 6, 11, 256}]),
         #{rcv_mss := _, snd_mss := _} = Info = tcp_info(Socket),
         true = is_integer(Mss),
         [] = [Name || {Name, Value} <- maps:to_list(Info), not (is_atom(Name) andalso (is_integer(Value) orelse Name =:= state))]
     end || Family <- [inet, inet6]],
    ok.

tcp_info(Socket) ->
    {ok, [{tcp_info, Info}]} = inet:getopts(Socket, [tcp_info]),
    Info.

%% The state is that of the connection, of a listener too; what is not sent yet shows.
tcp_info_tells_the_state(_Config) ->
    Listen = options_walk:listener(rs(inet), []),
    listen = maps:get(state, tcp_info(Listen)),
    {Socket, Peer} = rs_test:pair(rs(inet), [], []),
    ok = gen_tcp:shutdown(Peer, write),
    ok = rs_test:poll(fun() -> maps:get(state, tcp_info(Socket)) =:= close_wait end),
    ok = rs_test:poll(fun() -> maps:get(state, tcp_info(Peer)) =:= fin_wait2 end),
    {Full, _} = rs_test:client(rs(inet), []),
    _ = rs_test:fill(Full),
    ok = rs_test:stalled(Full),
    true = maps:get(notsent, tcp_info(Full)) > 0,
    ok = inet:setopts(Full, [{linger, {true, 0}}]),
    gen_tcp:close(Full).

%% queue is what lies here and not in the kernel: what getstat calls send_pend, and nothing once it has been read.
queue(_Config) ->
    {Socket, Peer} = rs_test:client(rs(inet), []),
    {ok, [{queue, 0}]} = inet:getopts(Socket, [queue]),
    Count = rs_test:fill(Socket),
    ok = rs_test:stalled(Socket),
    {ok, [{queue, Queued}]} = inet:getopts(Socket, [queue]),
    {ok, [{send_pend, Queued}]} = inet:getstat(Socket, [send_pend]),
    true = Queued > 0 andalso Queued < Count,
    ok = rs_test:drain(Peer, Count),
    ok = rs_test:poll(fun() -> inet:getopts(Socket, [queue]) =:= {ok, [{queue, 0}]} end),
    ok.

%% fd is the number that the system has for the socket, on every kind of one.
descriptor(_Config) ->
    [begin
         {Socket, _} = rs_test:Make(rs(Family), []),
         {ok, [{fd, Fd}]} = inet:getopts(Socket, [fd]),
         {ok, Fd} = inet:getfd(Socket),
         {ok, "socket:" ++ _} = file:read_link("/proc/self/fd/" ++ integer_to_list(Fd))
     end || Family <- [inet, inet6, local], Make <- [client, server]],
    Listen = options_walk:listener(rs(inet), []),
    {ok, [{fd, Fd}]} = inet:getopts(Listen, [fd]),
    {ok, Fd} = inet:getfd(Listen),
    ok.

%% With defer_accept a connection is not accepted before its first data, and then the data is there.
defer_accept(_Config) ->
    Connected = fun(Options) ->
                        Listen = options_walk:listener(rs(inet), Options),
                        {ok, Client} = rs_test:connect(driver(), Listen, []),
                        {Listen, Client}
                end,
    {Soon, _} = Connected([]),
    {ok, _} = gen_tcp:accept(Soon, ?DEADLINE),
    {Listen, Client} = Connected([{defer_accept, 30}]),
    {error, timeout} = gen_tcp:accept(Listen, 0),
    ok = gen_tcp:send(Client, "first"),
    {ok, Socket} = gen_tcp:accept(Listen, ?DEADLINE),
    {ok, "first"} = gen_tcp:recv(Socket, 0, 0),
    ok.

%% With fastopen connect returns at once, data goes with the first packet or after it, and the listener has its queue.
fast_open(_Config) ->
    Listen = options_walk:listener(rs(inet), [{fastopen, 7}]),
    {ok, [{fastopen, 7}, {raw, 6, 23, <<7:32/native>>}]} = inet:getopts(Listen, [fastopen, {raw, 6, 23, 4}]),
    [begin
         {ok, Client} = rs_test:connect(rs(inet), Listen, [{fastopen, true}]),
         {ok, [{fastopen, true}]} = inet:getopts(Client, [fastopen]),
         ok = gen_tcp:send(Client, "hello"),
         {ok, Server} = gen_tcp:accept(Listen, ?DEADLINE),
         {ok, "hello"} = gen_tcp:recv(Server, 5, ?DEADLINE),
         ok = gen_tcp:send(Server, "world"),
         {ok, <<"world">>} = gen_tcp:recv(Client, 5, ?DEADLINE),
         ok = gen_tcp:close(Client),
         {error, closed} = gen_tcp:recv(Server, 0, ?DEADLINE)
     end || _ <- [without_a_cookie, with_one]],
    {ok, Plain} = rs_test:connect(rs(inet), Listen, [{fastopen, false}]),
    {ok, [{fastopen, false}]} = inet:getopts(Plain, [fastopen]),
    ok.

%% Every congestion control that the kernel offers can be chosen by its name, and the default is the system's.
congestion_of_the_kernel(_Config) ->
    Names = fun(File) -> {ok, Text} = file:read_file("/proc/sys/net/ipv4/" ++ File), string:lexemes(Text, " \n") end,
    [Default] = Names("tcp_congestion_control"),
    {Socket, _} = rs_test:client(rs(inet), []),
    {ok, [{congestion, Default}]} = inet:getopts(Socket, [congestion]),
    [begin
         ok = inet:setopts(Socket, [{congestion, Name}]),
         {ok, [{congestion, Name}]} = inet:getopts(Socket, [congestion])
     end || Name <- Names("tcp_allowed_congestion_control")],
    ok.
