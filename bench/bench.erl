%% The benchmark. `make bench` calls main/1 with what it was given; bench/README.md lists the settings.
-module(bench).

-export([main/1]).

-record(settings, {rows = [] :: [string()], rounds = 9 :: pos_integer(), backends = [inet, socket, rs, raw, c] :: [atom()],
                   calls = true :: boolean(), output = "bench/results/latest" :: file:filename(), about = [] :: bench_csv:about()}).

%% Microseconds from one end of the link `far` to the other.
-define(FAR, "200").

%% The nodes of each link that was needed so far.
-type links() :: #{bench_rows:link() => bench_run:nodes()}.

-spec main([string()]) -> no_return().
main(Arguments) ->
    Settings = lists:foldl(fun setting/2, #settings{}, Arguments),
    File = Settings#settings.output ++ ".csv",
    ok = bench_csv:create(File, about(Settings)),
    Scenes = bench_rows:select(Settings#settings.rows, Settings#settings.backends),
    Failed = scenes(Scenes, Settings, File, #{}),
    {About, Measurements} = bench_csv:read(File),
    ok = file:write_file(Settings#settings.output ++ ".md",
                         unicode:characters_to_binary(bench_report:markdown(About, bench_statistics:summary(Measurements)))),
    io:format("~nWritten: ~ts and .md~n", [File]),
    _ = [io:format("FAILED: ~ts with ~ts: ~0p~n", [Name, Backend, Reason]) || {Name, Backend, Reason} <- Failed],
    halt(min(length(Failed), 1)).

setting("rows=" ++ Words, Settings) -> Settings#settings{rows = string:lexemes(Words, " ,")};
setting("rounds=" ++ Number, Settings) -> Settings#settings{rounds = list_to_integer(Number)};
setting("backends=" ++ Names, Settings) -> Settings#settings{backends = [list_to_atom(Name) || Name <- string:lexemes(Names, " ,")]};
setting("calls=" ++ YesOrNo, Settings) -> Settings#settings{calls = YesOrNo =:= "yes"};
setting("output=" ++ Name, Settings) -> Settings#settings{output = Name};
setting("about=" ++ About, #settings{about = Given} = Settings) ->
    [Key, Value] = string:split(About, "="),
    Settings#settings{about = Given ++ [{Key, Value}]}.

about(#settings{about = Given, rounds = Rounds}) ->
    {ok, Version} = file:read_file(filename:join([code:root_dir(), "releases", erlang:system_info(otp_release), "OTP_VERSION"])),
    [{"OTP", string:trim(unicode:characters_to_list(Version))},
     {"kernel", kernel()},
     {"processors", processors()},
     {"rounds", integer_to_list(Rounds)} | Given].

kernel() ->
    {ok, Release} = file:read_file("/proc/sys/kernel/osrelease"),
    string:trim(unicode:characters_to_list(Release)).

processors() ->
    {ok, Text} = file:read_file("/proc/cpuinfo"),
    Model = case re:run(Text, "model name\\s*:\\s*(.*)", [{capture, all_but_first, list}]) of
                {match, [Name]} -> Name;
                nomatch -> erlang:system_info(system_architecture)
            end,
    integer_to_list(erlang:system_info(logical_processors_available)) ++ " of " ++ Model.

scenes([], _Settings, _File, Links) ->
    _ = [stop(Nodes) || Nodes <- maps:values(Links)],
    [];
scenes([#{link := Link, rows := Rows} = Scene | Scenes], Settings, File, Links0) ->
    case usable(Scene, Link, Links0) of
        {ok, Links} ->
            Rounds = min(Settings#settings.rounds, maps:get(rounds, Scene, Settings#settings.rounds)),
            {Failed, After} = rounds(Scene, 1, Rounds, File, Links, []),
            ok = calls(Settings, Scene, File, After),
            ok = show(Rows, File),
            Failed ++ scenes(Scenes, Settings, File, After);
        {skip, Reason} ->
            _ = [io:format("~-28ts skipped: ~ts~n", [Name, Reason]) || #{name := Name} <- Rows],
            scenes(Scenes, Settings, File, Links0)
    end.

usable(#{measure := bench_http}, Link, Links) ->
    case bench_http:skip() of
        false -> link_up(Link, Links);
        Reason -> {skip, Reason}
    end;
usable(_Scene, Link, Links) ->
    link_up(Link, Links).

%% A line without a value in the results for each row and backend.
calls(#settings{calls = true}, #{rows := Rows, link := Link} = Scene, File, Links) ->
    Backends = lists:usort(lists:append([Has || #{backends := Has} <- Rows])),
    _ = [ok = bench_csv:append(File, Row, Backend, 0, Calls)
         || bench_calls:skip() =:= false, Backend <- Backends,
            {Name, Calls} <- traced(Backend, Scene, maps:get(Link, Links), File ++ ".strace"), #{name := N} = Row <- Rows, N =:= Name],
    ok;
calls(_Settings, _Scene, _File, _Links) ->
    ok.

traced(Backend, Scene, Nodes, File) ->
    try
        bench_run:calls(Backend, Scene, Nodes, File)
    catch
        Class:Reason ->
            io:format("no system calls of ~ts: ~0p~n", [Backend, {Class, Reason}]),
            []
    end.

%% A backend that has failed twice is left out of the scene's further rounds.
rounds(_Scene, Round, Rounds, _File, Links, Failed) when Round > Rounds ->
    {Failed, Links};
rounds(#{rows := Rows} = Scene, Round, Rounds, File, Links, Failed) ->
    Backends = rotate(Round, [Backend || Backend <- lists:usort(lists:append([Has || #{backends := Has} <- Rows])),
                                         Backend =/= c orelse bench_limit:is_there()]),
    {NowFailed, NowLinks} =
        lists:foldl(fun(Backend, {Lost, Up}) ->
                        case [Reason || {_Row, Lame, Reason} <- Lost, Lame =:= Backend] of
                            [_, _ | _] -> {Lost, Up};
                            _ -> measure(Scene, Backend, Round, File, Lost, Up)
                        end
                    end, {Failed, Links}, Backends),
    rounds(Scene, Round + 1, Rounds, File, NowLinks, NowFailed).

measure(#{link := Link, rows := [#{name := First} | _] = Rows} = Scene, Backend, Round, File, Failed, Links) ->
    try bench_run:scene(Backend, Scene, maps:get(Link, Links)) of
        Figures ->
            _ = [ok = bench_csv:append(File, Row, Backend, Round, Of)
                 || {Name, Of} <- Figures, #{name := N} = Row <- Rows, N =:= Name],
            {Failed, Links}
    catch
        Class:Reason:Stack ->
            io:format("~ts ~ts failed: ~p~n", [First, Backend, {Class, Reason, Stack}]),
            ok = try_stop(maps:get(Link, Links)),
            {ok, Renewed} = link_up(Link, maps:remove(Link, Links)),
            {[{First, Backend, Reason} | Failed], Renewed}
    end.

%% No backend is always the first.
rotate(Round, Backends) ->
    {Front, Back} = lists:split(Round rem length(Backends), Backends),
    Back ++ Front.

-spec link_up(bench_rows:link(), links()) -> {ok, links()} | {skip, string()}.
link_up(Link, Links) when is_map_key(Link, Links) ->
    {ok, Links};
link_up(near, Links) ->
    {ok, Links#{near => #{server => bench_node:start(none), client => bench_node:start(none), address => {127, 0, 0, 1}}}};
link_up(same, Links) ->
    Node = bench_node:start(none),
    {ok, Links#{same => #{server => Node, client => Node, address => {127, 0, 0, 1}}}};
link_up(far, Links) ->
    Prefix = "bench" ++ os:getpid(),
    Relay = open_port({spawn_executable, os:find_executable("sh")},
                      [{args, ["bench/far.sh", Prefix, ?FAR]}, {line, 200}, binary, stderr_to_stdout]),
    receive
        {Relay, {data, {eol, <<"ready">>}}} ->
            {ok, Links#{far => #{server => bench_node:start(Prefix ++ "-a"), client => bench_node:start(Prefix ++ "-b"),
                                 address => {10, 91, 8, 1}, relay => Relay}}};
        {Relay, {data, {eol, Line}}} ->
            {skip, binary_to_list(Line)}
    end.

%% A node may be gone.
try_stop(Nodes) ->
    try stop(Nodes) catch _:_ -> ok end.

stop(#{server := Node, client := Node}) ->
    bench_node:stop(Node);
stop(#{server := Server, client := Client} = Nodes) ->
    ok = bench_node:stop(Server),
    ok = bench_node:stop(Client),
    case Nodes of
        #{relay := Relay} -> true = port_close(Relay), ok;
        _ -> ok
    end.

show(Rows, File) ->
    {_, Measurements} = bench_csv:read(File),
    Names = [Name || #{name := Name} <- Rows],
    Summaries = bench_statistics:summary([M || #{row := Name} = M <- Measurements, lists:member(Name, Names)]),
    lists:foreach(fun(Summary) -> io:format("~ts~n", [bench_report:line(Summary)]) end, Summaries).
