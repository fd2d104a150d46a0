"""The hooks, for operators."""

from pushd.core.cursor import EVERYTHING, parse_since
from pushd.core.errors import NotFound
from pushd.core.timestamp import round_timestamp
from pushd.http.answers import JSON, json_answer
from pushd.http.query import name_in_path, parameter
from pushd.http.request import Request
from pushd.http.resource import Answer, HttpContext, HttpResource
from pushd.hub.authorization import check_operation
from pushd.hub.hooks import HookStatus
from pushd.hub.hub import Hub

_REPLAY = "replay"


class HooksResource(HttpResource):
    """``GET /hooks`` and ``GET /hooks/NAME``: hooks and their backlogs. ``POST /hooks/NAME/replay?since=``: send the
    dead letters of a hook again.
    """

    write_parameters = frozenset({"since"})

    def __init__(self, context: HttpContext, hub: Hub) -> None:
        super().__init__(context)
        self._hub = hub

    async def head(self, request: Request) -> Answer:
        """Answer with the headers of GET; the backlogs of all hooks are not read."""
        check_operation(request.peer, "hooks")
        if request.postpath:
            await self._find(request)
        request.setHeader(b"Content-Type", JSON)
        request.answer_head()
        return None

    async def get(self, request: Request) -> Answer:
        """Answer with all hooks, or with one."""
        hooks = self._hub.hooks
        if not request.postpath:
            return json_answer(request, [_facts(status) for status in await hooks.list(request.peer)])
        return json_answer(request, _facts(await self._find(request)))

    async def _find(self, request: Request) -> HookStatus:
        """Return the hook that a path names.

        :raises NotFound: when there is none.
        """
        name, action = _path(request)
        if action:
            raise NotFound("there is no such address; GET /hooks/NAME shows a hook")
        return await self._hub.hooks.find(request.peer, name)

    async def post(self, request: Request) -> Answer:
        """Send dead letters again; answer how many, and the cursor for what is newer."""
        name, action = _path(request)
        if action != _REPLAY:
            raise NotFound("there is no such address; POST /hooks/NAME/replay sends dead letters again")
        since = parameter(request, b"since")
        replayed = await self._hub.hooks.replay(request.peer, name, EVERYTHING if since is None else parse_since(since))
        return json_answer(request, {"hook": name, "replayed": replayed.events, "cursor": str(replayed.cursor)})


def _path(request: Request) -> tuple[str, str]:
    """Return the name of the hook and the action of a path; the action may be empty."""
    name, _, action = name_in_path(request).partition("/")
    return name, action


def _facts(status: HookStatus) -> dict[str, object]:
    sender, backlog = status.sender, status.backlog
    endpoint = sender.endpoint
    return {
        "name": endpoint.name,
        "url": endpoint.url,
        "events": sorted(endpoint.events),
        "channels": list(endpoint.channels),
        "content": endpoint.has_content,
        "state": sender.state.value,
        "failures": sender.failures,
        "failure": sender.failure or None,
        "retry_at": None if sender.retry_at is None else round_timestamp(sender.retry_at),
        "backlog": backlog.events,
        "backlog_bytes": backlog.bytes,
        "oldest": None if backlog.oldest is None else round_timestamp(backlog.oldest),
        "dead": backlog.dead,
    }
