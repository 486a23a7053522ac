%% ProcessOne's MySQL client (p1_mysql) against a MariaDB server.
-module(ecosystem_mariadb).

-export([start/0]).

-import(ecosystem_client, [count/2, parallel/2, content/2, same/2]).

-spec start() -> ok.
start() ->
    ecosystem_client:run(fun() ->
        statements(),
        rows(),
        large(),
        errors(),
        killed()
    end).

statements() ->
    Db = connect(),
    {updated, _} = fetch(Db, "create table items (worker int, number int, content mediumtext, "
                             "primary key (worker, number))"),
    stop(Db),
    Bytes = parallel(20, fun(Worker) ->
        Own = connect(),
        Sizes = [begin
            Content = content((Number * 97) rem 20000, {Worker, Number}),
            {updated, Inserted} = fetch(Own, ["insert into items values (", integer_to_list(Worker), ",",
                                              integer_to_list(Number), ",'", Content, "')"]),
            1 = p1_mysql:get_result_affected_rows(Inserted),
            ok = same(Content, one(fetch(Own, io_lib:format(
                "select content from items where worker=~b and number=~b", [Worker, Number])))),
            byte_size(Content)
        end || Number <- lists:seq(1, 200)],
        stop(Own),
        lists:sum(Sizes)
    end),
    count("statements", 20 * 200 * 2),
    count("statement bytes", lists:sum(Bytes)).

%% One answer of many small packets.
rows() ->
    Numbers = parallel(3, fun(_) ->
        Db = connect(),
        {data, Result} = fetch(Db, "select seq, concat('row ', seq) from seq_1_to_100000"),
        Rows = p1_mysql:get_result_rows(Result),
        Rows = [[integer_to_binary(N), <<"row ", (integer_to_binary(N))/binary>>] || N <- lists:seq(1, 100000)],
        stop(Db),
        length(Rows)
    end),
    count("rows", lists:sum(Numbers)).

%% The client appends each piece that comes to those before: on inet, whose pieces are
%% 1460 bytes on OTP 25 and 27, 16 MB take more than a minute.
large() ->
    Db = connect(),
    Content = content(3_000_000, large),
    ok = same(Content, one(fetch(Db, ["select '", Content, "'"]))),
    stop(Db),
    count("large value bytes", byte_size(Content)).

%% A refused statement leaves the connection usable.
errors() ->
    Db = connect(),
    Refused = [begin
        {error, _} = fetch(Db, "select * from nothing"),
        <<"1">> = one(fetch(Db, "select 1"))
    end || _ <- lists:seq(1, 200)],
    stop(Db),
    count("refused and served", length(Refused)).

%% The server ends the connections; the clients' processes notice and end.
killed() ->
    Clients = [connect() || _ <- lists:seq(1, 20)],
    Monitors = [erlang:monitor(process, Client) || Client <- Clients],
    Ids = [one(fetch(Client, "select connection_id()")) || Client <- Clients],
    Db = connect(),
    [{updated, _} = fetch(Db, ["kill ", Id]) || Id <- Ids],
    Ended = [receive {'DOWN', Monitor, process, _, _} -> ok after 20000 -> error(still_there) end
             || Monitor <- Monitors],
    stop(Db),
    count("connections killed", length(Ids)),
    count("clients ended", length(Ended)).

one({data, Result}) ->
    [[Value]] = p1_mysql:get_result_rows(Result),
    Value.

fetch(Db, Statement) ->
    p1_mysql_conn:squery(Db, Statement, self(), [{timeout, 60000}, {result_type, binary}]).

connect() ->
    {ok, Db} = p1_mysql_conn:start("127.0.0.1", 3306, "ecosystem", "secret", "ecosystem",
                                   fun(_Level, _Format, _Arguments) -> ok end),
    Db.

stop(Db) ->
    Monitor = erlang:monitor(process, Db),
    _ = p1_mysql_conn:stop(Db),
    receive {'DOWN', Monitor, process, Db, _} -> ok end.
