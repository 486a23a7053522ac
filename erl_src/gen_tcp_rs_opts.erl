%% Option lists of connect, listen, fdopen, setopts and getopts, made plain for
%% the native library. Pure, but for the node's defaults, which are read here.
%%
%% What says how to open a socket is taken out here: the family, the addresses,
%% fd, netns, backlog, protocol. All other options go on as they are; whether
%% they exist, whether the call takes them and whether their values have the
%% right type is known to the native option table alone.
-module(gen_tcp_rs_opts).

-export([family/2, connect/2, listen/3, fdopen/3, sockaddr/3, sockaddr/2]).
-export([setopts/1, getopts/1, getopts_result/1]).

-export_type([family/0, sockaddr/0, source/0, config/0]).
-export_type([option/0, option_name/0, connect_option/0, listen_option/0]).

%%% The options, for callers and their dialyzer. What they do is in docs/options.md.

%% What setopts takes.
-type option() :: common_option() |
                  {dontroute, boolean()} | {ipv6_v6only, boolean()} |
                  {line_delimiter, byte()} | {netns, file:filename_all()} |
                  {nopush, boolean()}.
-type connect_option() :: common_option() | opening_option() | {line_delimiter, byte()}.
-type listen_option() :: common_option() | opening_option() |
                         {backlog, boolean() | integer()} | {ipv6_v6only, boolean()}.

-type opening_option() :: family() |
                          {fd, integer()} |
                          {ifaddr, inet:socket_address() | inet:local_address() | sockaddr_map()} |
                          {ip, inet:socket_address() | inet:local_address()} |
                          {netns, file:filename_all()} |
                          {port, inet:port_number()} |
                          {protocol, tcp | mptcp} |
                          {inet_backend, inet | rs | socket} | {tcp_module, module()}.

-type sockaddr_map() ::
        #{family := inet, addr => any | loopback | inet:ip4_address(),
          port => inet:port_number()} |
        #{family := inet6, addr => any | loopback | inet:ip6_address(),
          port => inet:port_number(), flowinfo => integer(), scope_id => integer()}.

%% What connect, listen and setopts take alike.
-type common_option() :: list | binary | raw_option() |
                         {active, boolean() | once | -32768..32767} |
                         {bind_to_device, binary()} |
                         {buffer, integer()} |
                         {busy_poll, integer()} |
                         {congestion, binary() | string()} |
                         {debug, boolean()} |
                         {defer_accept, integer()} |
                         {delay_send, boolean()} |
                         {deliver, port | term} |
                         {exclusiveaddruse, boolean()} |
                         {exit_on_close, boolean()} |
                         {fastopen, boolean() | integer()} |
                         {header, non_neg_integer()} |
                         {high_msgq_watermark, integer()} |
                         {high_watermark, integer()} |
                         {incoming_cpu, integer()} |
                         {keepalive, boolean()} |
                         {keepcnt, integer()} | {keepidle, integer()} | {keepintvl, integer()} |
                         {linger, {boolean(), integer()}} |
                         {low_msgq_watermark, integer()} |
                         {low_watermark, integer()} |
                         {max_mailbox, infinity | pos_integer()} |
                         {max_queue, max_queue()} |
                         {mode, list | binary} |
                         {nodelay, boolean()} |
                         {notsent_lowat, non_neg_integer()} |
                         {packet, packet_type()} |
                         {packet_size, non_neg_integer()} |
                         {priority, integer()} |
                         {quickack, boolean()} |
                         {read_ahead, boolean()} |
                         {recbuf, integer()} |
                         {recvtclass, boolean()} | {recvtos, boolean()} | {recvttl, boolean()} |
                         {reuseaddr, boolean()} |
                         {reuseport, boolean()} | {reuseport_lb, boolean()} |
                         {send_timeout, timeout()} |
                         {send_timeout_close, boolean()} |
                         {show_econnreset, boolean()} |
                         {sndbuf, integer()} |
                         {tclass, integer()} |
                         {tos, integer()} |
                         {ttl, integer()} |
                         {user_timeout, non_neg_integer()}.

%% Bytes alone: refuse.
-type max_queue() :: infinity | non_neg_integer() | {non_neg_integer(), refuse | close}.
-type packet_type() :: 0 | 1 | 2 | 4 | raw | sunrm | asn1 | cdr | fcgi | line | tpkt |
                       http | httph | http_bin | httph_bin | ssl | ssl_tls.

