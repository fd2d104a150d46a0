"""Subscribers over each transport: each opens a connection and yields what it receives, until it is closed."""

import asyncio
import json
import re
import socket
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, NamedTuple
from urllib.parse import quote, unquote

from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.typing import Subprotocol

from pushd.wire.text_lines import unescape

CHANNELS = frozenset(f"soak/{kind}" for kind in ("http", "lines", "websocket"))
"""The channels of the soak test; malformed input may publish on others."""
_HOST = "127.0.0.1"
_ALL_ENDED = 4410
_LINE = 2**17
"""The longest line that is read; twice as much is read ahead."""
_SHORT_LINE = 48 << 10
"""The longest line that is read where the receive buffer is limited."""


class Ports(NamedTuple):
    """The ports of the daemon."""

    http: int
    tcp: int


class Subscription(NamedTuple):
    """What a subscriber asks for."""

    topics: str
    since: str | None = None
    by_header: bool = True
    """Whether an HTTP request has its cursor in `Last-Event-ID`, which takes ids only, else in `since`."""
    slow: str = ""
    """The slow-consumer policy; empty for the default."""
    buffer: int = 0
    """Bytes of the receive buffer; 0 for the default. With a small one the daemon has to queue soon."""
    poll_seconds: float = 5.0
    """The timeout of a long poll."""

    @property
    def parameters(self) -> dict[str, str]:
        """The parameters other than the topics."""
        return {name: value for name, value in (("since", self.since), ("slow", self.slow)) if value}


class Confirmed(NamedTuple):
    """The daemon has confirmed the subscription: what is published from now on is received."""

    cursor: str | None = None
    """The cursor at which it begins, if the daemon reports it."""


class ReceivedMessage(NamedTuple):
    """A message of a subscribed channel."""

    id: str
    channel: str | None
    """None where the format does not tell it."""
    data: Any


class ReceivedEphemeral(NamedTuple):
    """An ephemeral message of a subscribed channel, which has no id."""

    channel: str | None
    data: Any


class ReceivedGap(NamedTuple):
    """The report that messages are missing."""

    topic: str
    """Empty if any of the topics may be meant."""
    start: str
    end: str
    reason: str


class ReceivedEnd(NamedTuple):
    """The end of a channel, or of all (`channel` is empty)."""

    channel: str


class ReceivedCursor(NamedTuple):
    """The cursor to continue from, after everything that was received."""

    id: str


Item = Confirmed | ReceivedMessage | ReceivedEphemeral | ReceivedGap | ReceivedEnd | ReceivedCursor
Items = AsyncGenerator[Item, None]
Transport = Callable[[Ports, Subscription], Items]


class SubscriptionRefused(Exception):
    """The daemon refused the subscription."""


@asynccontextmanager
async def connection(port: int, buffer: int = 0) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """Connect, and abort the connection at the end.

    :param buffer: bytes of the receive buffer; 0 for the default.
    """
    limit = _SHORT_LINE if buffer else _LINE
    reader, writer = await asyncio.open_connection(sock=await _connected(port, buffer), limit=limit)
    try:
        yield reader, writer
    finally:
        writer.transport.abort()


async def sse(ports: Ports, subscription: Subscription) -> Items:
    """Receive server-sent events with the data itself."""
    async for item in _events(ports, subscription, f"/sse/{subscription.topics}", is_json=False):
        yield item


async def sse_json(ports: Ports, subscription: Subscription) -> Items:
    """Receive server-sent events whose data are JSON messages."""
    async for item in _events(ports, subscription, f"/sse/{subscription.topics}?format=json", is_json=True):
        yield item


async def stream(ports: Ports, subscription: Subscription) -> Items:
    """Receive a body of JSON lines."""
    rest = b""
    async for block in _body(ports, subscription, f"/stream/{subscription.topics}"):
        if not isinstance(block, bytes):
            yield block
            continue
        *complete, rest = (rest + block).split(b"\n")
        for line in complete:
            for item in _items(line):
                yield item


async def mixed(ports: Ports, subscription: Subscription) -> Items:
    """Receive parts: headers, an empty line, a body with a length, and the next boundary."""
    rest, part, missing = b"", dict[str, str](), None
    async for block in _body(ports, subscription, f"/mixed/{subscription.topics}"):
        if not isinstance(block, bytes):
            yield block
            continue
        rest += block
        while missing is not None or b"\r\n" in rest:
            if missing is None:
                line, _, rest = rest.partition(b"\r\n")
                name, _, value = line.decode("latin-1").partition(": ")
                part[name] = value
                if name == "Pushd-Gap":
                    yield ReceivedGap(*map(unquote, value.split(" ")))
                elif name == "Pushd-End":
                    yield ReceivedEnd(unquote(value))
                missing = None if line else int(part["Content-Length"])
            elif len(rest) < missing:
                break
            else:
                body, rest, missing = rest[:missing], rest[missing:].removeprefix(b"\r\n"), None
                if "Pushd-Channel" in part:
                    data = json.loads(body) if "json" in part["Content-Type"] else body.decode("utf-8", "replace")
                    yield _received(part.get("Pushd-Id"), unquote(part["Pushd-Channel"]), data)
                part = {}


