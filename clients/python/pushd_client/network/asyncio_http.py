"""HTTP for asyncio, by httpx."""

import asyncio
import contextlib
import ssl
from collections.abc import AsyncGenerator, Coroutine
from typing import Any, TypeVar, cast

from ..core.address import Address
from ..core.interface import Closed, HttpRequest, HttpResponse
from ..errors import ClientClosed, ConnectionFailed
from .optional import missing
from .sync_http import MAX_ANSWER

try:
    import httpx
except ImportError as error:
    raise missing("httpx", "async", "AsyncPushd") from error

T = TypeVar("T")

_MAX_IDLE = 10
"""The most connections that are kept for later requests."""
_UNSENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout)
"""Failures before anything was sent."""


class AsyncHttp:
    """Sends requests; all coroutines of one event loop may share it."""

    def __init__(self, address: Address, context: ssl.SSLContext | None) -> None:
        self._address = address
        self.context = (context or ssl.create_default_context()) if address.is_secure else None
        """The context of TLS; None without TLS."""
        # Subscriptions hold their connections, so their number is not limited here.
        limits = httpx.Limits(max_connections=None, max_keepalive_connections=_MAX_IDLE)
        # Like the synchronous client: no proxies from environment variables.
        self._client = httpx.AsyncClient(verify=self.context or True, limits=limits, trust_env=False)
        self.is_closed = False
        self._tasks: set[asyncio.Task[Any]] = set()
        """What would be waited for when the client is closed."""

    async def send(self, request: HttpRequest) -> HttpResponse:
        """See `core.interface.Network`."""
        return await self.until_closed(self._send(request), request.seconds)

    async def sleep(self, seconds: float) -> None:
        """Wait, unless the client is closed."""
        await self.until_closed(asyncio.sleep(seconds), seconds + 1)

    async def until_closed(self, coroutine: Coroutine[Any, Any, T], seconds: float) -> T:
        """Run a coroutine until it is complete, or the client is closed.

        :raises ConnectionFailed: when it takes longer than that time.
        :raises ClientClosed: when the client is closed.
        """
        task = asyncio.ensure_future(coroutine)
        self._tasks.add(task)
        try:
            if self.is_closed:
                task.cancel()
            return await asyncio.wait_for(task, seconds)
        except (TimeoutError, asyncio.TimeoutError) as error:
            raise ConnectionFailed(f"{self._address} did not answer in {seconds:g} s") from error
        except asyncio.CancelledError:
            if self.is_closed:
                raise ClientClosed("the client is closed") from None
            raise
        finally:
            self._tasks.discard(task)

    async def _send(self, request: HttpRequest) -> HttpResponse:
        response = await self.open(request, None)
        try:
            return await self.read(response)
        finally:
            await response.aclose()

    async def open(self, request: HttpRequest, idle_seconds: float | None) -> httpx.Response:
        """Send a request; return the response, whose body is not read yet.

        :param idle_seconds: the longest time without a byte of the body; None: as for the headers.
        """
        timeout = httpx.Timeout(request.seconds, read=idle_seconds or request.seconds)
        headers = {"Accept-Encoding": "identity", **request.headers}
        url = self._address.origin + request.target
        sent = self._client.build_request(request.method, url, content=request.body, headers=headers, timeout=timeout)
        try:
            return await self._client.send(sent, stream=True, follow_redirects=False)
        except (httpx.HTTPError, RuntimeError) as error:
            raise self.failure(error) from error

    async def read(self, response: httpx.Response) -> HttpResponse:
        """Return a response with its body."""
        pieces, size = [], 0
        try:
            async for piece in response.aiter_raw():
                pieces.append(piece)
                size += len(piece)
                if size > MAX_ANSWER:
                    raise ConnectionFailed(f"answer must not exceed {MAX_ANSWER} bytes")
        except (httpx.HTTPError, httpx.StreamError, RuntimeError) as error:
            raise self.failure(error) from error
        return answer_of(response, b"".join(pieces))

    def failure(self, error: Exception) -> Exception:
        """Return the exception for a connection that has failed."""
        if self.is_closed:
            return ClientClosed("the client is closed")
        reason = str(error) or type(error).__name__
        if isinstance(error, _UNSENT):
            return ConnectionFailed(f"{self._address} cannot be reached: {reason}", is_sent=False)
        return ConnectionFailed(f"{self._address} did not answer: {reason}")

    async def close(self) -> None:
        """Close all connections."""
        self.is_closed = True
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._client.aclose()


class AsyncStream:
    """The body of a response that has no end."""

    def __init__(self, http: AsyncHttp, response: httpx.Response) -> None:
        self._http = http
        self._response = response
        self._pieces = cast(AsyncGenerator[bytes, None], response.aiter_raw())

    async def receive(self) -> bytes | str | Closed:
        """See `core.interface.Connection`."""
        try:
            async for piece in self._pieces:
                return piece
        except (httpx.HTTPError, httpx.StreamError, RuntimeError) as error:
            raise self._http.failure(error) from error
        return Closed(None)

    async def send(self, text: str) -> None:
        """Refuse: a response has one direction."""
        raise NotImplementedError

    async def close(self) -> None:
        """Close the connection."""
        with contextlib.suppress(RuntimeError):  # it is running in a task that was not cancelled
            await self._pieces.aclose()
        await self._response.aclose()


def answer_of(response: httpx.Response, body: bytes) -> HttpResponse:
    """Return a response as the core expects it."""
    return HttpResponse(response.status_code, {name.lower(): value for name, value in response.headers.items()}, body)
