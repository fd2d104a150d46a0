"""The leases of nodes: what a node owns stays while the node is there, whatever happens to Redis, and no longer."""

import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from twisted.internet.task import deferLater

from tests.backends.leased_records import Owner, names, owners
from tests.backends.redis_server import RedisServer, until
from tests.backends.sentinels import Watched

Start = Callable[..., Awaitable[Owner]]
Spawn = Callable[..., subprocess.Popen[bytes]]

TERM = 2.0
ROOT = Path(__file__).parent.parent.parent


@pytest_twisted.async_yield_fixture
async def node() -> AsyncIterator[Start]:
    """Start a node, with names that it owns."""
    running: list[Owner] = []

    async def start(url: str, *own: str, **options: Any) -> Owner:
        running.append(Owner(url, **{"lease_seconds": TERM} | options))
        await running[-1].start()
        if own:
            assert await running[-1].names.add(*own)
        return running[-1]

    yield start
    for each in running:
        await each.stop()


@pytest.fixture
def spawn() -> Iterator[Spawn]:
    """Start a node in a process of its own."""
    running: list[subprocess.Popen[bytes]] = []

    def spawn(url: str, *own: str, seconds: float = TERM) -> subprocess.Popen[bytes]:
        words = [sys.executable, "-m", "tests.backends.leased_records", url, str(seconds), *own]
        running.append(subprocess.Popen(words, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL))
        assert running[-1].stdout is not None
        assert running[-1].stdout.readline() == b"started\n"
        return running[-1]

    yield spawn
    for each in running:
        each.send_signal(signal.SIGCONT)
        each.kill()
        each.communicate()


async def pause(seconds: float) -> None:
    """Let time pass, which Redis measures."""
    from twisted.internet import reactor

    await deferLater(reactor, seconds)


async def all_there(redis: RedisServer, *wanted: str) -> None:
    """Wait until these names are owned, each once, and no others."""
    await until(lambda: names(redis) == sorted(wanted), lambda: f"{wanted}: {names(redis)}")


async def test_each_node_has_a_lease_that_it_renews(redis: RedisServer, node: Start) -> None:
    nodes = [await node(redis.url, name) for name in "ab"]
    before = [each.owner for each in nodes]
    assert owners(redis) == set(before)
    await pause(TERM * 1.5)
    assert owners(redis) == {each.owner for each in nodes} == set(before)
    assert names(redis) == ["a", "b"]
    assert [each.names.owners for each in nodes] == [[owner] for owner in before]


async def test_what_a_stopped_node_owned_is_gone_at_once(redis: RedisServer, node: Start) -> None:
    one, other = await node(redis.url, *map(str, range(1200))), await node(redis.url, "b")
    await one.stop()
    assert owners(redis) == {other.owner}
    assert names(redis) == ["b"]
    assert redis.ask("SMEMBERS", "pushd:owners:test") == [other.owner.encode()]


async def test_what_a_node_without_a_lease_owned_is_dropped_by_any_other(redis: RedisServer, node: Start) -> None:
    nodes = [await node(redis.url, name) for name in "abc"]
    assert await nodes[0].names.add(*map(str, range(3000)))
    nodes[0].vanish()
    await all_there(redis, "b", "c")
    assert owners(redis) == {each.owner for each in nodes[1:]}
    assert not await nodes[0].names.add("ghost")
    assert names(redis) == ["b", "c"]


async def test_node_that_returns_registers_anew(redis: RedisServer, node: Start) -> None:
    one, _ = await node(redis.url, "a"), await node(redis.url, "b")
    before = one.owner
    one.vanish()
    await all_there(redis, "b")
    one.return_()
    await all_there(redis, "a", "b")
    assert one.owner != before
    assert not await one.names.add("ghost", owner=before)
    assert await one.names.add("c")
    assert names(redis) == ["a", "b", "c"]


async def test_flushed_redis_gets_everything_back(redis: RedisServer, node: Start) -> None:
    nodes = [await node(redis.url, name) for name in "ab"]
    before = {each.owner for each in nodes}
    redis.ask("FLUSHALL")
    await all_there(redis, "a", "b")
    assert not before & {each.owner for each in nodes}


@pytest.mark.slow
@pytest.mark.parametrize("change", ["-3600000", "3600000"])
async def test_clock_of_redis_that_is_set_ends_no_lease(redis: RedisServer, node: Start, change: str) -> None:
    nodes = [await node(redis.url, name, lease_seconds=4.0) for name in "ab"]
    before = [each.owner for each in nodes]
    redis.ask("HINCRBY", "pushd:leases:clock", "at", change)
    await pause(2.0)
    assert [each.owner for each in nodes] == before
    assert names(redis) == ["a", "b"]
    nodes[0].vanish()
    await all_there(redis, "b")


