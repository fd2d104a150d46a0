"""Metrics for Prometheus."""

from pushd.http.query import require_no_subpath
from pushd.http.request import Request
from pushd.http.resource import Answer, HttpContext, HttpResource
from pushd.hub.authorization import check_operation
from pushd.hub.hub import Hub
from pushd.metrics import CONTENT_TYPE


class MetricsResource(HttpResource):
    """``GET /metrics``: the metrics in the text format of Prometheus."""

    needs_revocations = False  # the operator has to see what happens meanwhile

    def __init__(self, context: HttpContext, hub: Hub) -> None:
        super().__init__(context)
        self._hub = hub

    async def head(self, request: Request) -> Answer:
        """Answer with the headers of GET; the metrics are not computed."""
        require_no_subpath(request)
        check_operation(request.peer, "metrics")
        request.setHeader(b"Content-Type", CONTENT_TYPE)
        request.answer_head()
        return None

    async def get(self, request: Request) -> Answer:
        """Answer with the metrics."""
        require_no_subpath(request)
        request.setHeader(b"Content-Type", CONTENT_TYPE)
        return await self._hub.metrics.text(request.peer)
