"""The subscriptions of this node in Redis: the topics of its subscribers, and no others.

The topics of one reactor turn are subscribed to with one command. A topic stays subscribed for a while after its last
subscriber has left, because polls return at once.
"""

from collections import Counter
from collections.abc import Collection, Iterable
from itertools import islice
from math import inf
from typing import Any, Final

from twisted.internet.defer import Deferred

from pushd.backends.redis.key_names import of_topic
from pushd.backends.redis.protocols import PubSubProtocol
from pushd.core.index import TopicIndex
from pushd.core.names import is_pattern

_LINGER_SECONDS: Final = 10.0
_NAMES: Final = 500
"""The most names in one command."""


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
        self._index: TopicIndex[str] = TopicIndex()
        self._since: dict[str, float] = {}
        """By topic: all messages with greater sequences are expected to arrive."""
        self._lingering: dict[str, float] = {}
        """Topics without subscribers, and until when they stay subscribed."""
        self._names: Counter[tuple[bool, bytes]] = Counter()
        """Number of topics by name in Redis: whether it is a pattern, and the name."""
        self._pending: set[tuple[bool, bytes]] = set()
        """Names for the next command."""
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
        self._index.add(topic, topic)
        name = self._name(topic)
        self._names[name] += 1
        if self._names[name] == 1:
            self._pending.add(name)
            self._flush_soon()

    def unsubscribe(self, topic: str) -> None:
        """Unsubscribe from a topic, after a while."""
        if topic in self._since:
            self._lingering[topic] = self._clock.seconds() + _LINGER_SECONDS
            if self._tidying is None:
                self._tidying = self._clock.callLater(_LINGER_SECONDS, self._unsubscribe_lingering)

    def topics_of(self, channel: str) -> Collection[str]:
        """Return the topics that match a channel."""
        return self._index.match(channel)

    def since(self, channel: str) -> float:
        """Return the sequence after which every message of a channel is expected; infinite while none is."""
        return min((self._since[topic] for topic in self._index.match(channel)), default=inf)

    def settle(self, topics: Iterable[str], seq: int) -> None:
        """Expect the messages of confirmed topics after `seq`, unless they are expected already."""
        for topic in topics:
            if self._since.get(topic) == inf:
                self._since[topic] = seq

    def settle_all(self, seq: int) -> None:
        """Expect only messages after `seq` of all settled topics."""
        for topic, since in self._since.items():
            if since != inf:
                self._since[topic] = seq

    # Confirmations

    async def ready(self, topics: Iterable[str], seconds: float) -> bool:
        """Wait until the subscribed ones of some topics are confirmed; return whether all were in time."""
        waiting = []
        for name in {self._name(topic)[1] for topic in topics if topic in self._since}:
            if name not in self._confirmed:
                waiting.append(self._when_confirmed(name))
        until = self._clock.seconds() + seconds
        for confirmed in waiting:
            confirmed.addTimeout(max(until - self._clock.seconds(), 0.001), self._clock, lambda *_: None)
            await confirmed
        return all(self._name(topic)[1] in self._confirmed for topic in topics if topic in self._since)

    async def connected(self, protocol: PubSubProtocol) -> None:
        """Subscribe to everything over a new connection, and wait until all is confirmed."""
        self.lost()
        self._protocol = protocol
        own = [self._when_confirmed(name) for name in self._own]
        self._subscribe([(False, name) for name in self._own])
        waiting = [self._when_confirmed(name) for _, name in self._names]
        self._subscribe(list(self._names))
        self._pending.clear()
        for confirmed in own + waiting:
            await confirmed

    def lost(self) -> None:
        """Called when the connection is lost; waiting callers wait for the next one."""
        self._protocol = None
        self._confirmed.clear()

    def confirm(self, name: bytes) -> None:
        """Called when Redis has confirmed a name."""
        self._confirmed.add(name)
        for waiting in self._waiting.pop(name, ()):
            if not waiting.called:
                waiting.callback(None)

    def stop(self) -> None:
        """Stop all timers."""
        for call in (self._flushing, self._tidying):
            if call is not None and call.active():
                call.cancel()
        self._protocol = None

    def _name(self, topic: str) -> tuple[bool, bytes]:
        return is_pattern(topic), of_topic(self._prefix, topic)

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
            self._subscribe([name for name in self._pending if name in self._names])
            self._pending.clear()

    def _subscribe(self, names: Iterable[tuple[bool, bytes]]) -> None:
        self._send((b"SUBSCRIBE", b"PSUBSCRIBE"), names)

    def _send(self, verbs: tuple[bytes, bytes], names: Iterable[tuple[bool, bytes]]) -> None:
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
        dropped = []
        for topic in over:
            del self._lingering[topic], self._since[topic]
            self._index.remove(topic, topic)
            name = self._name(topic)
            self._names[name] -= 1
            if not self._names[name]:
                del self._names[name]
                self._confirmed.discard(name[1])
                self._pending.discard(name)
                self._waiting.pop(name[1], None)
                dropped.append(name)
        self._send((b"UNSUBSCRIBE", b"PUNSUBSCRIBE"), dropped)
        if self._lingering:
            wait = min(self._lingering.values()) - now
            self._tidying = self._clock.callLater(max(wait, 0.1), self._unsubscribe_lingering)
