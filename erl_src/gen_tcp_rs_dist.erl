%% What rs_tcp_dist and rs_tcp6_dist have in common: listening, connecting and the
%% handshake of connections between nodes. net_kernel calls, dist_util does the
%% handshake, and gen_tcp_rs_dist_ctrl moves the data afterwards.
%%
%% Who is who of a connection: the supervisor, which is what net_kernel and dist_util
%% know as the connection's process, and the controller, which owns the socket and moves
%% the data. They are linked: with one of them the connection goes.
-module(gen_tcp_rs_dist).

-export([listen/3, accept/2, accept_connection/6, setup/6]).
-export([select/2, address/1, is_node_name/1, setopts/2]).
-export([accept_loop/3, do_accept/7, do_setup/7]).

-include_lib("kernel/include/net_address.hrl").
-include_lib("kernel/include/dist.hrl").
-include_lib("kernel/include/dist_util.hrl").

-type family() :: inet | inet6.

%% Between two tries to accept where fds or memory are short.
-define(RETRY_MILLISECONDS, 100).
%% Queued here beyond what the kernel takes. Little, because what is queued delays what
%% comes after it.
-define(HIGH_WATERMARK, 65536).
-define(LOW_WATERMARK, 0).
%% The kernel takes no more while so many bytes of what it has are not on their way.
-define(NOT_SENT, 262144).

%%% Listening

