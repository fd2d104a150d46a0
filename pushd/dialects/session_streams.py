"""Streams of sessions: endless answers that record in their session up to where it was sent what they write.

Messages count as received when they are written: what a connection loses is not repeated by the next stream.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import ClassVar, Final, Generic, TypeVar

from twisted.internet.interfaces import IReactorTime

from pushd.core.cursor import NOW, MessageId
from pushd.core.delivery import Wire
from pushd.core.errors import BadRequest, Refusal, Stopping
from pushd.core.peer import Peer
from pushd.core.subscriber import SubscriberClosed
from pushd.dialects import sessions
from pushd.dialects.sessions import Sessions
from pushd.http.request import Request
from pushd.http.resource import HttpContext
from pushd.hub.hub import Hub
from pushd.net.keepalive import Wheel
from pushd.transports.backpressure import CLOSE_SECONDS
from pushd.transports.http_stream import HttpStream, StreamFormat, StreamResource
from pushd.transports.live_connections import LiveConnections

_MAX_BYTES: Final = 1 << 20
"""Bytes after which a client is asked to request the stream again: a page, or a script, keeps all that it received."""
_STOP_SECONDS: Final = 1.0
"""Seconds that a client may take to close its connection when the daemon is stopping."""


class StreamingSession(sessions.Session, ABC):
    """A session that can have a stream. The wires of its streams are stateful, by which the last message is known."""

    leaves_streams: ClassVar[bool] = False
    """Whether the client closes the connection after the end. It may not see the end if the answer is completed."""

    cursor: MessageId | None
    """Up to here everything was sent."""

    @property
    @abstractmethod
    def topics(self) -> Sequence[str]:
        """Its topics, which may change while it has a stream."""

    @abstractmethod
    def again(self, why: Refusal | None) -> bytes:
        """Encode the end of a stream, which lets the client request the next one.

        :param why: the refusal with which it is closed, if any.
        """


S = TypeVar("S", bound=StreamingSession)


class SessionStream(HttpStream, Generic[S]):
    """The stream of a session."""

    __slots__ = ("_bytes", "_is_left", "_streams", "session")

    def __init__(self, streams: "SessionStreams[S]", session: S, wire: Wire, peer: Peer) -> None:
        super().__init__(streams, wire, None, peer)
        self.session = session
        self._bytes = 0
        self._is_left = session.leaves_streams
        """Whether the client closes the connection after the end."""
        self._streams = streams

    @property
    def is_live(self) -> bool:
        """Whether it has begun, and neither ended nor replays."""
        return self._transport is not None and not self.subscriber.is_closed and self.subscriber.catch_up is None

    def write(self, data: bytes) -> None:
        """Send a block, and record up to where its messages are; end after many bytes."""
        super().write(data)
        newest = self.subscriber.newest
        if newest is not None and not newest.message.is_local:
            self.session.cursor = MessageId(newest.message.epoch, newest.message.seq)
        self._bytes += len(data)
        if self._bytes > _MAX_BYTES:
            self._end_with(self.session.again(None))

    def ping(self) -> None:
        """Send a keepalive; without one in the format, ask the client to request the stream again."""
        if self.subscriber.wire.ping():
            super().ping()
        elif not self.subscriber.is_paused:
            self._end_with(self.session.again(None))

    def topics_ended(self) -> None:
        """Called when every channel has ended: go on, since they may begin anew."""

    def farewell(self, why: Refusal) -> bytes:
        """See `HttpStream`."""
        return self.session.again(why)

    def end(self) -> None:
        """End it without a word; one that has not begun is refused, and one that has ended is ignored."""
        if self._transport is None and not self.subscriber.is_closed:
            self._streams.live.remove(self, BadRequest("another request of the session reads its messages"))
        elif not self.subscriber.is_closed:
            self._is_left = False
            self._end_or_give_back(None)

    def _end_with(self, last: bytes) -> None:
        if not self.subscriber.is_closed:
            self._transport.write(self.subscriber.wire.block([last]))
            self._end_or_give_back(None)

    def _end_or_give_back(self, why: Refusal | None) -> None:
        if self._is_left:
            self._finish(why, CLOSE_SECONDS)
        else:
            super()._end_or_give_back(why)

    def _finish(self, why: Refusal | None, seconds: float) -> None:
        """End the stream; if the client closes the connection, abort it after `seconds` at the latest."""
        if not self._is_left:
            super()._finish(why, seconds)
            return
        self._streams.live.remove(self, why)
        self._transport.unregisterProducer()
        limit = min(seconds, _STOP_SECONDS) if isinstance(why, Stopping) else seconds
        self._streams.clock.callLater(limit, self._transport.abortConnection)


class SessionStreams(StreamResource, Generic[S]):
    """All streams of a dialect's sessions. It is no route: the resource of the dialect opens them.

    :param transport: the name of the transport, for counters and the log.
    """

    def __init__(
        self,
        context: HttpContext,
        hub: Hub,
        clock: IReactorTime,
        wheel: Wheel,
        all_sessions: Sessions[S],
        transport: str,
    ) -> None:
        super().__init__(context, hub, clock, wheel)
        self.transport_name = transport
        self._sessions = all_sessions
        self.live = LiveConnections(hub, context.counters, context.access, self._on_removed)

    async def open(self, request: Request, session: S, stream_format: StreamFormat, first: bytes = b"") -> None:
        """Answer a request with the stream of a session, instead of what reads its messages now.

        :param first: what is sent before the messages.
        :raises Refusal: when it cannot be opened.
        """
        wire = stream_format.plain if request.is_http10 else stream_format.chunked
        stream = SessionStream(self, session, wire, self.context.peer_of(request, self.transport_name))
        self.live.add(stream, self.context.admit_stream(request))
        request.hold(stream.client_disconnected)
        session.stop_reading()
        session.stream = stream
        opening = None
        if session.topics and session.cursor is not None:
            opening = await self.live.subscribe(stream, session.topics, session.cursor)
            if opening is None:
                return
        self.set_headers(request, stream_format, opening)
        request.setHeader(b"Referrer-Policy", b"no-referrer")
        stream.begin(request, stream_format.preamble + first)
        if opening is not None:
            await self.hub.replay_and_go_live(stream.subscriber, opening)
        await self.update(session)

    async def update(self, session: S) -> None:
        """Subscribe the stream of a session, if there is one, to the topics of the session, and to no others.

        While it is being opened, or replays, that is done afterwards.
        """
        stream = session.stream
        if not isinstance(stream, SessionStream):
            return
        subscriber = stream.subscriber
        while stream.is_live:
            topics = session.topics
            if removed := [topic for topic in subscriber.starts if topic not in topics]:
                self.hub.unsubscribe(subscriber, removed)
            added = [topic for topic in topics if topic not in subscriber.starts]
            if not added:
                return
            try:
                opening = await self.hub.subscribe(subscriber, added, NOW)
            except SubscriberClosed:
                return
            except Refusal as refusal:
                self.hub.disconnect(subscriber, refusal)
                return
            await self.hub.replay_and_go_live(subscriber, opening)

    def _on_removed(self, stream: HttpStream) -> None:
        self.wheel.remove(stream)
        if isinstance(stream, SessionStream):
            if stream.session.stream is stream:
                stream.session.stream = None
            self._sessions.extend(stream.session)
