"""Sending at once: transports that hand bytes to the kernel in `write`, and wait for the reactor only with the rest.

Twisted's own `write` always waits: it asks epoll whether the socket is writable, sends in the next turn and asks epoll
to stop, which is three system calls more than the one that is needed while the peer keeps up.
"""

import socket
from collections.abc import Callable, Iterable
from typing import Any

from twisted.internet import tcp, unix
from twisted.internet.abstract import FileDescriptor


class _Prompt(FileDescriptor):
    """What both kinds of connection have in common. Its write buffer is empty, or the producer is paused."""

    socket: socket.socket
    producer: Any

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
            super().write(data[sent:] if sent else data)
            if self.producer is not None and not self.producerPaused:
                self.producerPaused = True
                self.producer.pauseProducing()

    def writeSequence(self, pieces: Iterable[bytes]) -> None:
        """Send pieces as one."""
        self.write(b"".join(pieces))


class PromptServer(_Prompt, tcp.Server):
    """A TCP connection that sends at once."""


class PromptUnixServer(_Prompt, unix.Server):
    """A connection by a Unix socket that sends at once."""


_PROMPT: dict[Any, type[_Prompt]] = {tcp.Server: PromptServer, unix.Server: PromptUnixServer}


def send_at_once(port: Any) -> None:
    """Let the connections that a port accepts from now on send at once. Other kinds of port stay as they are."""
    kind = _PROMPT.get(getattr(port, "transport", None))
    if kind is not None:
        port.transport = kind


def sender_of(transport: Any) -> Callable[[bytes], int]:
    """Give what sends bytes at once and tells how many it took, as `socket.send` does; for that a peer's buffer must be
    empty, which holds for a transport that sends at once as long as its producer is not paused.

    Where a transport can not do so (TLS), all bytes are taken and wait there.
    """
    if isinstance(transport, _Prompt):
        send: Callable[[bytes], int] = transport.socket.send
        return send

    def take_all(data: bytes) -> int:
        transport.write(data)
        return len(data)

    return take_all
