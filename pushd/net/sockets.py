"""Options of connection sockets: how much to read and to send ahead, and how to close."""

import socket
from typing import Any

from twisted.internet.interfaces import IReactorTime
from twisted.protocols.policies import ProtocolWrapper


def limit_unsent(transport: Any, unsent: int) -> None:
    """Limit the unsent bytes in the kernel's buffer to about `unsent` (TCP_NOTSENT_LOWAT, tcp(7)).

    It has no effect on a transport that is not TCP, nor where the option does not exist.
    """
    sock = _socket_of(transport)
    if sock is not None and (option := getattr(socket, "TCP_NOTSENT_LOWAT", None)):
        sock.setsockopt(socket.IPPROTO_TCP, option, unsent)


def limit_reads(transport: Any, size: int) -> None:
    """Read at most `size` bytes from a connection per reactor turn; Twisted's default is 64 KiB.

    So many small frames or pipelined requests of one connection do not delay the other connections.
    """
    while (inner := getattr(transport, "transport", None)) is not None:
        transport = inner
    if hasattr(transport, "bufferSize"):
        transport.bufferSize = size


def has_unread(transport: Any) -> bool:
    """Return whether the kernel has bytes from the peer that have not been read yet."""
    sock = _socket_of(transport, socket.AF_UNIX)
    try:
        return sock is not None and bool(sock.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT))
    except OSError:
        return False


def attach_protocol(transport: Any, protocol: Any) -> None:
    """Attach another protocol to an open connection."""
    if isinstance(transport, ProtocolWrapper):
        transport.wrappedProtocol = protocol
    else:
        transport.protocol = protocol


def _socket_of(transport: Any, *other_families: socket.AddressFamily) -> socket.socket | None:
    """Return the socket of a TCP connection, or of one of the other families; else None."""
    while (inner := getattr(transport, "transport", None)) is not None:
        transport = inner
    sock = transport.getHandle() if hasattr(transport, "getHandle") else None
    has_family = isinstance(sock, socket.socket) and sock.family in (socket.AF_INET, socket.AF_INET6, *other_families)
    return sock if has_family else None


def close_within(transport: Any, clock: IReactorTime, seconds: float) -> None:
    """Close the connection when its buffer is sent, and abort it after `seconds` at the latest."""
    transport.loseConnection()
    clock.callLater(seconds, transport.abortConnection)
