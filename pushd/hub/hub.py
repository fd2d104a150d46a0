"""The hub: the one door to publish, subscribe and look.

It joins a store, which keeps, with the dispatcher, which delivers, and gives the dispatcher its turns of the reactor.
"""

import time
from collections import Counter, deque
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from itertools import islice
from operator import attrgetter
from typing import NamedTuple

from twisted.internet.defer import Deferred, DeferredLock
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater
from twisted.logger import Logger
from twisted.python.failure import Failure

from pushd.backends.interface import Audience, Backend, BackendEvents, Duplicate
from pushd.core.budget import Budget
from pushd.core.catch_up import CatchUp
from pushd.core.cursor import NOW, Last, MessageId, Now, Since
from pushd.core.delivery import Recent
from pushd.core.dispatcher import Dispatcher
from pushd.core.errors import (
    InternalError,
    Kicked,
    NoRoom,
    Refusal,
    TooManySubscriptions,
    TooSlow,
    Unavailable,
    UnknownChannel,
    UnknownConnection,
)
from pushd.core.idempotency import IdempotencyCache
from pushd.core.message import Draft, Gap, Message
from pushd.core.outbox import Policy
from pushd.core.register import Register, page_among
from pushd.core.replay import ChannelInfo, Page, StartPosition
from pushd.core.subscriber import Subscriber
from pushd.metrics import Counters, DeliveryMetrics, render
from pushd.net.fan_out import send_each
from pushd.net.turn_slices import Slices

_SLICE = 500
"""Subscribers served before the reactor has its turn: about 5 ms."""
_PAGE_MESSAGES = 256
_PAGE_BYTES = 256 << 10
"""What a replay sends before it looks whether the peer keeps up."""
_COUNTED = 10_000
"""Subscribers that are counted at once: some 10 ms."""
_RECALLED = 2000
"""Messages that are read at once for an answer: a few milliseconds."""
_ENCODED = 1 << 20
_ENCODED_MESSAGE = 1 << 10
"""What is encoded at once for an answer, in bytes, and what a message counts beside its data: a few milliseconds."""
_PUBLISH_SLICE = 256
"""Messages of a batch accepted before the reactor has its turn, so that sockets drain while a batch comes in."""
_FEW_TOPICS = 32
"""Topics that are removed at once when their subscriber leaves."""
_REMOVED_TOPICS = 1000
"""Topics of subscribers with more that are removed before the reactor has its turn: about 3 ms."""
_PUBLISH_BYTES = 2 << 20
"""Bytes of them: for each of a MiB a full store may have to let go of thousands of small messages."""
_AWAY_SECONDS = 1.0
"""How long a replay waits before it asks a store again that is away."""
_RELIEF_SECONDS = 1.0
"""Before it is tried again to make room where that did not help."""
_MUCH = 1 << 20
"""Bytes of an answer, from which on there has to be room for it."""
_NO_ROOM = "the memory limit for queued data is reached; try again in a moment"
_NOT_STARTED = "the backend has not started yet"
_NO_CHANNEL = "there is no such channel: nothing was published to it, and no subscriber names it"
_STOPPING = "the daemon is stopping"


class Receipt(NamedTuple):
    """The answer to a publish."""

    id: str
    channel: str
    subscribers: int
    """How many of this node hear it."""
    is_local: bool = False
    """Whether it went to them only, since the store is away."""

    def facts(self) -> dict[str, object]:
        """Give what the publisher is told."""
        facts: dict[str, object] = {"id": self.id, "channel": self.channel, "subscribers": self.subscribers}
        return facts | {"local": True} if self.is_local else facts


class HistoryPage(NamedTuple):
    """Messages from the history, oldest first, and where to go on."""

    messages: list[Message]
    gaps: tuple[Gap, ...]
    position: MessageId


class ChannelStatus(NamedTuple):
    """A channel as all nodes together see it."""

    info: ChannelInfo
    subscribers: dict[str, int]
    """By transport, those who hear it by a pattern included."""


class _KeyLocks:
    """A lock for each key that is in use."""

    def __init__(self) -> None:
        self._locks: dict[str, DeferredLock] = {}

    async def acquire(self, key: str) -> None:
        """Wait until nobody else has that key."""
        await self._locks.setdefault(key, DeferredLock()).acquire()

    def release(self, key: str) -> None:
        """Let the next have it."""
        lock = self._locks[key]
        if not lock.waiting:
            del self._locks[key]
        lock.release()


