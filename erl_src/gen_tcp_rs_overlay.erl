%% What this project adds to OTP's `inet`, and nothing else: from the forms of the
%% installed module to the forms of the extended one. Pure but for the compiler.
%% Loading the result, and why it is needed at all, is gen_tcp_rs_backend's subject.
%%
%% The additions are written as Erlang text, one function each. No text of OTP's
%% own is repeated here: the stock clauses stay in the module as they are found.
-module(gen_tcp_rs_overlay).

-export([compile/2, identity/1, version/0]).
-export_type([identity/0, failure/0]).

%% Which stock module an extended one was made of, and by which version of this one.
-type identity() :: {Stock :: binary(), Overlay :: binary()}.

%% Also what erl_parse's types leave out, such as the end of the file.
-type form() :: erl_parse:abstract_form() | tuple().

-type failure() :: {inet_not_understood, [{atom(), arity()}]} | {compile_failed, term()}.

-define(ATTRIBUTE, gen_tcp_rs_overlay).

%% Prefix of a stock function that `around` has put another one in front of.
-define(STOCK, "stock_").

%% before: the clauses come before those of the stock function of that name.
%% around: the function takes the place of the stock one, which it finds as stock_Name.
-spec additions() -> [{before | around, string()}].
additions() ->
    [%% {inet_backend, rs}. gen_udp knows no rs: there the word means inet.
     {before, "gen_tcp_module(Options, rs) -> {gen_tcp_rs, Options}."},
     {before, "gen_udp_module(Options, rs) -> gen_udp_module(Options, inet)."},

     %% The default of the node, for calls that name no backend themselves.
     {around,
      "gen_tcp_module([{inet_backend, _} | _] = Options) ->"
      "    stock_gen_tcp_module(Options);"
      "gen_tcp_module(Options) ->"
      "    case persistent_term:get({gen_tcp_rs, default}, inet) =:= rs andalso"
      "        gen_tcp_rs_backend:serves_caller(Options)"
      "    of"
      "        true -> {gen_tcp_rs, Options};"
      "        false -> stock_gen_tcp_module(Options)"
      "    end."},

     %% Functions that inet never hands to the module of a socket.
     {before,
      "getfd({'$inet', gen_tcp_rs, _} = Socket) -> gen_tcp_rs:getfd(Socket)."},
     {before,
      "peernames({'$inet', gen_tcp_rs, _} = Socket) -> gen_tcp_rs:peernames(Socket)."},
     %% The association is SCTP's; on a TCP port any but a negative one is ignored.
     {before,
      "peernames({'$inet', gen_tcp_rs, _} = Socket, Association)"
      "  when is_integer(Association), Association >= 0 ->"
      "    gen_tcp_rs:peernames(Socket);"
      "peernames({'$inet', gen_tcp_rs, _}, Association) when is_integer(Association) ->"
      "    {error, einval}."},
     {before,
      "socknames({'$inet', gen_tcp_rs, _} = Socket, Association)"
      "  when is_integer(Association), Association >= 0 ->"
      "    gen_tcp_rs:socknames(Socket);"
      "socknames({'$inet', gen_tcp_rs, _}, Association) when is_integer(Association) ->"
      "    {error, einval}."},
     %% From OTP 26 on inet does this itself.
     {before,
      "send({'$inet', gen_tcp_rs, _} = Socket, Data) -> gen_tcp_rs:send(Socket, Data)."},

     %% inet:i/0. The overlay outlives the application, whose code may be gone.
     {around,
      "tcp_sockets() ->"
      "    stock_tcp_sockets() ++"
      "        try gen_tcp_rs:which_sockets() catch error:undef -> [] end."}].

%% Compiles the extended module from the forms of the stock one.
-spec compile([form()], Stock :: binary()) ->
          {ok, binary()} | {error, failure()}.
compile(StockForms, Stock) ->
    Additions = [{Where, parse(Text)} || {Where, Text} <- additions()],
    case [function_of(Form) || {_Where, Form} <- Additions, not has_function(Form, StockForms)] of
        [] ->
            Forms = lists:foldl(fun add/2, StockForms, Additions),
            Attribute = {attribute, erl_anno:new(0), ?ATTRIBUTE, {Stock, version()}},
            compile_forms(after_module_attribute(Attribute, Forms));
        Missing ->
            {error, {inet_not_understood, Missing}}
    end.

%% What the attributes of a loaded or prepared `inet` say about it.
-spec identity([{atom(), term()}]) -> stock | identity().
identity(Attributes) ->
    case lists:keyfind(?ATTRIBUTE, 1, Attributes) of
        {?ATTRIBUTE, [{Stock, Overlay}]} -> {Stock, Overlay};
        false -> stock
    end.

%% Any change to the additions changes this module, and with it its md5: a beam
%% that another version has prepared or loaded is then recognised as such.
-spec version() -> binary().
version() ->
    ?MODULE:module_info(md5).

%%% Forms

-spec add({before | around, form()}, [form()]) -> [form()].
add({before, Addition}, Forms) ->
    [put_before(Addition, Form) || Form <- Forms];
add({around, Addition}, Forms) ->
    lists:append([put_around(Addition, Form) || Form <- Forms]).

-spec put_before(form(), form()) -> form().
put_before({function, _, Name, Arity, _} = Addition, {function, Line, Name, Arity, Clauses}) ->
    {function, _, Name, Arity, Added} = at(Line, Addition),
    {function, Line, Name, Arity, Added ++ Clauses};
put_before(_Addition, Form) ->
    Form.

-spec put_around(form(), form()) -> [form()].
put_around({function, _, Name, Arity, _} = Addition, {function, Line, Name, Arity, Clauses}) ->
    [at(Line, Addition), {function, Line, stock_name(Name), Arity, Clauses}];
put_around(_Addition, Form) ->
    [Form].

%% A stack trace shall point where it pointed before.
-spec at(erl_anno:anno(), form()) -> form().
at(Line, Addition) ->
    erl_parse:map_anno(fun(_Anno) -> Line end, Addition).

-spec stock_name(atom()) -> atom().
stock_name(Name) ->
    list_to_atom(?STOCK ++ atom_to_list(Name)).

-spec function_of(form()) -> {atom(), arity()} | none.
function_of({function, _, Name, Arity, _}) -> {Name, Arity};
function_of(_Form) -> none.

-spec has_function(form(), [form()]) -> boolean().
has_function(Addition, Forms) ->
    lists:member(function_of(Addition), [function_of(Form) || Form <- Forms]).

-spec after_module_attribute(form(), [form()]) -> [form()].
after_module_attribute(Attribute, Forms) ->
    {Head, [Module | Rest]} = lists:splitwith(fun(Form) -> not is_module_attribute(Form) end, Forms),
    Head ++ [Module, Attribute | Rest].

-spec is_module_attribute(form()) -> boolean().
is_module_attribute({attribute, _, module, _}) -> true;
is_module_attribute(_Form) -> false.

-spec parse(string()) -> form().
parse(Text) ->
    {ok, Tokens, _End} = erl_scan:string(Text),
    {ok, Form} = erl_parse:parse_form(Tokens),
    Form.

%% Warnings would be about OTP's code, and the environment of the build is not asked.
-spec compile_forms([form()]) -> {ok, binary()} | {error, failure()}.
compile_forms(Forms) ->
    case compile:noenv_forms(Forms, [return_errors]) of
        {ok, inet, Beam} -> {ok, Beam};
        {error, Errors, _Warnings} -> {error, {compile_failed, Errors}}
    end.
