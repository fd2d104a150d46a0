"""Refusals of input that is invalid, unknown or too large."""

from pushd.core.errors.refusal import Refusal


class BadChannel(Refusal):
    """The name is not a channel name."""

    code = "bad-channel"


class BadTopic(Refusal):
    """The name is neither a channel name nor a pattern."""

    code = "bad-topic"


class TooManyTopics(Refusal):
    """One subscription has more topics than ``limits.topics``."""

    code = "too-many-topics"


class BadSince(Refusal):
    """The cursor is not an id, ``all``, ``last:N``, a duration or unix seconds."""

    code = "bad-since"


class BadSlow(Refusal):
    """The slow-consumer policy is unknown."""

    code = "bad-slow"


class BadEvent(Refusal):
    """The event type is too long or contains a control character."""

    code = "bad-event"


class BadContentType(Refusal):
    """The content type is not a media type (RFC 9110, section 8.3.1)."""

    code = "bad-content-type"


class BadTtl(Refusal):
    """The time to live is not a positive number of seconds."""

    code = "bad-ttl"


class BadParameter(Refusal):
    """A parameter of a request is invalid or out of range."""

    code = "bad-parameter"


class BadJson(Refusal):
    """The data is not JSON (RFC 8259), or not of the expected shape."""

    code = "bad-json"


class BadUtf8(Refusal):
    """The text is not valid UTF-8 (RFC 3629)."""

    code = "bad-utf8"
    close = 1007


class BadEscape(Refusal):
    """A backslash starts no known escape sequence."""

    code = "bad-escape"


class BadCommand(Refusal):
    """A known command has the wrong arguments."""

    code = "bad-command"


class UnknownCommand(Refusal):
    """There is no such command."""

    code = "unknown-command"


class HttpOnLines(UnknownCommand):
    """A line connection received an HTTP request, which any page can make a browser send; commands may follow."""


class NotFound(Refusal):
    """There is no such resource."""

    code = "not-found"
    status = 404


class UnknownChannel(Refusal):
    """The channel has neither history nor subscribers."""

    code = "unknown-channel"
    status = 404


class UnknownConnection(Refusal):
    """No connection with that id is open."""

    code = "unknown-connection"
    status = 404


class BadMember(Refusal):
    """The id of a member, or what describes it, is invalid."""

    code = "bad-member"


class UnknownMember(Refusal):
    """The channel has no such member."""

    code = "unknown-member"
    status = 404


class TooLarge(Refusal):
    """The input exceeds a limit in bytes."""

    code = "too-large"
    is_limit = True
    status = 413
    close = 1009


class LineTooLong(TooLarge):
    """A line exceeds its limit."""

    code = "line-too-long"


class IdempotencyMismatch(Refusal):
    """The idempotency key was used before, for a publish with another body."""

    code = "idempotency-mismatch"
    status = 422


class BadRequest(Refusal):
    """The request is not valid HTTP/1.1 (RFC 9112)."""

    code = "bad-request"


class BadFrame(Refusal):
    """The peer violated the WebSocket protocol (RFC 6455)."""

    code = "bad-frame"
    close = 1002
