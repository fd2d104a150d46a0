"""The life of a topic: history, then what arrived meanwhile, then live; each message once, the end last."""

import weakref
from typing import Any

import pytest

from pushd.core.cursor import MessageId
from pushd.core.delivery import Recent
from pushd.core.errors import TooSlow
from pushd.core.message import Gap, Message
from pushd.core.outbox import Policy, QueueLimits
from pushd.core.replay import Page, StartPosition
from tests.build import FakePeer, ReadableWire, StatefulWire, batch, message, page


def a(*seqs: int) -> list[Message]:
    """Make messages of channel ``a``."""
    return [message(seq, "a") for seq in seqs]


def b(*seqs: int) -> list[Message]:
    return [message(seq, "b") for seq in seqs]


def opening(seq: int, *, behind: bool = False, gaps: tuple[Gap, ...] = ()) -> StartPosition:
    return StartPosition(MessageId("E", seq), gaps, behind, is_complete=False)


class Returning(FakePeer):
    """A peer that catches up."""

    def catch(self, *topics: str) -> "Returning":
        self.catch_up = self.subscriber.start_replay(topics)
        return self

    def replay(self, read: Page) -> bool:
        return self.subscriber.replay(self.catch_up, read, Recent())


# Live


def test_what_comes_live_is_written_at_once_a_batch_a_write() -> None:
    peer = FakePeer().subscribe_live("a")
    peer.subscriber.deliver(batch(*a(1, 2)))
    peer.subscriber.deliver(batch(*a(3)))
    assert peer.writes == ["a:1 a:2", "a:3"]


def test_one_who_begins_now_hears_only_what_is_newer() -> None:
    peer = FakePeer().subscribe_live("a", after=5)
    peer.subscriber.deliver(batch(*a(4, 5, 6)))
    peer.subscriber.deliver(batch(*a(5)))
    assert peer.received == ["a:6"]


def test_each_topic_begins_at_its_own_place() -> None:
    peer = FakePeer().subscribe_live("a", after=1).subscribe_live("b", after=4)
    peer.subscriber.deliver(batch(message(2, "a"), message(3, "b"), message(4, "b"), message(5, "b"), message(6, "a")))
    assert peer.received == ["a:2", "b:5", "a:6"]


def test_a_message_of_overlapping_topics_is_heard_once() -> None:
    peer = FakePeer().subscribe_live("a", "*", "**")
    peer.subscriber.deliver(batch(message(1, "a"), message(2, "b")))
    assert peer.received == ["a:1", "b:2"]


@pytest.mark.parametrize(("channel", "topic"), [("a", "a"), ("b", "*"), ("c/d", "c/**"), ("x/y", None)])
def test_a_channel_is_heard_by_its_own_name_or_else_by_a_pattern(channel: str, topic: str | None) -> None:
    assert FakePeer().subscribe_live("*", "a", "c/**").subscriber.topic_of(channel) == topic


# Catching up


def test_history_comes_first_then_what_arrived_meanwhile_then_live() -> None:
    peer = Returning().catch("a")
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


def test_what_arrived_meanwhile_and_stands_in_the_history_is_heard_once() -> None:
    peer = Returning().catch("a")
    peer.subscriber.deliver(batch(*a(2, 3)))
    assert peer.replay(page(*a(1, 2), upto=2))
    peer.subscriber.deliver(batch(*a(2, 3)))
    assert peer.received == ["a:1", "a:2", "a:3"]


def test_one_who_missed_nothing_is_live_without_a_word() -> None:
    peer = Returning().catch("a")
    assert peer.replay(page(upto=7))
    assert peer.writes == []
    peer.subscriber.deliver(batch(*a(7, 8)))
    assert peer.received == ["a:8"]


def test_one_for_whom_the_opening_says_all_is_live_at_once() -> None:
    peer = Returning().catch("a")
    assert peer.subscriber.try_go_live(opening(2))
    peer.subscriber.deliver(batch(*a(2, 3)))
    assert peer.received == ["a:3"]


@pytest.mark.parametrize("told", [{"behind": True}, {"gaps": (Gap("a", "E-0", "E-1", "evicted"),)}])
def test_one_who_missed_something_is_not_live_at_once(told: dict[str, Any]) -> None:
    peer = Returning().catch("a")
    assert not peer.subscriber.try_go_live(opening(2, **told))
    assert peer.subscriber.catch_up is peer.catch_up


def test_one_for_whom_something_waits_already_is_not_live_at_once() -> None:
    held, ended, doubting, busy, gone = (Returning().catch("a") for _ in range(5))
    held.subscriber.deliver(batch(*a(3)))
    ended.subscriber.end("a")
    doubting.catch_up.invalidate()
    busy.subscriber.pause()
    gone.subscriber.close()
    assert not any(peer.subscriber.try_go_live(opening(2)) for peer in (held, ended, doubting, busy, gone))


