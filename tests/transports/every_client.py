"""The clients of all transports, for the promises that all transports make."""

import pytest

from tests.transports.bayeux_client import BayeuxPoll
from tests.transports.client import Client
from tests.transports.line_client import JsonLines, RawLines, TextLines
from tests.transports.long_poll_client import LongPoll
from tests.transports.multipart_client import Mixed
from tests.transports.stream_client import IframeScripts, LineStream, RawStream, Sse, SseJson, StreamClient
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
ALL_CLIENTS = (*CLIENTS, LongPoll, BayeuxPoll, IframeScripts)
"""The clients that stay connected, one that polls, a session of Bayeux, and a page of iframe streaming."""
NATIVE = (*CLIENTS, LongPoll)
"""The clients of the protocols of pushd.

Bayeux has no wildcards in the middle, and no `since=latest`: a session has one cursor, not one for each channel."""
STREAMS = tuple(client_class for client_class in CLIENTS if issubclass(client_class, StreamClient))
"""The clients of HTTP streams."""
REPORTING = tuple(client_class for client_class in CLIENTS if client_class.reports_gaps)
"""The clients of formats with ids, gaps and ends."""
DATA_ONLY = tuple(client_class for client_class in CLIENTS if not client_class.reports_gaps)
"""The clients of data-only formats."""
TWO_WAY = tuple(client_class for client_class in CLIENTS if client_class.is_two_way)
"""The clients that send commands."""
UNCONFINED = tuple(client_class for client_class in TWO_WAY if client_class is not JsonWebSocket)
"""The clients whose commands are not confined to the topics of a URL."""


def each_client(client_classes: tuple[type[Client], ...] = CLIENTS, name: str = "client_class") -> pytest.MarkDecorator:
    """Run a test once for each class of clients."""
    return pytest.mark.parametrize(name, client_classes, ids=[client_class.label for client_class in client_classes])
