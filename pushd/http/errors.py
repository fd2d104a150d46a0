"""Refusals as HTTP answers: JSON, or one line of text for ``Accept: text/plain``."""

from pushd.core.errors import RateLimited, Refusal
from pushd.core.token_bucket import RateState
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
    if isinstance(refusal, RateLimited) and refusal.state is not None:
        _set_rate_limit(request, refusal.state)
    if prefers_text(request):
        request.setHeader(b"Content-Type", b"text/plain; charset=utf-8")
        return f"{refusal.code}: {refusal}\n".encode()
    return json_answer(request, {"error": refusal_object(refusal)})


def _set_rate_limit(request: Request, state: RateState) -> None:
    """Set the headers of draft-ietf-httpapi-ratelimit-headers-10."""
    unit = ';qu="content-bytes"' if state.unit == "bytes" else ""
    policy = f'"{state.unit}";q={state.most}{unit};w={state.window}'
    request.setHeader(b"RateLimit-Policy", policy.encode("ascii"))
    request.setHeader(b"RateLimit", f'"{state.unit}";r={state.remaining};t={state.reset}'.encode("ascii"))


def prefers_text(request: Request) -> bool:
    """Return whether the client accepts plain text and not JSON."""
    accept = request.getHeader(b"accept") or b""
    return b"text/plain" in accept and b"json" not in accept
