"""A client of Bayeux that sends what a test says, and returns what it receives."""

import json
from collections.abc import Mapping
from itertools import count
from typing import Any

from twisted.internet.defer import Deferred

from tests.transports.daemon import RunningDaemon
from tests.transports.http_client import Answer, HttpClient, encode_request

_numbers = count(1)
JSON = {"Content-Type": "application/json"}


class Bayeux:
    """A client by long-polling."""

    def __init__(self, daemon: RunningDaemon, headers: Mapping[str, str] | None = None) -> None:
        self.daemon = daemon
        self.headers = JSON | dict(headers or {})
        self.id = ""
        """The client id."""

    async def post(self, *messages: Mapping[str, Any]) -> list[Any]:
        """Send an envelope; return the messages of the answer."""
        answer = await self.request(json.dumps(messages).encode())
        assert answer.status == 200, answer
        assert answer.headers["content-type"] == "application/json; charset=utf-8"
        return list(answer.json)

    async def request(self, body: bytes, path: str = "/cometd") -> Answer:
        """Send a body; return the answer."""
        return await self.daemon.request("POST", path, body, self.headers)

    async def send(self, channel: str, **fields: Any) -> Any:
        """Send one message; return the reply."""
        (reply,) = await self.post(self.message(channel, **fields))
        return reply

    def message(self, channel: str, **fields: Any) -> dict[str, Any]:
        """Return a message."""
        message = {"channel": channel, "id": str(next(_numbers)), **fields}
        return message if channel == "/meta/handshake" else {"clientId": self.id, **message}

    async def handshake(self, **fields: Any) -> Any:
        """Begin a session, and connect for the first time; return the reply to the handshake."""
        reply = await self.send(
            "/meta/handshake", version="1.0", supportedConnectionTypes=["long-polling", "websocket"], **fields
        )
        if reply["successful"]:
            self.id = reply["clientId"]
            await self.connect(timeout=0)
        return reply

    async def subscribe(self, *channels: str, **fields: Any) -> Any:
        """Subscribe; return the reply."""
        return await self.send(
            "/meta/subscribe", subscription=channels[0] if len(channels) == 1 else channels, **fields
        )

    async def publish(self, channel: str, data: Any, **fields: Any) -> Any:
        """Publish; return the reply."""
        return await self.send(channel, data=data, **fields)

    async def connect(self, timeout: int | None = None, ack: int | None = None) -> list[Any]:
        """Return the reply to a connect, and the messages after it."""
        return await self.post(self.connect_message(timeout, ack))

    def connect_message(self, timeout: int | None = None, ack: int | None = None) -> dict[str, Any]:
        """Return a connect."""
        fields: dict[str, Any] = {"connectionType": "long-polling"}
        if timeout is not None:
            fields["advice"] = {"timeout": timeout}
        if ack is not None:
            fields["ext"] = {"ack": ack}
        return self.message("/meta/connect", **fields)

    def start(self, message: Mapping[str, Any]) -> tuple[HttpClient, Deferred[Answer]]:
        """Send one message, and return the connection and the answer that will follow."""
        request = encode_request("POST", "/cometd", json.dumps([message]).encode(), self.headers)
        client: HttpClient = self.daemon.connect("http", HttpClient(request))
        return client, client.answer


def data(messages: list[Any]) -> list[Any]:
    """Return the data of deliveries; the first message must be a reply that succeeds."""
    assert messages[0]["successful"], messages
    for message in messages[1:]:
        assert message.keys() <= {"channel", "data", "id", "ext"}
    return [message["data"] for message in messages[1:]]
