"""The register: an id for each connection, and pages in the order of arrival."""

import pytest

from pushd.core.connection_ids import ConnectionIds
from pushd.core.grant import FULL
from pushd.core.outbox import Policy, QueueLimits
from pushd.core.peer import Peer
from pushd.core.register import Register, page_among
from pushd.core.subscriber import Subscriber
from tests.build import FakePeer, ReadableWire


def new_subscriber() -> Subscriber:
    return Subscriber(FakePeer(), ReadableWire(), QueueLimits(), Policy.DISCONNECT, Peer("tcp", "::1", FULL))


def add_subscribers(register: Register, count: int) -> list[Subscriber]:
    subscribers = [new_subscriber() for _ in range(count)]
    for number, each in enumerate(subscribers):
        register.add(each, 1000.9 + number)
    return subscribers


@pytest.fixture
def register() -> Register:
    return Register(ConnectionIds(bytes(16)))


def test_an_added_subscriber_gets_an_id_which_its_label_shows(register):
    *_, last = add_subscribers(register, 300)
    assert (str(last.peer), last.peer.connected_at) == (f"tcp ::1 #{last.peer.id}", 1299)
    assert register.find(last.peer.id) is last
    assert register.number_of(last.peer.id) == 300


def test_no_id_is_assigned_twice(register):
    (first,) = add_subscribers(register, 1)
    register.remove(first)
    (second,) = add_subscribers(register, 1)
    assert register.find(first.peer.id) is None
    assert first.peer.id != second.peer.id


def test_a_subscriber_that_is_not_registered_cannot_be_removed(register):
    (first,) = add_subscribers(register, 1)
    with pytest.raises(KeyError):
        register.remove(new_subscriber())
    assert register.page(0, 9) == [first]


@pytest.mark.parametrize("after", range(8))
@pytest.mark.parametrize("limit", [1, 2, 9])
def test_a_page_begins_after_a_number_that_may_be_removed(register, after, limit):
    subscribers = add_subscribers(register, 6)
    for removed in (1, 4):
        register.remove(subscribers[removed])
    remaining = [each for each in subscribers if each.peer.number not in (2, 5)]
    expected = [each for each in remaining if each.peer.number > after][:limit]
    assert register.page(after, limit) == expected
    assert page_among(reversed(remaining), after, limit) == expected
