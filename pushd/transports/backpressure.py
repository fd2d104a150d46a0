"""Backpressure: what Twisted's transports say of their buffer, in the words of a subscriber."""

from twisted.internet.interfaces import IPushProducer
from zope.interface import implementer

from pushd.core.subscriber import Subscriber


@implementer(IPushProducer)
class Backpressure:
    """An outlet that is registered with its transport as a producer, and has a subscriber."""

    __slots__ = ()

    subscriber: Subscriber

    @property
    def last_write(self) -> int:
        """The hour at which it was last written to."""
        return self.subscriber.last_write

    @last_write.setter
    def last_write(self, hour: int) -> None:
        self.subscriber.last_write = hour

    def pauseProducing(self) -> None:
        """Know that the transport has enough to send."""
        self.subscriber.pause()

    def resumeProducing(self) -> None:
        """Know that the transport has sent all."""
        self.subscriber.resume()

    def stopProducing(self) -> None:
        """Know that the connection is lost, which the connection itself tells as well."""
