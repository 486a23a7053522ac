%% How a backend is selected, what the selection leaves alone, and what a node that
%% can't have it says. Every case runs in nodes of its own, because the subject is
%% the state of a whole node: an extended `inet`, a default, a boot script.
-module(select_SUITE).

-export([all/0, groups/0, init_per_suite/1, end_per_suite/1]).

-export([option_connects_and_listens/1, option_is_unknown_until_install/1,
         option_means_inet_to_gen_udp/1, inet_functions_reach_the_backend/1]).
-export([tcp_module_on_a_stock_node/1, tcp_module_ipv6/1, tcp_module_local/1,
         tcp_module_of_inetrc/1, direct_calls_on_a_stock_node/1]).
-export([default_comes_with_the_start/1, default_spares_explicit_choices/1,
         default_leaves_inet_services/1, default_leaves_peer/1, default_leaves_epmd/1,
         default_in_embedded_mode/1]).
-export([stop_gives_the_default_back/1, start_again/1, install_is_idempotent/1,
         concurrent_installs/1, outdated_overlay_is_replaced/1, old_code_in_use/1]).
-export([prepared_beam_needs_no_compiler/1, foreign_prepared_beam_is_ignored/1,
         no_compiler_is_explained/1, no_debug_info_is_explained/1,
         replaced_inet_is_explained/1, contradiction_is_explained/1,
         bad_environment_is_explained/1, no_library_is_explained/1,
         overlay_can_be_forbidden/1]).

-define(LOOPBACK, {127, 0, 0, 1}).
-define(LOOPBACK6, {0, 0, 0, 0, 0, 0, 0, 1}).
%% Long enough for a busy machine; a case that works never waits for it.
-define(DEADLINE, 30000).
%% For whatever may start a node or a compiler.
-define(START_DEADLINE, 120000).

all() ->
    [{group, Group} || {Group, _Properties, _Cases} <- groups()].

groups() ->
    [{option, [],
      [option_connects_and_listens, option_is_unknown_until_install,
       option_means_inet_to_gen_udp, inet_functions_reach_the_backend]},
     {tcp_module, [],
      [tcp_module_on_a_stock_node, tcp_module_ipv6, tcp_module_local,
       tcp_module_of_inetrc, direct_calls_on_a_stock_node]},
     {default, [],
      [default_comes_with_the_start, default_spares_explicit_choices,
       default_leaves_inet_services, default_leaves_peer, default_leaves_epmd,
       default_in_embedded_mode]},
     {life, [],
      [stop_gives_the_default_back, start_again, install_is_idempotent,
       concurrent_installs, outdated_overlay_is_replaced, old_code_in_use]},
     {ways, [],
      [prepared_beam_needs_no_compiler, foreign_prepared_beam_is_ignored,
       no_compiler_is_explained, no_debug_info_is_explained,
       replaced_inet_is_explained, contradiction_is_explained,
       bad_environment_is_explained, no_library_is_explained,
       overlay_can_be_forbidden]}].

%% Two copies of the application: one whose priv/ has the extended inet prepared,
%% one without.
init_per_suite(Config) ->
    Private = proplists:get_value(priv_dir, Config),
    Unprepared = copy_application(filename:join(Private, "unprepared")),
    Prepared = copy_application(filename:join(Private, "prepared")),
    {ok, _File} = on_node([], [{library, Unprepared}],
                          fun() -> gen_tcp_rs_backend:prepare(filename:join(Prepared, "priv")) end),
    [{prepared, Prepared}, {unprepared, Unprepared} | Config].

end_per_suite(_Config) ->
    ok.

%%% {inet_backend, rs}

%% {inet_backend, rs} as the first option makes sockets of this backend, which talk.
option_connects_and_listens(Config) ->
    on_node(Config, [start], fun() ->
        Option = [{inet_backend, rs}],
        true = echo(Option, Option, ?LOOPBACK),
        true = echo(Option, [{inet_backend, inet}], ?LOOPBACK),
        true = echo([{inet_backend, inet}], Option, ?LOOPBACK)
    end).

