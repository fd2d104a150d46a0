"""Quotas over nodes, over each transport: what other nodes have counts, and a late refusal is the same one."""

from collections.abc import Iterator, Sequence

import pytest
from twisted.internet.defer import Deferred

from pushd.core.errors import Stopping, Unavailable
from pushd.core.usage import UsageReply, UsageReport
from pushd.hub.shared_quotas import _REPEAT_SECONDS
from tests.transports.in_memory_server import InMemoryServer
from tests.transports.test_quotas import GRANTS, MOST, ONE_WAY, REFUSED, TWO_WAY, connect, connections
from tests.transports.two_way_in_memory import Event, InMemoryPeer, Tokens, WebSocketPeer, server_with

OK = Event("ok")


class OtherNodes:
    """What other nodes have: the same of each subject and address. Answers can be delayed."""

    def __init__(self, server: InMemoryServer) -> None:
        self.connections = self.subscriptions = 0
        self.answering: Deferred[None] | None = None
        self.are_away = False
        self.reports: list[UsageReport] = []
        self._report = server.backend.report_usage
        server.backend.has_nodes = True
        server.backend.report_usage = self.report_usage  # type: ignore[method-assign]

    async def report_usage(self, reports: Sequence[UsageReport]) -> Sequence[UsageReply]:
        """See `Backend.report_usage`."""
        self.reports += reports
        if self.answering is not None:
            await self.answering
        if self.are_away:
            raise Unavailable("away")
        more = [
            each._replace(
                connections=each.connections + self.connections, subscriptions=each.subscriptions + self.subscriptions
            )
            for each in reports
        ]
        replies = await self._report(more)
        return [UsageReply(each.granted, self.subscriptions) for each in replies]


@pytest.fixture
def server() -> Iterator[InMemoryServer]:
    """A server in which the tokens of `GRANTS`, and anonymous peers, have quotas."""
    server = server_with(Tokens(GRANTS), GRANTS["few"])
    Deferred.fromCoroutine(server.start())
    yield server
    for transport in server.transports:
        transport.close_all(Stopping("the test is over"))
    server.stop()


@pytest.fixture
def others(server: InMemoryServer) -> OtherNodes:
    """The other nodes."""
    return OtherNodes(server)


@ONE_WAY
async def test_connection_beyond_the_quota_of_all_nodes_is_refused(
    server: InMemoryServer, others: OtherNodes, name: str
) -> None:
    others.connections = MOST - 1
    first = connect(server, name, "shop:alice:few")
    refused = connect(server, name, "shop:alice:few")
    assert refused.value() == b""  # claimed again after a while
    server.clock.advance(_REPEAT_SECONDS)
    assert refused.value().startswith(REFUSED.get(name, b"HTTP/1.1 429 "))
    if name == "sse":
        assert b"\nretry: " in refused.value()
    elif name == "websocket-v1":
        assert b"\x11\x4dsubject must not have more than 2 connections" in refused.value()  # 4429
    else:
        assert b"\r\nRetry-After: 10\r\n" in refused.value()
        assert b"too-many-connections" in refused.value()
    assert connections(server) == 1
    server.lose(first)
    server.lose(refused)
    assert others.reports[-1][1:] == (0, 0, [])
    assert (len(server.admission), dict(server.admission._by_network), len(server.hub._quotas)) == (0, {}, 0)
    assert sum(server.counters.connections.values()) == 0
    assert not server.hub._quotas.shared_keys()


@ONE_WAY
async def test_connection_that_the_other_node_lost_late_is_granted(
    server: InMemoryServer, others: OtherNodes, name: str
) -> None:
    others.connections = MOST
    connect(server, name, "shop:alice:few")
    others.connections = MOST - 1
    server.clock.advance(_REPEAT_SECONDS)
    assert connections(server) == 1
    assert not server.counters.refusals


@ONE_WAY
async def test_client_that_disconnects_before_the_answer_leaves_nothing_behind(
    server: InMemoryServer, others: OtherNodes, name: str
) -> None:
    others.answering = Deferred()
    transport = connect(server, name, "shop:alice:few")
    server.lose(transport)
    others.answering.callback(None)
    server.clock.advance(1)
    assert (len(server.admission), len(server.hub._quotas), connections(server)) == (0, 0, 0)
    assert others.reports[-1][1:] == (0, 0, [])
    assert not server.hub._quotas.shared_keys()


@ONE_WAY
async def test_topics_beyond_the_quota_of_all_nodes_are_refused(
    server: InMemoryServer, others: OtherNodes, name: str
) -> None:
    others.subscriptions = 3
    refused = connect(server, name, "shop:alice:wide")
    assert refused.value().startswith(b"HTTP/1.1 101 " if name == "websocket-v1" else b"HTTP/1.1 429 ")
    assert server.counters.refusals["too-many-subscriptions"] == 1
    server.lose(refused)
    others.subscriptions = 2
    connect(server, name, "shop:alice:wide")
    assert connections(server) == 1


@ONE_WAY
async def test_node_counts_alone_while_the_others_cannot_be_asked(
    server: InMemoryServer, others: OtherNodes, name: str
) -> None:
    others.connections = MOST
    others.answering = Deferred()
    transports = [connect(server, name, "shop:alice:few") for _ in range(MOST)]
    others.are_away = True
    others.answering.callback(None)
    assert connections(server) == MOST
    beyond = connect(server, name, "shop:alice:few")
    assert beyond.value().startswith(REFUSED.get(name, b"HTTP/1.1 429 "))
    others.are_away, others.reports = False, []
    server.clock.advance(1)
    assert [each[1:] for each in others.reports] == [(MOST, MOST, [])]
    server.lose(transports[0])
    assert connections(server) == MOST - 1


@TWO_WAY
async def test_idle_connection_beyond_the_quota_of_all_nodes_is_closed(
    server: InMemoryServer, others: OtherNodes, peer_class: type[InMemoryPeer]
) -> None:
    others.connections = MOST
    peer = peer_class(server)
    server.clock.advance(0)
    server.clock.advance(_REPEAT_SECONDS)
    assert connections(server) == 0
    assert server.counters.refusals["too-many-connections"] == 1
    sent = bytes(peer.transport.value())
    assert (b"\x11\x4daddress must" if peer_class is WebSocketPeer else b"-ERR too-many-connections address") in sent


@TWO_WAY
async def test_credential_beyond_the_quota_of_all_nodes_changes_nothing(
    server: InMemoryServer, others: OtherNodes, peer_class: type[InMemoryPeer]
) -> None:
    peer = peer_class(server)
    server.clock.advance(0)
    others.connections = MOST
    peer.ask({"auth": "shop:alice:few"})
    server.clock.advance(_REPEAT_SECONDS)
    others.connections = MOST - 1
    refused = Event("error", "too-many-connections", "subject must not have more than 2 connections")
    assert peer.ask({"subscribe": "a"}) == [refused, OK]
    assert peer.ask({"auth": "shop:alice:few"}) == [OK]
    assert server.hub._quotas.counts(("shop", "alice", None)) == (1, 1)
    peer.lose()
    assert [each for each in others.reports if each.key[1] == "alice"][-1][1:] == (0, 0, [])
    assert not server.hub._quotas.shared_keys()
