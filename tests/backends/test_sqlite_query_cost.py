"""Reading takes what it takes because of what is read, not of what there is."""

import sqlite3
from contextlib import closing

import pytest

from pushd.backends.sqlite.directory import Directory
from pushd.backends.sqlite.history_reader import HistoryReader
from pushd.backends.sqlite.log_snapshot import LogSnapshot
from pushd.core.cursor import EVERYTHING, Age, Last, MessageId, Time
from tests.system.durable import fill

MESSAGES, CHANNELS = 20_000, 2000
"""Two thousand channels are many, more than `_FEW_CHANNELS`."""
LITTLE = 10
"""Thousand instructions. A look at all messages takes two hundred, and a million would take ten thousand."""


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    directory = tmp_path_factory.mktemp("filled") / "data"
    directory.mkdir()
    fill(directory, MESSAGES, CHANNELS)
    return directory


@pytest.fixture
def steps(file):
    """Ask something, and give the answer and how many thousand instructions SQLite's machine took for it."""
    with closing(Directory(str(file)).open_reader()) as db:

        def ask(question, now=50.0):
            count = 0

            def tell():
                nonlocal count
                count += 1

            db.set_progress_handler(tell, 100)
            db.execute("BEGIN")
            try:
                return question(HistoryReader(LogSnapshot(db, 86400.0, now, MESSAGES))), count / 10
            finally:
                db.execute("COMMIT")
                db.set_progress_handler(None, 0)

        yield ask


FAR = MessageId("Filled", 5)


@pytest.mark.parametrize(
    ("topics", "count"),
    [(["c/7"], 10), (["c/7", "c/8"], 20), (["x/*"], 0), (["silent"], 0), (["c/7", "x/*"], 10)],
)
def test_a_cursor_from_long_ago_is_answered_by_index(steps, topics, count):
    opening, effort = steps(lambda answers: answers.open(topics, FAR, 1000.0))
    assert effort < LITTLE
    page, effort = steps(lambda answers: answers.page(topics, opening.position, 256, 1 << 20))
    assert (len(page.messages), page.is_last) == (count, True)
    assert effort < LITTLE


@pytest.mark.parametrize("topics", [["**"], ["c/*"], ["*/7", "c/1"]])
def test_a_page_of_a_pattern_that_covers_much_reads_a_bounded_piece(steps, topics):
    page, effort = steps(lambda answers: answers.page(topics, FAR, 256, 1 << 20))
    assert effort < 450
    assert not page.is_last or len(page.messages) < 256
    page, effort = steps(lambda answers: answers.page(["**"], FAR, 256, 1 << 20))
    assert len(page.messages) == 256
    assert effort < 20


def test_a_pattern_that_covers_few_of_many_is_read_to_the_end(steps):
    position, found, pages = FAR, [], 0
    complete = False
    while not complete:
        page, _ = steps(lambda answers, at=position: answers.page(["*/7", "*/1999"], at, 256, 1 << 20))
        found += [message.channel for message in page.messages]
        position, complete, pages = page.position, page.is_last, pages + 1
    assert found.count("c/7") == 10 and found.count("c/1999") == 10
    assert pages <= 2


@pytest.mark.parametrize("topics", [["c/7"], ["**"]])
@pytest.mark.parametrize("since", [Age(30.0), Time(0.0), Last(5), EVERYTHING], ids=str)
def test_where_to_begin_is_found_by_index(steps, topics, since):
    _, effort = steps(lambda answers: answers.open(topics, since, 1e10))
    assert effort < LITTLE


def test_a_time_is_found_without_a_look_at_all_that_is_newer(steps, file):
    with closing(sqlite3.connect(file / "history.sqlite")) as db:
        (middle,) = db.execute("SELECT time FROM message WHERE seq = 10000").fetchone()
    opening, effort = steps(lambda answers: answers.open(["**"], Time(middle), middle + 100))
    assert opening.position.seq == 9999
    assert effort < LITTLE


def test_what_is_too_old_and_not_deleted_yet_costs_little(steps):
    """All of the older half has expired, and the writer has not got to it."""
    page, effort = steps(lambda answers: answers.page(["c/7"], FAR, 256, 1 << 20), now=86400.0 + 25.0)
    assert [message.seq for message in page.messages] == list(range(10_008, MESSAGES, CHANNELS))
    assert [gap.reason for gap in page.gaps] == ["expired"]
    assert effort < LITTLE
    _, effort = steps(lambda answers: answers.open(["**"], FAR, 1000.0), now=86400.0 + 25.0)
    assert effort < LITTLE
