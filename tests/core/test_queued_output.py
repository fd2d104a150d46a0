"""A subscriber at its own speed: what waits, what is let go, and what it is told of that."""

import pytest

from pushd.core.errors import NoRoom, TooSlow
from pushd.core.outbox import Policy, QueueLimits
from tests.build import FakePeer, ReadableWire, batch, message

LARGE = b"x" * 40_000


def send(peer: FakePeer, *seqs: int, channel: str = "a", data: bytes = b"x") -> int:
    """Deliver messages one by one, linked as a channel's are; give how many were let go for them."""
    return sum(
        peer.subscriber.deliver(batch(message(seq, channel, data, prev=seq - 1 if seq > 1 else None))) for seq in seqs
    )


def busy(
    *topics: str, policy: Policy = Policy.DISCONNECT, limits: QueueLimits | None = None, data_only: bool = False
) -> FakePeer:
    peer = FakePeer(ReadableWire(data_only=data_only), limits, policy).subscribe_live(*topics or ("a",))
    peer.subscriber.pause()
    return peer


# Busy and ready


def test_what_comes_while_it_is_busy_waits_and_comes_in_order_in_one_write() -> None:
    peer = busy()
    send(peer, 1, 2, 3)
    assert peer.writes == []
    assert peer.subscriber.is_paused
    assert peer.subscriber.queued_bytes == 3 * message().size
    peer.subscriber.resume()
    send(peer, 4)
    assert peer.writes == ["a:1 a:2 a:3", "a:4"]
    assert not peer.subscriber.is_paused
    assert peer.subscriber.queued_bytes == 0


def test_no_more_is_written_at_once_than_the_transport_takes_and_the_rest_waits_on() -> None:
    peer = busy()
    send(peer, 1, 2, 3, 4, 5, data=LARGE)
    peer.is_full_after_write = True
    peer.subscriber.resume()
    assert peer.writes == ["a:1 a:2"]
    send(peer, 6)
    peer.subscriber.resume()
    assert peer.writes == ["a:1 a:2", "a:3 a:4"]
    peer.is_full_after_write = False
    peer.subscriber.resume()
    assert peer.writes == ["a:1 a:2", "a:3 a:4", "a:5 a:6"]


def test_one_whose_last_write_filled_its_transport_is_busy_with_nothing_waiting() -> None:
    peer = busy()
    send(peer, 1)
    peer.is_full_after_write = True
    peer.subscriber.resume()
    assert peer.writes == ["a:1"]
    assert peer.subscriber.is_paused
    assert peer.subscriber.queued_bytes == 0


def test_a_live_write_that_fills_the_transport_makes_it_busy() -> None:
    peer = FakePeer().subscribe_live("a")
    peer.is_full_after_write = True
    send(peer, 1, 2)
    assert peer.writes == ["a:1"]


def test_to_pause_twice_or_to_resume_one_that_is_ready_changes_nothing() -> None:
    peer = busy()
    send(peer, 1)
    peer.subscriber.pause()
    peer.subscriber.resume()
    peer.subscriber.resume()
    assert peer.writes == ["a:1"]


def test_who_waits_for_it_to_be_ready_is_called_once_when_nothing_waits_any_more() -> None:
    calls: list[list[str]] = []
    peer = busy()
    send(peer, 1, 2, 3, 4, data=LARGE)
    peer.subscriber.when_drained(lambda: calls.append(peer.received))
    peer.is_full_after_write = True
    peer.subscriber.resume()
    assert calls == []
    peer.is_full_after_write = False
    peer.subscriber.resume()
    peer.subscriber.resume()
    assert calls == [["a:1", "a:2", "a:3", "a:4"]]


def test_who_asks_one_that_is_ready_is_called_at_once() -> None:
    calls: list[int] = []
    peer = FakePeer()
    peer.subscriber.when_drained(lambda: calls.append(1))
    assert calls == [1]
    peer.subscriber.resume()
    assert calls == [1]


# Too slow


@pytest.mark.parametrize("limits", [QueueLimits(messages=2), QueueLimits(bytes=2 * message().size)])
def test_by_default_one_that_is_too_slow_is_given_up_and_nothing_is_let_go(limits: QueueLimits) -> None:
    peer = busy(limits=limits)
    assert send(peer, 1, 2) == 0
    with pytest.raises(TooSlow):
        send(peer, 3)


def test_with_drop_the_oldest_are_let_go_and_a_gap_stands_in_their_place() -> None:
    peer = busy(policy=Policy.DROP, limits=QueueLimits(messages=2))
    assert send(peer, 4, 5, 6, 7) == 2
    peer.subscriber.resume()
    send(peer, 8)
    assert peer.writes == ["gap:a:E-3:E-5:slow a:6 a:7", "a:8"]


