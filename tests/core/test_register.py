"""The register: an id for each that comes, and pages in the order in which they came."""

import pytest

from pushd.core.outbox import Policy, QueueLimits
from pushd.core.register import Register, page_among
from pushd.core.subscriber import Subscriber
from tests.build import Peer, Words


def entered(register: Register, count: int) -> list[Subscriber]:
    them = [Subscriber(Peer(), Words(), QueueLimits(), Policy.DISCONNECT, "tcp ::1") for _ in range(count)]
    for number, each in enumerate(them):
        register.add(each, 1000.9 + number)
    return them


@pytest.fixture
def register() -> Register:
    return Register()


def test_one_who_comes_gets_an_id_which_its_name_shows(register):
    *_, last = entered(register, 300)
    assert (last.id, last.name, last.connected_at) == ("12c", "tcp ::1 #12c", 1299)
    assert register.find(last.number) is last


def test_no_id_is_given_twice(register):
    (first,) = entered(register, 1)
    register.remove(first)
    register.remove(first)
    (second,) = entered(register, 1)
    assert register.find(first.number) is None
    assert first.id != second.id


def test_one_who_never_came_can_leave(register):
    (first,) = entered(register, 1)
    register.remove(Subscriber(Peer(), Words(), QueueLimits(), Policy.DISCONNECT, "tcp ::1"))
    assert register.page(0, 9) == [first]


@pytest.mark.parametrize("after", range(8))
@pytest.mark.parametrize("limit", [1, 2, 9])
def test_a_page_begins_behind_a_number_that_may_be_gone(register, after, limit):
    them = entered(register, 6)
    for gone in (1, 4):
        register.remove(them[gone])
    left = [each for each in them if each.number not in (2, 5)]
    expected = [each for each in left if each.number > after][:limit]
    assert register.page(after, limit) == expected
    assert page_among(reversed(left), after, limit) == expected
