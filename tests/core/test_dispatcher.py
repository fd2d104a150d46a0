"""Fan-out: what is accepted in one turn goes out together, in order, encoded once, and nobody waits."""

import pytest

from pushd.core.delivery import Recent, Wire
from pushd.core.dispatcher import Dispatcher
from pushd.core.errors import TooSlow
from pushd.core.message import Message
from pushd.core.outbox import Policy, QueueLimits
from pushd.wire.chunked import Chunked
from tests.build import FakePeer, ReadableWire, message, page

ALL = 1_000_000


def dispatcher_of(*peers: FakePeer) -> Dispatcher:
    dispatcher = Dispatcher(Recent())
    for peer in peers:
        for topic in peer.subscriber.starts:
            dispatcher.subscribe([topic], peer.subscriber)
    return dispatcher


def accept(dispatcher: Dispatcher, text: str) -> None:
    """Accept messages written as ``CHANNEL:SEQ``."""
    for word in text.split():
        channel, _, seq = word.partition(":")
        dispatcher.accept(message(int(seq), channel))


def test_a_turn_is_one_write_a_subscriber_in_the_order_of_ids() -> None:
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


def test_a_second_turn_is_a_write_of_its_own() -> None:
    peer = FakePeer().subscribe_live("a")
    dispatcher = dispatcher_of(peer)
    for text in ("a:1 a:2", "a:3"):
        accept(dispatcher, text)
        dispatcher.run(ALL)
    assert peer.writes == ["a:1 a:2", "a:3"]


def test_a_message_is_encoded_once_a_wire_and_a_block_joined_once_for_all_who_hear_the_same() -> None:
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


def test_one_who_comes_back_shares_what_was_encoded_for_those_who_stayed() -> None:
    wire, recent = ReadableWire(), Recent()
    dispatcher = Dispatcher(recent)
    stayed, returning = FakePeer(wire).subscribe_live("a"), FakePeer(wire)
    dispatcher.subscribe(["a"], stayed.subscriber)
    kept = message(1)
    dispatcher.accept(kept)
    dispatcher.run(ALL)
    returning.subscriber.replay(returning.subscriber.start_replay(["a"]), page(kept, upto=1), recent)
    assert stayed.received == returning.received == ["a:1"]
    assert wire.encoded == [1]


def test_what_nobody_hears_makes_no_work() -> None:
    dispatcher = dispatcher_of(FakePeer().subscribe_live("a"))
    accept(dispatcher, "b:1")
    assert dispatcher.is_idle


# Slices


@pytest.mark.parametrize("limit", [1, 2, 3, 7, 100])
def test_slices_serve_everybody_everything_in_order(limit: int) -> None:
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


def test_a_slice_serves_no_more_than_its_limit_and_the_next_goes_on_from_there() -> None:
    peers = [FakePeer().subscribe_live("a") for _ in range(5)]
    dispatcher = dispatcher_of(*peers)
    accept(dispatcher, "a:1")
    for served in (2, 4, 5):
        assert not dispatcher.is_idle
        dispatcher.run(2)
        assert sum(len(peer.writes) for peer in peers) == served
    assert dispatcher.is_idle


def test_what_came_first_is_finished_first() -> None:
    crowd, other = [FakePeer().subscribe_live("a") for _ in range(3)], FakePeer().subscribe_live("b")
    dispatcher = dispatcher_of(*crowd, other)
    accept(dispatcher, "a:1")
    dispatcher.run(2)
    accept(dispatcher, "b:2")
    dispatcher.run(1)
    assert (crowd[2].received, other.received) == (["a:1"], [])
    dispatcher.run(1)
    assert other.received == ["b:2"]


@pytest.mark.parametrize("data", [b"x", b"x" * 50_000])
def test_a_turn_of_very_many_is_cut_into_writes_that_fit_a_queue(data: bytes) -> None:
    """A subscriber with the default queue may be busy between two of them, and is not too slow by that."""
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


# Work in turns


def runs(dispatcher: Dispatcher, limit: int = 500) -> int:
    """Run until everybody is served; return how many turns that took."""
    count = 0
    while not dispatcher.is_idle:
        assert dispatcher.run(limit) == []
        count += 1
        assert count < 10_000, "it never ends"
    return count


def stalled(count: int) -> list[FakePeer]:
    """Make peers of channel ``a`` that do not read."""
    peers = [FakePeer().subscribe_live("a") for _ in range(count)]
    for peer in peers:
        peer.subscriber.pause()
    return peers


