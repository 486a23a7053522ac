"""Requests as http.client writes them: python3 requests.py PORT KIND; the answers' bodies on stdout."""

import http.client
import io
import socket
import sys

HOST = "www.example.org"


def pieces():
    yield b"first"
    yield b"x" * 5000
    yield b"\r\n"


def one(connection, kind):
    if kind == "get":
        connection.request("GET", "/path?query=a%20b", headers={"Host": HOST})
    elif kind == "post":
        connection.request("POST", "/form", body=b"b" * 3000, headers={"Host": HOST})
    elif kind == "chunked":
        connection.request("POST", "/stream", body=pieces(), headers={"Host": HOST}, encode_chunked=True)
    elif kind == "folded":
        # More than one value: http.client continues the line.
        connection.putrequest("GET", "/folded", skip_host=True)
        connection.putheader("Host", HOST)
        connection.putheader("X-Folded", "one", "two", "three")
        connection.endheaders()
    elif kind == "long":
        headers = {"Host": HOST, "Cookie": "c=" + "0123456789abcdef" * 512, "X-" + "Name-" * 12: "y"}
        connection.request("GET", "/long/" + "p" * 1000, headers=headers)


class Recorder:
    """Stands for a socket, and keeps what is sent."""

    def __init__(self):
        self.sent = io.BytesIO()

    def sendall(self, data):
        self.sent.write(data)


def written(kind):
    connection = http.client.HTTPConnection(HOST)
    connection.sock = Recorder()
    one(connection, kind)
    return connection.sock.sent.getvalue()


def main(port, kind):
    if kind == "pipelined":
        # http.client waits for each answer; the bytes of its requests need not.
        kinds = ["get", "post", "folded", "chunked", "get"]
        peer = socket.create_connection(("127.0.0.1", port))
        peer.sendall(b"".join(written(each) for each in kinds))
        peer.shutdown(socket.SHUT_WR)
        answers = b""
        while data := peer.recv(65536):
            answers += data
        print(answers.count(b"200 OK"))
    else:
        connection = http.client.HTTPConnection("127.0.0.1", port)
        for _ in range(2):
            one(connection, kind)
            print(connection.getresponse().read().decode(), end="")
        connection.close()


main(int(sys.argv[1]), sys.argv[2])
