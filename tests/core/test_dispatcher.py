"""Fan-out: the messages of a turn are sent together, in order, encoded once; failures; ends of channels."""

import pytest

from pushd.core.delivery import Recent, Wire
from pushd.core.dispatcher import Dispatcher
from pushd.core.errors import TooSlow
from pushd.core.message import Message
from pushd.core.outbox import Policy, QueueLimits
from pushd.wire.chunked import Chunked
from tests.build import FakePeer, ReadableWire, message, page
from tests.core.dispatching import ALL, accept, dispatcher_of


def test_the_messages_of_a_turn_are_one_write_per_subscriber_in_id_order() -> None:
    only_a, only_b, both, pattern, none = [
        FakePeer().subscribe_live(*topics) for topics in (["a"], ["b"], ["a", "b"], ["*"], ["c"])
    ]
    dispatcher = dispatcher_of(only_a, only_b, both, pattern, none)
    accept(dispatcher, "a:1 b:2 a:3 b:4")
    assert only_a.writes == []
    assert dispatcher.run(ALL) == []
    assert only_a.writes == ["a:1 a:3"]
    assert only_b.writes == ["b:2 b:4"]
    assert both.writes == pattern.writes == ["a:1 b:2 a:3 b:4"]
    assert none.writes == []
    assert dispatcher.is_idle


def test_each_turn_is_a_separate_write() -> None:
    peer = FakePeer().subscribe_live("a")
    dispatcher = dispatcher_of(peer)
    for text in ("a:1 a:2", "a:3"):
        accept(dispatcher, text)
        dispatcher.run(ALL)
    assert peer.writes == ["a:1 a:2", "a:3"]


def test_a_message_is_encoded_once_per_wire_and_a_block_joined_once_per_group() -> None:
    wire, other = ReadableWire(), ReadableWire()
    peers = [FakePeer(wire).subscribe_live("a") for _ in range(50)] + [
        FakePeer(other).subscribe_live("a") for _ in range(50)
    ]
    both = [FakePeer(wire).subscribe_live("a", "b") for _ in range(50)]
    dispatcher = dispatcher_of(*peers, *both)
    accept(dispatcher, "a:1 b:2 a:3")
    dispatcher.run(ALL)
    assert {peer.writes[0] for peer in peers} == {"a:1 a:3"}
    assert {peer.writes[0] for peer in both} == {"a:1 b:2 a:3"}
    assert sorted(wire.encoded) == [1, 2, 3]
    assert sorted(other.encoded) == [1, 3]
    assert (wire.blocks, other.blocks) == (2, 1)


def test_a_replay_shares_the_frames_of_live_subscribers() -> None:
    wire, recent = ReadableWire(), Recent()
    dispatcher = Dispatcher(recent)
    live, replaying = FakePeer(wire).subscribe_live("a"), FakePeer(wire)
    dispatcher.subscribe(["a"], live.subscriber)
    kept = message(1)
    dispatcher.accept(kept)
    dispatcher.run(ALL)
    replaying.subscriber.replay(replaying.subscriber.start_replay(["a"]), page(kept, upto=1), recent)
    assert live.received == replaying.received == ["a:1"]
    assert wire.encoded == [1]


def test_a_message_without_subscribers_makes_no_work() -> None:
    dispatcher = dispatcher_of(FakePeer().subscribe_live("a"))
    accept(dispatcher, "b:1")
    assert dispatcher.is_idle


# Subscribers that are added and removed meanwhile


def test_a_topic_unsubscribed_in_the_same_turn_is_not_received() -> None:
    peer = FakePeer().subscribe_live("a", "b")
    dispatcher = dispatcher_of(peer)
    accept(dispatcher, "a:1 b:2")
    dispatcher.unsubscribe(("a",), peer.subscriber)
    dispatcher.run(ALL)
    assert peer.received == ["b:2"]


