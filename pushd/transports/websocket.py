"""WebSocket, on the port of HTTP: ``GET /ws/TOPICS`` and ``GET /ws`` (RFC 6455).

The door judges the handshake as any other request, so that a refusal is an HTTP answer, and then hands the
connection over to Autobahn with a request of its own making: nothing that the client sent is parsed a second
time. Autobahn keeps the protocol (control frames, fragments, limits, pings); messages are written as frames
that are made once for all.
"""

from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import msgspec
from autobahn.twisted.websocket import WebSocketServerFactory, WebSocketServerProtocol
from autobahn.websocket.types import ConnectionRequest
from twisted.internet.interfaces import IReactorTime
from twisted.internet.protocol import connectionDone
from twisted.logger import Logger
from twisted.python.failure import Failure

from pushd.core import command
from pushd.core.cursor import Since
from pushd.core.errors import (
    BadCommand,
    BadFrame,
    BadParameter,
    BadUtf8,
    Ended,
    Fault,
    Forbidden,
    NoPong,
    Refusal,
    TooLarge,
)
from pushd.core.names import parse_topics
from pushd.core.outbox import Policy
from pushd.core.replay import Opening
from pushd.core.subscriber import Subscriber
from pushd.hub import Hub
from pushd.net.admission import Slot
from pushd.net.keepalive import Deadlines, Wheel
from pushd.net.prompt import sender_of
from pushd.session import Inbox, Session
from pushd.transports.handshake import checked_key, tokens, upgrade_required
from pushd.transports.http import Answer, Door, Rules, is_same_host
from pushd.transports.pacing import Paced
from pushd.transports.query import name_in_path, policy_of, since_of
from pushd.transports.request import Request
from pushd.wire.frames import BareFrames, JsonFrames
from pushd.wire.lines import Limits
from pushd.wire.socket_commands import SUBPROTOCOL, Ask, encode_outcome, encode_refusal

_CLOSE_SECONDS = 5.0
"""How long a peer may take to answer a close, and to read what comes before it."""
_OVERHEAD = 4096
"""What a command may hold besides the data of a message."""
_REASON_BYTES = 123
"""What a close frame holds besides its code (RFC 6455, section 5.5)."""


