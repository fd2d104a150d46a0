"""WebSocket byte by byte (RFC 6455, section 5.2), for what no decent client would send."""

from tests.daemon.clients import HANDSHAKE, Http

MASK = bytes(4)
"""It changes nothing, so the payload stays legible."""


def open_websocket(http: Http, subprotocol: str = "pushd.v1") -> None:
    """Turn an HTTP connection into a WebSocket that has heard nothing yet."""
    http.send_request("GET", "/ws/quiet", HANDSHAKE | {"Sec-WebSocket-Protocol": subprotocol})
    assert http.head().status == 101


def frame(first: int, payload: bytes = b"", *, masked: bool = True) -> bytes:
    """Make a short frame."""
    return bytes((first, len(payload) | 0x80 * masked)) + MASK * masked + payload


def read_frame(http: Http) -> tuple[int, bytes]:
    """Read a short frame; give its first byte and its payload."""
    first, size = http.read(2)
    return first, http.read(size)


def read_close_code(http: Http) -> int:
    """Read a close frame; give its code."""
    first, payload = read_frame(http)
    assert first == 0x88
    return int.from_bytes(payload[:2])
