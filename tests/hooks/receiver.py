"""A receiver of hooks: an HTTP server on loopback that answers as a test wants, and verifies each request."""

import base64
import json
import os
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any, Final

import pytest_twisted
from standardwebhooks.webhooks import Webhook
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.protocol import Factory, Protocol

SECRET: Final = f"whsec_{base64.b64encode(os.urandom(32)).decode()}"
PATH: Final = "/pushd/hooks"
OK: Final = b"HTTP/1.1 204 No Content\r\n\r\n"
CUT: Final = b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf"
"""A response that is not complete when its connection is closed."""


def status(code: int, *headers: str) -> bytes:
    """Return a response without a body."""
    return "\r\n".join((f"HTTP/1.1 {code} X", "Content-Length: 0", *headers, "", "")).encode("ascii")


class Receiver(Factory):
    """The server.

    :ivar answer: returns the response to a batch; None: none, and the connection stays open.
    :ivar batches: the bodies of all requests.
    :ivar heads: the headers of each, with lower-case names.
    :ivar under_way: how many requests have no response yet.
    :ivar most: the most of them at a time.
    """

    noisy = False

    def __init__(self) -> None:
        self.answer: Callable[[dict[str, Any]], bytes | None] = lambda batch: OK
        self.secrets = [SECRET]
        self.batches: list[dict[str, Any]] = []
        self.heads: list[dict[str, str]] = []
        self.confirmed: list[dict[str, Any]] = []
        """The events whose batch was confirmed."""
        self.under_way = self.most = 0
        self.connections: set[Any] = set()
        self.port: Any = None

    @property
    def url(self) -> str:
        """Its address."""
        return f"http://127.0.0.1:{self.port.getHost().port}{PATH}"

    @property
    def events(self) -> list[dict[str, Any]]:
        """All events that were received, with repeats."""
        return [event for batch in self.batches for event in batch["events"]]

    def of(self, *kinds: str) -> list[dict[str, Any]]:
        """Return the events of some types."""
        return [event for event in self.events if event["type"] in kinds]

    def once(self) -> list[dict[str, Any]]:
        """Return the confirmed events without repeats, as a receiver that ignores duplicates handles them."""
        return list({event["id"]: event for event in self.confirmed}.values())

    def buildProtocol(self, addr: object) -> Protocol:
        """Return the protocol of a connection."""
        return _Connection(self)

    def start(self, port: int = 0) -> "Receiver":
        """Listen."""
        from twisted.internet import reactor

        untyped: Any = reactor
        self.port = untyped.listenTCP(port, self, interface="127.0.0.1")
        return self

    async def stop(self) -> None:
        """Stop listening, and close all connections."""
        await maybeDeferred(self.port.stopListening)
        lost = [connection.lost for connection in self.connections]
        for connection in list(self.connections):
            connection.transport.abortConnection()
        for each in lost:
            await each

    def section(self, folder: Path, name: str = "app", **settings: object) -> str:
        """Write the secrets; return the section of the configuration file."""
        files = []
        for number, secret in enumerate(self.secrets):
            file = folder / f"{name}.{number}.secret"
            file.write_text(secret + "\n")
            files.append(str(file))
        rows = {"url": self.url, "secret_files": files, **settings}
        return "\n".join([f"[hook.{name}]", *(f"{key} = {json.dumps(value)}" for key, value in rows.items())]) + "\n"


class _Connection(Protocol):
    transport: Any

    def __init__(self, receiver: Receiver) -> None:
        self._receiver = receiver
        self._data = b""
        self._is_waiting = False
        self.lost: Deferred[None] = Deferred()

    def connectionMade(self) -> None:
        self._receiver.connections.add(self)

    def connectionLost(self, reason: object = None) -> None:
        self._receiver.connections.discard(self)
        self._receiver.under_way -= self._is_waiting
        self.lost.callback(None)

    def dataReceived(self, data: bytes) -> None:
        self._data += data
        head, end, body = self._data.partition(b"\r\n\r\n")
        start, *lines = head.decode("latin-1").split("\r\n")
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
        if not end or len(body) < int(headers["content-length"]):
            return
        self._data = b""
        assert start == f"POST {PATH} HTTP/1.1"
        assert headers["content-type"] == "application/json"
        for secret in self._receiver.secrets:
            batch = Webhook(secret).verify(body, headers)
        self._receiver.heads.append(headers)
        self._receiver.batches.append(batch)
        self._receiver.under_way += 1
        self._receiver.most = max(self._receiver.most, self._receiver.under_way)
        self._is_waiting = True
        self._send(self._receiver.answer(batch), batch)

    def _send(self, answer: bytes | None, batch: dict[str, Any]) -> None:
        if answer is None:
            return
        self._receiver.under_way -= 1
        self._is_waiting = False
        if answer is OK:
            self._receiver.confirmed += batch["events"]
        self.transport.write(answer)
        if answer is CUT:
            self.transport.loseConnection()


@pytest_twisted.async_yield_fixture
async def receiver() -> AsyncIterator[Receiver]:
    """A receiver that confirms everything until the test changes that."""
    receiver = Receiver().start()
    yield receiver
    await receiver.stop()
