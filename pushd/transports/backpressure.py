"""Backpressure: the producer interface of Twisted, mapped to the pause and resume of a subscriber."""

from twisted.internet.interfaces import IPushProducer
from zope.interface import implementer

from pushd.core.subscriber import Subscriber


@implementer(IPushProducer)
class Backpressure:
    """An outlet that has a subscriber and is registered with its Twisted transport as a push producer."""

    __slots__ = ()

    subscriber: Subscriber

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
