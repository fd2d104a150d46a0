"""A small application: an HTTP server on loopback that answers callbacks as a test wants, and verifies them."""

import base64
import json
import os
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest_twisted
from standardwebhooks.webhooks import Webhook
from twisted.internet.defer import Deferred
from twisted.internet.protocol import Factory, Protocol

SECRET = f"whsec_{base64.b64encode(os.urandom(32)).decode()}"
Answer = dict[str, object] | bytes | None
"""An object, the bytes of a whole response, or None: no answer."""


def response(body: bytes, status: str = "200 OK", *headers: str) -> bytes:
    """Return an HTTP response."""
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *headers, "", ""]
    return "\r\n".join(lines).encode("ascii") + body


class Application(Factory):
    """The server. It keeps all questions.

    :ivar answer: returns the answer to a question.
    :ivar closes: whether it closes each connection after its answer.
    """

    noisy = False

    def __init__(self) -> None:
        self.answer: Callable[[dict[str, Any]], Answer] = lambda question: {"allow": True}
        self.closes = False
        self.secret = SECRET
        self.questions: list[dict[str, Any]] = []
        self.heads: list[dict[str, str]] = []
        self.connections: set[Any] = set()
        self.unanswered: list[Any] = []
        """The transports of questions without an answer."""
        self.port: Any = None

    @property
    def url(self) -> str:
        """Its address."""
        return f"http://127.0.0.1:{self.port.getHost().port}/pushd/callback"

    def buildProtocol(self, addr: object) -> Protocol:
        """Return the protocol of a connection."""
        return _Connection(self)

    def of(self, action: str) -> list[dict[str, Any]]:
        """Return the questions about an action."""
        return [question for question in self.questions if question["action"] == action]

    def start(self) -> "Application":
        """Listen."""
        from twisted.internet import reactor

        untyped: Any = reactor
        self.port = untyped.listenTCP(0, self, interface="127.0.0.1")
        return self

    async def stop(self) -> None:
        """Stop listening, and close all connections."""
        await self.port.stopListening()
        lost = [connection.lost for connection in self.connections]
        for connection in list(self.connections):
            connection.transport.abortConnection()
        for each in lost:
            await each


class _Connection(Protocol):
    transport: Any

    def __init__(self, application: Application) -> None:
        self._application = application
        self._data = b""
        self.lost: Deferred[None] = Deferred()

    def connectionMade(self) -> None:
        self._application.connections.add(self)

    def connectionLost(self, reason: object = None) -> None:
        self._application.connections.discard(self)
        self.lost.callback(None)

    def dataReceived(self, data: bytes) -> None:
        self._data += data
        head, end, body = self._data.partition(b"\r\n\r\n")
        start, *lines = head.decode("latin-1").split("\r\n")
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
        if not end or len(body) < int(headers["content-length"]):
            return
        self._data = b""
        assert start == "POST /pushd/callback HTTP/1.1"
        assert headers["content-type"] == "application/json"
        question = Webhook(self._application.secret).verify(body, headers)
        self._application.heads.append(headers)
        self._application.questions.append(question)
        self._send(self._application.answer(question))

    def _send(self, answer: Answer) -> None:
        if answer is None:
            self._application.unanswered.append(self.transport)
            return
        self.transport.write(answer if isinstance(answer, bytes) else response(json.dumps(answer).encode()))
        if self._application.closes:
            self.transport.loseConnection()


@pytest_twisted.async_yield_fixture
async def application() -> AsyncIterator[Application]:
    """An application that allows everything until the test changes that."""
    application = Application().start()
    yield application
    await application.stop()


def write_callback(folder: Path, application: Application, **settings: object) -> str:
    """Write the secret; return the lines of the section. The timeout is that of a busy machine."""
    secret = folder / "callback.secret"
    secret.write_text(application.secret + "\n")
    rows = {"url": application.url, "secret_files": [str(secret)], "timeout": 10, **settings}
    return "\n".join(["[auth.callback]", *(f"{key} = {json.dumps(value)}" for key, value in rows.items())]) + "\n"
