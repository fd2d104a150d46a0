"""Many nodes are one: what is published at any is heard at all, in order and once, and a cursor is good everywhere."""

from collections.abc import Awaitable, Callable

import pytest
from twisted.internet.defer import Deferred, gatherResults

from pushd.core.cursor import EVERYTHING, Last, MessageId
from pushd.core.errors import IdempotencyMismatch, UnknownChannel
from pushd.core.idempotency import IdempotencyKey
from pushd.core.message import Message, draft
from pushd.core.peer import DAEMON
from pushd.hub.publishing import Receipt
from tests.backends.nodes import Ear, Node, Publisher, judge, settled
from tests.backends.redis_server import RedisServer, until, until_told

Start = Callable[..., Awaitable[Node]]

KEY = IdempotencyKey("key", b"a digest")


async def test_a_publish_at_any_node_reaches_the_subscribers_of_all(redis: RedisServer, node: Start) -> None:
    nodes = [await node(redis.url) for _ in range(3)]
    ears = [await each.ear("a") for each in nodes] + [await each.ear("*", "b/**") for each in nodes]
    for number, each in enumerate(nodes):
        await each.publish("a", f"a{number}")
        await each.publish("b/c", f"b{number}")
    await settled(ears, nodes)
    accepted = [word for each in nodes for word in each.accepted]
    for ear in ears:
        judge(ear, accepted, gaps=False)


async def test_many_publishers_at_once_are_heard_in_one_order_everywhere(redis: RedisServer, node: Start) -> None:
    nodes = [await node(redis.url, publish_timeout=20.0) for _ in range(2)]
    one, other = nodes
    ears = [await one.ear("**"), await other.ear("a", "b", "c"), await other.ear("*"), await one.ear("b")]
    await gatherResults(
        [Deferred.fromCoroutine(nodes[number % 2].publish("abc"[number % 3], str(number))) for number in range(1000)]
    )
    await settled(ears, nodes)
    accepted = [word for each in nodes for word in each.accepted]
    for ear in ears:
        judge(ear, accepted, gaps=False)
    wide, narrow = ears[0].texts, ears[1].texts
    assert [text for text in wide if text.isdigit()] == [text for text in narrow if text.isdigit()]


async def test_a_cursor_of_one_node_is_good_at_every_other(redis: RedisServer, node: Start) -> None:
    one, other = await node(redis.url), await node(redis.url)
    ids = [(await one.publish("a", str(number))).id for number in range(10)]
    epoch, _, seq = ids[3].rpartition("-")
    ear = await other.ear("a", since=MessageId(epoch, int(seq)))
    assert ear.texts == [str(number) for number in range(4, 10)]
    assert (await other.ear("*", since=Last(2))).texts == ["8", "9"]
    await one.publish("a", "more")
    await until(lambda: ear.texts[-1] == "more", "live again")
    assert ear.gaps == []


async def test_those_who_come_while_much_is_published_hear_each_message_once(redis: RedisServer, node: Start) -> None:
    one, other = await node(redis.url), await node(redis.url)
    publishers = [Publisher(one, "ab", "x", 0), Publisher(other, "ab", "y", 0)]
    ears: list[Ear] = []
    for number in range(20):
        ears.append(await [one, other][number % 2].ear(*["a", "*", "ab"][number % 3], since=EVERYTHING))
    for publisher in publishers:
        await publisher.stop()
    await settled(ears, [one, other])
    for ear in ears:
        judge(ear, one.accepted + other.accepted, gaps=False)


