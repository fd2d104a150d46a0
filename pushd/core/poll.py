"""Polls: subscribers that receive messages once, as many as one response holds.

Nothing is written to the outlet of a poll: it returns its messages, since the response headers name the last one.
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple, Protocol

from pushd.core.catch_up import CatchUp
from pushd.core.delivery import Batch, Delivery, Recent, Wire
from pushd.core.message import Gap, Message
from pushd.core.outbox import Policy, QueueLimits
from pushd.core.outlet import Outlet
from pushd.core.peer import Peer
from pushd.core.replay import Page
from pushd.core.subscriber import Subscriber


class PollResult(NamedTuple):
    """The content of one response."""

    messages: Sequence[Message]
    gaps: Sequence[Gap]
    position: str
    """The id from which to continue."""
    has_ended: bool = False
    """Whether every channel has ended, so that nothing can follow."""
    deliveries: Sequence[Delivery] = ()
    """The messages, with the frames that all subscribers share."""


class PollConsumer(Outlet, Protocol):
    """Receives the result of a poll."""

    def deliver_result(self, result: PollResult) -> None:
        """Called once, with the result; the poll must be closed then."""


class Poll(Subscriber):
    """One poll. Its limits are those of the response, which has room for one message of any size."""

    __slots__ = ("_consumer", "_deliveries", "_gaps", "_pending", "has_ended", "position")

    def __init__(self, consumer: PollConsumer, wire: Wire, limits: QueueLimits, peer: Peer) -> None:
        super().__init__(consumer, wire, limits, Policy.DISCONNECT, peer)
        self._consumer = consumer
        self._deliveries: Sequence[Delivery] = ()
        self._gaps: Sequence[Gap] = ()
        self._pending: Sequence[Gap] = ()
        """Gaps after `position`."""
        self.position = ""
        """The id from which to continue if there are no messages, or only ephemeral ones."""
        self.has_ended = False
        """Whether every channel has ended, so that nothing can follow."""

    def deliver(self, batch: Batch) -> int:
        """Take a live batch and finish, if it has messages of the topics."""
        if not self.is_closed and (selected := self.select(batch)):
            self._deliveries = [*self._deliveries, *selected]
            self._take_pending()
            self.finish()
        return 0

    def gap(self, gaps: Iterable[Gap]) -> None:
        """Add gaps to the result as soon as its position is behind them; else they are left to the next poll."""
        self._pending = (*self._pending, *gaps)

    def warn_of_expiry(self, at: int) -> None:
        """Do nothing: a poll ends soon, and the next one is authenticated again."""

    def replay(self, catch_up: CatchUp, page: Page, recent: Recent) -> bool:
        """Take a page of the history; finish when the response is full, or at the last page if there is anything."""
        deliveries = [*self._deliveries, *map(recent.of, page.messages)]
        if page.is_last or page.position != catch_up.origin:
            self._take_pending()
            self._gaps = (*self._gaps, *catch_up.reports.of_page(page))
            self.position = str(page.position)
        catch_up.position = page.position.seq
        done = page.is_last and catch_up.has_reached(page.position)
        if done:
            deliveries += catch_up.take_held()
            self.go_live(catch_up.topics, page.position.seq)
        self._deliveries = deliveries
        if self._fits() < len(deliveries) or (done and (deliveries or self._gaps)):
            self.finish()
        elif done:
            for channel in dict.fromkeys((*page.ended, *catch_up.ends)):
                self._add_end(channel)
        return done

    def finish(self) -> None:
        """Return what has been received, which may be nothing."""
        deliveries = self._deliveries[: self._fits()]
        messages = [delivery.message for delivery in deliveries]
        position = next((message.id for message in reversed(messages) if message.is_kept), self.position)
        self._consumer.deliver_result(PollResult(messages, self._gaps, position, self.has_ended, deliveries))

    def _take_pending(self) -> None:
        self._gaps, self._pending = (*self._gaps, *self._pending), ()

    def _fits(self) -> int:
        """Return how many of the messages fit into one response."""
        size = 0
        for number, delivery in enumerate(self._deliveries):
            size += len(delivery.message.data)
            if number and (number >= self._limits.messages or size > self._limits.bytes):
                return number
        return len(self._deliveries)
