#!/usr/bin/env python3
"""A client of RabbitMQ, with pika: amqp.py PORT [CERTIFICATE].

Prints the counts as NAME, a tab, and the number. With a CERTIFICATE it speaks TLS."""
import hashlib
import ssl
import sys
import threading

import pika

PORT = int(sys.argv[1])
CERTIFICATE = sys.argv[2] if len(sys.argv) > 2 else None
WORKERS, MESSAGES = 8, 1000
SIZES = [0, 1, 100, 1400, 1500, 4096, 9216, 20000, 131072, 131080]


def connect():
    tls = None
    if CERTIFICATE:
        tls = pika.SSLOptions(ssl.create_default_context(cafile=CERTIFICATE), "localhost")
    return pika.BlockingConnection(pika.ConnectionParameters(
        "localhost", PORT, ssl_options=tls, blocked_connection_timeout=60, socket_timeout=30))


def body(worker, number):
    seed = hashlib.sha512(f"{worker} {number}".encode()).hexdigest().encode()
    size = SIZES[number % len(SIZES)]
    return (seed * (size // len(seed) + 1))[:size]


def take(channel, queue, number):
    """The bodies of the next `number` messages, acknowledged in batches."""
    bodies = []
    for method, _, content in channel.consume(queue, inactivity_timeout=60):
        if method is None:
            break
        bodies.append(content)
        if len(bodies) % 100 == 0 or len(bodies) == number:
            channel.basic_ack(method.delivery_tag, multiple=True)
        if len(bodies) == number:
            break
    channel.cancel()
    return bodies


def worker(number, results):
    connection = connect()
    channel = connection.channel()
    channel.confirm_delivery()
    channel.basic_qos(prefetch_count=200)
    queue = f"queue{number}"
    channel.queue_declare(queue)
    sent = [body(number, each) for each in range(MESSAGES)]
    for content in sent:
        channel.basic_publish("", queue, content, mandatory=True)
    got = take(channel, queue, MESSAGES)
    channel.queue_delete(queue)
    connection.close()
    results.append((len(got), sum(map(len, got)), got == sent))


def subscriber(ready, results):
    connection = connect()
    channel = connection.channel()
    queue = channel.queue_declare("", exclusive=True).method.queue
    channel.queue_bind(queue, "news")
    ready.release()
    got = take(channel, queue, 5000)
    connection.close()
    results.append((len(got), got == [str(each).encode() for each in range(5000)]))


def run(target, number, *arguments):
    threads = [threading.Thread(target=target, args=arguments) for _ in range(number)]
    for thread in threads:
        thread.start()
    return threads


def main():
    results = []
    threads = [threading.Thread(target=worker, args=(each, results)) for each in range(WORKERS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    print(f"confirmed and consumed\t{sum(one[0] for one in results)}")
    print(f"bytes of messages\t{sum(one[1] for one in results)}")
    print(f"queues in order\t{sum(one[2] for one in results)}")

    connection = connect()
    channel = connection.channel()
    channel.exchange_declare("news", "fanout", auto_delete=True)
    ready, results = threading.Semaphore(0), []
    threads = run(subscriber, 5, ready, results)
    for _ in threads:
        ready.acquire()
    for each in range(5000):
        channel.basic_publish("news", "", str(each).encode())
    for thread in threads:
        thread.join()
    print(f"fanned out\t{sum(one[0] for one in results)}")
    print(f"subscribers in order\t{sum(one[1] for one in results)}")

    large = body(0, 7) * 800
    channel.queue_declare("large")
    channel.basic_publish("", "large", large)
    (got,) = take(channel, "large", 1)
    channel.queue_delete("large")
    print(f"large message\t{len(got)} {got == large}")

    refused = 0
    for _ in range(20):
        other = connection.channel()
        try:
            other.queue_declare("absent", passive=True)
        except pika.exceptions.ChannelClosedByBroker:
            refused += 1
    print(f"channels closed by the broker\t{refused}")
    connection.close()

    # Connections that end without a word.
    broken = [connect() for _ in range(20)]
    for one in broken:
        one._impl._transport.abort()
    print(f"broken off\t{len(broken)}")


if __name__ == "__main__":
    main()
