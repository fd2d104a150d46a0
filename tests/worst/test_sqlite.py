"""The most expensive requests to the SQLite backend at the default limits."""

import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from twisted.internet.defer import Deferred, gatherResults

from pushd.backends.interface import BackendEvents
from pushd.backends.sqlite.backend import SqliteBackend
from pushd.backends.sqlite.directory import Directory
from pushd.backends.sqlite.history_reader import HistoryReader
from pushd.backends.sqlite.log_snapshot import LogSnapshot
from pushd.core.channel_rules import ChannelRules, Retentions
from pushd.core.cursor import EVERYTHING, LATEST, Age, Last, MessageId, Since, Time
from pushd.core.history import Bounds
from pushd.core.message import draft
from tests.garbage import freeze
from tests.worst.history import CHANNELS, EPOCH, channel, costly_patterns, fill_file
from tests.worst.turns import MAX_TURN_SECONDS, ReactorTurns

pytestmark = pytest.mark.slow

HEAD = 2 * CHANNELS
OLD = MessageId(EPOCH, 0)
PATTERNS = costly_patterns()


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory of a history at the limits."""
    directory = tmp_path_factory.mktemp("filled") / "data"
    directory.mkdir()
    fill_file(directory)
    return directory


@pytest_twisted.async_yield_fixture
async def backend(directory: Path) -> AsyncIterator[SqliteBackend]:
    """A backend with that history."""
    from twisted.internet import reactor

    backend = SqliteBackend(str(directory), Bounds(messages=1), reactor, time.time, "normal")
    await backend.start(BackendEvents(lambda message: None, lambda channel: None, lambda reason: None))
    freeze()
    yield backend
    await backend.stop()


CountRows = Callable[[Callable[[HistoryReader], Any]], int]


@pytest.fixture
def rows(directory: Path) -> Iterator[CountRows]:
    """A function that executes a query and returns how many rows it visited."""
    with closing(Directory(str(directory)).open_reader()) as db:

        def count_rows(query: Callable[[HistoryReader], Any], now: float = 50.0) -> int:
            visited = 0

            def spend(rows: int) -> None:
                nonlocal visited
                visited += rows

            db.execute("BEGIN")
            query(HistoryReader(LogSnapshot(db, Retentions(Bounds(), ChannelRules()), now, spend)))
            db.execute("COMMIT")
            return visited

        yield count_rows


@pytest.mark.parametrize("since", [OLD, MessageId("Other", 5), EVERYTHING, Time(0.0), Age(1e9)], ids=str)
def test_open_visits_each_channel_once_for_any_number_of_patterns(rows: CountRows, since: Since) -> None:
    many = rows(lambda reader: reader.open(PATTERNS, since, time.time()))
    assert many >= CHANNELS
    assert many <= CHANNELS + 25_000
    assert rows(lambda reader: reader.open(PATTERNS[:1], since, time.time())) == many


def test_page_visits_each_channel_once_and_a_bounded_part_of_the_messages(rows: CountRows) -> None:
    many = rows(lambda reader: reader.page(PATTERNS, OLD, 256, 1 << 20))
    assert CHANNELS <= many <= CHANNELS + 25_000
    assert rows(lambda reader: reader.page(PATTERNS[:1], OLD, 256, 1 << 20)) == many


def test_expired_messages_are_visited_once(rows: CountRows) -> None:
    many = rows(lambda reader: reader.open(PATTERNS, OLD, time.time()), now=86400.0 + 50.0)  # type: ignore[call-arg]
    assert CHANNELS <= many <= 2 * CHANNELS + 25_000


def test_newest_messages_are_found_in_one_walk(rows: CountRows) -> None:
    many = rows(lambda reader: reader.open(PATTERNS, Last(10), time.time()))
    assert CHANNELS - 256 <= many <= 2 * CHANNELS + 25_000


def test_newest_message_of_each_channel_is_found_in_one_walk(rows: CountRows) -> None:
    until = MessageId(EPOCH, 2 * CHANNELS)
    assert CHANNELS - 256 <= rows(lambda reader: reader.open(PATTERNS, LATEST, time.time())) <= CHANNELS + 25_000
    assert rows(lambda reader: reader.open(["**"], LATEST, time.time())) < 1000
    assert rows(lambda reader: reader.page(PATTERNS, OLD, 256, 1 << 20, until)) <= 25_000
    assert rows(lambda reader: reader.page(["**"], OLD, 256, 1 << 20, until)) < 1000


async def test_newest_messages_of_all_channels_are_read_in_short_turns(backend: SqliteBackend) -> None:
    with ReactorTurns() as turns:
        opening = await backend.open(["**"], LATEST)
        position, complete, count = opening.position, False, 0
        while not complete:
            page = await backend.page(["**"], position, 256, 1 << 20, opening.latest_until)
            position, complete, count = page.position, page.is_last, count + len(page.messages)
    assert count >= CHANNELS
    assert turns.longest < MAX_TURN_SECONDS


async def test_long_requests_do_not_delay_short_requests(backend: SqliteBackend) -> None:
    done: list[str] = []

    def record(name: str, query: Any) -> "Deferred[Any]":
        async def answered() -> Any:
            answer = await query
            done.append(name)
            return answer

        return Deferred.fromCoroutine(answered())

    with ReactorTurns() as turns:
        requests = [record("long", backend.open(PATTERNS, OLD)) for _ in range(4)]
        requests += [record("long", backend.page(PATTERNS, OLD, 256, 1 << 20)) for _ in range(4)]
        requests += [record("short", backend.info(channel(7))) for _ in range(10)]
        requests += [record("short", backend.open([channel(7)], OLD)) for _ in range(10)]
        requests += [record("short", backend.names("w/3/", "", 1000)) for _ in range(10)]
        requests += [record("short", backend.open(["w/1/a/a/a/a/11", "none/**"], OLD))]
        answers = await gatherResults(requests)
    assert done.count("long") == 8
    assert done.index("long") >= done.count("short"), "a short request waited for a long one"
    assert not answers[0].gaps
    assert not answers[4].gaps
    assert turns.longest < MAX_TURN_SECONDS


async def test_loss_of_one_pattern_among_many_is_reported(backend: SqliteBackend) -> None:
    opening = await backend.open([*PATTERNS, "w/*/a/a/a/a/7"], OLD)
    assert [(gap.topic, gap.end, gap.reason) for gap in opening.gaps] == [("w/*/a/a/a/a/7", f"{EPOCH}-8", "evicted")]


async def test_requests_answered_from_memory_have_short_turns(backend: SqliteBackend) -> None:
    published = [draft(channel(number), b"new") for number in range(10_000)]
    for first in range(0, len(published), 1000):
        await backend.publish(published[first : first + 1000])
    head = backend._tail.head
    with ReactorTurns() as turns:
        await backend.open(PATTERNS, Last(10))
        position = MessageId(EPOCH, head - 5000)
        complete, pages = False, 0
        while not complete:
            page = await backend.page(PATTERNS, position, 256, 1 << 20)
            position, complete, pages = page.position, page.is_last, pages + 1
    assert pages >= 1
    assert turns.longest < MAX_TURN_SECONDS


async def test_shutdown_does_not_wait_for_long_requests(directory: Path) -> None:
    from twisted.internet import reactor

    backend = SqliteBackend(str(directory), Bounds(messages=1), reactor, time.time, "normal")
    await backend.start(BackendEvents(lambda message: None, lambda channel: None, lambda reason: None))
    requests = [Deferred.fromCoroutine(backend.open(PATTERNS, OLD)) for _ in range(20)]
    failures: list[Any] = []
    for each in requests:
        each.addErrback(failures.append)
    await backend.stop()
    await gatherResults(requests)
    assert len(failures) >= 18, "long requests were answered while the daemon was stopping"
