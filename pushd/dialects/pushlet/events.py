"""Events of Pushlet in each format. An event is a list of names and values.

A message is an event ``data``: its subject, its id, and its fields if its data is a JSON object with simple values.
"""

import base64
import re
from collections.abc import Mapping, Sequence
from typing import Final
from xml.sax.saxutils import escape

import msgspec

from pushd.core.delivery import StatelessWire
from pushd.core.message import Gap, Message
from pushd.transports.http_stream import StreamFormat
from pushd.wire.json_messages import encode

_FIELD: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]{0,63}", re.ASCII)
_NOT_IN_XML: Final = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""What XML 1.0 cannot express, section 2.2."""
_GAPS: Final = "pushd/gap"
_IN_QUOTES: Final = {'"': "&quot;", "\t": "&#9;", "\n": "&#10;", "\r": "&#13;", "\\": "&#92;"}
"""The parser of the Java client takes a backslash for an escape of the next character, such as the closing quote."""
LATER_MS: Final = 3000
"""Milliseconds before a request that is not urgent."""
_PAGE: Final = b"<!DOCTYPE html><html><head><meta charset=utf-8></head><body>"
_FUNCTIONS: Final = b"""<script>
function again(query, wait) {
  function later() { again(query, %d) }
  again.is_due = true;
  setTimeout(function () {
    var probe = new XMLHttpRequest();
    probe.onerror = later;
    probe.onload = function () { probe.status < 500 ? location.replace(query) : later() };
    probe.open("GET", query.replace("=refresh", "=hb"));
    probe.send();
  }, wait * (1 + Math.random()));
}
function watch(query, time) {
  var before = document.scripts.length;
  setTimeout(function () {
    if (again.is_due || document.readyState == "complete") return;
    document.scripts.length > before ? watch(query, time) : again(query.replace(/[^=]*$/, last), 0);
  }, time);
}
function last(since) {
  for (var number = document.scripts.length; number--;) {
    var script = document.scripts[number], found = /"p_pushd_id","([^"]+)"\\)$/.exec(script.text);
    if (found && script.nextSibling) return found[1];
  }
  return since;
}
</script>
""" % (LATER_MS,)
"""How a page loads the next one: when the daemon can be reached, since a frame that cannot load remains an error page.
Browsers tell a page nothing of a connection that was cut: it watches for the heartbeats, and goes on after the last
event that is complete."""
_PAGE_END: Final = b"</body></html>"
_PADDING: Final = b"\n<!--" + b" " * 1024 + b"-->\n"
"""Browsers show nothing of a page before they have read up to 1 KiB."""
_FORMATS: Final = ("js", "xml", "xml-strict", "json")


def _xml(event: Mapping[str, str]) -> bytes:
    values = ((name, _NOT_IN_XML.sub("\ufffd", value)) for name, value in event.items())
    text = "".join(f' {name}="{escape(value, _IN_QUOTES)}"' for name, value in values)
    return f"<event{text}/>".encode()


def _line(event: Mapping[str, str]) -> bytes:
    return _xml(event) + b"\n"


def _script(event: Mapping[str, str]) -> bytes:
    words = b",".join(encode(word) for pair in event.items() for word in pair)
    return b"<script>parent.push(%b)</script>\n" % words.replace(b"<", b"\\u003c")


class EventWire(StatelessWire):
    """A format of events.

    :param kind: js, xml, xml-strict or json.
    """

    data_only = False
    _functions = _FUNCTIONS
    """Those that precede the event `refresh` of a page."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self._encode = {"js": _script, "json": encode, "xml": _line}.get(kind, _xml)

    @property
    def name(self) -> str:
        """See `Wire`."""
        return f"pushlet-{self.kind}"

    def event(self, type: str, **fields: str) -> bytes:
        """Encode an event of the protocol itself."""
        return self._encode({"p_event": type, **fields})

    def refresh(self, wait: int, query: str) -> bytes:
        """Encode the event after which a client sends the next request; a frame of format js loads it by itself, from
        its own address, which a proxy may have changed.

        :param wait: milliseconds before the request.
        :param query: what follows the address, of characters that need no escaping; it ends with the cursor.
        """
        if self.kind == "js":
            return self._functions + b'<script>again("%b",%d)</script>\n' % (query.encode("ascii"), wait)
        return self.event("refresh", p_wait=str(wait), p_url=f"/pushlet.srv{query}")

    def watch(self, seconds: float, query: str) -> bytes:
        """Encode what lets a frame send the next request when it receives nothing; empty for clients of other formats.

        Padding follows, so that a page that begins shows what it has.

        :param seconds: how long it may receive nothing.
        :param query: see `refresh`.
        """
        if self.kind == "js":
            return b'<script>watch("%b",%d)</script>\n%b' % (query.encode("ascii"), 1000 * seconds, _PADDING)
        return b""

    def message(self, message: Message) -> bytes:
        """Encode a message; ``b""`` if its channel is that of gaps. Its fields cannot replace those of the protocol."""
        if message.channel == _GAPS:
            return b""
        id = {"p_pushd_id": message.id} if message.is_kept else {}
        return self._encode(_fields(message) | {"p_event": "data", "p_subject": f"/{message.channel}", **id})

    def gap(self, gap: Gap) -> bytes:
        """Encode a gap as a message of a subject whose messages are not delivered."""
        fields = {"topic": gap.topic, "from": gap.start, "to": gap.end, "reason": gap.reason}
        return self._encode({**fields, "p_event": "data", "p_subject": f"/{_GAPS}"})

    def end(self, channel: str) -> bytes:
        """Return ``b""``: the format cannot express it."""
        return b""

    def ping(self) -> bytes:
        """Return ``b""``: clients send heartbeats."""
        return b""

    @property
    def content_type(self) -> bytes:
        """The content type of an answer."""
        types = {"js": b"text/html", "xml": b"text/plain", "xml-strict": b"text/xml", "json": b"application/json"}
        return types[self.kind] + b"; charset=utf-8"

    def document(self, events: Sequence[bytes]) -> bytes:
        """Return the body of an answer; empty events are left out."""
        events = [event for event in events if event]
        match self.kind:
            case "xml-strict":
                return b"<pushlet>%b</pushlet>" % b"".join(events)
            case "js":
                return _PAGE + b"".join(events) + _PAGE_END
            case "json":
                return b"[%b]" % b",".join(events)
        return b"".join(events)


