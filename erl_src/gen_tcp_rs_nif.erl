%% The functions of the native library. A handle is a reference to one socket, a
%% Ref one that the caller made for this call: where a function answers `wait`,
%% exactly one message {Ref, Answer} comes, unless cancel/2 takes the wait back.
%% What each does is written at its native side, in native/nif/src.
-module(gen_tcp_rs_nif).

-export([connect/3, listen/2, take_over/1, accept/2]).
-export([recv/3, unrecv/2, send/3, await_send/3, send_timed_out/3, cancel/2]).
-export([sendfile/4, await_writable/2, file_sent/1]).
-export([shutdown/2, close/1, await_drained/2, queued/1, owes/1, abandon/1]).
-export([setopts/2, getopts/2, getstat/2, sockname/1, peername/1, getfd/1, info/1]).
-export([begin_transfer/2, forward/2, finish_transfer/3, monitor/2, cancel_monitor/1]).
-export([monitored_owner/1, promise_report/2, report/3]).
-export([sockets/0, await_all_closed/1, watch_pollers/0, tune/4, stop/0]).
%% Not of the library.
-export([directory/0]).
-export([send_now/2, snapshot/1, totals/0, time_locks/1, report_to/1]).
-export([mailboxes_to/1, paused/1, resume/2]).
-export([connect_node/3, listen_node/2, node_sockets/0, recv_frames/3, send_frames/2]).

-export_type([handle/0, active/0]).

-on_load(load/0).

-nifs([connect/3, listen/2, take_over/1, accept/2,
       recv/3, unrecv/2, send/3, await_send/3, send_timed_out/3, cancel/2,
       sendfile/4, await_writable/2, file_sent/1,
       shutdown/2, close/1, await_drained/2, queued/1, owes/1, abandon/1,
       setopts/2, getopts/2, getstat/2, sockname/1, peername/1, getfd/1, info/1,
       begin_transfer/2, forward/2, finish_transfer/3, monitor/2, cancel_monitor/1,
       monitored_owner/1, promise_report/2, report/3,
       sockets/0, await_all_closed/1, watch_pollers/0, tune/4, stop/0,
       send_now/2, snapshot/1, totals/0, time_locks/1, report_to/1,
       mailboxes_to/1, paused/1, resume/2,
       connect_node/3, listen_node/2, node_sockets/0, recv_frames/3, send_frames/2]).

-type handle() :: reference().
-type active() :: boolean() | once | 1..32767.
-type failure() :: {error, closed | timeout | badarg | not_owner | inet:posix()}.
-type address() :: {inet:ip_address(), inet:port_number()} | {local, binary()}.

%% The library is never unmapped, and the system's loader takes a path it knows for the
%% library it has. A path of its own for each load makes it look into the file: a new
%% one is loaded, and one that is mapped already is recognised.
-spec load() -> ok | {error, term()}.
load() ->
    Loads = persistent_term:get({?MODULE, loads}, 0),
    ok = persistent_term:put({?MODULE, loads}, Loads + 1),
    erlang:load_nif(directory() ++ "/gen_tcp_rs", 0).

%% Where the loader knows the library that is loaded.
-spec directory() -> string().
directory() ->
    Here = lists:duplicate(persistent_term:get({?MODULE, loads}, 1) - 1, "/."),
    lists:flatten([priv_dir(), Here]).

%% An application's directory, or, where code runs from a bare ebin, the one beside it.
-spec priv_dir() -> file:filename_all().
priv_dir() ->
    case code:priv_dir(gen_tcp_rs) of
        {error, bad_name} ->
            Ebin = filename:dirname(code:which(?MODULE)),
            filename:join(filename:dirname(Ebin), "priv");
        Directory ->
            Directory
    end.

-spec connect(gen_tcp_rs_opts:config(), gen_tcp_rs_opts:sockaddr(), reference()) ->
          {ok | wait, handle()} | badarg | failure().
connect(_Config, _Address, _Ref) -> erlang:nif_error(not_loaded).

-spec listen(gen_tcp_rs_opts:config(), non_neg_integer()) -> {ok, handle()} | badarg | failure().
listen(_Config, _Backlog) -> erlang:nif_error(not_loaded).

-spec take_over(gen_tcp_rs_opts:config()) -> {ok, handle()} | badarg | failure().
take_over(_Config) -> erlang:nif_error(not_loaded).

%% Answer: ready, to be called again; {error, Reason}.
-spec accept(handle(), reference()) -> {ok, handle()} | wait | failure().
accept(_Handle, _Ref) -> erlang:nif_error(not_loaded).

