%% common_test hook: gives a suite its backend, selects cases, and ends a case that
%% takes too long.
-module(conformance_hook).

-export([id/1, init/2, post_init_per_group/5, pre_init_per_testcase/4]).
-export([path/2]).

id(_Options) -> ?MODULE.

%% Options: backend, cases (a regular expression), done (rows that are there already),
%% current (the file that names the case at work), case_seconds.
init(_Id, Options) -> {ok, Options}.

%% Groups of this name ask for the backend of the node; the option makes it explicit.
post_init_per_group(_Suite, inet_backend_default, _Config, Return, #{backend := rs} = Options)
  when is_list(Return) ->
    {lists:keystore(socket_create_opts, 1, Return, {socket_create_opts, [{inet_backend, rs}]}), Options};
post_init_per_group(_Suite, _Group, _Config, Return, Options) ->
    {Return, Options}.

pre_init_per_testcase(Suite, Case, Config, Options) ->
    Path = path(Case, Config),
    ets:insert(conformance, {{path, Case}, Path}),
    case is_selected(Suite, Path, Options) of
        true ->
            ok = file:write_file(maps:get(current, Options), [atom_to_list(Suite), $\t, Path]),
            limit(Case, maps:get(case_seconds, Options)),
            {Config, Options};
        false ->
            {{skip, not_selected}, Options}
    end.

is_selected(Suite, Path, #{cases := Cases, done := Done}) ->
    not lists:member({atom_to_list(Suite), Path}, Done)
        andalso re:run(Path, Cases, [{capture, none}]) =:= match.

%% A case that outlives its own time limit and ours is killed; a node where not even
%% that helps ends.
limit(Case, Seconds) ->
    Pid = self(),
    spawn(fun() ->
                  Monitor = monitor(process, Pid),
                  case is_down(Monitor, Seconds) of
                      true -> ok;
                      false ->
                          ets:insert(conformance, {{limit, Case}, Seconds}),
                          exit(Pid, kill),
                          is_down(Monitor, 60) orelse halt(75, [{flush, false}])
                  end
          end).

is_down(Monitor, Seconds) ->
    receive {'DOWN', Monitor, process, _Pid, _Reason} -> true
    after Seconds * 1000 -> false
    end.

%% A case may be in several groups: group/.../case.
path(Case, Config) ->
    Outer = lists:reverse(proplists:get_value(tc_group_path, Config, [])),
    Groups = Outer ++ [proplists:get_value(tc_group_properties, Config, [])],
    Names = [atom_to_list(Name) || Group <- Groups, {name, Name} <- Group],
    lists:append(lists:join("/", Names ++ [atom_to_list(Case)])).
