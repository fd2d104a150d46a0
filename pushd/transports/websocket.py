"""WebSocket, on the port of HTTP: ``GET /ws/TOPICS`` and ``GET /ws`` (RFC 6455).

The resource checks the handshake like any other request, so that a refusal is an HTTP answer. Messages are written as
frames that are encoded once for all connections; received frames are parsed by Autobahn.
"""

from collections import deque
from typing import Any

import msgspec
from twisted.internet.interfaces import IReactorTime
from twisted.python.failure import Failure

from pushd.core.command import Published, Reply, RequestRefused
from pushd.core.errors import BadCommand, BadParameter, Ended, NoPong, NoRoom, Refusal, TooLarge, TooLate
from pushd.core.names import Scope, parse_topics
from pushd.core.outbox import Policy
from pushd.core.peer import Peer
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
from pushd.hub.session import Session
from pushd.hub.session_queue import SessionContext
from pushd.net.admission import Slot
from pushd.net.fan_out import direct_handle
from pushd.net.keepalive import Deadlines, Wheel
from pushd.net.low_priority import prioritize
from pushd.transports.backpressure import CLOSE_SECONDS, TwoWayBackpressure
from pushd.transports.credential_deadlines import CredentialDeadlines
from pushd.transports.live_connections import LiveConnections
from pushd.transports.refused_websocket import close_refused
from pushd.transports.websocket_handshake import accept, checked_key, offers_v1, upgrade_required
from pushd.transports.websocket_reader import READER_REFUSALS, FrameReader, FrameReaderPool
from pushd.wire.line_commands import CommandLimits
from pushd.wire.websocket_commands import SUBPROTOCOL, CommandFrame, encode_refusal, encode_reply
from pushd.wire.websocket_frames import PING, DataFrames, JsonFrames

_PIECE = 64
"""Bytes of memory that each received piece of a message takes besides its data."""
_IN_PIECES = 8
"""The most memory of one message in many frames, as a multiple of the largest message: one-byte frames take seven."""
_NO_REF = msgspec.Raw(b"null")
"""The reference in the reply to a command that has none."""


