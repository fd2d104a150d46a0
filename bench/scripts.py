"""What the load has to say to a server, and what it waits for: a protocol, seen from outside.

In these texts ``%c`` stands for the number of the channel in five digits, ``%b`` for a pattern of the subscriber's own,
``%p`` for the payload and ``%%`` for a per cent sign.
"""

from dataclasses import dataclass

_KEY = b"dGhlIHNhbXBsZSBub25jZQ=="
PONG = b"\x8a\x80\0\0\0\0"
"""A pong of a client, masked and without a payload."""
PING_BYTE = b"\x89"
"""The first byte of a ping; payloads are ASCII, so it is nothing else."""


@dataclass(frozen=True)
class SubscribeScript:
    """How to subscribe."""

    port: int
    hello: bytes
    ready: bytes
    """What shows that the subscription holds; nothing where a server is silent until there is a message."""
    ping: bytes = b""
    pong: bytes = b""


@dataclass(frozen=True)
class PublishScript:
    """How to publish."""

    port: int
    text: bytes
    answer: bytes
    """What comes back for each message; nothing where nothing does."""
    hello: bytes = b""
    ready: bytes = b""
    messages: int = 1
    """How many messages are in the text."""
    answers: int = 1
    """How many answers come back for the text."""


@dataclass(frozen=True)
class ProbeScript:
    """How to see whether a server is alive."""

    port: int
    text: bytes
    answer: bytes
    hello: bytes = b""
    ready: bytes = b""


def get(path: str, *headers: str) -> bytes:
    """Ask for a stream."""
    return "\r\n".join([f"GET {path} HTTP/1.1", "Host: localhost", *headers, "", ""]).encode()


def upgrade(path: str) -> bytes:
    """Ask for a WebSocket."""
    key = f"Sec-WebSocket-Key: {_KEY.decode()}"
    return get(path, "Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Version: 13", key)


def post(path: str, body: bytes, size: int, content_type: str = "text/plain") -> bytes:
    """Post a body that has so many bytes when it is filled in."""
    head = [f"POST {path} HTTP/1.1", "Host: localhost", f"Content-Type: {content_type}", f"Content-Length: {size}"]
    return "\r\n".join([*head, "", ""]).encode() + body
