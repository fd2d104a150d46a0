"""TCP ports that several processes share with SO_REUSEPORT: Linux hands each new connection to one of them (socket(7)).

Twisted's endpoints have no such option, but they listen through the reactor that is passed to them. This one creates
shared ports.
"""

import socket
from typing import Any

from twisted.internet.tcp import Port
from twisted.protocols.tls import TLSMemoryBIOFactory


class _SharedPort(Port):
    """A TCP port that other processes may listen on too."""

    def createInternetSocket(self) -> socket.socket:
        """Create the socket, with the option set before it is bound."""
        sock: socket.socket = super().createInternetSocket()
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        return sock


class SharingReactor:
    """A proxy of the reactor whose TCP and TLS ports are shared."""

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
