"""The rows of WebSockets and of commands."""

import json
from dataclasses import dataclass
from typing import Any, Final

from tests.authorization.credentials import bearer
from tests.authorization.row import ALLOWED, CHALLENGES, CHANNEL, READ, Prepared, Row
from tests.transports.client import Closed, Refused
from tests.transports.daemon import until
from tests.transports.line_client import TextLines
from tests.transports.websocket_client import DataWebSocket, JsonWebSocket

_CLOSE_CODES: Final = {4401: ("token-missing", "token-invalid"), 4403: ("forbidden",)}
_LINE = json.dumps({"channel": CHANNEL, "data": "x"})


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


async def end_of(client: JsonWebSocket) -> Closed | None:
    """Return the end of a WebSocket that was closed at once; None if it answers a command instead."""
    answered = client.ask(ping=1)
    ended: list[Closed] = []

    def has_answer() -> bool:
        ended.extend(item for item in client.taken() if isinstance(item, Closed))
        return bool(answered.called or ended)

    await until(has_answer, "a reply or the end")
    return ended[0] if ended else None


def _code_of_close(code: int | None, reason: str) -> str:
    assert code in _CLOSE_CODES, code
    codes = _CLOSE_CODES[code]
    return codes[0] if len(codes) == 1 or "needs a token" in reason else codes[1]


COMMAND_ROWS = (
    Row("pushd.v1 /ws with topics", ("subscribe",), V1(f"/ws/{CHANNEL}")),
    Row("pushd.v1 /ws with topics and a cursor", READ, V1(f"/ws/{CHANNEL}?since={{cursor}}")),
    Row("pushd.v1 /sub", ("subscribe",), V1(f"/sub/{CHANNEL}")),
    Row("bare /ws", ("subscribe",), Bare(f"/ws/{CHANNEL}")),
    Row("bare /ws with a cursor", READ, Bare(f"/ws/{CHANNEL}?since={{cursor}}")),
    Row("pushd.v1 subscribe", ("subscribe",), V1("/ws", {"subscribe": CHANNEL})),
    Row("pushd.v1 subscribe with since=latest", READ, V1("/ws", {"subscribe": CHANNEL, "since": "latest"})),
    Row("pushd.v1 subscribe with since", READ, V1("/ws", {"subscribe": CHANNEL, "since": "{cursor}"})),
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
    Row("TCP SUB with since=latest", READ, Line(f"SUB {CHANNEL} since=latest")),
    Row("TCP SUB with since", READ, Line(f"SUB {CHANNEL} since={{cursor}}")),
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
