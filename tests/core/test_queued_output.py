"""The queue of a paused subscriber: what is sent on resume, what is dropped, and how that is reported."""

import pytest

from pushd.core.errors import NoRoom, TooSlow
from pushd.core.outbox import Policy, QueueLimits
from pushd.core.queued_output import NEVER
from tests.build import FakePeer, ReadableWire, StatefulWire, batch, message

LARGE = b"x" * 40_000


def send(peer: FakePeer, *seqs: int, channel: str = "a", data: bytes = b"x") -> int:
    """Deliver messages of a channel one by one; return the number of dropped messages."""
    return sum(
        peer.subscriber.deliver(batch(message(seq, channel, data, prev=seq - 1 if seq > 1 else None))) for seq in seqs
    )


def paused_peer(
    *topics: str, policy: Policy = Policy.DISCONNECT, limits: QueueLimits | None = None, data_only: bool = False
) -> FakePeer:
    peer = FakePeer(ReadableWire(data_only=data_only), limits, policy).subscribe_live(*topics or ("a",))
    peer.subscriber.pause()
    return peer


# Paused and ready


def test_messages_delivered_while_paused_are_sent_in_order_in_one_write() -> None:
    peer = paused_peer()
    send(peer, 1, 2, 3)
    assert peer.writes == []
    assert peer.subscriber.is_paused
    assert peer.subscriber.queued_bytes == 3 * message().size
    peer.subscriber.resume()
    send(peer, 4)
    assert peer.writes == ["a:1 a:2 a:3", "a:4"]
    assert not peer.subscriber.is_paused
    assert peer.subscriber.queued_bytes == 0


def test_the_rest_of_the_queue_waits_while_the_transport_is_full() -> None:
    peer = paused_peer()
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


def test_a_subscriber_with_an_empty_queue_is_paused_while_the_transport_is_full() -> None:
    peer = paused_peer()
    send(peer, 1)
    peer.is_full_after_write = True
    peer.subscriber.resume()
    assert peer.writes == ["a:1"]
    assert peer.subscriber.is_paused
    assert peer.subscriber.queued_bytes == 0


def test_a_live_write_that_fills_the_transport_pauses() -> None:
    peer = FakePeer().subscribe_live("a")
    peer.is_full_after_write = True
    send(peer, 1, 2)
    assert peer.writes == ["a:1"]


def test_to_pause_twice_or_to_resume_twice_changes_nothing() -> None:
    peer = paused_peer()
    send(peer, 1)
    peer.subscriber.pause()
    peer.subscriber.resume()
    peer.subscriber.resume()
    assert peer.writes == ["a:1"]


def test_when_drained_calls_once_when_the_queue_is_empty() -> None:
    calls: list[list[str]] = []
    peer = paused_peer()
    send(peer, 1, 2, 3, 4, data=LARGE)
    peer.subscriber.when_drained(lambda: calls.append(peer.received))
    peer.is_full_after_write = True
    peer.subscriber.resume()
    assert calls == []
    peer.is_full_after_write = False
    peer.subscriber.resume()
    peer.subscriber.resume()
    assert calls == [["a:1", "a:2", "a:3", "a:4"]]


def test_when_drained_calls_at_once_if_ready() -> None:
    calls: list[int] = []
    peer = FakePeer()
    peer.subscriber.when_drained(lambda: calls.append(1))
    assert calls == [1]
    peer.subscriber.resume()
    assert calls == [1]


# Slow consumers


@pytest.mark.parametrize("limits", [QueueLimits(messages=2), QueueLimits(bytes=2 * message().size)])
def test_the_default_policy_disconnects_and_drops_nothing(limits: QueueLimits) -> None:
    peer = paused_peer(limits=limits)
    assert send(peer, 1, 2) == 0
    with pytest.raises(TooSlow):
        send(peer, 3)


def test_the_policy_drop_replaces_the_oldest_messages_by_a_gap() -> None:
    peer = paused_peer(policy=Policy.DROP, limits=QueueLimits(messages=2))
    assert send(peer, 4, 5, 6, 7) == 2
    peer.subscriber.resume()
    send(peer, 8)
    assert peer.writes == ["gap:a:E-3:E-5:slow a:6 a:7", "a:8"]


def test_a_gap_from_the_beginning_of_a_channel_begins_at_sequence_zero() -> None:
    peer = paused_peer(policy=Policy.DROP, limits=QueueLimits(messages=1))
    send(peer, 1, 2)
    peer.subscriber.resume()
    assert peer.received == ["gap:a:E-0:E-1:slow", "a:2"]


