"""The history of one channel: kept messages in order, and the record of lost ones."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pushd.core.history import Bounds, Channel, Retention
from pushd.core.message import Message
from tests.build import message

RETENTION = Retention(1000, 1 << 20)


def channel_of(*messages: Message) -> Channel:
    channel = Channel("a", RETENTION)
    for each in messages:
        channel.append(each)
    return channel


def seqs(channel: Channel, after: int = 0) -> list[int]:
    return [each.seq for each in channel.after(after)]


def test_default_bounds_are_as_documented() -> None:
    assert Bounds()[:5] == (1000, 4 * 1024 * 1024, 24 * 3600, 256 * 1024 * 1024, 100_000)


def test_new_channel_is_empty_and_lost_nothing() -> None:
    channel = Channel("a", RETENTION)
    assert (channel.bytes, channel.last, channel.lost, seqs(channel)) == (0, 0, 0, [])


def test_channel_records_newest_message_and_bytes() -> None:
    first, second = message(3, data=b"one", time=10.0), message(5, data=b"twelve", time=11.0)
    channel = channel_of(first, second)
    assert (channel.last, channel.last_time) == (5, 11.0)
    assert channel.bytes == len(b"one") + len(b"twelve")


@pytest.mark.parametrize(
    ("retention", "exceeded"),
    [
        (Retention(2, 10), False),
        (Retention(1, 10), True),
        (Retention(0, 10), True),
        (Retention(10, 2), False),
        (Retention(10, 1), True),
    ],
)
def test_bounds_are_exceeded_by_count_or_bytes(retention: Retention, exceeded: bool) -> None:
    assert channel_of(message(1), message(2)).exceeds(retention) is exceeded


def test_empty_channel_exceeds_no_bounds() -> None:
    assert not Channel("a", RETENTION).exceeds(Retention(0, 0))


def test_oldest_message_is_removed_first_and_recorded_as_lost() -> None:
    channel = channel_of(message(1), message(4, time=12.0), message(6))
    channel.remove_oldest("evicted")
    assert channel.remove_oldest("expired").seq == 4
    assert seqs(channel) == [6]
    assert channel.bytes == 1
    assert (channel.lost, channel.lost_time, channel.lost_reason) == (4, 12.0, "expired")


def test_recorded_loss_is_newest_message_not_latest_removal() -> None:
    one, two, three = message(1, time=1.0), message(2, time=2.0), message(3, time=3.0)
    channel = channel_of(one, two, three)
    channel.remove(two, "expired")
    channel.remove(one, "evicted")
    assert seqs(channel) == [3]
    assert (channel.lost, channel.lost_time, channel.lost_reason) == (2, 2.0, "expired")


def test_removing_unknown_message_raises_value_error() -> None:
    channel = channel_of(message(1))
    with pytest.raises(ValueError):
        channel.remove(message(1), "expired")
    assert channel.lost == 0


def test_newest_message_is_recorded_after_its_removal() -> None:
    channel = channel_of(message(7, time=9.0))
    channel.remove_oldest("expired")
    assert (channel.last, channel.last_time) == (7, 9.0)


@pytest.mark.parametrize(("seq", "finished"), [(0, False), (2, False), (3, True), (9, True)])
def test_ended_channel_is_finished_from_its_last_message_on(seq: int, finished: bool) -> None:
    channel = channel_of(message(2), message(3))
    assert not channel.is_finished(seq)
    channel.ended = True
    assert channel.is_finished(seq) is finished


def test_ended_channel_without_messages_is_finished_from_its_last_loss_on() -> None:
    channel = channel_of(message(3))
    channel.ended = True
    channel.remove_oldest("expired")
    assert not channel.is_finished(2)
    assert channel.is_finished(3)


@given(st.sets(st.integers(1, 60)), st.integers(0, 61))
def test_messages_after_a_sequence_are_found_in_order(numbers: set[int], after: int) -> None:
    channel = channel_of(*(message(seq) for seq in sorted(numbers)))
    assert seqs(channel, after) == sorted(seq for seq in numbers if seq > after)
