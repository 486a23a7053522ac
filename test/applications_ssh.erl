%% What applications_SUITE has a node do with ssh: OTP's server with OTP's client and with
%% OpenSSH's, and OTP's client with OpenSSH's server. Each function returns what must be
%% the same on every backend.
-module(applications_ssh).

-export([exec/1, sftp/2, openssh/2, openssh_server/2]).

-define(HOST, "127.0.0.1").
-define(DEADLINE, 60000).

%% Several channels of one connection, each with more output than a window takes.
-spec exec(file:filename()) -> term().
exec(Directory) ->
    with_daemon(Directory, [{exec, {direct, fun output/1}}], fun(Port) ->
        Connection = connect(Directory, Port, "tester"),
        Results = run_all(Connection, fun integer_to_list/1),
        ok = ssh:close(Connection),
        Results
    end).

%% Commands with outputs of several sizes, all at the same time.
run_all(Connection, Command) ->
    Run = fun(Size) ->
        {ok, Channel} = ssh_connection:session_channel(Connection, ?DEADLINE),
        success = ssh_connection:exec(Connection, Channel, Command(Size), ?DEADLINE),
        Channel
    end,
    Sizes = [0, 1, 100, 5000000, 70000],
    Channels = [Run(Size) || Size <- Sizes],
    Results = [collect(Connection, Channel, [], none) || Channel <- Channels],
    Sizes = [byte_size(Output) || {Output, _Status} <- Results],
    [{erlang:md5(Output), Status} || {Output, Status} <- Results].

output(Command) ->
    {ok, lists:duplicate(list_to_integer(Command), $x)}.

collect(Connection, Channel, Data, Status) ->
    receive
        {ssh_cm, Connection, {data, Channel, 0, More}} ->
            ok = ssh_connection:adjust_window(Connection, Channel, byte_size(More)),
            collect(Connection, Channel, [Data, More], Status);
        {ssh_cm, Connection, {exit_status, Channel, Number}} ->
            collect(Connection, Channel, Data, Number);
        {ssh_cm, Connection, {eof, Channel}} ->
            collect(Connection, Channel, Data, Status);
        {ssh_cm, Connection, {closed, Channel}} ->
            {iolist_to_binary(Data), Status}
    after ?DEADLINE ->
        error(deadline)
    end.

%% Files up and down, whole and in parts, and what a directory says of them.
-spec sftp(file:filename(), pos_integer()) -> term().
sftp(Directory, Bytes) ->
    with_daemon(Directory, [], fun(Port) ->
        Connection = connect(Directory, Port, "tester"),
        Result = transfer(Connection, Directory, Bytes),
        ok = ssh:close(Connection),
        Result
    end).

transfer(Connection, Directory, Bytes) ->
    {ok, Channel} = ssh_sftp:start_channel(Connection, [{timeout, ?DEADLINE}]),
    Files = filename:join(Directory, "files"),
    ok = filelib:ensure_dir(filename:join(Files, "x")),
    Name = filename:join(Files, "up"),
    Data = pattern(Bytes),
    ok = ssh_sftp:write_file(Channel, Name, Data, ?DEADLINE),
    {ok, Data} = file:read_file(Name),
    {ok, Data} = ssh_sftp:read_file(Channel, Name, ?DEADLINE),
    {ok, Handle} = ssh_sftp:open(Channel, Name, [read, binary], ?DEADLINE),
    {ok, Part} = ssh_sftp:pread(Channel, Handle, Bytes div 2, 30000, ?DEADLINE),
    Part = binary:part(Data, Bytes div 2, 30000),
    ok = ssh_sftp:close(Channel, Handle, ?DEADLINE),
    ok = ssh_sftp:rename(Channel, Name, Name ++ "2", ?DEADLINE),
    {ok, Listed} = ssh_sftp:list_dir(Channel, Files, ?DEADLINE),
    ok = ssh_sftp:delete(Channel, Name ++ "2", ?DEADLINE),
    Gone = ssh_sftp:read_file(Channel, Name, ?DEADLINE),
    ok = ssh_sftp:stop_channel(Channel),
    {lists:sort(Listed), Gone, erlang:md5(Data)}.

%% The program sftp, which takes a file up and brings it back.
-spec openssh(file:filename(), file:filename()) -> term().
openssh(Directory, Sftp) ->
    with_daemon(Directory, [], fun(Port) ->
        Name = fun(File) -> filename:join(Directory, File) end,
        Data = pattern(5000000),
        ok = file:write_file(Name("original"), Data),
        ok = file:write_file(Name("batch"),
                             [["put ", Name("original"), " ", Name("above"), "\n"],
                              ["get ", Name("above"), " ", Name("back"), "\n"]]),
        Options = [["-o", Option] || Option <- ["BatchMode=yes", "StrictHostKeyChecking=no",
                                                "UserKnownHostsFile=/dev/null", "IdentitiesOnly=yes",
                                                "IdentityFile=" ++ Name("user/id_rsa")]],
        Arguments = lists:append(Options) ++ ["-F", "/dev/null", "-P", integer_to_list(Port),
                                              "-b", Name("batch"), "tester@" ++ ?HOST],
        Program = open_port({spawn_executable, Sftp}, [{args, Arguments}, exit_status, stderr_to_stdout]),
        Status = exit_status(Program, []),
        {ok, Data} = file:read_file(Name("back")),
        {ok, Data} = file:read_file(Name("above")),
        Status
    end).

