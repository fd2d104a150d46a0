"""Rates of publishers: what counts, for whom, and what a refused publish leaves behind."""

from collections.abc import Sequence

import pytest
from twisted.internet.defer import Deferred

from pushd.core.errors import NotGranted, RateLimited, Refusal, StorageFailed
from pushd.core.grant import FULL, Grant
from pushd.core.idempotency import IdempotencyKey
from pushd.core.identity import Identity
from pushd.core.message import Draft, draft
from pushd.core.peer import DAEMON, Peer
from pushd.hub.publishing import Receipt
from tests.hub.hub_fixture import HubFixture

KEY = IdempotencyKey("key", b"digest")
A = draft("a", b"x")


def peer_of(subject: str | None, issuer: str = "shop", address: str = "192.0.2.1", **quota: int) -> Peer:
    """Return a peer that may publish to `a` and `b`."""
    grant = Grant.parse({"publish": ["a", "b"], "quota": quota}, subject, where="test")
    identity = None if subject is None else Identity(subject, grant, issuer)
    return Peer("tcp", address, grant, identity, None if address == "127.0.0.1" else address)


async def count(fixture: HubFixture, peer: Peer, most: int = 200) -> int:
    """Publish until a message is refused, and return how many were published."""
    for number in range(most):
        try:
            await fixture.hub.publish(peer, A)
        except RateLimited:
            return number
    return most


def codes(outcomes: Sequence[Receipt | Refusal]) -> list[str]:
    """Return the code of each refusal, and ``ok`` for each receipt."""
    return [each.code if isinstance(each, Refusal) else "ok" for each in outcomes]


async def kept(fixture: HubFixture, channel: str = "a") -> int:
    """Return the number of messages in the history of a channel."""
    return (await fixture.hub.queries.status(DAEMON, channel)).info.messages


async def test_subject_may_publish_a_burst_and_then_its_rate() -> None:
    fixture = await HubFixture().start()
    peer = peer_of("alice", messages_per_second=3)
    assert await count(fixture, peer) == 30
    fixture.clock.advance(1)
    assert await count(fixture, peer) == 3
    fixture.clock.advance(100)
    assert await count(fixture, peer) == 30


async def test_refusal_says_when_to_repeat_and_what_remains() -> None:
    fixture = await HubFixture().start()
    peer = peer_of("alice", messages_per_second=1)
    await count(fixture, peer)
    with pytest.raises(RateLimited) as refused:
        await fixture.hub.publish_all(peer, [A, A, A], as_whole=True)
    refusal = refused.value
    assert (str(refusal), refusal.retry_after) == ("messages published by this subject must not exceed 1 a second", 3)
    assert refusal.state is not None
    assert (refusal.state.unit, refusal.state.most, refusal.state.window) == ("messages", 10, 10)
    assert (refusal.state.remaining, refusal.state.reset) == (0, 10)
    assert refusal.without_traceback().state is refusal.state
    fixture.clock.advance(3)
    assert codes(await fixture.hub.publish_all(peer, [A, A, A], as_whole=True)) == ["ok"] * 3


async def test_bytes_are_limited_too() -> None:
    fixture = await HubFixture().start()
    peer = peer_of("alice", bytes_per_second=10, messages_per_second=1000)
    large = draft("a", b"x" * 60)
    assert codes(await fixture.hub.publish_all(peer, [large, large, A, *[A] * 40])) == [
        "ok",
        "rate-limited",
        *["ok"] * 40,
        "rate-limited",
    ]
    with pytest.raises(RateLimited, match="bytes published by this subject must not exceed 10 a second"):
        await fixture.hub.publish(peer, A)


async def test_message_that_exceeds_one_rate_costs_nothing_of_the_other() -> None:
    fixture = await HubFixture().start()
    peer = peer_of("alice", bytes_per_second=2, messages_per_second=1)
    assert await count(fixture, peer) == 10
    for _ in range(20):
        with pytest.raises(RateLimited, match="messages published"):
            await fixture.hub.publish(peer, A)
    fixture.clock.advance(1)
    with pytest.raises(RateLimited, match="bytes published"):
        await fixture.hub.publish(peer, draft("a", b"x" * 13))
    await fixture.hub.publish(peer, draft("a", b"x" * 12))


async def test_message_larger_than_a_burst_needs_a_full_bucket() -> None:
    fixture = await HubFixture().start()
    peer = peer_of("alice", bytes_per_second=1)
    await fixture.hub.publish(peer, draft("a", b"x" * 25))
    fixture.clock.advance(15)
    with pytest.raises(RateLimited) as refused:
        await fixture.hub.publish(peer, draft("a", b"x" * 25))
    assert refused.value.retry_after == 10
    fixture.clock.advance(10)
    await fixture.hub.publish(peer, draft("a", b"x" * 25))


