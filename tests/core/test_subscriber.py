"""The states of a topic: history, then messages held meanwhile, then live; each message once, the end last."""

import weakref
from typing import Any

import pytest

from pushd.core.cursor import MessageId
from pushd.core.delivery import Recent
from pushd.core.errors import TooSlow
from pushd.core.message import Gap, Message
from pushd.core.outbox import Policy, QueueLimits
from pushd.core.queued_output import NEVER
from pushd.core.replay import Page, StartPosition
from tests.build import FakePeer, ReadableWire, StatefulWire, at, batch, message, page


def a(*seqs: int) -> list[Message]:
    """Return messages of channel ``a``."""
    return [message(seq, "a") for seq in seqs]


def b(*seqs: int) -> list[Message]:
    return [message(seq, "b") for seq in seqs]


def opening(seq: int, *, needs_replay: bool = False, gaps: tuple[Gap, ...] = ()) -> StartPosition:
    return StartPosition(MessageId("E", seq), gaps, needs_replay, is_complete=False)


class ReplayingPeer(FakePeer):
    """A peer that receives a replay."""

    def start_replay(self, *topics: str) -> "ReplayingPeer":
        self.catch_up = self.subscriber.start_replay(topics)
        return self

    def replay(self, read: Page) -> bool:
        return self.subscriber.replay(self.catch_up, read, Recent())


# Live


def test_each_live_batch_is_one_write() -> None:
    peer = FakePeer().subscribe_live("a")
    peer.subscriber.deliver(batch(*a(1, 2)))
    peer.subscriber.deliver(batch(*a(3)))
    assert peer.writes == ["a:1 a:2", "a:3"]


def test_a_topic_without_history_receives_only_newer_messages() -> None:
    peer = FakePeer().subscribe_live("a", after=5)
    peer.subscriber.deliver(batch(*a(4, 5, 6)))
    peer.subscriber.deliver(batch(*a(5)))
    assert peer.received == ["a:6"]


def test_each_topic_has_its_own_start() -> None:
    peer = FakePeer().subscribe_live("a", after=1).subscribe_live("b", after=4)
    peer.subscriber.deliver(batch(message(2, "a"), message(3, "b"), message(4, "b"), message(5, "b"), message(6, "a")))
    assert peer.received == ["a:2", "b:5", "a:6"]


def test_a_message_of_overlapping_topics_is_received_once() -> None:
    peer = FakePeer().subscribe_live("a", "*", "**")
    peer.subscriber.deliver(batch(message(1, "a"), message(2, "b")))
    assert peer.received == ["a:1", "b:2"]


@pytest.mark.parametrize(("channel", "topic"), [("a", "a"), ("b", "*"), ("c/d", "c/**"), ("x/y", None)])
def test_a_channel_is_received_by_its_own_name_or_else_by_a_pattern(channel: str, topic: str | None) -> None:
    assert FakePeer().subscribe_live("*", "a", "c/**").subscriber.topic_of(channel) == topic


# Replays


def test_history_comes_first_then_held_then_live_messages() -> None:
    peer = ReplayingPeer().start_replay("a")
    peer.subscriber.deliver(batch(*a(4, 5)))
    assert peer.received == []
    assert not peer.replay(page(*a(1, 2), upto=2, more=True))
    peer.subscriber.deliver(batch(*a(6)))
    assert peer.received == ["a:1", "a:2"]
    assert peer.replay(page(*a(3), upto=3))
    assert peer.received == ["a:1", "a:2", "a:3", "a:4", "a:5", "a:6"]
    peer.subscriber.deliver(batch(*a(7)))
    assert peer.received[-1] == "a:7"
    assert len(peer.writes) == 3


def test_a_held_message_that_the_history_contains_is_received_once() -> None:
    peer = ReplayingPeer().start_replay("a")
    peer.subscriber.deliver(batch(*a(2, 3)))
    assert peer.replay(page(*a(1, 2), upto=2))
    peer.subscriber.deliver(batch(*a(2, 3)))
    assert peer.received == ["a:1", "a:2", "a:3"]


def test_an_empty_replay_writes_nothing() -> None:
    peer = ReplayingPeer().start_replay("a")
    assert peer.replay(page(upto=7))
    assert peer.writes == []
    peer.subscriber.deliver(batch(*a(7, 8)))
    assert peer.received == ["a:8"]


