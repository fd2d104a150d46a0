"""Input that is never completed: it has a deadline, and what makes no progress is closed when memory is exhausted."""

from typing import Any

import pytest
from websockets.frames import Frame, Opcode

from tests.transports.client import Closed, ErrorLine, Item
from tests.transports.daemon import MovableReactor, turns, until
from tests.transports.http_client import HttpClient, encode_request
from tests.transports.line_client import TextLines
from tests.transports.websocket_client import JsonWebSocket

SECONDS = 20
"""The time for an input, in the tests of the deadline."""
SETTINGS = {"limits.upload": SECONDS, "keepalive.ping": "1h"}
"""Without pings, whose answers would be sent within the input."""


async def line(daemon):
    """Return a client, and the pieces of an input: the first, those between, and the last."""
    client = TextLines(daemon)
    client.open()
    return client, b"PUB a x", b"x", b"\n"


async def message(daemon):
    client = JsonWebSocket(daemon)
    await client.open()
    return (
        client,
        Frame(Opcode.TEXT, b'{"publish":"a",', fin=False).serialize(mask=True),
        Frame(Opcode.CONT, b" ", fin=False).serialize(mask=True),
        Frame(Opcode.CONT, b'"data":"x"}').serialize(mask=True),
    )


async def frame(daemon):
    client = JsonWebSocket(daemon)
    await client.open()
    return client, bytes([0x81, 0xFE, 1, 0]) + bytes(4) + b" ", b" ", b""


async def ping(daemon):
    client = JsonWebSocket(daemon)
    await client.open()
    return client, bytes([0x89, 0x80 | 125]) + bytes(4) + b" ", b" ", b""


REFUSALS: dict[Any, list[Item]] = {
    line: [ErrorLine("request-timeout"), Closed(None, True)],
    message: [Closed(1008, True)],
    frame: [Closed(1008, True)],
    ping: [Closed(1008, True)],
}
each_input = pytest.mark.parametrize("begin", REFUSALS)


@each_input
async def test_incomplete_input_is_refused_after_its_time_however_steadily_it_arrives(start_daemon, begin):
    reactor = MovableReactor()
    daemon = await start_daemon(SETTINGS, reactor)
    client, first, piece, _ = await begin(daemon)
    transport = client.protocol.transport
    transport.setTcpNoDelay(True)
    transport.write(first)
    await turns()
    for _ in range(SECONDS - 2):
        transport.write(piece)
        await reactor.pass_time(1)
    assert daemon.open_connections == 1
    await reactor.pass_time(3)
    expected = REFUSALS[begin]
    assert await client.receive(len(expected)) == expected
    assert await daemon.metric('pushd_refusals_total{code="request-timeout"}') == 1
    assert daemon.budget.used == 0


