%% The walk over the options: every one given to `listen`, to `connect`, to a listener before it accepts, to
%% `setopts`, and asked of `getopts`; and what a call answers, what it says of the option then, and what it
%% leaves in the mailbox.
%%
%% A `key()` names a cell: the family, the call, the class of the value, the option as the caller writes it.
-module(options_walk).

-export([walk/2, call/3, differences/2]).
-export([listener/2, connection/3, with/2, default_buffer/1]).
-export([driver/0, rs/1, same/2, compare/2, undocumented/1]).

-export_type([key/0, call/0]).

-type call() :: listen | accept | accept_later | connect | setopts | getopts.
-type key() :: {inet | inet6 | local, call(), options_walk_table:class(), term()}.
-type backend() :: inet | rs.

-define(DEADLINE, 15000).

%% Every cell of the family on this backend.
-spec walk(backend(), inet | inet6 | local) -> #{key() => term()}.
walk(Backend, Family) ->
    Context = #{backend => Backend, family => Family},
    with(Context, fun(Driver) ->
        Buffer = default_buffer(Context),
        maps:from_list([{Key, comparable(Result, Buffer)} || {Key, Result} <-
          lists:append([option_cells(Context, Driver, Row) || Row <- options_walk_table:settable()])
          ++ [cell(Context, Driver, Call, Class, {Name, Value}, [])
              || {Name, Values} <- options_walk_table:opening(Family), {Class, Value} <- Values, Call <- [listen, connect, setopts]]
          ++ [cell(Context, Driver, Call, Class, Term, [mode])
              || {Class, Term} <- options_walk_table:terms(), Call <- [listen, connect, setopts]]
          ++ [{{Family, getopts, Class, Names}, getopts(Context, Driver, Made, Names)}
              || Names <- options_walk_table:readable(), {Class, Made} <- [{good, connected}, {edge, accepted}, {range, listening}]]])
    end).

