%% Answers for a socket of this backend what OTP's suites ask the driver's ports
%% through the BIFs. conformance_transform puts the calls in.
-module(conformance_port).

-export([info/1, info/2, process_info/2, verdict/1]).

%% Only printed by the cases.
info(Port) when is_port(Port) -> erlang:port_info(Port);
info(Socket) -> inet:info(Socket).

info(Port, Item) when is_port(Port) ->
    erlang:port_info(Port, Item);
info(Socket, queue_size) ->
    case inet:getstat(Socket, [send_pend]) of
        {ok, [{send_pend, Size}]} -> {queue_size, Size};
        {error, _Closed} -> undefined
    end;
info(Socket, connected) ->
    case inet:info(Socket) of
        #{states := [closed]} -> undefined;
        #{owner := Owner} -> {connected, Owner}
    end.

%% accept_timeouts_mixed waits until a process is where the driver's acceptors wait.
process_info(Pid, current_function) ->
    case erlang:process_info(Pid, current_stacktrace) of
        {current_stacktrace, Stack} ->
            case lists:any(fun is_accept/1, Stack) of
                true -> {current_function, {prim_inet, accept0, 3}};
                false -> erlang:process_info(Pid, current_function)
            end;
        undefined -> undefined
    end;
process_info(Pid, Item) ->
    erlang:process_info(Pid, Item).

is_accept({gen_tcp_rs, Function, _Arity, _Where}) -> lists:prefix("accept", atom_to_list(Function));
is_accept(_Frame) -> false.

%% Some cases return what went wrong, which common_test takes for a success.
verdict(error) -> ct:fail(error);
verdict({error, Reason}) -> ct:fail(Reason);
verdict(Result) -> Result.
