"""Responses that are complete. `http.client` accepts one that is cut within its headers and, by `read1`, its body."""

import io
from http.client import HTTPResponse, IncompleteRead
from typing import Any

_BUFFER = 64 << 10


class CompleteResponse(HTTPResponse):
    """A response that fails with `IncompleteRead` wherever the connection ends before it (RFC 9112, section 8)."""

    def __init__(self, sock: Any, debuglevel: int = 0, method: str | None = None, url: str | None = None) -> None:
        super().__init__(sock, debuglevel, method, url)
        self.fp = CompleteLines(self.fp.detach(), _BUFFER)

    def read1(self, n: int = -1) -> bytes:
        """Return the next bytes of the body; none after the last one."""
        piece = super().read1(n)
        if not piece and n and self.length:
            raise IncompleteRead(piece, self.length)
        return piece


class CompleteLines(io.BufferedReader):
    """A file whose lines are complete, such as a status line, headers, or the size of a chunk."""

    _has_begun = False

    def readline(self, size: int | None = -1, /) -> bytes:
        """Return the next line; nothing if the file is empty.

        :raises IncompleteRead: when it ends before the line does.
        """
        line = super().readline(size)
        is_cut = not line.endswith(b"\n") and not 0 <= (size or -1) <= len(line)
        if is_cut and (line or self._has_begun):
            raise IncompleteRead(line)
        self._has_begun = True
        return line
