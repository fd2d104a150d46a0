"""The SQLite backend returns what the log in memory returns, whatever the operations, restarts included."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from unittest.mock import patch

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pushd.backends.interface import BackendEvents, Duplicate
from pushd.backends.sqlite import ledger, log_snapshot, loss_scan, tail
from pushd.backends.sqlite.backend import SqliteBackend
from pushd.backends.sqlite.writer_requests import TickRequest
from pushd.core.channel_rules import NO_RULES, ChannelRule, ChannelRules
from pushd.core.cursor import EVERYTHING, NOW, Age, Last, MessageId, Since, Time
from pushd.core.errors import Refusal
from pushd.core.gap_reports import GapReports
from pushd.core.history import Bounds
from pushd.core.message import Draft, Message, draft
from pushd.core.replay import Page, StartPosition
from tests.backends.threaded_clock import ThreadedClock
from tests.build import Log, cost

ALL = 1 << 30
CHANNELS = ["a", "b", "c/1", "c/2", "$presence/a", "$presence/b"]
TOPICS = [*CHANNELS, "*", "**", "c/*", "*/1", "c/**", "$presence/*", "silent"]
Step = tuple[object, ...]

BOUNDS = st.builds(
    Bounds,
    messages=st.sampled_from([2, 1, 5, 0]),
    bytes=st.sampled_from([200, 45]),
    age=st.sampled_from([4.0, 10.0]),
    total_bytes=st.sampled_from([100, 4, 2, 1]).map(lambda messages: messages * cost(b"x" * 20)),
    channels=st.sampled_from([2, 3, 9, 1]),
    events=st.builds(
        Bounds,
        messages=st.sampled_from([2, 1]),
        bytes=st.sampled_from([200]),
        age=st.sampled_from([2.0]),
        total_bytes=st.sampled_from([4, 1]).map(lambda messages: messages * cost(b"x" * 20)),
        channels=st.sampled_from([2, 1]),
        events=st.none(),
    ),
)
RULES = st.builds(
    lambda one, other: ChannelRules([ChannelRule("b", messages=1, age=one), ChannelRule("c/*", age=other)]),
    *[st.sampled_from([None, 1.0, 4.0, 20.0])] * 2,
)
DRAFTS = st.builds(
    draft,
    st.sampled_from(CHANNELS),
    st.sampled_from([b"12345", b"x" * 40, b"\x00\xff"]),
    ttl=st.sampled_from([None, None, None, 1.0, 2.5]),
    end=st.sampled_from([False, False, False, True]),
)
MARKS = st.builds(draft, st.sampled_from(CHANNELS), st.just(b""), end=st.just(True))
SINCES = st.one_of(
    st.sampled_from([NOW, EVERYTHING, MessageId("F", 3)]),
    st.builds(Last, st.integers(1, 8)),
    st.builds(Age, st.sampled_from([0.5, 1.0, 3.0, 100.0])),
    st.builds(Time, st.sampled_from([900.0, 998.0, 1000.0, 1000.5, 1001.0, 1002.5, 1004.0])),
    st.builds(lambda seq: MessageId("", seq), st.integers(0, 30)),
)
QUERIES = st.tuples(
    st.just("query"),
    st.lists(st.sampled_from(TOPICS), min_size=1, max_size=3, unique=True),
    SINCES,
    st.integers(1, 4),
)
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("publish"), st.lists(st.one_of(DRAFTS, DRAFTS, DRAFTS, MARKS), min_size=1, max_size=4)),
        st.tuples(st.just("publish"), st.lists(DRAFTS, min_size=1, max_size=2)),
        st.tuples(st.just("wait"), st.sampled_from([0.5, 1.0, 4.0])),
        st.tuples(st.just("delete"), st.sampled_from(CHANNELS)),
        st.tuples(st.just("set_wall_clock"), st.sampled_from([-2.0, -1.0, 3.0])),
        st.tuples(st.just("tick")),
        st.tuples(st.just("restart")),
        st.tuples(st.just("restart_with"), RULES),
        st.tuples(st.just("reload"), RULES),
        QUERIES,
        QUERIES,
    ),
    min_size=8,
    max_size=30,
)


class MemoryAndSqlite:
    """The log in memory and the SQLite backend, with the same operations."""

    def __init__(self, bounds: Bounds, rules: ChannelRules, directory: str) -> None:
        self.bounds = bounds
        self.rules = rules
        self.directory = directory
        self.clock = ThreadedClock()
        self.delivered: list[Message] = []
        self.expected_messages: list[Message] = []
        self.backend = self._start()
        self.log = Log(self.epoch, bounds, rules)

    def run(self, steps: list[Step]) -> None:
        for name, *values in steps:
            getattr(self, str(name))(*values)
        self.check_all()

    # Operations

    def publish(self, drafts: list[Draft]) -> None:
        expected = [self._append(each) for each in drafts]
        got = self.clock.wait(self.backend.publish(drafts))
        assert [visible(each) for each in got if not isinstance(each, Duplicate)] == [
            visible(each) for each in expected
        ]
        self.expected_messages += [each for each in expected if isinstance(each, Message)]
        assert [visible(each) for each in self.delivered] == [visible(each) for each in self.expected_messages]

    def wait(self, seconds: float) -> None:
        self.clock.rightNow += seconds

    def delete(self, channel: str) -> None:
        # The SQLite backend expires messages with each request, the log in memory only on request.
        self.log.expire_now(self.clock.seconds())
        assert self.clock.wait(self.backend.delete(channel)) == self.log.delete(channel)

    def set_wall_clock(self, seconds: float) -> None:
        self.clock.wall_offset += seconds
        self.tick()

    def tick(self) -> None:
        self.clock.wait(self._tick())
        self.log.expire_now(self.clock.seconds())

    def restart(self) -> None:
        self.clock.wait(self.backend.stop())
        self.backend = self._start()
        assert self.epoch == self.log.epoch

    def restart_with(self, rules: ChannelRules) -> None:
        self.rules = rules
        self.tick()
        self.restart()
        self._reload_log()

    def reload(self, rules: ChannelRules) -> None:
        self.rules = rules
        self.tick()
        self.backend.reconfigure(rules)
        self._reload_log()

    # Queries

    def query(self, topics: list[str], since: Since, count: int) -> None:
        if isinstance(since, MessageId) and not since.epoch:
            since = MessageId(self.epoch, since.seq)
        now, wall = self.clock.seconds(), self.clock.wall()
        expected = read_to_end(
            topics,
            self.log.open_now(topics, since, wall, now),
            lambda after: self.log.page_now(topics, after, count, ALL, now),
        )
        got = read_to_end(
            topics,
            self.clock.wait(self.backend.open(topics, since)),
            lambda after: self.clock.wait(self.backend.page(topics, after, count, ALL)),
        )
        assert got == expected

    def check_all(self) -> None:
        """Compare everything that can be queried."""
        self.log.expire_now(self.clock.seconds())
        for channel in [*CHANNELS, "silent"]:
            assert self.clock.wait(self.backend.info(channel)) == self.log.info(channel)
        for prefix, after in (("", ""), ("c/", ""), ("", "a"), ("c", "c/1")):
            assert self.clock.wait(self.backend.names(prefix, after, 10)) == self.log.names_now(prefix, after, 10)
        for topic in TOPICS:
            self.query([topic], EVERYTHING, 100)
            self.query([topic], MessageId(self.epoch, 0), 100)
        self.tick()
        usage = self.clock.wait(self.backend.usage())
        assert usage[:3] == (len(self.log), self.log.bytes, len(self.log.channels))

    def stop(self) -> None:
        self.clock.wait(self.backend.stop())

    @property
    def epoch(self) -> str:
        return self.backend._totals.epoch

    def _append(self, each: Draft) -> Message | Refusal:
        try:
            return self.log.append(each, self.clock.wall(), self.clock.seconds())
        except Refusal as refusal:
            return refusal.without_traceback()

    def _reload_log(self) -> None:
        self.log.reconfigure(self.rules)
        self.log.expire_now(self.clock.seconds())

    def _start(self) -> SqliteBackend:
        backend = SqliteBackend(self.directory, self.bounds, self.clock, self.clock.wall, "normal", self.rules)
        self.clock.wait(
            backend.start(BackendEvents(self.delivered.append, lambda channel: None, self._never_unavailable))
        )
        return backend

    async def _tick(self) -> None:
        await self.backend._submit(TickRequest(*self.backend._time()))

    def _never_unavailable(self, reason: str | None) -> None:
        raise AssertionError(reason)


def read_to_end(topics: list[str], start: StartPosition, page: Callable[[MessageId], Page]) -> object:
    """Read all pages from a start position; return everything that a subscriber receives."""
    delivered: list[object] = []
    reports = GapReports()
    gaps = reports.opened(start)
    position, complete = start.position, False
    ended: tuple[str, ...] = ()
    while not complete:
        read = page(position)
        gaps += reports.of_page(read)
        delivered += map(visible, read.messages)
        position, complete, ended = read.position, read.is_last, read.ended
    return delivered, [(gap.topic, gap.end, gap.reason) for gap in gaps], position, ended, start.is_complete


def visible(result: Message | Refusal) -> object:
    """Return all fields of a message, or the type and text of a refusal."""
    if isinstance(result, Refusal):
        return type(result), str(result)
    return tuple(getattr(result, name) for name in Message.__struct_fields__)


@contextmanager
def small_limits(tail_messages: int, few: int, oldest: int) -> Iterator[str]:
    """Lower the limits of the tail, of few channels and of entries; yield an empty directory."""
    with (
        patch.object(tail, "_MAX_MESSAGES", tail_messages),
        patch.object(log_snapshot, "_FEW_CHANNELS", few),
        patch.object(ledger, "_OLDEST_ENTRIES", oldest),
        patch.object(loss_scan, "_EXPIRED_ROWS", max(few, oldest)),
        TemporaryDirectory(dir=_memory()) as directory,
    ):
        yield directory


def _memory() -> str | None:
    """Return a directory in memory, if there is one."""
    return "/dev/shm" if Path("/dev/shm").is_dir() else None


SIZES = st.sampled_from([(10_000, 1000, 64), (0, 1000, 1), (0, 0, 2), (2, 2, 1)])


@pytest.mark.slow
@settings(max_examples=150, suppress_health_check=[HealthCheck.too_slow])
@given(SIZES, BOUNDS, st.one_of(st.just(NO_RULES), RULES), STEPS)
def test_memory_and_sqlite_return_the_same_results(
    limits: tuple[int, int, int], bounds: Bounds, rules: ChannelRules, steps: list[Step]
) -> None:
    compare(limits, bounds, rules, steps)


def compare(limits: tuple[int, int, int], bounds: Bounds, rules: ChannelRules, steps: list[Step]) -> None:
    """Run the same steps on both, and compare the results."""
    with small_limits(*limits) as directory:
        backends = MemoryAndSqlite(bounds, rules, directory)
        try:
            backends.run(steps)
        finally:
            backends.stop()


def test_loss_that_was_found_before_its_channel_was_forgotten_is_unknown() -> None:
    bounds = Bounds(messages=0, channels=1)
    steps: list[Step] = [("publish", [draft(channel, b"x")]) for channel in ("a", "c/1")]
    steps += [("query", ["c/*"], EVERYTHING, 1), ("publish", [draft("a", b"x")])]
    compare((10_000, 1000, 64), bounds, NO_RULES, steps)
