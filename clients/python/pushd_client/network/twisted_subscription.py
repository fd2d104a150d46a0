"""The connections of a subscription in Twisted."""

from ..core.address import Address
from ..core.interface import Connection, HttpRequest, HttpResponse
from .twisted_http import TwistedHttp, TwistedStream, answer_of


class TwistedSubscriptionNetwork:
    """Opens the connections of one subscription."""

    def __init__(self, address: Address, http: TwistedHttp, max_message_bytes: int) -> None:
        self._address = address
        self._http = http
        self._max_message_bytes = max_message_bytes

    async def open_stream(self, request: HttpRequest, idle_seconds: float) -> tuple[HttpResponse, Connection | None]:
        """See `core.interface.SubscriptionNetwork`."""
        return await self._http.until_closed(self._open_stream(request, idle_seconds), request.seconds)

    async def _open_stream(self, request: HttpRequest, idle_seconds: float) -> tuple[HttpResponse, Connection | None]:
        response = await self._http.open(request)
        if response.code != 200:
            return answer_of(response, await self._http.read(response)), None
        stream = TwistedStream(self._http.reactor, idle_seconds)
        response.deliverBody(stream)
        return answer_of(response, b""), stream

    async def open_websocket(self, request: HttpRequest, idle_seconds: float) -> tuple[HttpResponse, Connection | None]:
        """See `core.interface.SubscriptionNetwork`."""
        from .twisted_websocket import open_websocket

        opening = open_websocket(self._address, self._http, request, idle_seconds, self._max_message_bytes)
        return await self._http.until_closed(opening, request.seconds)

    async def sleep(self, seconds: float) -> None:
        """Wait, unless the client is closed."""
        await self._http.sleep(seconds)
