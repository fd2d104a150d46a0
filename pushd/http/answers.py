"""Bodies and headers that several answers share."""

from collections.abc import Iterable
from typing import Final

from pushd.http.request import Request
from pushd.wire.json_messages import encode

JSON: Final = b"application/json"


def json_answer(request: Request, value: object) -> bytes:
    """Set the content type and return a value as JSON."""
    request.setHeader(b"Content-Type", JSON)
    return encode(value) + b"\n"


def json_array(request: Request, items: Iterable[bytes]) -> bytes:
    """Set the content type and return a JSON array of encoded items, one in each line."""
    request.setHeader(b"Content-Type", JSON)
    return b"[" + b",\n".join(items) + b"]\n"


def sandbox(request: Request) -> None:
    """Keep HTML of publishers from acting as a page of this daemon (W3C Content Security Policy, section 6.3.2)."""
    request.setHeader(b"Content-Security-Policy", b"sandbox allow-scripts")
