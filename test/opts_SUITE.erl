%% How option lists become what the native library takes. Nothing here opens a socket,
%% but for the case that asks OTP's own module what it makes of the same addresses.
-module(opts_SUITE).

-export([all/0, init_per_testcase/2, end_per_testcase/2]).

-export([first_family_wins/1, bound_address_says_the_family/1, destination_says_the_family/1,
         node_default_says_the_family/1, what_is_no_family_stays/1]).
-export([options_keep_their_order/1, every_option_reaches_the_table/1, raw_has_two_spellings/1,
         backend_options_are_ignored/1, improper_lists_raise/1, odd_terms_are_badarg/1]).
-export([connect_binds_on_demand/1, listen_always_binds/1, local_sockets/1, port_option/1,
         ranges_of_addresses/1, other_family_is_badarg/1, sockaddr_maps/1, incomplete_maps_raise/1,
         einval_of_listen/1]).
-export([descriptor_and_namespace_share_a_place/1, descriptor_is_bound_by_an_address/1,
         backlog/1, protocol/1]).
-export([defaults_of_the_node/1, active_among_the_defaults/1, single_default/1]).
-export([fdopen/1, setopts/1, getopts/1, filenames/1, addresses_as_inet_has_them/1]).

-define(ANY, {0, 0, 0, 0}).
-define(ANY6, {0, 0, 0, 0, 0, 0, 0, 0}).
-define(LOOPBACK, {127, 0, 0, 1}).
-define(LOOPBACK6, {0, 0, 0, 0, 0, 0, 0, 1}).

all() ->
    [first_family_wins, bound_address_says_the_family, destination_says_the_family,
     node_default_says_the_family, what_is_no_family_stays,
     options_keep_their_order, every_option_reaches_the_table, raw_has_two_spellings,
     backend_options_are_ignored, improper_lists_raise, odd_terms_are_badarg,
     connect_binds_on_demand, listen_always_binds, local_sockets, port_option,
     ranges_of_addresses, other_family_is_badarg, sockaddr_maps, incomplete_maps_raise,
     einval_of_listen,
     descriptor_and_namespace_share_a_place, descriptor_is_bound_by_an_address,
     backlog, protocol,
     defaults_of_the_node, active_among_the_defaults, single_default,
     fdopen, setopts, getopts, filenames, addresses_as_inet_has_them].

init_per_testcase(_Case, Config) ->
    forget_defaults(),
    Config.

end_per_testcase(_Case, _Config) ->
    forget_defaults(),
    inet_db:set_tcp_module(inet_tcp).

forget_defaults() ->
    ok = application:unset_env(kernel, inet_default_connect_options),
    ok = application:unset_env(kernel, inet_default_listen_options).

%%% The family

%% Of the family atoms and OTP's own modules the first counts, and all are taken out.
first_family_wins(_Config) ->
    {inet6, [binary]} = gen_tcp_rs_opts:family([inet6, binary, inet, local], ?LOOPBACK),
    {inet, []} = gen_tcp_rs_opts:family([inet, {tcp_module, inet6_tcp}], any),
    {inet6, []} = gen_tcp_rs_opts:family([{tcp_module, inet6_tcp}, inet], any),
    {local, []} = gen_tcp_rs_opts:family([{tcp_module, local_tcp_rs}], any),
    %% Another module is how the caller came here.
    {inet6, []} = gen_tcp_rs_opts:family([{tcp_module, gen_tcp_rs}, inet6], any).