def test_a_start_position_that_needs_no_replay_leads_to_live_at_once() -> None:
    peer = ReplayingPeer().start_replay("a")
    assert peer.subscriber.try_go_live(opening(2))
    peer.subscriber.deliver(batch(*a(2, 3)))
    assert peer.received == ["a:3"]


@pytest.mark.parametrize("start", [{"needs_replay": True}, {"gaps": (Gap("a", "E-0", "E-1", "evicted"),)}])
def test_a_start_position_that_needs_a_replay_or_has_gaps_does_not_lead_to_live_at_once(start: dict[str, Any]) -> None:
    peer = ReplayingPeer().start_replay("a")
    assert not peer.subscriber.try_go_live(opening(2, **start))
    assert peer.subscriber.catch_up is peer.catch_up


def test_a_topic_with_held_messages_or_ends_does_not_go_live_at_once() -> None:
    held, ended, invalid, paused, closed = (ReplayingPeer().start_replay("a") for _ in range(5))
    held.subscriber.deliver(batch(*a(3)))
    ended.subscriber.end("a", 3)
    invalid.catch_up.invalidate()
    paused.subscriber.pause()
    closed.subscriber.close()
    assert not any(peer.subscriber.try_go_live(opening(2)) for peer in (held, ended, invalid, paused, closed))


def test_messages_that_cannot_be_held_are_read_from_the_history() -> None:
    peer = ReplayingPeer(limits=QueueLimits(messages=2)).start_replay("a")
    for seq in (3, 4, 5):
        peer.subscriber.deliver(batch(*a(seq)))
    assert not peer.replay(page(*a(1, 2), upto=2))
    peer.subscriber.deliver(batch(*a(6)))
    assert peer.replay(page(*a(3, 4, 5), upto=5))
    peer.subscriber.deliver(batch(*a(7)))
    assert peer.received == [f"a:{seq}" for seq in range(1, 8)]


def test_a_live_topic_stays_live_while_another_one_is_replayed() -> None:
    peer = ReplayingPeer().start_replay("b")
    peer.replay(page(upto=0))
    peer.start_replay("a")
    peer.subscriber.deliver(batch(message(3, "a"), message(4, "b")))
    assert peer.received == ["b:4"]
    peer.replay(page(*a(1), upto=2))
    assert peer.received == ["b:4", "a:1", "a:3"]


def test_a_message_received_live_is_not_replayed_by_another_topic() -> None:
    peer = ReplayingPeer()
    peer.subscribe_live("a", after=2)
    peer.start_replay("*")
    peer.subscriber.deliver(batch(message(3, "a"), message(4, "b")))
    peer.subscriber.deliver(batch(*a(5)))
    assert peer.received == ["a:3", "a:5"]
    assert peer.replay(page(message(2, "b"), *a(3), upto=3))
    peer.subscriber.deliver(batch(message(6, "a"), message(7, "b")))
    assert peer.received == ["a:3", "a:5", "b:2", "b:4", "a:6", "b:7"]


def test_a_gap_is_reported_once_before_the_messages_that_follow_it() -> None:
    gap = Gap("a", "E-1", "E-3", "evicted")
    newer = Gap("a", "E-4", "E-5", "expired")
    peer = ReplayingPeer().start_replay("a")
    peer.replay(page(*a(4), upto=4, more=True, gaps=(gap,)))
    peer.replay(page(*a(6), upto=6, gaps=(gap, newer)))
    assert peer.received == ["gap:a:E-1:E-3:evicted", "a:4", "gap:a:E-4:E-5:expired", "a:6"]


@pytest.mark.parametrize("data_only", [False, True])
def test_a_gap_that_was_reported_is_not_reported_by_the_pages(data_only: bool) -> None:
    gap = Gap("a", "E-0", "E-3", "evicted")
    peer = ReplayingPeer(ReadableWire(data_only=data_only)).start_replay("a")
    peer.catch_up.reports.opened(opening(0, needs_replay=True, gaps=(gap,)))
    peer.replay(page(*a(4), upto=4, gaps=(gap,)))
    assert peer.received == ["a:4"]


