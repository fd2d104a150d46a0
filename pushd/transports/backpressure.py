"""Backpressure: the producer interface of Twisted, mapped to the pause and resume of a subscriber.

A peer of two-way transports is not read while it does not read: the answers to what it sends would fill the memory.
"""

from typing import Any, Final

from twisted.internet.interfaces import IPushProducer
from zope.interface import implementer

from pushd.core.errors import Refusal
from pushd.core.subscriber import Subscriber
from pushd.hub.session import Session
from pushd.net.sockets import has_unread

CLOSE_SECONDS: Final = 5.0
"""Seconds that a peer may take to read its queue, and to answer a close frame."""
_ABRUPT_SECONDS: Final = 0.5
"""Seconds that a peer may take to read the reason and close, where it must not receive what is queued."""


@implementer(IPushProducer)
class Backpressure:
    """An outlet that has a subscriber and is registered with its Twisted transport as a push producer."""

    __slots__ = ()

    subscriber: Subscriber

    def closing_seconds(self, why: Refusal) -> float:
        """Return how long the connection may take to close: no time if its queued output is discarded."""
        if not why.is_abrupt:
            return CLOSE_SECONDS
        return 0.0 if self.subscriber.is_paused else _ABRUPT_SECONDS

    @property
    def last_write(self) -> int:
        """The tick of the last write."""
        return self.subscriber.last_write

    @last_write.setter
    def last_write(self, tick: int) -> None:
        self.subscriber.last_write = tick

    def pauseProducing(self) -> None:
        """Called when the send buffer of the transport is full."""
        self.subscriber.pause()

    def resumeProducing(self) -> None:
        """Called when the send buffer of the transport is empty again."""
        self.subscriber.resume()

    def stopProducing(self) -> None:
        """Called when the connection is lost; ignored, since `connectionLost` is called as well."""


class TwoWayBackpressure(Backpressure):
    """Backpressure in both directions. Reading pauses after the first bytes that arrive while the peer does not read,
    so that it costs nothing for a peer that only receives.
    """

    __slots__ = ()

    transport: Any
    _session: Session[Any]

    @property
    def is_busy(self) -> bool:
        """Whether received commands are being executed or wait."""
        return self._session.is_busy

    @property
    def has_unread(self) -> bool:
        """Whether the peer has sent bytes, perhaps a pong or the rest of a line, that were not read yet."""
        return has_unread(self.transport)

    def resumeProducing(self) -> None:
        """Called when the send buffer of the transport is empty again: send the queue, and read on."""
        super().resumeProducing()
        self.continue_reading()

    def continue_reading(self) -> None:
        """Read on, unless the peer does not read, or commands wait."""
        if not (self.subscriber.is_paused or self.is_busy):
            self.transport.resumeProducing()
