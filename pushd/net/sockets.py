"""What the sockets of connections are told: how much to read and to send, and how to close."""

import socket
from typing import Any

from twisted.internet.interfaces import IReactorTime
from twisted.protocols.policies import ProtocolWrapper


def send_little_ahead(transport: Any, unsent: int) -> None:
    """Keep at most about `unsent` bytes in the kernel that the network has not taken yet (Linux, TCP_NOTSENT_LOWAT).

    Does nothing on a transport that is not TCP.
    """
    sock = _socket_of(transport)
    if sock is not None and (option := getattr(socket, "TCP_NOTSENT_LOWAT", None)):
        sock.setsockopt(socket.IPPROTO_TCP, option, unsent)


def read_little(transport: Any, size: int) -> None:
    """Take at most `size` bytes from a connection in one turn of the reactor, where Twisted would take 64 KiB.

    What is made of many small things, as frames and pipelined requests are, keeps nobody else waiting then.
    """
    while (inner := getattr(transport, "transport", None)) is not None:
        transport = inner
    if hasattr(transport, "bufferSize"):
        transport.bufferSize = size


def has_unread(transport: Any) -> bool:
    """Tell whether the peer has sent what was not read yet: then it is not the peer that is late."""
    sock = _socket_of(transport, socket.AF_UNIX)
    try:
        return sock is not None and bool(sock.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT))
    except OSError:
        return False


def hand_over(transport: Any, protocol: Any) -> None:
    """Let another protocol have a connection that is open."""
    if isinstance(transport, ProtocolWrapper):
        transport.wrappedProtocol = protocol
    else:
        transport.protocol = protocol


def _socket_of(transport: Any, *others: socket.AddressFamily) -> socket.socket | None:
    """Give the socket of a connection by TCP, or by one of the `others`."""
    while (inner := getattr(transport, "transport", None)) is not None:
        transport = inner
    sock = transport.getHandle() if hasattr(transport, "getHandle") else None
    is_wanted = isinstance(sock, socket.socket) and sock.family in (socket.AF_INET, socket.AF_INET6, *others)
    return sock if is_wanted else None


def close_within(transport: Any, clock: IReactorTime, seconds: float) -> None:
    """Close once all is sent, and after `seconds` in any case."""
    transport.loseConnection()
    clock.callLater(seconds, transport.abortConnection)
