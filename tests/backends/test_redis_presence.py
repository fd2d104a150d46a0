"""Members in Redis: the contract, and members of several nodes that crash, freeze and come back."""

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from twisted.internet.defer import Deferred

from pushd.backends.interface import BackendEvents
from pushd.backends.redis import presence
from pushd.core.cursor import MessageId
from pushd.core.errors import Unavailable
from pushd.core.presence import Change, EndLease, Enter, Leave, Renew, Update
from tests.backends.changed_scripts import ADVANCED, advance, change_scripts
from tests.backends.contract_presence import GRACE, PresenceContract, replay
from tests.backends.leased_records import Owner
from tests.backends.redis_server import RedisServer, until, until_told
from tests.backends.sentinels import Watched
from tests.backends.test_redis import Hearing, HearingContract
from tests.backends.test_redis_leases import TERM, pause


@pytest.fixture(autouse=True)
def fast_sweeps(monkeypatch: pytest.MonkeyPatch) -> None:
    """Look for members that leave more often."""
    monkeypatch.setattr(presence, "_SWEEP_SECONDS", 0.05)


class HearingEvents(Hearing):
    """As `Hearing`, with the events of members."""

    async def start(self, listener: BackendEvents) -> None:
        """Listen to everything."""
        await super().start(listener)
        self.subscribe("$presence/**")
        assert await self._subscriptions.ready(("$presence/**",), 5)


class TestRedisPresence(HearingContract, PresenceContract):
    """The contract of presence, in Redis."""

    hearing = HearingEvents


# Several nodes


class Member:
    """A node with connections of members, in this process."""

    def __init__(self, url: str, **options: Any) -> None:
        self.node = Owner(url, **{"lease_seconds": TERM} | options)
        self.presence = self.node.backend.presence
        change_scripts(self.node.backend, ADVANCED)

    async def start(self) -> "Member":
        """Start it."""
        await self.node.start()
        await until(lambda: self.node.owner, "a lease")
        self.presence.reconfigure(GRACE, 100_000)
        return self

    async def apply(self, *changes: Change) -> None:
        """Apply changes."""
        await self.presence.apply(changes)

    async def events(self, channel: str = "c") -> list[dict[str, Any]]:
        """Return all kept events of a channel."""
        page = await self.node.backend.page((f"$presence/{channel}",), MessageId(self.epoch, 0), 10_000, 1 << 30)
        return [json.loads(message.data) for message in page.messages]

    @property
    def epoch(self) -> str:
        """The epoch of the log."""
        return self.node.backend._commands.epoch

    async def told(self, channel: str = "c") -> list[str]:
        """Return all kept events of a channel, as words."""
        return [f"{event['action']} {event.get('id', '')}".strip() for event in await self.events(channel)]

    async def listed(self, channel: str = "c") -> dict[str, int]:
        """Return the members of a channel, with their connections."""
        page = (await self.presence.members(channel, "", 1000)).page
        return {member.id: member.connections for member in page.members}


@pytest_twisted.async_yield_fixture
async def member_node() -> AsyncIterator[Callable[..., Awaitable[Member]]]:
    """Start a node, to be stopped after the test."""
    running: list[Member] = []

    async def start(url: str, **options: Any) -> Member:
        running.append(Member(url, **options))
        return await running[-1].start()

    yield start
    for each in running:
        await each.node.stop()


StartMember = Callable[..., Awaitable[Member]]


async def until_listed(member: Member, **wanted: int) -> None:
    """Wait until the list of a channel is this."""

    async def is_listed() -> bool:
        with suppress(Unavailable):
            return await member.listed() == wanted
        return False

    await until_told(is_listed, f"{wanted}")


async def pass_grace(redis: RedisServer, *nodes: Member) -> None:
    """End the grace of all lost connections, so that their members leave."""
    advance(redis, GRACE * 1.2)
    for each in nodes:
        await each.presence._sweep()


async def check_replay(member: Member) -> None:
    """Check that the list is the replay of the events."""
    assert set(replay(await member.events())) == set(await member.listed())


async def test_member_with_connections_at_two_nodes(redis: RedisServer, member_node: StartMember) -> None:
    one, other = await member_node(redis.url), await member_node(redis.url)
    await one.apply(Enter("c", "a", b"1"), Enter("c", "a"))
    await other.apply(Enter("c", "a"))
    assert await one.listed() == await other.listed() == {"a": 3}
    await one.apply(Leave("c", "a", "client", True), Leave("c", "a", "client", True))
    assert await other.told() == ["enter a"]
    await other.apply(Leave("c", "a", "client", True))
    assert await one.told() == ["enter a", "leave a"]


async def test_lost_connection_returns_to_another_node(redis: RedisServer, member_node: StartMember) -> None:
    one, other = await member_node(redis.url), await member_node(redis.url)
    await one.apply(Enter("c", "a"), Leave("c", "a", "timeout", False))
    await other.apply(Enter("c", "a"))
    await pass_grace(redis, one, other)
    assert await other.told() == ["enter a"]
    await one.apply(Enter("c", "b"))
    await one.node.stop()
    assert await other.listed() == {"a": 1, "b": 0}
    await pass_grace(redis, other)
    await until_listed(other, a=1)
    assert (await other.events())[-1]["reason"] == "shutdown"
    await check_replay(other)


