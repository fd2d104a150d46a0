"""The subscriptions of this node in Redis: the topics of its subscribers, and no others while these are few patterns.

The topics of one reactor turn are subscribed to with one command. A topic stays subscribed for a while after its last
subscriber has left, because polls return at once. A pattern may be covered by a broader one, see `PatternCover`; when
the cover changes, the new one is subscribed to before the old one is unsubscribed from, so that nothing is missed.
"""

from collections.abc import Iterable
from itertools import islice
from math import inf
from typing import Any, Final

from twisted.internet.defer import Deferred

from pushd.backends.redis.key_names import of_topic
from pushd.backends.redis.pattern_cover import PatternCover
from pushd.backends.redis.protocols import PubSubProtocol
from pushd.core.index import TopicIndex
from pushd.core.names import is_pattern

_LINGER_SECONDS: Final = 10.0
_NAMES: Final = 500
"""The most names in one command."""
_PATTERNS: Final = 64
"""The most patterns of this node in Redis, each of which costs every publish through any node some 20 ns."""

_Name = tuple[bool, bytes]
"""A name in Redis: whether it is a pattern, and the name."""


class TopicSubscriptions:
    """The subscribed topics, and which of them Redis has confirmed.

    :param prefix: the prefix of all pub/sub channels.
    :param own: the channels that every node subscribes to.
    """

    def __init__(self, prefix: str, own: Iterable[bytes], clock: Any) -> None:
        self._prefix = prefix
        self._own = [prefix.encode() + name for name in own]
        self._clock = clock
        self._protocol: PubSubProtocol | None = None
        self._patterns: TopicIndex[str] = TopicIndex()
        self._since: dict[str, float] = {}
        """By topic: all messages with greater sequences are expected to arrive."""
        self._floor = 0
        """The least value for topics that are settled from now on: the node has read the history up to it."""
        self._lingering: dict[str, float] = {}
        """Topics without subscribers, and until when they stay subscribed."""
        self._cover = PatternCover(_PATTERNS)
        self._covers: set[str] = set()
        """The covers that are among the names."""
        self._names: set[_Name] = set()
        """What is subscribed to in Redis, or will be with the next command."""
        self._pending: set[_Name] = set()
        """Names for the next command."""
        self._dropped: set[_Name] = set()
        """Names that are unsubscribed from after it."""
        self._confirmed: set[bytes] = set()
        self._waiting: dict[bytes, list[Deferred[None]]] = {}
        self._flushing: Any = None
        self._tidying: Any = None

    # Topics

    def subscribe(self, topic: str) -> None:
        """Subscribe to a topic."""
        if self._lingering.pop(topic, None) is not None or topic in self._since:
            return
        self._since[topic] = inf
        if is_pattern(topic):
            self._patterns.add(topic, topic)
            self._cover.add(topic)
            self._apply_cover()
        else:
            self._add_name(self._name(topic))

    def unsubscribe(self, topic: str) -> None:
        """Unsubscribe from a topic, after a while."""
        if topic in self._since:
            self._lingering[topic] = self._clock.seconds() + _LINGER_SECONDS
            if self._tidying is None:
                self._tidying = self._clock.callLater(_LINGER_SECONDS, self._unsubscribe_lingering)

    def covers(self, channel: str) -> bool:
        """Return whether any topic matches a channel."""
        return channel in self._since or bool(self._patterns.match(channel))

    def among(self, topics: Iterable[str]) -> list[str]:
        """Return the subscribed ones of some topics."""
        return [topic for topic in topics if topic in self._since]

    def since(self, channel: str) -> float:
        """Return the sequence after which every message of a channel is expected; infinite while none is."""
        patterns = [self._since[pattern] for pattern in self._patterns.match(channel)]
        return min(self._since.get(channel, inf), *patterns, inf)

    def settle(self, topics: Iterable[str], seq: int) -> None:
        """Expect the messages of confirmed topics after `seq`, unless they are expected already."""
        for topic in topics:
            if self._since.get(topic) == inf:
                self._since[topic] = max(seq, self._floor)

    def settle_all(self, seq: int) -> None:
        """Expect only messages after `seq` of all settled topics, and of those that are settled later."""
        self._floor = seq
        for topic, since in self._since.items():
            if since != inf:
                self._since[topic] = seq

    # Confirmations

    async def ready(self, topics: Iterable[str], seconds: float) -> bool:
        """Wait until the subscribed ones of some topics are confirmed; return whether all were in time."""
        until = self._clock.seconds() + seconds
        while names := self._unconfirmed(topics):
            if self._clock.seconds() >= until:
                return False
            for confirmed in [self._when_confirmed(name) for name in names]:
                confirmed.addTimeout(max(until - self._clock.seconds(), 0.001), self._clock, lambda *_: None)
                await confirmed
        return True

    async def connected(self, protocol: PubSubProtocol) -> None:
        """Subscribe to everything over a new connection, and wait until all is confirmed."""
        self.lost()
        self._protocol = protocol
        own = [self._when_confirmed(name) for name in self._own]
        self._subscribe([(False, name) for name in self._own])
        self._subscribe(list(self._names))
        self._pending.clear()
        topics = list(self._since)
        for confirmed in own:
            await confirmed
        while names := self._unconfirmed(topics):
            for confirmed in [self._when_confirmed(name) for name in names]:
                await confirmed

    def lost(self) -> None:
        """Called when the connection is lost; waiting callers wait for the next one."""
        self._protocol = None
        self._confirmed.clear()
        self._dropped.clear()

    def confirm(self, name: bytes) -> None:
        """Called when Redis has confirmed a name."""
        self._confirmed.add(name)
        self._release(name)

    def stop(self) -> None:
        """Stop all timers."""
        for call in (self._flushing, self._tidying):
            if call is not None and call.active():
                call.cancel()
        self._protocol = None

    def _name(self, topic: str) -> _Name:
        if not is_pattern(topic):
            return False, of_topic(self._prefix, topic)
        return True, of_topic(self._prefix, self._cover[topic])

    def _unconfirmed(self, topics: Iterable[str]) -> set[bytes]:
        """Return the names of subscribed topics that Redis has not confirmed."""
        return {self._name(topic)[1] for topic in topics if topic in self._since} - self._confirmed

    def _apply_cover(self) -> None:
        """Subscribe to new covers, and unsubscribe from those that are not used any more."""
        before, self._covers = self._covers, set(self._cover)
        for cover in self._covers - before:
            self._add_name((True, of_topic(self._prefix, cover)))
        for cover in before - self._covers:
            self._drop_name((True, of_topic(self._prefix, cover)))

    def _add_name(self, name: _Name) -> None:
        self._names.add(name)
        self._pending.add(name)
        self._dropped.discard(name)
        self._flush_soon()

    def _drop_name(self, name: _Name) -> None:
        self._names.discard(name)
        self._pending.discard(name)
        self._dropped.add(name)
        self._confirmed.discard(name[1])
        self._release(name[1])
        self._flush_soon()

    def _release(self, name: bytes) -> None:
        """Resume the callers that wait for the subscription to a name; each checks whether it was confirmed."""
        for waiting in self._waiting.pop(name, ()):
            if not waiting.called:
                waiting.callback(None)

    def _when_confirmed(self, name: bytes) -> Deferred[None]:
        waiting: Deferred[None] = Deferred()
        self._waiting.setdefault(name, []).append(waiting)
        return waiting

    def _flush_soon(self) -> None:
        if self._flushing is None:
            self._flushing = self._clock.callLater(0, self._flush)

    def _flush(self) -> None:
        self._flushing = None
        if self._protocol is not None:
            self._subscribe(self._pending)
            self._pending.clear()
            self._send((b"UNSUBSCRIBE", b"PUNSUBSCRIBE"), self._dropped)
            self._dropped.clear()

    def _subscribe(self, names: Iterable[_Name]) -> None:
        self._send((b"SUBSCRIBE", b"PSUBSCRIBE"), names)

    def _send(self, verbs: tuple[bytes, bytes], names: Iterable[_Name]) -> None:
        chosen = list(names)
        for wild, verb in enumerate(verbs):
            rest = iter([name for is_wild, name in chosen if is_wild == bool(wild)])
            while part := list(islice(rest, _NAMES)):
                if self._protocol is not None:
                    self._protocol.send(verb, *part)

    def _unsubscribe_lingering(self) -> None:
        """Unsubscribe from the topics that have had no subscriber for a while."""
        self._tidying = None
        now = self._clock.seconds()
        over = [topic for topic, until in self._lingering.items() if until <= now]
        for topic in over:
            del self._lingering[topic], self._since[topic]
            if is_pattern(topic):
                self._patterns.remove(topic, topic)
                self._cover.remove(topic)
            else:
                self._drop_name(self._name(topic))
        self._apply_cover()
        if self._lingering:
            wait = min(self._lingering.values()) - now
            self._tidying = self._clock.callLater(max(wait, 0.1), self._unsubscribe_lingering)
