"""The register: an id for each that comes, and pages in the order in which they came."""

import pytest

from pushd.core.outbox import Policy, QueueLimits
from pushd.core.peer import Peer
from pushd.core.register import Register, page_among
from pushd.core.subscriber import Subscriber
from tests.build import FakePeer, ReadableWire


def new_subscriber() -> Subscriber:
    return Subscriber(FakePeer(), ReadableWire(), QueueLimits(), Policy.DISCONNECT, Peer("tcp", "::1"))


def entered(register: Register, count: int) -> list[Subscriber]:
    them = [new_subscriber() for _ in range(count)]
    for number, each in enumerate(them):
        register.add(each, 1000.9 + number)
    return them


@pytest.fixture
def register() -> Register:
    return Register()


def test_one_who_comes_gets_an_id_which_its_name_shows(register):
    *_, last = entered(register, 300)
    assert (last.peer.id, str(last.peer), last.peer.connected_at) == ("12c", "tcp ::1 #12c", 1299)
    assert register.find(last.peer.number) is last


def test_no_id_is_given_twice(register):
    (first,) = entered(register, 1)
    register.remove(first)
    (second,) = entered(register, 1)
    assert register.find(first.peer.number) is None
    assert first.peer.id != second.peer.id


def test_subscriber_that_is_not_registered_cannot_be_removed(register):
    (first,) = entered(register, 1)
    with pytest.raises(KeyError):
        register.remove(new_subscriber())
    assert register.page(0, 9) == [first]


@pytest.mark.parametrize("after", range(8))
@pytest.mark.parametrize("limit", [1, 2, 9])
def test_a_page_begins_behind_a_number_that_may_be_gone(register, after, limit):
    them = entered(register, 6)
    for gone in (1, 4):
        register.remove(them[gone])
    left = [each for each in them if each.peer.number not in (2, 5)]
    expected = [each for each in left if each.peer.number > after][:limit]
    assert register.page(after, limit) == expected
    assert page_among(reversed(left), after, limit) == expected