def test_gaps_are_reported_at_once() -> None:
    peer = FakePeer()
    peer.subscriber.gap([Gap("a", "E-1", "E-3", "evicted")])
    peer.subscriber.gap([])
    assert peer.writes == ["gap:a:E-1:E-3:evicted"]


def test_a_gap_in_the_history_disconnects_a_data_only_wire_unless_the_policy_is_latest() -> None:
    gapped = page(*a(4), upto=4, gaps=(Gap("a", "E-1", "E-3", "evicted"),))
    peer = ReplayingPeer(ReadableWire(data_only=True)).start_replay("a")
    with pytest.raises(TooSlow):
        peer.replay(gapped)
    assert peer.received == []
    latest = ReplayingPeer(ReadableWire(data_only=True), policy=Policy.LATEST).start_replay("a")
    assert latest.replay(gapped)
    assert latest.received == ["a:4"]


def test_a_stateful_wire_encodes_each_message_after_the_one_sent_before() -> None:
    peer = ReplayingPeer(StatefulWire()).start_replay("a", "b")
    peer.subscriber.deliver(batch(*a(3)))
    peer.replay(page(*a(1), upto=1, more=True))
    peer.replay(page(*b(2), upto=2))
    peer.subscriber.deliver(batch(*b(4)))
    peer.subscriber.pause()
    peer.subscriber.deliver(batch(*a(5)))
    peer.subscriber.deliver(batch(message(6, "b"), message(7, "b")))
    peer.subscriber.resume()
    peer.subscriber.deliver(batch(*a(8)))
    assert peer.received == [">a:1", "a>b:2", "b>a:3", "a>b:4", "b>a:5", "a>b:6", "b>b:7", "b>a:8"]


# Unsubscribing


def test_only_the_other_topics_are_received_after_unsubscribing() -> None:
    peer = FakePeer().subscribe_live("a", "b")
    peer.subscriber.unsubscribe("a")
    peer.subscriber.unsubscribe("never")
    peer.subscriber.deliver(batch(message(1, "b")))
    assert peer.received == ["b:1"]
    assert peer.subscriber.topic_of("a") is None


@pytest.mark.parametrize("others", [(), ("b",)], ids=["no other topic", "another topic"])
def test_an_accepted_message_is_not_received_after_unsubscribing(others: tuple[str, ...]) -> None:
    """A batch is sent in slices, and the last subscribers are served a turn later."""
    peer = FakePeer().subscribe_live("a", *others)
    peer.subscriber.unsubscribe("a", newest=2)
    peer.subscriber.deliver(batch(*a(1)))
    peer.subscriber.deliver(batch(*a(2)))
    assert peer.received == []


def test_an_accepted_message_is_not_received_although_another_topic_goes_live_meanwhile() -> None:
    peer = FakePeer().subscribe_live("a")
    peer.subscriber.start_replay(["b"])
    peer.subscriber.unsubscribe("a", newest=5)
    peer.subscriber.go_live(["b"], 3)
    peer.subscriber.deliver(batch(*a(4)))
    peer.subscriber.deliver(batch(message(5, "b")))
    assert peer.received == ["b:5"]


def test_queued_messages_are_not_received_after_unsubscribing() -> None:
    peer = FakePeer().subscribe_live("a", "b")
    peer.subscriber.pause()
    peer.subscriber.deliver(batch(message(1, "a"), message(2, "b"), message(3, "a")))
    peer.subscriber.unsubscribe("a")
    peer.subscriber.resume()
    assert peer.received == ["b:2"]


def test_messages_that_another_topic_covers_are_received_after_unsubscribing() -> None:
    peer = FakePeer().subscribe_live("a", "*")
    peer.subscriber.pause()
    peer.subscriber.deliver(batch(*a(1)))
    peer.subscriber.unsubscribe("a")
    peer.subscriber.resume()
    peer.subscriber.deliver(batch(*a(2)))
    assert peer.received == ["a:1", "a:2"]


@pytest.mark.parametrize(("topics", "expected"), [(["a"], []), (["a", "b"], ["b:2", "b:4"])])
def test_a_topic_unsubscribed_during_its_replay_is_not_received(topics: list[str], expected: list[str]) -> None:
    peer = ReplayingPeer().start_replay(*topics)
    peer.subscriber.deliver(batch(*a(3)))
    if "b" in topics:
        peer.subscriber.deliver(batch(*b(4)))
    peer.subscriber.unsubscribe("a")
    history = [message(1, "a"), *b(2)] if "b" in topics else a(1)
    peer.replay(page(*history, upto=2, gaps=(Gap("a", "E-0", "E-1", "expired"),)))
    assert peer.received == expected