def test_a_gap_from_the_beginning_of_a_channel_begins_at_sequence_zero() -> None:
    peer = busy(policy=Policy.DROP, limits=QueueLimits(messages=1))
    send(peer, 1, 2)
    peer.subscriber.resume()
    assert peer.received == ["gap:a:E-0:E-1:slow", "a:2"]


def test_what_is_let_go_after_a_part_was_written_is_told_behind_that_part() -> None:
    peer = busy(policy=Policy.DROP, limits=QueueLimits(messages=3))
    send(peer, 1, 2, 3, data=LARGE)
    peer.is_full_after_write = True
    peer.subscriber.resume()
    assert peer.received == ["a:1", "a:2"]
    assert send(peer, 4, 5, 6) == 1
    peer.is_full_after_write = False
    peer.subscriber.resume()
    assert peer.received == ["a:1", "a:2", "gap:a:E-2:E-3:slow", "a:4", "a:5", "a:6"]


def test_a_gap_names_the_topic_by_which_the_channel_is_heard() -> None:
    peer = busy("x/*", "y", policy=Policy.DROP, limits=QueueLimits(messages=1))
    send(peer, 3, channel="x/1")
    send(peer, 6, channel="y")
    send(peer, 8, channel="x/2")
    peer.subscriber.resume()
    assert peer.received == ["gap:x/*:E-2:E-3:slow", "gap:y:E-5:E-6:slow", "x/2:8"]


def test_gaps_of_very_many_channels_are_told_while_the_transport_takes_them() -> None:
    peer = busy("x/*", policy=Policy.DROP, limits=QueueLimits(messages=1))
    for seq in range(1, 2001):
        send(peer, seq, channel=f"x/{seq}")
    peer.is_full_after_write = True
    for _ in range(2):
        peer.subscriber.resume()
    assert [word.split(":")[0] for word in peer.received] == ["gap"] * 1000
    assert peer.subscriber.is_paused
    peer.is_full_after_write = False
    peer.subscriber.resume()
    assert peer.received[:2] == ["gap:x/*:E-0:E-1:slow", "gap:x/*:E-1:E-2:slow"]
    assert len(peer.received) == 2000
    assert peer.received[-1] == "x/2000:2000"


def test_a_gap_of_a_topic_that_was_parted_from_is_not_told() -> None:
    peer = busy("a", "b", policy=Policy.DROP, limits=QueueLimits(messages=1))
    send(peer, 1)
    send(peer, 2, channel="b")
    peer.subscriber.unsubscribe("a")
    peer.subscriber.resume()
    assert peer.received == ["b:2"]


def test_a_gap_is_told_even_where_nothing_waits_any_more() -> None:
    peer = busy("a", "b", policy=Policy.DROP, limits=QueueLimits(messages=1))
    send(peer, 1)
    send(peer, 2, channel="b")
    peer.subscriber.unsubscribe("b")
    peer.subscriber.resume()
    assert peer.received == ["gap:a:E-0:E-1:slow"]


def test_with_latest_only_the_newest_of_each_channel_waits_and_nothing_is_said() -> None:
    peer = busy("a", "b", policy=Policy.LATEST, limits=QueueLimits(messages=3))
    send(peer, 1)
    send(peer, 2, channel="b")
    assert send(peer, 3, 4) == 2
    peer.subscriber.resume()
    assert peer.writes == ["b:2 a:4"]


def test_with_latest_one_that_hears_too_many_channels_is_given_up() -> None:
    peer = busy("*", policy=Policy.LATEST, limits=QueueLimits(messages=2))
    send(peer, 1)
    send(peer, 2, channel="b")
    with pytest.raises(TooSlow):
        send(peer, 3, channel="c")


def test_a_bare_wire_can_tell_no_gap_so_one_that_would_drop_is_given_up() -> None:
    peer = busy(policy=Policy.DROP, limits=QueueLimits(messages=2), data_only=True)
    send(peer, 1, 2)
    with pytest.raises(TooSlow):
        send(peer, 3)


def test_a_bare_wire_with_latest_keeps_the_newest() -> None:
    peer = busy(policy=Policy.LATEST, limits=QueueLimits(messages=2), data_only=True)
    assert send(peer, 1, 2, 3) == 2
    peer.subscriber.resume()
    assert peer.received == ["a:3"]


# The end and the close


def test_an_end_is_told_behind_all_that_waits() -> None:
    calls: list[list[str]] = []
    peer = busy()
    send(peer, 1, 2, 3, data=LARGE)
    peer.subscriber.end("a")
    peer.subscriber.when_drained(lambda: calls.append(peer.received))
    peer.is_full_after_write = True
    peer.subscriber.resume()
    assert (peer.received, peer.ends) == (["a:1", "a:2"], [])
    peer.is_full_after_write = False
    peer.subscriber.resume()
    assert (peer.received, peer.ends) == (["a:1", "a:2", "a:3", "end:a"], ["a"])
    assert calls == [peer.received]