%% Without the application, {inet_backend, rs} is unknown until install/0 is called once.
%% That takes nothing but the code server: the node has no distribution services.
option_is_unknown_until_install(Config) ->
    on_node(Config, [{args, ["-kernel", "start_distribution", "false"]}], fun() ->
        function_clause = failure(fun() -> gen_tcp:listen(0, [{inet_backend, rs}]) end),
        ok = gen_tcp_rs_backend:install(),
        true = echo([{inet_backend, rs}], [{inet_backend, rs}], ?LOOPBACK),
        false = is_rs(gen_tcp:listen(0, [])),
        ok = gen_tcp_rs_backend:set_default(rs),
        true = echo([], [], ?LOOPBACK),
        ok = gen_tcp_rs_backend:set_default(inet),
        false = is_rs(gen_tcp:listen(0, [])),
        function_clause = failure(fun() -> gen_tcp:listen(0, [{inet_backend, other}]) end)
    end).

%% gen_udp takes {inet_backend, rs} for inet, since there is no other UDP of that name.
option_means_inet_to_gen_udp(Config) ->
    on_node(Config, [start], fun() ->
        {ok, Socket} = gen_udp:open(0, [{inet_backend, rs}, {ip, ?LOOPBACK}, {active, false}]),
        true = is_port(Socket),
        {ok, Port} = inet:port(Socket),
        ok = gen_udp:send(Socket, ?LOOPBACK, Port, "datagram"),
        {ok, {?LOOPBACK, Port, "datagram"}} = gen_udp:recv(Socket, 0, ?DEADLINE)
    end).

%% i/0, getfd/1, peernames/1,2, socknames/2 and send/2 of inet serve these sockets too.
inet_functions_reach_the_backend(Config) ->
    on_node(Config, [start], fun() ->
        {ok, Listener} = gen_tcp:listen(0, [{inet_backend, rs}, {ip, ?LOOPBACK}]),
        {ok, Port} = inet:port(Listener),
        {ok, Client} = gen_tcp:connect(?LOOPBACK, Port, [{inet_backend, rs}, {active, false}]),
        {ok, Server} = gen_tcp:accept(Listener, ?DEADLINE),
        {ok, Descriptor} = inet:getfd(Client),
        true = is_integer(Descriptor),
        {ok, [{?LOOPBACK, Port}]} = inet:peernames(Client),
        {ok, [{?LOOPBACK, Port}]} = inet:peernames(Client, 0),
        {ok, [{?LOOPBACK, Port}]} = inet:socknames(Server, 0),
        {error, einval} = inet:socknames(Server, -1),
        ok = inet:send(Server, "sent by inet"),
        {ok, "sent by inet"} = gen_tcp:recv(Client, 12, ?DEADLINE),
        Shown = shown(fun() -> ok = inet:i() end),
        3 = length(string:split(Shown, "gen_tcp_rs", all)) - 1
    end).

%%% {tcp_module, _} and direct calls

%% {tcp_module, inet_tcp_rs} works on a node whose inet is as OTP installed it.
tcp_module_on_a_stock_node(Config) ->
    on_node(Config, [], fun() ->
        Option = [{tcp_module, inet_tcp_rs}],
        true = echo(Option, Option, ?LOOPBACK),
        true = echo(Option, Option, "localhost"),
        {ok, Listener} = gen_tcp:listen(0, [{ip, ?LOOPBACK}]),
        {ok, Port} = inet:port(Listener),
        SockAddr = #{family => inet, addr => ?LOOPBACK, port => Port},
        true = is_rs(gen_tcp:connect(SockAddr, Option, ?DEADLINE)),
        {error, eafnosupport} = gen_tcp:connect(?LOOPBACK6, Port, Option),
        badarg = failure(fun() -> gen_tcp:connect(?LOOPBACK, no_such_service, Option) end),
        function_clause = failure(fun() -> gen_tcp:connect(?LOOPBACK, 65536, Option) end),
        stock = identity()
    end).

%% {tcp_module, inet6_tcp_rs} does the same for IPv6.
tcp_module_ipv6(Config) ->
    case gen_tcp:listen(0, [inet6, {ip, ?LOOPBACK6}]) of
        {ok, Probe} ->
            ok = gen_tcp:close(Probe),
            on_node(Config, [], fun() ->
                Option = [{tcp_module, inet6_tcp_rs}],
                true = echo(Option, Option, ?LOOPBACK6),
                {error, eafnosupport} = gen_tcp:connect(?LOOPBACK, 1, Option)
            end);
        {error, Reason} ->
            {skip, {no_ipv6_here, Reason}}
    end.

