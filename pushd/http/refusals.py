"""Refusals that only HTTP requests get."""

from pushd.core.errors import Refusal


class MethodNotAllowed(Refusal):
    """The resource does not support the method."""

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


class UnsupportedType(Refusal):
    """The resource does not accept a body of this content type."""

    code = "unsupported-type"
    status = 415


class UnknownHost(Refusal):
    """The host is not one that a loopback listener serves (RFC 9110, section 15.5.20)."""

    code = "unknown-host"
    is_limit = True
    """True so that the log names the peer: mostly a proxy whose host name is missing from ``http.hosts``."""
    status = 421


class UpgradeRequired(Refusal):
    """A WebSocket resource was requested without a WebSocket handshake (RFC 6455, section 4.2)."""

    code = "upgrade-required"
    status = 426


class HeadersTooLarge(Refusal):
    """The headers exceed ``limits.headers`` bytes (RFC 6585, section 5)."""

    code = "headers-too-large"
    status = 431
    is_limit = True
