"""What the sockets of connections are told: how to find a dead peer, and how to close on one that does not read."""

import socket
from typing import Any

from twisted.internet.interfaces import IReactorTime

_PROBES = 3


def find_dead_peer(transport: Any, seconds: int) -> None:
    """Let TCP give a peer up that was silent for `seconds`, whether it owes us data (RFC 5482) or not
    (RFC 9293, 3.8.4).

    Does nothing on a transport that is not TCP.
    """
    while (inner := getattr(transport, "transport", None)) is not None:
        transport = inner
    sock = transport.getHandle() if hasattr(transport, "getHandle") else None
    if not isinstance(sock, socket.socket) or sock.family not in (socket.AF_INET, socket.AF_INET6):
        return
    interval = max(1, seconds // (_PROBES + 2))
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in (
        ("TCP_KEEPIDLE", max(1, seconds - _PROBES * interval)),
        ("TCP_KEEPINTVL", interval),
        ("TCP_KEEPCNT", _PROBES),
        ("TCP_USER_TIMEOUT", seconds * 1000),
    ):
        if option := getattr(socket, name, None):
            sock.setsockopt(socket.IPPROTO_TCP, option, value)


def close_within(transport: Any, clock: IReactorTime, seconds: float) -> None:
    """Close once all is sent, and after `seconds` in any case."""
    transport.loseConnection()
    clock.callLater(seconds, transport.abortConnection)