-type raw_option() :: {raw, Level :: integer(), Option :: integer(), binary()} |
                      {raw, {Level :: integer(), Option :: integer(), binary()}}.

%% What getopts takes.
-type option_name() ::
        active | bind_to_device | buffer | busy_poll | congestion | debug | defer_accept |
        delay_send | deliver | dontroute | exclusiveaddruse | exit_on_close | fastopen | fd |
        header | high_msgq_watermark | high_watermark | incoming_cpu | ipv6_v6only |
        keepalive | keepcnt | keepidle | keepintvl | linger | low_msgq_watermark |
        low_watermark | max_mailbox | max_queue | mode | netns | nodelay | nopush |
        notsent_lowat | packet | packet_size | pktoptions | priority | queue | quickack | read_ahead | recbuf |
        recvtclass | recvtos | recvttl | reuseaddr | reuseport | reuseport_lb |
        send_timeout | send_timeout_close | show_econnreset | sndbuf | tclass | tcp_info |
        tos | ttl | user_timeout |
        {raw, Level :: integer(), Option :: integer(), non_neg_integer() | binary()} |
        {raw, {Level :: integer(), Option :: integer(), non_neg_integer() | binary()}}.

%%% What is handed to the native library

-type family() :: inet | inet6 | local.
-type sockaddr() :: {inet, inet:ip4_address(), inet:port_number()} |
                    {inet6, inet:ip6_address(), inet:port_number(),
                     FlowInfo :: non_neg_integer(), ScopeId :: non_neg_integer()} |
                    {local, binary()}.
-type source() :: none | {fd, non_neg_integer()} | {netns, binary()}.
%% Options come in the order of the caller, with duplicates: the types of all are
%% to be checked before the last of each name is kept. They are applied last to first.
-type config() :: {family(), Protocol :: tcp | mptcp, source(),
                   Bind :: none | sockaddr(), Options :: [term()]}.