def test_several_ends_are_told_in_the_order_they_came() -> None:
    peer = busy("a", "b")
    peer.subscriber.end("b")
    peer.subscriber.end("a")
    peer.subscriber.resume()
    assert (peer.received, peer.ends) == (["end:b", "end:a"], ["b", "a"])


def test_an_end_is_told_once_however_often_the_channel_ends_meanwhile() -> None:
    """As when a stream is ended and then deleted before a slow subscriber has read it."""
    peer = busy()
    send(peer, 1)
    peer.subscriber.end("a")
    peer.subscriber.end("a")
    peer.subscriber.resume()
    assert (peer.received, peer.ends) == (["a:1", "end:a"], ["a"])


def test_an_end_that_waits_is_not_told_to_one_who_has_parted() -> None:
    peer = busy("a", "b")
    peer.subscriber.end("a")
    peer.subscriber.unsubscribe("a")
    peer.subscriber.resume()
    assert (peer.received, peer.ends) == ([], [])


def test_one_that_is_closed_hears_nothing_more() -> None:
    peer = busy("a", "b")
    send(peer, 1)
    peer.subscriber.close()
    peer.subscriber.resume()
    peer.subscriber.pause()
    assert send(peer, 2) == 0
    peer.subscriber.end("a")
    peer.subscriber.resume()
    assert (peer.writes, peer.ends) == ([], [])
    assert peer.subscriber.queued_bytes == 0
    assert peer.subscriber.starts == {}


def test_who_waits_for_one_that_is_closed_is_called_once() -> None:
    calls: list[bool] = []
    peer = busy()
    peer.subscriber.when_drained(lambda: calls.append(peer.subscriber.is_closed))
    peer.subscriber.close()
    peer.subscriber.close()
    assert calls == [True]


def test_one_that_is_closed_by_its_own_write_is_not_written_to_again() -> None:
    class Fragile(FakePeer):
        def write(self, data: bytes) -> None:
            super().write(data)
            self.subscriber.close()

    peer = Fragile().subscribe_live("a")
    peer.subscriber.pause()
    send(peer, 1, 2, 3, 4, data=LARGE)
    peer.subscriber.end("a")
    peer.subscriber.resume()
    assert (peer.writes, peer.ends) == (["a:1 a:2"], [])


# What waits for all


def test_one_who_leaves_lets_go_of_what_waits_for_it() -> None:
    limits = QueueLimits()
    peer, late = busy(limits=limits), FakePeer(limits=limits)
    late.subscriber.start_replay(("a",))
    for each in (peer, late):
        send(each, 1, 2)
        assert limits.budget.used == 2 * message().size
        each.subscriber.close()
        assert limits.budget.used == 0


def test_one_that_is_closed_amid_what_waits_lets_go_of_the_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    peer = busy(limits=(limits := QueueLimits()))
    send(peer, 1, 2, 3, 4, data=LARGE)

    def close(data: bytes) -> None:
        peer.subscriber.close()

    monkeypatch.setattr(peer, "write", close)
    peer.subscriber.resume()
    assert limits.budget.used == 0


@pytest.mark.parametrize(("policy", "data_only"), [(Policy.DISCONNECT, False), (Policy.DROP, True)])
def test_one_that_may_lose_nothing_or_can_not_be_told_has_nothing_to_shed(policy: Policy, data_only: bool) -> None:
    peer = busy(policy=policy, data_only=data_only)
    send(peer, 1, 2)
    with pytest.raises(NoRoom):
        peer.subscriber.shed()


def test_one_that_is_ready_sheds_nothing() -> None:
    assert FakePeer().subscribe_live("a").subscriber.shed() == 0


def test_what_is_on_its_way_and_was_made_for_one_alone_counts_until_it_is_sent() -> None:
    peer = busy(limits=(limits := QueueLimits()))
    send(peer, 1, 2, data=LARGE)
    peer.is_full_after_write = True
    peer.subscriber.resume()
    words = len("a:1 a:2 ")
    assert (peer.subscriber.queued_bytes, peer.subscriber.held_bytes, limits.budget.used) == (0, words, words)
    peer.subscriber.count_reply(100)
    assert limits.budget.used == words + 100
    peer.subscriber.resume()
    assert (peer.subscriber.held_bytes, limits.budget.used) == (0, 0)
    peer.subscriber.count_reply(100)
    assert limits.budget.used == 0, "one that is ready has been sent it"


def test_one_who_leaves_owes_nothing() -> None:
    peer = busy(limits=(limits := QueueLimits()))
    peer.subscriber.count_reply(100)
    peer.subscriber.close()
    assert limits.budget.used == 0


def test_what_goes_to_many_does_not_count_for_each() -> None:
    limits = QueueLimits()
    peers = [FakePeer(limits=limits).subscribe_live("a") for _ in range(2)]
    for peer in peers:
        peer.is_full_after_write = True
        send(peer, 1)
        assert peer.subscriber.is_paused
    assert limits.budget.used == 0