def test_messages_dropped_after_a_part_was_written_are_reported_after_that_part() -> None:
    peer = paused_peer(policy=Policy.DROP, limits=QueueLimits(messages=3))
    send(peer, 1, 2, 3, data=LARGE)
    peer.is_full_after_write = True
    peer.subscriber.resume()
    assert peer.received == ["a:1", "a:2"]
    assert send(peer, 4, 5, 6) == 1
    peer.is_full_after_write = False
    peer.subscriber.resume()
    assert peer.received == ["a:1", "a:2", "gap:a:E-2:E-3:slow", "a:4", "a:5", "a:6"]


def test_a_gap_names_the_topic_by_which_the_channel_is_received() -> None:
    peer = paused_peer("x/*", "y", policy=Policy.DROP, limits=QueueLimits(messages=1))
    send(peer, 3, channel="x/1")
    send(peer, 6, channel="y")
    send(peer, 8, channel="x/2")
    peer.subscriber.resume()
    assert peer.received == ["gap:x/*:E-2:E-3:slow", "gap:y:E-5:E-6:slow", "x/2:8"]


def test_gaps_of_many_channels_wait_while_the_transport_is_full() -> None:
    peer = paused_peer("x/*", policy=Policy.DROP, limits=QueueLimits(messages=1))
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


def test_a_gap_of_an_unsubscribed_topic_is_not_reported() -> None:
    peer = paused_peer("a", "b", policy=Policy.DROP, limits=QueueLimits(messages=1))
    send(peer, 1)
    send(peer, 2, channel="b")
    peer.subscriber.unsubscribe("a")
    peer.subscriber.resume()
    assert peer.received == ["b:2"]


def test_a_gap_is_reported_with_an_empty_queue_too() -> None:
    peer = paused_peer("a", "b", policy=Policy.DROP, limits=QueueLimits(messages=1))
    send(peer, 1)
    send(peer, 2, channel="b")
    peer.subscriber.unsubscribe("b")
    peer.subscriber.resume()
    assert peer.received == ["gap:a:E-0:E-1:slow"]


def test_the_policy_latest_keeps_the_newest_message_of_each_channel_and_reports_no_gap() -> None:
    peer = paused_peer("a", "b", policy=Policy.LATEST, limits=QueueLimits(messages=3))
    send(peer, 1)
    send(peer, 2, channel="b")
    assert send(peer, 3, 4) == 2
    peer.subscriber.resume()
    assert peer.writes == ["b:2 a:4"]


def test_the_policy_latest_disconnects_with_too_many_channels() -> None:
    peer = paused_peer("*", policy=Policy.LATEST, limits=QueueLimits(messages=2))
    send(peer, 1)
    send(peer, 2, channel="b")
    with pytest.raises(TooSlow):
        send(peer, 3, channel="c")


def test_the_policy_drop_disconnects_a_data_only_wire_which_cannot_report_gaps() -> None:
    peer = paused_peer(policy=Policy.DROP, limits=QueueLimits(messages=2), data_only=True)
    send(peer, 1, 2)
    with pytest.raises(TooSlow):
        send(peer, 3)


def test_the_policy_latest_keeps_the_newest_message_of_a_data_only_wire() -> None:
    peer = paused_peer(policy=Policy.LATEST, limits=QueueLimits(messages=2), data_only=True)
    assert send(peer, 1, 2, 3) == 2
    peer.subscriber.resume()
    assert peer.received == ["a:3"]


# Ends of channels, closing


def test_an_end_is_reported_after_the_queue() -> None:
    calls: list[list[str]] = []
    peer = paused_peer()
    send(peer, 1, 2, 3, data=LARGE)
    peer.subscriber.end("a", 9)
    peer.subscriber.when_drained(lambda: calls.append(peer.received))
    peer.is_full_after_write = True
    peer.subscriber.resume()
    assert (peer.received, peer.ends) == (["a:1", "a:2"], [])
    peer.is_full_after_write = False
    peer.subscriber.resume()
    assert (peer.received, peer.ends) == (["a:1", "a:2", "a:3", "end:a"], ["a"])
    assert calls == [peer.received]


def test_several_ends_are_reported_in_their_order() -> None:
    peer = paused_peer("a", "b")
    peer.subscriber.end("b", 9)
    peer.subscriber.end("a", 9)
    peer.subscriber.resume()
    assert (peer.received, peer.ends) == (["end:b", "end:a"], ["b", "a"])


def test_a_channel_that_ends_twice_while_paused_is_reported_once() -> None:
    """For instance when a channel is ended and then deleted before a slow subscriber has read its queue."""
    peer = paused_peer()
    send(peer, 1)
    peer.subscriber.end("a", 9)
    peer.subscriber.end("a", 9)
    peer.subscriber.resume()
    assert (peer.received, peer.ends) == (["a:1", "end:a"], ["a"])


