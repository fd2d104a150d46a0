"""The members of channels: their list, one of them, and leases."""

from pushd.core.errors import NotFound, UnknownMember
from pushd.core.names import check_channel
from pushd.core.presence import check_member_id, check_meta
from pushd.http.answers import json_answer
from pushd.http.query import decimal, flag, member_of, name_in_path, parameter, whole_number
from pushd.http.request import Request
from pushd.http.resource import Answer, HttpContext, HttpResource
from pushd.hub.hub import Hub
from pushd.wire.presence import member_facts, page_facts

_MAX_BODY = 4 << 10
"""Bytes of the JSON of a member, white space included."""
_DEFAULT_TTL = 30.0
_MAX_LISTED = 1000
_LIST_PARAMETERS = (b"after", b"count", b"limit")
"""The parameters that only a list has."""


class PresenceResource(HttpResource):
    """``GET /presence/CH?limit=&after=``, ``GET /presence/CH?count=1``: the members of a channel. ``GET
    /presence/CH/ID`` or ``/presence/CH?id=ID``: one member. ``PUT`` and ``DELETE /presence/CH/ID``,
    ``/presence/CH?presence_id=ID`` or, for oneself, ``/presence/CH?presence=self``: its lease.

    The last segment of a path may belong to the name of a channel or be the id of a member. It is an id if the channel
    before it has, or had in the last 24 hours, such a member, and the channel of the whole path has no members. A
    parameter of the list or ``id=`` says which one is meant.
    """

    parameters = frozenset({"after", "count", "id", "limit"})
    write_parameters = frozenset({"presence", "presence_id", "ttl"})

    def __init__(self, context: HttpContext, hub: Hub) -> None:
        super().__init__(context)
        self._presence = hub.presence

    def max_body(self, request: Request) -> int:
        """Return the limit of what describes a member."""
        return _MAX_BODY

    async def get(self, request: Request) -> Answer:
        """Answer with a page of members, their number, or one member."""
        channel = check_channel(name_in_path(request))
        id = parameter(request, b"id")
        if id is not None:
            return await self._member(request, channel, check_member_id(id))
        is_list = any(parameter(request, name) is not None for name in _LIST_PARAMETERS)
        above, slash, last = channel.rpartition("/")
        if is_list or not slash or last[0] == "$" or not await self._names_member(request, channel, above, last):
            return await self._list(request, channel)
        return await self._member(request, above, last)

    async def put(self, request: Request) -> Answer:
        """Begin or renew a lease."""
        channel, id = _channel_and_id(request)
        given = decimal(request, b"ttl")
        ttl = _DEFAULT_TTL if given is None else given
        meta = check_meta(request.body) if request.body else None
        name = await self._presence.renew(request.peer, channel, id, ttl, meta)
        return json_answer(request, {"channel": channel, "id": name, "ttl": ttl})

    async def delete(self, request: Request) -> Answer:
        """End a lease."""
        channel, id = _channel_and_id(request)
        name = await self._presence.end_lease(request.peer, channel, id)
        return json_answer(request, {"channel": channel, "id": name})

    async def _names_member(self, request: Request, channel: str, above: str, last: str) -> bool:
        """Return whether the last segment of a path is the id of a member, and not a part of the channel."""
        presence, peer = self._presence, request.peer
        if not presence.may_read(peer, above):
            return False
        is_readable = presence.may_read(peer, channel)
        if is_readable and await presence.count(peer, channel):
            return False
        return await presence.was_seen(peer, above, last) or not is_readable

    async def _list(self, request: Request, channel: str) -> Answer:
        limit = whole_number(request, b"limit", 100, 1, _MAX_LISTED)
        is_counted = flag(request, b"count")
        after = parameter(request, b"after")
        if is_counted:
            number = await self._presence.count(request.peer, channel)
            return json_answer(request, {"channel": channel, "count": number})
        found = await self._presence.members(request.peer, channel, check_member_id(after) if after else "", limit)
        return json_answer(request, page_facts(channel, found.page, found.position))

    async def _member(self, request: Request, channel: str, id: str) -> Answer:
        member = await self._presence.find(request.peer, channel, id)
        if member is None:
            raise UnknownMember("there is no such member of the channel")
        return json_answer(request, {"channel": channel} | member_facts(member))


def _channel_and_id(request: Request) -> tuple[str, str | None]:
    """Return the channel and the id of a lease; None for that of the peer itself."""
    member = member_of(request)
    if member is not None:
        return check_channel(name_in_path(request)), member.id
    channel, slash, id = name_in_path(request).rpartition("/")
    if not slash:
        raise NotFound("id of the member is missing; use /presence/CHANNEL/ID or presence=self")
    return check_channel(channel), check_member_id(id)
