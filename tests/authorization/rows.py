"""The table of all requests and commands: what each needs, and how it is sent.

A row is one way to use the daemon. `needs` are the actions and operations that a grant must have; nothing else may be
necessary. `test_matrix.py` sends each row with several credentials; `test_exhaustive.py` checks that none is missing.
"""

import base64
import json
import re
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from tests.authorization.credentials import HEARTBEATS, SETUP, bearer, subject_of
from tests.dialects.bayeux.client import Bayeux
from tests.transports.askers import REPLIES, Reply
from tests.transports.client import Closed, Received, Refused
from tests.transports.daemon import RunningDaemon, until
from tests.transports.http_client import HttpClient, encode_request
from tests.transports.line_client import TextLines
from tests.transports.websocket_client import DataWebSocket, JsonWebSocket

ALLOWED: Final = "allowed"
CHANNEL: Final = "room/a"
"""The channel of most rows. It has two messages."""
CHALLENGES: Final = {
    "token-missing": (401, "Bearer"),
    "token-invalid": (401, 'Bearer error="invalid_token"'),
    "token-revoked": (401, 'Bearer error="invalid_token"'),
    "forbidden": (403, 'Bearer error="insufficient_scope"'),
    "unavailable": (503, ""),
}
"""The status and ``WWW-Authenticate`` of each code (RFC 6750, section 3.1)."""
_LAPSED: Final = re.compile(rb'^event: expired\ndata: .*"code":"([a-z-]+)"', re.MULTILINE)
"""The event that ends an event stream whose credential has lapsed."""
_RETRY: Final = re.compile(rb"(:.*\n\n?|retry: [0-9]+\n\n?)+")
"""An event stream that ends at once, so that an EventSource tries again."""
_CODES_OF_HEAD: Final = {challenge: code for code, challenge in CHALLENGES.items() if code != "token-revoked"}
_CLOSE_CODES: Final = {4401: ("token-missing", "token-invalid"), 4403: ("forbidden",)}
_NDJSON: Final = {"Content-Type": "application/x-ndjson"}
_HANDSHAKE: Final = {
    "Connection": "Upgrade",
    "Upgrade": "websocket",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": base64.b64encode(bytes(16)).decode(),
}


class Prepared(NamedTuple):
    """A daemon with messages in `CHANNEL`, and the cursor of the first."""

    daemon: RunningDaemon
    cursor: str
    connection: str
    """The id of an open connection."""
    reply_to: str = ""
    """The channel for the reply to an open request."""


async def prepare(daemon: RunningDaemon) -> Prepared:
    """Publish two messages, and open a connection."""
    ids = [(await daemon.request("POST", f"/pub/{CHANNEL}", b"x", bearer(SETUP))).json["id"] for _ in range(2)]
    client: HttpClient = daemon.connect("http", HttpClient(encode_request("GET", "/sse/other", None, bearer(SETUP))))
    await client.head
    for path in (f"/presence/{CHANNEL}/bob?ttl=3600", f"/presence/{HEARTBEATS}/bob?ttl=3600"):
        await daemon.request("PUT", path, b"", bearer(SETUP))
    connections = (await daemon.request("GET", "/connections", None, bearer(SETUP))).json
    return Prepared(daemon, ids[0], connections[0]["id"])


async def prepare_request(daemon: RunningDaemon) -> Prepared:
    """Do the same, and open a request."""
    prepared, responder = await prepare(daemon), JsonWebSocket(daemon)
    await responder.open(f"/ws/{CHANNEL}", bearer(SETUP))
    daemon.connect("http", HttpClient(encode_request("POST", f"/request/{CHANNEL}?timeout=60", b"x", bearer(SETUP))))
    message = await responder.next()
    assert isinstance(message, Received)
    assert message.reply_to is not None
    return prepared._replace(reply_to=message.reply_to)


@dataclass(frozen=True)
class Row:
    """One way to use the daemon."""

    label: str
    needs: tuple[str, ...]
    """Actions and operations. If it is empty, any credential is accepted."""
    send: Callable[[Prepared, str | None], Coroutine[Any, Any, str]] = field(repr=False)
    """Send it with a token, or without one; return `ALLOWED` or the code of the refusal."""
    is_open: bool = False
    """Whether it is answered without a credential, and does not look at one."""
    prepare: Callable[[RunningDaemon], Coroutine[Any, Any, "Prepared"]] = field(default=prepare, repr=False)
    needs_token: bool = False
    """Whether it is refused without a credential even where everything is granted to anonymous peers."""


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


