"""Quotas over nodes that share a Redis: what a subject has at all of them together, whatever happens meanwhile."""

import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest
import pytest_twisted
from twisted.internet.defer import Deferred, DeferredList
from twisted.internet.task import deferLater

from pushd.core.errors import RateLimited, Refusal, TooManyConnections, TooManySubscriptions
from pushd.core.grant import Grant
from pushd.core.identity import Identity
from pushd.core.message import draft
from pushd.core.peer import DAEMON, Peer
from pushd.core.subscriber import SubscriberClosed
from tests.backends.nodes import Ear, Node
from tests.backends.redis_server import RedisServer, until
from tests.backends.sentinels import Watched

Start = Callable[..., Awaitable[Node]]

TERM = 2.0
CONNECTIONS, SUBSCRIPTIONS = 4, 6
QUOTA = {"connections": CONNECTIONS, "subscriptions": SUBSCRIPTIONS}


def identity_of(subject: str, **quota: int) -> Identity:
    """Return an identity with a quota."""
    return Identity(subject, Grant.parse({"subscribe": ["**"], "quota": quota or QUOTA}, subject, where="test"), "shop")


class Visitor(Ear):
    """A subscriber whose subject has a quota."""

    def __init__(self, node: Node, identity: Identity | None = None, address: str = "192.0.2.1") -> None:
        grant = identity_of("anonymous").grant if identity is None else identity.grant
        super().__init__(node.hub, (), peer=Peer("ear", address, grant, identity, address))


async def come(node: Node, identity: Identity | None = None, *topics: str, address: str = "192.0.2.1") -> Visitor:
    """Connect and subscribe."""
    visitor = Visitor(node, identity, address)
    try:
        await node.hub.subscribe(visitor.subscriber, topics or ("a",))
    except SubscriberClosed:
        assert visitor.given_up is not None
        raise visitor.given_up from None
    except Refusal:
        if not visitor.subscriber.is_closed:
            node.hub.remove(visitor.subscriber)
        raise
    return visitor


async def come_at_once(nodes: list[Node], identity: Identity, count: int) -> list[Visitor]:
    """Connect many times at the same time, and return those who were not refused."""
    coming = [Deferred.fromCoroutine(come(nodes[number % len(nodes)], identity)) for number in range(count)]
    return [visitor for was_granted, visitor in await DeferredList(coming, consumeErrors=True) if was_granted]


def leave(node: Node, *visitors: Visitor) -> None:
    """Disconnect."""
    for visitor in visitors:
        node.hub.remove(visitor.subscriber)


def stored(redis: RedisServer) -> list[tuple[int, int]]:
    """Return what is stored of all keys, by node."""
    values: list[tuple[int, int]] = []
    for key in redis.ask("KEYS", "pushd:usage:*"):
        for value in redis.ask("HVALS", key):
            connections, subscriptions = value.split()
            values.append((int(connections), int(subscriptions)))
    return sorted(values)


async def pause(seconds: float) -> None:
    """Let time pass, which Redis measures."""
    from twisted.internet import reactor

    await deferLater(reactor, seconds)


@pytest_twisted.async_yield_fixture
async def three(redis: RedisServer, node: Start) -> AsyncIterator[list[Node]]:
    """Three nodes, which hold their leases and wait for Redis however loaded the machine is."""
    yield [await node(redis.url) for _ in range(3)]


@pytest_twisted.async_yield_fixture
async def brief(redis: RedisServer, node: Start) -> AsyncIterator[list[Node]]:
    """Three nodes with leases that are soon over."""
    yield [await node(redis.url, lease_seconds=TERM) for _ in range(3)]


@pytest.mark.parametrize("subject", ["alice", None])
async def test_connections_of_all_nodes_count_together(
    three: list[Node], redis: RedisServer, subject: str | None
) -> None:
    identity = None if subject is None else identity_of(subject)
    visitors = [await come(three[number % 2], identity) for number in range(CONNECTIONS)]
    for each in three:
        with pytest.raises(TooManyConnections, match="must not have more than 4 connections"):
            await come(each, identity)
    await come(three[2], identity_of("bob"))
    await come(three[2], None, address="192.0.2.9")
    leave(three[0], visitors[0])
    await come(three[2], identity)
    await until(lambda: sum(connections for connections, _ in stored(redis)) == CONNECTIONS + 2, "reports")


