"""The base class of the clients of all transports, and the items that they receive.

There is one class per transport and format. Each is written from the protocol, not from the code of the daemon: see
`stream_client.py`, `websocket_client.py` and `line_client.py`.
"""

import base64
import json
from collections import deque
from typing import Any, ClassVar, Generic, NamedTuple, TypeVar

from twisted.internet.defer import Deferred

from tests.transports.daemon import RunningDaemon

_PATIENCE = 30.0
"""Seconds to wait for an expected item."""

T = TypeVar("T")


class Received(NamedTuple):
    """A message; None stands for a field that the format does not have, and for the id of an ephemeral message."""

    id: str | None
    channel: str | None
    data: bytes
    event: str | None
    sender: str | None = None
    """The subject of the publisher, which only JSON has."""
    reply_to: str | None = None
    """The channel for the reply to a request, which only JSON has."""


class Gap(NamedTuple):
    """A gap: messages of `topic` after `start` up to `end` are missing."""

    topic: str
    start: str
    end: str
    reason: str


class End(NamedTuple):
    """A channel has ended."""

    channel: str


class ErrorLine(NamedTuple):
    """An error that is not the reply to a command."""

    code: str


class Closed(NamedTuple):
    """The connection is closed. `code` is the close code of a WebSocket; `is_clean`: as the protocol prescribes."""

    code: int | None
    is_clean: bool


Item = Received | Gap | End | ErrorLine | Closed


class Refused(Exception):
    """The daemon has refused a request or a command."""

    def __init__(self, code: str | None, status: int | None = None) -> None:
        super().__init__(code, status)
        self.code = code
        self.status = status


class _Queue(Generic[T]):
    """Received items that the test has not taken yet."""

    def __init__(self) -> None:
        self._items: deque[T] = deque()
        self._waiting: Deferred[None] | None = None

    @property
    def is_empty(self) -> bool:
        """Whether there is none."""
        return not self._items

    def take_all(self) -> list[T]:
        """Remove and return all items."""
        items, self._items = list(self._items), deque()
        return items

    def put(self, item: T) -> None:
        """Add an item."""
        self._items.append(item)
        waiting, self._waiting = self._waiting, None
        if waiting is not None:
            waiting.callback(None)

    async def get(self) -> T:
        """Wait for the next item."""
        from twisted.internet import reactor

        if not self._items:
            self._waiting = Deferred()
            await self._waiting.addTimeout(_PATIENCE, reactor)
        return self._items.popleft()