def test_those_who_are_not_ready_take_more_of_a_turn_the_more_messages_they_hear() -> None:
    few, many = dispatcher_of(*stalled(100)), dispatcher_of(*stalled(100))
    accept(few, "a:1")
    accept(many, " ".join(f"a:{seq}" for seq in range(1, 1000)))
    assert runs(few) == 1
    assert runs(many) > 20


def test_those_who_are_ready_do_not_wait_for_the_others() -> None:
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


def test_large_batches_take_more_of_a_turn() -> None:
    dispatcher = dispatcher_of(*[FakePeer().subscribe_live("a") for _ in range(100)])
    dispatcher.accept(message(1, data=bytes(1 << 20)))
    assert runs(dispatcher) > 5


@pytest.mark.parametrize("busy", [False, True])
def test_a_message_that_is_more_than_a_turn_is_delivered(busy: bool) -> None:
    peers = stalled(3) if busy else [FakePeer().subscribe_live("a") for _ in range(3)]
    dispatcher = dispatcher_of(*peers)
    dispatcher.accept(message(1, data=bytes(20 << 20)))
    assert runs(dispatcher) == 3
    for peer in peers:
        peer.subscriber.resume()
    assert [peer.received for peer in peers] == [["a:1"]] * 3


@pytest.mark.parametrize("limit", [1, 500])
def test_a_batch_that_is_much_for_one_alone_is_cut_and_stays_in_order(limit: int) -> None:
    topics = [f"a/{number}/*" for number in range(3000)]
    live, late = (
        FakePeer(limits=QueueLimits(2000)).subscribe_live(*topics),
        FakePeer(limits=QueueLimits(2000)).subscribe_live(*topics),
    )
    late.subscriber.start_replay(topics)
    live.subscriber.pause()
    dispatcher = dispatcher_of(live, late)
    words = [f"a/{seq % 3000}/x:{seq}" for seq in range(1, 1200)]
    accept(dispatcher, " ".join(words))
    assert runs(dispatcher, limit) > 3
    live.subscriber.resume()
    catching = late.subscriber.catch_up
    assert catching is not None
    late.subscriber.replay(catching, page(upto=0), Recent())
    assert live.received == late.received == words


@pytest.mark.parametrize("limit", [1, 500])
def test_who_hears_what_of_many_channels_is_worked_out_in_turns(limit: int) -> None:
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


# Those who come and go meanwhile


def test_one_who_parts_in_the_same_turn_hears_nothing_more() -> None:
    peer = FakePeer().subscribe_live("a", "b")
    dispatcher = dispatcher_of(peer)
    accept(dispatcher, "a:1 b:2")
    dispatcher.unsubscribe(("a",), peer.subscriber)
    dispatcher.run(ALL)
    assert peer.received == ["b:2"]


@pytest.mark.parametrize("topics", [["a"], ["a", "b"], ["a", "b/*"]])
def test_one_who_parts_between_two_slices_hears_nothing_more_of_that(topics: list[str]) -> None:
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


def test_one_who_comes_in_the_same_turn_hears_only_what_is_newer_than_its_cursor() -> None:
    peer, late = FakePeer().subscribe_live("a"), FakePeer().subscribe_live("a", after=1)
    dispatcher = dispatcher_of(peer)
    accept(dispatcher, "a:1")
    dispatcher.subscribe(["a"], late.subscriber)
    accept(dispatcher, "a:2")
    dispatcher.run(ALL)
    assert (peer.received, late.received) == (["a:1", "a:2"], ["a:2"])


def test_one_that_is_closed_between_two_slices_is_passed_over() -> None:
    peers = [FakePeer().subscribe_live("a") for _ in range(3)]
    dispatcher = dispatcher_of(*peers)
    accept(dispatcher, "a:1")
    dispatcher.run(1)
    peers[1].subscriber.close()
    assert dispatcher.run(ALL) == []
    assert [peer.received for peer in peers] == [["a:1"], [], ["a:1"]]


# Those who fail


def test_one_subscriber_that_fails_never_stops_the_next_and_is_told_apart() -> None:
    broken, slow, well = (
        FakePeer().subscribe_live("a"),
        FakePeer(limits=QueueLimits(messages=1)).subscribe_live("a"),
        FakePeer().subscribe_live("a"),
    )
    broken.write_error = RuntimeError("a bug")
    slow.subscriber.pause()
    dispatcher = dispatcher_of(broken, slow, well)
    accept(dispatcher, "a:1 a:2")
    failures = dispatcher.run(ALL)
    assert well.received == ["a:1", "a:2"]
    assert [(failure.subscriber, type(failure.cause)) for failure in failures] == [
        (broken.subscriber, RuntimeError),
        (slow.subscriber, TooSlow),
    ]