async def test_members_of_a_node_that_vanished_leave(redis: RedisServer, member_node: StartMember) -> None:
    one, other = await member_node(redis.url), await member_node(redis.url)
    await one.apply(
        *[Enter("c", f"m{number:04}") for number in range(700)], Enter("c", "both"), Renew("c", "lease", 10 * GRACE)
    )
    await other.apply(Enter("c", "both"), Enter("c", "other"))
    one.node.vanish()
    one.presence._loop.stop()

    async def has_no_connections() -> bool:
        return sum((await other.listed()).values()) == 2

    await until_told(has_no_connections, "the end of the lease")
    await pass_grace(redis, other)
    await until_listed(other, both=1, lease=0, other=1)
    await check_replay(other)
    one.node.return_()
    await until(lambda: one.node.owner != "", "a lease")

    async def is_back() -> bool:
        return len(await other.listed()) == 703

    await until_told(is_back, "all members")
    assert (await other.listed())["both"] == 2
    await pass_grace(redis, one, other)
    await check_replay(other)


async def test_new_incarnation_is_no_event(redis: RedisServer, member_node: StartMember) -> None:
    one, other = await member_node(redis.url), await member_node(redis.url)
    await one.apply(Enter("c", "a", b"1"))
    await other.apply(Enter("c", "b"), Update("c", "b", b"2"), Enter("c", "a", b"3"))
    before = one.node.owner
    redis.ask("ZREM", "pushd:leases", before)
    await one.node.backend._lease.renew()
    await until(lambda: one.node.owner != before and not one.node.backend._lease._former, "a new incarnation")
    await pause(0.5)
    assert await one.told() == ["enter a", "enter b", "update b", "update a"]
    assert await one.listed() == {"a": 2, "b": 1}


async def test_flushed_redis_gets_all_members_back(redis: RedisServer, member_node: StartMember) -> None:
    one, other = await member_node(redis.url), await member_node(redis.url)
    await one.apply(Enter("c", "a", b"1"))
    await other.apply(Enter("c", "b"))
    redis.ask("FLUSHALL")
    await until_listed(one, a=1, b=1)
    await until(lambda: one.node.backend._commands.epoch == other.node.backend._commands.epoch, "the epoch")
    await pass_grace(redis, one, other)
    await check_replay(one)
    assert replay(await one.events()) == {"a": 1, "b": None}


async def test_connection_that_is_lost_while_the_lease_is_renewed(redis: RedisServer, member_node: StartMember) -> None:
    one = await member_node(redis.url)
    backend = one.node.backend
    lock = backend._lease._lock
    await until(lambda: not lock.locked, "no renewal")
    await lock.acquire()
    redis.ask("DEL", "pushd:leases")
    entering = Deferred.fromCoroutine(one.apply(Enter("c", "a")))
    await until(lambda: lock.waiting, "a refused registration")
    await pause(0.1)
    backend._commands.link.drop("it has failed over")
    await until(lambda: backend._commands.link.protocol is None, "no connection")
    lock.release()
    await entering
    await until_listed(one, a=1)
    await check_replay(one)


@pytest.mark.system
async def test_leave_while_redis_is_away_is_made_up_for(
    own_redis: Callable[..., RedisServer], member_node: StartMember
) -> None:
    redis = own_redis("--appendonly", "yes", "--appendfsync", "always")
    one = await member_node(redis.url, publish_timeout=2.0, lease_seconds=10.0)
    await one.apply(Enter("c", "a"), Enter("c", "b"))
    redis.freeze()
    await one.apply(Leave("c", "a", "client", True))
    for change in (Renew("c", "d", 60), EndLease("c", "b")):
        with pytest.raises(Unavailable):
            await one.apply(change)
    with pytest.raises(Unavailable):
        await one.listed()
    redis.thaw()
    await one.node.until_well()
    await until_listed(one, b=1)
    await check_replay(one)


@pytest.mark.system
async def test_restarted_redis_keeps_members(own_redis: Callable[..., RedisServer], member_node: StartMember) -> None:
    redis = own_redis("--appendonly", "yes", "--appendfsync", "always")
    one, other = [await member_node(redis.url, publish_timeout=3.0) for _ in range(2)]
    await one.apply(Enter("c", "a", b"1"))
    await other.apply(Enter("c", "b"))
    redis.kill()
    await pause(1.0)
    redis.start()
    for each in (one, other):
        await each.node.until_well()
    await pause(TERM * 1.5)
    await pass_grace(redis, one, other)
    assert await one.listed() == {"a": 1, "b": 1}
    assert await one.told() == ["enter a", "enter b"]


@pytest.mark.slow
@pytest.mark.system
async def test_new_master_gets_the_members_that_it_has_missed(tmp_path: Path, member_node: StartMember) -> None:
    watched = Watched(tmp_path)
    try:
        await watched.ready()
        one, other = [await member_node(watched.url) for _ in range(2)]
        await one.apply(Enter("c", "a", b"1"))
        await other.apply(Enter("c", "b"), Renew("c", "leased", 600))
        key = "pushd:presence:in:c"
        await until(lambda: watched.replica.ask("HLEN", key) == 3, "replicated")
        watched.replica.ask("CONFIG", "SET", "replica-read-only", "no")
        for words in (("HDEL", key, "a"), ("ZREM", "pushd:presence:ids:c", "a")):  # as if it had lagged behind
            watched.replica.ask(*words)
        watched.master.kill()
        await watched.until_failed_over()
        for each in (one, other):
            await each.node.until_well()
        await until_listed(one, a=1, b=1, leased=0)
        await pause(TERM)
        await pass_grace(watched.replica, one, other)
        assert await other.listed() == {"a": 1, "b": 1, "leased": 0}
        await check_replay(other)
        assert replay(await other.events()) == {"a": 1, "b": None, "leased": None}
    finally:
        watched.kill()
