"""Exclusions are resolved to connections of the publisher at this node, and to no others."""

import pytest

from pushd.core.connection_ids import ConnectionIds
from pushd.core.errors import Forbidden
from pushd.core.grant import FULL
from pushd.core.identity import ANONYMOUS, Identity, owner_of
from pushd.core.message import OWN_CONNECTION, Draft, Exclusion, draft
from pushd.core.peer import DAEMON, Peer
from pushd.core.register import Register
from pushd.hub.exclusions import Exclusions
from tests.build import FakePeer

ALICE, BOB = (Identity(name, FULL, "issuer") for name in ("alice", "bob"))


def peer(identity: Identity | None = None) -> Peer:
    return Peer("http", "::1", FULL, identity)


def registered(register: Register, identity: Identity | None = None) -> FakePeer:
    """Return a connection of an identity, subscribed to channel ``a``."""
    fake = FakePeer()
    fake.subscriber.peer.identity = identity
    register.add(fake.subscriber, 0.0)
    return fake.subscribe_live("a")


def excluding(exclude: Exclusion | None, channel: str = "a") -> Draft:
    return draft(channel, b"x", exclude=exclude)


@pytest.fixture
def register() -> Register:
    return Register(ConnectionIds(bytes(16)))


def test_own_connection_is_named_with_its_owner(register: Register) -> None:
    exclusions, own = Exclusions(register), registered(register, ALICE).subscriber
    for exclude in (Exclusion(own.peer.id), OWN_CONNECTION):
        checked = exclusions.checked(own.peer, excluding(exclude))
        assert checked.exclude == (own.peer.id, owner_of(ALICE))
        assert exclusions.find(checked.exclude) is own
        assert exclusions.count(checked) == 1
    other = exclusions.checked(own.peer, excluding(OWN_CONNECTION, "b"))
    assert exclusions.count(other) == 0


def test_connection_of_another_identity_is_refused(register: Register) -> None:
    exclusions = Exclusions(register)
    for owner in (None, ALICE):
        id = registered(register, owner).subscriber.peer.id
        for publisher in (None, ALICE, BOB):
            if publisher is owner:
                assert exclusions.checked(peer(publisher), excluding(Exclusion(id))).exclude is not None
                continue
            with pytest.raises(Forbidden):
                exclusions.checked(peer(publisher), excluding(Exclusion(id)))
            (judged,) = exclusions.judged(peer(publisher), [excluding(Exclusion(id))])
            assert isinstance(judged, Forbidden)
            assert exclusions.find(Exclusion(id, owner_of(publisher))) is None


def test_connection_that_is_not_here_is_left_to_other_nodes(register: Register) -> None:
    exclusions, gone = Exclusions(register), registered(register).subscriber
    register.remove(gone)
    for id in (gone.peer.id, "0" * 32):
        checked = exclusions.checked(peer(), excluding(Exclusion(id)))
        assert checked.exclude == (id, ANONYMOUS)
        assert exclusions.find(checked.exclude) is None
        assert exclusions.count(checked) == 0


def test_publisher_without_a_connection_excludes_nothing(register: Register) -> None:
    for publisher in (DAEMON, peer(ALICE)):
        assert Exclusions(register).checked(publisher, excluding(OWN_CONNECTION)).exclude is None
    assert Exclusions(register).checked(DAEMON, excluding(None)).exclude is None
