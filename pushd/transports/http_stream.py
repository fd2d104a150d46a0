"""HTTP streams: the endless answers that server-sent events and the other streams share.

With its headers the stream takes the connection over, and the request and its parser are released. Blocks that are
encoded once for all streams are written directly to the socket.
"""

from collections.abc import Callable
from typing import Any

from twisted.internet.interfaces import IReactorTime
from twisted.python.failure import Failure

from pushd.core.cursor import Since
from pushd.core.delivery import Wire
from pushd.core.errors import (
    LAPSED,
    InternalError,
    Kicked,
    NoRoom,
    RateLimited,
    Refusal,
    Stopping,
    TooLarge,
    TooManyConnections,
    TooSlow,
    Unavailable,
)
from pushd.core.message import main_reason
from pushd.core.names import parse_topics
from pushd.core.outbox import Policy, QueueLimits
from pushd.core.peer import NO_HEADERS, Peer
from pushd.core.replay import StartPosition
from pushd.core.subscriber import Subscriber
from pushd.http.query import (
    SUBSCRIPTION_PARAMETERS,
    begin_of,
    member_of,
    name_in_path,
    policy_of,
    responder_of,
    since_of,
)
from pushd.http.request import Request
from pushd.http.resource import Answer, HttpContext, HttpResource
from pushd.hub.hub import Hub
from pushd.net.admission import Slot
from pushd.net.fan_out import direct_handle
from pushd.net.keepalive import Wheel
from pushd.net.sockets import close_within
from pushd.transports.backpressure import CLOSE_SECONDS, Backpressure
from pushd.transports.live_connections import LiveConnections
from pushd.wire.chunked import LAST_CHUNK, Chunked

_EARLY = 8 << 10
"""Bytes that a client may send during a stream: pipelined requests, which are answered when the stream has ended."""
TEMPORARY = (TooManyConnections, RateLimited, Unavailable, Stopping, TooSlow, NoRoom, Kicked)
"""Refusals after which the client should request the stream again; see `StreamResource.retry_later`."""
_BREAKING = (Stopping, InternalError, TooLarge)
"""Refusals after which the connection cannot be kept."""


class StreamFormat:
    """The format of a stream: its content type, its first bytes, and its wire with and without the chunked coding."""

    def __init__(self, content_type: bytes, wire: Wire, preamble: bytes = b"") -> None:
        self.content_type = content_type
        self.plain = wire
        self.chunked: Wire = Chunked(wire)
        self.preamble = preamble