# Ends of channels


def test_a_channel_that_begins_anew_is_received() -> None:
    peer = FakePeer().subscribe_live("a", "b")
    peer.subscriber.end("a", 1)
    peer.subscriber.deliver(batch(*b(2)))
    assert (peer.received, peer.ends) == (["end:a", "b:2"], ["a"])
    peer.subscriber.deliver(batch(*a(3)))
    peer.subscriber.end("a", 4)
    assert (peer.received, peer.ends) == (["end:a", "b:2", "a:3", "end:a"], ["a"])
    assert peer.topics_ended_calls == 0


def test_a_subscriber_with_an_ended_channel_is_not_sent_to_by_its_handle_until_that_begins_anew() -> None:
    peer = FakePeer().subscribe_live("a", "b")
    peer.subscriber.attach(object())
    assert peer.subscriber.threshold == 0
    peer.subscriber.end("a", 1)
    assert peer.subscriber.threshold == NEVER
    peer.subscriber.deliver(batch(*a(2)))
    assert peer.subscriber.threshold == 0


def test_the_outlet_is_called_once_every_channel_has_ended_at_the_same_time() -> None:
    peer = FakePeer().subscribe_live("a", "b")
    peer.subscriber.end("a", 1)
    peer.subscriber.deliver(batch(*a(2)))
    peer.subscriber.end("b", 3)
    assert peer.topics_ended_calls == 0
    peer.subscriber.end("a", 4)
    assert peer.topics_ended_calls == 1


def test_an_end_that_the_history_told_of_is_not_reported_again() -> None:
    peer = FakePeer().subscribe_live("a", after=5)
    peer.subscriber.end("a", 5)
    assert peer.received == []


@pytest.mark.parametrize("is_paused", [False, True])
def test_an_end_stands_where_it_happened_and_what_follows_is_received(is_paused: bool) -> None:
    peer = FakePeer().subscribe_live("a", "b")
    if is_paused:
        peer.subscriber.pause()
    peer.subscriber.deliver(batch(*a(1)))
    peer.subscriber.end("a", 2)
    peer.subscriber.deliver(batch(*b(3)))
    peer.subscriber.deliver(batch(*a(4)))
    peer.subscriber.resume()
    assert peer.received == ["a:1", "end:a", "b:3", "a:4"]
    assert (peer.ends, peer.topics_ended_calls) == ([], 0)


def test_an_end_during_a_replay_stands_where_it_happened() -> None:
    """Whether what follows it is read from the history or was held."""
    peer = ReplayingPeer().start_replay("a", "b")
    peer.subscriber.deliver(batch(*a(4)))
    peer.subscriber.end("a", 5)
    peer.subscriber.deliver(batch(message(6, "b"), message(7, "a")))
    peer.replay(page(*a(1), upto=1, more=True))
    peer.replay(page(message(4, "a"), message(6, "b"), upto=6))
    assert peer.received == ["a:1", "a:4", "end:a", "b:6", "a:7"]
    assert peer.ends == []
    peer.subscriber.deliver(batch(*a(8)))
    assert peer.received[-1] == "a:8"


def test_an_end_that_a_page_was_read_past_is_not_reported_before_what_follows() -> None:
    peer = ReplayingPeer().start_replay("a")
    peer.replay(page(message(1, "a"), message(3, "a"), upto=3, more=True))
    peer.subscriber.end("a", 2)
    peer.replay(page(*a(4), upto=4))
    peer.subscriber.end("a", 4)
    assert (peer.received, peer.ends) == (["a:1", "a:3", "a:4"], [])


def test_the_deletion_of_a_channel_during_a_replay_stands_where_it_happened() -> None:
    peer = ReplayingPeer().start_replay("a", "b")
    peer.subscriber.deliver(batch(*b(2)))
    peer.subscriber.end("a", 2, is_deletion=True)
    peer.subscriber.deliver(batch(*a(3)))
    peer.replay(page(*b(1), upto=1))
    assert peer.received == ["b:1", "b:2", "end:a", "a:3"]