@each_input
async def test_each_input_has_its_own_time(start_daemon, begin):
    reactor = MovableReactor()
    daemon = await start_daemon(SETTINGS, reactor)
    client, first, _, last = await begin(daemon)
    if begin in (frame, ping):
        last = Frame(Opcode.TEXT, b"{}").serialize(mask=True)
        first, last = last[:4], last[4:]
    transport = client.protocol.transport
    transport.setTcpNoDelay(True)
    transport.write(first)
    for _ in range(4):
        await turns()
        await reactor.pass_time(SECONDS // 2)
        client._asked.append(_Ignored())
        transport.write(last + first)
    await turns()
    assert daemon.open_connections == 1
    transport.write(last)


class _Ignored:
    """The reply to a command that is not awaited."""

    def callback(self, reply):
        """Ignore it."""


LIMIT = 1 << 20
PART = 60 << 10
MANY = LIMIT // PART + 1
DATA = b"x" * (100 << 10)


def begin_lines(daemon):
    for _ in range(MANY):
        client = TextLines(daemon)
        client.open()
        client.protocol.transport.write(b"PUB a ".ljust(PART, b"x"))


async def begin_messages(daemon):
    for _ in range(MANY):
        client = JsonWebSocket(daemon)
        await client.open()
        client.protocol.transport.write(Frame(Opcode.TEXT, b"x" * PART, fin=False).serialize(mask=True))


def begin_bodies(daemon):
    request = encode_request("POST", "/pub/a", None, {"Content-Length": "500000", "Content-Type": "text/plain"})
    for _ in range(MANY):
        daemon.connect("http", HttpClient(request + b"x" * PART)).answer.addErrback(lambda failure: None)


async def fill_history(daemon):
    for _ in range(5):
        await daemon.publish_all(*[("h", "x" * 16_000)] * 40)


async def leave_answers_unread(daemon):
    await fill_history(daemon)
    for _ in range(2):
        client = daemon.connect("http", HttpClient(encode_request("GET", "/history/h?since=all")), small=True)
        client.answer.addErrback(lambda failure: None)
        await until(lambda: client.transport, "connected")  # noqa: B023
        client.transport.pauseProducing()
        await turns(100)


async def leave_replies_unread(daemon):
    await fill_history(daemon)
    for _ in range(2):
        client = TextLines(daemon, small=True)
        client.open()
        client.stall()
        client.protocol.transport.write(b"HIST h 1000\r\n")
        await turns(100)


@pytest.mark.parametrize(
    "exhaust", [begin_lines, begin_messages, begin_bodies, leave_answers_unread, leave_replies_unread]
)
async def test_connections_without_progress_are_closed_when_the_memory_is_exhausted(start_daemon, exhaust):
    reactor = MovableReactor()
    daemon = await start_daemon({"limits.waiting_bytes": LIMIT}, reactor)
    if (begun := exhaust(daemon)) is not None:
        await begun
    await until(lambda: daemon.budget.is_over or "no-room" in daemon.log[-1], "the memory is exhausted")
    ready = await daemon.request("GET", "/health/ready")
    if daemon.budget.is_over:
        assert ready.json["ready"] is True
        assert "memory" in ready.json["degraded"][0]
    await reactor.pass_time(3)
    assert (await daemon.request("GET", "/health/ready")).json == {"ready": True}
    assert daemon.budget.has_room
    assert await daemon.publish("b", DATA)
    assert (await daemon.request("GET", "/history/b")).status == 200
    assert await daemon.metric('pushd_refusals_total{code="no-room"}') >= 1


async def test_input_that_makes_progress_is_kept(start_daemon):
    reactor = MovableReactor()
    daemon = await start_daemon({"limits.waiting_bytes": LIMIT}, reactor)
    begin_lines(daemon)
    await until(lambda: daemon.budget.is_over, "the memory is exhausted")
    await reactor.pass_time(1)
    request = encode_request("POST", "/pub/b", None, {"Content-Length": str(len(DATA))})
    client = daemon.connect("http", HttpClient(request))
    for first in range(0, len(DATA), 10 << 10):
        await until(lambda: client.transport, "connected")
        client.transport.write(DATA[first : first + (10 << 10)])
        await reactor.pass_time(1)
    assert (await client.answer).status in (201, 202)


async def test_input_that_is_sent_byte_by_byte_makes_no_progress(start_daemon):
    reactor = MovableReactor()
    daemon = await start_daemon({"limits.waiting_bytes": LIMIT}, reactor)
    client = TextLines(daemon)
    client.open()
    client.protocol.transport.write(b"PUB a ".ljust(PART, b"x"))
    await turns()
    await reactor.pass_time(1)
    for _ in range(3):
        client.protocol.transport.write(b"x")
        await reactor.pass_time(1)
    begin_lines(daemon)
    await until(lambda: daemon.budget.is_over, "the memory is exhausted")
    await reactor.pass_time(3)
    assert await client.receive(2) == [ErrorLine("no-room"), Closed(None, True)]
    assert daemon.open_connections > 1, "the others have made progress more recently"