@dataclass(frozen=True)
class V1:
    """A WebSocket with the subprotocol: by its address, or by a command after `auth`."""

    path: str
    command: dict[str, Any] | None = None
    accepted: tuple[str, ...] = ()
    """Codes of refusals that an allowed command gets, too."""

    async def __call__(self, prepared: Prepared, token: str | None) -> str:
        """Open the WebSocket, and send the command; see `Row.send`."""
        client = JsonWebSocket(prepared.daemon)
        if self.command is None:
            try:
                await client.open(self.path.format(cursor=prepared.cursor), bearer(token))
            except Refused as refused:
                assert refused.status == 503
                return str(refused.code)
            closed = await end_of(client)
            return ALLOWED if closed is None else _code_of_close(closed.code, str(client.protocol.remoteCloseReason))
        await client.open("/ws")
        if token is not None and "error" in (reply := await client.ask(auth=token)):
            return str(reply["error"]["code"])
        text = json.dumps(self.command).replace("{cursor}", prepared.cursor)
        reply = await client.send(text)
        code = str(reply["error"]["code"]) if "error" in reply else ALLOWED
        return ALLOWED if code in self.accepted else code


@dataclass(frozen=True)
class Bare:
    """A WebSocket without the subprotocol."""

    path: str

    async def __call__(self, prepared: Prepared, token: str | None) -> str:
        """Open the WebSocket; see `Row.send`."""
        client = DataWebSocket(prepared.daemon)
        try:
            await client.open(self.path.format(cursor=prepared.cursor), bearer(token))
        except Refused as refused:
            assert refused.status == CHALLENGES[str(refused.code)][0]
            return str(refused.code)
        return ALLOWED


@dataclass(frozen=True)
class Line:
    """A line by TCP, after `AUTH`."""

    line: str
    is_pipelined: bool = False
    """Whether it is sent in one piece with `AUTH`, and twice."""
    accepted: tuple[str, ...] = ()
    """Codes of refusals that an allowed line gets, too."""
    is_json: bool = False
    """Whether it is sent after `FORMAT json`."""

    async def __call__(self, prepared: Prepared, token: str | None) -> str:
        """Send the line; see `Row.send`."""
        client = TextLines(prepared.daemon)
        client.open()
        line = self.line.format(cursor=prepared.cursor, token=token)
        authenticated = None if token is None or "{token}" in self.line else client.send(f"AUTH {token}")
        if self.is_json:
            client.send("FORMAT json")
        if self.is_pipelined:
            answers = [client.send(line), client.send(line)]
        if authenticated is not None and (reply := await authenticated).startswith("-ERR"):
            return reply.split()[1]
        replies = [await answer for answer in answers] if self.is_pipelined else [await client.send(line)]
        codes = {reply.split()[1] if reply.startswith("-ERR") else ALLOWED for reply in replies}
        assert len(codes) == 1
        code = codes.pop()
        return ALLOWED if code in self.accepted else code


@dataclass(frozen=True)
class BayeuxMessage:
    """A message of Bayeux, in a session of its own, with the token in the handshake."""

    channel: str
    fields: dict[str, Any]
    handshake: dict[str, Any] = field(default_factory=dict)

    async def __call__(self, prepared: Prepared, token: str | None) -> str:
        """Begin a session, and send the message; see `Row.send`."""
        ext = {"pushd": self.handshake | ({} if token is None else {"token": token})}
        client = Bayeux(prepared.daemon)
        handshake = client.message("/meta/handshake", supportedConnectionTypes=["long-polling"], ext=ext)
        answer = await client.request(json.dumps([handshake]).encode())
        if answer.status != 200:
            return str(answer.json["error"]["code"])
        reply = answer.json[0]
        if reply["successful"]:
            client.id = reply["clientId"]
            reply = await client.send(self.channel, **self.fields)
        if reply["successful"] and self.channel == _SUBSCRIBE:
            await client.connect(timeout=0)
            (reply, *_) = await client.connect(timeout=0)
        return ALLOWED if reply["successful"] else str(reply["error"].split(":")[2])


async def end_of(client: JsonWebSocket) -> Closed | None:
    """Return the end of a WebSocket that was closed at once; None if it answers a command instead."""
    answered = client.ask(ping=1)
    ended: list[Closed] = []

    def has_answer() -> bool:
        ended.extend(item for item in client.taken() if isinstance(item, Closed))
        return bool(answered.called or ended)

    await until(has_answer, "a reply or the end")
    return ended[0] if ended else None


def check_cache_control(headers: dict[str, str], *, is_authenticated: bool) -> None:
    """Check that no cache keeps an answer; and none that is shared may keep that to an authenticated peer."""
    words = [word.strip() for word in headers["cache-control"].split(",")]
    assert "no-store" in words or words == ["no-cache"]
    assert ("private" in words) is (is_authenticated and words != ["no-cache"])


