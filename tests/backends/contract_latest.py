"""The part of the contract about subscriptions that begin with the newest message of each channel."""

from collections.abc import Awaitable, Callable, Sequence
from random import Random

import pytest

from pushd.core.cursor import LATEST, MessageId
from pushd.core.message import Message
from pushd.core.names import Interest
from pushd.core.replay import Page, StartPosition
from tests.backends.backend_harness import ALL, BackendHarness, Wait, cursor, ids

Start = Callable[..., Awaitable[BackendHarness]]
CHANNELS = [f"{group}/{number}" for group in "ab" for number in range(6)]
TOPICS = ["**", "a/*", "a/0,a/3,b/*", "a/0,a/1,a/2,b/0,b/1,c/9", "a/2"]


async def nothing() -> None:
    """Do nothing between two pages."""


def newest(messages: Sequence[Message], upto: int) -> dict[str, Message]:
    """Return the newest message up to a sequence of each channel."""
    return {message.channel: message for message in messages if message.seq <= upto}


async def read_latest(
    harness: BackendHarness,
    topics: str,
    opening: StartPosition,
    count: int = 1000,
    between: Callable[[], Awaitable[None]] = nothing,
    size: int = ALL,
) -> tuple[list[Message], Page]:
    """Read the newest messages page by page; return them and the last page."""
    until = opening.latest_until
    assert until is not None
    messages: list[Message] = []
    position = opening.position
    assert position < until
    while True:
        page = await harness.page(topics, position, count, size, until)
        assert page.gaps == ()
        assert len(page.messages) <= count
        assert position < page.position <= until
        assert page.is_last == (page.position == until)
        messages += page.messages
        position = page.position
        await between()
        if page.is_last:
            return messages, page


