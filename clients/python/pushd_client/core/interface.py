"""What the core needs from a client: requests, connections of subscriptions, and waiting."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import NamedTuple, Protocol


@dataclass(frozen=True)
class HttpRequest:
    """An HTTP request."""

    method: str
    target: str
    """Path and query (RFC 9112, section 3.2.1), percent-encoded."""
    headers: Mapping[str, str]
    body: bytes | None = None
    seconds: float = 30.0
    """The time until the answer must be complete; for the connection of a subscription, until its headers are."""


class HttpResponse(NamedTuple):
    """An HTTP response."""

    status: int
    headers: Mapping[str, str]
    """By names in lower case."""
    body: bytes = b""


class Closed(NamedTuple):
    """The connection of a subscription has ended."""

    code: int | None
    """The close code of a WebSocket; None for the end of a response body."""
    reason: str = ""


class Connection(Protocol):
    """The open connection of a subscription."""

    async def receive(self) -> bytes | str | Closed:
        """Return the next bytes of a response body or the next frame of a WebSocket, or that it was ended in order.

        :raises ConnectionFailed: when it is lost, or nothing arrives for too long.
        """

    async def send(self, text: str) -> None:
        """Send a frame over a WebSocket.

        :raises ConnectionFailed: when it is lost.
        """

    async def close(self) -> None:
        """Close it."""


class SubscriptionNetwork(Protocol):
    """Opens the connections of one subscription."""

    async def open_stream(self, request: HttpRequest, idle_seconds: float) -> tuple[HttpResponse, Connection | None]:
        """Return a response and, if its status is 200, the connection that receives its body.

        :raises ConnectionFailed: when there is no response.
        """

    async def open_websocket(self, request: HttpRequest, idle_seconds: float) -> tuple[HttpResponse, Connection | None]:
        """Return the response to a handshake for the subprotocol `pushd.v1` and, if its status is 101, the connection.

        :raises ConnectionFailed: when there is no response.
        """

    async def sleep(self, seconds: float) -> None:
        """Wait."""


class Network(Protocol):
    """Sends requests."""

    async def send(self, request: HttpRequest) -> HttpResponse:
        """Return the response to a request.

        :raises ConnectionFailed: when there is none.
        """

    async def sleep(self, seconds: float) -> None:
        """Wait."""


class Lock(Protocol):
    """A lock of threads or coroutines."""

    async def __aenter__(self) -> object:
        """Acquire it."""

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None, /
    ) -> object:
        """Release it."""
