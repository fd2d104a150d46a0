"""The contract of a backend: the tests that each backend must pass. `pushd.backends.interface` states it in words.

The tests of a backend inherit `BackendContract` and define a fixture `make`: a function that returns a new backend with
given bounds, not started (see test_memory.py). A backend with a clock of its own also overrides the fixture `wait`.
"""

from collections.abc import Awaitable, Callable

import pytest
from twisted.internet.defer import Deferred, gatherResults

from pushd.core.cursor import EVERYTHING, NOW, Age, Last, MessageId, Since, Time
from pushd.core.errors import TooManyChannels
from pushd.core.message import Message, draft
from tests.backends.backend_harness import BackendHarness, cursor, ids

Start = Callable[..., Awaitable[BackendHarness]]

SHORT_SECONDS = 1.0
"""The age at which messages expire in tests, short because some backends really wait."""


class PublishContract:
    """Which messages are accepted, and in what order they are delivered."""

    async def test_accepted_message_has_the_fields_of_the_draft(self, start: Start) -> None:
        harness = await start()
        (accepted,) = await harness.publish_all(draft("a/b", b'{"a":1}', "application/json", "update", 60.0))
        assert isinstance(accepted, Message)
        assert (accepted.channel, accepted.data, accepted.content_type) == ("a/b", b'{"a":1}', "application/json")
        assert (accepted.encoding, accepted.event, accepted.end, accepted.prev) == ("json", "update", False, None)
        assert accepted.time == round(accepted.time, 3)
        (stored,) = await harness.stored()
        for message in (stored, harness.delivered[0]):
            assert {name: getattr(message, name) for name in Message.__struct_fields__} == {
                name: getattr(accepted, name) for name in Message.__struct_fields__
            }

    @pytest.mark.parametrize(
        "data", [b"", b"\x00", bytes(range(256)), b"\xff\xfe", "é\u2028".encode(), b"007", b"1" * 100_000]
    )
    async def test_arbitrary_bytes_round_trip(self, start: Start, data: bytes) -> None:
        harness = await start()
        await harness.publish("a", data)
        assert [(each.data, each.encoding) for each in await harness.stored()] == [
            (each.data, each.encoding) for each in harness.delivered
        ]
        assert harness.delivered[0].data == data

    async def test_similar_names_are_different_channels(self, start: Start) -> None:
        harness = await start()
        names = ["a", "A", "ä", "a/b", "a%2fb", "[a]", "it's", '"', "a:b", "$sys/a", "日本", "x" * 255]
        for name in names:
            await harness.publish(name)
        assert [each.channel for each in await harness.stored(",".join(names))] == names
        assert await harness.backend.names("", "", 100) == sorted(names)

    async def test_ids_increase_over_all_channels_and_prev_links_each_channel(self, start: Start) -> None:
        harness = await start()
        a, b, c, d, e = await harness.publish_each("abaab")
        assert [each.seq for each in (a, b, c, d, e)] == sorted({each.seq for each in harness.delivered})
        assert [each.prev for each in (a, b, c, d, e)] == [None, None, a.id, c.id, b.id]
        assert len({each.epoch for each in harness.delivered}) == 1

    async def test_messages_of_one_publish_are_accepted_in_order_and_refused_individually(self, start: Start) -> None:
        harness = await start(channels=2)
        await harness.publish("a")
        results = await harness.publish_all(draft("b", b"1"), draft("c", b"2"), draft("a", b"3"), draft("b", b"4"))
        assert [type(answer) for answer in results] == [Message, TooManyChannels, Message, Message]
        assert [each.data for each in harness.delivered] == [b"x", b"1", b"3", b"4"]
        assert ids(await harness.stored()) == ids(harness.delivered)
        assert [each.prev for each in harness.delivered] == [
            None,
            None,
            harness.delivered[0].id,
            harness.delivered[1].id,
        ]

    async def test_publish_of_no_messages_returns_no_results(self, start: Start) -> None:
        assert await (await start()).publish_all() == []

    async def test_concurrent_publishes_are_delivered_once_and_in_order(self, start: Start) -> None:
        harness = await start()
        results = await gatherResults(
            [Deferred.fromCoroutine(harness.publish("ab"[number % 2], b"%d" % number)) for number in range(200)]
        )
        assert [each.data for each in results] == [b"%d" % number for number in range(200)]
        assert ids(harness.delivered) == ids(sorted(results, key=lambda each: each.seq))
        for channel in "ab":
            own = [each for each in results if each.channel == channel]
            assert own == sorted(own, key=lambda each: each.seq)
            assert [each.prev for each in own] == [None, *ids(own[:-1])]
        assert ids(await harness.stored()) == ids(harness.delivered)

    async def test_message_is_delivered_before_publish_returns(self, start: Start) -> None:
        harness = await start()
        accepted = await harness.publish("a")
        assert ids(harness.delivered) == [accepted.id]

    async def test_delivered_message_is_in_the_next_page(self, start: Start) -> None:
        harness = await start()
        pages: list[Deferred[list[str]]] = []

        async def read(message: Message) -> list[str]:
            page = await harness.page(message.channel, MessageId(message.epoch, 0))
            return ids(list(page.messages))

        harness.on_delivered = lambda message: pages.append(Deferred.fromCoroutine(read(message)))
        first, second = await harness.publish("a"), await harness.publish("a")
        found = await gatherResults(pages)
        assert found[0][:1] == [first.id]
        assert found[1] == [first.id, second.id]

    async def test_replay_during_publishes_and_live_messages_after_it_are_complete_and_in_order(
        self, start: Start
    ) -> None:
        harness = await start()
        for number in range(100):
            await harness.publish("ab"[number % 2], b"%d" % number)
        live: list[Message] = []
        harness.on_delivered = lambda message: live.append(message) if message.channel == "a" else None
        position = await harness.open("a", EVERYTHING)
        delivered: list[Message] = []
        after, complete, number = position.position, False, 100
        publishes = []
        while not complete:
            for _ in range(10 if number < 400 else 0):
                publishes.append(Deferred.fromCoroutine(harness.publish("ab"[number % 2], b"%d" % number)))
                number += 1
            page = await harness.page("a", after, 7)
            delivered += page.messages
            after, complete = page.position, page.is_last
        await gatherResults(publishes)
        delivered += [message for message in live if message.seq > after.seq]
        assert [each.data for each in delivered] == [b"%d" % each for each in range(0, number, 2)]


