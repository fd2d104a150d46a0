"""What pub/sub does not bring to a node is read from the log, and what is gone from there is told as a gap."""

from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

import pytest
from twisted.internet.defer import Deferred

from pushd.core.cursor import EVERYTHING, NOW, parse_id
from pushd.core.history import Bounds
from pushd.core.peer import DAEMON
from tests.backends.nodes import Ear, Node, all_of, judge, settled
from tests.backends.redis_server import RedisServer, until

Start = Callable[..., Coroutine[Any, Any, Node]]


def feed_of(node: Node) -> Any:
    """Return the connection on which a node listens; its methods may be replaced."""
    protocol = node.backend._feed_link.protocol
    assert protocol is not None
    return protocol


def _deafen(node: Node, unwanted: Callable[[bytes], bool]) -> list[bytes]:
    """Let messages of pub/sub be lost on their way to a node."""
    protocol = feed_of(node)
    hear, lost = protocol._heard, list[bytes]()

    def heard(raw: bytes) -> None:
        if raw.startswith(b"m ") and unwanted(raw):
            lost.append(raw)
        else:
            hear(raw)

    protocol._heard = heard
    return lost


def _before_asking(node: Node, name: str, meanwhile: Callable[[], Awaitable[object]]) -> None:
    """Let something happen each time before a node asks the log."""
    reading = node.backend._reader
    ask = getattr(reading, name)

    async def asked(*arguments: object) -> object:
        await meanwhile()
        return await ask(*arguments)

    setattr(reading, name, asked)


async def test_a_message_that_does_not_come_is_fetched_before_the_next(redis: RedisServer, node: Start) -> None:
    one, other = await node(redis.url), await node(redis.url)
    ears = [await one.ear("a"), await one.ear("*")]
    lost = _deafen(one, lambda raw: b"drop" in raw)
    for number in range(8):
        await other.publish("a", f"drop{number}" if number in (3, 4, 5) else str(number))
    await settled(ears, [other])
    assert len(lost) == 6
    for ear in ears:
        judge(ear, other.accepted, gaps=False)


async def test_a_message_that_does_not_come_and_is_gone_is_told(redis: RedisServer, node: Start) -> None:
    one, other = await node(redis.url, bounds=Bounds(messages=2)), await node(redis.url, bounds=Bounds(messages=2))
    ear = await one.ear("a")
    _deafen(one, lambda raw: b"drop" in raw)
    for number in range(8):
        await other.publish("a", f"drop{number}" if number in (2, 3, 4, 5) else str(number))
    await settled([ear], [other])
    judge(ear, other.accepted)
    assert [gap.reason for gap in ear.gaps] == ["evicted"]


@pytest.mark.parametrize("more", range(4))
async def test_a_loss_is_told_however_much_is_published_before_it_is_asked_for(
    redis: RedisServer, node: Start, more: int
) -> None:
    """Even what shows the loss may be gone by then."""
    one, other = await node(redis.url, bounds=Bounds(messages=2)), await node(redis.url, bounds=Bounds(messages=2))
    ear = await one.ear("a")
    lost = _deafen(one, lambda raw: b"drop" in raw)

    async def meanwhile() -> None:
        for number in range(more):
            await other.publish("a", f"more{number}")

    _before_asking(one, "between", meanwhile)
    for text in ("0", "1", "drop2", "drop3", "drop4", "drop5", "6"):
        await other.publish("a", text)
    await until(lambda: "6" in ear.texts, "the message behind the loss")
    await settled([ear], [other])
    judge(ear, other.accepted)
    assert len(lost) == 4
    assert [gap.reason for gap in ear.gaps] == ["evicted"]


async def test_a_loss_is_told_when_redis_has_forgotten_the_channel_before_it_is_asked_for(
    redis: RedisServer, node: Start
) -> None:
    bounds = Bounds(messages=0, channels=1)
    one, other = await node(redis.url, bounds=bounds), await node(redis.url, bounds=bounds)
    ear = await one.ear("a")
    _deafen(one, lambda raw: b"drop" in raw)
    _before_asking(one, "between", lambda: other.publish("b", "in the place of a"))
    for text in ("0", "drop1", "2"):
        await other.publish("a", text)
    await until(lambda: "2" in ear.texts, "the message behind the loss")
    judge(ear, other.accepted)
    assert [gap.reason for gap in ear.gaps] == ["unknown"]


