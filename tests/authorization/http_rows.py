"""The rows of requests by HTTP."""

import base64
import json
import re
from dataclasses import dataclass, field
from typing import Final

from tests.authorization.command_rows import end_of
from tests.authorization.credentials import SETUP, bearer, subject_of
from tests.authorization.row import ALLOWED, CHALLENGES, CHANNEL, READ, Prepared, Row, prepare_request
from tests.transports.askers import REPLIES, Reply
from tests.transports.client import Refused
from tests.transports.http_client import HttpClient, encode_request
from tests.transports.websocket_client import JsonWebSocket

_LAPSED: Final = re.compile(rb'^event: expired\ndata: .*"code":"([a-z-]+)"', re.MULTILINE)
"""The event that ends an event stream whose credential has lapsed."""
_RETRY: Final = re.compile(rb"(:.*\n\n?|retry: [0-9]+\n\n?)+")
"""An event stream that ends at once, so that an EventSource tries again."""
_CODES_OF_HEAD: Final = {challenge: code for code, challenge in CHALLENGES.items() if code != "token-revoked"}
_NDJSON: Final = {"Content-Type": "application/x-ndjson"}
_HANDSHAKE: Final = {
    "Connection": "Upgrade",
    "Upgrade": "websocket",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": base64.b64encode(bytes(16)).decode(),
}


@dataclass(frozen=True)
class Http:
    """A request by HTTP."""

    method: str
    path: str
    body: str | None = None
    headers: dict[str, str] = field(default_factory=dict)
    status: tuple[int, ...] = (200,)
    """The statuses of an accepted request."""
    is_open: bool = False
    """Whether it does not look at a credential."""

    async def __call__(self, prepared: Prepared, token: str | None) -> str:
        """Send the request; see `Row.send`."""
        me = subject_of(token) if token is not None else "anybody"
        path = self.path.format(cursor=prepared.cursor, connection=prepared.connection, me=me)
        body = None if self.body is None else self.body.encode()
        request = encode_request(self.method, path, body, self.headers | bearer(token))
        client: HttpClient = prepared.daemon.connect("http", HttpClient(request))
        head = await client.head
        if head.status != 401:
            check_cache_control(head.headers, is_authenticated=token is not None and not self.is_open)
        if head.status in self.status:
            body = (await client.answer).body if "content-length" in head.headers else b""
            lapsed = _LAPSED.search(body)
            if _RETRY.fullmatch(body) or b'"code":"unavailable"' in body:
                return "unavailable"
            return lapsed[1].decode() if lapsed is not None else ALLOWED
        challenge = head.status, head.headers.get("www-authenticate", "")
        answer = await client.answer
        code = _CODES_OF_HEAD[challenge] if self.method == "HEAD" else str(answer.json["error"]["code"])
        assert CHALLENGES[code] == challenge
        return code


@dataclass(frozen=True)
class Batch(Http):
    """A batch of messages: the credential is checked before, and the grant for each line."""

    async def __call__(self, prepared: Prepared, token: str | None) -> str:
        """Send the batch; see `Row.send`."""
        assert self.body is not None
        answer = await prepared.daemon.request("POST", self.path, self.body.encode(), self.headers | bearer(token))
        if answer.status != 200:
            return str(answer.json["error"]["code"])
        lines = [json.loads(line) for line in answer.body.splitlines()]
        return str(lines[0]["error"]["code"]) if "error" in lines[0] else ALLOWED


@dataclass(frozen=True)
class Renewal(Http):
    """The renewal of the token of a connection with the same token."""

    async def __call__(self, prepared: Prepared, token: str | None) -> str:
        """Open a WebSocket, and renew its token; see `Row.send`."""
        connection = prepared.connection
        if token is not None:
            client = JsonWebSocket(prepared.daemon)
            try:
                await client.open("/ws", bearer(token))
            except Refused as refused:
                return str(refused.code)
            if await end_of(client) is None:
                shown = await prepared.daemon.request("GET", "/connections", None, bearer(SETUP))
                connection = shown.json[-1]["id"]
        return await super().__call__(prepared._replace(connection=connection), token)


