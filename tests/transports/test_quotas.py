"""Quotas of connections and subscriptions, over each transport."""

from collections.abc import Iterator
from typing import Any

import pytest
from twisted.internet.defer import Deferred

from pushd.core.errors import Stopping
from pushd.core.peer import DAEMON
from tests.transports.in_memory_server import HANDSHAKE, InMemoryServer, ServerTransport, request
from tests.transports.two_way_in_memory import Event, InMemoryPeer, LinePeer, Tokens, WebSocketPeer, server_with

MOST = 2
EVERYTHING: dict[str, object] = {"subscribe": ["**"], "publish": ["**"]}
GRANTS: dict[str, dict[str, object]] = {
    "few": EVERYTHING | {"quota": {"connections": MOST, "subscriptions": 2 * MOST}},
    "wide": EVERYTHING | {"quota": {"subscriptions": 3}},
    "all": EVERYTHING,
}
REQUESTS = {
    "sse": request("/sse/{}", Authorization="Bearer {}"),
    "stream": request("/stream/{}", Authorization="Bearer {}"),
    "multipart": request("/multipart/{}", Authorization="Bearer {}"),
    "mixed": request("/mixed/{}", Authorization="Bearer {}"),
    "websocket": request("/ws/{}", Authorization="Bearer {}", **HANDSHAKE),
    "websocket-v1": request("/ws/{}", Authorization="Bearer {}", **HANDSHAKE, Sec_WebSocket_Protocol="pushd.v1"),
    "longpoll": request("/longpoll/{}", Authorization="Bearer {}"),
    "pull": request("/pull/{}?interval=0&since=E-0", Authorization="Bearer {}"),
}
"""Requests for topics with a token."""
REFUSED = {"sse": b"HTTP/1.1 200 ", "websocket-v1": b"HTTP/1.1 101 "}
"""The start of the answer to a request that the quota does not allow; the others get 429."""
ONE_WAY = pytest.mark.parametrize("name", REQUESTS)
TWO_WAY = pytest.mark.parametrize("peer_class", (LinePeer, WebSocketPeer), ids=lambda peer_class: peer_class.label)
OK = Event("ok")


@pytest.fixture(params=["one node", "several nodes"])
def server(request: pytest.FixtureRequest) -> Iterator[InMemoryServer]:
    """A server in which the tokens of `GRANTS`, and anonymous peers, have quotas."""
    server = server_with(Tokens(GRANTS), GRANTS["few"])
    server.backend.has_nodes = request.param == "several nodes"
    Deferred.fromCoroutine(server.start())
    yield server
    for transport in server.transports:
        transport.close_all(Stopping("the test is over"))
    server.stop()


def connect(server: InMemoryServer, name: str, token: str, topics: str = "a") -> ServerTransport:
    """Send a request."""
    transport = server.connect(is_http=True)
    protocol: Any = transport.protocol
    protocol.dataReceived(REQUESTS[name].replace(b"{}", topics.encode(), 1).replace(b"{}", token.encode()))
    return transport


def connections(server: InMemoryServer) -> int:
    """Return the number of open connections with a subscriber."""
    return len(server.hub.queries.connections(DAEMON, None, None, 99))


@ONE_WAY
async def test_connection_beyond_the_quota_is_refused_until_another_one_ends(server: InMemoryServer, name: str) -> None:
    first, *_ = [connect(server, name, "shop:alice:few") for _ in range(MOST)]
    refused = connect(server, name, "shop:alice:few")
    assert refused.value().startswith(REFUSED.get(name, b"HTTP/1.1 429 "))
    assert server.counters.refusals["too-many-connections"] == 1
    if name == "sse":
        assert b"\nretry: " in refused.value()
    elif name == "websocket-v1":
        assert b"\x11\x4dsubject must not have more than 2 connections" in refused.value()  # 4429
    else:
        assert b"\r\nRetry-After: 10\r\n" in refused.value()
        assert b"too-many-connections" in refused.value()
    connect(server, name, "shop:bob:few")
    assert connections(server) == MOST + 1
    server.lose(first)
    assert connections(server) == MOST
    connect(server, name, "shop:alice:few")
    assert connections(server) == MOST + 1


@ONE_WAY
async def test_refused_connection_leaves_nothing_behind(server: InMemoryServer, name: str) -> None:
    transports = [connect(server, name, "shop:alice:few") for _ in range(MOST + 1)]
    for transport in transports:
        server.lose(transport)
    assert (len(server.admission), dict(server.admission._by_network), len(server.hub._quotas)) == (0, {}, 0)
    assert sum(server.counters.connections.values()) == 0


