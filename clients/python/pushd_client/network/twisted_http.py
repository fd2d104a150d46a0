"""HTTP for Twisted, by its Agent."""

from collections.abc import Coroutine
from typing import Any, TypeVar, cast

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import ConnectError, ConnectingCancelledError, DNSLookupError
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure
from twisted.web.client import (  # type: ignore[attr-defined]
    Agent,
    BrowserLikePolicyForHTTPS,
    HTTPConnectionPool,
    RequestGenerationFailed,
    RequestNotSent,
    RequestTransmissionFailed,
    ResponseDone,
    ResponseFailed,
)
from twisted.web.http import PotentialDataLoss
from twisted.web.http_headers import Headers
from twisted.web.iweb import IPolicyForHTTPS, IResponse

from ..core.address import Address
from ..core.interface import Closed, HttpRequest, HttpResponse
from ..errors import ClientClosed, ConnectionFailed, PushdError
from .body_producer import BytesProducer
from .sync_http import MAX_ANSWER

T = TypeVar("T")

_MAX_IDLE = 10
"""The most connections that are kept for later requests."""
_MOST_BUFFERED = 64 << 10
"""The bytes of a stream that are received ahead of the program. Then it is not read further, and the daemon queues."""
_UNSENT = (ConnectError, ConnectingCancelledError, DNSLookupError, RequestNotSent)
"""Failures before anything was sent."""
_FAILURES = (
    *_UNSENT,
    OSError,
    RequestGenerationFailed,
    RequestTransmissionFailed,
    ResponseFailed,
)


class TwistedHttp:
    """Sends requests with one reactor."""

    def __init__(self, reactor: Any, address: Address, policy: IPolicyForHTTPS | None) -> None:
        self.reactor = reactor
        self.policy: Any = policy or BrowserLikePolicyForHTTPS()
        self.is_closed = False
        self._address = address
        self._pool = HTTPConnectionPool(reactor, persistent=True)
        self._pool.maxPersistentPerHost = _MAX_IDLE
        self._pool.retryAutomatically = False  # the core repeats what may be repeated
        self._agent = Agent(reactor, self.policy, pool=self._pool)
        self._waiting: set[Deferred[Any]] = set()
        """What is waited for, and ends when the client is closed."""

    async def send(self, request: HttpRequest) -> HttpResponse:
        """See `core.interface.Network`."""
        return await self.until_closed(self._send(request), request.seconds)

    async def sleep(self, seconds: float) -> None:
        """Wait, unless the client is closed."""
        await self.until_closed(_sleep(self.reactor, seconds), seconds + 1)

    async def _send(self, request: HttpRequest) -> HttpResponse:
        response = await self.open(request)
        return answer_of(response, await self.read(response))

    async def open(self, request: HttpRequest) -> IResponse:
        """Send a request; return the response, whose body is not read yet."""
        headers = Headers({name: [value] for name, value in request.headers.items()})
        url = f"{self._address.origin}{request.target}".encode("ascii")
        body = None if request.body is None else BytesProducer(request.body)
        try:
            return await self._agent.request(request.method.encode("ascii"), url, headers, body)
        except _FAILURES as error:
            raise self._failure(error) from error

    async def read(self, response: IResponse) -> bytes:
        """Return the body of a response."""
        body = TwistedStream(self.reactor, None)
        response.deliverBody(body)
        pieces, size = [], 0
        while not isinstance(piece := await body.receive(), Closed):
            pieces.append(cast(bytes, piece))
            size += len(piece)
            if size > MAX_ANSWER:
                await body.close()
                raise ConnectionFailed(f"answer must not exceed {MAX_ANSWER} bytes")
        return b"".join(pieces)

    async def until_closed(self, coroutine: Coroutine[Any, Any, T], seconds: float) -> T:
        """Run a coroutine until it is complete, or the client is closed.

        :raises ConnectionFailed: when it takes longer than that time.
        :raises ClientClosed: when the client is closed.
        """
        if self.is_closed:
            coroutine.close()
            raise ClientClosed("the client is closed")
        is_late = False

        def expire() -> None:
            nonlocal is_late
            is_late = True
            running.cancel()

        running = Deferred.fromCoroutine(coroutine)
        result = _detached(running)
        timer = self.reactor.callLater(seconds, expire)
        self._waiting.add(running)
        try:
            return await result
        except (CancelledError, PushdError) as error:
            if self.is_closed:
                raise ClientClosed("the client is closed") from None
            if is_late:
                raise ConnectionFailed(f"{self._address} did not answer in {seconds:g} s") from error
            raise
        finally:
            self._waiting.discard(running)
            if timer.active():
                timer.cancel()

    async def close(self) -> None:
        """Close all connections."""
        self.is_closed = True
        for waiting in list(self._waiting):
            waiting.cancel()
        await self._pool.closeCachedConnections()

    def _failure(self, error: Exception) -> Exception:
        if isinstance(error, _UNSENT):
            return ConnectionFailed(f"{self._address} cannot be reached: {error}", is_sent=False)
        reasons = [failure.getErrorMessage() for failure in getattr(error, "reasons", ())]
        return ConnectionFailed(f"{self._address} did not answer: {'; '.join(reasons) or error}")


