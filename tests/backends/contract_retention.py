"""The part of the contract of a backend that concerns retention and gaps; see `tests.backends.contract`."""

from collections.abc import Awaitable, Callable

import pytest
from msgspec import structs

from pushd.core.cursor import EVERYTHING, Age, Last, MessageId, Since, Time
from pushd.core.errors import TooManyChannels
from pushd.core.message import draft
from tests.backends.backend_harness import BackendHarness, cursor, ids

Start = Callable[..., Awaitable[BackendHarness]]

SHORT_SECONDS = 100.0
"""The age at which messages expire in tests: much more than any of them takes."""


class RetentionContract:
    """Bounds of the history, and gaps for the messages that they remove."""

    async def test_channel_evicts_its_oldest_messages_by_count(self, start: Start) -> None:
        harness = await start(messages=2)
        sent = await harness.publish_each("aaabab")
        assert ids(await harness.stored()) == ids(sent[2:])
        assert (await harness.info("a")).first == sent[2].id

    async def test_channel_evicts_its_oldest_messages_by_bytes(self, start: Start) -> None:
        harness = await start(bytes=200)
        sent = [await harness.publish(channel, b"x" * 100) for channel in "aaab"]
        assert ids(await harness.stored()) == ids(sent[1:])
        large = await harness.publish("a", b"x" * 101)
        assert ids(await harness.stored()) == [sent[3].id, large.id]

    async def test_message_larger_than_the_bytes_of_a_channel_is_accepted_and_not_stored(self, start: Start) -> None:
        harness = await start(bytes=100)
        first = await harness.publish("a", b"x" * 100)
        second = await harness.publish("a", b"x" * 101)
        assert ids(harness.delivered) == [first.id, second.id]
        assert await harness.stored() == []
        (gap,) = (await harness.open("a", MessageId(first.epoch, 0))).gaps
        assert (gap.end, gap.reason) == (second.id, "evicted")

    async def test_with_a_bound_of_zero_messages_nothing_is_stored_and_ids_increase(self, start: Start) -> None:
        harness = await start(messages=0)
        sent = await harness.publish_each("aaa")
        assert [each.prev for each in sent] == [None, sent[0].id, sent[1].id]
        assert await harness.stored() == []
        assert (await harness.backend.usage()).messages == 0

    async def test_count_bound_holds_for_messages_of_one_publish(self, start: Start) -> None:
        harness = await start(messages=3)
        results = await harness.publish_all(*[draft("a", b"%d" % number) for number in range(10)])
        assert [each.data for each in await harness.stored()] == [b"7", b"8", b"9"]
        assert len(harness.delivered) == len(results) == 10

    async def test_gap_after_an_eviction_ends_at_the_newest_evicted_message(self, start: Start) -> None:
        harness = await start(messages=1)
        sent = await harness.publish_each("aabaa")
        for at, reported in ((0, True), (2, True), (3, False), (4, False)):
            gaps = (await harness.open("a", cursor(sent[at]))).gaps
            assert gaps == ((("a", sent[at].id, sent[3].id, "evicted"),) if reported else ())
        assert (await harness.open("b", MessageId(sent[0].epoch, 0))).gaps == ()
        assert (await harness.open("silent,no/*", MessageId(sent[0].epoch, 0))).gaps == ()
        messages, reported_gaps = await harness.replay_since("a", cursor(sent[0]))
        assert (ids(messages), len(reported_gaps)) == ([sent[4].id], 1)

    async def test_gap_of_a_pattern_ends_at_the_newest_loss_of_its_channels(self, start: Start) -> None:
        harness = await start(messages=1)
        sent = await harness.publish_each("aabbcc")
        for at, reported in ((0, True), (3, True), (4, False), (5, False)):
            gaps = (await harness.open("*", cursor(sent[at]))).gaps
            assert gaps == ((("*", sent[at].id, sent[4].id, "evicted"),) if reported else ())
        assert (await harness.open("x/*", cursor(sent[0]))).gaps == ()

    async def test_message_expires_at_the_age_bound_and_is_reported(self, start: Start) -> None:
        harness = await start(age=SHORT_SECONDS)
        first = await harness.publish("a")
        await harness.wait(SHORT_SECONDS * 0.6)
        second = await harness.publish("b")
        await harness.wait(SHORT_SECONDS * 0.6)
        assert ids(await harness.stored()) == [second.id]
        (gap,) = (await harness.open("a", MessageId(first.epoch, 0))).gaps
        assert gap == ("a", f"{first.epoch}-0", first.id, "expired")
        assert (await harness.open("a", cursor(first))).gaps == ()
        assert (await harness.open("b", MessageId(first.epoch, 0))).gaps == ()
        info = await harness.info("a")
        assert (info.messages, info.first, info.last) == (0, None, first.id)

    async def test_message_with_a_ttl_expires_before_older_messages(self, start: Start) -> None:
        harness = await start()
        first, short, third = (
            await harness.publish("a"),
            await harness.publish("a", ttl=SHORT_SECONDS),
            await harness.publish("a"),
        )
        assert ids(await harness.stored()) == ids([first, short, third])
        await harness.wait(SHORT_SECONDS * 1.1)
        assert ids(await harness.stored("a")) == ids(await harness.stored("*")) == ids([first, third])
        for topic in ("a", "*"):
            messages, gaps = await harness.replay_since(topic, MessageId(first.epoch, 0))
            assert (ids(messages), [tuple(gap)[2:] for gap in gaps]) == (
                ids([first, third]),
                [(short.id, "expired")],
            )
            assert (await harness.open(topic, cursor(short))).gaps == ()
        assert (await harness.info("a")).messages == 2

    @pytest.mark.parametrize("noticed_by", ["page", "query", "publish", "heartbeat"])
    @pytest.mark.parametrize("topics", ["**", "a/b,a/*,*/*,c/d"])
    async def test_message_that_expires_between_two_pages_is_reported(
        self, start: Start, topics: str, noticed_by: str
    ) -> None:
        """Whether the topic is a channel or a pattern, and whichever request notices the loss first."""
        harness = await start()
        sent = []
        for number in range(12):
            sent.append(
                await harness.publish("c/d" if number % 4 == 3 else "a/b", ttl=SHORT_SECONDS if number == 8 else None)
            )
        position = (await harness.open(topics, EVERYTHING)).position
        page = await harness.page(topics, position, count=3)
        assert page.gaps == ()
        await harness.wait(SHORT_SECONDS * (2.1 if noticed_by == "heartbeat" else 1.1))
        if noticed_by == "query":
            await harness.info("a/b")
        elif noticed_by == "publish":
            await harness.publish("e")
        page = await harness.page(topics, page.position, count=3)
        assert {(gap.topic, gap.end, gap.reason) for gap in page.gaps} == {
            (topic, sent[8].id, "expired") for topic in topics.split(",") if topic != "c/d"
        }

    async def test_total_bytes_evict_from_the_least_recently_used_channel(self, start: Start) -> None:
        harness = await start()
        await harness.publish("a", b"x" * 100)
        cost = await harness.bytes()
        harness = await start(total_bytes=4 * cost)
        sent = [await harness.publish(channel, b"x" * 100) for channel in "abbac"]
        assert ids(await harness.stored()) == ids([sent[0], *sent[2:]])
        sent.append(await harness.publish("c", b"x" * 100))
        assert ids(await harness.stored()) == ids([sent[0], *sent[3:]])
        sent.append(await harness.publish("c", b"x" * 100))
        assert ids(await harness.stored()) == ids(sent[3:])
        assert await harness.bytes() <= 4 * cost

    async def test_sender_counts_in_the_total_bytes(self, start: Start) -> None:
        harness = await start(messages=2)
        await harness.publish_all(draft("a", b"x"), draft("a", b"x"))
        without = await harness.bytes()
        senders = ["é" * 100, "a\0" * 50]
        await harness.publish_all(*[structs.replace(draft("a", b"x"), sender=sender) for sender in senders])
        assert await harness.bytes() == without + 300
        await harness.publish_all(draft("a", b"x"), draft("a", b"x"))
        assert await harness.bytes() == without

    async def test_message_larger_than_the_total_bytes_is_accepted_and_not_stored(self, start: Start) -> None:
        harness = await start(total_bytes=1000)
        await harness.publish("a")
        await harness.publish("b", b"x" * 2000)
        assert await harness.stored() == []
        assert len(harness.delivered) == 2

    async def test_empty_channel_is_dropped_for_a_new_one(self, start: Start) -> None:
        harness = await start(channels=2, age=SHORT_SECONDS)
        first = await harness.publish("a")
        await harness.wait(SHORT_SECONDS * 1.1)
        second, third = await harness.publish("b"), await harness.publish("c")
        assert await harness.backend.info("a") is None
        assert await harness.backend.names("", "", 10) == ["b", "c"]
        for topics in ("a", "never", "*"):
            (gap,) = (await harness.open(topics, MessageId(first.epoch, 0))).gaps
            assert gap == (topics, f"{first.epoch}-0", first.id, "unknown")
            assert (await harness.open(topics, cursor(first))).gaps == ()
        assert (await harness.open("b", MessageId(first.epoch, 0))).gaps == ()
        (refusal,) = await harness.publish_all(draft("a", b"x"))
        assert isinstance(refusal, TooManyChannels)
        assert ids(await harness.stored()) == ids([second, third])

    @pytest.mark.parametrize("topics", ["a,b", "*,silent"])
    async def test_cursor_of_another_epoch_yields_a_gap_and_all_stored_messages(
        self, start: Start, topics: str
    ) -> None:
        harness = await start(messages=1)
        sent = await harness.publish_each("aab")
        position = await harness.open(topics, MessageId("Foreign", 2))
        first, second = topics.split(",")
        epoch = sent[0].epoch
        assert position.gaps == (
            (first, "Foreign-2", sent[0].id, "epoch"),
            (second, "Foreign-2", f"{epoch}-0", "epoch"),
        )
        messages, gaps = await harness.replay(topics, position)
        assert (ids(messages), len(gaps)) == (ids(sent[1:]), 2)
        page = await harness.page(topics, MessageId("Foreign", 9))
        assert {gap.reason for gap in page.gaps} == {"epoch"}
        assert ids(list(page.messages)) == ids(sent[1:])

    async def test_cursor_beyond_the_head_yields_a_gap_and_all_stored_messages(self, start: Start) -> None:
        harness = await start()
        first, second = await harness.publish_each("ab")
        never = MessageId(first.epoch, second.seq + 1)
        position = await harness.open("a", never)
        assert position.gaps == (("a", str(never), f"{first.epoch}-0", "unknown"),)
        assert ids((await harness.replay("a", position))[0]) == [first.id]

    @pytest.mark.parametrize("since", [EVERYTHING, Last(2)], ids=str)
    @pytest.mark.parametrize("topics", ["a", "*"])
    async def test_since_all_and_last_report_no_gap_for_evicted_messages(
        self, start: Start, since: Since, topics: str
    ) -> None:
        harness = await start(messages=2)
        sent = await harness.publish_each("aaaa")
        messages, gaps = await harness.replay_since(topics, since)
        assert (ids(messages), gaps) == (ids(sent[2:]), [])

    @pytest.mark.parametrize("topics", ["a", "*"])
    async def test_since_a_time_reports_messages_lost_after_that_time(self, start: Start, topics: str) -> None:
        harness = await start(messages=2)
        sent = []
        for _ in range(4):
            sent.append(await harness.publish("a"))
            await harness.wait(0.1)
        for since, reported in ((Time(sent[0].time), True), (Time(sent[2].time), False), (Age(3600.0), True)):
            messages, gaps = await harness.replay_since(topics, since)
            assert ids(messages) == ids(sent[2:])
            assert [(gap.end, gap.reason) for gap in gaps] == [(sent[1].id, "evicted")] * reported

    async def test_loss_between_two_pages_is_reported_with_the_second(self, start: Start) -> None:
        harness = await start(messages=4)
        sent = await harness.publish_each("aaaa")
        first = await harness.page("a", MessageId(sent[0].epoch, 0), 1)
        assert (first.gaps, first.position) == ((), cursor(sent[0]))
        sent += await harness.publish_each("aa")
        second = await harness.page("a", first.position)
        assert second.gaps == (("a", sent[0].id, sent[1].id, "evicted"),)
        assert ids(list(second.messages)) == ids(sent[2:])
