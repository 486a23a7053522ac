%% The project as a dependency: of a rebar3 project by git and by _checkouts, of a mix project, in a
%% release; and its library on a node that goes on running: loaded again, replaced, stopped and started.
%%
%% Each project is made in an empty folder. What it depends on has the files that the package lists
%% (`files` in gen_tcp_rs.app.src) and no others, so that list has to suffice. They lie in _build/packages,
%% where the library is built without optimisation, and what it depends on once for all cases and runs.
-module(package_SUITE).

-include_lib("common_test/include/ct.hrl").
-include_lib("kernel/include/file.hrl").

-export([suite/0, all/0, groups/0, init_per_suite/1, end_per_suite/1, init_per_group/2, end_per_group/2]).
-export([git_dependency/1, checkouts/1, mix_dependency/1, release/1, no_build_in_the_package/1]).
-export([start_again_and_again/1, loading_is_refused/1, new_library/1]).

%% Run in the nodes.
-export([echo/0]).

suite() ->
    [{timetrap, {minutes, 5}}].

all() ->
    [{group, built}, {group, loaded}].

groups() ->
    [{built, [], [no_build_in_the_package, git_dependency, checkouts, mix_dependency, release]},
     {loaded, [], [start_again_and_again, loading_is_refused, new_library]}].

init_per_suite(Config) ->
    [{root, peer_tool:project_root()} | Config].

end_per_suite(_Config) ->
    ok.

init_per_group(built, Config) ->
    Missing = [Tool || Tool <- ["git", "rebar3"], os:find_executable(Tool) =:= false] ++
        case run(?config(root, Config), [], ". support/rust.sh && has_rust") of
            {0, _} -> [];
            _ -> ["Rust"]
        end,
    case Missing of
        [] ->
            [ok = file:del_dir_r(Old) || Old <- filelib:wildcard(folder(Config, "*")),
                                         filename:basename(Old) =/= "target"],
            Package = new_folder(Config, "package"),
            ok = copy_listed(?config(root, Config), Package),
            run_ok(Package, "git init -q && git checkout -q -b main && git add --all && git commit -q -m package"),
            [{package, Package} | Config];
        _ ->
            {skip, "not installed: " ++ lists:join(", ", Missing)}
    end;
init_per_group(loaded, Config) ->
    Config.

end_per_group(_Group, _Config) ->
    ok.

%%% Built into something

%% The package has sources and the lock file, and nothing that a build has made.
no_build_in_the_package(Config) ->
    Files = filelib:wildcard("**", ?config(package, Config)),
    [true = lists:member(File, Files)
     || File <- ["Cargo.toml", "Cargo.lock", "LICENSE", "native/nif/src/lib.rs", "erl_src/gen_tcp_rs.erl"]],
    [] = [File || File <- Files, lists:member(filename:extension(File), [".so", ".beam", ".o", ".rlib"])],
    ok.

%% A fresh project that names the repository compiles with `rebar3 compile` alone, as README.md shows.
git_dependency(Config) ->
    Project = rebar3_project(Config, "by_git", [git(Config)]),
    run_ok(Project, "rebar3 compile"),
    "echo by gen_tcp_rs" = run_ok(Project, echo_command()),
    ok.

%% So does one that has the sources in its folder _checkouts.
checkouts(Config) ->
    Project = rebar3_project(Config, "by_checkouts", [gen_tcp_rs]),
    ok = copy_listed(?config(package, Config), filename:join([Project, "_checkouts", "gen_tcp_rs"])),
    run_ok(Project, "rebar3 compile"),
    "echo by gen_tcp_rs" = run_ok(Project, "ERL_LIBS=_build/default/checkouts " ++ echo_command()),
    ok.

