"""Liveness and readiness."""

from collections.abc import Callable

from pushd.core.errors import NotFound
from pushd.http.answers import json_answer
from pushd.http.query import name_in_path
from pushd.http.request import Request
from pushd.http.resource import Answer, HttpContext, HttpResource
from pushd.hub.hub import Hub


class HealthResource(HttpResource):
    """``/health/live``: the process runs. ``/health/ready``: it accepts publishes and subscribers. What is
    degraded nevertheless is listed."""

    is_open = True

    def __init__(self, context: HttpContext, hub: Hub, failures: Callable[[], list[str]] = list) -> None:
        """`failures`: returns what of the parts besides the hub does not work, as phrases."""
        super().__init__(context)
        self._hub = hub
        self._failures = failures

    async def get(self, request: Request) -> Answer:
        """Answer with the liveness or the readiness."""
        match name_in_path(request):
            case "live":
                return json_answer(request, {"live": True})
            case "ready":
                degraded = [*self._hub.degraded, *self._failures()]
                rest = {"degraded": degraded} if degraded else {}
                if (reason := self._hub.unavailable_reason) is None:
                    return json_answer(request, {"ready": True} | rest)
                request.setResponseCode(503)
                return json_answer(request, {"ready": False, "reason": reason} | rest)
        raise NotFound("there is no such address; use /health/live or /health/ready")
