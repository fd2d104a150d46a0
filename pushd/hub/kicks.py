"""Kicks: an operator closes a connection, or all those of a subject at all nodes."""

from collections.abc import Callable, Collection, Generator
from typing import Final

from twisted.logger import Logger

from pushd.audit.log import AuditLog
from pushd.backends.interface import Backend, ClosedElsewhere
from pushd.core.errors import Kicked, Refusal, UnknownConnection
from pushd.core.identity import Identity
from pushd.core.peer import Peer
from pushd.core.register import Register
from pushd.core.subscriber import Subscriber
from pushd.hub.authorization import check_operation
from pushd.net.turn_slices import Slices

_SCANNED: Final = 500
"""Connections that are compared at a time: about 0.3 ms."""
_CLOSED: Final = 20
"""Connections that are closed at a time: about 2 ms."""


class Kicks:
    """The kicks of operators.

    :param disconnect: disconnects a subscriber with a refusal.
    :param turns: in which the connections of a subject are closed.
    """

    log = Logger()

    def __init__(
        self,
        backend: Backend,
        register: Register,
        disconnect: Callable[[Subscriber, Refusal], None],
        turns: Slices,
        audit: AuditLog,
    ) -> None:
        self._backend = backend
        self._register = register
        self._disconnect = disconnect
        self._turns = turns
        self._audit = audit

    def kick(self, peer: Peer, id: str) -> None:
        """Close a connection.

        :raises NotGranted: when the peer may not.
        :raises UnknownConnection: when there is no such connection at this node.
        """
        check_operation(peer, "kick")
        subscriber = self._register.find(id)
        if subscriber is None:
            raise UnknownConnection("there is no such connection at this node; /connections lists them")
        self.log.info("{peer}: connection closed by an operator", peer=subscriber.peer)
        self._audit.kicked(peer, subscriber.peer)
        self._disconnect(subscriber, Kicked("an operator closed this connection"))

    async def kick_subject(self, peer: Peer, subject: str) -> ClosedElsewhere:
        """Close the connections of a subject at all nodes, and return how many there were, and from how many nodes
        that is not known.

        :raises NotGranted: when the peer may not.
        :raises Unavailable: when the other nodes cannot be asked; those of this one are closed nevertheless.
        """
        check_operation(peer, "kick")
        closed, unanswered = await self.on_kick(subject), 0
        try:
            others = await self._backend.kick(subject)
            closed, unanswered = closed + others.closed, others.unanswered
        finally:
            self.log.info("{peer}: {count} connections of a subject closed by an operator", peer=peer, count=closed)
            self._audit.kicked_subject(peer, subject, closed)
        return ClosedElsewhere(closed, unanswered)

    async def on_kick(self, subject: str) -> int:
        """See `BackendEvents`."""
        why = Kicked("an operator closed the connections of this subject")

        def matches(identity: Identity) -> bool:
            return identity.subject == subject

        return await self._turns.run(close_matching(self._register.all(), matches, self._disconnect, why))


def close_matching(
    connections: Collection[Subscriber],
    matches: Callable[[Identity], bool],
    disconnect: Callable[[Subscriber, Refusal], None],
    why: Refusal,
) -> Generator[None, None, int]:
    """Close the connections whose identity matches, in steps; return how many there were."""
    closed = 0
    for number, subscriber in enumerate(list(connections), 1):
        identity = subscriber.peer.identity
        if identity is not None and not subscriber.is_closed and matches(identity):
            closed += 1
            disconnect(subscriber, why.without_traceback())
            if closed % _CLOSED == 0:
                yield
        elif number % _SCANNED == 0:
            yield
    return closed
