"""The connections of this node: their list, and kicking one of them."""

from collections.abc import Iterator, Mapping, Sequence

from pushd.core.errors import BadParameter, Forbidden, NotFound
from pushd.core.names import check_channel
from pushd.core.subscriber import Subscriber
from pushd.http.answers import JSON, json_answer
from pushd.http.authentication import is_signed
from pushd.http.query import name_in_path, parameter, require_no_subpath, whole_number
from pushd.http.request import Request
from pushd.http.resource import Answer, HttpContext, HttpResource
from pushd.hub.authorization import check_operation
from pushd.hub.hub import Hub

_MAX_CONNECTIONS = 1000
_MAX_TOPICS = 10_000
"""The most topics in one answer, unless one connection alone has more. A page with many topics ends early."""


class RenewalResource(HttpResource):
    """``POST /connections/ID/auth``: replace the token of an open connection by that of the request."""

    def __init__(self, context: HttpContext, hub: Hub) -> None:
        super().__init__(context)
        self._hub = hub

    async def post(self, request: Request) -> Answer:
        """Renew the token of a connection; answer until when it is valid, and which topics it does not cover."""
        id, _, action = name_in_path(request).partition("/")
        if action != "auth":
            raise NotFound("there is no such address; POST /connections/ID/auth renews the token of a connection")
        if is_signed(request):
            raise Forbidden("signed URL grants one request, and cannot renew the token of a connection")
        lost = self._hub.renew_credential(request.peer, id)
        identity = request.peer.identity
        expires = None if identity is None else identity.expires
        return json_answer(request, {"connection": id, "expires": expires, "unsubscribed": list(lost)})


class ConnectionsResource(RenewalResource):
    """``GET /connections?channel=&limit=&after=``: the connections, in pages. ``DELETE /connections/ID``: kick one.
    ``DELETE /connections?sub=``: kick all of a subject, at all nodes.
    """

    parameters = frozenset({"after", "channel", "limit"})
    write_parameters = frozenset({"sub"})

    async def head(self, request: Request) -> Answer:
        """Answer with the headers of GET; the connections are not read."""
        _page(request)
        check_operation(request.peer, "connections")
        request.setHeader(b"Content-Type", JSON)
        request.answer_head()
        return None

    async def get(self, request: Request) -> Answer:
        """Answer with a page of connections."""
        channel, after, limit = _page(request)
        found = self._hub.queries.connections(request.peer, channel, after, limit)
        return json_answer(request, [_facts(each, self._hub.presence.channels_of(each)) for each in _bounded(found)])

    async def delete(self, request: Request) -> Answer:
        """Kick a connection, or all those of a subject at all nodes."""
        subject = parameter(request, b"sub")
        if subject is not None:
            require_no_subpath(request)
            if not subject:
                raise BadParameter("sub must not be empty")
            kicked = await self._hub.kicks.kick_subject(request.peer, subject)
            unanswered = {"unanswered": kicked.unanswered} if kicked.unanswered else {}
            return json_answer(request, {"sub": subject, "closed": kicked.closed, **unanswered})
        name = name_in_path(request)
        self._hub.kicks.kick(request.peer, name)
        return json_answer(request, {"closed": name})


def _page(request: Request) -> tuple[str | None, str | None, int]:
    """Return the channel, the start and the size of a page of connections."""
    if request.postpath:
        raise NotFound("there is no such address; GET /connections lists the connections")
    limit = whole_number(request, b"limit", 100, 1, _MAX_CONNECTIONS)
    channel = parameter(request, b"channel")
    if channel is not None:
        check_channel(channel)
    return channel, parameter(request, b"after"), limit


def _bounded(found: Sequence[Subscriber]) -> Iterator[Subscriber]:
    topics = 0
    for subscriber in found:
        topics += len(subscriber.starts)
        if topics > _MAX_TOPICS and subscriber is not found[0]:
            return
        yield subscriber


def _facts(subscriber: Subscriber, presence: Mapping[str, str]) -> dict[str, object]:
    peer = subscriber.peer
    return {
        "id": peer.id,
        "address": peer.address,
        "transport": peer.transport,
        "topics": list(subscriber.starts),
        "since": peer.connected_at,
        "queue_bytes": subscriber.queued_bytes,
        "messages": subscriber.sent,
        "presence": dict(presence),
    }
