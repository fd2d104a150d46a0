"""Subscribes by ``/stream``: newline-delimited JSON."""

from collections import deque

from pushd.client.core.interface import Closed, Connection, HttpRequest, HttpResponse
from pushd.client.network.sync_subscription import SyncSubscriptionNetwork
from pushd.ctl.wires.request import for_transport


class StreamNetwork(SyncSubscriptionNetwork):
    """Opens ``/stream``."""

    async def open_stream(self, request: HttpRequest, idle_seconds: float) -> tuple[HttpResponse, Connection | None]:
        """See `SyncSubscriptionNetwork`."""
        request = for_transport(request, "stream", begin=1)
        response, connection = await super().open_stream(request, idle_seconds)
        return response, None if connection is None else LineConnection(connection)


class LineConnection:
    """Splits a response body into lines."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._lines: deque[bytes] = deque()
        self._rest: list[bytes] = []
        """The pieces of the line that is incomplete."""

    async def receive(self) -> bytes | str | Closed:
        """Return the next line. Raises as `Connection`."""
        while not self._lines:
            piece = await self._connection.receive()
            if isinstance(piece, Closed):
                return piece
            assert isinstance(piece, bytes)
            self._feed(piece)
        return self._lines.popleft().decode("utf-8", "replace")

    def _feed(self, piece: bytes) -> None:
        if b"\n" not in piece:
            self._rest.append(piece)
            return
        first, *lines, rest = piece.split(b"\n")
        complete = [b"".join([*self._rest, first]), *lines]
        self._lines += [line for line in complete if line.strip()]
        self._rest = [rest] if rest else []

    async def send(self, text: str) -> None:
        """Refuse: a response has one direction."""
        await self._connection.send(text)

    async def close(self) -> None:
        """Close the connection."""
        await self._connection.close()
