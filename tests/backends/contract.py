"""What every backend promises, written once.

A class of tests takes these for a backend by a fixture `make`, which gives a function from bounds to a backend that was
not started yet (see test_memory.py). A backend that goes by clocks of its own has its own fixture `wait` too.
"""

from collections.abc import Awaitable, Callable

import pytest
from twisted.internet.defer import Deferred, gatherResults

from pushd.core.cursor import EVERYTHING, NOW, Age, Last, MessageId, Since, Time
from pushd.core.errors import TooManyChannels
from pushd.core.message import Message, draft
from tests.backends.backend_harness import Stage, cursor, ids

Start = Callable[..., Awaitable[Stage]]

MOMENT = 1.0
"""Seconds in which a message of a short life is over. Backends that really wait keep their tests short by it."""


class Publishing:
    """What is accepted, and in what order."""

    async def test_a_message_is_accepted_as_it_was_handed_in(self, start: Start) -> None:
        stage = await start()
        (accepted,) = await stage.try_all(draft("a/b", b'{"a":1}', "application/json", "update", 60.0))
        assert isinstance(accepted, Message)
        assert (accepted.channel, accepted.data, accepted.content_type) == ("a/b", b'{"a":1}', "application/json")
        assert (accepted.encoding, accepted.event, accepted.end, accepted.prev) == ("json", "update", False, None)
        assert accepted.time == round(accepted.time, 3)
        (kept,) = await stage.kept()
        for message in (kept, stage.heard[0]):
            assert {name: getattr(message, name) for name in Message.__struct_fields__} == {
                name: getattr(accepted, name) for name in Message.__struct_fields__
            }

    @pytest.mark.parametrize(
        "data", [b"", b"\x00", bytes(range(256)), b"\xff\xfe", "é\u2028".encode(), b"007", b"1" * 100_000]
    )
    async def test_any_bytes_come_back_as_they_were(self, start: Start, data: bytes) -> None:
        stage = await start()
        await stage.publish("a", data)
        assert [(each.data, each.encoding) for each in await stage.kept()] == [
            (each.data, each.encoding) for each in stage.heard
        ]
        assert stage.heard[0].data == data

    async def test_any_name_is_a_channel_of_its_own(self, start: Start) -> None:
        stage = await start()
        names = ["a", "A", "ä", "a/b", "a%2fb", "[a]", "it's", '"', "a:b", "$sys/a", "日本", "x" * 255]
        for name in names:
            await stage.publish(name)
        assert [each.channel for each in await stage.kept(",".join(names))] == names
        assert await stage.backend.names("", "", 100) == sorted(names)

    async def test_ids_grow_over_all_channels_and_prev_links_each_channel(self, start: Start) -> None:
        stage = await start()
        a, b, c, d, e = await stage.publish_each("abaab")
        assert [each.seq for each in (a, b, c, d, e)] == sorted({each.seq for each in stage.heard})
        assert [each.prev for each in (a, b, c, d, e)] == [None, None, a.id, c.id, b.id]
        assert len({each.epoch for each in stage.heard}) == 1

    async def test_several_at_once_are_accepted_in_their_order_each_for_itself(self, start: Start) -> None:
        stage = await start(channels=2)
        await stage.publish("a")
        answers = await stage.try_all(draft("b", b"1"), draft("c", b"2"), draft("a", b"3"), draft("b", b"4"))
        assert [type(answer) for answer in answers] == [Message, TooManyChannels, Message, Message]
        assert [each.data for each in stage.heard] == [b"x", b"1", b"3", b"4"]
        assert ids(await stage.kept()) == ids(stage.heard)
        assert [each.prev for each in stage.heard] == [None, None, stage.heard[0].id, stage.heard[1].id]

    async def test_nothing_at_all_may_be_published(self, start: Start) -> None:
        assert await (await start()).try_all() == []

    async def test_what_is_published_together_is_told_once_and_in_order(self, start: Start) -> None:
        stage = await start()
        answers = await gatherResults(
            [Deferred.fromCoroutine(stage.publish("ab"[number % 2], b"%d" % number)) for number in range(200)]
        )
        assert [each.data for each in answers] == [b"%d" % number for number in range(200)]
        assert ids(stage.heard) == ids(sorted(answers, key=lambda each: each.seq))
        for channel in "ab":
            own = [each for each in answers if each.channel == channel]
            assert own == sorted(own, key=lambda each: each.seq)
            assert [each.prev for each in own] == [None, *ids(own[:-1])]
        assert ids(await stage.kept()) == ids(stage.heard)

    async def test_an_accepted_message_was_told_before_the_answer(self, start: Start) -> None:
        stage = await start()
        accepted = await stage.publish("a")
        assert ids(stage.heard) == [accepted.id]

    async def test_whoever_misses_a_callback_finds_the_message_in_the_next_page(self, start: Start) -> None:
        stage = await start()
        pages: list[Deferred[list[str]]] = []

        async def read(message: Message) -> list[str]:
            page = await stage.page(message.channel, MessageId(message.epoch, 0))
            return ids(list(page.messages))

        stage.when_heard = lambda message: pages.append(Deferred.fromCoroutine(read(message)))
        first, second = await stage.publish("a"), await stage.publish("a")
        found = await gatherResults(pages)
        assert found[0][:1] == [first.id]
        assert found[1] == [first.id, second.id]

    async def test_one_who_reads_while_others_publish_hears_each_message_once_and_in_order(self, start: Start) -> None:
        stage = await start()
        for number in range(100):
            await stage.publish("ab"[number % 2], b"%d" % number)
        live: list[Message] = []
        stage.when_heard = lambda message: live.append(message) if message.channel == "a" else None
        opening = await stage.open("a", EVERYTHING)
        heard: list[Message] = []
        position, complete, number = opening.position, False, 100
        publishing = []
        while not complete:
            for _ in range(10 if number < 400 else 0):
                publishing.append(Deferred.fromCoroutine(stage.publish("ab"[number % 2], b"%d" % number)))
                number += 1
            page = await stage.page("a", position, 7)
            heard += page.messages
            position, complete = page.position, page.is_last
        await gatherResults(publishing)
        heard += [message for message in live if message.seq > position.seq]
        assert [each.data for each in heard] == [b"%d" % each for each in range(0, number, 2)]


