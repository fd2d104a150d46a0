"""Connections that are cut: a client that resumes from its cursor loses nothing without a gap and gets nothing twice.

The connection is cut after each byte of what the daemon sends: in the headers, the start cursor, a gap, a message.
"""

from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple

import pytest
from twisted.internet.defer import Deferred, DeferredList, ensureDeferred

from tests.backends.redis_server import until_told
from tests.transports.bayeux_client import BayeuxPoll
from tests.transports.client import Client, Closed, Gap, Item, Received
from tests.transports.daemon import RunningDaemon, until
from tests.transports.every_client import REPORTING, each_client
from tests.transports.long_poll_client import LongPoll
from tests.transports.session_clients import SESSIONS, SessionClient
from tests.transports.stream_client import Sse

_STEP = 47
"""Every how many bytes connections are cut, except in the slow tests."""
_LONG_STEP = 229
"""The same for sessions, which need several requests for each subscription, and for durable backends."""
_CLIENTS = (*REPORTING, LongPoll, BayeuxPoll, *SESSIONS)
LAST = b"last"


class Cut:
    """Connects clients to a daemon, and aborts their connection after `left` bytes from it."""

    def __init__(self, daemon: RunningDaemon, left: int) -> None:
        self.daemon = daemon
        self.left = left
        self.lost: Deferred[None] = Deferred()

    def connect(self, listener: str, protocol: Any, *, small: bool = False) -> Any:
        """See `RunningDaemon`."""
        receive, lose = protocol.dataReceived, protocol.connectionLost

        def data_received(data: bytes) -> None:
            piece = data[: self.left]
            self.left -= len(piece)
            if piece:
                receive(piece)
            if not self.left:
                protocol.transport.abortConnection()

        def connection_lost(*reason: Any) -> None:
            lose(*reason)
            if not self.left and not self.lost.called:
                self.lost.callback(None)

        protocol.dataReceived, protocol.connectionLost = data_received, connection_lost
        return self.daemon.connect(listener, protocol, small=small)


class Exchange(NamedTuple):
    """A subscription to a prepared history."""

    topics: str
    since: str
    ids: list[str]
    """The ids of the messages that it receives; the data of the last is `LAST`."""
    reason: str | None
    """The reason of the gap that comes first."""


async def evicted(daemon: RunningDaemon) -> Exchange:
    """A cursor whose messages were evicted."""
    ids = await daemon.publish_all(*[("a", f"{number}") for number in range(6)], ("b", "x"), ("a", "last"))
    return Exchange("a", ids[1], [*ids[4:6], ids[7]], "evicted")


async def pattern(daemon: RunningDaemon) -> Exchange:
    """A pattern over several channels."""
    ids = await daemon.publish_all(*[("p/a", f"{number}") for number in range(6)], ("p/b", "x"), ("p/a", "last"))
    return Exchange("p/*", ids[1], [*ids[4:6], ids[6], ids[7]], "evicted")


async def expired(daemon: RunningDaemon) -> Exchange:
    """A cursor after which a message has expired."""
    before = await daemon.publish("a", "before")
    short = await daemon.publish("a", "short", ttl=0.02)
    after = [await daemon.publish("a", text) for text in ("after", "last")]

    async def has_expired() -> bool:
        return short not in await daemon.history("a")

    await until_told(has_expired, "the expiry")
    return Exchange("a", before, after, "expired")


async def deleted(daemon: RunningDaemon) -> Exchange:
    """A cursor of a channel that was deleted and begun anew."""
    before = await daemon.publish("a", "before")
    await daemon.publish("a", "gone")
    await daemon.request("DELETE", "/pub/a")
    return Exchange("a", before, await daemon.publish_all(("a", "again"), ("a", "last")), "evicted")


async def elsewhere(daemon: RunningDaemon) -> Exchange:
    """A cursor of another epoch."""
    return Exchange("a", "Elsewhere-7", await daemon.publish_all(("a", "1"), ("a", "last")), "epoch")


async def everything(daemon: RunningDaemon) -> Exchange:
    """The whole history, of which the oldest messages are gone."""
    ids = await daemon.publish_all(*[("a", f"{number}") for number in range(6)], ("a", "last"))
    return Exchange("a", "all", ids[4:], None)


async def newest(daemon: RunningDaemon) -> Exchange:
    """The newest messages."""
    ids = await daemon.publish_all(*[("a", f"{number}") for number in range(6)], ("a", "last"))
    return Exchange("a", "last:2", ids[5:], None)


