%% How sockets come to be, but for those that are accepted: addresses and options, families,
%% names and services. gen_tcp_rs and the modules of {tcp_module, _} call it.
%%
%% What a socket needs later is in gen_tcp_rs: without a file descriptor no module can be
%% loaded, and accept and its timeout must work then, too.
-module(gen_tcp_rs_open).

-export([connect/3, connect/4, listen/2, fdopen/2]).
-export([connect_address/4, connect_address/5, listen_family/3, fdopen_family/3]).

-type socket() :: gen_tcp_rs:socket().
-type failure() :: gen_tcp_rs:failure().
-type family() :: gen_tcp_rs_opts:family().

-define(SOCKET(Handle), {'$inet', gen_tcp_rs, Handle}).
%% The longest that `receive ... after` takes.
-define(MAX_TIMEOUT, 16#ffffffff).

-spec connect(Address :: term(), Port :: term(), [gen_tcp_rs_opts:connect_option()]) ->
          {ok, socket()} | failure();
             (SockAddr :: map(), [gen_tcp_rs_opts:connect_option()], timeout()) ->
          {ok, socket()} | failure().
connect(#{family := Family} = SockAddr, Options, Timeout) when is_list(Options) ->
    within(Timeout,
           fun(Timer) ->
                   Chosen = gen_tcp_rs_opts:family(Options, SockAddr),
                   connect_sockaddr(Chosen, Family, SockAddr, Timer)
           end);
connect(Address, Port, Options) ->
    connect(Address, Port, Options, infinity).

%% Tries the addresses of a name one by one, each with a socket of its own, within
%% one time.
-spec connect(Address :: term(), Port :: term(), [gen_tcp_rs_opts:connect_option()], timeout()) ->
          {ok, socket()} | failure().
connect(Address, Port, Options, Timeout) ->
    within(Timeout,
           fun(Timer) ->
                   {Family, KeptOptions} = gen_tcp_rs_opts:family(Options, Address),
                   Module = family_module(Family),
                   case Module:getaddrs(Address, Timer) of
                       {ok, IPs} ->
                           case Module:getserv(Port) of
                               {ok, PortNumber} ->
                                   connect_first(IPs, PortNumber, Family, KeptOptions, Timer,
                                                 {error, einval});
                               Error -> Error
                           end;
                       Error -> Error
                   end
           end).

%% As gen_tcp does: an einval of anything is the caller's fault, and so is an error.
-spec within(timeout(), fun((false | reference()) -> {ok, socket()} | failure())) ->
          {ok, socket()} | failure().
within(Timeout, Connect) ->
    Timer = inet:start_timer(Timeout),
    try Connect(Timer) of
        {error, einval} -> exit(badarg);
        Result -> Result
    catch
        error:Reason:Stack -> exit({Reason, Stack})
    after
        inet:stop_timer(Timer)
    end.

%% What is bound says the family of the socket; the address must be one of it.
-spec connect_sockaddr({family(), list()}, family(), map(), false | reference()) ->
          {ok, socket()} | failure().
connect_sockaddr({Family, Options}, Family, SockAddr, Timer) ->
    connect_address(Family, SockAddr, Options, inet:timeout(Timer));
connect_sockaddr({inet, _Options}, inet6, _SockAddr, _Timer) ->
    {error, eafnosupport};
connect_sockaddr(_Chosen, _Family, _SockAddr, _Timer) ->
    {error, einval}.

-spec connect_first([term()], inet:port_number(), family(), list(), false | reference(),
                    failure()) -> {ok, socket()} | failure().
connect_first([IP | IPs], Port, Family, Options, Timer, _LastError)
  when is_integer(Port), Port >= 0, Port =< 65535 ->
    case connect_address(Family, IP, Port, Options, inet:timeout(Timer)) of
        {ok, _Socket} = Connected -> Connected;
        {error, einval} = Error -> Error;
        {error, timeout} = Error -> Error;
        {error, _} = Error -> connect_first(IPs, Port, Family, Options, Timer, Error)
    end;
connect_first([], _Port, _Family, _Options, _Timer, LastError) ->
    LastError.

%% One address, without a lookup.
-spec connect_address(family(), Address :: term(), inet:port_number(), list(), timeout()) ->
          {ok, socket()} | failure().
connect_address(Family, Address, Port, Options, Timeout) ->
    case gen_tcp_rs_opts:connect(Family, Options) of
        {ok, Config} ->
            case gen_tcp_rs_opts:sockaddr(Family, Address, Port) of
                badarg -> {error, einval};
                SockAddr -> connect_socket(Config, SockAddr, Timeout)
            end;
        badarg -> exit(badarg)
    end.

-spec connect_address(family(), SockAddr :: map(), list(), timeout()) ->
          {ok, socket()} | failure().
connect_address(Family, SockAddr, Options, Timeout) ->
    connect_address(Family, SockAddr, 0, Options, Timeout).

-spec connect_socket(gen_tcp_rs_opts:config(), gen_tcp_rs_opts:sockaddr(), timeout()) ->
          {ok, socket()} | failure().
connect_socket(Config, SockAddr, Timeout) ->
    Ref = make_ref(),
    case gen_tcp_rs_nif:connect(Config, SockAddr, Ref) of
        {ok, Handle} ->
            {ok, ?SOCKET(Handle)};
        {wait, Handle} ->
            receive
                {Ref, ok} -> {ok, ?SOCKET(Handle)};
                {Ref, Error} -> Error
            after at_most(Timeout) ->
                    case gen_tcp_rs_nif:cancel(Handle, Ref) of
                        true ->
                            ok = gen_tcp_rs_nif:abandon(Handle),
                            {error, timeout};
                        false ->
                            receive
                                {Ref, ok} -> {ok, ?SOCKET(Handle)};
                                {Ref, Error} -> Error
                            end
                    end
            end;
        badarg ->
            exit(badarg);
        Error ->
            gen_tcp_rs:failed(connect, Error)
    end.

-spec listen(Port :: term(), [gen_tcp_rs_opts:listen_option()]) -> {ok, socket()} | failure().
listen(Port, Options) ->
    {Family, KeptOptions} = gen_tcp_rs_opts:family(Options, any),
    case (family_module(Family)):getserv(Port) of
        {ok, PortNumber} -> listen_family(Family, PortNumber, KeptOptions);
        {error, einval} -> exit(badarg);
        Error -> Error
    end.

-spec listen_family(family(), inet:port_number(), list()) -> {ok, socket()} | failure().
listen_family(Family, Port, Options) ->
    case gen_tcp_rs_opts:listen(Family, Port, Options) of
        {ok, Config, Backlog} -> opened(gen_tcp_rs_nif:listen(Config, Backlog));
        {error, einval} = Error -> Error;
        badarg -> exit(badarg)
    end.

-spec fdopen(Fd :: non_neg_integer(), [gen_tcp_rs_opts:option() | family()]) ->
          {ok, socket()} | failure().
fdopen(Fd, Options) ->
    {Family, KeptOptions} = gen_tcp_rs_opts:family(Options, any),
    fdopen_family(Family, Fd, KeptOptions).

-spec fdopen_family(family(), Fd :: non_neg_integer(), Options :: list()) ->
          {ok, socket()} | failure().
fdopen_family(Family, Fd, Options) ->
    {ok, Config} = gen_tcp_rs_opts:fdopen(Family, Fd, Options),
    case gen_tcp_rs_nif:take_over(Config) of
        badarg -> {error, einval};
        Result -> opened(Result)
    end.

-spec opened({ok, gen_tcp_rs_nif:handle()} | badarg | failure()) -> {ok, socket()} | failure().
opened({ok, Handle}) -> {ok, ?SOCKET(Handle)};
opened(badarg) -> exit(badarg);
opened(Error) -> gen_tcp_rs:failed(listen, Error).

%% OTP's own module of a family looks names and services up.
-spec family_module(family()) -> module().
family_module(inet) -> inet_tcp;
family_module(inet6) -> inet6_tcp;
family_module(local) -> local_tcp.

-spec at_most(timeout()) -> timeout().
at_most(infinity) -> infinity;
at_most(Timeout) -> min(Timeout, ?MAX_TIMEOUT).
