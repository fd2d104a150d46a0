"""Cutting what a program prints into lines. Pure."""

from typing import NamedTuple


class OutputLine(NamedTuple):
    """A line without its end."""

    data: bytes
    is_truncated: bool
    """Whether there was more of it than the limit."""


class LineSplitter:
    """Takes bytes as they come and gives whole lines, ended by LF or CRLF.

    Of a line longer than `limit` bytes the rest is forgotten as it comes, so no more than that is held.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._buffer = bytearray()
        self._is_truncated = False

    def feed(self, data: bytes) -> list[OutputLine]:
        """Give the lines that end in `data`."""
        lines: list[OutputLine] = []
        first, *rest = data.split(b"\n")
        self._append(first)
        for piece in rest:
            lines.append(self._finish())
            self._append(piece)
        return lines

    def flush(self) -> list[OutputLine]:
        """Give what stands behind the last end of a line, if anything."""
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
    """Leave off a character that was cut in two; what is not UTF-8 stays as it is."""
    try:
        data.decode("utf-8")
    except UnicodeDecodeError as error:
        if error.reason == "unexpected end of data":
            return data[: error.start]
    return data
