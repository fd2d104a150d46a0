"""What doors read from a request: the name in its path, its parameters, and where a subscriber wants to begin."""

import re

from pushd.core.cursor import Since, parse_since
from pushd.core.errors import BadParameter, BadUtf8, NotFound
from pushd.core.outbox import Policy, parse_policy
from pushd.http.request import Request

_DECIMAL = re.compile(r"[0-9]{1,12}(?:\.[0-9]{1,9})?")


def name_in_path(request: Request) -> str:
    """Give what follows the door's own name in the path, percent-decoded.

    :raises BadUtf8: it is not UTF-8.
    """
    try:
        return b"/".join(request.postpath).decode("utf-8")
    except UnicodeDecodeError:
        raise BadUtf8("name in the path is not valid percent-encoded UTF-8") from None


def parameter(request: Request, name: bytes) -> str | None:
    """Give a parameter of the query; None where there is none.

    :raises BadUtf8: it is not UTF-8.
    :raises BadParameter: it stands there twice.
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
    """Give a parameter that is a whole number.

    :raises BadParameter: it is none, or not from `low` to `high`.
    """
    text = parameter(request, name)
    if text is None:
        return default
    if not (text.isascii() and text.isdigit() and len(text) <= 18 and low <= int(text) <= high):
        raise BadParameter(f"{name.decode('ascii')} must be a whole number from {low} to {high}")
    return int(text)


def decimal(request: Request, name: bytes) -> float | None:
    """Give a parameter that is a number; None where there is none.

    :raises BadParameter: it is none.
    """
    text = parameter(request, name)
    if text is None:
        return None
    if not _DECIMAL.fullmatch(text):
        raise BadParameter(f"{name.decode('ascii')} must be a decimal number")
    return float(text)


def since_of(request: Request) -> Since:
    """Give the place where the client wants to begin: the header first, then the parameters.

    :raises BadSince: it is none.
    """
    header = request.getHeader(b"last-event-id")
    if header:
        return parse_since(header.decode("latin-1"))
    for name in (b"since", b"last_event_id", b"lastEventID"):
        if text := parameter(request, name):
            return parse_since(text)
    return parse_since("")


def policy_of(request: Request, default: Policy = Policy.DISCONNECT) -> Policy:
    """Give the policy for a slow subscriber.

    :raises BadSlow: it is none.
    """
    word = parameter(request, b"slow")
    return default if word is None else parse_policy(word)


def require_no_subpath(request: Request) -> None:
    """Refuse a path that goes on below an address without subpaths.

    :raises NotFound: when there are further segments.
    """
    if request.postpath:
        raise NotFound("this address has no subpaths")
