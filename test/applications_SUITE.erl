%% Applications that know nothing of this project, on nodes that differ in their default
%% backend alone: ssl, httpd and httpc, ssh and sftp, ftp. Each case does the same on inet
%% and on rs and compares; many of the clients are other people's programs.
%%
%% APPLICATIONS_BYTES says how much the transfers carry each way, in bytes.
-module(applications_SUITE).

-export([all/0, groups/0, init_per_suite/1, end_per_suite/1]).
-export([tls_transfer/1, tls_renegotiation/1, tls_closes/1, tls_active_modes/1, tls_upgrade/1,
         tls_by_option/1, tls_by_tcp_module/1, tls_by_callback_module/1]).
-export([http_keep_alive/1, http_pipeline/1, http_upload/1, http_aborted/1, http_curl/1, http_ab/1,
         http_wrk/1]).
-export([ssh_exec/1, sftp_transfer/1, ssh_openssh_client/1, ssh_openssh_server/1, ftp_transfer/1]).

-define(DEADLINE, 600000).
-define(VERSIONS, ['tlsv1.2', 'tlsv1.3']).

all() ->
    [{group, Group} || {Group, _Properties, _Cases} <- groups()].

groups() ->
    [{tls, [], [tls_transfer, tls_renegotiation, tls_closes, tls_active_modes, tls_upgrade,
                tls_by_option, tls_by_tcp_module, tls_by_callback_module]},
     {http, [], [http_keep_alive, http_pipeline, http_upload, http_aborted, http_curl, http_ab,
                 http_wrk]},
     {ssh, [], [ssh_exec, sftp_transfer, ssh_openssh_client, ssh_openssh_server]},
     {ftp, [], [ftp_transfer]}].

init_per_suite(Config) ->
    Nodes = [{Backend, start_node(Backend, Config)} || Backend <- [inet, rs]],
    [{nodes, Nodes} | Config].

end_per_suite(Config) ->
    [ok = peer:stop(Node) || {_Backend, Node} <- proplists:get_value(nodes, Config)],
    ok.

%%% ssl

%% Every byte arrives, in order, both ways at once.
tls_transfer(Config) ->
    [same(Config, applications_tls, transfer, [default, Version, bytes(8 * 1024 * 1024)])
     || Version <- ?VERSIONS].

%% New keys in the middle of a transfer disturb nothing.
tls_renegotiation(Config) ->
    [same(Config, applications_tls, renegotiate, [Version, bytes(4 * 1024 * 1024)])
     || Version <- ?VERSIONS].

%% What was sent before a close or shutdown arrives before the end, in every mode.
tls_closes(Config) ->
    [same(Config, applications_tls, closes, [default, Version]) || Version <- ?VERSIONS].

%% once, N and true deliver what they promise and no more.
tls_active_modes(Config) ->
    [same(Config, applications_tls, active_modes, [default, Version]) || Version <- ?VERSIONS].

%% A gen_tcp connection is handed to ssl on both sides.
tls_upgrade(Config) ->
    [same(Config, applications_tls, upgrade, [Version]) || Version <- ?VERSIONS].

%% {inet_backend, rs} first among the options of ssl:listen and ssl:connect.
tls_by_option(Config) ->
    case call(node_of(inet, Config), applications_tls, takes_option, []) of
        true -> by_door(Config, option);
        false -> {skip, "ssl of this release does not take {inet_backend, _}"}
    end.

%% {tcp_module, inet_tcp_rs} among them, which needs no overlay.
tls_by_tcp_module(Config) ->
    by_door(Config, module).

%% gen_tcp_rs as the transport module, which needs no overlay and no default.
tls_by_callback_module(Config) ->
    by_door(Config, callback).

%% On the node whose default is inet, compared with that default.
by_door(Config, Door) ->
    Node = node_of(inet, Config),
    {ok, _} = call(Node, application, ensure_all_started, [gen_tcp_rs]),
    [begin
         Expected = call(Node, applications_tls, Function, [default, Version | Arguments]),
         Expected = call(Node, applications_tls, Function, [Door, Version | Arguments])
     end || Version <- ?VERSIONS,
            {Function, Arguments} <- [{transfer, [1024 * 1024]}, {closes, []}, {active_modes, []}]].

%%% inets

%% Many requests on one connection, and several connections at once.
http_keep_alive(Config) ->
    with_httpd(Config, fun(Node, Port) -> call(Node, applications_http, keep_alive, [Port, 30]) end).

%% Requests that are sent before the answers have come are answered in order.
http_pipeline(Config) ->
    with_httpd(Config, fun(Node, Port) -> call(Node, applications_http, pipeline, [Port, 30]) end).

%% A body of any size arrives whole.
http_upload(Config) ->
    Bytes = bytes(8 * 1024 * 1024),
    with_httpd(Config, fun(Node, Port) -> call(Node, applications_http, upload, [Port, Bytes]) end).

%% Clients that go away in the middle of a download or upload leave nothing behind.
http_aborted(Config) ->
    with_httpd(Config, fun(Node, Port) -> call(Node, applications_http, aborted, [Port, 40]) end).

