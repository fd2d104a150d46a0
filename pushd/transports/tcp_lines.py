"""Bare TCP lines: commands in, answers and messages out (docs/protocol.md, "TCP lines")."""

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from twisted.internet.interfaces import IAddress, IHalfCloseableProtocol, IReactorTime
from twisted.internet.protocol import Protocol, ServerFactory
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from pushd.core import command
from pushd.core.delivery import Wire
from pushd.core.errors import HttpOnLines, InternalError, LineTooLong, NoRoom, Refusal, TooManyConnections
from pushd.core.message import Draft
from pushd.core.outbox import Policy
from pushd.core.outbox import QueueLimits as QueueLimits
from pushd.core.subscriber import Subscriber
from pushd.hub.command_executor import CommandExecutor, CommandQueue
from pushd.hub.hub import Hub, Receipt
from pushd.metrics import Counters
from pushd.net.admission import Admission, Slot
from pushd.net.fan_out import direct_handle
from pushd.net.low_priority import prioritize
from pushd.net.sockets import close_within
from pushd.transports.backpressure import Backpressure
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
from pushd.wire.text_lines import LINE_END, TextLines

_CLOSE_SECONDS = 5.0
"""How long a connection that is being closed may take to send what it has."""
_TOGETHER: Final = 256
"""Publishes that are handed over together at most: about 2 ms."""
_OVERHEAD: Final = 4096
"""What a line may hold besides the data of a message: the verb, a channel, types, punctuation."""


@dataclass(frozen=True)
class LineLimits:
    """The limits of the line listeners, as plain values."""

    command: CommandLimits
    queue: QueueLimits = field(default_factory=QueueLimits)

    @property
    def line(self) -> int:
        """Bytes of a line: a message in base64, or one of which half the bytes are escaped by a backslash."""
        return 2 * self.command.data + _OVERHEAD


@implementer(IHalfCloseableProtocol)
class LineConnection(Backpressure):
    """A connection, and the outlet of its subscriber. While it only listens, it is not much more than that."""

    __slots__ = (
        "_commands",
        "_factory",
        "_held",
        "_is_closing",
        "_is_half_closed",
        "_rest",
        "_slot",
        "subscriber",
        "transport",
    )

    log = Logger()

    def __init__(self, factory: "LineFactory", name: str, slot: Slot) -> None:
        self._factory = factory
        self._slot = slot
        self._rest: bytes | bytearray = b""
        """What came of a line that has not ended."""
        self._held = 0
        """Bytes of it that count as waiting in memory."""
        self._is_closing = False
        self._is_half_closed = False
        self.subscriber = Subscriber(self, factory.formats["text"], factory.limits.queue, Policy.DISCONNECT, name)
        self._commands: CommandQueue[bytes | Refusal] | None = None
        """None: all that was asked is done."""
        self.transport: Any = None

    # From the network

    def makeConnection(self, transport: Any) -> None:
        """Greet."""
        self.transport = transport
        self._factory.add(self)
        transport.registerProducer(self, True)
        self.subscriber.attach(direct_handle(transport))
        transport.write(self._factory.greeting)

    def dataReceived(self, data: bytes) -> None:
        """Take lines; while they are not done, more are taken once, and then no more are read."""
        if self._is_closing:
            return
        items = self._split(data)
        if self._commands is None:
            # One who waits for each answer is never paused, which costs as much as the answer.
            if items:
                self._commands = CommandQueue(
                    self._factory.clock, self._when_drained, self._execute, self._on_error, self._on_idle
                )
                self._commands.put(items)
            return
        self._commands.put(items)
        if not self._is_closing:
            self.transport.pauseProducing()

    def _split(self, data: bytes) -> list[bytes | Refusal]:
        """Give the lines that end in `data`; last a refusal, if what follows can not be taken."""
        if not self._rest:
            *lines, self._rest = data.split(b"\n")
        elif b"\n" in data:
            *lines, self._rest = (bytes(self._rest) + data).split(b"\n")
        else:  # a line that comes a few bytes at a time is not copied for each
            lines, self._rest = [], bytearray(self._rest) if isinstance(self._rest, bytes) else self._rest
            self._rest += data
        items: list[bytes | Refusal] = [line.removesuffix(b"\r") for line in lines]
        limits = self._factory.limits
        most = limits.line
        for number, line in enumerate([*lines, self._rest]):
            if len(line) > most:
                items[number:] = [LineTooLong(f"a line has at most {most} bytes")]
                self._rest = b""
                break
        if len(self._rest) != self._held:
            try:
                self._held = limits.queue.budget.grow(self._held, len(self._rest))
            except NoRoom as refusal:
                items.append(refusal)
                self._forget()
        return items

    def _forget(self) -> None:
        """Hold nothing of a line any more."""
        self._rest = b""
        self._held = self._factory.limits.queue.budget.grow(self._held, 0)

    def readConnectionLost(self) -> None:
        """Know that the peer sends nothing more: what it asked for is answered, then the connection closes."""
        self._is_half_closed = True
        if self._commands is None:
            self._close()

    def writeConnectionLost(self) -> None:
        """Know that the peer reads nothing more."""
        self.transport.abortConnection()

    def connectionLost(self, reason: Failure) -> None:
        """Give everything back."""
        self._is_closing = True
        self._ask_no_more()
        self._forget()
        self._factory.hub.remove(self.subscriber)
        self._slot.release()
        self._factory.remove(self)

    # From the hub

    def write(self, data: bytes) -> None:
        """Send a block."""
        self.transport.write(data)

    def channel_ended(self, channel: str) -> None:
        """Hear of a channel no more that has ended; the connection stays."""
        self._factory.hub.unsubscribe(self.subscriber, (channel,))

    def close(self, why: Refusal) -> None:
        """Say why, and close."""
        if not self._is_closing:
            self.transport.write(encode_refusal(why))
            self._close(0.0 if why.is_abrupt else _CLOSE_SECONDS)

    # Commands

    async def _when_drained(self) -> None:
        await self._factory.hub.drained(self.subscriber)

    def _session(self) -> CommandExecutor:
        return CommandExecutor(self._factory.hub, self.subscriber, self._factory.formats)

    async def _execute(self, lines: deque[bytes | Refusal]) -> None:
        """Obey a line, or all publishes that follow each other, so that a store can accept them together."""
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
        outcomes = await self._session().publish(drafts)
        if not self._is_closing:
            self.transport.write(b"".join([self._receipt(outcome) for outcome in outcomes]))

    def _receipt(self, outcome: Receipt | Refusal) -> bytes:
        if isinstance(outcome, Refusal):
            self._factory.counters.count_refusal(outcome, self.subscriber.name)
            return encode_refusal(outcome)
        return encode_receipt(outcome.id, outcome.subscribers, outcome.is_local)

    async def _execute_line(self, line: bytes | Refusal) -> None:
        if line == b"" or self._is_closing:
            return
        try:
            if isinstance(line, Refusal):
                raise line
            await self._session().execute(parse(line, self._factory.limits.command), self._answer)
        except Refusal as refusal:
            self._factory.counters.count_refusal(refusal, self.subscriber.name)
            self.transport.write(encode_refusal(refusal))
            if isinstance(refusal, HttpOnLines | LineTooLong | NoRoom):
                is_abrupt = refusal.is_abrupt and self.subscriber.is_paused
                self._close(0.0 if is_abrupt else _CLOSE_SECONDS)

    def _answer(self, outcome: command.Reply) -> None:
        block = encode_reply(outcome, self.subscriber.wire)
        self.transport.write(block)
        self.subscriber.count_reply(len(block))
        if isinstance(outcome, command.Goodbye):
            self._close()

    def _on_idle(self) -> None:
        self._commands = None
        if self._is_half_closed:
            self._close()
        elif not self._is_closing:
            self.transport.resumeProducing()

    def _on_error(self, failure: Failure) -> None:
        self._commands = None
        self.log.failure("{peer}: a command broke", failure, peer=self.subscriber.name)
        self.close(InternalError("internal error; the log of the daemon has the details"))

    def _close(self, seconds: float = _CLOSE_SECONDS) -> None:
        if not self._is_closing:
            self._is_closing = True
            self._ask_no_more()
            self._factory.hub.remove(self.subscriber)
            self.transport.unregisterProducer()
            close_within(self.transport, self._factory.clock, seconds)

    def _ask_no_more(self) -> None:
        if self._commands is not None:
            self._commands.clear()