async def test_a_node_listens_only_to_what_its_subscribers_ask_for(redis: RedisServer, node: Start) -> None:
    one = await node(redis.url)
    ears = [await one.ear(f"channel/{number}") for number in range(2000)]
    ears.append(await one.ear("room/*", "room/**", "[odd]/*"))

    def listened() -> int:
        return sum(1 for name in redis.ask("PUBSUB", "CHANNELS") if b":f:" in name)

    assert listened() == 2000
    assert redis.ask("PUBSUB", "NUMPAT") == 2
    other = await node(redis.url)
    for number in (0, 999, 1999):
        await other.publish(f"channel/{number}", "x")
    await other.publish("[odd]/x", "odd")
    await other.publish("o/x", "even")
    await until(lambda: ears[-1].texts == ["odd"] and ears[1999].texts == ["x"], "what was asked for")
    assert sum(len(ear.texts) for ear in ears) == 4
    for ear in ears:
        one.hub.remove(ear.subscriber)
    one.backend._subscriptions._lingering = dict.fromkeys(one.backend._subscriptions._lingering, 0.0)
    one.backend._subscriptions._tidying.reset(0)
    await until(lambda: listened() == 0 and redis.ask("PUBSUB", "NUMPAT") == 0, "nothing listened to")


async def test_many_patterns_are_few_in_redis_and_nothing_else_is_delivered(redis: RedisServer, node: Start) -> None:
    """And nothing is missed or delivered twice while patterns are merged into broader ones, and separated again."""
    one, other = await node(redis.url), await node(redis.url)
    ears = [await one.ear("user/1/*"), await one.ear("news/*", "user/2/**")]
    publisher = Publisher(other, ("user/1/a", "user/2/a", "news/x", "else/x"), "x", 0)
    delivered: list[str] = []
    events = one.backend._events

    def on_message(message: Message) -> None:
        delivered.append(message.channel)
        events.on_message(message)

    one.backend._feed._listener = events._replace(on_message=on_message)
    many = await one.ear(*[f"user/{number}/*" for number in range(3, 2003)], "*/*/b")
    assert redis.ask("PUBSUB", "NUMPAT") <= 64
    await other.publish("user/2002/a", "for many")
    await other.publish("user/2003/a", "for nobody")
    await until(lambda: many.texts == ["for many"], "the message of one of many patterns")
    one.hub.remove(many.subscriber)
    await until(lambda: "user/3/*" in one.backend._subscriptions._lingering, "that they are removed")
    subscriptions = one.backend._subscriptions
    await until(lambda: len(subscriptions._lingering) == 2001, "that all of them are removed")
    subscriptions._lingering = dict.fromkeys(subscriptions._lingering, 0.0)
    subscriptions._tidying.reset(0)
    await until(lambda: redis.ask("PUBSUB", "NUMPAT") == 3, "the patterns of the others")
    await publisher.stop()
    await settled(ears, [other])
    for ear in ears:
        judge(ear, other.accepted, gaps=False)
    assert not {"else/x", "user/2003/a"} & set(delivered)


async def test_one_who_comes_back_at_once_is_still_listened_for(redis: RedisServer, node: Start) -> None:
    one = await node(redis.url)
    for number in range(3):
        ear = await one.ear("a")
        await one.publish("a", str(number))
        await until(lambda: ear.texts == [str(number)], "the message")  # noqa: B023
        one.hub.remove(ear.subscriber)
    assert redis.ask("PUBSUB", "CHANNELS", "*f:a") == [b"pushd:0:f:a"]


async def test_ends_and_deletions_are_heard_at_every_node(redis: RedisServer, node: Start) -> None:
    one, other = await node(redis.url), await node(redis.url)
    ended, deleted, never = await one.ear("a"), await one.ear("b"), await one.ear("c")
    await other.publish("a", "last", end=True)
    await other.publish("b", "x")
    await other.hub.delete(DAEMON, "b")
    await other.hub.delete(DAEMON, "c")
    await until(lambda: ended.ends == ["a"] and deleted.ends == ["b"] and never.ends == ["c"], "the ends")
    assert ended.texts == ["last"]
    with pytest.raises(UnknownChannel):
        await other.hub.delete(DAEMON, "c")


