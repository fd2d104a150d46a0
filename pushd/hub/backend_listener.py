"""The callbacks of the backend: from the backend to the dispatcher and its subscribers."""

from collections import Counter
from collections.abc import Callable, Collection, Coroutine
from typing import Any

from twisted.internet.defer import Deferred
from twisted.logger import Logger

from pushd.backends.interface import Audience, BackendEvents
from pushd.core.cursor import MessageId
from pushd.core.dispatcher import Dispatcher
from pushd.core.errors import TooSlow, Unavailable
from pushd.core.message import Exclusion, Gap, Message
from pushd.core.outbox import Policy
from pushd.core.register import Register
from pushd.core.replay import StartPosition
from pushd.core.subscriber import Subscriber
from pushd.hub.channel_counts import ChannelCounts
from pushd.hub.exclusions import Exclusions
from pushd.hub.scheduling import FanOutScheduler
from pushd.metrics import Counters


class BackendListener:
    """Passes messages to the dispatcher, and reports losses to subscribers.

    :param disconnect: disconnects a subscriber with a refusal.
    :param replay: replays the history to a subscriber from a start position.
    :param on_health: see `BackendEvents`.
    :param counts: counts the messages of each channel.
    """

    log = Logger()

    def __init__(
        self,
        dispatcher: Dispatcher,
        register: Register,
        scheduler: FanOutScheduler,
        counters: Counters,
        disconnect: Callable[[Subscriber, Exception], None],
        replay: Callable[[Subscriber, StartPosition], Coroutine[Any, Any, None]],
        on_health: Callable[[str | None], None],
        counts: ChannelCounts,
    ) -> None:
        self._dispatcher = dispatcher
        self._register = register
        self._exclusions = Exclusions(register)
        self._scheduler = scheduler
        self._counters = counters
        self._disconnect = disconnect
        self._replay = replay
        self._on_health = on_health
        self._counts = counts

    def events(self) -> BackendEvents:
        """Return the callbacks."""
        return BackendEvents(
            self.on_message,
            self.on_deleted,
            self._on_health,
            self.on_resync,
            self.on_lost,
            self.audience,
            lambda: self._dispatcher.is_behind,
            on_excluding=self.on_excluding,
        )

    def on_message(self, message: Message) -> None:
        """Fan a message out in the next reactor turn."""
        self._dispatcher.accept(message)
        if self._counts.is_on:
            self._counts.count(message.channel)
        self._scheduler.schedule()

    def on_excluding(self, message: Message, exclude: Exclusion) -> None:
        """Fan a message out to all but a connection of its publisher, if that is at this node."""
        self._dispatcher.accept(message, self._exclusions.find(exclude))
        if self._counts.is_on:
            self._counts.count(message.channel)
        self._scheduler.schedule()

    def on_deleted(self, channel: str) -> None:
        """Report the end of a deleted channel to its subscribers."""
        self._dispatcher.end_channel(channel)
        self._scheduler.schedule()

    def on_resync(self, after: MessageId, channels: Collection[str] | None) -> None:
        """Replay the history from a position to the live subscribers of channels (None: all)."""
        self._scheduler.flush()
        for subscriber in self._affected(channels):
            topics = subscriber.live_topics
            if subscriber.catch_up is not None:
                subscriber.catch_up.invalidate()
                if topics:  # it would need two replays at once
                    refusal = Unavailable("subscription needs a resync; reconnect with the cursor")
                    self._disconnect(subscriber, refusal)
            elif topics:
                position = after._replace(seq=max(after.seq, min(topics.values())))
                subscriber.start_replay(tuple(topics))
                opening = StartPosition(position, (), needs_replay=True, is_complete=False)
                Deferred.fromCoroutine(self._replay(subscriber, opening)).addErrback(
                    lambda failure: self.log.failure("Replay after a resync failed", failure)
                )

    def on_lost(self, channel: str | None, start: MessageId, end: MessageId, reason: str) -> None:
        """Report a gap to the subscribers of a channel (None: all); disconnect those whose wire cannot report it."""
        self._scheduler.flush()
        for subscriber in self._affected(None if channel is None else (channel,)):
            if subscriber.catch_up is not None:
                subscriber.catch_up.invalidate()
            if channel is None:
                topics = list(subscriber.live_topics)
            else:  # a topic that was replayed beyond the loss has reported it
                topics = [each for each in subscriber.live_topics_of(channel) if subscriber.starts[each] < end.seq]
            if topics and subscriber.wire.data_only and subscriber.policy is not Policy.LATEST:
                self._disconnect(subscriber, TooSlow("messages were lost, and this encoding cannot report a gap"))
            else:
                self._counters.gaps[reason] += len(topics)
                subscriber.gap([Gap(topic, str(start), str(end), reason) for topic in topics])

    def audience(self, channel: str) -> Audience:
        """Return the audience of a channel at this node."""
        subscribers = self._dispatcher.subscribers_of(channel)
        transports = Counter(subscriber.peer.transport for subscriber in subscribers)
        by_name = self._dispatcher.subscribers_by_name(channel)
        return Audience(any(not subscriber.is_at_end_of(channel) for subscriber in by_name), transports)

    def _affected(self, channels: Collection[str] | None) -> Collection[Subscriber]:
        if channels is None:
            return [subscriber for subscriber in self._register.all() if subscriber.starts]
        subscribers = (each for channel in channels for each in self._dispatcher.subscribers_of(channel))
        return dict.fromkeys(subscribers).keys()
