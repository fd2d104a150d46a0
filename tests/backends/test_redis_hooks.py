"""Hooks in Redis: the contract, and nodes that stop, die and fail over."""

from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from txredisapi import ConnectionError as LostConnection

from pushd.backends.hook_outbox import ACQUIRED_SECONDS
from pushd.backends.interface import BackendEvents
from pushd.backends.redis import outbox
from pushd.backends.redis.scripts import HOOK, Script
from pushd.core.message import Message, draft
from tests.backends.contract_hooks import FULL, HooksContract, Outbox
from tests.backends.nodes import Node
from tests.backends.redis_server import RedisServer, until, until_told
from tests.backends.sentinels import Watched
from tests.backends.test_redis import Hearing, HearingContract


class HearingDeadLetters(Hearing):
    """As `Hearing`, with dead letters."""

    async def start(self, listener: BackendEvents) -> None:
        """Listen to everything."""
        await super().start(listener)
        self.subscribe("$hooks/**")
        assert await self._subscriptions.ready(("$hooks/**",), 5)


class TestRedisHooks(HearingContract, HooksContract):
    """The contract of hooks, in Redis."""

    hearing = HearingDeadLetters


# Several nodes


class Sender:
    """A node with the hook ``full``, in this process."""

    def __init__(self, url: str, **options: Any) -> None:
        self.node = Node(url, **options)
        self.box = Outbox(self.node.backend.hooks).configure({"p": [FULL]})

    async def publish(self, *texts: str) -> list[Message]:
        """Publish messages that must be accepted."""
        accepted = await self.node.backend.publish([draft("p", text.encode()) for text in texts])
        messages = [each for each in accepted if isinstance(each, Message)]
        assert len(messages) == len(texts)
        return messages

    async def texts(self) -> list[str]:
        """Return the data of the messages of all events."""
        return [event["message"]["data"] for event in await self.box.words("full")]


@pytest_twisted.async_yield_fixture
async def sender() -> AsyncIterator[Callable[..., Awaitable[Sender]]]:
    """Start a node, to be stopped after the test."""
    running: list[Sender] = []

    async def start(url: str, **options: Any) -> Sender:
        running.append(Sender(url, **options))
        await running[-1].node.start()
        return running[-1]

    yield start
    for each in running:
        await each.node.stop()


Start = Callable[..., Awaitable[Sender]]


async def test_events_of_all_nodes_are_in_one_order(redis: RedisServer, sender: Start) -> None:
    one, other = [await sender(redis.url) for _ in range(2)]
    messages = []
    for number in range(20):
        messages += await (one, other)[number % 2].publish(f"{number}a", f"{number}b")
    events = await other.box.words("full")
    assert [event["message"]["id"] for event in events] == [message.id for message in messages]
    numbers = [event.number for event in await one.box.queued("full")]
    assert numbers == sorted(set(numbers))
    assert set(one.box.added) == set(other.box.added) == {"full"}


async def test_one_node_is_the_sender_until_it_stops(redis: RedisServer, sender: Start) -> None:
    one, other = [await sender(redis.url) for _ in range(2)]
    assert await one.box.outbox.acquire("full")
    assert not await other.box.outbox.acquire("full")
    assert await other.box.outbox.acquire("simple")
    other.box.outbox.release("full")
    assert await one.box.outbox.acquire("full")
    await one.node.stop()
    assert await other.box.outbox.acquire("full")
    other.box.outbox.release("full")
    await other.node.stop()
    assert redis.ask("KEYS", "pushd:hooks:sender:*") == []


async def test_sender_that_is_gone_loses_the_hook(redis: RedisServer, sender: Start) -> None:
    one, other = [await sender(redis.url) for _ in range(2)]
    assert await one.box.outbox.acquire("full")
    assert not await other.box.outbox.acquire("full")
    key = "pushd:hooks:sender:full"
    assert 0 < redis.ask("PTTL", key) <= ACQUIRED_SECONDS * 1000
    redis.ask("PEXPIRE", key, "1")
    await until(lambda: not redis.ask("EXISTS", key), "the end of its term")
    assert await other.box.outbox.acquire("full")
    assert not await one.box.outbox.acquire("full")


