"""The promise to a subscriber: each message of its topics once, in id order, or a gap in its place.

Log, dispatcher and subscriber together, in any interleaving of publishes, turns and pages, while the
transport says stop and go.
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


class Scene:
    """One subscriber that comes back to a busy log, among two others who are served before it."""

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

    def come_back(self, topics: list[str], since: Since) -> None:
        """Subscribe as the hub does it."""
        self.topics = topics
        for topic in topics:
            self.dispatcher.subscribe([topic], self.peer.subscriber)
        self.catch_up = self.peer.subscriber.start_replay(topics)
        opening = self.log.open_now(topics, since, 0.0, 0.0)
        self.position = opening.position
        self.peer.subscriber.gap(self.catch_up.unreported(opening.gaps))
        self.catch_up.mark_reported(opening.known_gaps)
        self.is_live = False

    def run(self, steps: Sequence[str]) -> list[str]:
        """Do what the steps say, then all that is left to do; give what was heard."""
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
        raise AssertionError("it never catches up")

    def wanted(self, seq: int) -> list[str]:
        """All that it ought to hear, were nothing lost."""
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
def test_one_that_keeps_up_hears_everything_once_and_in_order(
    history: list[str], topics: list[str], seq: int, steps: list[str], most: int
) -> None:
    """Whatever the interleaving, and however little may be held beside the replay."""
    scene = Scene(Bounds(), QueueLimits(messages=most), Policy.DISCONNECT, history)
    cursor = min(seq, scene.log.head)
    scene.come_back(topics, at(cursor))
    heard = scene.run([step for step in steps if step != "pause"])
    assert heard == scene.wanted(cursor)


@settings(max_examples=150)
@given(st.lists(PUBLISH, max_size=6), SOME_TOPICS, st.integers(0, 6), STEPS)
def test_one_that_is_slow_within_its_limits_hears_everything_once_and_in_order(
    history: list[str], topics: list[str], seq: int, steps: list[str]
) -> None:
    scene = Scene(Bounds(), QueueLimits(), Policy.DISCONNECT, history)
    cursor = min(seq, scene.log.head)
    scene.come_back(topics, at(cursor))
    assert scene.run(steps) == scene.wanted(cursor)


@settings(max_examples=150)
@given(
    st.lists(PUBLISH, max_size=6),
    SOME_TOPICS,
    st.integers(0, 6),
    STEPS,
    st.sampled_from([1, 2, 3]),
    st.sampled_from([1, 2, 5]),
)
def test_one_that_loses_messages_is_told_a_gap_where_they_would_have_stood(
    history: list[str], topics: list[str], seq: int, steps: list[str], most: int, kept: int
) -> None:
    """Its queue drops the oldest, the history keeps little: it hears in order and never silently less."""
    scene = Scene(Bounds(messages=kept), QueueLimits(messages=most), Policy.DROP, history)
    cursor = min(seq, scene.log.head)
    scene.come_back(topics, at(cursor))
    told: set[str] = set()
    newest = 0
    for word in scene.run(steps):
        if word.startswith("gap:"):
            _, topic, start, end, reason = word.split(":")
            assert reason in ("slow", "evicted")
            covered = range(int(start.removeprefix("E-")) + 1, int(end.removeprefix("E-")) + 1)
            told |= {f"{name}:{seq}" for name, seq in scene.published if seq in covered and matches(topic, name)}
        else:
            assert int(word.partition(":")[2]) > newest
            newest = int(word.partition(":")[2])
    heard = [word for word in scene.peer.received if not word.startswith("gap:")]
    wanted = scene.wanted(cursor)
    assert set(heard) <= set(wanted)
    assert set(wanted) - set(heard) <= told


@pytest.mark.parametrize("data_only", [False, True])
@pytest.mark.parametrize("since", [EVERYTHING, Last(2)], ids=str)
@pytest.mark.parametrize("topic", ["a", "*"])
def test_one_who_asks_for_what_is_kept_hears_it_and_no_gap(topic: str, since: Since, data_only: bool) -> None:
    """A bare wire that could not tell a gap is not broken off either: there is none to tell."""
    scene = Scene(Bounds(messages=2), QueueLimits(), Policy.DISCONNECT, ["a", "a", "a", "a"], data_only=data_only)
    scene.come_back([topic], since)
    assert scene.run(["page", "a", "turn"]) == ["a:3", "a:4", "a:5"]