async def test_leases_that_redis_has_evicted_are_granted_anew(redis: RedisServer, node: Start) -> None:
    for key in ("pushd:leases", "pushd:leases:clock", "pushd:owners:test"):
        nodes = [await node(redis.url, name) for name in "ab"]
        before = {each.owner for each in nodes}
        redis.ask("DEL", key)
        if key != "pushd:owners:test":
            await until(lambda: not before & {each.owner for each in nodes}, "new incarnations")  # noqa: B023
        await all_there(redis, "a", "b")
        for each in nodes:
            await each.stop()
        redis.ask("FLUSHALL")


@pytest.mark.slow
@pytest.mark.system
async def test_frozen_redis_ends_no_lease(own_redis: Callable[..., RedisServer], node: Start) -> None:
    redis = own_redis()
    nodes = [await node(redis.url, name, publish_timeout=3.0, lease_seconds=4.0) for name in "ab"]
    before = [each.owner for each in nodes]
    redis.freeze()
    await pause(6.0)
    redis.thaw()
    for each in nodes:
        await each.until_well()
    assert names(redis) == ["a", "b"]
    await pause(2.0)
    assert [each.owner for each in nodes] == before
    assert names(redis) == ["a", "b"]


@pytest.mark.slow
@pytest.mark.system
@pytest.mark.parametrize("options", [("--appendonly", "yes"), ()], ids=["kept", "lost"])
async def test_restarted_redis_gets_everything_under_new_incarnations(
    own_redis: Callable[..., RedisServer], node: Start, options: tuple[str, ...]
) -> None:
    redis = own_redis(*options)
    nodes = [await node(redis.url, name, publish_timeout=3.0) for name in "ab"]
    before = {each.owner for each in nodes}
    redis.kill()
    await pause(TERM * 1.5)
    redis.start()
    for each in nodes:
        await each.until_well()
    await until(lambda: not before & {each.owner for each in nodes}, "new incarnations")
    await all_there(redis, "a", "b")
    nodes[0].vanish()
    await all_there(redis, "b")


@pytest.mark.system
async def test_nothing_is_missing_between_two_incarnations(own_redis: Callable[..., RedisServer], node: Start) -> None:
    redis = own_redis("--appendonly", "yes", "--appendfsync", "always")
    nodes = [await node(redis.url, name, publish_timeout=3.0) for name in "ab"]
    redis.kill()
    redis.start()
    deadline = time.monotonic() + TERM * 1.5

    def are_settled() -> bool:
        found = names(redis)
        assert set(found) == {"a", "b"}
        is_late = time.monotonic() > deadline
        return is_late and found == ["a", "b"] and owners(redis) == {each.owner for each in nodes}

    await until(are_settled, "each once")


@pytest.mark.slow
@pytest.mark.system
async def test_new_master_gets_what_it_has_missed(tmp_path: Path, node: Start) -> None:
    watched = Watched(tmp_path)
    try:
        await watched.ready()
        nodes = [await node(watched.url, name) for name in "ab"]
        before = {each.owner for each in nodes}
        await until(lambda: names(watched.replica) == ["a", "b"], "replicated")
        watched.replica.ask("CONFIG", "SET", "replica-read-only", "no")
        watched.replica.ask("DEL", f"pushd:test:{nodes[0].owner}")  # as if it had lagged behind
        watched.master.kill()
        await watched.until_failed_over()
        for each in nodes:
            await each.until_well()
        await all_there(watched.replica, "a", "b")
        assert not before & {each.owner for each in nodes}
    finally:
        watched.kill()


@pytest.mark.system
async def test_what_killed_process_owned_is_dropped(redis: RedisServer, node: Start, spawn: Spawn) -> None:
    one = await node(redis.url, "a")
    process = spawn(redis.url, "x", "y")
    await all_there(redis, "a", "x", "y")
    process.kill()
    await all_there(redis, "a")
    assert owners(redis) == {one.owner}


@pytest.mark.system
@pytest.mark.parametrize(
    ("term", "frozen"), [(TERM, 2 * TERM), pytest.param(10.0, 40.0, marks=pytest.mark.slow, id="as configured")]
)
async def test_frozen_process_that_continues_registers_anew(
    redis: RedisServer, node: Start, spawn: Spawn, term: float, frozen: float
) -> None:
    one = await node(redis.url, "a", lease_seconds=term)
    process = spawn(redis.url, "x", "y", seconds=term)
    await all_there(redis, "a", "x", "y")
    before = owners(redis)
    began = time.monotonic()
    process.send_signal(signal.SIGSTOP)
    await all_there(redis, "a")
    await pause(max(0.0, began + frozen - time.monotonic()))
    assert owners(redis) == {one.owner}
    process.send_signal(signal.SIGCONT)
    await all_there(redis, "a", "x", "y")
    assert before & owners(redis) == {one.owner}
