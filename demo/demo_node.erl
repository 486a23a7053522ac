%% The nodes of the demo: BEAM processes of their own, without distribution, controlled
%% over their standard input and output.
-module(demo_node).

-export([start_with_backend/2, start_plain/0, stop/1, call/4, call/5]).
-export([start_backend/0, sockets/0, established/1]).

-export_type([backend/0, sockets/0]).

-type backend() :: inet | rs.
%% How many sockets a node has, by what implements them.
-type sockets() :: #{inet := non_neg_integer(), socket := non_neg_integer()}.

%% A node with `-kernel inet_backend Backend`. Ebin is where the application is.
-spec start_with_backend(backend(), file:filename()) -> pid().
start_with_backend(Backend, Ebin) ->
    Node = start(["-kernel", "inet_backend", atom_to_list(Backend), "-pa", Ebin]),
    case Backend of
        inet -> ok;
        rs -> ok = call(Node, ?MODULE, start_backend, [])
    end,
    Node.

%% A node that knows nothing of this project except the code of the demo itself.
-spec start_plain() -> pid().
start_plain() ->
    start([]).

start(Arguments) ->
    {ok, Node, _} = peer:start_link(#{connection => standard_io,
                                   wait_boot => 30000,
                                   args => ["-boot", "start_clean",
                                            "-pa", filename:dirname(code:which(?MODULE))
                                            | Arguments]}),
    Node.

-spec stop(pid()) -> ok.
stop(Node) ->
    peer:stop(Node).

-spec call(pid(), module(), atom(), [term()]) -> term().
call(Node, Module, Function, Arguments) ->
    call(Node, Module, Function, Arguments, 60000).

-spec call(pid(), module(), atom(), [term()], timeout()) -> term().
call(Node, Module, Function, Arguments, Timeout) ->
    peer:call(Node, Module, Function, Arguments, Timeout).

%% Runs on the node: what a release does with the application in its boot script.
-spec start_backend() -> ok.
start_backend() ->
    {ok, _} = application:ensure_all_started(gen_tcp_rs),
    ok.

%% Runs on the node: the sockets that are not ours, counted by OTP.
-spec sockets() -> sockets().
sockets() ->
    #{inet => length([Port || Port <- erlang:ports(),
                              erlang:port_info(Port, name) =:= {name, "tcp_inet"}]),
      socket => socket:number_of()}.

%% The connections to a local port that the kernel has, whoever owns them. Source: proc(5).
-spec established(inet:port_number()) -> non_neg_integer().
established(Port) ->
    {ok, Table} = file:read_file("/proc/net/tcp"),
    Local = iolist_to_binary(io_lib:format(":~4.16.0B", [Port])),
    length([Line || Line <- binary:split(Table, <<"\n">>, [global]),
                    [_, Address, _, <<"01">> | _] <- [fields(Line)],
                    binary:longest_common_suffix([Address, Local]) =:= byte_size(Local)]).

fields(Line) ->
    binary:split(Line, <<" ">>, [global, trim_all]).