class StartContract:
    """Where a subscription starts, and which pages it reads."""

    @pytest.mark.parametrize("topics", ["a/1,b/1,silent", "*/1", "a/*,b/1,*/1"])
    async def test_each_form_of_since_starts_at_its_position(self, start: Start, topics: str) -> None:
        harness = await start()
        sent = []
        for channel in ["a/1", "x", "b/1", "x", "a/1", "b/1", "x"]:
            sent.append(await harness.publish(channel))
            await harness.wait(0.25)
        own = [each for each in sent if each.channel != "x"]
        epoch, middle = sent[0].epoch, own[2].time
        cases: list[tuple[Since, list[Message]]] = [
            (NOW, []),
            (EVERYTHING, own),
            (MessageId(epoch, 0), own),
            (cursor(sent[0]), own[1:]),
            (cursor(sent[1]), own[1:]),
            (cursor(sent[4]), own[3:]),
            (cursor(sent[5]), []),
            (cursor(sent[6]), []),
            (Last(1), own[3:]),
            (Last(3), own[1:]),
            (Last(100), own),
            (Age(3600.0), own),
            (Age(0.001), []),
            (Time(middle), own[2:]),
            (Time(middle + 0.001), own[3:]),
            (Time(0.0), own),
            (Time(sent[-1].time + 1000), []),
        ]
        for since, expected in cases:
            position = await harness.open(topics, since)
            assert (position.gaps, position.is_complete) == ((), False), since
            messages, gaps = await harness.replay(topics, position)
            assert (ids(messages), gaps) == (ids(expected), []), since

    async def test_cursor_at_the_newest_message_needs_no_replay(self, start: Start) -> None:
        harness = await start()
        first, second = await harness.publish_each("ab")
        for topics in ("a", "a,b", "*"):
            assert not (await harness.open(topics, NOW)).needs_replay
            assert not (await harness.open(topics, cursor(second))).needs_replay
        assert (await harness.open("*", cursor(first))).needs_replay

    @pytest.mark.parametrize("since", [NOW, EVERYTHING, Last(5), Age(60.0), Time(3.0)], ids=str)
    async def test_subscription_to_an_empty_log_has_no_gaps(self, start: Start, since: Since) -> None:
        harness = await start()
        position = await harness.open("a,*", since)
        assert (position.gaps, position.needs_replay, position.is_complete, position.position.seq) == (
            (),
            False,
            False,
            0,
        )

    @pytest.mark.parametrize("topics", ["a,b", "*", "a,*", "*/1,b,a"])
    async def test_pages_are_limited_by_count_and_the_last_one_is_marked(self, start: Start, topics: str) -> None:
        harness = await start()
        sent = await harness.publish_each("abbab")
        for count in (1, 2, 3, 5, 100):
            messages, gaps = await harness.replay_since(topics, EVERYTHING, count)
            assert (ids(messages), gaps) == (ids(sent), [])
        page = await harness.page(topics, MessageId(sent[0].epoch, 0), 2)
        assert (ids(list(page.messages)), page.is_last) == (ids(sent[:2]), False)
        page = await harness.page(topics, page.position, 100)
        assert (ids(list(page.messages)), page.is_last, page.position) == (ids(sent[2:]), True, cursor(sent[-1]))

    @pytest.mark.parametrize("topics", ["a,b", "*"])
    async def test_pages_are_limited_by_bytes_but_have_at_least_one_message(self, start: Start, topics: str) -> None:
        harness = await start()
        sent = await harness.publish_each("abbab")
        size = sent[0].size
        after = MessageId(sent[0].epoch, 0)
        for limit, expected in ((2 * size, 2), (size + 1, 2), (1, 1), (1000 * size, 5)):
            assert len((await harness.page(topics, after, 100, limit)).messages) == expected
            assert ids((await harness.replay_since(topics, EVERYTHING, 100, limit))[0]) == ids(sent)

    async def test_pattern_with_few_matches_is_replayed_to_the_end_of_a_long_log(self, start: Start) -> None:
        harness = await start(messages=10_000)
        first = await harness.publish("a/1")
        for _ in range(10):
            await harness.publish_all(*[draft("x", b"")] * 500)
        last = await harness.publish("a/2")
        assert ids(await harness.stored("a/*")) == [first.id, last.id]
        assert ids(await harness.stored("*/1")) == [first.id]

    @pytest.mark.parametrize(
        ("topic", "expected"),
        [
            ("*", ["a", "b"]),
            ("**", ["a", "a/x", "a/x/y", "b", "b/x"]),
            ("a/*", ["a/x"]),
            ("a/**", ["a/x", "a/x/y"]),
            ("*/x", ["a/x", "b/x"]),
            ("*/x/**", ["a/x/y"]),
            ("*/*/y", ["a/x/y"]),
            ("$sys/*", ["$sys/a"]),
            ("a/*/x", []),
        ],
    )
    async def test_pattern_replays_the_channels_that_it_matches(
        self, start: Start, topic: str, expected: list[str]
    ) -> None:
        harness = await start()
        for channel in ["a", "a/x", "a/x/y", "b", "b/x", "$sys/a"]:
            await harness.publish(channel)
        assert [each.channel for each in await harness.stored(topic)] == expected
        assert len(await harness.stored(topic, Last(1))) == min(1, len(expected))


