# eredis, Debian's Redis client for Erlang, against a Redis server.
# Packages: erlang-redis-client redis-server

. /ecosystem/common.sh

redis-server --port 6379 --bind 127.0.0.1 --save '' --dir /tmp --loglevel warning >"$RESULTS/server.log" 2>&1 &
wait_for_port 6379
run_client ecosystem_redis -pa /usr/lib/erlang/lib/redis_client-*/ebin