@ONE_WAY
async def test_topics_beyond_the_quota_are_refused(server: InMemoryServer, name: str) -> None:
    """Client pull has one topic only."""
    topics = ("a", "b") if name == "pull" else ("a,b",)
    kept = [connect(server, name, "shop:alice:wide", each) for each in (*topics, "c")]
    refused = connect(server, name, "shop:alice:wide", "d")
    status = b"HTTP/1.1 101 " if name == "websocket-v1" else b"HTTP/1.1 429 "
    assert refused.value().startswith(status)
    assert server.counters.refusals["too-many-subscriptions"] == 1
    server.lose(kept[0])
    before = connections(server)
    connect(server, name, "shop:alice:wide", "d")
    assert connections(server) == before + 1


async def test_connections_of_all_transports_count_together(server: InMemoryServer) -> None:
    connect(server, "sse", "shop:alice:few")
    connect(server, "longpoll", "shop:alice:few")
    peer = LinePeer(server)
    assert peer.ask({"auth": "shop:alice:few"}) == [
        Event("error", "too-many-connections", "subject must not have more than 2 connections")
    ]
    assert peer.ask({"subscribe": "a"}) == [OK]  # as before
    assert peer.ask({"auth": "shop:bob:few"}) == [OK]


@TWO_WAY
async def test_connections_of_an_address_without_a_token(
    server: InMemoryServer, peer_class: type[InMemoryPeer]
) -> None:
    peers = [peer_class(server) for _ in range(MOST)]
    assert all(peer.ask({"subscribe": "a"}) == [OK] for peer in peers)
    refused = server.connect(is_http=False) if peer_class is LinePeer else WebSocketPeer(server).transport
    server.clock.advance(0)
    sent = bytes(refused.value())
    if peer_class is LinePeer:
        assert sent == b"-ERR too-many-connections address must not have more than 2 connections\r\n"
        assert refused.disconnecting
        refused.protocol.dataReceived(b"SUB a\r\nPUB a x\r\n")
        assert bytes(refused.value()) == sent
    assert server.counters.refusals["too-many-connections"] == 1
    assert connections(server) == MOST
    server.lose(refused)
    peers[0].ask({"auth": "shop:alice:few"})
    assert peer_class(server).ask({"subscribe": "a"}) == [OK]


@TWO_WAY
async def test_commands_beyond_the_quota_of_topics_are_refused(
    server: InMemoryServer, peer_class: type[InMemoryPeer]
) -> None:
    first, second = peer_class(server), peer_class(server)
    for peer in (first, second):
        peer.ask({"auth": "shop:alice:wide"})
    assert first.ask({"subscribe": "a,b"} if peer_class is LinePeer else {"subscribe": "a"}) == [OK]
    assert first.ask({"subscribe": "b"}) == [OK]
    assert second.ask({"subscribe": "a"}) == [OK]
    (error,) = second.ask({"subscribe": "c"})
    assert error == Event("error", "too-many-subscriptions", "subject must not have more than 3 subscriptions")
    assert first.ask({"unsubscribe": "a"}, {"subscribe": "c"}) == [OK, OK]
    first.lose()
    assert second.ask({"subscribe": "b"}, {"subscribe": "c"}) == [OK, OK]


@TWO_WAY
async def test_credential_moves_a_connection_and_its_topics(
    server: InMemoryServer, peer_class: type[InMemoryPeer]
) -> None:
    other = peer_class(server)
    other.ask({"auth": "shop:alice:wide"}, {"subscribe": "a"}, {"subscribe": "b"})
    peer = peer_class(server)
    peer.ask({"subscribe": "x"}, {"subscribe": "y"})
    (error,) = peer.ask({"auth": "shop:alice:wide"})
    assert error.detail == "too-many-subscriptions"
    peer.ask({"unsubscribe": "x"})
    assert peer.ask({"auth": "shop:alice:wide"}) == [OK]
    assert peer.ask({"subscribe": "z"})[0].detail == "too-many-subscriptions"


async def test_subject_without_a_quota_is_not_limited(server: InMemoryServer) -> None:
    for _ in range(5):
        connect(server, "sse", "shop:alice:all", ",".join("abcdefgh"))
    assert connections(server) == 5
