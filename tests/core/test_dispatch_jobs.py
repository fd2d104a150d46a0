"""The jobs of the dispatcher: slices, their order, and their cost."""

import pytest

from pushd.core.delivery import Recent
from pushd.core.dispatcher import Dispatcher
from pushd.core.outbox import QueueLimits
from tests.build import FakePeer, message, page
from tests.core.dispatching import ALL, accept, dispatcher_of

# Slices


@pytest.mark.parametrize("limit", [1, 2, 3, 7, 100])
def test_slices_send_everything_to_all_subscribers_in_order(limit: int) -> None:
    peers = [FakePeer().subscribe_live("a") for _ in range(7)] + [FakePeer().subscribe_live("a", "b") for _ in range(3)]
    dispatcher = dispatcher_of(*peers)
    accept(dispatcher, "a:1 b:2")
    dispatcher.run(limit)
    accept(dispatcher, "a:3")
    dispatcher.run(limit)
    accept(dispatcher, "b:4 a:5")
    for _ in range(100):
        dispatcher.run(limit)
    assert dispatcher.is_idle
    assert all(peer.received == ["a:1", "a:3", "a:5"] for peer in peers[:7])
    assert all(peer.received == ["a:1", "b:2", "a:3", "b:4", "a:5"] for peer in peers[7:])


def test_a_slice_serves_at_most_its_limit_and_the_next_continues_there() -> None:
    peers = [FakePeer().subscribe_live("a") for _ in range(5)]
    dispatcher = dispatcher_of(*peers)
    accept(dispatcher, "a:1")
    for served in (2, 4, 5):
        assert not dispatcher.is_idle
        dispatcher.run(2)
        assert sum(len(peer.writes) for peer in peers) == served
    assert dispatcher.is_idle


def test_messages_are_sent_in_the_order_in_which_they_were_accepted() -> None:
    several, other = [FakePeer().subscribe_live("a") for _ in range(3)], FakePeer().subscribe_live("b")
    dispatcher = dispatcher_of(*several, other)
    accept(dispatcher, "a:1")
    dispatcher.run(2)
    accept(dispatcher, "b:2")
    dispatcher.run(1)
    assert (several[2].received, other.received) == (["a:1"], [])
    dispatcher.run(1)
    assert other.received == ["b:2"]


@pytest.mark.parametrize("data", [b"x", b"x" * 50_000])
def test_the_messages_of_a_turn_are_split_into_writes_that_fit_into_a_queue(data: bytes) -> None:
    """A subscriber with the default limits may be paused between two writes, which does not make it too slow."""
    peer = FakePeer().subscribe_live("a")
    dispatcher = dispatcher_of(peer)
    for seq in range(1, 3001):
        dispatcher.accept(message(seq, data=data))
    dispatcher.run(ALL)
    assert peer.received == [f"a:{seq}" for seq in range(1, 3001)]
    limits = QueueLimits()
    for write in peer.writes:
        count = len(write.split())
        assert count <= limits.messages
        assert (count - 1) * len(data) <= limits.bytes


# Cost of a slice


def runs(dispatcher: Dispatcher, limit: int = 500) -> int:
    """Run until all subscribers are served; return the number of turns."""
    count = 0
    while not dispatcher.is_idle:
        assert dispatcher.run(limit) == []
        count += 1
        assert count < 10_000, "the dispatcher is never idle"
    return count


def stalled(count: int) -> list[FakePeer]:
    """Make peers of channel ``a`` that do not read."""
    peers = [FakePeer().subscribe_live("a") for _ in range(count)]
    for peer in peers:
        peer.subscriber.pause()
    return peers


def test_the_cost_of_paused_subscribers_grows_with_the_number_of_messages() -> None:
    few, many = dispatcher_of(*stalled(100)), dispatcher_of(*stalled(100))
    accept(few, "a:1")
    accept(many, " ".join(f"a:{seq}" for seq in range(1, 1000)))
    assert runs(few) == 1
    assert runs(many) > 20


def test_ready_subscribers_do_not_wait_for_paused_ones() -> None:
    slow, ready = stalled(100), FakePeer().subscribe_live("a")
    sent: list[object] = []

    def send_each(handles: list[object], block: bytes) -> list[tuple[int, int]]:
        sent.extend(handles)
        return []

    ready.subscriber.attach(ready)
    dispatcher = Dispatcher(Recent(), send_each)
    for peer in (*slow, ready):
        dispatcher.subscribe(["a"], peer.subscriber)
    accept(dispatcher, " ".join(f"a:{seq}" for seq in range(1, 1000)))
    dispatcher.run(500)
    assert sent == [ready]
    assert not dispatcher.is_idle


def test_the_cost_of_a_batch_grows_with_its_size() -> None:
    dispatcher = dispatcher_of(*[FakePeer().subscribe_live("a") for _ in range(100)])
    dispatcher.accept(message(1, data=bytes(1 << 20)))
    assert runs(dispatcher) > 5


@pytest.mark.parametrize("is_paused", [False, True])
def test_a_message_larger_than_a_turn_is_delivered(is_paused: bool) -> None:
    peers = stalled(3) if is_paused else [FakePeer().subscribe_live("a") for _ in range(3)]
    dispatcher = dispatcher_of(*peers)
    dispatcher.accept(message(1, data=bytes(20 << 20)))
    assert runs(dispatcher) == 3
    for peer in peers:
        peer.subscriber.resume()
    assert [peer.received for peer in peers] == [["a:1"]] * 3


@pytest.mark.parametrize("limit", [1, 500])
def test_a_batch_that_is_expensive_for_one_subscriber_is_split_and_stays_in_order(limit: int) -> None:
    topics = [f"a/{number}/*" for number in range(3000)]
    live, replaying = (
        FakePeer(limits=QueueLimits(2000)).subscribe_live(*topics),
        FakePeer(limits=QueueLimits(2000)).subscribe_live(*topics),
    )
    replaying.subscriber.start_replay(topics)
    live.subscriber.pause()
    dispatcher = dispatcher_of(live, replaying)
    words = [f"a/{seq % 3000}/x:{seq}" for seq in range(1, 1200)]
    accept(dispatcher, " ".join(words))
    assert runs(dispatcher, limit) > 3
    live.subscriber.resume()
    catch_up = replaying.subscriber.catch_up
    assert catch_up is not None
    replaying.subscriber.replay(catch_up, page(upto=0), Recent())
    assert live.received == replaying.received == words


@pytest.mark.parametrize("limit", [1, 500])
def test_subscribers_of_many_channels_are_grouped_in_several_turns(limit: int) -> None:
    channels = [f"c{number}" for number in range(100)]
    everything = [FakePeer().subscribe_live("**") for _ in range(500)]
    each = [FakePeer().subscribe_live(channel) for channel in channels]
    dispatcher = dispatcher_of(*everything, *each)
    words = [f"{channel}:{seq}" for seq, channel in enumerate(channels * 2, 1)]
    accept(dispatcher, " ".join(words))
    dispatcher.run(limit)
    accept(dispatcher, "c0:1000")
    assert runs(dispatcher, limit) > 3
    assert all(peer.received == [*words, "c0:1000"] for peer in everything)
    assert all(len(peer.writes) == 2 for peer in everything)
    assert [peer.received for peer in each[1:]] == [[words[place], words[place + 100]] for place in range(1, 100)]
    assert dispatcher.delivered == 501 * len(words) + 501
