"""A reader of server-sent events as browsers have it (WHATWG HTML, section 9.2.6, "Interpreting an event stream")."""

import codecs
import re
from collections.abc import Iterator
from typing import NamedTuple

_LINE_END = re.compile("\r\n|\r|\n")


class Event(NamedTuple):
    """A block that was dispatched."""

    type: str
    data: str
    id: str | None
    """The id that stood in this very block; None where it had none."""


class EventStream:
    """Bytes in, events out."""

    def __init__(self) -> None:
        self.last_event_id = ""
        """What a browser would send back when it reconnects."""
        self.retry: int | None = None
        self.comments = 0
        self._decode = codecs.getincrementaldecoder("utf-8")().decode
        self._line = ""
        self._after_cr = False
        self._is_new = True
        self._block: dict[str, str | None] = {}
        self._data: list[str] = []

    def feed(self, data: bytes) -> Iterator[Event]:
        """Read on; give the events that are complete."""
        text = self._decode(data)
        if self._is_new and text:
            self._is_new = False
            text = text.removeprefix("\ufeff")
        if self._after_cr and text:
            text = text.removeprefix("\n")
        self._after_cr = text.endswith("\r") or (self._after_cr and not text)
        *lines, self._line = _LINE_END.split(self._line + text)
        for line in lines:
            yield from self._obey(line)

    def _obey(self, line: str) -> Iterator[Event]:
        if not line:
            yield from self._dispatch()
            return
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        match name:
            case "":
                self.comments += 1
            case "data":
                self._data.append(value)
            case "event":
                self._block["event"] = value
            case "id" if "\0" not in value:
                self._block["id"] = self.last_event_id = value
            case "retry" if value.isascii() and value.isdigit():
                self.retry = int(value)

    def _dispatch(self) -> Iterator[Event]:
        block, self._block = self._block, {}
        lines, self._data = self._data, []
        if lines:
            yield Event(block.get("event") or "message", "\n".join(lines), block.get("id"))