%% And one of Elixir's.
mix_dependency(Config) ->
    case {os:find_executable("mix"), os:find_executable("rebar3")} of
        {false, _} ->
            {skip, "not installed: mix (Debian's elixir)"};
        {_, Rebar3} ->
            Project = new_folder(Config, "by_mix"),
            write(Project, "mix.exs",
                  ["defmodule PackageUser.MixProject do\n"
                   "  use Mix.Project\n"
                   "  def project, do: [app: :package_user, version: \"1.0.0\", deps: deps()]\n"
                   "  def application, do: []\n"
                   "  defp deps, do: [{:gen_tcp_rs, git: \"file://", ?config(package, Config), "\", branch: \"main\"}]\n"
                   "end\n"]),
            write(Project, "lib/user.ex",
                  "defmodule PackageUser do\n"
                  "  def echo do\n"
                  "    options = [{:inet_backend, :rs}, :binary, active: false]\n"
                  "    {:ok, listener} = :gen_tcp.listen(0, options)\n"
                  "    {:ok, port} = :inet.port(listener)\n"
                  "    {:ok, client} = :gen_tcp.connect({127, 0, 0, 1}, port, options)\n"
                  "    {:ok, server} = :gen_tcp.accept(listener)\n"
                  "    :ok = :gen_tcp.send(client, \"echo\")\n"
                  "    {:ok, \"echo\"} = :gen_tcp.recv(server, 4)\n"
                  "    IO.puts(\"echo by #{elem(client, 1)}\")\n"
                  "  end\n"
                  "end\n"),
            Mix = "MIX_ENV=prod MIX_REBAR3='" ++ Rebar3 ++ "' mix ",
            run_ok(Project, Mix ++ "deps.get"),
            run_ok(Project, Mix ++ "compile"),
            "echo by gen_tcp_rs" = run_ok(Project, Mix ++ "run -e PackageUser.echo"),
            ok
    end.

%% A release with stripped modules, embedded mode and a default of rs, started from another folder.
release(Config) ->
    Project = rebar3_project(Config, "by_release", [git(Config)]),
    run_ok(Project, "rebar3 release"),
    Release = filename:join(Project, "_build/default/rel/package_user"),
    [Backend] = filelib:wildcard(filename:join(Release, "lib/gen_tcp_rs-*/ebin/gen_tcp_rs_backend.beam")),
    {ok, {_, [{debug_info, missing_chunk}]}} = beam_lib:chunks(Backend, [debug_info], [allow_missing_chunks]),
    "echo by gen_tcp_rs" = run_ok("/", "'" ++ filename:join(Release, "bin/package_user") ++ "' -noinput"),
    ok.

git(Config) ->
    {gen_tcp_rs, {git, "file://" ++ ?config(package, Config), {branch, "main"}}}.

%% An application whose start says which backend a node default of rs means, then stops the node.
rebar3_project(Config, Name, Dependencies) ->
    Project = new_folder(Config, Name),
    write_terms(Project, "rebar.config",
                [{deps, Dependencies},
                 {relx, [{release, {package_user, "1"}, [gen_tcp_rs, package_user]},
                         {dev_mode, false}, {include_erts, false}, {include_src, false},
                         {debug_info, strip}, {extended_start_script, false}, {vm_args, "vm.args"}]}]),
    write(Project, "vm.args", "-kernel inet_backend rs\n"),
    write_terms(Project, "src/package_user.app.src",
                [{application, package_user,
                  [{description, "A user of gen_tcp_rs"}, {vsn, "1"}, {registered, []},
                   {applications, [kernel, stdlib, gen_tcp_rs]}, {mod, {package_user, []}}]}]),
    write(Project, "src/package_user.erl",
          "-module(package_user).\n"
          "-behaviour(application).\n"
          "-export([start/2, stop/1]).\n"
          "start(_Type, _Arguments) ->\n"
          "    {ok, Listener} = gen_tcp:listen(0, [{active, false}]),\n"
          "    {ok, Port} = inet:port(Listener),\n"
          "    {ok, Client} = gen_tcp:connect({127, 0, 0, 1}, Port, [{active, false}]),\n"
          "    {ok, Server} = gen_tcp:accept(Listener),\n"
          "    ok = gen_tcp:send(Client, \"echo\"),\n"
          "    {ok, \"echo\"} = gen_tcp:recv(Server, 4),\n"
          "    {'$inet', Backend, _} = Client,\n"
          "    io:format(\"echo by ~ts~n\", [Backend]),\n"
          "    init:stop(),\n"
          "    {ok, self()}.\n"
          "stop(_State) -> ok.\n"),
    Project.

echo_command() ->
    "ERL_LIBS=\"_build/default/lib:${ERL_LIBS:-}\" erl -noinput -kernel inet_backend rs"
        " -eval '{ok, _} = application:ensure_all_started(package_user)'".

