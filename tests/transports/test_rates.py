"""Rates of publishers, over every way to publish."""

import json
from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest
from twisted.internet.defer import Deferred

from pushd.core.errors import RateLimited, Refusal
from tests.transports.in_memory_server import CLIENT, InMemoryServer, request
from tests.transports.two_way_in_memory import Event, InMemoryPeer, LinePeer, Tokens, WebSocketPeer, server_with

BURST = 10
EVERYTHING: dict[str, object] = {"subscribe": ["**"], "publish": ["**"]}
GRANTS: dict[str, dict[str, object]] = {
    "slow": EVERYTHING | {"quota": {"messages_per_second": 1}},
    "small": EVERYTHING | {"quota": {"bytes_per_second": 1}},
    "fast": EVERYTHING,
}
OK, LIMITED = Event("ok"), "rate-limited"
PUBLISH = {"publish": "a", "data": "x"}
PEERS = (LinePeer, WebSocketPeer)
each_peer = pytest.mark.parametrize("peer_class", PEERS, ids=lambda peer_class: peer_class.label)


class Response(NamedTuple):
    """A response of HTTP."""

    status: int
    headers: dict[str, str]
    body: bytes


@pytest.fixture
def server() -> Iterator[InMemoryServer]:
    """A server in which tokens are needed, and anonymous peers may publish slowly."""
    server = server_with(Tokens(GRANTS), GRANTS["slow"])
    Deferred.fromCoroutine(server.start())
    yield server
    server.stop()


def fail(refusal: Refusal) -> Deferred[None]:
    """Return a Deferred that has failed."""
    failed: Deferred[None] = Deferred()
    failed.errback(refusal)
    return failed


def post(
    server: InMemoryServer, path: str, body: str = "x", token: str | None = "shop:alice:slow", **more: str
) -> Response:
    """Publish over HTTP."""
    fields = {"Host": "localhost", "X-Forwarded-For": CLIENT, "Content-Length": str(len(body))}
    fields |= {name.replace("_", "-"): value for name, value in more.items()}
    fields |= {} if token is None else {"Authorization": f"Bearer {token}"}
    lines = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
    transport = server.connect(is_http=True)
    protocol: Any = transport.protocol
    protocol.dataReceived(f"POST {path} HTTP/1.1\r\n{lines}\r\n{body}".encode())
    server.clock.advance(0)
    head, _, body_sent = bytes(transport.value()).partition(b"\r\n\r\n")
    status, *headers = head.decode().split("\r\n")
    server.lose(transport)
    return Response(int(status.split()[1]), dict(line.split(": ", 1) for line in headers), body_sent)


def authenticated(peer_class: type[InMemoryPeer], server: InMemoryServer, token: str) -> InMemoryPeer:
    """Return a peer with a token."""
    peer = peer_class(server)
    assert peer.ask({"auth": token}) == [OK]
    return peer


@each_peer
async def test_command_beyond_the_rate_is_refused_and_the_connection_stays(
    server: InMemoryServer, peer_class: type[InMemoryPeer]
) -> None:
    peer = authenticated(peer_class, server, "shop:alice:slow")
    for _ in range(BURST):
        assert peer.ask(PUBLISH) == [OK]
    (error,) = peer.ask(PUBLISH)
    assert error == Event("error", LIMITED, "messages published by this subject must not exceed 1 a second")
    assert peer.ask({"subscribe": "a"}) == [OK]
    server.clock.advance(1)
    assert peer.ask(PUBLISH)[0] == OK
    assert server.counters.refusals[LIMITED] == 1


@each_peer
async def test_pipelined_commands_are_refused_one_by_one(
    server: InMemoryServer, peer_class: type[InMemoryPeer]
) -> None:
    peer = authenticated(peer_class, server, "shop:alice:slow")
    events = peer.ask(*[PUBLISH] * (BURST + 3))
    assert [event.detail or event.kind for event in events] == [*["ok"] * BURST, *[LIMITED] * 3]
    assert server.counters.published == BURST


@each_peer
async def test_peer_without_a_rate_is_not_limited(server: InMemoryServer, peer_class: type[InMemoryPeer]) -> None:
    peer = authenticated(peer_class, server, "shop:alice:fast")
    assert peer.ask(*[PUBLISH] * 200) == [OK] * 200


@each_peer
async def test_rate_is_that_of_the_subject_over_all_transports(
    server: InMemoryServer, peer_class: type[InMemoryPeer]
) -> None:
    first = authenticated(LinePeer, server, "shop:alice:slow")
    first.send(*[PUBLISH] * BURST)
    assert authenticated(peer_class, server, "shop:alice:slow").ask(PUBLISH)[0].detail == LIMITED
    assert authenticated(peer_class, server, "shop:bob:slow").ask(PUBLISH) == [OK]
    assert post(server, "/pub/a").status == 429
    assert post(server, "/pub/a", token="shop:bob:slow").status == 202


