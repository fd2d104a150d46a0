"""Direct send: transports whose `write` calls send(2) immediately. Only what the kernel does not accept is buffered.

Twisted's own `write` always buffers: it registers the socket with epoll for writing, sends in the next reactor turn and
unregisters the socket. Those are three system calls more than the one that is needed while the peer keeps up.

This is the only module that reads or changes the write buffer of a Twisted connection: `dataBuffer` from `offset`, then
`_tempDataBuffer`.
"""

import socket
from collections.abc import Iterable
from typing import Any

from twisted.internet import tcp, unix
from twisted.internet.abstract import FileDescriptor
from twisted.internet.address import IPv6Address

from pushd.net.low_priority import LowPriorityReaders

_KEEPALIVE_IDLE = getattr(socket, "TCP_KEEPIDLE", None)


class _DirectSend(FileDescriptor):
    """A connection with direct send, by TCP or Unix socket. Its write buffer is empty, or its producer is paused."""

    socket: socket.socket
    producer: Any
    low_priority: LowPriorityReaders | None = None
    """The low-priority readers that read it; None if the reactor reads it directly."""

    def startReading(self) -> None:
        """Start or resume reading."""
        if self.low_priority is None:
            super().startReading()
        else:
            self.low_priority.add(self)

    def stopReading(self) -> None:
        """Pause or stop reading."""
        if self.low_priority is None or not self.low_priority.remove(self):
            super().stopReading()

    def prioritize(self) -> None:
        """Move the connection to the reactor, which then reads it directly."""
        readers, self.low_priority = self.low_priority, None
        if readers is not None and readers.remove(self):
            self.startReading()

    def write(self, data: bytes) -> None:
        """Send immediately. If the kernel does not accept all bytes, buffer the rest and pause the producer."""
        if self.dataBuffer or self._tempDataBuffer or not data or not self.connected or self._writeDisconnected:
            super().write(data)
            return
        try:
            sent = self.socket.send(data)
        except OSError:  # would block, or the connection is lost: then the reactor reports it in a later turn
            sent = 0
        if sent < len(data):
            # The way Twisted keeps a partially sent buffer: a block that many connections share is not copied.
            self.dataBuffer, self.offset = data, sent
            self.startWriting()
            if self.producer is not None and not self.producerPaused:
                self.producerPaused = True
                self.producer.pauseProducing()

    def writeSequence(self, pieces: Iterable[bytes]) -> None:
        """Join pieces and send them."""
        self.write(b"".join(pieces))


class DirectServer(_DirectSend, tcp.Server):
    """A TCP connection with direct send.

    Unlike Twisted's own class it formats its log prefix and `repr` only on demand. Storing them would take 160 bytes,
    and most of the time that it takes to create a connection. So the constructor of `twisted.internet.tcp.Server` and
    of its base classes is not called: this one sets the same attributes, but for `hostname`, `logstr` and `repstr`.
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
        if _KEEPALIVE_IDLE is not None and (probe_after := getattr(server, "probe_after", None)) is not None:
            sock.setsockopt(socket.IPPROTO_TCP, _KEEPALIVE_IDLE, next(probe_after))
        self.low_priority = getattr(server, "low_priority", None)
        self.startReading()

    def logPrefix(self) -> str:
        """Return the name in the log."""
        return f"{self._protocol_name},{self.sessionno},{self.client[0]}"

    def __repr__(self) -> str:
        return f"<{self._protocol_name} #{self.sessionno} from {self.client[0]}>"

    @property
    def _protocol_name(self) -> str:
        return type(getattr(self, "protocol", None)).__name__


class DirectUnixServer(_DirectSend, unix.Server):
    """A Unix-socket connection with direct send."""

    def __init__(self, sock: Any, protocol: Any, client: Any, server: Any, sessionno: int, reactor: Any) -> None:
        self.low_priority = getattr(server, "low_priority", None)
        super().__init__(sock, protocol, client, server, sessionno, reactor)


_DIRECT: dict[Any, type[_DirectSend]] = {tcp.Server: DirectServer, unix.Server: DirectUnixServer}


def enable_direct_send(port: Any) -> None:
    """Make new connections of a TCP or Unix port use direct send. Ports of other kinds are not changed."""
    transport_class = _DIRECT.get(getattr(port, "transport", None))
    if transport_class is not None:
        port.transport = transport_class


def has_empty_buffer(transport: Any) -> bool:
    """Return whether a TCP connection of Twisted is open and has nothing to send, so that its socket may be used."""
    return bool(transport.connected) and not transport.dataBuffer and not transport._tempDataBuffer


def socket_of(transport: Any) -> socket.socket | None:
    """Return the socket of a connection with direct send; None for any other, such as TLS.

    Bytes may be sent on it as long as the transport's producer is not paused, since then nothing is buffered.
    """
    return transport.socket if isinstance(transport, _DirectSend) else None
