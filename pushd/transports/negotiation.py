"""One address for all: ``GET /sub/TOPICS`` picks the technique by ``Upgrade``, then by ``Accept``."""

import re
from collections.abc import Awaitable, Callable, Mapping
from typing import Protocol

from pushd.http.request import Request
from pushd.http.resource import Answer, HttpContext, HttpResource

_WEIGHT = re.compile(r"0(?:\.[0-9]*)?|1(?:\.0*)?|\.[0-9]+")
"""Some clients leave out the zero before the point, or give more than three digits."""


class SubscribingResource(Protocol):
    """A door through which one subscribes."""

    async def get(self, request: Request) -> Answer:
        """Subscribe."""

    async def head(self, request: Request) -> Answer:
        """Answer with the headers."""


class NegotiatingResource(HttpResource):
    """Hands each request to the door that it asks for.

    :param doors: by media type; the type of most weight in ``Accept`` wins, and among equals the first here.
    :param websocket: for requests with ``Upgrade``.
    :param otherwise: for all the rest.
    """

    def __init__(
        self,
        context: HttpContext,
        doors: Mapping[str, SubscribingResource],
        websocket: SubscribingResource,
        otherwise: SubscribingResource,
    ) -> None:
        super().__init__(context)
        self._resources = doors
        self._websocket = websocket
        self._otherwise = otherwise

    def methods(self) -> Mapping[bytes, Callable[[Request], Awaitable[Answer]]]:
        """See `Door`."""
        return {b"GET": self._get}

    async def head(self, request: Request) -> Answer:
        """Answer with the headers of the door that is asked for."""
        return await self._choose(request).head(request)

    async def _get(self, request: Request) -> Answer:
        request.addHeader(b"Vary", b"Accept, Upgrade")
        return await self._choose(request).get(request)

    def _choose(self, request: Request) -> SubscribingResource:
        if b"websocket" in (request.getHeader(b"upgrade") or b"").lower():
            return self._websocket
        weights = _weights((request.getHeader(b"accept") or b"").decode("latin-1"))
        wanted = max(self._resources, key=lambda kind: weights.get(kind, 0.0))
        return self._resources[wanted] if weights.get(wanted, 0.0) > 0 else self._otherwise


def _weights(accept: str) -> dict[str, float]:
    weights = {}
    for entry in accept.split(","):
        kind, *parameters = (part.strip().lower() for part in entry.split(";"))
        weights[kind] = min([_weight(text) for text in parameters if text.startswith("q=")], default=1.0)
    return weights


def _weight(text: str) -> float:
    """Read ``q=WEIGHT`` (RFC 9110, section 12.4.2); what is none wants nothing."""
    weight = text.removeprefix("q=")
    return float(weight) if _WEIGHT.fullmatch(weight) else 0.0