async def test_counts_are_those_of_all_nodes_and_go_with_a_node(redis: RedisServer, node: Start) -> None:
    one, other = await node(redis.url), await node(redis.url)
    await one.ear("a", transport="sse")
    await other.ear("a", transport="websocket")
    await other.ear("*", "a", transport="sse")
    for each in (one, other):
        status = await each.hub.queries.status(DAEMON, "a")
        assert status.subscribers == {"sse": 2, "websocket": 1}
    with pytest.raises(UnknownChannel):
        await one.hub.queries.status(DAEMON, "never")
    assert (await other.hub.queries.status(DAEMON, "a")).info.messages == 0
    assert (await one.publish("a", "x")).subscribers == 1
    await other.stop()

    async def is_alone() -> bool:
        return (await one.hub.queries.status(DAEMON, "a")).subscribers == {"sse": 1}

    await until_told(is_alone, "the counts without the node")


async def test_a_repeat_at_another_node_gets_the_first_answer(redis: RedisServer, node: Start) -> None:
    one, other = await node(redis.url), await node(redis.url)
    ear = await one.ear("a")
    first = await one.hub.publish_all(DAEMON, [draft("a", b"1"), draft("b", b"2")], KEY)
    assert await one.hub.publish_all(DAEMON, [draft("a", b"1"), draft("b", b"2")], KEY) == first
    assert await other.hub.publish_all(DAEMON, [draft("a", b"1"), draft("b", b"2")], KEY) == first
    assert [each.subscribers for each in first if isinstance(each, Receipt)] == [1, 0]
    assert await other.hub.publish_all(DAEMON, [draft("a", b"1")], IdempotencyKey("other key", b"1")) != first[:1]
    side_by_side = [
        Deferred.fromCoroutine(each.hub.publish_all(DAEMON, [draft("a", b"3")], IdempotencyKey("third", b"3")))
        for each in (one, other) * 3
    ]
    answers = await gatherResults(side_by_side)
    ids = [receipt.id for (receipt,) in answers if isinstance(receipt, Receipt)]
    assert len(ids) == len(answers) and len(set(ids)) == 1
    await until(lambda: ear.texts == ["1", "1", "3"], "each once")


async def test_a_key_with_another_body_is_refused_at_another_node(redis: RedisServer, node: Start) -> None:
    one, other = await node(redis.url), await node(redis.url)
    await one.hub.publish_all(DAEMON, [draft("a", b"1")], KEY)
    for each in (one, other):
        with pytest.raises(IdempotencyMismatch):
            await each.hub.publish_all(DAEMON, [draft("a", b"2")], IdempotencyKey(KEY.text, b"other"))
    assert (await one.hub.queries.status(DAEMON, "a")).info.messages == 1


async def test_prefixes_and_databases_keep_logs_apart(redis: RedisServer, node: Start) -> None:
    urls = [(redis.url, "pushd:"), (f"{redis.url}/1", "pushd:"), (redis.url, "other[*]?:")]
    nodes = [await node(url, prefix=prefix) for url, prefix in urls]
    ears = [await each.ear("a", "b/*") for each in nodes]
    for number, each in enumerate(nodes):
        await each.publish("a", f"{number}")
        await each.publish("b/c", f"{number}!")
    await until(lambda: all(len(ear.texts) == 2 for ear in ears), "the own messages")
    assert [ear.texts for ear in ears] == [["0", "0!"], ["1", "1!"], ["2", "2!"]]
    assert all(key.startswith((b"pushd:", b"other[*]?:")) for key in redis.ask("KEYS", "*"))


async def test_bytes_that_look_like_numbers_or_like_nothing_stay_what_they_are(redis: RedisServer, node: Start) -> None:
    one = await node(redis.url)
    heard: list[bytes] = []
    one.backend._events = one.backend._events._replace(on_message=lambda message: heard.append(message.data))
    one.backend._feed._listener = one.backend._events
    await one.ear("a")
    sent = [b"007", b"1.50", b"\xff\x00\r\n", b"", bytes(range(256)), b"x" * (1 << 20)]
    for data in sent:
        await one.hub.publish(DAEMON, draft("a", data))
    await until(lambda: heard == sent, "the same bytes")