%% {tcp_module, local_tcp_rs} does the same for Unix-domain addresses.
tcp_module_local(Config) ->
    Directory = short_directory(),
    Address = {local, filename:join(Directory, "socket")},
    try
        on_node(Config, [], fun() ->
            Option = [{tcp_module, local_tcp_rs}],
            true = echo([{ip, Address} | Option], Option, Address)
        end)
    after
        ok = file:del_dir_r(Directory)
    end.

%% {tcp, inet_tcp_rs}. in the inetrc file is a default without any overlay, also for
%% IPv6 addresses, and one that peer can live with.
tcp_module_of_inetrc(Config) ->
    File = filename:join(proplists:get_value(priv_dir, Config), "inetrc"),
    ok = file:write_file(File, "{host, {127,0,0,1}, [\"localhost\"]}.\n"
                               "{lookup, [file, native]}.\n"
                               "{tcp, inet_tcp_rs}.\n"),
    on_node(Config, [{env, [{"ERL_INETRC", File}]}], fun() ->
        true = echo([], [], ?LOOPBACK),
        true = echo([], [], "localhost"),
        case gen_tcp:listen(0, [{inet_backend, inet}, inet6, {ip, ?LOOPBACK6}]) of
            {ok, _Probe} -> true = echo([{ip, ?LOOPBACK6}], [], ?LOOPBACK6);
            {error, _NoIpv6Here} -> ok
        end,
        stock = identity(),
        started = start_peer_over_tcp()
    end).

%% gen_tcp_rs:listen and connect work on a stock node.
direct_calls_on_a_stock_node(Config) ->
    on_node(Config, [], fun() ->
        {ok, Listener} = gen_tcp_rs:listen(0, [{ip, ?LOOPBACK}]),
        {ok, Port} = inet:port(Listener),
        true = is_rs(gen_tcp_rs:connect(?LOOPBACK, Port, [], ?DEADLINE)),
        true = is_rs(gen_tcp:accept(Listener, ?DEADLINE)),
        stock = identity()
    end).

%%% The default of a node

%% -kernel inet_backend rs means inet until the application has started, then rs.
default_comes_with_the_start(Config) ->
    on_node(Config, [rs_node], fun() ->
        false = is_rs(gen_tcp:listen(0, [])),
        inet = gen_tcp_rs_backend:default(),
        {ok, _Started} = application:ensure_all_started(gen_tcp_rs),
        rs = gen_tcp_rs_backend:default(),
        true = echo([], [], ?LOOPBACK),
        true = echo([inet], [inet], ?LOOPBACK),
        true = echo([], [], "localhost")
    end).

%% With a default of rs, {inet_backend, inet} and any {tcp_module, _} mean what they say.
default_spares_explicit_choices(Config) ->
    on_node(Config, [rs_node, start], fun() ->
        true = is_rs(gen_tcp:listen(0, [])),
        false = is_rs(gen_tcp:listen(0, [{inet_backend, inet}])),
        false = is_rs(gen_tcp:listen(0, [{inet_backend, socket}])),
        false = is_rs(gen_tcp:listen(0, [{tcp_module, inet_tcp}])),
        false = is_rs(gen_tcp:listen(0, [binary, {tcp_module, inet_tcp}])),
        true = is_rs(gen_tcp:listen(0, [{tcp_module, inet_tcp_rs}]))
    end).

%% With a default of rs, name services, interfaces and gen_udp answer as they did before.
default_leaves_inet_services(Config) ->
    on_node(Config, [rs_node], fun() ->
        Services = fun() ->
            {ok, Udp} = gen_udp:open(0, [{ip, ?LOOPBACK}]),
            true = is_port(Udp),
            ok = gen_udp:close(Udp),
            {inet:gethostname(), inet:getservbyname(http, tcp), inet:getservbyport(80, tcp),
             inet:getaddrs("localhost", inet), inet:gethostbyname("localhost"),
             element(1, inet:getifaddrs()), element(1, inet:getiflist())}
        end,
        Before = Services(),
        {ok, _Started} = application:ensure_all_started(gen_tcp_rs),
        Before = Services(),
        inet = persistent_term:get({kernel, inet_backend}, inet)
    end).

