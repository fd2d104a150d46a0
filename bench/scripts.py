"""Scripts for the load client: the bytes to send to a server, and the bytes to wait for.

In these bytes ``%c`` is replaced by the number of the channel in five digits, ``%b`` by a pattern unique to the
subscriber, ``%p`` by the payload, and ``%%`` by a per cent sign.
"""

from dataclasses import dataclass

_KEY = b"dGhlIHNhbXBsZSBub25jZQ=="
PONG = b"\x8a\x80\0\0\0\0"
"""A masked pong without payload."""
PING_BYTE = b"\x89"
"""The first byte of a ping; it is unambiguous, as payloads are ASCII."""


@dataclass(frozen=True)
class SubscribeScript:
    """How to subscribe."""

    port: int
    hello: bytes
    ready: bytes
    """Bytes that acknowledge the subscription; empty if the server sends nothing before the first message."""
    ping: bytes = b""
    pong: bytes = b""


@dataclass(frozen=True)
class PublishScript:
    """How to publish."""

    port: int
    text: bytes
    answer: bytes
    """Bytes that acknowledge a message; empty if the server sends no acknowledgement."""
    hello: bytes = b""
    ready: bytes = b""
    messages: int = 1
    """Number of messages in `text`."""
    answers: int = 1
    """Number of acknowledgements of `text`."""


@dataclass(frozen=True)
class ProbeScript:
    """How to probe whether a server responds."""

    port: int
    text: bytes
    answer: bytes
    hello: bytes = b""
    ready: bytes = b""


def get(path: str, *headers: str) -> bytes:
    """Return a GET request."""
    return "\r\n".join([f"GET {path} HTTP/1.1", "Host: localhost", *headers, "", ""]).encode()


def upgrade(path: str) -> bytes:
    """Return a WebSocket opening handshake."""
    key = f"Sec-WebSocket-Key: {_KEY.decode()}"
    return get(path, "Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Version: 13", key)


def post(path: str, body: bytes, size: int, content_type: str = "text/plain") -> bytes:
    """Return a POST request; `size` is the length of the body after substitution."""
    head = [f"POST {path} HTTP/1.1", "Host: localhost", f"Content-Type: {content_type}", f"Content-Length: {size}"]
    return "\r\n".join([*head, "", ""]).encode() + body
