"""Nodes on one Redis in this process, ears that note what they hear, and the judgement whether that was all of it."""

import re
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, NamedTuple

from twisted.internet.defer import Deferred, DeferredList
from twisted.internet.task import deferLater

from pushd.backends.redis.address import parse_url
from pushd.backends.redis.backend import RedisBackend, RedisOptions
from pushd.core.cursor import NOW, Since
from pushd.core.delivery import StatelessWire
from pushd.core.errors import Refusal, Unavailable
from pushd.core.grant import FULL
from pushd.core.history import Bounds
from pushd.core.message import Gap, Message, draft
from pushd.core.names import matches
from pushd.core.outbox import Policy, QueueLimits
from pushd.core.peer import DAEMON, Peer
from pushd.core.subscriber import Subscriber
from pushd.hub.hub import Hub
from pushd.hub.publishing import Receipt
from pushd.metrics import Counters
from tests.backends.changed_scripts import change_scripts
from tests.backends.redis_server import until

_SEPARATOR = b"\x1e"
_NUMBERED = re.compile(r"([a-z]+)([0-9]+)(~?)")
"""The texts of a `Publisher`: the ephemeral message after each has a tilde."""


class _Notes(StatelessWire):
    """A wire of what is needed to judge."""

    data_only = False

    def message(self, message: Message) -> bytes:
        """Say id, channel and data, and of an ephemeral message channel and data."""
        if not message.is_kept:
            return b"t %b %b" % (message.channel.encode(), message.data) + _SEPARATOR
        return b"m %b %b %b" % (message.id.encode(), message.channel.encode(), message.data) + _SEPARATOR

    def gap(self, gap: Gap) -> bytes:
        """Say a gap."""
        return ("g " + " ".join(gap)).encode() + _SEPARATOR

    def end(self, channel: str) -> bytes:
        """Say an end."""
        return b"e " + channel.encode() + _SEPARATOR

    def ping(self) -> bytes:
        """Say nothing."""
        return b""


_NOTES = _Notes()


class Heard(NamedTuple):
    """A message that came."""

    id: str
    channel: str
    data: str

    @property
    def place(self) -> tuple[str, int]:
        """Give epoch and sequence."""
        epoch, _, seq = self.id.rpartition("-")
        return epoch, int(seq)


class Passed(NamedTuple):
    """An ephemeral message that came."""

    channel: str
    data: str


class Ear:
    """A subscriber that notes everything."""

    def __init__(self, hub: Hub, topics: Sequence[str], transport: str = "ear", peer: Peer | None = None) -> None:
        self._hub = hub
        self.topics = tuple(topics)
        self.events: list[Heard | Gap | Passed] = []
        self.ends: list[str] = []
        self.given_up: Refusal | None = None
        self.subscriber = Subscriber(
            self, _NOTES, QueueLimits(100_000, 1 << 30), Policy.DISCONNECT, peer or Peer(transport, "::1", FULL)
        )
        hub.add(self.subscriber)

    @property
    def heard(self) -> list[Heard]:
        """Give the messages."""
        return [event for event in self.events if isinstance(event, Heard)]

    @property
    def texts(self) -> list[str]:
        """Give what the messages say."""
        return [each.data for each in self.heard]

    @property
    def all_texts(self) -> list[str]:
        """Give what the messages say, with the ephemeral ones."""
        return [event.data for event in self.events if not isinstance(event, Gap)]

    @property
    def gaps(self) -> list[Gap]:
        """Give the gaps."""
        return [event for event in self.events if isinstance(event, Gap)]

    def write(self, data: bytes) -> None:
        """Take frames."""
        for frame in data.split(_SEPARATOR)[:-1]:
            kind, _, rest = frame.decode().partition(" ")
            if kind == "m":
                self.events.append(Heard(*rest.split(" ", 2)))
            elif kind == "t":
                self.events.append(Passed(*rest.split(" ", 1)))
            elif kind == "g":
                self.events.append(Gap(*rest.split(" ")))
            else:
                self.ends.append(rest)

    def topics_ended(self) -> None:
        """Stay subscribed."""

    def close(self, why: Refusal) -> None:
        """Record the refusal, and leave the hub."""
        self.given_up = why
        self._hub.remove(self.subscriber, why)

    def abort(self) -> None:
        """Do nothing: there is no socket."""