class LineFactory(ServerFactory):
    """Makes a `LinePeer` of each connection."""

    noisy = False

    def __init__(
        self,
        hub: Hub,
        clock: IReactorTime,
        limits: LineLimits,
        admission: Admission,
        counters: Counters,
        version: str,
    ) -> None:
        self.clock = clock
        self.counters = counters
        self.hub = hub
        self._version = version
        self.reconfigure(limits)
        self.formats: Mapping[str, Wire] = {"text": TextLines(), "json": JsonLines(LINE_END), "raw": RawLines()}
        self._admission = admission
        self._peers: dict[LineConnection, None] = {}

    def reconfigure(self, limits: LineLimits) -> None:
        """Take other limits for what comes from now on."""
        self.limits = limits
        self.greeting = greeting("pushd", self._version, limits.command.data)

    def buildProtocol(self, addr: IAddress | None) -> Any:
        """Admit a connection, or say why not."""
        host = getattr(addr, "host", None)
        try:
            slot = self._admission.admit(host)
        except TooManyConnections as refusal:
            self.counters.count_refusal(refusal, f"tcp {host}")
            return _Refused(refusal)
        return LineConnection(self, f"tcp {host or 'unix'}", slot)

    def add(self, peer: LineConnection) -> None:
        """Count a connection."""
        self.hub.add(peer.subscriber)
        self._peers[peer] = None
        self.counters.connections["tcp"] += 1

    def remove(self, peer: LineConnection) -> None:
        """Count a connection no more."""
        if self._peers.pop(peer, self) is None:
            self.counters.connections["tcp"] -= 1

    def close_all(self, why: Refusal, *, busy: bool = True) -> None:
        """Close all connections, having said why.

        :param busy: also those whose peers have not read yet what waits for them.
        """
        for peer in list(self._peers):
            if busy or not peer.subscriber.is_paused:
                peer.close(why)


class _Refused(Protocol):
    """A connection that is told why it can not stay."""

    def __init__(self, refusal: Refusal) -> None:
        self._refusal = refusal

    def connectionMade(self) -> None:
        assert self.transport is not None
        self.transport.write(encode_refusal(self._refusal))
        self.transport.loseConnection()