@each_peer
async def test_quota_of_anonymous_peers_is_that_of_the_address(
    server: InMemoryServer, peer_class: type[InMemoryPeer]
) -> None:
    peers = [peer_class(server) for _ in range(2)]
    peers[0].send(*[PUBLISH] * BURST)
    (error,) = peers[1].ask(PUBLISH)
    assert error.text == "messages published by this address must not exceed 1 a second"
    peers[1].ask({"auth": "shop:alice:slow"})
    assert peers[1].ask(PUBLISH) == [OK]


async def test_http_publish_beyond_the_rate_is_429_with_the_headers_of_rate_limits(server: InMemoryServer) -> None:
    for _ in range(BURST):
        response = post(server, "/pub/a")
        assert response.status == 202
        assert "RateLimit" not in response.headers
    server.clock.advance(0.5)
    response = post(server, "/pub/a")
    assert response.status == 429
    assert json.loads(response.body)["error"]["code"] == LIMITED
    assert response.headers["Retry-After"] == "1"
    assert response.headers["RateLimit-Policy"] == '"messages";q=10;w=10'
    assert response.headers["RateLimit"] == '"messages";r=0;t=10'
    server.clock.advance(0.5)
    assert post(server, "/pub/a").status == 202


async def test_bytes_have_a_policy_of_their_own(server: InMemoryServer) -> None:
    assert post(server, "/pub/a", "123456", "shop:alice:small").status == 202
    response = post(server, "/pub/a", "123456", "shop:alice:small")
    assert response.status == 429
    assert response.headers["Retry-After"] == "2"
    assert response.headers["RateLimit-Policy"] == '"bytes";q=10;qu="content-bytes";w=10'
    assert response.headers["RateLimit"] == '"bytes";r=4;t=6'


async def test_http_publish_to_a_list_of_channels_is_refused_before_anything_is_stored(server: InMemoryServer) -> None:
    channels = ",".join("abcdefg")
    assert post(server, f"/pub/{channels}").status == 202
    assert post(server, f"/pub/{channels}").status == 429
    assert server.counters.published == 7
    assert post(server, "/pub/a,b,c").status == 202


async def test_batch_is_refused_line_by_line(server: InMemoryServer) -> None:
    body = '{"channel":"a","data":"x"}\n' * (BURST + 2)
    response = post(server, "/pub", body, Content_Type="application/x-ndjson")
    lines = [json.loads(line) for line in response.body.splitlines()]
    assert response.status == 200
    assert [line.get("error", {}).get("code", "ok") for line in lines] == [*["ok"] * BURST, *[LIMITED] * 2]
    assert server.counters.refusals[LIMITED] == 2


async def test_repeat_with_a_key_costs_nothing(server: InMemoryServer) -> None:
    for _ in range(2 * BURST):
        assert post(server, "/pub/a", Idempotency_Key="k").status == 202
    assert post(server, "/pub/" + ",".join("abcdefghi")).status == 202
    assert post(server, "/pub/a").status == 429
    assert server.counters.published == BURST


@pytest.mark.parametrize("publish", ["http", "tcp"])
async def test_limit_of_an_address_applies_without_authentication(publish: str) -> None:
    server = await InMemoryServer().start()
    server.hub.reconfigure(100, messages_per_second=1)
    peer = LinePeer(server)

    def is_accepted() -> bool:
        return peer.ask(PUBLISH) == [OK] if publish == "tcp" else post(server, "/pub/a", token=None).status == 202

    assert [is_accepted() for _ in range(BURST + 1)] == [*[True] * BURST, False]
    server.hub.reconfigure(100, messages_per_second=100)
    server.clock.advance(0.1)
    assert [is_accepted() for _ in range(BURST + 1)] == [*[True] * BURST, False]
    server.stop()


async def test_eventsource_that_is_limited_is_told_to_come_back(server: InMemoryServer) -> None:
    """After an error status it would never reconnect."""
    server.backend.opening = fail(RateLimited("too many subscriptions", 7))
    transport = server.connect(is_http=True)
    protocol: Any = transport.protocol
    protocol.dataReceived(request("/sse/a"))
    head, _, body = bytes(transport.value()).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 ")
    assert 7000 <= int(body.split(b"retry: ")[1].split(b"\n")[0]) <= 14_000
    assert server.counters.refusals[LIMITED] == 1


async def test_limited_handshake_is_a_close_code_with_the_subprotocol_and_a_status_without(
    server: InMemoryServer,
) -> None:
    server.backend.opening = fail(RateLimited("too many subscriptions"))
    assert WebSocketPeer(server, "/ws/a").events() == [Event("close", "4429", "too many subscriptions")]
    server.backend.opening = fail(RateLimited("too many subscriptions"))
    assert WebSocketPeer(server, "/ws/a", Sec_WebSocket_Protocol="").status == 429
