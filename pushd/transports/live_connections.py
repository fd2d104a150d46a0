"""Live connections: the one place where a connection is added, and the one where it is removed.

The id of its peer, the counters, the keepalive, the access log and the slot behind a proxy follow from it. What else
depends on the set of connections belongs here.
"""

from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

from pushd.core.cursor import Since
from pushd.core.errors import Refusal, TooManyConnections
from pushd.core.presence import AsMember
from pushd.core.replay import StartPosition
from pushd.core.subscriber import SubscriberClosed
from pushd.http.access_log import AccessLog
from pushd.hub.hub import Hub
from pushd.hub.subscriber_roles import subscribe_with_roles
from pushd.metrics import Counters
from pushd.net.admission import Slot
from pushd.transports.interface import Connection

C = TypeVar("C", bound=Connection)


class LiveConnections(Generic[C]):
    """The live connections of a transport: those that are being opened or are open, and not those that are closing.

    :param access: the access log, if the transport has an entry for each connection.
    :param on_removed: called with each connection that was removed.
    """

    def __init__(
        self,
        hub: Hub,
        counters: Counters,
        access: AccessLog | None = None,
        on_removed: Callable[[C], None] = lambda connection: None,
    ) -> None:
        self._hub = hub
        self._counters = counters
        self._access = access
        self._on_removed = on_removed
        self._live: dict[C, Slot | None] = {}

    def add(self, connection: C, slot: Slot | None = None) -> None:
        """Add a new connection, before its first subscription: its peer gets an id.

        :param slot: released when the connection is removed.
        :raises TooManyConnections: when the quota of its peer allows no more; the slot is released.
        """
        try:
            self._hub.add(connection.subscriber)
        except TooManyConnections:
            if slot is not None:
                slot.release()
            raise
        self._live[connection] = slot
        self._counters.connections[connection.subscriber.peer.transport] += 1

    async def subscribe(
        self,
        connection: C,
        topics: Sequence[str],
        since: Since,
        member: AsMember | None = None,
        *,
        responder: bool = False,
    ) -> StartPosition | None:
        """Subscribe a connection that is being opened; remove it when that fails.

        :param member, responder: see `subscribe_with_roles`.
        :return: where its replay starts; None when its client has disconnected meanwhile.
        :raises Refusal: when it was closed meanwhile, or cannot be subscribed.
        """
        try:
            return await subscribe_with_roles(
                self._hub, connection.subscriber, topics, since, member, responder=responder
            )
        except SubscriberClosed as closed:
            if closed.why is not None:
                raise closed.why from None
            return None
        except BaseException as error:
            self.discard(connection, error if isinstance(error, Refusal) else None)
            raise

    def remove(self, connection: C, why: Refusal | None = None) -> None:
        """Remove a connection that starts to close, and close its subscriber.

        :param why: the refusal with which it is closed; None when its client has disconnected or nothing is wrong.
        :raises KeyError: when it was removed before.
        """
        slot = self._live.pop(connection)
        subscriber = connection.subscriber
        self._counters.connections[subscriber.peer.transport] -= 1
        if not subscriber.is_closed:  # else the hub has removed it, because closing the connection failed
            self._hub.remove(subscriber, why)
        if slot is not None:
            slot.release()
        if self._access is not None:
            self._access.stream_closed(connection, str(subscriber.peer))
        self._on_removed(connection)

    def discard(self, connection: C, why: Refusal | None = None) -> bool:
        """Remove a lost connection, unless it was removed when it started to close; return whether it was live."""
        is_live = connection in self._live
        if is_live:
            self.remove(connection, why)
        return is_live

    def close_all(self, why: Refusal, *, busy: bool = True) -> None:
        """Close all connections; see `Transport`."""
        for connection in list(self._live):
            if busy or not connection.subscriber.is_paused:
                connection.close(why)