%% OTP's client at the program sshd: commands, what comes back of what goes in, and files.
-spec openssh_server(file:filename(), file:filename()) -> term().
openssh_server(Directory, Sshd) ->
    ok = keys(Directory),
    Port = applications_ftp:unused_port(),
    Configuration = filename:join(Directory, "sshd_config"),
    ok = file:write_file(Configuration,
                         ["Port ", integer_to_list(Port), "\nListenAddress ", ?HOST,
                          "\nHostKey ", filename:join(Directory, "system/ssh_host_rsa_key"),
                          "\nAuthorizedKeysFile ", filename:join(Directory, "user/authorized_keys"),
                          "\nStrictModes no\nUsePAM no\nPermitRootLogin yes\nPidFile none\n"
                          "Subsystem sftp internal-sftp\n"]),
    [User] = string:lexemes(os:cmd("id -un"), "\n"),
    %% As root it wants this folder, which its service makes.
    User =:= "root" andalso (ok = filelib:ensure_dir("/run/sshd/x")),
    Server = open_port({spawn_executable, Sshd}, [{args, ["-D", "-e", "-f", Configuration]}, exit_status, stderr_to_stdout]),
    {os_pid, Pid} = erlang:port_info(Server, os_pid),
    try
        ok = rs_test:poll(fun() -> applications_ftp:is_listening(Port) end),
        Connection = connect(Directory, Port, User),
        Outputs = run_all(Connection, fun(Size) -> "head -c " ++ integer_to_list(Size) ++ " /dev/zero" end),
        {ok, Channel} = ssh_connection:session_channel(Connection, ?DEADLINE),
        success = ssh_connection:exec(Connection, Channel, "md5sum", ?DEADLINE),
        ok = ssh_connection:send(Connection, Channel, pattern(5000000), ?DEADLINE),
        ok = ssh_connection:send_eof(Connection, Channel),
        Sum = collect(Connection, Channel, [], none),
        Result = {Outputs, Sum, transfer(Connection, Directory, 5000000)},
        ok = ssh:close(Connection),
        Result
    after
        _ = os:cmd("kill " ++ integer_to_list(Pid)),
        exited(Server)
    end.

exited(Server) ->
    receive
        {Server, {exit_status, _Status}} -> ok;
        {Server, {data, _Log}} -> exited(Server)
    after ?DEADLINE ->
        error(deadline)
    end.

exit_status(Program, Output) ->
    receive
        {Program, {data, More}} -> exit_status(Program, [Output, More]);
        {Program, {exit_status, 0}} -> 0;
        {Program, {exit_status, Status}} -> error({Status, lists:flatten(Output)})
    after ?DEADLINE ->
        error({deadline, lists:flatten(Output)})
    end.

%%% The server

with_daemon(Directory, Options, Fun) ->
    ok = keys(Directory),
    {ok, Daemon} = ssh:daemon({127, 0, 0, 1}, 0,
                              [{system_dir, filename:join(Directory, "system")},
                               {user_dir, filename:join(Directory, "user")},
                               {subsystems, [ssh_sftpd:subsystem_spec([])]} | Options]),
    {ok, Information} = ssh:daemon_info(Daemon),
    try
        Fun(proplists:get_value(port, Information))
    after
        ok = ssh:stop_daemon(Daemon)
    end.

connect(Directory, Port, User) ->
    {ok, Connection} = ssh:connect(?HOST, Port,
                                   [{user_dir, filename:join(Directory, "user")}, {user, User},
                                    {silently_accept_hosts, true}, {save_accepted_host, false},
                                    {user_interaction, false}], ?DEADLINE),
    Connection.

%% A key for the host and one for the user, who may come in with it.
keys(Directory) ->
    Key = fun(File) ->
        Name = filename:join(Directory, File),
        ok = filelib:ensure_dir(Name),
        Private = public_key:generate_key({rsa, 2048, 65537}),
        Pem = public_key:pem_encode([public_key:pem_entry_encode('RSAPrivateKey', Private)]),
        ok = file:write_file(Name, Pem),
        ok = file:change_mode(Name, 8#600),
        {'RSAPublicKey', element(3, Private), element(4, Private)}
    end,
    _Host = Key("system/ssh_host_rsa_key"),
    User = Key("user/id_rsa"),
    Line = ssh_file:encode([{User, [{comment, "tester"}]}], auth_keys),
    file:write_file(filename:join(Directory, "user/authorized_keys"), Line).

pattern(Size) ->
    crypto:crypto_one_time(aes_128_ctr, <<7:128>>, <<0:128>>, <<0:Size/unit:8>>, true).
