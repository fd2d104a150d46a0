"""HTTP over blocking sockets, by `http.client`: a pool of connections that threads share, and streams."""

import os
import ssl
import threading
from http.client import HTTPConnection, HTTPException, IncompleteRead
from http.client import HTTPResponse as ClientResponse

from ..core.address import Address
from ..core.interface import Closed, HttpRequest, HttpResponse
from ..errors import ClientClosed, ConnectionFailed
from .complete_response import CompleteResponse
from .deadline_socket import DeadlineSocket

MAX_ANSWER = 64 << 20
"""The most bytes of one answer, four times those of a history."""
_MAX_IDLE = 10
"""The most connections that are kept for later requests."""
_PIECE = 64 << 10
FAILURES = (OSError, HTTPException, ValueError)
"""What `http.client` raises when a connection fails or the answer is not HTTP."""


class HttpConnection(HTTPConnection):
    """A connection whose socket has a deadline and can be shut down by another thread."""

    response_class = CompleteResponse

    def __init__(self, address: Address, context: ssl.SSLContext | None) -> None:
        super().__init__(address.host, address.port)
        self._address = address
        self._context = context
        self.deadline = DeadlineSocket(address.host, address.port)
        self.is_reused = False

    def connect(self) -> None:
        """Connect, within the deadline of the socket."""
        self.deadline.connect(self._context)
        self.sock = self.deadline

    def send_request(self, address: Address, request: HttpRequest) -> ClientResponse:
        """Send a request; return the response, whose body is not read yet."""
        if self.sock is None:
            self.connect()
        self.putrequest(request.method, request.target, skip_host=True, skip_accept_encoding=True)
        self.putheader("Host", address.authority)
        if request.body is not None or request.method in ("POST", "PUT"):
            self.putheader("Content-Length", str(len(request.body or b"")))
        for name, value in request.headers.items():
            self.putheader(name, value)
        self.endheaders(request.body)
        return self.getresponse()


class SyncHttp:
    """Sends requests; threads may share it. Its coroutines never suspend."""

    def __init__(self, address: Address, context: ssl.SSLContext | None) -> None:
        self._address = address
        self._context = context
        if address.is_secure and context is None:
            self._context = ssl.create_default_context()
        self._lock = threading.Lock()
        self._idle: list[HttpConnection] = []
        self._busy: set[HttpConnection] = set()
        self._closing = threading.Event()
        self._process = os.getpid()

    @property
    def is_closed(self) -> bool:
        """Whether `close` was called."""
        return self._closing.is_set()

    @property
    def context(self) -> ssl.SSLContext | None:
        """The context of TLS; None without TLS."""
        return self._context if self._address.is_secure else None

    async def send(self, request: HttpRequest) -> HttpResponse:
        """See `core.interface.Network`."""
        connection = self._take()
        connection.deadline.set_seconds(request.seconds)
        is_reusable = False
        try:
            response = connection.send_request(self._address, request)
            answer = answer_of(response, read_answer(response))
            response.close()
            is_reusable = not response.will_close
            return answer
        except FAILURES as error:
            raise self.failure(error, connection) from error
        finally:
            self._give_back(connection, is_reusable=is_reusable)

    async def sleep(self, seconds: float) -> None:
        """Wait, unless the client is closed."""
        if self._closing.wait(seconds):
            raise ClientClosed("the client is closed")

    def connection(self) -> HttpConnection:
        """Return a new connection, which belongs to the caller."""
        return HttpConnection(self._address, self.context)

    def failure(self, error: Exception, connection: HttpConnection) -> Exception:
        """Return the exception for a connection that has failed."""
        if self.is_closed:
            return ClientClosed("the client is closed")
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        if isinstance(error, IncompleteRead):
            reason = "the connection was lost within the answer"
        if connection.deadline.is_connected:
            return ConnectionFailed(f"{self._address} did not answer: {reason}")
        return ConnectionFailed(f"{self._address} cannot be reached: {reason}", is_sent=False)

    def close(self) -> None:
        """Close all connections, and end all calls."""
        self._closing.set()
        with self._lock:
            idle, self._idle = self._idle, []
            busy = list(self._busy)
        for connection in idle:
            connection.close()
        for connection in busy:  # the thread that uses it closes it
            connection.deadline.shut_down()

    def _take(self) -> HttpConnection:
        """Return a connection that no other thread uses."""
        with self._lock:
            if self._process != os.getpid():  # after a fork: the connections belong to the parent
                self._process, self._idle, self._busy = os.getpid(), [], set()
            connection = self.connection()
            while self._idle:
                kept = self._idle.pop()
                if kept.deadline.is_quiet():
                    connection = kept
                    break
                kept.close()
            self._busy.add(connection)
        if self.is_closed:
            self._give_back(connection, is_reusable=False)
            raise ClientClosed("the client is closed")
        return connection

    def _give_back(self, connection: HttpConnection, *, is_reusable: bool) -> None:
        with self._lock:
            self._busy.discard(connection)
            if is_reusable and len(self._idle) < _MAX_IDLE and not self.is_closed:
                self._idle.append(connection)
                return
        connection.close()


class SyncStream:
    """The body of a response that has no end."""

    def __init__(
        self, http: SyncHttp, connection: HttpConnection, response: ClientResponse, idle_seconds: float
    ) -> None:
        self._http = http
        self._connection = connection
        self._response = response
        self._idle_seconds = idle_seconds
        self._is_broken = False

    async def receive(self) -> bytes | str | Closed:
        """See `core.interface.Connection`."""
        if self._is_broken:
            raise ConnectionFailed("the connection was interrupted")
        self._connection.deadline.set_seconds(self._idle_seconds)
        self._is_broken = True  # until the piece is complete: an exception such as KeyboardInterrupt may lose it
        try:
            piece = self._response.read1(_PIECE)
        except IncompleteRead as error:
            raise ConnectionFailed("the connection was lost") from error
        except FAILURES as error:
            raise self._http.failure(error, self._connection) from error
        self._is_broken = False
        return piece or Closed(None)

    async def send(self, text: str) -> None:
        """Refuse: a response has one direction."""
        raise NotImplementedError

    async def close(self) -> None:
        """Close the connection."""
        self._connection.deadline.shut_down()
        self._response.close()
        self._connection.close()


def read_answer(response: ClientResponse) -> bytes:
    """Return the body of a response, within the deadline of its socket.

    :raises ValueError: when it is too large.
    """
    pieces, size = [], 0
    while piece := response.read1(_PIECE):
        pieces.append(piece)
        size += len(piece)
        if size > MAX_ANSWER:
            raise ValueError(f"answer must not exceed {MAX_ANSWER} bytes")
    return b"".join(pieces)


def answer_of(response: ClientResponse, body: bytes) -> HttpResponse:
    """Return a response as the core expects it."""
    return HttpResponse(response.status, {name.lower(): value for name, value in response.getheaders()}, body)
