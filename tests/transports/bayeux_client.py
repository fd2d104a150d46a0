"""A client of Bayeux by long-polling, which acknowledges what it receives."""

import base64
import json
from typing import Any

from twisted.internet.defer import ensureDeferred

from tests.transports.client import Client, Closed, Gap, Item, Received, Refused, data_of
from tests.transports.http_client import HttpClient, encode_request

_DIGITS = "0123456789"
_LOWER, _UPPER = "abcdefghijklmnopqrstuvwxyz", "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
_Z85 = f"{_DIGITS}{_LOWER}{_UPPER}.-:+=^!/*?&<>()[]{{}}@%$#"
_B85 = f"{_DIGITS}{_UPPER}{_LOWER}!#$%&()*+-;<=>?@^_`{{|}}~"


class BayeuxPoll(Client):
    """A session that connects in a loop."""

    label = "bayeux"
    transport_name = "bayeux"
    reports_gaps = False
    _id = ""
    _batch = 0

    async def subscribe(self, topics: str, since: str | None = None, slow: str | None = None) -> None:
        """See `Client`."""
        (reply,) = await self._send(
            channel="/meta/handshake", supportedConnectionTypes=["long-polling"], ext={"ack": True}
        )
        self._id = reply["clientId"]
        ext = {} if since is None else {"ext": {"pushd": {"since": since}}}
        channels = [f"/{topic}" for topic in topics.split(",")]
        (reply,) = await self._send(channel="/meta/subscribe", subscription=channels, **ext)
        if not reply["successful"]:
            raise Refused(reply["error"].split(":")[2])
        self.begin_at(reply["ext"]["pushd"]["cursor"])
        await self._connect(0)
        ensureDeferred(self._go_on())

    async def _go_on(self) -> None:
        try:
            while True:
                await self._connect(30_000)
        except Exception:
            self.deliver_result(Closed(None, False))

    async def _connect(self, timeout: int) -> None:
        fields = {"connectionType": "long-polling", "advice": {"timeout": timeout}, "ext": {"ack": self._batch}}
        reply, *messages = await self._send(channel="/meta/connect", **fields)
        if not reply["successful"] or "retry" not in reply.get("advice", {"reconnect": "retry"})["reconnect"]:
            raise ConnectionError(reply)
        self._batch = reply["ext"]["ack"]
        for message in messages:
            item = _item_of(message)
            if isinstance(item, Gap):
                self.gap = self.gap or item.reason
            else:
                self.deliver_result(item)

    async def _send(self, **message: Any) -> Any:
        body = json.dumps([message | ({"clientId": self._id} if self._id else {})]).encode()
        headers = {"Content-Type": "application/json"}
        protocol: HttpClient = self.daemon.connect("http", HttpClient(encode_request("POST", "/cometd", body, headers)))
        self.protocol = protocol
        return (await protocol.answer).json


def z85_decode(text: str) -> bytes:
    """Return the bytes of a text of the binary extension (https://rfc.zeromq.org/spec/32/)."""
    return base64.b85decode(text.translate(str.maketrans(_Z85, _B85)))


def _item_of(message: Any) -> Item:
    data, fields = message["data"], message.get("ext", {}).get("pushd", {})
    if message["channel"] == "/pushd/gap":
        return Gap(data["topic"], data["from"], data["to"], data["reason"])
    channel = message["channel"].removeprefix("/")
    if "binary" in message.get("ext", {}):
        assert data.keys() == {"data", "last"}
        assert data["last"]
        received = z85_decode(data["data"])
    else:
        received = data_of({"data": data})
    return Received(
        message.get("id"), channel, received, fields.get("event"), fields.get("from"), fields.get("reply_to")
    )
