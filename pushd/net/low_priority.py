"""Low-priority readers: connections that are read for a time slice per reactor turn, so that publishers do not queue.

Ten thousand clients that reconnect at the same time are seconds of work. The reactor serves sockets in the order in
which epoll reports them, so a publish would queue behind all of them. Therefore connections are registered with a
second epoll (epoll(7)), of which the reactor serves one time slice per turn. A connection that publishes is
prioritized: it moves to the reactor's own epoll. The other connections lose nothing by that: they are served
continuously, in the order in which they become readable.
"""

import select
from collections.abc import Collection
from typing import Any

from twisted.internet.interfaces import IReadDescriptor
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from pushd.net.turn_slices import SLICE_SECONDS

_ACCEPTS_PER_TURN = 4
"""Connections that a port accepts per reactor turn, which takes a quarter of a millisecond. Twisted would accept up to
20 more in each turn. While 10,000 TCP-line clients reconnected, the p99 of live delivery was six times its normal value
with 10 accepts per turn and three times with 4, and the clients were served just as soon.
"""


@implementer(IReadDescriptor)
class LowPriorityReaders:
    """A set of connections that the reactor reads through one descriptor, the second epoll.

    Without epoll, before `start` and after `stop`, the reactor reads the connections directly.
    """

    log = Logger()

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor
        self._poll: select.epoll | None = None
        self._connections: dict[int, Any] = {}
        """Connections by file descriptor."""

    def __len__(self) -> int:
        """Return the number of connections."""
        return len(self._connections)

    def start(self) -> None:
        """Create the second epoll and register it with the reactor."""
        if hasattr(select, "epoll"):
            self._poll = select.epoll()
            self._reactor.addReader(self)

    def stop(self) -> None:
        """Close the second epoll and let the reactor read all connections directly."""
        poll, self._poll = self._poll, None
        if poll is not None:
            self._reactor.removeReader(self)
            poll.close()
        for connection in self._clear():
            self._reactor.addReader(connection)

    def add(self, connection: Any) -> None:
        """Start to read a connection. Adding it again has no effect."""
        if self._poll is None:
            self._reactor.addReader(connection)
        elif (descriptor := connection.fileno()) not in self._connections:
            self._poll.register(descriptor, select.EPOLLIN)
            self._connections[descriptor] = connection

    def remove(self, connection: Any) -> bool:
        """Stop reading a connection. Return whether it was read here."""
        descriptor = connection.fileno()
        if self._poll is None or descriptor not in self._connections:
            return False
        self._poll.unregister(descriptor)
        del self._connections[descriptor]
        return True

    # Called by the reactor

    def fileno(self) -> int:
        """Return the descriptor of the second epoll, which is readable while any connection is; -1 if there is none."""
        return -1 if self._poll is None else self._poll.fileno()

    def doRead(self) -> None:
        """Read connections in the order in which they became readable, for one time slice. The rest follows next."""
        deadline = self._reactor.seconds() + SLICE_SECONDS
        while self._poll is not None and (readable := self._poll.poll(0, 1)):
            self._serve(self._connections[readable[0][0]])
            if self._reactor.seconds() >= deadline:
                return

    def connectionLost(self, reason: Failure) -> None:
        """Called when the reactor stops: report the loss to each connection."""
        for connection in self._clear():
            connection.connectionLost(reason)

    def logPrefix(self) -> str:
        """Return the name in the log."""
        return "low-priority readers"

    # Internal

    def _serve(self, connection: Any) -> None:
        """Read from a connection, as the reactor does in ``_doReadOrWrite``.

        `_disconnectSelectable` has no public equivalent. It reports a half-closed connection to the protocols that
        expect it, and a lost one to all others.
        """
        try:
            reason = connection.doRead()
        except Exception as error:
            self.log.failure("Reading from a connection failed; closing it")
            reason = error
        if reason:
            self.remove(connection)
            try:
                self._reactor._disconnectSelectable(connection, reason, True)
            except Exception:
                self.log.failure("Closing a connection failed")

    def _clear(self) -> Collection[Any]:
        connections, self._connections = self._connections, {}
        return connections.values()


def deprioritize(port: Any, readers: LowPriorityReaders) -> None:
    """Make a port with direct send accept only a few connections per reactor turn, and read them with low priority.

    Twisted adapts the number of accepts (`numberAccepts`) to the load at the end of each `doRead`, and has no option
    for it. So `doRead` is wrapped, and resets the number.
    """
    port.low_priority = readers
    accept = port.doRead

    def accept_few() -> None:
        port.numberAccepts = _ACCEPTS_PER_TURN
        accept()

    port.doRead = accept_few


def prioritize(transport: Any) -> None:
    """Move a connection that publishes to the reactor, which then reads it directly.

    :param transport: possibly wrapped, as by TLS. A connection that has no low priority is not changed.
    """
    while (inner := getattr(transport, "transport", None)) is not None:
        transport = inner
    if getattr(transport, "low_priority", None) is not None:
        transport.prioritize()
