"""Refusals: every no that a peer can be told, each a class of its own.

A refusal has a word (``code``), an HTTP status, a WebSocket close code (RFC 6455, section 7.4, and the 4000
range for what is ours) and, where coming back makes sense, the seconds to wait. Every edge turns it into its
own way of saying no in one place. What is not a refusal is a bug.
"""

from typing import ClassVar, Self


class Refusal(Exception):
    """A no, told to a peer. ``str(refusal)`` is the sentence that it reads."""

    code: ClassVar[str] = "refused"
    status: ClassVar[int] = 400
    close: ClassVar[int] = 1008
    retry_after: ClassVar[int | None] = None
    """Seconds."""
    is_limit: ClassVar[bool] = False
    """Whether a limit was passed, so that the log names who did."""
    is_abrupt: ClassVar[bool] = False
    """Whether a connection that is closed for it is sent nothing more of what waits for it."""

    def without_traceback(self) -> Self:
        """Give a refusal to keep: the same, without the frames that a raised one holds on to."""
        return type(self)(*self.args)


class BadChannel(Refusal):
    """The name is not a channel name."""

    code = "bad-channel"


class BadTopic(Refusal):
    """The name is neither a channel name nor a pattern."""

    code = "bad-topic"


class TooManyTopics(Refusal):
    """More topics in one subscription than ``limits.topics``."""

    code = "too-many-topics"


class BadSince(Refusal):
    """Not an id, ``all``, ``last:N``, a duration or unix seconds."""

    code = "bad-since"


class BadSlow(Refusal):
    """Not one of the policies for a slow subscriber."""

    code = "bad-slow"


class BadEvent(Refusal):
    """The event type is too long or holds a control character."""

    code = "bad-event"


class BadContentType(Refusal):
    """Not a media type (RFC 9110, section 8.3.1)."""

    code = "bad-content-type"


class BadTtl(Refusal):
    """The time to live is not a positive number of seconds."""

    code = "bad-ttl"


class BadParameter(Refusal):
    """A parameter of a request is out of its range."""

    code = "bad-parameter"


class BadJson(Refusal):
    """Not JSON (RFC 8259), or not the JSON that was asked for."""

    code = "bad-json"


class BadUtf8(Refusal):
    """Text that is not UTF-8 (RFC 3629)."""

    code = "bad-utf8"
    close = 1007


class BadEscape(Refusal):
    """A backslash that starts no known escape."""

    code = "bad-escape"


class BadCommand(Refusal):
    """A known command with the wrong arguments."""

    code = "bad-command"


class UnknownCommand(Refusal):
    """No such command."""

    code = "unknown-command"


class HttpOnLines(UnknownCommand):
    """An HTTP request on a line connection, which any page can make a browser send: what follows may be commands."""


class Forbidden(Refusal):
    """Not allowed to this peer."""

    code = "forbidden"
    status = 403
    close = 4403


class NotFound(Refusal):
    """No such address."""

    code = "not-found"
    status = 404


class UnknownChannel(Refusal):
    """Nobody published to that channel and nobody listens."""

    code = "unknown-channel"
    status = 404


class UnknownConnection(Refusal):
    """No connection with that id is open."""

    code = "unknown-connection"
    status = 404


class MethodNotAllowed(Refusal):
    """The address knows other methods only."""

    code = "method-not-allowed"
    status = 405


class ExpectationFailed(Refusal):
    """The request has an ``Expect`` other than ``100-continue`` (RFC 9110, section 10.1.1)."""

    code = "expectation-failed"
    status = 417


class UnknownMethod(Refusal):
    """The parser does not know the method, so the end of the request is unknown too (RFC 9110, section 15.6.2)."""

    code = "not-implemented"
    status = 501


class TooLarge(Refusal):
    """More bytes than the limit in force."""

    code = "too-large"
    is_limit = True
    status = 413
    close = 1009


class LineTooLong(TooLarge):
    """A line that does not end within its limit."""

    code = "line-too-long"


class UnsupportedType(Refusal):
    """A body of a type that this address does not take."""

    code = "unsupported-type"
    status = 415


class UnknownHost(Refusal):
    """A request for a host that a loopback listener does not serve (RFC 9110, section 15.5.20)."""

    code = "unknown-host"
    is_limit = True
    """So that the log names the peer: most often a proxy whose name is missing in ``http.hosts``."""
    status = 421


class UpgradeRequired(Refusal):
    """A WebSocket address was asked for without a WebSocket handshake (RFC 6455, section 4.2)."""

    code = "upgrade-required"
    status = 426


class TooManyChannels(Refusal):
    """As many channels as ``limits.channels`` are in use."""

    code = "too-many-channels"
    is_limit = True
    status = 429
    close = 4429
    retry_after = 60


class TooManySubscriptions(Refusal):
    """More topics on one connection than ``limits.subscriptions``."""

    code = "too-many-subscriptions"
    is_limit = True
    status = 429
    close = 4429
    retry_after = 60


class TooManyConnections(Refusal):
    """More connections than ``limits.connections`` or ``limits.connections_per_address``."""

    code = "too-many-connections"
    is_limit = True
    status = 429
    close = 4429
    retry_after = 10


class BadRequest(Refusal):
    """Not HTTP as RFC 9112 has it."""

    code = "bad-request"


class TooLate(Refusal):
    """The headers of a request did not come within ``limits.handshake``."""

    code = "request-timeout"
    status = 408
    is_limit = True


class HeadersTooLarge(Refusal):
    """More bytes of headers than ``limits.headers`` (RFC 6585, section 5)."""

    code = "headers-too-large"
    status = 431
    is_limit = True


class NoPong(Refusal):
    """The peer did not answer a ping."""

    code = "no-pong"
    close = 4408


class BadFrame(Refusal):
    """Not WebSocket as RFC 6455 has it."""

    code = "bad-frame"
    close = 1002


class TooSlow(Refusal):
    """The subscriber's queue is full and its policy is to disconnect."""

    code = "slow"
    is_limit = True
    status = 503
    close = 1013
    retry_after = 1


class NoRoom(Refusal):
    """More waits in memory, for all together, than ``limits.waiting_bytes``."""

    code = "no-room"
    is_limit = True
    is_abrupt = True
    status = 503
    close = 1013
    retry_after = 1


class Kicked(Refusal):
    """Somebody closed the connection by ``DELETE /connections/ID``."""

    code = "kicked"


class Ended(Refusal):
    """Every channel of the subscription has ended."""

    code = "ended"
    status = 410
    close = 4410


class Stopping(Refusal):
    """The daemon is shutting down."""

    code = "stopping"
    status = 503
    close = 1012
    retry_after = 3


class Overloaded(Refusal):
    """More waits to be stored than the store can take in."""

    code = "overloaded"
    status = 503
    close = 1013
    retry_after = 1


class StorageFailed(Refusal):
    """The store can not keep the message, or can not be read, for now."""

    code = "storage"
    status = 507
    close = 1013
    retry_after = 5


class Unavailable(Refusal):
    """The store can not be reached or takes nothing now."""

    code = "unavailable"
    status = 503
    close = 1013
    retry_after = 1


class InternalError(Refusal):
    """Something broke here; the log knows what."""

    code = "internal"
    status = 500
    close = 1011
