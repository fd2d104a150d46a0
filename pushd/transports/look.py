"""The doors to look through: channels, history, metrics, health, the list of doors, and an icon."""

import re
from collections.abc import Awaitable, Callable, Mapping

from pushd.core.cursor import Since
from pushd.core.errors import BadParameter, NotFound
from pushd.core.names import MAX_BYTES, parse_topics
from pushd.hub import Hub
from pushd.metrics import CONTENT_TYPE
from pushd.transports.http import Answer, HttpContext, HttpResource, json_answer
from pushd.transports.query import name_in_path, parameter, since_of, whole_number
from pushd.transports.request import Request
from pushd.transports.site import JSON
from pushd.wire.jsons import encode_message

_MAX_CHANNELS = 10_000
_MAX_MESSAGES = 10_000
_MAX_HISTORY_BYTES = 16 << 20
"""What one answer from the history holds at most: no client waits, and the daemon holds it once."""
_CLEAN = re.compile(r"[^\x00-\x1f\x7f]*")


class ChannelsResource(HttpResource):
    """``GET /channels?prefix=&limit=&after=``: the channels, paged."""

    def __init__(self, context: HttpContext, hub: Hub) -> None:
        super().__init__(context)
        self._hub = hub

    def methods(self) -> Mapping[bytes, Callable[[Request], Awaitable[Answer]]]:
        """See `Door`."""
        return {b"GET": self._get}

    async def head(self, request: Request) -> Answer:
        """Answer with the headers of GET, without the query."""
        _page_of_channels(request)
        request.setHeader(b"Content-Type", JSON)
        request.answer_head()
        return None

    async def _get(self, request: Request) -> Answer:
        prefix, after, limit = _page_of_channels(request)
        names = await self._hub.channels(prefix, after, limit + 1)
        page = names[:limit]
        return json_answer(request, {"channels": page, "next": page[-1] if len(names) > limit else None})


class HistoryResource(HttpResource):
    """``GET /history/TOPICS?since=&limit=``: stored messages as a JSON array, oldest first."""

    def __init__(self, context: HttpContext, hub: Hub) -> None:
        super().__init__(context)
        self._hub = hub

    def methods(self) -> Mapping[bytes, Callable[[Request], Awaitable[Answer]]]:
        """See `Door`."""
        return {b"GET": self._get}

    async def head(self, request: Request) -> Answer:
        """Answer with the headers of GET that do not depend on the query, without the query."""
        self._asked(request)
        request.setHeader(b"Content-Type", JSON)
        request.answer_head()
        return None

    async def _get(self, request: Request) -> Answer:
        topics, since, limit = self._asked(request)
        recalled = await self._hub.history(topics, since, limit, _MAX_HISTORY_BYTES)
        request.setHeader(b"Content-Type", JSON)
        if recalled.gaps:
            request.setHeader(b"Pushd-Gap", recalled.gaps[0].reason.encode("ascii"))
        request.setHeader(b"Pushd-Id", str(recalled.position).encode("ascii"))
        encoded = await self._hub.in_slices(encode_message, recalled.messages)
        return b"[" + b",\n".join(encoded) + b"]\n"

    def _asked(self, request: Request) -> tuple[tuple[str, ...], Since, int]:
        topics = parse_topics(name_in_path(request), self.context.limits.topics)
        return topics, since_of(request), whole_number(request, b"limit", 1000, 1, _MAX_MESSAGES)


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
        _nothing_below(request)
        request.setHeader(b"Content-Type", CONTENT_TYPE)
        request.answer_head()
        return None

    async def _get(self, request: Request) -> Answer:
        _nothing_below(request)
        request.setHeader(b"Content-Type", CONTENT_TYPE)
        return await self._hub.metrics()


class HealthResource(HttpResource):
    """``/health/live``: the process turns. ``/health/ready``: it takes publishes and subscribers."""

    def __init__(self, context: HttpContext, hub: Hub) -> None:
        super().__init__(context)
        self._hub = hub

    def methods(self) -> Mapping[bytes, Callable[[Request], Awaitable[Answer]]]:
        """See `Door`."""
        return {b"GET": self._get}

    async def _get(self, request: Request) -> Answer:
        request.setHeader(b"Cache-Control", b"no-store")
        match name_in_path(request):
            case "live":
                return json_answer(request, {"live": True})
            case "ready":
                if (ailment := self._hub.unavailable_reason) is None:
                    return json_answer(request, {"ready": True})
                request.setResponseCode(503)
                return json_answer(request, {"ready": False, "reason": ailment})
        raise NotFound("say /health/live or /health/ready")


class PageResource(HttpResource):
    """A fixed page."""

    def __init__(self, context: HttpContext, content_type: bytes, body: bytes) -> None:
        super().__init__(context)
        self._content_type = content_type
        self._body = body

    def methods(self) -> Mapping[bytes, Callable[[Request], Awaitable[Answer]]]:
        """See `Door`."""
        return {b"GET": self._get}

    async def _get(self, request: Request) -> Answer:
        _nothing_below(request)
        request.setHeader(b"Content-Type", self._content_type)
        request.setHeader(b"X-Content-Type-Options", b"nosniff")
        return self._body


def _nothing_below(request: Request) -> None:
    if request.postpath:
        raise NotFound("there is nothing below this address")


def _page_of_channels(request: Request) -> tuple[str, str, int]:
    """Give prefix, start and size of a page of channels."""
    _nothing_below(request)
    limit = whole_number(request, b"limit", 100, 1, _MAX_CHANNELS)
    return _part_of_name(request, b"prefix"), _part_of_name(request, b"after"), limit


def _part_of_name(request: Request, name: bytes) -> str:
    text = parameter(request, name) or ""
    if len(text) > MAX_BYTES or not _CLEAN.fullmatch(text):
        raise BadParameter(f"{name.decode('ascii')} is the beginning of a channel name")
    return text
