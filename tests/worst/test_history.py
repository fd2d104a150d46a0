"""Whatever a peer asks of the history, with all limits at their defaults, no turn of the reactor takes long.

The log is filled without the network: with as many channels as there may be, each of which has lost a message.
"""

import gc
import re
import socket
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from unittest.mock import patch

import pytest
import pytest_twisted
from twisted.internet.defer import Deferred, DeferredList
from twisted.internet.threads import deferToThread

from pushd.backends.memory import MemoryBackend
from pushd.core.cursor import EVERYTHING, Age, Last, MessageId, Since
from pushd.core.history import Bounds
from pushd.core.message import draft
from pushd.hub.hub import Hub
from pushd.metrics import Counters
from tests.transports.daemon import RunningDaemon
from tests.worst.turns import MOST_SECONDS, ReactorTurns

CHANNELS = 100_000
NO_MATCH = tuple(f"*/{number}/*" for number in range(1000))
"""As many patterns as a subscription may have, which look at two segments of each channel and match none."""
DEEP = tuple(
    "/".join(["a" if number >> bit & 1 else "*" for bit in range(10)] + ["*"] * 99 + ["end"]) for number in range(1000)
)
"""Patterns that match a deep channel almost to its end."""

SINCE = [EVERYTHING, Last(10_000), Age(3600.0), MessageId("E", 1), MessageId("F", 1)]


@contextmanager
def frozen() -> Iterator[None]:
    """Spare the garbage collector what stays, as the daemon does."""
    threshold = gc.get_threshold()
    gc.collect()
    gc.freeze()
    gc.set_threshold(2_000, 5, 2_000)
    try:
        yield
    finally:
        gc.set_threshold(*threshold)
        gc.unfreeze()


def backend() -> MemoryBackend:
    """A store with as many channels as there may be, each with one message and one that was let go."""
    from twisted.internet import reactor

    store = MemoryBackend(Bounds(messages=1), reactor, time.time, "E")
    names = [f"a/b{number}/c" for number in range(CHANNELS - 1000)]
    names += ["/".join(["a"] * 109 + [str(number)]) for number in range(1000)]
    now = reactor.seconds()
    for _ in range(2):
        for name in names:
            store._log.append(draft(name, b"x"), time.time(), now)
    return store


@pytest.fixture(scope="module")
def store() -> Iterator[MemoryBackend]:
    made = backend()
    with frozen():
        yield made


@pytest.mark.parametrize("topics", [NO_MATCH, DEEP, ("**",), ("none/*",)], ids=["no match", "deep", "all", "one"])
@pytest.mark.parametrize("since", SINCE, ids=str)
async def test_no_query_of_all_channels_takes_a_long_turn(
    store: MemoryBackend, topics: tuple[str, ...], since: Since
) -> None:
    from twisted.internet import reactor

    hub = Hub(store, reactor, Counters())
    with ReactorTurns() as turns:
        recalled = await hub.history(topics, since, 10_000, 16 << 20)
        await hub._turns.next_turn()
        await hub._turns.next_turn()
    assert turns.longest < MOST_SECONDS
    assert len(recalled.messages) == (10_000 if topics == ("**",) else 0)
    is_told = isinstance(since, Age | MessageId) and topics == ("**",)
    assert bool(recalled.gaps) == (is_told or since == MessageId("F", 1))


async def test_many_queries_at_once_take_no_long_turn(store: MemoryBackend) -> None:
    with ReactorTurns() as turns:
        asked = [
            Deferred.fromCoroutine(store.open((f"x{number}/*", *NO_MATCH[:-1]), MessageId("E", number)))
            for number in range(5)
        ]
        assert all(succeeded for succeeded, _ in await DeferredList(asked))
        names = await store.names("a/", "", 10_001)
        await store._slices.next_turn()
        await store._slices.next_turn()
    assert len(names) == 10_001
    assert names == sorted(names)
    assert turns.longest < MOST_SECONDS


