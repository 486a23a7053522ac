# p1_pgsql, ProcessOne's PostgreSQL client for Erlang, against a PostgreSQL server.
# Packages: erlang-p1-pgsql postgresql

. /ecosystem/common.sh

server="$(dirname "$(find /usr/lib/postgresql -name initdb | sort -V | tail -n 1)")"
as_postgres() { setpriv --reuid=postgres --regid=postgres --clear-groups "$@"; }
install -d -o postgres -m 700 /tmp/postgresql /run/postgresql
echo secret >/tmp/password
as_postgres "$server/initdb" --username=ecosystem --pwfile=/tmp/password --auth=md5 --encoding=UTF8 \
    --locale=C -D /tmp/postgresql >"$RESULTS/initdb.log" 2>&1
as_postgres "$server/postgres" -D /tmp/postgresql -c listen_addresses=127.0.0.1 -c fsync=off \
    >"$RESULTS/server.log" 2>&1 &
wait_for_port 5432
run_client ecosystem_postgresql -pa /usr/lib/erlang/lib/p1_pgsql-*/ebin