@pytest.mark.parametrize("topics", [["a"], ["a", "b"], ["a", "b/*"]])
def test_a_topic_unsubscribed_between_two_slices_is_not_received(topics: list[str]) -> None:
    first, last = FakePeer().subscribe_live("a"), FakePeer().subscribe_live(*topics)
    dispatcher = dispatcher_of(first, last)
    accept(dispatcher, "a:1 b:2 a:3")
    dispatcher.run(1)
    accept(dispatcher, "a:4")
    dispatcher.unsubscribe(("a",), last.subscriber)
    accept(dispatcher, "b:5 a:6")
    dispatcher.run(ALL)
    assert first.received == ["a:1", "a:3", "a:4", "a:6"]
    assert last.received == (["b:2", "b:5"] if "b" in topics else [])


def test_a_subscriber_added_in_the_same_turn_receives_only_messages_after_its_cursor() -> None:
    peer, late = FakePeer().subscribe_live("a"), FakePeer().subscribe_live("a", after=1)
    dispatcher = dispatcher_of(peer)
    accept(dispatcher, "a:1")
    dispatcher.subscribe(["a"], late.subscriber)
    accept(dispatcher, "a:2")
    dispatcher.run(ALL)
    assert (peer.received, late.received) == (["a:1", "a:2"], ["a:2"])


def test_a_subscriber_closed_between_two_slices_is_skipped() -> None:
    peers = [FakePeer().subscribe_live("a") for _ in range(3)]
    dispatcher = dispatcher_of(*peers)
    accept(dispatcher, "a:1")
    dispatcher.run(1)
    peers[1].subscriber.close()
    assert dispatcher.run(ALL) == []
    assert [peer.received for peer in peers] == [["a:1"], [], ["a:1"]]


# Failures and drops


def test_a_failed_delivery_is_returned_and_does_not_affect_the_next_subscriber() -> None:
    broken, slow, healthy = (
        FakePeer().subscribe_live("a"),
        FakePeer(limits=QueueLimits(messages=1)).subscribe_live("a"),
        FakePeer().subscribe_live("a"),
    )
    broken.write_error = RuntimeError("a bug")
    slow.subscriber.pause()
    dispatcher = dispatcher_of(broken, slow, healthy)
    accept(dispatcher, "a:1 a:2")
    failures = dispatcher.run(ALL)
    assert healthy.received == ["a:1", "a:2"]
    assert [(failure.subscriber, type(failure.cause)) for failure in failures] == [
        (broken.subscriber, RuntimeError),
        (slow.subscriber, TooSlow),
    ]


def test_a_failed_delivery_counts_for_the_limit_of_a_slice() -> None:
    peers = [FakePeer().subscribe_live("a") for _ in range(4)]
    for peer in peers[:2]:
        peer.write_error = RuntimeError("a bug")
    dispatcher = dispatcher_of(*peers)
    accept(dispatcher, "a:1")
    assert [len(dispatcher.run(1)) for _ in range(4)] == [1, 1, 0, 0]
    assert peers[3].received == ["a:1"]


def test_connections_that_sent_the_same_part_of_a_block_share_the_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    wire = ReadableWire()
    peers = [FakePeer(wire).subscribe_live("a") for _ in range(3)]
    written: list[bytes] = []
    for peer in peers:
        peer.subscriber.attach(object())
        monkeypatch.setattr(peer, "write", written.append)
    dispatcher = Dispatcher(Recent(), lambda handles, block: [(place, 2) for place in range(len(handles))])
    for peer in peers:
        dispatcher.subscribe(["a"], peer.subscriber)
    accept(dispatcher, "a:1")
    assert dispatcher.run(ALL) == []
    assert written == [b"1 "] * 3
    assert len({id(rest) for rest in written}) == 1


def test_deliveries_and_dropped_messages_are_counted() -> None:
    slow = FakePeer(limits=QueueLimits(messages=2), policy=Policy.DROP).subscribe_live("a")
    slow.subscriber.pause()
    dispatcher = dispatcher_of(FakePeer().subscribe_live("a", "b"), slow)
    accept(dispatcher, "a:1 a:2 b:3 a:4 a:5")
    dispatcher.run(ALL)
    assert dispatcher.delivered == 5 + 4
    assert dispatcher.dropped == {Policy.DROP: 2}


