"""The part of the contract of a backend that concerns rules for channels; see `tests.backends.contract`."""

from collections.abc import Awaitable, Callable

import pytest
from twisted.internet.task import deferLater

from pushd.core.channel_rules import ChannelRule, ChannelRules
from pushd.core.cursor import LATEST, MessageId
from pushd.core.message import Gap, Message, draft
from tests.backends.backend_harness import BackendHarness, cursor, ids
from tests.backends.contract_latest import read_latest

Start = Callable[..., Awaitable[BackendHarness]]

SHORT_SECONDS = 100.0
"""The age at which messages expire in tests: much more than any of them takes."""


async def settle(harness: BackendHarness, *expected: Message) -> None:
    """Wait until a reload has left only the expected messages; a backend with a clock of its own takes a moment."""
    from twisted.internet import reactor

    deadline = reactor.seconds() + 30
    while ids(kept := await harness.stored()) != ids([*expected]):
        assert reactor.seconds() < deadline, f"{ids(kept)} are kept, not {ids([*expected])}"
        await harness.wait(0.05)
        await deferLater(reactor, 0.01)


async def gaps_of(harness: BackendHarness, topics: str, epoch: str) -> set[tuple[str, int, str]]:
    """Return the topic, the end and the reason of each gap that a client from the very start receives."""
    gaps: list[Gap] = (await harness.replay_since(topics, MessageId(epoch, 0)))[1]
    return {(gap.topic, int(gap.end.rpartition("-")[2]), gap.reason) for gap in gaps}


