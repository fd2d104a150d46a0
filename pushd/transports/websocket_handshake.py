"""The opening handshake of a WebSocket, as an HTTP request (RFC 6455, section 4.2)."""

import base64
import binascii
import hashlib

from pushd.core.errors import BadParameter, BadRequest, Refusal
from pushd.core.message import main_reason
from pushd.core.replay import StartPosition
from pushd.http.refusals import UpgradeRequired
from pushd.http.request import Request
from pushd.wire.websocket_commands import SUBPROTOCOL

_MAGIC = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


def checked_key(request: Request) -> bytes:
    """Check the handshake (RFC 6455, section 4.2.1) and return its key.

    :raises UpgradeRequired: when the request is not a handshake of version 13.
    :raises BadRequest: when it has a body.
    :raises BadParameter: when its key is invalid.
    """
    if request.is_http10 or "websocket" not in tokens(request, b"upgrade"):
        raise upgrade_required(request)
    if "upgrade" not in tokens(request, b"connection"):
        raise upgrade_required(request)
    if tokens(request, b"sec-websocket-version") != ["13"]:
        raise upgrade_required(request)
    if not request.is_handshake:
        raise BadRequest("a WebSocket handshake must not have a body (RFC 6455, section 4.1)")
    key = request.getHeader(b"sec-websocket-key") or b""
    try:
        is_good = len(key) == 24 and len(base64.b64decode(key, validate=True)) == 16
    except (binascii.Error, ValueError):
        is_good = False
    if not is_good:
        raise BadParameter("invalid Sec-WebSocket-Key: must be 16 bytes in base64 (RFC 6455, section 4.1)")
    return key


def offers_v1(request: Request) -> bool:
    """Return whether the handshake offers the subprotocol."""
    return SUBPROTOCOL in tokens(request, b"sec-websocket-protocol")


def accept(request: Request, key: bytes, opening: StartPosition | None, *, is_v1: bool) -> None:
    """Set the headers that accept a handshake (RFC 6455, section 4.2.2).

    :param opening: where the subscription of the URL starts; None without one.
    :param is_v1: whether the subprotocol was negotiated.
    """
    request.setResponseCode(101)
    request.setHeader(b"Upgrade", b"websocket")
    request.setHeader(b"Connection", b"Upgrade")
    request.setHeader(b"Sec-WebSocket-Accept", _accepted(key))
    if is_v1:
        request.setHeader(b"Sec-WebSocket-Protocol", SUBPROTOCOL.encode("ascii"))
    if opening is not None:
        request.setHeader(b"Pushd-Cursor", str(opening.cursor).encode("ascii"))
    if opening is not None and opening.gaps and not is_v1:
        request.setHeader(b"Pushd-Gap", main_reason(opening.gaps).encode("ascii"))


def upgrade_required(request: Request) -> Refusal:
    """Set the headers of the answer, and return the refusal."""
    request.setHeader(b"Upgrade", b"websocket")
    request.setHeader(b"Connection", b"Upgrade")
    request.setHeader(b"Sec-WebSocket-Version", b"13")
    return UpgradeRequired("not a WebSocket handshake: this URL accepts only handshakes of version 13 (RFC 6455)")


def tokens(request: Request, header: bytes) -> list[str]:
    """Return the comma-separated words of a header, in lower case unless they are subprotocols."""
    values = (request.getHeader(header) or b"").decode("latin-1")
    return [word.strip() for word in (values if header == b"sec-websocket-protocol" else values.lower()).split(",")]


def _accepted(key: bytes) -> bytes:
    """Return the ``Sec-WebSocket-Accept`` for a key (RFC 6455, section 4.2.2)."""
    return base64.b64encode(hashlib.sha1(key + _MAGIC).digest())