class SocketPeer(Paced, WebSocketServerProtocol):  # type: ignore[misc]
    """A WebSocket, and the outlet of its subscriber."""

    logger = Logger()
    transport: Any

    def __init__(
        self, door: "WebSocketDoor", subprotocol: str | None, name: str, policy: Policy, slot: Slot | None
    ) -> None:
        super().__init__()
        self._door = door
        self._subprotocol = subprotocol
        self.slots: tuple[Slot, ...] = () if slot is None else (slot,)
        self._opening: Opening | None = None
        self._closes_when_ended = False
        self._is_closing = False
        wire = door.frames if subprotocol else door.bare_frames
        self.subscriber = Subscriber(self, wire, door.rules.limits.queue, policy, name)
        self._session = Session(door.hub, self.subscriber, {})
        self._inbox: Inbox[bytes | Opening] = Inbox(door.clock, self._ready, self._obey, self._broken, self._drained)

    @property
    def is_v1(self) -> bool:
        """Whether it speaks the subprotocol."""
        return self._subprotocol is not None

    async def subscribe(self, topics: tuple[str, ...], since: Since) -> None:
        """Begin with what the address names; `onOpen` goes on.

        :raises Refusal: it can not be done.
        """
        self._opening = await self._door.hub.subscribe(self.subscriber, topics, since)
        self._closes_when_ended = True

    # From Autobahn

    def onConnect(self, request: ConnectionRequest) -> tuple[str | None, dict[str, str]]:
        """Say yes."""
        bare_gap = self._opening is not None and self._opening.gaps and self.subscriber.wire.bare
        headers = {"Pushd-Gap": self._opening.gaps[0].reason} if self._opening and bare_gap else {}
        return self._subprotocol, headers

    def onOpen(self) -> None:
        """Begin to send."""
        self._door.entered(self)
        self.transport.registerProducer(self, True)
        self.subscriber.attach(sender_of(self.transport))
        if self._opening is not None:
            self._inbox.put([self._opening])
            self._opening = None

    def onMessage(self, payload: bytes, isBinary: bool) -> None:
        """Take a command."""
        if self._subprotocol is None:
            self._close_for(BadCommand(f"commands need the subprotocol {SUBPROTOCOL}"))
        elif isBinary:
            self._refuse(BadCommand("a command is a text frame"), msgspec.Raw(b"null"))
        else:
            self._inbox.put([payload])
            if self._inbox:
                self.transport.pauseProducing()

    def dataReceived(self, data: bytes) -> None:
        """Take bytes: any is a sign of life."""
        self._door.deadlines.heard(self)
        super().dataReceived(data)

    def onClose(self, wasClean: bool, code: int | None, reason: str | None) -> None:
        """Count what Autobahn closed by itself."""
        refusal = _AUTOBAHN_CLOSES.get(self.localCloseCode) if not self._is_closing else None
        if refusal is not None:
            self._door.rules.counters.refused(refusal, self.subscriber.name)

    def dropConnection(self, abort: bool = False) -> None:
        """Close; as long as a producer is registered, a transport that waits for its peer never would."""
        self.transport.unregisterProducer()
        super().dropConnection(abort)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Give everything back."""
        self._inbox.clear()
        self.let_go()
        super().connectionLost(reason)

    def let_go(self) -> None:
        """Give everything back."""
        self._door.left(self)
        for slot in self.slots:
            slot.release()

    # From the hub and the keepalive

    def write(self, data: bytes) -> None:
        """Send frames."""
        if self.state == self.STATE_OPEN:
            self.subscriber.spoke = self._door.wheel.now
            self.transport.write(data)

    def ended(self, channel: str) -> None:
        """Hear of a channel no more that has ended; close with the last that the address named."""
        self._door.hub.part(self.subscriber, (channel,))
        if self._closes_when_ended and not self.subscriber.starts:
            self._close(Ended("every channel has ended"))

    def give_up(self, why: Refusal) -> None:
        """Close, and say why."""
        self._close(why)

    def ping(self) -> None:
        """Ask for a sign of life, unless the peer has enough to read: then TCP watches over it."""
        if self.state == self.STATE_OPEN and not self.subscriber.is_busy:
            self._door.deadlines.expect(self)
            self.sendPing()

    def overdue(self) -> None:
        """Close: the peer did not answer."""
        self._close_for(NoPong("no answer to a ping"))

    # Commands

    async def _ready(self) -> None:
        await self._door.hub.ready(self.subscriber)

    async def _obey(self, items: deque[bytes | Opening]) -> None:
        """Obey a command, or send what the subscription of the address has missed."""
        asked = items.popleft()
        if isinstance(asked, Opening):
            await self._door.hub.follow(self.subscriber, asked, tell_gaps=not self.subscriber.wire.bare)
        else:
            await self._obey_command(asked)

    async def _obey_command(self, payload: bytes) -> None:
        ref = msgspec.Raw(b"null")
        try:
            ask = Ask(self._text(payload))
            ref = ask.ref
            await self._session.obey(ask.command(self._door.commands), lambda outcome: self._answer(outcome, ref))
        except BadUtf8 as refusal:
            self._close_for(refusal)
        except Refusal as refusal:
            self._refuse(refusal, ref)

    def _text(self, payload: bytes) -> bytes:
        try:
            payload.decode("utf-8")
        except UnicodeDecodeError:
            raise BadUtf8("a text frame is UTF-8 (RFC 6455, section 8.1)") from None
        return payload

    def _answer(self, outcome: command.Outcome, ref: msgspec.Raw) -> None:
        self.write(encode_outcome(outcome, ref))

    def _refuse(self, refusal: Refusal, ref: msgspec.Raw) -> None:
        self._door.rules.counters.refused(refusal, self.subscriber.name)
        self.write(encode_refusal(refusal, ref))

    def _drained(self) -> None:
        if self.state == self.STATE_OPEN:
            self.transport.resumeProducing()

    def _broken(self, failure: Failure) -> None:
        self.logger.failure("{peer}: a command broke", failure, peer=self.subscriber.name)
        self._close(Fault("something broke here"))

    def _close_for(self, refusal: Refusal) -> None:
        self._door.rules.counters.refused(refusal, self.subscriber.name)
        self._close(refusal)

    def _close(self, why: Refusal) -> None:
        if self.state != self.STATE_OPEN:
            return
        self._is_closing = True
        self._inbox.clear()
        self._door.left(self)
        self.transport.unregisterProducer()
        self.sendCloseFrame(why.close, str(why).encode("utf-8")[:_REASON_BYTES])
        self._door.clock.callLater(_CLOSE_SECONDS, self.transport.abortConnection)


_AUTOBAHN_CLOSES: dict[int | None, Refusal] = {
    1002: BadFrame("what came is not WebSocket (RFC 6455)"),
    1009: TooLarge("a frame or message is too big"),
}


class WebSocketDoor(Door):
    """An address for WebSockets."""

    def __init__(
        self, rules: Rules, hub: Hub, clock: IReactorTime, wheel: Wheel, deadlines: Deadlines[SocketPeer]
    ) -> None:
        super().__init__(rules)
        self.hub = hub
        self.clock = clock
        self.deadlines = deadlines
        self.commands = Limits(rules.limits.message, rules.limits.event, rules.limits.topics)
        self.frames = JsonFrames()
        self.bare_frames = BareFrames()
        self.wheel = wheel
        self._peers: dict[SocketPeer, None] = {}
        most = 2 * rules.limits.message + _OVERHEAD
        self._factory = WebSocketServerFactory(server="", reactor=clock)
        self._factory.setProtocolOptions(
            webStatus=False,
            failByDrop=False,
            echoCloseCodeReason=False,
            utf8validateIncoming=False,
            maxFramePayloadSize=most,
            maxMessagePayloadSize=most,
            openHandshakeTimeout=0,
            closeHandshakeTimeout=_CLOSE_SECONDS,
        )

    def methods(self) -> Mapping[bytes, Callable[[Request], Awaitable[Answer]]]:
        """See `Door`."""
        return {b"GET": self.get}

    async def head(self, request: Request) -> Answer:
        """Refuse: a WebSocket has no headers of its own to show."""
        raise upgrade_required(request)

    def entered(self, peer: SocketPeer) -> None:
        """Keep a new WebSocket alive."""
        self._peers[peer] = None
        self.rules.counters.connections["websocket"] += 1
        self.wheel.add(peer)

    def left(self, peer: SocketPeer) -> None:
        """Let go of a WebSocket that is closing or gone."""
        self.hub.leave(peer.subscriber)
        self.wheel.remove(peer)
        self.deadlines.heard(peer)
        if self._peers.pop(peer, self) is None:
            self.rules.counters.connections["websocket"] -= 1

    def close_all(self, why: Refusal) -> None:
        """Close all WebSockets, and say why."""
        for peer in list(self._peers):
            peer.give_up(why)

    async def get(self, request: Request) -> Answer:
        """Open a WebSocket."""
        key = checked_key(request)
        origin = request.getHeader(b"origin")
        if origin is not None and not (self.rules.is_allowed(origin) or is_same_host(request, origin)):
            raise Forbidden("pages of that origin may not come in here; see http.allow_origins")
        subprotocol = SUBPROTOCOL if SUBPROTOCOL in tokens(request, b"sec-websocket-protocol") else None
        topics = parse_topics(name_in_path(request), self.rules.limits.topics) if request.postpath else ()
        if not topics and subprotocol is None:
            raise BadParameter(f"name topics in the address, or offer the subprotocol {SUBPROTOCOL}")
        since, policy = since_of(request), policy_of(request)
        slot = self.rules.admit_stream(request)
        peer = SocketPeer(self, subprotocol, f"websocket {self.rules.client_of(request)}", policy, slot)
        try:
            if topics:
                await peer.subscribe(topics, since)
        except BaseException:
            peer.let_go()
            raise
        if request.is_gone:
            peer.let_go()
        else:
            self._hand_over(request, peer, key)
        return None

    def _hand_over(self, request: Request, peer: SocketPeer, key: bytes) -> None:
        """Give the connection to Autobahn, as `autobahn.twisted.resource.WebSocketResource` does."""
        loan, _ = request.take_over(peer)
        peer.slots += (loan.slot,)
        peer.factory = self._factory
        peer.makeConnection(loan.transport)
        asked = b"Sec-WebSocket-Protocol: %b\r\n" % SUBPROTOCOL.encode("ascii") if peer.is_v1 else b""
        peer.dataReceived(_HANDSHAKE % (key, asked))
        if loan.early:
            peer.dataReceived(loan.early)


_HANDSHAKE = (
    b"GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: %b\r\n%b\r\n"
)