%%% Loaded into a node

%% The application stops and starts again, and again, and serves each time.
start_again_and_again(Config) ->
    in_node(Config, fun(_Application) ->
        [begin
             ok = application:stop(gen_tcp_rs),
             ok = application:start(gen_tcp_rs),
             ok = echo()
         end || _ <- [1, 2, 3]],
        ok
    end).

%% code:load_file/1 of the library's module or of inet is refused, and what is open goes on.
loading_is_refused(Config) ->
    in_node(Config, fun(_Application) ->
        {Client, Server} = pair(),
        {error, on_load_failure} = code:load_file(gen_tcp_rs_nif),
        {error, sticky_directory} = code:load_file(inet),
        ok = gen_tcp:send(Client, "still"),
        {ok, "still"} = gen_tcp:recv(Server, 5, 10000),
        ok = echo()
    end).

%% A new library comes in by stop, delete, purge and load. The sockets before are closed by the stop; a
%% call on one of them is the mistake that it is for any term which is no socket.
new_library(Config) ->
    in_node(Config, fun(Application) ->
        Library = filename:join([Application, "priv", "gen_tcp_rs.so"]),
        {Client, _Server} = pair(),
        [Before] = mapped(),
        {ok, _Bytes} = file:copy(Library, Library ++ ".new"),
        ok = file:rename(Library ++ ".new", Library),
        ok = application:stop(gen_tcp_rs),
        {error, closed} = gen_tcp:send(Client, "closed"),
        true = code:delete(gen_tcp_rs_nif),
        false = code:purge(gen_tcp_rs_nif),
        {module, gen_tcp_rs_nif} = code:load_file(gen_tcp_rs_nif),
        [After] = mapped() -- [Before],
        {ok, #file_info{inode = After}} = file:read_file_info(Library),
        ok = application:start(gen_tcp_rs),
        ok = echo(),
        badarg = try gen_tcp:send(Client, "replaced") catch error:Reason -> Reason end,
        %% One that is mapped already is not mapped again.
        ok = application:stop(gen_tcp_rs),
        true = code:delete(gen_tcp_rs_nif),
        false = code:purge(gen_tcp_rs_nif),
        {module, gen_tcp_rs_nif} = code:load_file(gen_tcp_rs_nif),
        [After] = mapped() -- [Before],
        ok = application:start(gen_tcp_rs),
        echo()
    end).

%% The inodes of the libraries of ours that this node has mapped.
mapped() ->
    {ok, Maps} = file:read_file("/proc/self/maps"),
    lists:usort([binary_to_integer(lists:nth(5, string:lexemes(Line, " ")))
                 || Line <- binary:split(Maps, <<"\n">>, [global]),
                    binary:match(Line, <<"gen_tcp_rs.so">>) =/= nomatch]).

pair() ->
    Options = [{inet_backend, rs}, {active, false}],
    {ok, Listener} = gen_tcp:listen(0, Options),
    {ok, Port} = inet:port(Listener),
    {ok, Client} = gen_tcp:connect({127, 0, 0, 1}, Port, Options),
    {ok, Server} = gen_tcp:accept(Listener, 10000),
    ok = gen_tcp:close(Listener),
    {Client, Server}.

echo() ->
    {Client, Server} = pair(),
    ok = gen_tcp:send(Client, "echo"),
    {ok, "echo"} = gen_tcp:recv(Server, 4, 10000),
    ok = gen_tcp:close(Client),
    {error, closed} = gen_tcp:recv(Server, 0, 10000),
    gen_tcp:close(Server).

%% Runs the function on a node with a copy of the application, whose folder it is told, started.
in_node(Config, Function) ->
    Name = "loaded-" ++ integer_to_list(erlang:unique_integer([positive])),
    Application = filename:join([?config(priv_dir, Config), Name, "gen_tcp_rs"]),
    [ok = copy(File, filename:join([Application, Part, filename:basename(File)]))
     || {Part, Pattern} <- [{"ebin", "*.{app,beam}"}, {"priv", "*.{so,beam}"}],
        File <- filelib:wildcard(filename:join([code:lib_dir(gen_tcp_rs), Part, Pattern]))],
    {ok, Peer, _Node} =
        peer:start_link(#{connection => standard_io, wait_boot => 60000,
                          args => ["-kernel", "logger_level", "emergency",
                                   "-pa", filename:join(Application, "ebin"), filename:dirname(code:which(?MODULE))]}),
    {ok, _Started} = peer:call(Peer, application, ensure_all_started, [gen_tcp_rs], 60000),
    ok = peer:call(Peer, erlang, apply, [Function, [Application]], 60000),
    peer:stop(Peer).

