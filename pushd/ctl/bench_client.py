"""A subscriber of a load test: it reads its socket and finds the markers in the stream."""

import re
import socket
import ssl
from collections.abc import Iterator

READ_BYTES = 1 << 18
"""Maximum number of bytes per read."""
_MARKER = re.compile(rb"<[0-9a-f]{8} ([0-9]{8}) ([0-9]{20})>")


def encode_marker(run: str, number: int, sent_at: int) -> bytes:
    """Return a marker that can be found in the frames of any transport.

    :param run: id of the load test, eight hexadecimal digits.
    :param number: of the message, counted from 0.
    :param sent_at: monotonic time of the publish in nanoseconds.
    """
    return f"<{run} {number:08} {sent_at:020}>".encode()


MARKER_BYTES = len(encode_marker("00000000", 0, 0))
"""Length of a marker in bytes."""


class BenchClient:
    """A subscriber of one channel.

    :param sock: the connection, after the subscribe request was sent.
    :param first_number: number of the first message on its channel.
    """

    def __init__(self, sock: socket.socket, first_number: int) -> None:
        self.socket = sock
        self.first_number = self.next_number = first_number
        """Number of the first message expected, and of the next one."""
        self.is_subscribed = False
        """Whether the daemon has acknowledged the subscription."""
        self.unparsed = b""
        """Bytes read that may be the beginning of a marker or of the acknowledgement."""

    def read(self) -> bytes | None:
        """Return the unparsed bytes and everything that has arrived since, or None if the connection is closed."""
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
        """Yield number and send time (monotonic nanoseconds) of each marker in `data`; keep the rest as `unparsed`."""
        end = 0
        for match in _MARKER.finditer(data):
            end = match.end()
            yield int(match[1]), int(match[2])
        self.unparsed = data[max(end, len(data) - MARKER_BYTES + 1) :]
