"""All ways of pushing, for tests of what they all promise."""

import pytest

from tests.transports.client import Client
from tests.transports.line_client import JsonLines, RawLines, TextLines
from tests.transports.long_poll_client import LongPoll
from tests.transports.multipart_client import Mixed
from tests.transports.stream_client import LineStream, RawStream, Sse, SseJson, StreamClient
from tests.transports.websocket_client import CommandWebSocket, DataWebSocket, JsonWebSocket

CLIENTS: tuple[type[Client], ...] = (
    Sse,
    SseJson,
    LineStream,
    RawStream,
    Mixed,
    JsonWebSocket,
    CommandWebSocket,
    DataWebSocket,
    TextLines,
    JsonLines,
    RawLines,
)
ALL_CLIENTS = (*CLIENTS, LongPoll)
"""Those that stay connected, and a client that comes again."""
STREAMS = tuple(client_class for client_class in CLIENTS if issubclass(client_class, StreamClient))
"""The answers to HTTP requests."""
REPORTING = tuple(client_class for client_class in CLIENTS if client_class.reports_gaps)
"""Those that tell ids, gaps and ends."""
DATA_ONLY = tuple(client_class for client_class in CLIENTS if not client_class.reports_gaps)
"""Those that hold data only."""
TWO_WAY = tuple(client_class for client_class in CLIENTS if client_class.is_two_way)
"""Those that take commands."""
UNCONFINED = tuple(client_class for client_class in TWO_WAY if client_class is not JsonWebSocket)
"""Those that take commands about any topic, not only about those in the address."""


def each_client(client_classes: tuple[type[Client], ...] = CLIENTS, name: str = "client_class") -> pytest.MarkDecorator:
    """Run a test once for each way."""
    return pytest.mark.parametrize(name, client_classes, ids=[client_class.label for client_class in client_classes])
