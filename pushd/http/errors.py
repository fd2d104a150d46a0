"""Refusals as HTTP answers: JSON, or one line of text for ``Accept: text/plain``."""

from typing import Final

from pushd.core.errors import Refusal
from pushd.http.request import Request
from pushd.wire.json_messages import encode, refusal_object

JSON: Final = b"application/json"


def render_refusal(request: Request, refusal: Refusal) -> bytes:
    """Set the status and the headers of a refusal and return its body."""
    request.setResponseCode(refusal.status)
    if refusal.retry_after is not None:
        request.setHeader(b"Retry-After", b"%d" % refusal.retry_after)
    if prefers_text(request):
        request.setHeader(b"Content-Type", b"text/plain; charset=utf-8")
        return f"{refusal.code}: {refusal}\n".encode()
    request.setHeader(b"Content-Type", JSON)
    return encode({"error": refusal_object(refusal)}) + b"\n"


def prefers_text(request: Request) -> bool:
    """Return whether the client accepts plain text and not JSON."""
    accept = request.getHeader(b"accept") or b""
    return b"text/plain" in accept and b"json" not in accept
