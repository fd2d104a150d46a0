"""Refusals as HTTP answers: JSON, or one line of text for ``Accept: text/plain``."""

from pushd.core.errors import Refusal
from pushd.http.answers import json_answer
from pushd.http.request import Request
from pushd.wire.json_messages import refusal_object


def render_refusal(request: Request, refusal: Refusal) -> bytes:
    """Set the status and the headers of a refusal and return its body."""
    request.setResponseCode(refusal.status)
    request.setHeader(b"Cache-Control", b"no-store")
    if refusal.challenge is not None:
        request.setHeader(b"WWW-Authenticate", refusal.challenge.encode("ascii"))
    if refusal.retry_after is not None:
        request.setHeader(b"Retry-After", b"%d" % refusal.retry_after)
    if prefers_text(request):
        request.setHeader(b"Content-Type", b"text/plain; charset=utf-8")
        return f"{refusal.code}: {refusal}\n".encode()
    return json_answer(request, {"error": refusal_object(refusal)})


def prefers_text(request: Request) -> bool:
    """Return whether the client accepts plain text and not JSON."""
    accept = request.getHeader(b"accept") or b""
    return b"text/plain" in accept and b"json" not in accept
