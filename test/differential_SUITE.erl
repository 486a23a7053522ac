%% The same small scripts on the driver and on gen_tcp_rs: what they return, and every message in its
%% order, must be equal. The diff_ modules hold the scripts, one module a subject.
%%
%% `rs_observe:observe/2` runs one script; `exceptions/0` lists the observations allowed to differ.
-module(differential_SUITE).

-include_lib("common_test/include/ct.hrl").

-export([all/0, groups/0, suite/0]).
-export([harness_is_deterministic/1, enough_observations/1, a_difference_is_seen/1,
         connecting/1, accepting/1, framing/1, active/1, receiving/1, sending/1, closing/1, owning/1,
         options/1, errors/1, over_inet6/1, over_local/1]).
-export([differences/3]).

suite() ->
    [{timetrap, {minutes, 10}}].

all() ->
    [a_difference_is_seen, enough_observations, {group, subjects}, harness_is_deterministic].

groups() ->
    [{subjects, [], [connecting, accepting, framing, active, receiving, sending, closing, owning, options, errors,
                     over_inet6, over_local]}].

modules() ->
    [diff_connect, diff_accept, diff_framing, diff_active, diff_recv, diff_send, diff_close, diff_owner,
     diff_options, diff_errors].

%% `{Name of the observation, Why it may differ}`: nothing else may.
-spec exceptions() -> [{string(), string()}].
exceptions() ->
    Buffer = "the default of buffer is 9216 on every release, as on OTP 29",
    Fd = "getopts reads fd; prim_inet:getfd/1 is for ports",
    Compound = "the driver's DOWN says process in place of port when the reason is no atom",
    [{"monitor, the owner exits with a large reason", Compound},
     {"monitor, the owner throws", Compound},
     {"data and tcp_closed in the mailbox, exit_on_close false",
      "a half-closed socket moves with its tcp_closed, and active is restored"},
     {"the default of buffer", Buffer},
     {"the default of fd", Fd},
     {"getopts [fd]", Fd},
     {"setopts fd", Fd},
     {"kernel defaults of inet_default_listen_options [{nonsense,1}]",
      "a bad default exits with badarg in listen as it does in connect"}] ++
        later_releases(list_to_integer(erlang:system_info(otp_release))).

%% What the driver does otherwise than on OTP 25, and this backend does alike on all.
later_releases(Release) ->
    [{Name, "the driver takes an integer that is not in a list for a byte"}
     || Release > 25, Name <- ["bad argument: send number", "send of non-iodata sends nothing"]] ++
        [{"packet 4, largest length, " ++ Way, "the driver refuses the very longest, from one of the patches of 27 on"}
         || Release > 25, Way <- ["active", "by twos", "a byte at a time"]].

connecting(_Config) -> equal(diff_connect).
accepting(_Config) -> equal(diff_accept).
framing(_Config) -> equal(diff_framing).
active(_Config) -> equal(diff_active).
receiving(_Config) -> equal(diff_recv).
sending(_Config) -> equal(diff_send).
closing(_Config) -> equal(diff_close).
owning(_Config) -> equal(diff_owner).
options(_Config) -> equal(diff_options).
errors(_Config) -> equal(diff_errors).

%% What is made by rs_test:client/2 and server/2 is made over IPv6 here.
over_inet6(_Config) ->
    equal([diff_framing, diff_active, diff_recv, diff_send, diff_close, diff_owner, diff_errors], inet6).

%% Only what does not ask the kernel about TCP can be seen over Unix-domain sockets.
over_local(_Config) -> equal([diff_framing], local).

%% The driver observed twice must answer the same, or the comparison with it says nothing.
harness_is_deterministic(_Config) ->
    {Driver, _} = rs_test:contexts(),
    [] = lists:append([differences(Module, Driver, Driver) || Module <- modules()]),
    ok.

%% There are as many observations as this suite claims, each with a name of its own, and no exception
%% names an observation that does not exist.
enough_observations(_Config) ->
    Names = [Name || Module <- modules(), {Name, _} <- Module:observations()],
    ct:comment("~w observations", [length(Names)]),
    true = length(Names) >= 300,
    [] = Names -- lists:usort(Names),
    [] = [Name || {Name, _} <- exceptions()] -- Names,
    ok.

%% Two scripts that return or receive something different are told apart.
a_difference_is_seen(_Config) ->
    {Driver, _} = rs_test:contexts(),
    Observe = fun(Script) -> rs_observe:observe(Script, Driver) end,
    true = Observe(fun(_) -> self() ! message, one end) =:= Observe(fun(_) -> self() ! message, one end),
    true = Observe(fun(_) -> one end) =/= Observe(fun(_) -> two end),
    true = Observe(fun(_) -> self() ! message, one end) =/= Observe(fun(_) -> one end),
    true = Observe(fun(_) -> self() ! a, self() ! b end) =/= Observe(fun(_) -> self() ! b, self() ! a, b end),
    true = Observe(fun(_) -> error(badarg) end) =/= Observe(fun(_) -> exit(badarg) end),
    ok.

equal(Module) ->
    equal([Module], inet).

equal(Modules, Family) ->
    {Driver, Rs} = rs_test:contexts(),
    ok = rs_test:start(rs),
    Allowed = [Name || {Name, _} <- exceptions()],
    Found = [Name || Module <- Modules,
                     {Name, _, _} <- differences(Module, Driver#{family := Family}, Rs#{family := Family}),
                     not lists:member(Name, Allowed)],
    ct:comment("~w observations, ~w differ",
               [lists:sum([length(Module:observations()) || Module <- Modules]), length(Found)]),
    case Found of
        [] -> ok;
        _ -> ct:fail({differ, Found})
    end.

%% Runs every observation of the module in both contexts and prints those that differ.
-spec differences(module(), rs_test:context(), rs_test:context()) -> [{string(), term(), term()}].
differences(Module, One, Other) ->
    lists:append([difference(Name, Script, One, Other) || {Name, Script} <- Module:observations()]).

difference(Name, Script, One, Other) ->
    case {rs_observe:observe(Script, One), rs_observe:observe(Script, Other)} of
        {Same, Same} ->
            [];
        {Left, Right} ->
            ct:pal("~ts~n~p:~n    ~p~n~p:~n    ~p~n", [Name, One, Left, Other, Right]),
            [{Name, Left, Right}]
    end.