class RulesContract:
    """Retention by channel, and what a reload changes."""

    async def test_first_rule_that_matches_bounds_a_channel_by_count(self, start: Start) -> None:
        rules = ChannelRule("a/*", messages=1), ChannelRule("*/b", messages=3), ChannelRule("**", messages=4)
        harness = await start(*rules, messages=2)
        sent = [await harness.publish(name) for name in ["a/b", "c/b", "d", "$sys/b"] * 5]
        by_channel = {
            name: ids([each for each in sent if each.channel == name]) for name in {one.channel for one in sent}
        }
        assert ids(await harness.stored("a/b")) == by_channel["a/b"][-1:]
        assert ids(await harness.stored("c/b")) == by_channel["c/b"][-3:]
        assert ids(await harness.stored("d")) == by_channel["d"][-4:]
        assert ids(await harness.stored("$sys/b")) == by_channel["$sys/b"][-2:]
        assert await gaps_of(harness, "a/*,c/b", sent[0].epoch) == {("a/*", 13, "evicted"), ("c/b", 6, "evicted")}

    async def test_rule_bounds_a_channel_by_bytes_and_may_keep_nothing(self, start: Start) -> None:
        harness = await start(ChannelRule("a", bytes=20), ChannelRule("b", messages=0), bytes=10)
        await harness.publish_all(*[draft(name, b"x" * 9) for name in "abcabcabc"])
        assert ids(await harness.stored()) == ids([harness.delivered[number] for number in (3, 6, 8)])
        assert (await harness.info("b")).messages == 0
        assert await gaps_of(harness, "a,b,c", harness.delivered[0].epoch) == {
            ("a", 1, "evicted"),
            ("b", 8, "evicted"),
            ("c", 6, "evicted"),
        }

    async def test_totals_remain_those_of_all_channels(self, start: Start) -> None:
        harness = await start()
        await harness.publish("a", b"x" * 100)
        cost = await harness.bytes()
        harness = await start(ChannelRule("**", messages=1000, bytes=1 << 30), total_bytes=3 * cost, channels=2)
        sent = [await harness.publish("a", b"x" * 100) for _ in range(5)]
        assert ids(await harness.stored()) == ids(sent[2:])

    @pytest.mark.parametrize("topics", ["a/1", "a/*", "**"])
    async def test_shorter_age_of_a_channel_expires_on_time(self, start: Start, topics: str) -> None:
        harness = await start(ChannelRule("a/*", age=SHORT_SECONDS))
        first, other = await harness.publish("a/1"), await harness.publish("b/1")
        await harness.wait(SHORT_SECONDS * 0.6)
        second = await harness.publish("a/1")
        assert ids(await harness.stored("a/1")) == ids([first, second])
        await harness.wait(SHORT_SECONDS * 0.6)
        assert ids(await harness.stored()) == ids([other, second])
        assert await gaps_of(harness, topics, first.epoch) == {(topics, first.seq, "expired")}
        assert (await harness.open(topics, cursor(first))).gaps == ()
        assert (await harness.info("a/1")).first == second.id
        await harness.wait(SHORT_SECONDS * 0.6)
        assert ids(await harness.stored()) == [other.id]
        assert (await harness.info("a/1")).messages == 0
        third = await harness.publish("a/1")
        await harness.wait(SHORT_SECONDS * 1.2)
        assert ids(await harness.stored("a/*")) == []
        assert await gaps_of(harness, topics, first.epoch) == {(topics, third.seq, "expired")}

    @pytest.mark.parametrize("topics", ["a/1,b/1", "a/*,b/*"])
    async def test_longer_age_of_a_channel_is_not_cut(self, start: Start, topics: str) -> None:
        harness = await start(ChannelRule("a/*", age=SHORT_SECONDS * 3), age=SHORT_SECONDS)
        sent = [await harness.publish(name) for name in ("a/1", "b/1", "a/1", "b/1", "c")]
        ttl = await harness.publish("a/1", ttl=SHORT_SECONDS * 1.1)
        await harness.wait(SHORT_SECONDS * 0.6)
        sent.append(await harness.publish("b/1"))
        await harness.wait(SHORT_SECONDS * 0.6)
        assert ids(await harness.stored()) == ids([sent[0], sent[2], sent[5]])
        assert ids(await harness.stored(topics)) == ids([sent[0], sent[2], sent[5]])
        one, other = topics.split(",")
        assert await gaps_of(harness, topics, ttl.epoch) == {
            (one, ttl.seq, "expired"),
            (other, sent[3].seq, "expired"),
        }
        assert ((await harness.info("a/1")).messages, (await harness.info("b/1")).messages) == (2, 1)
        await harness.wait(SHORT_SECONDS * 2)
        assert await harness.stored() == []

    @pytest.mark.parametrize("topics", ["a/1", "a/*", "*/1"])
    async def test_channel_with_a_longer_age_has_no_gap(self, start: Start, topics: str) -> None:
        harness = await start(ChannelRule("a/*", age=SHORT_SECONDS * 100), age=SHORT_SECONDS)
        sent = [await harness.publish(name) for name in ("b/2", "a/1", "b/2")]
        await harness.wait(SHORT_SECONDS * 1.2)
        assert await gaps_of(harness, topics, sent[0].epoch) == set()
        assert ids(await harness.stored(topics)) == [sent[1].id]

    async def test_newest_messages_are_those_that_are_kept(self, start: Start) -> None:
        rules = ChannelRule("a/*", age=SHORT_SECONDS * 100), ChannelRule("b/*", age=SHORT_SECONDS)
        harness = await start(*rules, age=SHORT_SECONDS * 3)
        sent = [await harness.publish(name) for name in ("b/1", "c/1", "a/1", "a/2", "c/2", "b/2")]
        await harness.wait(SHORT_SECONDS * 1.2)
        await harness.publish("b/2")
        for topics in ("**", "a/*,b/*,c/*"):
            messages, _ = await read_latest(harness, topics, await harness.open(topics, LATEST))
            assert [each.channel for each in messages] == ["c/1", "a/1", "a/2", "c/2", "b/2"]
        await harness.wait(SHORT_SECONDS * 2.4)
        messages, _ = await read_latest(harness, "**", await harness.open("**", LATEST))
        assert ids(messages) == ids(sent[2:4])

    @pytest.mark.parametrize("topics", ["a", "*"])
    async def test_reload_with_smaller_bounds_shortens_channels_soon(self, start: Start, topics: str) -> None:
        harness = await start()
        sent = [await harness.publish("a") for _ in range(700)]
        harness.backend.reconfigure(ChannelRules([ChannelRule("a", messages=2)]))
        await settle(harness, *sent[-2:])
        assert (await harness.info("a")).messages == 2
        assert await gaps_of(harness, topics, sent[0].epoch) == {(topics, sent[-3].seq, "evicted")}
        harness.backend.reconfigure(ChannelRules([ChannelRule("a", messages=4)]))
        await settle(harness, *sent[-2:])
        sent += [await harness.publish("a") for _ in range(3)]
        assert ids(await harness.stored()) == ids(sent[-4:])

    async def test_reload_to_no_messages_empties_a_channel(self, start: Start) -> None:
        harness = await start()
        sent = await harness.publish_each("aab")
        harness.backend.reconfigure(ChannelRules([ChannelRule("a", messages=0)]))
        await settle(harness, sent[2])
        assert (await harness.info("a")).messages == 0
        assert await gaps_of(harness, "a", sent[0].epoch) == {("a", 2, "evicted")}

    @pytest.mark.parametrize("topics", ["a", "*"])
    async def test_reload_with_another_age(self, start: Start, topics: str) -> None:
        harness = await start(age=SHORT_SECONDS * 1000)
        first, other = await harness.publish("a"), await harness.publish("b")
        harness.backend.reconfigure(ChannelRules([ChannelRule("a", age=SHORT_SECONDS)]))
        await harness.wait(SHORT_SECONDS)
        await settle(harness, other)
        assert await gaps_of(harness, topics, first.epoch) == {(topics, first.seq, "expired")}
        harness.backend.reconfigure(ChannelRules([ChannelRule("a", age=SHORT_SECONDS * 2000)]))
        await settle(harness, other)
        second = await harness.publish("a")
        await harness.wait(SHORT_SECONDS * 1.5)
        assert ids(await harness.stored("a")) == [second.id]

    async def test_age_of_all_channels_holds_again_after_a_reload_without_rules(self, start: Start) -> None:
        harness = await start(ChannelRule("a", age=SHORT_SECONDS * 1000), age=SHORT_SECONDS)
        await harness.publish_each("aab")
        await harness.wait(SHORT_SECONDS * 1.2)
        assert len(await harness.stored()) == 2
        harness.backend.reconfigure(ChannelRules())
        await settle(harness)

    async def test_ttl_holds_also_if_a_reload_makes_the_age_longer(self, start: Start) -> None:
        harness = await start(ChannelRule("a", age=SHORT_SECONDS))
        await harness.publish("a", ttl=SHORT_SECONDS * 1.5)
        harness.backend.reconfigure(ChannelRules([ChannelRule("a", age=SHORT_SECONDS * 1000)]))
        await harness.wait(SHORT_SECONDS * 2)
        assert await harness.stored() == []
