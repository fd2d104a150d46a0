"""Parses requests: names in the path, parameters of the query, the start position, the slow-consumer policy."""

import re
from collections.abc import Collection

from pushd.auth.url_signature import RECONNECT_PARAMETERS
from pushd.core.cursor import MessageId, Since, newest_of, parse_id, parse_since
from pushd.core.delivery import Wire
from pushd.core.edit_distance import edit_distance
from pushd.core.errors import BadParameter, BadSince, BadUtf8, NotFound
from pushd.core.outbox import Policy, parse_policy
from pushd.core.presence import AsMember, as_member
from pushd.http.request import Request

CURSOR_PARAMETERS = ("since", *(name.decode("ascii") for name in RECONNECT_PARAMETERS))
"""All parameters of a cursor."""
SUBSCRIPTION_PARAMETERS = (*CURSOR_PARAMETERS, "presence", "presence_id")
"""All parameters of a cursor, and those with which a subscription enters its channels."""
_TYPING_ERROR = 2
"""Edits between a name and the one that was probably meant."""
_SHOWN_NAME = 40
"""Characters of an unknown name that its refusal shows."""
_TAG = re.compile(r'"([^"]*)"')
_TAGS = re.compile(r'(?:(?:W/)?"[^"]*"(?:\s*,\s*|\Z))+')
_CODING = re.compile(r"-{1,2}(?:gzip|br|deflate|zstd)\Z")
"""Appended to a tag by proxies that compress the answer."""
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


def flag(request: Request, name: bytes) -> bool | None:
    """Return whether a parameter is 1; None if it is missing.

    :raises BadParameter: when it is neither 0 nor 1.
    """
    word = parameter(request, name)
    if word not in (None, "0", "1"):
        raise BadParameter(f"{name.decode('ascii')} must be 0 or 1")
    return None if word is None else word == "1"


def check_parameters(
    request: Request, known: Collection[str], *, is_strict: bool, credentials: Collection[str] = ()
) -> None:
    """Check the names of the parameters of the query.

    :param known: the names that the resource uses.
    :param credentials: the names of parameters of credentials. They are too short to be suggested.
    :param is_strict: whether any other name is refused; if not, only one that looks like a typing error.
    :raises BadParameter: when a name is refused; the text suggests the one that was probably meant.
    """
    for raw in request.args:
        name = raw.decode("utf-8", "replace")
        if name in known or name in credentials:
            continue
        similar = min(known, key=lambda each: edit_distance(each, name), default="")
        is_similar = bool(similar) and edit_distance(similar, name) <= _TYPING_ERROR
        if is_strict or is_similar:
            hint = f"; did you mean {similar}?" if is_similar else ""
            raise BadParameter(f"unknown parameter {name[:_SHOWN_NAME]!r}{hint}")


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
    """Return the cursor of a request: what a client adds when it reconnects, else ``since=``, else `NOW`.

    A client adds ``Last-Event-ID``, as a header (WHATWG HTML, section 9.2) or, like the polyfills of EventSource, as a
    parameter. That wins over the URL of the page, which stays the same at each reconnect.

    :raises BadSince: when it is invalid.
    """
    cursor = reconnect_cursor(request)
    return parse_since(parameter(request, b"since") or "") if cursor is None else cursor


def is_reconnect(request: Request) -> bool:
    """Return whether a request has a cursor, valid or not, as those have that continue a stream."""
    names = (*RECONNECT_PARAMETERS, b"since") if request.query else ()
    return bool(request.getHeader(b"last-event-id")) or any(request.args.get(name) for name in names)


def reconnect_cursor(request: Request) -> Since | None:
    """Return the cursor that a client has added when it reconnected: of several the newest; None if there is none.

    :raises BadSince: when one is invalid.
    """
    cursors: list[Since] = []
    if header := request.getHeader(b"last-event-id"):
        cursor = parse_id(header.decode("latin-1"))
        if cursor is None:
            raise BadSince("Last-Event-ID must be the id of a message, as in an event or in Pushd-Id")
        cursors.append(cursor)
    for name in RECONNECT_PARAMETERS if request.query else ():
        if text := parameter(request, name):
            cursors.append(parse_since(text))
    return newest_of(cursors) if cursors else None


def validator_of(request: Request) -> Since | None:
    """Return the cursor in ``If-None-Match`` (RFC 9110, section 13.1.2); None if there is none.

    Weak tags, lists, of which the newest id counts, and the suffixes that compressing proxies append are accepted.

    :raises BadSince: when there is another tag among them.
    """
    header = (request.getHeader(b"if-none-match") or b"").decode("latin-1").strip()
    if header in ("", "*"):
        return None
    tags = _TAG.findall(header) if _TAGS.fullmatch(header) else [header]
    cursors = [parse_since(_CODING.sub("", tag)) for tag in tags]
    ids = [cursor for cursor in cursors if isinstance(cursor, MessageId)]
    return newest_of(ids or cursors)


def policy_of(request: Request) -> Policy | None:
    """Return the slow-consumer policy; None if none is given.

    :raises BadSlow: when it is unknown.
    """
    word = parameter(request, b"slow")
    return None if word is None else parse_policy(word)


def member_of(request: Request) -> AsMember | None:
    """Return as whom a subscription enters its channels; None if it does not.

    :raises BadParameter: when that is invalid.
    """
    return as_member(parameter(request, b"presence"), parameter(request, b"presence_id"))


def begin_of(request: Request, wire: Wire, default: bool) -> bool:
    """Return whether a stream starts with a begin object: the parameter ``begin``, if it is given.

    :raises BadParameter: when it is neither 0 nor 1, or the format of the stream has no begin object.
    """
    begins = flag(request, b"begin")
    if begins and not wire.has_begin:
        raise BadParameter("begin=1 needs a format with control objects, such as json")
    return default if begins is None else begins


def responder_of(request: Request, *, has_reply_to: bool) -> bool:
    """Return whether a subscriber asks to be a responder: the parameter ``responder``.

    :param has_reply_to: whether the format of the answer shows the channel for the reply.
    :raises BadParameter: when it is neither 0 nor 1, or the format does not show it.
    """
    is_responder = flag(request, b"responder") or False
    if is_responder and not has_reply_to:
        raise BadParameter("responder=1 needs a format in which messages have reply_to, such as json")
    return is_responder


def require_no_subpath(request: Request) -> None:
    """Check that a path ends at the resource.

    :raises NotFound: when it has further segments.
    """
    if request.postpath:
        raise NotFound("this address has no subpaths")