class _Demand:
    """How many of this node's subscribers hear each topic. The store hears of the first and of the last."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self._counts: Counter[str] = Counter()

    def add(self, topic: str) -> None:
        """Know of one more."""
        self._counts[topic] += 1
        if self._counts[topic] == 1:
            self._backend.subscribe(topic)

    def remove(self, topic: str) -> None:
        """Know of one less."""
        self._counts[topic] -= 1
        if not self._counts[topic]:
            del self._counts[topic]
            self._backend.unsubscribe(topic)


class Hub:
    """Publish once, and every subscriber hears it."""

    def __init__(
        self,
        backend: Backend,
        clock: IReactorTime,
        counters: Counters,
        max_subscriptions: int = 10_000,
        budget: Budget | None = None,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._backend = backend
        self._clock = clock
        self._counters = counters
        self.budget = Budget() if budget is None else budget
        """What may wait for all subscribers together, and may not have come whole of all senders."""
        self.max_subscriptions = max_subscriptions
        """The most topics of one connection."""
        self._wall = wall
        self._register = Register()
        self._recent = Recent()
        self._idempotency: IdempotencyCache[list[Receipt | Refusal]] = IdempotencyCache()
        self._keys = _KeyLocks()
        self._demand = _Demand(backend)
        self._scheduled = False
        self._departed: deque[tuple[Subscriber, list[str]]] = deque()
        """Subscribers that have left, with the topics that are still to be removed from the index."""
        self._relieve_again = 0.0
        """When it may be tried to make room, in the clock's seconds."""
        self._pages = Slices(clock)
        """Turns for the pages of replays: a crowd that comes back reads its history behind what is live."""
        self.dispatcher = Dispatcher(self._recent, send_each)
        self.unavailable_reason: str | None = _NOT_STARTED
        """Why publishes are not accepted now; None where they are."""
        self.log = Logger()

    async def start(self) -> None:
        """Begin to work."""
        listener = BackendEvents(
            self._on_message,
            self._on_deleted,
            self._on_health,
            self._on_resync,
            self._on_lost,
            self._audience,
            lambda: self.dispatcher.is_behind,
        )
        await self._backend.start(listener)
        if self.unavailable_reason == _NOT_STARTED:
            self.unavailable_reason = None

    def begin_shutdown(self) -> None:
        """Prepare to stop: look unwell to those who ask, and send what is accepted to all who can take it."""
        self.unavailable_reason = _STOPPING
        self._flush()

    @property
    def has_backlog(self) -> bool:
        """Whether a subscriber has not read yet what waits for it."""
        return any(subscriber.is_paused for subscriber in self.dispatcher.index.subscribers())

    async def stop(self) -> None:
        """Stop the store. The subscribers are their transports' to close."""
        self.unavailable_reason = _STOPPING
        self._departed.clear()
        await self._backend.stop()

    async def turn(self) -> None:
        """Let the reactor have its turn, amid work that would take long."""
        await deferLater(self._clock, 0)

    # Publish

    async def publish(self, draft: Draft) -> Receipt:
        """Publish one message.

        :raises Refusal: the store did not accept it.
        """
        (receipt,) = await self._publish([draft])
        if isinstance(receipt, Refusal):
            raise receipt
        return receipt

    async def publish_all(self, drafts: Iterable[Draft | Refusal], key: str | None = None) -> list[Receipt | Refusal]:
        """Publish several messages in their order, each for itself; a refusal among them stands for one that is none.

        :param drafts: may be long, and made while it is read: the reactor has its turns in between.
        :param key: a repeat of it within two minutes gets the first answer, and nothing is published again.
        """
        if key is None:
            return await self._publish_slices(drafts)
        await self._keys.acquire(key)
        try:
            receipts = self._idempotency.get(key, self._clock.seconds())
            if receipts is None:
                receipts = await self._publish_slices(drafts, key)
                # Where all is to be tried again, a repeat is that.
                if not all(isinstance(each, Refusal) and each.retry_after is not None for each in receipts):
                    self._idempotency.put(key, receipts, 1 + len(receipts), self._clock.seconds())
            return receipts
        finally:
            self._keys.release(key)

    async def _publish_slices(
        self, drafts: Iterable[Draft | Refusal], key: str | None = None
    ) -> list[Receipt | Refusal]:
        waiting, receipts = iter(drafts), list[Receipt | Refusal]()
        while items := _slice_of(waiting):
            if receipts:
                await self.turn()
            part = None if key is None else f"{len(receipts)} {key}"
            accepted = iter(await self._publish([item for item in items if isinstance(item, Draft)], part))
            receipts += [next(accepted) if isinstance(item, Draft) else item for item in items]
        return receipts

    async def _publish(self, drafts: Sequence[Draft], key: str | None = None) -> list[Receipt | Refusal]:
        receipts: list[Receipt | Refusal] = []
        for draft, accepted in zip(drafts, await self._backend.publish(drafts, key), strict=True):
            if isinstance(accepted, Refusal):
                receipts.append(accepted)
                continue
            if isinstance(accepted, Duplicate):
                receipts.append(Receipt(accepted.id, draft.channel, accepted.subscribers))
                continue
            self._counters.published += 1
            self._counters.published_bytes += len(draft.data)
            subscribers = len(self.dispatcher.index.match(draft.channel))
            receipts.append(Receipt(accepted.id, draft.channel, subscribers, accepted.is_local))
        return receipts

    # Subscribe

    def add(self, subscriber: Subscriber) -> None:
        """Know of an open connection, until it leaves: it gets its id."""
        self._register.add(subscriber, self._wall())

    async def subscribe(self, subscriber: Subscriber, topics: Sequence[str], since: Since = NOW) -> StartPosition:
        """Let a subscriber hear `topics`. It hears nothing before `follow`, which the caller calls once it has
        said yes.

        A topic that it hears already begins anew, unless it is to begin now.

        :raises TooManySubscriptions: it would hear more topics than a connection may.
        """
        fresh = [topic for topic in topics if topic not in subscriber.starts or not isinstance(since, Now)]
        if not fresh:
            return StartPosition(MessageId("", 0), (), needs_replay=False, is_complete=False)
        if len(subscriber.starts.keys() | set(fresh)) > self.max_subscriptions:
            raise TooManySubscriptions(f"a connection must not subscribe to more than {self.max_subscriptions} topics")
        for topic in fresh:
            if topic not in subscriber.starts:
                self._demand.add(topic)
            self.dispatcher.index.add(topic, subscriber)
        subscriber.start_replay(fresh)
        try:
            return await self._backend.open(fresh, since)
        except BaseException:
            self.unsubscribe(subscriber, fresh)
            raise

    async def replay_and_go_live(
        self, subscriber: Subscriber, opening: StartPosition, *, report_gaps: bool = True
    ) -> None:
        """Send what the subscriber missed, at its own pace, and let it go live; if that fails, give it up.

        :param tell_gaps: whether to tell those of the opening, which the caller may have told elsewhere.
        """
        if subscriber.try_go_live(opening):
            return
        try:
            await self._replay(subscriber, opening, report_gaps)
        except Exception as cause:  # a refusal, or a bug: either ends this subscriber and no other
            self.disconnect(subscriber, cause)

    async def _replay(self, subscriber: Subscriber, opening: StartPosition, report_gaps: bool) -> None:
        catch_up = subscriber.catch_up
        if catch_up is None:
            return
        gaps = catch_up.unreported(opening.gaps)
        catch_up.mark_reported(opening.known_gaps)
        self._counters.gaps.update(gap.reason for gap in gaps)
        position = opening.position
        page = Page((), (), position, is_last=not opening.needs_replay)
        await self.drained(subscriber)
        if report_gaps:
            subscriber.gap(gaps)
        while subscriber.catch_up is catch_up:
            self._counters.replayed += len(page.messages)
            is_done = subscriber.replay(catch_up, page, self._recent)
            if self.budget.is_over:
                self._relieve()
            if is_done:
                return
            await self.drained(subscriber)
            if page.position != position:
                await self._pages.next_turn()
                await self.drained(subscriber)
            position = page.position
            page = await self._read_page(subscriber, catch_up, position)

    async def _read_page(self, subscriber: Subscriber, catch_up: CatchUp, position: MessageId) -> Page:
        """Read a page, for as long as the store is away and somebody waits for it."""
        while subscriber.catch_up is catch_up:
            try:
                return await self._backend.page(tuple(catch_up.topics), position, _PAGE_MESSAGES, _PAGE_BYTES)
            except Unavailable:
                await deferLater(self._clock, _AWAY_SECONDS)
        return Page((), (), position, is_last=False)

    async def drained(self, subscriber: Subscriber) -> None:
        """Wait until a subscriber has read what it was sent, or is closed."""
        if subscriber.is_paused:
            ready: Deferred[None] = Deferred()
            subscriber.when_drained(lambda: ready.callback(None))
            await ready

    def unsubscribe(self, subscriber: Subscriber, topics: Iterable[str]) -> list[str]:
        """Let a subscriber hear `topics` no more; give those that it did hear."""
        heard = [topic for topic in topics if topic in subscriber.starts]
        if heard:
            self.dispatcher.unsubscribe(heard, subscriber)
        for topic in heard:
            self._demand.remove(topic)
        return heard

    def remove(self, subscriber: Subscriber) -> None:
        """Let a subscriber go. It hears nothing any more; where it had many topics, they are removed turn by turn."""
        topics = list(subscriber.starts)
        self._register.remove(subscriber)
        subscriber.close()
        if len(topics) <= _FEW_TOPICS:
            self._remove(subscriber, topics)
            return
        if not self._departed:
            self._clock.callLater(0, self._remove_departed)
        self._departed.append((subscriber, topics))

    def _remove_departed(self) -> None:
        """Remove some of the topics of those who have left."""
        left = _REMOVED_TOPICS
        while self._departed and left > 0:
            subscriber, topics = self._departed[0]
            removed = topics[-left:]
            del topics[-left:]
            self._remove(subscriber, removed)
            left -= len(removed)
            if not topics:
                self._departed.popleft()
        if self._departed:
            self._clock.callLater(0, self._remove_departed)

    def _remove(self, subscriber: Subscriber, topics: Iterable[str]) -> None:
        for topic in topics:
            self.dispatcher.index.remove(topic, subscriber)
            self._demand.remove(topic)

    # Look

    def connections(self, channel: str | None, after: int, limit: int) -> Sequence[Subscriber]:
        """Give at most `limit` of those who are connected here, the oldest first.

        :param channel: of those only who hear it, by its name or by a pattern.
        :param after: the number of the one before the first of them.
        """
        if channel is None:
            return self._register.page(after, limit)
        return page_among(self.dispatcher.index.match(channel), after, limit)

    def kick(self, number: int) -> None:
        """Close a connection.

        :raises UnknownConnection: it is not, or not any more, here.
        """
        subscriber = self._register.find(number)
        if subscriber is None:
            raise UnknownConnection("there is no such connection; /connections lists them")
        self.log.info("{peer}: connection closed by an operator", peer=subscriber.peer)
        self.disconnect(subscriber, Kicked("an operator closed this connection"))

    async def history(self, topics: Sequence[str], since: Since, limit: int, size: int) -> HistoryPage:
        """Give at most `limit` stored messages of `topics`, and no further one once they have `size` bytes.

        Without a place to begin they are the newest, else those that follow it.

        :raises NoRoom: that may be much, and too much waits in memory already.
        """
        if size > _MUCH and self.budget.is_over:
            raise NoRoom(_NO_ROOM)
        opening = await self._backend.open(topics, Last(limit) if isinstance(since, Now) else since)
        messages: list[Message] = []
        gaps = list(opening.gaps)
        told = {(gap.topic, gap.end) for gap in (*opening.gaps, *opening.known_gaps)}
        position, complete = opening.position, False
        while not complete and len(messages) < limit and size > 0:
            if position != opening.position:
                await self._pages.next_turn()
            page = await self._backend.page(topics, position, min(limit - len(messages), _RECALLED), size)
            messages += page.messages
            gaps += [gap for gap in page.gaps if (gap.topic, gap.end) not in told]
            told.update((gap.topic, gap.end) for gap in page.gaps)
            size -= sum(message.size for message in page.messages)
            position, complete = page.position, page.is_last
        return HistoryPage(messages, tuple(gaps), position)

    async def in_slices(self, encode: Callable[[Message], bytes], messages: Sequence[Message]) -> list[bytes]:
        """Encode messages, and let the reactor have its turns where there are many."""
        encoded: list[bytes] = []
        size = 0
        for message in messages:
            if size > _ENCODED:
                size = 0
                await self._pages.next_turn()
            encoded.append(encode(message))
            size += _ENCODED_MESSAGE + len(message.data)
        return encoded

    async def metrics(self) -> bytes:
        """Give everything that is counted as Prometheus text."""
        dispatcher = self.dispatcher
        subscriptions: Counter[str] = Counter()
        queued_bytes = 0
        for number, subscriber in enumerate(dispatcher.index.subscribers(), 1):
            subscriptions[subscriber.peer.transport] += len(subscriber.starts)
            queued_bytes += subscriber.queued_bytes
            if number % _COUNTED == 0:
                await self._pages.next_turn()
        outflow = DeliveryMetrics(
            dispatcher.delivered,
            {policy.value: dispatcher.dropped[policy] for policy in Policy},
            dispatcher.sent,
            queued_bytes,
            self.budget.used,
            self.unavailable_reason is None,
            subscriptions,
        )
        return render(self._counters, await self._backend.usage(), outflow)

    async def status(self, channel: str) -> ChannelStatus:
        """Tell what is known of a channel.

        :raises UnknownChannel: nobody published to it, and nobody named it.
        """
        info = await self._backend.info(channel)
        audience = await self._backend.audience(channel)
        if info is None and not audience.named:
            raise UnknownChannel(_NO_CHANNEL)
        return ChannelStatus(info or ChannelInfo(channel, 0, 0, None, None, None, False), dict(audience.transports))

    async def channels(self, prefix: str, after: str, limit: int) -> list[str]:
        """Give the names of known channels, sorted; see `Backend.names`."""
        return await self._backend.names(prefix, after, limit)

    async def delete(self, channel: str) -> None:
        """Delete a channel and end those who named it.

        :raises UnknownChannel: there is nothing to delete.
        """
        audience = await self._backend.audience(channel)
        known = await self._backend.delete(channel)
        if not known:
            if not audience.named:
                raise UnknownChannel(_NO_CHANNEL)
            self._on_deleted(channel)

    # What the store calls

    def _on_message(self, message: Message) -> None:
        if not self._scheduled:
            self.dispatcher.now = self._clock.seconds()
        self.dispatcher.accept(message)
        self._schedule()

    def _on_deleted(self, channel: str) -> None:
        if not self._scheduled:
            self.dispatcher.now = self._clock.seconds()
        self.dispatcher.end_channel(channel)
        self._schedule()

    def _on_resync(self, after: MessageId, channels: Collection[str] | None) -> None:
        """Let those who hear any of `channels` read on in the history from `after`."""
        self._flush()
        for subscriber in self._affected(channels):
            topics = subscriber.live_topics
            if subscriber.catch_up is not None:
                subscriber.catch_up.invalidate()
                if topics:  # it would need two replays at once
                    self.disconnect(subscriber, Unavailable("subscription needs a resync; reconnect with the cursor"))
            elif topics:
                position = after._replace(seq=max(after.seq, min(topics.values())))
                subscriber.start_replay(tuple(topics))
                following = self.replay_and_go_live(
                    subscriber, StartPosition(position, (), needs_replay=True, is_complete=False)
                )
                Deferred.fromCoroutine(following).addErrback(
                    lambda failure: self.log.failure("Replay after a resync failed", failure)
                )

    def _on_lost(self, channel: str | None, start: MessageId, end: MessageId, reason: str) -> None:
        """Tell those who hear `channel` that messages of it are gone."""
        self._flush()
        for subscriber in self._affected(None if channel is None else (channel,)):
            if subscriber.catch_up is not None:
                subscriber.catch_up.invalidate()
            topics = list(subscriber.live_topics) if channel is None else subscriber.live_topics_of(channel)
            if topics and subscriber.wire.data_only and subscriber.policy is not Policy.LATEST:
                self.disconnect(subscriber, TooSlow("messages were lost, and this encoding cannot report a gap"))
            else:
                self._counters.gaps[reason] += len(topics)
                subscriber.gap([Gap(topic, str(start), str(end), reason) for topic in topics])

    def _affected(self, channels: Collection[str] | None) -> Collection[Subscriber]:
        index = self.dispatcher.index
        if channels is None:
            return list(index.subscribers())
        return dict.fromkeys(subscriber for channel in channels for subscriber in index.match(channel)).keys()

    def _audience(self, channel: str) -> Audience:
        transports = Counter(subscriber.peer.transport for subscriber in self.dispatcher.index.match(channel))
        return Audience(bool(self.dispatcher.index.by_name(channel)), transports)

    def _on_health(self, reason: str | None) -> None:
        if reason != self.unavailable_reason:
            before, self.unavailable_reason = self.unavailable_reason, reason
            if reason is None:
                self.log.info("Backend accepts publishes")
            elif before != _NOT_STARTED:
                self.log.error("Backend does not accept publishes: {reason}", reason=reason)

    def _schedule(self) -> None:
        if not (self._scheduled or self.dispatcher.is_idle):
            self._scheduled = True
            self._clock.callLater(0, self._run)

    def _flush(self) -> None:
        """Let all that came before go out before what follows."""
        while not self.dispatcher.is_idle:
            self._serve()

    def _run(self) -> None:
        self._scheduled = False
        self._serve()
        now = self._clock.seconds()
        self._counters.latency.observe(now - self.dispatcher.served_since)
        self.dispatcher.now = now
        self._schedule()

    def _serve(self) -> None:
        for subscriber, cause in self.dispatcher.run(_SLICE):
            self.disconnect(subscriber, cause)
        if self.budget.is_over:
            self._relieve()
        for subscriber in self.dispatcher.take_lagging():
            self._counters.lagging[subscriber.policy.value] += 1
            self.log.warn(
                "{peer}: slow consumer, messages are dropped (policy {policy}); {bytes} bytes are queued",
                peer=subscriber.peer,
                policy=subscriber.policy.value,
                bytes=subscriber.queued_bytes,
            )

    def _relieve(self) -> None:
        """Make room where too much waits in all: those for whom most waits lose it first, as their policies say.

        What is on its way already is lost only by those who are given up, which is the last resort. Where that does not
        help, since it is senders and readers of answers who have the memory, it is not tried again at once: it is a
        look at everybody.
        """
        if self._clock.seconds() < self._relieve_again:
            return
        busy = [subscriber for subscriber in self.dispatcher.index.subscribers() if subscriber.is_paused]
        busy.sort(key=attrgetter("held_bytes"), reverse=True)
        for subscriber in busy:
            if self.budget.has_room:
                return
            try:
                self.dispatcher.count_dropped(subscriber, subscriber.shed())
            except Refusal as refusal:
                self.disconnect(subscriber, refusal)
        for subscriber in busy:
            if self.budget.has_room:
                return
            if subscriber.held_bytes > subscriber.queued_bytes:
                self.disconnect(subscriber, NoRoom(_NO_ROOM))
        if not self.budget.has_room:
            self._relieve_again = self._clock.seconds() + _RELIEF_SECONDS

    def disconnect(self, subscriber: Subscriber, cause: Exception) -> None:
        """Let a subscriber go that can not be served: for a refusal, or for a bug, of which it hears nothing."""
        refusal = (
            cause
            if isinstance(cause, Refusal)
            else InternalError("internal error; the log of the daemon has the details")
        )
        if cause is not refusal:
            self.log.failure("{peer}: delivery failed, connection closed", _failure_of(cause), peer=subscriber.peer)
        self._counters.count_refusal(refusal, str(subscriber.peer))
        self._counters.disconnects[refusal.code] += 1
        outlet = subscriber.outlet
        self.remove(subscriber)
        outlet.close(refusal)


def _slice_of(drafts: Iterator[Draft | Refusal]) -> list[Draft | Refusal]:
    """Take what is accepted in one turn of the reactor."""
    items: list[Draft | Refusal] = []
    size = 0
    for item in islice(drafts, _PUBLISH_SLICE):
        items.append(item)
        size += len(item.data) if isinstance(item, Draft) else 0
        if size >= _PUBLISH_BYTES:
            break
    return items


def _failure_of(cause: Exception) -> Failure:
    return Failure(cause)
