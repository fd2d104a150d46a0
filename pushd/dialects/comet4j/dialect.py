"""comet4j: ``/comet4j?cmd=conn``, ``cmd=revival`` and ``cmd=drop``.

In the work style lpool an answer is one message, in the work style stream an endless sequence of messages.
"""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Final

from twisted.web.resource import Resource

from pushd.core.errors import BadParameter, NotFound
from pushd.core.names import parse_topics
from pushd.core.poll import PollResult
from pushd.dialects.comet4j.sessions import Session
from pushd.dialects.comet4j.wire import STREAM, SYSTEM, frame, framed
from pushd.dialects.interface import DialectContext
from pushd.dialects.session_resource import SessionResource
from pushd.dialects.session_streams import SessionStreams
from pushd.dialects.sessions import Limits, Sessions, session_since, set_cursor
from pushd.http.query import parameter, require_no_subpath
from pushd.http.request import Request
from pushd.http.resource import Answer, HttpContext
from pushd.hub.hub import Hub
from pushd.transports.held_requests import HeldRequests
from pushd.transports.interface import Transport
from pushd.wire.json_messages import encode

_SECONDS: Final = 25.0
_SCRIPT: Final = "0.1.7"
"""What `comet4j-0.1.7.js` sends as its version."""
_WHOLE_MESSAGES: Final = b"""this.translateStreamData = function (text) {
  var old = this.lastReceiveMessage, begin = text.indexOf(old) ? 0 : old.length, end = text.lastIndexOf(">") + 1;
  this.lastReceiveMessage = text.slice(0, end);
  return text.slice(begin, end) || '{"channel":"pushd/part"}';
}, """
"""What precedes the answer to the script that connects for streams, which evaluates it. The script evaluates a part of
a message, too, and stops then. With this it waits for the rest, and reads a message without data meanwhile."""
_AGAIN: Final = frame(SYSTEM, {"type": "revival"})


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
            await self._streams.open(request, session, STREAM)
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
        return framed(before + encode({"channel": SYSTEM, "data": data, "time": 0}))

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
