%% Looks into the mailboxes of owners for the option max_mailbox, which the native
%% library cannot: a socket that has paused says so, and is resumed when its owner's
%% mailbox has room again.
%%
%% Each pause has a process of its own, which ends with it: to ask an owner may take as
%% long as that one's garbage collection, and the others are not to wait. They are linked
%% with this one, which looks at all sockets when it starts: a pause whose watch was lost
%% is found. Where it does not run no socket pauses.
-module(gen_tcp_rs_mailboxes).

-behaviour(gen_server).

-export([start_link/0]).
-export([init/1, handle_call/3, handle_cast/2, handle_info/2]).

%% Between two looks, in milliseconds: a pause is at most as long again as it had to be.
-define(SHORTEST, 1).
-define(LONGEST, 100).
%% A mailbox with so many messages beside the socket's own is not looked through.
-define(OTHERS, 10000).

-spec start_link() -> {ok, pid()} | {error, term()} | ignore.
start_link() ->
    gen_server:start_link({local, ?MODULE}, ?MODULE, [], []).

-spec init([]) -> {ok, []}.
init([]) ->
    ok = gen_tcp_rs_nif:mailboxes_to(self()),
    lists:foreach(fun watch/1, gen_tcp_rs_nif:sockets()),
    {ok, []}.

-spec handle_call(term(), gen_server:from(), []) -> {reply, ok, []}.
handle_call(_Request, _From, State) -> {reply, ok, State}.

-spec handle_cast(term(), []) -> {noreply, []}.
handle_cast(_Message, State) -> {noreply, State}.

-spec handle_info(term(), []) -> {noreply, []}.
handle_info({paused, Handle}, State) ->
    ok = watch(Handle),
    {noreply, State};
handle_info(_Message, State) ->
    {noreply, State}.

-spec watch(gen_tcp_rs_nif:handle()) -> ok.
watch(Handle) ->
    case gen_tcp_rs_nif:paused(Handle) of
        {_Owner, _Room, Pause} ->
            _ = spawn_link(fun() -> look(Handle, Pause, ?SHORTEST, 0) end),
            ok;
        false ->
            ok
    end.

%% Owner and limit may change meanwhile.
-spec look(gen_tcp_rs_nif:handle(), byte(), pos_integer(), non_neg_integer()) -> ok.
look(Handle, Pause, Milliseconds, Before) ->
    case gen_tcp_rs_nif:paused(Handle) of
        {Owner, Room, Pause} ->
            case process_info(Owner, message_queue_len) of
                {message_queue_len, Length} when Length > Room ->
                    case Length =:= Before andalso Milliseconds =:= ?LONGEST
                        andalso Length =< 2 * Room + ?OTHERS andalso count(Handle, Owner) =< Room of
                        true ->
                            gen_tcp_rs_nif:resume(Handle, Pause);
                        false ->
                            receive after Milliseconds -> ok end,
                            look(Handle, Pause, min(2 * Milliseconds, ?LONGEST), Length)
                    end;
                %% The socket of an owner that has gone closes.
                _ ->
                    gen_tcp_rs_nif:resume(Handle, Pause)
            end;
        _ ->
            ok
    end.

%% The messages of this socket. An owner that leaves its mailbox as it is may wait for the
%% next of them: others, which it does not read, are not to keep it waiting for ever.
-spec count(gen_tcp_rs_nif:handle(), pid()) -> non_neg_integer().
count(Handle, Owner) ->
    Socket = {'$inet', gen_tcp_rs, Handle},
    case process_info(Owner, messages) of
        {messages, Messages} -> length([Message || Message <- Messages, is_of(Socket, Message)]);
        undefined -> 0
    end.

-spec is_of(gen_tcp_rs:socket(), term()) -> boolean().
is_of(Socket, Message) when is_tuple(Message), tuple_size(Message) >= 2 ->
    element(2, Message) =:= Socket orelse element(1, Message) =:= Socket;
is_of(_Socket, _Message) ->
    false.
