"""The line protocol over TCP: commands in, replies and messages out (docs/protocol.md, "TCP lines")."""

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from twisted.internet.interfaces import IAddress, IHalfCloseableProtocol, IReactorTime
from twisted.internet.protocol import Protocol, ServerFactory
from twisted.python.failure import Failure
from zope.interface import implementer

from pushd.auth.authenticator import NO_AUTHENTICATION, Authenticator
from pushd.core.answered_grant import UNASKED
from pushd.core.command import Goodbye, Replied, Reply, RequestRefused
from pushd.core.delivery import Wire
from pushd.core.errors import HttpOnLines, LineTooLong, NoRoom, Refusal, TooLate, TooManyConnections
from pushd.core.message import Draft
from pushd.core.outbox import QueueLimits
from pushd.core.peer import Peer
from pushd.core.subscriber import Subscriber
from pushd.hub.hub import Hub
from pushd.hub.publishing import Receipt
from pushd.hub.session import Session
from pushd.hub.session_queue import SessionContext
from pushd.metrics import Counters
from pushd.net.addresses import host_of
from pushd.net.admission import Admission, Slot, network_of
from pushd.net.fan_out import direct_handle
from pushd.net.keepalive import Deadlines
from pushd.net.low_priority import prioritize
from pushd.net.sockets import close_within, limit_reads
from pushd.transports.backpressure import CLOSE_SECONDS, TwoWayBackpressure
from pushd.transports.credential_deadlines import CredentialDeadlines
from pushd.transports.live_connections import LiveConnections
from pushd.wire.line_commands import (
    CommandLimits,
    encode_receipt,
    encode_refusal,
    encode_reply,
    greeting,
    is_publish,
    parse,
    parse_publish,
)
from pushd.wire.ndjson import JsonLines, RawLines
from pushd.wire.telnet import IAC, extract_commands
from pushd.wire.text_lines import LINE_END, TextLines

_READ: Final = 8 << 10
"""Bytes read at once: as lines in memory, and in answers, they may become thirty times as many."""
_LAST_REFUSALS = HttpOnLines, LineTooLong, NoRoom, TooLate
"""The refusals after which the connection is closed."""
_TOGETHER: Final = 256
"""The most publishes in one call of the backend: about 2 ms."""


@dataclass(frozen=True)
class LineLimits:
    """The limits of line connections."""

    command: CommandLimits
    queue: QueueLimits = field(default_factory=QueueLimits)
    upload: float = 300.0
    """Seconds from the first byte of a line to its end, if they are not received together."""


