"""The cursor of the present: for a page that subscribes after it was rendered."""

from pushd.core.names import parse_topics
from pushd.http.answers import json_answer
from pushd.http.query import name_in_path
from pushd.http.request import Request
from pushd.http.resource import Answer, HttpContext, HttpResource
from pushd.hub.hub import Hub


class CursorResource(HttpResource):
    """Answers with ``{"cursor":"EPOCH-SEQ"}``: a subscription with it as ``since`` receives all later messages."""

    def __init__(self, context: HttpContext, hub: Hub) -> None:
        super().__init__(context)
        self._hub = hub

    async def get(self, request: Request) -> Answer:
        """Answer with the cursor. It is the same for all topics, which are only checked."""
        topics = parse_topics(name_in_path(request), self.context.limits.topics) if request.postpath else ()
        return json_answer(request, {"cursor": str(await self._hub.position(request.peer, topics))})
