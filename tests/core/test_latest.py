"""The newest message of each channel, while the log changes between the steps of an operation."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from unittest.mock import patch

from hypothesis import given, settings
from hypothesis import strategies as st

from pushd.core import latest as latest_module
from pushd.core import log_reader as reader_module
from pushd.core.cursor import LATEST
from pushd.core.history import Bounds
from pushd.core.latest import ReadLimits, before_newest, newest_of, scan_newest
from pushd.core.message import Message
from pushd.core.names import Interest
from pushd.core.replay import Page
from pushd.core.steps import Steps
from tests.build import Log, T, at, done, publish

CHANNELS = ["a", "b", "a/x", "a/y", "b/x"]
TOPICS = [("a",), ("a", "b", "none"), ("a/*",), ("**",), ("b", "a/*"), ("none/*",)]
PUBLISH = st.tuples(st.just("publish"), st.sampled_from(CHANNELS))
CHANGES = st.one_of(PUBLISH, PUBLISH, PUBLISH, st.tuples(st.just("delete"), st.sampled_from(CHANNELS)))
ALL = ReadLimits(100, 1 << 30, 1 << 30)


@contextmanager
def smallest_steps(effort: int) -> Iterator[None]:
    with (
        patch.object(latest_module, "STEP", 1),
        patch.object(reader_module, "STEP", 1),
        patch.object(reader_module, "_PAGE_EFFORT", effort),
    ):
        yield


class ChangingLog:
    """A log that changes with each step, and the messages that were the newest of their channels meanwhile."""

    def __init__(self, bounds: Bounds, topics: Sequence[str], changes: Sequence[tuple[str, str]]) -> None:
        self.log = Log("E", bounds)
        self.upto = 0
        self.candidates: set[int] = set()
        self.published: list[Message] = []
        self._covers = Interest(topics).covers
        self._changes = iter(changes)

    def change(self) -> None:
        """Apply the next change, if any is left."""
        self._observe()
        match next(self._changes, None):
            case ("publish", channel):
                self.published.append(publish(self.log, channel))
            case ("delete", channel):
                self.log.delete(channel)
        self._observe()

    def do(self, steps: Steps[T]) -> T:
        """Run steps, with a change after each."""
        while True:
            try:
                next(steps)
            except StopIteration as end:
                result: T = end.value
                self.change()
                return result
            self.change()

    def newest(self) -> set[int]:
        """Return the sequences of the newest messages now."""
        found = {each.channel: each.seq for each in self.log.timeline.after(0) if each.seq <= self.upto}
        return {seq for channel, seq in found.items() if self._covers(channel)}

    def _observe(self) -> None:
        self.candidates |= self.newest()


@settings(max_examples=300)
@given(
    st.lists(PUBLISH, max_size=12),
    st.lists(CHANGES, max_size=30),
    st.sampled_from(TOPICS),
    st.sampled_from([1, 2, 1000]),
    st.sampled_from([1, 2, 100]),
    st.sampled_from([1, 3, 1000]),
)
def test_each_newest_message_that_stays_is_read_once_in_id_order(
    before: list[tuple[str, str]],
    changes: list[tuple[str, str]],
    topics: tuple[str, ...],
    messages: int,
    count: int,
    effort: int,
) -> None:
    model = ChangingLog(Bounds(messages=messages), topics, changes)
    for _, channel in before:
        publish(model.log, channel)
    model.upto = model.log.head
    at_start = model.newest()
    read: list[int] = []
    with smallest_steps(effort):
        opening = model.do(model.log.reader.open(topics, LATEST, 0.0, 0.0))
        assert opening.latest_until == at(model.upto)
        position, is_last = opening.position, opening.position == opening.latest_until
        assert all(seq > position.seq for seq in at_start & {each.seq for each in model.log.timeline.after(0)})
        while not is_last:
            steps = model.log.reader.page(topics, position, count, 1 << 30, 0.0, opening.latest_until)
            page: Page = model.do(steps)
            assert (page.gaps, len(page.messages) <= count, page.position > position) == ((), True, True)
            read += [each.seq for each in page.messages]
            position, is_last = page.position, page.is_last
    assert position == opening.latest_until
    assert read == sorted(set(read))
    assert model.candidates.issuperset(read)
    assert {seq for seq in at_start if model.log.timeline.get(seq)} <= set(read)


def test_start_is_before_the_oldest_newest_message() -> None:
    log = Log("E", Bounds())
    for channel in ("a", "b", "a", "c", "b"):
        publish(log, channel)
    channels = log.channels.active()
    assert done(before_newest(channels, lambda name: name != "c", 5)) == 2
    assert done(before_newest(channels, lambda name: name == "b", 4)) == 1
    assert done(before_newest(channels, lambda name: False, 5)) == 5


def test_both_ways_to_read_have_the_same_limits() -> None:
    log = Log("E", Bounds())
    for channel in ("a", "b", "a", "c", "b"):
        publish(log, channel, b"12345")
    channels = log.channels.active()
    size = 5 + len("a")
    for limits in (
        ALL,
        ALL._replace(messages=2),
        ALL._replace(size=size),
        ALL._replace(size=1),
        ALL._replace(messages=3),
    ):
        for after in range(6):
            found = newest_of(channels, after, 5, limits)
            assert done(scan_newest(log, lambda name: True, after, 5, limits))[0] == found[0]
    assert [each.seq for each in newest_of(channels, 0, 5, ALL)[0]] == [3, 4, 5]
    assert newest_of(channels, 0, 5, ALL._replace(messages=2))[1] == 4
    assert newest_of(channels, 0, 5, ALL)[1] == 5


def test_a_scan_ends_after_its_effort() -> None:
    log = Log("E", Bounds(messages=5000))
    for _ in range(2000):
        publish(log, "a")
    messages, seq = done(scan_newest(log, lambda name: True, 0, 2000, ALL._replace(effort=600)))
    assert (messages, seq) == ([], 1024)
