"""Rules for channels over several nodes, some of which do not have them yet."""

from collections.abc import Awaitable, Callable

from pushd.core.channel_rules import NO_RULES, ChannelRule, ChannelRules
from pushd.core.cursor import MessageId
from tests.backends.nodes import Node, judge, settled
from tests.backends.redis_server import RedisServer, until_told

Start = Callable[..., Awaitable[Node]]

RULES = ChannelRules([ChannelRule("a", messages=3), ChannelRule("b", age=1.0), ChannelRule("c", age=1e6)])


async def test_nodes_with_different_rules_lose_nothing_without_a_gap(redis: RedisServer, node: Start) -> None:
    nodes = [await node(redis.url) for _ in range(2)]
    ear = await nodes[1].ear("**")
    nodes[0].backend.reconfigure(RULES)
    receipts = [await nodes[number % 2].publish("abc"[number // 2 % 3], str(number)) for number in range(36)]
    await settled([ear], nodes)
    judge(ear, [word for each in nodes for word in each.accepted], gaps=False)
    epoch = receipts[0].id.rpartition("-")[0]
    late = await nodes[1].ear("a", "b", "c", since=MessageId(epoch, 0))
    for channel in "abc":
        published = [str(number) for number in range(36) if "abc"[number // 2 % 3] == channel]
        received = [text for text in late.texts if text in published]
        assert received == published[len(published) - len(received) :]
        assert (len(received) < len(published)) is (channel in [gap.topic for gap in late.gaps])
    backend = nodes[0].backend
    infos = [await backend.info(name) for name in await backend.names("", "", 100)]
    assert (await backend.usage()).messages == sum(info.messages for info in infos if info is not None)


async def test_rules_reach_channels_to_which_nobody_publishes(redis: RedisServer, node: Start) -> None:
    one, other = await node(redis.url), await node(redis.url)
    for number in range(30):
        await one.publish("abc"[number % 3], str(number))
    one.backend.reconfigure(RULES)

    async def kept() -> list[int]:
        infos = [await other.backend.info(channel) for channel in "abc"]
        return [0 if info is None else info.messages for info in infos]

    async def is_applied() -> bool:
        return await kept() == [3, 0, 10]

    await until_told(is_applied, "the rules applied")

    async def is_common_age() -> bool:
        return not redis.ask("HGET", f"pushd:{one.backend._commands.epoch}:c:c", "age")

    assert not await is_common_age()
    one.backend.reconfigure(NO_RULES)
    await until_told(is_common_age, "the age of all channels")
    assert (await kept())[2] == 10
