"""The memory budget: when it is used up, large incomplete input is refused, and small input is not. All is released.
The bytes that the kernel buffers for a client that does not read are bounded, too.
"""

import pytest

from tests.transports.client import Closed, ErrorLine
from tests.transports.daemon import turns, until
from tests.transports.every_client import each_client
from tests.transports.http_client import HttpClient, encode_request
from tests.transports.line_client import TextLines
from tests.transports.websocket_client import JsonWebSocket

NO_ROOM = {"limits.waiting_bytes": 100_000}
SMALL, LARGE = 60_000, 90_000
PIECE = b"x" * (16 << 10)


def begin_body(daemon, size):
    """Send `size` bytes of a longer body."""
    request = encode_request("POST", "/pub/a", None, {"Content-Length": "500000", "Content-Type": "text/plain"})
    return daemon.connect("http", HttpClient(request + b"x" * size))


def begin_line(daemon, size):
    """Send `size` bytes of a line."""
    client = TextLines(daemon)
    client.open()
    client.protocol.transport.write(b"PUB a ".ljust(size, b"x"))
    return client.protocol


async def begin_message(daemon, size):
    """Send `size` bytes of a longer WebSocket message."""
    client = JsonWebSocket(daemon)
    await client.open()
    client.protocol.beginMessage()
    client.protocol.beginMessageFrame(500_000)
    client.protocol.sendMessageFrameData(b"x" * size)
    return client


async def until_charged(daemon, size):
    """Wait until about `size` bytes are charged."""
    waiting = daemon.budget
    await until(lambda: size <= waiting.used < size + 2000, f"{size} bytes waiting, not {waiting.used}")


@pytest.mark.parametrize("begin", [begin_body, begin_line])
async def test_incomplete_input_is_charged_until_it_is_complete_or_the_connection_lost(start_daemon, begin):
    daemon = await start_daemon({})
    one, other = begin(daemon, SMALL), begin(daemon, LARGE)
    await until_charged(daemon, SMALL + LARGE)
    assert await daemon.metric("pushd_waiting_bytes") >= SMALL + LARGE
    one.transport.abortConnection()
    await until_charged(daemon, LARGE)
    other.transport.write(b"x" * (500_000 - LARGE) + b"\n")
    await until_charged(daemon, 0)


async def test_an_incomplete_websocket_message_is_charged_until_it_is_complete(start_daemon):
    daemon = await start_daemon({})
    client = await begin_message(daemon, SMALL)
    await until_charged(daemon, SMALL)
    client.protocol.sendMessageFrameData(b"x" * (500_000 - SMALL))
    client.protocol.endMessage()
    await until_charged(daemon, 0)
    client = await begin_message(daemon, SMALL)
    await until_charged(daemon, SMALL)
    client.disconnect()
    await until_charged(daemon, 0)


async def test_over_the_memory_limit_a_large_body_is_refused_and_a_small_one_is_not(start_daemon):
    daemon = await start_daemon(NO_ROOM)
    first, second = begin_body(daemon, SMALL), begin_body(daemon, SMALL)
    await until_charged(daemon, 2 * SMALL)
    second.transport.write(b"x" * 20_000)
    answer = await second.answer
    assert (answer.status, answer.json["error"]["code"]) == (503, "no-room")
    assert answer.headers["retry-after"] == "1"
    await until_charged(daemon, SMALL)
    third = begin_body(daemon, SMALL)
    await until_charged(daemon, 2 * SMALL)
    assert await daemon.publish("b", b"x" * SMALL)
    assert await daemon.metric('pushd_refusals_total{code="no-room"}') == 1
    assert [line for line in daemon.log if "http 127.0.0.1: refused, no-room" in line]
    for sender in (first, third):
        sender.transport.abortConnection()
    await until_charged(daemon, 0)


async def test_over_the_memory_limit_a_long_line_is_refused_and_a_short_one_is_not(start_daemon):
    daemon = await start_daemon(NO_ROOM)
    begin_line(daemon, SMALL)
    client = TextLines(daemon)
    client.open()
    client.protocol.transport.write(b"PUB a ".ljust(SMALL, b"x"))
    await until_charged(daemon, 2 * SMALL)
    other = TextLines(daemon)
    other.open()
    assert (await other.ask("PUB b short")).endswith("-1 0")
    client.protocol.transport.write(b"x" * 20_000)
    assert [await client.next(), await client.next()] == [ErrorLine("no-room"), Closed(None, True)]
    await until_charged(daemon, SMALL)


