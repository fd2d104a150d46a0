"""The contract of a backend: the tests that each backend must pass. `pushd.backends.interface` states it in words.

The tests of a backend inherit `BackendContract` and define a fixture `make`: a function that returns a new backend with
given bounds, not started (see test_memory.py). A backend with a clock of its own also overrides the fixture `wait`.
"""

from collections.abc import Awaitable, Callable
from typing import ClassVar

import pytest
from msgspec import structs
from twisted.internet.defer import Deferred, gatherResults

from pushd.core.cursor import EVERYTHING, NOW, Age, Last, MessageId, Since, Time
from pushd.core.errors import TooManyChannels
from pushd.core.message import Message, draft
from pushd.core.remembered_urls import RememberedUrls
from tests.backends.backend_harness import BackendHarness, Wait, cursor, ids
from tests.backends.contract_ephemeral import EphemeralContract
from tests.backends.contract_latest import LatestContract
from tests.backends.contract_requests import RequestContract
from tests.backends.contract_retention import RetentionContract
from tests.backends.contract_revocations import RevocationContract
from tests.backends.contract_rules import RulesContract
from tests.backends.contract_usage import UsageContract

Start = Callable[..., Awaitable[BackendHarness]]
MODULES_WITH_MAX_URLS = ("pushd.backends.sqlite.writer", "pushd.backends.redis.reader")


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

    @pytest.mark.parametrize("sender", [None, "alice", "é\u2028\0\n", "\x7f" * 255])
    async def test_message_keeps_its_sender(self, start: Start, sender: str | None) -> None:
        harness = await start()
        (accepted,) = await harness.publish_all(structs.replace(draft("a", b"x"), sender=sender))
        assert isinstance(accepted, Message)
        (stored,) = await harness.stored()
        assert [each.sender for each in (accepted, stored, harness.delivered[0])] == [sender] * 3

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

    counts_kept_of_patterns: ClassVar[bool] = True
    """Whether `StartPosition.kept` includes patterns."""

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

    @pytest.mark.parametrize("is_lost", [False, True])
    @pytest.mark.parametrize("topic", ["a", "*"])
    async def test_message_lost_after_the_opening_is_a_gap_even_if_a_newer_one_was_lost_before(
        self, start: Start, topic: str, is_lost: bool
    ) -> None:
        if is_lost and topic == "*" and not self.counts_kept_of_patterns:
            pytest.skip("the backend does not count the kept messages of patterns")
        harness = await start()
        older = await harness.publish("a", ttl=150.0 if is_lost else 6000.0)
        newer = await harness.publish("a", ttl=30.0)
        kept = await harness.publish("a")
        await harness.wait(50.0)
        position = await harness.open(topic, EVERYTHING)
        assert position.gaps == ()
        await harness.wait(120.0)
        messages, gaps = await harness.replay(topic, position)
        assert ids(messages) == [kept.id] if is_lost else [older.id, kept.id]
        assert [(gap.topic, gap.end, gap.reason) for gap in gaps] == [(topic, newer.id, "expired")] * is_lost

    @pytest.mark.parametrize("topic", ["a", "*"])
    async def test_times_are_compared_to_the_nearest_millisecond(self, start: Start, topic: str) -> None:
        harness = await start()
        await harness.wait(0.0006)
        sent = await harness.publish("a")
        for less, expected in ((0.0004, [sent.id]), (0.0006, [])):
            assert ids(await harness.stored(topic, Time(sent.time + less))) == expected
        assert ids(await harness.stored(topic, Time(sent.time - 0.0004))) == [sent.id]

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

    async def test_deleted_channel_is_not_complete_for_a_cursor_from_after_its_deletion(self, start: Start) -> None:
        harness = await start()
        before = (await harness.publish("a"), await harness.open("a", NOW))[1].position
        await harness.backend.delete("a")
        after = (await harness.open("a", NOW)).position
        for position, is_complete in ((before, True), (after, False)):
            assert (await harness.open("a", position)).is_complete == is_complete
        await harness.publish("b")
        for position, is_complete in ((before, True), (after, False)):
            assert (await harness.open("a", position)).is_complete == is_complete
        again = await harness.publish("a")
        assert ids(list((await harness.page("a", after)).messages)) == [again.id]

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


class UrlContract:
    """The signed URLs that were used."""

    async def test_used_url_is_remembered_until_its_time_is_over(self, start: Start, wait: Wait) -> None:
        harness = await start()
        backend, now = harness.backend, (await harness.publish("a")).time
        one, other, late = (bytes([number]) * 16 for number in (0, 13, 255))
        assert not await backend.is_url_remembered(one)
        for _ in range(2):
            await backend.remember_url(one, now + 20)
        await backend.remember_url(other, now + 1000)
        await backend.remember_url(late, now - 1)
        known = [await backend.is_url_remembered(digest) for digest in (one, other, late, b"\x01" * 16)]
        assert known == [True, True, False, False]
        await wait(25)
        assert [await backend.is_url_remembered(digest) for digest in (one, other)] == [False, True]
        await backend.remember_url(one, now + 20)
        assert not await backend.is_url_remembered(one)

    async def test_urls_whose_time_is_over_first_are_forgotten_beyond_the_most(
        self, start: Start, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for module in MODULES_WITH_MAX_URLS:
            monkeypatch.setattr(f"{module}.MAX_URLS", 4)
        monkeypatch.setattr(RememberedUrls.__init__, "__defaults__", (4,))
        harness = await start()
        backend, now = harness.backend, (await harness.publish("a")).time
        order = [500, 100, 600, 200, 700, 300, 800]
        for seconds in order:
            await backend.remember_url(seconds.to_bytes(16, "big"), now + seconds)
        known = [each for each in order if await backend.is_url_remembered(each.to_bytes(16, "big"))]
        assert known == [500, 600, 700, 800]


class BackendContract(
    PublishContract,
    EphemeralContract,
    RequestContract,
    StartContract,
    LatestContract,
    EndContract,
    RetentionContract,
    RulesContract,
    RevocationContract,
    UsageContract,
    QueryContract,
    UrlContract,
):
    """The whole contract."""
