"""The connections of a synchronous subscription."""

import threading
from collections.abc import Callable

from ..core.address import Address
from ..core.interface import Connection, HttpRequest, HttpResponse
from ..errors import ClientClosed
from .sync_http import FAILURES, SyncHttp, SyncStream, answer_of, read_answer


class SyncSubscriptionNetwork:
    """Opens the connections of one subscription. One thread uses it, but any may close it."""

    def __init__(self, address: Address, http: SyncHttp, max_message_bytes: int) -> None:
        self._address = address
        self._http = http
        self._max_message_bytes = max_message_bytes
        self._closing = threading.Event()
        self._lock = threading.Lock()
        self._shut_down: Callable[[], None] | None = None
        """Ends what the thread of the subscription waits for."""

    @property
    def is_closed(self) -> bool:
        """Whether `close` was called."""
        return self._closing.is_set()

    async def open_stream(self, request: HttpRequest, idle_seconds: float) -> tuple[HttpResponse, Connection | None]:
        """See `core.interface.SubscriptionNetwork`."""
        connection = self._http.connection()
        connection.deadline.set_seconds(request.seconds)
        self.shut_down_by(connection.deadline.shut_down)
        try:
            response = connection.send_request(self._address, request)
            if response.status == 200:
                return answer_of(response, b""), SyncStream(self._http, connection, response, idle_seconds)
            answer = answer_of(response, read_answer(response))
        except FAILURES as error:
            connection.close()
            raise self._http.failure(error, connection) from error
        connection.close()
        return answer, None

    async def open_websocket(self, request: HttpRequest, idle_seconds: float) -> tuple[HttpResponse, Connection | None]:
        """See `core.interface.SubscriptionNetwork`."""
        from .sync_websocket import open_websocket

        return open_websocket(self, self._address, self._http, request, idle_seconds, self._max_message_bytes)

    async def sleep(self, seconds: float) -> None:
        """Wait, unless the subscription is closed."""
        if self._closing.wait(seconds):
            raise ClientClosed("the subscription is closed")

    def shut_down_by(self, shut_down: Callable[[], None]) -> None:
        """Set what ends the present connection, even while it is being opened.

        :raises ClientClosed: when the subscription is closed already.
        """
        with self._lock:
            if not self._closing.is_set():
                self._shut_down = shut_down
                return
        raise ClientClosed("the subscription is closed")

    def close(self) -> None:
        """End the present connection, and prevent others."""
        with self._lock:
            self._closing.set()
            shut_down = self._shut_down
        if shut_down is not None:
            shut_down()