%% With a default of rs, peer starts nodes over its own TCP connection.
default_leaves_peer(Config) ->
    on_node(Config, [rs_node, start], fun() ->
        true = is_rs(gen_tcp:listen(0, [])),
        started = start_peer_over_tcp()
    end).

%% With a default of rs, erl_epmd asks and registers over inet, and the registration
%% outlives a stop of the application.
default_leaves_epmd(Config) ->
    {ok, Listener} = gen_tcp:listen(0, [binary, {ip, ?LOOPBACK}, {packet, 2}, {active, false}]),
    {ok, Port} = inet:port(Listener),
    Peer = start_node(Config, [rs_node, start, {args, ["-epmd_port", integer_to_list(Port)]}]),
    try
        %% The sockets of the node are looked at while it waits for the answer.
        Ask = fun(Function, Arguments, Code, Answer) ->
            Call = spawn_monitor(fun() -> exit({result, call(Peer, erl_epmd, Function, Arguments)}) end),
            {ok, Epmd} = gen_tcp:accept(Listener, ?DEADLINE),
            {ok, <<Code, _/binary>>} = gen_tcp:recv(Epmd, 0, ?DEADLINE),
            [] = call(Peer, gen_tcp_rs, which_sockets, []),
            ok = inet:setopts(Epmd, [{packet, raw}]),
            ok = gen_tcp:send(Epmd, Answer),
            {Epmd, Call}
        end,
        {Names, NamesCall} = Ask(names, [?LOOPBACK], $n, [<<Port:32>>, "name fish at port 17\n"]),
        ok = gen_tcp:close(Names),
        {ok, [{"fish", 17}]} = result(NamesCall),

        {Lookup, LookupCall} = Ask(port_please, ["fish", ?LOOPBACK], $z, <<$w, 1>>),
        ok = gen_tcp:close(Lookup),
        noport = result(LookupCall),

        {ok, _Pid} = call(Peer, erl_epmd, start, []),
        {Registration, RegisterCall} =
            Ask(register_node, ["fish", 17, inet], $x, <<$v, 0, 77:32>>),
        {ok, 77} = result(RegisterCall),
        ok = call(Peer, application, stop, [gen_tcp_rs]),
        {error, timeout} = gen_tcp:recv(Registration, 0, 0)
    after
        ok = peer:stop(Peer)
    end.

%% In embedded mode a boot script with the application gives the default before any
%% code of the release runs, without a compiler.
default_in_embedded_mode(Config) ->
    on_node(Config, [rs_node, {embedded, prepared, permanent}], fun() ->
        embedded = code:get_mode(),
        rs = gen_tcp_rs_backend:default(),
        true = echo([], [], ?LOOPBACK)
    end).

%%% Stop and start

%% A stop gives the default back to inet and closes the sockets; what is left of them
%% answers as a closed socket does.
stop_gives_the_default_back(Config) ->
    on_node(Config, [rs_node, start], fun() ->
        {ok, Listener} = gen_tcp:listen(0, [{ip, ?LOOPBACK}]),
        {ok, Port} = inet:port(Listener),
        {ok, Client} = gen_tcp:connect(?LOOPBACK, Port, [{active, false}]),
        ok = application:stop(gen_tcp_rs),
        inet = gen_tcp_rs_backend:default(),
        false = is_rs(gen_tcp:listen(0, [])),
        {error, closed} = gen_tcp:send(Client, "late"),
        {error, closed} = gen_tcp:recv(Client, 0, 0),
        {error, closed} = gen_tcp:accept(Listener, 0),
        {error, _Reason} = inet:peernames(Client),
        [] = gen_tcp_rs:which_sockets(),
        ok = gen_tcp:close(Client)
    end).

%% After a stop the application starts again, as often as one likes.
start_again(Config) ->
    on_node(Config, [rs_node, start], fun() ->
        Round = fun(_) ->
            true = echo([], [], ?LOOPBACK),
            ok = application:stop(gen_tcp_rs),
            false = is_rs(gen_tcp:listen(0, [])),
            ok = application:start(gen_tcp_rs),
            true = echo([], [], ?LOOPBACK)
        end,
        lists:foreach(Round, lists:seq(1, 3))
    end).

