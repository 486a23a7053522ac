%% What an operator must know: a log entry, at most one of each kind in ten seconds,
%% and a call of the function that the application's environment names:
%%
%%   {gen_tcp_rs, [{event_handler, fun Module:Function/3}]}   or {Module, Function}
%%
%% It is called as telemetry's handlers are, with the event's name, measurements and
%% metadata, each time, in the process that met the event.
%%
%% The process of this module takes the reports of the native library's threads.
-module(gen_tcp_rs_event).

-behaviour(gen_server).

-export([emit/3, opening_failed/2]).
-export([start_link/0, init/1, handle_call/3, handle_cast/2, handle_info/2]).

-include_lib("kernel/include/logger.hrl").

-define(INTERVAL, 10000).
-define(LIMITS, {?MODULE, limits}).

%% The place of an event's last log entry, and behind it of the count since.
-define(PLACES, #{[gen_tcp_rs, limit, reached] => 1,
                  [gen_tcp_rs, overlay, refused] => 3,
                  [gen_tcp_rs, poller, error] => 5,
                  [gen_tcp_rs, socket, panic] => 7}).

%% accept, connect or listen got no socket: a limit of the system is worth an event.
-spec opening_failed(accept | connect | listen, term()) -> ok.
opening_failed(Call, Reason) when Reason =:= emfile; Reason =:= enfile; Reason =:= enobufs;
                                  Reason =:= enomem ->
    emit([gen_tcp_rs, limit, reached], #{count => 1}, #{call => Call, reason => Reason});
opening_failed(_Call, _Reason) ->
    ok.

%% Never fails, whatever the handler does.
-spec emit([atom()], #{atom() => number()}, #{atom() => term()}) -> ok.
emit(Name, Measurements, Metadata) ->
    _ = try handle(application:get_env(gen_tcp_rs, event_handler), Name, Measurements, Metadata)
        catch
            Class:Reason:Stack ->
                ?LOG_ERROR("gen_tcp_rs: the event_handler failed: ~tp", [{Class, Reason, Stack}])
        end,
    case may_log(maps:get(Name, ?PLACES)) of
        {true, 0} -> log(Name, Metadata, "");
        {true, Before} -> log(Name, Metadata, io_lib:format(" (and ~w times before)", [Before]));
        false -> ok
    end.

-spec handle(undefined | {ok, term()}, [atom()], map(), map()) -> term().
handle({ok, Handler}, Name, Measurements, Metadata) when is_function(Handler, 3) ->
    Handler(Name, Measurements, Metadata);
handle({ok, {Module, Function}}, Name, Measurements, Metadata) ->
    Module:Function(Name, Measurements, Metadata);
handle(undefined, _Name, _Measurements, _Metadata) ->
    ok.

-spec log([atom()], map(), iodata()) -> ok.
log([gen_tcp_rs, limit, reached] = Event, #{call := Call, reason := Reason}, Times) ->
    ?LOG_WARNING("gen_tcp_rs: ~w found the system's limit: ~w~ts", [Call, Reason, Times],
                 #{event => Event});
log([gen_tcp_rs, overlay, refused] = Event, #{sentence := Sentence}, Times) ->
    ?LOG_ERROR("~ts~ts", [Sentence, Times], #{event => Event});
log([gen_tcp_rs, poller, error] = Event, #{reason := Reason}, Times) ->
    ?LOG_ERROR("gen_tcp_rs: a poller cannot wait for events: ~w~ts", [Reason, Times],
               #{event => Event});
log([gen_tcp_rs, socket, panic] = Event, _Metadata, Times) ->
    ?LOG_ERROR("gen_tcp_rs: a bug has closed a socket; please report it~ts", [Times],
               #{event => Event}).

%% Whether this one is logged, and how many were not since the last.
-spec may_log(pos_integer()) -> {true, non_neg_integer()} | false.
may_log(Place) ->
    Limits = limits(),
    Last = atomics:get(Limits, Place),
    %% Zero is never.
    Now = erlang:monotonic_time(millisecond) - erlang:system_info(start_time) div 1000000 + 1,
    case Last =:= 0 orelse Now - Last >= ?INTERVAL of
        true ->
            case atomics:compare_exchange(Limits, Place, Last, Now) of
                ok -> {true, atomics:exchange(Limits, Place + 1, 0)};
                _OtherLogs -> not_logged(Limits, Place)
            end;
        false ->
            not_logged(Limits, Place)
    end.

-spec not_logged(atomics:atomics_ref(), pos_integer()) -> false.
not_logged(Limits, Place) ->
    ok = atomics:add(Limits, Place + 1, 1),
    false.

%% The start of the application makes them; without it two that come at once may each
%% log.
-spec limits() -> atomics:atomics_ref().
limits() ->
    case persistent_term:get(?LIMITS, undefined) of
        undefined ->
            Limits = atomics:new(2 * map_size(?PLACES), []),
            ok = persistent_term:put(?LIMITS, Limits),
            Limits;
        Limits ->
            Limits
    end.

%%% The reports of the native library

-spec start_link() -> {ok, pid()} | {error, term()} | ignore.
start_link() ->
    gen_server:start_link({local, ?MODULE}, ?MODULE, [], []).

-spec init([]) -> {ok, []}.
init([]) ->
    _ = limits(),
    ok = gen_tcp_rs_nif:report_to(self()),
    {ok, []}.

-spec handle_call(term(), gen_server:from(), []) -> {reply, ok, []}.
handle_call(_Request, _From, State) -> {reply, ok, State}.

-spec handle_cast(term(), []) -> {noreply, []}.
handle_cast(_Request, State) -> {noreply, State}.

-spec handle_info(term(), []) -> {noreply, []}.
handle_info({gen_tcp_rs, poller_error, Reason}, State) ->
    ok = emit([gen_tcp_rs, poller, error], #{count => 1}, #{reason => Reason}),
    {noreply, State};
handle_info({gen_tcp_rs, panic, _}, State) ->
    ok = emit([gen_tcp_rs, socket, panic], #{count => 1}, #{}),
    {noreply, State};
handle_info(_Message, State) ->
    {noreply, State}.