def test_a_message_of_the_history_is_received_once_by_overlapping_topics() -> None:
    """Whichever of them is subscribed to first, for peers that may subscribe again."""
    for first, second in (("a", "*"), ("*", "a")):
        peer = ReplayingPeer()
        peer.subscriber.record_origins()
        peer.start_replay(first).catch_up.origin = at(0)
        peer.replay(page(*a(1, 2), upto=2))
        peer.start_replay(second).catch_up.origin = at(0)
        peer.subscriber.deliver(batch(*a(3)))
        peer.replay(page(*a(1, 2, 3), upto=3))
        assert peer.received == ["a:1", "a:2", "a:3"]


def test_what_came_before_the_replay_of_an_overlapping_topic_is_received() -> None:
    peer = ReplayingPeer()
    peer.subscriber.record_origins()
    peer.start_replay("a").catch_up.origin = at(1)
    peer.replay(page(*a(2), upto=2))
    peer.start_replay("*").catch_up.origin = at(0)
    peer.replay(page(*a(1, 2), upto=2))
    assert peer.received == ["a:2", "a:1"]


def test_a_topic_that_is_restarted_is_received_again() -> None:
    peer = ReplayingPeer()
    peer.subscriber.record_origins()
    for _ in range(2):
        peer.subscriber.restart(["a"])
        peer.start_replay("a").catch_up.origin = at(0)
        peer.replay(page(*a(1, 2), upto=2))
    assert peer.received == ["a:1", "a:2", "a:1", "a:2"]


def test_a_resync_of_a_topic_that_was_replayed_sends_what_was_missed() -> None:
    peer = ReplayingPeer()
    peer.subscriber.record_origins()
    peer.start_replay("a", "*").catch_up.origin = at(0)
    peer.replay(page(*a(1), upto=1))
    peer.start_replay("a", "*").catch_up.origin = at(1)
    peer.replay(page(*a(2), upto=2))
    assert peer.received == ["a:1", "a:2"]


def test_the_end_of_a_channel_is_not_reported_to_a_pattern() -> None:
    peer = FakePeer().subscribe_live("*")
    peer.subscriber.end("a", 1)
    peer.subscriber.deliver(batch(*a(1)))
    assert (peer.received, peer.ends) == (["a:1"], [])


def test_a_data_only_wire_has_no_end_but_its_outlet_is_called() -> None:
    peer = FakePeer(ReadableWire(data_only=True)).subscribe_live("a")
    peer.subscriber.end("a", 1)
    assert (peer.writes, peer.ends) == ([], ["a"])


def test_only_the_last_page_reports_ends_after_its_messages() -> None:
    peer = ReplayingPeer().start_replay("a", "b")
    peer.replay(page(*a(1), upto=1, more=True, ended=("a",)))
    assert peer.received == ["a:1"]
    peer.replay(page(*b(2), upto=2, ended=("a",)))
    assert peer.received == ["a:1", "b:2", "end:a"]
    assert peer.ends == ["a"]


@pytest.mark.parametrize("ended", [("a",), ()], ids=["ended", "deleted"])
@pytest.mark.parametrize("is_paused", [False, True])
def test_an_end_during_a_replay_is_reported_once_after_all_earlier_messages(
    is_paused: bool, ended: tuple[str, ...]
) -> None:
    """The last page reports the end as well, unless the channel was deleted."""
    peer = ReplayingPeer().start_replay("a")
    if is_paused:
        peer.subscriber.pause()
    peer.subscriber.deliver(batch(*a(3)))
    peer.subscriber.end("a", 3, is_deletion=not ended)
    peer.subscriber.resume()
    assert (peer.received, peer.ends) == ([], [])
    peer.replay(page(*a(1), upto=1, more=True))
    peer.replay(page(*a(2), upto=2, ended=ended))
    assert peer.received == ["a:1", "a:2", "a:3", "end:a"]
    assert peer.ends == ["a"]


def test_a_closed_subscriber_does_not_refer_to_its_connection() -> None:
    """Both are freed at once: many closed connections are no work for the garbage collector."""
    peer = FakePeer().subscribe_live("a")
    subscriber, connection = peer.subscriber, weakref.ref(peer)
    subscriber.close()
    subscriber.outlet.write(b"ignored")
    del peer
    assert connection() is None
