"""Outgoing HTTP requests: bounded in time and size, without redirects, compression and cookies."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, NamedTuple, NoReturn

from treq.client import HTTPClient
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IStreamClientEndpoint
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure
from twisted.python.url import URL
from twisted.web.client import (
    Agent,
    HTTPConnectionPool,
    RequestTransmissionFailed,
    ResponseDone,
    ResponseNeverReceived,
)
from twisted.web.http import PotentialDataLoss
from twisted.web.http_headers import Headers
from twisted.web.iweb import IAgent, IBodyProducer, IResponse
from zope.interface import implementer

from pushd.net.address_rules import CheckingReactor, problem_of

CONNECT_SECONDS = 5.0
"""How long a connection may take to open."""
MAX_BYTES = 1 << 16
"""The most bytes of the body of a response."""


class RequestFailed(Exception):
    """A request was not answered as expected. The text is a clause for the log.

    :param kind: a word for metrics.
    :param status: the status of the response, if that is what was not expected.
    :param retry_after: the value of its header ``Retry-After``, if it has one.
    """

    def __init__(
        self, text: str, kind: str = "connection", status: int | None = None, retry_after: str | None = None
    ) -> None:
        super().__init__(text)
        self.kind = kind
        self.status = status
        self.retry_after = retry_after


class OutgoingRequest(NamedTuple):
    """A request to a server whose address is in the configuration."""

    method: str
    url: str
    headers: Mapping[str, str] = {}
    body: bytes | None = None
    timeout: float = 5.0
    """Seconds in which the whole response must arrive."""
    is_notice: bool = False
    """Whether the response only confirms the request: each status from 200 to 299 does, and its body is not used."""


Send = Callable[[OutgoingRequest], Awaitable[bytes]]
"""Sends a request; returns the body of the response, or raises `RequestFailed`."""


def checked_sending(reactor: Any, pool: HTTPConnectionPool, problem: Callable[[str], str] = problem_of) -> Send:
    """Return what sends requests to addresses that are allowed only.

    :param problem: returns why nothing is sent to an address; empty if something is.
    """
    checking = CheckingReactor(reactor, problem)
    agent = Agent(checking, connectTimeout=CONNECT_SECONDS, pool=pool)

    async def send(request: OutgoingRequest) -> bytes:
        try:
            return await send_request(agent, request, reactor)
        except RequestFailed:
            if checking.refused:
                raise RequestFailed(checking.refused, "address") from None
            raise

    return send


async def send_request(agent: IAgent, request: OutgoingRequest, reactor: Any) -> bytes:
    """Return the body of the response, which must have the status 200, or confirm a notice.

    If the server closes the connection before any part of a response, the request is sent once more, whatever its
    method: servers close idle connections, perhaps just when the next request is sent. Notices are repeated by their
    sender.

    :raises RequestFailed: when there is none in time, or it is too large.
    """
    sending = Deferred.fromCoroutine(_send(HTTPClient(_UncompressedAgent(agent)), request))
    try:
        return await sending.addTimeout(request.timeout, reactor, _raise_timeout)
    except RequestFailed:
        raise
    except Exception as error:
        raise RequestFailed(_cause(error)) from None


async def _send(client: HTTPClient, request: OutgoingRequest) -> bytes:
    headers = Headers({name: [value] for name, value in request.headers.items()})
    headers.setRawHeaders("User-Agent", ["pushd"])

    url = _Url.from_text(request.url)

    def send() -> Any:
        return client.request(
            request.method,
            url,
            data=request.body,
            headers=headers,
            allow_redirects=False,
            unbuffered=True,
        )

    try:
        response = await send()
    except (RequestTransmissionFailed, ResponseNeverReceived) as error:
        if request.is_notice or _is_cancelled(error):
            raise
        response = await send()
    fault = _fault(response, is_notice=request.is_notice)
    reader = _BodyReader()
    response.deliverBody(reader)
    if fault is not None:
        reader.close()
        raise fault
    return await reader.done


class _Url(URL):
    """A URL whose host may be an IPv6 address: `URL.to_uri`, which treq calls, refuses it as a name."""

    def to_uri(self) -> URL:
        """See `URL`."""
        if ":" not in self.host:
            return super().to_uri()
        return URL.to_uri(self.replace(host="localhost")).replace(host=self.host)


def _is_cancelled(error: Exception) -> bool:
    return any(reason.check(CancelledError) for reason in getattr(error, "reasons", []))


def _raise_timeout(_: object, seconds: float) -> NoReturn:
    raise RequestFailed(f"no complete response within {seconds:g} seconds", "timeout")


def _fault(response: IResponse, *, is_notice: bool) -> RequestFailed | None:
    """Return what is wrong with the head of a response; None if nothing is."""
    if is_notice and 200 <= response.code < 300:
        return None
    if response.code != 200:
        note = " (redirects are not followed)" if 300 <= response.code < 400 else ""
        text = f"the response has the status {response.code}{note}"
        retry_after = response.headers.getRawHeaders("Retry-After", [None])[0]
        return RequestFailed(text, "status", response.code, retry_after)
    # Twisted adds an empty one to responses without it.
    if any(response.headers.getRawHeaders("Content-Encoding", [])):
        return RequestFailed("the response is compressed, although the request does not accept that", "invalid")
    return None


def _cause(error: Exception) -> str:
    """Return the text of an error of Twisted Web, which may wrap others in lists of reasons."""
    reasons = getattr(error, "reasons", None)
    if reasons:
        return _cause(reasons[0].value)
    return str(error).removesuffix(".") or type(error).__name__


class QuietConnectionPool(HTTPConnectionPool):
    """Connections to servers. Twisted logs nothing about each of them."""

    def getConnection(self, key: Any, endpoint: Any) -> Any:
        """See `HTTPConnectionPool`."""
        return super().getConnection(key, _QuietEndpoint(endpoint))


@implementer(IStreamClientEndpoint)
class _QuietEndpoint:
    """An endpoint whose factories do not log their start and stop."""

    def __init__(self, endpoint: Any) -> None:
        self._endpoint = endpoint

    def connect(self, protocolFactory: Any) -> Any:
        """See `IStreamClientEndpoint`."""
        protocolFactory.noisy = False
        return self._endpoint.connect(protocolFactory)


@implementer(IAgent)
class _UncompressedAgent:
    """An agent that does not accept compressed responses: a few bytes of one may become many megabytes.

    treq adds ``Accept-Encoding`` itself, and decompresses each response with a ``Content-Encoding`` that it supports.
    """

    def __init__(self, agent: IAgent) -> None:
        self._agent = agent

    def request(
        self, method: bytes, uri: bytes, headers: Headers | None = None, bodyProducer: IBodyProducer | None = None
    ) -> Deferred[IResponse]:
        """See `IAgent`."""
        headers = Headers() if headers is None else headers.copy()
        headers.setRawHeaders(b"Accept-Encoding", [b"identity"])
        return self._agent.request(method, uri, headers, bodyProducer).addCallback(_uncompressed)


def _uncompressed(response: IResponse) -> IResponse:
    """Rename the header of a compressed response, so that it is not decompressed."""
    encodings = response.headers.getRawHeaders(b"Content-Encoding")
    if encodings is not None:
        response.headers.removeHeader(b"Content-Encoding")
        response.headers.setRawHeaders(b"Content-Encoding", [b"not-decoded", *encodings])
    return response


class _BodyReader(Protocol):
    """Collects a body up to the limit. A longer one fails, and so does its connection."""

    transport: Any

    def __init__(self) -> None:
        self.done: Deferred[bytes] = Deferred(lambda _: self._close())
        self._parts: list[bytes] = []
        self._size = 0

    def dataReceived(self, data: bytes) -> None:
        """Called with a part of the body."""
        self._size += len(data)
        self._parts.append(data)
        if self._size > MAX_BYTES:
            self._fail(f"the response exceeds {MAX_BYTES} bytes", "invalid")
            self.close()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Called after the body."""
        if self.done.called:
            return
        # A body that ends with its connection may be incomplete; its parser finds out.
        if isinstance(reason.value, (ResponseDone, PotentialDataLoss)):
            self.done.callback(b"".join(self._parts))
        else:
            self._fail("the connection was lost before the end of the response")

    def close(self) -> None:
        """Close the connection; the rest of the body is not read."""
        if not self.done.called:
            self.done.callback(b"")
        self._close()

    def _close(self) -> None:
        if self.transport is not None:
            self.transport.loseConnection()

    def _fail(self, reason: str, kind: str = "connection") -> None:
        if not self.done.called:
            self.done.errback(RequestFailed(reason, kind))
