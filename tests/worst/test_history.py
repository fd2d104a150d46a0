"""No request for the history causes a long reactor turn, with all limits at their defaults.

The log is filled directly: with the maximum number of channels, each of which has lost a message.
"""

import re
import socket
import time
from collections.abc import AsyncIterator
from unittest.mock import patch

import pytest
import pytest_twisted
from twisted.internet.defer import Deferred, DeferredList
from twisted.internet.threads import deferToThread

from pushd.backends.memory import MemoryBackend
from pushd.core.cursor import EVERYTHING, LATEST, Age, Last, MessageId, Since
from pushd.core.history import Bounds
from pushd.core.message import draft
from pushd.core.peer import DAEMON
from pushd.hub.hub import Hub
from pushd.metrics import Counters
from tests.garbage import freeze
from tests.transports.daemon import RunningDaemon
from tests.worst.turns import MAX_TURN_SECONDS, ReactorTurns

pytestmark = pytest.mark.slow

CHANNELS = 100_000
NO_MATCH = tuple(f"*/{number}/*" for number in range(1000))
"""The maximum number of patterns of a subscription, which compare two segments of each channel and match none."""
DEEP = tuple(
    "/".join(["a" if number >> bit & 1 else "*" for bit in range(10)] + ["*"] * 99 + ["end"]) for number in range(1000)
)
"""Patterns that match a deep channel except for its last segments."""

SINCE = [EVERYTHING, LATEST, Last(10_000), Age(3600.0), MessageId("E", 1), MessageId("F", 1)]


def fill_backend() -> MemoryBackend:
    """Return a backend with the maximum number of channels, each with one message and one evicted message."""
    from twisted.internet import reactor

    filled_backend = MemoryBackend(Bounds(messages=1), reactor, time.time, "E")
    names = [f"a/b{number}/c" for number in range(CHANNELS - 1000)]
    names += ["/".join(["a"] * 109 + [str(number)]) for number in range(1000)]
    now = reactor.seconds()
    for _ in range(2):
        for name in names:
            filled_backend._log.append(draft(name, b"x"), time.time(), now)
    return filled_backend


@pytest.fixture(scope="module")
def filled_backend() -> MemoryBackend:
    return fill_backend()


@pytest.mark.parametrize("topics", [NO_MATCH, DEEP, ("**",), ("none/*",)], ids=["no match", "deep", "all", "one"])
@pytest.mark.parametrize("since", SINCE, ids=str)
async def test_query_of_all_channels_has_short_turns(
    filled_backend: MemoryBackend, topics: tuple[str, ...], since: Since
) -> None:
    from twisted.internet import reactor

    hub = Hub(filled_backend, reactor, Counters())
    with ReactorTurns() as turns:
        history = await hub.queries.history(DAEMON, topics, since, 10_000, 16 << 20)
        await hub._turns.next_turn()
        await hub._turns.next_turn()
    assert turns.longest < MAX_TURN_SECONDS
    assert len(history.messages) == (10_000 if topics == ("**",) else 0)
    is_reported = isinstance(since, Age | MessageId) and topics == ("**",)
    assert bool(history.gaps) == (is_reported or since == MessageId("F", 1))


async def test_simultaneous_queries_have_short_turns(filled_backend: MemoryBackend) -> None:
    with ReactorTurns() as turns:
        opened = [
            Deferred.fromCoroutine(filled_backend.open((f"x{number}/*", *NO_MATCH[:-1]), MessageId("E", number)))
            for number in range(5)
        ]
        assert all(succeeded for succeeded, _ in await DeferredList(opened))
        names = await filled_backend.names("a/", "", 10_001)
        await filled_backend._slices.next_turn()
        await filled_backend._slices.next_turn()
    assert len(names) == 10_001
    assert names == sorted(names)
    assert turns.longest < MAX_TURN_SECONDS