@dataclass(frozen=True)
class Replying:
    """A reply to a request of another peer, over any transport."""

    reply: Reply

    async def __call__(self, prepared: Prepared, token: str | None) -> str:
        """Send the reply; see `Row.send`."""
        return await self.reply(prepared.daemon, prepared.reply_to, "done", bearer(token)) or ALLOWED


def check_cache_control(headers: dict[str, str], *, is_authenticated: bool) -> None:
    """Check that no cache keeps an answer; and none that is shared may keep that to an authenticated peer."""
    words = [word.strip() for word in headers["cache-control"].split(",")]
    assert "no-store" in words or words == ["no-cache"]
    assert ("private" in words) is (is_authenticated and words != ["no-cache"])


def _sse(accept: str) -> dict[str, str]:
    return {"Accept": accept}


_STREAMS = ("sse", "stream", "multipart", "mixed")
_ACCEPTS = ("text/event-stream", "application/x-ndjson", "multipart/mixed")
_LINE = json.dumps({"channel": CHANNEL, "data": "x"})
_SCRIPTS = ("/client.js", "/client-tabs.js", "/client-lease.js", "/client-element.js")
_OPEN_PATHS = ("/", "/favicon.ico", "/demo/", "/console/", "/health/live", "/health/ready", *_SCRIPTS)

