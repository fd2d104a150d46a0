"""Ports that several processes share: SO_REUSEPORT, by which Linux gives each new connection to one of them.

See socket(7). Twisted's endpoints can not be told so; they only know the reactor that they are handed: this one makes
ports that share.
"""

import socket
from typing import Any

from twisted.internet.tcp import Port
from twisted.protocols.tls import TLSMemoryBIOFactory


class _SharedPort(Port):
    """A TCP port that does not mind company."""

    def createInternetSocket(self) -> socket.socket:
        """Make the socket; the option has to be there before it is bound."""
        sock: socket.socket = super().createInternetSocket()
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        return sock


class SharingReactor:
    """The reactor, but that whatever listens at a TCP port shares it."""

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor

    def __getattr__(self, name: str) -> Any:
        return getattr(self._reactor, name)

    def listenTCP(self, port: int, factory: Any, backlog: int = 50, interface: str = "") -> Port:
        """See `IReactorTCP`."""
        shared = _SharedPort(port, factory, backlog, interface, self._reactor)
        shared.startListening()
        return shared

    def listenSSL(self, port: int, factory: Any, contextFactory: Any, backlog: int = 50, interface: str = "") -> Port:
        """See `IReactorSSL`."""
        shared = self.listenTCP(port, TLSMemoryBIOFactory(contextFactory, False, factory), backlog, interface)
        shared._type = "TLS"
        return shared
