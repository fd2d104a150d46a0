"""The counts of messages of channels."""

from twisted.internet.task import Clock

from pushd.hub.channel_counts import ChannelCounts


def test_messages_are_counted_for_half_a_minute_after_each_question() -> None:
    clock = Clock()
    counts = ChannelCounts(clock.seconds)
    assert not counts.is_on
    counts.watch()
    counts.count("a")
    clock.advance(29)
    counts.watch()
    clock.advance(29)
    counts.count("a")
    assert (counts.of("a"), counts.of("b"), counts.age) == (2, 0, 58)
    clock.advance(31)
    counts.count("a")
    assert not counts.is_on
    counts.watch()
    assert (counts.of("a"), counts.age) == (0, 0)
