"""Authorization: what a peer loses when its grant changes."""

import pytest

from pushd.core.errors import TokenMissing
from pushd.core.grant import FULL, NOTHING, Grant
from pushd.core.peer import Peer
from pushd.core.subscriber import Subscriber
from pushd.hub.authorization import lost_topics, renewals
from tests.build import FakePeer


def grant(**table: object) -> Grant:
    """Return the grant of a subject."""
    return Grant.parse(table, "alice", where="test")


@pytest.fixture
def subscriber() -> Subscriber:
    """A subscriber with the live topic `live` and the topic `old`, whose history is replayed."""
    subscriber = FakePeer().subscriber
    subscriber.start_replay(("live",))
    subscriber.go_live(("live",), 1)
    subscriber.start_replay(("old",)).reads_history = True
    return subscriber


@pytest.mark.parametrize(
    ("new", "lost"),
    [
        (FULL, {}),
        (grant(subscribe=["**"]), {}),
        (grant(subscribe=["**"], history=["old"]), {}),
        (grant(subscribe=["**"], history=["live"]), {"old": "history"}),
        (grant(subscribe=["old"]), {"live": "subscribe"}),
        (grant(subscribe=["live"], history=["old"]), {"old": "subscribe"}),
        (grant(), {"live": "subscribe", "old": "subscribe"}),
    ],
)
def test_lost_topics_are_those_that_the_grant_does_not_allow(
    subscriber: Subscriber, new: Grant, lost: dict[str, str]
) -> None:
    subscriber.peer.grant = new
    assert {topic: str(refusal) for topic, refusal in lost_topics(subscriber).items()} == {
        topic: f"action {action} on topic {topic} is not granted any more" for topic, action in lost.items()
    }


def test_replay_without_a_cursor_needs_no_right_to_the_history(subscriber: Subscriber) -> None:
    subscriber.start_replay(("old",))
    subscriber.peer.grant = grant(subscribe=["**"], history=[])
    assert lost_topics(subscriber) == {}


@pytest.mark.parametrize(("before", "is_closed"), [(FULL, True), (NOTHING, False)])
def test_peer_that_has_to_authenticate_already_keeps_its_time(before: Grant, is_closed: bool) -> None:
    subscriber = FakePeer().subscriber
    subscriber.peer.grant = before
    refusals: list[Exception] = []

    def renew(peer: Peer) -> None:
        peer.grant = NOTHING

    for _ in renewals([subscriber], renew, lambda _, refusal: refusals.append(refusal)):
        pass
    assert [type(refusal) for refusal in refusals] == [TokenMissing] * is_closed
