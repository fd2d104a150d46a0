"""comet4j: ``/comet4j?cmd=conn``, ``cmd=revival`` and ``cmd=drop``.

In the work style lpool an answer is one message, in the work style stream an endless sequence of messages.
"""

from collections import deque
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Final, NamedTuple
from urllib.parse import quote

import msgspec
from twisted.web.resource import Resource

from pushd.core.cursor import MessageId, parse_id
from pushd.core.delivery import StatelessWire
from pushd.core.errors import BadParameter, NotFound, Refusal
from pushd.core.message import Gap, Message
from pushd.core.names import parse_topics
from pushd.core.peer import Peer
from pushd.core.poll import PollResult
from pushd.dialects.interface import DialectContext
from pushd.dialects.session_resource import SessionResource
from pushd.dialects.session_streams import SessionStreams, StreamingSession
from pushd.dialects.sessions import Limits, Sessions, session_since, set_cursor
from pushd.http.query import parameter, require_no_subpath
from pushd.http.request import Request
from pushd.http.resource import Answer, HttpContext
from pushd.hub.hub import Hub
from pushd.transports.held_requests import HeldRequests
from pushd.transports.http_stream import StreamFormat
from pushd.transports.interface import Transport
from pushd.wire.json_messages import encode

_SYSTEM: Final = "c4j"
"""The channel of control messages. Messages of a channel of pushd with this name are not delivered."""
_GAPS: Final = "pushd/gap"
"""The channel of gaps in streams. Messages of a channel of pushd with this name are not delivered in streams."""
_SECONDS: Final = 25.0
_REST_BYTES: Final = 16 << 10
"""Bytes of messages that a session keeps between two requests."""


_SCRIPT: Final = "0.1.7"
"""What `comet4j-0.1.7.js` sends as its version."""
_WHOLE_MESSAGES: Final = b"""this.translateStreamData = function (text) {
  var old = this.lastReceiveMessage, begin = text.indexOf(old) ? 0 : old.length, end = text.lastIndexOf(">") + 1;
  this.lastReceiveMessage = text.slice(0, end);
  return text.slice(begin, end) || '{"channel":"pushd/part"}';
}, """
"""What precedes the answer to the script that connects for streams, which evaluates it. The script evaluates a part of
a message, too, and stops then. With this it waits for the rest, and reads a message without data meanwhile."""


def frame(channel: str, data: object, time: float = 0, **others: object) -> bytes:
    """Return a message as percent-encoded JSON between ``<`` and ``>``."""
    return _framed(encode({"channel": channel, "data": data, "time": round(time * 1000), **others}))


def _framed(text: bytes) -> bytes:
    return b"<%b>" % quote(text, safe="").encode("ascii")


class Comet4jWire(StatelessWire):
    """Messages of comet4j."""

    data_only = False

    def message(self, message: Message) -> bytes:
        """Encode a message; ``b""`` if its channel is that of control messages."""
        return b"" if message.channel == _SYSTEM else self._encode(message)

    def _encode(self, message: Message) -> bytes:
        if message.encoding == "json" and message.data and not _has_prototype(message.data):
            data: object = msgspec.Raw(message.data)
        elif message.encoding == "binary":
            data = {"data_base64": message.data}
        else:
            data = message.data.decode("utf-8")
        id = {"id": message.id} if message.is_kept else {}
        return frame(message.channel, data, message.time, **id)

    def gap(self, gap: Gap) -> bytes:
        """Encode a gap as a control message."""
        return _gap(_SYSTEM, gap)

    def end(self, channel: str) -> bytes:
        """Return ``b""``: the format cannot express it."""
        return b""

    def ping(self) -> bytes:
        """Return ``b""``: clients ask again."""
        return b""


class StreamWire(Comet4jWire):
    """Messages of comet4j in a stream: stateful, so that the last message of each stream is known.

    The client separates what is new from what it had by the text, in which a message must not repeat the first one:
    so each has its id. A control message makes it request the stream again; so a gap is none.
    """

    is_stateful = True

    def message(self, message: Message) -> bytes:
        """Encode a message; ``b""`` if its channel is that of control messages or gaps."""
        return b"" if message.channel in (_SYSTEM, _GAPS) else self._encode(message)

    def gap(self, gap: Gap) -> bytes:
        """Encode a gap as a message of a channel whose messages are not delivered."""
        return _gap(_GAPS, gap)


def _has_prototype(data: bytes) -> bool:
    """Return whether JSON may have a property ``__proto__``, perhaps with escapes.

    The client evaluates JSON as a script, in which two of them in an object are an error, at which it stops.
    """
    if b"\\u" not in data:
        return b"__proto__" in data
    try:
        return b"__proto__" in encode(msgspec.json.decode(data))
    except (msgspec.DecodeError, RecursionError):  # such as half of a surrogate pair
        return True


def _gap(channel: str, gap: Gap) -> bytes:
    fields = {"type": "gap", "topic": gap.topic, "from": gap.start, "to": gap.end, "reason": gap.reason}
    return frame(channel, fields)


_WIRE: Final = Comet4jWire()
_AGAIN: Final = frame(_SYSTEM, {"type": "revival"})
_STREAM: Final = StreamFormat(b"text/plain; charset=utf-8", StreamWire())


class _Item(NamedTuple):
    """A part of what a client is to receive."""

    encoded: bytes
    cursor: MessageId | None
    """The cursor behind it; None if it moves none."""


