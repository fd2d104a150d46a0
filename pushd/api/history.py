"""Stored messages as JSON."""

from pushd.core.cursor import Since
from pushd.core.message import main_reason
from pushd.core.names import parse_topics
from pushd.http.answers import JSON, json_array
from pushd.http.query import CURSOR_PARAMETERS, name_in_path, since_of, whole_number
from pushd.http.request import Request
from pushd.http.resource import Answer, HttpContext, HttpResource
from pushd.hub.hub import Hub
from pushd.wire.json_messages import encode_message

_MAX_MESSAGES = 10_000
_MAX_HISTORY_BYTES = 16 << 20
"""The most bytes of messages in one answer, all of which are in memory at once."""


class HistoryResource(HttpResource):
    """``GET /history/TOPICS?since=&limit=``: stored messages as a JSON array, oldest first."""

    parameters = frozenset({"limit", *CURSOR_PARAMETERS})

    def __init__(self, context: HttpContext, hub: Hub) -> None:
        super().__init__(context)
        self._hub = hub

    async def head(self, request: Request) -> Answer:
        """Answer with the headers of GET that do not depend on the history, which is not read."""
        topics, _, _ = self._asked(request)
        await self._hub.callbacks.check_read(request.peer, topics, "history")
        request.setHeader(b"Content-Type", JSON)
        request.answer_head()
        return None

    async def get(self, request: Request) -> Answer:
        """Answer with stored messages."""
        topics, since, limit = self._asked(request)
        recalled = await self._hub.queries.history(request.peer, topics, since, limit, _MAX_HISTORY_BYTES)
        if recalled.gaps:
            request.setHeader(b"Pushd-Gap", main_reason(recalled.gaps).encode("ascii"))
        for name in (b"Pushd-Id", b"Pushd-Cursor"):
            request.setHeader(name, str(recalled.position).encode("ascii"))
        encoded = await self._hub.queries.in_slices(encode_message, recalled.messages)
        return json_array(request, encoded)

    def _asked(self, request: Request) -> tuple[tuple[str, ...], Since, int]:
        topics = parse_topics(name_in_path(request), self.context.limits.topics)
        return topics, since_of(request), whole_number(request, b"limit", 1000, 1, _MAX_MESSAGES)
