"""The log: what it keeps within its bounds, and what it records about channels."""

import pytest

from pushd.core.cursor import EVERYTHING
from pushd.core.errors import TooManyChannels
from pushd.core.history import Bounds
from pushd.core.message import draft
from pushd.core.replay import ChannelInfo
from tests.build import Log, at, cost, publish

DATA = b"x" * 100
COST = cost(DATA)


def kept(log: Log, *topics: str, now: float = 0.0) -> list[int]:
    """Return the sequences of the kept messages of some topics, by default of all."""
    page = log.page_now(topics or ("**",), at(0), 10_000, 1 << 30, now)
    assert page.is_last
    return [each.seq for each in page.messages]


def test_accepted_message_has_fields_of_draft() -> None:
    log = Log("E", Bounds())
    published = draft("a/b", b'{"a":1}', "application/json", "update", 60.0)
    accepted = log.append(published, 1763751574.12345, 5.0)
    assert (accepted.id, accepted.prev, accepted.channel) == ("E-1", None, "a/b")
    assert (accepted.data, accepted.content_type, accepted.encoding) == (b'{"a":1}', "application/json", "json")
    assert (accepted.event, accepted.end) == ("update", False)
    assert accepted.time == 1763751574.123


def test_accepted_message_is_in_history() -> None:
    log = Log("E", Bounds())
    accepted = publish(log, "a")
    assert log.page_now(("a",), at(0), 10, 1000, 0.0).messages == (accepted,)
    assert (len(log), log.bytes, log.head) == (1, cost(), 1)


def test_ids_increase_over_all_channels_and_prev_links_each_channel() -> None:
    log = Log("E", Bounds())
    links = [(each.id, each.prev) for each in (publish(log, channel) for channel in "abaab")]
    assert links == [("E-1", None), ("E-2", None), ("E-3", "E-1"), ("E-4", "E-3"), ("E-5", "E-2")]


def test_order_does_not_depend_on_the_wall_clock() -> None:
    log = Log("E", Bounds())
    log.append(draft("a", b"x"), 1000.0, 1.0)
    log.append(draft("a", b"x"), 10.0, 2.0)
    assert kept(log, now=2.0) == [1, 2]


def test_prev_names_previous_message_even_if_expired() -> None:
    log = Log("E", Bounds(age=10))
    publish(log, "a", now=0.0)
    assert publish(log, "a", now=100.0).prev == "E-1"


# Bounds


def test_channel_keeps_newest_messages_by_count() -> None:
    log = Log("E", Bounds(messages=2))
    for channel in "aaabab":
        publish(log, channel)
    assert kept(log) == [3, 4, 5, 6]


def test_channel_keeps_newest_messages_by_bytes() -> None:
    log = Log("E", Bounds(bytes=200))
    for _ in range(3):
        publish(log, "a", DATA)
    publish(log, "b", DATA)
    assert kept(log) == [2, 3, 4]
    publish(log, "a", b"x" * 101)
    assert kept(log) == [4, 5]
    assert log.bytes == COST + cost(b"x" * 101)


def test_message_over_channel_bytes_is_accepted_but_not_kept() -> None:
    log = Log("E", Bounds(bytes=100))
    publish(log, "a", DATA)
    assert publish(log, "a", DATA + b"!").id == "E-2"
    assert kept(log) == []
    assert log.bytes == 0


def test_zero_messages_keeps_nothing_and_ids_increase() -> None:
    log = Log("E", Bounds(messages=0))
    assert [publish(log, "a").prev for _ in range(3)] == [None, "E-1", "E-2"]
    assert (kept(log), len(log), log.bytes, log.head) == ([], 0, 0, 3)


def test_messages_expire_without_new_publishes() -> None:
    log = Log("E", Bounds(age=10))
    publish(log, "a", now=0.0)
    publish(log, "b", now=5.0)
    log.expire_now(10.0)
    assert len(log) == 2
    log.expire_now(10.5)
    assert len(log) == 1
    assert kept(log, now=15.0) == [2]
    assert kept(log, now=15.5) == []
    assert log.bytes == 0


def test_message_with_ttl_expires_before_older_messages() -> None:
    log = Log("E", Bounds(age=100))
    publish(log, "a")
    publish(log, "a", ttl=5.0)
    publish(log, "a", ttl=3.0)
    publish(log, "b", ttl=5.0)
    assert kept(log, now=2.9) == [1, 2, 3, 4]
    assert kept(log, now=3.0) == [1, 2, 4]
    assert kept(log, now=5.0) == [1]
    assert len(log) == 1


def test_ttl_does_not_extend_maximum_age() -> None:
    log = Log("E", Bounds(age=10))
    publish(log, "a", ttl=1000.0)
    assert kept(log, now=11.0) == []


def test_ttl_of_evicted_message_has_no_effect() -> None:
    log = Log("E", Bounds(messages=1))
    publish(log, "a", ttl=5.0)
    publish(log, "a")
    assert kept(log, now=6.0) == [2]


def test_deadlines_of_removed_messages_do_not_accumulate() -> None:
    log = Log("E", Bounds(messages=1))
    publish(log, "b", ttl=50.0)
    for _ in range(5000):
        publish(log, "a", ttl=50.0)
    assert max(len(value) for value in vars(log).values() if isinstance(value, list)) < 2500
    assert kept(log, now=49.0) == [1, 5001]
    assert kept(log, now=50.0) == []


def test_overhead_of_message_is_counted() -> None:
    """Otherwise a million empty messages would count as no memory."""
    assert cost(b"", "channel") > len("channel")
    assert cost(b"12345", "channel") == cost(b"", "channel") + 5
    assert cost(b"", "a/channel") == cost(b"", "channel") + 2


