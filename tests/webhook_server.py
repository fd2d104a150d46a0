"""An HTTP server on loopback that verifies signed requests; what it answers is up to its subclasses."""

import base64
import os
from typing import Any, Final

from standardwebhooks.webhooks import Webhook
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.protocol import Factory, Protocol

SECRET: Final = f"whsec_{base64.b64encode(os.urandom(32)).decode()}"


class WebhookServer(Factory):
    """The server. It counts the requests that have no response.

    :cvar path: the path of its address.
    :ivar secrets: each must have signed every request.
    :ivar heads: the headers of all requests, with lower-case names.
    :ivar under_way: how many requests have no response yet.
    :ivar most: the most of them at a time.
    """

    noisy = False
    path = "/"

    def __init__(self) -> None:
        self.secrets = [SECRET]
        self.heads: list[dict[str, str]] = []
        self.under_way = self.most = 0
        self.connections: set[WebhookConnection] = set()
        self.port: Any = None

    def receive(self, body: dict[str, Any], connection: "WebhookConnection") -> None:
        """Called with a request that is verified."""
        raise NotImplementedError

    @property
    def url(self) -> str:
        """Its address."""
        return f"http://127.0.0.1:{self.port.getHost().port}{self.path}"

    def buildProtocol(self, addr: object) -> Protocol:
        """Return the protocol of a connection."""
        return WebhookConnection(self)

    def listen(self, port: int = 0) -> None:
        """Listen."""
        from twisted.internet import reactor

        untyped: Any = reactor
        self.port = untyped.listenTCP(port, self, interface="127.0.0.1")

    async def stop(self) -> None:
        """Stop listening, and close all connections."""
        await maybeDeferred(self.port.stopListening)
        lost = [connection.lost for connection in self.connections]
        for connection in list(self.connections):
            connection.transport.abortConnection()
        for each in lost:
            await each


class WebhookConnection(Protocol):
    """A connection, with one request at a time."""

    transport: Any

    def __init__(self, server: WebhookServer) -> None:
        self._server = server
        self._data = b""
        self._is_waiting = False
        self.lost: Deferred[None] = Deferred()

    def connectionMade(self) -> None:
        """Called when it is open."""
        self._server.connections.add(self)

    def connectionLost(self, reason: object = None) -> None:
        """Called when it is closed."""
        self._server.connections.discard(self)
        self._server.under_way -= self._is_waiting
        self.lost.callback(None)

    def dataReceived(self, data: bytes) -> None:
        """Verify a request once it is complete."""
        self._data += data
        head, end, body = self._data.partition(b"\r\n\r\n")
        start, *lines = head.decode("latin-1").split("\r\n")
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
        if not end or len(body) < int(headers["content-length"]):
            return
        self._data = b""
        server = self._server
        assert start == f"POST {server.path} HTTP/1.1"
        assert headers["content-type"] == "application/json"
        for secret in server.secrets:
            verified = Webhook(secret).verify(body, headers)
        server.heads.append(headers)
        server.under_way += 1
        server.most = max(server.most, server.under_way)
        self._is_waiting = True
        server.receive(verified, self)

    def respond(self, response: bytes, *, closes: bool) -> None:
        """Send the bytes of a response."""
        self._server.under_way -= 1
        self._is_waiting = False
        self.transport.write(response)
        if closes:
            self.transport.loseConnection()
