"""Parses requests: names in the path, parameters of the query, the start position, the slow-consumer policy."""

import re

from pushd.core.cursor import Since, parse_since
from pushd.core.errors import BadParameter, BadUtf8, NotFound
from pushd.core.outbox import Policy, parse_policy
from pushd.http.request import Request

_DECIMAL = re.compile(r"[0-9]{1,12}(?:\.[0-9]{1,9})?")


def name_in_path(request: Request) -> str:
    """Return the path below the resource, percent-decoded.

    :raises BadUtf8: when it is not UTF-8.
    """
    try:
        return b"/".join(request.postpath).decode("utf-8")
    except UnicodeDecodeError:
        raise BadUtf8("name in the path is not valid percent-encoded UTF-8") from None


def parameter(request: Request, name: bytes) -> str | None:
    """Return a parameter of the query; None if it is missing.

    :raises BadUtf8: when it is not UTF-8.
    :raises BadParameter: when it is given more than once.
    """
    if not request.query:
        return None
    values = request.args.get(name, ())
    if len(values) > 1:
        raise BadParameter(f"{name.decode('ascii')} must not be given more than once")
    try:
        return values[0].decode("utf-8") if values else None
    except UnicodeDecodeError:
        raise BadUtf8(f"{name.decode('ascii')} is not valid percent-encoded UTF-8") from None


def whole_number(request: Request, name: bytes, default: int, low: int, high: int) -> int:
    """Return a parameter that is a whole number; `default` if it is missing.

    :raises BadParameter: when it is not a whole number from `low` to `high`.
    """
    text = parameter(request, name)
    if text is None:
        return default
    if not (text.isascii() and text.isdigit() and len(text) <= 18 and low <= int(text) <= high):
        raise BadParameter(f"{name.decode('ascii')} must be a whole number from {low} to {high}")
    return int(text)


def decimal(request: Request, name: bytes) -> float | None:
    """Return a parameter that is a decimal number; None if it is missing.

    :raises BadParameter: when it is not a decimal number.
    """
    text = parameter(request, name)
    if text is None:
        return None
    if not _DECIMAL.fullmatch(text):
        raise BadParameter(f"{name.decode('ascii')} must be a decimal number")
    return float(text)


def since_of(request: Request) -> Since:
    """Return the start position: that of ``Last-Event-ID``, or else of the parameters.

    :raises BadSince: when it is invalid.
    """
    header = request.getHeader(b"last-event-id")
    if header:
        return parse_since(header.decode("latin-1"))
    for name in (b"since", b"last_event_id", b"lastEventID"):
        if text := parameter(request, name):
            return parse_since(text)
    return parse_since("")


def policy_of(request: Request, default: Policy = Policy.DISCONNECT) -> Policy:
    """Return the slow-consumer policy; `default` if none is given.

    :raises BadSlow: when it is unknown.
    """
    word = parameter(request, b"slow")
    return default if word is None else parse_policy(word)


def require_no_subpath(request: Request) -> None:
    """Check that a path ends at the resource.

    :raises NotFound: when it has further segments.
    """
    if request.postpath:
        raise NotFound("this address has no subpaths")