-define(UINT32, 16#ffffffff).
-define(IS_PORT(Port), is_integer(Port), Port >= 0, Port =< 65535).

%% What was seen of a list so far. `options` is in reverse, as is usual.
-record(seen, {address = undefined :: term(),
               port = 0 :: term(),
               source = none :: source(),
               protocol = tcp :: tcp | mptcp,
               backlog = 5 :: term(),
               options :: [term()]}).

%%% The family

%% Takes the family atoms and tcp_module out of a list. The first of them says
%% the family; without one the last ip or ifaddr does, else the destination
%% (`any` when there is none), else the node's default.
-spec family(Options :: list(), Destination :: term()) -> {family(), Options :: list()}.
family(Options, Destination) -> family(Options, Destination, undefined, []).

-spec family(list(), term(), undefined | family(), list()) -> {family(), list()}.
family([{tcp_module, Module} | Options], Address, Family, Kept) ->
    family(Options, Address, first(Family, family_of_module(Module)), Kept);
family([Atom | Options], Address, Family, Kept)
  when Atom =:= inet; Atom =:= inet6; Atom =:= local ->
    family(Options, Address, first(Family, Atom), Kept);
family([{Name, Address} = Option | Options], _Address, Family, Kept)
  when Name =:= ip; Name =:= ifaddr ->
    family(Options, Address, Family, [Option | Kept]);
family([Option | Options], Address, Family, Kept) ->
    family(Options, Address, Family, [Option | Kept]);
family([], Address, undefined, Kept) -> {family_of_address(Address), lists:reverse(Kept)};
family([], _Address, Family, Kept) -> {Family, lists:reverse(Kept)}.

-spec first(undefined | family(), undefined | family()) -> undefined | family().
first(undefined, Family) -> Family;
first(Family, _Later) -> Family.

%% Other modules are a way to this backend and say nothing.
-spec family_of_module(term()) -> undefined | family().
family_of_module(Module) when Module =:= inet_tcp; Module =:= inet_tcp_rs -> inet;
family_of_module(Module) when Module =:= inet6_tcp; Module =:= inet6_tcp_rs -> inet6;
family_of_module(Module) when Module =:= local_tcp; Module =:= local_tcp_rs -> local;
family_of_module(_Module) -> undefined.

-spec family_of_address(term()) -> family().
family_of_address({local, _Path}) -> local;
family_of_address(IP) when tuple_size(IP) =:= 8 -> inet6;
family_of_address(#{family := inet6}) -> inet6;
family_of_address(_Address) ->
    case family_of_module(inet_db:tcp_module()) of
        inet6 -> inet6;
        _ -> inet
    end.

%%% Opening

-spec connect(family(), Options :: list()) -> {ok, config()} | badarg.
connect(Family, Options) ->
    Defaults = application:get_env(kernel, inet_default_connect_options),
    case scan(Options, connect, seen(Defaults, #seen{options = []})) of
        #seen{} = Seen -> config(Family, bind_address(connect, Family, Seen), Seen);
        badarg -> badarg
    end.

%% A port among the options overrides Port.
-spec listen(family(), Port :: term(), Options :: list()) ->
          {ok, config(), Backlog :: non_neg_integer()} | badarg | {error, einval}.
listen(Family, Port, Options) ->
    Defaults = application:get_env(kernel, inet_default_listen_options),
    case scan(Options, listen, seen(Defaults, #seen{port = Port, options = []})) of
        #seen{backlog = Backlog} = Seen ->
            case bind_address(listen, Family, Seen) of
                einval -> {error, einval};
                Bind ->
                    case config(Family, Bind, Seen) of
                        {ok, Config} -> {ok, Config, backlog(Backlog)};
                        badarg -> badarg
                    end
            end;
        badarg -> badarg
    end.

%% The options are those of setopts.
-spec fdopen(family(), Fd :: non_neg_integer(), Options :: list()) -> {ok, config()}.
fdopen(Family, Fd, Options) when is_integer(Fd), Fd >= 0 ->
    {ok, {Family, tcp, {fd, Fd}, none, setopts(Options)}}.

-spec config(family(), badarg | einval | none | sockaddr(), #seen{}) -> {ok, config()} | badarg.
config(_Family, Bad, _Seen) when Bad =:= badarg; Bad =:= einval -> badarg;
config(local, Bind, #seen{source = Source, options = Options}) ->
    {ok, {local, tcp, Source, Bind, lists:reverse(Options)}};
config(Family, Bind, #seen{source = Source, protocol = Protocol, options = Options}) ->
    {ok, {Family, Protocol, Source, Bind, lists:reverse(Options)}}.

%% The kernel is handed 16 bits. No clause for other terms: an error of the class
%% and reason that the other backends raise.
-spec backlog(boolean() | integer()) -> non_neg_integer().
backlog(true) -> 5;
backlog(false) -> 0;
backlog(Backlog) when is_integer(Backlog) -> Backlog band 16#ffff.

%% The node's defaults stand before the caller's options, but `active` among them
%% does not count: every socket starts with true.
-spec seen(undefined | {ok, term()}, #seen{}) -> #seen{}.
seen({ok, Defaults}, Seen) when is_list(Defaults) ->
    Kept = [plain(Option) || Option <- Defaults, not is_active(Option)],
    Seen#seen{options = [{active, true} | last_kept(Kept)]};
seen({ok, {active, _}}, Seen) -> Seen#seen{options = [{active, true}]};
seen({ok, Default}, Seen) -> Seen#seen{options = [{active, true}, plain(Default)]};
seen(undefined, Seen) -> Seen#seen{options = [{active, true}]}.

-spec is_active(term()) -> boolean().
is_active({active, _}) -> true;
is_active(_Option) -> false.

%% Of a name that is there twice the last one counts. The lists here are in reverse,
%% so the others go to the end, where only their types are looked at.
-spec last_kept([term()]) -> [term()].
last_kept(Options) -> last_kept(Options, [], []).

-spec last_kept([term()], [term()], [term()]) -> [term()].
last_kept([{Name, _} = Option | Options], Kept, Overridden) ->
    case lists:keymember(Name, 1, Options) of
        true -> last_kept(Options, Kept, [Option | Overridden]);
        false -> last_kept(Options, [Option | Kept], Overridden)
    end;
last_kept([Option | Options], Kept, Overridden) ->
    last_kept(Options, [Option | Kept], Overridden);
last_kept([], Kept, Overridden) -> lists:reverse(Kept, Overridden).

-spec scan(list(), connect | listen, #seen{}) -> #seen{} | badarg.
scan([Option | Options], Call, Seen) ->
    case option(Option, Call, Seen) of
        #seen{} = NewSeen -> scan(Options, Call, NewSeen);
        badarg -> badarg
    end;
scan([], _Call, Seen) -> Seen.

-spec option(term(), connect | listen, #seen{}) -> #seen{} | badarg.
option({ifaddr, #{} = Address}, _Call, Seen) -> Seen#seen{address = full(Address)};
option({ifaddr, Address}, _Call, Seen) -> Seen#seen{address = Address};
%% Behind a socket address as a map, ip and port change that.
option({ip, IP}, _Call, #seen{address = #{} = Address} = Seen) ->
    Seen#seen{address = Address#{addr => IP}};
option({port, Port}, _Call, #seen{address = #{} = Address} = Seen) ->
    Seen#seen{address = Address#{port => Port}};
option({ip, IP}, _Call, Seen) -> Seen#seen{address = IP};
option({port, Port}, _Call, Seen) -> Seen#seen{port = Port};
%% One place for both, the last wins; anything that is no fd empties it.
option({fd, Fd}, _Call, Seen) when is_integer(Fd), Fd >= 0 ->
    Seen#seen{source = {fd, Fd}};
option({fd, _None}, _Call, Seen) -> Seen#seen{source = none};
option({netns, Name}, _Call, Seen) ->
    case filename_to_binary(Name) of
        Path when is_binary(Path) -> Seen#seen{source = {netns, Path}};
        _ -> badarg
    end;
option({backlog, Backlog}, listen, Seen) ->
    Seen#seen{backlog = Backlog};
option({protocol, Protocol}, _Call, Seen) when Protocol =:= tcp; Protocol =:= mptcp ->
    Seen#seen{protocol = Protocol};
option({protocol, _Other}, _Call, _Seen) -> badarg;
option({Ignored, _}, _Call, Seen) when Ignored =:= inet_backend; Ignored =:= tcp_module ->
    Seen;
option(Option, _Call, #seen{options = Options} = Seen) ->
    case plain(Option) of
        {raw, _, _, _} = Raw -> Seen#seen{options = [Raw | Options]};
        {Name, _} = Named when is_atom(Name) -> Seen#seen{options = [Named | Options]};
        _ -> badarg
    end.

%% One spelling of what has two.
-spec plain(term()) -> term().
plain(list) -> {mode, list};
plain(binary) -> {mode, binary};
plain({raw, {Protocol, Option, Value}}) -> {raw, Protocol, Option, Value};
plain(Option) -> Option.

%%% Addresses

%% What is wrong within a map or a local name is einval to a caller of listen.
-spec bind_address(connect | listen, family(), #seen{}) -> none | sockaddr() | badarg | einval.
bind_address(Call, local, #seen{address = any} = Seen) ->
    bind_address(Call, local, Seen#seen{address = undefined});
bind_address(Call, local, #seen{address = loopback} = Seen) ->
    bind_address(Call, local, Seen#seen{address = {local, <<>>}});
bind_address(_Call, local, #seen{address = undefined, port = 0}) -> none;
bind_address(_Call, local, #seen{address = {local, _} = Address, port = 0}) ->
    badarg_as_einval(sockaddr(Address, 0));
bind_address(_Call, local, _Seen) -> badarg;
bind_address(_Call, _Family, #seen{address = #{} = Address}) ->
    badarg_as_einval(sockaddr(Address));
bind_address(connect, _Family, #seen{address = undefined, port = 0}) -> none;
%% A file descriptor is bound if an address says so; a port alone makes no sense.
bind_address(_Call, _Family, #seen{address = undefined, port = 0, source = {fd, _}}) -> none;
bind_address(_Call, _Family, #seen{address = undefined, source = {fd, _}}) -> badarg;
bind_address(_Call, Family, #seen{address = undefined, port = Port}) ->
    sockaddr(Family, any, Port);
bind_address(_Call, Family, #seen{address = Address, port = Port}) ->
    sockaddr(Family, Address, Port).

-spec badarg_as_einval(sockaddr() | badarg) -> sockaddr() | einval.
badarg_as_einval(badarg) -> einval;
badarg_as_einval(SockAddr) -> SockAddr.

%% Within a family.
-spec sockaddr(family(), Address :: term(), Port :: term()) -> sockaddr() | badarg.
sockaddr(inet, any, Port) -> sockaddr({0, 0, 0, 0}, Port);
sockaddr(inet, loopback, Port) -> sockaddr({127, 0, 0, 1}, Port);
sockaddr(inet6, any, Port) -> sockaddr({0, 0, 0, 0, 0, 0, 0, 0}, Port);
sockaddr(inet6, loopback, Port) -> sockaddr({0, 0, 0, 0, 0, 0, 0, 1}, Port);
sockaddr(Family, Address, Port) ->
    case sockaddr(Address, Port) of
        SockAddr when element(1, SockAddr) =:= Family -> SockAddr;
        _ -> badarg
    end.

%% An address that says its family by itself; the port of a map is its own.
-spec sockaddr(Address :: term(), Port :: term()) -> sockaddr() | badarg.
sockaddr(#{} = Address, _Port) -> sockaddr(full(Address));
sockaddr({local, Path}, 0) ->
    case filename_to_binary(Path) of
        Name when is_binary(Name) -> {local, Name};
        _ -> badarg
    end;
sockaddr(IP, Port) when tuple_size(IP) =:= 4, ?IS_PORT(Port) ->
    case are_within(IP, 255) of
        true -> {inet, IP, Port};
        false -> badarg
    end;
sockaddr(IP, Port) when tuple_size(IP) =:= 8, ?IS_PORT(Port) ->
    case are_within(IP, 65535) of
        true -> {inet6, IP, Port, 0, 0};
        false -> badarg
    end;
sockaddr(_Address, _Port) -> badarg.

-spec sockaddr(map()) -> sockaddr() | badarg.
sockaddr(#{family := inet, addr := Address, port := Port}) ->
    sockaddr(inet, Address, Port);
sockaddr(#{family := inet6, addr := Address, port := Port,
           flowinfo := FlowInfo, scope_id := ScopeId})
  when is_integer(FlowInfo), is_integer(ScopeId) ->
    case sockaddr(inet6, Address, Port) of
        {inet6, IP, Port, 0, 0} ->
            {inet6, IP, Port, FlowInfo band ?UINT32, ScopeId band ?UINT32};
        badarg -> badarg
    end;
sockaddr(_Map) -> badarg.

%% Fills in what a map leaves out. The errors are those of inet:ensure_sockaddr/1.
-spec full(map()) -> map().
full(#{family := Family} = Map) when Family =:= inet; Family =:= inet6 ->
    Defaults = defaults(Family),
    case maps:keys(maps:without(maps:keys(Defaults), Map)) of
        [] -> maps:merge(Defaults, Map);
        Keys -> error({invalid, {sockaddr, {keys, Keys}, Map}})
    end;
full(#{family := _Other} = Map) -> Map;
full(Map) -> error({invalid, {sockaddr, family, Map}}).

-spec defaults(inet | inet6) -> map().
defaults(inet) -> #{family => inet, addr => any, port => 0};
defaults(inet6) -> (defaults(inet))#{family => inet6, flowinfo => 0, scope_id => 0}.

-spec are_within(tuple(), pos_integer()) -> boolean().
are_within(IP, Greatest) ->
    lists:all(fun(Part) -> is_integer(Part) andalso Part >= 0 andalso Part =< Greatest end,
              tuple_to_list(IP)).

%%% Options of an open socket

%% Nothing is looked at but the name of a network namespace. A term that is no
%% list raises what the other backends raise: {bad_generator, _}.
-spec setopts(list()) -> list().
setopts(Options) -> [setopt(Option) || Option <- Options].

-spec setopt(term()) -> term().
setopt({netns, Name}) -> {netns, filename_to_binary(Name)};
setopt(Option) -> plain(Option).

%% No clause for what is no proper list, as in the other backends.
-spec getopts(list()) -> list().
getopts([Option | Options]) -> [Option | getopts(Options)];
getopts([]) -> [].

%% Turns what the native library read into what the caller is shown.
-spec getopts_result([{atom(), term()} | tuple()]) -> [{atom(), term()} | tuple()].
getopts_result(Options) ->
    [shown(Option) || Option <- Options].

-spec shown(tuple()) -> tuple().
shown({netns, Path}) -> {netns, binary_to_filename(Path)};
shown(Option) -> Option.

%% Terms that are no filename are passed through: their type is checked later.
-spec filename_to_binary(term()) -> term().
filename_to_binary(Name) when is_list(Name) ->
    try unicode:characters_to_binary(Name, unicode, file:native_name_encoding()) of
        Path when is_binary(Path) -> Path;
        _ -> Name
    catch
        error:badarg -> Name
    end;
filename_to_binary(Name) -> Name.

-spec binary_to_filename(binary()) -> string() | binary().
binary_to_filename(Path) ->
    case unicode:characters_to_list(Path, file:native_name_encoding()) of
        Name when is_list(Name) -> Name;
        _ -> Path
    end.
