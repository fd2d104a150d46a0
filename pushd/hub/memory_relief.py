"""Memory relief: queued messages are dropped when all queues together exceed the memory limit."""

from collections.abc import Callable
from operator import attrgetter
from typing import Final

from twisted.internet.interfaces import IReactorTime

from pushd.core.budget import Budget
from pushd.core.dispatcher import Dispatcher
from pushd.core.errors import NoRoom, Refusal
from pushd.core.subscriber import Subscriber

NO_ROOM: Final = "the memory limit for queued data is reached; try again in a moment"
_RETRY_SECONDS: Final = 1.0
"""Seconds until the next attempt after one that did not free enough."""


class MemoryRelief:
    """Sheds queued messages while the memory budget is exceeded.

    :param disconnect: disconnects a subscriber with a refusal.
    """

    def __init__(
        self,
        budget: Budget,
        dispatcher: Dispatcher,
        clock: IReactorTime,
        disconnect: Callable[[Subscriber, Exception], None],
    ) -> None:
        self._budget = budget
        self._dispatcher = dispatcher
        self._clock = clock
        self._disconnect = disconnect
        self._not_before = 0.0
        """The time of the next attempt, in the clock's seconds."""

    def relieve(self) -> None:
        """Free memory if the budget is exceeded, beginning with the longest queues, as the policies permit.

        Data that a transport has accepted is freed only by disconnecting, which is the last resort. Each attempt
        visits every subscriber. If it does not free enough, because publishers or responses use the memory, the next
        attempt is made after a delay.
        """
        if not self._budget.is_over or self._clock.seconds() < self._not_before:
            return
        paused = [subscriber for subscriber in self._dispatcher.subscribers() if subscriber.is_paused]
        paused.sort(key=attrgetter("held_bytes"), reverse=True)
        for subscriber in paused:
            if self._budget.has_room:
                return
            try:
                self._dispatcher.count_dropped(subscriber, subscriber.shed())
            except Refusal as refusal:
                self._disconnect(subscriber, refusal)
        for subscriber in paused:
            if self._budget.has_room:
                return
            if subscriber.held_bytes > subscriber.queued_bytes:
                self._disconnect(subscriber, NoRoom(NO_ROOM))
        if not self._budget.has_room:
            self._not_before = self._clock.seconds() + _RETRY_SECONDS
