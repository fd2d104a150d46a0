"""What the sockets of connections are told: how to find a dead peer, and how to close on one that does not read."""

import socket
from typing import Any

from twisted.internet.interfaces import IReactorTime

_PROBES = 3


def find_dead_peer(transport: Any, seconds: int) -> None:
    """Let TCP give a peer up of which nothing was heard for `seconds`, whether it owes us data (RFC 5482) or not
    (RFC 9293, 3.8.4).

    Half of the time is for each: what is sent to a peer that fell silent starts the clock of unanswered data, and then
    the probes stop. Does nothing on a transport that is not TCP.
    """
    sock = _socket_of(transport)
    if sock is None:
        return
    patience = max(2, seconds // 2)
    interval = max(1, patience // (_PROBES + 2))
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in (
        ("TCP_KEEPIDLE", max(1, patience - _PROBES * interval)),
        ("TCP_KEEPINTVL", interval),
        ("TCP_KEEPCNT", _PROBES),
        ("TCP_USER_TIMEOUT", patience * 1000),
    ):
        if option := getattr(socket, name, None):
            sock.setsockopt(socket.IPPROTO_TCP, option, value)


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


def _socket_of(transport: Any) -> socket.socket | None:
    while (inner := getattr(transport, "transport", None)) is not None:
        transport = inner
    sock = transport.getHandle() if hasattr(transport, "getHandle") else None
    is_tcp = isinstance(sock, socket.socket) and sock.family in (socket.AF_INET, socket.AF_INET6)
    return sock if is_tcp else None


def close_within(transport: Any, clock: IReactorTime, seconds: float) -> None:
    """Close once all is sent, and after `seconds` in any case."""
    transport.loseConnection()
    clock.callLater(seconds, transport.abortConnection)