async def test_connection_without_topics_is_closed(three: list[Node]) -> None:
    for number in range(CONNECTIONS):
        await come(three[number % 2], identity_of("alice"))
    visitor = Visitor(three[2], identity_of("alice"))
    assert visitor.given_up is None
    await until(lambda: visitor.given_up is not None, "the refusal")
    assert isinstance(visitor.given_up, TooManyConnections)
    assert len(three[2].hub._quotas) == 0


async def test_topics_of_all_nodes_count_together(three: list[Node], redis: RedisServer) -> None:
    first = await come(three[0], identity_of("alice"), "a", "b", "c")
    second = await come(three[1], identity_of("alice"), "a", "b")
    with pytest.raises(TooManySubscriptions, match="subject must not have more than 6 subscriptions"):
        await three[1].hub.subscribe(second.subscriber, ("c", "d"))
    assert set(second.subscriber.starts) == {"a", "b"}
    await three[1].hub.subscribe(second.subscriber, ("a", "b", "c"))
    with pytest.raises(TooManySubscriptions):
        await come(three[2], identity_of("alice"), "a")
    three[0].hub.unsubscribe(first.subscriber, ("a",))
    await come(three[2], identity_of("alice"), "a")
    await until(lambda: stored(redis) == [(1, 1), (1, 2), (1, 3)], "reports")


async def test_burst_at_all_nodes_gets_exactly_the_quota(three: list[Node], redis: RedisServer) -> None:
    for _ in range(5):
        granted = await come_at_once(three, identity_of("alice"), 60)
        assert len(granted) == CONNECTIONS
        for visitor in granted:
            visitor._hub.remove(visitor.subscriber)
        await until(lambda: stored(redis) == [], "nothing left")
        assert redis.ask("EXISTS", "pushd:owners:usage") == 0


async def test_new_credential_is_claimed_at_all_nodes(three: list[Node]) -> None:
    alice = identity_of("alice")
    for number in range(CONNECTIONS):
        await come(three[number % 2], alice)
    visitor = await come(three[2], None, "x")
    hub = three[2].hub
    with pytest.raises(TooManyConnections):
        await hub.shared_quotas.claim_move(visitor.subscriber.peer, alice)
    bob = identity_of("bob")
    await hub.shared_quotas.claim_move(visitor.subscriber.peer, bob)
    hub.credentials.accept(visitor.subscriber, bob)
    assert len(await come_at_once(three, bob, 20)) == CONNECTIONS - 1
    await until(lambda: not hub.shared_quotas._changed, "reports")


async def test_peers_without_a_quota_are_not_reported(three: list[Node], redis: RedisServer) -> None:
    ears = [await each.ear("a") for each in three]
    await pause(0.1)
    assert stored(redis) == []
    assert not three[0].hub._quotas.shared_keys()
    assert len(ears) == 3


async def test_quota_of_a_node_that_is_gone_is_free_again(brief: list[Node], redis: RedisServer) -> None:
    for number in range(CONNECTIONS):
        await come(brief[number % 2], identity_of("alice"))
    brief[0].backend._lease._loop.stop()  # as if it was killed
    assert await come_at_once(brief[2:], identity_of("alice"), 5) == []
    await until(lambda: stored(redis) == [(2, 2)], "dropped")
    assert len(await come_at_once(brief[2:], identity_of("alice"), 5)) == CONNECTIONS // 2


async def test_quota_of_a_node_that_stops_is_free_at_once(three: list[Node], redis: RedisServer, node: Start) -> None:
    other = await Node(redis.url).start()
    for _ in range(CONNECTIONS):
        await come(other, identity_of("alice"))
    assert await come_at_once(three, identity_of("alice"), 5) == []
    await other.stop()
    assert len(await come_at_once(three, identity_of("alice"), 20)) == CONNECTIONS


async def test_node_that_returns_reports_again(brief: list[Node], redis: RedisServer) -> None:
    for _ in range(CONNECTIONS):
        await come(brief[0], identity_of("alice"))
    lease = brief[0].backend._lease
    lease._loop.stop()
    await until(lambda: stored(redis) == [], "dropped")
    lease.start()
    await until(lambda: stored(redis) == [(CONNECTIONS, CONNECTIONS)], "reported")
    assert await come_at_once(brief, identity_of("alice"), 5) == []