class Node:
    """A hub with its store in Redis.

    The lease clock goes on by at most a fifth of a term at a time, as with the usual term of ten seconds. So a short
    lease does not end while the process of all nodes is stopped for a moment.
    """

    def __init__(self, url: str, bounds: Bounds | None = None, clock: Any = None, **options: Any) -> None:
        if clock is None:
            from twisted.internet import reactor as clock
        own = RedisOptions(**options)
        self.backend = RedisBackend(parse_url(url), own, bounds or Bounds(), clock, time.time)
        change_scripts(self.backend, (b"MOST_PASSED = 2000", b"MOST_PASSED = %d" % round(200 * own.lease_seconds)))
        self.hub = Hub(self.backend, clock, Counters())
        self.accepted: list[Heard] = []
        self.refused: list[tuple[str, Refusal]] = []

    async def start(self) -> "Node":
        """Start, and wait until it is well."""
        await self.hub.start()
        await self.until_well()
        return self

    async def until_well(self) -> None:
        """Wait until a beat came back."""
        backend = self.backend
        await until(
            lambda: (
                self.hub.unavailable_reason is None
                and backend._feed_link.protocol is not None
                and backend._commands.link.protocol is not None
                and backend._feed.is_live
            ),
            f"a node that is well: {self.hub.unavailable_reason}",
        )

    async def ear(self, *topics: str, since: Since = NOW, transport: str = "ear") -> Ear:
        """Subscribe."""
        ear = Ear(self.hub, topics, transport)
        opening = await self.hub.subscribe(ear.subscriber, topics, since)
        await self.hub.replay_and_go_live(ear.subscriber, opening)
        return ear

    async def publish(self, channel: str, text: str, **rest: Any) -> Receipt:
        """Publish, and note what became of it."""
        try:
            receipt = await self.hub.publish(DAEMON, draft(channel, text.encode(), **rest))
        except Refusal as refusal:
            self.refused.append((text, refusal))
            raise
        if receipt.id:
            self.accepted.append(Heard(receipt.id, channel, text))
        return receipt

    async def try_to_publish(self, channel: str, text: str) -> None:
        """Publish, be it accepted or refused as unavailable, and say so in an ephemeral message."""
        with suppress(Unavailable):
            await self.publish(channel, text)
        with suppress(Unavailable):
            await self.hub.publish(DAEMON, draft(channel, f"{text}~".encode(), keep=False))

    async def stop(self) -> None:
        """Stop."""
        await self.hub.stop()


class Publisher:
    """Publishes to some channels, one message after the other through one node, until it is told to stop."""

    def __init__(self, node: Node, channels: Sequence[str], name: str, pause: float = 0.002) -> None:
        self._node = node
        self._channels = channels
        self._name = name
        self._pause = pause
        self._is_stopping = False
        self.count = 0
        self._running = Deferred.fromCoroutine(self._run())

    async def stop(self) -> None:
        """Stop, and wait for the last answer."""
        self._is_stopping = True
        await self._running

    async def _run(self) -> None:
        from twisted.internet import reactor

        while not self._is_stopping:
            channel = self._channels[self.count % len(self._channels)]
            self.count += 1
            await self._node.try_to_publish(channel, f"{self._name}{self.count}")
            await deferLater(reactor, self._pause)


