"""Quotas of connections and subscriptions: counted once, released once, and moved with a new credential."""

from collections import Counter
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.defer import Deferred

from pushd.core.cursor import EVERYTHING, NOW
from pushd.core.errors import Refusal, TooManyConnections, TooManySubscriptions
from pushd.core.grant import Grant
from pushd.core.identity import Identity, QuotaKey
from pushd.core.message import draft
from pushd.core.peer import DAEMON, Peer
from pushd.core.subscriber import Subscriber
from tests.build import FakePeer
from tests.hub.hub_fixture import HubFixture

CONNECTIONS, SUBSCRIPTIONS = 3, 5


def identity_of(subject: str, *, topics: str = "**", issuer: str = "shop", **quota: int) -> Identity:
    """Return an identity that may subscribe to topics."""
    limits = {"connections": CONNECTIONS, "subscriptions": SUBSCRIPTIONS} | quota
    return Identity(subject, Grant.parse({"subscribe": [topics], "quota": limits}, subject, where="test"), issuer)


ANONYMOUS = Grant.parse({"subscribe": ["**"], "quota": {"connections": 2, "subscriptions": 4}}, None, where="test")


def add(fixture: HubFixture, identity: Identity | None = None, address: str = "192.0.2.1") -> Subscriber:
    """Add a connection."""
    fake = FakePeer()
    grant = ANONYMOUS if identity is None else identity.grant
    fake.subscriber.peer = Peer("tcp", address, grant, identity, address)
    return fixture.add(fake).subscriber


async def started() -> HubFixture:
    """Return a started hub."""
    return await HubFixture().start()


async def test_subject_may_have_as_many_connections_as_its_quota() -> None:
    fixture = await started()
    first, *_ = [add(fixture, identity_of("alice")) for _ in range(CONNECTIONS)]
    with pytest.raises(TooManyConnections, match="subject must not have more than 3 connections"):
        add(fixture, identity_of("alice"))
    add(fixture, identity_of("bob"))
    add(fixture, identity_of("alice", issuer="forum"))
    fixture.hub.remove(first)
    add(fixture, identity_of("alice"))
    assert len(fixture.hub.queries.connections(DAEMON, None, None, 99)) == CONNECTIONS + 2


async def test_anonymous_peers_share_the_quota_of_their_address() -> None:
    fixture = await started()
    for address in ("192.0.2.1", "192.0.2.2"):
        for _ in range(2):
            add(fixture, None, address)
        with pytest.raises(TooManyConnections, match="address must not have more than 2 connections"):
            add(fixture, None, address)
        add(fixture, identity_of("alice"), address)


async def test_topics_of_all_connections_count() -> None:
    fixture = await started()
    first, second = (add(fixture, identity_of("alice")) for _ in range(2))
    await fixture.hub.subscribe(first, ("a", "b", "c"))
    with pytest.raises(TooManySubscriptions, match="subject must not have more than 5 subscriptions"):
        await fixture.hub.subscribe(second, ("a", "b", "c"))
    assert not second.starts
    await fixture.hub.subscribe(second, ("a", "b"))
    await fixture.hub.subscribe(second, ("a", "b"), EVERYTHING)  # not new
    fixture.hub.unsubscribe(first, ("a", "x"))
    await fixture.hub.subscribe(second, ("c",))
    with pytest.raises(TooManySubscriptions):
        await fixture.hub.subscribe(second, ("d",))
    fixture.hub.remove(first)
    await fixture.hub.subscribe(second, ("d", "e"))


@pytest.mark.parametrize("has_nodes", [False, True])
async def test_ended_channels_make_room(has_nodes: bool) -> None:
    fixture = await started()
    fixture.backend.has_nodes = has_nodes
    subscriber = add(fixture, identity_of("alice", subscriptions=2))
    for name in ("a", "b", "c", "d"):
        opening = await fixture.hub.subscribe(subscriber, (name,))
        await fixture.hub.replay_and_go_live(subscriber, opening)
        await fixture.hub.publish(DAEMON, draft(name, b"x", end=True))
        fixture.turn()
    assert list(subscriber.starts) == ["c", "d"]


async def test_failed_subscription_is_released() -> None:
    fixture = await started()
    subscriber = add(fixture, identity_of("alice"))
    fixture.backend.opening = Deferred()
    opening = Deferred.fromCoroutine(fixture.hub.subscribe(subscriber, ("a", "b", "c", "d", "e")))
    fixture.backend.opening.errback(TooManySubscriptions("of the backend"))
    with pytest.raises(TooManySubscriptions, match="of the backend"):
        await opening
    fixture.backend.opening = None
    await fixture.hub.subscribe(subscriber, ("a", "b", "c", "d", "e"))