async def test_simultaneous_expiry_has_short_turns() -> None:
    from twisted.internet import reactor

    filled_backend = MemoryBackend(Bounds(age=60.0), reactor, time.time, "E")
    began = reactor.seconds() - 61.0
    for number in range(200_000):
        filled_backend._log.append(draft(f"a/{number % 1000}", b"x"), time.time(), began)
    freeze()
    with ReactorTurns() as turns:
        opening = await filled_backend.open(("**",), EVERYTHING)
        page = await filled_backend.page(("**",), opening.position, 1000, 1 << 20)
        await filled_backend._slices.next_turn()
        await filled_backend._slices.next_turn()
    assert page.messages == ()
    assert len(filled_backend._log) == 0
    assert turns.count > 50
    assert turns.longest < MAX_TURN_SECONDS


async def test_eviction_of_many_messages_has_short_turns() -> None:
    from twisted.internet import reactor

    filled_backend = MemoryBackend(Bounds(total_bytes=32 << 20), reactor, time.time, "E")
    small = [draft(f"a/{number}", b"x") for number in range(50_000)]
    for each in small * 3:
        filled_backend._log.append(each, time.time(), reactor.seconds())
    kept = len(filled_backend._log)
    hub = Hub(filled_backend, reactor, Counters())
    freeze()
    with ReactorTurns() as turns:
        await hub.publish_all(DAEMON, [draft("large", b"x" * (1 << 20))] * 16)
        await hub._turns.next_turn()
        await hub._turns.next_turn()
    assert kept - len(filled_backend._log) > 5_000
    assert turns.longest < MAX_TURN_SECONDS


@pytest_twisted.async_yield_fixture
async def daemon(filled_backend: MemoryBackend) -> AsyncIterator[RunningDaemon]:
    """A daemon with default settings and all those channels."""
    running = await RunningDaemon({}).start()
    backend = running._service.hub._backend
    backend._log, backend._reader = filled_backend._log, filled_backend._reader
    yield running
    await running.stop()


def send_pipelined(port: int, requests: bytes, count: int) -> list[bytes]:
    """Send requests at once on one connection; return the status lines of this many responses."""
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
    "/history/**?since=latest",
    "/history/**?since=latest&limit=10000",
    "/poll/none/*?since=latest",
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
async def test_pipelined_requests_have_short_turns(daemon: RunningDaemon, method: str, count: int, path: str) -> None:
    with ReactorTurns() as turns:
        answers = await deferToThread(send_pipelined, daemon.ports["http"], pipelined(method, path, count), count)
    assert {answer.split()[1] for answer in answers} <= {b"200", b"204"}
    assert turns.longest < MAX_TURN_SECONDS


def read_stream(port: int, path: str, count: int) -> int:
    """Read a stream until it has sent this many messages; return the bytes."""
    with socket.create_connection(("127.0.0.1", port), timeout=30) as connection:
        connection.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        size, end = 0, b""
        while count > 0:
            received = end + connection.recv(1 << 20)
            assert len(received) > len(end)
            size += len(received) - len(end)
            count -= received.count(b'{"id"')
            end = received[-4:]
        return size


async def test_the_newest_messages_of_all_channels_are_sent_in_short_turns(daemon: RunningDaemon) -> None:
    with ReactorTurns() as turns:
        size = await deferToThread(read_stream, daemon.ports["http"], "/stream/**?since=latest", CHANNELS)
    assert size > 100 * CHANNELS
    assert turns.count > CHANNELS // 256
    assert turns.longest < MAX_TURN_SECONDS


@pytest.mark.parametrize("path", PATHS)
async def test_head_does_not_query_the_backend(daemon: RunningDaemon, path: str) -> None:
    backend = daemon._service.hub._backend
    with patch.multiple(backend, open=None, page=None, names=None, usage=None):
        answer = await daemon.request("HEAD", path)
    assert answer.status in (200, 204)
    assert "content-length" not in answer.headers or answer.status == 204


async def test_many_pipelined_requests_have_short_turns(daemon: RunningDaemon) -> None:
    path = "/history/none?since=all"
    with ReactorTurns() as turns:
        await deferToThread(send_pipelined, daemon.ports["http"], pipelined("GET", path, 2000), 2000)
    assert turns.longest < MAX_TURN_SECONDS
