"""The time in which a two-way peer without a credential has to authenticate."""

from typing import Any, Protocol

from twisted.internet.interfaces import IReactorTime

from pushd.core.errors import TokenMissing
from pushd.core.subscriber import Subscriber
from pushd.hub.hub import Hub
from pushd.net.keepalive import Deadlines


class TwoWayConnection(Protocol):
    """A connection that accepts commands."""

    subscriber: Subscriber


class CredentialDeadlines(Deadlines[TwoWayConnection]):
    """Disconnects peers that do not authenticate in time; see `Peer.needs_credential`.

    There is no excuse, so that a peer cannot extend its time by sending. A deadline that is over has no effect if the
    peer has authenticated, or if a reload has granted something to peers without a credential.

    :param seconds: the time, from the opening of the connection.
    """

    def __init__(self, clock: IReactorTime, seconds: float, hub: Hub) -> None:
        super().__init__(clock, seconds, self._disconnect)
        self._hub = hub

    def expect(self, peer: Any) -> None:
        """Start the deadline of a new connection, if its peer has to authenticate."""
        if peer.subscriber.peer.needs_credential:
            super().expect(peer)

    def _disconnect(self, connection: TwoWayConnection) -> None:
        subscriber = connection.subscriber
        if subscriber.peer.needs_credential:
            refusal = TokenMissing(f"the connection must be authenticated within {self.seconds:g} seconds")
            self._hub.disconnect(subscriber, refusal)