async def longpoll(ports: Ports, subscription: Subscription) -> Items:
    """Wait for messages repeatedly, on one connection."""
    async for item in _polls(ports, subscription, f"/longpoll/{subscription.topics}", 0.0):
        yield item


async def poll(ports: Ports, subscription: Subscription) -> Items:
    """Ask for messages repeatedly, on one connection."""
    async for item in _polls(ports, subscription, f"/poll/{subscription.topics}", 0.1):
        yield item


async def lines(ports: Ports, subscription: Subscription) -> Items:
    """Receive JSON lines over TCP."""
    async for line in _line_connection(ports, subscription, "json"):
        for item in _items(line) if line.startswith(b"{") else ():
            yield item
        if line.startswith(b"+OK SUB"):
            yield _confirmed_by_line(line)


async def text_lines(ports: Ports, subscription: Subscription) -> Items:
    """Receive text lines over TCP."""
    async for line in _line_connection(ports, subscription, "text"):
        verb, _, rest = line.rstrip(b"\r\n").decode().partition(" ")
        if verb == "MSG":
            channel, id, text = rest.split(" ", 2)
            data = unescape(text.encode()).decode("utf-8", "replace")
            yield _received(None if id == "-" else id, channel, data)
        elif verb == "GAP":
            yield ReceivedGap(*rest.split(" "))
        elif verb == "END":
            yield ReceivedEnd(rest)
        elif line.startswith(b"+OK SUB"):
            yield _confirmed_by_line(line)


async def websocket(ports: Ports, subscription: Subscription) -> Items:
    """Receive JSON messages in WebSocket frames, after a command."""
    command = json.dumps({"subscribe": subscription.topics, **subscription.parameters})
    async for item in _websocket(ports, subscription, "/ws", command):
        yield item


async def websocket_path(ports: Ports, subscription: Subscription) -> Items:
    """Receive JSON messages in WebSocket frames, of the topics in the address."""
    target = _with_parameters(f"/ws/{subscription.topics}", subscription.parameters)
    async for item in _websocket(ports, subscription, target, None):
        yield item


TRANSPORTS: dict[str, Transport] = {
    "sse": sse,
    "sse-json": sse_json,
    "stream": stream,
    "mixed": mixed,
    "longpoll": longpoll,
    "poll": poll,
    "lines": lines,
    "text-lines": text_lines,
    "websocket": websocket,
    "websocket-path": websocket_path,
}


def _items(text: str | bytes) -> list[Item]:
    """Parse a JSON message, control object, or reply."""
    message = json.loads(text)
    if "error" in message:
        raise SubscriptionRefused(str(message))
    match message.get("type"):
        case "gap":
            return [ReceivedGap(message["topic"], message["from"], message["to"], message["reason"])]
        case "end":
            return [ReceivedEnd(message["channel"])]
        case "begin":
            return [Confirmed(message["cursor"])]
    if "subscribe" in message:
        return [Confirmed(message.get("cursor"))]
    is_message = "id" in message or message.get("kept") is False
    return [_received(message.get("id"), message["channel"], message.get("data"))] if is_message else []


def _received(id: str | None, channel: str | None, data: Any) -> ReceivedMessage | ReceivedEphemeral:
    return ReceivedEphemeral(channel, data) if id is None else ReceivedMessage(id, channel, data)


def _confirmed_by_line(line: bytes) -> Confirmed:
    found = re.search(r" cursor=(\S+)", line.decode())
    return Confirmed(found[1] if found else None)


def _with_parameters(target: str, parameters: dict[str, str]) -> str:
    if not parameters:
        return target
    query = "&".join(f"{name}={quote(value)}" for name, value in parameters.items())
    return f"{target}{'&' if '?' in target else '?'}{query}"


def _request(target: str, subscription: Subscription) -> bytes:
    parameters, header = subscription.parameters, ""
    if subscription.by_header and subscription.since and "-" in subscription.since:
        header = f"Last-Event-ID: {parameters.pop('since')}\r\n"
    target = _with_parameters(target, parameters)
    return f"GET {target} HTTP/1.1\r\nHost: localhost\r\n{header}\r\n".encode()


def _header(head: bytes, name: str) -> str | None:
    found = re.search(rf"^{name}: (.*?)\r?$", head.decode("latin-1"), re.IGNORECASE | re.MULTILINE)
    return found[1] if found else None


