"""The lifecycle of a subscriber: added once, closed for a refusal or a bug, removed once."""

import re

import pytest

from pushd.core.errors import InternalError, Kicked, Refusal, UnknownConnection
from pushd.core.peer import DAEMON
from tests.build import FakePeer
from tests.hub.hub_fixture import HubFixture


class BrokenPeer(FakePeer):
    """A peer whose connection fails to close."""

    def close(self, why: Refusal) -> None:
        """Fail."""
        raise RuntimeError("a bug")


async def test_a_subscriber_gets_its_id_when_it_is_added() -> None:
    fixture = await HubFixture().start()
    first, second = fixture.add(), fixture.add()
    ids = [peer.subscriber.peer.id for peer in (first, second)]
    assert len(set(ids)) == 2 and all(re.fullmatch(r"[0-9a-f]{32}", id) for id in ids)
    assert list(fixture.hub.queries.connections(DAEMON, None, None, 9)) == [first.subscriber, second.subscriber]


async def test_a_removed_subscriber_is_closed_and_receives_nothing_more() -> None:
    fixture = await HubFixture().start()
    removed, other = await fixture.subscribe("a"), await fixture.subscribe("a")
    await fixture.publish("a")
    why = Kicked("closed")
    fixture.hub.remove(removed.subscriber, why)
    fixture.turn()
    assert (removed.received, other.received) == ([], ["a:1"])
    assert removed.subscriber.is_closed
    assert removed.subscriber.closed_for is why
    assert list(fixture.hub.queries.connections(DAEMON, None, None, 9)) == [other.subscriber]


async def test_to_remove_a_subscriber_twice_is_a_programming_error() -> None:
    fixture = await HubFixture().start()
    peer = await fixture.subscribe("a")
    fixture.hub.remove(peer.subscriber)
    with pytest.raises(KeyError):
        fixture.hub.remove(peer.subscriber)
    assert fixture.backend.topics == []


async def test_a_kick_closes_the_connection_once_and_is_counted() -> None:
    fixture = await HubFixture().start()
    peer = await fixture.subscribe("a")
    fixture.hub.kicks.kick(DAEMON, peer.subscriber.peer.id)
    assert isinstance(peer.closed_with, Kicked)
    assert fixture.counters.disconnects == {"kicked": 1}
    assert fixture.subscribers == 0
    with pytest.raises(UnknownConnection):
        fixture.hub.kicks.kick(DAEMON, peer.subscriber.peer.id)


async def test_a_closed_subscriber_is_not_disconnected_again() -> None:
    fixture = await HubFixture().start()
    peer = await fixture.subscribe("a")
    for _ in range(2):
        fixture.hub.disconnect(peer.subscriber, Kicked("closed"))
    assert fixture.counters.disconnects == {"kicked": 1}


async def test_a_bug_in_a_delivery_closes_one_connection_and_reveals_nothing(expected_failures) -> None:
    fixture = await HubFixture().start()
    broken, other = await fixture.subscribe("a"), await fixture.subscribe("a")
    broken.write_error = RuntimeError("a secret")
    await fixture.publish("a")
    fixture.turn()
    assert isinstance(broken.closed_with, InternalError)
    assert "secret" not in str(broken.closed_with)
    assert [event["log_failure"].getErrorMessage() for event in expected_failures] == ["a secret"]
    assert (other.received, other.closed_with) == (["a:1"], None)


async def test_a_connection_that_fails_to_close_is_aborted_and_its_subscriber_removed(expected_failures) -> None:
    fixture = await HubFixture().start()
    broken = await fixture.subscribe("a", peer=fixture.add(BrokenPeer()))
    other = await fixture.subscribe("a")
    refusal = Kicked("closed")
    fixture.hub.disconnect(broken.subscriber, refusal)
    await fixture.publish("a")
    fixture.turn()
    assert broken.is_aborted
    assert broken.subscriber.closed_for is refusal
    assert list(fixture.hub.queries.connections(DAEMON, None, None, 9)) == [other.subscriber]
    assert [event["log_failure"].getErrorMessage() for event in expected_failures] == ["a bug"]
    assert (broken.received, other.received) == ([], ["a:1"])
