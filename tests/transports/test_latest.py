"""Subscriptions with `since=latest`: the newest message of each channel, then what is published."""

from collections.abc import Awaitable, Callable, Sequence
from itertools import pairwise
from random import Random

import pytest
from twisted.internet.defer import Deferred

from tests.backends.nodes import Node
from tests.transports.client import Client, End, Item, Received
from tests.transports.daemon import RunningDaemon, until, until_ready
from tests.transports.every_client import CLIENTS, NATIVE, REPORTING, TWO_WAY, each_client
from tests.transports.http_client import address
from tests.transports.long_poll_client import LongPoll
from tests.transports.slow_reader import PIECE

each_topics = pytest.mark.parametrize("topics", ["d/a,d/b,d/c,d/none", "d/*,d/a"])


PublishOne = Callable[[str, str], Awaitable[object]]
"""Publishes a channel and a text."""


async def subscribed(daemon: RunningDaemon, client_class: type[Client], topics: str, since: str | None) -> Client:
    """Return a client that has subscribed."""
    client = client_class(daemon)
    await client.subscribe(topics, since)
    return client


async def publish_values(daemon: RunningDaemon) -> list[str]:
    """Publish to three channels; return the ids. The newest are b2, a3 and c1."""
    messages = [("d/a", "a1"), ("d/b", "b1"), ("d/a", "a2"), ("d/b", "b2"), ("d/a", "a3"), ("d/c", "c1")]
    return await daemon.publish_all(*messages)


@each_topics
@each_client(NATIVE)
async def test_the_newest_message_of_each_channel_comes_first(any_daemon, client_class, topics):
    ids = await publish_values(any_daemon)
    client = await subscribed(any_daemon, client_class, topics, "latest")
    assert client.gap is None
    if client_class is not LongPoll:
        assert client.start_cursor == ids[2]
    assert await client.data(3) == [b"b2", b"a3", b"c1"]
    for number in range(3):
        await any_daemon.publish("d/a", f"live {number}")
    assert await client.data(3) == [b"live 0", b"live 1", b"live 2"]


@each_client(NATIVE)
async def test_without_messages_it_begins_now(any_daemon, client_class):
    await any_daemon.publish("other", "x")
    client = await subscribed(any_daemon, client_class, "d/*,d/a", "latest")
    await any_daemon.publish("d/a", "live")
    assert await client.data(1) == [b"live"]


@each_topics
@each_client(REPORTING)
async def test_a_client_that_is_cut_loses_nothing(any_daemon, client_class, topics):
    await publish_values(any_daemon)
    client = await subscribed(any_daemon, client_class, topics, "latest")
    begun = client.start_cursor
    received = (await client.receive(2))[1]
    assert isinstance(received, Received)
    client.abort()
    await any_daemon.publish("d/b", "missed")
    for cursor, expected in ((begun, [b"b2", b"a3", b"c1"]), (received.id, [b"c1"])):
        again = await subscribed(any_daemon, client_class, topics, cursor)
        assert await again.data(len(expected) + 1) == [*expected, b"missed"]


@each_client(NATIVE)
async def test_older_messages_that_are_lost_are_no_gap(start_daemon, client_class):
    daemon = await start_daemon({"history.messages": 1})
    await publish_values(daemon)
    client = await subscribed(daemon, client_class, "d/*", "latest")
    assert client.gap is None
    assert await client.data(3) == [b"b2", b"a3", b"c1"]


@each_client(REPORTING)
async def test_a_channel_that_has_ended_is_sent_with_its_end(any_daemon, client_class):
    await publish_values(any_daemon)
    await any_daemon.publish("d/a", "", end=1)
    await any_daemon.publish("d/x", "", end=1)
    client = await subscribed(any_daemon, client_class, "d/a,d/b,d/x", "latest")
    items = await client.receive(4)
    assert [item.data for item in items if isinstance(item, Received)] == [b"b2", b"a3"]
    assert items[2:] == [End("d/a"), End("d/x")]
    await any_daemon.publish("d/b", "live")
    assert await client.data(1) == [b"live"]


def number_of(item: Received) -> int:
    """Return the sequence of a message."""
    assert item.id is not None
    return int(item.id.rpartition("-")[2])


def check_values(items: Sequence[Item], published: dict[str, int], *, has_ids: bool) -> None:
    """Check that of each channel one message and all that follow it were received, in id order.

    :param published: the number of messages of each channel, whose data is its name and 0, 1, ….
    """
    received: dict[str, list[Received]] = {}
    for item in items:
        assert isinstance(item, Received), item
        received.setdefault(item.data.decode().partition("=")[0], []).append(item)
    assert set(received) == set(published)
    for channel, messages in received.items():
        numbers = range(published[channel] - len(messages), published[channel])
        assert [each.data.decode() for each in messages] == [f"{channel}={number}" for number in numbers]
    if has_ids:
        sequences = [number_of(item) for item in items if isinstance(item, Received)]
        assert all(one < other for one, other in pairwise(sequences))
        later = [number_of(each[1]) for each in received.values() if len(each) > 1]
        assert all(number_of(each[0]) < min(later) for each in received.values())


