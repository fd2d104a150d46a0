"""A subscriber of a load: what comes on its socket, and the marks that are found in it."""

import re
import socket
import ssl
from collections.abc import Iterator

READ_BYTES = 1 << 18
"""Bytes that are read at once."""
_MARKER = re.compile(rb"<[0-9a-f]{8} ([0-9]{8}) ([0-9]{20})>")


def encode_marker(run: str, number: int, sent_at: int) -> bytes:
    """Write a mark, which is found again in any frame.

    :param run: eight hexadecimal digits.
    :param moment: nanoseconds.
    """
    return f"<{run} {number:08} {sent_at:020}>".encode()


MARKER_BYTES = len(encode_marker("00000000", 0, 0))
"""Bytes of a mark."""


class BenchClient:
    """A subscriber.

    :param first: the number of the message that it hears first.
    """

    def __init__(self, sock: socket.socket, first_number: int) -> None:
        self.socket = sock
        self.first_number = self.next_number = first_number
        """The numbers of the messages that were and are due."""
        self.is_subscribed = False
        """Whether its subscription was answered."""
        self.unparsed = b""
        """What was read and may be the beginning of something."""

    def read(self) -> bytes | None:
        """Give what was left and what has come; None where the connection is closed."""
        pieces = [self.unparsed]
        while True:
            try:
                piece = self.socket.recv(READ_BYTES)
            except (BlockingIOError, ssl.SSLWantReadError):
                break
            except OSError:
                return None
            if not piece:
                return None
            pieces.append(piece)
            if len(piece) < READ_BYTES and not isinstance(self.socket, ssl.SSLSocket):
                break
        return b"".join(pieces)

    def markers(self, data: bytes) -> Iterator[tuple[int, int]]:
        """Give the numbers and moments in what was read."""
        end = 0
        for found in _MARKER.finditer(data):
            end = found.end()
            yield int(found[1]), int(found[2])
        self.unparsed = data[max(end, len(data) - MARKER_BYTES + 1) :]