class WebSocket(TwoWayBackpressure):
    """A WebSocket: the protocol of its connection after the handshake, and the outlet of its subscriber."""

    __slots__ = (
        "_closes_when_ended",
        "_held",
        "_reader",
        "_resource",
        "_session",
        "_slot",
        "is_v1",
        "subscriber",
        "transport",
    )

    def __init__(
        self,
        resource: "WebSocketResource",
        is_v1: bool,
        peer: Peer,
        policy: Policy | None,
        scope: Scope | None = None,
    ) -> None:
        self.is_v1 = is_v1
        """Whether the subprotocol was negotiated."""
        self.transport: Any = None
        """None before the handshake is accepted."""
        self._resource = resource
        self._slot: Slot | None = None
        """The slot of the connection; None before the handshake is accepted."""
        self._closes_when_ended = False
        self._reader: FrameReader | None = None
        """The reader of an incomplete frame or message, or of the closing handshake; None when there is none."""
        self._held = 0
        """Bytes of the incomplete message that are charged to the memory budget."""
        wire = resource.frames if is_v1 else resource.bare_frames
        self.subscriber = Subscriber(self, wire, resource.context.limits.queue, policy, peer)
        if is_v1:
            self.subscriber.record_origins()
        self._session: Session[bytes | Refusal | StartPosition] = Session(resource.sessions, self.subscriber, scope)

    def begin(self, request: Request, opening: StartPosition | None, begin: bytes = b"") -> None:
        """Take the connection over, accept the handshake, and start to send the topics of the URL.

        :param begin: the frame of the begin object, if the stream has one.
        """
        connection, head = request.detach(self)
        self.transport = connection.transport
        self._slot = connection.slot
        self._resource.wheel.add(self)
        self._resource.credentials.expect(self)
        self.transport.registerProducer(self, True)
        self.subscriber.attach(direct_handle(self.transport))
        self.transport.write(head + begin)
        if opening is not None:
            self._closes_when_ended = True
            self._session.put([opening], self)
        if connection.unread:
            self.dataReceived(connection.unread)

    # From the transport

    def dataReceived(self, data: bytes) -> None:
        """Parse received bytes. Any byte counts as an answer to a ping."""
        resource = self._resource
        resource.pongs.cancel(self)
        reader = self._reader = self._reader or resource.readers.lend(self)
        size = reader.read(data)
        if reader.is_at_rest:
            self._reader = None
            resource.readers.give_back(reader)
            self._complete()
        elif reader.is_well:
            resource.messages.expect(self)
            self._hold(self._held + len(data) + _PIECE)
        elif not self.subscriber.is_closed:
            self._closed_by_reader(reader)
        if not self.subscriber.is_closed:
            self._limit_answers(size)

    def _limit_answers(self, size: int) -> None:
        """Count the bytes of pongs that were sent, and pause reading while the peer does not read or commands wait."""
        self._count(size)
        if (self.subscriber.is_paused or self.is_busy) and not self.subscriber.is_closed:
            self.transport.pauseProducing()

    def _count(self, size: int) -> None:
        """Count the bytes of an answer. Close if the peer does not read, and the memory limit is exceeded."""
        try:
            self.subscriber.count_reply(size)
        except NoRoom as refusal:
            self._close_for(refusal)

    def _hold(self, size: int) -> None:
        """Charge `size` bytes of an incomplete message to the memory budget. Close when the message has too many
        pieces, which may be empty, or when the budget is used up.
        """
        try:
            if size > _IN_PIECES * self._resource.readers.most:
                raise TooLarge("message is split into too many frames: send it in fewer")
            self._held = self._resource.context.limits.queue.budget.grow(self._held, size, self)
        except (NoRoom, TooLarge) as refusal:
            self._close_for(refusal)

    def _complete(self) -> None:
        """Called when the incomplete message, or frame, is complete."""
        if self._held:
            self._hold(0)
            self._resource.messages.cancel(self)

    def connectionLost(self, reason: Failure) -> None:
        """Connection lost: release everything."""
        self._hold(0)
        if self._reader is not None:
            self._reader.lost(reason)
        self._session.clear()
        self._resource.live.discard(self)
        if self._slot is not None:
            self._slot.release()

    def client_disconnected(self) -> None:
        """Called when the client has disconnected before the handshake is accepted."""
        self._resource.live.discard(self)

    def _remove(self, why: Refusal | None) -> None:
        """Remove an open WebSocket; nothing is executed or sent any more, except for the closing handshake."""
        self._session.clear()
        self._resource.live.remove(self, why)
        self.transport.unregisterProducer()

    # From its reader

    def message(self, payload: bytes, is_binary: bool) -> None:
        """Called with each received message: queue it as a command."""
        if self.subscriber.is_closed:
            return
        self._complete()
        if not self.is_v1:
            self._close_for(BadCommand(f"commands are not accepted without the subprotocol {SUBPROTOCOL}"))
        elif is_binary:
            self._session.put([BadCommand("binary frames are not accepted: a command must be a text frame")], self)
        else:
            self._session.put([payload], self)

    def _closed_by_reader(self, reader: FrameReader) -> None:
        """Called when the peer has closed, or when the reader has closed because of an invalid frame."""
        refusal = READER_REFUSALS.get(reader.closed_with)
        if refusal is not None:
            self._resource.context.counters.count_refusal(refusal, self.subscriber.peer)
        if reader.has_peer_finished:
            self._resource.hub.presence.leave_all(self.subscriber)
        self._remove(refusal)

    # From the hub and the keepalive

    def write(self, data: bytes) -> None:
        """Send frames."""
        self.subscriber.last_write = self._resource.wheel.now
        self.transport.write(data)

    def topics_ended(self) -> None:
        """Called when every channel has ended: close, if the URL named topics."""
        if self._closes_when_ended:
            self._close(Ended("every channel has ended"))

    def close(self, why: Refusal) -> None:
        """Close with the code and reason of a refusal."""
        self._close(why, self.closing_seconds(why))

    def abort(self) -> None:
        """Close the connection at once; a handshake that is not accepted yet is refused."""
        if self.transport is not None:
            self.transport.abortConnection()

    def ping(self) -> None:
        """Send a ping, unless the peer still has data to read: then TCP detects a dead peer."""
        if not self.subscriber.is_paused:
            self._resource.pongs.expect(self)
            self.transport.write(PING)

    def message_timed_out(self) -> None:
        """Called when a message, or a frame, is incomplete after its time, however steadily it is sent: close."""
        seconds = self._resource.context.limits.upload
        self._close_for(TooLate(f"a message must arrive within {seconds:g} seconds of its first byte"))

    def release_for(self, refusal: Refusal) -> None:
        """Called when the memory budget is exceeded and the message makes no progress; see
        `pushd.core.budget.Holder`.
        """
        self._resource.hub.disconnect(self.subscriber, refusal)

    def overdue(self) -> None:
        """Called when the peer did not answer a ping in time: close."""
        self._close_for(NoPong("the ping was not answered in time"))

    # Commands

    async def execute(self, items: deque[bytes | Refusal | StartPosition]) -> None:
        """Execute a command, or replay the history for the subscription of the URL."""
        item = items.popleft()
        if isinstance(item, StartPosition):
            await self._session.replay(item)
        elif isinstance(item, Refusal):
            self._refuse(item, _NO_REF)
        else:
            await self._execute_command(item)

    async def _execute_command(self, payload: bytes) -> None:
        ref = _NO_REF
        try:
            frame = CommandFrame(payload)
            ref = frame.ref
            command = frame.command(self._resource.commands)
            await self._session.execute(command, lambda reply: self._answer(reply, ref))
        except Refusal as refusal:
            self._refuse(refusal, ref)

    def _answer(self, reply: Reply, ref: msgspec.Raw) -> None:
        if isinstance(reply, Published):
            prioritize(self.transport)
        elif isinstance(reply, RequestRefused):
            self._resource.context.counters.count_refusal(reply.refusal, str(self.subscriber.peer))
        self._reply(encode_reply(reply, ref))

    def _refuse(self, refusal: Refusal, ref: msgspec.Raw) -> None:
        self._resource.context.counters.count_refusal(refusal, self.subscriber.peer)
        self._reply(encode_refusal(refusal, ref))

    def _reply(self, data: bytes) -> None:
        """Send a reply, unless the WebSocket was closed while the command was executed."""
        if not self.subscriber.is_closed:
            self.write(data)
            self._count(len(data))

    def on_idle(self) -> None:
        """Called when all received commands have been executed."""
        self.continue_reading()

    def _close_for(self, refusal: Refusal) -> None:
        self._resource.context.counters.count_refusal(refusal, self.subscriber.peer)
        self._close(refusal)

    def _close(self, why: Refusal, seconds: float = CLOSE_SECONDS) -> None:
        """Close with a reason, or refuse the handshake. The reader is kept for the closing handshake."""
        resource = self._resource
        if self.transport is None:
            resource.live.remove(self, why)
            return
        self._remove(why)
        self._hold(0)
        self.transport.resumeProducing()  # to read the answer to the close frame
        self._reader = self._reader or resource.readers.lend(self)
        self._reader.close(why)
        resource.clock.callLater(seconds, self.transport.abortConnection)