HTTP_ROWS = (
    *(
        Row(
            f"{method} /{name}",
            ("subscribe", "history") if name == "multipart" else ("subscribe",),
            Http(method, f"/{name}/{CHANNEL}"),
        )
        for name in _STREAMS
        for method in ("GET", "HEAD")
    ),
    *(
        Row(f"{method} /{name} with a cursor", READ, Http(method, f"/{name}/{CHANNEL}?since={{cursor}}"))
        for name in _STREAMS
        for method in ("GET", "HEAD")
    ),
    Row("GET /iframe", ("subscribe",), Http("GET", f"/iframe/{CHANNEL}?callback=parent.f")),
    Row("HEAD /iframe", ("subscribe",), Http("HEAD", f"/iframe/{CHANNEL}?callback=parent.f")),
    Row("GET /iframe with a cursor", READ, Http("GET", f"/iframe/{CHANNEL}?callback=parent.f&since={{cursor}}")),
    Row("GET /sse with Last-Event-ID", READ, Http("GET", f"/sse/{CHANNEL}?lastEventId={{cursor}}")),
    Row("GET /sse with since=all", READ, Http("GET", f"/sse/{CHANNEL}?since=all")),
    Row("GET /sse with since=latest", READ, Http("GET", f"/sse/{CHANNEL}?since=latest")),
    Row("GET /longpoll with since=latest", READ, Http("GET", f"/longpoll/{CHANNEL}?since=latest")),
    Row("GET /history with since=latest", ("history",), Http("GET", f"/history/{CHANNEL}?since=latest")),
    Row("GET /sse of a pattern", ("subscribe",), Http("GET", "/sse/room/*")),
    Row("GET /sse of several channels", ("subscribe",), Http("GET", "/sse/room/b,room/a")),
    Row("GET /sse of presence", ("presence",), Http("GET", "/sse/$presence/room/a")),
    Row("GET /stream of presence since", ("presence",), Http("GET", "/stream/$presence/room/a?since=all")),
    *(
        Row(f"{method} /longpoll", ("subscribe",), Http(method, f"/longpoll/{CHANNEL}?timeout=0", status=(200, 204)))
        for method in ("GET", "HEAD")
    ),
    *(
        Row(f"{method} /longpoll with a cursor", READ, Http(method, f"/longpoll/{CHANNEL}?since={{cursor}}"))
        for method in ("GET", "HEAD")
    ),
    *(Row(f"{method} /poll", ("history",), Http(method, f"/poll/{CHANNEL}")) for method in ("GET", "HEAD")),
    Row("GET /poll with a cursor", ("history",), Http("GET", f"/poll/{CHANNEL}?since={{cursor}}")),
    *(Row(f"{method} /pull", ("history",), Http(method, f"/pull/{CHANNEL}")) for method in ("GET", "HEAD")),
    Row("GET /pull held", READ, Http("GET", f"/pull/{CHANNEL}?interval=0&since={{cursor}}")),
    *(
        Row(f"{method} /sub as {accept}", ("subscribe",), Http(method, f"/sub/{CHANNEL}", headers=_sse(accept)))
        for accept in _ACCEPTS
        for method in ("GET", "HEAD")
    ),
    Row("GET /sub as x-mixed-replace", READ, Http("GET", f"/sub/{CHANNEL}", headers=_sse("multipart/x-mixed-replace"))),
    Row("GET /sub as a long poll", ("subscribe",), Http("GET", f"/sub/{CHANNEL}?timeout=0", status=(204,))),
    Row("GET /sub as a WebSocket", ("subscribe",), Http("GET", f"/sub/{CHANNEL}", headers=_HANDSHAKE, status=(101,))),
    *(Row(f"{method} /history", ("history",), Http(method, f"/history/{CHANNEL}")) for method in ("GET", "HEAD")),
    Row("GET /history of a pattern", ("history",), Http("GET", "/history/room/**")),
    Row("GET /history with a cursor", ("history",), Http("GET", f"/history/{CHANNEL}?since={{cursor}}")),
    *(
        Row(f"{method} /pub", ("publish",), Http(method, f"/pub/{CHANNEL}", "x", status=(201, 202)))
        for method in ("POST", "PUT")
    ),
    Row("POST /pub to several channels", ("publish",), Http("POST", "/pub/room/b,room/a", "x", status=(201, 202))),
    Row(
        "POST /pub with an Idempotency-Key",
        ("publish",),
        Http("POST", f"/pub/{CHANNEL}", "x", {"Idempotency-Key": "k"}, status=(201, 202)),
    ),
    Row("POST /pub that ends a channel", ("publish",), Http("POST", f"/pub/{CHANNEL}?end=1", "x", status=(201, 202))),
    *(
        Row(f"{method} /pub as a batch", ("publish",), Batch(method, "/pub", _LINE, _NDJSON))
        for method in ("POST", "PUT")
    ),
    *(Row(f"{method} /pub", ("subscribe",), Http(method, f"/pub/{CHANNEL}")) for method in ("GET", "HEAD")),
    Row("GET /pub of a channel that is not there", ("subscribe",), Http("GET", "/pub/room/none", status=(404,))),
    Row("POST /request", ("publish",), Http("POST", f"/request/{CHANNEL}", "x", status=(503,))),
    Row("GET /sse as a responder", ("subscribe", "reply"), Http("GET", "/sse/room/*?responder=1&format=json")),
    Row("GET /stream as a responder", ("subscribe", "reply"), Http("GET", "/stream/room/*?responder=1")),
    Row(
        "GET /longpoll as a responder",
        ("subscribe", "reply"),
        Http("GET", "/longpoll/room/*?responder=1&timeout=0", status=(200, 204)),
    ),
    Row("DELETE /pub", ("manage",), Http("DELETE", f"/pub/{CHANNEL}")),
    Row("DELETE /pub of a channel that is not there", ("manage",), Http("DELETE", "/pub/room/none", status=(404,))),
    *(Row(f"{method} /cursor of topics", ("subscribe",), Http(method, "/cursor/room/*")) for method in ("GET", "HEAD")),
    *(Row(f"{method} /cursor", (), Http(method, "/cursor"), needs_token=True) for method in ("GET", "HEAD")),
    *(
        Row(f"{method} /presence", ("presence",), Http(method, f"/presence/{CHANNEL}?limit=1"))
        for method in ("GET", "HEAD")
    ),
    Row("GET /presence with count", ("presence",), Http("GET", f"/presence/{CHANNEL}?count=1")),
    Row("GET /presence of a member", ("presence",), Http("GET", f"/presence/{CHANNEL}/bob")),
    Row("GET /presence with id", ("presence",), Http("GET", f"/presence/{CHANNEL}?id=bob")),
    Row("PUT /presence", ("manage",), Http("PUT", f"/presence/{CHANNEL}/bob?ttl=9", "1")),
    Row("DELETE /presence", ("manage",), Http("DELETE", f"/presence/{CHANNEL}/bob")),
    Row("PUT /presence as a member", ("manage",), Http("PUT", f"/presence/{CHANNEL}?presence_id=bob", "1")),
    Row("DELETE /presence as a member", ("manage",), Http("DELETE", f"/presence/{CHANNEL}?presence_id=bob")),
    *(  # peers that may, and have no subject, get 400; a member that is not there is 404
        Row(
            f"{method} /presence as oneself",
            ("enter",),
            Http(method, f"/presence/{CHANNEL}?presence=self", status=(status, 400)),
        )
        for method, status in (("PUT", 200), ("DELETE", 404))
    ),
    Row("POST /heartbeat", ("manage",), Http("POST", "/heartbeat/bob?ts=1")),
    *(Row(f"{method} /heartbeat", ("presence",), Http(method, "/heartbeat/bob")) for method in ("GET", "HEAD")),
    *(
        Row(f"GET /{name} as a member", ("subscribe", "manage"), Http("GET", f"/{name}/{CHANNEL}?presence_id=bob"))
        for name in ("sse", "stream", "mixed")
    ),
    Row("GET /sse as oneself", ("subscribe", "enter"), Http("GET", f"/sse/{CHANNEL}?presence=self")),
    Row(
        "GET /longpoll as a member",
        ("subscribe", "manage"),
        Http("GET", f"/longpoll/{CHANNEL}?timeout=0&presence_id=bob", status=(200, 204)),
    ),
    *(Row(f"{method} /version", (), Http(method, "/version"), needs_token=True) for method in ("GET", "HEAD")),
    *(Row(f"{method} /metrics", ("metrics",), Http(method, "/metrics")) for method in ("GET", "HEAD")),
    Row("GET /channels?details=1", ("channels",), Http("GET", "/channels?details=1&prefix=room")),
    *(Row(f"{method} /channels", ("channels",), Http(method, "/channels?prefix=room")) for method in ("GET", "HEAD")),
    *(Row(f"{method} /connections", ("connections",), Http(method, "/connections")) for method in ("GET", "HEAD")),
    Row("GET /connections of a channel", ("connections",), Http("GET", f"/connections?channel={CHANNEL}")),
    Row("DELETE /connections", ("kick",), Http("DELETE", "/connections/{connection}")),
    Row("DELETE /connections of no connection", ("kick",), Http("DELETE", "/connections/none", status=(404,))),
    Row("DELETE /connections of a subject", ("kick",), Http("DELETE", "/connections?sub=nobody")),
    *(Row(f"{method} /auth/revocations", ("revoke",), Http(method, "/auth/revocations")) for method in ("GET", "HEAD")),
    Row("POST /auth/revocations", ("revoke",), Http("POST", "/auth/revocations", '{"jti":"none"}', status=(201,))),
    *(Row(f"{method} /hooks", ("hooks",), Http(method, "/hooks")) for method in ("GET", "HEAD")),
    Row("GET /hooks/NAME", ("hooks",), Http("GET", "/hooks/none", status=(404,))),
    Row("POST /hooks/NAME/replay", ("hooks",), Http("POST", "/hooks/none/replay", status=(404,))),
    Row("POST /connections/ID/auth", (), Renewal("POST", "/connections/{connection}/auth"), needs_token=True),
    Row(
        "POST /auth/explain",
        ("explain",),
        Http("POST", "/auth/explain", json.dumps({"action": "publish", "topic": CHANNEL, "token": SETUP})),
    ),
    *(
        Row(f"{method} {path}", (), Http(method, path, is_open=True), is_open=True)
        for path in _OPEN_PATHS
        for method in ("GET", "HEAD")
    ),
    *(
        Row(f"OPTIONS {path}", (), Http("OPTIONS", path, status=(204,), is_open=True), is_open=True)
        for path in ("*", f"/pub/{CHANNEL}", "/connections", f"/sse/{CHANNEL}")
    ),
)
REPLY_ROWS = tuple(Row(f"{reply.__name__}", ("reply",), Replying(reply), prepare=prepare_request) for reply in REPLIES)