class HttpStream(Backpressure):
    """An open stream: the protocol of its connection, and the outlet of its subscriber.

    It starts as a request that subscribes. `begin` takes the connection over from the request.
    """

    __slots__ = ("_end", "_give_back_to", "_resource", "_slot", "_transport", "_unread", "subscriber")

    def __init__(self, resource: "StreamResource", wire: Wire, policy: Policy | None, peer: Peer) -> None:
        self.subscriber = Subscriber(self, wire, resource.limits(), policy, peer)
        self._resource = resource
        self._transport: Any = None
        """None before the stream has begun."""
        self._slot: Slot | None = None
        """The slot of the connection; None before the stream has begun."""
        self._end = b""
        """The bytes that end the body."""
        self._unread = b""
        """Bytes received after the request."""
        self._give_back_to: Callable[[Any, Slot, bytes], None] | None = None
        """Returns the connection to HTTP after the stream has ended; None when the connection is closed then."""

    def begin(self, request: Request, preamble: bytes) -> None:
        """Take the connection over, and send the headers and the first bytes of the body."""
        self._end = b"" if request.is_http10 else LAST_CHUNK
        resource, wire = self._resource, self.subscriber.wire
        connection, head = request.detach(self)
        self.subscriber.peer.forwarded = NO_HEADERS  # the application is not asked again
        transport = self._transport = connection.transport
        self._slot, self._unread = connection.slot, connection.unread
        if not request.closes_connection:
            self._give_back_to = connection.give_back
        resource.prepare(transport)
        transport.registerProducer(self, True)
        self.subscriber.attach(direct_handle(transport))
        resource.wheel.add(self)
        transport.write(head + wire.block([preamble]))

    # From the transport

    def dataReceived(self, data: bytes) -> None:
        """Keep what the client sends after its request until the stream has ended."""
        self._unread += data
        if len(self._unread) > _EARLY:
            self._unread = b""
            refusal = TooLarge(f"too many bytes sent during the stream: at most {_EARLY} bytes may follow the request")
            self._resource.hub.disconnect(self.subscriber, refusal)

    def connectionLost(self, reason: Failure) -> None:
        """Connection lost: remove the stream, unless it was closed before, and release the slot."""
        self._resource.live.discard(self)
        if self._slot is not None:
            self._slot.release()

    def client_disconnected(self) -> None:
        """Called when the client has disconnected before the stream has begun."""
        self._resource.live.discard(self)

    # From the hub and the keepalive

    def write(self, data: bytes) -> None:
        """Send a block."""
        self.subscriber.last_write = self._resource.wheel.now
        self._transport.write(data)

    def ping(self) -> None:
        """Send a keepalive, unless the peer still has data to read."""
        wire, newest = self.subscriber.wire, self.subscriber.newest
        if self.subscriber.is_paused:
            return
        if data := wire.block([wire.ping() or (newest.frame(wire) if newest is not None else b"")]):
            self._transport.write(data)

    def topics_ended(self) -> None:
        """Called when every channel has ended: end the stream."""
        self._resource.hub.presence.leave_all(self.subscriber, "ended")
        wire = self.subscriber.wire
        self._transport.write(wire.block([wire.last()]))
        self._end_or_give_back(None)

    def close(self, why: Refusal) -> None:
        """End the stream; a stream that has not begun is refused. The client reconnects with its cursor."""
        if self._transport is None:
            self._resource.live.remove(self, why)
            return
        wire = self.subscriber.wire
        farewell = self.farewell(why) + (wire.expired(why.code) if isinstance(why, LAPSED) else b"")
        if farewell:
            self._transport.write(wire.block([farewell]))
        if self.subscriber.is_paused or why.is_abrupt or isinstance(why, _BREAKING):
            self._finish(why, self.closing_seconds(why))
        else:
            self._end_or_give_back(why)

    def abort(self) -> None:
        """Close the connection at once; a stream that has not begun is refused."""
        if self._transport is not None:
            self._transport.abortConnection()

    def farewell(self, why: Refusal) -> bytes:
        """Encode what is sent before the end of a stream that is closed; empty when nothing is."""
        return self._resource.farewell(why)

    def _end_or_give_back(self, why: Refusal | None) -> None:
        """End the stream. The connection is kept for the next request, as its headers and the last chunk announce."""
        slot, give_back = self._slot, self._give_back_to
        if slot is None or give_back is None:
            self._finish(why, CLOSE_SECONDS)
        else:
            self._end_body(why)
            give_back(self._transport, slot, self._unread)

    def _finish(self, why: Refusal | None, seconds: float) -> None:
        """End the stream, and close the connection within `seconds`; `connectionLost` follows."""
        self._end_body(why)
        close_within(self._transport, self._resource.clock, seconds)

    def _end_body(self, why: Refusal | None) -> None:
        """Remove the stream, and end the body of the answer."""
        self._resource.live.remove(self, why)
        self._transport.unregisterProducer()
        self._transport.write(self._end)


