%% What the clients share that are written in Erlang and run on the backend under test.
-module(ecosystem_client).

-export([run/1, count/2, parallel/2, content/2, same/2]).

%% Runs a client, from the command line (`-s`). The file `done' tells the script that all went well.
%% A crash takes the node down; otherwise it stays, so that its sockets can be counted.
-spec run(fun(() -> ok)) -> ok.
run(Client) ->
    ok = Client(),
    ok = file:write_file(in_results("done"), "").

%% A result that has to be the same on both backends.
-spec count(iodata(), iodata() | integer()) -> ok.
count(Name, Value) when is_integer(Value) ->
    count(Name, integer_to_list(Value));
count(Name, Value) ->
    file:write_file(in_results("counts"), [Name, $\t, Value, $\n], [append]).

%% The values of the function for 1 to Number, each in a process of its own, all at once.
-spec parallel(pos_integer(), fun((pos_integer()) -> Value)) -> [Value].
parallel(Number, Function) ->
    Monitors = [element(2, spawn_monitor(fun() -> exit({value, Function(Each)}) end))
                || Each <- lists:seq(1, Number)],
    [receive {'DOWN', Monitor, process, _, {value, Value}} -> Value;
             {'DOWN', Monitor, process, _, Crash} -> error(Crash)
     end || Monitor <- Monitors].

%% Bytes that are the same in every run, printable, and others for each seed.
-spec content(non_neg_integer(), term()) -> binary().
content(Size, Seed) ->
    Block = base64:encode(crypto:hash(sha512, term_to_binary(Seed))),
    binary:part(binary:copy(Block, Size div byte_size(Block) + 1), 0, Size).

%% Equal or a crash that doesn't print megabytes.
-spec same(binary(), binary()) -> ok.
same(Bytes, Bytes) -> ok;
same(Expected, Got) -> error({differs, byte_size(Expected), byte_size(Got)}).

in_results(Name) ->
    filename:join(os:getenv("RESULTS"), Name).
