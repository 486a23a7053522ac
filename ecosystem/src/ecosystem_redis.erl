%% Debian's Redis client (eredis) against a Redis server.
-module(ecosystem_redis).

-export([start/0]).

-import(ecosystem_client, [count/2, parallel/2, content/2, same/2]).

-define(PORT, 6379).

-spec start() -> ok.
start() ->
    ecosystem_client:run(fun() ->
        requests(),
        pipelines(),
        large(),
        published(),
        blocking(),
        reconnects()
    end).

%% Thirty connections, each with values of all sizes around the read sizes.
requests() ->
    Sizes = [0, 1, 100, 1459, 1460, 1461, 9215, 9216, 9217, 65535, 65536, 65537],
    Bytes = parallel(30, fun(Each) ->
        Redis = connect(),
        Sum = lists:sum([begin
            Key = io_lib:format("~b-~b-~b", [Each, Size, Round]),
            Value = content(Size, {Each, Size, Round}),
            {ok, <<"OK">>} = eredis:q(Redis, ["SET", Key, Value]),
            {ok, Got} = eredis:q(Redis, ["GET", Key]),
            ok = same(Value, Got),
            {ok, <<"1">>} = eredis:q(Redis, ["DEL", Key]),
            Size
        end || Size <- Sizes, Round <- lists:seq(1, 20)]),
        ok = eredis:stop(Redis),
        Sum
    end),
    count("requests", 30 * length(Sizes) * 20 * 3),
    count("request bytes", lists:sum(Bytes)).

pipelines() ->
    Counters = parallel(10, fun(Each) ->
        Redis = connect(),
        Key = "counter-" ++ integer_to_list(Each),
        Answers = [eredis:qp(Redis, [["INCR", Key] || _ <- lists:seq(1, 500)]) || _ <- lists:seq(1, 40)],
        Values = [binary_to_integer(Value) || {ok, Value} <- lists:append(Answers)],
        Values = lists:seq(1, 20000),
        ok = eredis:stop(Redis),
        length(Values)
    end),
    count("pipelined commands", lists:sum(Counters)).

large() ->
    Redis = connect(),
    Value = content(50_000_000, large),
    {ok, <<"OK">>} = eredis:q(Redis, ["SET", "large", Value], 60000),
    {ok, Got} = eredis:q(Redis, ["GET", "large"], 60000),
    ok = same(Value, Got),
    {ok, _} = eredis:q(Redis, ["DEL", "large"]),
    ok = eredis:stop(Redis),
    count("large value bytes", byte_size(Got)).

%% Every message of a channel arrives, in order, at each of five subscribers.
published() ->
    Messages = 10000,
    Subscribed = self(),
    Publisher = spawn_link(fun() ->
        [receive subscribed -> ok end || _ <- lists:seq(1, 5)],
        Redis = connect(),
        [{ok, <<"5">>} = eredis:q(Redis, ["PUBLISH", "channel", integer_to_list(N)])
         || N <- lists:seq(1, Messages)],
        ok = eredis:stop(Redis),
        Subscribed ! published
    end),
    Received = parallel(5, fun(_) ->
        {ok, Subscriber} = eredis_sub:start_link("127.0.0.1", ?PORT, ""),
        ok = eredis_sub:controlling_process(Subscriber),
        ok = eredis_sub:subscribe(Subscriber, [<<"channel">>]),
        receive {subscribed, <<"channel">>, Subscriber} -> ok end,
        ok = eredis_sub:ack_message(Subscriber),
        Publisher ! subscribed,
        N = lists:foldl(fun(Expected, _) ->
            receive {message, <<"channel">>, Text, Subscriber} ->
                Expected = binary_to_integer(Text),
                ok = eredis_sub:ack_message(Subscriber),
                Expected
            end
        end, 0, lists:seq(1, Messages)),
        ok = eredis_sub:stop(Subscriber),
        N
    end),
    receive published -> ok end,
    count("published, received", lists:sum(Received)).

%% A request that the server answers only when another connection has done something.
blocking() ->
    Answers = parallel(2, fun
        (1) ->
            Redis = connect(),
            Popped = [begin {ok, [_, Value]} = eredis:q(Redis, ["BLPOP", "list", "20"], 30000), Value end
                      || _ <- lists:seq(1, 500)],
            {ok, undefined} = eredis:q(Redis, ["BLPOP", "list", "1"], 30000),
            ok = eredis:stop(Redis),
            length([ok || {N, N} <- lists:zip(Popped, [integer_to_binary(N) || N <- lists:seq(1, 500)])]);
        (2) ->
            Redis = connect(),
            [{ok, _} = eredis:q(Redis, ["RPUSH", "list", integer_to_list(N)]) || N <- lists:seq(1, 500)],
            ok = eredis:stop(Redis),
            0
    end),
    count("blocking pops", lists:sum(Answers)).

%% The server closes the connections; the client opens new ones by itself.
reconnects() ->
    Clients = [connect() || _ <- lists:seq(1, 20)],
    [{ok, <<"PONG">>} = eredis:q(Redis, ["PING"]) || Redis <- Clients],
    Killer = connect(),
    {ok, Killed} = eredis:q(Killer, ["CLIENT", "KILL", "TYPE", "normal"]),
    count("connections killed", Killed),
    Back = [until_pong(Redis, 200) || Redis <- Clients],
    [ok = eredis:stop(Redis) || Redis <- [Killer | Clients]],
    count("connections back", length(Back)).

until_pong(Redis, Tries) when Tries > 0 ->
    case eredis:q(Redis, ["PING"]) of
        {ok, <<"PONG">>} -> ok;
        {error, _} -> timer:sleep(20), until_pong(Redis, Tries - 1)
    end.

connect() ->
    {ok, Redis} = eredis:start_link("127.0.0.1", ?PORT),
    Redis.