class Client:
    """A client, and a queue of the items that it has received."""

    label: ClassVar[str]
    has_ids: ClassVar[bool] = True
    has_channels: ClassVar[bool] = True
    has_events: ClassVar[bool] = True
    reports_gaps: ClassVar[bool] = True
    """Whether gaps and ends are reported in the stream. Data-only formats do not report them."""
    closes_at_end: ClassVar[bool] = True
    """Whether the daemon closes once every channel has ended."""
    is_two_way: ClassVar[bool] = False
    transport_name: ClassVar[str]
    """Its transport, as in `GET /pub/CH` and in the log."""

    def __init__(self, daemon: RunningDaemon, *, small: bool = False) -> None:
        self.daemon = daemon
        self.small = small
        """Whether its receive buffer is small, so that the kernel buffers little."""
        self.gap: str | None = None
        """The reason of a gap that was reported with the reply to a subscription."""
        self.last_id: str | None = None
        """The cursor with which it would resume: the start cursor at first, then that of the last message."""
        self.start_cursor: str | None = None
        self.begun: dict[str, str] | None = None
        """The begin object of a line or frame."""
        self.connection: str | None = None
        """The id of the connection, where the start cursor comes with it."""
        self.protocol: Any = None
        self._items: _Queue[Item] = _Queue()
        self._pings: _Queue[None] = _Queue()

    async def subscribe(self, topics: str, since: str | None = None, slow: str | None = None) -> None:
        """Subscribe, and wait for the reply.

        :raises Refused: when it is refused.
        """
        raise NotImplementedError

    @property
    def cursor(self) -> str | None:
        """The cursor with which it would resume; None when it has received none."""
        return self.last_id

    def taken(self) -> list[Item]:
        """Return the items that it has received."""
        return self._items.take_all()

    async def next(self) -> Item:
        """Return the next item."""
        return await self._items.get()

    async def ping(self) -> None:
        """Wait for the next keepalive."""
        await self._pings.get()

    async def receive(self, count: int) -> list[Item]:
        """Return the next `count` items."""
        return [await self.next() for _ in range(count)]

    async def data(self, count: int) -> list[bytes]:
        """Return the data of the next `count` items, which must be messages."""
        items = await self.receive(count)
        assert all(isinstance(item, Received) for item in items), items
        return [item.data for item in items if isinstance(item, Received)]

    async def until(self, data: bytes) -> list[Item]:
        """Wait for the message with the given data; return the items before it."""
        before: list[Item] = []
        while True:
            item = await self.next()
            assert not isinstance(item, Closed), f"closed after {len(before)} items"
            if isinstance(item, Received) and item.data == data:
                return before
            before.append(item)

    @classmethod
    def as_received(cls, data: bytes, kind: str = "text") -> bytes:
        """Return published data as the client receives it; `kind` is text or binary."""
        return data

    @classmethod
    def topics_of(cls, channel: str) -> list[str]:
        """Return the topics of a subscription to a channel, as the daemon shows them."""
        return [channel]

    def disconnect(self) -> None:
        """Close the connection (FIN)."""
        self.protocol.transport.loseConnection()

    def abort(self) -> None:
        """Break the connection (RST)."""
        self.protocol.transport.abortConnection()

    def stall(self) -> None:
        """Stop reading."""
        self.protocol.transport.pauseProducing()

    def unstall(self) -> None:
        """Continue reading."""
        self.protocol.transport.resumeProducing()

    def begin_at(self, cursor: str) -> None:
        """Take the start cursor; the header of a stream and its begin event have the same."""
        if self.start_cursor is None:
            self.start_cursor = self.last_id = cursor
        assert self.start_cursor == cursor

    def take(self, decoded: Any) -> None:
        """Queue a JSON message or control object; a begin object is kept."""
        if decoded.get("type") == "begin":
            assert self.begun is None and self._items.is_empty
            self.begun = decoded
        else:
            self.deliver_result(message_of(decoded))

    def deliver_result(self, item: Item | None) -> None:
        """Queue a received item; None is a keepalive."""
        if item is None:
            self._pings.put(None)
            return
        if isinstance(item, Received) and item.id is not None:
            self.last_id = item.id
        self._items.put(item)


def message_of(decoded: Any) -> Item | None:
    """Read a JSON message or control object; None for a ping."""
    if "type" not in decoded:
        assert ("id" in decoded) == ("prev" in decoded) == ("kept" not in decoded)
        assert decoded.get("kept", False) is False
        return Received(
            decoded.get("id"),
            decoded["channel"],
            data_of(decoded),
            decoded.get("event"),
            decoded.get("from"),
            decoded.get("reply_to"),
        )
    match decoded["type"]:
        case "gap":
            return Gap(decoded["topic"], decoded["from"], decoded["to"], decoded["reason"])
        case "end":
            return End(decoded["channel"])
        case "ping":
            return None
    raise AssertionError(f"neither a message nor a control object: {decoded}")


def data_of(decoded: Any) -> bytes:
    """Return the data of a JSON message, as bytes."""
    if "data_base64" in decoded:
        return base64.b64decode(decoded["data_base64"], validate=True)
    data = decoded["data"]
    return data.encode() if isinstance(data, str) else json.dumps(data, separators=(",", ":")).encode()
