"""Keys of the log that Redis evicts one by one: what is lost is reported, and nothing fails."""

from collections.abc import Awaitable, Callable, Sequence

import pytest
from twisted.logger import ILogObserver, LogEvent, formatEvent, globalLogPublisher

from pushd.core.cursor import MessageId
from pushd.core.history import Bounds
from pushd.core.message import Message, draft
from pushd.core.names import matches
from tests.backends.nodes import Node, settled
from tests.backends.redis_server import RedisServer, until

Start = Callable[..., Awaitable[Node]]
Redis = Callable[..., RedisServer]

CHANNELS = ("a/1", "a/2", "b", "ended", "deleted")
TOPICS = (("a/1",), ("a/2", "b", "ended"), ("**",), ("a/*", "ended"), ("*", "a/1"))
KEYS = (
    *(f"{kind}:{channel}" for kind in "sc" for channel in CHANNELS),
    *("t", "names", "live", "idle", "gone", "lost", "ended", "ttl"),
    *("s:b c:b", "names c:b s:b", "names c:a/1", "names lost c:b s:b", "gone c:deleted", "t names lost live"),
)
"""All keys of a log, and some that may be evicted together, without the epoch."""


async def history(node: Node) -> list[Message]:
    """Fill a log: each channel has lost messages, one has ended, and one is deleted."""
    sent: list[Message] = []
    for number in range(6):
        for message in await node.backend.publish(
            [draft(channel, b"%d" % number, ttl=600 if channel == "b" else None) for channel in CHANNELS]
        ):
            assert isinstance(message, Message)
            sent.append(message)
    (end,) = await node.backend.publish([draft("ended", b"end", end=True)])
    assert isinstance(end, Message)
    await node.backend.delete("deleted")
    return [*sent, end]


async def check(node: Node, topics: Sequence[str], sent: Sequence[Message], after: int) -> None:
    """Read topics after a sequence, and check that each message is read or part of a gap."""
    epoch = sent[0].epoch
    opening = await node.backend.open(topics, MessageId(epoch, after))
    gaps, read, position = list(opening.gaps), set[str](), opening.position
    while True:
        page = await node.backend.page(topics, position, 2, 1 << 20)
        gaps += page.gaps
        read |= {message.id for message in page.messages}
        position = page.position
        if page.is_last:
            break
    for message in sent:
        if message.seq > after and message.id not in read:
            for topic in topics:
                if matches(topic, message.channel):
                    assert any(gap.topic == topic and _reaches(gap.end, message) for gap in gaps), (
                        f"{message.id} of {message.channel} is lost to {topic}, gaps: {gaps}"
                    )


def _reaches(end: str, message: Message) -> bool:
    epoch, _, seq = end.rpartition("-")
    return epoch != message.epoch or int(seq) >= message.seq


@pytest.mark.parametrize("meanwhile", ["nothing", "publish"])
@pytest.mark.parametrize("key", KEYS)
async def test_what_is_lost_with_a_key_is_reported(redis: RedisServer, node: Start, key: str, meanwhile: str) -> None:
    one = await node(redis.url, bounds=Bounds(messages=4))
    for topics in TOPICS:
        redis.ask("FLUSHALL")
        sent = await history(one)
        redis.ask("DEL", *[f"pushd:{sent[0].epoch}:{each}" for each in key.split()])
        if meanwhile == "publish":
            for message in await one.backend.publish([draft(channel, b"new") for channel in CHANNELS]):
                assert isinstance(message, Message)
                sent.append(message)
        for after in (sent[9].seq, sent[20].seq, sent[-1].seq - 3, 0):
            await check(one, topics, sent, after)
        for channel in CHANNELS:
            await one.backend.info(channel)
            await one.backend.delete(channel)
        for message in await one.backend.publish([draft(channel, b"new") for channel in CHANNELS]):
            assert isinstance(message, Message)


@pytest.mark.parametrize("key", ["t", "lost", "s:a", "c:a"])
async def test_a_node_that_missed_messages_reports_those_that_were_evicted(
    redis: RedisServer, node: Start, key: str
) -> None:
    from tests.backends.nodes import judge

    one, other = await node(redis.url), await node(redis.url)
    ears = [await one.ear("a"), await one.ear("*")]
    first = await other.publish("a", "0")
    await until(lambda: all(ear.texts == ["0"] for ear in ears), "the first message")
    one.backend._feed_link.drop("for a test")
    await until(lambda: one.backend._feed_link.protocol is None, "the cut")
    for number in range(1, 5):
        await other.publish("a", str(number))
    redis.ask("DEL", f"pushd:{first.id.rpartition('-')[0]}:{key}")
    await one.until_well()
    await settled(ears, [other])
    for ear in ears:
        judge(ear, other.accepted)


@pytest.mark.parametrize(
    ("policy", "is_warned"), [("noeviction", False), ("allkeys-lru", True), ("volatile-ttl", True)]
)
async def test_a_policy_that_evicts_is_named_in_the_log(
    own_redis: Redis, node: Start, policy: str, *, is_warned: bool
) -> None:
    lines: list[str] = []

    class Observer:
        def __call__(self, event: LogEvent) -> None:
            lines.append(formatEvent(event))

    observer: ILogObserver = Observer()  # type: ignore[assignment]
    globalLogPublisher.addObserver(observer)
    one = await node(own_redis("--maxmemory-policy", policy).url)
    one.backend._commands.link.drop("for a test")
    await until(lambda: one.backend._commands.link.protocol is None, "the cut")
    await one.until_well()
    globalLogPublisher.removeObserver(observer)
    assert sum(f"maxmemory-policy {policy}" in line for line in lines) == is_warned
