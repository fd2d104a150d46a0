"""Live connections: the one place where a connection enters the daemon, and the one where it leaves.

Counters, keepalive, the access log and the hub follow from it. Whatever else has to know of connections belongs here.
"""

from collections.abc import Callable
from typing import Generic, Protocol, TypeVar

from pushd.core.errors import Refusal
from pushd.core.subscriber import Subscriber
from pushd.http.access_log import AccessLog
from pushd.hub.hub import Hub
from pushd.metrics import Counters


class Connection(Protocol):
    """A connection with a subscriber."""

    @property
    def subscriber(self) -> Subscriber:
        """The subscriber, which is the same for the whole life of the connection."""

    def close(self, why: Refusal) -> None:
        """Close the connection, and remove it."""


C = TypeVar("C", bound=Connection)


class LiveConnections(Generic[C]):
    """The live connections of a transport.

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
        self._live: dict[C, None] = {}

    def __len__(self) -> int:
        """Return the number of live connections."""
        return len(self._live)

    def add(self, connection: C) -> None:
        """Add a new connection, before its first subscription: its peer gets an id."""
        subscriber = connection.subscriber
        self._hub.add(subscriber)
        self._live[connection] = None
        self._counters.connections[subscriber.peer.transport] += 1

    def remove(self, connection: C, why: Refusal | None = None) -> None:
        """Remove a connection that is closing or closed; its subscriber is closed.

        :param why: the refusal with which it is closed; None when its client has disconnected or nothing is wrong.
        :raises KeyError: when it was removed before.
        """
        del self._live[connection]
        subscriber = connection.subscriber
        self._counters.connections[subscriber.peer.transport] -= 1
        self._hub.remove(subscriber, why)
        if self._access is not None:
            self._access.stream_closed(connection, str(subscriber.peer))
        self._on_removed(connection)

    def close_all(self, why: Refusal, *, busy: bool = True) -> None:
        """Close all connections.

        :param busy: whether to close those whose clients have not read their queue yet, too.
        """
        for connection in list(self._live):
            if busy or not connection.subscriber.is_paused:
                connection.close(why)
