%% Starts and stops the C peer of c_src_compat: the other end of a connection, without
%% BEAM or Rust. What the peer prints comes back as terms:
%%
%%     {port, Port}                                listening
%%     {connected, Count}                          all outgoing connections are open
%%     {closed, Id, Received, Sent, Reason}        with "-v"; Reason is eof, reset, done or an errno
%%     {total, Count, Received, Sent}              the last one
%%     {failed, Text}                              it could not go on
%%
%% The process that starts a peer gets its lines and must be the one to ask for them.
-module(peer_tool).

-export([listen/1, listen/2, listen_local/3, connect/3]).
-export([next/1, next/2, stop/1]).
-export([program/1, project_root/0]).

-export_type([peer/0, event/0]).

-type peer() :: port().
-type event() :: {port, inet:port_number()}
               | {connected, pos_integer()}
               | {closed, pos_integer(), non_neg_integer(), non_neg_integer(), atom()}
               | {total, non_neg_integer(), non_neg_integer(), non_neg_integer()}
               | {failed, string()}.

-define(PATIENCE, 10000).

%% listen(Mode) -> {Peer, Port}. A peer on a free port of 127.0.0.1.
-spec listen(string()) -> {peer(), inet:port_number()}.
listen(Mode) ->
    listen(Mode, []).

-spec listen(string(), [string()]) -> {peer(), inet:port_number()}.
listen(Mode, Arguments) ->
    Peer = open([Mode | Arguments]),
    {port, Port} = next(Peer),
    {Peer, Port}.

%% A peer on a Unix-domain address, which must not exist yet.
-spec listen_local(string(), file:name(), [string()]) -> peer().
listen_local(Mode, Path, Arguments) ->
    Peer = open([Mode, "-u", Path | Arguments]),
    wait_for_file(Path, erlang:monotonic_time(millisecond) + ?PATIENCE),
    Peer.

%% A peer that connects to 127.0.0.1:Port, with "-n Count" Count times.
-spec connect(string(), inet:port_number(), [string()]) -> peer().
connect(Mode, Port, Arguments) ->
    open([Mode, "-c", integer_to_list(Port) | Arguments]).

%% The next thing the peer tells.
-spec next(peer()) -> event().
next(Peer) ->
    next(Peer, ?PATIENCE).

-spec next(peer(), timeout()) -> event().
next(Peer, Timeout) ->
    receive
        {Peer, {data, {eol, Line}}} -> event(Line);
        {Peer, {exit_status, Status}} -> error({peer_has_ended, Status})
    after Timeout ->
        error({peer_is_silent, Timeout})
    end.

%% Ends the peer; what it had not yet been asked for is returned, its totals last.
-spec stop(peer()) -> [event()].
stop(Peer) ->
    case erlang:port_info(Peer, os_pid) of
        {os_pid, Id} -> os:cmd("kill -TERM " ++ integer_to_list(Id));
        %% It has ended by itself, and its last words are in the mailbox.
        undefined -> ok
    end,
    drain(Peer).

drain(Peer) ->
    receive
        {Peer, {data, {eol, Line}}} -> [event(Line) | drain(Peer)];
        {Peer, {exit_status, _}} -> []
    after ?PATIENCE ->
        catch port_close(Peer),
        error(peer_does_not_end)
    end.

open(Arguments) ->
    open_port({spawn_executable, program("peer")},
              [{args, Arguments}, {line, 1024}, exit_status, stderr_to_stdout, hide]).

event(Line) ->
    case string:lexemes(Line, " ") of
        ["port", Port] -> {port, list_to_integer(Port)};
        ["connected", Count] -> {connected, list_to_integer(Count)};
        ["closed", Id, Received, Sent, Reason] ->
            {closed, list_to_integer(Id), list_to_integer(Received), list_to_integer(Sent),
             list_to_atom(string:lowercase(Reason))};
        ["total", Count, Received, Sent] ->
            {total, list_to_integer(Count), list_to_integer(Received), list_to_integer(Sent)};
        _ -> {failed, Line}
    end.

wait_for_file(Path, Deadline) ->
    case file:read_link_info(Path) of
        {ok, _} ->
            ok;
        {error, enoent} ->
            erlang:monotonic_time(millisecond) < Deadline orelse error({no_such_file, Path}),
            timer:sleep(5),
            wait_for_file(Path, Deadline)
    end.

%% The path of a program of c_src_compat, which is compiled where that is still to be done.
-spec program(string()) -> file:filename().
program(Name) ->
    Folder = filename:join(project_root(), "c_src_compat"),
    Output = global:trans({?MODULE, self()},
                          fun() -> os:cmd("make -s -C '" ++ Folder ++ "' 2>&1") end, [node()]),
    Program = filename:join([Folder, "bin", Name]),
    filelib:is_regular(Program) orelse error({not_compiled, Name, Output}),
    Program.

%% The root of the source tree. Tests run from a folder below it, or with a build folder
%% elsewhere; the priv folder of the application is then a link into the tree.
-spec project_root() -> file:filename().
project_root() ->
    Starts = [os:getenv("PWD", "."), filename:dirname(code:which(?MODULE)) | linked_priv()],
    case lists:filtermap(fun above/1, Starts) of
        [Root | _] -> Root;
        [] -> error({no_source_tree_above, Starts})
    end.

above(Folder) ->
    case filelib:is_regular(filename:join([Folder, "c_src_compat", "peer.c"])) of
        true -> {true, Folder};
        false when Folder =:= "/"; Folder =:= "." -> false;
        false -> above(filename:dirname(Folder))
    end.

linked_priv() ->
    case code:priv_dir(gen_tcp_rs) of
        {error, bad_name} ->
            [];
        Priv ->
            case file:read_link(Priv) of
                {ok, Target} -> [filename:dirname(filename:absname(Target, filename:dirname(Priv)))];
                {error, _} -> [Priv]
            end
    end.