async def check_while_published(
    daemon: RunningDaemon, client_class: type[Client], publish_one: PublishOne, *, is_pattern: bool
) -> None:
    """Check that a client receives the values of 300 channels, and all changes, while messages are published."""
    random = Random(client_class.label)
    channels = [f"d/{number}" for number in range(300)]
    published = dict.fromkeys(channels, 3)
    await daemon.publish_all(*[(channel, f"{channel}={number}") for number in range(3) for channel in channels])

    async def publish() -> None:
        for _ in range(150):
            channel = random.choice(channels)
            published[channel] += 1
            await publish_one(channel, f"{channel}={published[channel] - 1}")

    publishing = Deferred.fromCoroutine(publish())
    client = client_class(daemon)
    await client.subscribe("d/*" if is_pattern else ",".join(channels), "latest")
    await publishing
    await publish_one(channels[0], "last")
    check_values(await client.until(b"last"), published, has_ids=client_class.has_ids)


@pytest.mark.parametrize(
    "is_pattern", [pytest.param(True, id="pattern"), pytest.param(False, id="names", marks=pytest.mark.slow)]
)
@each_client(NATIVE)
async def test_it_is_complete_while_messages_are_published(any_daemon, client_class, is_pattern):
    await check_while_published(any_daemon, client_class, any_daemon.publish, is_pattern=is_pattern)


@each_client(NATIVE)
async def test_it_is_complete_while_another_node_publishes(start_daemon, one_redis, client_class):
    one_redis.ask("FLUSHALL")
    daemon = await start_daemon({"backend.url": one_redis.url})
    await until_ready(daemon)
    other = await Node(one_redis.url).start()
    try:
        await check_while_published(daemon, client_class, other.publish, is_pattern=True)
    finally:
        await other.stop()


@each_client(CLIENTS)
async def test_a_slow_reader_receives_all_of_it(start_daemon, client_class):
    daemon = await start_daemon({"history.messages": 1, "limits.queue_messages": 5})
    channels = [f"d/{number}" for number in range(100)]
    ids = await daemon.publish_all(*[(channel, PIECE.decode()) for channel in channels])
    client = client_class(daemon, small=True)
    await client.subscribe("d/*,d/0", "latest")
    client.stall()
    await until(lambda: daemon.subscribers("d/0")[0].is_paused, "a busy subscriber")
    await daemon.publish("d/99", "newer")
    client.unstall()
    items = [item for item in await client.until(b"newer") if isinstance(item, Received)]
    assert [item.data for item in items] == [PIECE] * 99
    if client_class.has_ids:
        assert [item.id for item in items] == ids[:99]


async def history(daemon: RunningDaemon, path: str, **query: object) -> tuple[list[str], str]:
    """Return the data and the cursor of an answer."""
    answer = await daemon.request("GET", address(path, "d/*", **query))
    assert "pushd-gap" not in answer.headers
    return [message["data"] for message in answer.json or []], answer.headers["pushd-id"]


async def test_the_history_and_polls_have_the_newest_message_of_each_channel(any_daemon):
    ids = await publish_values(any_daemon)
    assert await history(any_daemon, "history", since="latest") == (["b2", "a3", "c1"], ids[5])
    assert await history(any_daemon, "poll", since="latest") == (["b2", "a3", "c1"], ids[5])
    assert await history(any_daemon, "longpoll", since="latest") == (["b2", "a3", "c1"], ids[5])
    data, cursor = await history(any_daemon, "history", since="latest", limit=2)
    assert (data, cursor) == (["b2", "a3"], ids[4])
    assert await history(any_daemon, "history", since=cursor) == (["c1"], ids[5])
    answer = await any_daemon.request("GET", "/poll/d/*?since=latest&format=raw")
    assert (answer.body, answer.headers["pushd-id"]) == (b"b2", ids[3])
    answer = await any_daemon.request("GET", "/pull/d%2Fa?since=latest")
    assert b"a3" in answer.body


async def test_a_poll_without_messages_waits(any_daemon):
    await any_daemon.publish("other", "x")
    waiting = Deferred.fromCoroutine(any_daemon.request("GET", "/longpoll/d/*?since=latest"))
    await any_daemon.request("GET", "/health/live")
    await any_daemon.publish("d/a", "live")
    assert [message["data"] for message in (await waiting).json] == ["live"]


@each_client(TWO_WAY)
async def test_a_later_subscription_receives_the_messages_that_were_left_out(daemon, client_class):
    await publish_values(daemon)
    client = await subscribed(daemon, client_class, "d/*", "latest")
    assert await client.data(3) == [b"b2", b"a3", b"c1"]
    await daemon.publish("d/a", "live")
    assert await client.data(1) == [b"live"]
    await client.subscribe("d/a", "all")
    assert await client.data(3) == [b"a1", b"a2", b"a3"]
    await daemon.publish("d/a", "last")
    assert await client.data(1) == [b"last"]
