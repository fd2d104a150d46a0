"""The list of channels."""

import re

from pushd.core.errors import BadParameter
from pushd.core.names import MAX_BYTES
from pushd.http.answers import JSON, json_answer
from pushd.http.query import flag, parameter, require_no_subpath, whole_number
from pushd.http.request import Request
from pushd.http.resource import Answer, HttpContext, HttpResource
from pushd.hub.authorization import check_operation
from pushd.hub.hub import Hub
from pushd.hub.queries import CountedChannel

_MAX_CHANNELS = 10_000
_MAX_DETAILS = 100
_CLEAN = re.compile(r"[^\x00-\x1f\x7f]*")


class ChannelsResource(HttpResource):
    """``GET /channels?prefix=&limit=&after=``: the channels by name, in pages; with ``details=1`` their states."""

    parameters = frozenset({"after", "details", "limit", "prefix"})

    def __init__(self, context: HttpContext, hub: Hub) -> None:
        super().__init__(context)
        self._hub = hub

    async def head(self, request: Request) -> Answer:
        """Answer with the headers of GET; the backend is not queried."""
        _page_of_channels(request)
        check_operation(request.peer, "channels")
        request.setHeader(b"Content-Type", JSON)
        request.answer_head()
        return None

    async def get(self, request: Request) -> Answer:
        """Answer with a page of channels."""
        prefix, after, limit = _page_of_channels(request)
        names = await self._hub.queries.channels(request.peer, prefix, after, limit + 1)
        page = names[:limit]
        following = page[-1] if len(names) > limit else None
        if not flag(request, b"details"):
            return json_answer(request, {"channels": page, "next": following})
        details = await self._hub.queries.channel_details(request.peer, page)
        facts = [_facts(each) for each in details.channels]
        return json_answer(request, {"channels": facts, "next": following, "seconds": round(details.seconds, 3)})


def _facts(channel: CountedChannel) -> dict[str, object]:
    info, subscribers = channel.status
    return info.facts(sum(subscribers.values())) | {"transports": subscribers, "published": channel.published}


def _page_of_channels(request: Request) -> tuple[str, str, int]:
    """Return the prefix, the start and the size of a page of channels."""
    require_no_subpath(request)
    most = _MAX_DETAILS if flag(request, b"details") else _MAX_CHANNELS
    limit = whole_number(request, b"limit", 100, 1, most)
    return _name_prefix(request, b"prefix"), _name_prefix(request, b"after"), limit


def _name_prefix(request: Request, name: bytes) -> str:
    text = parameter(request, name) or ""
    if len(text) > MAX_BYTES or not _CLEAN.fullmatch(text):
        raise BadParameter(f"{name.decode('ascii')} must be the beginning of a channel name")
    return text
