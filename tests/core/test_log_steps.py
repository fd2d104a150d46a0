"""The promise of the log holds while it changes between the steps of an operation: no loss is hidden, and no message
is received twice.

The messages and gaps are compared with a list of all published messages, as in `test_log_model`. Steps are as small as
possible, so that even a log of a few messages needs several.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

from hypothesis import given, settings
from hypothesis import strategies as st

from pushd.core import log as log_module
from pushd.core import log_reader as reader_module
from pushd.core import losses as losses_module
from pushd.core.catch_up import CatchUp
from pushd.core.cursor import EVERYTHING, Age, Last, Since
from pushd.core.history import Bounds
from pushd.core.losses import LossQuery
from pushd.core.message import Gap, Message
from pushd.core.outbox import QueueLimits
from pushd.core.replay import Page, StartPosition
from pushd.core.steps import Steps
from tests.build import Log, T, at, cost, publish
from tests.core.test_log_model import BOUNDS, STEPS, TOPICS, Model, Step, covered

QUERIES = st.lists(st.sampled_from(TOPICS), min_size=1, max_size=4, unique=True)


@contextmanager
def smallest_steps() -> Iterator[None]:
    with (
        patch.object(losses_module, "STEP", 1),
        patch.object(losses_module, "_SORTED_STEP", 2),
        patch.object(reader_module, "STEP", 1),
        patch.object(log_module, "_EXPIRED_STEP", 1),
        patch.object(log_module, "_EXPIRED_BY_APPEND", 1),
        patch.object(reader_module, "_NAMES_STEP", 1),
    ):
        yield


class Reader:
    """A returning subscriber of a log that changes with each step."""

    def __init__(self, model: Model, changes: Sequence[Step], topics: Sequence[str], pause: int) -> None:
        self.model = model
        self.topics = tuple(topics)
        self.catch_up = CatchUp(topics, QueueLimits())
        self.received: list[Message] = []
        self.gaps: list[Gap] = []
        self.kept: list[Message] = []
        """The messages of the topics that were kept when the last step of `open` was done."""
        self.steps = 0
        self._changes = iter(changes)
        self._pause = pause

    def resume(self, since: Since, count: int) -> StartPosition:
        """Open and read to the end; see `test_log_model`."""
        model = self.model
        opening = self._do(model.log.reader.open(self.topics, since, model.now, model.now))
        self.kept = [each for each in model.matching(self.topics) if model.is_kept(each)]
        self.gaps += self.catch_up.reports.opened(opening)
        position = opening.position
        while True:
            page: Page = self._do(model.log.reader.page(self.topics, position, count, 1 << 30, model.now))
            assert len(page.messages) <= count
            assert page.position >= position
            self.received += page.messages
            self.gaps += self.catch_up.reports.of_page(page)
            position = page.position
            if page.is_last:
                return opening

    def _do(self, steps: Steps[T]) -> T:
        while True:
            try:
                next(steps)
            except StopIteration as end:
                result: T = end.value
                return result
            self.steps += 1
            if self.steps % self._pause == 0 and (change := next(self._changes, None)):
                self.model.run([change], expire=False)

    def is_in_gap(self, message: Message) -> bool:
        """Return whether each topic that matches a message has a gap that includes it."""
        return all(
            any(gap.topic == topic and seq_of(gap.start) < message.seq <= seq_of(gap.end) for gap in self.gaps)
            for topic in self.topics
            if covered([topic], message.channel)
        )

    def assert_complete(self, wanted: Sequence[Message]) -> None:
        seqs = [each.seq for each in self.received]
        assert seqs == sorted(set(seqs)), "received twice, or out of order"
        assert all(covered(self.topics, each.channel) for each in self.received)
        hidden = [each.seq for each in wanted if each not in self.received and not self.is_in_gap(each)]
        assert not hidden, "lost without a gap"


def seq_of(cursor: str) -> int:
    epoch, _, seq = cursor.partition("-")
    return int(seq) if epoch == "E" else 0


@settings(max_examples=300)
@given(BOUNDS, STEPS, STEPS, QUERIES, st.integers(0, 25), st.integers(1, 4), st.integers(1, 3))
def test_cursor_receives_messages_or_gaps_while_log_changes(
    bounds: Bounds, before: list[Step], meanwhile: list[Step], topics: list[str], seq: int, count: int, pause: int
) -> None:
    with smallest_steps():
        model = Model(bounds).run(before)
        cursor = at(min(seq, model.log.head))
        reader = Reader(model, meanwhile, topics, pause)
        reader.resume(cursor, count)
        reader.assert_complete([each for each in model.matching(topics, cursor.seq) if each.seq <= model.log.head])
        lost = [each for each in model.published if each.seq > cursor.seq and not model.is_kept(each)]
        assert lost or not reader.gaps, "a gap where nothing was lost"


@settings(max_examples=300)
@given(
    BOUNDS,
    STEPS,
    STEPS,
    QUERIES,
    st.sampled_from([EVERYTHING, Last(1), Last(3), Last(9), Age(2.0), Age(6.0)]),
    st.integers(1, 4),
    st.integers(1, 3),
)
def test_other_starts_receive_kept_messages_or_gaps_while_log_changes(
    bounds: Bounds,
    before: list[Step],
    meanwhile: list[Step],
    topics: list[str],
    since: Since,
    count: int,
    pause: int,
) -> None:
    with smallest_steps():
        model = Model(bounds).run(before)
        started = model.now
        reader = Reader(model, meanwhile, topics, pause)
        opening = reader.resume(since, count)
        position = opening.position
        reader.assert_complete([each for each in reader.kept if each.seq > position.seq])
        left_out = [each for each in reader.kept if each.seq <= position.seq]
        if isinstance(since, Last):
            assert not left_out or len(model.matching(topics, position.seq)) >= since.size
        elif isinstance(since, Age):
            assert all(each.time < started - since.seconds for each in left_out)
        else:
            assert not left_out


@given(BOUNDS, STEPS, STEPS, st.lists(st.tuples(QUERIES, st.integers(0, 20)), min_size=2, max_size=4))
def test_concurrent_readers_of_one_query_do_not_hide_losses(
    bounds: Bounds, before: list[Step], meanwhile: list[Step], requests: list[tuple[list[str], int]]
) -> None:
    """Their steps interleave in any order, and they share the cached query."""
    with smallest_steps():
        model = Model(bounds).run(before)
        topics = tuple(requests[0][0])
        running: dict[int, Any] = {
            min(seq, model.log.head): model.log.reader.page(
                topics, at(min(seq, model.log.head)), 99, 1 << 30, model.now
            )
            for _, seq in requests
        }
        changes = iter(meanwhile)
        while running:
            for cursor, steps in list(running.items()):
                try:
                    next(steps)
                except StopIteration as end:
                    del running[cursor]
                    reader = Reader(model, (), topics, 1)
                    reader.received, reader.gaps = list(end.value.messages), list(end.value.gaps)
                    reader.assert_complete(
                        [each for each in model.matching(topics, cursor) if each.seq <= end.value.position.seq]
                    )
            if change := next(changes, None):
                model.run([change], expire=False)


def test_message_evicted_while_page_is_read_is_a_gap_and_not_in_page() -> None:
    with smallest_steps():
        log = Log("E", Bounds(messages=3))
        for _ in range(3):
            publish(log, "a")
        steps = log.reader.page(("*",), at(0), 9, 1 << 30, 0.0)
        next(steps)
        next(steps)
        publish(log, "a")
        while True:
            try:
                next(steps)
            except StopIteration as end:
                page: Page = end.value
                break
        assert [each.seq for each in page.messages] == [2, 3, 4]
        assert page.gaps == (Gap("*", "E-0", "E-1", "evicted"),)


def test_names_are_listed_while_channels_are_created_and_deleted() -> None:
    with smallest_steps():
        log = Log("E", Bounds())
        for name in "dbca":
            publish(log, name)
        steps = log.reader.names("", "", 3)
        next(steps)
        publish(log, "e")
        log.delete("c")
        while True:
            try:
                next(steps)
            except StopIteration as end:
                assert end.value == ["a", "b", "c"]
                break


# The number of steps


def number_of_steps(steps: Steps[Any]) -> int:
    return sum(1 for _ in steps)


def test_small_query_takes_one_step() -> None:
    log = Log("E", Bounds(messages=2))
    for number in range(3000):
        publish(log, f"a/{number % 100}")
    for since in (EVERYTHING, Last(5), Age(1.0), at(0), at(2999)):
        for topics in (("a/1",), ("a/*",), ("b/*", "**")):
            assert number_of_steps(log.reader.open(topics, since, 0.0, 0.0)) == 0
            assert number_of_steps(log.reader.page(topics, at(2999), 256, 1 << 20, 0.0)) == 0
    assert number_of_steps(log.reader.names("", "", 100)) == 0


def test_repeated_query_examines_each_loss_once() -> None:
    log = Log("E", Bounds(messages=1))
    for number in range(10_000):
        publish(log, f"a/{number % 5000}")
    topics = tuple(f"{number}/*/b" for number in range(1000))
    assert 10 < number_of_steps(log.reader.page(topics, at(0), 9, 1 << 20, 0.0)) < 60
    for seq in range(0, 10_000, 1000):
        assert number_of_steps(log.reader.page(topics, at(seq), 9, 1 << 20, 0.0)) < 25, "not the 5,000 channels again"


def test_query_near_head_examines_only_later_losses() -> None:
    log = Log("E", Bounds(messages=1))
    for number in range(10_000):
        publish(log, f"a/{number % 5000}")
    query = LossQuery(("b/*",))
    assert number_of_steps(query.update(log.losses, 9900)) == 0
    assert len(log.losses.since(0, 9900)) < 200
    assert number_of_steps(LossQuery(("b/*",)).update(log.losses, 0)) > 5


def test_expiry_is_done_in_steps_and_hidden_from_readers() -> None:
    log = Log("E", Bounds(age=10.0))
    for number in range(2000):
        publish(log, f"a/{number % 7}", now=0.0)
    kept = publish(log, "a/0", now=5.0)
    steps = log.reader.page(("**",), at(0), 5000, 1 << 30, 11.0)
    assert number_of_steps(log.expire(10.0)) == 0
    next(steps)
    assert 0 < len(log) < 2001
    other = log.page_now(("a/*",), at(0), 5000, 1 << 30, 11.0)
    assert other.messages == (kept,)
    assert [gap.reason for gap in other.gaps] == ["expired"]


def test_publish_expires_a_few_messages() -> None:
    log = Log("E", Bounds(age=10.0, total_bytes=1 << 30))
    for _ in range(1000):
        publish(log, "a", now=0.0)
    publish(log, "b", now=20.0)
    assert 900 < len(log) < 1000
    assert log.bytes == len(log) * cost()