@implementer(IHalfCloseableProtocol)
class LineConnection(TwoWayBackpressure):
    """A line connection, and the outlet of its subscriber."""

    __slots__ = (
        "_factory",
        "_is_half_closed",
        "_rest",
        "_session",
        "_slot",
        "_telnet_rest",
        "subscriber",
        "transport",
    )

    def __init__(self, factory: "LineFactory", address: str, slot: Slot) -> None:
        self._factory = factory
        self._slot = slot
        self._rest: bytes | bytearray = b""
        """The received part of an incomplete line, which is charged to the memory budget."""
        self._telnet_rest = b""
        """The received part of an incomplete telnet command."""
        self._is_half_closed = False
        asks = factory.hub.callbacks.application.asks_connect
        grant = UNASKED if asks else factory.sessions.authenticator.anonymous
        peer = Peer("tcp", address, grant, None, network_of(address))
        self.subscriber = Subscriber(self, factory.formats["text"], factory.limits.queue, None, peer)
        self.subscriber.record_origins()
        self._session: Session[_Item] = Session(factory.sessions, self.subscriber)
        self.transport: Any = None

    # From the network

    def makeConnection(self, transport: Any) -> None:
        """Connection made: send the greeting, or a refusal when its address has too many connections."""
        self.transport = transport
        try:
            self._factory.live.add(self)
        except TooManyConnections as refusal:
            self._factory.counters.count_refusal(refusal, self.subscriber.peer)
            self.subscriber.close(refusal)
            transport.write(encode_refusal(refusal))
            close_within(transport, self._factory.clock, CLOSE_SECONDS)
            return
        self._factory.credentials.expect(self)
        limit_reads(transport, _READ)
        transport.registerProducer(self, True)
        self.subscriber.attach(direct_handle(transport))
        self._greet()

    def _greet(self) -> None:
        self.transport.write(self._factory.greeting)

    def dataReceived(self, data: bytes) -> None:
        """Queue the received lines. While commands run, or the peer does not read, only one more read is queued."""
        if self.subscriber.is_closed:
            return
        # A peer that waits for each reply is never paused: pausing costs as much as the reply.
        was_busy = self._session.is_busy
        items: list[_Item] = []
        if IAC in data or self._telnet_rest:
            data, answers, self._telnet_rest = extract_commands(self._telnet_rest + data)
            items = [_TelnetAnswers(answers)] if answers else []
        self._session.put(items + self._split(data) if items else self._split(data), self)
        if (was_busy or self.subscriber.is_paused) and not self.subscriber.is_closed:
            self.transport.pauseProducing()

    def _split(self, data: bytes) -> list["_Item"]:
        """Return the lines that `data` completes, followed by a refusal when the rest cannot be accepted."""
        charged = len(self._rest)
        if not self._rest:
            *lines, self._rest = data.split(b"\n")
        elif b"\n" in data:
            *lines, self._rest = (bytes(self._rest) + data).split(b"\n")
        else:  # append in place, so that a line received in many small reads is not copied each time
            lines, self._rest = [], bytearray(self._rest) if isinstance(self._rest, bytes) else self._rest
            self._rest += data
        items: list[_Item] = [line.removesuffix(b"\r") for line in lines]
        limits = self._factory.limits
        most = limits.command.size
        for number, line in enumerate([*lines, self._rest]):
            if len(line) > most:
                items[number:] = [LineTooLong(f"line is too long: at most {most} bytes are allowed")]
                self._rest = b""
                break
        if len(self._rest) != charged:
            try:
                limits.queue.budget.grow(charged, len(self._rest), self)
            except NoRoom as refusal:
                items.append(refusal)
                self._drop_rest(charged)
        if charged or self._rest:
            self._expect_line_end(is_new=bool(lines))
        return items

    def _drop_rest(self, charged: int) -> None:
        """Drop an incomplete line, of which `charged` bytes are charged."""
        self._factory.limits.queue.budget.grow(charged, 0, self)
        self._rest = b""

    def _expect_line_end(self, *, is_new: bool) -> None:
        """Start or cancel the deadline for the rest of a line.

        :param is_new: whether another line has ended before.
        """
        deadlines = self._factory.line_ends
        if is_new or not self._rest:
            deadlines.cancel(self)
        if self._rest:
            deadlines.expect(self)

    def line_timed_out(self) -> None:
        """Called when a line is incomplete after its time, however steadily it is sent: refuse it."""
        seconds = self._factory.limits.upload
        self._drop_rest(len(self._rest))
        self._session.put([TooLate(f"a line must arrive within {seconds:g} seconds of its first byte")], self)

    def release_for(self, refusal: Refusal) -> None:
        """Called when the memory budget is exceeded and the line makes no progress; see `pushd.core.budget.Holder`."""
        self._factory.hub.disconnect(self.subscriber, refusal)

    def readConnectionLost(self) -> None:
        """Called when the peer has closed its sending side: answer the pending commands, then close."""
        self._is_half_closed = True
        self._close_if_done()

    def writeConnectionLost(self) -> None:
        """Called when the peer does not read any more: abort the connection."""
        self.transport.abortConnection()

    def connectionLost(self, reason: Failure) -> None:
        """Connection lost: release everything."""
        self._session.clear()
        self._drop_rest(len(self._rest))
        self._factory.line_ends.cancel(self)
        self._factory.live.discard(self)
        self._slot.release()

    # From the hub

    def write(self, data: bytes) -> None:
        """Send a block."""
        self.transport.write(data)

    def topics_ended(self) -> None:
        """Called when every channel has ended: the connection stays open."""

    def close(self, why: Refusal) -> None:
        """Send the reason, and close."""
        self.transport.write(encode_refusal(why))
        self._close(why, self.closing_seconds(why))

    def abort(self) -> None:
        """Close the connection at once."""
        self.transport.abortConnection()

    # Commands

    async def execute(self, lines: deque["_Item"]) -> None:
        """Execute one line, or all consecutive publishes at once, so that a backend can commit them together."""
        drafts: list[Draft | Refusal] = []
        while lines and len(drafts) < _TOGETHER and isinstance(line := lines[0], bytes) and is_publish(line):
            lines.popleft()
            try:
                drafts.append(parse_publish(line, self._factory.limits.command))
            except Refusal as refusal:
                drafts.append(refusal.without_traceback())
        if not drafts:
            await self._execute_line(lines.popleft())
            return
        prioritize(self.transport)
        results = await self._session.publish(drafts)
        try:
            self._send(b"".join([self._encode_result(result) for result in results]))
        except NoRoom as refusal:
            self._refuse(refusal)

    def _encode_result(self, result: Receipt | Refusal) -> bytes:
        if isinstance(result, Refusal):
            self._factory.counters.count_refusal(result, self.subscriber.peer)
            return encode_refusal(result)
        return encode_receipt(result.id, result.subscribers, result.is_local)

    async def _execute_line(self, line: "_Item") -> None:
        if line == b"":
            return
        try:
            if isinstance(line, _TelnetAnswers):
                self._send(line.commands)
                return
            if isinstance(line, Refusal):
                raise line
            await self._session.execute(parse(line, self._factory.limits.command), self._answer)
        except Refusal as refusal:
            self._refuse(refusal)

    def _refuse(self, refusal: Refusal) -> None:
        self._factory.counters.count_refusal(refusal, self.subscriber.peer)
        block = encode_refusal(refusal)
        if self.subscriber.is_closed:
            return
        if not isinstance(refusal, _LAST_REFUSALS):
            self._send(block)
            return
        self.transport.write(block)
        self._close(refusal, self.closing_seconds(refusal))

    def _answer(self, reply: Reply) -> None:
        if isinstance(reply, RequestRefused):
            self._factory.counters.count_refusal(reply.refusal, str(self.subscriber.peer))
        self._send(encode_reply(reply, self.subscriber.wire))
        if isinstance(reply, Goodbye):
            self._close(None)
        elif isinstance(reply, Replied | RequestRefused):
            self._close_if_done()

    def _send(self, data: bytes) -> None:
        """Send a reply, unless the connection was closed while the command was executed.

        :raises NoRoom: when the peer does not read, and the memory limit is exceeded.
        """
        if not self.subscriber.is_closed:
            self.transport.write(data)
            self.subscriber.count_reply(len(data))

    def on_idle(self) -> None:
        """Called when all received lines have been executed."""
        if self._is_half_closed:
            self._close_if_done()
        else:
            self.continue_reading()

    def _close_if_done(self) -> None:
        """Close if the peer has closed its sending side, and everything that it has sent is answered."""
        is_done = self._is_half_closed and not (self._session.is_busy or self._session.waits_for_replies)
        if is_done and not self.subscriber.is_closed:
            self._close(None)

    def _close(self, why: Refusal | None, seconds: float = CLOSE_SECONDS) -> None:
        """Close an open connection within `seconds`; `connectionLost` follows."""
        self._session.clear()
        self._drop_rest(len(self._rest))
        self._factory.line_ends.cancel(self)
        self._factory.live.remove(self, why)
        self.transport.unregisterProducer()
        close_within(self.transport, self._factory.clock, seconds)


