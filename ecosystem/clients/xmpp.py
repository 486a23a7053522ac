#!/usr/bin/env python3
"""Users of an XMPP server, with slixmpp: xmpp.py PORT CERTIFICATE USERS MESSAGES.

User 0 to USERS-1 of localhost, each with the password "secret". Each sends MESSAGES numbered
messages to the next one, of many sizes; then all join a room and each says MESSAGES/10 there.
Prints the counts as NAME, a tab, and the number."""
import asyncio
import logging
import ssl
import sys

import slixmpp

PORT, CERTIFICATE = int(sys.argv[1]), sys.argv[2]
USERS, MESSAGES = int(sys.argv[3]), int(sys.argv[4])
ROOM = "room@conference.localhost"
SIZES = [1, 10, 100, 1000, 1400, 1500, 5000, 9200, 9300, 20000]


def body(user, number):
    text = f"{user}-{number} "
    return text + "x" * SIZES[number % len(SIZES)]


class User(slixmpp.ClientXMPP):
    def __init__(self, number):
        super().__init__(f"user{number}@localhost/test", "secret")
        self.number = number
        self.chat, self.room = [], {}
        self.ready, self.joined = asyncio.Event(), asyncio.Event()
        self.complete = asyncio.Event()
        self.received_bytes = 0
        self.ended = None
        self.register_plugin("xep_0045")
        self.register_plugin("xep_0199")
        self.add_event_handler("session_start", self.started)
        self.add_event_handler("message", self.received)
        self.add_event_handler("failed_auth", lambda _: sys.exit("refused"))
        self.add_event_handler("disconnected", lambda why: setattr(self, "ended", why or "closed"))
        self.ca_certs = CERTIFICATE

    async def started(self, _event):
        self.send_presence()
        await self.get_roster()
        self.ready.set()

    def received(self, message):
        self.received_bytes += len(message["body"])
        if message["type"] == "groupchat":
            self.room.setdefault(message["from"].resource, []).append(message["body"])
        elif message["type"] in ("chat", "normal"):
            self.chat.append(message["body"])
        self.complete.set()

    async def until(self, condition):
        async with asyncio.timeout(120) if hasattr(asyncio, "timeout") else _Nothing():
            while not condition():
                self.complete.clear()
                await self.complete.wait()


class _Nothing:
    async def __aenter__(self):
        return self

    async def __aexit__(self, *_):
        return False


async def talk(users):
    for user in users:
        user.connect(*(("127.0.0.1", PORT) if slixmpp.__version_info__ >= (1, 9, 0) else (("127.0.0.1", PORT),)))
    await asyncio.gather(*(user.ready.wait() for user in users))
    print(f"users\t{len(users)}")

    for number in range(MESSAGES):
        for user in users:
            user.send_message(f"user{(user.number + 1) % USERS}@localhost/test", body(user.number, number), mtype="chat")
        if number % 20 == 19:
            await asyncio.sleep(0)
    await asyncio.gather(*(user.until(lambda user=user: len(user.chat) >= MESSAGES) for user in users))
    in_order = sum(user.chat == [body((user.number - 1) % USERS, number) for number in range(MESSAGES)]
                   for user in users)
    print(f"chat messages\t{sum(len(user.chat) for user in users)}")
    print(f"users with all in order\t{in_order}")

    for user in users:
        await user.plugin["xep_0045"].join_muc_wait(ROOM, f"nick{user.number}", maxstanzas=0)
    said = MESSAGES // 10
    for number in range(said):
        for user in users:
            user.send_message(ROOM, body(user.number, number), mtype="groupchat")
        await asyncio.sleep(0)
    expected = [body_list(nick, said) for nick in range(USERS)]
    await asyncio.gather(*(user.until(lambda user=user: sum(map(len, user.room.values())) >= said * USERS)
                           for user in users))
    right = sum(user.room.get(f"nick{nick}") == expected[nick] for user in users for nick in range(USERS))
    print(f"room messages\t{sum(len(one) for user in users for one in user.room.values())}")
    print(f"room streams in order\t{right}")
    print(f"bytes of bodies\t{sum(user.received_bytes for user in users)}")

    pings = 0
    for user in users:
        for _ in range(20):
            await user.plugin["xep_0199"].send_ping("localhost", timeout=20)
            pings += 1
    print(f"pings\t{pings}")
    print(f"lost connections\t{sum(user.ended is not None for user in users)}")
    # One in four goes without a word.
    for user in users:
        if user.number % 4:
            user.disconnect()
        else:
            user.abort()
    for _ in range(200):
        if all(user.ended for user in users):
            break
        await asyncio.sleep(0.05)
    print(f"ended\t{sum(user.ended is not None for user in users)}")


def body_list(nick, said):
    return [body(nick, number) for number in range(said)]


async def main():
    await talk([User(number) for number in range(USERS)])


logging.basicConfig(level=logging.ERROR)
loop = asyncio.new_event_loop()
asyncio.set_event_loop(loop)
loop.run_until_complete(asyncio.wait_for(main(), 200))
