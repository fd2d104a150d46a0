"""Sending at once: transports that hand bytes to the kernel in `write`, and wait for the reactor only with the rest.

Twisted's own `write` always waits: it asks epoll whether the socket is writable, sends in the next turn and asks epoll
to stop, which is three system calls more than the one that is needed while the peer keeps up.
"""

import socket
from collections.abc import Iterable
from typing import Any

from twisted.internet import tcp, unix
from twisted.internet.abstract import FileDescriptor
from twisted.internet.address import IPv6Address

from pushd.net.back_row import BackRow

_PROBE = getattr(socket, "TCP_KEEPIDLE", None)


class _Prompt(FileDescriptor):
    """What both kinds of connection have in common. Its write buffer is empty, or the producer is paused."""

    socket: socket.socket
    producer: Any
    back_row: BackRow | None = None
    """Where it is read; None: by the reactor itself."""

    def startReading(self) -> None:
        """Read from now on."""
        if self.back_row is None:
            super().startReading()
        else:
            self.back_row.seat(self)

    def stopReading(self) -> None:
        """Read no more."""
        if self.back_row is None or not self.back_row.leave(self):
            super().stopReading()

    def come_forward(self) -> None:
        """Be read by the reactor itself from now on."""
        row, self.back_row = self.back_row, None
        if row is not None and row.leave(self):
            self.startReading()

    def write(self, data: bytes) -> None:
        """Send what the kernel takes now; only the rest waits, and then the producer is paused."""
        if self.dataBuffer or self._tempDataBuffer or not data or not self.connected or self._writeDisconnected:
            super().write(data)
            return
        try:
            sent = self.socket.send(data)
        except OSError:  # would block, or the peer is gone, which the reactor finds out in a turn of its own
            sent = 0
        if sent < len(data):
            # As Twisted keeps what it has begun to send: so the rest of a block that many share is not copied for each.
            self.dataBuffer, self.offset = data, sent
            self.startWriting()
            if self.producer is not None and not self.producerPaused:
                self.producerPaused = True
                self.producer.pauseProducing()

    def writeSequence(self, pieces: Iterable[bytes]) -> None:
        """Send pieces as one."""
        self.write(b"".join(pieces))


class PromptServer(_Prompt, tcp.Server):
    """A TCP connection that sends at once.

    It is what Twisted's own is, but for what that writes down of each connection for the log: here it is worked out
    when somebody asks, since it is 160 bytes, and most of the time that it takes to make a connection.
    """

    def __init__(self, sock: Any, protocol: Any, client: Any, server: Any, sessionno: int, reactor: Any) -> None:
        sock.setblocking(False)
        self.reactor = reactor
        self._tempDataBuffer = []
        self._tempDataLen = 0
        self.socket = sock
        self.fileno = sock.fileno
        self.protocol = protocol
        if len(client) != 2:
            self._addressType = IPv6Address
        self.server = server
        self.client = client
        self.sessionno = sessionno
        self.connected = 1
        if _PROBE is not None and (probe_after := getattr(server, "probe_after", None)) is not None:
            sock.setsockopt(socket.IPPROTO_TCP, _PROBE, next(probe_after))
        self.back_row = getattr(server, "back_row", None)
        self.startReading()

    def logPrefix(self) -> str:
        """Give what it is called in the log."""
        return f"{self._carried},{self.sessionno},{self.client[0]}"

    def __repr__(self) -> str:
        return f"<{self._carried} #{self.sessionno} from {self.client[0]}>"

    @property
    def _carried(self) -> str:
        return type(getattr(self, "protocol", None)).__name__


class PromptUnixServer(_Prompt, unix.Server):
    """A connection by a Unix socket that sends at once."""

    def __init__(self, sock: Any, protocol: Any, client: Any, server: Any, sessionno: int, reactor: Any) -> None:
        self.back_row = getattr(server, "back_row", None)
        super().__init__(sock, protocol, client, server, sessionno, reactor)


_PROMPT: dict[Any, type[_Prompt]] = {tcp.Server: PromptServer, unix.Server: PromptUnixServer}


def send_at_once(port: Any) -> None:
    """Let the connections that a port accepts from now on send at once. Other kinds of port stay as they are."""
    kind = _PROMPT.get(getattr(port, "transport", None))
    if kind is not None:
        port.transport = kind


def socket_of(transport: Any) -> socket.socket | None:
    """Give the socket to which bytes can be handed as they are; None where there is none (TLS).

    That may be done as long as the transport's producer is not paused: then nothing waits before them.
    """
    return transport.socket if isinstance(transport, _Prompt) else None
