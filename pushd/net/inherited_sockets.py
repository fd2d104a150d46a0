"""Listening sockets that are inherited from systemd (sd_listen_fds(3)).

Their family is that of the socket (SO_DOMAIN, socket(7)), whatever the endpoint string says: Twisted would read the
addresses of another family from uninitialised bytes. A Unix socket belongs to systemd: its file keeps its mode, and
stays when the daemon stops.
"""

import os
import socket
from typing import Any

from twisted.internet import unix


class InheritingReactor:
    """A proxy of the reactor that adopts inherited sockets as what they are."""

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor

    def __getattr__(self, name: str) -> Any:
        return getattr(self._reactor, name)

    def adoptStreamPort(self, fileDescriptor: int, addressFamily: int, factory: Any) -> Any:
        """See `IReactorSocket`. The family is ignored."""
        family = family_of(fileDescriptor)
        if family != socket.AF_UNIX:
            return self._reactor.adoptStreamPort(fileDescriptor, family, factory)
        port = unix.Port._fromListeningDescriptor(self._reactor, fileDescriptor, factory)
        # Twisted changes and removes only the files of sockets that are not abstract.
        port._bindPath = b"\0" + port._bindPath
        port.startListening()
        return port


def family_of(descriptor: int) -> int:
    """Return the family of a socket.

    :raises OSError: when the descriptor is not a socket.
    """
    with socket.socket(fileno=os.dup(descriptor)) as sock:
        return sock.family
