"""Content negotiation: ``GET /sub/TOPICS`` selects the transport by ``Upgrade``, then by ``Accept`` (RFC 9110, section
12.5.1).
"""

import re
from collections.abc import Mapping
from typing import Protocol

from pushd.core.errors import Refusal
from pushd.http.query import SUBSCRIPTION_PARAMETERS
from pushd.http.request import Request
from pushd.http.resource import Answer, HttpContext, HttpResource

_WEIGHT = re.compile(r"0(?:\.[0-9]*)?|1(?:\.0*)?|\.[0-9]+")
"""A weight. Some clients omit the zero before the point, or send more than three digits."""


class SubscribingResource(Protocol):
    """An HTTP resource that subscribes."""

    transport_name: str

    async def get(self, request: Request) -> Answer:
        """Subscribe."""

    async def head(self, request: Request) -> Answer:
        """Answer with the headers."""

    def refuse(self, request: Request, refusal: Refusal) -> None:
        """Answer a refused request."""


class NegotiatingResource(HttpResource):
    """Passes each request to the transport that it asks for.

    :param resources: by media type; the type with the greatest weight in ``Accept`` is used, the first of equals.
    :param websocket: the resource for requests with ``Upgrade: websocket``.
    :param default: the resource for all other requests.
    """

    parameters = frozenset({"begin", "format", "responder", "slow", "timeout", *SUBSCRIPTION_PARAMETERS})

    def __init__(
        self,
        context: HttpContext,
        resources: Mapping[str, SubscribingResource],
        websocket: SubscribingResource,
        default: SubscribingResource,
    ) -> None:
        super().__init__(context)
        self._resources = resources
        self._websocket = websocket
        self._default = default

    async def head(self, request: Request) -> Answer:
        """Answer with the headers of the selected transport."""
        request.addHeader(b"Vary", b"Accept, Upgrade")
        return await self._choose(request).head(request)

    async def get(self, request: Request) -> Answer:
        """Subscribe by the selected transport."""
        request.addHeader(b"Vary", b"Accept, Upgrade")
        return await self._choose(request).get(request)

    def refuse(self, request: Request, refusal: Refusal) -> None:
        """Answer a refused request as the selected transport does."""
        self._choose(request).refuse(request, refusal)

    def transport_of(self, request: Request) -> str:
        """Return the selected transport."""
        return self._choose(request).transport_name

    def _choose(self, request: Request) -> SubscribingResource:
        if b"websocket" in (request.getHeader(b"upgrade") or b"").lower():
            return self._websocket
        weights = _weights((request.getHeader(b"accept") or b"").decode("latin-1"))
        selected = max(self._resources, key=lambda media_type: weights.get(media_type, 0.0))
        return self._resources[selected] if weights.get(selected, 0.0) > 0 else self._default


def _weights(accept: str) -> dict[str, float]:
    weights = {}
    for entry in accept.split(","):
        media_type, *parameters = (part.strip().lower() for part in entry.split(";"))
        weights[media_type] = min([_weight(text) for text in parameters if text.startswith("q=")], default=1.0)
    return weights


def _weight(text: str) -> float:
    """Parse ``q=WEIGHT`` (RFC 9110, section 12.4.2); an invalid weight counts as 0."""
    weight = text.removeprefix("q=")
    return float(weight) if _WEIGHT.fullmatch(weight) else 0.0
