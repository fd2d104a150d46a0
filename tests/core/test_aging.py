"""Channels with an age of their own are looked at when they are due."""

import math

from pushd.core.aging import AgingChannels


class Aged:
    """A channel."""

    due = math.inf


def test_channels_are_taken_in_the_order_of_their_times_and_once() -> None:
    channels = {name: Aged() for name in "abc"}
    aging: AgingChannels[str, Aged] = AgingChannels(channels.get)
    assert aging.next_due == math.inf
    for name, due in (("a", 3.0), ("b", 1.0), ("c", 2.0), ("b", 4.0)):
        aging.schedule(name, channels[name], due)
    assert (aging.next_due, aging.take()) == (1.0, None)
    assert [aging.take() for _ in range(3)] == [channels["c"], channels["a"], channels["b"]]
    assert {channel.due for channel in channels.values()} == {aging.next_due} == {math.inf}


def test_removed_channel_is_not_taken() -> None:
    channels = {"a": Aged()}
    aging: AgingChannels[str, Aged] = AgingChannels(channels.get)
    aging.schedule("a", channels["a"], 1.0)
    channels["a"] = Aged()
    assert aging.take() is None


def test_stale_entries_do_not_accumulate() -> None:
    channels = {number: Aged() for number in range(4)}
    aging: AgingChannels[int, Aged] = AgingChannels(channels.get)
    for number in range(50_000):
        aging.schedule(number % 4, channels[number % 4], float(number % 7))
    assert len(aging._heap) < 2048
