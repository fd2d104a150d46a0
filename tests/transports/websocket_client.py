"""WebSocket clients, with Autobahn: the subprotocol pushd.v1, by URL or by command, and data-only frames."""

import json
from collections import deque
from typing import Any, ClassVar

from autobahn.twisted.websocket import WebSocketClientFactory, WebSocketClientProtocol
from twisted.internet.defer import Deferred

from tests.transports.client import Client, Closed, Received, Refused
from tests.transports.http_client import address


class _Client(WebSocketClientProtocol):
    """The connection of a client. It has no timers, and answers pings by default."""

    def __init__(self, owner: "WebSocketClient") -> None:
        super().__init__()
        self.owner = owner
        self.opened: Deferred[None] = Deferred()
        self.answers_pings = True
        self._answer = b""

    def dataReceived(self, data: bytes) -> None:
        if not self.opened.called:
            self._answer += data
        super().dataReceived(data)

    def onConnect(self, response: Any) -> None:
        self.owner.headers = response.headers
        assert response.protocol == self.owner.subprotocol
        self.opened.callback(None)

    def onMessage(self, payload: bytes, isBinary: bool) -> None:
        self.owner.frame(payload, isBinary)

    def onPing(self, payload: bytes) -> None:
        self.owner.deliver_result(None)
        if self.answers_pings:
            super().onPing(payload)

    def onClose(self, wasClean: bool, code: int, reason: str) -> None:
        if self.opened.called:
            self.owner.deliver_result(Closed(self.remoteCloseCode or code, self.remoteCloseCode is not None))
        else:
            words = self._answer.split()
            status = int(words[1]) if len(words) > 1 and len(words[1]) == 3 else None
            body = self._answer.partition(b"\r\n\r\n")[2]
            self.opened.errback(Refused(json.loads(body)["error"]["code"] if body else None, status))


class WebSocketClient(Client):
    """A WebSocket with its topics in the URL."""

    transport_name = "websocket"
    subprotocol: ClassVar[str | None] = None

    async def subscribe(self, topics: str, since: str | None = None, slow: str | None = None) -> None:
        """See `Client`."""
        self.start_cursor = None
        await self.open(address("ws", topics, since=since, slow=slow))
        self.begin_at(self.headers["pushd-cursor"])

    async def open(self, path: str, headers: dict[str, str] | None = None) -> None:
        """Perform the handshake.

        :raises Refused: when it is refused.
        """
        self.headers: dict[str, str] = {}
        protocols = [self.subprotocol] if self.subprotocol else []
        factory = WebSocketClientFactory(f"ws://localhost{path}", protocols=protocols, headers=headers or {})
        factory.setProtocolOptions(openHandshakeTimeout=0, closeHandshakeTimeout=0, serverConnectionDropTimeout=0)
        self.protocol = _Client(self)
        self.protocol.factory = factory
        self.daemon.connect("http", self.protocol, small=self.small)
        await self.protocol.opened
        self.gap = self.headers.get("pushd-gap")

    def frame(self, payload: bytes, is_binary: bool) -> None:
        """Called with each WebSocket message."""
        raise NotImplementedError

    def close(self) -> None:
        """Start the closing handshake (RFC 6455, section 7.1.2)."""
        self.protocol.sendClose(1000)


class DataWebSocket(WebSocketClient):
    """Data-only frames, without the subprotocol."""

    label = "websocket-bare"
    has_ids = has_channels = has_events = reports_gaps = False

    def frame(self, payload: bytes, is_binary: bool) -> None:
        """See `WebSocketClient`."""
        self.last_was_binary = is_binary
        self.deliver_result(Received(None, None, payload, None))


class JsonWebSocket(WebSocketClient):
    """The subprotocol, with the first topics in the URL and more by command."""

    label = "websocket"
    subprotocol = "pushd.v1"
    is_two_way = True

    async def subscribe(self, topics: str, since: str | None = None, slow: str | None = None) -> None:
        """See `Client`."""
        if self.protocol is None:
            await super().subscribe(topics, since, slow)
            return
        given = {"since": since, "slow": slow}
        answer = await self.ask(subscribe=topics, **{key: value for key, value in given.items() if value is not None})
        if "error" in answer:
            raise Refused(answer["error"]["code"])
        self.start_cursor = None
        self.begin_at(answer["cursor"])
        self.connection = answer["connection"]

    async def open(self, path: str = "/ws", headers: dict[str, str] | None = None) -> None:
        """See `WebSocketClient`."""
        self._asked: deque[Deferred[Any]] = deque()
        await super().open(path, headers)

    def frame(self, payload: bytes, is_binary: bool) -> None:
        """See `WebSocketClient`."""
        assert not is_binary
        decoded = json.loads(payload)
        if "ok" in decoded or "error" in decoded:
            self._asked.popleft().callback(decoded)
        else:
            self.take(decoded)

    def ask(self, **command: object) -> "Deferred[Any]":
        """Send a command, and return the reply."""
        return self.send(json.dumps(command))

    def send(self, text: str, *, is_binary: bool = False) -> "Deferred[Any]":
        """Send a frame, and return the reply."""
        self.protocol.sendMessage(text.encode(), is_binary)
        answer: Deferred[Any] = Deferred()
        self._asked.append(answer)
        return answer


class CommandWebSocket(JsonWebSocket):
    """The subprotocol, with all topics by command."""

    label = "websocket-commands"
    closes_at_end = False

    async def subscribe(self, topics: str, since: str | None = None, slow: str | None = None) -> None:
        """See `Client`."""
        if self.protocol is None:
            await self.open()
        await super().subscribe(topics, since, slow)
