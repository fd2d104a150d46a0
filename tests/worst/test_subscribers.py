"""For a subscriber of thousands of patterns a message costs no more than for one of few."""

import pytest

from pushd.core.delivery import Batch, Delivery, Recent
from pushd.core.dispatcher import Dispatcher
from pushd.core.outbox import Policy, QueueLimits
from tests.build import FakePeer, message, page
from tests.worst.operations import Calls

pytestmark = pytest.mark.slow

PATTERNS = 9_000
MESSAGES = 1_000
CALLS_PER_MESSAGE = 1_000
"""The maximum number of calls per message: some for each block of 512 patterns and each segment, none per pattern."""
CALLS_TO_COMPILE = 100 * PATTERNS
"""The maximum number of calls to compile the patterns."""
CALLS_PER_TURN = 100_000
"""The maximum number of calls in a turn of the dispatcher: about 10 ms."""
SHAPES = {
    "one-each": [f"room/{number}/*" for number in range(PATTERNS)],
    "deep": [f"{'*/' * 20}{number}/**" for number in range(PATTERNS)],
    "exact": [f"room/{number}/x" for number in range(PATTERNS)],
}


def batch_of(channel: str, count: int = MESSAGES) -> Batch:
    return Batch([Delivery(message(seq, channel.format(seq))) for seq in range(1, count + 1)])


def peer_of(topics: list[str], policy: Policy = Policy.DROP) -> FakePeer:
    peer = FakePeer(limits=QueueLimits(), policy=policy)
    peer.subscriber.start_replay(topics)
    return peer


@pytest.mark.parametrize("channel", ["room/{}/x", "no/{}", "a/" * 20 + "{}/x"])
@pytest.mark.parametrize("shape", SHAPES)
def test_batch_for_a_subscriber_that_is_catching_up(shape: str, channel: str) -> None:
    peer = peer_of(SHAPES[shape])
    messages = batch_of(channel)
    with Calls() as calls:
        peer.subscriber.deliver(messages)
    assert calls.count < CALLS_TO_COMPILE + MESSAGES * CALLS_PER_MESSAGE


@pytest.mark.parametrize("shape", SHAPES)
def test_batch_for_a_subscriber_that_catches_up_on_one_topic(shape: str) -> None:
    peer = peer_of(SHAPES[shape])
    peer.subscriber.go_live(SHAPES[shape], 0)
    peer.subscriber.start_replay(["late"])
    messages = batch_of("room/{}/x")
    with Calls() as calls:
        peer.subscriber.deliver(messages)
    assert calls.count < CALLS_TO_COMPILE + MESSAGES * CALLS_PER_MESSAGE


@pytest.mark.parametrize("shape", SHAPES)
def test_batch_for_ten_subscribers_is_divided_into_turns(shape: str) -> None:
    dispatcher = Dispatcher(Recent())
    for _ in range(10):
        dispatcher.subscribe(["room/**"], peer_of([*SHAPES[shape], "room/**"]).subscriber)
    for seq in range(1, MESSAGES):
        dispatcher.accept(message(seq, f"room/{seq}/x"))
    counts = []
    while not dispatcher.is_idle:
        with Calls() as calls:
            assert dispatcher.run(500) == []
        counts.append(calls.count)
    assert max(counts) < CALLS_PER_TURN


@pytest.mark.parametrize("shape", SHAPES)
def test_page_of_history(shape: str) -> None:
    peer = peer_of(SHAPES[shape])
    catch_up = peer.subscriber.catch_up
    assert catch_up is not None
    messages = [message(seq, f"room/{seq}/x") for seq in range(1, MESSAGES + 1)]
    with Calls() as calls:
        peer.subscriber.replay(catch_up, page(*messages, upto=MESSAGES), Recent())
    assert calls.count < CALLS_TO_COMPILE + MESSAGES * CALLS_PER_MESSAGE


@pytest.mark.parametrize("shape", SHAPES)
def test_resume_after_drops_in_many_channels(shape: str) -> None:
    peer = peer_of(SHAPES[shape])
    peer.subscriber.go_live(SHAPES[shape], 0)
    peer.subscriber.pause()
    peer.subscriber.deliver(batch_of("room/{}/x", 2 * MESSAGES))
    with Calls() as calls:
        peer.subscriber.resume()
    assert peer.received
    assert calls.count < CALLS_TO_COMPILE + MESSAGES * CALLS_PER_MESSAGE


@pytest.mark.parametrize("together", [1, 1_000])
@pytest.mark.parametrize("shape", SHAPES)
def test_unsubscribe_from_all_with_queued_messages(shape: str, together: int) -> None:
    topics = SHAPES[shape]
    peer = peer_of([*topics, "kept"])
    peer.subscriber.go_live([*topics, "kept"], 0)
    peer.subscriber.pause()
    peer.subscriber.deliver(batch_of("kept"))
    with Calls() as calls:
        for first in range(0, PATTERNS, 1_000):
            peer.subscriber.unsubscribe(*topics[first : first + together], newest=MESSAGES)
    assert calls.count < (1_000 + together) * PATTERNS


def test_unsubscribe_one_by_one_while_catching_up() -> None:
    topics = SHAPES["one-each"]
    peer = peer_of(topics)
    peer.subscriber.deliver(batch_of("room/1/x", 10))
    with Calls() as calls:
        for topic in topics[2:]:
            peer.subscriber.unsubscribe(topic)
    assert calls.count < 500 * PATTERNS
    assert list(peer.subscriber.starts) == topics[:2]