class StreamWire(EventWire):
    """A format of events in a stream: stateful, so that the last message of each stream is known."""

    is_stateful = True
    _functions = b""

    def ping(self) -> bytes:
        """Encode a heartbeat."""
        return self.event("hb")

    def refresh(self, wait: int, query: str) -> bytes:
        """See `EventWire`; a page ends after it."""
        return super().refresh(wait, query) + (_PAGE_END if self.kind == "js" else b"")


WIRES: Final = {kind: EventWire(kind) for kind in _FORMATS}
"""The wire of each format, which all sessions share."""
STREAMS: Final = {
    kind: StreamFormat(WIRES[kind].content_type, StreamWire(kind), preamble)
    for kind, preamble in (("js", _PAGE + _FUNCTIONS), ("xml", b""))
}
"""The formats of streams. The others are documents, of which a client reads nothing before their end."""


def _fields(message: Message) -> dict[str, str]:
    """Return the fields of a message; other data than an object of simple values is the field ``data``."""
    text = message.data.decode("utf-8", "replace")
    if message.encoding == "json":
        try:
            value = msgspec.json.decode(message.data)
        except (msgspec.DecodeError, RecursionError):  # such as half of a surrogate pair
            return {"data": text}
        if isinstance(value, dict) and all(_is_field(name, each) for name, each in value.items()):
            return {
                name: each if isinstance(each, str) else encode(each).decode("utf-8") for name, each in value.items()
            }
    elif message.encoding == "binary":
        return {"data_base64": base64.b64encode(message.data).decode("ascii")}
    return {"data": text}


def _is_field(name: str, value: object) -> bool:
    is_simple = value is None or isinstance(value, str | int | float | bool)
    return is_simple and _FIELD.fullmatch(name) is not None and not name.startswith("p_")
