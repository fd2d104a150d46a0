"""The metrics for Prometheus."""

from collections.abc import Awaitable, Callable, Mapping

from pushd.http.query import require_no_subpath
from pushd.http.request import Request
from pushd.http.resource import Answer, HttpContext, HttpResource
from pushd.hub.hub import Hub
from pushd.metrics import CONTENT_TYPE


class MetricsResource(HttpResource):
    """``GET /metrics``: Prometheus text."""

    def __init__(self, context: HttpContext, hub: Hub) -> None:
        super().__init__(context)
        self._hub = hub

    def methods(self) -> Mapping[bytes, Callable[[Request], Awaitable[Answer]]]:
        """See `Door`."""
        return {b"GET": self._get}

    async def head(self, request: Request) -> Answer:
        """Answer with the headers of GET; nothing is counted."""
        require_no_subpath(request)
        request.setHeader(b"Content-Type", CONTENT_TYPE)
        request.answer_head()
        return None

    async def _get(self, request: Request) -> Answer:
        require_no_subpath(request)
        request.setHeader(b"Content-Type", CONTENT_TYPE)
        return await self._hub.metrics()
