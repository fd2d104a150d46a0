"""What patterns have lost in Redis is told truly, whatever happens while the channels are walked part by part."""

from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from twisted.internet.task import deferLater

from pushd.backends.redis import reader
from pushd.backends.redis.scripts import LAST, LOSSES
from pushd.core.cursor import Last, MessageId
from pushd.core.history import Bounds
from pushd.core.message import Gap, Message, draft
from tests.backends.nodes import Node
from tests.backends.redis_server import RedisServer

Start = Callable[..., Awaitable[Node]]
CHANNELS = 300
"""More than come with the first part of a walk."""
KEYS = "pushd:"


@pytest.fixture(autouse=True)
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a walk take many calls."""
    monkeypatch.setattr(reader, "_WALKED", 7)


async def publish(node: Node, channel: str, **rest: Any) -> Message:
    """Publish one message."""
    (accepted,) = await node.backend.publish([draft(channel, b"x", **rest)])
    assert isinstance(accepted, Message), accepted
    return accepted


async def lossy(node: Start, redis: RedisServer, **bounds: Any) -> tuple[Node, dict[str, Message]]:
    """Start a node on a log in which each channel has lost its first message; the last one has lost the newest."""
    one = await node(redis.url, bounds=Bounds(messages=1, **bounds))
    first: dict[str, Message] = {}
    for _ in range(2):
        drafts = [draft(f"c/{number}", b"x") for number in range(CHANNELS)]
        for message in await one.backend.publish(drafts):
            assert isinstance(message, Message)
            first.setdefault(message.channel, message)
    return one, first


def between(node: Node, act: Callable[[], Awaitable[object]], at: int = 1) -> list[int]:
    """Do something before a walk goes on for the `at`-th time; return a list that grows with each time it goes on."""
    call, calls = node.backend._reader._call, list[int]()

    async def watched(script: Any, *args: Any) -> Any:
        if script is LOSSES:
            calls.append(len(calls))
            if len(calls) == at:
                await act()
        return await call(script, *args)

    node.backend._reader._call = watched
    return calls


async def gaps(node: Node, *topics: str, kind: str = "open") -> list[tuple[str, str, str]]:
    """Return what somebody is told who has heard nothing yet: topic, end and reason."""
    since = MessageId((await node.backend.open(("none",), MessageId("", 0))).position.epoch, 0)
    found: tuple[Gap, ...]
    if kind == "open":
        found = (await node.backend.open(topics, since)).gaps
    else:
        found = (await node.backend.page(topics, since, 10, 1 << 20)).gaps
    return [(gap.topic, gap.end, gap.reason) for gap in found]


both = pytest.mark.parametrize("kind", ["open", "page"])


@both
async def test_each_pattern_is_told_its_newest_loss(redis: RedisServer, node: Start, kind: str) -> None:
    one, first = await lossy(node, redis)
    calls = between(one, lambda: deferLater_nothing())
    told = await gaps(one, "c/*", "*/3", "none/*", "c/7", "*/299", kind=kind)
    newest = first[f"c/{CHANNELS - 1}"].id
    assert told == [
        ("c/*", newest, "evicted"),
        ("*/3", first["c/3"].id, "evicted"),
        ("c/7", first["c/7"].id, "evicted"),
        ("*/299", newest, "evicted"),
    ]
    assert len(calls) == -(-(CHANNELS - 200) // 7), "the channels are not walked once"


async def deferLater_nothing() -> None:
    """Do nothing."""


@both
@pytest.mark.parametrize("number", [1, 50, 250])
@pytest.mark.parametrize("act", ["evict", "forget", "forget and publish", "expire"])
async def test_a_change_during_the_walk_neither_hides_a_loss_nor_makes_one(
    redis: RedisServer, node: Start, kind: str, number: int, act: str
) -> None:
    one, first = await lossy(node, redis)
    name = f"c/{number}"
    await publish(one, "d/quiet")
    mortal = await publish(one, "d/mortal", ttl=60.0)

    async def change() -> None:
        if act == "evict":
            await publish(one, name)
            await publish(one, "d/quiet")
        elif act == "expire":
            redis.ask("ZADD", f"{KEYS}{mortal.epoch}:ttl", "0", f"{mortal.seq}:d/mortal")  # its time is up
            await one.backend.info("d/mortal")
        else:
            await one.backend.delete(name)
            await one.backend.delete("d/quiet")
            if act == "forget and publish":
                await publish(one, name)
                await publish(one, name)

    calls = between(one, change, at=3)
    told = await gaps(one, f"*/{number}", "*/2", "*/quiet", "*/mortal", "none/*", kind=kind)
    assert len(calls) > 3
    assert told == [(f"*/{number}", first[name].id, "evicted"), ("*/2", first["c/2"].id, "evicted")]
    again = {topic: end for topic, end, _ in await gaps(one, f"*/{number}", "*/quiet", "*/mortal", kind=kind)}
    assert int(again[f"*/{number}"].rpartition("-")[2]) >= first[name].seq
    if act == "expire":
        assert again["*/mortal"] == mortal.id
    else:
        assert again[f"*/{number}"] != first[name].id
        assert "*/quiet" in again


@both
async def test_a_channel_that_changes_before_the_walk_gets_to_it_is_told_as_it_was(
    redis: RedisServer, node: Start, kind: str
) -> None:
    one = await node(redis.url, bounds=Bounds(messages=2))
    low = [await publish(one, "low") for _ in range(3)]
    for _ in range(3):
        await one.backend.publish([draft(f"c/{number}", b"x") for number in range(CHANNELS)])
    calls = between(one, lambda: publish(one, "low"), at=2)
    assert await gaps(one, "*", "none/*", kind=kind) == [("*", low[0].id, "evicted")]
    assert len(calls) > 2
    assert await gaps(one, "*", "none/*", kind=kind) == [("*", low[1].id, "evicted")]


@both
async def test_a_channel_that_is_dropped_during_the_walk_is_still_told(
    redis: RedisServer, node: Start, kind: str
) -> None:
    one, first = await lossy(node, redis)
    redis.ask("ZADD", f"{KEYS}{first['c/1'].epoch}:idle", "0", "c/1")

    async def change() -> None:
        publishing = one.backend._publisher
        publishing.bounds = [*publishing.bounds[:-1], b"1"]  # channels
        await publish(one, "new")

    calls = between(one, change, at=3)
    assert await gaps(one, "*/1", "none/*", kind=kind) == [("*/1", first["c/1"].id, "evicted")]
    assert len(calls) > 3
    assert redis.ask("EXISTS", f"{KEYS}{first['c/1'].epoch}:c:c/1") == 0


@both
@pytest.mark.parametrize(
    "fault", ["journal is gone", "journal had lapsed", "journal had lapsed and was begun again", "another epoch"]
)
async def test_a_walk_that_can_not_go_on_begins_again(redis: RedisServer, node: Start, kind: str, fault: str) -> None:
    one, first = await lossy(node, redis)
    epoch = first["c/1"].epoch

    async def break_() -> None:
        if fault == "another epoch":
            redis.ask("FLUSHALL")
        elif fault == "journal is gone":
            await publish(one, "c/1")
            redis.ask("DEL", f"{KEYS}{epoch}:changes")
        else:
            redis.ask("HSET", f"{KEYS}log", "walk", "1")
            await publish(one, "c/1")
            if "again" in fault:
                await one.backend._reader.page(("none/*",), MessageId(epoch, 0), 10, 1 << 20)

    calls = between(one, break_, at=3)
    told = await gaps(one, "*/1", "none/*", kind=kind)
    assert len(calls) >= 3
    if fault == "another epoch":
        assert [(topic, reason) for topic, _, reason in told] == [("*/1", "epoch"), ("none/*", "epoch")]
    else:
        assert [(topic, reason) for topic, _, reason in told] == [("*/1", "evicted")]
        assert told[0][1] != first["c/1"].id, "what the walk told was true before it began again"


async def test_a_pattern_is_told_what_expires_in_the_very_script_that_reads(redis: RedisServer, node: Start) -> None:
    from twisted.internet import reactor

    one = await node(redis.url)
    messages = [await publish(one, f"e/{number}", ttl=0.02) for number in range(3)]
    since = MessageId(messages[0].epoch, 0)
    one.backend._heartbeat.stop()
    await deferLater(reactor, 0.1)
    page = await one.backend.page(("e/*",), since, 10, 1 << 20)
    assert [(gap.topic, gap.end, gap.reason) for gap in page.gaps] == [("e/*", messages[-1].id, "expired")]


async def test_nothing_is_journaled_while_nobody_walks(redis: RedisServer, node: Start) -> None:
    one, first = await lossy(node, redis)
    await publish(one, "c/1")
    assert redis.ask("EXISTS", f"{KEYS}{first['c/1'].epoch}:changes") == 0


async def test_messages_lost_while_the_newest_are_found_are_no_known_losses(redis: RedisServer, node: Start) -> None:
    one = await node(redis.url, bounds=Bounds(messages=3))
    for _ in range(3):
        await publish(one, "a")
    call, calls = one.backend._reader._call, list[int]()

    async def watched(script: Any, *args: Any) -> Any:
        reply = await call(script, *args)
        if script is LAST and not calls:
            calls.append(1)
            for _ in range(2):
                await publish(one, "a")
        return reply

    one.backend._reader._call = watched
    start = await one.backend.open(("a",), Last(3))
    page = await one.backend.page(("a",), start.position, 10, 1 << 20)
    assert [message.seq for message in page.messages] == [3, 4, 5]
    assert (calls, start.position.seq, start.gaps, page.gaps) == ([1], 2, (), ())