async def _connected(port: int, buffer: int) -> socket.socket:
    """Return a connected socket, with a receive buffer of this size unless it is 0."""
    sock = socket.socket()
    try:
        sock.setblocking(False)
        if buffer:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
        await asyncio.get_running_loop().sock_connect(sock, (_HOST, port))
    except BaseException:
        sock.close()
        raise
    return sock


async def _body(
    ports: Ports, subscription: Subscription, target: str
) -> AsyncIterator[bytes | Confirmed | ReceivedEnd]:
    """Request a stream, and yield its chunks."""
    async with connection(ports.http, subscription.buffer) as (reader, writer):
        writer.write(_request(target, subscription))
        head = await reader.readuntil(b"\r\n\r\n")
        if b" 204 " in head[:14]:
            yield ReceivedEnd("")
            return
        if b" 200 " not in head[:14]:
            raise SubscriptionRefused(head.decode("latin-1"))
        if _header(head, "Transfer-Encoding") is None:
            return  # to be retried later
        yield Confirmed(_header(head, "Pushd-Cursor"))
        while size := int(await reader.readline() or b"0", 16):
            yield await reader.readexactly(size)
            await reader.readexactly(2)


async def _events(ports: Ports, subscription: Subscription, target: str, *, is_json: bool) -> Items:
    rest = b""
    async for block in _body(ports, subscription, target):
        if not isinstance(block, bytes):
            yield block
            continue
        *complete, rest = (rest + block).split(b"\n\n")
        for event in complete:
            for item in _parse_event(event, is_json):
                yield item


def _parse_event(event: bytes, is_json: bool) -> list[Item]:
    fields: dict[str, list[str]] = {}
    for line in event.decode("utf-8", "replace").split("\n"):
        name, _, value = line.partition(": ")
        fields.setdefault(name, []).append(value)
    data, kind = "\n".join(fields.get("data", [])), fields.get("event", [""])[0]
    if kind in ("gap", "end", "begin") or (is_json and data):
        return _items(data)
    id = fields["id"][0] if "id" in fields else None
    return [_received(id, None, data)] if "data" in fields else []


async def _polls(ports: Ports, subscription: Subscription, target: str, pause: float) -> Items:
    if not pause:
        target += f"?timeout={subscription.poll_seconds:g}"
    subscription = subscription._replace(slow="")
    async with connection(ports.http) as (reader, writer):
        while True:
            writer.write(_request(target, subscription))
            head = await reader.readuntil(b"\r\n\r\n")
            length, cursor = int(_header(head, "Content-Length") or "0"), _header(head, "Pushd-Id")
            body = await reader.readexactly(length)
            if cursor is None:
                raise SubscriptionRefused((head + body).decode("latin-1"))
            if reason := _header(head, "Pushd-Gap"):
                yield ReceivedGap("", subscription.since or "", cursor, reason)
            for message in json.loads(body) if body else ():
                yield _received(message.get("id"), message["channel"], message.get("data"))
            yield ReceivedCursor(cursor)
            if _header(head, "Pushd-End"):
                yield ReceivedEnd("")
                return
            subscription = subscription._replace(since=cursor)
            await asyncio.sleep(pause)


async def _line_connection(ports: Ports, subscription: Subscription, format_name: str) -> AsyncIterator[bytes]:
    """Subscribe over TCP, and yield the received lines."""
    async with connection(ports.tcp, subscription.buffer) as (reader, writer):
        words = [f"{name}={value}" for name, value in subscription.parameters.items()]
        writer.write(f"FORMAT {format_name}\r\nSUB {' '.join([subscription.topics, *words])}\r\n".encode())
        while line := await reader.readuntil(b"\n"):
            if line.startswith(b"-ERR"):
                raise SubscriptionRefused(line.decode())
            yield line


async def _websocket(ports: Ports, subscription: Subscription, target: str, command: str | None) -> Items:
    connecting = connect(
        f"ws://{_HOST}:{ports.http}{target}",
        sock=await _connected(ports.http, subscription.buffer),
        subprotocols=[Subprotocol("pushd.v1")],
        compression=None,
        proxy=None,
        max_queue=2 if subscription.buffer else 16,
    )
    try:
        async with connecting as websocket:
            try:
                if command is None:
                    assert websocket.response
                    yield Confirmed(websocket.response.headers.get("Pushd-Cursor"))
                else:
                    await websocket.send(command)
                async for text in websocket:
                    for item in _items(text):
                        yield item
            finally:
                websocket.transport.abort()
    except InvalidStatus as refused:
        raise SubscriptionRefused(f"{refused.response.status_code} {refused.response.body!r}") from None
    except ConnectionClosed as closed:
        if closed.rcvd is not None and closed.rcvd.code == _ALL_ENDED:
            yield ReceivedEnd("")
