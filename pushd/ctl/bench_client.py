"""A subscriber of a load: what comes on its socket, and the marks that are found in it."""

import re
import socket
import ssl
from collections.abc import Iterator

READ = 1 << 18
"""Bytes that are read at once."""
_MARK = re.compile(rb"<[0-9a-f]{8} ([0-9]{8}) ([0-9]{20})>")


def encode(run: str, number: int, moment: int) -> bytes:
    """Write a mark, which is found again in any frame.

    :param run: eight hexadecimal digits.
    :param moment: nanoseconds.
    """
    return f"<{run} {number:08} {moment:020}>".encode()


SMALLEST = len(encode("00000000", 0, 0))
"""Bytes of a mark."""


class Ear:
    """A subscriber.

    :param first: the number of the message that it hears first.
    """

    def __init__(self, sock: socket.socket, first: int) -> None:
        self.socket = sock
        self.first = self.next = first
        """The numbers of the messages that were and are due."""
        self.is_open = False
        """Whether its subscription was answered."""
        self.rest = b""
        """What was read and may be the beginning of something."""

    def read(self) -> bytes | None:
        """Give what was left and what has come; None where the connection is closed."""
        pieces = [self.rest]
        while True:
            try:
                piece = self.socket.recv(READ)
            except (BlockingIOError, ssl.SSLWantReadError):
                break
            except OSError:
                return None
            if not piece:
                return None
            pieces.append(piece)
            if len(piece) < READ and not isinstance(self.socket, ssl.SSLSocket):
                break
        return b"".join(pieces)

    def marks(self, data: bytes) -> Iterator[tuple[int, int]]:
        """Give the numbers and moments in what was read."""
        end = 0
        for found in _MARK.finditer(data):
            end = found.end()
            yield int(found[1]), int(found[2])
        self.rest = data[max(end, len(data) - SMALLEST + 1) :]