%% Answer: ready, to be called again; {error, Reason}.
-spec recv(handle(), non_neg_integer(), reference()) -> {ok, term()} | wait | failure().
recv(_Handle, _Length, _Ref) -> erlang:nif_error(not_loaded).

-spec unrecv(handle(), iodata()) -> ok | failure().
unrecv(_Handle, _Data) -> erlang:nif_error(not_loaded).

%% {wait, IsQueued, SendTimeout, SendTimeoutClose}: call await_send/3.
-spec send(handle(), iodata(), Force :: boolean()) ->
          ok | {wait, boolean(), timeout(), boolean()} | failure().
send(_Handle, _Data, _Force) -> erlang:nif_error(not_loaded).

%% busy: one {tcp_writable, Socket} comes.
-spec send_now(handle(), iodata()) -> ok | {error, {busy, non_neg_integer()}} | failure().
send_now(_Handle, _Data) -> erlang:nif_error(not_loaded).

%% Answer: ok, the queued data is on its way; ready, to be sent again; {error, Reason}.
-spec await_send(handle(), reference(), IsQueued :: boolean()) -> ok | wait | failure().
await_send(_Handle, _Ref, _IsQueued) -> erlang:nif_error(not_loaded).

-spec send_timed_out(handle(), reference(), Close :: boolean()) -> boolean().
send_timed_out(_Handle, _Ref, _Close) -> erlang:nif_error(not_loaded).

%% False: the answer is in the mailbox.
-spec cancel(handle(), reference()) -> boolean().
cancel(_Handle, _Ref) -> erlang:nif_error(not_loaded).

%% So many bytes, 0 at the end of the file. wait: call await_writable/2.
-spec sendfile(handle(), File :: non_neg_integer(), Offset :: non_neg_integer(),
               Count :: pos_integer()) -> {ok, non_neg_integer()} | wait | failure().
sendfile(_Handle, _File, _Offset, _Count) -> erlang:nif_error(not_loaded).

%% Answer: ready.
-spec await_writable(handle(), reference()) -> ok | wait.
await_writable(_Handle, _Ref) -> erlang:nif_error(not_loaded).

%% Other senders go on.
-spec file_sent(handle()) -> ok.
file_sent(_Handle) -> erlang:nif_error(not_loaded).

-spec shutdown(handle(), read | write | read_write) -> ok | failure().
shutdown(_Handle, _How) -> erlang:nif_error(not_loaded).

%% {linger, Seconds}: output is queued, or with the kernel, the socket is still open.
-spec close(handle()) -> ok | {linger, timeout()}.
close(_Handle) -> erlang:nif_error(not_loaded).

%% Answer: ready, nothing is queued any more.
-spec await_drained(handle(), reference()) -> ok | wait.
await_drained(_Handle, _Ref) -> erlang:nif_error(not_loaded).

%% The kernel has something that the peer has not yet.
-spec owes(handle()) -> boolean().
owes(_Handle) -> erlang:nif_error(not_loaded).

-spec queued(handle()) -> non_neg_integer().
queued(_Handle) -> erlang:nif_error(not_loaded).

-spec abandon(handle()) -> ok.
abandon(_Handle) -> erlang:nif_error(not_loaded).

-spec setopts(handle(), list()) -> ok | failure().
setopts(_Handle, _Options) -> erlang:nif_error(not_loaded).

-spec getopts(handle(), list()) -> {ok, list()} | failure().
getopts(_Handle, _Names) -> erlang:nif_error(not_loaded).

-spec getstat(handle(), [inet:stat_option()]) ->
          {ok, [{inet:stat_option(), non_neg_integer()}]} | failure().
getstat(_Handle, _Names) -> erlang:nif_error(not_loaded).

-spec sockname(handle()) -> {ok, address()} | failure().
sockname(_Handle) -> erlang:nif_error(not_loaded).

-spec peername(handle()) -> {ok, address()} | failure().
peername(_Handle) -> erlang:nif_error(not_loaded).

-spec getfd(handle()) -> {ok, non_neg_integer()} | failure().
getfd(_Handle) -> erlang:nif_error(not_loaded).

-spec info(handle()) -> #{state := atom(), owner := pid(), atom() => term()}.
info(_Handle) -> erlang:nif_error(not_loaded).

-spec begin_transfer(handle(), pid()) -> {ok, false | active()} | owner | failure().
begin_transfer(_Handle, _NewOwner) -> erlang:nif_error(not_loaded).

-spec forward(pid(), term()) -> boolean().
forward(_NewOwner, _Message) -> erlang:nif_error(not_loaded).

