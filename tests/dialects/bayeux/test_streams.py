"""Bayeux over WebSocket and event streams."""

import json
from functools import partial

import pytest
import pytest_twisted

from tests.dialects.bayeux.client import Bayeux
from tests.transports.client import Client, Closed
from tests.transports.daemon import MovableReactor, until
from tests.transports.http_client import HttpClient, encode_request
from tests.transports.websocket_client import WebSocketClient

SETTINGS: dict[str, object] = {"dialects.enable": "bayeux"}


class Socket(WebSocketClient):
    """A WebSocket whose items are the messages of all frames."""

    label = "bayeux"
    transport_name = "bayeux-websocket"

    def frame(self, payload: bytes, is_binary: bool) -> None:
        """Queue the messages of a frame."""
        for message in json.loads(payload):
            self._items.put(message)

    def send(self, *messages: object) -> None:
        """Send an envelope."""
        self.protocol.sendMessage(json.dumps(messages).encode())

    async def ask(self, **message: object) -> dict[str, object]:
        """Send a message; return the next one received."""
        self.send(message)
        received: object = await self.next()
        assert isinstance(received, dict)
        return received


@pytest_twisted.async_fixture
async def daemon(start_daemon):
    """A daemon that serves Bayeux."""
    return await start_daemon(SETTINGS)


async def opened(daemon, path="/cometd"):
    socket = Socket(daemon)
    await socket.open(path)
    return socket


async def begun(socket, **fields):
    reply = await socket.ask(channel="/meta/handshake", id="1", supportedConnectionTypes=["websocket"], **fields)
    client = reply["clientId"]
    await socket.ask(channel="/meta/connect", id="2", clientId=client, connectionType="websocket")
    await socket.ask(channel="/meta/subscribe", id="3", clientId=client, subscription="/a")
    return client


@pytest_twisted.ensureDeferred
async def test_connect_is_held_while_others_are_answered(daemon):
    socket = await opened(daemon)
    client = await begun(socket)
    socket.send({"channel": "/meta/connect", "id": "4", "clientId": client, "connectionType": "websocket"})
    await until(lambda: daemon.subscribers("a"), "the connect is held")
    reply = await socket.ask(channel="/a", id="5", clientId=client, data=1)
    assert (reply["id"], reply["successful"]) == ("5", True)
    connect, message = await socket.receive(2)
    assert (connect["id"], message["data"]) == ("4", 1)


@pytest_twisted.ensureDeferred
async def test_session_goes_on_with_another_socket(daemon):
    socket = await opened(daemon)
    client = await begun(socket, ext={"ack": True})
    socket.send({"channel": "/meta/connect", "id": "4", "clientId": client, "connectionType": "websocket"})
    await until(lambda: daemon.subscribers("a"), "the connect is held")
    socket.abort()
    await until(lambda: not daemon.subscribers("a"), "the connect is forgotten")
    await daemon.publish("a", "1")
    other = await opened(daemon)
    other.send({"channel": "/meta/connect", "id": "5", "clientId": client, "ext": {"ack": 0}})
    _, message = await other.receive(2)
    assert message["data"] == "1"


@pytest.mark.parametrize("payload", [b"x", b"[]", b"[" * 10_000])
@pytest_twisted.ensureDeferred
async def test_frame_that_is_no_envelope_closes(daemon, payload):
    socket = await opened(daemon)
    socket.protocol.sendMessage(payload)
    assert await socket.next() == Closed(1008, True)


@pytest_twisted.ensureDeferred
async def test_binary_and_large_frames_close(daemon):
    socket = await opened(daemon)
    socket.protocol.sendMessage(b"[]", isBinary=True)
    assert isinstance(await socket.next(), Closed)
    socket = await opened(daemon)
    socket.protocol.sendMessage(b" " * ((1 << 20) + 1))
    closed = await socket.next()
    assert isinstance(closed, Closed)
    assert closed.code == 1009


@pytest_twisted.ensureDeferred
async def test_silent_socket_is_closed(start_daemon):
    reactor = MovableReactor()
    daemon = await start_daemon(SETTINGS, reactor)
    socket: Client = await opened(daemon)
    await reactor.pass_time(301)
    assert isinstance(await socket.next(), Closed)


@pytest_twisted.ensureDeferred
async def test_shutdown_closes_sockets(start_daemon):
    daemon = await start_daemon(SETTINGS)
    socket = await opened(daemon)
    await begun(socket)
    await daemon.stop()
    closed = await socket.next()
    assert isinstance(closed, Closed)
    assert closed.code == 1012


def has_events(pieces, count):
    return b"".join(pieces).count(b"data: [") == count


@pytest_twisted.ensureDeferred
async def test_event_stream_has_the_messages(daemon):
    client = Bayeux(daemon)
    await client.handshake()
    await client.subscribe("/a")
    pieces: list[bytes] = []
    head = {"Accept": "text/event-stream"}
    stream: HttpClient = daemon.connect(
        "http", HttpClient(encode_request("GET", f"/bayeux/{client.id}", None, head), pieces.append)
    )
    assert (await stream.head).headers["content-type"] == "text/event-stream"
    await until(lambda: daemon.subscribers("a"), "the stream waits")
    (reply,) = await client.connect()
    assert (reply["successful"], reply["advice"]["interval"]) == (True, 30_000)
    for count, text in enumerate(("1", "2"), 1):
        await daemon.publish("a", text)
        await until(partial(has_events, pieces, count), "the event")
        await until(lambda: daemon.subscribers("a"), "the stream waits again")
    events = [block for block in b"".join(pieces).split(b"\n\n") if b"data: " in block]
    received = [json.loads(event.partition(b"data: ")[2]) for event in events]
    assert [[message["data"] for message in event] for event in received] == [["1"], ["2"]]
    stream.transport.abortConnection()
    await until(lambda: not daemon.subscribers("a"), "the stream is gone")
    await daemon.publish("a", "3")
    assert [message["data"] for message in (await client.connect())[1:]] == ["3"]


@pytest_twisted.ensureDeferred
async def test_event_stream_of_an_unknown_session_is_not_found(daemon):
    assert (await daemon.request("GET", "/bayeux/x", None, {"Accept": "text/event-stream"})).status == 404