class Session(StreamingSession):
    """A client."""

    leaves_streams = True
    """Its script reads nothing of what arrives in the last 50 ms of an answer, and does not notice its end."""

    cursor: MessageId

    def __init__(self, peer: Peer, topics: Sequence[str], cursor: MessageId, style: str) -> None:
        super().__init__(peer)
        self.style = style
        """Its work style: lpool or stream."""
        self._topics = topics
        self.cursor = cursor
        """Up to here everything was sent."""
        self.rest: deque[_Item] = deque()
        """What follows `cursor`, and was read together with what was sent last."""
        self._revivals = 0

    @property
    def topics(self) -> Sequence[str]:
        """See `StreamingSession`."""
        return self._topics

    def again(self, why: Refusal | None) -> bytes:
        """See `StreamingSession`. Each is another text, since the client ignores one that it had before."""
        self._revivals += 1
        return frame(_SYSTEM, {"type": "revival", "number": self._revivals})

    def read(self, result: PollResult) -> None:
        """Take the messages and gaps that follow the cursor, as many as are kept between two requests."""
        items = [_Item(_WIRE.gap(gap), None) for gap in result.gaps]
        size = 0
        for delivery in result.deliveries:
            encoded = delivery.frame(_WIRE)
            if size and size + len(encoded) > _REST_BYTES:
                break  # the rest is read again
            size += len(encoded)
            items.append(_Item(encoded, parse_id(delivery.message.id) if delivery.message.is_kept else None))
        else:
            items.append(_Item(b"", parse_id(result.position)))
        self.rest.extend(items)

    def next(self) -> bytes:
        """Return the next message, and move the cursor behind it; ``b""`` if there is none."""
        encoded = b""
        while self.rest and not (encoded and self.rest[0].encoded):
            item = self.rest.popleft()
            encoded = encoded or item.encoded
            self.cursor = item.cursor or self.cursor
        return encoded


class Comet4jResource(SessionResource):
    """Executes one command for each request."""

    transport_name = "comet4j"

    def __init__(
        self,
        context: HttpContext,
        hub: Hub,
        held: HeldRequests,
        all_sessions: Sessions[Session],
        streams: SessionStreams[Session],
    ) -> None:
        super().__init__(context, hub)
        self.channels: Sequence[str] = ()
        self._held = held
        self._sessions = all_sessions
        self._streams = streams

    async def head(self, request: Request) -> Answer:
        """Refuse: an answer depends on what a request does."""
        raise BadParameter("HEAD has no meaning in comet4j")

    async def get(self, request: Request) -> Answer:
        """Execute the command of the query."""
        require_no_subpath(request)
        self.context.check_origin(request)
        request.setHeader(b"Content-Type", b"text/plain; charset=utf-8")
        request.setHeader(b"Cache-Control", b"no-store")
        command = parameter(request, b"cmd")
        if command == "conn":
            return await self._connect(request)
        if command not in ("revival", "drop"):
            raise BadParameter("cmd must be conn, revival or drop")
        session = self._sessions.find(parameter(request, b"cid") or "", request.peer)
        if session is None:
            raise NotFound("there is no such session: connect again")
        if command == "drop":
            self._sessions.end(session)
            return b""
        if session.style == "stream":
            await self._streams.open(request, session, _STREAM)
            return None
        if session.rest:
            await self.check_rights(request, session.topics)
            if request.is_disconnected:
                return None
            if encoded := session.next():
                set_cursor(request, session.cursor)
                return encoded
        session.wait(request)
        answer = partial(self._deliver, request, session)
        await self._held.hold(request, "comet4j", session.topics, session.cursor, _SECONDS, answer)
        return None

    async def _connect(self, request: Request) -> bytes:
        style = parameter(request, b"ws")
        if style not in (None, "lpool", "stream", "auto"):
            raise BadParameter("ws must be lpool or stream")
        names = parameter(request, b"channels") or ",".join(self.channels)
        topics = parse_topics(names, self.context.limits.topics)
        opening = await self.start(request, topics, session_since(request, b"since"))
        peer = self.context.peer_of(request, "comet4j")
        style = "stream" if style == "stream" else "lpool"
        session = self._sessions.add(Session(peer, topics, opening.cursor, style))
        seconds = self._streams.wheel.seconds + 1 if style == "stream" else _SECONDS
        timeout = round(1000 * (seconds + 5))
        set_cursor(request, session.cursor)
        data = {"cId": session.id, "ws": style, "channels": topics, "timeout": timeout}
        is_script = style == "stream" and parameter(request, b"cv") == _SCRIPT
        before = _WHOLE_MESSAGES if is_script else b""
        return _framed(before + encode({"channel": _SYSTEM, "data": data, "time": 0}))

    def _deliver(self, request: Request, session: Session, result: PollResult | None) -> None:
        """Answer with one message: the client reads no more of an answer."""
        was_waiting, encoded = session.stop_waiting(request), b""
        if result is None:
            return
        if was_waiting:
            session.read(result)
            encoded = session.next()
            set_cursor(request, session.cursor)
        request.answer(encoded or _AGAIN)


class Comet4j:
    """The protocol of comet4j.

    :param channels: the topics of clients that name none.
    """

    def __init__(self, context: DialectContext, limits: Limits, channels: Sequence[str]) -> None:
        held = HeldRequests(context.http, context.hub, context.clock)
        self._sessions: Sessions[Session] = Sessions(context.clock, limits)
        streams = SessionStreams(
            context.http, context.hub, context.clock, context.stream, self._sessions, "comet4j-stream"
        )
        self._resource = Comet4jResource(context.http, context.hub, held, self._sessions, streams)
        self.routes: Mapping[bytes, Resource] = {b"comet4j": self._resource}
        self.transports: Sequence[Transport] = (held, streams)
        self.reconfigure(limits, channels)

    def reconfigure(self, limits: Limits, channels: Sequence[str]) -> None:
        """Apply other settings, to what begins from now on."""
        self._sessions.limits, self._resource.channels = limits, channels

    def stop(self) -> None:
        """See `Dialect`."""
        self._sessions.stop()
