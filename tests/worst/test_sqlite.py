"""The store on disk at the default limits, asked for what costs it most."""

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
from pushd.core.cursor import EVERYTHING, Age, Last, MessageId, Since, Time
from pushd.core.history import Bounds
from pushd.core.message import draft
from tests.worst.history import CHANNELS, EPOCH, channel, costly_patterns, fill_file, spared_garbage_collector
from tests.worst.turns import MOST_SECONDS, ReactorTurns

HEAD = 2 * CHANNELS
OLD = MessageId(EPOCH, 0)
PATTERNS = costly_patterns()


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A history at the limits."""
    directory = tmp_path_factory.mktemp("filled") / "data"
    directory.mkdir()
    fill_file(directory)
    return directory


@pytest_twisted.async_yield_fixture
async def backend(directory: Path) -> AsyncIterator[SqliteBackend]:
    """A store with that history."""
    from twisted.internet import reactor

    backend = SqliteBackend(str(directory), Bounds(messages=1), reactor, time.time, "normal")
    await backend.start(BackendEvents(lambda message: None, lambda channel: None, lambda ailment: None))
    with spared_garbage_collector():
        yield backend
    await backend.stop()


Ask = Callable[[Callable[[HistoryReader], Any]], int]


@pytest.fixture
def rows(directory: Path) -> Iterator[Ask]:
    """Answer a question, and return how many rows were looked at."""
    with closing(Directory(str(directory)).open_reader()) as db:

        def ask(question: Callable[[HistoryReader], Any], now: float = 50.0) -> int:
            seen = 0

            def spend(rows: int) -> None:
                nonlocal seen
                seen += rows

            db.execute("BEGIN")
            question(HistoryReader(LogSnapshot(db, 86400.0, now, HEAD, spend)))
            db.execute("COMMIT")
            return seen

        yield ask


@pytest.mark.parametrize("since", [OLD, MessageId("Other", 5), EVERYTHING, Time(0.0), Age(1e9)], ids=str)
def test_an_opening_walks_the_channels_once_however_many_patterns_there_are(rows: Ask, since: Since) -> None:
    many = rows(lambda answers: answers.open(PATTERNS, since, time.time()))
    assert many >= CHANNELS
    assert many <= CHANNELS + 25_000
    assert rows(lambda answers: answers.open(PATTERNS[:1], since, time.time())) == many


def test_a_page_walks_the_channels_once_and_a_bounded_piece_of_the_messages(rows: Ask) -> None:
    many = rows(lambda answers: answers.page(PATTERNS, OLD, 256, 1 << 20))
    assert CHANNELS <= many <= CHANNELS + 25_000
    assert rows(lambda answers: answers.page(PATTERNS[:1], OLD, 256, 1 << 20)) == many


def test_expired_messages_that_are_not_deleted_yet_are_walked_once(rows: Ask) -> None:
    many = rows(lambda answers: answers.open(PATTERNS, OLD, time.time()), now=86400.0 + 50.0)  # type: ignore[call-arg]
    assert CHANNELS <= many <= 2 * CHANNELS + 25_000


def test_the_newest_messages_are_looked_for_in_one_walk(rows: Ask) -> None:
    many = rows(lambda answers: answers.open(PATTERNS, Last(10), time.time()))
    assert CHANNELS - 256 <= many <= 2 * CHANNELS + 25_000


async def test_long_requests_delay_neither_the_reactor_nor_short_requests(backend: SqliteBackend) -> None:
    done: list[str] = []

    def ask(name: str, question: Any) -> "Deferred[Any]":
        async def answered() -> Any:
            answer = await question
            done.append(name)
            return answer

        return Deferred.fromCoroutine(answered())

    with ReactorTurns() as turns:
        asked = [ask("long", backend.open(PATTERNS, OLD)) for _ in range(4)]
        asked += [ask("long", backend.page(PATTERNS, OLD, 256, 1 << 20)) for _ in range(4)]
        asked += [ask("short", backend.info(channel(7))) for _ in range(10)]
        asked += [ask("short", backend.open([channel(7)], OLD)) for _ in range(10)]
        asked += [ask("short", backend.names("w/3/", "", 1000)) for _ in range(10)]
        asked += [ask("short", backend.open(["w/1/a/a/a/a/11", "none/**"], OLD))]
        answers = await gatherResults(asked)
    assert done.count("long") == 8
    assert done.index("long") >= done.count("short"), "a short request waited for a long one"
    assert not answers[0].gaps
    assert not answers[4].gaps
    assert turns.longest < MOST_SECONDS


async def test_one_pattern_among_many_still_learns_of_its_loss(backend: SqliteBackend) -> None:
    opening = await backend.open([*PATTERNS, "w/*/a/a/a/a/7"], OLD)
    assert [(gap.topic, gap.end, gap.reason) for gap in opening.gaps] == [("w/*/a/a/a/a/7", f"{EPOCH}-8", "evicted")]


async def test_what_is_answered_from_memory_takes_short_turns(backend: SqliteBackend) -> None:
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
    assert turns.longest < MOST_SECONDS


async def test_a_stop_does_not_wait_for_long_requests(directory: Path) -> None:
    from twisted.internet import reactor

    backend = SqliteBackend(str(directory), Bounds(messages=1), reactor, time.time, "normal")
    await backend.start(BackendEvents(lambda message: None, lambda channel: None, lambda ailment: None))
    asked = [Deferred.fromCoroutine(backend.open(PATTERNS, OLD)) for _ in range(20)]
    failures: list[Any] = []
    for each in asked:
        each.addErrback(failures.append)
    await backend.stop()
    await gatherResults(asked)
    assert len(failures) >= 18, "long requests were answered while the daemon was stopping"
