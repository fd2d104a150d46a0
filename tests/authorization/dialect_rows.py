"""The rows of the protocols of other projects, whose requests have a session or several messages."""

import json
from dataclasses import dataclass, field
from typing import Any, Final

from tests.authorization.row import ALLOWED, CHANNEL, READ, Prepared, Row
from tests.dialects.bayeux.client import Bayeux

_SUBSCRIBE: Final = "/meta/subscribe"
_BOB: Final = {"presence_id": "bob"}


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
