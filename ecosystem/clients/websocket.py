#!/usr/bin/env python3
"""Echoes frames over a websocket (RFC 6455): websocket.py PORT PATH FRAMES CONNECTIONS.

Prints how many frames and payload bytes came back equal, over all connections."""
import base64
import os
import random
import socket
import struct
import sys
import threading


def header(opcode, length, mask):
    if length < 126:
        size = struct.pack("!B", 0x80 | length)
    elif length < 65536:
        size = struct.pack("!BH", 0x80 | 126, length)
    else:
        size = struct.pack("!BQ", 0x80 | 127, length)
    return struct.pack("!B", 0x80 | opcode) + size + mask


def masked(data, mask):
    whole = (mask * (len(data) // 4 + 1))[:len(data)]
    return (int.from_bytes(data, "big") ^ int.from_bytes(whole, "big")).to_bytes(len(data), "big")


def read_frame(stream):
    first, second = stream.read(2)
    length = second & 0x7F
    if length == 126:
        (length,) = struct.unpack("!H", stream.read(2))
    elif length == 127:
        (length,) = struct.unpack("!Q", stream.read(8))
    return first & 0x0F, stream.read(length)


def connection(port, path, frames, seed, results):
    chooser = random.Random(seed)
    with socket.create_connection(("127.0.0.1", port), timeout=60) as peer:
        peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        stream = peer.makefile("rb")
        key = base64.b64encode(chooser.randbytes(16)).decode()
        peer.sendall((f"GET {path} HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                      f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n").encode())
        if b" 101 " not in stream.readline():
            raise RuntimeError("no upgrade")
        while stream.readline() != b"\r\n":
            pass
        sent = [chooser.randbytes(chooser.choice([0, 1, 125, 126, 1000, 65535, 65536]))
                for _ in range(frames)]

        def write():
            # Ten frames in one write, and one frame in pieces, by turns.
            for start in range(0, frames, 10):
                mask = chooser.randbytes(4)
                data = b"".join(header(2, len(one), mask) + masked(one, mask) for one in sent[start:start + 10])
                if start % 20:
                    peer.sendall(data)
                else:
                    for cut in range(0, len(data), 50_000):
                        peer.sendall(data[cut:cut + 50_000])
        writer = threading.Thread(target=write)
        writer.start()
        for one in sent:
            opcode, data = read_frame(stream)
            if opcode == 2 and data == one:
                results.append(len(data))
        writer.join()
        peer.sendall(header(8, 2, b"\0\0\0\0") + struct.pack("!H", 1000))
        if read_frame(stream)[0] != 8 or stream.read() != b"":
            raise RuntimeError("no orderly end")


def main():
    port, path, frames, connections = int(sys.argv[1]), sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
    results = []
    threads = [threading.Thread(target=connection, args=(port, path, frames, seed, results))
               for seed in range(connections)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    print(len(results), sum(results))


if __name__ == "__main__":
    main()