%% The cells that differ, with what each of the two says.
-spec differences(#{key() => term()}, #{key() => term()}) -> [{key(), term(), term()}].
differences(Left, Right) ->
    Keys = lists:sort(maps:keys(Left)),
    Keys = lists:sort(maps:keys(Right)),
    [{Key, maps:get(Key, Left), maps:get(Key, Right)} || Key <- Keys, maps:get(Key, Left) =/= maps:get(Key, Right)].

%% The default of `buffer` is each backend's own, and maps are walked in any order.
comparable({buffer, Default}, Default) -> {buffer, default};
comparable({invalid, {sockaddr, {keys, Keys}, Map}}, _Default) -> {invalid, {sockaddr, {keys, lists:sort(Keys)}, Map}};
comparable(Tuple, Default) when is_tuple(Tuple) -> list_to_tuple([comparable(Element, Default) || Element <- tuple_to_list(Tuple)]);
comparable([Head | Tail], Default) -> [comparable(Head, Default) | comparable(Tail, Default)];
comparable(Other, _Default) -> Other.

-spec default_buffer(rs_test:context()) -> pos_integer().
default_buffer(Context) ->
    Listen = listener(Context, []),
    {ok, [{buffer, Buffer}]} = inet:getopts(Listen, [buffer]),
    ok = gen_tcp:close(Listen),
    Buffer.

option_cells(Context, Driver, {Name, Read, Values}) ->
    [cell(Context, Driver, Call, Class, option(Name, Value), Read)
     || {Class, Value} <- Values, Call <- [listen, accept, accept_later, connect, setopts]].

option(term, Option) -> Option;
option(Name, Value) -> {Name, Value}.

cell(#{family := Family} = Context, Driver, Call, Class, Option, Read) ->
    {{Family, Call, Class, Option}, call(Call, {Context, Driver}, {[Option], Read})}.

%% Calls the function with a listener of the driver, to connect to.
-spec with(rs_test:context(), fun((inet:socket()) -> Result)) -> Result.
with(#{backend := Backend} = Context, Function) ->
    ok = rs_test:start(Backend),
    Driver = listener(Context#{backend := inet}, [{backlog, 16}]),
    try Function(Driver)
    after gen_tcp:close(Driver)
    end.

%% Makes the call with these options and reads others back: what was answered, what is read, what came.
-spec call(call(), {rs_test:context(), inet:socket()}, {Options :: list(), Read :: list()}) -> term().
call(listen, {Context, _Driver}, {Options, Read}) ->
    observed(fun() -> open_listener(Context, Options) end,
             fun(Listen) -> readback(Listen, Read) end);
call(connect, {Context, Driver}, {Options, Read}) ->
    observed(fun() -> connect(Context, Driver, Options) end,
             fun(Socket) ->
                     Result = readback(Socket, Read),
                     reset(peer_of(Driver)),
                     Result
             end);
call(accept, {Context, _Driver}, {Options, Read}) ->
    observed(fun() -> open_listener(Context, Options) end,
             fun(Listen) -> accepted(Context, Listen, Read) end);
call(accept_later, {Context, _Driver}, {Options, Read}) ->
    observed(fun() -> open_listener(Context, []) end,
             fun(Listen) -> {inet:setopts(Listen, Options), readback(Listen, Read), accepted(Context, Listen, Read)} end);
call(setopts, {Context, Driver}, {Options, Read}) ->
    {Socket, Peer} = connection(Context, Driver, []),
    observed(fun() -> {ok, Socket} end,
             fun(_) ->
                     Result = {attempt(fun() -> inet:setopts(Socket, Options) end), readback(Socket, Read)},
                     reset(Peer),
                     Result
             end).

%% Of a listener made on some ways: what the accepted socket says.
accepted(#{family := Family} = Context, Listen, Read) ->
    case inet:sockname(Listen) of
        {ok, Name} ->
            case connect_driver(Context, Name) of
                {ok, Peer} ->
                    Result = case gen_tcp:accept(Listen, ?DEADLINE) of
                                 {ok, Socket} ->
                                     Read1 = readback(Socket, Read),
                                     ok = gen_tcp:close(Socket),
                                     Read1;
                                 Error -> Error
                             end,
                    reset(Peer),
                    Result;
                Error -> {Family, Error}
            end;
        Error ->
            Error
    end.

connect_driver(Context, {local, _} = Address) ->
    gen_tcp:connect(Address, 0, options(Context#{backend := inet}, [{active, false}]), ?DEADLINE);
connect_driver(Context, {Address, Port}) ->
    gen_tcp:connect(Address, Port, options(Context#{backend := inet}, [{active, false}]), ?DEADLINE).

%% One of each name that is readable at all for the socket.
readback(_Socket, []) -> [];
readback(Socket, Names) -> attempt(fun() -> inet:getopts(Socket, Names) end).

getopts(Context, Driver, connected, Names) ->
    {Socket, Peer} = connection(Context, Driver, []),
    Result = attempt(fun() -> inet:getopts(Socket, Names) end),
    reset(Peer),
    ok = gen_tcp:close(Socket),
    Result;
getopts(Context, _Driver, accepted, Names) ->
    observed(fun() -> open_listener(Context, []) end, fun(Listen) -> accepted(Context, Listen, Names) end);
getopts(Context, _Driver, listening, Names) ->
    observed(fun() -> open_listener(Context, []) end, fun(Listen) -> readback(Listen, Names) end).

%% Opens, looks, closes; and what lies in the mailbox then, by the name of the message.
observed(Open, Look) ->
    case attempt(Open) of
        {ok, Socket} ->
            Looked = Look(Socket),
            ok = gen_tcp:close(Socket),
            {ok, Looked, [element(1, Message) || Message <- mailbox()]};
        Failed ->
            {Failed, [element(1, Message) || Message <- mailbox()]}
    end.

mailbox() ->
    receive
        %% The peer's reset is not what is looked at.
        {tcp_closed, _} -> mailbox();
        Message -> [Message | mailbox()]
    after 0 -> []
    end.

attempt(Function) ->
    rs_test:attempt(Function).

%% A listener on the loopback; an abstract name for local sockets.
-spec listener(rs_test:context(), list()) -> inet:socket().
listener(Context, Options) ->
    {ok, Listen} = open_listener(Context, Options),
    Listen.

open_listener(#{family := Family} = Context, Options) ->
    gen_tcp:listen(0, options(Context, [{active, false}, bound(Family) | Options])).

bound(inet) -> {ip, {127, 0, 0, 1}};
bound(inet6) -> {ip, {0, 0, 0, 0, 0, 0, 0, 1}};
bound(local) -> {ifaddr, {local, <<>>}}.

connect(Context, Driver, Options) ->
    {Address, Port} = rs_test:address_of(Driver),
    gen_tcp:connect(Address, Port, options(Context, [{active, false} | Options]), ?DEADLINE).

-spec connection(rs_test:context(), inet:socket(), list()) -> {inet:socket(), inet:socket()}.
connection(Context, Driver, Options) ->
    {ok, Socket} = connect(Context, Driver, Options),
    {Socket, peer_of(Driver)}.

peer_of(Driver) ->
    {ok, Peer} = gen_tcp:accept(Driver, ?DEADLINE),
    Peer.

options(Context, Options) ->
    rs_test:options(Context, Options).

%% No end of the connection stays behind in the kernel.
reset(Peer) ->
    ok = inet:setopts(Peer, [{linger, {true, 0}}]),
    ok = gen_tcp:close(Peer).

%%% Other comparisons

-spec driver() -> rs_test:context().
driver() -> #{backend => inet, family => inet}.

-spec rs(inet | inet6 | local) -> rs_test:context().
rs(Family) -> #{backend => rs, family => Family}.

%% The script answers the same on both backends, which is the result.
-spec same(inet | inet6 | local, fun((rs_test:context()) -> term())) -> term().
same(Family, Script) ->
    case compare(Family, [{script, Script}]) of
        [] -> ok;
        [{script, Driver, Rs}] -> ct:fail({differs, Family, pairs(Driver, Rs)})
    end.

%% Of two lists only what differs.
pairs({Driver, Mailbox}, {Rs, Mailbox}) -> pairs(Driver, Rs);
pairs(Driver, Rs) when is_list(Driver), is_list(Rs), length(Driver) =:= length(Rs) ->
    [{Left, Right} || {Left, Right} <- lists:zip(Driver, Rs), Left =/= Right];
pairs(Driver, Rs) -> {Driver, Rs}.

%% The scripts that answer differently, with what each backend says.
-spec compare(inet | inet6 | local, [{Name, fun((rs_test:context()) -> term())}]) -> [{Name, term(), term()}].
compare(Family, Scripts) ->
    ok = rs_test:start(rs),
    Context = #{family => Family},
    Answers = [{Name, answer(Script, Context#{backend => inet}), answer(Script, Context#{backend => rs})} || {Name, Script} <- Scripts],
    [Answer || {_, Driver, Rs} = Answer <- Answers, Driver =/= Rs].

answer(Script, Context) ->
    case rs_test:observe(fun(_) -> comparable(Script(Context), default_buffer(Context)) end, Context) of
        %% A script that breaks in the same way on both would compare as equal.
        {{raised, error, Reason}, _} -> ct:fail({script_broke, Context, Reason});
        Answer -> Answer
    end.

%% Those of the reasons that docs/differences.md does not give.
-spec undocumented([string()]) -> [string()].
undocumented(Reasons) ->
    {ok, Document} = file:read_file(filename:join([peer_tool:project_root(), "docs", "differences.md"])),
    Text = re:replace(Document, "\\s+", " ", [global, {return, list}]),
    [Reason || Reason <- Reasons, string:find(Text, Reason) =:= nomatch].
