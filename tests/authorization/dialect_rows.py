"""The rows of the protocols of other projects, whose requests have a session or several messages."""

import json
import re
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import unquote, urlencode

from tests.authorization.credentials import bearer
from tests.authorization.row import ALLOWED, CHALLENGES, CHANNEL, READ, Prepared, Row
from tests.dialects.bayeux.client import Bayeux
from tests.transports.http_client import Answer, HttpClient, encode_request

_SUBSCRIBE: Final = "/meta/subscribe"
_BOB: Final = {"presence_id": "bob"}
_NACK: Final = re.compile(rb'p_event="nack" p_reason="([a-z-]+):')


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


@dataclass(frozen=True)
class SessionRequests:
    """Requests of one session, each with the token: the first begins it."""

    path: str
    requests: tuple[dict[str, str], ...]

    async def __call__(self, prepared: Prepared, token: str | None) -> str:
        """Send the requests up to the first that is refused; see `Row.send`."""
        id: dict[str, str] = {}
        for query in self.requests:
            given = {name: value.format(cursor=prepared.cursor) for name, value in query.items()}
            request = encode_request("GET", f"{self.path}?{urlencode(id | given)}", None, bearer(token))
            client: HttpClient = prepared.daemon.connect("http", HttpClient(request))
            head = await client.head
            if "content-length" not in head.headers:  # a stream
                return ALLOWED
            answer = await client.answer
            code = self.code_of(answer)
            if code != ALLOWED:
                return code
            id = id or self.id_of(answer)
        return ALLOWED

    def code_of(self, answer: Answer) -> str:
        """Return the code of a refusal, else `ALLOWED`."""
        if answer.status == 200:
            return ALLOWED
        code = str(answer.json["error"]["code"])
        assert CHALLENGES[code] == (answer.status, answer.headers.get("www-authenticate", ""))
        return code

    def id_of(self, answer: Answer) -> dict[str, str]:
        """Return the parameter with the id of the session."""
        return {"cid": json.loads(unquote(answer.body[1:-1].decode()))["data"]["cId"]}


@dataclass(frozen=True)
class PushletRequests(SessionRequests):
    """The same for Pushlet, in which a nack is an accepted request."""

    def code_of(self, answer: Answer) -> str:
        """See `SessionRequests`."""
        nack = _NACK.search(answer.body)
        return super().code_of(answer) if nack is None else nack[1].decode()

    def id_of(self, answer: Answer) -> dict[str, str]:
        """See `SessionRequests`."""
        (id,) = re.findall(rb' p_id="(\w+)"', answer.body)
        return {"p_id": id.decode()}


def _pushlet(*events: tuple[str, dict[str, str]]) -> PushletRequests:
    """Return a session in the format xml."""
    queries = tuple({"p_event": event, "p_format": "xml"} | query for event, query in events)
    return PushletRequests("/pushlet.srv", queries)


def _comet4j(*commands: tuple[str, dict[str, str]]) -> SessionRequests:
    queries = tuple({"cmd": command} | query for command, query in commands)
    return SessionRequests("/comet4j", queries)


_JOIN: Final = ("join", dict[str, str]())
_SUBJECT: Final = {"p_subject": f"/{CHANNEL}"}
_PULL: Final = {"p_mode": "pull"}
_CHANNELS: Final = {"channels": CHANNEL}
_SINCE: Final = {"since": "{cursor}"}
PUSHLET_ROWS = (
    Row("Pushlet join", (), _pushlet(_JOIN), begins_session=True),
    Row("Pushlet hb", (), _pushlet(_JOIN, ("hb", {})), begins_session=True),
    Row("Pushlet leave", (), _pushlet(_JOIN, ("leave", {})), begins_session=True),
    Row("Pushlet unsubscribe", (), _pushlet(_JOIN, ("unsubscribe", {})), begins_session=True),
    Row("Pushlet publish", ("publish",), _pushlet(_JOIN, ("publish", {**_SUBJECT, "x": "1"}))),
    Row("Pushlet subscribe", READ, _pushlet(_JOIN, ("subscribe", _SUBJECT))),
    Row("Pushlet subscribe to several", READ, _pushlet(_JOIN, ("subscribe", {"p_subject": "/room/b,/room/a"}))),
    Row("Pushlet listen", READ, _pushlet(_JOIN, ("listen", _SUBJECT | _PULL))),
    Row(
        "Pushlet refresh with a cursor",
        READ,
        _pushlet(("join-listen", _SUBJECT | _PULL), ("refresh", {"p_since": "{cursor}"})),
    ),
    Row("Pushlet join-listen of a stream", READ, _pushlet(("join-listen", _SUBJECT | {"p_mode": "stream"}))),
    Row("Pushlet join-listen since", READ, _pushlet(("join-listen", _SUBJECT | _PULL | {"p_since": "all"}))),
)
COMET4J_ROWS = (
    Row("comet4j conn", READ, _comet4j(("conn", _CHANNELS))),
    Row("comet4j conn to a pattern", READ, _comet4j(("conn", {"channels": "room/**"}))),
    Row("comet4j conn with since", READ, _comet4j(("conn", _CHANNELS | _SINCE))),
    Row("comet4j revival", READ, _comet4j(("conn", _CHANNELS | _SINCE), ("revival", {}))),
    Row("comet4j revival of a stream", READ, _comet4j(("conn", _CHANNELS | {"ws": "stream"}), ("revival", {}))),
    Row("comet4j drop", READ, _comet4j(("conn", _CHANNELS), ("drop", {}))),
)
BAYEUX_ROWS = (
    Row("Bayeux subscribe", READ, BayeuxMessage(_SUBSCRIBE, {"subscription": f"/{CHANNEL}"})),
    Row("Bayeux subscribe to a pattern", READ, BayeuxMessage(_SUBSCRIBE, {"subscription": "/room/**"})),
    Row(
        "Bayeux subscribe as a member",
        (*READ, "manage"),
        BayeuxMessage(_SUBSCRIBE, {"subscription": f"/{CHANNEL}"}, _BOB),
    ),
    Row("Bayeux publish", ("publish",), BayeuxMessage(f"/{CHANNEL}", {"data": "x"})),
)
DIALECT_ROWS = (*BAYEUX_ROWS, *PUSHLET_ROWS, *COMET4J_ROWS)
