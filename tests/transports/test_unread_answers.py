"""A peer that sends and does not read: reading pauses while answers wait, and what waits is in the memory budget."""

import socket
from typing import Any

import pytest
from twisted.internet.protocol import Protocol
from websockets.frames import Frame, Opcode

from tests.daemon.clients import HANDSHAKE
from tests.transports.daemon import turns, until
from tests.transports.http_client import encode_request
from tests.transports.slow_reader import shrink

MOST_SENT = 512 << 10
"""Bytes; the buffers of the kernel take much less, since they are shrunk."""
MOST_WAITING = 1 << 20
"""Bytes that one connection may hold in the daemon: answers to a few reads, and what was read."""


class Sender(Protocol):
    """A client that sends one request repeatedly, and reads only when told to."""

    transport: Any

    def __init__(self, opening: bytes, request: bytes, answer: bytes) -> None:
        self.opening = opening
        self.requests = MOST_SENT // len(request)
        self.is_open = False
        self.answers = 0
        self._answer = answer
        self._rest = b""

    def connectionMade(self):
        self.transport.getHandle().setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 16 << 10)
        self.transport.write(self.opening)

    def dataReceived(self, data):
        if self.is_open:
            data = self._rest + data
            self.answers += data.count(self._answer)
            self._rest = data[1 - len(self._answer) :]
        self.is_open = True

    @property
    def has_unsent(self):
        return bool(self.transport.dataBuffer or self.transport._tempDataBuffer)


def websocket(opcode, payload):
    head = {"Host": "localhost", "Sec-WebSocket-Protocol": "pushd.v1"} | HANDSHAKE
    lines = "".join(f"{name}: {value}\r\n" for name, value in head.items())
    return "http", f"GET /ws HTTP/1.1\r\n{lines}\r\n".encode(), Frame(opcode, payload).serialize(mask=True)


def line(request):
    return "tcp", b"", request


def http(request):
    return "http", b"HEAD / HTTP/1.1\r\nHost: localhost\r\n\r\n", request


KEPT_ALIVE = {"Connection": "keep-alive"}
SENDERS = {
    "WebSocket pings": (*websocket(Opcode.PING, b"x" * 125), b"x" * 125),
    "WebSocket commands": (*websocket(Opcode.TEXT, b'{"ping":1}'), b'"ok"'),
    "WebSocket publishes": (*websocket(Opcode.TEXT, b'{"publish":"a","data":1}'), b'"ok"'),
    "WebSocket commands that are refused": (*websocket(Opcode.TEXT, b"{}"), b'"error"'),
    "WebSocket binary frames": (*websocket(Opcode.BINARY, b"x"), b'"error"'),
    "line commands": (*line(b"PING x\n"), b"PONG"),
    "line publishes": (*line(b"PUB a x\n"), b"+OK"),
    "lines that are refused": (*line(b"x\n"), b"-ERR"),
    "telnet commands": (*line(b"\xff\xfd\x01"), b"\xff\xfc\x01"),
    "pipelined requests": (*http(encode_request("GET", "/health/live", None, KEPT_ALIVE)), b"HTTP/1.1 200"),
    "pipelined publishes": (*http(encode_request("POST", "/pub/a", b"x", KEPT_ALIVE)), b"HTTP/1.1 20"),
}
each_sender = pytest.mark.parametrize(("listener", "opening", "request_", "answer"), SENDERS.values(), ids=SENDERS)


async def start_sending(daemon, listener, opening, request, answer):
    """Connect, stop reading, and send until the daemon does not read any more."""
    client = daemon.connect(listener, Sender(opening, request, answer), small=True)
    await until(lambda: client.is_open, "the connection is open")
    client.transport.pauseProducing()
    shrink(daemon)
    client.transport.write(request * client.requests)
    before = -1
    while client.has_unsent and before != (before := len(client.transport.dataBuffer) - client.transport.offset):
        await turns(100)
    return client


@each_sender
async def test_reading_pauses_while_the_peer_does_not_read(start_daemon, listener, opening, request_, answer):
    daemon = await start_daemon({})
    client = await start_sending(daemon, listener, opening, request_, answer)
    assert client.has_unsent, "the daemon has read everything"
    assert daemon.budget.used < MOST_WAITING
    client.transport.resumeProducing()
    await until(lambda: client.answers == client.requests, "all answers", 60)
    await until(lambda: daemon.budget.used == 0, "everything released")


@each_sender
async def test_what_waits_is_counted_and_released_with_the_connection(
    start_daemon, listener, opening, request_, answer
):
    daemon = await start_daemon({})
    client = await start_sending(daemon, listener, opening, request_, answer)
    assert daemon.budget.used >= len(answer)
    client.transport.abortConnection()
    await until(lambda: not daemon.open_connections, "the connection is closed")
    assert daemon.budget.used == 0
