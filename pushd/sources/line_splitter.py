"""Cutting what a program prints into lines. Pure."""

from typing import NamedTuple


class Line(NamedTuple):
    """A line without its end."""

    data: bytes
    is_cut: bool
    """Whether there was more of it than the limit."""


class LineCutter:
    """Takes bytes as they come and gives whole lines, ended by LF or CRLF.

    Of a line longer than `limit` bytes the rest is forgotten as it comes, so no more than that is held.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._line = bytearray()
        self._is_cut = False

    def feed(self, data: bytes) -> list[Line]:
        """Give the lines that end in `data`."""
        lines: list[Line] = []
        first, *more = data.split(b"\n")
        self._append(first)
        for piece in more:
            lines.append(self._finish())
            self._append(piece)
        return lines

    def rest(self) -> list[Line]:
        """Give what stands behind the last end of a line, if anything."""
        return [self._finish()] if self._line else []

    def _append(self, piece: bytes) -> None:
        room = self._limit + 1 - len(self._line)  # 1 for the CR
        self._line += piece[:room]
        self._is_cut = self._is_cut or len(piece) > room

    def _finish(self) -> Line:
        data, is_cut = bytes(self._line), self._is_cut
        self._line.clear()
        self._is_cut = False
        if not is_cut and data.endswith(b"\r"):
            data = data[:-1]
        if len(data) <= self._limit:
            return Line(data, is_cut)
        return Line(_whole_characters(data[: self._limit]), True)


def _whole_characters(data: bytes) -> bytes:
    """Leave off a character that was cut in two; what is not UTF-8 stays as it is."""
    try:
        data.decode("utf-8")
    except UnicodeDecodeError as error:
        if error.reason == "unexpected end of data":
            return data[: error.start]
    return data
