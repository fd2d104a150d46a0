"""Two protocols of Redis: one for commands, one for pub/sub. txredisapi parses the replies, by hiredis.

The commands of txredisapi are not used: each takes two Deferreds and a timer, and converts bytes to text.
"""

from collections import deque
from collections.abc import Callable
from typing import Any, Final

from twisted.internet.defer import Deferred
from twisted.internet.tcp import Connection
from txredisapi import ConnectionError as LostConnection
from txredisapi import InvalidData, RedisProtocol, SubscriberProtocol

from pushd.net.direct_send import has_empty_buffer

_REST_SECONDS: Final = 0.01
_SHOWN: Final = 200
"""The most characters of an unexpected reply in an error."""
_CONFIRMED: Final = frozenset((b"subscribe", b"psubscribe"))
_CONFIRMATIONS: Final = frozenset((*_CONFIRMED, b"unsubscribe", b"punsubscribe"))


def encode_command(words: tuple[object, ...]) -> bytes:
    """Encode a command (RESP2: an array of bulk strings)."""
    raw = [word if type(word) is bytes else str(word).encode() for word in words]
    return b"*%d\r\n" % len(raw) + b"".join([b"$%d\r\n%b\r\n" % (len(word), word) for word in raw])


class _DirectTransport:
    """A transport that sends immediately what the kernel accepts; only the rest is buffered by Twisted.

    A transport with TLS, which has the attributes of the socket below it, is not changed.
    """

    def __init__(self, transport: Any) -> None:
        self._transport = transport
        self._can = isinstance(transport, Connection) and not transport.TLS

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def write(self, data: bytes) -> None:
        """Send."""
        transport, sent = self._transport, 0
        if self._can and has_empty_buffer(transport):
            try:
                sent = transport.socket.send(data)
            except OSError:  # would block, or lost, which the reactor detects
                sent = 0
        if sent < len(data):
            transport.write(data[sent:])


class _CommandQueue:
    """The common part: commands and their replies, in order, with a timeout."""

    transport: Any
    connected: int

    def prepare(self, reply_seconds: float, clock: Any) -> None:
        """Initialize, before the connection is made."""
        self.lost: Deferred[None] = Deferred()
        self.reason = ""
        """Why the connection was lost."""
        self.failure = ""
        """Why this side closed the connection: what the server sent is not usable. A phrase for the operator."""
        self._reply_seconds = reply_seconds
        self._clock = clock
        self._pending: deque[tuple[float, Deferred[Any]]] = deque()
        self._timer: Any = None

    def makeConnection(self, transport: Any) -> None:
        """See `IProtocol`."""
        super().makeConnection(_DirectTransport(transport))  # type: ignore[misc] # of txredisapi, the next base class
        if hasattr(transport, "setTcpNoDelay"):
            transport.setTcpNoDelay(True)

    def tryConvertData(self, data: Any) -> Any:
        """Leave bytes as they are: txredisapi would turn 007 into 7."""
        return data

    def execute_command(self, *words: object, **_: object) -> Deferred[Any]:
        """Send a command; return a Deferred for its reply.

        :raises LostConnection: when there is no connection.
        """
        if not self.connected:
            raise LostConnection("not connected")
        asked: Deferred[Any] = Deferred()
        self._pending.append((self._clock.seconds() + self._reply_seconds, asked))
        if self._timer is None:
            self._timer = self._clock.callLater(self._reply_seconds, self._check_overdue)
        self.transport.write(encode_command(words))
        return asked

    def dataReceived(self, data: bytes, unpause: bool = False) -> None:
        """See `IProtocol`; close the connection if the data is not that of a Redis server."""
        try:
            super().dataReceived(data, unpause)  # type: ignore[misc]
        except InvalidData as error:
            self.fail(f"the server does not speak the protocol of Redis ({error})")

    def fail(self, why: str) -> None:
        """Close the connection, because what the server sent is not usable."""
        self.failure = self.failure or why
        self.transport.abortConnection()

    def replyReceived(self, reply: Any) -> None:
        """Called with each reply."""
        if not self._pending:
            self.fail(f"the server sent a reply without a command: {str(reply)[:_SHOWN]}")
            return
        _, asked = self._pending.popleft()
        if isinstance(reply, Exception):
            asked.errback(reply)
        else:
            asked.callback(reply)

    def connectionLost(self, why: Any) -> None:
        """Connection lost: fail all pending commands.

        Before that, `lost` is called, so that whoever repeats a command waits for the next connection.
        """
        self.reason = self.failure or why.getErrorMessage()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        super().connectionLost(why)  # type: ignore[misc]
        self.lost.callback(None)
        while self._pending:
            self._pending.popleft()[1].errback(LostConnection(self.reason))

    def _check_overdue(self) -> None:
        """Abort the connection if a reply is overdue: a frozen Redis is detected in no other way."""
        self._timer = None
        if not self._pending:
            return
        wait = self._pending[0][0] - self._clock.seconds()
        if wait > 0:
            self._timer = self._clock.callLater(wait, self._check_overdue)
        else:
            self.transport.abortConnection()


class CommandProtocol(_CommandQueue, RedisProtocol):
    """A connection for commands. Bytes go in, bytes come out."""

    def __init__(self, reply_seconds: float, clock: Any) -> None:
        super().__init__(charset=None, convertNumbers=False)
        self.prepare(reply_seconds, clock)


class PubSubProtocol(_CommandQueue, SubscriberProtocol):
    """A connection that listens.

    :param heard: is called with each message.
    :param confirmed: is called with each name to which it is subscribed now.
    :param is_behind: tells whether to read no more for a while. What Redis cannot send it keeps up to a limit of its
        own (`client-output-buffer-limit pubsub`), and then cuts the connection.
    """

    def __init__(
        self,
        reply_seconds: float,
        clock: Any,
        heard: Callable[[bytes], None],
        confirmed: Callable[[bytes], None],
        is_behind: Callable[[], bool],
    ) -> None:
        super().__init__(charset=None, convertNumbers=False)
        self.prepare(reply_seconds, clock)
        self._heard = heard
        self._confirmed = confirmed
        self._is_behind = is_behind
        self._resting: Any = None

    def dataReceived(self, data: bytes, unpause: bool = False) -> None:
        """Take what comes, and rest while that is too much."""
        super().dataReceived(data, unpause)
        if self._resting is None and self._is_behind() and not self.reason:
            self.transport.pauseProducing()
            self._resting = self._clock.callLater(_REST_SECONDS, self._wake)

    def connectionLost(self, why: Any) -> None:
        """Rest no more."""
        if self._resting is not None:
            self._resting.cancel()
            self._resting = None
        super().connectionLost(why)

    def _wake(self) -> None:
        self._resting = None
        if self._is_behind():
            self._resting = self._clock.callLater(_REST_SECONDS, self._wake)
        else:
            self.transport.resumeProducing()

    def replyReceived(self, reply: Any) -> None:
        """Take what comes. Confirmations are no replies here: there is one for each name, not for each command."""
        kind = reply[0] if type(reply) is list and reply else None
        if kind == b"message":
            self._heard(reply[2])
        elif kind == b"pmessage":
            self._heard(reply[3])
        elif kind in _CONFIRMATIONS:
            if kind in _CONFIRMED:
                self._confirmed(reply[1])
        else:
            super().replyReceived(reply)

    def send(self, *words: bytes) -> None:
        """Send a command to which there is no reply of its own."""
        self.transport.write(encode_command(words))