class StreamResource(HttpResource):
    """An HTTP resource that streams topics."""

    parameters = frozenset({"begin", "format", "responder", "slow", *SUBSCRIPTION_PARAMETERS})

    transport_name = "stream"
    begins = False
    """Whether a stream has a begin object unless the request says otherwise."""

    def __init__(self, context: HttpContext, hub: Hub, clock: IReactorTime, wheel: Wheel) -> None:
        super().__init__(context)
        self.hub = hub
        self.clock = clock
        self.wheel = wheel
        self.live: LiveConnections[HttpStream] = LiveConnections(hub, context.counters, context.access, wheel.remove)

    def since_of(self, request: Request) -> Since:
        """Return the position from which a stream begins."""
        return since_of(request)

    def policy_of(self, request: Request) -> Policy | None:
        """Return the slow-consumer policy; None when the client names none."""
        return policy_of(request)

    def limits(self) -> QueueLimits:
        """Return the limits of a subscriber's queue."""
        return self.context.limits.queue

    def prepare(self, transport: Any) -> None:
        """Set up the connection of a stream that is about to begin."""

    def format_of(self, request: Request) -> StreamFormat:
        """Return the format of the stream.

        :raises BadParameter: when the request asks for an unknown format.
        """
        raise NotImplementedError

    async def head(self, request: Request) -> Answer:
        """Answer with the status and headers of GET, or refuse as GET would; nothing is subscribed."""
        topics = parse_topics(name_in_path(request), self.context.limits.topics)
        since, shape = self.since_of(request), self.format_of(request)
        self.policy_of(request)
        begin_of(request, shape.plain, self.begins)
        self.hub.presence.check(request.peer, topics, member_of(request))
        responder_of(request, has_reply_to=shape.plain.has_reply_to)
        if (await self.hub.start_position(request.peer, topics, since)).is_complete:
            request.setResponseCode(204)
            return b""
        self.set_headers(request, shape)
        request.answer_head()
        return None

    def retry_later(self, request: Request, refusal: Refusal) -> bytes:
        """Return the body of the answer to a client that has to retry later.

        :raises Refusal: always, unless a transport overrides this.
        """
        raise refusal

    def farewell(self, refusal: Refusal) -> bytes:
        """Encode what is sent before the end of a stream that is closed; empty when nothing is."""
        return b""

    def close_all(self, why: Refusal, *, busy: bool = True) -> None:
        """See `Transport`."""
        self.live.close_all(why, busy=busy)

    async def get(self, request: Request) -> Answer:
        """Open a stream."""
        topics = parse_topics(name_in_path(request), self.context.limits.topics)
        since, policy, stream_format = self.since_of(request), self.policy_of(request), self.format_of(request)
        wire = stream_format.plain if request.is_http10 else stream_format.chunked
        begins, member = begin_of(request, wire, self.begins), member_of(request)
        responder = responder_of(request, has_reply_to=wire.has_reply_to)
        peer = self.context.peer_of(request, self.transport_name)
        stream = HttpStream(self, wire, policy, peer)
        try:
            self.live.add(stream, self.context.admit_stream(request))
            request.hold(stream.client_disconnected)
            opening = await self.live.subscribe(stream, topics, since, member, responder=responder)
        except Refusal as refusal:
            if not isinstance(refusal, TEMPORARY):
                raise
            return self.retry_later(request, refusal)
        if opening is None:
            return None
        if opening.is_complete:
            self.live.remove(stream)
            request.setResponseCode(204)
            return b""
        self.set_headers(request, stream_format, opening)
        connection = peer.id
        request.setHeader(b"Pushd-Connection", connection.encode("ascii"))
        begin = wire.begin(opening.cursor, connection) if begins else b""
        stream.begin(request, stream_format.preamble + begin)
        await self.hub.replay_and_go_live(stream.subscriber, opening, report_gaps=not wire.data_only)
        return None

    def set_headers(self, request: Request, stream_format: StreamFormat, opening: StartPosition | None = None) -> None:
        """Set the headers of the answer to GET or HEAD."""
        if not request.is_http10:
            request.setHeader(b"Transfer-Encoding", b"chunked")
        if request.closes_connection:
            request.setHeader(b"Connection", b"close")
        request.setHeader(b"Content-Type", stream_format.content_type)
        request.setHeader(b"Cache-Control", b"no-store, no-transform")
        request.setHeader(b"X-Accel-Buffering", b"no")
        if opening is not None:
            request.setHeader(b"Pushd-Cursor", str(opening.cursor).encode("ascii"))
        if stream_format.plain.data_only and opening is not None and opening.gaps:
            request.setHeader(b"Pushd-Gap", main_reason(opening.gaps).encode("ascii"))
