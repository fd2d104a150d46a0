"""The example in docs/adding-a-transport.md is a complete transport."""

import re
from collections.abc import AsyncIterator
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import pytest
import pytest_twisted
from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionDone
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure

from pushd.auth.authenticator import NO_AUTHENTICATION, Authenticator
from pushd.core.errors import Stopping, Unavailable
from pushd.core.grant import Grant
from pushd.core.history import Bounds
from pushd.core.message import draft
from pushd.core.outbox import QueueLimits
from pushd.core.peer import DAEMON
from pushd.hub.hub import Hub
from pushd.metrics import Counters
from pushd.net.admission import Admission
from tests.transports.in_memory_server import Backend

PAGE = Path(__file__).parents[2] / "docs/adding-a-transport.md"
_MOST_LINES = 80
"""Lines of the example, without its imports and empty lines."""


def example() -> str:
    """Return the Python code of the page."""
    (code,) = re.findall(r"^```python\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
    return str(code)


class Client(NamedTuple):
    """A client of the example."""

    protocol: Any
    transport: StringTransport

    @property
    def lines(self) -> list[str]:
        """The lines that it has received."""
        return bytes(self.transport.value()).decode().splitlines()

    def send(self, line: str) -> None:
        """Send a line."""
        self.protocol.dataReceived(line.encode() + b"\n")

    def lose(self) -> None:
        """Lose the connection."""
        self.protocol.connectionLost(Failure(ConnectionDone()))


class Server:
    """The example on a real hub with a memory backend."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.backend = Backend(Bounds(messages=3), self.clock, self.clock.seconds, "E")
        self.counters = Counters()
        self.hub = Hub(self.backend, self.clock, self.counters, wall=self.clock.seconds)
        self.admission = Admission(2, 2)
        module = ModuleType("tail")
        exec(compile(example(), PAGE.name, "exec"), module.__dict__)
        limits = QueueLimits(2, 1 << 20, budget=self.hub.budget)
        arguments = self.hub, self.clock, limits, self.admission, self.counters, NO_AUTHENTICATION
        self.factory: Any = module.TailFactory(*arguments)

    def connect(self) -> Client:
        """Accept a connection."""
        protocol = self.factory.buildProtocol(IPv4Address("TCP", "192.0.2.1", 1))
        transport = StringTransport()
        protocol.makeConnection(transport)
        return Client(protocol, transport)

    async def publish(self, *texts: str, end: bool = False) -> None:
        """Publish messages to channel `a`."""
        for text in texts:
            await self.hub.publish(DAEMON, draft("a", text.encode(), end=end))
            self.clock.advance(0)

    def only_id(self) -> str:
        """Return the id of the one connection."""
        (subscriber,) = self.hub.queries.connections(DAEMON, None, None, 2)
        return subscriber.peer.id

    def check_nothing_left(self, client: Client) -> None:
        """Check that the connection is removed, and its slot is released when it is lost."""
        assert list(self.hub.queries.connections(DAEMON, None, None, 9)) == []
        assert (self.counters.connections["tail"], self.hub.budget.used) == (0, 0)
        client.lose()
        assert len(self.admission) == 0


@pytest_twisted.async_yield_fixture
async def server() -> AsyncIterator[Server]:
    server = Server()
    await server.hub.start()
    yield server
    await server.hub.stop()


def test_the_example_is_short() -> None:
    lines = [line for line in example().splitlines() if line and not line.startswith(("from ", "import "))]
    assert 30 < len(lines) <= _MOST_LINES


async def test_a_client_subscribes_and_receives(server):
    client = server.connect()
    assert server.counters.connections["tail"] == 1
    await server.publish("before")
    client.send("a")
    await server.publish("one", "two")
    assert client.lines == ["MSG a E-2 one", "MSG a E-3 two"]
    (subscriber,) = server.hub.queries.connections(DAEMON, "a", None, 9)
    assert (subscriber.peer.transport, subscriber.peer.address) == ("tail", "192.0.2.1")


async def test_a_client_resumes_and_learns_what_is_missing(server):
    await server.publish("1", "2", "3", "4", "5")
    client = server.connect()
    client.send("a E-1")
    assert client.lines == ["GAP a E-1 E-2 evicted", "MSG a E-3 3", "MSG a E-4 4", "MSG a E-5 5"]
    await server.publish("6")
    assert client.lines[4:] == ["MSG a E-6 6"]


async def test_a_slow_client_is_paused_and_disconnected_when_its_queue_is_full(server):
    client = server.connect()
    client.send("a")
    client.protocol.pauseProducing()
    await server.publish("1", "2")
    assert client.lines == []
    client.protocol.resumeProducing()
    assert client.lines == ["MSG a E-1 1", "MSG a E-2 2"]
    client.protocol.pauseProducing()
    await server.publish("3", "4", "5")
    assert [line.split()[:2] for line in client.lines[2:]] == [["ERR", "slow"]]
    assert client.transport.disconnecting
    server.check_nothing_left(client)


async def test_a_kick_is_reported_and_closes(server):
    client = server.connect()
    client.send("a")
    server.hub.kicks.kick(DAEMON, server.only_id())
    assert client.lines == ["ERR kicked an operator closed this connection"]
    assert client.transport.disconnecting
    assert server.counters.disconnects["kicked"] == 1
    server.check_nothing_left(client)


async def test_a_client_that_disconnects_is_removed(server):
    client = server.connect()
    client.send("a")
    client.lose()
    assert len(server.admission) == 0
    assert list(server.hub.queries.connections(DAEMON, None, None, 10**6)) == []
    await server.publish("1")
    assert client.lines == []


async def test_a_client_that_does_not_read_is_aborted_after_a_while(server):
    client = server.connect()
    server.factory.close_all(Stopping("the daemon is shutting down"))
    assert client.lines == ["ERR stopping the daemon is shutting down"]
    server.clock.advance(4.9)
    assert not client.transport.disconnected
    server.clock.advance(0.2)
    assert client.transport.disconnected
    server.check_nothing_left(client)


async def test_the_end_of_its_last_channel_closes(server):
    both, one = server.connect(), server.connect()
    both.send("a,b")
    one.send("a")
    await server.publish("bye", end=True)
    assert both.lines == one.lines == ["MSG a E-1 bye", "END a"]
    assert (both.transport.disconnecting, one.transport.disconnecting) == (False, True)
    both.lose()
    server.check_nothing_left(one)


INVALID = {"a//b": "bad-topic", "a last:x": "bad-since", "x" * 20_000: "line-too-long"}


@pytest.mark.parametrize(("line", "code"), INVALID.items(), ids=INVALID.values())
async def test_an_invalid_line_is_refused(server, line, code):
    client = server.connect()
    client.send(line)
    assert [refused.split()[:2] for refused in client.lines] == [["ERR", code]]
    server.check_nothing_left(client)


@pytest.mark.parametrize("ending", ["kick", "lost", "refused", "bug"])
async def test_a_connection_that_ends_while_its_topics_are_opened(server, ending, request):
    if ending == "bug":
        request.getfixturevalue("expected_failures")
    opening: Deferred[None] = Deferred()
    server.backend.opening = opening
    client = server.connect()
    client.send("a")
    if ending == "kick":
        server.hub.kicks.kick(DAEMON, server.only_id())
    elif ending == "lost":
        client.lose()
    errors = {"refused": Unavailable("the backend is away"), "bug": RuntimeError("a bug")}
    opening.callback(None) if ending not in errors else opening.errback(Failure(errors[ending]))
    code = {"kick": ["kicked"], "lost": [], "refused": ["unavailable"], "bug": ["internal"]}[ending]
    assert [line.split()[1] for line in client.lines] == code
    assert list(server.hub.queries.connections(DAEMON, None, None, 9)) == []
    if ending != "lost":
        server.check_nothing_left(client)


async def test_too_many_connections_are_refused(server):
    server.connect()
    server.connect()
    assert server.factory.buildProtocol(IPv4Address("TCP", "192.0.2.1", 1)) is None
    assert server.counters.refusals["too-many-connections"] == 1


async def test_connections_beyond_the_quota_of_an_address_are_refused(server):
    grant = Grant.parse({"subscribe": ["**"], "quota": {"connections": 1}}, None, where="test")
    server.factory.authenticator = Authenticator((), server.clock.seconds, grant)
    first, refused = server.connect(), server.connect()
    assert refused.transport.disconnecting
    assert server.counters.refusals["too-many-connections"] == 1
    refused.send("a")
    refused.lose()
    first.send("a")
    await server.publish("1")
    assert first.lines == ["MSG a E-1 1"]
    first.lose()
    assert len(server.admission) == 0
