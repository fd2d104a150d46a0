"""A WebSocket for asyncio, by the package `websockets`."""

from ..core.address import Address
from ..core.interface import Closed, Connection, HttpRequest, HttpResponse
from ..errors import ConnectionFailed
from .asyncio_http import AsyncHttp
from .optional import missing
from .websocket_options import closed_by, connect_options, response_of

try:
    from websockets.asyncio.client import ClientConnection, connect
    from websockets.exceptions import ConnectionClosed, InvalidStatus, WebSocketException
except ImportError as error:
    raise missing("websockets", "websocket", 'transport="websocket"') from error


async def open_websocket(
    address: Address, http: AsyncHttp, request: HttpRequest, idle_seconds: float, max_message_bytes: int
) -> tuple[HttpResponse, Connection | None]:
    """See `core.interface.SubscriptionNetwork`."""
    options = connect_options(idle_seconds, request.seconds, max_message_bytes, request.headers)
    try:
        connection = await connect(f"{address.websocket_origin}{request.target}", ssl=http.context, **options)
    except InvalidStatus as error:
        return response_of(error.response), None
    except (OSError, EOFError, WebSocketException) as error:
        raise ConnectionFailed(f"{address} cannot be reached: {error or type(error).__name__}") from error
    assert connection.response is not None
    return response_of(connection.response), AsyncWebSocket(connection)


class AsyncWebSocket:
    """An open WebSocket."""

    def __init__(self, connection: ClientConnection) -> None:
        self._connection = connection

    async def receive(self) -> bytes | str | Closed:
        """See `core.interface.Connection`. Nothing is lost when it is cancelled."""
        try:
            return await self._connection.recv()
        except ConnectionClosed as error:
            return closed_by(error)

    async def send(self, text: str) -> None:
        """See `core.interface.Connection`."""
        try:
            await self._connection.send(text)
        except ConnectionClosed as error:
            raise ConnectionFailed("the connection was lost") from error

    async def close(self) -> None:
        """Close it with code 1000, so that a member leaves at once."""
        await self._connection.close()