async def recent(daemon: RunningDaemon) -> Exchange:
    """The messages of the last hour, of which some are gone."""
    ids = await daemon.publish_all(*[("a", f"{number}") for number in range(6)], ("a", "last"))
    return Exchange("a", "1h", ids[4:], "evicted")


Prepare = Callable[[RunningDaemon], Awaitable[Exchange]]
EXCHANGES = (evicted, pattern, expired, deleted, elsewhere, everything, newest, recent)


async def _size(client_class: type[Client], daemon: RunningDaemon, exchange: Exchange) -> int:
    """Return the number of bytes of a whole exchange."""
    whole = Cut(daemon, 1 << 20)
    client = client_class(whole)  # type: ignore[arg-type]
    await client.subscribe(exchange.topics, exchange.since)
    await client.until(LAST)
    client.abort()
    return (1 << 20) - whole.left


async def _cut_at(client_class: type[Client], daemon: RunningDaemon, exchange: Exchange, size: int) -> None:
    """Cut a connection after `size` bytes, resume, and check what was received on both connections."""
    cut = Cut(daemon, size)
    client = client_class(cut)  # type: ignore[arg-type]
    ensureDeferred(client.subscribe(exchange.topics, exchange.since)).addErrback(lambda failure: None)
    again = client_class(daemon)
    items: list[Item] = []

    def has_last() -> bool:
        items.extend(item for item in client.taken() if not isinstance(item, Closed))
        return any(isinstance(item, Received) and item.data == LAST for item in items)

    # A long poll may get everything in fewer answers, and so in fewer bytes, than the one that was measured.
    await until(lambda: has_last() or cut.lost.called, "the cut, or the last message")
    if has_last():
        client.abort()
    else:
        await again.subscribe(exchange.topics, client.cursor or exchange.since)
        items += await again.until(LAST)
        items.append(Received(exchange.ids[-1], None, LAST, None))
        again.abort()
    assert (size, [item.id for item in items if isinstance(item, Received)]) == (size, exchange.ids)
    reasons = {item.reason for item in items if isinstance(item, Gap)} | {client.gap, again.gap} - {None}
    assert (size, reasons) == (size, set() if exchange.reason is None else {exchange.reason})


def _step_of(client_class: type[Client]) -> int:
    return _LONG_STEP if issubclass(client_class, BayeuxPoll | SessionClient) else _STEP


@pytest.mark.parametrize("prepare", EXCHANGES, ids=lambda prepare: prepare.__name__)
@each_client(_CLIENTS)
async def test_a_client_that_is_cut_resumes_exactly(start_daemon, backend_settings, client_class, prepare):
    daemon = await start_daemon(backend_settings | {"history.messages": 3})
    exchange = await prepare(daemon)
    step = _step_of(client_class) if not backend_settings else _LONG_STEP
    for size in range(1, await _size(client_class, daemon, exchange) + 1, step):
        await _cut_at(client_class, daemon, exchange, size)


@pytest.mark.slow
@pytest.mark.parametrize("prepare", EXCHANGES, ids=lambda prepare: prepare.__name__)
async def test_an_event_source_that_is_cut_at_any_byte_resumes_exactly(start_daemon, prepare):
    daemon = await start_daemon({"history.messages": 3})
    exchange = await prepare(daemon)
    for size in range(1, await _size(Sse, daemon, exchange) + 1):
        await _cut_at(Sse, daemon, exchange, size)


@each_client(_CLIENTS)
async def test_a_client_that_is_cut_before_the_first_message_resumes_exactly(
    start_daemon, backend_settings, client_class
):
    daemon = await start_daemon(backend_settings)
    assert await daemon.publish("other", "x")
    for size in range(1, 400, 7 if client_class is Sse else _step_of(client_class)):
        channel = f"quiet/{size}"
        cut = Cut(daemon, size)
        client = client_class(cut)
        subscribed = ensureDeferred(client.subscribe(channel)).addErrback(lambda failure: None)
        await DeferredList([cut.lost, subscribed], fireOnOneCallback=True)
        if not cut.lost.called:
            client.abort()
        cursor = client.cursor
        missed = await daemon.publish(channel, "missed")
        again = client_class(daemon)
        await again.subscribe(channel, cursor)
        await daemon.publish(channel, "last")
        items = await again.until(LAST)
        expected = [] if cursor is None else [missed]
        assert (size, [item.id for item in items if isinstance(item, Received)]) == (size, expected)
        again.abort()