async def test_over_the_memory_limit_a_large_websocket_message_is_refused(start_daemon):
    daemon = await start_daemon(NO_ROOM)
    begin_line(daemon, SMALL)
    client = await begin_message(daemon, SMALL)
    await until_charged(daemon, 2 * SMALL)
    client.protocol.sendMessageFrameData(b"x" * 20_000)
    assert await client.next() == Closed(1013, True)
    await until_charged(daemon, SMALL)


async def test_a_message_in_endless_empty_fragments_is_too_large(start_daemon):
    daemon = await start_daemon({"limits.message": 1000})
    client = JsonWebSocket(daemon)
    await client.open()
    transport = client.protocol.transport
    transport.write(bytes([0x01, 0x80, 0, 0, 0, 0]))
    empty = bytes([0x00, 0x80, 0, 0, 0, 0]) * 1000
    sent = 0
    while transport.connected and sent < 100:
        transport.write(empty)
        sent += 1
        await turns()
    assert await client.next() == Closed(1009, True)
    assert sent < 100


async def test_a_line_can_be_received_byte_by_byte(start_daemon):
    daemon = await start_daemon({})
    client = TextLines(daemon)
    await client.subscribe("a")
    for byte in b"PUB a 0123456789":
        client.protocol.transport.write(bytes([byte]))
        await turns(2)
    assert (await client.ask("")).endswith("-1 1")
    assert await client.data(1) == [b"0123456789"]


@each_client((TextLines, JsonWebSocket))
async def test_the_kernel_buffers_little_for_a_client_that_does_not_read(start_daemon, client_class):
    """Otherwise the queue would begin to fill only after megabytes."""
    daemon = await start_daemon({})
    client = client_class(daemon, small=True)
    await client.subscribe("a")
    client.stall()
    for _ in range(32):
        await daemon.publish("a", PIECE)
        await turns()
    assert daemon.subscribers("a")[0].queued_bytes


async def ask_for_history(daemon):
    """Request a large response, and do not read it."""
    client = daemon.connect("http", HttpClient(encode_request("GET", "/history/a?since=all")), small=True)
    await until(lambda: client.transport, "connected")
    client.transport.pauseProducing()
    return client


async def ask_by_line(daemon):
    """Request a large response, and do not read it."""
    client = TextLines(daemon, small=True)
    client.open()
    client.stall()
    client.protocol.transport.write(b"HIST a 1000\r\n")
    return client.protocol


async def test_unread_responses_are_charged_and_refused_over_the_memory_limit(start_daemon):
    daemon = await start_daemon({"limits.waiting_bytes": "6MiB"})
    await daemon.publish_all(*[("a", PIECE.decode())] * 256)
    clients = [await ask_for_history(daemon)]
    await until(lambda: daemon.budget.used > 3 << 20, "the first answer waiting")
    clients.append(await ask_for_history(daemon))
    await until(lambda: daemon.budget.is_over, "the second answer waiting")
    before = daemon.budget.used
    clients.append(await ask_for_history(daemon))
    await turns(100)
    assert daemon.budget.used == before
    assert await daemon.metric('pushd_refusals_total{code="no-room"}') == 1
    for client in clients:
        client.transport.abortConnection()
    await until_charged(daemon, 0)


async def test_line_clients_that_do_not_read_replies_are_closed_over_the_memory_limit(start_daemon):
    daemon = await start_daemon({"limits.waiting_bytes": "6MiB"})
    await daemon.publish_all(*[("a", PIECE.decode())] * 256)
    await ask_by_line(daemon)
    await until(lambda: daemon.budget.used > 3 << 20, "the first answer waiting")
    await ask_by_line(daemon)
    await until(lambda: any("no-room" in line for line in daemon.log), "a client is closed")
    assert 0 < daemon.budget.used < 6 << 20


async def test_a_response_is_aborted_when_the_memory_limit_is_reached(start_daemon):
    daemon = await start_daemon({"limits.waiting_bytes": "3MiB", "limits.message": "2MiB"})
    for _ in range(2):
        await daemon.publish("a", b"x" * (2 << 20))
    clients = []
    for _ in range(2):
        client = daemon.connect("http", HttpClient(encode_request("GET", "/poll/a?since=all")), small=True)
        await until(
            lambda: client.transport,  # noqa: B023
            "connected",
        )
        client.transport.pauseProducing()
        clients.append(client)
        await turns(50)
    third = daemon.connect("http", HttpClient(encode_request("GET", "/poll/a?since=all")), small=True)
    third.answer.addErrback(lambda failure: None)
    await until(lambda: third.transport and not third.transport.connected, "the third cut off")
    for client in clients:
        client.transport.abortConnection()
    await until_charged(daemon, 0)