def test_what_does_not_fit_beside_the_replay_is_read_from_the_history_again() -> None:
    peer = Returning(limits=QueueLimits(messages=2)).catch("a")
    for seq in (3, 4, 5):
        peer.subscriber.deliver(batch(*a(seq)))
    assert not peer.replay(page(*a(1, 2), upto=2))
    peer.subscriber.deliver(batch(*a(6)))
    assert peer.replay(page(*a(3, 4, 5), upto=5))
    peer.subscriber.deliver(batch(*a(7)))
    assert peer.received == [f"a:{seq}" for seq in range(1, 8)]


def test_a_topic_that_is_live_stays_live_while_another_one_catches_up() -> None:
    peer = Returning().catch("b")
    peer.replay(page(upto=0))
    peer.catch("a")
    peer.subscriber.deliver(batch(message(3, "a"), message(4, "b")))
    assert peer.received == ["b:4"]
    peer.replay(page(*a(1), upto=2))
    assert peer.received == ["b:4", "a:1", "a:3"]


def test_what_came_live_by_one_topic_does_not_come_by_the_replay_of_another() -> None:
    peer = Returning()
    peer.subscribe_live("a", after=2)
    peer.catch("*")
    peer.subscriber.deliver(batch(message(3, "a"), message(4, "b")))
    peer.subscriber.deliver(batch(*a(5)))
    assert peer.received == ["a:3", "a:5"]
    assert peer.replay(page(message(2, "b"), *a(3), upto=3))
    peer.subscriber.deliver(batch(message(6, "a"), message(7, "b")))
    assert peer.received == ["a:3", "a:5", "b:2", "b:4", "a:6", "b:7"]


def test_a_gap_is_told_before_the_messages_that_follow_it_and_once() -> None:
    gap = Gap("a", "E-1", "E-3", "evicted")
    newer = Gap("a", "E-4", "E-5", "expired")
    peer = Returning().catch("a")
    peer.replay(page(*a(4), upto=4, more=True, gaps=(gap,)))
    peer.replay(page(*a(6), upto=6, gaps=(gap, newer)))
    assert peer.received == ["gap:a:E-1:E-3:evicted", "a:4", "gap:a:E-4:E-5:expired", "a:6"]


@pytest.mark.parametrize("data_only", [False, True])
def test_a_gap_that_is_known_is_not_told_by_the_pages(data_only: bool) -> None:
    gap = Gap("a", "E-0", "E-3", "evicted")
    peer = Returning(ReadableWire(data_only=data_only)).catch("a")
    peer.catch_up.mark_reported([gap])
    peer.replay(page(*a(4), upto=4, gaps=(gap,)))
    assert peer.received == ["a:4"]


def test_a_gap_can_be_told_at_once() -> None:
    peer = FakePeer()
    peer.subscriber.gap([Gap("a", "E-1", "E-3", "evicted")])
    peer.subscriber.gap([])
    assert peer.writes == ["gap:a:E-1:E-3:evicted"]


def test_a_bare_wire_breaks_off_where_the_history_has_a_gap_unless_only_the_latest_counts() -> None:
    gapped = page(*a(4), upto=4, gaps=(Gap("a", "E-1", "E-3", "evicted"),))
    peer = Returning(ReadableWire(data_only=True)).catch("a")
    with pytest.raises(TooSlow):
        peer.replay(gapped)
    assert peer.received == []
    content = Returning(ReadableWire(data_only=True), policy=Policy.LATEST).catch("a")
    assert content.replay(gapped)
    assert content.received == ["a:4"]


def test_a_fluid_wire_knows_what_each_message_follows_however_it_came() -> None:
    peer = Returning(StatefulWire()).catch("a", "b")
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


# Parting


def test_one_who_parts_from_a_topic_hears_the_others_only() -> None:
    peer = FakePeer().subscribe_live("a", "b")
    peer.subscriber.unsubscribe("a")
    peer.subscriber.unsubscribe("never")
    peer.subscriber.deliver(batch(message(1, "b")))
    assert peer.received == ["b:1"]
    assert peer.subscriber.topic_of("a") is None


@pytest.mark.parametrize("left", [(), ("b",)], ids=["nothing", "another topic"])
def test_what_was_on_its_way_is_not_heard_by_one_who_has_parted(left: tuple[str, ...]) -> None:
    """A batch is planned for a crowd, and the last of them are served a turn later."""
    peer = FakePeer().subscribe_live("a", *left)
    peer.subscriber.unsubscribe("a", newest=2)
    peer.subscriber.deliver(batch(*a(1)))
    peer.subscriber.deliver(batch(*a(2)))
    assert peer.received == []


