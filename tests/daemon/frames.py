"""WebSocket frames byte by byte (RFC 6455, section 5.2), for input that client libraries do not send."""

from tests.daemon.clients import HANDSHAKE, Http

MASK = bytes(4)
"""A mask that does not change the payload."""


def open_websocket(http: Http, subprotocol: str = "pushd.v1") -> None:
    """Upgrade an HTTP connection to a WebSocket."""
    http.send_request("GET", "/ws/quiet", HANDSHAKE | {"Sec-WebSocket-Protocol": subprotocol})
    assert http.head().status == 101


def frame(first: int, payload: bytes = b"", *, masked: bool = True) -> bytes:
    """Return a short frame."""
    return bytes((first, len(payload) | 0x80 * masked)) + MASK * masked + payload


def read_frame(http: Http) -> tuple[int, bytes]:
    """Read a short frame; return its first byte and its payload."""
    first, size = http.read(2)
    return first, http.read(size)


def read_close_code(http: Http) -> int:
    """Read a close frame; return its code."""
    first, payload = read_frame(http)
    assert first == 0x88
    return int.from_bytes(payload[:2])