def test_total_bytes_evicts_oldest_of_least_recently_used_channel() -> None:
    log = Log("E", Bounds(total_bytes=4 * COST))
    for channel in "abba":
        publish(log, channel, DATA)
    publish(log, "c", DATA)
    assert kept(log) == [1, 3, 4, 5]
    publish(log, "c", DATA)
    assert kept(log) == [1, 4, 5, 6]
    publish(log, "c", DATA)
    assert kept(log) == [4, 5, 6, 7]
    assert log.bytes == 4 * COST


def test_recently_used_channel_is_not_evicted_first() -> None:
    log = Log("E", Bounds(total_bytes=3 * COST))
    for channel in "aba":
        publish(log, channel, DATA)
    publish(log, "c", DATA)
    assert kept(log) == [1, 3, 4]


def test_message_over_total_bytes_is_accepted_but_not_kept() -> None:
    log = Log("E", Bounds(total_bytes=COST))
    publish(log, "a", DATA)
    publish(log, "b", b"x" * 1000)
    assert (kept(log), log.bytes) == ([], 0)
    publish(log, "a", DATA)
    assert kept(log) == [3]


# Channels


def test_channel_over_limit_is_refused_while_all_have_messages() -> None:
    log = Log("E", Bounds(channels=2))
    publish(log, "a")
    publish(log, "b")
    with pytest.raises(TooManyChannels):
        publish(log, "c")
    assert (log.head, len(log.channels), kept(log)) == (2, 2, [1, 2])
    publish(log, "a")
    assert kept(log) == [1, 2, 3]


def test_idle_channel_is_forgotten_for_a_new_one() -> None:
    log = Log("E", Bounds(channels=2, age=10))
    publish(log, "a", now=0.0)
    publish(log, "b", now=20.0)
    publish(log, "c", now=20.0)
    assert len(log.channels) == 2
    assert log.info("a") is None
    assert kept(log, now=20.0) == [2, 3]
    with pytest.raises(TooManyChannels):
        publish(log, "a", now=20.0)


def test_info_describes_channel() -> None:
    log = Log("E", Bounds(messages=2))
    assert log.info("a") is None
    for now in (1.0, 2.0, 3.5):
        publish(log, "a", DATA, now=now)
    publish(log, "b", now=4.0)
    assert log.info("a") == ChannelInfo("a", 2, 200, "E-2", "E-3", 3.5, False)
    publish(log, "a", b"", now=5.0, end=True)
    info = log.info("a")
    assert info is not None
    assert (info.messages, info.ended) == (2, True)


def test_info_of_idle_channel_has_its_last_message() -> None:
    log = Log("E", Bounds(age=10))
    publish(log, "a", now=1.0)
    log.expire_now(20.0)
    assert log.info("a") == ChannelInfo("a", 0, 0, None, "E-1", 1.0, False)


def test_channel_names_are_listed_sorted_in_pages_by_prefix() -> None:
    log = Log("E", Bounds(age=10))
    publish(log, "c")
    for channel in ("b/2", "b/1", "bb", "a"):
        publish(log, channel, now=20.0)
    assert log.names_now("", "", 10) == ["a", "b/1", "b/2", "bb", "c"]
    assert log.names_now("", "", 2) == ["a", "b/1"]
    assert log.names_now("", "b/1", 2) == ["b/2", "bb"]
    assert log.names_now("b/", "", 10) == ["b/1", "b/2"]
    assert log.names_now("b", "b/2", 10) == ["bb"]
    assert log.names_now("x", "", 10) == []


# Deleted and ended channels


def test_delete_removes_channel_with_its_messages_once() -> None:
    log = Log("E", Bounds())
    for channel in "aba":
        publish(log, channel)
    assert log.delete("a")
    assert not log.delete("a")
    assert not log.delete("never")
    assert (kept(log), len(log), len(log.channels)) == ([2], 1, 1)
    assert log.info("a") is None
    assert log.names_now("", "", 10) == ["b"]
    assert log.bytes == cost(channel="b")


def test_publish_to_deleted_channel_creates_it_again() -> None:
    log = Log("E", Bounds())
    publish(log, "a")
    log.delete("a")
    again = publish(log, "a")
    assert (again.id, again.prev) == ("E-3", None)
    assert kept(log, "a") == [3]
    assert log.delete("a")


def test_records_of_deleted_channels_are_bounded() -> None:
    log = Log("E", Bounds(channels=10))
    for number in range(100):
        publish(log, f"c/{number}")
        log.delete(f"c/{number}")
    assert len(log.channels) == 0
    assert max(len(value) for value in vars(log.channels).values() if isinstance(value, dict)) <= 10


def test_end_mark_has_an_id_but_is_not_kept() -> None:
    log = Log("E", Bounds())
    publish(log, "a")
    assert publish(log, "a", b"", end=True).id == "E-2"
    assert kept(log, "a") == [1]
    assert publish(log, "a").prev == "E-1"


def test_last_message_of_channel_is_kept() -> None:
    log = Log("E", Bounds())
    publish(log, "a", b"last", end=True)
    page = log.page_now(("a",), at(0), 10, 1000, 0.0)
    assert [each.data for each in page.messages] == [b"last"]
    assert page.ended == ("a",)


def test_publish_after_end_reopens_channel() -> None:
    log = Log("E", Bounds())
    publish(log, "a", b"last", end=True)
    publish(log, "a", b"more")
    assert not log.open_now(("a",), at(2), 0.0, 0.0).is_complete
    assert log.page_now(("a",), at(0), 10, 1000, 0.0).ended == ()
    assert not log.open_now(("a",), EVERYTHING, 0.0, 0.0).is_complete
