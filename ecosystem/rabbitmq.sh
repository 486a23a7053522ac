# What the two scripts for RabbitMQ share.

. /ecosystem/common.sh

data=/tmp/rabbitmq
mkdir -p "$data"
certificate "$data"

# start_rabbitmq LINE...: of its configuration, beside the usual ones.
start_rabbitmq() {
    printf '%s\n' 'loopback_users = none' 'management.tcp.ip = 127.0.0.1' 'management.tcp.port = 15672' \
        'log.console = true' "$@" >"$data/rabbitmq.conf"
    echo '[rabbitmq_management].' >"$data/plugins"
    echo cookie >"$data/.erlang.cookie"
    chmod 400 "$data/.erlang.cookie"
    chown -R rabbitmq "$data"
    start_node setpriv --reuid=rabbitmq --regid=rabbitmq --clear-groups env HOME="$data" \
        RABBITMQ_NODENAME=rabbit@ecosystem RABBITMQ_CONFIG_FILE="$data/rabbitmq" \
        RABBITMQ_ADVANCED_CONFIG_FILE="$data/advanced.config" RABBITMQ_ENABLED_PLUGINS_FILE="$data/plugins" \
        RABBITMQ_MNESIA_BASE="$data/mnesia" RABBITMQ_LOG_BASE="$data/logs" RABBITMQ_LOGS=- \
        RABBITMQ_PID_FILE="$data/pid" /usr/lib/rabbitmq/bin/rabbitmq-server
}

# amqp PORT [CERTIFICATE]
amqp() {
    timeout 250 python3 /ecosystem/clients/amqp.py "$@" >"$RESULTS/client.counts" 2>"$RESULTS/client.log" ||
        fail "the client failed; see client.log"
    cat "$RESULTS/client.counts" >>"$RESULTS/counts"
}

management() {
    answers="$(seq 300 | xargs -P 10 -I{} curl -sS -o /dev/null -w '%{http_code}\n' -u guest:guest \
        'http://127.0.0.1:15672/api/overview?{}' | sort | uniq -c)"
    count "management answers" "$(echo $answers)"
}
