"""Ephemeral messages over several nodes: once, in the order of their publisher, and without a gap."""

from collections.abc import Awaitable, Callable

import pytest
from twisted.internet.defer import Deferred, gatherResults

from pushd.core.errors import Unavailable
from pushd.core.message import draft
from pushd.core.peer import DAEMON
from tests.backends.nodes import Ear, Node, Publisher, judge, settled
from tests.backends.redis_server import RedisServer, until

Start = Callable[..., Awaitable[Node]]


async def test_each_subscriber_of_every_node_receives_it_once(redis: RedisServer, node: Start) -> None:
    """Redis sends a copy for each name and pattern that matches."""
    one, other = await node(redis.url), await node(redis.url)
    ears: list[Ear] = []
    for each in (one, other):
        ears += [await each.ear(*topics) for topics in (("a/b",), ("a/*", "a/b"), ("**",), ("*/b", "a/**", "**"))]
    expected = []
    for number in range(10):
        for text, keep in ((f"kept {number}", True), (f"ephemeral {number}", False), (f"ephemeral {number}", False)):
            await [one, other][number % 2].publish("a/b", text, keep=keep)
            expected.append(text)
    await until(lambda: all(ear.all_texts == expected for ear in ears), "all messages")
    assert all(ear.gaps == [] for ear in ears)


async def test_many_publishers_at_once_are_each_received_in_order(redis: RedisServer, node: Start) -> None:
    nodes = [await node(redis.url, publish_timeout=20.0) for _ in range(2)]
    ears = [await each.ear(*topics) for each in nodes for topics in (("**",), ("a", "b"), ("*", "a"))]
    publishes = [
        nodes[number % 2].publish("ab"[number % 3 % 2], f"{'xy'[number % 2]}{number // 2 + 1}", keep=number % 5 != 0)
        for number in range(1000)
    ]
    await gatherResults([Deferred.fromCoroutine(each) for each in publishes])
    await settled(ears, nodes)
    for ear in ears:
        for name in "xy":
            numbers = [int(text[1:]) for text in ear.all_texts if text[0] == name]
            assert numbers == list(range(1, 501))
        assert ear.gaps == []


async def test_a_node_that_reconnects_keeps_the_order_and_reports_no_gap(redis: RedisServer, node: Start) -> None:
    one, other = await node(redis.url), await node(redis.url)
    ears = [await one.ear("a"), await one.ear("a", "*")]
    publisher = Publisher(other, "a", "x", 0.005)
    for number in range(4):
        wanted = publisher.count + 30
        await until(lambda: publisher.count >= wanted, "more messages")  # noqa: B023
        one.backend._feed_link.drop(f"test {number}")
        await until(lambda: one.backend._feed.is_live, "a new connection")
    await publisher.stop()
    await settled(ears, [other])
    for ear in ears:
        judge(ear, other.accepted, gaps=False)
        assert len(ear.all_texts) > len(ear.texts)


async def test_it_is_refused_or_local_while_redis_is_away(own_redis: Callable[..., RedisServer], node: Start) -> None:
    redis = own_redis("--appendonly", "yes", "--appendfsync", "always")
    one, local = (
        await node(redis.url, publish_timeout=3.0),
        await node(redis.url, publish_timeout=3.0, is_local_when_away=True),
    )
    ears = [await one.ear("a"), await local.ear("a")]
    await one.publish("a", "before")
    await until(lambda: ears[1].texts == ["before"], "the message")
    redis.kill()
    await until(lambda: one.hub.unavailable_reason and local.hub.unavailable_reason, "that it shows")
    with pytest.raises(Unavailable):
        await one.publish("a", "refused", keep=False)
    receipt = await local.publish("a", "local", keep=False)
    assert receipt.facts() == {"id": None, "channel": "a", "subscribers": 1, "local": True}
    await until(lambda: ears[1].all_texts == ["before", "local"], "the local message")
    redis.start()
    for each in (one, local):
        await each.until_well()
    await one.publish("a", "after")
    await until(lambda: all(ear.texts == ["before", "after"] for ear in ears), "that it goes on")
    assert (ears[0].all_texts, ears[1].all_texts) == (["before", "after"], ["before", "local", "after"])
    assert all(ear.gaps == [] for ear in ears)


async def test_a_repeated_call_delivers_it_once(redis: RedisServer, node: Start) -> None:
    """The connection is lost before the reply, so the same call is sent again."""
    one, other = await node(redis.url), await node(redis.url)
    ear = await other.ear("a")
    for number in range(5):
        publish = Deferred.fromCoroutine(one.hub.publish(DAEMON, draft("a", b"%d" % number, keep=False)))
        protocol = one.backend._commands.link.protocol
        assert protocol is not None
        protocol.transport.loseConnection()
        await publish
        await one.until_well()
    await until(lambda: ear.all_texts == [str(number) for number in range(5)], "each message once")
    assert ear.gaps == []
