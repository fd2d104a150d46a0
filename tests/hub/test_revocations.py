"""Revocations at a node: what is kept and for how long, jobs under way, and what is closed in which turn."""

import pytest
from twisted.internet.defer import Deferred

from pushd.core.errors import BadParameter, NotGranted, Refusal, TokenMissing, TokenRevoked, Unavailable
from pushd.core.grant import NOTHING, Grant
from pushd.core.identity import Identity
from pushd.core.message import draft
from pushd.core.peer import DAEMON, Peer
from pushd.core.revocations import Key, Revocation
from pushd.hub.publishing import Receipt
from tests.build import FakePeer
from tests.hub.hub_fixture import HubFixture

ALICE: Key = ("sub", "alice")
START = 10_000.5


def identity(subject: str = "alice", issued_at: float | None = 1.0) -> Identity:
    """Return an identity that may publish everything."""
    return Identity(subject, Grant.parse({"publish": ["**"]}, subject, where="test"), "shop", issued_at=issued_at)


async def started() -> HubFixture:
    """Return a hub whose clock shows `START`."""
    fixture = await HubFixture().start()
    fixture.clock.advance(START - fixture.clock.seconds())
    return fixture


def connect(fixture: HubFixture, subject: str | None) -> FakePeer:
    """Connect a peer."""
    fake = fixture.add()
    fake.subscriber.peer.identity = None if subject is None else identity(subject)
    return fake


async def test_what_was_issued_in_the_second_of_the_revocation_is_covered() -> None:
    fixture = await started()
    revocations = fixture.hub.revocations
    kept = await revocations.revoke(DAEMON, ALICE)
    assert kept == Revocation("sub", "alice", 10_001, 10_001 + 86_410, 10_000)
    for issued_at in (1.0, 10_000, None):
        with pytest.raises(TokenRevoked):
            revocations.check(identity(issued_at=issued_at))
    revocations.check(identity(issued_at=10_001))
    revocations.check(identity("bob"))


async def test_revocation_is_kept_for_the_longest_lifetime() -> None:
    fixture = await started()
    revocations = fixture.hub.revocations
    revocations.reconfigure(100.0, 30.0)
    await revocations.revoke(DAEMON, ALICE)
    fixture.clock.advance(100)
    assert len(revocations.known()) == 1
    fixture.clock.advance(1)
    assert list(revocations.known()) == []
    revocations.check(identity())


async def test_second_revocation_does_not_shorten_the_first() -> None:
    fixture = await started()
    revocations = fixture.hub.revocations
    first = await revocations.revoke(DAEMON, ALICE, reason="a")
    revocations.reconfigure(10.0, 30.0)
    second = await revocations.revoke(DAEMON, ALICE, before=5, reason="b")
    assert second == first._replace(reason="b")
    assert list(revocations.known()) == [second]


@pytest.mark.parametrize("before", [-1, 10_011])
async def test_time_of_a_revocation_is_checked(before: int) -> None:
    fixture = await started()
    with pytest.raises(BadParameter, match="before"):
        await fixture.hub.revocations.revoke(DAEMON, ALICE, before=before)
    await fixture.hub.revocations.revoke(DAEMON, ALICE, before=10_010)


async def test_rights_are_checked() -> None:
    fixture = await started()
    revocations = fixture.hub.revocations
    for peer, refusal in (
        (Peer("http", "::1", NOTHING), TokenMissing),
        (Peer("http", "::1", identity().grant, identity()), NotGranted),
    ):
        with pytest.raises(refusal):
            await revocations.revoke(peer, ALICE)
        with pytest.raises(refusal):
            revocations.page(peer, None, 1)
        with pytest.raises(refusal):
            await fixture.hub.kicks.kick_subject(peer, "alice")


async def test_all_matching_connections_are_closed_over_several_turns() -> None:
    fixture = await started()
    alice = [connect(fixture, "alice") for _ in range(100)]
    others = [connect(fixture, "bob"), connect(fixture, None)]
    await fixture.hub.revocations.revoke(DAEMON, ALICE)
    closed = sum(fake.subscriber.is_closed for fake in alice)
    assert 0 < closed < 100
    late = connect(fixture, "alice")  # authenticated before
    await fixture.hub.revocations.revoke(DAEMON, ("jti", "other"))
    fixture.clock.pump([0] * 50)
    assert all(fake.subscriber.is_closed for fake in (*alice, late))
    assert not any(fake.subscriber.is_closed for fake in others)
    assert fixture.counters.disconnects == {"token-revoked": 101}


async def test_messages_of_a_batch_after_the_revocation_are_refused() -> None:
    fixture = await started()
    peer = Peer("http", "::1", identity().grant, identity())
    drafts = [draft("a", b"x") for _ in range(600)]
    running = Deferred.fromCoroutine(fixture.hub.publish_all(peer, drafts))
    assert not running.called
    await fixture.hub.revocations.revoke(DAEMON, ALICE)
    fixture.clock.pump([0] * 50)
    results: list[Receipt | Refusal] = await running
    kinds = [type(each) for each in results]
    assert kinds[0] is Receipt
    assert kinds[-1] is TokenRevoked
    assert kinds == sorted(kinds, key=lambda kind: kind is TokenRevoked)


async def test_node_is_blind_after_its_seconds() -> None:
    fixture = await started()
    revocations = fixture.hub.revocations
    for age, is_blind in ((30.0, False), (30.1, True), (float("inf"), True)):
        fixture.backend.revocations_age = age
        assert revocations.is_blind is is_blind
    with pytest.raises(Unavailable, match="revocations"):
        revocations.check_known()
    revocations.reconfigure(100.0, float("inf"))
    revocations.check_known()
