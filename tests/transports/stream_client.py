"""Clients of HTTP streams: server-sent events, and lines of JSON or raw data."""

import base64
import json
import re
from collections.abc import Mapping
from typing import ClassVar

from tests.transports.client import Client, Closed, Item, Received, Refused, message_of
from tests.transports.event_stream import Event, EventStream
from tests.transports.http_client import HttpClient, address, encode_request

_SCRIPT = re.compile(rb"<script>_\(([^<]*)\)</script>")
_LINE_END = re.compile(rb"\r\n|\r|\n")


class StreamClient(Client):
    """A client of an HTTP stream."""

    resource: ClassVar[str]
    format: ClassVar[str | None] = None

    async def subscribe(self, topics: str, since: str | None = None, slow: str | None = None) -> None:
        """See `Client`."""
        await self.ask(address(self.resource, topics, since=since, slow=slow, format=self.format))

    async def ask(self, path: str, headers: Mapping[str, str] | None = None, version: str = "1.1") -> None:
        """Request a stream by its path.

        :raises Refused: when the answer is not a stream.
        """
        request = encode_request("GET", path, None, {"Connection": "keep-alive"} | dict(headers or {}), version)
        self.body = b""
        self.start_cursor = None
        if self.protocol is None:
            self.protocol = HttpClient(request, self._take)
            self.daemon.connect("http", self.protocol, small=self.small)
        else:
            self.protocol.ask(request)
        head = await self.protocol.head
        if head.status != 200:
            answer = await self.protocol.answer
            raise Refused(answer.json["error"]["code"] if answer.body else None, head.status)
        self.headers, self.gap = head.headers, head.headers.get("pushd-gap")
        self.begin_at(head.headers["pushd-cursor"])
        self.protocol.answer.addCallbacks(
            lambda answer: self.deliver_result(Closed(None, True)),
            lambda failure: self.deliver_result(Closed(None, False)),
        )

    def feed(self, data: bytes) -> None:
        """Parse a piece of the body."""
        raise NotImplementedError

    def _take(self, data: bytes) -> None:
        if len(self.body) < 1 << 20:
            self.body += data
        self.feed(data)


class Sse(StreamClient):
    """Server-sent events with the data of the message."""

    label = "sse"
    resource = "sse"
    transport_name = "sse"
    has_channels = False

    async def ask(self, path: str, headers: Mapping[str, str] | None = None, version: str = "1.1") -> None:
        """See `StreamClient`."""
        self.events = EventStream()
        self._comments = 1
        self.connection = None
        await super().ask(path, headers, version)

    def feed(self, data: bytes) -> None:
        """See `StreamClient`."""
        for event in self.events.feed(data):
            if event.type == "begin":
                self.begin(event)
            else:
                self.deliver_result(self.read(event))
        while self._comments < self.events.comments:
            self._comments += 1
            self.deliver_result(None)

    def begin(self, event: Event) -> None:
        """Take the start cursor from the begin event, which comes first."""
        decoded = json.loads(event.data)
        assert decoded == {"type": "begin", "cursor": event.id, "connection": decoded["connection"]}
        assert self.connection is None and event.id is not None
        self.begin_at(event.id)
        self.connection = decoded["connection"]

    def read(self, event: Event) -> Item | None:
        """Decode an event; without an id it is a control object, by its type, or an ephemeral message."""
        if event.id is None and event.type in ("gap", "end"):
            decoded = json.loads(event.data)
            assert decoded["type"] == event.type
            return message_of(decoded)
        return self.message(event)

    def message(self, event: Event) -> Item | None:
        """Decode a message."""
        return Received(event.id, None, event.data.encode(), None if event.type == "message" else event.type)

    @classmethod
    def as_received(cls, data: bytes, kind: str = "text") -> bytes:
        """All line ends are LF, and binary data is in base64."""
        return base64.b64encode(data) if kind == "binary" else _LINE_END.sub(b"\n", data)


class SseJson(Sse):
    """Server-sent events with the JSON message."""

    label = "sse-json"
    format = "json"
    has_channels = True

    def message(self, event: Event) -> Item | None:
        """See `Sse`."""
        decoded = json.loads(event.data)
        assert (decoded.get("id"), decoded.get("event", "message")) == (event.id, event.type)
        return message_of(decoded)

    @classmethod
    def as_received(cls, data: bytes, kind: str = "text") -> bytes:
        """Data is unchanged."""
        return data


class LineStream(StreamClient):
    """Lines of JSON."""

    label = "stream"
    resource = "stream"
    transport_name = "stream"

    async def ask(self, path: str, headers: Mapping[str, str] | None = None, version: str = "1.1") -> None:
        """See `StreamClient`."""
        self._rest = b""
        await super().ask(path, headers, version)

    def feed(self, data: bytes) -> None:
        """See `StreamClient`."""
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            self.deliver_result(self.read(line))

    def read(self, line: bytes) -> Item | None:
        """Decode a line."""
        return message_of(json.loads(line))


class RawStream(LineStream):
    """The raw format: one line of data per message."""

    label = "stream-raw"
    format = "raw"
    has_ids = has_channels = has_events = reports_gaps = False

    def read(self, line: bytes) -> Item | None:
        """See `LineStream`."""
        return Received(None, None, line, None)


class IframeScripts(LineStream):
    """Iframe streaming: each line after the first ones is a script that passes a message as text to the callback."""

    label = "iframe"
    resource = "iframe"
    transport_name = "iframe"

    async def subscribe(self, topics: str, since: str | None = None, slow: str | None = None) -> None:
        """See `Client`."""
        await self.ask(address(self.resource, topics, since=since, slow=slow, callback="parent.f"))

    async def ask(self, path: str, headers: Mapping[str, str] | None = None, version: str = "1.1") -> None:
        """See `StreamClient`."""
        self._head_lines = 3
        await super().ask(path, headers, version)

    def feed(self, data: bytes) -> None:
        """See `StreamClient`."""
        *lines, self._rest = (self._rest + data).split(b"\n")
        head, self._head_lines = lines[: self._head_lines], max(0, self._head_lines - len(lines))
        for line in lines[len(head) :]:
            self.deliver_result(self.read(line))

    def read(self, line: bytes) -> Item | None:
        """Decode a script; None for a keepalive."""
        if line == b"<script>_()</script>":
            return None
        script = _SCRIPT.fullmatch(line)
        assert script is not None, line
        return message_of(json.loads(json.loads(script[1])))
