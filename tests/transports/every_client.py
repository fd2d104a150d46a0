"""The clients of all transports, for the promises that all transports make."""

import pytest

from tests.transports.bayeux_client import BayeuxPoll
from tests.transports.client import Client
from tests.transports.line_client import JsonLines, RawLines, TextLines
from tests.transports.long_poll_client import LongPoll
from tests.transports.multipart_client import Mixed
from tests.transports.session_clients import SESSION_STREAMS, SESSIONS, Comet4jStream, PushletPull
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
ALL_CLIENTS = (*CLIENTS, LongPoll, BayeuxPoll, IframeScripts, *SESSIONS)
"""The clients that stay connected, one that polls, a session of Bayeux, a page of iframe streaming, and sessions of
Pushlet and comet4j."""
STREAMING = (*CLIENTS, *SESSION_STREAMS)
"""The clients that stay connected, also those whose sessions request the next stream when one ends.

Such sessions have no `slow`, do not show the ends of channels, and come back after a kick."""
NATIVE = (*CLIENTS, LongPoll)
"""The clients of the protocols of pushd.

A subject of Pushlet is a prefix, and Bayeux has no wildcards in the middle. Sessions have no `since=latest`: they have
one cursor, not one for each channel."""
_QUICK = (PushletPull, Comet4jStream)
"""The clients of Pushlet and comet4j that represent the others where time is short."""
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


def each_client(
    client_classes: tuple[type[Client], ...] = CLIENTS, name: str = "client_class", *, is_quick: bool = False
) -> pytest.MarkDecorator:
    """Run a test once for each class of clients.

    :param is_quick: whether some of the clients of Pushlet and comet4j are not among the slow tests, as all are else.
    """
    slow = set(SESSIONS) - set(_QUICK if is_quick else ())
    params = [
        pytest.param(each, id=each.label, marks=[pytest.mark.slow] if each in slow else []) for each in client_classes
    ]
    return pytest.mark.parametrize(name, params)
