"""Refusals of the daemon, and of intermediaries, as exceptions."""

import json
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from ..errors import AuthenticationFailed, NoReply, NoResponders, NotPermitted, Refused, TemporarilyRefused
from .interface import HttpResponse

_BY_CODE: Mapping[str, type[Refused]] = {
    "no-responders": NoResponders,
    "no-reply": NoReply,
    **dict.fromkeys(("token-missing", "token-invalid", "token-expired", "token-revoked"), AuthenticationFailed),
    "forbidden": NotPermitted,
    **dict.fromkeys(
        (
            *("internal", "kicked", "no-room", "overloaded", "rate-limited", "request-timeout", "slow", "stopping"),
            *("storage", "too-many-channels", "too-many-connections", "too-many-members", "too-many-requests"),
            *("too-many-revocations", "too-many-subscriptions", "unavailable", "outcome-unknown"),
        ),
        TemporarilyRefused,
    ),
}
_TEMPORARY_STATUSES = frozenset({408, 425, 429, 500, 502, 503, 504, 507})
_BY_STATUS: Mapping[int, type[Refused]] = {
    401: AuthenticationFailed,
    403: NotPermitted,
    **dict.fromkeys(_TEMPORARY_STATUSES, TemporarilyRefused),
}
_MAX_REASON = 200
"""The most characters of a foreign error page that an exception shows."""


def refusal_of(response: HttpResponse) -> Refused:
    """Return the exception for a response that is no success."""
    try:
        error = json.loads(response.body)["error"]
        code, message = str(error["code"]), str(error["message"])
    except (ValueError, LookupError, TypeError):
        code, message = f"http-{response.status}", _foreign_reason(response)
    return refusal(code, message, response.status, _retry_after(response.headers))


def refusal(code: str, message: str, status: int | None = None, retry_after: float | None = None) -> Refused:
    """Return the exception for a code."""
    kind = _BY_CODE.get(code) or _BY_STATUS.get(status or 0, Refused)
    return kind(code, message, status, retry_after)


def refusal_in_line(line: Mapping[str, Any]) -> Refused | None:
    """Return the exception for an object with ``error``, such as a line of the answer to a batch; None without."""
    error = line.get("error")
    if not isinstance(error, Mapping):
        return None
    return refusal(str(error.get("code")), str(error.get("message")))


def _retry_after(headers: Mapping[str, str]) -> float | None:
    """Return the seconds of ``Retry-After`` (RFC 9110, section 10.2.3); a date is ignored, as clocks may differ."""
    text = headers.get("retry-after", "").strip()
    return float(text) if text.isascii() and text.isdigit() and len(text) < 8 else None


def _foreign_reason(response: HttpResponse) -> str:
    try:
        phrase = HTTPStatus(response.status).phrase
    except ValueError:
        phrase = "unknown status"
    body = response.body[:_MAX_REASON].decode("utf-8", "replace").strip()
    is_text = response.headers.get("content-type", "").startswith("text/plain")
    return f"{phrase}: {body}" if is_text and body else f"{phrase} (not an answer of pushd)"