def test_a_queued_end_of_an_unsubscribed_topic_is_not_reported() -> None:
    peer = paused_peer("a", "b")
    peer.subscriber.end("a", 9)
    peer.subscriber.unsubscribe("a")
    peer.subscriber.resume()
    assert (peer.received, peer.ends) == ([], [])


def test_a_closed_subscriber_receives_nothing() -> None:
    peer = paused_peer("a", "b")
    send(peer, 1)
    peer.subscriber.close()
    peer.subscriber.resume()
    peer.subscriber.pause()
    assert send(peer, 2) == 0
    peer.subscriber.end("a", 9)
    peer.subscriber.resume()
    assert (peer.writes, peer.ends) == ([], [])
    assert peer.subscriber.queued_bytes == 0
    assert peer.subscriber.starts == {}


def test_when_drained_calls_once_when_closed() -> None:
    calls: list[bool] = []
    peer = paused_peer()
    peer.subscriber.when_drained(lambda: calls.append(peer.subscriber.is_closed))
    peer.subscriber.close()
    peer.subscriber.close()
    assert calls == [True]


def test_a_subscriber_that_is_closed_by_a_write_is_not_written_to_again() -> None:
    class ClosingPeer(FakePeer):
        def write(self, data: bytes) -> None:
            super().write(data)
            self.subscriber.close()

    peer = ClosingPeer().subscribe_live("a")
    peer.subscriber.pause()
    send(peer, 1, 2, 3, 4, data=LARGE)
    peer.subscriber.end("a", 9)
    peer.subscriber.resume()
    assert (peer.writes, peer.ends) == (["a:1 a:2"], [])


def test_the_threshold_follows_the_wire() -> None:
    """A stateful wire is never written to by the handle."""
    peer = FakePeer(StatefulWire()).subscribe_live("a", after=3)
    peer.subscriber.attach(object())
    assert peer.subscriber.threshold == NEVER
    peer.subscriber.set_wire(ReadableWire())
    assert peer.subscriber.threshold == 3
    peer.subscriber.set_wire(StatefulWire())
    assert peer.subscriber.threshold == NEVER


# The memory budget


def test_a_closed_subscriber_releases_its_queue_and_its_held_messages() -> None:
    limits = QueueLimits()
    peer, late = paused_peer(limits=limits), FakePeer(limits=limits)
    late.subscriber.start_replay(("a",))
    for each in (peer, late):
        send(each, 1, 2)
        assert limits.budget.used == 2 * message().size
        each.subscriber.close()
        assert limits.budget.used == 0


def test_a_subscriber_closed_while_its_queue_is_sent_releases_the_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    peer = paused_peer(limits=(limits := QueueLimits()))
    send(peer, 1, 2, 3, 4, data=LARGE)

    def close(data: bytes) -> None:
        peer.subscriber.close()

    monkeypatch.setattr(peer, "write", close)
    peer.subscriber.resume()
    assert limits.budget.used == 0


@pytest.mark.parametrize(("policy", "data_only"), [(Policy.DISCONNECT, False), (Policy.DROP, True)])
def test_shed_raises_if_the_policy_permits_no_loss_or_the_wire_cannot_report_it(
    policy: Policy, data_only: bool
) -> None:
    peer = paused_peer(policy=policy, data_only=data_only)
    send(peer, 1, 2)
    with pytest.raises(NoRoom):
        peer.subscriber.shed()


def test_a_ready_subscriber_sheds_nothing() -> None:
    assert FakePeer().subscribe_live("a").subscriber.shed() == 0


def test_unsent_bytes_encoded_for_one_subscriber_count_until_they_are_sent() -> None:
    peer = paused_peer(limits=(limits := QueueLimits()))
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
    assert limits.budget.used == 0, "the reply to a ready subscriber is sent"


def test_a_closed_subscriber_releases_the_bytes_of_replies() -> None:
    peer = paused_peer(limits=(limits := QueueLimits()))
    peer.subscriber.count_reply(100)
    peer.subscriber.close()
    assert limits.budget.used == 0


def test_bytes_shared_by_many_subscribers_do_not_count_for_each() -> None:
    limits = QueueLimits()
    peers = [FakePeer(limits=limits).subscribe_live("a") for _ in range(2)]
    for peer in peers:
        peer.is_full_after_write = True
        send(peer, 1)
        assert peer.subscriber.is_paused
    assert limits.budget.used == 0