class Beginning:
    """Where a subscription begins, and what it reads."""

    @pytest.mark.parametrize("topics", ["a/1,b/1,silent", "*/1", "a/*,b/1,*/1"])
    async def test_each_form_of_since_begins_where_it_says(self, start: Start, topics: str) -> None:
        stage = await start()
        sent = []
        for channel in ["a/1", "x", "b/1", "x", "a/1", "b/1", "x"]:
            sent.append(await stage.publish(channel))
            await stage.wait(0.25)
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
        for since, wanted in cases:
            opening = await stage.open(topics, since)
            assert (opening.gaps, opening.is_complete) == ((), False), since
            messages, gaps = await stage.follow(topics, opening)
            assert (ids(messages), gaps) == (ids(wanted), []), since

    async def test_one_who_has_heard_all_is_not_behind(self, start: Start) -> None:
        stage = await start()
        first, second = await stage.publish_each("ab")
        for topics in ("a", "a,b", "*"):
            assert not (await stage.open(topics, NOW)).needs_replay
            assert not (await stage.open(topics, cursor(second))).needs_replay
        assert (await stage.open("*", cursor(first))).needs_replay

    @pytest.mark.parametrize("since", [NOW, EVERYTHING, Last(5), Age(60.0), Time(3.0)], ids=str)
    async def test_one_without_a_cursor_misses_nothing_of_an_empty_log(self, start: Start, since: Since) -> None:
        stage = await start()
        opening = await stage.open("a,*", since)
        assert (opening.gaps, opening.needs_replay, opening.is_complete, opening.position.seq) == ((), False, False, 0)

    @pytest.mark.parametrize("topics", ["a,b", "*", "a,*", "*/1,b,a"])
    async def test_pages_hold_so_many_messages_in_order_and_the_last_says_so(self, start: Start, topics: str) -> None:
        stage = await start()
        sent = await stage.publish_each("abbab")
        for count in (1, 2, 3, 5, 100):
            messages, gaps = await stage.come_back(topics, EVERYTHING, count)
            assert (ids(messages), gaps) == (ids(sent), [])
        page = await stage.page(topics, MessageId(sent[0].epoch, 0), 2)
        assert (ids(list(page.messages)), page.is_last) == (ids(sent[:2]), False)
        page = await stage.page(topics, page.position, 100)
        assert (ids(list(page.messages)), page.is_last, page.position) == (ids(sent[2:]), True, cursor(sent[-1]))

    @pytest.mark.parametrize("topics", ["a,b", "*"])
    async def test_pages_hold_so_many_bytes_but_always_a_message(self, start: Start, topics: str) -> None:
        stage = await start()
        sent = await stage.publish_each("abbab")
        size = sent[0].size
        after = MessageId(sent[0].epoch, 0)
        for limit, wanted in ((2 * size, 2), (size + 1, 2), (1, 1), (1000 * size, 5)):
            assert len((await stage.page(topics, after, 100, limit)).messages) == wanted
            assert ids((await stage.come_back(topics, EVERYTHING, 100, limit))[0]) == ids(sent)

    async def test_a_pattern_among_many_foreign_messages_is_read_to_the_end(self, start: Start) -> None:
        stage = await start(messages=10_000)
        first = await stage.publish("a/1")
        for _ in range(10):
            await stage.try_all(*[draft("x", b"")] * 500)
        last = await stage.publish("a/2")
        assert ids(await stage.kept("a/*")) == [first.id, last.id]
        assert ids(await stage.kept("*/1")) == [first.id]

    @pytest.mark.parametrize(
        ("topic", "wanted"),
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
    async def test_a_pattern_reads_what_it_matches(self, start: Start, topic: str, wanted: list[str]) -> None:
        stage = await start()
        for channel in ["a", "a/x", "a/x/y", "b", "b/x", "$sys/a"]:
            await stage.publish(channel)
        assert [each.channel for each in await stage.kept(topic)] == wanted
        assert len(await stage.kept(topic, Last(1))) == min(1, len(wanted))


class Ending:
    """Streams that end, and channels that are deleted."""

    async def test_one_who_has_heard_all_of_streams_that_ended_is_finished(self, start: Start) -> None:
        stage = await start()
        a, _ = await stage.publish_each("ab")
        mark = await stage.publish("a", b"", end=True)
        assert (await stage.open("a", cursor(a))).is_complete
        assert (await stage.open("a", NOW)).is_complete
        assert not (await stage.open("a", MessageId(a.epoch, 0))).is_complete
        assert not (await stage.open("a,b", cursor(mark))).is_complete
        last = await stage.publish("b", b"last", end=True)
        assert not (await stage.open("a,b", cursor(mark))).is_complete
        assert (await stage.open("a,b", cursor(last))).is_complete
        assert not (await stage.open("*", cursor(last))).is_complete

    async def test_the_mark_of_an_end_is_no_message_but_has_an_id(self, start: Start) -> None:
        stage = await start()
        first = await stage.publish("a")
        mark = await stage.publish("a", b"", end=True)
        assert mark.seq > first.seq
        assert ids(stage.heard) == [first.id, mark.id]
        assert ids(await stage.kept("a")) == [first.id]
        assert (await stage.publish("a")).prev == first.id

    async def test_the_last_page_and_only_that_names_the_channels_that_have_ended(self, start: Start) -> None:
        stage = await start()
        first, *_ = await stage.publish_each("aab")
        await stage.publish("a", b"last", end=True)
        page = await stage.page("a,b", MessageId(first.epoch, 0), 1)
        assert (page.is_last, page.ended) == (False, ())
        page = await stage.page("a,b", page.position)
        assert (page.is_last, page.ended) == (True, ("a",))
        assert page.messages[-1].end
        assert (await stage.page("*", MessageId(first.epoch, 0))).ended == ()

    async def test_a_channel_that_is_published_to_after_its_end_goes_on(self, start: Start) -> None:
        stage = await start()
        await stage.publish("a", b"last", end=True)
        again = await stage.publish("a", b"more")
        assert not (await stage.open("a", cursor(again))).is_complete
        assert (await stage.page("a", MessageId(again.epoch, 0))).ended == ()
        assert not (await stage.info("a")).ended

    async def test_a_channel_is_forgotten_once_with_all_its_messages(self, start: Start) -> None:
        stage = await start()
        _, b, _ = await stage.publish_each("aba")
        assert await stage.backend.delete("a")
        assert not await stage.backend.delete("a")
        assert not await stage.backend.delete("never")
        assert stage.forgotten == ["a"]
        assert ids(await stage.kept()) == [b.id]
        assert await stage.backend.info("a") is None
        assert await stage.backend.names("", "", 10) == ["b"]
        usage = await stage.backend.usage()
        assert (usage.messages, usage.channels) == (1, 1)

    async def test_messages_of_a_forgotten_channel_are_told_as_gone(self, start: Start) -> None:
        stage = await start()
        a, _, c = await stage.publish_each("aba")
        await stage.backend.delete("a")
        for topic in ("a", "*", "**"):
            (gap,) = (await stage.open(topic, cursor(a))).gaps
            assert gap == (topic, a.id, c.id, "evicted")
            assert (await stage.open(topic, cursor(c))).gaps == ()

    async def test_one_who_comes_back_to_a_deleted_channel_is_finished_and_one_who_comes_first_waits(
        self, start: Start
    ) -> None:
        stage = await start()
        a = await stage.publish("a")
        await stage.backend.delete("a")
        assert (await stage.open("a", cursor(a))).is_complete
        assert not (await stage.open("a", NOW)).is_complete
        assert not (await stage.open("a", EVERYTHING)).is_complete
        assert (await stage.page("a", cursor(a))).ended == ()

    async def test_a_forgotten_channel_begins_anew_when_it_is_published_to(self, start: Start) -> None:
        stage = await start()
        a = await stage.publish("a")
        await stage.backend.delete("a")
        again = await stage.publish("a")
        assert (again.seq > a.seq, again.prev) == (True, None)
        assert ids(await stage.kept("a")) == [again.id]
        assert not (await stage.open("a", cursor(a))).is_complete
        (gap,) = (await stage.open("a", MessageId(a.epoch, 0))).gaps
        assert gap == ("a", f"{a.epoch}-0", a.id, "evicted")
        assert await stage.backend.delete("a")


class Losing:
    """Bounds, and what is told of what they take."""

    async def test_a_channel_keeps_its_newest_messages_by_count(self, start: Start) -> None:
        stage = await start(messages=2)
        sent = await stage.publish_each("aaabab")
        assert ids(await stage.kept()) == ids(sent[2:])
        assert (await stage.info("a")).first == sent[2].id

    async def test_a_channel_keeps_its_newest_messages_by_bytes(self, start: Start) -> None:
        stage = await start(bytes=200)
        sent = [await stage.publish(channel, b"x" * 100) for channel in "aaab"]
        assert ids(await stage.kept()) == ids(sent[1:])
        large = await stage.publish("a", b"x" * 101)
        assert ids(await stage.kept()) == [sent[3].id, large.id]

    async def test_a_message_beyond_the_bytes_of_a_channel_is_accepted_and_not_kept(self, start: Start) -> None:
        stage = await start(bytes=100)
        first = await stage.publish("a", b"x" * 100)
        second = await stage.publish("a", b"x" * 101)
        assert ids(stage.heard) == [first.id, second.id]
        assert await stage.kept() == []
        (gap,) = (await stage.open("a", MessageId(first.epoch, 0))).gaps
        assert (gap.end, gap.reason) == (second.id, "evicted")

    async def test_with_zero_messages_nothing_is_kept_and_ids_still_grow(self, start: Start) -> None:
        stage = await start(messages=0)
        sent = await stage.publish_each("aaa")
        assert [each.prev for each in sent] == [None, sent[0].id, sent[1].id]
        assert await stage.kept() == []
        assert (await stage.backend.usage()).messages == 0

    async def test_a_short_bound_holds_for_what_is_published_at_once(self, start: Start) -> None:
        stage = await start(messages=3)
        answers = await stage.try_all(*[draft("a", b"%d" % number) for number in range(10)])
        assert [each.data for each in await stage.kept()] == [b"7", b"8", b"9"]
        assert len(stage.heard) == len(answers) == 10

    async def test_what_was_evicted_after_the_cursor_is_told_up_to_the_newest_that_went(self, start: Start) -> None:
        stage = await start(messages=1)
        sent = await stage.publish_each("aabaa")
        for at, told in ((0, True), (2, True), (3, False), (4, False)):
            gaps = (await stage.open("a", cursor(sent[at]))).gaps
            assert gaps == ((("a", sent[at].id, sent[3].id, "evicted"),) if told else ())
        assert (await stage.open("b", MessageId(sent[0].epoch, 0))).gaps == ()
        assert (await stage.open("silent,no/*", MessageId(sent[0].epoch, 0))).gaps == ()
        messages, told_gaps = await stage.come_back("a", cursor(sent[0]))
        assert (ids(messages), len(told_gaps)) == ([sent[4].id], 1)

    async def test_a_pattern_is_told_the_newest_loss_of_all_it_covers_and_only_those(self, start: Start) -> None:
        stage = await start(messages=1)
        sent = await stage.publish_each("aabbcc")
        for at, told in ((0, True), (3, True), (4, False), (5, False)):
            gaps = (await stage.open("*", cursor(sent[at]))).gaps
            assert gaps == ((("*", sent[at].id, sent[4].id, "evicted"),) if told else ())
        assert (await stage.open("x/*", cursor(sent[0]))).gaps == ()

    async def test_what_is_too_old_leaves_and_is_told(self, start: Start) -> None:
        stage = await start(age=MOMENT)
        first = await stage.publish("a")
        await stage.wait(MOMENT * 0.6)
        second = await stage.publish("b")
        await stage.wait(MOMENT * 0.6)
        assert ids(await stage.kept()) == [second.id]
        (gap,) = (await stage.open("a", MessageId(first.epoch, 0))).gaps
        assert gap == ("a", f"{first.epoch}-0", first.id, "expired")
        assert (await stage.open("a", cursor(first))).gaps == ()
        assert (await stage.open("b", MessageId(first.epoch, 0))).gaps == ()
        info = await stage.info("a")
        assert (info.messages, info.first, info.last) == (0, None, first.id)

    async def test_a_message_with_a_time_to_live_leaves_when_that_is_over_whatever_is_older(self, start: Start) -> None:
        stage = await start()
        first, short, third = (
            await stage.publish("a"),
            await stage.publish("a", ttl=MOMENT),
            await stage.publish("a"),
        )
        assert ids(await stage.kept()) == ids([first, short, third])
        await stage.wait(MOMENT * 1.1)
        assert ids(await stage.kept("a")) == ids(await stage.kept("*")) == ids([first, third])
        for topic in ("a", "*"):
            messages, gaps = await stage.come_back(topic, MessageId(first.epoch, 0))
            assert (ids(messages), [tuple(gap)[2:] for gap in gaps]) == (
                ids([first, third]),
                [(short.id, "expired")],
            )
            assert (await stage.open(topic, cursor(short))).gaps == ()
        assert (await stage.info("a")).messages == 2

    async def test_over_all_channels_the_least_recently_used_one_loses_its_oldest_first(self, start: Start) -> None:
        stage = await start()
        await stage.publish("a", b"x" * 100)
        cost = await stage.bytes()
        stage = await start(total_bytes=4 * cost)
        sent = [await stage.publish(channel, b"x" * 100) for channel in "abbac"]
        assert ids(await stage.kept()) == ids([sent[0], *sent[2:]])
        sent.append(await stage.publish("c", b"x" * 100))
        assert ids(await stage.kept()) == ids([sent[0], *sent[3:]])
        sent.append(await stage.publish("c", b"x" * 100))
        assert ids(await stage.kept()) == ids(sent[3:])
        assert await stage.bytes() <= 4 * cost

    async def test_a_message_beyond_all_bytes_is_accepted_and_not_kept(self, start: Start) -> None:
        stage = await start(total_bytes=1000)
        await stage.publish("a")
        await stage.publish("b", b"x" * 2000)
        assert await stage.kept() == []
        assert len(stage.heard) == 2

    async def test_a_channel_without_messages_makes_room_for_a_new_one(self, start: Start) -> None:
        stage = await start(channels=2, age=MOMENT)
        first = await stage.publish("a")
        await stage.wait(MOMENT * 1.1)
        second, third = await stage.publish("b"), await stage.publish("c")
        assert await stage.backend.info("a") is None
        assert await stage.backend.names("", "", 10) == ["b", "c"]
        for topics in ("a", "never", "*"):
            (gap,) = (await stage.open(topics, MessageId(first.epoch, 0))).gaps
            assert gap == (topics, f"{first.epoch}-0", first.id, "unknown")
            assert (await stage.open(topics, cursor(first))).gaps == ()
        assert (await stage.open("b", MessageId(first.epoch, 0))).gaps == ()
        (refusal,) = await stage.try_all(draft("a", b"x"))
        assert isinstance(refusal, TooManyChannels)
        assert ids(await stage.kept()) == ids([second, third])

    @pytest.mark.parametrize("topics", ["a,b", "*,silent"])
    async def test_an_id_of_another_epoch_is_a_gap_and_then_all_that_is_kept(self, start: Start, topics: str) -> None:
        stage = await start(messages=1)
        sent = await stage.publish_each("aab")
        opening = await stage.open(topics, MessageId("Foreign", 2))
        first, second = topics.split(",")
        epoch = sent[0].epoch
        assert opening.gaps == (
            (first, "Foreign-2", sent[0].id, "epoch"),
            (second, "Foreign-2", f"{epoch}-0", "epoch"),
        )
        messages, gaps = await stage.follow(topics, opening)
        assert (ids(messages), len(gaps)) == (ids(sent[1:]), 2)
        page = await stage.page(topics, MessageId("Foreign", 9))
        assert {gap.reason for gap in page.gaps} == {"epoch"}
        assert ids(list(page.messages)) == ids(sent[1:])

    async def test_an_id_that_was_never_given_is_a_gap_and_then_all_that_is_kept(self, start: Start) -> None:
        stage = await start()
        first, second = await stage.publish_each("ab")
        never = MessageId(first.epoch, second.seq + 1)
        opening = await stage.open("a", never)
        assert opening.gaps == (("a", str(never), f"{first.epoch}-0", "unknown"),)
        assert ids((await stage.follow("a", opening))[0]) == [first.id]

    @pytest.mark.parametrize("since", [EVERYTHING, Last(2)], ids=str)
    @pytest.mark.parametrize("topics", ["a", "*"])
    async def test_one_who_asks_for_what_is_kept_is_told_no_gap_for_what_went_before(
        self, start: Start, since: Since, topics: str
    ) -> None:
        stage = await start(messages=2)
        sent = await stage.publish_each("aaaa")
        messages, gaps = await stage.come_back(topics, since)
        assert (ids(messages), gaps) == (ids(sent[2:]), [])

    @pytest.mark.parametrize("topics", ["a", "*"])
    async def test_one_who_asks_for_a_time_is_told_what_is_gone_of_that_time(self, start: Start, topics: str) -> None:
        stage = await start(messages=2)
        sent = []
        for _ in range(4):
            sent.append(await stage.publish("a"))
            await stage.wait(0.1)
        for since, told in ((Time(sent[0].time), True), (Time(sent[2].time), False), (Age(3600.0), True)):
            messages, gaps = await stage.come_back(topics, since)
            assert ids(messages) == ids(sent[2:])
            assert [(gap.end, gap.reason) for gap in gaps] == [(sent[1].id, "evicted")] * told

    async def test_what_is_lost_between_two_pages_is_told_with_the_next(self, start: Start) -> None:
        stage = await start(messages=4)
        sent = await stage.publish_each("aaaa")
        first = await stage.page("a", MessageId(sent[0].epoch, 0), 1)
        assert (first.gaps, first.position) == ((), cursor(sent[0]))
        sent += await stage.publish_each("aa")
        second = await stage.page("a", first.position)
        assert second.gaps == (("a", sent[0].id, sent[1].id, "evicted"),)
        assert ids(list(second.messages)) == ids(sent[2:])


class Looking:
    """What can be seen from outside."""

    async def test_what_is_known_of_a_channel_is_told(self, start: Start) -> None:
        stage = await start(messages=2)
        assert await stage.backend.info("a") is None
        sent = [await stage.publish("a", b"x" * 100) for _ in range(3)]
        assert await stage.info("a") == ("a", 2, 200, sent[1].id, sent[2].id, sent[2].time, False)
        await stage.publish("a", b"", end=True)
        info = await stage.info("a")
        assert (info.messages, info.last, info.ended) == (2, sent[2].id, True)

    async def test_channels_are_listed_sorted_and_page_by_page_by_prefix(self, start: Start) -> None:
        stage = await start()
        for channel in ("c", "b/2", "b/1", "bb", "a"):
            await stage.publish(channel)
        names = stage.backend.names
        assert await names("", "", 10) == ["a", "b/1", "b/2", "bb", "c"]
        assert await names("", "", 2) == ["a", "b/1"]
        assert await names("", "b/1", 2) == ["b/2", "bb"]
        assert await names("b/", "", 10) == ["b/1", "b/2"]
        assert await names("b", "b/2", 10) == ["bb"]
        assert await names("x", "", 10) == []
        assert await names("", "", 0) == []

    async def test_how_much_is_held_is_told(self, start: Start) -> None:
        stage = await start(messages=2)
        assert (await stage.backend.usage())[:3] == (0, 0, 0)
        await stage.publish_each("aaab")
        usage = await stage.backend.usage()
        assert (usage.messages, usage.channels) == (3, 2)
        assert await stage.bytes() > 3


class BackendContract(Publishing, Beginning, Ending, Losing, Looking):
    """All of it."""