%%% Files and programs

%% The package's files, as the list in the application's description says.
copy_listed(From, To) ->
    {ok, [{application, gen_tcp_rs, Keys}]} = file:consult(filename:join(From, "erl_src/gen_tcp_rs.app.src")),
    lists:foreach(fun(Listed) ->
        Files = [Listed | filelib:wildcard(Listed ++ "/**", From)],
        true = lists:any(fun(File) -> filelib:is_regular(filename:join(From, File)) end, Files),
        [ok = copy(filename:join(From, File), filename:join(To, File))
         || File <- Files, filelib:is_regular(filename:join(From, File))]
    end, proplists:get_value(files, Keys)).

copy(From, To) ->
    ok = filelib:ensure_dir(To),
    {ok, _Bytes} = file:copy(From, To),
    {ok, #file_info{mode = Mode}} = file:read_file_info(From),
    file:change_mode(To, Mode).

new_folder(Config, Name) ->
    Folder = folder(Config, Name),
    ok = filelib:ensure_dir(filename:join(Folder, "x")),
    Folder.

folder(Config, Name) ->
    Base = os:getenv("REBAR_BASE_DIR", filename:join(?config(root, Config), "_build")),
    filename:join([Base, "packages", Name]).

write(Folder, Name, Text) ->
    File = filename:join(Folder, Name),
    ok = filelib:ensure_dir(File),
    ok = file:write_file(File, Text).

write_terms(Folder, Name, Terms) ->
    write(Folder, Name, [io_lib:format("~p.~n", [Term]) || Term <- Terms]).

%% The last line that the command prints; it has to succeed.
run_ok(Folder, Command) ->
    {Status, Output} = run(Folder, environment(Folder), Command),
    ct:log("~ts~n~ts", [Command, Output]),
    Status =:= 0 orelse ct:fail("~ts: status ~w~n~ts", [Command, Status, Output]),
    case string:lexemes(Output, "\r\n") of
        [] -> "";
        Lines -> lists:last(Lines)
    end.

run(Folder, Environment, Command) ->
    Port = open_port({spawn_executable, "/bin/sh"},
                     [{args, ["-c", Command ++ " </dev/null"]}, {cd, Folder}, {env, Environment},
                      exit_status, stderr_to_stdout, binary]),
    output(Port, []).

output(Port, Output) ->
    receive
        {Port, {data, Data}} -> output(Port, [Output, Data]);
        {Port, {exit_status, Status}} -> {Status, unicode:characters_to_list(iolist_to_binary(Output))}
    end.

%% Nothing of the build that runs this suite, no network, and the quickest build of the library.
environment(Folder) ->
    [{Name, false} || Name <- ["REBAR_BASE_DIR", "REBAR_PROFILE", "REBAR_DEPS_DIR", "REBAR_BUILD_DIR",
                               "ERL_FLAGS", "ERL_LIBS", "DEBUG"]] ++
        [{"GIT_" ++ Role ++ Key, Value}
         || Role <- ["AUTHOR_", "COMMITTER_"], {Key, Value} <- [{"NAME", "test"}, {"EMAIL", "test@localhost"}]] ++
        [{"CARGO_NET_OFFLINE", "true"},
         {"CARGO_TARGET_DIR", filename:join(filename:dirname(Folder), "target")},
         {"CARGO_PROFILE_RELEASE_LTO", "off"},
         {"CARGO_PROFILE_RELEASE_OPT_LEVEL", "0"},
         {"CARGO_PROFILE_RELEASE_DEBUG", "0"},
         {"CARGO_PROFILE_RELEASE_CODEGEN_UNITS", "16"},
         {"LC_ALL", "C.UTF-8"}, {"TERM", "dumb"}, {"HOME", os:getenv("HOME", "/root")}].
