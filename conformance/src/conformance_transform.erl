%% The parse transform that OTP's suites are compiled with. The same compiled suites
%% run on inet and on rs.
%%
%% - Cases that expect a socket which is no port to block where a port queues run their
%%   port's branch: this backend queues as the driver does.
%% - accept_timeouts_mixed recognises an acceptor of this backend.
%% - t_fdopen asks the socket's own backend for its file descriptor.
%% - Cases that return an error fail.
%% - otp_13939, which OTP has left out of its list, is in the list.
-module(conformance_transform).

-export([parse_transform/2]).

%% What the names of the functions begin with that take a socket of this backend for a
%% port: the parts of econnreset_after_async_send_active, _active_once and _passive, of
%% linger_zero, linger_zero_sndbuf, otp_7816, t_shutdown_async and primitive_accept.
-define(PORT_BRANCH, ["craasa_", "craasao_", "craasp_", "lz_", "lzs_", "otp_7816",
                      "do_shutdown_async", "do_primitive_accept"]).

-define(RETURN_ERRORS, [primitive_accept, partial_recv_and_close,
                        partial_recv_and_close_2, partial_recv_and_close_3]).

parse_transform(Forms, _Options) ->
    [form(Form) || Form <- Forms].

form({function, Position, Name, Arity, Clauses0}) ->
    Clauses1 = walk(fun everywhere/1, Clauses0),
    Clauses2 = case takes_port_branch(Name) of
                   true -> walk(fun port_branch/1, Clauses1);
                   false -> Clauses1
               end,
    Clauses3 = case Name of
                   wait_until_accepting -> walk(fun acceptor/1, Clauses2);
                   _Other -> Clauses2
               end,
    Clauses = case lists:member(Name, ?RETURN_ERRORS) of
                  true -> [judged(Clause) || Clause <- Clauses3];
                  false -> Clauses3
              end,
    {function, Position, Name, Arity, Clauses};
form(Form) ->
    Form.

takes_port_branch(Name) ->
    lists:any(fun(Prefix) -> lists:prefix(Prefix, atom_to_list(Name)) end, ?PORT_BRANCH).

%% is_port(S) becomes
%%   is_port(S) orelse (is_tuple(S) andalso element(1, S) =:= '$inet' andalso element(2, S) =:= gen_tcp_rs)
%% which a guard may say too.
port_branch({call, At, {atom, _, is_port}, [Socket]} = IsPort) ->
    Element = fun(Index, Is) ->
                      {op, At, '=:=', {call, At, {atom, At, element}, [{integer, At, Index}, Socket]},
                       {atom, At, Is}}
              end,
    {op, At, 'orelse', IsPort,
     {op, At, 'andalso', {call, At, {atom, At, is_tuple}, [Socket]},
      {op, At, 'andalso', Element(1, '$inet'), Element(2, gen_tcp_rs)}}};
port_branch({call, At, {remote, _, {atom, _, erlang}, {atom, _, port_info}}, Arguments}) ->
    call(At, conformance_port, info, Arguments);
port_branch(Other) ->
    Other.

acceptor({call, At, {atom, _, process_info}, Arguments}) ->
    call(At, conformance_port, process_info, Arguments);
acceptor(Other) ->
    Other.

everywhere({call, At, {remote, _, {atom, _, gen_tcp_socket}, {atom, _, getopts}}, Arguments}) ->
    call(At, inet, getopts, Arguments);
everywhere({cons, At, {atom, _, otp_12242} = Case, Rest}) ->
    {cons, At, Case, {cons, At, {atom, At, otp_13939}, Rest}};
everywhere(Other) ->
    Other.

judged({clause, At, Patterns, Guards, Body}) ->
    {clause, At, Patterns, Guards, [call(At, conformance_port, verdict, [{block, At, Body}])]}.

call(At, Module, Function, Arguments) ->
    {call, At, {remote, At, {atom, At, Module}, {atom, At, Function}}, Arguments}.

%% Applies Change to every tuple of the abstract form, innermost first.
walk(Change, Tuple) when is_tuple(Tuple) ->
    Change(list_to_tuple(walk(Change, tuple_to_list(Tuple))));
walk(Change, [Head | Tail]) ->
    [walk(Change, Head) | walk(Change, Tail)];
walk(_Change, Other) ->
    Other.
