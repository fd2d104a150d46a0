"""What the clients of all ways of pushing have in common: how they subscribe, what they hear, how they go away.

One class per way, each written from the protocol and not from the daemon's code: see `streams.py`, `sockets.py` and
`line_client.py`.
"""

import base64
import json
from collections import deque
from typing import Any, ClassVar, Generic, NamedTuple, TypeVar

from twisted.internet.defer import Deferred

from tests.transports.daemon import RunningDaemon

_PATIENCE = 5.0
"""Seconds to wait for what has to come."""

T = TypeVar("T")


class Received(NamedTuple):
    """A message; None stands for what this way does not tell."""

    id: str | None
    channel: str | None
    data: bytes
    event: str | None


class Gap(NamedTuple):
    """Messages of `topic` after `start` up to `end` are gone."""

    topic: str
    start: str
    end: str
    reason: str


class End(NamedTuple):
    """A channel has ended."""

    channel: str


class ErrorLine(NamedTuple):
    """A refusal that answers no command."""

    code: str


class Closed(NamedTuple):
    """The connection is over. `code` is the WebSocket's; `is_clean`: in the good order of its protocol."""

    code: int | None
    is_clean: bool


Item = Received | Gap | End | ErrorLine | Closed


class Refused(Exception):
    """The daemon said no."""

    def __init__(self, code: str | None, status: int | None = None) -> None:
        super().__init__(code, status)
        self.code = code
        self.status = status


class _Queue(Generic[T]):
    """What came and was not waited for yet."""

    def __init__(self) -> None:
        self._items: deque[T] = deque()
        self._waiting: Deferred[None] | None = None

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
    """A client, and what it has heard."""

    label: ClassVar[str]
    has_ids: ClassVar[bool] = True
    has_channels: ClassVar[bool] = True
    has_events: ClassVar[bool] = True
    reports_gaps: ClassVar[bool] = True
    """Gaps and ends too. Those that do not are the bare forms: they hold data only."""
    closes_at_end: ClassVar[bool] = True
    """Whether the daemon closes once every channel has ended."""
    is_two_way: ClassVar[bool] = False
    transport_name: ClassVar[str]
    """What the daemon calls it, in `GET /pub/CH` and in its log."""

    def __init__(self, daemon: RunningDaemon, *, small: bool = False) -> None:
        self.daemon = daemon
        self.small = small
        """Whether its receive buffer is, so that little vanishes into the kernel."""
        self.gap: str | None = None
        """The reason of a gap that was told with the yes to a subscription."""
        self.last_id: str | None = None
        """What it would come back with."""
        self.protocol: Any = None
        self._items: _Queue[Item] = _Queue()
        self._pings: _Queue[None] = _Queue()

    async def subscribe(self, topics: str, since: str | None = None, slow: str | None = None) -> None:
        """Subscribe, and wait for the yes.

        :raises Refused: it is a no.
        """
        raise NotImplementedError

    async def next(self) -> Item:
        """Wait for what comes next."""
        return await self._items.get()

    async def ping(self) -> None:
        """Wait for the next sign of life."""
        await self._pings.get()

    async def receive(self, count: int) -> list[Item]:
        """Wait for the next `count` items."""
        return [await self.next() for _ in range(count)]

    async def data(self, count: int) -> list[bytes]:
        """Wait for the next `count` items, which are messages, and give their data."""
        items = await self.receive(count)
        assert all(isinstance(item, Received) for item in items), items
        return [item.data for item in items if isinstance(item, Received)]

    async def until(self, data: bytes) -> list[Item]:
        """Wait for the message with that data; give what came before it."""
        before: list[Item] = []
        while True:
            item = await self.next()
            assert not isinstance(item, Closed), f"closed after {len(before)} items"
            if isinstance(item, Received) and item.data == data:
                return before
            before.append(item)

    @classmethod
    def as_received(cls, data: bytes, kind: str = "text") -> bytes:
        """Give what this way makes of data that was sent; `kind` is text or binary."""
        return data

    def disconnect(self) -> None:
        """Close the connection (FIN)."""
        self.protocol.transport.loseConnection()

    def abort(self) -> None:
        """Break the connection (RST)."""
        self.protocol.transport.abortConnection()

    def stall(self) -> None:
        """Read nothing any more."""
        self.protocol.transport.pauseProducing()

    def unstall(self) -> None:
        """Read on."""
        self.protocol.transport.resumeProducing()

    def deliver_result(self, item: Item | None) -> None:
        """Take what came; None is a sign of life."""
        if item is None:
            self._pings.put(None)
            return
        if isinstance(item, Received) and item.id is not None:
            self.last_id = item.id
        self._items.put(item)


def message_of(decoded: Any) -> Item | None:
    """Read a JSON message or control object; None for a ping."""
    if "id" in decoded:
        return Received(decoded["id"], decoded["channel"], _data_of(decoded), decoded.get("event"))
    match decoded["type"]:
        case "gap":
            return Gap(decoded["topic"], decoded["from"], decoded["to"], decoded["reason"])
        case "end":
            return End(decoded["channel"])
        case "ping":
            return None
    raise AssertionError(f"neither a message nor a control object: {decoded}")


def _data_of(decoded: Any) -> bytes:
    if "data_base64" in decoded:
        return base64.b64decode(decoded["data_base64"], validate=True)
    data = decoded["data"]
    return data.encode() if isinstance(data, str) else json.dumps(data, separators=(",", ":")).encode()