%% A second install neither loads inet again nor leaves it unprotected.
install_is_idempotent(Config) ->
    on_node(Config, [start], fun() ->
        true = erlang:check_old_code(inet),
        false = code:purge(inet),
        false = erlang:check_old_code(inet),
        ok = gen_tcp_rs_backend:install(),
        false = erlang:check_old_code(inet),
        true = code:is_sticky(inet),
        true = filename:basename(code:which(inet)) =:= "inet.beam"
    end).

%% Many processes that install at once all succeed, and inet is loaded once.
concurrent_installs(Config) ->
    on_node(Config, [], fun() ->
        1 = erlang:trace_pattern({code, load_binary, 3}, true, []),
        _ = erlang:trace(new_processes, true, [call]),
        Installs = [spawn_monitor(fun() -> exit({result, gen_tcp_rs_backend:install()}) end)
                    || _ <- lists:seq(1, 20)],
        [ok = result(Install) || Install <- Installs],
        Delivered = erlang:trace_delivered(all),
        receive {trace_delivered, all, Delivered} -> ok end,
        1 = loads_of_inet(0)
    end).

loads_of_inet(Count) ->
    receive
        {trace, _Pid, call, {code, load_binary, [inet | _]}} -> loads_of_inet(Count + 1)
    after 0 ->
        Count
    end.

%% An extended inet that another version of the application has loaded is replaced.
outdated_overlay_is_replaced(Config) ->
    on_node(Config, [], fun() ->
        Stock = inet:module_info(md5),
        load_inet(fun(Forms) ->
            add_attribute(gen_tcp_rs_overlay, {Stock, <<"another version">>}, Forms)
        end),
        {Stock, <<"another version">>} = identity(),
        false = code:purge(inet),
        ok = gen_tcp_rs_backend:install(),
        {Stock, Version} = identity(),
        true = Version =:= gen_tcp_rs_overlay:version(),
        true = echo([{inet_backend, rs}], [{inet_backend, rs}], ?LOOPBACK)
    end).

%% A process that is still in an older inet is not killed: install refuses until it has left.
old_code_in_use(Config) ->
    on_node(Config, [{library, unprepared}], fun() ->
        Stock = inet:module_info(md5),
        Test = self(),
        load_inet(fun(Forms) -> add_waiting_function(Forms) end),
        Waiter = spawn(fun() -> inet:wait_for_leave(Test) end),
        receive {waiting, Waiter} -> ok end,
        load_inet(fun(Forms) ->
            add_attribute(gen_tcp_rs_overlay, {Stock, <<"another version">>}, Forms)
        end),
        {error, {old_code_in_use, Sentence}} = gen_tcp_rs_backend:install(),
        true = mentions(Sentence, "restart"),
        true = is_process_alive(Waiter),
        Monitor = erlang:monitor(process, Waiter),
        Waiter ! leave,
        receive {'DOWN', Monitor, process, Waiter, _} -> ok end,
        ok = gen_tcp_rs_backend:install()
    end).

%%% The ways to the extended inet, and their ends

%% With a prepared beam neither the compiler nor debug_info is needed.
prepared_beam_needs_no_compiler(Config) ->
    on_node(Config, [{embedded, prepared, load}], fun() ->
        non_existing = code:which(compile),
        ok = application:start(gen_tcp_rs),
        true = echo([{inet_backend, rs}], [{inet_backend, rs}], ?LOOPBACK)
    end).

%% A prepared beam that is not of this inet and this version is passed over.
foreign_prepared_beam_is_ignored(Config) ->
    Library = copy_application(filename:join(proplists:get_value(priv_dir, Config), "foreign")),
    [File] = filelib:wildcard(filename:join([proplists:get_value(prepared, Config), "priv", "inet-*.beam"])),
    Name = filename:join([Library, "priv", filename:basename(File)]),
    {ok, Good} = file:read_file(File),
    {ok, StockBeam} = file:read_file(code:where_is_file("inet.beam")),
    Foreign = [<<>>, <<"no beam">>, StockBeam, binary:part(Good, 0, byte_size(Good) div 2)],
    [begin
         ok = file:write_file(Name, Content),
         on_node(Config, [{library, Library}, start], fun() ->
             true = echo([{inet_backend, rs}], [{inet_backend, rs}], ?LOOPBACK)
         end)
     end || Content <- Foreign].