def _code_of_close(code: int | None, reason: str) -> str:
    assert code in _CLOSE_CODES, code
    codes = _CLOSE_CODES[code]
    return codes[0] if len(codes) == 1 or "needs a token" in reason else codes[1]


def _sse(accept: str) -> dict[str, str]:
    return {"Accept": accept}


_STREAMS = ("sse", "stream", "multipart", "mixed")
_ACCEPTS = ("text/event-stream", "application/x-ndjson", "multipart/mixed")
_READ = ("subscribe", "history")
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
        Row(f"{method} /{name} with a cursor", _READ, Http(method, f"/{name}/{CHANNEL}?since={{cursor}}"))
        for name in _STREAMS
        for method in ("GET", "HEAD")
    ),
    Row("GET /iframe", ("subscribe",), Http("GET", f"/iframe/{CHANNEL}?callback=parent.f")),
    Row("HEAD /iframe", ("subscribe",), Http("HEAD", f"/iframe/{CHANNEL}?callback=parent.f")),
    Row("GET /iframe with a cursor", _READ, Http("GET", f"/iframe/{CHANNEL}?callback=parent.f&since={{cursor}}")),
    Row("GET /sse with Last-Event-ID", _READ, Http("GET", f"/sse/{CHANNEL}?lastEventId={{cursor}}")),
    Row("GET /sse with since=all", _READ, Http("GET", f"/sse/{CHANNEL}?since=all")),
    Row("GET /sse with since=latest", _READ, Http("GET", f"/sse/{CHANNEL}?since=latest")),
    Row("GET /longpoll with since=latest", _READ, Http("GET", f"/longpoll/{CHANNEL}?since=latest")),
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
        Row(f"{method} /longpoll with a cursor", _READ, Http(method, f"/longpoll/{CHANNEL}?since={{cursor}}"))
        for method in ("GET", "HEAD")
    ),
    *(Row(f"{method} /poll", ("history",), Http(method, f"/poll/{CHANNEL}")) for method in ("GET", "HEAD")),
    Row("GET /poll with a cursor", ("history",), Http("GET", f"/poll/{CHANNEL}?since={{cursor}}")),
    *(Row(f"{method} /pull", ("history",), Http(method, f"/pull/{CHANNEL}")) for method in ("GET", "HEAD")),
    Row("GET /pull held", _READ, Http("GET", f"/pull/{CHANNEL}?interval=0&since={{cursor}}")),
    *(
        Row(f"{method} /sub as {accept}", ("subscribe",), Http(method, f"/sub/{CHANNEL}", headers=_sse(accept)))
        for accept in _ACCEPTS
        for method in ("GET", "HEAD")
    ),
    Row(
        "GET /sub as x-mixed-replace", _READ, Http("GET", f"/sub/{CHANNEL}", headers=_sse("multipart/x-mixed-replace"))
    ),
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
COMMAND_ROWS = (
    Row("pushd.v1 /ws with topics", ("subscribe",), V1(f"/ws/{CHANNEL}")),
    Row("pushd.v1 /ws with topics and a cursor", _READ, V1(f"/ws/{CHANNEL}?since={{cursor}}")),
    Row("pushd.v1 /sub", ("subscribe",), V1(f"/sub/{CHANNEL}")),
    Row("bare /ws", ("subscribe",), Bare(f"/ws/{CHANNEL}")),
    Row("bare /ws with a cursor", _READ, Bare(f"/ws/{CHANNEL}?since={{cursor}}")),
    Row("pushd.v1 subscribe", ("subscribe",), V1("/ws", {"subscribe": CHANNEL})),
    Row("pushd.v1 subscribe with since=latest", _READ, V1("/ws", {"subscribe": CHANNEL, "since": "latest"})),
    Row("pushd.v1 subscribe with since", _READ, V1("/ws", {"subscribe": CHANNEL, "since": "{cursor}"})),
    Row("pushd.v1 subscribe to a pattern", ("subscribe",), V1("/ws", {"subscribe": "room/**"})),
    Row("pushd.v1 unsubscribe", (), V1("/ws", {"unsubscribe": CHANNEL})),
    Row("pushd.v1 publish", ("publish",), V1("/ws", {"publish": CHANNEL, "data": "x"})),
    Row("pushd.v1 /ws as a member", ("subscribe", "manage"), V1(f"/ws/{CHANNEL}?presence_id=bob")),
    Row("pushd.v1 subscribe as oneself", ("subscribe", "enter"), V1("/ws", {"subscribe": CHANNEL, "presence": "self"})),
    Row("pushd.v1 enter", ("enter",), V1("/ws", {"enter": CHANNEL})),
    Row("pushd.v1 enter as another", ("manage",), V1("/ws", {"enter": CHANNEL, "id": "bob"})),
    Row("pushd.v1 leave", (), V1("/ws", {"leave": CHANNEL}, ("unknown-member",))),
    Row("pushd.v1 members", ("presence",), V1("/ws", {"members": CHANNEL})),
    Row("pushd.v1 heartbeat", ("manage",), V1("/ws", {"heartbeat": "bob"})),
    Row(
        "pushd.v1 subscribe as a responder",
        ("subscribe", "reply"),
        V1("/ws", {"subscribe": "room/*", "responder": True}),
    ),
    Row("pushd.v1 /ws as a responder", ("subscribe", "reply"), V1("/ws/room/*?responder=1")),
    Row("pushd.v1 request", ("publish",), V1("/ws", {"request": CHANNEL, "data": "x"}, ("no-responders",))),
    Row("pushd.v1 ping", (), V1("/ws", {"ping": 1}), is_open=True),
    Row("TCP SUB", ("subscribe",), Line(f"SUB {CHANNEL}")),
    Row("TCP SUB with since=latest", _READ, Line(f"SUB {CHANNEL} since=latest")),
    Row("TCP SUB with since", _READ, Line(f"SUB {CHANNEL} since={{cursor}}")),
    Row("TCP SUB of a pattern, pipelined", ("subscribe",), Line("SUB room/*", is_pipelined=True)),
    Row("TCP UNSUB", (), Line(f"UNSUB {CHANNEL}")),
    Row("TCP PUB", ("publish",), Line(f"PUB {CHANNEL} x")),
    Row("TCP PUB pipelined", ("publish",), Line(f"PUB {CHANNEL} x", is_pipelined=True)),
    Row("TCP PUBJ", ("publish",), Line(f"PUBJ {_LINE}".replace("{", "{{").replace("}", "}}"))),
    Row("TCP SUB as a responder", ("subscribe", "reply"), Line("SUB room/* responder=1", is_json=True)),
    Row("TCP REQ", ("publish",), Line(f"REQ {CHANNEL} x", accepted=("no-responders",))),
    Row("TCP REQ pipelined", ("publish",), Line(f"REQ {CHANNEL} x", is_pipelined=True, accepted=("no-responders",))),
    Row("TCP HIST", ("history",), Line(f"HIST {CHANNEL} 5")),
    Row("TCP HIST pipelined", ("history",), Line(f"HIST {CHANNEL} 5", is_pipelined=True)),
    Row("TCP STAT", ("subscribe",), Line(f"STAT {CHANNEL}")),
    Row("TCP SUB as a member", ("subscribe", "manage"), Line(f"SUB {CHANNEL} presence_id=bob")),
    Row("TCP ENTER", ("enter",), Line(f"ENTER {CHANNEL}")),
    Row("TCP ENTER as another", ("manage",), Line(f"ENTER {CHANNEL} id=bob")),
    Row("TCP LEAVE", (), Line(f"LEAVE {CHANNEL}", accepted=("unknown-member",))),
    Row("TCP WHO", ("presence",), Line(f"WHO {CHANNEL} limit=1")),
    Row("TCP HB", ("manage",), Line("HB bob")),
    Row("TCP FORMAT", (), Line("FORMAT json")),
    Row("TCP PING", (), Line("PING"), is_open=True),
    Row("TCP HELP", (), Line("HELP"), is_open=True),
    Row("TCP QUIT", (), Line("QUIT"), is_open=True),
)
_SUBSCRIBE: Final = "/meta/subscribe"
_BOB = {"presence_id": "bob"}
BAYEUX_ROWS = (
    Row("Bayeux subscribe", _READ, BayeuxMessage(_SUBSCRIBE, {"subscription": f"/{CHANNEL}"})),
    Row("Bayeux subscribe to a pattern", _READ, BayeuxMessage(_SUBSCRIBE, {"subscription": "/room/**"})),
    Row(
        "Bayeux subscribe as a member",
        (*_READ, "manage"),
        BayeuxMessage(_SUBSCRIBE, {"subscription": f"/{CHANNEL}"}, _BOB),
    ),
    Row("Bayeux publish", ("publish",), BayeuxMessage(f"/{CHANNEL}", {"data": "x"})),
)
REPLY_ROWS = tuple(Row(f"{reply.__name__}", ("reply",), Replying(reply), prepare=prepare_request) for reply in REPLIES)
ROWS = (*HTTP_ROWS, *COMMAND_ROWS, *BAYEUX_ROWS, *REPLY_ROWS)