async def test_hook_that_one_node_disables_is_disabled_at_all(redis: RedisServer, sender: Start) -> None:
    one, other = [(await sender(redis.url)).box.outbox for _ in range(2)]
    assert await one.acquire("full")
    await one.disable("full")
    assert not await one.acquire("full")
    assert not await other.acquire("full")
    assert one.shared_state("full") == other.shared_state("full") == (True, 0)
    assert await other.acquire("simple")
    await other.resume("full")
    assert await other.acquire("full")
    assert not await one.acquire("full")
    assert one.shared_state("full") == other.shared_state("full") == (False, 1)


async def test_call_that_adds_events_and_is_repeated_adds_them_once(redis: RedisServer, sender: Start) -> None:
    one = await sender(redis.url)
    commands, calls = one.node.backend._commands, 0
    call_over = commands.call_over

    async def lose_reply(protocol: Any, script: Script, *args: object) -> Any:
        nonlocal calls
        reply = await call_over(protocol, script, *args)
        calls += script is HOOK
        if script is HOOK and calls == 1:
            raise LostConnection("lost")
        return reply

    commands.call_over = lose_reply  # type: ignore[method-assign]
    await one.box.add("c:1", "c:2")
    assert calls == 2
    assert await one.box.words() == ["c:1", "c:2"]


async def test_flushed_redis_uses_no_number_again(redis: RedisServer, sender: Start) -> None:
    one = await sender(redis.url)
    await one.publish("a", "b")
    last = (await one.box.queued("full"))[-1].number
    redis.ask("FLUSHALL")
    assert list(await one.box.queued("full")) == []
    await one.publish("c")
    await one.box.outbox.confirm("full", last)
    assert await one.texts() == ["c"]
    assert await one.box.outbox.acquire("full")


async def test_restarted_redis_keeps_events_and_waits_for_a_forgotten_sender(
    own_redis: Callable[..., RedisServer], sender: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outbox, "ACQUIRED_SECONDS", 5.0)
    server = own_redis("--appendonly", "yes", "--appendfsync", "always")
    one, other = [await sender(server.url) for _ in range(2)]
    await one.publish("a")
    assert await one.box.outbox.acquire("full")
    server.kill()
    server.start()
    server.ask("DEL", "pushd:hooks:sender:full")
    await one.node.until_well()
    await other.node.until_well()
    assert not await other.box.outbox.acquire("full")
    await one.publish("b")
    assert await other.texts() == ["a", "b"]
    await until_told(lambda: other.box.outbox.acquire("full"), "the end of a term")


async def test_evicted_counts_are_found_again(redis: RedisServer, sender: Start) -> None:
    one = await sender(redis.url)
    await one.publish("a", "b")
    redis.ask("DEL", "pushd:hooks:state:full")
    await one.publish("c")
    assert await one.texts() == ["a", "b", "c"]
    assert (await one.box.outbox.backlog("full")).events == 3
    await one.box.outbox.confirm("full", (await one.box.queued("full"))[-1].number)
    assert (await one.box.outbox.backlog("full"))[:2] == (0, 0)


@pytest.mark.system
async def test_failover_keeps_the_events_that_were_replicated(tmp_path: Path, sender: Start) -> None:
    watched = Watched(tmp_path)
    try:
        await watched.ready()
        one, other = [await sender(watched.url) for _ in range(2)]
        messages = await one.publish("a", "b")
        await until(lambda: watched.replica.ask("XLEN", "pushd:hooks:queue:full") == 2, "the events at the replica")
        assert await one.box.outbox.acquire("full")
        watched.master.kill()
        await watched.until_failed_over()
        for each in (one, other):
            await each.node.until_well()
        messages += await other.publish("c")
        found = [event["message"]["id"] for event in await other.box.words("full")]
        assert found == [message.id for message in messages]
        assert not await other.box.outbox.acquire("full")
        numbers = [event.number for event in await other.box.queued("full")]
        assert numbers == sorted(set(numbers))
    finally:
        watched.kill()
