"""A poll: a subscriber that hears once, as much as one answer holds, and is done.

It is written to by nobody: what it hears it hands over as messages, since its answer has a head that names the last.
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple, Protocol

from pushd.core.catch_up import CatchUp
from pushd.core.delivery import Batch, Recent, Wire
from pushd.core.message import Gap, Message
from pushd.core.outbox import Policy, QueueLimits
from pushd.core.replay import Page
from pushd.core.subscriber import Outlet, Subscriber


class PollResult(NamedTuple):
    """What one answer holds."""

    messages: Sequence[Message]
    gaps: Sequence[Gap]
    position: str
    """The id from which to go on."""
    has_ended: bool = False
    """Whether nothing can follow: every channel has ended."""


class PollConsumer(Outlet, Protocol):
    """Where a poll hands over what it heard."""

    def deliver_result(self, result: PollResult) -> None:
        """Know what there is. It is called once; the poll is to be closed then."""


class Poll(Subscriber):
    """One poll. Its limits are those of the answer: at least one message, whatever its size."""

    __slots__ = ("_consumer", "_gaps", "_messages", "_most", "has_ended", "position")

    def __init__(self, consumer: PollConsumer, wire: Wire, limits: QueueLimits, name: str) -> None:
        super().__init__(consumer, wire, limits, Policy.DISCONNECT, name)
        self._consumer = consumer
        self._most = limits
        self._messages: Sequence[Message] = ()
        self._gaps: Sequence[Gap] = ()
        self.position = ""
        """The id from which to go on where nothing was heard."""
        self.has_ended = False
        """Whether every channel has ended, and nothing more can be heard."""

    def deliver(self, batch: Batch) -> int:
        """Hear a batch live, and be done."""
        if not self.is_closed and (wanted := self.select(batch)):
            self._messages = [delivery.message for delivery in wanted]
            self.finish()
        return 0

    def gap(self, gaps: Iterable[Gap]) -> None:
        """Remember gaps for the answer."""
        self._gaps = (*self._gaps, *gaps)

    def replay(self, catch_up: CatchUp, page: Page, recent: Recent) -> bool:
        """Hear a page of history; be done when there is enough, or something and no more."""
        messages = [*self._messages, *page.messages]
        self._gaps = (*self._gaps, *catch_up.unreported(page.gaps))
        self.position = str(page.position)
        done = page.is_last and catch_up.has_reached(page.position)
        if done:
            messages += [delivery.message for delivery in catch_up.take_held()]
            self.go_live(catch_up.topics, page.position.seq)
        self._messages = tuple(messages)
        if self._fits() < len(self._messages) or (done and (self._messages or self._gaps)):
            self.finish()
        elif done:
            for channel in dict.fromkeys((*page.ended, *catch_up.ends)):
                self.end(channel)
        return done

    def finish(self) -> None:
        """Be done with what there is by now, be it nothing."""
        messages = self._messages[: self._fits()]
        position = messages[-1].id if messages else self.position
        self._consumer.deliver_result(PollResult(messages, self._gaps, position, self.has_ended))

    def _fits(self) -> int:
        """How many of the messages one answer holds."""
        size = 0
        for number, message in enumerate(self._messages):
            size += len(message.data)
            if number and (number >= self._most.messages or size > self._most.bytes):
                return number
        return len(self._messages)