async def test_a_loss_is_told_when_redis_has_lost_its_memory_before_it_is_asked_for(
    redis: RedisServer, node: Start
) -> None:
    one, other = await node(redis.url), await node(redis.url)
    ear = await one.ear("a")
    _deafen(one, lambda raw: b"drop" in raw)

    async def flush() -> None:
        redis.ask("FLUSHALL")
        for number in range(3):
            await other.publish("a", f"new{number}")

    _before_asking(one, "between", flush)
    for text in ("0", "drop1", "drop2", "drop3", "4"):
        await other.publish("a", text)
    await until(lambda: "new2" in ear.texts, "what is new")
    await one.until_well()
    await settled([ear], [other])
    judge(ear, other.accepted)
    assert [gap.reason for gap in ear.gaps] == ["epoch"]


async def test_what_was_published_while_nobody_listened_is_no_loss_to_who_comes_later(
    redis: RedisServer, node: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pushd.backends.redis.subscriptions._LINGER_SECONDS", 0.05)
    one, other = await node(redis.url, bounds=Bounds(messages=2)), await node(redis.url, bounds=Bounds(messages=2))
    first = await one.ear("a")
    await other.publish("a", "0")
    await until(lambda: first.texts == ["0"], "the first message")
    one.hub.remove(first.subscriber)
    await until(lambda: not one.backend._subscriptions.covers("a"), "that nobody listens")
    for number in range(1, 6):
        await other.publish("a", str(number))
    second = await one.ear("a")
    await other.publish("a", "6")
    await until(lambda: second.texts == ["6"], "the message")
    assert second.gaps == []


async def test_a_loss_is_told_to_those_that_have_not_read_beyond_it(redis: RedisServer, node: Start) -> None:
    one, other = await node(redis.url, bounds=Bounds(messages=2)), await node(redis.url, bounds=Bounds(messages=2))
    ear = await one.ear("a")
    first = await other.publish("a", "0")
    await until(lambda: ear.texts == ["0"], "the first message")
    _deafen(one, lambda raw: b"drop" in raw)
    for number in range(5):
        await other.publish("a", f"drop{number}")
    late = await one.ear("a", since=parse_id(first.id) or NOW)
    await until(lambda: late.texts == ["drop3", "drop4"], "what is kept")
    await other.publish("a", "1")
    await settled([ear, late], [other])
    judge(ear, other.accepted)
    judge(late, other.accepted[1:])
    assert [[gap.reason for gap in each.gaps] for each in (ear, late)] == [["evicted"], ["evicted"]]


async def test_a_query_that_began_before_a_subscription_makes_no_loss_of_it(redis: RedisServer, node: Start) -> None:
    """The head that it tells is from before Redis has confirmed the subscription of another client."""
    one, other = await node(redis.url, bounds=Bounds(messages=2)), await node(redis.url, bounds=Bounds(messages=2))
    await other.publish("a", "0")
    reader: Any = one.backend._reader
    ask, calls, ears = reader.open, list[str](), list[Ear]()

    async def subscribe() -> None:
        ears.append(await one.ear("a"))

    async def opened(*arguments: Any) -> Any:
        calls.append("")
        if len(calls) > 1:
            await until(lambda: is_answered, "the answer to the query")
            return await ask(*arguments)
        answer = await ask(*arguments)
        for number in range(1, 6):
            await other.publish("a", str(number))
        subscribing.append(Deferred.fromCoroutine(subscribe()))
        await until(lambda: len(calls) == 2, "the subscription")
        return answer

    subscribing = list[Deferred[None]]()
    is_answered = False
    reader.open = opened
    await one.hub.queries.history(DAEMON, ("a",), EVERYTHING, 10, 1 << 20)
    is_answered = True
    await subscribing[0]
    await other.publish("a", "6")
    await until(lambda: ears[0].texts == ["6"], "the message")
    assert ears[0].gaps == []


async def test_a_subscription_that_is_opened_while_a_node_reads_what_it_missed_has_one_gap(
    redis: RedisServer, node: Start
) -> None:
    one, other = await node(redis.url, bounds=Bounds(messages=2)), await node(redis.url, bounds=Bounds(messages=2))
    first = await other.publish("a", "0")
    reader: Any = one.backend._reader
    ask = reader.open

    async def opened(*arguments: Any) -> Any:
        answer = await ask(*arguments)
        reader.open = ask
        one.backend._feed_link.drop("for a test")
        await until(lambda: one.backend._feed_link.protocol is None, "the cut")
        for number in range(1, 6):
            await other.publish("a", str(number))
        await one.until_well()
        return answer

    reader.open = opened
    ear = await one.ear("a", since=parse_id(first.id) or NOW)
    await until(lambda: ear.texts == ["4", "5"], "the history")
    await other.publish("a", "6")
    await until(lambda: ear.texts == ["4", "5", "6"], "the message")
    assert [gap.reason for gap in ear.gaps] == ["evicted"]


async def test_what_is_evicted_while_a_node_reads_what_it_missed_is_told(redis: RedisServer, node: Start) -> None:
    """The second part of what was missed has lost something when it is read."""
    one = await node(redis.url, publish_timeout=20.0)
    other = await node(redis.url, publish_timeout=20.0, bounds=Bounds(messages=3000))
    brief = await node(redis.url, bounds=Bounds(messages=1))
    ear = await one.ear("a")
    parts, is_published = 0, False

    async def evict_before_the_second() -> None:
        nonlocal parts
        parts += 1
        if parts == 1:
            await until(lambda: is_published, "enough that is missed", 20)
        elif parts == 2:
            await brief.publish("a", "5")

    one.backend._feed_link.drop("for a test")
    await until(lambda: one.backend._feed_link.protocol is None, "the cut")
    _before_asking(one, "missed", evict_before_the_second)
    await all_of(*[other.publish("b", "x") for _ in range(2000)])
    for number in range(5):
        await other.publish("a", str(number))
    is_published = True
    await one.until_well()
    await settled([ear], [other])
    assert parts == 2
    judge(ear, other.accepted + brief.accepted)
    assert {gap.reason for gap in ear.gaps} == {"evicted"}


async def test_what_was_evicted_while_nobody_listened_is_told_to_those_it_concerns(
    redis: RedisServer, node: Start
) -> None:
    one, other = await node(redis.url, bounds=Bounds(messages=3)), await node(redis.url, bounds=Bounds(messages=3))
    ears = [await one.ear("a"), await one.ear("b"), await one.ear("*"), await one.ear("a", "b")]
    one.backend._feed_link.drop("for a test")
    await until(lambda: one.backend._feed_link.protocol is None, "the cut")
    await all_of(*[other.publish("a", f"a{number}") for number in range(10)], other.publish("b", "b"))
    await one.until_well()
    await settled(ears, [other])
    for ear in ears:
        judge(ear, other.accepted)
    assert [[gap.reason for gap in ear.gaps] for ear in ears] == [["evicted"], [], ["evicted"], ["evicted"]]


async def test_a_beat_that_does_not_come_back_makes_the_node_listen_anew(redis: RedisServer, node: Start) -> None:
    one, other = await node(redis.url), await node(redis.url)
    ear = await one.ear("a")
    feed_of(one)._heard = lambda raw: None
    await other.publish("a", "unheard")
    await until(lambda: one.hub.unavailable_reason and "no sign of life" in one.hub.unavailable_reason, "that it shows")
    await one.until_well()
    await until(lambda: ear.texts == ["unheard"], "what was missed")
    assert ear.gaps == []


async def test_a_node_that_is_behind_reads_no_more_until_it_has_caught_up(redis: RedisServer, node: Start) -> None:
    one, other = await node(redis.url), await node(redis.url)
    ear = await one.ear("a")
    is_behind = True
    feed = feed_of(one)
    feed._is_behind = lambda: is_behind
    await other.publish("a", "0")
    await until(lambda: feed._resting is not None, "a rest")
    for number in range(1, 50):
        await other.publish("a", str(number))
    assert len(ear.texts) < 50
    is_behind = False
    await until(lambda: ear.texts == [str(number) for number in range(50)], "everything")
    assert ear.gaps == []
