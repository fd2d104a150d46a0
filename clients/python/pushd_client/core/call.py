"""A call of the API: its request, what its answer means, and whether it may be repeated."""

import enum
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from ..errors import ConnectionFailed, PushdError, TemporarilyRefused
from .interface import HttpResponse

T = TypeVar("T")

_MAYBE_DONE = frozenset({"internal", "outcome-unknown", "request-timeout", "stopping"})
"""Codes of refusals after which the request may have been carried out, at least in part."""


class Repeat(enum.Enum):
    """When a failed call may be repeated without being carried out twice."""

    ALWAYS = enum.auto()
    """It is idempotent, or has an Idempotency-Key."""
    IF_NOT_DONE = enum.auto()
    """Only if it was not sent, or if the daemon refused it before it did anything."""

    def allows(self, error: PushdError) -> bool:
        """Return whether a call that failed with this error may be repeated, and whether that may help."""
        if isinstance(error, ConnectionFailed):
            return self is Repeat.ALWAYS or not error.is_sent
        if not isinstance(error, TemporarilyRefused) or error.code == "outcome-unknown":
            return False
        return self is Repeat.ALWAYS or not (error.code in _MAYBE_DONE or error.code.startswith("http-"))


@dataclass(frozen=True)
class Call(Generic[T]):
    """A call, whose answer becomes a `T`."""

    method: str
    path: str
    """Percent-encoded, below the address of the daemon."""
    parse: Callable[[HttpResponse], T]
    """Returns the result; raises `LookupError`, `TypeError` or `ValueError` if the answer is not one of pushd."""
    query: Mapping[str, object] = field(default_factory=dict)
    body: bytes | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    repeat: Repeat = Repeat.ALWAYS
    extra_seconds: float = 0.0
    """How long the daemon may take to answer, beyond the timeout of the client."""


def read_json(response: HttpResponse) -> Any:
    """Return the JSON of a response."""
    return json.loads(response.body)


def ignore(response: HttpResponse) -> None:
    """Return nothing."""
