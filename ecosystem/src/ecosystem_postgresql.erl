%% ProcessOne's PostgreSQL client (p1_pgsql) against a PostgreSQL server.
-module(ecosystem_postgresql).

-export([start/0]).

-import(ecosystem_client, [count/2, parallel/2, content/2, same/2]).

-spec start() -> ok.
start() ->
    ecosystem_client:run(fun() ->
        statements(),
        rows(),
        large(),
        prepared(),
        errors(),
        killed()
    end).

statements() ->
    Db = connect(),
    {ok, [_]} = pgsql:squery(Db, "create table items (worker int, number int, content text)"),
    ok = pgsql:terminate(Db),
    Bytes = parallel(20, fun(Worker) ->
        Own = connect(),
        Sizes = [begin
            Content = content((Number * 97) rem 20000, {Worker, Number}),
            {ok, [<<"INSERT 0 1">>]} = squery(Own, ["insert into items values (", integer_to_list(Worker), ",",
                                                integer_to_list(Number), ",'", Content, "')"]),
            {ok, [{<<"SELECT 1">>, _, [[Got]]}]} =
                squery(Own, io_lib:format("select content from items where worker=~b and number=~b",
                                          [Worker, Number])),
            ok = same(Content, iolist_to_binary(Got)),
            byte_size(Content)
        end || Number <- lists:seq(1, 200)],
        ok = pgsql:terminate(Own),
        lists:sum(Sizes)
    end),
    count("statements", 20 * 200 * 2),
    count("statement bytes", lists:sum(Bytes)).

%% One answer of many small messages.
rows() ->
    Numbers = parallel(3, fun(_) ->
        Db = connect(),
        {ok, [{<<"SELECT 100000">>, _, Rows}]} =
            pgsql:squery(Db, "select n, 'row ' || n from generate_series(1, 100000) n", 60000),
        Rows = [[integer_to_binary(N), <<"row ", (integer_to_binary(N))/binary>>] || N <- lists:seq(1, 100000)],
        ok = pgsql:terminate(Db),
        length(Rows)
    end),
    count("rows", lists:sum(Numbers)).

%% The client appends each piece that comes to those before: on inet, whose pieces are
%% 1460 bytes on OTP 25 and 27, 20 MB take more than a minute.
large() ->
    Db = connect(),
    Content = content(3_000_000, large),
    {ok, [{<<"SELECT 1">>, _, [[Got]]}]} = squery(Db, ["select '", Content, "'::text"]),
    ok = same(Content, iolist_to_binary(Got)),
    ok = pgsql:terminate(Db),
    count("large value bytes", byte_size(Content)).

prepared() ->
    Db = connect(),
    {ok, _, _, _} = pgsql:prepare(Db, "sum", "select $1::int + $2::int"),
    Sums = [begin
        {ok, {_, [[Sum]]}} = pgsql:execute(Db, "sum", [N, 1]),
        Sum
    end || N <- lists:seq(1, 1000)],
    Last = lists:last(Sums),
    ok = pgsql:terminate(Db),
    count("prepared executions", length(Sums)),
    count("prepared, last answer", io_lib:format("~p", [Last])).

%% A refused statement leaves the connection usable.
errors() ->
    Db = connect(),
    Refused = [begin
        {ok, [{error, _}]} = pgsql:squery(Db, "select * from nothing"),
        {ok, [{<<"SELECT 1">>, _, [[<<"1">>]]}]} = pgsql:squery(Db, "select 1")
    end || _ <- lists:seq(1, 200)],
    ok = pgsql:terminate(Db),
    count("refused and served", length(Refused)).

%% The server ends the connections; the clients' processes notice and end.
killed() ->
    Clients = parallel_owners(20),
    Db = connect(),
    {ok, [{_, _, Killed}]} =
        pgsql:squery(Db, "select pg_terminate_backend(pid) from pg_stat_activity"
                         " where backend_type = 'client backend' and pid <> pg_backend_pid()"),
    Ended = [receive {'DOWN', Monitor, process, _, _} -> ok after 20000 -> error(still_there) end
             || Monitor <- Clients],
    ok = pgsql:terminate(Db),
    count("connections killed", length(Killed)),
    count("clients ended", length(Ended)).

%% Each connection has an owner without links to here.
parallel_owners(Number) ->
    Self = self(),
    [begin
        Owner = spawn(fun() ->
            Db = connect(),
            Self ! {self(), erlang:monitor(process, Db), Db},
            receive after infinity -> ok end
        end),
        receive {Owner, _, Db} -> erlang:monitor(process, Db) end
    end || _ <- lists:seq(1, Number)].

squery(Db, Statement) ->
    pgsql:squery(Db, Statement, 60000).

connect() ->
    {ok, Db} = pgsql:connect([{host, "127.0.0.1"}, {port, 5432}, {user, "ecosystem"},
                              {password, "secret"}, {database, "postgres"}, {as_binary, true}]),
    Db.
