"""All ways of pushing, for tests of what they all promise."""

import pytest

from tests.transports.line_client import JsonLines, RawLines, TextLines
from tests.transports.multipart_client import Mixed
from tests.transports.peers import Peer
from tests.transports.polls import LongPoll
from tests.transports.sockets import BareSocket, CommandedSocket, JsonSocket
from tests.transports.streams import LineStream, RawStream, Sse, SseJson, StreamPeer

WAYS: tuple[type[Peer], ...] = (
    Sse,
    SseJson,
    LineStream,
    RawStream,
    Mixed,
    JsonSocket,
    CommandedSocket,
    BareSocket,
    TextLines,
    JsonLines,
    RawLines,
)
EVERY = (*WAYS, LongPoll)
"""Those that stay connected, and a client that comes again."""
STREAMS = tuple(way for way in WAYS if issubclass(way, StreamPeer))
"""The answers to HTTP requests."""
TELLING = tuple(way for way in WAYS if way.tells_gaps)
"""Those that tell ids, gaps and ends."""
BARE = tuple(way for way in WAYS if not way.tells_gaps)
"""Those that hold data only."""
TWO_WAY = tuple(way for way in WAYS if way.is_two_way)
"""Those that take commands."""
UNCONFINED = tuple(way for way in TWO_WAY if way is not JsonSocket)
"""Those that take commands about any topic, not only about those in the address."""


def each(ways: tuple[type[Peer], ...] = WAYS, name: str = "way") -> pytest.MarkDecorator:
    """Run a test once for each way."""
    return pytest.mark.parametrize(name, ways, ids=[way.way for way in ways])