%% Without a prepared beam and without a compiler the start is refused with advice.
no_compiler_is_explained(Config) ->
    on_node(Config, [{embedded, unprepared, load}], fun() ->
        {{no_compiler, Prepared}, Sentence} = refusal_of_start(),
        true = mentions(Sentence, Prepared),
        true = mentions(Sentence, "gen_tcp_rs_backend:prepare"),
        true = mentions(Sentence, "{tcp_module, inet_tcp_rs}"),
        inet = gen_tcp_rs_backend:default(),
        true = echo([{tcp_module, inet_tcp_rs}], [{tcp_module, inet_tcp_rs}], ?LOOPBACK)
    end).

%% Without a prepared beam and without debug_info the start is refused with advice.
no_debug_info_is_explained(Config) ->
    Directory = filename:join(proplists:get_value(priv_dir, Config), "stripped"),
    ok = filelib:ensure_dir(filename:join(Directory, "x")),
    %% strip/1 of a file name would strip the installed file.
    {ok, Installed} = file:read_file(code:where_is_file("inet.beam")),
    {ok, {inet, Stripped}} = beam_lib:strip(Installed),
    ok = file:write_file(filename:join(Directory, "inet.beam"), Stripped),
    Arguments = {args, ["-pa", Directory]},
    on_node(Config, [{library, unprepared}, Arguments], fun() ->
        {{no_debug_info, _File}, Sentence} = refusal_of_start(),
        true = mentions(Sentence, "gen_tcp_rs_backend:prepare")
    end),
    on_node(Config, [{library, prepared}, Arguments, start], fun() ->
        true = echo([{inet_backend, rs}], [{inet_backend, rs}], ?LOOPBACK)
    end).

%% An inet that someone else has replaced is left in place, and the refusal says so.
replaced_inet_is_explained(Config) ->
    on_node(Config, [], fun() ->
        load_inet(fun(Forms) -> add_waiting_function(Forms) end),
        {{inet_replaced, _File}, Sentence} = refusal_of_start(),
        true = mentions(Sentence, "replaced"),
        true = erlang:function_exported(inet, wait_for_leave, 1)
    end).

%% A default of rs and an overlay that is forbidden contradict each other.
contradiction_is_explained(Config) ->
    Arguments = {args, ["-gen_tcp_rs", "overlay", "false"]},
    on_node(Config, [rs_node, Arguments], fun() ->
        {overlay_forbidden, Sentence} = refusal_of_start(),
        true = mentions(Sentence, "Remove one of the two")
    end).

%% A value of `overlay` that means nothing is refused, not guessed at.
bad_environment_is_explained(Config) ->
    Arguments = {args, ["-gen_tcp_rs", "overlay", "perhaps"]},
    on_node(Config, [Arguments], fun() ->
        {{bad_environment, {overlay, perhaps}}, Sentence} = refusal_of_start(),
        true = mentions(Sentence, "{overlay, true} or {overlay, false}")
    end).

%% An application whose native library doesn't load does not start.
no_library_is_explained(Config) ->
    Library = copy_application(filename:join(proplists:get_value(priv_dir, Config), "bare")),
    File = filename:join([Library, "priv", "gen_tcp_rs.so"]),
    ok = file:write_file(File, "no library"),
    on_node(Config, [rs_node, {library, Library}], fun() ->
        {{no_library, File}, Sentence} = refusal_of_start(),
        true = mentions(Sentence, File),
        stock = identity(),
        inet = gen_tcp_rs_backend:default()
    end).

%% With {overlay, false} the application runs on a stock inet.
overlay_can_be_forbidden(Config) ->
    Arguments = {args, ["-gen_tcp_rs", "overlay", "false"]},
    on_node(Config, [Arguments, start], fun() ->
        stock = identity(),
        true = echo([{tcp_module, inet_tcp_rs}], [{tcp_module, inet_tcp_rs}], ?LOOPBACK)
    end).

%%% Inside the nodes