async def test_subjects_and_authorities_are_counted_apart() -> None:
    fixture = await HubFixture().start()
    for peer in (peer_of("alice", messages_per_second=1), peer_of("bob", messages_per_second=1)):
        assert await count(fixture, peer) == 10
    assert await count(fixture, peer_of("alice", "forum", messages_per_second=1)) == 10
    assert await count(fixture, peer_of("alice", address="192.0.2.9", messages_per_second=1)) == 0
    phone, tablet = (peer_of("carol", f"token:{name}", messages_per_second=1) for name in ("phone", "tablet"))
    assert [await count(fixture, phone), await count(fixture, tablet)] == [10, 0]


async def test_anonymous_peers_are_counted_by_address_loopback_included() -> None:
    fixture = await HubFixture().start()
    for address in ("192.0.2.1", "192.0.2.2", "127.0.0.1"):
        peers = [peer_of(None, address=address, messages_per_second=1) for _ in range(2)]
        assert [await count(fixture, each) for each in peers] == [10, 0]
    with pytest.raises(RateLimited, match="by this address"):
        await fixture.hub.publish(peers[0], A)


async def test_limit_of_an_address_applies_without_a_rate_in_the_quota() -> None:
    fixture = await HubFixture().start()
    fixture.hub.reconfigure(10, messages_per_second=2)
    assert await count(fixture, Peer("tcp", "192.0.2.1", FULL, None, "192.0.2.1")) == 20
    assert await count(fixture, peer_of("alice")) == 0
    assert await count(fixture, peer_of("alice", bytes_per_second=10**6)) == 0
    assert await count(fixture, peer_of("alice", messages_per_second=5)) == 50
    for exempt in (DAEMON, Peer("tcp", "127.0.0.1", FULL), peer_of("alice", address="127.0.0.1")):
        assert await count(fixture, exempt) == 200
    fixture.hub.reconfigure(10)
    assert await count(fixture, peer_of("alice")) == 200


async def test_list_of_channels_is_accepted_or_refused_as_a_whole() -> None:
    fixture = await HubFixture().start()
    peer = peer_of("alice", messages_per_second=1)
    both = [A, draft("b", b"x")]
    for _ in range(4):
        await fixture.hub.publish_all(peer, both, as_whole=True)
    await fixture.hub.publish(peer, A)
    with pytest.raises(RateLimited):
        await fixture.hub.publish_all(peer, both, as_whole=True)
    assert (await kept(fixture), await kept(fixture, "b")) == (5, 4)
    await fixture.hub.publish(peer, A)  # the refused publish took nothing


async def test_batch_is_refused_line_by_line() -> None:
    fixture = await HubFixture().start()
    peer = peer_of("alice", messages_per_second=30)
    lines: list[Draft | Refusal] = [A, StorageFailed("full"), draft("c", b"x"), *[A] * 400]
    outcomes = codes(await _run(fixture, peer, lines))
    assert outcomes == ["ok", "storage", "forbidden", *["ok"] * 299, *["rate-limited"] * 101]
    assert await kept(fixture) == 300


async def test_slice_of_a_batch_with_a_key_is_accepted_or_refused_as_a_whole() -> None:
    """Another node repeats a slice that was refused, and not a part of one."""
    fixture = await HubFixture().start()
    peer = peer_of("alice", messages_per_second=30)
    outcomes = codes(await _run(fixture, peer, [A] * 400, KEY))
    assert outcomes == [*["ok"] * 256, *["rate-limited"] * 144]
    assert codes(await fixture.hub.publish_all(peer, [A] * 44)) == ["ok"] * 44


async def test_repeat_that_publishes_nothing_costs_nothing() -> None:
    fixture = await HubFixture().start()
    peer = peer_of("alice", messages_per_second=1, bytes_per_second=10)
    first = await fixture.hub.publish_all(peer, [A] * 9, KEY, as_whole=True)
    for _ in range(3):
        assert await fixture.hub.publish_all(peer, [A] * 9, KEY, as_whole=True) == first
    assert await count(fixture, peer) == 1


async def test_refused_publish_with_a_key_can_be_repeated() -> None:
    fixture = await HubFixture().start()
    peer = peer_of("alice", messages_per_second=1)
    await count(fixture, peer)
    with pytest.raises(RateLimited):
        await fixture.hub.publish_all(peer, [A], KEY, as_whole=True)
    fixture.clock.advance(1)
    assert codes(await fixture.hub.publish_all(peer, [A], KEY, as_whole=True)) == ["ok"]


async def test_publish_that_is_not_granted_costs_nothing() -> None:
    fixture = await HubFixture().start()
    peer = peer_of("alice", messages_per_second=1)
    for _ in range(20):
        with pytest.raises(NotGranted):
            await fixture.hub.publish(peer, draft("c", b"x"))
    assert await count(fixture, peer) == 10


async def _run(
    fixture: HubFixture, peer: Peer, drafts: Sequence[Draft | Refusal], key: IdempotencyKey | None = None
) -> list[Receipt | Refusal]:
    """Publish a batch over several reactor turns."""
    publishing = Deferred.fromCoroutine(fixture.hub.publish_all(peer, drafts, key))
    fixture.turn()
    return await publishing
