"""The back row: connections that are read a little at a time, so that no crowd of them keeps publishers waiting.

Ten thousand clients that come back at once are seconds of work. Whoever is read in the order in which the kernel tells
of it waits behind all of them, and so does a message that is to be published. Therefore each connection sits in the
back row, a poll of its own within the reactor's (epoll(7)), of which each turn of the reactor serves a slice. Who has
published comes forward, and is read by the reactor itself from then on. Nobody else loses by that: the row is served
without a pause, in the order in which its members have something to say.
"""

import select
from collections.abc import Collection
from typing import Any

from twisted.internet.interfaces import IReadDescriptor
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from pushd.net.slices import SLICE_SECONDS

_ACCEPTED = 4
"""Connections that a port accepts in a turn: a quarter of a millisecond. Twisted takes 20 more in each turn. With 10
the p99 of live deliveries was six times its normal while 10,000 came by lines; with 4 it is three times, and they are
served as soon.
"""


@implementer(IReadDescriptor)
class BackRow:
    """Some connections, as one thing that the reactor reads.

    Where there is no epoll, and before `start` and after `stop`, they are read by the reactor.
    """

    log = Logger()

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor
        self._poll: select.epoll | None = None
        self._seated: dict[int, Any] = {}
        """By descriptor."""

    def __len__(self) -> int:
        """How many are read by it."""
        return len(self._seated)

    def start(self) -> None:
        """Begin to read."""
        if hasattr(select, "epoll"):
            self._poll = select.epoll()
            self._reactor.addReader(self)

    def stop(self) -> None:
        """Leave all to the reactor."""
        poll, self._poll = self._poll, None
        if poll is not None:
            self._reactor.removeReader(self)
            poll.close()
        for connection in self._unseat():
            self._reactor.addReader(connection)

    def seat(self, connection: Any) -> None:
        """Read a connection from now on, if that is not done already."""
        if self._poll is None:
            self._reactor.addReader(connection)
        elif (descriptor := connection.fileno()) not in self._seated:
            self._poll.register(descriptor, select.EPOLLIN)
            self._seated[descriptor] = connection

    def leave(self, connection: Any) -> bool:
        """Read a connection no more; tell whether it was read here."""
        descriptor = connection.fileno()
        if self._poll is None or descriptor not in self._seated:
            return False
        self._poll.unregister(descriptor)
        del self._seated[descriptor]
        return True

    # From the reactor

    def fileno(self) -> int:
        """Give what is readable while anything is due here."""
        return -1 if self._poll is None else self._poll.fileno()

    def doRead(self) -> None:
        """Serve a slice of what is due, in its order: who is not reached is next."""
        until = self._reactor.seconds() + SLICE_SECONDS
        while self._poll is not None and (due := self._poll.poll(0, 1)):
            self._serve(self._seated[due[0][0]])
            if self._reactor.seconds() >= until:
                return

    def connectionLost(self, reason: Failure) -> None:
        """Know that the reactor ends, and so does each connection."""
        for connection in self._unseat():
            connection.connectionLost(reason)

    def logPrefix(self) -> str:
        """Give what it is called in the log."""
        return "back row"

    # Within

    def _serve(self, connection: Any) -> None:
        """Read a connection as the reactor does."""
        try:
            why = connection.doRead()
        except Exception as broken:
            self.log.failure("A connection could not be read")
            why = broken
        if why:
            self.leave(connection)
            try:
                self._reactor._disconnectSelectable(connection, why, True)
            except Exception:
                self.log.failure("A connection could not be closed")

    def _unseat(self) -> Collection[Any]:
        seated, self._seated = self._seated, {}
        return seated.values()


def sit_behind(port: Any, row: BackRow) -> None:
    """Let the connections that a port accepts from now on begin in the back row, and accept a few in each turn only."""
    port.back_row = row
    accept = port.doRead

    def accept_few() -> None:
        port.numberAccepts = _ACCEPTED
        accept()

    port.doRead = accept_few


def come_forward(transport: Any) -> None:
    """Let a connection be read by the reactor itself from now on, since it publishes. Others than those of a port that
    sits behind stay as they are.
    """
    while (inner := getattr(transport, "transport", None)) is not None:
        transport = inner
    if getattr(transport, "back_row", None) is not None:
        transport.come_forward()
