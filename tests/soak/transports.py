"""Subscribers over each transport: each opens a connection and yields what it receives, until it is closed."""

import asyncio
import json
import re
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, NamedTuple
from urllib.parse import unquote

from websockets.asyncio.client import connect
from websockets.typing import Subprotocol

_GAP_HEADER = re.compile(rb"^pushd-gap: ", re.IGNORECASE | re.MULTILINE)
_POLL_SECONDS = 5
CHANNELS = frozenset(f"soak/{kind}" for kind in ("http", "lines", "websocket"))
"""The channels of the soak test; malformed input may publish on others."""
_HOST = "127.0.0.1"


class Ports(NamedTuple):
    """The ports of the daemon."""

    http: int
    tcp: int


class ReceivedMessage(NamedTuple):
    """A message of a subscribed channel."""

    id: str
    channel: str
    data: Any


class ReceivedGap(NamedTuple):
    """The report that messages are missing."""


Item = ReceivedMessage | ReceivedGap
Transport = Callable[[Ports, str, str | None], AsyncGenerator[Item, None]]


class SubscriptionRefused(Exception):
    """The daemon refused the subscription."""


@asynccontextmanager
async def connection(port: int) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """Connect, and abort the connection at the end."""
    reader, writer = await asyncio.open_connection(_HOST, port)
    try:
        yield reader, writer
    finally:
        writer.transport.abort()


async def sse(ports: Ports, topics: str, since: str | None) -> AsyncGenerator[Item, None]:
    """Receive server-sent events whose data are JSON messages."""
    async for line in _lines(ports, f"/sse/{topics}?format=json", since):
        if line.startswith(b"data: "):
            for item in _items(line.removeprefix(b"data: ")):
                yield item


async def stream(ports: Ports, topics: str, since: str | None) -> AsyncGenerator[Item, None]:
    """Receive a body of JSON lines."""
    async for line in _lines(ports, f"/stream/{topics}", since):
        for item in _items(line):
            yield item


async def mixed(ports: Ports, topics: str, since: str | None) -> AsyncGenerator[Item, None]:
    """Receive parts: headers, an empty line, a body with a length, and the next boundary."""
    rest, part, missing = b"", dict[str, str](), None
    async for block in _blocks(ports, f"/mixed/{topics}", since):
        rest += block
        while missing is not None or b"\r\n" in rest:
            if missing is None:
                line, _, rest = rest.partition(b"\r\n")
                name, _, value = line.decode("latin-1").partition(": ")
                part[name] = value
                if name == "Pushd-Gap":
                    yield ReceivedGap()
                missing = None if line else int(part["Content-Length"])
            elif len(rest) < missing:
                break
            else:
                body, rest, missing = rest[:missing], rest[missing:].removeprefix(b"\r\n"), None
                if "Pushd-Id" in part:
                    channel = unquote(part["Pushd-Channel"])
                    yield ReceivedMessage(part["Pushd-Id"], channel, json.loads(body) if channel in CHANNELS else None)
                part = {}


async def longpoll(ports: Ports, topics: str, since: str | None) -> AsyncGenerator[Item, None]:
    """Poll repeatedly on one connection."""
    async with connection(ports.http) as (reader, writer):
        while True:
            writer.write(_request(f"/longpoll/{topics}?timeout={_POLL_SECONDS}", since))
            head = await reader.readuntil(b"\r\n\r\n")
            if _GAP_HEADER.search(head):
                yield ReceivedGap()
            if b" 200 " not in head[:14]:
                if b" 204 " in head[:14] or b" 304 " in head[:14]:
                    continue
                raise SubscriptionRefused(head.decode("latin-1"))
            length = re.search(rb"content-length: (\d+)", head, re.IGNORECASE)
            assert length
            for message in json.loads(await reader.readexactly(int(length[1]))):
                since = message["id"]
                yield ReceivedMessage(message["id"], message["channel"], message.get("data"))


async def lines(ports: Ports, topics: str, since: str | None) -> AsyncGenerator[Item, None]:
    """Receive JSON lines over TCP."""
    async with connection(ports.tcp) as (reader, writer):
        cursor = f" since={since}" if since else ""
        writer.write(f"FORMAT json\r\nSUB {topics}{cursor}\r\n".encode())
        while line := await reader.readline():
            if line.startswith(b"-ERR"):
                raise SubscriptionRefused(line.decode())
            if line.startswith(b"{"):
                for item in _items(line):
                    yield item


async def websocket(ports: Ports, topics: str, since: str | None) -> AsyncGenerator[Item, None]:
    """Receive JSON messages in WebSocket frames."""
    url = f"ws://{_HOST}:{ports.http}/ws"
    async with connect(url, subprotocols=[Subprotocol("pushd.v1")], compression=None, proxy=None) as socket:
        await socket.send(json.dumps({"subscribe": topics} | ({"since": since} if since else {})))
        try:
            async for text in socket:
                for item in _items(text):
                    yield item
        finally:
            socket.transport.abort()


TRANSPORTS: dict[str, Transport] = {
    "sse": sse,
    "stream": stream,
    "mixed": mixed,
    "longpoll": longpoll,
    "lines": lines,
    "websocket": websocket,
}


def _items(text: str | bytes) -> list[Item]:
    message = json.loads(text)
    if "error" in message:
        raise SubscriptionRefused(str(message))
    if message.get("type") == "gap":
        return [ReceivedGap()]
    return [ReceivedMessage(message["id"], message["channel"], message.get("data"))] if "id" in message else []


def _request(target: str, since: str | None) -> bytes:
    cursor = f"Last-Event-ID: {since}\r\n" if since else ""
    return f"GET {target} HTTP/1.1\r\nHost: localhost\r\n{cursor}\r\n".encode()


async def _lines(ports: Ports, target: str, since: str | None) -> AsyncIterator[bytes]:
    """Request a stream, and yield its lines."""
    rest = b""
    async for block in _blocks(ports, target, since):
        *complete, rest = (rest + block).split(b"\n")
        for line in complete:
            yield line


async def _blocks(ports: Ports, target: str, since: str | None) -> AsyncIterator[bytes]:
    """Request a stream, and yield its chunks."""
    async with connection(ports.http) as (reader, writer):
        writer.write(_request(target, since))
        head = await reader.readuntil(b"\r\n\r\n")
        if b" 200 " not in head[:14]:
            raise SubscriptionRefused(head.decode("latin-1"))
        while size := int(await reader.readline() or b"0", 16):
            yield await reader.readexactly(size)
            await reader.readexactly(2)
