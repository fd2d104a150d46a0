"""The door to the connections of this node: who is connected, and closing one of them."""

import re
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence

from pushd.core.errors import BadParameter, NotFound, UnknownConnection
from pushd.core.names import check_channel
from pushd.core.subscriber import Subscriber
from pushd.http.errors import JSON
from pushd.http.query import name_in_path, parameter, whole_number
from pushd.http.request import Request
from pushd.http.resource import Answer, HttpContext, HttpResource, json_answer
from pushd.hub.hub import Hub

_MAX_CONNECTIONS = 1000
_MAX_TOPICS = 10_000
"""Topics in one answer, by which a page may end early: a connection can hear as many alone."""
_ID = re.compile(r"[1-9a-f][0-9a-f]{0,15}")


class ConnectionsResource(HttpResource):
    """``GET /connections?channel=&limit=&after=``: those connected, paged. ``DELETE /connections/ID``: one less."""

    def __init__(self, context: HttpContext, hub: Hub) -> None:
        super().__init__(context)
        self._hub = hub

    def methods(self) -> Mapping[bytes, Callable[[Request], Awaitable[Answer]]]:
        """See `Door`."""
        return {b"GET": self._get, b"DELETE": self._delete}

    async def head(self, request: Request) -> Answer:
        """Answer with the headers of GET, without the query."""
        _page(request)
        request.setHeader(b"Content-Type", JSON)
        request.setHeader(b"Cache-Control", b"no-store")
        request.answer_head()
        return None

    async def _get(self, request: Request) -> Answer:
        channel, after, limit = _page(request)
        found = self._hub.connections(channel, after, limit)
        request.setHeader(b"Cache-Control", b"no-store")
        return json_answer(request, [_facts(subscriber) for subscriber in _bounded(found)])

    async def _delete(self, request: Request) -> Answer:
        name = name_in_path(request)
        if not _ID.fullmatch(name):
            raise UnknownConnection("there is no such connection; /connections lists them")
        self._hub.kick(int(name, 16))
        return json_answer(request, {"closed": name})


def _page(request: Request) -> tuple[str | None, int, int]:
    """Give channel, start and size of a page of connections."""
    if request.postpath:
        raise NotFound("there is no such address; GET /connections lists the connections")
    limit = whole_number(request, b"limit", 100, 1, _MAX_CONNECTIONS)
    channel = parameter(request, b"channel")
    if channel is not None:
        check_channel(channel)
    return channel, _after(request), limit


def _after(request: Request) -> int:
    after = parameter(request, b"after")
    if after is None:
        return 0
    if not _ID.fullmatch(after):
        raise BadParameter("after must be the id of a connection")
    return int(after, 16)


def _bounded(found: Sequence[Subscriber]) -> Iterator[Subscriber]:
    topics = 0
    for subscriber in found:
        topics += len(subscriber.starts)
        if topics > _MAX_TOPICS and subscriber is not found[0]:
            return
        yield subscriber


def _facts(subscriber: Subscriber) -> dict[str, object]:
    peer = subscriber.peer
    return {
        "id": peer.id,
        "address": peer.address,
        "transport": peer.transport,
        "topics": list(subscriber.starts),
        "since": peer.connected_at,
        "queue_bytes": subscriber.queued_bytes,
        "messages": subscriber.sent,
    }
