%% What applications_SUITE has a node do with OTP's ftp client and the server vsftpd.
-module(applications_ftp).

-export([transfer/2]).
%% For other servers, too.
-export([is_listening/1, unused_port/0]).

-define(LOOPBACK, {127, 0, 0, 1}).
-define(DEADLINE, 60000).

%% Files up and down, in active and passive mode.
-spec transfer(file:filename(), file:filename()) -> term().
transfer(Directory, Vsftpd) ->
    Root = filename:join(Directory, "root"),
    ok = filelib:ensure_dir(filename:join([Root, "files", "x"])),
    Port = unused_port(),
    Configuration = filename:join(Directory, "vsftpd.conf"),
    ok = file:write_file(Configuration,
                         ["listen=YES\nbackground=NO\nlisten_address=127.0.0.1\n"
                          "anonymous_enable=YES\nanon_upload_enable=YES\nanon_other_write_enable=YES\n"
                          "write_enable=YES\nno_anon_password=YES\nanon_umask=022\n"
                          "connect_from_port_20=NO\nsyslog_enable=NO\nxferlog_enable=NO\n"
                          "secure_chroot_dir=", Directory, "\nrun_as_launching_user=YES\n"
                          "seccomp_sandbox=NO\nisolate=NO\nisolate_network=NO\n"
                          "listen_port=", integer_to_list(Port), "\nanon_root=", Root, "\n"]),
    Server = open_port({spawn_executable, Vsftpd}, [{args, [Configuration]}, exit_status, stderr_to_stdout]),
    {os_pid, Pid} = erlang:port_info(Server, os_pid),
    try
        ok = rs_test:poll(fun() -> is_listening(Port) end),
        [session(Port, Mode) || Mode <- [active, passive]]
    after
        _ = os:cmd("kill " ++ integer_to_list(Pid)),
        receive {Server, {exit_status, _Status}} -> ok after ?DEADLINE -> error(deadline) end
    end.

session(Port, Mode) ->
    {ok, Client} = ftp:open("127.0.0.1", [{port, Port}, {mode, Mode}, {timeout, ?DEADLINE}]),
    ok = ftp:user(Client, "anonymous", "nobody@localhost"),
    ok = ftp:type(Client, binary),
    ok = ftp:cd(Client, "files"),
    Data = crypto:crypto_one_time(aes_128_ctr, <<7:128>>, <<0:128>>, <<0:5000000/unit:8>>, true),
    ok = ftp:send_bin(Client, Data, "whole"),
    {ok, Data} = ftp:recv_bin(Client, "whole"),
    ok = ftp:send_chunk_start(Client, "parts"),
    [ok = ftp:send_chunk(Client, binary:part(Data, N * 10000, 10000)) || N <- lists:seq(0, 99)],
    ok = ftp:send_chunk_end(Client),
    ok = ftp:recv_chunk_start(Client, "parts"),
    Parts = chunks(Client, []),
    Parts = binary:part(Data, 0, 1000000),
    {ok, Listing} = ftp:nlist(Client),
    Missing = ftp:recv_bin(Client, "missing"),
    [ok = ftp:delete(Client, Name) || Name <- ["whole", "parts"]],
    ok = ftp:close(Client),
    {Mode, lists:sort(string:lexemes(Listing, "\r\n")), Missing, erlang:md5(Parts)}.

chunks(Client, Data) ->
    case ftp:recv_chunk(Client) of
        {ok, More} -> chunks(Client, [Data, More]);
        ok -> iolist_to_binary(Data)
    end.

is_listening(Port) ->
    case gen_tcp:connect(?LOOPBACK, Port, [{inet_backend, inet}]) of
        {ok, Socket} -> ok =:= gen_tcp:close(Socket);
        {error, econnrefused} -> false
    end.

unused_port() ->
    {ok, Socket} = gen_tcp:listen(0, [{inet_backend, inet}, {ip, ?LOOPBACK}]),
    {ok, Port} = inet:port(Socket),
    ok = gen_tcp:close(Socket),
    Port.
