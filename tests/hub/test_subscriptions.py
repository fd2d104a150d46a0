"""Subscriptions: what the backend is subscribed to, and subscribers that are closed while topics are opened."""

from typing import Any, NoReturn

import pytest
from twisted.internet.defer import Deferred

from pushd.core.cursor import EVERYTHING, NOW
from pushd.core.errors import Kicked, Refusal, TooManySubscriptions, Unavailable
from pushd.core.subscriber import SubscriberClosed
from tests.hub.hub_fixture import HubFixture


async def test_the_backend_is_subscribed_with_the_first_subscriber_of_a_topic_and_unsubscribed_with_the_last() -> None:
    fixture = await HubFixture().start()
    one, other = await fixture.subscribe("a", "*"), await fixture.subscribe("a")
    await fixture.subscribe("a", since=EVERYTHING, peer=one)
    assert fixture.backend.topics == ["a", "*"]
    assert fixture.hub.unsubscribe(one.subscriber, ("a", "never")) == ["a"]
    assert fixture.backend.topics == ["a", "*"]
    fixture.hub.remove(other.subscriber)
    assert fixture.backend.topics == ["*"]
    fixture.hub.remove(one.subscriber)
    assert fixture.backend.topics == []


async def test_many_topics_of_removed_subscribers_are_removed_in_several_turns() -> None:
    fixture = await HubFixture().start()
    topics = [f"t{number}/*" for number in range(2500)]
    many, some, few = (
        await fixture.subscribe(*topics),
        await fixture.subscribe(*topics[:100]),
        await fixture.subscribe("a"),
    )
    for peer in (many, some, few):
        fixture.hub.remove(peer.subscriber)
    assert len(fixture.backend.topics) == 2500
    await fixture.publish("t0/x")
    fixture.turn()
    assert fixture.backend.topics == []
    assert fixture.subscribers == 0
    assert many.received == some.received == []


async def test_topics_that_are_subscribed_already_count_once_for_the_limit() -> None:
    fixture = await HubFixture().start()
    fixture.hub.reconfigure(max_subscriptions=2)
    peer = await fixture.subscribe("a", "b")
    await fixture.subscribe("a", "b", since=EVERYTHING, peer=peer)
    with pytest.raises(TooManySubscriptions):
        await fixture.hub.subscribe(peer.subscriber, ("b", "c"))
    assert list(peer.subscriber.starts) == fixture.backend.topics == ["a", "b"]


@pytest.mark.parametrize("why", [Kicked("closed"), None], ids=["refusal", "disconnect"])
@pytest.mark.parametrize("error", [None, Unavailable("away")], ids=["opened", "refused"])
async def test_subscribe_raises_why_the_subscriber_was_closed_meanwhile(
    why: Refusal | None, error: Refusal | None
) -> None:
    fixture = await HubFixture().start()
    opening = fixture.backend.opening = Deferred[None]()
    peer = fixture.add()
    subscribing = Deferred.fromCoroutine(fixture.hub.subscribe(peer.subscriber, ("a",)))
    fixture.hub.remove(peer.subscriber, why)
    if error is None:
        opening.callback(None)
    else:
        opening.errback(error)
    with pytest.raises(SubscriberClosed) as raised:
        await subscribing
    assert raised.value.why is why
    assert (fixture.backend.topics, fixture.subscribers) == ([], 0)


async def test_a_closed_subscriber_cannot_subscribe() -> None:
    fixture = await HubFixture().start()
    peer = await fixture.subscribe("a")
    why = Kicked("closed")
    fixture.hub.remove(peer.subscriber, why)
    for topics in (("a",), ("b",), ()):
        with pytest.raises(SubscriberClosed) as raised:
            await fixture.hub.subscribe(peer.subscriber, topics)
        assert raised.value.why is why
    assert (fixture.backend.topics, fixture.subscribers) == ([], 0)


@pytest.mark.parametrize("error", [Unavailable("away"), RuntimeError("a bug")], ids=["refusal", "bug"])
async def test_topics_that_cannot_be_opened_are_not_subscribed(error: Any) -> None:
    fixture = await HubFixture().start()
    peer = await fixture.subscribe("a")
    opening = fixture.backend.opening = Deferred[None]()
    subscribing = Deferred.fromCoroutine(fixture.hub.subscribe(peer.subscriber, ("b",), NOW))
    opening.errback(error)
    with pytest.raises(type(error)):
        await subscribing
    assert list(peer.subscriber.starts) == fixture.backend.topics == ["a"]


async def test_topics_of_all_connections_together_take_at_most_half_of_the_memory_budget() -> None:
    fixture = await HubFixture().start()
    budget = fixture.hub.budget
    budget.limit = 100_000
    few = [await fixture.subscribe(*[f"{peer}/{number}" for number in range(16)]) for peer in range(20)]
    assert budget.used == 0, "few topics of a connection do not count"
    many = await fixture.subscribe(*[f"c/{number}" for number in range(100)])
    assert 0 < budget.used <= budget.limit // 2
    before = budget.used
    with pytest.raises(TooManySubscriptions):
        await fixture.subscribe(*[f"p/{number}/*" for number in range(30)])
    assert budget.used == before
    assert fixture.hub.unsubscribe(many.subscriber, ["c/1", "c/2"]) == ["c/1", "c/2"]
    assert budget.used < before
    await fixture.subscribe("c/1", "c/2", peer=many)
    assert budget.used == before
    for peer in (*few, many):
        fixture.hub.remove(peer.subscriber)
    assert budget.used == 0


async def test_topics_that_cannot_be_opened_are_not_counted() -> None:
    fixture = await HubFixture().start()
    fixture.backend.open = failing  # type: ignore[method-assign]
    with pytest.raises(Unavailable):
        await fixture.subscribe(*[f"c/{number}" for number in range(1000)])
    assert fixture.hub.budget.used == 0


async def failing(topics: object, since: object) -> NoReturn:
    raise Unavailable("closed")