async def test_new_credential_moves_the_connection_to_its_subject() -> None:
    fixture = await started()
    subscriber = add(fixture)
    await fixture.hub.subscribe(subscriber, ("a", "b"))
    fixture.hub.credentials.accept(subscriber, identity_of("alice", topics="a"))
    for _ in range(2):
        add(fixture)
    for _ in range(2):
        other = add(fixture, identity_of("alice"))
    with pytest.raises(TooManyConnections):
        add(fixture, identity_of("alice"))
    await fixture.hub.subscribe(other, ("a", "b", "c", "d"))  # and one of the connection that was moved
    with pytest.raises(TooManySubscriptions):
        await fixture.hub.subscribe(other, ("e",))


async def test_refused_move_changes_nothing() -> None:
    fixture = await started()
    subscriber = add(fixture)
    await fixture.hub.subscribe(subscriber, ("a", "b"))
    before = subscriber.peer.grant, subscriber.peer.identity, subscriber.peer.usage
    for _ in range(CONNECTIONS - 1):
        other = add(fixture, identity_of("alice"))
    await fixture.hub.subscribe(other, ("a", "b", "c", "d"))
    with pytest.raises(TooManySubscriptions):
        fixture.hub.credentials.accept(subscriber, identity_of("alice"))
    add(fixture, identity_of("alice"))
    with pytest.raises(TooManyConnections):
        fixture.hub.credentials.accept(subscriber, identity_of("alice"))
    assert (subscriber.peer.grant, subscriber.peer.identity, subscriber.peer.usage) == before
    assert list(subscriber.starts) == ["a", "b"]
    add(fixture)
    with pytest.raises(TooManyConnections):
        add(fixture)


async def test_renewed_credential_of_the_same_subject_counts_once() -> None:
    fixture = await started()
    subscriber = add(fixture, identity_of("alice", connections=1))
    fixture.hub.credentials.accept(subscriber, identity_of("alice", connections=1))
    fixture.hub.remove(subscriber)
    add(fixture, identity_of("alice", connections=1))


ACTIONS = st.tuples(
    st.sampled_from(["add", "subscribe", "unsubscribe", "accept", "remove", "fail"]),
    st.integers(0, 8),
    st.sampled_from([None, "alice", "bob"]),
    st.lists(st.sampled_from("abcdef"), min_size=1, max_size=4, unique=True),
)


@settings(deadline=None)
@given(st.lists(ACTIONS, max_size=40), st.booleans())
def test_usage_is_that_of_the_open_connections(
    actions: list[tuple[str, int, str | None, list[str]]], has_nodes: bool
) -> None:
    fixture = HubFixture()
    fixture.backend.has_nodes = has_nodes
    Deferred.fromCoroutine(fixture.start())
    for action, number, subject, topics in actions:
        subscribers = list(fixture.hub.queries.connections(DAEMON, None, None, 99))
        chosen = subscribers[number % len(subscribers)] if subscribers else None
        identity = None if subject is None else identity_of(subject)
        try:
            if action == "add":
                add(fixture, identity, "192.0.2.1" if number % 2 else "192.0.2.2")
            elif chosen is not None:
                act(fixture, action, chosen, identity, topics)
        except Refusal:
            pass
        check_usage(fixture)
    for subscriber in list(fixture.hub.queries.connections(DAEMON, None, None, 99)):
        fixture.hub.remove(subscriber)
    assert len(fixture.hub._quotas) == 0
    assert not fixture.hub._quotas.shared_keys()


def act(fixture: HubFixture, action: str, subscriber: Subscriber, identity: Identity | None, topics: list[str]) -> None:
    """Do something with an open connection."""
    if action == "subscribe":
        result: Deferred[Any] = Deferred.fromCoroutine(fixture.hub.subscribe(subscriber, topics, NOW))
        result.addErrback(lambda failure: failure.trap(Refusal))
    elif action == "fail":
        fixture.backend.opening = waiting = Deferred[None]()
        result = Deferred.fromCoroutine(fixture.hub.subscribe(subscriber, topics, NOW))
        fixture.hub.remove(subscriber)
        fixture.backend.opening = None
        waiting.callback(None)
        result.addErrback(lambda failure: None)
    elif action == "unsubscribe":
        fixture.hub.unsubscribe(subscriber, topics)
    elif action == "remove":
        fixture.hub.remove(subscriber)
    elif identity is not None:
        fixture.hub.credentials.accept(subscriber, identity)


def check_usage(fixture: HubFixture) -> None:
    """Check that the usages are those of the open connections, and within the quotas."""
    connections, subscriptions = Counter[QuotaKey](), Counter[QuotaKey]()
    for subscriber in fixture.hub.queries.connections(DAEMON, None, None, 99):
        usage = subscriber.peer.usage
        assert usage is not None and usage.key == subscriber.peer.quota_key
        connections[usage.key] += 1
        subscriptions[usage.key] += len(subscriber.starts)
        quota = subscriber.peer.grant.quota
        assert usage.connections <= (quota.connections or 0)
        assert usage.subscriptions <= (quota.subscriptions or 0)
    usages = fixture.hub._quotas._usages
    assert {key: usage.connections for key, usage in usages.items()} == connections
    assert {key: usage.subscriptions for key, usage in usages.items() if usage.subscriptions} == +subscriptions
