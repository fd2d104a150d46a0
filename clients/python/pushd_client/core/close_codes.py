"""The close codes with which the daemon refuses a WebSocket (docs/protocol.md), as exceptions.

A code may stand for several refusals; then the sentence beside it shows which one. Where that has no known words, the
exception is still of the right class.
"""

from collections.abc import Mapping
from typing import Final, NamedTuple

from ..errors import Refused
from .refusals import refusal


class _Refusals(NamedTuple):
    """The refusals of one close code."""

    default: str
    by_words: Mapping[str, str] = {}
    """The code of each refusal that is not the default, by words of its sentence; the first that occur decide."""


_REFUSALS: Final[Mapping[int, _Refusals]] = {
    4401: _Refusals(
        "token-invalid",
        {
            "expired": "token-expired",
            "has been revoked": "token-revoked",
            "has been removed": "token-revoked",
            "needs a token": "token-missing",
            "must be authenticated": "token-missing",
            "without a token": "token-missing",
        },
    ),
    4403: _Refusals("forbidden"),
    4429: _Refusals(
        "rate-limited",
        {"subscri": "too-many-subscriptions", "connection": "too-many-connections"},
    ),
}


def refusal_of_close(code: int | None, reason: str) -> Refused | None:
    """Return the exception for a close code; None if it does not stand for a refusal."""
    refusals = None if code is None else _REFUSALS.get(code)
    if refusals is None:
        return None
    codes = (each for words, each in refusals.by_words.items() if words in reason)
    return refusal(next(codes, refusals.default), reason)