class _TelnetAnswers(NamedTuple):
    """Answers to telnet commands. They are queued like commands, so that they wait for a peer that does not read."""

    commands: bytes


_Item = bytes | Refusal | _TelnetAnswers
"""What a session of a line connection executes."""


class LineFactory(ServerFactory):
    """Creates a `LineConnection` for each connection."""

    noisy = False
    connection_class: type[LineConnection] = LineConnection

    def __init__(
        self,
        hub: Hub,
        clock: IReactorTime,
        limits: LineLimits,
        admission: Admission,
        counters: Counters,
        version: str,
        credentials: CredentialDeadlines,
        authenticator: Authenticator = NO_AUTHENTICATION,
    ) -> None:
        """`credentials` are the deadlines for the credential of a peer."""
        self.clock = clock
        self.counters = counters
        self.credentials = credentials
        self.hub = hub
        self._version = version
        self.line_ends: Deadlines[LineConnection] = Deadlines(
            clock, limits.upload, LineConnection.line_timed_out, lambda connection: connection.has_unread
        )
        self.reconfigure(limits)
        self.formats: Mapping[str, Wire] = {"text": TextLines(), "json": JsonLines(LINE_END), "raw": RawLines()}
        self.admission = admission
        self.sessions = SessionContext(hub, clock, self.formats, authenticator)
        self.live: LiveConnections[LineConnection] = LiveConnections(hub, counters, on_removed=credentials.cancel)

    def reconfigure(self, limits: LineLimits) -> None:
        """Change the limits. They apply to commands and connections received from now on."""
        self.limits = limits
        self.line_ends.reconfigure(limits.upload)
        self.greeting = greeting("pushd", self._version, limits.command.data)

    def startFactory(self) -> None:
        """Start to check the deadlines."""
        self.line_ends.start()

    def stopFactory(self) -> None:
        """Stop checking the deadlines."""
        self.line_ends.stop()

    def buildProtocol(self, addr: IAddress | None) -> Any:
        """Return a `LineConnection`, or a protocol that sends a refusal when there are too many connections."""
        host = host_of(addr)
        try:
            slot = self.admission.admit(host)
        except TooManyConnections as refusal:
            self.counters.count_refusal(refusal, f"tcp {host}")
            return _Refused(refusal)
        return self.connection_class(self, host or "unix", slot)

    def close_all(self, why: Refusal, *, busy: bool = True) -> None:
        """See `Transport`."""
        self.live.close_all(why, busy=busy)


class _Refused(Protocol):
    """A connection that sends a refusal and closes."""

    def __init__(self, refusal: Refusal) -> None:
        self._refusal = refusal

    def connectionMade(self) -> None:
        assert self.transport is not None
        self.transport.write(encode_refusal(self._refusal))
        self.transport.loseConnection()