def test_what_was_on_its_way_is_not_heard_though_another_topic_goes_live_meanwhile() -> None:
    peer = FakePeer().subscribe_live("a")
    peer.subscriber.start_replay(["b"])
    peer.subscriber.unsubscribe("a", newest=5)
    peer.subscriber.go_live(["b"], 3)
    peer.subscriber.deliver(batch(*a(4)))
    peer.subscriber.deliver(batch(message(5, "b")))
    assert peer.received == ["b:5"]


def test_what_waits_is_not_heard_by_one_who_has_parted() -> None:
    peer = FakePeer().subscribe_live("a", "b")
    peer.subscriber.pause()
    peer.subscriber.deliver(batch(message(1, "a"), message(2, "b"), message(3, "a")))
    peer.subscriber.unsubscribe("a")
    peer.subscriber.resume()
    assert peer.received == ["b:2"]


def test_what_another_topic_covers_is_still_heard_by_one_who_has_parted() -> None:
    peer = FakePeer().subscribe_live("a", "*")
    peer.subscriber.pause()
    peer.subscriber.deliver(batch(*a(1)))
    peer.subscriber.unsubscribe("a")
    peer.subscriber.resume()
    peer.subscriber.deliver(batch(*a(2)))
    assert peer.received == ["a:1", "a:2"]


@pytest.mark.parametrize(("topics", "heard"), [(["a"], []), (["a", "b"], ["b:2", "b:4"])])
def test_one_who_parts_while_it_catches_up_hears_no_more_of_that(topics: list[str], heard: list[str]) -> None:
    peer = Returning().catch(*topics)
    peer.subscriber.deliver(batch(*a(3)))
    if "b" in topics:
        peer.subscriber.deliver(batch(*b(4)))
    peer.subscriber.unsubscribe("a")
    history = [message(1, "a"), *b(2)] if "b" in topics else a(1)
    peer.replay(page(*history, upto=2, gaps=(Gap("a", "E-0", "E-1", "expired"),)))
    assert peer.received == heard


# The end


def test_the_end_of_a_channel_is_told_and_then_nothing_more_of_it() -> None:
    peer = FakePeer().subscribe_live("a", "b")
    peer.subscriber.end("a")
    peer.subscriber.deliver(batch(message(1, "a"), message(2, "b")))
    assert peer.received == ["end:a", "b:2"]
    assert peer.ends == ["a"]


def test_the_end_of_a_channel_that_was_not_named_is_not_told() -> None:
    peer = FakePeer().subscribe_live("*")
    peer.subscriber.end("a")
    peer.subscriber.deliver(batch(*a(1)))
    assert (peer.received, peer.ends) == (["a:1"], [])


def test_a_bare_wire_says_nothing_of_an_end_but_its_outlet_knows() -> None:
    peer = FakePeer(ReadableWire(data_only=True)).subscribe_live("a")
    peer.subscriber.end("a")
    assert (peer.writes, peer.ends) == ([], ["a"])


def test_the_last_page_tells_the_ends_behind_its_messages_and_an_earlier_one_does_not() -> None:
    peer = Returning().catch("a", "b")
    peer.replay(page(*a(1), upto=1, more=True, ended=("a",)))
    assert peer.received == ["a:1"]
    peer.replay(page(*b(2), upto=2, ended=("a",)))
    assert peer.received == ["a:1", "b:2", "end:a"]
    assert peer.ends == ["a"]


@pytest.mark.parametrize("ended", [("a",), ()], ids=["ended", "deleted"])
@pytest.mark.parametrize("busy", [False, True])
def test_an_end_while_it_catches_up_is_told_once_behind_all_that_came_before(
    busy: bool, ended: tuple[str, ...]
) -> None:
    """The last page knows of the end as well, unless the channel was deleted."""
    peer = Returning().catch("a")
    if busy:
        peer.subscriber.pause()
    peer.subscriber.deliver(batch(*a(3)))
    peer.subscriber.end("a")
    peer.subscriber.resume()
    assert (peer.received, peer.ends) == ([], [])
    peer.replay(page(*a(1), upto=1, more=True))
    peer.replay(page(*a(2), upto=2, ended=ended))
    assert peer.received == ["a:1", "a:2", "a:3", "end:a"]
    assert peer.ends == ["a"]


def test_one_who_left_does_not_hold_its_connection() -> None:
    """So both are freed at once: a crowd that leaves is no work for the garbage collector."""
    peer = FakePeer().subscribe_live("a")
    subscriber, connection = peer.subscriber, weakref.ref(peer)
    subscriber.close()
    subscriber.outlet.write(b"unheard")
    del peer
    assert connection() is None