class EndContract:
    """Channels that end or are deleted."""

    async def test_subscription_to_ended_channels_is_complete_when_nothing_is_left_to_replay(
        self, start: Start
    ) -> None:
        harness = await start()
        a, _ = await harness.publish_each("ab")
        mark = await harness.publish("a", b"", end=True)
        assert (await harness.open("a", cursor(a))).is_complete
        assert (await harness.open("a", NOW)).is_complete
        assert not (await harness.open("a", MessageId(a.epoch, 0))).is_complete
        assert not (await harness.open("a,b", cursor(mark))).is_complete
        last = await harness.publish("b", b"last", end=True)
        assert not (await harness.open("a,b", cursor(mark))).is_complete
        assert (await harness.open("a,b", cursor(last))).is_complete
        assert not (await harness.open("*", cursor(last))).is_complete

    async def test_end_mark_is_not_stored_but_has_an_id(self, start: Start) -> None:
        harness = await start()
        first = await harness.publish("a")
        mark = await harness.publish("a", b"", end=True)
        assert mark.seq > first.seq
        assert ids(harness.delivered) == [first.id, mark.id]
        assert ids(await harness.stored("a")) == [first.id]
        assert (await harness.publish("a")).prev == first.id

    async def test_only_the_last_page_lists_ended_channels(self, start: Start) -> None:
        harness = await start()
        first, *_ = await harness.publish_each("aab")
        await harness.publish("a", b"last", end=True)
        page = await harness.page("a,b", MessageId(first.epoch, 0), 1)
        assert (page.is_last, page.ended) == (False, ())
        page = await harness.page("a,b", page.position)
        assert (page.is_last, page.ended) == (True, ("a",))
        assert page.messages[-1].end
        assert (await harness.page("*", MessageId(first.epoch, 0))).ended == ()

    async def test_publish_to_an_ended_channel_reopens_it(self, start: Start) -> None:
        harness = await start()
        await harness.publish("a", b"last", end=True)
        again = await harness.publish("a", b"more")
        assert not (await harness.open("a", cursor(again))).is_complete
        assert (await harness.page("a", MessageId(again.epoch, 0))).ended == ()
        assert not (await harness.info("a")).ended

    async def test_delete_removes_a_channel_with_all_its_messages_once(self, start: Start) -> None:
        harness = await start()
        _, b, _ = await harness.publish_each("aba")
        assert await harness.backend.delete("a")
        assert not await harness.backend.delete("a")
        assert not await harness.backend.delete("never")
        assert harness.deleted == ["a"]
        assert ids(await harness.stored()) == [b.id]
        assert await harness.backend.info("a") is None
        assert await harness.backend.names("", "", 10) == ["b"]
        usage = await harness.backend.usage()
        assert (usage.messages, usage.channels) == (1, 1)

    async def test_deleted_messages_are_reported_as_a_gap(self, start: Start) -> None:
        harness = await start()
        a, _, c = await harness.publish_each("aba")
        await harness.backend.delete("a")
        for topic in ("a", "*", "**"):
            (gap,) = (await harness.open(topic, cursor(a))).gaps
            assert gap == (topic, a.id, c.id, "evicted")
            assert (await harness.open(topic, cursor(c))).gaps == ()

    async def test_deleted_channel_is_complete_for_a_cursor_but_not_for_a_new_subscription(self, start: Start) -> None:
        harness = await start()
        a = await harness.publish("a")
        await harness.backend.delete("a")
        assert (await harness.open("a", cursor(a))).is_complete
        assert not (await harness.open("a", NOW)).is_complete
        assert not (await harness.open("a", EVERYTHING)).is_complete
        assert (await harness.page("a", cursor(a))).ended == ()

    async def test_publish_to_a_deleted_channel_creates_it_again(self, start: Start) -> None:
        harness = await start()
        a = await harness.publish("a")
        await harness.backend.delete("a")
        again = await harness.publish("a")
        assert (again.seq > a.seq, again.prev) == (True, None)
        assert ids(await harness.stored("a")) == [again.id]
        assert not (await harness.open("a", cursor(a))).is_complete
        (gap,) = (await harness.open("a", MessageId(a.epoch, 0))).gaps
        assert gap == ("a", f"{a.epoch}-0", a.id, "evicted")
        assert await harness.backend.delete("a")


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


