"""Rates over nodes: the average is that of the quota, bursts are bounded, and nothing waits for other nodes."""

from collections.abc import Callable, Mapping

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from pushd.backends.interface import Duplicate
from pushd.core.errors import RateLimited, Unavailable
from pushd.core.peer import Peer
from pushd.core.token_bucket import TokenBuckets
from tests.hub.hub_fixture import HubFixture
from tests.hub.test_rates import A, count, peer_of

RATE = 5
BURST = 10 * RATE


class Shared:
    """The buckets that nodes share, as a backend keeps them."""

    def __init__(self) -> None:
        self.buckets = TokenBuckets(10)
        self.calls: list[Mapping[str, float]] = []
        self.is_away = False
        self.answering: Deferred[None] | None = None

    def exchange_of(self, fixture: HubFixture) -> Callable[[Mapping[str, float]], object]:
        """Return `exchange_rates` of a node."""

        async def exchange_rates(used: Mapping[str, float]) -> Mapping[str, float]:
            self.calls.append(used)
            if self.is_away:
                raise Unavailable("away")
            now = fixture.clock.seconds()
            for key, seconds in used.items():
                self.buckets.delay(key, self.buckets.full_in(key, now) + seconds, now)
            full = {key: self.buckets.full_in(key, now) for key in used}
            if self.answering is not None:
                await self.answering
            return full

        return exchange_rates


@pytest.fixture
def shared() -> Shared:
    """The shared buckets."""
    return Shared()


async def nodes_with(shared: Shared, number: int) -> list[HubFixture]:
    """Return nodes that share buckets."""
    nodes = [await HubFixture().start() for _ in range(number)]
    for each in nodes:
        each.backend.has_nodes = True
        each.backend.exchange_rates = shared.exchange_of(each)  # type: ignore[assignment,method-assign]
    return nodes


def advance(nodes: list[HubFixture], seconds: float) -> None:
    """Let time pass at all nodes."""
    for each in nodes:
        each.clock.advance(seconds)


@pytest.mark.parametrize("number", [2, 3])
async def test_average_over_nodes_is_the_rate(shared: Shared, number: int) -> None:
    nodes = await nodes_with(shared, number)
    peer = peer_of("alice", messages_per_second=RATE)
    published, seconds = 0, 120
    for _ in range(seconds * 10):
        for each in nodes:
            published += await count(each, peer, 3)
        advance(nodes, 0.1)
    assert RATE * seconds <= published <= RATE * (seconds + 10 * number)


@settings(deadline=None, max_examples=30)
@given(st.lists(st.tuples(st.integers(0, 2), st.integers(1, 100), st.floats(0, 15)), min_size=20, max_size=40))
def test_bursts_at_any_node_at_any_time_are_paid_back(bursts: list[tuple[int, int, float]]) -> None:
    async def run() -> None:
        nodes = await nodes_with(Shared(), 3)
        peer = peer_of("alice", messages_per_second=RATE)
        published, began = 0, nodes[0].clock.seconds()
        for node, most, pause in bursts:
            published += await count(nodes[node], peer, most)
            advance(nodes, 0.05)
            advance(nodes, pause)
        assert published <= RATE * (nodes[0].clock.seconds() - began + 10 * 3)

    done(Deferred.fromCoroutine(run()))


def done(running: Deferred[None]) -> None:
    """Return what has come of something, which must be over."""
    failures: list[Failure] = []
    running.addErrback(failures.append)
    assert running.called
    for failure in failures:
        failure.raiseException()


async def test_publisher_that_changes_the_node_gains_little(shared: Shared) -> None:
    nodes = await nodes_with(shared, 2)
    peer = peer_of("alice", bytes_per_second=1)
    assert await count(nodes[0], peer) == 10
    advance(nodes, 0.05)
    assert await count(nodes[1], peer, 1) == 1
    advance(nodes, 0.05)
    with pytest.raises(RateLimited, match="bytes"):
        await nodes[1].hub.publish(peer, A)


async def test_many_publishes_make_one_call_a_second(shared: Shared) -> None:
    nodes = await nodes_with(shared, 1)
    peers = [peer_of(f"user{number}", messages_per_second=100) for number in range(20)]
    for _ in range(50):
        for peer in peers:
            await nodes[0].hub.publish(peer, A)
        advance(nodes, 0.1)
    assert 5 <= len(shared.calls) <= 7
    assert {len(each) for each in shared.calls} == {20}


async def test_peer_without_a_rate_in_its_quota_is_not_told(shared: Shared) -> None:
    nodes = await nodes_with(shared, 1)
    nodes[0].hub.reconfigure(100, 1000)
    for peer in (
        peer_of("alice"),
        peer_of(None),
        peer_of("bob", connections=1),
        Peer("tcp", "::1", peer_of("x").grant),
    ):
        await nodes[0].hub.publish(peer, A)
    advance(nodes, 2.0)
    assert shared.calls == []


async def test_refunded_messages_are_told(shared: Shared, monkeypatch: pytest.MonkeyPatch) -> None:
    nodes = await nodes_with(shared, 1)

    async def repeat(*_: object) -> list[Duplicate]:
        return [Duplicate("E-1", 0)]

    monkeypatch.setattr(nodes[0].backend, "publish", repeat)
    await nodes[0].hub.publish(peer_of("alice", messages_per_second=RATE), A)
    advance(nodes, 1.0)
    assert [list(each.values()) for each in shared.calls] == [[0.0]]


async def test_each_node_counts_alone_while_the_others_are_away(shared: Shared) -> None:
    nodes = await nodes_with(shared, 2)
    shared.is_away = True
    peer = peer_of("alice", messages_per_second=RATE)
    assert [await count(each, peer) for each in nodes] == [BURST] * 2
    advance(nodes, 1.0)
    assert [await count(each, peer) for each in nodes] == [RATE] * 2


async def test_what_is_published_during_an_exchange_counts(shared: Shared) -> None:
    nodes = await nodes_with(shared, 1)
    peer = peer_of("alice", messages_per_second=RATE)
    assert await count(nodes[0], peer, 10) == 10
    shared.answering = Deferred()
    advance(nodes, 0.05)
    assert await count(nodes[0], peer, 10) == 10
    shared.answering.callback(None)
    shared.answering = None
    assert await count(nodes[0], peer) == BURST - 20
    advance(nodes, 1.0)
    assert len(shared.calls) == 2
    await nodes[0].hub.stop()