class LatestContract:
    """Subscriptions with `Latest`."""

    @pytest.mark.parametrize("topics", TOPICS)
    @pytest.mark.parametrize("count", [1, 2, 1000])
    async def test_the_newest_message_of_each_channel_is_read_in_id_order(
        self, start: Start, topics: str, count: int
    ) -> None:
        harness = await start()
        random = Random(7)
        for _ in range(60):
            await harness.publish(random.choice(CHANNELS), random.randbytes(10))
        stored = await harness.stored(topics)
        opening = await harness.open(topics, LATEST)
        expected = sorted(newest(stored, 1 << 40).values(), key=lambda message: message.seq)
        assert opening.position == cursor(expected[0])._replace(seq=expected[0].seq - 1)
        assert opening.latest_until == cursor(harness.delivered[-1])
        assert (opening.gaps, opening.known_gaps, opening.kept, opening.needs_replay) == ((), (), (), True)
        read, _ = await read_latest(harness, topics, opening, count)
        assert ids(read) == ids(expected)
        assert [message.data for message in read] == [message.data for message in expected]

    async def test_a_page_has_at_most_its_bytes(self, start: Start) -> None:
        harness = await start()
        sent = [await harness.publish(name, b"x" * 1000) for name in CHANNELS]
        for topics in ("**", ",".join(CHANNELS)):
            opening = await harness.open(topics, LATEST)
            page = await harness.page(topics, opening.position, 1000, 2500, opening.latest_until)
            assert ids(list(page.messages)) == ids(sent[:3])
            assert (page.position, page.is_last) == (cursor(sent[2]), False)

    @pytest.mark.parametrize("topics", ["**", "a", "none/*", "none"])
    async def test_without_any_message_it_begins_at_the_head(self, start: Start, topics: str) -> None:
        harness = await start()
        opening = await harness.open(topics, LATEST)
        assert (opening.position, opening.needs_replay) == (opening.latest_until, False)
        assert opening.position.seq == 0
        sent = await harness.publish("b")
        if topics != "**":
            opening = await harness.open(topics, LATEST)
            assert opening.position == opening.latest_until == cursor(sent)
            assert (opening.needs_replay, opening.is_complete) == (False, False)

    @pytest.mark.parametrize("topics", ["**", "a,b"])
    async def test_a_newer_message_does_not_replace_the_newest_one_at_the_opening(
        self, start: Start, topics: str
    ) -> None:
        harness = await start()
        old = await harness.publish_each("aabb")
        opening = await harness.open(topics, LATEST)
        new = await harness.publish_each("abc")
        read, page = await read_latest(harness, topics, opening, 1)
        assert ids(read) == [old[1].id, old[3].id]
        rest, gaps = await harness.replay(topics, StartPosition(page.position, (), True, False))
        assert (ids(rest), gaps) == (ids(new if topics == "**" else new[:2]), [])

    @pytest.mark.parametrize("topics", ["l/*", ",".join(f"l/{number}" for number in range(50))])
    async def test_large_messages_that_have_a_successor_are_read(self, start: Start, topics: str) -> None:
        harness = await start()
        for _ in range(2):
            old = [await harness.publish(f"l/{number}", b"x" * 100_000) for number in range(50)]
        opening = await harness.open(topics, LATEST)
        for number in range(50):
            await harness.publish(f"l/{number}", b"x" * 100_000)
        read, _ = await read_latest(harness, topics, opening, 10)
        assert ids(read) == ids(old)

    @pytest.mark.parametrize("topics", ["**", "a,b"])
    async def test_what_was_evicted_before_it_was_read_is_replaced_by_what_follows(
        self, start: Start, topics: str
    ) -> None:
        harness = await start(messages=1)
        old = await harness.publish_each("aabb")
        opening = await harness.open(topics, LATEST)
        new = await harness.publish("a")
        read, page = await read_latest(harness, topics, opening)
        assert ids(read) == [old[3].id]
        rest, gaps = await harness.replay(topics, StartPosition(page.position, (), True, False))
        assert (ids(rest), gaps) == ([new.id], [])
        await harness.publish("a")
        _, gaps = await harness.replay(topics, StartPosition(page.position, (), True, False))
        assert [(gap.start, gap.end, gap.reason) for gap in gaps if gap.topic in ("**", "a")] == [
            (str(opening.latest_until), new.id, "evicted")
        ]

    @pytest.mark.parametrize("topics", ["**", "a,b,c"])
    async def test_expired_and_deleted_messages_are_not_read(self, start: Start, wait: Wait, topics: str) -> None:
        harness = await start()
        kept = await harness.publish("a")
        await harness.publish("a", ttl=10.0)
        await harness.publish("b", ttl=10.0)
        last = await harness.publish("c")
        await harness.backend.delete("c")
        await wait(15.0)
        opening = await harness.open(topics, LATEST)
        read, page = await read_latest(harness, topics, opening)
        assert ids(read) == [kept.id]
        assert page.position.seq >= last.seq
        assert page.ended == ()

    async def test_the_end_of_a_channel_follows_its_newest_message(self, start: Start) -> None:
        harness = await start()
        first = await harness.publish("a")
        await harness.publish("a", b"", end=True)
        last = await harness.publish("b", b"end", end=True)
        await harness.publish("c")
        opening = await harness.open("a,b,c", LATEST)
        assert (opening.position, opening.is_complete) == (cursor(first)._replace(seq=first.seq - 1), False)
        await harness.publish("c", b"end", end=True)
        read, page = await read_latest(harness, "a,b,c", opening)
        assert ids(read)[:2] == [first.id, last.id]
        assert page.ended == ("a", "b")

    async def test_a_channel_that_ended_without_messages_is_complete(self, start: Start) -> None:
        harness = await start()
        await harness.publish("a", b"", end=True)
        opening = await harness.open("a", LATEST)
        assert (opening.is_complete, opening.needs_replay) == (True, True)
        assert (await harness.page("a", opening.position, latest_until=opening.latest_until)).ended == ("a",)

    async def test_positions_of_another_epoch_are_read_as_usual(self, start: Start) -> None:
        harness = await start()
        sent = await harness.publish_each("aa")
        foreign = MessageId("Foreign", 1)
        page = await harness.page("a", foreign, latest_until=MessageId("Foreign", 9))
        assert (ids(list(page.messages)), page.is_last) == (ids(sent), True)
        assert [gap.reason for gap in page.gaps] == ["epoch"]

    @pytest.mark.parametrize("seed", range(12))
    async def test_it_is_complete_whatever_happens_between_two_pages(self, start: Start, wait: Wait, seed: int) -> None:
        random = Random(seed)
        bounds = {"messages": random.choice([1, 2, 1000]), "total_bytes": random.choice([6000, 1 << 20])}
        harness = await start(**bounds)
        topics = random.choice(TOPICS)
        covers = Interest(topics.split(",")).covers

        async def change() -> None:
            for _ in range(random.choice([0, 1, 5])):
                await harness.publish(random.choice(CHANNELS), ttl=random.choice([None, None, None, 5.0]))
            if random.random() < 0.2:
                await harness.backend.delete(random.choice(CHANNELS))
            if random.random() < 0.1:
                await wait(6.0)

        for _ in range(20):
            await change()
        # Before the opening: a message that expires after it may hide an older one.
        stored_before = [each for each in await harness.stored() if covers(each.channel)]
        opening = await harness.open(topics, LATEST)
        until = opening.latest_until
        assert until is not None
        at_start = newest(stored_before, until.seq)
        candidates = {message.id for message in at_start.values()}

        async def observe() -> None:
            found = newest([each for each in await harness.stored() if covers(each.channel)], until.seq)
            candidates.update(message.id for message in found.values())

        async def between() -> None:
            await observe()
            await change()
            await observe()

        await observe()
        read: list[Message] = []
        if opening.position != until:
            read, _ = await read_latest(harness, topics, opening, random.choice([1, 2, 5]), between)
        at_end = {message.id for message in await harness.stored()}
        assert [message.seq for message in read] == sorted({message.seq for message in read})
        assert len({message.channel for message in read}) == len(read)
        assert candidates.issuperset(ids(read))
        must_have = {message.id for message in at_start.values() if message.id in at_end}
        assert must_have.issubset(ids(read))
        rest, gaps = await harness.replay(topics, StartPosition(until, (), True, False))
        published = [each for each in harness.delivered if each.seq > until.seq and covers(each.channel)]
        assert set(ids(rest)).issubset(ids(published))
        assert bool(gaps) == (len(rest) < len(published))
