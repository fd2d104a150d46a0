"""Splitting of program output into lines. Pure."""

from typing import NamedTuple


class OutputLine(NamedTuple):
    """A line without its line ending."""

    data: bytes
    is_truncated: bool
    """Whether the line was longer than the limit."""


class LineSplitter:
    """Splits a stream of bytes into lines that end with LF or CRLF.

    Lines are truncated to `limit` bytes as they arrive, so no more than that is buffered.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._buffer = bytearray()
        self._is_truncated = False

    def feed(self, data: bytes) -> list[OutputLine]:
        """Return the lines that end in `data`."""
        lines: list[OutputLine] = []
        first, *rest = data.split(b"\n")
        self._append(first)
        for piece in rest:
            lines.append(self._finish())
            self._append(piece)
        return lines

    def flush(self) -> list[OutputLine]:
        """Return what follows the last line ending, if anything."""
        return [self._finish()] if self._buffer else []

    def _append(self, piece: bytes) -> None:
        space = self._limit + 1 - len(self._buffer)  # 1 for the CR
        self._buffer += piece[:space]
        self._is_truncated = self._is_truncated or len(piece) > space

    def _finish(self) -> OutputLine:
        data, is_truncated = bytes(self._buffer), self._is_truncated
        self._buffer.clear()
        self._is_truncated = False
        if not is_truncated and data.endswith(b"\r"):
            data = data[:-1]
        if len(data) <= self._limit:
            return OutputLine(data, is_truncated)
        return OutputLine(_drop_incomplete_character(data[: self._limit]), True)


def _drop_incomplete_character(data: bytes) -> bytes:
    """Remove an incomplete UTF-8 character at the end; data that is not UTF-8 is returned unchanged."""
    try:
        data.decode("utf-8")
    except UnicodeDecodeError as error:
        if error.reason == "unexpected end of data":
            return data[: error.start]
    return data