async def test_flushed_redis_gets_all_counts_back(three: list[Node], redis: RedisServer) -> None:
    for number in range(CONNECTIONS):
        await come(three[number % 2], identity_of("alice"))
    redis.ask("FLUSHALL")
    await until(lambda: stored(redis) == [(2, 2), (2, 2)], "reported")
    assert await come_at_once(three, identity_of("alice"), 5) == []


async def test_rates_of_all_nodes_count_together(three: list[Node], redis: RedisServer) -> None:
    grant = Grant.parse({"publish": ["a"], "quota": {"messages_per_second": 2}}, "alice", where="test")
    peer = Peer("tcp", "192.0.2.1", grant, Identity("alice", grant, "shop"))
    began = time.monotonic()
    for _ in range(20):
        await three[0].hub.publish(peer, draft("a", b"x"))
    await until(lambda: redis.ask("ZCARD", "pushd:rates") == 1, "the exchange")
    await three[1].hub.publish(peer, draft("a", b"x"))
    await until(lambda: three[1].hub._publisher.rates.shared._exchanged, "the exchange of the other node")
    published = 0
    with pytest.raises(RateLimited):
        while published < 20:
            await three[1].hub.publish(peer, draft("a", b"x"))
            published += 1
    assert published <= 2 + 2 * (time.monotonic() - began)
    assert await three[1].hub.publish(DAEMON, draft("a", b"x"))


@pytest.mark.system
async def test_each_node_counts_alone_while_redis_is_away(own_redis: Callable[..., RedisServer], node: Start) -> None:
    redis = own_redis()
    nodes = [await node(redis.url, lease_seconds=TERM, publish_timeout=3.0) for _ in range(2)]
    await come(nodes[0], identity_of("alice"))
    redis.kill()
    visitors = [Visitor(nodes[1], identity_of("alice")) for _ in range(CONNECTIONS)]
    with pytest.raises(TooManyConnections):
        Visitor(nodes[1], identity_of("alice"))
    await pause(0.1)
    assert [visitor.given_up for visitor in visitors] == [None] * CONNECTIONS
    redis.start()
    for each in nodes:
        await each.until_well()
    await until(lambda: stored(redis) == [(1, 1), (CONNECTIONS, 0)], "reported")
    assert await come_at_once(nodes, identity_of("alice"), 5) == []
    assert [visitor.given_up for visitor in visitors] == [None] * CONNECTIONS
    leave(nodes[1], *visitors[1:])
    assert len(await come_at_once(nodes, identity_of("alice"), 9)) == CONNECTIONS - 2


@pytest.mark.system
async def test_frozen_redis_delays_a_connection_for_a_second(
    own_redis: Callable[..., RedisServer], node: Start
) -> None:
    from twisted.internet import reactor

    redis = own_redis()
    one = await node(redis.url)
    redis.freeze()
    try:
        visitor = Visitor(one, identity_of("alice"))
        began = reactor.seconds()
        await one.hub.shared_quotas.opened(visitor.subscriber.peer)
        assert 0.9 < reactor.seconds() - began < one.backend._patience, "that Redis did not answer would be an error"
        assert visitor.given_up is None
    finally:
        redis.thaw()
    await one.until_well()
    await until(lambda: stored(redis) == [(1, 0)], "reported")


@pytest.mark.slow
@pytest.mark.system
async def test_counts_survive_a_failover_to_a_replica_that_lagged(tmp_path: Path, node: Start) -> None:
    watched = Watched(tmp_path)
    try:
        await watched.ready()
        nodes = [await node(watched.url) for _ in range(2)]
        for number in range(CONNECTIONS):
            await come(nodes[number % 2], identity_of("alice"))
        await until(lambda: stored(watched.replica) == [(2, 2), (2, 2)], "replicated")
        watched.replica.ask("CONFIG", "SET", "replica-read-only", "no")
        watched.replica.ask("DEL", f"pushd:usage:{nodes[0].backend._lease.owner}")  # as if it had lagged behind
        watched.master.kill()
        await watched.until_failed_over()
        for each in nodes:
            await each.until_well()
        await until(lambda: stored(watched.replica) == [(2, 2), (2, 2)], "reported")
        assert await come_at_once(nodes, identity_of("alice"), 5) == []
    finally:
        watched.kill()
