"""The events of first and last subscribers over nodes: each once, whatever happens to nodes and to Redis."""

import json
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
import pytest_twisted

from pushd.hooks.endpoint import HookEndpoint
from tests.backends.nodes import Ear, Node, all_of
from tests.backends.redis_server import RedisServer, until, until_told

HOOK = HookEndpoint("app", "http://127.0.0.1:1/", (b"secret",), frozenset(("occupied", "vacated")), ("room/**",))
TERM = 2.0
Start = Callable[..., Awaitable[Node]]


@pytest_twisted.async_yield_fixture
async def node() -> AsyncIterator[Start]:
    """Start a node with a hook, whose receiver is never reached, to be stopped after the test.

    It looks for channels without marks only when `sweep` is called, so that a test may take as long as it needs.
    """
    running: list[Node] = []

    async def start(redis: RedisServer, *hooks: HookEndpoint, term: float = TERM) -> Node:
        running.append(Node(redis.url, lease_seconds=term))
        running[-1].hub.hooks.reconfigure(hooks)
        freeze_sweep(await running[-1].start())
        return running[-1]

    yield start
    for each in running:
        await each.stop()


async def events(node: Node) -> list[tuple[str, str]]:
    """Return all events in their order: types and channels."""
    bodies = [json.loads(each.body) for each in await node.backend.hooks.first("app", 1000, 1 << 20)]
    return [(body["type"], body["channel"]) for body in bodies]


async def until_events(node: Node, *wanted: tuple[str, str]) -> None:
    """Wait until these are all events."""

    async def are_there() -> bool:
        return await events(node) == list(wanted)

    await until_told(are_there, f"events {wanted}")


def leave(node: Node, ear: Ear) -> None:
    """Remove a subscriber."""
    node.hub.remove(ear.subscriber)


def begin(node: Node, channel: str) -> None:
    """Report a first subscriber, without one that would replay the history when Redis has lost it."""
    node.hub.hooks.on_first(channel)


def end(node: Node, channel: str) -> None:
    """Report that the last subscriber is gone."""
    node.hub.hooks.on_last(channel)


def marked(redis: RedisServer) -> list[str]:
    """Return the channels with marks of any node."""
    keys = redis.ask("KEYS", "pushd:marks:of:*")
    return sorted(each.decode() for key in keys for each in redis.ask("SMEMBERS", key))


def vacant(redis: RedisServer) -> list[str]:
    """Return the channels that are soon to be reported as vacated."""
    return [each.decode() for each in redis.ask("ZRANGE", "pushd:marks:vacant", "0", "-1")]


def freeze(node: Node) -> None:
    """Let a node not renew its lease, as a process that was killed or is frozen."""
    node.backend._lease._loop.stop()


def thaw(node: Node) -> None:
    """Let a node go on."""
    node.backend._lease.start()
    node.backend._lease.renew_soon()


def freeze_sweep(node: Node) -> None:
    """Let a node not look for channels without marks."""
    if node.backend.marks._loop.running:
        node.backend.marks._loop.stop()


async def sweep(redis: RedisServer, channel: str, *nodes: Node) -> None:
    """Let nodes look for channels without marks at the same moment, when this one is due."""
    redis.ask("ZADD", "pushd:marks:vacant", "XX", "0", channel)
    await all_of(*(each.backend.marks._sweep() for each in nodes))


async def test_first_subscribers_of_nodes_at_the_same_moment(redis: RedisServer, node: Start) -> None:
    nodes = [await node(redis, HOOK) for _ in range(3)]
    rooms = [f"room/{number}" for number in range(30)]
    await all_of(*(each.ear(room) for room in rooms for each in nodes))
    await until(lambda: marked(redis) == sorted(rooms * 3), "marks")
    assert sorted(await events(nodes[0])) == sorted(("occupied", room) for room in rooms)


async def test_channel_is_vacated_once_when_no_node_has_subscribers(redis: RedisServer, node: Start) -> None:
    one, other = [await node(redis, HOOK) for _ in range(2)]
    first, second, wild = await one.ear("room/1"), await other.ear("room/1"), await one.ear("room/*")
    await until(lambda: marked(redis) == ["room/1"] * 2, "marks")
    leave(one, first)
    await until(lambda: marked(redis) == ["room/1"], "one mark")
    assert vacant(redis) == []
    leave(other, second)
    await until(lambda: vacant(redis) == ["room/1"], "no marks")
    third = await one.ear("room/1")
    await until(lambda: marked(redis) == ["room/1"] and vacant(redis) == [], "marked again")
    leave(one, third)
    await until(lambda: vacant(redis) == ["room/1"], "no marks again")
    assert await events(one) == [("occupied", "room/1")]
    await sweep(redis, "room/1", one, other)
    await until_events(one, ("occupied", "room/1"), ("vacated", "room/1"))
    await other.ear("room/1")
    await until_events(one, ("occupied", "room/1"), ("vacated", "room/1"), ("occupied", "room/1"))
    assert wild.subscriber.starts


async def test_channels_of_a_node_without_a_lease_are_vacated(redis: RedisServer, node: Start) -> None:
    gone, other = [await node(redis, HOOK) for _ in range(2)]
    await gone.ear("room/own")
    await until_events(other, ("occupied", "room/own"))
    await all_of(gone.ear("room/both"), other.ear("room/both"))
    known = [("occupied", "room/own"), ("occupied", "room/both")]
    await until(lambda: marked(redis) == ["room/both", "room/both", "room/own"], "marks")
    freeze(gone)
    await until(lambda: marked(redis) == ["room/both"], "marks of the node are dropped")
    await sweep(redis, "room/own", other)
    known.append(("vacated", "room/own"))
    await until_events(other, *known)
    thaw(gone)
    await until_events(other, *known, ("occupied", "room/own"))
    assert marked(redis) == ["room/both", "room/both", "room/own"]


