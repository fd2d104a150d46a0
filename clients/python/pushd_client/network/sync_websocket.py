"""A blocking WebSocket, by the package `websockets`."""

from typing import TYPE_CHECKING, cast

from ..core.address import Address
from ..core.interface import Closed, Connection, HttpRequest, HttpResponse
from ..errors import ClientClosed, ConnectionFailed
from .optional import missing
from .sync_http import SyncHttp
from .websocket_options import closed_by, connect_options, response_of

try:
    from websockets.exceptions import ConnectionClosed, InvalidStatus, WebSocketException
    from websockets.sync.client import ClientConnection, connect
except ImportError as error:
    raise missing("websockets", "websocket", 'transport="websocket"') from error

if TYPE_CHECKING:
    from .sync_subscription import SyncSubscriptionNetwork


def open_websocket(
    network: "SyncSubscriptionNetwork",
    address: Address,
    http: SyncHttp,
    request: HttpRequest,
    idle_seconds: float,
    max_message_bytes: int,
) -> tuple[HttpResponse, Connection | None]:
    """See `core.interface.SubscriptionNetwork`."""
    opening = http.connection()
    deadline = opening.deadline
    deadline.set_seconds(request.seconds)
    network.shut_down_by(deadline.shut_down)
    options = connect_options(idle_seconds, request.seconds, max_message_bytes, request.headers)
    try:
        sock = deadline.connect_plain()
        sock.settimeout(None)
        url = f"{address.websocket_origin}{request.target}"
        opened = connect(url, sock=sock, ssl=http.context, server_hostname=address.tls_name, **options)
        # As a context manager: a future version opens the connection only then.
        connection = cast(ClientConnection, opened.__enter__())
    except InvalidStatus as error:
        return response_of(error.response), None
    except (OSError, EOFError, WebSocketException) as error:
        raise http.failure(error, opening) from error
    try:
        network.shut_down_by(connection.close)
    except ClientClosed:
        connection.close()
        raise
    assert connection.response is not None
    return response_of(connection.response), SyncWebSocket(connection)


class SyncWebSocket:
    """An open WebSocket."""

    def __init__(self, connection: ClientConnection) -> None:
        self._connection = connection

    async def receive(self) -> bytes | str | Closed:
        """See `core.interface.Connection`."""
        try:
            return self._connection.recv()
        except ConnectionClosed as error:
            return closed_by(error)

    async def send(self, text: str) -> None:
        """See `core.interface.Connection`."""
        try:
            self._connection.send(text)
        except ConnectionClosed as error:
            raise ConnectionFailed("the connection was lost") from error

    async def close(self) -> None:
        """Close it with code 1000, so that a member leaves at once."""
        self._connection.close()
