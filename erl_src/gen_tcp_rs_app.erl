%% The application: its start lets OTP's own gen_tcp and inet select rs sockets
%% (gen_tcp_rs_backend), its stop takes the node back to where it was.
%%
%% It is its own supervisor. The sockets live in the native library and the pollers
%% start with the first socket; what lives here only tells why their owners exited and
%% whether they read, and the operator what goes wrong.
-module(gen_tcp_rs_app).

-behaviour(application).
-behaviour(supervisor).

-export([start/2, stop/1]).
-export([init/1]).

%% How long a stop waits for queued output to leave.
-define(STOP_MILLISECONDS, 5000).

-spec start(application:start_type(), term()) -> {ok, pid()} | {error, term()}.
start(_StartType, _StartArguments) ->
    case gen_tcp_rs_backend:start() of
        ok -> start_supervisor();
        {error, _Reason} = Error -> Error
    end.

%% The default goes back to inet first, so that nothing opens a socket here while
%% the others are being closed. The extended inet module stays (docs/selecting.md).
-spec stop(term()) -> ok.
stop(_State) ->
    ok = gen_tcp_rs_backend:stop(),
    _ = gen_tcp_rs:stop_all(?STOP_MILLISECONDS),
    ok.

-spec init([]) -> {ok, {supervisor:sup_flags(), [supervisor:child_spec()]}}.
init([]) ->
    %% The driver belongs to this process: one that ends would have it unloaded.
    Driver = [gen_tcp_rs_driver || gen_tcp_rs_driver:load()],
    {ok, {#{intensity => 10, period => 1},
          [#{id => Module, start => {Module, start_link, []}}
           || Module <- [gen_tcp_rs_event, gen_tcp_rs_monitors, gen_tcp_rs_mailboxes | Driver]]}}.

-spec start_supervisor() -> {ok, pid()} | {error, term()}.
start_supervisor() ->
    case supervisor:start_link({local, gen_tcp_rs_sup}, ?MODULE, []) of
        {ok, _Pid} = Started ->
            Started;
        ignore ->
            {error, ignore};
        {error, _Reason} = Error ->
            ok = gen_tcp_rs_backend:stop(),
            Error
    end.
