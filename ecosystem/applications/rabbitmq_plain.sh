# RabbitMQ, with pika without TLS: with the door that this takes on rs, an option that
# leaves this one listener with inet while the rest of the node is on rs.
# Packages: rabbitmq-server python3-pika curl openssl
# Mixed: the AMQP listener and its connections are inet's

. /ecosystem/rabbitmq.sh

cat >"$data/advanced.config" <<'CONFIG'
[{rabbit, [{tcp_listen_options, [{tcp_module, inet_tcp}, {backlog, 128}, {nodelay, true}, {exit_on_close, false}]}]}].
CONFIG
start_rabbitmq 'listeners.tcp.1 = 127.0.0.1:5672'
wait_for_port 5672 15672
load_begins
amqp 5672
management
load_ends 60
stop_node