%% Whether a connection with these options carries bytes both ways, and the ends that
%% name rs, or leave the choice to the node, are of this backend.
echo(ListenOptions, ConnectOptions, Address) ->
    Common = [binary, {packet, 2}, {active, false}],
    {ok, Listener} = gen_tcp:listen(0, ListenOptions ++ Common),
    Port = case Address of
        {local, _Path} -> 0;
        _Ip -> {ok, Number} = inet:port(Listener), Number
    end,
    {ok, Client} = gen_tcp:connect(Address, Port, ConnectOptions ++ Common, ?DEADLINE),
    {ok, Server} = gen_tcp:accept(Listener, ?DEADLINE),
    ok = gen_tcp:send(Client, "there"),
    {ok, <<"there">>} = gen_tcp:recv(Server, 0, ?DEADLINE),
    ok = gen_tcp:send(Server, "and back"),
    {ok, <<"and back">>} = gen_tcp:recv(Client, 0, ?DEADLINE),
    Expected = [not lists:member({inet_backend, inet}, Options)
                || Options <- [ListenOptions, ListenOptions, ConnectOptions]],
    Found = [is_rs(Socket) || Socket <- [Listener, Server, Client]],
    [ok = gen_tcp:close(Socket) || Socket <- [Client, Server, Listener]],
    Expected =:= Found orelse {expected, Expected, found, Found}.

is_rs({ok, Socket}) -> is_rs(Socket);
is_rs({'$inet', gen_tcp_rs, _Handle}) -> true;
is_rs({'$inet', _Other, _Handle}) -> false;
is_rs(Socket) when is_port(Socket) -> false.

identity() ->
    gen_tcp_rs_overlay:identity(inet:module_info(attributes)).

%% The application does not start, and says why in a sentence.
refusal_of_start() ->
    {error, {Refusal, {gen_tcp_rs_app, start, _Arguments}}} = application:start(gen_tcp_rs),
    {_Reason, Sentence} = Refusal,
    true = io_lib:printable_unicode_list(Sentence),
    Refusal.

mentions(Sentence, Words) ->
    string:find(Sentence, Words) =/= nomatch orelse {Sentence, does_not_mention, Words}.

%% {connection, 0} is the one kind of peer that has a TCP connection of its own.
start_peer_over_tcp() ->
    Path = ["-pa", filename:dirname(code:which(gen_tcp_rs_backend))],
    {ok, Peer, _Node} = peer:start(#{connection => 0, args => Path, wait_boot => ?START_DEADLINE}),
    5 = call(Peer, erlang, '+', [2, 3]),
    ok = peer:stop(Peer),
    started.

failure(Fun) ->
    try Fun() of
        Result -> {no_failure, Result}
    catch
        _Class:{Reason, Stack} when is_list(Stack) -> Reason;
        _Class:Reason -> Reason
    end.

%% What Fun prints.
shown(Fun) ->
    {Pid, Monitor} = spawn_monitor(fun() ->
        Output = output_device(),
        group_leader(Output, self()),
        ok = Fun(),
        Output ! {done, self()},
        receive {Output, Text} -> exit({result, Text}) end
    end),
    result({Pid, Monitor}).

output_device() ->
    spawn(fun() -> collect_output([]) end).

collect_output(Text) ->
    receive
        {io_request, From, Reference, {put_chars, Encoding, Module, Function, Arguments}} ->
            Characters = unicode:characters_to_list(apply(Module, Function, Arguments), Encoding),
            From ! {io_reply, Reference, ok},
            collect_output([Text, Characters]);
        {io_request, From, Reference, {put_chars, _Encoding, Characters}} ->
            From ! {io_reply, Reference, ok},
            collect_output([Text, unicode:characters_to_list(Characters)]);
        {done, From} ->
            From ! {self(), lists:flatten(Text)}
    end.

%% Replaces inet with what Change makes of the installed one's forms.
load_inet(Change) ->
    File = code:which(inet),
    {ok, {inet, [{abstract_code, {raw_abstract_v1, Forms}}]}} = beam_lib:chunks(File, [abstract_code]),
    {ok, inet, Beam} = compile:forms(Change(Forms), []),
    true = code:unstick_mod(inet),
    {module, inet} = code:load_binary(inet, File, Beam),
    true = code:stick_mod(inet).

add_attribute(Name, Value, [File, Module | Forms]) ->
    [File, Module, {attribute, 1, Name, Value} | Forms].

add_waiting_function([File, Module | Forms]) ->
    {End, Functions} = lists:partition(fun(Form) -> element(1, Form) =:= eof end, Forms),
    Text = "wait_for_leave(Test) -> Test ! {waiting, self()}, receive leave -> ok end.",
    {ok, Tokens, _} = erl_scan:string(Text),
    {ok, Function} = erl_parse:parse_form(Tokens),
    [File, Module, {attribute, 1, export, [{wait_for_leave, 1}]} | Functions] ++ [Function | End].

%%% Nodes

%% Runs Fun in one process of a new node.
on_node(Config, Options, Fun) ->
    Peer = start_node(Config, Options),
    try
        call(Peer, erlang, apply, [Fun, []])
    after
        peer:stop(Peer)
    end.

call(Peer, Module, Function, Arguments) ->
    peer:call(Peer, Module, Function, Arguments, ?START_DEADLINE).

%% start            the application is started
%% rs_node          the node is started with -kernel inet_backend rs
%% {library, L}     which copy of the application it has: a directory or a key of Config
%% {embedded, L, T} embedded mode, from a boot script with the application of type T and
%%                  without a compiler
%% {args, Arguments}, {env, Variables}
start_node(Config, Options) ->
    Mode = case lists:keyfind(embedded, 1, Options) of
        {embedded, Key, Type} ->
            ["-mode", "embedded", "-boot", boot_script(Config, proplists:get_value(Key, Config), Type)];
        false ->
            ["-pa", filename:join(library(Config, Options), "ebin"), filename:dirname(code:which(?MODULE))]
    end,
    Default = case lists:member(rs_node, Options) of
        true -> ["-kernel", "inet_backend", "rs"];
        false -> []
    end,
    {ok, Peer, _Node} = peer:start(#{connection => standard_io,
                                     args => Mode ++ Default ++ proplists:get_value(args, Options, []),
                                     env => proplists:get_value(env, Options, []),
                                     wait_boot => ?START_DEADLINE}),
    %% Nothing else loads a module in embedded mode.
    {module, ?MODULE} = call(Peer, code, load_abs, [filename:rootname(code:which(?MODULE))]),
    case lists:member(start, Options) of
        true -> {ok, _Started} = call(Peer, application, ensure_all_started, [gen_tcp_rs]);
        false -> ok
    end,
    Peer.

