"""The opening handshake of a WebSocket, as an HTTP request (RFC 6455, section 4.2)."""

import base64
import binascii

from twisted.web.server import Request

from pushd.core.errors import BadParameter, Refusal, UpgradeRequired


def checked_key(request: Request) -> bytes:
    """Check the handshake (RFC 6455, section 4.2.1) and give its key.

    :raises UpgradeRequired: it is none of version 13.
    :raises BadParameter: its key is none.
    """
    if request.clientproto != b"HTTP/1.1" or "websocket" not in tokens(request, "Upgrade"):
        raise upgrade_required(request)
    if "upgrade" not in tokens(request, "Connection"):
        raise upgrade_required(request)
    if tokens(request, "Sec-WebSocket-Version") != ["13"]:
        raise upgrade_required(request)
    keys = request.requestHeaders.getRawHeaders(b"Sec-WebSocket-Key", [])
    try:
        is_good = len(keys) == 1 and len(keys[0]) == 24 and len(base64.b64decode(keys[0], validate=True)) == 16
    except (binascii.Error, ValueError):
        is_good = False
    if not is_good:
        raise BadParameter("Sec-WebSocket-Key is 16 bytes in base64 (RFC 6455, section 4.1)")
    return keys[0]


def upgrade_required(request: Request) -> Refusal:
    """Say in the headers what this address is for, and give the refusal."""
    request.setHeader(b"Upgrade", b"websocket")
    request.setHeader(b"Connection", b"Upgrade")
    request.setHeader(b"Sec-WebSocket-Version", b"13")
    return UpgradeRequired("this address is for WebSocket handshakes of version 13 (RFC 6455)")


def tokens(request: Request, header: str) -> list[str]:
    """Give the comma-separated words of a header; only those of a subprotocol keep their case."""
    values = b",".join(request.requestHeaders.getRawHeaders(header.encode("ascii"), []))
    words = [word.strip() for word in values.decode("latin-1").split(",")]
    return words if header == "Sec-WebSocket-Protocol" else [word.lower() for word in words]