%% monitored: gen_tcp_rs_monitors has to know the new owner.
-spec finish_transfer(handle(), pid(), false | active()) -> ok | monitored | failure().
finish_transfer(_Handle, _NewOwner, _Active) -> erlang:nif_error(not_loaded).

%% False: the socket is closed.
-spec monitor(handle(), reference()) -> boolean().
monitor(_Handle, _Ref) -> erlang:nif_error(not_loaded).

-spec cancel_monitor(reference()) -> boolean().
cancel_monitor(_Ref) -> erlang:nif_error(not_loaded).

%% The owner of an open socket that is monitored.
-spec monitored_owner(handle()) -> pid() | none.
monitored_owner(_Handle) -> erlang:nif_error(not_loaded).

%% This process is going to call report/3 when the owner exits. False: not the owner any
%% more, or no monitor. {unmonitored, Handle} comes when nobody wants to know it any more.
-spec promise_report(handle(), pid()) -> boolean().
promise_report(_Handle, _Owner) -> erlang:nif_error(not_loaded).

-spec report(handle(), pid(), Reason :: term()) -> ok.
report(_Handle, _Owner, _Reason) -> erlang:nif_error(not_loaded).

-spec sockets() -> [handle()].
sockets() -> erlang:nif_error(not_loaded).

%% So many answers come: ready.
-spec await_all_closed(reference()) -> non_neg_integer().
await_all_closed(_Ref) -> erlang:nif_error(not_loaded).

%% The fds of the pollers that run. {gen_tcp_rs, poller, Fd} comes for each that starts.
-spec watch_pollers() -> [non_neg_integer()].
watch_pollers() -> erlang:nif_error(not_loaded).

%% The rules of the pollers that start from now on: docs/tuning.md.
-spec tune(Spin :: boolean(), Gather :: boolean(), AdaptiveReads :: boolean(),
           StayRegistered :: boolean()) -> ok.
tune(_Spin, _Gather, _AdaptiveReads, _StayRegistered) -> erlang:nif_error(not_loaded).

-spec stop() -> ok.
stop() -> erlang:nif_error(not_loaded).

-spec snapshot(handle()) -> map().
snapshot(_Handle) -> erlang:nif_error(not_loaded).

-spec totals() -> map().
totals() -> erlang:nif_error(not_loaded).

%% {gen_tcp_rs, poller_error | panic, Reason} go to this process from now on.
-spec report_to(pid()) -> ok.
report_to(_Pid) -> erlang:nif_error(not_loaded).

-spec time_locks(boolean()) -> ok.
time_locks(_On) -> erlang:nif_error(not_loaded).

%% {paused, Handle} goes to this process as long as it lives: the socket waits until resume/2
%% says that there is room in its owner's mailbox.
-spec mailboxes_to(pid()) -> ok.
mailboxes_to(_Pid) -> erlang:nif_error(not_loaded).

%% Room: the most messages in the owner's mailbox with which to resume.
-spec paused(handle()) -> {Owner :: pid(), Room :: non_neg_integer(), Pause :: byte()} | false.
paused(_Handle) -> erlang:nif_error(not_loaded).

-spec resume(handle(), Pause :: byte()) -> ok.
resume(_Handle, _Pause) -> erlang:nif_error(not_loaded).

%%% The sockets of the node's distribution, which a stop of the application leaves alone

-spec connect_node(gen_tcp_rs_opts:config(), gen_tcp_rs_opts:sockaddr(), reference()) ->
          {ok | wait, handle()} | badarg | failure().
connect_node(_Config, _Address, _Ref) -> erlang:nif_error(not_loaded).

-spec listen_node(gen_tcp_rs_opts:config(), non_neg_integer()) ->
          {ok, handle()} | badarg | failure().
listen_node(_Config, _Backlog) -> erlang:nif_error(not_loaded).

-spec node_sockets() -> [handle()].
node_sockets() -> erlang:nif_error(not_loaded).

%% What frames there are of a passive socket with {packet, 4}. Answer: ready, to be
%% called again; {error, Reason}.
-spec recv_frames(handle(), reference(), Spin :: boolean()) ->
          {ok, [binary()]} | wait | failure().
recv_frames(_Handle, _Ref, _Spin) -> erlang:nif_error(not_loaded).

%% Frames that bring their headers along. {wait, IsQueued, _, _}: call await_send/3.
-spec send_frames(handle(), iodata()) -> ok | {wait, boolean(), timeout(), boolean()} | failure().
send_frames(_Handle, _Frames) -> erlang:nif_error(not_loaded).
