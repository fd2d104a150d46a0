"""Parses a stream of server-sent events (WHATWG HTML, section 9.2.6)."""

import codecs
import re
from typing import NamedTuple

from ..errors import PushdError

_LINE_END = re.compile("\r\n|\n|\r")
_MAX_RETRY_DIGITS = 9


class Event(NamedTuple):
    """An event: its data; type and id are not needed, as the JSON in the data has both."""

    data: str


class Retry(NamedTuple):
    """The reconnection time, in seconds."""

    seconds: float


class EventParser:
    """Splits the bytes of a stream, in pieces of any size, into events.

    :param max_size: the most characters of one event.
    """

    def __init__(self, max_size: int) -> None:
        self._decode = codecs.getincrementaldecoder("utf-8-sig")("replace").decode
        self._max_size = max_size
        self._rest: list[str] = []
        """The pieces of the line that is incomplete."""
        self._rest_size = 0
        self._ends_with_cr = False
        self._data: list[str] = []
        """The data lines of the event that is incomplete."""
        self._data_size = 0

    def feed(self, data: bytes) -> list[Event | Retry]:
        """Return the events that are complete.

        :raises PushdError: when an event is too large.
        """
        text = self._decode(data)
        if self._ends_with_cr and text:  # CRLF may be split: the LF ends no line
            self._ends_with_cr, text = False, text.removeprefix("\n")
        if not text:
            return []
        self._ends_with_cr = text.endswith("\r")
        *lines, rest = _LINE_END.split(text)
        if lines and self._rest:
            lines[0] = "".join([*self._rest, lines[0]])
            self._rest, self._rest_size = [], 0
        if rest:
            self._rest.append(rest)
            self._rest_size += len(rest)
        self._check(self._rest_size)
        return [event for line in lines for event in self._line(line)]

    def _line(self, line: str) -> list[Event | Retry]:
        if not line:
            data, self._data, self._data_size = self._data, [], 0
            return [Event("\n".join(data))] if data else []
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if name == "data":
            self._data.append(value)
            self._data_size += len(value)
            self._check(self._data_size)
        elif name == "retry" and value.isascii() and value.isdigit() and len(value) <= _MAX_RETRY_DIGITS:
            return [Retry(int(value) / 1000)]
        return []

    def _check(self, size: int) -> None:
        if size > self._max_size:
            raise PushdError(f"event must not exceed {self._max_size} characters: raise max_message_bytes")
