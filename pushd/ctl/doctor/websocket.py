"""A WebSocket client (RFC 6455) that only listens, over a connection of the standard library.

Autobahn, which the daemon has, needs a loop of its own for that.
"""

import base64
import hashlib
import os
import struct
from collections.abc import Callable, Iterator
from typing import Protocol

_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_CLOSE, _PING, _PONG = 8, 9, 10
_MAX_BYTES = 1 << 20
"""Of a frame: far more than what is listened for."""


class Reads(Protocol):
    """Gives exactly so many bytes, or fewer where no more come."""

    def __call__(self, size: int, /) -> bytes: ...


class Closed(Exception):
    """The other side closes; the text says with which code."""


def handshake(key: str) -> dict[str, str]:
    """Give the headers that ask for a WebSocket."""
    return {"Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Version": "13", "Sec-WebSocket-Key": key}


def new_key() -> str:
    """Make a key for a handshake."""
    return base64.b64encode(os.urandom(16)).decode()


def is_accepted(accept: str, key: str) -> bool:
    """Tell whether the value of ``Sec-WebSocket-Accept`` is an answer to this handshake (section 4.1)."""
    digest = hashlib.sha1(key.encode() + _GUID, usedforsecurity=False).digest()
    return accept == base64.b64encode(digest).decode()


def payloads(read: Reads, send: Callable[[bytes], object]) -> Iterator[bytes]:
    """Give the data of each frame; answer pings, for which nothing is given but an empty payload.

    :raises Closed: the other side closes, or sends what is no WebSocket.
    """
    while head := read(2):
        if len(head) < 2:
            return
        opcode, size = head[0] & 0x0F, head[1] & 0x7F
        if size > 125:
            form = ">H" if size == 126 else ">Q"
            longer = read(struct.calcsize(form))
            if len(longer) < struct.calcsize(form):
                return
            (size,) = struct.unpack(form, longer)
        if size > _MAX_BYTES:
            raise Closed(f"closed here, for a frame of {size} bytes")
        payload = read(size)
        if len(payload) < size:
            return
        if opcode == _CLOSE:
            code = struct.unpack(">H", payload[:2])[0] if size >= 2 else 1005
            raise Closed(f"closed with {code}")
        if opcode == _PING:
            send(_masked(_PONG, payload))
        yield payload if opcode < _CLOSE else b""


def _masked(opcode: int, payload: bytes) -> bytes:
    """Encode a frame of at most 125 bytes as a client has to (section 5.3)."""
    mask = os.urandom(4)
    data = bytes(byte ^ mask[index % 4] for index, byte in enumerate(payload))
    return bytes([0x80 | opcode, 0x80 | len(data)]) + mask + data
