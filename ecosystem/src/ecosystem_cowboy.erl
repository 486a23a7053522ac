%% A small application on cowboy: what a user of cowboy writes, and nothing of ours in it.
-module(ecosystem_cowboy).

-export([start/0]).
-export([init/2]).
-export([websocket_handle/2, websocket_info/2]).

%% From the command line, with a directory of certificates and the port of each listener
%% as plain arguments. SOCKET_OPTIONS may hold options for ranch, as Erlang text.
-spec start() -> ok.
start() ->
    [Certificates, Files, Plain, Tls] = init:get_plain_arguments(),
    {ok, _} = application:ensure_all_started(ranch),
    {ok, _} = application:ensure_all_started(ssl),
    {ok, _} = application:ensure_all_started(cowboy),
    Routes = [{"/files/[...]", cowboy_static, {dir, Files}},
              {"/:what", ?MODULE, []}],
    Protocol = #{env => #{dispatch => cowboy_router:compile([{'_', Routes}])},
                 max_keepalive => infinity,
                 idle_timeout => 60000},
    Options = socket_options(os:getenv("SOCKET_OPTIONS", "")),
    {ok, _} = cowboy:start_clear(plain, transport(Options ++ [{port, list_to_integer(Plain)}]), Protocol),
    {ok, _} = cowboy:start_tls(tls,
                               transport([{port, list_to_integer(Tls)},
                                          {certfile, filename:join(Certificates, "certificate.pem")},
                                          {keyfile, filename:join(Certificates, "key.pem")}]),
                               Protocol),
    ok.

-spec socket_options(string()) -> [term()].
socket_options("") ->
    [];
socket_options(Text) ->
    {ok, Tokens, _} = erl_scan:string(Text ++ "."),
    {ok, Options} = erl_parse:parse_term(Tokens),
    Options.

-spec transport([term()]) -> ranch:transport_opts([term()]).
transport(SocketOptions) ->
    #{socket_opts => SocketOptions, max_connections => infinity, num_acceptors => 10}.

-spec init(cowboy_req:req(), []) -> {ok, cowboy_req:req(), []} | {cowboy_websocket, cowboy_req:req(), []}.
init(Request, State) ->
    init(cowboy_req:binding(what, Request), Request, State).

init(<<"hello">>, Request, State) ->
    {ok, cowboy_req:reply(200, #{<<"content-type">> => <<"text/plain">>}, <<"Hello, world">>, Request), State};
%% What an upload has: bytes and md5.
init(<<"digest">>, Request0, State) ->
    {Size, Context, Request} = read(Request0, 0, erlang:md5_init()),
    Body = io_lib:format("~b ~s~n", [Size, string:lowercase(binary:encode_hex(erlang:md5_final(Context)))]),
    {ok, cowboy_req:reply(200, #{}, Body, Request), State};
%% A body whose length is not known beforehand.
init(<<"chunked">>, Request0, State) ->
    Request = cowboy_req:stream_reply(200, Request0),
    Piece = binary:copy(<<"0123456789abcdef">>, 4096),
    [ok = cowboy_req:stream_body(Piece, nofin, Request) || _ <- lists:seq(1, 160)],
    ok = cowboy_req:stream_body(<<>>, fin, Request),
    {ok, Request, State};
init(<<"websocket">>, Request, State) ->
    {cowboy_websocket, Request, State}.

read(Request0, Size, Context) ->
    case cowboy_req:read_body(Request0) of
        {ok, Data, Request} -> {Size + byte_size(Data), erlang:md5_update(Context, Data), Request};
        {more, Data, Request} -> read(Request, Size + byte_size(Data), erlang:md5_update(Context, Data))
    end.

-spec websocket_handle(term(), []) -> {[term()], []}.
websocket_handle({Kind, Data}, State) when Kind =:= text; Kind =:= binary ->
    {[{Kind, Data}], State};
websocket_handle(_PingOrPong, State) ->
    {[], State}.

-spec websocket_info(term(), []) -> {[], []}.
websocket_info(_Message, State) ->
    {[], State}.
