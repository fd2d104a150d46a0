"""The guarantee to a subscriber: each message of its topics once, in id order, or a gap in its place.

Log, dispatcher and subscriber together, in any interleaving of publishes, turns and pages, while the transport pauses
and resumes.
"""

from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pushd.core.cursor import EVERYTHING, Last, Since
from pushd.core.delivery import Recent
from pushd.core.dispatcher import Dispatcher
from pushd.core.history import Bounds
from pushd.core.names import matches
from pushd.core.outbox import Policy, QueueLimits
from tests.build import FakePeer, Log, ReadableWire, at, publish

CHANNELS = ["a", "b", "c/1"]
SOME_TOPICS = st.lists(st.sampled_from([*CHANNELS, "*", "**", "c/*"]), min_size=1, max_size=3, unique=True)
PUBLISH = st.sampled_from(CHANNELS)
STEPS = st.lists(
    st.one_of(PUBLISH, PUBLISH, st.sampled_from(["turn", "slice", "page", "pause", "resume"])), max_size=40
)


class Reconnect:
    """A subscriber that resumes from a cursor while messages are published, after two others that are served first."""

    def __init__(
        self, bounds: Bounds, limits: QueueLimits, policy: Policy, history: Sequence[str], *, data_only: bool = False
    ) -> None:
        self.log = Log("E", bounds)
        self.recent = Recent()
        self.dispatcher = Dispatcher(self.recent)
        self.published: list[tuple[str, int]] = []
        self.peer = FakePeer(ReadableWire(data_only=data_only), limits, policy)
        for _ in range(2):
            other = FakePeer().subscribe_live("**")
            self.dispatcher.subscribe(["**"], other.subscriber)
        for channel in history:
            self._publish(channel)

    def subscribe(self, topics: list[str], since: Since) -> None:
        """Subscribe as the hub does."""
        self.topics = topics
        for topic in topics:
            self.dispatcher.subscribe([topic], self.peer.subscriber)
        self.catch_up = self.peer.subscriber.start_replay(topics)
        opening = self.log.open_now(topics, since, 0.0, 0.0)
        self.position = opening.position
        self.peer.subscriber.gap(self.catch_up.reports.opened(opening))
        self.is_live = False

    def run(self, steps: Sequence[str]) -> list[str]:
        """Run steps, then everything that is left to do; return the frames received."""
        subscriber = self.peer.subscriber
        for step in steps:
            match step:
                case "turn":
                    self._turn(1000)
                case "slice":
                    self._turn(1)
                case "page":
                    self._page()
                case "pause":
                    subscriber.pause()
                case "resume":
                    subscriber.resume()
                case channel:
                    self._publish(channel)
        subscriber.resume()
        for _ in range(1000):
            self._page()
            self._turn(1)
            if self.is_live and self.dispatcher.is_idle:
                return self.peer.received
        raise AssertionError("the replay never ends")

    def expected(self, seq: int) -> list[str]:
        """Return the frames after a sequence when no message is lost."""
        return [
            f"{channel}:{number}"
            for channel, number in self.published
            if number > seq and any(matches(topic, channel) for topic in self.topics)
        ]

    def _publish(self, channel: str) -> None:
        message = publish(self.log, channel)
        self.published.append((channel, message.seq))
        self.dispatcher.accept(message)

    def _turn(self, limit: int) -> None:
        assert self.dispatcher.run(limit) == []

    def _page(self) -> None:
        if not self.is_live and not self.peer.subscriber.is_paused:
            page = self.log.page_now(self.topics, self.position, 2, 1 << 20, 0.0)
            self.position = page.position
            self.is_live = self.peer.subscriber.replay(self.catch_up, page, self.recent)


@settings(max_examples=150)
@given(st.lists(PUBLISH, max_size=6), SOME_TOPICS, st.integers(0, 6), STEPS, st.sampled_from([1, 2, 1000]))
def test_a_subscriber_that_reads_at_once_receives_everything_once_in_order(
    history: list[str], topics: list[str], seq: int, steps: list[str], most: int
) -> None:
    """In any interleaving, and with any limit for messages held beside the replay."""
    reconnect = Reconnect(Bounds(), QueueLimits(messages=most), Policy.DISCONNECT, history)
    cursor = min(seq, reconnect.log.head)
    reconnect.subscribe(topics, at(cursor))
    received = reconnect.run([step for step in steps if step != "pause"])
    assert received == reconnect.expected(cursor)


@settings(max_examples=150)
@given(st.lists(PUBLISH, max_size=6), SOME_TOPICS, st.integers(0, 6), STEPS)
def test_a_slow_subscriber_within_its_limits_receives_everything_once_in_order(
    history: list[str], topics: list[str], seq: int, steps: list[str]
) -> None:
    reconnect = Reconnect(Bounds(), QueueLimits(), Policy.DISCONNECT, history)
    cursor = min(seq, reconnect.log.head)
    reconnect.subscribe(topics, at(cursor))
    assert reconnect.run(steps) == reconnect.expected(cursor)


@settings(max_examples=150)
@given(
    st.lists(PUBLISH, max_size=6),
    SOME_TOPICS,
    st.integers(0, 6),
    STEPS,
    st.sampled_from([1, 2, 3]),
    st.sampled_from([1, 2, 5]),
)
def test_lost_messages_are_reported_by_a_gap_in_their_place(
    history: list[str], topics: list[str], seq: int, steps: list[str], most: int, kept: int
) -> None:
    """The queue drops the oldest messages, and the history keeps few: nothing is out of order or lost silently."""
    reconnect = Reconnect(Bounds(messages=kept), QueueLimits(messages=most), Policy.DROP, history)
    cursor = min(seq, reconnect.log.head)
    reconnect.subscribe(topics, at(cursor))
    reported: set[str] = set()
    newest = 0
    for word in reconnect.run(steps):
        if word.startswith("gap:"):
            _, topic, start, end, reason = word.split(":")
            assert reason in ("slow", "evicted")
            covered = range(int(start.removeprefix("E-")) + 1, int(end.removeprefix("E-")) + 1)
            reported |= {
                f"{name}:{seq}" for name, seq in reconnect.published if seq in covered and matches(topic, name)
            }
        else:
            assert int(word.partition(":")[2]) > newest
            newest = int(word.partition(":")[2])
    received = [word for word in reconnect.peer.received if not word.startswith("gap:")]
    expected = reconnect.expected(cursor)
    assert set(received) <= set(expected)
    assert set(expected) - set(received) <= reported


@pytest.mark.parametrize("data_only", [False, True])
@pytest.mark.parametrize("since", [EVERYTHING, Last(2)], ids=str)
@pytest.mark.parametrize("topic", ["a", "*"])
def test_a_subscriber_that_asks_for_the_kept_messages_receives_them_and_no_gap(
    topic: str, since: Since, data_only: bool
) -> None:
    """Nor is a data-only wire, which cannot report a gap, disconnected: there is none to report."""
    reconnect = Reconnect(
        Bounds(messages=2), QueueLimits(), Policy.DISCONNECT, ["a", "a", "a", "a"], data_only=data_only
    )
    reconnect.subscribe([topic], since)
    assert reconnect.run(["page", "a", "turn"]) == ["a:3", "a:4", "a:5"]