class QueryContract:
    """Queries of channels and of the usage."""

    async def test_info_returns_the_state_of_a_channel(self, start: Start) -> None:
        harness = await start(messages=2)
        assert await harness.backend.info("a") is None
        sent = [await harness.publish("a", b"x" * 100) for _ in range(3)]
        assert await harness.info("a") == ("a", 2, 200, sent[1].id, sent[2].id, sent[2].time, False)
        await harness.publish("a", b"", end=True)
        info = await harness.info("a")
        assert (info.messages, info.last, info.ended) == (2, sent[2].id, True)

    async def test_names_are_sorted_and_paged_and_filtered_by_prefix(self, start: Start) -> None:
        harness = await start()
        for channel in ("c", "b/2", "b/1", "bb", "a"):
            await harness.publish(channel)
        names = harness.backend.names
        assert await names("", "", 10) == ["a", "b/1", "b/2", "bb", "c"]
        assert await names("", "", 2) == ["a", "b/1"]
        assert await names("", "b/1", 2) == ["b/2", "bb"]
        assert await names("b/", "", 10) == ["b/1", "b/2"]
        assert await names("b", "b/2", 10) == ["bb"]
        assert await names("x", "", 10) == []
        assert await names("", "", 0) == []

    async def test_usage_counts_messages_and_channels(self, start: Start) -> None:
        harness = await start(messages=2)
        assert (await harness.backend.usage())[:3] == (0, 0, 0)
        await harness.publish_each("aaab")
        usage = await harness.backend.usage()
        assert (usage.messages, usage.channels) == (3, 2)
        assert await harness.bytes() > 3


class BackendContract(PublishContract, StartContract, EndContract, RetentionContract, QueryContract):
    """The whole contract."""