def test_one_that_fails_counts_against_the_slice_like_any_other() -> None:
    peers = [FakePeer().subscribe_live("a") for _ in range(4)]
    for peer in peers[:2]:
        peer.write_error = RuntimeError("a bug")
    dispatcher = dispatcher_of(*peers)
    accept(dispatcher, "a:1")
    assert [len(dispatcher.run(1)) for _ in range(4)] == [1, 1, 0, 0]
    assert peers[3].received == ["a:1"]


def test_all_whose_connections_took_as_much_of_a_block_share_the_rest(monkeypatch: pytest.MonkeyPatch) -> None:
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


def test_what_is_delivered_and_what_is_let_go_is_counted() -> None:
    slow = FakePeer(limits=QueueLimits(messages=2), policy=Policy.DROP).subscribe_live("a")
    slow.subscriber.pause()
    dispatcher = dispatcher_of(FakePeer().subscribe_live("a", "b"), slow)
    accept(dispatcher, "a:1 a:2 b:3 a:4 a:5")
    dispatcher.run(ALL)
    assert dispatcher.delivered == 5 + 4
    assert dispatcher.dropped == {Policy.DROP: 2}


def test_one_for_whom_messages_are_let_go_is_named_once_until_it_has_caught_up() -> None:
    well, slow = (
        FakePeer().subscribe_live("a"),
        FakePeer(limits=QueueLimits(messages=1), policy=Policy.DROP).subscribe_live("a"),
    )
    slow.subscriber.pause()
    dispatcher = dispatcher_of(well, slow)
    named = []
    for text in ("a:1", "a:2", "a:3"):
        accept(dispatcher, text)
        dispatcher.run(ALL)
        named.append(dispatcher.take_lagging())
    assert named == [[], [slow.subscriber], []]
    slow.subscriber.resume()
    slow.subscriber.pause()
    accept(dispatcher, "a:4 a:5")
    dispatcher.run(ALL)
    assert dispatcher.take_lagging() == [slow.subscriber]
    assert dispatcher.take_lagging() == []


# The end


def test_the_end_of_a_channel_is_told_behind_its_last_message_to_those_who_named_it() -> None:
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


def test_the_bare_mark_of_an_end_is_not_heard_as_a_message() -> None:
    named, pattern = FakePeer().subscribe_live("a"), FakePeer().subscribe_live("**")
    dispatcher = dispatcher_of(named, pattern)
    accept(dispatcher, "a:1")
    dispatcher.accept(message(2, "a", b"", end=True))
    dispatcher.run(ALL)
    assert (named.received, pattern.received) == (["a:1", "end:a"], ["a:1"])


@pytest.mark.parametrize("limit", [1, 2, ALL])
def test_a_channel_can_be_ended_without_a_message_and_slices_keep_that_order(limit: int) -> None:
    peers = [FakePeer().subscribe_live("a", "b") for _ in range(3)]
    dispatcher = dispatcher_of(*peers)
    accept(dispatcher, "a:1 b:2")
    dispatcher.end_channel("a")
    accept(dispatcher, "b:3")
    for _ in range(20):
        dispatcher.run(limit)
    assert all(peer.received == ["a:1", "b:2", "end:a", "b:3"] for peer in peers)


def test_it_is_behind_while_too_much_waits_for_its_turn() -> None:
    dispatcher = Dispatcher(Recent())
    for _ in range(300):
        dispatcher.end_channel("a")
    assert dispatcher.is_behind
    dispatcher.run(1000)
    assert not dispatcher.is_behind


def test_what_is_sent_at_once_is_counted_by_format_whether_it_is_chunked_or_not() -> None:
    blocks: list[bytes] = []
    peers = [FakePeer().subscribe_live("a") for _ in range(2)]
    wires: tuple[Wire, ...] = (ReadableWire(), Chunked(ReadableWire()))

    def take(block: bytes) -> int:
        blocks.append(block)
        return len(block)

    for peer, wire in zip(peers, wires, strict=True):
        peer.subscriber.wire = wire
        peer.subscriber.attach(take)
        peer.subscriber.resume()
    dispatcher = dispatcher_of(*peers)
    accept(dispatcher, "a:1 a:2")
    dispatcher.run(ALL)
    assert dispatcher.sent == {"readablewire": [4, sum(map(len, blocks))]}
    assert len(blocks) == 2