async def test_messages_that_expire_all_at_once_take_no_long_turn() -> None:
    from twisted.internet import reactor

    store = MemoryBackend(Bounds(age=60.0), reactor, time.time, "E")
    began = reactor.seconds() - 61.0
    for number in range(200_000):
        store._log.append(draft(f"a/{number % 1000}", b"x"), time.time(), began)
    with frozen(), ReactorTurns() as turns:
        opening = await store.open(("**",), EVERYTHING)
        page = await store.page(("**",), opening.position, 1000, 1 << 20)
        await store._slices.next_turn()
        await store._slices.next_turn()
    assert page.messages == ()
    assert len(store._log) == 0
    assert turns.count > 50
    assert turns.longest < MOST_SECONDS


async def test_large_messages_that_push_out_many_small_ones_take_no_long_turn() -> None:
    from twisted.internet import reactor

    store = MemoryBackend(Bounds(total_bytes=32 << 20), reactor, time.time, "E")
    small = [draft(f"a/{number}", b"x") for number in range(50_000)]
    for each in small * 3:
        store._log.append(each, time.time(), reactor.seconds())
    kept = len(store._log)
    hub = Hub(store, reactor, Counters())
    with frozen(), ReactorTurns() as turns:
        await hub.publish_all([draft("large", b"x" * (1 << 20))] * 16)
        await hub._turns.next_turn()
        await hub._turns.next_turn()
    assert kept - len(store._log) > 5_000
    assert turns.longest < MOST_SECONDS


@pytest_twisted.async_yield_fixture
async def daemon(store: MemoryBackend) -> AsyncIterator[RunningDaemon]:
    """A daemon at its defaults with all those channels."""
    running = await RunningDaemon({}).start()
    running._service.hub._backend._log = store._log
    yield running
    await running.stop()


def ask(port: int, requests: bytes, count: int) -> list[bytes]:
    """Send requests at once on one connection; return the status lines of so many answers, read to the end."""
    with socket.create_connection(("127.0.0.1", port), timeout=30) as connection:
        connection.sendall(requests)
        received = b""
        while chunk := connection.recv(1 << 20):
            received += chunk
    answers = re.findall(rb"(?:^|\n)(HTTP/1\.1 [0-9]+)", received)
    assert len(answers) == count, received[:200]
    return answers


def pipelined(method: str, path: str, count: int) -> bytes:
    request = f"{method} {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()
    last = f"{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode()
    return request * (count - 1) + last


PATHS = [
    "/history/**?since=all",
    "/history/**?since=all&limit=10000",
    "/history/none/*?since=E-1",
    "/history/**?since=last:10000&limit=10000",
    "/history/**?since=1h",
    "/poll/none/*?since=all",
    "/channels?limit=10000",
    "/channels?prefix=zzz",
    "/metrics",
    "/connections?limit=1000",
]


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize(("method", "count"), [("HEAD", 20), ("GET", 5)])
async def test_pipelined_requests_take_no_long_turn(daemon: RunningDaemon, method: str, count: int, path: str) -> None:
    with ReactorTurns() as turns:
        answers = await deferToThread(ask, daemon.ports["http"], pipelined(method, path, count), count)
    assert {answer.split()[1] for answer in answers} <= {b"200", b"204"}
    assert turns.longest < MOST_SECONDS


@pytest.mark.parametrize("path", PATHS)
async def test_head_asks_nothing_of_the_store(daemon: RunningDaemon, path: str) -> None:
    backend = daemon._service.hub._backend
    with patch.multiple(backend, open=None, page=None, names=None, usage=None):
        answer = await daemon.request("HEAD", path)
    assert answer.status in (200, 204)
    assert "content-length" not in answer.headers or answer.status == 204


async def test_many_short_requests_on_one_connection_leave_turns_to_others(daemon: RunningDaemon) -> None:
    path = "/history/none?since=all"
    with ReactorTurns() as turns:
        await deferToThread(ask, daemon.ports["http"], pipelined("GET", path, 2000), 2000)
    assert turns.longest < MOST_SECONDS
