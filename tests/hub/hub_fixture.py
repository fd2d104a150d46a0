"""A hub on a memory backend that can be made to fail, and on a clock that only the test moves."""

from collections.abc import Sequence

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from pushd.backends.interface import BackendEvents
from pushd.backends.memory import MemoryBackend
from pushd.core.cursor import NOW, MessageId, Since
from pushd.core.errors import Unavailable
from pushd.core.history import Bounds
from pushd.core.log_reader import LogReader
from pushd.core.message import draft
from pushd.core.outbox import Policy, QueueLimits
from pushd.core.peer import DAEMON
from pushd.core.replay import Page, StartPosition
from pushd.hub.hub import Hub
from pushd.metrics import Counters
from tests.build import FakePeer


class FaultyBackend(MemoryBackend):
    """A memory backend that can be unavailable, delay its answers and lose its history."""

    def __init__(self, clock: Clock) -> None:
        super().__init__(Bounds(), clock, clock.seconds, "E")
        self.is_unavailable = False
        """Whether `page` fails."""
        self.opening: Deferred[None] | None = None
        """`open` waits for it, and fails with its failure."""
        self.topics: list[str] = []
        """The topics that the hub has subscribed to."""

    async def start(self, listener: BackendEvents) -> None:
        """Keep the callbacks."""
        self.events = self._events = listener

    async def stop(self) -> None:
        """Do nothing."""

    def subscribe(self, topic: str) -> None:
        """Record a topic."""
        self.topics.append(topic)

    def unsubscribe(self, topic: str) -> None:
        """Remove a topic from the record."""
        self.topics.remove(topic)

    async def open(self, topics: Sequence[str], since: Since) -> StartPosition:
        """Open topics, after `opening` if it is set."""
        if self.opening is not None:
            await self.opening
        return await super().open(topics, since)

    async def page(
        self, topics: Sequence[str], after: MessageId, count: int, size: int, latest_until: MessageId | None = None
    ) -> Page:
        """Read a page, unless unavailable."""
        if self.is_unavailable:
            raise Unavailable("away")
        return await super().page(topics, after, count, size, latest_until)

    def lose_history(self) -> None:
        """Lose the history, and begin the epoch F."""
        after = MessageId(self._log.epoch, self._log.head)
        self._log = type(self._log)("F", Bounds())
        self._reader = LogReader(self._log)
        self.events.on_resync(after, None)

    def lose_events(self) -> None:
        """Do not report messages to the hub any more."""
        self._events = None

    def restore_events(self) -> None:
        """Report messages to the hub again."""
        self._events = self.events


class HubFixture:
    """A started hub, and shortcuts to what the tests do with it."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.backend = FaultyBackend(self.clock)
        self.counters = Counters()
        self.hub = Hub(self.backend, self.clock, self.counters, wall=self.clock.seconds)

    async def start(self) -> "HubFixture":
        """Start the hub."""
        await self.hub.start()
        return self

    def add(self, peer: FakePeer | None = None) -> FakePeer:
        """Add a peer, which is removed when the hub closes it."""
        peer = peer or FakePeer()
        peer.on_close = self.hub.remove
        self.hub.add(peer.subscriber)
        return peer

    def add_limited(self, policy: Policy = Policy.DISCONNECT) -> FakePeer:
        """Add a peer whose queue counts in the memory budget of the hub."""
        return self.add(FakePeer(limits=QueueLimits(budget=self.hub.budget), policy=policy))

    async def subscribe(self, *topics: str, since: Since = NOW, peer: FakePeer | None = None) -> FakePeer:
        """Subscribe a peer, by default a new one, until it is live."""
        peer = peer or self.add()
        opening = await self.hub.subscribe(peer.subscriber, topics, since)
        await self.hub.replay_and_go_live(peer.subscriber, opening)
        return peer

    async def publish(self, *channels: str) -> None:
        """Publish to channels; nothing is sent before `turn`."""
        for channel in channels:
            await self.hub.publish(DAEMON, draft(channel, b"x"))

    def turn(self) -> None:
        """Run some reactor turns."""
        for _ in range(5):
            self.clock.advance(0)

    @property
    def subscribers(self) -> int:
        """The number of subscribers that have topics."""
        return sum(bool(each.starts) for each in self.hub.queries.connections(DAEMON, None, None, 10**6))
