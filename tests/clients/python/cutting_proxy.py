"""A proxy that cuts connections at random bytes, in either direction."""

import random
from typing import Any

from twisted.internet.interfaces import IReactorTCP
from twisted.internet.protocol import Factory, Protocol


class _Side(Protocol):
    """One side of a connection through the proxy."""

    transport: Any

    def __init__(self, link: "_Link") -> None:
        self._link = link

    def connectionMade(self) -> None:
        """Pass on what has arrived before."""
        self._link.made(self)

    def dataReceived(self, data: bytes) -> None:
        """Pass data on, up to the cut."""
        self._link.pass_on(self, data)

    def connectionLost(self, reason: object = None) -> None:
        """Close the other side, too."""
        self._link.close(self)


class _Link:
    """Both sides of a connection, and the bytes until it is cut."""

    def __init__(self, proxy: "CuttingProxy", left: int) -> None:
        self._proxy = proxy
        self._left = left
        self._server: _Side | None = None
        self._early: list[bytes] = []
        self.client = _Side(self)
        self._is_closed = False

    def made(self, side: _Side) -> None:
        """One side is connected."""
        if side is self.client:
            self._proxy.connect(Factory.forProtocol(lambda: _Side(self)))
            return
        self._server = side
        if self._is_closed:
            self._abort(side)
        for data in self._early:
            side.transport.write(data)

    def pass_on(self, side: _Side, data: bytes) -> None:
        """Pass data to the other side, up to the cut."""
        if self._proxy.is_silent and side is not self.client:
            return
        piece = data[: self._left]
        self._left -= len(piece)
        other = self._server if side is self.client else self.client
        if other is None:
            self._early.append(piece)
        elif piece:
            other.transport.write(piece)
        if self._left <= 0:
            self._proxy.cuts += 1
            self.close(None)

    def close(self, lost: _Side | None) -> None:
        """Close the other side of a lost one; both when the connection is cut, what was passed on included."""
        self._is_closed = True
        for side in (self.client, self._server):
            if side is not None and side is not lost and side.transport is not None:
                side.transport.loseConnection()
        self._proxy.links.discard(self)

    @staticmethod
    def _abort(side: _Side) -> None:
        side.transport.abortConnection()


class CuttingProxy:
    """Listens on a free port of 127.0.0.1, and connects to another one.

    :param longest: a connection is cut after 1 to so many bytes in both directions together; 0: never.
    """

    def __init__(self, reactor: IReactorTCP, port: int, seed: int, longest: int) -> None:
        self._reactor: Any = reactor
        self._target = port
        self._random = random.Random(seed)
        self.longest = longest
        self.cuts = 0
        self.is_silent = False
        """Whether nothing of the server reaches the clients."""
        self.links: set[_Link] = set()
        factory: Any = Factory.forProtocol(self._accept)
        factory.noisy = False
        self._listening: Any = self._reactor.listenTCP(0, factory, interface="127.0.0.1")

    @property
    def port(self) -> int:
        """The port on which it listens."""
        return int(self._listening.getHost().port)

    def target(self, port: int) -> None:
        """Connect to another port from now on."""
        self._target = port

    def connect(self, factory: Any) -> None:
        """Connect to the server."""
        from twisted.internet.endpoints import TCP4ClientEndpoint

        factory.noisy = False
        connecting = TCP4ClientEndpoint(self._reactor, "127.0.0.1", self._target).connect(factory)
        connecting.addErrback(lambda failure: self.cut())

    def cut(self) -> None:
        """Cut all connections."""
        for link in list(self.links):
            link.close(None)

    async def close(self) -> None:
        """Stop listening, and cut all connections."""
        await self._listening.stopListening()
        self.cut()

    def _accept(self) -> Protocol:
        left = self._random.randint(1, self.longest) if self.longest else 1 << 60
        link = _Link(self, left)
        self.links.add(link)
        return link.client