class TwistedStream(Protocol):
    """The body of a response; that of a subscription has no end.

    :param idle_seconds: the longest time without a byte; None: not limited here.
    """

    def __init__(self, clock: IReactorTime, idle_seconds: float | None) -> None:
        self._clock = clock
        self._idle_seconds = idle_seconds
        self._pieces: list[bytes] = []
        self._size = 0
        self._is_paused = False
        self._end: Closed | ConnectionFailed | None = None
        self._waiter: Deferred[None] | None = None
        """Fires when something has arrived."""

    def dataReceived(self, data: bytes) -> None:
        """Keep a piece, and stop reading when the program is too slow."""
        self._pieces.append(data)
        self._size += len(data)
        if self._size > _MOST_BUFFERED and not self._is_paused:
            self._is_paused = True
            self._producer().pauseProducing()
        self._wake()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Note how the body has ended."""
        if reason.check(ResponseDone, PotentialDataLoss):
            self._end = Closed(None)
        else:
            self._end = ConnectionFailed("the connection was lost")
        self._wake()

    async def receive(self) -> bytes | str | Closed:
        """See `core.interface.Connection`. Nothing is lost when it is cancelled."""
        if not self._pieces and self._end is None:
            await self._something()
        if self._pieces:
            piece = b"".join(self._pieces)
            self._pieces, self._size = [], 0
            if self._is_paused and self._end is None:
                self._is_paused = False
                self._producer().resumeProducing()
            return piece
        if isinstance(self._end, ConnectionFailed):
            raise self._end
        assert self._end is not None
        return self._end

    async def send(self, text: str) -> None:
        """Refuse: a response has one direction."""
        raise NotImplementedError

    async def close(self) -> None:
        """Close the connection."""
        if self._end is None:
            self._end = ConnectionFailed("the connection was closed")
            self._producer().stopProducing()
        self._wake()

    async def _something(self) -> None:
        waiter = self._waiter = Deferred()
        timer: IDelayedCall | None = None
        if self._idle_seconds is not None:
            timer = self._clock.callLater(self._idle_seconds, self._be_idle)
        try:
            await waiter
        finally:
            self._waiter = None
            if timer is not None and timer.active():
                timer.cancel()

    def _be_idle(self) -> None:
        if self._end is None:
            self._end = ConnectionFailed(f"nothing was received for {self._idle_seconds:g} s")
            self._producer().stopProducing()
        self._wake()

    def _producer(self) -> Any:
        return self.transport

    def _wake(self) -> None:
        waiter, self._waiter = self._waiter, None
        if waiter is not None:
            waiter.callback(None)


def answer_of(response: IResponse, body: bytes) -> HttpResponse:
    """Return a response as the core expects it."""
    names = response.headers.getAllRawHeaders()
    headers = {name.decode("latin-1").lower(): values[-1].decode("latin-1") for name, values in names}
    return HttpResponse(response.code, headers, body)


def _detached(running: "Deferred[T]") -> "Deferred[T]":
    """Return a Deferred for the result of another one, which it cancels; then it always fails with `CancelledError`.

    What runs may fail with another exception when it is cancelled, which the core would take for one to repeat.
    """
    is_cancelled = False

    def cancel(_: object) -> None:
        nonlocal is_cancelled
        is_cancelled = True
        running.cancel()

    def fire(result: Any) -> None:
        if not is_cancelled:
            detached.callback(result)

    detached: Deferred[T] = Deferred(cancel)
    running.addBoth(fire)
    return detached


async def _sleep(clock: IReactorTime, seconds: float) -> None:
    timer: IDelayedCall
    waiter: Deferred[None] = Deferred(lambda _: timer.cancel())
    timer = clock.callLater(seconds, waiter.callback, None)
    await waiter
