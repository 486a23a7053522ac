%% Tells the processes that monitor a socket why its owner has exited. The native library
%% learns of an exit from the VM, but no reason; this process watches the owners of the
%% sockets that are monitored, and only these.
%%
%% Every message about a socket is a request to look at it again: what holds is what the
%% library says then, so that no order of messages can be wrong. While this process does
%% not run, or when it ends, the reason is `normal`.
-module(gen_tcp_rs_monitors).

-behaviour(gen_server).

-export([start_link/0, look/1]).
-export([init/1, handle_call/3, handle_cast/2, handle_info/2]).

-type handle() :: gen_tcp_rs_nif:handle().

%% An owner's sockets are held here so that they last until the reason is told. Whether
%% it lived when its watch began: the reason of one that did not is not to be had.
-type watch() :: {reference(), Lived :: boolean()}.
-record(state, {owners = #{} :: #{pid() => {watch(), #{handle() => []}}},
                sockets = #{} :: #{handle() => pid()}}).

-spec start_link() -> {ok, pid()} | {error, term()} | ignore.
start_link() ->
    gen_server:start_link({local, ?MODULE}, ?MODULE, [], []).

%% The socket is monitored, or its owner has changed. When this returns the owner's exit
%% will be explained.
-spec look(handle()) -> ok.
look(Handle) ->
    try
        gen_server:call(?MODULE, {look, Handle}, infinity)
    catch
        %% It does not run, or ends at this moment.
        exit:{_Reason, {gen_server, call, _}} -> ok
    end.

-spec init([]) -> {ok, #state{}}.
init([]) ->
    %% Without the library there are no sockets.
    Handles = case erlang:module_loaded(gen_tcp_rs_nif) of
                  true -> gen_tcp_rs_nif:sockets();
                  false -> []
              end,
    {ok, lists:foldl(fun looked_at/2, #state{}, Handles)}.

-spec handle_call({look, handle()}, gen_server:from(), #state{}) -> {reply, ok, #state{}}.
handle_call({look, Handle}, _From, State) ->
    {reply, ok, looked_at(Handle, State)}.

-spec handle_cast(term(), #state{}) -> {noreply, #state{}}.
handle_cast(_Message, State) ->
    {noreply, State}.

-spec handle_info(term(), #state{}) -> {noreply, #state{}}.
handle_info({unmonitored, Handle}, State) ->
    {noreply, looked_at(Handle, State)};
handle_info({'DOWN', _Monitor, process, Owner, Reason}, #state{owners = Owners} = State) ->
    {noreply,
     case Owners of
         #{Owner := {{_, Lived}, Handles}} ->
             Known = case Reason of
                         noproc when not Lived -> normal;
                         _ -> Reason
                     end,
             maps:foreach(fun(Handle, []) -> ok = gen_tcp_rs_nif:report(Handle, Owner, Known) end, Handles),
             State#state{owners = maps:remove(Owner, Owners),
                         sockets = maps:without(maps:keys(Handles), State#state.sockets)};
         #{} ->
             State
     end};
handle_info(_Message, State) ->
    {noreply, State}.

-spec looked_at(handle(), #state{}) -> #state{}.
looked_at(Handle, State) ->
    case gen_tcp_rs_nif:monitored_owner(Handle) of
        none ->
            forgotten(Handle, State);
        Owner ->
            Watching = watching(Handle, Owner, State),
            case gen_tcp_rs_nif:promise_report(Handle, Owner) of
                true -> Watching;
                false -> looked_at(Handle, Watching)
            end
    end.

-spec watching(handle(), pid(), #state{}) -> #state{}.
watching(Handle, Owner, State0) ->
    case State0#state.sockets of
        #{Handle := Owner} ->
            State0;
        #{} ->
            #state{owners = Owners, sockets = Sockets} = State = forgotten(Handle, State0),
            {Watch, Handles} = case Owners of
                                   #{Owner := Known} -> Known;
                                   #{} -> {watch(Owner), #{}}
                               end,
            State#state{owners = Owners#{Owner => {Watch, Handles#{Handle => []}}},
                        sockets = Sockets#{Handle => Owner}}
    end.

-spec watch(pid()) -> watch().
watch(Owner) ->
    Monitor = erlang:monitor(process, Owner),
    {Monitor, is_process_alive(Owner)}.

-spec forgotten(handle(), #state{}) -> #state{}.
forgotten(Handle, #state{owners = Owners, sockets = Sockets} = State) ->
    case maps:take(Handle, Sockets) of
        {Owner, Rest} ->
            #{Owner := {{Monitor, _Lived} = Watch, Handles0}} = Owners,
            Handles = maps:remove(Handle, Handles0),
            Left = case map_size(Handles) of
                       0 ->
                           true = erlang:demonitor(Monitor, [flush]),
                           maps:remove(Owner, Owners);
                       _ ->
                           Owners#{Owner := {Watch, Handles}}
                   end,
            State#state{owners = Left, sockets = Rest};
        error ->
            State
    end.