%% Tries the ports of the range in turn and registers the node with epmd.
-spec listen(family(), atom(), string()) ->
          {ok, {gen_tcp_rs:socket(), #net_address{}, integer()}} | {error, term()}.
listen(Family, Name, Host) ->
    ok = ensure_library(),
    Epmd = net_kernel:epmd_module(),
    {First, Last} = case epmd(Epmd, listen_port_please, [Name, Host]) of
                        {ok, 0} -> port_range();
                        {ok, Fixed} -> {Fixed, Fixed}
                    end,
    case listen_within(Family, First, Last, listen_options()) of
        {ok, Socket} ->
            {ok, {_IP, Port} = Address} = gen_tcp_rs:sockname(Socket),
            case Epmd:register_node(Name, Port, driver(Family)) of
                {ok, Creation} ->
                    {ok, {Socket, (address(Family))#net_address{address = Address}, Creation}};
                Error ->
                    ok = gen_tcp_rs:close(Socket),
                    Error
            end;
        Error ->
            Error
    end.

%% In an embedded system the modules are there before anything runs, but functions to
%% be called on load wait until kernel has started, of which this is a part.
-spec ensure_library() -> ok.
ensure_library() ->
    try gen_tcp_rs_nif:node_sockets() of
        _Sockets -> ok
    catch
        error:undef ->
            _ = init:run_on_load_handlers(),
            _ = gen_tcp_rs_nif:node_sockets(),
            ok
    end.

-spec port_range() -> {inet:port_number(), inet:port_number()}.
port_range() ->
    case application:get_env(kernel, inet_dist_listen_min) of
        {ok, Min} when is_integer(Min) ->
            case application:get_env(kernel, inet_dist_listen_max) of
                {ok, Max} when is_integer(Max) -> {Min, Max};
                _ -> {Min, Min}
            end;
        _ ->
            {0, 0}
    end.

-spec listen_within(family(), integer(), integer(), list()) ->
          {ok, gen_tcp_rs:socket()} | {error, term()}.
listen_within(_Family, Port, Last, _Options) when Port > Last ->
    {error, eaddrinuse};
listen_within(Family, Port, Last, Options) ->
    case listen_on(Family, Port, Options) of
        {error, eaddrinuse} -> listen_within(Family, Port + 1, Last, Options);
        Result -> Result
    end.

-spec listen_on(family(), inet:port_number(), list()) ->
          {ok, gen_tcp_rs:socket()} | {error, term()}.
listen_on(Family, Port, Options) ->
    case gen_tcp_rs_opts:listen(Family, Port, Options) of
        {ok, Config, Backlog} ->
            case gen_tcp_rs_nif:listen_node(Config, Backlog) of
                {ok, Handle} -> {ok, {'$inet', gen_tcp_rs, Handle}};
                badarg -> {error, badarg};
                Error -> Error
            end;
        badarg -> {error, badarg};
        Error -> Error
    end.

%% Of two with one name the last one counts: what the protocol needs stands last, what
%% the user may change first.
-spec listen_options() -> list().
listen_options() ->
    Interface = case application:get_env(kernel, inet_dist_use_interface) of
                    {ok, IP} -> [{ip, IP}];
                    undefined -> []
                end,
    [{reuseaddr, true}, {backlog, 128} | defaults()] ++
        users(inet_dist_listen_options, Interface) ++ Interface ++ forced().

-spec connect_options() -> list().
connect_options() ->
    defaults() ++ users(inet_dist_connect_options, []) ++ forced().

-spec defaults() -> list().
defaults() ->
    [{notsent_lowat, ?NOT_SENT}, {high_watermark, ?HIGH_WATERMARK}, {low_watermark, ?LOW_WATERMARK}].

-spec forced() -> list().
forced() -> [binary, {active, false}, {packet, 2}, {header, 0}, {packet_size, 0}].

%% No option of the user's takes the place of those that the carrier needs.
-spec users(atom(), list()) -> list().
users(Name, Interface) ->
    Forced = [list, binary, mode, active, deliver, packet, header, packet_size, exit_on_close]
        ++ [ip || Interface =/= []],
    [Option || Option <- application:get_env(kernel, Name, []),
               not lists:member(name(Option), Forced)].

-spec name(term()) -> term().
name(Option) when is_tuple(Option), tuple_size(Option) > 0 -> element(1, Option);
name(Option) -> Option.

%%% Accepting

-spec accept(family(), gen_tcp_rs:socket()) -> pid().
accept(Family, Listen) ->
    spawn_opt(?MODULE, accept_loop, [Family, self(), Listen], [link, {priority, max}]).

%% net_kernel gets the process of a new connection started, and it starts this loop
%% again if it ends.
-spec accept_loop(family(), pid(), gen_tcp_rs:socket()) -> no_return().
accept_loop(Family, Kernel, Listen) ->
    case gen_tcp_rs:accept(Listen) of
        {ok, Socket} ->
            Kernel ! {accept, self(), Socket, Family, tcp},
            receive
                {Kernel, controller, Supervisor} ->
                    ok = hand_over(Socket, Supervisor),
                    Supervisor ! {self(), controller},
                    ok;
                {Kernel, unsupported_protocol} ->
                    exit(unsupported_protocol)
            end;
        {error, closed} = Closed ->
            exit(Closed);
        {error, _Shortage} ->
            receive after ?RETRY_MILLISECONDS -> ok end
    end,
    accept_loop(Family, Kernel, Listen).

%% This process lives on: it must not stay the owner for a supervisor that has gone.
-spec hand_over(gen_tcp_rs:socket(), pid()) -> ok.
hand_over(Socket, Supervisor) ->
    case gen_tcp_rs:controlling_process(Socket, Supervisor) of
        ok -> ok;
        {error, _Gone} -> gen_tcp_rs:close(Socket)
    end.

-spec accept_connection(family(), pid(), gen_tcp_rs:socket(), node(), list(),
                        non_neg_integer()) -> pid().
accept_connection(Family, Acceptor, Socket, MyNode, Allowed, SetupTime) ->
    spawn_opt(?MODULE, do_accept,
              [Family, self(), Acceptor, Socket, MyNode, Allowed, SetupTime],
              dist_util:net_ticker_spawn_options()).

-spec do_accept(family(), pid(), pid(), gen_tcp_rs:socket(), node(), list(),
                non_neg_integer()) -> no_return().
do_accept(Family, Kernel, Acceptor, Socket, MyNode, Allowed, SetupTime) ->
    receive {Acceptor, controller} -> ok end,
    Timer = dist_util:start_timer(SetupTime),
    case is_from_here(Socket) of
        true ->
            Remote = fun(Node) ->
                             {ok, Address} = gen_tcp_rs:peername(Socket),
                             {node, _Name, Host} = dist_util:split_node(Node),
                             net_address(Family, Address, Host)
                     end,
            HsData = hs_data(Socket, Remote),
            dist_util:handshake_other_started(
              HsData#hs_data{kernel_pid = Kernel, this_node = MyNode, timer = Timer,
                             this_flags = 0, allowed = Allowed});
        false ->
            error_logger:error_msg("** Connection attempt from disallowed address ~w ** ~n",
                                   [gen_tcp_rs:peername(Socket)]),
            ?shutdown(no_node)
    end.

%% With `-kernel check_ip true` a peer must be on a network of one of our interfaces.
-spec is_from_here(gen_tcp_rs:socket()) -> boolean().
is_from_here(Socket) ->
    case application:get_env(kernel, check_ip) of
        {ok, true} ->
            {ok, Interfaces} = inet:getifaddrs(),
            case gen_tcp_rs:peername(Socket) of
                {ok, {Peer, _Port}} ->
                    lists:any(fun({_Name, Options}) -> is_on(Peer, Options) end, Interfaces);
                {error, _Closed} -> false
            end;
        _ -> true
    end.

-spec is_on(inet:ip_address(), list()) -> boolean().
is_on(Peer, [{addr, Address}, {netmask, Mask} | Options]) ->
    masked(Peer, Mask) =:= masked(Address, Mask) orelse is_on(Peer, Options);
is_on(Peer, [_Option | Options]) -> is_on(Peer, Options);
is_on(_Peer, []) -> false.

-spec masked(inet:ip_address(), inet:ip_address()) -> [integer()] | other_family.
masked(Address, Mask) when tuple_size(Address) =:= tuple_size(Mask) ->
    lists:zipwith(fun(A, M) -> A band M end, tuple_to_list(Address), tuple_to_list(Mask));
masked(Address, _Mask) when tuple_size(Address) =:= 4 -> [];
masked(_Address, _Mask) -> other_family.

%%% Connecting

-spec setup(family(), node(), term(), node(), longnames | shortnames, non_neg_integer()) ->
          pid().
setup(Family, Node, Type, MyNode, Names, SetupTime) ->
    spawn_opt(?MODULE, do_setup, [Family, self(), Node, Type, MyNode, Names, SetupTime],
              dist_util:net_ticker_spawn_options()).

-spec do_setup(family(), pid(), node(), term(), node(), longnames | shortnames,
               non_neg_integer()) -> no_return().
do_setup(Family, Kernel, Node, Type, MyNode, Names, SetupTime) ->
    ok = ensure_library(),
    {Name, Host} = name_and_host(Family, Node, Names),
    Timer = dist_util:start_timer(SetupTime),
    {IP, Port, Version} = whereabouts(Family, Node, Name, Host),
    dist_util:reset_timer(Timer),
    case connect(Family, IP, Port) of
        {ok, Socket} ->
            Remote = fun(_Node) -> net_address(Family, {IP, Port}, Host) end,
            HsData = hs_data(Socket, Remote),
            dist_util:handshake_we_started(
              HsData#hs_data{kernel_pid = Kernel, other_node = Node, this_node = MyNode,
                             timer = Timer, this_flags = 0, other_version = Version,
                             request_type = Type});
        {error, _Reason} ->
            ?shutdown(Node)
    end.

-spec whereabouts(family(), node(), string(), string()) ->
          {inet:ip_address(), inet:port_number(), non_neg_integer()}.
whereabouts(Family, Node, Name, Host) ->
    Epmd = net_kernel:epmd_module(),
    case epmd(Epmd, address_please, [Name, Host, Family]) of
        {ok, IP, Port, Version} ->
            {IP, Port, Version};
        {ok, IP} ->
            case Epmd:port_please(Name, IP) of
                {port, Port, Version} -> {IP, Port, Version};
                _Failure -> ?shutdown(Node)
            end;
        _Failure ->
            ?shutdown(Node)
    end.

%% The time is that of the timer, which ends this process.
-spec connect(family(), inet:ip_address(), inet:port_number()) ->
          {ok, gen_tcp_rs:socket()} | {error, term()}.
connect(Family, IP, Port) ->
    case gen_tcp_rs_opts:connect(Family, connect_options()) of
        {ok, Config} ->
            Ref = make_ref(),
            Address = gen_tcp_rs_opts:sockaddr(Family, IP, Port),
            case gen_tcp_rs_nif:connect_node(Config, Address, Ref) of
                {ok, Handle} -> {ok, {'$inet', gen_tcp_rs, Handle}};
                {wait, Handle} ->
                    receive
                        {Ref, ok} -> {ok, {'$inet', gen_tcp_rs, Handle}};
                        {Ref, Error} -> Error
                    end;
                badarg -> {error, badarg};
                Error -> Error
            end;
        badarg -> {error, badarg}
    end.

%% A host name with dots is for long names, one without for short ones; an address is
%% for both.
-spec name_and_host(family(), node(), longnames | shortnames) -> {string(), string()}.
name_and_host(Family, Node, Names) ->
    case dist_util:split_node(Node) of
        {node, Name, Host} ->
            HasDots = lists:member($., Host),
            case Names of
                longnames when not HasDots ->
                    case (driver(Family)):parse_address(Host) of
                        {ok, _Address} -> {Name, Host};
                        _ -> illegal(Node, "this node uses long names, and the host name has no dot")
                    end;
                shortnames when HasDots ->
                    illegal(Node, "this node uses short names, and the host name has dots");
                _ ->
                    {Name, Host}
            end;
        _ ->
            illegal(Node, "it needs a name, an @ and a host")
    end.

-spec illegal(node(), string()) -> no_return().
illegal(Node, Why) ->
    error_logger:error_msg("** Can't connect to ~p: ~ts **~n", [Node, Why]),
    ?shutdown(Node).

%%% The handshake's view of a connection

%% The handshake is done by the calling process, on the passive socket; from then on
%% the controller moves the data.
-spec hs_data(gen_tcp_rs:socket(), fun((node()) -> #net_address{})) -> #hs_data{}.
hs_data({'$inet', gen_tcp_rs, Handle} = Socket, Remote) ->
    Controller = gen_tcp_rs_dist_ctrl:start_link(Handle),
    %% A socket that is closed already fails in the handshake.
    _ = gen_tcp_rs:controlling_process(Socket, Controller),
    ToFrames = fun(_Controller) ->
                       gen_tcp_rs:setopts(Socket, [{active, false}, {packet, 4}, nodelay()])
               end,
    #hs_data{socket = Controller,
             f_send = fun(_Controller, Data) -> gen_tcp_rs:send(Socket, Data) end,
             f_recv = fun(_Controller, Length, Timeout) ->
                              case gen_tcp_rs:recv(Socket, Length, Timeout) of
                                  {ok, Data} -> {ok, binary_to_list(Data)};
                                  Error -> Error
                              end
                      end,
             f_setopts_pre_nodeup = ToFrames,
             f_setopts_post_nodeup = ToFrames,
             f_getll = fun(_Controller) -> {ok, Controller} end,
             f_address = fun(_Controller, Node) -> Remote(Node) end,
             f_handshake_complete =
                 fun(_Controller, _Node, Connection) ->
                         gen_tcp_rs_dist_ctrl:connected(Controller, Connection)
                 end,
             mf_tick = fun(_Controller) -> tick(Handle, Controller) end,
             mf_getstat = fun(_Controller) -> getstat(Socket) end,
             mf_setopts = fun(_Controller, Options) -> setopts(Socket, Options) end,
             mf_getopts = fun(_Controller, Names) -> gen_tcp_rs:getopts(Socket, Names) end}.

-spec nodelay() -> {nodelay, boolean()}.
nodelay() ->
    {nodelay, application:get_env(kernel, dist_nodelay, true) =/= false}.

%% An empty frame, behind whatever is queued: it waits for nobody.
-spec tick(gen_tcp_rs_nif:handle(), pid()) -> ok | {error, closed}.
tick(Handle, Controller) ->
    case gen_tcp_rs_nif:send(Handle, <<>>, true) of
        {error, _Reason} ->
            self() ! {tcp_closed, Controller},
            {error, closed};
        _Taken ->
            ok
    end.

-spec getstat(gen_tcp_rs:socket()) ->
          {ok, non_neg_integer(), non_neg_integer(), non_neg_integer()} | {error, term()}.
getstat(Socket) ->
    case gen_tcp_rs:getstat(Socket, [recv_cnt, send_cnt, send_pend]) of
        {ok, [{recv_cnt, Received}, {send_cnt, Sent}, {send_pend, Pending}]} ->
            {ok, Received, Sent, Pending};
        Error ->
            Error
    end.

-spec setopts(gen_tcp_rs:socket(), list()) -> ok | {error, term()}.
setopts(Socket, Options) ->
    case [Option || Option <- Options,
                    lists:member(name(Option), [active, deliver, packet, mode, list, header])] of
        [] -> gen_tcp_rs:setopts(Socket, Options);
        Refused -> {error, {badopts, Refused}}
    end.

%%% Names and addresses

-spec select(family(), node()) -> boolean().
select(Family, Node) ->
    case dist_util:split_node(Node) of
        {node, Name, Host} ->
            case epmd(net_kernel:epmd_module(), address_please, [Name, Host, Family]) of
                {ok, _IP} -> true;
                {ok, _IP, _Port, _Version} -> true;
                _ -> false
            end;
        _ -> false
    end.

-spec is_node_name(term()) -> boolean().
is_node_name(Node) -> is_atom(Node) andalso dist_util:is_node_name(Node).

-spec address(family()) -> #net_address{}.
address(Family) ->
    {ok, Host} = inet:gethostname(),
    net_address(Family, undefined, Host).

-spec net_address(family(), term(), string()) -> #net_address{}.
net_address(Family, Address, Host) ->
    #net_address{address = Address, host = Host, protocol = tcp, family = Family}.

%% An epmd module of the user's need not have all functions.
-spec epmd(module(), atom(), [term()]) -> term().
epmd(Module, Function, Arguments) ->
    _ = code:ensure_loaded(Module),
    case erlang:function_exported(Module, Function, length(Arguments)) of
        true -> apply(Module, Function, Arguments);
        false -> apply(erl_epmd, Function, Arguments)
    end.

%% OTP's own module of the family: epmd knows it by name, and it reads addresses.
-spec driver(family()) -> inet_tcp | inet6_tcp.
driver(inet) -> inet_tcp;
driver(inet6) -> inet6_tcp.
