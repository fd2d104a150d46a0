"""The cost of a query depends on its result, not on the size of the history."""

import sqlite3
from contextlib import closing

import pytest

from pushd.backends.sqlite.directory import Directory
from pushd.backends.sqlite.history_reader import HistoryReader
from pushd.backends.sqlite.log_snapshot import LogSnapshot
from pushd.core.channel_rules import ChannelRules, Retentions
from pushd.core.cursor import EVERYTHING, Age, Last, MessageId, Time
from pushd.core.history import Bounds
from tests.system.durable import fill

MESSAGES, CHANNELS = 20_000, 2000
"""Two thousand channels are many, more than `_FEW_CHANNELS`."""
LOW_COST = 10
"""Thousands of instructions. A scan of all messages takes two hundred, and of a million messages ten thousand."""


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    directory = tmp_path_factory.mktemp("filled") / "data"
    directory.mkdir()
    fill(directory, MESSAGES, CHANNELS)
    return directory


@pytest.fixture
def steps(file):
    """Return a function that runs a query; it returns the result and the cost, in thousands of SQLite instructions."""
    with closing(Directory(str(file)).open_reader()) as db:

        def run(query, now=50.0):
            count = 0

            def on_progress():
                nonlocal count
                count += 1

            db.set_progress_handler(on_progress, 100)
            db.execute("BEGIN")
            try:
                return query(HistoryReader(LogSnapshot(db, Retentions(Bounds(), ChannelRules()), now))), count / 10
            finally:
                db.execute("COMMIT")
                db.set_progress_handler(None, 0)

        yield run


FAR = MessageId("Filled", 5)


@pytest.mark.parametrize(
    ("topics", "count"),
    [(["c/7"], 10), (["c/7", "c/8"], 20), (["x/*"], 0), (["silent"], 0), (["c/7", "x/*"], 10)],
)
def test_old_cursor_is_answered_by_index(steps, topics, count):
    start, cost = steps(lambda reader: reader.open(topics, FAR, 1000.0))
    assert cost < LOW_COST
    page, cost = steps(lambda reader: reader.page(topics, start.position, 256, 1 << 20))
    assert (len(page.messages), page.is_last) == (count, True)
    assert cost < LOW_COST


@pytest.mark.parametrize("topics", [["**"], ["c/*"], ["*/7", "c/1"]])
def test_page_of_a_pattern_with_many_matches_reads_a_bounded_number_of_rows(steps, topics):
    page, cost = steps(lambda reader: reader.page(topics, FAR, 256, 1 << 20))
    assert cost < 450
    assert not page.is_last or len(page.messages) < 256
    page, cost = steps(lambda reader: reader.page(["**"], FAR, 256, 1 << 20))
    assert len(page.messages) == 256
    assert cost < 20


def test_pattern_with_few_matches_among_many_channels_is_replayed_to_the_end(steps):
    position, found, pages = FAR, [], 0
    complete = False
    while not complete:
        page, _ = steps(lambda reader, at=position: reader.page(["*/7", "*/1999"], at, 256, 1 << 20))
        found += [message.channel for message in page.messages]
        position, complete, pages = page.position, page.is_last, pages + 1
    assert found.count("c/7") == 10 and found.count("c/1999") == 10
    assert pages <= 2


@pytest.mark.parametrize("topics", [["c/7"], ["**"]])
@pytest.mark.parametrize("since", [Age(30.0), Time(0.0), Last(5), EVERYTHING], ids=str)
def test_start_position_is_found_by_index(steps, topics, since):
    _, cost = steps(lambda reader: reader.open(topics, since, 1e10))
    assert cost < LOW_COST


def test_time_is_found_without_a_scan_of_newer_messages(steps, file):
    with closing(sqlite3.connect(file / "history.sqlite")) as db:
        (middle,) = db.execute("SELECT time FROM message WHERE seq = 10000").fetchone()
    start, cost = steps(lambda reader: reader.open(["**"], Time(middle), middle + 100))
    assert start.position.seq == 9999
    assert cost < LOW_COST


def test_expired_messages_that_still_have_rows_cost_little(steps):
    """The older half has expired, but the writer has not removed it."""
    page, cost = steps(lambda reader: reader.page(["c/7"], FAR, 256, 1 << 20), now=86400.0 + 25.0)
    assert [message.seq for message in page.messages] == list(range(10_008, MESSAGES, CHANNELS))
    assert [gap.reason for gap in page.gaps] == ["expired"]
    assert cost < LOW_COST
    _, cost = steps(lambda reader: reader.open(["**"], FAR, 1000.0), now=86400.0 + 25.0)
    assert cost < LOW_COST
