"""A small application: an HTTP server on loopback that answers callbacks as a test wants, and verifies them."""

import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest_twisted

from tests.webhook_server import SECRET, WebhookConnection, WebhookServer

Answer = dict[str, object] | bytes | None
"""An object, the bytes of a whole response, or None: no answer."""


def response(body: bytes, status: str = "200 OK", *headers: str) -> bytes:
    """Return an HTTP response."""
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *headers, "", ""]
    return "\r\n".join(lines).encode("ascii") + body


class Application(WebhookServer):
    """The server. It keeps all questions.

    :ivar answer: returns the answer to a question.
    :ivar closes: whether it closes each connection after its answer.
    """

    path = "/pushd/callback"

    def __init__(self) -> None:
        super().__init__()
        self.answer: Callable[[dict[str, Any]], Answer] = lambda question: {"allow": True}
        self.closes = False
        self.questions: list[dict[str, Any]] = []
        self.unanswered: list[Any] = []
        """The transports of questions without an answer."""

    def of(self, action: str) -> list[dict[str, Any]]:
        """Return the questions about an action."""
        return [question for question in self.questions if question["action"] == action]

    def start(self) -> "Application":
        """Listen."""
        self.listen()
        return self

    def receive(self, body: dict[str, Any], connection: WebhookConnection) -> None:
        """Answer a question."""
        self.questions.append(body)
        answer = self.answer(body)
        if answer is None:
            self.unanswered.append(connection.transport)
            return
        sent = answer if isinstance(answer, bytes) else response(json.dumps(answer).encode())
        connection.respond(sent, closes=self.closes)


@pytest_twisted.async_yield_fixture
async def application() -> AsyncIterator[Application]:
    """An application that allows everything until the test changes that."""
    application = Application().start()
    yield application
    await application.stop()


def write_callback(folder: Path, application: Application, **settings: object) -> str:
    """Write the secret; return the lines of the section. The timeout is that of a busy machine."""
    secret = folder / "callback.secret"
    secret.write_text(SECRET + "\n")
    rows = {"url": application.url, "secret_files": [str(secret)], "timeout": 10, **settings}
    return "\n".join(["[auth.callback]", *(f"{key} = {json.dumps(value)}" for key, value in rows.items())]) + "\n"
