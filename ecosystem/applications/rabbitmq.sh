# RabbitMQ, with pika over TLS, and its management plugin (cowboy) with curl. Its AMQP
# listener without TLS accepts ports only: docs/moving.md, and the script rabbitmq_plain.sh.
# Packages: rabbitmq-server python3-pika curl openssl

. /ecosystem/rabbitmq.sh

start_rabbitmq 'listeners.tcp = none' 'listeners.ssl.1 = 127.0.0.1:5671' \
    "ssl_options.certfile = $data/certificate.pem" "ssl_options.keyfile = $data/key.pem"
wait_for_port 5671 15672
load_begins
amqp 5671 "$data/certificate.pem"
management
load_ends 60
stop_node
