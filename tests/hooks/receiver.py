"""A receiver of hooks: an HTTP server on loopback that answers as a test wants, and verifies each request."""

import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any, Final

import pytest_twisted

from tests.webhook_server import SECRET, WebhookConnection, WebhookServer

__all__ = ["CUT", "OK", "PATH", "SECRET", "Receiver", "receiver", "status"]

PATH: Final = "/pushd/hooks"
OK: Final = b"HTTP/1.1 204 No Content\r\n\r\n"
CUT: Final = b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf"
"""A response that is not complete when its connection is closed."""


def status(code: int, *headers: str) -> bytes:
    """Return a response without a body."""
    return "\r\n".join((f"HTTP/1.1 {code} X", "Content-Length: 0", *headers, "", "")).encode("ascii")


class Receiver(WebhookServer):
    """The server.

    :ivar answer: returns the response to a batch; None: none, and the connection stays open.
    :ivar batches: the bodies of all requests.
    """

    path = PATH

    def __init__(self) -> None:
        super().__init__()
        self.answer: Callable[[dict[str, Any]], bytes | None] = lambda batch: OK
        self.batches: list[dict[str, Any]] = []
        self.confirmed: list[dict[str, Any]] = []
        """The events whose batch was confirmed."""

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

    def start(self, port: int = 0) -> "Receiver":
        """Listen."""
        self.listen(port)
        return self

    def receive(self, body: dict[str, Any], connection: WebhookConnection) -> None:
        """Answer a batch."""
        self.batches.append(body)
        answer = self.answer(body)
        if answer is OK:
            self.confirmed += body["events"]
        if answer is not None:
            connection.respond(answer, closes=answer is CUT)

    def section(self, folder: Path, name: str = "app", **settings: object) -> str:
        """Write the secrets; return the section of the configuration file."""
        files = []
        for number, secret in enumerate(self.secrets):
            file = folder / f"{name}.{number}.secret"
            file.write_text(secret + "\n")
            files.append(str(file))
        rows = {"url": self.url, "secret_files": files, **settings}
        return "\n".join([f"[hook.{name}]", *(f"{key} = {json.dumps(value)}" for key, value in rows.items())]) + "\n"


@pytest_twisted.async_yield_fixture
async def receiver() -> AsyncIterator[Receiver]:
    """A receiver that confirms everything until the test changes that."""
    receiver = Receiver().start()
    yield receiver
    await receiver.stop()
