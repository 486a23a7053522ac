%% Two hosts: network namespaces that the suite makes, joined by a virtual cable, and removes again. What depends on
%% devices, routes and scopes is seen here; every case on `inet`, which proves the expectation, and on `rs`.
%%
%% Host a has 10.91.7.1 and 10.91.7.3, host b 10.91.7.2; nobody has 10.91.7.99. The cable's ends are called `cable`.
-module(namespace_SUITE).

-export([all/0, groups/0, suite/0, init_per_suite/1, end_per_suite/1, init_per_group/2, end_per_group/2]).
-export([two_hosts/1, two_hosts_over_ipv6/1, name_of_the_namespace/1, this_namespace_stays/1, no_such_namespace/1, names_of_local_sockets/1]).
-export([listener_of_a_device/1, connection_of_a_device/1, link_local_scope/1, no_scope/1]).
-export([second_address_answers/1, every_address_refuses/1, time_is_shared/1]).

-define(DEADLINE, 15000).
-define(A, {10, 91, 7, 1}).
-define(A3, {10, 91, 7, 3}).
-define(B, {10, 91, 7, 2}).
-define(NOBODY, {10, 91, 7, 99}).
-define(A6, {16#fd91, 7, 0, 0, 0, 0, 0, 1}).
-define(B6, {16#fd91, 7, 0, 0, 0, 0, 0, 2}).
-define(LINK_A, {16#fe80, 0, 0, 0, 0, 0, 16#91, 1}).
-define(LINK_B, {16#fe80, 0, 0, 0, 0, 0, 16#91, 2}).

suite() ->
    [{timetrap, {minutes, 1}}].

all() ->
    [{group, inet}, {group, rs}].

groups() ->
    Cases = [two_hosts, two_hosts_over_ipv6, name_of_the_namespace, this_namespace_stays, no_such_namespace, names_of_local_sockets,
             listener_of_a_device, connection_of_a_device, link_local_scope, no_scope,
             second_address_answers, every_address_refuses, time_is_shared],
    [{inet, [], Cases}, {rs, [], Cases}].

init_per_suite(Config) ->
    case {os:find_executable("ip"), string:trim(os:cmd("id -u"))} of
        {false, _} -> {skip, "no iproute2 on this machine"};
        {_, User} when User =/= "0" -> {skip, "network namespaces need root"};
        {_, "0"} ->
            [A, B, C] = Hosts = ["gen_tcp_rs-" ++ os:getpid() ++ Name || Name <- ["-a", "-b", "-c"]],
            try
                _ = made(A, B, C),
                [{a, A}, {b, B}, {c, C} | Config]
            catch
                throw:{Command, Output} ->
                    removed(Hosts),
                    {skip, "no network namespaces here: " ++ Command ++ ": " ++ Output}
            end
    end.

end_per_suite(Config) ->
    removed([host(Name, Config) || Name <- [a, b, c]]).

made(A, B, C) ->
    [ip(["netns add ", Host]) || Host <- [A, B, C]],
    [ip(["-n ", Host, " link set lo up"]) || Host <- [A, B]],
    %% So that the two ends have different numbers.
    [ip(["-n ", B, " link add ", Name, " type veth peer name ", Name, "peer"]) || Name <- ["spare", "more"]],
    ip(["link add cable netns ", A, " type veth peer name cable netns ", B]),
    [ip(["-n ", Host, " addr add ", Address, " dev cable"]) || {Host, Addresses} <- [{A, ["10.91.7.1/24", "10.91.7.3/24"]}, {B, ["10.91.7.2/24"]}],
                                                               Address <- Addresses],
    [ip(["-n ", Host, " link set cable up"]) || Host <- [A, B]],
    %% Usable at once.
    [ip(["-n ", Host, " addr add ", Address, "/64 dev cable nodad"]) || {Host, Addresses} <- [{A, ["fd91:7::1", "fe80::91:1"]},
                                                                                             {B, ["fd91:7::2", "fe80::91:2"]}],
                                                                       Address <- Addresses],
    [rs_test:poll(fun() -> string:find(ip(["-n ", Host, " -o link show cable"]), "LOWER_UP") =/= nomatch end) || Host <- [A, B]].

removed(Hosts) ->
    [os:cmd("ip netns del " ++ Host) || Host <- Hosts],
    ok.

ip(Arguments) ->
    Command = lists:flatten(["ip ", Arguments]),
    case string:split(os:cmd(Command ++ " 2>&1; echo \"status $?\""), "status ", trailing) of
        [Output, "0\n"] -> Output;
        [Output, _] -> throw({Command, Output})
    end.

init_per_group(Backend, Config) ->
    ok = rs_test:start(Backend),
    [{backend, Backend} | Config].

end_per_group(_Backend, _Config) ->
    ok.

host(Name, Config) -> proplists:get_value(Name, Config).

file(Name, Config) -> "/run/netns/" ++ host(Name, Config).

%% Options of a socket on that host.
on(Name, Options, Config) ->
    [{inet_backend, proplists:get_value(backend, Config)}, {netns, file(Name, Config)}, binary, {active, false} | Options].

listener(Name, Options, Config) ->
    {ok, Listen} = gen_tcp:listen(0, on(Name, Options, Config)),
    {ok, Port} = inet:port(Listen),
    {Listen, Port}.

%% Data goes both ways.
talk(Client, Server) ->
    ok = gen_tcp:send(Client, "there"),
    {ok, <<"there">>} = gen_tcp:recv(Server, 5, ?DEADLINE),
    ok = gen_tcp:send(Server, "and back"),
    {ok, <<"and back">>} = gen_tcp:recv(Client, 8, ?DEADLINE),
    ok.

%%% Namespaces

%% A socket opened in a namespace talks with another host by the addresses there; a host without a cable has no route.
two_hosts(Config) ->
    {Listen, Port} = listener(a, [{ip, ?A}], Config),
    {ok, Client} = gen_tcp:connect(?A, Port, on(b, [], Config), ?DEADLINE),
    {ok, Server} = gen_tcp:accept(Listen, ?DEADLINE),
    {ok, {?A, Port}} = inet:peername(Client),
    {ok, {?B, _}} = inet:peername(Server),
    ok = talk(Client, Server),
    {error, enetunreach} = gen_tcp:connect(?A, Port, on(c, [], Config), ?DEADLINE),
    {error, econnrefused} = gen_tcp:connect(?B, Port, on(a, [], Config), ?DEADLINE),
    %% The address is nobody's on the other host.
    {error, eaddrnotavail} = gen_tcp:listen(0, on(b, [{ip, ?A}], Config)),
    ok.

%% The same over IPv6, also from an address of the caller's choice.
two_hosts_over_ipv6(Config) ->
    {Listen, Port} = listener(a, [inet6, {ip, ?A6}], Config),
    {ok, Client} = gen_tcp:connect(?A6, Port, on(b, [inet6, {ip, ?B6}], Config), ?DEADLINE),
    {ok, Server} = gen_tcp:accept(Listen, ?DEADLINE),
    {ok, {?A6, Port}} = inet:sockname(Server),
    {ok, {?B6, _}} = inet:peername(Server),
    talk(Client, Server).

%% The namespace is read back as a string, however it was given, of what was opened there and not of what was accepted.
name_of_the_namespace(Config) ->
    File = file(a, Config),
    {Listen, Port} = listener(a, [], Config),
    {ok, [{netns, File}]} = inet:getopts(Listen, [netns]),
    {ok, Client} = gen_tcp:connect({127, 0, 0, 1}, Port, on(b, [{netns, list_to_binary(File)}], Config), ?DEADLINE),
    {ok, [{active, false}, {netns, File}]} = inet:getopts(Client, [active, netns]),
    {ok, Server} = gen_tcp:accept(Listen, ?DEADLINE),
    {ok, [{active, false}]} = inet:getopts(Server, [active, netns]),
    %% On an open socket only the name changes.
    ok = inet:setopts(Client, [{netns, "/elsewhere"}]),
    {ok, [{netns, "/elsewhere"}]} = inet:getopts(Client, [netns]),
    talk(Client, Server).

%% Opening a socket elsewhere leaves every thread of the VM where it was.
this_namespace_stays(Config) ->
    Threads = fun() ->
                      {ok, Names} = file:list_dir("/proc/self/task"),
                      lists:usort([Link || Name <- Names, {ok, Link} <- [file:read_link("/proc/self/task/" ++ Name ++ "/ns/net")]])
              end,
    [Here] = Threads(),
    [begin
         {Listen, _} = listener(Host, [], Config),
         {error, _} = gen_tcp:connect(?NOBODY, 1, on(c, [], Config), ?DEADLINE),
         ok = gen_tcp:close(Listen)
     end || Host <- [a, b, a, b]],
    {error, enoent} = gen_tcp:listen(0, on(a, [{netns, "/run/netns/no-such-host"}], Config)),
    [Here] = Threads(),
    {ok, Listen} = gen_tcp:listen(0, [{inet_backend, proplists:get_value(backend, Config)}, {ip, {127, 0, 0, 1}}]),
    {ok, []} = inet:getopts(Listen, [netns]),
    ok.

%% What is no namespace is told so, from connect and listen.
no_such_namespace(Config) ->
    [begin
         Expected = rs_test:attempt(fun() -> gen_tcp:listen(0, on(a, [{netns, File}], Config)) end),
         connect = case rs_test:attempt(fun() -> gen_tcp:connect(?A, 1, on(a, [{netns, File}], Config)) end) of
                       Expected -> connect;
                       %% As any einval.
                       {raised, exit, badarg} when Expected =:= {error, einval} -> connect
                   end
     end || {File, Expected} <- [{"/run/netns/no-such-host", {error, enoent}}, {"/proc/self/ns/mnt", {error, einval}}, {"/etc/passwd", {error, einval}},
                                 {no_name, {raised, exit, badarg}}]],
    ok.

%% An abstract name is known in its own namespace alone.
names_of_local_sockets(Config) ->
    Name = {local, <<0, "gen_tcp_rs-", (list_to_binary(os:getpid()))/binary>>},
    {ok, Listen} = gen_tcp:listen(0, on(a, [{ifaddr, Name}], Config)),
    {ok, Client} = gen_tcp:connect(Name, 0, on(a, [], Config), ?DEADLINE),
    {ok, Server} = gen_tcp:accept(Listen, ?DEADLINE),
    {error, econnrefused} = gen_tcp:connect(Name, 0, on(b, [], Config), ?DEADLINE),
    talk(Client, Server).

%%% Devices

%% A listener bound to a device takes what comes over that device alone, and its connections are bound to it too.
listener_of_a_device(Config) ->
    {Cable, Port} = listener(a, [{bind_to_device, <<"cable">>}], Config),
    {ok, [{bind_to_device, <<"cable">>}]} = inet:getopts(Cable, [bind_to_device]),
    {ok, Client} = gen_tcp:connect(?A, Port, on(b, [], Config), ?DEADLINE),
    {ok, Server} = gen_tcp:accept(Cable, ?DEADLINE),
    {ok, [{bind_to_device, <<"cable">>}]} = inet:getopts(Server, [bind_to_device]),
    ok = talk(Client, Server),
    {error, econnrefused} = gen_tcp:connect({127, 0, 0, 1}, Port, on(a, [], Config), ?DEADLINE),
    {Loopback, Port2} = listener(a, [{bind_to_device, <<"lo">>}], Config),
    {error, econnrefused} = gen_tcp:connect(?A, Port2, on(b, [], Config), ?DEADLINE),
    %% Also after listen, and back again.
    ok = inet:setopts(Loopback, [{bind_to_device, <<"cable">>}]),
    {ok, _} = gen_tcp:connect(?A, Port2, on(b, [], Config), ?DEADLINE),
    ok = inet:setopts(Loopback, [{bind_to_device, <<>>}]),
    {ok, [{bind_to_device, <<>>}]} = inet:getopts(Loopback, [bind_to_device]),
    {ok, _} = gen_tcp:connect({127, 0, 0, 1}, Port2, on(a, [], Config), ?DEADLINE),
    %% A device of the other host is none here.
    {error, einval} = gen_tcp:listen(0, on(a, [{bind_to_device, <<"spare">>}], Config)),
    ok.

%% A connection bound to a device goes out by that device.
connection_of_a_device(Config) ->
    {Listen, Port} = listener(a, [], Config),
    {ok, Client} = gen_tcp:connect(?A, Port, on(b, [{bind_to_device, <<"cable">>}], Config), ?DEADLINE),
    {ok, Server} = gen_tcp:accept(Listen, ?DEADLINE),
    {ok, [{bind_to_device, <<"cable">>}]} = inet:getopts(Client, [bind_to_device]),
    ok = talk(Client, Server),
    %% There is nothing at the other end of a device that is down.
    {error, _} = gen_tcp:connect(?A, Port, on(b, [{bind_to_device, <<"spare">>}], Config), 300),
    {raised, exit, badarg} = rs_test:attempt(fun() -> gen_tcp:connect(?A, Port, on(b, [{bind_to_device, <<"nosuch">>}], Config)) end),
    ok.

%% An address of the link is reached by the number of the device, each host's own, given in a socket address.
link_local_scope(Config) ->
    {NumberA, NumberB} = {number_of_cable(a, Config), number_of_cable(b, Config)},
    true = NumberA =/= NumberB,
    AddressA = #{family => inet6, addr => ?LINK_A, port => 0, scope_id => NumberA},
    {ok, Listen} = gen_tcp:listen(0, on(a, [{ifaddr, AddressA}], Config)),
    {ok, {?LINK_A, Port}} = inet:sockname(Listen),
    To = #{family => inet6, addr => ?LINK_A, port => Port, scope_id => NumberB},
    From = #{family => inet6, addr => ?LINK_B, scope_id => NumberB},
    [begin
         {ok, Client} = gen_tcp:connect(To, on(b, Options, Config), ?DEADLINE),
         {ok, Server} = gen_tcp:accept(Listen, ?DEADLINE),
         {ok, {?LINK_A, Port}} = inet:peername(Client),
         {ok, {?LINK_B, _}} = inet:peername(Server),
         ok = talk(Client, Server)
     end || Options <- [[{ifaddr, From}], [{ifaddr, From#{flowinfo => 0}}]]],
    ok.

number_of_cable(Name, Config) ->
    [Number | _] = string:split(ip(["-n ", host(Name, Config), " -o link show cable"]), ":"),
    list_to_integer(Number).

%% Without the number, or with another one, it is not reached: einval, which connect turns into exit(badarg), or the kernel's error.
no_scope(Config) ->
    {error, einval} = gen_tcp:listen(0, on(a, [{ifaddr, #{family => inet6, addr => ?LINK_A}}], Config)),
    {error, einval} = gen_tcp:listen(0, on(a, [inet6, {ip, ?LINK_A}], Config)),
    Failed = fun(To) -> rs_test:attempt(fun() -> gen_tcp:connect(To, on(b, [], Config), 300) end) end,
    To = #{family => inet6, addr => ?LINK_A, port => 1},
    {raised, exit, badarg} = Failed(To),
    {error, _} = Failed(To#{scope_id => 99999}),
    {error, econnrefused} = Failed(To#{scope_id => number_of_cable(b, Config)}),
    ok.

%%% A name with several addresses

%% The addresses of a name are tried in turn, each with a socket of its own that has all options.
second_address_answers(Config) ->
    {Listen, Port} = listener(a, [{ip, ?A3}], Config),
    with_name([?A, ?A3], fun(Name) ->
        [begin
             {ok, Client} = gen_tcp:connect(Name, Port, on(b, [{nodelay, true}, {packet, 0}, {priority, 3} | Options], Config), ?DEADLINE),
             {ok, Server} = gen_tcp:accept(Listen, ?DEADLINE),
             {ok, {?A3, Port}} = inet:peername(Client),
             {ok, [{nodelay, true}, {priority, 3}, {active, false}]} = inet:getopts(Client, [nodelay, priority, active]),
             ok = talk(Client, Server)
         end || Options <- [[], [{ip, ?B}], [{bind_to_device, <<"cable">>}]]]
    end),
    ok.

%% When all refuse, the last one's error is returned, and no socket is left.
every_address_refuses(Config) ->
    Port = unused_port(Config),
    with_name([?A, ?A3], fun(Name) ->
        {error, econnrefused} = gen_tcp:connect(Name, Port, on(b, [], Config), ?DEADLINE),
        Before = rs_test:socket_fds(),
        [{error, econnrefused} = gen_tcp:connect(Name, Port, on(b, [], Config), ?DEADLINE) || _ <- [1, 2, 3]],
        ok = rs_test:poll(fun() -> rs_test:socket_fds() =< Before end),
        {error, eaddrnotavail} = gen_tcp:connect(Name, Port, on(b, [{ip, ?A}], Config), ?DEADLINE)
    end),
    ok.

unused_port(Config) ->
    {Listen, Port} = listener(a, [], Config),
    ok = gen_tcp:close(Listen),
    Port.

%% The time is that of all addresses together: one that nobody has uses it up.
time_is_shared(Config) ->
    {_Listen, Port} = listener(a, [{ip, ?A3}], Config),
    with_name([?NOBODY, ?A3], fun(Name) ->
        {error, timeout} = gen_tcp:connect(Name, Port, on(b, [], Config), 200)
    end),
    ok.

%% Lets Erlang's own table of hosts know the name, and nothing else be asked.
with_name(Addresses, Function) ->
    Name = "two-addresses.gen-tcp-rs.test",
    Lookup = inet_db:res_option(lookup),
    ok = inet_db:set_lookup([file]),
    [ok = inet_db:add_host(Address, [Name]) || Address <- Addresses],
    try
        {ok, Addresses} = inet:getaddrs(Name, inet),
        Function(Name)
    after
        [ok = inet_db:del_host(Address) || Address <- Addresses],
        ok = inet_db:set_lookup(Lookup)
    end.