class WebSocketResource(HttpResource):
    """The HTTP resource that opens WebSockets."""

    parameters = frozenset({"begin", "responder", "slow", *SUBSCRIPTION_PARAMETERS})

    transport_name = "websocket"
    opens = WebSocket
    """The class of the opened WebSockets."""

    def __init__(
        self,
        context: HttpContext,
        hub: Hub,
        clock: IReactorTime,
        wheel: Wheel,
        pongs: Deadlines[WebSocket],
        messages: Deadlines[WebSocket],
        credentials: CredentialDeadlines,
    ) -> None:
        """`pongs`, `messages` and `credentials` are deadlines: for pongs, the rest of a message, and a credential."""
        super().__init__(context)
        self.hub = hub
        self.clock = clock
        self.pongs = pongs
        self.messages = messages
        self.credentials = credentials
        self.frames = JsonFrames()
        self.bare_frames = DataFrames()
        self.wheel = wheel
        self.sessions = SessionContext(hub, clock, {}, context.authenticator)
        self.live: LiveConnections[WebSocket] = LiveConnections(
            hub, context.counters, context.access, self._stop_keepalive
        )
        self.reconfigure()

    def reconfigure(self) -> None:
        """Apply the limits of the context to commands received from now on."""
        limits = self.context.limits
        self.commands = CommandLimits(limits.message, limits.event, limits.topics)
        self.readers = FrameReaderPool(self.clock, self.commands.size, CLOSE_SECONDS)

    def is_asked_later(self, request: Request) -> bool:
        """See `HttpResource`: a WebSocket without topics accepts a token by a command."""
        return not request.postpath and offers_v1(request)

    async def head(self, request: Request) -> Answer:
        """Refuse with `UpgradeRequired`: a WebSocket has no answer to HEAD."""
        raise upgrade_required(request)

    def close_all(self, why: Refusal, *, busy: bool = True) -> None:
        """See `Transport`."""
        self.live.close_all(why, busy=busy)

    def _stop_keepalive(self, websocket: WebSocket) -> None:
        self.wheel.remove(websocket)
        self.pongs.cancel(websocket)
        self.messages.cancel(websocket)
        self.credentials.cancel(websocket)

    async def get(self, request: Request) -> Answer:
        """Open a WebSocket."""
        key = checked_key(request)
        self.context.check_origin(request)
        is_v1 = offers_v1(request)
        topics = parse_topics(name_in_path(request), self.context.limits.topics) if request.postpath else ()
        if not topics and not is_v1:
            raise BadParameter(f"no topics given: name them in the URL, or offer the subprotocol {SUBPROTOCOL}")
        since, policy, member = since_of(request), policy_of(request), member_of(request)
        self.hub.presence.check(request.peer, topics, member)
        wire = self.frames if is_v1 else self.bare_frames
        begins = begin_of(request, wire, default=False)
        responder = responder_of(request, has_reply_to=wire.has_reply_to)
        slot = self.context.admit_stream(request)
        scope = Scope(topics) if is_v1 and topics else None
        websocket = self.opens(self, is_v1, self.context.peer_of(request, self.transport_name), policy, scope)
        self.live.add(websocket, slot)
        request.hold(websocket.client_disconnected)
        opening, begin = None, b""
        if topics:
            opening = await self.live.subscribe(websocket, topics, since, member, responder=responder)
            if opening is None:
                return None
            begin = wire.begin(opening.cursor, websocket.subscriber.peer.id) if begins else b""
        accept(request, key, opening, is_v1=is_v1)
        websocket.begin(request, opening, begin)
        return None

    def refuse(self, request: Request, refusal: Refusal) -> None:
        """Answer a refused request; see `close_refused`."""
        refusal_of_http = close_refused(request, refusal, self.context, self.readers, self.clock)
        if refusal_of_http is not None:
            super().refuse(request, refusal_of_http)
