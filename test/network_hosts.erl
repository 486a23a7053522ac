%% Two hosts for a test: network namespaces with the addresses 10.91.8.1 (a) and 10.91.8.2 (b), joined by a virtual cable that
%% can be cut, filtered and slowed down, or by the project's own relay, which delays, loses, duplicates and reorders.
%%
%% Both last until `remove/1`, which ends every process that was started for them.
-module(network_hosts).

-export([cannot/0, cable/0, relay/2, remove/1, file/2, address/1]).
-export([with_filter/0, blackhole/1, lose/2, reset_what_comes/2, heal/1, slow/2, link/3]).

-export_type([hosts/0, counts/0]).

-type hosts() :: #{a := string(), b := string(), relay => port()}.
%% What the relay has done, in packets.
-type counts() :: #{relayed := non_neg_integer(), lost := non_neg_integer(), duplicated := non_neg_integer(), reordered := non_neg_integer()}.

-define(DEADLINE, 15000).

%% Why there can be no hosts here, or false.
-spec cannot() -> false | string().
cannot() ->
    case {os:find_executable("ip"), string:trim(os:cmd("id -u")), file:read_file_info("/dev/net/tun")} of
        {false, _, _} -> "no iproute2 on this machine";
        {_, User, _} when User =/= "0" -> "network namespaces need root";
        {_, _, {error, _}} -> "no /dev/net/tun on this machine";
        _ -> no_namespaces()
    end.

no_namespaces() ->
    Name = name() ++ "-probe",
    Output = os:cmd("ip netns add " ++ Name ++ " 2>&1"),
    _ = os:cmd("ip netns del " ++ Name ++ " 2>&1"),
    case Output of
        "" -> false;
        _ -> "no network namespaces here: " ++ Output
    end.

name() ->
    "gen_tcp_rs-net-" ++ os:getpid() ++ "-" ++ integer_to_list(erlang:unique_integer([positive])).

%% Joined by a cable.
-spec cable() -> hosts().
cable() ->
    Name = name(),
    Hosts = #{a => Name ++ "-a", b => Name ++ "-b"},
    [command("ip netns add ~ts", [Host]) || Host <- [maps:get(a, Hosts), maps:get(b, Hosts)]],
    command("ip link add cable netns ~ts type veth peer name cable netns ~ts", [maps:get(a, Hosts), maps:get(b, Hosts)]),
    [begin
         command("ip -n ~ts link set lo up", [maps:get(Which, Hosts)]),
         command("ip -n ~ts addr add ~ts/24 dev cable", [maps:get(Which, Hosts), inet:ntoa(address(Which))]),
         command("ip -n ~ts link set cable up", [maps:get(Which, Hosts)])
     end || Which <- [a, b]],
    Hosts.

%% Joined by the relay: each packet takes so many microseconds, and what its further options say.
-spec relay(non_neg_integer(), [string()]) -> hosts().
relay(Microseconds, Options) ->
    _ = peer_tool:program("relay"),
    Name = name(),
    Script = filename:join([peer_tool:project_root(), "bench", "far.sh"]),
    %% Ends with the line that `remove/1` writes, and with this VM.
    Port = open_port({spawn_executable, os:find_executable("sh")},
                     [{args, ["-c", "head -n 1 | sh \"$0\" \"$@\"", Script, Name, integer_to_list(Microseconds) | Options]},
                      {line, 1024}, exit_status, stderr_to_stdout, hide]),
    "ready" = line(Port),
    #{a => Name ++ "-a", b => Name ++ "-b", relay => Port}.

line(Port) ->
    receive
        {Port, {data, {eol, Line}}} -> Line;
        {Port, {exit_status, Status}} -> error({relay_has_ended, Status})
    after ?DEADLINE -> error(relay_is_silent)
    end.

%% Nothing is left of them. Says what the relay has done, where there was one.
-spec remove(hosts()) -> counts() | none.
remove(#{relay := Port}) ->
    true = port_command(Port, "end\n"),
    ["relayed" | Numbers] = string:lexemes(line(Port), " "),
    receive {Port, {exit_status, 0}} -> ok after ?DEADLINE -> error(relay_does_not_end) end,
    maps:from_list(lists:zip([relayed, lost, duplicated, reordered], [list_to_integer(Number) || Number <- Numbers]));
remove(#{a := A, b := B}) ->
    [command("ip netns del ~ts", [Host]) || Host <- [A, B]],
    none.

%% For the option `netns`.
-spec file(a | b, hosts()) -> string().
file(Which, Hosts) ->
    "/run/netns/" ++ maps:get(Which, Hosts).

-spec address(a | b) -> inet:ip4_address().
address(a) -> {10, 91, 8, 1};
address(b) -> {10, 91, 8, 2}.

%%% ---- what can be done to a cable ----

%% Whether packets can be filtered here.
-spec with_filter() -> boolean().
with_filter() ->
    os:find_executable("iptables", os:getenv("PATH", "") ++ ":/usr/sbin:/sbin") =/= false.

%% Nothing arrives any more, in either direction, and nobody is told.
-spec blackhole(hosts()) -> ok.
blackhole(Hosts) ->
    [filter(Which, Hosts, "-I INPUT -i cable -j DROP", []) || Which <- [a, b]],
    ok.

%% Each packet is lost with this probability.
-spec lose(float(), hosts()) -> ok.
lose(Probability, Hosts) ->
    [filter(Which, Hosts, "-I INPUT -i cable -m statistic --mode random --probability ~.4f -j DROP", [Probability]) || Which <- [a, b]],
    ok.

%% Whatever arrives at this host is answered with a reset, which its own connections don't notice.
-spec reset_what_comes(a | b, hosts()) -> ok.
reset_what_comes(Which, Hosts) ->
    filter(Which, Hosts, "-I INPUT -i cable -p tcp -j REJECT --reject-with tcp-reset", []).

%% Takes all filters away.
-spec heal(hosts()) -> ok.
heal(Hosts) ->
    [filter(Which, Hosts, "-F", []) || Which <- [a, b]],
    ok.

filter(Which, Hosts, Format, Arguments) ->
    command("ip netns exec ~ts env PATH=\"$PATH:/usr/sbin:/sbin\" iptables -w " ++ Format, [maps:get(Which, Hosts) | Arguments]).

%% So many bits a second each way, by a token bucket.
-spec slow(pos_integer(), hosts()) -> ok.
slow(BitsPerSecond, Hosts) ->
    [command("PATH=\"$PATH:/usr/sbin:/sbin\" tc -n ~ts qdisc replace dev cable root tbf rate ~wbit burst 16kb latency 100ms",
             [maps:get(Which, Hosts), BitsPerSecond]) || Which <- [a, b]],
    ok.

%% The cable is pulled out of a host, and put in again.
-spec link(down | up, a | b, hosts()) -> ok.
link(State, Which, Hosts) ->
    command("ip -n ~ts link set cable ~ts", [maps:get(Which, Hosts), State]).

command(Format, Arguments) ->
    Command = lists:flatten(io_lib:format(Format, Arguments)),
    case string:split(os:cmd("{ " ++ Command ++ "; } 2>&1; echo \"status $?\""), "status ", trailing) of
        [_Output, "0\n"] -> ok;
        [Output, _] -> error({Command, Output})
    end.