%% curl: a download, an upload, one connection for several, and transfers of both kinds cut short.
http_curl(Config) ->
    with_program("curl", fun(Curl) ->
        with_httpd(Config, fun(Node, Port) -> applications_http:curl(Curl, Port, settled(Node)) end)
    end).

%% ab: downloads and uploads on kept connections and on new ones, none of which fails.
http_ab(Config) ->
    with_program("ab", fun(Ab) ->
        with_httpd(Config, fun(Node, Port) -> applications_http:ab(Ab, Port, settled(Node)) end)
    end).

%% wrk: as many downloads, pipelined ones, uploads and cut ones as go into a second, none of which fails.
http_wrk(Config) ->
    with_program("wrk", fun(Wrk) ->
        with_httpd(Config, fun(Node, Port) -> applications_http:wrk(Wrk, Port, settled(Node)) end)
    end).

with_httpd(Config, Fun) ->
    same(Config, fun(Node) ->
        Root = filename:join(proplists:get_value(priv_dir, Config), "htdocs"),
        {Server, Port} = call(Node, applications_http, start, [Root]),
        try Fun(Node, Port) after ok = call(Node, applications_http, stop, [Server]) end
    end).

settled(Node) ->
    fun(Port) -> call(Node, applications_http, settled, [Port]) end.

%%% ssh, ftp

%% Commands and their output through OTP's client and server, on several channels.
ssh_exec(Config) ->
    same(Config, applications_ssh, exec, [scratch(Config, "ssh")]).

%% Files up and down through OTP's sftp client and server.
sftp_transfer(Config) ->
    same(Config, applications_ssh, sftp, [scratch(Config, "sftp"), bytes(4 * 1024 * 1024)]).

%% OpenSSH's client, with OTP's server.
ssh_openssh_client(Config) ->
    with_program("sftp", fun(Sftp) ->
        same(Config, applications_ssh, openssh, [scratch(Config, "openssh"), Sftp])
    end).

%% OTP's client, with OpenSSH's server.
ssh_openssh_server(Config) ->
    with_program("sshd", fun(Sshd) ->
        same(Config, applications_ssh, openssh_server, [scratch(Config, "sshd"), Sshd])
    end).

%% OTP's ftp client, with vsftpd: active and passive transfers.
ftp_transfer(Config) ->
    with_program("vsftpd", fun(Vsftpd) ->
        same(Config, applications_ftp, transfer, [scratch(Config, "ftp"), Vsftpd])
    end).

%%% Nodes

%% The result of the function on both nodes, which has to be the same, and the sockets of
%% the node's backend and of no other. Whatever was opened has been closed when it is over.
same(Config, Module, Function, Arguments) ->
    same(Config, fun(Node) -> call(Node, Module, Function, Arguments) end).

same(Config, Fun) ->
    [{inet, Expected}, {rs, Found}] =
        [{Backend, Fun(Node)} || {Backend, Node} <- proplists:get_value(nodes, Config)],
    Expected =:= Found orelse ct:fail({inet, Expected, rs, Found}),
    Node = node_of(rs, Config),
    ok = rs_test:poll(fun() -> call(Node, gen_tcp_rs, which_sockets, []) =:= [] end),
    [] = [Port || Port <- call(Node, erlang, ports, []),
                  call(Node, erlang, port_info, [Port, name]) =:= {name, "tcp_inet"}],
    rs = call(Node, gen_tcp_rs_backend, default, []),
    Found.

node_of(Backend, Config) ->
    proplists:get_value(Backend, proplists:get_value(nodes, Config)).

call(Node, Module, Function, Arguments) ->
    peer:call(Node, Module, Function, Arguments, ?DEADLINE).

start_node(Backend, Config) ->
    Paths = [filename:dirname(code:which(Module)) || Module <- [gen_tcp_rs, ?MODULE]],
    {ok, Node, _Name} =
        peer:start(#{connection => standard_io, wait_boot => 120000,
                     args => ["-kernel", "inet_backend", atom_to_list(Backend),
                              "-kernel", "logger_level", "critical", "-pa" | Paths],
                     env => [{"HOME", proplists:get_value(priv_dir, Config)}]}),
    {ok, _} = case Backend of
        rs -> call(Node, application, ensure_all_started, [gen_tcp_rs]);
        inet -> {ok, []}
    end,
    [{ok, _} = call(Node, application, ensure_all_started, [Application])
     || Application <- [ssl, inets, ssh, ftp]],
    Node.

with_program(Name, Fun) ->
    case os:find_executable(Name) of
        false ->
            case os:find_executable(Name, "/usr/sbin:/sbin") of
                false -> {skip, Name ++ " is not installed"};
                File -> Fun(File)
            end;
        File ->
            Fun(File)
    end.

scratch(Config, Name) ->
    filename:join(proplists:get_value(priv_dir, Config), Name).

bytes(Default) ->
    case os:getenv("APPLICATIONS_BYTES") of
        false -> Default;
        Text -> list_to_integer(Text)
    end.