async def test_node_that_returns_in_time_causes_no_event(redis: RedisServer, node: Start) -> None:
    gone, other = [await node(redis, HOOK) for _ in range(2)]
    await gone.ear("room/1")
    await until_events(other, ("occupied", "room/1"))
    freeze(gone)
    await until(lambda: vacant(redis) == ["room/1"], "the mark is dropped")
    thaw(gone)
    await until(lambda: marked(redis) == ["room/1"] and vacant(redis) == [], "marked again")
    await sweep(redis, "room/1", other)
    assert await events(other) == [("occupied", "room/1")]


async def test_node_that_stops_leaves_its_channels_to_the_others(redis: RedisServer, node: Start) -> None:
    gone, other = Node(redis.url), await node(redis, HOOK)
    gone.hub.hooks.reconfigure([HOOK])
    await gone.start()
    await gone.ear("room/1")
    await until_events(other, ("occupied", "room/1"))
    await gone.stop()
    assert (marked(redis), vacant(redis)) == ([], ["room/1"])
    assert redis.ask("EXISTS", "pushd:owners:marks") == 0
    await sweep(redis, "room/1", other)
    await until_events(other, ("occupied", "room/1"), ("vacated", "room/1"))


async def test_lost_marks_are_set_again_with_events_for_changes_only(redis: RedisServer, node: Start) -> None:
    one, other = [await node(redis, HOOK) for _ in range(2)]
    begin(one, "room/1")
    begin(one, "room/2")
    begin(other, "room/2")
    await until(lambda: marked(redis) == ["room/1", "room/2", "room/2"], "marks")
    redis.ask("FLUSHALL")
    end(one, "room/1")
    begin(other, "room/3")
    await until(lambda: marked(redis) == ["room/2", "room/2", "room/3"], "marked again")
    await until_events(one, ("occupied", "room/3"))
    await until(lambda: vacant(redis) == ["room/1"], "the change")
    await sweep(redis, "room/1", one)
    await until_events(one, ("occupied", "room/3"), ("vacated", "room/1"))


async def test_new_subscriber_at_another_node_after_a_loss_is_not_the_first(redis: RedisServer, node: Start) -> None:
    one, other = [await node(redis, HOOK) for _ in range(2)]
    begin(one, "room/1")
    begin(other, "room/2")
    await until(lambda: marked(redis) == ["room/1", "room/2"], "marks")
    freeze(one)  # so that the other one is first
    redis.ask("FLUSHALL")
    begin(other, "room/1")
    await until(lambda: marked(redis) == ["room/2"], "marked by the other node")
    thaw(one)
    await until(lambda: marked(redis) == ["room/1", "room/1", "room/2"], "marks")
    assert await events(one) == []


async def test_hook_that_is_added_knows_the_subscribers_before(redis: RedisServer, node: Start) -> None:
    one, other = [await node(redis) for _ in range(2)]
    ear = await one.ear("room/1", "elsewhere")
    assert redis.ask("KEYS", "pushd:marks*") == []
    for each in (one, other):
        each.hub.hooks.reconfigure([HOOK])
        freeze_sweep(each)
    await until(lambda: marked(redis) == ["room/1"], "marks")
    second = await other.ear("room/1")
    await until(lambda: marked(redis) == ["room/1"] * 2, "marks")
    assert await events(one) == []
    leave(one, ear)
    leave(other, second)
    await until(lambda: vacant(redis) == ["room/1"], "no marks")
    await sweep(redis, "room/1", one)
    await until_events(one, ("vacated", "room/1"))


async def test_nothing_is_stored_without_a_hook(redis: RedisServer, node: Start) -> None:
    one = await node(redis)
    leave(one, await one.ear("room/1"))
    assert not one.backend.marks._loop.running
    assert not one.backend.marks._changed
    assert redis.ask("KEYS", "pushd:*marks*") == []


async def test_many_channels_are_marked_together(redis: RedisServer, node: Start) -> None:
    one = await node(redis, HOOK, term=10.0)
    rooms = [f"room/{number}" for number in range(700)]
    ear = await one.ear(*rooms)
    await until(lambda: len(marked(redis)) == len(rooms), "marks")
    assert [channel for _, channel in await events(one)] == rooms
    leave(one, ear)
    await until(lambda: len(vacant(redis)) == len(rooms), "no marks")


@pytest.mark.system
@pytest.mark.parametrize("options", [("--appendonly", "yes", "--appendfsync", "always"), ()], ids=["kept", "lost"])
async def test_restarted_redis_causes_no_event(
    own_redis: Callable[..., RedisServer], node: Start, options: tuple[str, ...]
) -> None:
    redis = own_redis(*options)
    nodes = [await node(redis, HOOK) for _ in range(2)]
    begin(nodes[0], "room/1")
    begin(nodes[1], "room/2")
    await until(lambda: marked(redis) == ["room/1", "room/2"], "marks")
    known = await events(nodes[0]) if options else []
    before = {each.backend._lease.owner for each in nodes}
    redis.kill()
    redis.start()
    for each in nodes:
        await each.until_well()
    await until(lambda: not before & {each.backend._lease.owner for each in nodes}, "new incarnations")
    await until(lambda: marked(redis) == ["room/1", "room/2"], "marks under new owners only")
    assert (await events(nodes[0]), vacant(redis)) == (known, [])
    end(nodes[0], "room/1")
    await until(lambda: vacant(redis) == ["room/1"], "no marks")