def test_a_subscriber_whose_messages_are_dropped_is_returned_once_until_it_has_drained() -> None:
    ready, slow = (
        FakePeer().subscribe_live("a"),
        FakePeer(limits=QueueLimits(messages=1), policy=Policy.DROP).subscribe_live("a"),
    )
    slow.subscriber.pause()
    dispatcher = dispatcher_of(ready, slow)
    lagging = []
    for text in ("a:1", "a:2", "a:3"):
        accept(dispatcher, text)
        dispatcher.run(ALL)
        lagging.append(dispatcher.take_lagging())
    assert lagging == [[], [slow.subscriber], []]
    slow.subscriber.resume()
    slow.subscriber.pause()
    accept(dispatcher, "a:4 a:5")
    dispatcher.run(ALL)
    assert dispatcher.take_lagging() == [slow.subscriber]
    assert dispatcher.take_lagging() == []


# Ends of channels


def test_the_end_follows_the_last_message_for_subscribers_to_the_channel_itself() -> None:
    named, pattern, other = (
        FakePeer().subscribe_live("a"),
        FakePeer().subscribe_live("*"),
        FakePeer().subscribe_live("b"),
    )
    dispatcher = dispatcher_of(named, pattern, other)
    accept(dispatcher, "a:1")
    dispatcher.accept(Message("E", 2, "E-1", "a", 0.0, b"last", "text/plain", "text", end=True))
    dispatcher.run(ALL)
    assert named.received == ["a:1", "a:2", "end:a"]
    assert named.ends == ["a"]
    assert pattern.received == ["a:1", "a:2"]
    assert other.received == []


def test_an_end_mark_is_not_delivered_as_a_message() -> None:
    named, pattern = FakePeer().subscribe_live("a"), FakePeer().subscribe_live("**")
    dispatcher = dispatcher_of(named, pattern)
    accept(dispatcher, "a:1")
    dispatcher.accept(message(2, "a", b"", end=True))
    dispatcher.run(ALL)
    assert (named.received, pattern.received) == (["a:1", "end:a"], ["a:1"])


@pytest.mark.parametrize("limit", [1, 2, ALL])
def test_an_end_without_a_message_keeps_its_place_over_slices(limit: int) -> None:
    peers = [FakePeer().subscribe_live("a", "b") for _ in range(3)]
    dispatcher = dispatcher_of(*peers)
    accept(dispatcher, "a:1 b:2")
    dispatcher.end_channel("a")
    accept(dispatcher, "b:3")
    for _ in range(20):
        dispatcher.run(limit)
    assert all(peer.received == ["a:1", "b:2", "end:a", "b:3"] for peer in peers)


def test_the_dispatcher_is_behind_while_too_many_jobs_wait() -> None:
    dispatcher = Dispatcher(Recent())
    for _ in range(300):
        dispatcher.end_channel("a")
    assert dispatcher.is_behind
    dispatcher.run(1000)
    assert not dispatcher.is_behind


def test_messages_sent_by_handles_are_counted_by_wire_whether_chunked_or_not() -> None:
    blocks: list[bytes] = []
    peers = [FakePeer().subscribe_live("a") for _ in range(2)]
    wires: tuple[Wire, ...] = (ReadableWire(), Chunked(ReadableWire()))

    def send(block: bytes) -> int:
        blocks.append(block)
        return len(block)

    for peer, wire in zip(peers, wires, strict=True):
        peer.subscriber.wire = wire
        peer.subscriber.attach(send)
        peer.subscriber.resume()
    dispatcher = dispatcher_of(*peers)
    accept(dispatcher, "a:1 a:2")
    dispatcher.run(ALL)
    assert dispatcher.sent == {"readablewire": [4, sum(map(len, blocks))]}
    assert len(blocks) == 2
