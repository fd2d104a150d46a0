"""The table of open requests: its limits, and when nobody can answer any more."""

from math import inf

import pytest

from pushd.core.errors import BadParameter, TooManyRequests
from pushd.core.open_requests import HERE, STAYS, OpenRequest, OpenRequests, check_timeout, is_token
from pushd.core.peer import DAEMON


def request(token: str = "1", channel: str = "a", asker: str = "x", **nodes: float) -> OpenRequest:
    """Return a request that all nodes know."""
    made = OpenRequest(token, channel, DAEMON, asker, lambda outcome: None, lambda request: None)
    made.nodes.update(nodes)
    made.is_announced = True
    return made


def test_request_is_found_by_its_token_until_it_is_removed_once() -> None:
    table, one = OpenRequests(), request()
    table.add(one)
    assert table.find("1") is one
    assert one in table
    assert table.of_asker("x") == table.all == [one]
    assert list(table.channels) == ["a"]
    assert table.remove(one)
    assert not table.remove(one)
    assert table.find("1") is None
    assert len(table) == len(table.of_asker("x")) == len(table.channels) == 0


def test_number_of_open_requests_is_limited_by_asker_and_in_all() -> None:
    table = OpenRequests(most_of_asker=2, most=3)
    for token in "12":
        table.add(request(token))
    with pytest.raises(TooManyRequests, match="a connection must not have more than 2"):
        table.add(request("3"))
    table.add(request("3", asker="y"))
    with pytest.raises(TooManyRequests, match="all of the 3"):
        table.add(request("4", asker="z"))
    assert table.of_asker("z") == []
    table.remove(table.all[0])
    table.add(request("4", asker="z"))
    assert len(table) == 3


def test_request_is_lost_when_the_last_node_with_responders_has_left() -> None:
    table = OpenRequests()
    one, other = request("1", n1=5, n2=7), request("2", n1=5)
    for each in (one, other, request("3", "b", n1=5)):
        table.add(each)
    assert table.leave("n1", "a", 5) == []  # its oldest responder is as old as the requests
    assert table.leave("n1", "a", 6) == [other]
    assert table.nodes() == {"n1", "n2"}
    assert table.leave("n2", "a", inf) == [one]


def test_request_is_not_lost_before_all_nodes_were_asked() -> None:
    table, one = OpenRequests(), request(n1=5)
    one.is_announced = False
    table.add(one)
    assert table.leave("n1", "a", inf) == []
    assert not one.has_no_responders
    one.is_announced = True
    assert one.has_no_responders


def test_node_that_stays_is_lost_only_with_the_node() -> None:
    table, one = OpenRequests(), request(n1=STAYS)
    table.add(one)
    assert table.leave("n1", "a", inf) == []
    assert table.leave_all("n2") == []
    assert table.leave_all("n1") == [one]


def test_own_node_is_none_of_the_others() -> None:
    table = OpenRequests()
    one = request(n1=1)
    one.nodes[HERE] = 1
    table.add(one)
    assert table.nodes() == {"n1"}


def test_request_expires_when_its_timer_does() -> None:
    expired: list[OpenRequest] = []
    made = OpenRequest("1", "a", DAEMON, "x", lambda outcome: None, expired.append)
    made.expire()
    assert expired == [made]


@pytest.mark.parametrize("seconds", [0, 0.5, 60])
def test_timeout_is_accepted(seconds: float) -> None:
    assert check_timeout(seconds) == seconds


@pytest.mark.parametrize("seconds", [-0.1, 60.1, inf, float("nan")])
def test_timeout_is_refused(seconds: float) -> None:
    with pytest.raises(BadParameter, match="between 0 and 60 seconds"):
        check_timeout(seconds)


@pytest.mark.parametrize(
    ("text", "expected"), [("0" * 32, True), ("a1" * 22, True), ("0" * 31, False), ("G" * 32, False), ("", False)]
)
def test_token_is_hexadecimal(text: str, expected: bool) -> None:
    assert is_token(text) is expected
