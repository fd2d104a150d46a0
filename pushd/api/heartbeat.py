"""Heartbeats of clients: who is online, by the clock of the daemon."""

from pushd.core.errors import BadParameter
from pushd.core.presence import NO_CLIENT_TIME, check_member_id
from pushd.http.answers import json_answer
from pushd.http.query import name_in_path, parameter
from pushd.http.request import Request
from pushd.http.resource import Answer, HttpContext, HttpResource
from pushd.hub.hub import Hub
from pushd.wire.presence import seen_facts

_MAX_DIGITS = 15
"""Digits of unix milliseconds."""


class HeartbeatResource(HttpResource):
    """``POST /heartbeat/ID?ts=``: a heartbeat. ``GET /heartbeat/ID``: when the last one was received."""

    write_parameters = frozenset({"ts"})

    def __init__(self, context: HttpContext, hub: Hub) -> None:
        super().__init__(context)
        self._presence = hub.presence

    async def post(self, request: Request) -> Answer:
        """Renew the lease of a heartbeat."""
        id = check_member_id(name_in_path(request))
        sent = parameter(request, b"ts")
        if sent is not None and not (sent.isascii() and sent.isdigit() and len(sent) <= _MAX_DIGITS):
            raise BadParameter(NO_CLIENT_TIME)
        seen = await self._presence.heartbeat(request.peer, id, None if sent is None else int(sent))
        return json_answer(request, seen_facts(id, seen))

    async def get(self, request: Request) -> Answer:
        """Answer whether a client is online."""
        id = check_member_id(name_in_path(request))
        return json_answer(request, seen_facts(id, await self._presence.last_heartbeat(request.peer, id)))