%% Without an atom the last ip or ifaddr counts, more than the destination.
bound_address_says_the_family(_Config) ->
    Family = fun(Options, To) -> element(1, gen_tcp_rs_opts:family(Options, To)) end,
    inet6 = Family([{ip, ?ANY}, {ifaddr, ?ANY6}], ?LOOPBACK),
    inet = Family([{ip, ?LOOPBACK}], ?LOOPBACK6),
    inet = Family([{ifaddr, loopback}], ?LOOPBACK6),
    inet6 = Family([{ifaddr, #{family => inet6}}], any),
    local = Family([{ifaddr, {local, "x"}}], any),
    inet = Family([inet, {ip, ?ANY6}], any).

%% Without either the destination counts.
destination_says_the_family(_Config) ->
    Family = fun(To) -> element(1, gen_tcp_rs_opts:family([], To)) end,
    inet = Family(?LOOPBACK),
    inet6 = Family(?LOOPBACK6),
    inet6 = Family(#{family => inet6, addr => loopback}),
    inet = Family(#{family => inet}),
    local = Family({local, "x"}),
    inet = Family("localhost"),
    inet = Family(any).

%% A node whose default module is IPv6's has names and IPv4 addresses there.
node_default_says_the_family(_Config) ->
    Family = fun(To) -> element(1, gen_tcp_rs_opts:family([], To)) end,
    [begin
         inet_db:set_tcp_module(Module),
         {inet6, inet6, local} = {Family("localhost"), Family(?LOOPBACK), Family({local, "x"})}
     end || Module <- [inet6_tcp, inet6_tcp_rs]],
    inet_db:set_tcp_module(inet_tcp_rs),
    {inet, inet6} = {Family("localhost"), Family(?LOOPBACK6)}.

%% The list goes on without the families, in its order.
what_is_no_family_stays(_Config) ->
    Options = [{ip, any}, binary, foo, {active, once}],
    {inet, Options} = gen_tcp_rs_opts:family(Options, any),
    {inet6, Options} = gen_tcp_rs_opts:family([inet6 | Options], any).

%%% The list

%% The options come in the caller's order, after {active, true}, duplicates and all.
options_keep_their_order(_Config) ->
    [{active, true}, {nodelay, true}, {mode, binary}, {nodelay, false}, {mode, list},
     {active, once}] =
        connect_options([{nodelay, true}, binary, {nodelay, false}, list, {active, once}]).

%% Only what says how to open is taken out: names, values and calls are the table's to check.
every_option_reaches_the_table(_Config) ->
    Options = [{foo, bar}, {nodelay, 'maybe'}, {backlog, 3}, {ipv6_v6only, true}, {pktoptions, []}],
    [{active, true} | Options] = connect_options(Options),
    [{active, true}, {line_delimiter, $x}] = listen_options([{line_delimiter, $x}]).

raw_has_two_spellings(_Config) ->
    [{active, true}, {raw, 6, 1, <<1>>}, {raw, 6, 2, <<2>>}, {raw, 6, 1, <<3>>}] =
        connect_options([{raw, 6, 1, <<1>>}, {raw, {6, 2, <<2>>}}, {raw, 6, 1, <<3>>}]).

%% Some libraries reverse the caller's list before it comes here, so these may be anywhere.
backend_options_are_ignored(_Config) ->
    Options = [{nodelay, true}, {inet_backend, rs}, {tcp_module, inet_tcp_rs}],
    [{active, true}, {nodelay, true}] = connect_options(Options),
    [{active, true}, {nodelay, true}] = listen_options(Options).

improper_lists_raise(_Config) ->
    [function_clause = reason(fun() -> Call(List) end)
     || Call <- [fun(List) -> gen_tcp_rs_opts:family(List, any) end,
                 fun(List) -> gen_tcp_rs_opts:connect(inet, List) end,
                 fun(List) -> gen_tcp_rs_opts:listen(inet, 0, List) end],
        List <- [foo, [{nodelay, true} | foo], <<"x">>]].

odd_terms_are_badarg(_Config) ->
    [{badarg, badarg} = {gen_tcp_rs_opts:connect(inet, [binary, Odd]),
                         gen_tcp_rs_opts:listen(inet, 0, [Odd, binary])}
     || Odd <- [foo, "foo", <<"foo">>, {a}, {}, {"a", 1}, {raw, 6, 1}, {a, b, c, d}, 1, []]].

%%% Addresses

connect_binds_on_demand(_Config) ->
    none = connect_bind(inet, []),
    none = connect_bind(inet, [{ip, undefined}]),
    {inet, ?ANY, 4000} = connect_bind(inet, [{port, 4000}]),
    {inet6, ?ANY6, 4000, 0, 0} = connect_bind(inet6, [{port, 4000}]),
    {inet, ?LOOPBACK, 0} = connect_bind(inet, [{ip, loopback}]),
    {inet, ?LOOPBACK, 7} = connect_bind(inet, [{ifaddr, ?LOOPBACK}, {port, 7}]),
    {inet6, ?LOOPBACK6, 0, 0, 0} = connect_bind(inet6, [{ifaddr, loopback}]).

listen_always_binds(_Config) ->
    {inet, ?ANY, 80} = listen_bind(inet, 80, []),
    {inet6, ?ANY6, 80, 0, 0} = listen_bind(inet6, 80, [{ip, any}]),
    {inet, ?LOOPBACK, 0} = listen_bind(inet, 0, [{ip, ?ANY}, {ip, ?LOOPBACK}]).

%% Local names are bytes; a port other than 0 makes no sense, nor does another address.
local_sockets(_Config) ->
    none = connect_bind(local, []),
    none = connect_bind(local, [{ip, any}]),
    none = listen_bind(local, 0, []),
    {local, <<"/tmp/x">>} = listen_bind(local, 0, [{ifaddr, {local, "/tmp/x"}}]),
    {local, <<0, "x">>} = listen_bind(local, 0, [{ip, {local, <<0, "x">>}}]),
    {local, <<>>} = connect_bind(local, [{ip, loopback}]),
    badarg = gen_tcp_rs_opts:connect(local, [{ip, ?LOOPBACK}]),
    badarg = gen_tcp_rs_opts:connect(local, [{ip, {local, "x"}}, {port, 1}]),
    badarg = gen_tcp_rs_opts:listen(local, 1, [{ip, {local, "x"}}]).

%% Among the options of listen, port overrides the argument.
port_option(_Config) ->
    {inet, ?ANY, 81} = listen_bind(inet, 80, [{port, 81}]),
    [badarg = gen_tcp_rs_opts:listen(inet, 0, [{port, Port}]) || Port <- [-1, 65536, http, 1.0]],
    [badarg = gen_tcp_rs_opts:listen(inet, Port, []) || Port <- [-1, 65536, http]],
    {inet, ?ANY, 65535} = connect_bind(inet, [{port, 65535}]),
    badarg = gen_tcp_rs_opts:connect(inet, [{port, 65536}]).

ranges_of_addresses(_Config) ->
    [badarg = gen_tcp_rs_opts:connect(inet, [{ip, IP}])
     || IP <- [{256, 0, 0, 1}, {-1, 0, 0, 1}, {1, 2, 3}, {1, 2, 3, a}, {1.0, 2, 3, 4}, "127.0.0.1",
               foo, {?LOOPBACK, 0}, {inet, {?LOOPBACK, 0}}]],
    badarg = gen_tcp_rs_opts:connect(inet6, [{ip, {0, 0, 0, 0, 0, 0, 0, 65536}}]),
    {inet6, {0, 0, 0, 0, 0, 0, 0, 65535}, 0, 0, 0} =
        connect_bind(inet6, [{ip, {0, 0, 0, 0, 0, 0, 0, 65535}}]).

other_family_is_badarg(_Config) ->
    badarg = gen_tcp_rs_opts:connect(inet, [{ip, ?LOOPBACK6}]),
    badarg = gen_tcp_rs_opts:connect(inet6, [{ip, ?LOOPBACK}]),
    badarg = gen_tcp_rs_opts:listen(inet, 0, [{ip, {local, "x"}}]).

%% A map has its own port; an ip or port that comes later changes it, an earlier one doesn't.
sockaddr_maps(_Config) ->
    Map = #{family => inet, addr => ?LOOPBACK, port => 7},
    {inet, ?LOOPBACK, 7} = listen_bind(inet, 80, [{port, 81}, {ip, ?ANY}, {ifaddr, Map}]),
    {inet, ?ANY, 81} = listen_bind(inet, 80, [{ifaddr, Map}, {port, 81}, {ip, ?ANY}]),
    {inet, ?ANY, 0} = connect_bind(inet, [{ifaddr, #{family => inet}}]),
    {inet, ?LOOPBACK, 0} = connect_bind(inet, [{ifaddr, #{family => inet, addr => loopback}}]),
    {inet6, ?LOOPBACK6, 5, 3, 16#ffffffff} =
        connect_bind(inet6, [{ifaddr, #{family => inet6, addr => ?LOOPBACK6, port => 5,
                                        flowinfo => 3, scope_id => -1}}]),
    {inet6, ?LOOPBACK6, 9, 0, 2} =
        gen_tcp_rs_opts:sockaddr(#{family => inet6, addr => loopback, port => 9, scope_id => 2}, 0).

incomplete_maps_raise(_Config) ->
    Unknown = #{family => inet, foo => 1},
    {invalid, {sockaddr, {keys, [foo]}, Unknown}} =
        reason(fun() -> gen_tcp_rs_opts:connect(inet, [{ifaddr, Unknown}]) end),
    {invalid, {sockaddr, family, #{}}} =
        reason(fun() -> gen_tcp_rs_opts:listen(inet, 0, [{ifaddr, #{}}]) end).

%% What is wrong within a local name or a map is an exit for connect, einval for listen.
einval_of_listen(_Config) ->
    [{{error, einval}, badarg} = {gen_tcp_rs_opts:listen(Family, 0, [{ifaddr, Address}]),
                                  gen_tcp_rs_opts:connect(Family, [{ifaddr, Address}])}
     || {Family, Address} <- [{local, {local, foo}}, {local, {local, [$a | $b]}},
                              {inet, #{family => local, path => "x"}},
                              {inet, #{family => inet, addr => ?LOOPBACK6}},
                              {inet6, #{family => inet6, scope_id => foo}},
                              {inet, #{family => inet, port => 65536}}]].

%%% How to open

%% fd and netns override each other; what is no descriptor is none.
descriptor_and_namespace_share_a_place(_Config) ->
    Source = fun(Options) -> {ok, Config} = gen_tcp_rs_opts:connect(inet, Options),
                             element(3, Config) end,
    none = Source([]),
    {fd, 7} = Source([{netns, "/x"}, {fd, 7}]),
    {netns, <<"/x">>} = Source([{fd, 7}, {netns, "/x"}]),
    none = Source([{fd, 7}, {fd, -1}]),
    none = Source([{fd, foo}]),
    badarg = gen_tcp_rs_opts:connect(inet, [{netns, foo}]).

descriptor_is_bound_by_an_address(_Config) ->
    none = listen_bind(inet, 0, [{fd, 7}]),
    none = connect_bind(inet, [{fd, 7}]),
    {inet, ?ANY, 80} = listen_bind(inet, 80, [{fd, 7}, {ip, any}]),
    badarg = gen_tcp_rs_opts:listen(inet, 80, [{fd, 7}]),
    badarg = gen_tcp_rs_opts:connect(inet, [{fd, 7}, {port, 80}]).

%% 16 bits go to the kernel; any other term raises what the other backends raise.
backlog(_Config) ->
    Backlog = fun(Options) -> {ok, _, Backlog} = gen_tcp_rs_opts:listen(inet, 0, Options),
                              Backlog end,
    5 = Backlog([]),
    [Expected = Backlog([{backlog, Given}])
     || {Given, Expected} <- [{true, 5}, {false, 0}, {-1, 65535}, {70000, 4464}, {128, 128}]],
    function_clause = reason(fun() -> Backlog([{backlog, foo}]) end).

protocol(_Config) ->
    Protocol = fun(Family, Options) -> {ok, Config} = gen_tcp_rs_opts:connect(Family, Options),
                                       element(2, Config) end,
    tcp = Protocol(inet, []),
    mptcp = Protocol(inet6, [{protocol, mptcp}]),
    tcp = Protocol(local, [{protocol, mptcp}]),
    badarg = gen_tcp_rs_opts:listen(inet, 0, [{protocol, udp}]).

%%% The node's defaults

%% They stand before the caller's options, which so override them, and are for one call each.
defaults_of_the_node(_Config) ->
    application:set_env(kernel, inet_default_connect_options, [{nodelay, true}, binary]),
    [{mode, binary}, {nodelay, true}, {active, true}, {nodelay, false}] =
        connect_options([{nodelay, false}]),
    [{active, true}] = listen_options([]).

active_among_the_defaults(_Config) ->
    application:set_env(kernel, inet_default_listen_options, [{active, false}, {nodelay, true}]),
    [{nodelay, true}, {active, true}] = listen_options([]),
    application:set_env(kernel, inet_default_listen_options, {active, false}),
    [{active, true}] = listen_options([]).

single_default(_Config) ->
    application:set_env(kernel, inet_default_connect_options, {raw, 6, 1, <<1>>}),
    [{raw, 6, 1, <<1>>}, {active, true}] = connect_options([]).

%%% Open sockets

%% An adopted descriptor is not made active, and nothing but setopts' options is taken.
fdopen(_Config) ->
    {ok, {inet, tcp, {fd, 7}, none, [{mode, binary}, {ip, any}]}} =
        gen_tcp_rs_opts:fdopen(inet, 7, [binary, {ip, any}]),
    function_clause = reason(fun() -> gen_tcp_rs_opts:fdopen(inet, -1, []) end).

%% Order and duplicates stay, whatever it is; a term that is no list is a bad generator.
setopts(_Config) ->
    [{mode, list}, {nodelay, true}, foo, {nodelay, false}, {raw, 1, 2, <<>>}, {netns, <<"x">>}] =
        gen_tcp_rs_opts:setopts([list, {nodelay, true}, foo, {nodelay, false},
                                 {raw, {1, 2, <<>>}}, {netns, "x"}]),
    {bad_generator, foo} = reason(fun() -> gen_tcp_rs_opts:setopts(foo) end),
    {bad_generator, foo} = reason(fun() -> gen_tcp_rs_opts:setopts([binary | foo]) end).

getopts(_Config) ->
    [active, {raw, 6, 1, 4}] = gen_tcp_rs_opts:getopts([active, {raw, 6, 1, 4}]),
    [function_clause = reason(fun() -> gen_tcp_rs_opts:getopts(List) end)
     || List <- [foo, [active | foo]]],
    [{active, true}, {netns, "/x"}] =
        gen_tcp_rs_opts:getopts_result([{active, true}, {netns, <<"/x">>}]).

%% Names of files are in the file system's encoding, to there and back.
filenames(_Config) ->
    Name = [$/, 16#e5],
    Path = unicode:characters_to_binary(Name, unicode, file:native_name_encoding()),
    [{netns, Path}] = gen_tcp_rs_opts:setopts([{netns, Name}]),
    [{netns, Name}] = gen_tcp_rs_opts:getopts_result([{netns, Path}]),
    {local, Path} = gen_tcp_rs_opts:sockaddr({local, Name}, 0),
    %% No characters: for the type check to see.
    [{netns, [foo]}] = gen_tcp_rs_opts:setopts([{netns, [foo]}]).

%% OTP's own module takes the same addresses, and exits for the same.
addresses_as_inet_has_them(_Config) ->
    [case {gen_tcp_rs_opts:listen(inet, 0, Options),
           catch gen_tcp:listen(0, [{inet_backend, inet}, inet | Options])} of
         {{ok, _, _}, {ok, Socket}} -> gen_tcp:close(Socket);
         {badarg, {'EXIT', badarg}} -> ok;
         {{error, einval}, {error, einval}} -> ok
     end || Options <- [[], [{ip, any}], [{ip, loopback}], [{ip, ?LOOPBACK}], [{ip, ?LOOPBACK6}],
                        [{ip, "127.0.0.1"}], [{ip, {1, 2, 3}}], [{ip, undefined}], [{port, -1}],
                        [{ifaddr, #{family => inet, addr => ?LOOPBACK}}], [{protocol, foo}],
                        [{ifaddr, {local, "x"}}], [{netns, foo}], [{fd, -1}], [foo], [{foo}]]].

%%% Helpers

connect_options(Options) ->
    {ok, {inet, tcp, none, none, Given}} = gen_tcp_rs_opts:connect(inet, Options),
    Given.

listen_options(Options) ->
    {ok, {inet, tcp, none, _Bind, Given}, 5} = gen_tcp_rs_opts:listen(inet, 0, Options),
    Given.

connect_bind(Family, Options) ->
    {ok, {Family, tcp, _Source, Bind, _Options}} = gen_tcp_rs_opts:connect(Family, Options),
    Bind.

listen_bind(Family, Port, Options) ->
    {ok, {Family, tcp, _Source, Bind, _Options}, _Backlog} =
        gen_tcp_rs_opts:listen(Family, Port, Options),
    Bind.

reason(Fun) ->
    try Fun() of Result -> {no_error, Result}
    catch error:Reason -> Reason
    end.
