"""A network with scripted responses, and a clock that only waiting advances."""

import json
from collections.abc import Callable, Sequence
from typing import Any

from pushd_client.core.address import Address
from pushd_client.core.backoff import Backoff
from pushd_client.core.caller import Caller
from pushd_client.core.interface import Closed, Connection, HttpRequest, HttpResponse
from pushd_client.core.token_source import TokenSource
from pushd_client.errors import ConnectionFailed

LONGEST = Backoff(1.0, 30.0, uniform=lambda low, high: high)
"""Always the longest delay."""
Step = HttpResponse | Exception | Callable[[HttpRequest], HttpResponse]
Received = bytes | str | Closed | Exception


def response(status: int, body: object = None, **headers: str) -> HttpResponse:
    """Return a JSON response."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return HttpResponse(status, {"content-type": "application/json", **named}, json.dumps(body).encode())


def refused(status: int, code: str, **headers: str) -> HttpResponse:
    """Return a refusal of the daemon."""
    return response(status, {"error": {"code": code, "message": "because"}}, **headers)


class Lock:
    """A lock that is always free."""

    async def __aenter__(self) -> None:
        """Acquire it."""

    async def __aexit__(self, *_: object) -> None:
        """Release it."""


async def resolve(token: Any) -> object:
    """Return a token as it is."""
    return token


class ScriptedConnection:
    """Receives what a script says, and then nothing more."""

    def __init__(self, received: Sequence[Received]) -> None:
        self._received = list(received)
        self.sent: list[Any] = []
        self.is_closed = False

    async def receive(self) -> bytes | str | Closed:
        """See `Connection`."""
        step = self._received.pop(0) if self._received else ConnectionFailed("the script has ended")
        if isinstance(step, Exception):
            raise step
        return step

    async def send(self, text: str) -> None:
        """See `Connection`."""
        self.sent.append(json.loads(text))

    async def close(self) -> None:
        """See `Connection`."""
        self.is_closed = True


class ScriptedNetwork:
    """Answers requests with the steps of a script, one after the other."""

    def __init__(self, *steps: "Step | ScriptedConnection") -> None:
        self._steps = list(steps)
        self.requests: list[HttpRequest] = []
        self.sleeps: list[float] = []
        self.now = 1000.0

    def clock(self) -> float:
        """Return the time."""
        return self.now

    async def send(self, request: HttpRequest) -> HttpResponse:
        """See `Network`."""
        step = self._next(request)
        assert isinstance(step, HttpResponse)
        return step

    async def open_stream(self, request: HttpRequest, idle_seconds: float) -> tuple[HttpResponse, Connection | None]:
        """See `SubscriptionNetwork`."""
        return self._open(request, 200)

    async def open_websocket(self, request: HttpRequest, idle_seconds: float) -> tuple[HttpResponse, Connection | None]:
        """See `SubscriptionNetwork`."""
        return self._open(request, 101)

    async def sleep(self, seconds: float) -> None:
        """Advance the clock."""
        self.sleeps.append(seconds)
        self.now += seconds

    def _open(self, request: HttpRequest, status: int) -> tuple[HttpResponse, Connection | None]:
        step = self._next(request)
        return (step, None) if isinstance(step, HttpResponse) else (HttpResponse(status, {}), step)

    def _next(self, request: HttpRequest) -> HttpResponse | ScriptedConnection:
        self.requests.append(request)
        step = self._steps.pop(0)
        if isinstance(step, Exception):
            raise step
        if isinstance(step, HttpResponse | ScriptedConnection):
            return step
        return step(request)


def tokens(token: Any) -> TokenSource:
    """Return the source of a token, or of those that a function returns."""
    return TokenSource(token, resolve, Lock())


def caller(network: ScriptedNetwork, token: Any = None, retry_seconds: float = 60.0) -> Caller:
    """Return a caller with the longest delays."""
    address = Address("http://pushd.test/base/")
    source = token if isinstance(token, TokenSource) else tokens(token)
    return Caller(address, network, source, 30.0, retry_seconds, LONGEST.start, network.clock)