def judge(ear: Ear, accepted: Sequence[Heard], *, phantoms: Sequence[str] = (), gaps: bool = True) -> None:
    """Judge whether an ear that listened all the time heard all that was accepted: in order, once, or told of a gap.

    :param phantoms: texts that may be heard although their publisher was told that nobody knows.
    :param gaps: whether there may be gaps at all.
    """
    wanted = {each.data: each for each in accepted if any(matches(topic, each.channel) for topic in ear.topics)}
    texts = ear.texts
    # A Redis that is flushed forgets what it had accepted too, and is told it again by whoever had no answer yet.
    times = Counter((each.data, each.place[0]) for each in ear.heard)
    twice = [str(each) for each in ear.heard if times[each.data, each.place[0]] > 1]
    assert not twice, f"heard twice: {twice[:10]}"
    assert set(texts) <= wanted.keys() | set(phantoms), f"never accepted: {sorted(set(texts) - wanted.keys())[:5]}"
    newest: dict[str, int] = {}
    for each in ear.heard:
        epoch, seq = each.place
        assert seq > newest.get(epoch, 0), f"out of order: {each}"
        newest[epoch] = seq
    missing = [each for text, each in wanted.items() if text not in set(texts)]
    heard_epochs = {each.place[0] for each in ear.heard} | {gap.end.rpartition("-")[0] for gap in ear.gaps}
    silent = [each for each in missing if not any(_covers(gap, each, heard_epochs) for gap in ear.gaps)]
    assert not silent, f"{len(silent)} lost in silence, among them {silent[:3]}, gaps: {ear.gaps[:5]}"
    if not gaps:
        assert ear.gaps == [], f"{len(missing)} missing, {ear.topics}, last heard {ear.heard[-3:]}"
    assert ear.given_up is None
    judge_passed(ear)


def judge_passed(ear: Ear) -> None:
    """Judge whether the ephemeral messages of each publisher came at most once, and at their place among the others."""
    newest: dict[str, tuple[int, int]] = {}
    for event in ear.events:
        if isinstance(event, Gap) or not (found := _NUMBERED.fullmatch(event.data)):
            continue
        name, place = found[1], (int(found[2]), len(found[3]))
        if found[3]:
            assert place > newest.get(name, (0, 0)), f"out of order: {event}"
        newest[name] = max(place, newest.get(name, (0, 0)))


def _covers(gap: Gap, lost: Heard, heard_epochs: set[str]) -> bool:
    if not matches(gap.topic, lost.channel):
        return False
    start_epoch, _, start = gap.start.rpartition("-")
    end_epoch, _, end = gap.end.rpartition("-")
    epoch, seq = lost.place
    if gap.reason == "epoch" and epoch not in heard_epochs | {start_epoch}:
        return True  # an epoch between the two, of which there is nothing left
    if start_epoch != end_epoch:
        return (epoch == start_epoch and seq > int(start)) or (epoch == end_epoch and seq <= int(end))
    return epoch == end_epoch and int(start) < seq <= int(end)


async def settled(ears: Sequence[Ear], nodes: Sequence[Node], what: str = "everything heard") -> None:
    """Wait until all ears heard the last words, which are published through each node to each of their topics."""
    words = []
    for number, node in enumerate(nodes):
        for topic in dict.fromkeys(topic for ear in ears for topic in ear.topics):
            channel = topic.replace("**", "last").replace("*", "last")
            words.append((f"last-{number}-{topic}", channel))
            await node.publish(channel, words[-1][0])

    def is_heard(ear: Ear) -> bool:
        wanted = {text for text, channel in words if any(matches(topic, channel) for topic in ear.topics)}
        return wanted <= set(ear.texts[-2 * len(words) :])

    await until(lambda: all(map(is_heard, ears)), what)


async def all_of(*coroutines: Any) -> None:
    """Run coroutines side by side, and wait for all of them."""
    outcomes = await DeferredList([Deferred.fromCoroutine(each) for each in coroutines], consumeErrors=True)
    for success, failure in outcomes:
        if not success:
            failure.raiseException()
