%% Has the schedulers wait for the sockets: a port of the library's driver for each poller.
%% A scheduler that would sleep waits for our sockets as it does for those of ports, and
%% serves them itself. While this process does not run, or where the driver can't be had,
%% the pollers' own threads wait.
-module(gen_tcp_rs_driver).

-behaviour(gen_server).

-export([load/0, start_link/0]).
-export([init/1, handle_call/3, handle_cast/2, handle_info/2, terminate/2]).

-include_lib("kernel/include/logger.hrl").

-define(DRIVER, "gen_tcp_rs").

%% The ports, by the fds of their pollers.
-type ports() :: #{non_neg_integer() => port()}.

%% Whether ports can be opened, for as long as the calling process lives.
-spec load() -> boolean().
load() ->
    case application:get_env(gen_tcp_rs, scheduler_poll, true) of
        false -> false;
        _ -> loaded(erl_ddll:try_load(gen_tcp_rs_nif:directory(), ?DRIVER, []))
    end.

-spec loaded({ok, term()} | {error, term()}) -> boolean().
loaded({ok, _Status}) ->
    true;
loaded({error, Reason}) ->
    ?LOG_NOTICE("gen_tcp_rs: the schedulers can't wait for its sockets, a thread does: ~ts",
                [erl_ddll:format_error(Reason)]),
    false.

-spec start_link() -> {ok, pid()} | {error, term()} | ignore.
start_link() ->
    gen_server:start_link({local, ?MODULE}, ?MODULE, [], []).

-spec init([]) -> {ok, ports()}.
init([]) ->
    %% Told of a port that ends, and not ended by it.
    _ = process_flag(trap_exit, true),
    {ok, lists:foldl(fun opened/2, #{}, gen_tcp_rs_nif:watch_pollers())}.

-spec handle_call(term(), gen_server:from(), ports()) -> {noreply, ports()}.
handle_call(_Request, _From, Ports) ->
    {noreply, Ports}.

-spec handle_cast(term(), ports()) -> {noreply, ports()}.
handle_cast(_Message, Ports) ->
    {noreply, Ports}.

-spec handle_info(term(), ports()) -> {noreply, ports()} | {stop, term(), ports()}.
handle_info({gen_tcp_rs, poller, Fd}, Ports) ->
    {noreply, opened(Fd, Ports)};
handle_info({'EXIT', Port, Reason}, Ports) when is_port(Port) ->
    %% Somebody has closed it. The next one of this process opens all anew.
    case lists:member(Port, maps:values(Ports)) of
        true -> {stop, {port_ended, Reason}, Ports};
        false -> {noreply, Ports}
    end;
handle_info(_Message, Ports) ->
    {noreply, Ports}.

-spec terminate(term(), ports()) -> ok.
terminate(_Reason, Ports) ->
    lists:foreach(fun close/1, maps:values(Ports)).

%% It may have been told of a poller twice, or of one that has stopped: such a port is refused.
-spec opened(non_neg_integer(), ports()) -> ports().
opened(Fd, Ports) ->
    try open_port({spawn_driver, ?DRIVER ++ " " ++ integer_to_list(Fd)}, []) of
        Port ->
            _ = [close(Old) || #{Fd := Old} <- [Ports]],
            Ports#{Fd => Port}
    catch
        error:_ -> Ports
    end.

-spec close(port()) -> true.
close(Port) ->
    try port_close(Port) catch error:badarg -> true end.
