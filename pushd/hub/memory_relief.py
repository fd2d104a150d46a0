"""Memory relief: memory is released when what waits for all connections together exceeds the memory limit."""

from collections.abc import Callable, Iterable, Iterator
from operator import attrgetter
from typing import Final

from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

from pushd.core.budget import Budget
from pushd.core.dispatcher import Dispatcher
from pushd.core.errors import NoRoom, Refusal
from pushd.core.subscriber import Subscriber

NO_ROOM: Final = "the memory limit for queued data is reached; try again in a moment"
_RETRY_SECONDS: Final = 1.0
"""Seconds until the next attempt after one that did not free enough."""
_TURN_SECONDS: Final = 0.01
"""Seconds for which memory is released in one reactor turn."""
_STALLED_SECONDS: Final = 1.0
"""Seconds without progress after which an incomplete input, or an unread answer, is given up to free memory."""


class MemoryRelief:
    """Releases memory while the memory budget is exceeded.

    :param subscribers: returns the subscribers of all connections.
    :param disconnect: disconnects a subscriber with a refusal.
    """

    log = Logger()

    def __init__(
        self,
        budget: Budget,
        dispatcher: Dispatcher,
        clock: IReactorTime,
        subscribers: Callable[[], Iterable[Subscriber]],
        disconnect: Callable[[Subscriber, Exception], None],
    ) -> None:
        self._budget = budget
        self._dispatcher = dispatcher
        self._clock = clock
        self._subscribers = subscribers
        self._disconnect = disconnect
        self._not_before = 0.0
        """The time of the next attempt, in the clock's seconds."""
        self._is_interrupted = False
        """Whether the last attempt continues in a later turn."""
        self._call: IDelayedCall | None = None
        """The next attempt that is scheduled."""

    def stop(self) -> None:
        """Cancel the attempt that is scheduled."""
        if self._call is not None:
            self._call.cancel()
            self._call = None

    def schedule(self) -> None:
        """Make an attempt in a later reactor turn, and repeat it until the budget is not exceeded any more."""
        if self._call is None:
            delay = max(0.0, self._not_before - self._clock.seconds())
            self._call = self._clock.callLater(delay, self._attempt)

    def relieve(self) -> None:
        """Release memory if the budget is exceeded.

        First, connections whose incomplete input or unread answer makes no progress are closed. Then queued messages
        are dropped, beginning with the longest queues, as the policies permit. What the transports of subscribers have
        accepted is released only by disconnecting, which is the last resort. Each attempt visits every subscriber, and
        continues in later reactor turns when it takes long. If it does not release enough, because publishers or
        responses use the memory, the next attempt is made after a delay.
        """
        if self._budget.is_over and self._clock.seconds() >= self._not_before:
            self._release()

    def _attempt(self) -> None:
        self._call = None
        if self._is_interrupted:
            self._release()
        else:
            self.relieve()

    def _release(self) -> None:
        self._is_interrupted = False
        until = self._clock.seconds() + _TURN_SECONDS
        for _ in self._releases():
            if self._budget.has_room:
                return
            if self._clock.seconds() > until:
                self._is_interrupted = True
                self.schedule()
                return
        if not self._budget.has_room:
            self._not_before = self._clock.seconds() + _RETRY_SECONDS
            self.schedule()

    def _releases(self) -> Iterator[None]:
        """Release memory, of one connection in each step."""
        for holder in self._budget.stalled_holders(_STALLED_SECONDS):
            try:
                holder.release_for(NoRoom(NO_ROOM))
            except Exception:
                self.log.failure("Closing a connection that makes no progress failed")
            yield
        paused = [subscriber for subscriber in self._subscribers() if subscriber.is_paused]
        paused.sort(key=attrgetter("held_bytes"), reverse=True)
        for subscriber in paused:
            try:
                self._dispatcher.count_dropped(subscriber, subscriber.shed())
            except Refusal as refusal:
                self._disconnect(subscriber, refusal)
            yield
        for subscriber in paused:
            if subscriber.held_bytes > subscriber.queued_bytes:
                self._disconnect(subscriber, NoRoom(NO_ROOM))
                yield