library(Config, Options) ->
    case proplists:get_value(library, Options, prepared) of
        Key when is_atom(Key) -> proplists:get_value(Key, Config);
        Directory -> Directory
    end.

%% A directory .../gen_tcp_rs with what a release takes of the application.
copy_application(Parent) ->
    Library = filename:join(Parent, "gen_tcp_rs"),
    Source = code:lib_dir(gen_tcp_rs),
    [begin
         Target = filename:join([Library, Part, filename:basename(File)]),
         ok = filelib:ensure_dir(Target),
         {ok, _Bytes} = file:copy(File, Target)
     end || {Part, Pattern} <- [{"ebin", "*.{app,beam}"}, {"priv", "*.so"}],
            File <- filelib:wildcard(filename:join([Source, Part, Pattern]))],
    ok = filelib:ensure_dir(filename:join([Library, "priv", "x"])),
    Library.

boot_script(Config, Library, Type) ->
    Name = filename:join(proplists:get_value(priv_dir, Config),
                         lists:concat(["select_", filename:basename(filename:dirname(Library)), "_", Type])),
    Version = fun(Application) ->
        _ = application:load(Application),
        {ok, Key} = application:get_key(Application, vsn),
        Key
    end,
    Release = {release, {"select", "1"}, {erts, erlang:system_info(version)},
               [{kernel, Version(kernel)}, {stdlib, Version(stdlib)},
                {gen_tcp_rs, Version(gen_tcp_rs), Type}]},
    ok = file:write_file(Name ++ ".rel", io_lib:format("~p.~n", [Release])),
    ok = systools:make_script(Name, [{path, [filename:join(Library, "ebin")]},
                                     {outdir, filename:dirname(Name)}, local, no_warn_sasl]),
    Name.

%% A Unix-domain address has room for about a hundred characters.
short_directory() ->
    Directory = filename:join("/tmp", lists:concat(["select_", os:getpid(), "_",
                                                    erlang:unique_integer([positive])])),
    ok = file:make_dir(Directory),
    Directory.

result({Pid, Monitor}) ->
    receive
        {'DOWN', Monitor, process, Pid, {result, Result}} -> Result;
        {'DOWN', Monitor, process, Pid, Reason} -> error({died, Reason})
    after ?DEADLINE ->
        error({no_answer_of, Pid})
    end.
