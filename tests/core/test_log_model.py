"""The promise of the log: a returning subscriber receives each message, or a gap if it expired, was evicted or deleted.

The log is compared with a list that enforces the same bounds in the simplest way.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from hypothesis import given, settings
from hypothesis import strategies as st

from pushd.core.channel_rules import NO_RULES, ChannelRule, ChannelRules
from pushd.core.cursor import EVERYTHING, Age, Last, Since
from pushd.core.errors import TooManyChannels
from pushd.core.history import Bounds
from pushd.core.message import Gap, Message
from pushd.core.names import matches
from tests.build import Log, at, cost, message, publish

BOOKKEEPING = cost(b"x", "a") - message(1, "a", b"x").size
CHANNELS = ["a", "b", "c/1", "c/2"]
TOPICS = [*CHANNELS, "*", "**", "c/*", "*/1", "silent"]

BOUNDS = st.builds(
    Bounds,
    messages=st.sampled_from([1, 2, 5, 0]),
    bytes=st.sampled_from([200, 45]),
    age=st.sampled_from([3.0, 10.0]),
    total_bytes=st.sampled_from([100, 4, 2, 1]).map(lambda messages: messages * cost(b"x" * 20)),
    channels=st.sampled_from([1, 2, 3, 9]),
    events=st.none(),
)

RULES = st.lists(
    st.builds(
        ChannelRule,
        match=st.sampled_from(["a", "b", "c/1", "c/*", "*", "**"]),
        messages=st.sampled_from([None, 1, 3, 0]),
        bytes=st.sampled_from([None, 20, 300]),
        age=st.sampled_from([None, 1.0, 3.0, 20.0]),
    ),
    max_size=3,
).map(ChannelRules)


def published(size: int, ttl: float | None, end: bool) -> st.SearchStrategy[tuple[object, ...]]:
    return st.tuples(st.just("publish"), st.sampled_from(CHANNELS), st.just(size), st.just(ttl), st.just(end))


STEPS = st.lists(
    st.one_of(
        published(5, None, False),
        published(5, None, False),
        published(40, None, False),
        published(5, 1.0, False),
        published(5, None, True),
        published(0, None, True),
        st.tuples(st.just("wait"), st.sampled_from([0.5, 1.0, 4.0])),
        st.tuples(st.just("wait"), st.just(4.0)),
        st.tuples(st.just("delete"), st.sampled_from(CHANNELS)),
        st.tuples(st.just("reload"), RULES),
    ),
    min_size=8,
    max_size=25,
)
SOME_TOPICS = st.lists(st.sampled_from(TOPICS), min_size=1, max_size=3, unique=True)
Step = tuple[object, ...]


@dataclass
class Kept:
    """A message in the list, and when it expires."""

    message: Message
    accepted: float
    deadline: float


class Model:
    """A log, and a list of the messages that it should keep."""

    def __init__(self, bounds: Bounds, rules: ChannelRules = NO_RULES) -> None:
        self.log = Log("E", bounds, rules)
        self.bounds = bounds
        self.rules = rules
        self.now = 0.0
        self.published: list[Message] = []
        self.kept: list[Kept] = []
        self.used: list[str] = []
        """Channels, the least recently used first."""

    def run(self, steps: Sequence[Step], *, expire: bool = True) -> "Model":
        """Apply changes to both; without `expire` the log may still have messages that are too old."""
        for name, *values in steps:
            getattr(self, str(name))(*values)
            self._expire()
        if expire:
            self.log.expire_now(self.now)
        return self

    def wait(self, seconds: float) -> None:
        self.now += seconds

    def reload(self, rules: ChannelRules) -> None:
        self.log.expire_now(self.now)
        self.log.reconfigure(rules)
        self.log.expire_now(self.now)
        self._expire()
        self.rules = rules
        for channel in CHANNELS:
            self._evict(channel)

    def delete(self, channel: str) -> None:
        self.log.delete(channel)
        self.kept = [each for each in self.kept if each.message.channel != channel]

    def publish(self, channel: str, size: int, ttl: float | None, end: bool) -> None:
        self._expire()
        try:
            message = publish(self.log, channel, b"x" * size, now=self.now, ttl=ttl, end=end)
        except TooManyChannels:
            assert len({each.message.channel for each in self.kept}) >= self.bounds.channels
            return
        self.used = [each for each in self.used if each != channel] + [channel]
        if end and not size:
            return
        self.published.append(message)
        self.kept.append(Kept(message, self.now, self.now + (ttl or 1e9)))
        self._evict(channel)
        while self.cost > self.bounds.total_bytes:
            self.kept.remove(min(self.kept, key=lambda each: self.used.index(each.message.channel)))

    def matching(self, topics: Sequence[str], after: int = 0) -> list[Message]:
        """Return the messages published to some topics after a sequence, kept or not."""
        return [each for each in self.published if each.seq > after and covered(topics, each.channel)]

    def is_kept(self, message: Message) -> bool:
        return any(each.message is message for each in self.kept)

    @property
    def cost(self) -> int:
        return sum(each.message.size + BOOKKEEPING for each in self.kept)

    def _evict(self, channel: str) -> None:
        rule = self._rule(channel)
        messages = self.bounds.messages if rule.messages is None else rule.messages
        size = self.bounds.bytes if rule.bytes is None else rule.bytes
        while own := [each for each in self.kept if each.message.channel == channel]:
            if len(own) <= messages and sum(len(each.message.data) for each in own) <= size:
                return
            self.kept.remove(own[0])

    def _expire(self) -> None:
        self.kept = [each for each in self.kept if not self._is_too_old(each) and each.deadline > self.now]

    def _is_too_old(self, each: Kept) -> bool:
        age = self._rule(each.message.channel).age
        return each.accepted < self.now - (self.bounds.age if age is None else age)

    def _rule(self, channel: str) -> ChannelRule:
        return next((rule for rule in self.rules.rules if matches(rule.match, channel)), ChannelRule(channel))


def covered(topics: Sequence[str], channel: str) -> bool:
    return any(matches(topic, channel) for topic in topics)


def resume(model: Model, topics: Sequence[str], since: Since, count: int) -> tuple[list[Message], list[Gap]]:
    """Open and read to the end, `count` messages a page; return all messages and gaps."""
    opening = model.log.open_now(topics, since, model.now, model.now)
    received: list[Message] = []
    gaps, position = list(opening.gaps), opening.position
    while opening.needs_replay:
        page = model.log.page_now(topics, position, count, 1 << 30, model.now)
        received += page.messages
        gaps += page.gaps
        position = page.position
        assert len(page.messages) <= count
        if page.is_last:
            break
    return received, gaps


@settings(max_examples=400)
@given(BOUNDS, RULES, STEPS, SOME_TOPICS, st.integers(0, 25), st.integers(1, 4))
def test_cursor_receives_kept_messages_once_in_order_and_gaps_for_the_rest(
    bounds: Bounds, rules: ChannelRules, steps: list[Step], topics: list[str], last_seq: int, count: int
) -> None:
    model = Model(bounds, rules).run(steps)
    cursor = at(min(last_seq, model.log.head))
    received, gaps = resume(model, topics, cursor, count)
    wanted = model.matching(topics, cursor.seq)
    assert [each.seq for each in received] == [each.seq for each in wanted if model.is_kept(each)]
    assert {gap.topic for gap in gaps} <= set(topics)
    lost_anywhere = any(each.seq > cursor.seq and not model.is_kept(each) for each in model.published)
    for topic in topics:
        reported = [gap for gap in gaps if gap.topic == topic]
        lost = [each.seq for each in model.matching([topic], cursor.seq) if not model.is_kept(each)]
        if lost:
            assert reported, "a loss without a gap"
            assert reported[0].start == str(cursor)
            assert max(int(gap.end.partition("-")[2]) for gap in reported) >= lost[-1], "a gap that ends too early"
        else:
            assert {gap.reason for gap in reported} <= {"unknown"}, "a gap where nothing was lost"
            assert lost_anywhere or not reported, "a gap where nothing was lost of any channel"


@given(BOUNDS, RULES, STEPS)
def test_log_keeps_and_counts_what_bounds_allow(bounds: Bounds, rules: ChannelRules, steps: list[Step]) -> None:
    model = Model(bounds, rules).run(steps)
    kept = [each.message for each in model.kept]
    assert len(model.log) == len(kept)
    assert model.log.bytes == model.cost <= bounds.total_bytes
    assert len(model.log.channels) <= bounds.channels
    for channel in CHANNELS:
        own = [each for each in kept if each.channel == channel]
        info = model.log.info(channel)
        assert (info.messages if info else 0) == len(own)
        assert (info.bytes if info else 0) == sum(len(each.data) for each in own)
        assert (info.first if info else None) == (own[0].id if own else None)


@given(BOUNDS, RULES, STEPS, SOME_TOPICS, st.integers(1, 4), st.integers(1, 12))
def test_all_last_and_duration_receive_matching_kept_messages(
    bounds: Bounds, rules: ChannelRules, steps: list[Step], topics: list[str], count: int, number: int
) -> None:
    model = Model(bounds, rules).run(steps)
    kept = [each for each in model.matching(topics) if model.is_kept(each)]
    assert resume(model, topics, EVERYTHING, count)[0] == kept
    assert resume(model, topics, Last(number), count)[0] == kept[-number:]
    young = [each for each in kept if each.time >= model.now - number]
    assert resume(model, topics, Age(float(number)), count)[0] == young
